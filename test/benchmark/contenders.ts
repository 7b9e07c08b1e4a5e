/** Who does the operations of the suite `repository`, each in its own words, in memory, on the same document. */
import { hash } from "node:crypto"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import type * as Definition from "effect-s3db/Definition"
import type { Names } from "effect-s3db/Names"
import * as Resource from "effect-s3db/Resource"
import type * as Attributes from "effect-s3db/schema/Attributes"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as handwritten from "./byHand.ts"
import { plain, user } from "./documents.ts"
import * as peers from "./peers.ts"

/** What another's code throws. */
class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}
export const failed = (error: unknown): Failed => new Failed({ message: String(error) })

export const operations = [
  "insert",
  "get",
  "update",
  "patch",
  "replace",
  "exists",
  "insert with one partition",
  "partition move",
  "delete",
  "list, per document",
  "filtered query, per document read",
  "list of a partition, per document",
  "insertMany, each",
  "deleteMany, each",
  "count of 2,000",
  "insert, a field more that is proven to come back (Json)",
  "insert, a field more that is decoded again (Any)",
  "put, as over memory://",
  "get, as over memory://"
] as const

export type Operation = (typeof operations)[number]

/** How many documents are there to be read. */
export const listed = 500
export const counted = 2000
/** How many are written or deleted in one call. */
const batch = 100

/** An operation, with the documents that it needs. */
export interface Ready {
  readonly prepare?: (times: number) => unknown
  readonly run: (times: number) => unknown
}

/**
 * Begins each round with an empty store. Else the collector has more to do from round to round, and goes through what all the others have in
 * theirs as well, while one of them is measured.
 */
const emptied = (empty: () => unknown, ready: Ready): Ready => ({ ...ready, prepare: empty })

export interface Contender {
  readonly name: string
  readonly operations: Readonly<Partial<Record<Operation, Effect.Effect<Ready, unknown, Scope.Scope>>>>
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

const expect = (found: number, expected: number, what: string): void => {
  if (found !== expected) throw new Error(`${what}: ${found} in place of ${expected}`)
}

/** The parts that operations of all contenders consist of. */
interface Words<A> {
  readonly loop: (times: number, step: (i: number) => A) => unknown
}

/** Counts up over all rounds. */
const numbers = () => {
  let next = 1_000_000
  return { next: () => next++, take: (count: number) => range(next, (next += count)) }
}

/** The same work for each contender: what differs is how a step is run. */
const ready = <A>({ loop }: Words<A>) => ({
  each: (step: (i: number) => A): Ready => ({ run: (times) => loop(times, step) }),
  /** A step that is about so many documents. */
  several: (size: number, step: (i: number) => A): Ready => ({ run: (times) => loop(Math.ceil(times / size), step) }),
  /** Those that are there before the round are gone after it. */
  removing: (insert: (i: number) => A, remove: (i: number) => A): Ready => {
    let next = 1_000_000
    let from = next
    return {
      prepare: (times) => {
        from = next
        next += times
        return loop(times, (i) => insert(from + i))
      },
      run: (times) => loop(times, (i) => remove(from + i))
    }
  },
  removingMany: (insert: (i: number) => A, remove: (ids: ReadonlyArray<string>) => A): Ready => {
    let next = 1_000_000
    let from = next
    return {
      prepare: (times) => {
        from = next
        next += times
        return loop(times, (i) => insert(from + i))
      },
      run: (times) =>
        loop(Math.ceil(times / batch), (i) =>
          remove(range(from + i * batch, from + Math.min(times, (i + 1) * batch)).map((n) => `user-${n}`))
        )
    }
  }
})

const inEffect = ready<Effect.Effect<unknown, unknown>>({
  loop: (times, step) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < times; i++) yield* step(i)
      })
    )
})

// The store alone, with the same JSON.

const body = new TextEncoder().encode(JSON.stringify(user(0)))
/**
 * What nobody can save, in plain functions: a document becomes JSON and its bytes, which are hashed and copied into a map; out of that they are
 * copied again, and become a document. Nothing is checked, and there is no effect but the one that each step is.
 */
