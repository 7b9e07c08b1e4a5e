/**
 * The partitions, companions and unique keys of a resource, and which markers and reservations its documents are to have.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Catalog from "../Catalog.ts"
import * as building from "../catalog/building.ts"
import * as Companion from "../Companion.ts"
import type * as Database from "../Database.ts"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { isSame } from "../internal/threeWay.ts"
import * as Partition from "../Partition.ts"
import { hiddenAt } from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Unique from "../Unique.ts"
import type { Base, Context } from "./context.ts"
import { markersBut, markersOf } from "./documentObject.ts"
import * as Foreign from "./foreign.ts"
import { isUnchanged, isUntold, lacksOne, type Seen, type Version } from "./foreign.ts"

/**
 * Whether documents can be found by an index.
 *
 * @category models
 * @since 0.1.0
 */
export interface Readiness {
  readonly isReady: boolean
  /** Which of those of its name it is. */
  readonly build: number | undefined
  /** What it lacks, and what to do about it, where it is not complete. */
  readonly lack: string | undefined
}

/**
 * The partitions, companions and unique keys of a resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compiled {
  readonly companions: ReadonlyMap<string, Companion.Compiled & Readiness>
  readonly partitions: ReadonlyMap<string, Partition.Partition & Readiness>
  /** By the name of their reservations: a blind one is there once for each of its keys. */
  readonly uniques: ReadonlyMap<string, KeptUnique>
  /** One that would write a secret into keys, if there is any: a program that does not know the secret has declared it. */
  readonly exposed: string | undefined
  /** Companions that this program does not know. */
  readonly untold: ReadonlyArray<string>
}

/**
 * Returns what whatever has to do with an index fails with that would write a secret into keys.
 *
 * @category errors
 * @since 0.1.0
 */
export const byASecret = (resource: string, index: string): StoreError.Unsupported => {
  const description = `${index} of ${resource} is an index by a field that is secret here: remove it first, or have its program upgraded`
  return new StoreError.Unsupported({ feature: "an index by a secret", description })
}

/**
 * A unique key that writers keep up.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeptUnique extends Unique.Unique, Readiness {
  /** Every document has its reservation: it can be looked up by it. */
  readonly isReady: boolean
  /** The same of the unique key as a whole, whatever key it moves to. */
  readonly isBuilt: boolean
  /** Whether this program can see to that: not of a blind one by fields that it does not know, or a key that it has not. */
  readonly isTold: boolean
}

/**
 * A value that a version is to have for itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly unique: Unique.Unique
  readonly digest: string
}

/**
 * What a version is to own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Owned {
  readonly markers: Document.Write["markers"]
  readonly companions: Document.Write["companions"]
  /** Reservations that the version before has made already. */
  readonly claims: Document.Write["claims"]
  /** Values that are still to be reserved. */
  readonly wanted: ReadonlyArray<Wanted>
}

/**
 * The partitions, companions and unique keys of a resource, and what its documents owe them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Indexes<A> {
  /** Those that the catalog lists now. No request. */
  readonly all: Effect.Effect<Compiled>
  /** The same for those who find documents by them: where there are any, what is known of the catalog has to be fresh. */
  readonly fresh: Effect.Effect<Compiled, DbError.Failure>
  /**
   * Whether the version before has to be known to replace or delete a document. What is known of the catalog has to be
   * fresh.
   */
  readonly ownsMore: Effect.Effect<boolean, DbError.Failure>
  /** The same, by what is known of the catalog now, for who has just seen to it that it is fresh. */
  readonly ownsMoreUnsafe: () => boolean
  /**
   * What a version is to own, also by fields that the schema does not know; what the version before owns of it stays as it
   * is. `without`: unique keys, by name, of which it gets no new value. No request. `Unsupported`: an index would write a secret into keys, or goes by a value or a definition of another
   * version of the program that cannot be told here, and has changed or is not known of the version before.
   */
  readonly owned: (
    version: Version,
    before: Version | Pick<Version, "stored"> | undefined,
    without?: ReadonlySet<string>
  ) => Effect.Effect<Owned, DbError.InvalidInput | StoreError.Unsupported>
  /**
   * The marker that a version is to have in a partition; `undefined` where it lacks a value. No request. `Unsupported`: the partition goes by what
   * cannot be told here.
   */
  readonly markerIn: (
    version: Version,
    partition: Partition.Partition
  ) => Effect.Effect<Document.OwnedMarker | undefined, DbError.InvalidInput | StoreError.Unsupported>
  /**
   * What this program cannot tell the keys of, by what it is called in the bucket: companions that it does not know. It leaves
   * them as they are where what they go by stays as it is. No request.
   */
  readonly untold: Effect.Effect<ReadonlyArray<string>>
  readonly untoldUnsafe: () => ReadonlyArray<string>
  /** Whether a document has exactly the markers and reservations that it is to have. No request. */
  readonly isIndexed: (
    base: Base<A>,
    without?: ReadonlySet<string>
  ) => Effect.Effect<boolean, DbError.InvalidInput | StoreError.Unsupported>
}

