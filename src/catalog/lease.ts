/**
 * How long a program goes by what it knows of the catalog, and how long another one waits until all know what it has
 * declared.
 *
 * **Details**
 *
 * A program whose knowledge is older than the lease looks at the catalog before it goes on. So what was declared longer ago
 * than the lease is known to everybody who writes; `docs/design/partitions.md` has the proof.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Catalog from "../Catalog.ts"
import { upkeepOf } from "../Catalog.ts"
import type { Failure } from "../DbError.ts"
import * as backoff from "../internal/backoff.ts"
import type { CatalogCell } from "./cell.ts"

/**
 * The lease unless a program says otherwise: 5 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMillis = 5000

/** How much longer than a lease is waited, since the clocks of two machines do not go equally fast. */
const margin = 1.1

/**
 * What a program knows of the catalog, and since when.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  /** Looks at the catalog if the lease is over. No request within it; else 1 HEAD for all that ask, and 1 GET if it has changed. */
  readonly fresh: Effect.Effect<void, Failure>
  /** Whether it is, by the clock of the fiber that runs. No request. */
  readonly isFresh: () => boolean
  /** Waits until every program knows what is to be kept up of a resource. No request. */
  readonly known: (resource: string) => Effect.Effect<void>
}

/**
 * Measures time by whichever clock says less: for those who have to wait for others.
 *
 * @category constructors
 * @since 0.1.0
 */
const waited: Effect.Effect<Effect.Effect<number>> = Effect.gen(function* () {
  const read = Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos])
  const [wall, steady] = yield* read
  return Effect.map(read, ([wallNow, steadyNow]) => Math.min(wallNow - wall, Number(steadyNow - steady) / 1e6))
})

/**
 * When it was seen what is to be kept up of each resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sightings {
  readonly onSeen: (before: Catalog.Catalog, after: Catalog.Catalog) => Effect.Effect<void>
  /** Milliseconds since it was seen that this is to be kept up, by whichever clock says less. */
  readonly since: (resource: string) => Effect.Effect<number>
}

/**
 * Begins to note when what is to be kept up is seen: everything now, and what changes when it is read or written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const watch: Effect.Effect<Sightings> = Effect.gen(function* () {
  const opened = yield* waited
  const changed = new Map<string, Effect.Effect<number>>()
  return {
    onSeen: Effect.fnUntraced(function* (before, after) {
      const since = yield* waited
      for (const name of Object.keys(after.resources)) {
        if (upkeepOf(before, name)?.text !== upkeepOf(after, name)?.text) changed.set(name, since)
      }
    }),
    since: (resource) => Effect.suspend(() => changed.get(resource) ?? opened)
  }
})

/**
 * Makes the lease of an open catalog. 0 milliseconds: nobody declares anything while others are open; nothing is looked
 * at, nor waited for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (cell: CatalogCell, { since }: Sightings, millis: number): Lease => {
  let flight: Deferred.Deferred<void, Failure> | undefined

  const look = Effect.suspend(() => {
    const landed = Deferred.makeUnsafe<void, Failure>()
    flight = landed
    return Effect.onExit(cell.renew, (exit) => {
      flight = undefined
      return Deferred.done(landed, exit)
    })
  })

  const renewed = Effect.gen(function* () {
    // The first look that is under way may have begun too long ago; the next has not.
    for (let joined = 0; joined < 2 && cell.age() > millis;) {
      if (flight === undefined) return yield* look
      const exit = yield* Effect.exit(Deferred.await(flight))
      // Whoever looked was interrupted: somebody else has to.
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) continue
      yield* exit
      joined += 1
    }
  })

  const isFresh = () => millis === 0 || cell.age() <= millis

  return {
    isFresh,
    fresh: Effect.suspend(() => (isFresh() ? Effect.void : renewed)),
    known: Effect.fnUntraced(function* (resource) {
      if (millis === 0) return
      // As others may go by a longer one.
      const longest = Math.max(millis, cell.now().lease ?? defaultMillis)
      const left = longest * margin - (yield* since(resource))
      if (left > 0) yield* backoff.pause(left)
    })
  }
}
