/**
 * A folder that the FileSystemClient of s3db.js has written, as a store that can only be read: what `S3dbJs.open` takes for databases under `file://`.
 *
 * **Details**
 *
 * An object is a file, and a file beside it that ends in `.meta.json` has its metadata. What has no such file beside it and is a backup (`.bak`), a
 * write that was never finished (`.tmp.…`) or the journal is no object. Bodies that were compressed are brought back; one that is of another write than
 * its metadata is told as `Corrupt`. What has expired and was not swept yet is read.
 *
 * Nothing outside the folder is read, whatever keys and links say.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import * as Schema from "effect/Schema"
import { compareUtf8 } from "../internal/text.ts"
import { engine } from "../kernel/internal/compression.ts"
import { inJavaScript as digests } from "../storage/internal/digestsInJavaScript.ts"
import * as rules from "../storage/internal/storeRules.ts"
import {
  type ListEntry,
  type ListRequest,
  localCapabilities,
  maxKeysPerRequest,
  type ObjectHead,
  ObjectStore,
  type StoredObject
} from "../storage/ObjectStore.ts"
import * as RestrictedStore from "../storage/RestrictedStore.ts"
import {
  AccessDenied,
  Corrupt,
  InvalidArgument,
  NoSuchKey,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Unavailable,
  Unexpected
} from "../storage/StoreError.ts"

/**
 * Where the old database is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The folder that the old connection string named, or `basePath`. For a `keyPrefix` put `PrefixedStore` above. */
  readonly path: string
  /** The most bytes of a body that is brought back from its compression. Default: 256 MiB. */
  readonly maxBytes?: number | undefined
}

const Sidecar = Schema.fromJsonString(
  Schema.Struct({
    metadata: Schema.optional(Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown))),
    contentType: Schema.optional(Schema.NullOr(Schema.String)),
    contentEncoding: Schema.optional(Schema.NullOr(Schema.String)),
    etag: Schema.optional(Schema.NullOr(Schema.String)),
    lastModified: Schema.optional(Schema.NullOr(Schema.String)),
    size: Schema.optional(Schema.NullOr(Schema.Number)),
    originalSize: Schema.optional(Schema.NullOr(Schema.Number)),
    compressed: Schema.optional(Schema.NullOr(Schema.Boolean))
  })
)

const metaSuffix = ".meta.json"
const isLeftover = /(\.bak|\.tmp\.\d+\.[A-Za-z0-9]+|^operations\.journal)$/
const isMd5 = /^[0-9a-f]{32}$/

/** A name in a directory: `part` is what it adds to a key, so that the order of parts is that of keys. */
interface Entry {
  readonly name: string
  readonly part: string
  readonly isFile: boolean
}

const reasonOf = (error: PlatformError, key: string): Reason => {
  switch (error.reason._tag) {
    case "NotFound":
      return new NoSuchKey({ description: `there is no object ${JSON.stringify(key)}` })
    case "PermissionDenied":
      return new AccessDenied({ description: "the permissions of the folder do not allow to read this" })
    case "Busy":
    case "TimedOut":
    case "WouldBlock":
      return new Unavailable({ description: error.message, sent: true })
    default:
      return new Unexpected({ description: error.message })
  }
}

const outside = new AccessDenied({
  code: "Restricted",
  description: "a link leads out of the folder, or round in it: what is there is not read"
})

