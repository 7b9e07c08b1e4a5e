/** Documents by their words over HTTP. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Auth, isProblem, serve, services } from "./api.ts"

class Papers extends Resource.Service<Papers>()("http/papers", {
  schema: Schema.Struct({
    id: Schema.String,
    title: Schema.String,
    tenant: Schema.String,
    internal: Schema.optionalKey(Schema.String),
    review: Schema.optionalKey(Schema.String),
    pin: Schema.optionalKey(Attribute.SecretText)
  }),
  primaryKey: "id",
  partitions: { byTenant: ["tenant"] },
  journal: true
}) {}
class Others extends Resource.Service<Others>()("http/others", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id"
}) {}

class PaperSearch extends FullText.Service<PaperSearch>()("http/PaperSearch", {
  resource: Papers,
  fields: { title: {}, internal: {}, review: {} },
  indexes: false,
  maxAge: 0
}) {}

const papers = HttpResources.expose(Papers, {
  protect: ["internal"],
  protectUnless: [{ paths: ["review"], roles: ["admin"] }],
  search: PaperSearch,
  views: {
    ids: { fields: ["id"] },
    tapes: { where: { title: { contains: "tapes" } } }
  },
  maxLimit: 50
})
const others = HttpResources.expose(Others)
const Api = HttpResources.api("library", [papers, others], { prefix: "/api" })

const start = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const isTenants = Guard.record<{ readonly tenant: string }>(
    (one, user) => user !== undefined && (one.tenant === user.claims["tenant"] || user.roles.includes("admin"))
  )
  const data = PaperSearch.layer.pipe(
    Layer.provideMerge(Layer.merge(Others.layer, Resource.guard(Papers, { "*": isTenants, insert: Guard.allow }))),
    Layer.provideMerge(Database.layerWith({ catalogLease: "1 hour" })),
    Layer.provide(Layer.merge(Layer.succeed(ObjectStore, store), services))
  )
  const context = yield* Layer.build(data)
  const api = yield* serve(
    HttpResources.layer(Api, [papers, others], { openApi: "public" }).pipe(
      Layer.provide([Layer.succeedContext(context), Auth])
    )
  )
  const settle = Effect.gen(function* () {
    const database = yield* Database.Database
    yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
    yield* (yield* PaperSearch).update
  }).pipe(Effect.provideContext(context))
  return { ...api, context, settle }
})

const filled = Effect.gen(function* () {
  const api = yield* start
  const { papers } = yield* Effect.map(Papers, (papers) => ({ papers })).pipe(Effect.provideContext(api.context))
  yield* papers.insertMany([
    {
      id: "1",
      title: "object storage",
      tenant: "acme",
      internal: "whale",
      review: "dull",
      pin: Redacted.make("77")
    },
    { id: "2", title: "storage of <old> tapes", tenant: "acme" },
    { id: "3", title: "storage storage", tenant: "evil" },
    { id: "4", title: "birds", tenant: "acme" }
  ])
  yield* api.settle
  return api
})

describe("search", () => {
  it.effect("finds by words, as lists read: guards, protected fields and secrets hold", () =>
    Effect.gen(function* () {
      const api = yield* filled
      const ask = (query: string, as = "ana:acme") => api.send("GET", `/api/papers/-/search?${query}`, { as })
      const idsOf = ({ json }: { readonly json: { readonly items: ReadonlyArray<{ document: { id: string } }> } }) =>
        json.items.map(({ document }) => document.id)
      const found = yield* ask("q=object%20storage&highlight=true")
      assert.strictEqual(found.status, 200)
      assert.deepStrictEqual(found.json.items, [
        {
          document: { id: "1", title: "object storage", tenant: "acme" },
          highlights: {
            title: {
              text: "object storage",
              ranges: [
                { start: 0, end: 6 },
                { start: 7, end: 14 }
              ]
            }
          }
        },
        {
          document: { id: "2", title: "storage of <old> tapes", tenant: "acme" },
          highlights: { title: { text: "storage of <old> tapes", ranges: [{ start: 0, end: 7 }] } }
        }
      ])
      assert.isAtLeast(found.json.position, 4)
      assert.deepStrictEqual(idsOf(yield* ask("q=object%20storage&match=all")), ["1"])
      assert.deepStrictEqual(idsOf(yield* ask("q=storage", "eve:evil")), ["3"])
      // Nobody finds by what he does not see.
      assert.deepStrictEqual(idsOf(yield* ask("q=whale")), [])
      assert.deepStrictEqual(idsOf(yield* ask("q=whale", "admin:acme")), [])
      assert.deepStrictEqual(idsOf(yield* ask("q=dull")), [])
      assert.deepStrictEqual(idsOf(yield* ask("q=dull", "admin:acme")), ["1"])
      isProblem(yield* ask("q=storage", ""), 401, "Unauthenticated")
    })
  )

  it.effect("filters as lists do, and goes on page by page for the one who has asked", () =>
    Effect.gen(function* () {
      const api = yield* filled
      const ask = (query: string, as = "ana:acme") => api.send("GET", `/api/papers/-/search?${query}`, { as })
      const first = yield* ask("q=storage&limit=1")
      assert.strictEqual(first.json.items.length, 1)
      const link = /^<([^>]+)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1]
      const second = yield* api.send("GET", link!, { as: "ana:acme" })
      const ids = [...first.json.items, ...second.json.items].map(
        ({ document }: { document: { id: string } }) => document.id
      )
      assert.deepStrictEqual(ids.toSorted(), ["1", "2"])
      isProblem(yield* api.send("GET", link!, { as: "eve:evil" }), 422, "InvalidInput")
      isProblem(yield* ask(`q=other&cursor=${encodeURIComponent(first.json.cursor)}`), 400, "InvalidRequest")
      const only = yield* ask(`q=storage&title[startsWith]=obj`)
      assert.deepStrictEqual(only.json.items.length, 1)
      const within = yield* ask(`q=storage&partition=byTenant&values={"tenant":"acme"}`)
      assert.deepStrictEqual(within.json.items.length, 2)
      const tapes = yield* ask("q=storage&view=tapes")
      assert.deepStrictEqual(
        tapes.json.items.map(({ document }: { document: { id: string } }) => document.id),
        ["2"]
      )
      // No field that is searched is in the view.
      isProblem(yield* ask("q=storage&view=ids"), 403, "NotAllowed")
      isProblem(yield* ask("q=storage&internal=whale"), 422, "InvalidInput")
      isProblem(yield* ask("q=storage&limit=51"), 422, "InvalidInput")
      isProblem(yield* ask("q="), 400, "InvalidRequest")
      isProblem(yield* ask("limit=1"), 400, "InvalidRequest")
      const tooLong = yield* ask(`q=${"x".repeat(10_001)}`)
      isProblem(tooLong, 400, "InvalidRequest")
      assert.deepStrictEqual(tooLong.json.issues[0].path, ["query", "q"])
    })
  )

  it.effect("says that the index is not built, and is in the document of the API", () =>
    Effect.gen(function* () {
      const api = yield* start
      isProblem(yield* api.send("GET", "/api/papers/-/search?q=a", { as: "ana:acme" }), 503, "IndexIncomplete")
      isProblem(yield* api.send("GET", "/api/others/-/search?q=a", { as: "ana:acme" }), 404)
      const { json } = yield* api.send("GET", "/api/openapi.json")
      const operation = json.paths["/api/papers/-/search"].get
      const names = operation.parameters.map(({ name }: { name: string }) => name)
      assert.deepStrictEqual(names.toSorted(), [
        "cursor",
        "filter",
        "highlight",
        "limit",
        "match",
        "partition",
        "q",
        "values",
        "view"
      ])
      assert.isUndefined(json.paths["/api/others/-/search"])
    })
  )

  it.effect("is of the resource that it is offered with", () =>
    Effect.gen(function* () {
      const wrong = HttpResources.expose(Others, { search: PaperSearch })
      const exit = yield* Effect.exit(
        Effect.gen(function* () {
          const { context } = yield* start
          yield* Effect.provideContext(wrong.open, context)
        })
      )
      assert.include(String(exit), "is none of others")
      // @ts-expect-error there is no such operation without an index
      assert.isUndefined(HttpResources.expose(Others).group.endpoints.search)
    })
  )
})
