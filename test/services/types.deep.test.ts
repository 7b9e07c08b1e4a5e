import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { describeWithGateway, gateway } from "./available.ts"
import { layers, ring, roundTrips } from "./everyType.ts"

describe("every type, under AWS's rules", () => {
  for (const [name, layer] of layers) {
    it.effect(`${name}: comes back from memory as it was`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        yield* roundTrips(store, 44, 1500)
      }).pipe(Effect.provide([layer, ring]))
    )
  }
})

describeWithGateway("every type on Ceph's gateway", () => {
  const bucket = "types"
  const createBucket = Effect.promise(() =>
    new S3Client({
      endpoint: gateway.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }
    }).send(new CreateBucketCommand({ Bucket: bucket }))
  )
  for (const [name, layer] of layers) {
    it.live(
      `${name}: comes back from the gateway as it was`,
      () =>
        Effect.gen(function* () {
          yield* createBucket
          yield* roundTrips(yield* ObjectStore, 43, 30)
        }).pipe(
          Effect.provide([
            layer,
            ring,
            S3Store.layer({
              bucket,
              endpoint: gateway.endpoint,
              prefix: `${name}-${performance.timeOrigin}`,
              credentials: {
                accessKeyId: gateway.accessKeyId,
                secretAccessKey: Redacted.make(gateway.secretAccessKey)
              }
            })
          ])
        ),
      600_000
    )
  }
})
