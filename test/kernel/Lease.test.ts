import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Lease from "effect-s3db/kernel/Lease"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import { AccessDenied, type Reason, StoreError, Timeout, Unavailable } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { crashing, drive, memory, moments } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const key = "plugin=p/lease"
const leaseOn = (store: Store, options?: Partial<Lease.Options>) =>
  Lease.make(store, { key, duration: "30 seconds", ...options })
const range = (length: number) => Array.from({ length }, (_, i) => i)
const stateOn = (store: Store) => Effect.map(leaseOn(store).state, Option.getOrThrow)

/** Lets what waits for nothing go on. */

/** Lets so much time pass, and what waits for nothing go on before and after. */
const pass = (duration: Duration.Input) =>
  settled.pipe(Effect.andThen(TestClock.adjust(duration)), Effect.andThen(settled))

/** Lets time pass until an effect is done. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.forkChild(Pauses.byClock(effect)), (fiber) => drive(fiber, "100 millis"))

/** A client that can be cut off: its requests fail, or have no answer, from then on. */
const severable = (store: Store) => {
  let way: "open" | "failing" | "hanging" = "open"
  const down = new Unavailable({ description: "down", sent: false })
  const through = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      if (way === "open") return effect
      return way === "hanging" ? Effect.never : Effect.fail(new StoreError({ operation: "put", key, reason: down }))
    })
  const client: Store = {
    ...store,
    put: (request) => through(store.put(request)),
    get: (...args) => through(store.get(...args)),
    head: (one) => through(store.head(one)),
    delete: (...args) => through(store.delete(...args))
  }
  return { client, set: (to: typeof way) => Effect.sync(() => (way = to)) }
}

/** Takes a lease as a process that dies without giving it up. */
const takenByTheDead = Effect.fnUntraced(function* (store: Store, options?: Partial<Lease.Options>) {
  const scope = yield* Scope.make()
  const dying = severable(store)
  const held = yield* Scope.provide(leaseOn(dying.client, options).acquire, scope)
  yield* dying.set("failing")
  yield* Scope.close(scope, Exit.void)
  return held
})

