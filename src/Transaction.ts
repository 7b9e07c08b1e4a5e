/**
 * Transactions: reads and writes of several documents that take effect together or not at all, on nothing but conditional
 * writes.
 *
 * **Details**
 *
 * Writes are kept back until the end. Then one object is created, the record `transaction=ID`, which says `pending`, and each
 * document gets an intent: its object still holds the version before, and beside it what the transaction is about to make of
 * it, with the id of the transaction. When all intents are in place, and every document that was only read is as it was, the
 * transaction is committed by writing `committed` into the record, on the condition that it still says `pending`: from that
 * moment every reader takes the new versions. Afterwards the documents are written in full and the record is removed. Who
 * meets the intent of a transaction that has come to a sudden end finishes it, if it is committed, or ends it by writing
 * `aborted`. A record that is gone cannot be committed any more: no clock decides anything.
 *
 * The isolation level is serializable for documents that are read and written by their ids, and strict for a single
 * document: the order of transactions is one in which each could have run alone. Listings, counts and partitions read
 * what is committed at that moment and are not protected from documents that appear later, unless the options say so.
 *
 * The protocol is that of client-coordinated transactions with intents and a commit record: Dey, Fekete, Röhm, "Scalable
 * Distributed Transactions across Heterogeneous Stores" (2015); Peng and Dabek, "Large-scale Incremental Processing Using
 * Distributed Transactions and Notifications" (2010).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Id from "./crypto/Id.ts"
import * as DbError from "./DbError.ts"
import * as Document from "./Document.ts"
import { ambient } from "./internal/ambient.ts"
import { percentDecode, percentEncode } from "./internal/text.ts"
import * as CasCell from "./kernel/CasCell.ts"
import * as Pipeline from "./Pipeline.ts"
import { getOption, type ObjectStore } from "./storage/ObjectStore.ts"
import * as StoreError from "./storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Records
// -----------------------------------------------------------------------------

/**
 * The beginning of the keys of all records of transactions.
 *
 * @category keys
 * @since 0.1.0
 */
export const prefix = "transaction="

/**
 * Returns the key of the record that commits, or aborts, a transaction.
 *
 * @category keys
 * @since 0.1.0
 */
export const key = (id: string): string => prefix + percentEncode(id)

/** `s`: what became of it; `k`: the keys of the documents that have its intents. */
const Record = Schema.Struct({
  s: Schema.Literals(["pending", "committed", "aborted"]),
  k: Schema.Array(Schema.String)
})

const decodeRecord = Schema.decodeUnknownResult(Schema.fromJsonString(Record))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

/**
 * What has become of a transaction. There is no way back from `committed` or `aborted`. One without a record is `aborted`:
 * the record is there before the first intent, and is only removed when nobody can commit any more.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "pending" | "committed" | "aborted"

type Store = ObjectStore["Service"]

/**
 * The record of a transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly id: string
  readonly outcome: Outcome
  /** The keys of the documents that have its intents. */
  readonly keys: ReadonlyArray<string>
  readonly etag: string
}

/**
 * Reads the record of a transaction, by its key. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function* (
  store: Store,
  at: string
): Effect.fn.Return<Found | undefined, StoreError.StoreError> {
  const found = yield* getOption(store, at)
  if (Option.isNone(found)) return undefined
  const record = decodeRecord(decoder.decode(found.value.body))
  if (Result.isSuccess(record)) {
    const { s: outcome, k: keys } = record.success
    return { id: decodeURIComponent(at.slice(prefix.length)), outcome, keys, etag: found.value.etag }
  }
  const reason = new StoreError.Corrupt({ description: "the record of a transaction cannot be read" })
  return yield* new StoreError.StoreError({ operation: "get", key: at, reason })
})

/**
 * Tells what became of a transaction. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const outcomeOf = (store: Store, id: string): Effect.Effect<Outcome, StoreError.StoreError> =>
  Effect.map(read(store, key(id)), (record) => record?.outcome ?? "aborted")

const requestOf = (id: string, outcome: Outcome, keys: ReadonlyArray<string>) => ({
  key: key(id),
  body: encoder.encode(JSON.stringify({ s: outcome, k: keys })),
  contentType: "application/json"
})

/**
 * Decides a transaction that is pending, and says what became of it, whoever decided. 1 PUT, and 1 GET when somebody else
 * was first.
 *
 * The condition is the ETag of the record as it was created. A record that has been decided, or removed, is never as it was
 * created again, so that the first decision is the last.
 *
 * @category protocol
 * @since 0.1.0
 */
