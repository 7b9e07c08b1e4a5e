/** The commands that take care of a resource, and look into how it is stored. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { fill, key, using } from "./people.ts"
import { type Given, inFolder } from "./shell.ts"

type Row = Readonly<Record<string, unknown>>

/** 32 other bytes in base 64. */
const newer = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="

const filled = Effect.gen(function* () {
  const shell = yield* inFolder
  yield* fill(shell.url)
  const keys = { S3DB_KEYS: `k1:${key}` }
  const s3db = (args: ReadonlyArray<string>, given: Given = {}) =>
    shell.s3db(args, { ...given, env: { ...keys, ...given.env } })
  const json = (args: ReadonlyArray<string>, given: Given = {}) =>
    shell.json(args, { ...given, env: { ...keys, ...given.env } })
  return {
    ...shell,
    s3db,
    json,
    rows: (args: ReadonlyArray<string>) => Effect.map(json(args), (all) => all as ReadonlyArray<Row>)
  }
})

describe("care on the command line", () => {
  it.effect("history and restore", () =>
    Effect.gen(function* () {
      const { json, rows, s3db } = yield* filled
      yield* json(["update", "people", "p0001", "--set", "zip=new"])
      const [first] = yield* rows(["history", "people", "p0001"])
      assert.strictEqual(first?.["version"], 1)
      assert.strictEqual((yield* s3db(["restore", "people", "p0001", "--version", "1"])).code, exitCodes.Refused)
      assert.deepInclude((yield* json(["restore", "people", "p0001", "--version", "1", "--force"])) as Row, {
        zip: "01"
      })
      assert.match((yield* s3db(["history", "people", "p0002"])).err, /^there is no earlier version$/m)
      assert.match((yield* s3db(["history", "people", "p0001"])).err, /^2 earlier versions$/m)
      assert.strictEqual((yield* rows(["history", "people", "p0001"])).length, 2)
      for (const [args, code] of [
        [["--version", "77", "--force"], exitCodes.NotFound],
        [["--time", "1969-01-01T00:00:00Z", "--force"], exitCodes.NotFound],
        [["--time", "then"], exitCodes.Usage],
        [[], exitCodes.Usage],
        [["--time", "1999-01-01T00:00:00Z", "--version", "1"], exitCodes.Usage]
      ] as const) {
        assert.strictEqual((yield* s3db(["restore", "people", "p0001", ...args])).code, code, args.join(" "))
      }
      const nobody = yield* s3db(["history", "people", "nobody"])
      assert.strictEqual(nobody.code, exitCodes.NotFound)
      assert.include(nobody.err, 'no document with id "nobody"')
      yield* json(["delete", "people", "p0001", "--force"])
      assert.isAbove((yield* rows(["history", "people", "p0001"])).length, 0)
    })
  )

  it.effect("content", () =>
    Effect.gen(function* () {
      const { json, path, s3db, write } = yield* filled
      yield* write("picture", "pixels")
      const put = ["content", "put", "people", "p0000", path("picture"), "--type", "image/png"]
      assert.deepStrictEqual(yield* json(put), { id: "p0000", size: 6, contentType: "image/png" })
      assert.strictEqual((yield* s3db(["content", "get", "people", "p0000"])).out, "pixels")
      const got = yield* s3db(["content", "get", "people", "p0000", "-o", path("copy")])
      assert.include(got.err, "6 bytes of image/png")
      assert.strictEqual(readFileSync(path("copy"), "utf8"), "pixels")
      assert.strictEqual((yield* s3db(["content", "put", "people", "p0001", "-"], { stdin: "from a pipe" })).code, 0)
      assert.strictEqual((yield* s3db(["content", "delete", "people", "p0000"])).code, exitCodes.Refused)
      yield* json(["content", "delete", "people", "p0000", "--force"])
      assert.strictEqual((yield* s3db(["content", "get", "people", "p0000"])).code, exitCodes.NotFound)
      assert.strictEqual((yield* s3db(["content", "get", "people", "nobody"])).code, exitCodes.NotFound)
      assert.strictEqual((yield* s3db(["content", "put", "people", "p0000", path("none")])).code, exitCodes.Invalid)
    })
  )

  it.effect("partitions, their values and numbers; sizes and what they cost", () =>
    Effect.gen(function* () {
      const { json, rows, s3db } = yield* filled
      assert.deepStrictEqual(yield* rows(["partitions", "people"]), [
        { partition: "byCountry", fields: ["country", "age"], state: "ready" }
      ])
      assert.match((yield* s3db(["partitions", "people"])).err, /^1 partition$/m)
      assert.deepStrictEqual(yield* rows(["partitions", "people", "byCountry"]), [
        { country: "BR", documents: 3 },
        { country: "PT", documents: 3 }
      ])
      assert.deepStrictEqual((yield* rows(["partitions", "people", "byCountry", "--value", "country=BR"])).at(-1), {
        age: 14,
        documents: 1
      })
      assert.strictEqual((yield* s3db(["partitions", "people", "byCity"])).code, exitCodes.Usage)
      yield* json(["update", "people", "p0000", "--set", `zip=${"x".repeat(4000)}`])
      const analysis = (yield* json(["analyze", "people"])) as Row & { readonly fields: ReadonlyArray<Row> }
      assert.deepInclude(analysis, { documents: 6, sampled: 6, withBody: 1, compressed: 1 })
      assert.deepInclude(
        analysis.fields.find(({ field }) => field === "zip"),
        { filled: "100 %", inBody: 1 }
      )
      assert.include((yield* s3db(["analyze", "people", "--sample", "2"])).out, "dollarsPerMonth")
      const explained = (yield* json(["explain", "people", "p0000"])) as { readonly fields: ReadonlyArray<Row> }
      assert.deepInclude(
        explained.fields.find(({ path }) => path === "zip"),
        { place: "body" }
      )
      const compressed = yield* s3db(["explain", "people", "p0000"])
      assert.match(compressed.out, /^compressed +\d+ of \d+ fields, together$/m)
      assert.match(compressed.out, /isCompressed/)
      assert.include(compressed.err, "before compression")
      const plain = yield* s3db(["explain", "people", "p0001"])
      assert.match(plain.out, /^compressed +nothing$/m)
      assert.include(plain.out, "metadata")
      assert.notInclude(plain.err, "before compression")
    })
  )

  it.effect("repair finds and mends; a damaged document is told", () =>
    Effect.gen(function* () {
      const { rows, s3db, url } = yield* filled
      assert.deepStrictEqual(yield* rows(["repair", "people"]), [])
      yield* using(
        url,
        Effect.gen(function* () {
          const { store } = yield* Database.Database
          yield* store.put({
            key: "resource=people/data/id=broken",
            metadata: { "s-": "?" },
            body: new Uint8Array([1, 2])
          })
        }).pipe(Effect.orDie)
      )
      const found = yield* s3db(["repair", "people", "--fix", "--json"])
      assert.strictEqual(found.code, exitCodes.Unfinished)
      const [finding] = JSON.parse(found.out) as ReadonlyArray<Row>
      assert.deepInclude(finding, { kind: "Corrupt", id: "broken", repaired: false })
      const shown = yield* s3db(["repair", "people"])
      assert.match(shown.err, /^1 finding: --fix/m)
      assert.match(shown.err, /not mended: 1 finding$/m)
      assert.strictEqual((yield* s3db(["get", "people", "broken"])).code, exitCodes.Damaged)
    })
  )

  it.effect("rotates keys, upgrades, and lists plugins", () =>
    Effect.gen(function* () {
      const { json, rows, s3db } = yield* filled
      yield* json(["update", "people", "p0000", "--set", "card=4111"])
      const both = { env: { S3DB_KEYS: `k2:${newer},k1:${key}` } }
      const rotated = yield* json(["rotate", "people"], both)
      assert.deepInclude(rotated as Row, { failed: 0 })
      assert.isAtLeast((rotated as { readonly rewritten: number }).rewritten, 1)
      // The older key is not needed any more.
      assert.strictEqual((yield* s3db(["rotate", "people"], { env: { S3DB_KEYS: `k2:${newer}` } })).code, 0)
      const old = yield* s3db(["get", "people", "p0000"])
      assert.strictEqual(old.code, exitCodes.Damaged)
      assert.notInclude(old.err, key)
      assert.deepStrictEqual(yield* json(["upgrade", "people"], both), { seen: 6, rewritten: 0, failed: 0 })
      assert.deepStrictEqual(yield* rows(["plugins"]), [])
      assert.strictEqual((yield* s3db(["recount", "people"])).code, exitCodes.Denied)
    })
  )

  it.effect("all documents are deleted only where the definition allows it", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* filled
      assert.strictEqual((yield* s3db(["truncate", "people", "--force"])).code, exitCodes.Denied)
      yield* json([
        "create",
        "resource",
        "sessions",
        "-a",
        "user=string",
        "--with",
        "allowDeleteAll",
        "--with",
        "counters"
      ])
      yield* json(["insert", "sessions", '[{"user":"a"},{"user":"b"}]'])
      assert.strictEqual((yield* s3db(["truncate", "sessions"])).code, exitCodes.Refused)
      assert.deepStrictEqual(yield* json(["truncate", "sessions", "--force"]), { deleted: 2 })
    })
  )

  it.live("a journal is watched from any position, and says where to go on", () =>
    Effect.gen(function* () {
      const { json, s3db, url } = yield* inFolder
      yield* json(["create", "resource", "notes", "-a", "text=string", "--with", "journal"])
      yield* json(["create", "resource", "others", "-a", "text=string", "--with", "journal"])
      yield* json(["create", "resource", "plain", "-a", "text=string"])
      const journal = using(
        url,
        Effect.flatMap(Database.Database, ({ journal, journaled }) =>
          Effect.orDie(journal.catchUp(journaled, { nobodyWrites: true }))
        )
      )
      const watch = (...args: ReadonlyArray<string>) =>
        Effect.map(
          s3db(["watch", "notes", "--interval", "1", "--times", "1", "--ndjson", ...args]),
          ({ code, err, out }) => {
            assert.strictEqual(code, 0, err)
            const lines = out.split("\n").filter((line) => line !== "")
            const rows = lines.map((line) => JSON.parse(line) as Row)
            for (const { time } of rows) assert.strictEqual(typeof time, "string")
            return { rows: rows.map(({ time: _, ...row }): Row => row), err }
          }
        )
      yield* json(["insert", "notes", '{"id":"a","text":"x"}'])
      yield* json(["insert", "others", '{"id":"o","text":"x"}'])
      yield* json(["update", "notes", "a", "--set", "text=y"])
      yield* journal
      const first = yield* watch("--from", "0")
      assert.deepStrictEqual(
        first.rows.map((row) => [row["change"], row["id"]]),
        [
          ["new", "a"],
          ["changed", "a"]
        ]
      )
      assert.include(first.err, "to go on: --from 3")
      yield* json(["delete", "notes", "a", "--force"])
      yield* json(["insert", "notes", '{"id":"b","text":"z"}'])
      yield* journal
      const second = yield* watch("--from", "3", "--documents")
      const byId = (id: string) => second.rows.filter((row) => row["id"] === id).map(({ position: _, ...row }) => row)
      assert.deepStrictEqual(byId("a"), [{ change: "gone", id: "a" }])
      assert.deepStrictEqual(byId("b"), [{ change: "new", id: "b", document: { id: "b", text: "z" } }])
      assert.deepStrictEqual(
        second.rows.map(({ position }) => position),
        [3, 4]
      )
      const end = yield* watch()
      assert.deepStrictEqual(end.rows, [])
      assert.include(end.err, "to go on: --from 5")
      assert.notInclude(end.err, "nobody")
      assert.include((yield* watch("--listing")).err, "watching 1 document of")
      yield* json(["insert", "notes", '{"id":"d","text":"z"}'])
      const soon = yield* watch()
      assert.deepStrictEqual(soon.rows, [])
      assert.include(soon.err, "changes wait to be journaled")
      assert.notInclude(soon.err, "nobody keeps the journal")
      // Written long ago, and nobody has journaled it.
      yield* Effect.provide(json(["insert", "notes", '{"id":"c","text":"z"}']), TestClock.layer())
      const waiting = yield* watch()
      assert.deepStrictEqual(waiting.rows, [])
      assert.include(waiting.err, "nobody keeps the journal")
      for (const [args, said] of [
        [["notes", "--from", "99"], "at 5"],
        [["notes", "--from", "0", "--listing"], "--listing"],
        [["plain", "--from", "0"], "plain has none"],
        [["notes", "--from", "-1"], "0 or more"],
        [["notes", "--times", "0"], "1 or more"]
      ] as const) {
        const { code, err } = yield* s3db(["watch", ...args])
        assert.strictEqual(code, exitCodes.Usage, err)
        assert.include(err, said)
      }
    })
  )

  it.live("a partition that was declared later is built, and what others write is watched", () =>
    Effect.gen(function* () {
      const { json, s3db } = yield* filled
      yield* json(["create", "resource", "notes", "-a", "text=string"])
      yield* json(["insert", "notes", '[{"id":"a","text":"x"},{"id":"b","text":"y"}]'])
      let said = ""
      const heard = (text: string) =>
        Effect.sync(() => said.includes(text)).pipe(
          Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("20 millis") })
        )
      const watching = yield* Effect.forkChild(
        s3db(["watch", "notes", "--interval", "1", "--documents", "--ndjson"], { onWrite: (text) => (said += text) }),
        { startImmediately: true }
      )
      yield* heard("watching 2 documents")
      const partition = '{"attributes":{"text":"string"},"partitions":{"byText":["text"]}}'
      yield* json(["alter", "resource", "notes", partition])
      assert.deepStrictEqual(yield* json(["backfill", "notes"]), { seen: 2, rewritten: 2, failed: 0 })
      assert.deepStrictEqual(yield* json(["query", "notes", "--partition", "byText", "--value", "text=y"]), [
        { id: "b", text: "y" }
      ])
      yield* json(["delete", "notes", "a", "--force"])
      yield* json(["insert", "notes", '{"id":"c","text":"z"}'])
      yield* heard('{"change":"new","id":"c","document":{"id":"c","text":"z"}}')
      yield* Fiber.interrupt(watching)
      const once = yield* s3db(["watch", "notes", "--interval", "1", "--times", "1"])
      assert.deepStrictEqual([once.code, once.out], [0, ""])
    })
  )
})
