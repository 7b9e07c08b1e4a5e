/** The bucket itself: is it there, and making it. */
import * as Effect from "effect/Effect"
import type { StoreError } from "../StoreError.ts"
import { invalidOption } from "./optionRules.ts"

/** The requests about a bucket, their failures being those of opening the store. */
export interface Requests {
  /** Succeeds when the bucket is there. */
  readonly find: Effect.Effect<void, StoreError>
  /** Makes it in the client's region, as AWS wants it: with the region as its location, but for the first, which has none. */
  readonly create: Effect.Effect<void, StoreError>
  /** Makes it without a location: a server of one place may not know the name of the region that requests are signed for. */
  readonly createAnywhere: Effect.Effect<void, StoreError>
}

/**
 * Makes a bucket if it is not there: 1 request when it is, 2 when it is not. Others may make it at the same time.
 */
export const ensureBucket = (
  bucket: string,
  { create, createAnywhere, find }: Requests
): Effect.Effect<void, StoreError> =>
  Effect.catchReason(find, "StoreError", "NoSuchBucket", () =>
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
        () =>
          Effect.mapError(find, (error) =>
            error.isRetryable
              ? error
              : invalidOption(
                  "bucket",
                  `the bucket ${JSON.stringify(bucket)} belongs to somebody else: choose another name`
                )
          )
      )
    )
  )
