/** A reader and a writer in two processes that share a tier, in every order of their requests. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Cache from "effect-s3db/plugins/Cache"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { open, openIn, user } from "./cacheFixture.ts"

/** A tier that processes share. */
export const sharedTier = () => {
  const entries = new Map<string, Cache.Entry>()
  const tier: Cache.Tier = {
    name: "shared",
    get: ({ path }) => Effect.sync(() => Option.fromUndefinedOr(entries.get(path))),
    set: ({ path }, { loadedAt, stamp, text }) => Effect.sync(() => void entries.set(path, { loadedAt, stamp, text })),
    clear: () => Effect.sync(() => entries.clear()),
    evictions: Effect.succeed(0),
    size: Effect.succeedNone
  }
  return { tier: Cache.fromTier(tier), entries }
}

/** Each read has to give what was acknowledged before it, and in the end all have to see what is there. */
export const exploring = Effect.fnUntraced(function* (options: {
  readonly preemptions: number
  readonly crashes?: number
}) {
  const { control, store } = yield* MemoryStore.make()
  const schedule = Interleavings.make(store)
  const seeded = yield* open(store)
  yield* seeded.users.insert(user("1", { age: 1 }))
  const snapshot = yield* control.snapshot
  let tier = sharedTier()
  let scope = yield* Scope.make()
  type Process = Effect.Success<ReturnType<typeof openIn>>
  let processes: { readonly a: Process; readonly b: Process } | undefined
  const opened = (name: string) =>
    openIn(scope, schedule.client(name), { tiers: [Cache.memory(), tier.tier], staleness: 0 })
  const before = Effect.gen(function* (): Effect.fn.Return<void, unknown> {
    yield* Scope.close(scope, Exit.void)
    scope = yield* Scope.make()
    yield* control.restore(snapshot)
    tier = sharedTier()
    const a = yield* opened("a")
    const b = yield* opened("b")
    // Both have it.
    yield* a.users.get("1")
    yield* b.users.get("1")
    processes = { a, b }
  }).pipe(Effect.provideService(Id.Generator, Id.seeded(1)))
  const age = (name: "a" | "b") => Effect.suspend(() => Effect.map(processes![name].users.get("1"), (one) => one.age))
  let acknowledged = 0
  const programs = {
    a: Effect.gen(function* () {
      acknowledged = 1
      const first = acknowledged
      assert.isAtLeast(yield* Cache.refresh(age("a")), first)
      const second = acknowledged
      assert.isAtLeast(yield* age("a"), second)
      return 0
    }).pipe(Effect.provideService(Id.Generator, Id.seeded(2))),
    b: Effect.gen(function* () {
      yield* Effect.suspend(() => processes!.b.users.replace(user("1", { age: 2, name: "user 1" })))
      acknowledged = 2
      assert.strictEqual(yield* age("b"), 2)
      return 0
    }).pipe(Effect.provideService(Id.Generator, Id.seeded(3)))
  }
  const check = Effect.fnUntraced(function* ({
    crashed,
    exits,
    trace
  }: {
    readonly crashed: ReadonlyArray<string>
    readonly exits: Readonly<Record<string, Exit.Exit<unknown, unknown>>>
    readonly trace: ReadonlyArray<string>
  }) {
    for (const [name, exit] of Object.entries(exits)) {
      assert.strictEqual(Exit.isSuccess(exit), !crashed.includes(name), trace.join("\n"))
    }
    // A writer may have died between its commit and its record.
    if (crashed.includes("b")) yield* TestClock.adjust("5 minutes")
    const c = yield* opened("c")
    const present = (yield* Cache.bypass(c.users.get("1"))).age
    if (!crashed.includes("b")) assert.strictEqual(present, 2)
    assert.strictEqual((yield* c.users.get("1")).age, present, trace.join("\n"))
    for (const name of ["a", "b"] as const) {
      if (!crashed.includes(name)) assert.strictEqual(yield* age(name), present, trace.join("\n"))
    }
  })
  return yield* schedule.explore({ ...options, before, programs, check })
})
