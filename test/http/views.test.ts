/** Named views: what of documents is shown, and which of them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Client from "effect-s3db/http/Client"
import * as HttpResources from "effect-s3db/http/HttpResources"
import { Auth, Data, isProblem, serve, Users } from "./api.ts"

const users = HttpResources.expose(Users, {
  protect: ["internal"],
  protectUnless: [{ paths: ["email"], roles: ["admin"] }],
  views: {
    card: { fields: ["name", "address.*", "internal", "email", "token"], order: "-name" },
    place: { fields: ["address.city"] },
    whole: { fields: ["*"], omit: ["address.street", "age"] },
    brazilians: { fields: ["name"], where: { country: "BR" }, omit: ["id"] },
    secret: { fields: ["name"], where: { internal: "x" }, roles: ["admin"] }
  },
  scan: true
})
const plain = HttpResources.expose(Users, { scan: true })
const Api = HttpResources.api("views", [users], { prefix: "/api" })

const start = Effect.gen(function* () {
  const api = yield* serve(HttpResources.layer(Api, [users], { openApi: "public" }).pipe(Layer.provide([Data, Auth])))
  const user = (id: string, country: string) => ({
    id,
    name: `n${id}`,
    age: 30,
    country,
    email: `${id}@x`,
    internal: "x",
    token: "hush",
    address: { city: "Rio", street: "s" }
  })
  for (const body of [user("a", "BR"), user("b", "PT")]) {
    assert.strictEqual((yield* api.send("POST", "/api/users", { body })).status, 201)
  }
  return api
})

describe("views", () => {
  it.effect("show their fields, never more than is shown without them", () =>
    Effect.gen(function* () {
      const api = yield* start
      const get = (view: string, as = "ana") => api.send("GET", `/api/users/a?view=${view}`, { as })
      const address = { city: "Rio", street: "s" }
      assert.deepStrictEqual((yield* get("card")).json, { id: "a", name: "na", address })
      assert.deepStrictEqual((yield* get("card", "admin")).json, { id: "a", name: "na", address, email: "a@x" })
      assert.deepStrictEqual((yield* get("place")).json, { id: "a", address: { city: "Rio" } })
      assert.deepStrictEqual((yield* get("whole")).json, {
        id: "a",
        name: "na",
        country: "BR",
        address: { city: "Rio" }
      })
      for (const view of ["card", "place", "whole"]) {
        for (const hidden of ["hush", "internal"]) assert.notInclude((yield* get(view)).text, hidden)
      }
    })
  )

  it.effect("have conditions and an order of their own, beside those of the request", () =>
    Effect.gen(function* () {
      const api = yield* start
      const list = Effect.fnUntraced(function* (query: string, as = "ana") {
        return (yield* api.send("GET", `/api/users?${query}`, { as })).json.items.map(({ id }: { id: string }) => id)
      })
      assert.deepStrictEqual(yield* list("view=card"), ["b", "a"])
      assert.deepStrictEqual(yield* list("view=card&order=name"), ["a", "b"])
      assert.deepStrictEqual(yield* list("view=brazilians"), ["a"])
      assert.deepStrictEqual(yield* list("view=brazilians&country=PT"), [])
      // The program may ask about a field that nobody is shown; clients may not, also with a view.
      assert.deepStrictEqual(yield* list("view=secret", "admin"), ["a", "b"])
      isProblem(yield* api.send("GET", "/api/users?view=secret&internal=x", { as: "admin" }), 422)
      assert.deepStrictEqual((yield* api.send("GET", "/api/users/a?view=brazilians")).json, { id: "a", name: "na" })
      isProblem(yield* api.send("GET", "/api/users/b?view=brazilians"), 404, "NotFound")
    })
  )

  it.effect("are in exports", () =>
    Effect.gen(function* () {
      const api = yield* start
      const csv = yield* api.send("GET", "/api/users/-/export.csv?view=place")
      assert.strictEqual(csv.text.trim().split(/\r?\n/)[0], "id,address.city")
      const admin = yield* api.send("GET", "/api/users/-/export.csv?view=brazilians", { as: "admin" })
      assert.deepStrictEqual(admin.text.trim().split(/\r?\n/), ["id,name", "a,na"])
      const lines = yield* api.send("GET", "/api/users/-/export.ndjson?view=brazilians")
      assert.deepStrictEqual(JSON.parse(lines.text), { id: "a", name: "na" })
    })
  )

  it.effect("that are not there, or not for who asks, are refused by name", () =>
    Effect.gen(function* () {
      const api = yield* start
      for (const path of ["/api/users", "/api/users/a", "/api/users/-/export.csv", "/api/users/-/export.ndjson"]) {
        for (const name of ["none", "", "__proto__", "constructor"]) {
          const answer = yield* api.send("GET", `${path}?view=${name}`)
          isProblem(answer, 400, "UnknownView")
          assert.include(answer.json.detail, "card, place, whole, brazilians")
          assert.notInclude(answer.json.detail, "secret")
        }
        isProblem(yield* api.send("GET", `${path}?view=secret`), 403, "ViewForbidden")
        assert.strictEqual((yield* api.send("GET", `${path}?view=secret`, { as: "admin" })).status, 200)
      }
      assert.include((yield* api.send("GET", "/api/users?view=none", { as: "admin" })).json.detail, "secret")
    })
  )

  it.effect("are in the OpenAPI document, and a field elsewhere", () =>
    Effect.gen(function* () {
      const api = yield* start
      const { json } = yield* api.send("GET", "/api/openapi.json", { as: "" })
      for (const path of ["/api/users", "/api/users/{id}", "/api/users/-/export.csv"]) {
        const [view] = json.paths[path].get.parameters.filter((one: { name: string }) => one.name === "view")
        assert.deepStrictEqual(view.schema.enum, ["card", "place", "whole", "brazilians", "secret"])
      }
      const without = HttpResources.api("plain", [plain], { prefix: "/api" })
      const other = yield* serve(HttpResources.layer(without, [plain]).pipe(Layer.provide([Data, Auth])))
      isProblem(yield* other.send("GET", "/api/users?view=card"), 422, "InvalidInput")
    })
  )

  it.effect("are taken without being named, by who asks, where they are automatic", () =>
    Effect.gen(function* () {
      const one = HttpResources.expose(Users, {
        publicTo: "readers",
        views: {
          everything: { roles: ["admin"], automatic: true },
          named: { fields: ["country"] },
          few: { fields: ["name"], where: { country: "BR" }, order: "-name", automatic: true }
        },
        scan: true
      })
      const MyApi = HttpResources.api("automatic", [one], { prefix: "/api" })
      const api = yield* serve(HttpResources.layer(MyApi, [one]).pipe(Layer.provide([Data, Auth])))
      const user = (id: string, country: string) => ({ id, name: `n${id}`, age: 30, country })
      for (const body of [user("a", "BR"), user("b", "PT"), user("c", "BR")]) {
        yield* api.send("POST", "/api/users", { body })
      }
      const whole = yield* api.send("GET", "/api/users/a", { as: "admin" })
      assert.deepStrictEqual([whole.json, whole.headers.get("x-view")], [user("a", "BR"), "everything"])
      for (const as of ["", "ana"]) {
        const get = yield* api.send("GET", "/api/users/a", { as })
        assert.deepStrictEqual([get.json, get.headers.get("x-view")], [{ id: "a", name: "na" }, "few"])
        isProblem(yield* api.send("GET", "/api/users/b", { as }), 404, "NotFound")
        const list = yield* api.send("GET", "/api/users", { as })
        assert.deepStrictEqual(list.json.items, [
          { id: "c", name: "nc" },
          { id: "a", name: "na" }
        ])
        const csv = yield* api.send("GET", "/api/users/-/export.csv?order=name&limit=9", { as })
        assert.deepStrictEqual(csv.text.trim().split(/\r?\n/), ["id,name", "a,na", "c,nc"])
        assert.strictEqual(csv.headers.get("x-view"), "few")
        // What is exported as a whole has no order to wait for.
        assert.include((yield* api.send("GET", "/api/users/-/export.csv", { as })).text, "a,na")
        const named = yield* api.send("GET", "/api/users/b?view=named", { as })
        assert.deepStrictEqual(named.json, { id: "b", country: "PT" })
        isProblem(yield* api.send("GET", "/api/users/a?view=everything", { as }), as === "" ? 401 : 403)
      }
      // The tag is that of the document, whatever is shown of it.
      const headers = { "if-none-match": whole.headers.get("etag")! }
      const known = yield* api.send("GET", "/api/users/a", { as: "ana", headers })
      assert.deepStrictEqual([known.status, known.text, known.headers.get("x-view")], [304, "", "few"])
      const hidden = yield* api.send("GET", "/api/users/b", { as: "ana", headers: { "if-none-match": "*" } })
      isProblem(hidden, 404, "NotFound")
    })
  )

  it.effect("are known to a typed client by the fields that they show", () =>
    Effect.gen(function* () {
      const api = yield* start
      const fetch = Layer.succeed(FetchHttpClient.Fetch, (input: string | URL | Request, init?: RequestInit) =>
        api.handler(new Request(input, { ...init, headers: { authorization: "Bearer ana" } }))
      )
      const client = yield* Client.make(Api, { baseUrl: "http://localhost" }).pipe(
        Effect.provide(Layer.provide(FetchHttpClient.layer, fetch))
      )
      const brazilian = Client.shape(users, { view: "brazilians", fields: ["id", "name"] })
      const found: { readonly id: string; readonly name: string } = yield* client.get(brazilian, "a")
      assert.deepStrictEqual(found, { id: "a", name: "na" })
      assert.deepStrictEqual((yield* client.list(brazilian)).items, [found])
      // What a view does not show is no document of another shape.
      const other = yield* Effect.flip(client.get(Client.shape(users, { view: "brazilians", fields: ["age"] }), "a"))
      assert.isTrue("_tag" in other && other._tag === "SchemaError")
      const forbidden = yield* Effect.flip(client.get(Client.shape(users, { view: "secret", fields: ["name"] }), "a"))
      assert.isTrue("code" in forbidden && forbidden.code === "ViewForbidden")
    })
  )

  it("that name what is no field are refused at construction", () => {
    for (const fields of [["nmae"], ["address.*.x"], ["__proto__"]]) {
      assert.throws(() => HttpResources.expose(Users, { views: { wrong: { fields } } }), "no field")
      assert.throws(() => HttpResources.expose(Users, { views: { wrong: { omit: fields } } }), "no field")
    }
  })
})
