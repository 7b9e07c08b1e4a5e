/**
 * Jobs that run at certain times, each slot once among all processes that share a database.
 *
 * ```ts
 * import * as Scheduler from "effect-s3db/plugins/Scheduler"
 * import { Console } from "effect"
 *
 * const nightly = Scheduler.job("nightly-report", {
 *   schedule: { cron: "0 3 * * *", timeZone: "Europe/Berlin" },
 *   run: ({ slot }) => Console.log("reporting", slot)
 * })
 *
 * const Jobs = Scheduler.layer({ jobs: [nightly] })
 * ```
 *
 * **Details**
 *
 * A job is one object in the store. A slot, a moment at which the job is due, belongs to the process that writes it down first, by
 * compare-and-set: it is started once. A run says every ten seconds that it goes on. When it has not for the time of a lease,
 * others take it for `lost`, and what the process that stood still writes afterwards is refused. So a slot is never started
 * twice; a run whose process died is not made up for, unless the job is idempotent and says so with `retries`, which count
 * within one process only.
 *
 * Time is the store's: it is measured when the layer is built, every hour, and when the clock of the machine was set, so that a
 * machine whose clock is wrong starts nothing too early.
 *
 * Requests: 3, 1 LIST, and 1 GET for each job to start, and 2 PUT the first time in a database; 1 PUT for a new or changed job; a run is 2 PUT, and 1 more every ten seconds; a
 * process that is second 1 PUT and 1 GET. Idle: 1 LIST a minute (`pollInterval`) for all jobs together.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Change from "../Change.ts"
import * as Id from "../crypto/Id.ts"
import { Database } from "../Database.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import * as DbError from "../DbError.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import * as Engine from "./scheduler/engine.ts"
import { enable } from "./scheduler/jobCell.ts"
import * as JobCell from "./scheduler/jobCell.ts"
import { mostBytes, smallJson } from "./scheduler/smallJson.ts"
import * as Timetable from "./scheduler/timetable.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { idempotencyKey } from "../internal/idempotencyKey.ts"
import { isObject } from "../internal/json.ts"
import * as JsonCodec from "../schema/internal/jsonCodec.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A job that cannot be: its schedule, its name or an option is wrong. Nothing was written. `field` says which one, `problem`
 * what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidJob extends ExpectedError<InvalidJob>("effect-s3db/plugins/Scheduler/InvalidJob")(
  "InvalidJob",
  { job: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    const what =
      this.job === "" && this.field !== "name" ? "the options of the scheduler" : `job ${JSON.stringify(this.job)}`
    return `${what}, ${this.field}: ${this.problem}`
  }
}

/**
 * A job that is not there, was removed, or whose task this process does not have.
 *
 * @remedy Add the job, or ask a process that has the task.
 * @category errors
 * @since 0.1.0
 */
export class UnknownJob extends ExpectedError<UnknownJob>("effect-s3db/plugins/Scheduler/UnknownJob")(
  "UnknownJob",
  { job: Schema.String },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    return `there is no job ${JSON.stringify(this.job)} that this process could run`
  }
}

/**
 * A run that is under way; nothing was started.
 *
 * @remedy Wait until it is over, or give the job `overlap: "allow"`.
 * @category errors
 * @since 0.1.0
 */
export class JobRunning extends ExpectedError<JobRunning>("effect-s3db/plugins/Scheduler/JobRunning")(
  "JobRunning",
  {
    job: Schema.String,
    token: Schema.Int,
    /** When it was started, in ISO 8601. */
    since: Schema.String
  },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `job ${JSON.stringify(this.job)} is running since ${this.since}`
  }
}

/**
 * The errors of building a scheduler.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidJob | Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/**
 * When a job is due.
 *
 * - a cron expression of 5 fields, or 6 with seconds first, or a shortcut (`@hourly`, `@daily`, `@midnight`, `@weekly`,
 *   `@monthly`, `@yearly`, `@annually`); in UTC, or with `timeZone` in that zone. `7` and `0` are Sunday; where both day fields
 *   are restricted either may fit
 * - `every`: an interval of at least a second, counted from `from`, by default from when the job is first known
 * - `at`: once
 *
 * `whenRepeated` says what happens to a local time that comes twice, as clocks are set back: by default both hours count where
 * the hour is not named, and only the earlier time where it is. A local time that does not exist, as clocks are set forward, is
 * made up for right after the gap.
 *
 * @category models
 * @since 0.1.0
 */
