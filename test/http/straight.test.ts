import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { TestClock } from "effect/testing"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Timely from "../../src/http/internal/timely.ts"
import { Api, Auth, Data, notes, serve, users } from "./api.ts"

describe("the way of a document", () => {
  class Closed extends HttpApiMiddleware.Service<Closed>()("test/Closed") {}

  it.effect("goes through every middleware that the program has put around the API", () =>
    Effect.gen(function* () {
      const closed = Layer.succeed(Closed, () => Effect.succeed(HttpServerResponse.empty({ status: 418 })))
      const around = Api.middleware(Closed)
      const api = yield* serve(
        HttpResources.layer(around, [users, notes]).pipe(Layer.provide([Data, Auth, closed])) as never
      )
      const body = { id: "ana", name: "Ana", age: 30, country: "BR" }
      assert.strictEqual((yield* api.send("GET", "/api/users")).status, 418)
      assert.strictEqual((yield* api.send("GET", "/api/users/ana")).status, 418)
      assert.strictEqual((yield* api.send("POST", "/api/users", { body })).status, 418)
      assert.strictEqual((yield* api.send("PUT", "/api/users/ana", { body })).status, 418)
      assert.strictEqual((yield* api.send("DELETE", "/api/users/ana")).status, 418)
    })
  )
})

describe("a bound of time", () => {
  const second = Duration.seconds(1)
  const late = Effect.succeed("late")

  it.effect("gives what ends in time, at once or later, and its failure", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Timely.within(Effect.succeed("now"), second, late), "now")
      assert.strictEqual(
        yield* Timely.within(Effect.andThen(Effect.yieldNow, Effect.succeed("soon")), second, late),
        "soon"
      )
      assert.deepStrictEqual(yield* Effect.exit(Timely.within(Effect.fail("no"), second, late)), Exit.fail("no"))
      const failing = Timely.within(Effect.andThen(Effect.yieldNow, Effect.die("bug")), second, late)
      assert.deepStrictEqual(yield* Effect.exit(failing), Exit.die("bug"))
    })
  )

  it.effect("interrupts what is late, waits for its end, and goes on", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const slow = Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.push("interrupted")))
      const fiber = yield* Effect.forkChild(
        Timely.within(
          slow,
          second,
          Effect.sync(() => seen.push("other"))
        ),
        {
          startImmediately: true
        }
      )
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen, ["interrupted", "other"])
    })
  )

  it.live("goes by the timers of the platform where the clock is that of the platform", () =>
    Effect.gen(function* () {
      const slow = Effect.never.pipe(Effect.as("never"))
      const clock = yield* Clock.Clock
      const before = clock.currentTimeMillisUnsafe()
      assert.strictEqual(yield* Timely.within(slow, Duration.millis(5), late), "late")
      assert.isAtLeast(clock.currentTimeMillisUnsafe() - before, 4)
    })
  )

  it.effect("hands on the interruption of who waits", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let interrupted = 0
      const slow = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => (interrupted += 1)))
      )
      const fiber = yield* Effect.forkChild(Timely.within(slow, second, late))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 1)
    })
  )
})
