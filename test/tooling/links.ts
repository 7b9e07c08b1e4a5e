/**
 * The links of pages: what each leads to is there, the heading too.
 *
 * node test/tooling/links.ts
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"

export interface Page {
  /** Absolute. */
  readonly file: string
  readonly text: string
}

export interface Broken {
  readonly file: string
  readonly line: number
  readonly target: string
  readonly problem: string
}

/** The lines of a page without what is code: fences and spans have no links. */
const proseOf = (text: string): ReadonlyArray<string> => {
  let fence: string | undefined
  return text
    .replaceAll(/<!--[^]*?-->/g, (comment) => comment.replaceAll(/[^\n]/g, ""))
    .split("\n")
    .map((line) => {
      const mark = /^ *(```+|~~~+)/.exec(line)?.[1]
      if (fence !== undefined) {
        if (mark?.startsWith(fence) === true) fence = undefined
        return ""
      }
      fence = mark
      return mark === undefined ? line : ""
    })
}

const withoutSpans = (line: string): string => line.replaceAll(/(`+)(?!`).*?(?<!`)\1(?!`)/g, "x")

/** The anchors of a page, as GitHub makes them of its headings, and those that it names itself. */
export const anchorsOf = (text: string): ReadonlySet<string> => {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const line of proseOf(text)) {
    for (const [, name] of line.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(name!)
    const heading = /^#{1,6} +(.+?) *#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replaceAll(/\\(?=\W)/g, "")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-")
    const before = seen.get(slug)
    seen.set(slug, (before ?? 0) + 1)
    anchors.add(before === undefined ? slug : `${slug}-${before}`)
  }
  return anchors
}

interface Link {
  readonly line: number
  readonly target: string
}

/** The links of a page, also those that are defined at its end (`[name]: target`). */
export const linksOf = (text: string): ReadonlyArray<Link> => {
  // A link may be broken over two lines.
  const lines = proseOf(text).map(withoutSpans)
  const joined = lines.join("\n")
  const lineAt = (offset: number) => joined.slice(0, offset).split("\n").length
  return [
    ...joined.matchAll(/\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/g),
    ...joined.matchAll(/^\[[^\]]+\]: +<?([^\s>]+)>?/gm)
  ].map((match) => ({ line: lineAt(match.index), target: match[1]! }))
}

const isExternal = (target: string): boolean => /^[a-z][a-z0-9+.-]*:/i.test(target)

export const check = (pages: ReadonlyArray<Page>): ReadonlyArray<Broken> => {
  const anchors = new Map<string, ReadonlySet<string>>()
  const anchorsIn = (file: string) => {
    const known = anchors.get(file) ?? anchorsOf(readFileSync(file, "utf8"))
    anchors.set(file, known)
    return known
  }
  for (const { file, text } of pages) anchors.set(file, anchorsOf(text))
  return pages.flatMap(({ file, text }) =>
    linksOf(text).flatMap(({ line, target }) => {
      if (isExternal(target)) return []
      const [path = "", anchor] = target.split("#")
      const to = path === "" ? file : resolve(dirname(file), decodeURIComponent(path))
      const broken = (problem: string): ReadonlyArray<Broken> => [{ file, line, target, problem }]
      if (!anchors.has(to) && !existsSync(to)) return broken("there is no such file")
      if (anchor === undefined || anchor === "" || !to.endsWith(".md")) return []
      if (!anchors.has(to) && statSync(to).isDirectory()) return broken("a folder has no headings")
      return anchorsIn(to).has(decodeURIComponent(anchor)) ? [] : broken("there is no such heading")
    })
  )
}

const root = fileURLToPath(new URL("../..", import.meta.url))

const pageAt = (name: string): Page => ({ file: join(root, name), text: readFileSync(join(root, name), "utf8") })

const isGenerated = (name: string): boolean => /^reference[/\\]/.test(name)

const pagesIn = (select: (name: string) => boolean): ReadonlyArray<Page> =>
  readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && select(name))
    .toSorted()
    .map((name) => pageAt(join("docs", name)))

/** All pages that the repository has. */
export const pages = (): ReadonlyArray<Page> => [
  ...readdirSync(root)
    .filter((name) => name.endsWith(".md") || name === "llms.txt")
    .map(pageAt),
  ...pagesIn((name) => !isGenerated(name))
]

/** The pages of the reference, where they have been made. */
export const generatedPages = (): ReadonlyArray<Page> => pagesIn(isGenerated)

export const describe = ({ file, line, problem, target }: Broken): string =>
  `${relative(root, file)}:${line}: ${target}: ${problem}`

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broken = check(pages())
  for (const one of broken) console.error(describe(one))
  if (broken.length > 0) process.exitCode = 1
}
