/**
 * Few events and triggers of few processes on one lift (test/plugins/machines.ts), in every order of their requests, within bounds: its history is a
 * way without a gap, which has what was acknowledged once, and what was refused not at all; no trigger is lost, and none comes twice.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore, PutRequest } from "effect-s3db/storage/ObjectStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { type Process, problemsOfHistory, processOn, sumOf, type World } from "../plugins/machines.ts"
import { compressingAtOnce } from "./course.ts"
import type { Outcome } from "./serial.ts"

type Store = ObjectStore["Service"]

const quiet: World["Service"] = { act: () => Effect.void, guard: () => Effect.void }

const id = "a"
const isLift = (key: string): boolean => key.startsWith("resource=lifts/data/id=")
const isPast = (key: string): boolean => key.startsWith("resource=lifts/plugin=state-machine/")

/** What the processes of a run have seen. */
interface Log {
  /** By key, which version was given. */
  readonly acknowledged: Map<string, number>
  readonly refused: Set<string>
  readonly problems: Array<string>
}

/** So long that no run comes to the first, however it waits. */
const tick = 15

const newLog = (): Log => ({ acknowledged: new Map(), refused: new Set(), problems: [] })

type Program = (process: Process, log: Log) => Effect.Effect<unknown, unknown>

type Event = Parameters<Process["flow"]["send"]>[1]

const send =
  (event: Event, key: string): Program =>
  ({ flow }, log) =>
    Effect.gen(function* () {
      const outcome = yield* Effect.result(flow.send(id, event, { key }))
      if (Result.isSuccess(outcome)) {
        const known = log.acknowledged.get(key)
        if (known !== undefined && known !== outcome.success.version) log.problems.push(`${key} is two transitions`)
        log.acknowledged.set(key, outcome.success.version)
      } else if (outcome.failure._tag === "InvalidEvent") log.refused.add(key)
      else log.problems.push(`${key}: ${outcome.failure.message}`)
    })

const sweep: Program = ({ flow, lifts }, log) =>
  Effect.flatMap(flow.sweep, ({ failed }) =>
    failed === 0
      ? Effect.void
      : // Who has crashed counts what it was at as failed, and dies of its next request.
        Effect.map(lifts.getOption(id), () => log.problems.push("a sweep failed"))
  )

const start: Program = ({ flow }) => Effect.catchTag(flow.start(id, { sum: 0 }), "AlreadyStarted", () => Effect.void)

const both =
  (...programs: ReadonlyArray<Program>): Program =>
  (process, log) =>
    Effect.forEach(programs, (program) => program(process, log), { discard: true })

export interface Scenario {
  /** What was done before. */
  readonly before: ReadonlyArray<Program>
  /** How many seconds ago that was. */
  readonly seconds?: number
  readonly programs: Readonly<Record<string, Program>>
  readonly preemptions: number
  /** What its history is in the end, by the names of its events, where nobody crashes; by default nobody asks. */
  readonly ends?: ReadonlyArray<string>
}

const go = send({ _tag: "Go", by: 1 }, "begun")

export const scenarios: Readonly<Record<string, Scenario>> = {
  "machine: two events of which one can be": {
    before: [start],
    programs: { a: send({ _tag: "Go", by: 2 }, "a"), b: send({ _tag: "Go", by: 3 }, "b") },
    preemptions: 2,
    ends: ["Go"]
  },
  "machine: two events that both are taken": {
    before: [start, go],
    programs: { a: send("Ring", "a"), b: send("Step", "b") },
    preemptions: 2,
    ends: ["Go Ring Step", "Go Step Ring"]
  },
  "machine: the same event of two": {
    before: [start, go],
    programs: { a: send("Step", "same"), b: send("Step", "same") },
    preemptions: 2,
    ends: ["Go Step"]
  },
  "machine: two events while older transitions are put away": {
    before: [start, go, send("Step", "second")],
    programs: { a: send("Ring", "a"), b: send("Stop", "b") },
    preemptions: 2,
    ends: ["Go Step Ring Stop", "Go Step Stop"]
  },
  "machine: an event, and a trigger that is due": {
    before: [start],
    seconds: 21,
    programs: { a: send({ _tag: "Go", by: 2 }, "a"), b: sweep },
    preemptions: 2,
    ends: ["Go", "Rest Go"]
  },
  "machine: two sweeps that find the same trigger": {
    before: [start, go],
    seconds: tick + 1,
    programs: { a: sweep, b: sweep },
    preemptions: 2,
    ends: ["Go Tick"]
  },
  "machine: two that start it, and one that goes on": {
    before: [],
    programs: { a: both(start, send({ _tag: "Go", by: 2 }, "a")), b: start },
    preemptions: 2,
    ends: ["Go"]
  }
}