/**
 * Makes the indexes of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(context: Context<A>): Indexes<A> => {
  const { codec, companions, database, fresh, invalid, name, settings, store, writable } = context
  const known = new WeakMap<object, { readonly revision: number; readonly compiled: Compiled }>()
  const own = new Set(settings.attributes.map(({ path }) => path.join(".")))

  const foreign = Foreign.make(context)

  /** A unique key for each of its keys; for none where it has none yet, or is not blind. */
  const underKeys = (
    label: string,
    { build, definition, keys = [] }: NonNullable<Database.Indexes["uniques"]>[string]
  ) => {
    const base = Catalog.labelOf(label, build)
    if (keys.length === 0) {
      return [{ ...Unique.compile(name, label, definition, undefined, base), isReady: definition.blind !== true }]
    }
    const ring = codec.blindKeys(label)
    return keys.map(({ id, key, state }) => {
      const digest = ring.find((one) => one.id === key)?.digest
      return { ...Unique.compile(name, label, definition, { id, digest }, base), isReady: state === "ready" }
    })
  }

  let last: { readonly entries: Database.Indexes; readonly revision: number; readonly compiled: Compiled } | undefined

  const compile = (entries: Database.Indexes): Compiled => {
    const revision = companions.revision()
    if (last === undefined || last.entries !== entries || last.revision !== revision) {
      last = { entries, revision, compiled: compiledOf(entries, revision) }
    }
    return last.compiled
  }

  const compiledOf = (entries: Database.Indexes, revision: number): Compiled => {
    const found = known.get(entries)
    if (found?.revision === revision) return found.compiled
    const isExposed = (path: ReadonlyArray<string>) => hiddenAt(settings.attributes, path) !== undefined
    const exposed = [
      ...Object.entries(entries.partitions ?? {}).filter(([, one]) =>
        Partition.pathsOf(one.definition).some(isExposed)
      ),
      ...Object.entries(entries.companions ?? {}).filter(([, { definition }]) => definition.fields.some(isExposed)),
      ...Object.entries(entries.uniques ?? {}).filter(
        ([, { definition }]) => definition.blind !== true && definition.fields.some(isExposed)
      )
    ].map(([label]) => label)
    // What any version holds for a date lies in the order of time, so that all programs make the same keys.
    const dates = new Set(
      [settings.attributes, ...Object.values(entries.versions ?? {}).map(({ attributes }) => attributes)]
        .flat()
        .filter(({ codec }) => codec === "date")
        .map(({ path }) => path.join("."))
    )
    const isDate = (path: ReadonlyArray<string>) => dates.has(path.join("."))
    const readinessOf = (kind: Catalog.IndexKind, label: string, entry: building.Entry): Readiness => ({
      isReady: entry.state === "ready" && !exposed.includes(label),
      build: entry.build,
      lack: entry.state === "ready" ? undefined : building.describe(name, kind, label, entry)
    })
    const kept = new Map(
      Object.entries(entries.companions ?? {}).map(([label, entry]) => [
        label,
        {
          ...Companion.compile(name, label, entry.definition, {
            keyBytes: store.keyBytes,
            keys: companions.keysOf(label, entry.definition),
            label: Catalog.labelOf(label, entry.build)
          }),
          ...readinessOf("companions", label, entry)
        }
      ])
    )
    const compiled: Compiled = {
      exposed: exposed[0],
      companions: kept,
      untold: [...kept.values()].flatMap(({ isKnown, label }) => (isKnown ? [] : [label])),
      partitions: new Map(
        Object.entries(entries.partitions ?? {}).map(([label, entry]) => [
          label,
          {
            ...Partition.compile(name, label, entry.definition, {
              isDate,
              keyBytes: store.keyBytes,
              label: Catalog.labelOf(label, entry.build)
            }),
            ...readinessOf("partitions", label, entry)
          }
        ])
      ),
      uniques: new Map(
        Object.entries(entries.uniques ?? {}).flatMap(([label, entry]) =>
          underKeys(label, entry).map(({ isReady, ...unique }): [string, KeptUnique] => {
            const { isReady: isBuilt, ...readiness } = readinessOf("uniques", label, entry)
            const isTold =
              unique.definition.blind !== true || (unique.isKnown && unique.fields.every((path) => own.has(path)))
            return [unique.name, { ...unique, ...readiness, isBuilt, isTold, isReady: isBuilt && isReady }]
          })
        )
      )
    }
    // What is compiled says which companions are known.
    known.set(entries, { revision, compiled })
    return compiled
  }

  const all = Effect.map(database.indexes(name), compile)

  const needsBefore = () =>
    settings.history ||
    settings.content ||
    settings.journal !== undefined ||
    settings.counters !== undefined ||
    settings.completion?.needsBefore === true

  const hasAny = ({ companions, partitions, uniques }: Compiled) =>
    partitions.size > 0 || uniques.size > 0 || companions.size > 0
  const refuse = (what: "partition" | "unique key", label: string) => {
    const description = `${what} ${label} of ${name} is made of what this program cannot tell: another version of it has declared that; upgrade this program`
    return new StoreError.Unsupported({ feature: "writing", description })
  }

  const partitionOf = Effect.fnUntracedEager(function* (
    partition: Partition.Partition,
    now: Seen,
    {
      had,
      seenBefore
    }: { readonly had: Document.OwnedMarker | undefined; readonly seenBefore: (() => Seen) | undefined }
  ): Effect.fn.Return<Document.OwnedMarker | undefined, DbError.InvalidInput | StoreError.Unsupported> {
    const paths = partition.definition.fields.map(({ path }) => path)
    const all = [...paths, ...(partition.definition.covering ?? [])]
    if (!partition.isKnown || isUntold(all, now)) {
      if (seenBefore !== undefined && isUnchanged(all, seenBefore(), now)) return had
      if (isUntold(paths, now) || !lacksOne(paths, now)) return yield* refuse("partition", partition.name)
      return undefined
    }
    const marker = partition.own(now.id, now.valueAt, now.stored.writeId)
    if (Result.isFailure(marker)) return yield* invalid(marker.failure.path, marker.failure.message)
    if (marker.success === undefined || had?.values !== marker.success.values) return marker.success
    return coversSame(partition, had, marker.success) ? had : marker.success
  })

  const companionOf = Effect.fnUntracedEager(function* (
    companion: Companion.Compiled,
    now: Seen,
    {
      had = [],
      seenBefore
    }: { readonly had: ReadonlyArray<Document.OwnedKey> | undefined; readonly seenBefore: (() => Seen) | undefined }
  ): Effect.fn.Return<ReadonlyArray<Document.OwnedKey>, DbError.InvalidInput | StoreError.Unsupported> {
    const { definition, isKnown } = companion
    if (!isKnown || isUntold(definition.fields, now)) {
      if (seenBefore !== undefined && isUnchanged(definition.fields, seenBefore(), now)) return had
      return yield* unknownCompanion(name, companion)
    }
    const { id, stored, valueAt } = now
    const keys = companion.own({ id, valueAt, writeId: stored.writeId }, had)
    return Result.isSuccess(keys) ? keys.success : yield* invalid(keys.failure.path, keys.failure.message)
  })

  const digestOf = Effect.fnUntracedEager(function* (
    unique: Unique.Unique,
    now: Seen,
    { had, seenBefore }: { readonly had: Document.Claim | undefined; readonly seenBefore: (() => Seen) | undefined }
  ): Effect.fn.Return<string | undefined, StoreError.Unsupported> {
    const paths = unique.definition.fields
    if (!isUntold(paths, now) && (unique.isKnown || lacksOne(paths, now))) return unique.digest(now.valueAt)
    if (seenBefore !== undefined && isUnchanged(paths, seenBefore(), now)) return had?.digest
    return yield* unique.isKnown ? refuse("unique key", unique.label) : unknownKey(name, unique)
  })

  const entriesNow = (): Database.Indexes => database.upkeep(name) ?? noIndexes

  const owned: Indexes<A>["owned"] = (version, before, without = noneOfThem) => {
    const entries = entriesNow()
    const compiled = compile(entries)
    return compiled.exposed === undefined && !hasAny(compiled)
      ? ownedNothing
      : ownedBy({ compiled, entries }, version, before, without)
  }

  const ownedBy = Effect.fnUntracedEager(function* (
    { compiled, entries }: { readonly compiled: Compiled; readonly entries: Database.Indexes },
    version: Version,
    before: Version | Pick<Version, "stored"> | undefined,
    without: ReadonlySet<string>
  ): Effect.fn.Return<Owned, DbError.InvalidInput | StoreError.Unsupported> {
    const { exposed, partitions, uniques } = compiled
    if (exposed !== undefined) {
      return yield* byASecret(name, exposed)
    }
    const now = foreign.see(version, entries)
    const seenBefore = before !== undefined && "json" in before ? () => foreign.see(before, entries) : undefined
    const had = before?.stored
    const markers: Record<string, Document.OwnedMarker> = {}
    for (const partition of partitions.values()) {
      const marker = yield* partitionOf(partition, now, { had: had?.markers[partition.label], seenBefore })
      if (marker !== undefined) markers[partition.label] = marker
    }
    const keys: Record<string, ReadonlyArray<Document.OwnedKey>> = {}
    for (const companion of compiled.companions.values()) {
      const { label } = companion
      const had =
        before !== undefined && Object.hasOwn(before.stored.companions, label)
          ? before.stored.companions[label]
          : undefined
      const owned = yield* companionOf(companion, now, { had, seenBefore })
      if (owned.length > 0) keys[label] = owned
    }
    const claims: Record<string, Document.Claim> = {}
    const wanted: Array<Wanted> = []
    for (const unique of uniques.values()) {
      const claim = had?.claims[unique.name]
      if (without.has(unique.label)) {
        if (claim !== undefined) claims[unique.name] = claim
        continue
      }
      const digest = yield* digestOf(unique, now, { had: claim, seenBefore })
      if (digest === undefined) continue
      if (claim?.digest === digest) claims[unique.name] = claim
      else wanted.push({ unique, digest })
    }
    return { markers, companions: keys, claims, wanted }
  })

  const ownsMoreUnsafe = () => hasAny(compile(entriesNow())) || needsBefore()

  return {
    all,
    markerIn: Effect.fnUntraced(function* (version, partition) {
      const now = foreign.see(version, entriesNow())
      return yield* partitionOf(partition, now, { had: undefined, seenBefore: undefined })
    }),
    untold: Effect.map(all, ({ untold }) => untold),
    untoldUnsafe: () => compile(entriesNow()).untold,
    fresh: Effect.flatMap(all, (compiled) =>
      hasAny(compiled) ? Effect.andThen(fresh, all) : Effect.succeed(compiled)
    ),
    ownsMore: Effect.map(writable, ownsMoreUnsafe),
    ownsMoreUnsafe,
    owned,
    isIndexed: Effect.fnUntraced(function* (base, without) {
      const { id, stored } = base
      const { claims, wanted, ...markers } = yield* owned(base, base, without)
      const { uniques } = yield* all
      // Those of a key from which a blind unique key has moved go with the next write.
      const kept = Object.keys(stored.claims).filter(
        (label) => uniques.has(label) || Unique.labelOf(label) === undefined
      )
      return (
        wanted.length === 0 &&
        markersBut(name, id, markers, stored).length === 0 &&
        markersOf(name, id, markers).length === markersOf(name, id, stored).length &&
        Object.keys(claims).length === kept.length
      )
    })
  }
}

