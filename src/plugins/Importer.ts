/**
 * Files into a resource: JSON, lines of JSON, CSV and TSV, Parquet and XLSX, compressed or not, from files, addresses, stores and streams. Rows are
 * drawn as they are written; rows that do not fit are told one by one, and the others are written.
 *
 * ```ts
 * import * as Importer from "effect-s3db/plugins/Importer"
 * import * as Resource from "effect-s3db/Resource"
 * import { Console, Effect, Schema } from "effect"
 *
 * class People extends Resource.Service<People>()("app/people", {
 *   schema: Schema.Struct({ id: Schema.String, name: Schema.String, city: Schema.optionalKey(Schema.String) }),
 *   primaryKey: "id"
 * }) {}
 *
 * const program = Effect.gen(function* () {
 *   const file = yield* Importer.fromFile("people.csv.gz")
 *   const report = yield* Importer.run(People, file, {
 *     name: "people of November",
 *     mapping: { fields: { id: "E-mail", name: { from: ["First", "Last"], transforms: [{ join: " " }] }, city: "Ort" } },
 *     rejects: Importer.rejectsFile("people.rejects.ndjson")
 *   })
 *   yield* Console.log(report.written, report.rejected)
 * })
 * ```
 *
 * **Details**
 *
 * A row that is rejected is told with its number, the reason, every problem with its path, and what stands there. A failure of the store ends the
 * import: it is no fault of a row.
 *
 * With a `name` the import is kept in the database, about every second: started again after whatever ended it, it goes on after the rows that are
 * done, and what was written after the last note is recognized. Rows without an id get one that follows from the name, the file and the row, so
 * that none is written twice.
 *
 * In memory are the rows that are under way, and of XLSX the texts that cells share.
 *
 * **Gotchas**
 *
 * What stands in rejects is the row as it is, secrets among it.
 *
 * @see `docs/guide/importing.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { stringifyExact } from "../encoding/Json.ts"
import { isObject, isRecord, valueAt } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import { percentEncode } from "../internal/text.ts"
import * as Checkpoint from "../kernel/Checkpoint.ts"
import type { LeaseLost } from "../kernel/Lease.ts"
import * as Plugin from "../Plugin.ts"
import type { ChangeError, InsertError, Outcome, ReadError, WriteOptions } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import type * as StoreError from "../storage/StoreError.ts"
import { InvalidImport, TooManyRejects, Unreadable, UnreadableReason } from "./importer/errors.ts"
import * as guessing from "./importer/internal/guessing.ts"
import { Mapping, Transform } from "./importer/mapping.ts"
import { Format, formatOfName, open, type ReadOptions } from "./importer/internal/reading.ts"
import type { Counter, Fault, Found } from "./importer/internal/records.ts"
import * as shaping from "./importer/internal/shaping.ts"
import { fromFile, fromStore, fromStream, fromUrl, type Source } from "./importer/sources.ts"

export {
  Format,
  formatOfName,
  fromFile,
  fromStore,
  fromStream,
  fromUrl,
  InvalidImport,
  Mapping,
  type ReadOptions,
  type Source,
  TooManyRejects,
  Transform,
  Unreadable,
  UnreadableReason
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A row that was not written, and why. `reason` is the tag of the error of the write, such as `InvalidInput`, `AlreadyExists`, `UniqueViolation`,
 * `MetadataLimit` or `Rejected`; or, of what did not come to a write: `Cells` (another number of them than columns), `Transform`, `Duplicate` (of a row
 * before, by `deduplicateBy`), `NoKey`, and of JSON `InvalidJson`, `InvalidUtf8`, `TooLong`, `NotADocument`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reject {
  readonly file: string
  /** From 1. The header is none, nor is a blank line. */
  readonly row: number
  /** Of the file, from 1, where it has lines; of XLSX the row of the sheet. */
  readonly line: number | undefined
  /** The column at fault, where it is one. */
  readonly column: string | undefined
  readonly reason: string
  /** In a sentence, without values. */
  readonly problem: string
  /** Every problem of the fields, of `InvalidInput`. */
  readonly issues: ReadonlyArray<{ readonly path: ReadonlyArray<string>; readonly message: string }>
  /** What stands there: cells by their columns, a document, or a text that is none. */
  readonly original: Json
}

