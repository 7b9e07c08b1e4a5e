/** What a log of numbers is tried with, and its orders of requests: a few in each run, more of them in depth. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
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
