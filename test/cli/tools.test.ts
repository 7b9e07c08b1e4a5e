/** The commands around a database: doctor, console, seed, migrate, init. */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { words } from "../../src/cli/internal/words.ts"
import { families } from "../../src/schema/internal/ruleTypes.ts"
import { server } from "../services/fauxqs.ts"
import { modules, root } from "./everything.ts"
import { asProcess, inFolder, inProcess } from "./shell.ts"

const keys = { env: { S3DB_KEYS: `k1:${"A".repeat(43)}=` } }

type Row = Readonly<Record<string, unknown>>

/** A server on a port of its own that answers so. */
const answering = (answer: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly server: Server }>((resume) => {
      const server = createServer(answer)
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ server, port: (server.address() as AddressInfo).port }))
      )
    }),
    ({ server }) => Effect.sync(() => void server.close())
  )

describe("doctor", () => {
  it.live("says what a folder has, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { json, path, s3db } = yield* inFolder
      mkdirSync(path("data"))
      const findings = (yield* json(["doctor"])) as ReadonlyArray<Row>
      const stateOf = (check: string) => findings.find((one) => one["check"] === check)?.["state"]
      for (const check of ["connection", "permission to write", "permission to delete several", "clock", "latency"]) {
        assert.strictEqual(stateOf(check), "ok", check)
      }
      assert.strictEqual(stateOf("compare and set (If-Match)"), "ok")
      assert.strictEqual(stateOf("metadata"), "ok")
      assert.deepInclude(
        findings.find((one) => one["check"] === "database"),
        { state: "warning", remedy: "`s3db create resource` makes one" }
      )
      assert.include((yield* s3db(["doctor"])).out, "permission to write: s3:PutObject")
      const left = readdirSync(path("data", "objects"), { recursive: true, withFileTypes: true })
      assert.deepStrictEqual(
        left.filter((one) => one.isFile()).map(({ name }) => name),
        []
      )
    })
  )

  it.live("finds a catalog that is damaged", () =>
    Effect.gen(function* () {
      const { json, path, s3db } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      writeFileSync(path("data", "objects", "s3db.json~"), "S3DB")
      const { code, out } = yield* s3db(["doctor", "--json"])
      assert.strictEqual(code, exitCodes.Unfinished)
      const database = (JSON.parse(out) as ReadonlyArray<Row>).find(({ check }) => check === "database")
      assert.strictEqual(database?.["state"], "failed")
      assert.include(String(database?.["remedy"]), "s3db.json.backup")
      assert.include((yield* s3db(["list"])).err, "`s3db doctor` says what to do")
    })
  )

  it.live("makes no folder where there is none, and says so", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* inFolder
      const { code, out } = yield* s3db(["doctor", "--json"])
      assert.strictEqual(code, exitCodes.Unfinished)
      const connection = (JSON.parse(out) as ReadonlyArray<Row>).find(({ check }) => check === "connection")
      assert.strictEqual(connection?.["state"], "failed")
      assert.include(String(connection?.["detail"]), `there is no folder ${path("data")}`)
      assert.include(String(connection?.["remedy"]), "s3db create resource")
      assert.isFalse(existsSync(path("data")))
    })
  )

  it.live(
    "tells keys that are wrong from a policy that is missing, and says of no database that it could not look for",
    () =>
      Effect.gen(function* () {
        for (const [refusal, remedy, stops] of [
          ["InvalidAccessKeyId", "correct the access key", true],
          ["SignatureDoesNotMatch", "correct the secret key", true],
          ["ExpiredToken", "get new credentials", true],
          ["AccessDenied", "has to allow s3:ListBucket", false]
        ] as const) {
          const { port } = yield* answering((request, response) => {
            response.writeHead(403, { "content-type": "application/xml" })
            response.end(
              request.method === "HEAD" ? undefined : `<Error><Code>${refusal}</Code><Message>no</Message></Error>`
            )
          })
          const url = `http://KEY:SECRET@127.0.0.1:${port}/some-bucket?retryFor=0`
          const { code, out } = yield* inProcess(["doctor", "--json", "--url", url])
          assert.strictEqual(code, exitCodes.Unfinished)
          const findings = JSON.parse(out) as ReadonlyArray<Row>
          const found = (check: string) => findings.find((one) => one["check"] === check)
          assert.include(String(found("connection")?.["remedy"]), remedy)
          assert.notInclude(out, "there is none yet")
          if (stops) assert.isUndefined(found("permission to write"))
          else assert.strictEqual(found("database")?.["state"], "skipped")
        }
      })
  )

  it.live("names what a server lacks, and what to do", () =>
    Effect.gen(function* () {
      const { address } = yield* server
      const doctor = (url: string) => inProcess(["doctor", "--json", "--url", url])
      const none = yield* doctor(`${address.replace("//", "//KEY:SECRET@")}/nowhere?retryFor=0`)
      assert.strictEqual(none.code, exitCodes.Unfinished)
      assert.include(none.out, "s3db create bucket")
      const url = `${address.replace("//", "//KEY:SECRET@")}/bucket?retryFor=0`
      yield* inProcess(["create", "bucket", "--url", url])
      const lacking = yield* doctor(url)
      assert.strictEqual(lacking.code, exitCodes.Unfinished)
      const failed = (JSON.parse(lacking.out) as ReadonlyArray<Row>).filter(({ state }) => state === "failed")
      assert.include(
        failed.map(({ check }) => check),
        "create if absent (If-None-Match)"
      )
      for (const { remedy } of failed) assert.include(String(remedy), "--single-writer")
      const away = yield* doctor("http://KEY:SECRET@127.0.0.1:1/bucket?retryFor=0")
      assert.strictEqual(away.code, exitCodes.Unfinished)
      assert.include(away.out, "check the endpoint")
      assert.strictEqual((yield* doctor("s3:/x")).code, exitCodes.Configuration)
      assert.notInclude(none.out + none.err + lacking.out + lacking.err + away.out + away.err, "SECRET")
    })
  )
})

