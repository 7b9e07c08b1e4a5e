/** What the journal and the trail show of documents, read as documents again. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Audit from "effect-s3db/plugins/Audit"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { drive, memory, openOn } from "./fixture.ts"

type Store = ObjectStore["Service"]

const First = Schema.Struct({ id: Schema.String, name: Schema.String, at: Schema.Date, token: Attribute.SecretText })
const Second = Schema.Struct({
  id: Schema.String,
  first: Schema.String,
  last: Schema.String,
  at: Schema.Date,
  token: Attribute.SecretText
})
const split = ({ name, ...rest }: JsonObject): JsonObject => {
  const [first = "", last = ""] = String(name).split(" ")
  return { ...rest, first, last }
}
const journal = { images: "both" } as const
const first = { schema: First, primaryKey: "id", version: 1, journal } as const
const second = { schema: Second, primaryKey: "id", version: 2, migrations: { 1: split }, journal } as const

const ring = (fill: number) =>
  KeyRing.layerKeys({ current: `${fill}`, keys: { [fill]: Redacted.make(new Uint8Array(32).fill(fill)) } })
const person = { id: "1", name: "Ana Braun", at: new Date(5), token: Redacted.make("s3cret") }

/** The records of the journal of a store, once it is in order. */
const recordsOf = Effect.fnUntraced(function* (store: Store) {
  const { database } = yield* openOn(store)
  const { journal, journaled } = database
  yield* drive(yield* Effect.forkChild(journal.catchUp(journaled, { nobodyWrites: true })))
  return (yield* Stream.runCollect(journal.read({ from: 0 }))).map(({ value }) => value)
})

const written = Effect.gen(function* () {
  const store = yield* memory
  const { open } = yield* openOn(store)
  const people = yield* open("people", first)
  yield* people.insert(person)
  yield* people.update("1", { name: "Bo Celik" })
  yield* people.delete("1")
  return { store, people, records: yield* recordsOf(store) }
}).pipe(Effect.provide(ring(3)))

/** What a failure says, without its stack. */
const saidBy = <A>(effect: Effect.Effect<A, { readonly _tag: string; readonly message: string }>) =>
  Effect.map(Effect.flip(effect), (error) => `${error._tag}: ${error.message}`)

