import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as BoundedStore from "effect-s3db/storage/BoundedStore"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as SingleWriterStore from "effect-s3db/storage/SingleWriterStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import { isStoreError, type StoreError } from "effect-s3db/storage/StoreError"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"

const text = (value: string) => new TextEncoder().encode(value)
const reasonOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

describe("MemoryStore", () => {
  it.effect(
    "metadata of the names of the request before is taken, and refused, as by a store that sees them first",
    () =>
      Effect.gen(function* () {
        const values = [
          "",
          "a",
          " a",
          "a ",
          "a b",
          "a\nb",
          "\n",
          "\t",
          "\u007f",
          "é",
          "~",
          "!",
          "x".repeat(600),
          "x".repeat(1100)
        ]
        const keys = ["k", "k".repeat(300), "\u{1f600}".repeat(250)]
        const profiles = ["aws", "r2", "rgw", "swift", "unconditional"] as const
        const outcome = (store: ObjectStore["Service"], key: string, metadata: Record<string, string>) =>
          store.put({ key, metadata }).pipe(
            Effect.andThen(store.head(key)),
            Effect.match({
              onSuccess: ({ metadata }) => ({ ...metadata }),
              onFailure: ({ message, reason }) => [reason._tag, message]
            })
          )
        for (const profile of profiles) {
          for (const names of [["a"], ["0", "1", "s-"], ["A", "b"], ["under_score", "c"]]) {
            const usual = Object.fromEntries(names.map((name) => [name, "v"]))
            const tried = [
              ...values.flatMap((value) => names.map((name) => ({ ...usual, [name]: value }))),
              ...values.map((value) => Object.fromEntries(names.map((name) => [name, value]))),
              { ...usual, more: "1" },
              Object.fromEntries(names.slice(1).map((name) => [name, "v"])),
              Object.fromEntries(names.toReversed().map((name, i) => [name, String(i)])),
              {}
            ]
            for (const [i, metadata] of tried.entries()) {
              const key = `${keys[i % keys.length]}${i}`
              const [fresh, other] = [yield* MemoryStore.make({ profile }), yield* MemoryStore.make({ profile })]
              // Of other names, so that none has been seen by the store that says what is right.
              yield* fresh.store.put({ key: "before", metadata: { z: "1" } })
              const right = yield* outcome(fresh.store, key, metadata)
              yield* other.store.put({ key: "before", metadata: usual })
              yield* other.store.put({ key: "once more", metadata: usual })
              assert.deepStrictEqual(
                yield* outcome(other.store, key, metadata),
                right,
                JSON.stringify([profile, metadata])
              )
            }
          }
        }
      })
  )

  it.effect(
    "keys of any characters that come from a file are listed in the order of their bytes, and are gone once deleted",
    () =>
      Effect.gen(function* () {
        const path = join(mkdtempSync(join(tmpdir(), "s3db-memory-")), "store.json")
        const keys = ["\uff01x", "\u{1f600}y", "\ue000z", "\u{1f601}", "\ufffd", "\u{10000}", "\ue001", "plain"]
        const first = yield* MemoryStore.make()
        for (const key of keys) yield* first.store.put({ key })
        yield* first.control.saveToDisk(path)
        const { control, store } = yield* MemoryStore.make()
        yield* control.loadFromDisk(path)
        const listed = Effect.map(store.list(), ({ entries }) => entries.map(({ key }) => key))
        const inOrder = (some: ReadonlyArray<string>) =>
          some.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        assert.deepStrictEqual(yield* listed, inOrder(keys))
        yield* store.put({ key: "\u{1f602}new" })
        yield* store.delete("\u{1f600}y")
        assert.deepStrictEqual(yield* listed, inOrder([...keys.filter((key) => key !== "\u{1f600}y"), "\u{1f602}new"]))
        assert.deepStrictEqual(yield* control.stats, { objects: 8, bytes: 0 })
        rmSync(path)
      })
  )

  it.effect(
    "short bodies and long ones are the same to whoever writes and reads them, and belong to the store alone",
    () =>
      Effect.gen(function* () {
        const path = join(mkdtempSync(join(tmpdir(), "s3db-memory-")), "store.json")
        const { control, store } = yield* MemoryStore.make()
        const { control: other, store: loaded } = yield* MemoryStore.make()
        for (const size of [0, 1, 20, 63, 64, 65, 300]) {
          const body = Uint8Array.from({ length: size }, (_, i) => 255 - (i % 256))
          const expected = body.slice()
          yield* store.put({ key: "a", body })
          body.fill(7)
          const first = yield* store.get("a")
          assert.deepStrictEqual(first.body, expected)
          first.body.fill(9)
          yield* store.copy({ from: "a", to: "b" })
          assert.strictEqual((yield* store.head("b")).etag, first.etag)
          yield* control.saveToDisk(path)
          yield* other.loadFromDisk(path)
          for (const one of [store, loaded]) {
            const found = yield* one.get("b")
            assert.deepStrictEqual([found.body, found.size, found.etag], [expected, size, first.etag])
            if (size === 0) continue
            const { body: last } = yield* one.get("a", { range: { start: size - 1, end: size - 1 } })
            assert.deepStrictEqual(last, expected.slice(-1))
          }
          assert.deepStrictEqual(yield* control.stats, { objects: 2, bytes: 2 * size })
        }
        rmSync(path)
      })
  )

  it.effect("snapshots share nothing that changes", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      yield* store.put({ key: "a", body: text("1") })
      const snapshot = yield* control.snapshot
      yield* store.put({ key: "a", body: text("22") })
      yield* store.put({ key: "b" })
      assert.deepStrictEqual(yield* control.stats, { objects: 2, bytes: 2 })
      yield* control.restore(snapshot)
      assert.deepStrictEqual(yield* control.stats, { objects: 1, bytes: 1 })
      yield* store.put({ key: "c" })
      yield* control.restore(snapshot)
      assert.deepStrictEqual(
        (yield* store.list()).entries.map((entry) => entry.key),
        ["a"]
      )
      yield* control.clear
      assert.deepStrictEqual(yield* control.stats, { objects: 0, bytes: 0 })
    })
  )

  const keyPieces = ["a", "b", "/", "=", "\ud7ff", "\ue000", "\u{10000}", "\u{10ffff}"]
  const keyOf = Schema.Array(Schema.Literals(keyPieces)).check(Schema.isMinLength(1), Schema.isMaxLength(4))
  it.effect.prop(
    "lists what begins with a prefix and comes after a key, page by page, as the sorted keys have it",
    [
      Schema.Array(keyOf).check(Schema.isMaxLength(30)),
      Schema.Array(Schema.Literals(keyPieces)).check(Schema.isMaxLength(2)),
      Schema.NullOr(keyOf),
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
    ],
    ([names, start, after, maxKeys]) =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        const keys = [...new Set(names.map((name) => name.join("")))]
        for (const key of keys) yield* store.put({ key, body: text(key) })
        const prefix = start.join("")
        const startAfter = after?.join("")
        const bytes = (key: string) => Buffer.from(key)
        const expected = keys
          .filter((key) => key.startsWith(prefix))
          .filter((key) => startAfter === undefined || Buffer.compare(bytes(key), bytes(startAfter)) > 0)
          .toSorted((a, b) => Buffer.compare(bytes(a), bytes(b)))
        const listed: Array<string> = []
        let token: string | undefined
        do {
          const page = yield* store.list({ prefix, startAfter, maxKeys, token })
          assert.isAtMost(page.entries.length, maxKeys)
          for (const { key, size } of page.entries) {
            listed.push(key)
            assert.strictEqual(size, bytes(key).length)
          }
          token = page.nextToken
        } while (token !== undefined)
        assert.deepStrictEqual(listed, expected)
        const whole = yield* store.list({ prefix, startAfter, keysOnly: true })
        assert.deepStrictEqual(
          whole.entries,
          expected.map((key) => ({ key }))
        )
      })
  )

  it.live("goes to disk and comes back", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "effect-s3db-memory-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const persistPath = join(folder, "store.json")
      const session = <A, E>(use: Effect.Effect<A, E, ObjectStore>) =>
        Effect.provide(use, MemoryStore.layerWith({ persistPath }))
      const object = { key: "k\u{1f600}", body: Uint8Array.of(0, 255), metadata: { a: "b" }, contentEncoding: "gzip" }
      yield* session(Effect.flatMap(ObjectStore, (store) => store.put(object)))
      const read = yield* session(Effect.flatMap(ObjectStore, (store) => store.get(object.key)))
      assert.deepStrictEqual([[...read.body], read.metadata, read.contentEncoding], [[0, 255], { a: "b" }, "gzip"])
      const { control } = yield* MemoryStore.make()
      assert.strictEqual(yield* reasonOf(control.loadFromDisk(join(folder, "missing"))), "NoSuchKey")
      assert.strictEqual(yield* reasonOf(control.saveToDisk(join(folder, "missing", "x"))), "InvalidArgument")
      writeFileSync(persistPath, '{"format":')
      assert.strictEqual(yield* reasonOf(Effect.scoped(MemoryStore.make({ persistPath }))), "Corrupt")
    })
  )

  it.live("a file that cannot be written is told of at the start, and one that no longer can be, at the end", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "effect-s3db-memory-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      writeFileSync(join(folder, "file"), "")
      const open = (persistPath: string) => Effect.flip(Effect.scoped(MemoryStore.make({ persistPath })))
      const wrong: ReadonlyArray<readonly [string, string]> = [
        [join(folder, "no", "such.bin"), `the folder of ${join(folder, "no", "such.bin")} does not exist: create it`],
        [join(folder, "file", "x.bin"), `${join(folder, "file", "x.bin")} is below a file: name a file in a folder`],
        [folder, `${folder} is a folder: name a file in it`],
        ["", "the path of a file is missing"]
      ]
      for (const [path, description] of wrong) {
        const { reason } = yield* open(path)
        assert.deepStrictEqual([reason._tag, reason.description], ["InvalidArgument", description])
      }
      const url = `memory://b?persistPath=${join(folder, "no", "such.bin")}`
      assert.strictEqual((yield* Effect.flip(Layer.build(ConnectionString.layer(url))))._tag, "StoreError")
      // Nothing is left of the try.
      yield* Effect.scoped(MemoryStore.make({ persistPath: join(folder, "good.bin") }))
      assert.deepStrictEqual(readdirSync(folder).toSorted(), ["file", "good.bin"])

      const later = join(folder, "later")
      mkdirSync(later)
      const exit = yield* Effect.exit(
        Effect.scoped(
          Effect.gen(function* () {
            const { store } = yield* MemoryStore.make({ persistPath: join(later, "x.bin") })
            yield* store.put({ key: "k" })
            rmSync(later, { recursive: true })
            return "done"
          })
        )
      )
      assert.isTrue(Exit.isFailure(exit))
      const [reason] = Exit.isFailure(exit) ? exit.cause.reasons : []
      const died = reason?._tag === "Die" ? reason.defect : undefined
      assert.isTrue(isStoreError(died) && died.reason._tag === "InvalidArgument" && died.operation === "put")
    })
  )

  it.effect("options that cannot be are refused", () =>
    Effect.gen(function* () {
      for (const maxBytes of [0, -1, NaN, 1.5]) {
        assert.strictEqual(yield* reasonOf(Effect.scoped(MemoryStore.make({ maxBytes }))), "InvalidArgument")
      }
      assert.strictEqual(
        yield* reasonOf(Effect.scoped(MemoryStore.make({ profile: "minio" as "aws" }))),
        "InvalidArgument"
      )
      const { store } = yield* MemoryStore.make()
      const wrong: ReadonlyArray<readonly [string, StandardStore.Options]> = [
        ["concurrency", { concurrency: 0 }],
        ["concurrency", { concurrency: NaN }],
        ["timeout", { timeout: 0 }],
        ["timeout", { timeout: -1 }],
        ["timeout", { timeout: NaN }],
        ["timeout", { timeout: "5 bananas" as "5 seconds" }],
        ["retries", { retries: -1 }],
        ["retries", { retries: 1.5 }],
        ["retryFor", { retryFor: "-3 seconds" }],
        ["baseDelay", { baseDelay: 0 }],
        ["maxDelay", { maxDelay: 0 }],
        ["prefix", { prefix: "x".repeat(769) }],
        ["prefix", { prefix: "\ud800" }],
        ["prefix", { prefix: "a\0b" }]
      ]
      for (const [argument, options] of wrong) {
        const { operation, reason } = yield* Effect.flip(StandardStore.make(store, options))
        assert.deepStrictEqual([operation, reason._tag], ["open", "InvalidArgument"])
        assert.strictEqual(reason._tag === "InvalidArgument" && reason.argument, argument)
      }
      yield* StandardStore.make(store, { retryFor: 0, timeout: Infinity, retries: 0, concurrency: 1, prefix: "/a/" })
    })
  )

  it.effect("is full rather than forgetful", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ maxBytes: 10 })
      yield* store.put({ key: "a", body: new Uint8Array(8) })
      assert.strictEqual(yield* reasonOf(store.put({ key: "b", body: new Uint8Array(3) })), "Unavailable")
      yield* store.put({ key: "a", body: new Uint8Array(10) })
      assert.strictEqual((yield* store.list()).entries.length, 1)
    })
  )

  it.live(
    "a page of 1,000 among 100,000 keys costs what the page costs",
    () =>
      Effect.gen(function* () {
        const { control, store } = yield* MemoryStore.make()
        yield* store.put({ key: "seed" })
        const { tree } = yield* control.snapshot
        const value = tree.get("seed")!
        for (let i = 0; i < 100_000; i++) tree.set(`p${i % 100}/${i}`, value)
        yield* control.restore({ tree, bytes: 0 })
        // The walk is counted, not timed.
        let visited = 0
        const { forRange, getPairOrNextHigher, nextHigherPair } = tree
        const counted = Object.assign(Object.create(Object.getPrototypeOf(tree)), tree, {
          clone: () => counted,
          forRange: (...[low, high, includeHigh, onFound]: Parameters<typeof forRange>) =>
            tree.forRange(low, high, includeHigh, (key, value, counter) => {
              visited += 1
              return onFound?.(key, value, counter)
            }),
          getPairOrNextHigher: (...args: Parameters<typeof getPairOrNextHigher>) => {
            visited += 1
            return getPairOrNextHigher.apply(tree, args)
          },
          nextHigherPair: (...args: Parameters<typeof nextHigherPair>) => {
            visited += 1
            return nextHigherPair.apply(tree, args)
          }
        })
        yield* control.restore({ tree: counted, bytes: 0 })
        const page = yield* store.list({ prefix: "p50/" })
        assert.strictEqual(page.entries.length, 1000)
        assert.isAtLeast(visited, 1000)
        assert.isBelow(visited, 1010)
        visited = 0
        const groups = yield* store.list({ delimiter: "/", maxKeys: 1000 })
        assert.strictEqual(groups.commonPrefixes.length, 100)
        assert.isBelow(visited, 110)
        visited = 0
        yield* store.list({
          prefix: "p50/",
          token: (yield* store.list({ prefix: "p50/", maxKeys: 10 })).nextToken,
          maxKeys: 10
        })
        assert.isBelow(visited, 40)
      }),
    120_000
  )

  it.effect("imitates other stores", () =>
    Effect.gen(function* () {
      const { store: r2 } = yield* MemoryStore.make({ profile: "r2" })
      yield* r2.put({ key: "k", metadata: { big: "x".repeat(5000) } })
      assert.strictEqual(yield* reasonOf(r2.put({ key: "k" })), "Throttled")
      assert.strictEqual(yield* reasonOf(r2.copy({ from: "k", to: "k", metadata: {} })), "Throttled")
      yield* TestClock.adjust("1 second")
      yield* r2.put({ key: "k" })
      const { store: swift } = yield* MemoryStore.make({ profile: "swift" })
      assert.strictEqual(yield* reasonOf(swift.put({ key: "k", ifMatch: "x" })), "Unsupported")
      assert.strictEqual(yield* reasonOf(swift.put({ key: "k", metadata: { a: "x".repeat(257) } })), "MetadataTooLarge")
      const { store: rgw } = yield* MemoryStore.make({ profile: "rgw" })
      yield* rgw.put({ key: "k", metadata: { under_score: "1" } })
      assert.deepStrictEqual({ ...(yield* rgw.head("k")).metadata }, { "under-score": "1" })
      yield* rgw.delete("k", { ifMatch: "stale" })
      assert.strictEqual(yield* reasonOf(rgw.head("k")), "NoSuchKey")
      const { store: express } = yield* MemoryStore.make({ profile: "express" })
      assert.strictEqual(yield* reasonOf(express.list({ startAfter: "a" })), "InvalidArgument")
    })
  )
})