describe("doctor of a bucket", () => {
  it.live("says where the bucket is, if that says so", () =>
    Effect.gen(function* () {
      for (const [region, state, detail] of [
        ["eu-central-1", "warning", "us-east-1, and the bucket is in eu-central-1"],
        ["us-east-1", "ok", "us-east-1, as the bucket says"],
        [undefined, "ok", "us-east-1; the bucket does not say where it is"]
      ] as const) {
        const asked: Array<string> = []
        const port = yield* answering((request, response) => {
          if (request.method === "HEAD" && request.headers.authorization === undefined) asked.push(String(request.url))
          // As S3 answers: with whatever keys, and by sending elsewhere.
          response.writeHead(region === undefined ? 403 : 301, {
            location: "http://127.0.0.1:1/elsewhere",
            ...(region === undefined ? {} : { "x-amz-bucket-region": region })
          })
          response.end()
        })
        const url = `http://KEY:SECRET@127.0.0.1:${port.port}/some-bucket/pre?retryFor=0&region=us-east-1`
        const { out } = yield* inProcess(["doctor", "--json", "--url", url])
        assert.deepStrictEqual(asked, ["/some-bucket"])
        const found = (JSON.parse(out) as ReadonlyArray<Row>).find(({ check }) => check === "region")
        assert.deepInclude(found, { state, detail })
        if (state === "warning") assert.include(String(found?.["remedy"]), "?region=eu-central-1")
      }
    })
  )
})

describe("console", () => {
  it.effect("runs commands on one database, also in memory, and no code", () =>
    Effect.gen(function* () {
      const lines = [
        "# notes",
        "create resource notes -a 'text=string'",
        `insert notes '{"id":"a","text":"it''s \\"quoted\\""}'`,
        `insert notes "{\\"id\\":\\"b\\",\\"text\\":\\"two\\"}"`,
        "",
        "query notes --scan --select id",
        "process.exit(7)",
        "get notes 'unclosed",
        "count notes",
        "exit",
        "count notes"
      ]
      const ran = yield* inProcess(["console", "--url", "memory://try", "--json"], { stdin: lines.join("\n") })
      assert.strictEqual(ran.code, exitCodes.Unfinished)
      assert.strictEqual(
        ran.out,
        '{"created":"notes"}\n{"id":"a","text":"its \\"quoted\\""}\n{"id":"b","text":"two"}\n[\n{"id":"a"},\n{"id":"b"}\n]\n{"count":2}\n'
      )
      assert.include(ran.err, "a quote is not closed")
      assert.include(ran.err, "process.exit(7)")
      const quiet = yield* inProcess(["console", "--url", "memory://try"], { stdin: "help\nlist\n" })
      assert.strictEqual(quiet.code, 0)
      assert.include(quiet.out, "aggregate")
    })
  )

  it.effect("stays on its database, and a line may say in which form it answers", () =>
    Effect.gen(function* () {
      const { json, s3db, url } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      yield* json(["insert", "notes", '{"id":"a","text":"x"}'])
      const lines = [
        "delete notes a --force --url memory://other",
        "delete notes a --force -u=memory://other",
        "count notes --profile other",
        "count notes --ndjson --quiet",
        "count notes --json"
      ]
      for (const flags of [["--json"], ["--url", url, "--json", "--quiet"]]) {
        const { code, err, out } = yield* s3db(["console", ...flags], { stdin: lines.join("\n") })
        assert.deepStrictEqual([code, out], [exitCodes.Unfinished, '{"count":1}\n{"count":1}\n'], err)
        assert.include(err, "the console stays on one database")
        assert.include(err, "3 commands failed")
      }
      const kept = yield* s3db(["console", "--url", url], { stdin: "configure other --url memory://other" })
      assert.strictEqual(kept.code, 0, kept.err)
      assert.include(kept.out, "memory://other")
    })
  )

  it("reads words as a shell does", () => {
    assert.deepStrictEqual(words(` a  'b c' "d \\"e\\" \\n" f\\ g ''`), ["a", "b c", 'd "e" \\n', "f g", ""])
    assert.isUndefined(words("a 'b"))
  })
})

