/** Resources that are brought back to a time. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Pipeline from "effect-s3db/Pipeline"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

class People extends Resource.Service<People>()("test/rewind/People", {
  schema: Schema.Struct({ id: Schema.String, email: Schema.String, country: Schema.String }),
  primaryKey: "id",
  name: "people",
  partitions: { byCountry: ["country"] },
  unique: { email: ["email"] },
  history: true
}) {}

class Plain extends Resource.Service<Plain>()("test/rewind/Plain", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id",
  name: "plain"
}) {}

const Live = Layer.mergeAll(People.layer, Plain.layer).pipe(
  Layer.provideMerge(Database.layer),
  Layer.provideMerge(MemoryStore.layer)
)

const person = (id: string, email = `${id}@example.org`, country = "BR") => ({ id, email, country })

const everyone = Effect.gen(function* () {
  const people = yield* People
  const all = yield* Stream.runCollect(people.scan())
  const byCountry = yield* Stream.runCollect(people.scan({ partition: "byCountry", values: { country: "BR" } }))
  const findings = yield* Stream.runCollect((yield* people.admin).repair({ dryRun: true }))
  return {
    all: all.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    byCountry: byCountry.map(({ id }) => id).toSorted(),
    findings: findings.length
  }
})

const rewound = (options: Backup.RewindOptions) =>
  Effect.map(Stream.runCollect(Backup.rewind(options)), (all) =>
    Object.fromEntries(
      all.map(({ id, outcome, reason }) => [id, reason === undefined ? outcome : `${outcome} ${reason._tag}`])
    )
  )

describe("rewind", () => {
  it.effect("brings back what was changed and deleted, deletes what is new, and hands unique values back", () =>
    Effect.gen(function* () {
      const people = yield* People
      const database = yield* Database.Database
      for (const id of ["ana", "bo", "c/d", "😀", "gone", "x", "y", "z", "same"]) yield* people.insert(person(id))
      yield* TestClock.adjust("1 minute")
      yield* people.replace(person("ana", "ana@example.org", "PT"))
      const time = yield* DateTime.now
      const before = yield* everyone
      yield* TestClock.adjust("1 hour")
      yield* people.replace(person("ana", "other@example.org"))
      yield* people.delete("gone")
      yield* people.insert(person("new", "gone@example.org"))
      yield* people.delete("c/d")
      yield* people.insert(person("c/d", "again@example.org", "DE"))
      // Three in a circle hold what another one had.
      yield* database.transaction(
        Effect.forEach(
          [person("x", "y@example.org"), person("y", "z@example.org"), person("z", "x@example.org")],
          (one) => people.replace(one)
        )
      )
      yield* people.replace(person("bo", "ana@example.org"))
      const changed = yield* everyone
      const dry = yield* rewound({ resources: ["people"], time, dryRun: true })
      assert.deepStrictEqual(yield* everyone, changed)
      yield* TestClock.adjust("1 hour")
      const done = yield* rewound({ resources: ["people"], time })
      assert.deepStrictEqual(done, dry)
      assert.deepStrictEqual(done, {
        ana: "Restored",
        bo: "Restored",
        "c/d": "Restored",
        gone: "Restored",
        new: "Deleted",
        same: "Unchanged",
        x: "Restored",
        y: "Restored",
        z: "Restored",
        "😀": "Unchanged"
      })
      assert.deepStrictEqual(yield* everyone, before)
      assert.strictEqual(before.findings, 0)
      // It can be taken back.
      yield* TestClock.adjust("1 hour")
      const later = DateTime.add(time, { minutes: 90 })
      yield* rewound({ resources: ["people"], time: later })
      assert.deepStrictEqual((yield* everyone).all, changed.all)
    }).pipe(Effect.provide(Live))
  )

  it.effect("tells what cannot be done, and leaves it; without a history it refuses, and so does an unknown name", () =>
    Effect.gen(function* () {
      const people = yield* People
      yield* (yield* Plain).insert({ id: "p" })
      const time = yield* DateTime.now
      yield* TestClock.adjust("1 hour")
      yield* people.insert(person("new"))
      yield* (yield* Plain).replace({ id: "p" })
      yield* people.intercept({
        operations: "delete",
        before: () =>
          Effect.fail(
            new Pipeline.Rejected({
              resource: "people",
              operation: "delete",
              interceptor: "keeps",
              reason: "it is kept"
            })
          )
      })
      assert.deepStrictEqual(yield* rewound({ resources: ["people"], time }), { new: "Failed Rejected" })
      assert.strictEqual((yield* everyone).all.length, 1)
      const refused = yield* Effect.flip(rewound({ resources: ["plain"], time }))
      assert.strictEqual(refused._tag, "NotAllowed")
      const unknown = yield* Effect.flip(rewound({ resources: ["none"], time }))
      assert.strictEqual(unknown._tag, "DbError")
    }).pipe(Effect.provide(Live), Effect.scoped)
  )
})
