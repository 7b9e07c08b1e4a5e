/** Few processes that use the kernel, in every order of their requests, and of crashes and a standstill among them. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { fullCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import { actor, type Actor, type Ledger, newLedger, violationsOf } from "./kernelActors.ts"
import type { Bounds, Outcome } from "./serial.ts"

type Store = ObjectStore["Service"]
type Does = (one: Actor) => Effect.Effect<unknown, unknown>

export interface KernelScenario {
  /** What is there before. */
  readonly given?: Does
  readonly clients: Readonly<Record<string, Does>>
  /** Time that passes once, at each place. Default: none. */
  readonly pause?: string
  readonly preemptions?: number
}

const twice =
  (does: Does): Does =>
  (one) =>
    Effect.andThen(does(one), does(one))
const lead: Does = (one) => one.lead(2)

export const kernelScenarios: Readonly<Record<string, KernelScenario>> = {
  "kernel: two leaders, one of which stands still": { clients: { a: lead, b: lead }, pause: "40 seconds" },
  "kernel: a leader, and one that leads after it": {
    given: lead,
    clients: { a: (one) => one.lead(1), b: (one) => one.lead(1) },
    pause: "40 seconds"
  },
  "kernel: numbers of two": { clients: { a: twice((one) => one.number), b: twice((one) => one.number) } },
  "kernel: numbers of three": {
    clients: { a: (one) => one.number, b: (one) => one.number, c: (one) => one.number },
    preemptions: 1
  },
  "kernel: two claim the same work": {
    given: (one) => one.offer,
    clients: { a: (one) => one.work, b: (one) => one.work }
  },
  "kernel: work is offered while another claims": {
    given: (one) => one.offer,
    clients: { a: (one) => one.offer, b: (one) => one.work }
  },
  "kernel: two count": { clients: { a: (one) => one.count, b: twice((one) => one.count) } }
}

/** Runs all schedules of a scenario within the bounds. */
export const exploreKernel = Effect.fnUntraced(function* (scenario: KernelScenario, bounds: Bounds = {}) {
  const { control, store: memory } = yield* MemoryStore.make({ profile: bounds.profile ?? "aws" })
  const store: Store = bounds.remote === true ? { ...memory, capabilities: fullCapabilities } : memory
  const schedule = Interleavings.make(store)
  const given = newLedger()
  const giver = yield* actor(store, "given", given)
  yield* Effect.orDie(scenario.given?.(giver) ?? Effect.void)
  const start = yield* control.snapshot
  const copyOf = (from: Ledger): Ledger => ({
    ...from,
    appended: [...from.appended],
    asked: [...from.asked],
    numbers: [...from.numbers],
    added: new Set(from.added),
    claimed: new Map(from.claimed)
  })
  let ledger = copyOf(given)
  const programs: Record<string, Effect.Effect<unknown, unknown>> = {}
  for (const [name, does] of Object.entries(scenario.clients)) {
    const view = schedule.client(name)
    programs[name] = Effect.suspend(() => Effect.flatMap(actor(bounds.break?.(view) ?? view, name, ledger), does)).pipe(
      Random.withSeed(name),
      Effect.provideService(Id.Generator, Id.seeded(name.charCodeAt(0)))
    )
  }
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  const report = yield* schedule.explore({
    before: Effect.suspend(() => {
      ledger = copyOf(given)
      return control.restore(start)
    }),
    programs,
    preemptions: scenario.preemptions ?? bounds.preemptions,
    crashes: bounds.crashes,
    interruptions: bounds.interruptions,
    limit: bounds.limit,
    pause: bounds.pause ?? (scenario.pause as Bounds["pause"]),
    check: Effect.fnUntraced(function* ({ trace }) {
      // What was given up in the middle is over.
      yield* TestClock.adjust("1 hour")
      const wrong = yield* Effect.orDie(violationsOf(store, ledger))
      outcomes.add(JSON.stringify([ledger.appended, ledger.numbers, [...ledger.claimed], ledger.counted]))
      if (wrong.length > 0 && violations.length < (bounds.violations ?? 1)) {
        violations.push(`${wrong.join("\n")}\nafter\n  ${trace.join("\n  ")}`)
      }
    })
  })
  return { ...report, outcomes: outcomes.size, violations } satisfies Outcome
}, Pauses.byClock)
