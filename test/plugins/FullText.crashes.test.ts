/** Indexers that crash or meet each other, and documents that change while they are looked for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { crashing, drive, keysOf, memory, moments } from "../fixture.ts"
import { randomOf } from "./places.ts"
import { driven, history, idsOf, openArticles, type Store } from "./searches.ts"

const folder = "resource=articles/plugin=fulltext/"

const segmentsOf = (store: Store) =>
  Effect.map(keysOf(store, folder), (keys) => keys.filter((key) => key.includes("/segment/")).length)

/** Runs something in a process that crashes at each of its requests in turn, and looks at what is left with another one. */
const atEachRequest = Effect.fnUntraced(function* <A>(
  prepare: (store: Store) => Effect.Effect<A>,
  work: (process: Effect.Success<ReturnType<typeof openArticles>>) => Effect.Effect<unknown, unknown>,
  look: (
    process: Effect.Success<ReturnType<typeof openArticles>>,
    store: Store,
    before: A,
    at: string
  ) => Effect.Effect<void, unknown>
) {
  for (let at = 1; ; at++) {
    for (const when of moments) {
      const store = yield* memory
      const before = yield* prepare(store)
      const crash = crashing(store, at, when)
      const exit = yield* Effect.exit(
        Effect.scoped(Effect.flatMap(openArticles(crash.store), (process) => driven(work(process))))
      )
      yield* Effect.scoped(
        Effect.flatMap(openArticles(store), (process) => driven(look(process, store, before, `${when} ${at}`)))
      )
      if (exit._tag === "Success") return at
    }
  }
})

const insertAll = (articles: Effect.Success<ReturnType<typeof openArticles>>["articles"], ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id) => articles.insert({ id, title: `apple ${id}` }), { discard: true })

describe("indexers", () => {
  it.effect("that crash at any request of a build leave what another one ends", () =>
    Effect.gen(function* () {
      const requests = yield* atEachRequest(
        (store) =>
          Effect.scoped(
            Effect.flatMap(openArticles(store), ({ articles, database }) =>
              Effect.andThen(
                insertAll(articles, ["a", "b", "c"]),
                database.journal.catchUp(database.journaled, { lease: "1 second" })
              )
            )
          ).pipe(Effect.orDie),
        ({ index }) => index.update,
        Effect.fnUntraced(function* ({ articles, index, settle }, store, _, at) {
          yield* articles.delete("b")
          yield* settle
          assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["a", "c"], at)
          assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
          assert.isAtMost(yield* segmentsOf(store), 2, at)
        })
      )
      assert.isAbove(requests, 10)
    })
  )

  it.effect("that crash at any request of a merge lose nothing, and readers find everything meanwhile", () =>
    Effect.gen(function* () {
      const ids = ["a", "b", "c", "d", "e"]
      const requests = yield* atEachRequest(
        (store) =>
          Effect.scoped(
            Effect.gen(function* () {
              const { articles, index, settle } = yield* openArticles(store)
              for (const id of ids) {
                yield* insertAll(articles, [id])
                yield* settle
              }
              yield* articles.delete("c")
              yield* settle
              return (yield* index.status).segments
            })
          ).pipe(Effect.orDie),
        ({ index }) => index.compact,
        Effect.fnUntraced(function* ({ index }, store, segments, at) {
          assert.isAbove(segments, 1)
          assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["a", "b", "d", "e"], at)
          yield* index.compact
          assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["a", "b", "d", "e"], at)
          assert.strictEqual((yield* index.status).segments, 1, at)
          assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
          // What nothing names is removed, and what was a segment a minute later.
          yield* Effect.sleep("2 minutes")
          yield* index.update
          assert.strictEqual(yield* segmentsOf(store), 1, at)
        })
      )
      assert.isAbove(requests, 5)
    })
  )

  it.effect("that crash at any request of a rebuild leave what answered before, until the new one does", () =>
    Effect.gen(function* () {
      yield* atEachRequest(
        (store) =>
          Effect.scoped(
            Effect.flatMap(openArticles(store), ({ articles, settle }) =>
              Effect.andThen(insertAll(articles, ["a", "b", "c"]), settle)
            )
          ).pipe(Effect.orDie),
        ({ index }) => index.rebuild,
        Effect.fnUntraced(function* ({ articles, index, settle }, store, _, at) {
          assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["a", "b", "c"], at)
          yield* articles.delete("b")
          yield* settle
          assert.deepStrictEqual(idsOf(yield* index.search({ query: "apple" })), ["a", "c"], at)
          assert.isUndefined((yield* index.status).building, at)
          assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
          yield* Effect.sleep("2 minutes")
          yield* index.update
          assert.strictEqual(yield* segmentsOf(store), (yield* index.status).segments, at)
        })
      )
    })
  )

  it.effect("that are asked while others write on and on come to their end", () =>
    Effect.gen(function* () {
      for (const indexes of [false, true]) {
        const store = yield* memory
        const one = yield* openArticles(store)
        const other = yield* openArticles(store)
        let written = 0
        const write = Effect.andThen(
          Effect.suspend(() => other.articles.replace({ id: `d${written++ % 5}`, title: `apple ${written}` })),
          other.database.journal.catchUp(other.database.journaled, { lease: "1 second" })
        )
        yield* driven(Effect.andThen(write, one.index.update))
        // Each time that the index looks there is something new.
        const busy = yield* openArticles(
          {
            ...store,
            put: (request) =>
              request.key.endsWith("/manifest") && written < 60
                ? Effect.tap(store.put(request), () => Effect.orDie(write))
                : store.put(request)
          },
          { indexes }
        )
        yield* driven(write)
        const before = written
        yield* driven(busy.index.update)
        assert.isBelow(written, before + 20, String(indexes))
        assert.isAtLeast((yield* one.index.status).position, before)
        yield* driven(busy.index.compact)
        assert.isBelow(written, 60, String(indexes))
      }
    })
  )

  it.effect("that are two index each record once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* openArticles(store)
      const other = yield* openArticles(store)
      for (let round = 0; round < 5; round++) {
        yield* insertAll(one.articles, [`a${round}`, `b${round}`])
        yield* one.database.journal.catchUp(one.database.journaled)
        yield* driven(
          Effect.all([one.index.update, other.index.update, one.index.rebuild, other.index.compact], {
            concurrency: "unbounded"
          })
        )
        const { total } = yield* one.index.lookup({ query: "apple" })
        assert.strictEqual(total, 2 * (round + 1))
        assert.strictEqual((yield* other.index.status).documents, total)
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
        const { articles, database, index, settle } = yield* openArticles(turns)
        yield* insertAll(articles, ["s1", "s2", "s3"])
        yield* settle
        yield* insertAll(articles, ["gone"])
        if (random() < 0.5) yield* settle
        yield* articles.delete("gone")
        yield* insertAll(articles, ["s4"])
        const writing = Effect.forEach(
          Array.from({ length: 15 }, (_, i) => i),
          (i) =>
            Effect.andThen(
              articles.replace({ id: `m${i % 4}`, title: `apple ${i}` }),
              random() < 0.3 ? articles.delete(`m${(i + 1) % 4}`) : Effect.void
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
          () => Effect.map(index.search({ query: "apple", consistent: true, limit: 100 }), idsOf)
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
