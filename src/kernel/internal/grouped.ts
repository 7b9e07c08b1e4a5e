/** Work on one thing that waits while other work on it is under way, and is then done together. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

/** Hands in a piece of work on what a key names, and waits until it has been done. Who is interrupted waits no longer; it is done all the same. */
export type Submit<X, E> = (key: string, work: X) => Effect.Effect<void, E>

/**
 * `run` does what has waited for a key. When the scope closes, whoever waits is interrupted. `gather` is waited for before what waits
 * is taken, so that more comes together; by default nothing is.
 */
export const make = Effect.fnUntraced(function* <X, E>(
  run: (key: string, batch: ReadonlyArray<X>) => Effect.Effect<void, E>,
  gather: Effect.Effect<void> = Effect.void
): Effect.fn.Return<Submit<X, E>, never, Scope.Scope> {
  interface Waiting {
    readonly work: X
    readonly done: Deferred.Deferred<void, E>
  }
  const scope = yield* Effect.scope
  const queues = new Map<string, Array<Waiting>>()

  const settle = (batch: ReadonlyArray<Waiting>, exit: Exit.Exit<void, E>) =>
    Effect.forEach(batch, ({ done }) => Deferred.done(done, exit), { discard: true })

  const drain = (key: string) =>
    Effect.gen(function* () {
      for (;;) {
        if (queues.get(key)!.length > 0) yield* gather
        const batch = queues.get(key)!
        if (batch.length === 0) return
        queues.set(key, [])
        const work = run(
          key,
          batch.map((one) => one.work)
        )
        yield* Effect.exit(Effect.onExit(work, (exit) => settle(batch, exit)))
      }
    }).pipe(
      Effect.onExit((exit) => {
        const left = queues.get(key)!
        queues.delete(key)
        return settle(left, exit)
      })
    )

  return Effect.fnUntraced(function* (key, work) {
    const done = yield* Deferred.make<void, E>()
    const queue = queues.get(key)
    if (queue === undefined) {
      queues.set(key, [{ work, done }])
      yield* Effect.forkIn(drain(key), scope)
    } else queue.push({ work, done })
    yield* Deferred.await(done)
  })
})
