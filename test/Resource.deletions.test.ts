import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { fullCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { drive, keysOf, memory, openOn } from "./fixture.ts"
import { settled, until } from "./waiting.ts"

type Store = ObjectStore["Service"]

const User = Schema.Struct({
  id: Schema.String,
  n: Schema.Int,
  email: Schema.optionalKey(Schema.String),
  group: Schema.optionalKey(Schema.String)
})
const plain = { schema: User, primaryKey: "id" } as const
const counted = { ...plain, counters: true } as const satisfies Resource.Options<typeof User>
const versioned = { ...counted, history: true, partitions: { byGroup: ["group"] } } as const satisfies Resource.Options<
  typeof User
>

/** A store in a network: what it answers may be lost. */
const remote = Effect.map(memory, (store): Store => ({ ...store, capabilities: fullCapabilities }))
const gateway = Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)

const lost = new StoreError.Unavailable({ description: "the answer was lost", sent: true })

type Hook = (operation: string, key: string) => Effect.Effect<"pass" | "lose before" | "lose after">

/** A client whose requests may be lost, on their way or on the way back; it tries again as others do. */
const losing = (store: Store, hook: Hook): Store => {
  const through = <A>(operation: "put" | "delete", key: string, effect: Effect.Effect<A, StoreError.StoreError>) =>
    Effect.flatMap(hook(operation, key), (fate) => {
      const failure = Effect.fail(new StoreError.StoreError({ operation, key, reason: lost }))
      if (fate === "pass") return effect
      return fate === "lose before" ? failure : Effect.andThen(Effect.exit(effect), failure)
    })
  return RetryingStore.make({
    ...store,
    put: (request) => through("put", request.key, store.put(request)),
    delete: (key, options) => through("delete", key, store.delete(key, options))
  })
}

/** The first write of a document, and what happens while its answer does not come. */
const firstWrite = (fate: "lose before" | "lose after", then: Effect.Effect<unknown, unknown>): Hook => {
  let isMet = false
  return (_, key) => {
    if (isMet || !key.includes("/data/id=")) return Effect.succeed("pass")
    isMet = true
    // It is done when the request has been, or has not been, carried out: before it is tried again.
    return fate === "lose before" ? Effect.as(Effect.orDie(then), fate) : Effect.succeed(fate)
  }
}

const tagOf = <A, E extends { readonly _tag: string }>(exit: Exit.Exit<A, E>) =>
  Exit.match(exit, {
    onSuccess: () => "Success",
    onFailure: (cause) => (cause.reasons[0]?._tag === "Fail" ? cause.reasons[0].error._tag : "defect")
  })

