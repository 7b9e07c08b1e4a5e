/** Counting and listing ids: by keys alone, and as many as reading the documents would find. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Document from "effect-s3db/Document"
import type { ListRequest, ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

const options = {
  schema: Schema.Struct({ id: Schema.String, team: Schema.String }),
  primaryKey: "id",
  partitions: { byTeam: ["team"] }
} as const

/** A store that notes its listings, and all its other requests by number. */
const watched = (store: Store) => {
  const lists: Array<ListRequest> = []
  const others = { count: 0 }
  const other = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      others.count += 1
      return effect
    })
  const one: Store = {
    ...store,
    get: (...args) => other(store.get(...args)),
    head: (key) => other(store.head(key)),
    list: (request = {}) =>
      Effect.suspend(() => {
        lists.push(request)
        return store.list(request)
      })
  }
  return { store: one, lists, others }
}

describe("count and listIds", () => {
  it.effect("1 LIST for each 1,000 and nothing else, of keys alone where deletions leave nothing", () =>
    Effect.gen(function* () {
      const { lists, others, store } = watched((yield* MemoryStore.make()).store)
      const people = yield* (yield* openOn(store)).open("people", options)
      const ids = Array.from({ length: 2500 }, (_, i) => `person ${i}`)
      yield* people.insertMany(ids.map((id, i) => ({ id, team: i % 2 === 0 ? "red" : "blue" })))
      for (const [name, effect, expected] of [
        ["count", people.count(), 2500],
        ["listIds", Effect.map(Stream.runCollect(people.listIds()), ({ length }) => length), 2500],
        ["unverified", people.count({ partition: "byTeam", values: { team: "red" }, verify: false }), 1250]
      ] as const) {
        lists.length = 0
        others.count = 0
        assert.strictEqual(yield* effect, expected, name)
        assert.strictEqual(lists.length, Math.ceil(expected / 1000), name)
        assert.isTrue(
          lists.every(({ keysOnly }) => keysOnly),
          name
        )
        assert.strictEqual(others.count, 0, name)
      }
    })
  )

  for (const profile of ["aws", "rgw", "express"] as const) {
    it.effect(`what is there, and what deletions and others have left, on a store like ${profile}`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make({ profile })
        const people = yield* (yield* openOn(store)).open("people", { ...options, history: true })
        const ids = ["a b", "é", "%", "x~1", "..", "gone"]
        yield* people.insertMany(ids.map((id) => ({ id, team: "red" })))
        yield* people.delete("gone")
        for (const name of ["id=%61", "id=a/b", "id=%zz", "id=", "readme.txt", ""]) {
          yield* store.put({ key: `resource=people/data/${name}`, body: new TextEncoder().encode("of others") })
        }
        const left = ids.filter((id) => id !== "gone")
        assert.deepStrictEqual((yield* Stream.runCollect(people.listIds())).toSorted(), left.toSorted())
        assert.strictEqual(yield* people.count(), left.length)
        assert.strictEqual(yield* Stream.runCount(people.scan()), left.length)
      })
    )
  }
})

describe("keys of documents", () => {
  const pieces = [
    "resource=people/data/",
    "resource=other/data/",
    "id=",
    "a",
    "%20",
    "%2",
    "%61",
    "é",
    "/",
    ".",
    "~",
    " "
  ]
  it.effect.prop(
    "are told without their ids as with them",
    [Schema.Array(Schema.Literals(pieces)), Schema.String],
    ([some, text]) =>
      Effect.sync(() => {
        const isKey = Document.idTest("people")
        const idIn = Document.idReader("people")
        for (const key of [
          some.join(""),
          `resource=people/data/id=${some.join("")}`,
          `resource=people/data/id=${text}`
        ]) {
          const id = Document.idOf("people", key)
          assert.strictEqual(isKey(key), Option.isSome(id), key)
          assert.strictEqual(idIn(key), Option.getOrUndefined(id), key)
        }
      })
  )
})
