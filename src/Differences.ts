/**
 * The documents of a resource that are new, changed or gone since a consumer last looked, found by listing keys: where writes
 * cannot pay for a journal, or nobody has kept one. A look costs 1 LIST for each 1,000 documents.
 *
 * ```ts
 * import * as Differences from "effect-s3db/Differences"
 * import { Console, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const users = yield* Differences.make({ resource: "users", name: "search" })
 *   yield* users.pass((differences) => Console.log(differences.map(({ id }) => id)))
 * })
 * ```
 *
 * **Details**
 *
 * `kernel/ListingDifference` over the keys of documents. It knows what lies at those keys:
 *
 * - what tells of a deletion is no document, by its size, as for `count`;
 * - an object that holds the intent of a transaction is told, since a change may be below it, and told once more when the
 *   transaction is decided, also where its client has crashed and nobody has written the document in full;
 * - keys of others are left out.
 *
 * **Gotchas**
 *
 * A difference says that there may be something new, not what. Read the document by its id, and take a document that is not
 * there for gone: so a handler that was late, or is called twice, does no harm.
 *
 * @see `docs/design/listing-difference.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "./Database.ts"
import * as DbError from "./DbError.ts"
import * as Document from "./Document.ts"
import { percentEncode } from "./internal/text.ts"
import type { LeaseLost } from "./kernel/Lease.ts"
import * as ListingDifference from "./kernel/ListingDifference.ts"
import { listAll, type ObjectStore } from "./storage/ObjectStore.ts"
import * as StoreError from "./storage/StoreError.ts"
import * as Transaction from "./Transaction.ts"

/**
 * Which documents, and for whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Pick<ListingDifference.Options, "batchSize" | "compression" | "keysPerPart"> {
  /** The name of the resource. It need not be open in this process. */
  readonly resource: string
  /** Names the consumer: each has a snapshot of its own, at `resource=R/plugin=differences/NAME/`. */
  readonly name: string
}

/**
 * A document that is not as it was when it was last seen. `New` and `Changed` may be told of one that is the same, and `Gone` of one
 * that has never been told as new.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly _tag: ListingDifference.Difference["_tag"]
  readonly id: string
}

/**
 * The differences of a resource, for one consumer. See `ListingDifference` for what each member does and costs. Where a run of
 * documents has differences: 1 LIST more, and 1 GET for each transaction under way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Differences {
  readonly resource: string
  readonly name: string
  /** Lists once, and gives the handler what is new, changed or gone, in the order of keys, each at least once. */
  readonly pass: <E, R>(
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>,
    options?: ListingDifference.PassOptions
  ) => Effect.Effect<ListingDifference.Summary, E | LeaseLost | DbError.DbError, R>
  /** Takes what is there for seen. */
  readonly baseline: (
    options?: ListingDifference.PassOptions
  ) => Effect.Effect<ListingDifference.Summary, LeaseLost | DbError.DbError>
  /** The differences to what has been seen, without taking them for seen. */
  readonly peek: Stream.Stream<Difference, DbError.DbError>
  /** Makes passes as long as it runs, while this process has the lease. */
  readonly run: <E, R>(
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>,
    options?: ListingDifference.RunOptions
  ) => Effect.Effect<never, E | DbError.DbError, R>
  /** Forgets what was seen: the next pass tells all there is as new. */
  readonly reset: (options?: ListingDifference.PassOptions) => Effect.Effect<void, LeaseLost | DbError.DbError>
}

/** Keeps what a handler fails with apart from what the store says. */
class HandlerFailed<out E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/**
 * The keys whose meaning a transaction under way may yet decide. Asked after they were listed: a transaction of which there
 * was an intent, and is no record any more, has been written in full, or taken back, or is over without an effect.
 */
const undecided = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const records = yield* Stream.runCollect(listAll(store, { prefix: Transaction.prefix, keysOnly: true }))
  const pending = new Set<string>()
  let isAny = false
  yield* Effect.forEach(
    records,
    ({ key }) =>
      Transaction.read(store, key).pipe(
        Effect.map((found) => {
          if (found?.outcome === "pending") for (const one of found.keys) pending.add(one)
        }),
        // Nobody can tell which documents it is about, until it is gone.
        Effect.catchReason("StoreError", "Corrupt", () => Effect.sync(() => void (isAny = true)))
      ),
    { concurrency: 8, discard: true }
  )
  return (key: string) => isAny || pending.has(key)
})

/**
 * Creates the differences of a resource in a database. No request.
 *
 * `InvalidInput`: the name of the resource or of the consumer is empty, or no well-formed text. Throws a `RangeError` when another
 * option is out of its range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Differences, DbError.InvalidInput, Database> {
  const { batchSize, compression, keysPerPart, name, resource } = options
  for (const [field, text] of Object.entries({ resource, name })) {
    if (!Schema.is(Schema.NonEmptyString)(text) || !text.isWellFormed()) {
      return yield* DbError.invalidField(String(resource), [field], "Expected well-formed text, not empty")
    }
  }
  const { capabilities, store } = yield* Database
  const listing = ListingDifference.make(store, {
    listed: Document.keyPrefix(resource),
    prefix: `resource=${percentEncode(resource)}/plugin=differences/${percentEncode(name)}`,
    select: (key) => Option.isSome(Document.idOf(resource, key)),
    isAbsent: ({ size }) => size === Document.deletionBytes,
    undecided: undecided(store),
    orderedList: capabilities.orderedList,
    batchSize,
    compression,
    keysPerPart
  })

  const toDocument = ({ _tag, key }: ListingDifference.Difference): Difference => ({
    _tag,
    id: Option.getOrElse(Document.idOf(resource, key), () => key)
  })

  /** Names what the store says by the operation, and leaves what the handler fails with as it is. */
  const handled =
    <E, R>(handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>) =>
    (differences: ReadonlyArray<ListingDifference.Difference>) =>
      Effect.mapError(handle(differences.map(toDocument)), (error) => new HandlerFailed(error))

  const toNamed = (operation: string) => DbError.fromFailure(operation, resource)

  const named =
    (operation: string) =>
    <A, E, R>(
      effect: Effect.Effect<A, HandlerFailed<E> | StoreError.StoreError | LeaseLost, R>
    ): Effect.Effect<A, E | LeaseLost | DbError.DbError, R> =>
      Effect.mapError(effect, (error) => {
        if (error instanceof HandlerFailed) return error.error
        return StoreError.isStoreError(error) ? toNamed(operation)(error) : error
      })

  return {
    resource,
    name,
    pass: (handle, passing) => named("Differences.pass")(listing.pass(handled(handle), passing)),
    baseline: (passing) => named("Differences.baseline")(listing.baseline(passing)),
    peek: listing.peek.pipe(Stream.map(toDocument), Stream.mapError(toNamed("Differences.peek"))),
    run: (handle, running) =>
      Effect.mapError(listing.run(handled(handle), running), (error) =>
        error instanceof HandlerFailed ? error.error : toNamed("Differences.run")(error)
      ),
    reset: (passing) => named("Differences.reset")(listing.reset(passing))
  }
})
