import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Database from "effect-s3db/Database"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { open } from "./fauxqs.ts"

describe("a store that ignores conditions", () => {
  it.live("is found out by the probe", () =>
    Effect.gen(function* () {
      const capabilities = yield* CapabilityProbe.probe(yield* open)
      assert.isFalse(capabilities.createIfAbsent && capabilities.compareAndSet)
    })
  )

  it.live("is refused by the database, and accepted for a single writer", () =>
    Effect.gen(function* () {
      const store = yield* open
      const refused = yield* Effect.flip(Database.make().pipe(Effect.provideService(ObjectStore, store)))
      assert.strictEqual(refused.reason._tag, "Unsupported")
      assert.include(refused.message, "singleWriter: true")
      const database = yield* Database.make({ singleWriter: true }).pipe(Effect.provideService(ObjectStore, store))
      const { store: emulated } = database
      yield* emulated.put({ key: "k", ifNoneMatch: "*" })
      const second = yield* Effect.flip(emulated.put({ key: "k", ifNoneMatch: "*" }))
      assert.strictEqual(second.reason._tag, "PreconditionFailed")
    })
  )
})
