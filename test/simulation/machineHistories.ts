/**
 * Histories of processes that share lifts (test/plugins/machines.ts), on a store that fails in every way: they start them, send events, wait,
 * sweep, and call them by documents that others insert; their actions fail now and then; they crash, and their clocks are set forward and back by an
 * hour; and what was heard is given again from the beginning. Everything follows from the seed.
 *
 * What has to hold: a version of an entity has one meaning, from the moment on that it is there; its history is a way that the machine has, without
 * a gap; what was acknowledged is in it, what was refused is not, and nothing is in it twice; an action of each transition has run, and none before
 * its transition was committed, or for one that never was; triggers come when their state has lasted, and in the end none is overdue.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Journaler from "effect-s3db/plugins/Journaler"
import type * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { drive } from "../fixture.ts"
import {
  actionsOf,
  Jammed,
  mostTicks,
  problemsOfHistory,
  processOn,
  type Process,
  seconds,
  sumOf,
  type Told,
  World
} from "../plugins/machines.ts"
import { turn } from "../waiting.ts"
import { atOnce, compressingAtOnce, countsOf, faults, fromSeed } from "./course.ts"
import { chance, pick } from "./draw.ts"
import { late } from "./breaks.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

/** What a build does otherwise than it should. */
export interface MachineBreak {
  readonly store?: ((store: Store) => Store) | undefined
  /** Actions run when guards are asked. */
  readonly isHasty?: boolean
}

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: MachineBreak | undefined
}

const processes = 3
const ids = ["a", "b", "c"]
const second = 1000
const isLift = (key: string): boolean => key.startsWith("resource=lifts/data/id=")

/** How far the clocks of two processes are apart at most, as `StoreClock` has it: see the design page. */
const early = 4 * second

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

/** A transition that the store has. */
interface Committed {
  readonly text: string
  /** The true time. */
  readonly at: number
  readonly from: string | undefined
  readonly to: string
  readonly event: string | undefined
}