const byHandStore = Effect.sync(() => {
  const objects = new Map<string, { readonly body: Uint8Array; readonly etag: string }>()
  const encoder = new TextEncoder()
  const decoder = new TextDecoder()
  const put = (document: ReturnType<typeof user>) => {
    const body = encoder.encode(JSON.stringify(document))
    objects.set(document.id, { body: body.slice(), etag: hash("md5", body) })
    return document
  }
  const get = (id: string) => {
    const { body } = objects.get(id)!
    const { joined, ...rest } = JSON.parse(decoder.decode(body.slice())) as ReturnType<typeof plain>
    return { ...rest, joined: new Date(joined) }
  }
  for (let i = 0; i < 100; i++) put(user(i))
  return { get, objects, put }
})

export const byHand: Contender = {
  name: "by hand",
  operations: {
    insert: Effect.map(byHandStore, ({ objects, put }) => {
      const { next } = numbers()
      return emptied(
        () => objects.clear(),
        inEffect.each(() => Effect.sync(() => put(user(next()))))
      )
    }),
    get: Effect.map(byHandStore, ({ get }) => inEffect.each((i) => Effect.sync(() => get(`user-${i % 100}`)))),
    update: Effect.map(byHandStore, ({ get, put }) =>
      inEffect.each((i) => Effect.sync(() => put({ ...get(`user-${i % 100}`), age: i })))
    ),
    replace: Effect.map(byHandStore, ({ put }) => inEffect.each((i) => Effect.sync(() => put(user(i % 100)))))
  }
}

const prefix = "resource=users/data/"
const key = (i: number) => `${prefix}id=user-${i}`

type Store = ObjectStore["Service"]

/** Deletes the documents of a store: the catalog stays. */
const emptiesStore = (store: Store) => () =>
  Effect.runPromise(
    Effect.gen(function* () {
      for (;;) {
        const { entries } = yield* store.list({ prefix: "resource=", keysOnly: true })
        if (entries.length === 0) return
        yield* store.deleteMany(entries.map(({ key }) => key))
      }
    })
  )

const puts = (store: Store): Ready => {
  const { next } = numbers()
  return emptied(
    emptiesStore(store),
    inEffect.each(() => store.put({ key: key(next()), body }))
  )
}

const fill = (store: Store, count: number) =>
  Effect.forEach(range(0, count), (i) => store.put({ key: key(i), body }), { discard: true })

const gets = (store: Store) =>
  Effect.as(
    fill(store, 100),
    inEffect.each((i) => store.get(key(i % 100)))
  )

/** As a program has it that opens a connection string: with retries, limits and a count of requests. */
const connected: Effect.Effect<Store, unknown, Scope.Scope> = Effect.map(
  Layer.build(ConnectionString.layer("memory://bench")),
  (context) => Context.get(context, ObjectStore)
)

const bareStore = Effect.map(MemoryStore.make(), ({ store }) => store)
const bareWith = (count: number) => Effect.tap(bareStore, (store) => fill(store, count))

/** All the keys, as pages give them. */
const names = Effect.fnUntraced(function* (store: Store) {
  let count = 0
  for (let token: string | undefined; ;) {
    const page = yield* store.list({ prefix, token, keysOnly: true })
    count += page.entries.length
    token = page.nextToken
    if (token === undefined) return count
  }
})

/** A store in which the documents of ours, and those by hand, are of the same bytes, but for what is random and when they were written. */
const handwrittenStore = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const byHand = handwritten.make(store)
  yield* Effect.forEach(range(0, 100), (i) => byHand.insert(user(i)), { discard: true })
  const other = yield* MemoryStore.make()
  const database = yield* Effect.provideService(Database.make(), ObjectStore, other.store)
  const definition = Resource.define("users", { schema, primaryKey: "id" })
  const ours = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
  yield* ours.insert(user(7))
  const looked = yield* Effect.all([store.get(`${prefix}id=user-7`), other.store.get(`${prefix}id=user-7`)])
  const [one, two] = looked.map(({ body, contentType, metadata }) =>
    JSON.stringify([body.length, contentType, Object.entries(metadata)])
  )
  if (one !== two) return yield* new Failed({ message: `by hand it is ${one}, and ours is ${two}` })
  const [read, expected] = [yield* byHand.get("user-7"), yield* ours.get("user-7")]
  if (JSON.stringify(read) !== JSON.stringify(expected))
    return yield* new Failed({ message: "by hand it is read otherwise" })
  return { byHand, store }
})

