import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Partition from "effect-s3db/Partition"
import * as Definition from "effect-s3db/Definition"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, keysOf, memory, moments, openNew, openOn } from "./fixture.ts"

const Person = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  country: Schema.optionalKey(Schema.NullOr(Schema.String)),
  age: Schema.optionalKey(Schema.Finite),
  joined: Schema.optionalKey(Attribute.DateTime),
  active: Schema.optionalKey(Schema.Boolean),
  address: Schema.optionalKey(Schema.Struct({ city: Schema.String })),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  token: Schema.optionalKey(Schema.String)
})

const options = {
  schema: Person,
  primaryKey: "id",
  partitions: {
    byCountry: ["country"],
    byCity: ["country", "address.city"],
    byAge: ["age"],
    byMonth: { fields: { joined: "month" } },
    byActive: ["active"],
    names: { fields: ["country"], covering: ["name", "age"] }
  }
} as const satisfies Resource.Options<typeof Person>

const ids = (stream: Stream.Stream<{ readonly id: string }, unknown>) =>
  Effect.orDie(Effect.map(Stream.runCollect(stream), (found) => found.map((one) => one.id)))

const at = (text: string) => DateTime.makeUnsafe(text)

describe("Partition", () => {
  const attributes = [
    { path: ["a"], codec: "string", optional: false, nullable: false },
    { path: ["b"], codec: "number", optional: false, nullable: false },
    { path: ["at"], codec: "date", optional: true, nullable: false },
    { path: ["addr", "city"], codec: "string", optional: true, nullable: false },
    { path: ["secret"], codec: "secret", optional: true, nullable: false },
    { path: ["tags"], codec: "array:string", optional: true, nullable: false }
  ]
  const compile = (declared: Partition.Options) =>
    Partition.compile("r", "p", Partition.define("p", declared, attributes))
  const keyOf = (declared: Partition.Options, document: Record<string, unknown>, id = "x") => {
    const partition = compile(declared)
    const valueAt: Partition.ValueAt = (path) =>
      path.reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], document) as never
    const owned = partition.own(id, valueAt, "w1")
    if (Result.isFailure(owned)) return owned.failure.message
    return owned.success === undefined ? undefined : partition.key(id, owned.success)
  }

  it("T35 and T36: keys, and transforms of values", () => {
    const both = {
      fields: [
        { path: ["a"], transforms: [] },
        { path: ["addr", "city"], transforms: [] }
      ]
    }
    assert.strictEqual(keyOf(both, { a: "1", addr: { city: "2" } }), "resource=r/partition=p/a=1/addr.city=2/id=x/r=w1")
    const moment = "2024-01-15T10:30:00.000Z"
    const part = (rules: string, value: unknown = moment, field = "at") =>
      keyOf({ fields: { [field]: rules } }, { [field]: value })?.split("/")[2]
    assert.strictEqual(part("date|maxlength:10"), "at=2024-01-15")
    assert.strictEqual(part("month"), "at=2024-01")
    assert.strictEqual(part("year"), "at=2024")
    assert.strictEqual(part("hour"), "at=2024-01-15T10")
    assert.strictEqual(part("string|maxlength:3", "abcdef", "a"), "a=abc")
    assert.strictEqual(part("maxlength:2", "💡💡💡", "a"), `a=${encodeURIComponent("💡💡")}`)
    assert.strictEqual(part("trim|lower", " AbC ", "a"), "a=abc")
    assert.strictEqual(part("upper", "abc", "a"), "a=ABC")
    assert.strictEqual(part("bucket:10", 27, "b"), part("", 20, "b"))
  })

  it("T37: no marker without every value", () => {
    assert.isUndefined(keyOf(["a", "addr.city"], { a: "1" }))
    assert.isUndefined(keyOf(["a"], { a: null }))
    assert.include(keyOf(["addr.city"], { addr: { city: "" } }), "/addr.city=/")
  })

  it("T41: what cannot be a partition says why", () => {
    const refused = (declared: Partition.Options, message: RegExp) => assert.throws(() => compile(declared), message)
    refused([], /no fields/)
    refused(["nope"], /no field; there are a, b, at, addr.city, secret, tags, \$createdAt/)
    refused(["secret"], /which is secret: its keys are in clear/)
    refused(["tags"], /cannot be part of a key/)
    refused(["a", "a"], /twice/)
    refused({ fields: { a: "shout" } }, /"shout" is no transform of a/)
    refused({ fields: { a: "maxlength:x" } }, /no transform/)
    refused({ fields: { b: "bucket:0" } }, /no transform/)
    refused({ fields: ["a"], covering: ["secret"] }, /secret/)
    assert.throws(() => Partition.define("", ["a"], attributes), /name/)
  })

  it("T39: hostile values stay in their place", () => {
    for (const value of ["a/b", "..", ".", "id=x", "%2F", "!t", "!0", "é", "💡", " ", "a=b", "__proto__"]) {
      const key = keyOf(["a"], { a: value }, "../x")!
      assert.match(key, /^resource=r\/partition=p\/a=[^/]*\/id=..%2Fx\/r=w1$/)
      const partition = compile(["a"])
      const marker = partition.parse(key)!
      assert.strictEqual(marker.id, "../x")
      assert.deepStrictEqual(partition.valuesOf(marker.values), { a: value })
    }
    assert.include(keyOf(["a"], { a: "\ud800" }), "Expected a value")
    assert.include(keyOf(["a"], { a: "x".repeat(1100) }), "at most 1024 bytes")
    assert.include(keyOf(["b"], { b: Number.NaN }), "Expected a value")
    const partition = compile(["a"])
    for (const broken of [
      "",
      "resource=r/partition=p/a=1",
      "resource=r/partition=p/a=1/id=%ZZ/r=1",
      "other/a=1/id=1/r=1"
    ]) {
      assert.isUndefined(partition.parse(broken))
    }
  })

  it("numbers and dates sort in keys as they do by themselves", () => {
    const numbers = [
      -Infinity,
      -1.7e308,
      -1e21,
      -1000,
      -2.5,
      -1,
      -1e-7,
      -5e-324,
      0,
      5e-324,
      1e-7,
      0.5,
      1,
      2,
      10,
      99,
      1000,
      2 ** 53,
      1e21,
      1.7e308
    ].slice(1)
    const keys = numbers.map((b) => keyOf(["b"], { b })!)
    assert.deepStrictEqual(keys.toSorted(), keys)
    const partition = compile(["b"])
    assert.deepStrictEqual(
      keys.map((key) => partition.valuesOf(partition.parse(key)!.values)["b"]),
      numbers
    )
    assert.strictEqual(keyOf(["b"], { b: -0 }), keyOf(["b"], { b: 0 }))
  })
})

