/**
 * Documents by place: how fast, by how many requests, and that each answer is that of a look at all; against kdbush with geokdbush, which has all points in
 * memory, where it is installed (`npm run bench:peers -- kdbush`). 10,000 documents, or those of --documents=100000; 40 queries, or those of --queries=10. Half of the points are in 200 towns.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Geo from "effect-s3db/plugins/Geo"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { collected } from "./measure.ts"
import { countOf } from "./option.ts"
import { load, title } from "./peers.ts"
import { digits } from "./table.ts"

type Point = Parameters<typeof Geo.distance>[0]

interface Place {
  readonly id: string
  readonly at: Point
}

/** mulberry32 */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const round = (value: number) => Math.round(value * 1e6) / 1e6

const placesOf = (count: number, random: () => number): ReadonlyArray<Place> => {
  /** Even on the earth. */
  const anywhere = (): Point => ({
    latitude: round((Math.asin(2 * random() - 1) * 180) / Math.PI),
    longitude: round(random() * 360 - 180)
  })
  const towns = Array.from({ length: 200 }, anywhere)
  const around = (value: number, most: number) => round(Math.max(-most, Math.min(most, value + (random() - 0.5) / 2)))
  return Array.from({ length: count }, (_, i) => {
    const town = towns[Math.floor(random() * towns.length)]!
    const at =
      i % 2 === 0 ? anywhere() : { latitude: around(town.latitude, 90), longitude: around(town.longitude, 180) }
    return { id: `p${i}`, at }
  })
}

class Places extends Resource.Service<Places>()("bench/places", {
  schema: Schema.Struct({ id: Schema.String, at: Geo.Point }),
  primaryKey: "id",
  companions: Geo.companions("at")
}) {}

interface Kdbush {
  readonly default: new (count: number) => {
    readonly add: (x: number, y: number) => number
    readonly finish: () => unknown
  }
  readonly around: (
    index: unknown,
    longitude: number,
    latitude: number,
    most: number,
    kilometres?: number
  ) => ReadonlyArray<number>
}

/** A look at all by geodesics takes its time. */
const sphereQueries = countOf("queries", 40)
const queriesOn = { sphere: sphereQueries, ellipsoid: Math.max(1, Math.round(sphereQueries / 10)) }

/** The best of three times over all queries, in milliseconds for one. */
const timed = async (queries: number, run: () => unknown): Promise<number> => {
  let best = Infinity
  for (let turn = 0; turn < 3; turn++) {
    const start = performance.now()
    await run()
    best = Math.min(best, (performance.now() - start) / queries)
  }
  return best
}

interface Row {
  readonly name: string
  readonly ours: number
  readonly brute: number
  readonly peer: number | undefined
  readonly list: number
  readonly get: number
  readonly found: number
}

/** So many documents, written once. */
const written = Effect.fnUntraced(function* (count: number) {
  const all = placesOf(count, randomOf(17))
  const { store: inner } = yield* MemoryStore.make()
  const { counter, store } = InstrumentedStore.make(inner)
  const database = yield* Effect.provideService(Database.make({ catalogLease: "1 hour" }), ObjectStore, store)
  const resource = yield* Effect.provideService(Resource.make(Places.definition), Database.Database, database)
  const before = collected()
  const start = performance.now()
  yield* Stream.runDrain(resource.writeAll(Stream.fromIterable(all)))
  const write = (performance.now() - start) / count
  return { all, counter, database, resource, write, stored: (collected() - before) / count }
})

