/** Documents by their words, over MCP. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { call, connected, serving } from "./serving.ts"

class Papers extends Resource.Service<Papers>()("effect-s3db/test/mcp/search.test/Papers", {
  schema: Schema.Struct({ id: Schema.String, title: Schema.String, kind: Schema.String }),
  primaryKey: "id",
  name: "papers",
  partitions: { byKind: ["kind"] },
  journal: true
}) {}
class Plans extends Resource.Service<Plans>()("effect-s3db/test/mcp/search.test/Plans", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id",
  name: "plans"
}) {}
class PaperSearch extends FullText.Service<PaperSearch>()("effect-s3db/test/mcp/search.test/PaperSearch", {
  resource: Papers,
  fields: { title: {} },
  indexes: false
}) {}

const filled = Effect.gen(function* () {
  const store = yield* ObjectStore
  yield* Effect.gen(function* () {
    const papers = yield* Papers
    for (const [id, title] of [
      ["a", "object storage"],
      ["b", "storage of tapes"],
      ["c", `long storage ${"x".repeat(3_000)}`],
      ["d", "birds"]
    ] as const) {
      yield* papers.insert({ id, title, kind: id < "b" ? "one" : "two" })
    }
    const database = yield* Database.Database
    yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
    yield* PaperSearch.use((search) => search.update)
  }).pipe(
    Effect.provide(
      PaperSearch.layer.pipe(
        Layer.provideMerge(Papers.layer),
        Layer.merge(Plans.layer),
        Layer.provideMerge(Database.layer)
      )
    ),
    Effect.provideService(ObjectStore, store)
  )
  return store
}).pipe(Effect.provide(Layer.fresh(MemoryStore.layer)))

const idsOf = (documents: unknown) => (documents as ReadonlyArray<{ readonly id: string }>).map(({ id }) => id)

describe("search_documents", () => {
  it.live("finds documents by words, page by page, with leave to read one resource alone", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(yield* filled, { resources: ["papers"], maxBytes: 5_000 })
      const client = yield* connected(url)
      const ask = (given: object) => call(client, "search_documents", { resource: "papers", ...given })
      const found = yield* ask({ query: "object storage", highlight: true, limit: 2 })
      assert.isFalse(found.isError, found.text)
      assert.deepStrictEqual(idsOf(found.value["documents"]), ["a", "b"])
      assert.deepStrictEqual(found.value["highlights"], [
        { title: ["object storage"] },
        { title: ["storage of tapes"] }
      ])
      const next = yield* ask({ query: "object storage", highlight: true, limit: 2, cursor: found.value["cursor"] })
      assert.deepStrictEqual(idsOf(next.value["documents"]), ["c"])
      assert.isNull(next.value["cursor"])
      assert.deepStrictEqual(idsOf((yield* ask({ query: "object storage", match: "all" })).value["documents"]), ["a"])
      const within = yield* ask({ query: "storage", partition: "byKind", values: { kind: "one" } })
      assert.deepStrictEqual(idsOf(within.value["documents"]), ["a"])
      const where = yield* ask({ query: "storage", where: { title: { startsWith: "storage" } } })
      assert.deepStrictEqual(idsOf(where.value["documents"]), ["b"])
      const wrong = yield* ask({ query: "storage", fields: ["kind"] })
      assert.deepInclude(wrong.value["error"] as object, { kind: "InvalidFullText" })
      const hidden = yield* call(client, "search_documents", { resource: "plans", query: "a" })
      assert.deepInclude(hidden.value["error"] as object, { kind: "NoResource" })
    }).pipe(Effect.scoped)
  )

  it.live("gives as many as fit, and says where there is no index", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(yield* filled, { maxBytes: 4_096 })
      const client = yield* connected(url)
      const ids: Array<string> = []
      let cursor: unknown = null
      do {
        const page = yield* call(client, "search_documents", {
          resource: "papers",
          query: "long storage",
          ...(cursor === null ? {} : { cursor })
        })
        assert.isFalse(page.isError, page.text)
        ids.push(...idsOf(page.value["documents"]))
        cursor = page.value["cursor"]
      } while (cursor !== null)
      assert.deepStrictEqual(ids.toSorted(), ["a", "b", "c"])
      const none = yield* call(client, "search_documents", { resource: "plans", query: "a" })
      assert.isTrue(none.isError)
      assert.include(none.text, "an index of words")
    }).pipe(Effect.scoped)
  )
})
