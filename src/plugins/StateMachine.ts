/**
 * State machines whose entities many processes change: typed states and events, one conditional write for each transition, actions and
 * triggers that are not lost.
 *
 * ```ts
 * import * as StateMachine from "effect-s3db/plugins/StateMachine"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * const Door = StateMachine.make("door", {
 *   context: Schema.Struct({ opened: Schema.Int }),
 *   events: { Open: { by: Schema.String }, Close: {} }
 * })
 *   .states({
 *     closed: {
 *       on: { Open: { target: "open", update: ({ context }) => ({ opened: context.opened + 1 }) } }
 *     },
 *     open: { on: { Close: "closed" }, triggers: [{ after: "10 minutes", send: "Close" }] }
 *   })
 *   .initial("closed")
 *
 * class Doors extends Resource.Service<Doors>()("app/doors", StateMachine.alone(Door)) {}
 *
 * class DoorFlow extends StateMachine.Service<DoorFlow>()("app/DoorFlow", {
 *   machine: Door,
 *   resource: Doors,
 *   field: "machine"
 * }) {}
 *
 * const program = Effect.gen(function* () {
 *   const doors = yield* DoorFlow
 *   yield* doors.start("front", { opened: 0 })
 *   yield* doors.send("front", { _tag: "Open", by: "Ada" })
 * })
 * ```
 *
 * **Details**
 *
 * The state of an entity is a field of its document: state, version, context, and the last transitions. A transition is one conditional write of
 * the document; nothing is locked, and nothing is remembered in a process. What is older is moved to a log of the entity before it is left
 * out. Actions run after the commit, from the journal; triggers are found by a companion of the document.
 *
 * Requests: a transition is 1 GET and 1 PUT; with triggers or `statistics` 1 PUT and a share of 1 DeleteObjects more for each, with a journal
 * 1 PUT more; every `keep` transitions 3 more for the log. A sweep is 1 LIST for each 1,000 that are due, and those of a transition for each.
 *
 * **Gotchas**
 *
 * Context, events and history are stored in clear: secrets belong into other fields of the document.
 *
 * @see `docs/guide/state-machine.md`
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Json } from "../encoding/Json.ts"
import { valueAt } from "../internal/json.ts"
import * as JournalConsumer from "../JournalConsumer.ts"
import type * as Consumer from "../kernel/Consumer.ts"
import type * as Journal from "../kernel/Journal.ts"
import * as Lease from "../kernel/Lease.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import type { Names } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import type * as Repository from "../Repository.ts"
import * as Resource from "../Resource.ts"
import type * as Attributes from "../schema/Attributes.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as keeping from "./journaler/keeping.ts"
import * as Definition from "./statemachine/definition.ts"
import * as Diagram from "./statemachine/diagram.ts"
import * as Entities from "./statemachine/entities.ts"
import {
  type AlreadyStarted,
  type InvalidEvent,
  InvalidMachine,
  NeverReached,
  type NotStarted,
  type Refused,
  type StaleVersion,
  type UnknownForm
} from "./statemachine/errors.ts"
import * as Runner from "./statemachine/runner.ts"
import type * as Step from "./statemachine/step.ts"
import * as Kept from "./statemachine/stored.ts"

export type {
  Acting,
  ActionInput,
  ActionOptions,
  ActionSendError,
  Bare,
  Correct,
  EventOf,
  Events,
  Moment,
  RefusalOf,
  RetryOptions,
  Sent,
  ServicesOf,
  StateOptions,
  TransitionOptions,
  TriggerOptions
} from "./statemachine/definition.ts"
export type { Analysis, DrawOptions, Edge } from "./statemachine/diagram.ts"
export type { Moved, SendOptions } from "./statemachine/entities.ts"
export {
  ActionFailed,
  AlreadyStarted,
  InvalidEvent,
  InvalidMachine,
  NeverReached,
  NotStarted,
  Refused,
  StaleVersion,
  UnknownForm
} from "./statemachine/errors.ts"
export type { Event, Swept } from "./statemachine/runner.ts"
export type { Old } from "./statemachine/step.ts"
export { Stored } from "./statemachine/stored.ts"

// -----------------------------------------------------------------------------
// Machines
// -----------------------------------------------------------------------------

/**
 * A machine: a value, without a place where its entities are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Machine<
  in out State extends string,
  in out E extends Definition.Events,
  in out C,
  in out D,
  out Refusal,
  out R
> {
  readonly name: string
  readonly version: number
  /** The names of its states, those around others too. */
  readonly states: ReadonlyArray<State>
  readonly events: ReadonlyArray<keyof E & string>
  /** The context, in its schema. */
  readonly context: Schema.Codec<C, unknown>
  /** The events, in theirs. */
  readonly event: Schema.Codec<Definition.EventOf<E>, unknown>
  /** @internal */
  readonly rules: Step.Rules
  readonly "~types"?: (state: State, document: D) => readonly [State, D, Refusal, R]
}

/**
 * Any machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any {
  readonly name: string
  readonly version: number
  readonly states: ReadonlyArray<string>
  readonly events: ReadonlyArray<string>
  /** @internal */
  readonly rules: Step.Rules
}

type Typed<M> =
  M extends Machine<infer State, infer E, infer C, infer D, infer Refusal, infer R>
    ? {
        readonly state: State
        readonly events: E
        readonly context: C
        readonly document: D
        readonly refusal: Refusal
        readonly services: R
      }
    : never

