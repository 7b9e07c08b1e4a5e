/**
 * Databases that s3db.js has written: read as they are, and moved into one of ours.
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import * as Stream from "effect/Stream"
 * import * as S3dbJs from "effect-s3db/migration/S3dbJs"
 * import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
 *
 * declare const old: ObjectStore["Service"]
 *
 * const program = Effect.gen(function* () {
 *   const source = yield* S3dbJs.open(old, { passphrase: Redacted.make("that of the old database") })
 *   const tried = yield* S3dbJs.report(S3dbJs.migrate(source, { mode: "dry-run" }))
 *   if (tried.refused + tried.unreadable > 0) return tried
 *   yield* S3dbJs.report(S3dbJs.migrate(source))
 *   return yield* S3dbJs.report(S3dbJs.migrate(source, { mode: "verify" }))
 * })
 * ```
 *
 * **Details**
 *
 * What is read is the layout of 16, and of releases after it as far as they write the same: `s3db.json`, objects
 * `resource=NAME/data/id=ID`, fields in metadata by their position, the five behaviors, secrets by the passphrase, hashes of passwords. Nothing is
 * ever written there, and nothing is evaluated that is stored.
 *
 * Each record becomes a document of the same id by one insert, so that a migration that was stopped can be run again: what is there already is
 * compared. Secrets are encrypted anew under our key ring, hashes of passwords are kept, partitions are made by our own inserts.
 *
 * @see `docs/guide/migrating-from-s3db-js.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { isRecord } from "../internal/json.ts"
import { isSame } from "../internal/threeWay.ts"
import type { DynamicSchema } from "../Portable.ts"
import type { ChangeError, ReadError, Repository } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import { listAll, ObjectStore } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import * as catalog from "./internal/catalog.ts"
import * as layouts from "./internal/layouts.ts"
import * as record from "./internal/record.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A place without a database of s3db.js that can be read.
 *
 * @remedy Look whether bucket, folder and prefix are those of the old database: there is an object `s3db.json`. One that is damaged has to be
 * repaired first, from its backups `s3db.json.corrupted.*.backup` for instance.
 * @category errors
 * @since 0.1.0
 */
export class NotS3dbJs extends ExpectedError<NotS3dbJs>("effect-s3db/migration/S3dbJs/NotS3dbJs")("NotS3dbJs", {
  description: Schema.String
}) {}

/**
 * A resource that the old database has not, or that cannot become one of ours.
 *
 * @remedy Name one of those that `source.resources` lists; where one cannot be taken over, `problem` says why.
 * @category errors
 * @since 0.1.0
 */
export class NoSuchResource extends ExpectedError<NoSuchResource>("effect-s3db/migration/S3dbJs/NoSuchResource")(
  "NoSuchResource",
  { resource: Schema.String, problem: Schema.String }
) {
  override get message(): string {
    return `${JSON.stringify(this.resource)}: ${this.problem}`
  }
}

/**
 * A record of which nothing can be told: its body is cut, damaged or gone, s3db.js has not written it, or it is of a version of its resource that
 * the catalog has not.
 *
 * @remedy Restore the object from a version of it, or a backup, or leave it: it is in the report.
 * @category errors
 * @since 0.1.0
 */
export class Unreadable extends ExpectedError<Unreadable>("effect-s3db/migration/S3dbJs/Unreadable")("Unreadable", {
  resource: Schema.String,
  id: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.resource} ${JSON.stringify(this.id)}: ${this.problem}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * How the old database is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** By which its secrets are opened. Without it records with secrets are told without them. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
  /**
   * `"keep"`, the default: the rules of the old definitions hold for what is moved, and what does not meet them is refused. `"types"`: only the types
   * are kept, and every field is optional, for data that its rules never held.
   */
  readonly rules?: "keep" | "types" | undefined
  /**
   * Whether what resources become can have binary content. The old catalog does not say which have any: without it, contents are left, and named
   * among the problems of their records. Default: `false`.
   */
  readonly content?: boolean | undefined
}

/**
 * A resource of the old database.
 *
 * @category models
 * @since 0.1.0
 */
