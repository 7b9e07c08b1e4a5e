import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as Export from "effect-s3db/Export"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { random } from "./encoding/random.ts"
import { keysOf, memory, openNew, openOn } from "./fixture.ts"

const encoder = new TextEncoder()

const joined = (chunks: ReadonlyArray<Uint8Array>): string =>
  new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))

const ndjson = (documents: ReadonlyArray<JsonObject>) =>
  Effect.map(Stream.runCollect(Export.ndjson(Stream.fromIterable(documents))), joined)

const csv = (documents: ReadonlyArray<JsonObject>, options: Export.CsvOptions) =>
  Effect.map(Stream.runCollect(Export.csv(Stream.fromIterable(documents), options)), joined)

const toBytes = (input: string | Uint8Array): Uint8Array => (typeof input === "string" ? encoder.encode(input) : input)

const read = (parts: ReadonlyArray<string | Uint8Array>, options?: Export.ReadOptions) =>
  Effect.map(Stream.runCollect(Export.fromNdjson(Stream.fromIterable(parts.map(toBytes)), options)), (lines) =>
    lines.map(
      Result.match({
        onFailure: ({ line, reason }): readonly [number, Json] => [line, reason],
        onSuccess: ({ line, document }): readonly [number, Json] => [line, document]
      })
    )
  )

/** RFC 4180, for the tests. */
const parseCsv = (text: string, delimiter: string): ReadonlyArray<ReadonlyArray<string>> => {
  const rows: Array<Array<string>> = [[]]
  let at = 0
  while (at < text.length) {
    let cell = ""
    if (text[at] === '"') {
      for (at += 1; text[at] !== '"' || text[at + 1] === '"'; at++) {
        if (text[at] === '"') at += 1
        cell += text[at]
      }
      at += 1
    } else while (at < text.length && text[at] !== delimiter && text[at] !== "\r") cell += text[at++]
    rows.at(-1)!.push(cell)
    if (text[at] === delimiter) at += 1
    else {
      assert.strictEqual(text.slice(at, at + 2), "\r\n")
      at += 2
      if (at < text.length) rows.push([])
    }
  }
  return rows
}

describe("ndjson", () => {
  it.effect("one document a line", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ndjson([{ a: 1 }, { b: "x\ny" }]), '{"a":1}\n{"b":"x\\ny"}\n')
      assert.strictEqual(yield* ndjson([]), "")
      assert.strictEqual(yield* ndjson([{}]), "{}\n")
    })
  )

  it.effect("reads back as it was", () =>
    Effect.gen(function* () {
      const documents: Array<JsonObject> = [
        { a: -0, b: [0, -0] },
        { "\u2028": "\u2028\u2029\r\n\u0000😀" },
        { lone: "a\uD800b\uDC00", "\uDFFF": 1 },
        { constructor: 1, nested: { toString: null } }
      ]
      const text = yield* ndjson(documents)
      assert.include(text, "a\\ud800b\\udc00")
      assert.notInclude(text, "\uFFFD")
      const back = yield* read([text])
      assert.deepStrictEqual(
        back.map(([, document]) => document),
        documents
      )
      const [, first] = back[0]!
      assert.isTrue(Object.is((first as { readonly a: number }).a, -0))
    })
  )

  it.effect("dies of what is no JSON", () =>
    Effect.gen(function* () {
      for (const document of [{ a: [NaN] }, JSON.parse('{"__proto__":1}')] as ReadonlyArray<JsonObject>) {
        for (const stream of [
          Export.ndjson(Stream.make(document)),
          Export.csv(Stream.make({ id: "1", document }), { columns: ["id", "document"] })
        ]) {
          const exit = yield* Effect.exit(Stream.runDrain(stream))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        }
      }
    })
  )

  it.effect("in pieces, not in one text", () =>
    Effect.gen(function* () {
      const document: JsonObject = { text: "x".repeat(1000) }
      const pieces = yield* Stream.range(1, 10_000).pipe(
        Stream.map(() => document),
        Export.ndjsonText,
        Stream.runCollect
      )
      assert.isTrue(pieces.every((piece) => piece.length < 70_000))
      assert.isAbove(pieces.length, 100)
      assert.isBelow(pieces.length, 1000)
    })
  )

  it.effect("does not run ahead of its reader", () =>
    Effect.gen(function* () {
      let made = 0
      const documents = Stream.range(1, 1_000_000).pipe(
        Stream.rechunk(10),
        Stream.map((n): JsonObject => {
          made += 1
          return { n }
        })
      )
      yield* Stream.runDrain(Stream.take(Export.ndjson(documents), 3))
      assert.isAtMost(made, 100)
      yield* Stream.runDrain(Stream.take(Export.csv(documents, { columns: ["n"] }), 3))
      assert.isAtMost(made, 200)
    })
  )

  it.effect("errors of the documents come through", () =>
    Effect.gen(function* () {
      const failing = Stream.concat(Stream.make<ReadonlyArray<JsonObject>>({ a: 1 }), Stream.fail("no"))
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(Export.ndjson(failing))), "no")
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(Export.csv(failing, { columns: ["a"] }))), "no")
    })
  )
})

