/**
 * A year of orders in one folder: what a scan and an aggregation cost, document by document and by segments, and that they see what was
 * written since.
 *
 * npm run example -- docs/examples/scans.ts
 *
 * Prints:
 * by documents: 2 LIST, 2000 GET, total of DE 666000
 * compacted: 2000 documents in 2 segments
 * by segments: 3 LIST, 3 GET, total of DE 666000
 * large orders: 10, 3 LIST, 4 GET
 * a scan: 2000 documents, 3 LIST, 3 GET
 * after two more writes: 2000 documents, 3 LIST, 4 GET, total of DE 667000
 * without segments: total of DE 667000
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Segments from "effect-s3db/plugins/Segments"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

class Orders extends Resource.Service<Orders>()("shop/orders", {
  schema: Schema.Struct({ id: Schema.String, country: Schema.String, amount: Schema.Number }),
  primaryKey: "id"
}) {}

const program = Effect.fn("program")(function* (folder: string) {
  const { counter, store } = InstrumentedStore.make(yield* FileStore.make({ path: folder, durability: "none" }))
  const Shop = Orders.layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(Layer.succeed(ObjectStore)(store)))
  // Programs that only read say the same. Without `compact: false` a layer compacts every 5 minutes.
  const Fast = Segments.layer({ resources: [Orders], documentsPerSegment: 1000, compact: false })

  /** What it gives, and its requests. */
  const counted = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
    yield* counter.reset
    const value = yield* effect
    const { get, list } = yield* counter.counts
    return { value, requests: `${list} LIST, ${get} GET` }
  })

  yield* Effect.gen(function* () {
    const orders = yield* Orders
    const total = Effect.map(
      orders.aggregate({ groupBy: ["country"], values: { total: { sum: "amount" } } }, { scan: true }),
      ([de]) => `total of DE ${de?.values["total"]}`
    )
    yield* orders.insertMany(
      Array.from({ length: 2000 }, (_, i) => ({
        id: `order-${String(i).padStart(5, "0")}`,
        country: ["DE", "FR", "IT"][i % 3] ?? "",
        amount: i - (i % 2)
      })),
      { concurrency: 16 }
    )
    const plain = yield* counted(total)
    yield* Console.log(`by documents: ${plain.requests}, ${plain.value}`)

    yield* Effect.gen(function* () {
      const segments = yield* Segments.Segments
      const [report] = yield* segments.compactNow()
      yield* Console.log(`compacted: ${report?.keys} documents in ${report?.packs} segments`)

      const fast = yield* counted(total)
      yield* Console.log(`by segments: ${fast.requests}, ${fast.value}`)
      // Of the first segment it is known that it has none.
      const large = yield* counted(orders.count({ where: { amount: { gte: 1990 } }, scan: true }))
      yield* Console.log(`large orders: ${large.value}, ${large.requests}`)
      const scan = yield* counted(Stream.runCount(orders.scan()))
      yield* Console.log(`a scan: ${scan.value} documents, ${scan.requests}`)

      yield* orders.delete("order-00001")
      yield* orders.insert({ id: "order-00000b", country: "DE", amount: 1000 })
      const after = yield* counted(Stream.runCount(orders.scan()))
      yield* Console.log(`after two more writes: ${after.value} documents, ${after.requests}, ${yield* total}`)
    }).pipe(Effect.provide(Fast))

    yield* Console.log(`without segments: ${yield* total}`)
  }).pipe(Effect.provide(Shop))
})

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-scans-"))
await Effect.runPromise(
  Effect.ensuring(
    Effect.scoped(program(folder)),
    Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
)
