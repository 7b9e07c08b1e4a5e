import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as CurrentUser from "effect-s3db/CurrentUser"
import { Database } from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { memory, openOn } from "../fixture.ts"
import { blogOn, User, Users } from "./relations.ts"

const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } })

const counted = Effect.fnUntraced(function* () {
  const { counter, store } = InstrumentedStore.make(yield* memory)
  const opened = yield* blogOn(store)
  const requests = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
    yield* counter.reset
    const result = yield* effect
    const { get, list, ...others } = yield* counter.counts
    return { result, get, list, others: Object.values(others).reduce((sum, n) => sum + n, 0) }
  })
  return { ...opened, store, requests }
})

type Opened = Effect.Success<ReturnType<typeof counted>>

const each = (n: number, write: (i: number) => Effect.Effect<unknown, unknown>) =>
  Effect.forEach(
    Array.from({ length: n }, (_, i) => i),
    write,
    { concurrency: 16, discard: true }
  )

const pad = (n: number) => String(n).padStart(4, "0")
const userOf = (i: number, more: object = {}) => new User({ id: `u${pad(i)}`, name: `n${i}`, email: `e${i}`, ...more })

const small = Effect.fnUntraced(function* ({ comments, postTags, posts, profiles, tags, users }: Opened) {
  yield* users.insert(userOf(0))
  yield* users.insert(userOf(1, { managerId: "u0000" }))
  yield* users.insert(userOf(2, { managerId: "u0001" }))
  yield* profiles.insert({ id: "p", email: "e0", bio: "first" })
  yield* posts.insert({ id: "a", userId: "u0000", title: "A", n: 2, editor: "u0001" })
  yield* posts.insert({ id: "b", userId: "u0000", title: "B", n: 1 })
  yield* posts.insert({ id: "c", userId: "u0001", title: "C", n: 3 })
  yield* posts.insert({ id: "d", userId: "gone", title: "D", n: 4 })
  yield* comments.insert({ id: "1", postId: "a", by: "u0001", text: "x" })
  yield* comments.insert({ id: "2", postId: "a", by: "u0002", text: "y" })
  yield* tags.insert({ id: "t1", label: "one" })
  yield* tags.insert({ id: "t2", label: "two" })
  yield* postTags.insert({ id: "1", postId: "a", tagId: "t2" })
  yield* postTags.insert({ id: "2", postId: "a", tagId: "t1" })
  yield* postTags.insert({ id: "3", postId: "b", tagId: "t1" })
  yield* postTags.insert({ id: "4", postId: "b", tagId: "gone" })
})