describe("fromNdjson", () => {
  it.effect("numbers the lines, and goes on after a bad one", () =>
    Effect.gen(function* () {
      const text = '{"a":1}\n\nnope\n  \t\r\n[1]\n"x"\nnull\n{"b":2}\r\n{"a":}\n{"c":3}'
      assert.deepStrictEqual(yield* read([text]), [
        [1, { a: 1 }],
        [3, "InvalidJson"],
        [5, "NotADocument"],
        [6, "NotADocument"],
        [7, "NotADocument"],
        [8, { b: 2 }],
        [9, "InvalidJson"],
        [10, { c: 3 }]
      ])
      assert.deepStrictEqual(yield* read([]), [])
      assert.deepStrictEqual(yield* read(["", "\n", "\n"]), [])
    })
  )

  it.effect("wherever the chunks end", () =>
    Effect.gen(function* () {
      const from = random(4)
      const bytes = encoder.encode('\uFEFF{"a":"é😀"}\r\n\n{"b":[1,2]}\nbad\n{"c":"\u2028"}')
      const whole = yield* read([bytes])
      assert.deepStrictEqual(whole, [
        [1, { a: "é😀" }],
        [3, { b: [1, 2] }],
        [4, "InvalidJson"],
        [5, { c: "\u2028" }]
      ])
      assert.deepStrictEqual(yield* read(Array.from(bytes, (byte) => Uint8Array.of(byte))), whole)
      for (let i = 0; i < 200; i++) {
        const parts: Array<Uint8Array> = []
        for (let at = 0; at < bytes.length;) {
          const end = at + from.int(9)
          parts.push(bytes.slice(at, end))
          at = end
        }
        assert.deepStrictEqual(yield* read(parts), whole)
      }
    })
  )

  it.effect("a source may use its buffer again", () =>
    Effect.gen(function* () {
      const buffer = new Uint8Array(4)
      const text = '{"a":1}\n{"bc":23}\n'
      const parts = Stream.range(0, Math.ceil(text.length / 4) - 1).pipe(
        Stream.rechunk(1),
        Stream.map((i) => {
          buffer.fill(0x20)
          buffer.set(encoder.encode(text.slice(i * 4, i * 4 + 4)))
          return buffer
        })
      )
      const lines = yield* Stream.runCollect(Export.fromNdjson(parts))
      assert.deepStrictEqual(
        lines.map((line) => Result.getOrThrow(line).document),
        [{ a: 1 }, { bc: 23 }]
      )
    })
  )

  it.effect("bytes that are no UTF-8", () =>
    Effect.gen(function* () {
      const bad = Uint8Array.from([...encoder.encode('{"a":"'), 0xff, ...encoder.encode('"}\n{"b":1}\n{"c":"'), 0xc3])
      assert.deepStrictEqual(yield* read([bad]), [
        [1, "InvalidUtf8"],
        [2, { b: 1 }],
        [3, "InvalidUtf8"]
      ])
      // A byte order mark is one only at the beginning.
      assert.deepStrictEqual(yield* read(["{}\n\uFEFF{}"]), [
        [1, {}],
        [2, "InvalidJson"]
      ])
    })
  )

  it.effect("long lines are passed over", () =>
    Effect.gen(function* () {
      const options = { maxLineBytes: 10 }
      const fits = '{"a":1234}'
      assert.lengthOf(fits, 10)
      for (const end of ["\n", "\r\n", ""]) {
        assert.deepStrictEqual(yield* read([fits + end], options), [[1, { a: 1234 }]])
        assert.deepStrictEqual(yield* read([` ${fits}${end}`], options), [[1, "TooLong"]])
      }
      assert.deepStrictEqual(yield* read([...fits, "\r", "\n", "{}"], options), [
        [1, { a: 1234 }],
        [2, {}]
      ])
      assert.deepStrictEqual(yield* read([" ".repeat(9), "x".repeat(50), `x\n${fits}\n`, "y".repeat(100)], options), [
        [1, "TooLong"],
        [2, { a: 1234 }],
        [3, "TooLong"]
      ])
      const endless = Stream.range(1, 2000).pipe(Stream.map(() => new Uint8Array(65_536).fill(0x78)))
      const lines = yield* Stream.runCollect(Export.fromNdjson(endless, { maxLineBytes: 100 }))
      assert.deepStrictEqual(lines.map(Result.isFailure), [true])
    })
  )

  it.effect("what cannot be stored", () =>
    Effect.gen(function* () {
      const deep = (levels: number) => `${'{"a":'.repeat(levels - 1)}{}${"}".repeat(levels - 1)}`
      const lines = [
        '{"a":1e999}',
        '{"a":[-1e999]}',
        '{"__proto__":1}',
        '{"a":[{"\\u005f_proto__":1}]}',
        deep(256),
        deep(257),
        deep(100_000),
        `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`
      ]
      const found = yield* read([lines.join("\n")])
      assert.deepStrictEqual(
        found.map(([, result]) => (typeof result === "string" ? result : "fits")),
        lines.map((_, i) => (i === 4 ? "fits" : "NotADocument"))
      )
    })
  )

  it.effect("documents alone end at the first bad line", () =>
    Effect.gen(function* () {
      const lines = Export.fromNdjson(Stream.make(encoder.encode('{"a":1}\n{"a":2}\nsecret\n{"a":3}\n')))
      const seen: Array<JsonObject> = []
      const error = yield* Export.documents(lines).pipe(
        Stream.runForEach((document) => Effect.sync(() => void seen.push(document))),
        Effect.flip
      )
      assert.deepStrictEqual(seen, [{ a: 1 }, { a: 2 }])
      assert.strictEqual(error._tag, "LineProblem")
      assert.strictEqual(error.line, 3)
      assert.strictEqual(error.message, "line 3: Expected JSON")
    })
  )

  it.effect("every run begins anew", () =>
    Effect.gen(function* () {
      const lines = Export.fromNdjson(Stream.make(encoder.encode("x\n{")))
      const once = yield* Stream.runCollect(lines)
      assert.deepStrictEqual(yield* Stream.runCollect(lines), once)
    })
  )
})

