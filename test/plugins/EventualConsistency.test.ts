/** Counters: what is acknowledged counts once, in the order in which it was, whoever folds and how often. */
import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as CurrentUser from "effect-s3db/CurrentUser"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Plugin from "effect-s3db/Plugin"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as Lanes from "../../src/plugins/eventual/lanes.ts"
import { crashing, keysOf, memory, moments, openOn } from "../fixture.ts"
import { settled, until } from "../waiting.ts"
import * as Counters from "./counters.ts"
import { amount, balance, credit, direct, google, points, processOn, seen, tags, visits } from "./counters.ts"

type Store = ObjectStore["Service"]

const openNew = Effect.flatMap(memory, (store) => Effect.map(processOn(store), (process) => ({ store, ...process })))
const decimal = BigDecimal.fromStringUnsafe

/** Counts the requests of what it runs. */
const counting = (store: Store) => {
  const counts = new Map<string, number>()
  const counted = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      counts.set(name, (counts.get(name) ?? 0) + 1)
      return effect
    })
  const wrapped: Store = {
    ...store,
    put: (request) => counted("put", store.put(request)),
    get: (...args) => counted("get", store.get(...args)),
    head: (key) => counted("head", store.head(key)),
    delete: (...args) => counted("delete", store.delete(...args)),
    deleteMany: (...args) => counted("deleteMany", store.deleteMany(...args)),
    list: (request) => counted("list", store.list(request))
  }
  const requestsOf = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    counts.clear()
    yield* effect
    return Object.fromEntries(counts)
  })
  return { store: wrapped, requestsOf }
}

describe("lanes", () => {
  it.effect("are as their schema has them, whichever of their entries were written before", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      yield* wallets.insert({ id: "“ö\u2028" })
      const format = CasCell.schemaFormat(Lanes.Lane, { what: "a lane" })
      const looked = Effect.gen(function* () {
        const lanes = (yield* keysOf(store)).filter((key) => key.includes("lane/"))
        for (const key of lanes) {
          const { body } = yield* store.get(key)
          const { value, writes } = yield* format.decode(body)
          const text = new TextDecoder().decode(body)
          assert.strictEqual(text, new TextDecoder().decode(yield* format.encode(value, writes)))
        }
        return lanes.length
      })
      for (const id of ["w", "“ö\u2028", "w"]) {
        yield* counters.add(balance, id, 1.5)
        yield* Effect.all([counters.add(points, id, 2n), counters.add(amount, id, decimal("0.1"))], {
          concurrency: "unbounded"
        })
        yield* Effect.forEach([1, 2, 3], () => counters.add(visits, id, 1), { concurrency: "unbounded" })
        yield* counters.send(tags, id, "a\n")
        assert.isAbove(yield* looked, 0)
      }
      yield* counters.foldAll
      yield* counters.add(balance, "w", 1)
      assert.isAbove(yield* looked, 0)
    })
  )
})

describe("EventualConsistency, its health", () => {
  it.effect("says what is in the way, and is up again when the store can be reached, also where nothing waits", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let isDown = false
      const reason = new StoreError.Unavailable({ description: "away", sent: false })
      const failing: Store = {
        ...store,
        list: (request) =>
          isDown ? Effect.fail(new StoreError.StoreError({ operation: "list", reason })) : store.list(request)
      }
      const { database } = yield* processOn(failing, { fold: true, interval: "10 seconds" })
      const healthAfter = Effect.fnUntraced(function* (is: boolean) {
        isDown = is
        yield* TestClock.adjust("20 seconds")
        yield* settled
        const [status] = yield* Effect.provideService(Plugin.statuses, Database, database)
        return status?.health
      })
      const down = yield* healthAfter(true)
      assert.strictEqual(down?.level, "degraded")
      assert.match(down?.detail ?? "", /^the last fold failed: .*away/)
      assert.strictEqual((yield* healthAfter(false))?.level, "up")
    }).pipe(Effect.provide(Logger.layer([])))
  )
})

