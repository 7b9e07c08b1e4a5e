/** Indexers of vectors that crash or meet each other, and documents that change while they are looked for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { crashing, drive, keysOf, memory, moments } from "../fixture.ts"
import { driven, history, idsOf, type Opened, openSongs, type Settings, type Store } from "./nearby.ts"
import { randomOf } from "./places.ts"

const objectsOf = (store: Store) =>
  Effect.map(keysOf(store, "resource=songs/plugin=vectorindex/"), (keys) =>
    keys.filter((key) => key.includes("/segment/"))
  )

/** Lists, with so few documents, and objects so small that a merge takes several steps. */
const listed: Settings = { exactUntil: 1, lists: 3, recall: 1, objectBytes: 64 * 1024 }

/** Runs something in a process that crashes at each of its requests in turn, and looks at what is left with another one. */
const atEachRequest = Effect.fnUntraced(function* <A>(
  settings: Settings,
  prepare: (process: Opened) => Effect.Effect<A, unknown>,
  work: (process: Opened) => Effect.Effect<unknown, unknown>,
  look: (process: Opened, store: Store, before: A, at: string) => Effect.Effect<void, unknown>
) {
  const open = (store: Store) => openSongs(store, settings)
  for (let at = 1; ; at++) {
    for (const when of moments) {
      const store = yield* memory
      const before = yield* Effect.orDie(Effect.scoped(Effect.flatMap(open(store), (one) => driven(prepare(one)))))
      const crash = crashing(store, at, when)
      const exit = yield* Effect.exit(
        Effect.scoped(Effect.flatMap(open(crash.store), (process) => driven(work(process))))
      )
      yield* Effect.scoped(
        Effect.flatMap(open(store), (process) => driven(look(process, store, before, `${when} ${at}`)))
      )
      if (exit._tag === "Success") return at
    }
  }
})

const vector = [1, 0]

const insertAll = ({ songs }: Pick<Opened, "songs">, ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id, i) => songs.insert({ id, sound: [1, i * 0.1] }), { discard: true })

describe("indexers of vectors", () => {
  for (const [title, settings] of [
    ["without lists", {}],
    ["with lists", listed]
  ] as const) {
    it.effect(`that crash at any request of a build ${title} leave what another one ends`, () =>
      Effect.gen(function* () {
        const requests = yield* atEachRequest(
          settings,
          (opened) =>
            Effect.andThen(
              insertAll(opened, ["a", "b", "c", "d"]),
              opened.database.journal.catchUp(opened.database.journaled, { lease: "1 second" })
            ),
          ({ index }) => index.update,
          Effect.fnUntraced(function* ({ index, settle, songs }, store, _, at) {
            yield* songs.delete("b")
            yield* settle
            assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "c", "d"], at)
            assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
            yield* Effect.sleep("2 minutes")
            yield* index.compact
            yield* Effect.sleep("2 minutes")
            yield* index.update
            // One of vectors and, with lists, one of centres.
            assert.strictEqual((yield* objectsOf(store)).length, settings === listed ? 2 : 1, at)
            assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "c", "d"], at)
          })
        )
        assert.isAbove(requests, settings === listed ? 14 : 10)
      })
    )
  }

  it.effect("that crash at any request of a merge lose nothing, and readers find everything meanwhile", () =>
    Effect.gen(function* () {
      const ids = ["a", "b", "c", "d", "e"]
      const requests = yield* atEachRequest(
        listed,
        Effect.fnUntraced(function* (opened) {
          for (const id of ids) {
            yield* opened.songs.insert({ id, sound: [1, ids.indexOf(id) * 0.1] })
            yield* opened.settle
          }
          yield* opened.songs.delete("c")
          yield* opened.settle
          return (yield* opened.index.status).segments
        }),
        ({ index }) => index.compact,
        Effect.fnUntraced(function* ({ index }, store, segments, at) {
          assert.isAbove(segments, 1)
          assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "b", "d", "e"], at)
          yield* index.compact
          assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "b", "d", "e"], at)
          assert.strictEqual((yield* index.status).segments, 1, at)
          assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
          yield* Effect.sleep("2 minutes")
          yield* index.update
          assert.strictEqual((yield* objectsOf(store)).length, 2, at)
        })
      )
      assert.isAbove(requests, 8)
    })
  )

  it.effect("that crash at any request of a rebuild leave what answered before, until the new one does", () =>
    Effect.gen(function* () {
      yield* atEachRequest(
        listed,
        (opened) => Effect.andThen(insertAll(opened, ["a", "b", "c"]), opened.settle),
        ({ index }) => index.rebuild,
        Effect.fnUntraced(function* ({ index, settle, songs }, store, _, at) {
          assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "b", "c"], at)
          yield* songs.delete("b")
          yield* settle
          assert.deepStrictEqual(idsOf(yield* index.search({ vector })), ["a", "c"], at)
          assert.isUndefined((yield* index.status).building, at)
          assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
          yield* Effect.sleep("2 minutes")
          yield* index.compact
          yield* Effect.sleep("2 minutes")
          yield* index.update
          assert.strictEqual((yield* objectsOf(store)).length, 2, at)
        })
      )
    })
  )

  it.effect("go on with a merge where another one stopped", () =>
    Effect.gen(function* () {
      // Rows of 4 KiB, so that each object has about 16.
      const settings: Settings = { ...listed, dimensions: 1_024, lists: 8 }
      const rowOf = (i: number) => Array.from({ length: 1_024 }, (_, d) => (d % 8 === i % 8 ? 1 : Math.sin(i + d) / 9))
      const prepared = yield* memory
      const { index, settle, songs } = yield* openSongs(prepared, settings)
      yield* driven(settle)
      for (let half = 0; half < 2; half++) {
        yield* songs.insertMany(Array.from({ length: 60 }, (_, i) => ({ id: `s${half}-${i}`, sound: rowOf(i) })))
        yield* driven(settle)
        yield* driven(index.compact)
      }
      yield* songs.insertMany(Array.from({ length: 60 }, (_, i) => ({ id: `t${i}`, sound: rowOf(i) })))
      yield* driven(settle)
      const puts: Array<number> = []
      for (let at = 10; ; at += 3) {
        // A crash in the middle, then another process, which has to put less than one that begins.
        const store = yield* memory
        for (const key of yield* keysOf(prepared)) {
          const { body, metadata } = yield* prepared.get(key)
          yield* store.put({ key, body, metadata })
        }
        const crash = crashing(store, at, "after")
        const exit = yield* Effect.exit(
          Effect.scoped(Effect.flatMap(openSongs(crash.store, settings), (one) => driven(one.index.compact)))
        )
        let put = 0
        const counted: Store = {
          ...store,
          put: (request) => {
            if (request.key.includes("/segment/")) put += 1
            return store.put(request)
          }
        }
        const other = yield* openSongs(counted, settings)
        yield* songs.patch("s0-1", { year: at })
        yield* driven(other.songs.delete("s0-7"))
        yield* driven(other.settle)
        yield* driven(other.index.compact)
        puts.push(put)
        assert.strictEqual((yield* other.index.status).segments, 1)
        assert.strictEqual((yield* other.index.status).documents, 179)
        assert.deepStrictEqual(yield* driven(Stream.runCollect(other.index.verify)), [])
        assert.notInclude(idsOf(yield* other.index.search({ vector: rowOf(7), limit: 1_000 })), "s0-7")
        if (exit._tag === "Success") break
      }
      assert.isBelow(Math.min(...puts.slice(0, -1)), Math.max(...puts) - 2)
    })
  )

  it.effect("that are two index each record once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* openSongs(store, listed)
      const other = yield* openSongs(store, listed)
      for (let round = 0; round < 5; round++) {
        yield* insertAll(one, [`a${round}`, `b${round}`])
        yield* one.database.journal.catchUp(one.database.journaled)
        yield* driven(
          Effect.all([one.index.update, other.index.update, one.index.rebuild, other.index.compact], {
            concurrency: "unbounded"
          })
        )
        const { items } = yield* one.index.lookup({ vector, limit: 100 })
        assert.strictEqual(items.length, 2 * (round + 1))
        assert.strictEqual((yield* other.index.status).documents, items.length)
      }
      assert.deepStrictEqual(yield* driven(Stream.runCollect(other.index.verify)), [])
    })
  )
})

