/**
 * Operations that were acknowledged and have not come into their documents yet: in few objects that are never deleted, the lanes.
 *
 * **Details**
 *
 * A lane is changed by compare-and-set. It has a name of its own, which comes of chance when it is made; the number of the next
 * operation; and the operations that are left, in the order of their numbers. Each operation gets its number in the very write that
 * acknowledges it. So the numbers of a lane are in the order in which its operations were acknowledged, no two have the same,
 * and no clock has a part in it.
 *
 * What many fibers add to a lane while a write is under way is one write. Ordered operations of a document go to one lane, told by its
 * id; those whose order makes no difference go to any, so that processes keep out of each other's way.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "../../crypto/Id.ts"
import type { Json } from "../../encoding/Json.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import { isDone } from "../../internal/done.ts"
import * as grouped from "../../kernel/internal/grouped.ts"
import * as JsonCodec from "../../schema/internal/jsonCodec.ts"
import { listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import { decimalOf, type Kind } from "./field.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An operation as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export const Entry = Schema.Struct({
  /** Its number in the lane. */
  s: Schema.Int,
  /** The document. */
  i: Schema.String,
  /** The field. */
  f: Schema.String,
  k: Schema.Literals(["add", "subtract", "set", "reduce"]),
  a: Schema.Json,
  /** When, in milliseconds by the clock of the process. */
  t: Schema.Finite,
  /** How many operations it stands for, where they are more than one. */
  c: Schema.optionalKey(Schema.Int),
  /** Whether it is to be counted by its time, too. */
  z: Schema.optionalKey(Schema.Literal(true)),
  /** The least and the greatest amount of those. */
  r: Schema.optionalKey(Schema.Tuple([Schema.Json, Schema.Json]))
})

/**
 * An operation in a lane.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = typeof Entry.Type

/**
 * A lane as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export const Lane = Schema.Struct({
  name: Schema.String,
  next: Schema.Int,
  entries: Schema.Array(Entry)
})

/**
 * A lane.
 *
 * @category models
 * @since 0.1.0
 */
export type Lane = typeof Lane.Type

/**
 * An operation that is to be added.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly id: string
  readonly field: string
  readonly kind: Kind
  readonly amount: Json
  readonly at: number
  readonly isAnalyzed: boolean
  /** Whether it stays an entry of its own, so that it can be told what became of it. */
  readonly isAlone: boolean
}

/**
 * What a process does with the lanes of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly store: ObjectStore["Service"]
  /** What the keys of the lanes begin with. */
  readonly prefix: string
  /** For how long operations are gathered before they are written. */
  readonly gather: Effect.Effect<void>
  readonly merge: (field: string, kind: Kind, first: Json, second: Json) => Json | undefined
  /** Told of how many operations are in a lane after a write. */
  readonly onWritten: (key: string, entries: number) => void
}

/**
 * The lanes of a resource, for one process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lanes {
  /**
   * Adds an operation, and gives the lane with it when it is in the store. 1 PUT for all that are added at the time; 1 GET more the first
   * time, and 1 GET and 1 PUT for each process that was first.
   */
  readonly append: (operation: Operation, isHot: boolean) => Effect.Effect<Landed, StoreError.StoreError>
  /** The lane of the ordered operations of a document. */
  readonly keyOf: (id: string) => string
  /** 1 GET. */
  readonly read: (key: string) => Effect.Effect<Lane | undefined, StoreError.StoreError>
  /** The lanes that there are, also those of which nothing is left. 1 LIST. */
  readonly all: Effect.Effect<ReadonlyArray<Listed>, StoreError.StoreError>
  /** The lanes that there are, but those of which nothing is left as far as this process has seen. 1 LIST. */
  readonly list: Effect.Effect<ReadonlyArray<Listed>, StoreError.StoreError>
  readonly isHot: (key: string) => boolean
  /** Notes that operations are in their documents: the next write to the lane leaves them out. No request. */
  readonly settle: (lane: Lane, numbers: Iterable<number>) => void
  /** Leaves out what is in its document. 1 PUT, and 1 GET where the lane has changed; none where nothing is left out. */
  readonly trim: (key: string) => Effect.Effect<void, StoreError.StoreError>
  /** Takes out the operations of a document, and gives how many. 1 GET, and 1 PUT where there are some. */
  readonly discard: (key: string, id: string) => Effect.Effect<number, StoreError.StoreError>
}

/**
 * A version of a lane, as a listing shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed {
  readonly key: string
  readonly etag: string | undefined
}

/**
 * A lane right after an operation came into it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Landed {
  readonly key: string
  readonly lane: Lane
  /** Of its entry. */
  readonly number: number
}