describe("Lease", () => {
  it.effect("is taken, given up with its token, and taken with a higher one", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const lease = leaseOn(store)
      assert.isTrue(Option.isNone(yield* lease.state))
      for (const token of [1, 2, 3]) {
        const [held, state] = yield* Effect.scoped(
          Effect.flatMap(lease.acquire, (held) => Effect.map(stateOn(store), (state) => [held, state] as const))
        )
        assert.strictEqual(held.token, token)
        assert.deepStrictEqual(state, { token, holder: held.holder, millis: 30_000 })
        assert.deepStrictEqual(yield* stateOn(store), { token, millis: 30_000 })
        const error = yield* Effect.flip(held.ensure)
        assert.deepStrictEqual([error._tag, error.key, error.token, error.seen], ["LeaseLost", key, token, undefined])
        yield* held.lost
      }
      const { body, contentType } = yield* store.get(key)
      const { w, ...rest } = JSON.parse(new TextDecoder().decode(body)) as { w: Array<string> }
      assert.deepStrictEqual(rest, { v: 1, d: { token: 3, millis: 30_000 } } as never)
      assert.strictEqual(w.length, 6)
      assert.strictEqual(contentType, "application/json")
    })
  )

  it.effect("requests: of one that is free, one that is held, one that is over, and to give it up", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const made = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
        yield* requests.reset
        const result = yield* effect
        const counts = Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))
        return [result, counts] as const
      })
      const lease = leaseOn(store)
      const scope = yield* Scope.make()
      const [first, taking] = yield* made(Scope.provide(lease.tryAcquire, scope))
      assert.isTrue(Option.isSome(first))
      assert.deepStrictEqual(taking, { get: 1, put: 1 })
      const [second, looking] = yield* made(Effect.scoped(lease.tryAcquire))
      assert.isTrue(Option.isNone(second))
      assert.deepStrictEqual(looking, { get: 1, put: 1, head: 1, delete: 1 })
      assert.deepStrictEqual((yield* made(Scope.close(scope, Exit.void)))[1], { put: 1 })
      assert.deepStrictEqual((yield* made(Effect.scoped(lease.tryAcquire)))[1], { get: 1, put: 2 })
      yield* takenByTheDead(inner)
      yield* pass("32 seconds")
      const [third, takingOver] = yield* made(Effect.scoped(Effect.map(lease.tryAcquire, Option.getOrThrow)))
      assert.strictEqual(third.token, 4)
      // With 1 PUT to give it up.
      assert.deepStrictEqual(takingOver, { get: 1, put: 3, head: 1, delete: 1 })
      assert.deepStrictEqual((yield* made(lease.state))[1], { get: 1 })
    })
  )

  it.effect("idle, a leader makes 1 PUT for each third of the duration, and a follower 1 GET", () =>
    Effect.gen(function* () {
      for (const [duration, most] of [
        ["30 seconds", 7],
        ["3 minutes", 1.2]
      ] as const) {
        const inner = yield* memory
        const clients = [InstrumentedStore.make(inner), InstrumentedStore.make(inner)] as const
        const scope = yield* Scope.make()
        const held = yield* Scope.provide(leaseOn(clients[0].store, { duration }).acquire, scope)
        const following = yield* Effect.forkIn(Effect.scoped(leaseOn(clients[1].store, { duration }).acquire), scope)
        yield* pass("1 second")
        for (const { counter } of clients) yield* counter.reset
        yield* pass("1 hour")
        const [leader, follower] = [yield* clients[0].counter.counts, yield* clients[1].counter.counts]
        const least = 3_600_000 / 10_000 / (duration === "30 seconds" ? 1 : 6)
        for (const count of [leader.put, follower.get]) {
          assert.isAtLeast(count, least)
          assert.isAtMost(count, most * 60)
        }
        assert.strictEqual(leader.get + leader.head + leader.list + leader.delete, 0)
        assert.strictEqual(follower.put + follower.head + follower.list + follower.delete, 0)
        // All the time the same one has had it.
        yield* held.ensure
        assert.strictEqual((yield* stateOn(inner)).token, 1)
        assert.isUndefined(following.pollUnsafe())
        yield* Scope.close(scope, Exit.void)
      }
    })
  )

  for (const skew of [0, 3_600_000, -3_600_000]) {
    it.effect(
      `the lease of one that died is taken once it is over, of one that lives never (clock off by ${skew} ms)`,
      () =>
        Effect.gen(function* () {
          const store = FaultyStore.make(yield* memory, { seed: 1, faults: {} }).store
          const skewed = FaultyStore.withClockSkew(skew)
          // A follower that has watched from the beginning, one that comes late, and one that only tries.
          for (const arrival of [0, 20_000, 200_000]) {
            const start = yield* Clock.currentTimeMillis
            const dead = yield* FaultyStore.withClockSkew(-skew)(takenByTheDead(store))
            yield* pass(arrival)
            const taking = yield* Effect.forkChild(Effect.scoped(skewed(leaseOn(store).acquire)))
            const { token } = yield* drive(taking, "100 millis")
            const after = (yield* Clock.currentTimeMillis) - start
            assert.strictEqual(token, dead.token + 1)
            assert.isAbove(after, 30_000)
            assert.isAtMost(after, Math.max(34_000, arrival + 300))
          }
          // One that lives.
          const scope = yield* Scope.make()
          const held = yield* Scope.provide(FaultyStore.withClockSkew(-skew)(leaseOn(store).acquire), scope)
          for (const more of range(20)) {
            yield* pass(7000 + more)
            assert.isTrue(Option.isNone(yield* Effect.scoped(skewed(leaseOn(store).tryAcquire))))
          }
          yield* FaultyStore.withClockSkew(-skew)(held.ensure)
          yield* Scope.close(scope, Exit.void)
        })
    )
  }

  it.effect("who cannot renew steps down before another can take it", () =>
    Effect.gen(function* () {
      for (const way of ["failing", "hanging"] as const) {
        for (const after of [0, 4000, 9000, 29_000]) {
          const store = yield* memory
          const { client, set } = severable(store)
          const scope = yield* Scope.make()
          const start = yield* Clock.currentTimeMillis
          const held = yield* Scope.provide(leaseOn(client).acquire, scope)
          const times: Record<string, number> = {}
          const note = (what: string) => Effect.map(Clock.currentTimeMillis, (now) => (times[what] = now))
          yield* Effect.forkIn(Effect.andThen(held.lost, note("lost")), scope)
          const other = leaseOn(store).acquire.pipe(Effect.andThen(note("taken")))
          yield* pass("1 second")
          yield* Effect.forkIn(Scope.provide(other, scope), scope)
          yield* pass(after)
          yield* set(way)
          yield* pass("29 seconds")
          yield* pass("40 seconds")
          assert.isBelow(times["lost"]!, times["taken"]!, `${way} ${after}`)
          assert.isAtMost(times["lost"]!, start + 1000 + after + 30_000)
          const error = yield* Effect.flip(held.ensure)
          assert.strictEqual(error.token, 1)
          assert.strictEqual((yield* stateOn(store)).token, 2)
          // What cannot be reached is not waited for.
          yield* set("failing")
          yield* Scope.close(scope, Exit.void)
        }
      }
    })
  )

  it.effect("an outage that is shorter than the lease is survived", () =>
    Effect.gen(function* () {
      const { client, set } = severable(yield* memory)
      const held = yield* leaseOn(client).acquire
      for (const _ of range(5)) {
        yield* set("failing")
        yield* pass("17 seconds")
        yield* set("open")
        yield* pass("30 seconds")
      }
      yield* held.ensure
      assert.strictEqual((yield* stateOn(client)).token, 1)
    })
  )

  it.effect("when it was taken meanwhile the holder learns so, and of the token, and leaves it alone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const held = yield* leaseOn(store).acquire
      const thief = { v: 1, d: { token: 7, holder: "thief", millis: 30_000 }, w: ["x"] }
      yield* store.put({ key, body: new TextEncoder().encode(JSON.stringify(thief)) })
      yield* pass("11 seconds")
      yield* held.lost
      assert.strictEqual((yield* Effect.flip(held.ensure)).seen, 7)
      yield* held.release
      assert.strictEqual((yield* stateOn(store)).holder, "thief")
    })
  )

  it.effect("what is removed under its holder is lost, and tokens go on above those told", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const held = yield* leaseOn(store).acquire
      yield* store.delete(key)
      yield* pass("11 seconds")
      yield* held.lost
      yield* held.release
      assert.isTrue(Option.isNone(yield* leaseOn(store).state))
      assert.strictEqual((yield* leaseOn(store, { tokensAbove: 41 }).acquire).token, 42)
    })
  )

  it.effect("what cannot be read is an error, and left as it is", () =>
    Effect.gen(function* () {
      for (const [body, reason] of [
        ["", "Corrupt"],
        ["[]", "Corrupt"],
        ['{"v":1,"d":{"token":"1","millis":3},"w":[]}', "Corrupt"],
        ['{"v":2,"lease":1}', "Unsupported"]
      ] as const) {
        const store = yield* memory
        yield* store.put({ key, body: new TextEncoder().encode(body) })
        for (const use of [leaseOn(store).tryAcquire, leaseOn(store).acquire, leaseOn(store).state]) {
          const error = yield* Effect.flip(use as Effect.Effect<unknown, StoreError, Scope.Scope>)
          assert.deepStrictEqual([error.reason._tag, error.key], [reason, key])
        }
        assert.strictEqual(new TextDecoder().decode((yield* store.get(key)).body), body)
      }
    })
  )

  it("options", () => {
    const store = {} as Store
    for (const duration of [0, 99, "25 hours" as const, "nonsense" as Duration.Input, Number.NaN]) {
      assert.throws(() => Lease.make(store, { key, duration }), RangeError)
    }
    for (const tokensAbove of [-1, 0.5, Number.NaN])
      assert.throws(() => Lease.make(store, { key, tokensAbove }), RangeError)
    for (const duration of [100, "1 day"] as const) Lease.make(store, { key, duration })
  })

  describe("answers", () => {
    const failing = (store: Store, reason: Reason, landed: boolean) => {
      let puts = 0
      const client: Store = {
        ...store,
        put: (request) =>
          Effect.suspend(() => {
            if (request.key !== key || puts++ > 0) return store.put(request)
            const carriedOut = landed ? Effect.asVoid(store.put(request)) : Effect.void
            return Effect.andThen(carriedOut, Effect.fail(new StoreError({ operation: "put", key, reason })))
          })
      }
      return client
    }
    const timeout = new Timeout({ description: "no answer", afterMillis: 1 })

    it.effect("a lost answer to the taking that is looked into when another has it: it is the other's", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const scope = yield* Effect.scope
        let isLost = false
        const faulty: Store = {
          ...store,
          put: (request) =>
            isLost || request.key !== key
              ? store.put(request)
              : Effect.gen(function* () {
                  isLost = true
                  yield* store.put(request)
                  // It takes so long that another takes the lease, and tells of the first in its version.
                  yield* TestClock.adjust("40 seconds")
                  yield* Scope.provide(leaseOn(store).tryAcquire, scope)
                  return yield* new StoreError({
                    operation: "put",
                    key,
                    reason: new Timeout({ description: "no answer", afterMillis: 1 })
                  })
                })
        }
        assert.isTrue(Option.isNone(yield* leaseOn(faulty).tryAcquire))
        assert.strictEqual((yield* stateOn(store)).token, 2)
      }).pipe(Effect.scoped)
    )

    it.effect("a lost answer to the taking: it is had at once, or soon after", () =>
      Effect.gen(function* () {
        for (const landed of [true, false]) {
          const store = yield* memory
          const client = failing(store, timeout, landed)
          const start = yield* Clock.currentTimeMillis
          const { token } = yield* inTime(Effect.scoped(leaseOn(client).acquire))
          assert.strictEqual(token, 1)
          assert.isAtMost((yield* Clock.currentTimeMillis) - start, landed ? 300 : 11_000)
        }
      })
    )

    it.effect("what does not pass ends the waiting", () =>
      Effect.gen(function* () {
        const client = failing(yield* memory, new AccessDenied({ description: "no" }), false)
        assert.strictEqual((yield* Effect.flip(leaseOn(client).acquire)).reason._tag, "AccessDenied")
      })
    )

    it.effect("a crash at any request leaves a lease that another takes once it is over", () =>
      Effect.gen(function* () {
        for (const existing of [0, 1]) {
          for (let at = 1, finished = false; !finished; at++) {
            for (const when of moments) {
              const store = yield* memory
              for (const _ of range(existing)) yield* Effect.scoped(leaseOn(store).acquire)
              const client = crashing(store, at, when)
              const once = Effect.scoped(Effect.andThen(leaseOn(client.store).acquire, Effect.sleep("25 seconds")))
              const dying = yield* Effect.forkChild(Effect.exit(once))
              const exit = yield* drive(dying)
              finished = Exit.isSuccess(exit)
              const before = Option.getOrElse(yield* leaseOn(store).state, () => ({ token: 0 })).token
              const { token } = yield* inTime(Effect.scoped(leaseOn(store).acquire))
              assert.strictEqual(token, before + 1)
            }
          }
        }
      })
    )
  })

  describe("runWhileLeader", () => {
    it.effect("interrupts what it runs when the lease is lost, competes again, and gives up the lease at the end", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { client, set } = severable(store)
        const events: Array<string> = []
        const note = (what: string) => Effect.sync(() => events.push(what))
        const work = ({ token }: Lease.Held) =>
          token < 3
            ? Effect.never.pipe(
                Effect.onInterrupt(() => note(`interrupted ${token}`)),
                Effect.ensuring(note(`ended ${token}`))
              )
            : Effect.as(note(`done ${token}`), token * 10)
        const running = yield* Effect.forkChild(leaseOn(client).runWhileLeader(work))
        yield* pass("1 minute")
        yield* set("failing")
        yield* pass("31 seconds")
        assert.deepStrictEqual(events, ["interrupted 1", "ended 1"])
        // Another has it for a while.
        const other = yield* Scope.make()
        const taking = yield* Effect.forkChild(Scope.provide(leaseOn(store).acquire, other))
        assert.strictEqual((yield* drive(taking)).token, 2)
        yield* set("open")
        yield* pass("2 minutes")
        assert.strictEqual(events.length, 2)
        yield* Scope.close(other, Exit.void)
        assert.strictEqual(yield* drive(running), 30)
        assert.deepStrictEqual(events, ["interrupted 1", "ended 1", "done 3"])
        assert.deepStrictEqual(yield* stateOn(store), { token: 3, millis: 30_000 })
      })
    )

    it.effect("a failure is the result, and the lease is given up; so it is when it is interrupted", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const lease = leaseOn(store)
        assert.strictEqual(yield* Effect.flip(lease.runWhileLeader(() => Effect.fail("no"))), "no")
        const running = yield* Effect.forkChild(
          lease.runWhileLeader(() => Effect.never),
          { startImmediately: true }
        )
        yield* pass("1 second")
        assert.isDefined((yield* stateOn(store)).holder)
        yield* Fiber.interrupt(running)
        assert.deepStrictEqual(yield* stateOn(store), { token: 2, millis: 30_000 })
        // While it waits, too.
        yield* takenByTheDead(store)
        const waiting = yield* Effect.forkChild(lease.acquire, { startImmediately: true })
        yield* pass("5 seconds")
        yield* Fiber.interrupt(waiting)
        assert.strictEqual((yield* stateOn(store)).token, 3)
      })
    )

    it.effect(
      "of many on a store that fails in every way one works at a time, with tokens that rise, and all come to it",
      () =>
        Effect.gen(function* () {
          for (const seed of range(6)) {
            const store = yield* memory
            const tokens: Array<number> = []
            const workers = new Set<number>()
            let running = 0
            const contender = (index: number) => {
              const faulty = FaultyStore.make(store, {
                seed,
                client: `c${index}`,
                faults: {
                  delay: { probability: 0.5, maxMillis: 900 },
                  throttle: 0.03,
                  errorBefore: 0.06,
                  errorAfter: 0.1,
                  duplicate: 0.05
                }
              })
              const through = RetryingStore.make(faulty.store, { retries: 2 })
              const work = ({ token }: Lease.Held) =>
                Effect.gen(function* () {
                  running += 1
                  assert.strictEqual(running, 1, `seed ${seed}`)
                  tokens.push(token)
                  workers.add(index)
                  yield* Effect.sleep(yield* Random.nextBetween(0, 40_000))
                }).pipe(Effect.ensuring(Effect.sync(() => (running -= 1))))
              const lease = Lease.make(through, { key, duration: "10 seconds" })
              return Effect.forever(Effect.andThen(lease.runWhileLeader(work), Effect.sleep("1 second"))).pipe(
                FaultyStore.withClockSkew((index - 2) * 3_600_000),
                Random.withSeed(`${seed}-${index}`),
                Effect.provideService(Id.Generator, Id.seeded(seed * 10 + index))
              )
            }
            const all = yield* Effect.forkChild(
              Pauses.byClock(Effect.forEach(range(4), contender, { concurrency: "unbounded" }))
            )
            for (const _ of range(600)) yield* pass("1 second")
            assert.isUndefined(all.pollUnsafe())
            yield* Effect.forkChild(Fiber.interrupt(all))
            for (const _ of range(60)) yield* pass("1 second")
            assert.isAbove(tokens.length, 10)
            assert.strictEqual(workers.size, 4)
            assert.deepStrictEqual(
              tokens,
              [...new Set(tokens)].toSorted((a, b) => a - b),
              `seed ${seed}`
            )
          }
        })
    )
  })

  it.effect("leadership is a stream", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { client, set } = severable(store)
      const seen: Array<string> = []
      const reading = leaseOn(client).leadership.pipe(
        Stream.runForEach((state) =>
          Effect.sync(() => seen.push(state._tag === "Leader" ? `Leader ${state.token}` : state._tag))
        )
      )
      const fiber = yield* Effect.forkChild(reading)
      yield* pass("1 minute")
      assert.deepStrictEqual(seen, ["Follower", "Leader 1"])
      yield* set("failing")
      yield* pass("1 minute")
      yield* set("open")
      yield* pass("1 minute")
      assert.deepStrictEqual(seen, ["Follower", "Leader 1", "Follower", "Leader 2"])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* stateOn(store), { token: 2, millis: 30_000 })
      yield* store.put({ key, body: new Uint8Array() })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(leaseOn(store).leadership))).reason._tag, "Corrupt")
    })
  )
})
