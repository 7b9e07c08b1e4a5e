/** A store in a bucket of Ceph's gateway, empty each time, as programs open it. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { gateway } from "./available.ts"

let stores = 0

export const storeOnGateway = Effect.fnUntraced(function* (bucket: string) {
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey }
  })
  yield* Effect.promise(() => client.send(new CreateBucketCommand({ Bucket: bucket })))
  const store = yield* S3Store.make({
    bucket,
    endpoint,
    credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
  })
  const retrying = RetryingStore.make(PrefixedStore.make(store, `${performance.timeOrigin}-${stores++}`))
  yield* CapabilityProbe.probe(retrying)
  return retrying
})
