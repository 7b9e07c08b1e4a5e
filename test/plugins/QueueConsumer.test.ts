import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { Database } from "effect-s3db/Database"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import { memory, openOn } from "../fixture.ts"
import { roundTrip, suite, type Subject } from "./messageQueues.ts"

const inMemory = new Map<string, MessageQueue.MemoryQueue>()

const memoryQueues: Subject = {
  open: (name, isShort = false) =>
    Effect.gen(function* () {
      const found =
        inMemory.get(name) ?? (yield* MessageQueue.memory({ name, visibility: isShort ? "1 second" : "1 hour" }))
      inMemory.set(name, found)
      return found
    }),
  remembersIds: true,
  hasVisibility: true,
  refusesLate: true,
  many: 2500
}

suite("memory", memoryQueues)

it.live(
  "changes of a database come through a queue into another, with consumers killed: they are equal at the end",
  () => roundTrip(memoryQueues, 400, Effect.void)
)

const stores = new Map<string, Effect.Success<typeof memory>>()

suite("S3Queue", {
  open: Effect.fnUntraced(function* (name) {
    const store = stores.get(name) ?? (yield* memory)
    stores.set(name, store)
    const { database } = yield* openOn(store)
    return yield* MessageQueue.s3({ name, visibility: "1 second", pollInterval: 10, maxPollInterval: 50 }).pipe(
      Effect.provideService(Database, database),
      Effect.provideService(Scope.Scope, yield* Effect.scope)
    )
  }),
  remembersIds: true,
  // It says by itself that it goes on. What a claim under way has taken as its process closes comes after it.
  hasVisibility: false,
  refusesLate: true,
  many: 300
})
