/** How far a first snapshot has come, so that the next process goes on in its place. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as PluginStore from "../../../kernel/PluginStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"

export const Progress = Schema.Struct({
  /** Which snapshot it is. */
  run: Schema.String,
  /** The position of the next record of the source when it began: all it reads is later. */
  next: Schema.Int,
  /** The id of the last document that was sent, in the order of keys. Absent: none, or all. */
  after: Schema.optionalKey(Schema.String),
  isDone: Schema.Boolean,
  documents: Schema.Int,
  unreadable: Schema.Int,
  refused: Schema.Int
})
export type Progress = typeof Progress.Type

export interface Kept {
  /** 1 GET. */
  readonly get: Effect.Effect<Progress | undefined, StoreError.StoreError>
  /** 1 PUT. */
  readonly set: (progress: Progress) => Effect.Effect<void, StoreError.StoreError>
}

/** Keeps it in the plugin's store for a resource, at what names a lane. */
export const make = (store: PluginStore.PluginStore<Progress>, lane: ReadonlyArray<string>): Kept => {
  const key = ["snapshot", ...lane]
  return {
    get: sound(Effect.map(store.get(key), Option.getOrUndefined)),
    set: (progress) => sound(Effect.asVoid(store.set(key, progress)))
  }
}

/** Words are keys. */
const sound = <A>(effect: Effect.Effect<A, PluginStore.Failure>): Effect.Effect<A, StoreError.StoreError> =>
  Effect.catchTag(effect, "InvalidKey", Effect.die)
