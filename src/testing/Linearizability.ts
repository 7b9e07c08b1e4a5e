/**
 * Checks whether a history of concurrent operations can be explained as if each had happened at one moment between its
 * invocation and its answer (M. Herlihy, J. Wing: "Linearizability: a correctness condition for concurrent objects",
 * 1990). Operations whose outcome nobody knows may have happened at any time since, or never.
 *
 * ```ts no-check
 * const recorder = Linearizability.makeRecorder<Linearizability.DocumentOp, Linearizability.DocumentResult>()
 * // ... clients run their operations through recorder.record ...
 * const verdict = Linearizability.check({ model: Linearizability.documentModel, history: yield* recorder.history })
 * assert.isTrue(verdict.ok, Linearizability.describe(verdict))
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"

/**
 * The behaviour of an object when nothing happens at the same time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Model<S, Op, Res extends NonNullable<unknown>> {
  readonly initial: S
  /**
   * Every state that is possible after the operation with this result; none when it cannot have had this result in this
   * state. Without a result, the states it can lead to with any result.
   */
  readonly step: (state: S, op: Op, result: Res | undefined) => ReadonlyArray<S>
  /** Equal texts for equal states, different ones for different states. */
  readonly key: (state: S) => string
  /**
   * True only if the operation, when it has this result, leaves every state as it was. The search takes it as soon as
   * it fits, which saves much where many operations overlap. Default: none does.
   */
  readonly isRead?: ((op: Op, result: Res) => boolean) | undefined
}

/**
 * The end of an operation. `Unknown`: it may have taken effect, or may still do so at any later time. `Fail`: it
 * certainly did not and will not.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<Res> =
  | { readonly _tag: "Return"; readonly result: Res }
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Fail" }

/**
 * A beginning or an end of an operation; a history has them in the order in which they happened. An operation without
 * an end is one with an unknown outcome.
 *
 * @category models
 * @since 0.1.0
 */
export type Event<Op, Res> =
  | { readonly _tag: "Invoke"; readonly id: number; readonly process: string; readonly op: Op }
  | (Outcome<Res> & { readonly id: number })

/**
 * An operation of a history, with its result where it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation<Op, Res> {
  readonly id: number
  readonly process: string
  readonly op: Op
  /** `undefined`: unknown. */
  readonly result: Res | undefined
}

/**
 * An operation at its place in the order that was found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placed<S, Op, Res> extends Operation<Op, Res> {
  /** The state after it. */
  readonly state: S
}

/**
 * An order that explains a history, or the longest part of one.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict<S, Op, Res> =
  | {
      readonly ok: true
      /** One order that explains the history, without the unknown operations that it can do without. */
      readonly order: ReadonlyArray<Placed<S, Op, Res>>
    }
  | {
      readonly ok: false
      /** The longest order that explains a part of the history. */
      readonly prefix: ReadonlyArray<Placed<S, Op, Res>>
      /** What was under way then and finds no place. The first one has to come now. */
      readonly stuckAt: ReadonlyArray<Operation<Op, Res>>
    }

/**
 * The model, the history, and how long to look for an order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<S, Op, Res extends NonNullable<unknown>> {
  readonly model: Model<S, Op, Res>
  readonly history: ReadonlyArray<Event<Op, Res>>
  /** Give up with a thrown `Error` after so many configurations. Default: 2,000,000. */
  readonly limit?: number | undefined
}

interface Node<S, Op, Res> {
  readonly before: Node<S, Op, Res> | undefined
  readonly placed: Placed<S, Op, Res>
}

/** One way in which the history may have gone so far. */
interface Configuration<S, Op, Res> {
  readonly state: S
  readonly key: string
  /** Which of the operations under way have their place already, by slot. */
  readonly done: bigint
  /** Which of the unknown operations have happened. */
  readonly used: bigint
  /** How many unknown operations came since the last answer. */
  readonly spent: number
  readonly answered: number
  readonly path: Node<S, Op, Res> | undefined
}

