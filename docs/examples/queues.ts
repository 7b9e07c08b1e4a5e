/**
 * A shop writes orders and messages about them in one transaction; a worker in another process sends invoices.
 *
 * npm run example -- docs/examples/queues.ts
 *
 * Prints:
 * order 1: invoice sent, attempt 2
 * order 2: no such customer
 * 3 offered, 2 done, 1 dead letter
 * after redriving: order 2: invoice sent, attempt 1
 * after removing: 0 offered
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

class Order extends Schema.Class<Order>("Order")({ id: Schema.String, customer: Schema.String }) {}

class Orders extends Resource.Service<Orders>()("shop/orders", { schema: Order, primaryKey: "id" }) {}

class Invoices extends S3Queue.Service<Invoices>()("shop/invoices", {
  payload: Schema.Struct({ order: Schema.String, customer: Schema.String }),
  transactions: true,
  retryDelay: () => "100 millis",
  pollInterval: "100 millis",
  maxPollInterval: "1 second"
}) {}

/** What each process of the shop has: its own database, on the same folder. */
const processOn = (folder: string) =>
  Layer.mergeAll(Orders.layer, Invoices.layer).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provide(ConnectionString.layer(`file://${folder}`)),
    Layer.fresh
  )

/** An order and the message about it are both there, or neither. */
const order = Effect.fn("order")(function* (id: string, customer: string) {
  const database = yield* Database.Database
  const orders = yield* Orders
  const invoices = yield* Invoices
  yield* database.transaction(
    Effect.gen(function* () {
      yield* orders.insert({ id, customer })
      yield* invoices.offer({ order: id, customer }, { id: `invoice-${id}`, group: customer })
    })
  )
})

/** Waits until so many messages are done. */
const done = Effect.fn("done")(function* (count: number) {
  const invoices = yield* Invoices
  for (;;) {
    const status = yield* invoices.status
    if (status.totals.completed + status.deadLetters >= count) return status
    yield* Effect.sleep("50 millis")
  }
})

const shop = Effect.fn("shop")(function* (folder: string) {
  const known = new Set(["Ada", "Grace"])
  const sent = new Map<string, string>()
  const Worker = S3Queue.layerWorker(Invoices, ({ customer, order }, { attempt }) =>
    Effect.gen(function* () {
      if (!known.has(customer)) return yield* new S3Queue.Reject({ description: "no such customer" })
      if (order === "1" && attempt === 1) return yield* Effect.fail("the printer is out of paper")
      sent.set(order, `order ${order}: invoice sent, attempt ${attempt}`)
    })
  ).pipe(Layer.provide(processOn(folder)))

  yield* Effect.gen(function* () {
    const invoices = yield* Invoices
    yield* order("1", "Ada")
    yield* order("2", "Alan")
    yield* order("3", "Grace")
    const status = yield* done(3)
    yield* Console.log(sent.get("1"))
    for (const { error } of yield* deadLettersOf(invoices)) yield* Console.log(`order 2: ${error}`)
    yield* Console.log(
      `${status.totals.offered} offered, ${status.totals.completed} done, ${status.deadLetters} dead letter`
    )
    known.add("Alan")
    yield* invoices.redrive()
    yield* done(3)
    while (!sent.has("2")) yield* Effect.sleep("50 millis")
    yield* Console.log(`after redriving: ${sent.get("2")}`)
    // The acknowledgement follows the handler: until then the queue is in use.
    yield* Effect.retry(invoices.remove(), {
      while: ({ _tag }) => _tag === "QueueInUse",
      schedule: Schedule.spaced("50 millis")
    })
    yield* Console.log(`after removing: ${(yield* invoices.status).totals.offered} offered`)
  }).pipe(Effect.provide(Layer.merge(Worker, processOn(folder))))
})

const deadLettersOf = ({ deadLetters }: Invoices["Service"]) => Stream.runCollect(deadLetters)

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-"))
await Effect.runPromise(shop(folder)).finally(() => rmSync(folder, { recursive: true, force: true }))
