/**
 * An object store in a folder: the embedded default. Any number of processes may use it at once.
 *
 * **Details**
 *
 * One file for each object, put in its place by a rename, so that a reader sees the old object or the new one whatever
 * happens. Conditions hold across processes: they are checked under a lock that the operating system drops when its
 * holder dies. With `durability: "fsync"`, the default, an acknowledged write has been handed to the disk: first the
 * file, then its place in the directory. `docs/design/file-store.md` argues each step.
 *
 * @since 0.1.0
 */
import { createHash, randomBytes } from "node:crypto"
import fs from "node:fs"
import path from "node:path"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as backoff from "../internal/backoff.ts"
import { patiently, withDescriptor } from "./internal/fileStoreDescriptors.ts"
import * as envelope from "./internal/fileStoreEnvelope.ts"
import * as Listings from "./internal/fileStoreListings.ts"
import * as locks from "./internal/fileStoreLocks.ts"
import * as paths from "./internal/fileStorePaths.ts"
import { checkChoice, invalidOption } from "./internal/optionRules.ts"
import * as rules from "./internal/storeRules.ts"
import {
  type CopyRequest,
  type DeleteOptions,
  localCapabilities,
  type GetOptions,
  type ListEntry,
  type ListRequest,
  maxKeysPerRequest,
  type ObjectHead,
  ObjectStore,
  type PutRequest,
  type PutResult
} from "./ObjectStore.ts"
import {
  AccessDenied,
  Corrupt,
  KeyTooLong,
  NoSuchKey,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Unavailable,
  Unexpected,
  Unsupported
} from "./StoreError.ts"

/**
 * The folder of a store, and how its files are written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The folder; it is created when it does not exist. Relative to the working directory. */
  readonly path: string
  /**
   * `"fsync"`, the default: a write is acknowledged when it has been handed to the disk. `"none"`: when the operating
   * system has it; it survives the death of the process, not a power loss.
   */
  readonly durability?: "fsync" | "none" | undefined
  /** Compresses bodies where that makes them smaller. Default `"none"`. Readers need no setting. */
  readonly compression?: envelope.Compression | undefined
}

const format = { format: "effect-s3db-files", version: 1 }

const lockShards = 16

/** How many objects are looked at, or deleted, at once. */
const fileConcurrency = 8

