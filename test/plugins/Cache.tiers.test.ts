/** Tiers that lie outside of the process: in a folder, sealed, and in a Redis that this test plays. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redis_ from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as BlobCodec from "effect-s3db/kernel/BlobCodec"
import * as Cache from "effect-s3db/plugins/Cache"
import { encodeBase64 } from "../../src/internal/base64.ts"
import { keysOf, memory } from "../fixture.ts"
import { open, openIn, user } from "./cacheFixture.ts"

const { Redis, RedisError } = Redis_

describe("Cache, tiers outside of the process", () => {
  it.live("in a folder: entries are there for the next process", () =>
    Effect.gen(function* () {
      const path = mkdtempSync(join(tmpdir(), "effect-s3db-cache-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(path, { recursive: true, force: true })))
      const store = yield* memory
      const options = { tiers: [Cache.folder(path)], staleness: 0 } as const
      const scope = yield* Scope.make()
      const first = yield* openIn(scope, store, options)
      yield* first.users.insert(user("1", { tags: ["x".repeat(3000)] }))
      yield* first.users.get("1")
      yield* Scope.close(scope, Exit.void)
      const next = yield* open(store, options)
      const found = yield* next.requests(next.users.get("1"))
      assert.strictEqual(found.value.tags[0]!.length, 3000)
      // It looks how things stand, and at no document.
      assert.strictEqual(found.total, 1)
      yield* next.cache.clear("users")
      assert.strictEqual(yield* next.totalOf(next.users.get("1")), 2)
      const refused = yield* Effect.flip(open(store, { tiers: [Cache.folder("")] }))
      assert.strictEqual(refused._tag, "TierFailed")
    })
  )

  it.effect("sealed: nobody reads them without the keys, and others' are none", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const far = yield* memory
      const ringOf = (fill: number) =>
        Effect.flatMap(KeyRing.KeyRing, (ring) => ring.unlock(new Uint8Array(32).fill(1))).pipe(
          Effect.provide(KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(fill)) } }))
        )
      const sealedBy = Effect.fnUntraced(function* (fill: number) {
        const sealing = { keys: yield* ringOf(fill), scope: "plugin=cache" }
        return yield* open(store, {
          tiers: [Cache.objectStore(far, { sealing, sweepInterval: 0 })],
          staleness: "1 day"
        })
      })
      const a = yield* sealedBy(1)
      yield* a.users.insert(user("1"))
      yield* a.users.get("1")
      assert.strictEqual(yield* a.totalOf(a.users.get("1")), 0)
      const [key] = yield* keysOf(far)
      const { body } = yield* far.get(key!)
      assert.notInclude(new TextDecoder().decode(body), "user 1")
      const other = yield* sealedBy(2)
      yield* other.users.count()
      assert.strictEqual(yield* other.totalOf(other.users.get("1")), 1)
      assert.isAtLeast((yield* other.cache.statistics).tiers[0]!.errors, 1)
    })
  )

  it.effect("in Redis: by GET, SET with an end, SCAN and UNLINK", () =>
    Effect.gen(function* () {
      const values = new Map<string, string>()
      const commands: Array<string> = []
      const control = { isDown: false }
      const queue = yield* Queue.unbounded<Redis_.RedisMessage, Redis_.RedisError>()
      const answer = (command: string, args: ReadonlyArray<string>): unknown => {
        const [key = "", value = ""] = args
        switch (command) {
          case "GET":
            return values.get(key) ?? null
          case "SET":
            return void values.set(key, value)
          case "SCAN": {
            const prefix = (args[2] ?? "").slice(0, -1).replaceAll("\\", "")
            return [key === "0" ? "7" : "0", [...values.keys()].filter((one) => key === "7" && one.startsWith(prefix))]
          }
          case "UNLINK":
            return args.forEach((one) => values.delete(one))
          default:
            return Queue.offerUnsafe(queue, { channel: key, message: value })
        }
      }
      const redis = yield* Redis_.make({
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          Effect.suspend(() => {
            commands.push(command)
            return control.isDown
              ? Effect.fail(new RedisError({ cause: new Error("ECONNREFUSED") }))
              : Effect.succeed(answer(command, args) as A)
          }),
        subscribe: (_, onMessage) =>
          Effect.succeed(Effect.forever(Effect.map(Queue.take(queue), (message) => onMessage(message)))),
        connect: Effect.fail(new RedisError({ cause: "none" }))
      })
      const tiers = [Cache.redis({ timeToLive: "1 minute" }) as Cache.TierOf]
      const options = { tiers, peers: Cache.redisPeers as unknown as Cache.PeersOf, staleness: "1 day" } as const
      yield* Effect.gen(function* () {
        const a = yield* open(yield* memory, options)
        yield* a.users.insert(user("1", { tags: ["x".repeat(2000)] }))
        yield* a.users.get("1")
        assert.strictEqual(yield* a.totalOf(a.users.get("1")), 0)
        assert.deepStrictEqual(commands, ["PUBLISH", "GET", "SET", "GET"])
        yield* a.cache.clear("users")
        assert.strictEqual(values.size, 0)
        // One that is short is text, which tells whether it is whole.
        yield* a.users.insert(user("2"))
        yield* a.users.get("2")
        const [[key = "", good = ""] = []] = [...values]
        assert.include(good, "user 2")
        const blob = yield* BlobCodec.bytes().encode(new TextEncoder().encode("no entry"), key.slice("cache/".length))
        const bad = ["", "=", "x", "===", good.replace("user 2", "user 3"), `${good} `, encodeBase64(blob), "RVMz"]
        for (const text of bad) {
          values.set(key, text)
          assert.strictEqual((yield* a.users.get("2")).name, "user 2", text)
        }
        values.set(key, good)
        assert.strictEqual(yield* a.totalOf(a.users.get("2")), 0)
        yield* a.cache.clear()
        control.isDown = true
        assert.strictEqual((yield* a.users.get("1")).id, "1")
        yield* a.users.patch("1", { age: 31 })
        const { peerErrors, tiers: counted } = yield* a.cache.statistics
        assert.strictEqual(peerErrors, 1)
        assert.isAtLeast(counted[0]!.errors, 2)
        const failed = yield* Effect.flip(a.cache.clear("users"))
        assert.strictEqual(failed.message, "tier redis failed, clear: ECONNREFUSED")
        yield* TestClock.adjust("2 minutes")
      }).pipe(Effect.provideService(Redis, redis))
    })
  )
})
