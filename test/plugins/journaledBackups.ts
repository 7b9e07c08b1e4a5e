/** A database whose resources have a journal, changed at random, and backups of it that go by the journal and by listings. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, drive, keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const options = { partitions: { byGroup: ["group"] }, unique: { code: ["code"] }, journal: true } as const

const items = Resource.fromAttributes("items", { group: "string", code: "string", note: "string|optional" }, options)

const files = Resource.fromAttributes(
  "files",
  { group: "string", code: "string", note: "string|optional" },
  { ...options, history: true, content: true }
)

const plain = Resource.fromAttributes("plain", { group: "string", code: "string", note: "string|optional" })

export const opened = Effect.fnUntraced(function* (store: Store) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const at = <A, E>(effect: Effect.Effect<A, E, Database.Database>) =>
    Effect.provideService(effect, Database.Database, database)
  return {
    database,
    items: yield* at(Resource.make(items)),
    files: yield* at(Resource.make(files)),
    plain: yield* at(Resource.make(plain))
  }
})

type Program = Effect.Success<ReturnType<typeof opened>>

export const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))

export const keepJournal = ({ database }: Program) => settle(database.journal.catchUp(database.journaled))

const drawn = (seed: number) => {
  let state = seed * 2654435761
  return (below: number) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
    return Math.floor((((state ^ (state >>> 13)) >>> 0) / 2 ** 32) * below)
  }
}

/** All objects of a store, but for those of the catalog and what a restoration leaves. */
export const contents = Effect.fnUntraced(function* (store: Store) {
  const all: Record<string, string> = {}
  for (const key of yield* keysOf(store)) {
    if (key.startsWith("s3db-restore")) continue
    const { body, metadata } = yield* store.get(key)
    all[key] = JSON.stringify([Object.entries(metadata).toSorted(), Buffer.from(body).toString("base64")])
  }
  return all
})

export const counted = (store: Store) => {
  let requests: Record<string, number> = {}
  const counting = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      requests[name] = (requests[name] ?? 0) + 1
      return effect
    })
  const counted: Store = {
    ...store,
    get: (key, options) => counting("get", store.get(key, options)),
    head: (key) => counting("head", store.head(key)),
    put: (request) => counting("put", store.put(request)),
    list: (request) => counting("list", store.list(request)),
    delete: (key, options) => counting("delete", store.delete(key, options)),
    deleteMany: (keys, options) => counting("deleteMany", store.deleteMany(keys, options))
  }
  const take = () => {
    const taken = requests
    requests = {}
    return taken
  }
  return { store: counted, take }
}

/** A database, its backups by the journal, and some of the same by listings. */
export const begun = Effect.fnUntraced(function* (seed: number) {
  const draw = drawn(seed)
  const [source, vault, other] = [yield* memory, yield* memory, yield* memory]
  const program = yield* opened(source)
  let number = 0
  const changes = Effect.fnUntraced(function* (count: number) {
    for (let at = 0; at < count; at += 1) {
      number += 1
      // Of a document that is not there nothing is changed.
      yield* Effect.catchTag(change(program, draw, number), "NotFound", () => Effect.void)
    }
  })
  yield* changes(60)
  yield* TestClock.adjust("1 hour")
  const told = yield* Backup.make({ source, vault })
  const listed = yield* Backup.make({ source, vault: other })
  yield* told.create()
  /** Both are restored, and are the same. */
  const compare = Effect.fnUntraced(function* (made: Backup.Snapshot, message: string) {
    const expected = yield* listed.create({ changes: "listing" })
    assert.isFalse(expected.isByJournal)
    const [one, two] = [yield* memory, yield* memory]
    assert.deepStrictEqual((yield* told.verify(made.id)).problems, [])
    yield* told.restore(made.id, { target: one })
    yield* listed.restore(expected.id, { target: two })
    const [found, right] = [yield* contents(one), yield* contents(two)]
    assert.deepStrictEqual(found, right, message)
    assert.deepStrictEqual([made.objects, made.bytes], [expected.objects, expected.bytes])
  })
  return { changes, compare, draw, program, source, told, vault }
})