// -----------------------------------------------------------------------------
// Lanes
// -----------------------------------------------------------------------------

/** For good: who took another number would add to other lanes, and the order of a document's operations would be lost. */
const orderedLanes = 16

/** The most that hot operations are spread over: lanes are read by what a listing shows, so that this one may change. */
const hotLanes = 64

/** How often a change is tried again when others were first. */
const retries = 60

const two = (n: number): string => String(n).padStart(2, "0")

const encoder = new TextEncoder()

/** FNV-1a of the bytes. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (const byte of encoder.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** Who reads the analytics of a quarter of an hour finds what was done in it. */
const quarter = 900_000

const laneFormat = CasCell.schemaFormat(Lane, { what: "a lane of operations" })
const entryCodec = JsonCodec.make(Entry)

/** The texts of entries that were written before: most of a lane stays as it was from write to write. */
const texts = new WeakMap<Entry, string>()

const textOf = (entry: Entry): string | undefined => {
  const known = texts.get(entry)
  if (known !== undefined) return known
  const encoded = entryCodec.encode(entry)
  if (!isDone(encoded)) return undefined
  const text = JSON.stringify(encoded.value)
  texts.set(entry, text)
  return text
}

/** The same bytes, of which only those of new entries are made anew. */
const format: CasCell.Format<Lane> = {
  ...laneFormat,
  encode: (lane, writes) => {
    const entries: Array<string> = []
    for (const entry of lane.entries) {
      const text = textOf(entry)
      // It says what is wrong.
      if (text === undefined) return laneFormat.encode(lane, writes)
      entries.push(text)
    }
    const head = JSON.stringify({ name: lane.name, next: lane.next }).slice(0, -1)
    const text = `{"v":1,"d":${head},"entries":[${entries.join(",")}]},"w":${JSON.stringify(writes)}}`
    return Effect.succeed(encoder.encode(text))
  }
}

type Version = CasCell.Version<Lane>

/** Operations of a batch as few entries, without their numbers. */
type Batch = ReadonlyArray<Omit<Entry, "s">>

/** Amounts in the order of numbers: both are as one field stores them. */
const isLess = (a: Json, b: Json): boolean =>
  typeof a === "number" && typeof b === "number" ? a < b : BigDecimal.isLessThan(decimalOf(a), decimalOf(b))

