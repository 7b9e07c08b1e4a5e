/**
 * Histories of schedulers that share the jobs of a database, on a store that fails in every way: they crash, stand still for longer than
 * a lease, are stopped, have clocks that are set forward and back by an hour, start jobs by hand, and add and remove some at run time. Everything
 * follows from the seed.
 *
 * What has to hold: a slot is started once, and none too early; no token comes twice; of every slot it is decided as the policies of its job say;
 * no run begins beside another unless it may, or the other was taken for lost; the history has every start, and says how it ended.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as JobCell from "../../src/plugins/scheduler/jobCell.ts"
import * as Timetable from "../../src/plugins/scheduler/timetable.ts"
import { drive, openOn } from "../fixture.ts"
import { atOnce, countsOf, faults, fromSeed } from "./course.ts"
import { chance, pick } from "./draw.ts"
import type { Report } from "./simulation.ts"
import { turn } from "../waiting.ts"

type Store = ObjectStore["Service"]

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: ((store: Store) => Store) | undefined
}

const processes = 3
const second = 1000
const limits = { lease: "20 seconds", pollInterval: "10 seconds", historyLimit: 1000, stopWithin: "2 seconds" } as const

/** Every misfire policy, and every overlap policy, in turns. */
const declared: Readonly<Record<string, Scheduler.Policy>> = {
  "all, wait": { schedule: "* * * * *", misfire: "runAll", overlap: "wait" },
  "all, skip": { schedule: { every: "45 seconds", from: 0 }, misfire: "runAll", overlap: "skip", retries: 1 },
  "all, allow": { schedule: { every: "1 minute", from: 0 }, misfire: "runAll", overlap: "allow" },
  "once, wait": { schedule: { every: "30 seconds", from: 0 }, misfire: "runOnce", overlap: "wait" },
  "once, skip": { schedule: "*/20 * * * * *", misfire: "runOnce", overlap: "skip", timeout: "40 seconds" },
  "late, skip": { schedule: "* * * * *", misfire: "skip", grace: "20 seconds", overlap: "skip" },
  "late, allow": { schedule: { every: "40 seconds", from: 0 }, misfire: "skip", grace: "20 seconds", overlap: "allow" }
}

/** Jobs that are added at run time, and removed. */
const additions: Readonly<Record<string, Scheduler.Policy>> = {
  "added, all": { schedule: { every: "20 seconds", from: 0 }, misfire: "runAll", overlap: "wait" },
  "added, once": { schedule: { every: "15 seconds", from: 0 }, misfire: "runOnce", overlap: "skip" }
}

/** A process, from when it is started until it is stopped or crashes. */
interface Life {
  readonly name: string
  /** When it crashed. */
  died: number
}

/** A run as its program has seen it. Times are the true ones. */
interface Seen {
  readonly job: string
  readonly slot: number
  readonly token: number
  readonly isManual: boolean
  readonly life: Life
  readonly began: number
  ended: number
  how: "running" | "success" | "failure" | "interrupted"
}

interface Ledger {
  readonly runs: Map<string, Seen>
  readonly problems: Array<string>
  /** Of jobs that are added at run time: since when one is surely removed. */
  readonly gone: Map<string, number>
  /** Slots that came while a job was surely removed: from, to. */
  readonly away: Map<string, Array<readonly [number, number]>>
  /** Whether programs end at once. */
  isCalm: boolean
}

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(Logger.layer([])), fromSeed(options.seed))