describe("EventualConsistency, operations", () => {
  it.effect("are made in the order in which they were acknowledged", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      yield* counters.set(balance, "w", 100)
      yield* counters.add(balance, "w", 50)
      yield* counters.subtract(balance, "w", 30)
      yield* counters.add(balance, "w", 20)
      assert.strictEqual(yield* counters.read(balance, "w"), 0)
      assert.strictEqual(yield* counters.read(balance, "w", { pending: true }), 140)
      for (let i = 0; i < 3; i++) {
        yield* counters.foldAll
        assert.strictEqual(yield* counters.read(balance, "w"), 140)
        assert.strictEqual(yield* counters.read(balance, "w", { pending: true }), 140)
      }
      yield* counters.add(balance, "w", 1)
      yield* counters.set(balance, "w", 7)
      yield* counters.fold(balance, "w")
      assert.strictEqual(yield* counters.read(balance, "w"), 7)
    })
  )

  it.effect("change what the document has, each field by itself, exactly", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w", balance: 50, amount: decimal("0.10"), points: 2n ** 64n, utm: { other: 9 } })
      yield* counters.add(balance, "w", 100)
      yield* counters.subtract(balance, "w", 30)
      yield* counters.add(amount, "w", decimal("0.2"))
      yield* counters.add(points, "w", 10n ** 30n)
      yield* counters.add(google, "w", 3)
      yield* counters.send(tags, "w", "a")
      yield* counters.send(tags, "w", "b")
      yield* counters.add(visits, "w", 2)
      yield* counters.send(seen, "w", 5)
      yield* counters.send(seen, "w", 4)
      yield* counters.foldAll
      yield* counters.foldAll
      const { counted: _, ...wallet } = yield* wallets.get("w")
      assert.strictEqual(BigDecimal.format(wallet.amount!), "0.3")
      assert.deepInclude(wallet, {
        balance: 120,
        points: 2n ** 64n + 10n ** 30n,
        tags: ["a", "b"],
        visits: 2,
        seen: [4, 5],
        utm: { other: 9, google: 3 }
      })
      yield* wallets.insert({ id: "v" })
      yield* counters.add(google, "v", 1)
      yield* counters.foldAll
      assert.deepStrictEqual((yield* wallets.get("v")).utm, { google: 1 })
    })
  )

  it.effect("of many fibers and processes come to the exact sum", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      const other = yield* processOn(store)
      yield* wallets.insert({ id: "w", balance: 1000 })
      const change = (i: number) => {
        const by = i % 2 === 0 ? counters : other.counters
        return Effect.all([by.add(balance, "w", 10), by.subtract(balance, "w", 20), by.add(visits, "w", 1)])
      }
      const numbers = Array.from({ length: 60 }, (_, i) => i)
      yield* Effect.all(
        [
          Effect.forEach(numbers, change, { concurrency: 20 }),
          Effect.forEach([1, 2, 3], () => counters.foldAll),
          Effect.forEach([1, 2, 3], () => other.counters.foldAll)
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* counters.read(balance, "w", { pending: true }), 400)
      assert.strictEqual(yield* other.counters.read(visits, "w", { pending: true }), 60)
      yield* Effect.all([counters.foldAll, other.counters.foldAll], { concurrency: 2 })
      assert.strictEqual(yield* counters.read(balance, "w"), 400)
      assert.strictEqual(yield* counters.read(visits, "w"), 60)
    })
  )

  it.effect("wait for their document, as many as there are", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      const ids = Array.from({ length: 300 }, (_, i) => `w${i}`)
      yield* Effect.forEach(ids, (id) => counters.add(balance, id, 1), { concurrency: "unbounded" })
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 0, waiting: 300 })
      assert.strictEqual((yield* Effect.flip(counters.read(balance, "w0", { pending: true })))._tag, "NotFound")
      yield* wallets.insertMany(ids.map((id) => ({ id, balance: 1 })))
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 300, documents: 300, waiting: 0, failed: 0 })
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 0, waiting: 0 })
      const sum = yield* Stream.runFold(
        wallets.scan(),
        () => 0,
        (all, { balance = 0 }) => all + balance
      )
      assert.strictEqual(sum, 600)
    })
  )

  it.effect("that lead to what the document cannot have are left out, and told", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      const events = yield* Effect.forkChild(
        counters.events.pipe(
          Stream.filter(({ _tag }) => _tag === "Refused"),
          Stream.take(1),
          Stream.runCollect
        ),
        { startImmediately: true }
      )
      yield* counters.add(credit, "w", 5)
      yield* counters.subtract(credit, "w", 6)
      yield* counters.add(credit, "w", 1)
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 3, refused: 1 })
      assert.strictEqual(yield* counters.read(credit, "w"), 6)
      assert.deepInclude([...(yield* Fiber.join(events))][0], { _tag: "Refused", id: "w", field: "credit" })
      assert.strictEqual(yield* counters.apply(credit, "w", { subtract: 6 }), 0)
      const error = yield* Effect.flip(counters.apply(credit, "w", { subtract: 1 }))
      assert.strictEqual(error._tag, "InvalidOperation")
      assert.strictEqual(yield* counters.apply(credit, "w", { add: 3 }), 3)
    })
  )

  it.effect("of hostile ids and texts are those of these ids", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      const ids = ["__proto__", "constructor", "a/b", "..", "ä", "日本語", "%2F", " "]
      yield* wallets.insertMany(ids.map((id) => ({ id })))
      for (const [i, id] of ids.entries()) yield* counters.add(balance, id, i + 1)
      yield* counters.send(tags, "__proto__", "__proto__")
      yield* counters.foldAll
      for (const [i, id] of ids.entries()) assert.strictEqual(yield* counters.read(balance, id), i + 1)
      assert.deepStrictEqual(yield* counters.read(tags, "__proto__"), ["__proto__"])
    })
  )

  it.effect("are refused where they cannot be, and change nothing", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      const refused = [
        counters.add(balance, "w", Number.NaN),
        counters.add(balance, "w", Number.POSITIVE_INFINITY),
        counters.add(visits, "w", 0.5),
        counters.set(visits, "w", 5),
        counters.add(amount, "w", decimal("0.001")),
        counters.add(visits, "w", 2 ** 60),
        counters.send(seen, "w", 0.5),
        // No document has such an id: it would wait for ever.
        counters.add(balance, "\u{1F600}".repeat(250), 1)
      ]
      for (const one of refused) assert.strictEqual((yield* Effect.flip(one))._tag, "InvalidOperation")
      assert.deepStrictEqual(yield* keysOf(store, "resource=wallets/plugin=eventual/"), [])
    })
  )

  it.effect("of a release that knows more stay for it", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      yield* counters.add(balance, "w", 1)
      yield* counters.send(tags, "w", "a")
      yield* counters.add(balance, "w", 2)
      const { database } = yield* openOn(store)
      const older = yield* EventualConsistency.make({ counters: [balance], fold: false }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(
          Counters.Wallets,
          yield* Effect.provideService(Resource.make(Counters.Wallets.definition), Database, database)
        )
      )
      yield* older.foldAll
      assert.strictEqual(yield* older.read(balance, "w"), 1)
      yield* older.foldAll
      yield* counters.foldAll
      assert.strictEqual(yield* counters.read(balance, "w"), 3)
      assert.deepStrictEqual(yield* counters.read(tags, "w"), ["a"])
    })
  )

  it.effect("are taken out when nobody wants them", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* counters.add(balance, "w", 1)
      yield* counters.add(visits, "w", 1)
      yield* counters.add(balance, "v", 1)
      assert.strictEqual(yield* counters.discard(balance, "w"), 2)
      yield* wallets.insertMany([{ id: "w" }, { id: "v" }])
      yield* counters.foldAll
      assert.strictEqual(yield* counters.read(balance, "w"), 0)
      assert.strictEqual(yield* counters.read(balance, "v"), 1)
    })
  )
})

