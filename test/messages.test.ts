/** What errors and logs say: what was met, and what to do about it. */
import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { UnsupportedSchema } from "effect-s3db/schema/Attributes"
import * as Transaction from "effect-s3db/Transaction"
import { drive, memory, openOn } from "./fixture.ts"

const User = Schema.Struct({ id: Schema.String, mail: Schema.String, country: Schema.String })

const users = Resource.define("users", {
  schema: User,
  primaryKey: "id",
  partitions: { byCountry: ["country"] },
  unique: { byMail: ["mail"] }
})

const opened = Effect.gen(function* () {
  const { database } = yield* openOn(yield* memory)
  const repository = yield* Effect.provideService(Resource.make(users), Database.Database, database)
  return { database, repository }
})

const ana = { id: "ana", mail: "ana@x", country: "BR" }

describe("a definition that is made of data", () => {
  it("is refused where a partition or a unique key is no list of fields", () => {
    for (const options of [
      { partitions: { byCountry: "country" } },
      { partitions: ["country"] },
      { partitions: { byCountry: null } },
      { unique: { byMail: "mail" } },
      { unique: { byMail: { field: "mail" } } },
      { unique: { byMail: undefined } }
    ]) {
      const define = () => Resource.define("users", { schema: User, primaryKey: "id", ...(options as object) })
      assert.throws(define, UnsupportedSchema, /^(partition|unique key) ".*": expected a list of fields, such as/)
    }
  })
})

describe("a query that would read everything", () => {
  it.effect("is refused in the name of what was called", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const request = { where: { mail: { contains: "y" } } } as const
      const asked = {
        query: Stream.runDrain(repository.query(request)),
        queryPage: repository.queryPage({ ...request, limit: 1 }),
        queryJson: Stream.runDrain(repository.queryJson(request)),
        count: repository.count(request),
        aggregate: repository.aggregate({ values: { n: { count: true } } }, request),
        updateMany: Stream.runDrain(repository.updateMany(request, { country: "PT" }))
      }
      for (const [name, refused] of Object.entries(asked)) {
        const error = yield* Effect.flip(refused as Effect.Effect<unknown, DbError.NotAllowed>)
        assert.include(
          error.message,
          `Resource.${name} is not allowed on users: no partition or unique key leads to few`
        )
      }
    })
  )
})

describe("a document that is not there", () => {
  it.effect("is told by the version, or the time, where there may be one now", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      const kept = yield* Effect.provideService(
        Resource.make(Resource.define("kept", { schema: User, primaryKey: "id", history: true })),
        Database.Database,
        database
      )
      yield* kept.insert(ana)
      const version = yield* Effect.flip(kept.getAt("ana", { version: 9 }))
      assert.strictEqual(version.message, 'kept has no version 9 of a document with id "ana"')
      assert.strictEqual((yield* Effect.flip(kept.restore("ana", { version: 9 }))).message, version.message)
      const time = DateTime.makeUnsafe(-1000)
      const before = yield* Effect.flip(kept.getAt("ana", { time }))
      assert.strictEqual(before.message, 'kept had no document with id "ana" at 1969-12-31T23:59:59.000Z')
    })
  )

  it.effect("is told by its id, or by the unique key, without the values", () =>
    Effect.gen(function* () {
      const { database, repository } = yield* opened
      assert.strictEqual((yield* Effect.flip(repository.get("bob"))).message, 'users has no document with id "bob"')
      const look = Effect.flip(repository.getByUnique("byMail", { mail: "secret@x" }))
      for (const error of [yield* look, yield* database.transaction(look)]) {
        assert.deepInclude(error, { _tag: "NotFound", resource: "users", unique: "byMail" })
        assert.notProperty(error, "id")
        assert.strictEqual(error.message, "users has no document with these values of unique key byMail")
      }
      const unknown = yield* Effect.flip(repository.documentOf(ana))
      assert.strictEqual(
        unknown.message,
        "users has neither read nor written this value here: give documentOf what an operation has returned"
      )
    })
  )
})

