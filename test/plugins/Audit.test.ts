import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Document from "effect-s3db/Document"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as WriteContext from "effect-s3db/WriteContext"
import { Database } from "effect-s3db/Database"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Journal from "effect-s3db/kernel/Journal"
import * as Plugin from "effect-s3db/Plugin"
import * as Audit from "effect-s3db/plugins/Audit"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { truncate } from "../../src/plugins/audit/truncate.ts"
import { crashing, drive, keysOf, memory, moments, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
const user = { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" } as const
const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)
/** The log of the journal, as a journaler appends to it. */
const journalOf = (store: Store) => AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record })

const record = (i: number, more: Partial<Journal.Record> = {}): Journal.Record => ({
  resource: "orders",
  id: `${i}`,
  kind: "insert",
  writeId: `write-${String(i).padStart(6, "0")}`,
  time: i * 1000,
  ...more
})

const open = Effect.fnUntraced(function* (store: Store, options: Audit.Options = {}, through = store) {
  const { database } = yield* openOn(store)
  const audit = yield* Effect.provideService(Audit.make(options), Database, { ...database, store: through })
  return { audit, database }
})
type Trail = Effect.Success<ReturnType<typeof open>>["audit"]

const caughtUp = (audit: Trail) => Effect.flatMap(Effect.forkChild(audit.caughtUp), (fiber) => drive(fiber))
const all = (audit: Trail, filter?: Audit.Filter) => Stream.runCollect(audit.query(filter))

/** Lets time pass, and what is done elsewhere go on. */
const steps = (count: number) =>
  Effect.forEach(range(count), () => Effect.andThen(settled, TestClock.adjust("1 second")), { discard: true })

