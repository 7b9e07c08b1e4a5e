/**
 * Packs that are about the same keys: what releases have left in a manifest whose compaction named a pack again that a faster one had replaced.
 * The next compaction packs those ranges anew, and until then, and while it does so, readers see what is there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import type * as PackedObjects from "effect-s3db/kernel/PackedObjects"
import * as Parts from "effect-s3db/kernel/Segments"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, memory, moments } from "../fixture.ts"
import {
  assertSame,
  name,
  noting,
  on,
  packing,
  prefix,
  put,
  range,
  scanned,
  type Store,
  there
} from "./packedObjects.ts"

type Options = Partial<PackedObjects.Options>
type Noting = ReturnType<typeof noting>

/** So many objects there are. */
const objects = 6

/** Packs do not fit together, and what has changed since any of them is too little to make it anew. */
const options: Options = { objectsPerPack: 3, leastChanges: 4 }

const later = TestClock.adjust(1000)

/** Lists one key after the other. */
const narrow = (store: Store): Store => ({ ...store, list: (one) => store.list({ ...one, maxKeys: 1 }) })

const partsOf = (store: Store) => Parts.make(store, { prefix }).read

/** Has the manifest name some parts and no others. */
const nameOnly = Effect.fnUntraced(function* (store: Store, add: ReadonlyArray<Parts.Part>) {
  const parts = Parts.make(store, { prefix })
  const { parts: remove, version } = yield* parts.read
  yield* parts.commit({ add, remove, expected: version })
})

/** Packs all objects once for each size, each time after one of them has changed. Gives the packs of each time. */
const laidOut = Effect.fnUntraced(function* (store: Store, noted: Noting, sizes: ReadonlyArray<number>) {
  yield* TestClock.setTime(0)
  for (const i of range(objects)) yield* noted.put(name(i), "first")
  const all: Array<ReadonlyArray<Parts.Part>> = []
  for (const [i, objectsPerPack] of sizes.entries()) {
    yield* later
    yield* noted.put(name(2 * i), `changed ${i}`)
    yield* nameOnly(store, [])
    yield* later
    yield* on(store, { objectsPerPack }).compact(packing)
    all.push((yield* partsOf(store)).parts)
  }
  yield* later
  return all
})

interface State {
  /** How many objects the packs of each time have. Those of the last time count. */
  readonly sizes: ReadonlyArray<number>
  /** Which of them count, too: of which time, and which of those. */
  readonly again: ReadonlyArray<readonly [time: number, pack: number]>
  readonly isFirst?: boolean
  readonly note?: (note: Record<string, unknown>) => Record<string, unknown>
}

const states: Readonly<Record<string, State>> = {
  "of identical ranges": { sizes: [3, 3], again: [[0, 0]] },
  "of identical ranges, the older one first": { sizes: [3, 3], again: [[0, 0]], isFirst: true },
  "of identical ranges at the end": { sizes: [3, 3], again: [[0, 1]], isFirst: true },
  "all of them twice": {
    sizes: [3, 3],
    again: [
      [0, 0],
      [0, 1]
    ]
  },
  "of identical ranges, thrice": {
    sizes: [2, 2, 2],
    again: [
      [0, 1],
      [1, 1]
    ],
    isFirst: true
  },
  "as releases have named them that did not say when they were whole": {
    sizes: [3, 3],
    again: [[0, 0]],
    isFirst: true,
    note: ({ e: _e, w: _w, ...note }) => note
  },
  "that overlap by one key": { sizes: [3, 2], again: [[0, 0]] },
  "one that the next one begins with": { sizes: [2, 6], again: [[0, 0]] },
  "one that lies within another": { sizes: [2, 6], again: [[0, 1]] },
  "one that another ends with": { sizes: [2, 6], again: [[0, 2]], isFirst: true },
  "one that has all others within it": { sizes: [6, 2], again: [[0, 0]], isFirst: true },
  "two that lie within another": {
    sizes: [2, 6],
    again: [
      [0, 0],
      [0, 1]
    ]
  }
}

const make = Effect.fnUntraced(function* ({ again, isFirst = false, note, sizes }: State) {
  const { control, store } = yield* MemoryStore.make()
  const noted = noting(store)
  const all = yield* laidOut(store, noted, sizes)
  const others = again.map(([time, pack]) => all[time]![pack]!)
  const named = isFirst ? [...others, ...all.at(-1)!] : [...all.at(-1)!, ...others]
  const parts = named.map((part) =>
    note === undefined ? part : { ...part, note: note(part.note as Record<string, unknown>) as typeof part.note }
  )
  yield* nameOnly(store, parts as ReadonlyArray<Parts.Part>)
  const now = yield* Clock.currentTimeMillis
  const start = yield* control.snapshot
  return { store, noted, others, now, restore: Effect.andThen(control.restore(start), TestClock.setTime(now)) }
})

