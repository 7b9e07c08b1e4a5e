/** The journal of documents on Ceph's gateway, which ignores conditions on DELETE. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { suite } from "../simulation/journalStores.ts"
import { describeWithGateway, gateway } from "./available.ts"

describeWithGateway("the journal of documents on Ceph's gateway", () => {
  const bucket = "journal"
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const createBucket = Effect.promise(() =>
    new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey }
    }).send(new CreateBucketCommand({ Bucket: bucket }))
  )
  const open = Effect.gen(function* () {
    yield* createBucket
    const store = yield* S3Store.make({
      bucket,
      endpoint,
      credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
    })
    return RetryingStore.make(PrefixedStore.make(store, `${performance.timeOrigin}`))
  })
  suite("Ceph's gateway", open, 15, true)
})
