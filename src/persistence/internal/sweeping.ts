/** Removes what has expired of a plugin, from time to time, in one of the processes that share it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { PluginStore } from "../../kernel/PluginStore.ts"

/** How often, in one of the processes; `false`: never. */
export type Every = Duration.Input | false

const least = Duration.minutes(1)

/**
 * Sweeps in the background until the scope closes, when nobody has for so long. Who takes the turn keeps it until it expires; what fails
 * is tried again the next time. Dies with a `RangeError` when it is less than a minute.
 */
export const sweeping = Effect.fnUntraced(function* <A>(
  values: PluginStore<A>,
  { every: given, mark, turn }: { readonly every: Every; readonly turn: string; readonly mark: A }
): Effect.fn.Return<void, never, Scope.Scope> {
  if (given === false) return
  const every = Option.getOrElse(Duration.fromInput(given), () => Duration.zero)
  if (Duration.isLessThan(every, least) || !Duration.isFinite(every)) {
    return yield* Effect.die(new RangeError(`sweepEvery has to be a time from 1 minute, not ${String(given)}`))
  }
  const once = Effect.gen(function* () {
    if (yield* values.has(turn)) return
    if (yield* values.setIfAbsent(turn, mark, { ttl: Duration.times(every, 0.9) })) yield* values.sweep
  })
  const pause = Effect.flatMap(Random.next, (chance) => Effect.sleep(Duration.times(every, 0.9 + 0.1 * chance)))
  yield* Effect.catch(once, (error) =>
    Effect.logWarning("what has expired could not be swept; it is tried again", error)
  ).pipe(Effect.andThen(pause), Effect.forever, Effect.forkScoped)
})
