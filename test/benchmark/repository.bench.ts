/** What the document layer costs in memory, against the bare store: no network, so all of it is ours. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import type * as Definition from "effect-s3db/Definition"
import * as Resource from "effect-s3db/Resource"
import type * as Attributes from "effect-s3db/schema/Attributes"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { Case } from "./measure.ts"

const User = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  email: Schema.String,
  age: Schema.Int,
  active: Schema.Boolean,
  joined: Schema.Date,
  tags: Schema.Array(Schema.String),
  address: Schema.Struct({ city: Schema.String, zip: Schema.String })
})

/** The same with a field that its schema proves to come back as it was, and with one of which only decoding it again tells. */
const Proven = Schema.Struct({ ...User.fields, settings: Schema.Json })
const Doubtful = Schema.Struct({ ...User.fields, settings: Schema.Any })

const settings = { theme: "dark", columns: [1, 2, 3] }

const open = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const database = yield* Database.make().pipe(Effect.provideService(ObjectStore, store))
  const make = <S extends Attributes.DocumentSchema>(definition: Definition.Definition<S>) =>
    Effect.provideService(Resource.make(definition), Database.Database, database)
  const users = yield* make(Resource.define("users", { schema: User, primaryKey: "id" }))
  const proven = yield* make(Resource.define("proven", { schema: Proven, primaryKey: "id" }))
  const doubtful = yield* make(Resource.define("doubtful", { schema: Doubtful, primaryKey: "id" }))
  return { store, users, proven, doubtful }
})

const user = (i: number) => ({
  id: `user-${i}`,
  name: "José da Silva",
  email: "jose@example.com",
  age: 41,
  active: true,
  joined: new Date(1705314600000),
  tags: ["a", "b"],
  address: { city: "São Paulo", zip: "01310-100" }
})

export const cases = (): Promise<ReadonlyArray<Case>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { store, users, proven, doubtful } = yield* open
        const body = new TextEncoder().encode(JSON.stringify(user(0)))
        let next = 0
        const loop = (effect: () => Effect.Effect<unknown, unknown>) => (times: number) =>
          Effect.runPromise(
            Effect.gen(function* () {
              for (let i = 0; i < times; i++) yield* effect()
            })
          )
        yield* users.insert(user(-1))
        yield* store.put({ key: "raw", body })
        return [
          {
            name: "put of the same JSON in the bare store",
            run: loop(() => store.put({ key: `raw-${next++}`, body }))
          },
          { name: "get of the same JSON in the bare store", run: loop(() => store.get("raw")) },
          { name: "insert", run: loop(() => users.insert(user(next++))) },
          {
            name: "insert, a field more that is proven to come back (Json)",
            run: loop(() => proven.insert({ ...user(next++), settings }))
          },
          {
            name: "insert, a field more that is decoded again (Any)",
            run: loop(() => doubtful.insert({ ...user(next++), settings }))
          },
          { name: "get", run: loop(() => users.get("user--1")) },
          { name: "update by id", run: loop(() => users.update("user--1", { age: 42 })) }
        ]
      })
    )
  )
