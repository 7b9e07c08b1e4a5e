/**
 * Documents as the markers of a partition tell them, without a look at the documents.
 *
 * **Details**
 *
 * A marker tells the id of its document, the fields of its partition that no transform has changed, and the fields that it covers, in the
 * form in which conditions see documents. What of a covered object this program does not know is left out, as it is of documents.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Definition } from "../Definition.ts"
import type { Documents } from "../document/documents.ts"
import type { ReadFailure } from "../document/read.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { isObject, samePath } from "../internal/json.ts"
import type * as Partition from "../Partition.ts"
import type * as Query from "../Query.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import type { Fields } from "./fields.ts"
import type { Hit, Keys, Planned, Range } from "./keys.ts"
import type { ListFailure, Listing } from "./listing.ts"
import * as Tolerance from "./tolerance.ts"

type Path = ReadonlyArray<string>

/**
 * Documents as markers tell them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Markers {
  /** What the markers of requests tell, one request after the other. 1 LIST for each 1,000; 1 GET where a key had no room. */
  readonly rows: (
    requests: ReadonlyArray<Planned>,
    options: Query.Concurrency & Query.OnCorrupt
  ) => Stream.Stream<JsonObject, ListFailure>
  /** What one marker tells; `undefined`: nothing, for the document does not own it. No request, or 1 GET where its key had no room. */
  readonly rowOf: (range: Range, hit: Hit) => Effect.Effect<JsonObject | undefined, ReadFailure>
}

/**
 * Returns the test whether the markers of a partition tell what is at a path.
 *
 * @category getters
 * @since 0.1.0
 */
export const tells =
  ({ definition: { covering = [], fields } }: Partition.Partition, primaryKey: string) =>
  (path: Path): boolean =>
    samePath(path, [primaryKey]) ||
    fields.some((field) => field.transforms.length === 0 && samePath(field.path, path)) ||
    covering.some((covered) => samePath(covered, path.slice(0, covered.length)))

/**
 * Makes what reads markers in the place of documents. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  { attributes, primaryKey }: Definition<S>,
  { context, reader }: Documents<S["Type"]>,
  {
    fields,
    keys,
    listing
  }: {
    readonly fields: Fields<S["Type"]>
    readonly keys: Keys
    readonly listing: Listing<S["Type"]>
  }
): Markers => {
  const structs = new Map<string, ReadonlySet<string>>(
    attributes
      .filter(({ codec }) => codec === "struct")
      .map(({ path }) => [
        JSON.stringify(path),
        new Set(
          attributes
            .filter((one) => one.path.length === path.length + 1 && samePath(one.path.slice(0, path.length), path))
            .map((one) => one.path.at(-1)!)
        )
      ])
  )

  /** What this program knows of a value. */
  const known = (path: Path, value: Json): Json => {
    const names = structs.size > 0 && isObject(value) ? structs.get(JSON.stringify(path)) : undefined
    if (names === undefined || !isObject(value)) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, inner]) =>
        names.has(name) ? [[name, known([...path, name], inner)] as const] : []
      )
    )
  }

  const put = (row: Record<string, Json>, path: Path, value: Json): void => {
    let at = row
    for (const name of path.slice(0, -1)) {
      const below = Object.hasOwn(at, name) ? at[name] : undefined
      const next: Record<string, Json> = below !== undefined && isObject(below) ? { ...below } : {}
      at[name] = next
      at = next
    }
    at[path.at(-1)!] = value
  }

  /** `undefined`: its key had no room for what it covers, or nobody knows what it says there. */
  const told = (partition: Partition.Partition, { id, marker }: Hit): JsonObject | undefined => {
    if (marker === undefined) return undefined
    const { covering = [], fields: by } = partition.definition
    const covered = covering.length === 0 ? {} : partition.covered(marker)
    if (covered === undefined || !isObject(covered)) return undefined
    const row: Record<string, Json> = { [primaryKey]: id }
    const values = partition.valuesOf(marker.values)
    for (const { path, transforms } of by) {
      const value = values[path.join(".")]
      if (transforms.length === 0 && value !== undefined) put(row, path, value)
    }
    for (const path of covering) {
      const name = path.join(".")
      if (Object.hasOwn(covered, name)) put(row, path, known(path, covered[name]!))
    }
    return row
  }

  const rowOf = (range: Range, hit: Hit): Effect.Effect<JsonObject | undefined, ReadFailure> => {
    const row = range.partition === undefined ? undefined : told(range.partition, hit)
    if (row !== undefined) return Effect.succeed(row)
    return Effect.flatMap(listing.storedOf(range, hit), (found) =>
      found === undefined ? Effect.undefined : Effect.map(reader.decode(found.id, found.stored), fields.jsonOf)
    )
  }

  const rowsOf = (
    range: Range,
    options: Query.Concurrency & Query.OnCorrupt
  ): Stream.Stream<JsonObject, ListFailure> => {
    const { attempt, inOrder } = Tolerance.make(context.name, options)
    const { concurrency = defaultConcurrency } = options
    const isTold = <X>(one: X | undefined): one is X => one !== undefined
    const each = (hits: ReadonlyArray<Hit>): Stream.Stream<JsonObject, ListFailure> => {
      const rows = hits.map((hit) => (range.partition === undefined ? undefined : told(range.partition, hit)))
      if (rows.every(isTold)) return Stream.fromArray(rows)
      return Stream.fromArray(hits).pipe(
        Stream.mapEffect((hit, i) => attempt(hit.id, orRead(range, rows[i], hit)), { concurrency }),
        Stream.grouped(concurrency),
        Stream.flatMap(inOrder)
      )
    }
    return Stream.flatMap(keys.pages(range), (pages) => each(pages))
  }

  const orRead = (range: Range, row: JsonObject | undefined, hit: Hit) =>
    row === undefined ? rowOf(range, hit) : Effect.succeed(row)

  return {
    rowOf,
    rows: (requests, options) =>
      Stream.flatMap(Stream.fromIterable(requests), (request) =>
        Stream.unwrap(Effect.map(keys.rangeOf(request), (range) => rowsOf(range, options)))
      )
  }
}

const defaultConcurrency = 16