describe("Audit", () => {
  it.effect(
    "has what the journal has, with who it was, before and after; found by document, operation, time and user",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { audit, database } = yield* open(store, { resources: { block: ["sessions"] } })
        const context = { user: "ana", request: "r-1" }
        yield* journalOf(store).append([
          record(0, { id: "a/b", context, after: { v: 1 } }),
          record(1, { resource: "sessions" }),
          record(2, { id: "a/b", kind: "update", before: { v: 1 }, after: { v: 2 }, context: { user: "__proto__" } }),
          record(3, { resource: "orders_archive", id: "a/b" }),
          record(4, { resource: "plg_notes", id: "a/b" }),
          record(5, { id: "a/b", kind: "delete", before: { v: 2 }, context: { user: 7, ip: "::1" }, time: -5 })
        ])
        yield* caughtUp(audit)
        const history = yield* Stream.runCollect(audit.history("orders", "a/b"))
        assert.deepStrictEqual(
          history.map(({ after, before, context, journal, operation, position, user }) => ({
            position,
            journal,
            operation,
            user,
            context,
            before,
            after
          })),
          [
            {
              position: 0,
              journal: 0,
              operation: "insert",
              user: "ana",
              context: { request: "r-1" },
              before: undefined,
              after: { v: 1 }
            },
            {
              position: 1,
              journal: 2,
              operation: "update",
              user: "__proto__",
              context: undefined,
              before: { v: 1 },
              after: { v: 2 }
            },
            {
              position: 3,
              journal: 5,
              operation: "delete",
              user: undefined,
              context: { user: 7, ip: "::1" },
              before: { v: 2 },
              after: undefined
            }
          ]
        )
        const found = (filter: Audit.Filter) =>
          Effect.map(all(audit, filter), (some) => some.map(({ journal }) => journal))
        assert.deepStrictEqual(yield* found({}), [0, 2, 3, 5])
        assert.deepStrictEqual(yield* found({ resource: "orders_archive" }), [3])
        assert.deepStrictEqual(yield* found({ operation: "delete" }), [5])
        assert.deepStrictEqual(yield* found({ user: "ana" }), [0])
        assert.deepStrictEqual(yield* found({ user: "an" }), [])
        // Both ends belong to it.
        assert.deepStrictEqual(yield* found({ since: 2000, until: 3000 }), [2, 3])
        assert.deepStrictEqual(yield* found({ from: 2, resource: "orders" }), [5])
        assert.deepStrictEqual(yield* Stream.runCollect(audit.history("orders", "nobody")), [])
        assert.deepStrictEqual(yield* audit.stats({ resource: "orders" }), {
          total: 3,
          byOperation: { insert: 1, update: 1, delete: 1 },
          byResource: { orders: 3 },
          byUser: Object.fromEntries([
            ["ana", 1],
            ["__proto__", 1]
          ]),
          byDay: { "1970-01-01": 2, "1969-12-31": 1 }
        })
        assert.strictEqual(yield* audit.lag, 0)
        const status = yield* audit.status
        assert.deepStrictEqual([status.first, status.next, status.journal], [0, 4, 6])
        const [told] = yield* Effect.provideService(Plugin.statuses, Database, database)
        assert.deepStrictEqual([told?.slug, told?.health.level, told?.counters["recorded"]], ["audit", "up", 4])
      }).pipe(Effect.scoped)
  )

  it.effect("from the write to the trail: who, before and after, also of transactions; secrets are sealed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open: openResource } = yield* openOn(store)
      const users = yield* openResource("users", {
        schema: Schema.Struct({ id: Schema.String, name: Schema.String, token: Attribute.Secret(Schema.String) }),
        primaryKey: "id",
        journal: { images: "both", context: true }
      }).pipe(Effect.provide(ring))
      const as = (id: string) => Effect.provideService(CurrentUser.CurrentUser, CurrentUser.make(id))
      yield* users.insert({ id: "1", name: "Ada", token: Redacted.make("hush-hush") }).pipe(as("ana"))
      yield* users
        .update("1", { name: "Ada L." })
        .pipe(as("bo"), Effect.provideService(WriteContext.WriteContext, { request: "r-7" }))
      yield* database.transaction(users.delete("1")).pipe(as("ana"))
      yield* Effect.exit(users.update("1", { name: "nobody" }))
      yield* drive(yield* Effect.forkChild(database.journal.catchUp(database.journaled, { nobodyWrites: true })))
      const audit = yield* Effect.provideService(Audit.make(), Database, database)
      yield* caughtUp(audit)
      const history = yield* Stream.runCollect(audit.history("users", "1"))
      assert.deepStrictEqual(
        history.map(({ after, before, context, operation, user }) => [
          operation,
          user,
          context,
          before !== undefined,
          after !== undefined
        ]),
        [
          ["insert", "ana", undefined, false, true],
          ["update", "bo", { request: "r-7" }, true, true],
          ["delete", "ana", undefined, true, false]
        ]
      )
      const { after, before } = history[1]!
      assert.include(JSON.stringify(before), "Ada")
      assert.include(JSON.stringify(after), "Ada L.")
      assert.notInclude(JSON.stringify(history), "hush-hush")
      assert.isTrue(Result.isSuccess(Document.fromImage(after!)))
      assert.strictEqual((yield* audit.verify()).next, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("2,500 records are 2,500 entries, once, also of two processes that take turns; requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter, store } = InstrumentedStore.make(inner)
      yield* journalOf(inner).append(range(2500).map((i) => record(i)))
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(open(store), scope)
      const second = yield* open(store)
      yield* caughtUp(second.audit)
      yield* Scope.close(scope, Exit.void)
      yield* journalOf(inner).append(range(100, 2500).map((i) => record(i)))
      yield* caughtUp(second.audit)
      const entries = yield* all(first.audit)
      assert.deepStrictEqual(
        entries.map(({ journal }) => journal),
        range(2600)
      )
      yield* counter.reset
      yield* all(first.audit, { operation: "delete" })
      const { get, list, put } = yield* counter.counts
      // The manifest, three appends of 1,000 and less, and one.
      assert.deepStrictEqual({ get, list, put }, { get: 5, list: 0, put: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("what is asked for of one user or document reads what came with it, not the whole trail; requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { audit } = yield* open(store, { lease: "1 hour" })
      const [batches, size] = [50, 40]
      for (const b of range(batches)) {
        const context = { user: b === 17 ? "bo" : "ana" }
        yield* journalOf(store).append(range(size, b * size).map((i) => record(i, { context })))
        // In an hour without anything new the trail would be compacted: that much time does not pass in small steps.
        yield* drive(yield* Effect.forkChild(audit.caughtUp), "10 millis")
      }
      const read = Effect.fnUntraced(function* (stream: ReturnType<Trail["query"]>) {
        yield* counter.reset
        const found = yield* Stream.runCollect(stream)
        return [found.length, (yield* counter.counts).get] as const
      })
      assert.deepStrictEqual(yield* read(audit.query()), [batches * size, 1 + batches])
      const [ofBo, forBo] = yield* read(audit.query({ user: "bo" }))
      const [ofOne, forOne] = yield* read(audit.history("orders", "1234"))
      const [ofOther, forOther] = yield* read(audit.query({ resource: "users" }))
      assert.deepStrictEqual([ofBo, ofOne, ofOther], [size, 1, 0])
      // The manifest, what has it, and what seems to.
      for (const get of [forBo, forOne, forOther]) assert.isAtMost(get, 2 + 3)
      const [ofAna, forAna] = yield* read(audit.query({ user: "ana" }))
      assert.strictEqual(ofAna, (batches - 1) * size)
      assert.isAtMost(forAna, 1 + batches)
    }).pipe(Effect.scoped, Random.withSeed("terms"))
  )

  it.effect("a crash at any request: each record is in the trail once, in order", () =>
    Effect.gen(function* () {
      let requests = 0
      for (let at = 1, isOver = false; !isOver; at++) {
        for (const when of moments) {
          const store = yield* memory
          yield* openOn(store)
          yield* journalOf(store).append(range(3).map((i) => record(i)))
          yield* journalOf(store).append(range(2, 3).map((i) => record(i)))
          const dying = crashing(store, at, when)
          yield* Effect.exit(
            Effect.scoped(
              Effect.gen(function* () {
                const { audit } = yield* open(store, {}, dying.store)
                yield* audit.status
                const trail = AppendLog.make(store, { prefix: "plugin=audit/trail", schema: Schema.Json })
                while (dying.requests() < at && (yield* trail.status).next < 5) yield* steps(1)
                // The position, and the lease.
                for (let i = 0; i < 20 && dying.requests() < at; i++) yield* steps(1)
              })
            )
          )
          requests = dying.requests()
          isOver = requests < at
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { audit } = yield* open(store)
              yield* caughtUp(audit)
              assert.deepStrictEqual(
                (yield* all(audit)).map(({ journal }) => journal),
                range(5),
                `${when} ${at}`
              )
              yield* audit.verify()
            })
          )
        }
      }
      assert.isAbove(requests, 8)
    }).pipe(Random.withSeed("crash"))
  )

  it.effect("nothing is left out while the store cannot be written to, and the status says so", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let isDown = true
      const store: Store = {
        ...inner,
        put: (request) =>
          isDown && request.key.includes("/trail/")
            ? Effect.fail(
                new StoreError({ operation: "put", reason: new Unavailable({ description: "down", sent: false }) })
              )
            : inner.put(request)
      }
      yield* journalOf(inner).append(range(3).map((i) => record(i)))
      const { audit, database } = yield* open(inner, { lease: "1 hour" }, store)
      const health = Effect.map(
        Effect.provideService(Plugin.statuses, Database, database),
        ([status]) => status?.health.level
      )
      while ((yield* health) !== "degraded") yield* steps(1)
      yield* steps(60)
      assert.deepStrictEqual(yield* all(audit), [])
      assert.strictEqual(yield* audit.lag, 3)
      assert.strictEqual(yield* health, "degraded")
      isDown = false
      yield* caughtUp(audit)
      assert.strictEqual((yield* all(audit)).length, 3)
      assert.strictEqual(yield* health, "up")
    }).pipe(Effect.scoped, Random.withSeed("down"))
  )

  it.effect(
    "says that entries wait that nobody brings into the journal, by 1 LIST, and 1 HEAD where they are old",
    () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const { database, open: openResource } = yield* openOn(store)
        const users = yield* openResource("users", { ...user, journal: true })
        yield* Effect.provideService(Audit.make({ longestPause: "1 hour" }), Database, database)
        const health = Effect.gen(function* () {
          yield* counter.reset
          const [status] = yield* Effect.provideService(Plugin.statuses, Database, database)
          const { head, list } = yield* counter.counts
          const { detail, level } = status!.health
          return { level: level as string, detail, list, head }
        })
        const up = { level: "up", detail: undefined, list: 1, head: 0 }
        assert.deepStrictEqual(yield* health, up)
        yield* users.insert({ id: "1" })
        yield* TestClock.adjust("4 minutes")
        assert.deepStrictEqual(yield* health, up)
        yield* TestClock.adjust("2 minutes")
        const degraded = yield* health
        assert.deepStrictEqual([degraded.level, degraded.list, degraded.head], ["degraded", 1, 1])
        assert.include(degraded.detail, "give one program the layer of plugins/Journaler")
        // Somebody keeps it.
        const catchUp = database.journal.catchUp(database.journaled)
        yield* drive(yield* Effect.forkChild(catchUp))
        assert.deepStrictEqual(yield* health, up)
        // Of a write that never was nobody can tell whether it will be: that is no sign of a journal that is not kept.
        const announced = yield* database.journal.client.announce({
          resource: "users",
          id: "2",
          writeId: "never-committed",
          previous: undefined,
          kind: "insert",
          time: 0
        })
        yield* store.put(announced.request)
        yield* TestClock.adjust("2 seconds")
        const { undecided } = yield* drive(yield* Effect.forkChild(catchUp))
        assert.strictEqual(undecided, 1)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* health, { ...up, head: 1 })
        // Who keeps it would have asked for it again by now.
        yield* TestClock.adjust("2 hours")
        assert.strictEqual((yield* health).level, "degraded")
      }).pipe(Effect.scoped, Random.withSeed("nobody keeps it"))
  )

  it.effect("a look for entries that fails is told; a journal of one's own is not looked at", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const reason = new Unavailable({ description: "no answer", sent: false })
      const store: Store = {
        ...inner,
        list: () => Effect.fail(new StoreError({ operation: "list", reason }))
      }
      const { database } = yield* open(inner, { records: false }, store)
      const [status] = yield* Effect.provideService(Plugin.statuses, Database, database)
      assert.strictEqual(status?.health.level, "degraded")
      assert.include(status?.health.detail, "no answer")
      const { position, read, status: told } = database.journal
      const own = yield* open(inner, { records: false, journal: { position, read, status: told } }, store)
      const [other] = yield* Effect.provideService(Plugin.statuses, Database, own.database)
      assert.deepStrictEqual(other?.health, { level: "up" })
    }).pipe(Effect.scoped)
  )

  it.effect("warns of resources that leave nothing in the journal, unless one does", () =>
    Effect.gen(function* () {
      const { database, open: openResource } = yield* openOn(yield* memory)
      const said: Array<string> = []
      const logger = Logger.make(({ message }) => void said.push(String(message)))
      const opened = (options: Audit.Options = {}) =>
        Effect.suspend(() => {
          said.length = 0
          return Effect.as(
            Effect.scoped(Effect.provideService(Audit.make({ records: false, ...options }), Database, database)),
            said
          )
        }).pipe(Effect.provide(Logger.layer([logger])))
      // What is not there yet may have one.
      assert.deepStrictEqual(yield* opened(), [])
      yield* openResource("users", user)
      yield* openResource("plg_notes", user)
      const [warning = "", ...rest] = yield* opened()
      assert.deepStrictEqual(rest, [])
      assert.include(warning, '"users"')
      assert.notInclude(warning, "plg_notes")
      assert.include(warning, "journal")
      yield* openResource("orders", { ...user, journal: true })
      assert.deepStrictEqual(yield* opened(), [])
      assert.strictEqual((yield* opened({ resources: ["users"] })).length, 1)
    })
  )

  it.effect("verify names the first part that does not fit, and what was taken away at the end", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { audit } = yield* open(store)
      for (const i of range(4)) {
        yield* journalOf(store).append([record(i)])
        yield* caughtUp(audit)
      }
      const seen = yield* audit.status
      assert.strictEqual((yield* audit.verify(seen)).next, 4)
      const parts = yield* keysOf(store, "plugin=audit/trail/part/")
      const bodies = yield* Effect.forEach(parts, (key) => Effect.map(store.get(key), ({ body }) => body))
      for (const [i, key] of parts.entries()) {
        yield* store.put({ key, body: bodies[(i + 1) % parts.length]! })
        const broken = yield* Effect.flip(audit.verify())
        assert.deepStrictEqual([broken._tag, "key" in broken && broken.key], ["Broken", key])
        yield* store.put({ key, body: bodies[i]! })
      }
      // One who writes the trail anew makes another chain.
      yield* store.deleteMany(yield* keysOf(store, "plugin=audit/trail/"))
      const forged = AppendLog.make(store, { prefix: "plugin=audit/trail", schema: Schema.Json })
      yield* forged.append(
        range(4).map((i) => ({ journal: i, resource: "orders", id: "x", operation: "insert", writeId: "w", time: i }))
      )
      yield* audit.verify()
      assert.strictEqual((yield* Effect.flip(audit.verify(seen)))._tag, "Broken")
    }).pipe(Effect.scoped)
  )

  it.effect("what is old goes, once an hour or when asked, and the rest can be verified", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { audit } = yield* open(store, { retention: "3 hours", lease: "1 hour" })
      for (const i of range(6)) {
        yield* journalOf(store).append([record(i)])
        yield* caughtUp(audit)
        yield* TestClock.adjust("1 hour")
        yield* settled
      }
      const { first, next } = yield* audit.verify()
      assert.isTrue(first > 0 && first < 6, `${first}`)
      assert.strictEqual(next, 6)
      assert.strictEqual(yield* audit.retain({ before: 5 }), 5)
      assert.deepStrictEqual(
        (yield* all(audit)).map(({ journal }) => journal),
        [5]
      )
      yield* audit.verify()
    }).pipe(Effect.scoped, Random.withSeed("retention"))
  )

  it.effect("images are kept as asked, and made to fit", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const big = { text: "é".repeat(50_000), small: 1 }
      yield* journalOf(store).append([record(0, { kind: "update", before: big, after: { ...big, small: 2 } })])
      const seen: Array<string> = []
      for (const [namespace, options] of [
        ["both", {}],
        ["after", { images: "after" }],
        ["none", { images: "none" }],
        ["tiny", { maxImageBytes: 100 }]
      ] as const) {
        const { audit } = yield* open(store, { namespace, ...options })
        yield* caughtUp(audit)
        const [entry] = yield* all(audit)
        const bytes = (image: JsonObject | undefined) =>
          image === undefined ? 0 : new TextEncoder().encode(JSON.stringify(image)).length
        const most = namespace === "tiny" ? 100 : 10_000
        assert.isAtMost(Math.max(bytes(entry!.before), bytes(entry!.after)), most)
        if (entry!.after !== undefined) assert.strictEqual(entry!.after["small"], 2)
        seen.push(
          `${namespace} ${entry!.before !== undefined} ${entry!.after !== undefined} ${entry!.truncated.join()}`
        )
      }
      assert.deepStrictEqual(seen, [
        "both true true after.text,before.text".replace("after.text,before.text", "before.text,after.text"),
        "after false true after.text",
        "none false false ",
        "tiny true true before.text,after.text"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("whatever an image is, it fits, is well-formed, and says what is missing", () =>
    Effect.gen(function* () {
      const draw = (below: number) => Random.nextIntBetween(0, below, { halfOpen: true })
      const texts = ["", "a", "😀", "__proto__", 'é\n"', "x".repeat(300), "😀".repeat(200)]
      const value = (depth: number): Effect.Effect<Json> =>
        Effect.gen(function* () {
          const kind = yield* draw(depth > 3 ? 4 : 6)
          if (kind === 0) return null
          if (kind === 1) return yield* draw(1e9)
          if (kind === 2 || kind === 3) return texts[yield* draw(texts.length)]!
          const members = yield* Effect.forEach(range(yield* draw(8)), () => value(depth + 1))
          if (kind === 4) return members
          return Object.fromEntries(
            yield* Effect.forEach(members, (one, i) => Effect.map(draw(4), (n) => [`${texts[n]}${i}`, one]))
          )
        })
      let cuts = 0
      for (const _ of range(400)) {
        const image = { a: yield* value(0), b: yield* value(1), ["__proto__x"]: yield* value(0) } as JsonObject
        const most = 100 + (yield* draw(400))
        const { image: fitting, paths } = truncate(image, most)
        const text = JSON.stringify(fitting)
        assert.isAtMost(new TextEncoder().encode(text).length, most)
        assert.isTrue(text.isWellFormed() && !text.includes("\\ud"))
        assert.strictEqual(paths.length === 0, text === JSON.stringify(image))
        cuts += paths.length
      }
      assert.isAbove(cuts, 200)
    }).pipe(Random.withSeed("images"))
  )

  it.effect("what is wrong", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const [wrong, field] of [
        [{ maxImageBytes: 99 }, "maxImageBytes"],
        [{ maxImageBytes: 1.5 }, "maxImageBytes"],
        [{ retention: "never" as "1 day" }, "retention"],
        [{ retention: Number.NaN }, "retention"],
        [{ retention: "-1 days" as const }, "retention"],
        [{ firstPause: "x" as "1 day" }, "firstPause"],
        [{ longestPause: "Infinity" as const }, "longestPause"],
        [{ lease: "soon" as "1 day" }, "lease"],
        [{ lease: "2 days" as const }, "lease"],
        [{ lease: 10 }, "lease"]
      ] as const) {
        const error = yield* Effect.flip(open(store, wrong))
        assert.strictEqual(error instanceof Audit.InvalidAudit && error.field, field)
      }
      const { audit } = yield* open(store, { records: false })
      const age = yield* Effect.flip(audit.retain({ age: "a day" as "1 day" }))
      assert.strictEqual(age.reason._tag === "InvalidArgument" && age.reason.argument, "age")
      for (const [filter, field] of [
        [{ since: Number.NaN }, "since"],
        [{ until: Infinity }, "until"],
        [{ from: -1 }, "from"],
        [{ operation: "drop" as "delete" }, "operation"]
      ] as const) {
        const error = yield* Effect.flip(all(audit, filter))
        assert.strictEqual(error instanceof Audit.InvalidAudit && error.field, field)
      }
      yield* caughtUp(audit)
      assert.deepStrictEqual(yield* all(audit), [])
      // As a layer.
      const { database } = yield* openOn(store)
      const built = yield* Effect.provide(
        Audit.Audit,
        Audit.layer({ records: false }).pipe(Layer.provide(Layer.succeed(Database, database)))
      )
      assert.strictEqual((yield* built.status).next, 0)
    }).pipe(Effect.scoped)
  )
})