/**
 * Creates the refusal of what needs the fields or the key of a blind unique key that this program has not.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknownKey = (
  resource: string,
  { isKnown, label, name }: Pick<Unique.Unique, "isKnown" | "label" | "name">
): StoreError.Unsupported => {
  const description = isKnown
    ? `the blind unique key ${label} of ${resource} is by fields that this program does not know: let one that declares them do it`
    : label === name
      ? `the blind unique key ${label} of ${resource} has no key yet: open the resource with a KeyRing by the program that declares it`
      : `the blind unique key ${label} of ${resource} is kept under a key that this program has not: add to its KeyRing the keys that other programs have, the former one until rotate has come to its end`
  return new StoreError.Unsupported({ feature: "a blind unique key under another key", description })
}

/**
 * Creates the refusal of what needs a companion that this program does not know, or cannot tell the fields of.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknownCompanion = (
  resource: string,
  { definition, isKnown, name }: Companion.Compiled
): StoreError.Unsupported => {
  const fields = definition.fields.map((path) => path.join(".")).join(", ")
  const description = isKnown
    ? `companion ${name} of ${resource} is made of what this program cannot tell: another version of it has declared that; upgrade this program`
    : `companion ${name} of ${resource} is kept by programs that know it, in version ${definition.version}, and this one does not: declare it, or give it to addCompanion, to write what changes ${fields}`
  return new StoreError.Unsupported({ feature: "a companion that is not known", description })
}

/** Whether two markers cover the same, in whatever order it is written down. */
const coversSame = (
  partition: Partition.Partition,
  had: Document.OwnedMarker,
  marker: Document.OwnedMarker
): boolean => {
  if (had.covered === marker.covered) return true
  const [one, other] = [partition.covered(had), partition.covered(marker)]
  return one !== undefined && other !== undefined && isSame(one, other)
}

const noIndexes: Database.Indexes = {}

/**
 * What a version owns where there are no indexes.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothing: Owned = { markers: Document.none, companions: Document.none, claims: Document.none, wanted: [] }

const ownedNothing = Effect.succeed(nothing)

const noneOfThem: ReadonlySet<string> = new Set()
