/**
 * Starts jobs when they are due, keeps up their runs, and notices runs whose processes have come to a sudden end.
 *
 * **Details**
 *
 * Each job has a fiber that waits for its next slot. All that it decides it writes into the object of the job before it acts on
 * it, by compare-and-set on the version that it has decided by; who is second reads what the first has written.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type * as CasCell from "../../kernel/CasCell.ts"
import * as StoreClock from "../../kernel/StoreClock.ts"
import { listAll, type ListEntry, type ObjectStore } from "../../storage/ObjectStore.ts"
import { StoreError, Unsupported } from "../../storage/StoreError.ts"
import * as JobCell from "./jobCell.ts"
import { smallJson } from "./smallJson.ts"
import * as Timetable from "./timetable.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A run, as the task sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Started {
  readonly job: string
  readonly meta: JobCell.Job["meta"]
  readonly run: JobCell.Run
  readonly attempt: number
  /** Succeeds as long as the run is this process's: 1 GET. */
  readonly isHeld: Effect.Effect<boolean, StoreError>
}

/**
 * The program of a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Task = (payload: Schema.Json | undefined, started: Started) => Effect.Effect<unknown, unknown>

/**
 * What has happened to a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Happening =
  | { readonly _tag: "Started" | "Ended"; readonly run: JobCell.Run }
  | { readonly _tag: "Passed"; readonly slot: number; readonly missed: number; readonly skipped: number }
  | { readonly _tag: JobCell.Turn }

/**
 * The parts and the limits of an engine. Times are milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly store: ObjectStore["Service"]
  readonly slug: string
  /** Tells this engine from all others, for ever. */
  readonly holder: string
  readonly tasks: ReadonlyMap<string, Task>
  /** Milliseconds since the epoch, by the store. */
  readonly now: Effect.Effect<number, StoreError>
  readonly lease: number
  readonly pollInterval: number
  readonly concurrency: number
  /** How many runs that are over are kept of a job. */
  readonly kept: number
  /** How long runs may go on when the scope closes. */
  readonly patience: number
  readonly tell: (job: string, happening: Happening) => Effect.Effect<void>
}

/**
 * What runs the jobs of one scheduler in this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Engine {
  /**
   * Writes down a job of the program. 1 GET; 1 PUT if it is new or has changed. Where its object is damaged it is written down as
   * soon as that was repaired; and again when it is removed from the store.
   */
  readonly declare: (name: string, declaration: Declaration) => Effect.Effect<void, StoreError>
  /** Writes down a job, but not one that would never run, since it is over; tells whether it is. 1 GET; 1 PUT if it is new or has changed. */
  readonly add: (name: string, declaration: Declaration) => Effect.Effect<boolean, StoreError>
  /** Writes down what a function makes of the state of a job; nothing where it leaves it. 1 GET, 1 PUT. */
  readonly change: (
    name: string,
    change: (state: JobCell.State | undefined, now: number) => JobCell.State | undefined
  ) => Effect.Effect<JobCell.State | undefined, StoreError>
  /** Reads the state of a job. 1 GET. */
  readonly read: (name: string) => Effect.Effect<JobCell.State | undefined, StoreError>
  /** Reads every job that can be read. 1 LIST for each 1,000, and 1 GET for each that has changed since it was last read. */
  readonly readAll: Effect.Effect<ReadonlyMap<string, JobCell.State>, StoreError>
  /** The jobs of the program whose objects were damaged when they were last read. No request. */
  readonly damaged: Effect.Effect<ReadonlyMap<string, Damaged>>
  /** Starts a job now; gives how it ended, or the run that is in the way. `undefined`: there is no such job. `Unsupported`: it is closed. */
  readonly trigger: (name: string) => Effect.Effect<Result.Result<JobCell.Run, JobCell.Run> | undefined, StoreError>
  /** What could not be done when it was last tried, for people. */
  readonly troubles: Effect.Effect<ReadonlyArray<string>>
  /** The moment that a job is due next. No request. */
  readonly next: (state: JobCell.State) => number | undefined
}

/**
 * A job as a program declares it. `isFloating`: its interval counts from whenever it was first declared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declaration {
  readonly job: JobCell.Job
  readonly isFloating: boolean
}

/**
 * A job of the program whose object cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Damaged {
  readonly job: JobCell.Job
  /** The job, the key of its object, and what to do, for people. */
  readonly detail: string
}