export type Schedule = Timetable.Schedule

/**
 * How a job is started.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  readonly schedule: Schedule
  /**
   * Slots that came while no process was there, or was late: `runOnce`, the default, makes up for all of them by one run, for
   * the last; `runAll` runs each of them, one after the other, whatever `overlap` says of those that come later; `skip` runs none
   * that is older than `grace`.
   */
  readonly misfire?: "skip" | "runOnce" | "runAll" | undefined
  /** How late a slot may be run with `misfire: "skip"`. Default: 1 minute. */
  readonly grace?: Duration.Input | undefined
  /**
   * A slot that comes while a run is under way, in whichever process: `skip`, the default, lets it go by; `wait` runs it after
   * that, or the last of several, as `misfire` says; `allow` runs it beside.
   */
  readonly overlap?: "skip" | "wait" | "allow" | undefined
  /** How long one attempt may take before it is interrupted. Default: 1 hour. */
  readonly timeout?: Duration.Input | undefined
  /** How many more attempts a run has, after 2, 4, 8, ... seconds, 60 at most, by chance up to half less. Default: 0. */
  readonly retries?: number | undefined
  readonly description?: string | undefined
  /**
   * What else there is to say of the job, such as who looks after it: kept with it, in clear, and given to its program and in `JobStatus`. At most
   * 2,048 bytes as JSON. Default: nothing. Changing it leaves slots as they are.
   */
  readonly meta?: JsonObject | undefined
}

/**
 * A run, as the program of a job sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunContext {
  readonly job: string
  /** The moment that the job was due at, which may be long ago; of a manual run, when it was started. */
  readonly slot: DateTime.Utc
  /** Rises from run to run of a job: what a system outside can refuse an older run by. */
  readonly token: number
  /** From 1. */
  readonly attempt: number
  readonly isManual: boolean
  /** That of the job, as it was when the run was started; `{}` where it has none. */
  readonly meta: JsonObject
  /**
   * The same for the same slot, whoever runs it, and that of no other run of the database: for systems that take an idempotency key. The
   * plugin with its namespace, the job and the slot, each percent-encoded: `scheduler/report/1790000000000`.
   */
  readonly idempotencyKey: string
  /** Whether the run is still this process's, which it is not after it stood still for longer than the lease. 1 GET. */
  readonly isHeld: Effect.Effect<boolean, DbError.DbError>
}

/**
 * A program that jobs run, with the data that each of them gives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Task<in P, out R = never> {
  readonly name: string
  readonly run: (payload: P, context: RunContext) => Effect.Effect<unknown, unknown, R>
  /** @internal */
  readonly decode: (payload: Schema.Json | undefined, context: RunContext) => Effect.Effect<unknown, unknown, R>
  /** @internal */
  readonly encode: (payload: P) => Effect.Effect<Schema.Json | undefined, Schema.SchemaError>
}

/**
 * Declares a task: a program, and the schema of the data that jobs give it, which is stored as JSON.
 *
 * @category constructors
 * @since 0.1.0
 */
export const task = <P, R>(
  name: string,
  options: {
    readonly payload: Schema.Codec<P, unknown>
    readonly run: (payload: P, context: RunContext) => Effect.Effect<unknown, unknown, R>
  }
): Task<P, R> => {
  const { decode, encode } = JsonCodec.make(options.payload)
  return {
    name,
    run: options.run,
    decode: (payload, context) => Effect.flatMap(decode(payload), (given) => options.run(given, context)),
    encode: (payload) => encode(payload)
  }
}

/**
 * A job of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job<out R = never> {
  readonly name: string
  readonly policy: Policy
  readonly run: (context: RunContext) => Effect.Effect<unknown, unknown, R>
}

/**
 * Declares a job. Its name is that of its object in the store: it has to stay the same, or the job is another one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const job = <R = never>(
  name: string,
  { run, ...policy }: Policy & { readonly run: (context: RunContext) => Effect.Effect<unknown, unknown, R> }
): Job<R> => ({ name, policy, run })

/**
 * A job that is added at run time, and stays until it is removed, whichever processes come and go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Addition<P> extends Policy {
  readonly name: string
  /** Processes that have no task of this name leave the job to others. */
  readonly task: Task<P, never> | Task<P, unknown>
  readonly payload: P
}

