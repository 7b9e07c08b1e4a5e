/** Registrations that are asked for together, or while another write of the catalog is on its way. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Catalog from "effect-s3db/Catalog"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { AccessDenied, StoreError } from "effect-s3db/storage/StoreError"
import { crashing, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-joining-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const schema = Schema.Struct({ id: Schema.String, name: Schema.String, team: Schema.optionalKey(Schema.String) })
const define = (name: string, version?: number) =>
  Resource.define(name, { schema, primaryKey: "id", partitions: { byTeam: ["team"] }, ...(version && { version }) })
const names = Array.from({ length: 200 }, (_, i) => `resource${i}`)
const few = ["one", "two", "three"]

const openOn = (store: Store) => Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)

const catalogOf = Effect.fnUntraced(function* (store: Store) {
  const reading = yield* Catalog.read((yield* store.get(Catalog.key)).body)
  assert(reading._tag === "Healthy")
  return reading.catalog
})
const registered = (store: Store) => Effect.map(catalogOf(store), ({ resources }) => Object.keys(resources).toSorted())

/** A store that tells of its requests, and does something else before some of them. */
const watched = (store: Store) => {
  const requests: Array<string> = []
  let before: (request: string) => Effect.Effect<void, StoreError> = () => Effect.void
  const seen = <A, E>(request: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      requests.push(request)
      return Effect.andThen(before(request), effect)
    })
  const one: Store = {
    ...store,
    put: (request) => seen(`put ${request.key}`, store.put(request)),
    get: (key, range) => seen(`get ${key}`, store.get(key, range)),
    head: (key) => seen(`head ${key}`, store.head(key)),
    list: (request) => seen("list", store.list(request))
  }
  return {
    store: one,
    requests,
    take: () => requests.splice(0),
    beforeEach: (act: typeof before) => {
      before = act
    }
  }
}

/** Holds the next write of the catalog until it is let go. */
const holding = Effect.fnUntraced(function* (store: ReturnType<typeof watched>) {
  const [begun, free] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  store.beforeEach((request) => {
    if (request !== "put s3db.json") return Effect.void
    store.beforeEach(() => Effect.void)
    return Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(free))
  })
  return { begun: Deferred.await(begun), letGo: Deferred.succeed(free, undefined) }
})

const together = ["put s3db.json", "put s3db.json.backup"]

