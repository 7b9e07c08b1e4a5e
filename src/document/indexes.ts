/**
 * The partitions and unique keys of a resource, and which markers and reservations its documents are to have.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Catalog from "../Catalog.ts"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { valueAt as at } from "../internal/json.ts"
import * as Partition from "../Partition.ts"
import { hiddenAt } from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Unique from "../Unique.ts"
import type { Base, Context } from "./context.ts"
import { markersBut } from "./documentObject.ts"

/**
 * The partitions and unique keys of a resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compiled {
  readonly partitions: ReadonlyMap<string, Partition.Partition & { readonly isReady: boolean }>
  readonly uniques: ReadonlyMap<string, Unique.Unique & { readonly isReady: boolean }>
  /** One that would write a secret into keys, if there is any: a program that does not know the secret has declared it. */
  readonly exposed: string | undefined
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
  /** Reservations that the version before has made already. */
  readonly claims: Document.Write["claims"]
  /** Values that are still to be reserved. */
  readonly wanted: ReadonlyArray<Wanted>
}

/**
 * The partitions and unique keys of a resource, and what its documents owe them.
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
  /**
   * What a version is to own; what the version before owns of it stays as it is. No request. `Unsupported`: an index would
   * write a secret into keys.
   */
  readonly owned: (
    id: string,
    json: JsonObject,
    write: Document.Write,
    before: Document.Write | undefined
  ) => Effect.Effect<Owned, DbError.InvalidInput | StoreError.Unsupported>
  /** Whether a document has exactly the markers and reservations that it is to have. No request. */
  readonly isIndexed: (base: Base<A>) => Effect.Effect<boolean, DbError.InvalidInput | StoreError.Unsupported>
}

/**
 * Makes the indexes of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ database, fresh, invalid, name, settings, store, writable }: Context<A>): Indexes<A> => {
  const known = new WeakMap<object, Compiled>()

  const compile = (entries: Pick<Catalog.Resource, "partitions" | "uniques">): Compiled => {
    const found = known.get(entries)
    if (found !== undefined) return found
    const isExposed = (path: ReadonlyArray<string>) => hiddenAt(settings.attributes, path) !== undefined
    const exposed = [
      ...Object.entries(entries.partitions ?? {}).filter(([, one]) =>
        Partition.pathsOf(one.definition).some(isExposed)
      ),
      ...Object.entries(entries.uniques ?? {}).filter(([, one]) => one.definition.fields.some(isExposed))
    ].map(([label]) => label)
    const compiled: Compiled = {
      exposed: exposed[0],
      partitions: new Map(
        Object.entries(entries.partitions ?? {}).map(([label, { definition, state }]) => [
          label,
          {
            ...Partition.compile(name, label, definition, store.keyBytes),
            isReady: state === "ready" && !exposed.includes(label)
          }
        ])
      ),
      uniques: new Map(
        Object.entries(entries.uniques ?? {}).map(([label, { definition, state }]) => [
          label,
          { ...Unique.compile(name, label, definition), isReady: state === "ready" && !exposed.includes(label) }
        ])
      )
    }
    known.set(entries, compiled)
    return compiled
  }

  const all = Effect.map(database.indexes(name), compile)

  const needsBefore = () =>
    settings.history || settings.content || settings.counters !== undefined || settings.completion?.needsBefore === true

  const hasAny = ({ partitions, uniques }: Compiled) => partitions.size > 0 || uniques.size > 0

  const owned = Effect.fnUntraced(function* (
    id: string,
    json: JsonObject,
    write: Document.Write,
    before: Document.Write | undefined
  ): Effect.fn.Return<Owned, DbError.InvalidInput | StoreError.Unsupported> {
    const { exposed, partitions, uniques } = yield* all
    if (exposed !== undefined) {
      const description = `${exposed} of ${name} is an index by a field that is secret here: remove it first, or have its program upgraded`
      return yield* new StoreError.Unsupported({ feature: "an index by a secret", description })
    }
    if (partitions.size === 0 && uniques.size === 0) return nothing
    const valueAt = valueAtOf(json, write)
    const markers: Record<string, Document.OwnedMarker> = {}
    for (const partition of partitions.values()) {
      const marker = partition.own(id, valueAt, write.writeId)
      if (Result.isFailure(marker)) return yield* invalid(marker.failure.path, marker.failure.message)
      if (marker.success === undefined) continue
      const had = before?.markers[partition.name]
      const isSame = had?.values === marker.success.values && had.covered === marker.success.covered
      markers[partition.name] = isSame ? had : marker.success
    }
    const claims: Record<string, Document.Claim> = {}
    const wanted: Array<Wanted> = []
    for (const unique of uniques.values()) {
      const digest = unique.digest(valueAt)
      if (digest === undefined) continue
      const had = before?.claims[unique.name]
      if (had?.digest === digest) claims[unique.name] = had
      else wanted.push({ unique, digest })
    }
    return { markers, claims, wanted }
  })

  return {
    all,
    fresh: Effect.flatMap(all, (compiled) =>
      hasAny(compiled) ? Effect.andThen(fresh, all) : Effect.succeed(compiled)
    ),
    ownsMore: Effect.map(Effect.andThen(writable, all), (compiled) => hasAny(compiled) || needsBefore()),
    owned,
    isIndexed: Effect.fnUntraced(function* ({ id, json, stored }) {
      const { markers, wanted, claims } = yield* owned(id, json, stored, stored)
      const hasAsMany = (now: object, then: object) => Object.keys(now).length === Object.keys(then).length
      return (
        wanted.length === 0 &&
        markersBut(name, id, markers, stored.markers).length === 0 &&
        hasAsMany(markers, stored.markers) &&
        hasAsMany(claims, stored.claims)
      )
    })
  }
}

const nothing: Owned = { markers: Document.none, claims: Document.none, wanted: [] }

/**
 * Returns what finds the values of a document by their paths, those of its system fields among them.
 *
 * @category getters
 * @since 0.1.0
 */
export const valueAtOf = (json: JsonObject, write: Document.Write): Partition.ValueAt => {
  const system: Readonly<Record<string, () => Json>> = {
    $createdAt: () => new Date(write.createdAt).toISOString(),
    $updatedAt: () => new Date(write.writtenAt).toISOString(),
    $schemaVersion: () => write.schemaVersion
  }
  return (path) => {
    const [name = ""] = path
    const computed = path.length === 1 && Object.hasOwn(system, name) ? system[name] : undefined
    return computed !== undefined && !Object.hasOwn(json, name) ? computed() : at(json, path)
  }
}
