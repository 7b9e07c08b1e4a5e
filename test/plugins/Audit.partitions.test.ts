/** The audit trail by partitions, put together when nothing comes, and what it tells of itself. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Journal from "effect-s3db/kernel/Journal"
import * as Plugin from "effect-s3db/Plugin"
import * as Audit from "effect-s3db/plugins/Audit"
import * as Guard from "effect-s3db/Guard"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { drive, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

const driven = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber, "10 seconds"))
const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)

const order = {
  schema: Schema.Struct({
    id: Schema.String,
    region: Schema.optionalKey(Schema.String),
    at: Schema.Date,
    note: Schema.optionalKey(Schema.String)
  }),
  primaryKey: "id",
  partitions: { byRegion: { fields: { region: "", at: "date|maxlength:7" } } },
  journal: { images: "both" }
} as const

const march = new Date("2030-03-05T10:00:00Z")
const april = new Date("2030-04-05T10:00:00Z")

/** All that is written is in the trail. */
const recorded = Effect.fnUntraced(function* (database: Database["Service"], options?: Audit.Options) {
  yield* driven(database.journal.catchUp(database.journaled, { nobodyWrites: true }))
  const audit = yield* Effect.provideService(Audit.make(options), Database, database)
  yield* driven(audit.caughtUp)
  return audit
})

const shown = (place: Audit.Place): string =>
  place._tag === "In" ? Object.values(place.values).join(" ") : place._tag === "Unknown" ? place.why : "-"
const shownAll = <E>(stream: Stream.Stream<Audit.PlacedEntry, E>) =>
  Effect.map(Stream.runCollect(stream), (all) =>
    all.map(({ after, before, entry }) => `${entry.id} ${shown(before)} > ${shown(after)}`)
  )

