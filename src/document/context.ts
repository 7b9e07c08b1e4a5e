/**
 * What every part of the write protocol of a resource stands on: its name, its store, its codec, and the versions of
 * documents as they are handed from one part to the next.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Content from "../Content.ts"
import * as Id from "../crypto/Id.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { isRecord } from "../internal/json.ts"
import type { Definition } from "../Definition.ts"
import * as Document from "../Document.ts"
import type { JsonObject } from "../encoding/Json.ts"
import * as History from "../History.ts"
import type { Lost } from "../kernel/CasCell.ts"
import type { ReadThrough } from "../ReadThrough.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import { makeNotes } from "../internal/stamp.ts"
import { type Capabilities, maxKeyBytes, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import type { DocumentCodec } from "./codec.ts"
import type { Companions } from "./companions.ts"
import * as Numbers from "./numbers.ts"
import type { Place } from "./documentObject.ts"

/**
 * A value together with the stored version it was read from, or written as.
 *
 * @category models
 * @since 0.1.0
 */
export interface Base<A> {
  readonly id: string
  readonly key: string
  readonly value: A
  readonly stored: Document.Stored
  /** Stored attributes that the present schema does not know; a change leaves them as they are. */
  readonly carried: JsonObject | undefined
  /** The ids of attributes, of another codec or at another place, under which a part of the value is stored. */
  readonly former: ReadonlyArray<string>
  /** Whether it is certain that the schema knows all that is stored in its own fields. */
  readonly isAllKnown: boolean
  readonly isUnderOldKey: boolean
  /** The value as JSON, without its id; secrets in clear. With what the schema does not know of its fields. Made when it is asked for. */
  readonly json: () => JsonObject
  /** `false`: the object holds what a transaction has announced, too, so that its revision is not that of the version. */
  readonly isSettled: boolean
}

/**
 * Tells a version in hand from an id. What is neither, out of a program without types, goes on as an id, which is refused.
 *
 * @category guards
 * @since 0.1.0
 */
export const isInHand = <D extends { readonly id: string }>(target: string | D): target is D =>
  typeof target === "object" && target !== null

/**
 * What a write that lost its race has found at the key of the document, as far as it could be read.
 *
 * @category models
 * @since 0.1.0
 */
export type LostRace = Lost<Document.Slot | undefined>

/**
 * The options of a definition that the write protocol goes by.
 *
 * @category models
 * @since 0.1.0
 */
export type Settings = Pick<
  Definition<DocumentSchema>,
  "attributes" | "uniqueLease" | "history" | "content" | "counters" | "journal" | "completion" | "unwritable"
>

/**
 * One resource, for all that reads and writes its documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Context<A> {
  readonly name: string
  readonly primaryKey: string
  /** As the definition of this program has them. */
  readonly declared: Settings
  /**
   * As they hold now: what a newer version asks for in the catalog is kept up by those who do not know that version, too.
   */
  readonly settings: Settings
  /** Sees to it that what is known of the catalog is fresh; see `Database.fresh`. */
  readonly fresh: Effect.Effect<void, DbError.Failure>
  /**
   * The same for who is about to write. `Unsupported`: the catalog asks for what this release does not know; `Corrupt`: it
   * has lost the resource.
   */
  readonly writable: Effect.Effect<void, DbError.Failure>
  /** The same, at once where it is fresh: then it is an `Exit`. */
  readonly writableEager: () => Effect.Effect<void, DbError.Failure>
  /** Whether it may be written by what is known of the catalog, however old that is. */
  readonly seemsWritable: () => boolean
  readonly database: Database["Service"]
  readonly store: ObjectStore["Service"]
  readonly capabilities: Capabilities
  readonly place: Place
  /** When a write of this program last found that another one had taken its place, in milliseconds by this machine. */
  readonly contention: { lostAt: number }
  readonly codec: DocumentCodec<A>
  /** Whether the resource has a journal, or may have had one: then what deletions leave is the journal's to remove. No request. */
  readonly mayBeJournaled: () => boolean
  /** Those that this program knows. */
  readonly companions: Companions
  /** The key of the document with an id. `InvalidInput` for an id that cannot be one. No request. */
  readonly key: (id: string) => Effect.Effect<string, DbError.InvalidInput>
  /**
   * The same for a document that is new: `InvalidInput` also for an id that leaves no room for keys which the document may need
   * later, in its history or for its content. No request.
   */
  readonly newKey: (id: string) => Effect.Effect<string, DbError.InvalidInput>
  /** Adds to what is wrong with an input, for a document that is new, what is wrong with its id: of that a schema knows nothing. */
  readonly withId: (input: unknown) => <E>(error: E) => E | DbError.InvalidInput
  /** The id in a valid value. `InvalidInput` when it is no text. */
  readonly idOf: (valid: A) => Effect.Effect<string, DbError.InvalidInput>
  /** Lets incremental ids have their numbers; see `numbers.ts`. */
  readonly numbered: Numbers.Numbered
  /** Whether the document that an input makes is given the next number as its id. */
  readonly numbers: Numbers.Numbers["numbers"]
  readonly missing: (id: string) => DbError.NotFound
  readonly invalid: (path: ReadonlyArray<string | number>, message: string) => DbError.InvalidInput
  /** What stands between reads and documents, if anything does now. */
  readonly readThrough: () => ReadThrough | undefined
  /** Notes down that a value, or an envelope, stands for a version. */
  readonly know: (base: Base<A>, as?: object) => Base<A>
  /** The version that a value, or an envelope, stands for, if it was given out here. */
  readonly known: (value: object) => Base<A> | undefined
}