describe("Relation", () => {
  it.effect("includes every kind, and gives null and [] where there is none", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const { blog } = opened
      const ada = yield* blog.users.get("u0000", { include: { posts: true, profile: true, manager: true } })
      assert.deepStrictEqual(
        ada.posts.map(({ id }) => id),
        ["a", "b"]
      )
      assert.strictEqual(ada.profile?.bio, "first")
      assert.isNull(ada.manager)
      // It is still of its class.
      assert.strictEqual(ada.label, "n0 <e0>")
      const last = yield* blog.users.get("u0002", { include: { posts: true, profile: true, reports: true } })
      assert.deepStrictEqual([last.posts, last.profile, last.reports], [[], null, []])
      const lost = yield* blog.posts.get("d", { include: { author: true, tags: true } })
      assert.deepStrictEqual([lost.author, lost.tags], [null, []])
      const profile = yield* blog.profiles.get("p", { include: { user: true } })
      assert.strictEqual(profile.user?.id, "u0000")
      const tagged = yield* blog.posts.get("a", { include: { tags: true } })
      assert.deepStrictEqual(
        tagged.tags.map(({ id }) => id),
        ["t2", "t1"]
      )
      const tag = yield* blog.tags.get("t1", { include: { posts: { order: "n" } } })
      assert.deepStrictEqual(
        tag.posts.map(({ id }) => id),
        ["b", "a"]
      )
    })
  )

  it.effect("takes conditions, order, limit and select, at each level", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const { blog } = opened
      const ada = yield* blog.users.get("u0000", {
        include: {
          posts: {
            where: { n: { gte: 1 } },
            order: "n",
            limit: 1,
            select: ["title"],
            include: { tags: { where: { label: "one" } } }
          }
        }
      })
      assert.deepStrictEqual(ada.posts, [{ title: "B", tags: [{ id: "t1", label: "one" }] }])
      const none = yield* blog.posts.get("a", { include: { author: { where: { name: "somebody" } } } })
      assert.isNull(none.author)
      const off = yield* blog.posts.get("a", { include: { author: false } })
      assert.isFalse("author" in off)
      const one = yield* blog.posts.get("b", { include: { tags: { limit: 1 } } })
      assert.strictEqual(one.tags.length, 1)
    })
  )

  it.effect("goes with every reading operation", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const { blog } = opened
      const include = { author: { select: ["name"] } } as const
      const names = (all: Iterable<{ readonly author: { readonly name: string } | null }>) =>
        Array.from(all, ({ author }) => author?.name ?? null)
      const expected = ["n0", "n0", "n1", null]
      assert.deepStrictEqual(names((yield* blog.posts.list({ include })).items), expected)
      assert.deepStrictEqual(names(yield* Stream.runCollect(blog.posts.scan({ include }))), expected)
      assert.deepStrictEqual(names(yield* Stream.runCollect(blog.posts.query({ scan: true, include }))), expected)
      const page = yield* blog.posts.queryPage({ scan: true, limit: 3, total: true, include })
      assert.deepStrictEqual([names(page.items), page.total], [expected.slice(0, 3), 4])
      const next = yield* blog.posts.queryPage({ scan: true, limit: 3, cursor: page.cursor, include })
      assert.deepStrictEqual(names(next.items), [null])
      const many = yield* blog.posts.getMany(["d", "none", "c"], { include })
      assert.deepStrictEqual(
        many.map((one) => (Option.isNone(one) ? "-" : (one.value.author?.name ?? null))),
        [null, "-", "n1"]
      )
      assert.isTrue(Option.isNone(yield* blog.posts.getOption("none", { include })))
      const posts = yield* Stream.runCollect(opened.posts.scan())
      assert.deepStrictEqual(names(yield* blog.posts.load(posts, include)), expected)
      assert.strictEqual((yield* blog.posts.get("a")).title, "A")
      const ada = yield* opened.users.get("u0000")
      const streamed = yield* Stream.runCollect(blog.users.related(ada, "posts", { include: { comments: true } }))
      assert.deepStrictEqual(
        Array.from(streamed, ({ comments, id }) => [id, comments.length]),
        [
          ["a", 2],
          ["b", 0]
        ]
      )
    })
  )

  it.effect("reads a whole resource once where a relation says scan: true", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const { blog, requests, users } = opened
      const all = yield* Stream.runCollect(users.scan())
      const { get, list, result } = yield* requests(blog.users.load(all, { edited: true }))
      assert.deepStrictEqual(
        result.map(({ edited }) => edited.map(({ id }) => id)),
        [[], ["a"], []]
      )
      assert.deepStrictEqual([list, get], [1, 4])
    })
  )

  it.effect("reads the one document of 50 parents once, and each of 50 once", () =>
    Effect.gen(function* () {
      const { blog, posts, requests, users } = yield* counted()
      yield* each(50, (i) => users.insert(userOf(i)))
      yield* each(50, (i) => posts.insert({ id: `p${pad(i)}`, userId: `u${pad(i)}`, title: "", n: i }))
      const different = yield* requests(blog.posts.list({ include: { author: true } }))
      assert.deepStrictEqual([different.list, different.get, different.others], [1, 100, 0])
      assert.isTrue(different.result.items.every(({ author, userId }) => author?.id === userId))
      yield* each(50, (i) => posts.update(`p${pad(i)}`, { userId: "u0007" }))
      const same = yield* requests(blog.posts.list({ include: { author: true } }))
      assert.deepStrictEqual([same.list, same.get, same.others], [1, 51, 0])
    })
  )

  it.effect(
    "costs at depth 3, for 50 parents with 2,500 children, what they are, and no more",
    () =>
      Effect.gen(function* () {
        const { blog, comments, posts, requests, users } = yield* counted()
        yield* each(50, (i) => users.insert(userOf(i)))
        yield* each(2500, (i) => posts.insert({ id: `p${pad(i)}`, userId: `u${pad(i % 50)}`, title: "", n: i }))
        // Two of them have comments, by the same few.
        yield* each(100, (i) =>
          comments.insert({ id: `c${pad(i)}`, postId: `p${pad(i % 2)}`, by: `u${pad(i % 5)}`, text: "" })
        )
        const include = { posts: { include: { comments: { include: { author: true } } } } } as const
        const { get, list, others, result } = yield* requests(blog.users.list({ include }))
        assert.strictEqual(result.items.length, 50)
        assert.isTrue(result.items.every((user) => user.posts.length === 50))
        const found = result.items.flatMap((user) => user.posts.flatMap((post) => post.comments))
        assert.strictEqual(found.length, 100)
        assert.isTrue(found.every(({ author, by }) => author?.id === by))
        // 1 for the users, 1 for the posts of each, 1 for the comments of each post.
        assert.strictEqual(list, 1 + 50 + 2500)
        // Every document once; the authors of comments are asked for as what is included, five of them.
        assert.strictEqual(get, 50 + 2500 + 100 + 5)
        assert.strictEqual(others, 0)
      }),
    120_000
  )

  it.effect("refuses an include that cannot be before anything is read", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      const { blog, requests } = opened
      const problems = yield* requests(
        Effect.forEach(
          [
            blog.users.parseInclude("nothing"),
            blog.users.parseInclude("posts..author"),
            // Back to where it has been.
            blog.users.parseInclude("posts.author.posts"),
            blog.users.loadJson([{}], { posts: { limit: 0 } }),
            blog.users.loadJson([{}], { posts: { select: ["none"] } }),
            blog.users.parseInclude(Array.from({ length: 9 }, () => "manager").join(".")),
            blog.users.parseInclude("manager.".repeat(20_000) + "manager"),
            blog.users.parseInclude(undefined as never),
            blog.users.loadJson([{}], { posts: null } as never),
            blog.users.loadJson([{}], { posts: { include: null } } as never),
            blog.users.loadJson([{}], { posts: { select: "title" } } as never)
          ],
          (one: Effect.Effect<unknown, Relation.IncludeError>) => Effect.map(Effect.flip(one), (error) => error.message)
        )
      )
      assert.deepStrictEqual(problems.result, [
        'include "nothing" of "users": Expected a relation of "users": it has posts, profile, manager, reports, edited',
        'include "posts..author" of "users": Expected names of relations, with dots for those within others',
        'include "posts.author.posts" of "users": Expected no relation that leads here: an include does not come back to where it has been',
        'include "posts" of "users": Expected a limit that is a whole number from 1',
        'include "posts" of "users": Expected fields of "posts" in select',
        'include "manager.manager.manager.manager.manager.manager.manager.manager.manager" of "users": Expected at most 8 levels',
        'include "manager.manager.manager.manager.manager.manager.manager.manager.manager" of "users": Expected at most 8 levels',
        'include "" of "users": Expected names of relations, with dots for those within others',
        'include "posts" of "users": Expected true, or an object with where, order, limit, select and include',
        'include "posts" of "users": Expected an object with names of relations in include',
        'include "posts" of "users": Expected fields of "posts" in select'
      ])
      assert.deepStrictEqual([problems.get, problems.list], [0, 0])
      const loop: { include?: object } = {}
      loop.include = { manager: loop }
      const endless = yield* Effect.flip(blog.users.loadJson([{}], { manager: loop as never }))
      assert.strictEqual(endless._tag, "InvalidInclude")
      // A tree goes as deep as it is asked for.
      yield* small(opened)
      const last = yield* blog.users.get("u0002", { include: { manager: { include: { manager: true } } } })
      assert.strictEqual(last.manager?.manager?.id, "u0000")
    })
  )

  it.effect("holds no more than it may, and says so", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const resources = { users: Users } as const
      const relations = { users: { reports: { hasMany: "users", key: "managerId" } } } as const
      const few = yield* Relation.make({ resources, relations, maxDocuments: 1, namespace: "few" }).pipe(
        Effect.provideService(Database, opened.database),
        Effect.provideService(Users, opened.users)
      )
      const error = yield* Effect.flip(few.users.list({ include: { reports: true } }))
      assert.strictEqual(error.message, 'include "reports" of "users" came to more than 1 documents: give it a limit')
      const one = yield* few.users.get("u0000", { include: { reports: true } })
      assert.strictEqual(one.reports.length, 1)
    })
  )

  it.effect("gives an API documents in JSON form, without secrets", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      class Owners extends Resource.Service<Owners>()("effect-s3db/test/plugins/Relation.test/owners", {
        schema: Schema.Struct({ id: Schema.String, pin: Attribute.SecretText, born: Schema.DateTimeUtc }),
        primaryKey: "id"
      }) {}
      class Things extends Resource.Service<Things>()("effect-s3db/test/plugins/Relation.test/things", {
        schema: Schema.Struct({ id: Schema.String, ownerId: Schema.String }),
        primaryKey: "id"
      }) {}
      class Shop extends Relation.Service<Shop>()("effect-s3db/test/plugins/Relation.test/Shop", {
        resources: { owners: Owners, things: Things },
        relations: { things: { owner: { belongsTo: "owners", key: "ownerId" } } }
      }) {}
      const layer = Shop.layer.pipe(
        Layer.provideMerge(Layer.mergeAll(Owners.layer, Things.layer)),
        Layer.provide(Layer.succeed(Database, database)),
        Layer.provide(ring)
      )
      yield* Effect.gen(function* () {
        const owners = yield* Owners
        const shop = yield* Shop
        yield* owners.insert({
          id: "o",
          pin: Redacted.make("1234"),
          born: yield* Effect.map(
            Effect.succeed("2000-01-01T00:00:00Z"),
            Schema.decodeSync(Schema.DateTimeUtcFromString)
          )
        })
        yield* (yield* Things).insert({ id: "t", ownerId: "o" })
        const include = yield* shop.things.parseInclude("owner")
        const all = yield* shop.things.loadJson([{ id: "t", ownerId: "o" }], include)
        // An API shows what it shows.
        const shown = yield* shop.things.loadJson([{ id: "t", ownerId: "o" }], include, {
          show: (resource, { born, ...rest }) => (resource === "owners" ? rest : { ...rest, born: born ?? null })
        })
        assert.deepStrictEqual(shown, [{ id: "t", ownerId: "o", owner: { id: "o" } }])
        const hidden = yield* shop.things.loadJson([{ id: "t", ownerId: "o" }], include, { show: () => undefined })
        assert.deepStrictEqual(hidden, [{ id: "t", ownerId: "o", owner: null }])
        assert.deepStrictEqual(yield* shop.things.resourcesIn(include), ["owners"])
        assert.deepStrictEqual(all, [{ id: "t", ownerId: "o", owner: { id: "o", born: "2000-01-01T00:00:00.000Z" } }])
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("shows nobody what they may not read, and mixes no two callers", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      class Accounts extends Resource.Service<Accounts>()("effect-s3db/test/plugins/Relation.test/accounts", {
        schema: Schema.Struct({ id: Schema.String }),
        primaryKey: "id"
      }) {}
      class Notes extends Resource.Service<Notes>()("effect-s3db/test/plugins/Relation.test/notes", {
        schema: Schema.Struct({ id: Schema.String, accountId: Schema.String, owner: Schema.String }),
        primaryKey: "id",
        partitions: { byAccount: ["accountId"] }
      }) {}
      class Desk extends Relation.Service<Desk>()("effect-s3db/test/plugins/Relation.test/Desk", {
        resources: { accounts: Accounts, notes: Notes },
        relations: {
          accounts: { notes: { hasMany: "notes", key: "accountId" }, mine: { hasOne: "notes", key: "accountId" } },
          notes: { next: { belongsTo: "notes", key: "owner" } }
        }
      }) {}
      const layer = Desk.layer.pipe(
        Layer.provideMerge(
          Layer.merge(
            Accounts.layer,
            Resource.guard(Notes, { insert: Guard.allow, query: Guard.owner("owner"), get: Guard.allow })
          )
        ),
        Layer.provide(Layer.succeed(Database, database))
      )
      yield* Effect.gen(function* () {
        const notes = yield* Notes
        const { accounts, notes: related } = yield* Desk
        yield* (yield* Accounts).insert({ id: "a" })
        yield* notes.insert({ id: "n1", accountId: "a", owner: "ada" })
        yield* notes.insert({ id: "n2", accountId: "a", owner: "bob" })
        yield* notes.insert({ id: "ada", accountId: "b", owner: "bob" })
        const as = <A, E>(id: string | undefined, effect: Effect.Effect<A, E>) =>
          Effect.provideService(effect, CurrentUser.CurrentUser, id === undefined ? undefined : CurrentUser.make(id))
        const seen = accounts.get("a", { include: { notes: true, mine: true } })
        const both = yield* Effect.all([as("ada", seen), as("bob", seen), as("eve", seen)], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          both.map(({ notes }) => notes.map(({ id }) => id)),
          [["n1"], ["n2"], []]
        )
        assert.deepStrictEqual(
          both.map(({ mine }) => mine?.id ?? null),
          ["n1", "n2", null]
        )
        // One document by its id is hidden as well.
        const next = related.get("n1", { include: { next: true } })
        assert.isNull((yield* as("ada", next)).next)
        assert.strictEqual((yield* as("bob", next)).next?.id, "ada")
      }).pipe(Effect.provide(layer))
      // Who has no right to query at all is told.
      const closed = Desk.layer.pipe(
        Layer.provideMerge(
          Layer.merge(Accounts.layer, Resource.guard(Notes, { insert: Guard.allow, get: Guard.allow }))
        ),
        Layer.provide(
          Layer.effect(
            Database,
            Effect.map(openOn(database.store), ({ database }) => database)
          )
        )
      )
      const error = yield* Effect.flip(
        Effect.flatMap(Desk, ({ accounts }) => accounts.get("a", { include: { notes: true } })).pipe(
          Effect.provide(closed)
        )
      )
      assert.strictEqual(error._tag, "Rejected")
    })
  )

  it.effect("sees what a transaction has written", () =>
    Effect.gen(function* () {
      const opened = yield* counted()
      yield* small(opened)
      const { blog, database, users } = opened
      const name = yield* database.transaction(
        Effect.gen(function* () {
          yield* users.update("u0000", { name: "new" })
          return (yield* blog.posts.get("a", { include: { author: true } })).author?.name
        })
      )
      assert.strictEqual(name, "new")
    })
  )

  describe("what is checked as it is opened", () => {
    class Owners extends Resource.Service<Owners>()("effect-s3db/test/plugins/Relation.test/owners2", {
      schema: Schema.Struct({ id: Schema.String, n: Schema.Int, pin: Attribute.SecretText }),
      primaryKey: "id"
    }) {}
    class Things extends Resource.Service<Things>()("effect-s3db/test/plugins/Relation.test/things2", {
      schema: Schema.Struct({ id: Schema.String, ownerId: Schema.String, at: Schema.String }),
      primaryKey: "id",
      partitions: { byLower: { fields: { at: "lower" } } }
    }) {}
    const resources = { owners: Owners, things: Things } as const
    const messageOf = (relations: object) =>
      Effect.gen(function* () {
        const { database } = yield* openOn(yield* memory)
        const layer = Layer.mergeAll(Owners.layer, Things.layer).pipe(
          Layer.provideMerge(Layer.succeed(Database, database)),
          Layer.provide(ring)
        )
        const opening = Relation.make<typeof resources, {}>({ resources, relations })
        return (yield* Effect.flip(Effect.provide(opening, layer))).message
      })

    const cases: ReadonlyArray<readonly [string, object, string]> = [
      [
        "a key that nothing leads along",
        { owners: { things: { hasMany: "things", key: "ownerId" } } },
        'relation owners.things, key: nothing leads to the documents of "things2" by "ownerId": declare partitions: { byOwnerId: ["ownerId"] } there, or a unique key, or say scan: true, which reads every document'
      ],
      [
        "a partition of what a transform makes",
        { owners: { things: { hasMany: "things", key: "at" } } },
        'relation owners.things, key: nothing leads to the documents of "things2" by "at": declare partitions: { byAt: ["at"] } there, or a unique key, or say scan: true, which reads every document'
      ],
      [
        "a field that is not there",
        { things: { owner: { belongsTo: "owners", key: "owner" } } },
        'relation things.owner, key: Expected a field at the top of a document, not "owner"'
      ],
      [
        "a secret",
        { things: { owner: { belongsTo: "owners", key: "ownerId", references: "pin" } } },
        'relation things.owner, references: Expected a field with texts, numbers or booleans: "pin" has others'
      ],
      [
        "a resource that is not there",
        { things: { owner: { belongsTo: "people", key: "ownerId" } } },
        'relation things.owner, belongsTo: Expected one of the resources: owners, things; not "people"'
      ],
      [
        "no kind",
        { things: { owner: { key: "ownerId" } } },
        "relation things.owner, kind: Expected one of hasOne, hasMany, belongsTo, belongsToMany with the name of a resource"
      ],
      [
        "the name of a field",
        { things: { ownerId: { belongsTo: "owners", key: "ownerId" } } },
        'relation things.ownerId, name: Expected another name: "things" has a field that is called so'
      ],
      [
        "a key that cannot be cleared",
        { owners: { things: { hasMany: "things", key: "ownerId", scan: true, onDelete: "setNull" } } },
        'relation owners.things, onDelete: Expected "ownerId" of "things2" to be optional, or to take null'
      ],
      [
        "a policy of the wrong side",
        { things: { owner: { belongsTo: "owners", key: "ownerId", onDelete: "cascade" } } },
        "relation things.owner, onDelete: Expected it at the other side, whose documents are deleted or changed"
      ],
      [
        "a policy that is none",
        { owners: { things: { hasMany: "things", key: "ownerId", scan: true, onDelete: "forget" } } },
        "relation owners.things, onDelete: Expected one of cascade, restrict, setNull"
      ],
      [
        "no resource in between",
        { owners: { things: { belongsToMany: "things", from: "a", to: "b" } } },
        "relation owners.things, through: Expected the resource in between, one of owners, things"
      ]
    ]
    for (const [title, relations, message] of cases) {
      it.effect(title, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* messageOf(relations), message)
        })
      )
    }
  })
})