// -----------------------------------------------------------------------------
// Reports
// -----------------------------------------------------------------------------

/**
 * How a run stands: `lost` when its process came to a sudden end, or stood still for longer than the lease.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = JobCell.Run["status"]

/**
 * One run of a job.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  readonly job: string
  readonly slot: DateTime.Utc
  readonly token: number
  readonly status: Status
  readonly isManual: boolean
  readonly attempts: number
  readonly startedAt: DateTime.Utc
  readonly endedAt: Option.Option<DateTime.Utc>
  /** The first line of what the last attempt failed with. */
  readonly error: Option.Option<string>
  /** What its program has given, where that is JSON of at most 2,048 bytes; members that are `undefined` are left out. */
  readonly result: Option.Option<Json>
  /** Why `result` is not there although the program has given something: that was no JSON, or larger. The run has succeeded all the same. */
  readonly resultOmitted: Option.Option<"notJson" | "tooLarge">
}

/**
 * A job, and how its runs have gone so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobStatus {
  readonly name: string
  readonly description: Option.Option<string>
  /** `{}` where it has none. */
  readonly meta: JsonObject
  readonly task: string
  /** As it is stored, times in milliseconds. */
  readonly schedule: Timetable.Definition
  readonly isEnabled: boolean
  /**
   * `down`: its object cannot be read, so that nothing is started of it, and nothing is known of its runs. `detail` names the key, and says
   * what to do; the job is up again by itself afterwards. Only jobs of the program are listed then.
   */
  readonly health: { readonly level: "up" } | { readonly level: "down"; readonly detail: string }
  /** The slot that is next, also if it is over and nobody has run it yet. */
  readonly next: Option.Option<DateTime.Utc>
  readonly running: ReadonlyArray<Run>
  readonly last: Option.Option<Run>
  /** By how they ended, with slots that had no run: `skipped` for another run, `missed` since nobody was there. */
  readonly totals: Omit<JobCell.Totals, "millis">
  /** Of runs that ended by themselves. */
  readonly averageDuration: Option.Option<Duration.Duration>
}

/**
 * What a scheduler tells of its jobs.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | { readonly _tag: "Started" | "Ended"; readonly job: string; readonly run: Run }
  /** Slots that have no run. */
  | {
      readonly _tag: "Passed"
      readonly job: string
      readonly slot: DateTime.Utc
      readonly missed: number
      readonly skipped: number
    }
  /** Of the job itself, told by the process that has written it: also of a job that its program declares. `Changed`: in its schedule, policy, task or data. */
  | { readonly _tag: "Added" | "Changed" | "Enabled" | "Disabled" | "Removed"; readonly job: string }

// -----------------------------------------------------------------------------
// Scheduler
// -----------------------------------------------------------------------------

/**
 * The jobs of a database, and their runs.
 *
 * @category services
 * @since 0.1.0
 */
