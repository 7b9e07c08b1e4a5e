/**
 * Machines as values: states, events, what leads from one to another, checked by TypeScript and once more when they are made.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { millisecondsOf } from "../../internal/duration.ts"
import type * as Repository from "../../Repository.ts"
import * as Timetable from "../scheduler/timetable.ts"
import type { InvalidEvent, UnknownForm } from "./errors.ts"

// -----------------------------------------------------------------------------
// Events
// -----------------------------------------------------------------------------

/**
 * The events of a machine: by name the fields of what comes with each.
 *
 * @category models
 * @since 0.1.0
 */
export type Events = Readonly<Record<string, Schema.Struct.Fields>>

/**
 * The values that are events: `{ _tag: "Paid", amount: 5 }`.
 *
 * @category models
 * @since 0.1.0
 */
export type EventOf<E extends Events, K extends keyof E = keyof E> = {
  readonly [T in K & string]: { readonly _tag: T } & Schema.Struct.Type<E[T]>
}[K & string]

/**
 * The names of events that nothing comes with.
 *
 * @category models
 * @since 0.1.0
 */
export type Bare<E extends Events> = {
  readonly [T in keyof E & string]: {} extends Schema.Struct.Type<E[T]> ? T : never
}[keyof E & string]

/**
 * What may be sent: an event, or the name of one that nothing comes with.
 *
 * @category models
 * @since 0.1.0
 */
export type Sent<E extends Events> = EventOf<E> | Bare<E>

// -----------------------------------------------------------------------------
// States
// -----------------------------------------------------------------------------

/**
 * An entity at the moment of an event, as guards and updates see it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moment<out C, out D, out Ev> {
  readonly id: string
  readonly state: string
  /** How many transitions there have been. */
  readonly version: number
  readonly context: C
  /** The document that the machine is a field of, as it is before the transition. */
  readonly document: D
  readonly event: Ev
  /** By the store's clock. */
  readonly now: DateTime.Utc
}

/**
 * Where an event leads.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransitionOptions<in C0, in D0, in Ev0, out C> {
  /** The next state; the one that it is in is left and entered again. Default: it is neither left nor entered, and its triggers go on. */
  readonly target?: string | undefined
  /** Refuses by failing: with the reason. It may run more than once, and has to change nothing. */
  readonly guard?: ((at: Moment<C0, D0, Ev0>) => Effect.Effect<unknown, unknown, unknown>) | undefined
  /** The context from then on. It has to be pure. */
  readonly update?: ((at: Moment<C0, D0, Ev0>) => C) | undefined
  /** Actions that run when it is committed, by name, between those of `exit` and `entry`. */
  readonly do?: string | ReadonlyArray<string> | undefined
}

type Route<C, D, Ev> = string | TransitionOptions<C, D, Ev, C> | ReadonlyArray<TransitionOptions<C, D, Ev, C>>

/**
 * What makes an event by itself while an entity is in a state.
 *
 * - `after`: so long after the state was entered
 * - `at`: at the time that the context says; asked again with each transition
 * - `field`: at the time in a field of the document, by its path, whoever writes it
 * - `cron`, `every`: again and again; what was missed in an outage is made up for by one
 *
 * @category models
 * @since 0.1.0
 */
export type TriggerOptions<C, Ev> =
  /** Whole milliseconds, up to 200,000 years. */
  (
    | { readonly after: Duration.Input }
    | { readonly at: (context: C) => DateTime.DateTime.Input | undefined }
    | { readonly field: string }
    | { readonly cron: string; readonly timeZone?: string | undefined }
    | { readonly every: Duration.Input }
  ) & {
    /** The event, or its name where nothing comes with it. */
    readonly send: string | ((context: C) => Ev)
    /** Tells it from the others of its state. Default: its number among them. */
    readonly name?: string | undefined
    /** Of `cron` and `every`: how often it comes while the state is not left. Default: for ever. */
    readonly maxTriggers?: number | undefined
    /** The event that is sent once, in place of the one after the last. Default: none. */
    readonly onMaxTriggers?: string | ((context: C) => Ev) | undefined
  }

