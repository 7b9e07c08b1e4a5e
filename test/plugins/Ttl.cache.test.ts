/** Documents that expire, and a cache: what is kept of them is neither shown nor swept for longer than they are. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"

class Sessions extends Resource.Service<Sessions>()("effect-s3db/test/plugins/Ttl.cache.test/Sessions", {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int, expiresAt: Schema.DateTimeUtc }),
  primaryKey: "id",
  name: "sessions"
}) {}

const minute = 60_000
const at = (millis: number) => DateTime.makeUnsafe(millis)

const processOn = Effect.fnUntraced(function* (store: ObjectStore["Service"], isCached: boolean) {
  const { database } = yield* openOn(store)
  const provided = Effect.provideService(Database, database)
  // For a long time, so that nothing but the plugins is in the way.
  if (isCached) yield* provided(Cache.make({ staleness: "1 hour", timeToLive: "1 hour" }))
  const sessions = yield* provided(Resource.make(Sessions.definition))
  const policies = [Ttl.policy(Sessions, { at: "expiresAt", hide: true })]
  const ttl = yield* provided(Effect.provideService(Ttl.make({ policies, sweep: false }), Sessions, sessions))
  yield* ttl.runNow()
  return { sessions, ttl }
})

describe("Ttl beside a Cache", () => {
  it.effect("hides what has expired, also when it is in the cache", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(minute)
      const { sessions } = yield* processOn(yield* memory, true)
      yield* sessions.insert({ id: "1", n: 1, expiresAt: at(2 * minute) })
      yield* sessions.insert({ id: "2", n: 2, expiresAt: at(9 * minute) })
      const seen = Effect.gen(function* () {
        const listed = yield* Stream.runCollect(sessions.listIds())
        const found = yield* Stream.runCollect(sessions.query({ where: { n: { gt: 0 } }, scan: true }))
        const got = yield* sessions.getMany(["1", "2"])
        return {
          listed: [...listed],
          found: found.map(({ id }) => id),
          got: got.map(Option.isSome),
          page: (yield* sessions.list()).items.length,
          count: yield* sessions.count(),
          exists: yield* sessions.exists("1")
        }
      })
      const all = { listed: ["1", "2"], found: ["1", "2"], got: [true, true], page: 2, count: 2, exists: true }
      assert.deepStrictEqual(yield* seen, all)
      assert.deepStrictEqual(yield* seen, all)
      yield* TestClock.adjust(minute)
      const left = { listed: ["2"], found: ["2"], got: [false, true], page: 1, count: 1, exists: false }
      assert.deepStrictEqual(yield* seen, left)
      assert.deepStrictEqual(yield* seen, left)
    })
  )

  it.effect("does not expire what another process has refreshed, whatever the cache says", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(minute)
      const store = yield* memory
      const cached = yield* processOn(store, true)
      const other = yield* processOn(store, false)
      yield* cached.sessions.insert({ id: "1", n: 1, expiresAt: at(2 * minute) })
      yield* cached.sessions.get("1")
      yield* other.sessions.update("1", { n: 2, expiresAt: at(99 * minute) })
      yield* TestClock.adjust(minute)
      yield* cached.ttl.runNow()
      assert.strictEqual((yield* other.sessions.get("1")).n, 2)
      // And expires what is due although the cache says that it is not.
      yield* other.sessions.update("1", { n: 3, expiresAt: at(0) })
      yield* TestClock.adjust("2 hours")
      assert.strictEqual((yield* cached.ttl.runNow())[0]!.deleted, 1)
    })
  )
})