export class Scheduler extends Context.Service<
  Scheduler,
  {
    /**
     * Starts a job now, also one that is disabled, and gives how the run ended. Slots stay as they are. 1 GET, then the requests of a run. `UnknownJob`;
     * `JobRunning`: there is a run already. `DbError`, `Unsupported`: the scheduler is closed.
     */
    readonly trigger: (name: string) => Effect.Effect<Run, UnknownJob | JobRunning | DbError.DbError>
    /** Lets a job be due again; what came while it was off is not made up for. 1 GET, 1 PUT. */
    readonly enable: (name: string) => Effect.Effect<void, UnknownJob | DbError.DbError>
    /** Lets a job be due no more, in all processes, until it is enabled; a run under way goes on. 1 GET, 1 PUT. */
    readonly disable: (name: string) => Effect.Effect<void, UnknownJob | DbError.DbError>
    /**
     * Adds a job, or changes the one of this name. 1 GET, 1 PUT. `InvalidJob`: its schedule, an option or its payload is wrong,
     * or its name is that of a job of the program; or it would never run, since its `at` is over. An `at` that is over runs at once, unless
     * `misfire: "skip"` and `grace` say otherwise, or the job of this name has run for it or for a later one. It only writes to the store:
     * it is no part of a `database.transaction`, and goes on being possible when the scheduler is closed.
     */
    readonly add: <P>(job: Addition<P>) => Effect.Effect<void, InvalidJob | DbError.DbError>
    /** Removes a job; a run under way goes on. About 1 kB stays, so that its tokens never come again. 1 GET, 1 PUT. */
    readonly remove: (name: string) => Effect.Effect<void, UnknownJob | DbError.DbError>
    /** 1 GET. */
    readonly status: (name: string) => Effect.Effect<JobStatus, UnknownJob | DbError.DbError>
    /** Every job, by name. 1 LIST for each 1,000, and 1 GET for each that has changed. */
    readonly statuses: Effect.Effect<ReadonlyArray<JobStatus>, DbError.DbError>
    /** The runs of a job, newest first, as far as they are kept (`Options.historyLimit`). 1 GET. */
    readonly history: (
      name: string,
      options?: { readonly limit?: number | undefined; readonly status?: Status | undefined }
    ) => Effect.Effect<ReadonlyArray<Run>, UnknownJob | DbError.DbError>
    /** What this process does, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly events: Stream.Stream<Event | Change.Lagged>
  }
>()("effect-s3db/plugins/Scheduler") {}

/**
 * The scheduler as a plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("scheduler", { version: 1 })

/**
 * The jobs of a scheduler, and its limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R> {
  readonly jobs?: ReadonlyArray<Job<R>> | undefined
  /** The programs of jobs that are added at run time. */
  readonly tasks?: ReadonlyArray<Task<never, R>> | undefined
  /** Keeps several schedulers of a database apart: see `Plugin.Options`. Default: none. */
  readonly namespace?: string | undefined
  /** How long a run may be silent before others take it for lost. 3 seconds at least; default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
  /** How often it is looked for jobs that others have added or changed. 1 second at least; default: 1 minute. */
  readonly pollInterval?: Duration.Input | undefined
  /** How many runs this process has at once. Default: 10. */
  readonly concurrency?: number | undefined
  /** How many runs that are over are kept of a job. 1 to 1,000; default: 50. */
  readonly historyLimit?: number | undefined
  /** How long runs may go on when the layer is closed, before they are interrupted. Default: 5 seconds. */
  readonly stopWithin?: Duration.Input | undefined
}

const own = "job:"

/** No more of what is wrong with jobs than these characters is told as the status of the plugin. */
const mostDetail = 2000

