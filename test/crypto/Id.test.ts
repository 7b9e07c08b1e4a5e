import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"

describe("Id", () => {
  it.effect("T15: kinds of ids", () =>
    Effect.gen(function* () {
      assert.match(yield* Id.random, /^[A-Za-z0-9_-]{22}$/)
      assert.match(yield* Id.writeId, /^[A-Za-z0-9_-]{16}$/)
      assert.match(yield* Id.randomOf(8), /^[A-Za-z0-9_-]{8}$/)
      assert.match(yield* Id.ulid, /^[0-9A-HJKMNP-TV-Z]{26}$/)
      assert.match(yield* Id.uuidv7, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      const many = yield* Effect.all(Array.from({ length: 10_000 }, () => Id.random))
      assert.strictEqual(new Set(many).size, 10_000)
      const ordered = yield* Effect.all(Array.from({ length: 1000 }, () => Id.ulid))
      assert.deepStrictEqual(ordered, ordered.toSorted())
      const sevens = yield* Effect.all(Array.from({ length: 1000 }, () => Id.uuidv7))
      assert.deepStrictEqual(sevens, sevens.toSorted())
    })
  )

  it.effect("fields that fill themselves, unless they are given", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ a: Id.Random, b: Id.Ulid, c: Id.UuidV7 })
      const made = yield* schema.makeEffect({})
      assert.deepStrictEqual([made.a.length, made.b.length, made.c.length], [22, 26, 36])
      assert.strictEqual((yield* schema.makeEffect({ a: "mine" })).a, "mine")
    })
  )

  it.effect("a seed gives the same ids again, and spreads them", () =>
    Effect.gen(function* () {
      const ids = (seed: number) =>
        Effect.provideService(Effect.all(Array.from({ length: 2000 }, () => Id.random)), Id.Generator, Id.seeded(seed))
      const first = yield* ids(1)
      assert.deepStrictEqual(yield* ids(1), first)
      assert.notDeepEqual(yield* ids(2), first)
      assert.strictEqual(new Set(first).size, 2000)
      const counts = new Map<string, number>()
      for (const character of first.join("")) counts.set(character, (counts.get(character) ?? 0) + 1)
      assert.strictEqual(counts.size, 64)
      const expected = (2000 * 22) / 64
      for (const count of counts.values()) assert.isBelow(Math.abs(count - expected), expected * 0.25)
    })
  )

  it.effect("seeded layers make the same ids again in another run, and never the same in two of their builds", () =>
    Effect.gen(function* () {
      const run = Effect.gen(function* () {
        const layer = Id.layerSeeded(7)
        const ids = Effect.provide(Effect.all([Id.random, Id.random]), layer, { local: true })
        return [...(yield* ids), ...(yield* ids), ...(yield* ids)]
      })
      const first = yield* run
      assert.strictEqual(new Set(first).size, 6)
      assert.deepStrictEqual(yield* run, first)
    })
  )

  it.effect("a size that is none is a defect, and those that are made afterwards are as random as before", () =>
    Effect.gen(function* () {
      for (const size of [-22, Number.NaN, 1.5, Number.POSITIVE_INFINITY, "5" as never]) {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(Id.randomOf(size))))
        const ids = yield* Effect.all([Id.random, Id.random, Id.writeId])
        assert.deepStrictEqual(
          ids.map(({ length }) => length),
          [22, 22, 16]
        )
        assert.strictEqual(new Set(ids).size, 3)
      }
      assert.strictEqual(yield* Id.randomOf(0), "")
      assert.strictEqual((yield* Id.randomOf(20_000)).length, 20_000)
    })
  )
})
