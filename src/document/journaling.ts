/**
 * What a journal asks of documents: which version counts at a key, and that what deletions have left is removed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Document from "../Document.ts"
import type * as Journal from "../kernel/Journal.ts"
import type { Capabilities, ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as documentObject from "./documentObject.ts"

const keyOf = (resource: string, id: string) =>
  Effect.mapError(
    Effect.fromResult(Document.key(resource, id)),
    (description) =>
      new StoreError.StoreError({
        operation: "get",
        reason: new StoreError.InvalidArgument({ argument: "id", description })
      })
  )

/**
 * Makes what a journal asks of the documents of a database. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], capabilities: Capabilities): Journal.Documents => {
  const place = (resource: string): documentObject.Place => ({ store, capabilities, resource })
  return {
    head: Effect.fnUntraced(function* (resource, id) {
      const key = yield* keyOf(resource, id)
      const slot = yield* documentObject.load(place(resource), key, id)
      if (slot === undefined) return { identity: undefined, ancestors: [] }
      const { isPending, stored } = yield* documentObject.current(place(resource), key, id, slot)
      if (stored !== undefined) return { identity: Document.identityOf(stored), ancestors: stored.ancestors }
      // Nothing counts: a tombstone, by itself or below an intent, or the one that an intent is about to leave.
      const { intent } = slot
      if (intent === undefined) return { identity: Document.identityOf(slot), ancestors: slot.ancestors }
      const isDeleted = !isPending && intent.next === undefined && slot.stored !== undefined
      return { identity: isDeleted ? intent.tombstone : intent.over, ancestors: slot.ancestors }
    }),
    sweep: Effect.fnUntraced(function* ({ id, resource, writeId }) {
      if (!capabilities.conditionalDelete) return
      const key = yield* keyOf(resource, id)
      const slot = yield* documentObject.load(place(resource), key, id)
      if (slot?.deletion === undefined || Document.identityOf(slot) !== writeId) return
      yield* documentObject.keepDeletion(place(resource), id, slot.deletion)
      yield* store.delete(key, { ifMatch: slot.etag }).pipe(
        Effect.catchReasons("StoreError", {
          // The id is in use again.
          PreconditionFailed: () => Effect.void,
          NoSuchKey: () => Effect.void
        })
      )
    })
  }
}
