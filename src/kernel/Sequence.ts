/**
 * Sequences: numbers that rise, none of which is given twice, by as many processes as like.
 *
 * ```ts
 * import * as Sequence from "effect-s3db/kernel/Sequence"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const numbers = yield* Sequence.make(yield* ObjectStore, { key: "plugin=shop/sequence=orders", block: 100 })
 *   const id = yield* Sequence.incremental(numbers, { prefix: "ORD-", padding: 4 })
 *   // ORD-0001
 *   return id
 * })
 * ```
 *
 * **Details**
 *
 * A cell holds the next number. A process reserves a block of numbers by one compare-and-set, and gives them out by
 * itself. With blocks of 1, the default, a number that is asked for after another was given is higher, whoever asks; with
 * larger ones this holds within a process, and the blocks of several lie side by side.
 *
 * **Gotchas**
 *
 * There are holes: what a process has reserved and not given when it ends, what it was interrupted at, and what a
 * reservation took whose answer was lost for good. A number says nothing of how many there are.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"

/**
 * Where a sequence is, and its numbers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly key: string
  /** The first number, where there is no sequence yet. A safe integer. Default: 1. */
  readonly start?: number | undefined
  /** What each number is more than the one before; below 0 they fall. Not 0. All clients must say the same. Default: 1. */
  readonly step?: number | undefined
  /** How many numbers are reserved at once: 1 to 1,000,000. Default: 1. */
  readonly block?: number | undefined
}

/**
 * Numbers that were reserved together: `size` of them, the first and each `step` after it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Block {
  readonly first: number
  readonly step: number
  readonly size: number
}

/**
 * A sequence of numbers.
 *
 * Everything fails with `StoreError`. `InvalidArgument`: the sequence has another step, or there are no more safe integers;
 * nothing was reserved. An error with the outcome `"unknown"`: numbers may
 * have been reserved, which nobody gets. Other `PreconditionFailed`: others were first again and again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sequence {
  readonly key: string
  /**
   * Gives the next number. 1 GET and 1 PUT for the first block of a process, 1 PUT for each after that, 1 GET and 1 PUT more
   * for each process that was first; no request for the others of a block.
   */
  readonly next: Effect.Effect<number, StoreError.StoreError>
  /** Reserves numbers for oneself, beside the blocks that `next` takes. Default: as many as a block. Requests as of `next`. */
  readonly nextBlock: (size?: number) => Effect.Effect<Block, StoreError.StoreError>
  /** The number that is reserved next. It is nobody's yet, and may be somebody's when one looks at it. 1 GET. */
  readonly peek: Effect.Effect<number, StoreError.StoreError>
  /**
   * Goes on from another number, and with the step of the options. Blocks that were reserved are given out all the same,
   * but for one's own. 1 GET and 1 PUT.
   *
   * `InvalidArgument` when numbers from there on have been given before, as far as the sequence knows, unless `canRepeat`:
   * then they are given twice.
   */
  readonly reset: (
    to: number,
    options?: { readonly canRepeat?: boolean | undefined }
  ) => Effect.Effect<void, StoreError.StoreError>
}

/**
 * The most numbers that are reserved at once: 1,000,000.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBlock = 1_000_000

const State = Schema.Struct({ next: Schema.Int, step: Schema.Int })
type State = typeof State.Type
type Version = CasCell.Version<State>

const format = CasCell.schemaFormat(State, { what: "a sequence" })

const isBlock = (size: number): boolean => Number.isInteger(size) && size >= 1 && size <= maxBlock

/**
 * Says which option of a sequence, or of the ids that are made of its numbers, is out of its range, and what was expected.
 *
 * @category getters
 * @since 0.1.0
 */
export const problemOf = ({
  block = 1,
  padding = 0,
  prefix = "",
  start = 1,
  step = 1
}: Pick<Options, "block" | "start" | "step"> & IdOptions): string | undefined => {
  for (const [name, value] of Object.entries({ start, step })) {
    if (!Number.isSafeInteger(value)) return `${name} has to be a safe integer, not ${value}`
  }
  if (step === 0) return "step cannot be 0"
  if (!isBlock(block)) return `block has to be a whole number from 1 to ${maxBlock}, not ${block}`
  if (!Number.isInteger(padding) || padding < 0 || padding > 20) {
    return `padding has to be a whole number from 0 to 20, not ${padding}`
  }
  return typeof prefix === "string" && prefix.isWellFormed() ? undefined : "prefix has to be well-formed text"
}