describe("a deletion whose answer is lost", () => {
  for (const [where, storeOf] of [
    ["remote", remote],
    ["a store that ignores conditions on DELETE", gateway]
  ] as const) {
    for (const options of [counted, versioned]) {
      const how = "history" in options ? "history" : "counters"
      it.effect(`it landed: it is told and counted once; ${where}, ${how}`, () =>
        Effect.gen(function* () {
          const store = yield* storeOf
          const other = yield* (yield* openOn(store)).open("users", options)
          yield* other.insertMany([
            { id: "1", n: 0 },
            { id: "2", n: 0 }
          ])
          const users = yield* (yield* openOn(losing(store, firstWrite("lose after", Effect.void)))).open(
            "users",
            options
          )
          const told: Array<string> = []
          yield* users.onChange({}, (change) => Effect.sync(() => told.push(change._tag)))
          yield* users.delete("1", { mustExist: true })
          yield* until("it is told", () => told.length > 0)
          assert.deepStrictEqual(told, ["Deleted"])
          assert.strictEqual(yield* other.estimatedCount(), 1)
          assert.strictEqual(yield* other.count(), 1)
          assert.deepStrictEqual(yield* Stream.runCollect(other.listIds()), ["2"])
        }).pipe(Pauses.byClock, Effect.scoped, driven)
      )

      it.effect(`it landed, and another inserts the document anew before it is known; ${where}, ${how}`, () =>
        Effect.gen(function* () {
          const store = yield* storeOf
          const other = yield* (yield* openOn(store)).open("users", options)
          yield* other.insert({ id: "1", n: 0 })
          const hook = firstWrite("lose after", Effect.void)
          let isLost = false
          const racing: Store = {
            ...store,
            get: (key, get) => {
              if (!isLost || !key.includes("/data/id=1")) return store.get(key, get)
              isLost = false
              return Effect.andThen(Effect.orDie(other.insert({ id: "1", n: 7 })), store.get(key, get))
            }
          }
          const client = losing(racing, (operation, key) =>
            Effect.tap(hook(operation, key), (fate) => Effect.sync(() => (isLost ||= fate === "lose after")))
          )
          const users = yield* (yield* openOn(client)).open("users", options)
          yield* users.delete("1", { mustExist: true })
          assert.strictEqual((yield* other.get("1")).n, 7)
          assert.strictEqual(yield* other.estimatedCount(), 1)
        }).pipe(Pauses.byClock, driven)
      )

      it.effect(`it did not, and another deletes the document: NotFound, and counted once; ${where}, ${how}`, () =>
        Effect.gen(function* () {
          const store = yield* storeOf
          const other = yield* (yield* openOn(store)).open("users", options)
          yield* other.insert({ id: "1", n: 0 })
          const hook = firstWrite("lose before", other.delete("1", { mustExist: true }))
          const users = yield* (yield* openOn(losing(store, hook))).open("users", options)
          const exit = yield* Effect.exit(users.delete("1", { mustExist: true }))
          // Where nothing is left to tell by, it says that it cannot tell.
          assert.include(["NotFound", "DbError"], tagOf(exit))
          assert.strictEqual(yield* other.estimatedCount(), 0)
          assert.isFalse(yield* other.exists("1"))
        }).pipe(Pauses.byClock, driven)
      )
    }
  }
})

/** Lets the time of the test's clock pass until it is done. */
function driven<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
  return Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))
}

describe("deletions at once", () => {
  for (const [where, storeOf] of [
    ["memory", memory],
    ["remote", remote],
    ["a store that ignores conditions on DELETE", gateway]
  ] as const) {
    it.effect(`two deleteMany of the same ids are told and counted once; ${where}`, () =>
      Effect.gen(function* () {
        const store = yield* storeOf
        const first = yield* (yield* openOn(store)).open("users", counted)
        const second = yield* (yield* openOn(store)).open("users", counted)
        const ids = Array.from({ length: 40 }, (_, i) => `${i}`)
        yield* first.insertMany([...ids.map((id) => ({ id, n: 0 })), { id: "stays", n: 0 }])
        const told: Array<string> = []
        for (const users of [first, second]) {
          yield* users.onChange({}, (change) =>
            Effect.sync(() => change._tag === "Deleted" && Option.isSome(change.version) && told.push(change.id))
          )
        }
        yield* Effect.all([first.deleteMany(ids), second.deleteMany(ids)], { concurrency: 2 })
        yield* settled
        assert.strictEqual(yield* first.estimatedCount(), 1)
        assert.strictEqual(yield* first.count(), 1)
        assert.sameMembers(told, ids)
      }).pipe(Effect.scoped)
    )

    it.effect(`deleteMany while others update: every acknowledged version is in the history; ${where}`, () =>
      Effect.gen(function* () {
        const store = yield* storeOf
        const first = yield* (yield* openOn(store)).open("users", versioned)
        const second = yield* (yield* openOn(store)).open("users", versioned)
        const ids = Array.from({ length: 40 }, (_, i) => `${i}`)
        yield* first.insertMany(ids.map((id) => ({ id, n: 0, group: "g" })))
        const update = (id: string) => Effect.exit(second.update(id, ({ n }) => ({ n: n + 1, group: "h" })))
        const [, updated] = yield* driven(
          Effect.all([first.deleteMany(ids), Effect.forEach(ids, update, { concurrency: 40 })], { concurrency: 2 })
        )
        for (const [i, exit] of updated.entries()) {
          const past = (yield* Stream.runCollect(first.history(`${i}`))).map(({ value }) => value.n)
          assert.deepStrictEqual(past, Exit.isSuccess(exit) ? [1, 0] : [0], `${i}`)
          assert.isFalse(yield* first.exists(`${i}`))
        }
        assert.strictEqual(yield* first.estimatedCount(), 0)
        assert.deepStrictEqual(yield* Stream.runCollect(first.scan({ partition: "byGroup" })), [])
      })
    )
  }

  it.effect("of what has to be there, beside a replacement without conditions: it was there", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", plain)
      yield* other.insert({ id: "1", n: 0 })
      let replaced = 0
      const racing: Store = {
        ...store,
        delete: (key, options) =>
          replaced++ === 0
            ? Effect.andThen(Effect.orDie(other.replace({ id: "1", n: 1 })), store.delete(key, options))
            : store.delete(key, options)
      }
      const users = yield* (yield* openOn(racing)).open("users", plain)
      yield* driven(users.delete("1", { mustExist: true }))
      assert.isFalse(yield* other.exists("1"))
      assert.strictEqual((yield* Effect.flip(users.delete("1", { mustExist: true })))._tag, "NotFound")
    })
  )
})

