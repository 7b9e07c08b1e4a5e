/**
 * A history of several clients that do random things to one database on a store that fails in every way, and what has to
 * hold of it afterwards. Everything follows from the seed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Linearizability from "effect-s3db/testing/Linearizability"
import { atOnce, countsOf, drawing, fromSeed } from "./course.ts"
import type { Break } from "./breaks.ts"
import { chance } from "./draw.ts"
import { indexing, lookAtBuilt } from "./indexer.ts"
import {
  accountIds,
  clientOn,
  type Event,
  ok,
  type Op,
  outcomeOf,
  type Result,
  ring,
  setUpVersions,
  stepOf,
  verify
} from "./workload.ts"

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly clients?: number | undefined
  /** Replaces the store of each client, to show that a broken build is caught. */
  readonly break?: Break | undefined
}

export interface Report {
  readonly seed: number
  readonly operations: number
  readonly requests: number
  readonly faults: Readonly<Record<string, number>>
  readonly crashes: number
  readonly unknown: number
  readonly violations: ReadonlyArray<string>
  readonly trace: ReadonlyArray<string>
}

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.05,
  duplicate: 0.02,
  late: { probability: 0.02, maxMillis: 8000 }
}

/**
 * A client that, once in a while, stands still before a request for longer than every grace. What it cannot be exact about
 * is left out: a write that stands still between its look at the clock and the store, of what owns something beside itself.
 */
const standingStill = (store: ObjectStore["Service"]): ObjectStore["Service"] => {
  const still = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.flatMap(chance(0.01), (stands) => (stands ? Effect.delay(effect, "20 minutes") : effect))
  const isSpared = (key: string) => /^resource=(items|people)\/data\//.test(key)
  // A create that was sent twice by something in between is looked for: when the document has been deleted by then, nothing
  // tells that it had landed.
  const isLook = (key: string) => key.includes("/data/id=")
  return {
    ...store,
    put: (request) => (isSpared(request.key) ? store.put(request) : still(store.put(request))),
    get: (key, get) => (isLook(key) ? store.get(key, get) : still(store.get(key, get))),
    delete: (key, deletion) => still(store.delete(key, deletion))
  }
}

type Recorder = Linearizability.Recorder<Op, Result>

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(ring), fromSeed(options.seed))

