/**
 * Documents by place: within a circle, a box or a polygon, and the nearest ones first.
 *
 * ```ts
 * import * as Geo from "effect-s3db/plugins/Geo"
 * import * as Resource from "effect-s3db/Resource"
 * import { Schema } from "effect"
 *
 * class Shops extends Resource.Service<Shops>()("app/shops", {
 *   schema: Schema.Struct({ id: Schema.String, at: Geo.Point }),
 *   primaryKey: "id",
 *   companions: Geo.companions("at")
 * }) {}
 *
 * class ShopsByPlace extends Geo.Service<ShopsByPlace>()("app/ShopsByPlace", { resource: Shops, field: "at" }) {}
 * ```
 *
 * **Details**
 *
 * The index is a companion: a key for each document, which begins with the cell that its point lies in and holds the point itself. The write protocol
 * keeps it, so that it is exact as soon as a write is acknowledged. A shape is covered by spans of cells, `maxCells` at most; these are listed, what lies outside of
 * the shape is left out by its key alone, and the others are read and asked again.
 *
 * Requests: 1 LIST for each span and each further 1,000 keys in it, and 1 GET for each document within the shape. A write is as with any
 * companion: 1 PUT more where the point is new.
 *
 * @see `docs/guide/geo.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Companion from "../Companion.ts"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { valueAt } from "../internal/json.ts"
import type { Stored } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import * as Cursor from "../query/cursor.ts"
import type * as Query from "../Query.ts"
import type { ListError } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attribute from "../schema/Attribute.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Ellipsoid from "./geo/internal/ellipsoid.ts"
import * as GeoJson from "./geo/internal/geoJson.ts"
import * as Geohash from "./geo/internal/geohash.ts"
import * as Listed from "./geo/listed.ts"
import * as Shapes from "./geo/shapes.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A field, an option, a point or a shape that cannot be. Nothing was read or written. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidGeo extends ExpectedError<InvalidGeo>("effect-s3db/plugins/Geo/InvalidGeo")(
  "InvalidGeo",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `places of ${JSON.stringify(this.resource)}, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidGeo | Plugin.DependencyMissing | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of finding documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type FindError = InvalidGeo | ListError

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

/**
 * The schema of a point, as `Attribute.Point` with six decimals: about 11 cm.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Point = Attribute.Point()

export type { Box, Position, Simple } from "./geo/shapes.ts"

/**
 * A part of the earth: a circle, a box, a polygon, or what is in `any` of some.
 *
 * @category models
 * @since 0.1.0
 */
export type Shape = Shapes.Shape

/**
 * The schema of a shape: for one that comes as JSON, from a browser or a file.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Shape: Schema.Codec<Shape> = GeoJson.shape

/**
 * Returns the distance of two points on the sphere, in metres. On the ellipsoid: `Places.distance`, where that is chosen.
 *
 * @category getters
 * @since 0.1.0
 */
export const distance: (a: Attribute.Coordinates, b: Attribute.Coordinates) => number = Shapes.distance

// -----------------------------------------------------------------------------
// Geohashes
// -----------------------------------------------------------------------------

/**
 * Returns the geohash of a point, of 1 to 12 characters, by default 9, which are 5 m. For a field of it name it in `computed` of the resource:
 * `computed: { hash: ({ at }) => Geo.geohash(at, 7) }`. The index needs none.
 *
 * @category getters
 * @since 0.1.0
 */
export const geohash = (point: Attribute.Coordinates, length = 9): string =>
  Geohash.encode(point, Math.min(Math.max(Math.trunc(length), 1), Geohash.longest))

/**
 * Returns the box of a geohash, for `within`, or `undefined` where a text is none.
 *
 * @category getters
 * @since 0.1.0
 */
export const boxOfGeohash: (hash: string) => Shapes.Box | undefined = Geohash.decode

// -----------------------------------------------------------------------------
// GeoJSON
// -----------------------------------------------------------------------------

/**
 * A point of GeoJSON. Altitudes are dropped.
 *
 * @category models
 * @since 0.1.0
 */
export type GeoJsonPoint = GeoJson.PointIn

/**
 * A polygon of GeoJSON, or several.
 *
 * @category models
 * @since 0.1.0
 */
