/** A resource with all kinds of values, and its files as an engine reads them. */
import { DuckDBInstance } from "@duckdb/node-api"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Export from "effect-s3db/Export"
import * as Parquet from "effect-s3db/plugins/Parquet"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

const Thing = Schema.Struct({
  id: Schema.String,
  text: Schema.optionalKey(Schema.NullOr(Schema.String)),
  kind: Schema.optionalKey(Schema.Literals(["a", "b"])),
  number: Schema.optionalKey(Schema.Number),
  integer: Schema.optionalKey(Schema.Int),
  big: Schema.optionalKey(Schema.BigInt),
  price: Schema.optionalKey(Attribute.Money(2)),
  flag: Schema.optionalKey(Schema.Boolean),
  at: Schema.optionalKey(Schema.DateTimeUtcFromString),
  date: Schema.optionalKey(Schema.Date),
  day: Schema.optionalKey(Attribute.DateOnly),
  bytes: Schema.optionalKey(Schema.Uint8Array),
  vector: Schema.optionalKey(Attribute.Embedding(3)),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  counts: Schema.optionalKey(Schema.Array(Schema.Int)),
  address: Schema.optionalKey(
    Schema.NullOr(
      Schema.Struct({
        city: Schema.String,
        inner: Schema.optionalKey(Schema.Struct({ n: Schema.Int, code: Schema.optionalKey(Attribute.SecretText) }))
      })
    )
  ),
  any: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  token: Schema.optionalKey(Attribute.SecretText),
  password: Schema.optionalKey(Attribute.Password)
})

export class Things extends Resource.Service<Things>()("test/things", { schema: Thing, primaryKey: "id" }) {}

export const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(7)) } })
export const all = { columns: Parquet.columnsOf(Things.definition) }

export const App = Things.layer.pipe(
  Layer.provide(PasswordHasher.layer),
  Layer.provide(Database.layer),
  Layer.provide(MemoryStore.layer),
  Layer.provide(ring),
  Layer.provideMerge(NodeServices.layer)
)

/** What DuckDB reads of files, in JSON: an engine of its own, in C++. */
export const queried = (sql: string) =>
  Effect.acquireUseRelease(
    Effect.promise(async () => {
      const instance = await DuckDBInstance.create(":memory:")
      return { instance, connection: await instance.connect() }
    }),
    ({ connection }) =>
      Effect.promise(
        async () => (await connection.runAndReadAll(sql)).getRowObjectsJson() as ReadonlyArray<JsonObject>
      ),
    ({ connection, instance }) =>
      Effect.sync(() => {
        connection.closeSync()
        instance.closeSync()
      })
  )

export const written = Effect.fnUntraced(function* <E, R>(bytes: Stream.Stream<Uint8Array, E, R>, name: string) {
  const files = yield* FileSystem.FileSystem
  const folder = yield* files.makeTempDirectoryScoped()
  const path = `${folder}/${name}`
  yield* Stream.run(bytes, files.sink(path))
  return path
})

