/** An id that can be inserted can be changed, restored, indexed and deleted. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import { keysOf, memory, openOn } from "./fixture.ts"

const Note = Schema.Struct({ id: Schema.String, team: Schema.String, text: Schema.String })

const features = {
  neither: {},
  history: { history: true },
  content: { content: true },
  both: { history: true, content: true }
} as const

describe("the longest id", () => {
  for (const [name, options] of Object.entries(features)) {
    for (const prefix of ["", "some/where/else"]) {
      it.effect(
        `with ${name}${prefix === "" ? "" : ", below a prefix"}: every operation takes it, and one byte more is refused`,
        () =>
          Effect.gen(function* () {
            const inner = yield* memory
            const store = PrefixedStore.make(inner, prefix)
            const { database, open } = yield* openOn(store)
            const notes = yield* open("notes", {
              schema: Note,
              primaryKey: "id",
              counters: true,
              unique: { text: ["text"] },
              partitions: { byTeam: { fields: ["team"], covering: ["text"] } },
              ...options
            })
            const note = (length: number, team?: string) => ({
              id: "é".repeat(9) + "x".repeat(length),
              team: team ?? "",
              text: `${length}`
            })
            // A document without the partition's field would do, too; its marker has values beside the id.
            const plain = yield* open("plain", { schema: Note, primaryKey: "id", ...options })
            let longest = 0
            for (let length = 780; length < 1024; length++) {
              const result = yield* Effect.result(plain.insert(note(length)))
              if (result._tag === "Success") longest = length
              else {
                assert.strictEqual(result.failure._tag, "InvalidInput")
                assert.include(result.failure.message, `${longest + 54}`)
                assert.include(result.failure.message, `${length + 54}`)
                break
              }
            }
            assert.isAbove(longest, 780)
            const { id } = note(longest)
            yield* plain.update(id, { text: "changed" })
            yield* plain.patch(id, { text: "again" })
            yield* plain.replace({ ...note(longest), text: "replaced" })
            yield* plain.upsert({ ...note(longest), text: "upserted" })
            yield* database.transaction(plain.update(id, { text: "in a transaction" }))
            if ("content" in options) yield* plain.setContent(id, new Uint8Array(10))
            if ("history" in options) {
              assert.isAbove((yield* Stream.runCollect(plain.history(id))).length, 4)
              yield* plain.restore(id, { version: 1 })
            }
            yield* plain.delete(id)
            yield* database.transaction(plain.insert(note(longest)))
            assert.deepInclude(yield* plain.deleteMany([id]), { failed: [] })
            const tooLong = note(longest + 1)
            const writes: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
              plain.insert(tooLong),
              plain.upsert(tooLong),
              plain.replace(tooLong),
              database.transaction(plain.insert(tooLong))
            ]
            for (const write of writes) {
              const before = yield* keysOf(inner)
              const refused = yield* Effect.flip(write)
              assert.strictEqual(refused._tag, "InvalidInput", String(refused))
              assert.deepStrictEqual(yield* keysOf(inner), before)
            }
            // With markers whatever can be inserted can go on, too; what does not fit is told with its partition.
            for (let length = 860; length < 1000; length += 1) {
              const inserted = yield* Effect.result(notes.insert(note(length, "a team of its own")))
              if (inserted._tag === "Failure") {
                assert.strictEqual(inserted.failure._tag, "InvalidInput", `${length} ${inserted.failure.message}`)
                continue
              }
              yield* notes.update(inserted.success.id, { text: `${length}!` })
              yield* notes.delete(inserted.success.id)
            }
          })
      )
    }
  }
})
