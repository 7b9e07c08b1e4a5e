/**
 * Where the bytes of a file are.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import { Unreadable, type UnreadableReason } from "./errors.ts"

/**
 * Where the bytes of a file are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<out E = never, out R = never> {
  /** What errors call it by, and what tells its format by its ending. */
  readonly name: string
  readonly bytes: Stream.Stream<Uint8Array, E, R>
  /** How many there are, where that is known. */
  readonly size: number | undefined
  /** Whether `bytes` can be read again: a workbook is read twice. Where they cannot, one of up to `maxHeld` bytes is held in memory. */
  readonly isRepeatable: boolean
  /** Those from `start` up to `end`. Parquet is read by it; without it a file of up to `maxHeld` bytes is held in memory. */
  readonly read?: ((start: number, end: number) => Effect.Effect<Uint8Array, E, R>) | undefined
}

const stepBytes = 4 * 1_048_576

const reasons: Readonly<Record<string, UnreadableReason>> = { NotFound: "NotThere", PermissionDenied: "Denied" }

/**
 * Reads a file of this machine. `Unreadable`: it is not there, nobody may read it, or it is no file.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFile = Effect.fn("Importer.fromFile")(function* (
  path: string
): Effect.fn.Return<Source<Unreadable>, Unreadable, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const failed = (error: { readonly message: string; readonly reason: { readonly _tag: string } }) => {
    const reason = reasons[error.reason._tag] ?? "Failed"
    const description = {
      NotThere: "it cannot be read: it is not there; correct its path",
      Denied: "it cannot be read: you are not allowed to"
    }[reason as string]
    return new Unreadable({ file: path, reason, description: description ?? `it cannot be read: ${error.message}` })
  }
  const { size, type } = yield* Effect.mapError(fs.stat(path), failed)
  if (type === "Directory") {
    return yield* new Unreadable({ file: path, reason: "Failed", description: "it cannot be read: it is a folder" })
  }
  const bytes = Stream.mapError(fs.stream(path), failed)
  // A pipe or a device is read once, and has no size.
  if (type !== "File") return { name: path, bytes, size: undefined, isRepeatable: false }
  const read = (start: number, end: number) =>
    Effect.gen(function* () {
      const file = yield* fs.open(path)
      yield* file.seek(BigInt(start), "start")
      const found = new Uint8Array(end - start)
      let filled = 0
      while (filled < found.length) {
        const more = Number(yield* file.read(found.subarray(filled)))
        if (more === 0) break
        filled += more
      }
      return found.subarray(0, filled)
    }).pipe(Effect.scoped, Effect.mapError(failed))
  return { name: path, bytes, size: Number(size), isRepeatable: true, read }
})

/**
 * Reads an object of a store, 4 MiB at a time, of one version: when it is replaced meanwhile, reading fails. 1 HEAD, and 1 GET for each 4 MiB.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromStore = Effect.fn("Importer.fromStore")(function* (
  store: ObjectStore["Service"],
  key: string
): Effect.fn.Return<Source<StoreError.StoreError>, StoreError.StoreError> {
  const { etag, size } = yield* store.head(key)
  const read = (start: number, end: number) =>
    end <= start
      ? Effect.succeed(new Uint8Array(0))
      : Effect.map(store.get(key, { range: { start, end: end - 1 }, ifMatch: etag }), ({ body }) => body)
  const starts = Array.from({ length: Math.ceil(size / stepBytes) }, (_, i) => i * stepBytes)
  const bytes = Stream.rechunk(Stream.fromIterable(starts), 1).pipe(
    Stream.mapEffect((start) => read(start, Math.min(size, start + stepBytes)))
  )
  return { name: key, bytes, size, isRepeatable: true, read }
})

/**
 * Reads what an address answers. `Unreadable`: it answers with an error, or not at all. 1 HEAD, which may fail, for the size; 1 GET each time it is
 * read. What is larger than its `Content-Length`, as a compressed answer, has no size.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUrl = Effect.fn("Importer.fromUrl")(function* (
  url: string | URL
): Effect.fn.Return<Source<Unreadable>, Unreadable, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const parsed = URL.canParse(String(url)) ? new URL(url) : undefined
  if (parsed === undefined) {
    return yield* new Unreadable({ file: String(url), reason: "NotThere", description: "it is no address" })
  }
  // Credentials and tokens are told to nobody.
  const name = `${parsed.protocol}//${parsed.host}${parsed.pathname}`
  const failed = (error: { readonly message: string }) =>
    new Unreadable({
      file: name,
      reason: "Failed",
      description: `it cannot be read: ${error.message.replaceAll(String(url), name)}`
    })
  const refused = ({ status }: HttpClientResponse.HttpClientResponse) =>
    new Unreadable({
      file: name,
      reason: status === 404 || status === 410 ? "NotThere" : status === 401 || status === 403 ? "Denied" : "Failed",
      description: `it cannot be read: the answer is ${status}`
    })
  const headers = yield* client.execute(HttpClientRequest.head(parsed)).pipe(
    Effect.map((response) => (response.status === 200 ? response.headers : undefined)),
    Effect.orElseSucceed(() => undefined)
  )
  const length = Number(headers?.["content-length"])
  const isPlain = headers !== undefined && headers["content-encoding"] === undefined
  const bytes = Stream.unwrap(
    Effect.gen(function* () {
      const response = yield* Effect.mapError(client.execute(HttpClientRequest.get(parsed)), failed)
      if (response.status !== 200) return yield* refused(response)
      return Stream.mapError(response.stream, failed)
    })
  )
  return { name, bytes, size: isPlain && length > 0 ? length : undefined, isRepeatable: true }
})

/**
 * Reads a stream, once: standard input, the body of a request. `name` is what errors call it by; its ending tells the format.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromStream = <E, R>(
  name: string,
  bytes: Stream.Stream<Uint8Array, E, R>,
  { size }: { readonly size?: number | undefined } = {}
): Source<E, R> => ({ name, bytes, size, isRepeatable: false })
