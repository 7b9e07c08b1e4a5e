/** Two processes that consume under one name, in every order of their requests. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"

const on = (store: ObjectStore["Service"]) =>
  Consumer.make(store, {
    source: AppendLog.make(store, { prefix: "log", schema: Schema.Int, compression: "none" }),
    schema: Schema.Int,
    prefix: "consumers",
    name: "c",
    batchSize: 1,
    every: 1,
    lease: "10 seconds"
  })

/** With a pause longer than the lease at each place. Gives how many orders there were, and whose turns were seen. */
export const orders = Effect.fnUntraced(function* ({ crashes }: { readonly crashes: number }) {
  const { control, store } = yield* MemoryStore.make()
  yield* AppendLog.make(store, { prefix: "log", schema: Schema.Int, compression: "none" }).append([0, 1])
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  let seen: Array<readonly [token: number, value: number]> = []
  const draining = (client: string) =>
    Effect.suspend(() =>
      on(schedule.client(client))
        .drain((entries, { token }) =>
          Effect.sync(() => void seen.push(...entries.map(({ value }) => [token, value] as const)))
        )
        .pipe(Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))), Random.withSeed(client))
    )
  const turns = new Set<string>()
  const report = yield* schedule.explore({
    before: Effect.suspend(() => {
      seen = []
      return control.restore(start)
    }),
    programs: { a: draining("a"), b: draining("b") },
    preemptions: 1,
    crashes,
    pause: "30 seconds",
    check: ({ crashed, exits }) =>
      Effect.gen(function* () {
        for (const [client, exit] of Object.entries(exits)) {
          assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
        }
        turns.add(String([...new Set(seen.map(([token]) => token))].toSorted()))
        if (crashed.length < 2) {
          assert.deepStrictEqual(yield* on(store).position, Option.some(2))
          assert.deepStrictEqual([...new Set(seen.map(([, value]) => value))].toSorted(), [0, 1])
        }
        // Of each process in order.
        for (const mine of Map.groupBy(seen, ([token]) => token).values()) {
          const values = mine.map(([, value]) => value)
          assert.deepStrictEqual(values, values.toSorted())
        }
      }).pipe(Effect.orDie)
  })
  assert.isTrue(report.complete)
  return { schedules: report.schedules, turns }
})
