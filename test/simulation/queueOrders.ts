/**
 * Few operations of few processes on one queue, in every order of their requests, within bounds: what is offered is there, what
 * is acknowledged is so once, and what is left is handled by who comes afterwards.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import type * as StoreClock from "effect-s3db/kernel/StoreClock"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore, PutRequest } from "effect-s3db/storage/ObjectStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Engine from "../../src/plugins/s3queue/engine.ts"
import * as State from "../../src/plugins/s3queue/state.ts"
import { turn } from "../waiting.ts"

type Store = ObjectStore["Service"]

export const prefix = "plugin=queue/queue=q"

/** The clock of the test. */
const clock = { now: Clock.currentTimeMillis, measure: Effect.void }

/** What works on the queue, as another process has it. */
export const engineOn = (
  store: Store,
  options: { readonly clock?: StoreClock.StoreClock } = {}
): Effect.Effect<Engine.Engine, never, Scope.Scope> =>
  Engine.make({
    store,
    prefix,
    clock: options.clock ?? clock,
    visibility: 30_000,
    pollInterval: 1000,
    maxPollInterval: 30_000,
    // What is given up is not handled.
    maxAttempts: () => 1000,
    memory: 86_400_000,
    order: "fifo",
    onTaken: () => Effect.void
  })

export const message = (
  id: string,
  options: { readonly group?: string; readonly payload?: string } = {}
): Engine.Offer => ({
  delay: 0,
  keys: [Engine.keyOfId(id)],
  message: {
    i: id,
    c: true,
    x: JSON.stringify(options.payload ?? id),
    ...(options.group === undefined ? {} : { g: options.group })
  }
})

/** What the processes of a run have seen. */
export interface Log {
  readonly offered: Set<string>
  readonly acknowledged: Array<string>
  /** Acknowledgements that were sent, and may have landed. */
  readonly unsure: Array<string>
  readonly handled: Set<string>
  /** All claims of each message, in the order in which processes got to know of them, and the one that was acknowledged. */
  readonly claims: Map<string, ReadonlyArray<Engine.Claim>>
  readonly ended: Map<string, Engine.Claim>
  readonly problems: Array<string>
  /** The queue was removed, or may have been: totals begin anew. */
  isRemoved: boolean
}

export const newLog = (): Log => ({
  offered: new Set(),
  acknowledged: [],
  unsure: [],
  handled: new Set(),
  claims: new Map(),
  ended: new Map(),
  problems: [],
  isRemoved: false
})

export const noteClaim = (log: Log, claim: Engine.Claim): void => {
  const { i: id } = claim.message
  log.handled.add(id)
  log.claims.set(id, [...(log.claims.get(id) ?? []), claim])
}

/** Claims what there is, and says that it is done. */
export const work = Effect.fnUntraced(function* (engine: Engine.Engine, log: Log, max = 1, takes: Duration.Input = 0) {
  const claims = yield* engine.claimNow(max, Effect.succeed)
  yield* Effect.forEach(
    claims,
    Effect.fnUntraced(function* (claim) {
      noteClaim(log, claim)
      if (claim.payload === "null") log.problems.push(`${claim.message.i} has lost its payload`)
      if (takes !== 0) yield* Effect.sleep(takes)
      log.unsure.push(claim.message.i)
      if (yield* engine.settle(claim, { _tag: "done" })) {
        log.acknowledged.push(claim.message.i)
        log.ended.set(claim.message.i, claim)
      }
      log.unsure.splice(log.unsure.indexOf(claim.message.i), 1)
    }),
    { concurrency: "unbounded" }
  )
  return claims.length
})

export const offer = Effect.fnUntraced(function* (
  engine: Engine.Engine,
  log: Log,
  offers: ReadonlyArray<Engine.Offer>
) {
  yield* engine.offer(offers)
  for (const one of offers) log.offered.add(one.message.i)
})

/** What does not hold of a queue and what was seen of it. */
export const violationsOf = (state: State.State, log: Log): ReadonlyArray<string> => {
  const problems = [...log.problems]
  const { totals } = state
  const there = State.countOn(state.ready) + State.countOn(state.dead) + state.flight.length
  if (totals.offered !== there + totals.completed) {
    problems.push(`${totals.offered} were offered, ${there} are there and ${totals.completed} are done`)
  }
  if (new Set(log.acknowledged).size !== log.acknowledged.length) {
    problems.push(`acknowledged twice: ${log.acknowledged.join(" ")}`)
  }
  if (!log.isRemoved && log.acknowledged.length > totals.completed) {
    problems.push(`${log.acknowledged.length} were acknowledged, ${totals.completed} are done`)
  }
  if (totals.completed > log.acknowledged.length + log.unsure.length) {
    problems.push(`${totals.completed} are done, ${log.acknowledged.length} were acknowledged`)
  }
  for (const [id, claim] of log.ended) {
    const isLater = ({ message: { a = 0 }, token }: Engine.Claim) => a > (claim.message.a ?? 0) || token > claim.token
    if (log.claims.get(id)?.some(isLater) === true) problems.push(`${id} was acknowledged by who had lost it`)
  }
  const left = new Set([...state.ready.in, ...state.flight.map(({ m }) => m)].map(({ i }) => i))
  for (const id of log.acknowledged) if (left.has(id)) problems.push(`${id} is there and was acknowledged`)
  return problems
}

