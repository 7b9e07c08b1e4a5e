/**
 * An object store in memory that keeps to AWS's rules: the same limits, conditions, order and errors. For tests,
 * caches and trying things out; also able to imitate the ways in which other stores differ.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { copyOf, keep, type MemoryBody } from "./internal/memoryBody.ts"
import * as MemoryMetadata from "./internal/memoryMetadata.ts"
import { emptyTree, makeObjects, type Tree, treeOf } from "./internal/memoryObjects.ts"
import { checkChoice, checkCount, invalidOption } from "./internal/optionRules.ts"
import * as s3Digests from "./internal/s3Digests.ts"
import * as rules from "./internal/storeRules.ts"
import { compareUtf8 } from "../internal/text.ts"
import {
  type Capabilities,
  type CopyRequest,
  type DeleteOptions,
  localCapabilities,
  type GetOptions,
  type ListEntry,
  type ListPage,
  type ListRequest,
  maxKeysPerRequest,
  type Metadata,
  type ObjectHead,
  ObjectStore,
  type PutRequest
} from "./ObjectStore.ts"
import {
  AccessDenied,
  Corrupt,
  InvalidArgument,
  MetadataTooLarge,
  NoSuchKey,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Throttled,
  Unavailable,
  Unsupported
} from "./StoreError.ts"

/**
 * The store to imitate.
 *
 * - `aws`: S3 general purpose buckets, the default.
 * - `r2`: one write of a key in a second, 8,192 bytes of metadata.
 * - `rgw`: Ceph's gateway 16: `If-Match` understands only the unquoted ETag, conditions on DELETE and copies are
 *   ignored, `_` in metadata names becomes `-`, metadata has no limit of 2,048 bytes.
 * - `swift`: no `If-Match`, metadata values of at most 256 bytes.
 * - `express`: S3 Express: lists in no order, random ETags.
 * - `unconditional`: ignores every condition and says nothing about it.
 *
 * All but `aws` have to be probed. Sources: Cloudflare R2, Ceph, OpenStack Swift and Amazon S3 Express documentation, and
 * Ceph's gateway 16.2.15 as measured.
 *
 * @category models
 * @since 0.1.0
 */
export type Profile = "aws" | "r2" | "rgw" | "swift" | "express" | "unconditional"

/**
 * The store that is imitated, its size, and the file that it is kept in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default `aws`. */
  readonly profile?: Profile | undefined
  /** The most bytes of bodies to hold, at least 1; a write beyond it fails with `Unavailable`. Nothing is ever evicted. Default: no limit. */
  readonly maxBytes?: number | undefined
  /**
   * A file that is loaded at the start, when it exists, and saved when the scope closes. That it can be saved is tried at
   * the start. If it cannot be saved in the end, the scope dies of the `StoreError`; a program that wants to handle that
   * calls `saveToDisk` itself before it ends.
   */
  readonly persistPath?: string | undefined
}

const nothing = new Uint8Array(0)

interface Stored extends MemoryMetadata.MemoryMetadata {
  readonly body: MemoryBody
  readonly etag: string
  readonly contentType: string
  readonly contentEncoding: string | undefined
  /** S3 keeps whole seconds. A number of them takes no object of its own, one of milliseconds would. */
  readonly seconds: number
}

/**
 * The contents of a store at one moment. Taking and restoring one costs nothing: it shares what has not changed since.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly tree: Tree<Stored>
  readonly bytes: number
}

const PortableObject = Schema.Struct({
  key: Schema.String,
  body: Schema.Uint8ArrayFromBase64,
  etag: Schema.String,
  metadata: Schema.Record(Schema.String, Schema.String),
  contentType: Schema.String,
  contentEncoding: Schema.optionalKey(Schema.String),
  lastModified: Schema.Int
})

/**
 * The portable form of a snapshot: a JSON text that any machine can load.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PortableSnapshot = Schema.fromJsonString(
  Schema.Struct({ format: Schema.Literal("effect-s3db-memory/1"), objects: Schema.Array(PortableObject) })
)

/**
 * The means of a test to act on a store beyond its port.
 *
 * @category services
 * @since 0.1.0
 */
