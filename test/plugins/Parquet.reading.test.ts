/** Files of other programs, whole and damaged, as documents. */
import { readFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Parquet from "effect-s3db/plugins/Parquet"
import * as Resource from "effect-s3db/Resource"
import { all, queried, Things } from "./parquets.ts"

const orders = Resource.fromAttributes("orders", {
  day: "dateonly|optional",
  at: "datetime|optional",
  price: "money:EUR|optional",
  exact: "decimal:3|optional",
  count: "number|integer|optional",
  ratio: "number|nullable",
  note: "string|optional",
  key: "uuid|optional",
  clock: "timeonly|optional",
  blob: "bytes|optional",
  tags: { type: "array", items: "string", optional: true },
  any: "json|optional",
  scores: { type: "record", items: "number", optional: true },
  address: { $$type: "object|optional", city: "string|optional", zip: "string|optional" }
})

const sourceOf = (bytes: Uint8Array, told: Array<number> = []): Parquet.Source => ({
  byteLength: bytes.length,
  read: (start, end) =>
    Effect.sync(() => {
      told.push(end - start)
      return bytes.slice(start, end)
    })
})

/** What a statement of DuckDB gives, as a file. */
const fileOf = Effect.fnUntraced(function* (select: string, options = "") {
  const files = yield* FileSystem.FileSystem
  const folder = yield* files.makeTempDirectoryScoped()
  yield* queried(`COPY (${select}) TO '${folder}/x.parquet' (FORMAT parquet${options})`)
  return new Uint8Array(readFileSync(`${folder}/x.parquet`))
})

const read = (bytes: Uint8Array, told?: Array<number>) =>
  Stream.runCollect(Parquet.decode(sourceOf(bytes, told), orders))

const select = `SELECT 'a' AS id, DATE '2026-02-28' AS day, TIMESTAMP '2026-02-28 12:34:56.789' AS at,
  12345678901234.56::DECIMAL(18,2) AS price, '0.1'::DECIMAL(38,3) AS exact, 7::UTINYINT AS count, 0.25::FLOAT AS ratio,
  'ключ 🔑' AS note, '0190f5e0-0000-7000-8000-000000000001'::UUID AS key, TIME '01:02:03' AS clock, '\\xFF\\x00'::BLOB AS blob,
  ['x', 'ü', ''] AS tags, '{"b":[1,null]}'::JSON AS any, MAP {'k': 1.5::DOUBLE, 'ü': -2::DOUBLE} AS scores, {'city': 'São Paulo', 'zip': '007'} AS address`

const expected = {
  id: "a",
  day: "2026-02-28",
  at: "2026-02-28T12:34:56.789Z",
  price: "12345678901234.56",
  exact: "0.100",
  count: 7,
  ratio: 0.25,
  note: "ключ 🔑",
  key: "0190f5e0-0000-7000-8000-000000000001",
  clock: "01:02:03",
  blob: "/wA=",
  tags: ["x", "ü", ""],
  any: { b: [1, null] },
  scores: { k: 1.5, ü: -2 },
  address: { city: "São Paulo", zip: "007" }
}

describe("Parquet of other programs", () => {
  it.live("each type comes in the form of its field, whatever it is compressed with", () =>
    Effect.gen(function* () {
      for (const codec of ["uncompressed", "snappy", "gzip", "zstd", "brotli"]) {
        assert.deepStrictEqual(yield* read(yield* fileOf(select, `, CODEC '${codec}'`)), [expected], codec)
      }
      const refused = yield* Effect.flip(read(yield* fileOf(select, ", CODEC 'lz4'")))
      assert.strictEqual(refused._tag, "Unreadable")
      assert.match(refused.message, /LZ4/)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("another type than the field has, as far as nothing is lost", () =>
    Effect.gen(function* () {
      const rows = yield* read(
        yield* fileOf(`SELECT 17 AS id, TIMESTAMP '2026-02-28 00:00:00' AS day, DATE '2026-02-28' AS at, 12.5::DOUBLE AS price,
          '12' AS count, NULL::DOUBLE AS ratio, 12::INTEGER AS note, '{"a":1}' AS any, 'Recife' AS "address.city",
          TIMESTAMP '2026-02-28 00:00:00.123456' AS other, 9007199254740993::BIGINT AS big`)
      )
      assert.deepStrictEqual(rows, [
        {
          id: "17",
          day: "2026-02-28",
          at: "2026-02-28T00:00:00.000Z",
          price: "12.5",
          count: 12,
          // It has to be, and may be null.
          ratio: null,
          note: "12",
          any: { a: 1 },
          address: { city: "Recife" },
          // No field is for them: what they are, with all digits.
          other: "2026-02-28T00:00:00.123456Z",
          big: "9007199254740993"
        }
      ])
      const empty = yield* read(yield* fileOf("SELECT 'a' AS id, NULL AS note, NULL::VARCHAR[] AS tags"))
      assert.deepStrictEqual(empty, [{ id: "a" }])
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("one group of rows is in memory at a time", () =>
    Effect.gen(function* () {
      const bytes = yield* fileOf(
        "SELECT 'n' || i AS id, i / 2 AS ratio, repeat(md5(i::VARCHAR), 8) AS note FROM range(20000) t(i)",
        ", ROW_GROUP_SIZE 2048, CODEC 'uncompressed'"
      )
      const told: Array<number> = []
      const rows = yield* read(bytes, told)
      assert.strictEqual(rows.length, 20_000)
      assert.deepStrictEqual([rows[0]?.["id"], rows.at(-1)?.["id"]], ["n0", "n19999"])
      const [, , ...groups] = told
      assert.strictEqual(groups.length, 10)
      assert.isBelow(Math.max(...groups), bytes.length / 8)
      // Who takes the first row reads no more than its group.
      const few: Array<number> = []
      yield* Stream.runCollect(Stream.take(Parquet.decode(sourceOf(bytes, few), orders), 1))
      assert.strictEqual(few.length, 3)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("a file that is cut, foreign or damaged ends with a typed error, wherever it is damaged", () =>
    Effect.gen(function* () {
      const whole = yield* fileOf(select)
      const broken = [
        new Uint8Array(0),
        new TextEncoder().encode("PAR1PAR1"),
        new TextEncoder().encode("PAR1 nothing of it \xFF\xFF\xFF\x7FPAR1"),
        new TextEncoder().encode('{"id":"a"}\n{"id":"b"}\n'),
        whole.slice(0, -1),
        whole.slice(10)
      ]
      for (const bytes of broken) assert.strictEqual((yield* Effect.flip(read(bytes)))._tag, "Unreadable")
      // One byte after the other: a row, or that error, and never a defect.
      let refused = 0
      for (let at = 0; at < whole.length; at += 7) {
        const bytes = whole.slice()
        bytes[at]! ^= 0x5a
        const tag = yield* read(bytes).pipe(
          Effect.as(""),
          Effect.catch((error) => Effect.succeed(error._tag))
        )
        assert.include(["", "Unreadable"], tag)
        if (tag !== "") refused += 1
      }
      assert.isAbove(refused, 10)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )

  it.live("what it has written itself is the same again", () =>
    Effect.gen(function* () {
      const documents = [
        { id: "a", big: "99999999999999999999", price: "-1.05", integer: -3, vector: [0.5, -1, 0], counts: [1, -2] },
        {
          id: "ü",
          text: "",
          at: "0001-01-01T00:00:00.000Z",
          day: "9999-12-31",
          bytes: "AP8=",
          any: { a: [1, { b: null }] }
        },
        { id: "c", address: { city: "", inner: { n: 1 } }, tags: [] }
      ]
      const bytes = Buffer.concat(yield* Stream.runCollect(Parquet.encode(Stream.fromArray(documents), all)))
      const again = yield* Stream.runCollect(Parquet.decode(sourceOf(bytes), Things.definition))
      assert.deepStrictEqual(again, documents)
    })
  )
})
