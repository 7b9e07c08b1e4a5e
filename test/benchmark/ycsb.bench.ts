/**
 * The core workloads of YCSB (https://github.com/brianfrankcooper/YCSB/wiki/Core-Workloads) in memory, with their mixes, on records of ten
 * fields of 100 bytes. Which record: zipfian with 0.99, scattered over the records, in D the latest ones. Scans are of 1 to 100 records,
 * uniformly; a partition by the number of the record gives their order. The baseline is the bare store with the same records as JSON.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type Measured, measure } from "./measure.ts"
import { digits } from "./table.ts"
import { generator, latest, scattered, zipfian } from "./zipfian.ts"

const records = 1000
const longestScan = 100
const milliseconds = 100
const rounds = 7

type Action = "read" | "update" | "insert" | "scan" | "read and write"

interface Mix {
  readonly latest: boolean
  /** What is done, with its share of a hundred. */
  readonly actions: ReadonlyArray<readonly [Action, number]>
}

export const mixes: Readonly<Record<"A" | "B" | "C" | "D" | "E" | "F", Mix>> = {
  A: {
    latest: false,
    actions: [
      ["read", 50],
      ["update", 50]
    ]
  },
  B: {
    latest: false,
    actions: [
      ["read", 95],
      ["update", 5]
    ]
  },
  C: { latest: false, actions: [["read", 100]] },
  D: {
    latest: true,
    actions: [
      ["read", 95],
      ["insert", 5]
    ]
  },
  E: {
    latest: false,
    actions: [
      ["scan", 95],
      ["insert", 5]
    ]
  },
  F: {
    latest: false,
    actions: [
      ["read", 50],
      ["read and write", 50]
    ]
  }
}

const text = Schema.String
const fields = {
  id: text,
  field0: text,
  field1: text,
  field2: text,
  field3: text,
  field4: text,
  field5: text,
  field6: text,
  field7: text,
  field8: text,
  field9: text
}
const Plain = Resource.define("usertable", { schema: Schema.Struct(fields), primaryKey: "id" })
const Ordered = Resource.define("usertable", {
  schema: Schema.Struct({ ...fields, number: Schema.Int }),
  primaryKey: "id",
  partitions: { byNumber: ["number"] }
})

const id = (i: number) => `user${i}`
const key = (i: number) => `user${String(i).padStart(10, "0")}`

const record = (i: number, value: () => string) => ({
  id: id(i),
  field0: value(),
  field1: value(),
  field2: value(),
  field3: value(),
  field4: value(),
  field5: value(),
  field6: value(),
  field7: value(),
  field8: value(),
  field9: value()
})

/** What a record's fields hold: 100 characters. */
const valueOf = (random: () => number) => () => {
  let made = ""
  while (made.length < 100) made += random().toString(36).slice(2)
  return made.slice(0, 100)
}

/** The actions, in the words of one store. A scan is of so many records from that one on. */
interface Table {
  readonly read: (i: number) => Effect.Effect<unknown, unknown>
  readonly update: (i: number, value: () => string) => Effect.Effect<unknown, unknown>
  readonly insert: (i: number, value: () => string) => Effect.Effect<unknown, unknown>
  readonly scan: (i: number, length: number) => Effect.Effect<unknown, unknown>
}

type Open = Effect.Effect<Table, unknown, Scope.Scope>

const database = Effect.flatMap(MemoryStore.make(), ({ store }) =>
  Effect.provideService(Database.make(), ObjectStore, store)
)

const plain: Open = Effect.gen(function* () {
  const table = yield* Effect.provideService(Resource.make(Plain), Database.Database, yield* database)
  return {
    read: (i) => table.get(id(i)),
    update: (i, value) => table.update(id(i), { field3: value() }),
    insert: (i, value) => table.insert(record(i, value)),
    scan: () => Effect.die("without an order")
  }
})

