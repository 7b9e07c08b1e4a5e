/** Values with an expiry: one cell each, of which what has expired is as if it were not there, and can be swept away. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { stringifyExact } from "../../encoding/Json.ts"
import { listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as CasCell from "../CasCell.ts"

/** As it is stored: without a value it is the mark of one that was removed. */
export const State = Schema.Struct({
  value: Schema.optionalKey(Schema.Json),
  expiresAt: Schema.optionalKey(Schema.Finite)
})

export type State = typeof State.Type

type Version = CasCell.Version<State>

type Live = State & { readonly value: Schema.Json }

const encoder = new TextEncoder()

/** `what` names a value in errors: `a value of a plugin`. */
export const format = (what: string): CasCell.Format<State> => ({
  ...CasCell.schemaFormat(State, { what }),
  isForgetful: true,
  encode: (d, w) => {
    // Exact, where `JSON.stringify` takes `-0` for 0.
    const text = stringifyExact({ v: 1, d, w })
    if (typeof text === "string") return Effect.succeed(encoder.encode(text))
    return Effect.fail(
      new StoreError.InvalidArgument({ description: "the value has no form as JSON", argument: "body" })
    )
  }
})

/** Gives the state if there is a value in it that has not expired. The time is asked for only where there is an expiry. */
export const live = <E>(
  state: State | undefined,
  now: Effect.Effect<number, E>
): Effect.Effect<Live | undefined, E> => {
  if (state === undefined || !("value" in state)) return Effect.undefined
  const found = state as Live
  const { expiresAt } = found
  return expiresAt === undefined
    ? Effect.succeed(found)
    : Effect.map(now, (time) => (expiresAt > time ? found : undefined))
}

/** Takes a version away that nobody sees any more, by a mark in its place where the store does not delete on condition. */
const discard = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  cell: CasCell.CasCell<State>,
  found: Version
) {
  if (store.capabilities?.conditionalDelete === true) {
    return yield* store.delete(cell.key, { ifMatch: found.etag }).pipe(
      Effect.as(1),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(0),
        NoSuchKey: () => Effect.succeed(0)
      })
    )
  }
  if (found.value !== undefined && !("value" in found.value)) return 0
  return CasCell.isLost(yield* cell.attempt(() => Effect.succeed({}), found)) ? 0 : 1
})

/**
 * Removes what has expired below a prefix, and the marks of what was removed, never a value that was written meanwhile, and gives their
 * number. 1 LIST for each 1,000, 1 GET for each value and 1 request for each that goes.
 */
export const sweep = (
  store: ObjectStore["Service"],
  prefix: string,
  cellAt: (key: string) => CasCell.CasCell<State>,
  now: Effect.Effect<number, StoreError.StoreError>
): Effect.Effect<number, StoreError.StoreError> =>
  listAll(store, { prefix, keysOnly: true }).pipe(
    Stream.mapEffect(
      Effect.fnUntraced(function* ({ key }) {
        const cell = cellAt(key)
        const found = yield* cell.read
        if (found.etag === undefined || (yield* live(found.value, now)) !== undefined) return 0
        return yield* discard(store, cell, found)
      }),
      { concurrency: 16 }
    ),
    Stream.runFold(
      () => 0,
      (sum, one) => sum + one
    )
  )
