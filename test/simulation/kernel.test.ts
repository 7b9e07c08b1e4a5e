import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { kernelBreaks } from "./kernelActors.ts"
import { exploreKernel, kernelScenarios } from "./kernelOrders.ts"
import { runKernel } from "./kernelSimulation.ts"

const isolated = (seed: number, ops: number, broken?: string) =>
  Effect.provide(
    runKernel({ seed, ops, break: broken === undefined ? undefined : kernelBreaks[broken] }),
    TestClock.layer()
  )

describe("simulation of the kernel", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const one = yield* isolated(1, 60)
      assert.isAbove(one.trace.length, 100)
      assert.deepStrictEqual(one.trace, (yield* isolated(1, 60)).trace)
      assert.notDeepEqual(one.trace, (yield* isolated(2, 60)).trace)
    })
  )

  it.effect("ten histories without a violation", () =>
    Effect.gen(function* () {
      const seen = { crashes: 0, unknown: 0 }
      for (let seed = 100; seed < 110; seed++) {
        const report = yield* isolated(seed, 120)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        seen.crashes += report.crashes
        seen.unknown += report.unknown
      }
      assert.isAbove(seen.crashes, 2)
      assert.isAbove(seen.unknown, 5)
    })
  )

  /** The first seed of the smallest history that catches each. */
  const seeds: Readonly<Record<string, number>> = {
    "blind-fences": 12,
    "blind-numbers": 1,
    "blind-creations": 1,
    "blind-values": 11,
    "blind-leases": 4,
    "removed-leases": 1,
    "early-removals": 1
  }
  for (const name of Object.keys(kernelBreaks)) {
    it.effect(`a build with ${name} is caught`, () =>
      Effect.gen(function* () {
        assert.isAbove((yield* isolated(seeds[name]!, 120, name)).violations.length, 0)
      })
    )
  }
})

describe("the kernel in every order of requests", () => {
  for (const [name, scenario] of Object.entries(kernelScenarios)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* exploreKernel(scenario, { preemptions: 1 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isTrue(outcome.complete)
        assert.isAbove(outcome.schedules, 1)
      })
    )
  }

  for (const [broken, name] of [
    ["blind-numbers", "kernel: numbers of two"],
    ["blind-creations", "kernel: two claim the same work"],
    ["blind-values", "kernel: two count"]
  ] as const) {
    it.effect(`a build with ${broken} is caught by ${name}`, () =>
      Effect.gen(function* () {
        const bounds = { preemptions: 2, break: kernelBreaks[broken] }
        assert.isAbove((yield* exploreKernel(kernelScenarios[name]!, bounds)).violations.length, 0)
      })
    )
  }
})
