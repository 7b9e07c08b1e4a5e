/** Changes applied by version: whatever comes late, twice, at once, or by a process that dies. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

class Orders extends Resource.Service<Orders>()("test/orders", {
  schema: Schema.Struct({
    id: Schema.String,
    total: Schema.Int,
    city: Schema.String,
    note: Schema.optionalKey(Schema.String),
    sourceVersion: Schema.optionalKey(Schema.Int)
  }),
  primaryKey: "id",
  partitions: { byCity: ["city"] }
}) {}

class Plain extends Resource.Service<Plain>()("test/plain", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id"
}) {}

/** What applies changes, as a process of its own. */
const processOn = Effect.fnUntraced(function* (store: Store) {
  const layer = Layer.mergeAll(Orders.layer, Plain.layer).pipe(
    Layer.provideMerge(Layer.fresh(Database.layer)),
    Layer.provide(Layer.succeed(ObjectStore, store))
  )
  const context = yield* Layer.build(layer)
  const consumer = yield* Effect.provideContext(QueueConsumer.make(), context)
  const handler = yield* Effect.provideContext(consumer.applying([Orders]), context)
  const apply = (change: QueueConsumer.ChangeMessage) =>
    handler(change, { queue: "q", id: "m", key: Option.none(), attempt: 1 })
  return { apply, consumer, context, orders: Context.get(context, Orders) }
})

const put = (id: string, version: number, total = version): QueueConsumer.ChangeMessage => ({
  resource: "orders",
  operation: version % 2 === 0 ? "update" : "insert",
  id,
  version,
  document: { total, city: `c${version % 3}` }
})

const remove = (id: string, version: number): QueueConsumer.ChangeMessage => ({
  resource: "orders",
  operation: "delete",
  id,
  version
})

const all = (orders: (typeof Orders)["Service"]) =>
  Effect.map(Stream.runCollect(orders.scan()), (found) =>
    Object.fromEntries(found.map(({ id, sourceVersion }) => [id, sourceVersion]))
  )

/** A store on which others go on before each request, for a random while. */
const shaken = (store: Store): Store => {
  const shake = <A, E>(request: Effect.Effect<A, E>) =>
    Effect.flatMap(Random.nextIntBetween(0, 6), (times) =>
      Effect.andThen(
        Effect.forEach(Array.from({ length: times }), () => Effect.yieldNow, { discard: true }),
        request
      )
    )
  return {
    ...store,
    put: (request) => shake(store.put(request)),
    get: (...args) => shake(store.get(...args)),
    delete: (...args) => shake(store.delete(...args)),
    list: (request) => shake(store.list(request))
  }
}

