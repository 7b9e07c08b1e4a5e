import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as CurrentUser from "effect-s3db/CurrentUser"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Guard from "effect-s3db/Guard"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Transaction from "effect-s3db/Transaction"
import { agreement, crashes, openCounted, Person, personOf, sorted, withRing } from "./byKeys.ts"
import { keysOf, memory } from "./fixture.ts"

describe("queries by keys alone", () => {
  it.effect("say what documents say, in the same order, without a GET", () => agreement(160))

  it.effect("what keys do not tell is read from documents, and the plan says why", () =>
    Effect.gen(function* () {
      const { database, people, requests } = yield* openCounted(yield* memory)
      yield* people.insertMany(Array.from({ length: 20 }, (_, i) => personOf(i) as never))
      const why = (request: Parameters<typeof people.explainQuery>[0]) =>
        Effect.map(
          people.explainQuery({ allowStale: true, ...request }),
          ({ fallback, reads }) => `${reads}: ${fallback}`
        )
      const within = { where: { country: "DE" } } as const
      const cases: ReadonlyArray<readonly [Parameters<typeof people.explainQuery>[0], RegExp]> = [
        [{ ...within, select: ["id"] }, /^keys: undefined$/],
        [{ ...within, select: [] }, /^keys: undefined$/],
        [within, /^documents: every field is asked for: name those that are wanted by select$/],
        [{ ...within, select: ["name", "notes"] }, /^documents: the keys of partition byStale do not tell notes$/],
        [{ where: { country: "DE", notes: "x" }, select: ["name"] }, /do not tell notes$/],
        [{ ...within, select: ["name"], order: "notes", limit: 3 }, /do not tell notes$/],
        [{ ...within, select: ["$createdAt"] }, /do not tell \$createdAt$/],
        [{ where: { id: "p-00001" }, select: ["name"] }, /^documents: documents are found by their ids$/],
        // Few documents are less than the keys of all of them.
        [{ where: { name: "name 1 ü" }, select: ["age"] }, /^documents: the keys of partition byName do not tell age$/],
        [{ where: { name: "name 1 ü" }, select: ["name", "id"] }, /^keys: undefined$/],
        // Not every document has a nick.
        [
          { where: { notes: "x" }, select: ["notes"], scan: true },
          /byCountry do not tell notes;.*byStale do not tell notes; partition byNick has no documents without nick$/
        ],
        [{ partition: "byMonth", select: ["name"] }, /^keys: undefined$/],
        [{ partition: "byMonth", where: { age: 3 }, select: ["name"] }, /byMonth do not tell age$/]
      ]
      for (const [request, expected] of cases) assert.match(yield* why(request), expected, JSON.stringify(request))
      const told = yield* people.explainQuery({ ...within, select: ["name"] })
      assert.deepInclude(told, { reads: "documents", fallback: undefined })

      const read = yield* requests(
        Stream.runCollect(people.queryJson({ ...within, select: ["name", "notes"], allowStale: true }))
      )
      assert.deepInclude(read, { get: 4, list: 1 })
      assert.deepStrictEqual(
        read.result,
        yield* Stream.runCollect(people.queryJson({ ...within, select: ["name", "notes"] }))
      )
      const page = yield* people.queryPageJson({ ...within, select: ["notes", "age"], allowStale: true, total: true })
      assert.strictEqual(page.total, 4)
      // What reads every document has to be asked for, as ever.
      const refused = people.queryJson({ where: { notes: "x" }, select: ["name"], allowStale: true })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(refused)))._tag, "NotAllowed")
      const secret = people.queryJson({ ...within, select: ["token"], allowStale: true })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(secret)))._tag, "InvalidInput")
      const nowhere = people.queryJson({ partition: "nope" as "byName", select: ["name"], allowStale: true })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(nowhere)))._tag, "InvalidInput")

      // A transaction has to know what it has read.
      const inTransaction = yield* Transaction.run(
        database,
        Effect.gen(function* () {
          const plan = yield* people.explainQuery({ ...within, select: ["name"], allowStale: true })
          const rows = people.queryJson({ ...within, select: ["name"], allowStale: true })
          return { plan, ...(yield* requests(Stream.runCollect(rows))) }
        })
      )
      assert.match(inTransaction.plan.fallback ?? "", /transaction/)
      assert.strictEqual(inTransaction.get, 4)
    }).pipe(withRing)
  )

  it.effect(
    "values are what documents have: null and missing, texts, dates, objects; a document where its key had no room",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { people, requests } = yield* openCounted(store)
        const base = { country: "DE", age: 1 }
        const moment = "2026-01-05T00:00:00.000Z"
        for (const [i, extra] of [
          { name: "" },
          { name: "ключ 🔑 =/&%+ \u0000 \u2028" },
          { name: "a", nick: null },
          { name: "a", nick: "" },
          { name: "a", joined: moment, score: -0 },
          { name: "a", address: { city: "" } },
          { name: "a", nick: "", address: { city: "long ".repeat(300) } },
          { name: "a", age: Number.MAX_VALUE },
          { name: "a", age: -1e-300 },
          { name: "a", country: "../id=x/r=y/c=z", age: -5 },
          { name: "__proto__", country: "" }
        ].entries()) {
          yield* people.insertJson({ id: `${i}/é=`, ...base, ...extra })
        }
        const select = ["id", "country", "age", "name", "nick", "joined", "score", "address", "address.zip"] as const
        const told = yield* requests(Stream.runCollect(people.queryJson({ select, allowStale: true })))
        const read = yield* Stream.runCollect(people.queryJson({ select, scan: true }))
        assert.deepInclude(told, { list: 1, get: 1 })
        assert.strictEqual(told.result.length, 11)
        const byId = (rows: ReadonlyArray<{ readonly id?: string }>) =>
          rows.toSorted((a, b) => String(a.id).localeCompare(String(b.id)))
        assert.deepStrictEqual(byId(told.result), byId(read))
        const score = told.result.find(({ id }) => id === "4/é=")?.score
        assert.isTrue(Object.is(score, -0))

        // What somebody puts there that is no marker, or covers nothing that can be read, is no answer.
        const [key = ""] = (yield* keysOf(store, "resource=people/partition=byCountry/country=DE/")).filter((one) =>
          one.includes("/c=")
        )
        const prefix = key.slice(0, key.indexOf("/id="))
        const encoded = (text: string) => Buffer.from(text).toString("base64url")
        for (const text of ["null", "[1]", "7", "{", '"x"']) {
          yield* store.put({
            key: `${prefix}/id=foreign/r=w${text.length}/c=${encoded(text)}`,
            body: new Uint8Array(0)
          })
        }
        yield* store.put({ key: `${prefix}/nothing`, body: new Uint8Array(0) })
        const after = yield* Stream.runCollect(people.queryJson({ select, allowStale: true }))
        assert.deepStrictEqual(byId(after), byId(read))
      }).pipe(withRing)
  )

  it.effect("on a store that lists without order", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "express" })
      const { people, requests } = yield* openCounted(store)
      yield* people.insertMany(Array.from({ length: 120 }, (_, i) => personOf(i) as never))
      const request = { where: { country: "DE", age: { gte: 20 } }, select: ["id", "score"] } as const
      const told = yield* requests(Stream.runCollect(people.queryJson({ ...request, allowStale: true })))
      assert.strictEqual(told.get, 0)
      assert.deepStrictEqual(sorted(told.result), sorted(yield* Stream.runCollect(people.queryJson(request))))
      const pages: Array<JsonObject> = []
      let cursor: string | undefined
      do {
        const page = yield* people.queryPageJson({ ...request, allowStale: true, limit: 7, cursor })
        pages.push(...page.items)
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepStrictEqual(sorted(pages), sorted(told.result))
    }).pipe(withRing)
  )

  it.effect("guards are respected: documents are read where a rule is about them", () =>
    Effect.gen(function* () {
      const { people, requests } = yield* openCounted(yield* memory)
      yield* people.insertMany(Array.from({ length: 40 }, (_, i) => personOf(i) as never))
      const request = { where: { country: "DE" }, select: ["id", "name"], allowStale: true } as const
      const as = (roles: ReadonlyArray<string>) =>
        Effect.provideService(CurrentUser.CurrentUser, CurrentUser.make("ana", { roles }))
      yield* Effect.scoped(
        Effect.gen(function* () {
          // A rule by role shows everything or nothing.
          yield* people.intercept(Guard.interceptor({ "*": Guard.roles(["reader"]) }))
          const told = yield* requests(Stream.runCollect(people.queryJson(request)).pipe(as(["reader"])))
          assert.deepInclude(told, { get: 0, list: 1 })
          assert.strictEqual(told.result.length, 8)
          const denied = Stream.runCollect(people.queryJson(request)).pipe(as([]))
          assert.strictEqual((yield* Effect.flip(denied))._tag, "Rejected")
        })
      )
      let runs = 0
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* people.intercept({
            name: "counting",
            operations: ["query"],
            before: () => Effect.sync(() => void (runs += 1))
          })
          yield* people.intercept(Guard.interceptor({ "*": Guard.record<typeof Person.Type>(({ age }) => age < 30) }))
          const told = yield* requests(Stream.runCollect(people.queryJson(request)))
          assert.strictEqual(told.get, 8)
          assert.strictEqual(runs, 1)
          const young = Array.from({ length: 40 }, (_, i) => personOf(i)).filter(
            ({ age, country }) => country === "DE" && age < 30
          )
          assert.deepStrictEqual(
            told.result.map(({ id }) => id).toSorted(),
            young.map(({ id }) => id)
          )
          const { select: _, ...conditions } = request
          assert.strictEqual(yield* people.count(conditions), young.length)
          assert.strictEqual((yield* Stream.runCollect(people.listIds(conditions))).length, young.length)
          assert.strictEqual((yield* people.queryPageJson(request)).items.length, young.length)
          const [group] = yield* people.aggregate({ values: { n: { count: true } } }, conditions)
          assert.strictEqual(group?.values["n"], young.length)
          assert.match((yield* people.explainQuery(request)).fallback ?? "", /an interceptor of query \(.*"counting"/)
        })
      )
    }).pipe(withRing)
  )

  crashes("insert")
})
