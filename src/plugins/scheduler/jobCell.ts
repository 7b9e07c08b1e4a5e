/**
 * What is stored of a job, and how its runs come and go in it: one object for each job, changed by compare-and-set.
 *
 * **Details**
 *
 * The object is the only thing that decides. A slot is started by whoever writes it down first; a run goes on as long as its
 * entry says so. Nothing of it is ever deleted: a job that is removed keeps its number of runs, so that no token comes twice.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { percentDecode, percentEncode } from "../../internal/text.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import { describe } from "../../kernel/internal/jsonText.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as Timetable from "./timetable.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A job as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export const Job = Schema.Struct({
  task: Schema.String,
  payload: Schema.optionalKey(Schema.Json),
  schedule: Timetable.Definition,
  misfire: Schema.Literals(["skip", "runOnce", "runAll"]),
  overlap: Schema.Literals(["skip", "wait", "allow"]),
  /** Milliseconds. */
  grace: Schema.Int,
  /** Milliseconds of one attempt. */
  timeout: Schema.Int,
  retries: Schema.Int,
  description: Schema.optionalKey(Schema.String),
  /** What the program says of it besides. */
  meta: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})

/**
 * A job as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export type Job = typeof Job.Type

/**
 * One start of a job.
 *
 * @category models
 * @since 0.1.0
 */
export const Run = Schema.Struct({
  /** The moment that it was due at, in milliseconds since the epoch. */
  slot: Schema.Int,
  /** Rises from run to run of a job, and never comes twice. */
  token: Schema.Int,
  status: Schema.Literals(["running", "success", "failure", "timeout", "interrupted", "lost"]),
  isManual: Schema.Boolean,
  holder: Schema.String,
  /** How often the holder has said that it goes on. */
  beat: Schema.Int,
  startedAt: Schema.Int,
  endedAt: Schema.optionalKey(Schema.Int),
  attempts: Schema.Int,
  /** The message of what it failed with. */
  error: Schema.optionalKey(Schema.String),
  /** What its program has given, if that is small JSON. */
  result: Schema.optionalKey(Schema.Json),
  /** Why it is not there. */
  resultOmitted: Schema.optionalKey(Schema.Literals(["notJson", "tooLarge"]))
})

/**
 * One start of a job.
 *
 * @category models
 * @since 0.1.0
 */
export type Run = typeof Run.Type

/**
 * How many runs have ended how, and how many slots had none.
 *
 * @category models
 * @since 0.1.0
 */
export const Totals = Schema.Struct({
  success: Schema.Int,
  failure: Schema.Int,
  timeout: Schema.Int,
  interrupted: Schema.Int,
  lost: Schema.Int,
  /** Slots that came while a run was under way. */
  skipped: Schema.Int,
  /** Slots that nobody was there for. */
  missed: Schema.Int,
  /** Milliseconds of all runs that ended by themselves. */
  millis: Schema.Int
})

/**
 * How many runs have ended how, and how many slots had none.
 *
 * @category models
 * @since 0.1.0
 */
export type Totals = typeof Totals.Type

/**
 * All that is stored of a job.
 *
 * @category models
 * @since 0.1.0
 */
export const State = Schema.Struct({
  job: Job,
  isEnabled: Schema.Boolean,
  isRemoved: Schema.Boolean,
  /** It is decided of every slot up to this moment whether it has a run. */
  done: Schema.Int,
  /** The token of the last run. */
  token: Schema.Int,
  /** Newest first; those that are running, and the last of the others. */
  runs: Schema.Array(Run),
  totals: Totals
})

/**
 * All that is stored of a job.
 *
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

const none: Totals = {
  success: 0,
  failure: 0,
  timeout: 0,
  interrupted: 0,
  lost: 0,
  skipped: 0,
  missed: 0,
  millis: 0
}

// -----------------------------------------------------------------------------
// Objects
// -----------------------------------------------------------------------------

const Body = Schema.Struct({ v: Schema.Literal(1), w: Schema.Array(Schema.String), s: State })
const checkState = Schema.decodeUnknownEffect(State)
const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const format: CasCell.Format<State> = {
  remembered: 32,
  // What could not be read again is not written.
  encode: (state, writes) =>
    Effect.mapBoth(checkState(state), {
      onSuccess: () => encoder.encode(JSON.stringify({ v: 1, w: writes, s: state })),
      onFailure: (error) =>
        new StoreError.InvalidArgument({
          argument: "body",
          description: `the state of a job could not be read again: ${describe(error)}`
        })
    }),
  decode: (bytes) => {
    const body = decodeBody(decoder.decode(bytes))
    return Result.isSuccess(body)
      ? Effect.succeed({ value: body.success.s, writes: body.success.w })
      : Effect.fail(new StoreError.Corrupt({ description: "the state of a job cannot be read" }))
  }
}

/**
 * Returns what the keys of all jobs of a scheduler begin with.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (slug: string): string => `plugin=${slug}/job=`

/**
 * Reads the name of the job in a key, if it is the key of one.
 *
 * @category keys
 * @since 0.1.0
 */