/**
 * How far an import has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly file: string
  /** Of the file, those of runs before among them. */
  readonly rows: number
  readonly written: number
  readonly rejected: number
  /** Of the file as it lies there, in this run. */
  readonly bytes: number
  readonly size: number | undefined
  /** Rows a second of this run, those that were done before aside. */
  readonly rate: number
  /** How long it will take, by the bytes; `undefined` as long as nobody knows. */
  readonly remaining: Duration.Duration | undefined
}

/**
 * What an import has done, in all of its runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly file: string
  readonly format: Format
  readonly rows: number
  /** Of a dry run: those that would be. */
  readonly written: number
  /** Those that were there already, with `existing: "skip"`. */
  readonly skipped: number
  /** Duplicates among them. */
  readonly rejected: number
  /** How many rows were done before this run. */
  readonly resumedAfter: number
}

/**
 * How the id of a document is made of its row.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdOptions {
  /** Fields of the document: rows with the same values have the same id. Default: the row itself, of this `name` and file. */
  readonly from?: ReadonlyArray<string> | undefined
  /** 26 letters and digits, or a UUID (version 8). Default: `"text"`. */
  readonly form?: "text" | "uuid" | undefined
}

/**
 * Takes rejects: `after` is the row up to which those of runs before stand; one of a later row that stands is told again.
 *
 * @category models
 * @since 0.1.0
 */
export type Rejects<E = never, R = never> = (
  after: number
) => Effect.Effect<(reject: Reject) => Effect.Effect<void, E, R>, E, R | Scope.Scope>

/**
 * What is imported, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never> extends ReadOptions {
  /** `insert`: a document that is there is left alone; `upsert`: fields of it are changed; `replace`: another takes its place. Default: `"insert"`. */
  readonly mode?: "insert" | "upsert" | "replace" | undefined
  /** What becomes of a row whose document is there already, with `insert`. Default: `"reject"`. */
  readonly existing?: "reject" | "skip" | undefined
  /** Which fields are made of which columns. Default: columns are called as fields, nested ones by dotted paths. */
  readonly mapping?: Mapping | undefined
  /** Makes ids of rows that have none. Default: as the resource does, or with a `name` of the row. */
  readonly id?: IdOptions | undefined
  /** Fields by whose values a row is a duplicate of one before, and rejected. Up to `maxKeys` are held in memory. Where a row before may be of another file, make the `id` of them. */
  readonly deduplicateBy?: ReadonlyArray<string> | undefined
  /** Default: 1,000,000, of about 100 bytes each. */
  readonly maxKeys?: number | undefined
  /** What the import is kept by, so that it can be resumed: 1 to 100 characters. Default: it is not kept. */
  readonly name?: string | undefined
  /** Rows that are left out at the beginning. Default: 0. */
  readonly skip?: number | undefined
  /** How many writes are under way at once. Default: 16. */
  readonly concurrency?: number | undefined
  /** Ends with `TooManyRejects` when there are more. 0: at the first. Default: none. */
  readonly maxRejects?: number | undefined
  readonly rejects?: Rejects<E, R> | undefined
  /** Does everything but write: each row is written in a transaction that is given up, at the cost of its reads. Nothing is kept. Default: `false`. */
  readonly dryRun?: boolean | undefined
  /** About once a second, and at the end. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * What an import needs of a repository.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyRepository {
  readonly writeAllJson: <E, R>(
    documents: Stream.Stream<JsonObject, E, R>,
    options?: WriteOptions
  ) => Stream.Stream<Outcome<unknown, InsertError | ChangeError>, E, R>
  readonly getJson: (id: string) => Effect.Effect<JsonObject, DbError.NotFound | DbError.NotAllowed | ReadError>
}

/**
 * A resource that is no service, such as one of the catalog.
 *
 * @category models
 * @since 0.1.0
 */