describe("the history of deletions", () => {
  const at = (users: Resource.Repository<typeof User>, time: DateTime.Utc) =>
    Effect.map(Effect.option(users.getAt("1", { time })), (one) => Option.getOrUndefined(one)?.value.n)

  it.effect("an interrupted one, and one of an aborted transaction, is none", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const users = yield* open("users", versioned)
      yield* users.insert({ id: "1", n: 0 })
      yield* TestClock.adjust("1 minute")
      const failing = database.transaction(
        Effect.gen(function* () {
          yield* users.delete("1")
          yield* users.insert({ id: "2", n: 0 })
          return yield* Effect.fail("no")
        })
      )
      assert.strictEqual(yield* Effect.flip(failing), "no")
      yield* TestClock.adjust("1 minute")
      const then = yield* DateTime.now
      yield* TestClock.adjust("1 minute")
      yield* users.update("1", { n: 1 })
      assert.strictEqual(yield* at(users, then), 0)
      assert.isFalse((yield* keysOf(store, "resource=users/historical/")).some((key) => key.includes("/d=")))
    })
  )

  it.effect("a crash right after it leaves it in the history all the same, and the id free", () =>
    Effect.gen(function* () {
      for (const storeOf of [memory, remote, gateway]) {
        const store = yield* storeOf
        const other = yield* (yield* openOn(store)).open("users", versioned)
        yield* other.insert({ id: "1", n: 0 })
        yield* TestClock.adjust("1 minute")
        const before = yield* DateTime.now
        yield* TestClock.adjust("1 minute")
        let writes = 0
        const dying: Store = {
          ...store,
          put: (request) => {
            if (request.key.includes("/data/id=1")) writes += 1
            else if (writes > 0) return Effect.die("crash")
            return store.put(request)
          }
        }
        const users = yield* (yield* openOn(dying)).open("users", versioned)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(users.delete("1"))))
        yield* TestClock.adjust("1 minute")
        const between = yield* DateTime.now
        yield* TestClock.adjust("1 minute")
        assert.isFalse(yield* other.exists("1"))
        assert.strictEqual(yield* other.count(), 0)
        assert.strictEqual(yield* at(other, before), 0)
        assert.isUndefined(yield* at(other, between))
        yield* other.insert({ id: "1", n: 5 })
        assert.strictEqual(yield* at(other, before), 0)
        assert.isUndefined(yield* at(other, between))
        assert.strictEqual(yield* at(other, yield* DateTime.now), 5)
      }
    })
  )

  it.effect("lives of a document are told in their order, also by writers whose clocks differ by an hour", () =>
    Effect.gen(function* () {
      // The store has a clock of its own.
      const { store } = FaultyStore.make(yield* memory, { seed: 1 })
      const users = yield* (yield* openOn(store)).open("users", versioned)
      const late = FaultyStore.withClockSkew(-3_600_000)
      yield* TestClock.adjust("2 hours")
      yield* users.insert({ id: "1", n: 1 })
      yield* TestClock.adjust("1 minute")
      yield* users.update("1", { n: 2 })
      yield* TestClock.adjust("1 minute")
      yield* users.delete("1")
      yield* TestClock.adjust("1 minute")
      yield* late(users.insert({ id: "1", n: 3 }))
      yield* TestClock.adjust("1 minute")
      yield* late(users.update("1", { n: 4 }))
      const past = () => Effect.map(Stream.runCollect(users.history("1")), (all) => all.map(({ value }) => value.n))
      assert.deepStrictEqual(yield* past(), [3, 2, 1])
      yield* TestClock.adjust("1 minute")
      yield* late(users.delete("1"))
      assert.deepStrictEqual(yield* past(), [4, 3, 2, 1])
    })
  )
})