type Version = CasCell.Version<JobCell.State>

/** A run of somebody else: what was last seen of it, and when. */
interface Sighting {
  readonly beat: number
  readonly since: Effect.Effect<number>
  /** Whether it was seen to go on. */
  readonly isAlive: boolean
}

/** How a run has ended. */
type Ended = Partial<JobCell.Run> & { readonly endedAt: number }

/** A job as this process knows it. */
interface Local {
  readonly name: string
  readonly cell: CasCell.CasCell<JobCell.State>
  readonly woken: Queue.Queue<void>
  readonly sightings: Map<number, Sighting>
  /** The tokens of runs that this process has begun with, until it is written down how they ended. */
  readonly mine: Set<number>
  /** How runs of this process have ended that could not be written down yet, by token. */
  readonly unwritten: Map<number, Ended>
  /** How many starts are being written down: whose run one is that has just appeared is not known yet. */
  starting: number
  version: Version | undefined
  /** For how long, in milliseconds, others may have written since `version` was read or written. */
  age: Effect.Effect<number>
  /** As the program has it; `undefined` of others' jobs. */
  declaration: Declaration | undefined
  /** Whether the declaration is still to be written down. */
  isPending: boolean
  /** What is wrong with its object, as it was last read, for people. */
  damage: string | undefined
}

/** The run of a job is somebody else's to judge by now: nothing of it counts any more. */
class Lost {
  readonly _tag = "Lost"
}

// -----------------------------------------------------------------------------
// Engine
// -----------------------------------------------------------------------------

