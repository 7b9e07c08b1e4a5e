/** The primitives of the kernel on Ceph's gateway. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { suite } from "../kernel/contention.ts"
import { suite as journal } from "../kernel/journalStores.ts"
import { describeWithGateway, gateway } from "./available.ts"

describeWithGateway("the kernel on Ceph's gateway", () => {
  const bucket = "kernel"
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const createBucket = Effect.promise(() =>
    new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey }
    }).send(new CreateBucketCommand({ Bucket: bucket }))
  )
  let stores = 0
  const open = Effect.gen(function* () {
    yield* createBucket
    const store = yield* S3Store.make({
      bucket,
      endpoint,
      credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
    })
    const retrying = RetryingStore.make(PrefixedStore.make(store, `${performance.timeOrigin}-${stores++}`))
    yield* CapabilityProbe.probe(retrying)
    return retrying
  })
  suite("Ceph's gateway", open)
  // The gateway ignores conditions on DELETE: tombstones stay.
  journal("Ceph's gateway", open, false, 15)
})