export const decide = Effect.fnUntraced(function* (
  store: Store,
  { etag, id, keys }: Pick<Found, "etag" | "id" | "keys">,
  outcome: "committed" | "aborted"
): Effect.fn.Return<Outcome, StoreError.StoreError> {
  const decided = yield* store.put({ ...requestOf(id, outcome, keys), ifMatch: etag }).pipe(
    Effect.as(true),
    Effect.catchReasons("StoreError", {
      PreconditionFailed: () => Effect.succeed(false),
      NoSuchKey: () => Effect.succeed(false)
    })
  )
  return decided ? outcome : yield* outcomeOf(store, id)
})

// -----------------------------------------------------------------------------
// State
// -----------------------------------------------------------------------------

/**
 * What the documents of a transaction may fail with when it is committed.
 *
 * @category errors
 * @since 0.1.0
 */
export type CommitFailure = DbError.Failure | DbError.DbError | DbError.UniqueViolation

/**
 * A document that a transaction is about to write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Participant {
  readonly key: string
  /** Writes it without further ado, and tells so; `false` when the document has changed. `undefined` where the store cannot. */
  readonly alone: ((committed: Effect.Effect<void>) => Effect.Effect<boolean, CommitFailure>) | undefined
  /**
   * Puts the intent; `false` when the document has changed since it was read, or when what belongs to the intent may have
   * been taken for a leftover before it was in place.
   */
  readonly stage: (transaction: string, claims: Claims) => Effect.Effect<boolean, CommitFailure>
  /** Writes what has been announced, or takes the announcement back. */
  readonly finish: (transaction: string, outcome: "committed" | "aborted") => Effect.Effect<void, StoreError.StoreError>
  /**
   * What the document tells of a transaction whose record is gone: that what was announced is there, or has been built upon, or
   * that the announcement was taken back; `undefined` where it tells nothing any more. 1 GET.
   */
  readonly fate: Effect.Effect<"committed" | "aborted" | undefined, StoreError.StoreError>
  /** Whether the catalog still wants of it what it was made ready by. */
  readonly isCurrent: Effect.Effect<boolean, CommitFailure>
  /** The keys that are listed from its intent on, and were not before. */
  readonly added: ReadonlyArray<string>
  /** Whether its next version, if there is one, has the value of a unique key. */
  readonly claims: (unique: string, digest: string) => boolean
}

/**
 * Whether the document at a key will have the value of a unique key once the transaction is committed; `undefined` for one
 * that it does not write.
 *
 * @category models
 * @since 0.1.0
 */
export type Claims = (key: string, unique: string, digest: string) => boolean | undefined

/**
 * What a document looks like from inside a transaction: as it was found, and as it is by now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Look {
  readonly original: unknown
  readonly base: unknown
  /** What a condition on the object has to say. */
  readonly condition: { readonly ifMatch?: string | undefined; readonly ifNoneMatch?: "*" | undefined }
}

/**
 * Tells whether something that was read is still so, apart from what these writes, by the keys of their documents, have done.
 *
 * @category models
 * @since 0.1.0
 */
export type Read = (writes: ReadonlyMap<string, Participant>) => Effect.Effect<boolean, CommitFailure>

/**
 * What becomes of listings inside a transaction: `committed`, they read what is committed and are not looked at again;
 * `serializable`, they are made again before the commit; `refuse`, they fail.
 *
 * @category models
 * @since 0.1.0
 */
export type Listings = "committed" | "serializable" | "refuse"