/**
 * Opens the folder. It can only be read: whatever writes fails with `AccessDenied` (code `Restricted`). Fails with `InvalidArgument` of an empty path
 * or a file, `NoSuchKey` where there is no such folder, `AccessDenied`.
 *
 * Reads: `get` and `head` 1 sidecar each, `get` also the body; a page of `list` the directories that it has keys of, and with `keysOnly: false` each
 * sidecar. A listing that was begun goes on with the names that its last directory had then.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("S3dbJsFolder.make")(function* ({
  maxBytes = 256 * 1024 * 1024,
  path: given
}: Options): Effect.fn.Return<ObjectStore["Service"], StoreError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const fail = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })
  const invalid = (description: string) => fail("open", "", new InvalidArgument({ argument: "path", description }))
  if (given === "" || given.includes("\0")) return yield* invalid("a folder is missing: write ./data, for example")
  const opening = Effect.mapError((error: PlatformError) =>
    error.reason._tag === "NotFound"
      ? fail("open", "", new NoSuchKey({ description: `there is no folder ${given}` }))
      : fail("open", "", reasonOf(error, ""))
  )
  const root = yield* opening(fs.realPath(given))
  if ((yield* opening(fs.stat(root))).type !== "Directory") return yield* invalid(`${given} is no folder`)

  const isBelow = (real: string) => real === root || real.startsWith(root.endsWith(path.sep) ? root : root + path.sep)

  /** The names from the root to a file, or why a key can have none. */
  const namesOf = (key: string): ReadonlyArray<string> | Reason => {
    const problem = rules.checkKey(key)
    if (problem !== undefined) return problem
    const names = key.split("/")
    const isStrange = (name: string) =>
      name === "" || name === "." || name === ".." || name.includes("\0") || (path.sep === "\\" && /[\\:]/.test(name))
    return names.some(isStrange)
      ? new InvalidArgument({
          argument: "key",
          description: `${JSON.stringify(key)} is no key of a file in the folder`
        })
      : names
  }

  const readBelow = Effect.fnUntraced(function* (operation: Operation, key: string, file: string) {
    const onDisk = Effect.mapError((error: PlatformError) => fail(operation, key, reasonOf(error, key)))
    const real = yield* onDisk(fs.realPath(file))
    if (!isBelow(real)) return yield* fail(operation, key, outside)
    return yield* onDisk(fs.readFile(real))
  })

  const sidecarOf = Effect.fnUntraced(function* (operation: Operation, key: string) {
    const names = namesOf(key)
    if (!Array.isArray(names)) return yield* fail(operation, key, names as Reason)
    const file = path.join(root, ...names)
    const damaged = (problem: string) =>
      fail(operation, key, new Corrupt({ description: `object ${JSON.stringify(key)}: ${problem}` }))
    const bytes = yield* readBelow(operation, key, file + metaSuffix).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", (_, error) =>
        // Written in part: the body is there, and what it is of is not.
        Effect.flatMap(
          Effect.orElseSucceed(fs.stat(file), () => undefined),
          (info) => Effect.fail(info?.type === "File" ? damaged(`the file ${metaSuffix} beside it is missing`) : error)
        )
      )
    )
    const found = yield* Effect.mapError(Schema.decodeUnknownEffect(Sidecar)(new TextDecoder().decode(bytes)), () =>
      damaged(`the file ${metaSuffix} beside it is damaged`)
    )
    const metadata = Object.fromEntries(
      Object.entries(found.metadata ?? {}).flatMap(([name, value]) =>
        typeof value === "string" || typeof value === "number" || typeof value === "boolean"
          ? [[name, String(value)] as const]
          : []
      )
    )
    const time = Date.parse(found.lastModified ?? "")
    const isCompressed = found.compressed === true
    const head: ObjectHead = {
      key,
      etag: found.etag ?? "",
      size: (isCompressed ? found.originalSize : undefined) ?? found.size ?? 0,
      metadata,
      contentType: found.contentType ?? "application/octet-stream",
      contentEncoding: found.contentEncoding ?? undefined,
      lastModified: Number.isNaN(time) ? 0 : time
    }
    return { file, head, damaged, isCompressed }
  })

  const read = Effect.fnUntraced(function* (key: string): Effect.fn.Return<StoredObject, StoreError> {
    const { damaged, file, head, isCompressed } = yield* sidecarOf("get", key)
    const stored = yield* Effect.catchReason(readBelow("get", key, file), "StoreError", "NoSuchKey", () =>
      Effect.fail(damaged("its body is missing"))
    )
    // A crash between the two leaves the body of one write and the metadata of another.
    if (isMd5.test(head.etag) && digests.md5Hex(stored) !== head.etag) {
      return yield* damaged("its body and its metadata are of different writes, or were altered")
    }
    if (!isCompressed) return { ...head, size: stored.length, body: stored }
    const body = yield* Effect.mapError(engine.decompress("gzip", stored, maxBytes), (failure) =>
      damaged(failure === "longer" ? `its body has more than ${maxBytes} bytes` : "its body does not decompress")
    )
    return { ...head, size: body.length, body }
  })

  /** What the last page of a listing stopped in. */
  let kept: { readonly directory: string; readonly entries: ReadonlyArray<Entry> } | undefined

  const entriesOf = Effect.fnUntraced(function* (directory: string, base: string, goesOn: boolean) {
    if (goesOn && kept?.directory === directory) return kept.entries
    const onDisk = Effect.mapError((error: PlatformError) => fail("list", base, reasonOf(error, base)))
    const listed = yield* onDisk(fs.readDirectoryEntries(directory)).pipe(
      // Removed since the one above was read.
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed([]))
    )
    const names = new Set(listed.map(({ name }) => name))
    const entries: Array<Entry> = []
    for (const { name, type } of listed) {
      const hasMeta = names.has(name + metaSuffix)
      if (!hasMeta && name.endsWith(metaSuffix) && names.has(name.slice(0, -metaSuffix.length))) continue
      let kind = type
      if (kind === "SymbolicLink" || kind === "Unknown") {
        const target = path.join(directory, name)
        const real = yield* Effect.result(fs.realPath(target))
        // It leads nowhere.
        if (real._tag === "Failure") continue
        if (!isBelow(real.success)) return yield* fail("list", base + name, outside)
        kind = (yield* onDisk(fs.stat(target))).type
        // Round in the folder, or to what is listed anyway.
        if (kind === "Directory" && real.success !== target) return yield* fail("list", base + name, outside)
      }
      if (kind === "Directory") entries.push({ name, part: `${name}/`, isFile: false })
      else if (kind === "File" && (hasMeta || !(isLeftover.test(name) || name.endsWith(metaSuffix)))) {
        entries.push({ name, part: name, isFile: true })
      }
    }
    entries.sort((a, b) => compareUtf8(a.part, b.part))
    kept = { directory, entries }
    return entries
  })

  interface Listed {
    /** A key, or a common prefix. */
    readonly name: string
    readonly isGroup: boolean
  }

  const list = Effect.fnUntraced(function* (request: ListRequest = {}) {
    const { delimiter = "", maxKeys = maxKeysPerRequest, prefix = "", startAfter = "" } = request
    const problem = rules.checkList(request) ?? rules.readToken(request)
    if (typeof problem === "object") return yield* fail("list", prefix, problem)
    const position = problem?.slice(1) ?? ""
    const done = problem?.startsWith("p") === true ? position : undefined
    const after = compareUtf8(position, startAfter) > 0 ? position : startAfter
    const found: Array<Listed> = []
    const groupOf = (name: string): string | undefined => {
      const at = delimiter === "" ? -1 : name.indexOf(delimiter, prefix.length)
      return at < 0 ? undefined : name.slice(0, at + delimiter.length)
    }
    const visit = Effect.fnUntraced(function* (directory: string, base: string): Effect.fn.Return<void, StoreError> {
      for (const { isFile, name, part } of yield* entriesOf(directory, base, problem !== undefined)) {
        if (found.length > maxKeys) return
        const here = base + part
        if (isFile) {
          if (!here.startsWith(prefix) || compareUtf8(here, after) <= 0) continue
          if (done !== undefined && here.startsWith(done)) continue
          const group = groupOf(here)
          if (group === undefined) found.push({ name: here, isGroup: false })
          else if (found.at(-1)?.name !== group) found.push({ name: group, isGroup: true })
          continue
        }
        if (!here.startsWith(prefix) && !prefix.startsWith(here)) continue
        if (compareUtf8(here, after) < 0 && !after.startsWith(here)) continue
        if (done !== undefined && here.startsWith(done)) continue
        const group = here.startsWith(prefix) ? groupOf(here) : undefined
        if (group !== undefined && found.at(-1)?.name === group) continue
        yield* visit(path.join(directory, name), here)
      }
    })
    yield* visit(root, "")
    const shown = found.slice(0, maxKeys)
    const last = shown.at(-1)
    const nextToken =
      found.length > maxKeys && last !== undefined
        ? rules.makeToken(request, `${last.isGroup ? "p" : "k"}${last.name}`)
        : undefined
    const keys = shown.flatMap(({ isGroup, name }) => (isGroup ? [] : [name]))
    const commonPrefixes = shown.flatMap(({ isGroup, name }) => (isGroup ? [name] : []))
    if (request.keysOnly === true) return { entries: keys.map((key) => ({ key })), commonPrefixes, nextToken }
    const entries = yield* Effect.forEach(
      keys,
      (key) =>
        sidecarOf("list", key).pipe(
          Effect.map(({ head: { etag, lastModified, size } }): ListEntry => ({ key, etag, lastModified, size })),
          // What is damaged is listed, so that it can be found.
          Effect.catchReason("StoreError", "Corrupt", () => Effect.succeed<ListEntry>({ key }))
        ),
      { concurrency: 8 }
    )
    return { entries, commonPrefixes, nextToken }
  })

  const unmet = new PreconditionFailed({ description: "the object has another ETag" })
  const refuse = () => Effect.die(new Error("what writes is refused before it"))
  return RestrictedStore.make({
    location: `file:${root}`,
    capabilities: localCapabilities,
    adopt: () => Effect.void,
    get: Effect.fnUntraced(function* (key, { ifMatch, range } = {}) {
      const wrong = rules.checkRange(range)
      if (wrong !== undefined) return yield* fail("get", key, wrong)
      const object = yield* read(key)
      if (ifMatch !== undefined && ifMatch !== object.etag) return yield* fail("get", key, unmet)
      if (range === undefined) return object
      const part = rules.resolveRange(range, object.size)
      if (!("start" in part)) return yield* fail("get", key, part)
      return { ...object, body: object.body.subarray(part.start, part.end + 1) }
    }),
    head: (key) => Effect.map(sidecarOf("head", key), ({ head }) => head),
    list,
    put: refuse,
    delete: refuse,
    // Of no keys there is nothing to refuse.
    deleteMany: () => Effect.succeed({ deleted: [], failed: [] }),
    copy: refuse
  })
})

/**
 * Provides the folder as a store. Bind the result to a constant: each call makes a layer of its own. Fails as `make` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<ObjectStore, StoreError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(ObjectStore, make(options))
