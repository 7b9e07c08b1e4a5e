/** Imports: formats, mappings, rejects, ids, duplicates, resumption. */
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Export from "effect-s3db/Export"
import * as Importer from "effect-s3db/plugins/Importer"
import * as Parquet from "effect-s3db/plugins/Parquet"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { crashing, keysOf, memory } from "../fixture.ts"
import { fileOf, openedOn, people, plain, recordsOf, workbookOf } from "./importer.ts"

/** What a source gives as a whole. */
const bytesOf = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(Stream.runCollect(stream), (pieces) => new Uint8Array(Buffer.concat(pieces)))

const someone = (i: number): JsonObject => ({
  id: `p${String(i).padStart(4, "0")}`,
  name: `Person ${i}`,
  zip: String(i % 10).padStart(5, "0"),
  age: i,
  member: i % 2 === 0,
  born: new Date(86_400_000 * i).toISOString(),
  balance: `${i}.5`,
  tags: ["a", `t${i}`],
  address: { city: i % 3 === 0 ? "São Paulo" : "Łódź" }
})

const everyone = Array.from({ length: 12 }, (_, i) => someone(i))

const columns = ["id", "name", "zip", "age", "member", "born", "balance", "tags", "address.city"]

describe("Importer", () => {
  it.effect("a table: values in the form of their fields, leading zeros of texts, nested fields, empty cells", () =>
    Effect.gen(function* () {
      const { all, told } = yield* openedOn(yield* memory)
      const text =
        "\uFEFFid,name,zip,age,member,born,balance,tags,address.city\r\n" +
        'a,"Ana, ""the\r\nfirst""",00501,007,TRUE,2000-02-29,1234567890.12,"[""x"",""y""]",São Paulo\r\n\r\n' +
        "b,Bo,,,,,,,\r\n" +
        "c,C,1,x,maybe,,,,\r\n" +
        "d,Dan,1\r\n"
      for (const chunk of [1, 7, 65_536]) {
        const { rejects, report } = yield* told(fileOf("people.csv", text, chunk), { mode: "replace" })
        assert.deepStrictEqual(
          { rows: report?.rows, written: report?.written, rejected: report?.rejected },
          { rows: 4, written: 2, rejected: 2 }
        )
        assert.deepStrictEqual(
          rejects.map(({ column, line, reason, row }) => ({ row, line, reason, column })),
          [
            { row: 3, line: 6, reason: "InvalidInput", column: "name" },
            { row: 4, line: 7, reason: "Cells", column: undefined }
          ]
        )
        assert.deepStrictEqual(
          rejects[0]!.issues.map(({ path }) => path.join(".")),
          ["name", "age", "member"]
        )
        assert.deepStrictEqual(rejects[1]!.original, ["d", "Dan", "1"])
      }
      assert.deepStrictEqual(yield* all, [
        {
          id: "a",
          name: 'Ana, "the\r\nfirst"',
          zip: "00501",
          age: 7,
          member: true,
          born: "2000-02-29T00:00:00.000Z",
          balance: "1234567890.12",
          tags: ["x", "y"],
          address: { city: "São Paulo" }
        },
        { id: "b", name: "Bo" }
      ])
    })
  )

  it.effect("the same documents of every format, compression and encoding, whatever the chunks", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { all, told } = yield* openedOn(store)
      const documents = Stream.fromIterable(everyone)
      const csv = Buffer.from(yield* bytesOf(Export.csv(documents, { columns }))).toString("utf8")
      const ndjson = yield* bytesOf(Export.ndjson(documents))
      const json = JSON.stringify(everyone, undefined, 2)
      const latin = csv.replaceAll("Łódź", "Cádiz")
      const parquet = yield* bytesOf(Parquet.encode(documents, { columns: Parquet.columnsOf(people) }))
      const rows = [columns, ...everyone.map((one) => columns.map((name) => cellOf(one, name)))]
      const workbook = yield* workbookOf([
        { name: "First", rows: [["nothing"]] },
        { name: "People", rows }
      ])
      const nested = `{"count": 40, "meta": {"pages": [1, [2]]}, "data": {"a/b": [{"items": ${json}}]}, "more": []}`
      const utf16 = (text: string, mark: string) => Buffer.from(mark + text, "utf16le")
      const files: ReadonlyArray<readonly [Importer.Source, Importer.ReadOptions?]> = [
        [fileOf("a.csv", csv, 1000)],
        [fileOf("a.csv", csv, 7)],
        [fileOf("a.tsv", yield* bytesOf(Export.csv(documents, { columns, delimiter: "\t" })))],
        [fileOf("semicolons.csv", yield* bytesOf(Export.csv(documents, { columns, delimiter: ";", bom: true })))],
        [fileOf("pipes", yield* bytesOf(Export.csv(documents, { columns, delimiter: "|" })))],
        [fileOf("a.csv", csv.replace(/.*?\r\n/, "")), { header: columns }],
        [fileOf("a.csv", `a title\r\n,,\r\n${csv}`), { header: 3 }],
        [fileOf("a.ndjson", ndjson, 100)],
        [fileOf("lines", ndjson)],
        [fileOf("a.json", json, 33)],
        [fileOf("a.txt", json)],
        [fileOf("a.json", nested, 77), { path: "/data/a~1b/0/items" }],
        [fileOf("a.json", nested.replace("a/b", "ab")), { path: "data.ab.0.items" }],
        [fileOf("a.csv.gz", gzipSync(csv), 50)],
        // Several members one after the other, as many programs write them.
        [fileOf("a.csv", Buffer.concat([gzipSync(csv.slice(0, 300)), gzipSync(csv.slice(300))]))],
        [fileOf("a.json.zst", zstdCompressSync(json), 90)],
        [fileOf("a.ndjson.br", brotliCompressSync(ndjson))],
        [fileOf("a.csv", utf16(csv, "\uFEFF"), 33)],
        [fileOf("a.csv", utf16(csv, ""), 101)],
        [fileOf("a.csv", utf16(csv, "\uFEFF").swap16())],
        [fileOf("a.ndjson", utf16(Buffer.from(ndjson).toString(), "\uFEFF"))],
        [fileOf("a.parquet", parquet)],
        [Importer.fromStream("parquet", fileOf("", parquet, 100).bytes)],
        [fileOf("a.parquet.gz", gzipSync(parquet))],
        [fileOf("a.xlsx", workbook), { sheet: "People" }],
        [Importer.fromStream("workbook", fileOf("", workbook, 99).bytes), { sheet: 2 }]
      ]
      for (const [source, options] of files) {
        const { failure, rejects, report } = yield* told(source, { ...options, mode: "replace" })
        const what = `${source.name} ${JSON.stringify(options)}`
        assert.deepStrictEqual([failure, rejects], [undefined, []], what)
        assert.deepStrictEqual([report?.rows, report?.written], [12, 12], what)
        assert.deepStrictEqual(yield* all, everyone, what)
      }
      const { report } = yield* told(fileOf("a.csv", Buffer.from(latin, "latin1"), 64), {
        mode: "replace",
        encoding: "windows-1252"
      })
      assert.strictEqual(report?.written, 12)
      assert.deepStrictEqual((yield* all)[1]!["address"], { city: "Cádiz" })
    })
  )

  it.effect("workbooks: dates, texts in runs, formulas are what they gave, blank rows and columns", () =>
    Effect.gen(function* () {
      const rows: ReadonlyArray<ReadonlyArray<unknown>> = [
        [],
        ["id", " name ", "zip", "born", "member", "age", ""],
        ["a", { runs: ["An", "a & <b>"] }, "007", { date: 36_585 }, true, { formula: "1+1", value: 2 }, ""],
        [],
        [
          "b",
          { inline: "line\nbreak_x000D_" },
          501,
          { date: 36_585.5 },
          false,
          { formula: 'HYPERLINK("x")', text: "=1+1" }
        ],
        ["c", "Cyd"]
      ]
      const file = fileOf("a.xlsx", yield* workbookOf([{ name: "S", rows }]))
      assert.deepStrictEqual(yield* recordsOf(file), [
        { id: "a", name: "Ana & <b>", zip: "007", born: "2000-02-29", member: true, age: 2 },
        { id: "b", name: "line\nbreak\r", zip: 501, born: "2000-02-29T12:00:00.000Z", member: false, age: "=1+1" },
        { id: "c", name: "Cyd", zip: "", born: "", member: "", age: "" }
      ])
      const { all, told } = yield* openedOn(yield* memory)
      const { rejects, report } = yield* told(file)
      assert.deepStrictEqual([report?.written, report?.rejected], [2, 1])
      assert.deepStrictEqual(
        rejects.map(({ column, line, row }) => ({ row, line, column })),
        [{ row: 2, line: 5, column: "age" }]
      )
      assert.deepStrictEqual(yield* all, [
        { id: "a", name: "Ana & <b>", zip: "007", born: "2000-02-29T00:00:00.000Z", member: true, age: 2 },
        { id: "c", name: "Cyd" }
      ])
      for (const [sheet, said] of [
        ["T", 'no sheet "T", but "S"'],
        [2, "no sheet 2"]
      ] as const) {
        const { failure } = yield* told(file, { sheet })
        assert.include(String(failure?.message), said)
      }
      const old = yield* told(fileOf("a.xlsx", Buffer.from("d0cf11e0a1b11ae1", "hex")))
      assert.include(String(old.failure?.message), "save it as XLSX")
    })
  )

  it.effect("a mapping as data: columns, transforms, constants, others", () =>
    Effect.gen(function* () {
      const { all, told } = yield* openedOn(yield* memory)
      const text = [
        "Nr;First;Last;PLZ;Alter;Mitglied;Geburtstag;Saldo;Tags;Ort.Name;zip",
        "1; Ana ;de  Souza;00501;007;Ja;29.02.2000;1.234,50;a, b,;SP;x",
        "2;Bo;;n/a;;nein;;;;;",
        "3;Cy;D;1;x;Ja;;;;;",
        "4;Dan;E;1;;vielleicht;;;;;",
        "5;Eva;F;1;;Ja;30.02.2000;;;;",
        "6;Flo;G;1;;Ja;;1,2,3;;;"
      ].join("\n")
      const mapping: Importer.Mapping = {
        fields: {
          id: { from: "Nr", transforms: [{ prefix: "n" }] },
          name: { from: ["First", "Last"], transforms: [{ join: " " }, "collapse"] },
          zip: { from: "PLZ", transforms: [{ nullIf: ["n/a"] }, { default: "00000" }] },
          age: { from: "Alter", transforms: ["integer"] },
          member: { from: "Mitglied", transforms: [{ lookup: { Ja: true, nein: false } }] },
          born: { from: "Geburtstag", transforms: [{ date: "DD.MM.YYYY" }] },
          balance: { from: "Saldo", transforms: [{ number: { decimal: ",", thousands: "." } }] },
          tags: { from: "Tags", transforms: [{ split: "," }] },
          "address.city": { from: "Ort.Name", transforms: [{ lookup: { SP: "São Paulo" }, otherwise: "elsewhere" }] },
          pin: { constant: "1234" }
        }
      }
      const decoded = yield* Schema.decodeUnknownEffect(Importer.Mapping)(JSON.parse(JSON.stringify(mapping)))
      const { rejects, report } = yield* told(fileOf("a.csv", text), { mapping: decoded })
      assert.deepStrictEqual([report?.written, report?.rejected], [2, 4])
      assert.deepStrictEqual(
        rejects.map(({ column, problem, reason }) => [reason, column, problem]),
        [
          ["Transform", "Alter", "Expected a whole number"],
          ["Transform", "Mitglied", "Expected one of Ja, nein"],
          ["Transform", "Geburtstag", "Expected a date as DD.MM.YYYY"],
          ["Transform", "Saldo", "Expected a number"]
        ]
      )
      assert.deepStrictEqual(yield* all, [
        {
          id: "n1",
          name: "Ana de Souza",
          zip: "00501",
          age: 7,
          member: true,
          born: "2000-02-29T00:00:00.000Z",
          balance: "1234.5",
          tags: ["a", "b"],
          address: { city: "São Paulo" }
        },
        { id: "n2", name: "Bo", zip: "00000", member: false, tags: [], address: { city: "elsewhere" } }
      ])

      // Of JSON by paths, and with all that no field is taken from.
      const lines = '{"id":"x","who":{"names":["Xaver","Y"]},"zip":"9","when":1700000000}\n'
      const { rejects: others } = yield* told(fileOf("a.ndjson", lines), {
        mapping: {
          fields: { name: "who.names.0", born: { from: "when", transforms: [{ epoch: "seconds" }] } },
          others: "keep"
        }
      })
      assert.deepStrictEqual(
        others.map(({ issues }) => issues.map(({ path }) => path.join("."))),
        [["who"]]
      )
      yield* told(fileOf("a.ndjson", lines), {
        mapping: {
          fields: { id: "id", name: "who.names.0", born: { from: "when", transforms: [{ epoch: "seconds" }] } }
        }
      })
      assert.deepStrictEqual((yield* all)[2], { id: "x", name: "Xaver", born: "2023-11-14T22:13:20.000Z" })

      for (const [fields, said] of [
        [{ nmae: "First" }, "mapping.fields.nmae: people has no such field; did you mean name?"],
        [{ name: "Frist" }, 'it has no column "Frist"'],
        [{ "__proto__.x": "First" }, "no field can have this name"],
        [{ name: { from: "First", transforms: ["shout"] } }, "mapping"]
      ] as const) {
        const { failure } = yield* told(fileOf("a.csv", text), { mapping: { fields } as unknown as Importer.Mapping })
        assert.include(String(failure?.message), said)
      }
    })
  )

  it.effect("ids that follow from fields: what is imported again is there already", () =>
    Effect.gen(function* () {
      const { all, told } = yield* openedOn(yield* memory)
      const file = fileOf("a.csv", "name,zip\nAna,1\nBo,2\nAna,1\n,3\n")
      const id = { from: ["name"] }
      const first = yield* told(file, { id, concurrency: 1 })
      assert.deepStrictEqual(
        first.rejects.map(({ reason, row }) => [row, reason]),
        [
          [3, "AlreadyExists"],
          [4, "NoKey"]
        ]
      )
      const ids = (yield* all).map((one) => String(one["id"]))
      for (const one of ids) assert.match(one, /^[0-9a-z]{26}$/)
      const again = yield* told(file, { id, existing: "skip" })
      assert.deepStrictEqual([again.report?.written, again.report?.skipped, again.report?.rejected], [0, 3, 1])
      assert.deepStrictEqual(
        (yield* all).map((one) => String(one["id"])),
        ids
      )
      yield* told(fileOf("b.csv", "name\nCyd\n"), { id: { from: ["name"], form: "uuid" } })
      const uuid = (yield* all).map((one) => String(one["id"])).find((one) => !ids.includes(one))
      assert.match(String(uuid), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    })
  )

  it.effect("duplicates within a file, also of rows that are done", () =>
    Effect.gen(function* () {
      const { told } = yield* openedOn(yield* memory)
      const file = fileOf("a.csv", "id,name,zip\na,Ana,1\nb,Bo,1\nc,Ana,1\nd,Ana,2\n")
      const deduplicateBy = ["name", "zip"]
      const { rejects } = yield* told(file, { deduplicateBy })
      assert.deepStrictEqual(
        rejects.map(({ problem, reason, row }) => [row, reason, problem]),
        [[3, "Duplicate", "a row before has the same name, zip"]]
      )
      const later = yield* told(file, { deduplicateBy, skip: 2, mode: "replace" })
      assert.deepStrictEqual([later.report?.written, later.report?.rejected], [1, 1])
      const { failure } = yield* told(file, { deduplicateBy, maxKeys: 2, mode: "replace" })
      assert.include(String(failure?.message), "more than 2 keys")
    })
  )

  it.effect("an import that crashes at any of its requests goes on where it was, and ends as one that did not", () =>
    Effect.gen(function* () {
      const text = `name,zip\n${Array.from({ length: 8 }, (_, i) => `${i % 5 === 3 ? "x" : `Person ${i}`},0${i}`).join("\n")}\n`
      const file = fileOf("a.csv", text, 40)
      const options = { name: "a/b ü", concurrency: 3 }
      const whole = yield* memory
      const reference = yield* openedOn(whole, plain)
      const { report: expected } = yield* reference.told(file, options)
      assert.deepStrictEqual([expected?.written, expected?.rejected], [7, 1])
      const documents = yield* reference.all
      let at = 1
      let hasCrashed = true
      for (; hasCrashed; at++) {
        const store = yield* memory
        // The database is there; the import is what crashes.
        yield* Effect.scoped(openedOn(store, plain))
        const { store: faulty } = crashing(store, at + 2, "before")
        const exit = yield* Effect.exit(
          Effect.scoped(Effect.flatMap(openedOn(faulty, plain), ({ told }) => told(file, options)))
        )
        hasCrashed = Exit.isFailure(exit)
        const next = yield* openedOn(store, plain)
        const { failure, report } = yield* next.told(file, options)
        assert.strictEqual(failure, undefined, `request ${at}`)
        const { resumedAfter: _, ...counts } = report!
        const { resumedAfter: _none, ...wanted } = expected!
        assert.deepStrictEqual(counts, wanted, `request ${at}`)
        assert.deepStrictEqual(yield* next.all, documents, `request ${at}`)
      }
      assert.isAbove(at, 10)
    })
  )

  it.effect("an import that is done is not done again; another file is refused as long as it is not", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { run, told, database } = yield* openedOn(store)
      const file = fileOf(
        "a.csv",
        `id,name,pin\n${Array.from({ length: 50 }, (_, i) => `p${i},Person,${i}`).join("\n")}\n`
      )
      let count = 0
      const failing: ObjectStore["Service"] = {
        ...store,
        put: (request) =>
          request.key.includes("/data/") && (count += 1) > 20
            ? Effect.fail(
                new StoreError({ operation: "put", reason: new Unavailable({ description: "gone", sent: false }) })
              )
            : store.put(request)
      }
      const ended = yield* Effect.scoped(
        Effect.flatMap(openedOn(failing), (other) => other.told(file, { name: "n", concurrency: 4 }))
      )
      // A failure of the store is no fault of the rows.
      assert.deepStrictEqual([ended.failure?._tag, ended.rejects], ["DbError", []])
      const other = fileOf("a.csv", "id,name\nz,Zoe\n")
      const refused = yield* told(other, { name: "n" })
      assert.strictEqual(refused.failure instanceof Importer.Unreadable && refused.failure.reason, "Changed")
      const rest = yield* told(file, { name: "n" })
      assert.deepStrictEqual([rest.report?.rows, rest.report?.written, rest.report?.rejected], [50, 50, 0])
      assert.isAbove(rest.report!.resumedAfter, 10)
      const puts = (yield* keysOf(store)).length
      const again = yield* run(file, { name: "n" })
      assert.deepStrictEqual([again.written, again.resumedAfter], [50, 50])
      assert.strictEqual((yield* keysOf(store)).length, puts)
      assert.strictEqual((yield* told(other, { name: "n" })).report?.written, 1)
      const forget = Effect.provideService(Importer.forget("n"), Database.Database, database)
      assert.deepStrictEqual([yield* forget, yield* forget], [true, false])
      // What was there before is no row of this import.
      const anew = yield* told(file, { name: "n" })
      assert.deepStrictEqual([anew.report?.written, anew.report?.rejected], [0, 50])
    })
  )

  it.effect("rejects stand in a file, each once, also when an import is resumed", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const content = () => written.join("")
      const file = (text: string) =>
        FileSystem.makeNoop({
          exists: () => Effect.succeed(written.length > 0),
          readFileString: () => Effect.succeed(content()),
          open: () =>
            Effect.sync(() => {
              written.length = 0
              return {
                writeAll: (bytes: Uint8Array) => Effect.sync(() => void written.push(new TextDecoder().decode(bytes)))
              } as unknown as FileSystem.File
            })
        })
      const fs = Layer.succeed(FileSystem.FileSystem, file(""))
      const { run } = yield* openedOn(yield* memory)
      const rows = Array.from({ length: 9 }, (_, i) => (i % 3 === 1 ? `p${i},x,0` : `p${i},Person,0`))
      const source = fileOf("a.csv", ["id,name,zip", ...rows].join("\n"))
      const rejects = Importer.rejectsFile("rejects.ndjson")
      const stopped = yield* Effect.result(
        Effect.provide(run(source, { rejects, name: "r", maxRejects: 1, concurrency: 1 }), fs)
      )
      assert.strictEqual(stopped._tag === "Failure" && stopped.failure._tag, "TooManyRejects")
      assert.include(
        stopped._tag === "Failure" ? stopped.failure.message : "",
        "a.csv: 2 rows were rejected, the last one line 6, column name"
      )
      // As of a run that was killed before its last note.
      written.push('{"row":8,"reason":"InvalidInput"}\n{"row"')
      const report = yield* Effect.provide(run(source, { rejects, name: "r", concurrency: 1 }), fs)
      assert.deepStrictEqual([report.written, report.rejected], [6, 3])
      const lines = content()
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepStrictEqual(
        lines.map(({ line, original, row }) => [row, line, original]),
        [
          [2, 3, { id: "p1", name: "x", zip: "0" }],
          [5, 6, { id: "p4", name: "x", zip: "0" }],
          [8, 9, { id: "p7", name: "x", zip: "0" }]
        ]
      )
      assert.deepStrictEqual(lines[0]!["issues"], [
        { path: ["name"], message: "Expected a value with a length of at least 2" }
      ])
    })
  )

  it.effect("a dry run writes nothing, and says what a run would", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { all, told } = yield* openedOn(store)
      const file = fileOf("a.csv", "id,name\na,Ana\nb,x\nc,Cyd\n")
      yield* told(fileOf("b.csv", "id,name\nc,Charles\n"))
      const before = yield* keysOf(store)
      let puts = 0
      const counted: ObjectStore["Service"] = {
        ...store,
        put: (request) => Effect.suspend(() => ((puts += 1), store.put(request)))
      }
      const other = yield* openedOn(counted)
      puts = 0
      const tried = yield* other.told(file, { dryRun: true, name: "d" })
      assert.strictEqual(puts, 0)
      assert.deepStrictEqual(yield* keysOf(store), before)
      assert.deepStrictEqual(yield* all, [{ id: "c", name: "Charles" }])
      const done = yield* told(file)
      assert.deepStrictEqual(tried, done)
      assert.deepStrictEqual(
        done.rejects.map(({ reason }) => reason),
        ["InvalidInput", "AlreadyExists"]
      )
    })
  )

  it.effect("types are guessed, and the proposal takes the file", () =>
    Effect.gen(function* () {
      const text = [
        "SKU,name,zip,age,ratio,member,born,seen,mail,site,ip,uuid2,big,tags,a.b,$x",
        "s1,Ana,00501,1,1.5,true,2000-02-29,2026-01-01T00:00:00Z,a@b.org,https://x.org,10.0.0.1,123e4567-e89b-12d3-a456-426614174000,12345678901234567890,[1],p,q",
        "s2,Bo,1,2,2,false,2001-01-01,,b@b.org,http://y.org/z,10.0.0.2,123e4567-e89b-12d3-a456-426614174001,1,[2],p,q"
      ].join("\n")
      const file = fileOf("a.csv", text.replaceAll(",[1]", ',"[1]"'))
      const proposal = yield* Importer.infer(file)
      assert.deepStrictEqual(proposal, {
        format: "csv",
        encoding: "utf-8",
        delimiter: ",",
        rows: 2,
        problems: 0,
        key: "SKU",
        attributes: {
          name: "string",
          zip: "string",
          age: "integer",
          ratio: "number",
          member: "boolean",
          born: "dateonly",
          seen: "date|optional",
          mail: "email",
          site: "url",
          ip: "ip4",
          uuid2: "uuid",
          big: "string",
          tags: "string",
          a_b: "string",
          x: "string"
        },
        mapping: { fields: { id: "SKU", a_b: "a.b", x: "$x" }, others: "keep" }
      })
      const definition = Resource.fromAttributes("things", proposal.attributes as never) as unknown as typeof people
      const { all, told } = yield* openedOn(yield* memory, definition)
      const { rejects, report } = yield* told(file, { mapping: proposal.mapping })
      assert.deepStrictEqual([rejects, report?.written], [[], 2])
      assert.deepStrictEqual([(yield* all)[0]!["zip"], (yield* all)[0]!["big"]], ["00501", "12345678901234567890"])

      const lines = [
        '{"id":"a","n":1,"o":{"x":1,"y":"z"},"l":["a"],"m":[{"q":1}],"e":{}}',
        '{"id":"b","n":1.5,"o":{"x":2},"l":[],"m":[],"e":{}}'
      ]
      const nested = yield* Importer.infer(fileOf("a.ndjson", lines.join("\n")))
      assert.deepStrictEqual(
        [nested.key, nested.mapping, nested.attributes],
        [
          "id",
          undefined,
          { n: "number", o: { x: "integer", y: "string|optional" }, l: "array|items:string", m: "json", e: "json" }
        ]
      )
      const objects = Resource.fromAttributes("objects", nested.attributes as never) as unknown as typeof people
      const other = yield* openedOn(yield* memory, objects)
      assert.deepStrictEqual((yield* other.told(fileOf("a.ndjson", lines.join("\n")))).rejects, [])
    })
  )

  it.effect("progress tells the rate, the bytes and the time that is left", () =>
    Effect.gen(function* () {
      const { run } = yield* openedOn(yield* memory)
      const text = `id,name\n${Array.from({ length: 300 }, (_, i) => `p${i},Person`).join("\n")}\n`
      const told: Array<Importer.Progress> = []
      const source = fileOf("a.csv", text, 500)
      yield* run(source, { onProgress: (one) => Effect.sync(() => void told.push(one)) })
      const last = told.at(-1)!
      assert.deepStrictEqual([last.rows, last.written, last.bytes, last.size], [300, 300, text.length, text.length])
      assert.strictEqual(last.remaining?.toString().includes("0"), true)
      assert.isAbove(last.rate, 0)
    })
  )

  it.effect("from an object store in pieces, and from an address", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const wide = "x".repeat(50_000)
      const text = `id,name\n${Array.from({ length: 100 }, (_, i) => `p${i},${wide}`).join("\n")}\n`
      yield* store.put({ key: "in/people.csv", body: new TextEncoder().encode(text), repeatable: true })
      const object = yield* Importer.fromStore(store, "in/people.csv")
      assert.strictEqual((yield* recordsOf(object)).filter((one) => one?.["name"] === wide).length, 100)
      const asked: Array<string> = []
      const client = HttpClient.make((request, url) =>
        Effect.sync(() => {
          asked.push(`${request.method} ${url.pathname}`)
          const response = url.pathname.endsWith("none.csv")
            ? new Response("no", { status: 404 })
            : new Response(request.method === "HEAD" ? null : gzipSync("id,name\na,Ana\n"))
          return HttpClientResponse.fromWeb(request, response)
        })
      )
      const from = (url: string) => Effect.provideService(Importer.fromUrl(url), HttpClient.HttpClient, client)
      const source = yield* from("https://u:secret@example.org/p.csv.gz?token=secret#x")
      assert.deepStrictEqual(yield* recordsOf(source), [{ id: "a", name: "Ana" }])
      assert.deepStrictEqual(asked, ["HEAD /p.csv.gz", "GET /p.csv.gz"])
      const none = yield* Effect.flip(recordsOf(yield* from("https://u:secret@example.org/none.csv?token=secret")))
      assert.strictEqual(none.message, "https://example.org/none.csv: it cannot be read: the answer is 404")
      assert.strictEqual((yield* Effect.flip(from("no address")))._tag, "Unreadable")
    })
  )

  it.effect("options that cannot be are refused before anything is read", () =>
    Effect.gen(function* () {
      const { told } = yield* openedOn(yield* memory)
      const wrong: ReadonlyArray<readonly [string, Importer.Options]> = [
        ["delimiter", { delimiter: ",," }],
        ["encoding", { encoding: "klingon" }],
        ["header", { header: 0 }],
        ["header", { header: [] }],
        ["sheet", { sheet: 0 }],
        ["path", { path: "/a~2" }],
        ["maxRatio", { maxRatio: 0 }],
        ["name", { name: "" }],
        ["concurrency", { concurrency: 0 }],
        ["maxRejects", { maxRejects: -1 }],
        ["skip", { skip: 1.5 }]
      ]
      for (const [field, options] of wrong) {
        const { failure } = yield* told(fileOf("a.csv", "id,name\n"), options)
        assert.strictEqual(failure instanceof Importer.InvalidImport && failure.field, field, field)
      }
    })
  )
})

const cellOf = (one: JsonObject, name: string): unknown => {
  if (name === "born") return { date: Date.parse(String(one["born"])) / 86_400_000 + 25_569 }
  if (name === "tags") return JSON.stringify(one["tags"])
  return name === "address.city" ? (one["address"] as JsonObject)["city"] : one[name]
}
