/** Reading what has a term: what is left out, what never is, and what it costs. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as termFilter from "../../src/kernel/internal/terms.ts"
import { memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const Entry = Schema.Struct({ user: Schema.String, id: Schema.String })
const termsOf = ({ id, user }: typeof Entry.Type) => [`user ${user}`, `id ${id}`]
const logOf = (store: Store, options?: Partial<AppendLog.Options<typeof Entry.Type, typeof Entry.Encoded>>) =>
  AppendLog.make(store, { prefix: "log", schema: Entry, termsOf, ...options })
const range = (length: number) => Array.from({ length }, (_, i) => i)
const segmentOf = (s: number, size: number) => range(size).map((i) => ({ user: `u${s % 10}`, id: `${s * size + i}` }))

const opened = Effect.gen(function* () {
  const { counter, store } = InstrumentedStore.make(yield* memory)
  const read = Effect.fnUntraced(function* (
    log: AppendLog.AppendLog<typeof Entry.Type>,
    terms?: ReadonlyArray<string>
  ) {
    yield* counter.reset
    const all = yield* Stream.runCollect(log.read({ terms }))
    const { get } = yield* counter.counts
    return { get, positions: all.map(({ position }) => position), values: all.map(({ value }) => value) }
  })
  return { store, read }
})

describe("AppendLog.read with terms", () => {
  it.effect("reads the segments that have them, also below pages, after retention and compaction", () =>
    Effect.gen(function* () {
      const { read, store } = yield* opened
      const log = logOf(store)
      const [segments, size] = [200, 20]
      for (const s of range(segments)) yield* log.append(segmentOf(s, size))
      // Another process, which has read no page yet.
      const whole = yield* read(logOf(store))
      assert.isAtLeast(whole.get, segments)
      const theirs = (user: string) => whole.values.flatMap((value, i) => (value.user === user ? [i] : []))

      const byUser = yield* read(logOf(store), ["user u3"])
      assert.deepStrictEqual(
        byUser.positions.filter((i) => whole.values[i]!.user === "u3"),
        theirs("u3")
      )
      // 1 in 10 has it; and 1 for the manifest, those of pages, and a few that only seem to have it.
      assert.isAtMost(byUser.get, segments / 10 + 1 + Math.ceil(segments / 32) + 5)
      const byId = yield* read(logOf(store), ["id 1234"])
      assert.include(byId.positions, 1234)
      assert.isAtMost(byId.get, 1 + 1 + Math.ceil(segments / 32) + 5)
      // Both have to be there.
      assert.isAtMost((yield* read(logOf(store), ["id 1234", "user u0"])).get, 1 + Math.ceil(segments / 32) + 3)
      assert.isAtMost((yield* read(logOf(store), ["user nobody"])).positions.length, 5 * size)

      yield* log.retain({ before: 1000 })
      assert.deepStrictEqual(
        (yield* read(log, ["user u3"])).positions.filter((i) => whole.values[i]!.user === "u3"),
        theirs("u3").filter((i) => i >= 1000)
      )
      const large = logOf(store, { segmentEntries: 100 })
      yield* large.compact()
      const compacted = yield* read(large, ["id 3210"])
      assert.include(compacted.positions, 3210)
      assert.isAtMost(compacted.get, 6)
      assert.strictEqual((yield* large.verify()).next, segments * size)
    })
  )

  it.effect("reads all of a log that was appended to without terms, before or between", () =>
    Effect.gen(function* () {
      const { read, store } = yield* opened
      const plain = logOf(store, { termsOf: undefined })
      yield* plain.append(segmentOf(0, 3))
      yield* logOf(store).append(segmentOf(1, 3))
      yield* plain.append(segmentOf(2, 3))
      assert.deepStrictEqual((yield* read(logOf(store), ["user u1"])).positions, range(9))
      assert.deepStrictEqual((yield* read(logOf(store), ["user nobody"])).positions, [0, 1, 2, 6, 7, 8])
    })
  )
})

describe("filters of terms", () => {
  it("never say no of what is there, and seldom yes of what is not; they have a bound", () => {
    for (const [count, most] of [
      [1, 0.05],
      [10, 0.05],
      [1000, 0.03],
      [4000, 0.45]
    ] as const) {
      const filter = termFilter.write(new Set(range(count).map((i) => `in ${i}`)))
      assert.isAtMost(filter.length, 1710)
      assert.isTrue(range(count).every((i) => termFilter.mayHave(filter, [`in ${i}`])))
      const wrong = range(2000).filter((i) => termFilter.mayHave(filter, [`out ${i}`])).length
      assert.isAtMost(wrong / 2000, most, `${count}`)
    }
    assert.isFalse(termFilter.mayHave(termFilter.write(new Set()), ["a"]))
    assert.isTrue(termFilter.mayHave(termFilter.write(new Set()), []))
    for (const none of [undefined, "", "?", "AA"]) assert.isTrue(termFilter.mayHave(none, ["a"]), none)
  })
})
