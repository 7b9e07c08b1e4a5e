/** Machines: what TypeScript says of them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Database } from "effect-s3db/Database"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"

class Bank extends Context.Service<Bank, { readonly charge: (id: string) => Effect.Effect<void, "declined"> }>()(
  "effect-s3db/test/types/StateMachine.types/Bank"
) {}
class Rights extends Context.Service<Rights, { readonly allow: Effect.Effect<void, "forbidden"> }>()(
  "effect-s3db/test/types/StateMachine.types/Rights"
) {}

const shape = {
  context: Schema.Struct({ paid: Schema.Int }),
  events: { Pay: { amount: Schema.Int }, Cancel: {}, Note: { text: Schema.optionalKey(Schema.String) } }
}

const Order = StateMachine.make("order", shape)
  .states({
    open: {
      on: {
        Pay: {
          target: "paid",
          guard: ({ context, event }) => (context.paid > event.amount ? Effect.fail("too much" as const) : Effect.void),
          update: ({ context, event }) => ({ paid: context.paid + event.amount }),
          do: "charge"
        },
        Cancel: [{ guard: () => Effect.flatMap(Rights, ({ allow }) => allow), target: "cancelled" }],
        Note: {}
      },
      triggers: [{ after: "1 hour", send: "Cancel" }]
    },
    paid: { final: true },
    cancelled: { final: true }
  })
  .actions({ charge: { run: ({ id }) => Effect.flatMap(Bank, ({ charge }) => charge(id)) } })
  .initial("open")

class Orders extends Resource.Service<Orders>()("test/orders", {
  schema: Schema.Struct({ id: Schema.String, title: Schema.String, status: StateMachine.Stored }),
  primaryKey: "id"
}) {}

class OrderFlow extends StateMachine.Service<OrderFlow>()("test/OrderFlow", {
  machine: Order,
  resource: Orders,
  field: "status"
}) {}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is = <_ extends true>() => {}

type State = StateMachine.StateOf<typeof Order>
is<Same<State, "open" | "paid" | "cancelled">>()
is<Same<StateMachine.ContextOf<typeof Order>, { readonly paid: number }>>()

export const program = Effect.gen(function* () {
  const flow = yield* OrderFlow
  const moved = yield* flow.send("1", { _tag: "Pay", amount: 5 })
  is<Same<typeof moved.to, State>>()
  is<Same<typeof moved.context.paid, number>>()
  yield* flow.send("1", "Cancel")
  // What comes with it may be left out.
  yield* flow.send("1", "Note")
  yield* flow.waitFor("1", ["paid", "cancelled"])

  // @ts-expect-error: no such event
  yield* flow.send("1", "Ship")
  // @ts-expect-error: something comes with it
  yield* flow.send("1", "Pay")
  // @ts-expect-error: what comes with it is a number
  yield* flow.send("1", { _tag: "Pay", amount: "5" })
  // @ts-expect-error: no such state
  yield* flow.waitFor("1", "sent")
  // @ts-expect-error: the context has no such field
  yield* flow.start("1", { payed: 0 })
})

// Guards say with what they refuse, and that is the reason.
export const reasons = Effect.gen(function* () {
  const flow = yield* OrderFlow
  return yield* Effect.catchTag(flow.send("1", "Cancel"), "Refused", ({ reason }) => {
    is<Same<typeof reason, "too much" | "forbidden">>()
    return Effect.succeed(reason)
  })
})

// What guards and actions need, who opens it needs.
const opened = StateMachine.open({ machine: Order, resource: Orders, field: "status" })
is<Same<Effect.Services<typeof opened>, Database | Orders | Bank | Rights | Scope.Scope>>()

export const noField = () =>
  // @ts-expect-error: no field that can hold a state
  StateMachine.open({ machine: Order, resource: Orders, field: "title" })

export const untaken = () =>
  StateMachine.make("untaken", shape)
    .states({ open: { on: { Pay: "open", Cancel: "open" } } })
    // @ts-expect-error: no state takes Note
    .initial("open")

export const noTarget = () =>
  StateMachine.make("noTarget", shape)
    .states({ open: { on: { Pay: { target: "payed" }, Cancel: "open", Note: "open" } } })
    // @ts-expect-error: there is no state "payed"
    .initial("open")

export const noEvent = () =>
  StateMachine.make("noEvent", shape)
    .states({ open: { on: { Pay: "open", Cancel: "open", Note: "open", Refund: "open" } } })
    // @ts-expect-error: there is no event Refund
    .initial("open")

export const noAction = () =>
  StateMachine.make("noAction", shape)
    .states({ open: { entry: ["mail"], on: { Pay: "open", Cancel: "open", Note: "open" } } })
    .actions({ charge: { run: () => Effect.void } })
    // @ts-expect-error: there is no action "mail"
    .initial("open")

export const noBareEvent = () =>
  StateMachine.make("noBareEvent", shape)
    .states({
      open: { triggers: [{ after: "1 hour", send: "Pay" }], on: { Pay: "open", Cancel: "open", Note: "open" } }
    })
    // @ts-expect-error: something comes with Pay
    .initial("open")

export const noInitial = () =>
  StateMachine.make("noInitial", shape)
    .states({ open: { on: { Pay: "open", Cancel: "open", Note: "open" } } })
    // @ts-expect-error: no such state
    .initial("begun")

export const wrongContext = () =>
  StateMachine.make("wrongContext", shape)
    // @ts-expect-error: the context is another one
    .states({ open: { on: { Pay: { update: () => ({ payed: 1 }) }, Cancel: "open", Note: "open" } } })

const Parcel = StateMachine.make("parcel", { context: Schema.Struct({}), events: { Ship: {} } })
  .states({
    paid: { initial: "paid.packing" },
    "paid.packing": { on: { Ship: "paid.sent" } },
    "paid.sent": { final: true },
    paidBack: { final: true }
  })
  .initial("paid")

class ParcelFlow extends StateMachine.Service<ParcelFlow>()("test/ParcelFlow", {
  machine: Parcel,
  resource: Orders,
  field: "status"
}) {}

is<Same<StateMachine.InmostOf<typeof Parcel>, "paid.packing" | "paid.sent" | "paidBack">>()
is<Same<StateMachine.InmostOf<typeof Order>, State>>()

export const counted = Effect.gen(function* () {
  const flow = yield* ParcelFlow
  const counts = yield* flow.statistics
  // No entity is in a state around others.
  // @ts-expect-error: it is counted by the states inside
  const paid = counts.paid.count
  return [paid, counts["paid.sent"].count]
})
