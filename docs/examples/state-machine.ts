/**
 * An order's life: it waits for its payment, is reminded of it, and expires without; it is charged and packed by an action, and is cancelled
 * where charging fails. A bank and a warehouse tell what they do by documents of their own.
 *
 * npm run example -- docs/examples/state-machine.ts
 *
 * Prints:
 * A-1 is in waiting, takes Cancel, Expire, Pay, Remind
 * charged 30 for A-1, at attempt 2
 * A-1 shipped after Pay, Ship
 * charging A-2 failed for good
 * A-2 cancelled
 * mail to A-3: pay, please
 * A-3 expired after Remind, Expire
 * in final states: shipped 1, expired 1, cancelled 1
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Journaler from "effect-s3db/plugins/Journaler"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

class Declined extends Schema.TaggedError<Declined>()("Declined", { isPassing: Schema.Boolean }) {}

class Transfers extends Resource.Service<Transfers>()("shop/transfers", {
  schema: Schema.Struct({ id: Schema.String, order: Schema.String, amount: Schema.Int }),
  primaryKey: "id",
  journal: { images: "after" }
}) {}

class Parcels extends Resource.Service<Parcels>()("shop/parcels", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id",
  journal: true
}) {}

const Life = StateMachine.make("order", {
  context: Schema.Struct({
    total: Schema.Int,
    remindAt: Schema.DateTimeUtc,
    payUntil: Schema.DateTimeUtc
  }),
  events: { Pay: { amount: Schema.Int }, Remind: {}, Expire: {}, Cancel: {}, Ship: {} }
})
  .states({
    waiting: {
      on: {
        Pay: {
          target: "paid",
          guard: ({ context, event }) =>
            event.amount < context.total ? Effect.fail({ missing: context.total - event.amount }) : Effect.void
        },
        // It stays where it is, and its triggers go on.
        Remind: { do: "remind" },
        Expire: "expired",
        Cancel: "cancelled"
      },
      triggers: [
        { at: ({ remindAt }) => remindAt, send: "Remind" },
        { at: ({ payUntil }) => payUntil, send: "Expire" }
      ]
    },
    paid: { entry: "charge", on: { Ship: "shipped", Cancel: "cancelled" } },
    shipped: { final: true, color: "#dcfce7" },
    expired: { final: true },
    cancelled: { final: true, color: "#fee2e2" }
  })
  .actions({
    remind: { run: ({ id }) => Console.log(`mail to ${id}: pay, please`) },
    charge: {
      // An action may run again after a crash. A bank takes the idempotency key; what is written here is the same each time.
      run: ({ attempt, context, id }) =>
        Effect.gen(function* () {
          if (id === "A-2") return yield* new Declined({ isPassing: false })
          if (attempt === 1) return yield* new Declined({ isPassing: true })
          yield* Console.log(`charged ${context.total} for ${id}, at attempt ${attempt}`)
          yield* (yield* Parcels).replace({ id })
        }),
      retry: {
        attempts: 5,
        pause: "100 millis",
        isRetryable: (error) => !(error instanceof Declined) || error.isPassing
      },
      onFailure: ({ id }) => Effect.as(Console.log(`charging ${id} failed for good`), "Cancel" as const)
    }
  })
  .initial("waiting")

class Orders extends Resource.Service<Orders>()("shop/orders", {
  schema: Schema.Struct({ id: Schema.String, customer: Schema.String, life: StateMachine.Stored }),
  primaryKey: "id",
  journal: { images: "both" }
}) {}

/** So that the example does not take minutes. */
const soon = { firstPause: "50 millis", longestPause: "200 millis" } as const

class OrderLife extends StateMachine.Service<OrderLife>()("shop/OrderLife", {
  machine: Life,
  resource: Orders,
  field: "life",
  statistics: true,
  interval: "200 millis",
  consuming: soon,
  changes: [
    StateMachine.onChange(Transfers, "paid", ({ after }) =>
      after === undefined ? [] : [{ id: after.order, event: { _tag: "Pay", amount: after.amount } as const }]
    ),
    StateMachine.onChange(Parcels, "packed", ({ id }) => [{ id, event: "Ship" as const }])
  ]
}) {}

const App = (folder: string) =>
  OrderLife.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Orders.layer, Transfers.layer, Parcels.layer, Journaler.layerWith(soon))),
    Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
    Layer.provide(ConnectionString.layer(`file://${folder}`))
  )

const shop = Effect.gen(function* () {
  const life = yield* OrderLife
  const orders = yield* Orders
  const transfers = yield* Transfers

  const order = Effect.fn("order")(function* (id: string, patience: "1 second" | "1 day") {
    const now = yield* DateTime.now
    const payUntil = DateTime.add(now, patience === "1 second" ? { seconds: 1 } : { days: 1 })
    const begun = yield* life.initial({ total: 30, remindAt: patience === "1 second" ? now : payUntil, payUntil })
    yield* orders.insert({ id, customer: "ada", life: begun })
    return yield* life.get(id)
  })
  const ended = (id: string) =>
    life.waitFor(id, ["shipped", "expired", "cancelled"], { longestPause: soon.longestPause })
  const wayOf = (id: string) =>
    Effect.map(Stream.runCollect(life.history(id)), (past) => past.toReversed().flatMap(({ event }) => event ?? []))

  const { events, id, state } = yield* order("A-1", "1 day")
  yield* Console.log(`${id} is in ${state}, takes ${events.join(", ")}`)
  yield* transfers.insert({ id: "too little", order: "A-1", amount: 3 })
  yield* transfers.insert({ id: "enough", order: "A-1", amount: 30 })
  yield* Console.log(`A-1 ${(yield* ended("A-1")).state} after ${(yield* wayOf("A-1")).join(", ")}`)

  yield* order("A-2", "1 day")
  // Whoever does not hear an answer sends it again under the same key: it counts once.
  yield* Effect.repeat(life.send("A-2", { _tag: "Pay", amount: 30 }, { key: "till 7, 4711" }), { times: 1 })
  yield* Console.log(`A-2 ${(yield* ended("A-2")).state}`)

  yield* order("A-3", "1 second")
  const { state: last } = yield* ended("A-3")
  yield* life.caughtUp
  yield* Console.log(`A-3 ${last} after ${(yield* wayOf("A-3")).join(", ")}`)

  const { cancelled, expired, shipped } = yield* life.statistics
  yield* Console.log(
    `in final states: shipped ${shipped.count}, expired ${expired.count}, cancelled ${cancelled.count}`
  )
})

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-state-machine-"))
const program = Effect.ensuring(
  Effect.provide(shop, App(folder)),
  Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)
await Effect.runPromise(program)
