/** Values of plugins, in every order of the requests of two processes, also where one crashes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { fullCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"

type Store = ObjectStore["Service"]
type Values = PluginStore.PluginStore<Schema.Json>
type Program = (values: Values) => Effect.Effect<unknown, unknown>

const on = (store: Store): Values => PluginStore.make(store, { plugin: "p", schema: Schema.Json })

/** What was done, as far as it was told: the result of a program, or that nobody knows. */
type Told = { readonly a: unknown; readonly b: unknown }
const unknown = "unknown"

interface Scenario {
  /** What is there before. */
  readonly before?: Program
  readonly a: Program
  readonly b: Program
  /** Whether this can be what is there afterwards, by what the programs were told. */
  readonly holds: (end: Schema.Json | undefined, told: Told) => boolean
}

/** The results of two that each have been told theirs, or have crashed and may have done it or not. */
const counts = (end: Schema.Json | undefined, told: Told, by: { readonly a: number; readonly b: number }) => {
  const known = (["a", "b"] as const).filter((one) => told[one] !== unknown)
  const least = known.reduce((sum, one) => sum + by[one], 0)
  const most = by.a + by.b
  const sums = known.map((one) => told[one])
  return Number(end ?? 0) >= least && Number(end ?? 0) <= most && new Set(sums).size === sums.length
}

const scenarios: Record<string, Scenario> = {
  "two increment, where nothing is": {
    a: (values) => values.increment("k", 1),
    b: (values) => values.increment("k", 10),
    holds: (end, told) => counts(end, told, { a: 1, b: 10 })
  },
  "two increment a number": {
    before: (values) => values.set("k", 0),
    a: (values) => values.increment("k", 1),
    b: (values) => values.increment("k", 10),
    holds: (end, told) => counts(end, told, { a: 1, b: 10 })
  },
  "of two that write where nothing is, one does": {
    a: (values) => values.setIfAbsent("k", "a"),
    b: (values) => values.setIfAbsent("k", "b"),
    holds: (end, { a, b }) =>
      a === unknown || b === unknown
        ? (a !== true || end === "a") && (b !== true || end === "b")
        : a !== b && end === (a === true ? "a" : "b")
  },
  "of two that replace a version, one does": {
    before: (values) => values.set("k", "before"),
    a: (values) => replacing(values, "a"),
    b: (values) => replacing(values, "b"),
    // One that reads later replaces the version of the other.
    holds: (end, { a, b }) =>
      (a !== true || end === "a" || b !== false) && (b !== true || end === "b" || a !== false) && end !== undefined
  },
  "one increments while another removes the version that it has read": {
    before: (values) => values.set("k", 0),
    a: (values) => values.increment("k", 1),
    b: (values) => removing(values),
    // Removed before it was counted up, or the version was another by then, or the sum was removed.
    holds: (end, { a, b }) =>
      a === unknown
        ? end === undefined || end === 0 || end === 1
        : b === true
          ? end === undefined || end === 1
          : end === 1 || b === unknown
  },
  "what is written while what has expired is swept stays": {
    before: (values) => Effect.andThen(values.set("k", "old", { ttl: 1000 }), TestClock.adjust("2 seconds")),
    a: (values) => values.set("k", "new"),
    b: (values) => values.sweep,
    holds: (end, { a }) => end === "new" || (a === unknown && end === undefined)
  },
  "what is written where something has expired stays, while it is swept": {
    before: (values) => Effect.andThen(values.set("k", "old", { ttl: 1000 }), TestClock.adjust("2 seconds")),
    a: (values) => values.setIfAbsent("k", "new"),
    b: (values) => values.sweep,
    holds: (end, { a }) => (a === true ? end === "new" : a === unknown && (end === "new" || end === undefined))
  },
  "two that prolong a value both do": {
    before: (values) => values.set("k", 1, { ttl: 10_000 }),
    a: (values) => values.touch("k", 5000),
    b: (values) => values.touch("k", 5000),
    holds: (end) => end === 1
  }
}

const replacing = (values: Values, value: string) =>
  Effect.flatMap(values.getVersion("k"), (found) =>
    Effect.map(values.setIfVersion("k", value, Option.getOrThrow(found).version), Option.isSome)
  )

const removing = (values: Values) =>
  Effect.flatMap(values.getVersion("k"), (found) =>
    Option.isNone(found) ? Effect.succeed(false) : values.removeIfVersion("k", found.value.version)
  )

/** What must not be, in every order; the number of orders. */
const explore = Effect.fnUntraced(function* (
  scenario: Scenario,
  { conditionalDelete = true, crashes = 0, wrap = (store: Store): Store => store } = {}
) {
  const { control, store } = yield* MemoryStore.make()
  const schedule = Interleavings.make({ ...store, capabilities: { ...fullCapabilities, conditionalDelete } })
  const plain = on(store)
  yield* Effect.orDie(scenario.before?.(plain) ?? Effect.void)
  const start = yield* control.snapshot
  const wrong: Array<string> = []
  const program = (name: "a" | "b", seed: number) =>
    Effect.provideService(
      Effect.suspend(() => scenario[name](on(wrap(schedule.client(name))))),
      Id.Generator,
      Id.seeded(seed)
    )
  const report = yield* schedule.explore({
    before: control.restore(start),
    programs: { a: program("a", 1), b: program("b", 2) },
    preemptions: 3,
    crashes,
    check: ({ exits, trace }) =>
      Effect.gen(function* () {
        const of = (name: string) => (Exit.isSuccess(exits[name]!) ? exits[name].value : unknown)
        const end = Option.getOrUndefined(yield* Effect.orDie(plain.get("k")))
        const told = { a: of("a"), b: of("b") }
        const ended = crashes > 0 || Object.values(exits).every(Exit.isSuccess)
        if (!ended || !scenario.holds(end, told)) wrong.push(`${JSON.stringify({ end, told })}: ${trace.join(", ")}`)
      })
  })
  assert.isTrue(report.complete)
  return { wrong, schedules: report.schedules }
}, Pauses.byClock)

describe("PluginStore in every order of requests", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    for (const conditionalDelete of [true, false]) {
      it.effect(`${name}${conditionalDelete ? "" : ", on a store that does not delete on condition"}`, () =>
        Effect.gen(function* () {
          const orders = yield* explore(scenario, { conditionalDelete })
          assert.deepStrictEqual(orders.wrong, [])
          assert.isAbove(orders.schedules, 1)
          const crashing = yield* explore(scenario, { conditionalDelete, crashes: 1 })
          assert.deepStrictEqual(crashing.wrong, [])
          assert.isAbove(crashing.schedules, orders.schedules)
        })
      )
    }
  }

  it.effect("a build that writes without a condition is caught", () =>
    Effect.gen(function* () {
      const blind = (store: Store): Store => ({
        ...store,
        put: ({ ifMatch, ifNoneMatch, ...request }) => store.put(request)
      })
      for (const name of [
        "two increment, where nothing is",
        "two increment a number",
        "of two that write where nothing is, one does"
      ]) {
        assert.isAbove((yield* explore(scenarios[name]!, { wrap: blind })).wrong.length, 0, name)
      }
    })
  )
})
