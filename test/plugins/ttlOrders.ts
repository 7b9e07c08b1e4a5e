/** Sweepers and a program that refreshes, in every order of their requests, with a crash before any of them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { drive, openOn } from "../fixture.ts"

const Session = Schema.Struct({ id: Schema.String, n: Schema.Int, expiresAt: Schema.Number })
const fields = { schema: Session, primaryKey: "id" } as const

class Sessions extends Resource.Service<Sessions>()("effect-s3db/test/plugins/ttlOrders/Sessions", {
  ...fields,
  name: "sessions"
}) {}

class Archive extends Resource.Service<Archive>()("effect-s3db/test/plugins/ttlOrders/Archive", {
  ...fields,
  name: "archive"
}) {}

export const policies: Readonly<Record<string, Ttl.PolicyOptions<typeof Session.Type, Archive>>> = {
  deletes: { at: "expiresAt" },
  archives: { at: "expiresAt", onExpire: Ttl.archive(Archive, ({ document }) => document.value) }
}

/** A process of its own on a store. */
export const processOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  policy: Ttl.PolicyOptions<typeof Session.Type, Archive>
) {
  const { database } = yield* openOn(store)
  const sessions = yield* Effect.provideService(Resource.make(Sessions.definition), Database, database)
  const archive = yield* Effect.provideService(Resource.make(Archive.definition), Database, database)
  /** Whatever it knows of time is its own. */
  const sweep = Ttl.make({ policies: [Ttl.policy(Sessions, policy)], sweep: false }).pipe(
    Effect.flatMap((ttl) => ttl.runNow()),
    Effect.scoped,
    Effect.provideService(Database, database),
    Effect.provideService(Sessions, sessions),
    Effect.provideService(Archive, archive)
  )
  // Its index is there.
  yield* sweep
  return { database, sessions, archive, sweep }
})

export const all = (repository: Resource.RepositoryOf<typeof Archive.definition>) =>
  Effect.map(Stream.runCollect(repository.scan()), (found) => [...found])

export const now = 1_000_000

/** Explores; gives the number of schedules. */
export const explore = Effect.fnUntraced(function* (
  name: "deletes" | "archives",
  clients: ReadonlyArray<"a" | "b" | "user">
) {
  yield* TestClock.setTime(now)
  const { control, store } = yield* MemoryStore.make()
  const schedule = Interleavings.make(store)
  const policy = policies[name]!
  const a = yield* processOn(schedule.client("a"), policy)
  const b = yield* processOn(schedule.client("b"), policy)
  const user = yield* processOn(schedule.client("user"), policy)
  const after = yield* processOn(store, policy)
  yield* a.sessions.insert({ id: "1", n: 1, expiresAt: 1 })
  const start = yield* control.snapshot
  const seen = new Set<string>()
  const seeded = <A, E, R>(seed: number, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => Effect.provideService(effect, Id.Generator, Id.seeded(seed))).pipe(Random.withSeed("ttl"))
  const programs = {
    a: seeded(1, a.sweep),
    b: seeded(2, b.sweep),
    user: seeded(3, user.sessions.update("1", { n: 2, expiresAt: now * 10 }))
  }
  const { complete, schedules } = yield* schedule.explore<unknown, unknown, never, unknown, never>({
    before: control.restore(start),
    programs: Object.fromEntries(clients.map((client) => [client, programs[client]])),
    preemptions: 1,
    crashes: 1,
    check: ({ crashed, exits, trace }) =>
      Effect.gen(function* () {
        const refreshed = exits["user"]
        const document = yield* after.sessions.getOption("1")
        const copies = yield* all(after.archive)
        const told = trace.join("\n")
        if (refreshed !== undefined && Exit.isSuccess(refreshed)) assert.isTrue(Option.isSome(document), told)
        if (Option.isSome(document) && document.value.n === 2) {
          assert.deepStrictEqual(document.value, { id: "1", n: 2, expiresAt: now * 10 }, told)
          assert.deepStrictEqual(copies, [], told)
          seen.add("refreshed")
        }
        // What a crash has left the next sweep does, if it was not refreshed.
        yield* drive(yield* Effect.forkChild(after.sweep))
        const left = yield* after.sessions.getOption("1")
        const archived = yield* all(after.archive)
        if (Option.isSome(left)) {
          assert.strictEqual(left.value.n, 2, told)
          assert.deepStrictEqual(archived, [], told)
          return
        }
        seen.add("expired")
        assert.strictEqual(archived.length, name === "archives" ? 1 : 0, told)
        if (refreshed !== undefined && !crashed.includes("user")) assert.isFalse(Exit.isSuccess(refreshed), told)
      })
  })
  assert.isTrue(complete)
  assert.deepStrictEqual([...seen].toSorted(), clients.includes("user") ? ["expired", "refreshed"] : ["expired"])
  return schedules
})
