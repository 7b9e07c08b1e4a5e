/**
 * The writer's side: gives entries their keys, remembers which of its writes are committed, and tells of it in later entries and to
 * a journaler in the same process.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../../crypto/Id.ts"
import type { PutRequest } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as Entry from "./journalEntry.ts"

/** An entry that is to be put. */
export interface Announced {
  readonly pending: Entry.Pending
  readonly request: PutRequest
}

export interface Client {
  readonly name: string
  readonly announce: (
    write: Entry.Write,
    detail?: Entry.Detail | undefined
  ) => Effect.Effect<Announced, StoreError.StoreError>
  readonly committed: (announced: Announced) => Effect.Effect<void>
  readonly abandoned: (announced: Announced) => Effect.Effect<void>
  /** Whether a write of this process is known to be committed. */
  readonly hasCommitted: (writeId: string) => boolean
  /** What the body of an entry of this process holds, as long as it is remembered. */
  readonly bodyOf: (writeId: string) => Entry.Body | undefined
  /** Forgets writes that are journaled. */
  readonly forget: (writeId: string) => void
  /** Calls a function at each commit, until the function that it gives is called. */
  readonly onCommit: (listener: () => void) => () => void
}

/** How many writes are remembered that no journaler of this process has settled. */
const mostRemembered = 10_000

/** How many bytes of bodies. */
const mostBytes = 16 * 1024 * 1024

export const make = Effect.fnUntraced(function* (place: Entry.Place): Effect.fn.Return<Client> {
  const name = yield* Id.randomOf(Entry.clientLength)
  const isOpen = new Map<
    string,
    { readonly body: Entry.Body | undefined; readonly size: number; isCommitted: boolean }
  >()
  const listeners = new Set<() => void>()
  let unacknowledged: ReadonlyArray<number> = []
  let next = 0
  let bytes = 0

  const forget = (writeId: string): void => {
    bytes -= isOpen.get(writeId)?.size ?? 0
    isOpen.delete(writeId)
  }

  const remember = (writeId: string, body: Entry.Body | undefined, size: number): void => {
    isOpen.set(writeId, { body, size, isCommitted: false })
    bytes += size
    for (const [oldest] of isOpen) {
      if (isOpen.size <= mostRemembered && bytes <= mostBytes) break
      forget(oldest)
    }
  }

  const refused = (argument: string, description: string) =>
    new StoreError.StoreError({
      operation: "put",
      key: Entry.clientFolder(place.prefix, name),
      reason: new StoreError.InvalidArgument({ argument, description })
    })

  const announce: Client["announce"] = (write, detail = {}) =>
    Effect.suspend(() => {
      const { id, previous, resource, time, writeId } = write
      for (const one of previous === undefined ? [writeId] : [writeId, previous]) {
        if (!Entry.isWriteId(one)) return refused("writeId", "Expected a write id of 8 to 64 letters, digits, - and _")
      }
      if (!Number.isSafeInteger(time)) return refused("time", "Expected whole milliseconds")
      for (const [argument, text] of Object.entries({ resource, id })) {
        if (text === "" || !text.isWellFormed()) return refused(argument, "Expected well-formed text, not empty")
      }
      const number = next
      const acknowledged = unacknowledged.slice(0, Entry.mostAcknowledged)
      const hasDetail = Object.values(detail).some((one) => one !== undefined)
      const { isInBody, key } = Entry.keyOf(place, write, { client: name, number, acknowledged }, hasDetail)
      const document = { resource, id }
      const hasBody = hasDetail || isInBody
      const made = hasBody ? Entry.bodyOf(detail, isInBody ? document : undefined) : undefined
      if (made !== undefined && Result.isFailure(made)) return refused("detail", made.failure)
      next += 1
      unacknowledged = unacknowledged.slice(acknowledged.length)
      const { bytes: content, value: body } = made?.success ?? { bytes: undefined, value: undefined }
      remember(writeId, body, content?.length ?? 0)
      return Effect.succeed<Announced>({
        pending: {
          key,
          client: name,
          number,
          writeId,
          previous,
          kind: write.kind,
          time,
          acknowledged,
          hasBody,
          document: isInBody ? undefined : document
        },
        request: {
          key,
          ...(content === undefined ? {} : { body: content, contentType: "application/json" }),
          // Once it is journaled it is removed, and must not come again.
          repeatable: false
        }
      })
    })

  return {
    name,
    announce,
    committed: ({ pending: { number, writeId } }) =>
      Effect.sync(() => {
        unacknowledged = [...unacknowledged, number]
        const open = isOpen.get(writeId)
        if (open !== undefined) open.isCommitted = true
        for (const listener of listeners) listener()
      }),
    abandoned: ({ pending: { writeId } }) => Effect.sync(() => forget(writeId)),
    hasCommitted: (writeId) => isOpen.get(writeId)?.isCommitted === true,
    bodyOf: (writeId) => isOpen.get(writeId)?.body,
    forget,
    onCommit: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
})
