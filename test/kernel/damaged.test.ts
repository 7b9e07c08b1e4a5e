/** What errors about damaged objects say: which object it is, and what to do about it. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Order from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as Checkpoint from "effect-s3db/kernel/Checkpoint"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as Counter from "effect-s3db/kernel/Counter"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as ListingDifference from "effect-s3db/kernel/ListingDifference"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as Segments from "effect-s3db/kernel/Segments"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as PersistedQueue from "effect-s3db/persistence/PersistedQueue"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Corrupt, NoSuchKey, StoreError } from "effect-s3db/storage/StoreError"
import { keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]
type Use = (store: Store) => Effect.Effect<unknown, unknown, Scope.Scope>

const logOn = (store: Store) => AppendLog.make(store, { prefix: "log", schema: Schema.Int, compression: "none" })
const bytes = new TextEncoder().encode("abc")
const cellOn = (store: Store) => CasCell.make(store, "cell", CasCell.schemaFormat(Schema.Int, { what: "a number" }))
const onceOn = (store: Store) => CreateOnce.make(store, { schema: Schema.String, what: "a text" })
const fencedOn = (store: Store) => Fenced.make(store, { key: "fenced", schema: Schema.Int, what: "a number" })
const checkpointOn = (store: Store) =>
  Checkpoint.make(store, { key: "checkpoint", schema: Schema.Int, what: "a position", order: Order.Number })
const segmentsOn = (store: Store) => Segments.make(store, { prefix: "segments" })
const valuesOn = (store: Store) => PluginStore.make(store, { plugin: "p", schema: Schema.Int })
const differenceOn = (store: Store) =>
  ListingDifference.make(store, { listed: "items/", prefix: "snapshot", compression: "none" })
const dueOn = (store: Store) => TimeIndex.make(store, { prefix: "due/", payload: Schema.Int, what: "a number" })
const consumerOn = (store: Store) =>
  Consumer.make(store, { source: logOn(store), schema: Schema.Int, prefix: "consumers", name: "c" })
const on = (store: Store) => Effect.map(openOn(store), ({ database }) => database)
const queueOn = (store: Store) =>
  Effect.flatMap(on(store), (database) =>
    Effect.provideService(S3Queue.make({ name: "jobs", payload: Schema.String }), Database, database)
  )
const schedulerOn = (store: Store) =>
  Effect.flatMap(on(store), (database) =>
    Effect.provideService(
      Scheduler.make({ jobs: [Scheduler.job("daily", { schedule: "@daily", run: () => Effect.void })], stopWithin: 0 }),
      Database,
      database
    )
  )
const elements = (store: Store) =>
  Effect.flatMap(PersistedQueue.make(store), (port) =>
    port.offer({ name: "items", id: "a", element: 1, isCustomId: true, delay: undefined })
  )
const limit = (store: Store) =>
  Effect.flatMap(RateLimiter.make(store, { sweepEvery: false }), (port) =>
    port.tokenBucket({ key: "k", tokens: 1, limit: 5, refillRate: Duration.seconds(1), allowOverflow: true })
  )
const persisted = (store: Store) =>
  Effect.flatMap(Persistence.make(store, { sweepEvery: false }), (port) => port.make("s"))

/** What there is, and what reads it; which of its keys cannot be done without, damaged. */
const cases: Readonly<Record<string, { readonly make: Use; readonly use: Use; readonly keys: ReadonlyArray<RegExp> }>> =
  {
    CasCell: {
      make: (store) => cellOn(store).modify(() => Effect.succeed(1)),
      use: (store) => cellOn(store).read,
      keys: [/^cell$/]
    },
    Counter: {
      make: (store) => Counter.make(store, { resource: "r", shards: 1 }).add(new Map([["", 1]])),
      use: (store) => Counter.make(store, { resource: "r", shards: 1 }).readAll,
      keys: [/shard=0$/]
    },
    CreateOnce: {
      make: (store) => onceOn(store).create("once", "a"),
      use: (store) => onceOn(store).read("once"),
      keys: [/^once$/]
    },
    Fenced: {
      make: (store) => Effect.flatMap(fencedOn(store).claim(1), ({ modify }) => modify(() => Effect.succeed(1))),
      use: (store) => fencedOn(store).read,
      keys: [/^fenced$/]
    },
    Lease: {
      make: (store) => Lease.make(store, { key: "lease" }).tryAcquire,
      use: (store) => Lease.make(store, { key: "lease" }).tryAcquire,
      keys: [/^lease$/]
    },
    Sequence: {
      make: (store) => Effect.flatMap(Sequence.make(store, { key: "sequence" }), ({ next }) => next),
      use: (store) => Effect.flatMap(Sequence.make(store, { key: "sequence" }), ({ next }) => next),
      keys: [/^sequence$/]
    },
    Checkpoint: {
      make: (store) => Effect.flatMap(checkpointOn(store), ({ commit }) => commit(1)),
      use: (store) => checkpointOn(store),
      keys: [/^checkpoint$/]
    },
    AppendLog: {
      make: (store) => logOn(store).append([1, 2]),
      use: (store) => Stream.runDrain(logOn(store).read()),
      keys: [/manifest/, /segment|part/]
    },
    Segments: {
      make: (store) =>
        Effect.flatMap(segmentsOn(store).put(bytes), (part) => segmentsOn(store).commit({ add: [part] })),
      use: (store) =>
        Effect.flatMap(segmentsOn(store).read, ({ parts }) => Effect.forEach(parts, segmentsOn(store).get)),
      keys: [/manifest/, /part/]
    },
    TimeIndex: {
      make: (store) => dueOn(store).add({ due: 0, id: "a", revision: "1", payload: 1 }),
      use: (store) => Stream.runForEach(dueOn(store).due(1), dueOn(store).payload),
      keys: [/^due/]
    },
    PluginStore: {
      make: (store) => valuesOn(store).set("k", 1),
      use: (store) => valuesOn(store).get("k"),
      keys: [/k$/]
    },
    ListingDifference: {
      make: (store) => Effect.andThen(store.put({ key: "items/a", body: bytes }), differenceOn(store).baseline()),
      use: (store) => Stream.runDrain(differenceOn(store).peek),
      keys: [/manifest/, /part/]
    },
    Consumer: {
      make: (store) =>
        Effect.andThen(
          logOn(store).append([1]),
          consumerOn(store).drain(() => Effect.void)
        ),
      use: (store) =>
        Effect.andThen(
          logOn(store).append([2]),
          consumerOn(store).drain(() => Effect.void)
        ),
      keys: [/^log.*manifest/, /position$/, /lease$/]
    },
    S3Queue: {
      make: (store) =>
        Effect.flatMap(queueOn(store), ({ offerAll }) =>
          offerAll(Array.from({ length: 300 }, () => ({ payload: "x".repeat(100) })))
        ),
      use: (store) => Effect.flatMap(queueOn(store), ({ claimNow }) => claimNow(1)),
      keys: [/queue=jobs\/queue$/, /part/]
    },
    // It begins without what is damaged.
    Scheduler: {
      make: schedulerOn,
      use: (store) => Effect.flatMap(schedulerOn(store), ({ history }) => history("daily")),
      keys: [/job=daily/]
    },
    KeyValueStore: {
      make: (store) => KeyValueStore.make(store).set("k", "v"),
      use: (store) => KeyValueStore.make(store).get("k"),
      keys: [/key=k$/]
    },
    Persistence: {
      make: (store) => Effect.flatMap(persisted(store), ({ set }) => set("k", { a: 1 }, undefined)),
      use: (store) => Effect.flatMap(persisted(store), ({ get }) => get("k")),
      keys: [/k$/]
    },
    PersistedQueue: { make: elements, use: elements, keys: [/queue$/] },
    RateLimiter: { make: limit, use: limit, keys: [/key=k$/] }
  }