describe("EventualConsistency, apply", () => {
  it.effect("makes all that was acknowledged before, and gives the value", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w", balance: 1000 })
      assert.strictEqual(yield* counters.apply(balance, "w", { add: 500 }), 1500)
      assert.strictEqual(yield* counters.apply(balance, "w", { subtract: 200 }), 1300)
      yield* counters.set(balance, "w", 5)
      yield* counters.add(balance, "w", 1)
      assert.strictEqual(yield* counters.apply(balance, "w", { add: 1 }), 7)
      yield* counters.foldAll
      assert.strictEqual(yield* counters.read(balance, "w"), 7)
      const amounts = Array.from({ length: 20 }, () => counters.apply(balance, "w", { add: 1 }))
      const values = yield* Effect.all(amounts, { concurrency: "unbounded" })
      assert.strictEqual(Math.max(...values), 27)
      assert.strictEqual((yield* Effect.flip(counters.apply(balance, "x", { add: 1 })))._tag, "NotFound")
    })
  )

  it.effect("is an update with the mode apply, also in a transaction", () =>
    Effect.gen(function* () {
      const { counters, database, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      const other = yield* processOn(store)
      const add = (i: number) => (i % 2 === 0 ? counters : other.counters).add(direct, "w", 1)
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        add,
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* counters.read(direct, "w"), 20)
      const both = Effect.gen(function* () {
        yield* counters.apply(direct, "w", { subtract: 5 })
        return yield* Effect.fail("no" as const)
      })
      assert.strictEqual(yield* Effect.flip(database.transaction(both)), "no")
      assert.strictEqual(yield* counters.read(direct, "w"), 20)
      assert.strictEqual(yield* database.transaction(counters.apply(direct, "w", { set: 3 })), 3)
      const error = yield* Effect.flip(database.transaction(counters.add(balance, "w", 1)))
      assert.include(error.message, "transaction")
    })
  )
})