export interface Untyped {
  readonly definition: shaping.Shape
  readonly repository: AnyRepository
}

/**
 * What an import fails with, beside what its source and its rejects fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  | DbError.DbError
  | DbError.TransactionConflict
  | InvalidImport
  | LeaseLost
  | Plugin.DependencyMissing
  | Plugin.InvalidPlugin
  | StoreError.StoreError
  | TooManyRejects
  | Unreadable

// -----------------------------------------------------------------------------
// Rejects
// -----------------------------------------------------------------------------

const lineOf = (reject: Reject): string => {
  const { column, line, original, ...rest } = reject
  const whole = {
    ...rest,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
    issues: rest.issues.map(({ message, path }) => ({ path, message })),
    original
  }
  const text = stringifyExact(whole)
  return `${typeof text === "string" ? text : JSON.stringify({ ...whole, original: null })}\n`
}

/** The row of a line of rejects; what is none is of no row. */
const rowOf = (line: string): number => {
  try {
    const value = JSON.parse(line) as Json
    const row = isObject(value) ? value["row"] : undefined
    return typeof row === "number" ? row : Number.POSITIVE_INFINITY
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/**
 * Writes rejects into a file that only its owner may read, one on a line as JSON. Those of a run before stay, as far as the import stands behind
 * them; each is on the disk before the import goes past its row. `Unreadable`: it cannot be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const rejectsFile =
  (path: string): Rejects<Unreadable, FileSystem.FileSystem> =>
  (after) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const failed = (error: { readonly message: string }) =>
        new Unreadable({ file: path, reason: "Failed", description: `it cannot be written: ${error.message}` })
      const kept: Array<string> = []
      if (after > 0 && (yield* Effect.orElseSucceed(fs.exists(path), () => false))) {
        const lines = (yield* Effect.mapError(fs.readFileString(path), failed)).split("\n")
        for (const line of lines) if (line !== "" && rowOf(line) <= after) kept.push(`${line}\n`)
      }
      const encoder = new TextEncoder()
      const file = yield* Effect.mapError(fs.open(path, { flag: "w", mode: 0o600 }), failed)
      yield* Effect.mapError(file.writeAll(encoder.encode(kept.join(""))), failed)
      return (reject: Reject) => Effect.mapError(file.writeAll(encoder.encode(lineOf(reject))), failed)
    })

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/**
 * A record of a file, before anything is made of it. `record` is `undefined` where there is none at its place, and `problem` says why.
 *
 * @category models
 * @since 0.1.0
 */
export interface Read {
  readonly row: number
  readonly line: number | undefined
  readonly record: JsonObject | undefined
  readonly problem: string | undefined
}

/**
 * Reads the records of a file as they stand there: rows of tables by the names of their columns, cells of CSV as text. The numbers of Parquet and the
 * dates of XLSX are in JSON form.
 *
 * @category encoding
 * @since 0.1.0
 */
export const read = <E, R>(
  source: Source<E, R>,
  options: ReadOptions = {}
): Stream.Stream<Read, E | Unreadable | InvalidImport | Plugin.DependencyMissing, R> =>
  Stream.unwrap(
    Effect.map(open(source, options, { counter: { rows: 0 } }), ({ records }) =>
      Stream.map(records(), ({ fault, line, record, row }): Read => ({
        row,
        line,
        record,
        problem: fault?.description
      }))
    )
  )

/**
 * A definition that fits a file, as far as it was looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Proposal {
  readonly format: Format
  readonly encoding: string | undefined
  readonly delimiter: string | undefined
  /** Those that were looked at. */
  readonly rows: number
  /** Those that are no records. */
  readonly problems: number
  /** In the rule notation, for `Resource.fromAttributes` or `s3db create resource`: without the id, which is called `id`. */
  readonly attributes: JsonObject
  /** The column with another value in every row, which becomes the id; without one ids are made. */
  readonly key: string | undefined
  /** Where fields have to be called otherwise than columns: the mapping to import with. */
  readonly mapping: Mapping | undefined
}

/**
 * Guesses the types of a file of its first rows: `boolean`, `integer`, `number`, `date`, `dateonly`, `uuid`, `email`, `url`, `ip4`, lists, objects, else
 * `string`. What has leading zeros, or more digits than a number holds, is text. A field that is empty somewhere is optional. Nothing is
 * written.
 *
 * @category getters
 * @since 0.1.0
 */
export const infer = Effect.fn("Importer.infer")(function* <E, R>(
  source: Source<E, R>,
  { rows = 1000, ...options }: ReadOptions & { readonly rows?: number | undefined } = {}
): Effect.fn.Return<Proposal, E | Unreadable | InvalidImport | Plugin.DependencyMissing, R> {
  if (!(rows >= 1)) return yield* new InvalidImport({ field: "rows", problem: "Expected a number from 1" })
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const opened = yield* open(source, options, { counter: { rows: 0 } })
      const seen = guessing.make(opened.isTable)
      let problems = 0
      yield* Stream.runForEach(Stream.take(opened.records(), rows), ({ record }) =>
        Effect.sync(() => {
          if (record === undefined) problems += 1
          else seen.add(record)
        })
      )
      const { attributes, key, renamed } = seen.guess()
      const { delimiter, encoding, format } = opened
      return {
        format,
        encoding,
        delimiter,
        rows: seen.rows(),
        problems,
        attributes,
        key,
        mapping: Object.keys(renamed).length === 0 ? undefined : { fields: renamed, others: "keep" as const }
      }
    })
  )
})

