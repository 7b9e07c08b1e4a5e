/** Replicas of a program that crashes at every request, and of one that is killed with its lease. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import { crashing, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"
import { assertSame, diesInSnapshot, memoryTarget, open, Plain, Silent, sourceOf } from "./replicas.ts"

const passing = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.andThen(settled, TestClock.adjust("1 second")), {
    discard: true
  })

describe("Replicator, at every request", () => {
  for (const [name, resource, of] of [
    ["a journal without images", Plain, "plain"],
    ["listings", Silent, "silent"]
  ] as const) {
    it.effect(`by ${name}: loses nothing whenever its process crashes`, () =>
      Effect.gen(function* () {
        let crashed = 0
        for (let at = 1; at < 60; at++) {
          const store = yield* memory
          const { documents, target } = memoryTarget()
          const before = yield* openOn(store)
          const source = yield* Effect.provideService(Resource.make(resource.definition), Database, before.database)
          yield* source.insertMany([
            { id: "a", n: 1 },
            { id: "b", n: 1 },
            { id: "c", n: 1 }
          ])
          yield* before.database.journal.catchUp(before.database.journaled)
          const crash = crashing(store, at, "before")
          const scope = yield* Scope.make()
          const options = { resources: [Replicator.resource(resource)] }
          yield* Effect.exit(
            Effect.gen(function* () {
              yield* open(crash.store, target, options)
              yield* passing(2)
              yield* source.update("a", { n: 2 })
              yield* source.delete("b")
              yield* before.database.journal.catchUp(before.database.journaled, { lease: "1 second" })
              yield* passing(3)
            }).pipe(Scope.provide(scope))
          )
          const isOver = crash.requests() < at
          crashed += isOver ? 0 : 1
          yield* Scope.close(scope, Exit.void)
          const second = yield* Scope.make()
          yield* Effect.gen(function* () {
            const { settle } = yield* open(store, target, options)
            yield* passing(4)
            yield* settle
          }).pipe(Scope.provide(second))
          yield* Scope.close(second, Exit.void)
          assertSame(documents(of), yield* sourceOf(source))
          if (isOver) break
        }
        assert.isAbove(crashed, 10)
      }).pipe(Effect.scoped)
    )
  }

  it.effect.each(["before", "after"] as const)(
    "goes on in the midst of a snapshot, whenever its process dies: %s",
    (when) =>
      Effect.gen(function* () {
        let resumed = 0
        for (let at = 1; at < 150; at++) {
          const { first, isOver, second } = yield* diesInSnapshot(at, when)
          if (first.length > 2 && second.length > 0) resumed += 1
          assert.isAtMost(
            first.filter((id) => second.includes(id)).length,
            2,
            `${at}: ${first.join()} ${second.join()}`
          )
          if (isOver) break
        }
        assert.isAbove(resumed, 1)
      })
  )
})
