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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Companion from "../Companion.ts"
import type { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { valueAt } from "../internal/json.ts"
import * as Plugin from "../Plugin.ts"
import type { ListError } from "../Repository.ts"
import * as Attribute from "../schema/Attribute.ts"
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
export type LayerError = InvalidGeo | Plugin.InvalidPlugin | DbError.DbError

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

export type { Box, Shape } from "./geo/shapes.ts"

/**
 * Returns the distance of two points on the sphere, in metres.
 *
 * @category getters
 * @since 0.1.0
 */
export const distance: (a: Attribute.Coordinates, b: Attribute.Coordinates) => number = Shapes.distance

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
    readonly limit?: number | undefined
  }) => Stream.Stream<Readonly<Record<string, unknown>>, ListError>
}

/**
 * A resource that is a service, as far as places go.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyResource {
  readonly key: string
  readonly definition: {
    readonly name: string
    readonly primaryKey: string
    readonly schema: { readonly Type: unknown }
  }
}

/**
 * The documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export type DocumentOf<R extends AnyResource> = R["definition"]["schema"]["Type"]

type SelfOf<R> = R extends Context.Key<infer Self, infer _> ? Self : never

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
export interface Options<R extends AnyResource> extends Plugin.Options {
  readonly resource: R
  /** The field with the point. */
  readonly field: PointField<DocumentOf<R>>
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
 * What is asked of `nearest`.
 *
 * @category models
 * @since 0.1.0
 */
export interface NearestRequest {
  readonly from: Attribute.Coordinates
  /** The most documents, from 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  /** The greatest distance, in metres. Default: the whole earth. */
  readonly radius?: number | undefined
  /** The cursor of the page before, which has to be about the same point. */
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
export interface Places<out A> {
  /**
   * The documents whose point is within a shape, in no order to rely on. A document that moves while the stream runs may be left out. `InvalidGeo`: the shape
   * cannot be; `DbError` with `Incomplete` until the index is built.
   */
  readonly within: (shape: Shapes.Shape) => Stream.Stream<A, FindError>

  /**
   * The nearest documents, those as far as each other by their ids. Rings around the point are looked at, each four times as wide as the one before, until there are as many as
   * are asked for: what is farther out is farther away. `maxCells` LIST for each of 10 rings at most, and 1 GET for each document given, more
   * only where some have gone meanwhile or may not be seen. The keys of a ring are in memory. `InvalidGeo`; `Incomplete` as of `within`.
   */
  readonly nearest: (request: NearestRequest) => Effect.Effect<NearestPage<A>, FindError>
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
  R extends AnyResource
> extends Context.ServiceClass<Self, Id, Places<DocumentOf<R>>> {
  /** The same reference each time, so that it is built once. */
  readonly layer: Layer.Layer<Self, LayerError, Database | SelfOf<R>>
}

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
  <const Id extends string, R extends AnyResource>(id: Id, options: Options<R>): ServiceClass<Self, Id, R> => {
    const service = Context.Service<Self, Places<DocumentOf<R>>>()(id)
    return Object.assign(service, { layer: Layer.effect(service, make<R>(options)) })
  }

interface Candidate {
  readonly id: string
  readonly point: Attribute.Coordinates
}

/** How many documents are read at once. */
const step = 100

/** The first ring, in metres, and how much wider each is than the one before. */
const firstRing = 1_000
const wider = 4

const Cursor = Schema.fromJsonString(Schema.Tuple([Schema.Finite, Schema.Finite, Schema.Finite, Schema.String]))

/**
 * Opens the places of a resource until the scope closes. No request beside those of `Plugin.open` and `Repository.addCompanion`.
 * `InvalidGeo`: an option is wrong; `DbError` with `InvalidArgument`: the field is not there, or secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Geo.make")(function* <R extends AnyResource>(
  options: Options<R>
): Effect.fn.Return<Places<DocumentOf<R>>, LayerError, Database | Scope.Scope | SelfOf<R>> {
  const { maxCells = 16, resource } = options
  const { name, primaryKey } = resource.definition
  const field: string = options.field
  const refuse = (problem: Shapes.Problem) => new InvalidGeo({ resource: name, ...problem })
  if (!Number.isSafeInteger(maxCells) || maxCells < 1 || maxCells > 1_000) {
    return yield* new InvalidGeo({
      resource: name,
      field: "maxCells",
      problem: "Expected a whole number from 1 to 1,000"
    })
  }
  // Its type is what the options say of it.
  const service = resource as unknown as Context.Key<SelfOf<R>, AnyRepository>
  const repository = yield* service
  const self = yield* Plugin.open(plugin, options)
  const index = nameOf(field)
  yield* repository.addCompanion(index, companions(field)[index]!)
  yield* self.running()

  /** The keys that lie in an area, by what they say themselves. */
  const candidates = (area: Shapes.Area): Stream.Stream<Candidate, ListError> =>
    Stream.fromIterable(Shapes.cover(area, maxCells)).pipe(
      Stream.flatMap(({ from, to }) => {
        const hits = (verify: boolean) => repository.companion(index, { from, to, verify })
        // Where some documents are hidden, each has to be looked at.
        return Stream.catchTag(hits(false), "NotAllowed", () => hits(true))
      }),
      Stream.map(({ id, key: [, latitude, longitude] }) => ({ id, point: { latitude, longitude } })),
      Stream.filter((one): one is Candidate => Shapes.isPoint(one.point) && area.has(one.point))
    )

