/** What the storage of messages promises, over Effect's in memory and over ours; and what ours promises beyond that. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as EntityAddress from "effect/cluster/EntityAddress"
import * as EntityId from "effect/cluster/EntityId"
import * as EntityType from "effect/cluster/EntityType"
import type * as Envelope from "effect/cluster/Envelope"
import * as EffectMessageStorage from "effect/cluster/MessageStorage"
import type * as Reply from "effect/cluster/Reply"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as ShardId from "effect/cluster/ShardId"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Snowflake from "effect/cluster/Snowflake"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import { crashing, keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]
type Encoded = EffectMessageStorage.Encoded

const range = (length: number) => Array.from({ length }, (_, i) => i)
const flake = (id: number) => Snowflake.Snowflake(String(id))

const request = (id: number, entityId = "a", shard = 1, group = "default"): Envelope.PartialRequestEncoded => ({
  _tag: "Request",
  requestId: String(id),
  address: { shardId: { group, id: shard }, entityType: "Users", entityId },
  tag: "get",
  payload: { id },
  headers: { trace: "é" }
})
const chunk = (id: number, requestId: number, sequence: number): Reply.ChunkEncoded => ({
  _tag: "Chunk",
  id: String(id),
  requestId: String(requestId),
  sequence,
  values: [sequence]
})
const exit = (id: number, requestId: number): Reply.Encoded => ({
  _tag: "WithExit",
  id: String(id),
  requestId: String(requestId),
  exit: { _tag: "Success", value: id }
})
const acknowledge = (id: number, requestId: number, replyId: number): Envelope.Encoded => {
  const { address } = request(requestId)
  return { _tag: "AckChunk", id: String(id), requestId: String(requestId), replyId: String(replyId), address }
}
const interrupt = (id: number, requestId: number): Envelope.Encoded => ({
  _tag: "Interrupt",
  id: String(id),
  requestId: String(requestId),
  address: request(requestId).address
})
const address = (entityId: string, shard = 1) =>
  new EntityAddress.EntityAddress({
    shardId: ShardId.make("default", shard),
    entityType: EntityType.make("Users"),
    entityId: EntityId.make(entityId)
  })

const save = (
  storage: Encoded,
  envelope: Envelope.Encoded,
  primaryKey: string | null = null,
  deliverAt: number | null = null
) => storage.saveEnvelope({ envelope, primaryKey, deliverAt })
const shardsOf = (...ids: ReadonlyArray<number>) => ids.map((id) => `default:${id}`) as [string, ...Array<string>]
const idOf = (envelope: Envelope.Encoded) => (envelope._tag === "Request" ? envelope.requestId : envelope.id)
const read = (
  storage: Encoded,
  shards: [string, ...Array<string>] = shardsOf(1),
  options?: { readonly limit?: number; readonly addresses?: ReadonlyArray<EntityAddress.EntityAddress> },
  at?: number
) =>
  Effect.flatMap(
    Effect.clockWith((clock) => clock.currentTimeMillis),
    (now) =>
      Effect.map(storage.unprocessedMessages(shards, at ?? now, options), (found) =>
        found.map(({ envelope }) => idOf(envelope))
      )
  )
const tags = (replies: ReadonlyArray<Reply.Encoded>) => replies.map(({ _tag, id }) => `${_tag} ${id}`)

const suite = (name: string, make: Effect.Effect<Encoded, unknown, Scope.Scope>) => {
  const test = (title: string, body: (storage: Encoded) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.effect(title, () => Effect.flatMap(make, body).pipe(Effect.scoped))

  describe(`MessageStorage: ${name}`, () => {
    test("a request is delivered once, until it is reset, and no more once it has its exit", (storage) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* save(storage, request(1)))._tag, "Success")
        const first = yield* storage.unprocessedMessages(shardsOf(1), 0)
        assert.deepStrictEqual(first, [{ envelope: request(1), lastSentReply: Option.none() }])
        assert.deepStrictEqual(yield* read(storage), [])
        yield* storage.resetRequests([flake(1)])
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* storage.resetShards(shardsOf(2))
        assert.deepStrictEqual(yield* read(storage), [])
        yield* storage.resetShards(shardsOf(1))
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* storage.resetAddresses([address("b")])
        assert.deepStrictEqual(yield* read(storage), [])
        yield* storage.resetAddresses([address("a")])
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* storage.saveReply(exit(100, 1))
        yield* storage.saveReply(exit(100, 1))
        yield* storage.resetShards(shardsOf(1))
        assert.deepStrictEqual(yield* read(storage), [])
        assert.deepStrictEqual(yield* storage.repliesFor(["1"]), [exit(100, 1)])
        assert.deepStrictEqual(yield* storage.repliesForUnfiltered(["1", "2"]), [exit(100, 1)])
      }))

    test("who has claimed and not answered for ten minutes is gone", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1))
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* TestClock.adjust("9 minutes")
        assert.deepStrictEqual(yield* read(storage), [])
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(yield* read(storage), ["1"])
      }))

    test("the same request, and the same primary key, are saved once; a duplicate is told the reply", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1), "Users/a/get/k")
        const again = yield* save(storage, request(2), "Users/a/get/k")
        assert.deepStrictEqual(
          again,
          EffectMessageStorage.SaveResultEncoded.Duplicate({ originalId: flake(1), lastReceivedReply: Option.none() })
        )
        assert.deepStrictEqual(yield* storage.requestIdForPrimaryKey("Users/a/get/k"), Option.some(flake(1)))
        assert.deepStrictEqual(yield* storage.requestIdForPrimaryKey("Users/a/get/K"), Option.none())
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* storage.saveReply(exit(100, 1))
        const third = yield* save(storage, request(3), "Users/a/get/k")
        assert.deepStrictEqual(
          third,
          EffectMessageStorage.SaveResultEncoded.Duplicate({
            originalId: flake(1),
            lastReceivedReply: Option.some(exit(100, 1))
          })
        )
        yield* save(storage, request(4))
        assert.strictEqual((yield* save(storage, request(4)))._tag, "Duplicate")
        assert.deepStrictEqual(yield* read(storage), ["4"])
        assert.deepStrictEqual(yield* storage.repliesFor(["1", "4"]), [exit(100, 1)])
      }))

    test("messages come in their order, of the shards, the addresses and the number that were asked for", (storage) =>
      Effect.gen(function* () {
        for (const id of range(6)) yield* save(storage, request(10 + id, id % 2 === 0 ? "a" : "b", 1 + (id % 3)))
        yield* save(storage, request(20, "a", 1, "other"))
        assert.deepStrictEqual(yield* read(storage, shardsOf(2)), ["11", "14"])
        assert.deepStrictEqual(yield* read(storage, shardsOf(1, 2, 3), { limit: 2 }), ["10", "12"])
        assert.deepStrictEqual(yield* read(storage, shardsOf(1, 3), { addresses: [] }), [])
        assert.deepStrictEqual(
          yield* read(storage, shardsOf(1, 3), { addresses: [address("b", 1), address("b", 3)] }),
          ["13", "15"]
        )
        assert.deepStrictEqual(yield* read(storage, shardsOf(1, 2, 3)), [])
        assert.deepStrictEqual(yield* read(storage, ["other:1"]), ["20"])
      }))

    test("what is to be delivered later is", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1), null, 60_000)
        assert.deepStrictEqual(yield* read(storage), [])
        assert.deepStrictEqual(yield* storage.unprocessedMessagesById([flake(1)], 0), [])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* read(storage), ["1"])
      }))

    test("by its id a request is read without being claimed, with the reply that was sent last", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(2))
        yield* save(storage, request(1))
        for (const _ of range(2)) {
          const found = yield* storage.unprocessedMessagesById([flake(1), flake(2), flake(3)], 0)
          assert.sameMembers(
            found.map(({ envelope }) => idOf(envelope)),
            ["1", "2"]
          )
        }
        yield* storage.saveReply(exit(100, 1))
        assert.strictEqual((yield* storage.unprocessedMessagesById([flake(1), flake(2)], 0)).length, 1)
        assert.sameMembers(yield* read(storage), ["2"])
      }))

    test("chunks are there until they are acknowledged, which is told, as interruptions are", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1))
        yield* read(storage)
        yield* storage.saveReply(chunk(100, 1, 0))
        yield* storage.saveReply(chunk(100, 1, 0))
        assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["Chunk 100"])
        yield* save(storage, acknowledge(200, 1, 100))
        assert.deepStrictEqual(yield* read(storage), ["200"])
        assert.deepStrictEqual(yield* storage.repliesFor(["1"]), [])
        yield* storage.saveReply(chunk(101, 1, 1))
        assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["Chunk 101"])
        const duplicate = yield* save(storage, request(1))
        const told = duplicate._tag === "Duplicate" ? duplicate.lastReceivedReply : Option.none<Reply.Encoded>()
        assert.strictEqual(Option.getOrThrow(told).id, "100")
        yield* save(storage, acknowledge(201, 1, 101))
        yield* save(storage, interrupt(202, 1))
        assert.sameMembers(yield* read(storage), ["201", "202"])
        assert.deepStrictEqual(yield* read(storage), [])
        yield* storage.saveReply(exit(102, 1))
        assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["WithExit 102"])
      }))

    test("replies are cleared, if they are still the expected ones, and the request is delivered again", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1), "k")
        yield* read(storage)
        yield* storage.saveReply(exit(100, 1))
        yield* storage.clearReplies(flake(1), { expectedReplyId: flake(99) })
        yield* storage.clearReplies(flake(7))
        assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["WithExit 100"])
        assert.deepStrictEqual(yield* read(storage), [])
        yield* storage.clearReplies(flake(1), { expectedReplyId: flake(100) })
        assert.deepStrictEqual(yield* storage.repliesFor(["1"]), [])
        assert.deepStrictEqual(yield* read(storage), ["1"])
        yield* storage.saveReply(exit(101, 1))
        yield* storage.clearReplies(flake(1))
        assert.deepStrictEqual(yield* read(storage), ["1"])
      }))

    test("an address is cleared of all that it had, and no other", (storage) =>
      Effect.gen(function* () {
        yield* save(storage, request(1, "a"), "k1")
        yield* save(storage, request(2, "a"))
        yield* save(storage, request(3, "b"), "k3")
        yield* storage.saveReply(exit(100, 1))
        yield* storage.clearAddress(address("a"))
        yield* storage.clearAddress(address("a"))
        assert.deepStrictEqual(yield* read(storage), ["3"])
        assert.deepStrictEqual(yield* storage.repliesFor(["1", "2"]), [])
        assert.deepStrictEqual(yield* storage.requestIdForPrimaryKey("k1"), Option.none())
        assert.deepStrictEqual(yield* storage.requestIdForPrimaryKey("k3"), Option.some(flake(3)))
        yield* storage.saveReply(exit(101, 2))
        assert.deepStrictEqual(yield* storage.repliesFor(["2"]), [])
        assert.strictEqual((yield* save(storage, request(4, "a"), "k1"))._tag, "Success")
        assert.deepStrictEqual(yield* read(storage), ["4"])
      }))
  })
}

const open = (store: Store) => MessageStorage.makeEncoded(store)
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-messages-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
).pipe(Effect.flatMap((path) => FileStore.make({ path, durability: "none" })))

suite(
  "Effect's in memory",
  Effect.map(EffectMessageStorage.MemoryDriver, ({ encoded }) => encoded).pipe(
    Effect.provide(Layer.fresh(EffectMessageStorage.MemoryDriver.layer))
  )
)
suite("ours in memory", Effect.flatMap(memory, open))
suite("ours in a folder", Effect.flatMap(folder, open))

const counted = Effect.map(memory, (inner) => {
  const { counter, store } = InstrumentedStore.make(inner)
  const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
    yield* counter.reset
    yield* effect
    return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
  })
  return { store, made }
})

describe("MessageStorage", () => {
  it.effect("requests", () =>
    Effect.gen(function* () {
      const { made, store } = yield* counted
      const storage = yield* open(store)
      const other = yield* open(store)
      assert.deepStrictEqual(yield* made(save(storage, request(1))), { put: 3 })
      assert.deepStrictEqual(yield* made(save(storage, request(2), "k")), { get: 1, put: 4 })
      assert.deepStrictEqual(yield* made(save(storage, request(3), "k")), { get: 1 })
      const clock = { put: 1, head: 1, delete: 1 }
      assert.deepStrictEqual(yield* made(read(storage)), { ...clock, list: 1, get: 2, put: 3 })
      assert.deepStrictEqual(yield* made(read(storage)), { list: 1 })
      assert.deepStrictEqual(yield* made(storage.saveReply(chunk(100, 1, 0))), { put: 1 })
      assert.deepStrictEqual(yield* made(save(storage, acknowledge(200, 1, 100))), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(read(storage)), { list: 1, get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(storage.saveReply(exit(101, 1))), { put: 1, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(other.repliesFor(["1"])), { get: 1 })
      assert.deepStrictEqual(yield* made(other.repliesFor(["2"])), { get: 2 })
      assert.deepStrictEqual(yield* made(other.repliesFor(["2"])), { get: 1 })
      assert.deepStrictEqual(yield* made(other.saveReply(exit(102, 2))), { put: 1, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(other.clearReplies(flake(2))), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(other.clearAddress(address("a"))), {
        list: 1,
        get: 2,
        delete: 2,
        deleteMany: 2
      })
      assert.deepStrictEqual(yield* keysOf(store), [])
    })
  )

  it.effect("of two that read the same shards each message goes to one", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [a, b] = yield* Effect.all([open(store), open(store)])
      for (const id of range(30)) yield* save(a, request(1 + id, `e${id}`), id % 2 === 0 ? `k${id}` : null)
      const fiber = yield* Effect.forkChild(Effect.all([read(a), read(b)], { concurrency: 2 }))
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("10 millis")
      const [mine, theirs] = yield* Fiber.join(fiber)
      assert.sameMembers(
        [...mine, ...theirs],
        range(30).map((id) => String(1 + id))
      )
    })
  )

  it.effect("1,200 messages are all there, in the order of their ids", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, open)
      yield* Effect.forEach(range(1200), (id) => save(storage, request(id + 1)), { concurrency: 16 })
      const found: Array<string> = []
      for (;;) {
        const some = yield* read(storage, shardsOf(1), { limit: 1000 })
        if (some.length === 0) break
        found.push(...some)
      }
      assert.deepStrictEqual(
        found,
        range(1200).map((id) => String(id + 1))
      )
    })
  )

  it.effect(
    "a crash at any request of a save: what was acknowledged is delivered, and a retry is no other request",
    () =>
      Effect.gen(function* () {
        for (const primaryKey of ["k", null]) {
          for (const when of ["before", "after"] as const) {
            for (let at = 1; at <= 5; at++) {
              const store = yield* memory
              const crash = crashing(store, at, when)
              const saved = yield* Effect.exit(
                Effect.flatMap(open(crash.store), (one) => save(one, request(1), primaryKey))
              )
              const storage = yield* open(store)
              const retried = yield* save(storage, request(primaryKey === null ? 1 : 2), primaryKey)
              const found = yield* read(storage)
              assert.strictEqual(found.length, 1, `${primaryKey} ${when} ${at}`)
              if (Exit.isSuccess(saved)) assert.deepStrictEqual(found, ["1"])
              const original =
                retried._tag === "Duplicate" ? String(retried.originalId) : primaryKey === null ? "1" : "2"
              assert.deepStrictEqual(found, [original])
              yield* storage.saveReply(exit(100, Number(original)))
              // What the crash has left is removed when it is old.
              yield* TestClock.adjust("2 hours")
              assert.deepStrictEqual(yield* read(storage), [])
              assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/pending/"), [])
            }
          }
        }
      })
  )

  it.effect("in every order of requests, and of a crash: what was saved is delivered once, until it is cleared", () =>
    Effect.gen(function* () {
      const scenarios: Record<string, Record<"a" | "b", (storage: Encoded) => Effect.Effect<unknown, unknown>>> = {
        "two save one primary key": {
          a: (storage) => save(storage, request(1), "k"),
          b: (storage) => save(storage, request(2), "k")
        },
        "one saves while another reads": {
          a: (storage) => save(storage, request(1), "k"),
          b: (storage) => read(storage)
        },
        "one answers while another interrupts": {
          a: (storage) => storage.saveReply(exit(100, 9)),
          b: (storage) => save(storage, interrupt(200, 9))
        },
        "one clears what it has answered while another reads": {
          a: (storage) =>
            Effect.andThen(
              storage.saveReply(exit(100, 9)),
              storage.clearReplies(flake(9), { expectedReplyId: flake(100) })
            ),
          b: (storage) => read(storage)
        }
      }
      for (const [name, { a, b }] of Object.entries(scenarios)) {
        for (const crashes of [0, 1]) {
          const { control, store } = yield* MemoryStore.make()
          const given = yield* open(store)
          yield* save(given, request(9), "nine")
          yield* read(given)
          const start = yield* control.snapshot
          const schedule = Interleavings.make(store)
          const programOf = (client: "a" | "b", does: typeof a, seed: number) =>
            Effect.provideService(
              Effect.suspend(() => Effect.flatMap(open(schedule.client(client)), does)),
              Id.Generator,
              Id.seeded(seed)
            )
          const report = yield* schedule.explore({
            before: control.restore(start),
            programs: { a: programOf("a", a, 1), b: programOf("b", b, 2) },
            preemptions: crashes === 0 ? 2 : 1,
            crashes,
            check: Effect.fnUntraced(function* ({ exits, trace }) {
              const where = `${name}\n${trace.join("\n")}`
              const looking = yield* open(store)
              const told = Exit.isSuccess(exits["b"]!) && Array.isArray(exits["b"].value) ? exits["b"].value : []
              // The claims of who has read are over.
              yield* Effect.orDie(looking.resetShards(shardsOf(1)))
              const left = yield* Effect.orDie(read(looking))
              assert.strictEqual(new Set(left).size, left.length, where)
              const one = Option.getOrUndefined(yield* Effect.orDie(looking.requestIdForPrimaryKey("k")))
              if (one !== undefined) assert.include(left, String(one), where)
              for (const id of ["1", "2"]) if (String(one) !== id) assert.notInclude([...left, ...told], id, where)
              if (Exit.isSuccess(exits["a"]!) && name.includes("save")) assert.isDefined(one, where)
              const replies = yield* Effect.orDie(looking.repliesFor(["9"]))
              // It is answered, or is delivered again.
              assert.strictEqual(left.includes("9"), replies.length === 0, where)
            })
          })
          assert.isTrue(report.complete, name)
        }
      }
    }).pipe(Pauses.byClock)
  )

  it.effect("exits of a transaction that fails are not there, of one that succeeds after it", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, open)
      for (const id of [1, 2, 3]) yield* save(storage, request(id))
      const both = Effect.andThen(
        storage.saveReply(exit(100, 1)),
        Effect.exit(storage.withTransaction(Effect.andThen(storage.saveReply(exit(101, 2)), Effect.fail("inner"))))
      )
      const body = Effect.gen(function* () {
        yield* both
        yield* storage.withTransaction(storage.saveReply(exit(102, 3)))
        assert.deepStrictEqual(yield* storage.repliesFor(["1", "2", "3"]), [])
      })
      yield* Effect.exit(storage.withTransaction(Effect.andThen(body, Effect.fail("outer"))))
      assert.deepStrictEqual(yield* storage.repliesFor(["1", "2", "3"]), [])
      yield* storage.withTransaction(body)
      assert.deepStrictEqual(tags(yield* storage.repliesFor(["1", "2", "3"])), ["WithExit 100", "WithExit 102"])
    })
  )

  it.effect("a request has one exit: another is refused, the same by another id is the one that is there", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [mine, theirs] = yield* Effect.all([open(store), open(store)])
      yield* save(mine, request(1), "k")
      assert.deepStrictEqual(yield* read(mine), ["1"])
      yield* theirs.saveReply(chunk(99, 1, 0))
      yield* theirs.saveReply(exit(100, 1))
      const other: Reply.Encoded = { ...exit(101, 1), exit: { _tag: "Success", value: "another" } } as Reply.Encoded
      for (const storage of [mine, theirs]) {
        for (const late of [other, chunk(102, 1, 1)]) {
          const { _tag, cause } = yield* Effect.flip(storage.saveReply(late))
          assert.strictEqual(_tag, "PersistenceError")
          assert.include(String(cause), "request 1 has its exit, reply 100")
        }
      }
      // Who has not been told that it has succeeded says it again, by another id.
      yield* mine.saveReply({ ...exit(100, 1), id: "103" })
      assert.deepStrictEqual(tags(yield* mine.repliesFor(["1"])), ["Chunk 99", "WithExit 100"])
      yield* mine.clearReplies(flake(1), { expectedReplyId: flake(100) })
      yield* mine.saveReply(other)
      assert.deepStrictEqual(yield* theirs.repliesFor(["1"]), [other])
    })
  )

  it.effect("a chunk is there once, and another of its number is refused", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, open)
      yield* save(storage, request(1))
      yield* storage.saveReply(chunk(100, 1, 0))
      yield* storage.saveReply({ ...chunk(101, 1, 0) })
      const { cause } = yield* Effect.flip(storage.saveReply({ ...chunk(102, 1, 0), values: ["another"] }))
      assert.include(String(cause), "request 1 has chunk 0, reply 100")
      assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["Chunk 100"])
    })
  )

  it.effect("a chunk that was acknowledged and forgotten is not there again", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, open)
      yield* save(storage, request(1))
      for (const sequence of [0, 1]) yield* storage.saveReply(chunk(100 + sequence, 1, sequence))
      yield* save(storage, acknowledge(200, 1, 101))
      const { cause } = yield* Effect.flip(storage.saveReply(chunk(102, 1, 0)))
      assert.include(String(cause), "request 1 has that chunk already")
      yield* storage.saveReply(chunk(103, 1, 2))
      assert.deepStrictEqual(tags(yield* storage.repliesFor(["1"])), ["Chunk 103"])
      assert.deepStrictEqual(tags(yield* storage.repliesForUnfiltered(["1"])), ["Chunk 101", "Chunk 103"])
    })
  )

  it.effect("what is asked of no address, and of several ids in any order", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, open)
      for (const id of [2, 10, 1]) yield* save(storage, request(id))
      yield* storage.resetAddresses([])
      assert.deepStrictEqual(yield* read(storage), ["1", "2", "10"])
      const found = yield* storage.unprocessedMessagesById([flake(10), flake(2), flake(1)], 0)
      assert.deepStrictEqual(
        found.map(({ envelope }) => idOf(envelope)),
        ["1", "2", "10"]
      )
    })
  )

  it.effect("what takes longer than marks are kept puts its mark again", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let slow = false
      const slowly: Store = {
        ...store,
        put: (input) =>
          slow && !input.key.includes("/pending/")
            ? Effect.andThen(Effect.sleep("40 minutes"), store.put(input))
            : store.put(input)
      }
      const storage = yield* open(slowly)
      const puts = (key: string) => Effect.map(store.head(key), ({ lastModified }) => lastModified!)
      const during = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>) {
        slow = true
        const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
        yield* TestClock.adjust("90 minutes")
        yield* Fiber.join(fiber)
        slow = false
        const marks = yield* keysOf(store, "plugin=cluster/pending/")
        return Math.max(...(yield* Effect.forEach(marks, puts)))
      })
      const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const minutes = (time: number) => Math.round((time - start) / 60_000)
      // The mark is as young as the request, or what it belongs to: it is not removed as what a crash has left.
      assert.strictEqual(minutes(yield* during(save(storage, request(1)))), 80)
      assert.strictEqual(minutes(yield* during(save(storage, interrupt(200, 1)))), 90 + 40)
      yield* storage.saveReply(exit(100, 1))
      assert.strictEqual(minutes(yield* during(storage.clearReplies(flake(1)))), 180 + 40)
    })
  )

  it.effect("an address is cleared of a request that a crash has left in part, and tells what cannot be removed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const storage = yield* open(store)
      const crash = crashing(store, 3, "before")
      yield* Effect.exit(Effect.flatMap(open(crash.store), (half) => save(half, request(1))))
      yield* save(storage, request(2))
      const reason = new Unavailable({ description: "down", sent: true })
      const failing = yield* open({
        ...store,
        deleteMany: (keys) => Effect.succeed({ deleted: [], failed: [{ key: keys[0]!, reason }] })
      })
      const { cause } = yield* Effect.flip(failing.clearAddress(address("a")))
      assert.include(String(cause), "down")
      yield* storage.clearAddress(address("a"))
      assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/address/"), [])
      assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/requests/"), [])
    })
  )

  it.effect("an exit that is there is told so, also when what was pending could not be removed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const failing = new Unavailable({ description: "down", sent: true })
      const half = yield* open({
        ...store,
        deleteMany: () => Effect.fail(new StoreError({ operation: "deleteMany", reason: failing }))
      })
      yield* save(half, request(1))
      yield* half.saveReply(exit(100, 1))
      const storage = yield* open(store)
      assert.deepStrictEqual(yield* read(storage), [])
      assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/pending/"), [])
    })
  )

  it.effect("what is damaged is told; what is no message is refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const storage = yield* open(store)
      yield* save(storage, request(1))
      yield* store.put({
        key: "plugin=cluster/requests/00000000000000000001",
        body: new TextEncoder().encode("{")
      })
      yield* store.put({ key: "plugin=cluster/pending/default/other", body: new Uint8Array() })
      for (const effect of [read(storage), storage.repliesFor(["1"]), storage.clearReplies(flake(1))]) {
        assert.strictEqual(
          (yield* Effect.flip(effect as Effect.Effect<unknown, { readonly _tag: string }>))._tag,
          "PersistenceError"
        )
      }
      const wrong = { ...request(2), address: { shardId: { group: "g", id: 0.5 }, entityType: "x", entityId: "y" } }
      assert.strictEqual((yield* Effect.flip(save(storage, wrong)))._tag, "PersistenceError")
    })
  )
})

class Count extends Rpc.make("Count", {
  payload: { by: Schema.Int },
  success: Schema.Int,
  primaryKey: ({ by }) => String(by)
}).annotate(ClusterSchema.Persisted, true) {}

const Counters = Entity.make("Counters", [Count])

describe("a cluster whose storage is a database", () => {
  it.live("handles each message once, also when it is sent again, and tells a runner that comes later", () =>
    Effect.gen(function* () {
      const handled: Array<number> = []
      const store = yield* memory
      const config = ShardingConfig.layer({
        shardsPerGroup: 20,
        entityMessagePollInterval: "50 millis",
        entityReplyPollInterval: "50 millis",
        refreshAssignmentsInterval: "50 millis"
      })
      const database = Database.layerWith({ catalogLease: 0 }).pipe(Layer.provide(Layer.succeed(ObjectStore, store)))
      const runner = () =>
        Counters.toLayer({
          Count: ({ payload }) => Effect.sync(() => (handled.push(payload.by), payload.by * 10))
        }).pipe(
          Layer.provideMerge(
            Layer.fresh(Sharding.layer).pipe(
              Layer.provide(Runners.layerNoop),
              Layer.provideMerge(MessageStorage.layerWith({})),
              Layer.provide([RunnerStorage.layerWith({}), RunnerHealth.layerNoop]),
              Layer.provide(database),
              Layer.provide(config)
            )
          )
        )
      const ask = (by: number) => Effect.flatMap(Counters.client, (client) => client(`c${by}`).Count({ by }))
      const first = Effect.gen(function* () {
        assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3], ask, { concurrency: "unbounded" }), [10, 20, 30])
        assert.strictEqual(yield* ask(2), 20)
      })
      yield* Effect.provide(first, runner())
      // Another process: what was answered is not done again.
      yield* Effect.provide(
        Effect.gen(function* () {
          assert.strictEqual(yield* ask(3), 30)
          assert.strictEqual(yield* ask(4), 40)
        }),
        runner()
      )
      assert.deepStrictEqual(
        handled.toSorted((a, b) => a - b),
        [1, 2, 3, 4]
      )
    }).pipe(Effect.timeout("100 seconds"))
  )
})
