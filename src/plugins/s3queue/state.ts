/**
 * What is stored of a queue, and how messages come, are claimed and go in it: one object, changed by compare-and-set, and
 * immutable parts that hold what is too much for it.
 *
 * **Details**
 *
 * The object alone decides. A message is in the queue when a version of the object names it, belongs to the worker whose token
 * is beside it, and is done when no version names it any more. Tokens and numbers only rise, and the object is never deleted,
 * so that none comes twice: a worker that was taken for dead finds that its token is gone, whenever it comes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Result from "effect/Result"
import type * as CasCell from "../../kernel/CasCell.ts"
import { describe } from "../../kernel/internal/jsonText.ts"
import * as partsOf from "../../kernel/internal/parts.ts"
import * as StoreError from "../../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A message. Its payload is beside it (`x`), or in a part (`r`).
 *
 * @category models
 * @since 0.1.0
 */
export const Message = Schema.Struct({
  /** Rises from message to message: their order. In a part, it is counted from the part's own first number. */
  s: Schema.Int,
  /** The id. */
  i: Schema.String,
  /** When it was offered, in milliseconds since the epoch. */
  o: Schema.Int,
  /** The payload, JSON as text. */
  x: Schema.optionalKey(Schema.String),
  /** The number of a part, and the place in it. */
  r: Schema.optionalKey(Schema.Tuple([Schema.Int, Schema.Int])),
  /** How often it was claimed. */
  a: Schema.optionalKey(Schema.Int),
  /** Not before this time. */
  d: Schema.optionalKey(Schema.Int),
  /** Priority: higher goes first. */
  p: Schema.optionalKey(Schema.Int),
  /** Group: one after the other. */
  g: Schema.optionalKey(Schema.String),
  /** The id was given by who offered it: it is remembered. */
  c: Schema.optionalKey(Schema.Literal(true)),
  /** What the last attempt failed with. */
  e: Schema.optionalKey(Schema.String),
  /** When it was given up. */
  t: Schema.optionalKey(Schema.Int)
})

/**
 * A message.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = typeof Message.Type

/**
 * An immutable object with messages, in the order of their numbers, of which some have been taken.
 *
 * @category models
 * @since 0.1.0
 */
export const Part = Schema.Struct({
  /** Its number: what messages refer to it by. Never given twice. */
  n: Schema.Int,
  p: partsOf.Name,
  /** How many messages it holds. */
  k: Schema.Int,
  /** What the numbers of its messages are counted from. */
  b: Schema.Int,
  /** All before this place are taken, */
  h: Schema.Int,
  /** and these. */
  t: Schema.Array(Schema.Int),
  /** Of those that are left: the least number, the earliest time, the latest time, the highest priority, and whether any has a group. */
  f: Schema.Int,
  u: Schema.Int,
  v: Schema.Int,
  y: Schema.Int,
  g: Schema.Boolean,
  /** The greatest number of those that are left. */
  l: Schema.optionalKey(Schema.Int)
})

/**
 * An immutable object with messages, of which some have been taken.
 *
 * @category models
 * @since 0.1.0
 */
export type Part = typeof Part.Type

/**
 * Messages, some here and some in parts.
 *
 * @category models
 * @since 0.1.0
 */
const Shelf = Schema.Struct({ in: Schema.Array(Message), parts: Schema.Array(Part) })

/**
 * A message that a worker has claimed.
 *
 * @category models
 * @since 0.1.0
 */
const Flight = Schema.Struct({
  m: Message,
  /** The token of the claim. */
  k: Schema.Int,
  /** The worker. */
  w: Schema.String
})

/**
 * A message that a worker has claimed.
 *
 * @category models
 * @since 0.1.0
 */
export type Flight = typeof Flight.Type

/**
 * A worker that has claimed messages.
 *
 * @category models
 * @since 0.1.0
 */
const Worker = Schema.Struct({
  w: Schema.String,
  /** How often it has said that it goes on. */
  b: Schema.Int,
  /** How many milliseconds it may be silent. */
  l: Schema.Int
})

/**
 * A worker that has claimed messages.
 *
 * @category models
 * @since 0.1.0
 */
export type Worker = typeof Worker.Type

/** The digest of an id, the number of the message that it was last seen with, and when. */
const Remembered = Schema.Tuple([Schema.String, Schema.Int, Schema.Int])

/**
 * An id that is remembered: its digest, the number of its message, and when.
 *
 * @category models
 * @since 0.1.0
 */
export type Remembered = typeof Remembered.Type

