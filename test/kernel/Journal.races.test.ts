import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Break, explore, history, races } from "./journalRaces.ts"

const [writers, , swept] = Object.keys(races)

/** One round each, here: the rest is for the deep tests. */
const short = (name: string) => (name === writers ? { ...races[name]!, journalers: { j: 1, k: 1 } } : races[name]!)

describe("writers and journalers in every order of their requests", () => {
  for (const name of [writers!, swept!]) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { appended, problems, report } = yield* explore({ ...short(name), preemptions: 1, limit: 150 })
        assert.deepStrictEqual(problems, [])
        assert.isTrue(report.complete || report.schedules === 150)
        assert.isAbove(appended, report.schedules)
      })
    )
  }

  const broken: ReadonlyArray<Break> = [
    "entry after the commit",
    "removal before the append is durable",
    "settling by clock"
  ]
  const small = { first: [["d"]], writers: { a: [["d"]] }, journalers: { j: 3 } } as const
  it.effect("one writer and one journaler, one of whom crashes", () =>
    Effect.gen(function* () {
      const { problems, report } = yield* explore({ ...small, preemptions: 1, crashes: 1 })
      assert.deepStrictEqual(problems, [])
      assert.isTrue(report.complete)
    })
  )

  for (const one of broken) {
    it.effect(`caught: ${one}`, () =>
      Effect.gen(function* () {
        const { problems } = yield* explore({ ...small, preemptions: 1, crashes: 1, limit: 300, broken: one })
        assert.isNotEmpty(problems)
      })
    )
  }

  it.effect("a network that loses answers of writers and journalers", () =>
    Effect.gen(function* () {
      let all = 0
      for (let seed = 0; seed < 15; seed++) {
        const { journaled, problems } = yield* history(seed)
        assert.deepStrictEqual(problems, [], `seed ${seed}`)
        all += journaled
      }
      assert.isAbove(all, 100)
      for (const one of ["removal before the append is durable", "settling by clock"] as const) {
        let caught = 0
        for (let seed = 0; seed < 10; seed++) caught += (yield* history(seed, one)).problems.length > 0 ? 1 : 0
        assert.isAbove(caught, 0, one)
      }
    })
  )
})