/**
 * A state. One whose name begins with that of another and a dot is inside that one: what it does not take is taken by the one around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateOptions<E extends Events, C, D> {
  /** The state inside that is entered with it; required where there are any. */
  readonly initial?: string | undefined
  /** Nothing leads out of it, events and triggers of the states around it neither. Default `false`. */
  readonly final?: boolean | undefined
  /** Where events lead; of several the first whose guard does not refuse. */
  readonly on?: { readonly [K in keyof E & string]?: Route<C, D, EventOf<E, K>> } | undefined
  /** Actions that run after it was entered, by name. */
  readonly entry?: string | ReadonlyArray<string> | undefined
  /** Actions that run after it was left, by name. */
  readonly exit?: string | ReadonlyArray<string> | undefined
  readonly triggers?: ReadonlyArray<TriggerOptions<C, EventOf<E>>> | undefined
  /** For diagrams. */
  readonly description?: string | undefined
  /** For diagrams: a color as CSS writes it. */
  readonly color?: string | undefined
}

// -----------------------------------------------------------------------------
// Actions
// -----------------------------------------------------------------------------

/**
 * What an action is about: a transition that is committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActionInput<out C, out D, out Ev> {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly version: number
  /** The context after the transition. */
  readonly context: C
  /** The document after the transition. */
  readonly document: D
  /** `undefined` for the actions of the state that an entity begins in. */
  readonly event: Ev | undefined
  /** From 1. */
  readonly attempt: number
  /** The same for the same action of the same version of the entity, and that of no other of the database. */
  readonly idempotencyKey: string
}

/**
 * The errors of sending an event from an action.
 *
 * @category errors
 * @since 0.1.0
 */
export type ActionSendError =
  | InvalidEvent
  | UnknownForm
  | Exclude<Repository.ChangeError, { readonly _tag: "NotFound" }>

/**
 * What an action can do to its own entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Acting<in out E extends Events> {
  /**
   * Sends the entity the event that comes of the action: `send({ _tag: "Charged", receipt })`. An action that runs again sends it again, and it counts once: the
   * first event of each name is the one. Where the entity has gone on without it, does not take it, or is gone, nothing happens. 1 GET and 1 PUT.
   *
   * `InvalidEvent`: what comes with it does not fit. What else it fails with is a reason to try the action again.
   */
  readonly send: (event: Sent<E>) => Effect.Effect<void, ActionSendError>
}

/**
 * How often an action is tried, and how long after another.
 *
 * @category models
 * @since 0.1.0
 */
export interface RetryOptions {
  /** How often it is tried. 1 to 100. Default: 3. */
  readonly attempts?: number | undefined
  /** How pauses grow. Default: `"exponential"`. */
  readonly backoff?: "exponential" | "linear" | "fixed" | undefined
  /** The first pause. Default: 1 second. */
  readonly pause?: Duration.Input | undefined
  /** The longest pause. Default: 30 seconds. */
  readonly longestPause?: Duration.Input | undefined
  /** Which errors are worth another attempt. Default: all. */
  readonly isRetryable?: ((error: unknown) => boolean) | undefined
}

/**
 * An action: a program that runs after a transition is committed, at least once.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActionOptions<E extends Events, C, D> {
  /** What it gives is of no use to anybody; `self.send` sends the entity an event. */
  readonly run: (input: ActionInput<C, D, EventOf<E>>, self: Acting<E>) => Effect.Effect<unknown, unknown, unknown>
  readonly retry?: RetryOptions | undefined
  /**
   * Runs when it has failed for good: to compensate, and to give the event that the entity is sent then, if any. Where there is none, the
   * transition becomes a dead letter.
   */
  readonly onFailure?:
    | ((
        input: ActionInput<C, D, EventOf<E>>,
        error: unknown
      ) => Effect.Effect<EventOf<E> | Bare<E> | undefined | void, unknown, unknown>)
    | undefined
}

// -----------------------------------------------------------------------------
// What TypeScript checks
// -----------------------------------------------------------------------------

