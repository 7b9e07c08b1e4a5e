import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { crashing, keysOf, memory } from "../fixture.ts"
import { all, suite } from "./indexers.ts"
import {
  comparesAll,
  driven,
  idsOf,
  listed,
  metrics,
  openSongs,
  type Settings,
  storages,
  type Store,
  withLists,
  withoutLists
} from "./nearby.ts"

suite(withLists, all)
// Histories have lists, or none, as it comes.
suite(withoutLists, { ...all, seeds: [1, 8] })

describe("VectorIndex", () => {
  it.effect("finds what comparing all finds, by every metric in every storage", () =>
    Effect.forEach(
      metrics.flatMap((metric) => storages.map((storage) => [metric, storage] as const)),
      ([metric, storage]) => comparesAll(metric, storage),
      { discard: true }
    )
  )
})

describe("indexers of vectors", () => {
  it.effect("go on with a merge where another one stopped", () =>
    Effect.gen(function* () {
      // Rows of 4 KiB, so that each object has about 16.
      const settings: Settings = { ...listed, dimensions: 1_024, lists: 8 }
      const rowOf = (i: number) => Array.from({ length: 1_024 }, (_, d) => (d % 8 === i % 8 ? 1 : Math.sin(i + d) / 9))
      const prepared = yield* memory
      const { index, settle, songs } = yield* openSongs(prepared, settings)
      yield* driven(settle)
      for (let half = 0; half < 2; half++) {
        yield* songs.insertMany(Array.from({ length: 60 }, (_, i) => ({ id: `s${half}-${i}`, sound: rowOf(i) })))
        yield* driven(settle)
        yield* driven(index.compact)
      }
      yield* songs.insertMany(Array.from({ length: 60 }, (_, i) => ({ id: `t${i}`, sound: rowOf(i) })))
      yield* driven(settle)
      const puts: Array<number> = []
      for (let at = 10; ; at += 3) {
        // A crash in the middle, then another process, which has to put less than one that begins.
        const store = yield* memory
        for (const key of yield* keysOf(prepared)) {
          const { body, metadata } = yield* prepared.get(key)
          yield* store.put({ key, body, metadata })
        }
        const crash = crashing(store, at, "after")
        const exit = yield* Effect.exit(
          Effect.scoped(Effect.flatMap(openSongs(crash.store, settings), (one) => driven(one.index.compact)))
        )
        let put = 0
        const counted: Store = {
          ...store,
          put: (request) => {
            if (request.key.includes("/segment/")) put += 1
            return store.put(request)
          }
        }
        const other = yield* openSongs(counted, settings)
        yield* songs.patch("s0-1", { year: at })
        yield* driven(other.songs.delete("s0-7"))
        yield* driven(other.settle)
        yield* driven(other.index.compact)
        puts.push(put)
        assert.strictEqual((yield* other.index.status).segments, 1)
        assert.strictEqual((yield* other.index.status).documents, 179)
        assert.deepStrictEqual(yield* driven(Stream.runCollect(other.index.verify)), [])
        assert.notInclude(idsOf(yield* other.index.search({ vector: rowOf(7), limit: 1_000 })), "s0-7")
        if (exit._tag === "Success") break
      }
      assert.isBelow(Math.min(...puts.slice(0, -1)), Math.max(...puts) - 2)
    })
  )
})
