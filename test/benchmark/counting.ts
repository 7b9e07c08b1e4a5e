/** A store whose requests are counted. */
import * as Effect from "effect/Effect"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"

type Store = ObjectStore["Service"]

/** Counts the requests to a store. */
export const counting = (store: Store) => {
  const counts = { requests: 0 }
  const counted = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      counts.requests += 1
      return effect
    })
  const wrapped: Store = {
    ...store,
    put: (request) => counted(store.put(request)),
    get: (...args) => counted(store.get(...args)),
    head: (key) => counted(store.head(key)),
    delete: (...args) => counted(store.delete(...args)),
    deleteMany: (...args) => counted(store.deleteMany(...args)),
    list: (request) => counted(store.list(request))
  }
  return { counts, store: wrapped }
}