describe("registrations that are asked for together", () => {
  for (const [kind, make] of [
    ["in memory", memory],
    ["in a folder", FileStore.make({ path: join(folder, "together"), durability: "none" })]
  ] as const) {
    it.effect(`200 layers of resources ${kind}: one write, and none when they are opened again`, () =>
      Effect.gen(function* () {
        const store = watched(yield* make)
        const layers = names.map((name) => {
          class One extends Resource.Service<One>()(`app/${name}`, { schema, primaryKey: "id" }) {}
          return One.layer
        })
        const opened = Layer.mergeAll(layers[0]!, ...layers.slice(1)).pipe(
          Layer.provide(Database.layerWith({ catalogLease: 0 }))
        )
        const program = Effect.provideService(Effect.scoped(Layer.build(opened)), ObjectStore, store.store)
        yield* program
        const creation = ["get s3db.json", "get s3db.json.backup", "list", ...together]
        assert.deepStrictEqual(store.take(), [...creation, ...together])
        assert.deepStrictEqual(yield* registered(store.store), names.toSorted())
        store.take()
        yield* program
        assert.deepStrictEqual(store.take(), ["get s3db.json"])
      })
    )
  }

  it.effect("one after the other: a write for each", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      store.take()
      for (const name of few) yield* database.register(define(name))
      assert.deepStrictEqual(store.take(), [...together, ...together, ...together])
    })
  )

  it.effect("while a write is on its way: they join the next one", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      store.take()
      const { begun, letGo } = yield* holding(store)
      const first = yield* Effect.forkChild(database.register(define("first")))
      yield* begun
      const others = yield* Effect.forkChild(
        Effect.forEach(few, (name) => database.register(define(name)), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* letGo
      assert.strictEqual((yield* Fiber.join(first)).version, 1)
      assert.deepStrictEqual(
        (yield* Fiber.join(others)).map(({ name }) => name),
        few
      )
      assert.deepStrictEqual(store.take(), [...together, ...together])
      assert.deepStrictEqual(yield* registered(store.store), ["first", ...few].toSorted())
    })
  )

  it.effect("one that is refused is refused alone", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      yield* database.register(define("one", 3))
      store.take()
      const [older, two, three] = yield* Effect.all(
        [
          Effect.exit(database.register({ ...define("one", 2), portable: null })),
          Effect.exit(database.register(define("two"))),
          Effect.exit(database.register(define("three")))
        ],
        { concurrency: "unbounded" }
      )
      assert(Exit.isFailure(older) && Exit.isSuccess(two) && Exit.isSuccess(three))
      const error = yield* Effect.flip(older)
      assert(error instanceof DbError.DbError && error.reason._tag === "InvalidArgument")
      assert.strictEqual(error.resource, "one")
      assert.deepStrictEqual(store.take(), together)
    })
  )

  it.effect("a change that fails on top of one that could not be written fails as the write did", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      store.beforeEach((request) =>
        request === "put s3db.json"
          ? Effect.fail(
              new StoreError({ operation: "put", key: "s3db.json", reason: new AccessDenied({ description: "no" }) })
            )
          : Effect.void
      )
      const reasons = yield* Effect.forEach(
        // The second would be refused if the first were there.
        [define("one", 3), { ...define("one", 2), portable: null }, define("two")],
        (one) => Effect.map(Effect.flip(database.register(one)), (error) => error.reason._tag),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(reasons, ["AccessDenied", "AccessDenied", "AccessDenied"])
      store.beforeEach(() => Effect.void)
      assert.strictEqual((yield* database.register({ ...define("one", 2), portable: null })).version, 2)
      assert.deepStrictEqual(yield* registered(store.store), ["one"])
    })
  )

  it.effect("two versions of one resource: both are told of", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const database = yield* openOn(store)
      yield* Effect.forEach([define("one"), { ...define("one"), attributes: [] }], (one) => database.register(one), {
        concurrency: "unbounded"
      })
      const events = yield* Stream.runCollect(Stream.take(database.definitionEvents, 2))
      assert.deepStrictEqual(
        events.map((event) => (event._tag === "ResourceChanged" ? [event._tag, event.from, event.to] : [event._tag])),
        [["ResourceCreated"], ["ResourceChanged", 1, 2]]
      )
    })
  )

  it.effect("two programs, three resources each: all are there, and each knows the ids that it was given", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [here, there] = [yield* openOn(store), yield* openOn(store)]
      const all = yield* Effect.forEach(
        [...few.map((name) => here.register(define(name))), ...few.map((name) => there.register(define(`${name}2`)))],
        (one) => one,
        { concurrency: "unbounded" }
      )
      const { resources } = yield* catalogOf(store)
      assert.deepStrictEqual(Object.keys(resources).toSorted(), [...few, ...few.map((name) => `${name}2`)].toSorted())
      for (const { name, written } of all) {
        for (const { codec, id, path } of written) {
          assert.deepStrictEqual(resources[name]?.attributes[id], { path, codec })
        }
      }
    })
  )
})

