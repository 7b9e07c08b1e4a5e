/** Clients that are shut out: by what they do, by hand, in every process, and for as long as it was said. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Bans from "effect-s3db/http/Bans"
import * as RateLimit from "effect-s3db/http/RateLimit"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { type Answer, serve } from "./api.ts"
import { settled } from "../waiting.ts"

const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))

const keyOf = ({ headers }: { readonly headers: Readonly<Record<string, string | undefined>> }) => headers["x-client"]

/** Answers with the status that a request asks for. */
const statuses = HttpRouter.add("GET", "/:status", (request) =>
  Effect.succeed(HttpServerResponse.empty({ status: Number(request.url.slice(1)) }))
)

/** A server on a store, with the service that it goes by. */
const served = Effect.fnUntraced(function* (store: ObjectStore["Service"], options: Bans.Options = {}) {
  let bans: Bans.Bans["Service"] | undefined
  const taken = Layer.effectDiscard(
    Effect.map(Bans.Bans, (service) => {
      bans = service
    })
  )
  const banned = Bans.layer({ keyOf, violations: 3, ...options })
  const { send } = yield* serve(
    Layer.merge(statuses, Layer.provideMerge(taken, banned)).pipe(
      Layer.provide(limiter),
      Layer.provide(Database.layer),
      Layer.provide(Layer.succeed(ObjectStore, store))
    )
  )
  const ask = (client: string, status = 200) =>
    send("GET", `/${status}`, { as: "", ...(client === "" ? {} : { headers: { "x-client": client } }) })
  // The server is built by its first request.
  yield* ask("")
  assert(bans !== undefined)
  return { ask, bans }
})

const isRefused = (answer: Answer) => {
  assert.strictEqual(answer.status, 403)
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
  assert.strictEqual(answer.json.code, "Banned")
}

const memory = Effect.map(MemoryStore.make(), ({ store }) => store)

/** A program on a store, whose clock is the test's. */
const opened = Effect.fnUntraced(function* (store: ObjectStore["Service"], options: Bans.Options = {}) {
  const context = yield* Layer.build(
    Layer.merge(Bans.layer(options), HttpRouter.layer).pipe(
      Layer.provideMerge(HttpRouter.layer),
      Layer.provide(limiter),
      Layer.provide(Database.layer),
      Layer.provide(Layer.succeed(ObjectStore, store))
    )
  )
  return yield* Effect.provide(Bans.Bans, context)
})

