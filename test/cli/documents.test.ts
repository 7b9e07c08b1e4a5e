/** The commands about documents. */
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as CliOutput from "effect/cli/CliOutput"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import * as notation from "../../src/cli/internal/notation.ts"
import * as table from "../../src/cli/internal/table.ts"
import { fill, key, People, using } from "./people.ts"
import { type Given, inFolder } from "./shell.ts"

type Row = Readonly<Record<string, unknown>>

const filled = Effect.gen(function* () {
  const shell = yield* inFolder
  yield* fill(shell.url)
  const env = { S3DB_KEYS: `k1:${key}` }
  return {
    ...shell,
    s3db: (args: ReadonlyArray<string>, given: Given = {}) => shell.s3db(args, { ...given, env }),
    rows: (args: ReadonlyArray<string>) =>
      Effect.map(shell.json(args, { env }), (value) => value as ReadonlyArray<Row>),
    json: (args: ReadonlyArray<string>, given: Given = {}) => shell.json(args, { ...given, env })
  }
})

describe("documents on the command line", () => {
  it.effect("the keys of a partition answer where they may, and it is said whether they do", () =>
    Effect.gen(function* () {
      const { json, s3db, url } = yield* filled
      const within = ["--partition", "byCountry", "--value", "country=BR"]
      const stale = [...within, "--allow-stale"]
      const plan = (...args: ReadonlyArray<string>) =>
        Effect.map(json([...args, "--explain"]), (found) => {
          const { fallback, reads } = found as { readonly reads: string; readonly fallback: string | null }
          return [reads, fallback]
        })
      assert.deepStrictEqual(yield* plan("query", "people", ...within), ["documents", null])
      assert.deepStrictEqual(yield* plan("query", "people", ...stale, "--select", "id,age"), ["keys", null])
      assert.deepStrictEqual(yield* plan("count", "people", ...stale), ["keys", null])
      assert.deepStrictEqual(yield* plan("count", "people", ...stale, "--by", "age"), ["keys", null])
      const [reads, fallback] = yield* plan("query", "people", ...stale, "--select", "name")
      assert.strictEqual(reads, "documents")
      assert.include(String(fallback), "do not tell name")
      assert.include((yield* s3db(["query", "people", ...stale, "--explain"])).out, "every field is asked for")

      // A document that has gone without its marker: who reads documents does not see it, who reads keys does.
      yield* Effect.flatMap(ObjectStore, (store) => store.delete("resource=people/data/id=p0000")).pipe(
        Effect.provide(ConnectionString.layer(url))
      )
      assert.deepStrictEqual(yield* json(["count", "people", ...within, "-w", "age>=10"]), { count: 2 })
      assert.deepStrictEqual(yield* json(["count", "people", ...stale, "-w", "age>=10"]), { count: 3 })
      const ages = ["query", "people", "--select", "age", "--order=age"]
      assert.deepStrictEqual(yield* json([...ages, ...within]), [{ age: 12 }, { age: 14 }])
      assert.deepStrictEqual(yield* json([...ages, ...stale]), [{ age: 10 }, { age: 12 }, { age: 14 }])
      assert.deepStrictEqual(yield* json([...ages, ...stale, "--all"]), [{ age: 10 }, { age: 12 }, { age: 14 }])
      const sum = ["aggregate", "people", "total=sum:age"]
      assert.deepStrictEqual(yield* json([...sum, ...within]), [{ total: 26 }])
      assert.deepStrictEqual(yield* json([...sum, ...stale]), [{ total: 36 }])
    })
  )

  it.effect("what is inserted is read again, from arguments, files and standard input", () =>
    Effect.gen(function* () {
      const { json, path, s3db, url, write } = yield* filled
      const ana = {
        id: "ana",
        name: "Ana",
        age: 33,
        country: "BR",
        zip: "01",
        tags: ["a", "b"],
        address: { city: "Recife" }
      }
      assert.deepStrictEqual(yield* json(["insert", "people", JSON.stringify(ana)]), ana)
      assert.deepStrictEqual(yield* json(["get", "people", "ana"]), ana)
      const again = yield* s3db(["insert", "people", JSON.stringify(ana)])
      assert.deepStrictEqual([again.code, again.out], [exitCodes.Conflict, ""])

      // Secrets go in, and do not come out.
      const secret = "4111-secret"
      const bo = yield* s3db(["insert", "people", "-", "--ndjson"], {
        stdin: JSON.stringify({ id: "bo", name: "Bo", country: "PT", card: secret })
      })
      assert.deepStrictEqual([bo.code, bo.out], [0, '{"id":"bo","name":"Bo","country":"PT"}\n'])
      const { card } = yield* using(
        url,
        Effect.flatMap(People, (people) => Effect.orDie(people.get("bo")))
      )
      assert.strictEqual(card === undefined ? undefined : Redacted.value(card), secret)

      // Several, of which one does not fit: the others are there.
      const wrong = [
        { id: "c1", name: "C1", country: "BR" },
        { id: "c2", name: 3, card: secret },
        { id: "c3", name: "C3", country: "BR" }
      ]
      yield* write("three.json", `\uFEFF${JSON.stringify(wrong)}`)
      const three = yield* s3db(["insert", "people", "--file", path("three.json"), "--json"])
      assert.strictEqual(three.code, exitCodes.Unfinished)
      assert.deepStrictEqual(
        (JSON.parse(three.out) as ReadonlyArray<Row>).map(({ id }) => id),
        ["c1", "c3"]
      )
      assert.include(three.err, "document 2")
      assert.include(three.err, "not written: 1 of 3 documents")
      assert.notInclude(three.err, secret)

      for (const [args, given, code] of [
        [["insert", "people", "{"], {}, exitCodes.Invalid],
        [["insert", "people", "[1]"], {}, exitCodes.Invalid],
        [["insert", "people", "{}", "--file", "x"], {}, exitCodes.Usage],
        [["insert", "people", "--file", path("none.json")], {}, exitCodes.Invalid],
        [["insert", "people"], { terminal: { columns: 80 } }, exitCodes.Usage],
        [["insert", "people", `{"id":"x","name":"${secret}","agee":3}`], {}, exitCodes.Invalid]
      ] as const) {
        const { code: found, err, out } = yield* s3db(args, given)
        assert.deepStrictEqual([found, out], [code, ""], args.join(" "))
        assert.notInclude(err, secret)
      }
    })
  )

  it.effect("says which field, flag or file is meant", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* filled
      for (const [args, said] of [
        [["update", "people", "p0001", "--set", "__proto__=3"], "--set __proto__: no field can have this name"],
        [
          ["create", "resource", "x", "-a", "a.__proto__=string"],
          "--attribute a.__proto__: no field can have this name"
        ],
        [["update", "people", "p0001", "--set", "aeg=3"], "aeg: Expected no such field; did you mean age?"],
        [["update", "people", "p0001", '{"address":{"ctiy":"x"}}', "--merge"], "did you mean city?"],
        [["insert", "people", '{"nme":"Ana","country":"BR"}'], "did you mean name?"],
        [["replace", "people", '{"id":"p0001","nmae":"Ana","country":"BR"}'], "did you mean name?"],
        [["upsert", "people", '{"id":"p0001","nmae":"Ana","country":"BR"}'], "did you mean name?"],
        [["query", "people", "--scn"], "; did you mean --scan?"],
        [
          ["export", "people", "-o", path("nodir", "x.csv")],
          `x.csv cannot be written: there is no folder ${path("nodir")};`
        ],
        [["export", "people", "-o", `${path("nodir", "parts")}/`], `there is no folder ${path("nodir")};`],
        [["import", "people", path("none.csv")], "none.csv: it cannot be read: it is not there"],
        [["schema-diff", path("nodir")], "nodir cannot be read: it is not there"]
      ] as const) {
        const { code, err } = yield* s3db(args)
        assert.notStrictEqual(code, 0)
        assert.include(err, said)
        assert.notInclude(err, "FileSystem.")
      }
      assert.notInclude((yield* s3db(["update", "people", "p0001", "--set", "xyzzy=3"])).err, "did you mean")
      const elsewhere = ["--url", `file://${encodeURI(path("one"))}`]
      yield* s3db(["create", "resource", "notes", "-a", "text=string", ...elsewhere])
      const listed = yield* s3db(["list", ...elsewhere])
      assert.match(listed.err, /^1 resource$/m)
    })
  )

  it.effect("updates, upserts and replaces", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* filled
      const changed = yield* json([
        "update",
        "people",
        "p0001",
        "--set",
        "zip=42",
        "--set",
        "age=42",
        "--set",
        "balance=9.50"
      ])
      assert.deepStrictEqual(changed, {
        id: "p0001",
        name: "Person 1",
        age: 42,
        country: "PT",
        zip: "42",
        balance: "9.5"
      })
      assert.notProperty(yield* json(["update", "people", "p0001", "--unset", "balance"]), "balance")
      yield* json(["update", "people", "p0001", '{"address":{"city":"Faro"}}'])
      assert.deepInclude(
        (yield* json(["update", "people", "p0001", '{"address":{"city":"Lagos"}}', "--merge"])) as Row,
        {
          address: { city: "Lagos" }
        }
      )
      const { $revision } = (yield* json(["get", "people", "p0001", "--system"])) as { readonly $revision: string }
      yield* json(["update", "people", "p0001", "--set", "age=1", "--if-revision", $revision])
      const late = yield* s3db(["update", "people", "p0001", "--set", "age=2", "--if-revision", $revision])
      assert.strictEqual(late.code, exitCodes.Conflict)
      for (const [args, code] of [
        [["update", "people", "nobody", "--set", "age=1"], exitCodes.NotFound],
        [["update", "people", "p0001", "--set", "age"], exitCodes.Usage],
        [["update", "people", "p0001", "--set", "age=1", "--set", "age=2"], exitCodes.Usage],
        [["update", "people", "p0001", "--set", "age=1", "--merge"], exitCodes.Usage],
        [["update", "people", "p0001", "--set", "agee=1"], exitCodes.Invalid],
        [["update", "people", "p0001", "--set", "name=Person 2"], exitCodes.Conflict]
      ] as const) {
        assert.strictEqual((yield* s3db(args)).code, code, args.join(" "))
      }
      assert.deepInclude((yield* json(["upsert", "people", '{"id":"p0001","name":"Other","country":"PT"}'])) as Row, {
        name: "Other",
        age: 1
      })
      const made = (yield* json(["upsert", "people", '{"name":"Made","country":"PT"}'])) as { readonly id: string }
      assert.isAbove(made.id.length, 10)
      assert.deepStrictEqual(yield* json(["replace", "people", '{"id":"p0001","name":"Third","country":"BR"}']), {
        id: "p0001",
        name: "Third",
        country: "BR"
      })
    })
  )

  it.effect("queries: conditions, partitions, order, pages, and what they cost", () =>
    Effect.gen(function* () {
      const { rows, s3db } = yield* filled
      const ids = (args: ReadonlyArray<string>) =>
        Effect.map(rows(["query", "people", ...args]), (all) => all.map(({ id }) => id))
      const all = ["p0000", "p0001", "p0002", "p0003", "p0004", "p0005"]
      assert.deepStrictEqual(yield* ids(["--all"].concat("--scan")), all)
      assert.deepStrictEqual(yield* ids(["-w", "age>=14", "--scan"]), ["p0004", "p0005"])
      assert.deepStrictEqual(yield* ids(["-w", "zip=01", "--scan"]), ["p0001"])
      assert.deepStrictEqual(yield* ids(["-w", '{"age":{"lt":12}}', "-w", "country=PT", "--scan"]), ["p0001"])
      assert.deepStrictEqual(yield* ids(["-w", "age in 10, 15", "--scan"]), ["p0000", "p0005"])
      assert.deepStrictEqual(yield* ids(["-w", "zip not in 00,01,02,03", "--scan"]), ["p0004", "p0005"])
      assert.deepStrictEqual(yield* ids(["-w", "name~=son 3", "--scan"]), ["p0003"])
      assert.deepStrictEqual(yield* ids(["-w", "!born", "-w", "id^=p0005", "--scan"]), ["p0005"])
      const part = ["--partition", "byCountry", "--value", "country=BR"]
      assert.deepStrictEqual(yield* ids([...part, "--from", "12", "--order=-age", "-n", "5"]), ["p0004", "p0002"])
      assert.deepStrictEqual(
        yield* rows(["query", "people", ...part, "--to", "10", "--select", "id,age,$schemaVersion"]),
        [{ id: "p0000", age: 10, $schemaVersion: 1 }]
      )

      // Pages: the cursor is told, and goes on.
      const first = yield* s3db(["query", "people", "--scan", "-n", "4", "--json"])
      const cursor = /--cursor (\S+),/.exec(first.err)?.[1]
      assert.isDefined(cursor)
      assert.deepStrictEqual(yield* ids(["--scan", "-n", "4", "--cursor", cursor!]), ["p0004", "p0005"])
      assert.strictEqual(
        (yield* s3db(["query", "people", "--all", "--scan", "--cursor", cursor!])).code,
        exitCodes.Usage
      )
      for (const forged of ["x", "-hhh", "-n"]) {
        const { code, err } = yield* s3db(["query", "people", "--scan", "--cursor", forged])
        assert.strictEqual(code, exitCodes.Invalid, err)
      }
      // A value may begin with -, as many a cursor does; an id stands behind --.
      assert.deepStrictEqual(yield* ids([...part, "--from", "12", "--order", "-age", "-n", "5"]), ["p0004", "p0002"])
      const dashed = yield* s3db(["get", "people", "-zx-y"])
      assert.strictEqual(dashed.code, exitCodes.Usage)
      assert.include(dashed.err, "if -zx-y is no flags, it stands last, behind --")
      assert.strictEqual((yield* s3db(["get", "people", "--", "-zx-y"])).code, exitCodes.NotFound)
      assert.strictEqual((yield* s3db(["query", "people", "--scan", "--json", "-q"])).code, 0)

      // Lines come one by one.
      const lines = yield* s3db(["query", "people", "--all", "--scan", "--ndjson", "--quiet"])
      assert.deepStrictEqual(
        lines.out
          .trimEnd()
          .split("\n")
          .map((line) => (JSON.parse(line) as Row)["id"]),
        all
      )
      assert.strictEqual(lines.err, "")
      assert.deepStrictEqual(yield* rows(["query", "people", "-w", "age>100", "--scan"]), [])

      const plan = yield* s3db(["query", "people", "-w", "country=BR", "-w", "age>=10", "--explain", "--json"])
      assert.deepInclude(JSON.parse(plan.out) as Row, { access: "partition", index: "byCountry", isScan: false })

      for (const [args, code, said] of [
        [["-w", "age>=14"], exitCodes.Denied, "--scan"],
        [["-w", "agee>=14", "--scan"], exitCodes.Invalid, "age"],
        [["-w", "what is this", "--scan"], exitCodes.Usage, "field=value"],
        [["-w", "card=4111", "--scan"], exitCodes.Invalid, "secret"],
        [["--partition", "byCounty", "--value", "country=BR"], exitCodes.Usage, "did you mean byCountry?"],
        [["--value", "country=BR"], exitCodes.Usage, "--partition"],
        [["--order", "nope", "--scan"], exitCodes.Invalid, "nope"],
        [["--select", "card", "--scan"], exitCodes.Invalid, "card"]
      ] as const) {
        const { code: found, err, out } = yield* s3db(["query", "people", ...args])
        assert.deepStrictEqual([found, out], [code, ""], args.join(" "))
        assert.include(err, said)
      }
    })
  )

  it.effect("counts and aggregates", () =>
    Effect.gen(function* () {
      const { json, rows, s3db } = yield* filled
      assert.strictEqual((yield* s3db(["count", "people"])).out, "6\n")
      assert.deepStrictEqual(yield* json(["count", "people", "-w", "age>12", "--scan"]), { count: 3 })
      assert.deepStrictEqual(yield* json(["count", "people", "--partition", "byCountry", "--value", "country=PT"]), {
        count: 3
      })
      assert.deepStrictEqual(yield* rows(["count", "people", "--by", "country", "--scan"]), [
        { country: "BR", count: 3 },
        { country: "PT", count: 3 }
      ])
      assert.deepStrictEqual(
        yield* rows(["aggregate", "people", "count", "sum:age", "oldest=max:age", "--by", "country", "--scan"]),
        [
          { country: "BR", count: 3, "sum(age)": 36, oldest: 14 },
          { country: "PT", count: 3, "sum(age)": 39, oldest: 15 }
        ]
      )
      assert.include((yield* s3db(["aggregate", "people", "avg:balance", "--scan"])).err, "6 documents")
      for (const [measures, said] of [
        [["median:age"], "nothing to work out"],
        [["__proto__=count"], "no measure can have this name"],
        [["n=count", "n=sum:age"], "two measures are called n"]
      ] as const) {
        const { code, err, out } = yield* s3db(["aggregate", "people", ...measures, "--scan"])
        assert.deepStrictEqual([code, out], [exitCodes.Usage, ""], measures.join(" "))
        assert.include(err, said)
      }
    })
  )

  it.effect("errors name no method that nobody has called", () =>
    Effect.gen(function* () {
      const { s3db, url } = yield* filled
      const refused = yield* s3db(["query", "people", "-w", "age>1"])
      assert.strictEqual(refused.code, exitCodes.Denied)
      assert.match(refused.err, /^error: this is not allowed on people: .* say --scan/)
      yield* Effect.flatMap(ObjectStore, (store) =>
        store.put({ key: "resource=people/data/id=p0001", body: new TextEncoder().encode("garbage") })
      ).pipe(Effect.provide(ConnectionString.layer(Redacted.make(url))), Effect.orDie)
      const read = yield* s3db(["get", "people", "p0001"])
      assert.strictEqual(read.code, exitCodes.Damaged, read.err)
      assert.match(read.err, /^error: people: /)
      const several = yield* s3db(["update", "people", "p0001", "--set", "zip=1"])
      assert.notMatch(several.err, /(Resource|Database)\.[a-z]/)
    })
  )

  it.effect("nothing is deleted unless somebody says yes", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* filled
      const remove = ["delete", "people", "p0000"]
      const alone = yield* s3db(remove)
      assert.deepStrictEqual([alone.code, alone.out], [exitCodes.Refused, ""])
      assert.include(alone.err, "--force")
      const no = yield* s3db(remove, { terminal: { columns: 80, answer: "n" } })
      assert.strictEqual(no.code, exitCodes.Refused)
      assert.deepStrictEqual(yield* json(["count", "people"]), { count: 6 })
      const yes = yield* s3db(remove, { terminal: { columns: 80, answer: "yes" } })
      assert.strictEqual(yes.code, 0)
      assert.include(yes.err, 'Delete document "p0000" of people?')
      assert.deepStrictEqual(yield* json(["delete", "people", "p0001", "p0000", "--force"]), { deleted: 1 })
      const gone = yield* s3db(["delete", "people", "p0001", "--force", "--must-exist"])
      assert.strictEqual(gone.code, exitCodes.NotFound)
      assert.deepStrictEqual(yield* json(["delete", "people", "-w", "age>=14", "--scan", "--force"]), { deleted: 2 })
      assert.deepStrictEqual(yield* json(["delete", "people", "-w", "age>=14", "--scan", "--force"]), { deleted: 0 })
      assert.strictEqual((yield* s3db(["delete", "people", "--force"])).code, exitCodes.Usage)
      assert.deepStrictEqual(yield* json(["count", "people"]), { count: 2 })
      const some = yield* s3db(["delete", "people", "p0000", "p0002", "nobody", "--force", "--json"])
      assert.deepStrictEqual([some.code, JSON.parse(some.out)], [0, { deleted: 1 }])
      assert.include(some.err, 'not there: "p0000", "nobody"')
    })
  )

  it.effect("several at once: those that are missing are told", () =>
    Effect.gen(function* () {
      const { s3db } = yield* filled
      const some = yield* s3db(["get", "people", "p0001", "nobody", "p0000", "--ndjson"])
      assert.strictEqual(some.code, exitCodes.NotFound)
      assert.strictEqual(some.out.trimEnd().split("\n").length, 2)
      assert.include(some.err, "nobody")
    })
  )

  it.effect("a table fits the terminal, with colours there alone, and data can do nothing to it", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* filled
      const evil = "\u001b]0;title\u0007\u001b[31m red \u202e rtl \u009b1m\nline"
      yield* json(["insert", "people", JSON.stringify({ id: "evil", name: evil, country: "日本語日本語日本語" })])
      const shown = yield* s3db(["query", "people", "--scan"], { terminal: { columns: 40 } })
      assert.strictEqual(shown.code, 0)
      const lines = stripVTControlCharacters(shown.out).trimEnd().split("\n")
      assert.strictEqual(lines.length, 8)
      const wide = (text: string) => [...text].reduce((sum, one) => sum + (/[\u3000-\u9fff]/.test(one) ? 2 : 1), 0)
      for (const line of lines) assert.isAtMost(wide(line), 40, line)
      assert.include(shown.out, "\u001b[1m")
      for (const mark of ["\u001b]", "\u001b[31m", "\u0007", "\u009b", "\u202e"]) assert.notInclude(shown.out, mark)
      const asJson = yield* s3db(["get", "people", "evil", "--json"], { terminal: { columns: 40 } })
      assert.deepInclude(JSON.parse(asJson.out) as Row, { name: evil })
      for (const mark of ["\u001b", "\u009b", "\u202e"]) assert.notInclude(asJson.out, mark)
      // Also in what is text for a file, where that goes to the terminal.
      for (const format of ["ndjson", "json", "csv"]) {
        const exported = ["export", "people", "--format", format]
        const { out } = yield* s3db(exported, { terminal: { columns: 40 } })
        assert.include(out, "\\u009b")
        for (const mark of ["\u001b", "\u009b", "\u202e", "\r", "\\r"]) assert.notInclude(out, mark)
        assert.include((yield* s3db(exported)).out, "\u009b")
      }
      yield* json(["create", "resource", "odd", JSON.stringify({ attributes: { ["a\u009b\u202e"]: "string" } })])
      for (const args of [
        ["schema", "odd"],
        ["schema", "odd", "--format", "sql"],
        ["schema", "odd", "--format", "typescript"],
        ["types", "odd"],
        ["alter", "resource", "odd", "-a", "b=string"]
      ]) {
        const { err, out } = yield* s3db(args, { terminal: { columns: 40, answer: "y" } })
        assert.include(out, "\\u009b", args.join(" "))
        for (const mark of ["\u009b", "\u202e"]) assert.notInclude(out + err, mark)
      }
      // To a pipe all of it, and no colours.
      const piped = yield* s3db(["query", "people", "--scan"])
      assert.notInclude(piped.out, "\u001b")
      assert.include(piped.out, "日本語日本語日本語")
    })
  )
})