/** An operation that was answered, while it is under way. */
interface Pending<Op, Res> {
  readonly operation: Operation<Op, Res>
  readonly bit: bigint
  readonly isRead: boolean
}

interface UnknownOperation<Op, Res> {
  readonly operation: Operation<Op, Res>
  readonly bit: bigint
  /** The bit of the equal operation before it: of equal ones the oldest goes first. */
  readonly after: bigint
}

/**
 * Looks for an order of the operations that fits the model and the history.
 *
 * **Details**
 *
 * The search keeps every configuration the object can be in. When an operation returns, those survive in which it has
 * been placed, with others that were under way, or whose outcome is unknown, before it where needed. Of configurations
 * that differ only in the unknown operations they needed, those that needed fewest are enough: an operation that has
 * not happened yet still can. The number of unknown operations between two answers is limited and raised as long as
 * that could help, so that a good history is not searched for far-fetched explanations.
 *
 * Sources: J. Wing, C. Gong: "Testing and verifying concurrent objects", 1993; G. Lowe: "Testing for linearizability",
 * 2017, whose just-in-time algorithm with memory this is. The treatment of unknown outcomes is our own.
 *
 * Time grows with the length of the history, but exponentially with the number of writes that overlap. Five clients
 * with 300 operations and 20 unknown outcomes take some 10 milliseconds. Check each key by itself.
 *
 * **Gotchas**
 *
 * Throws an `Error` on a history that is none (an end without its invocation, an id twice), and when it gives up.
 *
 * @category constructors
 * @since 0.1.0
 */
export const check = <S, Op, Res extends NonNullable<unknown>>(options: Options<S, Op, Res>): Verdict<S, Op, Res> => {
  const { history, limit = 2_000_000, model } = options
  const operations = operationsOf(history)
  const effort = { left: limit }
  for (let budget = 0; ; budget++) {
    const { isCut, verdict } = search(model, history, operations, budget, effort)
    if (verdict.ok || !isCut) return verdict
  }
}

const operationsOf = <Op, Res>(
  history: ReadonlyArray<Event<Op, Res>>
): ReadonlyMap<number, { readonly operation: Operation<Op, Res>; readonly end: Outcome<Res>["_tag"] }> => {
  const invoked = new Map<number, Operation<Op, Res>>()
  const ends = new Map<number, Outcome<Res>>()
  for (const event of history) {
    if (event._tag === "Invoke") {
      if (invoked.has(event.id)) throw new Error(`the history invokes operation ${event.id} twice`)
      invoked.set(event.id, { id: event.id, process: event.process, op: event.op, result: undefined })
    } else {
      if (!invoked.has(event.id)) throw new Error(`the history ends operation ${event.id} before its invocation`)
      if (ends.has(event.id)) throw new Error(`the history ends operation ${event.id} twice`)
      ends.set(event.id, event)
    }
  }
  return new Map(
    Array.from(invoked, ([id, operation]) => {
      const end = ends.get(id) ?? { _tag: "Unknown" }
      const result = end._tag === "Return" ? end.result : undefined
      return [id, { operation: { ...operation, result }, end: end._tag }]
    })
  )
}

