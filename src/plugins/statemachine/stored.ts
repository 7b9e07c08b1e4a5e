/**
 * An entity as it lies in its document, and what older transitions it has had.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Companion from "../../Companion.ts"
import { valueAt } from "../../internal/json.ts"
import * as AppendLog from "../../kernel/AppendLog.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import { millisOf } from "../ttl/due.ts"

/**
 * A transition as it is kept.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Recorded = Schema.Struct({
  /** The version that it has led to; 0 is the start. */
  v: Schema.Int,
  /** None of the start. */
  event: Schema.optionalKey(Schema.String),
  /** None of the start. */
  from: Schema.optionalKey(Schema.String),
  to: Schema.String,
  /** Milliseconds since the epoch, by the store's clock. */
  at: Schema.Int,
  /** What it was sent with, so that it is not taken twice. */
  key: Schema.String,
  /** What has come with the event, where something has. */
  with: Schema.optionalKey(Schema.Json),
  /** The actions that run once it is committed. */
  do: Schema.optionalKey(Schema.Array(Schema.String))
})

/**
 * A transition as it is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded extends Schema.Schema.Type<typeof Recorded> {}

/**
 * A trigger of a state that the entity is in.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Timer = Schema.Struct({
  k: Schema.String,
  /** When its state was entered, in milliseconds. */
  e: Schema.Int,
  /** When it is due, in milliseconds; none while its time is unknown, or stands in a field of the document. */
  due: Schema.optionalKey(Schema.Int),
  /** How often it has sent its event. */
  n: Schema.optionalKey(Schema.Int),
  /** The version that it was refused at: not again before the next one. */
  v: Schema.optionalKey(Schema.Int)
})

/**
 * A trigger of a state that the entity is in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timer extends Schema.Schema.Type<typeof Timer> {}

/**
 * The state of an entity, as a field of its document has it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Stored = Schema.Struct({
  state: Schema.String,
  /** How many transitions there have been. */
  version: Schema.Int,
  /** When the state was entered, in milliseconds since the epoch by the store's clock. */
  since: Schema.Int,
  /** New with each start, so that an id that comes again is another entity. */
  life: Schema.String,
  /** The version of the machine that has written it. */
  definition: Schema.Int,
  context: Schema.Json,
  /** When the next trigger is due. */
  due: Schema.optionalKey(Schema.Int),
  /** The fields of the document whose times are triggers. */
  dates: Schema.optionalKey(Schema.Array(Schema.String)),
  timers: Schema.optionalKey(Schema.Array(Timer)),
  /** How far in the journal it has heard of changes elsewhere, by whom. */
  seen: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int)),
  /** The last transitions, the newest last. */
  recent: Schema.Array(Recorded)
})

/**
 * The state of an entity, as a field of its document has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored extends Schema.Schema.Type<typeof Stored> {}

// -----------------------------------------------------------------------------
// Companions
// -----------------------------------------------------------------------------

/**
 * Returns the name of the index of what is due.
 *
 * @category getters
 * @since 0.1.0
 */
export const dueName = (field: string, dates: ReadonlyArray<string>): string =>
  [`machine.${field}.due`, ...dates.toSorted()].join(".by.")

/**
 * Returns when a trigger of a document is due next: the key of the index.
 *
 * @category getters
 * @since 0.1.0
 */
export const dueOf = (json: unknown, field: string): number | undefined => {
  const at = (path: string) => valueAt(json, path.split("."))
  const dates = at(`${field}.dates`)
  const times = [at(`${field}.due`), ...(Array.isArray(dates) ? dates.map((path) => at(String(path))) : [])]
  const known = times.flatMap((time) => millisOf(time) ?? [])
  return known.length === 0 ? undefined : Math.min(...known)
}

/**
 * Creates the index of what is due: a key for each document that has a trigger with a time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dueIndex = (field: string, dates: ReadonlyArray<string>): Companion.Companion =>
  Companion.make({
    fields: [`${field}.due`, `${field}.dates`, ...dates],
    keys: ({ json }) => {
      const due = dueOf(json, field)
      return due === undefined ? [] : [[due]]
    }
  })

/**
 * Returns the name of the index of states.
 *
 * @category getters
 * @since 0.1.0
 */
export const statesName = (field: string): string => `machine.${field}.states`

/**
 * Creates the index of states: a key for each document, of its state and since when it is in it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const statesIndex = (field: string): Companion.Companion =>
  Companion.make({
    fields: [`${field}.state`, `${field}.since`],
    keys: ({ json }) => {
      const [state, since] = [valueAt(json, [field, "state"]), valueAt(json, [field, "since"])]
      return typeof state === "string" && typeof since === "number" ? [[state, since]] : []
    }
  })

// -----------------------------------------------------------------------------
// Older transitions
// -----------------------------------------------------------------------------

/**
 * The older transitions of an entity: each at the position of its version.
 *
 * @category models
 * @since 0.1.0
 */
export interface Past {
  /**
   * Appends transitions, those that are there already left out: so it may be done again, and by several at once. 2 PUT and 1 GET; 2 GET
   * more where some are there.
   */
  readonly append: (
    transitions: ReadonlyArray<Recorded>
  ) => Effect.Effect<void, AppendLog.Trimmed | StoreError.StoreError>
  /** Those before a version, the newest first. 1 GET, and for each 100 1 GET and those of their segments. */
  readonly before: (version: number) => Stream.Stream<Recorded, AppendLog.Trimmed | StoreError.StoreError>
}

const page = 100

/**
 * Makes the past of an entity. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const past = (store: ObjectStore["Service"], prefix: string): Past => {
  const log = AppendLog.make(store, { prefix, schema: Recorded })

  const lastOf = Effect.fnUntraced(function* (next: number) {
    if (next === 0) return -1
    const last = yield* Stream.runHead(log.read({ from: next - 1, to: next }))
    return Option.match(last, { onNone: () => -1, onSome: ({ value }) => value.v })
  })

  const append = Effect.fnUntraced(function* (
    transitions: ReadonlyArray<Recorded>
  ): Effect.fn.Return<void, AppendLog.Trimmed | StoreError.StoreError> {
    const [first] = transitions
    if (first === undefined) return
    const put = (rest: ReadonlyArray<Recorded>, expected: number) =>
      log.append(rest, { expected, id: `${rest[0]!.v}-${rest.at(-1)!.v}` }).pipe(
        Effect.as(undefined),
        Effect.catchTag("PositionConflict", ({ next }) => Effect.succeed(next)),
        // It has no lease.
        Effect.catchTag("LeaseLost", Effect.die)
      )
    // As a rule the position is the version; what others have put, or somebody has removed, is found out when it is not.
    let next = yield* put(transitions, first.v)
    while (next !== undefined) {
      const last = yield* lastOf(next)
      const rest = transitions.filter(({ v }) => v > last)
      if (rest.length === 0) return
      next = yield* put(rest, next)
    }
  })

  return {
    append,
    before: (version) =>
      Stream.unwrap(
        Effect.map(log.status, ({ first, next }) =>
          Stream.paginate(next, (to: number) => {
            const from = Math.max(first, to - page)
            return Effect.map(
              to <= first ? Effect.succeed([]) : Stream.runCollect(log.read({ from, to })),
              (entries) => [
                entries
                  .map(({ value }) => value)
                  .filter(({ v }) => v < version)
                  .toReversed(),
                from > first ? Option.some(from) : Option.none()
              ]
            )
          })
        )
      )
  }
}
