/** Operations that are kept: folds, recalculations and removals in every order of their requests, and with a crash at each. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Engine from "../../src/plugins/eventual/engine.ts"
import * as Folding from "../../src/plugins/eventual/folding.ts"
import { openOn } from "../fixture.ts"
import { Accounts, balance, visits } from "./accounts.ts"

type Store = ObjectStore["Service"]
type Repository = Resource.RepositoryOf<typeof Accounts.definition>

const fields = new Map(
  [balance, visits].flatMap(({ field, made }) => (Result.isSuccess(made) ? [[field, made.success] as const] : []))
)
const day = 86_400_000

/** What a process has of counters: it begins anew in each run. */
const engineOn = Effect.fnUntraced(function* (
  store: Store,
  repository: Repository,
  broken?: "forgetful" | "trusting"
): Effect.fn.Return<Engine.Engine, never, Scope.Scope> {
  const documents = yield* Folding.make(Accounts.definition, repository, {
    fields,
    slug: "eventual",
    isDeferred: true,
    isThere: () => undefined
  })
  return yield* Engine.make({
    resource: "accounts",
    store,
    prefix: "resource=accounts/plugin=eventual/",
    fields,
    documents: {
      ...documents,
      ...(broken === "forgetful" ? { rebase: () => Effect.void } : {}),
      ...(broken === "trusting"
        ? { recalculate: (id, field, puts) => documents.recalculate(id, field, puts, () => true) }
        : {})
    } satisfies Folding.Documents,
    delay: 0,
    interval: 60_000,
    concurrency: 1,
    retention: day,
    // What is compressed is done when it is done, which no order can say.
    compression: "none",
    publish: () => Effect.void,
    onFull: () => undefined
  })
})

type Program = (engine: Engine.Engine, accounts: Repository) => Effect.Effect<unknown, unknown>

const fold: Program = (engine) => engine.foldAll
const retain: Program = (engine) => engine.retain
const recalculate: Program = (engine) => engine.recalculate(fields.get("balance")!, "a")
const applied: Program = (engine) => engine.deferAndFold(fields.get("balance")!, "a", { kind: "add", amount: 1000 })

interface Scenario {
  readonly programs: Readonly<Record<string, Program>>
  /** What they add. */
  readonly more: number
  readonly preemptions: number
}

const scenarios: Readonly<Record<string, Scenario>> = {
  "a fold and a recalculation": { programs: { a: fold, b: recalculate }, more: 0, preemptions: 1 },
  "a fold and a removal": { programs: { a: fold, b: retain }, more: 0, preemptions: 1 },
  "a removal and a recalculation": { programs: { a: retain, b: recalculate }, more: 0, preemptions: 1 },
  "one that applies, and a recalculation": { programs: { a: applied, b: recalculate }, more: 1000, preemptions: 1 },
  "two removals": { programs: { a: retain, b: retain }, more: 0, preemptions: 1 }
}

const explored = Effect.fnUntraced(function* (
  { more, preemptions, programs }: Scenario,
  crashes: number,
  broken?: "forgetful" | "trusting"
) {
  yield* TestClock.setTime(Date.UTC(2026, 10, 27))
  const { control, store } = yield* MemoryStore.make()
  yield* CapabilityProbe.probe(store)
  const opened = Effect.fnUntraced(function* (on: Store) {
    const { database } = yield* openOn(on)
    return yield* Effect.provideService(Resource.make(Accounts.definition), Database, database)
  })
  const own = yield* opened(store)
  yield* Effect.scoped(
    Effect.gen(function* () {
      const engine = yield* engineOn(store, own)
      yield* own.insert({ id: "a", balance: 1 })
      yield* engine.defer(fields.get("balance")!, "a", { kind: "add", amount: 10 })
      yield* engine.foldAll
      yield* TestClock.adjust(2 * day)
      yield* engine.defer(fields.get("balance")!, "a", { kind: "add", amount: 100 })
      // Past the counter.
      yield* own.update("a", { balance: -7 })
    })
  )
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  const running: Record<string, Effect.Effect<unknown, unknown>> = {}
  for (const [name, program] of Object.entries(programs)) {
    const client = schedule.client(name)
    const accounts = yield* opened(client)
    // The same in each run.
    running[name] = Effect.suspend(() =>
      Effect.scoped(Effect.flatMap(engineOn(client, accounts, broken), (engine) => program(engine, accounts))).pipe(
        Effect.provideService(Id.Generator, Id.seeded(name.charCodeAt(0))),
        Random.withSeed(name)
      )
    )
  }
  const problems: Array<string> = []
  const { complete, schedules } = yield* schedule.explore({
    before: control.restore(start),
    programs: running,
    preemptions,
    crashes,
    check: ({ crashed, trace }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const engine = yield* engineOn(store, own)
          yield* engine.foldAll
          // Whoever has recalculated has repaired it, whatever came in between.
          const stored = (yield* own.get("a")).balance
          const isRepaired = crashed.length === 0 && Object.values(programs).includes(recalculate)
          if (isRepaired && stored !== 111 + more) problems.push(`${stored} is stored: ${trace.join(", ")}`)
          yield* engine.retain
          const { value } = yield* engine.recalculate(fields.get("balance")!, "a")
          const isRight = value === 111 + more || (crashed.length > 0 && value === 111)
          if (!isRight) problems.push(`${String(value)}: ${trace.join(", ")}`)
        })
      )
  })
  return { problems, schedules, complete }
})

describe("EventualConsistency, history, every order", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    for (const crashes of [0, 1]) {
      it.effect(
        `${name}${crashes === 0 ? "" : ", with a crash"}`,
        () =>
          Effect.gen(function* () {
            const { complete, problems, schedules } = yield* explored(scenario, crashes)
            assert.deepStrictEqual(problems, [])
            assert.isTrue(complete)
            assert.isAtLeast(schedules, 8)
          }).pipe(Effect.scoped),
        120_000
      )
    }
  }

  it.effect(
    "finds a build that removes segments before documents know what was in them",
    () =>
      Effect.gen(function* () {
        const scenario = scenarios["a fold and a removal"]!
        const { problems } = yield* explored(scenario, 0, "forgetful")
        assert.isAtLeast(problems.length, 1)
      }).pipe(Effect.scoped),
    120_000
  )

  it.effect(
    "finds a build that recalculates by what it has not got",
    () =>
      Effect.gen(function* () {
        const scenario = scenarios["one that applies, and a recalculation"]!
        const { problems } = yield* explored(scenario, 0, "trusting")
        assert.isAtLeast(problems.length, 1)
      }).pipe(Effect.scoped),
    120_000
  )
})
