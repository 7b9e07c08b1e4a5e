import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import * as DbError from "effect-s3db/DbError"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import {
  AccessDenied,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Throttled,
  Timeout,
  Unavailable
} from "effect-s3db/storage/StoreError"
import * as Pauses from "effect-s3db/testing/Pauses"

type Store = ObjectStore["Service"]
type Fault = {
  readonly reason: Reason
  readonly landed?: boolean
  readonly meanwhile?: (store: Store) => Effect.Effect<unknown, StoreError>
}

const text = (value: string) => new TextEncoder().encode(value)
const unavailable = new Unavailable({ description: "503", status: 503, sent: true })
const refused = new Unavailable({ description: "refused", sent: false })
const timeout = new Timeout({ description: "late", afterMillis: 1 })
const refusedByItself = new PreconditionFailed({ description: "412" })
const denied = new AccessDenied({ description: "no" })

/** A store whose requests fail as planned; a fault may come after the request was carried out. */
const scripted = Effect.fnUntraced(function* (faults: ReadonlyArray<Fault>, options?: RetryingStore.Options) {
  const { store } = yield* MemoryStore.make()
  const plan = [...faults]
  const seen: Array<Operation> = []
  const through = <A>(operation: Operation, request: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      seen.push(operation)
      const fault = plan.shift()
      if (fault === undefined) return request
      return (fault.landed === true ? Effect.asVoid(request) : Effect.void).pipe(
        Effect.andThen(fault.meanwhile?.(store) ?? Effect.void),
        Effect.andThen(Effect.fail(new StoreError({ operation, key: "k", reason: fault.reason })))
      )
    })
  const inner: Store = {
    ...store,
    put: (request) => through("put", store.put(request)),
    get: (key, get) => through("get", store.get(key, get)),
    head: (key) => through("head", store.head(key)),
    delete: (key, deletion) => through("delete", store.delete(key, deletion)),
    deleteMany: (keys) => through("deleteMany", store.deleteMany(keys)),
    copy: (request) => through("copy", store.copy(request)),
    list: (request) => through("list", store.list(request))
  }
  return { store, seen, retrying: RetryingStore.make(inner, options) }
})

/** Lets virtual time pass until the effect is done. */
const inTime = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
  const fiber = yield* Effect.forkChild(Pauses.byClock(effect))
  for (let step = 0; step < 400; step++) yield* TestClock.adjust("100 millis")
  return yield* Fiber.join(fiber)
})

const reasonOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect), (error) => [error.reason._tag, error.outcome] as const)

