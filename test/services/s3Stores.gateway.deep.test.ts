import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { Options } from "effect-s3db/storage/S3Store"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"
import { http, overUndici, sdk } from "../storage/s3Stores.ts"
import { describeWithGateway, gateway } from "./available.ts"

const bucket = "suite"

const options: Options = {
  bucket,
  createBucket: true,
  endpoint: gateway.endpoint,
  credentials: {
    accessKeyId: gateway.accessKeyId,
    secretAccessKey: Redacted.make(gateway.secretAccessKey)
  }
}

/** The store told what the probe finds. */
const probed = <R>(layer: Layer.Layer<ObjectStore | R, unknown>) =>
  Layer.effect(
    ObjectStore,
    Effect.gen(function* () {
      const store = yield* ObjectStore
      // The gateway answers a race with an internal error now and then.
      yield* CapabilityProbe.probe(RetryingStore.make(store))
      return store
    })
  ).pipe(Layer.provide(layer))

for (const S3 of [sdk, http, overUndici]) {
  describeWithGateway(`${S3.name} on Ceph's gateway`, () => {
    const lacking = { conditionalDelete: false, conditionalCopy: false, timeoutMillis: 120_000 }
    suite(`${S3.name}, the client, on Ceph's gateway`, probed(Layer.effect(ObjectStore, S3.make(options))), {
      ...lacking,
      races: false
    })
    suite(`${S3.name} on Ceph's gateway`, probed(S3.layer({ ...options, prefix: "some/prefix" })), {
      ...lacking,
      keyBytes: 1024 - "some/prefix/".length
    })

    describe(`the gateway, asked by ${S3.name}`, () => {
      it.live(
        "honours conditions on PUT with an unquoted ETag, and only those",
        () =>
          Effect.gen(function* () {
            const store = yield* S3.make(options)
            const capabilities = yield* CapabilityProbe.probe(RetryingStore.make(store))
            assert.deepStrictEqual(capabilities, {
              createIfAbsent: true,
              compareAndSet: true,
              etagForm: "unquoted",
              conditionalDelete: false,
              conditionalCopy: false,
              metadataBytes: 2048,
              orderedList: true
            })
            const left = yield* store.list({ prefix: "s3db-probe/" })
            assert.deepStrictEqual(left.entries, [])
          }),
        600_000
      )

      it.live(
        "names what goes wrong",
        () =>
          Effect.gen(function* () {
            const reasonOf = (over: Partial<Options>) =>
              S3.make({ ...options, createBucket: false, ...over }).pipe(
                Effect.flatMap((store) => store.get("k")),
                Effect.flip,
                Effect.map((error) => error.reason._tag)
              )
            const wrongSecret = { accessKeyId: "test", secretAccessKey: Redacted.make("wrong") }
            assert.strictEqual(yield* reasonOf({ bucket: "there-is-no-such-bucket" }), "NoSuchBucket")
            assert.strictEqual(yield* reasonOf({ credentials: wrongSecret }), "AccessDenied")
            assert.strictEqual(yield* reasonOf({ endpoint: "http://127.0.0.1:1" }), "Unavailable")
          }),
        600_000
      )

      it.live(
        "makes a bucket that is missing, whatever the region is called",
        () =>
          Effect.gen(function* () {
            const stamp = yield* Clock.currentTimeMillis
            for (const region of ["us-east-1", "eu-west-1"]) {
              for (const times of ["once", "again"]) {
                const store = yield* S3.make({ ...options, bucket: `made-${region}-${stamp}`, region })
                yield* store.put({ key: times })
                assert.strictEqual((yield* store.list()).entries.length, times === "once" ? 1 : 2)
              }
            }
          }),
        600_000
      )

      it.live(
        "takes documents of many small fields",
        () =>
          Effect.gen(function* () {
            const names = Array.from({ length: 650 }, (_, i) => `flag${i}`)
            const flags = Resource.define("flags", {
              primaryKey: "id",
              schema: Schema.Struct({
                id: Schema.String,
                ...Object.fromEntries(names.map((name) => [name, Schema.Boolean]))
              })
            })
            const repository = yield* Resource.make(flags)
            const id = "\u00e9".repeat(100)
            const document = { id, ...Object.fromEntries(names.map((name, i) => [name, i % 3 === 0])) }
            yield* repository.replace(document)
            assert.deepStrictEqual(yield* repository.get(id), document)
          }).pipe(
            Effect.provide(
              Layer.fresh(Database.layer).pipe(Layer.provide(S3.layer({ ...options, prefix: "many/small/fields" })))
            )
          ),
        600_000
      )

      it.live(
        "takes 20 writers of one key, of whom one wins, ten times over",
        () =>
          Effect.gen(function* () {
            const store = yield* ObjectStore
            yield* CapabilityProbe.probe(store)
            const encoder = new TextEncoder()
            const raced = Effect.fnUntraced(function* (put: (body: Uint8Array) => Effect.Effect<unknown, StoreError>) {
              const outcomes = yield* Effect.forEach(
                Array.from({ length: 20 }, (_, i) => encoder.encode(`writer ${i}`)),
                (body) => Effect.result(put(body)),
                { concurrency: "unbounded" }
              )
              assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Success").length, 1)
            })
            for (let round = 0; round < 10; round++) {
              const key = `race-${round}`
              yield* store.delete(key)
              yield* raced((body) => store.put({ key, body, ifNoneMatch: "*" }))
              const { etag } = yield* store.put({ key, body: encoder.encode("start") })
              yield* raced((body) => store.put({ key, body, ifMatch: etag }))
            }
            const { put } = yield* (yield* RequestCounter).counts
            yield* Effect.sync(() =>
              process.stdout.write(`gateway: 20 races of 20 writers, 1 winner each, ${put} PUT\n`)
            )
          }).pipe(Effect.provide(S3.layer(options))),
        600_000
      )
    })
  })
}
