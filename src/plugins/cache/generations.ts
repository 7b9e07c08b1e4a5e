/**
 * Generations: what tells results that were kept before a write from those after it, for all processes.
 *
 * **Details**
 *
 * Each resource has one small object, its cell. It counts the writes, and holds for each of 1,024 buckets the number of the last
 * write that concerned it; documents and parts of partitions fall into buckets by a hash. The stamp of what a result depends on is the
 * number of its bucket, with a random text that is new when the cell is made anew. A result is kept with the stamp that it had *before* it
 * was loaded, and counts only as long as that is the stamp: what was loaded before a write and comes after it is dead when it comes.
 *
 * A write is recorded by one conditional PUT after its commit and before its acknowledgement; writes at the same time share one.
 * While one is not recorded, this process goes by nothing that it concerns.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Id from "../../crypto/Id.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import type * as ReadThrough from "../../ReadThrough.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"

const buckets = 1024

/**
 * The state of a cell. `e`: which cell it is; `n`: the writes so far; `a`: the last that concerned everything; `p`: the last that may have
 * concerned any partition; `t`: the last of each bucket, in base 36, separated by `,`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const State = Schema.Struct({
  e: Schema.String,
  n: Schema.Int,
  a: Schema.Int,
  p: Schema.Int,
  t: Schema.String.check(Schema.isPattern(/^[0-9a-z,]*$/))
})

/**
 * The state of a cell.
 *
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

const format = CasCell.schemaFormat(State, { what: "the generations of a resource" })

/**
 * Returns the bucket that a document or a part of a partition falls into (FNV-1a).
 *
 * @category getters
 * @since 0.1.0
 */
export const bucketOf = (extent: Exclude<ReadThrough.Extent, { readonly _tag: "Resource" }>): number => {
  const text = extent._tag === "Document" ? `d${extent.id}` : `p${extent.prefix}`
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) & (buckets - 1)
}

const tableOf = (text: string): ReadonlyArray<number> =>
  text === "" ? [] : text.split(",").map((number) => (number === "" ? 0 : Number.parseInt(number, 36)))

const tableText = (table: ReadonlyArray<number>): string =>
  table
    .map((number) => (number === 0 ? "" : number.toString(36)))
    .join(",")
    .replace(/,+$/, "")

/** What writes concern. */
class Concern {
  everything = false
  partitions = false
  readonly buckets = new Set<number>()

  add(written: ReadThrough.Written | typeof ReadThrough.everything): void {
    if (typeof written === "string") this.everything = true
    else {
      for (const id of written.ids) this.buckets.add(bucketOf({ _tag: "Document", id }))
      if (written.prefixes === undefined) this.partitions = true
      for (const prefix of written.prefixes ?? []) this.buckets.add(bucketOf({ _tag: "Partition", prefix }))
    }
  }

  addAll(other: Concern): void {
    this.everything ||= other.everything
    this.partitions ||= other.partitions
    for (const bucket of other.buckets) this.buckets.add(bucket)
  }

  concerns(extent: ReadThrough.Extent): boolean {
    // There is no concern without a write.
    if (this.everything || extent._tag === "Resource") return true
    return (extent._tag === "Partition" && this.partitions) || this.buckets.has(bucketOf(extent))
  }
}

const after = (state: State, concern: Concern): State => {
  const n = state.n + 1
  if (concern.everything) return { e: state.e, n, a: n, p: n, t: "" }
  const table = [...tableOf(state.t)]
  for (const bucket of concern.buckets) {
    while (table.length < bucket) table.push(0)
    table[bucket] = n
  }
  return { e: state.e, n, a: state.a, p: concern.partitions ? n : state.p, t: tableText(table) }
}

/** A moment, by both clocks, and by its place among those of this process. */
interface Moment {
  readonly wall: number
  readonly steady: number
  readonly place: number
}

/** What is known of a cell. */
interface Known {
  readonly version: CasCell.Version<State>
  readonly state: State
  readonly table: ReadonlyArray<number>
  /** When its reading was begun, or its writing: what has changed before is in it. */
  readonly since: Moment
}

/**
 * The generations of one resource, as this process knows them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Generations {
  /** The stamp of what a result depends on, no older than is allowed; `undefined`: it cannot be told now. No request, or 1 GET for all who ask. */
  readonly stamp: (extent: ReadThrough.Extent) => Effect.Effect<string | undefined>
  /** Whether it is still that, as far as this process knows. */
  readonly isCurrent: (extent: ReadThrough.Extent, stamp: string) => boolean
  readonly forget: (written: ReadThrough.Written | typeof ReadThrough.everything) => void
  /** Records what is to be forgotten. 1 PUT; 1 GET and 1 PUT more for each other process that was first. It never fails. */
  readonly record: Effect.Effect<void>
  /** Takes over what another process has recorded. */
  readonly learn: (told: Told) => void
  /** Whether something is not recorded yet. */
  readonly isOwing: () => boolean
}

/**
 * What a process tells others of what it has recorded.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Told = Schema.Struct({
  resource: Schema.String,
  etag: Schema.String,
  state: State,
  writes: Schema.Array(Schema.String)
})

/**
 * What a process tells others of what it has recorded.
 *
 * @category models
 * @since 0.1.0
 */
