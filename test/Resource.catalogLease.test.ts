/** Programs that opened a resource before a newer version of it was declared, and go on writing. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "effect-s3db/Catalog"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { bodyOf, drive, keysOf, memory, tellingOf } from "./fixture.ts"
import { settled } from "./waiting.ts"

type Store = ObjectStore["Service"]

const Person = Schema.Struct({
  id: Schema.String,
  name: Schema.optionalKey(Schema.String),
  mail: Schema.optionalKey(Schema.String),
  team: Schema.optionalKey(Schema.String)
})

const older = Resource.define("people", { schema: Person, primaryKey: "id" })
const newer = Resource.define("people", {
  schema: Person,
  primaryKey: "id",
  partitions: { byTeam: ["team"] },
  unique: { mail: ["mail"] }
})
/** Both of one database. */
const Other = Resource.define("other", { schema: Person, primaryKey: "id" })

const programOf = Effect.fnUntraced(function* (store: Store, options: Database.Options = {}) {
  const database = yield* Effect.provideService(Database.make(options), ObjectStore, store)
  return { database, on: Effect.provideService(Database.Database, database) }
})

/** A program that has opened the older definition. */
const openOlder = Effect.fnUntraced(function* (store: Store, options?: Database.Options) {
  const { database, on } = yield* programOf(store, options)
  return { database, people: yield* on(Resource.make(older)), other: yield* on(Resource.make(Other)) }
})

const openNewer = Effect.fnUntraced(function* (store: Store, options?: Database.Options) {
  const { database, on } = yield* programOf(store, options)
  return { database, people: yield* on(Resource.make(newer)) }
})

type Older = Effect.Success<ReturnType<typeof openOlder>>
type Newer = Effect.Success<ReturnType<typeof openNewer>>

const overLease: Duration.Input = "6 seconds"

const backfill = Effect.fnUntraced(function* ({ people }: Newer) {
  yield* Stream.runDrain((yield* people.admin).backfill())
})

/** A newer program declares its indexes, waits, and builds them. */
const deploy = Effect.fnUntraced(function* (store: Store) {
  const program = yield* openNewer(store)
  yield* TestClock.adjust(overLease)
  yield* backfill(program)
  return program
})

/** A document that is not as the catalog wants it, or something that is left behind, if there is any. */
const findings = Effect.fnUntraced(function* (store: Store, dryRun = true) {
  const program = yield* openNewer(store)
  return yield* Stream.runCollect((yield* program.people.admin).repair({ dryRun, markerGraceMillis: -1 }))
})

const idsIn = ({ people }: Newer, team: string) =>
  Effect.map(Stream.runCollect(people.listIds({ partition: "byTeam", values: { team } })), (ids) => ids.toSorted())

/** A store that tells which requests it gets, and does something else right before some of them. */
const observed = (store: Store) => {
  const requests: Array<string> = []
  let before: (request: string) => Effect.Effect<void, StoreError> = () => Effect.void
  const seen = <A, E>(request: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      requests.push(request)
      return Effect.andThen(before(request), effect)
    })
  const watched: Store = {
    ...store,
    put: (one) => seen(`put ${one.key}`, store.put(one)),
    get: (key, range) => seen(`get ${key}`, store.get(key, range)),
    head: (key) => seen(`head ${key}`, store.head(key)),
    delete: (key, options) => seen(`delete ${key}`, store.delete(key, options)),
    deleteMany: (keys, options) => seen("deleteMany", store.deleteMany(keys, options))
  }
  return {
    store: watched,
    /** Does something before the first request with this beginning. */
    onceBefore: (prefix: string, effect: Effect.Effect<void, StoreError>) => {
      before = (request) => {
        if (!request.startsWith(prefix)) return Effect.void
        before = () => Effect.void
        return effect
      }
    },
    always: (fault: (request: string) => Effect.Effect<void, StoreError>) => {
      before = fault
    },
    /** What is asked for meanwhile. */
    during: Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
      const start = requests.length
      yield* effect
      return requests.slice(start)
    })
  }
}

const given = [
  { id: "1", name: "a", mail: "a@x", team: "red" },
  { id: "2", name: "b", mail: "b@x", team: "red" }
]

/** Each way of writing, with the ids of team red and of team blue afterwards. */
const writes: Readonly<
  Record<string, readonly [write: (program: Older) => Effect.Effect<unknown, unknown>, red: string, blue: string]>
