/**
 * The port that every store implements: objects with a body and user metadata under string keys, written with
 * conditions. It knows nothing of documents or schemas.
 *
 * Layers: `MemoryStore`, `FileStore`, `S3Store`. Decorators: `PrefixedStore`, `RetryingStore`, `TimeoutStore`,
 * `BoundedStore`, `InstrumentedStore`. A store of your own is one when it passes
 * `effect-s3db/testing/ObjectStoreSuite`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { requireNode } from "../internal/runtime.ts"
import * as listing from "./internal/listing.ts"
import { type Reason, StoreError, Unexpected } from "./StoreError.ts"

// Every store, and so every database, stands on this module.
requireNode()

/**
 * The limit of S3 for a key, in UTF-8 bytes.
 *
 * Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
 *
 * @category constants
 * @since 0.1.0
 */
export const maxKeyBytes = 1024

/**
 * The limit of S3 for user metadata: the sum of the UTF-8 bytes of every name (without `x-amz-meta-`) and value.
 *
 * Source: Amazon S3 User Guide, "Working with object metadata".
 *
 * @category constants
 * @since 0.1.0
 */
export const maxMetadataBytes = 2048

/**
 * The bytes of request headers that the entries of user metadata may take, of the 8,192 that S3 allows: the other half is
 * for the key, the signature and a session token.
 *
 * Source: Amazon S3 User Guide, "Working with object metadata" (8 KB for the request header of a PUT).
 *
 * @category constants
 * @since 0.1.0
 */
export const maxMetadataHeaderBytes = 4096

/**
 * Returns the bytes of request headers that an entry of user metadata takes beyond its own: `x-amz-meta-` before its name, what
 * separates it from its value and ends the line, and its name once more, in the list of signed headers.
 *
 * @category getters
 * @since 0.1.0
 */
export const metadataHeaderOverhead = (nameBytes: number): number =>
  "x-amz-meta-: \r\n".length + ";x-amz-meta-".length + nameBytes

/**
 * The most keys that one `list` page or one `deleteMany` request of S3 can hold.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxKeysPerRequest = 1000

/**
 * User metadata: lower-case names of letters, digits and `-`, to values of printable ASCII without leading or trailing
 * space. Other text must be encoded by the caller.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = Readonly<Record<string, string>>

/**
 * The conditions and sizes that a store has been seen, or is known, to honour.
 *
 * @category models
 * @since 0.1.0
 */
export const Capabilities = Schema.Struct({
  /** `PUT` with `If-None-Match: *` creates or fails, also when several clients race. */
  createIfAbsent: Schema.Boolean,
  /** `PUT` with `If-Match: <etag>` replaces or fails, also when several clients race. */
  compareAndSet: Schema.Boolean,
  /** How the ETag must be written in `If-Match`: Ceph's gateway 16 understands only the unquoted form. */
  etagForm: Schema.Literals(["quoted", "unquoted"]),
  /** `DELETE` with `If-Match`. Ceph's gateway ignores it and deletes. */
  conditionalDelete: Schema.Boolean,
  /** A copy with a condition on its source. */
  conditionalCopy: Schema.Boolean,
  /** The most bytes of user metadata that were accepted; at most 2,048 are ever used. */
  metadataBytes: Schema.Int,
  /** The most bytes of one entry of metadata, its name included, where that is less than all of them. */
  metadataEntryBytes: Schema.optionalKey(Schema.Int),
  /** The most entries of metadata, where fewer are accepted than fit into the request. */
  metadataEntries: Schema.optionalKey(Schema.Int),
  /** The most bytes of request headers that metadata may take, where that is less than 4,096. */
  metadataHeaderBytes: Schema.optionalKey(Schema.Int),
  /** `false`: metadata does not come back as it was sent. A database cannot be kept there. */
  metadataKept: Schema.optionalKey(Schema.Boolean),
  /** Keys are listed in the order of their UTF-8 bytes. S3 Express lists in no order. */
  orderedList: Schema.Boolean,
  /** How keys are written in a listing, on a server that writes them otherwise than it says. Absent: as it says. */
  listedKeys: Schema.optionalKey(Schema.Literals(["plain", "form", "percent", "form twice", "percent twice"])),
  /** An answer is never lost: what fails was not carried out. So it is in one's own memory and folder, on no network. */
  sureAnswers: Schema.optionalKey(Schema.Boolean)
})

