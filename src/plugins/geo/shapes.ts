/**
 * Points and shapes on earth, and the cells of a companion that cover them. No I/O.
 *
 * **Details**
 *
 * The map of latitudes and longitudes is cut into four, and each part into four again, 26 times. A point's cell is the text of 26
 * digits that say which part it lies in, so that all points of a larger cell lie beside each other in the order of these texts. A shape is covered by the cells
 * that it may touch; whether a cell is touched is asked with a margin that is wider than what numbers are rounded by, so that no point within a shape is outside
 * of its cover. What is in the cover and not in the shape is told by the point itself.
 *
 * @since 0.1.0
 */
import { orient2d } from "robust-predicates"
import { isRecord } from "../../internal/json.ts"
import type { Coordinates } from "../../schema/Attribute.ts"

/**
 * The radius of the sphere on which distances are measured, in metres: the mean radius of the earth (IUGG).
 *
 * @category constants
 * @since 0.1.0
 */
export const earthRadius = 6_371_008.8

/**
 * No two points are farther from each other, in metres, with a metre for rounding.
 *
 * @category constants
 * @since 0.1.0
 */
export const farthest = Math.PI * earthRadius + 1

/**
 * A place as GeoJSON has it.
 *
 * @category models
 * @since 0.1.0
 */
export type Position = readonly [longitude: number, latitude: number]

/**
 * A part of the earth that is one: see `Shape`.
 *
 * @category models
 * @since 0.1.0
 */
export type Simple =
  | { readonly circle: { readonly center: Coordinates; readonly radius: number } }
  | { readonly box: Box }
  | { readonly polygon: ReadonlyArray<ReadonlyArray<Position>> }

/**
 * A part of the earth: everything within a distance of a point, in metres; between two latitudes and from one longitude eastward to another;
 * or a polygon as GeoJSON has it: rings of positions, edges straight on the map, holes after the outline. One that crosses the antimeridian goes on
 * beyond 180 or -180. Or what is in `any` of some, 100 at most. What is on the boundary is within.
 *
 * @category models
 * @since 0.1.0
 */
export type Shape = Simple | { readonly any: ReadonlyArray<Simple> }

/**
 * From `west` eastward to `east`, across the antimeridian where `west` is the greater one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Box {
  readonly south: number
  readonly west: number
  readonly north: number
  readonly east: number
}

/**
 * What is wrong with a shape or a point.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly field: string
  readonly problem: string
}

const isWithin = (value: unknown, most: number): value is number =>
  typeof value === "number" && value >= -most && value <= most

/**
 * Tells whether a value is a point: a latitude from -90 to 90, and a longitude from -180 to 180.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPoint = (value: unknown): value is Coordinates =>
  typeof value === "object" &&
  value !== null &&
  "latitude" in value &&
  "longitude" in value &&
  isWithin(value.latitude, 90) &&
  isWithin(value.longitude, 180)

/**
 * Returns what is wrong with a point, if anything; `at` is where it was given.
 *
 * @category getters
 * @since 0.1.0
 */
export const problemOfPoint = (point: Coordinates, at: string): Problem | undefined =>
  !isRecord(point)
    ? { field: at, problem: "Expected a latitude and a longitude" }
    : !isWithin(point.latitude, 90)
      ? { field: `${at}.latitude`, problem: "Expected a latitude from -90 to 90" }
      : !isWithin(point.longitude, 180)
        ? { field: `${at}.longitude`, problem: "Expected a longitude from -180 to 180" }
        : undefined

/**
 * Returns what is wrong with a shape, if anything.
 *
 * @category getters
 * @since 0.1.0
 */
export const problemOf = (shape: Shape): Problem | undefined => {
  if (!isRecord(shape) || !("any" in shape)) return problemOfSimple(shape)
  const { any, ...others } = shape
  if (kindsOf(others).length > 0) return { field: "any", problem: "Expected nothing beside any" }
  if (!Array.isArray(any) || any.length === 0 || any.length > mostShapes) {
    return { field: "any", problem: `Expected 1 to ${mostShapes} shapes` }
  }
  for (const [i, one] of any.entries()) {
    const found = problemOfSimple(one)
    if (found !== undefined) return { ...found, field: `any.${i}.${found.field}` }
  }
  return undefined
}

const mostShapes = 100

const kindsOf = (shape: object): ReadonlyArray<string> =>
  isRecord(shape) ? ["circle", "box", "polygon"].filter((kind) => kind in shape) : []

