/** A library whose documents belong to each other, and what crashes leave of it. */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
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

/**
 * What happens at a request: the client crashes; the answer is lost, of what was carried out or of what was not; or whoever waits for it is interrupted,
 * and the process goes on.
 */
export type Mishap = "crash" | "lost answer" | "lost request" | "interrupted after" | "interrupted before"

/** Those beside crashes. */
export const mishaps = [
  "lost answer",
  "lost request",
  "interrupted after",
  "interrupted before"
] as const satisfies ReadonlyArray<Mishap>

/** A store to whose client something happens at its request number `at`, counted from when that is said. */
const gated = (store: ObjectStore["Service"], mishap: Mishap) => {
  let last = Number.POSITIVE_INFINITY
  let requests = 0
  const reached = Deferred.makeUnsafe<void>()
  const lost = new StoreError({
    operation: "put",
    reason: new Timeout({ description: "injected: no answer in time", afterMillis: 0 })
  })
  const released = Deferred.makeUnsafe<void>()
  /** Ends when the interruption has been asked for: what may not be interrupted goes on then. */
  const stuck = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(released))
  const request = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | StoreError> =>
    Effect.suspend((): Effect.Effect<A, E | StoreError> => {
      requests += 1
      if (requests < last) return effect
      if (mishap === "crash") return Effect.die("crashed")
      if (requests > last) return effect
      switch (mishap) {
        case "lost answer":
          return Effect.andThen(Effect.ignore(effect), Effect.fail(lost))
        case "lost request":
          return Effect.fail(lost)
        case "interrupted after":
          return Effect.flatMap(Effect.exit(effect), (exit) => Effect.andThen(stuck, exit))
        case "interrupted before":
          return Effect.andThen(stuck, effect)
      }
    })
  const gate: ObjectStore["Service"] = {
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
    store: gate,
    requests: () => requests,
    at: (at: number) => {
      requests = 0
      last = at
    },
    /** Does something, and interrupts it when it has come to the request. */
    run: <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
        yield* Effect.raceFirst(Deferred.await(reached), Fiber.await(fiber))
        fiber.interruptUnsafe()
        yield* Deferred.succeed(released, undefined)
        return yield* Fiber.await(fiber)
      })
  }
}

export const notesIn = (store: ObjectStore["Service"]) => keysOf(store, "plugin=relation/notes/")

type State = Effect.Success<ReturnType<typeof stateOf>>

/** How far the clocks are off, in milliseconds: of the process to which it happens, and of the one that comes after it. */
export interface Skews {
  readonly first: number
  readonly second: number
}

/**
 * Lets something happen to a process at its requests, every one or with `step` some of them, and starts another one: everything has happened then, or nothing.
 */
export const crashes = (
  step: number,
  write: (opened: Opened) => Effect.Effect<unknown, unknown>,
  after: (state: State) => "before" | "after" | undefined,
  mishap: Mishap = "crash",
  { first: ahead, second: behind }: Skews = { first: 0, second: 0 }
) =>
  Effect.gen(function* () {
    const seen = new Set<string>()
    for (let at = 1; ; at += step) {
      const store = yield* memory
      // Below what each process is given, time is that of the store.
      const clientOf = (client: string) => FaultyStore.make(store, { seed: 1, client }).store
      yield* Effect.scoped(Effect.flatMap(libraryOn(store), (opened) => fill(opened)))
      // The process to which it happens has it open already.
      const gate = gated(clientOf("first"), mishap)
      const first = yield* Scope.make()
      const { exit, used } = yield* Effect.gen(function* () {
        const opened = yield* libraryOn(gate.store).pipe(Effect.provideService(Scope.Scope, first))
        yield* opened.library.authors.resume
        gate.at(at)
        const exit = yield* gate.run(write(opened))
        return { exit, used: gate.requests() }
      }).pipe(FaultyStore.withClockSkew(ahead))
      yield* Scope.close(first, Exit.void)
      // Started again, later than any lease, it goes on by itself.
      yield* TestClock.adjust("20 minutes")
      const { notes, state } = yield* Effect.gen(function* () {
        const again = yield* libraryOn(clientOf("second"))
        yield* again.library.authors.resume
        return { state: yield* stateOf(again), notes: yield* notesIn(store) }
      }).pipe(FaultyStore.withClockSkew(behind))
      const outcome = after(state)
      assert.isDefined(outcome, `${mishap} at request ${at}: ${JSON.stringify(state)}`)
      assert.deepStrictEqual(notes, [], `${mishap} at request ${at}`)
      if (Exit.isSuccess(exit)) assert.strictEqual(outcome, "after", `${mishap} at request ${at}`)
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

/** It tells of each document: what is not done is no failure of its own. */
const deletionOfMany = ({ authors }: Opened) =>
  Effect.flatMap(authors.deleteMany(["a"]), ({ failed: [first] }) =>
    first === undefined ? Effect.void : Effect.fail(first)
  )

/** What is killed. */
export const killed = [
  ["a deletion", ({ authors }: Opened) => authors.delete("a"), byDeletion],
  ["a deletion of many", deletionOfMany, byDeletion],
  ["a deletion in a transaction", ({ library }: Opened) => library.authors.delete("a"), byDeletion],
  ["a change of the key", ({ authors }: Opened) => authors.update("a", { code: "new" }), byChange]
] as const
