/** Who starts a slot when several do, in every order of their requests, and when requests and answers are lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as JobCell from "../../src/plugins/scheduler/jobCell.ts"
import * as Timetable from "../../src/plugins/scheduler/timetable.ts"
import { crashing, drive, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const start = Date.parse("2026-11-26T00:00:00Z")
const minute = 60_000

const job: JobCell.Job = {
  task: "t",
  schedule: { every: minute, from: 0 },
  misfire: "runAll",
  overlap: "skip",
  grace: 0,
  timeout: 1000,
  retries: 0
}
const table = Timetable.fromDefinition(job.schedule)

/** Starts the next slot that is due, as an engine does. */
const claim = Effect.fnUntraced(function* (store: Store, holder: string, now: number) {
  let chosen: number | undefined
  yield* JobCell.make(store, "scheduler", "j").modify((state) => {
    chosen = undefined
    if (state === undefined || table._tag === "Failure") return Effect.succeed(state)
    const decision = JobCell.decide(state, table.success, now)
    if (decision._tag !== "Start") return Effect.succeed(state)
    chosen = decision.slot
    const run = { holder, isManual: false, slot: decision.slot, startedAt: now }
    return Effect.succeed(JobCell.start(state, run, { kept: 5 }))
  })
  return chosen
})

const end = (store: Store, token: number) =>
  JobCell.make(store, "scheduler", "j").modify((state) =>
    Effect.succeed(state && JobCell.revise(state, token, { status: "success", endedAt: start }))
  )

