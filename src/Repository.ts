/**
 * The interface of a resource's documents: everything that a program does with them.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Aggregation from "./Aggregation.ts"
import type * as Change from "./Change.ts"
import type * as Companion from "./Companion.ts"
import type * as Content from "./Content.ts"
import type * as DbError from "./DbError.ts"
import type * as Document from "./Document.ts"
import type { Json, JsonObject } from "./encoding/Json.ts"
import type * as merge from "./internal/merge.ts"
import type { LeaseLost } from "./kernel/Lease.ts"
import type * as PackedObjects from "./kernel/PackedObjects.ts"
import type * as Pipeline from "./Pipeline.ts"
import type * as Query from "./Query.ts"
import type { Input } from "./schema/Attribute.ts"
import type * as Attributes from "./schema/Attributes.ts"
import type {
  Counted,
  Covered,
  Covering,
  Feature,
  InPartition,
  NameOf,
  Names,
  Part,
  Selected,
  Stored,
  UniqueValues,
  Within
} from "./Names.ts"

// -----------------------------------------------------------------------------
// Inputs, results and errors
// -----------------------------------------------------------------------------

/**
 * The input of `insert`: the schema's fields, plain `Redacted` text for passwords. Fields with a constructor default are
 * optional, and so are those that the resource fills in by itself: of `timestamps`, `userstamps` and `computed`.
 *
 * @category models
 * @since 0.1.0
 */
export type Insert<S extends Attributes.DocumentSchema, N extends Names = Names> = Input<
  WithOptional<WithKnown<S["~type.make.in"], S["Type"]>, N["filled"]>
>

/** Schemas without a constructor of their own, such as `Schema.Json`, take `unknown` there: what they hold is meant. */
type WithKnown<In, Type> = [NamesOfUnknown<In>] extends [never]
  ? In
  : { readonly [K in keyof In]: unknown extends In[K] ? (K extends keyof Type ? Type[K] : In[K]) : In[K] }

type NamesOfUnknown<In> = { readonly [K in keyof In]-?: unknown extends In[K] ? K : never }[keyof In]

type WithOptional<In, Filled extends string> = string extends Filled
  ? In
  : [Filled & keyof Exclude<In, void>] extends [never]
    ? In
    : Optionally<Exclude<In, void>, Filled>

type Optionally<In, Filled> = {
  readonly [K in keyof In as K extends Filled ? never : K]: In[K]
} & { readonly [K in keyof In as K extends Filled ? K : never]?: In[K] }

/**
 * New values for some top-level fields, or for nested ones by their path (`"address.city"`). `undefined` removes an
 * optional field. Objects and arrays are replaced as a whole.
 *
 * @category models
 * @since 0.1.0
 */
export type Update<A> = Input<merge.PathFields<A>>

/**
 * New values for some fields at any depth: nested objects are merged, everything else is replaced. `undefined` removes
 * an optional field.
 *
 * @category models
 * @since 0.1.0
 */
export type Patch<A> = Input<merge.DeepFields<A>>

/**
 * The revision that a change goes by, and how often it is tried again.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpdateOptions {
  /** Go on only if the document still has this revision, else `Conflict`. */
  readonly ifRevision?: Document.Revision | undefined
  /**
   * How often a change by id is tried again when somebody else has changed the document in between, with growing
   * pauses. Default 20. It does not apply to a change with a document or revision in hand: that fails at once.
   */
  readonly retries?: number | undefined
}

/**
 * How a document is looked for that may be there or not, and how often a change of it is tried again.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpsertOptions extends Pick<UpdateOptions, "retries"> {
  /**
   * Creates the document without looking for it first: one that is new costs no GET then, and one that exists a PUT more. For an import
   * of what is mostly new. Default `false`. Within a transaction, and where interceptors take part in `insert` or `update`, it is looked
   * for in any case; one whose id is yet to be made never is.
   */
  readonly createFirst?: boolean | undefined
}

/**
 * The outcome of a bulk deletion.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeleteManyResult<out Id extends string = string> {
  /**
   * Ids of which there is no document any more, in input order. Also those of which there never was one: S3 does not tell, and
   * nothing is read for that alone. `delete(id, { mustExist: true })` tells.
   */
  readonly deleted: ReadonlyArray<Id>
  /** Ids that could not be deleted, in input order. */
  readonly failed: ReadonlyArray<{ readonly id: Id; readonly error: DbError.DbError | Pipeline.Rejected }>
}

/**
 * The errors of every reading.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadError = DbError.DbError | Pipeline.Rejected

/**
 * The errors of listings and queries.
 *
 * @category errors
 * @since 0.1.0
 */
export type ListError = Pipeline.StreamError

/**
 * The errors of reading earlier versions.
 *
 * @category errors
 * @since 0.1.0
 */
export type HistoryError = DbError.NotAllowed | DbError.InvalidInput | ReadError

/**
 * A version by its number, or the one that there was at a time.
 *
 * @category models
 * @since 0.1.0
 */
export type Moment = { readonly version: number } | { readonly time: DateTime.DateTime }

/**
 * A version that is past, or why it cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version<out S extends Attributes.DocumentSchema, out Id extends string = string> {
  readonly version: number
  readonly result: Result.Result<Document.Document<S["Type"], Id>, DbError.DbError>
}

/**
 * What shows a document before and after a write: a record of the journal, or an entry of an audit trail.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImageRecord {
  readonly resource: string
  readonly id: string
  readonly before?: JsonObject | undefined
  readonly after?: JsonObject | undefined
  /** Paths of what was cut, beginning with `before` or `after`. */
  readonly truncated?: ReadonlyArray<string> | undefined
}

/**
 * The operations of a resource as interceptors see them, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Operations<
  S extends Attributes.DocumentSchema,
  N extends Names = Names,
  Fields = Stored<S>
> = Pipeline.Operations<S["Type"], Insert<S, N>, Update<Fields>, Patch<Fields>, Fields>

/**
 * The outcome for one of many.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome<out A, out E, out Id extends string = string> {
  /** Its place in the stream, from 0. */
  readonly index: number
  /** `undefined` for an input that has no id yet. */
  readonly id: Id | undefined
  readonly result: Result.Result<A, E>
}

/**
 * The way in which a sink writes documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface WriteOptions extends Query.Concurrency {
  /** Default `"insert"`. */
  readonly mode?: "insert" | "upsert" | "replace" | undefined
  /** With `mode: "upsert"`: see `UpsertOptions`. Default `false`. */
  readonly createFirst?: boolean | undefined
}

/**
 * The numbers of what a sink has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface WriteSummary {
  readonly written: number
  readonly failed: number
  /** What did not succeed, in input order, the first of them. */
  readonly failures: ReadonlyArray<{
    readonly index: number
    readonly id: string | undefined
    readonly error: InsertError | ChangeError
  }>
}

