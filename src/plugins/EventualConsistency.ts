/**
 * Counters and sums that many processes change at once: fields of documents to which operations are added, none of them lost and none
 * made twice.
 *
 * ```ts
 * import * as Id from "effect-s3db/crypto/Id"
 * import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
 * import * as Plugin from "effect-s3db/Plugin"
 * import * as Resource from "effect-s3db/Resource"
 * import { Layer, Schema } from "effect"
 *
 * const fields = { id: Id.Random, owner: Schema.String, visits: Schema.Int }
 *
 * class Pages extends Resource.Service<Pages>()("app/pages", {
 *   schema: Schema.Struct(Plugin.withAttributes(fields, EventualConsistency.attributes)),
 *   primaryKey: "id"
 * }) {}
 *
 * const visits = EventualConsistency.counter(Pages, "visits", { hot: true })
 *
 * const Counting = EventualConsistency.layer({ counters: [visits] }).pipe(Layer.provideMerge(Pages.layer))
 * ```
 *
 * **Details**
 *
 * An operation is acknowledged when it is in the store: in a *lane*, one of few objects that are changed by compare-and-set. What many
 * fibers of a process add at a time is one request. A fold brings operations into their documents: value and marks, which say how far each lane has come
 * into the document, are one conditional write, so that no crash makes an operation twice, and no clock decides anything. Operations of a document are made in the order in
 * which they were acknowledged; those of a hot counter in any, which makes no difference to them.
 *
 * A crash loses what was not acknowledged, at most, and nothing else. An operation that fails with the outcome `"unknown"` has been made
 * once or not at all.
 *
 * Requests: an operation is 1 PUT, for all that are added while another is on its way. A fold is 1 LIST, 1 GET for each lane that has
 * changed, 1 GET and 1 PUT for each document, and 1 PUT for each lane. Idle: 1 LIST for each resource and `interval`, in each process
 * that folds. `apply` is 1 PUT more than an update by id; with `mode: "apply"` it is that update, 1 GET and 1 PUT.
 *
 * @see `docs/guide/counters.md`
 * @since 0.1.0
 */
import type * as BigDecimal from "effect/BigDecimal"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { percentEncode } from "../internal/text.ts"
import * as Escrow from "../kernel/Escrow.ts"
import * as Lease from "../kernel/Lease.ts"
import type { Names } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import type { ChangeError, ReadError } from "../Repository.ts"
import type { ServiceClass } from "../Resource.ts"
import type * as Attributes from "../schema/Attributes.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Cohorts from "./eventual/cohorts.ts"
import * as Engine from "./eventual/engine.ts"
import * as Field from "./eventual/field.ts"
import * as Folding from "./eventual/folding.ts"
import * as Report from "./eventual/report.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A counter or an option that cannot be. Nothing was written. `field` is the counter, or the option, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidCounter extends ExpectedError<InvalidCounter>(
  "effect-s3db/plugins/EventualConsistency/InvalidCounter"
)("InvalidCounter", { resource: Schema.String, field: Schema.String, problem: Schema.String }, { httpApiStatus: 400 }) {
  override get message(): string {
    const what = this.resource === "" ? "the options of counters" : `the counter of ${JSON.stringify(this.resource)}`
    return `${what}, ${this.field}: ${this.problem}`
  }
}

/**
 * An operation that cannot be: its amount is none of the field's, or the document cannot have the value that it leads to. It was not made,
 * and is not going to be.
 *
 * @remedy Give an amount of the field's type; where it is the value that cannot be, read it, and decide anew.
 * @category errors
 * @since 0.1.0
 */