/** What is ours, written out by hand for this one schema: the same checks, bytes, conditions and requests. */
export const sameByHand: Contender = {
  name: "same by hand",
  operations: {
    insert: Effect.map(handwrittenStore, ({ byHand, store }) => {
      const { next } = numbers()
      return emptied(
        emptiesStore(store),
        inEffect.each(() => byHand.insert(user(next())))
      )
    }),
    get: Effect.map(handwrittenStore, ({ byHand }) => inEffect.each((i) => byHand.get(`user-${i % 100}`))),
    update: Effect.map(handwrittenStore, ({ byHand }) =>
      inEffect.each((i) => byHand.update(`user-${i % 100}`, { age: i }))
    ),
    replace: Effect.map(handwrittenStore, ({ byHand }) => inEffect.each((i) => byHand.replace(user(i % 100)))),
    "insertMany, each": Effect.map(handwrittenStore, ({ byHand, store }) => {
      const { take } = numbers()
      return emptied(
        emptiesStore(store),
        inEffect.several(batch, () => Effect.forEach(take(batch), (i) => byHand.insert(user(i))))
      )
    })
  }
}

export const bare: Contender = {
  name: "bare store",
  operations: {
    insert: Effect.map(bareStore, puts),
    get: Effect.flatMap(bareStore, gets),
    replace: Effect.map(bareWith(100), (store) => inEffect.each((i) => store.put({ key: key(i % 100), body }))),
    exists: Effect.map(bareWith(100), (store) => inEffect.each((i) => store.head(key(i % 100)))),
    delete: Effect.map(bareStore, (store) =>
      inEffect.removing(
        (i) => store.put({ key: key(i), body }),
        (i) => store.delete(key(i))
      )
    ),
    "count of 2,000": Effect.map(bareWith(counted), (store) =>
      inEffect.several(20, () => Effect.map(names(store), (found) => expect(found, counted, "list")))
    ),
    "put, as over memory://": Effect.map(bareStore, puts),
    "get, as over memory://": Effect.flatMap(bareStore, gets)
  }
}

// Ours.