/**
 * The errors of an insert.
 *
 * @category errors
 * @since 0.1.0
 */
export type InsertError = DbError.AlreadyExists | WriteError | Pipeline.Rejected | Pipeline.AfterFailed

/**
 * The errors of a change of a document.
 *
 * @category errors
 * @since 0.1.0
 */
export type ChangeError = DbError.NotFound | DbError.Conflict | WriteError | Pipeline.Rejected | Pipeline.AfterFailed

/**
 * Several ids. A single one is none: a text is a sequence of letters to TypeScript.
 *
 * @category models
 * @since 0.1.0
 */
export type Ids<N extends Names = Names> = Iterable<N["id"]> & object

/**
 * The errors of a deletion.
 *
 * @category errors
 * @since 0.1.0
 */
export type DeleteError = DbError.NotFound | DbError.Conflict | DeleteManyError

/**
 * The errors of the deletion of many documents at once.
 *
 * @category errors
 * @since 0.1.0
 */
export type DeleteManyError = DbError.InvalidInput | DbError.DbError | Pipeline.Rejected | Pipeline.AfterFailed

/**
 * The errors of the writing of one version.
 *
 * @category errors
 * @since 0.1.0
 */
export type WriteError = DbError.InvalidInput | DbError.MetadataLimit | DbError.UniqueViolation | DbError.DbError

/**
 * The progress of a long operation, told as it goes on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly done: number
  readonly total: number
}

/**
 * The options of long operations of which nobody knows the length before the end.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProgressOptions {
  /** Runs after each 1,000 objects or so, with their number up to then. What is still to do waits for it. */
  readonly onProgress?: ((progress: Pick<Progress, "done">) => Effect.Effect<void>) | undefined
}

/**
 * A function that is told of the progress of a long operation.
 *
 * @category models
 * @since 0.1.0
 */
export type OnProgress = (progress: Progress) => Effect.Effect<void>

/**
 * The options of operations on many documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface ManyOptions extends Query.Concurrency {
  /** Runs after each document, of deletions without interceptors after each 1,000. What is still to do waits for it. */
  readonly onProgress?: OnProgress | undefined
}

// -----------------------------------------------------------------------------
// Results of maintenance
// -----------------------------------------------------------------------------

/**
 * The options of operations that write every document again.
 *
 * @category models
 * @since 0.1.0
 */
export interface RewriteOptions extends Query.Concurrency {
  /**
   * Begin after this id, where an earlier run ended. `backfill` knows by itself where that was. `InvalidInput` on a store that
   * lists without order.
   */
  readonly after?: string | undefined
}

/**
 * The outcome of a rewrite for one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewritten {
  readonly id: string
  /** `false`: it was as it should be already, has been deleted since it was listed, or could not be written. */
  readonly rewritten: boolean
  /** Why it could not be read or written. It was left as it is. */
  readonly error?: RewriteError | undefined
}

/**
 * The errors by which a rewrite leaves a single document as it is.
 *
 * @category errors
 * @since 0.1.0
 */
export type RewriteError = DbError.Conflict | WriteError

/**
 * The outcome of a rotation for one document, or with its earlier versions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rotated extends Rewritten {
  readonly of: "document" | "history"
}

/**
 * The outcome of a backfill for one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Backfilled extends Rewritten {
  /**
   * The values of unique keys that another document has. It has got everything else that it lacked. Change one of the two, and
   * run the backfill again.
   */
  readonly violations: ReadonlyArray<DbError.UniqueViolation>
}

/**
 * One thing that is not as it should be.
 *
 * - `LeftoverMarker`: no document owns it. Removed.
 * - `MissingMarker`: a document owns it, and it is not there. Put again.
 * - `Unindexed`: a document lacks markers or reservations that the definition wants. Written again.
 * - `LeftoverReservation`: no document has the value. Freed.
 * - `LeftoverContent`: no document points to it. Removed.
 * - `LeftoverDeletion`: what is left in the place of a document that was deleted. Removed.
 * - `Duplicate`: a document has a value whose reservation belongs to another. Only told: change one of the two.
 * - `Corrupt`: a document, or a reservation, that cannot be read. Only told: restore it, or remove it with `discard`.
 * - `Foreign`: a key where documents, markers, reservations and contents lie, that is none of them. Only told, and never
 *   touched.
 *
 * @category models
 * @since 0.1.0
 */
export interface Finding {
  readonly kind:
    | "LeftoverMarker"
    | "MissingMarker"
    | "Unindexed"
    | "LeftoverReservation"
    | "LeftoverContent"
    | "LeftoverDeletion"
    | "Duplicate"
    | "Corrupt"
    | "Foreign"
  readonly key: string
  /** The document; empty for what is none's. */
  readonly id: string
  /** `false` in a dry run, and for what is only told. */
  readonly repaired: boolean
  /** Why, where it could not be read or mended. It shows no values. */
  readonly description?: string | undefined
}

/**
 * A document that could not be read, and is gone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Discarded {
  readonly id: string
  /** The keys that are gone: its own, and those of its markers, reservations and content. */
  readonly removed: ReadonlyArray<string>
}

/**
 * The options of a repair.
 *
 * @category models
 * @since 0.1.0
 */
export interface RepairOptions extends Query.Concurrency {
  /** `true`, the default, only tells. */
  readonly dryRun?: boolean | undefined
  /** How old markers have to be, in milliseconds by the store's clock. Default 15 minutes. */
  readonly markerGraceMillis?: number | undefined
  /**
   * On a store that ignores conditions on DELETE: also removes the small objects that deletions leave there. Only while
   * nobody writes to the resource, since an insert of the same id at that moment would be lost. Default `false`.
   */
  readonly sweepDeletions?: boolean | undefined
}

/**
 * The outcome of a recount.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recounted {
  /** What the counter said. */
  readonly before: number
  /** What it says now. */
  readonly after: number
  /** Documents that could not be read. They are in the number of all, and in that of no partition. 0 where none is read. */
  readonly unread: number
}

