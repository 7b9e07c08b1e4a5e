import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CurrentUser from "effect-s3db/CurrentUser"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Geo from "effect-s3db/plugins/Geo"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
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

const openShops = Effect.fnUntraced(function* (store: Store, maxCells?: number) {
  const { database } = yield* openOn(store)
  const shops = yield* Effect.provideService(Resource.make(Shops.definition), Database, database)
  const places = yield* Geo.make({ resource: Shops, field: "at", maxCells }).pipe(
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

describe("Geo", () => {
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

  it.effect("looks at ten rings at most, and reads no more documents than it gives", () =>
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
        assert.isAtMost(list, 10 * 16)
      }
    })
  )

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
      assert.strictEqual(yield* fieldOf(places.nearest({ from: nan })), "from.latitude")
      assert.strictEqual(yield* fieldOf(places.nearest({ from: paris, limit: 0 })), "limit")
      assert.strictEqual(yield* fieldOf(places.nearest({ from: paris, cursor: "x" })), "cursor")
      assert.strictEqual(yield* fieldOf(Effect.scoped(openShops(yield* memory, 0))), "maxCells")
    })
  )

  it.effect("takes only fields that are points", () =>
    Effect.sync(() => {
      // @ts-expect-error a text is no point
      const wrong: Geo.Options<typeof Shops>["field"] = "owner"
      assert.strictEqual(wrong, "owner")
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