const sampleWriteId = "x".repeat(Id.writeIdLength)

/** A write with a key in the history as long as they get. */
const sample: Document.Write = {
  writeId: sampleWriteId,
  writtenAt: 0,
  createdAt: 0,
  version: 1,
  ancestors: [],
  tag: "",
  schemaVersion: 1,
  fields: { metadata: {}, spilled: undefined, spilledText: undefined },
  truncated: [],
  markers: Document.none,
  companions: Document.none,
  claims: Document.none
}

/**
 * The most bytes that an id may have, percent-encoded, so that there is room for all keys that its document may need. Markers
 * have values beside the id, and are checked with them.
 */
const mostIdBytes = (
  { content, history, name }: Pick<Definition<DocumentSchema>, "content" | "history" | "name">,
  keyBytes: number
): number => {
  const keys = [
    ...(history ? [History.key(name, "", sample), History.deletionKey(name, "", sample, 0)] : []),
    ...(content ? Content.keysOf(name, "", { name: sampleWriteId, size: 0, contentType: "", sha256: "" }) : [])
  ]
  return keys.reduce((most, key) => Math.min(most, keyBytes - key.length), Document.mostIdBytes(name, keyBytes))
}

/**
 * Makes the context of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  definition: Definition<S>,
  database: Database["Service"],
  codec: DocumentCodec<S["Type"]>,
  companions: Companions
): Context<S["Type"]> => {
  const { name, primaryKey } = definition
  const { store, capabilities } = database
  const versions = makeNotes<Base<S["Type"]>>()
  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)
  const { keyBytes = maxKeyBytes } = store
  const settings = followed(definition, database)
  const mostAtLeast = Document.mostIdBytes(name, keyBytes)
  const limits: Array<number | undefined> = []
  /** What keys an id needs room in depends on what a newer version keeps, too. */
  const most = (): number => {
    const { content, history } = settings
    return (limits[(content ? 2 : 0) + (history ? 1 : 0)] ??= mostIdBytes({ content, history, name }, keyBytes))
  }
  const orInvalid = (key: Result.Result<string, string>) =>
    Result.isSuccess(key) ? Effect.succeed(key.success) : Effect.fail(invalid([primaryKey], key.failure))
  const withId =
    (input: unknown) =>
    <E>(error: E): E | DbError.InvalidInput => {
      const id = isRecord(input) ? input[primaryKey] : undefined
      if (!(error instanceof DbError.InvalidInput) || typeof id !== "string") return error
      const key = Document.key(name, id, most())
      const isTold = error.issues.some(({ path: [first] }) => first === primaryKey)
      return Result.isSuccess(key) || isTold
        ? error
        : new DbError.InvalidInput({
            resource: name,
            issues: [{ path: [primaryKey], message: key.failure }, ...error.issues]
          })
    }
  const isKnown = (): Effect.Effect<void, DbError.Failure> => {
    const upkeep = database.upkeep(name)
    if (upkeep === undefined) {
      const description = `the catalog has lost the resource ${name} since it was opened; open the database again`
      return Effect.fail(new StoreError.Corrupt({ description }))
    }
    return upkeep.beyond === undefined
      ? Effect.void
      : Effect.fail(new StoreError.Unsupported({ feature: "writing", description: upkeep.beyond }))
  }
  const writableEager = () => (database.isFresh() ? isKnown() : Effect.andThen(database.fresh, Effect.suspend(isKnown)))
  return {
    name,
    primaryKey,
    declared: definition,
    settings,
    fresh: database.fresh,
    writable: Effect.suspend(writableEager),
    writableEager,
    seemsWritable: () => {
      const upkeep = database.upkeep(name)
      return upkeep !== undefined && upkeep.beyond === undefined
    },
    database,
    store,
    capabilities,
    place: {
      store,
      capabilities,
      resource: name,
      // Whoever packs documents, in this process, need not read what it has written.
      hand: (object) => database.resources.packed.get(name)?.written.hand(object)
    },
    contention: { lostAt: -Infinity },
    codec,
    mayBeJournaled: () => settings.journal !== undefined || database.upkeep(name)?.wasJournaled === true,
    companions,
    key: (id) => orInvalid(Document.key(name, id, mostAtLeast)),
    withId,
    newKey: (id) => orInvalid(Document.key(name, id, most())),
    idOf: (valid) => {
      const id = (valid as Readonly<Record<string, unknown>>)[primaryKey]
      return typeof id === "string" ? Effect.succeed(id) : Effect.fail(invalid([primaryKey], "Expected a string"))
    },
    ...Numbers.make(definition, store),
    missing: (id) => new DbError.NotFound({ resource: name, id: String(id) }),
    invalid,
    readThrough: () => database.resources.readThrough.of(name),
    know: (base, as = base.value as object) => {
      versions.set(as, base)
      return base
    },
    known: (value) => versions.get(value)
  }
}

/** The settings of a definition, but for what the catalog asks for at the time at which they are read. */
const followed = (declared: Settings & { readonly name: string }, database: Database["Service"]): Settings => {
  const asked = () => database.upkeep(declared.name)?.settings
  return {
    attributes: declared.attributes,
    completion: declared.completion,
    unwritable: declared.unwritable,
    get history() {
      return declared.history || asked()?.history === true
    },
    get content() {
      return declared.content || asked()?.content === true
    },
    // Those who count have to count alike.
    get counters() {
      const settings = asked()
      return settings === undefined ? declared.counters : settings.counters
    },
    get journal() {
      return asked()?.journal ?? declared.journal
    },
    get uniqueLease() {
      return asked()?.uniqueLease ?? declared.uniqueLease
    }
  }
}
