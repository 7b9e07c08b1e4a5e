/**
 * Work by the time it is due: entries that are found in the order of their times, however long nobody has looked.
 *
 * ```ts
 * import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Clock, Effect, Schema, Stream } from "effect"
 *
 * declare const remind: (id: string) => Effect.Effect<void>
 *
 * const program = Effect.gen(function* () {
 *   const reminders = TimeIndex.make(yield* ObjectStore, {
 *     prefix: "plugin=reminders/due/",
 *     payload: Schema.Struct({ text: Schema.String }),
 *     what: "a reminder"
 *   })
 *   const now = yield* Clock.currentTimeMillis
 *   yield* reminders.add({ id: "7", due: now + 60_000, payload: { text: "tea" } })
 *   yield* Stream.runForEach(reminders.due(now), (entry) =>
 *     Effect.andThen(remind(entry.id), reminders.remove(entry))
 *   )
 * })
 * ```
 *
 * **Details**
 *
 * An entry is an object whose key begins with its time, so that a listing has the entries in the order of their times and
 * begins with the earliest that is left. That is the watermark: it is not stored anywhere, so it is never wrong. Nothing
 * due is passed over, whether it was due long ago, or was added for a time that others have worked through.
 *
 * The key ends with a revision, new for each entry. So no key is ever used twice, and what removes an entry removes that one,
 * never a later one of the same id and time.
 *
 * **Gotchas**
 *
 * An entry is handled at least once: by two workers that look at the same time, or again by the next when one dies before it
 * has removed it. Let one worker at a time look, by a `Lease`, or let them claim entries by `CreateOnce`; and do what does no
 * harm when it is done twice.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import { getOption, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Where an index is, and what its entries carry.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<P, I> {
  /** What the keys of its entries begin with, with a `/` at its end. */
  readonly prefix: string
  readonly payload: Schema.Codec<P, I>
  /** What an entry is, for errors: `a reminder`. */
  readonly what: string
  /**
   * Whether the store lists keys in their order: `orderedList` of what a probe of it has found. Default: what the store
   * knows of itself, and if it does not, no.
   */
  readonly orderedList?: boolean | undefined
}

/**
 * An entry of an index.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly due: number
  /** Names this entry among those of its id and time. */
  readonly revision: string
}

/**
 * An entry that is added.
 *
 * @category models
 * @since 0.1.0
 */
export interface Addition<P> {
  /** Any text. There can be several entries with the same id. */
  readonly id: string
  /** When it is due: whole milliseconds since the epoch, from -8.64e15 to 8.64e15, as far as dates reach. */
  readonly due: number
  readonly payload: P
  /** Makes adding it again the same entry: what is new whenever the entry is, such as a write id. Default: random. */
  readonly revision?: string | undefined
}

/**
 * An index of work by time.
 *
 * Everything fails with `StoreError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeIndex<P> {
  /**
   * Adds an entry. It counts when this succeeds, for every look that begins later. 1 PUT.
   *
   * When it fails without a certain outcome the entry may be there. `InvalidArgument`: the time, the id, the revision or
   * the payload has no stored form.
   */
  readonly add: (entry: Addition<P>) => Effect.Effect<Entry, StoreError.StoreError>
  /**
   * Finds the entries that are due at a time, that time included, in the order of their times. 1 LIST for each 1,000, and
   * one where none is due, whatever is due later. They are listed as they are drawn: what is added meanwhile is there or
   * not, and is there the next time.
   *
   * On a store that lists without order, or may do so, all entries are listed, due or not, before the first is given.
   */
  readonly due: (now: number) => Stream.Stream<Entry, StoreError.StoreError>
  /** The earliest entry, due or not: how long there is nothing to do. 1 LIST. */
  readonly first: Effect.Effect<Option.Option<Entry>, StoreError.StoreError>
  /** What an entry carries; none when it was removed. 1 GET. */
  readonly payload: (entry: Entry) => Effect.Effect<Option.Option<P>, StoreError.StoreError>
  /** Removes an entry, and no other of its id or time. Whether it was there or not. 1 DELETE. */
  readonly remove: (entry: Entry) => Effect.Effect<void, StoreError.StoreError>
  /** Removes entries. 1 request for each 1,000. */
  readonly removeMany: (entries: ReadonlyArray<Entry>) => Effect.Effect<void, StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Times as text
// -----------------------------------------------------------------------------

/**
 * The greatest distance of a time from the epoch, in milliseconds: 8.64e15, as of ECMAScript's dates.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxTime = 8.64e15

const dayMillis = 86_400_000

/** Days are counted from the first that there is, so that they have no sign: 9 digits. */
const dayZero = maxTime / dayMillis