export class MemoryControl extends Context.Service<
  MemoryControl,
  {
    readonly snapshot: Effect.Effect<Snapshot>
    readonly restore: (snapshot: Snapshot) => Effect.Effect<void>
    readonly clear: Effect.Effect<void>
    readonly stats: Effect.Effect<{ readonly objects: number; readonly bytes: number }>
    /** Writes every object to a file, as a whole or not at all. `InvalidArgument`, `Unavailable`, `AccessDenied`. */
    readonly saveToDisk: (path: string) => Effect.Effect<void, StoreError>
    /** Replaces the contents by those of such a file. `NoSuchKey`: no such file. `Corrupt`: not a whole one. */
    readonly loadFromDisk: (path: string) => Effect.Effect<void, StoreError>
  }
>()("effect-s3db/storage/MemoryStore/MemoryControl") {}

/**
 * A store together with its control.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryStore {
  readonly store: ObjectStore["Service"]
  readonly control: MemoryControl["Service"]
}

/**
 * So many requests of one fiber after each other are carried out without a pause: where nobody else makes any, there is nobody to let
 * pass, and a pause costs more than the request.
 */
const requestsPerPause = 16

/** After so many reads without a write it is calm: who only reads cannot tell whether others have read in between. */
const readsUntilCalm = 16

/** Then so many reads follow each other without a pause, whoever makes them. */
const readsPerPause = 256

const metadataLimits: Record<Profile, number> = {
  aws: 2048,
  r2: 8192,
  rgw: 12_000,
  swift: 4096,
  express: 2048,
  unconditional: 2048
}

/** The smallest text that follows every text beginning with this one, if there is any. */
const successor = (prefix: string): string | undefined => {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10ffff) continue
    return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
  }
  return undefined
}