/**
 * The places where the bytes of one document go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Explanation {
  readonly id: string
  readonly encoding: "text" | "packed" | (string & {})
  /** What S3 counts: every name and value of the metadata. */
  readonly metadataBytes: number
  /** What the store allows. */
  readonly limitBytes: number
  /** What the metadata takes of the request's headers, names twice and `x-amz-meta-` before them: many small fields exceed this first. */
  readonly headerBytes: number
  /** What it may take of them. */
  readonly headerLimitBytes: number
  /** Of the metadata, what the library itself takes. */
  readonly systemBytes: number
  /** Of the body, what the fields take, compressed or not; its envelope has 20 to 140 bytes more, or 42 to 240 where it is JSON. */
  readonly bodyBytes: number
  /** What the fields would take as one JSON text, with names. */
  readonly jsonBytes: number
  readonly fields: ReadonlyArray<{
    readonly path: string
    readonly attribute: string
    readonly codec: string
    readonly place: "metadata" | "body"
    /** Bytes in metadata with the name (packed: before they become text), or of JSON in the body. */
    readonly bytes: number
    readonly jsonBytes: number
    /** Whether it is compressed, together with the other fields of the body that are. */
    readonly isCompressed: boolean
    /** The readable form; not shown for secrets, password hashes and packed values. */
    readonly text: string | undefined
  }>
}

// -----------------------------------------------------------------------------
// Repository
// -----------------------------------------------------------------------------

/**
 * Maintenance of a resource: the program's own work, in which no interceptor takes part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Admin<N extends Names = Names> {
  /**
   * Counts anew and sets the counters: one LIST for each 1,000, and where partitions are counted 1 GET for each document.
   * Writes that happen meanwhile may be counted twice or not at all: run it when little is written, also after a
   * `backfill` of a partition that is counted. First it waits, as `backfill` does, until all programs know that they have to
   * count. Stopped before its end it has set nothing, or a part of the counters: run it again. `NotAllowed`; `Incomplete`: the
   * current version of the resource counts nothing.
   */
  readonly recount: (options?: ProgressOptions) => Effect.Effect<Recounted, DbError.NotAllowed | DbError.DbError>

  /**
   * Brings copies of all documents up to what is there, for scans that do not pay one request for each document: what
   * `plugins/Segments` does again and again. `copies` is to be about the keys of the documents of this resource. See
   * `PackedObjects.compact` for requests.
   *
   * What is stored is copied as it is, secrets sealed; what of it conditions can see is put beside it in columns. `LeaseLost`: another has the
   * lease of the token. `DbError` with `Unsupported`: the store lists in no order.
   */
  readonly pack: (
    copies: PackedObjects.PackedObjects,
    options?: { readonly token?: number | undefined }
  ) => Effect.Effect<PackedObjects.Summary, LeaseLost | DbError.DbError>

  /**
   * Removes a document that cannot be read, and its markers, reservations and content, also where `delete` cannot since nobody
   * knows what it owns. What is removed is the very object that could not be read: a version that was written in between stays.
   *
   * 2 GET and 1 DELETE, on a network 1 PUT before it; where the body of the object tells what it owns 1 GET and 1 DELETE for each,
   * else one LIST for each 1,000 markers and reservations of the resource, and 1 GET for each reservation; with `content` 1 LIST,
   * with `history` 1 GET, 1 LIST and 1 PUT more. What is younger than 15 minutes, reservations than their lease, is left to
   * `repair`, unless the body tells of it.
   *
   * Nothing of it is kept; with `history` the versions before stay, and when it ended is noted down. A counter loses one, that
   * of a partition only where the body tells of it: `recount` counts anew. In a transaction it takes no part.
   *
   * `NotFound`; `NotAllowed`: it can be read; `Conflict`: it kept changing; `DbError` with `SecretUnreadable` when the program
   * lacks the key.
   */
  readonly discard: (
    id: string
  ) => Effect.Effect<
    Discarded,
    DbError.NotFound | DbError.NotAllowed | DbError.Conflict | DbError.InvalidInput | DbError.DbError
  >

  /**
   * Writes every document that is of an older schema version in the present one, in the order of their keys; what was
   * read is only overwritten as it was read. One LIST for each 1,000, 1 GET for each document, 1 PUT for each old one.
   *
   * Tells of each document; one that cannot be read or written has an `error`, and the others come all the same. To go on after
   * an interruption, give the id that it told last as `after`. When it ends, all of them are of the present version; else it
   * ends with `Unfinished`, which names those that are not.
   */
  readonly migrate: (options?: RewriteOptions) => Stream.Stream<Rewritten, ChangeError | DbError.Unfinished>

  /**
   * Writes every document with a secret under an older key again, then earlier versions of documents. Like `migrate`
   * otherwise; for versions that are past 1 LIST for each 1,000, 1 GET for each, 1 PUT for each old one, whether or not
   * the resource still has `history`.
   *
   * Older keys can be retired when all programs write with the current one and a run after that has rewritten nothing.
   *
   * Unique keys that are `blind` move to the current key, too. While one moves, programs find by it and keep it as before, as
   * long as their rings have both keys. It first waits until all programs know, as `backfill` does; each document with a
   * value takes 1 PUT more, and in the end the former reservations 1 LIST and 1 DeleteObjects for each 1,000. Only a run
   * without `after`, in which every document could be read and written, ends the move: after an interruption run it anew,
   * which passes over what is done. `Unsupported`: the ring has not the key under which one is kept.
   */
  readonly rotate: (options?: RewriteOptions) => Stream.Stream<Rotated, ChangeError | DbError.Unfinished>

  /**
   * Gives every document the markers and reservations of partitions and unique keys that were declared after it was
   * written. One LIST for each 1,000, 1 GET for each document, the requests of an update for each that lacks something; 2 PUT
   * for each 1,000 documents and at the end, by which the catalog knows how far it is.
   *
   * It may be stopped, also by a crash, and several may run at once: the next one goes on where the catalog says, and begins with
   * the documents that were left. A partition or unique key is complete when every document has been visited and none was left.
   * A value that another document has (`violations`) keeps nothing else from a document, and no other index from being
   * complete; one that cannot be read or written has an `error`, and is missing in all that are being built.
   *
   * When it ends, everything is complete; else it ends with `Unfinished`, which names what is in the way. Where something is to
   * be built, it first waits until all programs know that: `catalogLease`, and a tenth more, since this one has seen it declared.
   * What a removal has left, or an index that was declared otherwise before, is removed at the end.
   */
  readonly backfill: (options?: RewriteOptions) => Stream.Stream<Backfilled, ChangeError | DbError.Unfinished>

  /**
   * Finds what crashes have left behind, and what is missing, and mends it with `dryRun: false`. It reads every document
   * and asks for each of its markers (1 GET and 1 HEAD for each), then lists all markers and reservations (1 GET for each).
   * What cannot be read, and keys that are not of the resource, are told in their place.
   */
  readonly repair: (options?: RepairOptions) => Stream.Stream<Finding, ChangeError>

  /**
   * Makes the definition of this program the current version of the resource, also when newer ones are registered: what they
   * ask for and it does not (`history`, `content`, `counters`) is no more kept up by programs that do not declare it. A
   * definition that was not registered before is current without more. 1 GET, 1 PUT, and 1 more for the backup.
   */
  readonly makeCurrent: Effect.Effect<void, DbError.DbError>

  /**
   * Forgets a partition, waits as `backfill` does until no program looks for it any more, and removes its markers, whose
   * number it gives. Stopped before its end, it can be called again, and goes on; `backfill` does so, too. 1 GET, 4 PUT, 1 LIST
   * and 1 DeleteObjects for each 1,000.
   *
   * `InvalidInput`: there is none. `NotAllowed`: the current version of the resource declares it, and is not that of this program.
   */
  readonly removePartition: (
    name: NameOf<N["partitions"]>,
    options?: ProgressOptions
  ) => Effect.Effect<number, DbError.InvalidInput | DbError.NotAllowed | DbError.DbError>

  /**
   * Forgets a companion, waits as `backfill` does until no program looks for it any more, and removes its keys, whose number it gives.
   * A program that still declares it declares it again when it is opened next. Like `removePartition` otherwise.
   *
   * `InvalidInput`: there is none.
   */
  readonly removeCompanion: (
    name: string,
    options?: ProgressOptions
  ) => Effect.Effect<number, DbError.InvalidInput | DbError.NotAllowed | DbError.DbError>

  /**
   * Forgets a unique key, waits as `backfill` does until no program looks for it any more, and removes its reservations, whose
   * number it gives. Like `removePartition` otherwise.
   */
  readonly removeUnique: (
    name: NameOf<N["unique"]>,
    options?: ProgressOptions
  ) => Effect.Effect<number, DbError.InvalidInput | DbError.NotAllowed | DbError.DbError>

  /**
   * Removes versions that are past: of each document all but the newest `keep`, those replaced before a time, or both. When
   * a document was deleted is forgotten with the versions before. Tells of each document from which something was removed.
   * One LIST for each 1,000, and for each document 1 GET, 1 LIST and 1 DeleteObjects.
   *
   * `InvalidInput`: neither is given, or `keep` is no integer of 0 or more.
   */
  readonly pruneHistory: (options: {
    readonly keep?: number | undefined
    readonly before?: DateTime.DateTime | undefined
  }) => Stream.Stream<{ readonly id: string; readonly removed: number }, HistoryError>
}

