/** Processes that take from one bounded counter, and add to it, in every order of their requests: none takes what is not there, and nothing is lost. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Id from "effect-s3db/crypto/Id"
import * as Escrow from "effect-s3db/kernel/Escrow"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore, PutRequest } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"

type Store = ObjectStore["Service"]

export const key = "plugin=p/stock"

/** What the processes of a run have seen. */
interface Log {
  /** What there is at least, and at most, as far as they know. */
  least: number
  most: number
  refused: number
  readonly problems: Array<string>
}

type Program = (escrow: Escrow.Escrow, log: Log) => Effect.Effect<unknown, unknown>

export const take =
  (amount: number, isEnough = false): Program =>
  (escrow, log) =>
    Effect.gen(function* () {
      log.least -= amount
      const taken = yield* Effect.result(escrow.take(amount))
      if (Result.isSuccess(taken)) return void (log.most -= amount)
      log.least += amount
      log.refused += 1
      if (taken.failure._tag !== "Insufficient") log.problems.push(taken.failure.message)
      else if (isEnough) log.problems.push(`${amount} were refused: ${taken.failure.message}`)
    })

export const add =
  (amount: number): Program =>
  (escrow, log) =>
    Effect.gen(function* () {
      log.most += amount
      yield* escrow.add(amount)
      log.least += amount
    })

const both =
  (...programs: ReadonlyArray<Program>): Program =>
  (escrow, log) =>
    Effect.forEach(programs, (program) => program(escrow, log), { discard: true })

export interface Scenario {
  readonly initial: number
  readonly slots: number
  /** What was done before, each by a process of its own. */
  readonly before: ReadonlyArray<Program>
  readonly programs: Readonly<Record<string, Program>>
  readonly preemptions: number
  /** How many are refused, where that does not depend on the order. */
  readonly refused?: number
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  "escrow: two that take the last": {
    initial: 1,
    slots: 1,
    before: [],
    programs: { a: take(1), b: take(1) },
    preemptions: 3,
    refused: 1
  },
  "escrow: two that take what is spread": {
    initial: 0,
    slots: 3,
    before: [add(2), add(2), add(2), add(2)],
    programs: { a: take(5), b: take(5) },
    preemptions: 1,
    refused: 1
  },
  "escrow: two that find enough in different slots": {
    initial: 6,
    slots: 3,
    before: [],
    programs: { a: both(take(2, true), take(1, true)), b: take(3, true) },
    preemptions: 2,
    refused: 0
  },
  "escrow: one that takes, while what another has taken is on its way": {
    initial: 6,
    slots: 2,
    before: [add(1)],
    programs: { a: both(take(4), take(1)), b: take(2) },
    preemptions: 2
  },
  "escrow: one that takes, and one that gives back": {
    initial: 2,
    slots: 2,
    before: [],
    programs: { a: take(3), b: both(take(1), add(1)) },
    preemptions: 2
  }
}

export interface Bounds {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
  readonly break?: ((store: Store) => Store) | undefined
  /** Every PUT reaches the store once more, when the run is over. */
  readonly isRepeated?: boolean | undefined
}

class Enough {
  readonly _tag = "Enough"
}

