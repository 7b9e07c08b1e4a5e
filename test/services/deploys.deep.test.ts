import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { scenarios } from "../deploys.ts"
import { describeWithGateway, gateway } from "./available.ts"

describeWithGateway("two versions of a program on Ceph's gateway", () => {
  const bucket = "deploys"
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const createBucket = Effect.promise(() =>
    new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey }
    }).send(new CreateBucketCommand({ Bucket: bucket }))
  )
  Object.entries(scenarios).forEach(([name, run], index) => {
    const store = S3Store.layer({
      bucket,
      endpoint,
      prefix: `${index}-${performance.timeOrigin}`,
      credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
    })
    it.live(
      name,
      () => Effect.andThen(createBucket, Effect.flatMap(ObjectStore, run)).pipe(Effect.provide(store)),
      600_000
    )
  })
})
