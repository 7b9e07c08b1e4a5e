import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Geo from "effect-s3db/plugins/Geo"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as Ellipsoid from "../../src/plugins/geo/internal/ellipsoid.ts"
import * as Listed from "../../src/plugins/geo/listed.ts"
import * as Shapes from "../../src/plugins/geo/shapes.ts"
import { crashing, memory, openOn } from "../fixture.ts"
import { pointsOf, randomOf, shapesOf } from "./places.ts"

class Shops extends Resource.Service<Shops>()("effect-s3db/test/plugins/Geo.test/Shops", {
  schema: Schema.Struct({
    id: Schema.String,
    owner: Schema.optionalKey(Schema.String),
    at: Schema.optionalKey(Schema.Struct({ latitude: Schema.Finite, longitude: Schema.Finite }))
  }),
  primaryKey: "id",
  name: "shops",
  companions: Geo.companions("at")
}) {}

type Store = Effect.Success<typeof memory>

const openShops = Effect.fnUntraced(function* (store: Store, maxCells?: number, earth?: "ellipsoid") {
  const { database } = yield* openOn(store)
  const shops = yield* Effect.provideService(Resource.make(Shops.definition), Database, database)
  const places = yield* Geo.make({ resource: Shops, field: "at", maxCells, earth }).pipe(
    Effect.provideService(Shops, shops),
    Effect.provideService(Database, database)
  )
  return { database, places, shops }
})

const idsOf = <A extends { readonly id: string }, E>(stream: Stream.Stream<A, E>) =>
  Effect.map(Stream.runCollect(stream), (all) => all.map(({ id }) => id).toSorted())

const paris = { latitude: 48.8566, longitude: 2.3522 }

describe("shapes", () => {
  it("every point within a shape has its cell in its cover, which has no more spans than it may", () => {
    const random = randomOf(1)
    const points = pointsOf(10_000, random)
    const cells = points.map(Shapes.cellOf)
    let found = 0
    for (const shape of shapesOf(100, random)) {
      assert.isUndefined(Shapes.problemOf(shape), JSON.stringify(shape))
      const area = Shapes.areaOf(shape)
      for (const most of [1, 4, 16]) {
        const spans = Shapes.cover(area, most)
        assert.isAtMost(spans.length, most)
        for (const [i, point] of points.entries()) {
          if (!area.has(point)) continue
          found += 1
          const isCovered = spans.some(({ from, to }) => from <= cells[i]! && cells[i]! <= to)
          assert.isTrue(isCovered, `${JSON.stringify(point)} in ${JSON.stringify(shape)}`)
        }
      }
    }
    assert.isAbove(found, 10_000)
  })

  it("distances are those of vectors on the sphere", () => {
    const points = pointsOf(2_000, randomOf(2))
    const vector = ({ latitude, longitude }: (typeof points)[number]) => {
      const [phi, lambda] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180]
      return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)] as const
    }
    for (let i = 1; i < points.length; i++) {
      const [a, b] = [vector(points[i - 1]!), vector(points[i]!)]
      const chord = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])
      const sum = Math.hypot(a[0] + b[0], a[1] + b[1], a[2] + b[2])
      const expected = 2 * Shapes.earthRadius * Math.atan2(chord, sum)
      assert.approximately(Geo.distance(points[i - 1]!, points[i]!), expected, 0.5)
    }
    // São Paulo and Rio de Janeiro; the antimeridian is one line; all longitudes are one at a pole.
    const rio = { latitude: -22.9068, longitude: -43.1729 }
    assert.approximately(Geo.distance({ latitude: -23.5505, longitude: -46.6333 }, rio), 360_700, 1_000)
    assert.isBelow(Geo.distance({ latitude: 10, longitude: 180 }, { latitude: 10, longitude: -180 }), 1e-6)
    assert.isBelow(Geo.distance({ latitude: 90, longitude: 0 }, { latitude: 90, longitude: 130 }), 1e-6)
  })

  it("a polygon has its boundary, and not its holes; one across the antimeridian goes on beyond 180", () => {
    const ring = [
      [170, -10],
      [190, -10],
      [190, 10],
      [170, 10],
      [170, -10]
    ] as const
    const hole = [
      [178, -2],
      [182, -2],
      [182, 2],
      [178, 2],
      [178, -2]
    ] as const
    const { has } = Shapes.areaOf({ polygon: [ring, hole] })
    assert.isTrue(has({ latitude: 0, longitude: 175 }))
    assert.isTrue(has({ latitude: 0, longitude: -175 }))
    assert.isTrue(has({ latitude: 5, longitude: 180 }))
    assert.isTrue(has({ latitude: 10, longitude: -170 }))
    assert.isFalse(has({ latitude: 0, longitude: 180 }))
    assert.isFalse(has({ latitude: 0, longitude: -169.9 }))
    assert.isFalse(has({ latitude: 0, longitude: 0 }))
  })
})

