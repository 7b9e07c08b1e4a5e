/** Companions and entries of the journal on Ceph's gateway. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CapabilityProbe from "effect-s3db/storage/CapabilityProbe"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { suite } from "../companionStores.ts"
import { describeWithGateway, gateway } from "./available.ts"

describeWithGateway("companions on Ceph's gateway", () => {
  const bucket = "companions"
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const credentials = { accessKeyId, secretAccessKey }
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials })
  suite(
    "Ceph's gateway",
    Effect.gen(function* () {
      yield* Effect.promise(() => client.send(new CreateBucketCommand({ Bucket: bucket })))
      const store = yield* S3Store.make({
        bucket,
        endpoint,
        credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
      })
      const retrying = RetryingStore.make(PrefixedStore.make(store, `${performance.timeOrigin}`))
      yield* CapabilityProbe.probe(retrying)
      return retrying
    })
  )
})
