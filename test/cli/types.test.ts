/** The generator of TypeScript modules: what it writes declares the very same resources. */
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Resource from "effect-s3db/Resource"
import { notationOf, write } from "../../src/cli/internal/typesModule.ts"
import { project } from "./everything.ts"

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
      const hostile = Resource.fromAttributes("x", { [`a${mark}throw 1 //`]: "string|default:a!b" })
      const text = write([hostile as never])
      assert.include(text, "x is not declared here: the default of a throw 1 // has no rule")
    }
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
