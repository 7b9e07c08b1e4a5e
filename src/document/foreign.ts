/**
 * What partitions and unique keys see of a version: also the fields that the schema of this program does not know, with the
 * values that the programs that know them read there.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import type { Version as Declared } from "../Catalog.ts"
import type { Indexes } from "../Database.ts"
import type * as Document from "../Document.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { samePath, valueAt } from "../internal/json.ts"
import { isSame } from "../internal/threeWay.ts"
import type * as Partition from "../Partition.ts"
import * as Portable from "../Portable.ts"
import * as Attributes from "../schema/Attributes.ts"
import type { Base, Context } from "./context.ts"

type Path = ReadonlyArray<string>

/**
 * The part of a version that indexes go by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version extends Pick<Base<unknown>, "id" | "json" | "carried"> {
  readonly stored: Document.Write
}

/**
 * A version, and what it says at each path, whether the schema knows that or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly id: string
  readonly stored: Document.Write
  readonly valueAt: Partition.ValueAt
  /** Paths at which there is something that cannot be told: secret, of a later release, or stored twice. */
  readonly untold: ReadonlyArray<Path>
}

/**
 * The sight of versions through the indexes of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Foreign {
  /** What a version says, for the indexes that the catalog lists. No request. */
  readonly see: (version: Version, entries: Indexes) => Seen
}

type Fill = (document: Json) => Json

/**
 * Makes what sees the versions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ codec, settings }: Context<A>): Foreign => {
  const known = new WeakMap<Indexes, ReadonlyMap<string, Fill>>()
  const own = new Set(settings.attributes.map(({ path }) => path.join(".")))

  /** For each path of an index that the schema does not know what fills in the default that others read there. */
  const fillsOf = (entries: Indexes): ReadonlyMap<string, Fill> => {
    const found = known.get(entries)
    if (found !== undefined) return found
    const fills = new Map<string, Fill>()
    const byVersion = new Map<Declared, Fill | undefined>()
    // The newest version that knows a field says what it is.
    const versions = Object.entries(entries.versions ?? {}).toSorted(
      ([a], [b]) => Number(b.slice(1)) - Number(a.slice(1))
    )
    for (const path of pathsOf(entries)) {
      if (own.has(path.join("."))) continue
      const version = versions.find(([, { attributes }]) => attributes.some((one) => samePath(one.path, path)))?.[1]
      if (version === undefined) continue
      if (!byVersion.has(version)) byVersion.set(version, fillOf(version))
      const fill = byVersion.get(version)
      if (fill !== undefined) fills.set(path.join("."), fill)
    }
    known.set(entries, fills)
    return fills
  }

  return {
    see: ({ carried, id, json, stored }, entries) => {
      const { json: whole, untold } = codec.indexed({ carried, json })
      const fills = fillsOf(entries)
      const find = valueAtOf(whole, stored)
      const filled = new Map<Fill, Json>()
      return {
        id,
        stored,
        untold,
        valueAt: (path) => {
          const found = find(path)
          const fill = found === undefined && fills.size > 0 ? fills.get(path.join(".")) : undefined
          if (fill === undefined) return found
          if (!filled.has(fill)) filled.set(fill, fill(whole))
          return valueAt(filled.get(fill)!, path)
        }
      }
    }
  }
}

const pathsOf = ({ companions = {}, partitions = {}, uniques = {} }: Indexes): ReadonlyArray<Path> => [
  ...Object.values(companions).flatMap(({ definition }) => definition.fields),
  ...Object.values(partitions).flatMap(({ definition }) => [
    ...definition.fields.map(({ path }) => path),
    ...(definition.covering ?? [])
  ]),
  ...Object.values(uniques).flatMap(({ definition }) => definition.fields)
]

const fillOf = ({ definition }: Declared): Fill | undefined => {
  const revived = Portable.toDefinition(definition)
  return Result.isSuccess(revived) ? Attributes.compileDefaults(revived.success.schema) : undefined
}

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
    return computed !== undefined && !Object.hasOwn(json, name) ? computed() : valueAt(json, path)
  }
}

const isAbout = (untold: Path, path: Path): boolean => {
  const length = Math.min(untold.length, path.length)
  return samePath(untold.slice(0, length), path.slice(0, length))
}

/**
 * Tells whether there is something at one of the paths that cannot be told.
 *
 * @category guards
 * @since 0.1.0
 */
export const isUntold = (paths: ReadonlyArray<Path>, { untold }: Seen): boolean =>
  untold.length > 0 && paths.some((path) => untold.some((one) => isAbout(one, path)))

/**
 * Tells whether there is nothing at one of the paths.
 *
 * @category guards
 * @since 0.1.0
 */
export const lacksOne = (paths: ReadonlyArray<Path>, { valueAt }: Seen): boolean =>
  paths.some((path) => (valueAt(path) ?? null) === null)

/**
 * Tells whether two versions say the same at all of the paths. What cannot be told never changes, but may go.
 *
 * @category guards
 * @since 0.1.0
 */
export const isUnchanged = (paths: ReadonlyArray<Path>, before: Seen, now: Seen): boolean => {
  const about = ({ untold }: Seen) => untold.filter((one) => paths.some((path) => isAbout(one, path))).length
  return about(before) === about(now) && paths.every((path) => isSame(before.valueAt(path), now.valueAt(path)))
}
