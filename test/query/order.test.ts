/** The order of a query is the same whether an index makes it or memory does. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Query from "effect-s3db/Query"
import type * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { random } from "../encoding/random.ts"
import { memory, openNew, openOn } from "../fixture.ts"

const Task = Schema.Struct({
  id: Schema.String,
  tenant: Schema.String,
  rank: Schema.Number,
  due: Schema.Date,
  name: Schema.String
})
type Task = typeof Task.Type

/** Ids whose keys lie in another order than they do: beginnings of others, with signs before `/`, escaped ones. */
const ids = [
  "a",
  "a-",
  "a.",
  "a-1",
  "a/b",
  "a b",
  "a~",
  "aa",
  "A",
  "b",
  "é",
  "z",
  "Z",
  "%",
  "\u{FFEE}",
  "😀",
  "0",
  "-",
  "_"
]

const partitions = {
  byTenantRank: ["tenant", "rank"],
  byRankName: ["rank", "name"],
  byDueTenantName: ["due", "tenant", "name"]
} as const

/** Lists so few keys at a time, as a store may. */
const listingFew = (store: ObjectStore["Service"], most: number): ObjectStore["Service"] => ({
  ...store,
  list: (request = {}) => store.list({ ...request, maxKeys: Math.min(request.maxKeys ?? most, most) })
})

type Request = Query.Request<Task>

const requests: ReadonlyArray<Request> = [
  { order: "rank" },
  { order: "due" },
  { where: { tenant: "t1" }, order: "rank" },
  { where: { tenant: "t1", rank: { gte: -1, lte: 1 } }, order: "rank" },
  { where: { rank: { gte: 0 } }, order: "rank" },
  { where: { name: "n1" }, order: "rank" },
  { partition: "byRankName", order: "rank" },
  { partition: "byDueTenantName", order: "due" }
]

const pages = Effect.fnUntraced(function* (
  repository: Resource.Repository<typeof Task>,
  request: Request,
  limit: number
) {
  const found: Array<string> = []
  let cursor: string | undefined
  do {
    const page = yield* repository.queryPage({ scan: true, ...request, limit, cursor })
    assert.isAtMost(page.items.length, limit)
    found.push(...page.items.map(({ id }) => id))
    cursor = page.cursor
  } while (cursor !== undefined)
  return found
})

const idsOf = (tasks: ReadonlyArray<Task>) => tasks.map(({ id }) => id)

describe("the order of a query", () => {
  it.effect(
    "is by field, then by id, with an index and without",
    () =>
      Effect.gen(function* () {
        for (let seed = 1; seed <= 3; seed++) {
          const { int, pick } = random(seed)
          const text = () =>
            String.fromCodePoint(
              ...Array.from({ length: 1 + int(3) }, () => pick([0x2d, 0x2e, 0x61, 0x7e, 0xe9, 0xffee, 0x1f600]))
            )
          const names = new Set(Array.from({ length: 1 + int(60) }, () => (int(2) === 0 ? pick(ids) : text())))
          const tasks = Array.from(names, (id): Task => ({
            id,
            tenant: pick(["t1", "t2"]),
            rank: pick([-0, 0, 1, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]),
            due: pick(
              [0, Date.UTC(2026, 0, 5), Date.UTC(9999, 11, 31), 8.64e15, -8.64e15, -1e14].map((at) => new Date(at))
            ),
            name: pick(["n1", "n2", "n 3", "é"])
          }))
          const { open: openPlain } = yield* openNew
          const { open } = yield* openOn(listingFew(yield* memory, pick([2, 7, 1000])))
          const plain = yield* openPlain("plain", { schema: Task, primaryKey: "id", scan: true })
          const indexed = yield* open("indexed", { schema: Task, primaryKey: "id", scan: true, partitions })
          yield* plain.insertMany(tasks)
          yield* indexed.insertMany(tasks)
          for (const request of requests) {
            const { partition: _, ...same } = request
            const expected = yield* Stream.runCollect(plain.query({ limit: 1000, ...same }))
            const wanted = expected.map(({ id }) => id)
            const json = ({ due, rank }: Task) =>
              request.order === "due" ? due.getTime() : Number.isFinite(rank) ? rank : String(rank)
            // What the documentation says.
            const sorted = expected.toSorted(
              (a, b) => Query.compareValues(json(a), json(b)) || Query.compareValues(a.id, b.id)
            )
            assert.deepStrictEqual(wanted, idsOf(sorted), `seed ${seed}`)
            if (request.where === undefined || !("name" in request.where)) {
              assert.strictEqual((yield* indexed.explainQuery(request)).order, "index")
            }
            const found = yield* Stream.runCollect(indexed.query({ limit: 1000, ...request }))
            assert.deepStrictEqual(idsOf(found), wanted, `seed ${seed}`)
            for (const limit of [2, 50]) {
              assert.deepStrictEqual(yield* pages(indexed, request, limit), wanted, `seed ${seed}`)
            }
            const few = yield* Stream.runCollect(indexed.query({ ...request, limit: 5 }))
            assert.deepStrictEqual(idsOf(few), wanted.slice(0, 5), `seed ${seed}`)
          }
        }
      }),
    120_000
  )

  it.effect("costs a listing for each 1,000 keys, and the run of one value that a page ends in", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { open } = yield* openOn(store)
      const tasks = yield* open("tasks", { schema: Task, primaryKey: "id", partitions })
      const all = Array.from({ length: 1300 }, (_, i) => ({
        id: `k${i}`,
        tenant: i < 1100 ? "same" : "own",
        rank: i < 1100 ? 1 : i,
        due: new Date(0),
        name: "n"
      }))
      yield* tasks.insertMany(all)
      const lists = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        const before = (yield* counter.counts).list
        const value = yield* effect
        return { value, lists: (yield* counter.counts).list - before }
      })
      const own = (limit: number) => Stream.runCollect(tasks.query({ where: { tenant: "own" }, order: "rank", limit }))
      assert.strictEqual((yield* lists(own(10))).lists, 1)
      assert.strictEqual((yield* lists(own(500))).lists, 1)
      const same = (limit: number) =>
        lists(
          Effect.map(tasks.queryPage({ where: { tenant: "same" }, order: "rank", limit }), ({ items }) => items.length)
        )
      // All of the run, since its first ids may lie at its end.
      assert.deepStrictEqual(yield* same(10), { value: 10, lists: 2 })
    })
  )
})
