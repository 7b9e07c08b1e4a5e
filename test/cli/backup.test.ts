/** The commands that take backups and put them back. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { urlOf } from "./oldDatabase.ts"
import { inFolder, inProcess } from "./shell.ts"

/** A database in a folder with three notes, and a vault beside it. */
const shop = Effect.gen(function* () {
  const { path } = yield* inFolder
  const [data, vault] = [urlOf(path("data")), urlOf(path("vault"))]
  const s3db = (args: ReadonlyArray<string>, more: Readonly<Record<string, string>> = {}) =>
    inProcess(args, { env: { S3DB_URL: data, S3DB_VAULT: vault, ...more } })
  yield* s3db(["create", "resource", "notes", '{"attributes":{"text":"string"},"allowDeleteAll":true}'])
  for (const id of ["a", "b", "c"]) yield* s3db(["insert", "notes", JSON.stringify({ id, text: `text of ${id}` })])
  return { path, s3db, data, vault }
})

const jsonOf = ({ out }: { readonly out: string }) => JSON.parse(out) as Record<string, unknown>

describe("rewind", () => {
  it.live("brings resources back to a time; asks, tells, and refuses what has no history", () =>
    Effect.gen(function* () {
      const { s3db } = yield* shop
      yield* s3db(["create", "resource", "kept", '{"attributes":{"text":"string"},"history":true}'])
      yield* s3db(["insert", "kept", '{"id":"a","text":"one"}'])
      yield* Effect.sleep(20)
      const time = DateTime.formatIso(yield* DateTime.now)
      yield* Effect.sleep(20)
      yield* s3db(["update", "kept", "a", "--set", "text=two"])
      yield* s3db(["insert", "kept", '{"id":"b","text":"three"}'])
      const dry = yield* s3db(["rewind", "kept", "--time", time, "--dry-run", "--json"])
      assert.deepStrictEqual(jsonOf(dry), { restored: 1, deleted: 1, unchanged: 0, failed: 0, dryRun: true })
      assert.strictEqual((yield* s3db(["rewind", "kept", "--time", time])).code, exitCodes.Refused)
      assert.include((yield* s3db(["get", "kept", "a"])).out, "two")
      const done = yield* s3db(["rewind", "kept", "--time", time, "--force"])
      assert.strictEqual(done.code, 0, done.err)
      assert.include((yield* s3db(["get", "kept", "a"])).out, "one")
      assert.strictEqual(jsonOf(yield* s3db(["count", "kept", "--json"]))["count"], 1)
      const refused = yield* s3db(["rewind", "notes", "--time", time, "--force"])
      assert.strictEqual(refused.code, exitCodes.Denied)
      assert.strictEqual((yield* s3db(["rewind", "nones", "--time", time, "--force"])).code, exitCodes.NotFound)
      assert.strictEqual((yield* s3db(["rewind", "kept", "--time", "yesterday"])).code, exitCodes.Usage)
    })
  )
})