const isTime = (time: number): boolean => Number.isInteger(time) && Math.abs(time) <= maxTime

/** The day, and the millisecond in it, as text that sorts like times. The sum would be more than a number holds. */
const timeToText = (time: number): string => {
  const day = Math.floor(time / dayMillis)
  return `${String(day + dayZero).padStart(9, "0")}/${String(time - day * dayMillis).padStart(8, "0")}`
}

const keyPattern = /^(\d{9})\/(\d{8})\/([^/]+)\/([^/]+)$/

// -----------------------------------------------------------------------------
// TimeIndex
// -----------------------------------------------------------------------------

/**
 * Creates an index on a store. No request.
 *
 * Throws a `RangeError` when the prefix does not end with `/`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <P, I>(store: ObjectStore["Service"], options: Options<P, I>): TimeIndex<P> => {
  const { payload, prefix, what } = options
  if (!prefix.endsWith("/")) throw new RangeError(`prefix has to end with /, not ${JSON.stringify(prefix)}`)
  const format = CasCell.schemaFormat(payload, { what })
  const failed = (operation: StoreError.Operation, key: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })
  const invalid = (argument: string, description: string) =>
    failed("put", prefix, new StoreError.InvalidArgument({ argument, description }))

  const keyOf = ({ due, id, revision }: Entry): string =>
    `${prefix}${timeToText(due)}/${percentEncode(id)}/${percentEncode(revision)}`

  /** What no `add` has made is passed over: somebody else's. */
  const entryOf = (key: string): Entry | undefined => {
    const [, day, millis, id, revision] = keyPattern.exec(key.slice(prefix.length)) ?? []
    if (day === undefined || millis === undefined || id === undefined || revision === undefined) return undefined
    const entry = {
      id: percentDecode(id) ?? "",
      due: (Number(day) - dayZero) * dayMillis + Number(millis),
      revision: percentDecode(revision) ?? ""
    }
    return isTime(entry.due) && keyOf(entry) === key ? entry : undefined
  }

  const check = Effect.fnUntraced(function* ({ due, id, revision }: Entry) {
    if (!isTime(due)) return yield* invalid("due", `due is no whole number of milliseconds within ±${maxTime}`)
    for (const [name, value] of Object.entries({ id, revision })) {
      if (value === "" || !value.isWellFormed())
        return yield* invalid(name, `${name} has to be well-formed text, not empty`)
    }
  })

  const add = Effect.fn("TimeIndex.add")(function* (addition: Addition<P>) {
    const { due, id } = addition
    const entry = { id, due, revision: addition.revision ?? (yield* Id.writeId) }
    yield* check(entry)
    const key = keyOf(entry)
    const body = yield* Effect.mapError(format.encode(addition.payload, []), (reason) => failed("put", key, reason))
    yield* store.put({ key, body, contentType: "application/json", repeatable: true })
    return entry
  })

  const entries = listAll(store, { prefix, keysOnly: true }).pipe(
    Stream.map(({ key }) => entryOf(key)),
    Stream.filter((entry) => entry !== undefined)
  )

  const byKey = (a: Entry, b: Entry): number => (keyOf(a) < keyOf(b) ? -1 : 1)

  const inOrder = Stream.suspend(() =>
    (options.orderedList ?? store.capabilities?.orderedList === true)
      ? entries
      : Stream.unwrap(Effect.map(Stream.runCollect(entries), (all) => Stream.fromIterable(all.toSorted(byKey))))
  )

  const removeMany = Effect.fn("TimeIndex.removeMany")(function* (gone: ReadonlyArray<Entry>) {
    if (gone.length === 0) return
    const { failed: left } = yield* store.deleteMany(gone.map(keyOf), { repeatable: true })
    const [first] = left
    if (first !== undefined) return yield* failed("deleteMany", first.key, first.reason)
  })

  return {
    add,
    due: (now) => Stream.takeWhile(inOrder, ({ due }) => due <= now),
    first: Stream.runHead(inOrder),
    payload: Effect.fn("TimeIndex.payload")(function* (entry: Entry) {
      const key = keyOf(entry)
      const found = yield* getOption(store, key)
      if (Option.isNone(found)) return Option.none()
      const { value } = yield* Effect.mapError(format.decode(found.value.body), (reason) => failed("get", key, reason))
      return Option.some(value)
    }),
    remove: (entry) => store.delete(keyOf(entry), { repeatable: true }),
    removeMany
  }
}
