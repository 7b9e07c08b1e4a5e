import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Journal from "effect-s3db/kernel/Journal"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { keysOf, memory } from "../fixture.ts"
import { differences, documents, observed, write } from "./journalWriter.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)
const none = { compression: "none" } as const

const on = (store: Store) => Journal.make(store, none)

const entriesOf = (store: Store) => Effect.flatMap(on(store), (journal) => Stream.runCollect(journal.read()))

const pendingOn = (store: Store) => Effect.map(keysOf(store), (keys) => keys.filter((key) => key.includes("/pending/")))

const isWhole = Effect.fnUntraced(function* (store: Store, versions: ReadonlyMap<string, ReadonlyArray<string>>) {
  const entries = yield* entriesOf(store)
  assert.deepStrictEqual(differences(entries, versions), [])
  assert.deepStrictEqual(
    entries.map(({ position }) => position),
    range(entries.length)
  )
  yield* (yield* on(store)).verify()
  return entries
})

/** Lets time pass, in which all that waits for no clock goes on. */
const pass = Effect.fnUntraced(function* (seconds: number) {
  for (const _ of range(seconds)) {
    yield* TestClock.adjust("1 second")
    yield* settled
  }
})

describe("catching up", () => {
  it.effect("versions of documents come in their order, each once, with what they carry", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const [writer, other, journal] = [yield* on(store), yield* on(store), yield* on(store)]
      for (const n of range(5)) {
        // The clock of one goes backwards.
        yield* write(store, writer.client, "a", { time: 100 - n, detail: { after: { n, text: "ü" } } })
        yield* write(store, other.client, "b", { time: n })
        yield* write(store, n % 2 === 0 ? writer.client : other.client, "c")
      }
      yield* write(store, other.client, "c", { kind: "delete", detail: { before: { n: 4 }, context: { actor: "me" } } })
      yield* write(store, writer.client, "c")
      assert.deepStrictEqual(yield* journal.catchUp(documents(store)), {
        appended: 17,
        dropped: 0,
        undecided: 0,
        next: 17
      })
      const entries = yield* isWhole(store, versions)
      const of = (id: string) => entries.filter(({ value }) => value.id === id).map(({ value }) => value)
      assert.deepStrictEqual(
        of("a").map(({ after, kind }) => ({ kind, after })),
        range(5).map((n) => ({ kind: n === 0 ? ("insert" as const) : ("update" as const), after: { n, text: "ü" } }))
      )
      assert.deepStrictEqual(
        of("c").map(({ kind }) => kind),
        ["insert", "update", "update", "update", "update", "delete", "insert"]
      )
      assert.deepInclude(of("c")[5], { before: { n: 4 }, context: { actor: "me" } })
      // Each names the one before; the tombstone was replaced, so that nothing was swept.
      const chain = of("c")
      assert.deepStrictEqual(
        chain.map(({ previous }) => previous),
        [undefined, ...chain.slice(0, -1).map(({ writeId }) => writeId)]
      )
      assert.deepStrictEqual(yield* pendingOn(store), [])
      assert.strictEqual((yield* journal.catchUp(documents(store))).appended, 0)
    })
  )

  it.effect("a deletion is swept once it is journaled, and the next life begins from nothing", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { catchUp, client } = yield* on(store)
      for (const _ of range(3)) {
        yield* write(store, client, "a")
        yield* write(store, client, "a", { kind: "delete" })
        yield* catchUp(documents(store))
        assert.isFalse((yield* keysOf(store)).some((key) => key.startsWith("doc/")))
      }
      const entries = yield* isWhole(store, versions)
      assert.deepStrictEqual(
        entries.map(({ value }) => value.previous === undefined),
        [true, false, true, false, true, false]
      )
    })
  )

  it.effect("ids that are too long for keys, hostile ones, and many", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { client } = yield* on(store)
      const ids = ["é".repeat(160), "..", "a/b", "__proto__", "%", "漢字"]
      for (const id of [...ids, ...ids]) {
        for (const resource of ["r", "..", "constructor"]) yield* write(store, client, id, { resource })
      }
      const { catchUp } = yield* on(store)
      assert.strictEqual((yield* catchUp(documents(store))).appended, 36)
      yield* isWhole(store, versions)
    })
  )

  it.effect("what was never committed is dropped, or waits where nobody can tell", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { catchUp, client } = yield* on(store)
      const [a] = [yield* write(store, client, "a"), yield* write(store, client, "b")]
      const other = yield* on(store)
      const announce = (more: Partial<Journal.Write>) =>
        Effect.gen(function* () {
          const one = yield* other.client.announce({
            resource: "r",
            id: "a",
            writeId: `never-${(more.time ?? 0).toString().padStart(9, "0")}`,
            previous: undefined,
            kind: "update",
            time: 0,
            ...more
          })
          yield* store.put(one.request)
        })
      // Built upon what has another successor; upon what is there; an insert.
      yield* announce({ time: 1, previous: a })
      yield* announce({ time: 2, id: "x", kind: "insert" })
      assert.deepInclude(yield* catchUp(documents(store)), { appended: 2, dropped: 0, undecided: 2 })
      yield* write(store, client, "a")
      yield* announce({ time: 3, previous: a, kind: "delete" })
      assert.deepInclude(yield* catchUp(documents(store)), { appended: 1, dropped: 2, undecided: 1 })
      // The document is gone.
      yield* write(store, client, "b", { kind: "delete" })
      yield* catchUp(documents(store))
      yield* announce({ time: 4, id: "b", previous: "long-ago-00000000" })
      assert.deepInclude(yield* catchUp(documents(store)), { appended: 0, dropped: 1, undecided: 1 })
      assert.lengthOf(yield* pendingOn(store), 1)
      yield* write(store, client, "c")
      assert.deepStrictEqual(yield* catchUp(documents(store), { nobodyWrites: true }), {
        appended: 1,
        dropped: 1,
        undecided: 0,
        next: 5
      })
      assert.deepStrictEqual(yield* pendingOn(store), [])
      yield* isWhole(store, versions)
    })
  )

  it.effect("an entry that comes twice is journaled once", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { catchUp, client } = yield* on(store)
      yield* write(store, client, "a")
      const [key] = yield* pendingOn(store)
      yield* catchUp(documents(store))
      yield* store.put({ key: key! })
      assert.strictEqual((yield* (yield* on(store)).catchUp(documents(store))).appended, 0)
      assert.deepStrictEqual(yield* pendingOn(store), [])
      yield* isWhole(store, versions)
    })
  )

  it.effect("a body that cannot be read is an error that names it, and nothing is lost", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { catchUp, client } = yield* on(store)
      yield* write(store, client, "a", { detail: { after: {} } })
      const [key] = yield* pendingOn(store)
      const { body } = yield* store.get(key!)
      const other = yield* on(store)
      for (const damage of ["", "{", '{"v":2}', '{"v":1,"after":[]}']) {
        yield* store.put({ key: key!, body: new TextEncoder().encode(damage) })
        const error = yield* Effect.flip(other.catchUp(documents(store)))
        assert.deepStrictEqual([error.reason._tag, error.key], ["Corrupt", key])
        assert.include(error.message, `${key}): restore it from a backup`)
      }
      yield* store.put({ key: key!, body })
      yield* other.catchUp(documents(store))
      yield* isWhole(store, versions)
      assert.strictEqual((yield* catchUp(documents(store))).appended, 0)
    })
  )
})

