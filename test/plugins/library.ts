/** A library whose documents belong to each other, and what crashes leave of it. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf, memory, openOn } from "../fixture.ts"

export class Authors extends Resource.Service<Authors>()("effect-s3db/test/plugins/Relation.upkeep/authors", {
  schema: Schema.Struct({ id: Schema.String, code: Schema.String }),
  primaryKey: "id",
  unique: { code: ["code"] },
  allowDeleteAll: true
}) {}

export class Books extends Resource.Service<Books>()("effect-s3db/test/plugins/Relation.upkeep/books", {
  schema: Schema.Struct({ id: Schema.String, authorId: Schema.String }),
  primaryKey: "id",
  partitions: { byAuthor: ["authorId"] }
}) {}

class Chapters extends Resource.Service<Chapters>()("effect-s3db/test/plugins/Relation.upkeep/chapters", {
  schema: Schema.Struct({ id: Schema.String, bookId: Schema.String }),
  primaryKey: "id",
  partitions: { byBook: ["bookId"] }
}) {}

class Reviews extends Resource.Service<Reviews>()("effect-s3db/test/plugins/Relation.upkeep/reviews", {
  schema: Schema.Struct({ id: Schema.String, bookId: Schema.optionalKey(Schema.NullOr(Schema.String)) }),
  primaryKey: "id",
  partitions: { byBook: ["bookId"] }
}) {}

class Loans extends Resource.Service<Loans>()("effect-s3db/test/plugins/Relation.upkeep/loans", {
  schema: Schema.Struct({ id: Schema.String, chapterId: Schema.String }),
  primaryKey: "id",
  partitions: { byChapter: ["chapterId"] }
}) {}

class Badges extends Resource.Service<Badges>()("effect-s3db/test/plugins/Relation.upkeep/badges", {
  schema: Schema.Struct({ id: Schema.String, code: Schema.optionalKey(Schema.String) }),
  primaryKey: "id",
  partitions: { byCode: ["code"] }
}) {}

class Shelves extends Resource.Service<Shelves>()("effect-s3db/test/plugins/Relation.upkeep/shelves", {
  schema: Schema.Struct({ id: Schema.String }),
  primaryKey: "id"
}) {}

class Places extends Resource.Service<Places>()("effect-s3db/test/plugins/Relation.upkeep/places", {
  schema: Schema.Struct({ id: Schema.String, bookId: Schema.String, shelfId: Schema.String }),
  primaryKey: "id",
  partitions: { byBook: ["bookId"] }
}) {}

class Library extends Relation.Service<Library>()("effect-s3db/test/plugins/Relation.upkeep/Library", {
  resources: {
    authors: Authors,
    books: Books,
    chapters: Chapters,
    reviews: Reviews,
    loans: Loans,
    badges: Badges,
    shelves: Shelves,
    places: Places
  },
  relations: {
    authors: {
      books: { hasMany: "books", key: "authorId", onDelete: "cascade" },
      badges: { hasMany: "badges", key: "code", references: "code", onDelete: "setNull", onChange: "cascade" }
    },
    books: {
      author: { belongsTo: "authors", key: "authorId", mustExist: true },
      chapters: { hasMany: "chapters", key: "bookId", onDelete: "cascade" },
      reviews: { hasMany: "reviews", key: "bookId", onDelete: "setNull" },
      shelves: { belongsToMany: "shelves", through: "places", from: "bookId", to: "shelfId", onDelete: "cascade" }
    },
    chapters: { loans: { hasMany: "loans", key: "chapterId", onDelete: "restrict" } }
  }
}) {}

export const libraryOn = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  authors: typeof Authors.layer = Authors.layer
) {
  const { database } = yield* openOn(store)
  const layer = Library.layer.pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        authors,
        Books.layer,
        Chapters.layer,
        Reviews.layer,
        Loans.layer,
        Badges.layer,
        Shelves.layer,
        Places.layer
      )
    ),
    Layer.provide(Layer.succeed(Database, database))
  )
  const context = yield* Layer.build(layer)
  return yield* Effect.provideContext(
    Effect.gen(function* () {
      return {
        database,
        library: yield* Library,
        authors: yield* Authors,
        books: yield* Books,
        chapters: yield* Chapters,
        reviews: yield* Reviews,
        loans: yield* Loans,
        badges: yield* Badges,
        shelves: yield* Shelves,
        places: yield* Places
      }
    }),
    context
  )
})

export type Opened = Effect.Success<ReturnType<typeof libraryOn>>

/** Two authors with two books each, and all that goes with them. */
export const fill = Effect.fnUntraced(function* (opened: Opened, more = 0) {
  const { authors, badges, books, chapters, places, reviews, shelves } = opened
  yield* shelves.insert({ id: "s" })
  for (const a of ["a", "b"]) {
    yield* authors.insert({ id: a, code: `c${a}` })
    yield* badges.insert({ id: a, code: `c${a}` })
    for (const n of [1, 2]) {
      yield* books.insert({ id: `${a}${n}`, authorId: a })
      yield* chapters.insert({ id: `${a}${n}x`, bookId: `${a}${n}` })
      yield* reviews.insert({ id: `${a}${n}`, bookId: `${a}${n}` })
      yield* places.insert({ id: `${a}${n}`, bookId: `${a}${n}`, shelfId: "s" })
    }
  }
  for (let i = 0; i < more; i++) yield* chapters.insert({ id: `more${i}`, bookId: "a1" })
})