/**
 * The abilities of one store.
 *
 * @category models
 * @since 0.1.0
 */
export type Capabilities = typeof Capabilities.Type

/**
 * The abilities of AWS S3 (general purpose buckets), in full.
 *
 * @category constants
 * @since 0.1.0
 */
export const fullCapabilities: Capabilities = {
  createIfAbsent: true,
  compareAndSet: true,
  etagForm: "quoted",
  conditionalDelete: true,
  conditionalCopy: true,
  metadataBytes: maxMetadataBytes,
  orderedList: true
}

/**
 * The abilities of a store within reach: those of AWS S3, and no answer is ever lost.
 *
 * @category constants
 * @since 0.1.0
 */
export const localCapabilities: Capabilities = { ...fullCapabilities, sureAnswers: true }

/**
 * The tag of one version of an object: opaque, and always without quotes here, whatever the store puts around it.
 *
 * @category models
 * @since 0.1.0
 */
export type ETag = string

/**
 * A write of a whole object.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutRequest {
  readonly key: string
  /** Default: empty. */
  readonly body?: Uint8Array | undefined
  readonly metadata?: Metadata | undefined
  /** Printable ASCII without outer spaces. Default: `application/octet-stream`. */
  readonly contentType?: string | undefined
  /** Printable ASCII without outer spaces. */
  readonly contentEncoding?: string | undefined
  /** Replace only this version, else `PreconditionFailed` (`NoSuchKey` or `PreconditionFailed` when there is none). */
  readonly ifMatch?: ETag | undefined
  /** Create only, else `PreconditionFailed`. Not together with `ifMatch`. */
  readonly ifNoneMatch?: "*" | undefined
  /**
   * Putting this object twice does no harm, also when somebody else has written the key in between. Default: a conditional
   * write is repeated under its condition; an unconditional one with an unknown outcome is looked into, never blindly
   * repeated, since a repetition could destroy what was written in between. `false`: nothing with an unknown outcome is
   * repeated.
   */
  readonly repeatable?: boolean | undefined
}

/**
 * The outcome of a write.
 *
 * @category models
 * @since 0.1.0
 */
export interface PutResult {
  readonly etag: ETag
}

/**
 * Bytes `start` to `end`, both included, counted from 0. Without `end`: to the last byte. An `end` past the last byte is
 * cut; a `start` past it is an `InvalidRange`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly start: number
  readonly end?: number | undefined
}

/**
 * The part of an object that is read, and its condition.
 *
 * @category models
 * @since 0.1.0
 */
export interface GetOptions {
  readonly range?: Range | undefined
  /** Fail with `PreconditionFailed` when the object has another ETag by now. */
  readonly ifMatch?: ETag | undefined
}

/**
 * An object without its body.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectHead {
  readonly key: string
  readonly etag: ETag
  /** Bytes of the whole body, also when a range was asked for. */
  readonly size: number
  readonly metadata: Metadata
  readonly contentType: string
  readonly contentEncoding: string | undefined
  /** Milliseconds since the epoch by the store's clock; S3 keeps whole seconds. */
  readonly lastModified: number
}

/**
 * An object with its body.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredObject extends ObjectHead {
  /** The body, or the range of it that was asked for. */
  readonly body: Uint8Array
}

/**
 * The condition of a delete.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeleteOptions {
  /** Delete only this version. Only where `capabilities.conditionalDelete`. */
  readonly ifMatch?: ETag | undefined
  /**
   * Nobody ever writes this key again, so that sending the delete twice does no harm. Default `false`: a delete with an
   * unknown outcome is then looked into, never blindly repeated, since a repetition could remove an object that was
   * written in between.
   */
  readonly repeatable?: boolean | undefined
}

/**
 * The keys that were deleted, and those that were not. Deleting a key that does not exist is a success, as on S3.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeleteManyResult {
  /** Keys that are gone, in input order. */
  readonly deleted: ReadonlyArray<string>
  /** Keys that the store did not delete, each with the reason, in input order. */
  readonly failed: ReadonlyArray<{ readonly key: string; readonly reason: Reason }>
}