const IdPart = Schema.Struct({
  p: partsOf.Name,
  k: Schema.Int,
  /** The greatest number, and the latest time. */
  s: Schema.Int,
  t: Schema.Int
})

/**
 * An immutable object with ids that are remembered.
 *
 * @category models
 * @since 0.1.0
 */
export type IdPart = typeof IdPart.Type

/**
 * How many messages have come and gone how.
 *
 * @category models
 * @since 0.1.0
 */
export const Totals = Schema.Struct({
  offered: Schema.Int,
  completed: Schema.Int,
  /** Attempts that failed and were not the last. */
  retried: Schema.Int,
  /** Given up. */
  dead: Schema.Int,
  /** Taken from workers that were silent for too long. */
  lost: Schema.Int,
  redriven: Schema.Int
})

/**
 * How many messages have come and gone how.
 *
 * @category models
 * @since 0.1.0
 */
export type Totals = typeof Totals.Type

/**
 * All that is stored of a queue, parts aside.
 *
 * @category models
 * @since 0.1.0
 */
export const State = Schema.Struct({
  /** The numbers of the next message and of the next part, and the last token. */
  q: Schema.Int,
  n: Schema.Int,
  k: Schema.Int,
  paused: Schema.Boolean,
  generation: Schema.Int,
  floor: Schema.Int,
  ready: Shelf,
  dead: Shelf,
  flight: Schema.Array(Flight),
  workers: Schema.Array(Worker),
  ids: Schema.Struct({ in: Schema.Array(Remembered), parts: Schema.Array(IdPart) }),
  totals: Totals
})

/**
 * All that is stored of a queue, parts aside.
 *
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

/**
 * The state of a queue in which nothing ever was.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: State = {
  q: 0,
  n: 0,
  k: 0,
  paused: false,
  ...partsOf.firstGenerations,
  ready: { in: [], parts: [] },
  dead: { in: [], parts: [] },
  flight: [],
  workers: [],
  ids: { in: [], parts: [] },
  totals: { offered: 0, completed: 0, retried: 0, dead: 0, lost: 0, redriven: 0 }
}

// -----------------------------------------------------------------------------
// Objects
// -----------------------------------------------------------------------------

const Version = Schema.Struct({ v: Schema.Int })
const Body = Schema.Struct({ v: Schema.Literal(1), w: Schema.Array(Schema.String), s: State })
const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))
const decodeVersion = Schema.decodeUnknownResult(Schema.fromJsonString(Version))
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const unreadable = (what: string, text: string): StoreError.Reason => {
  const version = decodeVersion(text)
  return Result.isSuccess(version) && version.success.v > 1
    ? new StoreError.Unsupported({
        feature: `a later format of ${what}`,
        description: "it was written by a later release; upgrade effect-s3db"
      })
    : new StoreError.Corrupt({ description: `${what} cannot be read` })
}

/** Whether values are those of a schema: each is looked at once, since none is ever changed. */
const fitting = (schema: Schema.Codec<object, unknown>): ((value: object) => boolean) => {
  const is = Schema.is(schema)
  const seen = new WeakSet<object>()
  return (value) => {
    if (!seen.has(value)) {
      if (!is(value)) return false
      seen.add(value)
    }
    return true
  }
}

const isMessage = fitting(Message)
const isFlight = fitting(Flight)
const isRemembered = fitting(Remembered)
const isState = Schema.is(State)
const checkState = Schema.decodeUnknownResult(State)
const checkMessages = Schema.decodeUnknownResult(Schema.Array(Message))
const checkIds = Schema.decodeUnknownResult(Schema.Array(Remembered))

const isWritable = (state: State): boolean => {
  const { dead, flight, ids, ready } = state
  const rest = {
    ...state,
    ready: { ...ready, in: [] },
    dead: { ...dead, in: [] },
    flight: [],
    ids: { ...ids, in: [] }
  }
  return (
    [...ready.in, ...dead.in].every(isMessage) && flight.every(isFlight) && ids.in.every(isRemembered) && isState(rest)
  )
}

/** What could not be read again is not written. */
const unwritable = (what: string, checked: Result.Result<unknown, Schema.SchemaError>): StoreError.InvalidArgument =>
  new StoreError.InvalidArgument({
    argument: "body",
    description: `${what} could not be read again${Result.isFailure(checked) ? `: ${describe(checked.failure)}` : ""}`
  })

/**
 * Says what is wrong with messages that are to be written, if anything is.
 *
 * @category guards
 * @since 0.1.0
 */
