/**
 * Fence tokens: numbers that rise with each holder of a lease, shown with every write, so that one that stood still cannot
 * write any more when another has taken over.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ExpectedError } from "../internal/expectedError.ts"

/**
 * A write with a fence token below one that has been seen, or with none where there is one. Nothing was written. Another has
 * taken over: stop, and acquire the lease again.
 *
 * @category errors
 * @since 0.1.0
 */
export class StaleFence extends ExpectedError<StaleFence>("effect-s3db/kernel/StaleFence")("StaleFence", {
  /** Of the manifest. */
  key: Schema.String,
  /** The token that was shown. */
  fence: Schema.optionalKey(Schema.Int),
  /** The highest that has been seen. */
  seen: Schema.Int
}) {
  override get message(): string {
    return `the token ${this.fence ?? "none"} is not that of the newest holder, ${this.seen}: another has taken over`
  }
}

/**
 * Gives the token that holds after a write. Where there has never been one, none is needed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const check = (key: string, seen: number, fence: number | undefined): Effect.Effect<number, StaleFence> => {
  if (fence === undefined ? seen === 0 : fence >= seen) return Effect.succeed(fence ?? 0)
  return Effect.fail(new StaleFence({ key, seen, ...(fence === undefined ? {} : { fence }) }))
}