const problemOfSimple = (shape: Simple): Problem | undefined => {
  const kinds = kindsOf(shape)
  if (kinds.length !== 1) return { field: kinds[1] ?? "shape", problem: "Expected a circle, a box or a polygon" }
  if ("circle" in shape) {
    if (!isRecord(shape.circle)) return { field: "circle", problem: "Expected a center and a radius" }
    const { center, radius } = shape.circle
    if (!(Number.isFinite(radius) && radius >= 0)) {
      return { field: "circle.radius", problem: "Expected a number of metres from 0" }
    }
    return problemOfPoint(center, "circle.center")
  }
  if ("box" in shape) {
    if (!isRecord(shape.box)) return { field: "box", problem: "Expected south, west, north and east" }
    const { east, north, south, west } = shape.box
    for (const [field, value, most] of [
      ["south", south, 90],
      ["north", north, 90],
      ["west", west, 180],
      ["east", east, 180]
    ] as const) {
      if (!isWithin(value, most))
        return { field: `box.${field}`, problem: `Expected a number from -${most} to ${most}` }
    }
    return south > north ? { field: "box.south", problem: "Expected it not to be north of north" } : undefined
  }
  if (!Array.isArray(shape.polygon) || shape.polygon.length === 0) {
    return { field: "polygon", problem: "Expected a ring, one at least" }
  }
  for (const [i, ring] of shape.polygon.entries()) {
    const [first, last] = Array.isArray(ring) ? [ring[0], ring.at(-1)] : []
    if (!Array.isArray(ring) || ring.length < 4 || first?.[0] !== last?.[0] || first?.[1] !== last?.[1]) {
      return { field: `polygon.${i}`, problem: "Expected four positions or more, of which the last is the first" }
    }
    for (const [j, position] of ring.entries()) {
      if (!Array.isArray(position)) {
        return { field: `polygon.${i}.${j}`, problem: "Expected a longitude and a latitude" }
      }
      const [longitude, latitude] = position
      if (!isWithin(longitude, 540)) {
        return { field: `polygon.${i}.${j}.0`, problem: "Expected a longitude, from -540 to 540" }
      }
      if (!isWithin(latitude, 90)) {
        return { field: `polygon.${i}.${j}.1`, problem: "Expected a latitude from -90 to 90" }
      }
    }
  }
  const rings: ReadonlyArray<ReadonlyArray<readonly [number, number]>> = shape.polygon
  const all = rings.flatMap((ring) => ring.map(([longitude]) => longitude))
  if (all.reduce((a, b) => Math.max(a, b)) - all.reduce((a, b) => Math.min(a, b)) > 360) {
    return { field: "polygon", problem: "Expected it not to go around the earth more than once" }
  }
  return undefined
}

// -----------------------------------------------------------------------------
// Distances
// -----------------------------------------------------------------------------

const radians = Math.PI / 180

/**
 * Returns the distance of two points on the sphere, in metres: the haversine formula.
 *
 * @category getters
 * @since 0.1.0
 */
export const distance = (a: Coordinates, b: Coordinates): number => {
  const north = Math.sin(((b.latitude - a.latitude) * radians) / 2)
  const east = Math.sin(((b.longitude - a.longitude) * radians) / 2)
  const h = north * north + Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * east * east
  return 2 * earthRadius * Math.asin(Math.sqrt(Math.min(1, h)))
}

/**
 * How distances are measured: between `least` and `greatest` times the distance on the sphere, whatever the points.
 *
 * @category models
 * @since 0.1.0
 */
export interface Measure {
  readonly distance: (a: Coordinates, b: Coordinates) => number
  readonly least: number
  readonly greatest: number
}

/**
 * On the sphere.
 *
 * @category constants
 * @since 0.1.0
 */
export const sphere: Measure = { distance, least: 1, greatest: 1 }

// -----------------------------------------------------------------------------
// Shapes
// -----------------------------------------------------------------------------

interface Rectangle {
  readonly south: number
  readonly north: number
  readonly west: number
  readonly east: number
}

/** What a cell has to do with a shape: nothing for sure; it lies in it, as far as its corners tell; or neither. */
type Touch = "outside" | "inside" | "crossing"

/**
 * A shape, ready to be asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Area {
  readonly has: (point: Coordinates) => boolean
  readonly touch: (cell: Rectangle) => Touch
}

/** Both longitudes of the antimeridian are one. */
const wrapped = (longitude: number): number => (longitude === 180 ? -180 : longitude)

/**
 * Metres: more than a distance is rounded by, which near the other side of the earth is a tenth.
 *
 * @category constants
 * @since 0.1.0
 */
export const metres = 1

/** Degrees: more than a coordinate is rounded by. */
const degrees = 1e-9

