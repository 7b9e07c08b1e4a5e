/** A resource whose partitions cover fields, and what its keys have to say of it. */
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Definition from "effect-s3db/Definition"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, memory } from "./fixture.ts"

export const Person = Schema.Struct({
  id: Schema.String,
  country: Schema.String,
  age: Schema.Finite,
  name: Schema.String,
  nick: Schema.optionalKey(Schema.NullOr(Schema.String)),
  joined: Schema.optionalKey(Schema.DateTimeUtcFromString),
  score: Schema.optionalKey(Schema.Finite),
  address: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) })),
  notes: Schema.optionalKey(Schema.String),
  token: Schema.optionalKey(Attribute.SecretText)
})

export const options = {
  schema: Person,
  primaryKey: "id",
  partitions: {
    byCountry: { fields: ["country", "age"], covering: ["name", "nick", "joined", "score", "address"] },
    byMonth: { fields: { $createdAt: "month" }, covering: ["name"] },
    byName: ["name"],
    byStale: { fields: ["country"], covering: ["name", "$updatedAt"] },
    byNick: { fields: ["nick"], covering: ["notes"] }
  }
} as const satisfies Resource.Options<typeof Person>

export const openCounted = Effect.fnUntraced(function* (inner: ObjectStore["Service"]) {
  const { counter, store } = InstrumentedStore.make(inner)
  const database = yield* Effect.provideService(Database.make({}), ObjectStore, store)
  const people = yield* Effect.provideService(
    Resource.make(Definition.from("people", options)),
    Database.Database,
    database
  )
  /** What an effect gives, and the requests that it makes. */
  const requests = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    yield* counter.reset
    const result = yield* effect
    const { get = 0, head = 0, list = 0 } = yield* counter.counts
    return { result, get, head, list }
  })
  return { database, people, requests, store }
})

export const withRing = Effect.provide(
  KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(7)) } })
)

type Input = Omit<typeof Person.Type, "token" | "joined"> & { readonly joined?: string }

export const personOf = (i: number): Input => ({
  id: `p-${String(i).padStart(5, "0")}`,
  country: ["DE", "FR", "IT", "ES", "PL"][i % 5]!,
  age: 18 + (i % 50),
  name: `name ${i % 7} ü`,
  ...(i % 3 === 0 ? { nick: i % 2 === 0 ? null : `n${i}` } : {}),
  ...(i % 4 === 0 ? { score: i / 8 } : {}),
  ...(i % 3 === 1 ? { address: { city: `city ${i % 11}`, ...(i % 2 === 0 ? { zip: `${i}` } : {}) } } : {})
})

export const sorted = (rows: ReadonlyArray<JsonObject>) => rows.map((row) => Query.canonicalValue(row)).toSorted()

/** So many documents: by keys alone what documents say, without a GET. */
export const agreement = (total: number) =>
  Effect.gen(function* () {
    const { people, requests } = yield* openCounted(yield* memory)
    const all = Math.ceil(total / 1000)
    yield* people.insertMany(
      Array.from({ length: total }, (_, i) => personOf(i) as never),
      { concurrency: 64 }
    )
    const select = ["id", "country", "age", "name", "nick", "score", "address.city"] as const
    const every = yield* requests(Stream.runCollect(people.queryJson({ select, allowStale: true })))
    assert.deepInclude(every, { get: 0, head: 0, list: all })
    const plain = yield* requests(Stream.runCollect(people.queryJson({ select, scan: true })))
    assert.deepInclude(plain, { get: total, list: all })
    assert.strictEqual(every.result.length, total)
    assert.deepStrictEqual(sorted(every.result), sorted(plain.result))

    // Conditions, orders, limits and pages: the same as of documents, in the same order.
    const requestsOf: ReadonlyArray<readonly [Parameters<typeof people.queryJson>[0], number]> = [
      [{ where: { country: "DE" } }, 1],
      [{ where: { country: "DE", age: { gte: 30, lt: 40 } }, order: "age" }, 1],
      [{ where: { country: { in: ["DE", "PL"] }, score: { gt: 10 } } }, 2],
      [{ where: { country: "FR", "address.city": { startsWith: "city 1" } } }, 1],
      [{ where: { country: "IT", nick: null } }, 1],
      [{ where: { country: "IT", nick: { exists: false } }, order: "-score", limit: 25 }, 1],
      [{ where: { name: { contains: "3 ü" } }, order: ["-age", "name"], limit: 100 }, all],
      [{ where: { $or: [{ age: 20 }, { score: { lt: 10 } }] }, order: "name", limit: 50 }, all],
      [{ partition: "byCountry", values: { country: "ES" }, from: 20, to: 25 }, 1],
      [{ where: { country: "PL" }, limit: 7, order: "age" }, 1]
    ]
    for (const [request, lists] of requestsOf) {
      const label = JSON.stringify(request)
      const told = yield* requests(Stream.runCollect(people.queryJson({ ...request, select, allowStale: true })))
      const read = yield* Stream.runCollect(people.queryJson({ ...request, select, scan: true }))
      assert.isAbove(told.result.length, 0, label)
      assert.deepInclude(told, { get: 0, head: 0, list: lists }, label)
      if (request.order === undefined) assert.deepStrictEqual(sorted(told.result), sorted(read), label)
      else assert.deepStrictEqual(told.result, read, label)
      const plan = yield* people.explainQuery({ ...request, select, allowStale: true })
      assert.deepInclude(plan, { access: "partition", index: "byCountry", reads: "keys", fallback: undefined }, label)
      assert.strictEqual(plan.requests.perDocument, 0, label)
      const { limit: _, ...whole } = request
      const count = yield* requests(people.count({ ...whole, allowStale: true }))
      assert.strictEqual(count.result, yield* people.count({ ...whole, scan: true }), label)
      assert.deepInclude(count, { get: 0, head: 0 }, label)
      const ids = yield* requests(Stream.runCollect(people.listIds({ ...request, allowStale: true })))
      assert.deepStrictEqual(ids.result.toSorted(), told.result.map((one) => String(one["id"])).toSorted(), label)
      assert.deepInclude(ids, { get: 0, head: 0, list: lists }, label)
      if (request.partition !== undefined) continue
      for (const limit of [1000, 60]) {
        const pages: Array<JsonObject> = []
        let cursor: string | undefined
        let made = 0
        do {
          const page = yield* requests(
            people.queryPageJson({ ...whole, select, allowStale: true, limit, cursor, total: true })
          )
          assert.deepInclude(page, { get: 0, head: 0 }, label)
          assert.strictEqual(page.result.total, count.result, label)
          pages.push(...page.result.items)
          cursor = page.result.cursor
          made += 1
        } while (cursor !== undefined)
        assert.strictEqual(pages.length, count.result, label)
        assert.isAtMost(made, Math.ceil(count.result / limit) + 1, label)
        if (request.order === undefined) continue
        const order = yield* Stream.runCollect(people.queryJson({ ...whole, select, scan: true, limit: total }))
        assert.deepStrictEqual(pages, order, label)
      }
    }

    const groups = {
      groupBy: ["country"],
      values: { n: { count: true }, total: { sum: "score" }, eldest: { max: "age" } }
    } as const
    const aggregated = yield* requests(people.aggregate(groups, { allowStale: true }))
    assert.deepInclude(aggregated, { get: 0, head: 0, list: all })
    assert.deepStrictEqual(aggregated.result, yield* people.aggregate(groups, { scan: true }))
    // By the partition as a whole: keys are counted, not read.
    const counted = yield* requests(people.count({ partition: "byCountry", allowStale: true }))
    assert.deepInclude(counted, { result: total, get: 0, list: all })
    assert.deepInclude(yield* requests(people.count({ partition: "byCountry", allowStale: true, verify: true })), {
      result: total,
      get: total
    })
  }).pipe(withRing)