describe("the ellipsoid", () => {
  /** What GeographicLib is tested with: made with more digits. */
  const published = [
    [35.60777, -139.44815, -11.17491, -69.95921, 8935244.560482],
    [55.52454, 106.05087, 77.03196, 197.18234, 4105086.171392],
    [-21.97856, 142.59065, 41.84138, 98.56635, 8394328.894658],
    [-66.99028, 112.2363, -12.70631, 285.90344, 11150344.231208],
    [-17.42761, 173.34268, -15.84784, 5.93557, 16076603.163118],
    [32.84994, 48.28919, -56.28556, 202.29132, 16727068.943816],
    [6.96833, 52.74123, -7.39675, 206.17291, 17102477.249696],
    [-50.56724, -16.30485, -33.56571, -94.97412, 6455670.511867],
    [-58.93002, -8.90775, -8.91104, 133.13503, 11756066.021986],
    [-68.82867, -74.28391, -50.63005, -8.36685, 3956936.926064],
    [-10.62672, -32.0898, 5.883, -134.31681, 11470869.386456],
    [-21.76221, 166.90563, 48.72884, 213.97627, 9098627.398655],
    [-19.79938, -174.47484, -11.99349, -154.35109, 2319004.860117],
    [-11.95887, -116.94513, 4.57352, 7.16501, 13834722.58014],
    [-87.85331, 85.66836, 66.48646, 16.09921, 17286615.314714],
    [1.74708, 128.32011, -11.16617, 11.87109, 12942901.124135],
    [-25.72959, -144.90758, -57.70581, -269.17879, 9413446.745245],
    [-41.22777, 122.32875, -7.57291, 130.37946, 3812686.035106],
    [11.01307, 138.25278, 6.62726, 247.05981, 11911190.819018],
    [-29.47124, 95.14681, -27.46601, -69.15955, 13487015.838115]
  ] as const

  it.effect("distances are those that are published", () =>
    Effect.gen(function* () {
      const { places } = yield* openShops(yield* memory, undefined, "ellipsoid")
      const measured = (a: readonly [number, number], b: readonly [number, number]) =>
        places.distance({ latitude: a[0], longitude: a[1] }, { latitude: b[0], longitude: b[1] })
      for (const [latitude, longitude, latitude2, longitude2, metres] of published) {
        const found = measured([latitude, longitude], [latitude2, longitude2])
        assert.approximately(found, metres, 1e-5, JSON.stringify([latitude, longitude, latitude2, longitude2]))
      }
      // Flinders Peak and Buninyong, by the handbook of the Australian datum; half a meridian; nearly opposite points.
      const degrees = (d: number, m: number, s: number) => d + m / 60 + s / 3600
      const peak = [-degrees(37, 57, 3.7203), degrees(144, 25, 29.5244)] as const
      const town = [-degrees(37, 39, 10.1561), degrees(143, 55, 35.3839)] as const
      assert.approximately(measured(peak, town), 54_972.271, 0.001)
      assert.approximately(measured([90, 0], [-90, 120]), 20_003_931.4586, 0.001)
      assert.approximately(measured([0, 0], [0.5, 179.7]), 19_944_127.421, 0.001)
    })
  )

  it.effect("are between the least and the greatest of the sphere", () =>
    Effect.gen(function* () {
      const measure = yield* Ellipsoid.load(Geo.plugin)
      const points = pointsOf(3_000, randomOf(12))
      for (let i = 1; i < points.length; i++) {
        const [exact, sphere] = [measure.distance, Geo.distance].map((of) => of(points[i - 1]!, points[i]!))
        assert.isAtLeast(exact!, sphere! * measure.least - 0.1)
        assert.isAtMost(exact!, sphere! * measure.greatest + 0.1)
      }
    })
  )

  it.effect("finds what looking at all finds", () =>
    Effect.gen(function* () {
      const { places, shops } = yield* openShops(yield* memory, undefined, "ellipsoid")
      const random = randomOf(13)
      const all = pointsOf(800, random).map((at, i) => ({ id: `p${i}`, at }))
      yield* shops.insertMany(all)
      for (const shape of shapesOf(20, random)) {
        const expected = all
          .filter(({ at }) =>
            "circle" in shape
              ? places.distance(shape.circle.center, at) <= shape.circle.radius
              : Shapes.areaOf(shape).has(at)
          )
          .map(({ id }) => id)
        assert.deepStrictEqual(yield* idsOf(places.within(shape)), expected.toSorted(), JSON.stringify(shape))
      }
      for (const from of [paris, { latitude: -90, longitude: 0 }, ...pointsOf(4, random)]) {
        const expected = all
          .map(({ at, id }) => ({ id, distance: places.distance(from, at) }))
          .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        const first = yield* places.nearest({ from, limit: 300 })
        const second = yield* places.nearest({ from, limit: 300, cursor: first.cursor })
        const found = [...first.items, ...second.items].map(({ distance, document }) => ({ id: document.id, distance }))
        assert.deepStrictEqual(found, expected.slice(0, 600))
      }
    })
  )
})

