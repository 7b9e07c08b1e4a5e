import { assert, describe, it } from "@effect/vitest"
import * as MessageStorage from "effect/cluster/MessageStorage"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as TestClock from "effect/testing/TestClock"
import * as ClusterScheduler from "effect-s3db/plugins/ClusterScheduler"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import { settled } from "../waiting.ts"

const start = Date.UTC(2026, 10, 26)
const second = 1000
const minute = 60_000

const cluster = Sharding.layer.pipe(
  Layer.provideMerge(Runners.layerNoop),
  Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
  Layer.provide(ShardingConfig.layer({ entityMessagePollInterval: "500 millis" }))
)
const storage = MessageStorage.layerMemory.pipe(Layer.provide(ShardingConfig.layer()))

/** Second by second, so that what is due goes on. */
const pass = (millis: number, step = second) =>
  Effect.gen(function* () {
    for (let left = millis; left > 0; left -= step) {
      yield* TestClock.adjust(step)
      yield* settled
    }
  })

const short = (slot: DateTime.Utc) => DateTime.formatIso(slot).slice(11, 19)

/** Runs jobs in a cluster until the scope that it gives is closed. */
const open = Effect.fnUntraced(function* <R>(
  options: ClusterScheduler.Options<R>,
  messages: Layer.Layer<MessageStorage.MessageStorage> = storage
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  yield* Layer.buildWithScope(
    Layer.fresh(ClusterScheduler.layer(options)).pipe(Layer.provide(Layer.fresh(cluster)), Layer.provide(messages)),
    scope
  )
  return scope
})

class Greeting extends Context.Service<Greeting, string>()("effect-s3db/test/plugins/ClusterScheduler.test/Greeting") {}

describe("ClusterScheduler", () => {
  it.effect("runs a cron expression at its slots, with the services that it needs", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const seen: Array<string> = []
      const job = Scheduler.job("every-minute", {
        schedule: "* * * * *",
        meta: { owner: "ana" },
        run: ({ attempt, idempotencyKey, isHeld, isManual, job, meta, slot, token }) =>
          Effect.gen(function* () {
            assert.isTrue(yield* isHeld)
            assert.deepStrictEqual([job, attempt, isManual, meta], ["every-minute", 1, false, { owner: "ana" }])
            assert.strictEqual(token, slot.epochMilliseconds)
            assert.strictEqual(idempotencyKey, `cluster-scheduler/default/every-minute/${token}`)
            seen.push(`${yield* Greeting} ${short(slot)}`)
          })
      })
      yield* Effect.provideService(open({ jobs: [job] }), Greeting, "hello")
      yield* pass(3 * minute + 5 * second)
      assert.deepStrictEqual(seen, ["hello 00:01:00", "hello 00:02:00", "hello 00:03:00"])
    }).pipe(Effect.scoped)
  )

  it.effect("runs an interval, counted from where it says; slots during a run pass by", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const seen: Array<string> = []
      const job = Scheduler.job("interval", {
        schedule: { every: "30 seconds", from: new Date(start + 10 * second) },
        run: ({ slot }) =>
          Effect.andThen(
            Effect.sync(() => seen.push(short(slot))),
            Effect.sleep("45 seconds")
          )
      })
      const scope = yield* open({ jobs: [job] })
      yield* pass(130 * second)
      assert.deepStrictEqual(seen, ["00:00:10", "00:01:10", "00:02:10"])
      yield* Scope.close(scope, Exit.void)
      yield* pass(minute)
      assert.strictEqual(seen.length, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("tries again, interrupts what takes too long, and goes on after what fails", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const seen: Array<string> = []
      const failing = Scheduler.job("failing", {
        schedule: "* * * * *",
        retries: 1,
        run: ({ attempt, slot }) => {
          seen.push(`${short(slot)} ${attempt}`)
          return Effect.fail("no")
        }
      })
      const slow = Scheduler.job("slow", {
        schedule: "* * * * *",
        timeout: "10 seconds",
        run: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.push("interrupted")))
      })
      yield* open({ jobs: [failing, slow] })
      yield* pass(2 * minute + 20 * second)
      assert.deepStrictEqual(
        seen.filter((one) => one !== "interrupted"),
        ["00:01:00 1", "00:01:00 2", "00:02:00 1", "00:02:00 2"]
      )
      assert.strictEqual(seen.filter((one) => one === "interrupted").length, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("after an outage makes up for one, for none, or for all", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const seen: Array<string> = []
      const jobs = (["runOnce", "skip", "runAll"] as const).map((misfire) =>
        Scheduler.job(misfire, {
          schedule: "* * * * *",
          misfire,
          run: ({ slot }) => Effect.sync(() => seen.push(`${misfire} ${short(slot)}`))
        })
      )
      const messages = Layer.succeedContext(yield* Layer.build(storage))
      const before = yield* open({ jobs }, messages)
      yield* pass(65 * second)
      yield* Scope.close(before, Exit.void)
      seen.length = 0
      yield* TestClock.adjust("5 minutes")
      yield* open({ jobs }, messages)
      yield* pass(20 * second)
      const of = (misfire: string) => seen.filter((one) => one.startsWith(misfire)).map((one) => one.split(" ")[1])
      assert.deepStrictEqual(of("runOnce"), ["00:02:00"])
      assert.deepStrictEqual(of("skip"), [])
      assert.deepStrictEqual(of("runAll"), ["00:02:00", "00:03:00", "00:04:00", "00:05:00", "00:06:00"])
    }).pipe(Effect.scoped)
  )

  it.effect("refuses what a cluster has not, and what is wrong", () =>
    Effect.gen(function* () {
      const run = () => Effect.void
      const refused = (name: string, ...policies: ReadonlyArray<Scheduler.Policy>) =>
        Effect.map(
          Effect.flip(open({ jobs: policies.map((policy) => Scheduler.job(name, { ...policy, run })) })),
          (error) => error.field
        )
      assert.strictEqual(yield* refused("a", { schedule: { at: new Date(start) } }), "schedule")
      assert.strictEqual(yield* refused("a", { schedule: "61 * * * *" }), "schedule")
      assert.strictEqual(yield* refused("a", { schedule: "@daily", overlap: "allow" }), "overlap")
      assert.strictEqual(yield* refused("a", { schedule: "@daily", overlap: "wait" }), "overlap")
      assert.strictEqual(yield* refused("a", { schedule: { every: "1 hour" }, misfire: "runAll" }), "misfire")
      assert.strictEqual(yield* refused("", { schedule: "@daily" }), "name")
      assert.strictEqual(yield* refused("a", { schedule: "@daily" }, { schedule: "@daily" }), "name")
    }).pipe(Effect.scoped)
  )
})
