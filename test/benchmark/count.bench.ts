/** Counting and listing the ids of 2,000 documents in memory, for each of them, against the keys of a Map with the same prefix. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { Case } from "./measure.ts"

const documents = 2000
const prefix = "resource=users/data/"

const Users = Resource.define("users", {
  schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
  primaryKey: "id"
})

export const cases = (): Promise<ReadonlyArray<Case>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
        const users = yield* Effect.provideService(Resource.make(Users), Database.Database, database)
        const keys = new Map<string, number>()
        for (let i = 0; i < documents; i++) {
          yield* users.insert({ id: `user-${i}`, name: "Ana" })
          keys.set(`${prefix}id=user-${i}`, i)
        }
        const listing = Effect.gen(function* () {
          for (let token: string | undefined; ;) {
            const page = yield* store.list({ prefix, token, keysOnly: true })
            token = page.nextToken
            if (token === undefined) return
          }
        })
        /** As often as it takes for so many documents. */
        const each = (effect: Effect.Effect<unknown, unknown>) => (times: number) =>
          Effect.runPromise(
            Effect.gen(function* () {
              for (let done = 0; done < times; done += documents) yield* effect
            })
          )
        const counted = Effect.sync(() => {
          let count = 0
          for (const key of keys.keys()) if (key.startsWith(prefix)) count += 1
          return count
        })
        return [
          { name: "the keys of a Map, counted by their prefix", run: each(counted) },
          { name: "LIST of the bare store", run: each(listing) },
          { name: "count", run: each(users.count()) },
          { name: "listIds", run: each(Stream.runDrain(users.listIds())) }
        ]
      })
    )
  )
