/** Indexes of vectors over a resource, and what they find. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as Vector from "effect-s3db/plugins/Vector"
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import { crashing, memory, openOn } from "../fixture.ts"
import { driven, type Store, type Subject } from "./indexers.ts"
import { randomOf } from "./places.ts"

export { driven, type Store } from "./indexers.ts"

export class Songs extends Resource.Service<Songs>()("effect-s3db/test/plugins/nearby/Songs", {
  schema: Schema.Struct({
    id: Schema.String,
    kind: Schema.optionalKey(Schema.String),
    owner: Schema.optionalKey(Schema.String),
    year: Schema.optionalKey(Schema.Int),
    sound: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Finite)))
  }),
  primaryKey: "id",
  name: "songs",
  partitions: { byKind: ["kind"] },
  journal: true
}) {}

export type Song = (typeof Songs)["definition"]["schema"]["Type"]
export type Settings = Omit<Partial<VectorIndex.Options<typeof Songs>>, "field" | "resource">

/** Opens the songs and their index, as a process of its own. */
export const openSongs = Effect.fnUntraced(function* (store: Store, settings: Settings = {}) {
  const { database } = yield* openOn(store)
  const songs = yield* Effect.provideService(Resource.make(Songs.definition), Database, database)
  const index = yield* VectorIndex.make({
    resource: Songs,
    field: "sound",
    dimensions: 2,
    indexes: false,
    maxAge: 0,
    lease: "1 second",
    ...settings
  }).pipe(Effect.provideService(Songs, songs), Effect.provideService(Database, database))
  /** Brings what was committed into the journal, and all of that into the index. */
  const settle = Effect.andThen(database.journal.catchUp(database.journaled, { lease: "1 second" }), index.update)
  return { database, songs, index, settle }
})

export type Opened = Effect.Success<ReturnType<typeof openSongs>>

export const idsOf = ({ items }: { readonly items: ReadonlyArray<{ readonly document: { readonly id: string } }> }) =>
  items.map(({ document }) => document.id)

/** What is nearest of documents in memory, by comparing all. */
export const nearestOf = (
  all: Iterable<readonly [string, ReadonlyArray<number>]>,
  vector: ReadonlyArray<number>,
  limit: number,
  metric: Vector.Metric = "cosine"
) =>
  [...all]
    .map(([id, its]) => ({ id, distance: Vector.distance(vector, its, metric)! }))
    .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
    .slice(0, limit)