export interface Bounds {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
  readonly profile?: MemoryStore.Profile | undefined
  readonly break?: Break | undefined
  /** Every PUT on condition reaches the store once more, when the run is over. */
  readonly isRepeated?: boolean | undefined
}

class Enough {
  readonly _tag = "Enough"
}

/** A store that has the time of whoever asks. */
const agreeing = (store: Store): Store => ({
  ...store,
  head: (key) =>
    key.startsWith("s3db-clock/")
      ? Effect.flatMap(Clock.currentTimeMillis, (lastModified) =>
          Effect.map(store.head(key), (head) => ({ ...head, lastModified }))
        )
      : store.head(key)
})

const seeded = <A, E, R>(seed: number, effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(seed))

/** Runs all schedules of a scenario within the bounds. */
export const explore = Effect.fnUntraced(function* (
  scenario: Scenario,
  bounds: Bounds = {}
): Effect.fn.Return<Outcome, unknown, Scope.Scope> {
  yield* compressingAtOnce
  const { control, store } = yield* MemoryStore.make({ profile: bounds.profile ?? "aws" })
  // How it wants conditions to be written.
  yield* CapabilityProbe.probe(store)
  const own = yield* processOn(store, quiet, { tick })
  // Its indexes are there.
  yield* own.flow.sweep
  const hour = 3_600_000
  /** Those of an hour later, and of one more: to them every trigger is due. */
  const later = yield* Effect.forEach([hour, 2 * hour], (ahead) =>
    Effect.map(FaultyStore.withClockSkew(ahead)(processOn(agreeing(store), quiet, { tick })), ({ flow }) =>
      FaultyStore.withClockSkew(ahead)(flow.sweep)
    )
  )
  const setup = newLog()
  yield* seeded(
    50,
    Effect.forEach(scenario.before, (program) => program(own, setup))
  )
  if (scenario.seconds !== undefined) yield* TestClock.adjust(`${scenario.seconds} seconds`)
  const schedule = Interleavings.make(store)
  let log = newLog()
  let runs = 0
  let repeated: Array<PutRequest> = []
  const programs: Record<string, Effect.Effect<unknown, unknown>> = {}
  const names = Object.keys(scenario.programs)
  for (const [index, name] of names.entries()) {
    const client = schedule.client(name)
    const remembering: Store = {
      ...client,
      put: (request) => {
        if (request.ifMatch !== undefined || request.ifNoneMatch !== undefined) repeated.push(request)
        return client.put(request)
      }
    }
    const process = yield* processOn(bounds.break?.(remembering, () => runs) ?? remembering, quiet, { tick })
    // As one that has been running for a while: it knows the time.
    yield* process.flow.initial({ sum: 0 })
    programs[name] = Effect.provideService(
      seeded(
        index + 1,
        Effect.suspend(() => scenario.programs[name]!(process, log))
      ),
      References.MinimumLogLevel,
      "None"
    )
  }
  const begin = yield* control.snapshot
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  let done: Interleavings.Report = { schedules: 0, requests: 0, complete: false }
  const report = yield* schedule
    .explore({
      before: Effect.andThen(
        control.restore(begin),
        Effect.sync(() => {
          log = newLog()
          runs += 1
          for (const [key, version] of setup.acknowledged) log.acknowledged.set(key, version)
          repeated = []
        })
      ),
      programs,
      preemptions: bounds.preemptions ?? scenario.preemptions,
      crashes: bounds.crashes ?? 0,
      ...(bounds.limit === undefined ? {} : { limit: bounds.limit }),
      check: Effect.fnUntraced(function* ({ crashed, exits, requests, trace }) {
        done = { schedules: done.schedules + 1, requests: done.requests + requests, complete: false }
        const problems = [...log.problems, ...setup.problems]
        for (const name of names) {
          const exit = exits[name]!
          if (Exit.isFailure(exit) && !crashed.includes(name)) problems.push(`${name} failed: ${String(exit.cause)}`)
        }
        // What was sent once may arrive twice, however late.
        if (bounds.isRepeated === true) yield* Effect.forEach(repeated, (request) => Effect.ignore(store.put(request)))
        if (crashed.length > 0) yield* start(own, log)
        const past = (yield* Stream.runCollect(own.flow.history(id))).toReversed()
        problems.push(...problemsOfHistory(id, past))
        const { context, version } = yield* own.flow.get(id)
        if (past.length !== version + 1) problems.push(`it is at ${version}, after ${past.length} transitions`)
        if (context.sum !== sumOf(past)) problems.push(`it has ${context.sum}, and not ${sumOf(past)}`)
        for (const [key, version] of log.acknowledged) {
          if (past[version]?.key !== key) problems.push(`${key} was acknowledged, and is not there`)
        }
        for (const key of log.refused) {
          if (past.some((one) => one.key === key)) problems.push(`${key} was refused, and is there`)
        }
        const course = past.flatMap(({ event }) => event ?? []).join(" ")
        if (crashed.length === 0 && scenario.ends !== undefined && !scenario.ends.includes(course)) {
          problems.push(`it went ${course}`)
        }
        outcomes.add(`${course}|${crashed.join(" ")}`)
        // All that goes by time comes to its end.
        yield* Effect.provideService(Effect.all(later), References.MinimumLogLevel, "None")
        const { state } = yield* own.flow.get(id)
        if (state !== "resting") problems.push(`a trigger was lost: it is ${state}`)
        if (problems.length > 0) violations.push([...new Set(problems), ...trace].join("\n  "))
        if (violations.length > 0) return yield* Effect.fail(new Enough())
      })
    })
    .pipe(
      Effect.catchIf(
        (error) => error instanceof Enough,
        () => Effect.sync(() => done)
      )
    )
  return { ...report, outcomes: outcomes.size, violations }
})

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

