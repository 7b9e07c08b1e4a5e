/**
 * What the decorators of the usual stack add to a request, against the bare store in memory: each by itself and all together. The same
 * with a store that answers a little later, as all do that are not in memory, where a limit of time needs a timer: one for all
 * requests, beside Effect's own, which is one for each.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as BoundedStore from "effect-s3db/storage/BoundedStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"
import type { Case } from "./measure.ts"

type Store = ObjectStore["Service"]

const body = new Uint8Array(300).fill(120)
const metadata = { s: "3k", "0": "Jane Doe", "1": "jane@example.com" }

/** As many requests under way at once as a bucket has. */
const atOnce = 64

const later = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.callback((resume) => {
    const immediate = setImmediate(() => resume(effect))
    return Effect.sync(() => clearImmediate(immediate))
  })

const slow = (store: Store): Store => ({
  ...store,
  put: (request) => later(store.put(request)),
  get: (key, options) => later(store.get(key, options))
})

/** A timer for each request. */
const timedByEffect = (store: Store): Store => ({
  ...store,
  put: (request) => Effect.orDie(Effect.timeout(store.put(request), "30 seconds")),
  get: (key, options) => Effect.orDie(Effect.timeout(store.get(key, options), "30 seconds"))
})

export const cases = (): Promise<ReadonlyArray<Case>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const bare = (yield* MemoryStore.make()).store
        const stack = (store: Store, options: StandardStore.Options = {}) =>
          Effect.map(StandardStore.make(store, options), Context.get(ObjectStore))
        const distant = slow(bare)
        const kinds = [
          { kind: "at once", base: bare },
          { kind: "later", base: distant }
        ]
        const cases: Array<Case> = []
        for (const { base, kind } of kinds) {
          const stores: ReadonlyArray<readonly [string, Store]> = [
            ["bare", base],
            ["InstrumentedStore", InstrumentedStore.make(base).store],
            ["TimeoutStore", TimeoutStore.make(base)],
            ["Effect.timeout", timedByEffect(base)],
            ["RetryingStore", RetryingStore.make(base)],
            ["BoundedStore", yield* BoundedStore.make(base)],
            ["PrefixedStore", PrefixedStore.make(base, "p")],
            ["the stack without a limit of time", yield* stack(base, { timeout: "Infinity" })],
            ["the stack", yield* stack(base)]
          ]
          for (const [name, store] of stores) {
            yield* store.put({ key: "k", body, metadata })
            for (const [operation, request] of [
              ["put", store.put({ key: "k", body, metadata })],
              ["get", store.get("k")]
            ] as const) {
              cases.push({
                name: `${operation}, answered ${kind}: ${name}`,
                baseline: `${operation}, answered ${kind}: bare`,
                run: (times) =>
                  Effect.runPromise(
                    Effect.forEach(Array.from({ length: times }), () => request, {
                      concurrency: kind === "later" ? atOnce : 1,
                      discard: true
                    })
                  )
              })
            }
          }
        }
        return cases
      })
    )
  )
