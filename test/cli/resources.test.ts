/** The commands that make and change resources, and show what they are. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import * as schemas from "../../src/cli/internal/schemas.ts"
import { fill, key } from "./people.ts"
import { inFolder, inProcess } from "./shell.ts"

const definition = {
  attributes: { name: "string|min:2", age: "number|integer|optional", state: "enum|values:open,closed|default:open" },
  partitions: { byState: ["state"] },
  unique: { byName: ["name"] },
  timestamps: true,
  allowDeleteAll: true
}

describe("resources on the command line", () => {
  it.effect("are made of rules, flags or what another database says", () =>
    Effect.gen(function* () {
      const { json, path, s3db } = yield* inFolder
      assert.deepStrictEqual(yield* json(["create", "resource", "tasks", JSON.stringify(definition)]), {
        created: "tasks"
      })
      const task = (yield* json(["insert", "tasks", '{"name":"one"}'])) as {
        readonly state: string
        readonly id: string
      }
      assert.strictEqual(task.state, "open")
      assert.isAbove(task.id.length, 10)
      assert.deepStrictEqual(yield* json(["count", "tasks", "--partition", "byState", "--value", "state=open"]), {
        count: 1
      })
      const again = yield* s3db(["create", "resource", "tasks", JSON.stringify(definition)])
      assert.strictEqual(again.code, exitCodes.Conflict)

      yield* json(["create", "resource", "notes", "-a", "text=string", "-a", "stars=number|max:5", "--with", "history"])
      assert.strictEqual((yield* s3db(["insert", "notes", '{"text":"x","stars":9}'])).code, exitCodes.Invalid)

      // What one database says makes the same resource in another one.
      const portable = yield* s3db(["schema", "tasks", "--json"])
      const other = `file://${path("other").replaceAll(" ", "%20")}`
      const copied = yield* s3db(["create", "resource", "tasks", "-", "--url", other], { stdin: portable.out })
      assert.strictEqual(copied.code, 0, copied.err)
      const copy = yield* s3db(["schema", "tasks", "--json", "--url", other])
      assert.strictEqual(copy.out, portable.out)
      const made = yield* s3db(["insert", "tasks", '{"name":"two"}', "--json", "--url", other])
      assert.strictEqual((JSON.parse(made.out) as { readonly state: string }).state, "open")
    })
  )

  it.effect("wrong definitions are told, and make nothing", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* inFolder
      for (const [args, code, said] of [
        [["create", "resource", "x", '{"attributes":{"a":"strin"}}'], exitCodes.Invalid, "strin"],
        [
          ["create", "resource", "x", '{"attributes":{"a":"string"},"partition":{}}'],
          exitCodes.Invalid,
          "did you mean partitions?"
        ],
        [["create", "resource", "x", '{"attributes":{"a":"string"},"history":"yes"}'], exitCodes.Invalid, "history"],
        [
          ["create", "resource", "x", '{"attributes":{"a":"string"},"partitions":{"p":["nope"]}}'],
          exitCodes.Invalid,
          "nope"
        ],
        [["create", "resource", "x", '{"format":9}'], exitCodes.Unsupported, "portable"],
        [["create", "resource", "x", "[]"], exitCodes.Invalid, "object"],
        [["create", "resource", "x", "-a", "nothing"], exitCodes.Usage, "name=rule"],
        [["create", "resource", "x", "-a", "a=string", "--with", "histori"], exitCodes.Usage, "did you mean history?"],
        [
          ["create", "resource", "x", "-a", "a=string", "--with", "compression=maybe"],
          exitCodes.Invalid,
          "compression"
        ],
        [["create", "resource", "x", "-a", "a=string", "--with", "uniqueLease=soon"], exitCodes.Invalid, "uniqueLease"],
        [["create", "resource", "x", '{"attributes":{"a":"string"},"uniqueLease":-1}'], exitCodes.Invalid, "above 0"],
        [["create", "bucket"], exitCodes.Usage, "bucket"],
        [["create"], 0, ""]
      ] as const) {
        const { code: found, err } = yield* s3db(args)
        assert.strictEqual(found, code, `${args.join(" ")}: ${err}`)
        assert.include(err, said)
      }
      assert.isFalse(existsSync(path("data")))
    })
  )

  it.effect("compression and the lease of unique values are options, which travel", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      const text = "Much of it, and again. ".repeat(400)
      const bodyOf = Effect.fnUntraced(function* (resource: string) {
        yield* json(["upsert", resource, JSON.stringify({ id: "n", text })])
        return ((yield* json(["get", resource, "n", "--system"])) as { readonly $bodyBytes: number }).$bodyBytes
      })
      const plain = ["-a", "text=string", "--with", "compression=false", "--with", "uniqueLease=5 minutes"]
      yield* json(["create", "resource", "plain", ...plain])
      yield* json(["create", "resource", "packed", "-a", "text=string", "--with", "compression"])
      assert.isAbove(yield* bodyOf("plain"), text.length)
      assert.isBelow(yield* bodyOf("packed"), text.length / 10)
      const shown = yield* s3db(["schema", "plain", "--json"])
      const { definition } = JSON.parse(shown.out) as { readonly definition: Record<string, unknown> }
      assert.deepInclude(definition, { compression: false, uniqueLease: 300_000 })
      yield* json(["create", "resource", "copy", "-"], { stdin: shown.out })
      assert.isAbove(yield* bodyOf("copy"), text.length)
      // Another definition is another version, and what it says counts from then on.
      yield* json(["alter", "resource", "plain", "-a", "text=string", "--with", "compression"])
      assert.isBelow(yield* bodyOf("plain"), text.length / 10)
      const { definition: altered } = (yield* json(["schema", "plain"])) as {
        readonly definition: Record<string, unknown>
      }
      assert.strictEqual(altered["compression"], true)
      assert.notProperty(altered, "uniqueLease")
    })
  )

  it.effect("are altered, with what has to be built, and asked about what would be lost", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "tasks", JSON.stringify(definition)])
      yield* json(["insert", "tasks", '{"id":"t1","name":"one","age":3}'])
      assert.deepStrictEqual(yield* json(["alter", "resource", "tasks", JSON.stringify(definition)]), {
        altered: "tasks",
        changes: []
      })
      const { age: _, ...attributes } = definition.attributes
      const next = {
        ...definition,
        attributes: { ...attributes, note: "string|optional" },
        partitions: { byName: ["name"] }
      }
      const refused = yield* s3db(["alter", "resource", "tasks", JSON.stringify(next)])
      assert.strictEqual(refused.code, exitCodes.Refused)
      assert.include(refused.err, "age")
      const altered = yield* s3db(["alter", "resource", "tasks", JSON.stringify(next), "--force", "--json"])
      assert.deepStrictEqual(JSON.parse(altered.out), {
        altered: "tasks",
        changes: [
          { field: "age", change: "removed: number, optional" },
          { field: "note", change: "added: string, optional" },
          { field: "(partitions.byState)", change: 'removed: ["state"]' },
          { field: "(partitions.byName)", change: 'added: ["name"]' }
        ],
        building: ["byName"]
      })
      assert.include(altered.err, "s3db backfill tasks")
      const early = yield* s3db(["query", "tasks", "--partition", "byName", "--value", "name=one"])
      assert.strictEqual(early.code, exitCodes.Unfinished)
      assert.include(early.err, "backfill")
      assert.strictEqual((yield* s3db(["alter", "resource", "nope", JSON.stringify(next)])).code, exitCodes.NotFound)
    })
  )

  it.effect("schemas in the notations of others", () =>
    Effect.gen(function* () {
      const { path, s3db, url, write } = yield* inFolder
      yield* fill(url, 1)
      const shown = (format: string) =>
        Effect.map(s3db(["schema", "people", "--format", format]), ({ code, err, out }) => {
          assert.strictEqual(code, 0, err)
          return out
        })
      const typescript = yield* shown("typescript")
      assert.include(typescript, "export interface People {")
      assert.include(typescript, "readonly age?: number")
      assert.include(typescript, "readonly tags?: ReadonlyArray<string>")
      assert.notInclude(typescript, "card")
      yield* write(
        "types.ts",
        `${typescript}\nexport const one: People = { id: "a", name: "b", country: "c", address: { city: "d" } }\n// @ts-expect-error no such field\none.card\n`
      )
      const tsc = new URL("../../node_modules/.bin/tsc", import.meta.url).pathname
      execFileSync(process.execPath, [tsc, "--noEmit", "--strict", "--ignoreConfig", path("types.ts")], { cwd: path() })
      const sql = yield* shown("sql")
      assert.include(sql, 'CREATE TABLE "people" (\n  "id" text NOT NULL PRIMARY KEY,\n  "name" text NOT NULL,')
      assert.include(sql, '"balance" numeric,')
      assert.include(sql, '"address" jsonb')
      assert.notInclude(sql, "card")
      assert.include(yield* shown("bigquery"), "`balance` BIGNUMERIC")
      assert.include(yield* shown("bigquery"), "`age` INT64")
      assert.include(yield* shown("sql"), '"age" bigint')
      const jsonSchema = JSON.parse(yield* shown("json-schema")) as { readonly required: ReadonlyArray<string> }
      assert.deepStrictEqual([...jsonSchema.required].toSorted(), ["country", "id", "name"])
      assert.strictEqual((yield* s3db(["schema", "people", "--format", "xml"])).code, exitCodes.Usage)
      assert.strictEqual(schemas.typeName("2 blog-posts"), "Resource2BlogPosts")
    })
  )

  it.effect("a folder of definitions is compared with the catalog, types and all", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* inFolder
      mkdirSync(path("schemas"))
      yield* write("schemas/tasks.json", JSON.stringify(definition))
      yield* json(["create", "resource", "tasks", "--file", path("schemas/tasks.json")])
      assert.deepStrictEqual(yield* json(["schema-diff", path("schemas")]), [
        { resource: "tasks", state: "same", changes: [] }
      ])
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      yield* write(
        "schemas/tasks.json",
        JSON.stringify({ ...definition, attributes: { ...definition.attributes, age: "string" } })
      )
      yield* write("schemas/new.json", '{"attributes":{"a":"string"}}')
      const different = yield* s3db(["schema-diff", path("schemas"), "--json"])
      assert.strictEqual(different.code, exitCodes.Unfinished)
      assert.deepStrictEqual(JSON.parse(different.out), [
        { resource: "new", state: "only in the folder", changes: [] },
        { resource: "tasks", state: "different", changes: ["age: number, optional -> string"] },
        { resource: "notes", state: "only in the catalog", changes: [] }
      ])
      assert.strictEqual((yield* s3db(["schema-diff", path("none")])).code, exitCodes.Invalid)
    })
  )

  it.effect("what differs is said also of bounds, patterns and options", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* inFolder
      mkdirSync(path("schemas"))
      const attributes = { name: "string|min:2", at: "datetime|optional", inner: { code: "string|optional" } }
      yield* json(["create", "resource", "people", JSON.stringify({ attributes })])
      const changed = { ...attributes, name: "string|min:3", inner: { code: "string|optional|max:9" } }
      yield* write("schemas/people.json", JSON.stringify({ attributes: changed, history: true }))
      const changes = [
        "name: string|min:2 -> string|min:3",
        "inner.code: string|optional -> string|max:9|optional",
        "(history): added: true"
      ]
      const different = yield* s3db(["schema-diff", path("schemas"), "--json"])
      assert.deepStrictEqual(JSON.parse(different.out), [{ resource: "people", state: "different", changes }])
      const altered = (yield* json(["alter", "resource", "people", "--file", path("schemas/people.json")])) as {
        readonly changes: ReadonlyArray<{ readonly field: string; readonly change: string }>
      }
      assert.deepStrictEqual(
        altered.changes.map(({ change, field }) => `${field}: ${change}`),
        changes
      )
      yield* json(["create", "resource", "people2", "-a", "n=number|positive|max:5"])
      const again = yield* json(["alter", "resource", "people2", "-a", "n=number|positive|max:6"])
      assert.deepStrictEqual((again as typeof altered).changes, [
        { field: "n", change: "number|positive|max:5 -> number|positive|max:6" }
      ])
    })
  )

  it.effect("a resource that is there is not made again", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* inFolder
      yield* json(["create", "resource", "users", "-a", "name=string"])
      const { code, err } = yield* s3db(["create", "resource", "users", "-a", "name=string"])
      assert.strictEqual(code, exitCodes.Conflict)
      assert.include(err, 'there is a resource "users" already: `s3db alter resource`')
    })
  )

  it.effect("in memory, kept in a file", () =>
    Effect.gen(function* () {
      const { path } = yield* inFolder
      const url = `memory://x?persistPath=${encodeURIComponent(path("kept.json"))}`
      const run = (...args: ReadonlyArray<string>) =>
        inProcess([...args, "--url", url, "--json"], { env: { S3DB_KEYS: `k1:${key}` } })
      assert.strictEqual((yield* run("create", "resource", "notes", "-a", "text=string")).code, 0)
      assert.strictEqual((yield* run("insert", "notes", '{"id":"n","text":"x"}')).code, 0)
      assert.strictEqual((yield* run("get", "notes", "n")).out, '{"id":"n","text":"x"}\n')
    })
  )
})
