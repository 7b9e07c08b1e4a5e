import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as CurrentUser from "effect-s3db/CurrentUser"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Transaction from "effect-s3db/Transaction"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"
import {
  Authors,
  Books,
  crashes,
  mishaps,
  fill,
  killed,
  libraryOn,
  notesIn,
  type Opened,
  stateOf,
  whole,
  withoutA
} from "./library.ts"

describe("Relation, deletions and changes", () => {
  it.effect("a deletion takes along, clears, and leaves the rest, by every way", () =>
    Effect.gen(function* () {
      const ways: ReadonlyArray<(opened: Opened) => Effect.Effect<unknown, unknown>> = [
        ({ authors }) => authors.delete("a"),
        ({ authors }) => Effect.flatMap(authors.getDocument("a"), (document) => authors.delete(document)),
        ({ authors }) => authors.deleteMany(["a", "none"]),
        ({ authors, database }) => database.transaction(authors.delete("a")),
        ({ library }) => library.authors.delete("a")
      ]
      for (const way of ways) {
        const store = yield* memory
        const opened = yield* libraryOn(store)
        yield* fill(opened)
        yield* way(opened)
        assert.deepStrictEqual(yield* stateOf(opened), withoutA)
        assert.deepStrictEqual(yield* notesIn(store), [])
      }
    })
  )

  it.effect("more than fit into a transaction are deleted as well", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      yield* fill(opened, 120)
      yield* opened.library.authors.delete("a")
      assert.deepStrictEqual(yield* stateOf(opened), withoutA)
      assert.deepStrictEqual(yield* notesIn(store), [])
    })
  )

  it.effect("nothing is deleted while something restricts it, at any level", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      const { authors, chapters, database, library, loans } = opened
      yield* fill(opened)
      yield* loans.insert({ id: "l", chapterId: "a2x" })
      for (const effect of [
        authors.delete("a"),
        library.authors.delete("a"),
        database.transaction(authors.delete("a")),
        chapters.delete("a2x"),
        authors.deleteAll
      ] as ReadonlyArray<Effect.Effect<unknown, Relation.UpkeepError | Resource.DeleteError | Relation.IncludeError>>) {
        const error = yield* Effect.flip(effect)
        assert.strictEqual(error._tag === "Rejected" ? error.code : error._tag, "Restricted")
      }
      const { failed } = yield* authors.deleteMany(["a"])
      assert.deepStrictEqual(
        failed.map(({ id }) => id),
        ["a"]
      )
      assert.deepStrictEqual(yield* stateOf(opened), whole)
      assert.deepStrictEqual(yield* notesIn(store), [])
    })
  )

  it.effect("who may not delete is told so, and nothing happens to others", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const rules = { "*": Guard.allow, delete: Guard.record<{ readonly code: string }>(({ code }) => code === "cb") }
      const opened = yield* libraryOn(store, Resource.guard(Authors, rules))
      yield* fill(opened)
      yield* opened.loans.insert({ id: "l", chapterId: "a2x" })
      const error = yield* Effect.flip(
        Effect.provideService(opened.authors.delete("a"), CurrentUser.CurrentUser, CurrentUser.make("eve"))
      )
      // Not that others belong to it.
      assert.strictEqual(error._tag === "Rejected" ? error.code : error._tag, "Forbidden")
      assert.deepStrictEqual(yield* stateOf(opened), whole)
    })
  )

  it.effect("a change of the key goes on to those that hold it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      const { authors, badges, database } = opened
      yield* fill(opened)
      yield* authors.update("a", { code: "new" })
      assert.strictEqual((yield* badges.get("a")).code, "new")
      yield* authors.replace({ id: "a", code: "newer" })
      assert.strictEqual((yield* badges.get("a")).code, "newer")
      yield* database.transaction(authors.upsert({ id: "a", code: "newest" }))
      assert.strictEqual((yield* badges.get("a")).code, "newest")
      assert.strictEqual((yield* badges.get("b")).code, "cb")
      assert.deepStrictEqual(yield* notesIn(store), [])
    })
  )

  it.effect("what is referred to has to be there, where the relation says so", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const opened = yield* libraryOn(counted)
      const { authors, books, database } = opened
      yield* fill(opened)
      for (const effect of [
        books.insert({ id: "x", authorId: "none" }),
        books.update("a1", { authorId: "none" }),
        books.replace({ id: "a1", authorId: "none" }),
        books.upsert({ id: "x", authorId: "none" }),
        database.transaction(books.insert({ id: "x", authorId: "none" }))
      ] as ReadonlyArray<Effect.Effect<unknown, Resource.ChangeError | Relation.UpkeepError | Resource.InsertError>>) {
        const error = yield* Effect.flip(effect)
        assert.strictEqual(error._tag === "Rejected" ? error.code : error._tag, "NoSuchTarget")
      }
      assert.deepStrictEqual(yield* stateOf(opened), whole)
      yield* counter.reset
      yield* books.insert({ id: "x", authorId: "b" })
      const { get, list, put } = yield* counter.counts
      // The marker and the document; the author.
      assert.deepStrictEqual([put, get, list], [2, 1, 0])
      // In one transaction it may come first.
      yield* database.transaction(
        Effect.andThen(authors.insert({ id: "c", code: "cc" }), books.insert({ id: "y", authorId: "c" }))
      )
      assert.strictEqual((yield* books.get("y")).authorId, "c")
    })
  )

  it.effect("a deletion costs a note and a listing for each relation", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { authors, badges, shelves } = yield* libraryOn(store)
      yield* authors.insert({ id: "a", code: "ca" })
      yield* badges.insert({ id: "a", code: "cb" })
      yield* shelves.insert({ id: "s" })
      yield* counter.reset
      yield* shelves.delete("s")
      assert.deepStrictEqual(yield* counter.counts, {
        put: 0,
        get: 0,
        head: 0,
        delete: 1,
        deleteMany: 0,
        copy: 0,
        list: 0
      })
      yield* badges.delete("a")
      // The first one asks for the store's time.
      yield* authors.insert({ id: "b", code: "cb" })
      yield* authors.delete("b")
      yield* counter.reset
      yield* authors.delete("a")
      const { get, list, put } = yield* counter.counts
      // Books to see whether loans of theirs restrict it, then books and badges themselves.
      assert.deepStrictEqual({ get, list, put }, { get: 1, list: 3, put: 1 })
    })
  )

  it.effect("what others do before a transaction is committed is not overlooked", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      const { authors, books, database } = opened
      yield* fill(opened)
      // A program that knows of no relations, at the very moment.
      const other = yield* openOn(store)
      const plain = yield* Effect.provideService(Resource.make(Books.definition), Database, other.database)
      const plainAuthors = yield* Effect.provideService(Resource.make(Authors.definition), Database, other.database)
      const meanwhile = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.provideService(effect, Transaction.Current, undefined)
      let isFirst = true
      yield* database.transaction(
        Effect.gen(function* () {
          yield* authors.delete("a")
          if (isFirst) yield* meanwhile(plain.insert({ id: "late", authorId: "a" }))
          isFirst = false
        })
      )
      assert.deepStrictEqual(yield* stateOf(opened), withoutA)
      // A target that goes while a transaction refers to it.
      isFirst = true
      const error = yield* Effect.flip(
        database.transaction(
          Effect.gen(function* () {
            yield* books.insert({ id: "x", authorId: "b" })
            if (isFirst) yield* meanwhile(plainAuthors.delete("b"))
            isFirst = false
          })
        )
      )
      assert.strictEqual(error._tag === "Rejected" ? error.code : error._tag, "NoSuchTarget")
    })
  )

  it.effect("orphans are told of, and nothing else", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      yield* fill(opened)
      // A program that knows of no relations.
      const { database } = yield* openOn(store)
      const books = yield* Effect.provideService(Resource.make(Books.definition), Database, database)
      yield* books.insert({ id: "x", authorId: "none" })
      const orphans = yield* Stream.runCollect(opened.library.books.orphans("author"))
      assert.deepStrictEqual([...orphans], [{ id: "x", relation: "author", field: "authorId", value: "none" }])
      const wrong = yield* Effect.flip(Stream.runCollect(opened.library.books.orphans("chapters")))
      assert.strictEqual(wrong._tag, "InvalidInclude")
    })
  )

  // All of their requests are in the deep test.
  for (const [title, write, after] of killed) {
    it.effect(`${title} comes to its end, whenever it was killed`, () => crashes(19, write, after), 120_000)
  }

  for (const mishap of mishaps) {
    it.effect(`a deletion comes to its end, ${mishap}`, () => crashes(31, killed[0][1], killed[0][2], mishap), 120_000)
  }

  it.effect(
    "a deletion comes to its end by who has another clock",
    () => crashes(29, killed[0][1], killed[0][2], "crash", { first: 3_600_000, second: -3_600_000 }),
    120_000
  )

  it.effect("what cannot be deleted yet is told, and deleted when it can be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      const { authors, database, library } = opened
      yield* fill(opened)
      const scope = yield* Scope.make()
      yield* database
        .intercept(["chapters"], { operations: ["delete"], before: ({ reject }) => Effect.fail(reject("not now")) })
        .pipe(Effect.provideService(Scope.Scope, scope))
      const error = yield* Effect.flip(authors.delete("a"))
      assert.strictEqual(error._tag, "AfterFailed")
      assert.isTrue((yield* notesIn(store)).length > 0)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue((yield* library.books.resume) > 0)
      assert.deepStrictEqual(yield* stateOf(opened), withoutA)
      assert.deepStrictEqual(yield* notesIn(store), [])
    })
  )

  it.effect("what cannot be deleted keeps nothing else from it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      const { authors, badges, books, chapters, database, library } = opened
      yield* fill(opened, 60)
      const scope = yield* Scope.make()
      yield* database
        .intercept(["chapters"], {
          operations: ["delete"],
          before: ({ input, reject }) => (input.id === "a1x" ? Effect.fail(reject("by law")) : Effect.void)
        })
        .pipe(Effect.provideService(Scope.Scope, scope))
      const error = yield* Effect.flip(authors.delete("a"))
      assert.strictEqual(error._tag, "AfterFailed")
      const idsOf = <A extends { readonly id: string }, E>(all: Stream.Stream<A, E>) =>
        Effect.map(Stream.runCollect(all), (found) => found.map(({ id }) => id).sort())
      // The one, and what another has.
      assert.deepStrictEqual(yield* idsOf(chapters.scan()), ["a1x", "b1x", "b2x"])
      assert.deepStrictEqual(yield* idsOf(books.scan()), ["b1", "b2"])
      assert.isUndefined((yield* badges.get("a")).code)
      yield* authors.delete("b")
      assert.deepStrictEqual(yield* idsOf(chapters.scan()), ["a1x"])
      const again = yield* Effect.flip(library.books.resume)
      assert.include(["Rejected", "AfterFailed"], again._tag)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue((yield* library.books.resume) > 0)
      assert.deepStrictEqual(yield* idsOf(chapters.scan()), [])
      assert.deepStrictEqual(yield* notesIn(store), [])
    })
  )

  it.effect("a note of a deletion that may yet happen is left", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const opened = yield* libraryOn(store)
      yield* fill(opened)
      let isBroken = false
      const broken: ObjectStore["Service"] = {
        ...store,
        delete: (...args) => Effect.suspend(() => (isBroken ? Effect.die("crashed") : store.delete(...args)))
      }
      const other = yield* libraryOn(broken)
      yield* other.authors.delete("b")
      isBroken = true
      yield* Effect.exit(other.authors.delete("a"))
      assert.strictEqual((yield* notesIn(store)).length, 1)
      assert.strictEqual(yield* opened.library.authors.resume, 0)
      assert.strictEqual((yield* notesIn(store)).length, 1)
      yield* TestClock.adjust("16 minutes")
      assert.strictEqual(yield* opened.library.authors.resume, 1)
      assert.isTrue(Option.isSome(yield* opened.authors.getOption("a")))
    })
  )
})
