/**
 * What operations take on a store that answers each request after so many milliseconds: the number of requests one after another is what
 * counts. Milliseconds of an operation, and how many delays that is.
 */
import * as Effect from "effect/Effect"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { median } from "./measure.ts"
import { digits } from "./table.ts"
import { workload } from "./workload.ts"

type Store = ObjectStore["Service"]

const delays = [0, 5, 20] as const
const rounds = 7

/** Each request goes to the store when the delay of the moment is over; any number of them are under way at once. */
const delaying = (inner: Store, delay: () => number): Store => {
  const late = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => (delay() === 0 ? effect : Effect.delay(effect, delay())))
  return {
    ...inner,
    put: (request) => late(inner.put(request)),
    get: (...args) => late(inner.get(...args)),
    head: (...args) => late(inner.head(...args)),
    delete: (...args) => late(inner.delete(...args)),
    deleteMany: (...args) => late(inner.deleteMany(...args)),
    copy: (request) => late(inner.copy(request)),
    list: (request) => late(inner.list(request))
  }
}

export const report = () =>
  Effect.gen(function* () {
    const results: Array<{ readonly name: string; readonly milliseconds: ReadonlyArray<number> }> = []
    for (const { documents, make, name } of workload) {
      const runs = yield* Effect.forEach(delays, (milliseconds) => {
        // The documents that it needs are there at once.
        let delay = 0
        return Effect.map(
          make((store) => delaying(store, () => delay)),
          (run) => ({ run, start: () => (delay = milliseconds), taken: [] as Array<number> })
        )
      })
      for (const { run, start } of runs) {
        start()
        yield* run
      }
      for (let round = 0; round < rounds; round++) {
        for (let i = 0; i < runs.length; i++) {
          const { run, taken } = runs[(i + round) % runs.length]!
          const before = performance.now()
          yield* run
          taken.push(performance.now() - before)
        }
      }
      results.push({
        name: documents === 1 ? name : `${name}, ${documents} documents`,
        milliseconds: runs.map(({ taken }) => Number(median(taken).toFixed(2)))
      })
    }
    const columns = ["", ...delays.map((delay) => `${delay} ms`), `delays at ${delays.at(-1)} ms`]
    const rows = results.map(({ milliseconds, name }) => [
      name,
      ...milliseconds.map(digits),
      digits(milliseconds.at(-1)! / delays.at(-1)!)
    ])
    return { results, tables: [{ title: `Milliseconds of an operation, median of ${rounds}`, columns, rows }] }
  }).pipe(Effect.scoped, Effect.runPromise)