export type Told = typeof Told.Type

/**
 * The options of the generations of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly resource: string
  readonly key: string
  /** How many milliseconds old what is known may be. */
  readonly staleness: number
  readonly onRecorded: (told: Told) => Effect.Effect<void>
  /** The cell could not be read or written. */
  readonly onTrouble: (error: StoreError.StoreError) => Effect.Effect<void>
}

/**
 * Makes the generations of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  { key, onRecorded, onTrouble, resource, staleness }: Options
): Generations => {
  const cell = CasCell.make(store, key, format)
  const lock = Semaphore.makeUnsafe(1)
  let places = 0
  const moment: Effect.Effect<Moment> = Effect.map(
    Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos]),
    ([wall, steady]) => ({ wall, steady: Number(steady) / 1e6, place: (places += 1) })
  )
  let known: Known | undefined
  /** What is to be recorded next. */
  let next: Concern | undefined
  /** What is being recorded. */
  let current: Concern | undefined

  const isOpen = (extent: ReadThrough.Extent): boolean =>
    next?.concerns(extent) !== true && current?.concerns(extent) !== true

  const stampIn = ({ state, table }: Known, extent: ReadThrough.Extent): string => {
    if (extent._tag === "Resource") return `${state.e}.${state.n}`
    const own = Math.max(state.a, table[bucketOf(extent)] ?? 0)
    return `${state.e}.${extent._tag === "Partition" ? Math.max(own, state.p) : own}`
  }

  const know = (version: CasCell.Version<State>, since: Moment) => {
    const state = version.value!
    // What another process has told may be newer.
    const isOlder = known !== undefined && known.state.e === state.e && known.state.n > state.n
    const {
      state: newest,
      table,
      version: from
    } = isOlder && known !== undefined ? known : { state, table: tableOf(state.t), version }
    known = { state: newest, table, version: from, since }
  }

  const begin = (state: State | undefined) =>
    state === undefined ? Effect.map(Id.writeId, (e): State => ({ e, n: 0, a: 0, p: 0, t: "" })) : Effect.succeed(state)

  /** A cell that cannot be read is made anew: nothing that was kept before has a stamp of the new one. */
  const healing = <X>(effect: Effect.Effect<X, StoreError.StoreError>): Effect.Effect<X, StoreError.StoreError> =>
    Effect.catchReason(effect, "StoreError", "Corrupt", () => Effect.andThen(store.delete(key), effect))

  /** Reads the cell, or makes it. */
  const refresh = Effect.gen(function* () {
    const began = yield* moment
    let version = yield* healing(cell.read)
    if (version.value === undefined) version = yield* cell.modify(begin, version)
    know(version, began)
  })

  /** Whether what is known was known when it was asked for, or not long before. */
  const isFresh = (asked: Moment): boolean => {
    if (known === undefined) return false
    const { place, steady, wall } = known.since
    return place > asked.place || Math.max(asked.wall - wall, asked.steady - steady) < staleness
  }

  const record: Effect.Effect<void> = Effect.suspend(() => {
    const mine = next
    if (mine === undefined) return Effect.void
    return lock.withPermits(1)(
      Effect.suspend(() => {
        // Somebody has recorded it meanwhile, together with his own.
        if (next !== mine) return Effect.void
        next = undefined
        current = mine
        return Effect.gen(function* () {
          const began = yield* moment
          const version = yield* healing(
            Effect.suspend(() =>
              cell.modify((state) => Effect.map(begin(state), (begun) => after(begun, mine)), known?.version)
            )
          )
          know(version, began)
          const { etag, value, writes } = version
          return etag === undefined || value === undefined
            ? undefined
            : { resource, etag, state: value, writes: writes.slice(0, 8) }
        }).pipe(
          Effect.onExit((exit) => {
            current = undefined
            if (Exit.isSuccess(exit)) return Effect.void
            // It is owed still.
            const owed = next ?? new Concern()
            owed.addAll(mine)
            next = owed
            return Effect.void
          }),
          Effect.flatMap((told) => (told === undefined ? Effect.void : onRecorded(told))),
          Effect.catch(onTrouble)
        )
      })
    )
  })

  return {
    stamp: Effect.fnUntraced(function* (extent) {
      if (!isOpen(extent)) return undefined
      const asked = yield* moment
      if (!isFresh(asked)) {
        yield* lock
          .withPermits(1)(Effect.suspend(() => (isFresh(asked) ? Effect.void : refresh)))
          .pipe(Effect.catch(onTrouble))
        if (!isFresh(asked) || !isOpen(extent)) return undefined
      }
      return stampIn(known!, extent)
    }),
    isCurrent: (extent, stamp) => known !== undefined && isOpen(extent) && stampIn(known, extent) === stamp,
    forget: (written) => {
      next ??= new Concern()
      next.add(written)
    },
    record,
    learn: ({ etag, state, writes }) => {
      if (known === undefined) return
      if (known.state.e !== state.e) {
        // Which of the two is the newer one only the store tells.
        known = undefined
        return
      }
      if (state.n <= known.state.n) return
      known = { ...known, state, table: tableOf(state.t), version: { etag, value: state, writes } }
    },
    isOwing: () => next !== undefined
  }
}