const search = <S, Op, Res extends NonNullable<unknown>>(
  model: Model<S, Op, Res>,
  history: ReadonlyArray<Event<Op, Res>>,
  operations: ReturnType<typeof operationsOf<Op, Res>>,
  budget: number,
  effort: { left: number }
): { readonly verdict: Verdict<S, Op, Res>; readonly isCut: boolean } => {
  type Config = Configuration<S, Op, Res>
  const pending = new Map<number, Pending<Op, Res>>()
  const unknown: Array<UnknownOperation<Op, Res>> = []
  const freeBits: Array<bigint> = []
  let bits = 0n
  let isCut = false
  let configurations: ReadonlyArray<Config> = [
    {
      state: model.initial,
      key: model.key(model.initial),
      done: 0n,
      used: 0n,
      spent: 0,
      answered: 0,
      path: undefined
    }
  ]

  const placed = (from: Config, operation: Operation<Op, Res>, state: S, change: Partial<Config>): Config => ({
    ...from,
    state,
    key: model.key(state),
    path: { before: from.path, placed: { ...operation, state } },
    ...change
  })

  /** With every read that fits: it has to come some time, and cannot do harm now. */
  const withReads = (config: Config): Config => {
    let { answered, done, path } = config
    for (const { bit, isRead, operation } of pending.values()) {
      if (!isRead || (done & bit) !== 0n) continue
      if (model.step(config.state, operation.op, operation.result).length === 0) continue
      done |= bit
      answered += 1
      path = { before: path, placed: { ...operation, state: config.state } }
    }
    return done === config.done ? config : { ...config, answered, done, path }
  }

  /** The configurations that follow from one by one more operation. */
  const next = (from: Config): ReadonlyArray<Config> => {
    const found: Array<Config> = []
    for (const { bit, isRead, operation } of pending.values()) {
      if (isRead || (from.done & bit) !== 0n) continue
      for (const state of model.step(from.state, operation.op, operation.result)) {
        found.push(placed(from, operation, state, { done: from.done | bit, answered: from.answered + 1 }))
      }
    }
    for (const { after, bit, operation } of unknown) {
      if ((from.used & bit) !== 0n || (from.used & after) !== after) continue
      for (const state of model.step(from.state, operation.op, undefined)) {
        // What changes nothing need not have happened.
        if (model.key(state) === from.key) continue
        if (from.spent === budget) isCut = true
        else found.push(placed(from, operation, state, { used: from.used | bit, spent: from.spent + 1 }))
      }
    }
    return found
  }

  /** Every way in which the operation has found its place; none, with the one that comes furthest. */
  const survivors = (bit: bigint): { readonly found: ReadonlyArray<Config>; readonly furthest: Config } => {
    const seen = makeMemory()
    const kept = makeMemory()
    const found: Array<Config> = []
    let furthest = configurations[0]!
    // In the order of how many unknown operations were needed: none that comes later makes an earlier one needless.
    const waiting: Array<Array<Config>> = []
    const wait = (config: Config) => {
      const level = countOf(config.used)
      const others = waiting[level]
      if (others === undefined) waiting[level] = [config]
      else others.push(config)
    }
    configurations.forEach(wait)
    for (let level = 0; level < waiting.length; level++) {
      const here = waiting[level] ?? []
      for (let bare = here.pop(); bare !== undefined; bare = here.pop()) {
        const config = withReads(bare)
        if (!seen(config)) continue
        if (effort.left-- <= 0) throw new Error("gave up: too many configurations to decide on this history")
        if (config.answered > furthest.answered) furthest = config
        if ((config.done & bit) === 0n) next(config).forEach(wait)
        else {
          const survivor = { ...config, done: config.done & ~bit, spent: 0 }
          if (kept(survivor)) found.push(survivor)
        }
      }
    }
    return { found, furthest }
  }

  for (const event of history) {
    const known = operations.get(event.id)!
    if (event._tag === "Invoke" && known.end === "Return") {
      const bit = freeBits.pop() ?? 1n << bits++
      const { result } = known.operation
      const isRead = result !== undefined && (model.isRead?.(event.op, result) ?? false)
      pending.set(event.id, { operation: known.operation, bit, isRead })
    } else if (event._tag === "Invoke" && known.end === "Unknown") {
      const twin = unknown.findLast(({ operation }) => Equal.equals(operation.op, event.op))
      unknown.push({ operation: known.operation, bit: 1n << BigInt(unknown.length), after: twin?.bit ?? 0n })
    } else if (event._tag === "Return") {
      const { bit, operation } = pending.get(event.id)!
      const { found, furthest } = survivors(bit)
      if (found.length === 0) {
        const others = [...pending.values()].filter((other) => other.bit !== bit && (furthest.done & other.bit) === 0n)
        const stuckAt = [operation, ...others.map((other) => other.operation)]
        return { verdict: { ok: false, prefix: orderOf(furthest.path), stuckAt }, isCut }
      }
      configurations = found
      pending.delete(event.id)
      freeBits.push(bit)
    }
  }
  return { verdict: { ok: true, order: orderOf(configurations[0]!.path) }, isCut }
}

