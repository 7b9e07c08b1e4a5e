/**
 * One step of a machine: what an event makes of an entity. No request but those of guards.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Json } from "../../encoding/Json.ts"
import { valueAt } from "../../internal/json.ts"
import { millisOf } from "../ttl/due.ts"
import {
  type Action,
  activeIn,
  eventsIn,
  leafOf,
  type Moment,
  type State,
  type Transition,
  type Trigger
} from "./definition.ts"
import { InvalidEvent, Refused, UnknownForm } from "./errors.ts"
import type { Recorded, Stored, Timer } from "./stored.ts"

/**
 * What a step goes by of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rules {
  readonly name: string
  readonly version: number
  readonly initial: string
  readonly states: ReadonlyMap<string, State>
  readonly actions: ReadonlyMap<string, Action>
  readonly decodeContext: (json: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeContext: (context: unknown) => Effect.Effect<Json, Schema.SchemaError>
  readonly encodeEvent: (event: unknown) => Effect.Effect<Json, Schema.SchemaError>
  readonly decodeEvent: (json: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly migrate: Readonly<Record<number, (old: Old) => Old>>
  /** Paths of fields of the document that are triggers. */
  readonly dates: ReadonlyArray<string>
}

/**
 * An entity of an earlier version of its machine, as far as it is migrated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Old {
  readonly state: string
  /** In JSON form. */
  readonly context: Json
}

/**
 * An entity that was read.
 *
 * @category models
 * @since 0.1.0
 */
export interface View {
  readonly stored: Stored
  readonly context: unknown
}

/**
 * What a step has made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stepped {
  readonly stored: Stored
  readonly recorded: Recorded
  readonly from: string
  readonly context: unknown
}

/**
 * Reads an entity, brought to the version that the machine has.
 *
 * @category conversions
 * @since 0.1.0
 */
export const view = Effect.fnUntraced(function* (
  rules: Rules,
  id: string,
  stored: Stored
): Effect.fn.Return<View, UnknownForm> {
  const refuse = (problem: string) => new UnknownForm({ machine: rules.name, id, problem })
  if (stored.definition > rules.version) {
    const newer = stored.definition
    const problem = `it was written by version ${newer} of the machine; this program has ${rules.version}`
    return yield* new UnknownForm({ machine: rules.name, id, problem, newer })
  }
  let old: Old = stored
  const missing: Array<string> = []
  for (let version = stored.definition; version < rules.version; version++) {
    const migrate = rules.migrate[version]
    if (migrate === undefined) missing.push(`migrate[${version}]`)
    else old = migrate({ state: old.state, context: old.context })
  }
  const without = missing.length === 0 ? "" : `; the machine has no ${missing.join(", ")}`
  if (!rules.states.has(old.state)) return yield* refuse(`there is no state ${JSON.stringify(old.state)}${without}`)
  const state = leafOf(rules.states, old.state)
  const context = yield* Effect.mapError(rules.decodeContext(old.context), () =>
    refuse(`its context does not fit the schema of this program${without}`)
  )
  if (stored.definition === rules.version && state === stored.state) return { stored, context }
  const moved = { ...stored, state, context: old.context, definition: rules.version }
  // Triggers of states that it is in for the first time count from when it came to where it was.
  const known = new Map((stored.timers ?? []).map((timer) => [timer.k, timer]))
  const timers = triggersIn(rules, state).map(
    (trigger): Timer => known.get(trigger.key) ?? armed(trigger, context, stored.since)
  )
  return { stored: withTimers(rules, moved, timers), context }
})

const triggersIn = ({ states }: Pick<Rules, "states">, state: string): ReadonlyArray<Trigger> =>
  activeIn(states, state).flatMap((name) => states.get(name)?.triggers ?? [])

/**
 * Finds a trigger of the state that an entity is in.
 *
 * @category getters
 * @since 0.1.0
 */
export const triggerOf = (rules: Rules, state: string, key: string): Trigger | undefined =>
  triggersIn(rules, state).find((trigger) => trigger.key === key)

const timeOf = (time: unknown): number | undefined => {
  const millis = millisOf(time)
  return millis === undefined ? undefined : Math.ceil(millis)
}

const dueBy = ({ when }: Trigger, context: unknown, entered: number, after: number): number | undefined => {
  switch (when._tag) {
    case "After":
      return entered + when.millis
    case "At":
      return timeOf(when.of(context))
    case "Field":
      return undefined
    case "Every":
      return when.next(after, entered)
  }
}

const timed = ({ due: _, ...timer }: Timer, due: number | undefined): Timer =>
  due === undefined ? timer : { ...timer, due }

const armed = (trigger: Trigger, context: unknown, entered: number): Timer =>
  timed({ k: trigger.key, e: entered }, dueBy(trigger, context, entered, entered))