export const nameOf = (slug: string, key: string): string | undefined => {
  const prefix = keyPrefix(slug)
  const rest = key.slice(prefix.length)
  return key.startsWith(prefix) && rest !== "" && !rest.includes("/") ? percentDecode(rest) : undefined
}

/**
 * Creates the cell of a job. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], slug: string, name: string): CasCell.CasCell<State> =>
  CasCell.make(store, `${keyPrefix(slug)}${percentEncode(name)}`, format)

// -----------------------------------------------------------------------------
// Transitions
// -----------------------------------------------------------------------------

/**
 * Returns the state of a job that is declared, on top of what is stored of it: slots before now are nobody's, if it is new, was
 * removed, or has another schedule.
 *
 * @category combinators
 * @since 0.1.0
 */
export const declare = (before: State | undefined, job: Job, now: number): State => {
  // What is due once is due, also when it is said too late.
  const done = "at" in job.schedule ? Math.min(now, job.schedule.at - 1) : now
  if (before === undefined) return { job, isEnabled: true, isRemoved: false, done, token: 0, runs: [], totals: none }
  const isSame = !before.isRemoved && isEqual(before.job.schedule, job.schedule)
  if (isSame && isEqual(before.job, job)) return before
  return { ...before, job, isRemoved: false, done: isSame ? before.done : Math.max(done, before.done) }
}

/**
 * Tells whether a job that is declared would never run, since its one moment is over: it was decided of already, or is longer ago
 * than `grace` where what was missed is skipped. A job that is there as it is declared has had its chance.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOver = (before: State | undefined, job: Job, now: number): boolean => {
  const { schedule } = job
  if (!("at" in schedule) || (before !== undefined && declare(before, job, now) === before)) return false
  return declare(before, job, now).done >= schedule.at || (job.misfire === "skip" && now - schedule.at > job.grace)
}

/**
 * Returns a job whose interval counts from where it has counted from so far.
 *
 * @category combinators
 * @since 0.1.0
 */
export const anchored = (job: Job, before: State | undefined): Job => {
  const { schedule } = job
  const known = before?.job.schedule
  const isSame = known !== undefined && "every" in known && "every" in schedule && known.every === schedule.every
  return isSame ? { ...job, schedule: known } : job
}

const isEqual = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b)

/** JSON in which the order of members does not matter. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) =>
    typeof one === "object" && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : one
  )

/**
 * Returns the state of a job that is switched on or off; slots that came while it was off are nobody's.
 *
 * @category combinators
 * @since 0.1.0
 */
export const enable = (state: State, isEnabled: boolean, now: number): State =>
  state.isEnabled === isEnabled
    ? state
    : { ...state, isEnabled, done: isEnabled ? Math.max(now, state.done) : state.done }

/**
 * What has become of a job itself: `Changed` in what is declared of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Turn = "Added" | "Changed" | "Enabled" | "Disabled" | "Removed"

/**
 * Returns what has become of a job from one state to the next; `undefined` where it is what it was.
 *
 * @category getters
 * @since 0.1.0
 */
export const turnOf = (before: State | undefined, after: State | undefined): Turn | undefined => {
  if (after === undefined || before === after) return undefined
  const wasThere = before !== undefined && !before.isRemoved
  if (after.isRemoved) return wasThere ? "Removed" : undefined
  if (!wasThere) return "Added"
  if (before.isEnabled !== after.isEnabled) return after.isEnabled ? "Enabled" : "Disabled"
  return before.job === after.job ? undefined : "Changed"
}

/**
 * Returns the runs that are under way, as far as is written down.
 *
 * @category getters
 * @since 0.1.0
 */