type Values<T> = T[keyof T]
type Each<T> = T extends ReadonlyArray<infer One> ? One : T
type RoutesOf<S> = Values<{ readonly [P in keyof S]: S[P] extends { readonly on: infer O } ? Values<O> : never }>
type Member<T, K extends string> = T extends { readonly [P in K]: infer V } ? V : never
type TargetsOf<S> = Each<RoutesOf<S>> extends infer R ? (R extends string ? R : Member<R, "target">) : never
type TakenBy<S> = Values<{ readonly [P in keyof S]: S[P] extends { readonly on: infer O } ? keyof O : never }>
type TriggersOf<S> = Each<Member<Values<S>, "triggers">>
type Texts<T> = T extends string ? T : never
type SentBy<S> = Texts<Member<TriggersOf<S>, "send">> | Texts<Member<TriggersOf<S>, "onMaxTriggers">>
type NamedIn<S> = Each<Member<Values<S>, "entry"> | Member<Values<S>, "exit"> | Member<Each<RoutesOf<S>>, "do">>
type Calls<T> = T extends (...args: never) => infer Out ? Out : never
type GuardsOf<S> = Calls<Member<Each<RoutesOf<S>>, "guard">>
type ErrorsIn<T> = T extends Effect.Effect<unknown, infer Err, unknown> ? Err : never
type ServicesIn<T> = T extends Effect.Effect<unknown, unknown, infer Req> ? Req : never

/**
 * The reasons for which the guards of some states refuse.
 *
 * @category models
 * @since 0.1.0
 */
export type RefusalOf<S> = ErrorsIn<GuardsOf<S>>

/**
 * The services that guards and actions need.
 *
 * @category models
 * @since 0.1.0
 */
export type ServicesOf<S, A> =
  | ServicesIn<GuardsOf<S>>
  | ServicesIn<Calls<Member<Values<A>, "run">>>
  | ServicesIn<Calls<Member<Values<A>, "onFailure">>>

/** Stands in an error of TypeScript. */
interface Problem<out What extends string, out Names> {
  readonly "the machine has a mistake": What
  readonly names: Names
}

type Unless<Wrong, What extends string> = [Wrong] extends [never] ? never : Problem<What, Wrong>

type ProblemOf<E extends Events, S, A> =
  | Unless<Exclude<TakenBy<S>, keyof E>, "no such event">
  | Unless<Exclude<keyof E, TakenBy<S>>, "an event that no state takes">
  | Unless<Exclude<TargetsOf<S>, keyof S>, "a target that is no state">
  | Unless<Exclude<NamedIn<S>, keyof A>, "no such action">
  | Unless<Exclude<SentBy<S>, Bare<E>>, "a trigger sends what is no event, or one that something comes with">

/**
 * The names of states where a machine has no mistake that its types show; else what it is, which no name is.
 *
 * @category models
 * @since 0.1.0
 */
export type Correct<E extends Events, S, A> = [ProblemOf<E, S, A>] extends [never]
  ? keyof S & string
  : ProblemOf<E, S, A>

// -----------------------------------------------------------------------------
// Compiled
// -----------------------------------------------------------------------------

/**
 * A transition, whatever its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transition {
  readonly event: string
  /** The state that has it. */
  readonly source: string
  readonly target: string | undefined
  readonly guard: ((at: Moment<unknown, unknown, unknown>) => Effect.Effect<unknown, unknown, unknown>) | undefined
  readonly update: ((at: Moment<unknown, unknown, unknown>) => unknown) | undefined
  readonly actions: ReadonlyArray<string>
}

/**
 * A trigger, whatever its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface Trigger {
  /** Of the machine: the state, and its name in it. */
  readonly key: string
  readonly when:
    | { readonly _tag: "After"; readonly millis: number }
    | { readonly _tag: "At"; readonly of: (context: unknown) => DateTime.DateTime.Input | undefined }
    | { readonly _tag: "Field"; readonly path: string }
    | { readonly _tag: "Every"; readonly next: (after: number, entered: number) => number | undefined }
  readonly label: string
  readonly send: (context: unknown) => unknown
  /** The name of the event, where it is known before there is one. */
  readonly sends: string | undefined
  readonly most: number
  readonly onMost: ((context: unknown) => unknown) | undefined
  readonly sendsOnMost: string | undefined
}