/**
 * The request of a query of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export type Request<
  S extends Attributes.DocumentSchema,
  N extends Names = Names,
  Fields = Stored<S>
> = Query.Conditions<Fields> & Within<S, N>

/**
 * The members that every repository has. See `Repository`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents<in out S extends Attributes.DocumentSchema, N extends Names, Fields = Stored<S>> {
  /**
   * Creates a document. 1 PUT.
   *
   * `AlreadyExists`: the id is taken. `InvalidInput`: the fields at fault, keys that the schema does not know (see
   * `onExcessProperty` of the definition) and values that would come back as others among them. `MetadataLimit`: it does
   * not fit, and the behavior does not let it go to the body.
   */
  readonly insert: (input: Insert<S, N>) => Effect.Effect<S["Type"], InsertError>

  /**
   * Creates documents concurrently. n PUT. The outcomes are in input order; one that fails does not stop the others.
   */
  readonly insertMany: (
    inputs: Iterable<Insert<S, N>>,
    options?: ManyOptions
  ) => Effect.Effect<ReadonlyArray<Result.Result<S["Type"], InsertError>>>

  /** Upserts documents concurrently, each as `upsert` does. The outcomes are in input order; one that fails does not stop the others. */
  readonly upsertMany: (
    inputs: Iterable<Insert<S, N>>,
    options?: ManyOptions & UpsertOptions
  ) => Effect.Effect<ReadonlyArray<Result.Result<S["Type"], Exclude<ChangeError, DbError.NotFound>>>>

  /**
   * Writes what a stream gives, as it comes, and tells of each in its order. As many writes are under way as `concurrency`
   * says, and no more is drawn than that. To go on after an interruption, drop the first `index + 1` of the outcome that
   * came last.
   */
  readonly writeAll: <E, R>(
    inputs: Stream.Stream<Insert<S, N>, E, R>,
    options?: WriteOptions
  ) => Stream.Stream<Outcome<S["Type"], InsertError | ChangeError, N["id"]>, E, R>

  /**
   * Like `writeAll`, from documents in JSON form, as `queryJson` gives them and `Export.fromNdjson` reads them. One that does
   * not fit the schema has `InvalidInput`. Secrets and passwords are not in that form, but are taken, in clear; passwords are
   * hashed.
   */
  readonly writeAllJson: <E, R>(
    documents: Stream.Stream<JsonObject, E, R>,
    options?: WriteOptions
  ) => Stream.Stream<Outcome<S["Type"], InsertError | ChangeError, N["id"]>, E, R>

  /** Reads a document. 1 GET. `NotFound`. */
  readonly get: (id: N["id"]) => Effect.Effect<S["Type"], DbError.NotFound | ReadError>

  /** Reads a document in JSON form, as `queryJson` gives it, without secrets. 1 GET. `NotFound`. */
  readonly getJson: (id: string) => Effect.Effect<JsonObject, DbError.NotFound | DbError.NotAllowed | ReadError>

  /**
   * Creates a document that is given in JSON form, as `queryJson` gives it, and gives it back in that form. Secrets and
   * passwords are given in clear, and not given back: the secret is encrypted, the password hashed. 1 PUT. `InvalidInput`: it
   * does not fit the schema, or has the text of a hash in the place of a password.
   */
  readonly insertJson: (document: JsonObject) => Effect.Effect<JsonObject, DbError.NotAllowed | InsertError>

  /** Puts a whole document in JSON form in the place of whatever is there, or of one version. Like `replace` otherwise. */
  readonly replaceJson: (
    document: JsonObject,
    options?: Pick<UpdateOptions, "ifRevision">
  ) => Effect.Effect<JsonObject, DbError.NotAllowed | ChangeError>

  /**
   * Changes top-level fields, or nested ones by path, to values in JSON form; `null` removes an optional field that cannot
   * be null. Like `update` otherwise.
   */
  readonly updateJson: (
    id: string,
    changes: JsonObject,
    options?: UpdateOptions
  ) => Effect.Effect<JsonObject, DbError.NotAllowed | ChangeError>

  /** Like `updateJson`, with nested objects merged field by field. */
  readonly patchJson: (
    id: string,
    changes: JsonObject,
    options?: UpdateOptions
  ) => Effect.Effect<JsonObject, DbError.NotAllowed | ChangeError>

  /** Reads a document, absence being `None`. 1 GET. */
  readonly getOption: (id: N["id"]) => Effect.Effect<Option.Option<S["Type"]>, ReadError>

  /**
   * Reads documents concurrently, in input order; each id that has none is `None` at its place. n GET. One that cannot be
   * read, or is refused by an interceptor, fails the whole.
   */
  readonly getMany: (
    ids: Ids<N>,
    options?: Query.Concurrency
  ) => Effect.Effect<ReadonlyArray<Option.Option<S["Type"]>>, ReadError>

  /** Reads a document with its envelope. 1 GET. `NotFound`. */
  readonly getDocument: (
    id: N["id"]
  ) => Effect.Effect<Document.Document<S["Type"], N["id"]>, DbError.NotFound | ReadError>

  /**
   * The envelope of a value that this repository has returned, as of then. No request.
   *
   * `NotFound` for any other object, also for a copy of such a value.
   */
  readonly documentOf: (value: S["Type"]) => Effect.Effect<Document.Document<S["Type"], N["id"]>, DbError.NotFound>

  /**
   * Reads the document that a record of the journal, or an entry of an audit trail, shows before or after the write: decoded with
   * the schema version it was written under, secrets as `Redacted`. `documentOf` has its envelope. No request, but 1 GET where a
   * newer program has declared fields since the catalog was read.
   *
   * `NotFound`, with `image`: the record has no such image; see the option `journal`. `InvalidInput`: the record is of another
   * resource, or the trail has cut the image: give it larger `maxImageBytes`. `DbError` as of `get`: it cannot be decoded, or a
   * secret needs another key.
   */
  readonly fromImage: (
    record: ImageRecord,
    side: "before" | "after"
  ) => Effect.Effect<S["Type"], DbError.NotFound | DbError.InvalidInput | ReadError>

  /**
   * Tells whether the document that a record of the journal, or an entry of an audit trail, shows before or after the write was in a partition, or in
   * the part of it that the values and bounds of `within` are of: its values there by path, transformed, as keys have them; none where it was not. By
   * the definition that the partition has now. No request, but 1 GET where a newer program has declared fields since the catalog was read.
   *
   * Errors of `fromImage`; `InvalidInput`, too, where there is no such partition or a value does not fit; `DbError`, `Unsupported`: it goes by what this
   * program cannot tell, or is not built yet.
   */
  readonly imageWithin: (
    record: ImageRecord,
    side: "before" | "after",
    within: Part<S, N>
  ) => Effect.Effect<Option.Option<JsonObject>, DbError.NotFound | DbError.InvalidInput | ReadError>

  /**
   * Changes some top-level fields, or nested ones by path, of the document with this id, or of the document in hand.
   *
   * **Details**
   *
   * By id: 1 GET and 1 PUT, repeated when somebody else changes the document in between, at most `retries` times. The
   * change may be a function of the present value, also an effectful one; it may then run more than once.
   *
   * With a `Document`: 1 PUT, which succeeds only if nobody has changed it since it was read.
   *
   * `NotFound`; `Conflict`: it changed since it was read (one HEAD finds the present revision), or kept changing;
   * `InvalidInput`: the result does not fit the schema, or the primary key would change.
   */
  readonly update: <X, E = never, R = never>(
    target: N["id"] | Document.Document<S["Type"], N["id"]>,
    change: Update<Fields> | ((current: S["Type"]) => merge.Made<X, Update<Fields>, S["Type"], E, R>),
    options?: UpdateOptions
  ) => Effect.Effect<S["Type"], ChangeError | E, R>

  /**
   * Like `update`, with nested objects merged field by field. Requests and errors are the same.
   */
  readonly patch: (
    target: N["id"] | Document.Document<S["Type"], N["id"]>,
    change: Patch<Fields>,
    options?: UpdateOptions
  ) => Effect.Effect<S["Type"], ChangeError>

  /**
   * Puts a whole document in the place of whatever is there, or of nothing. What the schema does not know of that goes, also
   * in a transaction; `update` and `upsert` keep it. 1 PUT.
   *
   * With `ifRevision` it replaces that version only: `Conflict` (one HEAD more) or `NotFound`. `InvalidInput`.
   *
   * What is there and cannot be read is replaced all the same, as by a new document, unless a guard or an interceptor has a
   * condition on it; what nobody knows that it owned is left to `repair`.
   */
  readonly replace: (
    input: Insert<S, N>,
    options?: Pick<UpdateOptions, "ifRevision">
  ) => Effect.Effect<S["Type"], ChangeError>

  /**
   * Inserts the document, or, when its id is taken, updates that document with the given fields.
   *
   * 1 GET and 1 PUT, whether it exists or not; 1 PUT where its id is yet to be made. With `createFirst: true` 1 PUT for a new one, and
   * 2 PUT and 1 GET for one that exists. `InvalidInput`; `Conflict` when it kept changing.
   */
  readonly upsert: (
    input: Insert<S, N>,
    options?: UpsertOptions
  ) => Effect.Effect<S["Type"], Exclude<ChangeError, DbError.NotFound>>

  /**
   * Deletes a document. 1 DELETE.
   *
   * By id it succeeds also when there is nothing to delete, unless with `mustExist: true`, which reads first (1 GET) and
   * fails with `NotFound`. With a `Document` it deletes that version only: `Conflict` (one HEAD more), `NotFound`, or
   * `DbError` with `Unsupported` on a store without conditional deletes.
   */
  readonly delete: (
    target: N["id"] | Document.Document<S["Type"], N["id"]>,
    options?: { readonly mustExist?: boolean | undefined }
  ) => Effect.Effect<void, DeleteError>

  /**
   * Deletes documents, those that do not exist being deleted already. One request for each 1,000. One that cannot be read,
   * where it has to be, is `failed`, and does not keep the others: `admin.discard` removes it. `InvalidInput`: an id that cannot be.
   */
  readonly deleteMany: (
    ids: Ids<N>,
    options?: { readonly onProgress?: OnProgress | undefined }
  ) => Effect.Effect<DeleteManyResult<N["id"]>, DeleteManyError>

  /**
   * Deletes every document that is listed when it runs, and gives their number. One LIST and one DELETE for each 1,000. Fails
   * after all others are gone when one could not be deleted.
   *
   * `NotAllowed` unless the resource is declared with `allowDeleteAll: true`.
   */
  readonly deleteAll: Effect.Effect<number, DbError.NotAllowed | DeleteManyError>

  /** Whether there is such a document. 1 HEAD. */
  readonly exists: (id: N["id"]) => Effect.Effect<boolean, ReadError>

  /**
   * How many documents there are, or meet conditions. One LIST for each 1,000; in a partition, or with conditions, 1 GET
   * for each document, too; with `verify: false` a partition's markers are counted, and leftovers of crashes among them. With
   * `allowStale` so are those that meet conditions, where keys tell that: no GET.
   */
  readonly count: (
    request?: Request<S, N, Fields> & Query.Verify & Query.OnCorrupt & Query.Stale & Query.Bounded
  ) => Effect.Effect<number, ListError>

  /**
   * Ids, in the order of the keys. One LIST for each 1,000, as the stream is drawn; in a partition, or with conditions,
   * 1 GET for each document, too, but with `allowStale`, where keys tell which they are.
   */
  readonly listIds: (
    request?: Request<S, N, Fields> & Query.OnCorrupt & Query.Stale & Query.Bounded
  ) => Stream.Stream<N["id"], ListError>

  /**
   * One page of documents, in the order of their keys. 1 LIST, 1 GET for each document.
   *
   * The cursor holds its place while documents come and go; page k costs what page 1 does. `InvalidInput`: a cursor of
   * another request, no such partition, values that do not fit.
   */
  readonly list: (
    request?: Within<S, N> & Query.PageRequest & Query.Concurrency & Query.OnCorrupt
  ) => Effect.Effect<Query.Page<S["Type"]>, ListError>

  /**
   * Every document, in the order of their keys, read as the stream is drawn. One LIST for each 1,000, 1 GET for each.
   * A document deleted while the stream runs may be missing from it; one that moves within a partition may come twice
   * or not at all. One that cannot be read ends it, unless `onCorrupt` says something else.
   */
  readonly scan: (
    options?: Within<S, N> & Query.Concurrency & Query.OnCorrupt & Query.Bounded
  ) => Stream.Stream<S["Type"], ListError>

  /**
   * The document that has a value for itself: the values of the fields of a unique key, by path; secrets of a blind one as
   * documents have them, `Redacted`. 2 GET.
   *
   * `NotFound`; `InvalidInput`: there is no such key, or a value is missing; `DbError` with `Incomplete`: the key is not
   * complete yet, see `backfill`; with `Unsupported`: it is blind and kept under a key that the `KeyRing` has not.
   */
  readonly getByUnique: <Name extends NameOf<N["unique"]>>(
    unique: Name,
    values: UniqueValues<S, N["unique"][Name]>
  ) => Effect.Effect<S["Type"], DbError.NotFound | DbError.InvalidInput | ReadError>

  /**
   * The documents that meet conditions, by the shortest way that ids, unique keys and partitions offer; `explain` says
   * which. `limit` bounds what is read where no order has to be made.
   *
   * `NotAllowed`: it would read every document and does not say `scan: true`. `InvalidInput`: a field that is not there, is
   * secret, or holds a secret; an operand that does not fit; an order that no partition has, without a limit.
   */
  readonly query: (
    request: Request<S, N, Fields> & Query.OnCorrupt & Query.Bounded
  ) => Stream.Stream<S["Type"], ListError>

  /**
   * Like `query`, in JSON form and only the fields named, by path. Default: all; secrets are left out. `InvalidInput` also
   * for a field that is secret, or holds a secret: name its other fields.
   *
   * With `allowStale`, where the keys of a partition tell all fields that are named and that conditions and order are about: 1 LIST for each
   * 1,000 documents, no GET (see `Query.Stale`). Else documents are read; `explainQuery` says why. So they are where an interceptor, such as
   * a guard, narrows or changes what may be seen.
   */
  readonly queryJson: <const Path extends Query.FieldPath<Query.Queryable<Fields>> = never>(
    request: Request<S, N, Fields> & Query.OnCorrupt & Query.Stale & Query.Bounded & Query.Projection<Path>
  ) => Stream.Stream<Selected<S, Path>, ListError>

  /**
   * One page of what `queryJson` gives, by keys alone as there. It runs as `list`; where an interceptor of that has a say, documents are read.
   * Default `limit` 100. With `total: true` also the number of documents on all pages.
   */
  readonly queryPageJson: <const Path extends Query.FieldPath<Query.Queryable<Fields>> = never>(
    request: Request<S, N, Fields> &
      Query.OnCorrupt &
      Query.PageRequest &
      Query.Total &
      Query.Stale &
      Query.Projection<Path>
  ) => Effect.Effect<Query.Page<Selected<S, Path>> & { readonly total: number | undefined }, ListError>

  /**
   * One page of what `query` gives. Default `limit` 100. The cursor holds its place while documents come and go. With
   * `total: true` also the number of documents on all pages, for which all of them are read.
   *
   * It runs as `list`. Where an interceptor narrows it, as a guard by the document does, a page is filled with what may be
   * seen. It looks at 1,000 documents at most, and may then be short; after a full page there is always a cursor.
   */
  readonly queryPage: (
    request: Request<S, N, Fields> & Query.OnCorrupt & Query.PageRequest & { readonly total?: boolean | undefined }
  ) => Effect.Effect<Query.Page<S["Type"]> & { readonly total: number | undefined }, ListError>

  /**
   * The conditions that untrusted JSON asks for, such as a command line or an HTTP request, as the `predicate` of a query.
   * The notation is that of `where`; `$` may stand before operators. Operands are read by the codec of their field, so
   * that `2026-01-05T01:00:00+01:00` finds what is stored as `2026-01-05T00:00:00.000Z`. No request.
   *
   * `InvalidInput`, naming the path and the operator: a field that is not there, is secret, or holds a secret; an operand that the field can
   * never have or be compared with; an unknown operator; more than 32 levels or 1,000 conditions and values.
   */
  readonly parseWhere: (json: unknown) => Effect.Effect<Query.Predicate, DbError.InvalidInput>

  /**
   * The order that a text asks for, such as `-placed,number`, as the `order` of a query. An empty text is no order.
   * No request. `InvalidInput`: a field that is not there, is secret, or holds a secret; one that is there twice; more than 32 fields.
   */
  readonly parseOrder: (text: string) => Effect.Effect<Query.Order, DbError.InvalidInput>

  /**
   * What a query is going to do; with `select` and `allowStale` what `queryJson` is, with `select: []` what `count` is. No request: what
   * is in the copies of `plugins/Segments` is not looked at.
   */
  readonly explainQuery: (
    request: Request<S, N, Fields> &
      Query.Stale &
      Query.Bounded &
      Query.Projection<Query.FieldPath<Query.Queryable<Fields>>>
  ) => Effect.Effect<Query.Plan, ListError>

  /**
   * Counts, sums, least and greatest values and averages of what a query gives, also by groups.
   *
   * `TooManyGroups`; `InvalidInput`: a field that is not there, is secret, or holds a secret. With `allowStale` by keys alone, where they tell
   * all of the fields, and no interceptor has a say.
   */
  readonly aggregate: (
    aggregation: Aggregation.Notation<Query.Queryable<Fields>>,
    request?: Request<S, N, Fields> &
      Query.OnCorrupt &
      Query.Stale &
      Query.Bounded &
      Pick<Aggregation.Options, "maxGroups">
  ) => Effect.Effect<ReadonlyArray<Aggregation.Group>, ListError | Aggregation.TooManyGroups>

  /**
   * Changes every document that a query gives, each as it is when its turn comes, and once, also where the change moves it
   * ahead in the listing that it was found by; one that has gone on to something else by then is left alone, and not told
   * of. Tells of every other. One that fails, or cannot be read, does not stop the others. The ids of those whose place in a partition has
   * changed are held in memory. The change may be what `update` takes.
   */
  readonly updateMany: <X, E = never, R = never>(
    request: Request<S, N, Fields>,
    change: Update<Fields> | ((current: S["Type"]) => merge.Made<X, Update<Fields>, S["Type"], E, R>)
  ) => Stream.Stream<Outcome<S["Type"], ChangeError | E, N["id"]>, ListError, R>

  /** The document, if it belongs to a partition and has those values there; otherwise `NotFound`. 1 GET. */
  readonly getFromPartition: (id: N["id"], within: Part<S, N>) => Effect.Effect<S["Type"], DbError.NotFound | ListError>

  /**
   * The different values of the field of a partition that follows those given, in JSON form, transformed, in their order
   * (on a store that lists without order: in none), each with at least one document. For each value 1 LIST and, as a
   * rule, 1 GET. `NotAllowed`: an interceptor of `listIds` or `query` narrows or changes what may be seen.
   */
  readonly distinct: (within: Part<S, N> & Query.OnCorrupt) => Stream.Stream<Json, ListError>

  /**
   * What the markers of a partition cover, without a look at the documents: one LIST for each 1,000, no GET.
   *
   * It may show a value that is one write old, or is about to be acknowledged, and leftovers of crashes; `verify: true`
   * looks at each document, 1 GET. Where the covered fields were too long for a key, the document is read.
   * `NotAllowed`: an interceptor of `listIds` or `query` narrows or changes what may be seen.
   */
  readonly covered: <Name extends NameOf<Covering<N["partitions"]>>>(
    within: InPartition<S, Name, N["partitions"][Name]> & Query.Concurrency & Query.Verify & Query.OnCorrupt
  ) => Stream.Stream<Covered<N["id"], N["partitions"][Name]>, ListError>

  /**
   * The keys of a companion, each with the document that owns it, in their order. One LIST for each 1,000, and 1 GET for each,
   * which leaves out what is left of writes that did not come about, or is about to be removed; with `verify: false` no GET.
   * On a store that lists without order all of them are listed, and once more for each 10,000.
   *
   * A document that moves while the stream runs may be met at both of its keys or at neither. `InvalidInput`: there is no such companion,
   * or the request does not fit; `DbError` with `Incomplete`: it was declared later, and `backfill` has not come to its end.
   * Documents that the filters of `listIds` and `query` hide are left out. `NotAllowed`: there are such filters and `verify` is `false`,
   * or an interceptor narrows or changes otherwise what may be seen.
   */
  readonly companion: (name: string, request?: Companion.Request) => Stream.Stream<Companion.Hit<N["id"]>, ListError>

  /**
   * Adds a companion to the resource, as a plugin does: from now on whoever writes through this database keeps it up. Where the
   * catalog does not have it, it is `building` until `backfill` has come to its end. It stays for as long as the database is open; add
   * it again at the next opening, before anything is written.
   *
   * No request when the catalog has it; else 1 PUT, and 1 more for the backup. `DbError` with `InvalidArgument`: a field that is
   * not there, or secret; the name, or its version, is taken by another one. One of a lower version than the catalog has is not known:
   * what changes its fields is refused.
   */
  readonly addCompanion: (name: string, companion: Companion.Companion) => Effect.Effect<void, DbError.DbError>

  /**
   * Where each byte of a document goes, or would go. No request. An input is cleaned up and validated as by `insert`.
   */
  readonly explain: (
    input: Insert<S, N> | Document.Document<S["Type"], N["id"]>
  ) => Effect.Effect<Explanation, DbError.InvalidInput | DbError.MetadataLimit | DbError.DbError>

  /**
   * Like `scan`, but a document that cannot be read is told in its place, and does not end the stream. `NotAllowed`: an
   * interceptor of `query` narrows or changes what may be seen.
   */
  readonly scanResults: (
    options?: Within<S, N> & Query.Concurrency & Query.Bounded
  ) => Stream.Stream<Outcome<S["Type"], DbError.DbError, N["id"]>, ListError>

  /**
   * Like `scan`, each document with its envelope. `after`: those after this id, in the order of keys, which is that of ids, percent-encoded: where a
   * scan that did not come to its end has come to. Then `InvalidInput` with `partition`, and on a store that lists without order.
   */
  readonly scanDocuments: (
    options?: Within<S, N> &
      Query.Concurrency &
      Query.OnCorrupt &
      Query.Bounded & { readonly after?: string | undefined }
  ) => Stream.Stream<Document.Document<S["Type"], N["id"]>, ListError>

  /**
   * Maintenance: `backfill`, `repair`, `migrate`, `rotate`, `recount`, pruning, and what removes partitions and unique keys.
   * No request.
   */
  readonly admin: Effect.Effect<Admin<N>>

  /**
   * Adds an interceptor to the operations until the scope closes: to change what goes in, to refuse it, to answer in its
   * place, to do something afterwards. See `Pipeline` for the order. `Resource.intercept` does it as a layer.
   *
   * What `admin` does is the program's own work, in which no interceptor takes part. Every other member runs as one of the
   * operations:
   * `insertMany` and `writeAll` as what they do with each document; `upsert` and `upsertMany` as `upsert`, and in it as
   * `insert` or `update`; `getOption`, `getMany`, `getDocument`, `getByUnique`, `getFromPartition`, `getAt`, `fromImage`, `imageWithin`,
   * `history` and `historyResults` as `get`; `scan`, `scanDocuments`, `queryJson`, `aggregate` and the finding of `updateMany` as `query`; `queryPage` and `queryPageJson` as
   * `list`; `scanResults` as `query`; `covered`, `distinct` and `companion` as `listIds` and `query`; `estimatedCount` as `count`;
   * `hasContent` as `getContent`; `restore` as `get` and `replace`.
   */
  readonly intercept: <const K extends Pipeline.OperationName = Pipeline.OperationName>(
    interceptor: Pipeline.Interceptor<Operations<S, N, Fields>, K>
  ) => Effect.Effect<void, never, Scope.Scope>

  /**
   * The changes that this process makes from when the stream is first drawn, each told after it is committed. See
   * `Change` for what is promised. No request.
   */
  readonly changes: (filter?: Change.Filter) => Stream.Stream<Change.Change<S["Type"], N["id"]> | Change.Lagged>

  /** Like `changes`, beginning at once, until the scope closes. */
  readonly subscribe: (
    filter?: Change.Filter
  ) => Effect.Effect<Stream.Stream<Change.Change<S["Type"], N["id"]> | Change.Lagged>, never, Scope.Scope>

  /**
   * Runs a handler for each change, one after the other, until the scope closes. It never delays or fails a write; what
   * it fails with is logged.
   */
  readonly onChange: <R = never, R2 = never>(
    filter: Change.Filter,
    handler: (change: Change.Change<S["Type"], N["id"]>) => Effect.Effect<unknown, unknown, R>,
    options?: Change.HandlerOptions<R2>
  ) => Effect.Effect<void, never, Scope.Scope | R | R2>
}