describe("EventualConsistency, documents", () => {
  it.effect("that are replaced keep what has come into them", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      yield* counters.add(balance, "w", 1)
      // Folded, and not yet out of its lane.
      yield* counters.fold(balance, "w")
      yield* wallets.replace({ id: "w", balance: 10 })
      yield* wallets.update("w", { owner: "ada" })
      yield* (yield* processOn(store)).counters.foldAll
      assert.strictEqual(yield* counters.read(balance, "w"), 10)
      yield* wallets.upsert({ id: "w", balance: 20 })
      yield* counters.add(balance, "w", 1)
      yield* counters.foldAll
      assert.strictEqual(yield* counters.read(balance, "w"), 21)
    })
  )

  it.effect("are changed only as far as their guards let the user", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      yield* wallets.insert({ id: "w", owner: "ada" })
      yield* wallets.intercept(
        Guard.interceptor({ "*": Guard.allow, update: Guard.owner<{ owner?: string }>("owner") })
      )
      const as = (user: string) => Effect.provideService(CurrentUser.CurrentUser, CurrentUser.make(user))
      const keys = yield* keysOf(store)
      for (const refused of [counters.add(balance, "w", 1), counters.apply(balance, "w", { add: 1 })]) {
        assert.strictEqual((yield* Effect.flip(as("bob")(refused)))._tag, "Rejected")
      }
      assert.strictEqual((yield* Effect.flip(as("ada")(counters.add(balance, "x", 1))))._tag, "NotFound")
      assert.deepStrictEqual(yield* keysOf(store), keys)
      yield* as("ada")(counters.add(balance, "w", 1))
      assert.strictEqual(yield* as("ada")(counters.apply(balance, "w", { add: 1 })), 2)
      yield* as("bob")(counters.foldAll)
      assert.strictEqual(yield* counters.read(balance, "w"), 2)
    })
  )

  it.effect("that cannot be written keep their operations waiting, and are told", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insertMany([{ id: "w" }, { id: "v" }])
      let isRefused = true
      yield* wallets.intercept({
        operations: ["update"],
        before: ({ input: { id } }) =>
          isRefused && id === "w" ? Effect.fail({ _tag: "No", message: "not now" }) : Effect.void
      })
      yield* counters.add(balance, "w", 1)
      yield* counters.add(balance, "v", 1)
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 1, failed: 1 })
      assert.strictEqual((yield* Effect.flip(counters.fold(balance, "w")))._tag, "Rejected")
      isRefused = false
      assert.deepInclude((yield* counters.foldAll)[0], { operations: 1, failed: 0 })
      assert.strictEqual(yield* counters.read(balance, "w"), 1)
    })
  )
})

