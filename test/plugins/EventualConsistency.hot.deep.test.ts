/** A hot counter that 64 processes add to 10,000 times each. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { processOn, visits } from "./counters.ts"

type Store = ObjectStore["Service"]

const processes = 64
const times = 10_000

describe("EventualConsistency, a hot counter", () => {
  it.live(
    "comes to the exact sum of 640,000 additions, at 0.05 requests each at most",
    () =>
      Effect.gen(function* () {
        const { store: memory } = yield* MemoryStore.make()
        let requests = 0
        // An answer takes a moment, in which others go on.
        const counted = <A, E>(request: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            requests += 1
            return Effect.andThen(Effect.sleep(2), Effect.ensuring(request, Effect.sleep(2)))
          })
        const store: Store = {
          ...memory,
          put: (request) => counted(memory.put(request)),
          get: (...args) => counted(memory.get(...args)),
          list: (request) => counted(memory.list(request))
        }
        const all = yield* Effect.forEach(
          Array.from({ length: processes }, (_, i) => i),
          () => processOn(store),
          { concurrency: 8 }
        )
        const { counters: first, wallets } = all[0]!
        yield* wallets.insert({ id: "w" })
        requests = 0
        const amounts = Array.from({ length: times }, (_, i) => (i % 7) - 3)
        yield* Effect.forEach(
          all,
          ({ counters }, i) =>
            Effect.forEach(amounts, (amount) => counters.add(visits, "w", amount), {
              concurrency: 500,
              discard: true
            }).pipe(Random.withSeed(i)),
          { concurrency: "unbounded", discard: true }
        )
        yield* first.foldAll
        const perAddition = requests / (processes * times)
        const sum = amounts.reduce((total, amount) => total + amount, 0) * processes
        assert.strictEqual(yield* first.read(visits, "w"), sum)
        assert.isAtMost(perAddition, 0.05)
      }),
    1_800_000
  )
})
