/**
 * The smallest document layer that follows the protocol of the journal: documents that hold nothing but their identity, changed by
 * compare-and-set, deleted by tombstones.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import type * as Journal from "effect-s3db/kernel/Journal"
import { getOption, listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"

type Store = ObjectStore["Service"]

export interface Stored {
  readonly resource: string
  readonly id: string
  readonly writeId: string
  readonly previous: string | undefined
  readonly ancestors: ReadonlyArray<string>
  readonly isTombstone: boolean
}

const start = "doc/"
const keyOf = (resource: string, id: string): string =>
  `${start}${encodeURIComponent(resource)}/${encodeURIComponent(id)}`

const read = (store: Store, resource: string, id: string) =>
  Effect.map(
    getOption(store, keyOf(resource, id)),
    Option.map(({ body, etag }) => ({ etag, stored: JSON.parse(new TextDecoder().decode(body)) as Stored }))
  )

/** `deletesOnCondition`: otherwise tombstones stay until the id is used again. */
export const documents = (store: Store, deletesOnCondition = true): Journal.Documents => ({
  head: (resource, id) =>
    Effect.map(
      read(store, resource, id),
      Option.match({
        onNone: () => ({ identity: undefined, ancestors: [] }),
        onSome: ({ stored }) => ({ identity: stored.writeId, ancestors: stored.ancestors })
      })
    ),
  sweep: Effect.fnUntraced(function* ({ id, resource, writeId }) {
    if (!deletesOnCondition) return
    const found = yield* read(store, resource, id)
    if (Option.isNone(found) || !found.value.stored.isTombstone || found.value.stored.writeId !== writeId) return
    yield* store.delete(keyOf(resource, id), { ifMatch: found.value.etag }).pipe(
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.void,
        NoSuchKey: () => Effect.void
      })
    )
  })
})

/** Short pauses, so that much meets. */
export const quick = { firstPause: "20 millis", longestPause: "200 millis", lease: "400 millis" } as const

/** How a writer keeps the protocol, or breaks it. */
export type Order = "entry first" | "entry after the commit"

export interface WriteOptions {
  readonly resource?: string
  readonly kind?: "put" | "delete"
  readonly detail?: Journal.Detail
  readonly order?: Order
  readonly time?: number
}

/** Changes a document; `undefined` when another was first, too often. */
export const write = Effect.fnUntraced(function* (
  store: Store,
  client: Journal.Client,
  id: string,
  { detail, kind = "put", order = "entry first", resource = "r", time = 0 }: WriteOptions = {}
) {
  for (let attempt = 0; attempt < 4; attempt++) {
    const before = Option.getOrUndefined(yield* read(store, resource, id))
    const isThere = before !== undefined && !before.stored.isTombstone
    if (kind === "delete" && !isThere) return undefined
    const writeId = yield* Id.writeId
    const previous = before?.stored.writeId
    const announced = yield* client.announce(
      { resource, id, writeId, previous, time, kind: kind === "delete" ? "delete" : isThere ? "update" : "insert" },
      detail
    )
    if (order === "entry first") {
      const isPut = yield* Effect.result(store.put(announced.request))
      if (isPut._tag === "Failure") {
        if (isPut.failure.isRetryable) continue
        return yield* isPut.failure
      }
    }
    const ancestors = before === undefined ? [] : [before.stored.writeId, ...before.stored.ancestors].slice(0, 8)
    const stored: Stored = { resource, id, writeId, previous, ancestors, isTombstone: kind === "delete" }
    const outcome = yield* Effect.result(
      store.put({
        key: keyOf(resource, id),
        body: new TextEncoder().encode(JSON.stringify(stored)),
        ...(before === undefined ? { ifNoneMatch: "*" } : { ifMatch: before.etag })
      })
    )
    if (order !== "entry first" && outcome._tag === "Success") yield* store.put(announced.request)
    if (outcome._tag === "Success") {
      yield* client.committed(announced)
      return writeId
    }
    const { reason } = outcome.failure
    const isRefused =
      reason._tag === "NoSuchKey" || (reason._tag === "PreconditionFailed" && reason.afterUnknown !== true)
    if (!isRefused) return yield* outcome.failure
    yield* client.abandoned(announced)
    yield* store.delete(announced.pending.key, { repeatable: true })
  }
  return undefined
})