describe("EventualConsistency, declarations", () => {
  const fields = {
    id: Schema.String,
    name: Schema.String,
    n: Schema.Int,
    secret: Attribute.SecretNumber
  }
  class Plain extends Resource.Service<Plain>()("effect-s3db/test/plugins/EventualConsistency.test/Plain", {
    schema: Schema.Struct(fields),
    primaryKey: "id",
    name: "plain"
  }) {}
  class Marked extends Resource.Service<Marked>()("effect-s3db/test/plugins/EventualConsistency.test/Marked", {
    schema: Schema.Struct(Plugin.withAttributes(fields, EventualConsistency.attributes)),
    primaryKey: "id",
    name: "marked"
  }) {}

  const problemOf = Effect.fnUntraced(function* (
    counters: ReadonlyArray<EventualConsistency.AnyCounter<Plain | Marked>>,
    options: Partial<EventualConsistency.Options> = {}
  ) {
    const { database, store } = yield* openOn(yield* memory)
    const provided = <A, E, R>(effect: Effect.Effect<A, E, R | Database>) =>
      Effect.provideService(effect, Database, database)
    const ring = Layer.build(
      KeyRing.layerKeys({ current: "1", keys: { "1": Redacted.make(new Uint8Array(32).fill(7)) } })
    )
    const plain = yield* provided(Effect.flatMap(ring, (keys) => Effect.provide(Resource.make(Plain.definition), keys)))
    const marked = yield* provided(
      Effect.flatMap(ring, (keys) => Effect.provide(Resource.make(Marked.definition), keys))
    )
    const before = yield* keysOf(store)
    const made = EventualConsistency.make({ ...options, counters, fold: false }).pipe(
      provided,
      Effect.provideService(Plain, plain),
      Effect.provideService(Marked, marked)
    )
    const error = yield* Effect.flip(made)
    return { error, isUntouched: (yield* keysOf(store)).length === before.length }
  })

  const anyOf = (name: string, options: EventualConsistency.CounterOptions<number> = {}) =>
    // What a program without types may say.
    EventualConsistency.counter(Marked, name as "n", options)

  const wrong: Readonly<Record<string, ReadonlyArray<EventualConsistency.AnyCounter<Plain | Marked>>>> = {
    "Expected a field of the schema": [anyOf("m")],
    "Expected a field that holds a number": [anyOf("name")],
    "Expected a field that holds no secret": [anyOf("secret")],
    "Expected a field that can change": [anyOf("id")],
    "Expected a safe integer as initial": [anyOf("n", { initial: 0.5 })],
    "Expected one counter for each field": [anyOf("n"), anyOf("n")],
    "Expected a hot counter to be deferred": [anyOf("n", { hot: true, mode: "apply" })],
    "Expected a counter with analytics to be deferred": [anyOf("n", { analytics: true, mode: "apply" })]
  }
  for (const [problem, counters] of Object.entries(wrong)) {
    it.effect(`are refused: ${problem}`, () =>
      Effect.gen(function* () {
        const { error, isUntouched } = yield* problemOf(counters)
        assert.strictEqual(error._tag, "InvalidCounter")
        assert.include(error.message, problem)
        assert.isTrue(isUntouched)
      })
    )
  }

  it.effect("are refused where the schema has no marks, or an option is wrong", () =>
    Effect.gen(function* () {
      const { error } = yield* problemOf([EventualConsistency.counter(Plain, "n")])
      assert.strictEqual(error._tag, "InvalidPlugin")
      for (const options of [{ interval: 1 }, { delay: "1 minute" }, { concurrency: 0 }, { lease: 1 }] as const) {
        assert.strictEqual((yield* problemOf([anyOf("n")], options)).error._tag, "InvalidCounter")
      }
    })
  )
})

describe("EventualConsistency, requests", () => {
  it.effect("are as the documentation has them", () =>
    Effect.gen(function* () {
      const { requestsOf, store } = counting(yield* memory)
      const { counters, wallets } = yield* processOn(store)
      yield* wallets.insert({ id: "w" })
      assert.deepStrictEqual(yield* requestsOf(counters.add(balance, "w", 1)), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requestsOf(counters.add(balance, "w", 1)), { put: 1 })
      const many = Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        () => counters.add(balance, "w", 1),
        { concurrency: "unbounded" }
      )
      assert.isAtMost((yield* requestsOf(many))["put"] ?? 0, 2)
      assert.deepStrictEqual(yield* requestsOf(counters.add(direct, "w", 1)), { get: 1, put: 1 })
      // The sums of analytics are 1 GET and 1 PUT of it.
      assert.deepStrictEqual(yield* requestsOf(counters.foldAll), { list: 1, get: 3, put: 3 })
      assert.deepStrictEqual(yield* requestsOf(counters.foldAll), { list: 1 })
      yield* counters.send(tags, "w", "a")
      assert.deepStrictEqual(yield* requestsOf(counters.apply(balance, "w", { add: 1 })), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* requestsOf(counters.read(balance, "w")), { get: 1 })
    })
  )
})

