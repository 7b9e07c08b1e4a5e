/**
 * Counters that many processes take from at once, and that never go below zero: stock, credit, permits.
 *
 * ```ts
 * import * as Escrow from "effect-s3db/kernel/Escrow"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const seats = yield* Escrow.make(yield* ObjectStore, { key: "plugin=p/seats", initial: 100 })
 *   yield* seats.take(2)
 *   return yield* seats.value
 * })
 * ```
 *
 * **Details**
 *
 * What is there is spread over slots, objects at `key/slot=NN` that are changed by compare-and-set, none of which is ever below zero. A process
 * takes from one of them, and from others when that has not enough, so that those who take at once seldom meet. Rights move between slots by two
 * writes: the one slot says how many it has sent to the other in all, the other how many of these it has got. Who crashes in between leaves them on
 * their way, and whoever comes next takes them in. No slot belongs to anybody: a process that is gone has nothing that would have to be got back.
 *
 * Source of the idea: P. E. O'Neil, "The Escrow Transactional Method" (ACM TODS 11, 1986).
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ExpectedError } from "../internal/expectedError.ts"
import { listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"
import * as grouped from "./internal/grouped.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * There is less than was asked for. Nothing was taken. `available` is what there was at one moment since it was asked for.
 *
 * @remedy Take less, or wait until somebody adds to it.
 * @category errors
 * @since 0.1.0
 */
export class Insufficient extends ExpectedError<Insufficient>("effect-s3db/kernel/Escrow/Insufficient")(
  "Insufficient",
  { key: Schema.String, asked: Schema.Int, available: Schema.Int },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `${this.asked} were asked for of ${JSON.stringify(this.key)}, where there are ${this.available}`
  }
}

/**
 * Where a counter is, and what it begins with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What the keys of its slots begin with. */
  readonly key: string
  /** What there is before anybody has added or taken: a whole number from 0. All processes have to say the same. */
  readonly initial: number
  /** Over how many slots it is spread. 1 to 64; default: 8. A process with more or fewer works with the others all the same. */
  readonly slots?: number | undefined
}

/**
 * A counter that never goes below zero.
 *
 * @category models
 * @since 0.1.0
 */
export interface Escrow {
  /**
   * Takes so many, or none. 1 PUT, for all that are taken and added at the time in this process; 1 GET more at first, and where another process has
   * written. Where the slot has not enough, 2 GET and 2 PUT to get half of what the first one has; where that has not enough, 1 LIST, 1 GET for each
   * slot that has changed, and 2 PUT for each that has something; 2 LIST more to refuse.
   *
   * `Insufficient`: there were fewer, at one moment since it was asked for. `StoreError` with the outcome `"unknown"`: they were taken or not; with
   * any other nothing was. `InvalidArgument`: the number is no whole one from 1.
   */
  readonly take: (amount: number) => Effect.Effect<void, Insufficient | StoreError.StoreError>
  /**
   * Adds so many. Requests and errors as of `take` from a slot that has enough. `InvalidArgument`, too: with what is in the slot it would be more than
   * 9,007,199,254,740,991.
   */
  readonly add: (amount: number) => Effect.Effect<void, StoreError.StoreError>
  /** What there is, at one moment. 2 LIST, and 1 GET for each slot that has changed; again after a pause where somebody was writing. `Unsupported`: there are more than 9,007,199,254,740,991. */
  readonly value: Effect.Effect<number, StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Slots
// -----------------------------------------------------------------------------

/** The most there can be: every process looks at all of them. */
const maxSlots = 64

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const SlotNumber = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maxSlots - 1 }))

const Sent = Schema.Array(Schema.Tuple([SlotNumber, Count])).check(
  Schema.makeFilter((sent) => new Set(sent.map(([slot]) => slot)).size === sent.length || "Expected each slot once")
)

const Slot = Schema.Struct({
  /** What is in it. */
  rights: Count,
  /** How many it has sent to others in all, by their number. */
  out: Sent,
  /** How many it has got of those that others have sent to it. */
  in: Sent
})

type Slot = typeof Slot.Type
type Version = CasCell.Version<Slot>

const format = CasCell.schemaFormat(Slot, { what: "a slot of a bounded counter" })

const defaultSlots = 8

/** How often it is looked again, or tried again, when others were first. */
const retries = 60

const countOf = (sent: Slot["out"], slot: number): number => sent.find(([other]) => other === slot)?.[1] ?? 0

const withCount = (sent: Slot["out"], slot: number, count: number): Slot["out"] => [
  ...sent.filter(([other]) => other !== slot),
  [slot, count]
]

/** Takes so many out, on their way to another slot. */
const send = (slot: Slot, to: number, amount: number): Slot => ({
  ...slot,
  rights: slot.rights - amount,
  out: withCount(slot.out, to, countOf(slot.out, to) + amount)
})

