/**
 * The `MessageStorage` of `effect/cluster` in a database: the messages of a cluster, and their replies, without a database server.
 *
 * ```ts
 * import * as S3MessageStorage from "effect-s3db/cluster/MessageStorage"
 * import * as S3RunnerStorage from "effect-s3db/cluster/RunnerStorage"
 * import { Layer } from "effect"
 * import { ShardingConfig } from "effect/cluster"
 *
 * const Storage = Layer.mergeAll(S3MessageStorage.layer, S3RunnerStorage.layer).pipe(
 *   Layer.provide(ShardingConfig.layer({ entityReplyPollInterval: "5 seconds" }))
 * )
 * ```
 *
 * **Details**
 *
 * A request, its replies, and what is said about it (acknowledgements, interruptions) are one object, changed by compare-and-set. One with a
 * primary key lies under the digest of that, so that there is one, whoever saves it. Beside it there is an empty object as long as there
 * is something to deliver, `plugin=cluster/pending/GROUP/ID/...`: what is pending of a group of shards is one listing, in the order of
 * ids. It is there before the request is, and goes after its exit is: nothing that was saved is missed, whatever crashed when.
 *
 * | operation | requests |
 * |---|---|
 * | `saveRequest` | 3 PUT; with a primary key 1 GET and 4 PUT, and 1 GET alone for one that is there |
 * | `saveEnvelope` | 1 GET, 2 PUT |
 * | `saveReply` | 1 PUT by who has read the request, 1 GET more by others; 1 DeleteObjects after an exit |
 * | `unprocessedMessages` | 1 LIST for each 1,000 that are pending in a group of shards, 1 GET and 1 PUT for each request that is delivered |
 * | `repliesFor` and the like | 1 GET for each request, 1 more the first time where it has a primary key |
 * | `clearReplies`, `resetRequests` | 1 GET, 1 or 2 PUT |
 * | `resetShards`, `resetAddresses` | 1 LIST for each 1,000 that are pending, 1 GET for each of these shards, and 1 PUT if it is claimed |
 * | `clearAddress` | 1 LIST, 2 GET for each request, and 1 request for each 1,000 objects |
 *
 * A runner that has nothing to deliver makes 1 LIST for each poll. Each caller that waits for a reply makes 1 GET for each of its polls:
 * `entityReplyPollInterval` is 200 ms by default, and should be seconds here.
 *
 * **Gotchas**
 *
 * A transaction (`withTransaction`) is that of Effect's storage in memory: exits that are saved in it are written when it has succeeded, and not at
 * all when it fails. It takes no part in transactions of anything else, also not of this database.
 *
 * Chunks that were acknowledged are forgotten, but for the last.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import * as ClusterError from "effect/cluster/ClusterError"
import type * as Envelope from "effect/cluster/Envelope"
import * as EffectMessageStorage from "effect/cluster/MessageStorage"
import type * as Reply from "effect/cluster/Reply"
import * as ShardId from "effect/cluster/ShardId"
import * as Snowflake from "effect/cluster/Snowflake"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { Database } from "../Database.ts"
import { encode as base64url } from "../encoding/internal/base64url.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { sha256 } from "../internal/sha256.ts"
import { percentEncode } from "../internal/text.ts"
import * as CasCell from "../kernel/CasCell.ts"
import { keyPrefix } from "../kernel/PluginStore.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { registering } from "../persistence/internal/registering.ts"
import * as Plugin from "../Plugin.ts"
import { listAll, maxKeysPerRequest, type ObjectStore } from "../storage/ObjectStore.ts"
import { InvalidArgument, StoreError } from "../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The `cause` of the `PersistenceError` of a reply that would contradict one that is stored: another exit, whatever comes after an exit, or
 * another chunk of a number. Nothing was written. Somebody else has replied: a runner stood still for longer than
 * `shardLockExpiration` while another took its shards.
 *
 * @remedy Read what is there by `repliesFor`; give runners a longer `shardLockExpiration` where they stand still for
 * that long.
 * @category errors
 * @since 0.1.0
 */
