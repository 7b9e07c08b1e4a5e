/** The port of object stores over a client of S3: what is checked before a request, and what its answer has to be. */
import * as Effect from "effect/Effect"
import {
  type Capabilities,
  type CopyRequest,
  type DeleteManyResult,
  type DeleteOptions,
  type GetOptions,
  type ListPage,
  type ListRequest,
  maxKeysPerRequest,
  type Metadata,
  ObjectStore,
  type PutRequest,
  type PutResult,
  type StoredObject
} from "../ObjectStore.ts"
import {
  InvalidArgument,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Unexpected
} from "../StoreError.ts"
import * as listing from "./listing.ts"
import * as s3Deletion from "./s3Deletion.ts"
import * as s3Text from "./s3Text.ts"
import * as rules from "./storeRules.ts"

/** A write whose parts have been checked. Conditions are written as headers have them. */
export interface Write {
  readonly key: string
  readonly body: Uint8Array
  /** Names in lower case. */
  readonly metadata: Metadata
  readonly contentType: string
  readonly contentEncoding: string | undefined
  readonly ifMatch: string | undefined
  readonly ifNoneMatch: "*" | undefined
  /** Bytes of the metadata as it was given. */
  readonly metadataBytes: number
}

/** A read. */
export interface Read {
  readonly range: string | undefined
  readonly ifMatch: string | undefined
}

/** A copy whose parts have been checked. */
export interface Copy {
  readonly from: string
  readonly to: string
  /** Replaces that of the source, with the type. Names in lower case. */
  readonly metadata: Metadata | undefined
  readonly contentType: string
  readonly ifSourceMatch: string | undefined
  readonly metadataBytes: number
}

/** What is listed. */
export interface Listing {
  readonly prefix: string | undefined
  readonly delimiter: string | undefined
  readonly startAfter: string | undefined
  readonly token: string | undefined
  readonly maxKeys: number
}

/** What an answer says of an object. ETags with all that is around them. */
export interface Found {
  readonly etag: string | undefined
  readonly metadata: Metadata
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  readonly lastModified: number | undefined
}

/** A page as it was written: keys in the form of the server, ETags with all that is around them. */
export interface Listed {
  readonly entries: ReadonlyArray<{
    readonly key: string
    readonly etag: string | undefined
    readonly size: number | undefined
    readonly lastModified: number | undefined
  }>
  readonly commonPrefixes: ReadonlyArray<string>
  readonly encodingType: string | undefined
  readonly isTruncated: boolean | undefined
  readonly nextToken: string | undefined
}

/** What a client of S3 can be asked for. Each is one attempt of one request, which an interruption cancels on the wire. */
export interface Client {
  readonly put: (write: Write) => Effect.Effect<{ readonly etag: string | undefined }, StoreError>
  readonly get: (
    key: string,
    read: Read
  ) => Effect.Effect<
    { readonly found: Found; readonly contentRange: string | undefined; readonly body: Uint8Array },
    StoreError
  >
  readonly head: (
    key: string
  ) => Effect.Effect<{ readonly found: Found; readonly size: number | undefined }, StoreError>
  readonly delete: (key: string, ifMatch: string | undefined) => Effect.Effect<void, StoreError>
  /** `form`: how the list of keys is vouched for. */
  readonly deleteMany: (
    keys: ReadonlyArray<string>,
    form: s3Deletion.Form
  ) => Effect.Effect<s3Deletion.Told, StoreError>
  readonly copy: (copy: Copy) => Effect.Effect<{ readonly etag: string | undefined }, StoreError>
  readonly list: (listing: Listing) => Effect.Effect<Listed, StoreError>
}

const headerText = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** What can be sent as a condition. An empty one would not be sent at all, and `*` is met by any object. */
const checkETag = (argument: "ifMatch" | "ifSourceMatch", value: string | undefined): Reason | undefined => {
  if (value === undefined) return undefined
  if (!headerText.test(value)) {
    return new InvalidArgument({ argument, description: `${argument} is not printable ASCII` })
  }
  return value === "*" || value.includes('"')
    ? new InvalidArgument({ argument, description: `${argument} is not an ETag` })
    : undefined
}