const ordered: Open = Effect.gen(function* () {
  const table = yield* Effect.provideService(Resource.make(Ordered), Database.Database, yield* database)
  return {
    read: (i) => table.get(id(i)),
    update: (i, value) => table.update(id(i), { field3: value() }),
    insert: (i, value) => table.insert({ ...record(i, value), number: i }),
    scan: (i, length) => table.list({ partition: "byNumber", from: i, limit: length })
  }
})

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const bare: Open = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const parsed = (i: number) =>
    Effect.map(store.get(key(i)), ({ body }) => JSON.parse(decoder.decode(body)) as Record<string, string>)
  const put = (i: number, value: object) => store.put({ key: key(i), body: encoder.encode(JSON.stringify(value)) })
  return {
    read: parsed,
    update: (i, value) => Effect.flatMap(parsed(i), (read) => put(i, { ...read, field3: value() })),
    insert: (i, value) => put(i, record(i, value)),
    scan: (i, length) =>
      Effect.flatMap(store.list({ startAfter: key(i - 1), maxKeys: length, keysOnly: true }), ({ entries }) =>
        Effect.forEach(entries, (entry) =>
          Effect.map(store.get(entry.key), ({ body }): unknown => JSON.parse(decoder.decode(body)))
        )
      )
  }
})

/** A table with its records, and the actions of a mix on it one after the other. */
const load = Effect.fnUntraced(function* (mix: Mix, open: Open) {
  const table = yield* open
  const random = generator(42)
  const value = valueOf(random)
  const rank = zipfian(random)
  let count = 0
  while (count < records) yield* table.insert(count++, value)
  const choose = () => (mix.latest ? latest : scattered)(rank(count), count)
  const does: Readonly<Record<Action, () => Effect.Effect<unknown, unknown>>> = {
    read: () => table.read(choose()),
    update: () => table.update(choose(), value),
    insert: () => table.insert(count++, value),
    scan: () => table.scan(choose(), 1 + Math.floor(random() * longestScan)),
    "read and write": () => {
      const chosen = choose()
      return Effect.andThen(table.read(chosen), table.update(chosen, value))
    }
  }
  const next = () => {
    let drawn = random() * 100
    for (const [action, share] of mix.actions) {
      if (drawn < share) return does[action]()
      drawn -= share
    }
    return does[mix.actions[0]![0]]()
  }
  return (times: number) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < times; i++) yield* next()
      })
    )
})

export const report = () =>
  Effect.gen(function* () {
    const results: Array<{ readonly workload: string; readonly measured: ReadonlyArray<Measured> }> = []
    for (const [workload, mix] of Object.entries(mixes)) {
      const measured = yield* Effect.scoped(
        Effect.gen(function* () {
          const cases = [
            { name: "bare store", run: yield* load(mix, bare) },
            { name: "effect-s3db", run: yield* load(mix, workload === "E" ? ordered : plain) }
          ]
          return yield* Effect.promise(() => measure(cases, { milliseconds }, rounds))
        })
      )
      results.push({ workload, measured })
    }
    const rows = results.map(({ measured, workload }) => {
      const [base, ours] = [measured[0]!, measured[1]!]
      const actions = mixes[workload as keyof typeof mixes].actions.map(([action, share]) => `${share} % ${action}`)
      return [
        `${workload}: ${actions.join(", ")}`,
        digits(1_000_000 / ours.cpu.median),
        digits(ours.cpu.median),
        digits(ours.cpu.best),
        digits(ours.wall.median),
        digits(base.cpu.median),
        digits(ours.cpuRatio)
      ]
    })
    const columns = [
      "",
      "operations for a second of the processor",
      "CPU, median",
      "best",
      "wall, median",
      "bare store, CPU, median",
      "ratio to it"
    ]
    return {
      results,
      tables: [{ title: `${records} records at first; microseconds of an operation, ${rounds} rounds`, columns, rows }]
    }
  }).pipe(Effect.runPromise)
