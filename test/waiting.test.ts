import { promises as files } from "node:fs"
import { fileURLToPath } from "node:url"
import zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { settled, turn, until, untilSome } from "./waiting.ts"

/** Packs so much that it takes many turns of the event loop. */
const packing = Effect.callback<void>((resume) => {
  zlib.brotliCompress(new Uint8Array(300_000), () => resume(Effect.void))
})

describe("waiting", () => {
  it.effect(
    "settled: what fibers, threads and files do has come to its end, and what waits for the clock has not",
    () =>
      Effect.gen(function* () {
        const done: Array<string> = []
        const says = (what: string) => Effect.sync(() => void done.push(what))
        const own = fileURLToPath(import.meta.url)
        yield* Effect.forkChild(
          Effect.andThen(
            Effect.forEach(Array.from({ length: 500 }), () => Effect.yieldNow),
            says("yields")
          )
        )
        yield* Effect.forkChild(
          Effect.andThen(
            Effect.forEach([1, 2, 3], () => packing),
            says("packed")
          )
        )
        yield* Effect.forkChild(
          Effect.andThen(
            Effect.forEach([1, 2, 3], () => Effect.promise(() => files.readFile(own))),
            says("read")
          )
        )
        const asleep = yield* Effect.forkChild(Effect.sleep("1 second"))
        yield* settled
        assert.sameMembers(done, ["yields", "packed", "read"])
        assert.isUndefined(asleep.pollUnsafe())
        yield* Fiber.interrupt(asleep)
      })
  )

  it.effect("settled: those that wait keep nobody waiting", () =>
    Effect.gen(function* () {
      const other = yield* Effect.forkChild(Effect.forEach(Array.from({ length: 10_000 }), () => turn))
      yield* Effect.all([settled, settled], { concurrency: 2 })
      assert.isUndefined(other.pollUnsafe())
      yield* Fiber.interrupt(other)
    })
  )

  it.effect("a turn is as long as the threads are at work", () =>
    Effect.gen(function* () {
      let isDone = false
      yield* Effect.forkChild(
        Effect.tap(packing, () => Effect.sync(() => (isDone = true))),
        { startImmediately: true }
      )
      yield* turn
      assert.isTrue(isDone)
    })
  )

  it.effect("until: looks until it is so, in real time, and says what it has waited for in vain", () =>
    Effect.gen(function* () {
      let looks = 0
      yield* until("it is so", () => ++looks > 30, { every: 1 })
      assert.strictEqual(looks, 31)
      assert.strictEqual(
        yield* untilSome("it is there", () => Effect.sync(() => (++looks > 60 ? looks : undefined))),
        61
      )
      const exit = yield* Effect.exit(until("pigs fly", () => false, { within: 20 }))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(Exit.isFailure(exit) && exit.cause), "in vain until pigs fly")
    })
  )
})
