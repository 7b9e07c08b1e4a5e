/** What is seen and written by roles and scopes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
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
