/**
 * New versions of documents, made ready to be sent. Nothing is sent here.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Id from "../crypto/Id.ts"
import type * as DbError from "../DbError.ts"
import type { Unwritable } from "../Definition.ts"
import * as Document from "../Document.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { isDone } from "../internal/done.ts"
import { valueAt } from "../internal/json.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import type { Before, Encoded } from "./codec.ts"
import type { Base, Context } from "./context.ts"
import { markersBut } from "./documentObject.ts"
import { type Indexes, nothing, type Owned, type Wanted } from "./indexes.ts"
import type { ReadFailure } from "./read.ts"
import * as Signature from "./signature.ts"

/**
 * A new version of a document, ready to be sent but for its reservations.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prepared<A> extends Omit<Base<A>, "stored"> {
  readonly write: Document.Write
  /** Keys of markers, those of companions among them, that do not exist yet. */
  readonly newMarkers: ReadonlyArray<string>
  /** Values to be reserved. */
  readonly wanted: ReadonlyArray<Wanted>
  /** The companions that were left as they are since this program does not know them: `Indexes.untold`. */
  readonly untold: ReadonlyArray<string>
  /** Whether the resource had a journal when it was made ready. */
  readonly isJournaled: boolean
  /** What writers had to keep up when it was made ready: `Upkeep.text`. */
  readonly upkeep: string | undefined
}

/**
 * What goes on of the version before: `change`, all that the schema does not know; `whole`, nothing of its fields; `anew`,
 * nothing at all.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode = "change" | "whole" | "anew"

/**
 * An object that a version takes the place of, by its writes.
 *
 * @category models
 * @since 0.1.0
 */
export type Over = Pick<Document.Slot, "ancestors" | "origin" | "writeId">

/**
 * Returns the write ids of what takes the place of an object, newest first.
 *
 * @category getters
 * @since 0.1.0
 */
export const ancestorsOf = (over: Over | undefined): ReadonlyArray<string> =>
  over === undefined ? [] : [over.writeId, ...over.ancestors]

/** How long races that were lost are taken for a sign that more will be. */
const contentionMillis = 10_000

/**
 * How many write ids a version remembers: more while writes take each other's place, here, or where the version before was
 * written, which remembers more then.
 */
const memoryOf = (old: Document.Stored | undefined, lostAt: number, now: number): number => {
  if (old === undefined || Math.abs(now - old.writtenAt) > contentionMillis) return Document.rememberedWrites
  return old.ancestors.length > Document.rememberedWrites || Math.abs(now - lostAt) < contentionMillis
    ? Document.rememberedUnderContention
    : Document.rememberedWrites
}

/**
 * The place of a new version.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** Default: `change`. */
  readonly mode?: Mode | undefined
  /**
   * The version that the input was made of: what the schema does not know of it goes on. Default: for a change the version
   * before, else none.
   */
  readonly from?: Base<A> | undefined
  /** What is there in the place of a version before. */
  readonly over?: Over | undefined
  /** Unique keys, by name, of which it gets no new value. Default: none. */
  readonly without?: ReadonlySet<string> | undefined
}

/**
 * The step from an input to a version that can be sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Preparation<A> {
  /**
   * Encodes an input as a new version of its document, its fields completed. No request, but for those of `Database.fresh` and of
   * incremental ids.
   * `InvalidInput`: it does not fit the schema, a partition or the document's id; `MetadataLimit`: it does not fit into the
   * object; `Unsupported`: what is not known of the version that it goes on from cannot be kept.
   */
  readonly prepare: (
    input: unknown,
    before: Base<A> | undefined,
    options?: Options<A>
  ) => Effect.Effect<Prepared<A>, DbError.InvalidInput | DbError.MetadataLimit | ReadFailure>
  /** What is given, cleaned up and valid, defaults made, fields that are filled in still missing; and the id. No request. */
  readonly given: (
    input: unknown
  ) => Effect.Effect<{ readonly id: string; readonly valid: A }, DbError.InvalidInput | ReadFailure>
  /** What an insert of an input would store. No request. */
  readonly completed: (input: unknown) => Effect.Effect<A, DbError.InvalidInput | ReadFailure>
}