> = {
  insert: [({ people }) => people.insert({ id: "3", mail: "c@x", team: "blue" }), "1 2", "3"],
  insertMany: [
    ({ people }) =>
      people.insertMany([
        { id: "3", mail: "c@x", team: "blue" },
        { id: "4", mail: "d@x", team: "red" }
      ]),
    "1 2 4",
    "3"
  ],
  update: [({ people }) => people.update("1", { name: "A" }), "1 2", ""],
  "update that moves": [({ people }) => people.update("1", { team: "blue", mail: "z@x" }), "2", "1"],
  patch: [({ people }) => people.patch("1", { team: "blue" }), "2", "1"],
  replace: [({ people }) => people.replace({ id: "1", mail: "a@x", team: "blue" }), "2", "1"],
  "replace by another value": [({ people }) => people.replace({ id: "1", mail: "q@x", team: "blue" }), "2", "1"],
  "upsert of a new one": [({ people }) => people.upsert({ id: "3", mail: "c@x", team: "blue" }), "1 2", "3"],
  "upsert of one that is there": [({ people }) => people.upsert({ id: "2", team: "blue" }), "1", "2"],
  updateMany: [({ people }) => Stream.runCollect(people.updateMany({ scan: true }, { team: "blue" })), "", "1 2"],
  delete: [({ people }) => people.delete("1"), "2", ""],
  "delete of what must exist": [({ people }) => people.delete("1", { mustExist: true }), "2", ""],
  deleteMany: [({ people }) => people.deleteMany(["1", "2"]), "", ""],
  "a transaction of one document": [
    ({ database, people }) => database.transaction(people.update("1", { team: "blue" })),
    "2",
    "1"
  ],
  "a transaction of several": [
    ({ database, people }) =>
      database.transaction(
        Effect.gen(function* () {
          yield* people.update("1", { team: "blue" })
          yield* people.insert({ id: "3", mail: "c@x", team: "blue" })
          yield* people.delete("2")
        })
      ),
    "",
    "1 3"
  ]
}

const root = mkdtempSync(join(tmpdir(), "effect-s3db-lease-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const stores: Readonly<Record<string, typeof memory>> = {
  "in memory": memory,
  "in a folder": Effect.suspend(() => FileStore.make({ path: mkdtempSync(join(root, "store-")), durability: "none" }))
}

describe("the lease of the catalog", () => {
  for (const [name, [write, red, blue]] of Object.entries(writes)) {
    it.effect.each(Object.keys(stores))(
      `${name} by a program that does not declare an index keeps it up: %s`,
      (place) =>
        Effect.gen(function* () {
          const store = yield* stores[place]!
          const before = yield* openOlder(store)
          yield* before.people.insertMany(given)
          const program = yield* deploy(store)
          yield* write(before)
          assert.strictEqual((yield* idsIn(program, "red")).join(" "), red)
          assert.strictEqual((yield* idsIn(program, "blue")).join(" "), blue)
          assert.deepStrictEqual(yield* findings(store), [])
        })
    )

    it.effect(`${name} by a program that cannot know of the index yet is met by its backfill`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const before = yield* openOlder(store)
        yield* before.people.insertMany(given)
        const program = yield* openNewer(store)
        yield* TestClock.adjust("4 seconds")
        yield* write(before)
        yield* Pauses.byClock(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(backfill(program))
            yield* drive(fiber)
          })
        )
        assert.strictEqual((yield* idsIn(program, "red")).join(" "), red)
        assert.strictEqual((yield* idsIn(program, "blue")).join(" "), blue)
        assert.deepStrictEqual(yield* findings(store), [])
      })
    )
  }

  it.effect("a value that has become unique is refused to a program that does not know that", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOlder(store)
      yield* before.people.insertMany(given)
      yield* deploy(store)
      const errors = yield* Effect.all([
        Effect.flip(before.people.insert({ id: "3", mail: "a@x" })),
        Effect.flip(before.people.update("2", { mail: "a@x" })),
        Effect.flip(before.people.replace({ id: "2", mail: "a@x" })),
        Effect.flip(before.database.transaction(before.people.upsert({ id: "4", mail: "a@x" })))
      ])
      assert.deepStrictEqual(
        errors.map((error) => error._tag),
        Array.from({ length: 4 }, () => "UniqueViolation" as const)
      )
      assert.deepStrictEqual(yield* findings(store), [])
    })
  )

  it.effect("a backfill waits until everybody knows what it builds, and only then", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOlder(store)
      yield* before.people.insertMany(given)
      const program = yield* openNewer(store)
      const told: Array<string> = []
      const all = Stream.runForEach((yield* program.people.admin).backfill(), ({ id }) =>
        Effect.sync(() => told.push(id))
      )
      const fiber = yield* Effect.forkChild(Pauses.byClock(all))
      yield* TestClock.adjust("5 seconds")
      yield* settled
      assert.deepStrictEqual(told, [])
      // It does not know yet.
      yield* before.people.insert({ id: "0", team: "red" })
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, ["0", "1", "2"])
      // It is known by now, and nothing is to be built.
      yield* backfill(program)
      assert.deepStrictEqual(yield* idsIn(program, "red"), ["0", "1", "2"])
    })
  )

  it.effect("an index that is declared as before by a newer version stays complete", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* openNewer(store)
      const { database, on } = yield* programOf(store)
      const schema = Schema.Struct({ ...Person.fields, more: Schema.optionalKey(Schema.String) })
      const { partitions, uniques } = newer
      yield* on(Resource.make(Resource.define("people", { schema, primaryKey: "id", partitions, unique: uniques })))
      const indexes = yield* database.indexes("people")
      assert.strictEqual(indexes.partitions?.["byTeam"]?.state, "ready")
      assert.strictEqual(indexes.uniques?.["mail"]?.state, "ready")
    })
  )

  it.effect("an index of a resource that it comes with is complete at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const program = yield* openNewer(store)
      yield* program.people.insertMany(given)
      assert.deepStrictEqual(yield* idsIn(program, "red"), ["1", "2"])
    })
  )
})

