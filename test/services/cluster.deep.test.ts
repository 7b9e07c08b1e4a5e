/** The storages of a cluster on Ceph's gateway. */
import { assert, describe, it } from "@effect/vitest"
import type * as Envelope from "effect/cluster/Envelope"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as ShardId from "effect/cluster/ShardId"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Effect from "effect/Effect"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import { describeWithGateway } from "./available.ts"
import { storeOnGateway } from "./gatewayStore.ts"

const range = (length: number) => Array.from({ length }, (_, i) => i)

describeWithGateway("the storages of a cluster on Ceph's gateway", () => {
  const open = storeOnGateway("cluster")

  describe("the storages of a cluster on Ceph's gateway", () => {
    it.live(
      "of four runners that want the same shards each shard goes to one, and is another's when it is silent",
      () =>
        Effect.gen(function* () {
          const store = yield* open
          const config = ShardingConfig.layer({ shardLockExpiration: "10 seconds" })
          const address = (i: number) => RunnerAddress.make(`r${i}`, 80)
          const shards = range(60).map((id) => ShardId.make("default", id + 1))
          const storages = yield* Effect.forEach(range(4), () => Effect.provide(RunnerStorage.make(store), config))
          const machines = yield* Effect.forEach(
            storages,
            (storage, i) =>
              storage.register(Runner.make({ address: address(i), groups: ["default"], weight: 1 }), true),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(new Set(machines).size, 4)
          const taken = yield* Effect.forEach(
            storages,
            (storage, i) => storage.acquire(address(i), shards.slice(i * 10, i * 10 + 30)),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(taken.flat().length, 60)
          assert.strictEqual(new Set(taken.flat().map(String)).size, 60)
          yield* Effect.sleep("13 seconds")
          assert.strictEqual((yield* storages[0]!.acquire(address(0), shards)).length, 60)
          assert.strictEqual((yield* storages[1]!.refresh(address(1), shards)).length, 0)
          assert.strictEqual((yield* storages[1]!.getRunners).length, 2)
        }).pipe(Effect.scoped),
      600_000
    )

    it.live(
      "of two that read the same messages each goes to one, and its reply to who asks",
      () =>
        Effect.gen(function* () {
          const store = yield* open
          const [a, b] = yield* Effect.all([MessageStorage.makeEncoded(store), MessageStorage.makeEncoded(store)])
          const request = (id: number): Envelope.Encoded => ({
            _tag: "Request",
            requestId: String(id),
            address: { shardId: { group: "default", id: 1 }, entityType: "Users", entityId: `é/${id % 3}` },
            tag: "get",
            payload: { id },
            headers: {}
          })
          const key = (id: number) => (id % 2 === 0 ? `k${id}` : null)
          yield* Effect.forEach(
            range(40),
            (id) => a.saveEnvelope({ envelope: request(id + 1), primaryKey: key(id), deliverAt: null }),
            { concurrency: 16 }
          )
          const again = yield* b.saveEnvelope({ envelope: request(100), primaryKey: "k0", deliverAt: null })
          assert.strictEqual(again._tag, "Duplicate")
          const reading = (storage: typeof a) => storage.unprocessedMessages(["default:1"], Date.now())
          const [mine, theirs] = yield* Effect.all([reading(a), reading(b)], { concurrency: 2 })
          const ids = [...mine, ...theirs].map(({ envelope }) => envelope.requestId)
          assert.sameMembers(
            ids,
            range(40).map((id) => String(id + 1))
          )
          yield* Effect.forEach(
            ids,
            (id) =>
              b.saveReply({ _tag: "WithExit", id: `1000${id}`, requestId: id, exit: { _tag: "Success", value: id } }),
            { concurrency: 16 }
          )
          assert.strictEqual((yield* a.repliesFor(ids as [string, ...Array<string>])).length, 40)
          yield* a.resetShards(["default:1"])
          assert.deepStrictEqual(yield* reading(a), [])
        }).pipe(Effect.scoped),
      600_000
    )
  })
})