/**
 * A transaction under way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transaction {
  /** The database that it is on: `Database.id`. */
  readonly database: symbol
  readonly listings: Listings
  /** The time of everything that it writes, in milliseconds since 1970: when its effect began, the last time that it was run. */
  readonly time: number
  /** Whether its effect still runs: what comes later takes no part in it. */
  isOpen: boolean
  /** By key: whether what was read there is still so, and no other transaction than that of these writes is about to change it. */
  readonly reads: Map<string, Read>
  readonly writes: Map<string, Participant>
  /** What documents look like from inside, by key. */
  readonly views: Map<string, Look>
  /** What is to be told once it is committed. */
  readonly committed: Array<Effect.Effect<void>>
  /** By whom: what is done when its commit is over, before it is acknowledged. `undefined`: it is committed; else it is not, or may be. */
  readonly ended: Map<string, (exit: Exit.Exit<Met, unknown>) => Effect.Effect<void>>
}

/**
 * The transaction in which an effect runs, if any.
 *
 * @category references
 * @since 0.1.0
 */
export const Current: Context.Reference<Transaction | undefined> = Context.Reference<Transaction | undefined>(
  "effect-s3db/Transaction",
  { defaultValue: () => undefined }
)

/**
 * Returns the time of what is written now, in milliseconds since 1970: within a transaction that of all its writes.
 *
 * @category getters
 * @since 0.1.0
 */
export const now: Effect.Effect<number> = Effect.sync(() => nowUnsafe())

/**
 * Returns the same at once, as the fiber has it that runs.
 *
 * @category getters
 * @since 0.1.0
 */
export const nowUnsafe = (): number => ambient(Current)?.time ?? Document.nowUnsafe()

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * How a transaction runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How often it is run again after a conflict, with growing pauses. Default 20. */
  readonly retries?: number | undefined
  /**
   * What becomes of scans, queries, counts and other listings inside. Default `committed`: they read what is committed at
   * that moment, and a document that appears later is not noticed. `serializable`: each LIST is made again before the
   * commit, and each document that it finds costs 1 HEAD more; the transaction runs again when they differ. Such a listing
   * does not show what the transaction itself has written of the resource, so that it has to come first (`Unsupported`).
   * `refuse`: they fail with `Unsupported`. One within another transaction goes by the options of the outer one.
   */
  readonly listings?: Listings | undefined
}

const defaultRetries = 20

/**
 * Runs an effect now, or, within a transaction, when it is committed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const onCommit = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.flatMap(Current, (transaction) => {
    if (transaction === undefined) return effect
    transaction.committed.push(effect)
    return Effect.void
  })

/**
 * Runs an effect as a transaction on the documents of one database.
 *
 * The effect may run several times. It fails with `TransactionConflict` when others kept changing what it read, and with
 * its own errors, which take effect only if what it had read is still so. A transaction within another one is part of it:
 * what it writes is taken up when it succeeds, and forgotten when it fails. One on another database is refused
 * (`Unsupported`), as are the documents of another database.
 *
 * Requests for w documents written and r others read: w + r GET, 1 PUT for the record, w PUT for the intents, r HEAD, 1 PUT
 * for the decision, w PUT for the new versions, 1 DELETE. One document alone is written by 1 GET and 1 PUT. Nothing
 * written: r GET and r HEAD.
 *
 * It can be interrupted until it is committed: then nothing of it is left. From the commit on it goes on to its end.
 * `OutcomeUnknown`: the answer to the commit was lost, and its record is gone since.
 *
 * @category combinators
 * @since 0.1.0
 */
export const run = <A, E, R>(
  { id: database, store }: { readonly id: symbol; readonly store: Store },
  effect: Effect.Effect<A, E, R>,
  options: Options = {}
): Effect.Effect<A, E | DbError.TransactionConflict | DbError.UniqueViolation | DbError.DbError, R> =>
  Effect.gen(function* () {
    const outer = yield* Current
    if (outer?.database === database) return yield* within(outer, effect)
    if (outer !== undefined) {
      const description = "a transaction is on one database: this one would be within that of another"
      const reason = new StoreError.Unsupported({ feature: "transaction", description })
      return yield* DbError.make("Database.transaction", reason)
    }
    const { listings = "committed", retries = defaultRetries } = options
    return yield* CasCell.contend(() => attempt({ database, listings, store }, effect), {
      retries,
      exhausted: (met) => Effect.fail(new DbError.TransactionConflict({ attempts: retries + 1, met: labelsOf(met) }))
    })
  })