/**
 * Creates a sequence on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when `start` or `step` is no safe integer, `step` is 0, or `block` no whole number from 1 to
 * 1,000,000.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Options
): Effect.fn.Return<Sequence> {
  const { block = 1, key, start = 1, step = 1 } = options
  const problem = problemOf({ block, start, step })
  if (problem !== undefined) throw new RangeError(problem)

  const cell = CasCell.make(store, key, format)
  const lock = yield* Semaphore.make(1)
  let known: Version | undefined
  /** What is left of the block that `next` gives out. */
  let rest = { next: start, left: 0 }

  const invalid = (description: string) =>
    new StoreError.StoreError({
      operation: "put",
      key,
      reason: new StoreError.InvalidArgument({ description, argument: "body" })
    })

  /** Changes the sequence, from the newest version that is known. */
  const change = Effect.fnUntraced(function* (
    to: (state: State) => Effect.Effect<State, StoreError.StoreError>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    const from = known
    // Until it is known what has come of it.
    known = undefined
    known = yield* cell.modify((state = { next: start, step }) => to(state), from)
  })

  const reserve = Effect.fnUntraced(function* (size: number) {
    let first = start
    yield* change((state) => {
      if (state.step !== step) return Effect.fail(invalid(`the sequence has step ${state.step}, not ${step}`))
      first = state.next
      const next = first + size * step
      return Number.isSafeInteger(next)
        ? Effect.succeed({ next, step })
        : Effect.fail(invalid("the sequence has come to the end of the safe integers"))
    })
    return first
  })

  const next = Effect.gen(function* () {
    if (rest.left === 0) rest = { next: yield* reserve(block), left: block }
    const number = rest.next
    rest = { next: number + step, left: rest.left - 1 }
    return number
  }).pipe(lock.withPermits(1))

  const nextBlock = Effect.fnUntraced(function* (size: number) {
    if (!isBlock(size)) {
      return yield* invalid(`size has to be a whole number from 1 to ${maxBlock}, not ${size}`)
    }
    return { first: yield* reserve(size), step, size }
  }, lock.withPermits(1))

  const reset = Effect.fnUntraced(function* (to: number, canRepeat: boolean) {
    if (!Number.isSafeInteger(to)) return yield* invalid(`to has to be a safe integer, not ${to}`)
    yield* change((state) =>
      !canRepeat && (to - state.next) * Math.sign(step) < 0
        ? Effect.fail(invalid(`the sequence is at ${state.next} already: from ${to} on numbers would be given twice`))
        : Effect.succeed({ next: to, step })
    )
    rest = { next: to, left: 0 }
  }, lock.withPermits(1))

  return {
    key,
    next,
    nextBlock: (size = block) => nextBlock(size),
    peek: Effect.map(cell.read, ({ value }) => value?.next ?? start),
    reset: (to, { canRepeat = false } = {}) => reset(to, canRepeat)
  }
})

/**
 * How a number becomes an id.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdOptions {
  /** What each id begins with. Default: nothing. */
  readonly prefix?: string | undefined
  /** The least number of digits; there are more when they are needed. 0 to 20. Default: 0. */
  readonly padding?: number | undefined
}

/**
 * Returns the id of a number: the prefix, and the number with zeros before it. Below 0 the sign comes before the zeros.
 *
 * Ids of one length sort as text like their numbers, from 0 on.
 *
 * Throws a `RangeError` when `padding` is no whole number from 0 to 20, or `prefix` no well-formed text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const idOf = (number: number, { padding = 0, prefix = "" }: IdOptions = {}): string => {
  const problem = problemOf({ padding, prefix })
  if (problem !== undefined) throw new RangeError(problem)
  return `${prefix}${number < 0 ? "-" : ""}${String(Math.abs(number)).padStart(padding, "0")}`
}

/**
 * Makes ids of the numbers of a sequence: `ORD-0001`, `ORD-0002`, ... Requests and errors as of `next`.
 *
 * As the default of a field, where the sequence is at hand when the schema is made, failures are defects:
 * `Schema.String.pipe(Schema.withConstructorDefault(Effect.orDie(ids)))`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const incremental = (sequence: Sequence, options?: IdOptions): Effect.Effect<string, StoreError.StoreError> =>
  Effect.map(sequence.next, (number) => idOf(number, options))
