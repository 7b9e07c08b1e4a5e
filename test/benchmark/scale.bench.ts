/**
 * What operations cost, and what a document takes of memory, as documents grow in number: 1,000, 10,000 and 100,000 of them in memory, or
 * those of --documents=1000,1000000. Memory is that of the heap and of buffers after a collection.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Effect from "effect/Effect"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { schema } from "./contenders.ts"
import { user } from "./documents.ts"
import { type Case, measure } from "./measure.ts"
import { optionOf } from "./option.ts"
import { digits } from "./table.ts"

const sizes = (optionOf("documents") ?? "1000,10000,100000").split(",").map(Number)
const milliseconds = 80
const rounds = 5

const Users = Resource.define("users", { schema, primaryKey: "id", partitions: { byAge: ["age"] } })

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const used = (): number => {
  collect()
  collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const measureAt = Effect.fnUntraced(function* (size: number) {
  const { store } = yield* MemoryStore.make()
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const users = yield* Effect.provideService(Resource.make(Users), Database.Database, database)
  const some = 100
  for (let i = 0; i < some; i++) yield* users.insert(user(i))
  const before = used()
  for (let i = some; i < size; i++) yield* users.insert(user(i))
  const bytes = (used() - before) / (size - some)
  let next = size
  let any = 0
  // Anywhere among them, not one after the other.
  const one = () => `user-${(any = (any + 7919) % size)}`
  const each =
    (step: () => Effect.Effect<unknown, unknown>, documents = 1) =>
    (times: number) =>
      Effect.runPromise(
        Effect.gen(function* () {
          for (let done = 0; done < times; done += documents) yield* step()
        })
      )
  const page = 100
  const cases: ReadonlyArray<Case> = [
    { name: "get", run: each(() => users.get(one())) },
    { name: "exists", run: each(() => users.exists(one())) },
    { name: "update", run: each(() => users.update(one(), { name: `Ana ${any}` })) },
    { name: "list of 100, each", run: each(() => users.list({ limit: page }), page) },
    {
      name: "list of 100 of a partition, each",
      run: each(() => users.list({ partition: "byAge", values: { age: 30 }, limit: page }), Math.min(page, size / 50))
    },
    { name: "insert with one partition", run: each(() => users.insert(user(next++))) }
  ]
  const count: Case = { name: "count, each", run: each(() => users.count(), size) }
  const measured = [
    ...(yield* Effect.promise(() => measure([count], Math.max(size, 200_000), rounds))),
    ...(yield* Effect.promise(() => measure(cases, { milliseconds }, rounds)))
  ]
  return { size, bytes: Math.round(bytes), measured }
}, Effect.scoped)

export const report = () =>
  Effect.gen(function* () {
    const results = yield* Effect.forEach(sizes, (size) => measureAt(size))
    const shown = sizes.map((size) => `${size.toLocaleString("en-US")} documents`)
    const first = results[0]!
    const rows = first.measured.map(({ name }, i) => [
      name,
      ...results.map(({ measured }) => digits(measured[i]!.cpu.median)),
      digits(results.at(-1)!.measured[i]!.cpu.median / first.measured[i]!.cpu.median)
    ])
    const memory = [
      "memory of a document, bytes",
      ...results.map(({ bytes }) => String(bytes)),
      digits(results.at(-1)!.bytes / first.bytes)
    ]
    return {
      results,
      tables: [
        {
          title: `Microseconds of the processor, median of ${rounds} rounds`,
          columns: ["", ...shown, "the last to the first"],
          rows: [...rows, memory]
        }
      ]
    }
  }).pipe(Effect.runPromise)
