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
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { keysOf, memory, openOn } from "../fixture.ts"
import {
  clustered,
  comparesAll,
  driven,
  entriesOf,
  filled,
  idsOf,
  metrics,
  nearestOf,
  openSongs,
  pagesOf,
  type Settings,
  Songs,
  storages,
  type Store
} from "./nearby.ts"

const recallOf = (found: ReadonlyArray<string>, expected: ReadonlyArray<{ readonly id: string }>) =>
  expected.filter(({ id }) => found.includes(id)).length / expected.length

describe("VectorIndex", () => {
  it.effect("finds what comparing all finds, by each metric and storage, page by page", () =>
    // All of them together: VectorIndex.deep.test.ts.
    Effect.forEach(metrics, (metric, i) => comparesAll(metric, storages[i % storages.length]!), { discard: true })
  )

  it.effect("takes as many requests as it says, and finds nearly all", () =>
    Effect.gen(function* () {
      const vectors = clustered(3, 6_000, 32, 60, 0.6)
      const memoryStore = yield* memory
      const settings: Settings = { dimensions: 32, exactUntil: 1_000 }
      yield* filled(memoryStore, vectors, settings)
      const { counter, store } = InstrumentedStore.make(memoryStore)
      const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0))
      const status = yield* Effect.flatMap(openSongs(store, settings), ({ index }) => index.status)
      assert.strictEqual(status.segments, 1)
      assert.strictEqual(status.lists, 77)
      let recall = 0
      const queries = clustered(3, 6_012, 32, 60, 0.6).slice(6_000)
      for (const vector of queries) {
        const { index } = yield* openSongs(store, { ...settings, maxAge: "1 hour" })
        yield* counter.reset
        const { items, lists } = yield* index.lookup({ vector })
        assert.strictEqual(lists, status.probes)
        assert.isAtMost(yield* requests, 2 + status.probes)
        recall +=
          recallOf(
            items.map(({ id }) => id),
            nearestOf(entriesOf(vectors), vector, 10)
          ) / queries.length
        // Nothing but documents where all is known.
        yield* counter.reset
        assert.strictEqual(idsOf(yield* index.search({ vector })).length, 10)
        assert.isAtMost(yield* requests, 10)
      }
      assert.isAtLeast(recall, 0.95)
    })
  )

  it.effect("finds new lists when there are far more documents, and few segments of many writes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const settings: Settings = { exactUntil: 50, recall: 1 }
      const vectors = clustered(5, 900, 2, 9)
      const { index, settle, songs } = yield* openSongs(store, settings)
      yield* driven(settle)
      let most = 0
      const lists = new Set<number>()
      for (let at = 0; at < vectors.length; at += 10) {
        yield* songs.insertMany(vectors.slice(at, at + 10).map((sound, i) => ({ id: `s${at + i}`, sound })))
        yield* driven(settle)
        const status = yield* index.status
        most = Math.max(most, status.segments)
        lists.add(status.lists)
      }
      assert.isAtMost(most, 20)
      // None, those of 50, of 200 and of 800.
      assert.deepStrictEqual([...lists], [0, 7, 14, 28])
      const { items } = yield* index.search({ vector: vectors[7]!, limit: 50 })
      const expected = nearestOf(entriesOf(vectors), vectors[7]!, 50)
      assert.deepStrictEqual(
        items.map(({ distance, document: { id } }) => ({ id, distance })),
        expected
      )
      yield* driven(index.compact)
      assert.strictEqual((yield* index.status).segments, 1)
      assert.deepStrictEqual(yield* driven(Stream.runCollect(index.verify)), [])
    })
  )

  it.effect("filters by conditions and by partition, before or after, and looks at more where few are left", () =>
    Effect.gen(function* () {
      const vectors = clustered(6, 4_000, 16, 40, 0.7)
      const store = yield* memory
      const { index } = yield* filled(store, vectors, { dimensions: 16, exactUntil: 500 })
      const [vector] = clustered(6, 4_001, 16, 40, 0.7).slice(4_000)
      const only = (keep: (i: number) => boolean) =>
        nearestOf(
          entriesOf(vectors).filter((_, i) => keep(i)),
          vector!,
          10
        )
      // 80 documents: all of them are compared.
      const few = yield* index.search({ vector: vector!, within: { partition: "byKind", values: { kind: "k7" } } })
      assert.deepStrictEqual(
        idsOf(few),
        only((i) => i % 50 === 7).map(({ id }) => id)
      )
      assert.isTrue(few.isExact)
      // 2 %, and half of them.
      const rare = yield* index.search({ vector: vector!, where: { year: { gte: 98 } } })
      assert.isAtLeast(
        recallOf(
          idsOf(rare),
          only((i) => i % 100 >= 98)
        ),
        0.9
      )
      for (const { document } of rare.items) assert.isAtLeast(document.year!, 98)
      const half = yield* index.search({ vector: vector!, where: { year: { lt: 50 } } })
      assert.isAtLeast(
        recallOf(
          idsOf(half),
          only((i) => i % 100 < 50)
        ),
        0.9
      )
      // None: every list is looked at.
      const none = yield* index.search({ vector: vector!, where: { year: 1_000 }, threshold: 0.05 })
      assert.deepStrictEqual([idsOf(none), none.cursor], [[], undefined])
      // Without conditions it is one page after the other, without gaps or doubles.
      const all = yield* pagesOf((cursor) => index.search({ vector: vector!, limit: 500, cursor, recall: 1 }))
      assert.deepStrictEqual(all, nearestOf(entriesOf(vectors), vector!, 4_000))
    })
  )

  it.effect("conditions that few meet are asked first, where an index answers them and that takes less", () =>
    Effect.gen(function* () {
      const vectors = clustered(6, 1_000, 8, 20, 0.7)
      const inner = yield* memory
      const settings: Settings = {
        dimensions: 8,
        exactUntil: 500,
        recall: 1,
        maxAge: "1 hour",
        cacheBytes: 64 * 1024 * 1024
      }
      yield* filled(inner, vectors, settings)
      const { counter, store } = InstrumentedStore.make(inner)
      const { index, songs } = yield* openSongs(store, settings)
      const vector = clustered(6, 1_001, 8, 20, 0.7)[1_000]!
      // Manifest, centres and lists are known from now on.
      yield* index.lookup({ vector })
      const asked = Effect.fnUntraced(function* (
        request: Omit<Parameters<typeof index.search>[0], "vector">,
        keep: (i: number) => boolean
      ) {
        yield* counter.reset
        const page = yield* index.search({ vector, limit: 5, ...request })
        const { get = 0, list = 0 } = yield* counter.counts
        const expected = nearestOf(
          entriesOf(vectors).filter((_, i) => keep(i)),
          vector,
          request.limit ?? 5
        )
        assert.deepStrictEqual(
          page.items.map(({ distance, document: { id } }) => ({ id, distance })),
          expected
        )
        return { get, list, page }
      })
      const isSeventh = (i: number) => i % 50 === 7
      // 20 of 1,000: about 250 would be looked at. 32 are, and then those 20.
      const before = yield* asked({ where: { kind: "k7" } }, isSeventh)
      assert.isTrue(before.page.isExact)
      assert.isAtMost(before.get, 32 + 5 + 20)
      assert.strictEqual(before.list, 1)
      const predicate = yield* songs.parseWhere({ kind: "k7" })
      assert.isAtMost((yield* asked({ predicate }, isSeventh)).get, 32 + 5 + 20)
      // Pages go on, without gaps or doubles.
      const all = yield* pagesOf((cursor) => index.search({ vector, where: { kind: "k7" }, limit: 7, cursor }))
      assert.deepStrictEqual(
        all,
        nearestOf(
          entriesOf(vectors).filter((_, i) => isSeventh(i)),
          vector,
          100
        )
      )
      // No index answers this: it stays as it was.
      const scanned = yield* asked({ where: { year: 7 } }, (i) => i % 100 === 7)
      assert.strictEqual(scanned.list, 0)
      assert.isAbove(scanned.get, 32 + 5 + 20)
      // Nor all of this.
      const partly = yield* asked({ where: { kind: "k7", year: 7 } }, (i) => i % 100 === 7)
      assert.strictEqual(partly.list, 0)
      // Most pass: nothing is asked first.
      const many = yield* asked({ where: { year: { gte: 20 } } }, (i) => i % 100 >= 20)
      assert.isAtMost(many.get, 32)
      // Each of several vectors from what was read for the first of them.
      yield* counter.reset
      const three = [vector, vectors[5]!, vectors[900]!]
      const pages = yield* index.searchMany(three, { where: { kind: "k7" }, limit: 5 })
      const { get = 0, list = 0 } = yield* counter.counts
      for (const [i, page] of pages.entries()) {
        const expected = nearestOf(
          entriesOf(vectors).filter((_, i) => isSeventh(i)),
          three[i]!,
          5
        )
        assert.deepStrictEqual(
          idsOf(page),
          expected.map(({ id }) => id)
        )
        assert.isTrue(page.isExact)
      }
      assert.isAtMost(get, 32 + 5 + 20)
      assert.strictEqual(list, 1)
    })
  )

  it.effect("conditions that many meet are not asked first, though an index answers them", () =>
    Effect.gen(function* () {
      // Those around the vector are all of another kind.
      const vectors = clustered(7, 900, 8, 10, 0.7)
      const vector = vectors[0]!
      const order = nearestOf(entriesOf(vectors), vector, 900)
      const far = new Set(order.slice(60).map(({ id }) => id))
      const inner = yield* memory
      const settings: Settings = { dimensions: 8, exactUntil: 100, recall: 1, maxAge: "1 hour" }
      const { settle, songs } = yield* openSongs(inner, settings)
      yield* songs.insertMany(
        vectors.map((sound, i) => ({ id: `s${i}`, kind: far.has(`s${i}`) ? "far" : "near", sound }))
      )
      yield* driven(settle)
      const { counter, store } = InstrumentedStore.make(inner)
      const { index } = yield* openSongs(store, settings)
      yield* index.lookup({ vector })
      yield* counter.reset
      const { isExact, items } = yield* index.search({ vector, where: { kind: "far" }, limit: 5 })
      const { get = 0 } = yield* counter.counts
      assert.deepStrictEqual(
        items.map(({ distance, document: { id } }) => ({ id, distance })),
        order.slice(60, 65)
      )
      assert.isTrue(isExact)
      // It was tried, up to what would have been looked at.
      assert.isAtMost(get, 2 * 33 * 10 + 65)
    })
  )

  it.effect("several vectors at once are what each is by itself, and read a list once", () =>
    Effect.gen(function* () {
      const vectors = clustered(8, 2_000, 16, 30)
      const inner = yield* memory
      const settings: Settings = { dimensions: 16, exactUntil: 500, cacheBytes: 0 }
      yield* filled(inner, vectors, settings)
      const { counter, store } = InstrumentedStore.make(inner)
      const { index } = yield* openSongs(store, settings)
      const asked = vectors.slice(0, 30)
      yield* counter.reset
      const many = yield* index.searchMany(asked, { limit: 3 })
      const { get = 0 } = yield* counter.counts
      const { lists } = yield* index.status
      // The manifest, the centres, each list at most once, and documents.
      assert.isAtMost(get, 2 + lists + new Set(many.flatMap(idsOf)).size + 30)
      for (const [i, vector] of asked.entries()) {
        assert.deepStrictEqual(idsOf(many[i]!), idsOf(yield* index.search({ vector, limit: 3 })), String(i))
      }
      const like = yield* index.similarTo("s5", { limit: 4 })
      assert.deepStrictEqual(idsOf(like), idsOf(yield* index.search({ vector: vectors[5]!, limit: 5 })).slice(1))
    })
  )

  it.effect("shows nobody what a guard hides", () =>
    Effect.gen(function* () {
      class Similar extends VectorIndex.Service<Similar>()("effect-s3db/test/plugins/VectorIndex.test/Similar", {
        resource: Songs,
        field: "sound",
        dimensions: 2,
        indexes: false
      }) {}
      const { database } = yield* openOn(yield* memory)
      const owner = Guard.owner<{ readonly owner?: string }>("owner")
      const rules = { insert: Guard.allow, listIds: owner, query: owner, get: owner }
      const layer = Similar.layer.pipe(
        Layer.provideMerge(Resource.guard(Songs, rules)),
        Layer.provide(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        const similar = yield* Similar
        const songs = yield* Songs
        yield* songs.insert({ id: "a", owner: "ada", sound: [1, 0] })
        yield* songs.insert({ id: "b", owner: "bob", sound: [1, 0] })
        yield* driven(Effect.andThen(database.journal.catchUp(database.journaled), similar.update))
        yield* songs.insert({ id: "c", owner: "ada", sound: [1, 0] })
        const as = <A, E>(id: string, effect: Effect.Effect<A, E>) =>
          Effect.provideService(effect, CurrentUser.CurrentUser, CurrentUser.make(id))
        const near = similar.search({ vector: [1, 0] })
        assert.deepStrictEqual(idsOf(yield* as("ada", near)), ["a"])
        const now = similar.search({ vector: [1, 0], consistent: true })
        assert.deepStrictEqual(idsOf(yield* as("ada", now)), ["a", "c"])
        assert.deepStrictEqual(idsOf(yield* as("eve", now)), [])
        assert.strictEqual((yield* Effect.exit(as("ada", similar.similarTo("b"))))._tag, "Failure")
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("says which part of a request or a declaration is wrong, and that it is not built yet", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { index, settle, songs } = yield* openSongs(store)
      const told = <A, E extends { readonly message: string }>(effect: Effect.Effect<A, E>) =>
        Effect.map(Effect.flip(effect), ({ message }) => message)
      const about = 'index of vectors of "songs", '
      const vector = [1, 0]
      assert.match(yield* told(index.search({ vector })), /does not know enough yet: it is not built yet$/)
      yield* songs.insertMany([
        { id: "a", sound: vector },
        { id: "b", sound: [1] },
        { id: "c", sound: null }
      ])
      yield* driven(settle)
      // Those without such a vector are not there.
      assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a"])
      assert.strictEqual(
        yield* told(index.search({ vector: [1] })),
        `${about}vector: Expected 2 finite numbers that float32 can hold`
      )
      assert.strictEqual(
        yield* told(index.search({ vector, recall: "1" as never })),
        `${about}recall: Expected a number above 0, at most 1`
      )
      assert.strictEqual(
        yield* told(index.search({ vector: [1, NaN] })),
        `${about}vector: Expected 2 finite numbers that float32 can hold`
      )
      for (const large of [1e39, 1e200, -1e308]) {
        assert.strictEqual(
          yield* told(index.search({ vector: [1, large] })),
          `${about}vector: Expected 2 finite numbers that float32 can hold`
        )
      }
      assert.strictEqual(yield* told(index.similarTo("b")), `${about}sound: Expected 2 numbers in document "b"`)
      assert.strictEqual(
        yield* told(index.search({ vector, limit: 0 })),
        `${about}limit: Expected a whole number from 1 to 1,000`
      )
      assert.strictEqual(yield* told(index.search({ vector, threshold: NaN })), `${about}threshold: Expected a number`)
      assert.strictEqual(
        yield* told(index.search({ vector, recall: 0 })),
        `${about}recall: Expected a number above 0, at most 1`
      )
      assert.strictEqual(
        yield* told(index.search({ vector, probes: 0.5 })),
        `${about}probes: Expected a whole number from 1`
      )
      assert.strictEqual(
        yield* told(index.search({ vector, cursor: "x" })),
        `${about}cursor: Expected the cursor of a page of the same request`
      )
      assert.strictEqual(yield* told(index.searchMany([])), `${about}vectors: Expected 1 to 1,000 vectors`)
      const wrong: ReadonlyArray<readonly [Settings, string]> = [
        [{ dimensions: 0 }, "dimensions: Expected a whole number from 1 to 65,536"],
        [{ storage: "int4" as never }, "storage: Expected float32, float16 or int8"],
        [{ metric: "hamming" as never }, "metric: Expected cosine, euclidean, manhattan or dot"],
        [{ recall: 2 }, "recall: Expected a number above 0, at most 1"],
        [{ lists: 0 }, "lists: Expected a whole number from 1 to 65,536"],
        [{ exactUntil: -1 }, "exactUntil: Expected a whole number from 0"],
        [{ objectBytes: 1 }, "objectBytes: Expected a whole number from 65,536"],
        [{ cacheBytes: -1 }, "cacheBytes: Expected a whole number from 0"]
      ]
      for (const [settings, problem] of wrong) {
        assert.strictEqual(yield* told(Effect.scoped(openSongs(store, settings))), about + problem)
      }
    })
  )

  it.effect("has the same documents before and after they are indexed, by numbers of any size", () =>
    Effect.gen(function* () {
      const sizes = [1e308, 1e200, 1e39, 3e38, 65_520, 65_504, 1, 1e-8, 1e-30, 1e-200, 5e-324, 0]
      for (const metric of metrics) {
        for (const storage of storages) {
          const { index, settle, songs } = yield* openSongs(yield* memory, { metric, storage })
          yield* driven(settle)
          yield* songs.insertMany(sizes.map((size, i) => ({ id: `s${i}`, sound: [size, -size] })))
          const found = (consistent: boolean) =>
            Effect.forEach(
              [
                [3e38, 3e38],
                [-3e38, 3e38],
                [1, 0],
                [0, 0]
              ],
              (vector) => pagesOf((cursor) => index.search({ vector, recall: 1, consistent, limit: 5, cursor }))
            )
          const before = yield* found(true)
          yield* driven(settle)
          assert.deepStrictEqual(yield* found(false), before, `${metric} ${storage}`)
          const held = { float32: ["s3"], float16: ["s5"], int8: ["s3"] }[storage]
          for (const one of before)
            assert.includeMembers(
              one.map(({ id }) => id),
              [...held, "s6", "s11"]
            )
        }
      }
    })
  )

  it.effect("refuses secrets, and resources without a journal", () =>
    Effect.gen(function* () {
      class Faces extends Resource.Service<Faces>()("effect-s3db/test/plugins/VectorIndex.test/Faces", {
        schema: Schema.Struct({ id: Schema.String, face: Attribute.Secret(Schema.String), at: Attribute.Embedding(2) }),
        primaryKey: "id",
        name: "faces"
      }) {}
      const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
      const { database } = yield* openOn(yield* memory)
      const faces = yield* Resource.make(Faces.definition).pipe(
        Effect.provideService(Database, database),
        Effect.provide(ring)
      )
      const told = (field: "at") =>
        VectorIndex.make({ resource: Faces, field }).pipe(
          Effect.provideService(Faces, faces),
          Effect.provideService(Database, database),
          Effect.flip,
          Effect.map(({ message }) => message)
        )
      assert.match(yield* told("face" as never), /^index of vectors of "faces", field: .* not one which is secret/)
      assert.match(yield* told("at"), /resource: Expected a resource with the option journal/)
    })
  )

  it.effect("an object that is damaged or gone is told with its key, and mended by rebuild", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const settings: Settings = { exactUntil: 1, lists: 2, recall: 1 }
      const vectors = clustered(9, 40, 2, 4)
      const { index: built } = yield* filled(store, vectors, settings)
      yield* driven(Effect.andThen(Effect.sleep("2 minutes"), built.update))
      const all = yield* keysOf(store, "resource=songs/plugin=vectorindex/")
      const objects = all.filter((key) => key.includes("/segment/") || key.endsWith("/manifest"))
      assert.strictEqual(objects.length, 3)
      for (const key of objects) {
        for (const isGone of [false, true]) {
          if (isGone && key.endsWith("/manifest")) continue
          // Keys are other ones after a rebuild.
          const now = (yield* keysOf(store, "resource=songs/plugin=vectorindex/")).filter(
            (one) => one.includes("/segment/") || one.endsWith("/manifest")
          )
          const damaged = now[objects.indexOf(key)]!
          if (isGone) yield* store.delete(damaged)
          else {
            const { body, metadata } = yield* store.get(damaged)
            const other = body.slice()
            for (let i = 0; i < other.length; i += 7) other[i]! ^= 1
            yield* store.put({ key: damaged, body: other, metadata })
          }
          const { index } = yield* openSongs(store, settings)
          const error = yield* Effect.flip(index.search({ vector: [1, 0] }))
          assert.strictEqual(error._tag, "VectorIndexDamaged", damaged)
          assert.strictEqual("key" in error ? error.key : undefined, damaged)
          yield* driven(index.rebuild)
          assert.deepStrictEqual(
            idsOf(yield* index.search({ vector: [1, 0], limit: 40 })),
            nearestOf(entriesOf(vectors), [1, 0], 40).map(({ id }) => id)
          )
          yield* driven(Effect.andThen(Effect.sleep("2 minutes"), index.update))
        }
      }
    })
  )

  it.effect("removes what was declared otherwise, and nothing else", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const vectors = clustered(9, 40, 2, 4)
      yield* filled(store, vectors, { metric: "dot" })
      const { index } = yield* openSongs(store, {})
      yield* driven(index.update)
      assert.isAbove(yield* index.removeOthers, 0)
      assert.strictEqual(yield* index.removeOthers, 0)
      assert.strictEqual(idsOf(yield* index.search({ vector: [1, 0] })).length, 10)
      const other = yield* openSongs(store, { metric: "dot" })
      assert.strictEqual((yield* Effect.flip(other.index.search({ vector: [1, 0] })))._tag, "VectorIndexIncomplete")
    })
  )

  it.effect("reads what a store gives as a part of something else, as that of files does", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const vectors = clustered(4, 60, 2, 4)
      for (const storage of storages) {
        const store: Store = {
          ...inner,
          get: (...args) =>
            Effect.map(inner.get(...args), (found) => {
              const larger = Buffer.alloc(found.body.length + 3)
              larger.set(found.body, 3)
              return { ...found, body: larger.subarray(3) }
            })
        }
        const { index, settle, songs } = yield* openSongs(store, { exactUntil: 1, lists: 3, recall: 1, storage })
        yield* Effect.forEach(entriesOf(vectors), ([id, sound]) => songs.replace({ id, sound }), { discard: true })
        yield* driven(settle)
        const expected = nearestOf(entriesOf(vectors), [1, 0], 60)
        assert.deepStrictEqual(
          idsOf(yield* index.search({ vector: [1, 0], limit: 60 })),
          expected.map(({ id }) => id)
        )
      }
    })
  )
})
