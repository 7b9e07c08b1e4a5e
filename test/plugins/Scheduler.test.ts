import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { drive, keysOf, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const start = Date.parse("2026-11-26T00:00:00Z")
const minute = 60_000

/** A scheduler on a store, as another process would have it; the scope is that of the process. */
const openIn = Effect.fnUntraced(function* (scope: Scope.Scope, store: Store, options: Scheduler.Options<never>) {
  const { database } = yield* openOn(store)
  // The clock of a test stands still when its scope closes.
  return yield* Scheduler.make({ stopWithin: 0, ...options }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Scope.Scope, scope)
  )
})

const open = Effect.fnUntraced(function* (store: Store, options: Scheduler.Options<never>) {
  return yield* openIn(yield* Effect.scope, store, options)
})

/** Lets time pass in steps, so that what happens in each comes to its end. */
const pass = Effect.fnUntraced(function* (millis: number, step = 1000) {
  for (let passed = 0; passed < millis; passed += step) {
    yield* settled
    yield* TestClock.adjust(Math.min(step, millis - passed))
  }
  yield* settled
})

const noted = (slots: Array<string>, slot: { readonly epochMilliseconds: number }) =>
  Effect.sync(() => slots.push(new Date(slot.epochMilliseconds).toISOString().slice(5, 16)))

/** A store that cannot be reached at times. */
const failingAtTimes = (store: Store) => {
  let isDown = false
  const reach = <A>(operation: "get" | "put" | "list", effect: Effect.Effect<A, StoreError.StoreError>) =>
    Effect.suspend(() => {
      const reason = new StoreError.Unavailable({ description: "no answer", sent: false })
      return isDown ? Effect.fail(new StoreError.StoreError({ operation, reason })) : effect
    })
  const reached: Store = {
    ...store,
    put: (request) => reach("put", store.put(request)),
    get: (...args) => reach("get", store.get(...args)),
    list: (request) => reach("list", store.list(request))
  }
  return { store: reached, setDown: (down: boolean) => void (isDown = down) }
}

/** A job that notes down when it was due. */
const noting = (schedule: Scheduler.Schedule, policy: Partial<Scheduler.Policy> = {}) => {
  const slots: Array<string> = []
  const job = Scheduler.job("noting", {
    schedule,
    ...policy,
    run: ({ slot }) => noted(slots, slot)
  })
  return { job, slots }
}

class NoPaper extends Schema.TaggedError<NoPaper>()("NoPaper", {}) {
  override get message() {
    return "no paper\nin the tray"
  }
}

const failing = Scheduler.job("failing", {
  schedule: "@yearly",
  run: () => Effect.fail(new NoPaper())
})

const at = TestClock.setTime(start)