export class ReplyRefused extends ExpectedError<ReplyRefused>("effect-s3db/cluster/MessageStorage/ReplyRefused")(
  "ReplyRefused",
  {
    requestId: Schema.String,
    /** What is in its place: `its exit, reply 7`. */
    there: Schema.String
  }
) {
  override get message(): string {
    return `request ${this.requestId} has ${this.there} already`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which cluster it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells it from others of the same database: what its keys begin with is `plugin=<name>/`. Default: `cluster`. */
  readonly name?: string | undefined
}

const isWellFormed = Schema.makeFilter((text: string) => text.isWellFormed() || "valid Unicode")

/** Ids are part of keys, and in their order. */
const NumericId = Schema.String.check(Schema.isPattern(/^\d{1,20}$/))

const Chunk = Schema.Struct({
  _tag: Schema.Literal("Chunk"),
  id: Schema.String,
  requestId: Schema.String,
  sequence: Schema.Finite,
  values: Schema.Json
})
const Exit = Schema.Struct({
  _tag: Schema.Literal("WithExit"),
  id: Schema.String,
  requestId: Schema.String,
  exit: Schema.Json
})
const Address = Schema.Struct({
  shardId: Schema.Struct({ group: Schema.String.check(isWellFormed), id: Schema.Int }),
  entityType: Schema.String,
  entityId: Schema.String
})
type Address = typeof Address.Type

const Request = Schema.Struct({
  _tag: Schema.Literal("Request"),
  requestId: NumericId,
  address: Address,
  tag: Schema.String,
  payload: Schema.Json,
  headers: Schema.Record(Schema.String, Schema.String),
  traceId: Schema.optionalKey(Schema.String),
  spanId: Schema.optionalKey(Schema.String),
  sampled: Schema.optionalKey(Schema.Boolean)
})
const Other = Schema.Union([
  Schema.Struct({
    _tag: Schema.Literal("AckChunk"),
    id: NumericId,
    address: Address,
    requestId: Schema.String,
    replyId: Schema.String
  }),
  Schema.Struct({ _tag: Schema.Literal("Interrupt"), id: NumericId, address: Address, requestId: Schema.String })
])
const Said = Schema.Struct({ envelope: Other, claimedAt: Schema.optionalKey(Schema.Finite) })
const StoredReply = Schema.Union([Chunk, Exit])

/** A request, and all that belongs to it. */
const Mailbox = Schema.Struct({
  _tag: Schema.Literal("Mailbox"),
  request: Request,
  deliverAt: Schema.NullOr(Schema.Finite),
  claimedAt: Schema.optionalKey(Schema.Finite),
  /** The sequence of the last chunk that was acknowledged. */
  acknowledged: Schema.optionalKey(Schema.Finite),
  replies: Schema.Array(StoredReply),
  said: Schema.Array(Said),
  /** What tells of it among what is pending. */
  markers: Schema.Array(Schema.String)
})
type Mailbox = typeof Mailbox.Type

/** What is there under the id of a request: the request, or where it is. */
const Slot = Schema.Union([Mailbox, Schema.Struct({ _tag: Schema.Literal("Elsewhere"), key: Schema.String })])
type Slot = typeof Slot.Type
type Version = CasCell.Version<Slot>

/** A message that is about to be delivered. */
interface Delivery {
  readonly envelope: Envelope.Encoded
  readonly lastSentReply: Option.Option<Reply.Encoded>
}

/** An entry of what is pending, by its key. */
interface Marker {
  readonly key: string
  readonly requestId: string
  readonly shard: string
  readonly address: string
  readonly lastModified: number | undefined
}

const format: CasCell.Format<Slot> = {
  ...CasCell.schemaFormat(Slot, { what: "a message of a cluster" }),
  // Addresses are cleared by removing their objects.
  isForgetful: true
}

/** Who has claimed a message and has not answered for so long is taken to be gone, as in Effect's own. */
const claimMillis = 600_000

/** What tells of nothing for so long is what a crash has left. */
const leftoverMillis = 3_600_000

/** So many requests and versions are known without being read again. */
const mostKnown = 10_000

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

const encoder = new TextEncoder()
const digest = (...texts: ReadonlyArray<string>): string =>
  base64url(sha256(encoder.encode(JSON.stringify(texts)))).slice(0, 32)

const exitOf = ({ replies }: Mailbox) => replies.find((reply) => reply._tag === "WithExit")

const isAcknowledged = ({ acknowledged = -Infinity }: Mailbox, reply: typeof StoredReply.Type): boolean =>
  reply._tag === "Chunk" && reply.sequence <= acknowledged

/** What is there in the place of a reply: its exit for whatever comes after that, the chunk of its number for a chunk. */
const rivalOf = (
  mailbox: Mailbox,
  reply: typeof StoredReply.Type
): typeof StoredReply.Type | "forgotten" | undefined => {
  const same = mailbox.replies.find(({ id }) => id === reply.id) ?? exitOf(mailbox)
  if (same !== undefined || reply._tag === "WithExit") return same
  const chunk = mailbox.replies.find((one) => one._tag === "Chunk" && one.sequence === reply.sequence)
  return chunk ?? (isAcknowledged(mailbox, reply) ? "forgotten" : undefined)
}

/** Whether it says what is there: who has not been told that a reply was saved saves it again, by another id. */
const isSame = (there: typeof StoredReply.Type | "forgotten", reply: typeof StoredReply.Type): boolean => {
  if (there === "forgotten" || there._tag !== reply._tag) return false
  const { id: _, ...one } = there
  const { id: __, ...other } = reply
  return there.id === reply.id || Equal.equals(one, other)
}

const describe = (there: typeof StoredReply.Type | "forgotten"): string => {
  if (there === "forgotten") return "that chunk"
  return there._tag === "Chunk" ? `chunk ${there.sequence}, reply ${there.id}` : `its exit, reply ${there.id}`
}

/** Nothing is delivered while a chunk waits to be acknowledged, or when all is said. */
const isWaiting = (mailbox: Mailbox): boolean =>
  exitOf(mailbox) === undefined && mailbox.replies.every((reply) => isAcknowledged(mailbox, reply))

/** It is stored as it was given, which is JSON: the schemas of this module say less of it than the types of the cluster do. */
const asReply = (reply: typeof StoredReply.Type): Reply.Encoded => reply as Reply.Encoded

const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const lastOf = <A>(all: ReadonlyArray<A>): Option.Option<A> => Option.fromUndefinedOr(all.at(-1))

/** Keeps the last of many. */
const remembering = <A>() => {
  const all = new Map<string, A>()
  return {
    get: (key: string) => all.get(key),
    delete: (key: string) => all.delete(key),
    set: (key: string, value: A) => {
      all.delete(key)
      all.set(key, value)
      if (all.size > mostKnown) all.delete(all.keys().next().value!)
    }
  }
}

/** Exits that are saved in a transaction, until it has succeeded. */
const Deferred = Context.Reference<Array<Effect.Effect<void, ClusterError.PersistenceError>> | undefined>(
  "effect-s3db/cluster/MessageStorage/Deferred",
  { defaultValue: () => undefined }
)

const invalid = (argument: string, description: string) =>
  new StoreError({ operation: "put", reason: new InvalidArgument({ argument, description }) })

/** What fails is what the cluster knows, with what the store says as its cause. */
const named = <A>(
  effect: Effect.Effect<A, StoreError | ReplyRefused>
): Effect.Effect<A, ClusterError.PersistenceError> =>
  Effect.mapError(effect, (cause) => new ClusterError.PersistenceError({ cause }))

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates the port that the storage stands on, on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeEncoded = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  { name = "cluster" }: Options = {}
): Effect.fn.Return<EffectMessageStorage.Encoded> {
  const prefix = keyPrefix(name)
  const now = yield* StoreClock.kept(store)
  /** The keys of requests, by id. */
  const places = remembering<string>()
  /** What is there as this process has left it, by key. */
  const versions = remembering<Version>()
  /** Until when there is nothing to deliver, by the key of what tells of it: what this process has claimed. */
  const claims = remembering<number>()
  const concurrency = 16

  const cellAt = (key: string) => CasCell.make(store, key, format)
  const idText = (id: string) => id.padStart(20, "0")
  const requestKey = (id: string) => `${prefix}requests/${idText(id)}`
  const primaryKeyAt = (primaryKey: string) => `${prefix}keys/${digest(primaryKey)}`
  const addressOf = ({ entityId, entityType }: Pick<Address, "entityId" | "entityType">) => digest(entityType, entityId)
  const addressPrefix = (address: Pick<Address, "entityId" | "entityType">) => `${prefix}address/${addressOf(address)}/`
  const groupPrefix = (group: string) => `${prefix}pending/${percentEncode(group)}/`
  const markerPrefix = ({ address, requestId }: { readonly address: Address; readonly requestId: string }) =>
    `${groupPrefix(address.shardId.group)}${idText(requestId)}/${address.shardId.id}/${addressOf(address)}/`
  const markersOf = ({ markers, request }: Mailbox) => markers.map((marker) => markerPrefix(request) + marker)

  const mark = (key: string) => store.put({ key, repeatable: true })

  const removeAll = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    for (let from = 0; from < keys.length; from += maxKeysPerRequest) {
      const some = keys.slice(from, from + maxKeysPerRequest)
      const {
        failed: [first]
      } = yield* store.deleteMany(some, { repeatable: true })
      if (first !== undefined) return yield* new StoreError({ operation: "deleteMany", ...first })
    }
  })

  /** The cell of a request, and what is there. */
  const find = Effect.fnUntraced(function* (id: string) {
    const known = places.get(id)
    const key = known ?? requestKey(id)
    const version = yield* cellAt(key).read
    if (version.value?._tag !== "Elsewhere") {
      if (version.value !== undefined) places.set(id, key)
      return { key, version }
    }
    const elsewhere = version.value.key
    places.set(id, elsewhere)
    const there = yield* cellAt(elsewhere).read
    // Another has its primary key by now.
    const isIts = there.value?._tag === "Mailbox" && there.value.request.requestId === id
    return { key: elsewhere, version: isIts ? there : CasCell.absent }
  })

  const mailboxOf = ({ value }: Version): Mailbox | undefined => (value?._tag === "Mailbox" ? value : undefined)

  /** Changes a request, once, if it is there; gives what is there then. */
  const change = Effect.fnUntraced(function* (id: string, revise: (mailbox: Mailbox) => Mailbox) {
    const place = places.get(id)
    const known = place === undefined ? undefined : versions.get(place)
    const { key, version } =
      place !== undefined && known !== undefined ? { key: place, version: known } : yield* find(id)
    if (mailboxOf(version) === undefined) return undefined
    versions.delete(key)
    const revised = (slot: Slot | undefined) => {
      const isIts = slot?._tag === "Mailbox" && slot.request.requestId === id
      return Effect.succeed(isIts ? revise(slot) : slot)
    }
    let after = yield* cellAt(key).modify(revised, version)
    // That there is nothing to do is only said of what is in the store.
    if (after === version && known !== undefined) after = yield* cellAt(key).modify(revised)
    const mailbox = mailboxOf(after)
    if (mailbox?.request.requestId !== id) return undefined
    versions.set(key, after)
    return mailbox
  })

  /** Reads what is there now. */
  const look = Effect.fnUntraced(function* (id: string) {
    const { key, version } = yield* find(id)
    const mailbox = mailboxOf(version)
    if (mailbox !== undefined) versions.set(key, version)
    return { key, version, mailbox }
  })

  // ---------------------------------------------------------------------------
  // What is saved
  // ---------------------------------------------------------------------------

  const duplicate = (mailbox: Mailbox) => {
    const exit = exitOf(mailbox)
    const last = exit ?? mailbox.replies.findLast((reply) => isAcknowledged(mailbox, reply))
    return EffectMessageStorage.SaveResultEncoded.Duplicate({
      originalId: Snowflake.Snowflake(mailbox.request.requestId),
      lastReceivedReply: Option.map(Option.fromUndefinedOr(last), asReply)
    })
  }

  const saveRequest = Effect.fnUntraced(function* (
    request: typeof Request.Type,
    primaryKey: string | null,
    deliverAt: number | null
  ) {
    const { address, requestId } = request
    const key = primaryKey === null ? requestKey(requestId) : primaryKeyAt(primaryKey)
    const cell = cellAt(key)
    if (primaryKey !== null) {
      const there = mailboxOf(yield* cell.read)
      if (there !== undefined) return duplicate(there)
    }
    const marker = yield* Id.writeId
    const mailbox: Mailbox = { _tag: "Mailbox", request, deliverAt, replies: [], said: [], markers: [marker] }
    const markerKey = markerPrefix(request) + marker
    const beside = [markerKey, `${addressPrefix(address)}${idText(requestId)}`]
    const waited = yield* StoreClock.stopwatch
    const pointing =
      primaryKey === null
        ? []
        : [
            Effect.asVoid(
              cellAt(requestKey(requestId)).attempt(
                () => Effect.succeed<Slot>({ _tag: "Elsewhere", key }),
                CasCell.absent
              )
            )
          ]
    yield* Effect.all([...beside.map(mark), ...pointing], { concurrency, discard: true })
    const saved = yield* cell.attempt(() => Effect.succeed<Slot>(mailbox), CasCell.absent)
    if (CasCell.isLost(saved)) {
      const there = mailboxOf(saved.seen.now)
      // It was gone when it was looked at: somebody clears the address.
      if (there === undefined) return yield* saved.seen.error
      if (there.request.requestId !== requestId) yield* removeAll([...beside, requestKey(requestId)])
      else yield* removeAll([markerKey])
      return duplicate(there)
    }
    places.set(requestId, key)
    // What tells of nothing for an hour is removed: it may have been before the request was there.
    if ((yield* waited) > leftoverMillis / 2) yield* mark(markerKey)
    return EffectMessageStorage.SaveResultEncoded.Success()
  })

  const saveOther = Effect.fnUntraced(function* (envelope: typeof Other.Type) {
    const { mailbox: before } = yield* look(envelope.requestId)
    if (before === undefined || exitOf(before) !== undefined) return
    const key = markerPrefix(before.request) + envelope.id
    const waited = yield* StoreClock.stopwatch
    yield* mark(key)
    const after = yield* change(envelope.requestId, (mailbox) => {
      if (exitOf(mailbox) !== undefined || mailbox.said.some((one) => one.envelope.id === envelope.id)) return mailbox
      const markers = [...mailbox.markers, envelope.id]
      if (envelope._tag === "Interrupt") return { ...mailbox, markers, said: [...mailbox.said, { envelope }] }
      const chunk = mailbox.replies.find((reply) => reply._tag === "Chunk" && reply.id === envelope.replyId)
      const said = [...mailbox.said.filter((one) => one.envelope._tag !== "AckChunk"), { envelope }]
      if (chunk?._tag !== "Chunk") return { ...mailbox, markers, said }
      const acknowledged = Math.max(mailbox.acknowledged ?? -Infinity, chunk.sequence)
      const replies = mailbox.replies.filter((reply) => reply._tag !== "Chunk" || reply.sequence >= acknowledged)
      return { ...mailbox, markers, said, acknowledged, replies }
    })
    if (after === undefined || exitOf(after) !== undefined) return yield* removeAll([key])
    if ((yield* waited) > leftoverMillis / 2) yield* mark(key)
  })

  const saveReply = Effect.fnUntraced(function* (reply: typeof StoredReply.Type) {
    let ended: ReadonlyArray<string> = []
    let refused: string | undefined
    yield* change(reply.requestId, (mailbox) => {
      ended = []
      const there = rivalOf(mailbox, reply)
      refused = there === undefined || isSame(there, reply) ? undefined : describe(there)
      if (there !== undefined) return mailbox
      const replies = [...mailbox.replies, reply]
      if (reply._tag === "Chunk") return { ...mailbox, replies }
      ended = markersOf(mailbox)
      return { ...mailbox, replies, said: [] }
    })
    if (refused !== undefined) return yield* new ReplyRefused({ requestId: reply.requestId, there: refused })
    // The reply is there. What is left of these, by a failure or a crash, is removed by who finds it.
    yield* Effect.ignore(removeAll(ended))
  })

  // ---------------------------------------------------------------------------
  // What is delivered
  // ---------------------------------------------------------------------------

  const markerOf = (group: string, key: string, lastModified: number | undefined): Marker | undefined => {
    const [id, shard, address, marker] = key.slice(groupPrefix(group).length).split("/")
    if (id === undefined || shard === undefined || address === undefined || marker === undefined) return undefined
    return /^\d{20,}$/.test(id)
      ? { key, requestId: String(BigInt(id)), shard: `${group}:${shard}`, address, lastModified }
      : undefined
  }

  const groupOf = (shard: string) =>
    Effect.filterOrFail(
      Effect.try({
        try: () => ShardId.fromStringEncoded(shard).group,
        catch: () => invalid("shard", "a shard is GROUP:NUMBER")
      }),
      (group) => group.isWellFormed(),
      () => invalid("shard", "the group of a shard is no valid Unicode")
    )

  /** What is pending of some shards, in the order of the ids of requests. */
  const pendingOf = Effect.fnUntraced(function* (shards: ReadonlyArray<string>) {
    const wanted = new Set(shards)
    const groups = new Set(yield* Effect.forEach(shards, groupOf))
    const found: Array<Marker> = []
    for (const group of groups) {
      const markers = listAll(store, { prefix: groupPrefix(group) })
      yield* Stream.runForEach(markers, ({ key, lastModified }) =>
        Effect.sync(() => {
          const marker = markerOf(group, key, lastModified)
          if (marker !== undefined && wanted.has(marker.shard)) found.push(marker)
        })
      )
    }
    const byId = ({ requestId }: Marker) => idText(requestId)
    return found.toSorted((a, b) => (byId(a) < byId(b) ? -1 : byId(a) > byId(b) ? 1 : a.key < b.key ? -1 : 1))
  })

  /** Removes what tells of nothing: of what has ended, and what a crash has left. */
  const tidy = Effect.fnUntraced(function* (markers: ReadonlyArray<Marker>, mailbox: Mailbox | undefined) {
    const listed = mailbox === undefined ? [] : markersOf(mailbox)
    const time = yield* now
    const isOver = ({ key, lastModified }: Marker) =>
      listed.includes(key) || (lastModified !== undefined && time - lastModified > leftoverMillis)
    yield* removeAll(markers.filter(isOver).map(({ key }) => key))
  })

  const isFree = ({ claimedAt }: { readonly claimedAt?: number }, time: number): boolean =>
    claimedAt === undefined || claimedAt <= time - claimMillis

  /** Claims what is to be delivered of a request, by who is first. */
  const claim = Effect.fnUntraced(function* (markers: ReadonlyArray<Marker>, asked: number, limit: number) {
    const { requestId } = markers[0]!
    const { mailbox: found } = yield* look(requestId)
    if (found === undefined || exitOf(found) !== undefined) {
      yield* tidy(markers, found)
      return []
    }
    const time = yield* now
    let delivered: ReadonlyArray<Delivery> = []
    const after = yield* change(requestId, (mailbox) => {
      delivered = []
      if (!isWaiting(mailbox)) return mailbox
      const isDue = mailbox.deliverAt === null || mailbox.deliverAt <= asked
      const request = isDue && isFree(mailbox, time)
      const said = mailbox.said.filter((one) => isFree(one, time)).slice(0, limit - (request ? 1 : 0))
      if (!request && said.length === 0) return mailbox
      const chunk = Option.filter(lastOf(mailbox.replies), ({ _tag }) => _tag === "Chunk")
      delivered = [
        ...(request ? [{ envelope: mailbox.request, lastSentReply: Option.map(chunk, asReply) }] : []),
        ...said.map(({ envelope }) => ({ envelope, lastSentReply: Option.none() }))
      ]
      return {
        ...mailbox,
        ...(request ? { claimedAt: time } : {}),
        said: mailbox.said.map((one) => (said.includes(one) ? { ...one, claimedAt: time } : one))
      }
    })
    // Another is told of what is said later: until then there is nothing.
    if (after !== undefined && delivered.length > 0 && delivered.length < limit) {
      for (const key of markersOf(after)) claims.set(key, time + claimMillis)
    } else if (after?.deliverAt != null && after.deliverAt > asked && after.said.length === 0) {
      for (const key of markersOf(after)) claims.set(key, Math.min(after.deliverAt - asked, claimMillis) + time)
    }
    return delivered
  })

  const unprocessedMessages = Effect.fnUntraced(function* (
    shards: ReadonlyArray<string>,
    asked: number,
    limit: number,
    addresses: ReadonlySet<string> | undefined
  ) {
    const pending = yield* pendingOf(shards)
    if (pending.length === 0) return []
    const time = yield* now
    const isOpen = ({ address, key }: Marker) =>
      (addresses === undefined || addresses.has(address)) && (claims.get(key) ?? -Infinity) <= time
    const byRequest = [...Map.groupBy(pending.filter(isOpen), ({ requestId }) => requestId).values()]
    const messages: Array<Delivery> = []
    // What is claimed is delivered: not more than is asked for.
    while (byRequest.length > 0 && messages.length < limit) {
      const left = limit - messages.length
      const some = byRequest.splice(0, Math.min(left, concurrency))
      const each = Math.max(1, Math.floor(left / some.length))
      const found = yield* Effect.forEach(some, (markers) => claim(markers, asked, each), { concurrency })
      messages.push(...found.flat())
    }
    return messages
  })

  /** Lets what is claimed be delivered again. */
  const unclaim = Effect.fnUntraced(function* (id: string, all: boolean) {
    const after = yield* change(id, (mailbox) => {
      const { claimedAt, ...free } = mailbox
      const isClaimed = claimedAt !== undefined || (all && mailbox.said.some((one) => one.claimedAt !== undefined))
      if (!isClaimed || exitOf(mailbox) !== undefined) return mailbox
      return all ? { ...free, said: mailbox.said.map(({ envelope }) => ({ envelope })) } : free
    })
    if (after !== undefined) for (const key of markersOf(after)) claims.delete(key)
  })

  const unclaimAll = Effect.fnUntraced(function* (shards: ReadonlyArray<string>, addresses?: ReadonlySet<string>) {
    const pending = yield* pendingOf(shards)
    const chosen = pending.filter(({ address }) => addresses === undefined || addresses.has(address))
    const ids = new Set(chosen.map(({ requestId }) => requestId))
    yield* Effect.forEach(ids, (id) => unclaim(id, true), { concurrency, discard: true })
    for (const { key } of chosen) claims.delete(key)
  })

  const byId = Effect.fnUntraced(function* (id: string, asked: number) {
    const { mailbox } = yield* look(id)
    const isDue = mailbox !== undefined && (mailbox.deliverAt === null || mailbox.deliverAt <= asked)
    if (mailbox === undefined || !isDue || !isWaiting(mailbox)) return []
    const lastSentReply = Option.map(lastOf(mailbox.replies), asReply)
    return [{ envelope: mailbox.request, lastSentReply } satisfies Delivery]
  })

  const repliesOf = (
    ids: ReadonlyArray<string>,
    isMeant: (mailbox: Mailbox, reply: typeof StoredReply.Type) => boolean
  ) =>
    Effect.map(Effect.forEach(ids, look, { concurrency }), (found) =>
      found.flatMap(({ mailbox }) =>
        mailbox === undefined ? [] : mailbox.replies.filter((reply) => isMeant(mailbox, reply)).map(asReply)
      )
    )

  // ---------------------------------------------------------------------------
  // What is cleared
  // ---------------------------------------------------------------------------

  const clearReplies = Effect.fnUntraced(function* (id: string, expected: string | undefined) {
    const isMeant = (mailbox: Mailbox) =>
      expected === undefined || Option.getOrUndefined(lastOf(mailbox.replies))?.id === expected
    const { mailbox } = yield* look(id)
    if (mailbox === undefined || !isMeant(mailbox)) return
    const marker = yield* Id.writeId
    const key = markerPrefix(mailbox.request) + marker
    const waited = yield* StoreClock.stopwatch
    yield* mark(key)
    let isCleared = false
    yield* change(id, (before) => {
      isCleared = isMeant(before)
      const { acknowledged: _, claimedAt: __, ...rest } = before
      return isCleared ? { ...rest, replies: [], said: [], markers: [marker] } : before
    })
    if (!isCleared) return yield* removeAll([key])
    if ((yield* waited) > leftoverMillis / 2) yield* mark(key)
  })

  const clearAddress = Effect.fnUntraced(function* (address: Pick<Address, "entityId" | "entityType">) {
    const below = addressPrefix(address)
    const entries = yield* Stream.runCollect(listAll(store, { prefix: below, keysOnly: true }))
    const clear = Effect.fnUntraced(function* (entry: string) {
      const id = String(BigInt(entry.slice(below.length)))
      const { key, mailbox } = yield* look(id)
      versions.delete(key)
      if (mailbox === undefined) return yield* removeAll([requestKey(id), entry])
      yield* store.delete(key)
      places.delete(id)
      yield* removeAll([...markersOf(mailbox), requestKey(id), entry])
    })
    const isId = (key: string) => /^\d{20,}$/.test(key.slice(below.length))
    const keys = entries.map(({ key }) => key).filter(isId)
    yield* Effect.forEach(keys, clear, { concurrency, discard: true })
  })

  const addressesOf = (all: ReadonlyArray<Pick<Address, "entityId" | "entityType">>) => new Set(all.map(addressOf))
  const decodeRequest = Schema.decodeUnknownEffect(Request)
  const decodeOther = Schema.decodeUnknownEffect(Other)
  const decodeReply = Schema.decodeUnknownEffect(StoredReply)
  /** What is no JSON, or not what the cluster has said that it is. */
  const refused = (cause: unknown) => new ClusterError.PersistenceError({ cause })
  const read = <A, E extends Schema.SchemaError>(decode: (u: unknown) => Effect.Effect<A, E>, value: unknown) =>
    Effect.flatMap(Effect.try({ try: () => asJson(value), catch: refused }), (json) =>
      Effect.mapError(decode(json), refused)
    )

  return {
    saveEnvelope: Effect.fn("MessageStorage.saveEnvelope")(function* ({ deliverAt, envelope, primaryKey }) {
      // It would never be due, and is no JSON.
      if (deliverAt !== null && !Number.isFinite(deliverAt)) {
        return yield* named(Effect.fail(invalid("deliverAt", "deliverAt is a finite number of milliseconds")))
      }
      if (envelope._tag === "Request") {
        return yield* named(saveRequest(yield* read(decodeRequest, envelope), primaryKey, deliverAt))
      }
      yield* named(saveOther(yield* read(decodeOther, envelope)))
      return EffectMessageStorage.SaveResultEncoded.Success()
    }),
    saveReply: Effect.fn("MessageStorage.saveReply")(function* (given) {
      const reply = yield* read(decodeReply, given)
      const save = named(saveReply(reply))
      const deferred = yield* Deferred
      if (reply._tag === "WithExit" && deferred !== undefined) return void deferred.push(save)
      yield* save
    }),
    clearReplies: Effect.fn("MessageStorage.clearReplies")(function* (requestId, { expectedReplyId } = {}) {
      yield* named(clearReplies(String(requestId), expectedReplyId === undefined ? undefined : String(expectedReplyId)))
    }),
    requestIdForPrimaryKey: Effect.fn("MessageStorage.requestIdForPrimaryKey")(function* (primaryKey) {
      const mailbox = mailboxOf(yield* named(cellAt(primaryKeyAt(primaryKey)).read))
      return Option.map(Option.fromUndefinedOr(mailbox), ({ request }) => Snowflake.Snowflake(request.requestId))
    }),
    repliesFor: Effect.fn("MessageStorage.repliesFor")(function* (ids) {
      return yield* named(repliesOf(ids, (mailbox, reply) => !isAcknowledged(mailbox, reply)))
    }),
    repliesForUnfiltered: Effect.fn("MessageStorage.repliesForUnfiltered")(function* (ids) {
      return yield* named(repliesOf(ids.map(String), () => true))
    }),
    unprocessedMessages: Effect.fn("MessageStorage.unprocessedMessages")(function* (shards, asked, options) {
      const addresses = options?.addresses === undefined ? undefined : addressesOf(options.addresses)
      return yield* named(unprocessedMessages(shards, asked, options?.limit ?? Infinity, addresses))
    }),
    unprocessedMessagesById: Effect.fn("MessageStorage.unprocessedMessagesById")(function* (ids, asked) {
      const sorted = ids.map(String).toSorted((a, b) => (idText(a) < idText(b) ? -1 : 1))
      const found = yield* named(Effect.forEach(sorted, (id) => byId(id, asked), { concurrency }))
      return found.flat()
    }),
    resetRequests: Effect.fn("MessageStorage.resetRequests")(function* (ids) {
      yield* named(Effect.forEach(ids, (id) => unclaim(String(id), false), { concurrency, discard: true }))
    }),
    resetAddresses: Effect.fn("MessageStorage.resetAddresses")(function* (addresses) {
      if (addresses.length === 0) return
      yield* named(unclaimAll([...new Set(addresses.map(({ shardId }) => shardId.toString()))], addressesOf(addresses)))
    }),
    clearAddress: Effect.fn("MessageStorage.clearAddress")(function* (address) {
      yield* named(clearAddress(address))
    }),
    resetShards: Effect.fn("MessageStorage.resetShards")(function* (shards) {
      yield* named(unclaimAll(shards))
    }),
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.flatMap(Deferred, (outer) => {
        const mine: Array<Effect.Effect<void, ClusterError.PersistenceError>> = []
        return Effect.tap(Effect.provideService(effect, Deferred, mine), () =>
          outer === undefined
            ? Effect.orDie(Effect.forEach(mine, (save) => save, { discard: true }))
            : Effect.sync(() => void outer.push(...mine))
        )
      })
  }
})

/**
 * Creates the storage on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  options?: Options
): Effect.Effect<EffectMessageStorage.MessageStorage["Service"], never, Snowflake.Generator> =>
  Effect.flatMap(makeEncoded(store, options), EffectMessageStorage.makeEncoded)

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The port as a plugin: `Plugin.statuses` has an entry for each of its layers, and `Plugin.uninstall` with `purge` removes what it has stored,
 * when none is open. What has another name is removed by that: `Plugin.define("settings", { version: 1 })`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("cluster", { version: 1 })

/**
 * Creates a layer of the `MessageStorage` of a cluster in a database, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<EffectMessageStorage.MessageStorage, never, Database> =>
  Layer.effect(
    EffectMessageStorage.MessageStorage,
    Effect.gen(function* () {
      const { running, store } = yield* registering(
        { name: "cluster-messages", version: plugin.version },
        options.name ?? plugin.name
      )
      yield* running()
      return yield* make(store, options)
    })
  ).pipe(Layer.provide(Snowflake.layerGenerator))

/**
 * The layer of the `MessageStorage` of a cluster in a database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<EffectMessageStorage.MessageStorage, never, Database> = layerWith({})