export type GeoJsonArea = GeoJson.PolygonIn | GeoJson.MultiPolygonIn

/**
 * A feature, as programs have it: a place, or `null`, and what is said of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Feature<P> = GeoJson.Feature<P>

/**
 * A feature of GeoJSON whose geometry is a point.
 *
 * @category models
 * @since 0.1.0
 */
export type GeoJsonFeature<P> = GeoJson.FeatureIn<P>

/**
 * Features of GeoJSON.
 *
 * @category models
 * @since 0.1.0
 */
export type GeoJsonFeatureCollection<P> = GeoJson.CollectionIn<P>

/**
 * Coordinates from and to a point of GeoJSON.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PointFromGeoJson: Schema.Codec<Attribute.Coordinates, GeoJsonPoint> = GeoJson.point

/**
 * A shape from and to a `Polygon` or `MultiPolygon` of GeoJSON. Boxes become polygons, cut where they cross the antimeridian; a circle cannot be encoded.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ShapeFromGeoJson: Schema.Codec<Shape, GeoJsonArea> = GeoJson.area

/**
 * Creates a schema from and to a `Feature` of GeoJSON with such properties.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FeatureFromGeoJson: <A, I, RD = never, RE = never>(
  properties: Schema.Codec<A, I, RD, RE>
) => Schema.Codec<Feature<A>, GeoJsonFeature<I>, RD, RE> = GeoJson.feature

/**
 * Creates a schema from and to a `FeatureCollection` of GeoJSON whose features have such properties.
 *
 * ```ts
 * import * as Geo from "effect-s3db/plugins/Geo"
 * import { Schema } from "effect"
 *
 * const toGeoJson = Schema.encodeSync(Geo.FeaturesFromGeoJson(Schema.Struct({ name: Schema.String })))
 * const json = toGeoJson([{ id: "a", point: { latitude: 48.85, longitude: 2.35 }, properties: { name: "Paris" } }])
 * // => { type: "FeatureCollection", features: [{ type: "Feature", id: "a", geometry: { type: "Point", coordinates: [2.35, 48.85] }, ... }] }
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const FeaturesFromGeoJson: <A, I, RD = never, RE = never>(
  properties: Schema.Codec<A, I, RD, RE>
) => Schema.Codec<ReadonlyArray<Feature<A>>, GeoJsonFeatureCollection<I>, RD, RE> = GeoJson.featureCollection

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

const nameOf = (field: string): string => `geo.${field}`

/**
 * Returns the index of a field by its name, for the option `companions` of a resource: declared there it is ready with a new resource, and
 * every program that writes the resource keeps it. A value that is no point has no key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const companions = (field: string): Readonly<Record<string, Companion.Companion>> => ({
  [nameOf(field)]: Companion.make({
    fields: [field],
    keys: ({ json }) => {
      const point = valueAt(json, field.split("."))
      return Shapes.isPoint(point) ? [[Shapes.cellOf(point), point.latitude, point.longitude]] : []
    }
  })
})

interface Hit {
  readonly id: string
  readonly key: Companion.Suffix
}

/** What the index needs of a repository. */
interface AnyRepository {
  readonly addCompanion: (name: string, companion: Companion.Companion) => Effect.Effect<void, DbError.DbError>
  readonly companion: (name: string, request: Companion.Request) => Stream.Stream<Hit, ListError>
  readonly query: (request: {
    readonly where: Readonly<Record<string, unknown>>
    readonly predicate?: Query.Predicate | undefined
  }) => Stream.Stream<Readonly<Record<string, unknown>>, ListError>
}

/**
 * The names of the fields at the top of a document that are points.
 *
 * @category models
 * @since 0.1.0
 */
export type PointField<A> = {
  readonly [K in keyof A & string]-?: [NonNullable<A[K]>] extends [Attribute.Coordinates] ? K : never
}[keyof A & string]

