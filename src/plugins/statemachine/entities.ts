/**
 * Entities in their documents: one conditional write for each transition.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Change from "../../Change.ts"
import type * as Companion from "../../Companion.ts"
import * as Id from "../../crypto/Id.ts"
import type * as Database from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import type * as Document from "../../Document.ts"
import { deleteAll } from "../../storage/ObjectStore.ts"
import type * as Repository from "../../Repository.ts"
import * as Transaction from "../../Transaction.ts"
import {
  AlreadyStarted,
  type InvalidEvent,
  NotStarted,
  type Refused,
  StaleVersion,
  type UnknownForm
} from "./errors.ts"
import * as Step from "./step.ts"
import * as Kept from "./stored.ts"

/**
 * What is needed of a repository.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents {
  readonly getDocument: (
    id: string
  ) => Effect.Effect<Document.Document<unknown>, DbError.NotFound | Repository.ReadError>
  readonly insert: (input: Readonly<Record<string, unknown>>) => Effect.Effect<unknown, Repository.InsertError>
  readonly update: <E, R>(
    id: string,
    change: (current: unknown) => Effect.Effect<Readonly<Record<string, unknown>>, E, R>,
    options?: Repository.UpdateOptions
  ) => Effect.Effect<unknown, Repository.ChangeError | E, R>
  readonly delete: (id: string) => Effect.Effect<void, Repository.DeleteError>
  readonly addCompanion: (name: string, companion: Companion.Companion) => Effect.Effect<void, DbError.DbError>
  readonly companion: (name: string, request?: Companion.Request) => Stream.Stream<Companion.Hit, Repository.ListError>
  readonly admin: Effect.Effect<{
    readonly backfill: () => Stream.Stream<unknown, Repository.ChangeError | DbError.Unfinished>
  }>
  readonly scanDocuments: () => Stream.Stream<Document.Document<unknown>, Repository.ListError>
  readonly subscribe: () => Effect.Effect<Stream.Stream<Change.Change<unknown> | Change.Lagged>, never, Scope.Scope>
  readonly fromImage: (
    record: Repository.ImageRecord,
    side: "before" | "after"
  ) => Effect.Effect<unknown, DbError.NotFound | DbError.InvalidInput | Repository.ReadError>
}

/**
 * A transition that an entity has made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moved<out State extends string = string, out Event extends string = string, out C = unknown> {
  readonly id: string
  readonly event: Event
  readonly from: State
  readonly to: State
  /** The number of the transition, from 1. */
  readonly version: number
  /** Milliseconds since the epoch, by the store's clock. */
  readonly at: number
  /** The context of the entity after it; of one that is `repeated` as it is now. */
  readonly context: C
  /** Whether it was there already, sent with the same `key`: nothing was written. */
  readonly repeated: boolean
}

/**
 * How an event is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /**
   * Names what is sent: the same key again is answered by the transition that it has made, as long as that is among the last `keep`. Give one
   * to whatever comes from outside and may come twice. Default: random.
   */
  readonly key?: string | undefined
  /** Go on only if the entity has this version, else `StaleVersion`. */
  readonly ifVersion?: number | undefined
  /** How often it is tried again when others have written the document in between. Default: 20. */
  readonly retries?: number | undefined
}

/**
 * An entity as it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen extends Step.View {
  readonly document: Document.Document<unknown>
}

/**
 * Why an entity cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadFailure = NotStarted | UnknownForm | DbError.NotFound | Repository.ReadError

/**
 * Why an event cannot be sent.
 *
 * @category models
 * @since 0.1.0
 */
export type SendFailure = InvalidEvent | Refused | NotStarted | StaleVersion | UnknownForm | Repository.ChangeError

/** There is nothing to write. */
class Nothing<out X> {
  readonly value: X
  constructor(value: X) {
    this.value = value
  }
}