describe("shapes of several", () => {
  it("have what one of them has, and their cover has all of it", () => {
    const random = randomOf(21)
    const points = pointsOf(3_000, random)
    let found = 0
    for (let i = 0; i < 30; i++) {
      const some = shapesOf(3, random) as ReadonlyArray<Geo.Simple>
      const shape = { any: some }
      assert.isUndefined(Shapes.problemOf(shape))
      const [area, one] = [Shapes.areaOf(shape), Shapes.areaOf(some[0]!)]
      const both = Shapes.both(one, Shapes.areaOf(some[1]!))
      const [spans, spansOfBoth] = [area, both].map((of) => Shapes.cover(of, 16))
      for (const point of points) {
        const has = some.map((of) => Shapes.areaOf(of).has(point))
        const cell = Shapes.cellOf(point)
        const isIn = (all: ReadonlyArray<Shapes.Span>) => all.some(({ from, to }) => from <= cell && cell <= to)
        assert.strictEqual(area.has(point), has.includes(true))
        assert.strictEqual(both.has(point), has[0]! && has[1]!)
        if (area.has(point)) assert.isTrue(isIn(spans!))
        if (both.has(point)) assert.isTrue(isIn(spansOfBoth!))
        found += Number(area.has(point))
      }
    }
    assert.isAbove(found, 500)
    assert.strictEqual(Shapes.problemOf({ any: [] })?.field, "any")
    const wrong = { any: [{ box: { south: 2, north: 1, west: 0, east: 0 } }] }
    assert.strictEqual(Shapes.problemOf(wrong)?.field, "any.0.box.south")
  })
})

describe("edges", () => {
  it("have the points on them, and no other, whatever is rounded", () => {
    // Where products are rounded a triangle has points that are beside it, or misses some of its own.
    const ring = [
      [0, 0],
      [12, 12],
      [24, 0],
      [0, 0]
    ] as const
    const { has } = Shapes.areaOf({ polygon: [ring] })
    const wrong: Array<number> = []
    let [x, ulp] = [0.5, 2 ** -53]
    for (let i = 0; i < 500; i++, x += ulp) {
      if (!has({ longitude: x, latitude: x })) wrong.push(x)
      if (has({ longitude: x, latitude: x + 2 ** -52 })) wrong.push(x)
    }
    const slanted = [
      [0.1, 0.1],
      [0.7, 0.3],
      [0.1, 0.9],
      [0.1, 0.1]
    ] as const
    const area = Shapes.areaOf({ polygon: [slanted] })
    // By whole numbers: every double is one, times a power of two.
    const whole = (value: number) => BigInt(value * 2 ** 60)
    for (let i = 1; i < 2_000; i++) {
      const longitude = 0.1 + (0.6 * i) / 2_000
      const latitude = 0.1 + (0.2 * i) / 2_000
      const [[x1, y1], [x2, y2]] = slanted
      const side =
        (whole(x2) - whole(x1)) * (whole(latitude) - whole(y1)) -
        (whole(longitude) - whole(x1)) * (whole(y2) - whole(y1))
      if (area.has({ latitude, longitude }) !== side >= 0n) wrong.push(longitude)
    }
    assert.deepStrictEqual(wrong, [])
  })
})