/**
 * The names of the states of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export type StateOf<M> = Typed<M>["state"]

type Inmost<S extends string, All extends string> = S extends string
  ? [Extract<All, `${S}.${string}`>] extends [never]
    ? S
    : never
  : never

/**
 * The names of the states of a machine that have none inside: those that an entity can be in.
 *
 * @category models
 * @since 0.1.0
 */
export type InmostOf<M> = Inmost<StateOf<M>, StateOf<M>>

/**
 * The context of the entities of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export type ContextOf<M> = Typed<M>["context"]

/**
 * What is common to all states of a machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shape<E extends Definition.Events, C, I, D> {
  /** Of the machine, from 1. Raise it when states go, or the context takes another form. Default: 1. */
  readonly version?: number | undefined
  /** What an entity knows beside its state. */
  readonly context: Schema.Codec<C, I>
  /** By name the fields of what comes with each. */
  readonly events: E
  /** What guards and actions see as `document`, where the machine is a field of one. No check: it is for TypeScript. */
  readonly document?: Schema.Codec<D, unknown> | undefined
  /**
   * By the version before what makes an entity of that one an entity of the next: the first machine was 1, so `version: 2` comes with
   * `migrate: { 1: ... }`. Where there is none an entity stays as it is; a key that is no version before this one is `InvalidMachine`. Entities are brought to the
   * version of the program as they are read, and written so by their next transition, or by `migrate`.
   */
  readonly migrate?: Readonly<Record<number, (old: Step.Old) => Step.Old>> | undefined
}

/**
 * A machine that is being made, whose states are known.
 *
 * @category models
 * @since 0.1.0
 */
export interface WithStates<E extends Definition.Events, C, D, S, A> {
  /**
   * Says which state entities begin in: the last step. An event that no state takes, a target that is no state, an action that is not there and a trigger
   * that sends what is no event are errors of TypeScript here.
   *
   * Throws `InvalidMachine` for these, and for what types do not show: a state without one around it, a schedule that never comes.
   */
  readonly initial: (
    state: Definition.Correct<E, S, A>
  ) => Machine<keyof S & string, E, C, D, Definition.RefusalOf<S>, Definition.ServicesOf<S, A>>
}

/**
 * A machine that is being made, of which is known what is common to all states.
 *
 * @category models
 * @since 0.1.0
 */
export interface Builder<E extends Definition.Events, C, D> {
  /** Says what the states are. */
  readonly states: <const S extends Readonly<Record<string, Definition.StateOptions<E, C, D>>>>(
    states: S
  ) => WithStates<E, C, D, S, {}> & {
    /** Says what `entry`, `exit` and `do` of the states name. */
    readonly actions: <const A extends Readonly<Record<string, Definition.ActionOptions<E, C, D>>>>(
      actions: A
    ) => WithStates<E, C, D, S, A>
  }
}

/**
 * Makes a machine, step by step, so that TypeScript knows in each what the ones before have said: `make(name, shape).states({...}).initial("open")`, with
 * `.actions({...})` before the last where there are any. No check before `initial`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const E extends Definition.Events, C, I, D = unknown>(
  name: string,
  shape: Shape<E, C, I, D>
): Builder<E, C, D> => {
  const finish = <S, A>(states: S, actions: A): WithStates<E, C, D, S, A> => ({
    initial: (state) => machineOf(name, shape, String(state), states, actions)
  })
  return {
    states: (states) => ({ ...finish(states, {}), actions: (actions) => finish(states, actions) })
  }
}

const machineOf = <E extends Definition.Events, C, I, D, S, A>(
  name: string,
  { context, events, migrate = {}, version = 1 }: Shape<E, C, I, D>,
  initial: string,
  states: S,
  actions: A
): Machine<keyof S & string, E, C, D, Definition.RefusalOf<S>, Definition.ServicesOf<S, A>> => {
  const refuse = (at: string, problem: string) => new InvalidMachine({ machine: name, at, problem })
  if (name === "" || !name.isWellFormed()) throw refuse("name", "Expected a name of valid Unicode")
  if (!Number.isSafeInteger(version) || version < 1) throw refuse("version", "Expected a whole number from 1")
  const strange = Object.keys(migrate).find((old) => !(Number.isInteger(Number(old)) && +old >= 1 && +old < version))
  if (strange !== undefined) {
    throw refuse("migrate", `Expected versions before ${version}, which it leads from, not ${JSON.stringify(strange)}`)
  }
  const names = Object.keys(events)
  const compiled = compile(refuse, {
    events: new Set(names),
    initial,
    // What they are was checked where they were given.
    states: states as Definition.Declared["states"],
    actions: actions as Definition.Declared["actions"]
  })
  const cases = names.map((tag) => Schema.TaggedStruct(tag, events[tag]!))
  // One of each tag: what the type of events says.
  const event = Schema.Union(cases) as unknown as Schema.Codec<Definition.EventOf<E>, unknown>
  const asJson = Schema.toCodecJson(context)
  const eventAsJson = Schema.toCodecJson(event)
  const dates = [...compiled.states.values()].flatMap(({ triggers }) =>
    triggers.flatMap(({ when }) => (when._tag === "Field" ? [when.path] : []))
  )
  const rules: Step.Rules = {
    name,
    version,
    ...compiled,
    decodeContext: Schema.decodeUnknownEffect(asJson),
    // A codec of JSON encodes to JSON.
    encodeContext: Schema.encodeUnknownEffect(asJson) as Step.Rules["encodeContext"],
    encodeEvent: Schema.encodeUnknownEffect(eventAsJson) as Step.Rules["encodeEvent"],
    decodeEvent: Schema.decodeUnknownEffect(eventAsJson),
    migrate,
    dates: [...new Set(dates)].toSorted()
  }
  return {
    name,
    version,
    states: [...compiled.states.keys()] as Array<keyof S & string>,
    events: names,
    context,
    event,
    rules
  }
}

const compile = (refuse: (at: string, problem: string) => InvalidMachine, declared: Definition.Declared) => {
  try {
    return Definition.compile(declared)
  } catch (mistake) {
    throw mistake instanceof Definition.Mistake ? refuse(mistake.at, mistake.problem) : mistake
  }
}

// -----------------------------------------------------------------------------
// Pictures
// -----------------------------------------------------------------------------

/**
 * Draws a machine as a state diagram of Mermaid, which GitHub and many editors show.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toMermaid = ({ name, rules }: Any, options?: Diagram.DrawOptions): string =>
  Diagram.mermaid({ ...rules, name }, options)

/**
 * Draws a machine in the language of Graphviz.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toDot = ({ name, rules }: Any, options?: Diagram.DrawOptions): string =>
  Diagram.dot({ ...rules, name }, options)

/**
 * Draws a machine as an SVG picture: columns by how far a state is from the first. For machines of up to some ten states; `toDot` leaves the
 * order to Graphviz, which does better with many.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toSvg = ({ name, rules }: Any, options?: Diagram.DrawOptions): string =>
  Diagram.svg({ ...rules, name }, options)

/**
 * Walks a machine, whatever its guards say, and tells the states that cannot be reached, those that nothing leads out of though they are not final, and a shortest way
 * to each of the others.
 *
 * @category getters
 * @since 0.1.0
 */
