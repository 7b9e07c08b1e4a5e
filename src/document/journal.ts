/**
 * The writer's side of the journal: the entry that is in the store before a version is committed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { CurrentUser } from "../CurrentUser.ts"
import * as Document from "../Document.ts"
import type { JsonObject } from "../encoding/Json.ts"
import * as backoff from "../internal/backoff.ts"
import type * as KernelJournal from "../kernel/Journal.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as StoreError from "../storage/StoreError.ts"
import { WriteContext } from "../WriteContext.ts"
import * as Compressed from "./compressed.ts"
import type { Context, LostRace } from "./context.ts"

/**
 * A write that is about to be committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  /** Of a deletion that of its tombstone. */
  readonly writeId: string
  /** The identity of the version, or of the tombstone, that it replaces. */
  readonly previous: string | undefined
  readonly kind: KernelJournal.Kind
  readonly time: number
  /** The version before, and the one after. */
  readonly before?: Document.Write | undefined
  readonly after?: Document.Write | undefined
}

/**
 * An entry that is in the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announcement {
  readonly key: string
  /** Tells that the write is committed, for certain. No request. */
  readonly committed: Effect.Effect<void>
  /** Tells that it never will be. No request; the entry may be removed. */
  readonly abandoned: Effect.Effect<void>
}

/**
 * The entries of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Journal {
  /** Whether writes leave entries. What is known of the catalog has to be fresh. */
  readonly isKept: () => boolean
  /**
   * Puts the entry of a write. 1 PUT. `undefined`: the resource has no journal. Lost: the answer was, and the write must not be
   * committed under this write id: it begins anew under another one.
   */
  readonly announce: (
    id: string,
    entry: Entry
  ) => Effect.Effect<Announcement | LostRace | undefined, StoreError.StoreError>
}

/** So many entries after each other may be lost before it is no accident. */
const mostLost = 5

/**
 * Makes what leaves the entries of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ database, name, settings, store }: Context<A>): Journal => {
  const { client } = database.journal
  let lost = 0

  const contextOf = Effect.gen(function* () {
    const user = yield* CurrentUser
    const told = yield* WriteContext
    if (user === undefined && told === undefined) return undefined
    // What a request says must not pass for who wrote.
    const { user: _, ...rest } = told ?? {}
    return user === undefined ? rest : { user: user.id, ...rest }
  })

  const detailOf = Effect.fnUntraced(function* (
    { after, before }: Entry,
    { context, images }: NonNullable<typeof settings.journal>
  ) {
    const image = (write: Document.Write | undefined): Effect.Effect<JsonObject | undefined> =>
      write === undefined ? Effect.undefined : Effect.map(Compressed.inClear(write), Document.imageOf)
    return {
      before: images === "both" ? yield* image(before) : undefined,
      after: images === "none" ? undefined : yield* image(after),
      context: context ? yield* contextOf : undefined
    }
  })

  return {
    isKept: () => settings.journal !== undefined,
    announce: Effect.fnUntraced(function* (id, entry) {
      const { journal } = settings
      if (journal === undefined) return undefined
      const { kind, previous, time, writeId } = entry
      const detail = yield* detailOf(entry, journal)
      const announced = yield* client.announce({ resource: name, id, writeId, previous, kind, time }, detail)
      const abandoned = client.abandoned(announced)
      const sent = yield* store.put(announced.request).pipe(
        Effect.as(true),
        Effect.catch((error) => {
          if (error.outcome === "none") return Effect.andThen(abandoned, Effect.fail(error))
          lost += 1
          // The write itself is certainly not done.
          const { key, operation } = error
          const description = `the answers to ${lost} entries of the journal were lost, one after the other`
          const reason = new StoreError.Unavailable({ description, sent: false })
          return lost < mostLost
            ? Effect.as(Effect.andThen(abandoned, backoff.after(lost, backoff.waiting)), false)
            : Effect.andThen(
                abandoned,
                Effect.fail(new StoreError.StoreError({ operation, key: key ?? announced.request.key, reason }))
              )
        }),
        // Who is interrupted does not commit.
        Effect.onInterrupt(() => abandoned)
      )
      if (!sent) return new CasCell.Lost<Document.Slot | undefined>(undefined)
      lost = 0
      return { key: announced.request.key, committed: client.committed(announced), abandoned }
    })
  }
}