describe("EventualConsistency, at a time", () => {
  const both = (effect: Effect.Effect<void, unknown>) => Effect.all([effect, effect], { concurrency: "unbounded" })
  const entriesOf = Effect.fnUntraced(function* (store: Store, id: string) {
    const keys = (yield* keysOf(store, "resource=wallets/plugin=eventual/lane/")).filter((key) => /\d\d$/.test(key))
    const bodies = yield* Effect.forEach(keys, (key) =>
      Effect.map(store.get(key), ({ body }) => new TextDecoder().decode(body))
    )
    return bodies.join().split(`"i":"${id}"`).length - 1
  })

  it.effect("what fits is not left out with what does not, and what only grows is one", () =>
    Effect.gen(function* () {
      const { counters, store, wallets } = yield* openNew
      for (const id of ["less", "more", "mixed"]) yield* wallets.insert({ id, credit: 5, balance: 5 })
      yield* both(counters.subtract(credit, "less", 3))
      yield* both(counters.add(credit, "more", 3))
      yield* Effect.all([counters.add(credit, "mixed", -3), counters.add(credit, "mixed", -3)], { concurrency: 2 })
      yield* both(counters.subtract(balance, "mixed", 3))
      const entries = yield* Effect.forEach(["less", "more", "mixed"], (id) => entriesOf(store, id))
      assert.deepStrictEqual(entries, [2, 1, 3])
      assert.strictEqual((yield* counters.foldAll)[0]!.refused, 2)
      const values = yield* Effect.forEach(["less", "more", "mixed"], (id) => counters.read(credit, id))
      assert.deepStrictEqual(values, [2, 11, 2])
      assert.strictEqual(yield* counters.read(balance, "mixed"), -1)
    })
  )

  it.effect("as many are refused as are in what is left out", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w", visits: Number.MAX_SAFE_INTEGER })
      yield* both(counters.add(visits, "w", 3))
      const [report] = yield* counters.foldAll
      assert.deepStrictEqual([report!.operations, report!.refused], [2, 2])
    })
  )
})