export class InvalidOperation extends ExpectedError<InvalidOperation>(
  "effect-s3db/plugins/EventualConsistency/InvalidOperation"
)(
  "InvalidOperation",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `an operation on ${this.field} of ${JSON.stringify(this.resource)}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidCounter | Plugin.InvalidPlugin | Plugin.AttributeTaken | DbError.DbError

/**
 * The errors of adding an operation. `DbError` with the outcome `"unknown"`: it has been made, or not.
 *
 * @category errors
 * @since 0.1.0
 */
export type OperationError = InvalidCounter | InvalidOperation | ChangeError

// -----------------------------------------------------------------------------
// Counters
// -----------------------------------------------------------------------------

/** What a counter can add to. */
type Countable = number | bigint | BigDecimal.BigDecimal

/** What has fields of its own for a program, and none for a path. */
type Closed =
  | Countable
  | string
  | boolean
  | symbol
  | DateTime.DateTime
  | Date
  | Uint8Array
  | ReadonlyArray<unknown>
  | Redacted.Redacted<unknown>

/**
 * The paths of fields whose values have a type, with a `.` between their parts.
 *
 * @category models
 * @since 0.1.0
 */
export type PathTo<A, V> = A extends Closed
  ? never
  : {
      // The keys of a record are no fields of the schema.
      readonly [K in keyof A & string]-?: string extends K
        ? never
        : [NonNullable<A[K]>] extends [V]
          ? K
          : NonNullable<A[K]> extends Closed
            ? never
            : `${K}.${PathTo<NonNullable<A[K]>, V>}`
    }[keyof A & string]

/**
 * The value at a path.
 *
 * @category models
 * @since 0.1.0
 */
export type ValueAt<A, Path extends string> = Path extends keyof A
  ? NonNullable<A[Path]>
  : Path extends `${infer K}.${infer Rest}`
    ? K extends keyof A
      ? ValueAt<NonNullable<A[K]>, Rest>
      : never
    : never

/** `5` is a number, whatever literal type its field has. */
type Widened<A> = A extends number ? number : A extends bigint ? bigint : A

/**
 * How a counter is kept. All programs that count the same field have to say the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface Manner {
  /**
   * `"deferred"`, the default: operations are acknowledged when they are durable, and come into the document with the next fold. `"apply"`: each
   * is an update of the document, by 1 GET and 1 PUT, and may be part of a transaction.
   */
  readonly mode?: "deferred" | "apply" | undefined
  /**
   * `true`: operations are spread over lanes, so that many processes can add at once without meeting. Their order makes no difference, and
   * so the counter cannot be set. Default `false`.
   */
  readonly hot?: boolean | undefined
  /**
   * `true`: operations are counted by their time, too, for `analytics` and `top`; amounts are those of sums, so not for a `reducer`. A fold takes 1 GET and 1 PUT more for
   * each field, lane and month that has something new. Default `false`.
   */
  readonly analytics?: boolean | undefined
  /**
   * `true`: operations are kept after they have come into the document, for `recalculate` and `history`, as long as the option `retention` says. A fold takes 2 PUT
   * and 1 GET more for each lane that has some. Default `false`.
   */
  readonly history?: boolean | undefined
}

/**
 * How a sum is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface CounterOptions<out V> extends Manner {
  /** What counts where the field has no value. Default: 0. */
  readonly initial?: V | undefined
}

/**
 * What a reducer makes of operations.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReducerOptions<V, Op> extends Manner {
  /** Operations are stored as its JSON codec has them. */
  readonly operation: Schema.Codec<Op, unknown>
  /** What counts where the field has no value. */
  readonly initial: V
  readonly analytics?: never
  /** Has to be pure. With `hot` the order of operations must make no difference: see `isCommutative`. */
  readonly reduce: (value: V, operation: Op) => V
}

/**
 * A counter, whatever it counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyCounter<out R = unknown> {
  readonly resource: string
  readonly field: string
  /** @internal */
  readonly check: Effect.Effect<void, InvalidCounter>
  /** @internal */
  readonly open: (
    fields: ReadonlyMap<string, Field.Field>,
    self: Plugin.Instance<Event>,
    isThere: (id: string) => void
  ) => Effect.Effect<Folding.Documents, LayerError, Database | Scope.Scope | R>
  /** @internal */
  readonly made: Result.Result<Field.Field, string>
}

/**
 * A sum in a field: see `counter`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counter<in out V, out R = unknown> extends AnyCounter<R> {
  readonly "~value": (value: V) => V
  readonly "~sum": true
}

/**
 * A field that operations are reduced into: see `reducer`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reducer<in out V, in Op, out R = unknown> extends AnyCounter<R> {
  readonly "~value": (value: V) => V
  readonly "~operation": (operation: Op) => void
}

const mannerOf = ({ analytics = false, history = false, hot = false, mode = "deferred" }: Manner): Field.Manner => ({
  isHot: hot,
  isDirect: mode === "apply",
  isAnalyzed: analytics,
  isKept: history
})

const declared = <Self, Id extends string, S extends Attributes.DocumentSchema, N extends Names>(
  resource: ServiceClass<Self, Id, S, N>,
  field: string,
  { analytics = false, history = false, hot = false, mode = "deferred" }: Manner,
  made: Result.Result<Field.Field, string>
): AnyCounter<Self> => {
  const { definition } = resource
  const refuse = (problem: string) => Effect.fail(new InvalidCounter({ resource: definition.name, field, problem }))
  return {
    resource: definition.name,
    field,
    made,
    check: Effect.suspend(() => {
      if (Result.isFailure(made)) return refuse(made.failure)
      if (mode !== "deferred" && mode !== "apply") return refuse(`Expected "deferred" or "apply" as mode`)
      if (hot && mode === "apply") return refuse("Expected a hot counter to be deferred")
      if (analytics && mode === "apply") return refuse("Expected a counter with analytics to be deferred")
      if (history && mode === "apply") return refuse("Expected a counter with history to be deferred")
      return Effect.void
    }),
    open: Effect.fnUntraced(function* (fields, self, isThere) {
      const repository = yield* resource
      const isDeferred = [...fields.values()].some(({ isDirect }) => !isDirect)
      if (isDeferred) yield* self.claim(definition, attributes)
      return yield* Folding.make(definition, repository, { fields, slug: self.slug, isDeferred, isThere })
    })
  }
}

/**
 * Declares a sum in a field of a resource: a number, a big integer or a decimal, at any depth of structs. Decimals and big integers are exact; a
 * number is as exact as numbers are: 0.1 and 0.2 are not 0.3. No request, and no check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const counter = <
  Self,
  Id extends string,
  S extends Attributes.DocumentSchema,
  N extends Names,
  const Path extends PathTo<S["Type"], Countable>
>(
  resource: ServiceClass<Self, Id, S, N>,
  field: Path,
  options: CounterOptions<Widened<ValueAt<S["Type"], Path>>> = {}
): Counter<Widened<ValueAt<S["Type"], Path>>, Self> => {
  const made = Field.sum(resource.definition, field, { initial: options.initial, ...mannerOf(options) })
  return { ...declared(resource, field, options, made), "~value": (value) => value, "~sum": true }
}

/**
 * Declares a field that operations of one's own are reduced into. No request, and no check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reducer = <
  Self,
  Id extends string,
  S extends Attributes.DocumentSchema,
  N extends Names,
  const Path extends string,
  Op
>(
  resource: ServiceClass<Self, Id, S, N>,
  field: Path,
  options: ReducerOptions<ValueAt<S["Type"], Path>, Op>
): Reducer<ValueAt<S["Type"], Path>, Op, Self> => {
  const { initial, operation, reduce } = options
  // Operations are those of the schema, and values those of the field, when it is called.
  const erased = { operation, initial, reduce } as unknown as Field.Reducer
  const made = Field.reduced(resource.definition, field, erased, mannerOf(options))
  return { ...declared(resource, field, options, made), "~value": (value) => value, "~operation": () => undefined }
}

/**
 * Tells whether two operations lead to the same value in either order, from a value: for the property test of a reducer that is `hot`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isCommutative = <V, Op>(
  { reduce }: Pick<ReducerOptions<V, Op>, "reduce">,
  value: V,
  [first, second]: readonly [Op, Op],
  isSame: (a: V, b: V) => boolean
): boolean => isSame(reduce(reduce(value, first), second), reduce(reduce(value, second), first))

/**
 * An operation on a sum.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation<V> = { readonly add: V } | { readonly subtract: V } | { readonly set: V }

// -----------------------------------------------------------------------------
// EventualConsistency
// -----------------------------------------------------------------------------

export type { Event, Report } from "./eventual/engine.ts"

type Event = Engine.Event

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("eventual", { version: 1 })

const numbersOfLanes = Schema.Array(Schema.Tuple([Schema.String, Schema.Int]))

/**
 * The attributes that documents with deferred counters need, to be put into a schema: how far each lane has come into the document, which of the last operations were left out, and
 * what the operations of a counter with `history` begin with. See `Plugin.withAttributes`. A program that replaces a document leaves it as it has read it.
 *
 * @category constants
 * @since 0.1.0
 */
export const attributes = Plugin.attributes(plugin, {
  [Folding.marksAttribute]: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  [Folding.basesAttribute]: Schema.optionalKey(
    Schema.Record(
      Schema.String,
      Schema.Struct({
        v: Schema.optionalKey(Schema.Json),
        m: Schema.Record(Schema.String, Schema.Int),
        x: Schema.optionalKey(numbersOfLanes)
      })
    )
  ),
  [Folding.refusedAttribute]: Schema.optionalKey(numbersOfLanes)
})

/**
 * How a value is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  /**
   * `true`: with all operations that were acknowledged before. 1 GET more, of a resource with hot counters 1 LIST and 1 GET for each lane
   * more. Default `false`: as the document has it.
   */
  readonly pending?: boolean | undefined
}

/**
 * What is asked of the past.
 *
 * @category models
 * @since 0.1.0
 */
export interface RangeOptions {
  readonly from: DateTime.DateTime.Input
  /** Not included. Default: now. */
  readonly to?: DateTime.DateTime.Input | undefined
  /** One document alone. Default: all. */
  readonly id?: string | undefined
}

/**
 * What is asked of the past, and how it is told.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnalyticsOptions extends RangeOptions {
  /** How long each cohort is. Weeks are those of ISO 8601, from Monday. */
  readonly by: Cohorts.Period
  /** Whose hours, days, weeks, months and years they are: `America/Sao_Paulo`. Default: UTC. Any may be asked for, also afterwards. */
  readonly timeZone?: string | undefined
  /** `false`: cohorts in which nothing was done are left out. Default `true`. */
  readonly fillGaps?: boolean | undefined
}

/**
 * What operations of one kind came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Amounts<out V> {
  readonly count: number
  readonly sum: V
  readonly min: V
  readonly max: V
}

/**
 * What operations came to in a cohort.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bucket<out V> {
  /** `2025-10-15T07:00-03:00`, `2025-10-15`, `2025-W42`, `2025-10` or `2025`. */
  readonly cohort: string
  /** When it begins. */
  readonly at: DateTime.Utc
  readonly count: number
  /** What was added, less what was taken away. */
  readonly total: V
  /** How many documents there were operations on. */
  readonly documents: number
  readonly operations: {
    readonly add?: Amounts<V> | undefined
    readonly subtract?: Amounts<V> | undefined
    readonly set?: Amounts<V> | undefined
  }
}

/**
 * What operations on one document came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Record<out V> {
  readonly id: string
  readonly count: number
  readonly total: V
}

/**
 * A value that was made again of its operations.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recalculated<out V> {
  readonly value: V
  /** What the document had: another one, if it was repaired. */
  readonly before: V
  /** How many operations it was made of, beside the value that those which are kept begin with. */
  readonly operations: number
}

/**
 * An operation that has come into its document. What one process added at a time is one.
 *
 * @category models
 * @since 0.1.0
 */
export interface PastOperation<out V> {
  /** When it was added, by the clock of its process. */
  readonly at: DateTime.Utc
  readonly kind: "add" | "subtract" | "set"
  readonly amount: V
  /** How many it stands for. */
  readonly operations: number
}

/**
 * What a counter that never goes below zero begins with.
 *
 * @category models
 * @since 0.1.0
 */
export type BoundedOptions = Pick<Escrow.Options, "initial" | "slots">

/**
 * A counter that never goes below zero.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bounded {
  /**
   * Takes so many, or none. 1 PUT, for all that are taken and added at the time in this process; more where its part has not enough: see
   * `kernel/Escrow`. `Insufficient`: there were fewer, at one moment since it was asked for; its `key` is the name. `DbError` with the outcome `"unknown"`: they were taken, or
   * not.
   */
  readonly take: (amount: number) => Effect.Effect<void, Escrow.Insufficient | DbError.DbError>
  /** Adds so many. 1 PUT, for all at the time. */
  readonly add: (amount: number) => Effect.Effect<void, DbError.DbError>
  /** What there is, at one moment. 2 LIST, and 1 GET for each part that has changed. */
  readonly value: Effect.Effect<number, DbError.DbError>
}

/**
 * The counters of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class EventualConsistency extends Context.Service<
  EventualConsistency,
  {
    /**
     * Adds to a sum. It is durable when this succeeds, and is made once. Where there is no document yet, it waits for one. 1 PUT for all that are
     * added at the time; 1 GET more on behalf of a user, and of a resource that is declared to need a guard, which looks whether the user may change the
     * document so.
     *
     * `InvalidOperation`: the amount is none of the field's. `InvalidCounter`: the layer does not know the counter. `NotFound`: there is no
     * document, on behalf of a user, or with `mode: "apply"`. `DbError` with the outcome `"unknown"`: it has been made or not; with
     * `Unsupported` within a transaction.
     */
    readonly add: <V>(counter: Counter<V>, id: string, amount: V) => Effect.Effect<void, OperationError>
    /** Takes away from a sum: as `add`. */
    readonly subtract: <V>(counter: Counter<V>, id: string, amount: V) => Effect.Effect<void, OperationError>
    /** Puts a value in the place of what all operations before have led to: as `add`. `InvalidOperation`: the counter is hot. */
    readonly set: <V>(counter: Counter<V>, id: string, value: V) => Effect.Effect<void, OperationError>
    /** Adds an operation of one's own: as `add`. */
    readonly send: <V, Op>(counter: Reducer<V, Op>, id: string, operation: Op) => Effect.Effect<void, OperationError>
    /**
     * Makes an operation, and all that were acknowledged before it, in the document, and gives the value. With `mode: "apply"` 1 GET and 1 PUT,
     * else 2 PUT and 1 GET. `InvalidOperation`: the document cannot have the value; `NotFound`: it waits for a document. Where
     * the document could not be written, the error of that: the operation waits. `DbError` with the outcome `"unknown"` also where it is in its lane, the answer was lost, and one like it was left out.
     */
    readonly apply: <V>(counter: Counter<V>, id: string, operation: Operation<V>) => Effect.Effect<V, OperationError>
    /** The value of a counter. 1 GET. `NotFound`: there is no document. */
    readonly read: <V, Op = never>(
      counter: Counter<V> | Reducer<V, Op>,
      id: string,
      options?: ReadOptions
    ) => Effect.Effect<V, InvalidCounter | DbError.NotFound | ReadError>
    /**
     * Brings what waits for a document into it. 1 GET for its lane, 1 GET and 1 PUT; of a resource with hot counters 1 LIST and 1 GET for each
     * lane more. `NotFound`: there is none.
     */
    readonly fold: (counter: AnyCounter, id: string) => Effect.Effect<void, InvalidCounter | ChangeError>
    /**
     * Brings all that waits into its documents now, also beside another process, and tells what it did, for each resource. Requests: see above. `Corrupt`: an object is damaged; all that has nothing
     * to do with it has come in.
     */
    readonly foldAll: Effect.Effect<ReadonlyArray<Engine.Report>, DbError.DbError>
    /**
     * Takes out what waits for a document, and gives how many operations that was: for one that was deleted, and whose id may come again. 1 GET
     * where there is nothing, else 3 GET and 1 PUT, and those of a log where operations are kept that are in the document; of a resource with hot counters 1 LIST, and those of a lane for each more.
     */
    readonly discard: (counter: AnyCounter, id: string) => Effect.Effect<number, InvalidCounter | DbError.DbError>
    /**
     * Makes the value again of the operations that are kept, and writes it where the document has another: since a program, or a restored version of it, has changed the field
     * past the counter. What waits for a fold goes on waiting. The value begins with what the field had before the first of them; a document into which no operation has come since the counter has a
     * `history` keeps its value. 1 GET for its lane, 1 for the log of it and 1 for each segment with operations of the document, 1 GET, and 1 PUT where it is another; of a resource with hot counters
     * 2 LIST, and those for each of their lanes more.
     *
     * `InvalidCounter`: the counter has no `history`. `InvalidOperation`: the document cannot have the value. `NotFound`: there is none.
     */
    readonly recalculate: <V, Op = never>(
      counter: Counter<V> | Reducer<V, Op>,
      id: string
    ) => Effect.Effect<Recalculated<V>, InvalidCounter | InvalidOperation | ChangeError>
    /**
     * The operations of a counter with `history` that have come into a document and are kept, the oldest first; those of a hot counter by their time. Requests as of `recalculate`, without those of the document.
     * `InvalidCounter`: the counter has no `history`.
     */
    readonly history: <V>(
      counter: Counter<V>,
      id: string
    ) => Stream.Stream<PastOperation<V>, InvalidCounter | DbError.DbError>
    /**
     * Removes operations that have been kept for longer than the option `retention`, and gives how many that was. Before, they come into what the later ones begin with, so that
     * `recalculate` is as exact as before. Who folds does so once an hour. 1 LIST, 1 GET for each log; where something goes 1 GET for each segment of it, 1 GET and 1 PUT for each document with
     * operations in them, and those of `AppendLog`'s `retain` and `compact`. `Corrupt`: an object is damaged; what has nothing to do with it is done.
     */
    readonly retain: Effect.Effect<number, ChangeError>
    /**
     * What operations came to by time, in its order, as of the last fold: each counts when it was added, by the clock of its process, also one that
     * waits for its document, or was left out. 1 LIST for each 1,000 objects, and 1 GET for each month and lane. `InvalidCounter`: the counter has
     * no analytics, or a time or the zone is wrong.
     */
    readonly analytics: <V>(
      counter: Counter<V>,
      options: AnalyticsOptions
    ) => Effect.Effect<ReadonlyArray<Bucket<V>>, InvalidCounter | DbError.DbError>
    /**
     * The documents with the most operations, or the greatest total, the first first, at most `limit`, by default 10. Requests and errors as of
     * `analytics`.
     */
    readonly top: <V>(
      counter: Counter<V>,
      options: RangeOptions & { readonly sortBy?: "count" | "total" | undefined; readonly limit?: number | undefined }
    ) => Effect.Effect<ReadonlyArray<Record<V>>, InvalidCounter | DbError.DbError>
    /**
     * Removes the analytics of months, by UTC, that were over before a time, and gives how many objects that was. 1 LIST for each 1,000 objects, 1 DeleteObjects.
     * What comes late for such a month begins a new one.
     */
    readonly prune: (
      counter: AnyCounter,
      before: DateTime.DateTime.Input
    ) => Effect.Effect<number, InvalidCounter | DbError.DbError>
    /**
     * Makes a counter that never goes below zero, of which any number of processes take: stock, credit, permits of a month. It is no field, and has a
     * name of its own; it is changed until the scope closes. No request. `InvalidCounter`: the name or an option is wrong.
     */
    readonly bounded: (name: string, options: BoundedOptions) => Effect.Effect<Bounded, InvalidCounter, Scope.Scope>
    /** What this process does, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly events: Stream.Stream<Engine.Event | Change.Lagged>
  }
>()("effect-s3db/plugins/EventualConsistency") {}

/**
 * The services that counters need: their resources.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<C extends AnyCounter> = C extends AnyCounter<infer R> ? R : never

/**
 * The counters of a program, and how they are folded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<C extends AnyCounter = AnyCounter> extends Plugin.Options {
  readonly counters: ReadonlyArray<C>
  /**
   * For how long a process gathers operations before it writes them together: the most that an acknowledgement takes longer. At most 10 seconds;
   * default: 0, where those that come while a request is on its way go with the next.
   */
  readonly delay?: Duration.Input | undefined
  /** How long after a fold the next one begins. 1 second to 1 day; default: 1 minute. It begins at once where 512 operations wait in a lane. */
  readonly interval?: Duration.Input | undefined
  /** How many documents are written at once. 1 to 1,000; default: 16. */
  readonly concurrency?: number | undefined
  /** How long a process that stands still keeps others from folding. 3 seconds to 1 day; default: 3 minutes. */
  readonly lease?: Duration.Input | undefined
  /** For how long operations of counters with `history` are kept at least. 1 minute and more; default: 30 days. */
  readonly retention?: Duration.Input | undefined
  /** `false`: this process adds and reads, and folds by `fold`, `foldAll` and `apply` only. Default `true`. */
  readonly fold?: boolean | undefined
}

const limitsOf = Effect.fnUntraced(function* (options: Omit<Options, "counters">) {
  const { concurrency = 16 } = options
  const refuse = (field: string, problem: string) => new InvalidCounter({ resource: "", field, problem })
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 1000) {
    return yield* refuse("concurrency", "Expected a whole number from 1 to 1,000")
  }
  const within = Effect.fnUntraced(function* (
    field: "delay" | "interval" | "lease" | "retention",
    otherwise: number,
    [least, most]: readonly [number, number]
  ) {
    const millis = millisecondsOf(options[field] ?? otherwise)
    if (millis >= least && millis <= most) return millis
    return yield* refuse(field, `Expected a duration from ${least} to ${most} ms`)
  })
  return {
    concurrency,
    delay: yield* within("delay", 0, [0, 10_000]),
    interval: yield* within("interval", 60_000, [1000, 86_400_000]),
    lease: yield* within("lease", 180_000, [3000, 86_400_000]),
    retention: yield* within("retention", 2_592_000_000, [60_000, 3_153_600_000_000])
  }
})

/** Who folds looks as often whether operations are old enough to be removed. */
const hour = 3_600_000

/** A resource, with what counts in it. */
interface Bound {
  readonly engine: Engine.Engine
  readonly documents: Folding.Documents
  readonly fields: ReadonlyMap<string, Field.Field>
}

const operationOf = (operation: Operation<unknown>): { readonly kind: Field.Kind; readonly amount: unknown } =>
  "add" in operation
    ? { kind: "add", amount: operation.add }
    : "subtract" in operation
      ? { kind: "subtract", amount: operation.subtract }
      : { kind: "set", amount: operation.set }

/**
 * Makes what counts until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("EventualConsistency.make")(function* <C extends AnyCounter>(
  options: Options<C>
): Effect.fn.Return<EventualConsistency["Service"], LayerError, Database | Scope.Scope | Services<C>> {
  const { fold = true } = options
  // What each of them needs is among what all of them need.
  const counters = options.counters as ReadonlyArray<AnyCounter<Services<C>>>
  const { concurrency, delay, interval, lease, retention } = yield* limitsOf(options)
  const byResource = new Map<string, Array<AnyCounter<Services<C>>>>()
  for (const one of counters) {
    yield* one.check
    const others = byResource.get(one.resource) ?? []
    if (others.some(({ field }) => field === one.field)) {
      return yield* new InvalidCounter({ ...one, problem: "Expected one counter for each field" })
    }
    byResource.set(one.resource, [...others, one])
  }
  const { store } = yield* Database
  const self = yield* Plugin.open(plugin, options)
  const named = DbError.named("EventualConsistency")
  const full = yield* Queue.sliding<void>(1)
  const bound = new Map<string, Bound>()
  for (const [resource, of] of byResource) {
    const fields = new Map(of.flatMap(({ field, made }) => (Result.isSuccess(made) ? [[field, made.success]] : [])))
    let engine: Engine.Engine | undefined
    const documents = yield* of[0]!.open(fields, self, (id) => engine?.isThere(id))
    engine = yield* Engine.make({
      resource,
      store,
      prefix: self.prefix(resource),
      fields,
      documents,
      delay,
      interval,
      concurrency,
      retention,
      publish: self.publish,
      onFull: () => void Queue.offerUnsafe(full, undefined)
    })
    bound.set(resource, { engine, documents, fields })
  }
  const engines = [...bound.values()]
    .filter(({ fields }) => [...fields.values()].some(({ isDirect }) => !isDirect))
    .map(({ engine }) => engine)

  let trouble: string | undefined
  /** What is damaged, which has kept nothing else waiting. */
  const troubleOf = ([first, ...others]: Engine.Damaged) =>
    first === undefined ? undefined : `${first.message}${others.length === 0 ? "" : `, and ${others.length} more`}`
  const foldEach = Effect.gen(function* () {
    const folded = yield* Effect.forEach(engines, (engine) => named(engine.foldAll))
    const reports = folded.map(({ report }) => report)
    const damaged = folded.flatMap((one) => one.damaged)
    const failed = reports.find((report) => report.failed > 0)
    trouble =
      troubleOf(damaged) ??
      (failed === undefined ? undefined : `${failed.resource}: ${failed.failed} documents could not be written`)
    return { reports, damaged }
  })
  const orDamaged = ([first]: Engine.Damaged) => (first === undefined ? Effect.void : named(Effect.fail(first)))
  const foldAll = Effect.gen(function* () {
    const { damaged, reports } = yield* foldEach
    yield* orDamaged(damaged)
    return reports
  })

  const retainEach = Effect.gen(function* () {
    const retained = yield* Effect.forEach(engines, (engine) => named(engine.retain))
    return { gone: retained.reduce((sum, { gone }) => sum + gone, 0), damaged: retained.flatMap((one) => one.damaged) }
  })
  const retain = Effect.gen(function* () {
    const { damaged, gone } = yield* retainEach
    yield* orDamaged(damaged)
    return gone
  })
  let retainedAt = -Infinity
  const retainHourly = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (now - retainedAt < hour) return Effect.succeed({ gone: 0, damaged: [] })
    retainedAt = now
    return retainEach
  })

  if (fold && engines.length > 0) {
    const election = Lease.make(store, { key: `${self.prefix()}lease`, duration: Duration.millis(lease) })
    const isBusy = (reports: ReadonlyArray<Engine.Report>) =>
      reports.some(({ failed, operations }) => operations > 0 || failed > 0)
    const pause = Effect.raceFirst(Effect.sleep(interval), Queue.take(full))
    const foldWhileBusy = Effect.gen(function* () {
      const warn = (damaged: Engine.Damaged) =>
        damaged.length === 0
          ? Effect.void
          : Effect.logWarning(`${self.slug}: what is damaged is left alone: ${troubleOf(damaged)}`)
      for (;;) {
        const { damaged, reports } = yield* foldEach
        yield* warn(damaged)
        if (!isBusy(reports)) break
        yield* pause
      }
      yield* warn((yield* retainHourly).damaged)
    })
    const look = Effect.map(
      Effect.forEach(engines, (engine) => named(engine.look)),
      (all) => all.some((isDue) => isDue)
    )
    // What could not be folded is due: where nothing is, nothing is in the way any more.
    const rest = Effect.sync(() => void (trouble = undefined))
    const folding = Effect.flatMap(look, (isDue) => (isDue ? election.runWhileLeader(() => foldWhileBusy) : rest)).pipe(
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
        const error = Cause.squash(cause)
        trouble = `the last fold failed: ${error instanceof DbError.DbError ? error.message : "see the log"}`
        return Effect.logWarning(`${self.slug}: a fold failed; it is tried again`, cause)
      }),
      Effect.andThen(pause),
      Effect.forever
    )
    yield* Effect.forkScoped(Effect.provideService(folding, InstrumentedStore.CurrentPlugin, self.slug))
  }
  yield* self.running({
    health: Effect.sync(() => (trouble === undefined ? { level: "up" } : { level: "degraded", detail: trouble })),
    // What an idle process asks for.
    usage: Effect.succeed({
      requests: { list: fold ? (engines.length * Duration.toMillis("30 days")) / interval : 0 }
    })
  })

  const found = Effect.fnUntraced(function* ({ field: name, resource }: AnyCounter) {
    const one = bound.get(resource)
    const field = one?.fields.get(name)
    if (one !== undefined && field !== undefined) return { ...one, field }
    return yield* new InvalidCounter({ resource, field: name, problem: "Expected a counter of the layer" })
  })

  const kept = Effect.fnUntraced(function* (counter: AnyCounter) {
    const one = yield* found(counter)
    if (one.field.isKept) return one
    const { field, resource } = counter
    return yield* new InvalidCounter({ resource, field, problem: "Expected a counter with history" })
  })

  const refused = ({ field, resource }: AnyCounter, problem: string) =>
    new InvalidOperation({ resource, field, problem })

  /** An operation that the counter can have. */
  const checked = Effect.fnUntraced(function* (counter: AnyCounter, id: string, kind: Field.Kind, given: unknown) {
    const one = yield* found(counter)
    // No document with such an id could ever come: the operation would wait for it for ever.
    const key = Document.key(counter.resource, id)
    if (Result.isFailure(key)) return yield* refused(counter, key.failure)
    const amount = Engine.amountOf(one.field, kind, given)
    if (Result.isFailure(amount)) return yield* refused(counter, amount.failure)
    if (!one.field.isDirect && (yield* Transaction.Current) !== undefined) {
      const description = 'add it before the transaction or after it, or give the counter the mode "apply"'
      const reason = new StoreError.Unsupported({ feature: "a deferred operation within a transaction", description })
      return yield* DbError.make("EventualConsistency.add", reason)
    }
    return { ...one, operation: { kind, amount: amount.success } }
  })

  const direct = (
    counter: AnyCounter,
    { documents, field, operation: { amount, kind } }: Effect.Success<ReturnType<typeof checked>>,
    id: string
  ) =>
    Effect.catchIf(
      documents.apply(id, field, { k: kind, a: amount }),
      (error) => error instanceof Folding.NotHeld,
      ({ problem }) => Effect.fail(refused(counter, problem))
    )

  const defer = Effect.fnUntraced(function* (
    counter: AnyCounter,
    id: string,
    kind: Field.Kind,
    given: unknown
  ): Effect.fn.Return<void, OperationError> {
    const one = yield* checked(counter, id, kind, given)
    if (one.field.isDirect) return void (yield* direct(counter, one, id))
    yield* permitted(counter, one, id)
    yield* named(one.engine.defer(one.field, id, one.operation))
  })

  /** Whether the user on whose behalf it is asked for may change the document so. */
  const permitted = (
    counter: AnyCounter,
    { documents, field, operation: { amount, kind } }: Effect.Success<ReturnType<typeof checked>>,
    id: string
  ) =>
    Effect.catchIf(
      documents.permit(id, field, { k: kind, a: amount }),
      (error) => error instanceof Folding.NotHeld,
      ({ problem }) => Effect.fail(refused(counter, problem))
    )

  const failedOf = Effect.fnUntraced(function* (outcome: Folding.Outcome, resource: string, id: string) {
    if (outcome._tag === "Failed") return yield* Effect.fail(outcome.error)
    if (outcome._tag === "Waiting") return yield* new DbError.NotFound({ resource, id })
    return outcome
  })

  const invalid = ({ field, resource }: AnyCounter, problem: string) => new InvalidCounter({ resource, field, problem })

  const timeOf = (counter: AnyCounter, option: string, input: DateTime.DateTime.Input) =>
    Option.match(DateTime.make(input), {
      onNone: () => Effect.fail(invalid(counter, `Expected a time for ${option}`)),
      onSome: (time) => Effect.succeed(DateTime.toEpochMillis(time))
    })

  const zoneOf = (counter: AnyCounter, name = "UTC") =>
    Option.match(DateTime.zoneFromString(name), {
      onNone: () => Effect.fail(invalid(counter, `Expected the name of a time zone, not ${JSON.stringify(name)}`)),
      onSome: Effect.succeed
    })

  /** What is there of a counter in a range. */
  const counted = Effect.fnUntraced(function* (counter: AnyCounter, { from, id, to }: RangeOptions) {
    const { engine, field } = yield* found(counter)
    if (!field.isAnalyzed) return yield* invalid(counter, "Expected a counter with analytics")
    const range = {
      from: yield* timeOf(counter, "from", from),
      // What has just been added is of the past.
      to: yield* to === undefined ? Effect.map(Clock.currentTimeMillis, (now) => now + 1) : timeOf(counter, "to", to)
    }
    const rows = range.from < range.to ? yield* named(engine.analytics.read(field.name, range.from, range.to)) : []
    return { field, range, rows: id === undefined ? rows : rows.filter((row) => row.id === id) }
  })

  // A value is of its counter's type: it was made by its field.
  const valueOf = <V>(value: unknown): V => value as V

  return {
    add: Effect.fn("EventualConsistency.add")((counter, id, amount) => defer(counter, id, "add", amount)),
    subtract: Effect.fn("EventualConsistency.subtract")((counter, id, amount) =>
      defer(counter, id, "subtract", amount)
    ),
    set: Effect.fn("EventualConsistency.set")((counter, id, value) => defer(counter, id, "set", value)),
    send: Effect.fn("EventualConsistency.send")((counter, id, operation) => defer(counter, id, "reduce", operation)),
    apply: Effect.fn("EventualConsistency.apply")(function* <V>(
      counter: Counter<V>,
      id: string,
      operation: Operation<V>
    ) {
      const { amount, kind } = operationOf(operation)
      const one = yield* checked(counter, id, kind, amount)
      if (one.field.isDirect) return valueOf<V>(yield* direct(counter, one, id))
      yield* permitted(counter, one, id)
      const { isUnsure, outcome, problem } = yield* named(one.engine.deferAndFold(one.field, id, one.operation))
      if (problem !== undefined) return yield* refused(counter, problem)
      if (isUnsure) {
        const description =
          "another process has folded the operation, and left out so many since that the document does not tell whether this was one of them"
        return yield* DbError.make("EventualConsistency.apply", new DbError.OutcomeUnknown({ description }))
      }
      const { document } = yield* failedOf(outcome, counter.resource, id)
      return valueOf<V>(one.field.read(document) ?? one.field.initial)
    }),
    read: Effect.fn("EventualConsistency.read")(function* <V, Op>(
      counter: Counter<V> | Reducer<V, Op>,
      id: string,
      { pending = false }: ReadOptions = {}
    ) {
      const { documents, engine, field } = yield* found(counter)
      // Lanes first: what leaves them afterwards is in the document by then.
      const parts = pending && !field.isDirect ? yield* named(engine.pendingOf(id)) : []
      return valueOf<V>(yield* documents.read(id, field, parts))
    }),
    fold: Effect.fn("EventualConsistency.fold")(function* (counter, id) {
      const { engine } = yield* found(counter)
      yield* failedOf(yield* named(engine.foldOne(id)), counter.resource, id)
    }),
    foldAll: Effect.withSpan(foldAll, "EventualConsistency.foldAll"),
    recalculate: Effect.fn("EventualConsistency.recalculate")(function* <V, Op>(
      counter: Counter<V> | Reducer<V, Op>,
      id: string
    ) {
      const { engine, field } = yield* kept(counter)
      const made = yield* Effect.catchIf(
        named(engine.recalculate(field, id)),
        (error) => error instanceof Folding.NotHeld,
        ({ problem }) => Effect.fail(refused(counter, problem))
      )
      return { value: valueOf<V>(made.value), before: valueOf<V>(made.before), operations: made.operations }
    }),
    history: <V>(counter: Counter<V>, id: string) =>
      Stream.fromIterableEffect(
        Effect.gen(function* () {
          const { engine, field } = yield* kept(counter)
          const entries = yield* named(engine.pastOf(field, id))
          const inTime = field.isHot ? entries.toSorted((a, b) => a.t - b.t) : entries
          return inTime.flatMap(({ a, c = 1, k, t }): ReadonlyArray<PastOperation<V>> =>
            k === "reduce"
              ? []
              : [{ at: DateTime.makeUnsafe(t), kind: k, amount: valueOf<V>(field.decode(a)), operations: c }]
          )
        })
      ),
    retain: Effect.withSpan(retain, "EventualConsistency.retain"),
    discard: Effect.fn("EventualConsistency.discard")(function* (counter, id) {
      const { engine } = yield* found(counter)
      return yield* named(engine.discard(id))
    }),
    analytics: Effect.fn("EventualConsistency.analytics")(function* <V>(
      counter: Counter<V>,
      options: AnalyticsOptions
    ) {
      const { field, range, rows } = yield* counted(counter, options)
      const zone = yield* zoneOf(counter, options.timeZone)
      if (!Cohorts.periods.includes(options.by)) return yield* invalid(counter, "Expected a period as by")
      const buckets = Report.bucketsOf(rows, {
        ...range,
        calendar: Cohorts.make(zone),
        period: options.by,
        fillGaps: options.fillGaps !== false
      })
      return buckets.map(({ at, operations, total, ...bucket }): Bucket<V> => ({
        ...bucket,
        at: DateTime.makeUnsafe(at),
        total: valueOf<V>(field.fromDecimal(total)),
        operations: Object.fromEntries(
          [...operations].map(([kind, { count, max, min, sum }]) => [
            kind,
            {
              count,
              sum: valueOf<V>(field.fromDecimal(sum)),
              min: valueOf<V>(field.fromDecimal(min)),
              max: valueOf<V>(field.fromDecimal(max))
            }
          ])
        )
      }))
    }),
    top: Effect.fn("EventualConsistency.top")(function* <V>(
      counter: Counter<V>,
      {
        limit = 10,
        sortBy = "count",
        ...options
      }: RangeOptions & { readonly sortBy?: "count" | "total" | undefined; readonly limit?: number | undefined }
    ) {
      if (!Number.isSafeInteger(limit) || limit < 1)
        return yield* invalid(counter, "Expected a whole number from 1 as limit")
      const { field, rows } = yield* counted(counter, options)
      return Report.recordsOf(rows, sortBy)
        .slice(0, limit)
        .map(({ total, ...record }) => ({ ...record, total: valueOf<V>(field.fromDecimal(total)) }))
    }),
    prune: Effect.fn("EventualConsistency.prune")(function* (counter, before) {
      const { engine, field } = yield* found(counter)
      return yield* named(engine.analytics.prune(field.name, yield* timeOf(counter, "before", before)))
    }),
    bounded: Effect.fn("EventualConsistency.bounded")(function* (name, { initial, slots }) {
      const refuse = (problem: string) => new InvalidCounter({ resource: "", field: name, problem })
      if (typeof name !== "string" || name === "" || !name.isWellFormed()) {
        return yield* refuse("Expected a name of well-formed text")
      }
      if (!Number.isSafeInteger(initial) || initial < 0)
        return yield* refuse("Expected a whole number from 0 as initial")
      if (slots !== undefined && !(Number.isInteger(slots) && slots >= 1 && slots <= 64)) {
        return yield* refuse("Expected a whole number from 1 to 64 as slots")
      }
      const key = `${self.prefix()}bounded/name=${percentEncode(name)}`
      const escrow = yield* Escrow.make(store, { key, initial, slots })
      const checked = Effect.fnUntraced(function* (amount: number) {
        if (Number.isSafeInteger(amount) && amount >= 1) return
        const description = `${JSON.stringify(name)}: expected a whole number from 1, not ${amount}`
        return yield* DbError.make(
          "EventualConsistency.bounded",
          new StoreError.InvalidArgument({ argument: "amount", description })
        )
      })
      const take = Effect.fnUntraced(function* (amount: number) {
        yield* checked(amount)
        // Where it is stored is nobody's business who knows it by its name.
        const toldByName = Effect.catchTag(escrow.take(amount), "Insufficient", ({ asked, available }) =>
          Effect.fail(new Escrow.Insufficient({ key: name, asked, available }))
        )
        yield* named(toldByName)
      })
      return {
        take: Effect.fn("EventualConsistency.take")(take),
        add: Effect.fn("EventualConsistency.addBounded")((amount: number) =>
          Effect.andThen(checked(amount), named(escrow.add(amount)))
        ),
        value: named(escrow.value)
      }
    }),
    events: self.events
  }
})

/**
 * Counts until the layer is closed. `InvalidCounter`: a counter or an option is wrong; nothing has been written. `InvalidPlugin`: the namespace is, or a schema has no
 * `attributes`. `AttributeTaken`: another instance counts in the resource. `DbError`: the store.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <C extends AnyCounter>(
  options: Options<C>
): Layer.Layer<EventualConsistency, LayerError, Database | Exclude<Services<C>, Scope.Scope>> =>
  Layer.effect(EventualConsistency, make(options))
