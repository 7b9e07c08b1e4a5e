/** Long work that is stopped, by a crash or by whoever draws it, goes on, and ends only when it is done. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as building from "../src/catalog/building.ts"
import * as Catalog from "effect-s3db/Catalog"
import type * as DbError from "effect-s3db/DbError"
import type * as Encoding from "effect-s3db/encoding/Encoding"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { crashing, keysOf, memory, moments, openOn, tellingOf } from "./fixture.ts"

type Store = ObjectStore["Service"]

const Person = Schema.Struct({ id: Schema.String, name: Schema.String, team: Schema.String })
const plain = { schema: Person, primaryKey: "id", allowDeleteAll: true } as const
const indexed = { ...plain, partitions: { byTeam: ["team"] }, unique: { name: ["name"] } } as const

const open = Effect.fnUntraced(function* (store: Store) {
  return yield* (yield* openOn(store)).open("people", indexed)
})

const ids = ["a", "b", "c", "d", "e"]

/** A store with documents from before anything was declared; `same`: those that share their name. */
const given = Effect.fnUntraced(function* (store: Store, same: ReadonlyArray<string> = []) {
  const before = yield* (yield* openOn(store)).open("people", plain)
  yield* before.insertMany(ids.map((id) => ({ id, name: same.includes(id) ? "x" : `name of ${id}`, team: "t" })))
})

const entriesOf = Effect.fnUntraced(function* (store: Store) {
  const { database } = yield* openOn(store)
  const { partitions = {}, uniques = {} } = yield* database.indexes("people")
  return { partition: partitions["byTeam"], unique: uniques["name"] }
})

const statesOf = (store: Store) =>
  Effect.map(entriesOf(store), ({ partition, unique }) => [partition?.state, unique?.state])

/** What every way to the documents finds, if it may be used. */
const found = Effect.fnUntraced(function* (store: Store) {
  const people = yield* open(store)
  const [partition, unique] = yield* statesOf(store)
  const all = (yield* Stream.runCollect(people.scan())).map(({ id, name }) => ({ id, name }))
  if (partition === "ready") {
    const listed = yield* Stream.runCollect(people.query({ where: { team: "t" } }))
    assert.deepStrictEqual(listed.map(({ id }) => id).toSorted(), all.map(({ id }) => id).toSorted())
  }
  if (unique === "ready") {
    for (const { id, name } of all) assert.strictEqual((yield* people.getByUnique("name", { name })).id, id)
  }
  return all.map(({ id }) => id)
})

const drain = (people: Effect.Success<ReturnType<typeof open>>, options?: { readonly after?: string }) =>
  Effect.flatMap(people.admin, (admin) => tellingOf(admin.backfill(options)))

/** Runs an effect with a client that crashes at each of its requests, on a store of its own. */
const stoppedAtEach = Effect.fnUntraced(function* <A, E>(
  prepare: (store: Store) => Effect.Effect<void, E>,
  work: (store: Store) => Effect.Effect<A, unknown>,
  resume: (store: Store, at: string) => Effect.Effect<void, unknown>
) {
  for (const when of moments) {
    for (let at = 1; ; at++) {
      const store = yield* memory
      yield* prepare(store)
      const client = crashing(store, at, when)
      const exit = yield* Effect.exit(work(client.store))
      if (client.requests() < at) {
        assert.isTrue(Exit.isSuccess(exit))
        break
      }
      yield* resume(store, `${when} ${at}`)
    }
  }
})