export const running = ({ runs }: State): ReadonlyArray<Run> => runs.filter(({ status }) => status === "running")

/**
 * What is to be done about a job at a moment: wait for the next slot (`undefined`: there is none), wait for the run that is
 * under way, let slots go by, or start a run.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision =
  | { readonly _tag: "Idle"; readonly until: number | undefined }
  | { readonly _tag: "Busy" }
  | { readonly _tag: "Pass"; readonly slot: number; readonly missed: number; readonly skipped: number }
  | { readonly _tag: "Start"; readonly slot: number; readonly missed: number }

/** No more slots than these are counted as missed at once. */
const mostCounted = 1000

/** How many slots there are after one moment and before another. */
const between = (table: Timetable.Timetable, after: number, until: number): number => {
  let count = 0
  for (let at = table.next(after); at !== undefined && at < until && count < mostCounted; at = table.next(at)) count++
  return count
}

/**
 * Decides what is to be done about a job. `runOnce` and `skip` only look at the last slot there was, `runAll` at the first that
 * nobody has decided about.
 *
 * @category getters
 * @since 0.1.0
 */
export const decide = (state: State, table: Timetable.Timetable, now: number): Decision => {
  const { done, isEnabled, isRemoved, job } = state
  if (!isEnabled || isRemoved) return { _tag: "Idle", until: undefined }
  const first = table.next(done)
  if (first === undefined || first > now) return { _tag: "Idle", until: first }
  const slot = job.misfire === "runAll" ? first : (table.last(done, now) ?? first)
  const missed = slot === first ? 0 : between(table, done, slot)
  if (job.misfire === "skip" && now - slot > job.grace) return { _tag: "Pass", slot, missed: missed + 1, skipped: 0 }
  const inTheWay = running(state)
  if (inTheWay.length > 0 && job.overlap !== "allow") {
    // What was due before a run began did not come while it was under way: it is made up for after it.
    const isMissed = job.misfire === "runAll" && inTheWay.every(({ startedAt }) => startedAt >= slot)
    return job.overlap === "wait" || isMissed ? { _tag: "Busy" } : { _tag: "Pass", slot, missed, skipped: 1 }
  }
  return { _tag: "Start", slot, missed }
}

/**
 * Returns the state in which a slot has no run.
 *
 * @category combinators
 * @since 0.1.0
 */
export const pass = (
  state: State,
  { missed, skipped, slot }: { readonly slot: number; readonly missed: number; readonly skipped: number }
): State => ({
  ...state,
  done: Math.max(state.done, slot),
  totals: { ...state.totals, missed: state.totals.missed + missed, skipped: state.totals.skipped + skipped }
})

/**
 * Returns the state in which a run is under way. A manual one leaves slots as they are.
 *
 * @category combinators
 * @since 0.1.0
 */
export const start = (
  state: State,
  run: Pick<Run, "holder" | "isManual" | "slot" | "startedAt">,
  { kept, missed = 0 }: { readonly kept: number; readonly missed?: number }
): State => {
  const token = state.token + 1
  const started: Run = { ...run, token, status: "running", beat: 0, attempts: 1 }
  return {
    ...state,
    token,
    done: run.isManual ? state.done : Math.max(state.done, run.slot),
    runs: trimmed([started, ...state.runs], kept),
    totals: { ...state.totals, missed: state.totals.missed + missed }
  }
}

const trimmed = (runs: ReadonlyArray<Run>, kept: number): ReadonlyArray<Run> => {
  let ended = 0
  return runs.filter(({ status }) => status === "running" || ended++ < kept)
}

/**
 * Returns the state in which a run has changed, if it is under way; as it is if not.
 *
 * @category combinators
 * @since 0.1.0
 */
export const revise = (state: State, token: number, change: Partial<Run>): State => {
  const run = running(state).find((one) => one.token === token)
  if (run === undefined) return state
  const next: Run = { ...run, ...change }
  const runs = state.runs.map((one) => (one === run ? next : one))
  if (next.status === "running") return { ...state, runs }
  const { totals } = state
  const millis = next.status === "lost" ? 0 : Math.max(0, (next.endedAt ?? next.startedAt) - next.startedAt)
  return {
    ...state,
    runs,
    totals: { ...totals, [next.status]: totals[next.status] + 1, millis: totals.millis + millis }
  }
}