/** Runs an effect with a state of its own, which is closed when it ends. */
const runIn = <A, E, R>(state: Transaction, effect: Effect.Effect<A, E, R>) => {
  const close = Effect.sync(() => {
    state.isOpen = false
  })
  return Effect.provideService(effect, Current, state).pipe(
    // Nothing of what it has written is left.
    Effect.mapError(Pipeline.undone),
    Effect.ensuring(close),
    Effect.exit
  )
}

/** Runs the effect, and commits what it has kept back; lost when others have changed what it has read. */
const attempt = Effect.fnUntraced(function* <A, E, R>(
  { database, listings, store }: Pick<Transaction, "database" | "listings"> & { readonly store: Store },
  effect: Effect.Effect<A, E, R>
) {
  const state: Transaction = {
    database,
    listings,
    time: yield* Document.now,
    isOpen: true,
    reads: new Map(),
    writes: new Map(),
    views: new Map(),
    committed: [],
    ended: new Map()
  }
  const exit = yield* runIn(state, effect)
  if (Exit.isFailure(exit)) {
    const met = yield* named(readsLost({ ...state, writes: noWrites }, noWrites))
    return met === undefined ? yield* exit : new CasCell.Lost(met)
  }
  const ended: Effect.Effect<Met, CommitFailure> = Effect.onExit(commit(store, state), (exit) =>
    Effect.forEach([...state.ended.values()], (end) => end(exit), { discard: true })
  )
  const committing = Effect.catchTag(
    ended,
    "UniqueViolation",
    // It may come of something that was otherwise when it was read.
    (violation) =>
      Effect.flatMap(readsLost(state, noWrites), (met): Effect.Effect<Met, DbError.UniqueViolation> =>
        met === undefined ? Effect.fail(violation) : Effect.succeed(met)
      )
  )
  const met = yield* named(committing)
  return met === undefined ? exit.value : new CasCell.Lost(met)
})

/**
 * Runs an effect within a transaction, on a copy of its state. What it has done is taken up if it succeeds. If another fiber
 * of the transaction was faster with one of the documents, it runs again, as it then is.
 */
const within = Effect.fnUntraced(function* <A, E, R>(outer: Transaction, effect: Effect.Effect<A, E, R>) {
  for (;;) {
    const begun = { views: new Map(outer.views), writes: new Map(outer.writes) }
    let isOpen = true
    const inner: Transaction = {
      ...outer,
      // It is over when the outer one is, whatever still runs in it.
      get isOpen() {
        return isOpen && outer.isOpen
      },
      set isOpen(open) {
        isOpen = open
      },
      writes: new Map(outer.writes),
      views: new Map(outer.views),
      committed: [],
      ended: new Map()
    }
    const exit = yield* runIn(inner, effect)
    if (Exit.isSuccess(exit) && !outer.isOpen) {
      const description = "the transaction is over: one that is part of it has to end before it does"
      const reason = new StoreError.Unsupported({ feature: "transaction", description })
      return yield* DbError.make("Database.transaction", reason)
    }
    if (takeUp(outer, inner, begun, Exit.isSuccess(exit))) return yield* exit
  }
})

const isSameLook = (a: Look, b: Look): boolean =>
  a.condition.ifMatch === b.condition.ifMatch && a.condition.ifNoneMatch === b.condition.ifNoneMatch

/** Takes up what an inner transaction has seen and, on success, written; `false`: somebody else was faster, nothing is done. */
const takeUp = (
  outer: Transaction,
  inner: Transaction,
  begun: Pick<Transaction, "views" | "writes">,
  isDone: boolean
): boolean => {
  const isWritten = (key: string) => isDone && inner.writes.get(key) !== begun.writes.get(key)
  const changed = [...inner.views].filter(([key, view]) => begun.views.get(key) !== view)
  const isLost = changed.some(([key, view]) => {
    const now = outer.views.get(key)
    return now !== begun.views.get(key) && now !== undefined && (isWritten(key) || !isSameLook(now, view))
  })
  if (isLost) return false
  for (const [key, view] of changed) {
    if (isWritten(key)) outer.views.set(key, view)
    else if (!outer.views.has(key)) outer.views.set(key, { ...view, base: view.original })
  }
  if (!isDone) return true
  for (const key of new Set([...begun.writes.keys(), ...inner.writes.keys()])) {
    if (!isWritten(key)) continue
    const participant = inner.writes.get(key)
    if (participant === undefined) outer.writes.delete(key)
    else outer.writes.set(key, participant)
  }
  outer.committed.push(...inner.committed)
  for (const [who, end] of inner.ended) outer.ended.set(who, end)
  return true
}