describe("requests", () => {
  const counted = Effect.fnUntraced(function* () {
    const { store: inner, versions } = observed(yield* memory)
    const { counter, store } = InstrumentedStore.make(inner)
    const made = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        yield* counter.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
    return { inner, store, versions, made, counter }
  })

  it.effect(
    "2,500 entries of another process: 3 LIST, 2 PUT, 3 DeleteObjects, and 1 GET for each that no later entry tells of",
    () =>
      Effect.gen(function* () {
        const { inner, made, store, versions } = yield* counted()
        const writer = yield* on(inner)
        yield* Effect.forEach(range(2500), (n) => write(inner, writer.client, `u${n}`), { concurrency: 10 })
        const { catchUp } = yield* on(store)
        // Of these 1 GET and 2 PUT of the lease, 1 GET and 1 PUT to raise the fence, and 3 LIST that find nothing more.
        const requests = yield* made(catchUp(documents(store)))
        assert.deepStrictEqual(requests, { list: 6, get: 2 + 10, put: 5, deleteMany: 3 })
        yield* isWhole(inner, versions)
      })
  )

  it.effect("own writes need no look at all; bodies of others 1 GET each", () =>
    Effect.gen(function* () {
      const { made, inner, store, versions } = yield* counted()
      const { catchUp, client } = yield* on(store)
      for (const n of range(10)) yield* write(store, client, `u${n}`, { detail: { after: { n } } })
      const least = { list: 4, put: 5, get: 2, deleteMany: 1 }
      assert.deepStrictEqual(yield* made(catchUp(documents(store))), least)
      // What the last one has appended is read, since its entries may be left: the manifest and a segment.
      const other = yield* on(inner)
      for (const n of range(10)) yield* write(inner, other.client, `u${n}`, { detail: { after: { n } } })
      assert.deepStrictEqual(yield* made(catchUp(documents(store))), { ...least, get: 2 + 2 + 10 + 1 })
      yield* write(store, client, "u0", { kind: "delete" })
      // The tombstone is read and removed.
      assert.deepStrictEqual(yield* made(catchUp(documents(store))), { ...least, get: 2 + 2 + 1, delete: 1 })
      yield* isWhole(inner, versions)
    })
  )

  it.effect("idle, it makes 1 request a minute", () =>
    Effect.gen(function* () {
      const { counter, store } = yield* counted()
      const { client, run } = yield* on(store)
      const running = yield* Effect.forkChild(run(documents(store)))
      yield* pass(1)
      yield* write(store, client, "a")
      yield* pass(600)
      yield* counter.reset
      yield* pass(600)
      assert.deepStrictEqual(
        Object.entries(yield* counter.counts).filter(([, n]) => n > 0),
        [["list", 10]]
      )
      assert.strictEqual(yield* (yield* on(store)).position, 1)
      yield* Fiber.interrupt(running)
    })
  )
})

