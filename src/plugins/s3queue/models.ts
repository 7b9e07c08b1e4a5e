/**
 * What an engine of a queue is asked for, and what it answers.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as StoreClock from "../../kernel/StoreClock.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import type * as State from "./state.ts"

/**
 * Where a queue lies, and how this process works on it. Times are milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly store: ObjectStore["Service"]
  /** The beginning of all keys, without a slash at the end. */
  readonly prefix: string
  readonly clock: StoreClock.StoreClock
  /** How long this process may be silent before others take its messages. */
  readonly visibility: number
  readonly pollInterval: number
  readonly maxPollInterval: number
  /** How often a message is claimed before it is given up when its worker is lost. */
  readonly maxAttempts: () => number
  /** How long ids are remembered. */
  readonly memory: number
  /** Which messages of one priority this process claims first. */
  readonly order: State.Order
  /** Tells of messages that were taken from workers that were silent. */
  readonly onTaken: (flights: ReadonlyArray<State.Flight>) => Effect.Effect<void>
}

/**
 * A message that this process has claimed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claim {
  readonly number: number
  readonly token: number
  readonly message: State.Message
  /** JSON. */
  readonly payload: string
  /** Waits until the message is known to be somebody else's. */
  readonly lost: Effect.Effect<void>
}

/**
 * A message to be offered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offer {
  readonly message: Omit<State.Message, "s" | "o" | "d">
  /** Milliseconds before it may be claimed; 0 at once. */
  readonly delay: number
  /** What must not be there yet. */
  readonly keys: ReadonlyArray<string>
}

/**
 * A part that was put so long ago that it may be collected at any moment: it is put again.
 *
 * @category errors
 * @since 0.1.0
 */
export class PartTooOld {
  readonly _tag = "PartTooOld"
}

/**
 * What was decided by may have been over already: it is read again.
 *
 * @category errors
 * @since 0.1.0
 */
export class Stale {
  readonly _tag = "Stale"
  readonly cause: StoreError.StoreError | undefined
  constructor(cause?: StoreError.StoreError) {
    this.cause = cause
  }
}

/**
 * What a change of a queue fails with.
 *
 * @category errors
 * @since 0.1.0
 */
export type Failure = StoreError.StoreError | Stale

/**
 * What changes see of the world.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  readonly now: number
  readonly reader: State.Reader<Failure>
}

/**
 * What works on a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Engine {
  /** Offers messages, all in one change; whether each is new. */
  readonly offer: (offers: ReadonlyArray<Offer>) => Effect.Effect<ReadonlyArray<boolean>, StoreError.StoreError>
  /** Waits until there is a message, and claims up to so many. `take`, which is not interrupted, is responsible for them. */
  readonly claim: <A, E, R>(
    max: number,
    take: (claims: ReadonlyArray<Claim>) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, StoreError.StoreError | E, R>
  /** Claims up to so many messages, or none where none is there. `take` is not interrupted. */
  readonly claimNow: <A, E, R>(
    max: number,
    take: (claims: ReadonlyArray<Claim>) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, StoreError.StoreError | E, R>
  /** Ends a claim: `false` when it is not in force any more. Goes on trying while the store cannot be reached, but for a release. */
  readonly settle: (
    claim: Pick<Claim, "message" | "number" | "token">,
    outcome: State.Outcome
  ) => Effect.Effect<boolean, StoreError.StoreError>
  /** Says now that this process goes on: `false` when the claim is not in force any more. Goes on trying while the store cannot be reached. */
  readonly renew: (claim: Pick<Claim, "number" | "token">) => Effect.Effect<boolean, StoreError.StoreError>
  /** Makes the queue as if nothing had ever been in it, and gives 0; does nothing where messages are claimed, and gives their number, unless `claimed`. */
  readonly remove: (options: { readonly claimed: boolean }) => Effect.Effect<number, StoreError.StoreError>
  /** Changes the state. */
  readonly change: <A>(
    change: (draft: State.Draft, world: World) => Effect.Effect<A, Failure>
  ) => Effect.Effect<A, StoreError.StoreError>
  /** Reads the state. 1 GET. */
  readonly read: Effect.Effect<State.State, StoreError.StoreError>
  /** Reads something of a state. Parts that are gone since are a reason to read the state again. */
  readonly look: <A>(
    look: (state: State.State, world: World) => Effect.Effect<A, Failure>
  ) => Effect.Effect<A, StoreError.StoreError>
  /** The payload of a message. */
  readonly payloadOf: (state: State.Draft, message: State.Message, world: World) => Effect.Effect<string, Failure>
  /** Removes parts that nobody names, except since the collection before this one. Gives their number. */
  readonly collect: Effect.Effect<number, StoreError.StoreError>
  /** What is in the way of working on the queue at present. */
  readonly trouble: Effect.Effect<string | undefined>
  /** Waits until something of the queue is read or written without trouble. */
  readonly worked: Effect.Effect<void>
  /** Waits until nothing is left to be tidied up. */
  readonly tidied: Effect.Effect<void>
}