const named = DbError.named("Database.transaction")

const concurrency = 8

const noWrites: ReadonlyMap<string, Participant> = new Map()

/**
 * What others have changed, by the names that reads and writes have; nothing has been done then. `undefined`: nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Met = ReadonlyArray<string> | undefined

/** What was read, and is not to be written, that is not as it was, apart from what `done` has done. */
const readsLost = (
  { reads, writes }: Pick<Transaction, "reads"> & { readonly writes: ReadonlyMap<string, Participant> },
  done: ReadonlyMap<string, Participant>
): Effect.Effect<Met, CommitFailure> =>
  Effect.map(
    Effect.forEach(
      [...reads].filter(([key]) => !writes.has(key)),
      ([key, read]) => Effect.map(read(done), (still) => (still ? [] : [key])),
      { concurrency }
    ),
    (lost) => (lost.some((keys) => keys.length > 0) ? lost.flat() : undefined)
  )

/** What was met in words, without the values that keys below a partition or a unique key are made of. */
const labelsOf = (met: Met): ReadonlyArray<string> => {
  const labels = (met ?? []).map((read) => {
    const [, listing, resource = "", kind, id] =
      /^(list )?resource=([^/]*)\/(data\/id=|unique=)?([^/]*)/.exec(read) ?? []
    const name = percentDecode(resource) ?? resource
    if (listing !== undefined) return `a listing of ${name}`
    if (kind === "unique=") return `unique key ${percentDecode(id ?? "") ?? ""} of ${name}`
    return `${name} ${JSON.stringify(percentDecode(id ?? "") ?? "")}`
  })
  return [...new Set(labels)]
}