describe("notation", () => {
  it("reads conditions, with the meanings that a value may have", () => {
    assert.deepStrictEqual(notation.condition("age>=18"), [{ age: { gte: 18 } }, { age: { gte: "18" } }])
    assert.deepStrictEqual(notation.condition('zip = "01"'), [{ zip: { eq: "01" } }])
    assert.deepStrictEqual(notation.condition("a.b!=x=y"), [{ "a.b": { ne: "x=y" } }])
    assert.deepStrictEqual(notation.condition("name^=12"), [{ name: { startsWith: "12" } }])
    assert.deepStrictEqual(notation.condition("n="), [{ n: { eq: "" } }])
    assert.deepStrictEqual(notation.condition("n?"), [{ n: { exists: true } }])
    assert.deepStrictEqual(notation.condition("a not in x,2"), [
      { a: { notIn: ["x", 2] } },
      { a: { notIn: ["x", "2"] } }
    ])
    for (const text of ["", "x", "=3", "{", "a b"]) assert.isUndefined(notation.condition(text), text)
  })

  it("chooses the type of a value by the field", () => {
    assert.strictEqual(notation.valueFor("number", "42"), 42)
    assert.strictEqual(notation.valueFor("string", "42"), "42")
    assert.strictEqual(notation.valueFor("money:2", "42"), "42")
    assert.strictEqual(notation.valueFor("boolean", "true"), true)
    assert.deepStrictEqual(notation.valueFor("array:string", '["a"]'), ["a"])
    assert.deepStrictEqual(notation.assignment("a=b=c"), ["a", "b=c"])
    assert.isUndefined(notation.assignment("=c"))
  })
})