/**
 * Makes a scheduler that runs until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Scheduler.make")(function* <R = never>(
  options: Options<R>
): Effect.fn.Return<Scheduler["Service"], LayerError, Database | Scope.Scope | R> {
  const { jobs = [], namespace, tasks = [] } = options
  const { store } = yield* Database
  const services = yield* Effect.context<R>()
  const limits = yield* limitsOf(options)
  const named = DbError.named("Scheduler")

  const contextOf = ({ attempt, isHeld, job, meta = {}, run }: Engine.Started): RunContext => ({
    job,
    slot: DateTime.makeUnsafe(run.slot),
    token: run.token,
    attempt,
    isManual: run.isManual,
    meta,
    idempotencyKey: run.isManual
      ? idempotencyKey(self.slug, job, "manual", run.token)
      : idempotencyKey(self.slug, job, run.slot),
    isHeld: named(isHeld)
  })

  const programs = new Map<string, Engine.Task>()
  for (const { name, run } of jobs) {
    if (programs.has(own + name))
      return yield* invalid(name, "name", "Expected another name: there are two jobs of this one")
    programs.set(own + name, (_, started) => Effect.provideContext(run(contextOf(started)), services))
  }
  for (const { decode, name } of tasks) {
    if (programs.has(name))
      return yield* invalid(name, "task", "Expected another name: there are two tasks of this one")
    programs.set(name, (payload, started) => Effect.provideContext(decode(payload, contextOf(started)), services))
  }

  const clock = yield* StoreClock.kept(store)
  const now = named(clock)
  yield* now
  // What is wrong is told before anything is written.
  for (const { name, policy } of jobs) yield* jobOf(name, policy, { task: own + name }, yield* now)
  const self = yield* Plugin.open(plugin, { namespace })
  const engine = yield* Engine.make({
    ...limits,
    store,
    slug: self.slug,
    holder: yield* Id.random,
    tasks: programs,
    now: clock,
    tell: Effect.fnUntraced(function* (job, happening) {
      for (const [name, by] of countsOf(happening)) yield* self.count(name, by)
      yield* self.publish(eventOf(job, happening))
    })
  })

  const declarationOf = Effect.fnUntraced(function* (
    name: string,
    policy: Policy,
    program: Pick<JobCell.Job, "task" | "payload">
  ): Effect.fn.Return<Engine.Declaration, InvalidJob | DbError.DbError> {
    const job = yield* jobOf(name, policy, program, yield* now)
    return { job, isFloating: "every" in job.schedule && !isAnchored(policy.schedule) }
  })

  for (const { name, policy } of jobs) {
    const declaration = yield* declarationOf(name, policy, { task: own + name })
    yield* named(engine.declare(name, declaration))
  }
  yield* named(engine.watch)
  yield* self.running({
    health: Effect.map(engine.troubles, (troubles) =>
      troubles.length === 0 ? { level: "up" } : { level: "degraded", detail: troubles.join("; ").slice(0, mostDetail) }
    )
  })

  /** A job that is there. */
  const found = Effect.fnUntraced(function* (name: string) {
    const state = isName(name) ? yield* named(engine.read(name)) : undefined
    return state === undefined || state.isRemoved ? yield* new UnknownJob({ job: name }) : state
  })

  const revise = Effect.fnUntraced(function* (
    name: string,
    change: (state: JobCell.State, now: number) => JobCell.State
  ) {
    const state = yield* named(
      engine.change(name, (before, now) => (before === undefined || before.isRemoved ? before : change(before, now)))
    )
    if (state === undefined) return yield* new UnknownJob({ job: name })
  })

  const statusOf = (name: string, state: JobCell.State) => toStatus(name, state, engine.next(state))

  return {
    trigger: Effect.fn("Scheduler.trigger")(function* (name) {
      const outcome = isName(name) ? yield* named(engine.trigger(name)) : undefined
      if (outcome === undefined) return yield* new UnknownJob({ job: name })
      if (Result.isSuccess(outcome)) return toRun(name, outcome.success)
      const { startedAt, token } = outcome.failure
      return yield* new JobRunning({ job: name, token, since: DateTime.formatIso(DateTime.makeUnsafe(startedAt)) })
    }),
    enable: Effect.fn("Scheduler.enable")(function* (name) {
      yield* found(name)
      yield* revise(name, (state, now) => enable(state, true, now))
    }),
    disable: Effect.fn("Scheduler.disable")(function* (name) {
      yield* found(name)
      yield* revise(name, (state, now) => enable(state, false, now))
    }),
    add: Effect.fn("Scheduler.add")(function* ({ name, payload, task, ...policy }) {
      if (programs.has(own + name)) {
        return yield* invalid(name, "name", "Expected another name: the program has a job of this one")
      }
      const encoded = yield* Effect.mapError(task.encode(payload), ({ message }) => problem(name, "payload", message))
      const program = { task: task.name, ...(encoded === undefined ? {} : { payload: encoded }) }
      const declaration = yield* declarationOf(name, policy, program)
      if (yield* named(engine.add(name, declaration))) return
      return yield* invalid(name, "schedule", "Expected a moment for at that is not over: the job would never run")
    }),
    remove: Effect.fn("Scheduler.remove")(function* (name) {
      yield* found(name)
      yield* revise(name, (state) => ({ ...state, isRemoved: true }))
    }),
    status: Effect.fn("Scheduler.status")(function* (name) {
      const exit = yield* Effect.exit(Effect.map(found(name), (state) => statusOf(name, state)))
      const damaged = Exit.isFailure(exit) ? (yield* engine.damaged).get(name) : undefined
      return damaged === undefined ? yield* exit : toDamaged(name, damaged)
    }),
    statuses: Effect.gen(function* () {
      const all = [...(yield* named(engine.readAll))].filter(([, { isRemoved }]) => !isRemoved)
      const read = all.map(([name, state]) => statusOf(name, state))
      const damaged = [...(yield* engine.damaged)].map(([name, one]) => toDamaged(name, one))
      return [...read, ...damaged].toSorted((a, b) => (a.name < b.name ? -1 : 1))
    }).pipe(Effect.withSpan("Scheduler.statuses")),
    history: Effect.fn("Scheduler.history")(function* (name, { limit = 50, status } = {}) {
      const { runs } = yield* found(name)
      return runs
        .filter((run) => status === undefined || run.status === status)
        .slice(0, Math.max(0, limit))
        .map((run) => toRun(name, run))
    }),
    events: self.events
  }
})