export const problemOf = (messages: ReadonlyArray<Message>): StoreError.InvalidArgument | undefined =>
  messages.every(isMessage) ? undefined : unwritable("a message of a queue", checkMessages(messages))

/**
 * The encoding of a queue as the body of its object. A state that could not be read again is an `InvalidArgument`.
 *
 * @category models
 * @since 0.1.0
 */
export const format: CasCell.Format<State> = {
  remembered: 64,
  encode: (state, writes) =>
    isWritable(state)
      ? Effect.succeed(encoder.encode(JSON.stringify({ v: 1, w: writes, s: state })))
      : Effect.fail(unwritable("the state of a queue", checkState(state))),
  decode: (bytes) => {
    const text = decoder.decode(bytes)
    const body = decodeBody(text)
    return Result.isSuccess(body)
      ? Effect.succeed({ value: body.success.s, writes: body.success.w })
      : Effect.fail(unreadable("the state of a queue", text))
  }
}

/** The nonce makes every part another one, whatever it holds: a part that is removed is never put again under its name. */
const MessagesBody = Schema.Struct({ v: Schema.Literal(1), w: Schema.String, m: Schema.Array(Message) })
const decodeMessages = Schema.decodeUnknownResult(Schema.fromJsonString(MessagesBody))
const IdsBody = Schema.Struct({ v: Schema.Literal(1), w: Schema.String, d: Schema.Array(Remembered) })
const decodeIds = Schema.decodeUnknownResult(Schema.fromJsonString(IdsBody))

/**
 * Encodes messages as the body of a part. Those that could not be read again are an `InvalidArgument`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodePart = (
  nonce: string,
  messages: ReadonlyArray<Message>
): Result.Result<Uint8Array, StoreError.InvalidArgument> =>
  messages.every(isMessage)
    ? Result.succeed(encoder.encode(JSON.stringify({ v: 1, w: nonce, m: messages })))
    : Result.fail(unwritable("a part of a queue", checkMessages(messages)))

/**
 * Reads the body of a part.
 *
 * @category encoding
 * @since 0.1.0
 */
export const decodePart = (bytes: Uint8Array): Result.Result<ReadonlyArray<Message>, StoreError.Reason> => {
  const text = decoder.decode(bytes)
  return Result.mapBoth(decodeMessages(text), {
    onSuccess: ({ m }) => m,
    onFailure: () => unreadable("a part of a queue", text)
  })
}

/**
 * Encodes ids that are remembered as the body of a part. Those that could not be read again are an `InvalidArgument`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeIds = (
  nonce: string,
  ids: ReadonlyArray<Remembered>
): Result.Result<Uint8Array, StoreError.InvalidArgument> =>
  ids.every(isRemembered)
    ? Result.succeed(encoder.encode(JSON.stringify({ v: 1, w: nonce, d: ids })))
    : Result.fail(unwritable("the ids of a queue", checkIds(ids)))

/**
 * Reads the body of a part with ids.
 *
 * @category encoding
 * @since 0.1.0
 */
export const decodeIdPart = (bytes: Uint8Array): Result.Result<ReadonlyArray<Remembered>, StoreError.Reason> => {
  const text = decoder.decode(bytes)
  return Result.mapBoth(decodeIds(text), {
    onSuccess: ({ d }) => d,
    onFailure: () => unreadable("the ids of a queue", text)
  })
}

// -----------------------------------------------------------------------------
// Drafts
// -----------------------------------------------------------------------------

/**
 * A state while it is changed: what many who want something of the queue make of it, one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  readonly before: State
  q: number
  n: number
  k: number
  paused: boolean
  generation: number
  floor: number
  readonly ready: DraftShelf
  readonly dead: DraftShelf
  readonly flight: Map<number, Flight>
  readonly workers: Map<string, Worker>
  ids: Map<string, Remembered>
  idParts: ReadonlyArray<IdPart>
  readonly totals: { -readonly [K in keyof Totals]: number }
  hasChanged: boolean
}

/**
 * Messages, some here and some in parts, by their numbers.
 *
 * @category models
 * @since 0.1.0
 */
export interface DraftShelf {
  readonly in: Map<number, Message>
  readonly parts: Map<number, Part>
}

const draftShelf = (shelf: State["ready"]): DraftShelf => ({
  in: new Map(shelf.in.map((message) => [message.s, message])),
  parts: new Map(shelf.parts.map((part) => [part.n, part]))
})

/**
 * Begins to change a state.
 *
 * @category constructors
 * @since 0.1.0
 */
