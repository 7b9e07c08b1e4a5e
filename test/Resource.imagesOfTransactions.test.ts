/** What the journal shows of a document before a write is what it has shown after the write before, whatever transactions did between. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Document from "effect-s3db/Document"
import type { Database } from "effect-s3db/Database"
import * as Journal from "effect-s3db/kernel/Journal"
import { crashing, drive, memory, openOn } from "./fixture.ts"

const definition = {
  schema: Schema.Struct({ id: Schema.String, name: Schema.String, group: Schema.String }),
  primaryKey: "id",
  partitions: { byGroup: ["group"] },
  unique: { name: ["name"] },
  journal: { images: "both" }
} as const

const decodeImage = Schema.decodeUnknownSync(Schema.Struct({ body: Schema.Record(Schema.String, Schema.Json) }))
const bodyOf = (image: unknown) => decodeImage(image).body

const recordsOf = Effect.fnUntraced(function* ({ journal, journaled }: Database["Service"]) {
  yield* drive(yield* Effect.forkChild(journal.catchUp(journaled, { nobodyWrites: true })))
  return (yield* Stream.runCollect(journal.read({ from: 0 }))).map(({ value }: Journal.Entry) => value)
})

describe("images of the journal", () => {
  it.effect("say nothing of transactions that were aborted, nor of how one was committed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const people = yield* open("people", definition)
      const aborted = (name: string) =>
        Effect.exit(
          database.transaction(Effect.andThen(people.update("1", { name, group: name }), Effect.fail("no" as const)))
        )
      yield* people.insert({ id: "1", name: "a", group: "x" })
      yield* aborted("b")
      yield* people.update("1", { group: "y" })
      yield* database.transaction(people.update("1", { name: "c" }))
      yield* aborted("d")
      yield* aborted("e")
      yield* database.transaction(people.update("1", { name: "f", group: "z" }))
      yield* people.update("1", { name: "g" })
      yield* aborted("h")
      yield* database.transaction(people.delete("1"))
      yield* aborted("i")
      yield* people.insert({ id: "1", name: "j", group: "x" })
      yield* aborted("k")
      yield* people.delete("1")

      const records = yield* recordsOf(database)
      assert.deepStrictEqual(
        records.map(({ kind }) => kind),
        ["insert", "update", "update", "update", "update", "delete", "insert", "delete"]
      )
      for (const [i, { before, kind, previous }] of records.entries()) {
        if (kind === "insert") continue
        const last = records[i - 1]!
        assert.strictEqual(previous, last.writeId)
        assert.deepStrictEqual(before, last.after, `before ${kind} ${i}`)
      }
      for (const { after, before, previous, writeId } of records) {
        for (const [image, version] of [
          [before, previous],
          [after, writeId]
        ] as const) {
          if (image === undefined) continue
          const body = bodyOf(image)
          assert.strictEqual(body["w"], version)
          // Neither what it was built upon, nor the objects that find it.
          assert.deepStrictEqual(
            Object.keys(body).filter((name) => !"wtcnbfex".includes(name)),
            []
          )
        }
      }
      const [, update] = records
      assert.strictEqual((yield* people.fromImage(update!, "before")).group, "x")
      assert.strictEqual((yield* people.documentOf(yield* people.fromImage(update!, "after"))).version, 2)
    })
  )

  it.effect("say nothing of a transaction that died at any request, and was aborted by who came next", () =>
    Effect.gen(function* () {
      let putBack = 0
      for (let at = 1, isDone = false; !isDone; at++) {
        const store = yield* memory
        const { database, open } = yield* openOn(store)
        const people = yield* open("people", definition)
        yield* people.insert({ id: "1", name: "a", group: "x" })
        yield* people.insert({ id: "2", name: "b", group: "x" })
        const dying = crashing(store, at, "after")
        isDone = yield* Effect.gen(function* () {
          const gone = yield* openOn(dying.store)
          const theirs = yield* gone.open("people", definition)
          yield* gone.database.transaction(
            Effect.andThen(theirs.update("1", { name: "c", group: "y" }), theirs.update("2", { name: "d" }))
          )
        }).pipe(Effect.exit, Effect.map(Exit.isSuccess))
        // After its patience.
        yield* drive(yield* Effect.forkChild(people.update("1", { group: "z" })))
        yield* drive(yield* Effect.forkChild(people.delete("1")))
        const key = yield* Effect.fromResult(Document.key("people", "2"))
        if ((yield* store.get(key)).metadata["s-"]?.endsWith("!") === true) {
          yield* drive(yield* Effect.forkChild(people.update("2", { group: "z" })))
        }
        const records = yield* drive(yield* Effect.forkChild(recordsOf(database)))
        for (const mine of Map.groupBy(records, ({ id }) => id).values()) {
          for (const [i, { after, before, previous, writeId }] of mine.entries()) {
            const last = mine[i - 1]
            assert.deepStrictEqual([before, previous], [last?.after, last?.writeId], `crash at ${at}`)
            if (after !== undefined) assert.strictEqual(bodyOf(after)["w"], writeId)
          }
          if (mine.length === 2) putBack += 1
        }
      }
      assert.isAbove(putBack, 3)
    })
  )
})