describe("a pause between the look at the catalog and the commit", () => {
  /** Where each write stands still. */
  const pauses: ReadonlyArray<readonly [name: string, at: string]> = [
    ["insert", "put resource=people/data/id=3"],
    ["update", "put resource=people/data/id=1"],
    ["update that moves", "put resource=people/data/id=1"],
    ["replace", "put resource=people/data/id=1"],
    ["replace by another value", "put resource=people/data/id=1"],
    ["upsert of a new one", "put resource=people/data/id=3"],
    ["upsert of one that is there", "put resource=people/data/id=2"],
    ["updateMany", "put resource=people/data/id=2"],
    ["a transaction of one document", "put resource=people/data/id=1"],
    ["a transaction of several", "put resource=people/data/id=1"],
    ["a transaction of several", "put resource=people/data/id=3"],
    ["a transaction of several", "put transaction="]
  ]
  /** Writes while something happens on the way of a request. */
  const during = Effect.fnUntraced(function* (
    name: string,
    at: string,
    meanwhile: (store: Store) => Effect.Effect<unknown, unknown>
  ) {
    const store = yield* memory
    const first = yield* openOlder(store)
    yield* first.people.insertMany(given)
    const { onceBefore, store: paused } = observed(store)
    const before = yield* openOlder(paused)
    let isReached = false
    const happening = Effect.gen(function* () {
      isReached = true
      yield* TestClock.adjust("1 minute")
      yield* drive(yield* Effect.forkChild(Pauses.byClock(meanwhile(store))))
    })
    onceBefore(at, Effect.orDie(happening))
    yield* writes[name]![0](before)
    assert.isTrue(isReached)
    // A replacement without a look leaves behind what a version had that it did not know of.
    return { store, found: (yield* findings(store)).filter(({ kind }) => !kind.startsWith("Leftover")) }
  })

  for (const [name, at] of pauses) {
    it.effect(`${name}, at ${at}: it is right before it is acknowledged`, () =>
      Effect.gen(function* () {
        const [, red, blue] = writes[name]!
        const { found, store } = yield* during(name, at, deploy)
        const program = yield* openNewer(store)
        assert.strictEqual((yield* idsIn(program, "red")).join(" "), red)
        assert.strictEqual((yield* idsIn(program, "blue")).join(" "), blue)
        assert.deepStrictEqual(found, [])
      })
    )

    it.effect(`${name}, at ${at}: it needs no backfill`, () =>
      Effect.gen(function* () {
        const { found } = yield* during(name, at, openNewer)
        // What it has not written is as it was.
        const untouched =
          name === "insert" || name === "upsert of a new one"
            ? ["1", "2"]
            : [at.endsWith("2") || name === "updateMany" ? "1" : "2"]
        const expected = name.startsWith("a transaction of several") || name === "updateMany" ? [] : untouched
        assert.deepStrictEqual(found.map(({ id }) => id).toSorted(), name === "updateMany" ? ["1"] : expected)
      })
    )
  }

  it.effect("a replacement that learns of an index while it is made ready does not go on without a look", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const late = Schema.String.pipe(Schema.withConstructorDefault(Effect.as(TestClock.adjust("1 minute"), "late")))
      const fields = { ...Person.fields, name: late }
      const { on } = yield* programOf(store)
      const people = yield* on(
        Resource.make(Resource.define("people", { schema: Schema.Struct(fields), primaryKey: "id" }))
      )
      yield* people.insert({ id: "1", name: "a", mail: "a@x", team: "red" })
      yield* openNewer(store)
      // It has looked, and then takes long to make the default.
      yield* people.replace({ id: "1", mail: "q@x", team: "blue" })
      assert.deepStrictEqual(yield* findings(store), [])
    })
  )

  const taken = Effect.fnUntraced(function* (at: string) {
    const store = yield* memory
    const first = yield* openOlder(store)
    yield* first.people.insertMany(given)
    const { onceBefore, store: paused } = observed(store)
    const before = yield* openOlder(paused)
    onceBefore(
      at,
      Effect.orDie(
        Effect.gen(function* () {
          yield* TestClock.adjust("1 minute")
          const program = yield* deploy(store)
          yield* program.people.insert({ id: "9", mail: "z@x", team: "red" })
        })
      )
    )
    return { before, store }
  })

  it.effect("a new document whose value has become somebody else's is taken back", () =>
    Effect.gen(function* () {
      const { before, store } = yield* taken("put resource=people/data/id=3")
      const error = yield* Effect.flip(before.people.insert({ id: "3", mail: "z@x", team: "blue" }))
      assert.strictEqual(error._tag, "UniqueViolation")
      assert.strictEqual((yield* Effect.flip(before.people.get("3")))._tag, "NotFound")
      assert.deepStrictEqual(yield* findings(store), [])
    })
  )

  it.effect("the version before a change whose value has become somebody else's is back", () =>
    Effect.gen(function* () {
      const { before, store } = yield* taken("put resource=people/data/id=1")
      const error = yield* Effect.flip(before.people.update("1", { mail: "z@x", team: "blue" }))
      assert.strictEqual(error._tag, "UniqueViolation")
      assert.deepStrictEqual(yield* before.people.get("1"), given[0])
      const found = yield* findings(store)
      // What it was before the index was declared: the backfill has met it, but it was not what is there now.
      assert.deepStrictEqual(
        found.map(({ id, kind }) => ({ id, kind })),
        []
      )
    })
  )

  it.effect("a replacement that nobody can take back says that it is not known to be right", () =>
    Effect.gen(function* () {
      const { before, store } = yield* taken("put resource=people/data/id=1")
      const error = yield* Effect.flip(before.people.replace({ id: "1", mail: "z@x" }))
      assert.strictEqual(error._tag === "DbError" && error.reason._tag, "OutcomeUnknown")
      assert.deepStrictEqual(
        (yield* findings(store, false)).filter(({ repaired }) => !repaired).map(({ id, kind }) => ({ id, kind })),
        [{ id: "1", kind: "Duplicate" }]
      )
    })
  )

  it.effect("where the catalog cannot be read after the commit, that is not passed over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { always, store: paused } = observed(store)
      const before = yield* openOlder(paused)
      const changes: Array<string> = []
      yield* before.people.onChange("Inserted", ({ id }) => Effect.sync(() => changes.push(id)))
      const down = new StoreError({ operation: "head", reason: new Unavailable({ description: "down", sent: true }) })
      always((request) =>
        request.startsWith("put resource=people/data")
          ? TestClock.adjust("1 minute")
          : request === "head s3db.json"
            ? Effect.fail(down)
            : Effect.void
      )
      const error = yield* Effect.flip(before.people.insert({ id: "3" }))
      assert.strictEqual(error._tag === "DbError" && error.reason._tag, "OutcomeUnknown")
      assert.deepStrictEqual(yield* before.people.get("3"), { id: "3" })
      // It is there, so it is told.
      while (changes.length === 0) yield* Effect.yieldNow
      assert.deepStrictEqual(changes, ["3"])
      // Nor is anything written while it cannot.
      const refused = yield* Effect.flip(before.people.insert({ id: "4" }))
      assert.strictEqual(refused._tag === "DbError" && refused.reason._tag, "Unavailable")
      assert.strictEqual((yield* keysOf(store, "resource=people/data/")).length, 1)
    }).pipe(Effect.scoped)
  )
})