describe("the audit trail of a partition", () => {
  it.effect("has the writes of documents that were in it before or after, with its values; requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database, open } = yield* openOn(store)
      const orders = yield* open("orders", order)
      const others = yield* open("others", { ...order, journal: { images: "both" } })
      yield* orders.insert({ id: "1", region: "eu", at: march })
      yield* orders.insert({ id: "2", region: "us", at: march })
      yield* orders.insert({ id: "3", at: march })
      yield* others.insert({ id: "1", region: "eu", at: march })
      yield* orders.update("1", { at: april })
      yield* orders.update("2", { region: "eu" })
      yield* orders.update("1", { region: "us" })
      yield* orders.delete("2")
      const audit = yield* recorded(database)
      const of = (values: Record<string, unknown>, filter?: Omit<Audit.Filter, "resource">) =>
        shownAll(audit.partitionHistory("orders", orders, { partition: "byRegion", values }, filter))
      assert.deepStrictEqual(yield* of({ region: "eu" }), [
        "1 - > eu 2030-03",
        "1 eu 2030-03 > eu 2030-04",
        "2 - > eu 2030-03",
        "1 eu 2030-04 > -",
        "2 eu 2030-03 > -"
      ])
      assert.deepStrictEqual(yield* of({ region: "eu", at: april }), ["1 - > eu 2030-04", "1 eu 2030-04 > -"])
      assert.deepStrictEqual(yield* of({ region: "eu" }, { operation: "delete" }), ["2 eu 2030-03 > -"])
      assert.deepStrictEqual(yield* of({ region: "mars" }), [])
      const bounded = audit.partitionHistory("orders", orders, {
        partition: "byRegion",
        values: { region: "eu" },
        from: april
      })
      assert.deepStrictEqual(yield* shownAll(bounded), ["1 - > eu 2030-04", "1 eu 2030-04 > -"])
      yield* counter.reset
      assert.deepStrictEqual(yield* audit.partitionStats("orders", orders, { partition: "byRegion" }), {
        total: 6,
        unknown: 0,
        byValues: {
          "region=eu/at=2030-03": 4,
          "region=eu/at=2030-04": 2,
          "region=us/at=2030-03": 2,
          "region=us/at=2030-04": 1
        }
      })
      // The manifest and the one segment.
      const { get, head, list, put } = yield* counter.counts
      assert.deepStrictEqual({ get, head, list, put }, { get: 2, head: 0, list: 0, put: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("says of which writes it cannot tell, and refuses what is no partition", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const orders = yield* open("orders", { ...order, journal: { images: "after" } })
      yield* orders.insert({ id: "1", region: "eu", at: march })
      yield* orders.insert({ id: "2", region: "us", at: march, note: "n".repeat(3000) })
      yield* orders.update("1", { region: "us" })
      yield* orders.delete("1")
      const audit = yield* recorded(database, { maxImageBytes: 1000 })
      const within = { partition: "byRegion", values: { region: "eu" } } as const
      assert.deepStrictEqual(yield* shownAll(audit.partitionHistory("orders", orders, within)), [
        "1 - > eu 2030-03",
        "2 - > truncated",
        "1 noImage > -",
        "1 noImage > -"
      ])
      assert.deepStrictEqual(yield* audit.partitionStats("orders", orders, within), {
        total: 1,
        unknown: 3,
        byValues: { "region=eu/at=2030-03": 1 }
      })
      const refused = Effect.fnUntraced(function* (resource: string, within: object) {
        const error = yield* Effect.flip(audit.partitionStats(resource, orders, within as { partition: "byRegion" }))
        return error._tag === "InvalidInput" ? error.message : error._tag
      })
      assert.match(yield* refused("orders", { partition: "byMoon" }), /partition.*byRegion/)
      assert.match(yield* refused("orders", {}), /partition/)
      assert.match(yield* refused("orders", { partition: "byRegion", values: { moon: 1 } }), /moon/)
      assert.match(yield* refused("others", within), /Expected a record of orders/)
      const filtered = audit.partitionStats("orders", orders, within, { since: Number.NaN })
      assert.strictEqual((yield* Effect.flip(filtered))._tag, "InvalidAudit")
    }).pipe(Effect.scoped)
  )

  it.effect("says nothing of documents that the caller may not read, and goes on after what is damaged or sealed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const ring = (fill: number) =>
        KeyRing.layerKeys({ current: `${fill}`, keys: { [fill]: Redacted.make(new Uint8Array(32).fill(fill)) } })
      const sealed = {
        ...order,
        schema: Schema.Struct({ ...order.schema.fields, token: Schema.optionalKey(Attribute.SecretText) })
      }
      const orders = yield* Effect.provide(open("orders", sealed), ring(3))
      yield* orders.insert({ id: "1", region: "eu", at: march, token: Redacted.make("hush") })
      yield* orders.insert({ id: "2", region: "eu", at: march })
      yield* driven(database.journal.catchUp(database.journaled, { nobodyWrites: true }))
      // One that is no version at all.
      const { fence } = yield* database.journal.status
      const body = { metadata: {}, body: 5 }
      yield* journalOf(store).append([{ ...record(3), after: body }], { fence })
      const audit = yield* recorded(database)
      const within = { partition: "byRegion", values: { region: "eu" } } as const
      const elsewhere = yield* openOn(store)
      const other = yield* Effect.provide(elsewhere.open("orders", sealed), ring(4))
      assert.deepStrictEqual(yield* shownAll(audit.partitionHistory("orders", other, within)), [
        "1 - > unreadable",
        "2 - > eu 2030-03",
        "3 - > unreadable"
      ])
      yield* orders.intercept(Guard.interceptor({ "*": Guard.allow, get: Guard.deny }))
      const error = yield* Effect.flip(audit.partitionStats("orders", orders, within))
      assert.strictEqual(error._tag, "Rejected")
    }).pipe(Effect.scoped)
  )
})

const record = (i: number): Journal.Record => ({
  resource: "orders",
  id: `${i}`,
  kind: "insert",
  writeId: `write-${String(i).padStart(6, "0")}`,
  time: i * 1000
})
const journalOf = (store: Store) => AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record })