describe("images of the journal", () => {
  it.effect("are documents: the values of the schema, secrets redacted, with their envelope", () =>
    Effect.gen(function* () {
      const { people, records } = yield* written
      assert.deepStrictEqual(
        records.map(({ kind }) => kind),
        ["insert", "update", "delete"]
      )
      const [inserted, updated, deleted] = records
      assert.notInclude(JSON.stringify(records), "s3cret")
      const was = yield* people.fromImage(inserted!, "after")
      assert.deepStrictEqual([was.id, was.name, was.at], ["1", "Ana Braun", new Date(5)])
      assert.strictEqual(Redacted.value(was.token), "s3cret")
      assert.strictEqual((yield* people.fromImage(updated!, "before")).name, "Ana Braun")
      assert.strictEqual((yield* people.fromImage(updated!, "after")).name, "Bo Celik")
      assert.strictEqual((yield* people.fromImage(deleted!, "before")).name, "Bo Celik")
      const { version, writtenAt } = yield* people.documentOf(yield* people.fromImage(updated!, "after"))
      assert.deepStrictEqual([version, DateTime.toEpochMillis(writtenAt)], [2, updated!.time])
      // None is there.
      assert.match(yield* saidBy(people.fromImage(inserted!, "before")), /^NotFound: .*no image of document "1" before/)
      assert.match(yield* saidBy(people.fromImage(deleted!, "after")), /^NotFound: .*no image of document "1" after/)
      // It is no version of the store that a change could be on condition of.
      yield* people.insert(person)
      const envelope = yield* people.documentOf(was)
      assert.strictEqual((yield* Effect.flip(people.update(envelope, { name: "x" })))._tag, "Conflict")
    })
  )

  it.effect("are read in the schema version that they were written under, without a request", () =>
    Effect.gen(function* () {
      const { records, store } = yield* written
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { open } = yield* openOn(counted)
      const people = yield* Effect.provide(open("people", second), ring(3))
      yield* counter.reset
      const was = yield* people.fromImage(records[1]!, "after")
      assert.deepStrictEqual([was.first, was.last, Redacted.value(was.token)], ["Bo", "Celik", "s3cret"])
      assert.strictEqual((yield* people.documentOf(was)).schemaVersion, 1)
      assert.isTrue(Object.values(yield* counter.counts).every((n) => n === 0))
      // Without the key, and as another document, nobody reads the secret.
      const { open: openElsewhere } = yield* openOn(store)
      const strangers = yield* Effect.provide(openElsewhere("people", second), ring(4))
      const unreadable = yield* Effect.flip(strangers.fromImage(records[1]!, "after"))
      assert.strictEqual(unreadable._tag === "DbError" ? unreadable.reason._tag : unreadable._tag, "SecretUnreadable")
      const moved = yield* Effect.flip(people.fromImage({ ...records[1]!, id: "2" }, "after"))
      assert.strictEqual(moved._tag === "DbError" ? moved.reason._tag : moved._tag, "SecretUnreadable")
    })
  )

  it.effect("of another resource, or none, are refused", () =>
    Effect.gen(function* () {
      const { people, records } = yield* written
      const told = (record: unknown) => saidBy(people.fromImage(record as (typeof records)[number], "after"))
      const another = yield* told({ ...records[0]!, resource: "orders" })
      assert.match(another, /^InvalidInput: .*resource.*Expected a record of people, not of "orders"/)
      for (const wrong of [null, undefined, "x", {}, { resource: "people" }, { resource: "people", id: 7 }, []]) {
        assert.match(yield* told(wrong), /^InvalidInput: /, JSON.stringify(wrong))
      }
      assert.match(yield* told({ ...records[0]!, id: "" }), /^InvalidInput: .*not empty/)
      for (const after of [{}, { metadata: {}, body: {} }, { metadata: { "s-": "t1" }, body: { w: 1 } }, "x", 5]) {
        assert.match(
          yield* told({ ...records[0]!, after }),
          /^DbError: .*image of document "1" after/,
          JSON.stringify(after)
        )
      }
      const side = people.fromImage(records[0]!, "later" as "after")
      assert.match(yield* saidBy(side), /^InvalidInput: .*"before" or "after"/)
    })
  )

  it.effect("interceptors take part as in get", () =>
    Effect.gen(function* () {
      const { people, records } = yield* written
      const shown = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* people.intercept({
            operations: "get",
            around: (_, next) =>
              Effect.map(next(), (document) => ({ ...document, value: { ...document.value, name: "hidden" } }))
          })
          return (yield* people.fromImage(records[0]!, "after")).name
        })
      )
      assert.strictEqual(shown, "hidden")
    })
  )

  it.effect("in the trail: those that were cut say so, the others are read", () =>
    Effect.gen(function* () {
      const { people, store } = yield* written
      const { database } = yield* openOn(store)
      const trailOf = (options: Audit.Options) =>
        Effect.gen(function* () {
          const audit = yield* Effect.provideService(Audit.make(options), Database, database)
          yield* drive(yield* Effect.forkChild(audit.caughtUp))
          return yield* Stream.runCollect(audit.history("people", "1"))
        })
      const whole = yield* trailOf({})
      assert.strictEqual((yield* people.fromImage(whole[1]!, "before")).name, "Ana Braun")
      assert.strictEqual((yield* people.fromImage(whole[1]!, "after")).name, "Bo Celik")
      const cut = yield* trailOf({ namespace: "small", maxImageBytes: 100 })
      assert.isAbove(cut[0]!.truncated.length, 0)
      assert.match(
        yield* saidBy(people.fromImage(cut[0]!, "after")),
        /^InvalidInput: .*after.*whole image.*maxImageBytes/
      )
      // What was cut of the other side is of no account.
      const other = { ...whole[1]!, truncated: ["before.body"] }
      assert.strictEqual((yield* people.fromImage(other, "after")).name, "Bo Celik")
    }).pipe(Effect.scoped)
  )
})

it("is a member of every repository, whatever it is declared with", () => {
  const member: "fromImage" extends keyof Resource.Repository<typeof First> ? true : false = true
  assert.isTrue(member)
})