describe("what it costs", () => {
  const look = "head s3db.json"

  it.effect("nothing within the lease, and after it one request for all who write at the time", () =>
    Effect.gen(function* () {
      const { during, store } = observed(yield* memory)
      const { other, people } = yield* openOlder(store)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* during(people.insert({ id: "0" })), ["put resource=people/data/id=0"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* during(people.insert({ id: "1" })), [look, "put resource=people/data/id=1"])
      assert.deepStrictEqual(yield* during(people.insert({ id: "2" })), ["put resource=people/data/id=2"])
      yield* TestClock.adjust("1 hour")
      const many = Array.from({ length: 50 }, (_, i) => ({ id: `m${i}` }))
      const both = Effect.all([people.insertMany(many, { concurrency: 50 }), other.insertMany(many)], {
        concurrency: 2
      })
      const requests = yield* during(both)
      assert.strictEqual(requests.length, 101)
      assert.strictEqual(requests.filter((request) => request === look).length, 1)
      // Reading by an id needs no catalog.
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* during(people.get("1")), ["get resource=people/data/id=1"])
      assert.deepStrictEqual(yield* during(people.delete("1")), [look, "delete resource=people/data/id=1"])
    })
  )

  it.effect("the catalog is read when it has changed, and what was read or written is not looked at again", () =>
    Effect.gen(function* () {
      const raw = yield* memory
      const { during, store } = observed(raw)
      const { database, people } = yield* openOlder(store)
      yield* openNewer(raw)
      yield* TestClock.adjust(overLease)
      assert.deepStrictEqual(yield* during(people.insert({ id: "1" })), [
        look,
        "get s3db.json",
        "put resource=people/data/id=1"
      ])
      yield* TestClock.adjust("4 seconds")
      yield* database.refresh
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* during(people.insert({ id: "2" })), ["put resource=people/data/id=2"])
      yield* database.setPlugin("one", 1)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* during(people.insert({ id: "3" })), ["put resource=people/data/id=3"])
    })
  )

  it.effect("who waited for a look that was interrupted looks by itself", () =>
    Effect.gen(function* () {
      const { always, during, store } = observed(yield* memory)
      const { people } = yield* openOlder(store)
      yield* TestClock.adjust(overLease)
      const gate = yield* Deferred.make<void>()
      let looks = 0
      always((request) => (request === look && (looks += 1) === 1 ? Deferred.await(gate) : Effect.void))
      const requests = yield* during(
        Effect.gen(function* () {
          const first = yield* Effect.forkChild(people.insert({ id: "1" }), { startImmediately: true })
          const second = yield* Effect.forkChild(people.insert({ id: "2" }), { startImmediately: true })
          yield* Fiber.interrupt(first)
          yield* Fiber.join(second)
        })
      )
      assert.deepStrictEqual(requests, [look, look, "put resource=people/data/id=2"])
    })
  )

  it.effect("with a lease of 0 nothing is looked at, nor waited for", () =>
    Effect.gen(function* () {
      const { during, store } = observed(yield* memory)
      const options = { catalogLease: 0 }
      const before = yield* openOlder(store, options)
      yield* before.people.insertMany(given)
      yield* backfill(yield* openNewer(store, options))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* during(before.people.insert({ id: "4" })), ["put resource=people/data/id=4"])
    })
  )

  it.effect("a lease that is longer than usual is noted, so that others wait for it", () =>
    Effect.gen(function* () {
      const raw = yield* memory
      const { during, store } = observed(raw)
      yield* openOlder(raw)
      const leaseOf = Effect.map(raw.get(Catalog.key), (object) => bodyOf(object)["lease"])
      assert.strictEqual(yield* leaseOf, undefined)
      const options = { catalogLease: "1 minute" } as const
      const before = yield* openOlder(store, options)
      assert.strictEqual(yield* leaseOf, 60_000)
      assert.deepStrictEqual(yield* during(programOf(store, options)), ["get s3db.json"])
      yield* before.people.insertMany(given)
      const program = yield* openNewer(raw)
      const fiber = yield* Effect.forkChild(Pauses.byClock(backfill(program)))
      yield* TestClock.adjust("60 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(fiber)
      const refused = yield* Effect.flip(programOf(raw, { catalogLease: "infinity" as never }))
      assert.strictEqual(refused.reason._tag, "InvalidArgument")
    })
  )
})