export const draft = (before: State): Draft => ({
  before,
  q: before.q,
  n: before.n,
  k: before.k,
  paused: before.paused,
  generation: before.generation,
  floor: before.floor,
  ready: draftShelf(before.ready),
  dead: draftShelf(before.dead),
  flight: new Map(before.flight.map((flight) => [flight.m.s, flight])),
  workers: new Map(before.workers.map((worker) => [worker.w, worker])),
  ids: new Map(before.ids.in.map((id) => [id[0], id])),
  idParts: before.ids.parts,
  totals: { ...before.totals },
  hasChanged: false
})

const left = ({ h, k, t }: Part): number => k - h - t.length

/**
 * Returns the state that a draft has come to. Parts of which nothing is left, and to which nothing refers, are not named any
 * more.
 *
 * @category getters
 * @since 0.1.0
 */
export const finish = (draft: Draft): State => {
  if (!draft.hasChanged) return draft.before
  const { floor, generation, idParts, ids, k, n, paused, q, totals } = draft
  const pinned = new Set<number>()
  const pin = ({ r }: Message) => r !== undefined && pinned.add(r[0])
  for (const shelf of [draft.ready, draft.dead]) for (const message of shelf.in.values()) pin(message)
  for (const { m } of draft.flight.values()) pin(m)
  const shelf = (from: DraftShelf) => ({
    in: [...from.in.values()],
    parts: [...from.parts.values()].filter((part) => left(part) > 0 || pinned.has(part.n))
  })
  return {
    q,
    n,
    k,
    paused,
    generation,
    floor,
    ready: shelf(draft.ready),
    dead: shelf(draft.dead),
    flight: [...draft.flight.values()],
    workers: [...draft.workers.values()],
    ids: { in: [...ids.values()], parts: idParts },
    totals
  }
}

/**
 * Returns the names of all parts of a state.
 *
 * @category getters
 * @since 0.1.0
 */
export const partNames = ({ dead, ids, ready }: State): ReadonlySet<string> =>
  new Set([...ready.parts, ...dead.parts, ...ids.parts].map(({ p }) => p))

/**
 * What reads parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reader<E> {
  /** The messages of a part, as they lie in it. */
  readonly open: (part: Part) => Effect.Effect<ReadonlyArray<Message>, E>
  readonly openIds: (part: IdPart) => Effect.Effect<ReadonlyMap<string, Remembered>, E>
}

const takenIn = (part: Part): ((index: number) => boolean) => {
  const some = new Set(part.t)
  return (index) => index < part.h || some.has(index)
}

const located = new WeakMap<ReadonlyArray<Message>, ReadonlyArray<Message>>()

/** The messages of a part as they are in the queue: each with its own number, and where its payload lies. */
const inQueue = (part: Part, messages: ReadonlyArray<Message>): ReadonlyArray<Message> => {
  const known = located.get(messages)
  // An attempt that was lost may have had them elsewhere.
  const isHere = known?.[0]?.r?.[0] === part.n && known[0].s === messages[0]!.s + part.b
  if (known !== undefined && isHere) return known
  const all = messages.map(({ x: _, ...message }, index): Message => ({
    ...message,
    s: message.s + part.b,
    r: [part.n, index]
  }))
  located.set(messages, all)
  return all
}

/** The messages of a part that are left. */
const untaken = (part: Part, messages: ReadonlyArray<Message>): ReadonlyArray<Message> => {
  const isTaken = takenIn(part)
  return inQueue(part, messages).filter((_, index) => !isTaken(index))
}

/** What a part says of the messages that are left in it. */
const summary = (messages: ReadonlyArray<Message>): Pick<Part, "f" | "u" | "v" | "y" | "g" | "l"> => {
  let [f, l, u, v, y, g] = [Number.MAX_SAFE_INTEGER, 0, Number.MAX_SAFE_INTEGER, 0, Number.MIN_SAFE_INTEGER, false]
  for (const { d = 0, g: group, p = 0, s } of messages) {
    f = Math.min(f, s)
    l = Math.max(l, s)
    u = Math.min(u, d)
    v = Math.max(v, d)
    y = Math.max(y, p)
    g ||= group !== undefined
  }
  return { f, u, v, y, g, l }
}

/** A part of which some places more are taken. */
const withTaken = (part: Part, messages: ReadonlyArray<Message>, places: ReadonlyArray<number>): Part => {
  const taken = new Set([...part.t, ...places])
  let h = part.h
  while (taken.delete(h)) h++
  const next: Part = { ...part, h, t: [...taken].toSorted((a, b) => a - b) }
  return { ...next, ...summary(untaken(next, messages)) }
}