export interface SourceResource {
  readonly name: string
  /** The version that its definition is of, such as `v3`. */
  readonly version: string
  readonly behavior: string
  /** The same as one of ours. */
  readonly definition: Definition<DynamicSchema>
  /** What the definition could not take over, and what one has to know of it. */
  readonly notes: ReadonlyArray<string>
}

/**
 * A field that could not be read. The others are there.
 *
 * @category models
 * @since 0.1.0
 */
export interface FieldProblem {
  readonly field: string
  readonly problem: string
}

/**
 * A record of the old database, as JSON of our schema. Secrets are in clear, and passwords hashes.
 *
 * @category models
 * @since 0.1.0
 */
export interface SourceRecord {
  readonly id: string
  readonly value: JsonObject
  readonly problems: ReadonlyArray<FieldProblem>
  /** Whether the original has cut it, as `truncate-data` does. */
  readonly isTruncated: boolean
  readonly content: { readonly body: Uint8Array; readonly contentType: string } | undefined
}

/**
 * An old database, which can only be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  readonly location: string
  readonly resources: ReadonlyArray<SourceResource>
  /** Those that cannot be taken over, and why. */
  readonly left: ReadonlyArray<NoSuchResource>
  /** Ids in the order of their keys. 1 LIST for each 1,000. */
  readonly ids: (resource: string) => Stream.Stream<string, NoSuchResource | StoreError>
  /** 1 LIST for each 1,000. */
  readonly count: (resource: string) => Effect.Effect<number, NoSuchResource | StoreError>
  /** 1 HEAD. */
  readonly exists: (resource: string, id: string) => Effect.Effect<boolean, NoSuchResource | StoreError>
  /** 1 GET. Fails with `NoSuchKey` of a `StoreError` where there is no such record. */
  readonly get: (resource: string, id: string) => Effect.Effect<SourceRecord, Unreadable | NoSuchResource | StoreError>
  /** All records, in the order of their keys; one that cannot be read is told in its place. 1 LIST for each 1,000, 1 GET for each. */
  readonly list: (resource: string) => Stream.Stream<SourceRecord | Unreadable, NoSuchResource | StoreError>
}

/**
 * What has become of one record.
 *
 * - `Written`: it is a document now; of a dry run: it would be.
 * - `Unchanged`: the document is there already, and says the same.
 * - `Different`: there is another document of this id. `fields` are those that differ. It was left.
 * - `Missing`: of a verification: there is no document.
 * - `Refused`: it does not meet the definition. `reason` says in what.
 * - `Unreadable`: nothing can be told of it. `reason` says why.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  readonly _tag: "Written" | "Unchanged" | "Different" | "Missing" | "Refused" | "Unreadable"
  readonly resource: string
  readonly id: string
  /** The key of the old object. */
  readonly key: string
  readonly reason?: string | undefined
  readonly fields?: ReadonlyArray<string> | undefined
  /** Fields that were not taken over. */
  readonly problems: ReadonlyArray<FieldProblem>
  /** Fields that the rules of the definition have changed, such as `trim`. */
  readonly normalized: ReadonlyArray<string>
  readonly isTruncated: boolean
}

/**
 * The sum of outcomes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly records: number
  readonly written: number
  readonly unchanged: number
  readonly different: number
  readonly missing: number
  readonly refused: number
  readonly unreadable: number
  /** Records of which some fields were not taken over. */
  readonly partial: number
  readonly truncated: number
  readonly normalized: number
}

/**
 * How records are moved.
 *
 * @category models
 * @since 0.1.0
 */
