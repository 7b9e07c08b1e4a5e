/**
 * Cells that only the newest holder of a lease can write: what is to be changed by one process alone, however long another
 * stood still that still believes to be the one.
 *
 * ```ts
 * import * as Fenced from "effect-s3db/kernel/Fenced"
 * import * as Lease from "effect-s3db/kernel/Lease"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* ObjectStore
 *   const total = Fenced.make(store, { key: "plugin=sum/total", schema: Schema.Int, what: "a total" })
 *   const lease = Lease.make(store, { key: "plugin=sum/lease" })
 *   yield* lease.runWhileLeader(
 *     Effect.fnUntraced(function* ({ token }) {
 *       const mine = yield* total.claim(token)
 *       yield* mine.modify((n = 0) => Effect.succeed(n + 1))
 *     })
 *   )
 * })
 * ```
 *
 * **Details**
 *
 * The cell holds the highest token it has seen beside its value. Every write is a compare-and-set on a version whose token
 * is not above one's own. So from the moment that a new holder has claimed the cell no write of an older one lands, and
 * what the new one then reads is what it goes on from.
 *
 * **Gotchas**
 *
 * Claim before you read what you go on from: until then a write of the holder before may still land.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"
import { LeaseLost } from "./Lease.ts"

/**
 * Where a cell is, and what it holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  readonly key: string
  readonly schema: Schema.Codec<A, I>
  /** What it holds, for errors: `a manifest`. */
  readonly what: string
}

/**
 * A cell that was claimed with a token.
 *
 * Everything fails with `LeaseLost` when a higher token has been seen: nothing was written. Otherwise with `StoreError`:
 * when it cannot be told whether a write has landed, with what the store said to the PUT.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimed<A> {
  readonly token: number
  /** The value as it was when the cell was claimed: what its new holder goes on from. */
  readonly found: Option.Option<A>
  /** Reads the value. 1 GET. */
  readonly read: Effect.Effect<Option.Option<A>, LeaseLost | StoreError.StoreError>
  /**
   * Changes the value. `change` gives the value that it got to leave it as it is: no request then. 1 PUT; 1 GET more
   * after an error, or when somebody with the same token has written since.
   */
  readonly modify: <E, R>(
    change: (value: A | undefined) => Effect.Effect<A | undefined, E, R>
  ) => Effect.Effect<Option.Option<A>, LeaseLost | StoreError.StoreError | E, R>
}

/**
 * A cell that only the newest holder of a lease can write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fenced<A> {
  readonly key: string
  /** Reads the value, whoever has written it. 1 GET. */
  readonly read: Effect.Effect<Option.Option<A>, StoreError.StoreError>
  /**
   * Claims the cell for the holder of a token, and shuts out those with lower ones. 1 GET and 1 PUT; no PUT when it is
   * claimed with this token already. Fails with `LeaseLost` when a higher one has been seen.
   *
   * Token 0 is that of no lease: it is shut out by each other.
   */
  readonly claim: (token: number) => Effect.Effect<Claimed<A>, LeaseLost | StoreError.StoreError>
}

/**
 * Creates a cell on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(store: ObjectStore["Service"], options: Options<A, I>): Fenced<A> => {
  const { key, schema, what } = options
  const State = Schema.Struct({ token: Schema.Int, value: Schema.optionalKey(schema) })
  type State = { readonly token: number; readonly value?: A }
  const cell: CasCell.CasCell<State> = CasCell.make(store, key, CasCell.schemaFormat(State, { what }))
  const valueOf = ({ value }: CasCell.Version<State>) =>
    value !== undefined && "value" in value ? Option.some(value.value as A) : Option.none<A>()

  const claim = Effect.fnUntraced(function* (token: number) {
    const check = (state: State | undefined) =>
      state !== undefined && state.token > token
        ? Effect.fail(new LeaseLost({ key, token, seen: state.token }))
        : Effect.void
    const change = <E, R>(to: (state: State | undefined) => Effect.Effect<State | undefined, E, R>, from?: Version) =>
      cell.modify((state) => Effect.andThen(check(state), to(state)), from)
    type Version = CasCell.Version<State>

    const lock = yield* Semaphore.make(1)
    let known: Version | undefined = yield* change((state) =>
      Effect.succeed((state?.token ?? 0) === token ? state : { ...state, token })
    )
    const found = valueOf(known)
    const read = Effect.gen(function* () {
      const version = yield* cell.read
      yield* check(version.value)
      return valueOf(version)
    })
    const modify = Effect.fnUntraced(function* <E, R>(
      to: (value: A | undefined) => Effect.Effect<A | undefined, E, R>
    ) {
      const from = known
      // Until it is known what has come of it.
      known = undefined
      known = yield* change((state) => {
        const before = state?.value
        return Effect.map(to(before), (value) => (value === before || value === undefined ? state : { token, value }))
      }, from)
      return valueOf(known)
    })
    return { token, found, read, modify: (to) => lock.withPermits(1)(modify(to)) } satisfies Claimed<A>
  })

  return { key, read: Effect.map(cell.read, valueOf), claim }
}