const measured = Effect.fnUntraced(function* (
  { all, counter, database, resource }: Effect.Success<ReturnType<typeof written>>,
  earth: "ellipsoid" | "sphere"
) {
  const queries = queriesOn[earth]
  const count = all.length
  const places = yield* Geo.make({ resource: Places, field: "at", earth }).pipe(
    Effect.provideService(Places, resource),
    Effect.provideService(Database.Database, database)
  )

  const module =
    earth === "sphere" ? ((yield* Effect.promise(async () => load("kdbush"))) as Kdbush | undefined) : undefined
  const beforeTree = collected()
  const startTree = performance.now()
  const tree = module === undefined ? undefined : new module.default(count)
  for (const { at } of all) tree?.add(at.longitude, at.latitude)
  tree?.finish()
  const build = (performance.now() - startTree) / count
  const memory = (collected() - beforeTree) / count

  const froms = Array.from({ length: queries }, (_, i) => all[(i * 7919 + 1) % count]!.at)
  const within = (from: Point, radius: number) => all.filter(({ at }) => places.distance(from, at) <= radius)
  const nearest = (from: Point, limit: number) => {
    let best: Array<{ readonly id: string; readonly distance: number }> = []
    let cutoff = Infinity
    const cut = () => {
      best = best.sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1)).slice(0, limit)
      cutoff = best.length < limit ? Infinity : best.at(-1)!.distance
    }
    for (const { at, id } of all) {
      const distance = places.distance(from, at)
      if (distance <= cutoff && best.push({ id, distance }) >= 4 * limit) cut()
    }
    cut()
    return best
  }
  const cases: ReadonlyArray<{
    readonly name: string
    readonly ours: (from: Point) => Effect.Effect<ReadonlyArray<string>, unknown>
    readonly brute: (from: Point) => ReadonlyArray<string>
    readonly peer: (from: Point) => unknown
  }> = [
    ...[1_000, 50_000].map((radius) => ({
      name: `within ${radius / 1_000} km`,
      ours: (center: Point) =>
        Effect.map(Stream.runCollect(places.within({ circle: { center, radius } })), (found) =>
          found.map(({ id }) => id)
        ),
      brute: (from: Point) => within(from, radius).map(({ id }) => id),
      peer: ({ latitude, longitude }: Point) => module?.around(tree, longitude, latitude, Infinity, radius / 1_000)
    })),
    ...[10, 100].map((limit) => ({
      name: `the ${limit} nearest`,
      ours: (from: Point) =>
        Effect.map(places.nearest({ from, limit }), ({ items }) => items.map(({ document }) => document.id)),
      brute: (from: Point) => nearest(from, limit).map(({ id }) => id),
      peer: ({ latitude, longitude }: Point) => module?.around(tree, longitude, latitude, limit)
    }))
  ]
  const rows: Array<Row> = []
  for (const { brute, name, ours, peer } of cases) {
    let found = 0
    yield* counter.reset
    for (const from of froms) {
      const ids = yield* ours(from)
      const expected = brute(from)
      const isOrdered = name.startsWith("the")
      const [a, b] = isOrdered ? [ids, expected] : [ids.toSorted(), expected.toSorted()]
      if (a.join() !== b.join())
        throw new Error(`${name} of ${JSON.stringify(from)}: ${a.join()} in the place of ${b.join()}`)
      found += ids.length / queries
    }
    const { get = 0, list = 0 } = yield* counter.counts
    rows.push({
      name,
      ours: yield* Effect.promise(() =>
        timed(queries, () => Effect.runPromise(Effect.forEach(froms, ours, { discard: true })))
      ),
      brute: yield* Effect.promise(() => timed(queries, () => froms.forEach(brute))),
      peer: module === undefined ? undefined : yield* Effect.promise(() => timed(queries, () => froms.forEach(peer))),
      list: list / queries,
      get: get / queries,
      found
    })
  }
  return { earth, rows, build, memory }
})

export const report = async () => {
  const count = countOf("documents", 10_000)
  const { ellipsoid, sphere, stored, write } = await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const prepared = yield* written(count)
        const sphere = yield* measured(prepared, "sphere")
        const ellipsoid = yield* measured(prepared, "ellipsoid")
        return { sphere, ellipsoid, write: prepared.write, stored: prepared.stored }
      })
    )
  )
  const hasPeer = sphere.rows[0]?.peer !== undefined
  const columns = ["", "found", "effect-s3db", "LIST", "GET", "look at all", ...(hasPeer ? [title("kdbush")] : [])]
  return {
    results: { count, sphere, ellipsoid, write, stored },
    tables: [sphere, ellipsoid].map(({ earth, rows }) => ({
      title: `Milliseconds of a query, ${count.toLocaleString("en-US")} documents in memory, ${earth}; ours reads each document that is given`,
      columns: earth === "sphere" ? columns : columns.slice(0, 6),
      rows: rows.map(({ brute, found, get, list, name, ours, peer }) => [
        name,
        digits(found),
        digits(ours),
        digits(list),
        digits(get),
        digits(brute),
        ...(peer === undefined ? [] : [digits(peer)])
      ])
    })),
    notes: [
      `every answer is that of a look at all documents, ${queriesOn.sphere} queries each on the sphere, ${queriesOn.ellipsoid} on the ellipsoid`,
      `a write with its key: ${digits(write)} ms; a document and its key in the store: ${digits(stored)} bytes of memory`,
      hasPeer
        ? `${title("kdbush")} with geokdbush: built in ${digits(sphere.build * 1_000)} µs and ${digits(sphere.memory)} bytes of memory a point; it has the points, and no documents`
        : `${title("kdbush")} is not installed: npm run bench:peers`
    ]
  }
}
