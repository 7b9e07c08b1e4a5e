/** The module that `s3db types` writes, under the compiler. */
import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Resource from "effect-s3db/Resource"
import { notationOf, write as moduleOf } from "../../src/cli/internal/typesModule.ts"
import { modules, project } from "./everything.ts"
import { objects, texts } from "./rules.ts"

const compile = (folder: string, file: string): void => {
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
  const args = [`${modules}/typescript/bin/tsc`, ...flags, ...settings, ...imports, file]
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" })
  assert.strictEqual(status, 0, stdout)
}

describe("s3db types", () => {
  it.live("writes what the compiler takes, of each rule that the library takes", () =>
    Effect.gen(function* () {
      const { path, write } = yield* project
      const rules = [...texts(false), ...objects].filter((rule) => {
        try {
          Resource.fromAttributes("x", { field: rule } as never)
          return true
        } catch {
          return false
        }
      })
      const attributes = Object.fromEntries(rules.map((rule, i) => [`f${i}`, rule]))
      // All pairs of modifiers, of which the quick test takes some.
      for (const rule of texts(true)) {
        let definition: Resource.Definition<never>
        try {
          definition = Resource.fromAttributes("x", { field: rule } as never) as never
        } catch {
          continue
        }
        const found = notationOf(definition as never)
        assert.isTrue(Result.isSuccess(found), `${rule}: ${JSON.stringify(found)}`)
      }
      const text = moduleOf([Resource.fromAttributes("all", attributes as never) as never])
      assert.include(text, "export class All")
      yield* write("all.ts", text)
      yield* Effect.sync(() => compile(path(), "all.ts"))
    })
  )

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
      compile(path(), "use.ts")
    })
  )
})
