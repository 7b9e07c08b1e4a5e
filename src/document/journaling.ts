/**
 * What a journal asks of documents: which version counts at a key, and that what deletions have left is removed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Document from "../Document.ts"
import type * as Journal from "../kernel/Journal.ts"
import type { Capabilities, ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
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

/** The identity of what a transaction has announced: a version, or the tombstone of a deletion. */
const announced = (key: string, id: string, { etag, stored }: Document.Slot, intent: Document.Intent) => {
  const next = Document.fromIntent(key, etag, intent)
  if (Result.isFailure(next)) return Effect.fail(documentObject.corrupt(key, id, next.failure))
  if (next.success !== undefined) return Effect.succeed(Document.identityOf(next.success))
  // There may have been nothing to delete.
  return Effect.succeed(stored === undefined ? intent.over : intent.tombstone)
}

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
      let slot = yield* documentObject.load(place(resource), key, id)
      for (;;) {
        if (slot === undefined) return { identity: undefined, ancestors: [] }
        const { ancestors, intent, stored } = slot
        const before: Journal.Head = {
          identity: intent !== undefined && stored === undefined ? intent.over : Document.identityOf(stored ?? slot),
          ancestors
        }
        if (intent === undefined) return before
        const outcome = yield* Transaction.outcomeOf(store, intent.transaction)
        if (outcome === "pending") return before
        if (outcome === "committed") return { identity: yield* announced(key, id, slot, intent), ancestors }
        // Its record may be gone because it is over, and committed: then its intent is gone, too.
        const again: Document.Slot | undefined = yield* documentObject.load(place(resource), key, id)
        if (again?.etag === slot.etag) return before
        slot = again
      }
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