export const analyze = ({ name, rules }: Any): Diagram.Analysis => Diagram.analyze({ ...rules, name })

/**
 * Lists what leads from one state to another.
 *
 * @category getters
 * @since 0.1.0
 */
export const edgesOf = ({ rules }: Any): ReadonlyArray<Diagram.Edge> => Diagram.edgesOf(rules)

/**
 * Lists the events that a state takes, itself or by a state around it, by name.
 *
 * @category getters
 * @since 0.1.0
 */
export const eventsIn = <State extends string>(
  { rules }: Any & { readonly states: ReadonlyArray<State> },
  state: State
): ReadonlyArray<string> => Definition.eventsIn(rules.states, state)

// -----------------------------------------------------------------------------
// Where entities are
// -----------------------------------------------------------------------------

/**
 * Returns the options of a resource whose documents are nothing but entities of a machine: an `id`, and the field `machine`. It keeps what
 * actions need in the journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const alone = (_machine: Any) =>
  ({
    schema: Schema.Struct({ id: Schema.String, machine: Kept.Stored }),
    primaryKey: "id",
    journal: { images: "both" }
  }) as const

/**
 * The names of the fields of documents in which a machine can have its state.
 *
 * @category models
 * @since 0.1.0
 */
export type FieldOf<R extends Resource.Any> = {
  readonly [K in keyof Resource.DocumentOf<R> & string]-?: Kept.Stored extends Resource.DocumentOf<R>[K] ? K : never
}[keyof Resource.DocumentOf<R> & string]

/**
 * An event for an entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Addressed<out Ev> {
  readonly id: string
  readonly event: Ev
}

/**
 * Events by changes of other documents: see `onChange`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeTrigger<out R, out Ev> {
  readonly resource: string
  readonly name: string
  /** @internal */
  readonly open: Effect.Effect<
    (
      record: Journal.Record
    ) => Effect.Effect<ReadonlyArray<Addressed<Ev>>, DbError.NotFound | DbError.InvalidInput | Repository.ReadError>,
    never,
    R
  >
}

/**
 * A committed change of another document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed<out A> {
  readonly kind: Journal.Record["kind"]
  readonly id: string
  /** Where the journal of the resource keeps such images. */
  readonly before: A | undefined
  readonly after: A | undefined
  readonly writeId: string
}

/**
 * Sends events for committed changes of the documents of a resource, which has to have a journal, with images as far as `to` looks at them. Entities whose state does
 * not take the event are left alone. Each change counts once for an entity, also after an outage; one that comes while nobody listens is heard afterwards. `name`
 * tells it from others of the same machine: who listens under it goes on where it was.
 *
 * @category constructors
 * @since 0.1.0
 */
export const onChange = <Self, Id extends string, S extends Attributes.DocumentSchema, N extends Names, Ev>(
  resource: Resource.ServiceClass<Self, Id, S, N>,
  name: string,
  to: (change: Changed<S["Type"]>) => ReadonlyArray<Addressed<Ev>>
): ChangeTrigger<Self, Ev> => ({
  resource: resource.definition.name,
  name,
  open: Effect.map(resource, (repository) =>
    Effect.fnUntraced(function* (record: Journal.Record) {
      const imageOf = (side: "after" | "before") =>
        record[side] === undefined ? Effect.succeed(undefined) : repository.fromImage(record, side)
      const { id, kind, writeId } = record
      return to({ kind, id, writeId, before: yield* imageOf("before"), after: yield* imageOf("after") })
    })
  )
})

