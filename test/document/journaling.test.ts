import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Document from "effect-s3db/Document"
import { fullCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as journaling from "../../src/document/journaling.ts"
import { keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

const schema = Schema.Struct({ id: Schema.String, value: Schema.String })
const notesOn = (store: Store) =>
  Effect.flatMap(openOn(store), ({ database, open }) =>
    Effect.map(open("notes", { schema, primaryKey: "id", journal: true }), (notes) => ({ database, notes }))
  )

/** Dies before it writes into the documents what its transaction has announced in them, and committed. */
const dyingBeforeApply = (store: Store): Store => {
  let isDecided = false
  return {
    ...store,
    put: (request) =>
      Effect.suspend(() => {
        if (isDecided) return Effect.die("crashed")
        const isRecord = request.key.includes("transaction") && request.ifMatch !== undefined
        return Effect.tap(store.put(request), () => Effect.sync(() => (isDecided = isRecord)))
      }),
    delete: (key, options) => (isDecided ? Effect.die("crashed") : store.delete(key, options))
  }
}

const identityAt = (store: Store, id: string) =>
  Effect.map(store.get(`resource=notes/data/id=${id}`), (object) => {
    const slot = Result.getOrThrow(Document.fromObject(object))
    return Document.identityOf(slot.stored ?? slot)
  })

describe("the head of a document, for a journal", () => {
  const read = (store: Store, id: string) => journaling.make(store, fullCapabilities).head("notes", id)

  it.effect("nothing, a version, a tombstone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { notes } = yield* notesOn(store)
      assert.deepStrictEqual(yield* read(store, "a"), { identity: undefined, ancestors: [] })
      yield* notes.insert({ id: "a", value: "1" })
      const first = yield* identityAt(store, "a")
      assert.deepStrictEqual(yield* read(store, "a"), { identity: first, ancestors: [] })
      yield* notes.delete("a")
      const gone = yield* identityAt(store, "a")
      assert.notStrictEqual(gone, first)
      assert.deepStrictEqual(yield* read(store, "a"), { identity: gone, ancestors: [first] })
    })
  )

  for (const kind of ["creates", "deletes"] as const) {
    it.effect(`a transaction that ${kind} it counts from its commit on`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { notes } = yield* notesOn(store)
        if (kind === "deletes") yield* notes.insert({ id: "a", value: "1" })
        const dying = yield* notesOn(dyingBeforeApply(store))
        const creation = Effect.asVoid(dying.notes.insert({ id: "a", value: "t" }))
        const change: Effect.Effect<void, unknown> = kind === "creates" ? creation : dying.notes.delete("a")
        const both = Effect.andThen(change, dying.notes.insert({ id: "b", value: "t" }))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(dying.database.transaction(both))))
        const before = yield* read(store, "a")
        // Whoever meets it brings it to its end.
        yield* notes.upsert({ id: "b", value: "2" })
        yield* Stream.runDrain((yield* notesOn(store)).database.repairTransactions({ dryRun: false }))
        const after = yield* read(store, "a")
        assert.strictEqual(before.identity, after.identity)
        assert.isDefined(after.identity)
      })
    )
  }

  it.effect("what has replaced an intent while its record is asked for is what counts", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { notes } = yield* notesOn(store)
      const dying = yield* notesOn(dyingBeforeApply(store))
      const both = Effect.andThen(
        dying.notes.insert({ id: "a", value: "t" }),
        dying.notes.insert({ id: "b", value: "t" })
      )
      assert.isTrue(Exit.isFailure(yield* Effect.exit(dying.database.transaction(both))))
      let hasGoneOn = false
      // It is brought to its end, its record goes, and the document with it.
      const goOn = Effect.gen(function* () {
        yield* notes.upsert({ id: "b", value: "2" })
        yield* notes.upsert({ id: "a", value: "2" })
        yield* notes.delete("a")
        const records = (yield* keysOf(store)).filter((key) => key.includes("transaction"))
        assert.lengthOf(records, 1)
        yield* store.delete(records[0]!)
      }).pipe(Effect.orDie, Effect.scoped)
      const meanwhile: Store = {
        ...store,
        get: (key, options) =>
          Effect.tap(store.get(key, options), () => {
            if (hasGoneOn || !key.includes("/data/")) return Effect.void
            hasGoneOn = true
            return goOn
          })
      }
      const head = yield* read(meanwhile, "a")
      assert.isTrue(hasGoneOn)
      assert.strictEqual(head.identity, yield* identityAt(store, "a"))
    })
  )
})
