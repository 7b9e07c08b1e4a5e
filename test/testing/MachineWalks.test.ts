/** The kit for one's own machines: those of the guide pass, and broken ones are caught by a shortest walk. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as MachineWalks from "effect-s3db/testing/MachineWalks"

const Door = StateMachine.make("door", {
  context: Schema.Struct({ opened: Schema.Int }),
  events: { Open: { by: Schema.String }, Close: {}, Lock: {} }
})
  .states({
    closed: {
      on: {
        Open: {
          target: "open",
          guard: ({ event }) => (event.by === "Eve" ? Effect.fail("not you" as const) : Effect.void),
          update: ({ context }) => ({ opened: context.opened + 1 })
        },
        Lock: "locked"
      }
    },
    open: { on: { Close: "closed" } },
    locked: { final: true }
  })
  .initial("closed")

type DoorMoment = MachineWalks.Moment<
  "closed" | "open" | "locked",
  { readonly _tag: string },
  { readonly opened: number }
>

const doorModel = ({ context, event, state }: DoorMoment) => {
  if (state === "closed" && event._tag === "Lock") return { state: "locked" as const, context }
  if (state === "open" && event._tag === "Close") return { state: "closed" as const, context }
  const isOpened = state === "closed" && event._tag === "Open" && !("by" in event && event.by === "Eve")
  return isOpened ? { state: "open" as const, context: { opened: context.opened + 1 } } : undefined
}

const Lamp = StateMachine.make("lamp", { context: Schema.Struct({}), events: { Press: {}, Break: {} } })
  .states({
    off: { on: { Press: "on" } },
    on: { on: { Press: "off", Break: "broken" } },
    broken: { on: { Press: {} } },
    thrownAway: { final: true }
  })
  .initial("off")

/** The life of an order, as the example has it, with a mistake if it is told so. */
const orderWith = (mistake?: "free" | "forever" | "lost") =>
  StateMachine.make("order", {
    context: Schema.Struct({ total: Schema.Int, paid: Schema.Int }),
    events: { Pay: { amount: Schema.Int }, Remind: {}, Expire: {}, Cancel: {}, Ship: {} }
  })
    .states({
      waiting: {
        on: {
          Pay: {
            target: mistake === "lost" ? "cancelled" : "paid",
            guard: ({ context, event }) =>
              event.amount < context.total - (mistake === "free" ? 1 : 0)
                ? Effect.fail({ missing: context.total - event.amount })
                : Effect.void,
            update: ({ context, event }) => ({ ...context, paid: event.amount })
          },
          Remind: {},
          Expire: mistake === "forever" ? "waiting" : "expired",
          Cancel: "cancelled"
        },
        triggers: [
          { after: "1 hour", send: "Remind" },
          { after: "2 days", send: "Expire" }
        ]
      },
      paid: { on: { Ship: "shipped", Cancel: "cancelled" } },
      shipped: { final: true },
      expired: { final: true },
      cancelled: { final: true }
    })
    .initial("waiting")

const orders = {
  contexts: [{ total: 30, paid: 0 }],
  events: [{ _tag: "Pay", amount: 29 }, { _tag: "Pay", amount: 30 }, { _tag: "Ship" }],
  longest: "3 days",
  steps: 8,
  seed: 1
} as const

