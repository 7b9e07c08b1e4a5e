/** The commands that carry many documents out and in. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { fill, key } from "./people.ts"
import { queried } from "../plugins/parquets.ts"
import { asProcess, type Given, inFolder } from "./shell.ts"

const filled = Effect.gen(function* () {
  const shell = yield* inFolder
  yield* fill(shell.url)
  const env = { S3DB_KEYS: `k1:${key}` }
  const s3db = (args: ReadonlyArray<string>, given: Given = {}) => shell.s3db(args, { ...given, env })
  const json = (args: ReadonlyArray<string>, given: Given = {}) => shell.json(args, { ...given, env })
  /** A second database with the same resource, empty. */
  const second = yield* Effect.gen(function* () {
    const url = `file://${shell.path("second").split("/").map(encodeURIComponent).join("/")}?durability=none`
    const { out } = yield* s3db(["schema", "people", "--json"])
    const made = yield* s3db(["create", "resource", "people", "-", "--url", url], { stdin: out })
    assert.strictEqual(made.code, 0, made.err)
    return ["--url", url] as const
  })
  return { ...shell, s3db, json, second }
})

const odd = {
  id: "odd/ü",
  name: 'He said "hi",\r\nthen left; =1+1',
  country: "00",
  zip: "007",
  age: 7,
  balance: "1234567890.12",
  born: "2000-02-29T00:00:00.000Z",
  tags: ["a,b", '"'],
  address: { city: "São Paulo" }
}