describe("running", () => {
  it.effect("three processes write and journal; one is interrupted, the store fails for a while", () =>
    Effect.gen(function* () {
      const { store: inner, versions } = observed(yield* memory)
      let isDown = false
      const failing: Store = {
        ...inner,
        list: (request) =>
          isDown
            ? Effect.fail(
                new StoreError({ operation: "list", reason: new Unavailable({ description: "down", sent: true }) })
              )
            : inner.list(request)
      }
      const journals = yield* Effect.forEach(range(3), () => on(failing))
      const options = { firstPause: "1 second", longestPause: "10 seconds", lease: "5 seconds" } as const
      const fibers = yield* Effect.forEach(journals, ({ run }) =>
        Effect.forkChild(run(documents(inner), options), { startImmediately: true })
      )
      for (const n of range(30)) {
        for (const { client } of journals) {
          yield* write(inner, client, `d${n % 4}`, { kind: n % 7 === 6 ? "delete" : "put" })
        }
        yield* pass(1)
        if (n === 10) yield* Fiber.interrupt(fibers[0]!)
        if (n === 15 || n === 18) isDown = !isDown
      }
      yield* pass(60)
      assert.isAbove((yield* isWhole(inner, versions)).length, 80)
      assert.deepStrictEqual(yield* pendingOn(inner), [])
      for (const fiber of fibers) yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("what cannot pass ends it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { client, run } = yield* on(store)
      yield* write(store, client, "a")
      yield* store.put({ key: "journal/log/manifest", body: new TextEncoder().encode("x") })
      const error = yield* Effect.flip(run(documents(store)))
      assert.strictEqual(error.reason._tag, "Corrupt")
    })
  )

  /** Who waits, and what became of it within some seconds. */
  const waited = Effect.fnUntraced(function* (journal: Journal.Journal, seconds: number) {
    const waiting = yield* Effect.forkChild(Effect.flip(journal.waitUntil(2)), { startImmediately: true })
    yield* pass(seconds)
    const error = (waiting.pollUnsafe() === undefined ? undefined : yield* Fiber.join(waiting)) as
      | StoreError
      | undefined
    yield* Fiber.interrupt(waiting)
    return error && [error.reason._tag, error.key]
  })

  it.effect(
    "what ends it fails who waits in this process, and who has begun to wait afterwards when it ends it again",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const mine = yield* on(store)
        yield* write(store, (yield* on(store)).client, "a", { detail: { after: {} } })
        const [key] = yield* pendingOn(store)
        yield* store.put({ key: key!, body: new TextEncoder().encode("{") })
        const attempt = Effect.ignore(mine.run(documents(store), { firstPause: "1 second" }))
        const run = Effect.forkChild(attempt, { startImmediately: true })
        const first = yield* Effect.forkChild(waited(mine, 5), { startImmediately: true })
        yield* run
        assert.deepStrictEqual(yield* Fiber.join(first), ["Corrupt", key])
        // It may be mended by now.
        assert.isUndefined(yield* waited(mine, 5))
        const second = yield* Effect.forkChild(waited(mine, 5), { startImmediately: true })
        yield* run
        assert.deepStrictEqual(yield* Fiber.join(second), ["Corrupt", key])
      })
  )

  it.effect(
    "what is damaged fails who waits in a process that has no journaler, once the position has stood for 10 seconds",
    () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const other = yield* on(store)
        const writer = yield* on(store)
        for (const n of range(205)) yield* write(store, writer.client, `d${n}`, { detail: { after: {} } })
        const keys = yield* pendingOn(store)
        // Whole entries wait for however long.
        yield* counter.reset
        assert.isUndefined(yield* waited(other, 60))
        const { get, list } = yield* counter.counts
        assert.isAbove(list, 3)
        // 1 for each look, 1 more for each that asks why, and 1 for each body.
        const looks = get - 205 - list
        assert.isTrue(looks > list && looks < 20, `${get} GET, ${list} LIST`)
        const last = keys.at(-1)!
        const { body } = yield* store.get(last)
        yield* store.put({ key: last, body: new TextEncoder().encode("{") })
        assert.isUndefined(yield* waited(other, 9))
        assert.deepStrictEqual(yield* waited(other, 60), ["Corrupt", last])
        yield* store.put({ key: last, body })
        yield* store.put({ key: "journal/lease", body: new TextEncoder().encode("{") })
        assert.deepStrictEqual(yield* waited(other, 30), ["Corrupt", "journal/lease"])
        yield* store.delete("journal/lease")
        yield* store.put({ key: "journal/log/manifest", body: new TextEncoder().encode("{") })
        assert.deepStrictEqual(yield* waited(other, 1), ["Corrupt", "journal/log/manifest"])
      })
  )

  it.effect("a write of this process is journaled within the first pause, however long it was idle", () =>
    Effect.gen(function* () {
      const { store, versions } = observed(yield* memory)
      const { client, position, run } = yield* on(store)
      const fiber = yield* Effect.forkChild(run(documents(store)), { startImmediately: true })
      yield* pass(500)
      yield* write(store, client, "a")
      yield* pass(2)
      assert.strictEqual(yield* position, 1)
      yield* pass(300)
      // That of another process, within the longest.
      yield* write(store, (yield* on(store)).client, "b")
      yield* pass(65)
      assert.strictEqual(yield* position, 2)
      yield* isWhole(store, versions)
      yield* Fiber.interrupt(fiber)
    })
  )
})