describe("what is removed, or declared otherwise", () => {
  it.effect("who reads through an index learns of it, too", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openNewer(store)
      yield* first.people.insertMany(given)
      const { on } = yield* programOf(store)
      const people = yield* on(
        Resource.make(
          Resource.define("people", {
            schema: Person,
            primaryKey: "id",
            partitions: { byTeam: ["team", "name"] },
            unique: { mail: { fields: ["mail"], ignoreCase: true } }
          })
        )
      )
      yield* people.insert({ id: "3", name: "c", mail: "c@x", team: "red" })
      yield* TestClock.adjust(overLease)
      const errors = yield* Effect.all([
        Effect.flip(idsIn(first, "red")),
        Effect.flip(first.people.getByUnique("mail", { mail: "a@x" }))
      ])
      for (const error of errors) assert.include(error.message, "backfill")
      // A query goes another way.
      const found = yield* Stream.runCollect(first.people.query({ where: { team: "red" }, scan: true }))
      assert.strictEqual(found.length, 3)
    })
  )

  it.effect("markers are removed when nobody looks for them any more", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openNewer(store)
      const second = yield* openNewer(store)
      yield* first.people.insertMany(given)
      const removing = Effect.flatMap(first.people.admin, (admin) => admin.removePartition("byTeam"))
      const fiber = yield* Effect.forkChild(Pauses.byClock(removing), { startImmediately: true })
      yield* settled
      yield* TestClock.adjust("5 seconds")
      // It may not know yet.
      assert.deepStrictEqual(yield* idsIn(second, "red"), ["1", "2"])
      yield* second.people.insert({ id: "3", team: "red" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 3)
      assert.deepStrictEqual(yield* keysOf(store, "resource=people/partition="), [])
      assert.strictEqual((yield* Effect.flip(idsIn(second, "red")))._tag, "InvalidInput")
    })
  )

  it.effect("an index that was removed is not declared again by a program that reads on", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openNewer(store, { catalogLease: 0 })
      const { database, on } = yield* programOf(store, { catalogLease: 0 })
      const schema = Schema.Struct({ ...Person.fields, more: Schema.optionalKey(Schema.String) })
      const people = yield* on(Resource.make(Resource.define("people", { schema, primaryKey: "id" })))
      yield* database.changeIndexes("people", (now) =>
        Effect.succeed(Catalog.withoutIndex(now, "partitions", "byTeam"))
      )
      yield* people.insert({ id: "1", more: "of what is not known before" })
      assert.deepStrictEqual(yield* before.people.get("1"), { id: "1" })
      yield* database.refresh
      assert.deepStrictEqual(Object.keys((yield* database.indexes("people")).partitions ?? {}), [])
    })
  )

  it.effect("a catalog that has lost the resource is written by nobody", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const program = yield* openNewer(store)
      yield* program.people.insertMany(given)
      yield* store.delete(Catalog.key)
      yield* store.delete(Catalog.backupKey)
      yield* programOf(store)
      yield* TestClock.adjust(overLease)
      const refused = yield* Effect.flip(program.people.update("1", { name: "A" }))
      assert.strictEqual(refused._tag === "DbError" && refused.reason._tag, "Corrupt")
      assert.deepStrictEqual(yield* program.people.get("1"), given[0])
    })
  )

  it.effect("a backfill does not call complete what was declared otherwise meanwhile", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOlder(store)
      yield* before.people.insertMany(given)
      const program = yield* openNewer(store)
      yield* TestClock.adjust(overLease)
      const meanwhile = Effect.gen(function* () {
        const { on } = yield* programOf(store)
        const definition = Resource.define("people", {
          schema: Person,
          primaryKey: "id",
          partitions: { byTeam: ["team", "name"] }
        })
        yield* on(Resource.make(definition))
      })
      const backfill = Stream.tap((yield* program.people.admin).backfill(), ({ id }) =>
        id === "1" ? meanwhile : Effect.void
      )
      const { unfinished } = yield* tellingOf(backfill)
      assert.include(unfinished?.message, "partition byTeam of people is not complete")
      yield* program.database.refresh
      const { partitions, uniques } = yield* program.database.indexes("people")
      assert.strictEqual(partitions?.["byTeam"]?.state, "building")
      assert.strictEqual(uniques?.["mail"]?.state, "ready")
    })
  )
})

