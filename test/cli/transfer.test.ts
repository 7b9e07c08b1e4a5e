/** The commands that carry many documents out and in. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { fill, key } from "./people.ts"
import { type Given, inFolder } from "./shell.ts"

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
