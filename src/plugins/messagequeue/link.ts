/**
 * A connection that is made when it is used first, and another one after each that has ended.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"

/**
 * A connection, and what says why it has ended, when it has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Link<E> {
  readonly ended: Deferred.Deferred<never, E>
}

/**
 * Makes what gives the connection, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <L extends Link<E>, E>(
  connect: Effect.Effect<L, E, Scope.Scope>
): Effect.fn.Return<Effect.Effect<L, E>, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const connecting = yield* Semaphore.make(1)
  let current: { readonly link: L; readonly scope: Scope.Closeable } | undefined
  return connecting.withPermits(1)(
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const before = current
        if (before !== undefined) {
          if (!Deferred.isDoneUnsafe(before.link.ended)) return before.link
          current = undefined
          yield* Scope.close(before.scope, Exit.void)
        }
        const inner = yield* Scope.fork(scope)
        const exit = yield* Effect.exit(restore(Scope.provide(connect, inner)))
        if (Exit.isFailure(exit)) yield* Scope.close(inner, Exit.void)
        else current = { link: exit.value, scope: inner }
        return yield* exit
      })
    )
  )
})

/**
 * Gives up waiting for an answer after so many milliseconds, also where nobody may be interrupted: an acknowledgement, or the end of a connection,
 * whose server is gone would be waited for for ever.
 *
 * @category combinators
 * @since 0.1.0
 */
export const within =
  <E2>(millis: number, late: () => E2) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<A, E | E2>()
      const asking = yield* Effect.forkDetach(Deferred.into(Effect.interruptible(effect), answer), {
        startImmediately: true
      })
      const waiting = yield* Effect.forkDetach(
        Effect.interruptible(
          Effect.andThen(
            Effect.sleep(millis),
            Effect.suspend(() => Deferred.fail(answer, late()))
          )
        )
      )
      return yield* Effect.ensuring(Deferred.await(answer), Effect.forkDetach(Fiber.interruptAll([asking, waiting])))
    })