/**
 * The options of an index of places.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R extends Resource.Any> extends Plugin.Options {
  readonly resource: R
  /** The field with the point. */
  readonly field: PointField<Resource.DocumentOf<R>>
  /**
   * On what distances are measured: a sphere with the mean radius of the earth, or the ellipsoid WGS 84, which GPS has, to some nanometres, by the package
   * `geographiclib-geodesic`. They differ by 0.6 % at most. Default `"sphere"`.
   */
  readonly earth?: "ellipsoid" | "sphere" | undefined
  /** The most spans of cells that cover a shape, and so its LIST requests as long as there are no more than 1,000 keys in one. Default 16. */
  readonly maxCells?: number | undefined
}

/**
 * A document, and how far it is from where one asked, in metres.
 *
 * @category models
 * @since 0.1.0
 */
export interface Near<out A> {
  readonly document: A
  readonly distance: number
}

/**
 * The conditions that documents have to meet beside their place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filters<R extends Resource.Any> {
  /** Conditions on fields, as those of `query`. What does not meet them is read, 1 GET each, and not given. */
  readonly where?: Query.Where<Query.Queryable<Stored<Resource.SchemaOf<R>>>> | undefined
  /** Conditions as data, such as `parseWhere` makes of untrusted JSON. */
  readonly predicate?: Query.Predicate | undefined
}

/**
 * What is asked of `nearest`.
 *
 * @category models
 * @since 0.1.0
 */
export interface NearestRequest<R extends Resource.Any> extends Filters<R> {
  readonly from: Attribute.Coordinates
  /** Only what is in this shape. Default: everything. */
  readonly within?: Shape | undefined
  /** The most documents, from 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  /** The greatest distance, in metres. Default: the whole earth. */
  readonly radius?: number | undefined
  /** The cursor of the page before, of the same request. */
  readonly cursor?: string | undefined
}

/**
 * A page of documents by distance. `cursor` is there when there may be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface NearestPage<out A> {
  readonly items: ReadonlyArray<Near<A>>
  readonly cursor: string | undefined
}

/**
 * The documents of a resource by place.
 *
 * @category services
 * @since 0.1.0
 */
export interface Places<R extends Resource.Any> {
  /** The name of the resource, and the field with the point. */
  readonly resource: string
  readonly field: string
  /**
   * The documents whose point is within a shape, in no order to rely on. A document that moves while the stream runs may be left out. `InvalidGeo`: the shape
   * cannot be; `DbError` with `Incomplete` until the index is built.
   */
  readonly within: (shape: Shape, filters?: Filters<R>) => Stream.Stream<Resource.DocumentOf<R>, FindError>

  /**
   * The nearest documents, those as far as each other by their ids. Rings around the point are looked at, each four times as wide as the one before, one of them as far as enough are known
   * of, until there are as many as are asked for: what is farther out is farther away. No cells are listed again but where that takes less requests than to leave them out. 4 LIST for each of
   * 10 rings at most where there are no more than 1,000 keys around the point, as far as these cells go; else `maxCells`, and 1 for each further 1,000 keys. 1 GET for each document given, more
   * only where some have gone meanwhile, do not meet the conditions, or may not be seen. The keys of all rings are in memory. `InvalidGeo`; `Incomplete` as of `within`.
   */
  readonly nearest: (request: NearestRequest<R>) => Effect.Effect<NearestPage<Resource.DocumentOf<R>>, FindError>

  /** Reads a shape of untrusted JSON. `InvalidGeo`: it is none. No request. */
  readonly parseShape: (json: unknown) => Effect.Effect<Shape, InvalidGeo>

  /** The distance of two points, in metres, as it is measured here. */
  readonly distance: (a: Attribute.Coordinates, b: Attribute.Coordinates) => number
}

/**
 * A class that is the service of places and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  R extends Resource.Any
> extends Plugin.ServiceClass<Self, Id, Places<R>, LayerError, Database | Resource.SelfOf<R>> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("geo", { version: 1 })

/**
 * Declares the places of a resource as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, R extends Resource.Any>(id: Id, options: Options<R>): ServiceClass<Self, Id, R> =>
    Plugin.service<Self>()(id, make<R>(options))

interface Candidate {
  readonly id: string
  readonly point: Attribute.Coordinates
}

interface Located<out A> {
  readonly document: A
}

interface Far {
  readonly id: string
  readonly distance: number
}

const byDistance = (a: Far, b: Far): number => a.distance - b.distance || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** How many documents are read at once, and how many spans are listed. */
const step = 100
const spansAtOnce = 4