/** Handles what is left, as a process does that comes later. */
export const recover = Effect.fnUntraced(function* (store: Store, log: Log) {
  const fiber = yield* Effect.forkChild(
    Effect.scoped(
      Effect.gen(function* () {
        const engine = yield* engineOn(store)
        for (let look = 0; look < 3; look++) {
          while ((yield* work(engine, log, 10)) > 0);
          yield* Effect.sleep("31 seconds")
        }
      })
    )
  )
  while (fiber.pollUnsafe() === undefined) {
    yield* turn
    yield* TestClock.adjust("31 seconds")
  }
  yield* Fiber.join(fiber)
  for (const id of log.offered) {
    if (!log.handled.has(id)) log.problems.push(`${id} was never handled`)
  }
})

// -----------------------------------------------------------------------------
// Scenarios
// -----------------------------------------------------------------------------

type Program = (engine: Engine.Engine, log: Log) => Effect.Effect<unknown, StoreError>

export interface Scenario {
  /** What is in the queue at the beginning. */
  readonly offered: ReadonlyArray<Engine.Offer>
  readonly programs: Readonly<Record<string, Program>>
  readonly preemptions: number
  readonly pause?: Duration.Input
}

const big = "x".repeat(17_000)
const later: Program = (engine, log) => work(engine, log)
const twice: Program = (engine, log) => Effect.andThen(work(engine, log), work(engine, log))

/** What is claimed by who has just claimed it, and was not silent, is its own. */
const own: Program = Effect.fnUntraced(function* (engine, log) {
  for (const claim of yield* engine.claimNow(2, Effect.succeed)) {
    const { i: id } = claim.message
    noteClaim(log, claim)
    // Who has lost a race tries again after a moment.
    yield* Effect.sleep("1 second")
    log.unsure.push(id)
    const isDone = yield* engine.settle(claim, { _tag: "done" })
    log.unsure.splice(log.unsure.indexOf(id), 1)
    if (isDone) log.acknowledged.push(id)
    else log.problems.push(`${id} was ended by a claim of before the removal`)
  }
})

/** Removes the queue with message 1, whoever has claimed it. */
const remove: Program = Effect.fnUntraced(function* (engine, log) {
  log.isRemoved = true
  log.offered.delete("1")
  yield* engine.remove({ claimed: true })
})

/** Removes the queue with what is claimed of it, offers to it anew, and works. */
const beginAnew: Program = Effect.fnUntraced(function* (engine, log) {
  yield* remove(engine, log)
  yield* offer(engine, log, [message("2")])
  yield* own(engine, log)
})

export const scenarios: Readonly<Record<string, Scenario>> = {
  "queue: two workers and an offer": {
    offered: [message("1")],
    programs: { a: later, b: later, o: (engine, log) => offer(engine, log, [message("2")]) },
    preemptions: 2
  },
  "queue: one message offered by two, and a worker": {
    offered: [],
    programs: {
      o: (engine, log) => offer(engine, log, [message("1")]),
      p: (engine, log) => offer(engine, log, [message("1")]),
      a: later
    },
    preemptions: 2
  },
  "queue: a worker that stands still, and one that takes over": {
    offered: [message("1")],
    programs: {
      a: later,
      b: (engine, log) =>
        Effect.andThen(work(engine, log), Effect.andThen(Effect.sleep("31 seconds"), work(engine, log, 1, "1 second")))
    },
    preemptions: 3,
    pause: "31 seconds"
  },
  "queue: two workers and a group": {
    offered: [message("1", { group: "g" }), message("2", { group: "g" })],
    programs: { a: twice, b: twice },
    preemptions: 2
  },
  "queue: a failure, and another worker": {
    offered: [message("1")],
    programs: {
      a: Effect.fnUntraced(function* (engine, log) {
        for (const claim of yield* engine.claimNow(1, Effect.succeed)) {
          log.handled.add(claim.message.i)
          yield* engine.settle(claim, { _tag: "retry", due: 0, error: "no" })
        }
      }),
      b: twice
    },
    preemptions: 2
  },
  "queue: a part that is offered, worked on, and a collection": {
    offered: [message("1", { payload: big })],
    programs: {
      o: (engine, log) => offer(engine, log, [message("2", { payload: big })]),
      a: twice,
      c: (engine) => Effect.andThen(engine.collect, engine.collect)
    },
    preemptions: 1
  },
  "queue: a worker, and one that removes the queue and begins it anew": {
    offered: [message("1")],
    programs: { a: later, b: beginAnew },
    preemptions: 3
  },
  // Message 3 may go with the queue, or come after it.
  "queue: a part that is offered while another removes the queue": {
    offered: [message("1", { payload: big })],
    programs: { o: (engine) => engine.offer([message("3", { payload: big })]), b: remove },
    preemptions: 2
  }
}