/**
 * Where the entities of a machine are, and what is done for them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  R extends Resource.Any,
  M extends Any,
  T extends ChangeTrigger<unknown, unknown> = ChangeTrigger<never, never>
>
  extends Plugin.Options {
  readonly machine: M
  readonly resource: R
  /** The field of its documents that is `StateMachine.Stored`, optional or not. */
  readonly field: FieldOf<R>
  /** How many of the last transitions a document has at least, and up to twice as many. 2 to 100. Default: 10. */
  readonly keep?: number | undefined
  /** Whether an index of states is kept, which `statistics` and `inState` go by: 1 PUT more for a transition. Default `false`. */
  readonly statistics?: boolean | undefined
  /** `false`: this process sends no event by itself, but by `sweep`. Default `true`. */
  readonly triggers?: boolean | undefined
  /** How long after a look for triggers that are due the next one is. 100 ms to 1 day. Default: 10 seconds. */
  readonly interval?: Duration.Input | undefined
  /** How long a process that stands still keeps others from sending triggers. 3 seconds to 1 day. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
  /** `false`: this process runs no actions. Default `true`, where the machine has any. */
  readonly actions?: boolean | undefined
  /** How many entities are seen to at once. 1 to 1,000. Default: 16. */
  readonly concurrency?: number | undefined
  /** Events by changes of other documents. Default: none. */
  readonly changes?: ReadonlyArray<T> | undefined
  /** How consumers of the journal look for what is new. */
  readonly consuming?: Pick<Consumer.JournalOptions, "firstPause" | "lease" | "longestPause"> | undefined
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidMachine | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of reading an entity.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadError = NotStarted | UnknownForm | DbError.NotFound | Repository.ReadError

/**
 * The errors of sending an event.
 *
 * @category errors
 * @since 0.1.0
 */
export type SendError<Refusal> =
  | InvalidEvent
  | (unknown extends Refusal ? Refused : [Refusal] extends [never] ? never : Refused<Refusal>)
  | NotStarted
  | StaleVersion
  | UnknownForm
  | Repository.ChangeError

/**
 * An entity as it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entity<out State extends string, out C> {
  readonly id: string
  readonly state: State
  /** How many transitions there have been. */
  readonly version: number
  readonly context: C
  /** When it has come to its state, in milliseconds since the epoch by the store's clock. */
  readonly since: number
  /** Whether nothing leads out of its state. */
  readonly isFinal: boolean
  /** The names of the events that it takes, guards aside. */
  readonly events: ReadonlyArray<string>
  /** When the next trigger is due, in milliseconds since the epoch. */
  readonly due: number | undefined
}

/**
 * A transition of the past.
 *
 * @category models
 * @since 0.1.0
 */
export interface Past {
  readonly version: number
  /** `undefined` of the start. */
  readonly event: string | undefined
  readonly from: string | undefined
  readonly to: string
  /** Milliseconds since the epoch, by the store's clock. */
  readonly at: number
  /** What it was sent with. */
  readonly key: string
  /** What has come with the event, in JSON form. */
  readonly payload: Json | undefined
  /** The actions that run for it. */
  readonly actions: ReadonlyArray<string>
}

/**
 * How many entities are in a state, and for how long: milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateStatistics {
  readonly count: number
  readonly meanMillis: number
  readonly medianMillis: number
  readonly longestMillis: number
}

/**
 * The entities of a machine.
 *
 * @category services
 * @since 0.1.0
 */
export interface Flow<in out M extends Any> {
  /**
   * Starts an entity: in a new document, or in one that is there and has none. 1 PUT, with 1 GET and 2 PUT more where the document is there. `rest`: the other
   * fields of the document; those that it has are set to them. Where the answer of the write was lost, it gives the entity as it is by then. `AlreadyStarted`; `InvalidInput`: there is no document, and a new one
   * would lack fields.
   */
  readonly start: (
    id: string,
    context: ContextOf<M>,
    rest?: Readonly<Record<string, unknown>>
  ) => Effect.Effect<
    Entity<StateOf<M>, ContextOf<M>>,
    AlreadyStarted | Schema.SchemaError | Repository.InsertError | Repository.ChangeError | UnknownForm
  >

  /** What a document is inserted with that is to be an entity. No request. `SchemaError`: the context does not fit. */
  readonly initial: (context: ContextOf<M>) => Effect.Effect<Kept.Stored, Schema.SchemaError | DbError.DbError>

  /**
   * Sends an event to an entity: 1 GET and 1 PUT. When others were faster it is sent to what is there then, up to `retries` times. Of what is sent at once to one version
   * exactly one is taken by it.
   *
   * `InvalidEvent`: the state does not take it; it names those it does. `Refused`: guards refuse it, with their reason. `NotStarted`; `StaleVersion`: see
   * `ifVersion`; `UnknownForm`. Within `database.transaction` it is part of that: so several entities move together, or none.
   */
  readonly send: (
    id: string,
    event: Definition.Sent<Typed<M>["events"]>,
    options?: Entities.SendOptions
  ) => Effect.Effect<
    Entities.Moved<StateOf<M>, keyof Typed<M>["events"] & string, ContextOf<M>>,
    SendError<Typed<M>["refusal"]>
  >

  /** Sends an event to many, so many at once. Tells what has come of each; one that fails does not stop the others, and one whose guard or update dies is logged, and told as `OutcomeUnknown`. */
  readonly sendMany: <E = never, R = never>(
    ids: Iterable<string> | Stream.Stream<string, E, R>,
    event: Definition.Sent<Typed<M>["events"]>,
    options?: Pick<Entities.SendOptions, "retries">
  ) => Stream.Stream<
    {
      readonly id: string
      readonly result: Result.Result<
        Entities.Moved<StateOf<M>, keyof Typed<M>["events"] & string, ContextOf<M>>,
        SendError<Typed<M>["refusal"]>
      >
    },
    E,
    R
  >

  /** An entity as it is. 1 GET. */
  readonly get: (id: string) => Effect.Effect<Entity<StateOf<M>, ContextOf<M>>, ReadError>

  /** Whether an event would be taken, guards included. 1 GET, and those of guards. */
  readonly can: (id: string, event: Definition.Sent<Typed<M>["events"]>) => Effect.Effect<boolean, ReadError>