/** Runs all schedules of a scenario within the bounds. */
export const explore = Effect.fnUntraced(function* (
  { before, initial, preemptions, programs: all, refused, slots }: Scenario,
  bounds: Bounds = {}
) {
  const { control, store } = yield* MemoryStore.make()
  const setup: Log = { least: initial, most: initial, refused: 0, problems: [] }
  const on = (client: Store): Effect.Effect<Escrow.Escrow, never, Scope.Scope> =>
    Escrow.make(client, { key, initial, slots })
  const seeded = (seed: number) => (effect: Effect.Effect<unknown, unknown, Scope.Scope>) =>
    Effect.scoped(effect).pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(seed))
  for (const [i, program] of before.entries()) {
    yield* Effect.orDie(seeded(50 + i)(Effect.flatMap(on(store), (escrow) => program(escrow, setup))))
  }
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  let log = setup
  let late: Array<PutRequest> = []
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  let done: Interleavings.Report = { schedules: 0, requests: 0, complete: false }
  const names = Object.keys(all)
  const programs = Object.fromEntries(
    names.map((name, index) => {
      const client = schedule.client(name)
      const remembering: Store = {
        ...client,
        put: (request) => {
          late.push(request)
          return client.put(request)
        }
      }
      const broken = bounds.break?.(remembering) ?? remembering
      return [name, seeded(index + 1)(Effect.flatMap(on(broken), (escrow) => all[name]!(escrow, log)))]
    })
  )
  const report = yield* schedule
    .explore({
      before: Effect.andThen(
        control.restore(start),
        Effect.sync(() => {
          log = { ...setup, problems: [] }
          late = []
        })
      ),
      programs,
      preemptions: bounds.preemptions ?? preemptions,
      crashes: bounds.crashes ?? 0,
      ...(bounds.limit === undefined ? {} : { limit: bounds.limit }),
      check: Effect.fnUntraced(function* ({ crashed, exits, requests, trace }) {
        done = { schedules: done.schedules + 1, requests: done.requests + requests, complete: false }
        const problems = [...log.problems]
        for (const name of names) {
          const exit = exits[name]!
          if (Exit.isFailure(exit) && !crashed.includes(name)) problems.push(`${name} failed: ${String(exit.cause)}`)
        }
        if (bounds.isRepeated === true) yield* Effect.forEach(late, (request) => Effect.ignore(store.put(request)))
        yield* seeded(99)(
          Effect.gen(function* () {
            const escrow = yield* on(store)
            const value = yield* escrow.value
            if (value < Math.max(0, log.least) || value > log.most) {
              problems.push(`there are ${value}, between ${log.least} and ${log.most} should be`)
            }
            // All of it can be had, wherever it is.
            if (value > 0) yield* escrow.take(value)
            const rest = yield* escrow.value
            if (rest !== 0) problems.push(`${rest} are left of nothing`)
          })
        ).pipe(Effect.catchCause((cause) => Effect.sync(() => void problems.push(String(cause)))))
        if (refused !== undefined && crashed.length === 0 && log.refused !== refused) {
          problems.push(`${log.refused} were refused, and not ${refused}`)
        }
        outcomes.add(`${log.least} ${log.most} ${log.refused}`)
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

const decoder = new TextDecoder()
const encoder = new TextEncoder()

interface Body {
  d: { rights: number; out: ReadonlyArray<[number, number]>; in: ReadonlyArray<[number, number]> }
}

export const breaks: Readonly<Record<string, (store: Store) => Store>> = {
  /** Slots are written without a condition. */
  "blind-slots": (store) => ({
    ...store,
    put: ({ ifMatch: _, ifNoneMatch: __, ...request }) => store.put(request)
  }),
  /** What is taken is spent whatever the store says of the slot. */
  "hasty-slots": (store) => ({
    ...store,
    put: (request) => Effect.catch(store.put(request), () => Effect.succeed({ etag: "hasty" }))
  }),
  /** A slot does not remember what it has got, and gets it again. */
  "forgotten-arrivals": (store) => ({
    ...store,
    put: (request) => {
      const body = JSON.parse(decoder.decode(request.body)) as Body
      return store.put({ ...request, body: encoder.encode(JSON.stringify({ ...body, d: { ...body.d, in: [] } })) })
    }
  }),
  /** What is on its way is not written down. */
  "forgotten-ways": (store) => ({
    ...store,
    put: (request) => {
      const body = JSON.parse(decoder.decode(request.body)) as Body
      return store.put({ ...request, body: encoder.encode(JSON.stringify({ ...body, d: { ...body.d, out: [] } })) })
    }
  })
}