/**
 * What documents have where a resource is declared with `history: true`: their earlier versions.
 *
 * @category models
 * @since 0.1.0
 */
export interface History<in out S extends Attributes.DocumentSchema, Id extends string> {
  /**
   * The versions that a document had, the newest first; also those of a document that is deleted. One LIST for each 1,000
   * and 1 GET for each, as they are drawn. `NotAllowed`: the resource is not declared with `history: true`.
   */
  readonly history: (id: Id) => Stream.Stream<Document.Document<S["Type"], Id>, HistoryError>

  /** Like `history`, but a version that cannot be read is told in its place, and does not end the stream. */
  readonly historyResults: (id: Id) => Stream.Stream<Version<S, Id>, HistoryError>

  /**
   * A document as it was: the version with this number, or the one there was at a time. `NotFound`: there was none.
   * Of a document that was deleted and inserted again numbers begin anew: the newest with the number counts.
   */
  readonly getAt: (
    id: Id,
    when: Moment
  ) => Effect.Effect<Document.Document<S["Type"], Id>, DbError.NotFound | HistoryError>

  /** Like `getAt`, in JSON form, as `queryJson` gives it, without secrets. */
  readonly getAtJson: (
    id: string,
    when: Moment
  ) => Effect.Effect<JsonObject, DbError.NotFound | DbError.NotAllowed | HistoryError>