describe("decorators", () => {
  it.effect("lets others pass before a write, and between reads only where somebody has written of late", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      yield* store.put({ key: "k", body: text("0") })
      const both = (of: (name: string) => Effect.Effect<unknown, StoreError>) =>
        Effect.all(
          ["a", "b"].map((name) => Effect.result(of(name))),
          { concurrency: 2 }
        )
      const order: Array<string> = []
      const read = (name: string) => Effect.tap(store.get("k"), () => Effect.sync(() => order.push(name)))
      const reads = Effect.map(
        both((name) => Effect.andThen(read(name), read(name))),
        () => order.splice(0).join("")
      )
      assert.strictEqual(yield* reads, "abab")
      for (let i = 0; i < 16; i++) yield* store.head("k")
      assert.strictEqual(yield* reads, "aabb")
      // Both have read before one of them writes, as where they are far away.
      const written = yield* both((name) =>
        Effect.flatMap(store.get("k"), ({ etag }) => store.put({ key: "k", body: text(name), ifMatch: etag }))
      )
      assert.deepStrictEqual(
        written.map(({ _tag }) => _tag),
        ["Success", "Failure"]
      )
      assert.strictEqual(yield* reads, "abab")
    })
  )

  it.effect("a request that takes too long is cancelled", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      let cancelled = 0
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => (cancelled += 1)))
      const slow = TimeoutStore.make(
        { ...store, get: () => never, list: () => never, deleteMany: () => never },
        { timeout: "3 seconds" }
      )
      for (const request of [slow.get("k"), slow.list(), slow.deleteMany([])]) {
        const fiber = yield* Effect.forkChild(Effect.flip(request as Effect.Effect<unknown, StoreError>))
        yield* TestClock.adjust("3 seconds")
        const error = yield* Fiber.join(fiber)
        assert.deepStrictEqual([error.reason._tag, error.outcome], ["Timeout", "unknown"])
      }
      assert.strictEqual(cancelled, 3)
    })
  )

  it.effect("no more requests at once than allowed", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      let [now, most] = [0, 0]
      const measured = yield* BoundedStore.make(
        {
          ...store,
          head: (key) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                now += 1
                most = Math.max(most, now)
              }),
              () => Effect.andThen(Effect.sleep(10), store.head(key)),
              () => Effect.sync(() => (now -= 1))
            )
        },
        { concurrency: 3 }
      )
      yield* store.put({ key: "k" })
      const fiber = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 20 }), () => measured.head("k"), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(most, 3)
    })
  )

  it.effect("counts and measures every request", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const counter = yield* InstrumentedStore.RequestCounter
      yield* store.put({ key: "k" })
      yield* Effect.flip(store.get("missing"))
      yield* store.deleteMany(Array.from({ length: 2500 }, (_, i) => `k${i}`))
      const counts = yield* counter.counts
      assert.deepStrictEqual([counts.put, counts.get, counts.deleteMany, counts.head], [1, 1, 3, 0])
      yield* counter.reset
      assert.strictEqual((yield* counter.counts).put, 0)
      const failures = yield* Metric.value(
        Metric.withAttributes(InstrumentedStore.requests, { operation: "get", outcome: "NoSuchKey" })
      )
      assert.strictEqual(failures.count, 1)
      const died = InstrumentedStore.make({ ...store, head: () => Effect.die("bug"), list: () => Effect.interrupt })
      yield* Effect.exit(died.store.head("k"))
      yield* Effect.exit(died.store.list())
      assert.strictEqual((yield* died.counter.counts).head, 1)
    }).pipe(
      Effect.provide(InstrumentedStore.layer.pipe(Layer.provide(Layer.fresh(MemoryStore.layer)))),
      // Metrics of its own: other tests count their requests, too.
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  )

  it.effect("a prefix is a store of its own", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      assert.strictEqual(PrefixedStore.make(store, "/"), store)
      const part = PrefixedStore.make(store, "/a/b/")
      yield* part.put({ key: "k" })
      yield* store.put({ key: "a/bc" })
      assert.deepStrictEqual(
        (yield* store.list()).entries.map((entry) => entry.key),
        ["a/b/k", "a/bc"]
      )
      assert.deepStrictEqual(
        (yield* part.list()).entries.map((entry) => entry.key),
        ["k"]
      )
      assert.strictEqual((yield* Effect.flip(part.get("missing"))).key, "missing")
      assert.strictEqual((yield* part.head("k")).key, "k")
      const failed = yield* part.deleteMany(["k", "\ud800"])
      assert.deepStrictEqual(
        failed.failed.map(({ key }) => key),
        ["\ud800"]
      )
    })
  )

  it.effect("a single writer's copies and deletes keep their conditions", () =>
    Effect.gen(function* () {
      const { store: raw } = yield* MemoryStore.make({ profile: "unconditional" })
      const store = yield* SingleWriterStore.make(raw)
      const { etag } = yield* store.put({ key: "a", body: text("1") })
      yield* store.copy({ from: "a", to: "b", ifSourceMatch: etag })
      yield* store.copy({ from: "a", to: "c" })
      assert.strictEqual(
        yield* reasonOf(store.copy({ from: "a", to: "b", ifSourceMatch: "stale" })),
        "PreconditionFailed"
      )
      assert.strictEqual(yield* reasonOf(store.delete("a", { ifMatch: "stale" })), "PreconditionFailed")
      yield* store.delete("a", { ifMatch: etag })
      assert.strictEqual(yield* reasonOf(store.delete("a", { ifMatch: etag })), "PreconditionFailed")
      assert.strictEqual(yield* reasonOf(store.put({ key: "x", ifMatch: "a", ifNoneMatch: "*" })), "InvalidArgument")
    })
  )
})
