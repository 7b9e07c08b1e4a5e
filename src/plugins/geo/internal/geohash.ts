/** Geohashes: places as text, of which each further character makes the box 32 times as small. */
import type { Coordinates } from "../../../schema/Attribute.ts"
import type { Box } from "../shapes.ts"

const alphabet = "0123456789bcdefghjkmnpqrstuvwxyz"

/** 12 characters are 37 mm by 19 mm. */
export const longest = 12

/** One character: five halvings, of the longitude and of the latitude in turn, which goes on from one character to the next. */
const bits = 5

/** The geohash of a point, with so many characters. */
export const encode = ({ latitude, longitude }: Coordinates, length: number): string => {
  let [south, north, west, east] = [-90, 90, -180, 180]
  // Both longitudes of the antimeridian are one.
  const x = longitude === 180 ? -180 : longitude
  let hash = ""
  let isLongitude = true
  for (let i = 0; i < length; i++) {
    let digit = 0
    for (let bit = 0; bit < bits; bit++) {
      const middle = isLongitude ? (west + east) / 2 : (south + north) / 2
      const isUpper = (isLongitude ? x : latitude) >= middle
      digit = digit * 2 + Number(isUpper)
      if (isLongitude) [west, east] = isUpper ? [middle, east] : [west, middle]
      else [south, north] = isUpper ? [middle, north] : [south, middle]
      isLongitude = !isLongitude
    }
    hash += alphabet[digit]
  }
  return hash
}

/** The box of a geohash; `undefined`: it is none. */
export const decode = (hash: string): Box | undefined => {
  if (typeof hash !== "string" || hash.length === 0 || hash.length > longest) return undefined
  let [south, north, west, east] = [-90, 90, -180, 180]
  let isLongitude = true
  for (const character of hash.toLowerCase()) {
    const digit = alphabet.indexOf(character)
    if (digit < 0) return undefined
    for (let bit = bits - 1; bit >= 0; bit--) {
      const isUpper = ((digit >> bit) & 1) === 1
      const middle = isLongitude ? (west + east) / 2 : (south + north) / 2
      if (isLongitude) [west, east] = isUpper ? [middle, east] : [west, middle]
      else [south, north] = isUpper ? [middle, north] : [south, middle]
      isLongitude = !isLongitude
    }
  }
  return { south, west, north, east }
}
