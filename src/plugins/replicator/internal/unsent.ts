/** Documents that a snapshot could not send: dead letters, though no record of a log is behind them. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Consumer from "../../../kernel/Consumer.ts"
import type * as Journal from "../../../kernel/Journal.ts"
import type * as PluginStore from "../../../kernel/PluginStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"
import { keyOf } from "./messages.ts"

export const Letter = Schema.Struct({
  id: Schema.String,
  /** That of the last record before the snapshot began: it stands for the version. */
  position: Schema.Int,
  time: Schema.Int,
  error: Schema.String,
  message: Schema.String,
  /** Which snapshot it was. */
  run: Schema.String
})
export type Letter = typeof Letter.Type

type DeadLetter = Consumer.DeadLetter<Journal.Record>

/** In the place of a write id: those of records are longer. */
const writeId = "sync"
const longestMessage = 500

const isOfSnapshot = ({ value }: DeadLetter): boolean => value.writeId === writeId

export interface Unsent {
  /** 1 PUT. */
  readonly note: (letter: Omit<Letter, "time">) => Effect.Effect<void, StoreError.StoreError>
  /** Removes what other snapshots have left. */
  readonly keepOnly: (run: string) => Effect.Effect<void, StoreError.StoreError>
  readonly letters: Stream.Stream<DeadLetter, StoreError.StoreError>
  /** Gives those that are selected to a handler once more, one by one. */
  readonly redrive: <E, R>(
    handle: (entries: ReadonlyArray<Journal.Entry>) => Effect.Effect<unknown, E, R>,
    select: (letter: DeadLetter) => boolean
  ) => Effect.Effect<Consumer.Redriven, StoreError.StoreError, R>
  /** Removes letters of snapshots, and gives the others. */
  readonly discard: <L extends DeadLetter>(
    letters: ReadonlyArray<L>
  ) => Effect.Effect<ReadonlyArray<L>, StoreError.StoreError>
}

/** Keeps them in the plugin's store for a resource, below what names a lane. */
export const make = (
  store: PluginStore.PluginStore<Letter>,
  shape: ReplicaTarget.Shape,
  lane: ReadonlyArray<string>
): Unsent => {
  const below = ["unsent", ...lane]
  // Ids may be longer than keys.
  const remove = (id: string) => sound(store.remove([...below, keyOf(shape, id)]))
  const all = store.entries(below).pipe(Stream.catchTag("InvalidKey", Stream.die))
  const letters = Stream.map(all, ({ value: { error, id, message, position, time } }): DeadLetter => ({
    position,
    at: time,
    value: { resource: shape.source, id, kind: "update", writeId, time },
    givenUpAt: time,
    attempts: 1,
    error,
    message
  }))
  return {
    note: Effect.fnUntraced(function* (letter) {
      const time = Math.floor(yield* Clock.currentTimeMillis)
      const message = letter.message.slice(0, longestMessage)
      yield* sound(store.set([...below, keyOf(shape, letter.id)], { ...letter, message, time }))
    }),
    keepOnly: (run) => Stream.runForEach(all, ({ value }) => (value.run === run ? Effect.void : remove(value.id))),
    letters,
    redrive: Effect.fnUntraced(function* (handle, select) {
      const redriven = { handled: 0, failed: 0 }
      yield* letters.pipe(
        Stream.filter(select),
        Stream.runForEach(
          Effect.fnUntraced(function* ({ at, position, value }) {
            const exit = yield* Effect.exit(handle([{ position, at, value }]))
            redriven[Exit.isSuccess(exit) ? "handled" : "failed"] += 1
            if (Exit.isSuccess(exit)) return yield* remove(value.id)
            yield* Effect.logWarning(`a document of ${shape.source} that a snapshot could not send fails`, exit.cause)
          })
        )
      )
      return redriven
    }),
    discard: Effect.fnUntraced(function* (some) {
      yield* Effect.forEach(some.filter(isOfSnapshot), ({ value }) => remove(value.id), { discard: true })
      return some.filter((letter) => !isOfSnapshot(letter))
    })
  }
}

/** Words and hashes are keys. */
const sound = <A>(effect: Effect.Effect<A, PluginStore.Failure>): Effect.Effect<A, StoreError.StoreError> =>
  Effect.catchTag(effect, "InvalidKey", Effect.die)