  /**
   * Makes an earlier version the present one, with what the schema does not know of it, also of a document that is deleted,
   * which is then inserted again: with `userstamps` by who restores it. `NotFound`: there was none.
   */
  readonly restore: (id: Id, when: Moment) => Effect.Effect<S["Type"], ChangeError | InsertError | HistoryError>
}

/**
 * What documents have where a resource is declared with `content: true`: binary content.
 *
 * @category models
 * @since 0.1.0
 */
export interface BinaryContent<in out S extends Attributes.DocumentSchema, Id extends string> {
  /**
   * Gives a document binary content in the place of what it had. It belongs to the document: updates leave it alone, a
   * deletion removes it. `contentType` default: `application/octet-stream`.
   *
   * 1 GET, 1 PUT for each 8 MiB, then 1 GET and 1 PUT for the document, and what removes the content before. No more than
   * 8 MiB are in memory. What has been written is removed when the bytes fail. `NotFound`; `InvalidInput`: `contentType`
   * is not of 1 to 255 printable ASCII characters; `NotAllowed`: the resource is not declared with `content: true`, or this
   * is a transaction, of which content cannot be part.
   */
  readonly setContent: <E = never, R = never>(
    id: Id,
    bytes: Uint8Array | Stream.Stream<Uint8Array, E, R>,
    options?: { readonly contentType?: string | undefined }
  ) => Effect.Effect<Document.Document<S["Type"], Id>, ChangeError | DbError.NotAllowed | E, R>

