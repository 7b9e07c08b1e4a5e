import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "effect-s3db/Catalog"
import * as Companion from "effect-s3db/Companion"
import * as Database from "effect-s3db/Database"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Definition from "effect-s3db/Definition"
import * as Guard from "effect-s3db/Guard"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Transaction from "effect-s3db/Transaction"
import { encodeNumber } from "../src/internal/keyNumber.ts"
import { bodyOf, crashing, drive, keysOf, memory, moments, objectOf, openNew, openOn } from "./fixture.ts"

type Store = ObjectStore["Service"]

const Task = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  dueAt: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  place: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) })),
  token: Schema.optionalKey(Attribute.Secret(Schema.String))
})

const due = Companion.make({
  fields: ["dueAt"],
  keys: ({ json }) => (typeof json["dueAt"] === "number" ? [[json["dueAt"]]] : [])
})
const tagged = Companion.make({
  fields: ["tags", "place"],
  keys: ({ json }) => {
    const { city } = (json["place"] ?? { city: "-" }) as { readonly city: string }
    return ((json["tags"] ?? []) as ReadonlyArray<string>).map((tag) => [tag, city])
  }
})

const Plain = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  dueAt: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  place: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) }))
})
const bare = { schema: Plain, primaryKey: "id" } as const satisfies Resource.Options<typeof Plain>
const options = { ...bare, companions: { due, tagged } } as const satisfies Resource.Options<typeof Plain>
type Tasks = Resource.Repository<typeof Plain>

const hits = (tasks: Tasks, name: string, request?: Companion.Request) =>
  Effect.map(Stream.runCollect(tasks.companion(name, request)), (all) => all.map(({ id, key }) => [...key, id]))

const counting = (store: Store) => {
  const { counter, store: counted } = InstrumentedStore.make(store)
  const requestsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const before = (yield* counter.counts) as Record<string, number>
      yield* effect
      const after = Object.entries((yield* counter.counts) as Record<string, number>)
      const made = after.map(([name, n]): [string, number] => [name, n - (before[name] ?? 0)])
      return Object.fromEntries(made.filter(([, n]) => n !== 0))
    })
  return { store: counted, requestsOf }
}

