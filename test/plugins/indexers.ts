/**
 * What every index that is made of the journal passes: indexers that crash or meet each other, and documents that change while they are
 * looked for. Each index says by a `Subject` how it is opened and asked.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Database } from "effect-s3db/Database"
import { crashing, drive, keysOf, memory, moments } from "../fixture.ts"
import { randomOf } from "./places.ts"

export type Store = Effect.Success<typeof memory>

/** Lets time pass for what waits for it. */
export const driven = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))

/** An index and its documents, as a process of its own has them. */
export interface Opened {
  readonly database: Database["Service"]
  readonly index: {
    readonly update: Effect.Effect<void, unknown>
    readonly rebuild: Effect.Effect<void, unknown>
    readonly compact: Effect.Effect<void, unknown>
    readonly caughtUp: Effect.Effect<void, unknown>
    readonly verify: Stream.Stream<unknown, unknown>
    readonly status: Effect.Effect<
      {
        readonly position: number
        readonly documents: number
        readonly segments: number
        readonly building: object | undefined
      },
      unknown
    >
  }
  /** Brings what was committed into the journal, and all of that into the index. */
  readonly settle: Effect.Effect<void, unknown>
  /** Writes a document that `found` finds, the `place`th of them. */
  readonly write: (id: string, place: number) => Effect.Effect<unknown, unknown>
  readonly remove: (id: string) => Effect.Effect<unknown, unknown>
  /** The documents that are found, in their order. */
  readonly found: (options?: { readonly consistent?: boolean }) => Effect.Effect<ReadonlyArray<string>, unknown>
}

export interface Subject {
  readonly name: string
  /** The name of the plugin, as its keys have it. */
  readonly plugin: string
  readonly open: (
    store: Store,
    options?: { readonly indexes?: boolean; readonly maxAge?: "Infinity" }
  ) => Effect.Effect<Opened, unknown, Scope.Scope>
  /** How many objects there are beside segments. */
  readonly beside: number
  readonly history: (seed: number) => Effect.Effect<void, unknown, Scope.Scope>
}

/** How much is tried: a crash at every so many requests, and how many histories. */
export interface Amount {
  readonly every: number
  readonly seeds: readonly [first: number, count: number]
  readonly courses: number
}

const objectsOf = (store: Store, { plugin }: Subject) =>
  Effect.map(
    keysOf(store),
    (keys) => keys.filter((key) => key.includes(`/plugin=${plugin}/`) && key.includes("/segment/")).length
  )

const writeAll = ({ write }: Opened, ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id, i) => write(id, i), { discard: true })

