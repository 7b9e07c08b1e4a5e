/** Folders of s3db.js as stores. */
import { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as S3dbJs from "effect-s3db/migration/S3dbJs"
import * as S3dbJsFolder from "effect-s3db/migration/S3dbJsFolder"
import * as ObjectStore from "effect-s3db/storage/ObjectStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { folders, writeFolder } from "./folders.ts"
import { inFolder, keysOf, platform, put } from "./folderTests.ts"
import { passphrase } from "./passphrase.ts"

const reasonOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.match(effect, { onSuccess: () => "success", onFailure: ({ reason }) => reason._tag as string })

describe("folders that releases of s3db.js have written", () => {
  for (const name of folders) {
    inFolder(name, (folder) =>
      Effect.gen(function* () {
        writeFolder(name, folder)
        const before = readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()
        const whole = yield* S3dbJsFolder.make({ path: folder })
        const data = "app/resource=users/data/id="
        assert.deepStrictEqual(
          (yield* keysOf(whole)).filter((key) => !key.includes("partition=")),
          [...["José 李", "content", "odd.bak", "plain"].map((id) => data + id), "app/s3db.json"]
        )
        // Compressed on the disk.
        const large = yield* whole.get(`${data}José 李`)
        assert.isBelow(readFileSync(join(folder, `${data}José 李`)).length, 500)
        assert.include(new TextDecoder().decode(large.body), "y".repeat(3000))
        assert.strictEqual((yield* whole.head(`${data}José 李`)).size, large.body.length)
        const source = yield* S3dbJs.open(PrefixedStore.make(whole, "app"), {
          passphrase: Redacted.make(passphrase),
          content: true
        })
        const records = Array.from(yield* Stream.runCollect(source.list("users")))
        const found = records.map((record) => {
          if (record instanceof S3dbJs.Unreadable) throw record
          assert.deepStrictEqual(record.problems, [])
          const { createdAt, updatedAt, ...value } = record.value
          assert.isString(createdAt)
          assert.isString(updatedAt)
          return value
        })
        assert.deepStrictEqual(found, [
          { id: "José 李", name: "José", age: 30, bio: "y".repeat(3000), token: "hush", status: "open" },
          { id: "content", name: "with content" },
          { id: "odd.bak", name: "like a backup" },
          { id: "plain", name: "y", status: "open" }
        ])
        assert.deepStrictEqual(readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted(), before)
      })
    )
  }
})

describe("S3dbJsFolder", () => {
  inFolder("pages in the order of keys, with groups, whatever stands between them", (folder) =>
    Effect.gen(function* () {
      const keys = ["a-b", "a/1", "a/2/3", "a0", "b/\u{10000}", "b/\uffee", "c.bak", "d", "é/x"]
      for (const key of keys) put(folder, key, key)
      writeFileSync(join(folder, "d.bak"), "d")
      writeFileSync(join(folder, "d.tmp.1700000000000.a1B2c3"), "d")
      writeFileSync(join(folder, "gone.meta.json"), "{}")
      writeFileSync(join(folder, "operations.journal"), "{}")
      const store = yield* S3dbJsFolder.make({ path: folder })
      const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      assert.deepStrictEqual(yield* keysOf(store), sorted)
      for (const prefix of ["a", "a/", "b/", "c", "none", "a/2/3"]) {
        assert.deepStrictEqual(
          yield* keysOf(store, { prefix }),
          sorted.filter((key) => key.startsWith(prefix)),
          prefix
        )
      }
      for (const startAfter of [...keys, "a/", "b"]) {
        const after = Buffer.from(startAfter)
        assert.deepStrictEqual(
          yield* keysOf(store, { startAfter }),
          sorted.filter((key) => Buffer.compare(Buffer.from(key), after) > 0),
          startAfter
        )
      }
      for (const maxKeys of [1, 2, 3, 1000]) {
        for (const keysOnly of [true, false]) {
          const found: Array<string> = []
          let token: string | undefined
          do {
            const page: ObjectStore.ListPage = yield* store.list({ delimiter: "/", maxKeys, token, keysOnly })
            assert.isAtMost(page.entries.length + page.commonPrefixes.length, maxKeys)
            found.push(...page.entries.map(({ key }) => key), ...page.commonPrefixes)
            token = page.nextToken
          } while (token !== undefined)
          assert.deepStrictEqual(found.toSorted(), ["a-b", "a/", "a0", "b/", "c.bak", "d", "é/"].toSorted())
        }
      }
      assert.deepStrictEqual(
        (yield* store.list({ prefix: "d" })).entries.map(({ key, size }) => [key, size]),
        [["d", 1]]
      )
      assert.strictEqual(yield* reasonOf(store.list({ token: "foreign" })), "InvalidArgument")
      assert.strictEqual(yield* reasonOf(store.list({ maxKeys: 0 })), "InvalidArgument")
    })
  )

  inFolder("ranges, conditions, what is not there and what is damaged", (folder) =>
    Effect.gen(function* () {
      put(folder, "whole", "0123456789", {
        contentType: "text/plain",
        contentEncoding: "br",
        lastModified: "2025-01-02T03:04:05Z"
      })
      put(folder, "torn", "new body", { etag: "d41d8cd98f00b204e9800998ecf8427e" })
      put(folder, "packed", "no gzip", { compressed: true })
      put(folder, "damaged", "x")
      writeFileSync(join(folder, "damaged.meta.json"), "{")
      writeFileSync(join(folder, "alone"), "x")
      put(folder, "bodyless", "x")
      rmSync(join(folder, "bodyless"))
      const store = yield* S3dbJsFolder.make({ path: folder })
      const { body, ...head } = yield* store.get("whole", { range: { start: 2, end: 4 } })
      assert.strictEqual(new TextDecoder().decode(body), "234")
      assert.deepStrictEqual(head, yield* store.head("whole"))
      assert.deepInclude(head, {
        size: 10,
        contentType: "text/plain",
        contentEncoding: "br",
        lastModified: Date.UTC(2025, 0, 2, 3, 4, 5)
      })
      yield* store.get("whole", { ifMatch: head.etag })
      assert.strictEqual(yield* reasonOf(store.get("whole", { ifMatch: "other" })), "PreconditionFailed")
      assert.strictEqual(yield* reasonOf(store.get("whole", { range: { start: 10 } })), "InvalidRange")
      for (const key of ["torn", "packed", "damaged", "alone", "bodyless"]) {
        assert.strictEqual(yield* reasonOf(store.get(key)), "Corrupt", key)
      }
      assert.strictEqual(yield* reasonOf(store.get("none")), "NoSuchKey")
      assert.strictEqual(yield* reasonOf(store.head("none/none")), "NoSuchKey")
      // What is damaged is listed, so that somebody is told.
      assert.deepStrictEqual(yield* keysOf(store), ["alone", "damaged", "packed", "torn", "whole"])
    })
  )

  inFolder("nothing out of the folder is read, and nothing in it is written", (folder) =>
    Effect.gen(function* () {
      const [inside, other] = [join(folder, "inside"), join(folder, "other")]
      put(inside, "here", "x")
      put(other, "secret", "hush")
      put(other, "resource=a/data/id=1", "hush")
      const store = yield* S3dbJsFolder.make({ path: inside })
      for (const key of ["../other/secret", "a/../../other/secret", "/etc/passwd", "a//b", "./here", "here\0", "."]) {
        assert.strictEqual(yield* reasonOf(store.get(key)), "InvalidArgument", key)
      }
      assert.deepStrictEqual(yield* keysOf(store, { prefix: "../" }), [])
      symlinkSync(join(other, "secret"), join(inside, "link"))
      symlinkSync(join(other, "secret.meta.json"), join(inside, "link.meta.json"))
      assert.strictEqual(yield* reasonOf(store.get("link")), "AccessDenied")
      assert.strictEqual(yield* reasonOf(store.head("link")), "AccessDenied")
      assert.strictEqual(yield* reasonOf(store.list()), "AccessDenied")
      rmSync(join(inside, "link"))
      rmSync(join(inside, "link.meta.json"))
      symlinkSync(inside, join(inside, "round"))
      assert.strictEqual(yield* reasonOf(store.list()), "AccessDenied")
      rmSync(join(inside, "round"))
      symlinkSync(join(other, "resource=a"), join(inside, "resource=a"))
      assert.strictEqual(yield* reasonOf(store.list({ prefix: "resource=a/" })), "AccessDenied")
      assert.strictEqual(yield* reasonOf(store.get("resource=a/data/id=1")), "AccessDenied")
      rmSync(join(inside, "resource=a"))

      const before = readdirSync(inside).toSorted()
      for (const refused of [
        store.put({ key: "new" }),
        store.put({ key: "../new" }),
        store.delete("here"),
        store.deleteMany(["here"]),
        store.copy({ from: "here", to: "there" })
      ]) {
        assert.strictEqual(yield* reasonOf<unknown>(refused), "AccessDenied")
      }
      assert.deepStrictEqual(yield* store.deleteMany([]), { deleted: [], failed: [] })
      assert.deepStrictEqual(readdirSync(inside).toSorted(), before)
    })
  )

  inFolder("what is no folder is told", (folder) =>
    Effect.gen(function* () {
      writeFileSync(join(folder, "file"), "x")
      const open = (path: string) => reasonOf(S3dbJsFolder.make({ path }).pipe(Effect.provide(platform)))
      assert.strictEqual(yield* open(""), "InvalidArgument")
      assert.strictEqual(yield* open(join(folder, "file")), "InvalidArgument")
      assert.strictEqual(yield* open(join(folder, "none")), "NoSuchKey")
      const layer = S3dbJsFolder.layer({ path: folder })
      assert.strictEqual(
        yield* Effect.provide(
          Effect.flatMap(ObjectStore.ObjectStore, ({ list }) => reasonOf(list())),
          layer
        ),
        "success"
      )
    })
  )
})
