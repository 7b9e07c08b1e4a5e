/** Distances on the ellipsoid WGS 84, by a package that is there if somebody has installed it. */
import * as Effect from "effect/Effect"
import * as Plugin from "../../../Plugin.ts"
import type { Coordinates } from "../../../schema/Attribute.ts"
import { earthRadius, type Measure } from "../shapes.ts"

/** Half axes, in metres. */
const equatorial = 6_378_137
const polar = 6_356_752.314_245

/**
 * Loads them. By the same latitudes and longitudes every path is as long on the ellipsoid as on the sphere, times a factor that lies between those of the least and the greatest radius
 * of curvature: so is the shortest path.
 */
export const load = (plugin: { readonly name: string }): Effect.Effect<Measure, Plugin.DependencyMissing> =>
  Effect.map(
    Plugin.dependency(plugin, {
      package: "geographiclib-geodesic",
      range: "^2.2.0",
      load: () => import("geographiclib-geodesic")
    }),
    ({ default: { Geodesic } }): Measure => ({
      distance: (a: Coordinates, b: Coordinates) => {
        const { latitude, longitude } = a
        const { s12 = Number.NaN } = Geodesic.WGS84.Inverse(
          latitude,
          longitude,
          b.latitude,
          b.longitude,
          Geodesic.DISTANCE
        )
        return s12
      },
      least: (polar * polar) / equatorial / earthRadius,
      greatest: (equatorial * equatorial) / polar / earthRadius
    })
  )