describe("a unique value that is not free", () => {
  it("is told to be tried again only where that can help", () => {
    const known = { resource: "users", unique: "byMail", fields: ["mail"], id: "ana" }
    assert.strictEqual(
      new DbError.UniqueViolation({ ...known, isPending: true }).message,
      "users: the value of mail is being claimed by another write (unique key byMail): try again, at the latest when the lease of that write is over it is held, or free"
    )
    assert.strictEqual(
      new DbError.UniqueViolation({ ...known, isPending: false }).message,
      "users: the value of mail is taken (unique key byMail)"
    )
  })

  it.effect("is taken, not pending, where two documents of one transaction want it", () =>
    Effect.gen(function* () {
      const { database, repository } = yield* opened
      const both = Effect.andThen(repository.insert(ana), repository.insert({ ...ana, id: "bob" }))
      const error = yield* Effect.flip(database.transaction(both))
      assert.deepInclude(error, { _tag: "UniqueViolation", unique: "byMail", isPending: false })
      assert.strictEqual(error.message, "users: the value of mail is taken (unique key byMail)")
      assert.strictEqual(yield* repository.count(), 0)
    })
  )
})

/** Done by somebody else than the transaction that the fiber is in. */
const outside = Effect.provideService(Transaction.Current, undefined)

describe("a transaction that met changes", () => {
  const met = (
    body: (repository: Resource.RepositoryOf<typeof users>) => Effect.Effect<unknown, unknown>,
    options: Transaction.Options = {}
  ) =>
    Effect.gen(function* () {
      const { database, repository } = yield* opened
      yield* repository.insert(ana)
      yield* repository.insert({ id: "bob", mail: "bob@x", country: "PT" })
      const transaction = database.transaction(body(repository), { retries: 1, ...options })
      const fiber = yield* Effect.forkChild(Effect.flip(transaction))
      return (yield* drive(fiber)) as DbError.TransactionConflict
    })

  it.effect("names the documents, in the program alone", () =>
    Effect.gen(function* () {
      let changes = 0
      const error = yield* met((repository) =>
        Effect.gen(function* () {
          yield* repository.get("ana")
          yield* repository.update("bob", { country: "ES" })
          yield* outside(repository.update("ana", { country: `country ${(changes += 1)}` }))
        })
      )
      assert.strictEqual(
        error.message,
        'the transaction met changes by others, 2 times, the last time of users "ana": run it again later, or let it do less at once'
      )
      assert.deepStrictEqual(JSON.parse(JSON.stringify(error)), { _tag: "TransactionConflict", attempts: 2 })
      const encoded = yield* Schema.encodeEffect(DbError.TransactionConflict)(error)
      assert.deepStrictEqual(encoded, { _tag: "TransactionConflict", attempts: 2 })
    })
  )

  it.effect("names unique keys and listings, without values", () =>
    Effect.gen(function* () {
      let changes = 0
      const unique = yield* met((repository) =>
        Effect.gen(function* () {
          yield* Effect.ignore(repository.getByUnique("byMail", { mail: `free${(changes += 1)}@x` }))
          yield* repository.update("bob", { country: "ES" })
          yield* outside(repository.insert({ id: `new${changes}`, mail: `free${changes}@x`, country: "BR" }))
        })
      )
      assert.deepStrictEqual(unique.met, ["unique key byMail of users"])
      const listing = yield* met(
        (repository) =>
          Effect.gen(function* () {
            yield* Stream.runDrain(repository.scan({ partition: "byCountry", values: { country: "BR" } }))
            yield* repository.update("bob", { country: "ES" })
            yield* outside(repository.insert({ id: `new${(changes += 1)}`, mail: `${changes}@x`, country: "BR" }))
          }),
        { listings: "serializable" }
      )
      assert.deepStrictEqual(listing.met, ["a listing of users"])
    })
  )

  it("shows some of many", () => {
    const error = new DbError.TransactionConflict({ attempts: 3, met: ["a", "b", "c", "d", "e", "f", "g"] })
    assert.include(error.message, "3 times, the last time of a, b, c, d, e and 2 more: run it again")
    assert.include(new DbError.TransactionConflict({ attempts: 3 }).message, "3 times: run it again")
  })
})

class Silent extends Data.TaggedError("Silent")<{}> {}

