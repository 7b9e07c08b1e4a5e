import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Journal from "effect-s3db/kernel/Journal"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)
const idOf = (n: number) => `w${String(n).padStart(15, "0")}`

const writeOf = (n: number, more: Partial<Journal.Write> = {}): Journal.Write => ({
  resource: "users",
  id: `u${n}`,
  writeId: idOf(n),
  previous: undefined,
  kind: "insert",
  time: 1000 + n,
  ...more
})

const announced = Effect.fnUntraced(function* (
  store: Store,
  client: Journal.Client,
  write: Journal.Write,
  detail?: Journal.Detail
) {
  const one = yield* client.announce(write, detail)
  yield* store.put(one.request)
  return one
})

/** A log as a journaler leaves it. */
const logged = Effect.fnUntraced(function* (store: Store, count: number, note: string) {
  const log = AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record, compression: "none" })
  const records = range(count).map((n): Journal.Record => {
    const { previous: _, ...record } = writeOf(n)
    return record
  })
  for (const record of records) yield* log.append([record], { note })
  return records
})

describe("entries", () => {
  const hostile = [
    "a",
    ".",
    "..",
    "a/b",
    "ä%2F",
    "\u{1F600}",
    "__proto__",
    "~",
    "id=1",
    "x".repeat(700),
    "漢".repeat(100)
  ]

  it.effect("what a key tells is what was announced, whatever the ids are", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { client, pending } = yield* Journal.make(store)
      const made: Array<Journal.Pending> = []
      for (const [n, id] of hostile.entries()) {
        for (const kind of ["insert", "update", "delete"] as const) {
          for (const time of [0, -5, 1_795_000_000_000, Number.MAX_SAFE_INTEGER]) {
            const previous = kind === "insert" ? undefined : idOf(1000 + n)
            const { pending } = yield* announced(
              store,
              client,
              writeOf(made.length, { id, resource: hostile[(n + 3) % 9]!, kind, previous, time })
            )
            assert.isAtMost(pending.key.length, 1024)
            assert.deepStrictEqual(pending.document, { resource: hostile[(n + 3) % 9]!, id })
            made.push(pending)
          }
        }
      }
      const byNumber = (a: Journal.Pending, b: Journal.Pending) => a.number - b.number
      assert.deepStrictEqual((yield* Stream.runCollect(pending)).toSorted(byNumber), made)
      assert.deepStrictEqual(
        made.map(({ number }) => number),
        range(made.length)
      )
    })
  )

  it.effect(
    "ids that are too long for the key are in the body; nothing else makes a body but images and contexts",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { client } = yield* Journal.make(store)
        const id = "é".repeat(166)
        const long = yield* announced(store, client, writeOf(1, { id }))
        assert.isUndefined(long.pending.document)
        assert.isTrue(long.pending.hasBody && long.pending.key.endsWith("/detail"))
        const { body } = yield* store.get(long.pending.key)
        assert.deepStrictEqual(JSON.parse(new TextDecoder().decode(body)), { v: 1, resource: "users", id })
        const short = yield* announced(store, client, writeOf(2))
        assert.deepStrictEqual([short.pending.hasBody, short.request.body], [false, undefined])
        const detail = { before: { a: -0 }, after: { a: "ü" }, context: { actor: "me" } }
        const whole = yield* announced(store, client, writeOf(3), detail)
        assert.isTrue(whole.pending.hasBody && whole.pending.document !== undefined)
        const text = new TextDecoder().decode((yield* store.get(whole.pending.key)).body)
        assert.strictEqual(text, '{"v":1,"before":{"a":-0},"after":{"a":"ü"},"context":{"actor":"me"}}')
        assert.isFalse(whole.request.repeatable)
      })
  )

  it.effect("an entry tells of what the client has committed before, 24 at most, each once", () =>
    Effect.gen(function* () {
      const { client } = yield* Journal.make(yield* memory)
      const first = yield* Effect.forEach(range(60), (n) => client.announce(writeOf(n)))
      assert.isTrue(first.every(({ pending }) => pending.acknowledged.length === 0))
      for (const one of first.slice(1)) yield* client.committed(one)
      yield* client.abandoned(first[0]!)
      const told = yield* Effect.forEach(range(4), (n) => client.announce(writeOf(100 + n)))
      assert.deepStrictEqual(
        told.map(({ pending }) => pending.acknowledged),
        [range(24, 1), range(24, 25), range(11, 49), []]
      )
      // In the key, as distances.
      assert.include(told[2]!.pending.key, "/d.c.b.a.9.8.7.6.5.4.3/")
    })
  )

  it.effect("what has no form is refused by what is wrong with it, and takes no number", () =>
    Effect.gen(function* () {
      const { client } = yield* Journal.make(yield* memory)
      const bad: ReadonlyArray<readonly [string, Partial<Journal.Write>, Journal.Detail?]> = [
        ["writeId", { writeId: "short" }],
        ["writeId", { writeId: "a/b/c/d/e/f" }],
        ["writeId", { previous: "" }],
        ["time", { time: 1.5 }],
        ["id", { id: "" }],
        ["id", { id: "\uD800" }],
        ["resource", { resource: "" }],
        ["detail", {}, { after: { x: Number.NaN } }],
        ["detail", {}, { context: JSON.parse('{"__proto__":1}') as {} }],
        ["detail", {}, { context: [] as unknown as {} }]
      ]
      for (const [argument, wrong, detail] of bad) {
        const { reason } = yield* Effect.flip(client.announce(writeOf(1, wrong), detail))
        assert.strictEqual(reason._tag === "InvalidArgument" ? reason.argument : reason._tag, argument)
      }
      assert.strictEqual((yield* client.announce(writeOf(1))).pending.number, 0)
    })
  )

  it.effect("keys that no client makes are passed over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { client, pending } = yield* Journal.make(store)
      const { key } = (yield* announced(store, client, writeOf(1, { previous: idOf(7) }))).pending
      const parts = key.split("/")
      const other = (at: number, part: string) => parts.map((one, i) => (i === at ? part : one)).join("/")
      const foreign = [
        ...[2, 3, 4, 5, 6, 7, 8, 9].flatMap((at) => ["", "%", "a b", "ÿ", "00", "~~"].map((part) => other(at, part))),
        other(3, "zzzzzzzzzzz"),
        other(6, "xabc"),
        other(6, "I-"),
        other(7, "1"),
        other(8, "detail"),
        other(9, "id=%zz"),
        `${key}/x`,
        "journal/pending/README",
        parts.slice(0, 7).join("/")
      ]
      for (const one of new Set(foreign)) {
        if (one !== key && !one.endsWith("/")) yield* store.put({ key: one })
      }
      const left = (yield* Stream.runCollect(pending)).map((one) => one.key)
      assert.deepStrictEqual(new Set(left), new Set([key]))
    })
  )
})

