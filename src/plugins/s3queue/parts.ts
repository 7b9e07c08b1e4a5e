/**
 * The parts of a queue, as one process has them: those it has opened are kept, and what nobody names any more is removed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as partsOf from "../../kernel/internal/parts.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import { cacheBytes } from "./bounds.ts"
import { type Failure, PartTooOld, Stale } from "./models.ts"
import * as State from "./state.ts"

/**
 * The parts of a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parts {
  /** Opens parts: 1 GET, or none for those that are kept. */
  readonly reader: State.Reader<Failure>
  /** Keeps what is in a part that was just put. */
  readonly keep: (name: string, messages: ReadonlyArray<State.Message>, bytes: number) => void
  /** Lets go of parts that were kept. */
  readonly forget: (names: ReadonlyArray<string>) => void
  /** Puts a part, and gives its name. 1 PUT. */
  readonly put: (generation: number, bytes: Uint8Array) => Effect.Effect<string, StoreError.StoreError>
  /** Removes parts beside the work: those that no version names any more, and none ever will, each being named by one change, which is over. */
  readonly remove: (names: ReadonlyArray<string>) => Effect.Effect<void | Fiber.Fiber<void>>
  /** Removes those that nobody names, of generations below a floor, and gives their number. */
  readonly collect: (floor: number, named: ReadonlySet<string>) => Effect.Effect<number, StoreError.StoreError>
  /** Fails where a part may be collected at any moment. */
  readonly checkAge: (draft: State.Draft, name: string) => Effect.Effect<void, PartTooOld>
  /** The error of what cannot be put into the queue. */
  readonly unwritable: (reason: StoreError.Reason) => StoreError.StoreError
}

/**
 * Creates the parts of a queue. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly store: ObjectStore["Service"]
  readonly prefix: string
  /** That of the object of the queue. */
  readonly key: string
  /** What is removed beside the work is until it closes. */
  readonly scope: Scope.Scope
}): Parts => {
  const { key, prefix, scope, store } = options
  const parts = partsOf.make(store, prefix)

  const opened = new Map<string, { readonly messages: ReadonlyArray<State.Message>; readonly bytes: number }>()
  const openedIds = new Map<string, ReadonlyMap<string, State.Remembered>>()
  let openedBytes = 0

  const keep = (name: string, messages: ReadonlyArray<State.Message>, bytes: number) => {
    opened.set(name, { messages, bytes })
    openedBytes += bytes
    for (const [oldest, { bytes: size }] of opened) {
      if (openedBytes <= cacheBytes || oldest === name) break
      opened.delete(oldest)
      openedBytes -= size
    }
  }

  /** A part that is gone was named by a state that is over. */
  const bytesOf = (name: string): Effect.Effect<Uint8Array, Failure> =>
    Effect.catchReason(parts.get(name), "StoreError", "NoSuchKey", (_, error) => Effect.fail(new Stale(error)))

  const unwritable = (reason: StoreError.Reason) => new StoreError.StoreError({ operation: "put", key, reason })

  const unreadable = (name: string) => (reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation: "get", key: parts.keyOf(name), reason })

  const reader: State.Reader<Failure> = {
    open: Effect.fnUntraced(function* ({ k, p }) {
      const cached = opened.get(p)
      if (cached !== undefined) return cached.messages
      const bytes = yield* bytesOf(p)
      const messages = yield* Effect.mapError(Effect.fromResult(State.decodePart(bytes)), unreadable(p))
      if (messages.length !== k) {
        return yield* unreadable(p)(
          new StoreError.Corrupt({ description: "a part of a queue has not all its messages" })
        )
      }
      keep(p, messages, bytes.length)
      return messages
    }),
    openIds: Effect.fnUntraced(function* ({ p }) {
      const cached = openedIds.get(p)
      if (cached !== undefined) return cached
      const bytes = yield* bytesOf(p)
      const ids = yield* Effect.mapError(Effect.fromResult(State.decodeIdPart(bytes)), unreadable(p))
      const byDigest = new Map(ids.map((id) => [id[0], id]))
      openedIds.set(p, byDigest)
      return byDigest
    })
  }

  const checkAge = (draft: State.Draft, name: string) =>
    partsOf.generationOf(name) < draft.floor ? Effect.fail(new PartTooOld()) : Effect.void

  /** Parts that no version names any more, and none ever will: each is named by one change, which is over. */
  const removeParts = (names: ReadonlyArray<string>) =>
    names.length === 0
      ? Effect.void
      : Effect.forkIn(
          Effect.catch(parts.remove(names), (error) =>
            Effect.logDebug(`${names.length} parts of ${prefix} are left to be collected`, error)
          ),
          scope
        )

  const forgetOpened = (names: ReadonlyArray<string>) => {
    for (const name of names) {
      openedBytes -= opened.get(name)?.bytes ?? 0
      opened.delete(name)
      openedIds.delete(name)
    }
  }

  return {
    reader,
    keep,
    forget: forgetOpened,
    put: parts.put,
    remove: removeParts,
    collect: parts.collect,
    checkAge,
    unwritable
  }
}