describe("partitions", () => {
  it.effect("T38 and T39: documents are found by their values, wherever they move", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const people = yield* open("people", options)
      yield* people.insert({ id: "1", name: "Ana", country: "US", address: { city: "NY" }, age: 30 })
      yield* people.insert({ id: "2", name: "Bo", country: "USA", age: -1, active: true })
      yield* people.insert({ id: "3", name: "Cy", country: "US", age: 5, active: false, address: { city: "a/b" } })
      yield* people.insert({ id: "4", name: "Di", country: null, age: 12.5 })
      const of = (partition: string, values?: Record<string, unknown>, more: Resource.Within = {}) =>
        ids(people.scan({ partition, values, ...more }))
      assert.deepStrictEqual(yield* of("byCountry", { country: "US" }), ["1", "3"])
      assert.deepStrictEqual(yield* of("byCountry", { country: "USA" }), ["2"])
      assert.deepStrictEqual(yield* of("byCountry"), ["1", "3", "2"])
      assert.deepStrictEqual(yield* of("byCity", { country: "US" }), ["1", "3"])
      assert.deepStrictEqual(yield* of("byCity", { country: "US", "address.city": "a/b" }), ["3"])
      assert.deepStrictEqual(yield* of("byAge"), ["2", "3", "4", "1"])
      assert.deepStrictEqual(yield* of("byAge", {}, { from: 5, to: 12.5 }), ["3", "4"])
      assert.deepStrictEqual(yield* of("byAge", {}, { to: 0 }), ["2"])
      assert.deepStrictEqual(yield* of("byAge", {}, { from: 6 }), ["4", "1"])
      assert.deepStrictEqual(yield* of("byActive", { active: true }), ["2"])
      assert.deepStrictEqual(yield* of("byCity", { country: "US" }, { startsWith: "a" }), ["3"])
      assert.strictEqual(yield* people.count({ partition: "byCountry", values: { country: "US" } }), 2)
      assert.deepStrictEqual(yield* Stream.runCollect(people.distinct({ partition: "byCountry" })), ["US", "USA"])
      assert.deepStrictEqual(
        yield* Stream.runCollect(people.distinct({ partition: "byCity", values: { country: "US" } })),
        ["NY", "a/b"]
      )

      yield* people.update("1", { country: "USA" })
      assert.deepStrictEqual(yield* of("byCountry", { country: "US" }), ["3"])
      assert.deepStrictEqual(yield* of("byCountry", { country: "USA" }), ["1", "2"])
      yield* people.patch("2", { country: undefined })
      assert.deepStrictEqual(yield* of("byCountry", { country: "USA" }), ["1"])
      yield* people.replace({ id: "3", name: "Cy", country: "BR" })
      assert.deepStrictEqual(yield* of("byAge"), ["2", "4", "1"])
      yield* people.upsert({ id: "3", name: "Cy", country: "PT" })
      yield* people.upsert({ id: "5", name: "Ed", country: "PT" })
      assert.deepStrictEqual(yield* of("byCountry", { country: "PT" }), ["3", "5"])
      yield* people.delete("3")
      yield* people.delete(yield* people.getDocument("5"))
      assert.deepStrictEqual(yield* of("byCountry", { country: "PT" }), [])
      yield* people.deleteMany(["1", "2", "4", "none"])
      assert.deepStrictEqual(yield* keysOf(store, "resource=people/"), [])
    })
  )

  it.effect("T40 and T43: what does not exist is an error that says what does", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", options)
      yield* people.insert({ id: "1", name: "Ana", country: "US", address: { city: "NY" } })
      const issue = (within: Resource.Within) =>
        Effect.map(Effect.flip(people.list(within)), (error) => {
          const [first] = (error as DbError.InvalidInput).issues
          return `${first?.path.join(".")}: ${first?.message}`
        })
      assert.match(yield* issue({ partition: "nope" }), /^partition: .*byCountry, byCity/)
      assert.match(
        yield* issue({ partition: "byCity", values: { "address.city": "NY" } }),
        /^country: Expected a value/
      )
      assert.match(yield* issue({ partition: "byCity", values: { name: "x" } }), /^name: .*country, address.city/)
      assert.match(yield* issue({ partition: "byCountry", values: { country: ["x"] } }), /^country: /)
      assert.match(yield* issue({ partition: "byCountry", values: { country: "US" }, from: 1 }), /no bounds/)
      assert.match(yield* issue({ partition: "byCountry", from: {} }), /numbers or dates/)
      assert.match(yield* issue({ values: { country: "US" } }), /^values: /)
      assert.match(yield* issue({ startsWith: "a" }), /^startsWith: /)
      const found = yield* people.getFromPartition("1", { partition: "byCountry", values: { country: "US" } })
      assert.strictEqual(found.name, "Ana")
      for (const values of [{ country: "USA" }, { country: "U" }]) {
        const missing = yield* Effect.flip(people.getFromPartition("1", { partition: "byCountry", values }))
        assert.strictEqual(missing._tag, "NotFound")
      }
      assert.strictEqual((yield* Effect.flip(people.getFromPartition("1", {})))._tag, "InvalidInput")
      const bare = yield* open("bare", { schema: Person, primaryKey: "id" })
      const none = yield* Effect.flip(bare.count({ partition: "byCountry" }))
      assert.include((none as DbError.InvalidInput).message, "it has none")
      const uncovered = yield* Effect.flip(Stream.runCollect(people.covered({ partition: "byCountry" })))
      assert.include(uncovered.message, "covered")
      // @ts-expect-error: it names no partition
      assert.strictEqual((yield* Effect.flip(Stream.runCollect(people.covered({}))))._tag, "InvalidInput")
      const full = { partition: "byCountry", values: { country: "US" } }
      assert.strictEqual((yield* Effect.flip(Stream.runCollect(people.distinct(full))))._tag, "InvalidInput")
    })
  )

  it.effect("T42: when an insert is acknowledged, its markers are there, carrying its write id", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const people = yield* open("people", options)
      yield* people.insert({ id: "1", name: "Ana", country: "US" })
      const keys = yield* keysOf(store, "resource=people/partition=byCountry/")
      assert.strictEqual(keys.length, 1)
      assert.match(keys[0]!, /^resource=people\/partition=byCountry\/country=US\/id=1\/r=[0-9A-Za-z_-]{16}$/)
      // A change that leaves the value alone leaves the marker alone.
      yield* people.update("1", { name: "Ana B." })
      assert.deepStrictEqual(yield* keysOf(store, "resource=people/partition=byCountry/"), keys)
      yield* people.update("1", { country: "BR" })
      yield* people.update("1", { country: "US" })
      const again = yield* keysOf(store, "resource=people/partition=byCountry/")
      assert.strictEqual(again.length, 1)
      assert.notDeepEqual(again, keys)
    })
  )

  it.effect("T44: partitions by the day of creation and of change, and by schema version", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 31, 23, 59))
      const { open } = yield* openNew
      const people = yield* open("people", {
        schema: Person,
        primaryKey: "id",
        timestamps: true,
        partitions: { byVersion: ["$schemaVersion"] }
      })
      yield* people.insert({ id: "1", name: "Ana" })
      yield* people.insert({ id: "2", name: "Bo" })
      yield* TestClock.adjust("2 minutes")
      yield* people.update("2", { name: "Bob" })
      const on = (partition: string, day: string) =>
        ids(people.scan({ partition, values: { [partition === "byCreatedDate" ? "$createdAt" : "$updatedAt"]: day } }))
      assert.deepStrictEqual(yield* on("byCreatedDate", "2026-01-31"), ["1", "2"])
      assert.deepStrictEqual(yield* on("byUpdatedDate", "2026-01-31"), ["1"])
      assert.deepStrictEqual(yield* on("byUpdatedDate", "2026-02-01"), ["2"])
      assert.deepStrictEqual(yield* ids(people.scan({ partition: "byVersion", values: { $schemaVersion: 1 } })), [
        "1",
        "2"
      ])
      const document = yield* people.getDocument("2")
      assert.strictEqual(DateTime.formatIso(document.createdAt), "2026-01-31T23:59:00.000Z")
      assert.strictEqual(DateTime.formatIso(document.writtenAt), "2026-02-01T00:01:00.000Z")
      assert.strictEqual(document.version, 2)
    })
  )

  it.effect("T29: 2,500 documents go with their markers, by pages", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const people = yield* open("people", { ...options, partitions: { byCountry: ["country"] }, allowDeleteAll: true })
      const inputs = Array.from({ length: 2500 }, (_, i) => ({
        id: `${i}`.padStart(4, "0"),
        name: "x",
        country: i % 2 === 0 ? "US" : "BR"
      }))
      const inserted = yield* people.insertMany(inputs)
      assert.isTrue(inserted.every(Result.isSuccess))
      assert.strictEqual(yield* people.count({ partition: "byCountry", values: { country: "US" } }), 1250)
      assert.strictEqual(yield* people.count({ partition: "byCountry", verify: false }), 2500)
      // Pages of 100, whatever comes and goes in between.
      const seen: Array<string> = []
      let cursor: string | undefined
      do {
        const within = { partition: "byCountry", values: { country: "US" } }
        const page: Resource.Page<typeof Person.Type> = yield* people.list({ ...within, limit: 100, cursor })
        seen.push(...page.items.map((one) => one.id))
        cursor = page.cursor
        if (seen.length === 300) {
          yield* people.delete(seen.at(-1)!)
          yield* people.insert({ id: "0000a", name: "late", country: "US" })
          const other = yield* Effect.flip(people.list({ partition: "byCountry", values: { country: "BR" }, cursor }))
          assert.strictEqual(other._tag, "InvalidInput")
        }
      } while (cursor !== undefined)
      assert.deepStrictEqual(
        seen,
        inputs.filter((one) => one.country === "US").map((one) => one.id)
      )
      const result = yield* people.deleteMany(inputs.map((one) => one.id))
      assert.strictEqual(result.deleted.length, 2500)
      assert.deepStrictEqual(yield* ids(people.scan()), ["0000a"])
      assert.strictEqual(yield* people.deleteAll, 1)
      assert.deepStrictEqual(yield* keysOf(store, "resource=people/"), [])
    })
  )

  it.effect("covering markers tell without a look at the documents", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const people = yield* open("people", options)
      yield* people.insert({ id: "1", name: "Ana", country: "US", age: 30 })
      yield* people.insert({ id: "2", name: "Bo".repeat(600), country: "US" })
      const within = { partition: "names", values: { country: "US" } }
      const expected = [
        { id: "1", values: { country: "US" }, fields: { name: "Ana", age: 30 } },
        { id: "2", values: { country: "US" }, fields: { name: "Bo".repeat(600) } }
      ]
      assert.deepStrictEqual(yield* Stream.runCollect(people.covered(within)), expected)
      assert.deepStrictEqual(yield* Stream.runCollect(people.covered({ ...within, verify: true })), expected)
      yield* people.update("1", { age: 31 })
      assert.strictEqual((yield* Stream.runCollect(people.covered(within)))[0]?.fields["age"], 31)
      assert.strictEqual((yield* keysOf(store, "resource=people/partition=names/")).length, 2)
    })
  )

  it.effect("a partition that is declared later is refused until it is complete", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const before = yield* open("people", { schema: Person, primaryKey: "id" })
      yield* before.insertMany(
        Array.from({ length: 30 }, (_, i) => ({ id: `${i + 10}`, name: "x", country: i % 3 === 0 ? "US" : "BR" }))
      )
      const later = { ...options, partitions: { byCountry: ["country"] } } as const
      const { open: reopen } = yield* openOn(store)
      const after = yield* reopen("people", later)
      const us = { partition: "byCountry", values: { country: "US" } }
      const refused = yield* Effect.flip(after.count(us))
      assert.include(refused.message, "backfill")
      // What is written meanwhile has its marker at once.
      yield* after.insert({ id: "99", name: "x", country: "US" })
      const some = yield* Stream.runCollect(Stream.take((yield* after.admin).backfill(), 12))
      assert.strictEqual((yield* Effect.flip(after.count(us)))._tag, "DbError")
      const rest = yield* Stream.runCollect((yield* after.admin).backfill({ after: some.at(-1)!.id }))
      assert.deepStrictEqual(
        [...some, ...rest].map((one) => one.id),
        [...Array.from({ length: 30 }, (_, i) => `${i + 10}`), "99"]
      )
      assert.isTrue(some.every((one) => one.rewritten))
      assert.isFalse(rest.at(-1)!.rewritten)
      assert.strictEqual(yield* after.count(us), 11)
      // A program that does not declare it keeps it up all the same.
      const { open: again } = yield* openOn(store)
      const unaware = yield* again("people", { schema: Person, primaryKey: "id" })
      yield* unaware.update("10", { country: "PT" })
      assert.strictEqual(yield* after.count(us), 10)
      // Removed, and declared once more: nothing of before is taken for complete.
      assert.strictEqual(yield* (yield* after.admin).removePartition("byCountry"), 31)
      assert.strictEqual((yield* Effect.flip(after.count(us)))._tag, "InvalidInput")
      const { open: third } = yield* openOn(store)
      const back = yield* third("people", later)
      assert.strictEqual((yield* Effect.flip(back.count(us)))._tag, "DbError")
      yield* Stream.runDrain((yield* back.admin).backfill())
      assert.strictEqual(yield* back.count(us), 10)
      assert.strictEqual((yield* Effect.flip((yield* back.admin).removePartition("nope")))._tag, "InvalidInput")
    })
  )

  it.effect("on a store that lists without order, ranges and pages are still exact", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "express" })
      const { open } = yield* openOn(store)
      const people = yield* open("people", {
        ...options,
        partitions: { byAge: ["age"], byMonth: options.partitions.byMonth }
      })
      for (let age = 0; age < 40; age++) {
        yield* people.insert({ id: `${age}`, name: "x", age, joined: at(`2026-0${(age % 9) + 1}-02T00:00:00Z`) })
      }
      const within = { partition: "byAge", from: 10, to: 19 }
      assert.deepStrictEqual(
        (yield* ids(people.scan(within))).toSorted(),
        Array.from({ length: 10 }, (_, i) => `${i + 10}`)
      )
      const pages: Array<string> = []
      let cursor: string | undefined
      do {
        const page: Resource.Page<typeof Person.Type> = yield* people.list({ ...within, limit: 3, cursor })
        pages.push(...page.items.map((one) => one.id))
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepStrictEqual(
        pages.toSorted(),
        Array.from({ length: 10 }, (_, i) => `${i + 10}`)
      )
      const months = yield* Stream.runCollect(people.distinct({ partition: "byMonth" }))
      assert.strictEqual(months.length, 9)
      assert.deepStrictEqual(
        (yield* ids(people.scan({ partition: "byMonth", values: { joined: at("2026-03-15T00:00:00Z") } }))).length,
        5
      )
    })
  )
})

