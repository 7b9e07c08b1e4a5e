import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Segments from "effect-s3db/plugins/Segments"
import * as Vector from "effect-s3db/plugins/Vector"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { memory, openOn } from "../fixture.ts"
import { irises, species } from "./vector/iris.ts"

class Notes extends Resource.Service<Notes>()("effect-s3db/test/plugins/Vector.test/Notes", {
  schema: Schema.Struct({
    id: Schema.String,
    kind: Schema.optionalKey(Schema.String),
    owner: Schema.optionalKey(Schema.String),
    vector: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Finite)))
  }),
  primaryKey: "id",
  name: "notes",
  partitions: { byKind: ["kind"] }
}) {}

type Store = Effect.Success<typeof memory>
type Options = Partial<Pick<Vector.Options<typeof Notes>, "dimensions" | "metric">>

const openNotes = Effect.fnUntraced(function* (store: Store, options: Options = {}) {
  const { database } = yield* openOn(store)
  const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database, database)
  const vectors = yield* Vector.make({ resource: Notes, field: "vector", ...options }).pipe(
    Effect.provideService(Notes, notes),
    Effect.provideService(Database, database)
  )
  return { database, notes, vectors }
})

const draw = (size: number, dimensions: number) =>
  Effect.gen(function* () {
    const random = yield* Random.Random
    return Array.from({ length: size }, () =>
      Array.from({ length: dimensions }, () => random.nextDoubleUnsafe() * 2 - 1)
    )
  }).pipe(Random.withSeed("vectors"))

const told = <A extends { readonly id: string }>({ items }: Vector.Page<A>) =>
  items.map(({ distance, document: { id } }) => ({ id, distance }))

const scan = { scan: true }

