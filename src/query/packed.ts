/**
 * Reads of all documents of a resource by copies of them (`plugins/Segments`), where there are any.
 *
 * **Details**
 *
 * What there is says the listing alone: a copy counts for a key that was listed with its ETag, which is another for each version. What is
 * new or has changed since, what cannot be packed, and what may still be decided without a new ETag, is read by itself, as where there are no
 * copies. A copy is the object as it was stored, and goes the way of every object that is read.
 *
 * Columns are what conditions see of documents, as a program made them that had the same definition.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Aggregation from "../Aggregation.ts"
import * as Catalog from "../Catalog.ts"
import type { Definition } from "../Definition.ts"
import * as Document from "../Document.ts"
import type { Documents } from "../document/documents.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import type * as PackedObjects from "../kernel/PackedObjects.ts"
import * as Query from "../Query.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import type { Bound, Edge } from "./bounds.ts"
import type { Fields } from "./fields.ts"
import type { Hit, Narrow } from "./keys.ts"
import * as staleness from "./staleness.ts"

/**
 * Documents that were listed: the columns of those of which they tell what is asked for, and hits of the others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly columns: ReadonlyArray<Aggregation.Columns>
  readonly hits: ReadonlyArray<Hit>
}

/**
 * Reads of all documents by copies.
 *
 * @category models
 * @since 0.1.0
 */
export interface Packed {
  /** The copies of this resource, where reads go by them now: not in a transaction, which has to know what it has read. */
  readonly copies: Effect.Effect<PackedObjects.PackedObjects | undefined>
  /**
   * All documents as hits, with their copy where there is one. Those of which columns tell that they do not meet the conditions are left
   * out. 1 GET, 1 LIST for each 1,000 documents in packs that are not new enough, 1 GET for each pack; with conditions 1 for its columns, and
   * 1 more where a document meets them.
   */
  readonly hits: (
    copies: PackedObjects.PackedObjects,
    options?: Query.Bounded & { readonly narrow?: Narrow | undefined }
  ) => Stream.Stream<ReadonlyArray<Hit>, StoreError.StoreError>
  /**
   * The same with the columns alone of the fields that are asked for, where packs have them, of the rows that meet the conditions. 1 GET, 1 LIST for
   * each 1,000 documents in packs that are not new enough, 1 GET for each pack.
   */
  readonly seen: (
    copies: PackedObjects.PackedObjects,
    asked: ReadonlyArray<ReadonlyArray<string>>,
    options: Query.Bounded & { readonly narrow: Narrow }
  ) => Stream.Stream<Seen, StoreError.StoreError>
  /** Makes what puts copies to hits with ETags, where there are any. 1 GET for it; then 1 GET for each pack that they are in, once. */
  readonly attaching: (
    copies: PackedObjects.PackedObjects
  ) => Effect.Effect<
    (hits: ReadonlyArray<Hit>) => Effect.Effect<ReadonlyArray<Hit>, StoreError.StoreError>,
    StoreError.StoreError
  >
  /** What is packed of a document: what conditions see of it. */
  readonly columnsOf: (documents: ReadonlyArray<JsonObject>) => ReadonlyArray<PackedObjects.Column>
  /** What columns depend on beside the documents. */
  readonly tag: Effect.Effect<string>
}

/** A longer text is not put down as the least or the most of a column. */
const mostOfEdge = 128

/** A copy that need not be looked at. */
const passedOver = Symbol()