/** Runs something in a process that crashes at its requests in turn, and looks at what is left with another one. Gives how many requests there are. */
const atRequests = Effect.fnUntraced(function* <A>(
  { open }: Subject,
  every: number,
  prepare: (process: Opened) => Effect.Effect<A, unknown>,
  work: (process: Opened) => Effect.Effect<unknown, unknown>,
  look: (process: Opened, store: Store, before: A, at: string) => Effect.Effect<void, unknown>
) {
  for (let at = 1; ; at += every) {
    for (const when of moments) {
      const store = yield* memory
      const before = yield* Effect.scoped(Effect.flatMap(open(store), (one) => driven(prepare(one))))
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

const nothingIsLeft = Effect.fnUntraced(function* (subject: Subject, { index }: Opened, store: Store, at: string) {
  assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [], at)
  // What nothing names is removed, and what was a segment a minute later.
  yield* index.compact
  yield* Effect.sleep("2 minutes")
  yield* index.update
  assert.strictEqual(yield* objectsOf(store, subject), (yield* index.status).segments + subject.beside, at)
})

export const suite = (subject: Subject, { courses, every, seeds: [first, count] }: Amount): void => {
  const { open } = subject

  describe(`indexers of ${subject.name}`, () => {
    it.effect("that crash at any request of a build leave what another one ends", () =>
      Effect.gen(function* () {
        const requests = yield* atRequests(
          subject,
          every,
          (opened) =>
            Effect.andThen(
              writeAll(opened, ["a", "b", "c"]),
              opened.database.journal.catchUp(opened.database.journaled, { lease: "1 second" })
            ),
          ({ index }) => index.update,
          Effect.fnUntraced(function* (opened, store, _, at) {
            yield* opened.remove("b")
            yield* opened.settle
            assert.deepStrictEqual(yield* opened.found(), ["a", "c"], at)
            yield* nothingIsLeft(subject, opened, store, at)
            assert.deepStrictEqual(yield* opened.found(), ["a", "c"], at)
          })
        )
        assert.isAbove(requests, 10)
      })
    )

    it.effect("that crash at any request of a merge lose nothing, and readers find everything meanwhile", () =>
      Effect.gen(function* () {
        const ids = ["a", "b", "c", "d", "e"]
        const requests = yield* atRequests(
          subject,
          every,
          Effect.fnUntraced(function* ({ index, remove, settle, write }) {
            for (const [i, id] of ids.entries()) {
              yield* write(id, i)
              yield* settle
            }
            yield* remove("c")
            yield* settle
            return (yield* index.status).segments
          }),
          ({ index }) => index.compact,
          Effect.fnUntraced(function* (opened, store, segments, at) {
            assert.isAbove(segments, 1)
            assert.deepStrictEqual(yield* opened.found(), ["a", "b", "d", "e"], at)
            yield* opened.index.compact
            assert.deepStrictEqual(yield* opened.found(), ["a", "b", "d", "e"], at)
            assert.strictEqual((yield* opened.index.status).segments, 1, at)
            yield* nothingIsLeft(subject, opened, store, at)
          })
        )
        assert.isAbove(requests, 5)
      })
    )

    it.effect("that crash at any request of a rebuild leave what answered before, until the new one does", () =>
      Effect.gen(function* () {
        yield* atRequests(
          subject,
          every,
          (opened) => Effect.andThen(writeAll(opened, ["a", "b", "c"]), opened.settle),
          ({ index }) => index.rebuild,
          Effect.fnUntraced(function* (opened, store, _, at) {
            assert.deepStrictEqual(yield* opened.found(), ["a", "b", "c"], at)
            yield* opened.remove("b")
            yield* opened.settle
            assert.deepStrictEqual(yield* opened.found(), ["a", "c"], at)
            assert.isUndefined((yield* opened.index.status).building, at)
            yield* nothingIsLeft(subject, opened, store, at)
          })
        )
      })
    )

    it.effect("that are asked while others write on and on come to their end", () =>
      Effect.gen(function* () {
        for (const indexes of [false, true]) {
          const store = yield* memory
          const one = yield* open(store)
          const other = yield* open(store)
          let written = 0
          const write = Effect.andThen(
            Effect.suspend(() => other.write(`d${written++ % 5}`, written)),
            other.database.journal.catchUp(other.database.journaled, { lease: "1 second" })
          )
          yield* driven(Effect.andThen(write, one.index.update))
          // Each time that the index looks there is something new.
          const busy = yield* open(
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

    it.effect("that were waited for answer by what they have done, however old it may be else", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const one = yield* open(store, { maxAge: "Infinity" })
        yield* writeAll(one, ["a", "b"])
        yield* driven(one.settle)
        assert.deepStrictEqual(yield* one.found(), ["a", "b"])
        const { caughtUp, rebuild, update } = one.index
        for (const [i, done] of [update, caughtUp, driven(rebuild)].entries()) {
          yield* one.write(`c${i}`, 2 + i)
          yield* one.database.journal.catchUp(one.database.journaled, { lease: "1 second" })
          // Another process may have done it.
          if (done === caughtUp) yield* Effect.flatMap(open(store), (other) => driven(other.index.update))
          yield* done
          assert.include(yield* one.found(), `c${i}`)
        }
      })
    )

    it.effect("that are two index each record once", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const one = yield* open(store)
        const other = yield* open(store)
        for (let round = 0; round < 5; round++) {
          yield* writeAll(one, [`a${round}`, `b${round}`])
          yield* one.database.journal.catchUp(one.database.journaled)
          yield* driven(
            Effect.all([one.index.update, other.index.update, one.index.rebuild, other.index.compact], {
              concurrency: "unbounded"
            })
          )
          assert.strictEqual((yield* one.found()).length, 2 * (round + 1))
          assert.strictEqual((yield* other.index.status).documents, 2 * (round + 1))
        }
        assert.deepStrictEqual(yield* driven(Stream.runCollect(other.index.verify)), [])
      })
    )
  })

  describe(`histories of indexes of ${subject.name}`, () => {
    it.effect("show no document that is gone, and miss none that is committed where it is asked for", () =>
      Effect.gen(function* () {
        for (let seed = first; seed < first + count; seed++) yield* Effect.scoped(subject.history(seed))
      })
    )

    it.effect("while documents change and are indexed, those that do not are found", () =>
      Effect.gen(function* () {
        for (let seed = 1; seed <= courses; seed++) yield* Effect.scoped(course(subject, seed))
      })
    )
  })
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Writers, indexers and readers at once, who take turns at their requests. */
const course = Effect.fnUntraced(function* ({ open }: Subject, seed: number) {
  const random = randomOf(seed)
  const store = yield* memory
  const turns: Store = {
    ...store,
    get: (...args) => Effect.andThen(Effect.yieldNow, store.get(...args)),
    put: (request) => Effect.andThen(Effect.yieldNow, store.put(request)),
    list: (request) => Effect.andThen(Effect.yieldNow, store.list(request)),
    deleteMany: (...args) => Effect.andThen(Effect.yieldNow, store.deleteMany(...args))
  }
  const opened = yield* open(turns)
  const { database, found, index, remove, settle, write } = opened
  yield* writeAll(opened, ["s1", "s2", "s3"])
  yield* driven(settle)
  yield* write("gone", 0)
  if (random() < 0.5) yield* driven(settle)
  yield* remove("gone")
  yield* write("s4", 3)
  const writing = Effect.forEach(
    upTo(15),
    (i) => Effect.andThen(write(`m${i % 4}`, i), random() < 0.3 ? remove(`m${(i + 1) % 4}`) : Effect.void),
    { discard: true }
  )
  const keeping = Effect.forEach(
    upTo(4),
    (i) =>
      Effect.andThen(
        database.journal.catchUp(database.journaled, { lease: "1 second" }),
        i === 2 ? index.compact : index.update
      ),
    { discard: true }
  )
  const asking = Effect.forEach(upTo(10), () => found({ consistent: true }))
  const fiber = yield* Effect.forkChild(Effect.all([writing, keeping, asking], { concurrency: "unbounded" }))
  const [, , answers] = yield* drive(fiber)
  for (const ids of answers) {
    assert.strictEqual(new Set(ids).size, ids.length, `seed ${seed}`)
    assert.notInclude(ids, "gone")
    for (const id of ["s1", "s2", "s3", "s4"]) assert.include(ids, id, `seed ${seed}`)
  }
  yield* Fiber.interrupt(fiber)
})

/** Few of all. */
export const quick: Amount = { every: 7, seeds: [1, 2], courses: 2 }

/** A crash at every request. */
export const all: Amount = { every: 1, seeds: [100, 300], courses: 10 }
