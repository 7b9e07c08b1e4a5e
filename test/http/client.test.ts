/** The typed client, and the OpenAPI document. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { Api, shop } from "./api.ts"

const clientOf = Effect.fnUntraced(function* (handler: (request: Request) => Promise<Response>) {
  const fetch = Layer.succeed(FetchHttpClient.Fetch, (input: string | URL | Request, init?: RequestInit) =>
    handler(new Request(input, { ...init, duplex: "half" } as RequestInit))
  )
  return yield* HttpApiClient.make(Api, {
    baseUrl: "http://localhost",
    transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken("ana"))
  }).pipe(Effect.provide(Layer.provide(FetchHttpClient.layer, fetch)))
})

describe("the client of HttpApiClient", () => {
  it.effect("knows documents, pages and problems by their types", () =>
    Effect.gen(function* () {
      const { handler } = yield* shop
      const client = yield* clientOf(handler)
      const made = yield* client.users.create({
        headers: {},
        payload: { id: "ana", name: "Ana", age: 30, country: "BR" }
      })
      const name: string = made.name
      assert.strictEqual(name, "Ana")
      const read = yield* client.users.get({ params: { id: "ana" }, headers: {} })
      assert.deepStrictEqual(read, made)
      const changed = yield* client.users.patch({ params: { id: "ana" }, headers: {}, payload: { age: 31 } })
      assert.strictEqual(changed.age, 31)
      const page = yield* client.users.list({ query: { filter: { country: "BR" }, limit: 10, total: "true" } })
      assert.deepStrictEqual(page, { items: [changed], total: 1 })
      assert.deepStrictEqual(yield* client.users.count({ query: {} }), { count: 1 })
      const some = yield* client.users.select({
        query: { fields: "name", values: { country: "BR" }, partition: "byCountry" }
      })
      assert.deepStrictEqual(some.items, [{ name: "Ana" }])
      const missing = yield* Effect.flip(client.users.get({ params: { id: "a/b" }, headers: {} }))
      assert.isTrue("code" in missing && missing.code === "NotFound")
      const stale = yield* Effect.flip(
        client.users.patch({ params: { id: "ana" }, headers: { "if-match": '"old"' }, payload: { age: 32 } })
      )
      assert.isTrue("status" in stale && stale.status === 412)
      const bulk = yield* client.users.bulk({
        query: {},
        payload: { items: [{ id: "bo", name: "Bo", age: 1, country: "PT" }] }
      })
      assert.strictEqual(bulk.summary.created, 1)
      const many = yield* client.users.bulkPatch({
        query: { mode: "atomic" },
        payload: { items: [{ id: bulk.items[0]!.id!, changes: { age: 77 } }] }
      })
      assert.strictEqual(many.items[0]?.document?.age, 77)
      const deleted = yield* client.users.bulkDelete({ query: {}, payload: { items: [{ id: bulk.items[0]!.id! }] } })
      assert.deepStrictEqual(deleted.summary, { total: 1, done: 1, failed: 0 })
      yield* client.users.delete({ params: { id: "ana" }, headers: {} })
      const gone = yield* Effect.flip(client.users.get({ params: { id: "ana" }, headers: {} }))
      assert.isTrue("code" in gone && gone.code === "NotFound")
      // @ts-expect-error A field that is protected is no field of what is shown.
      void read.internal
    })
  )
})

describe("the OpenAPI document", () => {
  it.effect("describes what there is, and nothing that is not shown", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const { json, status } = yield* api.send("GET", "/api/openapi.json", { as: "" })
      assert.strictEqual(status, 200)
      assert.match(json.openapi, /^3\.1/)
      assert.strictEqual(json.info.title, "A shop")
      assert.sameMembers(Object.keys(json.paths), [
        "/api/users",
        "/api/users/-/select",
        "/api/users/-/count",
        "/api/users/-/bulk",
        "/api/users/-/bulk-delete",
        "/api/users/-/export.ndjson",
        "/api/users/-/export.csv",
        "/api/users/-/changes",
        "/api/users/{id}",
        "/api/notes",
        "/api/notes/-/select",
        "/api/notes/-/count",
        "/api/notes/-/bulk",
        "/api/notes/-/bulk-delete",
        "/api/notes/-/export.ndjson",
        "/api/notes/-/export.csv",
        "/api/notes/-/changes",
        "/api/notes/{id}"
      ])
      const read = json.paths["/api/users/{id}"].get
      assert.deepStrictEqual(read.security, [{ bearer: [] }])
      assert.strictEqual(json.components.securitySchemes.bearer.scheme, "bearer")
      const shown = JSON.stringify(read.responses["200"])
      for (const field of ["internal", "street", "token", "password"]) assert.notInclude(shown, field)
      const created = json.paths["/api/users"].post
      const example = created.requestBody.content["application/json"].example
      const answer = yield* api.send("POST", "/api/users", { body: example })
      assert.strictEqual(answer.status, 201, answer.text)
    })
  )
})