describe("history, counters and content", () => {
  const keeping = Resource.define("people", {
    schema: Person,
    primaryKey: "id",
    history: true,
    content: true,
    counters: { shards: 3, partitions: ["byTeam"] },
    partitions: { byTeam: ["team"] }
  })

  const openKeeping = Effect.fnUntraced(function* (store: Store) {
    const { database, on } = yield* programOf(store)
    return { database, people: yield* on(Resource.make(keeping)) }
  })

  const deployKeeping = Effect.fnUntraced(function* (store: Store) {
    const program = yield* openKeeping(store)
    yield* TestClock.adjust(overLease)
    const admin = yield* program.people.admin
    yield* Stream.runDrain(admin.backfill())
    yield* admin.recount()
    return program
  })

  it.effect("are kept up by programs that do not declare them", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOlder(store)
      yield* before.people.insertMany(given)
      const { people } = yield* deployKeeping(store)
      yield* people.setContent("1", new TextEncoder().encode("one"))
      yield* before.people.update("1", { name: "A" })
      yield* before.people.replace({ id: "1", name: "AA", team: "blue" })
      yield* before.people.insertMany([{ id: "3", team: "blue" }, { id: "4" }])
      yield* before.people.delete("2")
      yield* before.people.deleteMany(["4"])
      yield* before.database.transaction(
        Effect.all([before.people.insert({ id: "5", team: "blue" }), before.people.update("3", { team: "red" })])
      )
      assert.strictEqual(yield* people.estimatedCount(), 3)
      assert.strictEqual(yield* people.estimatedCount({ partition: "byTeam", values: { team: "blue" } }), 2)
      assert.strictEqual(yield* people.estimatedCount({ partition: "byTeam", values: { team: "red" } }), 1)
      const pastOf = (id: string) =>
        Effect.map(Stream.runCollect(people.history(id)), (all) => all.map(({ value }) => value.name ?? value.team))
      assert.deepStrictEqual(yield* pastOf("1"), ["A", "a", "a", "a"])
      assert.deepStrictEqual(yield* pastOf("2"), ["b", "b"])
      assert.deepStrictEqual(yield* pastOf("3"), ["blue"])
      assert.isTrue(yield* people.hasContent("1"))
      assert.deepStrictEqual(yield* Stream.runCollect((yield* people.admin).repair({ markerGraceMillis: -1 })), [])
    })
  )

  it.effect("a version that was replaced during a pause is kept afterwards", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openOlder(store)
      yield* first.people.insertMany(given)
      const { onceBefore, store: paused } = observed(store)
      const before = yield* openOlder(paused)
      onceBefore(
        "put resource=people/data/id=1",
        Effect.orDie(
          Effect.gen(function* () {
            yield* TestClock.adjust("1 minute")
            const { on } = yield* programOf(store)
            yield* on(Resource.make(Resource.define("people", { schema: Person, primaryKey: "id", history: true })))
            yield* TestClock.adjust("1 minute")
          })
        )
      )
      yield* before.people.update("1", { name: "A" })
      const { people } = yield* openKeeping(store)
      const past = yield* Stream.runCollect(people.history("1"))
      assert.deepStrictEqual(
        past.map(({ value }) => value.name),
        ["a"]
      )
    })
  )

  it.effect("go when a program that does not ask for them is made current", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOlder(store)
      yield* before.people.insertMany(given)
      const { people } = yield* deployKeeping(store)
      yield* (yield* before.people.admin).makeCurrent
      yield* TestClock.adjust(overLease)
      yield* before.people.update("2", { name: "B" })
      const namesOf = Effect.map(Stream.runCollect(people.history("2")), (all) => all.map(({ value }) => value.name))
      // The backfill has kept one; the update has not.
      assert.deepStrictEqual(yield* namesOf, ["b"])
      // Whoever declares history goes on to keep what it replaces itself.
      yield* people.update("2", { name: "BB" })
      assert.deepStrictEqual(yield* namesOf, ["B", "b"])
      const refused = yield* Effect.flip(people.estimatedCount())
      assert.strictEqual(refused._tag === "DbError" && refused.reason._tag, "Incomplete")
      // A definition that is registered anew is current by that.
      const { on } = yield* programOf(store)
      yield* on(Resource.make(Resource.define("people", { schema: Person, primaryKey: "id", counters: true })))
      yield* TestClock.adjust(overLease)
      const recounting = Effect.flatMap(people.admin, (admin) => admin.recount())
      yield* drive(yield* Effect.forkChild(Pauses.byClock(recounting)))
      yield* before.people.insert({ id: "9" })
      assert.strictEqual(yield* people.estimatedCount(), 3)
    })
  )

  it.effect("a definition that comes back to declare an index again is not current by that", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openNewer(store)
      const second = yield* openKeeping(store)
      assert.strictEqual(second.database.upkeep("people")?.settings?.history, true)
      yield* TestClock.adjust(overLease)
      yield* Pauses.byClock(
        Effect.gen(function* () {
          const admin = yield* first.people.admin
          yield* drive(yield* Effect.forkChild(admin.removeUnique("mail")))
        })
      )
      const back = yield* openNewer(store)
      assert.strictEqual(back.database.upkeep("people")?.settings?.history, true)
      assert.strictEqual((yield* back.database.indexes("people")).uniques?.["mail"]?.state, "building")
    })
  )
})

