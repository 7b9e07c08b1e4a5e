/** A listing and what was seen of it before, side by side, in the order of keys: one run of keys after the other. */
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { compareUtf8 } from "../../internal/text.ts"
import type { ListEntry } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import type { Part } from "../Segments.ts"
import type { Kept, Placed } from "./listingSnapshot.ts"

/** The ETag of a key that may have been told and may not. */
export const untold = ""

/** A key in the listing, without what all begin with. */
export interface Listed {
  readonly key: string
  readonly etag: string
  readonly entry: ListEntry
  /** Whether the object stands for something. */
  readonly isThere: boolean
}

/** A key that is not as it was seen, or may have come to mean something else. */
export interface Found {
  readonly now: Listed | undefined
  readonly before: Kept | undefined
  /** Its place in what is kept; none for a key that is gone. */
  readonly index: number | undefined
}

/** A run of keys, and what it makes of the snapshot. */
export interface Run {
  /** The last key that it is about; none when it is about all that are left. */
  readonly upto: string | undefined
  /** The parts that it takes the place of. */
  readonly removed: ReadonlyArray<Part>
  /** Whether it begins with what the run before has left of a part. */
  readonly continues: boolean
  /** As the keys are. */
  readonly kept: ReadonlyArray<Kept>
  /** As they were, and those that are new as if seen in a version that nobody knows. */
  readonly announced: ReadonlyArray<Kept>
  /** What it leaves of a part that it has not come to the end of. */
  readonly rest: { readonly upto: string; readonly kept: ReadonlyArray<Kept> } | undefined
  readonly found: ReadonlyArray<Found>
  /** How many keys of the listing stand for something. */
  readonly keys: number
  /** Whether keys, ETags and parts are those of the snapshot. */
  readonly isSame: boolean
}

export interface Options<E> {
  /** In the order of keys, after that of the last part that is left out. */
  readonly listing: Stream.Stream<ListEntry, StoreError.StoreError>
  /** Those that are compared. */
  readonly select: (entries: ReadonlyArray<ListEntry>) => Effect.Effect<ReadonlyArray<Listed>, StoreError.StoreError>
  /** In the order of keys. */
  readonly parts: ReadonlyArray<Placed>
  readonly load: (part: Placed) => Effect.Effect<ReadonlyArray<Kept>, E>
  readonly keysPerPart: number
}

/** A part that is being gone through; the last has no end. */
interface Current {
  readonly placed: Placed | undefined
  readonly old: ReadonlyArray<Kept>
  /** The next of them. */
  next: number
}

/** Whether keys are there that were not, or the other way round, or with another ETag. */
const isAltered = (now: Listed | undefined, before: Kept | undefined): boolean =>
  now?.etag !== before?.etag || now?.isThere !== before?.isThere

const isFound = (now: Listed | undefined, before: Kept | undefined): boolean => {
  const [isThere, wasThere] = [now?.isThere === true, before?.isThere === true]
  return isThere !== wasThere || (isThere && (now?.etag !== before?.etag || before?.isUndecided === true))
}