/** Everything that there is, in short. */
export const stateOf = Effect.fnUntraced(function* (opened: Opened) {
  const { authors, badges, books, chapters, places, reviews, shelves } = opened
  const ids = (stream: Stream.Stream<string, unknown>) => Effect.map(Stream.runCollect(stream), (all) => all.join(" "))
  // Ids alone are listed until a deletion that was decided is carried out.
  const idsOf = (documents: Stream.Stream<{ readonly id: string }, unknown>) =>
    ids(Stream.map(documents, ({ id }) => id))
  return {
    authors: yield* idsOf(authors.scan()),
    books: yield* idsOf(books.scan()),
    chapters: yield* idsOf(chapters.scan()),
    reviews: yield* ids(Stream.map(reviews.scan(), ({ bookId, id }) => `${id}:${bookId}`)),
    badges: yield* ids(Stream.map(badges.scan(), ({ code, id }) => `${id}:${code}`)),
    places: yield* idsOf(places.scan()),
    shelves: yield* idsOf(shelves.scan())
  }
})

export const whole = {
  authors: "a b",
  books: "a1 a2 b1 b2",
  chapters: "a1x a2x b1x b2x",
  reviews: "a1:a1 a2:a2 b1:b1 b2:b2",
  badges: "a:ca b:cb",
  places: "a1 a2 b1 b2",
  shelves: "s"
}

export const withoutA = {
  authors: "b",
  books: "b1 b2",
  chapters: "b1x b2x",
  reviews: "a1:null a2:null b1:b1 b2:b2",
  badges: "a:undefined b:cb",
  places: "b1 b2",
  shelves: "s"
}

/** A store whose client crashes at its request number `at`, counted from when that is said. */
const gated = (store: ObjectStore["Service"]) => {
  let last = Number.POSITIVE_INFINITY
  let requests = 0
  const request = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      requests += 1
      return requests >= last ? Effect.die("crashed") : effect
    })
  const crashed: ObjectStore["Service"] = {
    ...store,
    put: (one) => request(store.put(one)),
    get: (...args) => request(store.get(...args)),
    head: (key) => request(store.head(key)),
    delete: (...args) => request(store.delete(...args)),
    deleteMany: (...args) => request(store.deleteMany(...args)),
    copy: (one) => request(store.copy(one)),
    list: (one) => request(store.list(one))
  }
  return {
    store: crashed,
    requests: () => requests,
    crashAt: (at: number) => {
      requests = 0
      last = at
    }
  }
}

export const notesIn = (store: ObjectStore["Service"]) => keysOf(store, "plugin=relation/notes/")

type State = Effect.Success<ReturnType<typeof stateOf>>

/**
 * Kills a process at its requests, every one or with `step` some of them, and starts it again: everything has happened then, or nothing.
 */
export const crashes = (
  step: number,
  write: (opened: Opened) => Effect.Effect<unknown, unknown>,
  after: (state: State) => "before" | "after" | undefined
) =>
  Effect.gen(function* () {
    const seen = new Set<string>()
    for (let at = 1; ; at += step) {
      const store = yield* memory
      yield* Effect.scoped(Effect.flatMap(libraryOn(store), (opened) => fill(opened)))
      // The process that crashes has it open already.
      const gate = gated(store)
      const first = yield* Scope.make()
      const opened = yield* libraryOn(gate.store).pipe(Effect.provideService(Scope.Scope, first))
      yield* opened.library.authors.resume
      gate.crashAt(at)
      const exit = yield* Effect.exit(write(opened))
      const used = gate.requests()
      yield* Scope.close(first, Exit.void)
      // Started again, later than any lease, it goes on by itself.
      yield* TestClock.adjust("20 minutes")
      const again = yield* libraryOn(store)
      yield* again.library.authors.resume
      const state = yield* stateOf(again)
      const outcome = after(state)
      assert.isDefined(outcome, `after a crash at request ${at}: ${JSON.stringify(state)}`)
      assert.deepStrictEqual(yield* notesIn(store), [], `after a crash at request ${at}`)
      if (Exit.isSuccess(exit)) assert.strictEqual(outcome, "after")
      seen.add(outcome)
      if (used < at) {
        assert.isTrue(Exit.isSuccess(exit))
        break
      }
    }
    assert.deepStrictEqual([...seen].toSorted(), ["after", "before"])
  })

const same = (a: object, b: object) => JSON.stringify(a) === JSON.stringify(b)

export const byDeletion = (state: State) =>
  same(state, whole) ? "before" : same(state, withoutA) ? "after" : undefined

export const byChange = (state: State) =>
  same(state, whole) ? "before" : same(state, { ...whole, badges: "a:new b:cb" }) ? "after" : undefined

/** What is killed. */
export const killed = [
  ["a deletion", ({ authors }: Opened) => authors.delete("a"), byDeletion],
  ["a deletion of many", ({ authors }: Opened) => authors.deleteMany(["a"]), byDeletion],
  ["a deletion in a transaction", ({ library }: Opened) => library.authors.delete("a"), byDeletion],
  ["a change of the key", ({ authors }: Opened) => authors.update("a", { code: "new" }), byChange]
] as const
