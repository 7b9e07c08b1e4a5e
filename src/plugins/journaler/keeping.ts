/** Whether anybody keeps the journal that a trail is made of, or that actions are run from, as far as the store shows it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { headOption, type ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"

/** Whoever keeps the journal looks at what waits once a minute. */
const waitsMillis = 300_000

/** And asks for a document of which an entry is undecided once an hour at least, by the lease. */
const asksMillis = 7_200_000

const nobody = "entries wait and nobody keeps the journal: give one program the layer of plugins/Journaler"

/**
 * Says so at once where an entry waits and nobody has ever taken the lease of the journal. 1 LIST of 1 key; 1 HEAD more where there is an entry.
 *
 * @category constructors
 * @since 0.1.0
 */
export const everKept = (
  store: ObjectStore["Service"],
  prefix: string
): Effect.Effect<string | undefined, StoreError.StoreError> =>
  Effect.gen(function* () {
    const { entries } = yield* store.list({ prefix: `${prefix}/pending/`, maxKeys: 1 })
    if (entries.length === 0) return undefined
    return Option.isNone(yield* headOption(store, `${prefix}/lease`)) ? nobody : undefined
  })

/**
 * Says what is wrong: the first entry of the pending set waits for more than 5 minutes, and nobody has taken the lease of the
 * journal since it came, or for 2 hours. The first in the order of keys: which of them is all the same, since none stays
 * where the journal is kept, but those that are undecided, for which the lease is taken again and again.
 *
 * 1 LIST of 1 key; 1 HEAD more where that waits for long. The times are the store's, the present is that of this machine.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  prefix: string
): Effect.Effect<string | undefined, StoreError.StoreError> =>
  Effect.gen(function* () {
    const [first] = (yield* store.list({ prefix: `${prefix}/pending/`, maxKeys: 1 })).entries
    if (first === undefined) return undefined
    const now = yield* Clock.currentTimeMillis
    const { lastModified = now } = first
    if (now - lastModified < waitsMillis) return undefined
    const kept = Option.getOrUndefined(yield* headOption(store, `${prefix}/lease`))?.lastModified ?? -Infinity
    return kept < lastModified || now - kept > asksMillis ? nobody : undefined
  })