/**
 * Runs the jobs of a program, and those that were added at run time, until the layer is closed. `InvalidJob`: a job or an option
 * is wrong; nothing has been written. `InvalidPlugin`: the namespace is.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  options: Options<R>
): Layer.Layer<Scheduler, LayerError, Database | Exclude<R, Scope.Scope>> => Layer.effect(Scheduler, make(options))

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

const problem = (job: string, field: string, text: string) => new InvalidJob({ job, field, problem: text })

const invalid = (job: string, field: string, text: string): Effect.Effect<never, InvalidJob> =>
  Effect.fail(problem(job, field, text))

const millisOf = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : millisecondsOf(input)

/** Whether a schedule says itself what it counts from. */
const isAnchored = (schedule: Schedule): boolean =>
  typeof schedule === "object" && "every" in schedule && schedule.from !== undefined

/** A week of milliseconds is more than any of them needs, and less than a timer can wait. */
const longest = 604_800_000

const limitsOf = Effect.fnUntraced(function* (options: Options<never> | Options<unknown>) {
  const { concurrency = 10, historyLimit = 50 } = options
  const times = {
    lease: [millisOf(options.lease, 30_000), 3000],
    pollInterval: [millisOf(options.pollInterval, 60_000), 1000],
    stopWithin: [millisOf(options.stopWithin, 5000), 0]
  } as const
  for (const [field, [millis, least]] of Object.entries(times)) {
    if (millis >= least && millis <= longest) continue
    return yield* invalid("", field, `Expected a duration from ${least} ms to 7 days`)
  }
  const isCount = (count: number, most: number) => Number.isInteger(count) && count >= 1 && count <= most
  if (!isCount(concurrency, 10_000))
    return yield* invalid("", "concurrency", "Expected a whole number from 1 to 10,000")
  if (!isCount(historyLimit, 1000)) return yield* invalid("", "historyLimit", "Expected a whole number from 1 to 1,000")
  return {
    lease: times.lease[0],
    pollInterval: times.pollInterval[0],
    patience: times.stopWithin[0],
    concurrency,
    kept: historyLimit
  }
})

/** Bytes of a name in a key, percent-encoded. */
const mostNameBytes = 512

const isName = (name: string): boolean =>
  name !== "" && name.isWellFormed() && encodeURIComponent(name).length <= mostNameBytes

/**
 * Checks a job, and gives what is stored of it. No request.
 *
 * @internal
 * @category constructors
 * @since 0.1.0
 */