export interface MigrateOptions {
  /** Default: all that the source has. */
  readonly resources?: ReadonlyArray<string> | undefined
  /**
   * `"write"`, the default; `"dry-run"` reads and decodes everything and writes nothing, nor does it make resources; `"verify"` compares each record with
   * its document.
   */
  readonly mode?: "write" | "dry-run" | "verify" | undefined
  /** Records under way at once. Default: 16. */
  readonly concurrency?: number | undefined
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const catalogKey = "s3db.json"

const keyOf = (resource: string, id: string): string => `resource=${resource}/data/id=${id}`

/**
 * Opens a database that s3db.js has written, below the root of a store: for a part of a bucket take `PrefixedStore`, for a folder
 * `S3dbJsFolder`. 1 GET. Fails with `NotS3dbJs`, and with what the store fails with.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = Effect.fn("S3dbJs.open")(function* (
  store: ObjectStore["Service"],
  { content = false, passphrase, rules = "keep" }: Options = {}
): Effect.fn.Return<Source, NotS3dbJs | StoreError> {
  const { location } = store
  const { body } = yield* Effect.catchReason(store.get(catalogKey), "StoreError", "NoSuchKey", () =>
    Effect.fail(new NotS3dbJs({ description: `there is no ${catalogKey} at ${location}` }))
  )
  const text = new TextDecoder().decode(body)
  const { resources: stored } = yield* Effect.mapError(
    Schema.decodeUnknownEffect(catalog.Catalog)(text),
    () => new NotS3dbJs({ description: `the ${catalogKey} at ${location} is damaged, or is not one of s3db.js` })
  )
  const known = new Map<string, layouts.Known>()
  const left: Array<NoSuchResource> = []
  for (const [resource, json] of Object.entries(stored)) {
    const read = layouts.read(resource, json, { rules, content })
    if (read._tag === "Known") known.set(resource, read)
    else left.push(new NoSuchResource({ resource, problem: read.problem }))
  }

  const find = (resource: string) => {
    const found = known.get(resource)
    if (found !== undefined) return Effect.succeed(found)
    const problem = "the old database has no such resource"
    return Effect.fail(left.find((one) => one.resource === resource) ?? new NoSuchResource({ resource, problem }))
  }

  const get = Effect.fn("S3dbJs.get")(function* (
    resource: string,
    id: string
  ): Effect.fn.Return<SourceRecord, Unreadable | NoSuchResource | StoreError> {
    const { layoutOf } = yield* find(resource)
    const unreadable = (problem: string) => new Unreadable({ resource, id, problem })
    const object = yield* Effect.catchReason(
      store.get(keyOf(resource, id)),
      "StoreError",
      "Corrupt",
      ({ description }) => Effect.fail(unreadable(description))
    )
    const version = object.metadata["_v"]
    const layout = layoutOf(version)
    if (layout === undefined) return yield* unreadable(`the catalog has no version ${JSON.stringify(version)} of it`)
    const { value, ...rest } = yield* Effect.mapError(record.decode(object, layout, passphrase), unreadable)
    return { id, value: { id, ...value }, ...rest }
  })

  const ids = (resource: string) =>
    Stream.unwrap(
      Effect.map(find(resource), () => {
        const prefix = keyOf(resource, "")
        return Stream.map(listAll(store, { prefix, keysOnly: true }), ({ key }) => key.slice(prefix.length))
      })
    )

  return {
    location,
    resources: Array.from(known.values(), ({ layoutOf: _, _tag: __, ...rest }) => rest),
    left,
    ids,
    count: Effect.fn("S3dbJs.count")((resource) => Stream.runCount(ids(resource))),
    exists: Effect.fn("S3dbJs.exists")(function* (resource, id) {
      yield* find(resource)
      return yield* store.head(keyOf(resource, id)).pipe(
        Effect.as(true),
        Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false))
      )
    }),
    get,
    list: (resource) =>
      ids(resource).pipe(
        Stream.mapEffect(
          (id) =>
            Effect.catchTag(get(resource, id), "Unreadable", (error) =>
              Effect.succeed<SourceRecord | Unreadable>(error)
            ),
          { concurrency: 16 }
        )
      )
  }
})

/**
 * An old database as a service, for a program that reads what has not been moved yet.
 *
 * @category services
 * @since 0.1.0
 */
export class S3dbJs extends Context.Service<S3dbJs, Source>()("effect-s3db/migration/S3dbJs") {}

/**
 * Opens the old database below the root of a store, as `open` does. It is another store than that of the `Database`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<S3dbJs, NotS3dbJs | StoreError, ObjectStore> =>
  Layer.effect(
    S3dbJs,
    Effect.flatMap(ObjectStore, (store) => open(store, options))
  )

// -----------------------------------------------------------------------------
// Moving
// -----------------------------------------------------------------------------

/** Documents as JSON with everything in them, and back. */
interface Forms {
  readonly decode: (json: JsonObject) => Effect.Effect<DynamicSchema["Type"], Schema.SchemaError>
  readonly encode: (value: DynamicSchema["Type"]) => Effect.Effect<JsonObject, Schema.SchemaError>
}

const formsOf = ({ schema }: Definition<DynamicSchema>): Forms => {
  const withSecrets = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideService(effect, Attributes.SecretsOpen, true)
  const codec = Attributes.toStorageCodec(schema)
  const defaulted = Attributes.defaultedFields(schema)
  return {
    decode: (json) => {
      const missing = defaulted.filter((field) => !Object.hasOwn(json, field))
      const given = Attributes.omitFields(schema, missing) ?? schema
      const codec: Schema.Codec<DynamicSchema["Type"], unknown> = Attributes.toStorageCodec(given) as never
      return withSecrets(Schema.decodeUnknownEffect(codec, { onExcessProperty: "error" })(json))
    },
    encode: (value) => withSecrets(Schema.encodeEffect(codec)(value)) as Effect.Effect<JsonObject, Schema.SchemaError>
  }
}

/** Paths below which two values differ; lists and what is no object count as one. */
const differences = (a: Json | undefined, b: Json | undefined, path = ""): ReadonlyArray<string> => {
  if (isRecord(a) && isRecord(b)) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)])
    return [...names].flatMap((name) =>
      differences(
        Object.hasOwn(a, name) ? (a as JsonObject)[name] : undefined,
        Object.hasOwn(b, name) ? (b as JsonObject)[name] : undefined,
        path === "" ? name : `${path}.${name}`
      )
    )
  }
  return isSame(a, b) ? [] : [path]
}