describe("EventualConsistency, lost answers and crashes", () => {
  it.effect("do not say that nothing was done where a refusal may be that of a second delivery", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let isDown = false
      const isOfIt = (key: string) => key.includes("/lane/") || key.includes("/bounded/")
      const failed = (reason: StoreError.Reason) => Effect.fail(new StoreError.StoreError({ operation: "put", reason }))
      const store: ObjectStore["Service"] = {
        ...inner,
        put: (request) =>
          isDown && isOfIt(request.key)
            ? Effect.andThen(inner.put(request), failed(new StoreError.PreconditionFailed({ description: "no" })))
            : inner.put(request),
        get: (key, options) =>
          isDown && isOfIt(key) ? failed(new StoreError.Throttled({ description: "later" })) : inner.get(key, options)
      }
      const { counters, wallets } = yield* processOn(store)
      const stock = yield* counters.bounded("stock", { initial: 10, slots: 1 })
      yield* wallets.insert({ id: "w" })
      yield* counters.add(balance, "w", 1)
      yield* stock.take(1)
      isDown = true
      const added = yield* Effect.flip(counters.add(balance, "w", 2))
      const taken = yield* Effect.flip(stock.take(2))
      isDown = false
      assert.deepStrictEqual(
        [added, taken].map((error) => error._tag === "DbError" && error.outcome),
        ["unknown", "unknown"]
      )
      assert.deepStrictEqual([yield* counters.read(balance, "w", { pending: true }), yield* stock.value], [3, 7])
    })
  )

  it.effect(
    "tell whether an operation was left out also where others have written upon it before its answer was lost",
    () =>
      Effect.gen(function* () {
        const inner = yield* memory
        const others = yield* processOn(inner)
        let isLost = false
        const lost = new StoreError.StoreError({
          operation: "put",
          reason: new StoreError.Timeout({ description: "no answer", afterMillis: 1 })
        })
        const later = Effect.forEach(
          Array.from({ length: 60 }, (_, i) => `other-${i}`),
          (id) => Effect.orDie(others.counters.add(balance, id, 1)),
          { discard: true }
        )
        const store: Store = {
          ...inner,
          put: (request) => {
            if (!isLost || !request.key.includes("/lane/")) return inner.put(request)
            isLost = false
            return inner.put(request).pipe(Effect.andThen(later), Effect.andThen(Effect.fail(lost)))
          }
        }
        const { counters, wallets } = yield* processOn(store)
        yield* wallets.insert({ id: "w", credit: 1 })
        isLost = true
        const error = yield* Effect.flip(counters.apply(credit, "w", { subtract: 5 }))
        assert.strictEqual(error._tag, "InvalidOperation")
        isLost = true
        assert.strictEqual(yield* counters.apply(credit, "w", { add: 4 }), 5)
      })
  )

  it.effect(
    "tell whether an operation was left out also where another process has folded it, and taken it out of its lane",
    () =>
      Effect.gen(function* () {
        const inner = yield* memory
        const others = yield* processOn(inner)
        let isFolded = false
        let between: Effect.Effect<unknown, unknown> = Effect.void
        const store: Store = {
          ...inner,
          put: (request) =>
            inner.put(request).pipe(
              Effect.tap(() =>
                request.key.includes("/lane/") && !isFolded
                  ? Effect.suspend(() => {
                      isFolded = true
                      return Effect.orDie(Effect.andThen(others.counters.foldAll, between))
                    })
                  : Effect.void
              )
            )
        }
        const { counters, wallets } = yield* processOn(store)
        yield* wallets.insert({ id: "w", credit: 1 })
        assert.strictEqual((yield* Effect.flip(counters.apply(credit, "w", { subtract: 5 })))._tag, "InvalidOperation")
        isFolded = false
        assert.strictEqual(yield* counters.apply(credit, "w", { add: 4 }), 5)
        // A document that is replaced goes on telling of it, until so many others are told of that it cannot.
        const refuseMore = (count: number) =>
          Effect.forEach(
            Array.from({ length: count }),
            () => Effect.exit(others.counters.apply(credit, "w", { subtract: 50 })),
            { discard: true }
          )
        isFolded = false
        between = Effect.andThen(others.wallets.replace({ id: "w", credit: 5 }), refuseMore(10))
        assert.strictEqual((yield* Effect.flip(counters.apply(credit, "w", { subtract: 50 })))._tag, "InvalidOperation")
        isFolded = false
        between = refuseMore(20)
        const error = yield* Effect.flip(counters.apply(credit, "w", { subtract: 50 }))
        assert.strictEqual(error._tag === "DbError" && error.outcome, "unknown")
      })
  )

  it.effect("count what landed once, where its answer was lost", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let lose: "after" | "before" | undefined
      const lost = new StoreError.StoreError({
        operation: "put",
        reason: new StoreError.Timeout({ description: "no answer", afterMillis: 1 })
      })
      const store: Store = {
        ...inner,
        put: (request) => {
          if (lose === undefined || !request.key.includes("/lane/")) return inner.put(request)
          const when = lose
          lose = undefined
          return when === "after" ? Effect.andThen(inner.put(request), Effect.fail(lost)) : Effect.fail(lost)
        }
      }
      const { counters, wallets } = yield* processOn(store)
      yield* wallets.insert({ id: "w" })
      let least = 0
      let most = 0
      for (let i = 0; i < 12; i++) {
        lose = i % 3 === 0 ? "after" : i % 3 === 1 ? "before" : undefined
        const exit = yield* Effect.result(counters.add(balance, "w", 1))
        most += 1
        if (Result.isSuccess(exit)) least += 1
        if (i % 5 === 4) yield* counters.foldAll
      }
      yield* counters.foldAll
      const value = yield* counters.read(balance, "w")
      assert.isAtLeast(value, least)
      assert.isAtMost(value, most)
      assert.strictEqual(least, 8)
      assert.strictEqual(value, 8)
    })
  )

  for (const when of moments) {
    it.effect(`lose nothing where a process crashes ${when} each of its requests`, () =>
      Effect.gen(function* () {
        for (let at = 1; ; at++) {
          const store = yield* memory
          const { counters, wallets } = yield* processOn(store)
          yield* wallets.insert({ id: "w" })
          let acknowledged = 0
          let sent = 0
          const scope = yield* Scope.make()
          const client = crashing(store, at, when)
          const run = Effect.gen(function* () {
            const own = yield* processOn(client.store)
            for (let i = 0; i < 3; i++) {
              sent += 1
              yield* own.counters.add(balance, "w", 1)
              acknowledged += 1
            }
            yield* own.counters.foldAll
            sent += 1
            yield* own.counters.apply(balance, "w", { add: 1 })
            acknowledged += 1
          })
          const fiber = yield* Effect.forkChild(Effect.exit(Scope.provide(run, scope)))
          yield* until("it has crashed or is done", () => fiber.pollUnsafe() !== undefined || client.requests() >= at)
          yield* settled
          yield* Fiber.interrupt(fiber)
          yield* counters.foldAll
          const value = yield* counters.read(balance, "w")
          assert.isAtLeast(value, acknowledged)
          assert.isAtMost(value, sent)
          if (client.requests() < at) {
            assert.strictEqual(value, 4)
            return
          }
        }
      })
    )
  }
})