describe("csv", () => {
  it.effect("rows and columns", () =>
    Effect.gen(function* () {
      const documents: ReadonlyArray<JsonObject> = [
        { id: "1", a: { b: 2, c: [1, "x"] }, ok: true, n: -0 },
        { id: "2", a: { b: "t" }, ok: null, "x.y": 1 }
      ]
      assert.strictEqual(
        yield* csv(documents, { columns: ["id", "a.b", "a.c", "ok", "n", ["x.y"]] }),
        'id,a.b,a.c,ok,n,x.y\r\n1,2,"[1,""x""]",true,-0,\r\n2,t,,,,1\r\n'
      )
      assert.strictEqual(
        yield* csv(documents, { columns: [["a", "b"]], onExcessProperty: "ignore" }),
        "a.b\r\n2\r\nt\r\n"
      )
      assert.strictEqual(
        yield* csv(documents, { columns: ["id", "a", "ok", "n", ["x.y"]] }),
        'id,a,ok,n,x.y\r\n1,"{""b"":2,""c"":[1,""x""]}",true,-0,\r\n2,"{""b"":""t""}",,,1\r\n'
      )
    })
  )

  it.effect("of documents whose type is known", () =>
    Effect.gen(function* () {
      const users = Stream.make({ id: "u1", name: "Ana", address: { city: "Recife" } })
      assert.strictEqual(
        (yield* Stream.runCollect(Export.csvText(users, { columns: ["id", "name", "address.city"] }))).join(""),
        "id,name,address.city\r\nu1,Ana,Recife\r\n"
      )
    })
  )

  it.effect("options", () =>
    Effect.gen(function* () {
      const documents: ReadonlyArray<JsonObject> = [{ a: "x;y", b: null }, { a: "NULL" }]
      const columns = ["a", "b"]
      assert.strictEqual(yield* csv(documents, { columns, delimiter: ";" }), 'a;b\r\n"x;y";\r\nNULL;\r\n')
      assert.strictEqual(yield* csv(documents, { columns, header: false }), "x;y,\r\nNULL,\r\n")
      assert.strictEqual(yield* csv(documents, { columns, bom: true }), "\uFEFFa,b\r\nx;y,\r\nNULL,\r\n")
      assert.strictEqual(yield* csv(documents, { columns, nullText: "NULL" }), 'a,b\r\nx;y,NULL\r\n"NULL",NULL\r\n')
      assert.strictEqual(
        yield* csv([{ a: "x" }, {}], { columns: ["a"], nullText: "no, none" }),
        'a\r\nx\r\n"no, none"\r\n'
      )
      assert.strictEqual(yield* csv([{ "a\tb": "c,d" }], { columns: ["a\tb"], delimiter: "\t" }), '"a\tb"\r\nc,d\r\n')
    })
  )

  it.effect("of no documents", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* csv([], { columns: ["a", "b"] }), "a,b\r\n")
      assert.strictEqual(yield* csv([], { columns: ["a"], bom: true }), "\uFEFFa\r\n")
      assert.strictEqual(yield* csv([], { columns: ["a"], header: false }), "")
    })
  )

  it.effect("an empty text is not nothing, and no row is a blank line", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* csv([{ a: "", b: null }], { columns: ["a", "b"] }), 'a,b\r\n"",\r\n')
      assert.strictEqual(yield* csv([{ a: "x" }, { a: null }, {}], { columns: ["a"] }), 'a\r\nx\r\n""\r\n""\r\n')
    })
  )

  it.effect("formulas stand as they are, unless they are to be escaped", () =>
    Effect.gen(function* () {
      const texts = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1", "a=1", "'=1", ""]
      const documents = [...texts, -1, ["=1"]].map((a, i): JsonObject => ({ i, a }))
      const cells = (text: string) =>
        parseCsv(text, ",")
          .slice(1)
          .map((row) => row[1])
      const columns = ["i", "a"]
      assert.deepStrictEqual(cells(yield* csv(documents, { columns })), [...texts, "-1", '["=1"]'])
      assert.deepStrictEqual(cells(yield* csv(documents, { columns, escapeFormulas: true })), [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\t=1",
        "'\r=1",
        "'\n=1",
        "'＝1",
        "a=1",
        "'=1",
        "",
        "-1",
        '["=1"]'
      ])
      assert.strictEqual(
        yield* csv([{ "=A1": '=HYPERLINK("x,y")' }], { columns: ["=A1"], escapeFormulas: true }),
        '\'=A1\r\n"\'=HYPERLINK(""x,y"")"\r\n'
      )
    })
  )

  it.effect("whatever the texts are, they read back", () =>
    Effect.gen(function* () {
      const from = random(8)
      const text = () =>
        from.many(6, () => from.pick([",", ";", '"', "\r", "\n", "\r\n", " ", "a", "é", "😀", "\t"])).join("")
      for (const delimiter of [",", ";", "\t", "|"] as const) {
        const rows = Array.from({ length: 300 }, () => [text(), text(), text()])
        const documents = rows.map(([a = "", b = "", c = ""]): JsonObject => ({ a, b, c }))
        assert.deepStrictEqual(
          parseCsv(yield* csv(documents, { columns: ["a", "b", "c"], delimiter, header: false }), delimiter),
          rows
        )
      }
    })
  )

  it.effect("only own properties, and lone surrogates are replaced", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* csv([{ a: "x\uD800" }], { columns: ["a", "constructor", "__proto__", "a.length"] }),
        "a,constructor,__proto__,a.length\r\nx\uFFFD,,,\r\n"
      )
    })
  )

  it.effect("a field that is in no column is told, wherever it stands, or left out where that is said", () =>
    Effect.gen(function* () {
      const problemOf = (documents: ReadonlyArray<JsonObject>, columns: Export.CsvOptions["columns"]) =>
        Effect.map(Effect.flip(csv(documents, { columns })), (error) => [error.row, ...error.path])
      assert.deepStrictEqual(yield* problemOf([{ id: "1" }, { id: "2", note: "late" }], ["id"]), [2, "note"])
      assert.deepStrictEqual(yield* problemOf([{ a: { b: 1, c: { d: 2 } } }], ["a.b", "a.c.e"]), [1, "a", "c", "d"])
      // What stands where an object was expected would be lost as well, and so would a name with a dot.
      assert.deepStrictEqual(yield* problemOf([{ a: { b: 1 } }, { a: "text" }], ["a.b"]), [2, "a"])
      assert.deepStrictEqual(yield* problemOf([{ a: [{ b: 1 }] }], ["a.b"]), [1, "a"])
      assert.deepStrictEqual(yield* problemOf([{ "a.b": 1 }], ["a.b"]), [1, "a.b"])
      assert.deepStrictEqual(yield* problemOf([{ constructor: 1 }], ["id"]), [1, "constructor"])
      const late = Stream.map(Stream.range(1, 5000), (n): JsonObject => (n === 4321 ? { n, late: true } : { n }))
      const error = yield* Effect.flip(Stream.runDrain(Export.csv(late, { columns: ["n"] })))
      assert.strictEqual(
        error.message,
        'row 4321: late is in no column; add it to columns, or say onExcessProperty: "ignore"'
      )
      // What holds nothing loses nothing.
      assert.strictEqual(
        yield* csv([{ a: null }, { a: {} }, {}], { columns: ["a.b", "c"] }),
        "a.b,c\r\n,\r\n,\r\n,\r\n"
      )
      const ignored = { columns: ["id"], onExcessProperty: "ignore" } as const
      assert.strictEqual(yield* csv([{ id: "1" }, { id: "2", note: "late" }], ignored), "id\r\n1\r\n2\r\n")
    })
  )

  it.effect("columns of a resource are those of its schema, also when no code declares it", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const schema = Schema.Struct({
        note: Schema.optionalKey(Schema.String),
        id: Schema.String,
        home: Schema.optionalKey(
          Schema.Struct({ city: Schema.String, at: Schema.Struct({ x: Schema.Int }), key: Attribute.SecretText })
        ),
        key: Schema.optionalKey(Attribute.SecretText),
        "a.b": Schema.optionalKey(Schema.Int)
      })
      const people = yield* open("people", { schema, primaryKey: "id", scan: true })
      yield* people.insert({ id: "1" })
      const key = Redacted.make("secret")
      yield* people.insert({ id: "2", note: "late", key, "a.b": 5, home: { city: "Recife", at: { x: 1 }, key } })
      const expected = "id,note,home.city,home.at.x,a.b\r\n1,,,,\r\n2,late,Recife,1,5\r\n"
      const columns = Export.columnsOf(Resource.define("people", { schema, primaryKey: "id" }))
      assert.deepStrictEqual(columns.at(-1), ["a.b"])
      const tableOf = (rows: Stream.Stream<JsonObject, unknown>, options: Export.CsvOptions) =>
        Stream.mkString(Export.csvText(rows, options))
      assert.strictEqual(yield* tableOf(people.queryJson({ scan: true }), { columns }), expected)
      // A selection is a selection.
      const select = ["id", "note", "$schemaVersion"] as const
      assert.strictEqual(
        yield* tableOf(people.queryJson({ select, scan: true }), { columns: select }),
        "id,note,$schemaVersion\r\n1,,1\r\n2,late,1\r\n"
      )
      const { database: other } = yield* openOn(store)
      const fromCatalog = Effect.gen(function* () {
        const definition = yield* Resource.fromCatalog("people")
        const repository = yield* Resource.make(definition)
        return yield* tableOf(repository.queryJson({ scan: true }), { columns: Export.columnsOf(definition) })
      })
      for (const one of [database, other]) {
        assert.strictEqual(yield* Effect.provideService(fromCatalog, Database.Database, one), expected)
      }
    }).pipe(Effect.provide(KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32)) } })))
  )

  it.effect("every run begins anew", () =>
    Effect.gen(function* () {
      const stream = Export.csvText(Stream.make<ReadonlyArray<JsonObject>>({ a: 1 }, { a: 2 }), { columns: ["a"] })
      assert.deepStrictEqual(yield* Stream.runCollect(stream), ["a\r\n", "1\r\n2\r\n"])
      assert.deepStrictEqual(yield* Stream.runCollect(stream), ["a\r\n", "1\r\n2\r\n"])
    })
  )
})