/**
 * Opens the folder, making it a store if it is empty, and clears away what dead processes have left. Hidden files do not
 * count.
 *
 * Fails with `InvalidArgument` when the path is empty, or a file; `Unsupported` when the folder holds something else or a
 * later format; `AccessDenied`, `Unavailable`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<ObjectStore["Service"], StoreError, Scope.Scope> {
  const problem =
    checkChoice("durability", options.durability, { fsync: true, none: true }) ??
    checkChoice("compression", options.compression, { none: true, gzip: true, zstd: true })
  if (problem !== undefined) return yield* problem
  if (options.path === "") return yield* invalidOption("path", "a folder is missing: write ./data, for example")
  if (options.path.includes("\0")) return yield* invalidOption("path", "it holds a NUL character")
  const root = path.resolve(options.path)
  const objects = path.join(root, "objects")
  const compression = options.compression ?? "none"
  const durable = (options.durability ?? "fsync") === "fsync"
  const session = yield* openSession(root)
  // The sooner it is asked first the sooner it can tell.
  session.isAlone()
  const listings = Listings.make(session.isAlone, readNames)
  const directories = makeDirectories(root, objects, { durable, listings })

  const shards: Array<locks.FileLock | undefined> = Array.from({ length: lockShards })
  yield* Effect.addFinalizer(() => Effect.sync(() => shards.forEach((shard) => shard?.close())))

  const fail = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })
  const onDisk = (operation: Operation, key: string) => Effect.mapError(failure(operation, key))

  /**
   * Runs a step that no other process may come between. The step is synchronous, so that it cannot be interrupted and
   * fibers of this process need no lock among themselves.
   */
  const exclusively = Effect.fnUntraced(function* <A>(key: string, step: () => A) {
    const index = createHash("md5").update(key).digest()[0]! % lockShards
    const attempting = Effect.try({
      try: () => {
        const lock = (shards[index] ??= locks.open(session.sqlite, path.join(root, "locks", `${index}`)))
        if (!lock.tryAcquire()) return undefined
        try {
          return { value: step() }
        } finally {
          lock.release()
        }
      },
      catch: asFailure
    })
    for (let waits = 0; ; waits++) {
      // A step opens files before it changes anything.
      const attempt = yield* patiently(attempting)
      if (attempt !== undefined) return attempt.value
      yield* backoff.pause((0.2 + (yield* Random.next)) * Math.min(8, waits + 1))
    }
  })

  const fileOf = (key: string): string => path.join(objects, ...paths.pathOf(key))

  const headOf = (header: envelope.Header): ObjectHead => ({
    key: header.key,
    etag: header.etag,
    size: header.size,
    metadata: header.metadata,
    contentType: header.contentType,
    contentEncoding: header.contentEncoding,
    lastModified: header.lastModified
  })

  /** What the conditions of a request say of the object that is there now. Runs under the lock. */
  const checkMatch = (key: string, ifMatch: string): Reason | undefined => {
    const header = readHeaderSync(fileOf(key), key)
    if (header === undefined) return absent(key)
    if (typeof header === "string") return new Corrupt({ description: `object ${JSON.stringify(key)}: ${header}` })
    return header.etag === ifMatch ? undefined : unmet("the object has another ETag")
  }

  const rename = Effect.fnUntraced(function* (
    operation: Operation,
    key: string,
    temporary: string,
    target: string,
    condition: () => Reason | undefined
  ) {
    const directory = path.dirname(target)
    for (;;) {
      const outcome = yield* exclusively(key, () => {
        const reason = condition()
        if (reason !== undefined) return reason
        try {
          listings.changing(directory, path.basename(target), true, () => fs.renameSync(temporary, target))
          return "installed"
        } catch (error) {
          // The directory is new, or was removed when it became empty.
          if (asFailure(error).code === "ENOENT") return "no directory"
          throw error
        }
      })
      if (outcome === "installed") return
      if (outcome !== "no directory") return yield* fail(operation, key, outcome)
      yield* directories.create(directory)
    }
  })

  /** Puts a complete file in the place of a key. The commit point is the rename. */
  const install = Effect.fnUntraced(function* (
    operation: Operation,
    header: envelope.Header,
    body: Uint8Array,
    condition: () => Reason | undefined
  ) {
    const { key } = header
    const target = fileOf(key)
    const directory = path.dirname(target)
    yield* Effect.acquireUseRelease(
      session.writeTemporary(envelope.write(header, body), durable),
      (temporary) => rename(operation, key, temporary, target, condition),
      (temporary) => session.discard(temporary)
    ).pipe(Effect.catch((error) => Effect.fail(error instanceof StoreError ? error : failure(operation, key)(error))))
    yield* onDisk(operation, key)(directories.sync(directory))
    return { etag: header.etag } satisfies PutResult
  })

  const readObject = Effect.fnUntraced(function* (operation: Operation, key: string) {
    const bytes = yield* onDisk(operation, key)(readFile(fileOf(key)))
    if (bytes === undefined) return yield* fail(operation, key, absent(key))
    const reading = envelope.readHeader(bytes, key)
    const problem =
      reading._tag === "Header"
        ? undefined
        : reading._tag === "Damaged"
          ? reading.problem
          : "the header is not complete"
    if (reading._tag !== "Header") return yield* damaged(operation, key, problem!)
    const body = yield* envelope.readBody(reading.header, bytes.subarray(reading.bodyStart))
    if (typeof body === "string") return yield* damaged(operation, key, body)
    return { header: reading.header, body }
  })

  const damaged = (operation: Operation, key: string, problem: string) =>
    fail(operation, key, new Corrupt({ description: `object ${JSON.stringify(key)}: ${problem}` }))

  const readHeader = Effect.fnUntraced(function* (operation: Operation, key: string) {
    const header = yield* onDisk(operation, key)(readHeaderOf(fileOf(key), key))
    if (header === undefined) return yield* fail(operation, key, absent(key))
    return typeof header === "string" ? yield* damaged(operation, key, header) : header
  })

  const put = Effect.fnUntraced(function* (request: PutRequest) {
    const problem = rules.checkPut(request)
    if (problem !== undefined) return yield* fail("put", request.key, problem)
    const body = request.body ?? new Uint8Array()
    const etag = md5(body)
    const { stored, compression: used } = yield* envelope.compress(compression, body)
    const header: envelope.Header = {
      key: request.key,
      etag,
      metadata: rules.lowerCaseNames(request.metadata),
      contentType: request.contentType ?? "application/octet-stream",
      ...(request.contentEncoding === undefined ? {} : { contentEncoding: request.contentEncoding }),
      lastModified: yield* Clock.currentTimeMillis,
      size: body.length,
      compression: used,
      storedSize: stored.length,
      crc: envelope.crc32(stored)
    }
    return yield* install("put", header, stored, () => {
      if (request.ifMatch !== undefined) return checkMatch(request.key, request.ifMatch)
      return request.ifNoneMatch !== undefined && fs.existsSync(fileOf(request.key))
        ? unmet("the object exists")
        : undefined
    })
  })

  const remove = Effect.fnUntraced(function* (key: string, { ifMatch }: DeleteOptions = {}) {
    const problem = rules.checkKey(key)
    if (problem !== undefined) return yield* fail("delete", key, problem)
    const file = fileOf(key)
    const reason = yield* exclusively(key, () => {
      const unmatched = ifMatch === undefined ? undefined : checkMatch(key, ifMatch)
      if (unmatched === undefined) {
        const [directory, name] = [path.dirname(file), path.basename(file)]
        listings.changing(directory, name, false, () => fs.rmSync(file, { force: true }))
      }
      return unmatched
    }).pipe(onDisk("delete", key))
    if (reason !== undefined) return yield* fail("delete", key, reason)
    yield* onDisk("delete", key)(directories.sync(path.dirname(file)))
    yield* directories.prune(path.dirname(file))
  })

  const copy = Effect.fnUntraced(function* (request: CopyRequest) {
    const problem = rules.checkCopy(request)
    if (problem !== undefined) return yield* fail("copy", request.from, problem)
    for (;;) {
      const source = yield* readObject("copy", request.from)
      if (request.ifSourceMatch !== undefined && source.header.etag !== request.ifSourceMatch) {
        return yield* fail("copy", request.from, unmet("the source has another ETag"))
      }
      const { stored, compression: used } = yield* envelope.compress(compression, source.body)
      const header: envelope.Header = {
        ...source.header,
        ...(request.metadata === undefined
          ? {}
          : {
              metadata: rules.lowerCaseNames(request.metadata),
              contentType: request.contentType ?? "application/octet-stream"
            }),
        key: request.to,
        lastModified: yield* Clock.currentTimeMillis,
        compression: used,
        storedSize: stored.length,
        crc: envelope.crc32(stored)
      }
      let overtaken = false
      const installed = install("copy", header, stored, () => {
        if (request.from !== request.to) return undefined
        // Onto itself: a version that was written since it was read must not be lost.
        const present = readHeaderSync(fileOf(request.from), request.from)
        overtaken = JSON.stringify(present) !== JSON.stringify(source.header)
        return overtaken ? unmet("the source changed while it was copied") : undefined
      })
      const result = yield* Effect.result(installed)
      if (Result.isSuccess(result)) return result.success
      if (!overtaken) return yield* result.failure
    }
  })

  const list = Effect.fnUntraced(function* (request: ListRequest = {}) {
    const prefix = request.prefix ?? ""
    const problem = rules.checkList(request) ?? rules.readToken(request)
    if (typeof problem === "object") return yield* fail("list", prefix, problem)
    const maxKeys = request.maxKeys ?? maxKeysPerRequest
    const walk = makeWalk(objects, listings.entriesOf, { ...request, position: problem, limit: maxKeys + 1 })
    const found = yield* onDisk("list", prefix)(walk)
    const shown = found.slice(0, maxKeys)
    const last = shown.at(-1)
    const nextToken =
      found.length > maxKeys && last !== undefined
        ? rules.makeToken(request, `${last.isGroup ? "p" : "k"}${last.name}`)
        : undefined
    const keys = shown.filter((item) => !item.isGroup).map((item) => item.name)
    const commonPrefixes = shown.filter((item) => item.isGroup).map((item) => item.name)
    if (request.keysOnly === true) return { entries: keys.map((key) => ({ key })), commonPrefixes, nextToken }
    const headers = yield* Effect.forEach(keys, (key) => onDisk("list", key)(readHeaderOf(fileOf(key), key)), {
      concurrency: fileConcurrency
    })
    const entries = keys.flatMap((key, i): Array<ListEntry> => {
      const header = headers[i]
      // Deleted since the directory was read.
      if (header === undefined) return []
      // A damaged object is listed, so that it can be found and deleted.
      if (typeof header === "string") return [{ key }]
      return [{ key, etag: header.etag, size: header.size, lastModified: header.lastModified }]
    })
    return { entries, commonPrefixes, nextToken }
  })

  return {
    location: `file:${root}`,
    capabilities: localCapabilities,
    adopt: () => Effect.void,
    put,
    get: Effect.fnUntraced(function* (key, { range, ifMatch }: GetOptions = {}) {
      const problem = rules.checkKey(key) ?? rules.checkRange(range)
      if (problem !== undefined) return yield* fail("get", key, problem)
      const { header, body } = yield* readObject("get", key)
      if (ifMatch !== undefined && ifMatch !== header.etag) {
        return yield* fail("get", key, unmet("the object has another ETag"))
      }
      if (range === undefined) return { ...headOf(header), body }
      const bounds = rules.resolveRange(range, body.length)
      if (!("start" in bounds)) return yield* fail("get", key, bounds)
      return { ...headOf(header), body: body.subarray(bounds.start, bounds.end + 1) }
    }),
    head: Effect.fnUntraced(function* (key) {
      const problem = rules.checkKey(key)
      if (problem !== undefined) return yield* fail("head", key, problem)
      return headOf(yield* readHeader("head", key))
    }),
    delete: remove,
    deleteMany: Effect.fnUntraced(function* (keys) {
      const outcomes = yield* Effect.forEach(
        keys,
        (key) =>
          Effect.match(remove(key), {
            onFailure: (error) => ({ key, reason: error.reason }),
            onSuccess: () => ({ key, reason: undefined })
          }),
        { concurrency: fileConcurrency }
      )
      return {
        deleted: outcomes.flatMap(({ key, reason }) => (reason === undefined ? [key] : [])),
        failed: outcomes.flatMap(({ key, reason }) => (reason === undefined ? [] : [{ key, reason }]))
      }
    }),
    copy,
    list
  }
})

