/** Workflows of `effect/workflow` on the storage of a cluster in a database: what was done stays done when the runner is gone. */
import { assert, describe, it } from "@effect/vitest"
import * as ClusterWorkflowEngine from "effect/cluster/ClusterWorkflowEngine"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import * as Database from "effect-s3db/Database"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory } from "../fixture.ts"
import { settled } from "../waiting.ts"

const Shipping = Workflow.make("Shipping", {
  payload: { order: Schema.String },
  success: Schema.String,
  idempotencyKey: ({ order }) => order
})

const Packed = DurableDeferred.make("Packed", { success: Schema.Int })

/** What the activities have done, in all processes. */
const done: Array<string> = []
const did = (name: string) => Effect.sync(() => void done.push(name))

const ShippingLayer = Shipping.toLayer(
  Effect.fnUntraced(function* ({ order }) {
    const label = yield* Activity.make({
      name: "label",
      success: Schema.String,
      execute: Effect.as(did(`label ${order}`), `label of ${order}`)
    })
    yield* DurableClock.sleep({ name: "a day", duration: "1 day" })
    yield* Activity.make({ name: "pick", execute: did(`pick ${order}`) })
    const parcels = yield* DurableDeferred.await(Packed)
    return `${parcels} parcels, ${label}`
  })
)

/** Lets time pass until it is done. */
const driven = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect)
  yield* passing(400, () => fiber.pollUnsafe() !== undefined)
  return yield* Fiber.join(fiber)
})

const passing = Effect.fnUntraced(function* (most: number, isOver: () => boolean) {
  for (let i = 0; i < most && !isOver(); i++) {
    yield* settled
    yield* TestClock.adjust("500 millis")
  }
})

const runnerOn = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const cluster = Sharding.layer.pipe(
    Layer.provide([Runners.layerNoop, RunnerHealth.layerNoop]),
    Layer.provideMerge(Layer.mergeAll(MessageStorage.layer, RunnerStorage.layer)),
    Layer.provide(
      ShardingConfig.layer({
        shardsPerGroup: 4,
        entityMessagePollInterval: "500 millis",
        entityReplyPollInterval: "500 millis"
      })
    )
  )
  const all = ShippingLayer.pipe(
    Layer.provideMerge(ClusterWorkflowEngine.layer),
    Layer.provideMerge(cluster),
    Layer.provide(Database.layer),
    Layer.provide(Layer.succeed(ObjectStore, store))
  )
  const context = yield* driven(Layer.buildWithScope(Layer.fresh(all), scope))
  const run = <A, E>(effect: Effect.Effect<A, E, WorkflowEngine.WorkflowEngine>) =>
    Effect.provideContext(effect, context)
  return { run, stop: driven(Scope.close(scope, Exit.void)) }
})

describe("workflows", () => {
  it.effect("go on where they were, in another runner, and do nothing twice", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 10, 27))
      const store = yield* memory
      const first = yield* runnerOn(store)
      const executionId = yield* driven(first.run(Shipping.execute({ order: "A-1" }, { discard: true })))
      yield* passing(20, () => done.includes("label A-1"))
      yield* passing(8, () => false)
      yield* first.stop
      yield* TestClock.adjust("1 day")
      const second = yield* runnerOn(store)
      yield* passing(60, () => done.includes("pick A-1"))
      yield* passing(8, () => false)
      assert.deepStrictEqual(done, ["label A-1", "pick A-1"])
      yield* second.stop

      const third = yield* runnerOn(store)
      const token = DurableDeferred.tokenFromExecutionId(Packed, { workflow: Shipping, executionId })
      yield* driven(third.run(DurableDeferred.succeed(Packed, { token, value: 2 })))
      const result = yield* driven(third.run(Shipping.execute({ order: "A-1" })))
      assert.strictEqual(result, "2 parcels, label of A-1")
      assert.deepStrictEqual(done, ["label A-1", "pick A-1"])
    }).pipe(Effect.scoped)
  )
})
