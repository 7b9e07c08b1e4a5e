import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Document from "effect-s3db/Document"
import type * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as idSpans from "../../src/query/idSpans.ts"
import { Database } from "effect-s3db/Database"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"

/** What stands before, between and after each other in the order of bytes, of keys, of UTF-16 and of code points. */
const characters = [
  ..."az09AZ-._~/%:;!'()*{|}@[ #+=?&\\\"<>^`$,",
  "\u0000",
  "\u0001",
  "\u007f",
  "\u0080",
  "é",
  "\u07ff",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "𐀀",
  "😀",
  "\u{10ffff}",
  "./",
  "..",
  "%2F",
  "id="
]

const textOf = (most: number, from: ReadonlyArray<string> = characters) =>
  Effect.gen(function* () {
    const length = yield* Random.nextIntBetween(0, most + 1)
    let text = ""
    for (let i = 0; i < length; i++) text += from[yield* Random.nextIntBetween(0, from.length)]!
    return text
  })

/** Few characters, so that ids begin alike. */
const some = Effect.gen(function* () {
  const found: Array<string> = []
  for (let i = 0; i < 5; i++) found.push(characters[yield* Random.nextIntBetween(0, characters.length)]!)
  return found
})

const boundOf = (from: ReadonlyArray<string>) =>
  Effect.gen(function* (): Effect.fn.Return<idSpans.IdBound> {
    const kind = yield* Random.nextIntBetween(0, 4)
    const edge = Effect.gen(function* () {
      return { value: yield* textOf(4, from), inclusive: (yield* Random.next) < 0.5 }
    })
    if (kind === 0) return { _tag: "Prefix", prefix: yield* textOf(3, from) }
    const [a, b] = [yield* edge, yield* edge]
    return { _tag: "Range", from: kind === 2 ? undefined : a, to: kind === 1 ? undefined : b }
  })

const keyOf = (id: string) => Result.getOrThrow(Document.key("r", id)).slice(`${Document.keyPrefix("r")}id=`.length)

describe("idSpans", () => {
  it.effect("every id within bounds has its key in one of the spans, which do not meet", () =>
    Effect.gen(function* () {
      let wanted = 0
      let others = 0
      for (let round = 0; round < 200; round++) {
        const from = yield* some
        const bound = yield* boundOf(from)
        for (const end of ["", "/"] as const) {
          const spans = idSpans.of(bound, end)!
          const ascending = spans.toSorted((a, b) => (a.after < b.after ? -1 : 1))
          for (const [i, { after }] of ascending.entries())
            if (i > 0) assert.isAbove(after > ascending[i - 1]!.before ? 1 : 0, 0)
          for (let n = 0; n < 40; n++) {
            const id = yield* textOf(6, from)
            if (id === "") continue
            const key = keyOf(id) + (end === "" ? "" : "/r=0123456789")
            const found = spans.filter(({ after, before }) => after < key && key < before).length
            if (idSpans.isWithin(bound, id)) {
              assert.strictEqual(found, 1, JSON.stringify({ bound, id, end, spans }))
              wanted += 1
            } else others += found === 0 ? 1 : 0
          }
        }
      }
      // They are not all keys.
      assert.isAbove(wanted, 2000)
      assert.isAbove(others, 2000)
    }).pipe(Random.withSeed(7))
  )

  it("long bounds are looked at as far as it pays; what is no text of an id has no spans", () => {
    const value = "x".repeat(900)
    const spans = idSpans.of({ _tag: "Range", from: { value, inclusive: true } }, "")!
    assert.isBelow(spans.length, 120)
    assert.isTrue(spans.some(({ after, before }) => after < value && value < before))
    assert.isUndefined(idSpans.of({ _tag: "Prefix", prefix: "\ud800" }, ""))
    assert.isUndefined(idSpans.of({ _tag: "Range", to: { value: "a\udc00", inclusive: true } }, ""))
  })
})

class Things extends Resource.Service<Things>()("things", {
  schema: Schema.Struct({ id: Schema.String, kind: Schema.String }),
  primaryKey: "id",
  partitions: { byKind: ["kind"] }
}) {}
type Thing = (typeof Things.definition.schema)["Type"]

type Repository = Effect.Success<ReturnType<typeof opened>>

const opened = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const { database } = yield* openOn(store)
  return yield* Effect.provideService(Resource.make(Things.definition), Database, database)
})

type Asked = NonNullable<Parameters<Repository["query"]>[0]>

const use = <A, E>(store: ObjectStore["Service"], f: (things: Repository) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(opened(store), f))

const range = (length: number) => Array.from({ length }, (_, i) => i)

const idsOf = (things: Iterable<Thing>) => [...things].map(({ id }) => id).toSorted()

