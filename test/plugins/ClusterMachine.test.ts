/** Machines as entities of a cluster: one message is one transition, also where its runner has died. */
import { assert, describe, it } from "@effect/vitest"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import * as Database from "effect-s3db/Database"
import * as ClusterMachine from "effect-s3db/plugins/ClusterMachine"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Corrupt, StoreError } from "effect-s3db/storage/StoreError"
import { memory } from "../fixture.ts"
import { settled } from "../waiting.ts"

const Order = StateMachine.make("order", {
  context: Schema.Struct({ paid: Schema.Int, until: Schema.Date }),
  events: { Pay: { amount: Schema.Int }, Cancel: {} }
})
  .states({
    waiting: {
      on: {
        Pay: {
          guard: ({ event }) => (event.amount > 0 ? Effect.void : Effect.fail({ least: 1 })),
          update: ({ context, event }) => ({ ...context, paid: context.paid + event.amount })
        },
        Cancel: "cancelled"
      }
    },
    cancelled: { final: true }
  })
  .initial("waiting")

class Orders extends Resource.Service<Orders>()("effect-s3db/test/plugins/ClusterMachine/Orders", {
  ...StateMachine.alone(Order),
  name: "orders"
}) {}

class Flow extends StateMachine.Service<Flow>()("effect-s3db/test/plugins/ClusterMachine/Flow", {
  machine: Order,
  resource: Orders,
  field: "machine"
}) {}

const OrderEntity = ClusterMachine.entity(Order)

/** A runner on a store, until its scope is closed. */
const runnerOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const config = ShardingConfig.layer({
    shardsPerGroup: 4,
    entityMessagePollInterval: "500 millis",
    entityReplyPollInterval: "500 millis"
  })
  const cluster = Sharding.layer.pipe(
    Layer.provide([Runners.layerNoop, RunnerHealth.layerNoop]),
    Layer.provide([MessageStorage.layer, RunnerStorage.layer]),
    Layer.provide(config)
  )
  const all = ClusterMachine.layer(OrderEntity, Flow).pipe(
    Layer.provideMerge(cluster),
    Layer.provideMerge(Flow.layer),
    Layer.provideMerge(Orders.layer),
    Layer.provide(Database.layer),
    Layer.provide(Layer.succeed(ObjectStore, store))
  )
  const context = yield* driven(Layer.buildWithScope(Layer.fresh(all), scope))
  const client = yield* Effect.provideContext(OrderEntity.client, context)
  return { client, flow: Context.get(context, Flow), stop: driven(Scope.close(scope, Exit.void)) }
})

/** Lets time pass until it is done. */
const driven = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect)
  for (let i = 0; i < 400 && fiber.pollUnsafe() === undefined; i++) {
    yield* settled
    yield* TestClock.adjust("500 millis")
  }
  return yield* Fiber.join(fiber)
})

const until = new Date(Date.UTC(2026, 10, 27))

describe("ClusterMachine", () => {
  it.effect("makes one transition of each message, and tells what a machine tells", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(until.getTime())
      const store = yield* memory
      const { client, flow } = yield* runnerOn(store)
      yield* flow.start("A-1", { paid: 0, until })
      const order = client("A-1")
      const pay = order.Send({ event: { _tag: "Pay", amount: 5 }, key: "a" })
      const { context, to, version } = yield* driven(pay)
      assert.deepStrictEqual([to, version, context], ["waiting", 1, { paid: 5, until }])
      // The same message is there already.
      assert.strictEqual((yield* driven(pay)).version, 1)
      const refused = yield* driven(Effect.flip(order.Send({ event: { _tag: "Pay", amount: 0 }, key: "b" })))
      assert.deepStrictEqual(refused._tag === "Refused" ? refused.reason : refused._tag, { least: 1 })
      yield* driven(order.Send({ event: { _tag: "Cancel" }, key: "c" }))
      const invalid = yield* driven(Effect.flip(order.Send({ event: { _tag: "Cancel" }, key: "d" })))
      assert.strictEqual(invalid._tag, "InvalidEvent")
      assert.deepStrictEqual(yield* driven(order.Get()), {
        state: "cancelled",
        version: 2,
        context: { paid: 5, until },
        since: (yield* flow.get("A-1")).since,
        isFinal: true,
        events: []
      })
      const nobody = yield* driven(Effect.flip(client("nobody").Get()))
      assert.deepStrictEqual(nobody._tag === "NotDone" ? nobody.error : nobody._tag, "NotFound")
    }).pipe(Effect.scoped)
  )

  it.effect("tells who looks at a damaged document, and waits no longer", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(until.getTime())
      const store = yield* memory
      let isDamaged = false
      const corrupt = new StoreError({ operation: "get", reason: new Corrupt({ description: "damaged" }) })
      const { client, flow } = yield* runnerOn({
        ...store,
        get: (...args) =>
          isDamaged && args[0].startsWith("resource=orders/data/") ? Effect.fail(corrupt) : store.get(...args)
      })
      yield* flow.start("A-1", { paid: 0, until })
      isDamaged = true
      const looking = yield* Effect.forkChild(Effect.flip(client("A-1").Get()))
      for (let i = 0; i < 10 && looking.pollUnsafe() === undefined; i++) {
        yield* settled
        yield* TestClock.adjust("500 millis")
      }
      assert.isDefined(looking.pollUnsafe())
      const error = yield* Fiber.join(looking)
      assert.strictEqual(error._tag === "NotDone" ? error.error : error._tag, "DbError")
    }).pipe(Effect.scoped)
  )

  it.effect(
    "is seen to by another runner, once, where the one is gone that had it",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(until.getTime())
        const store = yield* memory
        let isOut = false
        let landed = 0
        // The transition lands, and the process is gone before it hears of it.
        const gone = <A, E>(request: Effect.Effect<A, E>): Effect.Effect<A, E> =>
          Effect.suspend(() => (landed > 0 ? Effect.die("gone") : request))
        const lossy: ObjectStore["Service"] = {
          ...store,
          put: (request) =>
            gone(
              isOut && request.key.startsWith("resource=orders/data/")
                ? Effect.flatMap(store.put(request), () => {
                    landed += 1
                    return Effect.die("gone")
                  })
                : store.put(request)
            ),
          get: (...args) => gone(store.get(...args)),
          head: (key) => gone(store.head(key)),
          list: (request) => gone(store.list(request)),
          delete: (...args) => gone(store.delete(...args)),
          deleteMany: (...args) => gone(store.deleteMany(...args))
        }
        const first = yield* runnerOn(lossy)
        yield* first.flow.start("A-1", { paid: 0, until })
        isOut = true
        const sending = yield* Effect.forkChild(
          Effect.exit(first.client("A-1").Send({ event: { _tag: "Pay", amount: 5 }, key: "a" }))
        )
        for (let i = 0; i < 6; i++) {
          yield* settled
          yield* TestClock.adjust("500 millis")
        }
        yield* Fiber.interrupt(sending)
        yield* Effect.exit(first.stop)
        assert.strictEqual(landed, 1)
        const second = yield* runnerOn(store)
        const { version } = yield* driven(second.client("A-1").Send({ event: { _tag: "Pay", amount: 5 }, key: "a" }))
        assert.strictEqual(version, 1)
        assert.strictEqual((yield* second.flow.get("A-1")).context.paid, 5)
        const past = yield* Stream.runCollect(second.flow.history("A-1"))
        assert.deepStrictEqual(
          past.map(({ event }) => event),
          ["Pay", undefined]
        )
      }).pipe(Effect.scoped),
    20_000
  )
})