export const schema = Schema.Struct({
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
const Proven = Schema.Struct({ ...schema.fields, settings: Schema.Json })
const Doubtful = Schema.Struct({ ...schema.fields, settings: Schema.Any })
const settings = { theme: "dark", columns: [1, 2, 3] }

const openWithStore = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema, N extends Names>(
  definition: Definition.Definition<S, N>
) {
  const { store } = yield* MemoryStore.make()
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const one = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
  return { one, store }
})

const usersDefined = Resource.define("users", { schema, primaryKey: "id" })
const partedDefined = Resource.define("users", { schema, primaryKey: "id", partitions: { byCity: ["address.city"] } })
const users = Effect.map(openWithStore(usersDefined), ({ one }) => one)
const parted = Effect.map(openWithStore(partedDefined), ({ one }) => one)

/** Inserts of new documents, each round into an empty store. */
const inserts = <O, E>(
  opened: Effect.Effect<{ readonly one: O; readonly store: Store }, E, Scope.Scope>,
  insert: (one: O, i: number) => Effect.Effect<unknown, unknown>
) =>
  Effect.map(opened, ({ one, store }) => {
    const { next } = numbers()
    return emptied(
      emptiesStore(store),
      inEffect.each(() => insert(one, next()))
    )
  })

/** With so many documents. */
const filled = (count: number) =>
  Effect.tap(users, (repository) => Effect.forEach(range(0, count), (i) => repository.insert(user(i))))

const city = { partition: "byCity", values: { "address.city": "São Paulo" } } as const
const cities = ["São Paulo", "Rio de Janeiro"] as const

export const ours: Contender = {
  name: "effect-s3db",
  operations: {
    insert: inserts(openWithStore(usersDefined), (one, i) => one.insert(user(i))),
    get: Effect.map(filled(100), (one) => inEffect.each((i) => one.get(`user-${i % 100}`))),
    update: Effect.map(filled(100), (one) => inEffect.each((i) => one.update(`user-${i % 100}`, { age: i }))),
    patch: Effect.map(filled(100), (one) => inEffect.each((i) => one.patch(`user-${i % 100}`, { age: i }))),
    replace: Effect.map(filled(100), (one) => inEffect.each((i) => one.replace(user(i % 100)))),
    exists: Effect.map(filled(100), (one) => inEffect.each((i) => one.exists(`user-${i % 100}`))),
    "insert with one partition": inserts(openWithStore(partedDefined), (one, i) => one.insert(user(i))),
    "partition move": Effect.gen(function* () {
      const one = yield* parted
      yield* one.insert(user(0))
      let n = 0
      return inEffect.each(() => one.update("user-0", { address: { city: cities[++n % 2]!, zip: "01310-100" } }))
    }),
    delete: Effect.map(users, (one) =>
      inEffect.removing(
        (i) => one.insert(user(i)),
        (i) => one.delete(`user-${i}`)
      )
    ),
    "list, per document": Effect.map(filled(listed), (one) =>
      inEffect.several(listed, () =>
        Effect.map(one.list({ limit: listed }), ({ items }) => expect(items.length, listed, "list"))
      )
    ),
    "filtered query, per document read": Effect.map(filled(listed), (one) =>
      inEffect.several(listed, () =>
        Effect.map(Stream.runCollect(one.query({ where: { age: 27 }, scan: true })), (found) =>
          expect(found.length, listed / 50, "query")
        )
      )
    ),
    "list of a partition, per document": Effect.gen(function* () {
      const one = yield* parted
      yield* Effect.forEach(range(0, listed), (i) => one.insert(user(i)))
      return inEffect.several(listed, () =>
        Effect.map(one.list({ ...city, limit: listed }), ({ items }) => expect(items.length, listed, "partition"))
      )
    }),
    "insertMany, each": Effect.map(openWithStore(usersDefined), ({ one, store }) => {
      const { take } = numbers()
      return emptied(
        emptiesStore(store),
        inEffect.several(batch, () => one.insertMany(take(batch).map(user)))
      )
    }),
    "deleteMany, each": Effect.map(users, (one) =>
      inEffect.removingMany(
        (i) => one.insert(user(i)),
        (ids) => one.deleteMany(ids)
      )
    ),
    "count of 2,000": Effect.map(filled(counted), (one) =>
      inEffect.several(20, () => Effect.map(one.count(), (found) => expect(found, counted, "count")))
    ),
    "insert, a field more that is proven to come back (Json)": inserts(
      openWithStore(Resource.define("users", { schema: Proven, primaryKey: "id" })),
      (one, i) => one.insert({ ...user(i), settings })
    ),
    "insert, a field more that is decoded again (Any)": inserts(
      openWithStore(Resource.define("users", { schema: Doubtful, primaryKey: "id" })),
      (one, i) => one.insert({ ...user(i), settings })
    ),
    "put, as over memory://": Effect.map(connected, (store) => puts(store)),
    "get, as over memory://": Effect.flatMap(connected, (store) => gets(store))
  }
}

// The others.

const inPromise = ready<Promise<unknown>>({
  loop: async (times, step) => {
    for (let i = 0; i < times; i++) await step(i)
  }
})

const one = <A>(open: () => Promise<A>, make: (opened: A) => Ready | Promise<Ready>) =>
  Effect.tryPromise({ try: async () => make(await open()), catch: failed })

/** Of a resource of the original, which is called in the same way since 16. */
interface Original {
  readonly insert: (document: object) => Promise<unknown>
  readonly get: (id: string) => Promise<unknown>
  readonly update: (id: string, change: object) => Promise<unknown>
  readonly patch: (id: string, change: object) => Promise<unknown>
  readonly replace: (id: string, document: object) => Promise<unknown>
  readonly exists: (id: string) => Promise<unknown>
  readonly delete: (id: string) => Promise<unknown>
  readonly list: (options: object) => Promise<ReadonlyArray<unknown>>
  readonly query: (filter: object, options: object) => Promise<ReadonlyArray<unknown>>
  readonly insertMany: (documents: ReadonlyArray<object>) => Promise<unknown>
  readonly deleteMany: (ids: ReadonlyArray<string>) => Promise<unknown>
  readonly count: () => Promise<number>
}

interface OriginalModule {
  readonly Database: new (options: object) => {
    readonly connect: () => Promise<unknown>
    readonly createResource: (options: object) => Promise<Original>
    readonly client: { readonly clear: () => Promise<unknown> }
  }
}

let databases = 0

const original = (name: string, { Database }: OriginalModule): Contender => {
  const openWithClient = async (partitioned: boolean) => {
    const connectionString = `memory://bench${databases++}/data`
    const database = new Database({ connectionString, verbose: false, logLevel: "silent" })
    await database.connect()
    const users = await database.createResource({
      name: "users",
      attributes: {
        name: "string|required",
        email: "string|required",
        age: "number|required",
        active: "boolean|required",
        joined: "string|required",
        tags: "array|items:string",
        address: { city: "string|required", zip: "string|required" }
      },
      // It is there when the write is, as with us.
      asyncPartitions: false,
      ...(partitioned ? { partitions: { byCity: { fields: { "address.city": "string" } } } } : {})
    })
    return { users, empty: () => database.client.clear() }
  }
  const open = (partitioned: boolean) => async () => (await openWithClient(partitioned)).users
  const opened = (partitioned: boolean) => () => openWithClient(partitioned)
  const withDocuments =
    (count: number, partitioned = false) =>
    async () => {
      const users = await open(partitioned)()
      for (let i = 0; i < count; i++) await users.insert(plain(i))
      return users
    }
  const inserts = ({ empty, users }: { readonly empty: () => unknown; readonly users: Original }) => {
    const { next } = numbers()
    return emptied(
      empty,
      inPromise.each(() => users.insert(plain(next())))
    )
  }
  return {
    name,
    operations: {
      insert: one(opened(false), inserts),
      get: one(withDocuments(100), (users) => inPromise.each((i) => users.get(`user-${i % 100}`))),
      update: one(withDocuments(100), (users) => inPromise.each((i) => users.update(`user-${i % 100}`, { age: i }))),
      patch: one(withDocuments(100), (users) => inPromise.each((i) => users.patch(`user-${i % 100}`, { age: i }))),
      replace: one(withDocuments(100), (users) =>
        inPromise.each((i) => users.replace(`user-${i % 100}`, plain(i % 100)))
      ),
      exists: one(withDocuments(100), (users) => inPromise.each((i) => users.exists(`user-${i % 100}`))),
      "insert with one partition": one(opened(true), inserts),
      "partition move": one(withDocuments(1, true), (users) => {
        let n = 0
        return inPromise.each(() => users.update("user-0", { address: { city: cities[++n % 2]!, zip: "01310-100" } }))
      }),
      delete: one(open(false), (users) =>
        inPromise.removing(
          (i) => users.insert(plain(i)),
          (i) => users.delete(`user-${i}`)
        )
      ),
      "list, per document": one(withDocuments(listed), (users) =>
        inPromise.several(listed, async () => expect((await users.list({ limit: listed })).length, listed, "list"))
      ),
      "filtered query, per document read": one(withDocuments(listed), (users) =>
        inPromise.several(listed, async () =>
          expect((await users.query({ age: 27 }, { limit: listed })).length, listed / 50, "query")
        )
      ),
      "list of a partition, per document": one(withDocuments(listed, true), (users) =>
        inPromise.several(listed, async () => {
          const found = await users.list({
            partition: "byCity",
            partitionValues: { "address.city": "São Paulo" },
            limit: listed
          })
          expect(found.length, listed, "partition")
        })
      ),
      "insertMany, each": one(opened(false), ({ empty, users }) => {
        const { take } = numbers()
        return emptied(
          empty,
          inPromise.several(batch, () => users.insertMany(take(batch).map(plain)))
        )
      }),
      "deleteMany, each": one(open(false), (users) =>
        inPromise.removingMany(
          (i) => users.insert(plain(i)),
          (ids) => users.deleteMany(ids)
        )
      ),
      "count of 2,000": one(withDocuments(counted), (users) =>
        inPromise.several(20, async () => expect(await users.count(), counted, "count"))
      )
    }
  }
}

interface Unstorage {
  readonly createStorage: () => {
    readonly setItem: (key: string, value: object) => Promise<unknown>
    readonly getItem: (key: string) => Promise<unknown>
    readonly hasItem: (key: string) => Promise<unknown>
    readonly removeItem: (key: string) => Promise<unknown>
    readonly getKeys: () => Promise<ReadonlyArray<string>>
    readonly clear: () => Promise<unknown>
  }
}

const unstorage = (name: string, { createStorage }: Unstorage): Contender => {
  const open = async () => createStorage()
  const filled = (count: number) => async () => {
    const storage = createStorage()
    for (let i = 0; i < count; i++) await storage.setItem(`user-${i}`, plain(i))
    return storage
  }
  return {
    name,
    operations: {
      insert: one(open, (storage) => {
        const { next } = numbers()
        return emptied(
          () => storage.clear(),
          inPromise.each(() => {
            const document = plain(next())
            return storage.setItem(document.id, document)
          })
        )
      }),
      get: one(filled(100), (storage) => inPromise.each((i) => storage.getItem(`user-${i % 100}`))),
      replace: one(filled(100), (storage) => inPromise.each((i) => storage.setItem(`user-${i % 100}`, plain(i % 100)))),
      exists: one(filled(100), (storage) => inPromise.each((i) => storage.hasItem(`user-${i % 100}`))),
      delete: one(open, (storage) =>
        inPromise.removing(
          (i) => storage.setItem(`user-${i}`, plain(i)),
          (i) => storage.removeItem(`user-${i}`)
        )
      ),
      "count of 2,000": one(filled(counted), (storage) =>
        inPromise.several(20, async () => expect((await storage.getKeys()).length, counted, "count"))
      )
    }
  }
}

interface Nedb {
  readonly default: new (options: object) => {
    readonly insertAsync: (documents: object) => Promise<unknown>
    readonly findOneAsync: (query: object) => Promise<unknown>
    readonly findAsync: (query: object) => Promise<ReadonlyArray<unknown>>
    readonly updateAsync: (query: object, change: object, options: object) => Promise<unknown>
    readonly removeAsync: (query: object, options: object) => Promise<unknown>
    readonly countAsync: (query: object) => Promise<number>
  }
}

const nedb = (name: string, { default: Datastore }: Nedb): Contender => {
  const document = (i: number) => ({ ...user(i), _id: `user-${i}` })
  const filled = (count: number) => async () => {
    const data = new Datastore({ inMemoryOnly: true })
    for (let i = 0; i < count; i++) await data.insertAsync(document(i))
    return data
  }
  const changes = one(filled(100), (data) =>
    inPromise.each((i) => data.updateAsync({ _id: `user-${i % 100}` }, { $set: { age: i } }, {}))
  )
  return {
    name,
    operations: {
      insert: one(filled(0), (data) => {
        const { next } = numbers()
        return emptied(
          () => data.removeAsync({}, { multi: true }),
          inPromise.each(() => data.insertAsync(document(next())))
        )
      }),
      get: one(filled(100), (data) => inPromise.each((i) => data.findOneAsync({ _id: `user-${i % 100}` }))),
      update: changes,
      patch: changes,
      replace: one(filled(100), (data) =>
        inPromise.each((i) => data.updateAsync({ _id: `user-${i % 100}` }, document(i % 100), {}))
      ),
      exists: one(filled(100), (data) => inPromise.each((i) => data.countAsync({ _id: `user-${i % 100}` }))),
      delete: one(filled(0), (data) =>
        inPromise.removing(
          (i) => data.insertAsync(document(i)),
          (i) => data.removeAsync({ _id: `user-${i}` }, {})
        )
      ),
      "list, per document": one(filled(listed), (data) =>
        inPromise.several(listed, async () => expect((await data.findAsync({})).length, listed, "list"))
      ),
      "filtered query, per document read": one(filled(listed), (data) =>
        inPromise.several(listed, async () => expect((await data.findAsync({ age: 27 })).length, listed / 50, "query"))
      ),
      "insertMany, each": one(filled(0), (data) => {
        const { take } = numbers()
        return emptied(
          () => data.removeAsync({}, { multi: true }),
          inPromise.several(batch, () => data.insertAsync(take(batch).map(document)))
        )
      }),
      "deleteMany, each": one(filled(0), (data) =>
        inPromise.removingMany(
          (i) => data.insertAsync(document(i)),
          (ids) => data.removeAsync({ _id: { $in: ids } }, { multi: true })
        )
      ),
      "count of 2,000": one(filled(counted), (data) =>
        inPromise.several(20, async () => expect(await data.countAsync({}), counted, "count"))
      )
    }
  }
}

interface KeyvModule {
  readonly default: new () => {
    readonly set: (key: string, value: object) => Promise<unknown>
    readonly get: (key: string) => Promise<unknown>
    readonly has: (key: string) => Promise<unknown>
    readonly delete: (key: string) => Promise<unknown>
    readonly clear: () => Promise<unknown>
  }
}

const keyv = (name: string, { default: Keyv }: KeyvModule): Contender => {
  const filled = (count: number) => async () => {
    const values = new Keyv()
    for (let i = 0; i < count; i++) await values.set(`user-${i}`, plain(i))
    return values
  }
  return {
    name,
    operations: {
      insert: one(filled(0), (values) => {
        const { next } = numbers()
        return emptied(
          () => values.clear(),
          inPromise.each(() => {
            const document = plain(next())
            return values.set(document.id, document)
          })
        )
      }),
      get: one(filled(100), (values) => inPromise.each((i) => values.get(`user-${i % 100}`))),
      replace: one(filled(100), (values) => inPromise.each((i) => values.set(`user-${i % 100}`, plain(i % 100)))),
      exists: one(filled(100), (values) => inPromise.each((i) => values.has(`user-${i % 100}`))),
      delete: one(filled(0), (values) =>
        inPromise.removing(
          (i) => values.set(`user-${i}`, plain(i)),
          (i) => values.delete(`user-${i}`)
        )
      )
    }
  }
}

/** Those that keep documents in memory. */
const made = {
  "s3db.js 16": (name, module) => original(name, module as OriginalModule),
  "s3db.js 19": (name, module) => original(name, module as OriginalModule),
  "s3db.js 21": (name, module) => original(name, module as OriginalModule),
  unstorage: (name, module) => unstorage(name, module as Unstorage),
  nedb: (name, module) => nedb(name, module as Nedb),
  keyv: (name, module) => keyv(name, module as KeyvModule)
} satisfies Partial<Readonly<Record<peers.Name, (name: string, module: unknown) => Contender>>>

/** Those that are installed, and what is to be said of the others. */
export const others = async (): Promise<{
  readonly installed: ReadonlyArray<Contender>
  readonly notes: ReadonlyArray<string>
}> => {
  const installed: Array<Contender> = []
  const notes: Array<string> = []
  for (const name of Object.keys(made) as ReadonlyArray<keyof typeof made>) {
    const module = peers.load(name)
    if (module === undefined) notes.push(`${peers.title(name)} is not installed: npm run bench:peers`)
    else {
      try {
        installed.push(made[name](peers.title(name), await module))
      } catch (error) {
        notes.push(`${peers.title(name)} cannot be loaded: ${String(error)}`)
      }
    }
  }
  return { installed, notes }
}