describe("backfill", () => {
  it.effect(
    "a crash at any request leaves nothing that is called complete and is not; the next run does the rest",
    () =>
      stoppedAtEach(
        (store) => given(store),
        (store) => Effect.flatMap(open(store), drain),
        Effect.fnUntraced(function* (store) {
          yield* found(store)
          const { unfinished } = yield* drain(yield* open(store))
          assert.isUndefined(unfinished)
          assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
          assert.deepStrictEqual(yield* found(store), ids)
        })
      )
  )

  it.effect("a crash at any request forgets no violation of the run before", () =>
    stoppedAtEach(
      (store) => given(store, ["b", "d"]),
      Effect.fnUntraced(function* (store) {
        const people = yield* open(store)
        yield* Stream.runDrain(Stream.take((yield* people.admin).backfill({ concurrency: 1 }), 4))
        return yield* drain(people)
      }),
      Effect.fnUntraced(function* (store) {
        const people = yield* open(store)
        const { unfinished } = yield* drain(people)
        assert.strictEqual(unfinished?.left.length, 1)
        const [left] = unfinished?.left ?? []
        // The partition does not depend on the unique key.
        assert.deepStrictEqual(yield* statesOf(store), ["ready", "building"])
        assert.deepStrictEqual(yield* found(store), ids)
        const refused = yield* Effect.flip(people.getByUnique("name", { name: "x" }))
        assert.include(refused.message, left!.id)
        yield* people.update(left!.id, { name: "another" })
        assert.isUndefined((yield* drain(people)).unfinished)
        assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
        assert.deepStrictEqual(yield* found(store), ids)
      })
    )
  )

  it.effect("run in parts, from behind, and by two at once: it is complete when all parts together are", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* given(store)
      const people = yield* open(store)
      const { unfinished } = yield* drain(people, { after: "b" })
      assert.include(unfinished?.message, 'the documents up to "b" have not been visited')
      assert.deepStrictEqual(yield* statesOf(store), ["building", "building"])
      const refused = yield* Effect.flip(people.count({ partition: "byTeam" }))
      assert.include(refused.message, 'up to "b"')
      const other = yield* open(store)
      const both = yield* Effect.all([drain(people), drain(other)], { concurrency: 2 })
      assert.isTrue(both.every(({ unfinished }) => unfinished === undefined))
      assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
      assert.deepStrictEqual(yield* found(store), ids)
    })
  )

  it.effect(
    "a run that is stopped by whoever draws it goes on where it was, documents that come in behind it included",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* given(store)
        const people = yield* open(store)
        const first = yield* Stream.runCollect(Stream.take((yield* people.admin).backfill({ concurrency: 1 }), 4))
        assert.deepStrictEqual(
          first.map(({ id }) => id),
          ["a", "b", "c", "d"]
        )
        yield* people.insert({ id: "aa", name: "new", team: "t" })
        const { told, unfinished } = yield* drain(people)
        assert.isUndefined(unfinished)
        assert.deepStrictEqual(
          told.map(({ id }) => id),
          ["e"]
        )
        assert.deepStrictEqual(yield* found(store), ["a", "aa", "b", "c", "d", "e"])
      })
  )

  it.effect("more documents are in its way than the catalog names: none of them is forgotten", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* (yield* openOn(store)).open("people", plain)
      const many = Array.from({ length: 230 }, (_, i) => String(1000 + i))
      yield* before.insertMany(many.map((id) => ({ id, name: Number(id) < 1010 ? id : "x", team: "t" })))
      const people = yield* open(store)
      const { told, unfinished } = yield* drain(people)
      assert.strictEqual(told.length, 230)
      assert.strictEqual(unfinished?.left.length, 100)
      yield* Effect.forEach(unfinished?.left ?? [], ({ id }) => people.update(id, { name: id }))
      const again = yield* drain(people)
      assert.strictEqual(again.unfinished?.left.length, 100)
      yield* Effect.forEach(again.unfinished?.left ?? [], ({ id }) => people.update(id, { name: id }))
      const third = yield* drain(people)
      assert.strictEqual(third.unfinished?.left.length, 19)
      yield* Effect.forEach(third.unfinished?.left ?? [], ({ id }) => people.update(id, { name: id }))
      assert.isUndefined((yield* drain(people)).unfinished)
      assert.strictEqual((yield* found(store)).length, 230)
    })
  )

  it.effect("many documents that one index has to leave keep no other one from being complete", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* (yield* openOn(store)).open("people", plain)
      yield* before.insertMany(
        Array.from({ length: 230 }, (_, i) => ({ id: String(1000 + i), name: i < 10 ? String(i) : "x", team: "t" }))
      )
      const people = yield* open(store)
      assert.strictEqual((yield* drain(people)).unfinished?.left.length, 100)
      assert.deepStrictEqual(yield* statesOf(store), ["ready", "building"])
      assert.strictEqual((yield* found(store)).length, 230)
    })
  )

  it.effect("on a store that lists without order no part counts for the whole, and there is nothing after an id", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "express" })
      yield* given(store)
      const people = yield* open(store)
      yield* Stream.runDrain(Stream.take((yield* people.admin).backfill({ concurrency: 1 }), 2))
      assert.deepStrictEqual(yield* statesOf(store), ["building", "building"])
      const refused = yield* Effect.flip(drain(people, { after: "b" }))
      assert.strictEqual(refused._tag, "InvalidInput")
      assert.isUndefined((yield* drain(people)).unfinished)
      assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
    })
  )

  it.effect("a query before it says what is the matter, and what leads to the documents then", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* given(store)
      const people = yield* open(store)
      for (const where of [{ team: "t" }, { name: "x" }]) {
        const refused = yield* Effect.flip(Stream.runDrain(people.query({ where })))
        assert.include(refused.message, "is not complete")
        assert.include(refused.message, "run backfill")
        assert.notInclude(refused.message, "declare one")
      }
    })
  )
})

