/** What a log of numbers is tried with, and its orders of requests: a few in each run, more of them in depth. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"

type Store = ObjectStore["Service"]

export const prefix = "plugin=x/log"

export const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)

export const on = (store: Store, options: Partial<AppendLog.Options<number, number>> = {}) =>
  // Compression takes turns of the event loop, which a test clock does not wait for.
  AppendLog.make(store, { prefix, schema: Schema.Number, compression: "none", ...options })

export const values = <E>(stream: Stream.Stream<AppendLog.Entry<number>, E>) =>
  Effect.map(Stream.runCollect(stream), (entries) => entries.map(({ value }) => value))

/** All values; the positions follow on each other. */
export const all = Effect.fnUntraced(function* (log: AppendLog.AppendLog<number>) {
  const entries = yield* Stream.runCollect(log.read())
  const { first } = yield* log.status
  assert.deepStrictEqual(
    entries.map(({ position }) => position),
    range(entries.length, first)
  )
  return entries.map(({ value }) => value)
})

/** Ids and pauses that are the same in each run. */
export const seeded =
  (seed: number) =>
  <A, E, R>(program: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => program.pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(`${seed}`)))

/** Appends, compaction, retention and collection at once, beside a reader, in every order of requests. */
export const atOnce = (preemptions: number) =>
  Effect.gen(function* () {
    const { control, store } = yield* MemoryStore.make()
    for (const i of range(4)) yield* on(store).append([i])
    const start = yield* control.snapshot
    const schedule = Interleavings.make(store)
    const log = (client: string) => on(schedule.client(client))
    const report = yield* schedule.explore({
      before: control.restore(start),
      preemptions,
      programs: {
        a: Effect.suspend(() => {
          const mine = log("a")
          return Effect.andThen(mine.append([4]), mine.compact())
        }).pipe(seeded(1)),
        b: Effect.suspend(() => {
          const mine = log("b")
          return Effect.andThen(mine.retain({ before: 2 }), mine.collect)
        }).pipe(seeded(2)),
        c: Effect.flatMap(values(log("c").read()), (seen) =>
          Effect.sync(() => {
            // Of what was there first, or is, and no hole.
            assert.include([0, 2], seen[0])
            assert.include([3, 4], seen.at(-1))
            assert.deepStrictEqual(seen, range(seen.length, seen[0]))
          })
        ).pipe(
          // Overtaken by retention before it has read the first entries.
          Effect.catchTag("Trimmed", () => Effect.void),
          seeded(3)
        )
      },
      check: Effect.fnUntraced(function* ({ exits, trace }) {
        for (const exit of Object.values(exits)) assert.isTrue(Exit.isSuccess(exit), `${exit}\n${trace.join("\n")}`)
        const { first } = yield* on(store).status
        assert.deepStrictEqual(yield* all(on(store)), range(5 - first, first))
        yield* on(store).verify()
      })
    })
    assert.isTrue(report.complete)
  })

interface Two {
  readonly fenced: boolean
  readonly crashes: number
}

export const titleOf = ({ crashes, fenced }: Two): string =>
  `${fenced ? "by fence tokens" : "by compare-and-set alone"}, ${crashes} crashes`

/** Two who append what is pending, one of whom may crash, or stand still for long where none crashes. */
export const journalers = Effect.fnUntraced(function* (options: Two & { readonly preemptions: number }) {
  const { crashes, fenced, preemptions } = options
  const pending = range(3)
  const { control, store } = yield* MemoryStore.make()
  yield* on(store).append([0])
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  /** Appends what is pending and not in the log yet, one at a time. */
  const journal = (client: string, fence: number) =>
    Effect.gen(function* () {
      const log = on(schedule.client(client))
      if (fenced) yield* log.raiseFence(fence)
      for (;;) {
        const done = yield* values(log.read())
        const rest = pending.slice(done.length)
        if (rest.length === 0) return
        const at = { expected: done.length, ...(fenced ? { fence } : {}) }
        const outcome = yield* Effect.result(log.append(rest.slice(0, 1), at))
        if (Result.isFailure(outcome) && outcome.failure._tag !== "PositionConflict") return yield* outcome.failure
      }
    }).pipe(
      Effect.catchTag("LeaseLost", () => Effect.void),
      seeded(fence)
    )
  let wrong = 0
  const report = yield* schedule.explore({
    before: control.restore(start),
    programs: { a: journal("a", 1), b: journal("b", 2) },
    crashes,
    preemptions,
    ...(crashes === 0 ? { pause: "2 hours" } : {}),
    check: Effect.fnUntraced(function* ({ crashed, exits }) {
      const found = yield* values(on(store).read())
      const isWhole = found.every((value, i) => value === i) && found.length <= pending.length
      const isDone = found.length === pending.length
      // With tokens the elder may have been shut out by one that has crashed since.
      if (!isWhole || (!isDone && crashed.length === 0)) wrong += 1
      if (crashed.length === 0) {
        for (const exit of Object.values(exits)) assert.isTrue(Exit.isSuccess(exit), JSON.stringify(exit))
      }
      const verified = yield* Effect.result(on(store).verify())
      if (Result.isFailure(verified)) wrong += 1
    })
  })
  assert.isTrue(report.complete)
  assert.strictEqual(wrong, 0)
  assert.isAbove(report.schedules, 30)
})