// -----------------------------------------------------------------------------
// Ids
// -----------------------------------------------------------------------------

const letters = "0123456789abcdefghjkmnpqrstvwxyz"

/** 130 bits of a digest. */
const textId = (digest: Uint8Array): string => {
  let [bits, held, id] = [0, 0, ""]
  for (const byte of digest) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5 && id.length < 26) {
      bits -= 5
      id += letters[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
    if (id.length === 26) break
  }
  return id
}

const uuidId = (digest: Uint8Array): string => {
  const bytes = digest.slice(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

const digestOf = (...parts: ReadonlyArray<Json>): Uint8Array => sha256(new TextEncoder().encode(JSON.stringify(parts)))

const valuesAt = (document: JsonObject, paths: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<Json> =>
  paths.map((path) => valueAt(document, path) ?? null)

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

const plugin = Plugin.define("importer", { version: 1 })

/** How far an import is. */
const Position = Schema.Struct({
  fingerprint: Schema.String,
  row: Schema.Int,
  written: Schema.Int,
  skipped: Schema.Int,
  rejected: Schema.Int,
  isDone: Schema.Boolean
})

type Position = typeof Position.Type

/** Reasons of `DbError` that are about one document; with all others no row after it would fare better. */
const ofOneDocument = new Set([
  "Corrupt",
  "EntityTooLarge",
  "InvalidArgument",
  "KeyTooLong",
  "MetadataTooLarge",
  "SecretUnreadable"
])

/** Takes an attempt back. */
class Tried {
  readonly _tag = "Tried"
  readonly result: Result.Result<unknown, InsertError | ChangeError>
  constructor(result: Result.Result<unknown, InsertError | ChangeError>) {
    this.result = result
  }
}

/** Rows that are known to be rejected before writes under way are done. */
const mostWaiting = 4096

const progressMillis = 1000

/** A row that is being written, or is rejected and has others before it that are not done. */
interface Place extends Pick<Found, "row" | "line" | "original"> {
  readonly made: Result.Result<JsonObject, Fault>
}

const isLongName = (name: string): boolean => name === "" || name.length > 100

const checkedOptions = (options: Options<unknown, unknown>): InvalidImport | undefined => {
  const refuse = (field: string, problem: string) => new InvalidImport({ field, problem })
  const { concurrency, maxKeys, maxRejects, name, skip } = options
  if (name !== undefined && isLongName(name)) return refuse("name", "Expected 1 to 100 characters")
  const whole = (field: string, value: number | undefined, least: number) =>
    value === undefined || (Number.isSafeInteger(value) && value >= least)
      ? undefined
      : refuse(field, `Expected a whole number from ${least}`)
  return (
    whole("concurrency", concurrency, 1) ??
    whole("maxKeys", maxKeys, 1) ??
    whole("maxRejects", maxRejects, 0) ??
    whole("skip", skip, 0)
  )
}

const decodeMapping = Schema.decodeUnknownResult(Mapping, { errors: "all", onExcessProperty: "error" })

const keyOf = (prefix: string, name: string): string => `${prefix}imports/${percentEncode(name)}`

/**
 * Imports a file into a resource that is no service: see `run`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const runUntyped = Effect.fn("Importer.run")(function* <E, R, E2 = never, R2 = never>(
  { definition, repository }: Untyped,
  source: Source<E, R>,
  options: Options<E2, R2> = {}
): Effect.fn.Return<Report, Failure | E | E2, Database | R | Exclude<R2, Scope.Scope>> {
  return yield* Effect.scoped(importing(definition, repository, source, options))
})

/**
 * Imports a file into a resource, and tells what was written. 1 write of the resource for each row. With a `name` 1 GET and about 1 PUT a second more,
 * and what `Plugin.open` takes.
 *
 * `Unreadable`: the file cannot be read, or not on. `InvalidImport`: an option is wrong. `TooManyRejects`. `DependencyMissing`: Parquet without its
 * package. `DbError`, `StoreError`: the database does not do it. With a `name` the import goes on where it was when it is run again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const run = <R1 extends Resource.Any, E, R, E2 = never, R2 = never>(
  resource: R1,
  source: Source<E, R>,
  options: Options<E2, R2> = {}
): Effect.Effect<Report, Failure | E | E2, Database | Resource.SelfOf<R1> | R | Exclude<R2, Scope.Scope>> =>
  Effect.flatMap(Resource.keyOf<R1, AnyRepository>(resource), (repository) =>
    runUntyped({ definition: resource.definition, repository }, source, options)
  )

/**
 * Forgets how far an import has come, so that it begins anew when it is run again. `false`: nothing was known of it. 1 HEAD and 1 DELETE.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forget = Effect.fn("Importer.forget")(function* (
  name: string
): Effect.fn.Return<boolean, Plugin.InvalidPlugin | DbError.DbError | StoreError.StoreError, Database> {
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const { store } = yield* Database
      const key = keyOf((yield* Plugin.open(plugin)).prefix(), name)
      const isThere = yield* Effect.matchEffect(store.head(key), {
        onFailure: (error) => (error.reason._tag === "NoSuchKey" ? Effect.succeed(false) : Effect.fail(error)),
        onSuccess: () => Effect.succeed(true)
      })
      if (isThere) yield* store.delete(key)
      return isThere
    })
  )
})

const importing = Effect.fnUntraced(function* <E, R, E2, R2>(
  definition: shaping.Shape,
  repository: AnyRepository,
  source: Source<E, R>,
  options: Options<E2, R2>
) {
  const {
    concurrency = 16,
    deduplicateBy,
    dryRun = false,
    existing = "reject",
    id: idOptions,
    maxKeys = 1_000_000,
    maxRejects = Number.POSITIVE_INFINITY,
    mode = "insert",
    name,
    onProgress = () => Effect.void,
    skip = 0
  } = options
  const wrong = checkedOptions(options)
  if (wrong !== undefined) return yield* wrong
  if (options.mapping !== undefined) {
    const decoded = decodeMapping(options.mapping)
    if (Result.isFailure(decoded)) {
      return yield* new InvalidImport({ field: "mapping", problem: decoded.failure.message })
    }
  }
  const database = yield* Database
  const file = source.name
  const counter: Counter = { rows: 0 }
  let bytes = 0
  const opened = yield* open(source, options, {
    counter,
    shape: definition,
    onBytes: (count) => {
      bytes += count
    }
  })
  const { fingerprint, format } = opened
  const plan = shaping.plan(definition, options.mapping, opened.isTable)
  if ("problem" in plan) return yield* new InvalidImport(plan)

  // ---------------------------------------------------------------------------
  // Where it stands
  // ---------------------------------------------------------------------------

  const keeping = name === undefined || dryRun ? undefined : { name, self: yield* Plugin.open(plugin) }
  const checkpoint =
    keeping === undefined
      ? undefined
      : yield* Checkpoint.make(database.store, {
          key: keyOf(keeping.self.prefix(), keeping.name),
          schema: Position,
          what: "how far an import is"
        })
  const before = checkpoint === undefined ? undefined : Option.getOrUndefined(yield* checkpoint.position)
  if (before !== undefined && !before.isDone && before.fingerprint !== fingerprint) {
    return yield* new Unreadable({
      file,
      reason: "Changed",
      description: `it is another file than the one of the import ${JSON.stringify(name)}, of which ${before.row} rows are done: give that one, or another name`
    })
  }
  const resumed = before?.fingerprint === fingerprint ? before : undefined
  let position: Position = resumed ?? { fingerprint, row: skip, written: 0, skipped: 0, rejected: 0, isDone: false }
  const startRow = position.row
  const report = (): Report => ({
    file,
    format,
    rows: position.row,
    written: position.written,
    skipped: position.skipped,
    rejected: position.rejected,
    resumedAfter: resumed?.row ?? 0
  })
  if (resumed?.isDone === true) return report()
  // Before the first write, so that what was written when it is started again is known to be its own.
  if (checkpoint !== undefined && resumed === undefined) yield* checkpoint.commit(position)
  const writeReject: (reject: Reject) => Effect.Effect<void, E2, R2> =
    options.rejects === undefined ? () => Effect.void : yield* options.rejects(startRow)

  const startedAt = yield* Clock.currentTimeMillis
  let toldAt = startedAt
  const tell = Effect.fnUntraced(function* (isLast: boolean) {
    const now = yield* Clock.currentTimeMillis
    if (!isLast && now - toldAt < progressMillis) return
    toldAt = now
    const elapsed = Math.max(now - startedAt, 1)
    const { rejected, row: rows, written } = position
    const { size } = source
    const isKnown = size !== undefined && bytes > 0 && elapsed > 1
    yield* onProgress({
      file,
      rows,
      written,
      rejected,
      bytes,
      size,
      rate: ((rows - startRow) * 1000) / elapsed,
      remaining: isLast
        ? Duration.zero
        : isKnown
          ? Duration.millis((elapsed * Math.max(size - bytes, 0)) / bytes)
          : undefined
    })
  })

  // ---------------------------------------------------------------------------
  // Rows that are done
  // ---------------------------------------------------------------------------

  /** Rows in their order: those that are being written, and those that are rejected and have others before them that are not done. */
  let places: Array<Place> = []
  let head = 0
  const room = yield* Latch.make(true)
  const lock = yield* Semaphore.make(1)

  const settled = (next: Partial<Position>, row: number): Effect.Effect<void, Failure> => {
    position = { ...position, ...next, row }
    return Effect.andThen(checkpoint === undefined ? Effect.void : checkpoint.advance(position), tell(false))
  }

  const reject = Effect.fnUntraced(function* (
    place: Omit<Place, "made">,
    {
      column,
      issues = [],
      problem,
      reason
    }: Pick<Reject, "column" | "problem" | "reason"> & Partial<Pick<Reject, "issues">>
  ) {
    const { line, original, row } = place
    yield* writeReject({ file, row, line, column, reason, problem, issues, original })
    const rejected = position.rejected + 1
    yield* settled({ rejected }, row)
    if (rejected <= maxRejects) return
    return yield* new TooManyRejects({
      file,
      rejected,
      row,
      description: problem,
      ...(line === undefined ? {} : { line }),
      ...(column === undefined ? {} : { column })
    })
  })

  const next = (): Place | undefined => {
    const place = places[head]
    if (place === undefined) return undefined
    head += 1
    if (head === places.length) [places, head] = [[], 0]
    else if (head > 1024) [places, head] = [places.slice(head), 0]
    return place
  }

  /** Rejects that no row before waits for. */
  const flushFaults: Effect.Effect<void, Failure | E2, R2> = Effect.gen(function* () {
    for (let made = places[head]?.made; made !== undefined && Result.isFailure(made); made = places[head]?.made) {
      const { column, description, reason } = made.failure
      yield* reject(next()!, { reason, problem: description, column })
    }
  })

  const hidden = new Set(
    definition.attributes.filter(({ codec }) => Attributes.isHidden(codec)).map(({ path }) => path[0])
  )
  const codec = Attributes.toStorageCodec(definition.schema)
  /** In the form that is stored, where that is another: a moment with fewer digits, say. */
  const formOf = (document: JsonObject) =>
    Schema.decodeUnknownEffect(codec)(document).pipe(
      Effect.flatMap(Schema.encodeUnknownEffect(codec)),
      Effect.map((json) => (isRecord(json) ? json : document)),
      Effect.orElseSucceed(() => document)
    )

  /** Whether a document is what a row would have written: it was, before the import was ended. */
  const isOurs = Effect.fnUntraced(function* (id: string, document: JsonObject) {
    const there = yield* Effect.option(repository.getJson(id))
    if (Option.isNone(there)) return false
    const tried: Readonly<Record<string, unknown>> = yield* formOf(document)
    return Object.keys(tried).every((key) => hidden.has(key) || Equal.equals(tried[key], there.value[key]))
  })

  const settle = Effect.fnUntraced(function* (
    { made, ...place }: Place,
    result: Result.Result<unknown, InsertError | ChangeError>
  ) {
    const { row } = place
    if (Result.isSuccess(result)) return yield* settled({ written: position.written + 1 }, row)
    const error = result.failure
    if (error._tag === "DbError" && !ofOneDocument.has(error.reason._tag)) return yield* error
    if (error._tag === "AlreadyExists") {
      const isAgain = resumed !== undefined && Result.isSuccess(made) && (yield* isOurs(error.id, made.success))
      if (isAgain) return yield* settled({ written: position.written + 1 }, row)
      if (existing === "skip") return yield* settled({ skipped: position.skipped + 1 }, row)
    }
    const issues =
      error._tag === "InvalidInput"
        ? error.issues.map(({ message, path }) => ({ path: path.map(String), message }))
        : []
    const [first] = issues
    const column = first === undefined ? undefined : plan.columnOf(first.path)
    yield* reject(place, { reason: error._tag, problem: error.message, issues, column })
  })

  const onOutcome = ({ result }: { readonly result: Result.Result<unknown, InsertError | ChangeError> }) =>
    lock.withPermits(1)(
      Effect.gen(function* () {
        yield* flushFaults
        const place = next()
        if (place !== undefined) yield* settle(place, result)
        yield* flushFaults
        if (places.length - head < mostWaiting) yield* room.open
      })
    )

  // ---------------------------------------------------------------------------
  // Rows that come
  // ---------------------------------------------------------------------------

  const idPaths = idOptions?.from?.map((path) => path.split("."))
  const makesIds = idOptions !== undefined || keeping !== undefined
  const formed = idOptions?.form === "uuid" ? uuidId : textId
  const withId = (document: JsonObject, row: number): Result.Result<JsonObject, Fault> => {
    const given = document[definition.primaryKey]
    if (!makesIds || (given !== undefined && given !== null && given !== "")) return Result.succeed(document)
    const values = idPaths === undefined ? [name ?? "", fingerprint, row] : valuesAt(document, idPaths)
    if (values.every((value) => value === null || value === "")) {
      const description = `Expected a value of ${idOptions?.from?.join(", ")}, which the id is made of`
      return Result.fail({ reason: "NoKey", description })
    }
    const digest = digestOf(idPaths === undefined ? "row" : "key", values)
    return Result.succeed({ ...document, [definition.primaryKey]: formed(digest) })
  }

  const keyPaths = deduplicateBy?.map((path) => path.split("."))
  const keys = new Set<string>()
  const fresh = (document: JsonObject): Result.Result<JsonObject, Fault> => {
    if (keyPaths === undefined) return Result.succeed(document)
    const key = textId(digestOf(valuesAt(document, keyPaths)))
    if (keys.has(key)) {
      return Result.fail({ reason: "Duplicate", description: `a row before has the same ${deduplicateBy?.join(", ")}` })
    }
    keys.add(key)
    return Result.succeed(document)
  }

  /** The document of a record, or why there is none. */
  const documentOf = ({ fault, record, row }: Found): Result.Result<JsonObject, Fault> => {
    if (record === undefined) return Result.fail(fault ?? { reason: "NotADocument", description: "Expected a record" })
    const made = plan.document(record)
    if (Result.isFailure(made)) return made
    const first = fresh(made.success)
    return Result.isFailure(first) ? first : withId(first.success, row)
  }

  const draw = Effect.fnUntraced(function* (
    some: ReadonlyArray<Found>
  ): Effect.fn.Return<ReadonlyArray<JsonObject>, Failure | E2, R2> {
    if (places.length - head > mostWaiting) {
      yield* room.close
      yield* room.await
    }
    const documents: Array<JsonObject> = []
    let hasFaults = false
    for (const found of some) {
      const { line, original, row } = found
      // Those that are done are looked at where a later one may be a duplicate of them.
      if (row <= startRow && keyPaths === undefined) continue
      const made = documentOf(found)
      if (keys.size > maxKeys) {
        const description = `it has more than ${maxKeys} keys: raise maxKeys, or make the id of them`
        return yield* new Unreadable({ file, reason: "TooLarge", row, description })
      }
      if (row <= startRow) continue
      places.push({ row, line, original, made })
      if (Result.isSuccess(made)) documents.push(made.success)
      else hasFaults = true
    }
    if (hasFaults) yield* lock.withPermits(1)(flushFaults)
    return documents
  })

  const documents = Stream.mapAccumArrayEffect(
    opened.records(plan),
    () => undefined,
    (state, some) => Effect.map(draw(some), (found) => [state, found] as const)
  )

  /** What a write would say. */
  const attempt = (document: JsonObject) =>
    database
      .transaction(
        repository.writeAllJson(Stream.succeed(document), { mode }).pipe(
          Stream.runHead,
          Effect.flatMap((found) =>
            Effect.fail(new Tried(Option.match(found, { onNone: () => Result.void, onSome: ({ result }) => result })))
          )
        )
      )
      .pipe(
        Effect.matchEffect({
          onSuccess: () => Effect.succeed({ result: Result.void }),
          onFailure: (error) =>
            error instanceof Tried
              ? Effect.succeed({ result: error.result })
              : error._tag === "UniqueViolation"
                ? Effect.succeed({ result: Result.fail(error) })
                : Effect.fail(error)
        })
      )

  const outcomes = dryRun
    ? Stream.mapEffect(documents, attempt, { concurrency })
    : repository.writeAllJson(documents, { mode, concurrency })
  yield* Stream.runForEach(outcomes, onOutcome).pipe(
    Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : tell(true)))
  )
  yield* flushFaults
  position = { ...position, row: Math.max(position.row, counter.rows), isDone: true }
  if (checkpoint !== undefined) yield* checkpoint.commit(position)
  yield* tell(true)
  return report()
})