export const jobOf = Effect.fnUntraced(function* (
  name: string,
  policy: Policy,
  program: Pick<JobCell.Job, "task" | "payload">,
  now: number
): Effect.fn.Return<JobCell.Job, InvalidJob> {
  const { description, misfire = "runOnce", overlap = "skip", retries = 0 } = policy
  if (!isName(name)) {
    return yield* invalid(name, "name", `Expected a name of 1 to ${mostNameBytes} bytes`)
  }
  if (description !== undefined && typeof description !== "string") {
    return yield* invalid(name, "description", "Expected a text")
  }
  const meta = policy.meta === undefined ? Result.succeed(undefined) : smallJson(policy.meta)
  if (Result.isFailure(meta) && meta.failure === "tooLarge") {
    return yield* invalid(name, "meta", `Expected at most ${mostBytes.toLocaleString("en")} bytes as JSON`)
  }
  const told = Result.isSuccess(meta) ? meta.success : null
  if (told !== undefined && !isObject(told)) return yield* invalid(name, "meta", "Expected an object of JSON")
  const schedule = Timetable.define(policy.schedule, now)
  if (Result.isFailure(schedule)) return yield* invalid(name, "schedule", schedule.failure)
  for (const [field, given] of Object.entries({ misfire, overlap } as const)) {
    const known: ReadonlyArray<string> = JobCell.Job.fields[field as "misfire" | "overlap"].literals
    if (!known.includes(given)) return yield* invalid(name, field, `Expected one of ${known.join(", ")}`)
  }
  const grace = millisOf(policy.grace, 60_000)
  const timeout = millisOf(policy.timeout, 3_600_000)
  if (!(grace >= 0)) return yield* invalid(name, "grace", "Expected a duration")
  if (!(timeout > 0)) return yield* invalid(name, "timeout", "Expected a duration of more than nothing")
  if (!Number.isInteger(retries) || retries < 0 || retries > 1000) {
    return yield* invalid(name, "retries", "Expected a whole number from 0 to 1,000")
  }
  const whole = (millis: number) => Math.ceil(Math.min(millis, Number.MAX_SAFE_INTEGER))
  return {
    ...program,
    schedule: schedule.success,
    misfire,
    overlap,
    grace: whole(grace),
    timeout: whole(timeout),
    retries,
    ...(description === undefined ? {} : { description }),
    ...(told === undefined ? {} : { meta: told })
  }
})

// -----------------------------------------------------------------------------
// Reports
// -----------------------------------------------------------------------------

const toRun = (job: string, run: JobCell.Run): Run => ({
  job,
  slot: DateTime.makeUnsafe(run.slot),
  token: run.token,
  status: run.status,
  isManual: run.isManual,
  attempts: run.attempts,
  startedAt: DateTime.makeUnsafe(run.startedAt),
  endedAt: Option.map(Option.fromUndefinedOr(run.endedAt), DateTime.makeUnsafe),
  error: Option.fromUndefinedOr(run.error),
  result: Option.fromUndefinedOr(run.result),
  resultOmitted: Option.fromUndefinedOr(run.resultOmitted)
})

const toStatus = (name: string, state: JobCell.State, next: number | undefined): JobStatus => {
  const { isEnabled, job, runs } = state
  const { millis, ...totals } = state.totals
  const ended = totals.success + totals.failure + totals.timeout
  const last = runs.find(({ status }) => status !== "running")
  return {
    name,
    description: Option.fromUndefinedOr(job.description),
    meta: job.meta ?? {},
    task: job.task.startsWith(own) ? job.task.slice(own.length) : job.task,
    schedule: job.schedule,
    isEnabled,
    health: { level: "up" },
    next: Option.map(Option.fromUndefinedOr(next), DateTime.makeUnsafe),
    running: runs.filter(({ status }) => status === "running").map((run) => toRun(name, run)),
    last: Option.map(Option.fromUndefinedOr(last), (run) => toRun(name, run)),
    totals,
    averageDuration: ended === 0 ? Option.none() : Option.some(Duration.millis(Math.round(millis / ended)))
  }
}

/** All that is known of a job whose object cannot be read is what the program says. */
const toDamaged = (name: string, { detail, job }: Engine.Damaged): JobStatus => ({
  ...toStatus(name, JobCell.declare(undefined, job, 0), undefined),
  health: { level: "down", detail }
})

/** What the status of the plugin counts: runs by how they went, and slots without one. */
const countsOf = (happening: Engine.Happening): ReadonlyArray<readonly [string, number]> => {
  switch (happening._tag) {
    case "Started":
      return [["started", 1]]
    case "Ended":
      return [[happening.run.status, 1]]
    case "Passed": {
      const { missed, skipped } = happening
      return Object.entries({ missed, skipped }).filter(([, by]) => by > 0)
    }
    default:
      return []
  }
}

const eventOf = (job: string, happening: Engine.Happening): Event => {
  switch (happening._tag) {
    case "Started":
    case "Ended":
      return { _tag: happening._tag, job, run: toRun(job, happening.run) }
    case "Passed":
      return { ...happening, job, slot: DateTime.makeUnsafe(happening.slot) }
    default:
      return { _tag: happening._tag, job }
  }
}
