import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { layers, ring, roundTrips } from "./everyType.ts"

describe("every type, under AWS's rules", () => {
  for (const [name, layer] of layers) {
    it.effect(`${name}: comes back from memory as it was`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        yield* roundTrips(store, 42, 150)
      }).pipe(Effect.provide([layer, ring]))
    )
  }
})
