import { execFile, execFileSync } from "node:child_process"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as FileStore from "effect-s3db/storage/FileStore"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { vi } from "vitest"
import { tickMillis } from "../../src/storage/internal/fileStoreListings.ts"

const text = (value: string) => new TextEncoder().encode(value)
const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const reasonOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "effect-s3db-file-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

const filesBelow = (path: string) =>
  fs.readdirSync(path, { recursive: true, encoding: "utf8" }).map((name) => name.replaceAll(sep, "/"))

describe("FileStore", () => {
  it.live("names on the disk are readable and never leave the folder", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* FileStore.make({ path: join(path, "store") })
      for (const key of ["resource=users/data/id=Ab-1", "a", "a/b", "../../x", "..", "//", "é", "x".repeat(100)]) {
        yield* store.put({ key })
      }
      assert.deepStrictEqual(fs.readdirSync(path), ["store"])
      const files = filesBelow(join(path, "store", "objects")).filter((name) => name.endsWith("~"))
      assert.deepStrictEqual(
        files.toSorted(),
        [
          "%/%/~",
          "%2e%2e/%2e%2e/x~",
          "%2e%2e~",
          "%c3%a9~",
          "a/b~",
          "a~",
          "resource=users/data/id=%41b-1~",
          `${"x".repeat(80)}+/${"x".repeat(20)}~`
        ].toSorted()
      )
      yield* store.deleteMany(["a/b", "../../x"])
      assert.isFalse(fs.existsSync(join(path, "store", "objects", "%2e%2e")))
      assert.strictEqual(read((yield* store.get("a")).body), "")
    })
  )

  it.live("compressed bodies: sizes, ranges and copies are those of the body", () =>
    Effect.gen(function* () {
      const path = yield* folder
      for (const compression of ["gzip", "zstd"] as const) {
        const store = yield* FileStore.make({ path, compression })
        const body = text("0123456789".repeat(1000))
        yield* store.put({ key: compression, body })
        yield* store.copy({ from: compression, to: `${compression}-copy` })
        for (const key of [compression, `${compression}-copy`]) {
          assert.strictEqual((yield* store.head(key)).size, 10_000)
          assert.strictEqual((yield* store.get(key)).body.length, 10_000)
          assert.strictEqual(read((yield* store.get(key, { range: { start: 9_998 } })).body), "89")
          assert.isBelow(fs.statSync(join(path, "objects", `${key}~`)).size, 1000)
        }
        // A reader needs no setting.
        const plain = yield* FileStore.make({ path })
        assert.strictEqual((yield* plain.get(compression)).body.length, 10_000)
      }
    })
  )

  it.live("damage is found, listed, and can be deleted", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* FileStore.make({ path, durability: "none" })
      const file = join(path, "objects", "k~")
      const damages: ReadonlyArray<(bytes: Buffer) => Buffer> = [
        (bytes) => bytes.subarray(0, 5),
        (bytes) => bytes.subarray(0, 40),
        (bytes) => bytes.subarray(0, bytes.length - 1),
        (bytes) => Buffer.concat([bytes, Buffer.from("x")]),
        (bytes) => (bytes.write("X", 0), bytes),
        (bytes) => (bytes.write("!", 30), bytes),
        (bytes) => (bytes.write("!", bytes.length - 1), bytes)
      ]
      for (const damage of damages) {
        yield* store.put({ key: "k", body: text("some body") })
        fs.writeFileSync(file, damage(fs.readFileSync(file)))
        assert.strictEqual(yield* reasonOf(store.get("k")), "Corrupt")
        assert.deepStrictEqual(
          (yield* store.list()).entries.map(({ key }) => key),
          ["k"]
        )
        assert.deepStrictEqual(
          (yield* store.list({ keysOnly: true })).entries.map(({ key }) => key),
          ["k"]
        )
        yield* store.delete("k")
        assert.strictEqual(yield* reasonOf(store.head("k")), "NoSuchKey")
      }
      yield* store.put({ key: "k" })
      fs.writeFileSync(file, "x")
      assert.strictEqual(yield* reasonOf(store.put({ key: "k", ifMatch: "e" })), "Corrupt")
      assert.strictEqual(yield* reasonOf(store.head("k")), "Corrupt")
      // The file of another key, a stranger's file.
      yield* store.put({ key: "other" })
      fs.copyFileSync(join(path, "objects", "other~"), file)
      assert.strictEqual(yield* reasonOf(store.get("k")), "Corrupt")
      fs.writeFileSync(join(path, "objects", ".DS_Store"), "")
      fs.writeFileSync(join(path, "objects", "%ZZ~"), "")
      assert.strictEqual((yield* store.list()).entries.length, 2)
    })
  )

  it.live("metadata of the largest kind, with a long key", () =>
    Effect.gen(function* () {
      const store = yield* FileStore.make({ path: yield* folder, durability: "none" })
      const key = "\u0001".repeat(1024)
      yield* store.put({ key, metadata: { a: '"'.repeat(2047) } })
      assert.strictEqual((yield* store.head(key)).metadata["a"]!.length, 2047)
      const { etag } = yield* store.head(key)
      yield* store.put({ key, ifMatch: etag })
    })
  )

  it.live("an acknowledged write was synced: the file, then its place, then the directories above", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* FileStore.make({ path })
      const steps: Array<string> = []
      const opened = new Map<number, string>()
      const originals = { open: fs.open, fsync: fs.fsync, renameSync: fs.renameSync }
      vi.spyOn(fs, "open").mockImplementation(((file: string, flags: string, done: (e: unknown, fd: number) => void) =>
        originals.open(file, flags, (error, descriptor) => {
          opened.set(descriptor, file)
          done(error, descriptor)
        })) as never)
      vi.spyOn(fs, "fsync").mockImplementation(((descriptor: number, done: (e: unknown) => void) => {
        steps.push(`sync ${opened.get(descriptor)!.slice(path.length)}`)
        originals.fsync(descriptor, done)
      }) as never)
      vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
        steps.push(`rename ${String(to).slice(path.length)}`)
        originals.renameSync(from, to)
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      yield* store.put({ key: "d/e/f" })
      assert.match(steps[0]!, /^sync \/tmp\//)
      assert.deepStrictEqual(
        steps.slice(1).filter((step, i, all) => i === 0 || step !== all[i - 1]),
        ["rename /objects/d/e/f~", "sync /objects/d/e", "sync /objects/d", "sync /objects", "sync "]
      )
      steps.length = 0
      yield* store.put({ key: "d/e/g" })
      assert.deepStrictEqual(steps.slice(1), ["rename /objects/d/e/g~", "sync /objects/d/e"])
      steps.length = 0
      yield* store.delete("d/e/g")
      assert.deepStrictEqual(steps, ["sync /objects/d/e"])
    })
  )

  it.live("a disk that takes only a part of a write leaves the old object", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const fixture = fileURLToPath(new URL("./fixtures/fullDisk.ts", import.meta.url))
      // Files of this process may not grow beyond 1 MB.
      const output = execFileSync(
        "bash",
        [
          "-c",
          `trap '' XFSZ; ulimit -f 1024; exec "${process.execPath}" --conditions=effect-s3db-source --no-warnings "${fixture}" "${path}"`
        ],
        { encoding: "utf8" }
      )
      assert.strictEqual(output.trim(), "failed, old body")
    })
  )

  it.live("a copy onto itself loses no write that comes in between", () =>
    Effect.gen(function* () {
      const store = yield* FileStore.make({ path: yield* folder, durability: "none" })
      yield* store.put({ key: "k", body: text("0") })
      const increment = Effect.gen(function* () {
        const object = yield* store.get("k")
        yield* store.put({ key: "k", body: text(String(Number(read(object.body)) + 1)), ifMatch: object.etag })
      }).pipe(Effect.retry({ while: (error) => error.reason._tag === "PreconditionFailed" }))
      const copies = Effect.repeat(store.copy({ from: "k", to: "k", metadata: { touched: "1" } }), { times: 100 })
      yield* Effect.all([Effect.repeat(increment, { times: 99 }), copies], { concurrency: 2 })
      assert.strictEqual(read((yield* store.get("k")).body), "100")
    })
  )

  it.live("listing a large directory page by page sees every change", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* FileStore.make({ path, durability: "none" })
      const keys = Array.from({ length: 1500 }, (_, i) => `d/${String(i).padStart(5, "0")}`)
      yield* Effect.forEach(keys, (key) => store.put({ key }), { concurrency: 16 })
      const count = Effect.gen(function* () {
        let [total, token] = [0, undefined as string | undefined]
        do {
          const page = yield* store.list({ prefix: "d/", maxKeys: 100, token, keysOnly: true })
          total += page.entries.length
          token = page.nextToken
        } while (token !== undefined)
        return total
      })
      assert.strictEqual(yield* count, 1500)
      yield* Effect.sleep(80)
      const reads = vi.spyOn(fs, "readdir")
      assert.strictEqual(yield* count, 1500)
      const directoryReads = reads.mock.calls.filter(([directory]) => String(directory).endsWith("/d")).length
      assert.isAtMost(directoryReads, 2)
      vi.restoreAllMocks()
      for (let i = 0; i < 20; i++) {
        yield* store.put({ key: `d/new-${i}` })
        assert.strictEqual(yield* count, 1501 + i)
      }
      const other = yield* FileStore.make({ path, durability: "none" })
      yield* other.deleteMany(keys.slice(0, 3))
      assert.strictEqual(yield* count, 1517)
    })
  )

  describe("the listing of a large directory is kept up", () => {
    const first = Array.from({ length: 1200 }, (_, i) => `d/${String(i).padStart(5, "0")}`)
    const filled = Effect.fnUntraced(function* (path: string) {
      const store = yield* FileStore.make({ path, durability: "none" })
      yield* Effect.forEach(first, (key) => store.put({ key }), { concurrency: 16 })
      return store
    })
    const listed = (store: ObjectStore["Service"]) =>
      Effect.map(Stream.runCollect(listAll(store, { prefix: "d/", keysOnly: true })), (all) =>
        all.map(({ key }) => key)
      )
    const readsOf = (spy: { readonly mock: { readonly calls: ReadonlyArray<ReadonlyArray<unknown>> } }) =>
      spy.mock.calls.filter(([directory]) => String(directory).endsWith("/d")).length

    it.live("by the changes of a process that is alone: it is read once", () =>
      Effect.gen(function* () {
        const store = yield* filled(yield* folder)
        // The first listing begins to look, the second is of a store that is known to be alone.
        yield* listed(store)
        yield* Effect.sleep(tickMillis + 30)
        const reads = vi.spyOn(fs, "readdir")
        const there = new Set(yield* listed(store))
        assert.strictEqual(there.size, first.length)
        for (let round = 0; round < 8; round++) {
          const added = [`d/${round}`, `d/00100-${round}`, `d/below-${round}/x/y`, `d/below-0/${round}`, first[round]!]
          yield* Effect.forEach(added, (key) => store.put({ key }), { concurrency: 5 })
          const gone = [first[round * 7 + 1]!, `d/below-${round - 3}/x/y`, `d/${round - 2}`, "d/never"]
          yield* store.deleteMany(gone)
          for (const key of added) there.add(key)
          for (const key of gone) there.delete(key)
          assert.deepStrictEqual(yield* listed(store), [...there].toSorted())
        }
        assert.isAtMost(readsOf(reads), 1)
        vi.restoreAllMocks()
      })
    )

    it.live("while it is changed as it is read", () =>
      Effect.gen(function* () {
        const store = yield* filled(yield* folder)
        yield* listed(store)
        yield* Effect.sleep(tickMillis + 30)
        const names = Array.from({ length: 30 }, (_, i) => `d/during-${String(i).padStart(2, "0")}`)
        const writing = Effect.forEach(names, (key) =>
          Effect.andThen(store.put({ key }), store.delete(`d/${key.slice(-2).padStart(5, "0")}`))
        )
        yield* Effect.all([writing, listed(store), listed(store)], { concurrency: 3 })
        const expected = [...first.slice(30), ...names].toSorted()
        const reads = vi.spyOn(fs, "readdir")
        assert.deepStrictEqual(yield* listed(store), expected)
        yield* store.put({ key: "d/one-more" })
        assert.deepStrictEqual(yield* listed(store), [...expected, "d/one-more"].toSorted())
        assert.isAtMost(readsOf(reads), 1)
        vi.restoreAllMocks()
      })
    )

    it.live("another process has the store open: each of its changes is seen, however soon after one of ours", () =>
      Effect.gen(function* () {
        const path = yield* folder
        const store = yield* filled(path)
        yield* listed(store)
        yield* Effect.sleep(tickMillis + 30)
        yield* listed(store)
        const other = yield* FileStore.make({ path, durability: "none" })
        const there = new Set(first)
        for (let round = 0; round < 8; round++) {
          yield* store.put({ key: `d/mine-${round}` })
          yield* other.put({ key: `d/theirs-${round}` })
          yield* other.delete(first[round]!)
          for (const key of [`d/mine-${round}`, `d/theirs-${round}`]) there.add(key)
          there.delete(first[round]!)
          assert.deepStrictEqual(yield* listed(store), [...there].toSorted())
        }
      })
    )

    it.live("another process comes, writes and goes between two of our changes", () =>
      Effect.gen(function* () {
        const path = yield* folder
        const store = yield* filled(path)
        yield* listed(store)
        yield* Effect.sleep(tickMillis + 30)
        yield* listed(store)
        const there = new Set(first)
        for (let round = 0; round < 5; round++) {
          yield* store.put({ key: `d/mine-${round}` })
          const visit = Effect.flatMap(FileStore.make({ path, durability: "none" }), (other) =>
            other.put({ key: `d/theirs-${round}` })
          )
          yield* Effect.scoped(visit)
          yield* store.put({ key: `d/after-${round}` })
          for (const who of ["mine", "theirs", "after"]) there.add(`d/${who}-${round}`)
          assert.deepStrictEqual(yield* listed(store), [...there].toSorted())
        }
      })
    )

    const between: Readonly<Record<string, (path: string, write: () => void) => void>> = {
      "of a process that has the store open": (_, write) => write(),
      "of a process that comes and goes within it": (path, write) => {
        const session = join(path, "tmp", "of-another")
        fs.mkdirSync(session)
        write()
        fs.rmdirSync(session)
      }
    }
    for (const [whose, act] of Object.entries(between)) {
      it.live(`a change ${whose}, in the very moment of one of ours`, () =>
        Effect.gen(function* () {
          const path = yield* folder
          const store = yield* filled(path)
          yield* listed(store)
          yield* Effect.sleep(tickMillis + 30)
          yield* listed(store)
          if (whose.includes("has the store open")) {
            yield* FileStore.make({ path, durability: "none" })
            yield* Effect.sleep(tickMillis + 30)
            yield* listed(store)
          }
          const { renameSync } = fs
          const directory = join(path, "objects", "d")
          vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
            renameSync(from, to)
            act(path, () => fs.copyFileSync(join(directory, "00000~"), join(directory, "between~")))
          })
          yield* store.put({ key: "d/mine" })
          vi.restoreAllMocks()
          assert.deepStrictEqual(yield* listed(store), [...first, "d/between", "d/mine"].toSorted())
        })
      )
    }

    it.live("what somebody does to the files by hand is seen", () =>
      Effect.gen(function* () {
        const path = yield* folder
        const store = yield* filled(path)
        yield* listed(store)
        yield* Effect.sleep(tickMillis + 30)
        yield* listed(store)
        yield* store.put({ key: "d/mine" })
        yield* listed(store)
        yield* Effect.sleep(tickMillis)
        fs.rmSync(join(path, "objects", "d", "00000~"))
        assert.deepStrictEqual(yield* listed(store), [...first.slice(1), "d/mine"].toSorted())
      })
    )
  })

  it.live("a delimiter after a position groups only what is ahead", () =>
    Effect.gen(function* () {
      const store = yield* FileStore.make({ path: yield* folder, durability: "none" })
      for (const key of ["a/b", "c/d/e", "c/d/f", "z"]) yield* store.put({ key })
      const page = (startAfter: string) =>
        Effect.map(store.list({ delimiter: "/", startAfter }), ({ commonPrefixes, entries }) => [
          ...commonPrefixes,
          ...entries.map(({ key }) => key)
        ])
      assert.deepStrictEqual(yield* page("a/b"), ["c/", "z"])
      assert.deepStrictEqual(yield* page("c/d/e"), ["c/", "z"])
      assert.deepStrictEqual(yield* page("c/d/f"), ["z"])
    })
  )

  it.live("many requests at once in a process that may open few files", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const fixture = fileURLToPath(new URL("./fixtures/fewDescriptors.ts", import.meta.url))
      const command = `ulimit -n 256 && exec "$0" --conditions=effect-s3db-source --no-warnings "$@"`
      const output = yield* Effect.promise(() =>
        promisify(execFile)("sh", ["-c", command, process.execPath, fixture, path, "1000"], { encoding: "utf8" })
      )
      const { taken, ...told } = JSON.parse(output.stdout) as { readonly taken: number }
      assert.deepStrictEqual(told, { failures: [], writes: 1000, lists: 20 })
      assert.isAbove(taken, 0)
    })
  )

  it.live("refuses a folder that it cannot read, and one that is something else", () =>
    Effect.gen(function* () {
      const path = yield* folder
      fs.writeFileSync(join(path, "store.json"), '{"format":"other"}')
      assert.strictEqual(yield* reasonOf(Effect.scoped(FileStore.make({ path }))), "Unsupported")
      assert.deepStrictEqual(fs.readdirSync(path), ["store.json"])
      fs.writeFileSync(join(path, "file"), "")
      for (const below of ["file", "file/data"]) {
        const error = yield* Effect.flip(Effect.scoped(FileStore.make({ path: join(path, below) })))
        assert.strictEqual(
          error.message,
          `open failed: InvalidArgument: ${join(path, below)} is a file, or below one: a store is a folder`
        )
      }
      // Where it cannot be made it ends, and says so.
      for (const nowhere of process.platform === "linux" ? ["/proc/s3db", "/proc/s3db/data"] : []) {
        const { operation, reason } = yield* Effect.flip(Effect.scoped(FileStore.make({ path: nowhere })))
        assert.deepStrictEqual([operation, reason._tag], ["open", "InvalidArgument"])
        assert.include(reason.description, `${nowhere} cannot be made`)
      }
      // Anything else would be taken for "none".
      for (const wrong of [{ durability: "sync" as "fsync" }, { compression: "br" as "gzip" }]) {
        const { reason } = yield* Effect.flip(Effect.scoped(FileStore.make({ path, ...wrong })))
        assert.strictEqual(reason._tag === "InvalidArgument" && reason.argument, Object.keys(wrong)[0])
      }
      for (const empty of ["", "a\0b"]) {
        const { operation, reason } = yield* Effect.flip(Effect.scoped(FileStore.make({ path: empty })))
        assert.deepStrictEqual([operation, reason._tag], ["open", "InvalidArgument"])
      }
      fs.rmSync(join(path, "store.json"))
      const error = yield* Effect.flip(Effect.scoped(FileStore.make({ path })))
      assert.strictEqual(
        error.message,
        `open failed: Unsupported: ${path} holds other files: name a folder that is new, empty, or a store already`
      )
      assert.deepStrictEqual(fs.readdirSync(path), ["file"])
      fs.rmSync(join(path, "file"))
      fs.writeFileSync(join(path, ".keep"), "")
      const bad = vi.spyOn(fs, "renameSync")
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      const store = yield* FileStore.make({ path })
      for (const [code, reason] of [
        ["EACCES", "AccessDenied"],
        ["ENOSPC", "Unavailable"],
        ["EIO", "Unavailable"],
        ["ENAMETOOLONG", "KeyTooLong"],
        ["EWEIRD", "Unexpected"]
      ] as const) {
        bad.mockImplementationOnce(() => {
          throw Object.assign(new Error(code), { code })
        })
        assert.strictEqual(yield* reasonOf(store.put({ key: "k" })), reason)
      }
      assert.deepStrictEqual((yield* store.list()).entries, [])
      const [session] = fs.readdirSync(join(path, "tmp")).filter((name) => !name.endsWith(".lock"))
      assert.deepStrictEqual(fs.readdirSync(join(path, "tmp", session!)), [])
    })
  )
})