describe("changes that are applied", () => {
  it.effect("an old one never overwrites a newer one, and one that comes twice is applied once", () =>
    Effect.gen(function* () {
      const { apply, orders } = yield* processOn(yield* memory)
      yield* apply(put("a", 5))
      yield* apply(put("a", 3))
      assert.deepInclude(yield* orders.get("a"), { total: 5, sourceVersion: 5, city: "c2" })
      const before = yield* orders.getDocument("a")
      yield* apply(put("a", 5))
      assert.deepStrictEqual((yield* orders.getDocument("a")).revision, before.revision)
      yield* apply(remove("a", 4))
      assert.isTrue(yield* orders.exists("a"))
      yield* apply(remove("a", 7))
      yield* apply(put("a", 6))
      assert.isFalse(yield* orders.exists("a"))
      yield* apply(remove("a", 7))
      yield* apply(put("a", 8))
      assert.deepInclude(yield* orders.get("a"), { total: 8, sourceVersion: 8 })
      yield* apply(remove("a", 7))
      assert.isTrue(yield* orders.exists("a"))
    })
  )

  it.effect("a document that was there already, of no version, is replaced", () =>
    Effect.gen(function* () {
      const { apply, orders } = yield* processOn(yield* memory)
      yield* orders.insert({ id: "a", total: 1, city: "x", note: "old" })
      yield* apply(put("a", 0))
      assert.deepStrictEqual({ ...(yield* orders.get("a")) }, { id: "a", total: 0, city: "c0", sourceVersion: 0 })
    })
  )

  it.effect("ids and fields that could spoil something are taken as they are", () =>
    Effect.gen(function* () {
      const { apply, orders } = yield* processOn(yield* memory)
      const ids = ["__proto__", "constructor", "a/b", "..", "%2F", "日本語 😀", "a=b&c", " "]
      for (const id of ids) {
        yield* apply(put(id, 2))
        yield* apply(put(id, 1))
      }
      assert.deepStrictEqual(Object.keys(yield* all(orders)).length, ids.length)
      for (const id of ids) assert.strictEqual((yield* orders.get(id)).total, 2)
      for (const id of ids) yield* apply(remove(id, 3))
      for (const id of ids) yield* apply(put(id, 2))
      for (const id of ids) assert.isFalse(yield* orders.exists(id))
      const hostile = JSON.parse('{"total": 1, "city": "x", "__proto__": {"total": 9}, "id": "other"}') as {}
      yield* Effect.exit(apply({ ...put("h", 1), document: hostile }))
      assert.isFalse(yield* orders.exists("other"))
      assert.isUndefined(({} as { total?: number }).total)
    })
  )

  it.effect("what can never be applied is rejected, and says why", () =>
    Effect.gen(function* () {
      const { apply, consumer, context } = yield* processOn(yield* memory)
      for (const [change, why] of [
        [{ ...put("a", 1), resource: "others" }, '"others" is none'],
        [{ ...put("a", 1), resource: "__proto__" }, "is none"],
        [{ ...put("a", 1), document: { total: "much", city: "x" } }, "total"],
        [put("", 1), "orders"]
      ] as const) {
        const error = yield* Effect.flip(apply(change))
        assert.instanceOf(error, QueueConsumer.Reject)
        assert.include(error.description, why)
      }
      const refused = yield* Effect.flip(Effect.provideContext(consumer.applying([Plain]), context))
      assert.deepInclude(refused, { _tag: "InvalidConsumer", field: "resources" })
    })
  )

  it.effect.each(Array.from({ length: 12 }, (_, seed) => seed))(
    "in any order, up to three times, at once by two processes: the newest is what stays (seed %i)",
    (seed) =>
      Effect.gen(function* () {
        const store = yield* memory
        const processes = [yield* processOn(shaken(store)), yield* processOn(shaken(store))]
        const changes: Array<QueueConsumer.ChangeMessage> = []
        const expected: Record<string, number> = {}
        for (let document = 0; document < 4; document++) {
          const id = `d${document}`
          const versions = yield* Random.nextIntBetween(1, 6)
          for (let version = 1; version <= versions; version++) {
            const isDeletion = (yield* Random.next) < 0.35
            const change = isDeletion ? remove(id, version) : put(id, version)
            const times = yield* Random.nextIntBetween(1, 4)
            for (let i = 0; i < times; i++) changes.push(change)
            if (isDeletion) delete expected[id]
            else expected[id] = version
          }
        }
        const shuffled = yield* Random.shuffle(changes)
        yield* Effect.forEach(shuffled, (change, i) => processes[i % 2]!.apply(change), { concurrency: 6 })
        assert.deepStrictEqual(yield* all(processes[0]!.orders), expected)
        const parts = yield* Stream.runCollect(
          processes[1]!.orders.scan({ partition: "byCity", values: { city: "c1" } })
        )
        assert.deepStrictEqual(
          parts.map(({ id }) => id).toSorted(),
          Object.keys(expected).filter((id) => expected[id]! % 3 === 1)
        )
      }).pipe(Random.withSeed(seed))
  )

  it.effect("a process that dies at any of its requests spoils nothing, whatever has gone by meanwhile", () =>
    Effect.gen(function* () {
      const cases = [
        { first: put("a", 4), others: [remove("a", 5)], expected: {} },
        { first: put("a", 4), others: [remove("a", 5), put("a", 6)], expected: { a: 6 } },
        { first: remove("a", 5), others: [put("a", 4)], expected: {} },
        { first: remove("a", 5), others: [put("a", 6)], expected: { a: 6 } },
        { first: put("a", 4), others: [put("a", 5)], expected: { a: 5 } }
      ]
      let crashes = 0
      for (const { expected, first, others } of cases) {
        for (const before of [first.operation === "delete", others.length > 1]) {
          for (let at = 1; ; at++) {
            const store = yield* memory
            const other = yield* processOn(store)
            if (before) yield* other.apply(put("a", 2))
            // It counts from when it is open.
            let isArmed = false
            const dying = crashing(store, at, "before").store
            const gate = new Proxy(store, {
              get: (_, key: keyof Store) => (isArmed ? dying[key] : store[key])
            })
            const doomed = yield* processOn(gate)
            isArmed = true
            const exit = yield* Effect.exit(doomed.apply(first))
            for (const change of others) yield* other.apply(change)
            // It is delivered again.
            yield* other.apply(first)
            assert.deepStrictEqual(yield* all(other.orders), expected, `${first.operation} at ${at}`)
            if (Exit.isSuccess(exit)) break
            crashes += 1
          }
        }
      }
      assert.isAbove(crashes, 15)
    })
  )
})
