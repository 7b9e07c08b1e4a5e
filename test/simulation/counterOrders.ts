/**
 * Few operations of few processes on counters, in every order of their requests, within bounds: what is acknowledged counts once, what is not
 * once at most, in the order in which it was acknowledged.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore, PutRequest } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Engine from "../../src/plugins/eventual/engine.ts"
import type * as Field from "../../src/plugins/eventual/field.ts"
import * as Folding from "../../src/plugins/eventual/folding.ts"
import { openOn } from "../fixture.ts"
import { all, Wallets } from "../plugins/counters.ts"

type Store = ObjectStore["Service"]
type Repository = Resource.RepositoryOf<typeof Wallets.definition>

const prefix = "resource=wallets/plugin=eventual/"

const fields: ReadonlyMap<string, Field.Field> = new Map(
  all.flatMap(({ field, made }) => (Result.isSuccess(made) ? [[field, made.success]] : []))
)
const field = (name: string): Field.Field => fields.get(name)!

/** What a process has of counters: it begins anew in each run. */
const engineOn = Effect.fnUntraced(function* (
  store: Store,
  repository: Repository
): Effect.fn.Return<Engine.Engine, never, Scope.Scope> {
  const documents = yield* Folding.make(Wallets.definition, repository, {
    fields,
    slug: "eventual",
    isDeferred: true,
    isThere: () => undefined
  })
  return yield* Engine.make({
    resource: "wallets",
    store,
    prefix,
    fields,
    documents,
    delay: 0,
    interval: 60_000,
    concurrency: 1,
    publish: () => Effect.void,
    onFull: () => undefined
  })
})

/** What the processes of a run have seen: sums of what was acknowledged, and what may have been made. */
interface Log {
  acknowledged: number
  readonly unsure: Array<number>
  readonly tags: Array<string>
  readonly unsureTags: Array<string>
  readonly problems: Array<string>
}

const newLog = (): Log => ({ acknowledged: 0, unsure: [], tags: [], unsureTags: [], problems: [] })

interface Process {
  readonly engine: Engine.Engine
  readonly wallets: Repository
  readonly log: Log
}

type Program = (process: Process) => Effect.Effect<unknown, unknown>

const add =
  (amount: number, name = "balance"): Program =>
  ({ engine, log }) =>
    Effect.gen(function* () {
      log.unsure.push(amount)
      yield* engine.defer(field(name), "w", { kind: "add", amount })
      log.unsure.splice(log.unsure.indexOf(amount), 1)
      log.acknowledged += amount
    })

const applied =
  (amount: number): Program =>
  ({ engine, log }) =>
    Effect.gen(function* () {
      log.unsure.push(amount)
      const { outcome } = yield* engine.deferAndFold(field("balance"), "w", { kind: "add", amount })
      log.unsure.splice(log.unsure.indexOf(amount), 1)
      log.acknowledged += amount
      if (outcome._tag !== "Folded") log.problems.push(`${amount} is ${outcome._tag}`)
    })

/** Takes what the document may not have any more: whoever folds it, it is told. */
const taken =
  (amount: number): Program =>
  ({ engine, log }) =>
    Effect.gen(function* () {
      log.unsure.push(-amount)
      const operation = { kind: "subtract", amount } as const
      const { isUnsure, outcome, problem } = yield* engine.deferAndFold(field("credit"), "w", operation)
      log.unsure.splice(log.unsure.indexOf(-amount), 1)
      if (problem === undefined) log.acknowledged -= amount
      if (outcome._tag !== "Folded" || isUnsure) log.problems.push(`nobody knows of ${amount}`)
    })

const tag =
  (text: string): Program =>
  ({ engine, log }) =>
    Effect.gen(function* () {
      log.unsureTags.push(text)
      yield* engine.defer(field("tags"), "w", { kind: "reduce", amount: text })
      log.unsureTags.splice(log.unsureTags.indexOf(text), 1)
      log.tags.push(text)
    })

const fold: Program = ({ engine }) => engine.foldAll
const one: Program = ({ engine }) => engine.foldOne("w")
const insert: Program = ({ wallets }) => wallets.insert({ id: "w" })
const both =
  (...programs: ReadonlyArray<Program>): Program =>
  (process) =>
    Effect.forEach(programs, (program) => program(process), { discard: true })

/** Reads through what is pending: never less than what was acknowledged before. */
const look: Program = ({ engine, log, wallets }) =>
  Effect.gen(function* () {
    const before = log.acknowledged
    const parts = yield* engine.pendingOf("w")
    const { counted = {}, balance = 0 } = yield* wallets.get("w")
    const rest = parts.flatMap(({ entries, lane }) => entries.filter(({ s }) => s > (counted[lane.name] ?? 0)))
    const read = rest.reduce((sum, { a }) => sum + Number(a), balance)
    const most = log.acknowledged + log.unsure.reduce((sum, n) => sum + n, 0)
    if (read < before || read > most) log.problems.push(`${read} was read, between ${before} and ${most}`)
  })