/**
 * A copy of an object under another key, made by the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface CopyRequest {
  readonly from: string
  readonly to: string
  /** Replaces the metadata of the copy. Default: the source's. */
  readonly metadata?: Metadata | undefined
  /** Replaces the content type of the copy; only together with `metadata`, as on S3. */
  readonly contentType?: string | undefined
  /** Copy only this version of the source. Only where `capabilities.conditionalCopy`. */
  readonly ifSourceMatch?: ETag | undefined
}

/**
 * The keys that are listed: below a prefix, after a key or a page.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListRequest {
  /** Default: every key. */
  readonly prefix?: string | undefined
  /** Groups keys that share what follows the prefix up to this character into `commonPrefixes`. */
  readonly delimiter?: string | undefined
  /** Keys after this one only. Not on stores that list without order. */
  readonly startAfter?: string | undefined
  /** `nextToken` of the page before, with the same prefix and delimiter. */
  readonly token?: string | undefined
  /** 1 to 1,000, the default. */
  readonly maxKeys?: number | undefined
  /** A store may then leave `etag`, `size` and `lastModified` out, where finding them costs work. */
  readonly keysOnly?: boolean | undefined
}

/**
 * An object as a listing shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListEntry {
  readonly key: string
  readonly etag?: ETag | undefined
  readonly size?: number | undefined
  readonly lastModified?: number | undefined
}

/**
 * One page of a listing, and the token of the next one.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListPage {
  readonly entries: ReadonlyArray<ListEntry>
  readonly commonPrefixes: ReadonlyArray<string>
  /** Present when there is more. Opaque. */
  readonly nextToken: string | undefined
}

/**
 * The port of object stores: objects by key, with metadata, conditions and listings.
 *
 * **Details**
 *
 * Reads see every write acknowledged before them. Each member is one request to the store, or none when the request is
 * refused beforehand; `deleteMany` is one for each 1,000 keys.
 *
 * Every member fails with `StoreError`. Reasons that any of them can have: `AccessDenied`, `NoSuchBucket`, `Throttled`,
 * `Unavailable`, `Timeout`, `KeyTooLong`, `InvalidArgument`, `Unsupported`, `Unexpected`. Those of its own are named at
 * each.
 *
 * @category services
 * @since 0.1.0
 */
export class ObjectStore extends Context.Service<
  ObjectStore,
  {
    /** Where this store is, for people: never holds credentials. For example `s3://bucket/prefix`. */
    readonly location: string
    /** The most bytes that a key may have, where it is less than on S3: below a prefix. Default: 1,024. */
    readonly keyBytes?: number | undefined
    /** What the store is known to honour without asking it. `undefined`: it has to be probed. */
    readonly capabilities: Capabilities | undefined
    /** Tells the store what a probe has found, so that it writes conditions in the form that is honoured. */
    readonly adopt: (capabilities: Capabilities) => Effect.Effect<void>
    /** `PreconditionFailed`, `ConditionalRequestConflict`, `NoSuchKey` (with `ifMatch`), `MetadataTooLarge`, `EntityTooLarge`. */
    readonly put: (request: PutRequest) => Effect.Effect<PutResult, StoreError>
    /** `NoSuchKey`, `InvalidRange`, `PreconditionFailed`, `Corrupt`. */
    readonly get: (key: string, options?: GetOptions) => Effect.Effect<StoredObject, StoreError>
    /** `NoSuchKey`, `Corrupt`. */
    readonly head: (key: string) => Effect.Effect<ObjectHead, StoreError>
    /** Succeeds when there is nothing to delete. `PreconditionFailed` with `ifMatch`. */
    readonly delete: (key: string, options?: DeleteOptions) => Effect.Effect<void, StoreError>
    /** Any number of keys. Fails as a whole only when no request could be made; else each key has its own outcome. */
    readonly deleteMany: (
      keys: ReadonlyArray<string>,
      options?: Pick<DeleteOptions, "repeatable">
    ) => Effect.Effect<DeleteManyResult, StoreError>
    /** `NoSuchKey`, `PreconditionFailed`, `MetadataTooLarge`. */
    readonly copy: (request: CopyRequest) => Effect.Effect<PutResult, StoreError>
    /** One page. A foreign token is an `InvalidArgument`. */
    readonly list: (request?: ListRequest) => Effect.Effect<ListPage, StoreError>
  }
