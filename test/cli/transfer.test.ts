/** The commands that carry many documents out and in. */
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { fill, key } from "./people.ts"
import { queried } from "../plugins/parquets.ts"
import { asProcess, type Given, inFolder, start } from "./shell.ts"

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
      for (const format of ["ndjson", "json", "csv", "parquet"]) {
        const file = path(`people.${format}`)
        const exported = yield* s3db(["export", "people", "-o", file])
        assert.deepStrictEqual([exported.code, exported.out], [0, ""], exported.err)
        assert.include(exported.err, "exported 7 documents")
        assert.notInclude(readFileSync(file, "utf8"), "4111-secret")
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

  it.effect("a file that is there is overwritten when somebody says yes", () =>
    Effect.gen(function* () {
      const { path, read, s3db, write } = yield* filled
      yield* write("people.csv", "mine")
      const into = ["export", "people", "-o", path("people.csv")]
      const alone = yield* s3db(into)
      assert.strictEqual(alone.code, exitCodes.Refused)
      assert.include(alone.err, "--force")
      const no = yield* s3db(into, { terminal: { columns: 80, answer: "n" } })
      assert.strictEqual(no.code, exitCodes.Refused)
      assert.strictEqual(yield* read("people.csv"), "mine")
      assert.strictEqual((yield* s3db(into, { terminal: { columns: 80, answer: "y" } })).code, 0)
      assert.include(yield* read("people.csv"), "Person 1")
      yield* s3db(["content", "put", "people", "p0000", path("people.csv")])
      yield* write("copy", "mine")
      const copy = ["content", "get", "people", "p0000", "-o", path("copy")]
      assert.strictEqual((yield* s3db(copy)).code, exitCodes.Refused)
      assert.strictEqual((yield* s3db([...copy, "--force"])).code, 0)
      assert.strictEqual(yield* read("copy"), yield* read("people.csv"))
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
        [["export", "people", "-o", "file:///tmp/x/"], exitCodes.Usage, "without file://"],
        [["export", "people", "-o", "memory://x/"], exitCodes.Usage, "the URL of a bucket"],
        [["export", "people", "-o", "s4://x/"], exitCodes.Configuration, "scheme"],
        [["export", "people", "-o", path("no/such/"), "--format", "ndjson"], exitCodes.Invalid, "cannot be written"],
        [
          ["import", "people", path("x.parquet")],
          exitCodes.Invalid,
          "this Parquet file cannot be read: it is too short"
        ],
        [["import", "people", path("none.parquet")], exitCodes.Invalid, "it is not there"],
        [["import", "people", path()], exitCodes.Invalid, "cannot be read"]
      ] as const) {
        const { code: found, err } = yield* s3db(args)
        assert.strictEqual(found, code, err)
        assert.include(err, said)
      }
      assert.isFalse(existsSync(path("f")))
      assert.isFalse(readdirSync(path()).some((name) => name.startsWith(".s3db-")))
    })
  )

  it.effect(
    "CSV of other programs: a mark at the start, blank lines, other delimiters, cells that are missing or empty",
    () =>
      Effect.gen(function* () {
        const { json, path, s3db } = yield* inFolder
        yield* json([
          "create",
          "resource",
          "notes",
          '{"attributes":{"text":"string","rank":"number|nullable","note":"string|optional","state":"string|default:open"}}'
        ])
        const file = path("notes.csv")
        const lines = (text: string | Uint8Array) => Effect.sync(() => writeFileSync(file, text))
        yield* lines(
          '\uFEFF"id", text,rank,note,state\r\na,"two\r\nlines",1,,done\r\n\r\nb,,,,\r\nc,short\r\nd,"",2,x,open,more\r\n'
        )
        const some = yield* s3db(["import", "notes", file, "--json"])
        assert.strictEqual(some.code, exitCodes.Unfinished, some.err)
        assert.deepStrictEqual(JSON.parse(some.out), { written: 2, failed: 2 })
        assert.include(some.err, "line 6: Expected 5 cells, as the first line has, no 2")
        assert.include(some.err, "line 7: Expected 5 cells, as the first line has, no 6")
        assert.deepStrictEqual(yield* json(["get", "notes", "a", "b"]), [
          { id: "a", text: "two\r\nlines", rank: 1, state: "done" },
          // A text that has to be there is empty, a number that may be null is null, and a default fills in.
          { id: "b", text: "", rank: null, state: "open" }
        ])
        yield* lines("id;text;rank\ne;semi,colon;3\n")
        assert.deepStrictEqual(yield* json(["import", "notes", file]), { written: 1, failed: 0 })
        const other = yield* s3db(["import", "notes", file, "--delimiter", "|"])
        assert.strictEqual(other.code, exitCodes.Unfinished)
        yield* lines("id\ttext\trank\nf\ttabs\t3\n")
        assert.deepStrictEqual(yield* json(["import", "notes", file, "--delimiter", "tab"]), { written: 1, failed: 0 })
        for (const [text, said] of [
          ["id,text,id\na,b,c\n", 'two columns called "id"'],
          ["id,__proto__.x\na,b\n", "no name that a field can have"],
          [Buffer.from("id,text\na,caf\xe9\n", "latin1"), "is no UTF-8"],
          [Buffer.from('{"id":"caf\xe9"}', "latin1"), "is no UTF-8"]
        ] as const) {
          yield* lines(text)
          const refused = yield* s3db([
            "import",
            "notes",
            file,
            "--format",
            String(text).startsWith("{") ? "json" : "csv"
          ])
          assert.strictEqual(refused.code, exitCodes.Invalid, refused.err)
          assert.include(refused.err, said)
        }
        for (const flags of [
          ["--delimiter", ";;"],
          ["--delimiter", ";", "--format", "json"]
        ]) {
          assert.strictEqual((yield* s3db(["import", "notes", file, ...flags])).code, exitCodes.Usage)
        }
        assert.deepStrictEqual(yield* json(["count", "notes"]), { count: 4 })
      })
  )

  it.effect("Parquet of an engine is imported, also from standard input, and rows that do not fit are told", () =>
    Effect.gen(function* () {
      const { env, json, path, s3db } = yield* inFolder
      yield* json([
        "create",
        "resource",
        "notes",
        "-a",
        "text=string|min:2",
        "-a",
        "price=money:EUR",
        "-a",
        "at=date|optional"
      ])
      const file = path("notes.parquet")
      yield* queried(
        `COPY (SELECT 'n' || i AS id, CASE WHEN i = 3 THEN 'x' ELSE 'text ' || i END AS text, (i / 4)::DECIMAL(10,2) AS price,
           TIMESTAMP '2026-01-31 12:00:00' AS at FROM range(8) t(i)) TO '${file}' (FORMAT parquet, CODEC 'zstd')`
      )
      const some = yield* s3db(["import", "notes", file, "--json"])
      assert.strictEqual(some.code, exitCodes.Unfinished, some.err)
      assert.deepStrictEqual(JSON.parse(some.out), { written: 7, failed: 1 })
      assert.include(some.err, "row 4: ")
      assert.deepStrictEqual(yield* json(["get", "notes", "n5"]), {
        id: "n5",
        text: "text 5",
        price: "1.25",
        at: "2026-01-31T12:00:00.000Z"
      })
      const piped = yield* Effect.callback<number | null>((resume) => {
        const child = start(["import", "notes", "-", "--format", "parquet", "--mode", "replace", "--skip", "4"], {
          env: { ...process.env, ...env },
          stdio: ["pipe", "ignore", "ignore"]
        })
        child.stdin!.end(readFileSync(file))
        child.on("close", (code) => resume(Effect.succeed(code)))
      })
      assert.strictEqual(piped, 0)
    })
  )

  it.effect(
    "a definition is guessed, a dry run tells what would fail, rejects stand in a file, and an import is resumed",
    () =>
      Effect.gen(function* () {
        const { json, path, read, s3db, write } = yield* inFolder
        yield* write("people.csv", "Nr;Name;Alter\n1;Ana;007\n2;Bo;8\n3;Cy;old\n3;Dan;9\n")
        const guessed = yield* s3db(["import", "people", path("people.csv"), "--infer"])
        assert.strictEqual(guessed.code, 0, guessed.err)
        assert.deepStrictEqual(JSON.parse(guessed.out), {
          attributes: { Nr: "integer", Name: "string", Alter: "string" }
        })
        yield* json(["create", "resource", "people", '{"attributes":{"name":"string","age":"number"}}'])
        yield* write(
          "map.json",
          '{"fields":{"id":{"from":"Nr","transforms":[{"prefix":"p"}]},"name":"Name","age":{"from":"Alter","transforms":["integer"]}}}'
        )
        const flags = ["import", "people", path("people.csv"), "--map", path("map.json"), "--json"]
        const tried = yield* s3db([...flags, "--dry-run"])
        assert.deepStrictEqual([tried.code, JSON.parse(tried.out)], [exitCodes.Unfinished, { written: 3, failed: 1 }])
        assert.include(tried.err, "line 4: column Alter: Expected a whole number")
        assert.deepStrictEqual(yield* json(["count", "people"]), { count: 0 })
        const kept = ["--resume", "people", "--rejects", path("rejects.ndjson"), "--concurrency", "1"]
        const stopped = yield* s3db([...flags, ...kept, "--max-rejects", "0"])
        assert.strictEqual(stopped.code, exitCodes.Unfinished, stopped.err)
        assert.deepStrictEqual(JSON.parse((yield* s3db([...flags, ...kept])).out), { written: 3, failed: 1 })
        const reject = JSON.parse(yield* read("rejects.ndjson")) as Record<string, unknown>
        assert.deepStrictEqual([reject["row"], reject["original"]], [3, { Nr: "3", Name: "Cy", Alter: "old" }])
        assert.deepStrictEqual(yield* json(["get", "people", "p1"]), { id: "p1", name: "Ana", age: 7 })
        const again = yield* json([
          "import",
          "people",
          path("people.csv"),
          "--map",
          path("map.json"),
          "--skip-existing",
          "--deduplicate-by",
          "id",
          "--skip",
          "3"
        ])
        assert.deepStrictEqual(again, { written: 0, failed: 0, skipped: 1 })
        for (const [more, code, said] of [
          [["--encoding", "klingon"], exitCodes.Usage, "encoding"],
          [["--map", path("people.csv")], exitCodes.Invalid, "is no JSON"],
          [["--map", path("map.json"), "--header", "Nr,Name"], exitCodes.Invalid, "no column"]
        ] as const) {
          const refused = yield* s3db(["import", "people", path("people.csv"), ...more])
          assert.strictEqual(refused.code, code, refused.err)
          assert.include(refused.err, said)
        }
        assert.strictEqual((yield* s3db(["import", "people", "s3://bucket"])).code, exitCodes.Usage)
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
      writeFileSync(path("some.parquet"), "PAR1PAR1PAR1")
      const reading = yield* asProcess(["import", "people", path("some.parquet")], { ...env, S3DB_KEYS: `k1:${key}` }, [
        "--import",
        `data:text/javascript,${encodeURIComponent(hook.replaceAll("hyparquet-writer", "hyparquet"))}`
      ])
      assert.strictEqual(reading.code, exitCodes.Configuration, reading.err)
      assert.match(reading.err, /hyparquet[^]*npm install "hyparquet@/)
    })
  )

  it.effect("a link is followed, and a device stays what it is", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* filled
      writeFileSync(path("target.ndjson"), "before")
      symlinkSync(path("target.ndjson"), path("link.ndjson"))
      assert.strictEqual((yield* s3db(["export", "people", "-o", path("link.ndjson"), "--force"])).code, 0)
      assert.isTrue(lstatSync(path("link.ndjson")).isSymbolicLink())
      assert.include(readFileSync(path("target.ndjson"), "utf8"), '"id"')
      if (!existsSync("/dev/full")) return
      assert.notStrictEqual((yield* s3db(["export", "people", "-o", "/dev/full"])).code, 0)
      assert.isTrue(statSync("/dev/full").isCharacterDevice())
    })
  )

  it.effect("an export that fails leaves no file, and what was there before", () =>
    Effect.gen(function* () {
      const { path, read, s3db, write } = yield* filled
      yield* write("out.csv", "before")
      const failed = yield* s3db(["export", "people", "-o", path("out.csv"), "--select", "id,nope", "--force"])
      assert.strictEqual(failed.code, exitCodes.Invalid)
      assert.strictEqual(yield* read("out.csv"), "before")
      assert.strictEqual((yield* s3db(["export", "people", "-o", path("no/such/out.csv")])).code, exitCodes.Invalid)
      assert.isFalse(existsSync(path("no")))
      assert.isFalse(readdirSync(path()).some((name) => name.startsWith(".s3db-")))
    })
  )
})
