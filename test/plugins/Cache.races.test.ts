/** Old data never comes back: fills that come late, writes of other processes, lost answers, crashes, damaged cells. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Cache from "effect-s3db/plugins/Cache"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import * as Transaction from "effect-s3db/Transaction"
import { keysOf, memory } from "../fixture.ts"
import { open, openIn, user } from "./cacheFixture.ts"
import { exploring, sharedTier } from "./cacheInterleavings.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

/** A store whose answers to reads of a document can be held back. */
const holdingBack = (store: Store, id: string) => {
  let gate: Deferred.Deferred<void> | undefined
  const held: Store = {
    ...store,
    get: (key, options) =>
      Effect.flatMap(store.get(key, options), (found) =>
        gate !== undefined && key.endsWith(`/id=${id}`) ? Effect.as(Deferred.await(gate), found) : Effect.succeed(found)
      ),
    list: (request) =>
      Effect.flatMap(store.list(request), (found) =>
        gate === undefined ? Effect.succeed(found) : Effect.as(Deferred.await(gate), found)
      )
  }
  return {
    store: held,
    close: Effect.map(Deferred.make<void>(), (made) => void (gate = made)),
    release: Effect.suspend(() => {
      const before = gate!
      gate = undefined
      return Deferred.succeed(before, undefined)
    })
  }
}

/** A store that fails, or does what it is asked for and says that it failed, at some keys. */
const failingAt = (store: Store) => {
  const control: {
    fails: ((key: string, operation: string) => "before" | "after" | undefined) | undefined
    failures: number
  } = {
    fails: undefined,
    failures: 0
  }
  const failing = (operation: "put" | "get" | "delete", key: string, sent: boolean) => {
    control.failures += 1
    const reason = new StoreError.Unavailable({ description: "no answer", sent })
    return Effect.fail(new StoreError.StoreError({ operation, key, reason }))
  }
  const reach = <A>(
    operation: "put" | "get" | "delete",
    key: string,
    effect: Effect.Effect<A, StoreError.StoreError>
  ) =>
    Effect.suspend(() => {
      const how = control.fails?.(key, operation)
      if (how === undefined) return effect
      return how === "before" ? failing(operation, key, false) : Effect.andThen(effect, failing(operation, key, true))
    })
  const failed: Store = {
    ...store,
    put: (request) => reach("put", request.key, store.put(request)),
    get: (key, options) => reach("get", key, store.get(key, options)),
    delete: (key, options) => reach("delete", key, store.delete(key, options))
  }
  return { store: failed, control }
}

const isCell = (key: string) => key.endsWith("generations")

const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) => Effect.map(Stream.runCollect(stream), (all) => [...all])

