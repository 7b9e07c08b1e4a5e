/** What the histories have in common: a course that follows from its seed, processes at once, and what was counted of their stores. */
import { gunzipSync, gzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Id from "effect-s3db/crypto/Id"
import type * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { engine } from "../../src/kernel/internal/compression.ts"

/** What a store does to the processes of a history. */
export const faults: FaultyStore.Faults = {
  delay: { probability: 0.4, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.06,
  duplicate: 0.03,
  late: { probability: 0.03, maxMillis: 8000 }
}

type Control = FaultyStore.FaultyStore["control"]

/** Draws ids and numbers of its own, the same each time. */
export const drawing =
  (seed: number, number: number, name: string | number) =>
  <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    program.pipe(Random.withSeed(name), Effect.provideService(Id.Generator, Id.seeded(seed * 100 + number)))

/** A history as a whole, whose pauses are those of the clock. */
export const fromSeed =
  (seed: number, name: string | number = seed, number = 99) =>
  <A, E, R>(history: Effect.Effect<A, E, R>): Effect.Effect<A, never, Exclude<R, Scope.Scope>> =>
    history.pipe(Pauses.byClock, drawing(seed, number, name), Effect.scoped, Effect.orDie)

/** The work of so many processes at once, each with draws of its own. */
export const atOnce = <A, E, R>(
  count: number,
  seed: number,
  name: string,
  work: (index: number) => Effect.Effect<A, E, R>
): Effect.Effect<void, E, R> =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => index),
    (index) => drawing(seed, index, `${name}${index}`)(work(index)),
    { concurrency: "unbounded", discard: true }
  )

/** The requests that reached the stores of all clients, and the faults that they met, by kind. */
export const countsOf = Effect.fnUntraced(function* (controls: ReadonlyArray<Control>) {
  const faults: Record<string, number> = {}
  let requests = 0
  for (const { requests: made, ...found } of yield* Effect.forEach(controls, (control) => control.stats)) {
    requests += made
    for (const [kind, count] of Object.entries(found)) faults[kind] = (faults[kind] ?? 0) + count
  }
  return { requests, faults }
})

/** Threads take as many turns as they like: what is put away is compressed at once, so that nothing depends on them. */
export const compressingAtOnce = Effect.acquireRelease(
  Effect.sync(() => {
    const { compress, decompress } = engine
    Object.assign(engine, {
      compress: (_: string, bytes: Uint8Array) => Effect.sync(() => gzipSync(bytes)),
      decompress: (_: string, bytes: Uint8Array) => Effect.sync(() => gunzipSync(bytes))
    })
    return { compress, decompress }
  }),
  (before) => Effect.sync(() => void Object.assign(engine, before))
)
