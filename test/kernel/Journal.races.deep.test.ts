import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explore, history, races } from "./journalRaces.ts"

describe("writers and journalers in every order of their requests, in depth", () => {
  for (const [name, race] of Object.entries(races)) {
    it.effect(
      `${name}, of whom one crashes`,
      () =>
        Effect.gen(function* () {
          const { problems } = yield* explore({ ...race, preemptions: 1, crashes: 1, limit: 1000 })
          assert.deepStrictEqual(problems, [])
        }),
      600_000
    )

    it.effect(
      `${name}, kept waiting twice`,
      () =>
        Effect.gen(function* () {
          const { problems } = yield* explore({ ...race, preemptions: 2, limit: 1000 })
          assert.deepStrictEqual(problems, [])
        }),
      600_000
    )
  }

  it.effect(
    "a network that loses answers of writers and journalers",
    () =>
      Effect.gen(function* () {
        for (let seed = 1000; seed < 1150; seed++) {
          const { problems } = yield* history(seed)
          assert.deepStrictEqual(problems, [], `seed ${seed}`)
        }
      }),
    600_000
  )
})
