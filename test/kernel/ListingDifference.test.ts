import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Lease from "effect-s3db/kernel/Lease"
import * as ListingDifference from "effect-s3db/kernel/ListingDifference"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Segments from "effect-s3db/kernel/Segments"
import * as snapshots from "../../src/kernel/internal/listingSnapshot.ts"
import { crashing, keysOf, memory, moments } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]
type Difference = ListingDifference.Difference

const listed = "data/"
const prefix = "plugin=x/seen"
const on = (store: Store, options?: Partial<ListingDifference.Options>) =>
  ListingDifference.make(store, { listed, prefix, compression: "none", ...options })
const text = (value: string) => new TextEncoder().encode(value)
const range = (length: number) => Array.from({ length }, (_, i) => i)
const put = (store: Store, key: string, value: string | number = 0) =>
  store.put({ key: listed + key, body: text(String(value)) })
const remove = (store: Store, key: string) => store.delete(listed + key)
const name = (i: number) => String(i).padStart(5, "0")

/** What a consumer knows that takes in what it is told. */
const mirror = () => {
  const known = new Map<string, string>()
  let told = 0
  const take = (differences: ReadonlyArray<Difference>) => {
    for (const one of differences) {
      told += 1
      if (one._tag === "Gone") known.delete(one.key)
      else known.set(one.key, one.etag)
    }
  }
  return {
    known,
    told: () => told,
    take,
    handle: (differences: ReadonlyArray<Difference>) => Effect.sync(() => take(differences))
  }
}

const there = (store: Store) =>
  Effect.map(
    Stream.runCollect(listAll(store, { prefix: listed })),
    (entries) => new Map(entries.map(({ etag, key }) => [key, etag] as const))
  )

const assertSame = Effect.fnUntraced(function* (store: Store, known: ReadonlyMap<string, string>) {
  const now = yield* there(store)
  assert.deepStrictEqual(
    [...known].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    [...now].toSorted(([a], [b]) => (a < b ? -1 : 1))
  )
})

const counted = (inner: Store) => {
  const { counter, store } = InstrumentedStore.make(inner)
  const made = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    yield* counter.reset
    const result = yield* effect
    return [result, Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))] as const
  })
  return { store, made }
}

/** What is kept of each range of keys lies in it, and no two ranges meet. */
const assertParts = Effect.fnUntraced(function* (store: Store) {
  const segments = Segments.make(store, { prefix })
  const parts = yield* snapshots.place((yield* segments.read).parts)
  let before = ""
  for (const { keys, part, upto } of parts) {
    const kept = yield* snapshots.make("none").decode(yield* segments.get(part))
    const all = kept.map(({ key }) => key)
    assert.strictEqual(all.length, keys)
    assert.isAbove(keys, 0)
    for (const key of all) {
      assert.isTrue(key > before && key <= upto, `${before} < ${key} <= ${upto}`)
      before = key
    }
    before = upto
  }
})

const tags = (differences: ReadonlyArray<Difference>) =>
  differences.map(({ _tag, key }) => `${_tag} ${key.slice(listed.length)}`)