describe("Companion", () => {
  const attributes = Definition.from("tasks", { schema: Task, primaryKey: "id" } as const).attributes
  const own = (keys: Companion.Options["keys"], fields = ["title", "place.city", "$updatedAt"]) => {
    const declared = Companion.make({ fields, keys })
    const compiled = Companion.compile("r", "c", Companion.define("c", declared, attributes), { keys })
    const values: Record<string, string> = { title: "t", "place.city": "Rome", $updatedAt: "2026" }
    return {
      compiled,
      owned: compiled.own({ id: "a/b", writeId: "w1", valueAt: (path) => values[path.join(".")] }, [])
    }
  }

  it("hostile segments and ids stay in their place, and come out as they went in", () => {
    const texts = ["a/b", "..", ".", "", "id=x", "%2F", "!t", "!", "é", "💡", " ", "a=b", "__proto__", "r=1"]
    for (const segment of [...texts, 0, -1.5, 1e300, Number.MIN_VALUE, true, false]) {
      const { compiled, owned } = own(() => [[segment, "x"], [segment, "x"], ["y"]])
      const keys = Result.getOrThrow(owned)
      assert.strictEqual(keys.length, 2)
      const key = Companion.keyOf("r", "c", "a/b", keys[0]!)
      assert.match(key, /^resource=r\/companion=c\/[^/]+\/x\/id=a%2Fb\/r=w1$/)
      assert.notMatch(key, /\/\.{0,2}\//)
      const parsed = compiled.parse(key)!
      assert.deepStrictEqual([parsed.id, parsed.writeId], ["a/b", "w1"])
      assert.deepStrictEqual(compiled.segments(parsed.suffix), [segment, "x"])
    }
    const { compiled } = own(() => [])
    for (const foreign of [
      "x",
      "id=1/r=1",
      "%zz/id=1/r=1",
      "./id=1/r=1",
      "!zz/id=1/r=1",
      "a//id=1/r=1",
      "a/id=%zz/r=1"
    ]) {
      assert.isUndefined(compiled.parse(`resource=r/companion=c/${foreign}`), foreign)
    }
  })

  it("the function sees the declared fields, each at its place, and no more", () => {
    let seen: Companion.Version | undefined
    own((version) => {
      seen = version
      return []
    })
    assert.deepStrictEqual(seen, { id: "a/b", json: { title: "t", place: { city: "Rome" }, $updatedAt: "2026" } })
  })

  it("numbers come in their order, and text by its encoded form", () => {
    const keyOf = (segment: Companion.Segment) =>
      Companion.keyOf("r", "c", "1", Result.getOrThrow(own(() => [[segment]]).owned)[0]!)
    const sorted = (segments: ReadonlyArray<Companion.Segment>) =>
      segments.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    const numbers = [-1e300, -2, -0.5, 0, 0.5, 1, 2, 10, 1_760_000_000_000, 1e300]
    assert.deepStrictEqual(sorted(numbers.toReversed()), numbers)
    assert.deepStrictEqual(sorted(["b", "a", "9", "a1", "ab"]), ["9", "a", "a1", "ab", "b"])
    assert.deepStrictEqual(sorted([true, false]), [false, true])
  })

  it("a document of which no key can be made is told with the field", () => {
    const refused = (keys: ReadonlyArray<unknown>, message: RegExp) => {
      const { owned } = own(() => keys as ReadonlyArray<Companion.Suffix>)
      assert.isTrue(Result.isFailure(owned))
      if (Result.isFailure(owned)) {
        assert.deepStrictEqual(owned.failure.path, ["title"])
        assert.match(owned.failure.message, message)
      }
    }
    refused([["x".repeat(1100)]], /at most 1024 bytes/)
    refused(
      Array.from({ length: 1001 }, (_, i) => [i]),
      /at most 1000 keys/
    )
  })

  it("what a function gives that is no key, whatever the document, is a defect of the companion, and says where", () => {
    const wrong = (keys: unknown, problem: RegExp) => {
      let error: unknown
      try {
        own(() => keys as Iterable<Companion.Suffix>)
      } catch (thrown) {
        error = thrown
      }
      assert.instanceOf(error, Companion.WrongKeys)
      assert.deepInclude(error, { resource: "r", companion: "c" })
      assert.match(String(error), problem)
      assert.include(String(error), "companion c of r")
    }
    const segment = (value: unknown) => [["a"], ["b", value]]
    wrong(segment(Number.NaN), /segment 2 of key 2 is a number that is not finite/)
    wrong(segment(-Infinity), /segment 2 of key 2 is a number that is not finite/)
    wrong(segment("\ud800"), /segment 2 of key 2 is text that is no valid Unicode/)
    wrong(segment(null), /segment 2 of key 2 is null/)
    wrong(segment(undefined), /segment 2 of key 2 is undefined/)
    wrong(segment({}), /segment 2 of key 2 is an object/)
    wrong(segment(["x"]), /segment 2 of key 2 is an array/)
    wrong(segment(5n), /segment 2 of key 2 is a bigint/)
    wrong([["a"], []], /key 2 has no segments/)
    wrong(["text"], /key 1 is text, not an array of segments/)
    wrong([1], /key 1 is a number, not an array of segments/)
    wrong([["a", "b"], undefined], /key 2 is undefined, not an array of segments/)
    wrong("text", /it gives text, not an array of keys/)
    wrong(undefined, /it gives undefined, not an array of keys/)
    wrong(null, /it gives null, not an array of keys/)
    wrong({}, /it gives an object, not an array of keys/)
    wrong(Promise.resolve([]), /it gives an object, not an array of keys/)
    // No value of a document is in it.
    wrong([["secret", Number.NaN]], /^(?!.*secret).*$/)
    assert.strictEqual(Result.getOrThrow(own(() => new Set([["a"], ["b"]])).owned).length, 2)
  })

  it("what cannot be a companion says why", () => {
    const refused = (fields: ReadonlyArray<string>, message: RegExp, name = "c") =>
      assert.throws(() => Companion.define(name, Companion.make({ fields, keys: () => [] }), attributes), message)
    refused([], /no fields/)
    refused(["nope"], /names "nope", which is no field; there are \$createdAt.*place\.city/)
    refused(["token"], /which is secret: its keys are in clear/)
    refused(["title", "title"], /twice/)
    refused(["place", "place.city"], /within another/)
    refused(["title"], /must have a name/, "")
    refused(["title"], /ends in ~ and a number/, "c~1")
    assert.throws(() => Companion.make({ fields: ["title"], version: 0, keys: () => [] }), /integer from 1/)
    const noFunction = { due: { version: 1, fields: [["dueAt"]] } }
    assert.throws(() => Resource.define("tasks", { ...bare, companions: noFunction }), /needs a function/)
  })
})

describe("companions of documents", () => {
  it.effect("are found in the order of their keys, in whole or in part", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insertMany([
        { id: "1", title: "a", dueAt: 300, tags: ["red", "blue"], place: { city: "Rome" } },
        { id: "2", title: "b", dueAt: -5, tags: ["red"] },
        { id: "3", title: "c", dueAt: null, tags: ["redder", "i"], place: { city: "Oslo", zip: "1" } },
        { id: "4", title: "d" },
        { id: "5", title: "e", dueAt: 20.5 }
      ])
      assert.deepStrictEqual(yield* hits(tasks, "due"), [
        [-5, "2"],
        [20.5, "5"],
        [300, "1"]
      ])
      assert.deepStrictEqual(yield* hits(tasks, "due", { to: 20.5 }), [
        [-5, "2"],
        [20.5, "5"]
      ])
      assert.deepStrictEqual(yield* hits(tasks, "due", { from: 20.5, to: 299 }), [[20.5, "5"]])
      assert.deepStrictEqual(yield* hits(tasks, "due", { from: 21, verify: false }), [[300, "1"]])
      assert.deepStrictEqual(yield* hits(tasks, "due", { limit: 2 }), [
        [-5, "2"],
        [20.5, "5"]
      ])
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { prefix: ["red"] }), [
        ["red", "-", "2"],
        ["red", "Rome", "1"]
      ])
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { prefix: ["red", "Rome"] }), [["red", "Rome", "1"]])
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { prefix: ["red"], from: "A", to: "Z" }), [
        ["red", "Rome", "1"]
      ])
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { startsWith: "re" }), [
        ["red", "-", "2"],
        ["red", "Rome", "1"],
        ["redder", "Oslo", "3"]
      ])
      // What follows the keys in the bucket is no segment of them.
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { prefix: ["red", "Rome"], startsWith: "i" }), [])
      assert.deepStrictEqual(yield* hits(tasks, "tagged", { prefix: ["red", "Rome"], from: "a" }), [])
      for (const [request, at] of [
        [{ limit: 0 }, "limit"],
        [{ from: Number.NaN }, "from"],
        [{ to: "\ud800" }, "to"],
        [{ prefix: [Infinity] }, "prefix"],
        [{ startsWith: "" }, "startsWith"],
        [{ startsWith: "..", prefix: ["red"] }, "startsWith"],
        [{ startsWith: "a", from: "b" }, "startsWith"]
      ] as const) {
        const error = yield* Effect.flip(hits(tasks, "due", request))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.include(error.message, at)
      }
      assert.include((yield* Effect.flip(hits(tasks, "nope"))).message, "Expected a companion of tasks: due, tagged")
      const plain = yield* open("plain", bare)
      assert.include((yield* Effect.flip(hits(plain, "due"))).message, "it has none")
    })
  )

  it.effect("text with signs is within bounds as its keys are", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const tasks = yield* open("tasks", options)
      const tags = ["a", "a-b", "a.b", "ab", "b", "é"]
      yield* tasks.insert({ id: "1", title: "a", tags })
      const all = yield* hits(tasks, "tagged")
      assert.deepStrictEqual(
        all.map(([tag]) => tag),
        ["é", "a-b", "a.b", "a", "ab", "b"]
      )
      for (const [i, [from]] of all.entries()) {
        for (const [j, [to]] of all.entries()) {
          assert.deepStrictEqual(yield* hits(tasks, "tagged", { from, to }), all.slice(i, j + 1), `${from} to ${to}`)
        }
      }
    })
  )

  it.effect("a document names its keys; a change leaves what it does not concern, and a deletion leaves nothing", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insert({ id: "1", title: "a", dueAt: 1, tags: ["x", "y", "x"] })
      const keys = yield* keysOf(store, "resource=tasks/companion=")
      assert.strictEqual(keys.length, 3)
      const { k, w } = bodyOf(yield* objectOf(store, "tasks", "1")) as { readonly k: object; readonly w: string }
      assert.deepStrictEqual(k, {
        due: [[encodeNumber(1), ""]],
        tagged: [
          ["x/-", ""],
          ["y/-", ""]
        ]
      })
      assert.isTrue(keys.every((key) => key.endsWith(`/id=1/r=${w}`)))
      yield* tasks.update("1", { title: "b" })
      assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/companion="), keys)
      yield* tasks.patch("1", { tags: ["y", "z"] })
      const after = yield* keysOf(store, "resource=tasks/companion=")
      assert.strictEqual(after.length, 3)
      assert.strictEqual(after.filter((key) => keys.includes(key)).length, 2)
      assert.deepStrictEqual(yield* hits(tasks, "tagged"), [
        ["y", "-", "1"],
        ["z", "-", "1"]
      ])
      yield* tasks.replace({ id: "1", title: "c", dueAt: 1 })
      assert.deepStrictEqual(yield* hits(tasks, "due"), [[1, "1"]])
      yield* tasks.delete("1")
      assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/"), [])
    })
  )

  it.effect("what is left of a write that did not come about does not count, and repair removes it", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insert({ id: "1", title: "a", dueAt: 1 })
      const [key = ""] = yield* keysOf(store, "resource=tasks/companion=due/")
      const left = ["xxxxxxxxxxxxxxxx", "yyyyyyyyyyyyyyyy"].map((write) => key.replace(/r=.*$/, `r=${write}`))
      const gone = key.replace("/id=1/", "/id=gone/")
      for (const one of [...left, gone]) yield* store.put({ key: one })
      const foreign = "resource=tasks/companion=due/%zz/id=1/r=1"
      yield* store.put({ key: foreign })
      assert.deepStrictEqual(yield* hits(tasks, "due"), [[1, "1"]])
      assert.strictEqual((yield* hits(tasks, "due", { verify: false })).length, 4)
      const { repair } = yield* tasks.admin
      const found = () =>
        Effect.map(Stream.runCollect(repair({ dryRun: false, markerGraceMillis: -1 })), (all) =>
          all.map(({ key, kind }) => `${kind} ${key}`).toSorted()
        )
      const foreignAlone = [`Foreign ${foreign}`]
      assert.deepStrictEqual(
        yield* found(),
        [...foreignAlone, ...[...left, gone].map((one) => `LeftoverMarker ${one}`)].toSorted()
      )
      yield* store.delete(key)
      assert.deepStrictEqual(yield* hits(tasks, "due"), [])
      assert.deepStrictEqual(yield* found(), [...foreignAlone, `MissingMarker ${key}`].toSorted())
      assert.deepStrictEqual(yield* hits(tasks, "due"), [[1, "1"]])
    })
  )

  it.effect(
    "cost 1 PUT for each key that is new, together; 1 LIST for 1,000 and 1 GET for each that is looked at",
    () =>
      Effect.gen(function* () {
        const { requestsOf, store } = counting(yield* memory)
        const tasks = yield* (yield* openOn(store)).open("tasks", options)
        const task = { id: "1", title: "a", dueAt: 1, tags: ["x", "y"] }
        assert.deepStrictEqual(yield* requestsOf(tasks.insert(task)), { put: 4 })
        assert.deepStrictEqual(yield* requestsOf(tasks.update("1", { title: "b" })), { get: 1, put: 1 })
        assert.deepStrictEqual(yield* requestsOf(tasks.update("1", { dueAt: 2 })), { get: 1, put: 2, deleteMany: 1 })
        assert.deepStrictEqual(yield* requestsOf(hits(tasks, "due")), { list: 1, get: 1 })
        assert.deepStrictEqual(yield* requestsOf(hits(tasks, "due", { verify: false })), { list: 1 })
        assert.deepStrictEqual(yield* requestsOf(tasks.delete("1")), { get: 1, delete: 1, deleteMany: 1 })
        yield* tasks.insertMany(Array.from({ length: 30 }, (_, i) => ({ id: `${i}`, title: "t", dueAt: i })))
        assert.deepStrictEqual(yield* requestsOf(hits(tasks, "due", { limit: 10 })), { list: 1, get: 10 })
        assert.deepStrictEqual(yield* requestsOf(hits(tasks, "due", { to: 4 })), { list: 1, get: 5 })
      })
  )

  for (const profile of ["aws", "express"] as const) {
    it.effect(`2,500 documents come in order, by pages, on ${profile}`, () =>
      Effect.gen(function* () {
        const { store: raw } = yield* MemoryStore.make({ profile })
        const { requestsOf, store } = counting(raw)
        const tasks = yield* (yield* openOn(store)).open("tasks", options)
        const all = Array.from({ length: 2500 }, (_, i) => ({ id: `${i}`, title: "t", dueAt: (i * 7919) % 2500 }))
        yield* tasks.insertMany(all, { concurrency: 64 })
        const times = (request?: Companion.Request) =>
          Effect.map(Stream.runCollect(tasks.companion("due", request)), (all) => all.map(({ key: [time] }) => time))
        const numbers = (n: number, from = 0) => Array.from({ length: n }, (_, i) => i + from)
        assert.deepStrictEqual(yield* times({ verify: false }), numbers(2500))
        assert.deepStrictEqual(yield* times({ from: 700, to: 2100 }), numbers(1401, 700))
        assert.deepStrictEqual(yield* times({ from: 1999, limit: 7 }), numbers(7, 1999))
        const lists = profile === "aws" ? 1 : 3
        assert.deepStrictEqual(yield* requestsOf(times({ limit: 7, verify: false })), { list: lists })
        assert.deepStrictEqual(yield* requestsOf(times({ verify: false })), { list: 3 })
        yield* tasks.deleteAll.pipe(Effect.ignore)
        yield* tasks.deleteMany(all.map(({ id }) => id))
        assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/companion="), [])
      })
    )
  }

  it.effect("a value of which no key can be made refuses the write; what the function throws is a defect", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const broken = Companion.make({
        fields: ["title"],
        keys: ({ json }) => {
          if (json["title"] === "throws") throw new Error("a bug")
          if (json["title"] === "no time") return [[Date.parse("no time")]]
          return [[String(json["title"])]]
        }
      })
      const tasks = yield* open("tasks", { ...bare, companions: { broken } })
      const error = yield* Effect.flip(tasks.insert({ id: "1", title: "x".repeat(1000) }))
      assert.strictEqual(error._tag, "InvalidInput")
      assert.include(error.message, "title")
      const lone = yield* Effect.flip(tasks.insert({ id: "1", title: "\ud800" }))
      assert.strictEqual(lone._tag, "InvalidInput")
      assert.include(lone.message, "title: Expected text of which companion broken can make keys: valid Unicode")
      const exit = yield* Effect.exit(tasks.insert({ id: "1", title: "throws" }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const wrong = yield* Effect.exit(tasks.insert({ id: "1", title: "no time" }))
      const defect = Exit.isFailure(wrong) ? Cause.squash(wrong.cause) : undefined
      assert.instanceOf(defect, Companion.WrongKeys)
      assert.include(
        String(defect),
        "the function of companion broken of tasks gives what is no key: segment 1 of key 1 is a number that is not finite"
      )
      assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/"), [])
    })
  )

  it.effect("by the times of the document, which every write sets anew", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 1))
      const { open } = yield* openNew
      const stale = Companion.make({
        fields: ["$updatedAt", "$createdAt", "$schemaVersion"],
        keys: ({ json }) => [[String(json["$updatedAt"]), String(json["$createdAt"]), Number(json["$schemaVersion"])]]
      })
      const tasks = yield* open("tasks", { ...bare, content: true, companions: { stale } })
      yield* tasks.insert({ id: "1", title: "a" })
      yield* TestClock.adjust("1 day")
      yield* tasks.insert({ id: "2", title: "a" })
      yield* TestClock.adjust("1 day")
      yield* tasks.setContent("1", new Uint8Array([1]))
      const day = (n: number) => `2026-01-0${n}T00:00:00.000Z`
      assert.deepStrictEqual(yield* hits(tasks as unknown as Tasks, "stale"), [
        [day(2), day(2), 1, "2"],
        [day(3), day(1), 1, "1"]
      ])
    })
  )

  it.effect("what an interceptor hides is not among them; without a look at documents they are refused", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const tasks = yield* open("tasks", options)
      for (const n of [1, 2, 3]) yield* tasks.insert({ id: `${n}`, title: n === 2 ? "b" : "a", dueAt: n })
      const ids = (request?: Companion.Request) =>
        Effect.map(hits(tasks, "due", request), (all) => all.map((one) => one.at(-1)))
      for (const operation of ["listIds", "query"] as const) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* tasks.intercept({
              name: "tenants",
              operations: operation,
              before: ({ input }) =>
                Effect.succeed({
                  filters: [
                    ...(input.filters ?? []),
                    ({ title }, { id }) => Effect.succeed(title === "a" && id !== "3")
                  ]
                })
            })
            assert.deepStrictEqual(yield* ids(), ["1"])
            const refused = yield* Effect.flip(ids({ verify: false }))
            assert.include(refused.message, `the interceptor "tenants" of ${operation} narrows`)
            // Of several nobody knows which it is.
            yield* tasks.intercept({ operations: "*", name: "log", before: () => Effect.void })
            assert.deepStrictEqual(yield* ids({ limit: 1 }), ["1"])
            assert.include(
              (yield* Effect.flip(ids({ verify: false }))).message,
              `an interceptor of ${operation} ("tenants", "log") narrows`
            )
          })
        )
      }
      assert.deepStrictEqual(yield* ids({ verify: false }), ["1", "2", "3"])
      // What the request is made to ask for cannot be asked of a companion.
      for (const change of [{ limit: 1 }, { where: { title: "a" } }, { partition: "none" as never }]) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* tasks.intercept({
              operations: "query",
              before: ({ input }) => Effect.succeed({ request: { ...input.request, ...change } })
            })
            for (const verify of [true, false]) {
              assert.strictEqual((yield* Effect.flip(ids({ verify })))._tag, "NotAllowed")
            }
          })
        )
      }
      // Who owns a document sees it; without a user there is nothing.
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* tasks.intercept(Guard.interceptor({ "*": Guard.owner<typeof Plain.Type>("title") }))
          const as = (user: string) => Effect.provideService(ids(), CurrentUser.CurrentUser, CurrentUser.make(user))
          assert.deepStrictEqual([yield* as("a"), yield* as("b"), yield* as("c")], [["1", "3"], ["2"], []])
          assert.deepStrictEqual(yield* ids(), [])
        })
      )
      // Who may not list or query has none of it.
      yield* tasks.intercept({ operations: "query", before: ({ reject }) => Effect.fail(reject("no")) })
      assert.strictEqual((yield* Effect.flip(ids()))._tag, "Rejected")
    }).pipe(Effect.scoped)
  )

  it.effect("a document that cannot be read is told, or passed over, and goes with its keys", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insertMany([
        { id: "1", title: "a", dueAt: 1, tags: ["x"] },
        { id: "2", title: "b", dueAt: 2 }
      ])
      const object = yield* store.get("resource=tasks/data/id=1")
      for (const isTold of [true, false]) {
        const text = new TextDecoder().decode(object.body)
        const body = new TextEncoder().encode(isTold ? text.replace('"f":{', '"f":1,"g":{') : text.slice(0, -1))
        yield* store.put({ ...object, body: isTold ? new TextEncoder().encode(`${text.slice(0, -1)},"n":"x"}`) : body })
        assert.include((yield* Effect.flip(hits(tasks, "due"))).message, "1")
        const passed: Companion.Request = { onCorrupt: () => Effect.void }
        assert.deepStrictEqual(yield* hits(tasks, "due", passed), [[2, "2"]])
        yield* TestClock.adjust("20 minutes")
        const { removed } = yield* (yield* tasks.admin).discard("1")
        assert.strictEqual(removed.length, 3)
        assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=")).length, 1)
        yield* tasks.insert({ id: "1", title: "a", dueAt: 1, tags: ["x"] })
      }
    })
  )
})