describe("Scheduler, races", () => {
  it.effect("starts a slot once in every order of requests, also if one of them crashes", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      yield* JobCell.make(store, "scheduler", "j").modify((state) => Effect.succeed(JobCell.declare(state, job, start)))
      const first = yield* control.snapshot
      const schedule = Interleavings.make(store)
      const programs = Object.fromEntries(
        ["a", "b", "c"].map((name) => [name, claim(schedule.client(name), name, start + minute)])
      )
      const report = yield* schedule.explore({
        before: control.restore(first),
        programs,
        preemptions: 2,
        crashes: 1,
        check: Effect.fnUntraced(function* ({ crashed, exits }) {
          const { value } = yield* JobCell.make(store, "scheduler", "j").read
          const started = Object.entries(exits).filter(([, exit]) => Exit.isSuccess(exit) && exit.value !== undefined)
          const written = value?.runs ?? []
          assert.isAtMost(written.length, 1)
          assert.isAtMost(started.length, 1)
          // Whoever says so has written it down; whoever has written it down says so, or has crashed.
          for (const [name] of started)
            assert.deepStrictEqual(
              written.map(({ holder }) => holder),
              [name]
            )
          if (started.length === 0) for (const { holder } of written) assert.include(crashed, holder)
          if (crashed.length === 0) assert.strictEqual(started.length, 1)
        })
      })
      assert.isTrue(report.complete)
      assert.isAbove(report.schedules, 50)
    })
  )

  it.effect("decides of the end of a run once: by its process, or by who takes it for lost", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const cell = JobCell.make(store, "scheduler", "j")
      yield* cell.modify((state) => Effect.succeed(JobCell.declare(state, job, start)))
      yield* claim(store, "a", start + minute)
      const first = yield* control.snapshot
      const schedule = Interleavings.make(store)
      const lose = JobCell.make(schedule.client("b"), "scheduler", "j").modify((state) =>
        Effect.succeed(state && JobCell.revise(state, 1, { status: "lost", endedAt: start }))
      )
      const report = yield* schedule.explore({
        before: control.restore(first),
        programs: { a: end(schedule.client("a"), 1), b: lose },
        preemptions: 3,
        check: Effect.fnUntraced(function* () {
          const totals = (yield* cell.read).value!.totals
          assert.strictEqual(totals.lost + totals.success, 1)
        })
      })
      assert.isTrue(report.complete)
    })
  )

  it.effect("is told the truth by a cell whose client crashes at any request", () =>
    Effect.gen(function* () {
      for (const when of ["before", "after"] as const) {
        for (let at = 1; at <= 2; at++) {
          const { store } = yield* MemoryStore.make()
          yield* JobCell.make(store, "scheduler", "j").modify((state) =>
            Effect.succeed(JobCell.declare(state, job, start))
          )
          yield* Effect.exit(claim(crashing(store, at, when).store, "a", start + minute))
          const { value } = yield* JobCell.make(store, "scheduler", "j").read
          assert.strictEqual(value?.runs.length, at === 2 && when === "after" ? 1 : 0)
        }
      }
    })
  )

  const seeds = [1, 2, 3, 4, 5, 6]
  it.effect.each(seeds)("starts no slot twice, and forgets none, on a network that loses answers: seed %i", (seed) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { store } = yield* MemoryStore.make()
      const slots: Array<number> = []
      const noting = Scheduler.job("noting", {
        schedule: "* * * * *",
        misfire: "runAll",
        run: ({ slot }) =>
          Effect.andThen(
            Effect.sync(() => slots.push(slot.epochMilliseconds)),
            Effect.sleep(3000)
          )
      })
      for (let client = 0; client < 3; client++) {
        const faulty = FaultyStore.make(store, {
          seed: seed * 10 + client,
          client: `c${client}`,
          faults: {
            throttle: 0.03,
            errorBefore: 0.05,
            errorAfter: 0.08,
            duplicate: 0.03,
            late: { probability: 0.03, maxMillis: 4000 },
            delay: { probability: 0.2, maxMillis: 900 }
          }
        })
        const { database } = yield* openOn(store)
        const network = RetryingStore.make(faulty.store, { retries: 3 })
        const opening = Scheduler.make({ jobs: [noting], lease: "20 seconds" }).pipe(
          Effect.retry({ times: 20 }),
          Effect.provideService(Database, { ...database, store: network }),
          // Nobody closes it: it goes on until the test is over.
          Effect.provideService(Scope.Scope, yield* Scope.make())
        )
        yield* drive(yield* Effect.forkChild(opening), 100)
      }
      for (let second = 0; second < 1300; second++) {
        yield* settled
        yield* TestClock.adjust("1 second")
      }
      const cell = JobCell.make(store, "scheduler", "noting")
      const { totals } = (yield* cell.read).value!
      assert.strictEqual(new Set(slots).size, slots.length, "a slot was started twice")
      assert.isAtLeast(slots.length, 15)
      // What was not started came while a run was under way, or its run was lost before it began.
      assert.isAtLeast(slots.length + totals.skipped + totals.lost, 20)
    }).pipe(Pauses.byClock)
  )

  it.effect("goes on with the other jobs when an object is damaged, or somebody else's", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { store } = yield* MemoryStore.make()
      const bytes = new TextEncoder().encode("{")
      yield* store.put({ key: "plugin=scheduler/job=broken", body: bytes })
      yield* store.put({ key: "plugin=scheduler/job=a/b", body: bytes })
      yield* store.put({ key: "plugin=scheduler/job=%61", body: bytes })
      const { database } = yield* openOn(store)
      const fine = Scheduler.job("fine", { schedule: "@yearly", run: () => Effect.void })
      const scheduler = yield* Scheduler.make({ jobs: [fine], stopWithin: 0 }).pipe(
        Effect.provideService(Database, database)
      )
      assert.strictEqual((yield* scheduler.trigger("fine")).status, "success")
      assert.deepStrictEqual(
        (yield* scheduler.statuses).map(({ name }) => name),
        ["fine"]
      )
      const error = yield* Effect.flip(scheduler.status("broken"))
      assert.strictEqual(error._tag === "DbError" ? error.reason._tag : "", "Corrupt")
      const { body } = yield* store.get("plugin=scheduler/job=broken")
      assert.deepStrictEqual(body, bytes)
    })
  )

  /** A scheduler of two jobs, the object of one of which is damaged. */
  const besideDamage = Effect.fnUntraced(function* (store: Store) {
    yield* TestClock.setTime(start)
    yield* store.put({ key: "plugin=scheduler/job=torn", body: new TextEncoder().encode("{") })
    const { database } = yield* openOn(store)
    const ran: Array<string> = []
    const jobs = ["fine", "torn"].map((name) =>
      Scheduler.job(name, { schedule: "* * * * *", run: () => Effect.sync(() => ran.push(name)) })
    )
    const scheduler = yield* Scheduler.make({ jobs, stopWithin: 0 }).pipe(Effect.provideService(Database, database))
    const health = Effect.map(Effect.provideService(Plugin.statuses, Database, database), ([one]) => one!.health)
    return { health, ran, scheduler }
  })

  const pass = Effect.fnUntraced(function* (seconds: number) {
    for (let second = 0; second < seconds; second++) {
      yield* settled
      yield* TestClock.adjust("1 second")
    }
  })

  const torn =
    'job "torn": plugin=scheduler/job=torn cannot be read; put back an earlier version of it, or remove it: the job then begins anew'

  it.effect("is built beside a damaged object of one of its jobs, which is down, and runs the others", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const { health, ran, scheduler } = yield* besideDamage(store)
      yield* pass(61)
      assert.deepStrictEqual(ran, ["fine"])
      const jobs = (yield* scheduler.statuses).map(({ health, name }) => ({ health, name }))
      assert.deepStrictEqual(jobs, [
        { health: { level: "up" }, name: "fine" },
        { health: { level: "down", detail: torn }, name: "torn" }
      ])
      const down = yield* scheduler.status("torn")
      assert.deepStrictEqual(down.health, { level: "down", detail: torn })
      assert.isTrue(Option.isNone(down.next))
      assert.deepStrictEqual(yield* health, { level: "degraded", detail: torn })
      const error = yield* Effect.flip(scheduler.trigger("torn"))
      assert.strictEqual(error._tag === "DbError" ? error.reason._tag : error._tag, "Corrupt")
      // Nothing has been written over it.
      assert.strictEqual(new TextDecoder().decode((yield* store.get("plugin=scheduler/job=torn")).body), "{")
    })
  )

  it.effect("runs a job again whose damaged object was removed, or put back as it was", () =>
    Effect.gen(function* () {
      for (const repair of ["remove", "put back"] as const) {
        const { store } = yield* MemoryStore.make()
        const key = "plugin=scheduler/job=torn"
        const { health, ran, scheduler } = yield* besideDamage(store)
        yield* pass(30)
        yield* store.delete(key)
        if (repair === "put back") {
          // As it was before the program gave it this schedule.
          const before = JobCell.declare(undefined, { ...job, task: "job:torn" }, start)
          yield* JobCell.make(store, "scheduler", "torn").modify(() => Effect.succeed({ ...before, token: 7 }))
        }
        yield* pass(91)
        assert.include(ran, "torn", repair)
        const { health: ofJob, last, schedule } = yield* scheduler.status("torn")
        assert.deepStrictEqual(ofJob, { level: "up" })
        assert.deepStrictEqual(schedule, { cron: "* * * * *", timeZone: "UTC", whenRepeated: "both" })
        assert.isAbove(Option.getOrThrow(last).token, repair === "remove" ? 0 : 7)
        assert.deepStrictEqual(yield* health, { level: "up" })
      }
    })
  )

  it.effect("goes on with a job whose object is damaged while it runs, and declares it anew once that is gone", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const key = "plugin=scheduler/job=fine"
      const { health, ran } = yield* besideDamage(store)
      yield* store.delete("plugin=scheduler/job=torn")
      yield* pass(130)
      yield* store.put({ key, body: new TextEncoder().encode("nothing") })
      yield* pass(130)
      const seen = ran.filter((name) => name === "fine").length
      assert.strictEqual((yield* health).level, "degraded")
      yield* store.delete(key)
      yield* pass(190)
      assert.isAbove(ran.filter((name) => name === "fine").length, seen)
      assert.deepStrictEqual(yield* health, { level: "up" })
    })
  )

  it.effect("takes hostile names for what they are", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { store } = yield* MemoryStore.make()
      const names = ["__proto__", "constructor", "a/b", "../x", "é\u0000", "job=", "ﷺ", " "]
      const jobs = names.map((name) => Scheduler.job(name, { schedule: "@yearly", run: () => Effect.void }))
      const { database } = yield* openOn(store)
      const scheduler = yield* Scheduler.make({ jobs, stopWithin: 0 }).pipe(Effect.provideService(Database, database))
      for (const name of names) assert.strictEqual((yield* scheduler.trigger(name)).job, name)
      const found = (yield* scheduler.statuses).map(({ last, name }) => [name, Option.isSome(last)])
      assert.sameDeepMembers(
        found,
        names.map((name) => [name, true])
      )
    })
  )
})