interface Scenario {
  /** Whether the document is there at the beginning. */
  readonly isThere: boolean
  /** What waits at the beginning. */
  readonly pending: ReadonlyArray<Program>
  readonly programs: Readonly<Record<string, Program>>
  readonly preemptions: number
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  "counter: two folds": {
    isThere: true,
    pending: [add(1), add(2)],
    programs: { a: fold, b: fold },
    preemptions: 2
  },
  "counter: a fold, and operations that come late": {
    isThere: true,
    pending: [add(1)],
    programs: { a: both(fold, fold), b: both(add(2), add(4)) },
    preemptions: 2
  },
  "counter: two that add, the first in their lane": {
    isThere: true,
    pending: [],
    programs: { a: add(1), b: add(2) },
    preemptions: 2
  },
  "counter: two that apply": {
    isThere: true,
    pending: [add(1)],
    programs: { a: applied(2), b: applied(4) },
    preemptions: 2
  },
  "counter: one that applies, a fold, and one that reads through": {
    isThere: true,
    pending: [add(1)],
    programs: { a: applied(2), b: fold, c: look },
    preemptions: 1
  },
  "counter: hot operations, and a fold": {
    isThere: true,
    pending: [add(1, "visits")],
    programs: { a: add(2, "visits"), b: add(4, "visits"), c: fold },
    preemptions: 1
  },
  "counter: a fold while its document comes to be": {
    isThere: false,
    pending: [add(1)],
    programs: { a: both(fold, fold), b: both(add(2), insert, one) },
    preemptions: 2
  },
  "counter: two that take what is not there for both, and a fold": {
    isThere: true,
    pending: [add(5, "credit"), one],
    programs: { a: taken(4), b: taken(3), c: fold },
    preemptions: 1
  },
  "counter: operations in their order, and two folds": {
    isThere: true,
    pending: [tag("a")],
    programs: { a: both(tag("b"), tag("c")), b: fold, c: fold },
    preemptions: 1
  }
}

export interface Bounds {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly limit?: number | undefined
  readonly profile?: MemoryStore.Profile | undefined
  readonly break?: ((store: Store) => Store) | undefined
  /** Every PUT on condition reaches the store once more, when the run is over. */
  readonly isRepeated?: boolean | undefined
}

class Enough {
  readonly _tag = "Enough"
}

const isLane = (key: string): boolean => key.startsWith(`${prefix}lane/`)
const isDocument = (key: string): boolean => key.includes("/data/id=")