/**
 * Adds a part with messages to a shelf, some of whose places are taken from the beginning. Their numbers count from `base`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const addPart = (
  draft: Draft,
  shelf: DraftShelf,
  added: {
    readonly name: string
    readonly messages: ReadonlyArray<Message>
    readonly base: number
    readonly taken: ReadonlyArray<number>
  }
): void => {
  const { base: b, messages, name, taken } = added
  if (taken.length >= messages.length) return
  const n = draft.n++
  const whole: Part = { n, p: name, k: messages.length, b, h: 0, t: [], f: 0, u: 0, v: 0, y: 0, g: false }
  shelf.parts.set(n, withTaken(whole, messages, taken))
  draft.hasChanged = true
}

/**
 * Looks for the part that a message refers to.
 *
 * @category getters
 * @since 0.1.0
 */
export const partOf = (
  { dead, ready }: { readonly ready: Pick<DraftShelf, "parts">; readonly dead: Pick<DraftShelf, "parts"> },
  [n]: readonly [number, number]
): Part | undefined => ready.parts.get(n) ?? dead.parts.get(n)

/**
 * Takes messages out of a shelf.
 *
 * @category combinators
 * @since 0.1.0
 */
export const takeAll = Effect.fnUntraced(function* <E>(
  draft: Draft,
  shelf: DraftShelf,
  messages: ReadonlyArray<Message>,
  reader: Reader<E>
) {
  const places = new Map<number, Array<number>>()
  for (const { r, s } of messages) {
    if (shelf.in.delete(s) || r === undefined) continue
    places.set(r[0], [...(places.get(r[0]) ?? []), r[1]])
  }
  for (const [n, taken] of places) {
    const part = shelf.parts.get(n)
    if (part !== undefined) shelf.parts.set(n, withTaken(part, yield* reader.open(part), taken))
  }
  if (messages.length > 0) draft.hasChanged = true
})

/**
 * Reads all messages of a shelf. 1 GET for each part that is not known.
 *
 * @category getters
 * @since 0.1.0
 */
export const messagesOn = Effect.fnUntraced(function* <E>(
  shelf: DraftShelf,
  reader: Reader<E>
): Effect.fn.Return<ReadonlyArray<Message>, E> {
  const all = [...shelf.in.values()]
  for (const part of shelf.parts.values()) {
    if (left(part) > 0) all.push(...untaken(part, yield* reader.open(part)))
  }
  return all.toSorted((a, b) => a.s - b.s)
})

// -----------------------------------------------------------------------------
// Ids
// -----------------------------------------------------------------------------

/** The least number of a message that waits or is claimed. */
const oldest = (draft: Draft): number => {
  let least = draft.q
  for (const s of draft.ready.in.keys()) least = Math.min(least, s)
  for (const s of draft.flight.keys()) least = Math.min(least, s)
  for (const part of draft.ready.parts.values()) if (left(part) > 0) least = Math.min(least, part.f)
  return least
}

/**
 * Returns a function that tells whether an id, by its digest, is remembered: for as long as its message may be in the queue,
 * and for `memory` milliseconds from when it was last seen.
 *
 * @category getters
 * @since 0.1.0
 */
export const memoryOf = Effect.fnUntraced(function* <E>(
  draft: Draft,
  reader: Reader<E>,
  { memory, now }: { readonly memory: number; readonly now: number }
): Effect.fn.Return<(digest: string) => boolean, E> {
  const parts: Array<ReadonlyMap<string, Remembered>> = []
  for (const part of draft.idParts) parts.push(yield* reader.openIds(part))
  const since = oldest(draft)
  const isKept = (id: Remembered | undefined) => id !== undefined && (id[1] >= since || id[2] + memory > now)
  return (digest) => isKept(draft.ids.get(digest)) || parts.some((part) => isKept(part.get(digest)))
})