/**
 * Creates a store in a folder. Bind the result to a constant: each call opens the folder anew.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<ObjectStore, StoreError> =>
  Layer.effect(ObjectStore, make(options))

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

const md5 = (body: Uint8Array): string => createHash("md5").update(body).digest("hex")

const absent = (key: string): Reason => new NoSuchKey({ description: `there is no object ${JSON.stringify(key)}` })

const unmet = (description: string): Reason => new PreconditionFailed({ description })

/** A failure of the file system, before it is known which operation of the port it concerns. */
class FileFailure extends Data.TaggedError("FileFailure")<{ readonly code: string; readonly message: string }> {}

const asFailure = (error: unknown): FileFailure => {
  const errno: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error))
  const { code = "unknown", message } = errno
  return new FileFailure({ code, message })
}

const failure =
  (operation: Operation, key: string) =>
  (error: FileFailure): StoreError =>
    new StoreError({ operation, key, reason: reasonOf(error) })

const reasonOf = ({ code, message }: FileFailure): Reason => {
  const description = `the file system answered ${code}`
  switch (code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new AccessDenied({ description, code })
    case "ENAMETOOLONG":
      return new KeyTooLong({ description: "the path of the object is too long for this file system", code })
    case "ENOSPC":
    case "EDQUOT":
    case "EMFILE":
    case "ENFILE":
    case "EBUSY":
      return new Unavailable({ description, code, sent: false })
    case "EIO":
      return new Unavailable({ description, code, sent: true })
    default:
      return new Unexpected({ description: `${description}: ${message}`, code })
  }
}

