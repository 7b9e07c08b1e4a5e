/**
 * Transactions: reads and writes of several documents that take effect together or not at all, on nothing but conditional
 * writes.
 *
 * **Details**
 *
 * Writes are kept back until the end. Then each document gets an intent: its object still holds the version before, and
 * beside it what the transaction is about to make of it, with the id of the transaction. When all intents are in place,
 * and every document that was only read is as it was, the transaction is committed by creating one object,
 * `transaction=ID`: from that moment every reader takes the new versions. Afterwards the documents are written in full and
 * the object is removed. Who meets the intent of a transaction that has come to a sudden end finishes it, if it is
 * committed, or ends it by creating that object with the word `aborted`.
 *
 * The isolation level is serializable for documents that are read and written by their ids, and strict for a single
 * document: the order of transactions is one in which each could have run alone. Listings, counts and partitions read
 * what is committed at that moment and are not protected from documents that appear later.
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
import { percentEncode } from "./internal/text.ts"
import { stopwatch } from "./Unique.ts"
import * as CasCell from "./kernel/CasCell.ts"
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
const Record = Schema.Struct({ s: Schema.Literals(["committed", "aborted"]), k: Schema.Array(Schema.String) })

const decodeRecord = Schema.decodeUnknownResult(Schema.fromJsonString(Record))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

/**
 * The outcome of a transaction: `none` is known as long as there is no record.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "committed" | "aborted" | "none"

type Store = ObjectStore["Service"]

/**
 * Reads the record of a transaction, by its key. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function* (
  store: Store,
  at: string
): Effect.fn.Return<
  { readonly id: string; readonly outcome: "committed" | "aborted"; readonly keys: ReadonlyArray<string> } | undefined,
  StoreError.StoreError
> {
  const found = yield* getOption(store, at)
  if (Option.isNone(found)) return undefined
  const record = decodeRecord(decoder.decode(found.value.body))
  if (Result.isSuccess(record)) {
    const { s: outcome, k: keys } = record.success
    return { id: decodeURIComponent(at.slice(prefix.length)), outcome, keys }
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
  Effect.map(read(store, key(id)), (record) => record?.outcome ?? "none")

/**
 * Decides a transaction that has no record yet, and says what became of it, whoever decided. 1 PUT, and 1 GET when somebody
 * else was first.
 *
 * @category protocol
 * @since 0.1.0
 */
export const decide = Effect.fnUntraced(function* (
  store: Store,
  id: string,
  outcome: "committed" | "aborted",
  keys: ReadonlyArray<string>
): Effect.fn.Return<Outcome, StoreError.StoreError> {
  const body = encoder.encode(JSON.stringify({ s: outcome, k: keys }))
  // Sent again it says the same: only its own transaction commits, and who aborts does not mind who did.
  const request = { key: key(id), body, contentType: "application/json", ifNoneMatch: "*" as const, repeatable: true }
  const created = yield* store.put(request).pipe(
    Effect.as(true),
    Effect.catchReason("StoreError", "PreconditionFailed", () => Effect.succeed(false))
  )
  return created ? outcome : yield* outcomeOf(store, id)
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
  /** Puts the intent; `false` when the document has changed since it was read. */
  readonly stage: (transaction: string) => Effect.Effect<boolean, CommitFailure>
  /** Writes what has been announced, or takes the announcement back. */
  readonly finish: (transaction: string, outcome: "committed" | "aborted") => Effect.Effect<void, StoreError.StoreError>
  /** Milliseconds that have passed since its reservations were made, and how many they last. */
  readonly lease: Effect.Effect<{ readonly elapsed: number; readonly millis: number } | undefined>
}

/**
 * A transaction under way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transaction {
  /** The database that it is on: `Database.id`. */
  readonly database: symbol
  /** Whether its effect still runs: what comes later takes no part in it. */
  isOpen: boolean
  /** By the key of the document: whether it is still as it was read, and no other transaction is about to change it. */
  readonly reads: Map<string, () => Effect.Effect<boolean, StoreError.StoreError>>
  readonly writes: Map<string, Participant>
  /** What documents look like from inside, by key. */
  readonly views: Map<string, unknown>
  /** What is to be told once it is committed. */
  readonly committed: Array<Effect.Effect<void>>
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

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * The number of times that a transaction is run again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How often it is run again after a conflict, with growing pauses. Default 20. */
  readonly retries?: number | undefined
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
 * its own errors, which take effect only if what it had read is still so. A transaction within another one is part of it;
 * one on another database is refused (`Unsupported`), as are the documents of another database.
 *
 * Requests for w documents written and r others read: w + r GET, w PUT for the intents, r GET, 1 PUT for the record, w PUT
 * for the new versions, 1 DELETE. One document alone is written by 1 GET and 1 PUT. Nothing written: r GET twice.
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
    if (outer?.database === database) return yield* effect
    if (outer !== undefined) {
      const description = "a transaction is on one database: this one would be within that of another"
      const reason = new StoreError.Unsupported({ feature: "transaction", description })
      return yield* DbError.make("Database.transaction", reason)
    }
    const retries = options.retries ?? defaultRetries
    return yield* CasCell.contend(() => attempt(database, store, effect), {
      retries,
      exhausted: () => Effect.fail(new DbError.TransactionConflict({ attempts: retries + 1 }))
    })
  })

