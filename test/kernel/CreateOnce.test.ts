import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { PreconditionFailed, type Reason, StoreError, Timeout } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const key = "plugin=p/once"
const range = (length: number) => Array.from({ length }, (_, i) => i)
const on = (store: Store) => CreateOnce.make(store, { schema: Schema.String, what: "a text" })
const timeout = new Timeout({ description: "no answer", afterMillis: 1 })
const afterUnknown = new PreconditionFailed({ description: "refused", afterUnknown: true })
const refusal = new PreconditionFailed({ description: "refused" })

/** A store whose first PUT fails, having landed or not, after others have come in between. */
const failing = (store: Store, reason: Reason, landed: boolean, between: Effect.Effect<unknown, StoreError>) => {
  let puts = 0
  const client: Store = {
    ...store,
    put: (request) =>
      Effect.suspend(() => {
        if (puts++ > 0) return store.put(request)
        return (landed ? Effect.asVoid(store.put(request)) : Effect.void).pipe(
          Effect.andThen(between),
          Effect.andThen(Effect.fail(new StoreError({ operation: "put", key, reason })))
        )
      })
  }
  return client
}

describe("CreateOnce", () => {
  it.effect("creates once, and gives others what is there; requests", () =>
    Effect.gen(function* () {
      const { counter: requests, store } = InstrumentedStore.make(yield* memory)
      const once = on(store)
      const made = Effect.map(requests.counts, (counts) =>
        Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0))
      )
      assert.deepStrictEqual(yield* once.read(key), Option.none())
      yield* requests.reset
      const created = yield* once.create(key, "first")
      assert.strictEqual(created._tag, "Created")
      assert.deepStrictEqual(yield* made, { put: 1 })
      yield* requests.reset
      const { etag } = created
      assert.deepStrictEqual(yield* once.create(key, "second"), { _tag: "AlreadyExists", value: "first", etag })
      assert.deepStrictEqual(yield* made, { put: 1, get: 1 })
      // The same value is not the same creation.
      assert.strictEqual((yield* once.create(key, "first"))._tag, "AlreadyExists")
      assert.deepStrictEqual(yield* once.read(key), Option.some("first"))
      assert.strictEqual((yield* store.get(key)).etag, etag)
    })
  )

  it.effect("of 100 at once one creates, and the others get its value", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const outcomes = yield* Effect.forEach(range(100), (i) => on(store).create(key, `${i}`), {
        concurrency: "unbounded"
      })
      assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Created").length, 1)
      const winner = `${outcomes.findIndex(({ _tag }) => _tag === "Created")}`
      for (const outcome of outcomes) if (outcome._tag === "AlreadyExists") assert.strictEqual(outcome.value, winner)
    })
  )

  it.effect("a lost answer is told from that of others, whether it had landed or not", () =>
    Effect.gen(function* () {
      for (const reason of [timeout, afterUnknown, refusal]) {
        const store = yield* memory
        const landed = failing(store, reason, true, Effect.void)
        assert.strictEqual((yield* on(landed).create(key, "ours"))._tag, "Created")
        const lost = yield* memory
        const others = Effect.orDie(on(lost).create(key, "theirs"))
        const outcome = yield* on(failing(lost, reason, false, others)).create(key, "ours")
        assert.deepStrictEqual([outcome._tag, "value" in outcome && outcome.value], ["AlreadyExists", "theirs"])
      }
      // It may yet arrive, or was removed: nobody can tell.
      for (const reason of [timeout, afterUnknown]) {
        for (const landed of [true, false]) {
          const store = yield* memory
          const client = failing(store, reason, landed, store.delete(key))
          assert.strictEqual((yield* Effect.flip(on(client).create(key, "ours"))).reason, reason)
        }
      }
      // A plain refusal by what is gone by now.
      const store = yield* memory
      assert.strictEqual((yield* on(failing(store, refusal, false, Effect.void)).create(key, "ours"))._tag, "Created")
    })
  )

  it.effect("what is no value is refused, what cannot be read is an error", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const numbers = CreateOnce.make(store, { schema: Schema.Int, what: "a number" })
      assert.strictEqual((yield* Effect.flip(numbers.create(key, 0.5))).reason._tag, "InvalidArgument")
      assert.deepStrictEqual(yield* on(store).read(key), Option.none())
      yield* store.put({ key, body: new TextEncoder().encode("{") })
      assert.strictEqual((yield* Effect.flip(numbers.create(key, 1))).reason._tag, "Corrupt")
      assert.strictEqual((yield* Effect.flip(numbers.read(key))).reason._tag, "Corrupt")
    })
  )

  it.effect("in every order of the requests of three, with crashes, one at most has created it, and it is there", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const schedule = Interleavings.make(store)
      const start = yield* control.snapshot
      const names = ["a", "b", "c"]
      const report = yield* schedule.explore({
        before: control.restore(start),
        programs: Object.fromEntries(
          names.map((name, i) => [
            name,
            Effect.suspend(() =>
              on(schedule.client(name))
                .create(key, name)
                .pipe(Effect.provideService(Id.Generator, Id.seeded(i)))
            )
          ])
        ),
        crashes: 1,
        check: Effect.fnUntraced(function* ({ exits }) {
          const there = yield* on(store).read(key)
          const done = names.flatMap((name) => {
            const exit = exits[name]!
            return Exit.isSuccess(exit) ? [{ name, outcome: exit.value }] : []
          })
          const creators = done.filter(({ outcome }) => outcome._tag === "Created").map(({ name }) => name)
          assert.isAtMost(creators.length, 1)
          if (creators.length === 1) assert.deepStrictEqual(there, Option.some(creators[0]!))
          for (const { outcome } of done) {
            if (outcome._tag === "AlreadyExists") assert.deepStrictEqual(there, Option.some(outcome.value))
          }
        })
      })
      assert.isTrue(report.complete)
      assert.isAbove(report.schedules, 50)
    })
  )

  it.effect("a crash at any request leaves it created or not", () =>
    Effect.gen(function* () {
      const left: Array<boolean> = []
      for (const when of ["before", "after"] as const) {
        const store = yield* memory
        yield* Effect.exit(on(crashing(store, 1, when).store).create(key, "first"))
        left.push(Option.isSome(yield* on(store).read(key)))
        assert.strictEqual(
          (yield* on(store).create(key, "second"))._tag,
          when === "before" ? "Created" : "AlreadyExists"
        )
      }
      assert.deepStrictEqual(left, [false, true])
    })
  )
})