describe("companions in transactions", () => {
  it.effect("come with the commit, and go when it does not", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insertMany([
        { id: "1", title: "a", dueAt: 1 },
        { id: "2", title: "b", dueAt: 2 }
      ])
      yield* database.transaction(
        Effect.gen(function* () {
          yield* tasks.update("1", { dueAt: 10 })
          yield* tasks.delete("2")
          yield* tasks.insert({ id: "3", title: "c", dueAt: 3 })
        })
      )
      assert.deepStrictEqual(yield* hits(tasks, "due"), [
        [3, "3"],
        [10, "1"]
      ])
      assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=")).length, 2)
      const failing = Effect.andThen(
        tasks.update("1", { dueAt: 11 }),
        Effect.andThen(tasks.update("3", { dueAt: 12 }), Effect.fail("no"))
      )
      assert.strictEqual(yield* Effect.flip(database.transaction(failing)), "no")
      assert.deepStrictEqual(yield* hits(tasks, "due"), [
        [3, "3"],
        [10, "1"]
      ])
      // A listing is looked at again before the commit.
      let runs = 0
      yield* database.transaction(
        Effect.gen(function* () {
          runs += 1
          const found = yield* hits(tasks, "due")
          const outside = Effect.provideService(tasks.update("3", { dueAt: 5 }), Transaction.Current, undefined)
          if (runs === 1) yield* outside
          yield* tasks.insert({ id: "n", title: String(found.length), dueAt: 9 })
        }),
        { listings: "serializable" }
      )
      assert.isAbove(runs, 1)
    })
  )

  it.effect("one that is aborted after its intents leaves its documents their keys", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const tasks = yield* (yield* openOn(store)).open("tasks", options)
      yield* tasks.insertMany([
        { id: "1", title: "a", dueAt: 1 },
        { id: "2", title: "b", dueAt: 2 }
      ])
      for (let at = 1, finished = false; !finished; at++) {
        for (const when of moments) {
          const client = crashing(store, at, when)
          const { database } = yield* openOn(store)
          const crashed = { ...database, store: client.store }
          const mine = yield* Effect.provideService(
            Resource.make(Definition.from("tasks", options)),
            Database.Database,
            crashed
          )
          const moving = database.transaction(
            Effect.andThen(mine.update("1", { dueAt: at * 10 }), mine.update("2", { dueAt: at * 10 + 1 }))
          )
          finished = Exit.isSuccess(yield* Effect.exit(moving))
          yield* drive(yield* Effect.forkChild(Effect.all([tasks.get("1"), tasks.get("2")])))
          const [one, two] = [yield* tasks.get("1"), yield* tasks.get("2")]
          assert.strictEqual(two.dueAt === at * 10 + 1, one.dueAt === at * 10, `${when} ${at}`)
          assert.deepStrictEqual(
            yield* hits(tasks, "due"),
            [
              [one.dueAt!, "1"],
              [two.dueAt!, "2"]
            ],
            `${when} ${at}`
          )
          yield* TestClock.adjust("20 minutes")
          const { repair } = yield* tasks.admin
          yield* drive(
            yield* Effect.forkChild(
              Stream.runDrain((yield* openOn(store)).database.repairTransactions({ dryRun: false }))
            )
          )
          yield* Stream.runDrain(repair({ dryRun: false }))
          assert.deepStrictEqual(yield* Stream.runCollect(repair()), [], `${when} ${at}`)
          assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=")).length, 2, `${when} ${at}`)
        }
      }
    })
  )
})