describe("the segments of the audit trail", () => {
  it.effect("are put together once an hour when nothing comes, and stay what was recorded; requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database } = yield* openOn(store)
      const audit = yield* Effect.provideService(Audit.make({ lease: "1 hour" }), Database, database)
      const seen: Array<unknown> = []
      yield* Effect.forkChild(Stream.runForEach(audit.events, (event) => Effect.sync(() => seen.push(event))))
      const batches = 12
      for (const b of range(batches)) {
        yield* journalOf(store).append(range(100, b * 100).map(record))
        // In small steps: no hour passes while something is packed.
        yield* drive(yield* Effect.forkChild(audit.caughtUp), "10 millis")
      }
      const { head, next } = yield* audit.status
      const reads = Effect.fnUntraced(function* () {
        yield* counter.reset
        const all = yield* Stream.runCollect(audit.query({ operation: "insert", until: 1e9 }))
        return [all.map(({ id }) => Number(id)), (yield* counter.counts).get] as const
      })
      assert.deepStrictEqual(yield* reads(), [range(batches * 100), 1 + batches])
      // Two durations of the lease and more: by then it is given up.
      yield* driven(Effect.sleep("3 hours"))
      // Packing takes the time of the machine.
      const isPacked = () => seen.some((event) => Reflect.get(Object(event), "_tag") === "Compacted")
      while (!isPacked()) yield* driven(Effect.sleep("1 minute"))
      // Two of 1,000 at most.
      assert.deepStrictEqual(yield* reads(), [range(batches * 100), 1 + 2])
      assert.strictEqual((yield* audit.verify({ head, next })).next, batches * 100)
      // Nothing has come: nothing is looked at, but for what comes from the journal.
      yield* counter.reset
      yield* driven(Effect.sleep("10 hours"))
      const { put } = yield* counter.counts
      assert.strictEqual(put, 0)
      // By hand: the manifest twice.
      yield* counter.reset
      assert.strictEqual(yield* audit.compact, 0)
      assert.deepInclude(yield* counter.counts, { get: 2, put: 0 })
      yield* audit.retain({ before: 1000 })
      yield* audit.seek("end")
      assert.deepStrictEqual(seen, [
        ...range(batches).map((b) => ({ _tag: "Recorded", from: b * 100, next: b * 100 + 100 })),
        { _tag: "Compacted", segments: 12 },
        { _tag: "Removed", first: 1000 },
        { _tag: "Moved", journal: batches * 100 }
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("are told of among the events of all plugins, and are left alone by who only reads", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database } = yield* openOn(store)
      const all = yield* Effect.provideService(Plugin.events, Database, database)
      const told: Array<unknown> = []
      yield* Effect.forkChild(
        Stream.runForEach(all.stream(), (event) =>
          Effect.sync(() => void (event._tag === "Published" && told.push([event.plugin, event.event])))
        )
      )
      const audit = yield* Effect.provideService(Audit.make(), Database, database)
      yield* journalOf(store).append([record(0)])
      yield* driven(audit.caughtUp)
      assert.deepStrictEqual(told, [["audit", { _tag: "Recorded", from: 0, next: 1 }]])
      const reading = yield* openOn(store)
      yield* Effect.provideService(Audit.make({ records: false }), Database, reading.database)
      yield* driven(Effect.sleep("3 hours"))
      yield* counter.reset
      yield* driven(Effect.sleep("3 hours"))
      assert.deepInclude(yield* counter.counts, { put: 0, list: 0 })
    }).pipe(Effect.scoped)
  )
})

it.effect("the place of an image in a partition takes no request", () =>
  Effect.gen(function* () {
    const { counter, store } = InstrumentedStore.make(yield* memory)
    const { database, open } = yield* openOn(store)
    const orders = yield* open("orders", order)
    yield* orders.insert({ id: "1", region: "eu", at: march })
    const audit = yield* recorded(database)
    const [entry] = yield* Stream.runCollect(audit.query())
    yield* counter.reset
    const place = yield* orders.imageWithin(entry!, "after", { partition: "byRegion" })
    assert.deepStrictEqual(place, Option.some({ region: "eu", at: "2030-03" }))
    assert.strictEqual(
      (yield* Effect.flip(orders.imageWithin(entry!, "before", { partition: "byRegion" })))._tag,
      "NotFound"
    )
    assert.isTrue(Object.values(yield* counter.counts).every((n) => n === 0))
  }).pipe(Effect.scoped)
)