>()("effect-s3db/storage/ObjectStore") {}

/**
 * Reads an object, absence being `None`. 1 GET.
 *
 * @category combinators
 * @since 0.1.0
 */
export const getOption = (
  store: ObjectStore["Service"],
  key: string,
  options?: GetOptions
): Effect.Effect<Option.Option<StoredObject>, StoreError> => orNone(store.get(key, options))

/**
 * Reads what is known of an object without its body, absence being `None`. 1 HEAD.
 *
 * @category combinators
 * @since 0.1.0
 */
export const headOption = (
  store: ObjectStore["Service"],
  key: string
): Effect.Effect<Option.Option<ObjectHead>, StoreError> => orNone(store.head(key))

const orNone = <A>(request: Effect.Effect<A, StoreError>): Effect.Effect<Option.Option<A>, StoreError> =>
  Effect.matchEffect(request, {
    onSuccess: Effect.succeedSome,
    onFailure: (error) => (error.reason._tag === "NoSuchKey" ? Effect.succeedNone : Effect.fail(error))
  })

/**
 * Lists all keys with a prefix, or those after a key, page by page as they are drawn, in the order of the store. One LIST for each 1,000.
 *
 * Fails with `Unexpected` when a page has keys that were not asked for, or leads to one that has been before.
 *
 * @category combinators
 * @since 0.1.0
 */
export const listAll = (
  store: ObjectStore["Service"],
  request: Pick<ListRequest, "prefix" | "startAfter" | "keysOnly">
): Stream.Stream<ListEntry, StoreError> =>
  Stream.paginate(undefined as Position | undefined, (position) =>
    Effect.map(
      listOnwards(store, request, position),
      ({ next, page }) => [page.entries, Option.fromUndefinedOr(next)] as const
    )
  )

/** Where a listing goes on, and how far it has come. */
interface Position {
  readonly token: string
  readonly progress: listing.Progress | undefined
}

const listOnwards = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  request: Omit<ListRequest, "token">,
  position: Position | undefined
): Effect.fn.Return<{ readonly page: ListPage; readonly next: Position | undefined }, StoreError> {
  const wrong = (reason: Reason) => new StoreError({ operation: "list", key: request.prefix ?? "", reason })
  const page = yield* store.list({ ...request, token: position?.token })
  const problem = listing.checkPage(request, page)
  if (problem !== undefined) return yield* wrong(problem)
  const token = page.nextToken
  if (token === undefined) return { page, next: undefined }
  const progress = listing.advance(position?.progress, token, page)
  return progress instanceof Unexpected ? yield* wrong(progress) : { page, next: { token, progress } }
})

/**
 * Lists one page that has something in it, or the last one: S3 may send pages with nothing in them before the end. 1 LIST
 * for each.
 *
 * Fails with `Unexpected` as `listAll` does.
 *
 * @category combinators
 * @since 0.1.0
 */
export const listSome = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  { token, ...request }: ListRequest
): Effect.fn.Return<ListPage, StoreError> {
  let found = yield* listOnwards(store, request, token === undefined ? undefined : { token, progress: undefined })
  while (found.next !== undefined && found.page.entries.length + found.page.commonPrefixes.length === 0) {
    found = yield* listOnwards(store, request, found.next)
  }
  return found.page
})

/**
 * Removes the objects below a prefix whose keys are chosen, and gives their number. One LIST and one DeleteObjects for each
 * 1,000. Fails with the first reason why one could not be removed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const deleteAll = (
  store: ObjectStore["Service"],
  prefix: string,
  isChosen: (key: string) => boolean
): Effect.Effect<number, StoreError | Reason> =>
  listAll(store, { prefix, keysOnly: true }).pipe(
    Stream.filter(({ key }) => isChosen(key)),
    Stream.grouped(maxKeysPerRequest),
    Stream.mapEffect((entries) => {
      const keys = entries.map((entry) => entry.key)
      return Effect.flatMap(store.deleteMany(keys, { repeatable: true }), ({ failed: [first] }) =>
        first === undefined ? Effect.succeed(keys.length) : Effect.fail(first.reason)
      )
    }),
    Stream.runFold(
      () => 0,
      (total, some) => total + some
    )
  )