describe("Cache, races", () => {
  it.effect("a fill that comes after a write does not bring back what was before it", () =>
    Effect.gen(function* () {
      const { close, release, store } = holdingBack(yield* memory, "1")
      const { cache, users } = yield* open(store, { methods: { scan: true } })
      yield* users.insert(user("1", { age: 1 }))
      yield* users.count()
      const scan: Effect.Effect<number, unknown> = Effect.map(collect(users.scan()), ([one]) => one!.age)
      const list: Effect.Effect<number, unknown> = Effect.map(users.list(), ({ items }) => items[0]!.age)
      const get: Effect.Effect<number, unknown> = Effect.map(users.get("1"), ({ age }) => age)
      const ages = (reads: ReadonlyArray<Effect.Effect<number, unknown>>) => Effect.forEach(reads, (read) => read)
      // Each of them has read the old version, and is on its way with it.
      yield* close
      const late = yield* Effect.forEach([get, scan, list], (read) => Effect.forkChild(read))
      yield* settled
      const writing = yield* Effect.forkChild(users.replace(user("1", { age: 2 })))
      yield* settled
      yield* release
      yield* Fiber.join(writing)
      assert.deepStrictEqual(yield* Effect.forEach(late, Fiber.join), [1, 1, 1])
      assert.deepStrictEqual(yield* ages([get, scan, list]), [2, 2, 2])
      assert.deepStrictEqual(yield* ages([get, scan, list]), [2, 2, 2])
      yield* close
      const second = yield* Effect.forEach([get, scan, list], (read) => Effect.forkChild(Cache.refresh(read)))
      yield* settled
      // The write is over before they come.
      yield* cache.invalidate("users")
      yield* release
      yield* Effect.forEach(second, Fiber.join)
      const { total } = yield* cache.statistics
      assert.isAtLeast(total.late, 3)
    })
  )

  it.effect("nor in another process: what lies in a shared tier is of a generation that is over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { tier } = sharedTier()
      const { close, release, store: slow } = holdingBack(store, "1")
      const a = yield* open(slow, { tiers: [tier], staleness: "5 seconds" })
      const b = yield* open(store, { tiers: [tier], staleness: "5 seconds" })
      yield* b.users.insert(user("1", { age: 1 }))
      yield* a.users.count()
      yield* b.users.count()
      yield* close
      const late = yield* Effect.forkChild(a.users.get("1"))
      yield* settled
      yield* b.users.patch("1", { age: 2 })
      yield* release
      assert.strictEqual((yield* Fiber.join(late)).age, 1)
      // Who has written sees what was written; so does who comes new.
      assert.strictEqual((yield* b.users.get("1")).age, 2)
      const c = yield* open(store, { tiers: [tier] })
      assert.strictEqual((yield* c.users.get("1")).age, 2)
      // Who has not looked for a while goes by what it knew, for 5 seconds.
      yield* TestClock.adjust("4999 millis")
      const before = (yield* a.users.get("1")).age
      assert.include([1, 2], before)
      yield* TestClock.adjust("2 millis")
      assert.strictEqual((yield* a.users.get("1")).age, 2)
    })
  )

  it.effect("in every order of requests of a reader and a writer", () =>
    Effect.map(exploring({ preemptions: 1 }), ({ complete, schedules }) => {
      assert.isTrue(complete)
      assert.isAbove(schedules, 10)
    })
  )

  it.effect("reads of several processes see every write that was acknowledged before, if they ask each time", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { tier } = sharedTier()
      // Every request takes a while, and another one than the next.
      const slow = (store: Store): Store => {
        const wait = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.gen(function* () {
            const pauses = (yield* Random.nextIntBetween(0, 4)) + 1
            for (let i = 0; i < pauses; i++) yield* Effect.yieldNow
            const value = yield* effect
            for (let i = 0; i < pauses; i++) yield* Effect.yieldNow
            return value
          })
        return { ...store, get: (...args) => wait(store.get(...args)), put: (one) => wait(store.put(one)) }
      }
      const processes = yield* Effect.forEach([1, 2, 3], () =>
        open(slow(inner), { tiers: [Cache.memory(), tier], staleness: 0 })
      )
      const ids = ["1", "2"]
      const [first] = processes
      for (const id of ids) yield* first!.users.insert(user(id, { age: 0 }))
      const acknowledged = new Map(ids.map((id) => [id, 0]))
      let reads = 0
      const client = Effect.fnUntraced(function* (number: number) {
        const { users } = processes[number % processes.length]!
        for (let i = 0; i < 25; i++) {
          const id = ids[yield* Random.nextIntBetween(0, ids.length - 1)]!
          if (yield* Random.nextBoolean) {
            const { age } = yield* users.update(id, (one) => ({ age: one.age + 1 }))
            acknowledged.set(id, Math.max(acknowledged.get(id)!, age))
          }
          const least = acknowledged.get(id)!
          reads += 1
          assert.isAtLeast((yield* users.get(id)).age, least)
        }
      })
      yield* Effect.forEach([1, 2, 3, 4, 5, 6], client, { concurrency: "unbounded", discard: true })
      const hits = yield* Effect.forEach(processes, ({ cache }) =>
        Effect.map(cache.statistics, ({ total }) => total.hits)
      )
      assert.isAbove(
        hits.reduce((a, b) => a + b, 0),
        10
      )
      assert.strictEqual(reads, 150)
    }).pipe(Random.withSeed("cache"))
  )

  it.effect("who is told by its peers sees a write at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const listeners = new Set<(message: string) => void>()
      const control = { isDown: false }
      const down = new Cache.TierFailed({ tier: "peers", operation: "publish", description: "down" })
      const peers: Cache.PeersOf = {
        make: () =>
          Effect.succeed({
            publish: (message) =>
              Effect.suspend(() => {
                if (control.isDown) return Effect.fail(down)
                for (const listener of listeners) listener(message)
                return Effect.void
              }),
            subscribe: (onMessage) =>
              Effect.andThen(
                Effect.sync(() => void listeners.add(onMessage)),
                Effect.suspend(() => (control.isDown ? Effect.fail(down) : Effect.never))
              )
          })
      }
      const a = yield* open(store, { peers, staleness: "1 hour" })
      const b = yield* open(store, { peers, staleness: "1 hour" })
      yield* a.users.insert(user("1"))
      yield* b.users.get("1")
      for (let age = 31; age < 40; age++) {
        const [writer, reader] = age % 2 === 0 ? [a, b] : [b, a]
        yield* reader.users.get("1")
        const write = yield* writer.requests(writer.users.replace(user("1", { age })))
        // What it was told is what it writes on top of.
        assert.strictEqual((yield* reader.users.get("1")).age, age)
        assert.strictEqual(write.counts.put, 4)
      }
      // What is no message of ours is left alone; a message that comes twice, or late, changes nothing.
      for (const listener of listeners)
        for (const text of ["", "{", "{}", JSON.stringify({ resource: "users" })]) listener(text)
      control.isDown = true
      yield* b.users.get("1")
      yield* a.users.patch("1", { age: 99 })
      assert.strictEqual((yield* a.users.get("1")).age, 99)
      assert.strictEqual((yield* a.cache.statistics).peerErrors, 1)
      assert.strictEqual((yield* b.users.get("1")).age, 39)
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* b.users.get("1")).age, 99)
    })
  )
})