describe("Bans", () => {
  it.effect("who breaks the rules so many times is shut out, nobody else is, and all are told why", () =>
    Effect.gen(function* () {
      const { ask, bans } = yield* served(yield* memory, { allow: ["office"] })
      assert.strictEqual((yield* ask("eve", 401)).status, 401)
      assert.strictEqual((yield* ask("eve", 500)).status, 500)
      assert.strictEqual((yield* ask("eve", 429)).status, 429)
      assert.strictEqual((yield* ask("eve")).status, 200)
      assert.strictEqual((yield* ask("eve", 401)).status, 401)
      const refused = yield* ask("eve")
      isRefused(refused)
      assert.isAbove(Number(refused.headers.get("retry-after")), 3590)
      for (const client of ["ana", "", "office"]) {
        const status = client === "ana" ? 200 : 401
        for (let i = 0; i < 4; i++) assert.strictEqual((yield* ask(client, status)).status, status)
      }
      const all = yield* Stream.runCollect(bans.list)
      assert.deepStrictEqual(
        all.map(({ id }) => id),
        ["eve"]
      )
      assert.include(all[0]?.reason, "3")
      assert.isTrue(yield* bans.lift("eve"))
      assert.strictEqual((yield* ask("eve")).status, 200)
      assert.isFalse(yield* bans.lift("eve"))
    })
  )

  it.effect("sees what a limit of requests refuses, when it is merged after that", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const limit = RateLimit.layer({ limit: 1, window: "1 minute", keyOf })
      const { send } = yield* serve(
        Layer.mergeAll(statuses, limit).pipe(
          Layer.provideMerge(Bans.layer({ keyOf, violations: 2 })),
          Layer.provide(limiter),
          Layer.provide(Database.layer),
          Layer.provide(Layer.succeed(ObjectStore, store))
        )
      )
      const found: Array<number> = []
      for (let i = 0; i < 4; i++) found.push((yield* send("GET", "/200", { headers: { "x-client": "eve" } })).status)
      assert.deepStrictEqual(found, [200, 429, 429, 403])
    })
  )

  it.effect("ends when it was said, is known to other processes by then, and leaves nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* opened(store, { refresh: "30 seconds" })
      const other = yield* opened(store, { refresh: "30 seconds" })
      yield* one.ban("eve", { for: "5 minutes", reason: "by hand" })
      assert.isTrue(Option.isNone(yield* other.find("eve")))
      yield* TestClock.adjust("31 seconds")
      // What it finds it has to read.
      while (Option.isNone(yield* other.find("eve"))) yield* Effect.yieldNow
      const later = yield* opened(store)
      assert.strictEqual(Option.getOrThrow(yield* later.find("eve")).reason, "by hand")
      yield* TestClock.adjust("5 minutes")
      for (const bans of [one, other, later]) assert.isTrue(Option.isNone(yield* bans.find("eve")))
      assert.deepStrictEqual(yield* Stream.runCollect(one.list), [])
      assert.deepStrictEqual(yield* Stream.runCollect(one.list), [])
    })
  )

  it.effect("a ban that is made anew lasts anew", () =>
    Effect.gen(function* () {
      const bans = yield* opened(yield* memory)
      yield* bans.ban("eve", { for: "1 minute" })
      yield* TestClock.adjust("50 seconds")
      yield* bans.ban("eve", { for: "1 minute" })
      yield* TestClock.adjust("50 seconds")
      assert.isTrue(Option.isSome(yield* bans.find("eve")))
      assert.strictEqual((yield* Stream.runCollect(bans.list)).length, 1)
    })
  )

  it.effect("what is done while the others' bans are looked at is not forgotten by that", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const listing = { begun: yield* Deferred.make<void>(), free: yield* Deferred.make<void>(), isHeld: false }
      const list: typeof store.list = (request) =>
        listing.isHeld
          ? Effect.tap(store.list(request), () =>
              Effect.andThen(Deferred.succeed(listing.begun, undefined), Deferred.await(listing.free))
            )
          : store.list(request)
      let isDown = false
      const put: typeof store.put = (request) => {
        const reason = new Unavailable({ description: "down", sent: false })
        return isDown ? Effect.fail(new StoreError({ operation: "put", reason })) : store.put(request)
      }
      const bans = yield* opened({ ...store, list, put }, { refresh: "30 seconds" })
      yield* bans.ban("lifted")
      listing.isHeld = true
      yield* TestClock.adjust("30 seconds")
      yield* Deferred.await(listing.begun)
      yield* bans.ban("new")
      yield* bans.lift("lifted")
      isDown = true
      yield* Effect.flip(bans.ban("unwritten"))
      listing.isHeld = false
      yield* Deferred.succeed(listing.free, undefined)
      // It has ended when the next one can begin.
      for (let looks = 0; looks < 2; looks++) {
        yield* settled
        assert.isTrue(Option.isSome(yield* bans.find("new")), `new, after look ${looks}`)
        assert.isTrue(Option.isSome(yield* bans.find("unwritten")), `unwritten, after look ${looks}`)
        assert.isTrue(Option.isNone(yield* bans.find("lifted")), `lifted, after look ${looks}`)
        yield* TestClock.adjust("30 seconds")
      }
      yield* TestClock.adjust("1 hour")
      assert.isTrue(Option.isNone(yield* bans.find("unwritten")))
    })
  )

  it.effect("a ban that cannot be written counts here all the same", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let isDown = false
      const put: typeof store.put = (request) => {
        const reason = new Unavailable({ description: "down", sent: false })
        return isDown ? Effect.fail(new StoreError({ operation: "put", reason })) : store.put(request)
      }
      const { ask } = yield* served({ ...store, put }, { violations: 1 })
      isDown = true
      assert.strictEqual((yield* ask("eve", 401)).status, 401)
      isRefused(yield* ask("eve"))
    })
  )

  it.effect("what cannot be is refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const options of [
        { violations: 0 },
        { violations: 1.5 },
        { window: 0 },
        { duration: "no" as never },
        { refresh: 0 }
      ]) {
        const error = yield* Effect.flip(opened(store, options))
        assert(error._tag === "InvalidBan")
        assert.strictEqual(error.field, Object.keys(options)[0])
      }
      const bans = yield* opened(store)
      for (const key of ["", "é".repeat(129)]) {
        const error = yield* Effect.flip(bans.ban(key))
        assert.strictEqual(error._tag, "InvalidBan")
      }
      yield* bans.ban("2001:db8::1/../%2F\u{1f600}")
      assert.isTrue(Option.isSome(yield* bans.find("2001:db8::1/../%2F\u{1f600}")))
    })
  )
})
