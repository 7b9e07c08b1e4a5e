/**
 * What values of one kind take more than short texts: documents of five fields of it, in memory. `--before=FOLDER`: beside the library of
 * another checkout, which has this file.
 */
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type Case, measure } from "./measure.ts"
import { optionOf } from "./option.ts"
import { digits } from "./table.ts"

interface Kind {
  readonly type: Schema.Codec<unknown, unknown>
  readonly value: (i: number) => unknown
}

const kind = <A, I>(type: Schema.Codec<A, I>, value: (i: number) => A): Kind => ({
  type: type as Schema.Codec<unknown, unknown>,
  value
})

const Line = Schema.Struct({ sku: Schema.String, count: Schema.Int })
const Shape = Schema.Union([
  Schema.TaggedStruct("Circle", { radius: Schema.Number }),
  Schema.TaggedStruct("Named", { name: Schema.String })
])

const kinds = {
  "short texts": kind(Schema.String, (i) => `text ${i}`),
  "texts of 100 characters": kind(Schema.String, (i) => `${"all work and no play ".repeat(5)}${i}`.slice(-100)),
  "short texts, Cyrillic": kind(Schema.String, (i) => `привет ${i}`),
  "texts of 100 characters, Cyrillic": kind(Schema.String, (i) => `${"привет мир ".repeat(10)}${i}`.slice(-100)),
  "texts of 700 characters, which go to the body": kind(Schema.String, (i) =>
    `${"all work and no play ".repeat(40)}${i}`.slice(-700)
  ),
  integers: kind(Schema.Int, (i) => i * 1000),
  "numbers with fractions": kind(Schema.Number, (i) => i / 7),
  booleans: kind(Schema.Boolean, (i) => i % 2 === 0),
  Date: kind(Schema.Date, (i) => new Date(1.7e12 + i)),
  "DateTime.Utc": kind(Schema.DateTimeUtc, (i) => DateTime.makeUnsafe(1.7e12 + i)),
  "lists of numbers": kind(Schema.Array(Schema.Number), (i) => [i, i + 1, i / 3]),
  "lists of structs": kind(Schema.Array(Line), (i) => [
    { sku: `a${i}`, count: i },
    { sku: "b", count: 2 }
  ]),
  records: kind(Schema.Record(Schema.String, Schema.Int), (i) => ({ a: i, b: 2 })),
  "tagged unions": kind(Shape, (i) =>
    Shape.make(i % 2 === 0 ? { _tag: "Circle", radius: i } : { _tag: "Named", name: `n${i}` })
  ),
  bytes: kind(Schema.Uint8Array, (i) => new Uint8Array([i, 2, 3, 4, 5, 6, 7, 8])),
  bigint: kind(Schema.BigInt, (i) => BigInt(i) * 10n ** 20n),
  Json: kind(Schema.Json, (i) => ({ a: [1, 2, { b: `x${i}` }] }))
}

const names = Object.keys(kinds) as ReadonlyArray<keyof typeof kinds>
const operations = ["get", "replace", "update", "list, each"] as const
type Operation = (typeof operations)[number]

const documents = 500
const page = 50

/** An operation on documents of a kind, so many times. */
export const runs = Effect.fnUntraced(function* (name: keyof typeof kinds) {
  const { type, value } = kinds[name]
  const { store } = yield* MemoryStore.make()
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const schema = Schema.Struct({ id: Schema.String, a: type, b: type, c: type, d: type, e: type })
  const definition = Resource.define("things", { schema, primaryKey: "id" })
  const things = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
  const idOf = (i: number) => `thing-${i % documents}`
  const documentOf = (i: number, seed: number) => ({
    id: idOf(i),
    a: value(seed),
    b: value(seed + 1),
    c: value(seed + 2),
    d: value(seed + 3),
    e: value(seed + 4)
  })
  for (let i = 0; i < documents; i++) yield* things.insert(documentOf(i, i))
  const others = Array.from({ length: documents }, (_, i) => documentOf(i, i + 1))
  const done: Readonly<Record<Operation, (i: number) => Effect.Effect<unknown, unknown>>> = {
    get: (i) => things.get(idOf(i)),
    replace: (i) => things.replace(others[i % documents]!),
    update: (i) => things.update(idOf(i), { c: value(i) }),
    "list, each": () => things.list({ limit: page })
  }
  return (operation: Operation, times: number): Promise<void> =>
    Effect.runPromise(
      Effect.gen(function* () {
        const count = operation === "list, each" ? Math.ceil(times / page) : times
        for (let i = 0; i < count; i++) yield* done[operation](i)
      }).pipe(Effect.orDie)
    )
})

type Runs = typeof runs

const runsOf = async (folder: string): Promise<Runs> => {
  const file = pathToFileURL(resolve(folder, "test/benchmark/kinds.bench.ts")).href
  return ((await import(file)) as { readonly runs: Runs }).runs
}

export const report = () =>
  Effect.gen(function* () {
    const folder = optionOf("before")
    const before = folder === undefined ? undefined : yield* Effect.promise(() => runsOf(folder))
    const cases: Array<(operation: Operation) => Case> = []
    for (const name of names) {
      for (const [label, make] of [[name, runs] as const, [`${name}, before`, before] as const]) {
        if (make === undefined) continue
        const run = yield* make(name)
        cases.push((operation) => ({ name: label, baseline: names[0], run: (times) => run(operation, times) }))
      }
    }
    const results = yield* Effect.forEach(operations, (operation) =>
      Effect.promise(() =>
        measure(
          cases.map((make) => make(operation)),
          { milliseconds: 60 },
          5
        )
      ).pipe(Effect.map((measured) => measured.map((one) => ({ ...one, operation }))))
    )
    const of = (operation: number, name: string) => results[operation]!.find((one) => one.name === name)
    const rows = names.map((name) => [
      name,
      ...operations.flatMap((_, at) => {
        const [mine, earlier] = [of(at, name), of(at, `${name}, before`)]
        return [
          digits(mine?.cpu.median ?? Number.NaN),
          digits(mine?.cpuRatio ?? Number.NaN),
          ...(before === undefined ? [] : [digits((earlier?.cpu.median ?? Number.NaN) / (mine?.cpu.median ?? 1))])
        ]
      })
    ])
    const columns = [
      "five fields of",
      ...operations.flatMap((name) => [name, "ratio", ...(before === undefined ? [] : ["before to now"])])
    ]
    const title = `Microseconds of the processor, median of 5 rounds, and the ratio to ${names[0]}`
    return { results: results.flat(), tables: [{ title, columns, rows }] }
  }).pipe(Effect.scoped, Effect.runPromise)