describe("backup", () => {
  it.effect("a database is gone and comes back, into another folder and into its own", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* shop
      const made = jsonOf(yield* s3db(["backup", "create", "--json"]))
      assert.deepInclude(made, { instant: true, removed: 0 })
      const again = jsonOf(yield* s3db(["backup", "create", "--json"]))
      assert.deepInclude(again, { read: 0, parent: made["id"] })
      const elsewhere = urlOf(path("elsewhere"))
      const restored = yield* s3db(["backup", "restore", "latest", "--url", elsewhere])
      assert.strictEqual(restored.code, 0, restored.err)
      assert.include((yield* s3db(["get", "notes", "b", "--url", elsewhere])).out, "text of b")

      yield* s3db(["truncate", "notes", "--force"])
      const refused = yield* s3db(["backup", "restore", "latest"])
      assert.strictEqual(refused.code, exitCodes.Conflict)
      assert.include(refused.err, "the target is not empty")
      const asked = yield* s3db(["backup", "restore", "latest", "--mode", "merge"])
      assert.strictEqual(asked.code, exitCodes.Refused)
      assert.strictEqual(jsonOf(yield* s3db(["count", "notes", "--json"]))["count"], 0)
      const merged = yield* s3db(["backup", "restore", String(made["id"]), "--mode", "merge", "--force", "--json"])
      assert.strictEqual(merged.code, 0, merged.err)
      assert.strictEqual(jsonOf(yield* s3db(["count", "notes", "--json"]))["count"], 3)
      assert.match((yield* s3db(["backup", "list"])).out, /id +source +finishedAt +instant/)
    })
  )

  it.effect("says what is wrong: no vault, the place of the database, no database, no backup, damage", () =>
    Effect.gen(function* () {
      const { data, path, s3db, vault } = yield* shop
      for (const [args, more, code, said] of [
        [["create"], { S3DB_VAULT: "" }, exitCodes.Usage, "nobody has said where backups are"],
        [["create", "--vault", data], {}, exitCodes.Usage, "where the database is"],
        [["create", "--vault", "memory://x"], {}, exitCodes.Usage, "in memory is gone"],
        [["create"], { S3DB_URL: urlOf(path("nothing")) }, exitCodes.Configuration, "there is no database"],
        [["verify", "latest"], {}, exitCodes.NotFound, "there is no backup"],
        [["verify", "../x"], {}, exitCodes.NotFound, "there is no backup"],
        [["prune"], {}, exitCodes.Usage, "what is kept"],
        [["prune", "--daily", "1", "--time-zone", "Nowhere"], {}, exitCodes.Invalid, "time zone"],
        [["remove", "latest", "--force"], {}, exitCodes.NotFound, "there is no backup"]
      ] as const) {
        const ran = yield* s3db(["backup", ...args], more)
        assert.strictEqual(ran.code, code, `${args.join(" ")}: ${ran.err}`)
        assert.include(ran.err, said)
      }
      yield* s3db(["backup", "create"])
      const sealed = yield* s3db(["backup", "list"], {
        S3DB_BACKUP_KEYS: `k:${Buffer.alloc(32, 7).toString("base64")}`
      })
      assert.strictEqual(sealed.code, exitCodes.Denied)
      assert.notInclude(sealed.err, Buffer.alloc(32, 7).toString("base64"))
      const files = readdirSync(path("vault"), { recursive: true, encoding: "utf8" })
      const file = join(path("vault"), files.find((name) => /packs\W[0-9a-f]{64}/.test(name)) ?? "")
      const bytes = readFileSync(file)
      bytes[bytes.length - 1]! ^= 1
      writeFileSync(file, bytes)
      const damaged = yield* s3db(["backup", "verify", "latest"])
      assert.include([exitCodes.Unfinished, exitCodes.Damaged], damaged.code)
      const restored = yield* s3db(["backup", "restore", "latest", "--mode", "replace", "--force"])
      assert.strictEqual(restored.code, exitCodes.Damaged)
      assert.strictEqual(jsonOf(yield* s3db(["count", "notes", "--json"]))["count"], 3)
      assert.isString(vault)
    })
  )

  it.effect("backups are sealed by S3DB_BACKUP_KEYS, and pruned by rules", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* shop
      const keys = { S3DB_BACKUP_KEYS: `k:${Buffer.alloc(32, 7).toString("base64")}` }
      for (let at = 0; at < 3; at += 1) yield* s3db(["backup", "create"], keys)
      const planned = jsonOf(yield* s3db(["backup", "prune", "--last", "1", "--dry-run", "--json"], keys))
      assert.deepInclude(planned, { dryRun: true })
      assert.strictEqual((planned["dropped"] as Array<string>).length, 2)
      assert.strictEqual((yield* s3db(["backup", "prune", "--last", "1"], keys)).code, exitCodes.Refused)
      const pruned = jsonOf(yield* s3db(["backup", "prune", "--last", "1", "--force", "--json"], keys))
      assert.deepStrictEqual(pruned["dropped"], planned["dropped"])
      const elsewhere = urlOf(path("elsewhere"))
      const restored = yield* s3db(["backup", "restore", "latest", "--url", elsewhere], keys)
      assert.strictEqual(restored.code, 0, restored.err)
      assert.include((yield* s3db(["get", "notes", "c", "--url", elsewhere])).out, "text of c")
    })
  )
})