/**
 * Creates a store of its own, empty unless `persistPath` names a file that exists.
 *
 * Fails with `Corrupt` when that file cannot be read as a snapshot, `InvalidArgument` when an option cannot be (there is
 * no such folder, or it is no file), `AccessDenied` or `Unavailable` when the file cannot be read or written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<MemoryStore, StoreError, Scope.Scope> {
  const problem =
    checkCount("maxBytes", options.maxBytes, 1) ??
    checkChoice("profile", options.profile, metadataLimits) ??
    (options.persistPath === "" ? invalidOption("persistPath", "the path of a file is missing") : undefined)
  if (problem !== undefined) return yield* problem
  const { md5Hex: md5 } = yield* s3Digests.digests
  const profile = options.profile ?? "aws"
  const ordered = profile !== "express"
  const objects = makeObjects<Stored>(ordered)
  const state = { bytes: 0, form: "quoted" as Capabilities["etagForm"], writes: 0 }
  /** Who has made the last request, how many there were since the last pause, and whether others have made some of them. */
  const last = { fiber: 0, requests: 0, isShared: false }
  /** Since the last write. */
  let reads = 0
  const lastWrite = new Map<string, number>()

  const failure = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })

  const isTurnOver = (operation: Operation, fiber: number): boolean => {
    const isRead = operation === "get" || operation === "head" || operation === "list"
    const isOther = fiber !== last.fiber
    const goesOn =
      isRead && reads >= readsUntilCalm
        ? last.requests < readsPerPause
        : // A write lets those pass who have read, at once with who writes, what their own writes go by.
          !isOther && last.requests < requestsPerPause && (isRead || !last.isShared)
    last.isShared = goesOn && (last.isShared || isOther)
    last.requests = goesOn ? last.requests + 1 : 1
    last.fiber = fiber
    if (isRead) reads += 1
    return !goesOn
  }

  const answer = <A>(operation: Operation, key: string, result: A | Reason): Effect.Effect<A, StoreError> =>
    isReason(result) ? Effect.fail(failure(operation, key, result)) : Effect.succeed(result)

  /** One request: checked and carried out in one step, after a pause in which other fibers may run, if there may be some. */
  const request = <A>(
    operation: Operation,
    key: string,
    run: (fiber: Fiber.Fiber<unknown, unknown>) => A | Reason
  ): Effect.Effect<A, StoreError> =>
    Effect.withFiber((fiber) => {
      if (isTurnOver(operation, fiber.id))
        return Effect.flatMap(Effect.yieldNow, () => answer(operation, key, run(fiber)))
      return answer(operation, key, run(fiber))
    })

  const unmet = (description: string) => new PreconditionFailed({ description, status: 412 })
  const absent = (key: string) =>
    new NoSuchKey({ description: `there is no object ${JSON.stringify(key)}`, status: 404 })

  const checkMatch = (
    operation: "put" | "delete" | "copy",
    key: string,
    etag: string,
    found = objects.get(key)
  ): Reason | undefined => {
    if (profile === "unconditional") return undefined
    if (profile === "swift" && operation !== "copy") {
      return new Unsupported({ feature: "If-Match", description: "If-Match is not implemented", status: 501 })
    }
    if (profile === "rgw" && operation !== "put") return undefined
    if (profile === "rgw") {
      return state.form === "unquoted" && found?.etag === etag ? undefined : unmet("the object has another ETag")
    }
    if (found === undefined) return absent(key)
    return found.etag === etag ? undefined : unmet("the object has another ETag")
  }

  const checkConditions = (put: PutRequest, found: Stored | undefined): Reason | undefined => {
    if (put.ifMatch !== undefined) return checkMatch("put", put.key, put.ifMatch, found)
    return put.ifNoneMatch !== undefined && profile !== "unconditional" && found !== undefined
      ? unmet("the object exists")
      : undefined
  }

  const metadataRules = {
    areHeadersLimited: profile === "aws" || profile === "express",
    limit: metadataLimits[profile]
  }

  const checkProfile = (key: string, metadata: Metadata | undefined, now: number): Reason | undefined => {
    if (profile === "swift") {
      for (const [name, value] of Object.entries(metadata ?? {})) {
        if (value.length > 256 || name.length > 128) {
          const description = "a metadata value has at most 256 bytes, a name 128"
          return new MetadataTooLarge({ size: value.length, limit: 256, description })
        }
      }
    }
    if (profile === "r2") {
      const before = lastWrite.get(key)
      if (before !== undefined && now - before < 1000) {
        const description = "a key can be written once in a second"
        return new Throttled({ description, status: 429, retryAfterMillis: 1000 - (now - before) })
      }
    }
    return undefined
  }

  /** The metadata of a write as the store keeps it. */
  const keepMetadata = (key: string, metadata: Metadata | undefined): MemoryMetadata.MemoryMetadata | Reason => {
    const again = metadata === undefined ? undefined : MemoryMetadata.packedAgain(key, metadata)
    if (again !== undefined) return again
    const kept = rules.keepMetadata(key, metadata, metadataRules)
    if (isReason(kept)) return kept
    if (profile !== "rgw") return MemoryMetadata.packedAsked(kept)
    return MemoryMetadata.packedAsked(
      Object.fromEntries(Object.entries(kept).map(([name, value]) => [name.replaceAll("_", "-"), value]))
    )
  }

  /** Writes what is kept of an object, and of the bytes of its body their hash. */
  const write = (
    key: string,
    { body, contentEncoding, contentType, names, values }: Omit<Stored, "etag" | "seconds">,
    bytesOfBody: Uint8Array,
    found: Stored | undefined,
    now: number
  ): { etag: string } | Reason => {
    const bytes = state.bytes - (found === undefined ? 0 : found.body.length) + body.length
    if (options.maxBytes !== undefined && bytes > options.maxBytes) {
      const description = `the store is full: it holds ${state.bytes} of at most ${options.maxBytes} bytes`
      return new Unavailable({ description, sent: false })
    }
    state.writes += 1
    reads = 0
    const etag = profile === "express" ? md5(new TextEncoder().encode(`${key}\n${state.writes}`)) : md5(bytesOfBody)
    const seconds = Math.floor(now / 1000)
    objects.set(key, { body, etag, names, values, contentType, contentEncoding, seconds })
    state.bytes = bytes
    if (profile === "r2") lastWrite.set(key, now)
    return { etag }
  }

  const remove = (key: string): void => {
    reads = 0
    state.bytes -= objects.get(key)?.body.length ?? 0
    objects.delete(key)
  }

  const headOf = (key: string, object: Stored): ObjectHead => ({
    key,
    etag: object.etag,
    size: object.body.length,
    metadata: MemoryMetadata.unpacked(object),
    contentType: object.contentType,
    contentEncoding: object.contentEncoding,
    lastModified: object.seconds * 1000
  })

  const store: ObjectStore["Service"] = {
    location: `memory:${profile}`,
    capabilities: profile === "aws" ? localCapabilities : undefined,
    adopt: (capabilities) =>
      Effect.sync(() => {
        state.form = capabilities.etagForm
      }),
    put: (put) =>
      request("put", put.key, (fiber) => {
        const { contentEncoding, contentType = "application/octet-stream", key } = put
        const wrongKey = rules.checkKey(key)
        if (wrongKey !== undefined) return wrongKey
        const metadata = keepMetadata(key, put.metadata)
        if (isReason(metadata)) return metadata
        const now = timeOf(fiber)
        const found = objects.get(key)
        const problem =
          rules.checkPutHeaders(put) ?? checkProfile(key, put.metadata, now) ?? checkConditions(put, found)
        if (problem !== undefined) return problem
        const { names, values } = metadata
        const kept = { body: keep(put.body), names, values, contentType, contentEncoding }
        return write(key, kept, put.body ?? nothing, found, now)
      }),
    get: (key, get: GetOptions = {}) =>
      request("get", key, () => {
        const problem = rules.checkKey(key) ?? rules.checkRange(get.range)
        if (problem !== undefined) return problem
        const object = objects.get(key)
        if (object === undefined) return absent(key)
        if (get.ifMatch !== undefined && get.ifMatch !== object.etag) return unmet("the object has another ETag")
        if (get.range === undefined) {
          const { body, contentEncoding, contentType, etag, seconds } = object
          const metadata = MemoryMetadata.unpacked(object)
          const size = body.length
          const lastModified = seconds * 1000
          return { key, etag, size, metadata, contentType, contentEncoding, lastModified, body: copyOf(body) }
        }
        const range = rules.resolveRange(get.range, object.body.length)
        return "start" in range
          ? { ...headOf(key, object), body: copyOf(object.body, range.start, range.end + 1) }
          : range
      }),
    head: (key) =>
      request("head", key, () => {
        const problem = rules.checkKey(key)
        if (problem !== undefined) return problem
        const object = objects.get(key)
        return object === undefined ? absent(key) : headOf(key, object)
      }),
    delete: (key, { ifMatch }: DeleteOptions = {}) =>
      request("delete", key, () => {
        const problem = rules.checkKey(key) ?? (ifMatch === undefined ? undefined : checkMatch("delete", key, ifMatch))
        if (problem !== undefined) return problem
        return remove(key)
      }),
    deleteMany: Effect.fnUntraced(function* (keys) {
      const deleted: Array<string> = []
      const failed: Array<{ readonly key: string; readonly reason: Reason }> = []
      for (let start = 0; start < keys.length; start += maxKeysPerRequest) {
        yield* Effect.yieldNow
        for (const key of keys.slice(start, start + maxKeysPerRequest)) {
          const reason = rules.checkKey(key)
          if (reason !== undefined) failed.push({ key, reason })
          else {
            remove(key)
            deleted.push(key)
          }
        }
      }
      return { deleted, failed }
    }),
    copy: (copy: CopyRequest) =>
      request("copy", copy.from, (fiber) => {
        const now = timeOf(fiber)
        const { contentType = "application/octet-stream", from, ifSourceMatch, metadata, to } = copy
        const problem = rules.checkCopy(copy, metadataLimits[profile]) ?? checkProfile(to, metadata, now)
        if (problem !== undefined) return problem
        const kept = keepMetadata(to, metadata)
        if (isReason(kept)) return kept
        const source = objects.get(from)
        if (source === undefined) return absent(from)
        const unmatched = ifSourceMatch === undefined ? undefined : checkMatch("copy", from, ifSourceMatch, source)
        if (unmatched !== undefined) return unmatched
        const replaced = metadata === undefined ? source : { ...source, ...kept, contentType }
        return write(to, replaced, copyOf(source.body), objects.get(to), now)
      }),
    list: (list: ListRequest = {}) =>
      request("list", list.prefix ?? "", () => listPage(objects.sorted(), list, ordered))
  }

  const control: MemoryControl["Service"] = {
    snapshot: Effect.sync(() => ({ tree: objects.sorted().clone(), bytes: state.bytes })),
    restore: (snapshot) =>
      Effect.sync(() => {
        objects.restore(snapshot.tree)
        state.bytes = snapshot.bytes
      }),
    clear: Effect.sync(() => {
      objects.restore(emptyTree(ordered))
      state.bytes = 0
    }),
    stats: Effect.sync(() => ({ objects: objects.sorted().size, bytes: state.bytes })),
    saveToDisk: Effect.fnUntraced(function* (path) {
      const stored = Array.from(objects.sorted().entries(), ([key, object]) => ({
        key,
        etag: object.etag,
        contentType: object.contentType,
        lastModified: object.seconds * 1000,
        metadata: MemoryMetadata.unpacked(object),
        body: copyOf(object.body),
        ...(object.contentEncoding === undefined ? {} : { contentEncoding: object.contentEncoding })
      }))
      const text = yield* Effect.orDie(
        Schema.encodeEffect(PortableSnapshot)({ format: "effect-s3db-memory/1", objects: stored })
      )
      yield* saveFile(path, text)
    }),
    loadFromDisk: Effect.fnUntraced(function* (path) {
      const text = yield* loadFile(path)
      const snapshot = Schema.decodeUnknownResult(PortableSnapshot)(text)
      if (
        Result.isFailure(snapshot) ||
        !snapshot.success.objects.every(({ metadata }) => MemoryMetadata.isPackable(metadata))
      ) {
        const description = `${path} is not a whole snapshot of a memory store`
        return yield* failure("get", path, new Corrupt({ description }))
      }
      let bytes = 0
      const loaded = snapshot.success.objects.map(
        ({ body, key, lastModified, metadata, ...object }): [string, Stored] => {
          bytes += body.length
          return [
            key,
            {
              contentEncoding: undefined,
              ...object,
              ...MemoryMetadata.packed(metadata),
              seconds: Math.floor(lastModified / 1000),
              body: keep(body)
            }
          ]
        }
      )
      objects.restore(treeOf(ordered, loaded))
      state.bytes = bytes
    })
  }

  const { persistPath } = options
  if (persistPath !== undefined) {
    yield* control.loadFromDisk(persistPath).pipe(Effect.catchReason("StoreError", "NoSuchKey", () => Effect.void))
    yield* trySaving(persistPath)
    yield* Effect.addFinalizer(() => Effect.orDie(control.saveToDisk(persistPath)))
  }
  return { store, control }
})

