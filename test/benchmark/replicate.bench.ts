/**
 * Documents that come to a table of SQLite, in rows a second: a first snapshot, and what the journal has, each of a database in memory, in
 * batches of 500.
 *
 * The baseline is what the table could take at best: the same rows by one prepared upsert, 500 in a transaction, with the same settings
 * of the file, with no versions, no deletions and no documents to read.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { digits } from "./table.ts"

const rows = 10_000
const batch = 500
const rounds = 3

class Orders extends Resource.Service<Orders>()("effect-s3db/bench/Orders", {
  name: "orders",
  schema: Schema.Struct({
    id: Schema.String,
    customer: Schema.String,
    total: Schema.Int,
    isPaid: Schema.Boolean,
    address: Schema.Struct({ city: Schema.String, street: Schema.String })
  }),
  primaryKey: "id",
  journal: { images: "after" }
}) {}

const order = (i: number, version = 0) => ({
  id: `order-${i}`,
  customer: `customer-${i % 100}`,
  total: i * 7 + version,
  isPaid: i % 2 === 0,
  address: { city: `city ${i % 50}`, street: `street ${i}` }
})

const bare = (filename: string): number => {
  const database = new DatabaseSync(filename)
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  database.exec(
    "CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT, total INTEGER, paid INTEGER, city TEXT, street TEXT)"
  )
  const upsert = database.prepare(
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, total = excluded.total, paid = excluded.paid, city = excluded.city, street = excluded.street"
  )
  const begun = performance.now()
  for (let i = 0; i < rows; i += batch) {
    database.exec("BEGIN IMMEDIATE")
    for (let j = i; j < i + batch; j++) {
      const { address, customer, id, isPaid, total } = order(j)
      upsert.run(id, customer, total, isPaid ? 1 : 0, address.city, address.street)
    }
    database.exec("COMMIT")
  }
  const seconds = (performance.now() - begun) / 1000
  database.close()
  return rows / seconds
}

const make = (filename: string) =>
  Replicator.make({
    name: "bench",
    target: ReplicaSql.sqlite({ filename }),
    resources: [Replicator.resource(Orders)],
    batchSize: batch,
    firstPause: "5 millis",
    longestPause: "5 millis"
  })

/** Rows a second. */
const rate = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const begun = performance.now()
    yield* effect
    return rows / ((performance.now() - begun) / 1000)
  })

const replicated = (filename: string) =>
  Effect.gen(function* () {
    const orders = yield* Orders
    const { journal, journaled } = yield* Database.Database
    const write = (version: number) =>
      Effect.andThen(
        orders.upsertMany(
          Array.from({ length: rows }, (_, i) => order(i, version)),
          { concurrency: 100 }
        ),
        journal.catchUp(journaled, { nobodyWrites: true })
      )
    yield* write(0)
    const following = (from: string) =>
      Effect.scoped(
        Effect.gen(function* () {
          const replica = yield* make(from)
          yield* replica.caughtUp
        })
      )
    // The replica is opened anew: what it has to do is there when it begins.
    const snapshot = yield* rate(following(filename))
    yield* write(1)
    const journaledRate = yield* rate(following(filename))
    return { snapshot, journaled: journaledRate }
  }).pipe(
    Effect.provide(
      Orders.layer.pipe(Layer.provideMerge(Database.layerWith({ catalogLease: 0 })), Layer.provide(MemoryStore.layer))
    ),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )

export const report = async () => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-bench-"))
  const best = { bare: 0, snapshot: 0, journaled: 0 }
  try {
    for (let round = 0; round < rounds; round++) {
      best.bare = Math.max(best.bare, bare(join(folder, `bare-${round}.db`)))
      const { journaled, snapshot } = await Effect.runPromise(replicated(join(folder, `replica-${round}.db`)))
      best.snapshot = Math.max(best.snapshot, snapshot)
      best.journaled = Math.max(best.journaled, journaled)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const row = (name: string, perSecond: number) => [name, digits(perSecond), digits(perSecond / best.bare)]
  return {
    results: best,
    tables: [
      {
        title: `${rows.toLocaleString("en-US")} documents into a table of SQLite, the best of ${rounds} rounds`,
        columns: ["", "rows a second", "to the baseline"],
        rows: [
          row("upserts alone, 500 in a transaction", best.bare),
          row("a snapshot: listed, read, upserted by version", best.snapshot),
          row("the journal with images: read, decoded, upserted by version", best.journaled)
        ]
      }
    ]
  }
}