/** What an outcome says went wrong. */
const messageOf = (outcome: unknown): string => {
  if (!Result.isResult(outcome)) return messageOf((outcome as { readonly result: unknown }).result)
  return Result.isFailure(outcome) ? String((outcome.failure as Error).message) : "nothing"
}

type Entry = Record<string, unknown>

describe("what a release does not know", () => {
  /** Changes the catalog as a later release might. */
  const rewrite = Effect.fnUntraced(function* (store: Store, change: (people: Entry) => void) {
    const object = yield* store.get(Catalog.key)
    const catalog = bodyOf(object) as { readonly resources: { readonly people: Record<string, unknown> } }
    change(catalog.resources.people)
    yield* store.put({ key: Catalog.key, body: new TextEncoder().encode(JSON.stringify(catalog)) })
  })

  const changes: Readonly<Record<string, (people: Entry) => void>> = {
    "a transform": (people) => {
      people["partitions"] = {
        byName: { definition: { fields: [{ path: ["name"], transforms: ["soundex"] }] }, state: "ready" }
      }
    },
    "a field of the system": (people) => {
      people["partitions"] = {
        bySize: { definition: { fields: [{ path: ["$size"], transforms: [] }] }, state: "ready" }
      }
    },
    "a kind of index": (people) => {
      people["shadows"] = { due: { definition: {}, state: "ready" } }
    },
    "a field of a companion": (people) => {
      people["companions"] = { due: { definition: { version: 1, fields: [["$expiresAt"]] }, state: "ready" } }
    },
    "a member of a companion": (people) => {
      people["companions"] = { due: { definition: { version: 1, fields: [["name"]], order: "desc" }, state: "ready" } }
    },
    "a rule of a unique key": (people) => {
      people["uniques"] = {
        mail: { definition: { fields: [["mail"]], ignoreCase: false, ignoreAccents: true }, state: "ready" }
      }
    },
    "an option of the definition": (people) => {
      const versions = people["versions"] as Record<string, { readonly definition: Entry }>
      versions[String(people["currentVersion"])]!.definition["flags"] = ["ledger"]
    }
  }
  for (const [name, change] of Object.entries(changes)) {
    it.effect(`${name} makes it refuse to write, whenever it learns of it`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const before = yield* openOlder(store)
        yield* before.people.insertMany(given)
        yield* rewrite(store, change)
        yield* TestClock.adjust(overLease)
        const keys = yield* keysOf(store)
        const etags = Effect.forEach(keys, (key) => Effect.map(store.head(key), ({ etag }) => etag))
        const then = yield* etags
        const programs = [before, yield* openOlder(store)]
        for (const program of programs) {
          for (const [write] of Object.values(writes)) {
            const result = yield* Effect.result(write(program))
            // Those of many tell of each.
            const each = Result.isFailure(result) ? [result] : (result.success as ReadonlyArray<unknown>)
            for (const one of each) assert.include(messageOf(one), "upgrade effect-s3db")
          }
          assert.deepStrictEqual(yield* program.people.get("1"), given[0])
          // Other resources are not concerned.
          assert.strictEqual(yield* program.other.exists("x"), false)
        }
        assert.deepStrictEqual(yield* keysOf(store), keys)
        assert.deepStrictEqual(yield* etags, then)
      })
    )
  }

  it.effect("nothing of a catalog is lost by a release that does not know it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* openOlder(store)
      yield* rewrite(store, changes["a kind of index"]!)
      const refused = yield* Effect.flip(openNewer(store))
      assert.include(refused.message, "upgrade effect-s3db")
      const catalog = bodyOf(yield* store.get(Catalog.key)) as { readonly resources: { readonly people: Entry } }
      assert.isDefined(catalog.resources.people["shadows"])
    })
  )

  it.effect("a catalog of a later format is met by a program that is open", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { people } = yield* openOlder(store)
      yield* store.put({ key: Catalog.key, body: new TextEncoder().encode('{ "version": "2" }') })
      yield* TestClock.adjust(overLease)
      const refused = yield* Effect.flip(people.insert({ id: "1" }))
      assert.include(refused.message, "upgrade effect-s3db")
      assert.deepStrictEqual(yield* keysOf(store, "resource="), [])
    })
  )
})