describe("RetryingStore", () => {
  it.effect("T74: absence is not retried, 503 twice then an answer succeeds", () =>
    Effect.gen(function* () {
      const absent = yield* scripted([])
      assert.deepStrictEqual(yield* inTime(reasonOf(absent.retrying.get("k"))), ["NoSuchKey", "none"])
      assert.deepStrictEqual(absent.seen, ["get"])
      for (const reason of [unavailable, timeout, refused]) {
        const { retrying, seen, store } = yield* scripted([{ reason }, { reason }])
        yield* store.put({ key: "k", body: text("1") })
        assert.strictEqual((yield* inTime(retrying.get("k"))).size, 1)
        assert.deepStrictEqual(seen, ["get", "get", "get"])
      }
      const { retrying, seen } = yield* scripted([{ reason: unavailable }, { reason: timeout }])
      yield* inTime(retrying.list())
      assert.strictEqual(seen.length, 3)
      const forbidden = yield* scripted([{ reason: denied }])
      assert.deepStrictEqual(yield* inTime(reasonOf(forbidden.retrying.head("k"))), ["AccessDenied", "none"])
      assert.strictEqual(forbidden.seen.length, 1)
    })
  )

  it.effect("tries for half a minute, unless it is told how long or how often", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 1000 }, () => ({ reason: refused }))
      const { retrying, seen } = yield* scripted(many)
      const failing = yield* Effect.forkChild(Pauses.byClock(Effect.flip(retrying.get("k"))))
      for (let step = 0; step < 299; step++) yield* TestClock.adjust("100 millis")
      assert.isUndefined(failing.pollUnsafe())
      yield* TestClock.adjust("100 millis")
      const error = yield* Fiber.join(failing)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.strictEqual(error.attempts, seen.length)
      // Pauses grow to 5 seconds, half of that on average.
      assert.isAtLeast(seen.length, 10)
      assert.isAtMost(seen.length, 40)
      for (const options of [{ retryFor: 0 }, { retries: 0 }]) {
        const once = yield* scripted(many, options)
        const refusal = yield* inTime(Effect.flip(once.retrying.put({ key: "k" })))
        assert.strictEqual(once.seen.length, 1)
        assert.isUndefined(refusal.attempts)
      }
      const thrice = yield* scripted(many, { retries: 2 })
      yield* inTime(Effect.flip(thrice.retrying.put({ key: "k" })))
      assert.strictEqual(thrice.seen.length, 3)
    })
  )

  it.effect(
    "a host whose name nobody knows is asked for twice more, one that may be known in a moment for half a minute",
    () =>
      Effect.gen(function* () {
        const of = (code: string) =>
          Array.from({ length: 1000 }, () => ({
            reason: new Unavailable({ description: "nobody", sent: false, code })
          }))
        for (const request of ["get", "put", "delete"] as const) {
          const { retrying, seen } = yield* scripted(of("ENOTFOUND"))
          const failing = request === "put" ? retrying.put({ key: "k" }) : Effect.asVoid(retrying[request]("k"))
          const error = yield* inTime(Effect.flip(failing))
          assert.deepStrictEqual([error.reason._tag, error.attempts, seen.length], ["Unavailable", 3, 3])
        }
        const again = yield* scripted(of("EAI_AGAIN"))
        yield* inTime(Effect.flip(again.retrying.get("k")))
        assert.isAbove(again.seen.length, 5)
      })
  )

  it.effect("a store that is down for some seconds fails no call, whichever it is", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      yield* store.put({ key: "k", body: text("1") })
      const start = yield* control.snapshot
      const calls: Record<string, (store: Store) => Effect.Effect<unknown, StoreError>> = {
        get: (one) => one.get("k"),
        head: (one) => one.head("k"),
        list: (one) => one.list(),
        put: (one) => one.put({ key: "new", body: text("w1") }),
        create: (one) => one.put({ key: "new", body: text("w1"), ifNoneMatch: "*" }),
        delete: (one) => one.delete("k"),
        deleteMany: (one) => Effect.map(one.deleteMany(["k"]), ({ failed }) => assert.deepStrictEqual(failed, [])),
        copy: (one) => one.copy({ from: "k", to: "copy" })
      }
      for (const [name, call] of Object.entries(calls)) {
        for (const downFor of [2000, 20_000]) {
          yield* control.restore(start)
          const until = (yield* Clock.currentTimeMillis) + downFor
          const gate = <A>(request: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              now < until ? Effect.fail(new StoreError({ operation: "get", reason: refused })) : request
            )
          const gated: Store = {
            ...store,
            put: (request) => gate(store.put(request)),
            get: (key) => gate(store.get(key)),
            head: (key) => gate(store.head(key)),
            delete: (key) => gate(store.delete(key)),
            deleteMany: (keys) => gate(store.deleteMany(keys)),
            copy: (request) => gate(store.copy(request)),
            list: (request) => gate(store.list(request))
          }
          const exit = yield* inTime(Effect.exit(call(RetryingStore.make(gated))))
          assert.isTrue(exit._tag === "Success", `${name}, down for ${downFor} ms`)
        }
      }
    })
  )

  it.effect("ends although the clock stands still", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 1000 }, () => ({ reason: refused }))
      const { retrying, seen } = yield* scripted(many, { retryFor: "20 millis", baseDelay: 1 })
      const error = yield* Effect.flip(retrying.get("k"))
      assert.strictEqual(error.attempts, seen.length)
    })
  )

  it.effect("says the status and the number of attempts", () =>
    Effect.gen(function* () {
      const reason = new Unavailable({
        description: "the store answered with an error of its own",
        status: 503,
        sent: true
      })
      const { retrying } = yield* scripted([{ reason }, { reason }, { reason }], { retries: 2 })
      const error = yield* inTime(Effect.flip(retrying.head("k")))
      assert.strictEqual(
        error.message,
        "head failed: Unavailable: the store answered with an error of its own (status 503, 3 attempts)"
      )
      // The first failure that leaves the outcome open is told, with all attempts.
      const put = yield* scripted([{ reason }, { reason }, { reason }], { retries: 2 })
      const open = yield* inTime(Effect.flip(put.retrying.put({ key: "k", ifNoneMatch: "*" })))
      assert.strictEqual(open.attempts, 3)
      const last = yield* scripted([{ reason }, { reason: denied }])
      assert.strictEqual((yield* inTime(Effect.flip(last.retrying.head("k")))).attempts, 2)
      assert.strictEqual(
        DbError.fromStore("Resource.insert", "users")(error).message,
        "Resource.insert on users failed: Unavailable: the store answered with an error of its own (status 503, 3 attempts)"
      )
    })
  )

  it.effect("a look has what is left of the time, not a time of its own", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 1000 }, () => ({ reason: unavailable }))
      for (const act of [
        (store: Store) => store.put({ key: "k", ifNoneMatch: "*" as const }),
        (store: Store) => store.put({ key: "k" }),
        (store: Store) => store.delete("k")
      ]) {
        const { retrying } = yield* scripted(many)
        const fiber = yield* Effect.forkChild(Pauses.byClock(Effect.exit(act(retrying))))
        for (let step = 0; step < 301; step++) yield* TestClock.adjust("100 millis")
        assert.isDefined(fiber.pollUnsafe())
      }
    })
  )

  it.effect("tells that a store does not answer, once in half a minute", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const logger = Logger.make(({ message }) => told.push(String(message)))
      const many = Array.from({ length: 1000 }, () => ({ reason: refused }))
      const { retrying } = yield* scripted(many)
      const all = Effect.forEach([1, 2, 3], () => Effect.exit(retrying.get("k")), { concurrency: "unbounded" })
      yield* inTime(Effect.provide(all, Logger.layer([logger])))
      assert.strictEqual(told.length, 1)
      assert.match(told[0]!, /^memory:aws has failed for \d+ s, \d+ s are left to try: Unavailable: refused$/)
    })
  )

  it.effect("does not wait for a store that asks for more than there is", () =>
    Effect.gen(function* () {
      const reason = new Throttled({ description: "slow down", retryAfterMillis: 31_000 })
      const { retrying, seen } = yield* scripted([{ reason }])
      assert.strictEqual((yield* Effect.flip(retrying.head("k"))).reason._tag, "Throttled")
      assert.deepStrictEqual(seen, ["head"])
    })
  )

  it.effect("waits as long as the store asks for", () =>
    Effect.gen(function* () {
      const reason = new Throttled({ description: "slow down", retryAfterMillis: 30_000 })
      const { retrying, seen } = yield* scripted([{ reason }])
      const fiber = yield* Effect.forkChild(Pauses.byClock(retrying.put({ key: "k" })))
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(seen.length, 1)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(seen.length, 2)
    })
  )

  it.effect("a conditional write whose answer is lost succeeds if it landed", () =>
    Effect.gen(function* () {
      const landed = yield* scripted([{ reason: timeout, landed: true }])
      const { etag } = yield* inTime(
        landed.retrying.put({ key: "k", body: text("ours"), metadata: { A: "1" }, ifNoneMatch: "*" })
      )
      assert.strictEqual((yield* landed.store.head("k")).etag, etag)
      assert.deepStrictEqual(landed.seen, ["put", "put", "get"])

      const notLanded = yield* scripted([{ reason: timeout }])
      yield* inTime(notLanded.retrying.put({ key: "k", body: text("ours"), ifNoneMatch: "*" }))
      assert.deepStrictEqual(notLanded.seen, ["put", "put"])

      const replaced = yield* scripted([])
      const before = yield* replaced.store.put({ key: "k", body: text("0") })
      const again = yield* scripted([{ reason: unavailable, landed: true }])
      const start = yield* again.store.put({ key: "k", body: text("0") })
      yield* inTime(again.retrying.put({ key: "k", body: text("1"), ifMatch: start.etag }))
      assert.strictEqual(before.etag, start.etag)
    })
  )

  it.effect("and conflicts only when somebody else's landed", () =>
    Effect.gen(function* () {
      const theirs = (store: Store) => store.put({ key: "k", body: text("theirs") })
      const { retrying, store } = yield* scripted([{ reason: timeout, meanwhile: theirs }])
      const error = yield* inTime(Effect.flip(retrying.put({ key: "k", body: text("ours"), ifNoneMatch: "*" })))
      if (error.reason._tag !== "PreconditionFailed") return assert.fail("expected PreconditionFailed")
      assert.isTrue(error.reason.afterUnknown)
      assert.strictEqual(error.outcome, "unknown")
      assert.strictEqual(new TextDecoder().decode((yield* store.get("k")).body), "theirs")
      // At the first attempt it is a plain refusal.
      const plain = yield* scripted([])
      yield* theirs(plain.store)
      const refusal = yield* Effect.flip(plain.retrying.put({ key: "k", ifNoneMatch: "*" }))
      assert.isUndefined(refusal.reason._tag === "PreconditionFailed" ? refusal.reason.afterUnknown : true)
      assert.strictEqual(refusal.outcome, "none")
      // It was removed in between.
      const gone = yield* scripted([{ reason: timeout, landed: true, meanwhile: (inner) => inner.delete("k") }])
      const { etag } = yield* gone.store.put({ key: "k", body: text("0") })
      const missing = yield* inTime(Effect.flip(gone.retrying.put({ key: "k", body: text("1"), ifMatch: etag })))
      assert.isTrue(missing.reason._tag === "PreconditionFailed" && missing.reason.afterUnknown)
    })
  )

  it.effect("a look that fails leaves unknown what the write has done", () =>
    Effect.gen(function* () {
      // The write lands unheard, its repetition is refused, and nothing can be read any more.
      const faults = [{ reason: timeout, landed: true }, { reason: refusedByItself }, { reason: denied }]
      const put = yield* scripted(faults)
      assert.deepStrictEqual(
        yield* inTime(reasonOf(put.retrying.put({ key: "k", body: text("ours"), ifNoneMatch: "*" }))),
        ["Timeout", "unknown"]
      )
      assert.deepStrictEqual(put.seen, ["put", "put", "get"])

      const removed = yield* scripted(faults)
      const { etag } = yield* removed.store.put({ key: "k" })
      assert.deepStrictEqual(yield* inTime(reasonOf(removed.retrying.delete("k", { ifMatch: etag }))), [
        "Timeout",
        "unknown"
      ])
      assert.deepStrictEqual(removed.seen, ["delete", "delete", "head"])
      // Others of the same request are deleted, whatever becomes of the look.
      const { store } = yield* scripted([])
      const some = RetryingStore.make({
        ...store,
        deleteMany: () => Effect.succeed({ deleted: ["a"], failed: [{ key: "b", reason: timeout }] }),
        head: (key) => Effect.fail(new StoreError({ operation: "head", key, reason: denied }))
      })
      const { deleted, failed } = yield* inTime(some.deleteMany(["a", "b"]))
      assert.deepStrictEqual([deleted, failed.map(({ key }) => key)], [["a"], ["b"]])
    })
  )

  it.effect("an unconditional write is never blindly repeated", () =>
    Effect.gen(function* () {
      const theirs = (store: Store) => store.put({ key: "k", body: text("theirs") })
      const overwritten = yield* scripted([{ reason: timeout, landed: true, meanwhile: theirs }])
      assert.deepStrictEqual(yield* inTime(reasonOf(overwritten.retrying.put({ key: "k", body: text("ours") }))), [
        "Timeout",
        "unknown"
      ])
      assert.strictEqual(new TextDecoder().decode((yield* overwritten.store.get("k")).body), "theirs")
      const landed = yield* scripted([{ reason: timeout, landed: true }])
      yield* inTime(landed.retrying.put({ key: "k", body: text("ours") }))
      assert.deepStrictEqual(landed.seen, ["put", "get"])
      const lost = yield* scripted([{ reason: timeout }])
      assert.deepStrictEqual(yield* inTime(reasonOf(lost.retrying.put({ key: "k" }))), ["Timeout", "unknown"])
      const repeatable = yield* scripted([{ reason: timeout }])
      yield* inTime(repeatable.retrying.put({ key: "k", repeatable: true }))
      assert.deepStrictEqual(repeatable.seen, ["put", "put"])
      const throttled = yield* scripted([{ reason: refused }])
      yield* inTime(throttled.retrying.put({ key: "k" }))
      assert.deepStrictEqual(throttled.seen, ["put", "put"])
      // Even the look fails.
      const dark = yield* scripted([{ reason: timeout }, { reason: denied }])
      assert.deepStrictEqual(yield* inTime(reasonOf(dark.retrying.put({ key: "k" }))), ["Timeout", "unknown"])
    })
  )

  it.effect("deletes", () =>
    Effect.gen(function* () {
      const landed = yield* scripted([{ reason: timeout, landed: true }])
      yield* landed.store.put({ key: "k" })
      yield* inTime(landed.retrying.delete("k"))
      assert.deepStrictEqual(landed.seen, ["delete", "head"])

      const again = yield* scripted([
        { reason: timeout, landed: true, meanwhile: (store) => store.put({ key: "k", body: text("new") }) }
      ])
      yield* again.store.put({ key: "k" })
      assert.deepStrictEqual(yield* inTime(reasonOf(again.retrying.delete("k"))), ["Timeout", "unknown"])
      assert.strictEqual((yield* again.store.head("k")).size, 3)

      const repeatable = yield* scripted([{ reason: timeout }])
      yield* inTime(repeatable.retrying.delete("k", { repeatable: true }))
      assert.deepStrictEqual(repeatable.seen, ["delete", "delete"])

      const conditional = yield* scripted([{ reason: timeout, landed: true }])
      const { etag } = yield* conditional.store.put({ key: "k" })
      yield* inTime(conditional.retrying.delete("k", { ifMatch: etag }))
      assert.deepStrictEqual(conditional.seen, ["delete", "delete", "head"])

      const changed = yield* scripted([
        { reason: timeout, meanwhile: (store) => store.put({ key: "k", body: text("x") }) }
      ])
      const first = yield* changed.store.put({ key: "k" })
      const error = yield* inTime(Effect.flip(changed.retrying.delete("k", { ifMatch: first.etag })))
      assert.isTrue(error.reason._tag === "PreconditionFailed" && error.reason.afterUnknown)
      const forbidden = yield* scripted([{ reason: denied }])
      assert.deepStrictEqual(yield* reasonOf(forbidden.retrying.delete("k")), ["AccessDenied", "none"])
    })
  )

  it.effect("bulk deletes, each key by itself", () =>
    Effect.gen(function* () {
      const keys = ["a", "b", "c"]
      const lost = yield* scripted([
        { reason: timeout, landed: true, meanwhile: (store) => store.put({ key: "b", body: text("new") }) }
      ])
      const result = yield* inTime(lost.retrying.deleteMany(keys))
      assert.deepStrictEqual(result.deleted, ["a", "c"])
      assert.deepStrictEqual(
        result.failed.map(({ key, reason }) => [key, reason._tag, reason.outcome]),
        [["b", "Timeout", "unknown"]]
      )
      const refusedOnce = yield* scripted([{ reason: refused }])
      assert.deepStrictEqual((yield* inTime(refusedOnce.retrying.deleteMany(keys))).deleted, keys)
      const repeatable = yield* scripted([{ reason: timeout }])
      yield* inTime(repeatable.retrying.deleteMany(keys, { repeatable: true }))
      assert.deepStrictEqual(repeatable.seen, ["deleteMany", "deleteMany"])
      const forbidden = yield* scripted([{ reason: denied }])
      assert.deepStrictEqual(yield* reasonOf(forbidden.retrying.deleteMany(keys)), ["AccessDenied", "none"])
      const partly = yield* scripted([])
      const bad = yield* partly.retrying.deleteMany(["a", ""])
      assert.deepStrictEqual([bad.deleted, bad.failed.map(({ key }) => key)], [["a"], [""]])
      const always = Array.from({ length: 1000 }, () => ({ reason: refused }))
      const never = yield* scripted(always)
      assert.strictEqual((yield* inTime(never.retrying.deleteMany(keys))).failed.length, 3)
    })
  )

  it.effect("a copy is repeated only when it was certainly not made", () =>
    Effect.gen(function* () {
      const once = yield* scripted([{ reason: refused }])
      yield* once.store.put({ key: "k" })
      yield* inTime(once.retrying.copy({ from: "k", to: "l" }))
      const lost = yield* scripted([{ reason: timeout }])
      assert.deepStrictEqual(yield* inTime(reasonOf(lost.retrying.copy({ from: "k", to: "l" }))), [
        "Timeout",
        "unknown"
      ])
    })
  )
})