/** What a client sends instead; what a run has left undone is none of the next one's. */
type Break = (store: Store, run: () => number) => Store

/** Sends some objects when the document is there, and not before it. */
const late =
  (isLate: (key: string) => boolean): Break =>
  (store, run) => {
    let waiting: Array<readonly [run: number, request: PutRequest]> = []
    return {
      ...store,
      put: (request) => {
        if (isLate(request.key)) {
          waiting.push([run(), request])
          return Effect.succeed({ etag: "later" })
        }
        if (!isLift(request.key)) return store.put(request)
        const left = waiting.filter(([of]) => of === run())
        waiting = []
        return Effect.tap(store.put(request), () => Effect.forEach(left, ([, one]) => Effect.ignore(store.put(one))))
      }
    }
  }

export const breaks: Readonly<Record<string, Break>> = {
  /** Transitions are written without a condition. */
  "blind-events": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      store.put(isLift(request.key) ? request : { ...request, ifMatch, ifNoneMatch })
  }),
  /** An entity does not remember what was sent. */
  "forgotten-events": (store) => ({
    ...store,
    put: (request) =>
      isLift(request.key) && request.metadata !== undefined
        ? store.put({
            ...request,
            metadata: Object.fromEntries(
              Object.entries(request.metadata).map(([name, text]) => [
                name,
                text.replaceAll('"key":"same"', '"key":"gone"')
              ])
            )
          })
        : store.put(request)
  }),
  /** When a trigger is due is put into the index when the document is there, and not before it. */
  "late-triggers": late((key) => key.includes("/companion=")),
  /** Older transitions are put away when they are left out of the document, and not before it. */
  "late-pasts": late(isPast)
}
