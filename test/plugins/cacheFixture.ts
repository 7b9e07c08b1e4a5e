/** Databases with a cache, as several processes would have them, on a store whose requests are counted. */
import * as Effect from "effect/Effect"
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Database } from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

export const User = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  country: Schema.String,
  age: Schema.Int,
  tags: Schema.mutable(Schema.Array(Schema.String))
})

export const user = (id: string, more: Partial<typeof User.Type> = {}): typeof User.Type => ({
  id,
  name: `user ${id}`,
  country: "BR",
  age: 30,
  tags: ["a"],
  ...more
})

export const users = {
  schema: User,
  primaryKey: "id",
  partitions: { byCountry: ["country"], byCountryAge: ["country", "age"] },
  unique: { name: ["name"] },
  content: true,
  history: true,
  allowDeleteAll: true
} as const

/** A process: a database with a cache, and how many requests it has made. */
export const openIn = Effect.fnUntraced(function* (scope: Scope.Scope, store: Store, options: Cache.Options = {}) {
  const counted = InstrumentedStore.make(store)
  const { database, open } = yield* openOn(counted.store)
  const cache = yield* Cache.make(options).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Scope.Scope, scope)
  )
  const requests = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      yield* counted.counter.reset
      const value = yield* effect
      const all = yield* counted.counter.counts
      return { value, counts: all, total: Object.values(all).reduce((sum, one) => sum + one, 0) }
    })
  const totalOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(requests(effect), ({ total }) => total)
  return { cache, database, open, requests, totalOf, users: yield* open("users", users) }
})

export const open = Effect.fnUntraced(function* (store: Store, options: Cache.Options = {}) {
  return yield* openIn(yield* Effect.scope, store, options)
})

export const seconds = (count: number): Duration.Input => `${count} seconds`