describe("Cache, faults", () => {
  it.effect("a write that cannot be recorded is done, seen here, and recorded when it can be", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { control, store } = failingAt(inner)
      const a = yield* open(store, { staleness: "1 hour" })
      const b = yield* open(inner, { staleness: "5 seconds" })
      yield* a.users.insert(user("1", { age: 1 }))
      yield* a.users.get("1")
      yield* b.users.get("1")
      control.fails = (key) => (isCell(key) ? "before" : undefined)
      assert.strictEqual((yield* a.users.patch("1", { age: 2 })).age, 2)
      assert.strictEqual((yield* a.users.get("1")).age, 2)
      assert.strictEqual((yield* a.users.get("1")).age, 2)
      const { generationErrors, owing } = yield* a.cache.statistics
      assert.deepStrictEqual(owing, ["users"])
      assert.isAtLeast(generationErrors, 1)
      control.fails = undefined
      yield* TestClock.adjust("1 second")
      yield* settled
      assert.deepStrictEqual((yield* a.cache.statistics).owing, [])
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* b.users.get("1")).age, 2)
      assert.strictEqual(yield* a.totalOf(Effect.andThen(a.users.get("1"), a.users.get("1"))), 1)
    })
  )

  it.effect("a closing process records what it owes", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { control, store } = failingAt(inner)
      const scope = yield* Scope.make()
      const a = yield* openIn(scope, store)
      const b = yield* open(inner, { staleness: "5 seconds" })
      yield* a.users.insert(user("1", { age: 1 }))
      yield* b.users.get("1")
      control.fails = (key) => (isCell(key) ? "before" : undefined)
      yield* a.users.patch("1", { age: 2 })
      control.fails = undefined
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* b.users.get("1")).age, 2)
    })
  )

  it.effect("where generations cannot be read the cache is left out, and no read fails", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { control, store } = failingAt(inner)
      const { cache, totalOf, users } = yield* open(store, { staleness: "5 seconds" })
      yield* users.insert(user("1"))
      yield* users.get("1")
      control.fails = (key) => (isCell(key) ? "before" : undefined)
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* users.get("1")).id, "1")
      assert.isAbove((yield* cache.statistics).total.bypassed, 0)
      control.fails = undefined
      yield* users.get("1")
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
    })
  )

  it.effect("what may have been written is forgotten, although nobody knows", () =>
    Effect.gen(function* () {
      const { control, store } = failingAt(yield* memory)
      const one = yield* open(store, { staleness: "1 hour" })
      const { database, users } = one
      for (const id of ["1", "2"]) yield* users.insert(user(id, { age: 1 }))
      const lost = (key: string, operation: string) =>
        operation !== "get" && key.includes("data/id=") ? ("after" as const) : undefined
      const age = (id: string) => Effect.map(users.get(id), (found) => found.age)
      const writes: Record<string, Effect.Effect<unknown, unknown>> = {
        replace: users.replace(user("1", { age: 2 })),
        update: users.update("1", { age: 3 }),
        transaction: database.transaction(Effect.andThen(users.update("1", { age: 4 }), users.update("2", { age: 4 }))),
        setContent: users.setContent("1", new Uint8Array([1])),
        delete: users.delete("1")
      }
      for (const [name, write] of Object.entries(writes)) {
        yield* Effect.ignore(age("1"))
        yield* age("2")
        control.fails = lost
        // It may be found out that it was done, or not.
        yield* Effect.exit(write)
        control.fails = undefined
        const fresh = yield* Effect.option(Cache.bypass(users.getDocument("1")))
        assert.deepStrictEqual(yield* Effect.option(users.getDocument("1")), fresh, name)
        assert.deepStrictEqual(yield* age("2"), yield* Cache.bypass(age("2")), name)
      }
      assert.isAbove(control.failures, 4)
    })
  )

  it.effect("what a transaction had announced and took back is not counted any more", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let onCommit: Effect.Effect<unknown, unknown> | undefined
      const store: Store = {
        ...inner,
        put: (request) => {
          const isDecision = request.key.startsWith("transaction=") && request.ifMatch !== undefined
          if (!isDecision || onCommit === undefined) return inner.put(request)
          const reason = new StoreError.AccessDenied({ description: "no" })
          const refused = Effect.fail(new StoreError.StoreError({ operation: "put", key: request.key, reason }))
          const before = onCommit
          onCommit = undefined
          return Effect.andThen(Effect.ignore(before), refused)
        }
      }
      const { database, users } = yield* open(store, { staleness: "1 hour" })
      yield* users.insert(user("1"))
      const within = { partition: "byCountry" as const, values: { country: "BR" }, verify: false }
      const seen = Effect.all([users.count(), collect(users.listIds()), users.count(within)])
      let meanwhile: unknown
      // They see what is there by its keys alone.
      onCommit = Effect.provideService(seen, Transaction.Current, undefined).pipe(
        Effect.tap((found) => Effect.sync(() => (meanwhile = found)))
      )
      const failed = yield* Effect.exit(
        database.transaction(Effect.andThen(users.insert(user("2")), users.insert(user("3"))))
      )
      assert.isTrue(Exit.isFailure(failed))
      assert.deepStrictEqual(meanwhile, [3, ["1", "2", "3"], 3])
      assert.deepStrictEqual(yield* seen, [1, ["1"], 1])
    })
  )

  it.effect("what a process wrote that died before it could tell is seen when results are too old", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const scope = yield* Scope.make()
      // It dies right after the commit.
      const dying: Store = { ...inner, put: (one) => (isCell(one.key) ? Effect.never : inner.put(one)) }
      const a = yield* open(inner, { staleness: "5 seconds", timeToLive: "5 minutes" })
      yield* a.users.insert(user("1", { age: 1 }))
      yield* a.users.get("1")
      const b = yield* openIn(scope, dying)
      const writing = yield* Effect.forkDetach(b.users.replace(user("1", { age: 2 })))
      yield* settled
      assert.strictEqual((yield* Cache.bypass(a.users.get("1"))).age, 2)
      yield* TestClock.adjust("299 seconds")
      assert.strictEqual((yield* a.users.get("1")).age, 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* a.users.get("1")).age, 2)
      assert.isUndefined(writing.pollUnsafe())
    })
  )

  it.effect("a cell that is gone, damaged or foreign is made anew, and brings nothing back", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { tier } = sharedTier()
      const a = yield* open(store, { tiers: [tier], staleness: 0 })
      const b = yield* open(store, { tiers: [tier], staleness: "1 hour" })
      yield* a.users.insert(user("1", { age: 1 }))
      yield* a.users.get("1")
      yield* b.users.get("1")
      const [cell] = (yield* keysOf(store)).filter(isCell)
      const bodies = ["", "{", "null", JSON.stringify({ v: 1, d: { e: "x", n: 0, a: 0, p: 0, t: "!" }, w: [] })]
      let age = 1
      for (const body of [undefined, ...bodies]) {
        yield* a.users.get("1")
        if (body === undefined) yield* store.delete(cell!)
        else yield* store.put({ key: cell!, body: new TextEncoder().encode(body) })
        assert.strictEqual((yield* a.users.get("1")).age, age)
        if (body === undefined) yield* store.delete(cell!)
        else yield* store.put({ key: cell!, body: new TextEncoder().encode(body) })
        // Who writes on top of what he knew finds it so, too.
        yield* b.users.patch("1", { age: (age += 1) })
        assert.strictEqual((yield* a.users.get("1")).age, age)
        assert.strictEqual((yield* b.users.get("1")).age, age)
      }
    })
  )

  it.effect("a clock that is set back or forth makes nothing live longer", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { entries, tier } = sharedTier()
      const a = yield* open(store, { tiers: [tier], timeToLive: "1 minute", staleness: "1 day" })
      yield* a.users.insert(user("1"))
      yield* a.users.get("1")
      const [path] = [...entries.keys()]
      const now = entries.get(path!)!.loadedAt
      for (const loadedAt of [now + 3_600_000, now - 3_600_000, Number.NaN]) {
        entries.set(path!, { ...entries.get(path!)!, loadedAt })
        assert.strictEqual(yield* a.totalOf(a.users.get("1")), 1)
      }
      assert.strictEqual(yield* a.totalOf(a.users.get("1")), 0)
    })
  )
})
