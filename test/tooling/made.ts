/**
 * What of the documentation is made of the source, and committed; and what is wrong with the pages, for `npm run check`.
 *
 * node test/tooling/made.ts
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as errorPage from "./errorPage.ts"
import * as guide from "./guide.ts"
import * as links from "./links.ts"
import * as publicModules from "./publicModules.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Made {
  /** Below the root. */
  readonly path: string
  readonly text: string
}

/** Each file as it should be. */
export const made = (): ReadonlyArray<Made> => {
  const index = guide.index()
  return [
    { path: publicModules.page, text: publicModules.make() },
    { path: guide.llms, text: guide.makeLlms(index) },
    ...guide.footed(index, new Map([[errorPage.page, errorPage.make()]]))
  ]
}

/** Those that are not as they should be. */
export const outdated = (): ReadonlyArray<string> =>
  made()
    .filter(({ path, text }) => !existsSync(join(root, path)) || readFileSync(join(root, path), "utf8") !== text)
    .map(({ path }) => path)

/** What is wrong with the pages, their order and their links. */
export const problems = (): ReadonlyArray<string> => {
  const { notThere, unlisted } = guide.missing()
  return [
    ...errorPage.unsaid(errorPage.sources(), errorPage.errors()),
    ...notThere.map((path) => `docs/index.md leads to ${path}, which is not there`),
    ...unlisted.map((path) => `${path} is not in docs/index.md: add it there, and run npm run docs`),
    ...(notThere.length > 0 ? [] : outdated().map((path) => `${path} is not what the source says: run npm run docs`)),
    ...links.check(links.pages()).map(links.describe)
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = problems()
  for (const problem of found) console.error(problem)
  if (found.length > 0) process.exitCode = 1
}