describe("seed", () => {
  it.effect("writes documents that fit the schema, the same for the same seed, or those of a factory", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* inFolder
      const definition = {
        attributes: {
          name: "string|min:3|max:40",
          mail: "email",
          age: "number|integer|min:18|max:99",
          state: "enum|values:open,done",
          born: "date|optional",
          tags: { type: "array", items: "string", min: 1, max: 3 },
          place: { $$type: "object|optional", city: "string", geo: "geo:lat|optional" }
        }
      }
      yield* json(["create", "resource", "people", JSON.stringify(definition)])
      assert.deepStrictEqual(yield* json(["seed", "people", "-n", "40", "--seed", "one"]), { written: 40, failed: 0 })
      yield* json(["create", "resource", "again", JSON.stringify(definition)])
      yield* json(["seed", "again", "-n", "40", "--seed", "one"])
      const select = ["--all", "--scan", "--select", "name,mail,age,state,born,tags,place"]
      const sorted = (rows: unknown) => (rows as ReadonlyArray<Row>).map((row) => JSON.stringify(row)).toSorted()
      assert.deepStrictEqual(
        sorted(yield* json(["query", "again", ...select])),
        sorted(yield* json(["query", "people", ...select]))
      )
      yield* write(
        "factory.mjs",
        "export default (index) => ({ id: `f${index}`, name: `Name ${index}`, mail: 'a@b.co', age: 20 + index, state: 'open', tags: ['x'] })"
      )
      const made = ["seed", "people", "-n", "3", "--factory", path("factory.mjs")]
      assert.deepStrictEqual(yield* json(made), { written: 3, failed: 0 })
      assert.deepInclude((yield* json(["get", "people", "f2"])) as Row, { age: 22 })
      assert.strictEqual((yield* s3db(made)).code, exitCodes.Unfinished)
      yield* write("bad.mjs", "export const x = 1")
      assert.strictEqual((yield* s3db(["seed", "people", "--factory", path("bad.mjs")])).code, exitCodes.Invalid)
    })
  )
})

describe("seed of every rule", () => {
  it.live("makes what fits each type of attribute", () =>
    Effect.gen(function* () {
      const { json } = yield* inFolder
      const types = Object.values(families).flatMap((names) => names.split(" "))
      const given: Readonly<Record<string, ReadonlyArray<string>>> = {
        geo: ["geo:lat", "geo:lon", "geo:point", "geo:lat|min:48|max:49"],
        money: ["money:EUR", "money:JPY", "money:3", "money:EUR|nullable"],
        crypto: ["crypto:18"],
        decimal: ["decimal:3", "decimal:0"],
        embedding: ["embedding:3", "embedding:4:int8", "embedding:4:float16"],
        bits: ["bits:64", "bits:12"],
        enum: ["enum|values:a,b"],
        string: [
          "string|length:5|numeric",
          "string|min:12|alpha",
          "string|max:4|alphanum|uppercase",
          "string|pattern:/^[A-Z]{2}-\\d{3,5}(?:x|y)?$/",
          "string|pattern:/^https?:\\/\\/\\w+\\.com$/i",
          "string|empty:false|trim"
        ],
        number: [
          "number|min:0.1|max:0.4",
          "number|positive|max:0.5",
          "number|negative",
          "number|integer|min:-5|max:-3"
        ],
        password: ["password|min:20|max:24"],
        array: ["array|items:ip4|length:3"],
        record: ["record|items:ean|min:2"]
      }
      const rules = types.flatMap((type) => given[type] ?? [type])
      const attributes = Object.fromEntries([
        ...rules.map((rule, index) => [`f${index}`, rule]),
        ["odd", { type: "array", items: "enum|values:a,b,c", unique: true, min: 3 }],
        ["inner", { at: "datetime", code: "ean|nullable", prices: { type: "array", items: "money:EUR" } }],
        ["never", "string|optional|pattern:/^(?=a)b$/"],
        ["price", "money:EUR|optional"]
      ])
      yield* json(["create", "resource", "all", JSON.stringify({ attributes })], keys)
      assert.deepStrictEqual(yield* json(["seed", "all", "-n", "20", "--seed", "every"], keys), {
        written: 20,
        failed: 0
      })
      const rows = (yield* json(["query", "all", "--scan", "--all"], keys)) as ReadonlyArray<Row>
      assert.isFalse(rows.some((row) => "never" in row))
      assert.isTrue(rows.some((row) => "price" in row))
      for (const rule of ["decimal:3", "duration", "phone"]) {
        const values = new Set(rows.map((row) => JSON.stringify(row[`f${rules.indexOf(rule)}`])))
        assert.isAbove(values.size, 1, rule)
      }
    })
  )
})