// -----------------------------------------------------------------------------
// Files
// -----------------------------------------------------------------------------

type Failable<A> = Effect.Effect<A, FileFailure>

/** One call of Node's file system. It cannot be interrupted: its file descriptors stay ours until it is done. */
const call = <A = void>(run: (done: (error: NodeJS.ErrnoException | null, value?: A) => void) => void): Failable<A> =>
  Effect.uninterruptible(
    Effect.callback<A, FileFailure>((resume) => {
      run((error, value) => resume(error ? Effect.fail(asFailure(error)) : Effect.succeed(value as A)))
    })
  )

const ifPresent = <A>(effect: Failable<A>): Failable<A | undefined> =>
  Effect.catchIf(
    effect,
    (error) => error.code === "ENOENT" || error.code === "ENOTDIR",
    () => Effect.succeed(undefined)
  )

const readNames = (directory: string): Failable<ReadonlyArray<string>> =>
  Effect.map(
    ifPresent(withDescriptor(call<Array<string>>((done) => fs.readdir(directory, done)))),
    (names) => names ?? []
  )

const readFile = (file: string) => ifPresent(withDescriptor(call<Buffer>((done) => fs.readFile(file, done))))

/** The header of a file, `undefined` when there is none, or what is wrong with it. */
const readHeaderOf = Effect.fnUntraced(function* (file: string, key: string) {
  const first = yield* ifPresent(readFirst(file, envelope.firstBytes))
  if (first === undefined) return undefined
  let reading = envelope.readHeader(first, key)
  if (reading._tag === "Short") {
    const more = yield* ifPresent(readFirst(file, reading.needed))
    if (more === undefined) return undefined
    reading = envelope.readHeader(more, key)
  }
  return headerOrProblem(reading)
})

