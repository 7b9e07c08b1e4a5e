/** Clients of a resource with a journal that crash: on whichever store that is. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Definition from "effect-s3db/Definition"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, drive, moments, openOn } from "./fixture.ts"
import { chainOf } from "./journalChains.ts"

export const Note = Schema.Struct({
  id: Schema.String,
  text: Schema.String,
  mail: Schema.optionalKey(Schema.String)
})
export const plain = { schema: Note, primaryKey: "id" } as const satisfies Resource.Options<typeof Note>
export const options = { ...plain, journal: true } as const satisfies Resource.Options<typeof Note>
export const rich = {
  ...options,
  partitions: { byText: ["text"] },
  unique: { mail: ["mail"] },
  history: true,
  content: true
} as const satisfies Resource.Options<typeof Note>
export type Notes = Resource.Repository<typeof Note>

/** The kinds of the entries of a document that count, none of which may be missing. */
export const kindsOf = Effect.fnUntraced(function* (database: Database.Database["Service"], id: string) {
  const { kinds, problems } = yield* chainOf(database, "notes", id)
  assert.deepStrictEqual(problems, [])
  return kinds
})

export const operations: Readonly<
  Record<string, (notes: Notes, database: Database.Database["Service"]) => Effect.Effect<unknown, unknown>>
> = {
  insert: (notes) => notes.insert({ id: "new", text: "a", mail: "new@x" }),
  "insert over what a deletion has left": (notes) => notes.insert({ id: "gone", text: "a" }),
  "update that moves": (notes) => notes.update("old", { text: "b", mail: "moved@x" }),
  "update that stays": (notes) => notes.update("old", (now) => ({ text: now.text })),
  replace: (notes) => notes.replace({ id: "old", text: "c" }),
  upsert: (notes) => notes.upsert({ id: "gone", text: "d", mail: "up@x" }),
  content: (notes) => notes.setContent("old", new Uint8Array([1])),
  delete: (notes) => notes.delete("old"),
  deleteMany: (notes) => notes.deleteMany(["old", "other"]),
  "a transaction": (notes, { transaction }) =>
    transaction(
      Effect.gen(function* () {
        yield* notes.delete("old")
        yield* notes.update("other", { text: "tx" })
        yield* notes.insert({ id: "gone", text: "tx" })
      })
    )
}

/** Registers the tests. */
export const journalCrashes = (extent: {
  readonly operations: ReadonlyArray<string>
  readonly places: Readonly<Record<string, Effect.Effect<ObjectStore["Service"], unknown, Scope.Scope>>>
}): void => {
  describe("crashes", () => {
    for (const [where, empty] of Object.entries(extent.places)) {
      for (const name of extent.operations) {
        const operation = operations[name]!
        it.effect(`at any request of ${name}${where}: what is committed has its entry`, () =>
          Effect.gen(function* () {
            for (let at = 1, finished = false; !finished; at++) {
              for (const when of moments) {
                const label = `${name}, ${when} request ${at}`
                const store = yield* empty
                const { database, open } = yield* openOn(store)
                const setup = yield* open("notes", rich)
                yield* setup.insert({ id: "old", text: "a", mail: "old@x" })
                yield* setup.insert({ id: "other", text: "a" })
                yield* setup.insert({ id: "gone", text: "a" })
                yield* setup.delete("gone")
                const client = crashing(store, at, when)
                const own = { ...(yield* openOn(store)).database, store: client.store }
                const crashed = yield* Effect.provideService(
                  Resource.make(Definition.from("notes", rich)),
                  Database.Database,
                  own
                )
                const exit = yield* Effect.exit(operation(crashed, own))
                finished = Exit.isSuccess(exit)
                if (Exit.isFailure(exit)) assert.isTrue(Cause.hasDies(exit.cause), label)
                const ids = ["old", "other", "gone", "new"]
                const chains = () => Effect.forEach(ids, (id) => kindsOf(database, id))
                const before = yield* chains()
                yield* TestClock.adjust("20 minutes")
                yield* drive(yield* Effect.forkChild(Stream.runDrain(database.repairTransactions({ dryRun: false }))))
                const { repair } = yield* setup.admin
                yield* Stream.runDrain(repair({ dryRun: false, sweepDeletions: true }))
                assert.deepStrictEqual(yield* Stream.runCollect(repair()), [], label)
                // A transaction that is committed is so before its documents are.
                assert.deepStrictEqual(yield* chains(), before, label)
                yield* drive(yield* Effect.forkChild(Effect.exit(operation(setup, database))))
                yield* chains()
              }
            }
          })
        )
      }
    }
  })
}