describe("geohashes", () => {
  it("are those that others make", () => {
    assert.strictEqual(Geo.geohash({ latitude: -23.5505, longitude: -46.6333 }, 5), "6gyf4")
    assert.strictEqual(Geo.geohash({ latitude: 57.64911, longitude: 10.40744 }, 11), "u4pruydqqvj")
    assert.strictEqual(Geo.geohash({ latitude: 42.605, longitude: -5.603 }, 5), "ezs42")
    assert.strictEqual(Geo.geohash(paris).length, 9)
    assert.isUndefined(Geo.boxOfGeohash("ezs4a"))
    assert.isUndefined(Geo.boxOfGeohash(""))
  })

  it("have their point, and begin with those that are shorter", () => {
    for (const point of pointsOf(2_000, randomOf(31))) {
      const hash = Geo.geohash(point, 12)
      for (let length = 1; length <= 12; length++) {
        assert.strictEqual(Geo.geohash(point, length), hash.slice(0, length))
        const box = Geo.boxOfGeohash(hash.slice(0, length))
        assert.isTrue(box !== undefined && Shapes.areaOf({ box }).has(point), `${hash} ${JSON.stringify(point)}`)
      }
    }
  })

  it.effect("are a field where one is asked for, and a box to look in", () =>
    Effect.gen(function* () {
      class Hashed extends Resource.Service<Hashed>()("effect-s3db/test/plugins/Geo.test/Hashed", {
        schema: Schema.Struct({ id: Schema.String, at: Geo.Point, hash: Schema.optionalKey(Schema.String) }),
        primaryKey: "id",
        companions: Geo.companions("at"),
        computed: { hash: ({ at }) => Geo.geohash(at, 7) }
      }) {}
      const { database } = yield* openOn(yield* memory)
      const hashed = yield* Effect.provideService(Resource.make(Hashed.definition), Database, database)
      const places = yield* Geo.make({ resource: Hashed, field: "at" }).pipe(
        Effect.provideService(Hashed, hashed),
        Effect.provideService(Database, database)
      )
      const { hash } = yield* hashed.insert({ id: "a", at: paris })
      assert.strictEqual(hash, "u09tvw0")
      const moved = yield* hashed.patch("a", { at: { latitude: -23.5505, longitude: -46.6333 } })
      assert.strictEqual(moved.hash?.slice(0, 5), "6gyf4")
      const box = Geo.boxOfGeohash("6gyf4")!
      assert.deepStrictEqual(yield* idsOf(places.within({ box })), ["a"])
    })
  )
})

describe("GeoJSON", () => {
  const turn = <A, I>(codec: Schema.Codec<A, I>, json: unknown) =>
    Schema.encodeSync(codec)(Schema.decodeUnknownSync(codec)(json))

  it("points, polygons and features come in and go out", () => {
    const place = { type: "Point", coordinates: [2.3522, 48.8566] }
    assert.deepStrictEqual(Schema.decodeUnknownSync(Geo.PointFromGeoJson)(place), paris)
    assert.deepStrictEqual<unknown>(turn(Geo.PointFromGeoJson, { ...place, coordinates: [2.3522, 48.8566, 35] }), place)
    const outline = [
      [0, 0],
      [10, 0],
      [10, 10],
      [0, 10],
      [0, 0]
    ]
    const hole = [
      [1, 1],
      [1, 2],
      [2, 2],
      [1, 1]
    ]
    const polygon = { type: "Polygon", coordinates: [outline, hole] }
    assert.deepStrictEqual<unknown>(turn(Geo.ShapeFromGeoJson, polygon), polygon)
    // Outlines go out against the clock, and holes by it, however they came.
    const wrongWay = { type: "Polygon", coordinates: [outline.toReversed(), hole.toReversed()] }
    assert.deepStrictEqual<unknown>(turn(Geo.ShapeFromGeoJson, wrongWay), polygon)
    const several = { type: "MultiPolygon", coordinates: [[outline], [hole.toReversed()]] }
    const shape = Schema.decodeUnknownSync(Geo.ShapeFromGeoJson)(several)
    assert.isTrue(Shapes.areaOf(shape).has({ latitude: 5, longitude: 5 }))
    assert.deepStrictEqual<unknown>(turn(Geo.ShapeFromGeoJson, several), several)
    const features = Geo.FeaturesFromGeoJson(Schema.Struct({ opened: Schema.DateFromString }))
    const collection = {
      type: "FeatureCollection",
      features: [
        { type: "Feature", id: "a", geometry: place, properties: { opened: "2026-01-02T00:00:00.000Z" } },
        { type: "Feature", geometry: null, properties: { opened: "2026-01-02T00:00:00.000Z" } }
      ]
    }
    const [first, second] = Schema.decodeUnknownSync(features)(collection)
    assert.deepStrictEqual(first, {
      id: "a",
      point: paris,
      properties: { opened: new Date("2026-01-02T00:00:00.000Z") }
    })
    assert.isNull(second?.point)
    assert.deepStrictEqual<unknown>(turn(features, collection), collection)
  })

  it("boxes go out as polygons, cut at the antimeridian, and have the same points", () => {
    const encode = Schema.encodeSync(Geo.ShapeFromGeoJson)
    const across = { box: { south: -1, north: 1, west: 170, east: -160 } }
    const cut = encode(across)
    assert.strictEqual(cut.type, "MultiPolygon")
    const again = Shapes.areaOf(Schema.decodeUnknownSync(Geo.ShapeFromGeoJson)(cut))
    const area = Shapes.areaOf(across)
    for (const point of pointsOf(2_000, randomOf(41))) {
      for (const one of [point, { latitude: point.latitude / 90, longitude: point.longitude }]) {
        assert.strictEqual(again.has(one), area.has(one), JSON.stringify(one))
      }
    }
    assert.strictEqual(encode({ box: { south: -1, north: 1, west: 0, east: 1 } }).type, "Polygon")
    assert.throws(() => encode({ circle: { center: paris, radius: 1 } }), /Expected no circle/)
  })

  it("what cannot be is refused with its place", () => {
    const decode = Schema.decodeUnknownSync(Geo.ShapeFromGeoJson)
    assert.throws(() => decode({ type: "Polygon", coordinates: [[[0, 0]]] }), /Expected four positions/)
    assert.throws(() => decode({ type: "Point", coordinates: [0, 0] }))
    assert.throws(() => Schema.decodeUnknownSync(Geo.PointFromGeoJson)({ type: "Point", coordinates: [0, 91] }))
    const shape = Schema.decodeUnknownSync(Geo.Shape)
    assert.deepStrictEqual(shape({ circle: { center: paris, radius: 3 } }), { circle: { center: paris, radius: 3 } })
    assert.throws(() => shape({ circle: { center: paris, radius: -3 } }), /\["circle"\]\["radius"\]/)
    assert.throws(() => shape({ any: [{ any: [] }] }))
  })
})

