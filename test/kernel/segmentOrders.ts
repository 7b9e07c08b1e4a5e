/** Segments in every order of the requests of those who commit and of one who collects. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as Segments from "effect-s3db/kernel/Segments"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"

type Store = ObjectStore["Service"]

export const prefix = "plugin=x/s"
export const on = (store: Store) => Segments.make(store, { prefix })
export const text = (value: string) => new TextEncoder().encode(value)
export const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const range = (length: number) => Array.from({ length }, (_, i) => i)

/** What the newest version holds, each part read. */
export const contents = (store: Store) =>
  Effect.gen(function* () {
    const segments = on(store)
    const { parts } = yield* segments.read
    return yield* Effect.forEach(parts, (part) => Effect.map(segments.get(part), textOf))
  })

/** Some who commit, and one who collects, in every order of their requests: how many parts are missing then. */
export const explored = Effect.fnUntraced(function* (over: (store: Store) => Store, clients: ReadonlyArray<string>) {
  const { control, store } = yield* MemoryStore.make()
  const segments = on(store)
  const [old] = yield* Effect.forEach(["old", "shared"], (one) => segments.put(text(one)))
  yield* segments.commit({ add: [old!] })
  const start = yield* control.snapshot
  const schedule = Interleavings.make(store)
  const commit = (client: string) =>
    Effect.gen(function* () {
      const mine = on(over(schedule.client(client)))
      for (;;) {
        const part = yield* mine.put(text("shared"))
        const done = yield* Effect.result(mine.commit({ add: [part], remove: client === "a" ? [old!] : [] }))
        if (Result.isSuccess(done)) return
        assert.strictEqual(done.failure._tag, "PartsCollected")
        yield* mine.read
      }
    }).pipe(Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))))
  const collect = Effect.gen(function* () {
    const mine = on(over(schedule.client("c")))
    for (const _ of range(2)) yield* mine.collect
  }).pipe(Effect.provideService(Id.Generator, Id.seeded(99)))
  let missing = 0
  const report = yield* schedule.explore({
    before: control.restore(start),
    programs: { ...Object.fromEntries(clients.map((client) => [client, commit(client)])), c: Effect.orDie(collect) },
    check: Effect.fnUntraced(function* ({ exits }) {
      for (const exit of Object.values(exits)) assert.isTrue(Exit.isSuccess(exit), JSON.stringify(exit))
      const damages = yield* Stream.runCollect(on(store).verify())
      missing += damages.length
      if (damages.length === 0) assert.deepStrictEqual(yield* contents(store), ["shared"])
    })
  })
  assert.isTrue(report.complete)
  assert.isAbove(report.schedules, 20 * clients.length ** 3)
  return missing
})

/** Whoever reads the manifest sees a floor of 0, but for him who collects. */
export const forgetting = (store: Store): Store => ({
  ...store,
  put: (request) =>
    request.key.endsWith("/manifest")
      ? store.put({ ...request, body: text(textOf(request.body!).replace(/"floor":\d+/, '"floor":0')) })
      : store.put(request)
})
