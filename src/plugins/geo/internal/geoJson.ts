/**
 * Places and shapes as GeoJSON (RFC 7946). What it may have beside, such as `bbox`, altitudes, and members of others, is not kept.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Attribute from "../../../schema/Attribute.ts"
import { type Box, type Position, problemOf, type Shape, type Simple } from "../shapes.ts"

// -----------------------------------------------------------------------------
// Ours
// -----------------------------------------------------------------------------

const Place = Schema.Tuple([Schema.Finite, Schema.Finite])
const Coordinates = Schema.Struct({ latitude: Schema.Finite, longitude: Schema.Finite })

const simple = [
  Schema.Struct({ circle: Schema.Struct({ center: Coordinates, radius: Schema.Finite }) }),
  Schema.Struct({
    box: Schema.Struct({ south: Schema.Finite, west: Schema.Finite, north: Schema.Finite, east: Schema.Finite })
  }),
  Schema.Struct({ polygon: Schema.Array(Schema.Array(Place)) })
] as const

const isRight = Schema.makeFilter((shape: Shape) => {
  const found = problemOf(shape)
  return found === undefined ? undefined : { path: found.field.split("."), issue: found.problem }
})

/** Shapes as data. */
export const shape: Schema.Codec<Shape> = Schema.Union([
  ...simple,
  Schema.Struct({ any: Schema.Array(Schema.Union(simple)) })
]).check(isRight)

// -----------------------------------------------------------------------------
// Geometries
// -----------------------------------------------------------------------------

/** What follows is an altitude. */
const PositionIn = Schema.TupleWithRest(Place, [Schema.Finite])

export interface PointIn {
  readonly type: "Point"
  readonly coordinates: readonly [longitude: number, latitude: number, ...more: ReadonlyArray<number>]
}

const PointIn: Schema.Codec<PointIn> = Schema.Struct({ type: Schema.Literal("Point"), coordinates: PositionIn })

const placeOf = ({ coordinates: [longitude, latitude] }: PointIn): Attribute.Coordinates => ({ latitude, longitude })

const pointOf = ({ latitude, longitude }: Attribute.Coordinates): PointIn => ({
  type: "Point",
  coordinates: [longitude, latitude]
})

export const point: Schema.Codec<Attribute.Coordinates, PointIn> = PointIn.pipe(
  Schema.decodeTo(Attribute.Point(), SchemaTransformation.transform({ decode: placeOf, encode: pointOf }))
)

type RingIn = ReadonlyArray<PointIn["coordinates"]>

export interface PolygonIn {
  readonly type: "Polygon"
  readonly coordinates: ReadonlyArray<RingIn>
}

export interface MultiPolygonIn {
  readonly type: "MultiPolygon"
  readonly coordinates: ReadonlyArray<ReadonlyArray<RingIn>>
}

const Rings = Schema.Array(Schema.Array(PositionIn))

const AreaIn: Schema.Codec<PolygonIn | MultiPolygonIn> = Schema.Union([
  Schema.Struct({ type: Schema.Literal("Polygon"), coordinates: Rings }),
  Schema.Struct({ type: Schema.Literal("MultiPolygon"), coordinates: Schema.Array(Rings) })
])

type Polygon = ReadonlyArray<ReadonlyArray<Position>>

const polygonIn = (rings: ReadonlyArray<RingIn>): Polygon =>
  rings.map((ring) => ring.map(([longitude, latitude]) => [longitude, latitude] as const))

const shapeOf = (area: PolygonIn | MultiPolygonIn): Shape =>
  area.type === "Polygon"
    ? { polygon: polygonIn(area.coordinates) }
    : { any: area.coordinates.map((one) => ({ polygon: polygonIn(one) })) }

/** Twice the area on the map, above 0 where the ring goes round against the clock. */
const turning = (ring: ReadonlyArray<Position>): number =>
  ring.slice(1).reduce((sum, [x, y], i) => sum + (ring[i]![0] * y - x * ring[i]![1]), 0)