describe("removePartition and removeUnique", () => {
  const ready = Effect.fnUntraced(function* (store: Store) {
    yield* given(store)
    yield* drain(yield* open(store))
  })
  const left = (store: Store) =>
    Effect.map(keysOf(store), (keys) => keys.filter((key) => /\/(?:partition|unique)=/.test(key)))

  it.effect("a crash at any request: called again they go on, and nothing is left", () =>
    stoppedAtEach(
      ready,
      Effect.fnUntraced(function* (store) {
        const admin = yield* (yield* open(store)).admin
        yield* admin.removePartition("byTeam")
        yield* admin.removeUnique("name")
      }),
      Effect.fnUntraced(function* (store) {
        // The newest definition is without them.
        const schema = Schema.Struct({ ...Person.fields, note: Schema.optionalKey(Schema.String) })
        const people = yield* (yield* openOn(store)).open("people", { ...plain, schema })
        const admin = yield* people.admin
        const again = (effect: Effect.Effect<number, DbError.InvalidInput | DbError.NotAllowed | DbError.DbError>) =>
          // It was done, or has been forgotten before: then there is nothing to go on with.
          Effect.catchTag(effect, "InvalidInput", () => Effect.succeed(0))
        yield* again(admin.removePartition("byTeam"))
        yield* again(admin.removeUnique("name"))
        assert.deepStrictEqual(yield* left(store), [])
      })
    )
  )

  it.effect(
    "a crash at any request, and what it removed is declared again: it is built, and nothing of before is left",
    () =>
      stoppedAtEach(
        ready,
        Effect.fnUntraced(function* (store) {
          const admin = yield* (yield* open(store)).admin
          yield* admin.removePartition("byTeam")
          yield* admin.removeUnique("name")
        }),
        Effect.fnUntraced(function* (store) {
          yield* found(store)
          assert.isUndefined((yield* drain(yield* open(store))).unfinished)
          assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
          assert.deepStrictEqual(yield* found(store), ids)
          assert.strictEqual((yield* left(store)).length, 2 * ids.length)
          assert.deepStrictEqual(yield* Stream.runCollect((yield* (yield* open(store)).admin).repair()), [])
        })
      )
  )

  it.effect("a removal that arrives late removes nothing of what was declared since", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* ready(store)
      const late: Array<ReadonlyArray<string>> = []
      const holding: Store = {
        ...store,
        deleteMany: (keys) => {
          late.push(keys)
          return Effect.succeed({ deleted: keys, failed: [] })
        }
      }
      const admin = yield* (yield* open(holding)).admin
      yield* admin.removePartition("byTeam")
      yield* admin.removeUnique("name")
      yield* drain(yield* open(store))
      for (const keys of late) yield* store.deleteMany(keys)
      assert.deepStrictEqual(yield* found(store), ids)
      assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
    })
  )

  it.effect("a run that began before a removal does not call complete what was declared after it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* given(store)
      const people = yield* open(store)
      const meanwhile = Effect.gen(function* () {
        const other = yield* open(store)
        yield* (yield* other.admin).removePartition("byTeam")
        const unaware = yield* (yield* openOn(store)).open("people", plain)
        yield* unaware.insert({ id: "aa", name: "new", team: "t" })
        yield* open(store)
      })
      const backfill = Stream.tap((yield* people.admin).backfill({ concurrency: 1 }), ({ id }) =>
        id === "c" ? Effect.orDie(meanwhile) : Effect.void
      )
      const { unfinished } = yield* tellingOf(backfill)
      assert.include(unfinished?.message, "partition byTeam of people is not complete")
      assert.isUndefined((yield* drain(yield* open(store))).unfinished)
      assert.deepStrictEqual(yield* found(store), ["a", "aa", "b", "c", "d", "e"])
    })
  )

  it.effect("an older program removes nothing that the current version declares", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const older = yield* (yield* openOn(store)).open("people", indexed)
      yield* (yield* openOn(store)).open("people", {
        ...indexed,
        schema: Schema.Struct({ ...Person.fields, age: Schema.optionalKey(Schema.Int) })
      })
      const admin = yield* older.admin
      for (const removing of [admin.removePartition("byTeam"), admin.removeUnique("name")]) {
        const refused = yield* Effect.flip(removing)
        assert.strictEqual(refused._tag, "NotAllowed")
        assert.include(refused.message, "version 2 of people, which is current, declares")
      }
      assert.deepStrictEqual(yield* statesOf(store), ["ready", "ready"])
      const typo = yield* Effect.flip(admin.removePartition("byTeem"))
      assert.include(typo.message, "byTeam")
    })
  )
})