  /**
   * The content of a document, or a range of it, absence being `None`. 1 GET, and 1 for each 8 MiB as it is drawn.
   *
   * `NotFound`: there is no such document. `InvalidInput`: the range begins past the end, or ends before it begins. The
   * bytes fail with `Corrupt` when they are fewer than were written; those of the whole also, at their end, when they are
   * others, by their SHA-256.
   */
  readonly getContent: (
    id: Id,
    range?: Content.Range
  ) => Effect.Effect<
    Option.Option<Content.Content<DbError.DbError>>,
    DbError.NotFound | DbError.NotAllowed | DbError.InvalidInput | ReadError
  >

  /** Whether a document has content. 1 GET. `NotFound`, `NotAllowed`. */
  readonly hasContent: (
    id: string
  ) => Effect.Effect<boolean, DbError.NotFound | DbError.NotAllowed | DbError.InvalidInput | ReadError>

  /** Removes the content of a document, if it has any. `NotFound`, `NotAllowed`, also in a transaction. */
  readonly deleteContent: (id: Id) => Effect.Effect<void, ChangeError | DbError.NotAllowed>
}

/**
 * What there is where a resource is declared with `counters`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counters<in out S extends Attributes.DocumentSchema, N extends Names> {
  /**
   * How many documents there are, as the maintained counter says: of the resource, or of a partition that is counted, with
   * all of its values or the first ones. 1 GET for each shard, whatever the number of documents.
   *
   * It is exact as long as no writer crashes between a write and its counting, and no write ends with an unknown outcome;
   * `recount` makes it exact again. `NotAllowed`: the resource is not declared with `counters`. `InvalidInput`: a partition
   * that is not counted, or bounds.
   */
  readonly estimatedCount: (within?: Counted<S, N>) => Effect.Effect<number, ListError>
}

/**
 * Stands for what a resource was not declared with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Without<out _Feature extends Feature> {}

/**
 * The documents of one resource, with what TypeScript knows of its names: without them any name may be asked for, and every
 * member is there.
 *
 * **Details**
 *
 * Ids are never checked for existence before a write: every mutation of an existing document is a compare-and-set on
 * the version that was read, every insert a create-if-absent. Requests are named at each member; a store with its usual
 * retries may send more when requests fail. `DbError` is in every error channel: the store or the catalog failed, or an
 * object cannot be decoded (`Corrupt`). So is `Rejected`, of interceptors and guards (see `intercept`), and for writes
 * `AfterFailed`.
 *
 * @category models
 * @since 0.1.0
 */
export type Repository<S extends Attributes.DocumentSchema, N extends Names = Names, Fields = Stored<S>> = Documents<
  S,
  N,
  Fields
> &
  ("history" extends N["features"] ? History<S, N["id"]> : Without<"history">) &
  ("content" extends N["features"] ? BinaryContent<S, N["id"]> : Without<"content">) &
  ("counters" extends N["features"] ? Counters<S, N> : Without<"counters">)
