/**
 * Messages that are offered within a transaction: documents that the transaction writes, moved to their queue when it is
 * committed.
 *
 * **Details**
 *
 * A document is there exactly if the transaction committed. Whoever moves it offers the message under a key of the document,
 * which is remembered as ids are, and then removes the document: moved again, by another or after a crash, it is not taken in
 * again.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Id from "../../crypto/Id.ts"
import type { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import * as Resource from "../../Resource.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as Transaction from "../../Transaction.ts"
import type * as Engine from "./engine.ts"

const Waiting = Schema.Struct({
  id: Schema.String,
  /** As it is to be offered. */
  message: Schema.String,
  payload: Schema.String,
  priority: Schema.optionalKey(Schema.Int),
  group: Schema.optionalKey(Schema.String),
  /** Milliseconds, counted from when it is moved. */
  delay: Schema.Int,
  /** Whether the id of the message was given by who offered it. */
  isNamed: Schema.Boolean
})

/**
 * The outbox of a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outbox {
  /** Writes messages as part of the transaction of the fiber. */
  readonly write: (offers: ReadonlyArray<Engine.Offer>) => Effect.Effect<void, DbError.DbError>
  /** Removes what was not moved yet, and does something else, while this process looks for nothing that is to be moved. */
  readonly discarding: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | DbError.DbError>
  /** Moves what is there, again and again. */
  readonly sweeping: Effect.Effect<never>
}

const refused = (operation: string, name: string, { message }: Error) =>
  DbError.make(
    operation,
    new StoreError.Unsupported({ feature: "an outbox whose documents are refused", description: message }),
    name
  )

/**
 * Opens the outbox of a queue, its documents in a resource of their own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly name: string
  readonly engine: Pick<Engine.Engine, "offer">
  /** Milliseconds between looks for what processes have left that came to a sudden end. */
  readonly every: number
}): Effect.fn.Return<Outbox, DbError.DbError, Database | Scope.Scope> {
  const { engine, every, name } = options
  const scope = yield* Effect.scope
  const lock = yield* Semaphore.make(1)
  const documents = yield* Resource.make(Resource.define(name, { schema: Waiting, primaryKey: "id" }))

  const toOffer = ({ delay, group, id, isNamed, message, payload, priority }: typeof Waiting.Type): Engine.Offer => ({
    delay,
    keys: [`o/${id}`, ...(isNamed ? [`m/${message}`] : [])],
    message: {
      i: message,
      x: payload,
      ...(priority === undefined ? {} : { p: priority }),
      ...(group === undefined ? {} : { g: group }),
      ...(isNamed ? { c: true as const } : {})
    }
  })

  const move = Effect.fnUntraced(function* (waiting: ReadonlyArray<typeof Waiting.Type>) {
    yield* engine.offer(waiting.map(toOffer))
    yield* documents.deleteMany(waiting.map(({ id }) => id))
  })

  const noted = <E extends Error | StoreError.StoreError>(effect: Effect.Effect<void, E>) =>
    Effect.catch(effect, (error) => Effect.logWarning(`messages in ${name} could not be moved yet`, error)).pipe(
      Effect.provideService(Transaction.Current, undefined)
    )

  const discard = documents.scan({ onCorrupt: "skip" }).pipe(
    Stream.grouped(1000),
    Stream.runForEach((waiting) => documents.deleteMany(waiting.map(({ id }) => id))),
    Effect.mapError((error) => (error._tag === "DbError" ? error : refused("S3Queue.remove", name, error))),
    Effect.provideService(Transaction.Current, undefined)
  )

  return {
    discarding: (effect) => lock.withPermits(1)(Effect.andThen(discard, effect)),
    write: Effect.fnUntraced(function* (offers) {
      const written: Array<typeof Waiting.Type> = []
      for (const { delay, keys, message } of offers) {
        const { g, i, p, x = "null" } = message
        written.push({
          id: yield* Id.ulid,
          message: i,
          payload: x,
          delay,
          isNamed: keys.length > 0,
          ...(p === undefined ? {} : { priority: p }),
          ...(g === undefined ? {} : { group: g })
        })
      }
      yield* Effect.mapError(
        Effect.forEach(written, (one) => documents.insert(one), { discard: true }),
        // What interceptors of the whole database say of it.
        (error) => (error._tag === "DbError" ? error : refused("S3Queue.offer", name, error))
      )
      yield* Transaction.onCommit(Effect.asVoid(Effect.forkIn(noted(move(written)), scope)))
    }),
    sweeping: documents
      .scan({ onCorrupt: "skip" })
      .pipe(
        Stream.grouped(100),
        Stream.runForEach(move),
        lock.withPermits(1),
        noted,
        Effect.andThen(Effect.sleep(every)),
        Effect.forever
      )
  }
})