/** Runs all schedules of a scenario within the bounds. */
export const explore = Effect.fnUntraced(function* (scenario: Scenario, bounds: Bounds = {}) {
  const { control, store } = yield* MemoryStore.make({ profile: bounds.profile ?? "aws" })
  // How it wants conditions to be written.
  yield* CapabilityProbe.probe(store)
  const opened = (on: Store) =>
    Effect.gen(function* () {
      const { database } = yield* openOn(on)
      return yield* Effect.provideService(Resource.make(Wallets.definition), Database, database)
    })
  const own = yield* opened(store)
  const setup = newLog()
  yield* Effect.scoped(
    Effect.gen(function* () {
      if (scenario.isThere) yield* own.insert({ id: "w" })
      const engine = yield* engineOn(store, own)
      for (const program of scenario.pending) yield* program({ engine, wallets: own, log: setup })
    })
  )
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  let log = newLog()
  let late: Array<PutRequest> = []
  const remembering = (client: Store): Store =>
    bounds.isRepeated !== true
      ? client
      : {
          ...client,
          put: (request) => {
            if (isLane(request.key) || isDocument(request.key)) late.push(request)
            return client.put(request)
          }
        }
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  let done: Interleavings.Report = { schedules: 0, requests: 0, complete: false }
  const names = Object.keys(scenario.programs)
  const programs: Record<string, Effect.Effect<unknown, unknown>> = {}
  for (const [index, name] of names.entries()) {
    const client = remembering(schedule.client(name))
    const broken = bounds.break?.(client) ?? client
    // As a process has it that has been running for a while.
    const wallets = yield* opened(broken)
    programs[name] = Effect.suspend(() =>
      Effect.scoped(
        Effect.flatMap(engineOn(broken, wallets), (engine) => scenario.programs[name]!({ engine, wallets, log }))
      ).pipe(Effect.provideService(Id.Generator, Id.seeded(index + 1)), Random.withSeed(index + 1))
    )
  }
  const report = yield* schedule
    .explore({
      before: Effect.andThen(
        control.restore(start),
        Effect.sync(() => {
          log = { ...newLog(), acknowledged: setup.acknowledged, tags: [...setup.tags] }
          late = []
        })
      ),
      programs,
      preemptions: bounds.preemptions ?? scenario.preemptions,
      crashes: bounds.crashes ?? 0,
      ...(bounds.limit === undefined ? {} : { limit: bounds.limit }),
      check: Effect.fnUntraced(function* ({ crashed, exits, requests, trace }) {
        done = { schedules: done.schedules + 1, requests: done.requests + requests, complete: false }
        const problems = [...log.problems]
        for (const name of names) {
          const exit = exits[name]!
          if (Exit.isFailure(exit) && !crashed.includes(name)) problems.push(`${name} failed: ${String(exit.cause)}`)
        }
        // What was sent once may arrive twice, however late.
        yield* Effect.forEach(late, (request) => Effect.ignore(store.put(request)))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const engine = yield* engineOn(store, own)
            yield* Effect.ignore(own.insert({ id: "w" }))
            for (let i = 0; i < 2; i++) yield* engine.foldAll
          })
        ).pipe(Effect.provideService(Id.Generator, Id.seeded(99)), Random.withSeed(99))
        const { balance = 0, credit = 0, tags = [], visits = 0 } = yield* own.get("w")
        const sum = balance + visits + credit
        const possible = log.unsure.reduce<ReadonlyArray<number>>(
          (sums, amount) => [...sums, ...sums.map((one) => one + amount)],
          [log.acknowledged]
        )
        if (!possible.includes(sum)) problems.push(`the sum is ${sum}, ${log.acknowledged} were acknowledged`)
        const text = tags.filter((one) => !log.unsureTags.includes(one)).join("")
        if (text !== log.tags.join("")) problems.push(`${tags.join("")} is there, in the place of ${log.tags.join("")}`)
        outcomes.add(`${sum}|${tags.join("")}|${crashed.join(" ")}`)
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

const decoder = new TextDecoder()
const encoder = new TextEncoder()

interface Body {
  d: { name: string; next: number; entries: ReadonlyArray<unknown> }
}

const lanesAs =
  (change: (body: Body) => Body) =>
  (store: Store): Store => ({
    ...store,
    put: (request: PutRequest) =>
      isLane(request.key) && request.body !== undefined
        ? store.put({
            ...request,
            body: encoder.encode(JSON.stringify(change(JSON.parse(decoder.decode(request.body)) as Body)))
          })
        : store.put(request)
  })

/** Documents without the fields whose text begins so: of marks with a brace, of what was left out with a bracket. */
const documentsWithout =
  (beginning: string) =>
  (store: Store): Store => ({
    ...store,
    put: ({ metadata, ...request }) =>
      metadata === undefined || !isDocument(request.key)
        ? store.put({ ...request, metadata })
        : store.put({
            ...request,
            metadata: Object.fromEntries(Object.entries(metadata).filter(([, value]) => !value.startsWith(beginning)))
          })
  })

export const breaks: Readonly<Record<string, (store: Store) => Store>> = {
  /** Lanes are written without a condition. */
  "blind-lanes": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      isLane(request.key) ? store.put(request) : store.put({ ...request, ifMatch, ifNoneMatch })
  }),
  /** Documents do not say how far lanes have come into them. */
  "forgotten-marks": documentsWithout("{"),
  /** Documents do not tell which operations were left out. */
  "forgotten-refusals": documentsWithout("["),
  /** Values are written before what says how far lanes have come into them. */
  "torn-folds": (store) => ({
    ...store,
    put: (request) => {
      const { key, metadata = {} } = request
      const marks = Object.keys(metadata).find((name) => metadata[name]!.startsWith("{"))
      if (!isDocument(key) || request.ifMatch === undefined || marks === undefined) return store.put(request)
      return Effect.flatMap(store.get(key), ({ metadata: before }) => {
        const { [marks]: _, ...rest } = metadata
        const former = before[marks] === undefined ? rest : { ...rest, [marks]: before[marks] }
        return Effect.flatMap(store.put({ ...request, metadata: former }), ({ etag }) =>
          store.put({ ...request, ifMatch: etag })
        )
      })
    }
  }),
  /** Operations leave their lane before they are in their document. */
  "early-trims": (store) => {
    const waiting: Array<PutRequest> = []
    return {
      ...store,
      put: (request) => {
        if (isDocument(request.key) && request.ifMatch !== undefined) {
          waiting.push(request)
          return Effect.succeed({ etag: "later" })
        }
        return Effect.tap(store.put(request), () =>
          Effect.forEach(waiting.splice(0), (one) => Effect.ignore(store.put(one)))
        )
      }
    }
  },
  /** A lane in which nothing is left begins anew. */
  "renumbered-lanes": lanesAs(({ d, ...rest }) => ({
    ...rest,
    d: { ...d, name: "same", next: d.entries.length === 0 ? 1 : d.next }
  })),
  /** All that is added has one number. */
  "one-number": lanesAs(({ d, ...rest }) => ({
    ...rest,
    d: { ...d, next: 1, entries: d.entries.map((entry) => ({ ...(entry as object), s: 1 })) }
  }))
}
