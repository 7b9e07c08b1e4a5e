/**
 * Earlier versions of documents.
 *
 * **Details**
 *
 * Before a version is replaced or deleted, its object is copied under a key that says which one it is:
 * `resource=R/historical/id=ID/v=CREATED-VERSION/t=WRITTEN/w=WRITE`, times and numbers in base 36 with leading zeros, so that
 * versions are listed in the order of the compare-and-sets that made them. Two writers that replace the same version make
 * the same copy. A copy of what has not been replaced after all says no more than what is there, and is passed over. A
 * deletion leaves an empty object, `.../d=`, once it is done, so that a time at which there was no document can be told.
 *
 * @since 0.1.0
 */
import type { Write } from "./Document.ts"
import { percentDecode, percentEncode } from "./internal/text.ts"

/**
 * An earlier version, as its key tells of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly key: string
  readonly id: string
  /** When the document was inserted that this is a version of, milliseconds since the epoch. */
  readonly createdAt: number
  readonly version: number
  /** When it was written. */
  readonly writtenAt: number
  readonly writeId: string
  /** It is the end of the document, no version of it. */
  readonly isDeletion: boolean
}

/**
 * Returns what all keys of earlier versions of one document begin with, or, without an id, of all.
 *
 * @category keys
 * @since 0.1.0
 */
export const prefix = (resource: string, id?: string): string =>
  `resource=${percentEncode(resource)}/historical/${id === undefined ? "" : `id=${percentEncode(id)}/`}`

const digits = (value: number, width: number): string => Math.max(0, value).toString(36).padStart(width, "0")

const place = (resource: string, id: string, createdAt: number, version: number, writtenAt: number): string =>
  `${prefix(resource, id)}v=${digits(createdAt, 9)}-${digits(version, 6)}/t=${digits(writtenAt, 9)}`

/**
 * Returns the key of a version.
 *
 * @category keys
 * @since 0.1.0
 */
export const key = (resource: string, id: string, { createdAt, origin, version, writtenAt, writeId }: Write): string =>
  `${place(resource, id, createdAt, version, writtenAt)}/w=${origin ?? writeId}`

/**
 * Returns the key that tells when a document was deleted, after its last version.
 *
 * @category keys
 * @since 0.1.0
 */
export const deletionKey = (
  resource: string,
  id: string,
  last: Pick<Write, "createdAt" | "version" | "writeId">,
  deletedAt: number
): string => `${place(resource, id, last.createdAt, last.version + 1, deletedAt)}/d=${last.writeId}`

const pattern = /^resource=[^/]+\/historical\/id=([^/]+)\/v=([0-9a-z]+)-([0-9a-z]+)\/t=([0-9a-z]+)\/([wd])=([^/]+)$/

/**
 * Reads the version that a key stands for.
 *
 * @category keys
 * @since 0.1.0
 */
export const parse = (text: string): Entry | undefined => {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, encoded = "", createdAt = "", version = "", writtenAt = "", kind, writeId = ""] = match
  const id = percentDecode(encoded)
  if (id === undefined) return undefined
  return {
    key: text,
    id,
    createdAt: Number.parseInt(createdAt, 36),
    version: Number.parseInt(version, 36),
    writtenAt: Number.parseInt(writtenAt, 36),
    writeId,
    isDeletion: kind === "d"
  }
}

/**
 * Tells whether an entry, listed before the present version was read, is past: all are but the copy of that version, which
 * somebody is about to replace, or has meant to.
 *
 * @category getters
 * @since 0.1.0
 */
export const isPast = (entry: Entry, now: Pick<Write, "origin" | "writeId"> | undefined): boolean =>
  entry.isDeletion || entry.writeId !== (now?.origin ?? now?.writeId)

/**
 * Returns entries in the order in which they came about. What was inserted, and deleted, before comes before, as the store
 * received it: the clocks of two writers may differ by more than lies between. Within it the numbers of versions tell.
 *
 * @category combinators
 * @since 0.1.0
 */
export const inOrder = (
  entries: ReadonlyArray<Entry & { readonly storedAt: number }>,
  now: Pick<Write, "createdAt"> | undefined
): ReadonlyArray<Entry> => {
  const firstStored = new Map<number, number>()
  for (const { createdAt, storedAt } of entries) {
    firstStored.set(createdAt, Math.min(storedAt, firstStored.get(createdAt) ?? storedAt))
  }
  const isNow = ({ createdAt }: Entry) => (createdAt === now?.createdAt ? 1 : 0)
  return entries.toSorted(
    (a, b) =>
      isNow(a) - isNow(b) || firstStored.get(a.createdAt)! - firstStored.get(b.createdAt)! || (a.key < b.key ? -1 : 1)
  )
}