/** Vectors around some centres, by a seed. */
export const clustered = (seed: number, count: number, dimensions: number, centres: number, spread = 0.35) => {
  const random = randomOf(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const middles = Array.from({ length: centres }, () => Array.from({ length: dimensions }, normal))
  return Array.from({ length: count }, () => {
    const middle = middles[Math.floor(random() * centres)]!
    return middle.map((value) => Math.fround(value + spread * normal()))
  })
}

/** What happens at random, by a seed, in two processes with indexers that crash, against documents in memory. */
export const history = Effect.fnUntraced(function* (seed: number) {
  const random = randomOf(seed)
  const pick = <A>(all: ReadonlyArray<A>) => all[Math.floor(random() * all.length)]!
  const store = yield* memory
  // Lists, or none; objects so small that merging takes several steps.
  const settings: Settings = {
    exactUntil: pick([0, 5, 1_000]),
    lists: 3,
    recall: 1,
    objectBytes: 64 * 1024,
    storage: pick(["float32", "int8", "float16"])
  }
  const processes = [yield* openSongs(store, settings), yield* openSongs(store, settings)]
  yield* driven(processes[0]!.settle)
  const all = new Map<string, ReadonlyArray<number>>()
  const done: Array<string> = []
  const vectorOf = () => [Math.round(random() * 8) - 4, Math.round(random() * 8) - 4]
  for (let i = 0; i < 40; i++) {
    const { database, index, songs } = pick(processes)
    const id = `d${Math.floor(random() * 16)}`
    const kind = random()
    const told = `seed ${seed}: ${done.slice(-8).join(", ")}`
    if (kind < 0.4) {
      const sound = vectorOf()
      yield* songs.replace({ id, sound })
      all.set(id, sound)
      done.push(`${id} = ${sound.join(" ")}`)
    } else if (kind < 0.52) {
      yield* songs.delete(id)
      all.delete(id)
      done.push(`delete ${id}`)
    } else if (kind < 0.6) {
      yield* driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
      done.push("journal")
    } else if (kind < 0.7) {
      yield* driven(pick([index.update, index.compact, index.rebuild]))
      done.push("index")
    } else if (kind < 0.8) {
      // An indexer that is killed.
      const crash = crashing(store, 8 + Math.floor(random() * 25), pick(["before", "after"]))
      const work = Effect.flatMap(openSongs(crash.store, settings), ({ index }) =>
        pick([index.update, index.compact, index.rebuild])
      )
      yield* Effect.exit(Effect.scoped(driven(Effect.scoped(work))))
      done.push("crash")
    } else {
      const vector = vectorOf()
      const now = yield* index.search({ vector, consistent: true, limit: 5 })
      assert.deepStrictEqual(
        now.items.map(({ distance, document: { id } }) => ({ id, distance })),
        nearestOf(all, vector, 5),
        told
      )
      const known = yield* index.search({ vector, limit: 100 })
      assert.strictEqual(new Set(idsOf(known)).size, known.items.length, told)
      for (const { distance, document } of known.items) {
        assert.strictEqual(distance, Vector.distance(vector, all.get(document.id) ?? []), told)
      }
    }
  }
  const [{ index, settle } = processes[0]!] = processes
  yield* driven(settle)
  assert.deepStrictEqual(yield* driven(Stream.runCollect(index.verify)), [], `seed ${seed}`)
  assert.strictEqual((yield* index.status).documents, all.size)
  const vector = vectorOf()
  const { items } = yield* index.search({ vector, limit: 100 })
  assert.deepStrictEqual(
    items.map(({ distance, document: { id } }) => ({ id, distance })),
    nearestOf(all, vector, 100)
  )
})

/** Lists, with so few documents, and objects so small that a merge takes several steps. */
export const listed: Settings = { exactUntil: 1, lists: 3, recall: 1, objectBytes: 64 * 1024 }

const subjectOf = (name: string, settings: Settings, beside: number): Subject => ({
  name,
  plugin: "vectorindex",
  beside,
  history,
  open: (store, options) =>
    Effect.map(openSongs(store, { ...settings, ...options }), ({ songs, ...opened }) => ({
      ...opened,
      write: (id, place) => songs.replace({ id, sound: [1, place * 0.1] }),
      remove: (id) => songs.delete(id),
      found: (asked) => Effect.map(opened.index.search({ vector: [1, 0], limit: 100, ...asked }), idsOf)
    }))
})

/** Of which one object has the centres. */
export const withLists: Subject = subjectOf("vectors in lists", listed, 1)

export const withoutLists: Subject = subjectOf("vectors", {}, 0)

export const metrics = ["cosine", "euclidean", "manhattan", "dot"] as const
export const storages = ["float32", "float16", "int8"] as const

/** Songs with these vectors, and their index up to date. */
export const filled = Effect.fnUntraced(function* (
  store: Store,
  vectors: ReadonlyArray<ReadonlyArray<number>>,
  settings: Settings
) {
  const opened = yield* openSongs(store, settings)
  yield* opened.songs.insertMany(vectors.map((sound, i) => ({ id: `s${i}`, kind: `k${i % 50}`, year: i % 100, sound })))
  yield* driven(opened.settle)
  return opened
})

export const entriesOf = (vectors: ReadonlyArray<ReadonlyArray<number>>) =>
  vectors.map((vector, i) => [`s${i}`, vector] as const)

/** All that a search finds, page by page. */
export const pagesOf = Effect.fnUntraced(function* (
  search: (
    cursor: string | undefined
  ) => Effect.Effect<
    | Vector.Page<{ readonly id: string }>
    | { readonly items: ReadonlyArray<Vector.Match<{ readonly id: string }>>; readonly cursor: string | undefined },
    unknown
  >
) {
  const found: Array<{ readonly id: string; readonly distance: number }> = []
  let cursor: string | undefined
  do {
    const page = yield* search(cursor)
    found.push(...page.items.map(({ distance, document: { id } }) => ({ id, distance })))
    cursor = page.cursor
  } while (cursor !== undefined)
  return found
})

/** An index by a metric and a storage, with lists and without, finds what comparing all finds. */
export const comparesAll = Effect.fnUntraced(function* (
  metric: (typeof metrics)[number],
  storage: (typeof storages)[number]
) {
  const vectors = clustered(1, 300, 8, 6)
  // Some that are as near as each other.
  vectors.push(vectors[3]!, vectors[3]!, vectors[3]!)
  const [query] = clustered(2, 1, 8, 1)
  for (const exactUntil of [0, 1_000]) {
    const told = `${metric} ${storage} ${exactUntil}`
    const settings: Settings = { metric, storage, dimensions: 8, exactUntil, recall: 1, lists: 12 }
    const { index } = yield* filled(yield* memory, vectors, settings)
    const { items } = yield* index.search({ vector: query!, limit: 20 })
    const expected = nearestOf(entriesOf(vectors), query!, 400, metric)
    assert.deepStrictEqual(
      items.map(({ distance, document: { id } }) => ({ id, distance })),
      expected.slice(0, 20),
      told
    )
    const all = yield* pagesOf((cursor) => index.search({ vector: vectors[3]!, limit: 37, cursor }))
    assert.deepStrictEqual(all, nearestOf(entriesOf(vectors), vectors[3]!, 400, metric), told)
    const threshold = expected[30]!.distance
    const near = yield* index.search({ vector: query!, limit: 100, threshold })
    assert.strictEqual(near.items.length, 31, told)
    assert.isUndefined(near.cursor)
    assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], told)
  }
})