const contentLeft: FieldProblem = {
  field: "",
  problem: "its content was left: the resource is declared without content"
}

/** What has become of a record, before it is said of which. */
type Result = Pick<Outcome, "_tag"> &
  Partial<Pick<Outcome, "reason" | "fields" | "problems" | "normalized" | "isTruncated">>

/**
 * The errors of moving, beside those of records, which are outcomes.
 *
 * @category errors
 * @since 0.1.0
 */
export type MigrateError = NoSuchResource | StoreError | ReadError | ChangeError | DbError.NotAllowed

/** Moves the records of one resource: what is done with each id. Opening the resource makes it, unless nothing is to be written. */
const moving = Effect.fnUntraced(function* (
  source: Source,
  { definition, name }: SourceResource,
  mode: "write" | "dry-run" | "verify"
) {
  const database = yield* Database
  const isThere = (yield* database.listResources).some((one) => one.name === name)
  // What somebody has declared already is taken as it is.
  const target = isThere ? yield* Resource.fromCatalog(name) : definition
  const forms = formsOf(target)
  const repository = mode === "write" || isThere ? yield* Resource.make(target) : undefined
  const compare = Effect.fnUntraced(function* (id: string, wanted: JsonObject) {
    const there = repository === undefined ? Option.none() : yield* repository.getOption(id)
    if (Option.isNone(there)) return { _tag: "Missing" } as const
    const fields = differences(wanted, yield* Effect.orDie(forms.encode(there.value)))
    return fields.length === 0 ? ({ _tag: "Unchanged" } as const) : ({ _tag: "Different", fields } as const)
  })

  const refused = (error: { readonly message: string }) =>
    Effect.succeed({ _tag: "Refused", reason: error.message } as const)

  const write = (repository: Repository<DynamicSchema>, value: DynamicSchema["Type"], id: string, wanted: JsonObject) =>
    repository.insert(value as never).pipe(
      Effect.as({ _tag: "Written" } as Result),
      Effect.catchTags({
        AlreadyExists: () => compare(id, wanted),
        InvalidInput: refused,
        MetadataLimit: refused,
        UniqueViolation: refused,
        Rejected: refused
      })
    )

  const one = Effect.fnUntraced(function* (id: string): Effect.fn.Return<Result, MigrateError> {
    const read = yield* Effect.result(source.get(name, id))
    if (read._tag === "Failure") {
      const error = read.failure
      if (error._tag === "Unreadable") return { _tag: "Unreadable", reason: error.problem }
      const isGone = error._tag === "StoreError" && error.reason._tag === "NoSuchKey"
      return isGone ? { _tag: "Unreadable", reason: "it was deleted meanwhile" } : yield* Effect.fail(error)
    }
    const { content, isTruncated, value } = read.success
    const isLeft = content !== undefined && !target.content
    const problems = isLeft ? [...read.success.problems, contentLeft] : read.success.problems
    const decoded = yield* Effect.result(forms.decode(value))
    if (decoded._tag === "Failure") {
      return { _tag: "Refused", reason: decoded.failure.message, problems, isTruncated }
    }
    const wanted = yield* Effect.orDie(forms.encode(decoded.success))
    const told = { problems, isTruncated, normalized: differences(value, wanted) }
    if (mode !== "write" || repository === undefined) {
      const found = yield* compare(id, wanted)
      return { ...told, ...found, _tag: mode === "dry-run" && found._tag === "Missing" ? "Written" : found._tag }
    }
    const result = yield* write(repository, decoded.success, id, wanted)
    const isOurs = result._tag === "Written" || result._tag === "Unchanged"
    // A migration that was stopped between the two goes on here.
    if (content !== undefined && !isLeft && isOurs && !(yield* repository.hasContent(id))) {
      yield* repository.setContent(id, content.body, { contentType: content.contentType })
    }
    return { ...told, ...result }
  })

  return (id: string): Effect.Effect<Outcome, MigrateError> =>
    Effect.map(one(id), (result) => ({
      problems: [],
      normalized: [],
      isTruncated: false,
      ...result,
      resource: name,
      id,
      key: keyOf(name, id)
    }))
})

