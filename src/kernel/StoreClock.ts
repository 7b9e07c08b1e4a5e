/**
 * Time where several processes have to agree on it: that of the store, and how long something has taken.
 *
 * No clock decides what is true: a compare-and-set does. Clocks decide when somebody may try.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Id from "../crypto/Id.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"

/**
 * Reads the time by the store's clock, in milliseconds. S3 tells whole seconds. 1 PUT, 1 HEAD and 1 DELETE of a scratch
 * object.
 *
 * @category constructors
 * @since 0.1.0
 */
export const now = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const key = `s3db-clock/${yield* Id.writeId}`
  yield* store.put({ key, repeatable: true })
  const { lastModified } = yield* store.head(key)
  yield* store.delete(key, { repeatable: true })
  return lastModified
})

/**
 * Measures how many milliseconds have passed since it was started, by whichever clock says more: a suspended machine stops
 * one of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stopwatch: Effect.Effect<Effect.Effect<number>> = Effect.gen(function* () {
  const read = Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos])
  const [wall, steady] = yield* read
  return Effect.map(read, ([wallNow, steadyNow]) => Math.max(wallNow - wall, Number(steadyNow - steady) / 1e6))
})
