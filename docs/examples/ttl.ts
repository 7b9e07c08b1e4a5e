/**
 * A shop in one folder: reservations that are not paid in time give their seat back, sessions end, and old orders go to an archive.
 * Two processes have the same policies; what is due is done once.
 *
 * npm run example -- docs/examples/ttl.ts
 *
 * Prints:
 * a dry run: reservations 2, sessions 1, orders 1
 * seat 7 is free again
 * reservations left: paid
 * sessions that readers see: 1
 * old orders: A-1 of 2020
 * the plugin: running, up, 4 were due
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

class Reservation extends Schema.Class<Reservation>("shop/Reservation")({
  id: Schema.String,
  seat: Schema.Int,
  isPaid: Schema.Boolean,
  until: Schema.DateTimeUtc
}) {}

class Reservations extends Resource.Service<Reservations>()("shop/reservations", {
  schema: Reservation,
  primaryKey: "id"
}) {}

class Sessions extends Resource.Service<Sessions>()("shop/sessions", {
  schema: Schema.Struct({ id: Schema.String, endsAt: Schema.DateTimeUtc }),
  primaryKey: "id"
}) {}

const Order = Schema.Struct({ id: Schema.String, orderedAt: Schema.DateTimeUtc })

class Orders extends Resource.Service<Orders>()("shop/orders", { schema: Order, primaryKey: "id" }) {}
class OldOrders extends Resource.Service<OldOrders>()("shop/old-orders", { schema: Order, primaryKey: "id" }) {}

const policies = [
  Ttl.policy(Reservations, {
    at: "until",
    onExpire: Ttl.callback(({ document: { value } }: Ttl.Expired<Reservation>) =>
      value.isPaid
        ? Effect.succeed("keep" as const)
        : Effect.as(Console.log(`seat ${value.seat} is free again`), "delete" as const)
    )
  }),
  Ttl.policy(Sessions, { at: "endsAt", hide: true }),
  Ttl.policy(Orders, {
    after: "1000 days",
    since: "orderedAt",
    onExpire: Ttl.archive(OldOrders, ({ document }: Ttl.Expired<typeof Order.Type>) => document.value)
  })
]

/** What each process of the shop runs. */
const processOf = (folder: string) =>
  Ttl.layer({ policies, sweep: false }).pipe(
    Layer.provideMerge(Layer.mergeAll(Reservations.layer, Sessions.layer, Orders.layer, OldOrders.layer)),
    Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
    Layer.provide(ConnectionString.layer(`file://${folder}`)),
    Layer.fresh
  )

const at = (text: string) => DateTime.makeUnsafe(text)
const past = at("2020-05-01T00:00:00Z")
const future = at("2999-01-01T00:00:00Z")

const shop = Effect.fn("shop")(function* (folder: string) {
  const one = yield* Layer.build(processOf(folder))
  const two = yield* Layer.build(processOf(folder))
  const reservations = Context.get(one, Reservations)
  const sessions = Context.get(one, Sessions)

  yield* reservations.insert({ id: "paid", seat: 3, isPaid: true, until: past })
  yield* reservations.insert({ id: "open", seat: 7, isPaid: false, until: past })
  yield* sessions.insert({ id: "over", endsAt: past })
  yield* sessions.insert({ id: "going on", endsAt: future })
  yield* Context.get(one, Orders).insert({ id: "A-1", orderedAt: past })

  const would = yield* Context.get(one, Ttl.Ttl).runNow({ dryRun: true })
  yield* Console.log(`a dry run: ${would.map(({ due, resource }) => `${resource} ${due}`).join(", ")}`)

  // A layer does so every minute, in one process at a time, unless it has `sweep: false`.
  yield* Context.get(one, Ttl.Ttl).runNow()
  yield* Context.get(two, Ttl.Ttl).runNow({ resource: "orders" })

  const left = yield* Stream.runCollect(reservations.listIds())
  yield* Console.log(`reservations left: ${[...left].join(", ")}`)
  yield* Console.log(`sessions that readers see: ${yield* sessions.count()}`)
  const old = yield* Stream.runCollect(Context.get(two, OldOrders).scan())
  yield* Console.log(
    `old orders: ${[...old].map(({ id, orderedAt }) => `${id} of ${DateTime.getPartUtc(orderedAt, "year")}`).join(", ")}`
  )

  const [status] = yield* Effect.provide(Plugin.statuses, one)
  yield* Console.log(`the plugin: ${status?.state}, ${status?.health.level}, ${status?.counters["due"]} were due`)
})

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-ttl-"))
const program = Effect.ensuring(
  Effect.scoped(shop(folder)),
  Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)
await Effect.runPromise(program)