/**
 * Moves an old database, or some of its resources, into the `Database`: what has become of each record, in no order. Each resource is
 * declared with the first, unless it is there already: then it is taken as it is, so that whoever wants another definition declares it before.
 *
 * Run it again after it was stopped: what is there already is compared, and left. Requests for a record: 1 GET of the old object, those of an
 * insert, and 1 GET where there is a document already.
 *
 * @category conversions
 * @since 0.1.0
 */
export const migrate = (
  source: Source,
  { concurrency = 16, mode = "write", resources }: MigrateOptions = {}
): Stream.Stream<Outcome, MigrateError, Database> =>
  Stream.fromIterable(resources ?? source.resources.map(({ name }) => name)).pipe(
    Stream.flatMap((name) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const found = source.resources.find((one) => one.name === name)
          if (found === undefined) {
            const problem = "the old database has no such resource"
            return yield* (
              source.left.find((one) => one.resource === name) ?? new NoSuchResource({ resource: name, problem })
            )
          }
          const move = yield* moving(source, found, mode)
          return Stream.mapEffect(source.ids(name), move, { concurrency, unordered: true })
        })
      )
    )
  )

/**
 * Returns no outcomes.
 *
 * @category constants
 * @since 0.1.0
 */
export const emptyReport: Report = {
  records: 0,
  written: 0,
  unchanged: 0,
  different: 0,
  missing: 0,
  refused: 0,
  unreadable: 0,
  partial: 0,
  truncated: 0,
  normalized: 0
}

const counters = {
  Written: "written",
  Unchanged: "unchanged",
  Different: "different",
  Missing: "missing",
  Refused: "refused",
  Unreadable: "unreadable"
} as const satisfies Record<Outcome["_tag"], keyof Report>

/**
 * Adds an outcome to a report.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add = (report: Report, { _tag, isTruncated, normalized, problems }: Outcome): Report => {
  const counter = counters[_tag]
  return {
    ...report,
    records: report.records + 1,
    partial: report.partial + (problems.length > 0 ? 1 : 0),
    truncated: report.truncated + (isTruncated ? 1 : 0),
    normalized: report.normalized + (normalized.length > 0 ? 1 : 0),
    [counter]: report[counter] + 1
  }
}

/**
 * Runs a migration to its end, and counts.
 *
 * @category getters
 * @since 0.1.0
 */
export const report = <E, R>(outcomes: Stream.Stream<Outcome, E, R>): Effect.Effect<Report, E, R> =>
  Stream.runFold(outcomes, () => emptyReport, add)