/**
 * Forgets the ids that were last seen before a time, of messages that are gone; those in `kept` stay. Parts go as a whole, but for those
 * in `keptParts`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const forget = (
  draft: Draft,
  before: number,
  kept: ReadonlySet<string> = new Set(),
  keptParts: ReadonlySet<string> = new Set()
): void => {
  const since = oldest(draft)
  const isOver = (s: number, t: number) => s < since && t <= before
  const ids = new Map([...draft.ids].filter(([digest, [, s, t]]) => kept.has(digest) || !isOver(s, t)))
  const idParts = draft.idParts.filter(({ p, s, t }) => keptParts.has(p) || !isOver(s, t))
  if (ids.size === draft.ids.size && idParts.length === draft.idParts.length) return
  draft.ids = ids
  draft.idParts = idParts
  draft.hasChanged = true
}

// -----------------------------------------------------------------------------
// Offering
// -----------------------------------------------------------------------------

/**
 * A message that is offered: without a number, its payload beside it, and the digests that must not be there yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offered {
  readonly message: Omit<Message, "s">
  readonly digests: ReadonlyArray<string>
}

/**
 * Takes messages in; those in a part are given by its name. Returns for each whether it is new.
 *
 * @category combinators
 * @since 0.1.0
 */
export const offer = (
  draft: Draft,
  offered: ReadonlyArray<Offered>,
  options: {
    readonly isKnown: (digest: string) => boolean
    readonly now: number
    readonly part?: { readonly name: string; readonly messages: ReadonlyArray<Message> } | undefined
  }
): ReadonlyArray<boolean> => {
  const { isKnown, now, part } = options
  const base = draft.q
  const taken: Array<number> = []
  const news = offered.map(({ digests, message }, index) => {
    const s = part === undefined ? draft.q : base + index
    if (digests.some(isKnown)) {
      taken.push(index)
      return false
    }
    for (const digest of digests) draft.ids.set(digest, [digest, s, now])
    if (part === undefined) {
      draft.q += 1
      draft.ready.in.set(s, { s, ...message })
    }
    draft.totals.offered += 1
    draft.hasChanged = true
    return true
  })
  if (part !== undefined && taken.length < offered.length) {
    draft.q = base + offered.length
    addPart(draft, draft.ready, { ...part, base, taken })
  }
  return news
}

// -----------------------------------------------------------------------------
// Claiming
// -----------------------------------------------------------------------------

/**
 * Which of the messages of one priority go first: those that were offered first, or last.
 *
 * @category models
 * @since 0.1.0
 */
export type Order = "fifo" | "lifo"

const before =
  (order: Order) =>
  (a: Message, b: Message): number =>
    (b.p ?? 0) - (a.p ?? 0) || (order === "fifo" ? a.s - b.s : b.s - a.s)

/** Of some messages, the first that may be claimed, in their order. */
const eligible = (
  pool: ReadonlyArray<Message>,
  busy: ReadonlySet<string>,
  { max, now, order }: { readonly max: number; readonly now: number; readonly order: Order }
): ReadonlyArray<Message> => {
  const heads = new Map<string, number>()
  for (const { g, s } of pool) if (g !== undefined && s < (heads.get(g) ?? Infinity)) heads.set(g, s)
  return pool
    .filter(({ d = 0, g, s }) => d <= now && (g === undefined || (!busy.has(g) && heads.get(g) === s)))
    .toSorted(before(order))
    .slice(0, max)
}

/** The messages that are to be claimed next. Opens no more parts than may hold one that comes before. */
const chosen = Effect.fnUntraced(function* <E>(
  draft: Draft,
  reader: Reader<E>,
  options: { readonly max: number; readonly now: number; readonly order: Order }
): Effect.fn.Return<ReadonlyArray<Message>, E> {
  const { max, now, order } = options
  /** The part's message that would be first, as far as its number goes. */
  const first = ({ f, l = Number.MAX_SAFE_INTEGER }: Part) => (order === "fifo" ? f : -l)
  const busy = new Set<string>()
  for (const { m } of draft.flight.values()) if (m.g !== undefined) busy.add(m.g)
  const pool = [...draft.ready.in.values()]
  let closed = [...draft.ready.parts.values()].filter((part) => left(part) > 0)
  for (;;) {
    const best = eligible(pool, busy, options)
    const last = best.at(-1)
    const mayBeFirst = (part: Part) =>
      part.u <= now &&
      (last === undefined ||
        best.length < max ||
        part.y > (last.p ?? 0) ||
        (part.y === (last.p ?? 0) && first(part) < (order === "fifo" ? last.s : -last.s)))
    const mayHoldUp = ({ f, g }: Part) => g && best.some((message) => message.g !== undefined && f < message.s)
    const [next] = closed
      .filter((part) => mayBeFirst(part) || mayHoldUp(part))
      .toSorted((a, b) => b.y - a.y || first(a) - first(b))
    if (next === undefined) return best
    closed = closed.filter((part) => part !== next)
    pool.push(...untaken(next, yield* reader.open(next)))
  }
})

