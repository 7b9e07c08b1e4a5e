/** The ways in which a document is told, beside each other, for every type. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as HttpResources from "effect-s3db/http/HttpResources"
import type { DynamicSchema } from "effect-s3db/Portable"
import type { Repository } from "effect-s3db/Repository"
import * as Resource from "effect-s3db/Resource"
import { samples } from "../schema/samples.ts"
import { Auth, Data, serve } from "./api.ts"

describe("a document", () => {
  it.effect("is told by itself, in a list and by its schema the same, whatever its type", () =>
    Effect.gen(function* () {
      const kinds = samples.map(({ name, schema, values }, index) => {
        class Kind extends Resource.Service<Kind>()(`types/t${index}`, {
          schema: Schema.Struct({ id: Schema.String, field: schema }) as never,
          primaryKey: "id" as never
        }) {}
        return { Kind, name, values, exposed: HttpResources.expose(Kind, { operations: ["get", "list"] as never }) }
      })
      const [first, ...rest] = kinds
      const exposed = kinds.map((kind) => kind.exposed)
      const api = HttpResources.api("types", exposed as never, { prefix: "/api" })
      const layers = Layer.mergeAll(first!.Kind.layer, ...rest.map(({ Kind }) => Kind.layer))
      const context = yield* Layer.build(Layer.provideMerge(layers as never, Data) as unknown as Layer.Layer<never>)
      const { send } = yield* serve(
        HttpResources.layer(api as never, exposed as never).pipe(
          Layer.provide([Layer.succeedContext(context), Auth])
        ) as never
      )
      for (const [index, { exposed, Kind, name, values }] of kinds.entries()) {
        const repository: Repository<DynamicSchema> = Context.getUnsafe(context, Kind) as never
        const expected = new Map<string, unknown>()
        for (const [number, field] of values.entries()) {
          const inserted = yield* Effect.result(repository.insert({ id: `${number}`, field } as never))
          if (Result.isFailure(inserted)) continue
          const value = yield* repository.get(`${number}`)
          const encode = Schema.encodeUnknownEffect(exposed.document as Schema.Codec<unknown, unknown>)
          const encoded = yield* Effect.result(encode(value))
          // What is no JSON, such as a number that is not finite.
          if (Result.isSuccess(encoded)) expected.set(`${number}`, JSON.parse(JSON.stringify(encoded.success)))
        }
        const listed = yield* send("GET", `/api/t${index}`)
        assert.isAtLeast(listed.json.items.length, expected.size, name)
        for (const item of listed.json.items) {
          if (expected.has(item.id)) assert.deepStrictEqual(item, expected.get(item.id), name)
          assert.deepStrictEqual((yield* send("GET", `/api/t${index}/${item.id}`)).json, item, name)
        }
      }
    })
  )
})