describe("what goes over all documents", () => {
  it.effect("deleteAll: a crash at any request, called again it removes the rest", () =>
    stoppedAtEach(
      (store) => Effect.andThen(given(store), Effect.asVoid(Effect.flatMap(open(store), drain))),
      (store) => Effect.flatMap(open(store), (people) => people.deleteAll),
      Effect.fnUntraced(function* (store) {
        const people = yield* open(store)
        yield* people.deleteAll
        assert.strictEqual(yield* people.count(), 0)
        assert.deepStrictEqual(yield* Stream.runCollect(people.scan()), [])
      })
    )
  )

  it.effect("migrate: a crash at any request, the next run does the rest, and tells when it has", () => {
    const older = { schema: Schema.Struct({ id: Schema.String, n: Schema.Int }), primaryKey: "id", version: 1 } as const
    const newer = {
      schema: Schema.Struct({ id: Schema.String, n: Schema.Int, m: Schema.Int }),
      primaryKey: "id",
      version: 2,
      migrations: { 1: ({ n, ...rest }: Encoding.JsonObject) => ({ ...rest, n: n ?? 0, m: n ?? 0 }) }
    } as const
    const migrate = Effect.fnUntraced(function* (store: Store) {
      const things = yield* (yield* openOn(store)).open("things", newer)
      return yield* tellingOf((yield* things.admin).migrate())
    })
    return stoppedAtEach(
      Effect.fnUntraced(function* (store: Store) {
        const things = yield* (yield* openOn(store)).open("things", older)
        yield* things.insertMany(ids.map((id, n) => ({ id, n })))
      }),
      migrate,
      Effect.fnUntraced(function* (store) {
        assert.isUndefined((yield* migrate(store)).unfinished)
        assert.isTrue((yield* migrate(store)).told.every(({ rewritten }) => !rewritten))
      })
    )
  })

  it.effect("recount and pruneHistory: a crash at any request, run again they end as if nothing had been", () => {
    const options = { ...indexed, history: true, counters: { shards: 2, partitions: ["byTeam"] } } as const
    const opened = (store: Store) => Effect.flatMap(openOn(store), (one) => one.open("people", options))
    const work = Effect.fnUntraced(function* (store: Store) {
      const admin = yield* (yield* opened(store)).admin
      yield* admin.recount()
      yield* Stream.runDrain(admin.pruneHistory({ keep: 1 }))
    })
    return stoppedAtEach(
      Effect.fnUntraced(function* (store: Store) {
        const people = yield* opened(store)
        yield* people.insertMany(ids.map((id) => ({ id, name: id, team: "t" })))
        for (const id of ids) for (const n of [1, 2, 3]) yield* people.update(id, { name: `${id} ${n}` })
      }),
      work,
      Effect.fnUntraced(function* (store) {
        yield* work(store)
        const people = yield* opened(store)
        assert.strictEqual(yield* people.estimatedCount(), ids.length)
        assert.strictEqual(yield* people.estimatedCount({ partition: "byTeam", values: { team: "t" } }), ids.length)
        for (const id of ids) assert.strictEqual((yield* Stream.runCollect(people.history(id))).length, 1)
      })
    )
  })

  it.effect("work of which nobody knows the length tells how far it is", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const people = yield* (yield* openOn(store)).open("people", { ...indexed, counters: true })
      const many = Array.from({ length: 1200 }, (_, i) => `${i}`)
      yield* people.insertMany(many.map((id) => ({ id, name: id, team: "t" })))
      const seen: Array<number> = []
      const onProgress = ({ done }: { readonly done: number }) => Effect.sync(() => void seen.push(done))
      const admin = yield* people.admin
      yield* admin.recount({ onProgress })
      yield* admin.removePartition("byTeam", { onProgress })
      assert.deepStrictEqual(seen, [1000, 1200, 1000, 1200])
    })
  )
})