type People = Effect.Success<ReturnType<typeof openCounted>>["people"]

const old = { id: "old", country: "DE", age: 1, name: "old" }

const writes: Readonly<
  Record<string, readonly [target: string, write: (people: People) => Effect.Effect<unknown, unknown>]>
> = {
  insert: ["new", (people) => people.insert({ id: "new", country: "DE", age: 1, name: "new" })],
  "an update of what is covered": ["old", (people) => people.update("old", { name: "newer" })],
  "a move": ["old", (people) => people.update("old", { country: "FR", name: "moved" })],
  replace: ["old", (people) => people.replace({ id: "old", country: "IT", age: 2, name: "replaced" })],
  delete: ["old", (people) => people.delete("old")]
}

const rowsOf = (people: People, allowStale: boolean) =>
  Effect.map(
    Stream.runCollect(
      people.queryJson({ partition: "byStale", select: ["id", "country", "name", "$updatedAt"], allowStale })
    ),
    (rows) => rows.map((row) => JSON.stringify(row)).toSorted()
  )

/** What keys say when a program has crashed at any request of a write. */
export const crashes = (...names: ReadonlyArray<keyof typeof writes>) => {
  for (const name of names) {
    const [target, write] = writes[name]!
    it.effect(
      `after a crash at any request of ${name} keys say what is committed, and at most one version beside it`,
      () =>
        Effect.gen(function* () {
          let leftovers = 0
          for (let at = 1, finished = false; !finished; at++) {
            for (const when of ["before", "after"] as const) {
              const label = `${name}, ${when} request ${at}`
              const store = yield* memory
              const { people } = yield* openCounted(store)
              yield* people.insert(old)
              yield* people.insert({ id: "other", country: "DE", age: 1, name: "other" })
              const before = yield* rowsOf(people, false)
              const opening = crashing(store, Number.POSITIVE_INFINITY, when)
              yield* openCounted(opening.store)
              const crashed = yield* openCounted(crashing(store, at + opening.requests(), when).store)
              const exit = yield* Effect.exit(write(crashed.people))
              finished = Exit.isSuccess(exit)
              if (Exit.isFailure(exit)) assert.isTrue(Cause.hasDies(exit.cause), label)
              const committed = yield* rowsOf(people, false)
              const told = yield* rowsOf(people, true)
              // Nothing that is committed is missing, or other than it is.
              for (const row of committed) assert.include(told, row, label)
              const rest = told.filter((row) => !committed.includes(row))
              leftovers += rest.length
              // What is there beside it is the one document that was written: as it was before, or as it was to be.
              assert.isAtMost(rest.length, 1, label)
              for (const row of rest) {
                const said = JSON.parse(row) as JsonObject
                assert.strictEqual(said["id"], target, label)
                const isMeant = ["new", "newer", "moved", "replaced"].includes(String(said["name"]))
                assert.isTrue(before.includes(row) || isMeant, label)
              }
              // A write that was acknowledged leaves nothing of itself.
              if (finished) assert.deepStrictEqual(told, committed, label)
              yield* TestClock.adjust("1 hour")
              const mended = yield* openCounted(store)
              yield* Stream.runDrain((yield* mended.people.admin).repair({ dryRun: false }))
              assert.deepStrictEqual(yield* rowsOf(mended.people, true), yield* rowsOf(mended.people, false), label)
            }
          }
          assert.isAbove(leftovers, 0, name)
        }).pipe(withRing)
    )
  }
}