/**
 * Whether a configuration is news: none like it was seen that needed no other unknown operations than it does, and
 * spent no more.
 */
const makeMemory = () => {
  const seen = new Map<string, Array<{ readonly used: bigint; readonly spent: number }>>()
  return ({ done, key, spent, used }: Omit<Configuration<unknown, unknown, unknown>, "state">): boolean => {
    const place = `${done}:${key}`
    const known = seen.get(place)
    if (known === undefined) {
      seen.set(place, [{ used, spent }])
      return true
    }
    if (known.some((other) => (other.used & used) === other.used && other.spent <= spent)) return false
    known.push({ used, spent })
    return true
  }
}

const countOf = (bits: bigint): number => {
  let count = 0
  for (let rest = bits; rest !== 0n; rest &= rest - 1n) count += 1
  return count
}

const orderOf = <S, Op, Res>(last: Node<S, Op, Res> | undefined): ReadonlyArray<Placed<S, Op, Res>> => {
  const order: Array<Placed<S, Op, Res>> = []
  for (let node = last; node !== undefined; node = node.before) order.push(node.placed)
  return order.toReversed()
}

/**
 * Describes a verdict for people: what was placed, with the state after each, and what was not. `last` is how many of
 * the placed operations to show, 20 by default.
 *
 * @category combinators
 * @since 0.1.0
 */
export const describe = <S, Op, Res>(
  verdict: Verdict<S, Op, Res>,
  { last = 20 }: { readonly last?: number | undefined } = {}
): string => {
  const order = verdict.ok ? verdict.order : verdict.prefix
  const hidden = Math.max(0, order.length - last)
  return [
    verdict.ok ? `linearizable: ${order.length} operations in order` : `not linearizable: ${order.length} in order`,
    ...(hidden === 0 ? [] : [`  ... ${hidden} more`]),
    ...order.slice(hidden).map((placed) => `  ${lineOf(placed)} => ${textOf(placed.state)}`),
    ...(verdict.ok ? [] : ["no place for", ...verdict.stuckAt.map((operation) => `  ${lineOf(operation)}`)])
  ].join("\n")
}

const lineOf = <Op, Res>({ id, op, process, result }: Operation<Op, Res>): string =>
  `#${id} ${process}: ${textOf(op)} -> ${result === undefined ? "unknown" : textOf(result)}`

/** `{ _tag: "Insert", value: "a" }` is `Insert value="a"`. */
const textOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value) ?? String(value)
  const fields = Object.entries(value).filter(([name]) => name !== "_tag")
  const texts = fields.map(([name, field]) => `${name}=${JSON.stringify(field) ?? String(field)}`)
  return [...("_tag" in value ? [String(value._tag)] : []), ...texts].join(" ")
}

/**
 * A means to write a history down while it happens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorder<Op, Res> {
  /**
   * Runs one operation and records it. `op` is asked for when the history is read: an update knows only at its end what
   * it has read and written. A defect and an interruption have an unknown outcome.
   */
  readonly record: <A, E, R>(options: {
    readonly process: string
    readonly op: () => Op
    readonly effect: Effect.Effect<A, E, R>
    readonly onSuccess: (value: A) => Res
    readonly onFailure: (error: E) => Outcome<Res>
  }) => Effect.Effect<A, E, R>
  /** What has been recorded so far. */
  readonly history: Effect.Effect<ReadonlyArray<Event<Op, Res>>>
}

