/**
 * A store that takes only so many requests a second for each part of its keys, as S3 does, and answers the rest with 503 `SlowDown`.
 *
 * ```ts no-check
 * const { store, counts } = yield* ThrottledStore.make(memory, { writes: 3500, partOf: (key) => key.split("id=")[0]! })
 * const patient = RetryingStore.make(store)
 * ```
 *
 * Each part has a bucket for writes and one for reads, which fill at a steady rate: what was not used is kept for a moment
 * (`burstMillis`). It goes by the `Clock`, so that under `TestClock` minutes of it take no time, and the same programs with the same
 * `Random` have the same course. `docs/design/scale.md` is checked by it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import { type Operation, StoreError, Throttled } from "../storage/StoreError.ts"

/**
 * What S3 says of the requests a second that each part of the keys takes, before it is split any further: 3,500 that write, 5,500 that
 * read (Amazon S3 User Guide, "Best practices design patterns: optimizing Amazon S3 performance").
 *
 * @category constants
 * @since 0.1.0
 */
export const s3Limits = { writes: 3500, reads: 5500 } as const

/**
 * The limits of a store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** PUT, COPY and DELETE a second for each part, and the keys of DeleteObjects, one by one. Default: 3,500. */
  readonly writes?: number | undefined
  /** GET, HEAD and LIST a second for each part. Default: 5,500. */
  readonly reads?: number | undefined
  /** How long a part may do nothing and have it made good at once. Default: 100 milliseconds. */
  readonly burstMillis?: number | undefined
  /** How long a request takes, in milliseconds: from half to one and a half times that, at random. Default: 10. */
  readonly latencyMillis?: number | undefined
  /** The part that a key belongs to. Default: all up to its last `/`. */
  readonly partOf?: ((key: string) => string) | undefined
}

/**
 * How many requests were carried out, and how many were refused.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly done: number
  readonly refused: number
}

/**
 * A store with limits, and what became of the requests so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface ThrottledStore {
  readonly store: ObjectStore["Service"]
  /** By part: of all of its requests, reads and writes. */
  readonly counts: Effect.Effect<ReadonlyMap<string, Counts>>
}

interface Bucket {
  tokens: number
  filledAt: number
}

interface Part {
  readonly writes: Bucket
  readonly reads: Bucket
  done: number
  refused: number
}

/**
 * Wraps a store so that it refuses what is more than its limits with `Throttled`, status 503: nothing was done. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], options: Options = {}): Effect.Effect<ThrottledStore> => {
  const { burstMillis = 100, latencyMillis = 10, partOf = (key) => key.slice(0, key.lastIndexOf("/") + 1) } = options
  const limits = { writes: options.writes ?? s3Limits.writes, reads: options.reads ?? s3Limits.reads }
  const mostOf = (kind: keyof typeof limits): number => Math.max(1, (limits[kind] * burstMillis) / 1000)

  return Effect.map(Clock.currentTimeMillis, (begun) => {
    const parts = new Map<string, Part>()
    const bucket = (kind: keyof typeof limits): Bucket => ({ tokens: mostOf(kind), filledAt: begun })

    const part = (name: string): Part => {
      const one = parts.get(name) ?? { writes: bucket("writes"), reads: bucket("reads"), done: 0, refused: 0 }
      parts.set(name, one)
      return one
    }

    const request = <A>(
      kind: keyof typeof limits,
      operation: Operation,
      keys: ReadonlyArray<string>,
      effect: Effect.Effect<A, StoreError>
    ): Effect.Effect<A, StoreError> =>
      Effect.gen(function* () {
        yield* Effect.sleep(Math.max(1, Math.round(latencyMillis * (0.5 + (yield* Random.next)))))
        const now = yield* Clock.currentTimeMillis
        for (const [name, wanted] of Map.groupBy(keys, partOf)) {
          const one = part(name)
          const { [kind]: filling } = one
          const most = mostOf(kind)
          filling.tokens = Math.min(most, filling.tokens + ((now - filling.filledAt) * limits[kind]) / 1000)
          filling.filledAt = now
          if (filling.tokens < 1) {
            one.refused += 1
            const reason = new Throttled({ description: "SlowDown: please reduce your request rate", status: 503 })
            return yield* new StoreError({ operation, key: keys[0] ?? "", reason })
          }
          // A request of many keys is let through as a whole: the next ones wait for it.
          filling.tokens -= wanted.length
          one.done += 1
        }
        return yield* effect
      })

    return {
      store: {
        ...inner,
        put: (put) => request("writes", "put", [put.key], inner.put(put)),
        get: (key, get) => request("reads", "get", [key], inner.get(key, get)),
        head: (key) => request("reads", "head", [key], inner.head(key)),
        delete: (key, deletion) => request("writes", "delete", [key], inner.delete(key, deletion)),
        deleteMany: (keys, deletion) => request("writes", "deleteMany", keys, inner.deleteMany(keys, deletion)),
        copy: (copy) => request("writes", "copy", [copy.to], inner.copy(copy)),
        list: (list) => request("reads", "list", [list?.prefix ?? ""], inner.list(list))
      },
      counts: Effect.sync(() => new Map([...parts].map(([name, { done, refused }]) => [name, { done, refused }])))
    }
  })
}