/**
 * Claims messages for a worker: those with the highest priority first, then in the order in which they were offered, or the other way
 * round; of a group one at a time, and none before those that were offered earlier. None while the queue is paused.
 *
 * @category combinators
 * @since 0.1.0
 */
export const claim = Effect.fnUntraced(function* <E>(
  draft: Draft,
  reader: Reader<E>,
  options: { readonly worker: string; readonly max: number; readonly now: number; readonly order: Order }
): Effect.fn.Return<ReadonlyArray<Flight>, E> {
  if (draft.paused || options.max < 1) return []
  const messages = yield* chosen(draft, reader, options)
  yield* takeAll(draft, draft.ready, messages, reader)
  return messages.map((message) => {
    const flight: Flight = { m: { ...message, a: (message.a ?? 0) + 1 }, k: ++draft.k, w: options.worker }
    draft.flight.set(message.s, flight)
    return flight
  })
})

/**
 * How a claim ends: `done`; `retry`, to be claimed again from a time on; `release`, as if it had not been claimed; `dead`.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "done" }
  | { readonly _tag: "release" }
  | { readonly _tag: "retry"; readonly due: number; readonly error: string }
  | { readonly _tag: "dead"; readonly error: string }

/**
 * Ends a claim, if it is still in force: whether it was.
 *
 * @category combinators
 * @since 0.1.0
 */
export const settle = (
  draft: Draft,
  claimed: { readonly number: number; readonly token: number; readonly digest: string | undefined },
  outcome: Outcome,
  now: number
): boolean => {
  const flight = draft.flight.get(claimed.number)
  if (flight === undefined || flight.k !== claimed.token) return false
  const { m } = flight
  draft.hasChanged = true
  draft.flight.delete(m.s)
  const { d: _, ...rest } = m
  switch (outcome._tag) {
    case "done": {
      draft.totals.completed += 1
      break
    }
    case "release": {
      draft.ready.in.set(m.s, { ...rest, a: Math.max(0, (m.a ?? 1) - 1) })
      break
    }
    case "retry": {
      draft.totals.retried += 1
      draft.ready.in.set(m.s, { ...rest, d: outcome.due, e: outcome.error })
      break
    }
    case "dead": {
      draft.totals.dead += 1
      draft.dead.in.set(m.s, { ...rest, e: outcome.error, t: now })
    }
  }
  // From when it is over the id is remembered as long as from when it was offered.
  if (claimed.digest !== undefined) draft.ids.set(claimed.digest, [claimed.digest, m.s, now])
  return true
}

/**
 * Lets the worker of a claim say that it goes on, if the claim is still in force: whether it is.
 *
 * @category combinators
 * @since 0.1.0
 */
export const renew = (draft: Draft, claimed: { readonly number: number; readonly token: number }): boolean => {
  if (draft.flight.get(claimed.number)?.k !== claimed.token) return false
  draft.hasChanged = true
  return true
}

/**
 * Takes the messages of silent workers from them: back to the queue, or to the dead letters when they were claimed too often.
 * Returns what was taken.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reap = (
  draft: Draft,
  options: {
    readonly isSilent: (worker: Worker) => boolean
    readonly maxAttempts: number
    readonly now: number
  }
): ReadonlyArray<Flight> => {
  const silent = new Set([...draft.workers.values()].filter(options.isSilent).map(({ w }) => w))
  const taken = [...draft.flight.values()].filter(({ w }) => silent.has(w))
  for (const w of silent) draft.workers.delete(w)
  if (silent.size > 0) draft.hasChanged = true
  for (const { m } of taken) {
    draft.flight.delete(m.s)
    draft.totals.lost += 1
    const error = "its worker was silent for too long"
    if ((m.a ?? 0) < options.maxAttempts) draft.ready.in.set(m.s, { ...m, e: error })
    else {
      draft.totals.dead += 1
      draft.dead.in.set(m.s, { ...m, e: error, t: options.now })
    }
  }
  return taken
}

/**
 * Notes that a worker goes on, as long as it has messages.
 *
 * @category combinators
 * @since 0.1.0
 */
export const beat = (draft: Draft, worker: string, millis: number): void => {
  const known = draft.workers.get(worker)
  const has = [...draft.flight.values()].some(({ w }) => w === worker)
  if (!has && known === undefined) return
  draft.hasChanged = true
  if (has) draft.workers.set(worker, { w: worker, b: (known?.b ?? 0) + 1, l: millis })
  else draft.workers.delete(worker)
}

// -----------------------------------------------------------------------------
// Dead letters
// -----------------------------------------------------------------------------