/** What is read is as new as it was to be, however new that is. */
const assertReads = Effect.fnUntraced(function* (store: Store, noted: Noting, given: Options, message: string) {
  yield* assertSame(store, given)
  const now = yield* Clock.currentTimeMillis
  for (const notBefore of [now, now - 1000, now - 3000, -1]) {
    const { all } = yield* scanned(store, given, undefined, undefined, { notBefore })
    noted.assertSince(all, notBefore, message)
  }
})

/** Each pack is about the keys that it has, and no two about the same. */
const assertDivided = Effect.fnUntraced(function* (store: Store, message: string) {
  const packed = on(store)
  let after = ""
  for (const pack of yield* packed.read) {
    assert.isTrue(pack.upto > after, `${message}: ${after} to ${pack.upto}`)
    for (const { key } of (yield* packed.index(pack)).entries()) {
      assert.isTrue(key > after && key <= pack.upto, `${message}: ${key} is not in ${after} to ${pack.upto}`)
    }
    after = pack.upto
  }
})

/** Packs have all that is there, and say so: nothing is listed, and no object read. */
const assertWhole = Effect.fnUntraced(function* (store: Store, message: string) {
  yield* assertDivided(store, message)
  const now = yield* Clock.currentTimeMillis
  assert.strictEqual(yield* on(store).wholeAt, now, message)
  const counted = InstrumentedStore.make(store)
  const { all, read } = yield* scanned(counted.store, undefined, undefined, undefined, { notBefore: now })
  assert.deepStrictEqual(all, yield* there(store), message)
  assert.deepStrictEqual({ read, lists: (yield* counted.counter.counts).list }, { read: 0, lists: 0 }, message)
  assert.strictEqual(yield* assertSame(store), 0, message)
})

