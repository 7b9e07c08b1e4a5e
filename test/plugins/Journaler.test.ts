import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Journaler from "effect-s3db/plugins/Journaler"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { drive, keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

const options = {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id" as const,
  journal: { images: "after" as const }
}

/** A program that writes; `keep` lets it keep the journal as well, as long as the scope is open. */
const program = Effect.fnUntraced(function* (store: Store) {
  const { database, open } = yield* openOn(store)
  const notes = yield* open("notes", options)
  const within = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Database, database)
  return {
    notes,
    database,
    within,
    keep: Effect.asVoid(within(Layer.build(Journaler.layerWith({ longestPause: "10 seconds" }))))
  }
})

type Program = Effect.Success<ReturnType<typeof program>>

const journaled = ({ database }: Program, position: number) =>
  Effect.flatMap(Effect.forkChild(database.journal.waitUntil(position, { longestPause: "1 second" })), drive)

const ids = ({ database }: Program) =>
  Stream.runCollect(Stream.map(database.journal.read({ from: 0 }), ({ value: { id } }) => id))

/** Its status comes to be one that fits. */
const comes = ({ within }: Program, level: string) =>
  Effect.gen(function* () {
    for (;;) {
      const [status] = yield* within(Plugin.statuses)
      if (status?.health.level === level) return status
      yield* Effect.sleep("1 second")
    }
  }).pipe(Effect.forkChild, Effect.flatMap(drive))

describe("Journaler", () => {
  it.effect("keeps the journal as long as the layer lives", () =>
    Effect.gen(function* () {
      const one = yield* program(yield* memory)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* one.keep
          yield* one.notes.insert({ id: "1", text: "a" })
          yield* one.notes.delete("1")
          yield* journaled(one, 2)
          const [status] = yield* one.within(Plugin.statuses)
          assert.deepInclude(status, { plugin: "journaler", state: "running", health: { level: "up" } })
        })
      )
      assert.deepStrictEqual(yield* one.within(Plugin.statuses), [])
      yield* one.notes.insert({ id: "2", text: "b" })
      yield* drive(yield* Effect.forkChild(Effect.sleep("10 minutes")))
      assert.deepStrictEqual(yield* ids(one), ["1", "1"])
    })
  )

  it.effect("in several programs, one goes on when another is gone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* program(store)
      const other = yield* program(store)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* one.keep
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* other.keep
              yield* other.notes.insert({ id: "1", text: "a" })
              yield* journaled(other, 1)
            })
          )
          yield* other.notes.insert({ id: "2", text: "b" })
          yield* journaled(one, 2)
        })
      )
      assert.deepStrictEqual(yield* ids(one), ["1", "2"])
    })
  )

  it.effect("says what it cannot get over, and goes on once that is mended", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const gone = yield* program(store)
      yield* gone.notes.insert({ id: "1", text: "a" })
      const key = (yield* keysOf(store)).find((key) => key.startsWith("journal/pending/"))!
      const entry = yield* store.get(key)
      yield* store.put({ key, body: new TextEncoder().encode("{") })
      const one = yield* program(store)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* one.keep
          const { counters, health } = yield* comes(one, "down")
          assert.include(health.detail, key)
          assert.isAbove(counters["failed"]!, 0)
          yield* drive(yield* Effect.forkChild(Effect.sleep("1 minute")))
          assert.strictEqual((yield* one.within(Plugin.statuses))[0]!.health.level, "down", "it stays so")
          yield* store.put({ key, body: entry.body })
          yield* journaled(one, 1)
          yield* comes(one, "up")
        })
      )
      assert.deepStrictEqual(yield* ids(one), ["1"])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )
})