const timeOf = (fiber: Fiber.Fiber<unknown, unknown>): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

/** Reasons are the only errors that a request gives. */
const isReason = (value: unknown): value is Reason => value instanceof Error

/** Walks the tree from a position, skipping what a delimiter groups, so that a page costs what the page holds. */
const listPage = (tree: Tree<Stored>, list: ListRequest, ordered: boolean): ListPage | Reason => {
  const problem = rules.checkList(list)
  if (problem !== undefined) return problem
  if (!ordered && list.startAfter !== undefined) {
    return new InvalidArgument({ argument: "startAfter", description: "this store lists without order" })
  }
  const token = rules.readToken(list)
  if (typeof token === "object") return token
  const { prefix = "", delimiter, maxKeys = maxKeysPerRequest } = list
  if (ordered && (delimiter === undefined || delimiter === "")) {
    const { startAfter } = list
    const given = token?.slice(1)
    const isLater = startAfter !== undefined && (given === undefined || compareUtf8(startAfter, given) > 0)
    return runOf(tree, list, isLater ? startAfter : given)
  }
  const entries: Array<ListEntry> = []
  const commonPrefixes: Array<string> = []
  const seek = (key: string | undefined) => (key === undefined ? undefined : tree.getPairOrNextHigher(key))
  // A token tells a key from a common prefix, which stands for all the keys below it.
  const position = token?.slice(1)
  const afterPosition = (): [string, Stored] | undefined =>
    token!.startsWith("p") ? seek(successor(position!)) : tree.nextHigherPair(position)
  let pair: [string, Stored] | undefined
  if (!ordered) pair = tree.nextHigherPair(position)
  else {
    const startAfter = list.startAfter !== undefined && compareUtf8(list.startAfter, prefix) >= 0 ? list.startAfter : ""
    pair = position !== undefined ? afterPosition() : startAfter === "" ? seek(prefix) : tree.nextHigherPair(startAfter)
    if (position !== undefined && startAfter !== "" && pair !== undefined && compareUtf8(pair[0], startAfter) <= 0) {
      pair = tree.nextHigherPair(startAfter)
    }
  }
  let last = ""
  while (pair !== undefined) {
    const [key, object] = pair
    if (!key.startsWith(prefix)) {
      if (ordered) break
      pair = tree.nextHigherPair(key)
      continue
    }
    if (entries.length + commonPrefixes.length === maxKeys) {
      return { entries, commonPrefixes, nextToken: rules.makeToken(list, last) }
    }
    const cut = delimiter === undefined || delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length)
    if (cut < 0) {
      entries.push({ key, etag: object.etag, size: object.body.length, lastModified: object.seconds * 1000 })
      last = `k${key}`
      pair = tree.nextHigherPair(key)
      continue
    }
    const group = key.slice(0, cut + delimiter!.length)
    if (!commonPrefixes.includes(group)) commonPrefixes.push(group)
    last = ordered ? `p${group}` : `k${key}`
    pair = ordered ? seek(successor(group)) : tree.nextHigherPair(key)
  }
  return { entries, commonPrefixes, nextToken: undefined }
}

