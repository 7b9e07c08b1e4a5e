/** Backups that are told by a journal what has changed: they are what listings make, and cost less. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import * as Database from "effect-s3db/Database"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory } from "../fixture.ts"
import {
  begun,
  contents,
  counted,
  keepJournal,
  killedClients,
  opened,
  randomBackups,
  settle
} from "./journaledBackups.ts"

describe("a backup by the journal", () => {
  it.effect("is what a listing makes, object by object, whatever was changed", () => randomBackups(1))

  it.effect("costs what has changed: no listing of what the journal tells of", () =>
    Effect.gen(function* () {
      const [source, vault, target] = [yield* memory, yield* memory, yield* memory]
      const program = yield* opened(source)
      yield* program.items.insert({ id: "d", group: "g", code: "d" })
      yield* keepJournal(program)
      // What a document is like, so that many of them cost a test nothing.
      const { body, metadata } = yield* source.get("resource=items/data/id=d")
      for (let at = 0; at < 1500; at += 1) {
        yield* source.put({ key: `resource=items/data/id=x${at}`, body, metadata })
      }
      yield* TestClock.adjust("1 hour")
      const [from, to] = [counted(source), counted(vault)]
      const backups = yield* Backup.make({ source: from.store, vault: to.store })
      yield* backups.create()
      for (let at = 0; at < 60; at += 1) {
        yield* program.items.insert({ id: `a${at}`, group: `g${at % 3}`, code: `${at}` })
      }
      yield* program.items.delete("d")
      yield* keepJournal(program)
      yield* TestClock.adjust("1 hour")
      from.take()
      to.take()
      const made = yield* backups.create()
      assert.deepInclude(made, { isByJournal: true, isInstant: true })
      const [asked, kept] = [from.take(), to.take()]
      // Two looks: the entries that wait, and what is beside 4 runs of keys of each of 2 resources. However many documents there are.
      assert.strictEqual(asked["list"], 2 * (1 + 9))
      // A document, its marker and its reservation; the catalog and the journal.
      assert.isAtMost(asked["get"]!, 61 * 3 + 20)
      assert.isAtMost(kept["get"]!, 12)
      assert.isAtMost(kept["put"]!, 10)
      yield* backups.restore(made.id, { target })
      assert.deepStrictEqual(yield* contents(target), yield* contents(source))

      // Where nothing has changed, it is told by a few requests.
      yield* TestClock.adjust("1 hour")
      yield* backups.create()
      from.take()
      yield* TestClock.adjust("1 hour")
      assert.deepInclude(yield* backups.create(), { isByJournal: true, isInstant: true, read: 0 })
      assert.deepStrictEqual(from.take(), { get: 5, head: 1, list: 10 })
    })
  )

  it.effect("looks at everything where the journal does not tell: trimmed, of another, or of another definition", () =>
    Effect.gen(function* () {
      const { changes, compare, program, source, told } = yield* begun(7)
      const next = Effect.fnUntraced(function* (isByJournal: boolean, message: string) {
        yield* TestClock.adjust("1 hour")
        const made = yield* told.create()
        assert.strictEqual(made.isByJournal, isByJournal, message)
        if (!isByJournal) yield* compare(made, message)
        return made
      })
      yield* keepJournal(program)
      const first = yield* next(true, "first")
      yield* changes(10)
      yield* keepJournal(program)
      yield* program.database.journal.retain({ entries: 0 })
      yield* next(false, "trimmed")
      yield* next(true, "after it was trimmed")

      // A restoration beside what is there is in no journal.
      yield* changes(10)
      yield* keepJournal(program)
      yield* next(true, "before a restoration")
      yield* told.restore(first.id, { mode: "merge" })
      yield* next(false, "restored")
      yield* next(true, "after it was restored")

      // Back to an earlier one, whose journal goes on otherwise.
      yield* changes(20)
      yield* keepJournal(program)
      yield* next(true, "before it goes back")
      yield* told.restore(first.id, { mode: "replace" })
      const again = yield* opened(source)
      for (let at = 0; at < 40; at += 1) yield* again.items.upsert({ id: `x${at}`, group: "g", code: `x${at}` })
      yield* keepJournal(again)
      yield* next(false, "another journal")

      // A definition that has changed.
      const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, source)
      const other = Resource.fromAttributes(
        "items",
        { group: "string", code: "string", note: "string|optional", more: "number|optional" },
        { partitions: { byGroup: ["group"], byMore: ["more"] }, unique: { code: ["code"] }, journal: true }
      )
      yield* settle(Effect.provideService(Resource.make(other), Database.Database, database))
      const made = yield* next(true, "another definition, of one of two")
      yield* compare(made, "another definition")
    })
  )

  it.effect("has every document that a client has left, killed at some request", () =>
    Effect.forEach([6, 17], (at) => killedClients(at, "after"), { discard: true })
  )
})
