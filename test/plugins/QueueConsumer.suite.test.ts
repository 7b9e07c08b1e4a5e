import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

// Dead letters: all that a consumer has of its own.
PluginSuite.suite<QueueConsumer.Consumer, unknown, unknown>("QueueConsumer", {
  plugin: QueueConsumer.plugin,
  open: ({ namespace }) => QueueConsumer.make({ namespace }),
  add: Effect.fnUntraced(function* (consumer, ids) {
    const { publisher, sizes, source } = yield* MessageQueue.memory({ name: "jobs" })
    yield* publisher.publish(ids.map((id) => ({ id, body: "no JSON" })))
    // What it cannot write it tries for ever.
    let failed: string | undefined
    const watching = yield* Effect.forkChild(
      Stream.runForEach(consumer.events, (event) =>
        Effect.sync(() => {
          if (event._tag === "Retried") failed ??= event.error
        })
      ),
      { startImmediately: true }
    )
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source, payload: Schema.Int, handler: () => Effect.void, maxDeliveries: 1 })
    )
    const isDone = Effect.map(sizes, ({ held, waiting }) => held + waiting === 0)
    while (!(yield* isDone)) {
      if (consuming.pollUnsafe() !== undefined) return yield* Fiber.join(consuming)
      if (failed !== undefined) {
        yield* Fiber.interrupt(consuming)
        // Its own process is dead: nothing comes back of that.
        if (failed.includes("has crashed")) return yield* Effect.die(new FaultyStore.Crashed({ client: "client" }))
        return yield* Effect.fail({ message: failed })
      }
      yield* Effect.yieldNow
    }
    yield* Fiber.interrupt(consuming)
    yield* Fiber.interrupt(watching)
  }),
  ids: (consumer) => Effect.map(Stream.runCollect(consumer.deadLetters("jobs")), (all) => all.map(({ id }) => id))
})