/** An event that was sent. */
interface Sent {
  readonly id: string
  readonly began: number
  state: "acknowledged" | "refused" | "unknown"
  version: number | undefined
}

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(Logger.layer([])), fromSeed(options.seed))

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* compressingAtOnce
  yield* TestClock.setTime(Date.parse("2026-11-26T00:00:00Z"))
  const world = yield* Clock.Clock
  const now = () => world.currentTimeMillisUnsafe()
  const { store: memory } = yield* MemoryStore.make()
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, crashes: 0, unknown: 0 }
  const problems = new Set<string>()
  const committed = new Map<string, Committed>()
  const sent = new Map<string, Sent>()
  const done = new Map<string, number>()
  const calls = new Map<string, { readonly lift: string; isThere: boolean }>()
  let isCalm = false

  const quiet: World["Service"] = { act: () => Effect.void, guard: () => Effect.void }
  const observer = yield* processOn(memory, quiet)
  const observe = Effect.fnUntraced(function* (id: string) {
    const { machine } = yield* observer.lifts.get(id)
    for (const one of machine.recent) {
      const key = `${id}/${one.v}`
      const text = JSON.stringify(one)
      const known = committed.get(key)
      if (known === undefined) {
        committed.set(key, { text, at: now(), from: one.from, to: one.to, event: one.event })
        if (one.v > 0 && !committed.has(`${id}/${one.v - 1}`)) problems.add(`${key} came without the one before it`)
      } else if (known.text !== text) problems.add(`${key} has become another`)
    }
    if (machine.recent.at(-1)?.v !== machine.version)
      problems.add(`${id} is at ${machine.version}, and does not say why`)
  })
  const idOf = (key: string) => decodeURIComponent(key.split("/id=").at(-1)!)
  const onTrueTime = Effect.provideService(Clock.Clock, world)
  /** What everybody writes to, by the true time; each version of a document is looked at when it is there. */
  const base: Store = {
    ...memory,
    put: (request) =>
      onTrueTime(
        isLift(request.key)
          ? Effect.uninterruptible(Effect.tap(memory.put(request), () => Effect.orDie(observe(idOf(request.key)))))
          : memory.put(request)
      ),
    copy: (request) => onTrueTime(memory.copy(request)),
    delete: (key, options) => onTrueTime(memory.delete(key, options))
  }

  /** Where the actions of a process are noted, unless it is dead. */
  const worldOf = (life: { died: number }): World["Service"] => {
    const note = (told: Told) => {
      const { action, event, from, id, to, version } = told
      const which = `${action} of ${id}/${version}`
      const of = committed.get(`${id}/${version}`)
      if (of === undefined) problems.add(`${which} has run before it was committed`)
      else if (of.from !== from || of.to !== to || of.event !== event) problems.add(`${which} is of another transition`)
      else if (!actionsOf(from, to).includes(action)) problems.add(`${which} is none of its`)
      done.set(which, (done.get(which) ?? 0) + 1)
    }
    return {
      act: Effect.fnUntraced(function* (told) {
        if (now() >= life.died) return yield* Effect.never
        if (!isCalm) {
          if (yield* chance(0.3)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 5 * second))
          if (told.attempt < 4 && (yield* chance(0.2))) return yield* new Jammed()
        }
        note(told)
      }),
      guard: (told) => Effect.sync(() => (broken?.isHasty === true ? note(told) : undefined))
    }
  }

  const open = (store: Store, life: { died: number }) =>
    Effect.gen(function* () {
      const process = yield* processOn(store, worldOf(life), {
        hears: true,
        actions: true,
        triggers: true,
        interval: "5 seconds",
        lease: "10 seconds",
        consuming: { firstPause: "1 second", longestPause: "10 seconds", lease: "10 seconds" }
      })
      yield* Effect.provideService(
        Journaler.make({ firstPause: "1 second", longestPause: "10 seconds", lease: "10 seconds" }),
        Database,
        process.database
      )
      return process
    })

  /** Sends an event, and notes down what is known of it. */
  const sending = Effect.fnUntraced(function* ({ flow }: Process, id: string, number: number) {
    const key = `sent ${number}`
    const by = yield* Random.nextIntBetween(1, 9)
    const event = yield* pick([
      { _tag: "Go", by } as const,
      { _tag: "Go", by } as const,
      "Step",
      "Step",
      "Stop"
    ] as const)
    const entry: Sent = { id, began: now(), state: "unknown", version: undefined }
    sent.set(key, entry)
    const outcome = yield* Effect.result(flow.send(id, event, { key }))
    if (Result.isSuccess(outcome)) {
      entry.state = "acknowledged"
      entry.version = outcome.success.version
      return
    }
    const { failure } = outcome
    if (failure._tag !== "DbError" || failure.outcome === "none") entry.state = "refused"
    else seen.unknown += 1
  })

  const work = Effect.fnUntraced(function* (index: number) {
    const { clock, set } = settable(world)
    let made = 0
    for (let number = 0; made < ops / processes; number++) {
      const life = { died: Infinity }
      const crashAt = (yield* chance(0.5)) ? yield* Random.nextIntBetween(20, 250) : undefined
      const crashWhen = (yield* chance(0.5)) ? "before" : "after"
      const client = `m${index}.${number}`
      const faulty = FaultyStore.make(base, { seed, client, faults, crashAt, crashWhen, trace, crashAs: "silence" })
      controls.push(faulty.control)
      // Some give up soon, so that it is for others to find out what has become of a request.
      const retries = yield* pick([0, 1, 4])
      const store = RetryingStore.make(broken?.store?.(faulty.store) ?? faulty.store, {
        retries,
        assumeLateArrivals: true
      })
      const scope = yield* Scope.make()
      const living = Effect.gen(function* () {
        const process = yield* open(store, life).pipe(
          Effect.retry({ times: 20 }),
          Effect.provideService(Scope.Scope, scope)
        )
        while (made < ops / processes) {
          made += 1
          seen.operations += 1
          const drawn = yield* Random.next
          const id = yield* pick(ids)
          if (drawn < 0.5) yield* sending(process, id, index * 1_000_000 + number * 1000 + made)
          else if (drawn < 0.56) yield* Effect.ignore(process.flow.start(id, { sum: 0 }))
          else if (drawn < 0.76) {
            const call = `${client}.${made}`
            const entry = { lift: id, isThere: false }
            calls.set(call, entry)
            yield* Effect.ignore(
              Effect.tap(process.calls.insert({ id: call, lift: id }), () =>
                Effect.sync(() => void (entry.isThere = true))
              )
            )
          } else if (drawn < 0.79) yield* Effect.ignore(process.flow.sweep)
          else if (drawn < 0.82) yield* Effect.ignore(process.callAgain)
          else if (drawn < 0.88) set(yield* pick([-3_600_000, 0, 3_600_000]))
          else if (drawn < 0.98) yield* Effect.sleep(yield* Random.nextIntBetween(1, 30 * second))
          else break
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

  for (const id of ids) yield* observer.flow.start(id, { sum: 0 })
  for (const id of ids) yield* observe(id)
  const fiber = yield* Effect.forkChild(atOnce(processes, seed, `${seed}-machine-`, work))
  while (fiber.pollUnsafe() === undefined) {
    yield* turn
    yield* TestClock.adjust("2 seconds")
  }
  const finished = yield* Fiber.await(fiber)
  if (Exit.isFailure(finished)) problems.add(`the run itself failed: ${Cause.pretty(finished.cause)}`)
  yield* TestClock.adjust("1 minute")
  for (const control of controls) yield* control.settled
  isCalm = true

  /** A process that nothing happens to, for as long as it takes until all that there is comes to its end. */
  const recovering = Effect.scoped(
    Effect.gen(function* () {
      const { database, flow } = yield* open(base, { died: Infinity })
      // All that goes by time is over after this.
      for (let i = 0; i < 3; i++) {
        yield* Effect.sleep((seconds.idle + seconds.busy) * second)
        yield* flow.sweep
      }
      yield* database.journal.catchUp(database.journaled)
      yield* flow.caughtUp
      const letters = yield* Stream.runCollect(flow.failed)
      for (const { message, position } of letters) problems.add(`the record at ${position} was given up: ${message}`)
    })
  )
  const recovered = yield* Effect.exit(drive(yield* Effect.forkChild(recovering)))
  if (Exit.isFailure(recovered)) problems.add(`nobody can go on: ${Cause.pretty(recovered.cause)}`)

  const last = Effect.gen(function* () {
    for (const id of ids) {
      const past = (yield* Stream.runCollect(observer.flow.history(id))).toReversed()
      const entity = yield* observer.flow.get(id)
      for (const problem of problemsOfHistory(id, past)) problems.add(problem)
      if (past.length !== entity.version + 1)
        problems.add(`${id} is at ${entity.version}, after ${past.length} transitions`)
      if (entity.state !== "resting") problems.add(`a trigger of ${id} was lost: it is ${entity.state}`)
      if (entity.context.sum !== sumOf(past)) problems.add(`${id} has ${entity.context.sum}, and not ${sumOf(past)}`)
      for (const [key, { state, version }] of sent) {
        if (sent.get(key)!.id !== id) continue
        const at = past.filter((one) => one.key === key)
        if (at.length > 0 && state === "refused") problems.add(`${key} was refused, and is in the history of ${id}`)
        if (state === "acknowledged" && at[0]?.version !== version) problems.add(`${key} was lost`)
        if (at[0] !== undefined && at[0].at < sent.get(key)!.began - early)
          problems.add(`${key} is of a time before it was sent`)
      }
      let rings = 0
      for (const [i, one] of past.entries()) {
        const known = committed.get(`${id}/${one.version}`)
        if (known === undefined) {
          problems.add(`${id}/${one.version} was never committed`)
          continue
        }
        if (one.at > known.at + early) problems.add(`${id}/${one.version} says a time to come`)
        if (one.event === "Ring") rings += 1
        for (const problem of tooEarly(past.slice(0, i + 1), known.at)) problems.add(`${id}/${one.version}: ${problem}`)
        for (const action of one.actions) {
          const which = `${action} of ${id}/${one.version}`
          if (!done.has(which)) problems.add(`${which} has never run`)
        }
      }
      const asked = [...calls.values()].filter(({ lift }) => lift === id).length
      if (rings > 2 * asked) problems.add(`${id} was rung ${rings} times, by ${asked}`)
    }
  })
  const read = yield* Effect.exit(drive(yield* Effect.forkChild(last)))
  if (Exit.isFailure(read)) problems.add(`nobody can read: ${Cause.pretty(read.cause)}`)
  const report: Report = {
    seed,
    ...(yield* countsOf(controls)),
    violations: [...problems],
    trace: trace.lines(),
    ...seen
  }
  return report
})

/** Whether the last of some transitions is by a trigger whose time had not come, or which comes once more than it may. `at`: the true time. */
const tooEarly = (past: ReadonlyArray<StateMachine.Past>, at: number): ReadonlyArray<string> => {
  const { event, key, version } = past.at(-1)!
  const before = past.slice(0, -1)
  /** Since when a state has lasted, with those that are inside it. */
  const since = (state: string) => {
    const is = (one: string) => one === state || one.startsWith(`${state}.`)
    const out = before.findLastIndex(({ to }) => !is(to))
    return before.slice(out + 1)
  }
  const found: Array<string> = []
  const expect = (name: string, state: string, millis: number) => {
    const entered = since(state)[0]
    if (key !== `${name}@${version - 1}`) found.push(`${event} has the key ${key}`)
    if (entered === undefined || at < entered.at + millis - early) found.push(`${event} came too early`)
  }
  if (event === "Rest") expect("idle/0", "idle", seconds.idle * second)
  if (event === "Late") expect("busy/0", "busy", seconds.busy * second)
  if (event === "Tick") {
    const ticks = since("busy.first").filter((one) => one.event === "Tick").length
    expect("busy.first/0", "busy.first", (ticks + 1) * seconds.tick * second)
    if (ticks >= mostTicks) found.push("one tick too many")
  }
  return found
}

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

/** Changes the fields of a lift that a client writes. */
const writing =
  (change: (text: string) => string) =>
  (store: Store): Store => ({
    ...store,
    put: (request) =>
      isLift(request.key) && request.metadata !== undefined
        ? store.put({
            ...request,
            metadata: Object.fromEntries(Object.entries(request.metadata).map(([name, text]) => [name, change(text)]))
          })
        : store.put(request)
  })

export const machineBreaks: Readonly<Record<string, MachineBreak>> = {
  /** Transitions are written without a condition. */
  "blind-transitions": {
    store: (store) => ({
      ...store,
      put: ({ ifMatch, ...request }) => store.put(isLift(request.key) ? request : { ...request, ifMatch })
    })
  },
  /** Actions run when guards are asked. */
  "hasty-actions": { isHasty: true },
  /** What the journal is told is sent when the document is there, and not before it. */
  "late-entries": { store: late((key) => key.startsWith("journal/pending/")) },
  /** When a trigger is due is put into the index when the document is there, and not before it. */
  "late-timers": { store: late((key) => key.includes("/companion=")) },
  /** Time is that of the machine. */
  "own-clocks": {
    store: (store) => ({
      ...store,
      head: (key) =>
        key.startsWith("s3db-clock/")
          ? Effect.flatMap(Clock.currentTimeMillis, (lastModified) =>
              Effect.map(store.head(key), (head) => ({ ...head, lastModified }))
            )
          : store.head(key)
    })
  },
  /** An entity does not remember how often a trigger has come. */
  "forgotten-triggers": { store: writing((text) => text.replaceAll(/,"n":\d+/g, "")) },
  /** An entity does not remember whom it has heard of. */
  "forgotten-calls": { store: writing((text) => (text.startsWith('{"calls.rings"') ? "{}" : text)) },
  /** Older transitions are not put away. */
  "lost-past": {
    store: (store) => ({
      ...store,
      put: (request) =>
        request.key.includes("/plugin=state-machine/") && request.key.includes("/manifest")
          ? Effect.succeed({ etag: "gone" })
          : store.put(request)
    })
  }
}
