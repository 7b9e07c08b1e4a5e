/** What no cluster should give its storages: each works, or is a `PersistenceError` and changes nothing. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type * as Envelope from "effect/cluster/Envelope"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as ShardId from "effect/cluster/ShardId"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import { keysOf, memory } from "../fixture.ts"

const refused = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>, says: string) {
  const exit = yield* Effect.exit(effect)
  if (Exit.isSuccess(exit)) return assert.fail(`it was taken: ${says}`)
  const [reason] = exit.cause.reasons
  if (reason === undefined || !Cause.isFailReason(reason)) return assert.fail(Cause.pretty(exit.cause))
  assert.propertyVal(reason.error, "_tag", "PersistenceError")
  assert.include(String((reason.error as Error).cause), says)
})

const given = <A>(value: unknown): A => value as A
const keys = ["__proto__", "constructor", "", "..", "a\0b", "/a//b/", "é"]
const lone = "a\ud800"
const long = "k".repeat(2000)
const cyclic: { me?: unknown } = {}
cyclic.me = cyclic

const request = (id: string, part: object = {}): Envelope.PartialRequestEncoded => ({
  _tag: "Request",
  requestId: id,
  address: { shardId: { group: "default", id: 1 }, entityType: "Users", entityId: "a" },
  tag: "get",
  payload: { id },
  headers: {},
  ...part
})

describe("MessageStorage, given what is hostile", () => {
  it.effect("any text is a primary key, an entity, a group, a header; and comes back as it was", () =>
    Effect.gen(function* () {
      const storage = yield* Effect.flatMap(memory, (store) => MessageStorage.makeEncoded(store))
      let ids = 1000
      const save = (part: object, primaryKey: string | null = null) => {
        const envelope = request(String(ids++), part)
        return Effect.as(storage.saveEnvelope({ envelope, primaryKey, deliverAt: null }), envelope)
      }
      const sent: Array<Envelope.Encoded> = []
      for (const text of [...keys, long, lone]) {
        const { requestId } = yield* save({ payload: { text } }, text)
        assert.strictEqual(String(Option.getOrUndefined(yield* storage.requestIdForPrimaryKey(text))), requestId)
        yield* save({ address: { shardId: { group: "default", id: 2 }, entityType: text, entityId: text } })
        const headers: unknown = JSON.parse(`{${JSON.stringify(text)}:"v"}`)
        const address = { shardId: { group: "default", id: 3 }, entityType: "Users", entityId: "a" }
        sent.push(yield* save({ address, headers, payload: headers }))
      }
      const found = yield* storage.unprocessedMessages(["default:3"], 0)
      assert.deepStrictEqual(
        found.map(({ envelope }) => JSON.stringify(envelope)),
        sent.map((envelope) => JSON.stringify(envelope))
      )
      for (const group of keys) {
        yield* save({ address: { shardId: { group, id: 4 }, entityType: "Users", entityId: "a" } })
        assert.lengthOf(yield* storage.unprocessedMessages([`${group}:4`], 0), 1)
      }
    })
  )

  it.effect("what is no JSON, no id, no time and no shard is refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const storage = yield* MessageStorage.makeEncoded(store)
      const save = (envelope: Envelope.Encoded, deliverAt: number | null = null) =>
        storage.saveEnvelope({ envelope, primaryKey: null, deliverAt })
      yield* refused(save(request("1", { payload: { a: 1n } })), "BigInt")
      yield* refused(save(request("1", { payload: cyclic })), "circular")
      for (const id of ["abc", "-1", "", "1e3", "1/2", "9".repeat(40), lone])
        yield* refused(save(request(id)), "requestId")
      for (const time of [Number.NaN, Infinity]) yield* refused(save(request("1"), time), "deliverAt")
      for (const [group, says] of [
        [lone, "group"],
        [long, "1024 bytes"]
      ] as const) {
        const address = { shardId: { group, id: 1 }, entityType: "Users", entityId: "a" }
        yield* refused(save(request("1", { address })), says)
      }
      for (const shard of ["nonsense", `${lone}:1`, given<string>(5)]) {
        yield* refused(storage.unprocessedMessages([shard], 0), "shard")
        yield* refused(storage.resetShards([shard]), "shard")
      }
      assert.deepStrictEqual(yield* keysOf(store), [])
      yield* save(request("1"))
      const exit = { _tag: "WithExit", id: "2", requestId: "1", exit: { _tag: "Success", value: 1n } }
      yield* refused(storage.saveReply(given(exit)), "BigInt")
      const interrupt = { ...request("1"), _tag: "Interrupt", id: "3/4" }
      yield* refused(save(given(interrupt)), "id")
      assert.deepStrictEqual(yield* storage.repliesFor(["1"]), [])
      // Of what nobody has sent nothing is known.
      for (const id of ["abc", "-1", "1/2"]) assert.deepStrictEqual(yield* storage.repliesFor([id]), [])
    })
  )
})

describe("RunnerStorage, given what is hostile", () => {
  it.effect("any text is a host and a group; what is no Unicode, or too long, is refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const storage = yield* Effect.provide(RunnerStorage.make(store), ShardingConfig.layer())
      const runner = (host: string) =>
        Runner.make({ address: RunnerAddress.make(host, 1), groups: ["default"], weight: 1 })
      for (const [host, says] of [
        [lone, "no valid Unicode"],
        [long, "1024 bytes"]
      ] as const) {
        const { address } = runner(host)
        yield* refused(storage.register(runner(host), true), says)
        yield* refused(storage.acquire(address, [ShardId.make("default", 1)]), says)
        yield* refused(storage.refresh(address, [ShardId.make("default", 1)]), says)
      }
      assert.deepStrictEqual(yield* keysOf(store), [])
      for (const host of keys) {
        const { address } = runner(host)
        const shard = ShardId.make(host, 1)
        yield* storage.register(runner(host), true)
        assert.deepStrictEqual(yield* storage.acquire(address, [shard]), [shard])
        assert.deepStrictEqual(yield* storage.refresh(address, [shard]), [shard])
      }
      assert.sameMembers(
        (yield* storage.getRunners).map(([{ address }]) => address.host),
        keys
      )
      const many = Array.from({ length: 2500 }, (_, i) => ShardId.make("default", i + 1))
      assert.lengthOf(yield* storage.acquire(RunnerAddress.make("é", 1), many), 2500)
    }).pipe(Effect.scoped)
  )

  it.effect("an expiration of no time, or of less than the store can tell, is a mistake in the program", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const time of [Number.NaN, -1, 0, 999, "soon", "-1 seconds"]) {
        const config = ShardingConfig.layer({ shardLockExpiration: given<number>(time) })
        const exit = yield* Effect.exit(Effect.provide(RunnerStorage.make(store), config))
        assert.isTrue(Exit.isFailure(exit), String(time))
        if (Exit.isFailure(exit)) {
          const defect = Cause.squash(exit.cause)
          assert.instanceOf(defect, RangeError)
          assert.include(String(defect), `shardLockExpiration has to be a time from 1 second, not ${String(time)}`)
        }
      }
      yield* Effect.provide(RunnerStorage.make(store), ShardingConfig.layer({ shardLockExpiration: Infinity }))
    }).pipe(Effect.scoped)
  )
})