/** The least distance of a point to a rectangle, without the margin: on its own meridian, or on the nearer ones of the sides. */
const leastDistance = (center: Coordinates, { east, north, south, west }: Rectangle): number => {
  const longitude = wrapped(center.longitude)
  if (longitude >= west && longitude <= east) {
    const latitude = Math.min(Math.max(center.latitude, south), north)
    return Math.abs(latitude - center.latitude) * radians * earthRadius
  }
  let least = Number.POSITIVE_INFINITY
  for (const side of [west, east]) {
    // Along a meridian the cosine of the distance is a sine of the latitude: greatest at one, and from there ever less.
    const apart = Math.cos((side - longitude) * radians)
    const phi = center.latitude * radians
    const nearest = Math.atan2(Math.sin(phi), Math.cos(phi) * apart) / radians
    for (const latitude of [south, north, Math.min(Math.max(nearest, south), north)]) {
      least = Math.min(least, distance(center, { latitude, longitude: side }))
    }
  }
  return least
}

const circle = (center: Coordinates, radius: number, measure: Measure): Area => ({
  has: (point) => {
    // The sphere is quick, and tells unless it is close.
    const about = distance(center, point)
    if (about * measure.least > radius + metres) return false
    return about * measure.greatest + metres <= radius || measure.distance(center, point) <= radius
  },
  touch: (cell) => {
    if (leastDistance(center, cell) * measure.least > radius + metres) return "outside"
    const corners = [cell.south, cell.north].flatMap((latitude) =>
      [cell.west, cell.east].map((longitude) => distance(center, { latitude, longitude }))
    )
    return corners.every((far) => far * measure.greatest <= radius) ? "inside" : "crossing"
  }
})

/** What is in one of them. */
const anyOf = (areas: ReadonlyArray<Area>): Area => ({
  has: (point) => areas.some((one) => one.has(point)),
  touch: (cell) => {
    let found: Touch = "outside"
    for (const { touch } of areas) {
      const touched = touch(cell)
      if (touched === "inside") return touched
      if (touched === "crossing") found = touched
    }
    return found
  }
})

/**
 * Returns what two areas have in common.
 *
 * @category combinators
 * @since 0.1.0
 */
export const both = (a: Area, b: Area): Area => ({
  has: (point) => a.has(point) && b.has(point),
  touch: (cell) => {
    const touched = a.touch(cell)
    if (touched === "outside") return touched
    const other = b.touch(cell)
    return touched === "inside" ? other : other === "outside" ? other : touched
  }
})

const box = ({ east, north, south, west }: Box): Area => {
  const spans: ReadonlyArray<readonly [number, number]> =
    west <= east
      ? [[west, east]]
      : [
          [west, 180],
          [-180, east]
        ]
  // The antimeridian is at both ends of the map, and cells have it at the western one.
  const all = spans.some(([, to]) => to === 180) ? [...spans, [-180, -180] as const] : spans
  return {
    has: ({ latitude, longitude }) =>
      latitude >= south &&
      latitude <= north &&
      all.some(([from, to]) => wrapped(longitude) >= from && wrapped(longitude) <= to),
    touch: (cell) => {
      if (cell.north < south - degrees || cell.south > north + degrees) return "outside"
      if (!all.some(([from, to]) => cell.east >= from - degrees && cell.west <= to + degrees)) return "outside"
      const isInside = all.some(([from, to]) => cell.west >= from && cell.east <= to)
      return isInside && cell.south >= south && cell.north <= north ? "inside" : "crossing"
    }
  }
}

type Edge = readonly [x1: number, y1: number, x2: number, y2: number]

/** Which side of an edge a point is on: its sign is that of the exact result, whatever is rounded. */
const sideOf = ([x1, y1, x2, y2]: Edge, x: number, y: number): number => -orient2d(x1, y1, x2, y2, x, y)

/** The edges of a ring, straight on the map as GeoJSON has them. */
const edgesOf = (ring: ReadonlyArray<readonly [number, number]>): ReadonlyArray<Edge> =>
  ring.slice(1).map(([x2, y2], i) => [ring[i]![0], ring[i]![1], x2, y2])

const polygon = (rings: ReadonlyArray<ReadonlyArray<readonly [number, number]>>): Area => {
  const edges = rings.flatMap(edgesOf)
  const xs = edges.map(([x]) => x)
  const [from, to] = [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))]
  /** How often the earth is gone around to come to where the polygon lies. */
  const turns: Array<number> = []
  for (let turn = -720; turn <= 720; turn += 360) {
    if (180 + turn >= from - degrees && -180 + turn <= to + degrees) turns.push(turn)
  }
  const hasAt = (x: number, y: number): boolean => {
    let isIn = false
    for (const edge of edges) {
      const [x1, y1, x2, y2] = edge
      const side = sideOf(edge, x, y)
      const isBeside = x >= Math.min(x1, x2) && x <= Math.max(x1, x2) && y >= Math.min(y1, y2) && y <= Math.max(y1, y2)
      if (side === 0 && isBeside) return true
      if (y1 > y !== y2 > y && side > 0 === y2 > y1) isIn = !isIn
    }
    return isIn
  }
  const crosses = (edge: Edge, cell: Rectangle, turn: number): boolean => {
    const [x1, y1, x2, y2] = edge
    const [west, east] = [cell.west + turn - degrees, cell.east + turn + degrees]
    const [south, north] = [cell.south - degrees, cell.north + degrees]
    if (Math.max(x1, x2) < west || Math.min(x1, x2) > east) return false
    if (Math.max(y1, y2) < south || Math.min(y1, y2) > north) return false
    const sides = [south, north].flatMap((y) => [sideOf(edge, west, y), sideOf(edge, east, y)])
    // Products of degrees are rounded by less than 1e-10.
    return !(sides.every((side) => side > degrees) || sides.every((side) => side < -degrees))
  }
  const has = (longitude: number, latitude: number) => turns.some((turn) => hasAt(longitude + turn, latitude))
  return {
    has: ({ latitude, longitude }) => has(wrapped(longitude), latitude),
    touch: (cell) => {
      if (turns.some((turn) => edges.some((edge) => crosses(edge, cell, turn)))) return "crossing"
      return has((cell.west + cell.east) / 2, (cell.south + cell.north) / 2) ? "inside" : "outside"
    }
  }
}