const simulate = Effect.fnUntraced(function* (options: Options) {
  const { seed, ops } = options
  const clientCount = options.clients ?? 3
  // A clock that is behind another is not before the beginning of time.
  yield* TestClock.adjust("1 hour")
  const { store: base } = yield* MemoryStore.make()
  yield* Effect.orDie(setUpVersions(base))
  const setup = yield* clientOn(base, "setup").pipe(Effect.orDie)
  for (const id of accountIds) yield* Effect.orDie(setup.accounts.insert({ id, balance: 100 }))
  // What is loaded, or derived, only once is so before time begins to count.
  yield* Effect.orDie(setup.items.insert({ id: "warm", value: "", group: "g0", secret: Redacted.make("x") }))
  yield* Effect.orDie(setup.items.delete("warm"))

  const trace = FaultyStore.makeTrace()
  const recorders = new Map<string, Recorder>()
  const recorderOf = (id: string): Recorder => {
    const known = recorders.get(id)
    if (known !== undefined) return known
    const made = Linearizability.makeRecorder<Linearizability.DocumentOp, Linearizability.DocumentResult>()
    recorders.set(id, made)
    return made
  }
  const violations: Array<string> = []
  let uncounted = 0
  const counting = Logger.make(({ message }) => {
    if (String(message).includes("may be wrong now: recount")) uncounted += 1
  })
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0 }
  let written = 0

  const connect = Effect.fnUntraced(function* (name: string) {
    const standsStill = yield* chance(0.3)
    const crashAt = !standsStill && (yield* chance(0.5)) ? yield* Random.nextIntBetween(20, 400) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    const still = standsStill ? standingStill(faulty.store) : faulty.store
    // A deploy has both for a while.
    const version = (yield* chance(0.5)) ? "older" : "newer"
    const store = RetryingStore.make(options.break?.(still, version) ?? still, {
      retries: 6,
      assumeLateArrivals: true
    })
    return yield* clientOn(store, name, version)
  })

  const step = stepOf({
    recorded: (client, id, op, effect, onSuccess = () => ok) =>
      recorderOf(id).record({
        process: client.name,
        op,
        effect,
        onSuccess,
        onFailure: (error) => {
          const outcome = outcomeOf(error, op())
          if (outcome._tag === "Unknown") seen.unknown += 1
          return outcome
        }
      }),
    announce: () => {},
    violation: (text) => violations.push(text),
    newValue: (client) => `${client.name}-${(written += 1)}`
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let life = 0; made < ops / clientCount; life++) {
      const name = `c${index}.${life}`
      const done = yield* Effect.gen(function* () {
        const client = yield* connect(name)
        while (made < ops / clientCount) {
          made += 1
          seen.operations += 1
          yield* step(client).pipe(Effect.catch(() => Effect.void))
          if (yield* chance(0.1)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 2000))
        }
      }).pipe(
        FaultyStore.withClockSkew((index - 1) * 7000),
        Effect.provide(Logger.layer([counting])),
        Effect.catch(() => Effect.sleep(1000)),
        FaultyStore.untilCrash
      )
      if (Option.isNone(done)) seen.crashes += 1
      made += 1
    }
  })

  /** Mends what is old enough, again and again, while the others are at work, or stand still. */
  const sweeping = Effect.gen(function* () {
    const { database, items, kept } = yield* clientOn(base, "sweeper")
    for (;;) {
      yield* Effect.sleep("5 minutes")
      yield* Stream.runDrain(database.repairTransactions({ dryRun: false }))
      for (const repository of [items, kept]) {
        yield* Stream.runDrain((yield* repository.admin).repair({ dryRun: false }))
      }
    }
  })
  const sweeper = yield* Effect.forkChild(
    Effect.provideService(Effect.orDie(sweeping), Id.Generator, Id.seeded(seed * 100 + 98))
  )
  const laterStore = Effect.fnUntraced(function* (life: number) {
    const crashAt = (yield* chance(0.6)) ? yield* Random.nextIntBetween(3, 80) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, { seed, client: `x.${life}`, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    return RetryingStore.make(faulty.store, { retries: 6, assumeLateArrivals: true })
  })
  // What a broken build does wrong is seen without it.
  const indexer =
    options.break === undefined
      ? yield* Effect.forkChild(drawing(seed, 97, `${seed}-indexer`)(indexing(laterStore)))
      : undefined
  const fiber = yield* Effect.forkChild(atOnce(clientCount, seed, `${seed}-`, work))
  const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const settling = yield* Effect.forkChild(effect)
      // A write takes a few steps, and must not take minutes.
      while (settling.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      return yield* Fiber.join(settling)
    })

  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("10 minutes")
  const end = yield* Fiber.await(fiber)
  const swept = sweeper.pollUnsafe()
  if (swept !== undefined) violations.push(`the sweeper failed: ${JSON.stringify(swept)}`)
  // What must not be left half done goes on to its end, for which time has to pass.
  yield* settle(Fiber.interrupt(sweeper))
  if (indexer !== undefined) yield* settle(Fiber.interrupt(indexer))
  if (Exit.isFailure(end)) violations.push(`the run itself failed: ${Cause.pretty(end.cause)}`)
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled

  if (indexer !== undefined) yield* settle(lookAtBuilt(base, (text) => violations.push(text)))

  const histories = new Map<string, ReadonlyArray<Event>>()
  for (const [id, recorder] of recorders) histories.set(id, yield* recorder.history)
  yield* verify(base, {
    histories,
    slack: seen.crashes + seen.unknown + uncounted,
    violations,
    wait: TestClock.adjust("2 hours"),
    settle
  })
  const report: Report = { seed, ...(yield* countsOf(controls)), violations, trace: trace.lines(), ...seen }
  return report
})