describe("companions that come and go", () => {
  it.effect("one that is declared later is built by backfill; readers are refused until then", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const before = yield* open("tasks", bare)
      yield* before.insertMany(Array.from({ length: 25 }, (_, i) => ({ id: `${i}`, title: "t", dueAt: i })))
      const tasks = yield* (yield* openOn(store)).open("tasks", options)
      const refused = yield* Effect.flip(hits(tasks, "due"))
      assert.include(refused.message, "companion due of tasks is not complete")
      yield* tasks.insert({ id: "new", title: "t", dueAt: 100 })
      const { backfill } = yield* tasks.admin
      const told = yield* Stream.runCollect(backfill())
      assert.strictEqual(told.filter(({ rewritten }) => rewritten).length, 25)
      assert.strictEqual((yield* hits(tasks, "due")).length, 26)
      assert.deepStrictEqual(yield* Stream.runCollect((yield* tasks.admin).repair({ markerGraceMillis: -1 })), [])
      assert.strictEqual((yield* Stream.runCollect(backfill())).filter(({ rewritten }) => rewritten).length, 0)
    })
  )

  it.effect("one is added to a resource that is open, as a plugin does", () =>
    Effect.gen(function* () {
      const { requestsOf, store } = counting(yield* memory)
      const { database, open } = yield* openOn(store)
      const tasks = yield* open("tasks", bare)
      yield* tasks.insert({ id: "1", title: "t", dueAt: 1 })
      assert.deepStrictEqual(yield* requestsOf(tasks.addCompanion("due", due)), { put: 2 })
      assert.deepStrictEqual(yield* requestsOf(tasks.addCompanion("due", due)), {})
      yield* Stream.runDrain((yield* tasks.admin).backfill())
      yield* tasks.insert({ id: "2", title: "t", dueAt: 0 })
      assert.deepStrictEqual(yield* hits(tasks, "due"), [
        [0, "2"],
        [1, "1"]
      ])
      // Whoever opens the resource in this database has it.
      const same = yield* Effect.provideService(
        Effect.flatMap(Resource.fromCatalog("tasks"), Resource.make),
        Database.Database,
        database
      )
      yield* same.insertJson({ id: "3", title: "t", dueAt: -1 })
      assert.strictEqual((yield* hits(tasks, "due")).length, 3)
      // Another program does not, until it adds it, too.
      const other = yield* (yield* openOn(store)).open("tasks", bare)
      assert.strictEqual(
        (yield* Effect.flip(other.insert({ id: "4", title: "t" }))).message.includes("addCompanion"),
        true
      )
      yield* other.addCompanion("due", due)
      yield* other.insert({ id: "4", title: "t", dueAt: 5 })
      assert.strictEqual((yield* hits(tasks, "due")).length, 4)
      const wrong = (name: string, companion: Companion.Companion) =>
        Effect.map(Effect.flip(tasks.addCompanion(name, companion)), ({ message }) => message)
      assert.include(yield* wrong("x", Companion.make({ fields: ["nope"], keys: () => [] })), "no field")
      assert.include(yield* wrong("due", Companion.make({ ...due, options: { days: 1 } })), "another companion called")
      const third = yield* (yield* openOn(store)).open("tasks", bare)
      const taken = yield* Effect.flip(third.addCompanion("due", Companion.make({ ...due, options: { days: 1 } })))
      assert.include(taken.message, "give the changed declaration version 2")
      // What could not be registered is not known either.
      yield* third.addCompanion("due", due)
    })
  )

  it.effect("what another version of the program holds secret is no field of one", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { open } = yield* openOn(store)
      const WithToken = Schema.Struct({ id: Schema.String, token: Schema.optionalKey(Schema.String) })
      const first = yield* open("tasks", { schema: WithToken, primaryKey: "id" })
      const object = yield* store.get(Catalog.key)
      const text = new TextDecoder().decode(object.body)
      const catalog = JSON.parse(text) as {
        readonly resources: { readonly tasks: { readonly versions: Record<string, unknown> } }
      }
      catalog.resources.tasks.versions["v2"] = {
        hash: "x",
        primaryKey: "id",
        createdAt: "",
        attributes: [{ path: ["token"], codec: "secret", optional: true, nullable: false }]
      }
      yield* store.put({ key: Catalog.key, body: new TextEncoder().encode(JSON.stringify(catalog)) })
      const byToken = Companion.make({ fields: ["token"], keys: () => [] })
      const again = yield* (yield* openOn(store)).open("tasks", { schema: WithToken, primaryKey: "id" })
      assert.include(
        (yield* Effect.flip(again.addCompanion("byToken", byToken))).message,
        "which is secret in version 2"
      )
      const declared = yield* Effect.flip(
        Effect.flatMap(openOn(store), ({ open }) =>
          open("tasks", { schema: WithToken, primaryKey: "id", companions: { byToken } })
        )
      )
      assert.include(declared.message, "companion byToken of tasks names token")
      yield* first.insert({ id: "1", token: "x" }).pipe(Effect.ignore)
    })
  )

  it.effect("a greater version takes the place of one; a program with a lower one does not know it", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const older = yield* open("tasks", options)
      yield* older.insert({ id: "1", title: "t", dueAt: 5 })
      const later = Companion.make({
        fields: ["dueAt"],
        version: 2,
        options: { by: 1000 },
        keys: ({ json }) => (typeof json["dueAt"] === "number" ? [[json["dueAt"] + 1000]] : [])
      })
      const newer = yield* (yield* openOn(store)).open("tasks", { ...bare, companions: { due: later, tagged } })
      yield* Stream.runDrain((yield* newer.admin).backfill())
      assert.deepStrictEqual(yield* hits(newer, "due"), [[1005, "1"]])
      assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=due/")).length, 0)
      assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=due~1/")).length, 1)
      // It comes back, and changes nothing of that.
      const back = yield* (yield* openOn(store)).open("tasks", options)
      const refused = yield* Effect.flip(back.insert({ id: "2", title: "t", dueAt: 1 }))
      assert.include(refused.message, "in version 2, and this one does not")
      yield* back.update("1", { title: "other" })
      assert.deepStrictEqual(yield* hits(back, "due"), [[1005, "1"]])
      assert.deepStrictEqual(yield* Stream.runCollect((yield* newer.admin).repair({ markerGraceMillis: -1 })), [])
      const same = Companion.make({ ...later, options: { by: 7 } })
      const taken = yield* Effect.flip(
        Effect.flatMap(openOn(store), ({ open }) => open("tasks", { ...bare, companions: { due: same } }))
      )
      assert.include(taken.message, "give the changed declaration version 3")
    })
  )

  it.effect("two that go by one name in one program are refused", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      yield* open("tasks", options)
      const other = Companion.make({ ...due, keys: () => [] })
      const refused = yield* Effect.flip(open("tasks", { ...options, companions: { due: other, tagged } }))
      assert.include(refused.message, "another definition")
      assert.include((yield* Effect.flip(open("tasks", bare))).message, "another definition")
    })
  )

  it.effect("one that is removed goes with its keys, and is built anew when it is declared again", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const tasks = yield* open("tasks", options)
      yield* tasks.insertMany([
        { id: "1", title: "t", dueAt: 1, tags: ["x"] },
        { id: "2", title: "t", dueAt: 2 }
      ])
      const { removeCompanion } = yield* tasks.admin
      assert.strictEqual((yield* Effect.flip(removeCompanion("nope")))._tag, "InvalidInput")
      assert.strictEqual(yield* removeCompanion("due"), 2)
      assert.strictEqual(yield* removeCompanion("tagged"), 1)
      assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/companion="), [])
      const catalog = bodyOf(yield* store.get(Catalog.key)) as { readonly resources: { readonly tasks: object } }
      assert.doesNotHaveAnyKeys(catalog.resources.tasks, ["companions", "companionRemovals", "removals"])
      assert.include((yield* Effect.flip(hits(tasks, "due"))).message, "it has none")
      yield* tasks.update("1", { dueAt: 7 })
      const again = yield* (yield* openOn(store)).open("tasks", options)
      yield* Stream.runDrain((yield* again.admin).backfill())
      assert.deepStrictEqual(yield* hits(again, "due"), [
        [2, "2"],
        [7, "1"]
      ])
      assert.strictEqual((yield* keysOf(store, "resource=tasks/companion=due~2/")).length, 2)
    })
  )

  it.effect("a removal that crashed is gone on with", () =>
    Effect.gen(function* () {
      for (let at = 1, finished = false; !finished; at++) {
        const store = yield* memory
        const setup = yield* (yield* openOn(store)).open("tasks", options)
        yield* setup.insert({ id: "1", title: "t", dueAt: 1 })
        const client = crashing(store, at, "after")
        const { database } = yield* openOn(client.store).pipe(
          Effect.exit,
          Effect.flatMap((exit) => (Exit.isSuccess(exit) ? Effect.succeed(exit.value) : openOn(store)))
        )
        const crashed = yield* Effect.exit(
          Effect.provideService(Resource.make(Definition.from("tasks", options)), Database.Database, database).pipe(
            Effect.flatMap((tasks) => tasks.admin),
            Effect.flatMap(({ removeCompanion }) => removeCompanion("due"))
          )
        )
        finished = Exit.isSuccess(crashed)
        const next = yield* (yield* openOn(store)).open("tasks", { ...bare, companions: { tagged } })
        yield* (yield* next.admin).removeCompanion("due").pipe(Effect.ignore)
        yield* Stream.runDrain((yield* next.admin).backfill())
        assert.deepStrictEqual(yield* keysOf(store, "resource=tasks/companion=due"), [], `${at}`)
        const catalog = bodyOf(yield* store.get(Catalog.key)) as { readonly resources: { readonly tasks: object } }
        assert.doesNotHaveAnyKeys(catalog.resources.tasks, ["companionRemovals"])
      }
    })
  )

  it.effect("a damaged entry in the catalog is dropped, and told", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      yield* open("tasks", options)
      const object = yield* store.get(Catalog.key)
      const text = new TextDecoder()
        .decode(object.body)
        .replace(/("due":\s*\{\s*"definition":\s*\{\s*"version":\s*)1/, '$1"one"')
      assert.include(text, '"one"')
      const reading = yield* Catalog.read(new TextEncoder().encode(text))
      assert.strictEqual(reading._tag, "Healed")
      if (reading._tag !== "Healed") return
      assert.deepStrictEqual(reading.repairs, ["due of the companions of resource tasks was unreadable"])
      assert.deepStrictEqual(Object.keys(reading.catalog.resources["tasks"]!.companions ?? {}), ["tagged"])
    })
  )
})