/**
 * Makes an engine. It starts nothing before `watch` is run; when the scope closes, it starts nothing more, and lets runs end. No
 * request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Engine & { readonly watch: Effect.Effect<void, StoreError> }, never, Scope.Scope> {
  const { holder, kept, lease, pollInterval, slug, store, tasks, tell } = options
  const locals = new Map<string, Local>()
  /** By the name of the job; empty for all together. */
  const troubles = new Map<string, string>()
  const slots = yield* Semaphore.make(options.concurrency)
  const runs = yield* FiberMap.make<string>()
  const loops = yield* FiberMap.make<string>()
  /** Starts by hand that are being written down. */
  const claims = yield* FiberSet.make()
  let isClosed = false

  // ---------------------------------------------------------------------------
  // State
  // ---------------------------------------------------------------------------

  const localOf = Effect.fnUntraced(function* (name: string) {
    const known = locals.get(name)
    if (known !== undefined) return known
    const local: Local = {
      name,
      cell: JobCell.make(store, slug, name),
      woken: yield* Queue.sliding<void>(1),
      sightings: new Map(),
      mine: new Set(),
      unwritten: new Map(),
      starting: 0,
      version: undefined,
      age: Effect.succeed(Infinity),
      declaration: undefined,
      isPending: false,
      damage: undefined
    }
    const other = locals.get(name)
    if (other !== undefined) return other
    locals.set(name, local)
    return local
  })

  const wake = ({ woken }: Local) => Queue.offer(woken, undefined)

  /** Until something has changed, or at most for some time. */
  const pause = ({ woken }: Local, millis: number) =>
    Effect.asVoid(Effect.timeoutOption(Queue.take(woken), Math.max(0, millis)))

  /** Notes whether the object of a job could be read. */
  const noting = <A>(local: Local, request: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.onExit(request, (exit) =>
      Effect.sync(() => {
        if (Exit.isSuccess(exit)) return void (local.damage = undefined)
        const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
        if (failure?.reason._tag !== "Corrupt") return
        local.damage = damageOf(local)
        local.version = undefined
      })
    )

  const reread = Effect.fnUntraced(function* (local: Local) {
    const age = yield* StoreClock.steady
    const version = yield* noting(local, local.cell.read)
    local.version = version
    local.age = age
    return version.value
  })

  /** On the version in hand if there is one; that nothing is to be changed is only said of the one in the store. */
  const change = Effect.fnUntraced(function* (
    local: Local,
    revise: (state: JobCell.State | undefined, now: number) => JobCell.State | undefined
  ) {
    const now = yield* options.now
    const age = yield* StoreClock.steady
    let turn: JobCell.Turn | undefined
    const revised = (before: JobCell.State | undefined) => {
      const state = revise(before, now)
      turn = JobCell.turnOf(before, state)
      return state
    }
    const modify = (from: Version | undefined) =>
      noting(
        local,
        local.cell.modify((state) => Effect.sync(() => revised(state)), from)
      )
    const from = local.version
    local.version = undefined
    const after = yield* modify(from)
    local.version = from !== undefined && after === from ? yield* modify(undefined) : after
    local.age = age
    const { value } = local.version
    if (turn !== undefined) yield* tell(local.name, { _tag: turn })
    return value
  })

  const known = new WeakMap<JobCell.State, Timetable.Timetable | undefined>()

  /** `undefined` for a schedule of another release. */
  const tableOf = (state: JobCell.State) => {
    if (!known.has(state))
      known.set(state, Option.getOrUndefined(Result.getSuccess(Timetable.fromDefinition(state.job.schedule))))
    return known.get(state)
  }

  // ---------------------------------------------------------------------------
  // Runs
  // ---------------------------------------------------------------------------

  /** Says that a run goes on; gives what is written down of it. */
  const beat = (local: Local, token: number) =>
    change(local, (state) => {
      const run = state && JobCell.running(state).find((one) => one.token === token)
      return run === undefined ? state : JobCell.revise(state!, token, { beat: run.beat + 1 })
    })

  /** Says every third of a lease that a run goes on; ends with `Lost` when it does not any more. */
  const keepUp = Effect.fnUntraced(function* (local: Local, token: number) {
    let since = yield* StoreClock.steady
    for (;;) {
      yield* Effect.sleep(lease / 3)
      const asked = yield* StoreClock.steady
      const left = lease - (yield* since)
      // Whoever stood still for a lease does not know what others have taken for true.
      if (left <= 0) return yield* Effect.fail(new Lost())
      const exit = yield* Effect.exit(Effect.timeoutOption(beat(local, token), left))
      if (Exit.isFailure(exit)) {
        yield* Effect.logDebug(`job ${local.name}: a run could not be kept up; it is tried again`, exit.cause)
        continue
      }
      const state = Option.getOrUndefined(exit.value)
      if (state === undefined) continue
      if (!isRunning(state, token)) return yield* Effect.fail(new Lost())
      since = asked
    }
  })

  const isRunning = (state: JobCell.State | undefined, token: number) =>
    state !== undefined && JobCell.running(state).some((run) => run.token === token)

  /** The attempts of a run, and how the last one ended. */
  const attempts = Effect.fnUntraced(function* (local: Local, job: JobCell.Job, run: JobCell.Run) {
    const task = tasks.get(job.task)!
    const isHeld = Effect.map(reread(local), (state) => isRunning(state, run.token))
    for (let attempt = 1; ; attempt++) {
      const begun = task(job.payload, { job: local.name, meta: job.meta, run, attempt, isHeld })
      const exit = yield* Effect.exit(Effect.timeoutOption(begun, job.timeout))
      const ended: Partial<JobCell.Run> = Exit.isSuccess(exit)
        ? Option.isSome(exit.value)
          ? { status: "success", ...resultOf(exit.value.value) }
          : { status: "timeout", error: `it took longer than ${job.timeout} ms` }
        : { status: "failure", error: messageOf(exit.cause) }
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
      if (Exit.isFailure(exit)) yield* Effect.logWarning(`job ${local.name}: attempt ${attempt} failed`, exit.cause)
      if (ended.status === "success" || attempt > job.retries) return { ...ended, attempts: attempt }
      const chance = yield* Random.next
      yield* Effect.sleep(Math.min(2 ** attempt, 60) * 1000 * (0.5 + chance / 2))
    }
  })

  /** Writes down how a run ended, unless others have taken it for lost. */
  const write = Effect.fnUntraced(function* (local: Local, token: number, ended: Ended) {
    const state = yield* change(local, (before) => before && JobCell.revise(before, token, ended))
    local.unwritten.delete(token)
    local.mine.delete(token)
    const run = state?.runs.find((one) => one.token === token)
    if (run !== undefined) yield* tell(local.name, { _tag: "Ended", run })
    return run
  })

  /** Tries for the time of a lease; then the loop goes on, since nobody else can tell that the run is over. */
  const finish = Effect.fnUntraced(function* (
    local: Local,
    run: JobCell.Run,
    how: Partial<JobCell.Run>,
    taken: Effect.Effect<number>
  ) {
    const byItself = Effect.map(taken, (millis) => run.startedAt + Math.round(millis))
    const ended: Ended = { ...how, endedAt: yield* Effect.catch(options.now, () => byItself) }
    const waited = yield* StoreClock.steady
    for (;;) {
      const written = yield* Effect.exit(write(local, run.token, ended))
      if (Exit.isSuccess(written)) return written.value ?? { ...run, ...ended }
      if ((yield* waited) > lease) {
        yield* Effect.logError(`job ${local.name}: how a run ended could not be written down yet`, written.cause)
        local.unwritten.set(run.token, ended)
        return { ...run, ...ended }
      }
      yield* Effect.sleep(lease / 10)
    }
  })

  /** Runs what has been written down as started, and writes down how it ended, whatever comes. */
  const execute = (local: Local, job: JobCell.Job, run: JobCell.Run, ended: Deferred.Deferred<JobCell.Run>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* tell(local.name, { _tag: "Started", run })
        const taken = yield* StoreClock.steady
        const work = Effect.raceFirst(attempts(local, job, run), keepUp(local, run.token)).pipe(
          Effect.catch(() => Effect.succeed<Partial<JobCell.Run>>({ status: "lost" }))
        )
        const exit = yield* Effect.exit(restore(work))
        const over = yield* finish(local, run, Exit.isSuccess(exit) ? exit.value : endOf(exit.cause), taken)
        if (over.status === "failure" || over.status === "timeout") {
          const how = `run ${run.token} has ended as a ${over.status}, after ${over.attempts} of ${job.retries + 1} attempts`
          yield* Effect.logError(`job ${local.name}: ${how}: ${over.error}`)
        }
        return over
      }).pipe(
        Effect.onExit((exit) => Deferred.done(ended, exit)),
        Effect.ensuring(wake(local))
      )
    )

  /** Executes a run on its own; the permit that it has is given back. */
  const begin = Effect.fnUntraced(function* (local: Local, job: JobCell.Job, run: JobCell.Run) {
    local.mine.add(run.token)
    const ended = yield* Deferred.make<JobCell.Run>()
    const running = Effect.ensuring(execute(local, job, run, ended), slots.release(1))
    yield* FiberMap.run(runs, `${local.name} ${run.token}`, running)
    return Deferred.await(ended)
  })

  /**
   * Writes down the start of a run that `select` chooses by the present state, and begins it; it needs a permit, which is given
   * back if nothing is begun. A run that is written down although the store did not say so is found by the loop.
   */
  const startBy = Effect.fnUntraced(function* (
    local: Local,
    select: (state: JobCell.State, now: number) => { readonly slot: number; readonly missed: number } | undefined,
    isManual: boolean
  ) {
    let token: number | undefined
    local.starting += 1
    const waited = yield* StoreClock.steady
    const started = change(local, (before, now) => {
      token = undefined
      const chosen = before && select(before, now)
      if (before === undefined || chosen === undefined) return before
      token = before.token + 1
      const { missed, slot } = chosen
      return JobCell.start(before, { holder, isManual, slot, startedAt: now }, { kept, missed })
    })
    let isBegun = false
    return yield* Effect.gen(function* () {
      const written = yield* started
      // Others may have taken for lost by now what the store was slow to confirm.
      const state = token !== undefined && (yield* waited) > lease ? yield* beat(local, token) : written
      const run = state?.runs.find((one) => one.token === token)
      if (state === undefined || run === undefined) return undefined
      if (run.status !== "running") return Effect.succeed(run)
      isBegun = true
      return yield* begin(local, state.job, run)
    }).pipe(
      Effect.tap(() => (isBegun ? Effect.void : slots.release(1))),
      Effect.onError(() => slots.release(1)),
      Effect.ensuring(Effect.sync(() => (local.starting -= 1)))
    )
  }, Effect.uninterruptible)

  // ---------------------------------------------------------------------------
  // Runs of others
  // ---------------------------------------------------------------------------

  /** Looks at runs under way, takes those for lost that nobody keeps up, and takes up those that are this process's. */
  const observe = Effect.fnUntraced(function* (local: Local, state: JobCell.State) {
    for (const run of JobCell.running(state)) {
      if (run.holder === holder) {
        const ended = local.unwritten.get(run.token)
        if (ended !== undefined) yield* write(local, run.token, ended)
        else if (!local.mine.has(run.token) && local.starting === 0) yield* takeUp(local, run.token)
        continue
      }
      const sighting = local.sightings.get(run.token)
      if (sighting?.beat !== run.beat) {
        const since = yield* StoreClock.steady
        local.sightings.set(run.token, { beat: run.beat, since, isAlive: sighting !== undefined })
      } else if ((yield* sighting.since) - (yield* local.age) > lease * 1.1) {
        // It was silent for that time when it was read last.
        yield* lose(local, run)
      }
    }
    const tokens = new Set(JobCell.running(state).map(({ token }) => token))
    for (const token of local.sightings.keys()) if (!tokens.has(token)) local.sightings.delete(token)
  })

  /** Begins a run of this process that was started by a request whose answer was lost, if it is not taken for lost by now. */
  const takeUp = Effect.fnUntraced(function* (local: Local, token: number) {
    yield* slots.take(1)
    const begun = Effect.gen(function* () {
      const state = yield* beat(local, token)
      const run = state && JobCell.running(state).find((one) => one.token === token)
      return run === undefined ? undefined : yield* begin(local, state!.job, run)
    })
    // How it ends is told by itself.
    const found = yield* Effect.uninterruptible(Effect.onError(begun, () => slots.release(1)))
    if (found === undefined) yield* slots.release(1)
  })

  const lose = Effect.fnUntraced(function* (local: Local, { beat, token }: JobCell.Run) {
    const state = yield* change(local, (before, now) => {
      const found = before && JobCell.running(before).find((one) => one.token === token)
      return found?.beat === beat ? JobCell.revise(before!, token, { status: "lost", endedAt: now }) : before
    })
    const run = state?.runs.find((one) => one.token === token)
    if (run?.status !== "lost") return
    yield* Effect.logWarning(`job ${local.name}: run ${token} is lost: its process does not answer any more`)
    yield* tell(local.name, { _tag: "Ended", run })
  })

  /** Whether it is known of every run that it goes on. */
  const isCertain = (local: Local, state: JobCell.State) =>
    JobCell.running(state).every((run) =>
      run.holder === holder ? local.mine.has(run.token) : local.sightings.get(run.token)?.isAlive === true
    )

  /** Whether a run of another process is under way, as far as is known here. */
  const isElsewhere = (state: JobCell.State) => JobCell.running(state).some((run) => run.holder !== holder)

  /** Whether a run of another process was seen before the last slot came, and may have been over when it did. */
  const isOld = (local: Local, state: JobCell.State, table: Timetable.Timetable, now: number) =>
    isElsewhere(state)
      ? Effect.map(local.age, (age) => age > now - (table.last(state.done, now) ?? now))
      : Effect.succeed(false)

  // ---------------------------------------------------------------------------
  // Loops
  // ---------------------------------------------------------------------------

  /** Writes down what the program declares of a job whose object was damaged, or is gone. */
  const redeclare = Effect.fnUntraced(function* (local: Local, { isFloating, job }: Declaration) {
    yield* change(local, (before, now) => {
      const state = JobCell.declare(before, isFloating ? JobCell.anchored(job, before) : job, now)
      // Above each token that the job has had: nobody knows how many they were.
      return before === undefined ? { ...state, token: Math.floor(now / 1000) } : state
    })
    local.isPending = false
  })

  const step = Effect.fnUntraced(function* (local: Local) {
    const { declaration } = local
    if (declaration !== undefined && local.isPending) yield* redeclare(local, declaration)
    const state = local.version === undefined ? yield* reread(local) : local.version.value
    if (state === undefined && declaration !== undefined) return yield* redeclare(local, declaration)
    const table = state === undefined ? undefined : tableOf(state)
    if (state === undefined || table === undefined || !tasks.has(state.job.task))
      return yield* pause(local, pollInterval)
    yield* observe(local, state)
    // What has been written down meanwhile is what counts.
    if (local.version?.value !== state) return
    const now = yield* options.now
    const decision = JobCell.decide(state, table, now)
    switch (decision._tag) {
      case "Idle":
        return yield* pause(local, Math.min(pollInterval, (decision.until ?? Infinity) - now))
      case "Pass":
        if (decision.skipped === 0) return yield* passBy(local)
        if (yield* isOld(local, state, table, now)) return yield* Effect.asVoid(reread(local))
        if (isCertain(local, state)) return yield* passBy(local)
        break
      case "Start": {
        const choose = (present: JobCell.State, at: number) => {
          const table = tableOf(present)
          const again = table && JobCell.decide(present, table, at)
          return again?._tag === "Start" ? again : undefined
        }
        yield* slots.take(1)
        return void (yield* startBy(local, choose, false))
      }
      case "Busy":
        if (yield* isOld(local, state, table, now)) return yield* Effect.asVoid(reread(local))
    }
    // What is in the way may be over at the next slot, or nobody's any more.
    yield* pause(local, Math.min(lease / 3, isElsewhere(state) ? (table.next(now) ?? Infinity) - now : Infinity))
    yield* reread(local)
  })

  /** By the state that is stored: the run that was in the way may be over. */
  const passBy = Effect.fnUntraced(function* (local: Local) {
    let passed: Extract<JobCell.Decision, { _tag: "Pass" }> | undefined
    yield* change(local, (state, now) => {
      passed = undefined
      const table = state && tableOf(state)
      if (state === undefined || table === undefined) return state
      const again = JobCell.decide(state, table, now)
      if (again._tag !== "Pass" || (again.skipped > 0 && !isCertain(local, state))) return state
      passed = again
      return JobCell.pass(state, again)
    })
    if (passed === undefined) return
    const { missed, skipped, slot } = passed
    yield* tell(local.name, { _tag: "Passed", slot, missed, skipped })
  })

  /** What fails is tried again: a job must not end with one request. */
  const loop = (local: Local) =>
    Effect.forever(
      Effect.matchCauseEffect(step(local), {
        onSuccess: () => Effect.sync(() => void troubles.delete(local.name)),
        onFailure: (cause) => {
          if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
          const { damage } = local
          troubles.set(local.name, damage ?? `job ${local.name} could not be looked after: ${messageOf(cause)}`)
          return Effect.andThen(
            Effect.logWarning(damage ?? `job ${local.name}: it could not be looked after, and is tried again`, cause),
            // What is damaged is read again whenever jobs are listed.
            pause(local, damage === undefined ? Math.min(pollInterval, lease / 3) : pollInterval)
          )
        }
      })
    )

  const lookAfter = Effect.fnUntraced(function* (local: Local) {
    if (isClosed || (yield* FiberMap.has(loops, local.name))) return
    yield* FiberMap.run(loops, local.name, loop(local))
  })

  /** Reads what has changed since it was read last, and looks after what is new. */
  const sync = Effect.gen(function* () {
    const age = yield* StoreClock.steady
    const one = Effect.fnUntraced(function* ({ etag, key }: ListEntry) {
      const name = JobCell.nameOf(slug, key)
      if (name === undefined) return
      const local = yield* localOf(name)
      if (etag === undefined || local.version?.etag !== etag) {
        yield* Effect.catch(reread(local), (error) => Effect.logWarning(`job ${name} cannot be read`, error))
      } else {
        local.age = age
      }
      yield* wake(local)
    })
    yield* listAll(store, { prefix: JobCell.keyPrefix(slug) }).pipe(
      Stream.mapEffect(one, { concurrency: 16 }),
      Stream.runDrain
    )
    yield* Effect.forEach(locals.values(), lookAfter, { discard: true })
  })

  const tolerated = (effect: Effect.Effect<unknown, StoreError>) =>
    Effect.matchEffect(effect, {
      onSuccess: () => Effect.sync(() => void troubles.delete("")),
      onFailure: (error) => {
        troubles.set("", `jobs could not be listed: ${error.message}`)
        return Effect.logWarning("jobs could not be listed; it is tried again", error)
      }
    })

  const watch = Effect.gen(function* () {
    yield* sync
    yield* FiberMap.run(loops, "", Effect.forever(Effect.andThen(Effect.sleep(pollInterval), tolerated(sync))))
  })

  // It closes before the fibers do: nothing starts any more, and what runs may end.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => (isClosed = true)).pipe(
      Effect.andThen(FiberMap.clear(loops)),
      Effect.andThen(FiberSet.awaitEmpty(claims)),
      Effect.andThen(Effect.timeoutOption(FiberMap.awaitEmpty(runs), options.patience)),
      Effect.ignore,
      Effect.andThen(FiberMap.clear(runs))
    )
  )

  const closed = new StoreError({
    operation: "put",
    reason: new Unsupported({
      feature: "starting jobs by a scheduler that is closed",
      description: "the scheduler is closed: the scope of its layer has ended"
    })
  })

  const changeNow: Engine["change"] = Effect.fnUntraced(function* (name, revise) {
    const local = yield* localOf(name)
    // What others have written meanwhile is what counts.
    local.version = undefined
    const state = yield* change(local, revise)
    // Of what is not there nothing is kept.
    if (state === undefined && local.declaration === undefined) return void locals.delete(name)
    yield* lookAfter(local)
    yield* wake(local)
    return state
  })

  /** Of a job that is not known nothing is kept: a name may come from anywhere. */
  const read: Engine["read"] = (name) => {
    const local = locals.get(name)
    return local === undefined ? Effect.map(JobCell.make(store, slug, name).read, ({ value }) => value) : reread(local)
  }

  return {
    watch,
    change: changeNow,
    declare: Effect.fnUntraced(function* (name, declaration) {
      const { isFloating, job } = declaration
      const local = yield* localOf(name)
      local.declaration = declaration
      const declared = changeNow(name, (before, now) =>
        JobCell.declare(before, isFloating ? JobCell.anchored(job, before) : job, now)
      )
      yield* Effect.catch(declared, (error) => {
        if (error.reason._tag !== "Corrupt") return Effect.fail(error)
        local.isPending = true
        troubles.set(name, damageOf(local))
        return lookAfter(local)
      })
    }),
    add: Effect.fnUntraced(function* (name, { isFloating, job }) {
      let isAdded = true
      yield* changeNow(name, (before, now) => {
        isAdded = !JobCell.isOver(before, job, now)
        return isAdded ? JobCell.declare(before, isFloating ? JobCell.anchored(job, before) : job, now) : before
      })
      return isAdded
    }),
    read,
    readAll: Effect.map(sync, () => {
      const states = [...locals.values()].flatMap(({ name, version }) =>
        version?.value === undefined ? [] : [[name, version.value] as const]
      )
      return new Map(states)
    }),
    damaged: Effect.sync(() => {
      const damaged = [...locals.values()].flatMap(({ damage, declaration, name }) =>
        damage === undefined || declaration === undefined
          ? []
          : [[name, { job: declaration.job, detail: damage }] as const]
      )
      return new Map(damaged)
    }),
    trigger: Effect.fnUntraced(function* (name) {
      if (isClosed) return yield* closed
      const state = yield* read(name)
      if (state === undefined || state.isRemoved || !tasks.has(state.job.task)) return undefined
      const local = yield* localOf(name)
      let rival: JobCell.Run | undefined
      const choose = (present: JobCell.State, now: number) => {
        rival = present.job.overlap === "allow" ? undefined : JobCell.running(present)[0]
        return rival === undefined ? { slot: now, missed: 0 } : undefined
      }
      yield* slots.take(1)
      if (isClosed) {
        yield* slots.release(1)
        return yield* closed
      }
      const begun = yield* Effect.flatMap(FiberSet.run(claims, startBy(local, choose, true)), Fiber.join)
      if (begun === undefined) return rival === undefined ? undefined : Result.fail(rival)
      return Result.succeed(yield* begun)
    }),
    troubles: Effect.sync(() => [...troubles.values()]),
    next: (state) => (state.isEnabled && !state.isRemoved ? tableOf(state)?.next(state.done) : undefined)
  }
})

const damageOf = ({ cell, name }: Local): string =>
  `job ${JSON.stringify(name)}: ${cell.key} cannot be read; put back an earlier version of it, or remove it: the job then begins anew`

/** What is kept of what a program has given. */
const resultOf = (given: unknown): Pick<JobCell.Run, "result" | "resultOmitted"> => {
  if (given === undefined) return {}
  const small = smallJson(given)
  return Result.isSuccess(small) ? { result: small.success } : { resultOmitted: small.failure }
}

/** How a run ended whose attempts did not come to an end of their own. */
const endOf = (cause: Cause.Cause<unknown>): Partial<JobCell.Run> =>
  Cause.hasInterruptsOnly(cause) ? { status: "interrupted" } : { status: "failure", error: messageOf(cause) }

/** The first line of what a run failed with, which may be anything. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  try {
    const error = Cause.squash(cause)
    const text = error instanceof Error ? String(error.message || error.name) : tagOf(error)
    return text.split("\n")[0]!.slice(0, 500)
  } catch {
    return "what it failed with cannot be shown"
  }
}

const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : String(error)
