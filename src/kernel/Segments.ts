/**
 * A set of immutable parts that changes as a whole: what backups, search indexes and copies are made of.
 *
 * ```ts
 * import * as Segments from "effect-s3db/kernel/Segments"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const segments = Segments.make(yield* ObjectStore, { prefix: "plugin=search/words" })
 *   const part = yield* segments.put(new TextEncoder().encode("a=1"))
 *   const { parts } = yield* segments.commit({ add: [part] })
 *   return yield* Effect.forEach(parts, segments.get)
 * })
 * ```
 *
 * **Details**
 *
 * A part is named by the SHA-256 of its bytes and lies at `PREFIX/part/g=GENERATION/HASH`; the manifest, `PREFIX/manifest`,
 * is changed by compare-and-set and names the parts that count. A snapshot is a version of the manifest: its parts can be
 * read until they are collected, which happens to parts that a later version does not name any more.
 *
 * A part that was put and not committed is not collected by the first collection that meets it. If it is by a later one, the
 * commit is refused (`PartsCollected`): a manifest never names a part that is gone. No clock decides that.
 *
 * The manifest lists all parts, about 100 bytes each beside their notes: some thousands of parts are fine.
 *
 * @see `docs/design/logs.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { ExpectedError } from "../internal/expectedError.ts"
import type { ObjectStore, Range } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"
import * as partsOf from "./internal/parts.ts"
import * as tokens from "./internal/token.ts"
import type { LeaseLost } from "./Lease.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * Another version than the one that was expected. Nothing was written.
 *
 * @remedy Read the manifest again and decide.
 * @category errors
 * @since 0.1.0
 */
export class VersionConflict extends ExpectedError<VersionConflict>("effect-s3db/kernel/Segments/VersionConflict")(
  "VersionConflict",
  { key: Schema.String, expected: Schema.Int, version: Schema.Int }
) {
  override get message(): string {
    return `the manifest is at version ${this.version}, not at ${this.expected}: read it again`
  }
}

/**
 * Parts that were put long ago and have been collected, or may be at any moment. Nothing was written.
 *
 * @remedy Put the parts again and commit those.
 * @category errors
 * @since 0.1.0
 */
export class PartsCollected extends ExpectedError<PartsCollected>("effect-s3db/kernel/Segments/PartsCollected")(
  "PartsCollected",
  { names: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return `${this.names.length} parts were put before the last collections and count as collected: put them again`
  }
}

/**
 * Parts to be removed that the manifest does not name: another has removed them. Nothing was written.
 *
 * @remedy Read the manifest again: what was made of the parts may be there twice otherwise.
 * @category errors
 * @since 0.1.0
 */
export class PartsNotNamed extends ExpectedError<PartsNotNamed>("effect-s3db/kernel/Segments/PartsNotNamed")(
  "PartsNotNamed",
  { names: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return `${this.names.length} parts to be removed are not there any more: read the manifest again`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Where the parts and their manifest lie.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The beginning of all keys, its segments escaped, without a slash at the end. */
  readonly prefix: string
}

/**
 * A part: immutable bytes.
 *
 * @category models
 * @since 0.1.0
 */
export const Part = Schema.Struct({
  /** Its generation and the SHA-256 of its bytes in base 64 (URL): `3/Ab…`. */
  name: partsOf.Name,
  /** Its length in bytes. */
  size: Schema.Int,
  /** What the caller wants to know of it without reading it. */
  note: Schema.optionalKey(Schema.Json)
})

/**
 * A part: immutable bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type Part = typeof Part.Type

const Manifest = Schema.Struct({
  version: Schema.Int,
  fence: Schema.Int,
  generation: Schema.Int,
  floor: Schema.Int,
  parts: Schema.Array(Part)
})
type Manifest = typeof Manifest.Type

/**
 * A version of the manifest. Version 0 is that of nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly version: number
  /** The highest fence token that has been seen; 0 when there was none. */
  readonly fence: number
  /** In the order in which they were added. */
  readonly parts: ReadonlyArray<Part>
}

/**
 * A change of the set of parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change {
  /** Parts whose bytes are named already are not added again. */
  readonly add?: ReadonlyArray<Part> | undefined
  readonly remove?: ReadonlyArray<Part> | undefined
  /** The version that it is to be made on. Default: any, as long as the parts to be removed are there. */
  readonly expected?: number | undefined
  /** The token of the lease under which it is made. A lower one than has been seen is refused with `LeaseLost`. Default: 0, that of no lease. */
  readonly fence?: number | undefined
}

/**
 * What a part is that cannot be what was put.
 *
 * @category models
 * @since 0.1.0
 */
export interface Damage {
  readonly part: Part
  readonly why: "missing" | "altered"
}