const headerOrProblem = (reading: envelope.HeaderReading): envelope.Header | string =>
  reading._tag === "Header"
    ? reading.header
    : reading._tag === "Damaged"
      ? reading.problem
      : "the header is not complete"

const readFirst = (file: string, bytes: number): Failable<Buffer> =>
  withDescriptor(
    Effect.acquireUseRelease(
      call<number>((done) => fs.open(file, "r", done)),
      (descriptor) => {
        const buffer = Buffer.alloc(bytes)
        return Effect.map(
          call<number>((done) => fs.read(descriptor, buffer, 0, bytes, 0, done)),
          (read) => buffer.subarray(0, read)
        )
      },
      closeFile
    )
  )

/** A write may take less than it is given, as when the disk fills up: the rest is written, or the failure seen. */
const writeAll = Effect.fnUntraced(function* (descriptor: number, bytes: Buffer) {
  for (let start = 0; start < bytes.length;) {
    start += yield* call<number>((done) => fs.write(descriptor, bytes, start, bytes.length - start, null, done))
  }
})

const closeFile = (descriptor: number) => Effect.ignore(call((done) => fs.close(descriptor, done)))

const readHeaderSync = (file: string, key: string): envelope.Header | string | undefined => {
  let descriptor: number
  try {
    descriptor = fs.openSync(file, "r")
  } catch (error) {
    const { code } = asFailure(error)
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw error
  }
  try {
    const buffer = Buffer.alloc(envelope.firstBytes)
    const reading = envelope.readHeader(buffer.subarray(0, fs.readSync(descriptor, buffer)), key)
    if (reading._tag !== "Short") return headerOrProblem(reading)
    const longer = Buffer.alloc(reading.needed)
    return headerOrProblem(
      envelope.readHeader(longer.subarray(0, fs.readSync(descriptor, longer, { position: 0 })), key)
    )
  } finally {
    fs.closeSync(descriptor)
  }
}

// -----------------------------------------------------------------------------
// Sessions: temporary files, and those of the dead
// -----------------------------------------------------------------------------

/**
 * Makes a folder and those above it, and tells the first that it has made. One after the other: `mkdir` of Node does not come to an end
 * where a folder is there in which nothing can be made, as below `/proc`.
 */
const makeFolder = (folder: string): string | undefined => {
  if (fs.existsSync(folder)) return undefined
  const above = path.dirname(folder)
  const first = above === folder ? undefined : makeFolder(above)
  try {
    fs.mkdirSync(folder)
  } catch (error) {
    // Somebody else has made it in the meantime.
    if (asFailure(error).code !== "EEXIST") throw error
    return first
  }
  return first ?? folder
}