/** Runs the effect, and commits what it has kept back; lost when others have changed what it has read. */
const attempt = Effect.fnUntraced(function* <A, E, R>(database: symbol, store: Store, effect: Effect.Effect<A, E, R>) {
  const state: Transaction = {
    database,
    isOpen: true,
    reads: new Map(),
    writes: new Map(),
    views: new Map(),
    committed: []
  }
  const close = Effect.sync(() => {
    state.isOpen = false
  })
  const exit = yield* Effect.provideService(effect, Current, state).pipe(Effect.ensuring(close), Effect.exit)
  if (Exit.isFailure(exit)) return (yield* named(isCurrent(state))) ? yield* exit : new CasCell.Lost(undefined)
  return (yield* named(commit(store, state))) ? exit.value : new CasCell.Lost(undefined)
})

const named = DbError.named("Database.transaction")

const concurrency = 8

/** Whether everything that was read, and is not written, is as it was. */
const isCurrent = (state: Transaction): Effect.Effect<boolean, StoreError.StoreError> =>
  Effect.map(
    Effect.forEach(state.reads.values(), (read) => read(), { concurrency }),
    (still) => still.every(Boolean)
  )

/** Commits what is kept back; `false` after a conflict, when nothing of it has been done. */
const commit = Effect.fnUntraced(function* (
  store: Store,
  state: Transaction
): Effect.fn.Return<boolean, CommitFailure> {
  const participants = [...state.writes.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const others = [...state.reads].filter(([read]) => !state.writes.has(read))
  const readsHold = Effect.map(
    Effect.forEach(others, ([, read]) => read(), { concurrency }),
    (still) => still.every(Boolean)
  )
  const tell = Effect.all(state.committed, { discard: true })
  if (participants.length === 0) {
    const isDone = others.length < 2 || (yield* readsHold)
    if (isDone) yield* tell
    return isDone
  }
  const [only] = participants
  if (participants.length === 1 && others.length === 0 && only?.alone !== undefined) return yield* only.alone(tell)
  const id = yield* Id.writeId
  const start = yield* Clock.currentTimeMillis
  const staged: Array<Participant> = []
  const finish = (outcome: "committed" | "aborted") =>
    Effect.forEach(staged, (participant) => participant.finish(id, outcome), { concurrency, discard: true })
  /**
   * Takes back what is announced. There is no record to be made, nor to be removed: nobody else can commit it, and one
   * that says `aborted` has to stay for as long as an attempt to commit may still arrive.
   */
  const abort = finish("aborted").pipe(
    Effect.catch((error) => Effect.logWarning("an aborted transaction is left to whoever meets it", error))
  )
  const keys = participants.map((participant) => participant.key)

  // One after the other, in the order of the keys, so that two transactions do not stop each other half-way.
  const elapsed = yield* stopwatch
  const isReady = Effect.gen(function* () {
    for (const participant of participants) {
      staged.push(participant)
      if (!(yield* participant.stage(id))) return false
    }
    return yield* readsHold
  })
  // Also when it is interrupted: nobody should have to wait for it.
  if (!(yield* Effect.onError(isReady, () => abort))) {
    yield* abort
    return false
  }
  // Whoever had to wait has ended it by now, and a repair may have taken what it made for leftovers.
  if ((yield* elapsed) > mostMillis) {
    yield* abort
    return false
  }
  for (const participant of participants) {
    const lease = yield* participant.lease
    // Reservations of unique values may be taken over from now on.
    if (lease !== undefined && lease.elapsed > lease.millis / 2) {
      yield* abort
      return false
    }
  }
  return yield* Effect.uninterruptible(conclude(store, id, keys, { abort, finish, tell, start }))
})

/** How long after its first intent a transaction is still committed. Markers and records of transactions keep twice that. */
const mostMillis = 450_000

interface Conclusion {
  readonly abort: Effect.Effect<void>
  readonly finish: (outcome: "committed") => Effect.Effect<void, StoreError.StoreError>
  readonly tell: Effect.Effect<unknown>
  /** Milliseconds since the epoch. */
  readonly start: number
}

/** Commits what is announced. What is committed is told, and written. */
const conclude = Effect.fnUntraced(function* (
  store: Store,
  id: string,
  keys: ReadonlyArray<string>,
  { abort, finish, tell, start }: Conclusion
) {
  const forget = store.delete(key(id), { repeatable: true })
  const decided = yield* Effect.result(decide(store, id, "committed", keys))
  if (Result.isFailure(decided)) {
    // The answer was lost: the record says what became of it, as soon as it can be read.
    const failure = decided.failure
    if (failure.outcome === "none") yield* abort
    return yield* failure
  }
  if (decided.success !== "committed") {
    yield* abort
    return false
  }
  yield* tell
  // It is done, whether or not the documents can be written now.
  yield* Effect.andThen(finish("committed"), forget).pipe(
    Effect.catch((error) => Effect.logWarning("a committed transaction is left to whoever meets it", error))
  )
  yield* Effect.annotateCurrentSpan("s3db.transaction.millis", (yield* Clock.currentTimeMillis) - start)
  return true
})
