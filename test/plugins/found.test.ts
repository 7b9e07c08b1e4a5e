import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Geo from "effect-s3db/plugins/Geo"
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import { memory, openOn } from "../fixture.ts"

class Lots extends Resource.Service<Lots>()("effect-s3db/test/plugins/found/Lots", {
  schema: Schema.Struct({
    id: Schema.String,
    title: Schema.String,
    at: Geo.Point,
    other: Schema.optionalKey(Geo.Point),
    sound: Schema.Array(Schema.Finite),
    cents: Schema.BigInt,
    sold: Schema.Date
  }),
  primaryKey: "id",
  name: "lots",
  journal: true,
  companions: { ...Geo.companions("at"), ...Geo.companions("other") }
}) {}

const at = { latitude: 1, longitude: 2 }

const opened = Effect.gen(function* () {
  const { database } = yield* openOn(yield* memory)
  const lots = yield* Effect.provideService(Resource.make(Lots.definition), Database, database)
  const on = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Effect.provideService(Lots, lots), Effect.provideService(Database, database))
  const words = yield* on(FullText.make({ resource: Lots, fields: { title: {} }, indexes: false }))
  const vectors = yield* on(VectorIndex.make({ resource: Lots, field: "sound", dimensions: 2, indexes: false }))
  const places = yield* on(Geo.make({ resource: Lots, field: "at" }))
  const others = yield* on(Geo.make({ resource: Lots, field: "other", namespace: "others" }))
  for (let i = 0; i < 4; i++) {
    yield* lots.insert({
      id: `l${i}`,
      title: "apple",
      at,
      sound: [1, i],
      cents: BigInt(i) * 2n ** 70n,
      sold: new Date(i * 1_000)
    })
  }
  yield* words.update
  yield* vectors.update
  return { words, vectors, places, others }
})

describe("what finds documents by an index", () => {
  it.effect("takes conditions with every kind of value, and knows their cursors from those of others", () =>
    Effect.gen(function* () {
      const { places, vectors, words } = yield* opened
      type Where = FullText.Filters<typeof Lots>["where"]
      interface Page {
        readonly items: ReadonlyArray<{ readonly document: { readonly id: string } }>
        readonly cursor: string | undefined
      }
      const asked: ReadonlyArray<(where: Where, cursor?: string) => Effect.Effect<Page, { readonly _tag: string }>> = [
        (where, cursor) => words.search({ query: "apple", limit: 1, where, cursor }),
        (where, cursor) => vectors.search({ vector: [1, 0], limit: 1, where, cursor }),
        (where, cursor) => places.nearest({ from: at, limit: 1, where, cursor })
      ]
      const conditions: ReadonlyArray<Where> = [
        { cents: { gt: 2n ** 69n } },
        { cents: { gt: 2n ** 69n + 1n } },
        { sold: { gt: new Date(500) } }
      ]
      for (const ask of asked) {
        for (const [i, where] of conditions.entries()) {
          const first = yield* ask(where)
          const second = yield* ask(where, first.cursor)
          assert.deepStrictEqual(
            [...first.items, ...second.items].map(({ document: { id } }) => id),
            ["l1", "l2"]
          )
          const wrong = yield* Effect.flip(ask(conditions[(i + 1) % conditions.length], first.cursor))
          assert.match(wrong._tag, /^Invalid/)
        }
      }
    })
  )

  it.effect("takes no cursor of another field", () =>
    Effect.gen(function* () {
      const { others, places } = yield* opened
      const { cursor } = yield* places.nearest({ from: at, limit: 1 })
      const wrong = yield* Effect.flip(others.nearest({ from: at, limit: 1, cursor }))
      assert.strictEqual(wrong._tag === "InvalidGeo" ? wrong.field : wrong._tag, "cursor")
    })
  )
})