/** Outlines go against the clock, and holes by it. */
const turned = (rings: Polygon): Polygon =>
  rings.map((ring, i) => (turning(ring) < 0 === (i === 0) ? ring.toReversed() : ring))

const ringOf = ({ north, south }: Box, west: number, east: number): Polygon => [
  [
    [west, south],
    [east, south],
    [east, north],
    [west, north],
    [west, south]
  ]
]

/** One that crosses the antimeridian is cut there. */
const polygonsOf = (one: Simple): ReadonlyArray<Polygon> | undefined => {
  if ("circle" in one) return undefined
  if ("polygon" in one) return [turned(one.polygon)]
  const { east, west } = one.box
  if (west <= east) return [ringOf(one.box, west, east)]
  return [
    ...(west === 180 ? [] : [ringOf(one.box, west, 180)]),
    ...(east === -180 ? [] : [ringOf(one.box, -180, east)])
  ]
}

const areaOf = (given: Shape): PolygonIn | MultiPolygonIn | undefined => {
  const found = ("any" in given ? given.any : [given]).map(polygonsOf)
  if (found.includes(undefined)) return undefined
  const all = found.flatMap((one) => one ?? [])
  return all.length === 1 && !("any" in given)
    ? { type: "Polygon", coordinates: all[0]! }
    : { type: "MultiPolygon", coordinates: all }
}

export const area: Schema.Codec<Shape, PolygonIn | MultiPolygonIn> = AreaIn.pipe(
  Schema.decodeTo(shape, {
    decode: SchemaGetter.transform(shapeOf),
    encode: SchemaGetter.transformEffect((given: Shape) => {
      const found = areaOf(given)
      return found === undefined
        ? Effect.fail(new SchemaIssue.InvalidValue({ message: "Expected no circle, which GeoJSON does not have" }))
        : Effect.succeed(found)
    })
  })
)

// -----------------------------------------------------------------------------
// Features
// -----------------------------------------------------------------------------

export interface Feature<out P> {
  readonly id?: string
  /** `null` where it has no place. */
  readonly point: Attribute.Coordinates | null
  readonly properties: P
}

export interface FeatureIn<out P> {
  readonly type: "Feature"
  readonly id?: string | number
  readonly geometry: PointIn | null
  readonly properties: P
}

export interface CollectionIn<out P> {
  readonly type: "FeatureCollection"
  readonly features: ReadonlyArray<FeatureIn<P>>
}

export const feature = <A, I, RD, RE>(
  properties: Schema.Codec<A, I, RD, RE>
): Schema.Codec<Feature<A>, FeatureIn<I>, RD, RE> =>
  Schema.Struct({
    type: Schema.Literal("Feature"),
    id: Schema.optionalKey(Schema.Union([Schema.String, Schema.Finite])),
    geometry: Schema.NullOr(PointIn),
    properties
  }).pipe(
    Schema.decodeTo(
      Schema.Struct({
        id: Schema.optionalKey(Schema.String),
        point: Schema.NullOr(Attribute.Point()),
        properties: Schema.toType(properties)
      }),
      SchemaTransformation.transform({
        decode: ({ geometry, id, properties }) => ({
          ...(id === undefined ? {} : { id: String(id) }),
          point: geometry === null ? null : placeOf(geometry),
          properties
        }),
        encode: ({ id, point, properties }) => ({
          type: "Feature" as const,
          ...(id === undefined ? {} : { id }),
          geometry: point === null ? null : pointOf(point),
          properties
        })
      })
    )
  )

export const featureCollection = <A, I, RD, RE>(
  properties: Schema.Codec<A, I, RD, RE>
): Schema.Codec<ReadonlyArray<Feature<A>>, CollectionIn<I>, RD, RE> => {
  const one = feature(properties)
  return Schema.Struct({ type: Schema.Literal("FeatureCollection"), features: Schema.Array(one) }).pipe(
    Schema.decodeTo(
      Schema.Array(Schema.toType(one)),
      SchemaTransformation.transform({
        decode: ({ features }) => features,
        encode: (features) => ({ type: "FeatureCollection" as const, features })
      })
    )
  )
}