describe("random histories", () => {
  /** Something that a program does, of an index that it does not declare. */
  const step = (program: Older, n: number) =>
    Effect.gen(function* () {
      const { database, people } = program
      yield* Effect.sleep(yield* Random.nextIntBetween(0, 1000))
      const pick = (among: ReadonlyArray<string>) =>
        Effect.map(Random.nextIntBetween(0, among.length, { halfOpen: true }), (i) => among[i]!)
      const id = yield* pick(["1", "2", `m${n}`, `n${n}`])
      const document = {
        id,
        name: String(n),
        mail: yield* pick(["a@x", `${n}@x`, `${n}@y`]),
        team: yield* pick(["red", "blue"])
      }
      const { id: _, ...changes } = document
      const write: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        people.insert(document),
        people.update(id, changes),
        people.replace(document),
        people.upsert(document),
        people.delete(id),
        database.transaction(Effect.andThen(people.upsert(document), people.upsert({ id: `t${n}`, team: "red" })))
      ]
      yield* write[yield* Random.nextIntBetween(0, write.length, { halfOpen: true })]!
    })

  /** Two older programs write, each as slowly as it happens, while a newer one declares its indexes and builds them. */
  const history = Effect.fnUntraced(
    function* (seed: number) {
      const store = yield* memory
      const faults = { delay: { probability: 0.1, maxMillis: 20_000 } }
      const openOn = (client: string) => openOlder(FaultyStore.make(store, { seed, client, faults }).store)
      const writing = Effect.forEach(
        ["a", "b"],
        Effect.fnUntraced(function* (client, i) {
          const program = yield* openOn(client)
          const numbers = Array.from({ length: 30 }, (_, n) => i * 100 + n)
          return yield* Effect.forEach(numbers, (n) => Effect.exit(step(program, n)))
        }),
        { concurrency: 2 }
      )
      const declaring = Effect.gen(function* () {
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 20_000))
        const program = yield* openNewer(store)
        const { told } = yield* tellingOf((yield* program.people.admin).backfill())
        return { told, program }
      })
      const { outcomes, told } = yield* Effect.gen(function* () {
        const both = Effect.all([writing, declaring], { concurrency: 2 })
        const [outcomes, { told }] = yield* drive(yield* Effect.forkChild(Pauses.byClock(both)))
        return { outcomes: outcomes.flat(), told }
      })
      return { found: yield* findings(store), outcomes, store, told }
    },
    (effect, seed) => Random.withSeed(effect, seed)
  )

  for (const seed of Array.from({ length: 8 }, (_, i) => i)) {
    it.effect(`seed ${seed}: whatever waits for how long, documents are in their indexes`, () =>
      Effect.gen(function* () {
        const { found, outcomes, told } = yield* history(seed)
        assert.isTrue(outcomes.some(Exit.isSuccess))
        const isBad = ({ kind }: { readonly kind: string }) => !kind.startsWith("Leftover")
        // Two that had the same value before it was unique are told by the backfill.
        const violated = new Set(told.flatMap(({ id, violations }) => (violations.length === 0 ? [] : [id])))
        assert.deepStrictEqual(
          found.filter((finding) => isBad(finding) && !violated.has(finding.id)),
          []
        )
      })
    )
  }
})
