/**
 * Whether this program is about to stop: what would go on for ever ends then, and no connection gets another request.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export interface Stopping {
  readonly isNow: () => boolean
  /** Ends when it begins. */
  readonly begun: Effect.Effect<void>
}

/** Where nobody says so, it is never. */
export const Stopping = Context.Reference<Stopping | undefined>("effect-s3db/http/Stopping", {
  defaultValue: () => undefined
})

/** One that begins when it is told to. */
export const make = (): Stopping & { readonly begin: Effect.Effect<void> } => {
  const begun = Deferred.makeUnsafe<void>()
  let isNow = false
  return {
    isNow: () => isNow,
    begun: Deferred.await(begun),
    begin: Effect.suspend(() => {
      isNow = true
      return Effect.asVoid(Deferred.succeed(begun, undefined))
    })
  }
}

/**
 * Headers of an answer that may take long. One that ends after the server has closed its idle connections would leave another of those, for which the
 * stop waits until the client gives it up: who ends it is said at its beginning, as later is too late.
 */
export const lasting = (stopping: Stopping | undefined): Readonly<Record<string, string>> =>
  stopping === undefined ? {} : { connection: "close" }

/** A stream that ends, as if that was all, when it begins. */
export const untilThen = <A, E, R>(
  stream: Stream.Stream<A, E, R>,
  stopping: Stopping | undefined
): Stream.Stream<A, E, R> => (stopping === undefined ? stream : Stream.interruptWhen(stream, stopping.begun))