/**
 * Makes a shape ready to be asked. It has to be right: see `problemOf`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const areaOf = (shape: Shape, measure: Measure = sphere): Area =>
  "any" in shape
    ? anyOf(shape.any.map((one) => areaOf(one, measure)))
    : "circle" in shape
      ? circle(shape.circle.center, shape.circle.radius, measure)
      : "box" in shape
        ? box(shape.box)
        : polygon(shape.polygon)

// -----------------------------------------------------------------------------
// Cells
// -----------------------------------------------------------------------------

/** How often the map is cut into four: the smallest cells are half a metre wide. */
const levels = 26

/**
 * Returns the cell of a point: 26 digits from 0 to 3.
 *
 * @category getters
 * @since 0.1.0
 */
export const cellOf = ({ latitude, longitude }: Coordinates): string => {
  const size = 2 ** levels
  const indexOf = (part: number) => Math.min(Math.max(Math.floor(part * size), 0), size - 1)
  const x = indexOf((wrapped(longitude) + 180) / 360)
  const y = indexOf((latitude + 90) / 180)
  let cell = ""
  for (let bit = levels - 1; bit >= 0; bit--) cell += String(((y >>> bit) & 1) * 2 + ((x >>> bit) & 1))
  return cell
}

/**
 * Cells from one to another, inclusive.
 *
 * @category models
 * @since 0.1.0
 */
export interface Span {
  readonly from: string
  readonly to: string
}

interface Cell extends Rectangle {
  readonly name: string
  readonly touch: Touch
}

/** More are not looked at on one level. */
const mostLookedAt = 4_096

const partsOf = ({ east, name, north, south, west }: Cell, area: Area): ReadonlyArray<Cell> => {
  const [x, y] = [(west + east) / 2, (south + north) / 2]
  return [
    { name: `${name}0`, south, north: y, west, east: x },
    { name: `${name}1`, south, north: y, west: x, east },
    { name: `${name}2`, south: y, north, west, east: x },
    { name: `${name}3`, south: y, north, west: x, east }
  ].flatMap((part) => {
    const touch = area.touch(part)
    return touch === "outside" ? [] : [{ ...part, touch }]
  })
}

/**
 * Returns the number after that of a cell, as text of the same length.
 *
 * @category getters
 * @since 0.1.0
 */
export const after = (name: string): string => {
  const kept = name.replace(/3+$/, "")
  return kept === "" ? "" : (kept.slice(0, -1) + String(Number(kept.at(-1)) + 1)).padEnd(name.length, "0")
}

/** Cells that lie beside each other are one span. */
const spansOf = (cells: ReadonlyArray<Cell>): ReadonlyArray<Span> => {
  const spans: Array<Span> = []
  for (const { name } of cells) {
    const [from, to] = [name.padEnd(levels, "0"), name.padEnd(levels, "3")]
    const last = spans.at(-1)
    if (last !== undefined && after(last.to) === from) spans[spans.length - 1] = { from: last.from, to }
    else spans.push({ from, to })
  }
  return spans
}

/**
 * Covers an area by so many spans of cells at most, in their order: every point of the area has its cell in one of them.
 *
 * @category getters
 * @since 0.1.0
 */
export const cover = (area: Area, most: number): ReadonlyArray<Span> => {
  let cells: ReadonlyArray<Cell> = [{ name: "", south: -90, north: 90, west: -180, east: 180, touch: "crossing" }]
  let spans = spansOf(cells)
  for (let level = 0; level < levels; level++) {
    const smaller = cells.flatMap((cell) => (cell.touch === "inside" ? [cell] : partsOf(cell, area)))
    const next = spansOf(smaller)
    if (next.length > most || smaller.length > mostLookedAt) return spans
    cells = smaller
    spans = next
  }
  return spans
}