/** Metadata as it is sent. */
interface Sent {
  readonly metadata: Metadata
  /** As it was given. */
  readonly bytes: number
}

const nothing: Sent = { metadata: {}, bytes: 0 }

const ambiguous = () =>
  new InvalidArgument({
    argument: "metadata",
    description: "two metadata names are the same in lower case"
  })

/** Metadata, which has been checked, as it is sent. */
const sentOf = (metadata: Metadata | undefined): Sent | InvalidArgument => {
  if (metadata === undefined) return nothing
  const given = Object.keys(metadata)
  const lower = rules.lowerCaseNames(metadata)
  let bytes = 0
  let names = 0
  for (const name in lower) {
    bytes += name.length + lower[name]!.length
    names += 1
  }
  return names < given.length ? ambiguous() : { metadata: lower, bytes }
}

const checkListText = (request: ListRequest): Reason | undefined => {
  for (const argument of ["prefix", "delimiter", "startAfter"] as const) {
    if (request[argument]?.isWellFormed() === false) {
      return new InvalidArgument({ argument, description: `${argument} must be valid Unicode` })
    }
  }
  return undefined
}

/** A condition of `ObjectStore` must never reach the store in a form that it would ignore. */
const written = (form: Capabilities["etagForm"], etag: string | undefined): string | undefined =>
  etag === undefined || form === "unquoted" ? etag : `"${etag}"`

const deleteConcurrency = 4

const defaultType = "application/octet-stream"

const failure = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })

const withoutETag = () => new Unexpected({ description: "the store answered without an ETag" })

const headOf = (key: string, etag: string, { contentEncoding, contentType, lastModified, metadata }: Found) => ({
  key,
  metadata,
  contentType: contentType ?? defaultType,
  contentEncoding,
  lastModified: lastModified ?? 0,
  etag: s3Text.bareETag(etag)
})

