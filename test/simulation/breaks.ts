/** Builds that are wrong on purpose, made by changing what a client sends: the simulation has to catch each. */
import * as Effect from "effect/Effect"
import * as Document from "effect-s3db/Document"
import type { ListPage, ObjectStore, PutRequest } from "effect-s3db/storage/ObjectStore"
import type { Version } from "./versions.ts"

type Store = ObjectStore["Service"]

const isDocument = (key: string): boolean => key.includes("/data/id=")
const isMarker = (key: string): boolean => key.includes("/partition=")
const isCompanion = (key: string): boolean => key.includes("/companion=")
const hasMembers = ({ body, key }: PutRequest): boolean =>
  isDocument(key) && body !== undefined && Document.membersIn(body) !== undefined

/** The members of a body as JSON has them, compressed or not. */
const bodyOf = (body: Uint8Array): Record<string, unknown> => {
  const { compressed, members } = Document.membersIn(body)!
  const z =
    compressed === undefined ? {} : { z: [compressed.size, Buffer.from(compressed.bytes).toString("base64")], a: false }
  return { ...(members as Record<string, unknown>), ...z }
}

const encoder = new TextEncoder()

/** What a client of a version sends instead. */
export type Break = (store: Store, version?: Version) => Store

const isPerson = (key: string): boolean => key.startsWith("resource=people/data/")

/** Changes the documents of two versions that a client of the older one sends. */
const asOlder =
  (change: (request: PutRequest, body: Record<string, unknown>) => PutRequest): Break =>
  (store, version) =>
    version !== "older"
      ? store
      : {
          ...store,
          put: (request) => {
            if (!isPerson(request.key) || !hasMembers(request)) return store.put(request)
            return store.put(change(request, bodyOf(request.body!)))
          }
        }

/** Sends some objects when the document is there, and not before it. */
export const late =
  (isLate: (key: string) => boolean): Break =>
  (store) => {
    const waiting: Array<PutRequest> = []
    return {
      ...store,
      put: (request) => {
        if (isLate(request.key)) {
          waiting.push(request)
          return Effect.succeed({ etag: "later" })
        }
        if (!isDocument(request.key)) return store.put(request)
        const markers = waiting.splice(0)
        return Effect.tap(store.put(request), () => Effect.forEach(markers, (marker) => store.put(marker)))
      }
    }
  }

export const breaks: Readonly<Record<string, Break>> = {
  /** Markers are sent when the document is there, and not before it. */
  "late-markers": late(isMarker),
  /** What keys were listed in a covering partition is remembered, and not asked for again for a while. */
  "remembered-keys": (store) => {
    const pages = new Map<string, { readonly page: ListPage; readonly left: number }>()
    return {
      ...store,
      list: (request) =>
        Effect.suspend(() => {
          const key = JSON.stringify(request)
          const known = pages.get(key)
          if (known !== undefined && known.left > 0) {
            pages.set(key, { ...known, left: known.left - 1 })
            return Effect.succeed(known.page)
          }
          return Effect.tap(store.list(request), (page) =>
            Effect.sync(() => {
              if (request?.prefix?.includes("/partition=cover/") === true) pages.set(key, { page, left: 3 })
            })
          )
        })
    }
  },
  /** Keys of companions are sent when the document is there, and not before it. */
  "late-companions": late(isCompanion),
  /** Entries of the journal are sent when the document is there, and not before it. */
  "late-entries": late((key) => key.startsWith("journal/pending/")),
  /** Documents do not name their keys of companions. */
  "unnamed-companions": (store) => ({
    ...store,
    put: (request) => {
      // What tells of a deletion has no members.
      if (!hasMembers(request)) return store.put(request)
      const { k: _, ...body } = bodyOf(request.body!)
      return store.put({ ...request, body: encoder.encode(JSON.stringify(body)) })
    }
  }),
  /** Documents have no write id, so that the ETag does not change with every write. */
  "no-write-id": (store) => ({
    ...store,
    put: (request) => {
      if (!hasMembers(request)) return store.put(request)
      const body = bodyOf(request.body!)
      return store.put({ ...request, body: encoder.encode(JSON.stringify({ ...body, w: "w", t: 0, p: [] })) })
    }
  }),
  /** Documents are written without a condition. */
  "blind-writes": (store) => ({
    ...store,
    put: ({ ifMatch, ...request }) =>
      isDocument(request.key) ? store.put(request) : store.put({ ...request, ifMatch })
  }),
  /** Reservations of unique values are written without a condition. */
  "blind-claims": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      request.key.includes("/unique=") ? store.put(request) : store.put({ ...request, ifMatch, ifNoneMatch })
  }),
  /** What became of a transaction is written without a condition. */
  "blind-commits": (store) => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      request.key.startsWith("transaction=") ? store.put(request) : store.put({ ...request, ifMatch, ifNoneMatch })
  }),
  /** A transaction whose record is gone makes it again when it is committed. */
  "recreated-commits": (store) => ({
    ...store,
    put: (request) => {
      if (!request.key.startsWith("transaction=") || request.ifMatch === undefined) return store.put(request)
      const { ifMatch: _, ...again } = request
      return Effect.catchReason(store.put(request), "StoreError", "NoSuchKey", () =>
        store.put({ ...again, ifNoneMatch: "*" })
      )
    }
  }),
  /** A deletion whose answer was lost is taken for one's own when the document is gone. */
  "guessed-deletions": (store) => ({
    ...store,
    capabilities: store.capabilities === undefined ? undefined : { ...store.capabilities, sureAnswers: true }
  }),
  /** Documents are deleted without a condition. */
  "blind-deletions": (store) => ({
    ...store,
    delete: (key, options) => (isDocument(key) ? store.delete(key) : store.delete(key, options))
  })
}

/** The same for two versions of a program: only where both are at work. */
export const breaksOfVersions: Readonly<Record<string, Break>> = {
  /** An older program forgets what a newer one finds its documents by. */
  "forgotten-indexes": asOlder((request, body) => {
    const { byTeam: _, byZip: __, ...markers } = (body["m"] ?? {}) as Record<string, unknown>
    const { u: ___, ...rest } = body
    return { ...request, body: encoder.encode(JSON.stringify({ ...rest, m: markers })) }
  }),
  /** An older program writes lists of what it knows alone. */
  "forgotten-parts": asOlder((request) => ({
    ...request,
    metadata: Object.fromEntries(
      Object.entries(request.metadata ?? {}).map(([name, text]) => [name, text.replaceAll(/,"y":"[^"]*"/g, "")])
    )
  }))
}