/**
 * Makes what prepares the versions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(context: Context<A>, indexes: Indexes<A>): Preparation<A> => {
  const { codec, database, invalid, name, numbered, primaryKey, settings, writableEager } = context

  /** A valid value of an input, with the fields that the resource fills in by itself. */
  const complete = (
    input: unknown,
    before: A | undefined,
    createdAt: number,
    writtenAt: number
  ): Effect.Effect<A, DbError.InvalidInput | ReadFailure> => {
    const { completion } = settings
    if (completion === undefined) return numbered(codec.construct(input))
    return Effect.flatMapEager(numbered(codec.constructGiven(input)), (given) =>
      Effect.flatMapEager(
        completion.apply(given as object, before as object | undefined, { createdAt, writtenAt }),
        codec.construct
      )
    )
  }

  type Failure = DbError.InvalidInput | DbError.MetadataLimit | ReadFailure

  const prepare = (
    input: unknown,
    before: Base<A> | undefined,
    options: Options<A> = noOptions
  ): Effect.Effect<Prepared<A>, Failure> => {
    const { mode = "change" } = options
    const from = options.from ?? (mode === "change" ? before : undefined)
    // A change within a transaction goes on from what that has made already.
    const continued = mode === "anew" ? undefined : mode === "change" ? from : before
    const writtenAt = Transaction.nowUnsafe()
    const createdAt = continued === undefined ? writtenAt : continued.stored.createdAt
    const completed = complete(input, continued?.value, createdAt, writtenAt)
    const kept = from === undefined ? undefined : { ...from, schemaVersion: from.stored.schemaVersion }
    const given: Given<A> = { before, continued, createdAt, mode, options, writtenAt }
    return isDone(completed) ? encode(completed.value, kept, given) : encodeLater(completed, input, kept, given)
  }

  // What is done already goes on at once; each of those that wait has a function of its own, so that the others make none.

  const encode = (valid: A, kept: Before<A> | undefined, given: Given<A>): Effect.Effect<Prepared<A>, Failure> => {
    const encoded = codec.encode(valid, kept)
    return isDone(encoded) && settings.unwritable === undefined ? keyed(encoded.value, given) : keyLater(encoded, given)
  }

  const encodeLater = (
    completed: Effect.Effect<A, DbError.InvalidInput | ReadFailure>,
    input: unknown,
    kept: Before<A> | undefined,
    given: Given<A>
  ) =>
    Effect.flatMapEager(
      given.before === undefined ? Effect.mapErrorEager(completed, context.withId(input)) : completed,
      (valid) => encode(valid, kept, given)
    )

  const keyLater = (encoding: Effect.Effect<Encoded<A>, Failure>, given: Given<A>) =>
    Effect.flatMapEager(encoding, (encoded): Effect.Effect<Prepared<A>, Failure> => {
      const { unwritable } = settings
      return unwritable === undefined
        ? keyed(encoded, given)
        : Effect.flatMapEager(refuse(unwritable, encoded.json(), given.before?.json()), () => keyed(encoded, given))
    })

  /** Gives what has been encoded its key and its write id. */
  const keyed = (encoded: Encoded<A>, given: Given<A>): Effect.Effect<Prepared<A>, Failure> => {
    const key = given.before === undefined ? context.newKey(encoded.id) : context.key(encoded.id)
    return isDone(key) ? keyedAt(encoded, given, key.value) : keyedLater(encoded, given, key)
  }

  const keyedLater = (encoded: Encoded<A>, given: Given<A>, key: Effect.Effect<string, DbError.InvalidInput>) =>
    Effect.flatMapEager(key, (key) => keyedAt(encoded, given, key))

  const keyedAt = (encoded: Encoded<A>, given: Given<A>, key: string): Effect.Effect<Prepared<A>, Failure> => {
    if (given.before !== undefined && given.before.id !== encoded.id) {
      return Effect.fail(invalid([primaryKey], "Expected the id to stay as it is"))
    }
    const random = Id.writeIdEager()
    if (!isDone(random)) return indexLater(encoded, given, key, random)
    const writable = writableEager()
    return isDone(writable)
      ? indexed(encoded, given, key, random.value)
      : indexLater(encoded, given, key, random, writable)
  }

  const indexLater = (
    encoded: Encoded<A>,
    given: Given<A>,
    key: string,
    random: Effect.Effect<string>,
    writable: Effect.Effect<void, Failure> = Effect.suspend(writableEager)
  ) =>
    Effect.flatMapEager(random, (random) => Effect.flatMapEager(writable, () => indexed(encoded, given, key, random)))

  /** Gives it what it is to own, by what the catalog wants now. */
  const indexed = (
    encoded: Encoded<A>,
    given: Given<A>,
    key: string,
    random: string
  ): Effect.Effect<Prepared<A>, Failure> => {
    const { carried, id, json } = encoded
    const { before, continued, createdAt, mode, writtenAt } = given
    const { over, without } = given.options
    const old = before?.stored
    const content = continued?.stored.content
    const remembered = old ?? over
    const plain: Document.Write = {
      writeId: continued === undefined ? Signature.signedUnsafe(random, id, createdAt) : random,
      writtenAt,
      createdAt,
      version: continued === undefined ? 1 : continued.stored.version + (continued === before ? 1 : 0),
      ancestors:
        remembered === undefined
          ? none
          : ancestorsOf(remembered).slice(0, memoryOf(old, context.contention.lostAt, writtenAt)),
      tag: encoded.tag,
      schemaVersion: encoded.schemaVersion,
      fields: encoded.fields,
      truncated: encoded.truncated,
      markers: Document.none,
      companions: Document.none,
      claims: Document.none
    }
    const write = content === undefined ? plain : { ...plain, content }
    const upkeep = database.upkeep(name)?.text
    const untold = indexes.untoldUnsafe()
    const version = { id, json, carried, stored: write }
    const owning = indexes.owned(version, mode === "change" || old === undefined ? before : { stored: old }, without)
    const made = { encoded, key, untold, upkeep, write }
    return isDone(owning)
      ? Effect.succeed(preparedOf(made, old, owning.value))
      : Effect.map(owning, (owned) => preparedOf(made, old, owned))
  }

  const preparedOf = (
    { encoded: { carried, former, id, isAllKnown, json, value }, key, untold, upkeep, write }: Made<A>,
    old: Document.Stored | undefined,
    owned: Owned
  ): Prepared<A> => ({
    id,
    key,
    value,
    json,
    carried,
    former,
    isAllKnown,
    isUnderOldKey: false,
    isSettled: true,
    write:
      owned === nothing
        ? write
        : { ...write, markers: owned.markers, companions: owned.companions, claims: owned.claims },
    newMarkers: owned === nothing ? none : markersBut(name, id, owned, old),
    wanted: owned.wanted,
    untold,
    isJournaled: settings.journal !== undefined,
    upkeep
  })

  return {
    prepare,
    given: Effect.fnUntraced(function* (input) {
      // It stands for the document until `prepare` fills in the rest.
      const valid = (yield* numbered(codec.constructGiven(input))) as A
      return { id: yield* context.idOf(valid), valid }
    }),
    completed: (input) => Effect.flatMap(Transaction.now, (now) => complete(input, undefined, now, now))
  }
}

/** A version to be made, beside what has been encoded of it. */
interface Given<A> {
  readonly before: Base<A> | undefined
  readonly continued: Base<A> | undefined
  readonly createdAt: number
  readonly mode: Mode
  readonly options: Options<A>
  readonly writtenAt: number
}

/** The same but for what it is to own. */
interface Made<A> extends Pick<Prepared<A>, "key" | "untold" | "upkeep" | "write"> {
  readonly encoded: Encoded<A>
}

const none: ReadonlyArray<never> = []

const noOptions: Options<never> = {}

/** Refuses what who does not know all of a definition must not write. */
const refuse = ({ fields, whole }: Unwritable, json: JsonObject, before: JsonObject = {}) => {
  const isTouched = ({ path }: Unwritable["fields"][number]) =>
    JSON.stringify(valueAt(json, path)) !== JSON.stringify(valueAt(before, path))
  const description = whole ?? fields.find(isTouched)?.why
  return description === undefined
    ? Effect.void
    : Effect.fail(new StoreError.Unsupported({ feature: "writing", description }))
}