describe("a program that does not know a companion", () => {
  const both = Effect.gen(function* () {
    const store = yield* memory
    const knowing = yield* (yield* openOn(store)).open("tasks", options)
    yield* knowing.insertMany([
      { id: "1", title: "t", dueAt: 1, tags: ["x"] },
      { id: "2", title: "t", dueAt: 2 }
    ])
    const { database, open } = yield* openOn(store)
    return { store, database, knowing, tasks: yield* open("tasks", bare) }
  })

  it.effect("is refused what would change what it goes by, and writes the rest", () =>
    Effect.gen(function* () {
      const { database, knowing, store, tasks } = yield* both
      const refused: Readonly<
        Record<string, Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>>
      > = {
        insert: tasks.insert({ id: "3", title: "t" }),
        update: tasks.update("1", { dueAt: 5 }),
        patch: tasks.patch("1", { tags: [] }),
        replace: tasks.replace({ id: "1", title: "t", dueAt: 1, tags: ["x"] }),
        upsert: tasks.upsert({ id: "1", title: "t", dueAt: 9 }),
        transaction: database.transaction(tasks.update("1", { dueAt: 5 }))
      }
      const then = yield* keysOf(store)
      for (const [name, write] of Object.entries(refused)) {
        const error = yield* Effect.flip(write)
        assert.strictEqual(error._tag, "DbError", name)
        assert.match(error.message, /companion (due|tagged) of tasks is kept by programs that know it/, name)
      }
      assert.deepStrictEqual(yield* keysOf(store), then)
      yield* tasks.update("1", { title: "u" })
      yield* tasks.patch("1", { title: "v", dueAt: 1 })
      yield* database.transaction(tasks.update("2", { title: "w" }))
      // It can find documents by it.
      assert.deepStrictEqual(yield* hits(tasks, "due"), [
        [1, "1"],
        [2, "2"]
      ])
      const { repair } = yield* tasks.admin
      assert.deepStrictEqual(yield* Stream.runCollect(repair({ markerGraceMillis: -1 })), [])
      yield* tasks.delete("1")
      assert.deepStrictEqual(yield* hits(knowing, "due"), [[2, "2"]])
      assert.deepStrictEqual(yield* hits(knowing, "tagged"), [])
      assert.deepStrictEqual(yield* Stream.runCollect((yield* knowing.admin).repair({ markerGraceMillis: -1 })), [])
    })
  )

  it.effect("cannot build it, and says so", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      yield* (yield* open("tasks", bare)).insert({ id: "1", title: "t", dueAt: 1 })
      const knowing = yield* (yield* openOn(store)).open("tasks", options)
      const tasks = yield* (yield* openOn(store)).open("tasks", bare)
      const unfinished = yield* Effect.flip(Stream.runDrain((yield* tasks.admin).backfill()))
      assert.strictEqual(unfinished._tag, "Unfinished")
      assert.include(unfinished.message, "companion due of tasks is not complete")
      yield* Stream.runDrain((yield* knowing.admin).backfill())
      assert.deepStrictEqual(yield* hits(knowing, "due"), [[1, "1"]])
    })
  )

  it.effect("that learns of it after its commit does not acknowledge the write", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const openWith = (make: Resource.Options<typeof Plain>, on: Store = store) =>
        Effect.gen(function* () {
          const database = yield* Effect.provideService(Database.make(), ObjectStore, on)
          return yield* Effect.provideService(
            Resource.make(Resource.define("tasks", make)),
            Database.Database,
            database
          )
        })
      // The store holds back the document of a write until the lease is over.
      const slow: Store = {
        ...store,
        put: (one) =>
          one.key.startsWith("resource=tasks/data/")
            ? Effect.andThen(Effect.sleep("20 seconds"), store.put(one))
            : store.put(one)
      }
      const tasks = yield* openWith(bare, slow)
      const writing = yield* Effect.forkChild(Effect.flip(tasks.insert({ id: "1", title: "t", dueAt: 1 })))
      yield* Effect.yieldNow
      const knowing = yield* openWith(options)
      const error = yield* drive(writing)
      assert.include(error.message, "the catalog wants, or may want, more of it")
      yield* drive(yield* Effect.forkChild(Stream.runDrain((yield* knowing.admin).backfill())))
      assert.deepStrictEqual(yield* hits(knowing, "due"), [[1, "1"]])
    })
  )
})