/** A clock that can be set. What has passed is measured as before. */
const settable = (world: Clock.Clock) => {
  let ahead = 0
  const clock: Clock.Clock = {
    ...world,
    currentTimeMillisUnsafe: () => world.currentTimeMillisUnsafe() + ahead,
    currentTimeMillis: Effect.map(world.currentTimeMillis, (millis) => millis + ahead),
    currentTimeNanosUnsafe: () => world.currentTimeNanosUnsafe() + BigInt(ahead) * 1_000_000n,
    currentTimeNanos: Effect.map(world.currentTimeNanos, (nanos) => nanos + BigInt(ahead) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => world.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: world.monotonicTimeNanos,
    sleep: (duration) => world.sleep(duration)
  }
  return { clock, set: (millis: number) => void (ahead = millis) }
}

type Wrap = <A, E>(request: Effect.Effect<A, E>) => Effect.Effect<A, E>

const wrapped = (store: Store, wrap: Wrap): Store => ({
  ...store,
  put: (request) => wrap(store.put(request)),
  get: (key, options) => wrap(store.get(key, options)),
  head: (key) => wrap(store.head(key)),
  delete: (key, options) => wrap(store.delete(key, options)),
  deleteMany: (keys, options) => wrap(store.deleteMany(keys, options)),
  copy: (request) => wrap(store.copy(request)),
  list: (request) => wrap(store.list(request))
})

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.setTime(Date.parse("2026-11-26T00:00:00Z"))
  const world = yield* Clock.Clock
  const now = () => world.currentTimeMillisUnsafe()
  const { store: memory } = yield* MemoryStore.make()
  // The store keeps the true time.
  const base = wrapped(memory, Effect.provideService(Clock.Clock, world))
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, crashes: 0, unknown: 0 }
  const ledger: Ledger = { runs: new Map(), problems: [], gone: new Map(), away: new Map(), isCalm: false }

  /** What a job does: it takes its time, and fails once in a while. What it saw is noted down, unless its process is dead. */
  const program = (life: Life, context: Scheduler.RunContext) =>
    Effect.suspend(() => {
      if (now() >= life.died) return Effect.never
      const { attempt, isManual, job, token } = context
      const key = `${job}, run ${token}`
      const known = ledger.runs.get(key)
      if (known !== undefined && (attempt === 1 || known.life !== life)) ledger.problems.push(`${key} was begun twice`)
      const slot = context.slot.epochMilliseconds
      const entry: Seen = known ?? {
        job,
        slot,
        token,
        isManual,
        life,
        began: now(),
        ended: Infinity,
        how: "running"
      }
      ledger.runs.set(key, entry)
      entry.how = "running"
      entry.ended = Infinity
      if (ledger.isCalm) return Effect.void
      return Effect.gen(function* () {
        if (yield* chance(0.6)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 70 * second))
        if (yield* chance(0.15)) return yield* Effect.fail("it failed")
      }).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            entry.ended = now()
            entry.how = Exit.isSuccess(exit) ? "success" : Cause.hasInterrupts(exit.cause) ? "interrupted" : "failure"
          })
        )
      )
    }).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          const entry = ledger.runs.get(`${context.job}, run ${context.token}`)!
          if (entry.how === "running") Object.assign(entry, { ended: now(), how: "success" })
        })
      )
    )

  const open = Effect.fnUntraced(function* (store: Store, life: Life, scope: Scope.Scope) {
    const jobs = Object.entries(declared).map(([name, policy]) =>
      Scheduler.job(name, { ...policy, run: (context) => program(life, context) })
    )
    const task = Scheduler.task("added", { payload: Schema.String, run: (_, context) => program(life, context) })
    const { database } = yield* openOn(base)
    const scheduler = yield* Scheduler.make({ ...limits, jobs, tasks: [task] }).pipe(
      Effect.retry({ times: 20 }),
      Effect.provideService(Database, { ...database, store }),
      Effect.provideService(Scope.Scope, scope)
    )
    return { scheduler, task }
  })

  /** Adds a job, or removes it; what came while it was surely gone has no run. */
  const change = Effect.fnUntraced(function* ({ scheduler, task }: Effect.Success<ReturnType<typeof open>>) {
    const name = yield* pick(Object.keys(additions))
    const gone = ledger.gone.get(name)
    ledger.gone.delete(name)
    if (gone !== undefined) ledger.away.set(name, [...(ledger.away.get(name) ?? []), [gone, now()]])
    if (yield* chance(0.6)) return yield* scheduler.add({ ...additions[name]!, name, task, payload: name })
    const wasAway = gone
    yield* scheduler.remove(name)
    // Another may have added it meanwhile, so that only one who acts alone can be sure.
    if (wasAway === undefined && changing === 1) ledger.gone.set(name, now())
  })
  let changing = 0

  const work = Effect.fnUntraced(function* (index: number) {
    const { clock, set } = settable(world)
    let made = 0
    for (let number = 0; made < ops / processes; number++) {
      const life: Life = { name: `s${index}.${number}`, died: Infinity }
      const crashAt = (yield* chance(0.5)) ? yield* Random.nextIntBetween(20, 250) : undefined
      const crashWhen = (yield* chance(0.5)) ? "before" : "after"
      const faulty = FaultyStore.make(base, {
        seed,
        client: life.name,
        faults,
        crashAt,
        crashWhen,
        trace,
        crashAs: "silence"
      })
      controls.push(faulty.control)
      let frozen = 0
      // Who stands still sends nothing, and does not see what has been answered.
      const thaw = Effect.suspend(() => (frozen > now() ? Effect.sleep(frozen - now()) : Effect.void))
      const standing = wrapped(faulty.store, (request) =>
        Effect.andThen(thaw, Effect.ensuring(request, Effect.ignore(thaw)))
      )
      const store = RetryingStore.make(broken?.(standing) ?? standing, { retries: 4, assumeLateArrivals: true })
      const scope = yield* Scope.make()
      const living = Effect.gen(function* () {
        const opened = yield* open(store, life, scope)
        const { scheduler } = opened
        while (made < ops / processes) {
          made += 1
          seen.operations += 1
          const drawn = yield* Random.next
          const step: Effect.Effect<unknown, { readonly _tag: string }> | undefined =
            drawn < 0.45
              ? Effect.flatMap(Random.nextIntBetween(1, 60 * second), Effect.sleep)
              : drawn < 0.6
                ? Effect.flatMap(pick(Object.keys(declared)), (name) =>
                    Effect.timeoutOption(scheduler.trigger(name), "15 seconds")
                  )
                : drawn < 0.8
                  ? Effect.suspend(() => {
                      changing += 1
                      return Effect.ensuring(
                        change(opened),
                        Effect.sync(() => void (changing -= 1))
                      )
                    })
                  : drawn < 0.86
                    ? Effect.sync(() => void (frozen = now() + 60 * second))
                    : drawn < 0.93
                      ? Effect.flatMap(pick([-3_600_000, 0, 3_600_000]), (millis) => Effect.sync(() => set(millis)))
                      : undefined
          if (step === undefined) break
          yield* Effect.catch(step, (error) =>
            Effect.sync(() => void (error._tag === "DbError" && (seen.unknown += 1)))
          )
        }
        yield* Scope.close(scope, Exit.void)
      })
      const going = yield* Effect.forkDetach(Effect.provideService(Effect.ignore(living), Clock.Clock, clock), {
        startImmediately: true
      })
      while (going.pollUnsafe() === undefined && !(yield* faulty.control.crashed)) yield* Effect.sleep(100)
      if (yield* faulty.control.crashed) {
        life.died = now()
        seen.crashes += 1
        // What cannot be interrupted waits for answers that never come: nobody waits for that.
        going.interruptUnsafe()
      }
      made += 1
    }
  })

  /** A process that nothing happens to. */
  const healthy = Effect.fnUntraced(function* (time: number) {
    const scope = yield* Scope.make()
    const opening = open(base, { name: "healthy", died: Infinity }, scope)
    yield* drive(yield* Effect.forkChild(opening))
    for (let passed = 0; passed < time; passed += second) {
      yield* turn
      yield* TestClock.adjust(second)
    }
    yield* drive(yield* Effect.forkChild(Scope.close(scope, Exit.void)))
  })

  const stateOf = (name: string) => Effect.map(JobCell.make(base, "scheduler", name).read, ({ value }) => value)
  const statesOf = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
    const states = yield* Effect.forEach(names, (name) => Effect.map(stateOf(name), (state) => [name, state] as const))
    return states.flatMap(([name, state]) => (state === undefined ? [] : [[name, state] as const]))
  })

  yield* healthy(0)
  const first = new Map(yield* statesOf(Object.keys(declared)))

  const fiber = yield* Effect.forkChild(atOnce(processes, seed, `${seed}-scheduler-`, work))
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("5 seconds")
  const finished = yield* Fiber.await(fiber)
  const violations: Array<string> = []
  if (Exit.isFailure(finished)) violations.push(`the run itself failed: ${Cause.pretty(finished.cause)}`)
  yield* TestClock.adjust("1 minute")
  for (const control of controls) yield* control.settled
  ledger.isCalm = true
  const recovered = yield* Effect.exit(healthy(180 * second))
  if (Exit.isFailure(recovered)) violations.push(`nobody can go on: ${Cause.pretty(recovered.cause)}`)
  const last = yield* Effect.exit(statesOf([...Object.keys(declared), ...Object.keys(additions)]))
  if (Exit.isFailure(last)) violations.push(`the jobs cannot be read: ${Cause.pretty(last.cause)}`)
  else {
    for (const [name, state] of last.value)
      violations.push(...violationsOf(name, state, first.get(name), ledger, now()))
  }
  violations.push(...ledger.problems)

  const report: Report = {
    seed,
    ...(yield* countsOf(controls)),
    violations: [...new Set(violations)],
    trace: trace.lines(),
    ...seen
  }
  return report
})

