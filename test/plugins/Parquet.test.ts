import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Parquet from "effect-s3db/plugins/Parquet"
import { all, queried, written } from "./parquets.ts"

describe("Parquet", () => {
  it("columns follow from the definition, without what is secret", () => {
    assert.deepStrictEqual(Object.fromEntries(all.columns.map(({ name, type }) => [name, type])), {
      id: { _tag: "Text" },
      text: { _tag: "Text" },
      kind: { _tag: "Text" },
      number: { _tag: "Double" },
      integer: { _tag: "Integer" },
      big: { _tag: "Decimal", scale: 0 },
      price: { _tag: "Decimal", scale: 2 },
      flag: { _tag: "Boolean" },
      at: { _tag: "Timestamp" },
      date: { _tag: "Timestamp" },
      day: { _tag: "Date" },
      bytes: { _tag: "Bytes" },
      vector: { _tag: "List", item: { _tag: "Double" } },
      tags: { _tag: "List", item: { _tag: "Text" } },
      counts: { _tag: "List", item: { _tag: "Integer" } },
      address: {
        _tag: "Struct",
        fields: [
          { name: "city", type: { _tag: "Text" } },
          { name: "inner", type: { _tag: "Struct", fields: [{ name: "n", type: { _tag: "Integer" } }] } }
        ]
      },
      any: { _tag: "Json" }
    })
  })

  it.live("no documents, columns that do not fit, values that do not fit", () =>
    Effect.gen(function* () {
      const none = yield* written(Parquet.encode(Stream.empty, all), "none.parquet")
      const described = yield* queried(`DESCRIBE SELECT * FROM '${none}'`)
      assert.deepStrictEqual(
        described.map((row) => `${row["column_name"]} ${row["column_type"]}`),
        [
          "id VARCHAR",
          "text VARCHAR",
          "kind VARCHAR",
          "number DOUBLE",
          "integer BIGINT",
          "big DECIMAL(38,0)",
          "price DECIMAL(38,2)",
          "flag BOOLEAN",
          "at TIMESTAMP WITH TIME ZONE",
          "date TIMESTAMP WITH TIME ZONE",
          "day DATE",
          "bytes BLOB",
          "vector DOUBLE[]",
          "tags VARCHAR[]",
          "counts BIGINT[]",
          'address STRUCT(city VARCHAR, "inner" STRUCT(n BIGINT))',
          "any VARCHAR"
        ]
      )
      assert.strictEqual((yield* Stream.runCollect(Parquet.files(Stream.empty, all))).length, 1)
      const two = Stream.make<ReadonlyArray<JsonObject>>(
        { id: "a", text: "é🔑", integer: Number.MAX_SAFE_INTEGER, big: "-9223372036854775808", tags: ["x", ""] },
        { id: "b", text: null, address: { city: "c" }, at: "2026-11-26T12:34:56.789Z" }
      )
      const some = yield* written(Parquet.encode(two, { ...all, rowsPerGroup: 1 }), "some.parquet")
      const read = yield* queried(
        `SELECT id, text, integer, big::VARCHAR AS big, tags, address, epoch_ms("at") AS millis FROM '${some}' ORDER BY id`
      )
      const nothing = { text: null, integer: null, big: null, tags: null, address: null, millis: null }
      assert.deepStrictEqual(read, [
        { ...nothing, id: "a", text: "é🔑", integer: "9007199254740991", big: "-9223372036854775808", tags: ["x", ""] },
        {
          ...nothing,
          id: "b",
          address: { city: "c", inner: null },
          millis: String(Date.parse("2026-11-26T12:34:56.789Z"))
        }
      ])
      const why = (documents: ReadonlyArray<JsonObject>, options: Partial<Parquet.Options> = {}) =>
        Effect.map(
          Effect.flip(Stream.runDrain(Parquet.encode(Stream.fromArray(documents), { ...all, ...options }))),
          ({ message }) => message
        )
      assert.match(yield* why([{ id: "a" }, { id: "b", other: 1 }]), /^row 2: other is in no column/)
      assert.match(yield* why([{ id: "a", address: { city: "x", zip: 1 } }]), /^row 1: address.zip is in no column/)
      assert.strictEqual(yield* why([{ id: "a", integer: 0.5 }]), "row 1: integer: Expected an integer")
      assert.strictEqual(yield* why([{ id: "a", at: "yesterday" }]), "row 1: at: Expected a moment")
      assert.match(yield* why([{ id: "a", big: "1".repeat(39) }]), /^row 1: big: Expected a number of 38 digits/)
      assert.match(
        yield* why([{ id: "a", address: { inner: { n: "x" } } }]),
        /^row 1: address.inner.n: Expected an integer/
      )
      yield* Stream.runDrain(Parquet.encode(Stream.make({ id: "a", other: 1 }), { ...all, onExcessProperty: "ignore" }))
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it("tables of Athena", () => {
    assert.strictEqual(
      Parquet.athenaTable({
        columns: all.columns.filter(({ name }) => ["id", "price", "at", "tags", "address"].includes(name)),
        name: "analytics.things",
        location: "s3://bucket/exports/things/",
        partitionedBy: { day: "string" }
      }),
      [
        "CREATE EXTERNAL TABLE `analytics`.`things` (",
        "  `id` string,",
        "  `price` decimal(38,2),",
        "  `at` timestamp,",
        "  `tags` array<string>,",
        "  `address` struct<`city`:string,`inner`:struct<`n`:bigint>>",
        ")",
        "PARTITIONED BY (`day` string)",
        "STORED AS PARQUET",
        "LOCATION 's3://bucket/exports/things/'"
      ].join("\n")
    )
  })
})