describe("MachineWalks", () => {
  it.effect("walks machines that are what they should be, and comes to all states", () =>
    Effect.gen(function* () {
      const events = [
        { _tag: "Open", by: "Ada" },
        { _tag: "Open", by: "Eve" }
      ] as const
      const door = yield* MachineWalks.check(Door, {
        contexts: [{ opened: 0 }],
        events,
        model: doorModel,
        runs: 8,
        steps: 10,
        seed: 1
      })
      assert.deepStrictEqual(door, { _tag: "Passed", walks: 8, missed: [] }, MachineWalks.describe(door))
      const lamp = yield* MachineWalks.check(Lamp, {
        events: [{ _tag: "Press" }, { _tag: "Break" }],
        runs: 8,
        steps: 8,
        seed: 3
      })
      assert.deepStrictEqual(lamp, { _tag: "Passed", walks: 8, missed: [] }, MachineWalks.describe(lamp))
      const order = yield* MachineWalks.check(orderWith(), {
        ...orders,
        always: ({ context, state }) => state !== "shipped" || context.paid >= context.total,
        runs: 12
      })
      assert.deepStrictEqual(order, { _tag: "Passed", walks: 12, missed: [] }, MachineWalks.describe(order))
    })
  )

  it.effect("finds a guard that lets too much pass, by the shortest walk", () =>
    Effect.gen(function* () {
      const found = yield* MachineWalks.check(orderWith("free"), {
        ...orders,
        always: ({ context, state }) =>
          state !== "shipped" || context.paid >= context.total || `shipped for ${context.paid} of ${context.total}`
      })
      if (found._tag !== "Failed") return assert.fail(MachineWalks.describe(found))
      const sent = found.walk.steps.map((step) => ("event" in step ? step.event : step._tag))
      assert.deepStrictEqual(sent, [{ _tag: "Pay", amount: 29 }, { _tag: "Ship" }])
      assert.strictEqual(found.problem, "shipped for 29 of 30")
      assert.include(MachineWalks.describe(found), 'send {"_tag":"Pay","amount":29}')
    })
  )

  it.effect("finds what leads elsewhere than the model says, also by a trigger", () =>
    Effect.gen(function* () {
      const model = ({
        context,
        event,
        state
      }: MachineWalks.Moment<string, { readonly _tag: string }, { readonly total: number }>) => {
        const ends = ["shipped", "expired", "cancelled"] as const
        if (ends.some((end) => end === state)) return undefined
        if (event._tag === "Cancel") return { state: "cancelled" as const }
        if (state === "paid") return event._tag === "Ship" ? { state: "shipped" as const } : undefined
        if (event._tag === "Expire") return { state: "expired" as const }
        if (event._tag === "Remind") return { state: "waiting" as const }
        const isEnough = "amount" in event && Number(event.amount) >= context.total
        return event._tag === "Pay" && isEnough ? { state: "paid" as const } : undefined
      }
      const right = yield* MachineWalks.check(orderWith(), { ...orders, model, runs: 5 })
      assert.strictEqual(right._tag, "Passed", MachineWalks.describe(right))
      const lost = yield* MachineWalks.check(orderWith("lost"), { ...orders, model })
      if (lost._tag !== "Failed") return assert.fail(MachineWalks.describe(lost))
      assert.strictEqual(lost.walk.steps.length, 1)
      assert.include(lost.problem, 'leads to "cancelled", and should lead to "paid"')
      const forever = yield* MachineWalks.check(orderWith("forever"), { ...orders, model, runs: 100 })
      if (forever._tag !== "Failed") return assert.fail(MachineWalks.describe(forever))
      assert.strictEqual(forever.walk.steps.length, 1)
      assert.include(forever.problem, 'leads to "waiting", and should lead to "expired"')
    })
  )

  it.effect("finds a context that its schema cannot have, and a state that nobody comes to", () =>
    Effect.gen(function* () {
      const machine = StateMachine.make("stairs", {
        context: Schema.Struct({ n: Schema.Int }),
        events: { Up: {}, Leave: {} }
      })
        .states({
          inside: {
            on: {
              Up: { update: ({ context }) => ({ n: context.n + 1 }) },
              Leave: { target: "outside", guard: ({ context }) => (context.n > 1000 ? Effect.void : Effect.fail("no")) }
            }
          },
          outside: { final: true }
        })
        .initial("inside")
      const passed = yield* MachineWalks.check(machine, { contexts: [{ n: 0 }], runs: 5, steps: 6, seed: 1 })
      assert.deepStrictEqual(passed, { _tag: "Passed", walks: 5, missed: ["outside"] })
      const found = yield* MachineWalks.check(machine, {
        contexts: [{ n: 0 }],
        seed: 1,
        always: ({ context }) => context.n < 3
      })
      if (found._tag !== "Failed") return assert.fail(MachineWalks.describe(found))
      assert.strictEqual(found.walk.steps.length, 3)
    })
  )

  it.effect("shows the walk to what throws", () =>
    Effect.gen(function* () {
      const throws = () => {
        throw new Error("boom")
      }
      const context = Schema.Struct({})
      const options = { contexts: [{}], runs: 20, seed: 1 }
      const updating = StateMachine.make("fuse", { context, events: { Light: {}, Wait: {} } })
        .states({ whole: { on: { Light: { update: throws }, Wait: {} } } })
        .initial("whole")
      const guarding = StateMachine.make("fuse", { context, events: { Light: {}, Wait: {} } })
        .states({ whole: { on: { Light: { guard: () => Effect.die(new Error("boom")) }, Wait: {} } } })
        .initial("whole")
      for (const found of [
        yield* MachineWalks.check(updating, options),
        yield* MachineWalks.check(guarding, options)
      ]) {
        if (found._tag !== "Failed") return assert.fail(MachineWalks.describe(found))
        assert.match(found.problem, /boom/)
        assert.deepStrictEqual(found.walk.steps, [{ _tag: "Send", event: { _tag: "Light" } }])
      }
    })
  )

  it.effect("gives guards the services that they need", () =>
    Effect.gen(function* () {
      class Rights extends Context.Service<Rights, { readonly may: boolean }>()(
        "effect-s3db/test/testing/MachineWalks.test/Rights"
      ) {}
      const machine = StateMachine.make("gate", { context: Schema.Struct({}), events: { Pass: {} } })
        .states({
          shut: {
            on: {
              Pass: {
                target: "passed",
                guard: () => Effect.flatMap(Rights, ({ may }) => (may ? Effect.void : Effect.fail("no right")))
              }
            }
          },
          passed: { final: true }
        })
        .initial("shut")
      const checked = MachineWalks.check(machine, { runs: 4, steps: 4, seed: 1 })
      const may = yield* Effect.provideService(checked, Rights, { may: true })
      const mayNot = yield* Effect.provideService(checked, Rights, { may: false })
      assert.deepStrictEqual(
        [may, mayNot],
        [
          { _tag: "Passed", walks: 4, missed: [] },
          { _tag: "Passed", walks: 4, missed: ["passed"] }
        ]
      )
    })
  )
})