/** One change of a database, drawn. */
const change = Effect.fnUntraced(function* (program: Program, draw: (below: number) => number, number: number) {
  const name = (["items", "files", "plain"] as const)[draw(3)]!
  const documents = program[name]
  const id = `d${draw(30)}`
  const value = { id, group: `g${draw(3)}`, code: `${name} ${number}` }
  const upsert = (value: { readonly id: string; readonly group: string; readonly code: string }) =>
    Effect.catchTag(documents.insertJson(value), "AlreadyExists", () => documents.replaceJson(value))
  switch (draw(8)) {
    case 0:
      return yield* documents.delete(id)
    case 1:
      return yield* documents.updateJson(id, { note: "n".repeat(draw(3000)) })
    case 2:
      return yield* documents.updateJson(id, { group: value.group })
    case 3:
      return yield* documents.deleteMany([id, `d${draw(30)}`])
    case 4:
      return name === "files"
        ? yield* program.files.setContent(id, Stream.make(new Uint8Array([number % 256])))
        : yield* upsert(value)
    case 5:
      return yield* program.database.transaction(Effect.andThen(upsert(value), program.items.delete(`d${draw(30)}`)))
    default:
      return yield* upsert(value)
  }
})

/** Random changes of a database, with backups between them. */
export const randomBackups = Effect.fnUntraced(function* (seed: number) {
  const { changes, compare, draw, program, told } = yield* begun(seed)
  for (let round = 0; round < 5; round += 1) {
    yield* changes(draw(25))
    if (draw(3) > 0) yield* keepJournal(program)
    if (draw(3) === 0) yield* program.database.journal.compact
    yield* TestClock.adjust("1 hour")
    const passes = 1 + draw(2)
    const made = yield* told.create({ passes })
    assert.isTrue(made.isByJournal)
    if (passes > 1) assert.isTrue(made.isInstant)
    yield* compare(made, `seed ${seed} round ${round}`)
  }
})

/** A client is killed at a request; backups before and after the journal is kept have all that is there. Whether it came to its end. */
export const killedClients = Effect.fnUntraced(function* (at: number, when: "before" | "after") {
  const documentsOf = (store: Store) =>
    Effect.gen(function* () {
      const { files, items } = yield* opened(store)
      const found = [
        yield* settle(Stream.runCollect(items.scan())),
        yield* settle(Stream.runCollect(files.scan())),
        yield* settle(Stream.runCollect(items.scan({ partition: "byGroup", values: { group: "g" } })))
      ]
      return found.map((all) => all.map((one) => JSON.stringify(one)).toSorted())
    })
  const [source, vault] = [yield* memory, yield* memory]
  const program = yield* opened(source)
  for (const id of ["a", "b"]) yield* program.items.insert({ id, group: "g", code: id })
  yield* keepJournal(program)
  yield* TestClock.adjust("1 hour")
  const backups = yield* Backup.make({ source, vault })
  yield* backups.create()
  const crash = crashing(source, at, when)
  const killed = yield* Effect.exit(
    Effect.gen(function* () {
      const other = yield* opened(crash.store)
      yield* other.items.upsert({ id: "a", group: "h", code: "other" })
      yield* other.items.delete("b")
      yield* other.database.transaction(
        Effect.andThen(
          other.items.insert({ id: "c", group: "g", code: "b" }),
          other.files.insert({ id: "c", group: "g", code: "b" })
        )
      )
    })
  )
  for (const message of ["at once", "after the journal was kept"]) {
    yield* TestClock.adjust("1 hour")
    const made = yield* backups.create()
    assert.isTrue(made.isByJournal)
    const target = yield* memory
    yield* backups.restore(made.id, { target })
    assert.deepStrictEqual(yield* documentsOf(target), yield* documentsOf(source), `${when} ${at}, ${message}`)
    yield* keepJournal(yield* opened(source))
  }
  return killed._tag === "Success"
})
