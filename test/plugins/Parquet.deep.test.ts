import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import * as Export from "effect-s3db/Export"
import * as Parquet from "effect-s3db/plugins/Parquet"
import * as Segments from "effect-s3db/plugins/Segments"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf } from "../fixture.ts"
import { all, queried, ring, roundTrip, Things, written } from "./parquets.ts"

it.live("2,500 documents, read by DuckDB: each value is what it was", () => roundTrip(2500))

it.effect("an export goes by segments where there are any: a file, and a folder of a store", () =>
  Effect.gen(function* () {
    const { store: inner } = yield* MemoryStore.make()
    const { counter, store } = InstrumentedStore.make(inner)
    const Db = Database.layer.pipe(Layer.provide(Layer.succeed(ObjectStore)(store)), Layer.provide(ring))
    yield* Effect.gen(function* () {
      const things = yield* Things
      yield* things.insertMany(
        Array.from({ length: 2500 }, (_, i) => ({ id: `t${String(i).padStart(5, "0")}`, text: "x".repeat(100) })),
        { concurrency: 64 }
      )
      yield* (yield* Segments.Segments).compactNow()
      yield* counter.reset
      const documents = things.queryJson({ scan: true })
      yield* Stream.runDrain(Parquet.encode(documents, all))
      const { get = 0, list = 0, put = 0 } = yield* counter.counts
      assert.isAtMost(get + list, 10)
      assert.strictEqual(put, 0)

      yield* counter.reset
      const lines = Export.ndjsonFiles(documents, { bytesPerFile: 100_000 })
      const listed = yield* Export.writeFiles(lines, { store, prefix: "exports/lines/", extension: "ndjson" })
      assert.isAbove(listed.length, 2)
      assert.isAbove(Math.min(...listed.slice(0, -1).map(({ bytes }) => bytes)), 99_999)
      assert.strictEqual((yield* counter.counts).put, listed.length + 1)
      const read = yield* Stream.runCollect(
        Export.documents(
          Export.fromNdjson(
            Stream.mapEffect(Stream.fromArray(listed), ({ key }) => Effect.map(store.get(key), ({ body }) => body))
          )
        )
      )
      assert.deepStrictEqual(read, yield* Stream.runCollect(documents))

      const files = Parquet.files(documents, { ...all, rowsPerGroup: 500, bytesPerFile: 1 })
      const parts = yield* Export.writeFiles(files, { store, prefix: "exports/parquet/", extension: "parquet" })
      assert.strictEqual(parts.length, 5)
      const paths: Array<string> = []
      for (const [i, { key }] of parts.entries()) {
        const { body } = yield* store.get(key)
        paths.push(yield* written(Stream.succeed(body), `${i}.parquet`))
      }
      const [row] = yield* queried(
        `SELECT count(*) AS n, count(DISTINCT id) AS ids FROM read_parquet(${JSON.stringify(paths).replaceAll('"', "'")})`
      )
      assert.deepStrictEqual([Number(row?.["n"]), Number(row?.["ids"])], [2500, 2500])

      // Nothing is written over, or beside something else.
      const again = Export.writeFiles(files, { store, prefix: "exports/parquet/", extension: "parquet" })
      assert.include((yield* Effect.flip(again)).message, "Expected nothing below exports/parquet/")
      const nowhere = Export.writeFiles(files, { store, prefix: "exports", extension: "parquet" })
      assert.include((yield* Effect.flip(nowhere)).message, "ends in /")
      // What fails on its way leaves nothing.
      const failing = Stream.concat(files, Stream.fail("broken" as const))
      const failed = Export.writeFiles(failing, { store, prefix: "exports/failed/", extension: "parquet" })
      assert.strictEqual(yield* Effect.flip(failed), "broken")
      assert.deepStrictEqual(yield* keysOf(store, "exports/failed/"), [])
    }).pipe(
      Effect.provide(
        Segments.layer({ resources: [Things], compact: false }).pipe(
          Layer.provideMerge(Things.layer.pipe(Layer.provide(PasswordHasher.layer))),
          Layer.provideMerge(Db),
          Layer.provide(ring)
        )
      )
    )
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

it.effect("memory is that of a group of rows, however many there are", () =>
  Effect.gen(function* () {
    const columns: ReadonlyArray<Parquet.Column> = [
      { name: "id", type: { _tag: "Text" } },
      { name: "text", type: { _tag: "Text" } }
    ]
    // 100 MB of text; what has been drawn and not been given is never more than a group and what a chunk has.
    let drawn = 0
    let given = 0
    let most = 0
    const documents = Stream.range(1, 1000).pipe(
      Stream.rechunk(1),
      Stream.map((i) => {
        drawn += 1
        return { id: `${i}`, text: `${i}`.padEnd(100_000, "abcdefghij") }
      })
    )
    const bytes = Parquet.encode(documents, { columns, bytesPerGroup: 2_000_000 })
    yield* Stream.runForEach(bytes, () =>
      Effect.sync(() => {
        most = Math.max(most, drawn - given)
        given = drawn
      })
    )
    assert.strictEqual(drawn, 1000)
    assert.isAtMost(most, 30)
  })
)
