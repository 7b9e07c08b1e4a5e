/** How many of the nearest an index finds of so many documents that it has lists. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { memory } from "../fixture.ts"
import { clustered, driven, nearestOf, openSongs } from "./nearby.ts"

describe("the recall of an index of vectors", () => {
  it.effect(
    "is what is asked for, by each metric, with what is kept of a number, and after as many documents have come again",
    () =>
      Effect.gen(function* () {
        const count = 6_000
        const dimensions = 48
        const all = clustered(21, 2 * count + 120, dimensions, 150, 0.7)
        const queries = all.splice(2 * count)
        const store = yield* memory
        const { songs } = yield* openSongs(store)
        const write = (from: number, to: number) =>
          Stream.runDrain(
            songs.writeAll(
              Stream.fromIterable(all.slice(from, to)).pipe(Stream.map((sound, i) => ({ id: `s${from + i}`, sound })))
            )
          )
        yield* write(0, count)
        const kinds = [
          ["cosine", "float32"],
          ["euclidean", "int8"],
          ["manhattan", "float16"],
          ["dot", "int8"]
        ] as const
        for (const written of [count, 2 * count]) {
          if (written > count) yield* write(count, written)
          const entries = all.slice(0, written).map((vector, i) => [`s${i}`, vector] as const)
          for (const [metric, storage] of kinds) {
            const { index, settle } = yield* openSongs(store, { metric, storage, dimensions, exactUntil: 5_000 })
            yield* driven(settle)
            const nearest = queries.map((vector) => nearestOf(entries, vector, 10, metric))
            for (const recall of [0.9, 0.95, 0.99]) {
              let found = 0
              for (const [i, vector] of queries.entries()) {
                const { items } = yield* index.lookup({ vector, recall, limit: 10 })
                found += nearest[i]!.filter(({ id }) => items.some((one) => one.id === id)).length
              }
              // 120 queries say no more of it than that: by `dot` the same few are the nearest of many, and are found or missed together.
              assert.isAtLeast(
                found / (10 * queries.length),
                recall - 0.02,
                `${metric} ${storage} ${written} ${recall}`
              )
            }
          }
        }
      })
  )
})