describe("an interceptor that fails after the write", () => {
  const failing = Effect.gen(function* () {
    const { database, repository } = yield* opened
    yield* repository.intercept({ name: "mailer", operations: "insert", after: () => Effect.fail(new Silent()) })
    return { database, repository }
  })

  it.effect("says for what, also where its error says nothing of itself", () =>
    Effect.gen(function* () {
      const { repository } = yield* failing
      const error = yield* Effect.flip(repository.insert(ana))
      assert.strictEqual(
        error.message,
        'insert on users "ana" is done, but mailer failed after it: it failed with Silent'
      )
      assert.deepInclude(error, { outcome: "done", cause: new Silent() })
      assert.strictEqual(yield* repository.count(), 1)
    }).pipe(Effect.scoped)
  )

  it.effect("says that the write is undone where its error ends the transaction, and done where it is caught", () =>
    Effect.gen(function* () {
      const { database, repository } = yield* failing
      const insert = repository.insert(ana)
      for (const ended of [database.transaction(insert), database.transaction(database.transaction(insert))]) {
        const error = yield* Effect.flip(ended)
        assert.strictEqual(
          error.message,
          'insert on users "ana" is undone with its transaction, since mailer failed after it: it failed with Silent'
        )
        assert.deepInclude(error, { _tag: "AfterFailed", outcome: "none", isUndone: true, cause: new Silent() })
        assert.strictEqual(yield* repository.count(), 0)
      }
      const caught = yield* database.transaction(Effect.flip(insert))
      assert.include(caught.message, 'insert on users "ana" is done, but')
      assert.strictEqual(yield* repository.count(), 1)
    }).pipe(Effect.scoped)
  )

  it.effect("is rejected before it in the same way", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      yield* repository.intercept({ name: "quota", operations: "insert", before: () => Effect.fail(new Silent()) })
      const error = yield* Effect.flip(repository.insert(ana))
      assert.strictEqual(error.message, "insert on users was rejected by quota: it failed with Silent")
    }).pipe(Effect.scoped)
  )
})

describe("a handler of changes", () => {
  it.effect("that fails is logged with the resource and the document", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const { database, repository } = yield* opened
      const done = yield* Deferred.make<void>()
      yield* Effect.gen(function* () {
        yield* repository.onChange("Inserted", () => Effect.fail("down"))
        yield* database.changes.on({ resource: "users" }, () => Effect.die("down"))
        yield* database.lifecycle.on("ResourceOpened", () => Effect.fail("down"))
        yield* repository.insert(ana)
        yield* database.changes.on("Deleted", () => Deferred.succeed(done, undefined))
        yield* Resource.make(Resource.define("others", { schema: User, primaryKey: "id" })).pipe(
          Effect.provideService(Database.Database, database)
        )
        yield* repository.delete("ana")
        yield* Deferred.await(done)
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.sameMembers(logged, [
        'a handler of Inserted of users "ana" failed',
        'a handler of Inserted of users "ana" failed',
        'a handler of Deleted of users "ana" failed',
        "a handler of ResourceOpened of others failed"
      ])
    }).pipe(Effect.scoped)
  )
})

describe("an index by a secret", () => {
  const schema = Schema.Struct({ id: Schema.String, country: Schema.String, card: Attribute.SecretText })
  const refused = (options: object): string => {
    try {
      Resource.define("cards", { schema, primaryKey: "id", ...options })
      return ""
    } catch (error) {
      assert.instanceOf(error, UnsupportedSchema)
      return (error as Error).message
    }
  }

  it("says whether it names or covers it", () => {
    assert.strictEqual(
      refused({ partitions: { byCard: ["card"] } }),
      'partition "byCard" names card, which is secret: its keys are in clear'
    )
    assert.strictEqual(
      refused({ partitions: { byCountry: { fields: ["country"], covering: ["card"] } } }),
      'partition "byCountry" covers card, which is secret: its keys are in clear'
    )
    assert.match(
      refused({ partitions: { byCountry: { fields: ["country"], covering: ["crad"] } } }),
      /^partition "byCountry" covers "crad", which is no field; there are/
    )
  })
})