describe("queries by ids within bounds", () => {
  it.effect("find what a look at every document finds, whole, the first few, page by page and in a partition", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 3; seed++) {
        yield* use(
          yield* memory,
          Effect.fnUntraced(function* (things) {
            const from = yield* some
            const ids = new Set<string>()
            while (ids.size < 40) {
              const id = yield* textOf(5, from)
              if (id !== "") ids.add(id)
            }
            const all: Array<Thing> = []
            for (const id of ids) all.push({ id, kind: (yield* Random.next) < 0.6 ? "a" : "b/%" })
            yield* things.insertMany(all)
            for (let round = 0; round < 10; round++) {
              const bound = yield* boundOf(from)
              const where: Query.Where<Thing> =
                bound._tag === "Prefix"
                  ? { id: { startsWith: bound.prefix } }
                  : {
                      id: {
                        ...(bound.from === undefined
                          ? {}
                          : { [bound.from.inclusive ? "gte" : "gt"]: bound.from.value }),
                        ...(bound.to === undefined ? {} : { [bound.to.inclusive ? "lte" : "lt"]: bound.to.value })
                      }
                    }
              const label = JSON.stringify({ seed, bound })
              const expected = idsOf(all.filter(({ id }) => idSpans.isWithin(bound, id)))
              const read = (request: Asked) => Effect.map(Stream.runCollect(things.query(request)), idsOf)
              assert.deepStrictEqual(yield* read({ where, scan: true }), expected, label)
              const few = yield* read({ where, limit: 3 })
              assert.strictEqual(few.length, Math.min(3, expected.length), label)
              assert.isTrue(few.every((id) => expected.includes(id)))
              const paged: Array<Thing> = []
              for (let cursor: string | undefined; ;) {
                const page = yield* things.queryPage({ where, limit: 4, cursor, scan: true })
                paged.push(...page.items)
                if (page.cursor === undefined) break
                cursor = page.cursor
              }
              assert.deepStrictEqual(idsOf(paged), expected, label)
              for (const kind of ["a", "b/%"]) {
                const ofKind = expected.filter((id) => all.some((one) => one.id === id && one.kind === kind))
                const both: Query.Where<Thing> = { ...where, kind }
                assert.deepStrictEqual(yield* read({ where: both }), ofKind, label)
                assert.deepStrictEqual(yield* read({ where, partition: "byKind", values: { kind } }), ofKind, label)
              }
            }
          })
        ).pipe(Random.withSeed(seed))
      }
    })
  )

  it.effect("begin at the first of them", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      yield* use(
        store,
        Effect.fnUntraced(function* (things) {
          const name = (i: number) => `order-${String(i).padStart(4, "0")}`
          yield* things.insertMany(range(2500).map((i) => ({ id: name(i), kind: i < 1200 ? "a" : "b" })))
          const made = Effect.fnUntraced(function* (request: Asked) {
            yield* counter.reset
            const found = yield* Stream.runCollect(things.query(request))
            const { get, list } = yield* counter.counts
            return { found: found.length, get, list }
          })
          assert.deepStrictEqual(yield* made({ where: { id: { gte: name(2490) } }, limit: 10 }), {
            found: 10,
            get: 10,
            list: 1
          })
          assert.deepStrictEqual(yield* made({ where: { id: { gt: name(100) } }, limit: 10 }), {
            found: 10,
            get: 10,
            list: 1
          })
          assert.deepStrictEqual(yield* made({ where: { id: { startsWith: "order-199" } } }), {
            found: 10,
            get: 10,
            list: 1
          })
          assert.deepStrictEqual(yield* made({ where: { kind: "b", id: { gte: name(2490) } }, limit: 10 }), {
            found: 10,
            get: 10,
            list: 1
          })
          // Without a limit it is known only at the end that no id begins like this one and goes on with a `{`, say.
          assert.deepStrictEqual(yield* made({ where: { id: { gte: name(2490) } } }), { found: 10, get: 10, list: 3 })
          assert.deepStrictEqual(yield* made({ where: { id: { between: [name(50), name(59)] } } }), {
            found: 10,
            get: 10,
            list: 1
          })
          const page = yield* things.queryPage({ where: { id: { gte: name(2490) } }, limit: 10 })
          assert.strictEqual(page.items.length, 10)
          const plan = yield* things.explainQuery({ where: { id: { gte: name(2490) } } })
          assert.deepStrictEqual([plan.access, plan.isScan, plan.filter], ["scan", false, undefined])
        })
      )
    })
  )

  it.effect("on a store that lists in no order they look at every document", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "express" })
      yield* use(
        store,
        Effect.fnUntraced(function* (things) {
          yield* things.insertMany(range(20).map((i) => ({ id: `a${i}`, kind: "a" })))
          const found = yield* Stream.runCollect(things.query({ where: { id: { startsWith: "a1" } }, scan: true }))
          assert.strictEqual(found.length, 11)
          assert.isTrue(Option.isSome(yield* things.getOption("a1")))
        })
      )
    })
  )
})
