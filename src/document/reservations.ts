/**
 * Reservations of unique values for the documents of a resource.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { StoreError } from "../storage/StoreError.ts"
import type { Claims } from "../Transaction.ts"
import * as Unique from "../Unique.ts"
import type { Context } from "./context.ts"
import { isDamage } from "./damage.ts"
import { dropClaim } from "./documentObject.ts"
import type { Wanted } from "./indexes.ts"
import type { Reader } from "./read.ts"

/**
 * A reservation that a write has made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reserved {
  readonly unique: Unique.Unique
  readonly claim: Document.Claim
  /** Another write of the document may rely on it: nobody frees it on giving up. */
  readonly isShared: boolean
}

/**
 * Reservations of unique values of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reservations {
  /**
   * Reserves values for a document, all or none. The requests of `Unique.acquire` for each. `UniqueViolation`: another
   * document has one; `AlreadyExists`: this one has, and was to be new. `claims` tells which
   * documents that the same transaction writes have a value afterwards.
   */
  readonly reserve: (
    id: string,
    wanted: ReadonlyArray<Wanted>,
    isNew: boolean,
    claims?: Claims
  ) => Effect.Effect<
    ReadonlyArray<Reserved>,
    DbError.AlreadyExists | DbError.UniqueViolation | DbError.InvalidInput | StoreError
  >
  /** Reserves a value that a document has already; the violation, if another has it. */
  readonly reclaim: (
    id: string,
    unique: Unique.Unique,
    digest: string
  ) => Effect.Effect<DbError.UniqueViolation | undefined, DbError.InvalidInput | StoreError>
  /** Frees what a write has reserved and its document does not hold. 1 GET, and 1 request for each. It never fails. */
  readonly release: (id: string, reserved: ReadonlyArray<Reserved>) => Effect.Effect<void>
  /** The violation, if a reservation is not that of the document any more. 1 GET for each. */
  readonly lost: (
    id: string,
    reserved: ReadonlyArray<Reserved>
  ) => Effect.Effect<DbError.UniqueViolation | undefined, StoreError>
}

/**
 * Makes the reservations of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { capabilities, name, place, settings, store }: Context<A>,
  reader: Reader<A>
): Reservations => {
  const violation = (unique: Unique.Unique, id: string, isPending = false) =>
    new DbError.UniqueViolation({ resource: name, unique: unique.label, fields: unique.fields, id, isPending })

  const willHold = (claims: Claims | undefined, id: string, unique: Unique.Unique, digest: string) =>
    Result.match(Document.key(name, id), {
      onFailure: () => undefined,
      onSuccess: (key) => claims?.(key, unique.name, digest)
    })

  const acquire = (owner: string, unique: Unique.Unique, digest: string, isNew: boolean, claims?: Claims) => {
    const isIn = (stored: Document.Stored | undefined) => stored?.claims[unique.name]?.digest === digest
    return Unique.acquire(store, capabilities, {
      unique,
      digest,
      owner,
      isNew,
      leaseMillis: settings.uniqueLease,
      isHeld: (id) =>
        Effect.map(reader.stored(id), isIn).pipe(
          // Its own version that cannot be read is replaced, or the write fails on its condition.
          Effect.catchIf(
            (error) => id === owner && isDamage(error),
            () => Effect.succeed(false)
          )
        ),
      // After every transaction that is about to write the document has come to its end.
      isHeldForGood: (id) => Effect.map(reader.settled(id), (slot) => isIn(slot?.stored)),
      willHold: (id) => willHold(claims, id, unique, digest)
    })
  }

  const release = Effect.fnUntraced(function* (id: string, all: ReadonlyArray<Reserved>) {
    const reserved = all.filter(({ isShared }) => !isShared)
    if (reserved.length === 0) return
    const stored = yield* Effect.option(reader.stored(id))
    // What cannot be read may hold them.
    if (stored._tag === "None") return
    for (const { unique, claim } of reserved) {
      if (stored.value?.claims[unique.name]?.digest === claim.digest) continue
      yield* dropClaim(place, unique.name, claim, true)
    }
  })

  return {
    reserve: Effect.fnUntraced(function* (id, wanted, isNew, claims) {
      const reserved: Array<Reserved> = []
      for (const { unique, digest } of wanted) {
        const acquired = yield* Effect.onError(acquire(id, unique, digest, isNew, claims), () => release(id, reserved))
        if (acquired._tag === "Acquired") {
          reserved.push({ unique, claim: acquired.claim, isShared: acquired.isShared })
          continue
        }
        yield* release(id, reserved)
        if (acquired.owner === id) return yield* new DbError.AlreadyExists({ resource: name, id })
        // Two documents of one transaction want it: trying again changes nothing.
        const isOurs = willHold(claims, acquired.owner, unique, digest) === true
        return yield* violation(unique, acquired.owner, acquired._tag === "Pending" && !isOurs)
      }
      return reserved
    }),
    reclaim: Effect.fnUntraced(function* (id, unique, digest) {
      const acquired = yield* acquire(id, unique, digest, false)
      return acquired._tag === "Acquired" ? undefined : violation(unique, acquired.owner, acquired._tag === "Pending")
    }),
    release,
    lost: Effect.fnUntraced(function* (id, reserved) {
      for (const { unique, claim } of reserved) {
        const found = yield* Unique.find(store, unique.key(claim.digest))
        if (found?.owners.includes(id) !== true) return violation(unique, found?.owners[0] ?? "")
      }
      return undefined
    })
  }
}