/** What a timer that has sent all it may is kept as, so that it is known not to be new. */
const isSpent = ({ n = 0 }: Timer, { most, onMost, when }: Trigger): boolean =>
  when._tag === "Every" ? n >= most + (onMost === undefined ? 0 : 1) : n > 0

/** Puts timers into an entity, and what indexes go by. */
const withTimers = (rules: Rules, stored: Stored, timers: ReadonlyArray<Timer>): Stored => {
  const { dates: _dates, due: _due, timers: _timers, ...rest } = stored
  const waiting = timers.flatMap((timer) => {
    const trigger = triggerOf(rules, stored.state, timer.k)
    return trigger === undefined || timer.v === stored.version || isSpent(timer, trigger) ? [] : [{ timer, trigger }]
  })
  const times = waiting.flatMap(({ timer }) => timer.due ?? [])
  const dates = [
    ...new Set(waiting.flatMap(({ trigger: { when } }) => (when._tag === "Field" ? [when.path] : [])))
  ].toSorted()
  return {
    ...rest,
    ...(timers.length === 0 ? {} : { timers }),
    ...(times.length === 0 ? {} : { due: Math.min(...times) }),
    ...(dates.length === 0 ? {} : { dates })
  }
}

/**
 * A trigger whose time has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface DueTrigger {
  readonly timer: Timer
  readonly trigger: Trigger
  readonly due: number
}

/**
 * Finds the trigger of an entity that has been due for longest; of those at the same time the innermost that was declared first.
 *
 * @category getters
 * @since 0.1.0
 */
export const dueTrigger = (rules: Rules, { stored }: View, document: unknown, now: number): DueTrigger | undefined => {
  let first: DueTrigger | undefined
  for (const timer of stored.timers ?? []) {
    const trigger = triggerOf(rules, stored.state, timer.k)
    if (trigger === undefined || timer.v === stored.version || isSpent(timer, trigger)) continue
    const { when } = trigger
    const due = when._tag === "Field" ? timeOf(valueAt(document, when.path.split("."))) : timer.due
    if (due !== undefined && due <= now && (first === undefined || due < first.due)) first = { timer, trigger, due }
  }
  return first
}

/**
 * Says that a trigger has sent its event, and when it is due next.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sent = (rules: Rules, stored: Stored, key: string, context: unknown, now: number): Stored =>
  withTimers(
    rules,
    stored,
    (stored.timers ?? []).map((timer) => {
      const trigger = triggerOf(rules, stored.state, timer.k)
      if (timer.k !== key || trigger === undefined) return timer
      const { v: _, ...rest } = timer
      const counted = { ...rest, n: (timer.n ?? 0) + 1 }
      const next =
        trigger.when._tag === "Every" ? dueBy(trigger, context, timer.e, Math.max(now, timer.due ?? now)) : timer.due
      return timed(counted, next)
    })
  )

/**
 * Says that the event of a trigger was refused: it comes again with the next version, a repeated one with its next time.
 *
 * @category combinators
 * @since 0.1.0
 */
export const unsent = (rules: Rules, stored: Stored, key: string, context: unknown, now: number): Stored => {
  const trigger = triggerOf(rules, stored.state, key)
  if (trigger?.when._tag === "Every") return sent(rules, stored, key, context, now)
  return withTimers(
    rules,
    stored,
    (stored.timers ?? []).map((timer) => (timer.k === key ? { ...timer, v: stored.version } : timer))
  )
}

/**
 * Says that nothing is due any more in a final state: earlier releases kept the triggers of the states around it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const ended = (rules: Rules, stored: Stored): Stored =>
  rules.states.get(stored.state)?.final === true && stored.timers !== undefined ? withTimers(rules, stored, []) : stored

/**
 * Makes the entity of a machine as it begins.
 *
 * @category constructors
 * @since 0.1.0
 */
export const begin = Effect.fnUntraced(function* (
  rules: Rules,
  context: unknown,
  { key, life, now }: { readonly key: string; readonly life: string; readonly now: number }
): Effect.fn.Return<Stored, Schema.SchemaError> {
  const { initial, states } = rules
  const json = yield* rules.encodeContext(context)
  const entered = states.get(initial)!.path.toReversed()
  const actions = entered.flatMap((name) => states.get(name)!.entry)
  const recorded: Recorded = { v: 0, to: initial, at: now, key, ...(actions.length === 0 ? {} : { do: actions }) }
  const stored: Stored = {
    state: initial,
    version: 0,
    since: now,
    life,
    definition: rules.version,
    context: json,
    recent: [recorded]
  }
  const timers = triggersIn(rules, initial).map((trigger) => armed(trigger, context, now))
  return withTimers(rules, stored, timers)
})