export interface Bounds {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
  readonly profile?: MemoryStore.Profile | undefined
  readonly break?: ((store: Store) => Store) | undefined
}

class Enough {
  readonly _tag = "Enough"
}

/** Runs all schedules of a scenario within the bounds. */
export const explore = Effect.fnUntraced(function* (scenario: Scenario, bounds: Bounds = {}) {
  const { control, store } = yield* MemoryStore.make({ profile: bounds.profile ?? "aws" })
  // How it wants conditions to be written.
  yield* CapabilityProbe.probe(store)
  const setup = newLog()
  yield* Effect.scoped(
    Effect.gen(function* () {
      if (scenario.offered.length > 0) yield* (yield* engineOn(store)).offer(scenario.offered)
    })
  )
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  let log = setup
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  let done: Interleavings.Report = { schedules: 0, requests: 0, complete: false }
  const names = Object.keys(scenario.programs)
  const programs = Object.fromEntries(
    names.map((name, index) => [
      name,
      Effect.suspend(() => {
        const client = schedule.client(name)
        return Effect.scoped(
          Effect.flatMap(engineOn(bounds.break?.(client) ?? client), (engine) => scenario.programs[name]!(engine, log))
        ).pipe(Effect.provideService(Id.Generator, Id.seeded(index + 1)), Random.withSeed(index + 1))
      })
    ])
  )
  const report = yield* schedule
    .explore({
      before: Effect.andThen(
        control.restore(start),
        Effect.sync(() => {
          log = newLog()
          for (const one of scenario.offered) log.offered.add(one.message.i)
        })
      ),
      programs,
      preemptions: bounds.preemptions ?? scenario.preemptions,
      crashes: bounds.crashes ?? 0,
      ...(scenario.pause === undefined ? {} : { pause: scenario.pause }),
      ...(bounds.limit === undefined ? {} : { limit: bounds.limit }),
      check: Effect.fnUntraced(function* ({ crashed, exits, requests, trace }) {
        done = { schedules: done.schedules + 1, requests: done.requests + requests, complete: false }
        const read = Effect.provideService(
          Effect.scoped(Effect.flatMap(engineOn(store), ({ read }) => read)),
          Id.Generator,
          Id.seeded(77)
        )
        const problems: Array<string> = []
        for (const name of names) {
          const exit = exits[name]!
          if (Exit.isFailure(exit) && !crashed.includes(name)) problems.push(`${name} failed: ${String(exit.cause)}`)
        }
        problems.push(...violationsOf(yield* read, log))
        yield* Effect.provideService(recover(store, log), Id.Generator, Id.seeded(99))
        problems.push(...violationsOf(yield* read, log))
        outcomes.add(`${log.acknowledged.join(" ")}|${crashed.join(" ")}`)
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

const isQueue = (key: string): boolean => key === `${prefix}/queue`
const decoder = new TextDecoder()
const encoder = new TextEncoder()

interface Body {
  s: State.State
}

const altering =
  (change: (body: Body) => Body) =>
  (store: Store): Store => ({
    ...store,
    put: (request: PutRequest) =>
      isQueue(request.key) && request.body !== undefined
        ? store.put({
            ...request,
            body: encoder.encode(JSON.stringify(change(JSON.parse(decoder.decode(request.body)) as Body)))
          })
        : store.put(request)
  })

export const breaks: Readonly<Record<string, (store: Store) => Store>> = {
  /** The queue is written without a condition. */
  "blind-queues": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      isQueue(request.key) ? store.put(request) : store.put({ ...request, ifMatch, ifNoneMatch })
  }),
  /** Who finds the queue empty deletes its object, so that numbers and tokens begin anew. */
  "deleted-queues": (store) => ({
    ...store,
    put: (request) =>
      Effect.tap(store.put(request), () => {
        if (!isQueue(request.key) || request.body === undefined) return Effect.void
        const { flight, ready } = (JSON.parse(decoder.decode(request.body)) as Body).s
        return flight.length + State.countOn(ready) === 0 ? store.delete(request.key) : Effect.void
      })
  }),
  /** Claims have one token for all, so that a late worker cannot be told from the one after it. */
  "forgotten-tokens": altering(({ s, ...rest }) => ({
    ...rest,
    s: { ...s, k: 0, flight: s.flight.map((one) => ({ ...one, k: 1 })) }
  })),
  /** Ids are not remembered. */
  "forgotten-ids": altering(({ s, ...rest }) => ({ ...rest, s: { ...s, ids: { in: [], parts: [] } } })),
  /** A worker that ends a claim forgets who else has claimed something. */
  "forgotten-claims": altering(({ s, ...rest }) => ({ ...rest, s: { ...s, flight: s.flight.slice(-1) } }))
}

/** Builds that are wrong in how a queue is removed. */
export const breaksOfRemovals: Readonly<Record<string, (store: Store) => Store>> = {
  /** A queue that begins anew counts from the beginning. */
  "recounted-queues": altering(({ s, ...rest }) => ({
    ...rest,
    s: s.totals.offered === 0 ? { ...s, q: 0, k: 0, n: 0 } : s
  }))
}