/** Gives one run after the other, each time it is asked, and `undefined` at the end. */
export const make = Effect.fnUntraced(function* <E>({
  keysPerPart,
  listing,
  load,
  parts,
  select
}: Options<E>): Effect.fn.Return<Effect.Effect<Run | undefined, E | StoreError.StoreError>, never, Scope.Scope> {
  const pull = yield* Stream.toPull(listing)
  let page: ReadonlyArray<Listed> = []
  let at = 0
  let isListed = false
  let lastKey: string | undefined
  let nextPart = 0
  let current: Current | undefined
  let isOver = false
  /** Whether the run before has left something of the current part. */
  let isLeft = false

  /** Reads pages until there is a key, or the listing is over. */
  const refill: Effect.Effect<void, StoreError.StoreError> = Effect.suspend(() =>
    at < page.length || isListed
      ? Effect.void
      : pull.pipe(
          Effect.flatMap(select),
          Effect.map((entries) => {
            page = entries
            at = 0
          }),
          Pull.catchDone(() => Effect.sync(() => void (isListed = true))),
          Effect.andThen(refill)
        )
  )

  const advance = Effect.fnUntraced(function* () {
    const placed = parts[nextPart]
    nextPart += 1
    return { placed, old: placed === undefined ? [] : yield* load(placed), next: 0 } satisfies Current
  })

  /** Takes the next key in, which must be after all before. */
  const take = (listed: Listed): StoreError.StoreError | undefined => {
    if (lastKey !== undefined && compareUtf8(lastKey, listed.key) >= 0) {
      const description = "the store does not list in the order of keys: say so with orderedList: false"
      return new StoreError.StoreError({
        operation: "list",
        key: listed.entry.key,
        reason: new StoreError.Unexpected({ description })
      })
    }
    lastKey = listed.key
    at += 1
    return undefined
  }

  return Effect.gen(function* () {
    if (isOver) return undefined
    const removed: Array<Part> = []
    const kept: Array<Kept> = []
    const announced: Array<Kept> = []
    const found: Array<Found> = []
    const continues = isLeft
    isLeft = false
    let [keys, isSame] = [0, true]
    const run = (upto: string | undefined, rest: Run["rest"] = undefined): Run => ({
      upto,
      removed,
      continues,
      kept,
      announced,
      rest,
      found,
      keys,
      isSame: isSame && removed.length + (continues ? 1 : 0) <= 1
    })

    for (;;) {
      if (current === undefined) {
        current = yield* advance()
        if (current.placed !== undefined) removed.push(current.placed.part)
      }
      const { old, placed } = current
      const most = placed === undefined ? keysPerPart : 2 * keysPerPart
      for (;;) {
        if (at === page.length) yield* refill
        const listed = page[at]
        const isHere = listed !== undefined && (placed === undefined || compareUtf8(listed.key, placed.upto) <= 0)
        const was = old[current.next]
        if (!isHere && was === undefined) break
        if (kept.length >= most || found.length >= 2 * keysPerPart) {
          const [last, gone] = [kept.at(-1)?.key ?? "", found.at(-1)?.before?.key ?? ""]
          const rest = old.slice(current.next)
          isLeft = rest.length > 0
          // What it was is about other keys.
          isSame = false
          return run(
            compareUtf8(last, gone) < 0 ? gone : last,
            placed === undefined || rest.length === 0 ? undefined : { upto: placed.upto, kept: rest }
          )
        }
        const order = !isHere ? 1 : was === undefined ? -1 : compareUtf8(listed.key, was.key)
        const now = isHere && order <= 0 ? listed : undefined
        const before = order >= 0 ? was : undefined
        if (now !== undefined) {
          const disorder = take(now)
          if (disorder !== undefined) return yield* disorder
          if (now.isThere) keys += 1
          const isUndecided = before?.etag === now.etag && before.isUndecided
          kept.push({ key: now.key, etag: now.etag, isThere: now.isThere, isUndecided })
        }
        if (before !== undefined) current.next += 1
        const isNew = now?.isThere === true && before?.isThere !== true
        if (isNew) announced.push({ key: now.key, etag: untold, isThere: true, isUndecided: false })
        else if (before !== undefined) announced.push(before)
        if (isAltered(now, before)) isSame = false
        if (isFound(now, before)) found.push({ now, before, index: now === undefined ? undefined : kept.length - 1 })
      }
      current = undefined
      if (placed === undefined) {
        isOver = true
        return run(undefined)
      }
      // A part that has become small is put together with the next.
      const following = parts[nextPart]
      const isSmall = kept.length * 2 < keysPerPart && found.length < keysPerPart
      if (!isSmall || (following !== undefined && kept.length + following.keys > 2 * keysPerPart)) {
        return run(placed.upto)
      }
    }
  })
})