/** Takes in what another slot has sent, as far as it is not there already, and as a number can hold it; the rest stays on its way. */
const receive = (slot: Slot, from: number, sent: number): Slot => {
  const got = countOf(slot.in, from)
  const amount = Math.min(sent - got, Number.MAX_SAFE_INTEGER - slot.rights)
  return amount <= 0 ? slot : { ...slot, rights: slot.rights + amount, in: withCount(slot.in, from, got + amount) }
}

/** What is in slots, and on its way between them. */
const totalOf = (slots: ReadonlyArray<Slot>): number => {
  let total = 0
  for (const [number, slot] of slots.entries()) {
    total += slot.rights
    for (const [to, sent] of slot.out) total += Math.max(0, sent - countOf(slots[to]?.in ?? [], number))
  }
  return total
}

/** What a fiber wants of a slot: to take, or, when negative, to add. */
interface Wish {
  readonly amount: number
  readonly isDone: Deferred.Deferred<boolean>
}

/**
 * Makes a counter that is changed until the scope closes. No request.
 *
 * Dies with a `RangeError` when `slots` or `initial` is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  { initial, key, slots = defaultSlots }: Options
): Effect.fn.Return<Escrow, never, Scope.Scope> {
  if (!Number.isInteger(slots) || slots < 1 || slots > maxSlots) {
    return yield* Effect.die(new RangeError(`slots has to be a whole number from 1 to ${maxSlots}, not ${slots}`))
  }
  if (!Number.isSafeInteger(initial) || initial < 0) {
    return yield* Effect.die(new RangeError(`initial has to be a whole number from 0, not ${initial}`))
  }
  const cells = Array.from({ length: maxSlots }, (_, n) =>
    CasCell.make(store, `${key}/slot=${String(n).padStart(2, "0")}`, format)
  )
  /** Where nothing has been written, the first slot has all that there is at the beginning. */
  const slotOf = (number: number, slot: Slot | undefined): Slot =>
    slot ?? { rights: number === 0 ? initial : 0, out: [], in: [] }

  const known = new Map<number, Version>()
  let own: number | undefined
  const ownSlot = Effect.suspend(() =>
    own === undefined
      ? Effect.map(Random.nextIntBetween(0, slots, { halfOpen: true }), (n) => (own = n))
      : Effect.succeed(own)
  )

  const readSlot = (number: number) =>
    Effect.map(cells[number]!.read, (version) => {
      known.set(number, version)
      return version
    })

  /** Changes a slot by what is made of it, and gives what it was before. */
  const change = Effect.fnUntraced(function* (number: number, made: (slot: Slot) => Slot) {
    const from = known.get(number)
    // Until it is known what has come of it.
    known.delete(number)
    let before = slotOf(number, undefined)
    const version = yield* cells[number]!.modify((state) => {
      before = slotOf(number, state)
      const after = made(before)
      return Effect.succeed(after === before ? state : after)
    }, from)
    if (version.isLater !== true) known.set(number, version)
    return { before, after: made(before) }
  })

  /** Moves rights from one slot to another, as many as are wanted of those that are there. */
  const move = Effect.fnUntraced(function* (from: number, to: number, wanted: (rights: number) => number) {
    const { after } = yield* change(from, (slot) => {
      const amount = Math.min(slot.rights, wanted(slot.rights), Number.MAX_SAFE_INTEGER - countOf(slot.out, to))
      return amount <= 0 ? slot : send(slot, to, amount)
    })
    const sent = countOf(after.out, to)
    if (sent > 0) yield* change(to, (slot) => receive(slot, from, sent))
  })

  const write = Effect.fnUntraced(function* (_: string, wishes: ReadonlyArray<Wish>) {
    const number = yield* ownSlot
    let fits: ReadonlyArray<boolean> = []
    yield* change(number, (slot) => {
      let { rights } = slot
      // Who adds comes first: others may take it.
      const order = [...wishes.keys()].toSorted((a, b) => Number(wishes[a]!.amount > 0) - Number(wishes[b]!.amount > 0))
      const fitting = wishes.map(() => false)
      for (const i of order) {
        const { amount } = wishes[i]!
        if (amount > rights || !Number.isSafeInteger(rights - amount)) continue
        rights -= amount
        fitting[i] = true
      }
      fits = fitting
      return rights === slot.rights && !fitting.some((one) => one) ? slot : { ...slot, rights }
    })
    for (const [i, { isDone }] of wishes.entries()) yield* Deferred.succeed(isDone, fits[i] === true)
  })
  const submit = yield* grouped.make(write)

  const wish = Effect.fnUntraced(function* (amount: number) {
    const isDone = yield* Deferred.make<boolean>()
    yield* submit("", { amount, isDone })
    return yield* Deferred.await(isDone)
  })

  const list = Effect.map(Stream.runCollect(listAll(store, { prefix: `${key}/slot=` })), (entries) =>
    entries.flatMap(({ etag, key: at }) => {
      const number = cells.findIndex((cell) => cell.key === at)
      return number < 0 ? [] : [{ number, etag }]
    })
  )

  /** All slots, those alone read again that have changed. */
  const readAll = Effect.gen(function* () {
    const listed = yield* list
    const versions = new Map<number, Version>()
    yield* Effect.forEach(
      listed,
      Effect.fnUntraced(function* ({ etag, number }) {
        const version = known.get(number)
        versions.set(number, version?.etag === etag && version !== undefined ? version : yield* readSlot(number))
      }),
      { concurrency: 16, discard: true }
    )
    return { versions, slots: cells.map((_, number) => slotOf(number, versions.get(number)?.value)) }
  })

  /** All slots as they were at one moment: none has changed from when they were read until they are listed again. */
  const snapshot = Effect.gen(function* () {
    const { slots: all, versions } = yield* readAll
    const listed = yield* list
    const isSame =
      listed.length === versions.size && listed.every(({ etag, number }) => versions.get(number)?.etag === etag)
    return isSame ? all : undefined
  })

  /** Brings all that there is into the first slot. */
  const gather = Effect.gen(function* () {
    const { slots: all } = yield* readAll
    for (const [number, slot] of all.entries()) {
      // What is on its way to another slot arrives there first.
      for (const [to, sent] of slot.out) {
        if (sent > countOf(all[to]?.in ?? [], number)) yield* change(to, (other) => receive(other, number, sent))
      }
    }
    for (const number of all.keys()) {
      if (number > 0 && slotOf(number, known.get(number)?.value).rights > 0) yield* move(number, 0, (there) => there)
    }
  })

  const failed = (reason: StoreError.Reason) => new StoreError.StoreError({ operation: "put", key, reason })

  const checked = (amount: number): Effect.Effect<void, StoreError.StoreError> =>
    Number.isSafeInteger(amount) && amount >= 1
      ? Effect.void
      : Effect.fail(
          failed(new StoreError.InvalidArgument({ description: "expected a whole number from 1", argument: "amount" }))
        )

  const contended = failed(
    new StoreError.ConditionalRequestConflict({ description: "others were writing to the slots again and again" })
  )

  const tooMany = (description: string) => failed(new StoreError.InvalidArgument({ description, argument: "amount" }))

  const tooManyToTell = new StoreError.StoreError({
    operation: "get",
    key,
    reason: new StoreError.Unsupported({
      feature: "a number of more than 9,007,199,254,740,991",
      description: "there are so many of it that no number tells how many; take some first"
    })
  })

  /** Takes from the first slot, where all come together. */
  const takeFromFirst = Effect.fnUntraced(function* (amount: number) {
    let isTaken = false
    yield* change(0, (slot) => {
      isTaken = slot.rights >= amount
      return isTaken ? { ...slot, rights: slot.rights - amount } : slot
    })
    return isTaken
  })

  const takeFromAll = (amount: number) =>
    CasCell.contend(
      Effect.fnUntraced(function* (): Effect.fn.Return<
        void | CasCell.Lost<undefined>,
        Insufficient | StoreError.StoreError
      > {
        yield* gather
        if (yield* takeFromFirst(amount)) return
        const all = yield* snapshot
        if (all === undefined) return new CasCell.Lost(undefined)
        const available = totalOf(all)
        if (available < amount) return yield* new Insufficient({ key, asked: amount, available })
        return new CasCell.Lost(undefined)
      }),
      { retries, exhausted: () => Effect.fail(contended) }
    )

  return {
    take: Effect.fnUntraced(function* (amount) {
      yield* checked(amount)
      if (yield* wish(amount)) return
      const number = yield* ownSlot
      if (number !== 0) {
        yield* move(0, number, (rights) => (rights < amount ? 0 : Math.max(amount, Math.ceil(rights / 2))))
        if (yield* wish(amount)) return
      }
      yield* takeFromAll(amount)
    }),
    add: Effect.fnUntraced(function* (amount) {
      yield* checked(amount)
      if (!(yield* wish(-amount))) {
        return yield* tooMany("there would be more than 9,007,199,254,740,991 in a slot, which no number can tell")
      }
    }),
    value: CasCell.contend(
      Effect.fnUntraced(function* () {
        const all = yield* snapshot
        if (all === undefined) return new CasCell.Lost(undefined)
        const total = totalOf(all)
        return Number.isSafeInteger(total) ? total : yield* tooManyToTell
      }),
      { retries, exhausted: () => Effect.fail(contended) }
    )
  }
})