describe("EventualConsistency, bounded counters", () => {
  it.effect("give what there is, whichever process takes it, and have names of their own", () =>
    Effect.gen(function* () {
      const { counters, store } = yield* openNew
      const other = yield* processOn(store)
      const [one, two] = [
        yield* counters.bounded("seats", { initial: 10 }),
        yield* other.counters.bounded("seats", { initial: 10, slots: 2 })
      ]
      const taken = yield* Effect.forEach(
        Array.from({ length: 14 }, (_, i) => i),
        (i) => Effect.result((i % 2 === 0 ? one : two).take(1)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(taken.filter(Result.isSuccess).length, 10)
      const refused = yield* Effect.flip(two.take(1))
      assert.strictEqual(refused._tag, "Insufficient")
      assert.strictEqual(refused.message, '1 were asked for of "seats", where there are 0')
      yield* two.add(3)
      yield* one.take(3)
      assert.strictEqual(yield* two.value, 0)
      assert.strictEqual(yield* (yield* counters.bounded("__proto__", { initial: 1 })).value, 1)
      for (const [name, options] of [
        ["", { initial: 1 }],
        ["a", { initial: -1 }],
        ["a", { initial: 1, slots: 65 }]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(counters.bounded(name, options)))._tag, "InvalidCounter")
      }
      for (const strange of [one.take(0), one.take(0.5), one.add(-1)]) {
        const error = yield* Effect.flip(strange)
        assert.strictEqual(error._tag, "DbError")
        assert.match(error.message, /"seats": expected a whole number from 1, not /)
      }
    })
  )
})

describe("EventualConsistency, the layer", () => {
  it.effect("folds by itself, one process at a time, and what waits when there is a document", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* processOn(store, { fold: true, interval: "10 seconds" })
      const second = yield* processOn(store, { fold: true, interval: "10 seconds" })
      yield* first.wallets.insert({ id: "w" })
      yield* first.counters.add(balance, "w", 1)
      yield* second.counters.add(visits, "w", 2)
      yield* second.counters.add(balance, "later", 3)
      const isFolded = (id: string, value: number) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          const wallet = yield* Effect.result(first.wallets.get(id))
          return Result.isSuccess(wallet) && wallet.success.balance === value
        })
      yield* until("it has been folded", () => isFolded("w", 1))
      assert.strictEqual((yield* first.wallets.get("w")).visits, 2)
      yield* second.wallets.insert({ id: "later" })
      yield* until("what waited has been folded", () => isFolded("later", 3))
    })
  )

  it.effect("gathers for as long as it is told", () =>
    Effect.gen(function* () {
      const { requestsOf, store } = counting(yield* memory)
      const { counters, wallets } = yield* processOn(store, { delay: "5 millis" })
      yield* wallets.insert({ id: "w" })
      const adding = (i: number) => Effect.andThen(Effect.yieldNow, counters.add(balance, "w", i))
      const many = Effect.forEach([1, 2, 3, 4], adding, { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* requestsOf(many), { get: 1, put: 1 })
      assert.strictEqual(yield* counters.read(balance, "w", { pending: true }), 10)
    })
  )
})