/**
 * Where entities are, and what they go by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly rules: Step.Rules
  readonly resource: string
  readonly primaryKey: string
  readonly field: string
  readonly keep: number
  readonly documents: Documents
  readonly database: Database.Database["Service"]
  /** What the keys of older transitions begin with, with a slash at the end. */
  readonly prefix: string
  readonly now: Effect.Effect<number, DbError.DbError>
  /** Gives guards their services. */
  readonly provided: <A, E>(effect: Effect.Effect<A, E, unknown>) => Effect.Effect<A, E>
}

/**
 * The entities of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entities {
  readonly see: (id: string) => Effect.Effect<Seen, ReadFailure>
  readonly initial: (context: unknown) => Effect.Effect<Kept.Stored, Schema.SchemaError | DbError.DbError>
  readonly start: (
    id: string,
    context: unknown,
    rest: Readonly<Record<string, unknown>>
  ) => Effect.Effect<
    Step.View,
    AlreadyStarted | UnknownForm | Schema.SchemaError | Repository.InsertError | Repository.ChangeError
  >
  readonly send: (
    id: string,
    event: unknown,
    options?: SendOptions & {
      readonly seen?: readonly [who: string, position: number] | undefined
      /** Others from there may have been seen since; whether this one was, its key tells. */
      readonly again?: boolean | undefined
      /** Of which transition of which life it is a consequence: it is in none before, and not of another life. */
      readonly since?: Since | undefined
    }
  ) => Effect.Effect<Moved, SendFailure>
  /** Sends the event of the trigger that has been due for longest: `undefined` where none is. */
  readonly fire: (
    id: string
  ) => Effect.Effect<Fired | undefined, Exclude<SendFailure, InvalidEvent | Refused | StaleVersion>>
  /** Writes an entity of an earlier version of the machine as it is by now; `false` where it is so. */
  readonly migrate: (id: string) => Effect.Effect<boolean, Exclude<SendFailure, InvalidEvent | Refused | StaleVersion>>
  /** The transitions of an entity, the newest first. */
  readonly history: (id: string) => Stream.Stream<Kept.Recorded, ReadFailure>
  readonly remove: (id: string) => Effect.Effect<void, Repository.DeleteError | Repository.ReadError>
  /** Removes the older transitions of an entity that is gone. */
  readonly forget: (life: string) => Effect.Effect<void, DbError.DbError>
  readonly can: (seen: Seen, event: unknown) => Effect.Effect<boolean, DbError.DbError>
  /** What a document has of an entity, if it has any. */
  readonly storedIn: (document: unknown) => Kept.Stored | undefined
}

/**
 * A version of an entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Since {
  readonly life: string
  readonly version: number
}

/**
 * What has come of a trigger.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fired {
  readonly trigger: string
  readonly due: number
  /** `undefined` where its event was refused, or not taken. */
  readonly moved: Moved | undefined
}

const isStored = Schema.is(Kept.Stored)

/** How often a write is made again of which nobody can tell whether it was carried out: under the same key, so it counts once. */
const unknownRetries = 3

const isDbError = Schema.is(DbError.DbError)

const isUnknown = (error: unknown): error is DbError.DbError => isDbError(error) && error.outcome === "unknown"

