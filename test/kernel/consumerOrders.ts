/** Two processes that consume under one name, in every order of their requests. */
import { assert } from "@effect/vitest"
import type * as Duration from "effect/Duration"
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

/** How long nothing comes: both have given their lease up by then. */
const restedMillis = 75_000

/**
 * Two processes that consume, rest when nothing comes, and take the lease again as something is appended, twice, the second time in every order of
 * their requests. Gives how many orders there were, and which process had which round.
 */
export const restingOrders = Effect.fnUntraced(function* ({
  crashes,
  pause,
  preemptions
}: {
  readonly crashes: number
  readonly pause?: Duration.Input
  readonly preemptions: number
}) {
  const { control, store } = yield* MemoryStore.make()
  const log = (through: ObjectStore["Service"]) =>
    AppendLog.make(through, { prefix: "log", schema: Schema.Int, compression: "none" })
  yield* log(store).append([0, 1])
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  let seen: Array<readonly [client: string, token: number, value: number]> = []
  let rounds = 0
  const isHeld = Effect.map(
    Effect.option(store.get("consumers/consumer=c/lease")),
    Option.exists(({ body }) => /"holder":"[^"]/.test(new TextDecoder().decode(body)))
  )
  const handled = () => new Set(seen.map(([, , value]) => value)).size
  /** Its requests are put in order in the last round: what comes before is the same each time. */
  const consuming = (client: string, firstPause: Duration.Input) => {
    const ordered = schedule.client(client)
    const put: ObjectStore["Service"]["put"] = (request) => (rounds > 1 ? ordered.put(request) : store.put(request))
    const get: ObjectStore["Service"]["get"] = (...args) => (rounds > 1 ? ordered.get(...args) : store.get(...args))
    const mine: ObjectStore["Service"] = { ...ordered, put, get }
    return Effect.gen(function* () {
      const consumer = Consumer.make(mine, {
        source: log(mine),
        schema: Schema.Int,
        prefix: "consumers",
        name: "c",
        batchSize: 1,
        every: 1,
        lease: "10 seconds",
        firstPause,
        longestPause: "10 seconds"
      })
      yield* consumer.consume((entries, { token }) =>
        // What it does beside is a request, too.
        Effect.andThen(
          rounds > 1 ? ordered.list({ prefix: "outside/" }) : Effect.map(isHeld, (is) => assert.isTrue(is)),
          () => Effect.sync(() => void seen.push(...entries.map(({ value }) => [client, token, value] as const)))
        )
      )
      for (const round of [1, 2]) {
        yield* Effect.sleep(restedMillis)
        // Who is first appends for both.
        if (rounds < round) {
          assert.isFalse(yield* isHeld)
          rounds = round
          yield* log(store).append([2 * round, 2 * round + 1])
        }
        // Both look at once.
        yield* consumer.waitUntil(2 * round + 2, { firstPause: "5 seconds" })
      }
    }).pipe(
      Effect.scoped,
      Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))),
      Random.withSeed(client)
    )
  }
  const turns = new Set<string>()
  const report = yield* schedule.explore({
    before: Effect.suspend(() => {
      seen = []
      rounds = 0
      return control.restore(start)
    }),
    programs: { a: consuming("a", "5 seconds"), b: consuming("b", "7 seconds") },
    preemptions,
    crashes,
    ...(pause === undefined ? {} : { pause }),
    check: ({ crashed, exits }) =>
      Effect.gen(function* () {
        for (const [client, exit] of Object.entries(exits)) {
          assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
        }
        // Nothing is lost.
        assert.strictEqual(handled(), 6)
        turns.add([...new Set(seen.map(([client, , value]) => `${client}${Math.floor(value / 2)}`))].join(" "))
        // Again only where a process may have died after it, or stood still for longer than its lease.
        if (crashed.length === 0 && pause === undefined) assert.strictEqual(seen.length, 6)
        // What is written as handled was.
        assert.deepStrictEqual(yield* on(store).position, Option.some(6))
        // In order in each term, and for the first time.
        for (const mine of Map.groupBy(seen, ([, token]) => token).values()) {
          const values = mine.map(([, , value]) => value)
          assert.deepStrictEqual(values, values.toSorted())
          assert.strictEqual(new Set(values).size, values.length)
        }
        const firsts = [0, 1, 2, 3, 4, 5].map((value) => seen.findIndex(([, , one]) => one === value))
        assert.deepStrictEqual(
          firsts,
          firsts.toSorted((x, y) => x - y)
        )
      }).pipe(Effect.orDie)
  })
  assert.isTrue(report.complete)
  return { schedules: report.schedules, turns }
})