describe("what a deletion costs", () => {
  const requestsOf = Effect.fnUntraced(function* (store: Store, options: Resource.Options<typeof User>) {
    const { counter, store: counting } = InstrumentedStore.make(store)
    const users = yield* (yield* openOn(counting)).open("users", options)
    yield* users.insert({ id: "1", n: 0 })
    const before = yield* counter.counts
    yield* users.delete("1")
    const after = yield* counter.counts
    const made = Object.entries(after).map(([name, n]) => [name, n - ((before as Record<string, number>)[name] ?? 0)])
    return Object.fromEntries(made.filter(([, n]) => n !== 0)) as Record<string, number>
  })
  const owning = { ...plain, unique: { email: ["email"] } } as const satisfies Resource.Options<typeof User>
  const history = { ...plain, history: true } as const satisfies Resource.Options<typeof User>

  it.effect("at hand, in a network, and where conditions on DELETE are ignored", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* requestsOf(yield* memory, plain), { delete: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* remote, plain), { delete: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* memory, owning), { get: 1, delete: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* remote, owning), { get: 1, put: 1, delete: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* gateway, owning), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* memory, history), { get: 1, put: 3, delete: 1 })
      assert.deepStrictEqual(yield* requestsOf(yield* gateway, history), { get: 1, put: 3 })
    })
  )

  it.effect("where it leaves an object, that is seen by nobody, taken by the next insert, and swept on demand", () =>
    Effect.gen(function* () {
      const store = yield* gateway
      const users = yield* (yield* openOn(store)).open("users", versioned)
      yield* users.insertMany(["1", "2", "3"].map((id) => ({ id, n: 0 })))
      yield* users.deleteMany(["1", "2"])
      assert.strictEqual((yield* keysOf(store, "resource=users/data/")).length, 3)
      assert.strictEqual(yield* users.count(), 1)
      assert.deepStrictEqual(yield* Stream.runCollect(users.listIds()), ["3"])
      assert.deepStrictEqual(
        (yield* Stream.runCollect(users.scan())).map(({ id }) => id),
        ["3"]
      )
      assert.strictEqual((yield* users.list({ limit: 2 })).items.length, 1)
      yield* users.insert({ id: "1", n: 1 })
      assert.strictEqual((yield* users.getDocument("1")).version, 1)
      yield* TestClock.adjust("1 hour")
      const admin = yield* users.admin
      assert.deepStrictEqual(yield* Stream.runCollect(admin.repair()), [])
      const swept = yield* Stream.runCollect(admin.repair({ dryRun: false, sweepDeletions: true }))
      assert.deepStrictEqual(
        swept.map(({ id, kind }) => `${kind} ${id}`),
        ["LeftoverDeletion 2"]
      )
      assert.strictEqual((yield* keysOf(store, "resource=users/data/")).length, 2)
    })
  )
})
