/**
 * A program that builds partitions while others are at work: in parts, stopped and crashing, and taking one back now and then.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { chance, pick } from "./draw.ts"
import { builtLater, newest } from "./versions.ts"

type Store = ObjectStore["Service"]

const openOn = Effect.fnUntraced(function* (store: Store) {
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const people = yield* Effect.provideService(Resource.make(newest), Database.Database, database)
  return { database, people }
})

/** Longer than what is under way of writers that may not know yet: what of them lands later is nobody's promise. */
const patience = "1 minute"

/** Lives one life after the other, each on a store of its own. */
export const indexing = (storeOf: (life: number) => Effect.Effect<Store>) =>
  Effect.gen(function* () {
    for (let life = 0; ; life++) {
      const store = yield* storeOf(life)
      yield* Effect.gen(function* () {
        const { people } = yield* openOn(store)
        const { backfill, removePartition } = yield* people.admin
        yield* Effect.sleep(patience)
        for (let part = 0; part < 4; part++) {
          const some = Stream.take(backfill({ concurrency: 1 }), yield* Random.nextIntBetween(1, 4))
          yield* Stream.runDrain(some).pipe(Effect.catch(() => Effect.void))
          yield* Effect.sleep(yield* Random.nextIntBetween(1, 5000))
        }
        if (yield* chance(0.3)) yield* removePartition(yield* pick([...builtLater]))
      }).pipe(
        Effect.catch(() => Effect.void),
        FaultyStore.untilCrash
      )
      yield* Effect.sleep(yield* Random.nextIntBetween(1, 20_000))
    }
  })

/** Whether those that are called complete are, and become so when the building comes to its end. */
export const lookAtBuilt = Effect.fnUntraced(function* (store: Store, violation: (text: string) => void) {
  const look = Effect.fnUntraced(function* (label: string) {
    const { database, people } = yield* openOn(store)
    const { partitions = {} } = yield* database.indexes("people")
    const all = yield* Stream.runCollect(people.scan())
    const owning = {
      byBadge: all.filter(({ badge }) => badge !== undefined),
      byValue: all.filter(({ team }) => team !== undefined)
    }
    for (const partition of builtLater) {
      if (partitions[partition]?.state !== "ready") continue
      const found = (yield* Stream.runCollect(people.scan({ partition }))).map(({ id }) => id).toSorted()
      const real = owning[partition].map(({ id }) => id).toSorted()
      if (found.join() !== real.join())
        violation(`${label}: ${partition} has ${found.join()} instead of ${real.join()}`)
    }
    return builtLater.every((partition) => partitions[partition]?.state === "ready")
  })
  yield* look("as it was left")
  const { people } = yield* openOn(store)
  yield* Stream.runDrain((yield* people.admin).backfill()).pipe(
    Effect.catch((error) => Effect.sync(() => violation(`the backfill does not come to its end: ${error.message}`)))
  )
  if (!(yield* look("when it is built"))) violation("a partition is not complete after a backfill")
})