/**
 * Makes what reads the copies of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  definition: Definition<S>,
  { context }: Documents<S["Type"]>,
  fields: Fields<S["Type"]>
): Packed => {
  const { capabilities, codec, database, name } = context
  const hash = Catalog.hash(definition)
  const idOf = Document.idReader(name)
  const tag = Effect.map(codec.version, (version) => `${hash} ${version}`)

  const copies: Packed["copies"] = Effect.suspend(() => {
    const found = capabilities.orderedList ? database.resources.packed.get(name) : undefined
    if (found === undefined) return Effect.succeed(undefined)
    return Effect.map(Transaction.Current, (transaction) => (transaction === undefined ? found : undefined))
  })

  const edgesOf = (values: PackedObjects.Column["values"], column: string): Json | undefined => {
    const kind = fields.options.orderOf?.([column])
    let least: Json | undefined
    let most: Json | undefined
    for (const value of values) {
      if (value === undefined) continue
      const isPlain =
        typeof value === "string" ? value.length <= mostOfEdge : typeof value !== "object" || value === null
      if (!isPlain) return undefined
      if (least === undefined || Query.compareValues(value, least, kind) < 0) least = value
      if (most === undefined || Query.compareValues(value, most, kind) > 0) most = value
    }
    return least === undefined || most === undefined ? [] : [least, most]
  }

  /** Whether a value between two others may be within a bound. */
  const mayHave = (edges: Json | undefined, bound: Bound): boolean => {
    if (!Array.isArray(edges)) return true
    const [least, most]: ReadonlyArray<Json | undefined> = edges
    // No document has a value there.
    if (least === undefined || most === undefined) return false
    const kind = fields.options.orderOf?.(bound.path)
    const isBelow = (edge: Edge | undefined) =>
      edge !== undefined && Query.compareValues(most, edge.value, kind) < (edge.inclusive ? 0 : 1)
    const isAbove = (edge: Edge | undefined) =>
      edge !== undefined && Query.compareValues(least, edge.value, kind) > (edge.inclusive ? 0 : -1)
    const isBetween = (value: Json) =>
      Query.compareValues(least, value, kind) <= 0 && Query.compareValues(most, value, kind) >= 0
    switch (bound._tag) {
      case "Equal":
        return isBetween(bound.value)
      case "OneOf":
        return bound.values.some(isBetween)
      case "Range":
        return !isBelow(bound.from) && !isAbove(bound.to)
      case "Prefix":
        return true
    }
  }

  /** Whether documents of a pack may be within all bounds, as far as it is known without reading them. */
  const mayMatch = (index: PackedObjects.Index, bounds: ReadonlyArray<Bound>): boolean =>
    bounds.every(
      (bound) =>
        bound.path.length !== 1 ||
        !index.statistics.has(bound.path[0]!) ||
        mayHave(index.statistics.get(bound.path[0]!), bound)
    )

  const hitOf = (
    key: string,
    size: number | undefined,
    copy: PackedObjects.Row | undefined,
    etag: string | undefined
  ): Hit | undefined => {
    const id = idOf(key)
    if (id === undefined) return undefined
    const isFlagged = size === Document.deletionBytes
    return { key, id, marker: undefined, isFlagged, object: objectOf(key, copy, etag) }
  }

  const objectOf = (key: string, copy: PackedObjects.Row | undefined, etag: string | undefined): Hit["object"] =>
    copy === undefined || etag === undefined ? undefined : { key, etag, size: copy.body.length, ...copy }

  /** The columns of a pack, and which of its rows have been listed and meet the conditions since they were last handed on. */
  interface Table {
    readonly values: Aggregation.Columns["values"]
    rows: Array<number>
  }

  type Found = { readonly row: PackedObjects.Row } | { readonly table: Table } | typeof passedOver

  /** What is found of each row of a pack: `undefined` where it is read by itself. */
  const copiesOf = <X>(
    index: PackedObjects.Index,
    foundOf: (row: number) => X | undefined
  ): PackedObjects.Copies<X> => ({
    index,
    find: (key, etag) => {
      const at = index.rowOf(key, etag)
      return at === undefined ? undefined : foundOf(at)
    }
  })

  const rowsOf = (index: PackedObjects.Index, rows: ReadonlyArray<PackedObjects.Row>) =>
    copiesOf(index, (at): Found | undefined => {
      const row = rows[at]
      return row === undefined ? undefined : { row }
    })

  const nothingOf = (index: PackedObjects.Index) => copiesOf<Found>(index, () => passedOver)

  const namesOf = (paths: ReadonlyArray<ReadonlyArray<string>>) => [...new Set(paths.map(([first = ""]) => first))]

  /** The columns of fields; `passedOver` where nothing in the pack can meet the conditions. `undefined`: columns do not tell. */
  const columnsIn = Effect.fnUntraced(function* (
    packed: PackedObjects.PackedObjects,
    pack: PackedObjects.Pack,
    index: PackedObjects.Index,
    names: ReadonlyArray<string>,
    { bounds }: Narrow
  ) {
    if (index.tag !== (yield* tag)) return undefined
    if (!mayMatch(index, bounds)) return passedOver
    // A field that no document of the pack has is no column of it.
    const present = [...new Set(names)].filter((column) => index.statistics.has(column))
    return Option.getOrUndefined(yield* packed.columns(pack, index, present))
  })

  /** Which rows meet the conditions, of which the fields alone are looked at that they are about. `undefined`: all do. */
  const metIn = (
    values: Aggregation.Columns["values"],
    rows: number,
    { matches, paths }: Narrow
  ): ReadonlyArray<boolean> | undefined => {
    const columns = namesOf(paths).flatMap((column) => {
      const all = values.get(column)
      return all === undefined ? [] : [{ column, all }]
    })
    if (paths.length === 0 && matches({})) return undefined
    return Array.from({ length: rows }, (_, row) => {
      const json: Record<string, Json> = {}
      for (const { all, column } of columns) {
        const value = all[row]
        if (value !== undefined) json[column] = value
      }
      return matches(json)
    })
  }

  const batches = (
    packed: PackedObjects.PackedObjects,
    load: (pack: PackedObjects.Pack) => Effect.Effect<PackedObjects.Copies<Found>, StoreError.StoreError>,
    bounded: Query.Bounded
  ) =>
    Stream.unwrap(Effect.map(staleness.notBefore(bounded), (notBefore) => packed.batches(load, { notBefore }))).pipe(
      Stream.map((listed): Seen => {
        const hits: Array<Hit> = []
        const tables = new Set<Table>()
        for (const { copy, entry } of listed) {
          if (copy === passedOver) continue
          if (copy !== undefined && "table" in copy) tables.add(copy.table)
          else {
            const hit = hitOf(entry.key, entry.size, copy?.row, entry.etag)
            if (hit !== undefined) hits.push(hit)
          }
        }
        const columns = Array.from(tables, (table) => {
          const { rows, values } = table
          table.rows = []
          return { rows, values }
        })
        return { hits, columns }
      })
    )

  return {
    copies,
    tag,
    columnsOf: (documents) => {
      const names = new Set(documents.flatMap((document) => Object.keys(document)))
      return [...names].map((column) => {
        const values = documents.map((document) => (Object.hasOwn(document, column) ? document[column] : undefined))
        return { name: column, values, statistics: edgesOf(values, column) }
      })
    },
    hits: (packed, options = {}) =>
      Stream.map(
        batches(
          packed,
          Effect.fnUntraced(function* (pack) {
            const { narrow } = options
            if (narrow === undefined) {
              const { index, rows } = yield* packed.whole(pack)
              return rowsOf(index, rows)
            }
            const index = yield* packed.index(pack, { withColumns: true })
            const values = yield* columnsIn(packed, pack, index, namesOf(narrow.paths), narrow)
            if (values === undefined) return rowsOf(index, yield* packed.rows(pack, index))
            if (values === passedOver) return nothingOf(index)
            const met = metIn(values, index.rows, narrow)
            if (met?.includes(true) === false) return nothingOf(index)
            const rows = yield* packed.rows(pack, index)
            return copiesOf(index, (at): Found | undefined => {
              const row = rows[at]
              return row === undefined ? undefined : met?.[at] === false ? passedOver : { row }
            })
          }),
          options
        ),
        ({ hits }) => hits
      ),
    attaching: (packed) =>
      Effect.map(
        packed.finding(
          Effect.fnUntraced(function* (pack): Effect.fn.Return<
            PackedObjects.Copies<PackedObjects.Row>,
            StoreError.StoreError
          > {
            const { index, rows } = yield* packed.whole(pack)
            return copiesOf(index, (at) => rows[at])
          })
        ),
        (find) => (hits) =>
          Effect.map(find(hits), (copies) =>
            hits.map((hit, i) => ({ ...hit, object: objectOf(hit.key, copies[i], hit.etag) }))
          )
      ),
    seen: (packed, asked, { maxStaleness, narrow }) =>
      batches(
        packed,
        Effect.fnUntraced(function* (pack) {
          const index = yield* packed.index(pack, { withColumns: true })
          const values = yield* columnsIn(packed, pack, index, namesOf([...asked, ...narrow.paths]), narrow)
          if (values === undefined) return rowsOf(index, yield* packed.rows(pack, index))
          if (values === passedOver) return nothingOf(index)
          const met = metIn(values, index.rows, narrow)
          const table: Table = { values, rows: [] }
          const copy: Found = { table }
          return copiesOf(index, (at): Found | undefined => {
            if (met?.[at] === false) return passedOver
            table.rows.push(at)
            return copy
          })
        }),
        { maxStaleness }
      )
  }
}