describe("who is interrupted", () => {
  it.effect("before the writing began takes the change back", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      const { begun, letGo } = yield* holding(store)
      const first = yield* Effect.forkChild(database.register(define("first")))
      yield* begun
      const [gone, stays] = yield* Effect.forEach(["gone", "stays"], (name) =>
        Effect.forkChild(database.register(define(name)), { startImmediately: true })
      )
      yield* Fiber.interrupt(gone!)
      yield* letGo
      yield* Fiber.join(first)
      yield* Fiber.join(stays!)
      assert.deepStrictEqual(yield* registered(store.store), ["first", "stays"])
    })
  )

  it.effect("alone while it is written: the request is interrupted, and the next one finds what is there", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      const { begun } = yield* holding(store)
      const first = yield* Effect.forkChild(database.register(define("first")))
      yield* begun
      yield* Fiber.interrupt(first)
      assert.deepStrictEqual(yield* registered(store.store), [])
      yield* database.register(define("second"))
      assert.deepStrictEqual(yield* registered(store.store), ["second"])
    })
  )

  it.effect("among others while it is written: the others have what they wanted", () =>
    Effect.gen(function* () {
      const store = watched(yield* memory)
      const database = yield* openOn(store.store)
      const { begun, letGo } = yield* holding(store)
      const fibers = yield* Effect.forEach(["gone", "stays"], (name) =>
        Effect.forkChild(database.register(define(name)), { startImmediately: true })
      )
      yield* begun
      yield* Fiber.interrupt(fibers[0]!)
      yield* letGo
      assert.strictEqual((yield* Fiber.join(fibers[1]!)).version, 1)
      assert.deepStrictEqual(yield* registered(store.store), ["gone", "stays"])
    })
  )
})

describe("a program that comes to a sudden end while it registers", () => {
  const registerAll = (store: Store) =>
    Effect.gen(function* () {
      const database = yield* openOn(store)
      yield* Effect.forEach(few, (name) => database.register(define(name)), { concurrency: "unbounded" })
    })

  for (const when of ["before", "after"] as const) {
    it.effect(`${when} each of its requests: all or none is registered, and the next program goes on`, () =>
      Effect.gen(function* () {
        const counted = crashing(yield* memory, Number.POSITIVE_INFINITY, when)
        yield* registerAll(counted.store)
        assert.strictEqual(counted.requests(), 7)
        for (let at = 1; at <= counted.requests(); at++) {
          const store = yield* memory
          const exit = yield* Effect.exit(registerAll(crashing(store, at, when).store))
          assert(Exit.isFailure(exit))
          const found = yield* Effect.orElseSucceed(registered(store), () => [])
          if (found.length > 0) assert.deepStrictEqual(found, few.toSorted())
          yield* registerAll(store)
          assert.deepStrictEqual(yield* registered(store), few.toSorted())
        }
      })
    )
  }
})

describe("the bytes of a catalog", () => {
  it.effect("are JSON without indentation, a line for each resource", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const database = yield* openOn(store)
      yield* Effect.forEach(few, (name) => database.register(define(name)), { concurrency: "unbounded" })
      const text = new TextDecoder().decode((yield* store.get(Catalog.key)).body)
      assert.strictEqual(text.split("\n").length, few.length + 3)
      const json: unknown = JSON.parse(text)
      assert.deepStrictEqual(json, yield* catalogOf(store))
      assert.isAtMost(text.length, JSON.stringify(json).length + few.length + 3)
    })
  )

  it.effect("that an earlier release has indented are read, and written anew with the next change", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const database = yield* openOn(store)
      yield* database.register(define("one"))
      const before = yield* catalogOf(store)
      yield* store.put({ key: Catalog.key, body: new TextEncoder().encode(JSON.stringify(before, null, 2)) })
      const next = yield* openOn(store)
      yield* next.register(define("one"))
      const indented = (yield* store.get(Catalog.key)).body
      assert.include(new TextDecoder().decode(indented), '\n  "resources": {')
      yield* next.register(define("two"))
      const after = yield* catalogOf(store)
      assert.deepStrictEqual(after.resources["one"], before.resources["one"])
      assert.deepStrictEqual(Object.keys(after.resources), ["one", "two"])
      assert.isBelow((yield* store.get(Catalog.key)).body.length, indented.length * 2)
    })
  )

  it("of resources whose names are special are what they say", () => {
    const { resources } = Catalog.register(
      Catalog.empty,
      { name: 'a"\n\u2028', primaryKey: "id", attributes: [] },
      "sha256:0",
      "2026-01-01T00:00:00Z"
    )
    const json: unknown = JSON.parse(new TextDecoder().decode(Catalog.toBytes({ ...Catalog.empty, resources })))
    assert.deepStrictEqual(json, { ...Catalog.empty, resources })
    assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(Catalog.toBytes(Catalog.empty))), { ...Catalog.empty })
  })
})
