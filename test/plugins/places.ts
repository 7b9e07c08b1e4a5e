/** Points and shapes where maps go wrong, by a seed. */
import type { Coordinates } from "effect-s3db/schema/Attribute"
import type { Shape } from "effect-s3db/plugins/Geo"

/** Numbers from 0 to 1 by a seed: mulberry32. */
export const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const latitudes = [90, -90, 0, -0, 89.999999, -89.999999, 45, -45, 66.5, 1e-9, 22.5]
const longitudes = [180, -180, 0, -0, 179.999999, -179.999999, 90, -90, 1e-9, 45, 135]

/** A point that is anywhere, on an edge of cells, or beside one that was there before. */
export const pointsOf = (count: number, random: () => number): ReadonlyArray<Coordinates> => {
  const points: Array<Coordinates> = []
  const pick = <A>(all: ReadonlyArray<A>) => all[Math.floor(random() * all.length)]!
  for (let i = 0; i < count; i++) {
    const kind = random()
    const latitude = kind < 0.3 ? pick(latitudes) : random() * 180 - 90
    const longitude = kind > 0.2 && kind < 0.5 ? pick(longitudes) : random() * 360 - 180
    const before = points.length > 0 && kind > 0.8 ? pick(points) : undefined
    if (before === undefined) points.push({ latitude, longitude })
    else if (kind > 0.9) points.push(before)
    else {
      const near = before.latitude + (random() - 0.5) / 100
      points.push({ latitude: Math.min(90, Math.max(-90, near)), longitude: before.longitude })
    }
  }
  return points
}

/** Shapes around points, small and large, across the antimeridian and over poles. */
export const shapesOf = (count: number, random: () => number): ReadonlyArray<Shape> =>
  pointsOf(count, random).map((center, i) => {
    const { latitude, longitude } = center
    const size = 10 ** (random() * 4.5 - 3)
    const south = Math.max(-90, latitude - size)
    const north = Math.min(90, latitude + size)
    if (i % 3 === 0) return { circle: { center, radius: i % 5 === 0 ? 0 : size * 111_000 } }
    if (i % 3 === 1) {
      const half = Math.min(size, 179)
      const around = (value: number) => (value > 180 ? value - 360 : value < -180 ? value + 360 : value)
      return { box: { south, north, west: around(longitude - half), east: around(longitude + half) } }
    }
    const w = Math.min(size, 90)
    const mid = (south + north) / 2
    const hole: ReadonlyArray<readonly [number, number]> = [
      [longitude - w / 4, mid],
      [longitude, mid + (north - mid) / 4],
      [longitude + w / 4, mid],
      [longitude - w / 4, mid]
    ]
    const outline: ReadonlyArray<readonly [number, number]> = [
      [longitude - w, south],
      [longitude + w, south],
      [longitude + w / 3, mid],
      [longitude + w, north],
      [longitude - w, north],
      [longitude - w, south]
    ]
    return { polygon: i % 2 === 0 ? [outline] : [outline, hole] }
  })