describe("files in a store", () => {
  const files = Stream.make(new Uint8Array(3), new Uint8Array(4))
  const lost = new StoreError.StoreError({
    operation: "put",
    reason: new StoreError.Timeout({ description: "no answer", afterMillis: 1 })
  })
  const into = (store: ObjectStore["Service"]) =>
    Export.writeFiles(files, { store, prefix: "exports/", extension: "bin" })
  /** The store, with something after the mark at the end is put. */
  const after = (store: ObjectStore["Service"], then: Effect.Effect<never, StoreError.StoreError>) => ({
    ...store,
    put: (one: Parameters<typeof store.put>[0]) =>
      one.key.endsWith("_SUCCESS") ? Effect.andThen(store.put(one), then) : store.put(one)
  })

  it.effect("no mark is left without its files where nobody has heard that it is there", () =>
    Effect.gen(function* () {
      const store = yield* memory
      assert.strictEqual(yield* Effect.flip(into(after(store, Effect.fail(lost)))), lost)
      assert.deepStrictEqual(yield* keysOf(store), [])
      const reached = yield* Deferred.make<void>()
      const hanging = after(store, Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
      const fiber = yield* Effect.forkChild(into(hanging))
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* keysOf(store), [])
      // Where it cannot be told, the files stay with it.
      const blind = { ...after(store, Effect.fail(lost)), get: () => Effect.fail(lost) }
      assert.strictEqual(yield* Effect.flip(into(blind)), lost)
      assert.lengthOf(yield* keysOf(store), 3)
    })
  )
})