/** Takes note of each version that a store takes, in the order in which it does: by document. */
export const observed = (inner: Store) => {
  const versions = new Map<string, Array<string>>()
  const store: Store = {
    ...inner,
    put: (request) =>
      Effect.tap(inner.put(request), () =>
        Effect.sync(() => {
          if (!request.key.startsWith(start)) return
          const { id, resource, writeId } = JSON.parse(new TextDecoder().decode(request.body)) as Stored
          const name = JSON.stringify([resource, id])
          versions.set(name, [...(versions.get(name) ?? []), writeId])
        })
      )
  }
  return { store, versions }
}

/** What is wrong with records, if they have to be these versions. */
export const differences = (
  entries: ReadonlyArray<Journal.Entry>,
  versions: ReadonlyMap<string, ReadonlyArray<string>>
): ReadonlyArray<string> => {
  const found = new Map<string, Array<string>>()
  for (const { value } of entries) {
    const name = JSON.stringify([value.resource, value.id])
    found.set(name, [...(found.get(name) ?? []), value.writeId])
  }
  return [...new Set([...found.keys(), ...versions.keys()])].flatMap((name) => {
    const [is, should] = [(found.get(name) ?? []).join(), (versions.get(name) ?? []).join()]
    return is === should ? [] : [`${name}: journaled ${is || "nothing"}, committed ${should || "nothing"}`]
  })
}

/**
 * What is wrong with records by themselves: those of a document have to be a chain, from nothing to its head, each naming the one
 * before; after a deletion it may begin from nothing anew. Whatever a store has seen, a chain to the head is all of it.
 * `leavesRemains`: a life may begin from what a transaction that was aborted has left, which is no version.
 */
export const chainProblems = (
  entries: ReadonlyArray<Journal.Entry>,
  heads: ReadonlyMap<string, string | undefined>,
  leavesRemains = false
): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const journaled = new Set(entries.map(({ value }) => value.writeId))
  const last = new Map<string, Journal.Record>()
  for (const [i, { position, value }] of entries.entries()) {
    const name = JSON.stringify([value.resource, value.id])
    const before = last.get(name)
    if (position !== i) problems.push(`position ${position} is the ${i}th`)
    const mayBegin = before === undefined || before.kind === "delete"
    const isOfRemains = leavesRemains && mayBegin && value.previous !== undefined && !journaled.has(value.previous)
    const isNext = value.previous === undefined ? mayBegin : isOfRemains || value.previous === before?.writeId
    if (!isNext)
      problems.push(`${name}: ${value.writeId} follows ${value.previous ?? "nothing"}, not ${before?.writeId}`)
    if ((value.kind === "insert") !== mayBegin) problems.push(`${name}: ${value.writeId} is an ${value.kind}`)
    last.set(name, value)
  }
  for (const name of new Set([...last.keys(), ...heads.keys()])) {
    const [journaled, head] = [last.get(name), heads.get(name)]
    const isEnd = head === undefined ? journaled?.kind === "delete" : journaled?.writeId === head
    if (!isEnd) problems.push(`${name}: ends with ${journaled?.writeId}, but the head is ${head ?? "nothing"}`)
  }
  return problems
}

/** The identities of all documents. */
export const headsOf = Effect.fnUntraced(function* (store: Store) {
  const heads = new Map<string, string>()
  const keys = yield* Stream.runCollect(listAll(store, { prefix: start }))
  for (const { key } of keys) {
    const { body } = yield* store.get(key)
    const { id, resource, writeId } = JSON.parse(new TextDecoder().decode(body)) as Stored
    heads.set(JSON.stringify([resource, id]), writeId)
  }
  return heads
})