/** The keys with a prefix, and after another one: a run of the tree, walked from leaf to leaf. */
const runOf = (tree: Tree<Stored>, list: ListRequest, startAfter: string | undefined): ListPage => {
  const { keysOnly = false, maxKeys = maxKeysPerRequest, prefix = "" } = list
  const entries: Array<ListEntry> = []
  const after = startAfter !== undefined && compareUtf8(startAfter, prefix) >= 0 ? startAfter : undefined
  const end = prefix === "" ? undefined : successor(prefix)
  const high = end ?? tree.maxKey()
  if (high === undefined) return { entries, commonPrefixes: [], nextToken: undefined }
  let nextToken: string | undefined
  tree.forRange(after ?? prefix, high, end === undefined, (key, { body, etag, seconds }) => {
    if (key === after) return undefined
    if (entries.length === maxKeys) {
      nextToken = rules.makeToken(list, `k${entries.at(-1)!.key}`)
      return { break: true }
    }
    entries.push(keysOnly ? { key } : { key, etag, size: body.length, lastModified: seconds * 1000 })
    return undefined
  })
  return { entries, commonPrefixes: [], nextToken }
}

const diskFailure = (operation: "get" | "put" | "open", path: string) => (cause: unknown) => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "unknown"
  return new StoreError({ operation, key: path, reason: diskReason(operation, path, code) })
}