/**
 * A state, whatever its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly name: string
  /** Itself, and the states around it, from the inside out. */
  readonly path: ReadonlyArray<string>
  readonly initial: string | undefined
  readonly final: boolean
  readonly on: ReadonlyMap<string, ReadonlyArray<Transition>>
  readonly entry: ReadonlyArray<string>
  readonly exit: ReadonlyArray<string>
  readonly triggers: ReadonlyArray<Trigger>
  readonly description: string | undefined
  readonly color: string | undefined
}

/**
 * An action, whatever its types.
 *
 * @category models
 * @since 0.1.0
 */
export interface Action {
  readonly name: string
  readonly run: (
    input: ActionInput<unknown, unknown, unknown>,
    self: { readonly send: (event: unknown) => Effect.Effect<void, ActionSendError> }
  ) => Effect.Effect<unknown, unknown, unknown>
  readonly onFailure:
    | ((input: ActionInput<unknown, unknown, unknown>, error: unknown) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
  readonly attempts: number
  /** The pause after so many attempts, from 1, in milliseconds. */
  readonly pause: (attempts: number) => number
  readonly isRetryable: (error: unknown) => boolean
}

/**
 * A mistake in a machine, for `InvalidMachine`.
 *
 * @category models
 * @since 0.1.0
 */
export class Mistake {
  readonly at: string
  readonly problem: string
  constructor(at: string, problem: string) {
    this.at = at
    this.problem = problem
  }
}

const listOf = (names: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  names === undefined ? [] : typeof names === "string" ? [names] : names

/**
 * States and actions as they are declared, their types aside.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declared {
  readonly events: ReadonlySet<string>
  readonly initial: string
  readonly states: Readonly<Record<string, StateOptions<Events, never, never>>>
  readonly actions: Readonly<Record<string, ActionOptions<Events, never, never>>>
}

type Loose = StateOptions<Events, unknown, unknown>

const stateName = /^[^.]+(?:\.[^.]+)*$/

const triggersOf = (state: string, options: Loose["triggers"], events: ReadonlySet<string>): ReadonlyArray<Trigger> => {
  const keys = new Set<string>()
  return (options ?? []).map((one, index): Trigger => {
    const key = `${state}/${one.name ?? index}`
    const refuse = (problem: string) => new Mistake(`the trigger ${JSON.stringify(key)}`, problem)
    if (keys.has(key)) throw refuse("Expected another name: there is one of this name")
    keys.add(key)
    const eventOf = (sent: typeof one.send) => {
      if (typeof sent === "function") return sent
      if (!events.has(sent)) throw refuse(`Expected an event, not ${JSON.stringify(sent)}`)
      return () => ({ _tag: sent })
    }
    const { maxTriggers: most = Infinity, onMaxTriggers } = one
    if (most !== Infinity && (!Number.isSafeInteger(most) || most < 1)) {
      throw refuse("Expected a whole number from 1 for maxTriggers")
    }
    const isRepeated = "cron" in one || "every" in one
    if (!isRepeated && (most !== Infinity || onMaxTriggers !== undefined)) {
      throw refuse("Expected maxTriggers with cron or every alone")
    }
    const [when, label] = whenOf(one, refuse)
    return {
      key,
      when,
      label,
      send: eventOf(one.send),
      sends: typeof one.send === "string" ? one.send : undefined,
      most,
      onMost: onMaxTriggers === undefined ? undefined : eventOf(onMaxTriggers),
      sendsOnMost: typeof onMaxTriggers === "string" ? onMaxTriggers : undefined
    }
  })
}

/** 200,000 years: when they are over can be told as a date. */
const longestAfter = 200_000 * 365 * 86_400_000

const whenOf = (
  one: TriggerOptions<unknown, unknown>,
  refuse: (problem: string) => Mistake
): readonly [Trigger["when"], string] => {
  const durationOf = (duration: Duration.Input) => {
    const millis = millisecondsOf(duration)
    if (!Number.isSafeInteger(millis) || millis <= 0 || millis > longestAfter)
      throw refuse("Expected a duration of whole milliseconds, from 1 to 200,000 years")
    return millis
  }
  if ("after" in one) {
    const millis = durationOf(one.after)
    return [{ _tag: "After", millis }, `after ${lengthOf(millis)}`]
  }
  if ("at" in one) return [{ _tag: "At", of: one.at }, "at a time"]
  if ("field" in one) return [{ _tag: "Field", path: one.field }, `at ${one.field}`]
  const schedule = "cron" in one ? { cron: one.cron, timeZone: one.timeZone ?? "UTC" } : { every: one.every, from: 0 }
  const table = Result.flatMap(Timetable.define(schedule, 0), Timetable.fromDefinition)
  if (Result.isFailure(table)) throw refuse(table.failure)
  if ("cron" in one) return [{ _tag: "Every", next: table.success.next }, one.cron]
  const every = durationOf(one.every)
  // Counted from when the state was entered.
  const next = (after: number, entered: number) => entered + (Math.floor((after - entered) / every) + 1) * every
  return [{ _tag: "Every", next }, `every ${lengthOf(every)}`]
}

const units: ReadonlyArray<readonly [number, string]> = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
  [1, "ms"]
]

/**
 * Returns a length of time for people: `1 h 30 min`.
 *
 * @category getters
 * @since 0.1.0
 */
export const lengthOf = (millis: number): string => {
  let left = Math.round(millis)
  const parts: Array<string> = []
  for (const [size, unit] of units) {
    const count = Math.floor(left / size)
    left -= count * size
    if (count > 0 && parts.length < 2) parts.push(`${count} ${unit}`)
  }
  return parts.length === 0 ? "0 s" : parts.join(" ")
}

/** An action as it is declared, its types aside. */
type LooseAction = Pick<Action, "run"> &
  Partial<Pick<Action, "onFailure">> & { readonly retry?: RetryOptions | undefined }

const actionOf = (name: string, { onFailure, retry = {}, run }: LooseAction): Action => {
  const { attempts = 3, backoff = "exponential", isRetryable = () => true } = retry
  const refuse = (problem: string) => new Mistake(`the action ${JSON.stringify(name)}`, problem)
  const millis = (duration: Duration.Input) => {
    const found = millisecondsOf(duration)
    if (!Number.isFinite(found) || found < 0) throw refuse("Expected pauses that come to an end")
    return found
  }
  if (!Number.isSafeInteger(attempts) || attempts < 1 || attempts > 100) {
    throw refuse("Expected a whole number from 1 to 100 for attempts")
  }
  const [first, most] = [millis(retry.pause ?? 1000), millis(retry.longestPause ?? 30_000)]
  const factor = { exponential: (n: number) => 2 ** (n - 1), linear: (n: number) => n, fixed: () => 1 }[backoff]
  if (factor === undefined) throw refuse("Expected exponential, linear or fixed for backoff")
  return {
    name,
    run,
    onFailure,
    attempts,
    pause: (after) => Math.min(most, first * factor(after)),
    isRetryable
  }
}

/**
 * Compiles the states and actions of a machine, and says the first mistake that it has.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = ({
  actions,
  events,
  initial,
  states: declared
}: Declared): {
  readonly states: ReadonlyMap<string, State>
  readonly actions: ReadonlyMap<string, Action>
  readonly initial: string
} => {
  // The functions are given what the machine has: the types of both come from the same declaration.
  const loose = declared as unknown as Readonly<Record<string, Loose>>
  const names = Object.keys(loose)
  const known = new Set(names)
  const compiledActions = new Map(
    Object.entries(actions as unknown as Readonly<Record<string, LooseAction>>).map(
      ([name, options]) => [name, actionOf(name, options)] as const
    )
  )
  const insideOf = (name: string) => names.filter((other) => other.startsWith(`${name}.`))
  const checkActions = (where: string, list: ReadonlyArray<string>) => {
    const unknown = list.find((name) => !compiledActions.has(name))
    if (unknown !== undefined) throw new Mistake(where, `Expected an action, not ${JSON.stringify(unknown)}`)
    return list
  }
  const states = new Map<string, State>()
  for (const name of names) {
    const options = loose[name]!
    const where = `the state ${JSON.stringify(name)}`
    if (!stateName.test(name) || !name.isWellFormed())
      throw new Mistake(where, "Expected a name, in parts joined by dots")
    const path = name.split(".").map((_, i, parts) => parts.slice(0, parts.length - i).join("."))
    const around = path.find((one) => !known.has(one))
    if (around !== undefined) throw new Mistake(where, `Expected a state ${JSON.stringify(around)} around it`)
    const inside = insideOf(name)
    const { final = false, initial: first } = options
    if (inside.length > 0 && (first === undefined || !inside.includes(first))) {
      throw new Mistake(
        where,
        `Expected the state inside that is entered with it as initial, one of ${inside.join(", ")}`
      )
    }
    if (inside.length === 0 && first !== undefined)
      throw new Mistake(where, "Expected no initial: there is no state inside")
    const on = new Map<string, ReadonlyArray<Transition>>()
    for (const [event, route] of Object.entries(options.on ?? {})) {
      if (route === undefined) continue
      if (!events.has(event)) throw new Mistake(where, `Expected an event, not ${JSON.stringify(event)}`)
      const routes = typeof route === "string" ? [{ target: route }] : Array.isArray(route) ? route : [route]
      on.set(
        event,
        (routes as ReadonlyArray<TransitionOptions<unknown, unknown, unknown, unknown>>).map((one) => {
          if (one.target !== undefined && !known.has(one.target)) {
            throw new Mistake(where, `Expected a state that ${event} leads to, not ${JSON.stringify(one.target)}`)
          }
          return {
            event,
            source: name,
            target: one.target,
            guard: one.guard,
            update: one.update,
            actions: checkActions(where, listOf(one.do))
          }
        })
      )
    }
    if (final && (on.size > 0 || inside.length > 0 || (options.triggers ?? []).length > 0)) {
      throw new Mistake(where, "Expected neither on, triggers nor states inside: it is final")
    }
    states.set(name, {
      name,
      path,
      initial: first,
      final,
      on,
      entry: checkActions(where, listOf(options.entry)),
      exit: checkActions(where, listOf(options.exit)),
      triggers: triggersOf(name, options.triggers, events),
      description: options.description,
      color: options.color
    })
  }
  const taken = new Set([...states.values()].flatMap(({ on }) => [...on.keys()]))
  const untaken = [...events].find((event) => !taken.has(event))
  if (untaken !== undefined) throw new Mistake("events", `Expected a state that takes ${JSON.stringify(untaken)}`)
  if (!known.has(initial)) throw new Mistake("initial", `Expected a state, not ${JSON.stringify(initial)}`)
  return { states, actions: compiledActions, initial: leafOf(states, initial) }
}

/**
 * Returns the state that an entity is in after one was entered: itself, or what is entered inside.
 *
 * @category getters
 * @since 0.1.0
 */
export const leafOf = (states: ReadonlyMap<string, State>, name: string): string => {
  const first = states.get(name)?.initial
  return first === undefined ? name : leafOf(states, first)
}

/**
 * Returns the states whose events and triggers count for an entity in a state: itself, and those around it, from the inside out; none of one that is final.
 *
 * @category getters
 * @since 0.1.0
 */
export const activeIn = (states: ReadonlyMap<string, State>, name: string): ReadonlyArray<string> => {
  const state = states.get(name)
  return state === undefined || state.final ? [] : state.path
}

/**
 * Returns the events that a state takes, itself or by those around it, in the order of their names.
 *
 * @category getters
 * @since 0.1.0
 */
export const eventsIn = (states: ReadonlyMap<string, State>, name: string): ReadonlyArray<string> =>
  [...new Set(activeIn(states, name).flatMap((one) => [...(states.get(one)?.on.keys() ?? [])]))].toSorted()