describe("export and import", () => {
  it.effect("what is exported in any form is the same when it is imported elsewhere", () =>
    Effect.gen(function* () {
      const { json, path, s3db, second } = yield* filled
      yield* json(["insert", "people", JSON.stringify({ ...odd, card: "4111-secret" })])
      const all = yield* json(["query", "people", "--all", "--scan"])
      for (const format of ["ndjson", "json", "csv"]) {
        const file = path(`people.${format}`)
        const exported = yield* s3db(["export", "people", "-o", file])
        assert.deepStrictEqual([exported.code, exported.out], [0, ""], exported.err)
        assert.include(exported.err, "exported 7 documents")
        assert.notInclude(readFileSync(file, "utf8"), "4111")
        const imported = yield* json(["import", "people", file, "--mode", "replace", ...second])
        assert.deepStrictEqual(imported, { written: 7, failed: 0 })
        assert.deepStrictEqual(yield* json(["query", "people", "--all", "--scan", ...second]), all, format)
      }
      // The same through a pipe.
      const lines = yield* s3db(["export", "people", "--quiet"])
      assert.deepStrictEqual(
        yield* json(["import", "people", "-", "--mode", "upsert", ...second], { stdin: lines.out }),
        {
          written: 7,
          failed: 0
        }
      )
      assert.strictEqual(lines.err, "")
      assert.deepStrictEqual(
        JSON.parse((yield* s3db(["export", "people", "--format", "json", "-w", "age>100"])).out),
        []
      )
      const some = yield* s3db(["export", "people", "--format", "csv", "--select", "id,age", "-w", "age>=14"])
      assert.strictEqual(some.out, "id,age\r\np0004,14\r\np0005,15\r\n")
      assert.isFalse(readdirSync(path()).some((name) => name.startsWith(".s3db-")))
    })
  )

  it.effect("lines that cannot be written are told, and the others are written", () =>
    Effect.gen(function* () {
      const { json, path, s3db, second, write } = yield* filled
      const lines = [
        '{"id":"a","name":"Ann","country":"BR"}',
        "no json",
        "",
        '{"id":"b","name":"B","country":"BR","card":"4111-secret"}',
        '{"id":"a","name":"Other","country":"BR"}',
        '{"id":"c","name":"Cyd","country":"BR"}'
      ]
      yield* write("some.ndjson", lines.join("\n"))
      // One after the other, so that it is certain which of two with one id is first.
      const alone = ["--concurrency", "1"]
      const some = yield* s3db(["import", "people", path("some.ndjson"), "--json", ...alone, ...second])
      assert.strictEqual(some.code, exitCodes.Unfinished)
      assert.deepStrictEqual(JSON.parse(some.out), { written: 2, failed: 3 })
      for (const line of ["line 2", "line 4", "line 5"]) assert.include(some.err, line)
      assert.notInclude(some.err, "4111")
      assert.deepStrictEqual(
        yield* json(["import", "people", path("some.ndjson"), "--skip", "4", "--mode", "upsert", ...second]),
        {
          written: 1,
          failed: 0
        }
      )
      yield* write("bad.csv", 'id,name,country\nx,"unclosed')
      assert.strictEqual((yield* s3db(["import", "people", path("bad.csv")])).code, exitCodes.Invalid)
      yield* write("bad.json", "[{}, 3]")
      const bad = yield* s3db(["import", "people", path("bad.json")])
      assert.strictEqual(bad.code, exitCodes.Unfinished)
      assert.include(bad.err, "document 2")
      assert.strictEqual((yield* s3db(["import", "people", path("none.csv")])).code, exitCodes.Invalid)
      assert.strictEqual((yield* s3db(["import", "people", "-", "--concurrency", "0"])).code, exitCodes.Usage)
    })
  )

  it.effect("names in a file can do nothing to the terminal where they are told", () =>
    Effect.gen(function* () {
      const { path, s3db, write } = yield* filled
      yield* write("evil.ndjson", `{"id":"a","\\u001b]0;t\\u0007\\u009b2J\\u202e":1}`)
      for (const args of [
        ["import", "people", path("evil.ndjson")],
        ["query", "people", "--scan", "-w", "na\u001b[31m\u009b\u202e=1"],
        ["query", "people", "--scan", "-w", "na\u001b[31m\u009b\u202e=1", "--json"],
        ["nothing\u001b[31m"]
      ]) {
        const { code, err } = yield* s3db(args)
        assert.notStrictEqual(code, 0)
        assert.include(err, "\\u001b")
        for (const mark of ["\u001b", "\u0007", "\u009b", "\u202e"]) assert.notInclude(err, mark)
      }
    })
  )

  it.effect("Parquet, and several files in a folder, are read by an engine", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* filled
      yield* json(["insert", "people", JSON.stringify({ ...odd, card: "4111-secret" })])
      const all = (yield* json(["query", "people", "--all", "--scan"])) as ReadonlyArray<
        Readonly<Record<string, unknown>>
      >
      const ids = (files: string) =>
        Effect.map(queried(`SELECT id FROM ${files} ORDER BY id`), (rows) => rows.map(({ id }) => id))
      const everyone = all.map(({ id }) => id).toSorted()

      const one = yield* s3db(["export", "people", "-o", path("people.parquet")])
      assert.deepStrictEqual([one.code, one.out], [0, ""], one.err)
      const file = `'${path("people.parquet")}'`
      assert.deepStrictEqual(yield* ids(file), everyone)
      assert.deepStrictEqual(
        yield* queried(`SELECT name, zip, balance::VARCHAR AS balance, address, tags FROM ${file} WHERE id = 'odd/ü'`),
        [{ name: odd.name, zip: "007", balance: "1234567890.12", address: { city: "São Paulo" }, tags: ["a,b", '"'] }]
      )
      const some = yield* s3db([
        "export",
        "people",
        "-o",
        path("some.parquet"),
        "--select",
        "id,address.city,$createdAt"
      ])
      assert.strictEqual(some.code, 0, some.err)
      const described = yield* queried(`DESCRIBE SELECT * FROM '${path("some.parquet")}'`)
      assert.deepStrictEqual(
        described.map((row) => `${row["column_name"]} ${row["column_type"]}`),
        ["id VARCHAR", "address STRUCT(city VARCHAR)", "$createdAt TIMESTAMP WITH TIME ZONE"]
      )

      for (const format of ["parquet", "ndjson"]) {
        const folder = path(`people-${format}`)
        const many = ["export", "people", "-o", `${folder}/`, "--format", format]
        const written = yield* s3db([...many, "--file-size", "1"])
        assert.strictEqual(written.code, 0, written.err)
        const names = readdirSync(folder)
        assert.isAbove(names.length, 0)
        assert.strictEqual(names.toSorted()[0], `part-00000.${format}`)
        assert.include(written.err, `exported 7 documents into ${names.length} file`)
        const read = format === "parquet" ? `'${folder}/*.parquet'` : `read_json('${folder}/*.ndjson', format = 'nd')`
        assert.deepStrictEqual(yield* ids(read), everyone)
        const again = yield* s3db(many)
        assert.strictEqual(again.code, exitCodes.Invalid)
        assert.include(again.err, "new or empty")
        assert.deepStrictEqual(readdirSync(folder), names)
      }
      yield* write("x.parquet", "PAR1")
      for (const [args, code, said] of [
        [["export", "people", "-o", path("f/"), "--format", "csv"], exitCodes.Usage, "ndjson or parquet"],
        [["export", "people", "--file-size", "5"], exitCodes.Usage, "-o FOLDER/"],
        [["export", "people", "-o", path("no/such/"), "--format", "ndjson"], exitCodes.Invalid, "cannot be written"],
        [["import", "people", path("x.parquet")], exitCodes.Usage, "DuckDB"]
      ] as const) {
        const { code: found, err } = yield* s3db(args)
        assert.strictEqual(found, code, err)
        assert.include(err, said)
      }
      assert.isFalse(existsSync(path("f")))
      assert.isFalse(readdirSync(path()).some((name) => name.startsWith(".s3db-")))
    })
  )

  it.live("Parquet without its package says what to install, and leaves no file", () =>
    Effect.gen(function* () {
      const { env, path } = yield* filled
      const hook = `import { registerHooks } from "node:module"
registerHooks({ resolve(name, context, next) {
  if (!name.startsWith("hyparquet-writer")) return next(name, context)
  throw Object.assign(new Error("Cannot find package 'hyparquet-writer'"), { code: "ERR_MODULE_NOT_FOUND" })
} })`
      const { code, err } = yield* asProcess(
        ["export", "people", "-o", path("people.parquet")],
        { ...env, S3DB_KEYS: `k1:${key}` },
        ["--import", `data:text/javascript,${encodeURIComponent(hook)}`]
      )
      assert.strictEqual(code, exitCodes.Configuration, err)
      assert.match(err, /hyparquet-writer[^]*npm install/)
      assert.isFalse(existsSync(path("people.parquet")))
    })
  )

  it.effect("an export that fails leaves no file, and what was there before", () =>
    Effect.gen(function* () {
      const { path, read, s3db, write } = yield* filled
      yield* write("out.csv", "before")
      const failed = yield* s3db(["export", "people", "-o", path("out.csv"), "--select", "id,nope"])
      assert.strictEqual(failed.code, exitCodes.Invalid)
      assert.strictEqual(yield* read("out.csv"), "before")
      assert.strictEqual((yield* s3db(["export", "people", "-o", path("no/such/out.csv")])).code, exitCodes.Invalid)
      assert.isFalse(existsSync(path("no")))
      assert.isFalse(readdirSync(path()).some((name) => name.startsWith(".s3db-")))
    })
  )
})