/**
 * Makes the lanes of a resource, which are written until the scope closes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* ({
  gather,
  merge,
  onWritten,
  prefix,
  store
}: Options): Effect.fn.Return<Lanes, never, Scope.Scope> {
  const folder = `${prefix}lane/`
  const hotFolder = `${folder}hot-`
  const known = new Map<string, Version>()
  /** Numbers of what is in its document, by the name of the lane. */
  const settled = new Map<string, Set<number>>()
  /** Versions of lanes in which nothing is left. */
  const drained = new Map<string, string>()

  const remember = (key: string, version: Version) => {
    if (version.isLater === true || version.etag === undefined) return void known.delete(key)
    known.set(key, version)
    if (version.value?.entries.length === 0) drained.set(key, version.etag)
  }

  /** The entries of operations, and which of them each has come into. */
  const squeezed = (operations: ReadonlyArray<Operation>) => {
    const batch: Array<Omit<Entry, "s">> = []
    const last = new Map<string, number>()
    const places: Array<number> = []
    for (const { amount, at, field, id, isAlone, isAnalyzed, kind } of operations) {
      const which = JSON.stringify([id, field])
      const index = last.get(which)
      const before = index === undefined ? undefined : batch[index]
      const isAlike = before?.k === kind && Math.floor(before.t / quarter) === Math.floor(at / quarter)
      const both = isAlike && !isAlone ? merge(field, kind, before.a, amount) : undefined
      if (before === undefined || index === undefined || both === undefined) {
        if (isAlone) last.delete(which)
        else last.set(which, batch.length)
        places.push(batch.length)
        batch.push({ i: id, f: field, k: kind, a: amount, t: at, ...(isAnalyzed ? { z: true } : {}) })
        continue
      }
      const [low, high] = before.r ?? [before.a, before.a]
      const range = [isLess(amount, low) ? amount : low, isLess(high, amount) ? amount : high] as const
      batch[index] = { ...before, a: both, c: (before.c ?? 1) + 1, r: range }
      places.push(index)
    }
    return { batch, places }
  }

  /** What is left when all is left out that is in its document. */
  const rest = ({ entries, name }: Lane): ReadonlyArray<Entry> => {
    const numbers = settled.get(name)
    return numbers === undefined || numbers.size === 0 ? entries : entries.filter(({ s }) => !numbers.has(s))
  }

  /** What a version leaves out, nobody has to leave out any more. */
  const forget = ({ entries, name }: Lane) => {
    const numbers = settled.get(name)
    if (numbers === undefined) return
    const there = new Set(entries.map(({ s }) => s))
    for (const number of numbers) if (!there.has(number)) numbers.delete(number)
  }

  const changed = Effect.fnUntraced(function* (state: Lane | undefined, batch: Batch) {
    const lane = state ?? { name: (yield* Id.writeId).slice(0, 10), next: 1, entries: [] }
    const added = batch.map((one, i): Entry => ({ s: lane.next + i, ...one }))
    return { name: lane.name, next: lane.next + batch.length, entries: [...rest(lane), ...added] }
  })

  const cellAt = (key: string) => CasCell.make(store, key, format)

  /** The lane that this process adds hot operations to: it stays with one until another process is met there. */
  let hotLane: string | undefined
  const anyHot = Effect.map(
    Random.nextIntBetween(0, hotLanes, { halfOpen: true }),
    (n) => (hotLane = `${hotFolder}${two(n)}`)
  )

  interface Waiting {
    readonly operation: Operation
    readonly landed: Deferred.Deferred<Landed>
  }

  const write = Effect.fnUntraced(function* (which: string, waiting: ReadonlyArray<Waiting>) {
    const { batch, places } = squeezed(waiting.map(({ operation }) => operation))
    const isHot = which === hotFolder
    let key = isHot ? (hotLane ?? (yield* anyHot)) : which
    /** Of the first of the batch, in the version that was sent last: it is that one which has landed. */
    let first = 0
    const attempt = Effect.fnUntraced(function* (last: CasCell.Lost<CasCell.Refusal<Lane>> | undefined) {
      let from = known.get(key)
      if (last !== undefined) {
        from = last.seen.now
        if (isHot) {
          key = yield* anyHot
          from = known.get(key)
        }
      }
      // Until it is known what has come of it.
      known.delete(key)
      const sent = (state: Lane | undefined) =>
        Effect.tap(changed(state, batch), ({ next }) => Effect.sync(() => (first = next - batch.length)))
      return yield* cellAt(key).attempt(sent, from)
    })
    const version = yield* CasCell.contend(attempt, { retries, exhausted: ({ error }) => Effect.fail(error) })
    remember(key, version)
    const lane = version.value!
    forget(lane)
    for (const [i, { landed }] of waiting.entries()) {
      yield* Deferred.succeed(landed, { key, lane, number: first + places[i]! })
    }
    onWritten(key, lane.entries.length)
  })

  const submit = yield* grouped.make(write, gather)

  const keyOf = (id: string): string => `${folder}${two(hashOf(id) % orderedLanes)}`

  const read: Lanes["read"] = (key) =>
    Effect.map(cellAt(key).read, (version) => {
      remember(key, version)
      return version.value
    })

  return {
    keyOf,
    isHot: (key) => key.startsWith(hotFolder),
    read,
    append: Effect.fnUntraced(function* (operation, isHot) {
      const landed = yield* Deferred.make<Landed>()
      yield* submit(isHot ? hotFolder : keyOf(operation.id), { operation, landed })
      return yield* Deferred.await(landed)
    }),
    all: listAll(store, { prefix: folder }).pipe(
      Stream.map(({ etag, key }) => ({ key, etag })),
      Stream.runCollect
    ),
    list: listAll(store, { prefix: folder }).pipe(
      Stream.filter(({ etag, key }) => drained.get(key) !== etag),
      Stream.map(({ etag, key }) => ({ key, etag })),
      Stream.runCollect
    ),
    settle: ({ name }, numbers) => {
      const of = settled.get(name) ?? new Set()
      for (const number of numbers) of.add(number)
      settled.set(name, of)
    },
    trim: Effect.fnUntraced(function* (key) {
      const change = (state: Lane | undefined) => {
        if (state === undefined) return Effect.succeed(state)
        const entries = rest(state)
        return Effect.succeed(entries.length === state.entries.length ? state : { ...state, entries })
      }
      const from = known.get(key)
      known.delete(key)
      const version = yield* cellAt(key).modify(change, from)
      remember(key, version)
      if (version.value !== undefined) forget(version.value)
    }),
    discard: Effect.fnUntraced(function* (key, id) {
      let taken = 0
      const version = yield* cellAt(key).modify((state) => {
        const entries = state?.entries.filter(({ i }) => i !== id) ?? []
        taken = (state?.entries.length ?? 0) - entries.length
        return Effect.succeed(taken === 0 || state === undefined ? state : { ...state, entries })
      })
      remember(key, version)
      return taken
    })
  }
})
