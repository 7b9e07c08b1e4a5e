/** What is seen and written by roles and scopes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { Auth, isProblem, serve } from "./api.ts"

class Staff extends Resource.Service<Staff>()("http/staff", {
  schema: Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    team: Schema.String,
    salary: Schema.optionalKey(Schema.Int),
    role: Schema.optionalKey(Schema.String),
    card: Schema.optionalKey(Schema.Struct({ number: Schema.String, color: Schema.optionalKey(Schema.String) }))
  }),
  primaryKey: "id",
  partitions: { byTeam: ["team"] }
}) {}

const staff = HttpResources.expose(Staff, {
  protectUnless: [{ paths: ["salary", "card.number"], roles: ["admin"] }],
  readonlyUnless: [{ paths: ["role", "salary"], roles: ["admin"] }]
})
const Api = HttpResources.api("staff", [staff], { prefix: "/api" })

const start = serve(
  HttpResources.layer(Api, [staff]).pipe(
    Layer.provide([Staff.layer, Auth]),
    Layer.provide(Database.layer),
    Layer.provide(MemoryStore.layer)
  )
)

const whole = { id: "a", name: "Ana", team: "x", salary: 1000, role: "boss", card: { number: "42", color: "red" } }

describe("fields for some", () => {
  it.effect("are seen by those, in every answer, and by nobody else", () =>
    Effect.gen(function* () {
      const api = yield* start
      const created = yield* api.send("POST", "/api/staff", { body: whole, as: "admin" })
      assert.deepStrictEqual(created.json, whole)
      const shown = { id: "a", name: "Ana", team: "x", role: "boss", card: { color: "red" } }
      const first = (json: { items: ReadonlyArray<unknown> }) => json.items[0]
      for (const [as, wanted] of [
        ["admin", whole],
        ["ana", shown],
        ["admin", whole]
      ] as const) {
        assert.deepStrictEqual((yield* api.send("GET", "/api/staff/a", { as })).json, wanted)
        assert.deepStrictEqual(first((yield* api.send("GET", "/api/staff", { as })).json), wanted)
        const lines = yield* api.send("GET", "/api/staff/-/export.ndjson", { as })
        assert.deepStrictEqual(JSON.parse(lines.text), wanted)
        const table = yield* api.send("GET", "/api/staff/-/export.csv", { as })
        assert.strictEqual(table.text.includes("1000"), as === "admin")
        const patched = yield* api.send("PATCH", "/api/staff/a", { body: { name: "Ana" }, as })
        assert.deepStrictEqual(patched.json, wanted)
        const asked = yield* api.send("GET", "/api/staff?team=x&salary[gte]=1", { as })
        assert.strictEqual(asked.status, as === "admin" ? 200 : 422)
      }
    })
  )

  it.effect("are not shown out of what a browser has kept for another: answers say by what users are told apart", () =>
    Effect.gen(function* () {
      const byCookie = { type: "apiKey", in: "cookie", name: "session" } as const
      const byHeader = { type: "apiKey", in: "header", name: "x-api-key" } as const
      const bearer = { type: "http", scheme: "bearer" } as const
      for (const [schemes, wanted] of [
        [{ bearer }, "Authorization"],
        [{ bearer, byCookie }, "Authorization, Cookie"],
        [{ byHeader, byCookie }, "Authorization, x-api-key, Cookie"]
      ] as const) {
        const Who = Authentication.layerFrom(
          ({ cookies }) =>
            Effect.succeed(CurrentUser.make("a", { roles: cookies["session"] === "admin" ? ["admin"] : [] })),
          { schemes }
        )
        const { send } = yield* serve(
          HttpResources.layer(Api, [staff]).pipe(
            Layer.provide([Staff.layer, Who]),
            Layer.provide(Database.layer),
            Layer.provide(MemoryStore.layer)
          )
        )
        const headers = { cookie: "session=admin" }
        const created = yield* send("POST", "/api/staff", { body: whole, headers })
        assert.strictEqual(created.headers.get("vary"), wanted)
        const known = { headers: { "if-none-match": created.headers.get("etag") ?? "" } }
        for (const [path, status, options] of [
          ["/api/staff/a", 200, { headers }],
          // The version is the same for who sees less of it.
          ["/api/staff/a", 304, known],
          ["/api/staff", 200, {}],
          ["/api/staff/-/count", 200, {}],
          ["/api/staff/-/export.csv", 200, {}],
          ["/api/staff/b", 404, {}]
        ] as const) {
          const answer = yield* send("GET", path, options)
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.headers.get("vary"), wanted, path)
        }
      }
    })
  )

  it.effect("are written by those, and stay as they are when somebody else writes the rest", () =>
    Effect.gen(function* () {
      const api = yield* start
      yield* api.send("POST", "/api/staff", { body: whole, as: "admin" })
      isProblem(yield* api.send("PATCH", "/api/staff/a", { body: { salary: 1 } }), 403, "ReadOnly")
      isProblem(yield* api.send("PUT", "/api/staff/a", { body: { ...whole } }), 403, "ReadOnly")
      const put = yield* api.send("PUT", "/api/staff/a", { body: { name: "Anna", team: "y" } })
      assert.deepStrictEqual([put.status, put.json], [200, { id: "a", name: "Anna", team: "y", role: "boss" }])
      const after = yield* api.send("GET", "/api/staff/a", { as: "admin" })
      assert.deepStrictEqual(after.json, { id: "a", name: "Anna", team: "y", role: "boss", salary: 1000 })
      assert.strictEqual((yield* api.send("PUT", "/api/staff/b", { body: { name: "Bo", team: "y" } })).status, 201)
      assert.strictEqual(
        (yield* api.send("PATCH", "/api/staff/a", { body: { salary: 2 }, as: "admin" })).json.salary,
        2
      )
    })
  )

  it("have to be optional", () =>
    assert.throws(
      () => HttpResources.expose(Staff, { protectUnless: [{ paths: ["name"], roles: ["admin"] }] }),
      /optional/
    ))
})