describe("PackedObjects that overlap", () => {
  for (const [what, state] of Object.entries(states)) {
    it.effect(`the next compaction packs anew: ${what}`, () =>
      Effect.gen(function* () {
        const { noted, store } = yield* make(state)
        yield* assertReads(store, noted, options, "before")
        yield* on(store, options).compact(packing)
        yield* assertReads(store, noted, options, "after")
        yield* assertWhole(store, "after")
        // It does so once.
        yield* later
        assert.strictEqual((yield* on(store, options).compact(packing)).packs, 0)
        yield* assertWhole(store, "later")
      })
    )
  }

  it.effect("what was changed meanwhile is packed with it", () =>
    Effect.gen(function* () {
      for (const [what, state] of Object.entries(states)) {
        for (const i of range(objects + 1)) {
          const { noted, store } = yield* make(state)
          yield* i % 2 === 0 ? noted.put(name(i), "new") : noted.remove(name(i))
          yield* later
          yield* assertReads(store, noted, options, `${what}, ${i}, before`)
          yield* on(store, options).compact(packing)
          yield* assertReads(store, noted, options, `${what}, ${i}, after`)
          yield* assertDivided(store, `${what}, ${i}`)
          yield* later
          yield* on(store, { ...options, leastChanges: 1 }).compact(packing)
          yield* assertWhole(store, `${what}, ${i}`)
        }
      }
    })
  )

  it.effect("whichever packs are named, in a store that lists one key after the other, too", () =>
    Effect.gen(function* () {
      const made = yield* MemoryStore.make()
      const noted = noting(made.store)
      const all = (yield* laidOut(made.store, noted, [2, 3, 6])).flat()
      assert.strictEqual(all.length, 6)
      const start = yield* made.control.snapshot
      const now = yield* Clock.currentTimeMillis
      const ways = [
        { store: made.store, given: options, inOrder: true },
        { store: narrow(made.store), given: { objectsPerPack: 2, leastChanges: 1 }, inOrder: false }
      ]
      for (const chosen of range(2 ** all.length)) {
        for (const { given, inOrder, store } of ways) {
          yield* made.control.restore(start)
          yield* TestClock.setTime(now)
          const message = `${chosen}, ${given.objectsPerPack}`
          const named = all.filter((_, bit) => Math.floor(chosen / 2 ** bit) % 2 === 1)
          yield* nameOnly(store, inOrder ? named : named.toReversed())
          yield* assertReads(store, noted, given, `${message}, before`)
          yield* on(store, given).compact(packing)
          yield* assertReads(store, noted, given, `${message}, after`)
          yield* assertDivided(store, message)
          if (given.leastChanges === 1) yield* assertWhole(store, message)
        }
      }
    })
  )

  it.effect("a compaction that dies at any request leaves what the next one brings to its end", () =>
    Effect.gen(function* () {
      for (const [i, [what, state]] of Object.entries(states).entries()) {
        const grace = i % 2 === 0 ? 0 : "1 hour"
        const { noted, restore, store } = yield* make(state)
        for (const when of moments) {
          for (let at = 1; ; at++) {
            const message = `${what}, ${when} ${at}`
            yield* restore
            const client = crashing(store, at, when)
            const exit = yield* Effect.exit(on(client.store, { ...options, grace }).compact(packing))
            yield* assertReads(store, noted, options, message)
            yield* later
            yield* on(store, { ...options, grace }).compact(packing)
            yield* assertWhole(store, message)
            if (Exit.isSuccess(exit)) break
          }
        }
      }
    })
  )

  it.effect("reads that may be so old, and writes, at each request of the compaction", () =>
    Effect.gen(function* () {
      for (const [what, state] of Object.entries(states)) {
        const { noted, store } = yield* make(state)
        let requests = 0
        const between = Effect.gen(function* () {
          requests += 1
          yield* later
          yield* noted.put(name(requests % (objects + 2)), `between ${requests}`)
          yield* assertReads(store, noted, options, `${what}, ${requests}`)
        })
        const watched: Store = {
          ...store,
          get: (...args) => Effect.andThen(Effect.orDie(between), store.get(...args)),
          list: (one) => Effect.andThen(Effect.orDie(between), store.list(one)),
          put: (one) => Effect.andThen(Effect.orDie(between), store.put(one))
        }
        yield* on(watched, { ...options, grace: 0 }).compact(packing)
        assert.isAbove(requests, 3)
        yield* assertDivided(store, what)
        yield* later
        yield* on(store, { ...options, leastChanges: 1 }).compact(packing)
        yield* assertWhole(store, what)
      }
    })
  )

  it.effect("a compaction of an earlier release that names the same packs again, before each request", () =>
    Effect.gen(function* () {
      for (const [what, state] of Object.entries(states)) {
        const { noted, others, restore, store } = yield* make(state)
        for (let at = 1; ; at++) {
          yield* restore
          let requests = 0
          const nameAgain = Effect.suspend(() => {
            requests += 1
            if (requests !== at) return Effect.void
            const parts = Parts.make(store, { prefix })
            return parts.read.pipe(
              Effect.flatMap(({ parts: now, version }) => {
                const names = new Set(others.map((part) => part.name))
                const remove = now.filter((part) => names.has(part.name))
                return parts.commit({ add: others, remove, expected: version })
              }),
              Effect.orDie
            )
          })
          const beside: Store = {
            ...store,
            get: (...args) => Effect.andThen(nameAgain, store.get(...args)),
            list: (one) => Effect.andThen(nameAgain, store.list(one)),
            put: (one) => Effect.andThen(nameAgain, store.put(one))
          }
          yield* on(beside, options).compact(packing)
          yield* assertReads(store, noted, options, `${what}, ${at}`)
          if (requests < at) break
          yield* later
          yield* on(store, options).compact(packing)
          yield* assertWhole(store, `${what}, ${at}`)
        }
      }
    })
  )

  it.effect("two compactions and a reader, in every order of their requests", () =>
    Effect.gen(function* () {
      for (const state of [states["of identical ranges at the end"]!, states["that overlap by one key"]!]) {
        const { noted, now, restore, store } = yield* make(state)
        const schedule = Interleavings.make(store)
        /** The same each time. */
        const program = <A>(client: string, run: (store: Store) => Effect.Effect<A, unknown>) =>
          Effect.suspend(() => run(schedule.client(client))).pipe(
            Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))),
            Random.withSeed(client)
          )
        const compaction = (client: string) =>
          program(client, (mine) => Effect.asVoid(on(mine, { ...options, grace: 0 }).compact(packing)))
        /** Older than this a read may not be: the pack that was named again has been whole then. */
        const notBefore = now - 1000 * 3
        const { complete, schedules } = yield* schedule.explore({
          before: restore,
          programs: {
            a: compaction("a"),
            b: compaction("b"),
            reader: program("reader", (mine) =>
              Effect.map(scanned(mine, options, undefined, undefined, { notBefore }), ({ all }) =>
                noted.assertSince(all, notBefore, "reader")
              )
            )
          },
          preemptions: 1,
          crashes: 0,
          check: ({ exits }) =>
            Effect.gen(function* () {
              for (const exit of Object.values(exits)) assert.isTrue(Exit.isSuccess(exit), String(exit))
              yield* assertSame(store, options)
              yield* on(store, options).compact(packing)
              yield* assertWhole(store, "after both")
            })
        })
        assert.isTrue(complete)
        assert.isAbove(schedules, 50)
      }
    })
  )

  it.effect("random writes, compactions that crash, and packs that are named again", () =>
    Effect.gen(function* () {
      for (const seed of range(24)) {
        const store = yield* memory
        const noted = noting(store)
        const given: Options = {
          objectsPerPack: 1 + (seed % 5),
          leastChanges: 1 + (seed % 3),
          grace: seed % 2 === 0 ? 3 : 50
        }
        yield* Effect.gen(function* () {
          for (let now = 1; now <= 60; now++) {
            yield* TestClock.setTime(seed * 1000 + now)
            const kind = yield* Random.nextIntBetween(0, 12)
            const key = name(yield* Random.nextIntBetween(0, 14))
            if (kind === 0) yield* noted.remove(key)
            else if (kind < 5) yield* noted.put(key, `${kind === 1 ? "-" : ""}${now}`)
            else if (kind < 7) {
              const at = yield* Random.nextIntBetween(0, 60)
              yield* Effect.exit(on(crashing(store, at, "before").store, given).compact(packing))
            } else if (kind < 9) {
              const { parts, version } = yield* partsOf(store)
              const retired = parts.filter((part) => "x" in (part.note as object))
              const one = retired[yield* Random.nextIntBetween(0, Math.max(1, retired.length))]
              if (one === undefined) continue
              const { x: _x, ...note } = one.note as { readonly x: number }
              const add = [{ ...one, note }]
              yield* Parts.make(store, { prefix }).commit({ add, remove: [one], expected: version })
            } else {
              const notBefore = seed * 1000 + now - (yield* Random.nextIntBetween(0, 30))
              const { all } = yield* scanned(store, given, undefined, undefined, { notBefore })
              noted.assertSince(all, notBefore, `${seed}, ${now}`)
            }
          }
          yield* on(store, given).compact(packing)
          yield* assertSame(store, given)
          yield* assertDivided(store, `${seed}`)
        }).pipe(Random.withSeed(`${seed}`))
      }
    })
  )

  it.effect("small packs that are put together, and have become more than a range: none of them stays", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of [0, 60]) yield* put(store, name(i), "first")
      yield* on(store, { objectsPerPack: 1 }).compact(packing)
      // Between the two more than two packs may have.
      for (let i = 1; i < 50; i++) yield* put(store, name(i), "later")
      yield* later
      // The second one has its copy until it is come to.
      assert.strictEqual((yield* on(narrow(store)).compact(packing)).read, 49)
      yield* assertWhole(store, "after")
    })
  )

  it.effect("a compaction goes on where a range begins of one that was faster: no key is left without a pack", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(4)) yield* put(store, name(i), "first")
      yield* on(store, { objectsPerPack: 2 }).compact(packing)
      const lost = `${prefix}/part/g=${(yield* partsOf(store)).parts[1]!.name}`
      yield* store.delete(lost)
      // When the first one has looked at the first pack, and finds that the second is gone.
      let isFirst = true
      const faster = Effect.suspend(() => {
        if (!isFirst) return Effect.void
        isFirst = false
        // The first pack takes in what is in none.
        return Effect.orDie(on(store, { objectsPerPack: 6 }).compact(packing))
      })
      const slow: Store = {
        ...store,
        get: (key, ...rest) => Effect.andThen(key === lost ? faster : Effect.void, store.get(key, ...rest))
      }
      yield* later
      yield* on(slow, options).compact(packing)
      assert.isFalse(isFirst)
      yield* assertWhole(store, "after")
    })
  )

  it.effect("what it has listed ahead is not taken for all of a range that begins before it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const i of range(12)) yield* put(store, name(i), "first")
      yield* on(store, { objectsPerPack: 12 }).compact(packing)
      const cut = `${prefix}/part/g=${(yield* partsOf(store)).parts[0]!.name}`
      // When the first one has named what it has cut off, the pack goes, and the other puts all together.
      let isFirst = true
      const faster = Effect.gen(function* () {
        if (!isFirst || (yield* partsOf(store)).parts.length === 1) return
        isFirst = false
        yield* store.delete(cut)
        // It would be the same pack again otherwise.
        yield* put(store, name(0), "other")
        yield* on(store, { objectsPerPack: 48 }).compact(packing)
      })
      const slow: Store = {
        ...store,
        get: (key, ...rest) => Effect.andThen(key === cut ? Effect.orDie(faster) : Effect.void, store.get(key, ...rest))
      }
      yield* later
      yield* on(narrow(slow), { objectsPerPack: 1 }).compact(packing)
      assert.isFalse(isFirst)
      yield* assertWhole(store, "after")
    })
  )
})