  /** The transitions of an entity, the newest first, the start last. 1 GET; 2 more for the first 100 that are not in its document, and so on. */
  readonly history: (id: string) => Stream.Stream<Past, ReadError>

  /**
   * Waits until an entity is in one of some states, or in one inside them. 1 GET for each look: when this process has written the entity, and, since others write it, too, after 100 ms, then twice as long each time, up to `longestPause` (default: 5
   * seconds). `NeverReached`: it is in another final state. Put a time limit on it: it waits for ever.
   */
  readonly waitFor: (
    id: string,
    states: StateOf<M> | ReadonlyArray<StateOf<M>>,
    options?: { readonly longestPause?: Duration.Input | undefined }
  ) => Effect.Effect<Entity<StateOf<M>, ContextOf<M>>, NeverReached | ReadError>

  /**
   * The ids of the entities in a state, or in one inside it, each once, however they are sent on meanwhile. With `statistics` by its index, 1 LIST for each 1,000 and 1 GET for each; else all documents are read.
   */
  readonly inState: (state: StateOf<M>) => Stream.Stream<string, Repository.ListError>

  /**
   * How many entities are in each state that has none inside, and for how long, by the index of states: 1 LIST for each 1,000. What a write has left that came to a
   * sudden end is counted, until `repair`. Fails with `NotAllowed` without the option `statistics`; `Incomplete` until its index was built by `sweep` or `backfill`.
   */
  readonly statistics: Effect.Effect<
    Readonly<Record<InmostOf<M>, StateStatistics>>,
    DbError.NotAllowed | Repository.ListError
  >

  /** Writes all entities of earlier versions of the machine as they are by now, and tells of each that was, or cannot be; one that dies is logged, and told as `OutcomeUnknown`. */
  readonly migrate: Stream.Stream<
    { readonly id: string; readonly error: UnknownForm | Repository.ChangeError | undefined },
    Repository.ListError
  >

  /** Sends what is due now, in this process. Builds indexes where that is not done. Requests as of a sweep. */
  readonly sweep: Effect.Effect<Runner.Swept, Repository.ListError | Repository.ChangeError | DbError.Unfinished>

  /** Deletes an entity: its document, and its older transitions. */
  readonly remove: (id: string) => Effect.Effect<void, Repository.DeleteError | Repository.ReadError>

  /**
   * The transitions whose actions have failed for good, and the changes of other documents whose events could not be sent, as records of the journal, whose
   * `resource` tells which: see `Consumer.deadLetters`. Of the actions and `changes` that the layer declares.
   */
  readonly failed: Stream.Stream<Consumer.DeadLetter<Journal.Record>, StoreError.StoreError>

  /** Runs the actions of those again, sends the events of those, and gives how many have succeeded. */
  readonly redrive: Effect.Effect<Consumer.Redriven, StoreError.StoreError>

  /** Waits until what the journal has by now was seen to: actions have run, and changes were heard. Somebody has to keep the journal: `plugins/Journaler`. */
  readonly caughtUp: Effect.Effect<void, Consumer.ConsumeError>

