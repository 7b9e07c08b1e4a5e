/** One run of the benchmark `streaming`: node --expose-gc streamingProcess.ts <documents>; prints its phases as JSON. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Export from "effect-s3db/Export"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

/** What one phase has come to. */
export interface Phase {
  readonly name: string
  readonly documents: number
  /** Bytes of the heap in use after collections, at most. */
  readonly heap: number
  readonly perSecond: number
  readonly requests: Readonly<Record<string, number>>
}

const Event = Schema.Struct({
  id: Schema.String,
  kind: Schema.Literals(["click", "view", "buy"]),
  user: Schema.String,
  at: Schema.Date,
  amount: Schema.Number,
  path: Schema.String,
  agent: Schema.String
})

const kinds = ["click", "view", "buy"] as const

const event = (i: number): typeof Event.Type => ({
  id: `event-${String(i).padStart(9, "0")}`,
  kind: kinds[i % 3]!,
  user: `user-${i % 1000}`,
  at: new Date(1_767_225_600_000 + i * 1000),
  amount: (i % 10_000) / 100,
  path: `/products/${i % 5000}/reviews?page=${i % 7}`,
  agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
})

const collect = (globalThis as { readonly gc?: () => void }).gc
const every = 5000

const definition = Resource.define("events", { schema: Event, primaryKey: "id" })
const columns = Export.columnsOf(definition)

const program = Effect.fnUntraced(function* (documents: number) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-streaming-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const { counter, store } = InstrumentedStore.make(yield* FileStore.make({ path: folder, durability: "none" }))
  const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
  const events = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
  const phases: Array<Phase> = []

  const phase = Effect.fnUntraced(function* <A, E>(
    name: string,
    run: (watch: <B, E2, R>(items: Stream.Stream<B, E2, R>) => Stream.Stream<B, E2, R>) => Effect.Effect<A, E>,
    isRight: (result: A) => boolean
  ) {
    let heap = 0
    let seen = 0
    const sample = Effect.sync(() => {
      collect!()
      heap = Math.max(heap, process.memoryUsage().heapUsed)
      process.stderr.write(`\r${documents} documents, ${name}: ${seen}   `)
    })
    const watch = <B, E2, R>(items: Stream.Stream<B, E2, R>) =>
      Stream.tap(items, () => {
        seen += 1
        return seen % every === 1 ? sample : Effect.void
      })
    yield* counter.reset
    const start = yield* Clock.currentTimeMillis
    const result = yield* run(watch)
    const millis = (yield* Clock.currentTimeMillis) - start
    process.stderr.write("\n")
    if (!isRight(result)) return yield* Effect.die(new Error(`${name} gave ${JSON.stringify(result)}`))
    const counts = Object.entries(yield* counter.counts).filter(([, count]) => count > 0)
    const perSecond = (seen / Math.max(1, millis)) * 1000
    phases.push({ name, documents, heap, perSecond, requests: Object.fromEntries(counts) })
  })

  const bytesOf = <E, R>(chunks: Stream.Stream<Uint8Array, E, R>) =>
    Stream.runFold(
      chunks,
      () => 0,
      (sum, chunk) => sum + chunk.length
    )

  yield* phase(
    "write, by a sink",
    (watch) => Stream.run(watch(Stream.map(Stream.range(1, documents), event)), Resource.sink(events)),
    ({ written, failed }) => written === documents && failed === 0
  )
  yield* phase(
    "scan",
    (watch) => Stream.runCount(watch(events.scan())),
    (count) => count === documents
  )
  yield* phase(
    "export, lines of JSON",
    (watch) => bytesOf(Export.ndjson(watch(events.queryJson({ scan: true })))),
    (bytes) => bytes > documents * 200
  )
  yield* phase(
    "export, CSV",
    (watch) => bytesOf(Export.csv(watch(events.queryJson({ scan: true })), { columns })),
    (bytes) => bytes > documents * 150
  )
  yield* phase(
    "query, by condition",
    (watch) => Stream.runCount(watch(events.query({ where: { kind: "buy" }, scan: true }))),
    (count) => count === Math.floor((documents + 1) / 3)
  )
  return phases
})

const phases = await Effect.runPromise(Effect.scoped(program(Number(process.argv[2]))))
console.log(JSON.stringify(phases))
