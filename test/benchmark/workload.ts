/** Operations on documents, each with a database of its own, on a store that the benchmark makes of one in memory. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

type Store = ObjectStore["Service"]

export interface Step {
  readonly name: string
  /** How many documents one run is about. */
  readonly documents: number
  /** Makes the documents that it needs; what it gives can be run any number of times. */
  readonly make: (
    around: (store: Store) => Store
  ) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown, Scope.Scope>
}

const many = 100

const schema = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  email: Schema.String,
  age: Schema.Int,
  address: Schema.Struct({ city: Schema.String, zip: Schema.String })
})

const plain = Resource.define("users", { schema, primaryKey: "id" })
const parted = Resource.define("users", { schema, primaryKey: "id", partitions: { byCity: ["address.city"] } })
const unique = Resource.define("users", { schema, primaryKey: "id", unique: { email: ["email"] } })
const kept = Resource.define("users", { schema, primaryKey: "id", history: true })

const person = (i: number) => ({
  id: `user-${i}`,
  name: "José da Silva",
  email: `jose${i}@example.com`,
  age: 20 + (i % 50),
  address: { city: "São Paulo", zip: "01310-100" }
})

const open = Effect.fnUntraced(function* (around: (store: Store) => Store) {
  const { store } = yield* MemoryStore.make()
  return yield* Effect.provideService(Database.make(), ObjectStore, around(store))
})

const people = (from: number) => Array.from({ length: many }, (_, i) => person(from + i))
const ids = (from: number) => people(from).map(({ id }) => id)

let next = 1000
const fresh = (count = 1) => (next += count) - count

const within = { partition: "byCity", values: { "address.city": "São Paulo" } } as const
const cities = ["Rio de Janeiro", "São Paulo"] as const

const usersOf = (around: (store: Store) => Store) =>
  Effect.flatMap(open(around), (database) =>
    Effect.provideService(Resource.make(plain), Database.Database, database)
  ).pipe(Effect.tap((users) => users.insertMany(people(0))))

type Users = Effect.Success<ReturnType<typeof usersOf>>

const on = (name: string, operation: (users: Users) => Effect.Effect<unknown, unknown>, documents = 1): Step => ({
  name,
  documents,
  make: (around) => Effect.map(usersOf(around), operation)
})

const partedOf = (around: (store: Store) => Store) =>
  Effect.flatMap(open(around), (database) =>
    Effect.provideService(Resource.make(parted), Database.Database, database)
  ).pipe(Effect.tap((users) => users.insertMany(people(0))))

type Parted = Effect.Success<ReturnType<typeof partedOf>>

const onParted = (
  name: string,
  operation: (users: Parted) => Effect.Effect<unknown, unknown>,
  documents = 1
): Step => ({ name, documents, make: (around) => Effect.map(partedOf(around), operation) })

let moves = 0

export const workload: ReadonlyArray<Step> = [
  on("insert", (users) => Effect.suspend(() => users.insert(person(fresh())))),
  on("get", (users) => users.get("user-1")),
  on("exists", (users) => users.exists("user-1")),
  on("update by id", (users) => Effect.suspend(() => users.update("user-1", { age: fresh() }))),
  {
    name: "update of a document in hand",
    documents: 1,
    make: (around) =>
      Effect.gen(function* () {
        const users = yield* usersOf(around)
        let document = yield* users.getDocument("user-1")
        return Effect.gen(function* () {
          const changed = yield* users.update(document, { age: fresh() })
          document = yield* users.documentOf(changed)
        })
      })
  },
  on("patch by id", (users) => Effect.suspend(() => users.patch("user-1", { age: fresh() }))),
  on("replace", (users) => users.replace(person(1))),
  on("upsert", (users) => users.upsert(person(1))),
  {
    name: "insert with a unique key",
    documents: 1,
    make: (around) =>
      Effect.gen(function* () {
        const database = yield* open(around)
        const users = yield* Effect.provideService(Resource.make(unique), Database.Database, database)
        return Effect.suspend(() => users.insert(person(fresh())))
      })
  },
  onParted("insert with one partition", (users) => Effect.suspend(() => users.insert(person(fresh())))),
  onParted("partition move", (users) =>
    Effect.suspend(() => users.update("user-1", { address: { city: cities[moves++ % 2]!, zip: "01310-100" } }))
  ),
  {
    name: "update with history",
    documents: 1,
    make: (around) =>
      Effect.gen(function* () {
        const database = yield* open(around)
        const users = yield* Effect.provideService(Resource.make(kept), Database.Database, database)
        yield* users.insert(person(1))
        return Effect.suspend(() => users.update("user-1", { age: fresh() }))
      })
  },
  on("insert and delete", (users) =>
    Effect.suspend(() => {
      const made = person(fresh())
      return Effect.andThen(users.insert(made), users.delete(made.id))
    })
  ),
  on("insertMany", (users) => Effect.suspend(() => users.insertMany(people(fresh(many)))), many),
  on(
    "insertMany and deleteMany",
    (users) =>
      Effect.suspend(() => {
        const from = fresh(many)
        return Effect.andThen(users.insertMany(people(from)), users.deleteMany(ids(from)))
      }),
    many
  ),
  on("list", (users) => users.list({ limit: many }), many),
  onParted("list of a partition", (users) => users.list({ ...within, limit: many - 1 }), many - 1),
  on("filtered query of all", (users) => Stream.runDrain(users.query({ where: { age: 27 }, scan: true })), many),
  on("listIds", (users) => Stream.runDrain(users.listIds()), many),
  on("count", (users) => users.count(), many)
]