/**
 * Each opened store keeps its temporary files in a folder of its own and holds a lock as long as it is open. Whoever
 * opens the store and can take another session's lock knows that its process is dead, and removes what it left.
 */
const openSession = Effect.fnUntraced(function* (root: string) {
  const sqlite = yield* Effect.promise(() => import("node:sqlite"))
  const sessions = path.join(root, "tmp")
  const name = randomBytes(9).toString("hex")
  const folder = path.join(sessions, name)

  const opening = Effect.try({
    try: () => {
      const created = makeFolder(root)
      const foreign = checkForeign(root)
      if (foreign !== undefined) return foreign
      for (const directory of ["objects", "locks", "tmp"]) fs.mkdirSync(path.join(root, directory), { recursive: true })
      // A new folder has to be found again: every directory from the first one made has to be on the disk.
      if (created !== undefined) {
        for (let at = root; at.length >= created.length; at = path.dirname(at)) syncSync(at)
        syncSync(path.dirname(created))
      }
      // Nobody starts or clears a session while another does.
      const gate = locks.open(sqlite, path.join(root, "locks", "sessions"))
      try {
        if (!gate.tryAcquire()) return undefined
        const problem = checkFormat(root)
        if (problem !== undefined) return problem
        const own = locks.open(sqlite, `${folder}.lock`)
        own.tryAcquire()
        fs.mkdirSync(folder)
        for (const entry of fs.readdirSync(sessions)) {
          if (entry.startsWith(name)) continue
          if (!entry.endsWith(".lock")) {
            if (!fs.existsSync(path.join(sessions, `${entry}.lock`))) removeAll(path.join(sessions, entry))
            continue
          }
          const other = locks.open(sqlite, path.join(sessions, entry))
          const dead = other.tryAcquire()
          other.close()
          if (!dead) continue
          removeAll(path.join(sessions, entry.slice(0, -".lock".length)))
          removeAll(path.join(sessions, entry))
        }
        return own
      } finally {
        gate.close()
      }
    },
    catch: asFailure
  }).pipe(
    patiently,
    Effect.mapError(unopened(root)),
    Effect.flatMap((own) => {
      if (own === undefined || "tryAcquire" in own) return Effect.succeed(own)
      return Effect.fail(new StoreError({ operation: "open", reason: own }))
    })
  )

  const acquire = Effect.gen(function* () {
    for (;;) {
      const own = yield* opening
      if (own !== undefined) return own
      yield* backoff.pause(1 + 4 * (yield* Random.next))
    }
  })
  yield* Effect.acquireRelease(acquire, (own) =>
    Effect.sync(() => {
      own.close()
      removeAll(folder)
      removeAll(`${folder}.lock`)
    })
  )

  let files = 0
  return {
    sqlite,
    isAlone: Listings.soleSession(sessions, name),
    writeTemporary: (chunks: ReadonlyArray<Uint8Array>, durable: boolean) =>
      Effect.suspend(() => {
        const file = path.join(folder, String(files++))
        return Effect.acquireUseRelease(
          call<number>((done) => fs.open(file, "wx", done)),
          (descriptor) =>
            Effect.andThen(
              writeAll(descriptor, Buffer.concat(chunks)),
              durable ? call((done) => fs.fsync(descriptor, done)) : Effect.void
            ),
          closeFile
        ).pipe(
          withDescriptor,
          Effect.as(file),
          Effect.onError(() => Effect.sync(() => removeAll(file)))
        )
      }).pipe(Effect.uninterruptible),
    /** After the rename there is nothing left to discard. */
    discard: (file: string) => Effect.sync(() => removeAll(file))
  }
})

const removeAll = (target: string): void => {
  try {
    fs.rmSync(target, { recursive: true, force: true })
  } catch {
    // Debris that cannot be removed now is removed by a later session.
  }
}