/** A process learns of the store's time by a request, whose answer takes a while, and S3 tells whole seconds. */
const early = 5 * second

/** What does not hold of a job. `first`: its state when it was declared, if that was once. */
const violationsOf = (
  name: string,
  state: JobCell.State,
  first: JobCell.State | undefined,
  ledger: Ledger,
  now: number
): ReadonlyArray<string> => {
  const found: Array<string> = []
  const complain = (what: string) => void found.push(`${name}: ${what}`)
  const { done, job, runs, token, totals } = state
  const begun = [...ledger.runs.values()].filter((one) => one.job === name)
  const time = (millis: number) => new Date(millis).toISOString().slice(11, 23)

  // Each slot once, and none too early.
  for (const [slot, starts] of Map.groupBy(
    runs.filter(({ isManual }) => !isManual),
    (one) => one.slot
  )) {
    if (starts.length > 1) complain(`slot ${time(slot)} was started ${starts.length} times`)
  }
  for (const [slot, starts] of Map.groupBy(
    begun.filter(({ isManual }) => !isManual),
    (one) => one.slot
  )) {
    if (starts.length > 1) complain(`slot ${time(slot)} was begun by ${starts.map(({ life }) => life.name).join()}`)
    for (const { began, life } of starts) {
      if (began < slot - early) complain(`slot ${time(slot)} was begun at ${time(began)} by ${life.name}`)
    }
  }

  // The history has everything.
  const tokens = runs.map((one) => one.token).toSorted((a, b) => a - b)
  if (tokens.some((one, i) => one !== i + 1) || tokens.length !== token)
    complain(`its history has not all ${token} runs`)
  const byToken = new Map(runs.map((one) => [one.token, one]))
  for (const one of begun) {
    const written = byToken.get(one.token)
    if (written === undefined) complain(`run ${one.token} was begun, and is in no history`)
    else if (written.slot !== one.slot) complain(`run ${one.token} was begun for another slot`)
  }
  const seenBy = new Map(begun.map((one) => [one.token, one]))
  for (const { status, token } of runs) {
    const one = seenBy.get(token)
    if (status === "running") complain(`run ${token} goes on for ever`)
    if ((status === "success" || status === "failure") && one?.how !== status) {
      complain(`run ${token} is a ${status}, and was ${one?.how ?? "never begun"}`)
    }
  }
  for (const status of ["success", "failure", "timeout", "interrupted", "lost"] as const) {
    const count = runs.filter((one) => one.status === status).length
    if (totals[status] !== count)
      complain(`${totals[status]} runs are ${status} by its totals, ${count} by its history`)
  }

  // Side by side only what may be, or what was taken for lost.
  if (job.overlap !== "allow") {
    const sorted = begun.toSorted((a, b) => a.token - b.token)
    sorted.forEach((one, i) => {
      const next = sorted[i + 1]
      const until = Math.min(one.ended, one.life.died)
      if (next === undefined || until <= next.began || byToken.get(one.token)?.status === "lost") return
      complain(`run ${next.token} began at ${time(next.began)}, beside run ${one.token}, which ended at ${time(until)}`)
    })
  }

  // Of every slot it is decided, as the policies say.
  if (job.misfire === "runAll" && totals.missed > 0) complain(`${totals.missed} slots were missed`)
  if (job.overlap !== "skip" && totals.skipped > 0) complain(`${totals.skipped} slots were skipped`)
  const table = Timetable.fromDefinition(job.schedule)
  if (table._tag === "Failure") return [...found, `${name}: ${table.failure}`]
  const scheduled = runs.filter(({ isManual }) => !isManual)
  for (const { slot } of scheduled) {
    if (table.success.next(slot - 1) !== slot) complain(`${time(slot)} is no slot of it`)
  }
  if (job.misfire === "skip") {
    for (const { slot, startedAt } of scheduled) {
      if (startedAt - slot > job.grace + early) complain(`slot ${time(slot)} was run at ${time(startedAt)}`)
    }
  }
  if (first !== undefined) {
    let due = 0
    for (let at = table.success.next(first.done); at !== undefined && at <= done; at = table.success.next(at)) due += 1
    const decided = scheduled.length + totals.missed + totals.skipped
    if (due !== decided) complain(`${due} slots were due, and of ${decided} it was decided`)
  }
  const next = table.success.next(done)
  if (!state.isRemoved && next !== undefined && next < now - early) complain(`nobody looks after slot ${time(next)}`)
  for (const [from, to] of ledger.away.get(name) ?? []) {
    for (const { slot } of scheduled) {
      if (slot > from + early && slot < to - early) complain(`slot ${time(slot)} was run while it was removed`)
    }
  }
  return found
}

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