  /** What this process does by itself, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
  readonly events: Stream.Stream<Runner.Event | Change.Lagged>
}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Runner.Event> = Plugin.define<Runner.Event>("state-machine", { version: 1 })

/**
 * What a machine needs that is bound to a resource: that, the services of its guards and actions, and the resources whose changes it hears of.
 *
 * @category models
 * @since 0.1.0
 */
export type Needs<R extends Resource.Any, M extends Any, T> =
  | Resource.SelfOf<R>
  | Typed<M>["services"]
  | (T extends ChangeTrigger<infer Req, unknown> ? Req : never)

/**
 * A class that is the service of the entities of a machine, and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  in out M extends Any,
  out Req
> extends Plugin.ServiceClass<Self, Id, Flow<M>, LayerError, Database | Exclude<Req, Scope.Scope>> {
  readonly machine: M
}

/**
 * Binds a machine to a field of a resource, as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <
    const Id extends string,
    R extends Resource.Any,
    M extends Any,
    T extends ChangeTrigger<unknown, Definition.Sent<Typed<M>["events"]>> = ChangeTrigger<never, never>
  >(
    id: Id,
    options: Options<R, M, T>
  ): ServiceClass<Self, Id, M, Needs<R, M, T>> =>
    Object.assign(Plugin.service<Self>()(id, open<R, M, T>(options)), { machine: options.machine })

const durationOf = (input: Duration.Input): number =>
  Option.match(Duration.fromInput(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })

const checked = Effect.fnUntraced(function* <
  R extends Resource.Any,
  M extends Any,
  T extends ChangeTrigger<unknown, unknown>
>({
  changes = [],
  concurrency = 16,
  interval = "10 seconds",
  keep = 10,
  lease = "30 seconds",
  machine
}: Options<R, M, T>) {
  const refuse = (at: string, problem: string) => new InvalidMachine({ machine: machine.name, at, problem })
  if (!Number.isSafeInteger(keep) || keep < 2 || keep > 100)
    return yield* refuse("keep", "Expected a whole number from 2 to 100")
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 1000) {
    return yield* refuse("concurrency", "Expected a whole number from 1 to 1,000")
  }
  const [pause, held] = [durationOf(interval), durationOf(lease)]
  if (!(pause >= 100 && pause <= 86_400_000))
    return yield* refuse("interval", "Expected a duration from 100 ms to 1 day")
  if (!(held >= 3000 && held <= 86_400_000)) return yield* refuse("lease", "Expected a duration from 3 s to 1 day")
  const twice = changes.find(({ name }, i) => changes.findIndex((one) => one.name === name) !== i)
  if (twice !== undefined) return yield* refuse("changes", `Expected one of the name ${JSON.stringify(twice.name)}`)
  return { keep, concurrency, pause: Duration.millis(pause), held: Duration.millis(held) }
})

/** So many milliseconds the store's clock may be another one for two processes. */
const clocksDiffer = 2000

/** Whoever keeps the journal has taken its lease by then. */
const keptWithin = Duration.seconds(10)

/**
 * Opens the entities of a machine until the scope closes: sends triggers, runs actions, and hears of changes, as the options say. The requests of
 * `Plugin.open`, `Repository.addCompanion`, and of consumers of the journal.
 *
 * Actions and `changes` come from the journal, which somebody has to keep: where entries wait and nobody does, the status of the plugin is `degraded`
 * (2 LIST of 1 key when it is asked for; 1 or 2 HEAD more where an entry waits), and a warning is logged 10 seconds after it was opened.
 *
 * `InvalidMachine`: an option is wrong, the field is not there, or the resource has no journal with `images: "both"` where the machine has actions, or none where
 * there are `changes`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = Effect.fn("StateMachine.open")(function* <
  R extends Resource.Any,
  M extends Any,
  T extends ChangeTrigger<unknown, unknown> = ChangeTrigger<never, never>
>(options: Options<R, M, T>): Effect.fn.Return<Flow<M>, LayerError, Database | Scope.Scope | Needs<R, M, T>> {
  const { changes = [], field, machine, resource, statistics = false } = options
  const { concurrency, held, keep, pause } = yield* checked(options)
  const { rules } = machine
  const { name, primaryKey } = resource.definition
  const refuse = (at: string, problem: string) => new InvalidMachine({ machine: machine.name, at, problem })
  const database = yield* Database
  const self = yield* Plugin.open(plugin, { ...options, name: `${machine.name} of ${name}` })
  const documents = yield* Resource.keyOf<R, Entities.Documents>(resource)
  const services = yield* Effect.context<Needs<R, M, T>>()
  // What guards and actions need is among what the machine says it needs.
  const provided = <A, E>(effect: Effect.Effect<A, E, unknown>): Effect.Effect<A, E> =>
    Effect.provideContext(effect as Effect.Effect<A, E, Needs<R, M, T>>, services as Context.Context<Needs<R, M, T>>)
  const now = DbError.named("StateMachine", name)(yield* StoreClock.kept(database.store))

  if (!resource.definition.attributes.some(({ path }) => path.join(".") === `${field}.state`)) {
    return yield* refuse("field", `Expected a field that is StateMachine.Stored, not ${JSON.stringify(field)}`)
  }
  const hasActions = rules.actions.size > 0
  const runsActions = hasActions && options.actions !== false
  const journalOf = (of: string) => database.upkeep(of)?.settings?.journal
  if (hasActions && journalOf(name)?.images !== "both") {
    return yield* refuse(
      "actions",
      `Expected journal: { images: "both" } in the resource ${JSON.stringify(name)}: actions run from the journal`
    )
  }
  const silent = changes.find((one) => journalOf(one.resource) === undefined)
  if (silent !== undefined) {
    return yield* refuse("changes", `Expected the option journal in the resource ${JSON.stringify(silent.resource)}`)
  }

  const hasTriggers = [...rules.states.values()].some(({ triggers }) => triggers.length > 0)
  const dueIndex = Kept.dueName(field, rules.dates)
  if (hasTriggers) yield* documents.addCompanion(dueIndex, Kept.dueIndex(field, rules.dates))
  if (statistics) yield* documents.addCompanion(Kept.statesName(field), Kept.statesIndex(field))

  const entities = Entities.make({
    rules,
    resource: name,
    primaryKey,
    field,
    keep,
    documents,
    database,
    prefix: self.prefix(name),
    now,
    provided
  })
  const running: Runner.Options = {
    rules,
    entities,
    documents,
    resource: name,
    dueIndex,
    self,
    concurrency,
    now,
    provided
  }

  let trouble: string | undefined
  const note = (found: string | undefined) => {
    trouble = found
  }
  if (hasTriggers && options.triggers !== false) {
    const key = `${self.prefix(name)}${encodeURIComponent(field)}/lease`
    const election = Lease.make(database.store, { key, duration: held })
    const sweeping = Runner.sweeping(running, election, pause, note)
    yield* Effect.forkScoped(Effect.provideService(sweeping, InstrumentedStore.CurrentPlugin, self.slug))
  }

  const consumerOf = (what: string, of: string, attempts: number) =>
    JournalConsumer.make({
      ...options.consuming,
      name: [self.slug, name, field, what].join("."),
      resources: [of],
      // A machine that is new has nothing to do with what was before it, but with what is sent from now on.
      start: "beginning",
      attempts
    })
  const acting = Runner.acting(running)
  const actions = hasActions ? yield* consumerOf("actions", name, 1) : undefined
  const workers: Array<Consumer.Running> = []
  const consumers: Array<JournalConsumer.JournalConsumer> = []
  /** What has dead letters, and what they are given to once more. */
  const givenUp: Array<{
    readonly consumer: JournalConsumer.JournalConsumer
    readonly handle: Consumer.Handler<Journal.Record, unknown, never>
  }> = actions === undefined ? [] : [{ consumer: actions, handle: acting }]
  if (runsActions && actions !== undefined) {
    consumers.push(actions)
    workers.push(yield* actions.consume(acting))
  }
  for (const one of changes) {
    const to = yield* one.open as Effect.Effect<
      Effect.Success<ChangeTrigger<never, unknown>["open"]>,
      never,
      Needs<R, M, T>
    >
    const consumer = yield* consumerOf(`changes.${one.name}`, one.resource, 5)
    const who = `${one.resource}.${one.name}`
    consumers.push(consumer)
    givenUp.push({ consumer, handle: Runner.hearing(running, who, to, true) })
    workers.push(yield* consumer.consume(Runner.hearing(running, who, to)))
  }

