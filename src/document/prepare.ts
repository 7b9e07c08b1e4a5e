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
import { valueAt } from "../internal/json.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import type { Base, Context } from "./context.ts"
import { markersBut } from "./documentObject.ts"
import { type Indexes, nothing, type Wanted } from "./indexes.ts"
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
  const complete = Effect.fnUntracedEager(function* (
    input: unknown,
    before: A | undefined,
    createdAt: number,
    writtenAt: number
  ) {
    const { completion } = settings
    if (completion === undefined) return yield* numbered(codec.construct(input))
    const given = (yield* numbered(codec.constructGiven(input))) as object
    return yield* codec.construct(
      yield* completion.apply(given, before as object | undefined, { createdAt, writtenAt })
    )
  })

  const prepare = Effect.fnUntracedEager(function* (
    input: unknown,
    before: Base<A> | undefined,
    { mode = "change", from = mode === "change" ? before : undefined, over, without }: Options<A> = {}
  ): Effect.fn.Return<Prepared<A>, DbError.InvalidInput | DbError.MetadataLimit | ReadFailure> {
    const old = before?.stored
    // A change within a transaction goes on from what that has made already.
    const continued = mode === "anew" ? undefined : mode === "change" ? from : before
    const writtenAt = Transaction.nowUnsafe()
    const createdAt = continued?.stored.createdAt ?? writtenAt
    const completed = complete(input, continued?.value, createdAt, writtenAt)
    const valid = yield* before === undefined ? Effect.mapErrorEager(completed, context.withId(input)) : completed
    const kept = from === undefined ? undefined : { ...from, schemaVersion: from.stored.schemaVersion }
    const encoded = yield* codec.encode(valid, kept)
    const { id, value, json, carried, former } = encoded
    if (settings.unwritable !== undefined) yield* refuse(settings.unwritable, json, before?.json)
    const key = yield* before === undefined ? context.newKey(id) : context.key(id)
    if (before !== undefined && before.id !== id) {
      return yield* invalid([primaryKey], "Expected the id to stay as it is")
    }
    const content = continued?.stored.content
    const random = yield* Id.writeIdEager()
    const plain: Document.Write = {
      writeId: continued === undefined ? Signature.signedUnsafe(random, id, createdAt) : random,
      writtenAt,
      createdAt,
      version: continued === undefined ? 1 : continued.stored.version + (continued === before ? 1 : 0),
      ancestors: ancestorsOf(old ?? over).slice(0, memoryOf(old, context.contention.lostAt, writtenAt)),
      tag: encoded.tag,
      schemaVersion: encoded.schemaVersion,
      fields: encoded.fields,
      truncated: encoded.truncated,
      markers: Document.none,
      companions: Document.none,
      claims: Document.none
    }
    const write = content === undefined ? plain : { ...plain, content }
    yield* writableEager()
    const upkeep = database.upkeep(name)?.text
    const untold = indexes.untoldUnsafe()
    const owned = yield* indexes.owned(
      { id, json, carried, stored: write },
      mode === "change" || old === undefined ? before : { stored: old },
      without
    )
    return {
      id,
      key,
      value,
      json,
      carried,
      former,
      isUnderOldKey: false,
      isSettled: true,
      write:
        owned === nothing
          ? write
          : { ...write, markers: owned.markers, companions: owned.companions, claims: owned.claims },
      newMarkers: markersBut(name, id, owned, old),
      wanted: owned.wanted,
      untold,
      isJournaled: settings.journal !== undefined,
      upkeep
    }
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

/** Refuses what who does not know all of a definition must not write. */
const refuse = ({ fields, whole }: Unwritable, json: JsonObject, before: JsonObject = {}) => {
  const isTouched = ({ path }: Unwritable["fields"][number]) =>
    JSON.stringify(valueAt(json, path)) !== JSON.stringify(valueAt(before, path))
  const description = whole ?? fields.find(isTouched)?.why
  return description === undefined
    ? Effect.void
    : Effect.fail(new StoreError.Unsupported({ feature: "writing", description }))
}