  /** The documents of candidates that are where their keys say; asked by the field, so that nobody finds by what may not be asked for. */
  const read = (some: ReadonlyArray<Candidate>): Effect.Effect<ReadonlyArray<DocumentOf<R>>, ListError> => {
    const ids = some.map(({ id }) => id)
    const request = { where: { [primaryKey]: { in: ids }, [field]: { exists: true } } }
    return Effect.map(Stream.runCollect(repository.query(request)), (found) => {
      const byId = new Map(found.map((document) => [document[primaryKey], document]))
      return some.flatMap(({ id, point }) => {
        const document = byId.get(id)
        const at = document?.[field]
        const isThere = Shapes.isPoint(at) && at.latitude === point.latitude && at.longitude === point.longitude
        return isThere ? [document as DocumentOf<R>] : []
      })
    })
  }

  const within: Places<DocumentOf<R>>["within"] = (shape) => {
    const problem = Shapes.problemOf(shape)
    if (problem !== undefined) return Stream.fail(refuse(problem))
    const seen = new Set<string>()
    return Stream.suspend(() => {
      seen.clear()
      return candidates(Shapes.areaOf(shape)).pipe(
        Stream.grouped(step),
        Stream.mapEffect((some) =>
          Effect.map(read(some), (found) =>
            found.filter((document) => {
              // One that moves meanwhile is met at both of its places.
              const id = String((document as Readonly<Record<string, unknown>>)[primaryKey])
              return !seen.has(id) && seen.add(id)
            })
          )
        ),
        Stream.flattenIterable
      )
    })
  }

  const nearest: Places<DocumentOf<R>>["nearest"] = Effect.fn("Geo.nearest")(function* ({
    cursor,
    from,
    limit = 10,
    radius = Shapes.farthest
  }: NearestRequest) {
    const problem = Shapes.problemOfPoint(from, "from")
    if (problem !== undefined) return yield* refuse(problem)
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
    let after: readonly [distance: number, id: string] = [-1, ""]
    if (cursor !== undefined) {
      const wrong = new InvalidGeo({
        resource: name,
        field: "cursor",
        problem: "Expected the cursor of a page about the same point"
      })
      const [latitude, longitude, distance, id] = yield* Effect.mapError(
        Schema.decodeUnknownEffect(Cursor)(cursor),
        () => wrong
      )
      if (latitude !== from.latitude || longitude !== from.longitude) return yield* wrong
      after = [distance, id]
    }

    const items: Array<Near<DocumentOf<R>> & { readonly id: string }> = []
    const seen = new Set<string>()
    let inner = -1
    for (let ring = firstRing; ; ring *= wider) {
      const outer = Math.min(ring, radius)
      const isLast = outer === radius
      // A ring that ends before the last page did has nothing more.
      if (outer >= after[0] || isLast) {
        const area = Shapes.areaOf({ circle: { center: from, radius: outer } })
        const all = yield* Stream.runCollect(candidates(area))
        const next = all
          .map((one) => ({ ...one, distance: Shapes.distance(from, one.point) }))
          .filter(({ distance }) => distance > inner)
          .filter(({ distance, id }) => distance > after[0] || (distance === after[0] && id > after[1]))
          .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
        for (let at = 0; at < next.length && items.length < limit;) {
          const some = next.slice(at, at + Math.min(step, limit - items.length))
          at += some.length
          for (const document of yield* read(some)) {
            const { [primaryKey]: key, [field]: point } = document as Readonly<Record<string, unknown>>
            const id = String(key)
            if (seen.has(id)) continue
            seen.add(id)
            items.push({ id, document, distance: Shapes.distance(from, point as Attribute.Coordinates) })
          }
        }
        inner = outer
      }
      if (items.length >= limit || isLast) break
    }
    const last = items.length < limit ? undefined : items.at(-1)
    return {
      items: items.map(({ distance, document }) => ({ document, distance })),
      cursor: last && JSON.stringify([from.latitude, from.longitude, last.distance, last.id])
    }
  })

  return { within, nearest }
})