const syncSync = (directory: string): void => {
  const descriptor = fs.openSync(directory, "r")
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** What stands where a folder should be is told by name. */
const unopened =
  (root: string) =>
  (error: FileFailure): StoreError =>
    error.code === "EEXIST" || error.code === "ENOTDIR"
      ? invalidOption("path", `${root} is a file, or below one: a store is a folder`)
      : error.code === "ENOENT"
        ? invalidOption("path", `${root} cannot be made: the folder above it takes none`)
        : new StoreError({ operation: "open", reason: reasonOf(error) })

const ownNames = new Set(["store.json", "store.json.new", "objects", "locks", "tmp", "lost+found"])

/** A store does not spread among files of others. */
const checkForeign = (root: string): Reason | undefined => {
  const names = fs.readdirSync(root)
  if (names.includes("store.json")) return checkMarker(root)
  return names.every((name) => name.startsWith(".") || ownNames.has(name))
    ? undefined
    : new Unsupported({
        feature: "folder format",
        description: `${root} holds other files: name a folder that is new, empty, or a store already`
      })
}

const checkMarker = (root: string): Reason | undefined => {
  const marker = path.join(root, "store.json")
  return fs.readFileSync(marker, "utf8").trim() === JSON.stringify(format)
    ? undefined
    : new Unsupported({
        feature: "folder format",
        description: `${marker} is not that of a store which this release can read`
      })
}

/** Marks a new store, and refuses a folder that has become something else. */
const checkFormat = (root: string): Reason | undefined => {
  const marker = path.join(root, "store.json")
  if (fs.existsSync(marker)) return checkMarker(root)
  const temporary = `${marker}.new`
  fs.writeFileSync(temporary, `${JSON.stringify(format)}\n`, { flush: true })
  fs.renameSync(temporary, marker)
  syncSync(root)
  return undefined
}

// -----------------------------------------------------------------------------
// Directories
// -----------------------------------------------------------------------------

/**
 * Directories that hold objects. A write is durable when its directory has been synced and so has every directory above
 * it that is new; which ones are known to be is remembered by inode and time of birth, since others may remove and make them again.
 */
const makeDirectories = (
  root: string,
  objects: string,
  { durable, listings }: { readonly durable: boolean; readonly listings: Listings.Listings<FileFailure> }
) => {
  const synced = new Map<string, string>()
  const running = new Map<string, { readonly current: Promise<void>; next: Promise<void> | undefined }>()

  /** What identifies the directory, or nothing when it is gone. */
  const syncNow = (directory: string): Promise<string | undefined> =>
    Effect.acquireUseRelease(
      call<number>((done) => fs.open(directory, "r", done)),
      Effect.fnUntraced(function* (descriptor) {
        yield* call((done) => fs.fsync(descriptor, done))
        const { birthtimeNs, ino } = yield* call<fs.BigIntStats>((done) => fs.fstat(descriptor, { bigint: true }, done))
        return `${ino}:${birthtimeNs}`
      }),
      closeFile
    ).pipe(
      withDescriptor,
      Effect.catchIf(
        (error) => error.code === "ENOENT",
        () => Effect.succeed(undefined)
      ),
      Effect.runPromise
    )

  /** Concurrent callers share: whoever comes while a sync runs is served by the next one. */
  const syncShared = (directory: string): Promise<void> => {
    const run = running.get(directory)
    if (run === undefined) {
      const current = syncChain(directory).finally(() => {
        if (running.get(directory)?.next === undefined) running.delete(directory)
      })
      running.set(directory, { current, next: undefined })
      return current
    }
    run.next ??= run.current
      .catch(() => undefined)
      .then(() => {
        running.delete(directory)
        return syncShared(directory)
      })
    return run.next
  }

  const syncChain = (directory: string): Promise<void> =>
    syncNow(directory).then((identity) => {
      if (directory === root || (identity !== undefined && synced.get(directory) === identity)) return undefined
      // A directory that is gone was removed with everything in it: its removal is in the one above.
      return syncChain(path.dirname(directory)).then(() => {
        if (identity !== undefined) synced.set(directory, identity)
      })
    })

  const create = (directory: string): Failable<void> =>
    Effect.try({ try: () => listings.makeDirectory(directory), catch: asFailure }).pipe(
      // A parent was removed meanwhile: the caller tries again.
      Effect.catchIf(
        (error) => error.code === "ENOENT",
        () => Effect.void
      )
    )

  return {
    create,
    sync: (directory: string): Failable<void> =>
      durable
        ? Effect.uninterruptible(Effect.tryPromise({ try: () => syncShared(directory), catch: asFailure }))
        : Effect.void,
    /** Removes directories that have become empty, from the bottom up. Best effort: an empty directory is invisible. */
    prune: (directory: string) =>
      Effect.sync(() => {
        for (let at = directory; at !== objects; at = path.dirname(at)) {
          try {
            listings.changing(path.dirname(at), path.basename(at), false, () => fs.rmdirSync(at))
          } catch {
            return
          }
          synced.delete(at)
        }
      })
  }
}

// -----------------------------------------------------------------------------
// Listing
// -----------------------------------------------------------------------------

interface Listed {
  /** A key, or a common prefix. */
  readonly name: string
  readonly isGroup: boolean
}

/** Walks the tree in the order of keys, entering only what may hold keys that are asked for. */
const makeWalk = (
  objects: string,
  entriesOf: Listings.Listings<FileFailure>["entriesOf"],
  request: ListRequest & { readonly position: string | undefined; readonly limit: number }
) => {
  const prefix = paths.toBinary(request.prefix ?? "")
  const delimiter = paths.toBinary(request.delimiter ?? "")
  const startAfter = paths.toBinary(request.startAfter ?? "")
  const position = paths.toBinary(request.position?.slice(1) ?? "")
  const after = position > startAfter ? position : startAfter
  // A common prefix that was the last item of a page stands for every key below it.
  const done = request.position?.startsWith("p") === true ? position : undefined
  const found: Array<Listed> = []

  const groupOf = (name: string): string | undefined => {
    if (delimiter === "" || !name.startsWith(prefix)) return undefined
    const at = name.indexOf(delimiter, prefix.length)
    return at < 0 ? undefined : name.slice(0, at + delimiter.length)
  }

  /** Whether a key or a subtree lies, at least in part, behind the position where the listing goes on. */
  const isAhead = (name: string, isFile: boolean): boolean => name > after || (!isFile && after.startsWith(name))

  const holdsObject = (directory: string, base: string): Failable<boolean> =>
    Effect.gen(function* () {
      for (const entry of yield* entriesOf(directory)) {
        const name = base + entry.part
        if (!isAhead(name, entry.isFile)) continue
        if (entry.isFile || (yield* holdsObject(path.join(directory, entry.name), name))) return true
      }
      return false
    })

  const visit = (directory: string, base: string): Failable<void> =>
    Effect.gen(function* () {
      let group: string | undefined
      const entries = yield* entriesOf(directory)
      for (let i = firstIndex(entries, base); i < entries.length; i++) {
        if (found.length >= request.limit) return
        const entry = entries[i]!
        const name = base + entry.part
        const inPrefix = name.startsWith(prefix)
        if (!inPrefix && (entry.isFile || !prefix.startsWith(name))) {
          if (name > prefix) return
          continue
        }
        if (done !== undefined && name.startsWith(done)) continue
        if (!isAhead(name, entry.isFile)) continue
        const here = groupOf(name)
        if (here !== undefined) {
          if (here === group || here === found.at(-1)?.name) continue
          if (!entry.isFile && !(yield* holdsObject(path.join(directory, entry.name), name))) continue
          group = here
          found.push({ name: here, isGroup: true })
        } else if (entry.isFile) found.push({ name, isGroup: false })
        else yield* visit(path.join(directory, entry.name), name)
      }
    })

  /** The first entry that may hold a key from where the listing begins. */
  const firstIndex = (entries: Listings.Entries, base: string): number => {
    const from = prefix > after ? prefix : after
    if (!from.startsWith(base) || from.length === base.length) return 0
    const part = from.slice(base.length)
    let [low, high] = [0, entries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const at = entries[middle]!.part
      if (at < part && !part.startsWith(at)) low = middle + 1
      else high = middle
    }
    return low
  }

  return Effect.map(visit(objects, ""), () =>
    found.map(({ name, isGroup }) => ({ name: paths.fromBinary(name), isGroup }))
  )
}