const isJob = (key: string): boolean => key.startsWith(JobCell.keyPrefix("scheduler"))

interface Body {
  readonly s: JobCell.State
}

/** Writes another state than the scheduler has said. */
const writing =
  (change: (state: JobCell.State) => JobCell.State) =>
  (store: Store): Store => ({
    ...store,
    put: (request) => {
      if (!isJob(request.key)) return store.put(request)
      const body = JSON.parse(new TextDecoder().decode(request.body)) as Body
      const changed = new TextEncoder().encode(JSON.stringify({ ...body, s: change(body.s) }))
      return store.put({ ...request, body: changed })
    }
  })

export const schedulerBreaks: Readonly<Record<string, (store: Store) => Store>> = {
  /** Jobs are written without a condition. */
  "blind-jobs": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      store.put(isJob(request.key) ? request : { ...request, ifMatch, ifNoneMatch })
  }),
  /** A job that is removed is deleted, so that its tokens begin anew. */
  "deleted-jobs": (store) => ({
    ...store,
    put: (request) =>
      isJob(request.key) && new TextDecoder().decode(request.body).includes('"isRemoved":true')
        ? Effect.as(store.delete(request.key), { etag: "gone" })
        : store.put(request)
  }),
  /** That a slot was started is not written down. */
  "forgotten-slots": writing((state) => {
    const [run] = state.runs
    const isStart = run !== undefined && run.status === "running" && run.beat === 0 && !run.isManual
    return isStart && run.slot === state.done ? { ...state, done: state.done - 1 } : state
  }),
  /** A decision about a slot is taken for one about the slot after it, too. */
  "lost-slots": writing((state) => {
    const table = Timetable.fromDefinition(state.job.schedule)
    const [run] = state.runs
    if (table._tag === "Failure" || run === undefined || run.beat > 0 || run.slot !== state.done) return state
    return { ...state, done: table.success.next(state.done) ?? state.done }
  }),
  /** A run that is over is not kept. */
  "forgotten-runs": writing((state) => ({ ...state, runs: JobCell.running(state) })),
  /** Whether a run is under way is not looked at. */
  "unseen-runs": writing((state) => ({ ...state, job: { ...state.job, overlap: "allow" } }))
}
