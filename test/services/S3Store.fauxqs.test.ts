import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Database from "effect-s3db/Database"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"
import { startFauxqs } from "fauxqs"

/** A server of its own, which knows S3 but no conditions on PUT. */
const server = Effect.acquireRelease(
  Effect.promise(() => startFauxqs({ port: 0, logger: false })),
  (started) => Effect.promise(() => started.stop())
)

const open = Effect.gen(function* () {
  const started = yield* server
  started.createBucket("bucket")
  return yield* S3Store.make({
    bucket: "bucket",
    endpoint: started.address,
    credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
  })
})

const layer = Layer.effect(ObjectStore, open)

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

suite("S3 on fauxqs", layer, {
  conditionalPut: false,
  conditionalDelete: false,
  conditionalCopy: false,
  hostileKeys: false,
  delimiters: false,
  ordered: false
})
