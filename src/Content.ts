/**
 * Binary content beside a document: an image, a PDF, a recording, of any size.
 *
 * **Details**
 *
 * Content lies in objects of its own, `resource=R/content/id=ID/c=RANDOM/p=00000` and so on, of 8 MiB each, under a name
 * that is never used again. The document points to it; setting the pointer, by compare-and-set, is what makes it the
 * content of the document. So a reader never sees a part of one and a part of another, a crash leaves at most objects that
 * no document points to, and an update of the document leaves its content alone.
 *
 * @since 0.1.0
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Stream from "effect/Stream"
import * as Id from "./crypto/Id.ts"
import type { ContentRef } from "./Document.ts"
import { percentDecode, percentEncode } from "./internal/text.ts"
import type { ObjectStore } from "./storage/ObjectStore.ts"
import { Corrupt, StoreError } from "./storage/StoreError.ts"

/**
 * The number of bytes in one object: 8 MiB. So much is held in memory at once.
 *
 * @category constants
 * @since 0.1.0
 */
export const partBytes = 8 * 1024 * 1024

/**
 * The content of a document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Content<E> {
  readonly contentType: string
  /** Bytes of the whole, also when a range was asked for. */
  readonly size: number
  /** SHA-256 of the whole, in hexadecimal. */
  readonly sha256: string
  /** The bytes, or the range of them. 1 GET for each 8 MiB, as they are drawn. */
  readonly bytes: Stream.Stream<Uint8Array, E>
}

/**
 * Bytes `start` to `end`, both included, counted from 0. Without `end`: to the last one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly start: number
  readonly end?: number | undefined
}

/**
 * Bytes on their way to the store, as interceptors see them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Input {
  readonly bytes: Stream.Stream<Uint8Array, SourceFailed>
  readonly contentType: string
}

/**
 * A failure of the stream that the caller gave. The caller gets that very error.
 *
 * @remedy Look at the error of your stream. Nothing was changed; set the content again.
 * @category errors
 * @since 0.1.0
 */
export class SourceFailed extends Data.TaggedError("SourceFailed")<{}> {}

type Store = ObjectStore["Service"]

const prefix = (resource: string, id: string, name: string): string =>
  `resource=${percentEncode(resource)}/content/id=${percentEncode(id)}/c=${name}/`

/**
 * Lists the keys of the objects that hold a content.
 *
 * @category keys
 * @since 0.1.0
 */
export const keysOf = (resource: string, id: string, { name, size }: ContentRef): ReadonlyArray<string> =>
  Array.from({ length: Math.max(1, Math.ceil(size / partBytes)) }, (_, part) => partKey(resource, id, name, part))

const partKey = (resource: string, id: string, name: string, part: number): string =>
  `${prefix(resource, id, name)}p=${String(part).padStart(5, "0")}`

/**
 * Tells what a key below `content/` belongs to.
 *
 * @category keys
 * @since 0.1.0
 */
export const parse = (key: string): { readonly id: string; readonly name: string } | undefined => {
  const match = /^resource=[^/]+\/content\/id=([^/]+)\/c=([^/]+)\/p=\d+$/.exec(key)
  const id = percentDecode(match?.[1] ?? "")
  return match === null || id === undefined ? undefined : { id, name: match[2]! }
}

/**
 * Writes bytes under a name of their own. 1 PUT for each 8 MiB, one after the other, so that no more than that is held.
 * What is written already when it fails, or is interrupted, is removed again.
 *
 * @category protocol
 * @since 0.1.0
 */
export const write = Effect.fnUntraced(function* <E, R>(
  store: Store,
  resource: string,
  id: string,
  bytes: Stream.Stream<Uint8Array, E, R>,
  contentType: string
): Effect.fn.Return<ContentRef, E | StoreError, R> {
  const name = yield* Id.writeId
  const hash = sha256.create()
  let buffer = new Uint8Array(0)
  let filled = 0
  let size = 0
  let part = 0
  const flush = Effect.suspend(() => {
    const body = buffer.slice(0, filled)
    filled = 0
    const key = partKey(resource, id, name, part)
    part += 1
    return store.put({ key, body, contentType, repeatable: true })
  })
  const upload = Stream.runForEach(bytes, (chunk) =>
    Effect.gen(function* () {
      hash.update(chunk)
      size += chunk.length
      for (let at = 0; at < chunk.length;) {
        const room = partBytes - filled
        const some = chunk.subarray(at, at + room)
        if (buffer.length < filled + some.length) {
          // Twice as large each time, so that little content takes little memory.
          const larger = new Uint8Array(Math.min(partBytes, Math.max(buffer.length * 2, filled + some.length)))
          larger.set(buffer.subarray(0, filled))
          buffer = larger
        }
        buffer.set(some, filled)
        filled += some.length
        at += some.length
        if (filled === partBytes) yield* flush
      }
    })
  )
  // Nobody will ever point to a part of it.
  const discard = Effect.suspend(() => {
    const keys = Array.from({ length: part }, (_, i) => partKey(resource, id, name, i))
    return keys.length === 0 ? Effect.void : Effect.ignore(store.deleteMany(keys, { repeatable: true }))
  })
  const rest = Effect.suspend(() => (filled > 0 || part === 0 ? Effect.asVoid(flush) : Effect.void))
  yield* Effect.onError(Effect.andThen(upload, rest), () => discard)
  return { name, size, contentType, sha256: Hex.encode(hash.digest()) }
})

/**
 * Reads the bytes of a content, or a range of them. Fails with `Corrupt` when the objects hold fewer bytes than were
 * written, or, at the end of the whole, when those are not the bytes that were written.
 *
 * @category protocol
 * @since 0.1.0
 */
export const read = (
  store: Store,
  resource: string,
  id: string,
  { name, size, sha256: expected }: ContentRef,
  { start, end = size - 1 }: Range = { start: 0 }
): Stream.Stream<Uint8Array, StoreError> => {
  const last = Math.min(end, size - 1)
  const corrupt = (part: number, description: string) =>
    Effect.fail(
      new StoreError({ operation: "get", key: partKey(resource, id, name, part), reason: new Corrupt({ description }) })
    )
  const parts = (first: number, count: number) =>
    Stream.range(first, first + count - 1).pipe(
      Stream.mapEffect((part) => {
        const from = part * partBytes
        const range = { start: Math.max(0, start - from), end: Math.min(partBytes - 1, last - from) }
        const isWhole = range.start === 0 && (range.end === partBytes - 1 || from + range.end === size - 1)
        const wanted = range.end - range.start + 1
        const key = partKey(resource, id, name, part)
        return Effect.flatMap(store.get(key, isWhole ? {} : { range }), ({ body }) =>
          body.length === wanted
            ? Effect.succeed(body)
            : corrupt(part, `the content has ${body.length} bytes here instead of ${wanted}`)
        )
      })
    )
  if (last < start) return Stream.empty
  const first = Math.floor(start / partBytes)
  const count = Math.floor(last / partBytes) - first + 1
  const bytes = parts(first, count)
  if (start > 0 || last < size - 1) return bytes
  return Stream.suspend(() => {
    const hash = sha256.create()
    const check = Effect.suspend(() =>
      Hex.encode(hash.digest()) === expected
        ? Effect.void
        : corrupt(0, "the bytes of the content are not those that were written")
    )
    return bytes.pipe(
      Stream.tap((chunk) => Effect.sync(() => hash.update(chunk))),
      Stream.concat(Stream.fromEffectDrain(check))
    )
  })
}