describe("crashes", () => {
  const operations: ReadonlyArray<readonly [string, (tasks: Tasks) => Effect.Effect<unknown, unknown>]> = [
    ["insert", (tasks) => tasks.insert({ id: "new", title: "t", dueAt: 7, tags: ["x", "y"] })],
    ["update that moves", (tasks) => tasks.update("old", { dueAt: 7, tags: ["y", "z"] })],
    ["update that stays", (tasks) => tasks.update("old", { title: "u" })],
    ["replace", (tasks) => tasks.replace({ id: "old", title: "t", dueAt: 8 })],
    ["upsert", (tasks) => tasks.upsert({ id: "old", title: "t", tags: ["q"] })],
    ["delete", (tasks) => tasks.delete("old")],
    ["deleteMany", (tasks) => tasks.deleteMany(["old", "other"])]
  ]
  const verify = Effect.fnUntraced(function* (store: Store, label: string) {
    const tasks = yield* (yield* openOn(store)).open("tasks", options)
    const all = yield* Stream.runCollect(tasks.scan())
    const dues = all.flatMap(({ dueAt, id }) => (typeof dueAt === "number" ? [[dueAt, id]] : []))
    assert.deepStrictEqual((yield* hits(tasks, "due")).toSorted(), dues.toSorted(), label)
    const tags = all.flatMap(({ id, tags = [] }) => tags.map((tag) => [tag, "-", id]))
    assert.deepStrictEqual((yield* hits(tasks, "tagged")).toSorted(), tags.toSorted(), label)
    return { tasks, all, keys: dues.length + tags.length }
  })
  const profiles = [
    ["", memory],
    [" on a store without conditional deletes", Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)]
  ] as const
  for (const [where, empty] of profiles) {
    for (const [name, operation] of operations) {
      it.effect(`at any request of ${name}${where} lose and break nothing, and repair leaves nothing behind`, () =>
        Effect.gen(function* () {
          for (let at = 1, finished = false; !finished; at++) {
            for (const when of moments) {
              const label = `${name}, ${when} request ${at}`
              const store = yield* empty
              const setup = yield* (yield* openOn(store)).open("tasks", options)
              yield* setup.insert({ id: "old", title: "t", dueAt: 1, tags: ["x", "y"] })
              yield* setup.insert({ id: "other", title: "t", dueAt: 2 })
              const { database } = yield* openOn(store)
              const client = crashing(store, at, when)
              const crashed = yield* Effect.provideService(
                Resource.make(Definition.from("tasks", options)),
                Database.Database,
                { ...database, store: client.store }
              )
              const exit = yield* Effect.exit(operation(crashed))
              finished = Exit.isSuccess(exit)
              if (Exit.isFailure(exit)) assert.isTrue(Cause.hasDies(exit.cause), label)
              const { tasks } = yield* verify(store, label)
              yield* TestClock.adjust("20 minutes")
              const { repair } = yield* tasks.admin
              const mended = yield* Stream.runCollect(repair({ dryRun: false, sweepDeletions: true }))
              assert.isTrue(
                mended.every(({ repaired }) => repaired),
                label
              )
              assert.deepStrictEqual(yield* Stream.runCollect(repair()), [], label)
              const after = yield* verify(store, `${label}, repaired`)
              assert.strictEqual((yield* keysOf(store, "resource=tasks/")).length, after.all.length + after.keys, label)
              yield* Effect.exit(operation(tasks))
              yield* verify(store, `${label}, and once more`)
            }
          }
        })
      )
    }
  }
})