describe("tables", () => {
  it("never are wider than the terminal, whatever is in them", () => {
    const names = ["a", "long name of a column", "c", "d"]
    const rows = [
      ["x".repeat(100), "y", "日本語".repeat(20), "1"],
      ["", "👩‍👩‍👧", "é", "2"]
    ]
    for (let width = 6; width <= 200; width++) {
      const layout = table.layout(names, rows, width)
      for (const row of [names, ...rows]) assert.isAtMost(CliOutput.displayWidth(table.line(layout, row)), width)
      assert.isAtMost(
        layout.columns.reduce((sum, column) => sum + column.width, 0) + 2 * (layout.columns.length - 1),
        width
      )
    }
    assert.strictEqual(table.layout(names, rows, 300).hidden, 0)
    assert.strictEqual(table.layout(names, rows, 10).hidden, 3)
  })
})

describe("hints", () => {
  it.live("of what is easily written otherwise, and the cursor of a page for programs", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "users", "-a", "name=string", "-a", "age=number|optional"])
      for (const id of ["a", "b", "c"]) {
        yield* json(["insert", "users", JSON.stringify({ id, name: `Name ${id}`, age: 18 })])
      }
      for (const [args, code, said] of [
        [["insert", "users"], exitCodes.Usage, "nothing was given: give the document"],
        [["update", "users", "a"], exitCodes.Usage, "nothing was given: give the changes as an argument, with --set"],
        [["query", "users", "--scan", "-w", "age==18"], exitCodes.Usage, "one = compares, age=18"],
        [["query", "users", "--all", "--scan", "--page"], exitCodes.Usage, "--page goes with a --limit"],
        [["query", "users", "--scan", "--order", "--all"], exitCodes.Usage, "--order"]
      ] as const) {
        const ran = yield* s3db(args)
        assert.strictEqual(ran.code, code, ran.err)
        assert.include(ran.err, said)
      }
      const count = yield* s3db(["count", "users", "--by", "age"])
      assert.strictEqual(count.code, exitCodes.Denied)
      assert.include(count.err, "say --scan")
      assert.notInclude(count.err, "limit")
      const quoted = ["query", "users", "--scan", "-w", 'name="=x"']
      assert.deepStrictEqual(yield* json(quoted), [])

      interface Page {
        readonly documents: ReadonlyArray<{ readonly id: string }>
        readonly cursor: string | null
      }
      const page = ["query", "users", "--scan", "-n", "2", "--page"]
      const first = (yield* json(page)) as Page
      const second = (yield* json([...page, "--cursor", String(first.cursor)])) as Page
      assert.deepStrictEqual(
        [...first.documents, ...second.documents].map(({ id }) => id),
        ["a", "b", "c"]
      )
      assert.isString(first.cursor)
      assert.isNull(second.cursor)
      assert.isArray(yield* json(page.slice(0, -1)))
    })
  )

  it.live("upsert takes what insert takes, and leaves the optional fields alone that are not given", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "users", "-a", "name=string", "-a", "age=number|optional"])
      yield* json(["insert", "users", '{"id":"bo","name":"Bo","age":17}'])
      assert.deepStrictEqual(yield* json(["upsert", "users", '{"id":"bo","name":"Bob"}']), {
        id: "bo",
        name: "Bob",
        age: 17
      })
      assert.strictEqual((yield* s3db(["upsert", "users", '{"id":"bo","age":18}'])).code, exitCodes.Invalid)
      assert.include((yield* s3db(["upsert", "--help"])).out, "each is given as for insert")
    })
  )
})
