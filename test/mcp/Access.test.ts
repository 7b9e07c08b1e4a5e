/** The store below a server: what it lets through where the store is odd, or another program is in the middle of something. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Database from "effect-s3db/Database"
import * as Access from "effect-s3db/mcp/Access"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"

const notes = Resource.fromAttributes("notes", { text: "string" }, { partitions: { byText: ["text"] } })

const using = (store: ObjectStore["Service"], access?: Access.Access) =>
  Database.layer.pipe(
    Layer.provide(access === undefined ? Layer.effect(ObjectStore, ObjectStore) : Access.layer(access)),
    Layer.provide(Layer.succeed(ObjectStore, store))
  )

const open = Effect.flatMap(Resource.fromCatalog("notes"), Resource.make)

/** A store that counts what is written, and does not say what it can do. */
const counting = (inner: ObjectStore["Service"]) => {
  const writes: Array<string> = []
  const noting = <A>(key: string, effect: Effect.Effect<A, StoreError.StoreError>) =>
    Effect.suspend(() => {
      writes.push(key)
      return effect
    })
  const store: ObjectStore["Service"] = {
    ...inner,
    capabilities: undefined,
    put: (request) => noting(request.key, inner.put(request)),
    delete: (key, options) => noting(key, inner.delete(key, options)),
    deleteMany: (keys, options) => noting(keys.join(), inner.deleteMany(keys, options)),
    copy: (request) => noting(request.to, inner.copy(request))
  }
  return { store, writes }
}

describe("Access", () => {
  it.live("a store of unknown abilities is read without being tried", () =>
    Effect.gen(function* () {
      const { store, writes } = counting(yield* ObjectStore)
      yield* Effect.gen(function* () {
        const repository = yield* Resource.make(notes)
        for (const id of ["a", "b", "c"]) yield* repository.insertJson({ id, text: "x" })
      }).pipe(Effect.provide(using(store)))
      assert.isTrue(writes.some((key) => key.startsWith("s3db-probe/")))
      writes.length = 0
      // The catalog knows the store under this location, or it does not.
      for (const location of [store.location, "elsewhere://the-same"]) {
        const found = yield* Effect.gen(function* () {
          const repository = yield* open
          const page = yield* repository.queryPageJson({ partition: "byText", values: { text: "x" }, limit: 2 })
          return [yield* repository.count(), page.items.length, (yield* repository.getJson("a"))["text"]]
        }).pipe(Effect.provide(using({ ...store, location }, {})))
        assert.deepStrictEqual(found, [3, 2, "x"])
      }
      assert.deepStrictEqual(writes, [])
    }).pipe(Effect.provide(Layer.fresh(MemoryStore.layer)))
  )

  it.live("without a database nothing is made", () =>
    Effect.gen(function* () {
      const { store, writes } = counting(yield* ObjectStore)
      const exit = yield* Effect.exit(Layer.build(using(store, {})))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(writes, [])
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(MemoryStore.layer)))
  )

  it.live("a document in the middle of a transaction is read as it was, also where resources are chosen", () =>
    Effect.gen(function* () {
      const inner = yield* ObjectStore
      // The program dies before it has decided.
      const dying: ObjectStore["Service"] = {
        ...inner,
        put: (request) =>
          request.key.startsWith("transaction=") && request.ifMatch !== undefined
            ? Effect.die("dead")
            : inner.put(request)
      }
      yield* Effect.gen(function* () {
        const repository = yield* Resource.make(notes)
        yield* repository.insertJson({ id: "a", text: "before" })
        const database = yield* Database.Database
        const exit = yield* Effect.exit(
          database.transaction(
            Effect.andThen(
              repository.updateJson("a", { text: "after" }),
              repository.insertJson({ id: "b", text: "after" })
            )
          )
        )
        assert.isTrue(Exit.isFailure(exit))
      }).pipe(Effect.provide(using(dying)))
      for (const access of [{}, { resources: ["notes"] }]) {
        const read = yield* Effect.flatMap(open, (repository) => repository.getJson("a")).pipe(
          Effect.provide(using(inner, access))
        )
        assert.strictEqual(read["text"], "before")
      }
    }).pipe(Effect.provide(Layer.fresh(MemoryStore.layer)))
  )

  it.live(
    "with leave to write and none to destroy no object of a document is deleted or overwritten by a deletion",
    () =>
      Effect.gen(function* () {
        const inner = yield* ObjectStore
        yield* Effect.gen(function* () {
          const repository = yield* Resource.make(notes)
          yield* repository.insertJson({ id: "a", text: "x" })
        }).pipe(Effect.provide(using(inner)))
        const tags = yield* Effect.gen(function* () {
          const repository = yield* open
          const database = yield* Database.Database
          const reason = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
            Effect.match(effect, {
              onFailure: (error) =>
                "reason" in error && typeof error.reason === "object" && error.reason !== null && "_tag" in error.reason
                  ? error.reason._tag
                  : error._tag,
              onSuccess: () => "done"
            })
          const { store } = database
          const [document] = (yield* store.list({ prefix: "resource=notes/data/" })).entries
          return [
            yield* reason(repository.delete("a")),
            yield* reason(repository.delete("a", { mustExist: true })),
            yield* reason(
              database.transaction(
                Effect.andThen(repository.delete("a"), repository.insertJson({ id: "c", text: "z" }))
              )
            ),
            yield* reason(store.delete(document!.key)),
            yield* reason(store.copy({ from: "s3db.json", to: document!.key })),
            yield* reason(store.delete("s3db.json")),
            yield* reason(repository.updateJson("a", { text: "y" })),
            yield* reason(repository.insertJson({ id: "b", text: "y" }))
          ]
        }).pipe(Effect.provide(using(inner, { write: true })))
        assert.deepStrictEqual(tags, [...Array<string>(6).fill("AccessDenied"), "done", "done"])
        const texts = yield* Effect.gen(function* () {
          const repository = yield* open
          return [
            (yield* repository.getJson("a"))["text"],
            yield* repository.count({ partition: "byText", values: { text: "y" } })
          ]
        }).pipe(Effect.provide(using(inner)))
        assert.deepStrictEqual(texts, ["y", 2])
      }).pipe(Effect.provide(Layer.fresh(MemoryStore.layer)))
  )
})