describe("histories", () => {
  it.effect("show no document that is gone, and miss none that is committed where it is asked for", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 8; seed++) yield* Effect.scoped(history(seed))
    })
  )

  it.effect("while documents change and are indexed, those that do not are found", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 10; seed++) {
        const random = randomOf(seed)
        const store = yield* memory
        const turns: Store = {
          ...store,
          get: (...args) => Effect.andThen(Effect.yieldNow, store.get(...args)),
          put: (request) => Effect.andThen(Effect.yieldNow, store.put(request)),
          list: (request) => Effect.andThen(Effect.yieldNow, store.list(request)),
          deleteMany: (...args) => Effect.andThen(Effect.yieldNow, store.deleteMany(...args))
        }
        const opened = yield* openSongs(turns, random() < 0.5 ? listed : {})
        const { database, index, settle, songs } = opened
        yield* insertAll(opened, ["s1", "s2", "s3"])
        yield* driven(settle)
        yield* insertAll(opened, ["gone"])
        if (random() < 0.5) yield* driven(settle)
        yield* songs.delete("gone")
        yield* insertAll(opened, ["s4"])
        const writing = Effect.forEach(
          Array.from({ length: 15 }, (_, i) => i),
          (i) =>
            Effect.andThen(
              songs.replace({ id: `m${i % 4}`, sound: [1, i] }),
              random() < 0.3 ? songs.delete(`m${(i + 1) % 4}`) : Effect.void
            ),
          { discard: true }
        )
        const keeping = Effect.forEach(
          Array.from({ length: 4 }, (_, i) => i),
          (i) =>
            Effect.andThen(
              database.journal.catchUp(database.journaled, { lease: "1 second" }),
              i === 2 ? index.compact : index.update
            ),
          { discard: true }
        )
        const asking = Effect.forEach(
          Array.from({ length: 10 }, (_, i) => i),
          () => Effect.map(index.search({ vector, consistent: true, limit: 100 }), idsOf)
        )
        const fiber = yield* Effect.forkChild(Effect.all([writing, keeping, asking], { concurrency: "unbounded" }))
        const [, , answers] = yield* drive(fiber)
        for (const ids of answers) {
          assert.strictEqual(new Set(ids).size, ids.length, `seed ${seed}`)
          assert.notInclude(ids, "gone")
          for (const id of ["s1", "s2", "s3", "s4"]) assert.include(ids, id, `seed ${seed}`)
        }
        yield* Fiber.interrupt(fiber)
      }
    })
  )
})
