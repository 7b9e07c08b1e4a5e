/** Companions and the entries of the journal on whichever store that is: what has to hold of programs on it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Companion from "effect-s3db/Companion"
import type * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf, openOn } from "./fixture.ts"
import { chainOf } from "./journalChains.ts"

const Place = Schema.Struct({ id: Schema.String, rank: Schema.Finite, cells: Schema.Array(Schema.String) })

const options = {
  schema: Place,
  primaryKey: "id",
  companions: {
    ranks: Companion.make({ fields: ["rank"], keys: ({ json }) => [[Number(json["rank"])]] }),
    cells: Companion.make({
      fields: ["cells"],
      keys: ({ json }) => (json["cells"] as ReadonlyArray<string>).map((cell) => [cell])
    })
  },
  journal: { images: "both" }
} as const satisfies Resource.Options<typeof Place>

/** Registers the tests. */
export const suite = (name: string, empty: Effect.Effect<ObjectStore["Service"], unknown, Scope.Scope>): void => {
  describe(`companions and entries on ${name}`, () => {
    it.live("two programs write the same documents, and what they leave is of one piece", () =>
      Effect.gen(function* () {
        const store = yield* empty
        const one = yield* openOn(store)
        const places = yield* one.open("places", options)
        const other = yield* (yield* openOn(store)).open("places", options)
        const ids = ["a/b", "..", "é", "💡", "id=x", "plain"]
        yield* Effect.forEach(ids, (id, rank) => places.insert({ id, rank: rank - 2, cells: ["all", `c${rank}`] }), {
          concurrency: 4
        })
        const move = (repository: typeof places, id: string) =>
          repository.update(id, (now) => ({ rank: now.rank + 10, cells: ["all", `c${now.rank}`, "é/"] }), {
            retries: 100
          })
        yield* Effect.forEach(
          ids.flatMap((id) => [move(places, id), move(other, id), move(places, id)]),
          (moving) => moving,
          { concurrency: 8 }
        )
        yield* one.database.transaction(
          Effect.andThen(places.delete("plain"), places.update("..", { rank: -100, cells: [] }))
        )
        yield* other.upsert({ id: "plain", rank: 1e9, cells: ["all"] })

        const all = yield* Stream.runCollect(places.scan())
        const ranks = (yield* Stream.runCollect(other.companion("ranks"))).map(({ id, key }) => [...key, id])
        assert.deepStrictEqual(
          ranks,
          all.map(({ id, rank }) => [rank, id]).toSorted(([a], [b]) => Number(a) - Number(b))
        )
        const cells = (yield* Stream.runCollect(other.companion("cells"))).map(({ id, key }) => `${key.join()} ${id}`)
        assert.deepStrictEqual(
          cells.toSorted(),
          all.flatMap(({ cells, id }) => cells.map((cell) => `${cell} ${id}`)).toSorted()
        )
        assert.deepStrictEqual(yield* Stream.runCollect((yield* places.admin).repair({ markerGraceMillis: -1 })), [])
        const keys = yield* keysOf(store, "resource=places/companion=")
        assert.strictEqual(keys.length, ranks.length + cells.length)
        for (const id of ids) {
          const { kinds, problems } = yield* chainOf(one.database, "places", id)
          assert.deepStrictEqual(problems, [])
          assert.strictEqual(kinds.length, id === "plain" ? 6 : id === ".." ? 5 : 4)
        }
        yield* one.database.journal.catchUp(one.database.journaled, { nobodyWrites: true })
        const records = yield* Stream.runCollect(one.database.journal.read({ from: 0 }))
        assert.strictEqual(records.length, 4 * 6 + 3)
        assert.strictEqual(new Set(records.map(({ value }) => value.writeId)).size, records.length)
        assert.deepStrictEqual(yield* keysOf(store, "journal/pending/"), [])
      })
    )
  })
}