/** So many documents, through a file, read by DuckDB: each value is what it was. */
export const roundTrip = (total: number) =>
  Effect.gen(function* () {
    const things = yield* Things
    const limits = [0n, 1n, -1n, 9_223_372_036_854_775_807n, -9_223_372_036_854_775_808n, 10n ** 37n]
    const integers = [0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]
    const numbers = [0, 0.1, -1e-300, Number.MAX_VALUE, 1e21]
    const texts = ["", "ключ 🔑", "a'b\"c,\n\t", "\u0000", "é".repeat(500), "null"]
    const moments = [
      "1970-01-01T00:00:00.000Z",
      "2026-11-26T12:34:56.789Z",
      "0001-01-01T00:00:00.000Z",
      "9999-12-31T23:59:59.999Z"
    ]
    const input = (i: number): JsonObject => ({
      id: `t-${String(i).padStart(5, "0")}`,
      ...(i % 7 === 0 ? {} : { text: i % 5 === 0 ? null : texts[i % texts.length]! }),
      ...(i % 3 === 0 ? { kind: i % 2 === 0 ? "a" : "b", flag: i % 2 === 0 } : {}),
      ...(i % 4 === 0 ? {} : { number: numbers[i % numbers.length]!, integer: integers[i % integers.length]! }),
      ...(i % 5 === 0
        ? {}
        : { big: String(limits[i % limits.length]), price: `${i % 2 === 0 ? "-" : ""}${i}.${i % 100}` }),
      ...(i % 6 === 0 ? {} : { at: moments[i % moments.length]!, date: moments[(i + 1) % moments.length]! }),
      ...(i % 6 === 1 ? {} : { day: moments[i % moments.length]!.slice(0, 10) }),
      ...(i % 8 === 0 ? {} : { bytes: Buffer.from([i % 256, 0, 255]).toString("base64"), vector: [i / 4, 0, -0.5] }),
      ...(i % 9 === 0 ? {} : { tags: i % 2 === 0 ? [] : ["x", "ü", ""], counts: [i, -i] }),
      ...(i % 10 === 0 ? { address: null } : {}),
      ...(i % 10 === 1 ? { address: { city: `city ${i}` } } : {}),
      ...(i % 10 === 2 ? { address: { city: "", inner: { n: i, code: "hidden-code" } } } : {}),
      ...(i % 11 === 0 ? { any: { a: [1, null, { b: "ü" }], "c.d": -0 } } : {}),
      token: "hidden-token"
    })
    const inputs = Array.from({ length: total }, (_, i) => input(i))
    const outcomes = yield* Stream.runCollect(things.writeAllJson(Stream.fromArray(inputs), { concurrency: 64 }))
    assert.isTrue(outcomes.every(({ result }) => Result.isSuccess(result)))
    const documents = things.queryJson({ scan: true })
    const path = yield* written(
      Parquet.encode(documents, { ...all, rowsPerGroup: Math.ceil(total / 4) }),
      "things.parquet"
    )
    // Lines of the same: what is secret below an object that is missing leaves nothing behind.
    const lines = yield* Stream.runCollect(Export.documents(Export.fromNdjson(Export.ndjson(documents))))
    assert.deepStrictEqual(lines, yield* Stream.runCollect(documents))
    const rows = yield* queried(
      `SELECT * REPLACE (epoch_ms("at") AS "at", epoch_ms("date") AS "date", CAST("day" AS VARCHAR) AS "day",
           base64("bytes") AS "bytes", CAST("big" AS VARCHAR) AS "big", CAST("price" AS VARCHAR) AS "price",
           CAST("integer" AS VARCHAR) AS "integer", CAST("any" AS VARCHAR) AS "any") FROM '${path}' ORDER BY id`
    )
    assert.strictEqual(rows.length, total)
    const stored = yield* Stream.runCollect(documents)
    const orNull = (value: unknown) => value ?? null
    const millis = (value: unknown) => (value === undefined ? null : String(Date.parse(String(value))))
    for (const [i, document] of stored.entries()) {
      const row = rows[i]!
      const label = String(document["id"])
      const { address, any, at, big, bytes, counts, date, day, integer, number, price, tags, vector, ...plain } =
        document
      for (const name of ["id", "text", "kind", "flag"])
        assert.strictEqual(row[name], orNull(plain[name]), `${label} ${name}`)
      assert.strictEqual(row["number"], orNull(number), label)
      assert.strictEqual(row["integer"], integer === undefined ? null : String(integer), label)
      assert.strictEqual(row["big"], orNull(big), label)
      const cents = (text: unknown) => (text === undefined || text === null ? null : Number(text).toFixed(2))
      assert.strictEqual(cents(row["price"]), cents(price), label)
      assert.strictEqual(row["at"] === null ? null : String(row["at"]), millis(at), label)
      assert.strictEqual(row["date"] === null ? null : String(row["date"]), millis(date), label)
      assert.strictEqual(row["day"], orNull(day), label)
      assert.strictEqual(row["bytes"], orNull(bytes), label)
      assert.deepStrictEqual(row["vector"], orNull(vector), label)
      assert.deepStrictEqual(row["tags"], orNull(tags), label)
      assert.deepStrictEqual(
        row["counts"],
        counts === undefined ? null : (counts as ReadonlyArray<number>).map(String),
        label
      )
      const told = address as { readonly city: string; readonly inner?: { readonly n: number } } | null | undefined
      assert.deepStrictEqual(
        row["address"],
        told === null || told === undefined
          ? null
          : { city: told.city, inner: told.inner === undefined ? null : { n: String(told.inner.n) } },
        label
      )
      assert.strictEqual(row["any"], any === undefined ? null : '{"a":[1,null,{"b":"ü"}],"c.d":-0}', label)
    }
    // Groups of rows, each with what engines pass over them by.
    const [groups] = yield* queried(`SELECT count(DISTINCT row_group_id) AS n FROM parquet_metadata('${path}')`)
    assert.strictEqual(Number(groups?.["n"]), 4)
    // Nothing that is secret is anywhere in the file.
    const bytes = Buffer.from(yield* (yield* FileSystem.FileSystem).readFile(path))
    assert.isFalse(bytes.includes("hidden-") || bytes.includes("token") || bytes.includes("password"))
  }).pipe(Effect.scoped, Effect.provide(App))
