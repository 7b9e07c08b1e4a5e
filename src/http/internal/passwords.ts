/**
 * Whether a name and a password belong together, with the same work whether there is anybody of the name or not.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Id from "../../crypto/Id.ts"
import { type PasswordError, PasswordHasher } from "../../crypto/PasswordHasher.ts"
import type { PasswordHash } from "../../schema/PasswordHash.ts"

export interface Options<in out Account, out E> {
  readonly find: (name: string) => Effect.Effect<Account | undefined, E>
  readonly hash: (account: Account) => PasswordHash | undefined
}

/** A hash that cannot be verified is a mistake of the program, and told to nobody. */
export const make = Effect.fnUntraced(function* <Account, E>({
  find,
  hash
}: Options<Account, E>): Effect.fn.Return<
  (name: string, password: Redacted.Redacted<string>) => Effect.Effect<Account | undefined, E>,
  PasswordError,
  PasswordHasher
> {
  const hasher = yield* PasswordHasher
  /** Of a password that nobody has, made as others are. */
  const nobodys = yield* hasher.hash(Redacted.make(yield* Id.randomOf(43)))
  return Effect.fnUntraced(function* (name, password) {
    const account = yield* find(name)
    const known = account === undefined ? undefined : hash(account)
    const isRight = yield* Effect.orDie(hasher.verify(password, known ?? nobodys))
    return isRight && known !== undefined ? account : undefined
  })
})