/**
 * Puts dead letters back to the end of the queue, as if they had never been claimed. Returns how many.
 *
 * @category combinators
 * @since 0.1.0
 */
export const redrive = Effect.fnUntraced(function* <E>(
  draft: Draft,
  reader: Reader<E>,
  isChosen: (message: Message) => boolean
) {
  const messages = (yield* messagesOn(draft.dead, reader)).filter(isChosen)
  yield* takeAll(draft, draft.dead, messages, reader)
  for (const { a: _, e: __, t: ___, d: ____, ...message } of messages) {
    const s = draft.q++
    draft.ready.in.set(s, { ...message, s })
  }
  draft.totals.redriven += messages.length
  return messages.length
})

/**
 * Removes dead letters. Returns how many.
 *
 * @category combinators
 * @since 0.1.0
 */
export const discard = Effect.fnUntraced(function* <E>(
  draft: Draft,
  reader: Reader<E>,
  isChosen: (message: Message) => boolean
) {
  const messages = (yield* messagesOn(draft.dead, reader)).filter(isChosen)
  yield* takeAll(draft, draft.dead, messages, reader)
  return messages.length
})

// -----------------------------------------------------------------------------
// Emptying
// -----------------------------------------------------------------------------

/** Takes all messages of a shelf. What is claimed, or dead, may still refer to its parts. */
const emptied = (shelf: DraftShelf): number => {
  let count = shelf.in.size
  shelf.in.clear()
  for (const part of shelf.parts.values()) {
    count += left(part)
    shelf.parts.set(part.n, { ...part, h: part.k, t: [], ...summary([]) })
  }
  return count
}

/**
 * Removes the messages that wait, and if so wanted those that are claimed, whose claims are over, and the dead letters. Returns how many.
 * Reads nothing. Ids stay remembered.
 *
 * @category combinators
 * @since 0.1.0
 */
export const clear = (
  draft: Draft,
  { claimed, deadLetters }: { readonly claimed: boolean; readonly deadLetters: boolean }
): number => {
  let count = emptied(draft.ready)
  if (deadLetters) count += emptied(draft.dead)
  if (claimed) {
    count += draft.flight.size
    draft.flight.clear()
    draft.workers.clear()
  }
  if (count > 0) draft.hasChanged = true
  return count
}

/**
 * Makes a queue as if nothing had ever been in it, but for its counters: the next token, number and part are none that have been there, and
 * no part that was put so far is ever named.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reset = (draft: Draft): void => {
  clear(draft, { claimed: true, deadLetters: true })
  draft.ids = new Map()
  draft.idParts = []
  draft.paused = false
  Object.assign(draft.totals, empty.totals)
  // Above that of each part that somebody may be putting now.
  const { floor, generation } = partsOf.nextGenerations(partsOf.nextGenerations(draft))
  draft.floor = floor
  draft.generation = generation
  draft.hasChanged = true
}

// -----------------------------------------------------------------------------
// Statistics
// -----------------------------------------------------------------------------

/**
 * Counts the messages of a shelf. No request.
 *
 * @category getters
 * @since 0.1.0
 */
export const countOn = (shelf: State["ready"]): number =>
  shelf.parts.reduce((sum, part) => sum + left(part), shelf.in.length)

/**
 * Counts the messages that wait for their time. 1 GET for each part that is not known and has some.
 *
 * @category getters
 * @since 0.1.0
 */
export const countDelayed = Effect.fnUntraced(function* <E>(
  { ready }: State,
  reader: Reader<E>,
  now: number
): Effect.fn.Return<number, E> {
  const isLater = ({ d = 0 }: Message) => d > now
  let count = ready.in.filter(isLater).length
  for (const part of ready.parts) {
    if (left(part) === 0 || part.v <= now) continue
    count += part.u > now ? left(part) : untaken(part, yield* reader.open(part)).filter(isLater).length
  }
  return count
})

/**
 * Returns the earliest time at which a message is due, if any waits; 0 when that is at once.
 *
 * @category getters
 * @since 0.1.0
 */
export const nextDue = ({ ready }: State, now: number): number | undefined => {
  let least: number | undefined
  const see = (due: number) => (least = due > now && (least === undefined || due < least) ? due : least)
  for (const { d } of ready.in) if (d !== undefined) see(d)
  for (const part of ready.parts) {
    if (left(part) === 0 || part.v <= now) continue
    // Those that are due already are in the way of who looks for the next: after a moment.
    see(part.u > now ? part.u : now + 1000)
  }
  return least
}
