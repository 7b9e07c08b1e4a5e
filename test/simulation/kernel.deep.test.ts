import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { kernelBreaks } from "./kernelActors.ts"
import { exploreKernel, kernelScenarios } from "./kernelOrders.ts"
import { runKernel } from "./kernelSimulation.ts"

describe("simulation of the kernel", () => {
  it.effect("eighty histories without a violation", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 80; seed++) {
        const report = yield* Effect.provide(runKernel({ seed, ops: 150 }), TestClock.layer())
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
      }
    })
  )
})

describe("the kernel in every order of requests, and of a crash", () => {
  for (const [name, scenario] of Object.entries(kernelScenarios)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const bounds of [{ preemptions: 2 }, { preemptions: 1, crashes: 1 }]) {
          const outcome = yield* exploreKernel(scenario, bounds)
          assert.deepStrictEqual(outcome.violations, [])
          assert.isTrue(outcome.complete)
        }
      })
    )
  }

  for (const [broken, name, crashes] of [
    ["blind-fences", "kernel: two leaders, one of which stands still", 0],
    ["early-removals", "kernel: two claim the same work", 1]
  ] as const) {
    it.effect(`a build with ${broken} is caught by ${name}`, () =>
      Effect.gen(function* () {
        const bounds = { preemptions: 2, crashes, break: kernelBreaks[broken] }
        assert.isAbove((yield* exploreKernel(kernelScenarios[name]!, bounds)).violations.length, 0)
      })
    )
  }
})