  // Another process may keep the journal: that is seen by what it does, and cannot be asked for when this one opens.
  const unkept = Effect.catch(
    Effect.gen(function* () {
      const { prefix } = database.journal
      const never = yield* keeping.everKept(database.store, prefix)
      return never ?? (yield* keeping.make(database.store, prefix))
    }),
    ({ message }) => Effect.succeed(`it cannot be seen whether entries wait for the journal: ${message}`)
  )
  const health = Effect.gen(function* (): Effect.fn.Return<PluginRegistry.Health> {
    for (const worker of workers) {
      const { failing, stopped } = yield* worker.state
      if (stopped !== undefined) return { level: "down", detail: stopped }
      if (failing !== undefined) return { level: "degraded", detail: failing }
    }
    const detail = trouble ?? (workers.length === 0 ? undefined : yield* unkept)
    return detail === undefined ? { level: "up" } : { level: "degraded", detail }
  })
  yield* self.running({ health })
  if (workers.length > 0) {
    const warn = Effect.flatMap(unkept, (found) =>
      found === undefined
        ? Effect.void
        : Effect.logWarning(`state-machine: no action of ${JSON.stringify(machine.name)} runs. ${found}`)
    )
    yield* Effect.forkScoped(Effect.delay(warn, keptWithin))
  }

  const build = Effect.flatMap(documents.admin, ({ backfill }) => Stream.runDrain(backfill()))
  const isInside = (state: string, around: string) => rules.states.get(state)?.path.includes(around) ?? state === around
  const entityOf = (id: string, { context, stored }: Step.View, due: number | undefined) => {
    const { since, state, version } = stored
    return {
      id,
      // It was looked up among those of the machine.
      state: state as StateOf<M>,
      version,
      context: context as ContextOf<M>,
      since,
      isFinal: rules.states.get(state)?.path.some((one) => rules.states.get(one)?.final === true) ?? false,
      events: Definition.eventsIn(rules.states, state),
      due
    }
  }
  const get = Effect.fnUntraced(function* (id: string) {
    const seen = yield* entities.see(id)
    return entityOf(id, seen, Kept.dueOf({ [field]: seen.stored, ...datesIn(seen.document.value, rules.dates) }, field))
  })

  const send = (id: string, event: unknown, sending?: Entities.SendOptions) =>
    Effect.tap(entities.send(id, Entities.taggedOf(event), sending), () => self.count("sent"))

  /** What has come of one of many: one whose guard, update or migration dies does not stop the others. */
  const settled = Effect.fnUntraced(function* <A, E>(
    operation: string,
    id: string,
    effect: Effect.Effect<A, E>
  ): Effect.fn.Return<Result.Result<A, E | DbError.DbError>> {
    const exit = yield* Effect.exit(Effect.result(effect))
    if (Exit.isSuccess(exit)) return exit.value
    // It is all of it that is interrupted, unless a guard interrupts itself.
    yield* Effect.yieldNow
    yield* Effect.logError(`${self.slug}: ${operation} of ${JSON.stringify(id)} of ${machine.name} died`, exit.cause)
    const description = `it died (${Entities.nameOf(exit.cause)}), so that nothing tells whether it was written; the log has the cause`
    return Result.fail(DbError.make(operation, new DbError.OutcomeUnknown({ description })))
  })

  /**
   * The entities in some states, by the index, which has them by when they have come there: who sends them on while it is drawn may bring them into one of them anew, further
   * behind. They are given once.
   */
  const inStates = (states: ReadonlyArray<string>) =>
    Stream.unwrap(
      Effect.map(now, (begin) => {
        const given = new Set<string>()
        // Only who was given before then can be anew in what is looked at.
        const remember = (id: string) =>
          Effect.map(now, (at) => {
            if (at <= begin + 2 * clocksDiffer) given.add(id)
            return id
          })
        return Stream.fromIterable(states).pipe(
          Stream.flatMap((one) =>
            documents
              .companion(Kept.statesName(field), { prefix: [one] })
              .pipe(Stream.takeWhile(({ key: [, since] }) => Number(since) <= begin + clocksDiffer))
          ),
          Stream.filter(({ id }) => !given.has(id)),
          Stream.mapEffect(({ id }) => remember(id))
        )
      })
    )