/**
 * What is sent to an entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Input {
  readonly id: string
  readonly document: unknown
  readonly event: unknown
  readonly key: string
  readonly now: number
}

/**
 * Returns the name of what is sent as an event.
 *
 * @category getters
 * @since 0.1.0
 */
export const tagOf = (event: unknown): string =>
  typeof event === "object" && event !== null && "_tag" in event ? String(event._tag) : String(event)

/** Finds the transition that is taken: the first whose guard does not refuse, from the inside out. */
const choose = Effect.fnUntraced(function* (
  candidates: ReadonlyArray<Transition>,
  moment: Moment<unknown, unknown, unknown>,
  refused: (reason: unknown) => Refused
): Effect.fn.Return<Transition, Refused, unknown> {
  let reason: unknown
  for (const candidate of candidates) {
    if (candidate.guard === undefined) return candidate
    const asked = yield* Effect.result(candidate.guard(moment))
    if (Result.isSuccess(asked)) return candidate
    reason = asked.failure
  }
  return yield* refused(reason)
})

/**
 * Makes the step that an event leads to.
 *
 * @category combinators
 * @since 0.1.0
 */
export const step = Effect.fnUntraced(function* (
  rules: Rules,
  viewed: View,
  input: Input
): Effect.fn.Return<Stepped, InvalidEvent | Refused, unknown> {
  const { context, stored } = viewed
  const { document, event, id, key } = input
  const { state } = stored
  // A process that is behind has its entities go on where others have left them: else what it enters would be due too early.
  const now = Math.max(input.now, stored.recent.at(-1)?.at ?? input.now)
  const { states } = rules
  const tag = tagOf(event)
  const told = { machine: rules.name, id, state, event: tag }
  const candidates = activeIn(states, state).flatMap((name) => states.get(name)?.on.get(tag) ?? [])
  // Whether the state takes it is told first.
  if (candidates.length === 0) return yield* new InvalidEvent({ ...told, valid: eventsIn(states, state) })
  const misfit = (problem: string) => new InvalidEvent({ ...told, valid: eventsIn(states, state), problem })
  // No guard gets to see what is no event.
  const payload = yield* Effect.mapError(rules.encodeEvent(event), ({ message }) => misfit(message))
  const moment = { id, state, version: stored.version, context, document, event, now: DateTime.makeUnsafe(now) }
  const transition = yield* choose(candidates, moment, (reason) => new Refused({ ...told, reason }))
  const nextContext = transition.update === undefined ? context : transition.update(moment)
  const json = yield* Effect.mapError(rules.encodeContext(nextContext), () =>
    misfit("the context that its update makes does not fit the schema")
  )
  const version = stored.version + 1
  const { source, target } = transition

  const to = target === undefined ? state : leafOf(states, target)
  const fromPath = states.get(state)!.path
  const toPath = states.get(to)!.path
  // What is around both stays; a state that leads to itself, or to what is inside it, is left and entered again.
  const stays = new Set(target === undefined ? fromPath : fromPath.filter((one) => isAround(one, source, target)))
  const left = fromPath.filter((one) => !stays.has(one))
  const entered = toPath.filter((one) => !stays.has(one)).toReversed()
  const actions = [
    ...left.flatMap((one) => states.get(one)!.exit),
    ...transition.actions,
    ...entered.flatMap((one) => states.get(one)!.entry)
  ]

  const kept = new Map((stored.timers ?? []).map((timer) => [timer.k, timer]))
  const timers = activeIn(states, to).flatMap((one) =>
    states.get(one)!.triggers.map((trigger): Timer => {
      const timer = stays.has(one) ? kept.get(trigger.key) : undefined
      if (timer === undefined) return armed(trigger, nextContext, now)
      return trigger.when._tag === "At" ? timed(timer, dueBy(trigger, nextContext, timer.e, now)) : timer
    })
  )
  const recorded: Recorded = {
    v: version,
    event: tag,
    from: state,
    to,
    at: now,
    key,
    ...(typeof payload === "object" && payload !== null && Object.keys(payload).length > 1 ? { with: payload } : {}),
    ...(actions.length === 0 ? {} : { do: actions })
  }
  const next: Stored = {
    ...stored,
    state: to,
    version,
    since: left.length === 0 ? stored.since : now,
    definition: rules.version,
    context: json,
    recent: [...stored.recent, recorded]
  }
  return { stored: withTimers(rules, next, timers), recorded, from: state, context: nextContext }
})

/** Whether a state stays entered: what the transition begins and ends in are both inside it. */
const isAround = (one: string, source: string, target: string): boolean =>
  source.startsWith(`${one}.`) && target.startsWith(`${one}.`)
