/** The module that `s3db types` writes, under the compiler. */
import { execFileSync } from "node:child_process"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { modules, project } from "./everything.ts"

describe("s3db types", () => {
  it.live("writes a module that compiles, with the types of documents, partitions and unique keys", () =>
    Effect.gen(function* () {
      const { path, write } = yield* project
      yield* write(
        "use.ts",
        `import { Effect } from "effect"
import { BlogPosts, Plain } from "./resources.ts"
export const program = Effect.gen(function* () {
  const posts = yield* BlogPosts
  const post = yield* posts.insert({ name: "one", key: "x", mail: "a@b.co", ratio: null, scores: { a: 1 } })
  const state: "open" | "in progress" | "done" = post.state
  const city: string | undefined = post.address?.city
  yield* posts.getByUnique("byName", { name: "one" })
  posts.scan({ partition: "byState", values: { state: "open" } })
  // @ts-expect-error no such field
  post.nothing
  // @ts-expect-error no such partition
  posts.scan({ partition: "byNothing" })
  const { text } = yield* (yield* Plain).insert({ text: "x" })
  return [state, city, text] as const
})
`
      )
      const flags = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "--ignoreConfig"]
      const settings = [
        "--module",
        "NodeNext",
        "--target",
        "ES2022",
        "--lib",
        "ES2024,DOM.AsyncIterable",
        "--types",
        "node"
      ]
      const imports = ["--allowImportingTsExtensions", "--customConditions", "effect-s3db-source"]
      execFileSync(process.execPath, [`${modules}/typescript/bin/tsc`, ...flags, ...settings, ...imports, "use.ts"], {
        cwd: path()
      })
    })
  )
})