  const firstPause = 100
  const flow = {
    start: Effect.fn("StateMachine.start")(function* (id: string, context: unknown, rest = {}) {
      const begun = yield* entities.start(id, context, rest)
      return entityOf(id, begun, begun.stored.due)
    }),
    initial: entities.initial,
    send: Effect.fn("StateMachine.send")(send),
    sendMany: (
      ids: Iterable<string> | Stream.Stream<string, unknown, unknown>,
      event: unknown,
      sending?: Entities.SendOptions
    ) =>
      Stream.mapEffect(
        Stream.isStream(ids) ? ids : Stream.fromIterable(ids),
        (id) => Effect.map(settled("StateMachine.send", id, send(id, event, sending)), (result) => ({ id, result })),
        { concurrency }
      ),
    get: Effect.fn("StateMachine.get")(get),
    can: Effect.fn("StateMachine.can")(function* (id: string, event: unknown) {
      return yield* entities.can(yield* entities.see(id), Entities.taggedOf(event))
    }),
    history: (id: string) =>
      Stream.map(entities.history(id), (one): Past => ({
        version: one.v,
        event: one.event,
        from: one.from,
        to: one.to,
        at: one.at,
        key: one.key,
        payload: one.with,
        actions: one.do ?? []
      })),
    waitFor: Effect.fn("StateMachine.waitFor")(function* (
      id: string,
      states: string | ReadonlyArray<string>,
      { longestPause = "5 seconds" }: { readonly longestPause?: Duration.Input | undefined } = {}
    ) {
      const wanted = typeof states === "string" ? [states] : states
      const most = durationOf(longestPause)
      const written = yield* Queue.sliding<void>(1)
      yield* (yield* documents.subscribe()).pipe(
        Stream.filter((change) => change._tag === "Lagged" || change.id === id),
        Stream.runForEach(() => Queue.offer(written, undefined)),
        Effect.forkScoped
      )
      for (let pause = firstPause; ; pause = Math.min(pause * 2, Number.isFinite(most) ? most : pause)) {
        const entity = yield* get(id)
        if (wanted.some((one) => isInside(entity.state, one))) return entity
        if (entity.isFinal) return yield* new NeverReached({ machine: machine.name, id, state: entity.state, wanted })
        yield* Effect.timeoutOption(Queue.take(written), pause)
      }
    }, Effect.scoped),
    inState: (state: string) =>
      statistics
        ? inStates([...rules.states.keys()].filter((one) => isInside(one, state)))
        : documents.scanDocuments().pipe(
            Stream.filter(({ value }) => {
              const stored = entities.storedIn(value)
              return stored !== undefined && isInside(stored.state, state)
            }),
            Stream.map(({ id }) => id)
          ),
    statistics: Effect.gen(function* () {
      if (!statistics) {
        const description = "give the machine the option statistics: true"
        return yield* new DbError.NotAllowed({ resource: name, operation: "StateMachine.statistics", description })
      }
      const at = yield* now
      const lengths = new Map<string, Array<number>>()
      yield* Stream.runForEach(
        documents.companion(Kept.statesName(field), { verify: false }),
        ({ key: [state, since] }) =>
          Effect.sync(() => {
            const known = lengths.get(String(state)) ?? []
            lengths.set(String(state), known)
            known.push(Math.max(0, at - Number(since)))
          })
      )
      const leaves = [...rules.states.values()].filter(({ initial }) => initial === undefined)
      return Object.fromEntries(
        leaves.map((state) => [state.name, statisticsOf((lengths.get(state.name) ?? []).toSorted((a, b) => a - b))])
      )
    }),
    migrate: documents.scanDocuments().pipe(
      Stream.filter(({ value }) => (entities.storedIn(value)?.definition ?? machine.version) !== machine.version),
      Stream.mapEffect(
        ({ id }) =>
          Effect.map(settled("StateMachine.migrate", id, entities.migrate(id)), (result) => {
            if (Result.isSuccess(result)) return { id, error: undefined, isTold: result.success }
            const { failure: error } = result
            // Whoever is gone needs it no more.
            return { id, error, isTold: error._tag !== "NotFound" && error._tag !== "NotStarted" }
          }),
        { concurrency }
      ),
      Stream.filter(({ isTold }) => isTold),
      Stream.map(({ error, id }) => ({ id, error }))
    ),
    sweep: Effect.gen(function* () {
      if (statistics) {
        yield* Stream.runDrain(documents.companion(Kept.statesName(field), { verify: false, limit: 1 })).pipe(
          Effect.catchReason("DbError", "Incomplete", () => build)
        )
      }
      return hasTriggers ? yield* Runner.sweep(running) : { due: 0, taken: 0, refused: 0, failed: 0 }
    }),
    remove: Effect.fn("StateMachine.remove")(entities.remove),
    failed: Stream.flatMap(Stream.fromIterable(givenUp), ({ consumer }) => consumer.deadLetters),
    redrive: Effect.gen(function* () {
      const sum = { handled: 0, failed: 0 }
      for (const { consumer, handle } of givenUp) {
        const { failed, handled } = yield* consumer.redrive(handle)
        sum.handled += handled
        sum.failed += failed
      }
      return sum
    }),
    caughtUp: Effect.flatMap(database.journal.position, (position) =>
      position === 0
        ? Effect.void
        : Effect.forEach(consumers, (consumer) => consumer.waitUntil(position), {
            discard: true,
            concurrency: "unbounded"
          })
    ),
    events: self.events
  }
  // Its states, events and refusals are those of the machine, which what is stored does not know.
  return flow as unknown as Flow<M>
})

const datesIn = (document: unknown, paths: ReadonlyArray<string>): Record<string, unknown> => {
  const found: Record<string, unknown> = {}
  for (const path of paths) {
    const parts = path.split(".")
    const value = valueAt(document, parts)
    if (value === undefined) continue
    let at = found
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>
    at[parts.at(-1)!] = value
  }
  return found
}

const statisticsOf = (lengths: ReadonlyArray<number>): StateStatistics => {
  const count = lengths.length
  if (count === 0) return { count, meanMillis: 0, medianMillis: 0, longestMillis: 0 }
  const half = Math.floor((count - 1) / 2)
  return {
    count,
    meanMillis: lengths.reduce((sum, one) => sum + one, 0) / count,
    medianMillis: count % 2 === 1 ? lengths[half]! : (lengths[half]! + lengths[half + 1]!) / 2,
    longestMillis: lengths.at(-1)!
  }
}