/** Commits what is kept back, unless others were faster. */
const commit = Effect.fnUntraced(function* (store: Store, state: Transaction): Effect.fn.Return<Met, CommitFailure> {
  const participants = [...state.writes.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const others = [...state.reads.keys()].filter((read) => !state.writes.has(read))
  const tell = Effect.all(state.committed, { discard: true })
  if (participants.length === 0) {
    const met = others.length < 2 ? undefined : yield* readsLost(state, state.writes)
    if (met === undefined) yield* tell
    return met
  }
  const [only] = participants
  if (participants.length === 1 && others.length === 0 && only?.alone !== undefined) {
    return (yield* only.alone(tell)) ? undefined : [only.key]
  }
  return yield* Effect.uninterruptibleMask((restore) =>
    commitTogether(restore, store, participants, readsLost(state, state.writes), tell)
  )
})

/** How often a record is created under another id when an answer was lost. */
const mostRecords = 3

/**
 * Creates the record of a transaction, before anything else of it. Its request is sent once: one that was sent twice might
 * arrive when the record has been removed, and bring it back. Where the answer is lost, another record is made.
 */
const begin = Effect.fnUntraced(function* (
  store: Store,
  keys: ReadonlyArray<string>
): Effect.fn.Return<Pick<Found, "etag" | "id" | "keys">, StoreError.StoreError> {
  for (let made = 1; ; made++) {
    const id = yield* Id.writeId
    const put = store.put({ ...requestOf(id, "pending", keys), ifNoneMatch: "*", repeatable: false })
    const created = yield* Effect.result(put)
    if (Result.isSuccess(created)) return { id, keys, etag: created.success.etag }
    const { failure } = created
    const isUnsure = failure.outcome === "unknown" || failure.reason._tag === "PreconditionFailed"
    if (!isUnsure || made === mostRecords) return yield* failure
  }
})

/**
 * Commits several documents, or one that depends on others: by a record, and an intent in each. It runs uninterruptibly, but
 * for what `restore` is given: what has been begun is taken back, or done.
 */
const commitTogether = Effect.fnUntraced(function* (
  restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>,
  store: Store,
  participants: ReadonlyArray<Participant>,
  readsLost: Effect.Effect<Met, CommitFailure>,
  tell: Effect.Effect<unknown>
): Effect.fn.Return<Met, CommitFailure> {
  const record = yield* begin(
    store,
    participants.map((participant) => participant.key)
  )
  const start = yield* Clock.currentTimeMillis
  const staged: Array<Participant> = []
  const finish = (outcome: "committed" | "aborted") =>
    Effect.forEach(staged, (participant) => participant.finish(record.id, outcome), { concurrency, discard: true })
  const forget = store.delete(key(record.id), { repeatable: true })
  // An intent that is still on its way, or cannot be taken back now, has no record then, and counts for nothing.
  const abort = Effect.andThen(
    Effect.catch(finish("aborted"), (error) =>
      Effect.logWarning("intents of an aborted transaction are left to whoever meets them", error)
    ),
    Effect.catch(forget, (error) => Effect.logWarning("the record of an aborted transaction is left behind", error))
  )
  const byKey = new Map(participants.map((participant) => [participant.key, participant]))
  const claims: Claims = (key, unique, digest) => byKey.get(key)?.claims(unique, digest)

  // One after the other, in the order of the keys, so that two transactions do not stop each other half-way.
  const hindrance = Effect.gen(function* () {
    for (const participant of participants) {
      staged.push(participant)
      if (!(yield* participant.stage(record.id, claims))) return [participant.key]
    }
    // The catalog may want more of them by now.
    for (const participant of participants) if (!(yield* participant.isCurrent)) return [participant.key]
    return yield* readsLost
  })
  // Also when it is interrupted: nobody should have to wait for it.
  const met = yield* Effect.onError(restore(hindrance), () => abort)
  if (met !== undefined) {
    yield* abort
    return met
  }
  const conclusion = Effect.gen(function* () {
    const outcome = yield* decideCommit(store, record, staged)
    if (outcome !== "committed") {
      yield* abort
      // Somebody has met it, and has not waited for it.
      return outcome === "aborted" ? participants.map((participant) => participant.key) : yield* outcome
    }
    yield* tell
    // It is done, whether or not the documents can be written now.
    yield* Effect.andThen(finish("committed"), forget).pipe(
      Effect.catch((error) => Effect.logWarning("a committed transaction is left to whoever meets it", error))
    )
    yield* Effect.annotateCurrentSpan("s3db.transaction.millis", (yield* Clock.currentTimeMillis) - start)
    return undefined
  })
  return yield* conclusion
})

/**
 * Commits a transaction whose intents are in place, unless somebody has aborted it; an error: it has not been committed, for
 * this reason. When the answer is lost it is aborted, which only succeeds if it was not committed. When the record is gone
 * by then, the documents tell, also where the commit was refused: something between here and the store may have sent it twice.
 */
const decideCommit = Effect.fnUntraced(function* (
  store: Store,
  { etag, id, keys }: Pick<Found, "etag" | "id" | "keys">,
  staged: ReadonlyArray<Participant>
): Effect.fn.Return<"committed" | "aborted" | StoreError.StoreError, CommitFailure> {
  const put = (outcome: "committed" | "aborted") =>
    Effect.result(Effect.as(store.put({ ...requestOf(id, outcome, keys), ifMatch: etag }), outcome))
  const committed = yield* put("committed")
  if (Result.isSuccess(committed)) return committed.success
  const { failure } = committed
  const { reason } = failure
  const isRefused = reason._tag === "PreconditionFailed" || reason._tag === "NoSuchKey"
  if (!isRefused && failure.outcome === "none") return failure
  const isSure = isRefused && failure.outcome === "none"
  const aborted = isRefused ? committed : yield* put("aborted")
  if (Result.isSuccess(aborted)) return aborted.success
  const found = yield* Effect.mapError(read(store, key(id)), (error) => (isSure ? error : failure))
  if (found !== undefined && found.outcome !== "pending") return found.outcome
  const told = yield* Effect.forEach(staged, (participant) => participant.fate, { concurrency })
  const fate = told.find((one) => one !== undefined)
  if (fate !== undefined) return fate
  const description = "the answer to the commit was lost, and its record is gone, so that it may have been committed"
  return yield* new DbError.OutcomeUnknown({ description })
})