/**
 * A set of immutable parts. All members fail with `StoreError` too, with what the store says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Segments {
  /** The newest version. 1 GET. */
  readonly read: Effect.Effect<Snapshot, StoreError.StoreError>
  /**
   * Uploads a part. It counts when it is committed. 1 PUT; none when the newest version known here names the same bytes; 1
   * GET more before the first.
   */
  readonly put: (bytes: Uint8Array, note?: Schema.Json) => Effect.Effect<Part, StoreError.StoreError>
  /**
   * Adds and removes parts in one compare-and-set, once also when an answer is lost. 1 GET and 1 PUT; no GET with `expected` of the version
   * that was last seen here; 1 GET more each time that another was first.
   *
   * When it cannot be told whether it was made, it fails with what the store said to the PUT: an error with the outcome
   * `"unknown"`.
   */
  readonly commit: (
    change: Change
  ) => Effect.Effect<Snapshot, LeaseLost | VersionConflict | PartsCollected | PartsNotNamed | StoreError.StoreError>
  /** The bytes of a part, their hash checked (`Corrupt`). `NoSuchKey`: it was collected. 1 GET. */
  readonly get: (part: Part) => Effect.Effect<Uint8Array, StoreError.StoreError>
  /** Some bytes of a part; their hash cannot be checked. 1 GET. */
  readonly range: (part: Part, range: Range) => Effect.Effect<Uint8Array, StoreError.StoreError>
  /**
   * Removes the parts that were put before the collection before this one, and that no version from now on names. Gives their
   * number. 1 GET, 1 PUT, 1 LIST for each 1,000 parts, and 1 request for each 1,000 that are removed.
   */
  readonly collect: Effect.Effect<number, StoreError.StoreError>
  /** Reads all parts of a version, by default the newest, and gives those that are damaged. 1 GET for each part. */
  readonly verify: (snapshot?: Snapshot) => Stream.Stream<Damage, StoreError.StoreError>
}

const empty: Manifest = { version: 0, fence: 0, ...partsOf.firstGenerations, parts: [] }

const hashIn = (name: string): string => name.slice(name.indexOf("/") + 1)

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates a set of parts on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], { prefix }: Options): Segments => {
  const cell = CasCell.make(
    store,
    `${prefix}/manifest`,
    CasCell.schemaFormat(Manifest, { what: "a manifest of segments" })
  )
  const objects = partsOf.make(store, prefix)
  let known: Manifest | undefined
  /** The cell as it was when `known` was read or written. */
  let newest: CasCell.Version<Manifest> | undefined

  const told = (found: CasCell.Version<Manifest>): Snapshot => {
    const { value = empty } = found
    if (known === undefined || known.version <= value.version) {
      known = value
      newest = found
    }
    const { fence, parts, version } = value
    return { fence, parts, version }
  }
  const read = Effect.map(cell.read, told)

  const put = Effect.fn("Segments.put")(function* (bytes: Uint8Array, note?: Schema.Json) {
    if (known === undefined) yield* read
    const { generation, parts } = known ?? empty
    const noted = note === undefined ? {} : { note }
    const hash = partsOf.hashOf(bytes)
    const there = parts.find(({ name }) => hashIn(name) === hash)
    const name = there === undefined ? yield* objects.put(generation, bytes) : there.name
    return { name, size: bytes.length, ...noted } satisfies Part
  })

  const apply = Effect.fnUntraced(function* (manifest: Manifest, { add = [], expected, fence, remove = [] }: Change) {
    const { floor, parts, version } = manifest
    const held = yield* tokens.check(cell.key, manifest.fence, fence)
    if (expected !== undefined && expected !== version) {
      return yield* new VersionConflict({ key: cell.key, expected, version })
    }
    const named = new Set(parts.map(({ name }) => name))
    const removed = new Set(remove.map(({ name }) => name))
    const gone = [...removed].filter((name) => !named.has(name))
    if (gone.length > 0) return yield* new PartsNotNamed({ names: gone })
    const kept = parts.filter(({ name }) => !removed.has(name))
    const hashes = new Set(kept.map(({ name }) => hashIn(name)))
    const added = new Map<string, Part>()
    for (const part of add) if (!hashes.has(hashIn(part.name))) added.set(hashIn(part.name), part)
    const stale = [...added.values()].filter(({ name }) => partsOf.generationOf(name) < floor && !named.has(name))
    if (stale.length > 0) return yield* new PartsCollected({ names: stale.map(({ name }) => name) })
    if (added.size === 0 && removed.size === 0 && held === manifest.fence) return manifest
    return { ...manifest, version: version + 1, fence: held, parts: [...kept, ...added.values()] }
  })

  return {
    read,
    put,
    commit: Effect.fn("Segments.commit")(function* (change) {
      // On a version at hand there is nothing to read: where it is not the newest, the condition of the PUT does not hold.
      const from = (newest?.value ?? empty).version === change.expected ? newest : undefined
      const modify = (from?: CasCell.Version<Manifest>) =>
        cell.modify(
          (manifest) => Effect.map(apply(manifest ?? empty, change), (next) => (next === empty ? manifest : next)),
          from
        )
      const version = yield* modify(from)
      // What changes nothing has not been compared with what is there.
      return told(from !== undefined && version === from ? yield* modify() : version)
    }),
    get: ({ name }) => objects.get(name),
    range: ({ name }, { end, start }) => objects.range(name, start, end),
    collect: Effect.gen(function* () {
      const { value = empty } = yield* cell.modify((manifest) =>
        Effect.succeed(manifest === undefined ? undefined : { ...manifest, ...partsOf.nextGenerations(manifest) })
      )
      known = value
      newest = undefined
      return yield* objects.collect(value.floor, new Set(value.parts.map(({ name }) => name)))
    }),
    verify: (snapshot) =>
      Stream.fromEffect(snapshot === undefined ? read : Effect.succeed(snapshot)).pipe(
        Stream.flatMap(({ parts }) => Stream.fromIterable(parts)),
        Stream.mapEffect(
          (part) =>
            objects.get(part.name).pipe(
              Effect.as(Result.failVoid),
              Effect.catchReasons("StoreError", {
                NoSuchKey: () => Effect.succeed(Result.succeed<Damage>({ part, why: "missing" })),
                Corrupt: () => Effect.succeed(Result.succeed<Damage>({ part, why: "altered" }))
              })
            ),
          { concurrency: 8 }
        ),
        Stream.filterMap((found) => found)
      )
  }
}
