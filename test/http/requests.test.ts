/** What a request of the API costs, in requests to the store. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Auth, isProblem, serve } from "./api.ts"

class Items extends Resource.Service<Items>()("http/items", {
  schema: Schema.Struct({ id: Schema.String, mode: Schema.String, limit: Schema.optionalKey(Schema.Int) }),
  primaryKey: "id",
  partitions: { byMode: ["mode"], byLimit: ["limit"] }
}) {}

class Plain extends Resource.Service<Plain>()("http/plain", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id"
}) {}

const items = HttpResources.expose(Items)
const plain = HttpResources.expose(Plain, { totals: false })
const Api = HttpResources.api("counted", [items, plain], { prefix: "/api" })

const start = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const made: Array<string> = []
  const told =
    <Args extends ReadonlyArray<unknown>, A, E>(name: string, f: (...args: Args) => Effect.Effect<A, E>) =>
    (...args: Args) =>
      Effect.suspend(() => {
        made.push(name)
        return f(...args)
      })
  const counting: ObjectStore["Service"] = {
    ...store,
    get: told("GET", store.get),
    put: told("PUT", store.put),
    head: told("HEAD", store.head),
    delete: told("DELETE", store.delete),
    deleteMany: told("DELETE", store.deleteMany),
    list: told("LIST", store.list)
  }
  const api = yield* serve(
    HttpResources.layer(Api, [items, plain]).pipe(
      Layer.provide([Items.layer, Plain.layer, Auth]),
      Layer.provide(Database.layerWith({ catalogLease: "1 hour" })),
      Layer.provide(Layer.succeed(ObjectStore, counting))
    )
  )
  yield* api.send("GET", "/api/plain/nothing")
  const cost = Effect.fnUntraced(function* (...request: Parameters<typeof api.send>) {
    made.length = 0
    const answer = yield* api.send(...request)
    return { answer, cost: made.toSorted().join(" ") }
  })
  return { ...api, cost }
})

describe("requests to the store", () => {
  it.effect("are those of the repository", () =>
    Effect.gen(function* () {
      const api = yield* start
      const body = { id: "a", text: "x" }
      const created = yield* api.cost("POST", "/api/plain", { body })
      assert.deepStrictEqual([created.answer.status, created.cost], [201, "PUT"])
      const read = yield* api.cost("GET", "/api/plain/a")
      assert.deepStrictEqual([read.answer.status, read.cost], [200, "GET"])
      const known = { "if-none-match": read.answer.headers.get("etag")! }
      assert.strictEqual((yield* api.cost("GET", "/api/plain/a", { headers: known })).cost, "GET")
      const patched = yield* api.cost("PATCH", "/api/plain/a", { body: { text: "y" } })
      assert.deepStrictEqual([patched.answer.status, patched.cost], [200, "GET PUT"])
      const etag = patched.answer.headers.get("etag")!
      const matched = yield* api.cost("PUT", "/api/plain/a", { body, headers: { "if-match": etag } })
      assert.deepStrictEqual([matched.answer.status, matched.cost], [200, "PUT"])
      assert.strictEqual((yield* api.cost("PUT", "/api/plain/a", { body })).cost, "PUT")
      assert.strictEqual((yield* api.cost("GET", "/api/plain")).cost, "GET LIST")
      assert.strictEqual((yield* api.cost("GET", "/api/plain/-/count")).cost, "LIST")
      assert.strictEqual((yield* api.cost("GET", "/api/items?total=true")).cost, "LIST LIST")
      const again = { body: { ...body, id: "b" }, headers: { "idempotency-key": "k" } }
      // What has expired is swept beside the first of them, by GET and LIST.
      const putsOf = (cost: string) => cost.split(" ").filter((one) => one === "PUT").length
      yield* api.send("POST", "/api/plain", { body: { ...body, id: "0" }, headers: { "idempotency-key": "first" } })
      assert.strictEqual(putsOf((yield* api.cost("POST", "/api/plain", again)).cost), 3)
      const replayed = yield* api.cost("POST", "/api/plain", again)
      assert.deepStrictEqual([replayed.answer.status, putsOf(replayed.cost)], [201, 1])
      assert.strictEqual((yield* api.cost("DELETE", "/api/plain/a")).cost, "DELETE GET")
    })
  )

  it.effect("are none for what is refused", () =>
    Effect.gen(function* () {
      const api = yield* start
      for (const [method, path, options] of [
        ["GET", "/api/plain", { as: "" }],
        ["POST", "/api/plain", { as: "forged", body: {} }],
        ["POST", "/api/plain", { body: { id: "a" } }],
        ["PATCH", "/api/plain/a", { body: { nothing: 1 } }],
        ["PUT", "/api/plain/a", { body: { id: "b", text: "x" } }],
        ["GET", "/api/plain?text=x", {}],
        ["GET", "/api/plain?limit=5000", {}],
        ["GET", "/api/plain?total=true", {}],
        ["GET", "/api/plain/-/count?text[contains]=x", {}],
        ["GET", "/api/plain/-/export.csv?text=x", {}],
        ["POST", "/api/plain/-/bulk", { body: { items: "x" } }],
        ["GET", "/api/nothing", {}]
      ] as const) {
        const { answer, cost } = yield* api.cost(method, path, options)
        assert.strictEqual(cost, "", `${method} ${path}`)
        assert.isAtLeast(answer.status, 400)
      }
    })
  )

  it.effect("a field that is called as a parameter is asked for in filter, and elsewhere as any other", () =>
    Effect.gen(function* () {
      const api = yield* start
      for (const [id, mode] of [
        ["a", "on"],
        ["b", "off"]
      ]) {
        yield* api.send("POST", "/api/items", { body: { id, mode, limit: 7 } })
      }
      const ids = (path: string) =>
        Effect.map(api.send("GET", path), ({ json }) => (json.items as Array<{ id: string }>).map(({ id }) => id))
      assert.deepStrictEqual(yield* ids("/api/items?mode=on"), ["a"])
      assert.deepStrictEqual(yield* ids(`/api/items?filter=${encodeURIComponent('{"limit":7}')}&limit=1`), ["a"])
      assert.strictEqual((yield* api.send("GET", "/api/items/-/count?limit=7")).json.count, 2)
      assert.strictEqual((yield* api.send("GET", "/api/items/-/count?limit=8")).json.count, 0)
      isProblem(yield* api.send("GET", "/api/items?fields=x"), 422)
    })
  )
})