describe("init", () => {
  it.effect("makes a project, and overwrites nothing", () =>
    Effect.gen(function* () {
      const { json, path, read, s3db } = yield* inFolder
      const made = (yield* json(["init", path("My Tasks")])) as { readonly files: ReadonlyArray<string> }
      assert.include(made.files, "src/Tasks.ts")
      const manifest = JSON.parse(yield* read("My Tasks/package.json")) as Row
      assert.deepInclude(manifest, { name: "my-tasks", type: "module" })
      assert.deepInclude(manifest["dependencies"], { "effect-s3db": "^1.2.3" })
      const again = yield* s3db(["init", path("My Tasks")])
      assert.strictEqual(again.code, exitCodes.Refused)
    })
  )
})

describe("migrate", () => {
  it.live("says where a migration finds what it imports", () =>
    Effect.gen(function* () {
      const { env, json, path } = yield* inFolder
      const folder = ["--folder", path("migrations")]
      yield* json(["migrate", "generate", "first", ...folder])
      const { code, err } = yield* asProcess(["migrate", "up", ...folder], env)
      assert.strictEqual(code, exitCodes.Invalid)
      assert.include(err, "needs the package effect, which is not installed for")
      assert.include(err, "npm install effect effect-s3db")
    })
  )

  it.live("runs each once, in order, by one at a time; a failing one stops it; down takes back the last run", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* inFolder
      const folder = ["--folder", path("migrations")]
      const made = (yield* json(["migrate", "generate", "first", ...folder])) as { readonly file: string }
      assert.match(made.file, /\d{8}T\d{6}_first\.ts$/)
      assert.include(readFileSync(made.file, "utf8"), "export const up")
      const [first, second, third] = ["20200101T000000_one", "20200102T000000_two", "20200103T000000_three"]
      const code = (up: string) => `export const up = ${up}\nexport const down = globalThis.s3dbTest.note("down")\n`
      const notes: Array<string> = []
      Object.assign(globalThis, {
        s3dbTest: {
          note: (text: string) => Effect.sync(() => void notes.push(text)),
          fail: Effect.fail({ _tag: "Broken", why: "it broke" })
        }
      })
      const note = (text: string) => code(`globalThis.s3dbTest.note("${text}")`)
      yield* write(`migrations/${second}.mjs`, note("two"))
      yield* write(`migrations/${first}.mjs`, note("one"))
      const file = made.file.slice(made.file.lastIndexOf("/") + 1)
      yield* write(`migrations/${file}`, note("generated").replaceAll("globalThis", "(globalThis as any)"))
      const generated = file.slice(0, -3)
      assert.deepStrictEqual(yield* json(["migrate", "up", "--steps", "2", ...folder]), { applied: [first, second] })
      assert.deepStrictEqual(yield* json(["migrate", "up", ...folder]), { applied: [generated] })
      assert.deepStrictEqual(yield* json(["migrate", "up", ...folder]), { applied: [] })
      assert.deepStrictEqual(notes, ["one", "two", "generated"])

      // A failing one stops it, and is not noted down.
      yield* write(`migrations/${third}.mjs`, code("globalThis.s3dbTest.fail"))
      const broken = yield* s3db(["migrate", "up", ...folder])
      assert.strictEqual(broken.code, exitCodes.Unfinished)
      assert.include(broken.err, "it broke")
      yield* write(`migrations/${first}.mjs`, note("changed"))
      const states = (yield* json(["migrate", "status", ...folder])) as ReadonlyArray<Row>
      assert.deepStrictEqual(
        states.map(({ batch, migration, state }) => [migration, state, batch]),
        [
          [first, "changed", 1],
          [second, "applied", 1],
          [third, "pending", null],
          [generated, "applied", 2]
        ]
      )
      const refused = yield* s3db(["migrate", "up", ...folder])
      assert.strictEqual(refused.code, exitCodes.Refused)
      assert.include(refused.err, first)

      assert.strictEqual((yield* s3db(["migrate", "down", ...folder])).code, exitCodes.Refused)
      assert.deepStrictEqual(yield* json(["migrate", "down", "--force", ...folder]), { undone: [generated] })
      assert.deepStrictEqual(yield* json(["migrate", "down", "--force", ...folder]), { undone: [second, first] })
      assert.deepStrictEqual(yield* json(["migrate", "down", "--force", ...folder]), { undone: [] })

      for (const [args, expected] of [
        [["migrate", "generate", "a/b", ...folder], exitCodes.Usage],
        [["migrate", "up", "--steps", "0", ...folder], exitCodes.Usage],
        [["migrate", "down", "--batches", "-1", "--force", ...folder], exitCodes.Usage],
        [["migrate", "up", "--folder", path("none")], exitCodes.Invalid]
      ] as const) {
        assert.strictEqual((yield* s3db(args)).code, expected, args.join(" "))
      }
    })
  )

  it.live("the one that is generated runs as it is, and what it logs is no data", () =>
    Effect.gen(function* () {
      const { env, json, path } = yield* inFolder
      mkdirSync(path("node_modules"))
      symlinkSync(`${modules}/effect`, path("node_modules/effect"))
      symlinkSync(root, path("node_modules/effect-s3db"))
      const folder = ["--folder", path("migrations")]
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      const { file } = (yield* json(["migrate", "generate", "look", ...folder])) as { readonly file: string }
      const { code, err, out } = yield* asProcess(["migrate", "up", "--json", ...folder], env)
      assert.strictEqual(code, 0, err)
      assert.deepStrictEqual(JSON.parse(out), { applied: [file.slice(file.lastIndexOf("/") + 1, -3)] })
      assert.include(err, "notes")
    })
  )

  it.live("names the files that are called as no migration is, and says how to begin where there is no folder", () =>
    Effect.gen(function* () {
      const { path, s3db, write } = yield* inFolder
      const folder = ["--folder", path("migrations")]
      const early = yield* s3db(["migrate", "up", ...folder])
      assert.strictEqual(early.code, exitCodes.Invalid)
      assert.include(early.err, "s3db migrate generate NAME")
      assert.isFalse(existsSync(path("data")))
      yield* s3db(["create", "resource", "notes", "-a", "text=string"])
      const status = yield* s3db(["migrate", "status", ...folder])
      assert.strictEqual(status.code, 0)
      assert.include(status.err, "s3db migrate generate NAME")
      mkdirSync(path("migrations"))
      yield* write("migrations/001-users.ts", "export const up = 1\n")
      yield* write("migrations/types.d.ts", "")
      yield* write("migrations/README.md", "")
      for (const command of ["status", "up"]) {
        const { code, err } = yield* s3db(["migrate", command, ...folder])
        assert.strictEqual(code, 0)
        assert.include(err, "001-users.ts in")
        assert.include(err, "20260131T120000_NAME.ts")
        assert.notMatch(err, /README|types\.d/)
      }
      const { out } = yield* s3db(["migrate", "up", "--help"])
      assert.include(out, "though a file has changed")
    })
  )

  it.live("two at once: each migration is run by one of them, and the other says so or has nothing to do", () =>
    Effect.gen(function* () {
      const { path, s3db, write } = yield* inFolder
      let runs = 0
      const key = "s3dbRace"
      Object.assign(globalThis, {
        [key]: Effect.andThen(
          Effect.sync(() => void runs++),
          Effect.sleep("100 millis")
        )
      })
      yield* write("20200101T000000_once.mjs", `export const up = globalThis.${key}\n`)
      yield* s3db(["create", "resource", "notes", "-a", "text=string"])
      const up = s3db(["migrate", "up", "--folder", path()])
      const both = yield* Effect.all([up, up], { concurrency: 2 })
      assert.strictEqual(runs, 1)
      for (const { code } of both) assert.include([0, exitCodes.Refused], code)
      assert.isTrue(both.some(({ code }) => code === 0))
      assert.strictEqual((yield* s3db(["migrate", "up", "--folder", path()])).code, 0)
      assert.strictEqual(runs, 1)
    })
  )
})
