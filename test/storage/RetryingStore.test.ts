import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import {
  AccessDenied,
  type Operation,
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

  it.effect("gives up after its retries, or when its time is over", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 20 }, () => ({ reason: refused }))
      const { retrying, seen } = yield* scripted(many)
      assert.deepStrictEqual(yield* inTime(reasonOf(retrying.get("k"))), ["Unavailable", "none"])
      assert.strictEqual(seen.length, 6)
      const short = yield* scripted(many, { timeLimit: 0 })
      assert.deepStrictEqual(yield* inTime(reasonOf(short.retrying.get("k"))), ["Unavailable", "none"])
      const none = yield* scripted(many, { retries: 0 })
      yield* inTime(reasonOf(none.retrying.put({ key: "k" })))
      assert.strictEqual(none.seen.length, 1)
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
      assert.strictEqual(new TextDecoder().decode((yield* store.get("k")).body), "theirs")
      // At the first attempt it is a plain refusal.
      const plain = yield* scripted([])
      yield* theirs(plain.store)
      const refusal = yield* Effect.flip(plain.retrying.put({ key: "k", ifNoneMatch: "*" }))
      assert.isUndefined(refusal.reason._tag === "PreconditionFailed" ? refusal.reason.afterUnknown : true)
      // It was removed in between.
      const gone = yield* scripted([{ reason: timeout, landed: true, meanwhile: (inner) => inner.delete("k") }])
      const { etag } = yield* gone.store.put({ key: "k", body: text("0") })
      const missing = yield* inTime(Effect.flip(gone.retrying.put({ key: "k", body: text("1"), ifMatch: etag })))
      assert.isTrue(missing.reason._tag === "PreconditionFailed" && missing.reason.afterUnknown)
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
      const always = Array.from({ length: 9 }, () => ({ reason: refused }))
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