/** Makes the store of a client. It makes no request by itself. */
export const make = (location: string, client: Client): ObjectStore["Service"] => {
  let known: Pick<Capabilities, "etagForm" | "listedKeys"> & Partial<Pick<Capabilities, "orderedList">> = {
    etagForm: "quoted"
  }
  const condition = (etag: string | undefined) => written(known.etagForm, etag)

  const put = (request: PutRequest): Effect.Effect<PutResult, StoreError> =>
    Effect.suspend(() => {
      const { body, contentEncoding, contentType, ifMatch, ifNoneMatch, key, metadata } = request
      const problem = rules.checkPut(request) ?? checkETag("ifMatch", ifMatch)
      if (problem !== undefined) return Effect.fail(failure("put", key, problem))
      const sent = sentOf(metadata)
      if (sent instanceof InvalidArgument) return Effect.fail(failure("put", key, sent))
      const writing = client.put({
        key,
        body: body ?? new Uint8Array(),
        metadata: sent.metadata,
        contentType: contentType ?? defaultType,
        contentEncoding,
        ifMatch: condition(ifMatch),
        ifNoneMatch,
        metadataBytes: sent.bytes
      })
      return Effect.flatMap(writing, ({ etag }) => putResult("put", key, etag))
    })

  const putResult = (operation: Operation, key: string, etag: string | undefined) =>
    etag === undefined || etag === ""
      ? Effect.fail(failure(operation, key, withoutETag()))
      : Effect.succeed({ etag: s3Text.bareETag(etag) })

  const get = (key: string, { ifMatch, range }: GetOptions = {}): Effect.Effect<StoredObject, StoreError> =>
    Effect.suspend(() => {
      const problem = rules.checkKey(key) ?? rules.checkRange(range) ?? checkETag("ifMatch", ifMatch)
      if (problem !== undefined) return Effect.fail(failure("get", key, problem))
      const reading = client.get(key, {
        range: range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ""}`,
        ifMatch: condition(ifMatch)
      })
      return Effect.flatMap(reading, ({ body: received, contentRange, found }) => {
        const fail = (reason: Reason) => Effect.fail(failure("get", key, reason))
        const { etag } = found
        const wrong = s3Text.checkRange(range, contentRange, received.length)
        if (wrong !== undefined) return fail(wrong)
        if (ifMatch !== undefined && etag !== undefined && s3Text.bareETag(etag) !== ifMatch) {
          // It, or what stands before it, does not look at the condition.
          return fail(new PreconditionFailed({ description: "the condition does not hold" }))
        }
        let body = received
        if (range !== undefined && contentRange === undefined) {
          // The store has sent all of it.
          const part = rules.resolveRange(range, received.length)
          if (!("start" in part)) return fail(part)
          body = received.subarray(part.start, part.end + 1)
        }
        if (etag === undefined || etag === "") return fail(withoutETag())
        const size = s3Text.partOf(contentRange)?.size ?? received.length
        return Effect.succeed({ ...headOf(key, etag, found), size, body })
      })
    })

  const head: ObjectStore["Service"]["head"] = (key) =>
    Effect.suspend(() => {
      const problem = rules.checkKey(key)
      if (problem !== undefined) return Effect.fail(failure("head", key, problem))
      return Effect.flatMap(client.head(key), ({ found, size }) =>
        found.etag === undefined || found.etag === ""
          ? Effect.fail(failure("head", key, withoutETag()))
          : Effect.succeed({ ...headOf(key, found.etag, found), size: size ?? 0 })
      )
    })

  const remove = (key: string, { ifMatch }: DeleteOptions = {}): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => {
      const problem = rules.checkKey(key) ?? checkETag("ifMatch", ifMatch)
      if (problem !== undefined) return Effect.fail(failure("delete", key, problem))
      const gone = client.delete(key, condition(ifMatch))
      // Some servers answer 404 where S3 answers 204.
      return ifMatch === undefined ? Effect.catchReason(gone, "StoreError", "NoSuchKey", () => Effect.void) : gone
    })

  const copy = (request: CopyRequest): Effect.Effect<PutResult, StoreError> =>
    Effect.suspend(() => {
      const { contentType, from, ifSourceMatch, metadata, to } = request
      const problem = rules.checkCopy(request) ?? checkETag("ifSourceMatch", ifSourceMatch)
      if (problem !== undefined) return Effect.fail(failure("copy", from, problem))
      const sent = sentOf(metadata)
      if (sent instanceof InvalidArgument) return Effect.fail(failure("copy", from, sent))
      const copying = client.copy({
        from,
        to,
        metadata: metadata === undefined ? undefined : sent.metadata,
        contentType: contentType ?? defaultType,
        ifSourceMatch: condition(ifSourceMatch),
        metadataBytes: sent.bytes
      })
      return Effect.flatMap(copying, ({ etag }) => putResult("copy", from, etag))
    })

  const list = (request: ListRequest = {}): Effect.Effect<ListPage, StoreError> =>
    Effect.suspend(() => {
      const { delimiter, maxKeys, prefix = "", startAfter } = request
      const problem = rules.checkList(request) ?? checkListText(request)
      if (problem !== undefined) return Effect.fail(failure("list", prefix, problem))
      const position = readPosition(request)
      if (position instanceof InvalidArgument) return Effect.fail(failure("list", prefix, position))
      const asking = client.list({
        prefix: prefix === "" ? undefined : prefix,
        delimiter: delimiter === "" ? undefined : delimiter,
        startAfter: position === undefined && startAfter !== "" ? startAfter : undefined,
        token: position?.token,
        maxKeys: maxKeys ?? maxKeysPerRequest
      })
      return Effect.flatMap(asking, (listed) => {
        const page = pageOf(request, position, listed)
        return "entries" in page ? Effect.succeed(page) : Effect.fail(failure("list", prefix, page))
      })
    })

  /** The page that was asked for, or what is wrong with it. */
  const pageOf = (
    request: ListRequest,
    position: ReturnType<typeof listing.unseal>,
    listed: Listed
  ): ListPage | Reason => {
    const { listedKeys, orderedList = false } = known
    const read = s3Text.listedForms[listedKeys ?? (listed.encodingType === "url" ? "form" : "plain")]
    let found: Pick<ListPage, "entries" | "commonPrefixes">
    try {
      found = {
        entries: listed.entries.map(({ etag, key, lastModified, size }) => ({
          key: read(key),
          etag: etag === undefined ? undefined : s3Text.bareETag(etag),
          size,
          lastModified
        })),
        commonPrefixes: listed.commonPrefixes.map(read)
      }
    } catch {
      return new Unexpected({ description: "the store listed a key that is not encoded" })
    }
    const wrong =
      listing.checkPage(position === undefined ? request : { prefix: request.prefix }, found) ??
      (orderedList ? listing.checkOrder(position?.progress.last, found) : undefined)
    if (wrong !== undefined) return wrong
    const next = listed.nextToken ?? ""
    if (listed.isTruncated === true && next === "") {
      return new Unexpected({ description: "the store says that there is more, but not where to go on" })
    }
    if (next === "" || listed.isTruncated === false) return { ...found, nextToken: undefined }
    const progress = listing.advance(position?.progress, next, found)
    return progress instanceof Unexpected
      ? progress
      : { ...found, nextToken: rules.makeToken(request, listing.seal(next, progress)) }
  }

  const removeBatch = s3Deletion.make({
    remove,
    isGone: (key) =>
      Effect.catchReason(Effect.as(head(key), false), "StoreError", "NoSuchKey", () => Effect.succeed(true)),
    send: client.deleteMany
  })
  return ObjectStore.of({
    location,
    capabilities: undefined,
    adopt: (capabilities) =>
      Effect.sync(() => {
        known = capabilities
      }),
    put,
    get,
    head,
    delete: remove,
    deleteMany: (keys) => removeMany(keys, removeBatch, remove),
    copy,
    list
  })
}

/** Deletes any number of keys: those that XML can hold in batches, the others one by one. */
const removeMany = Effect.fnUntraced(function* (
  keys: ReadonlyArray<string>,
  removeBatch: s3Deletion.DeleteBatch,
  remove: (key: string) => Effect.Effect<void, StoreError>
): Effect.fn.Return<DeleteManyResult, StoreError> {
  const refused = new Map<string, Reason>()
  const inXml = new Set<string>()
  const alone = new Set<string>()
  for (const key of keys) {
    const problem = rules.checkKey(key)
    if (problem !== undefined) refused.set(key, problem)
    else if (s3Text.fitsXml(key)) inXml.add(key)
    else alone.add(key)
  }
  const batches: Array<ReadonlyArray<string>> = []
  const listed = [...inXml]
  for (let start = 0; start < listed.length; start += maxKeysPerRequest) {
    batches.push(listed.slice(start, start + maxKeysPerRequest))
  }
  const requests = [
    ...batches.map((batch) => ({ batch, request: removeBatch(batch) })),
    ...Array.from(alone, (key) => ({ batch: [key], request: Effect.as(remove(key), new Map<string, Reason>()) }))
  ]
  let failed: StoreError | undefined
  let succeeded = 0
  yield* Effect.forEach(
    requests,
    ({ batch, request }) =>
      Effect.match(request, {
        onFailure: (error) => {
          failed ??= error
          for (const key of batch) refused.set(key, error.reason)
        },
        onSuccess: (reasons) => {
          succeeded += 1
          for (const [key, reason] of reasons) refused.set(key, reason)
        }
      }),
    { concurrency: deleteConcurrency, discard: true }
  )
  if (failed !== undefined && succeeded === 0) return yield* failure("deleteMany", failed.key ?? "", failed.reason)
  return {
    deleted: keys.filter((key) => !refused.has(key)),
    failed: keys.flatMap((key) => (refused.has(key) ? [{ key, reason: refused.get(key)! }] : []))
  }
})

/** Where a token of this store goes on, and how far its listing has come. */
const readPosition = (request: ListRequest): ReturnType<typeof listing.unseal> | InvalidArgument => {
  const sealed = rules.readToken(request)
  if (typeof sealed !== "string") return sealed
  try {
    return listing.unseal(sealed) ?? rules.foreignToken()
  } catch {
    return rules.foreignToken()
  }
}
