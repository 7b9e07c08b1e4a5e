/** Documents by their words on the command line. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as FullText from "effect-s3db/plugins/FullText"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { inFolder } from "./shell.ts"

class Papers extends Resource.Service<Papers>()("effect-s3db/test/cli/search.test/Papers", {
  schema: Schema.Struct({ id: Schema.String, title: Schema.String, kind: Schema.String }),
  primaryKey: "id",
  name: "papers",
  partitions: { byKind: ["kind"] },
  journal: true
}) {}
class PaperSearch extends FullText.Service<PaperSearch>()("effect-s3db/test/cli/search.test/PaperSearch", {
  resource: Papers,
  fields: { title: { weight: 2 }, kind: {} },
  indexes: false
}) {}

const program = <A, E>(url: string, effect: Effect.Effect<A, E, Papers | PaperSearch | Database.Database>) =>
  effect.pipe(
    Effect.provide(
      PaperSearch.layer.pipe(
        Layer.provideMerge(Papers.layer),
        Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
        Layer.provide(ConnectionString.layer(url))
      )
    )
  )

type Row = Readonly<Record<string, unknown>>

describe("search on the command line", () => {
  it.effect("finds by the index that a program keeps, as that declares it", () =>
    Effect.gen(function* () {
      const { json, s3db, url } = yield* inFolder
      yield* program(
        url,
        Effect.gen(function* () {
          const papers = yield* Papers
          yield* papers.insertMany([
            { id: "a", title: "object storage", kind: "essay" },
            { id: "b", title: "storage of tapes", kind: "note" },
            { id: "c", title: "birds", kind: "storage" }
          ])
        })
      )
      const early = yield* s3db(["search", "papers", "storage"])
      assert.strictEqual(early.code, exitCodes.Invalid, early.err)
      assert.include(early.err, "an index of words")
      yield* program(
        url,
        Effect.gen(function* () {
          const database = yield* Database.Database
          yield* database.journal.catchUp(database.journaled, { lease: "1 second" })
          yield* PaperSearch.use((search) => search.update)
          yield* (yield* Papers).insert({ id: "d", title: "storage, new", kind: "note" })
        })
      )
      const ids = (...args: ReadonlyArray<string>) =>
        Effect.map(json(["search", "papers", ...args]), (found) => (found as ReadonlyArray<Row>).map(({ id }) => id))
      assert.deepStrictEqual(yield* ids("object storage"), ["a", "b", "c"])
      assert.deepStrictEqual(yield* ids("object storage", "--all-words"), ["a"])
      assert.deepStrictEqual(yield* ids("object sto", "--prefix"), ["a"])
      assert.deepStrictEqual(yield* ids("storrage", "--fuzzy", "--in", "title"), ["a", "b"])
      assert.deepStrictEqual(yield* ids("storage", "--where", "kind=note"), ["b"])
      assert.deepStrictEqual(yield* ids("storage", "--partition", "byKind", "--value", "kind=storage"), ["c"])
      assert.deepStrictEqual((yield* ids("storage", "--consistent")).toSorted(), ["a", "b", "c", "d"])
      const [hit] = (yield* json(["search", "papers", "tapes", "--highlight"])) as ReadonlyArray<Row>
      assert.deepStrictEqual(hit, { id: "b", field: "title", text: "storage of tapes" })
      const first = yield* s3db(["search", "papers", "storage", "-n", "2"])
      const [, cursor = ""] = /--cursor (\S+)/.exec(first.err) ?? []
      assert.deepStrictEqual(yield* ids("storage", "-n", "2", "--cursor", cursor), ["c"])
      const wrong = yield* s3db(["search", "papers", "x", "--in", "nothing"])
      assert.strictEqual(wrong.code, exitCodes.Invalid)
      assert.include(wrong.err, "title, kind")
      assert.strictEqual((yield* s3db(["search", "papers", "x", "--fuzzy", "--prefix"])).code, exitCodes.Usage)
    })
  )
})