describe("Scheduler", () => {
  describe("slots", () => {
    it.effect("starts each slot once, whichever of three processes is first", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { job, slots } = noting("*/5 * * * *")
        for (let i = 0; i < 3; i++) yield* open(store, { jobs: [job] })
        yield* pass(16 * minute)
        assert.deepStrictEqual(slots, ["11-26T00:05", "11-26T00:10", "11-26T00:15"])
      })
    )

    /** A machine whose clock can be set, with a store that keeps the time of the test. */
    const machine = Effect.fnUntraced(function* () {
      const store = yield* memory
      const clock = yield* Clock.Clock
      let ahead = 0
      const settable: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + ahead),
        sleep: (duration) => clock.sleep(duration),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos
      }
      const timed: Store = {
        ...store,
        head: (key: string) => Effect.provideService(store.head(key), Clock.Clock, clock),
        put: (request) => Effect.provideService(store.put(request), Clock.Clock, clock)
      }
      return { clock: settable, set: (millis: number) => void (ahead = millis), store: timed }
    })

    it.effect("starts nothing too early where the clock of the machine is an hour ahead", () =>
      Effect.gen(function* () {
        yield* at
        const { clock, set, store } = yield* machine()
        set(60 * minute)
        const { job, slots } = noting("30 * * * *")
        yield* Effect.provideService(open(store, { jobs: [job] }), Clock.Clock, clock)
        yield* pass(29 * minute, minute)
        assert.deepStrictEqual(slots, [])
        yield* pass(2 * minute)
        assert.deepStrictEqual(slots, ["11-26T00:30"])
      })
    )

    it.effect("starts nothing too early, and nothing late, when the clock of the machine is set while it runs", () =>
      Effect.gen(function* () {
        yield* at
        const { clock, set, store } = yield* machine()
        const { job, slots } = noting("*/10 * * * *")
        yield* Effect.provideService(open(store, { jobs: [job] }), Clock.Clock, clock)
        yield* pass(5 * minute, minute)
        set(60 * minute)
        yield* pass(4 * minute, minute)
        assert.deepStrictEqual(slots, [])
        yield* pass(6 * minute, minute)
        assert.deepStrictEqual(slots, ["11-26T00:10"])
        set(-60 * minute)
        yield* pass(6 * minute, minute)
        assert.deepStrictEqual(slots, ["11-26T00:10", "11-26T00:20"])
      })
    )

    const outage = (misfire: Scheduler.Policy["misfire"]) =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { job, slots } = noting("0 0 * * *", { misfire })
        const process = yield* Scope.make()
        yield* openIn(process, store, { jobs: [job] })
        yield* Scope.close(process, Exit.void)
        yield* TestClock.adjust("30 days")
        yield* TestClock.adjust("1 hour")
        const scheduler = yield* open(store, { jobs: [job] })
        yield* pass(minute)
        return { slots, totals: (yield* scheduler.status("noting")).totals }
      })

    /** Two processes that note down who has started which slot, in seconds; and the one that others have seen to win. */
    const pair = Effect.fnUntraced(function* (
      store: Store,
      schedule: Scheduler.Schedule,
      run: (slot: number) => Effect.Effect<void>,
      options: Partial<Scheduler.Options<never>> = {}
    ) {
      const starts: Array<{ readonly who: string; readonly slot: number }> = []
      const process = Effect.fnUntraced(function* (who: string) {
        const scope = yield* Scope.fork(yield* Effect.scope)
        const job = Scheduler.job("noting", {
          schedule,
          run: ({ slot }) => {
            const seconds = (slot.epochMilliseconds - start) / 1000
            return Effect.andThen(
              Effect.sync(() => starts.push({ who, slot: seconds })),
              run(seconds)
            )
          }
        })
        return { who, scope, scheduler: yield* openIn(scope, store, { ...options, jobs: [job] }) }
      })
      const processes = [yield* process("a"), yield* process("b")] as const
      /** Closes the process that has started the last slot; gives the other. */
      const closeWinner = Effect.gen(function* () {
        const winner = starts.at(-1)!.who
        const [closing, staying] = winner === "a" ? processes : ([processes[1], processes[0]] as const)
        yield* Scope.close(closing.scope, Exit.void)
        return staying
      })
      return { starts, closeWinner }
    })

    it.effect("starts the very next slot where the process is closed that has started those before", () =>
      Effect.gen(function* () {
        yield* at
        const { closeWinner, starts } = yield* pair(yield* memory, "* * * * * *", () => Effect.sleep("100 millis"))
        yield* pass(3500, 100)
        const { scheduler, who } = yield* closeWinner
        yield* pass(3000, 100)
        assert.deepStrictEqual(
          starts.map(({ slot }) => slot),
          [1, 2, 3, 4, 5, 6]
        )
        assert.deepStrictEqual(
          starts.slice(3),
          [4, 5, 6].map((slot) => ({ who, slot }))
        )
        const { totals } = yield* scheduler.status("noting")
        assert.deepStrictEqual([totals.success, totals.missed, totals.skipped], [6, 0, 0])
      }).pipe(Pauses.byClock)
    )

    it.effect("starts the slot that comes after a long run of a process that is closed then", () =>
      Effect.gen(function* () {
        yield* at
        const { closeWinner, starts } = yield* pair(
          yield* memory,
          "*/10 * * * * *",
          (slot) => (slot === 10 ? Effect.sleep("25 seconds") : Effect.void),
          { lease: "3 seconds" }
        )
        yield* pass(36_000, 500)
        const { scheduler, who } = yield* closeWinner
        yield* pass(14_500, 500)
        assert.deepStrictEqual(
          starts.map(({ slot }) => slot),
          [10, 40, 50]
        )
        assert.deepStrictEqual(starts.at(1), { who, slot: 40 })
        const { totals } = yield* scheduler.status("noting")
        assert.deepStrictEqual([totals.success, totals.missed, totals.skipped], [3, 0, 2])
      }).pipe(Pauses.byClock)
    )

    it.effect("makes up for an outage of 30 days by one run", () =>
      Effect.gen(function* () {
        const { slots, totals } = yield* outage(undefined)
        assert.deepStrictEqual(slots, ["12-26T00:00"])
        assert.strictEqual(totals.missed, 29)
      })
    )

    it.effect("makes up for it by all runs", () =>
      Effect.gen(function* () {
        const { slots, totals } = yield* outage("runAll")
        assert.strictEqual(slots.length, 30)
        assert.deepStrictEqual([slots[0], slots.at(-1)], ["11-27T00:00", "12-26T00:00"])
        assert.strictEqual(totals.missed, 0)
      })
    )

    it.effect("makes up for it by all runs, one after the other, also if they take their time", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const slots: Array<string> = []
        const job = Scheduler.job("noting", {
          schedule: "0 * * * *",
          misfire: "runAll",
          run: ({ slot }) => Effect.andThen(noted(slots, slot), Effect.sleep("50 minutes"))
        })
        const process = yield* Scope.make()
        yield* openIn(process, store, { jobs: [job] })
        yield* Scope.close(process, Exit.void)
        yield* TestClock.adjust("3 hours")
        yield* TestClock.adjust("1 minute")
        const scheduler = yield* open(store, { jobs: [job] })
        yield* pass(3 * 60 * minute, 10_000)
        // What came while the second was under way was due before the third began.
        assert.deepStrictEqual(slots, ["11-26T01:00", "11-26T02:00", "11-26T03:00", "11-26T04:00"])
        assert.strictEqual((yield* scheduler.status("noting")).totals.skipped, 0)
      })
    )

    it.effect("makes up for nothing", () =>
      Effect.gen(function* () {
        const { slots, totals } = yield* outage("skip")
        assert.deepStrictEqual(slots, [])
        assert.strictEqual(totals.missed, 30)
      })
    )

    it.effect("runs what is due once, also in more than 24.8 days, and what was due already", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const ran: Array<string> = []
        const once = (name: string, moment: number) =>
          Scheduler.job(name, { schedule: { at: new Date(moment) }, run: () => Effect.sync(() => ran.push(name)) })
        const jobs = [once("late", start - minute), once("far", start + 100 * 86_400_000)]
        const pollInterval = "7 days"
        yield* open(store, { jobs, pollInterval })
        yield* pass(minute)
        assert.deepStrictEqual(ran, ["late"])
        yield* pass(99 * 86_400_000, 86_400_000)
        assert.deepStrictEqual(ran, ["late"])
        yield* pass(86_400_000, 3_600_000)
        assert.deepStrictEqual(ran, ["late", "far"])
        yield* open(store, { jobs, pollInterval })
        yield* pass(10 * minute)
        assert.deepStrictEqual(ran, ["late", "far"])
      })
    )

    it.effect("keeps counting an interval from where it began, whoever starts anew", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { job, slots } = noting({ every: "90 minutes" })
        const process = yield* Scope.make()
        yield* openIn(process, store, { jobs: [job] })
        yield* pass(100 * minute, minute)
        yield* Scope.close(process, Exit.void)
        yield* open(store, { jobs: [job] })
        yield* pass(81 * minute, minute)
        assert.deepStrictEqual(slots, ["11-26T01:30", "11-26T03:00"])
      })
    )
  })

  describe("overlap", () => {
    const slow = (overlap: Scheduler.Policy["overlap"]) =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const now: Array<string> = []
        const job = Scheduler.job("slow", {
          schedule: "* * * * *",
          overlap,
          run: ({ slot }) =>
            Effect.gen(function* () {
              now.push(`begins ${new Date(slot.epochMilliseconds).getUTCMinutes()}`)
              yield* Effect.sleep(150_000)
              now.push(`ends ${new Date(slot.epochMilliseconds).getUTCMinutes()}`)
            })
        })
        const schedulers = [yield* open(store, { jobs: [job] }), yield* open(store, { jobs: [job] })]
        yield* pass(5 * minute + 30_000)
        return { now, totals: (yield* schedulers[0]!.status("slow")).totals }
      })

    it.effect("lets slots go by while a run is under way, in whichever process", () =>
      Effect.gen(function* () {
        const { now, totals } = yield* slow(undefined)
        assert.deepStrictEqual(now, ["begins 1", "ends 1", "begins 4"])
        assert.strictEqual(totals.skipped, 3)
      })
    )

    it.effect("runs the last of the slots that have waited", () =>
      Effect.gen(function* () {
        const { now } = yield* slow("wait")
        assert.deepStrictEqual(now, ["begins 1", "ends 1", "begins 3"])
      })
    )

    it.effect("runs beside", () =>
      Effect.gen(function* () {
        const { now } = yield* slow("allow")
        assert.deepStrictEqual(now, [
          "begins 1",
          "begins 2",
          "begins 3",
          "ends 1",
          "begins 4",
          "ends 2",
          "begins 5",
          "ends 3"
        ])
      })
    )
  })

  describe("runs", () => {
    it.effect("tells how a run went, and keeps what it failed with", () =>
      Effect.gen(function* () {
        yield* at
        const scheduler = yield* open(yield* memory, { jobs: [failing] })
        const run = yield* scheduler.trigger("failing")
        assert.strictEqual(run.status, "failure")
        assert.deepStrictEqual(run.error, Option.some("no paper"))
        assert.isTrue(run.isManual)
        const { last, running, totals } = yield* scheduler.status("failing")
        assert.deepStrictEqual(last, Option.some(run))
        assert.deepStrictEqual(running, [])
        assert.strictEqual(totals.failure, 1)
      })
    )

    it.effect("says once that a run has ended as a failure, or took too long, when no attempt is left", () =>
      Effect.gen(function* () {
        yield* at
        const errors: Array<string> = []
        const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
          if (logLevel === "Error") errors.push(String(message))
        })
        const jobs = [
          failing,
          Scheduler.job("again", { schedule: "@yearly", retries: 1, run: () => Effect.fail("no ink") }),
          Scheduler.job("slow", { schedule: "@yearly", timeout: "5 seconds", run: () => Effect.never }),
          Scheduler.job("fine", {
            schedule: "@yearly",
            retries: 1,
            run: ({ attempt }) => (attempt === 1 ? Effect.fail("not yet") : Effect.void)
          })
        ]
        yield* Effect.gen(function* () {
          const scheduler = yield* open(yield* memory, { jobs })
          for (const { name } of jobs) yield* drive(yield* Effect.forkChild(scheduler.trigger(name)))
        }).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(errors, [
          "job failing: run 1 has ended as a failure, after 1 of 1 attempts: no paper",
          "job again: run 1 has ended as a failure, after 2 of 2 attempts: no ink",
          "job slow: run 1 has ended as a timeout, after 1 of 1 attempts: it took longer than 5000 ms"
        ])
      })
    )

    it.effect("starts by hand what is off", () =>
      Effect.gen(function* () {
        yield* at
        const { job, slots } = noting("@yearly")
        const scheduler = yield* open(yield* memory, { jobs: [job] })
        yield* scheduler.disable("noting")
        assert.strictEqual((yield* scheduler.trigger("noting")).status, "success")
        assert.strictEqual(slots.length, 1)
        assert.isFalse((yield* scheduler.status("noting")).isEnabled)
      })
    )

    it.effect("tries again as often as it is told, and counts the attempts", () =>
      Effect.gen(function* () {
        yield* at
        let attempts = 0
        const job = Scheduler.job("flaky", {
          schedule: "@yearly",
          retries: 2,
          run: ({ attempt }) =>
            Effect.suspend(() => {
              attempts += 1
              return attempt < 3 ? Effect.fail("not yet") : Effect.void
            })
        })
        const scheduler = yield* open(yield* memory, { jobs: [job] })
        const run = yield* drive(yield* Effect.forkChild(scheduler.trigger("flaky")))
        assert.deepStrictEqual([run.status, run.attempts, attempts], ["success", 3, 3])
      })
    )

    it.effect("interrupts what takes too long", () =>
      Effect.gen(function* () {
        yield* at
        let isInterrupted = false
        const job = Scheduler.job("stuck", {
          schedule: "@yearly",
          timeout: "10 seconds",
          run: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (isInterrupted = true)))
        })
        const scheduler = yield* open(yield* memory, { jobs: [job] })
        const run = yield* drive(yield* Effect.forkChild(scheduler.trigger("stuck")))
        assert.strictEqual(run.status, "timeout")
        assert.isTrue(isInterrupted)
      })
    )

    it.effect("refuses a second run at the same time, from any process", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const gate = yield* Deferred.make<void>()
        const job = Scheduler.job("one", { schedule: "@yearly", run: () => Deferred.await(gate) })
        const one = yield* open(store, { jobs: [job] })
        const other = yield* open(store, { jobs: [job] })
        const running = yield* Effect.forkChild(one.trigger("one"))
        yield* settled
        const refused = yield* Effect.flip(other.trigger("one"))
        assert.strictEqual(refused._tag, "JobRunning")
        assert.strictEqual((yield* other.status("one")).running.length, 1)
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Fiber.join(running)).status, "success")
        assert.strictEqual((yield* other.trigger("one")).token, 2)
      })
    )

    it.effect("lets a run end when it is closed, and interrupts one that takes longer", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const sleeping = (name: string, seconds: number) =>
          Scheduler.job(name, { schedule: "@yearly", run: () => Effect.sleep(seconds * 1000) })
        const jobs = [sleeping("short", 3), sleeping("long", 100)]
        const process = yield* Scope.make()
        const scheduler = yield* openIn(process, store, { jobs, stopWithin: "5 seconds" })
        for (const { name } of jobs) yield* Effect.forkChild(Effect.ignore(scheduler.trigger(name)))
        yield* settled
        yield* drive(yield* Effect.forkChild(Scope.close(process, Exit.void)))
        const other = yield* open(store, { jobs })
        const statuses = (yield* other.statuses).map(({ last, name }) => [name, Option.getOrThrow(last).status])
        assert.deepStrictEqual(statuses, [
          ["long", "interrupted"],
          ["short", "success"]
        ])
      })
    )

    it.effect("takes a run for lost whose process has died, and starts the next one", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        let isDead = false
        const dying: Store = { ...store, put: (request) => (isDead ? Effect.never : store.put(request)) }
        const { job, slots } = noting("*/10 * * * *")
        const hanging = Scheduler.job("noting", { schedule: "*/10 * * * *", run: () => Effect.never })
        // Who has died closes nothing.
        yield* openIn(yield* Scope.make(), dying, { jobs: [hanging] })
        yield* pass(10 * minute + 1000)
        isDead = true
        const other = yield* open(store, { jobs: [job] })
        yield* pass(10 * minute)
        assert.deepStrictEqual(slots, ["11-26T00:20"])
        const history = yield* other.history("noting")
        assert.deepStrictEqual(
          history.map(({ status, token }) => [token, status]),
          [
            [2, "success"],
            [1, "lost"]
          ]
        )
        assert.strictEqual((yield* other.status("noting")).totals.lost, 1)
      })
    )

    it.effect("refuses what a process writes that stood still for longer than the lease", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const resumed = yield* Deferred.make<void>()
        let isStill = false
        const still = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => (isStill ? Effect.andThen(Deferred.await(resumed), effect) : effect))
        const pausing: Store = {
          ...store,
          put: (request) => still(store.put(request)),
          get: (...args) => still(store.get(...args)),
          list: (request) => still(store.list(request))
        }
        const held: Array<boolean> = []
        const done = yield* Deferred.make<void>()
        const paused = Scheduler.job("noting", {
          schedule: "*/10 * * * *",
          run: ({ isHeld }) =>
            Effect.uninterruptible(
              Effect.gen(function* () {
                yield* Deferred.await(done)
                held.push(yield* Effect.orDie(isHeld))
              })
            )
        })
        yield* open(pausing, { jobs: [paused] })
        yield* pass(10 * minute + 1000)
        isStill = true
        const { job } = noting("*/10 * * * *")
        const other = yield* open(store, { jobs: [job] })
        yield* pass(10 * minute)
        isStill = false
        yield* Deferred.succeed(resumed, undefined)
        yield* Deferred.succeed(done, undefined)
        yield* pass(2 * minute)
        assert.deepStrictEqual(held, [false])
        const history = yield* other.history("noting")
        assert.deepStrictEqual(
          history.map(({ status, token }) => [token, status]),
          [
            [2, "success"],
            [1, "lost"]
          ]
        )
      })
    )

    it.effect("goes on with a job whose run ended while the store was out of reach for longer than the lease", () =>
      Effect.gen(function* () {
        yield* at
        const { setDown, store } = failingAtTimes(yield* memory)
        const slots: Array<string> = []
        const job = Scheduler.job("noting", {
          schedule: "* * * * *",
          run: ({ slot }) => Effect.andThen(Effect.sleep(5000), noted(slots, slot))
        })
        const scheduler = yield* open(store, { jobs: [job] })
        yield* pass(minute + 1000)
        setDown(true)
        yield* pass(70_000)
        setDown(false)
        yield* pass(2 * minute)
        assert.deepStrictEqual(slots, ["11-26T00:01", "11-26T00:02", "11-26T00:03", "11-26T00:04"])
        const { running, totals } = yield* scheduler.status("noting")
        assert.deepStrictEqual([totals.success, totals.skipped, running], [4, 0, []])
      })
    )

    const unspeakable: ReadonlyArray<readonly [string, unknown]> = [
      ["an object without a prototype", Object.create(null)],
      ["an error whose message is no text", Object.assign(new Error("x"), { message: 42 })],
      [
        "an error whose message throws",
        Object.defineProperty(new Error("x"), "message", {
          get() {
            throw new Error("no message")
          }
        })
      ]
    ]
    it.effect.each(unspeakable)("goes on with a job that fails with %s", ([, error]) =>
      Effect.gen(function* () {
        yield* at
        const job = Scheduler.job("odd", { schedule: "* * * * *", run: () => Effect.fail(error) })
        const scheduler = yield* open(yield* memory, { jobs: [job] })
        yield* pass(3 * minute)
        const { running, totals } = yield* scheduler.status("odd")
        assert.deepStrictEqual([totals.failure, totals.skipped, running], [3, 0, []])
      })
    )

    it.effect("does not begin with a run that others have taken for lost before its start was confirmed", () =>
      Effect.gen(function* () {
        yield* at
        const inner = yield* memory
        let isSlow = true
        const isStart = (body: unknown) =>
          body instanceof Uint8Array && new TextDecoder().decode(body).includes('"status":"running"')
        const slow: Store = {
          ...inner,
          put: (request) =>
            Effect.suspend(() => {
              if (!isSlow || !isStart(request.body)) return inner.put(request)
              isSlow = false
              return Effect.tap(inner.put(request), () => Effect.sleep(70_000))
            })
        }
        const begun: Array<string> = []
        const job = (who: string) =>
          Scheduler.job("one", {
            schedule: "* * * * *",
            run: ({ token }) =>
              Effect.andThen(
                Effect.sync(() => begun.push(`${who} ${token}`)),
                Effect.sleep(90_000)
              )
          })
        yield* open(slow, { jobs: [job("slow")] })
        const other = yield* open(inner, { jobs: [job("other")] })
        yield* pass(2.5 * minute)
        assert.deepStrictEqual(begun, ["other 2"])
        const history = yield* other.history("one")
        assert.deepStrictEqual(
          history.map(({ status, token }) => [token, status]),
          [
            [2, "running"],
            [1, "lost"]
          ]
        )
      })
    )

    it.effect("ends what was started by hand as it was closed, and starts nothing afterwards", () =>
      Effect.gen(function* () {
        yield* at
        const inner = yield* memory
        let pause = 0
        const slow: Store = { ...inner, put: (request) => Effect.delay(inner.put(request), pause) }
        const process = yield* Scope.make()
        const job = Scheduler.job("one", { schedule: "@yearly", run: () => Effect.never })
        const scheduler = yield* openIn(process, slow, { jobs: [job] })
        pause = 3000
        const triggered = yield* Effect.forkChild(scheduler.trigger("one"))
        yield* pass(1000)
        const closing = yield* Effect.forkChild(Scope.close(process, Exit.void))
        const run = yield* drive(triggered)
        yield* drive(closing)
        assert.deepStrictEqual([run.status, run.token], ["interrupted", 1])
        assert.deepStrictEqual((yield* scheduler.status("one")).running, [])
        const late = yield* Effect.flip(scheduler.trigger("one"))
        assert.strictEqual(late._tag, "DbError")
        assert.include(late.message, "the scheduler is closed")
        assert.deepStrictEqual(
          (yield* scheduler.history("one")).map(({ token }) => token),
          [1]
        )
        assert.strictEqual((yield* scheduler.statuses).length, 1)
      })
    )

    it.effect("tells of a run that interrupts itself", () =>
      Effect.gen(function* () {
        yield* at
        const job = Scheduler.job("one", { schedule: "@yearly", retries: 2, run: () => Effect.interrupt })
        const scheduler = yield* open(yield* memory, { jobs: [job] })
        assert.strictEqual((yield* scheduler.trigger("one")).status, "interrupted")
      })
    )

    it.effect("keeps the last runs, and gives those of one status", () =>
      Effect.gen(function* () {
        yield* at
        let runs = 0
        const job = Scheduler.job("odd", {
          schedule: "@yearly",
          run: () => Effect.suspend(() => ((runs += 1) % 2 === 1 ? Effect.fail("odd") : Effect.void))
        })
        const scheduler = yield* open(yield* memory, { jobs: [job], historyLimit: 4 })
        for (let i = 0; i < 6; i++) yield* scheduler.trigger("odd")
        const tokens = (runs: ReadonlyArray<Scheduler.Run>) => runs.map(({ token }) => token)
        // The one that was started last came beside four that were kept.
        assert.deepStrictEqual(tokens(yield* scheduler.history("odd", { limit: 3 })), [6, 5, 4])
        assert.deepStrictEqual(tokens(yield* scheduler.history("odd", { status: "failure" })), [5, 3])
      })
    )

    /** What runs give, what is kept of it, and what is said of what is not. */
    const results: ReadonlyArray<readonly [what: string, given: () => unknown, kept: unknown, omitted?: string]> = [
      [
        "a record",
        () => ({ rows: 3, of: ["a", null, 1.5, true], "": { deep: -0 } }),
        { rows: 3, of: ["a", null, 1.5, true], "": { deep: 0 } }
      ],
      ["members that are undefined", () => ({ rows: 3, error: undefined }), { rows: 3 }],
      [
        "names that are setters elsewhere",
        () => JSON.parse('{"__proto__":{"a":1}}'),
        JSON.parse('{"__proto__":{"a":1}}')
      ],
      ["half a character", () => "\ud800", "\ud800"],
      ["null", () => null, null],
      ["false", () => false, false],
      ["nothing", () => undefined, undefined],
      ["a number that is none", () => [Number.NaN], undefined, "notJson"],
      ["a list with a hole", () => [1, undefined], undefined, "notJson"],
      ["an object of a class", () => ({ at: new Date(0) }), undefined, "notJson"],
      ["an object that says what it is as JSON", () => ({ toJSON: () => 1 }), undefined, "notJson"],
      ["a bigint", () => 1n, undefined, "notJson"],
      ["a function", () => () => 1, undefined, "notJson"],
      ["a circle", () => ((one) => Object.assign(one, { one }))({}), undefined, "notJson"],
      [
        "what cannot be looked at",
        () =>
          new Proxy(
            {},
            {
              ownKeys: () => {
                throw new Error("no")
              }
            }
          ),
        undefined,
        "notJson"
      ],
      ["2,048 bytes", () => "x".repeat(2046), "x".repeat(2046)],
      ["2,049 bytes", () => "x".repeat(2047), undefined, "tooLarge"],
      ["1,026 characters of more than a byte", () => "ä".repeat(1026), undefined, "tooLarge"],
      [
        "what is deeper than the stack",
        () => {
          let one: unknown = 1
          for (let i = 0; i < 100_000; i++) one = [one]
          return one
        },
        undefined,
        "tooLarge"
      ]
    ]

    it.effect.each(results)("keeps what a run gives: %s", ([, given, kept, omitted]) =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const job = Scheduler.job("giving", { schedule: "@yearly", run: () => Effect.sync(given) })
        const run = yield* (yield* open(store, { jobs: [job] })).trigger("giving")
        assert.strictEqual(run.status, "success")
        // Another process has it, too.
        const [read] = yield* (yield* open(store, {})).history("giving")
        for (const one of [run, read!]) {
          assert.deepStrictEqual(one.result, kept === undefined ? Option.none() : Option.some(kept))
          assert.deepStrictEqual(one.resultOmitted, Option.fromUndefinedOr(omitted))
        }
      })
    )

    it.effect("keeps nothing of what an attempt before has given, and costs no request more", () =>
      Effect.gen(function* () {
        yield* at
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const job = Scheduler.job("giving", { schedule: "@yearly", run: () => Effect.succeed({ rows: 3 }) })
        const bare = Scheduler.job("bare", { schedule: "@yearly", run: () => Effect.void })
        const scheduler = yield* open(store, { jobs: [job, bare, failing] })
        const costs = Effect.fnUntraced(function* (name: string) {
          const before = yield* counter.counts
          yield* scheduler.trigger(name)
          yield* settled
          const after = yield* counter.counts
          return { put: after.put - before.put, get: after.get - before.get }
        })
        assert.strictEqual((yield* costs("giving")).put, 2)
        assert.deepStrictEqual(yield* costs("giving"), yield* costs("bare"))
        const run = yield* scheduler.trigger("failing")
        assert.deepStrictEqual([run.result, run.resultOmitted], [Option.none(), Option.none()])
        assert.deepStrictEqual(
          (yield* scheduler.status("giving")).last.pipe(Option.flatMap(({ result }) => result)),
          Option.some({ rows: 3 })
        )
      })
    )

    it.effect("tells what happens", () =>
      Effect.gen(function* () {
        yield* at
        const scheduler = yield* open(yield* memory, { jobs: [failing] })
        const events = yield* Effect.forkChild(Stream.runCollect(Stream.take(scheduler.events, 2)))
        yield* settled
        yield* scheduler.trigger("failing")
        const seen = [...(yield* Fiber.join(events))]
        assert.deepStrictEqual(
          seen.map((event) => [event._tag, event._tag === "Lagged" ? event.missed : event.job]),
          [
            ["Started", "failing"],
            ["Ended", "failing"]
          ]
        )
      })
    )
  })

  describe("jobs", () => {
    it.effect("are off until they are on again, in all processes, without making up for it", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { job, slots } = noting("*/5 * * * *")
        yield* open(store, { jobs: [job] })
        const other = yield* open(store, { jobs: [job] })
        yield* other.disable("noting")
        yield* pass(12 * minute)
        assert.deepStrictEqual(slots, [])
        assert.isFalse((yield* other.status("noting")).isEnabled)
        assert.deepStrictEqual((yield* other.status("noting")).next, Option.none())
        yield* other.enable("noting")
        yield* pass(4 * minute)
        assert.deepStrictEqual(slots, ["11-26T00:15"])
      })
    )

    it.effect("are changed by a newer program, which makes up for nothing of its own schedule", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const old = noting("*/5 * * * *")
        const process = yield* Scope.make()
        yield* openIn(process, store, { jobs: [old.job] })
        yield* pass(6 * minute)
        yield* Scope.close(process, Exit.void)
        const next = noting("*/7 * * * *")
        yield* open(store, { jobs: [next.job] })
        yield* pass(9 * minute)
        assert.deepStrictEqual([old.slots, next.slots], [["11-26T00:05"], ["11-26T00:07", "11-26T00:14"]])
      })
    )

    const sent: Array<string> = []
    const Mail = Scheduler.task("send-mail", {
      payload: Schema.Struct({ to: Schema.String, on: Schema.Date }),
      run: ({ on, to }) => Effect.sync(() => sent.push(`${to} ${on.toISOString()}`))
    })
    const payload = { to: "a@example.com", on: new Date(0) }

    it.effect("are added at run time, survive restarts, and run where their task is", () =>
      Effect.gen(function* () {
        yield* at
        sent.length = 0
        const store = yield* memory
        const process = yield* Scope.make()
        const scheduler = yield* openIn(process, store, {})
        yield* scheduler.add({ name: "mail/á", task: Mail, payload, schedule: "*/10 * * * *" })
        yield* pass(11 * minute)
        assert.deepStrictEqual(sent, [])
        assert.strictEqual((yield* Effect.flip(scheduler.trigger("mail/á")))._tag, "UnknownJob")
        yield* Scope.close(process, Exit.void)
        const other = yield* open(store, { tasks: [Mail] })
        yield* pass(minute)
        assert.deepStrictEqual(sent, ["a@example.com 1970-01-01T00:00:00.000Z"])
        // One that is there already learns of it within a minute.
        yield* (yield* open(store, {})).add({ name: "soon", task: Mail, payload, schedule: "* * * * *" })
        yield* pass(90_000)
        assert.strictEqual(sent.length, 2)
        yield* other.remove("mail/á")
        assert.deepStrictEqual(
          (yield* other.statuses).map(({ name, task }) => [name, task]),
          [["soon", "send-mail"]]
        )
        assert.strictEqual((yield* Effect.flip(other.status("mail/á")))._tag, "UnknownJob")
        yield* other.add({ name: "mail/á", task: Mail, payload, schedule: "@yearly" })
        // Tokens go on from where they were.
        assert.strictEqual((yield* other.trigger("mail/á")).token, 2)
      })
    )

    it.effect("that are due once run for a moment that is over, or are refused if they never would", () =>
      Effect.gen(function* () {
        yield* at
        sent.length = 0
        const store = yield* memory
        const scheduler = yield* open(store, { tasks: [Mail] })
        const keys = yield* keysOf(store)
        const add = (name: string, moment: number, policy: Partial<Scheduler.Policy> = {}) =>
          Effect.result(scheduler.add({ name, task: Mail, payload, ...policy, schedule: { at: new Date(moment) } }))
        const isRefused = Effect.map((result: Result.Result<void, { readonly _tag: string }>) =>
          Result.isFailure(result) ? result.failure._tag : "added"
        )
        assert.strictEqual(yield* isRefused(add("skipped", start - 2 * minute, { misfire: "skip" })), "InvalidJob")
        assert.deepStrictEqual(yield* keysOf(store), keys)
        assert.strictEqual(
          yield* isRefused(add("late", start - 2 * minute, { misfire: "skip", grace: "1 hour" })),
          "added"
        )
        assert.strictEqual(yield* isRefused(add("once", start - 2 * minute)), "added")
        yield* pass(minute)
        assert.strictEqual(sent.length, 2)
        // As it is it has been run: to add it again changes nothing.
        assert.strictEqual(yield* isRefused(add("once", start - 2 * minute)), "added")
        assert.strictEqual(yield* isRefused(add("once", start - 3 * minute)), "InvalidJob")
        yield* scheduler.remove("once")
        assert.strictEqual(yield* isRefused(add("once", start - 2 * minute)), "InvalidJob")
        assert.strictEqual((yield* Effect.flip(scheduler.status("once")))._tag, "UnknownJob")
        assert.strictEqual(yield* isRefused(add("once", start + 5 * minute)), "added")
        yield* pass(10 * minute)
        assert.strictEqual(sent.length, 3)
      })
    )

    it.effect("are refused with what is wrong, and nothing is written", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const scheduler = yield* open(store, { jobs: [failing], tasks: [Mail] })
        const job = { name: "mail", task: Mail, payload, schedule: "@daily" } as const
        const refused = Effect.fnUntraced(function* (change: Partial<Scheduler.Addition<typeof payload>>) {
          const error = yield* Effect.flip(scheduler.add({ ...job, ...change }))
          return error._tag === "InvalidJob" ? error.field : error._tag
        })
        assert.strictEqual(yield* refused({ name: "" }), "name")
        assert.strictEqual(yield* refused({ name: "\ud800" }), "name")
        assert.strictEqual(yield* refused({ name: "x".repeat(600) }), "name")
        assert.strictEqual(yield* refused({ name: "failing" }), "name")
        assert.strictEqual(yield* refused({ schedule: "61 * * * *" }), "schedule")
        for (const schedule of [
          undefined,
          null,
          5,
          {},
          { cron: 5 },
          ["@daily"],
          { cron: "@daily", whenRepeated: "never" },
          { cron: "@daily", timeZone: 5 },
          { cron: "@daily", timeZone: "\ud800" },
          { every: Number.NaN },
          { every: 1500.5 },
          { every: "1 day", from: 1e300 },
          { at: Infinity }
        ]) {
          assert.strictEqual(yield* refused({ schedule: schedule as never }), "schedule")
        }
        // What no process could read afterwards.
        assert.strictEqual(yield* refused({ misfire: "once" as never }), "misfire")
        assert.strictEqual(yield* refused({ overlap: "never" as never }), "overlap")
        assert.strictEqual(yield* refused({ schedule: { every: Number.MAX_SAFE_INTEGER } }), "schedule")
        assert.strictEqual(yield* refused({ timeout: 0 }), "timeout")
        assert.strictEqual(yield* refused({ grace: "soon" as never }), "grace")
        assert.strictEqual(yield* refused({ retries: -1 }), "retries")
        assert.strictEqual(yield* refused({ retries: Number.NaN }), "retries")
        assert.strictEqual(yield* refused({ description: 5 as never }), "description")
        assert.strictEqual(yield* refused({ payload: { ...payload, to: 5 as never } }), "payload")
        assert.strictEqual((yield* scheduler.statuses).length, 1)
        for (const unknown of [
          scheduler.remove("x"),
          scheduler.enable("x"),
          scheduler.disable("x"),
          scheduler.history("x"),
          ...["", "\ud800", "x".repeat(2000)].flatMap((name) => [scheduler.status(name), scheduler.trigger(name)])
        ]) {
          assert.strictEqual((yield* Effect.flip(unknown))._tag, "UnknownJob")
        }
        for (const options of [
          { lease: "1 second" },
          { pollInterval: 0 },
          { stopWithin: "30 days" },
          { concurrency: 0 },
          { historyLimit: 1.5 },
          { jobs: [failing, failing] },
          { tasks: [Mail, Mail] }
        ] satisfies ReadonlyArray<Scheduler.Options<never>>) {
          assert.strictEqual((yield* Effect.flip(open(store, options)))._tag, "InvalidJob")
        }
        assert.strictEqual((yield* Effect.flip(open(store, { namespace: "a/b" })))._tag, "InvalidPlugin")
        assert.strictEqual(
          (yield* Effect.flip(open(store, { concurrency: 0 }))).message,
          "the options of the scheduler, concurrency: Expected a whole number from 1 to 10,000"
        )
      })
    )

    it.effect("have data of their own, which handlers and listings have, and which can be changed", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const seen: Array<unknown> = []
        const run = ({ meta }: Scheduler.RunContext) => Effect.sync(() => void seen.push(meta))
        const note = Scheduler.task("note", { payload: Schema.String, run: (_, context) => run(context) })
        const job = (meta?: Scheduler.Policy["meta"]) =>
          Scheduler.job("owned", { schedule: { every: "1 hour" }, run, ...(meta === undefined ? {} : { meta }) })
        const process = yield* Scope.make()
        const one = yield* openIn(process, store, { jobs: [job({ owner: "ana", of: ["reports"] })], tasks: [note] })
        yield* one.add({ name: "added", task: note, payload: "", schedule: "@yearly", meta: { owner: "bo" } })
        yield* one.add({ name: "bare", task: note, payload: "", schedule: "@yearly" })
        for (const name of ["owned", "added", "bare"]) yield* one.trigger(name)
        assert.deepStrictEqual(seen, [{ owner: "ana", of: ["reports"] }, { owner: "bo" }, {}])
        const metas = Effect.fnUntraced(function* (scheduler: Scheduler.Scheduler["Service"]) {
          return (yield* scheduler.statuses).map(({ meta, name }) => [name, meta] as const)
        })
        assert.deepStrictEqual(yield* metas(yield* open(store, {})), [
          ["added", { owner: "bo" }],
          ["bare", {}],
          ["owned", { owner: "ana", of: ["reports"] }]
        ])
        yield* Scope.close(process, Exit.void)
        const next = (yield* one.status("owned")).next
        yield* TestClock.adjust("10 minutes")
        // Slots stay where they are.
        const other = yield* open(store, { jobs: [job({ owner: "cy" })], tasks: [note] })
        assert.deepStrictEqual((yield* other.status("owned")).meta, { owner: "cy" })
        assert.deepStrictEqual((yield* other.status("owned")).next, next)
        const refused = Effect.fnUntraced(function* (meta: unknown) {
          const adding = other.add({ name: "x", task: note, payload: "", schedule: "@yearly", meta: meta as {} })
          const error = yield* Effect.flip(adding)
          return error._tag === "InvalidJob" ? `${error.field}: ${error.problem}` : error._tag
        })
        for (const meta of [null, [], "a", 5, { a: new Date(0) }, { a: Number.NaN }]) {
          assert.strictEqual(yield* refused(meta), "meta: Expected an object of JSON")
        }
        assert.strictEqual(yield* refused({ a: "x".repeat(2048) }), "meta: Expected at most 2,048 bytes as JSON")
      })
    )

    it.effect("tell when they are added, changed, switched off and on, and removed: once, where it is done", () =>
      Effect.gen(function* () {
        yield* at
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const { database } = yield* openOn(store)
        const all = yield* Effect.provideService(Plugin.events, Database, database)
        const published = Stream.filter(all.stream(), ({ _tag }) => _tag === "Published")
        const told = yield* Effect.forkChild(Stream.runCollect(Stream.take(published, 1)))
        yield* settled
        const scheduler = yield* Scheduler.make({ jobs: [failing], tasks: [Mail], stopWithin: 0 }).pipe(
          Effect.provideService(Database, database)
        )
        // That of the program was there before anybody could ask for events of this one.
        const [first] = yield* Fiber.join(told)
        assert.deepInclude(first as {}, { plugin: "scheduler", event: { _tag: "Added", job: "failing" } })
        const seen: Array<unknown> = []
        yield* Effect.forkChild(Stream.runForEach(scheduler.events, (event) => Effect.sync(() => seen.push(event))))
        yield* settled
        const mail = { name: "mail", task: Mail, payload, schedule: "@daily" } as const
        const before = yield* counter.counts
        yield* scheduler.add(mail)
        yield* scheduler.add(mail)
        yield* scheduler.add({ ...mail, description: "letters" })
        yield* scheduler.disable("mail")
        yield* scheduler.disable("mail")
        yield* scheduler.enable("mail")
        yield* scheduler.remove("mail")
        const after = yield* counter.counts
        assert.strictEqual((yield* Effect.flip(scheduler.remove("mail")))._tag, "UnknownJob")
        yield* scheduler.add(mail)
        // A second process changes nothing, and says so of nothing.
        yield* open(store, { jobs: [failing], tasks: [Mail] })
        yield* settled
        assert.deepStrictEqual(
          seen,
          ["Added", "Changed", "Disabled", "Enabled", "Removed", "Added"].map((_tag) => ({ _tag, job: "mail" }))
        )
        assert.strictEqual(after.put - before.put, 5)
      })
    )

    it.effect("whose payload could not be read again are not written", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const scheduler = yield* open(store, { jobs: [failing] })
        const task = { ...Mail, encode: () => Effect.succeed(Number.NaN) }
        const error = yield* Effect.flip(scheduler.add({ name: "mail", task, payload, schedule: "@daily" }))
        assert.strictEqual(error._tag === "DbError" ? error.reason._tag : error._tag, "InvalidArgument")
        assert.include(error.message, "payload")
        assert.deepStrictEqual(
          (yield* (yield* open(store, {})).statuses).map(({ name }) => name),
          ["failing"]
        )
      })
    )

    it.effect("with odd times stay readable", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const scheduler = yield* open(store, { tasks: [Mail], lease: 3000.5 })
        const job = { name: "mail", task: Mail, payload, schedule: { at: new Date(start - 1000) } } as const
        yield* scheduler.add({ ...job, timeout: Infinity, grace: 1e300, retries: 1 })
        yield* pass(2000)
        const [status] = yield* (yield* open(store, {})).statuses
        assert.strictEqual(status?.totals.success, 1)
      })
    )

    it.effect("are all right or none of them is written down", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const wrong = Scheduler.job("wrong", { schedule: "61 * * * *", run: () => Effect.void })
        assert.strictEqual((yield* Effect.flip(open(store, { jobs: [failing, wrong] })))._tag, "InvalidJob")
        assert.deepStrictEqual(
          (yield* keysOf(store)).filter((key) => key.startsWith("plugin=")),
          []
        )
      })
    )

    it.effect("count in the status of the plugin, which says what could not be done", () =>
      Effect.gen(function* () {
        yield* at
        const { setDown, store } = failingAtTimes(yield* memory)
        const { database } = yield* openOn(store)
        const { job } = noting("*/5 * * * *")
        yield* Effect.provideService(Scheduler.make({ jobs: [job, failing], stopWithin: 0 }), Database, database)
        const status = Effect.map(Effect.provideService(Plugin.statuses, Database, database), ([one]) => one!)
        yield* pass(6 * minute)
        const { counters, health, plugin, state } = yield* status
        assert.deepStrictEqual(
          { counters, health, plugin, state },
          { counters: { started: 1, success: 1 }, health: { level: "up" }, plugin: "scheduler", state: "running" }
        )
        setDown(true)
        yield* pass(2 * minute)
        assert.deepStrictEqual((yield* status).health, {
          level: "degraded",
          detail: "jobs could not be listed: list failed: Unavailable: no answer"
        })
        setDown(false)
        yield* pass(2 * minute)
        assert.deepStrictEqual((yield* status).health, { level: "up" })
      })
    )

    it.effect("of two namespaces have nothing in common", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const one = noting("*/5 * * * *")
        const other = noting("*/5 * * * *")
        yield* open(store, { jobs: [one.job], namespace: "a" })
        yield* open(store, { jobs: [other.job], namespace: "b" })
        yield* pass(6 * minute)
        assert.deepStrictEqual([one.slots.length, other.slots.length], [1, 1])
      })
    )

    it.effect("have an idempotency key for each slot, and for each manual run, that no other has", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const seen: Array<string> = []
        const jobs = ["a", "a/manual", "a/manual/1"].map((name) =>
          Scheduler.job(name, {
            schedule: "*/5 * * * *",
            run: ({ idempotencyKey }) => Effect.sync(() => seen.push(idempotencyKey))
          })
        )
        yield* open(store, { jobs })
        const scheduler = yield* open(store, { jobs, namespace: "b" })
        yield* scheduler.trigger("a")
        yield* pass(6 * minute)
        const slot = start + 5 * minute
        const of = (slug: string) => ["a", "a%2Fmanual", "a%2Fmanual%2F1"].map((name) => `${slug}/${name}/${slot}`)
        assert.deepStrictEqual(
          seen.toSorted(),
          ["scheduler.b/a/manual/1", ...of("scheduler"), ...of("scheduler.b")].toSorted()
        )
      })
    )
  })

  it.effect("costs an idle hour 60 LIST, 1 PUT, 1 HEAD and 1 DELETE, with one job or a hundred", () =>
    Effect.gen(function* () {
      yield* at
      for (const many of [1, 100]) {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const jobs = Array.from({ length: many }, (_, i) =>
          Scheduler.job(`j${i}`, { schedule: "0 23 * * *", run: () => Effect.void })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* open(store, { jobs })
            yield* settled
            yield* counter.reset
            yield* pass(60 * minute, 10_000)
            const { delete: deletions, get, head, list, put } = yield* counter.counts
            assert.deepStrictEqual(
              { get, put, list, head, deletions },
              { get: 0, put: 1, list: 60, head: 1, deletions: 1 }
            )
          })
        )
      }
    })
  )

  it.effect("costs 1 GET for each slot that comes while a run of another process is under way", () =>
    Effect.gen(function* () {
      yield* at
      const store = yield* memory
      const long = Scheduler.job("long", { schedule: "*/2 * * * * *", overlap: "wait", run: () => Effect.never })
      const first = yield* open(store, { jobs: [long] })
      yield* Effect.forkScoped(first.trigger("long"))
      yield* settled
      const { counter, store: counted } = InstrumentedStore.make(store)
      yield* open(counted, { jobs: [long] })
      yield* pass(4500, 500)
      yield* counter.reset
      yield* pass(20_000, 500)
      const { get, list, put } = yield* counter.counts
      assert.deepStrictEqual({ get, list, put }, { get: 10, list: 0, put: 0 })
    })
  )

  it.effect("costs 2 PUT a run, and 1 LIST a minute when nothing is due", () =>
    Effect.gen(function* () {
      yield* at
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { job, slots } = noting("0 * * * *")
      yield* open(store, { jobs: [job] })
      yield* settled
      const counted = Effect.fnUntraced(function* (minutes: number) {
        const before = yield* counter.counts
        yield* pass(minutes * minute)
        const after = yield* counter.counts
        return { list: after.list - before.list, get: after.get - before.get, put: after.put - before.put }
      })
      assert.deepStrictEqual(yield* counted(50), { list: 50, get: 0, put: 0 })
      const hour = yield* counted(12)
      assert.strictEqual(slots.length, 1)
      // The clock of the store is measured once in this time.
      assert.deepStrictEqual(hour, { list: 12, get: 0, put: 3 })
    })
  )
})