const diskReason = (operation: "get" | "put" | "open", path: string, code: string): Reason => {
  const wrong = (description: string) => new InvalidArgument({ argument: "persistPath", description, code })
  switch (code) {
    case "ENOENT":
      return operation === "get"
        ? new NoSuchKey({ description: `there is no file ${path}`, code })
        : wrong(`the folder of ${path} does not exist: create it`)
    case "ENOTDIR":
      return wrong(`${path} is below a file: name a file in a folder`)
    case "EISDIR":
      return wrong(`${path} is a folder: name a file in it`)
    case "ENAMETOOLONG":
      return wrong(`${path} is too long a path for this file system`)
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new AccessDenied({ description: `${path} may not be read or written`, code })
    default:
      return new Unavailable({ description: `${path} could not be read or written: ${code}`, code, sent: true })
  }
}

type Files = typeof import("node:fs/promises")

/** Something with the files of this runtime, which may have none. */
const withFiles = <A>(operation: "get" | "put" | "open", path: string, use: (files: Files) => Promise<A>) =>
  Effect.suspend(() => {
    const files = globalThis.process?.getBuiltinModule?.("node:fs/promises")
    if (files !== undefined) return Effect.tryPromise({ try: () => use(files), catch: diskFailure(operation, path) })
    const description = "this runtime has no files: leave persistPath out"
    return Effect.fail(
      new StoreError({ operation, key: path, reason: new Unsupported({ feature: "files", description }) })
    )
  })

/** A store that cannot be saved is told of before anything is put into it. */
const trySaving = (path: string) =>
  withFiles("open", path, (files) => files.writeFile(`${path}.tmp`, "").then(() => files.rm(`${path}.tmp`)))

const saveFile = (path: string, text: string) =>
  withFiles("put", path, (files) => files.writeFile(`${path}.tmp`, text).then(() => files.rename(`${path}.tmp`, path)))

const loadFile = (path: string) => withFiles("get", path, (files) => files.readFile(path, "utf8"))

/**
 * Creates a store in memory and its control, with options. Bind the result to a constant: each call makes a store of
 * its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore | MemoryControl, StoreError> =>
  Layer.effectContext(
    Effect.map(make(options), ({ store, control }) =>
      Context.make(ObjectStore, store).pipe(Context.add(MemoryControl, control))
    )
  )

/**
 * An empty store in memory that keeps to AWS's rules, and its control. Built once however often it is provided in one
 * program.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore | MemoryControl> = Layer.orDie(layerWith({}))
