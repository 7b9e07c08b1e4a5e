/** The nearest documents over HTTP: by place, and by vector. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { type Answer, Auth, isProblem, serve, services } from "./api.ts"
import { AlikePapers, AlikeShops, Api, open, Papers, Shops, shops, ShopsByPlace } from "./nearestApi.ts"

const start = Effect.gen(function* () {
  const isTenants = Guard.record<{ readonly tenant: string }>(
    (one, user) => user !== undefined && one.tenant === user.claims["tenant"]
  )
  const data = Layer.mergeAll(ShopsByPlace.layer, AlikeShops.layer, AlikePapers.layer).pipe(
    Layer.provideMerge(
      Layer.merge(
        Resource.guard(Shops, { "*": isTenants, insert: Guard.allow }),
        Resource.guard(Papers, { "*": isTenants, insert: Guard.allow })
      )
    ),
    Layer.provideMerge(Database.layerWith({ catalogLease: "1 hour" })),
    Layer.provide(Layer.merge(MemoryStore.layer, services))
  )
  const context = yield* Layer.build(data)
  const api = yield* serve(
    HttpResources.layer(Api, [shops, open], { openApi: "public" }).pipe(
      Layer.provide([Layer.succeedContext(context), Auth])
    )
  )
  const documents = [
    { id: "a", tenant: "acme", kind: "cafe", internal: "whale", at: { latitude: 0, longitude: 0 }, like: [0, 0] },
    { id: "b", tenant: "acme", kind: "shop", at: { latitude: 0, longitude: 0.01 }, like: [1, 0] },
    { id: "c", tenant: "acme", kind: "cafe", at: { latitude: 0, longitude: 1 }, like: [3, 0] },
    { id: "x", tenant: "evil", kind: "cafe", at: { latitude: 0, longitude: 0.001 }, like: [0.1, 0] },
    { id: "n", tenant: "acme" }
  ]
  yield* Effect.gen(function* () {
    yield* (yield* Shops).insertMany(documents)
    yield* (yield* Papers).insertMany(documents)
    const database = yield* Database.Database
    yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
    yield* (yield* AlikeShops).update
  }).pipe(Effect.provideContext(context))
  return api
})

const found = ({ json }: Answer) =>
  json.items.map(({ document: { id }, distance }: { document: { id: string }; distance: number }) => [
    id,
    Math.round(distance * 100) / 100
  ])
const admin = { as: "admin:acme" }

describe("documents that are near", () => {
  it.effect("come by their distance, to those who may read them and see where they are", () =>
    Effect.gen(function* () {
      const api = yield* start
      const ask = (query: string, as = "admin:acme") => api.send("GET", `/api/shops/-/near?${query}`, { as })
      const here = "latitude=0&longitude=0"
      const all = yield* ask(here)
      assert.strictEqual(all.status, 200, all.text)
      assert.deepStrictEqual(found(all), [
        ["a", 0],
        ["b", 1111.95],
        ["c", 111195.08]
      ])
      assert.notInclude(all.text, "whale")
      assert.deepStrictEqual(found(yield* ask(`${here}&radius=2000`)).length, 2)
      assert.deepStrictEqual(
        found(yield* ask(`${here}&kind=cafe`)).map(([id]: [string]) => id),
        ["a", "c"]
      )
      assert.deepStrictEqual(found(yield* ask(`${here}&view=cafes&filter={"id":{"ne":"a"}}`)).length, 1)
      const box = encodeURIComponent('{"box":{"south":-1,"west":0.005,"north":1,"east":0.5}}')
      assert.deepStrictEqual(found(yield* ask(`${here}&within=${box}`)), [["b", 1111.95]])
      assert.deepStrictEqual(found(yield* ask(here, "admin:evil")), [["x", 111.2]])
      // A distance tells where something is.
      isProblem(yield* ask(here, "ana:acme"), 403, "NotAllowed")
      isProblem(yield* ask(`${here}&view=ids`), 403, "NotAllowed")
      isProblem(yield* ask(here, ""), 401, "Unauthenticated")
    })
  )

  it.effect("go on page by page for the one who has asked, and say what is wrong with a question", () =>
    Effect.gen(function* () {
      const api = yield* start
      const ask = (query: string) => api.send("GET", `/api/shops/-/near?${query}`, admin)
      const first = yield* ask("latitude=0&longitude=0&limit=2")
      assert.strictEqual(first.json.items.length, 2)
      const link = /^<([^>]+)>; rel="next"$/.exec(first.headers.get("link") ?? "")![1]!
      assert.deepStrictEqual(found(yield* api.send("GET", link, admin)), [["c", 111195.08]])
      isProblem(yield* api.send("GET", link, { as: "admin2:acme" }), 403, "NotAllowed")
      isProblem(yield* api.send("GET", link.replace("latitude=0", "latitude=1"), admin), 400, "InvalidRequest")
      for (const [query, ...path] of [
        ["longitude=0", "query", "latitude"],
        ["latitude=91&longitude=0", "query", "latitude"],
        ["latitude=0&longitude=x", "query", "longitude"],
        ["latitude=0&longitude=0&radius=-1", "query", "radius"],
        ["latitude=0&longitude=0&limit=0", "query", "limit"],
        ["latitude=0&longitude=0&within={", "query", "within"],
        ['latitude=0&longitude=0&within={"circle":{}}', "query", "within"],
        ['latitude=0&longitude=0&within={"polygon":[[[0,0]]]}', "query", "within"]
      ] as const) {
        const answer = yield* ask(query)
        isProblem(answer, 400, "InvalidRequest")
        assert.deepStrictEqual(answer.json.issues[0].path.slice(0, 2), path, query)
      }
      isProblem(yield* ask("latitude=0&longitude=0&limit=51"), 422, "InvalidInput")
      isProblem(yield* ask("latitude=0&longitude=0&internal=whale"), 422, "InvalidInput")
    })
  )
})

describe("documents that are alike", () => {
  const resources = ["shops", "papers"] as const

  it.effect.each(resources)("are found by a vector, or by one of them, within what somebody may read: %s", (name) =>
    Effect.gen(function* () {
      const api = yield* start
      const within = { partition: "byTenant", values: { tenant: "acme" } }
      const ask = (body: object, as = "admin:acme") =>
        api.send("POST", `/api/${name}/-/nearest`, { as, body: { ...within, ...body } })
      const all = yield* ask({ to: [0, 0] })
      assert.strictEqual(all.status, 200, all.text)
      assert.deepStrictEqual(found(all), [
        ["a", 0],
        ["b", 1],
        ["c", 3]
      ])
      assert.isTrue(all.json.isExact)
      assert.strictEqual(all.text.includes("whale"), name === "papers")
      assert.deepStrictEqual(found(yield* ask({ to: "b" })), [
        ["a", 1],
        ["c", 2]
      ])
      assert.deepStrictEqual(found(yield* ask({ to: [0, 0], threshold: 1, filter: { kind: "cafe" } })), [["a", 0]])
      const first = yield* ask({ to: [0, 0], limit: 2 })
      const { cursor } = first.json
      assert.deepStrictEqual(found(yield* ask({ to: [0, 0], limit: 2, cursor })), [["c", 3]])
      isProblem(yield* ask({ to: [0, 1], limit: 2, cursor }), 400, "InvalidRequest")
    })
  )

  it.effect("are hidden from who does not see the vectors, or the document; and what is wrong is told", () =>
    Effect.gen(function* () {
      const api = yield* start
      const ask = (body: unknown, as = "admin:acme", query = "") =>
        api.send("POST", `/api/shops/-/nearest${query}`, { as, body })
      isProblem(yield* ask({ to: [0, 0] }, "ana:acme"), 403, "NotAllowed")
      isProblem(yield* ask({ to: [0, 0] }, "admin:acme", "?view=ids"), 403, "NotAllowed")
      isProblem(yield* ask({ to: [0, 0] }, ""), 401, "Unauthenticated")
      // Whose it is somebody else does not learn.
      isProblem(yield* ask({ to: "x" }), 404, "NotFound")
      isProblem(yield* ask({ to: "missing" }), 404, "NotFound")
      assert.deepStrictEqual(found(yield* ask({ to: [0, 0] }, "admin:acme", "?view=cafes")).length, 2)
      const noVector = yield* ask({ to: "n" })
      isProblem(noVector, 400, "InvalidRequest")
      for (const body of [
        {},
        { to: [] },
        { to: ["x"] },
        { to: { a: 1 } },
        { to: [0, 0], limit: 51 },
        { to: [0, 0], limit: 0 },
        { to: [0, 0], more: 1 },
        { to: [0, 0], filter: { internal: "whale" } },
        []
      ]) {
        isProblem(yield* ask(body), 422, "InvalidInput")
      }
      isProblem(yield* ask({ to: [0, 0, 0] }), 400, "InvalidRequest")
      // Without a partition each document would be compared, which this resource does not allow.
      isProblem(yield* api.send("POST", "/api/papers/-/nearest", { ...admin, body: { to: [0, 0] } }), 403, "NotAllowed")
    })
  )

  it.effect("are in the OpenAPI document and the client, where there is an index", () =>
    Effect.gen(function* () {
      const api = yield* start
      const { json } = yield* api.send("GET", "/api/openapi.json")
      const names = json.paths["/api/shops/-/near"].get.parameters.map(({ name }: { name: string }) => name)
      assert.includeMembers(names, ["latitude", "longitude", "radius", "within", "filter", "limit", "cursor", "view"])
      assert.isUndefined(json.paths["/api/papers/-/near"])
      const fetch = Layer.succeed(FetchHttpClient.Fetch, (input: string | URL | Request, init?: RequestInit) =>
        api.handler(new Request(input, init))
      )
      const client = yield* HttpApiClient.make(Api, {
        baseUrl: "http://localhost",
        transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken("admin:acme"))
      }).pipe(Effect.provide(Layer.provide(FetchHttpClient.layer, fetch)))
      const near = yield* client.shops.near({ query: { latitude: 0, longitude: 0, limit: 1 } })
      assert.deepStrictEqual(near.items[0]?.document.at, { latitude: 0, longitude: 0 })
      const alike = yield* client.papers.nearest({
        query: {},
        payload: { to: "a", partition: "byTenant", values: { tenant: "acme" } }
      })
      const ids: ReadonlyArray<string> = alike.items.map(({ document }) => document.id)
      assert.deepStrictEqual(ids, ["b", "c"])
      // @ts-expect-error there is no index of places
      assert.isUndefined(client.papers.near)
    })
  )

  it.effect("are of the resource that the index is of", () =>
    Effect.gen(function* () {
      const wrong = HttpResources.expose(Papers, { vectors: AlikeShops, places: ShopsByPlace })
      const context = yield* Effect.orDie(
        Layer.build(
          Layer.merge(ShopsByPlace.layer, AlikeShops.layer).pipe(
            Layer.provideMerge(Layer.merge(Shops.layer, Papers.layer)),
            Layer.provideMerge(Database.layer),
            Layer.provide(Layer.merge(MemoryStore.layer, services))
          )
        )
      )
      const exit = yield* Effect.exit(Effect.provideContext(wrong.open, context))
      assert.include(String(exit), "is none of near/papers".replace("near/", ""))
    })
  )
})
