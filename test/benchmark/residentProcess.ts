/** One run of the benchmark `resident`: node --expose-gc residentProcess.ts <library> <documents>; prints what it came to as JSON. */
import { plain, user } from "./documents.ts"
import { load, type Name } from "./peers.ts"

/** Bytes of the process, and of its heap with its buffers, after collections. */
export interface Memory {
  readonly resident: number
  readonly used: number
}

export interface Resident {
  /** Before the library is imported. */
  readonly bare: Memory
  /** With a resource that is open and holds a few documents. */
  readonly opened: Memory
  /** With all documents. */
  readonly filled: Memory
}

const collect = (globalThis as { readonly gc?: () => void }).gc

const memory = (): Memory => {
  for (let i = 0; i < 3; i++) collect?.()
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  return { resident: rss, used: heapUsed + arrayBuffers }
}

/** Writes the documents from one number to another. */
type Insert = (from: number, to: number) => Promise<unknown>

/** Each library is imported where it is measured: the others are not in memory. */
const ours = async (): Promise<Insert> => {
  const Effect = await import("effect/Effect")
  const Scope = await import("effect/Scope")
  const Schema = await import("effect/Schema")
  const Database = await import("effect-s3db/Database")
  const Resource = await import("effect-s3db/Resource")
  const MemoryStore = await import("effect-s3db/storage/MemoryStore")
  const { ObjectStore } = await import("effect-s3db/storage/ObjectStore")
  const schema = Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    email: Schema.String,
    age: Schema.Int,
    active: Schema.Boolean,
    joined: Schema.Date,
    tags: Schema.Array(Schema.String),
    address: Schema.Struct({ city: Schema.String, zip: Schema.String })
  })
  const users = await Effect.runPromise(
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
      const definition = Resource.define("users", { schema, primaryKey: "id" })
      return yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      // It is open as long as the process is there.
    }).pipe(Scope.provide(Scope.makeUnsafe()))
  )
  return (from, to) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = from; i < to; i++) yield* users.insert(user(i))
      })
    )
}

interface Original {
  readonly Database: new (options: object) => {
    readonly connect: () => Promise<unknown>
    readonly createResource: (options: object) => Promise<{ readonly insert: (document: object) => Promise<unknown> }>
  }
}

const original = async (name: Name): Promise<Insert> => {
  const { Database } = (await load(name)) as Original
  const database = new Database({ connectionString: "memory://resident/data", verbose: false, logLevel: "silent" })
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
    }
  })
  return async (from, to) => {
    for (let i = from; i < to; i++) await users.insert(plain(i))
  }
}

const [library = "", documents = ""] = process.argv.slice(2)
const few = 100

const bare = memory()
const insert = await (library === "effect-s3db" ? ours() : original(library as Name))
await insert(0, few)
const opened = memory()
await insert(few, few + Number(documents))
console.log(JSON.stringify({ bare, opened, filled: memory() } satisfies Resident))
process.exit()