describe("ListingDifference", () => {
  it.effect("tells what is new, changed and gone; requests of 2,500 keys", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { made, store } = counted(inner)
      yield* Effect.forEach(range(2500), (i) => put(inner, name(i), i), { discard: true })
      const mine = on(store)
      const seen = mirror()
      const batches: Array<number> = []
      const handle = (differences: ReadonlyArray<Difference>) =>
        Effect.sync(() => {
          batches.push(differences.length)
          seen.take(differences)
        })
      const [first, initial] = yield* made(mine.pass(handle))
      assert.deepStrictEqual(first, { keys: 2500, new: 2500, changed: 0, gone: 0, resumed: false })
      assert.deepStrictEqual(batches, [500, 500, 500, 500, 500])
      assert.deepStrictEqual(initial, { get: 2, list: 3, put: 4 })
      yield* assertSame(inner, seen.known)

      const [second, idle] = yield* made(mine.pass(() => Effect.die("nothing to tell")))
      assert.deepStrictEqual(second, { keys: 2500, new: 0, changed: 0, gone: 0, resumed: false })
      assert.deepStrictEqual(idle, { get: 3, list: 3 })

      yield* put(inner, name(7), "changed")
      yield* put(inner, `${name(7)}a`, "new")
      yield* remove(inner, name(2499))
      yield* put(inner, name(8), 8)
      const differences: Array<Difference> = []
      const collect = (some: ReadonlyArray<Difference>) => Effect.sync(() => void differences.push(...some))
      const [peeked, looking] = yield* made(Stream.runCollect(mine.peek))
      assert.deepStrictEqual(tags(peeked), ["Changed 00007", "New 00007a", "Gone 02499"])
      assert.deepStrictEqual(looking, { get: 2, list: 3 })
      const [third, some] = yield* made(mine.pass(collect))
      assert.deepStrictEqual(third, { keys: 2500, new: 1, changed: 1, gone: 1, resumed: false })
      assert.deepStrictEqual(tags(differences), tags(peeked))
      assert.deepStrictEqual(some, { get: 3, list: 3, put: 4 })
      const [changed] = differences
      assert.isTrue(changed?._tag === "Changed" && changed.before !== changed.etag && changed.size === 7)
      // Who has another snapshot is told all of it.
      assert.strictEqual((yield* on(store, { prefix: "other" }).pass(() => Effect.void)).new, 2500)
      assert.strictEqual((yield* mine.pass(() => Effect.die("nothing"))).keys, 2500)
      // With the token of a lease.
      assert.deepStrictEqual((yield* made(mine.pass(() => Effect.void, { token: 3 })))[1], { get: 3, list: 3, put: 2 })
      assert.deepStrictEqual((yield* made(mine.pass(() => Effect.void, { token: 3 })))[1], { get: 3, list: 3 })
    })
  )

  it.effect("begins with what comes later, and anew", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* Effect.forEach(range(10), (i) => put(store, name(i), i))
      const mine = on(store)
      assert.strictEqual((yield* mine.baseline()).new, 10)
      yield* put(store, name(3), "later")
      const seen = mirror()
      yield* mine.pass(seen.handle)
      assert.deepStrictEqual([...seen.known.keys()], [`${listed}00003`])
      yield* mine.reset()
      yield* mine.pass(seen.handle)
      yield* assertSame(store, seen.known)
      assert.strictEqual(seen.told(), 11)
    })
  )

  for (const [kind, open, options] of [
    ["in order", memory, {}],
    [
      "without order",
      Effect.map(MemoryStore.make({ profile: "express" }), ({ store }) => store),
      { orderedList: false }
    ],
    ["of which nothing is known", Effect.map(memory, (store): Store => ({ ...store, capabilities: undefined })), {}]
  ] as const) {
    it.effect(
      `on a store that lists ${kind}, whatever is written and however passes fail, what is told is what is there`,
      () =>
        Effect.gen(function* () {
          let untold = 0
          for (const seed of range(4)) {
            const store = yield* open
            const seen = mirror()
            const draw = (below: number) => Random.nextIntBetween(0, below, { halfOpen: true })
            yield* Effect.gen(function* () {
              for (const round of range(25)) {
                const keysPerPart = 1 + (yield* draw(6))
                const heavy = (yield* draw(6)) === 0
                for (const _ of range(yield* draw(heavy ? 60 : 6))) {
                  const key = name(yield* draw(90))
                  yield* (yield* draw(3)) === 0 ? remove(store, key) : put(store, key, `${round} ${yield* draw(1000)}`)
                }
                // All at once, sometimes.
                if ((yield* draw(15)) === 0) for (const i of range(90)) yield* remove(store, name(i))
                const failing = (yield* draw(3)) === 0 ? yield* draw(20) : Infinity
                let given = 0
                const handle = (differences: ReadonlyArray<Difference>) =>
                  Effect.gen(function* () {
                    seen.take(differences)
                    given += differences.length
                    // Documents change while a pass runs.
                    yield* put(store, name(yield* draw(90)), `during ${round} ${yield* draw(1000)}`)
                    if (given > failing) return yield* Effect.fail("failing" as const)
                  })
                const exit = yield* Effect.exit(on(store, { keysPerPart, batchSize: 3, ...options }).pass(handle))
                if (Exit.isFailure(exit)) untold += 1
                yield* assertParts(store)
              }
              yield* on(store, { keysPerPart: 4, ...options }).pass(seen.handle)
              yield* assertSame(store, seen.known)
              // What is told is known: at the second time nothing is left to put together.
              yield* on(store, { keysPerPart: 4, ...options }).pass(() => Effect.die("nothing"))
              const { made, store: watched } = counted(store)
              const [, idle] = yield* made(
                on(watched, { keysPerPart: 4, ...options }).pass(() => Effect.die("nothing"))
              )
              assert.isUndefined(idle["put"])
            }).pipe(Random.withSeed(`listing ${seed}`), Effect.provideService(Id.Generator, Id.seeded(seed)))
          }
        })
    )
  }

  it.effect("a crash at any request, before or after: the next pass tells what is left", () =>
    Effect.gen(function* () {
      const work = (store: Store, seen: ReturnType<typeof mirror>) =>
        Effect.gen(function* () {
          const mine = on(store, { keysPerPart: 4, batchSize: 3 })
          yield* mine.pass(seen.handle, { token: 1 })
          for (const i of range(9)) yield* put(store, `${name(2)}-${i}`)
          yield* remove(store, name(5))
          yield* mine.pass(seen.handle, { token: 1 })
          return "done"
        })
      let requests = 0
      for (let at = 1; ; at++) {
        let isDone = false
        for (const when of moments) {
          const store = yield* memory
          for (const i of range(10)) yield* put(store, name(i), i)
          const seen = mirror()
          const dying = crashing(store, at, when)
          isDone = Exit.isSuccess(yield* Effect.exit(work(dying.store, seen)))
          requests = dying.requests()
          yield* on(store, { keysPerPart: 4 }).pass(seen.handle, { token: 2 })
          yield* assertSame(store, seen.known)
          // At most what one run has is told twice.
          assert.isAtMost(seen.told(), 10 + 10 + 1 + 10)
        }
        if (isDone) break
      }
      assert.isAbove(requests, 25)
    })
  )

  /** Passes of two processes, or of one and a writer, in every order of their requests. */
  const explored = Effect.fnUntraced(function* (
    tokens: Readonly<Record<string, number>>,
    bounds: { readonly preemptions: number; readonly crashes: number; readonly isWriting: boolean }
  ) {
    const { control, store } = yield* MemoryStore.make()
    const options = { orderedList: true }
    for (const i of range(3)) yield* put(store, name(i), i)
    const begun = mirror()
    yield* on(store, options).pass(begun.handle)
    yield* put(store, name(0), "x")
    yield* put(store, `${name(0)}b`, "z")
    yield* remove(store, name(2))
    const start = yield* control.snapshot
    const schedule = Interleavings.make(store)
    let seen = mirror()
    const passing = (client: string, token: number) =>
      Effect.suspend(() =>
        on(schedule.client(client), options)
          .pass(seen.handle, { token })
          .pipe(
            Effect.asVoid,
            Effect.catchTag("LeaseLost", () => Effect.void),
            Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))),
            Random.withSeed(client)
          )
      )
    const writing = Effect.gen(function* () {
      const mine = schedule.client("w")
      yield* put(mine, name(1), "y")
      yield* remove(mine, `${name(0)}b`)
      yield* put(mine, name(2), "again")
    })
    const report = yield* schedule.explore({
      before: Effect.suspend(() => {
        seen = mirror()
        for (const [key, etag] of begun.known) seen.known.set(key, etag)
        return control.restore(start)
      }),
      programs: {
        ...Object.fromEntries(Object.entries(tokens).map(([client, token]) => [client, passing(client, token)])),
        ...(bounds.isWriting ? { w: writing } : {})
      },
      preemptions: bounds.preemptions,
      crashes: bounds.crashes,
      check: Effect.fnUntraced(function* ({ crashed, exits }) {
        for (const [client, exit] of Object.entries(exits)) {
          assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
        }
        yield* on(store, options).pass(seen.handle, { token: 9 })
        yield* assertSame(store, seen.known)
      })
    })
    assert.isTrue(report.complete)
    return report.schedules
  })

  it.effect("in every order of the requests of a pass and a writer, with a crash, nothing is missed", () =>
    Effect.gen(function* () {
      assert.isAbove(yield* explored({ a: 1 }, { preemptions: 2, crashes: 1, isWriting: true }), 200)
    })
  )

  it.effect("in every order of the requests of two passes, with and without a lease, nothing is missed", () =>
    Effect.gen(function* () {
      assert.isAbove(yield* explored({ a: 0, b: 0 }, { preemptions: 2, crashes: 0, isWriting: false }), 100)
      assert.isAbove(yield* explored({ a: 1, b: 2 }, { preemptions: 1, crashes: 1, isWriting: false }), 100)
    })
  )

  it.effect("the exploration finds a snapshot that is written before it is handled", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(4)) yield* put(store, name(i), i)
      /** Takes for seen what was not told yet. */
      const hasty = (inner: Store, seen: ReturnType<typeof mirror>) =>
        Effect.gen(function* () {
          const differences: Array<Difference> = []
          yield* on(inner, { keysPerPart: 2 }).pass((some) => Effect.sync(() => void differences.push(...some)))
          yield* inner.head(`${listed}${name(0)}`)
          seen.take(differences)
        })
      let missed = 0
      for (const at of range(12)) {
        const seen = mirror()
        const { control, store: copy } = yield* MemoryStore.make()
        for (const i of range(4)) yield* put(copy, name(i), i)
        yield* Effect.exit(hasty(crashing(copy, at + 1, "before").store, seen))
        yield* on(copy, { keysPerPart: 2 }).pass(seen.handle)
        if (seen.known.size < 4) missed += 1
        yield* control.snapshot
      }
      assert.isAbove(missed, 0)
    })
  )

  it.effect("an older holder of the lease records nothing that is older than what the next has seen", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(6)) yield* put(store, name(i), i)
      const seen = mirror()
      // While the old one handles, another takes over, and the document changes once more.
      const error = yield* Effect.flip(
        on(store).pass(
          (differences) =>
            Effect.gen(function* () {
              seen.take(differences)
              yield* put(store, name(1), "later")
              yield* on(store).pass(seen.handle, { token: 2 })
            }),
          { token: 1 }
        )
      )
      assert.strictEqual((error as Lease.LeaseLost)._tag, "LeaseLost")
      yield* on(store).pass(() => Effect.die("nothing is left"), { token: 2 })
      yield* assertSame(store, seen.known)
    })
  )

  it.effect("what stands for nothing is not there; its object is listed once and never read", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { made, store } = counted(inner)
      const mine = on(store, { isAbsent: ({ size }) => size === 3 })
      const seen: Array<string> = []
      const collect = (some: ReadonlyArray<Difference>) => Effect.sync(() => void seen.push(...tags(some)))
      yield* put(inner, "a", "1")
      yield* put(inner, "b", "123")
      yield* mine.pass(collect)
      assert.deepStrictEqual(seen.splice(0), ["New a"])
      yield* put(inner, "a", "321")
      assert.strictEqual((yield* mine.pass(collect)).keys, 0)
      assert.deepStrictEqual(seen.splice(0), ["Gone a"])
      assert.deepStrictEqual((yield* made(mine.pass(collect)))[1], { get: 3, list: 1 })
      // It goes for good, comes back, and is another that stands for nothing.
      yield* remove(inner, "a")
      yield* put(inner, "b", "1234")
      yield* put(inner, "c", "abc")
      yield* mine.pass(collect)
      assert.deepStrictEqual(seen.splice(0), ["New b"])
      yield* put(inner, "a", "4321")
      yield* put(inner, "c", "cba")
      yield* mine.pass(collect)
      assert.deepStrictEqual(seen.splice(0), ["New a"])
      assert.deepStrictEqual((yield* made(mine.pass(collect)))[1], { get: 3, list: 1 })
    })
  )

  it.effect(
    "what is undecided is told, and once more when it is decided, without a new ETag; asked for only where it matters",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const open = new Set<string>()
        let asked = 0
        const mine = on(store, {
          keysPerPart: 2,
          undecided: Effect.sync(() => {
            asked += 1
            return (key: string) => open.has(key)
          })
        })
        const seen: Array<string> = []
        const pass = Effect.gen(function* () {
          yield* mine.pass((some) => Effect.sync(() => void seen.push(...tags(some))))
          return seen.splice(0)
        })
        for (const i of range(8)) yield* put(store, name(i), i)
        open.add(`${listed}00001`)
        assert.strictEqual((yield* pass).length, 8)
        assert.strictEqual(asked, 4)
        assert.deepStrictEqual(yield* pass, [])
        assert.strictEqual(asked, 5)
        open.clear()
        assert.deepStrictEqual(yield* pass, ["Changed 00001"])
        assert.deepStrictEqual(yield* pass, [])
        assert.strictEqual(asked, 6)
        // One that changes while it is open.
        yield* put(store, name(5), "x")
        open.add(`${listed}00005`)
        assert.deepStrictEqual(yield* pass, ["Changed 00005"])
        yield* put(store, name(5), "y")
        assert.deepStrictEqual(yield* pass, ["Changed 00005"])
        assert.deepStrictEqual(yield* pass, [])
        yield* remove(store, name(5))
        open.clear()
        assert.deepStrictEqual(yield* pass, ["Gone 00005"])
      })
  )

  it.effect("a pass that is interrupted is gone on with; a long one writes how far it has come", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { made, store } = counted(inner)
      for (const i of range(40)) yield* put(inner, name(i), i)
      const mine = on(store, { keysPerPart: 4, orderedList: true })
      const seen = mirror()
      const slow = (differences: ReadonlyArray<Difference>) =>
        Effect.andThen(Effect.sleep("4 seconds"), seen.handle(differences))
      const fiber = yield* Effect.forkChild(mine.pass(slow))
      for (const _ of range(26)) {
        yield* settled
        yield* TestClock.adjust("1 second")
      }
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(seen.told(), 24)
      const [summary, requests] = yield* made(mine.pass(seen.handle))
      assert.isTrue(summary.resumed)
      assert.strictEqual(summary.new, 16)
      // The last position is at most one run old: the keys of that are known, and listed again.
      assert.include([16, 20], summary.keys)
      yield* assertSame(inner, seen.known)
      assert.strictEqual(requests["list"], 1)
      const next = yield* mine.pass(() => Effect.die("nothing"))
      assert.deepStrictEqual([next.resumed, next.keys], [false, 40])
    })
  )

  it.effect("any key of S3, in the order of its bytes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const keys = [
        "__proto__",
        "a\uffff",
        "a\u{1f600}",
        "a\u{10ffff}",
        "constructor",
        "é",
        " ",
        "%",
        "\u0001",
        "a/b",
        "a",
        '"\\'
      ]
      const seen = mirror()
      const mine = on(store, { keysPerPart: 1 })
      for (const key of keys) {
        yield* put(store, key, key)
        yield* mine.pass(seen.handle)
      }
      yield* assertSame(store, seen.known)
      assert.strictEqual(seen.told(), keys.length)
      for (const key of keys.toReversed()) {
        yield* remove(store, key)
        yield* mine.pass(seen.handle)
      }
      assert.strictEqual(seen.known.size, 0)
    })
  )

  it.effect("parts that were replaced are collected, and there are few", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const mine = on(store, { keysPerPart: 4 })
      for (const i of range(200)) {
        yield* put(store, name(i % 40), i)
        yield* mine.pass(() => Effect.void)
      }
      assert.isAtMost((yield* keysOf(store, `${prefix}/part/`)).length, 20 + 2 * 64)
    })
  )

  it.effect("runs while it has the lease, waits out an outage, and hands over", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let isDown = false
      const down = new StoreError({ operation: "list", reason: new Unavailable({ description: "down", sent: false }) })
      const store: Store = {
        ...inner,
        list: (request) => Effect.suspend(() => (isDown ? Effect.fail(down) : inner.list(request)))
      }
      const told: Array<string> = []
      const running = (by: string) =>
        on(store).run((some) => Effect.sync(() => void told.push(...tags(some).map((one) => `${by} ${one}`))), {
          every: "10 seconds",
          lease: "3 minutes"
        })
      const pass = Effect.gen(function* () {
        for (const _ of range(12)) {
          yield* settled
          yield* TestClock.adjust("1 second")
        }
        return told.splice(0)
      })
      yield* put(inner, "a")
      const first = yield* Effect.forkChild(running("first"))
      assert.deepStrictEqual(yield* pass, ["first New a"])
      const second = yield* Effect.forkChild(running("second"))
      isDown = true
      yield* put(inner, "b")
      assert.deepStrictEqual(yield* pass, [])
      isDown = false
      assert.deepStrictEqual(yield* pass, ["first New b"])
      yield* Fiber.interrupt(first)
      yield* put(inner, "c")
      for (const _ of range(7)) yield* pass.pipe(Effect.tap((some) => Effect.sync(() => told.unshift(...some))))
      assert.deepStrictEqual(told, ["second New c"])
      yield* Fiber.interrupt(second)
    }).pipe(Effect.provideService(Id.Generator, Id.seeded(1)), Random.withSeed("run"))
  )

  it.effect("what is wrong", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const wrong of [
        { keysPerPart: 0 },
        { keysPerPart: 65_537 },
        { keysPerPart: 1.5 },
        { batchSize: 0 },
        { prefix: "data/seen" },
        { listed: "" }
      ]) {
        assert.throws(() => on(store, wrong), RangeError, undefined, JSON.stringify(wrong))
      }
      const failing = Effect.fnUntraced(function* (mine: ListingDifference.ListingDifference) {
        const error = yield* Effect.flip(mine.pass(() => Effect.void))
        return error._tag === "StoreError" ? error.reason._tag : error._tag
      })
      for (const i of range(6)) yield* put(store, name(i), i)
      const list = (change: (page: Effect.Success<ReturnType<Store["list"]>>) => object): Store => ({
        ...store,
        list: (request) => Effect.map(store.list(request), (page) => ({ ...page, ...change(page) }))
      })
      const reversed = list(({ entries }) => ({ entries: entries.toReversed() }))
      assert.strictEqual(yield* failing(on(reversed)), "Unexpected")
      assert.strictEqual((yield* on(reversed, { orderedList: false, prefix: "r" }).pass(() => Effect.void)).new, 6)
      const bare = list(({ entries }) => ({ entries: entries.map(({ key }) => ({ key })) }))
      assert.strictEqual(yield* failing(on(bare)), "Unexpected")

      yield* on(store).pass(() => Effect.void)
      const parts = yield* keysOf(store, `${prefix}/part/`)
      for (const key of parts) yield* store.put({ key, body: text("damaged") })
      assert.strictEqual(yield* failing(on(store)), "Corrupt")
      yield* store.deleteMany(parts)
      assert.strictEqual(yield* failing(on(store)), "Corrupt")
      // Anew.
      yield* on(store).reset()
      assert.strictEqual((yield* on(store).pass(() => Effect.void)).new, 6)
      yield* store.put({ key: `${prefix}/checkpoint`, body: text("{}") })
      assert.strictEqual(yield* failing(on(store)), "Corrupt")
      assert.strictEqual(
        (yield* Effect.flip(on(store).pass(() => Effect.fail("mine")) as Effect.Effect<unknown, StoreError>)).reason
          ._tag,
        "Corrupt"
      )
    })
  )
})