/**
 * Makes the entities of a machine. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Entities => {
  const { database, documents, field, keep, now, prefix, primaryKey, provided, resource, rules } = options
  const { name: machine } = rules

  const storedIn = (document: unknown): Kept.Stored | undefined => {
    if (typeof document !== "object" || document === null) return undefined
    const found: unknown = Reflect.get(document, field)
    return isStored(found) ? found : undefined
  }

  const pastOf = (life: string) => Kept.past(database.store, `${prefix}${life}`)

  const viewOf = (id: string, document: unknown) => {
    const stored = storedIn(document)
    return stored === undefined ? Effect.fail(new NotStarted({ machine, id })) : Step.view(rules, id, stored)
  }

  /**
   * Moves the older half of the transitions in hand to the past of the entity, before they are left out of the document: whoever crashes in
   * between leaves them in both, and who comes next finds that they are there. Within a transaction nothing is certain yet: all stay.
   */
  const spilled = Effect.fnUntraced(function* (id: string, stored: Kept.Stored) {
    const { life, recent } = stored
    if (recent.length < 2 * keep || (yield* Transaction.Current) !== undefined) return stored
    const older = recent.slice(0, -keep)
    yield* pastOf(life)
      .append(older)
      .pipe(Effect.catchTag("Trimmed", Effect.die), DbError.named("StateMachine.send", resource))
    return { ...stored, recent: recent.slice(-keep) }
  })

  /**
   * The transition that was sent with a key. Where it may have come soon after a version, and the document has none of then any more, it is looked
   * for among the older ones.
   */
  const found = Effect.fnUntraced(function* ({ life, recent }: Kept.Stored, key: string, since: number | undefined) {
    const here = recent.find((one) => one.key === key)
    const first = recent[0]?.v ?? 0
    if (here !== undefined || since === undefined || first <= since + 1) return here
    const older = pastOf(life)
      .before(first)
      .pipe(
        Stream.takeWhile(({ v }) => v > since),
        Stream.filter((one) => one.key === key),
        Stream.runHead,
        Effect.catchTag("Trimmed", Effect.die),
        DbError.named("StateMachine.send", resource)
      )
    return Option.getOrUndefined(yield* older)
  })

  const movedOf = (
    id: string,
    { at, event, from, to, v }: Kept.Recorded,
    context: unknown,
    repeated: boolean
  ): Moved => ({
    id,
    event: event ?? "",
    from: from ?? to,
    to,
    version: v,
    at,
    context,
    repeated
  })

  /**
   * Changes an entity by one conditional write, or not at all. What is decided is told from which version on it may have been done already, by a
   * write whose answer was lost.
   */
  const changing = <X, E>(
    id: string,
    decide: (
      viewed: Step.View,
      document: unknown,
      unsure: Since | undefined
    ) => Effect.Effect<{ readonly stored: Kept.Stored; readonly value: X } | Nothing<X>, E>,
    retries: number | undefined
  ) =>
    Effect.suspend(() => {
      let value: X | undefined
      /** The versions that the first write and the last one were made of. */
      let first: Since | undefined
      let last = -1
      /** Of the first write whose answer was lost, if one was. */
      let unsure: Since | undefined
      let lost: DbError.DbError | undefined
      /** Whether no such write can be carried out any more, and the entity does not have what it says. */
      let isSure = false
      const change = (current: unknown) =>
        Effect.gen(function* () {
          isSure = false
          const viewed = yield* viewOf(id, current)
          const { life, version } = viewed.stored
          const decided = yield* Effect.tapError(decide(viewed, current, unsure), (error) =>
            Effect.sync(() => (isSure = version > last && !isDbError(error)))
          )
          if (decided instanceof Nothing) return yield* Effect.fail(decided)
          first ??= { life, version }
          last = version
          value = decided.value
          return { [field]: yield* spilled(id, decided.stored) }
        })
      return documents.update(id, change, retries === undefined ? {} : { retries }).pipe(
        Effect.map(() => value as X),
        Effect.tapError((error) =>
          Effect.sync(() => {
            if (!isUnknown(error)) return
            unsure = first
            lost ??= error
          })
        ),
        Effect.retry({ times: unknownRetries, while: isUnknown }),
        // What fails afterwards does not take back what may have been done before.
        Effect.mapError((error) => (lost === undefined || isSure || error instanceof Nothing ? error : lost)),
        Effect.catchIf(
          (error): error is Nothing<X> => error instanceof Nothing,
          (nothing) => Effect.succeed(nothing.value)
        )
      )
    })

  const see = Effect.fnUntraced(function* (id: string): Effect.fn.Return<Seen, ReadFailure> {
    const document = yield* documents.getDocument(id)
    return { ...(yield* viewOf(id, document.value)), document }
  })

  const initial = Effect.fnUntraced(function* (context: unknown) {
    const [life, key] = [yield* Id.writeId, yield* Id.writeId]
    return yield* Step.begin(rules, context, { life, key, now: yield* now })
  })

  const send: Entities["send"] = Effect.fnUntraced(function* (
    id,
    event,
    { again = false, ifVersion, key: given, retries, seen, since } = {}
  ): Effect.fn.Return<Moved, SendFailure> {
    const key = given ?? (yield* Id.writeId)
    return yield* changing<Moved, InvalidEvent | Refused | StaleVersion | NotStarted | DbError.DbError>(
      id,
      (viewed, document, unsure) =>
        Effect.gen(function* () {
          // Of this attempt: others may have kept the one before waiting, and a state does not begin before it is entered.
          const at = yield* now
          const { context, stored } = viewed
          if (since !== undefined && since.life !== stored.life) return yield* new NotStarted({ machine, id })
          if (unsure !== undefined && unsure.life !== stored.life) {
            const description = `an answer was lost, and ${JSON.stringify(id)} has begun anew since, so that the event may have been taken`
            return yield* DbError.make("StateMachine.send", new DbError.OutcomeUnknown({ description }))
          }
          const before = yield* found(stored, key, again ? -1 : (since ?? unsure)?.version)
          if (before !== undefined) return new Nothing(movedOf(id, before, context, true))
          const [who, position] = seen ?? []
          const heardTo = who === undefined ? -1 : (stored.seen?.[who] ?? -1)
          if (!again && position !== undefined && heardTo >= position) {
            return new Nothing(movedOf(id, stored.recent.at(-1)!, context, true))
          }
          if (ifVersion !== undefined && stored.version !== ifVersion) {
            return yield* new StaleVersion({ machine, id, expected: ifVersion, version: stored.version })
          }
          const stepped = yield* provided(Step.step(rules, viewed, { id, document, event, key, now: at }))
          const heard = who === undefined ? {} : { seen: { ...stored.seen, [who]: Math.max(heardTo, position!) } }
          return {
            stored: { ...stepped.stored, ...heard },
            value: movedOf(id, stepped.recorded, stepped.context, false)
          }
        }),
      retries
    )
  })

  const fire: Entities["fire"] = Effect.fnUntraced(function* (id: string) {
    const at = yield* now
    return yield* changing<Fired | undefined, never>(
      id,
      (viewed, document) =>
        Effect.gen(function* () {
          const { context, stored } = viewed
          const first = Step.dueTrigger(rules, viewed, document, at)
          if (first === undefined) {
            const ended = Step.ended(rules, stored)
            // What an earlier version has waited for, and this one does not, would be due for ever.
            const isOld = storedIn(document) !== stored
            return ended === stored && !isOld ? new Nothing(undefined) : { stored: ended, value: undefined }
          }
          const { due, timer, trigger } = first
          const told = { trigger: trigger.key, due }
          const key = `${trigger.key}@${stored.version}`
          const isOver = (timer.n ?? 0) >= trigger.most
          const event = (isOver ? trigger.onMost! : trigger.send)(context)
          const marked = Step.sent(rules, stored, trigger.key, context, at)
          const asked = yield* Effect.result(
            provided(
              Step.step(rules, { stored: marked, context }, { id, document, event: taggedOf(event), key, now: at })
            )
          )
          if (Result.isFailure(asked)) {
            return {
              stored: Step.unsent(rules, stored, trigger.key, context, at),
              value: { ...told, moved: undefined }
            }
          }
          const { recorded, stored: next } = asked.success
          return { stored: next, value: { ...told, moved: movedOf(id, recorded, asked.success.context, false) } }
        }),
      undefined
    )
  })

  const history = (id: string): Stream.Stream<Kept.Recorded, ReadFailure> =>
    Stream.unwrap(
      Effect.map(see(id), ({ stored: { life, recent } }) => {
        const first = recent[0]?.v ?? 0
        const older =
          first === 0
            ? Stream.empty
            : pastOf(life)
                .before(first)
                .pipe(
                  Stream.catchTag("Trimmed", Stream.die),
                  Stream.mapError(DbError.fromFailure("StateMachine.history", resource))
                )
        return Stream.concat(Stream.fromIterable(recent.toReversed()), older)
      })
    )

  const forget = (life: string) =>
    Effect.asVoid(deleteAll(database.store, `${prefix}${life}/`, () => true)).pipe(
      DbError.named("StateMachine.remove", resource)
    )

  return {
    see,
    initial,
    start: Effect.fnUntraced(function* (id, context, rest) {
      const stored = yield* initial(context)
      const inserted = yield* Effect.result(documents.insert({ ...rest, [primaryKey]: id, [field]: stored }))
      const begun: Step.View = { stored, context }
      if (Result.isSuccess(inserted)) return begun
      const { failure } = inserted
      // What is no document by itself may be what one that is there still lacks.
      if (failure._tag !== "AlreadyExists" && failure._tag !== "InvalidInput") return yield* Effect.fail(failure)
      const change = Effect.fnUntraced(function* (current: unknown) {
        const there = storedIn(current)
        if (there === undefined) return { ...rest, [field]: stored }
        if (there.life !== stored.life) return yield* new AlreadyStarted({ machine, id, state: there.state })
        // It was written, and the answer was lost: others may have sent events to it since.
        return yield* Effect.fail(new Nothing(yield* Step.view(rules, id, there)))
      })
      return yield* documents.update(id, change).pipe(
        Effect.as(begun),
        Effect.catchIf(
          (error): error is Nothing<Step.View> => error instanceof Nothing,
          (nothing) => Effect.succeed(nothing.value)
        ),
        Effect.catchTag("NotFound", () => Effect.fail(failure))
      )
    }),
    send,
    fire,
    migrate: (id) =>
      changing<boolean, never>(
        id,
        ({ stored }, document) =>
          Effect.succeed(storedIn(document) === stored ? new Nothing(false) : { stored, value: true }),
        undefined
      ),
    history,
    remove: Effect.fnUntraced(function* (id) {
      const there = yield* Effect.option(
        Effect.flatMap(documents.getDocument(id), ({ value }) => Effect.fromNullishOr(storedIn(value)))
      )
      yield* documents.delete(id)
      if (Option.isNone(there)) return
      const forgotten = forget(there.value.life)
      if ((yield* Transaction.Current) === undefined) return yield* forgotten
      // Not before it is certain that it goes.
      yield* Transaction.onCommit(
        Effect.catch(forgotten, (error) => Effect.logWarning("state-machine: older transitions are left", error))
      )
    }),
    forget,
    can: Effect.fnUntraced(function* (seen, event) {
      const { document, ...viewed } = seen
      const input = { id: document.id, document: document.value, event, key: "", now: yield* now }
      return yield* provided(Step.step(rules, viewed, input)).pipe(
        Effect.as(true),
        Effect.catchTags({ InvalidEvent: () => Effect.succeed(false), Refused: () => Effect.succeed(false) })
      )
    }),
    storedIn
  }
}

/**
 * Returns an event, where its name alone was given, too.
 *
 * @category getters
 * @since 0.1.0
 */
export const taggedOf = (event: unknown): unknown => (typeof event === "string" ? { _tag: event } : event)

/**
 * Returns what a failure is called, without what it says: that may hold values.
 *
 * @category getters
 * @since 0.1.0
 */
export const nameOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasInterruptsOnly(cause)) return "interrupted"
  const error = Cause.squash(cause)
  if (typeof error === "object" && error !== null) {
    if ("_tag" in error && typeof error._tag === "string") return error._tag
    if (error instanceof Error) return error.name
  }
  return typeof error === "string" ? error.split("\n")[0]!.slice(0, 200) : typeof error
}
