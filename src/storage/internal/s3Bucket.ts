/** The bucket itself: is it there, and making it. */
import type * as S3 from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import { InvalidArgument, StoreError } from "../StoreError.ts"

/** One request to the bucket, its failure being that of opening the store. */
type Send = (
  request: (client: S3.S3Client, options: { readonly abortSignal: AbortSignal }) => Promise<unknown>
) => Effect.Effect<void, StoreError>

/**
 * Makes a bucket in the client's region if it is not there: 1 request when it is, 2 when it is not. Others may make it at
 * the same time.
 */
export const ensureBucket = (
  sdk: Pick<typeof S3, "HeadBucketCommand" | "CreateBucketCommand">,
  bucket: string,
  send: Send
): Effect.Effect<void, StoreError> => {
  const find = send((client, options) => client.send(new sdk.HeadBucketCommand({ Bucket: bucket }), options))
  /** The SDK writes the region as the location, as AWS wants it for all regions but the first. */
  const create = send((client, options) => client.send(new sdk.CreateBucketCommand({ Bucket: bucket }), options))
  /** A server of one place may not know the name of the region that requests are signed for. */
  const createAnywhere = send((client, options) => {
    const command = new sdk.CreateBucketCommand({ Bucket: bucket })
    command.middlewareStack.add((next) => (args) => next({ ...args, input: { Bucket: bucket } }), {
      step: "serialize",
      priority: "high"
    })
    return client.send(command, options)
  })
  return Effect.catchReason(find, "StoreError", "NoSuchBucket", () =>
    create.pipe(
      Effect.catchIf(
        (error) => error.reason.code === "InvalidLocationConstraint",
        () => createAnywhere
      ),
      Effect.catchIf(
        (error) => error.reason.code === "BucketAlreadyOwnedByYou",
        () => Effect.void
      ),
      Effect.catchIf(
        (error) => error.reason.code === "BucketAlreadyExists",
        () => Effect.mapError(find, (error) => (error.isRetryable ? error : taken(bucket)))
      )
    )
  )
}

const taken = (bucket: string): StoreError => {
  const description = `the bucket ${JSON.stringify(bucket)} belongs to somebody else: choose another name`
  return new StoreError({ operation: "open", reason: new InvalidArgument({ argument: "bucket", description }) })
}