describe("crashes", () => {
  const Account = Schema.Struct({
    id: Schema.String,
    email: Schema.String,
    country: Schema.String,
    n: Schema.Int
  })
  const definition = {
    schema: Account,
    primaryKey: "id",
    partitions: { byCountry: ["country"], cover: { fields: ["country"], covering: ["n"] } },
    unique: { email: ["email"] }
  } as const satisfies Resource.Options<typeof Account>
  type Accounts = Resource.Repository<typeof Account>

  const operations: ReadonlyArray<readonly [string, (accounts: Accounts) => Effect.Effect<unknown, unknown>]> = [
    ["insert", (accounts) => accounts.insert({ id: "new", email: "new@x", country: "BR", n: 1 })],
    ["update that moves", (accounts) => accounts.update("old", { country: "BR", email: "moved@x", n: 2 })],
    ["update that stays", (accounts) => accounts.update("old", { n: 2 })],
    ["replace", (accounts) => accounts.replace({ id: "old", email: "replaced@x", country: "PT", n: 3 })],
    ["replace of nothing", (accounts) => accounts.replace({ id: "new", email: "new@x", country: "PT", n: 3 })],
    ["upsert", (accounts) => accounts.upsert({ id: "old", email: "upserted@x", country: "PT", n: 4 })],
    ["delete", (accounts) => accounts.delete("old")],
    ["deleteMany", (accounts) => accounts.deleteMany(["old", "other"])]
  ]

  /** What each document is found by has to be what it is. */
  const verify = Effect.fnUntraced(function* (store: ObjectStore["Service"], label: string) {
    const { open } = yield* openOn(store)
    const accounts = yield* open("accounts", definition)
    const all = yield* Stream.runCollect(accounts.scan())
    const emails = all.map((one) => one.email)
    assert.strictEqual(new Set(emails).size, emails.length, label)
    for (const country of ["US", "BR", "PT"]) {
      const expected = all.filter((one) => one.country === country).map((one) => one.id)
      const within = { partition: "byCountry", values: { country } }
      assert.deepStrictEqual((yield* ids(accounts.scan(within))).toSorted(), expected.toSorted(), label)
      const verified = yield* Stream.runCollect(accounts.covered({ ...within, partition: "cover", verify: true }))
      assert.deepStrictEqual(verified.map((one) => one.id).toSorted(), expected.toSorted(), label)
    }
    for (const one of all) {
      assert.strictEqual((yield* accounts.getByUnique("email", { email: one.email })).id, one.id, label)
    }
    return { accounts, all }
  })

  const profiles = [
    ["", memory],
    [" on a store without conditional deletes", Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)]
  ] as const

  for (const [[name, operation], [where, empty]] of operations.flatMap((one) =>
    profiles.map((two) => [one, two] as const)
  )) {
    it.effect(
      `a crash at any request of ${name}${where} loses and breaks nothing, and repair leaves nothing behind`,
      () =>
        Effect.gen(function* () {
          for (let at = 1, finished = false; !finished; at++) {
            for (const when of moments) {
              const label = `${name}, ${when} request ${at}`
              const store = yield* empty
              const { open } = yield* openOn(store)
              const setup = yield* open("accounts", definition)
              yield* setup.insert({ id: "old", email: "old@x", country: "US", n: 0 })
              yield* setup.insert({ id: "other", email: "other@x", country: "US", n: 0 })
              const { database } = yield* openOn(store)
              const client = crashing(store, at, when)
              const crashed = yield* Effect.provideService(
                Resource.make(Definition.from("accounts", definition)),
                Database.Database,
                { ...database, store: client.store }
              )
              const exit = yield* Effect.exit(operation(crashed))
              finished = Exit.isSuccess(exit)
              if (Exit.isFailure(exit)) assert.isTrue(Cause.hasDies(exit.cause), label)
              const { accounts, all } = yield* verify(store, label)
              // Whoever comes next can do the same, at the latest when the lease is over.
              yield* TestClock.adjust("20 minutes")
              const sweepDeletions = true
              const found = yield* Stream.runCollect((yield* accounts.admin).repair({ sweepDeletions }))
              const mended = yield* Stream.runCollect((yield* accounts.admin).repair({ dryRun: false, sweepDeletions }))
              assert.deepStrictEqual(
                mended.map(({ kind, key }) => `${kind} ${key}`),
                found.map(({ kind, key }) => `${kind} ${key}`),
                label
              )
              assert.isFalse(found.some((finding) => finding.repaired))
              assert.isTrue(mended.every((finding) => finding.repaired))
              assert.deepStrictEqual(yield* Stream.runCollect((yield* accounts.admin).repair()), [], label)
              const after = yield* verify(store, `${label}, repaired`)
              assert.deepStrictEqual(after.all, all, label)
              // Two markers and a reservation for each document, and nothing else.
              const keys = yield* keysOf(store, "resource=accounts/")
              const isFree = (key: string) =>
                Effect.map(Effect.orDie(store.get(key)), ({ body }) => !new TextDecoder().decode(body).includes('"o"'))
              const free = yield* Effect.filter(
                keys.filter((key) => key.includes("/unique=")),
                isFree
              )
              assert.strictEqual(keys.length - free.length, all.length * 4, label)
              if (where === "") assert.deepStrictEqual(free, [], label)
              yield* Effect.exit(operation(accounts))
              yield* verify(store, `${label}, and once more`)
            }
          }
        })
    )
  }
})