describe("Geo", () => {
  it.effect("takes conditions and a shape beside the distance", () =>
    Effect.gen(function* () {
      const { places, shops } = yield* openShops(yield* memory)
      const random = randomOf(51)
      const all = pointsOf(600, random).map((at, i) => ({ id: `p${i}`, at, owner: i % 3 === 0 ? "ada" : "bob" }))
      yield* shops.insertMany(all)
      const shape = { box: { south: -30, north: 80, west: -60, east: 120 } }
      const inside = all.filter(({ at, owner }) => owner === "ada" && Shapes.areaOf(shape).has(at))
      const where = { owner: "ada" }
      const ids = inside.map(({ id }) => id)
      assert.isAbove(ids.length, 20)
      assert.deepStrictEqual(yield* idsOf(places.within(shape, { where })), ids.toSorted())
      const predicate = yield* shops.parseWhere(where)
      assert.deepStrictEqual(yield* idsOf(places.within(shape, { predicate })), ids.toSorted())
      const request = { from: paris, within: shape, where, limit: 7 }
      const found: Array<string> = []
      let cursor: string | undefined
      do {
        const page = yield* places.nearest({ ...request, cursor })
        found.push(...page.items.map(({ document }) => document.id))
        cursor = page.cursor
      } while (cursor !== undefined)
      const expected = inside
        .map(({ at, id }) => ({ id, distance: Geo.distance(paris, at) }))
        .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
      assert.deepStrictEqual(
        found,
        expected.map(({ id }) => id)
      )
      // The cursor is that of one request.
      const { cursor: other } = yield* places.nearest(request)
      const wrong = yield* Effect.flip(places.nearest({ ...request, where: { owner: "bob" }, cursor: other }))
      assert.strictEqual(wrong._tag, "InvalidGeo")
    })
  )

  it.effect("finds what looking at all finds, within shapes and nearest first, page by page", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { places, shops } = yield* openShops(store)
      const random = randomOf(3)
      const all = pointsOf(2_500, random).map((at, i) => ({ id: `p${i}`, at }))
      yield* Effect.forEach(all, (one) => shops.insert(one), { concurrency: 16, discard: true })
      yield* shops.insert({ id: "nowhere" })
      for (const shape of shapesOf(30, random)) {
        const area = Shapes.areaOf(shape)
        const expected = all.filter(({ at }) => area.has(at)).map(({ id }) => id)
        assert.deepStrictEqual(yield* idsOf(places.within(shape)), expected.toSorted(), JSON.stringify(shape))
      }
      const froms = [paris, { latitude: 90, longitude: 5 }, { latitude: 0, longitude: 180 }, ...pointsOf(7, random)]
      for (const from of froms) {
        const expected = all
          .map(({ at, id }) => ({ id, distance: Geo.distance(from, at) }))
          .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        const found: Array<{ id: string; distance: number }> = []
        let cursor: string | undefined
        for (let page = 0; page < 3; page++) {
          const { cursor: next, items } = yield* places.nearest({ from, limit: 40, cursor })
          found.push(...items.map(({ distance, document }) => ({ id: document.id, distance })))
          cursor = next
        }
        assert.deepStrictEqual(found, expected.slice(0, 120))
      }
      const far = yield* places.nearest({ from: paris, radius: 1_000_000, limit: 1_000 })
      assert.strictEqual(far.items.length, all.filter(({ at }) => Geo.distance(paris, at) <= 1_000_000).length)
      assert.isUndefined(far.cursor)
    })
  )

  it.effect("lists each span once, and reads no document outside of the shape", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { places, shops } = yield* openShops(store)
      const at = (north: number, east: number) => ({
        latitude: paris.latitude + north / 1_000,
        longitude: paris.longitude + east / 1_000
      })
      for (let i = 0; i < 40; i++) yield* shops.insert({ id: `s${i}`, at: at(i, 0) })
      yield* counter.reset
      const shape = { circle: { center: paris, radius: 1_000 } }
      const inside = yield* idsOf(places.within(shape))
      const counts = yield* counter.counts
      assert.strictEqual(inside.length, 9)
      assert.strictEqual(counts.get, 9)
      assert.strictEqual(counts.list, Shapes.cover(Shapes.areaOf(shape), 16).length)
      assert.isAtMost(counts.list ?? 0, 16)
    })
  )

  it.effect(
    "looks at ten rings at most, lists few cells and none again, and reads no more documents than it gives",
    () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const { places, shops } = yield* openShops(store)
        yield* shops.insertMany(pointsOf(200, randomOf(9)).map((at, i) => ({ id: `s${i}`, at })))
        for (const [limit, maxGet] of [
          [5, 5],
          [1_000, 200]
        ] as const) {
          yield* counter.reset
          const { items } = yield* places.nearest({ from: paris, limit })
          const { get = 0, list = 0 } = yield* counter.counts
          assert.strictEqual(items.length, maxGet)
          assert.strictEqual(get, maxGet)
          assert.isAtMost(list, 10 * 4)
        }
      })
  )

  it.effect("lists the cells of a ring, and no keys of those before it again", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { places, shops } = yield* openShops(store)
      const random = randomOf(12)
      // Three of them within the second ring; the others are far away.
      const at = (north: number) => ({ latitude: paris.latitude + north / 111_195, longitude: paris.longitude })
      const near = [2_000, 3_000, -2_500].map((north, i) => ({ id: `n${i}`, at: at(north) }))
      yield* shops.insertMany(near)
      const listed = Effect.fnUntraced(function* (request: { readonly limit: number; readonly radius?: number }) {
        yield* counter.reset
        const { items } = yield* places.nearest({ from: paris, ...request })
        return { list: (yield* counter.counts).list ?? 0, ids: items.map(({ document }) => document.id) }
      })
      const spansOf = (radius: number) => Shapes.cover(Shapes.areaOf({ circle: { center: paris, radius } }), 4).length
      // What the cells of the first ring have beyond it is known, and tells how far the next one goes.
      const first = yield* listed({ limit: 1, radius: 1_000 })
      assert.deepStrictEqual(first, { list: spansOf(1_000), ids: [] })
      const all = yield* listed({ limit: 3 })
      assert.deepStrictEqual(all.ids, ["n0", "n2", "n1"])
      assert.isAtMost(all.list, spansOf(1_000) + spansOf(4_000))
      const one = yield* listed({ limit: 1 })
      assert.deepStrictEqual(one.ids, ["n0"])
      assert.isAtMost(one.list, all.list)
      // More than a page of keys around the point: as many spans as may be, and each further page.
      const crowd = Array.from({ length: 3_000 }, (_, i) => ({ id: `c${i}`, at: at((random() - 0.5) * 900) }))
      yield* shops.insertMany(crowd)
      const dense = yield* listed({ limit: 10 })
      const expected = [...near, ...crowd]
        .map((shop) => ({ id: shop.id, distance: Geo.distance(paris, shop.at) }))
        .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        .map(({ id }) => id)
      assert.deepStrictEqual(dense.ids, expected.slice(0, 10))
      // Few of the 3,000 lie as near as the tenth of those that the first pages had.
      assert.isAtMost(dense.list, 4 + 16 + 1)
      const most = yield* listed({ limit: 1_000 })
      assert.deepStrictEqual(most.ids, expected.slice(0, 1_000))
      assert.isAtMost(most.list, 4 + 16 + 3)
    })
  )

  it("what was listed is left out, but where that would take more requests", () => {
    const cell = (name: string) => ({ from: name.padEnd(26, "0"), to: name.padEnd(26, "3") })
    const { from, to } = cell("12")
    const without = (names: ReadonlyArray<readonly [string, number]>) =>
      Listed.without(
        [{ from, to }],
        names.map(([name, keys]) => ({ ...cell(name), keys }))
      )
    assert.deepStrictEqual(without([]), [{ from, to }])
    assert.deepStrictEqual(without([["13", 5_000]]), [{ from, to }])
    assert.deepStrictEqual(without([["1", 5]]), [])
    assert.deepStrictEqual(without([["12", 5]]), [])
    assert.deepStrictEqual(
      without([
        ["120", 1],
        ["121", 1]
      ]),
      [{ from: cell("122").from, to }]
    )
    assert.deepStrictEqual(without([["123", 1]]), [{ from, to: cell("122").to }])
    assert.deepStrictEqual(without([["121", 999]]), [{ from, to }])
    assert.deepStrictEqual(without([["121", 1_000]]), [cell("120"), { from: cell("122").from, to }])
    assert.deepStrictEqual(
      without([
        ["1221", 1_000],
        ["121", 1_000],
        ["120", 0]
      ]),
      [cell("1220"), { from: cell("1222").from, to }]
    )
    // Every cell is in what is left, or was listed.
    const random = randomOf(4)
    const name = (length: number) => Array.from({ length }, () => Math.floor(random() * 4)).join("")
    for (let i = 0; i < 500; i++) {
      const spans = [cell(name(2)), cell(name(2))]
      const listed = Array.from({ length: 4 }, () => ({
        ...cell(name(1 + Math.floor(random() * 4))),
        keys: random() * 2_000
      }))
      const left = Listed.without(spans, listed)
      for (let j = 0; j < 50; j++) {
        const at = `${spans[j % 2]!.from.slice(0, 2)}${name(24)}`
        const isIn = (span: { readonly from: string; readonly to: string }) => span.from <= at && at <= span.to
        assert.isTrue(left.some(isIn) || listed.some(isIn))
        if (listed.some((one) => isIn(one) && one.keys >= 1_000)) assert.isFalse(left.some(isIn))
      }
    }
  })

  it.effect("moves with the document, and forgets one that is gone or has no place any more", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { places, shops } = yield* openShops(store)
      const other = yield* openShops(store)
      const near = places.within({ circle: { center: paris, radius: 10_000 } })
      yield* other.shops.insert({ id: "a", at: paris })
      yield* shops.insert({ id: "b", at: paris })
      assert.deepStrictEqual(yield* idsOf(near), ["a", "b"])
      yield* shops.patch("a", { at: { latitude: -33, longitude: 151 } })
      assert.deepStrictEqual(yield* idsOf(near), ["b"])
      yield* other.shops.delete("b")
      assert.deepStrictEqual(yield* idsOf(near), [])
      const { items } = yield* places.nearest({ from: paris })
      assert.deepStrictEqual(
        items.map(({ document }) => document.id),
        ["a"]
      )
    })
  )

  it.effect("shows no document twice and none that is gone, wherever a writer crashes", () =>
    Effect.gen(function* () {
      const sydney = { latitude: -33, longitude: 151 }
      for (let at = 1; at <= 8; at++) {
        const store = yield* memory
        const { shops } = yield* openShops(store)
        yield* shops.insert({ id: "a", at: paris })
        yield* shops.insert({ id: "b", at: paris })
        const crashed = yield* openShops(crashing(store, at, "before").store).pipe(
          Effect.flatMap(({ shops }) =>
            Effect.andThen(
              shops.patch("a", { at: sydney }),
              Effect.andThen(shops.delete("b"), shops.insert({ id: "c", at: paris }))
            )
          ),
          Effect.exit
        )
        const { places, shops: after } = yield* openShops(store)
        const there = yield* Stream.runCollect(after.scan())
        const world = { box: { south: -90, north: 90, west: -180, east: 180 } }
        const expected = there.map(({ id }) => id).toSorted()
        assert.deepStrictEqual(yield* idsOf(places.within(world)), expected, `at ${at}: ${crashed._tag}`)
        const { items } = yield* places.nearest({ from: paris })
        assert.deepStrictEqual(items.map(({ document }) => document.id).toSorted(), expected)
      }
    })
  )

  it.effect("one that has keys of two places near each other is as far as it is", () =>
    Effect.gen(function* () {
      const beside = { latitude: paris.latitude + 0.004, longitude: paris.longitude }
      let both = 0
      for (let at = 1; at <= 8; at++) {
        const store = yield* memory
        const { shops } = yield* openShops(store)
        yield* shops.insert({ id: "a", at: paris })
        yield* openShops(crashing(store, at, "before").store).pipe(
          Effect.flatMap(({ shops }) => shops.patch("a", { at: beside })),
          Effect.exit
        )
        const { places, shops: after } = yield* openShops(store)
        const { at: is } = yield* after.get("a")
        const hits = yield* Stream.runCollect(after.companion("geo.at", { verify: false }))
        both += Number(hits.length === 2)
        for (const from of [paris, beside]) {
          const { items } = yield* places.nearest({ from })
          assert.deepStrictEqual(items, [{ document: { id: "a", at: is! }, distance: Geo.distance(from, is!) }])
        }
      }
      assert.isAbove(both, 0)
    })
  )

  it.effect("says which field is wrong, before anything is read", () =>
    Effect.gen(function* () {
      const { places } = yield* openShops(yield* memory)
      const fieldOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.flip(effect), (error) => ("field" in error ? error.field : error._tag))
      const within = (shape: Geo.Shape) => fieldOf(Stream.runCollect(places.within(shape)))
      const nan = { latitude: Number.NaN, longitude: 0 }
      assert.strictEqual(yield* within({ circle: { center: nan, radius: 1 } }), "circle.center.latitude")
      assert.strictEqual(yield* within({ circle: { center: paris, radius: Number.NaN } }), "circle.radius")
      assert.strictEqual(yield* within({ box: { south: 1, north: 0, west: 0, east: 0 } }), "box.south")
      assert.strictEqual(yield* within({ box: { south: 0, north: 0, west: Infinity, east: 0 } }), "box.west")
      assert.strictEqual(yield* within({ polygon: [] }), "polygon")
      assert.strictEqual(yield* within({ polygon: [[[0, 0]]] }), "polygon.0")
      for (const [shape, field] of [
        [undefined, "shape"],
        [null, "shape"],
        ["circle", "shape"],
        [{}, "shape"],
        [{ circle: null }, "circle"],
        [{ circle: { center: null, radius: 1 } }, "circle.center"],
        [{ circle: { center: paris, radius: 1n } }, "circle.radius"],
        [{ box: [0, 0, 1, 1] }, "box"],
        [{ polygon: [null] }, "polygon.0"],
        [{ polygon: [[null, null, null, null]] }, "polygon.0.0"],
        [{ any: [null] }, "any.0.shape"],
        [{ any: [{ any: [] }] }, "any.0.shape"],
        // Which of them is meant?
        [{ circle: { center: paris, radius: 1 }, box: { south: 0, north: 1, west: 0, east: 1 } }, "box"],
        [{ any: [{ circle: { center: paris, radius: 1 } }], polygon: [] }, "any"]
      ] as unknown as ReadonlyArray<readonly [never, string]>) {
        assert.strictEqual(yield* within(shape), field)
      }
      assert.strictEqual(yield* fieldOf(places.nearest({ from: undefined as never })), "from")
      assert.isUndefined(Geo.boxOfGeohash(undefined as never))
      assert.strictEqual(yield* fieldOf(places.nearest({ from: nan })), "from.latitude")
      assert.strictEqual(yield* fieldOf(places.nearest({ from: paris, limit: 0 })), "limit")
      assert.strictEqual(yield* fieldOf(places.nearest({ from: paris, cursor: "x" })), "cursor")
      assert.strictEqual(yield* fieldOf(places.nearest({ from: paris, within: { any: [] } })), "within.any")
      assert.strictEqual(yield* fieldOf(Effect.scoped(openShops(yield* memory, 0))), "maxCells")
    })
  )

  it.effect("takes only fields that are points, and none that is secret", () =>
    Effect.gen(function* () {
      // @ts-expect-error a text is no point
      const wrong: Geo.Options<typeof Shops>["field"] = "owner"
      assert.strictEqual(wrong, "owner")
      class Hidden extends Resource.Service<Hidden>()("effect-s3db/test/plugins/Geo.test/Hidden", {
        schema: Schema.Struct({ id: Schema.String, at: Schema.optionalKey(Attribute.Secret(Geo.Point)) }),
        primaryKey: "id",
        name: "hidden"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const layer = Hidden.layer.pipe(
        Layer.provide(KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })),
        Layer.provide(Layer.succeed(Database, database)),
        Layer.provideMerge(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        for (const [field, problem] of [
          ["at", /^places of "hidden", field: Expected a field that can be shown, not one .*secret/],
          ["other", /field: Expected a field of the resource$/]
        ] as const) {
          const error = yield* Effect.flip(Effect.scoped(Geo.make({ resource: Hidden, field: field as never })))
          assert.match(error.message, problem)
        }
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("shows nobody what a guard hides", () =>
    Effect.gen(function* () {
      class ByPlace extends Geo.Service<ByPlace>()("effect-s3db/test/plugins/Geo.test/ByPlace", {
        resource: Shops,
        field: "at"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const owner = Guard.owner<{ readonly owner?: string }>("owner")
      const rules = { insert: Guard.allow, listIds: owner, query: owner, get: Guard.allow }
      const layer = ByPlace.layer.pipe(
        Layer.provideMerge(Resource.guard(Shops, rules)),
        Layer.provide(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        const places = yield* ByPlace
        const shops = yield* Shops
        yield* shops.insert({ id: "a", owner: "ada", at: paris })
        yield* shops.insert({ id: "b", owner: "bob", at: paris })
        const as = <A, E>(id: string, effect: Effect.Effect<A, E>) =>
          Effect.provideService(effect, CurrentUser.CurrentUser, CurrentUser.make(id))
        const near = idsOf(places.within({ circle: { center: paris, radius: 5 } }))
        assert.deepStrictEqual(yield* as("ada", near), ["a"])
        assert.deepStrictEqual(yield* as("eve", near), [])
        const { items } = yield* as("bob", places.nearest({ from: paris, limit: 5 }))
        assert.deepStrictEqual(
          items.map(({ document }) => document.id),
          ["b"]
        )
      }).pipe(Effect.provide(layer))
    })
  )
})
