/**
 * Two processes of a shop on one folder, each with a cache: what one of them has read costs it nothing, and what the other one writes
 * is seen.
 *
 * npm run example -- docs/examples/caching.ts
 *
 * Prints:
 * warmed: 4 reads
 * product 7 for 10, then 0 requests
 * the page of 3 again: 0 requests
 * the other process asks how things stand, and at no document: 1 request
 * the other process sets a price of 12
 * product 7 for 12
 * products in the partition of tea are still known: 0 requests
 * hits 5, misses 5
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"

const Product = Schema.Struct({ id: Schema.String, kind: Schema.String, price: Schema.Int })

class Products extends Resource.Service<Products>()("shop/products", {
  schema: Product,
  primaryKey: "id",
  partitions: { byKind: ["kind"] }
}) {}

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-caching-"))

/** A process: `staleness: 0` has each read ask for the generations, so that it sees all that others have written. */
const processOf = Effect.fnUntraced(function* (staleness: "0 seconds" | "1 hour") {
  const live = Products.layer.pipe(
    Layer.provideMerge(
      Cache.layer({ staleness, tiers: [Cache.memory(), Cache.folder(join(folder, "cache"))], timeToLive: "1 hour" })
    ),
    Layer.provide(Database.layer),
    Layer.provideMerge(InstrumentedStore.layer),
    Layer.provide(FileStore.layer({ path: join(folder, "data"), durability: "none" }))
  )
  const context = yield* Layer.build(Layer.fresh(live))
  const counter = Context.get(context, InstrumentedStore.RequestCounter)
  const requestsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      yield* counter.reset
      yield* effect
      return Object.values(yield* counter.counts).reduce((sum, one) => sum + one, 0)
    })
  return { cache: Context.get(context, Cache.Cache), products: Context.get(context, Products), requestsOf }
})

const program = Effect.gen(function* () {
  const shop = yield* processOf("1 hour")
  const { cache, products, requestsOf } = shop
  for (let i = 1; i <= 9; i++) yield* products.insert({ id: `${i}`, kind: i < 6 ? "tea" : "pots", price: 3 + i })

  const teas = products.count({ partition: "byKind", values: { kind: "tea" } })
  const { done } = yield* cache.warm([products.get("7"), products.get("8"), products.list({ limit: 3 }), teas])
  yield* Console.log(`warmed: ${done} reads`)
  const { price } = yield* products.get("7")
  yield* Console.log(`product 7 for ${price}, then ${yield* requestsOf(products.get("7"))} requests`)
  yield* Console.log(`the page of 3 again: ${yield* requestsOf(products.list({ limit: 3 }))} requests`)

  const other = yield* processOf("0 seconds")
  const asked = yield* other.requestsOf(other.products.get("7"))
  yield* Console.log(`the other process asks how things stand, and at no document: ${asked} request`)
  yield* Console.log("the other process sets a price of 12")
  yield* other.products.patch("7", { price: 12 })

  // Where there is no way to be told, one can ask for something as it is now.
  yield* Cache.refresh(products.get("7"))
  yield* Console.log(`product 7 for ${(yield* products.get("7")).price}`)
  yield* Console.log(`products in the partition of tea are still known: ${yield* requestsOf(teas)} requests`)
  const { total } = yield* cache.statistics
  yield* Console.log(`hits ${total.hits}, misses ${total.misses}`)
})

await Effect.runPromise(
  Effect.scoped(program).pipe(Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true, force: true }))))
)