describe("Vector", () => {
  it.effect("finds what looking at all finds, by each metric, page by page", () =>
    Effect.gen(function* () {
      const { notes, vectors } = yield* openNotes(yield* memory)
      const all = (yield* draw(2_500, 5)).map((vector, i) => ({ id: `n${i}`, kind: `k${i % 3}`, vector }))
      yield* notes.insertMany(all)
      yield* notes.insertMany([{ id: "none" }, { id: "null", vector: null }, { id: "short", vector: [1] }])
      const [query, other] = yield* draw(2, 5)
      for (const metric of ["cosine", "euclidean", "manhattan", "dot"] as const) {
        const expected = all
          .map(({ id, vector }) => ({ id, distance: Vector.distance(query!, vector, metric)! }))
          .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        const found: Array<{ id: string; distance: number }> = []
        let cursor: string | undefined
        for (let page = 0; page < 2; page++) {
          const next = yield* vectors.search({ vector: query!, metric, limit: 40, cursor, ...scan })
          found.push(...told(next))
          cursor = next.cursor
          assert.strictEqual(next.compared, 2_500)
          assert.strictEqual(next.skipped, 2)
        }
        assert.deepStrictEqual(found, expected.slice(0, 80))
        const threshold = expected[70]!.distance
        const near = yield* vectors.search({ vector: query!, metric, limit: 1_000, threshold, ...scan })
        assert.deepStrictEqual(told(near), expected.slice(0, 71))
        assert.isUndefined(near.cursor)
      }
      const [one, two] = yield* vectors.searchMany([query!, other!], { partition: "byKind", values: { kind: "k1" } })
      assert.strictEqual(one!.compared, 834 - 1)
      const where = { kind: "k1" }
      assert.deepStrictEqual(one, yield* vectors.search({ vector: query!, where }))
      assert.deepStrictEqual(told(two!), told(yield* vectors.search({ vector: other!, where, ...scan })))
      const like = yield* vectors.similarTo("n7", { limit: 3, ...scan })
      assert.notInclude(
        told(like).map(({ id }) => id),
        "n7"
      )
      const itself = yield* vectors.search({ vector: all[7]!.vector, limit: 4, ...scan })
      assert.deepStrictEqual(told(itself).slice(1), told(like))
    })
  )

  it.effect("takes documents that are equally near by their ids, whatever these are", () =>
    Effect.gen(function* () {
      const { notes, vectors } = yield* openNotes(yield* memory)
      const ids = ["__proto__", "a/b", "constructor", "é", "\u{1f980}", "0", "-1", "a b"]
      yield* notes.insertMany(ids.map((id) => ({ id, vector: [0, 0, 1] })))
      const found: Array<string> = []
      let cursor: string | undefined
      do {
        const page = yield* vectors.search({ vector: [0, 0, 2], limit: 3, cursor, ...scan })
        found.push(...told(page).map(({ id }) => id))
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepStrictEqual(
        found,
        ids.toSorted((a, b) => (a < b ? -1 : 1))
      )
    })
  )

  it.effect("sees a write at once, and no document that is gone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { vectors } = yield* openNotes(store)
      const { notes } = yield* openNotes(store)
      const near = Effect.map(vectors.search({ vector: [1, 0], ...scan }), (page) => told(page).map(({ id }) => id))
      yield* notes.insertMany([
        { id: "a", vector: [1, 0] },
        { id: "b", vector: [1, 1] }
      ])
      assert.deepStrictEqual(yield* near, ["a", "b"])
      yield* notes.patch("a", { vector: [-1, 0] })
      assert.deepStrictEqual(yield* near, ["b", "a"])
      yield* notes.delete("b")
      assert.deepStrictEqual(yield* near, ["a"])
    })
  )

  it.effect("reads copies where there are some, and the documents that are newer", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database, notes, vectors } = yield* openNotes(store)
      const all = (yield* draw(2_500, 4)).map((vector, i) => ({ id: `n${i}`, vector }))
      yield* notes.insertMany(all)
      yield* Effect.gen(function* () {
        yield* (yield* Segments.Segments).compactNow()
        yield* notes.insert({ id: "new", vector: [9, 9, 9, 9] })
        yield* counter.reset
        const page = yield* vectors.search({ vector: [1, 1, 1, 1], ...scan })
        assert.strictEqual(page.items[0]!.document.id, "new")
        assert.strictEqual(page.compared, 2_501)
        const { get = 0, list = 0 } = yield* counter.counts
        assert.isAtMost(get + list, 8)
      }).pipe(
        Effect.provide(
          Segments.layer({ resources: [Notes] }).pipe(
            Layer.provide(Layer.succeed(Notes, notes)),
            Layer.provide(Layer.succeed(Database, database))
          )
        )
      )
    })
  )

  it.effect("groups documents, and says how many groups there are", () =>
    Effect.gen(function* () {
      const { notes, vectors } = yield* openNotes(yield* memory, { metric: "euclidean" })
      const flowers = irises.map((vector, i) => ({ id: `${i}`, kind: `${species[i]}`, vector }))
      yield* notes.insertMany(flowers)
      yield* notes.insert({ id: "other", vector: [1, 2] })
      const found = yield* vectors.cluster({ k: 3, seed: "irises", runs: 10, ...scan })
      assert.deepStrictEqual(
        found.clusters.map(({ size }) => size).toSorted((a, b) => a - b),
        [38, 50, 62]
      )
      assert.closeTo(found.inertia, 78.851441426146, 1e-4)
      assert.isTrue(found.converged)
      assert.strictEqual(found.skipped, 1)
      assert.strictEqual(found.members.size, 150)
      for (const { id, vector } of flowers) {
        const { cluster, distance } = found.members.get(id)!
        const nearest = Math.min(
          ...found.clusters.map(({ centroid }) => Vector.distance(centroid, vector, "euclidean")!)
        )
        assert.closeTo(distance, nearest, 1e-6)
        assert.closeTo(distance, Vector.distance(found.clusters[cluster]!.centroid, vector, "euclidean")!, 1e-6)
      }
      assert.deepStrictEqual(yield* vectors.cluster({ k: 3, seed: "irises", runs: 10, ...scan }), found)
      // Numbers that groups are not made of, which are no numbers of 32 bits.
      yield* notes.insert({ id: "large", vector: [1e39, 0, 0, 1] })
      const same = yield* vectors.cluster({ k: 3, seed: "irises", runs: 10, ...scan })
      assert.deepStrictEqual(same, { ...found, skipped: 2 })
      const setosa = yield* vectors.cluster({ k: 1, where: { kind: "0" } })
      assert.strictEqual(setosa.members.size, 50)
      const { confidence, k, measures, votes } = yield* vectors.optimalClusters({ seed: 1, sample: 100, ...scan })
      assert.deepStrictEqual(
        measures.map((one) => one.k),
        [2, 3, 4, 5, 6, 7]
      )
      assert.include([2, 3], k)
      assert.strictEqual(votes.silhouette, 2)
      assert.isAtLeast(confidence, 2 / 6)
    })
  )

  it.effect("says which field is wrong, before anything is read", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { notes, vectors } = yield* openNotes(store)
      yield* notes.insertMany([{ id: "a", vector: [1, 0] }, { id: "b", vector: [0, 1] }, { id: "c" }])
      const fieldOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
        Effect.map(Effect.flip(effect), (error) => ("field" in error ? error.field : error._tag))
      const { cursor } = yield* vectors.search({ vector: [1, 0], limit: 1, ...scan })
      yield* counter.reset
      const search = (request: Omit<Vector.SearchRequest<never>, "vector">, vector: ReadonlyArray<number> = [1, 0]) =>
        fieldOf(vectors.search({ ...request, vector, ...scan }))
      assert.strictEqual(yield* search({}, []), "vector")
      assert.strictEqual(yield* search({}, [Number.NaN, 1]), "vector")
      assert.strictEqual(yield* search({ limit: 0 }), "limit")
      assert.strictEqual(yield* search({ limit: 1_001 }), "limit")
      assert.strictEqual(yield* search({ threshold: Number.NaN }), "threshold")
      assert.strictEqual(yield* search({ metric: "hamming" as "dot" }), "metric")
      assert.strictEqual(yield* search({ cursor: "x" }), "cursor")
      assert.strictEqual(yield* search({ cursor }, [0, 1]), "cursor")
      assert.strictEqual(yield* search({ cursor, metric: "euclidean" }), "cursor")
      assert.strictEqual(yield* search({ cursor: JSON.stringify([JSON.parse(cursor!)[0], "NaN", "a"]) }), "cursor")
      assert.strictEqual(yield* fieldOf(vectors.searchMany([], scan)), "vectors")
      assert.strictEqual(yield* fieldOf(vectors.searchMany([[1], [1, 2]], scan)), "vector")
      assert.strictEqual(yield* fieldOf(vectors.searchMany({ vectors: [[1, 0]] } as never, scan)), "vectors")
      assert.strictEqual(yield* fieldOf(vectors.cluster({ k: 0, ...scan })), "k")
      assert.strictEqual(yield* fieldOf(vectors.cluster({ k: 1, runs: 0, ...scan })), "runs")
      assert.strictEqual(yield* fieldOf(vectors.cluster({ k: 1, tolerance: -1, ...scan })), "tolerance")
      assert.strictEqual(yield* fieldOf(vectors.cluster({ k: 1, metric: "dot" as "cosine", ...scan })), "metric")
      assert.strictEqual(yield* fieldOf(vectors.optimalClusters({ min: 1, ...scan })), "min")
      assert.strictEqual(yield* fieldOf(vectors.optimalClusters({ min: 4, max: 3, ...scan })), "max")
      assert.strictEqual(yield* fieldOf(vectors.search({ vector: [1, 0] })), "NotAllowed")
      assert.deepStrictEqual(
        Object.values(yield* counter.counts).filter((count) => count > 0),
        []
      )
      assert.strictEqual(yield* fieldOf(vectors.cluster({ k: 3, ...scan })), "k")
      assert.strictEqual(yield* fieldOf(vectors.optimalClusters(scan)), "max")
      assert.strictEqual(yield* fieldOf(vectors.similarTo("c", scan)), "vector")
      assert.strictEqual(yield* fieldOf(vectors.similarTo("gone", scan)), "NotFound")
      assert.strictEqual(yield* fieldOf(Effect.scoped(openNotes(store, { dimensions: 0 }))), "dimensions")
      const two = yield* Effect.flip(
        (yield* openNotes(store, { dimensions: 3 })).vectors.search({ vector: [1, 0], ...scan })
      )
      assert.strictEqual(two.message, 'vectors of "notes", vector: Expected 3 numbers')
    })
  )

  it.effect("takes only fields that are vectors, and none that is secret", () =>
    Effect.gen(function* () {
      // @ts-expect-error a text is no vector
      const wrong: Vector.Options<typeof Notes>["field"] = "kind"
      assert.strictEqual(wrong, "kind")
      const embedding: Vector.VectorField<{ readonly at: ReadonlyArray<number>; readonly id: string }> = "at"
      assert.strictEqual(embedding, "at")
      class Faces extends Resource.Service<Faces>()("effect-s3db/test/plugins/Vector.test/Faces", {
        schema: Schema.Struct({ id: Schema.String, face: Attribute.Secret(Schema.String) }),
        primaryKey: "id"
      }) {}
      const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
      const { database } = yield* openOn(yield* memory)
      const faces = yield* Resource.make(Faces.definition).pipe(
        Effect.provideService(Database, database),
        Effect.provide(ring)
      )
      const error = yield* Vector.make({ resource: Faces, field: "face" as never }).pipe(
        Effect.provideService(Faces, faces),
        Effect.provideService(Database, database),
        Effect.flip
      )
      assert.strictEqual(
        error.message,
        `vectors of ${JSON.stringify(Faces.definition.name)}, field: Expected a field that can be shown, not one which is secret`
      )
    })
  )

  it.effect("shows nobody what a guard hides, nor how many there are of it", () =>
    Effect.gen(function* () {
      class Similar extends Vector.Service<Similar>()("effect-s3db/test/plugins/Vector.test/Similar", {
        resource: Notes,
        field: "vector"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const owner = Guard.owner<{ readonly owner?: string }>("owner")
      const rules = { insert: Guard.allow, listIds: owner, query: owner, get: owner }
      const layer = Similar.layer.pipe(
        Layer.provideMerge(Resource.guard(Notes, rules)),
        Layer.provide(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        const similar = yield* Similar
        const notes = yield* Notes
        yield* notes.insert({ id: "a", owner: "ada", vector: [1, 0] })
        yield* notes.insert({ id: "b", owner: "bob", vector: [1, 0] })
        const as = <A, E>(id: string, effect: Effect.Effect<A, E>) =>
          Effect.provideService(effect, CurrentUser.CurrentUser, CurrentUser.make(id))
        const near = similar.search({ vector: [1, 0], ...scan })
        const { compared, items } = yield* as("ada", near)
        assert.strictEqual(compared, 1)
        assert.deepStrictEqual(
          items.map(({ document }) => document.id),
          ["a"]
        )
        assert.strictEqual((yield* as("eve", near)).compared, 0)
        assert.strictEqual((yield* as("bob", similar.cluster({ k: 1, ...scan }))).members.size, 1)
        assert.strictEqual((yield* Effect.exit(as("ada", similar.similarTo("b", scan))))._tag, "Failure")
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("vectors", () => {
  it("are brought to length 1, and stay what they are where they have none", () => {
    const zero = [0, 0]
    assert.deepStrictEqual(Vector.normalize(zero), [0, 0])
    assert.notStrictEqual(Vector.normalize(zero), zero)
    assert.deepStrictEqual(Vector.normalize([3, 4]), [0.6, 0.8])
    assert.isUndefined(Vector.distance([1], [1, 2]))
    assert.strictEqual(Vector.distance([1, 0], [0, 1]), 1)
  })
})

describe("rankings", () => {
  it("have a scalar product whatever its parts are", () => {
    assert.strictEqual(Vector.distance([1e200, 1e200], [1e200, -1e200], "dot"), 0)
    assert.strictEqual(Vector.distance([1e308, -1e308, 0], [1e308, 1e308, 1], "dot"), 0)
    assert.strictEqual(Vector.distance([1e200, 1e200], [2e200, -1e200], "dot"), -Infinity)
    assert.strictEqual(Vector.distance([1e200, 1e200], [1e200, 1e200], "dot"), -Infinity)
  })

  it("are put together by the ranks of what they have", () => {
    const fused = Vector.fuse(
      [
        ["a", "b", "c", "a"],
        ["c", "d", "a"]
      ],
      { by: (item) => item }
    )
    assert.deepStrictEqual(
      fused.map(({ item }) => item),
      ["a", "c", "b", "d"]
    )
    assert.strictEqual(fused[0]!.score, 1 / 61 + 1 / 63)
    assert.strictEqual(fused[2]!.score, 1 / 62)
    const weighted = Vector.fuse([["a"], ["b"]], { by: (item) => item, weights: [1, 2] })
    assert.deepStrictEqual(weighted, [
      { item: "b", score: 2 / 61 },
      { item: "a", score: 1 / 61 }
    ])
    const hostile = Vector.fuse([["__proto__", "constructor"], ["constructor"]], { by: (item) => item })
    assert.deepStrictEqual(
      hostile.map(({ item }) => item),
      ["constructor", "__proto__"]
    )
    assert.deepStrictEqual(Vector.fuse<string>([], { by: (item) => item }), [])
  })
})