/**
 * Creates an empty recorder. All clients of one history share it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRecorder = <Op, Res extends NonNullable<unknown>>(): Recorder<Op, Res> => {
  const events: Array<Event<() => Op, Res>> = []
  let ids = 0
  return {
    record: ({ effect, onFailure, onSuccess, op, process }) =>
      Effect.suspend(() => {
        const id = ids++
        events.push({ _tag: "Invoke", id, process, op })
        return Effect.onExit(effect, (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) {
              events.push({ _tag: "Return", id, result: onSuccess(exit.value) })
              return
            }
            const reasons = exit.cause.reasons
            const [reason] = reasons
            const outcome: Outcome<Res> =
              reasons.length === 1 && reason?._tag === "Fail" ? onFailure(reason.error) : { _tag: "Unknown" }
            events.push({ ...outcome, id })
          })
        )
      }),
    history: Effect.sync(() => events.map((event) => (event._tag === "Invoke" ? { ...event, op: event.op() } : event)))
  }
}

/**
 * The state of one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentState {
  /** `undefined`: there is no document. */
  readonly value: string | undefined
}

/**
 * An operation on one document.
 *
 * `Insert` creates it. `Update` puts `value` in the place of `expected`, what the client had read. `Replace` puts
 * `value` in the place of whatever is there, or of nothing. `Remove` succeeds also when there is nothing, unless it
 * says `mustExist`, and with `expected` removes that value only.
 *
 * @category models
 * @since 0.1.0
 */
export type DocumentOp =
  | { readonly _tag: "Insert"; readonly value: string }
  | { readonly _tag: "Update"; readonly expected: string; readonly value: string }
  | { readonly _tag: "Replace"; readonly value: string }
  | { readonly _tag: "Remove"; readonly expected?: string | undefined; readonly mustExist?: boolean | undefined }
  | { readonly _tag: "Read" }

/**
 * The result of an operation on one document. `Value` is what a read gave, `undefined` being the same as `NotFound`;
 * after a write, what it wrote, the same as `Ok`.
 *
 * @category models
 * @since 0.1.0
 */
export type DocumentResult =
  | { readonly _tag: "Ok" }
  | { readonly _tag: "Value"; readonly value: string | undefined }
  | { readonly _tag: "AlreadyExists" }
  | { readonly _tag: "NotFound" }
  | { readonly _tag: "Conflict" }

const absent: DocumentState = { value: undefined }

/** The state after an operation that succeeds, or how it fails. */
const applied = ({ value }: DocumentState, op: DocumentOp): DocumentState | DocumentResult["_tag"] => {
  switch (op._tag) {
    case "Insert":
      return value === undefined ? { value: op.value } : "AlreadyExists"
    case "Update":
      if (value === undefined) return "NotFound"
      return value === op.expected ? { value: op.value } : "Conflict"
    case "Replace":
      return { value: op.value }
    case "Remove":
      if (value === undefined && op.mustExist === true) return "NotFound"
      if (op.expected === undefined || value === op.expected) return absent
      return value === undefined ? "NotFound" : "Conflict"
    case "Read":
      return { value }
  }
}

const stepDocument = (
  state: DocumentState,
  op: DocumentOp,
  result: DocumentResult | undefined
): ReadonlyArray<DocumentState> => {
  const after = applied(state, op)
  if (typeof after === "string") return result === undefined || result._tag === after ? [state] : []
  switch (result?._tag) {
    case undefined:
      return [after]
    case "Ok":
      return op._tag === "Read" ? [] : [after]
    case "Value":
      return op._tag !== "Remove" && result.value === after.value ? [after] : []
    case "NotFound":
      return (op._tag === "Read" || op._tag === "Remove") && state.value === undefined ? [state] : []
    case "AlreadyExists":
    case "Conflict":
      return []
  }
}

/**
 * The model of one document, absent at first.
 *
 * **Gotchas**
 *
 * Every write needs a value of its own. Else an `Update` refused because of another version with an equal value looks
 * impossible, and two writes with equal values explain each other's reads.
 *
 * @category models
 * @since 0.1.0
 */
export const documentModel: Model<DocumentState, DocumentOp, DocumentResult> = {
  initial: absent,
  step: stepDocument,
  key: ({ value }) => (value === undefined ? "" : `=${value}`),
  isRead: (op, result) => op._tag === "Read" || (result._tag !== "Ok" && result._tag !== "Value")
}