describe("reading", () => {
  it.effect("from a position, to a position, and as it comes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const journal = yield* Journal.make(store, { compression: "none" })
      assert.deepStrictEqual(yield* Stream.runCollect(journal.read()), [])
      assert.strictEqual(yield* journal.position, 0)
      const records = yield* logged(store, 5, "0")
      const read = yield* Stream.runCollect(journal.read({ from: 2, to: 4 }))
      assert.deepStrictEqual(
        read.map(({ position, value }) => [position, value]),
        [
          [2, records[2]],
          [3, records[3]]
        ]
      )
      const followed = yield* Effect.forkChild(Stream.runCollect(Stream.take(journal.stream({ from: "end" }), 2)))
      yield* TestClock.adjust("1 second")
      yield* logged(store, 2, "0")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        (yield* Fiber.join(followed)).map(({ position }) => position),
        [5, 6]
      )
      assert.strictEqual((yield* journal.verify()).next, 7)
    })
  )

  it.effect("waiting for a position", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const journal = yield* Journal.make(store)
      assert.strictEqual(yield* journal.waitUntil(0), 0)
      const waiting = yield* Effect.forkChild(journal.waitUntil(3))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(waiting.pollUnsafe())
      yield* logged(store, 4, "0")
      yield* counter.reset
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), 4)
      assert.strictEqual((yield* counter.counts).get, 1)
    })
  )

  it.effect("records whose entries may still be pending are not removed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const journal = yield* Journal.make(store, { compression: "none" })
      yield* logged(store, 6, "4")
      assert.strictEqual(yield* journal.retain({ before: 2 }), 2)
      assert.strictEqual(yield* journal.retain({ entries: 1 }), 4)
      assert.strictEqual((yield* journal.status).first, 4)
      assert.strictEqual(yield* journal.compact, 2)
      assert.strictEqual((yield* journal.verify()).first, 4)
    })
  )

  it.effect("is cut and put together whoever keeps it, and not at all when nothing is said", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const log = AppendLog.make(inner, { prefix: "journal/log", schema: Journal.Record, compression: "none" })
      let [token, last] = [0, 4]
      // Another takes over whenever it is looked.
      const store: Store = {
        ...inner,
        get: (key, options) =>
          Effect.tap(inner.get(key, options), () =>
            key.endsWith("manifest") && token < last ? Effect.orDie(log.raiseFence((token += 1))) : Effect.void
          )
      }
      yield* logged(inner, 6, "4")
      yield* log.raiseFence((token += 1))
      const journal = yield* Journal.make(store, { compression: "none" })
      assert.strictEqual(yield* journal.retain({}), 0)
      assert.strictEqual(yield* journal.retain({ before: 2 }), 2)
      last = 7
      assert.isAbove(yield* journal.compact, 0)
      assert.strictEqual((yield* journal.verify()).first, 2)
    })
  )
})