/** What it says, and what that was made of. */
const messagesOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

describe("errors about damaged objects", () => {
  for (const [what, { keys, make, use }] of Object.entries(cases)) {
    it.effect(`of ${what} say which it is, and what to do`, () =>
      Effect.gen(function* () {
        const made = yield* memory
        yield* Effect.scoped(make(made))
        const there = (yield* keysOf(made)).filter((key) => !/^s3db|^items|catalog/.test(key))
        const told: Array<string> = []
        for (const key of there) {
          const store = yield* memory
          yield* Effect.scoped(make(store))
          // Parts are named by what is in them.
          const at = (yield* keysOf(store)).filter((one) => one.slice(0, -44) === key.slice(0, -44) || one === key)
          for (const one of at) yield* store.put({ key: one, body: new TextEncoder().encode("damaged") })
          const used = yield* Effect.result(Effect.scoped(use(store)))
          if (Result.isSuccess(used)) continue
          const message = messagesOf(used.failure)
          assert.isTrue(
            at.some((one) => message.includes(one)),
            `${key}: ${message}`
          )
          assert.include(message, "from a backup")
          assert.notInclude(message, "\n")
          told.push(key)
        }
        for (const pattern of keys) {
          assert.isTrue(
            told.some((key) => pattern.test(key)),
            `${pattern} of ${there.join(", ")}; told: ${told.join(", ")}`
          )
        }
      })
    )
  }

  it("say it once, and only of what is damaged", () => {
    const error = (description: string, key?: string) =>
      new StoreError({ operation: "get", reason: new Corrupt({ description }), ...(key === undefined ? {} : { key }) })
    assert.strictEqual(
      error("it is torn", "a/b").message,
      "get failed: Corrupt: it is torn (object a/b): restore it from a backup"
    )
    assert.strictEqual(
      error('object "a/b": it is torn', "a/b").message,
      'get failed: Corrupt: object "a/b": it is torn: restore it from a backup'
    )
    assert.strictEqual(error("it is torn").message, "get failed: Corrupt: it is torn")
    assert.strictEqual(
      error("torn; restore it, or discard it", "k").message,
      "get failed: Corrupt: torn; restore it, or discard it"
    )
    const named = DbError.fromStore("S3Queue.claim", "jobs")(error("it is torn", "a/b"))
    assert.strictEqual(
      named.message,
      "S3Queue.claim on jobs failed: Corrupt: it is torn (object a/b): restore it from a backup"
    )
    // Strangers are not told which.
    assert.notInclude(JSON.stringify(Schema.encodeSync(DbError.DbError)(named)), "a/b")
    const missing = new StoreError({ operation: "get", key: "a/b", reason: new NoSuchKey({ description: "none" }) })
    assert.notInclude(missing.message, "a/b")
  })
})