describe("documents of the size of what deletions leave", () => {
  it.effect("that cannot be read are met by scans, deleteAll and work on all documents", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "rgw" })
      yield* given(store)
      yield* drain(yield* open(store))
      const people = yield* open(store)
      yield* people.delete("e")
      yield* store.put({ key: "resource=people/data/id=c", body: new TextEncoder().encode("x".repeat(16)) })
      const seen: Array<string> = []
      const onCorrupt = ({ id }: { readonly id: string }) => Effect.sync(() => void seen.push(id))
      const scanned = (yield* Stream.runCollect(people.scan({ onCorrupt }))).map(({ id }) => id)
      assert.deepStrictEqual([scanned, seen], [["a", "b", "d"], ["c"]])
      const failed = yield* Effect.option(Stream.runDrain(people.scan()))
      assert.isTrue(Option.isNone(failed))
      const { told, unfinished } = yield* tellingOf((yield* people.admin).migrate())
      assert.deepStrictEqual(
        told.map(({ id }) => id),
        ["a", "b", "c", "d"]
      )
      assert.deepStrictEqual(
        unfinished?.left.map(({ id }) => id),
        ["c"]
      )
      const page = yield* people.list({ limit: 2 })
      assert.strictEqual(page.items.length, 2)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(people.deleteAll)))
      // Keys and sizes are all that these look at.
      assert.strictEqual(yield* people.count(), 0)
      yield* (yield* people.admin).discard("c")
      yield* people.deleteAll
      assert.deepStrictEqual(yield* Stream.runCollect(people.scan()), [])
    })
  )
})

describe("what was visited", () => {
  const index: building.Index = { kind: "partitions", name: "p", build: undefined }
  const resource = (state: Catalog.IndexState): Catalog.Resource => ({
    currentVersion: "v1",
    nextAttribute: 0,
    attributes: {},
    versions: {},
    partitions: { p: { definition: { fields: [] }, state } }
  })
  const visit = (run: building.Run): building.Visit => ({ run, documents: new Map() })

  it("in any parts and any order, is complete when there is no gap, and no sooner", () => {
    const points: ReadonlyArray<string | null> = [null, "a", "b/", "b", "c", null]
    const runs = points.slice(1).map((end, i): building.Run => [points[i]!, end])
    const orders = runs.map((_, i) => [...runs.slice(i), ...runs.slice(0, i)].toSorted(() => (i % 2 === 0 ? 1 : -1)))
    for (const order of orders) {
      let now = resource("building")
      for (const [i, run] of order.entries()) {
        assert.strictEqual(now.partitions?.["p"]?.state, "building", `${i}`)
        now = building.visited(now, index, visit(run))
      }
      assert.strictEqual(now.partitions?.["p"]?.state, "ready")
      assert.isUndefined(now.partitions?.["p"]?.progress)
    }
  })

  it("is not what another one of the same name lacks", () => {
    const now = resource("building")
    assert.strictEqual(building.visited(now, { ...index, build: 1 }, visit([null, null])), now)
  })
})