/** So many spans are enough for a circle with cells that are larger than it. */
const fewCells = 4

/** The first ring, in metres, and how much wider each is than the one before. */
const firstRing = 1_000
const wider = 4

const Last = Schema.fromJsonString(Schema.Struct({ id: Schema.String, distance: Schema.Finite }))
const readFar = Schema.decodeUnknownEffect(Last)
const writeFar = Schema.encodeSync(Last)
const readShape = Schema.decodeUnknownEffect(Shape)

/**
 * Opens the places of a resource until the scope closes. No request beside those of `Plugin.open` and `Repository.addCompanion`.
 * `InvalidGeo`: an option is wrong, or the field is not there, or secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Geo.make")(function* <R extends Resource.Any>(
  options: Options<R>
): Effect.fn.Return<Places<R>, LayerError, Database | Scope.Scope | Resource.SelfOf<R>> {
  const { earth = "sphere", maxCells = 16, resource } = options
  const { attributes, name, primaryKey } = resource.definition
  const field: string = options.field
  const refuse = (problem: Shapes.Problem) => new InvalidGeo({ resource: name, ...problem })
  const hidden = Attributes.hiddenAt(attributes, [field])
  if (hidden !== undefined) {
    return yield* refuse({
      field: "field",
      problem: `Expected a field that can be shown, not one ${Attributes.describeHidden(hidden)}: points lie in keys in clear`
    })
  }
  if (!attributes.some(({ path }) => path[0] === field)) {
    return yield* refuse({ field: "field", problem: "Expected a field of the resource" })
  }
  if (!Number.isSafeInteger(maxCells) || maxCells < 1 || maxCells > 1_000) {
    return yield* new InvalidGeo({
      resource: name,
      field: "maxCells",
      problem: "Expected a whole number from 1 to 1,000"
    })
  }
  if (earth !== "sphere" && earth !== "ellipsoid") {
    return yield* new InvalidGeo({ resource: name, field: "earth", problem: "Expected sphere or ellipsoid" })
  }
  const measure = earth === "sphere" ? Shapes.sphere : yield* Ellipsoid.load(plugin)
  const repository: AnyRepository = yield* Resource.keyOf<R, AnyRepository>(resource)
  const self = yield* Plugin.open(plugin, options)
  const index = nameOf(field)
  yield* repository.addCompanion(index, companions(field)[index]!)
  yield* self.running()
  const cursors = Cursor.make(yield* (yield* Database).salt)

  /** The keys of a span of cells. Where some documents are hidden, each has to be looked at, and is `NotAllowed` without. */
  const hitsOf = ({ from, to }: Shapes.Span, verify: boolean) => repository.companion(index, { from, to, verify })
  const allOf = (span: Shapes.Span): Stream.Stream<Hit, ListError> =>
    Stream.catchTag(hitsOf(span, false), "NotAllowed", () => hitsOf(span, true))

  /** What a key says itself. */
  const candidateOf = ({ id, key: [, latitude, longitude] }: Hit): Candidate | undefined => {
    const point = { latitude, longitude }
    return Shapes.isPoint(point) ? { id, point } : undefined
  }

  /** The keys that lie in an area. */
  const candidates = (area: Shapes.Area): Stream.Stream<Candidate, ListError> =>
    Stream.fromIterable(Shapes.cover(area, maxCells)).pipe(
      Stream.flatMap(allOf),
      Stream.map(candidateOf),
      Stream.filter((one): one is Candidate => one !== undefined && area.has(one.point))
    )

  /** The documents of candidates that are where their keys say; asked by the field, so that nobody finds by what may not be asked for. */
  const read = <C extends Candidate>(
    some: ReadonlyArray<C>,
    { predicate, where }: Filters<R>
  ): Effect.Effect<ReadonlyArray<C & Located<Resource.DocumentOf<R>>>, ListError> => {
    const ids = some.map(({ id }) => id)
    const conditions = {
      [primaryKey]: { in: ids },
      [field]: { exists: true },
      ...(where === undefined ? {} : { $and: [where] })
    }
    return Effect.map(Stream.runCollect(repository.query({ where: conditions, predicate })), (found) => {
      const byId = new Map(found.map((document) => [document[primaryKey], document]))
      return some.flatMap((one) => {
        const document = byId.get(one.id)
        const at = document?.[field]
        const { latitude, longitude } = one.point
        const isThere = Shapes.isPoint(at) && at.latitude === latitude && at.longitude === longitude
        return isThere ? [{ ...one, document: document as Resource.DocumentOf<R> }] : []
      })
    })
  }

  const within: Places<R>["within"] = (shape, filters = {}) => {
    const problem = Shapes.problemOf(shape)
    if (problem !== undefined) return Stream.fail(refuse(problem))
    const seen = new Set<string>()
    return Stream.suspend(() => {
      seen.clear()
      return candidates(Shapes.areaOf(shape, measure)).pipe(
        Stream.grouped(step),
        Stream.mapEffect((some) => read(some, filters)),
        Stream.flattenIterable,
        // One that moves meanwhile is met at both of its places.
        Stream.filter(({ id }) => !seen.has(id) && seen.add(id).has(id)),
        Stream.map(({ document }) => document)
      )
    })
  }

  /** The candidates of a ring and their distances, the nearest first. What is exact takes its time, and is worked out for those alone that come. */
  const ranked = function* (from: Attribute.Coordinates, all: ReadonlyArray<Candidate>): Generator<Candidate & Far> {
    const rough = all
      .map((one) => ({ ...one, atLeast: Shapes.distance(from, one.point) * measure.least - Shapes.metres }))
      .sort((a, b) => a.atLeast - b.atLeast)
    let waiting: ReadonlyArray<Candidate & Far> = []
    for (let at = 0; at < rough.length || waiting.length > 0;) {
      const more = rough.slice(at, at + step)
      at += more.length
      const measured = more.map(({ id, point }) => ({ id, point, distance: measure.distance(from, point) }))
      const sorted = [...waiting, ...measured].sort(byDistance)
      const border = rough[at]?.atLeast ?? Infinity
      const end = sorted.findIndex(({ distance }) => distance >= border)
      yield* end < 0 ? sorted : sorted.slice(0, end)
      waiting = end < 0 ? [] : sorted.slice(end)
    }
  }

  const nearest: Places<R>["nearest"] = Effect.fn("Geo.nearest")(function* ({
    cursor,
    from,
    limit = 10,
    predicate,
    radius = Shapes.farthest,
    where,
    within: shape
  }: NearestRequest<R>) {
    const problem = Shapes.problemOfPoint(from, "from")
    if (problem !== undefined) return yield* refuse(problem)
    const wrong = shape === undefined ? undefined : Shapes.problemOf(shape)
    if (wrong !== undefined) return yield* refuse({ ...wrong, field: `within.${wrong.field}` })
    if (!(Number.isFinite(radius) && radius >= 0)) {
      return yield* new InvalidGeo({ resource: name, field: "radius", problem: "Expected a number of metres from 0" })
    }
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > 1_000) {
      return yield* new InvalidGeo({
        resource: name,
        field: "limit",
        problem: "Expected a whole number from 1 to 1,000"
      })
    }
    const identity = Cursor.identityOf([name, field, from.latitude, from.longitude, earth, shape, where, predicate])
    let after: Far = { id: "", distance: -1 }
    if (cursor !== undefined) {
      const wrong = new InvalidGeo({
        resource: name,
        field: "cursor",
        problem: "Expected the cursor of a page of the same request"
      })
      const text = typeof cursor === "string" ? yield* cursors.read(identity, cursor) : undefined
      if (text === undefined) return yield* wrong
      after = yield* Effect.mapError(readFar(text), () => wrong)
    }

    const items: Array<Near<Resource.DocumentOf<R>> & Far> = []
    const seen = new Set<string>()
    const only = shape === undefined ? undefined : Shapes.areaOf(shape, measure)
    const isAfter = (one: Far) => byDistance(one, after) > 0
    let spans: ReadonlyArray<Listed.Listed> = []
    /** What was listed and may not have been looked at yet, each once. */
    const known = new Map<string, Candidate>()
    const list = Effect.fnUntraced(function* (span: Shapes.Span, hits: Stream.Stream<Hit, ListError>) {
      let keys = 0
      yield* Stream.runForEach(hits, (hit) =>
        Effect.sync(() => {
          keys += 1
          const one = candidateOf(hit)
          if (one !== undefined && only?.has(one.point) !== false) known.set(`${hit.key.join()},${hit.id}`, one)
        })
      )
      return { ...span, keys }
    })
    const listAll = Effect.fnUntraced(function* (area: Shapes.Area) {
      const all = Listed.without(Shapes.cover(area, maxCells), spans)
      const more = yield* Effect.forEach(all, (span) => list(span, allOf(span)), { concurrency: spansAtOnce })
      spans = [...spans, ...more]
    })
    /** By cells that are larger than the area, each one page. `false`: there are more keys in one of them, or each document has to be looked at. */
    const listFew = Effect.fnUntraced(function* (area: Shapes.Area) {
      const all = Listed.without(Shapes.cover(area, Math.min(maxCells, fewCells)), spans)
      const more = yield* Effect.forEach(all, (span) => list(span, Stream.take(hitsOf(span, false), Listed.pageKeys)), {
        concurrency: spansAtOnce
      }).pipe(Effect.catchTag("NotAllowed", () => Effect.undefined))
      const whole = more?.filter(({ keys }) => keys < Listed.pageKeys)
      spans = [...spans, ...(whole ?? [])]
      return whole?.length === all.length
    })
    /** No more than this has to be looked at, if all that are known are given. */
    const enoughFrom = (inner: number): number => {
      const distances = [...known.values()].map(({ point }) => Shapes.distance(from, point))
      const ahead = distances.filter((one) => one * measure.least - Shapes.metres > Math.max(inner, after.distance))
      const farthest = ahead.sort((a, b) => a - b)[limit - items.length - 1]
      return farthest === undefined ? Infinity : farthest * measure.greatest + Shapes.metres
    }
    let inner = -1
    let isSparse = true
    let isBounded = false
    for (let ring = firstRing; ;) {
      // A ring that ends before the last page did has nothing more.
      while (ring < Math.min(after.distance, radius)) ring *= wider
      let outer = Math.min(ring, radius)
      const narrow = () => {
        const enough = isBounded ? Infinity : enoughFrom(inner)
        if (enough < outer) [outer, isBounded] = [enough, true]
        const circle = Shapes.areaOf({ circle: { center: from, radius: outer } }, measure)
        return { circle, area: only === undefined ? circle : Shapes.both(circle, only) }
      }
      let { area, circle } = narrow()
      isSparse &&= yield* listFew(area)
      if (!isSparse) {
        ;({ area, circle } = narrow())
        yield* listAll(area)
      }
      const within = [...known].filter(([, { point }]) => circle.has(point))
      for (const [key] of within) known.delete(key)
      const next = ranked(
        from,
        within.map(([, one]) => one)
      )
      for (let isEnd = false; !isEnd && items.length < limit;) {
        const some: Array<Candidate & Far> = []
        const wanted = Math.min(step, limit - items.length)
        while (some.length < wanted) {
          const { done, value } = next.next()
          isEnd = done === true
          if (value === undefined || isEnd) break
          if (value.distance > inner && isAfter(value)) some.push(value)
        }
        for (const { distance, document, id } of some.length === 0 ? [] : yield* read(some, { predicate, where })) {
          if (seen.has(id)) continue
          seen.add(id)
          items.push({ id, document, distance })
        }
      }
      inner = outer
      if (items.length >= limit || outer === radius) break
      if (outer === ring) ring *= wider
    }
    const last = items.length < limit ? undefined : items.at(-1)
    return {
      items: items.map(({ distance, document }) => ({ document, distance })),
      cursor: last && (yield* cursors.make(identity, writeFar({ id: last.id, distance: last.distance })))
    }
  })

  const parseShape: Places<R>["parseShape"] = (json) =>
    Effect.mapError(
      readShape(json),
      (error) => new InvalidGeo({ resource: name, field: "within", problem: error.message })
    )

  return { resource: name, field, within, nearest, parseShape, distance: measure.distance }
})
