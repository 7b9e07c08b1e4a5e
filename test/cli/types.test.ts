/** The generator of TypeScript modules: what it writes declares the very same resources. */
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Resource from "effect-s3db/Resource"
import { notationOf, write } from "../../src/cli/internal/typesModule.ts"
import { project } from "./everything.ts"
import { objects, texts } from "./rules.ts"

describe("s3db types", () => {
  it.live("writes a module that declares what is in the catalog", () =>
    Effect.gen(function* () {
      const { json, path, read, s3db } = yield* project
      assert.include(yield* read("resources.ts"), "export class BlogPosts extends Resource.Service<BlogPosts>()(")
      assert.notInclude((yield* s3db(["types", "plain"])).out, "BlogPosts")
      // What it declares is what the catalog has: nothing to register.
      const loaded = (yield* Effect.promise(() => import(pathToFileURL(path("resources.ts")).href))) as {
        readonly BlogPosts: { readonly definition: Resource.Definition<never> }
      }
      const schema = (yield* json(["schema", "blog-posts"])) as { readonly definition: unknown }
      assert.deepStrictEqual(loaded.BlogPosts.definition.portable, schema.definition)
    })
  )

  it("no name ends a comment, after which it would be code", () => {
    for (const mark of ["\n", "\r", "\u2028", "\u2029"]) {
      const fields = { id: Schema.String, [`a${mark}throw 1 //`]: Schema.Tuple([Schema.String]) }
      const hostile = Resource.define("x", { schema: Schema.Struct(fields), primaryKey: "id" } as never)
      const text = write([hostile as never])
      assert.include(text, "x is not declared here: a throw 1 //: a tuple has no rule")
    }
  })

  it("each rule that the library takes comes out as the very same definition", () => {
    let taken = 0
    const all = [...texts(true), ...objects]
    for (const rule of all.filter((_, i) => i % 8 === 0 || i > all.length - 50)) {
      let definition: Resource.Definition<never>
      try {
        definition = Resource.fromAttributes("x", { field: rule } as never) as never
      } catch {
        // Two modifiers that do not go together.
        continue
      }
      taken += 1
      const found = notationOf(definition as never)
      assert.isTrue(Result.isSuccess(found), `${JSON.stringify(rule)}: ${JSON.stringify(found)}`)
    }
    assert.isAbove(taken, 600)
  })

  it("says of what it cannot write why, and never writes another definition", () => {
    const of = (schema: Schema.Struct<Schema.Struct.Fields>, more: object = {}) =>
      notationOf(Resource.define("x", { schema, primaryKey: "id", ...more } as never) as never)
    for (const fields of [
      { id: Schema.String, two: Schema.Tuple([Schema.String, Schema.Finite]) },
      { id: Schema.String, one: Schema.Union([Schema.String, Schema.Finite]) },
      { id: Schema.String, text: Schema.String.check(Schema.isIncluding("x")) }
    ]) {
      const found = of(Schema.Struct(fields))
      assert.isTrue(Result.isFailure(found), JSON.stringify(found))
    }
    const checked = of(
      Schema.Struct({ id: Schema.String, text: Schema.String.check(Schema.makeFilter((text) => text !== "")) })
    )
    assert.include(Result.isFailure(checked) ? checked.failure : "", "travel")
  })
})
