/** What stops an audit trail, how it goes on, and what one costs when nothing is written. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Journal from "effect-s3db/kernel/Journal"
import * as Plugin from "effect-s3db/Plugin"
import * as Audit from "effect-s3db/plugins/Audit"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { drive, keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

const journalOf = (store: Store) =>
  AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record, segmentEntries: 2 })
const record = (i: number): Journal.Record => ({
  resource: "orders",
  id: `${i}`,
  kind: "insert",
  writeId: `write-${String(i).padStart(6, "0")}`,
  time: i * 1000
})
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
const append = (store: Store, from: number, to: number) => journalOf(store).append(range(from, to).map(record))
const driven = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))
const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const open = Effect.fnUntraced(function* (store: Store, options: Audit.Options = {}) {
  const { database } = yield* openOn(store)
  const audit = yield* Effect.provideService(Audit.make(options), Database, database)
  const health = Effect.map(
    Effect.provideService(Plugin.statuses, Database, database),
    ([status]) => status?.health ?? assert.fail("there is no status")
  )
  /** Lets time pass until it is so. */
  const is = (level: "degraded" | "down" | "up") =>
    driven(Effect.repeat(Effect.andThen(Effect.sleep("1 second"), health), { until: (now) => now.level === level }))
  return { audit, is }
})
const journaled = (audit: Audit.Audit["Service"]) =>
  Effect.map(Stream.runCollect(audit.query()), (all) => all.map(({ journal }) => journal))

describe("an audit trail", () => {
  it.effect("is down where retention has passed, says what to do, and goes on when it is moved", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* append(store, 0, 2)
      const { audit, is } = yield* open(store)
      yield* driven(audit.caughtUp)
      yield* audit.seek({ position: 0 })
      yield* driven(audit.caughtUp)
      // While nobody followed.
      const away = yield* open(store, { records: false })
      yield* append(store, 2, 8)
      yield* journalOf(store).retain({ before: 6 })
      const failed = yield* driven(Effect.flip(audit.caughtUp))
      assert.strictEqual(failed._tag, "Trimmed")
      const { detail } = yield* is("down")
      assert.include(detail, 'seek("beginning") goes on at 6')
      assert.strictEqual((yield* driven(Effect.flip(away.audit.caughtUp)))._tag, "Trimmed")
      assert.strictEqual(yield* audit.seek("beginning"), 6)
      yield* driven(audit.caughtUp)
      yield* is("up")
      assert.deepStrictEqual(yield* journaled(audit), [0, 1, 6, 7])
      yield* audit.verify()
    }).pipe(Effect.scoped, quiet, Random.withSeed("trimmed"))
  )

  for (const key of [
    "plugin=audit/consumer=trail/position",
    "plugin=audit/consumer=trail/lease",
    "plugin=audit/trail/manifest",
    "journal/log/manifest",
    "journal/log/part/"
  ]) {
    it.effect(`is down while ${key} is damaged, and goes on, without a gap, when it is mended`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* append(store, 0, 2)
        // Tokens have been given.
        for (const _ of [1, 2, 3]) {
          yield* Effect.scoped(Effect.flatMap(open(store), ({ audit }) => driven(audit.caughtUp)))
        }
        const before = new Set(yield* keysOf(store, "journal/log/part/"))
        yield* append(store, 2, 5)
        const fresh = (yield* keysOf(store, "journal/log/part/")).find((part) => !before.has(part))
        const damaged = key.endsWith("/") ? fresh! : key
        const whole = yield* store.get(damaged)
        yield* store.put({ key: damaged, body: new TextEncoder().encode("{") })
        const { audit, is } = yield* open(store)
        const { detail } = yield* is("down")
        assert.include(detail, damaged)
        const failed = yield* driven(Effect.flip(audit.caughtUp))
        assert.strictEqual(failed._tag === "StoreError" && failed.reason._tag, "Corrupt")
        if (damaged.includes("/consumer=")) yield* store.delete(damaged)
        else yield* store.put({ key: damaged, body: whole.body })
        yield* is("up")
        yield* driven(audit.caughtUp)
        assert.deepStrictEqual(yield* journaled(audit), range(0, 5))
        yield* audit.verify()
      }).pipe(Effect.scoped, quiet, Random.withSeed(key))
    )
  }

  it.effect("is degraded while a resource that it is to follow is none, and names the nearest", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open: openResource } = yield* openOn(store)
      const schema = Schema.Struct({ id: Schema.String })
      yield* openResource("orders", { schema, primaryKey: "id", journal: true })
      yield* Effect.provideService(Audit.make({ resources: ["order"] }), Database, database)
      const health = Effect.map(
        Effect.provideService(Plugin.statuses, Database, database),
        ([status]) => status?.health
      )
      assert.deepStrictEqual(yield* health, {
        level: "degraded",
        detail: 'resources: there is none that is called "order"; perhaps orders is meant'
      })
      // It was yet to be registered.
      yield* openResource("order", { schema, primaryKey: "id", journal: true })
      assert.deepStrictEqual(yield* health, { level: "up" })
    }).pipe(Effect.scoped, quiet)
  )

  it.effect("is degraded while a resource that it is to follow leaves nothing in the journal, and names each", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open: openResource } = yield* openOn(store)
      const schema = Schema.Struct({ id: Schema.String })
      yield* openResource("tickets", { schema, primaryKey: "id", journal: true })
      for (const name of ["notes", "other", "users"]) yield* openResource(name, { schema, primaryKey: "id" })
      const resources = ["tickets", "notes", "users"]
      yield* Effect.provideService(Audit.make({ resources }), Database, database)
      yield* Effect.provideService(Audit.make({ namespace: "all" }), Database, database)
      const statuses = yield* Effect.provideService(Plugin.statuses, Database, database)
      assert.deepStrictEqual(
        statuses.map(({ health }) => health),
        [
          {
            level: "degraded",
            detail: 'resources: nothing of "notes", "users" comes into the trail: the option journal is missing'
          },
          { level: "up" }
        ]
      )
    }).pipe(Effect.scoped, quiet)
  )

  it.effect("makes 72 requests an hour when nothing is written", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      yield* append(store, 0, 2)
      const { audit } = yield* open(store)
      yield* driven(audit.caughtUp)
      // Long enough for what it still holds to be given up, and for what it has recorded to be put together.
      yield* driven(Effect.sleep("2 hours"))
      yield* counter.reset
      yield* driven(Effect.sleep("1 hour"))
      const counts = yield* counter.counts
      assert.deepStrictEqual(Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0)), { get: 72 })
    }).pipe(Effect.scoped, Random.withSeed("idle"))
  )
})
