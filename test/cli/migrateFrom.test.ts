/** The command that moves databases of s3db.js. */
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { passphrase } from "../migration/passphrase.ts"
import { fixture } from "../migration/stored.ts"
import { server } from "../services/fauxqs.ts"
import { counters, damage, linesOf, old, rowOf, urlOf } from "./oldDatabase.ts"
import { key } from "./people.ts"
import { inFolder, inProcess } from "./shell.ts"

describe("migrate-from", () => {
  it.effect("a dry run makes nothing; then all is moved, verified, and found the same the next time", () =>
    Effect.gen(function* () {
      const { from, path, s3db } = yield* old
      const tried = yield* from("--content", "--dry-run")
      assert.strictEqual(tried.code, 0, tried.err)
      assert.deepStrictEqual(rowOf(tried.out), { ...counters, written: 4 })
      assert.isFalse(existsSync(path("data")))
      const moved = yield* from("--content")
      assert.strictEqual(moved.code, 0, moved.err)
      assert.deepStrictEqual(rowOf(moved.out), { ...counters, written: 4, verified: 4 })
      const again = yield* from("--content", "--no-verify", "--concurrency", "1")
      assert.deepStrictEqual([again.code, rowOf(again.out)], [0, { ...counters, unchanged: 4 }])
      const verified = yield* from("--verify")
      assert.deepStrictEqual([verified.code, rowOf(verified.out)], [0, { ...counters, unchanged: 4 }])
      const { out } = yield* s3db(["get", "users", "José 李", "--json"])
      assert.deepInclude(JSON.parse(out), { id: "José 李", name: "José", age: 30, bio: "y".repeat(3000) })
      assert.notInclude(out, "hush")
      assert.strictEqual((yield* s3db(["content", "get", "users", "content"])).out, "content!")
      const open = yield* s3db(["partitions", "users", "byStatus", "--json"])
      assert.deepStrictEqual(JSON.parse(open.out), [{ status: "open", documents: 2 }])
    })
  )

  it.effect("for people: a table, notes, and what is not moved, told and kept in a file; the next run goes on", () =>
    Effect.gen(function* () {
      const { data, from, path, s3db, source } = yield* old
      const whole = readFileSync(join(data, "id=plain"))
      damage(data, "plain")
      const rejects = path("rejects.ndjson")
      const ran = yield* s3db(["migrate-from", source, "--rejects", rejects])
      assert.strictEqual(ran.code, exitCodes.Unfinished)
      assert.match(ran.out, /^resource +records +written .*verified\nusers +4 +3 .*3\n$/)
      assert.include(ran.err, 'users "plain": object')
      assert.include(ran.err, 'users "content": not all of it: its content was left')
      assert.include(ran.err, "not moved, or not in full: 2 records of 4")
      const lines = linesOf(rejects)
      assert.deepStrictEqual(lines.map(({ id, key, outcome }) => [outcome, id, key]).toSorted(), [
        ["Unreadable", "plain", "resource=users/data/id=plain"],
        ["Written", "content", "resource=users/data/id=content"]
      ])
      assert.strictEqual(statSync(rejects).mode & 0o077, 0)

      writeFileSync(join(data, "id=plain"), whole)
      const changed = yield* s3db(["update", "users", "odd.bak", "--set", "name=other"])
      assert.strictEqual(changed.code, 0, changed.err)
      const next = yield* from("--rejects", rejects)
      assert.strictEqual(next.code, exitCodes.Unfinished)
      assert.deepStrictEqual(rowOf(next.out), {
        ...counters,
        written: 1,
        unchanged: 2,
        different: 1,
        partial: 1,
        verified: 3
      })
      assert.deepInclude(
        linesOf(rejects).find(({ id }) => id === "odd.bak"),
        { outcome: "Different", fields: ["name"] }
      )
      const removed = yield* s3db(["delete", "users", "odd.bak", "--force"])
      assert.strictEqual(removed.code, 0, removed.err)
      const verified = yield* from("--verify")
      assert.strictEqual(verified.code, exitCodes.Unfinished)
      assert.deepStrictEqual(rowOf(verified.out), { ...counters, unchanged: 3, missing: 1, partial: 1 })
    })
  )

  it.effect("without the passphrase, and with a wrong one, secrets are told to be left, and nothing shows one", () =>
    Effect.gen(function* () {
      const { env, path, source } = yield* old
      for (const given of ["", "wrong"]) {
        const { S3DB_OLD_PASSPHRASE: _, ...rest } = env
        const all = given === "" ? rest : { ...rest, S3DB_OLD_PASSPHRASE: given }
        const file = path("rejects")
        const ran = yield* inProcess(["migrate-from", source, "--dry-run", "--json", "--rejects", file], { env: all })
        assert.strictEqual(ran.code, exitCodes.Unfinished, ran.err)
        assert.strictEqual(rowOf(ran.out)["partial"], 4)
        if (given === "") assert.include(ran.err, "no S3DB_OLD_PASSPHRASE to open them")
        assert.include(readFileSync(file, "utf8"), '"field":"token"')
        for (const text of [ran.out, ran.err, readFileSync(file, "utf8")]) {
          assert.notInclude(text, "hush")
          assert.notInclude(text, "wrong")
          assert.notInclude(text, passphrase)
        }
      }
    })
  )

  it.effect("what makes no sense is refused before anything is made", () =>
    Effect.gen(function* () {
      const { folder, path, s3db, source } = yield* old
      const refused = Effect.fnUntraced(function* (args: ReadonlyArray<string>, code: number, text: string, env = {}) {
        const ran = yield* s3db(["migrate-from", ...args], { env })
        assert.strictEqual(ran.code, code, ran.err)
        assert.include(ran.err, text)
        assert.isFalse(existsSync(path("data")))
      })
      const { Configuration, Invalid, NotFound, Usage } = exitCodes
      symlinkSync(path("old"), path("alias"))
      yield* refused([source, "--url", source], Usage, "is where the old database is")
      yield* refused([source, "--url", urlOf(path("alias", "app"))], Usage, "is where the old database is")
      yield* refused([source, "--url", `${urlOf(path("old"))}?prefix=app`], Usage, "is where the old database is")
      const s3 = "s3://KEY:hidden@bucket/app?region=eu-west-1"
      yield* refused([s3, "--url", "s3://bucket/app/?region=eu-west-1"], Usage, "is where the old database is")
      yield* refused([`${s3}&createBucket=true`], Usage, "createBucket")
      yield* refused(["memory://old"], Usage, "memory://")
      yield* refused([], Usage, "S3DB_OLD_URL")
      yield* refused(["nonsense://x"], Configuration, "")
      yield* refused([urlOf(path("none"))], NotFound, "there is no folder")
      yield* refused([urlOf(folder)], Configuration, "holds no database of s3db.js")
      yield* refused([source, "--resource", "user"], NotFound, "did you mean users?")
      yield* refused([source, "--verify", "--dry-run"], Usage, "--dry-run")
      yield* refused([source, "--verify", "--no-verify"], Usage, "--no-verify")
      yield* refused([source, "--rejects", path("none", "file")], Invalid, "there is no folder")
      yield* refused([source, "--verify"], Configuration, "there is no database")
      // Where nobody else sees it.
      const ran = yield* s3db(["migrate-from", "--dry-run", "--json", "--content"], { env: { S3DB_OLD_URL: source } })
      assert.deepStrictEqual([ran.code, rowOf(ran.out)], [0, { ...counters, written: 4 }], ran.err)
      assert.deepStrictEqual(readdirSync(folder).toSorted(), ["alias", "old"])
    })
  )

  it.effect("rules that data does not meet refuse it, unless only the types are kept", () =>
    Effect.gen(function* () {
      const { from, path } = yield* old
      const file = path("old", "app", "s3db.json")
      const text = gunzipSync(readFileSync(file))
        .toString("utf8")
        .replaceAll("string|required", "string|required|min:2")
      writeFileSync(file, text)
      // The metadata beside it is of another text.
      writeFileSync(`${file}.meta.json`, "{}")
      const kept = yield* from("--content", "--dry-run")
      assert.strictEqual(kept.code, exitCodes.Unfinished, kept.err)
      assert.deepStrictEqual(rowOf(kept.out), { ...counters, written: 3, refused: 1 })
      const types = yield* from("--content", "--rules", "types")
      assert.deepStrictEqual([types.code, rowOf(types.out)], [0, { ...counters, written: 4, verified: 4 }], types.err)
    })
  )

  it.live("from a bucket; where the old one is by another name nothing is made, and nothing of it is changed", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* inFolder
      const { port } = new URL((yield* server).address)
      const at = (host: string, prefix: string) => `http://KEY:hidden@${host}:${port}/old-bucket/${prefix}?retryFor=0`
      const source = at("127.0.0.1", "app")
      const made = yield* s3db(["create", "bucket", "--url", source])
      assert.strictEqual(made.code, 0, made.err)
      const bucket = yield* S3HttpStore.make({
        bucket: "old-bucket",
        region: "us-east-1",
        endpoint: `http://127.0.0.1:${port}`,
        forcePathStyle: true,
        credentials: { accessKeyId: "KEY", secretAccessKey: Redacted.make("hidden") }
      })
      const { objects, written } = fixture("s3db-js-21-6-2")
      for (const { body, contentType, key, metadata } of objects) {
        yield* bucket.put({
          key: `app/${key}`,
          metadata,
          contentType,
          body: new Uint8Array(Buffer.from(body, "base64")),
          repeatable: true
        })
      }
      const tagsOf = Effect.map(bucket.list(), ({ entries }) => entries.map(({ etag, key }) => `${key} ${etag}`))
      const before = yield* tagsOf
      const env = { S3DB_KEYS: `k1:${key}`, S3DB_OLD_PASSPHRASE: passphrase }
      const other = yield* s3db(["migrate-from", source, "--single-writer", "--url", at("localhost", "app")], { env })
      assert.strictEqual(other.code, exitCodes.Unsupported, other.err)
      assert.include(other.err, "here is a database of s3db.js 21.6.2")
      assert.deepStrictEqual(yield* tagsOf, before)
      const ran = yield* s3db(["migrate-from", source, "--content", "--ndjson"], { env })
      assert.strictEqual(ran.code, 0, ran.err)
      assert.notInclude(ran.out + ran.err, "hidden")
      const rows = ran.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { readonly verified: number })
      assert.strictEqual(
        rows.reduce((sum, { verified }) => sum + verified, 0),
        new Set(written.map(({ document, resource }) => `${resource}/${String(document["id"])}`)).size
      )
      assert.deepStrictEqual(yield* tagsOf, before)
      assert.isTrue(existsSync(path("data")))
    })
  )
})
