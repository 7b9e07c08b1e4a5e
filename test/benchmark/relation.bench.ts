/**
 * What an include costs beside reading one by one: 50 posts with their 10 authors, and 10 users with 50 posts each; in memory, and on a store that
 * takes its time, as one on a network does. With --documents=100000 there are so many posts of others, too.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type Case, measure } from "./measure.ts"
import { countOf } from "./option.ts"
import { digits } from "./table.ts"

class Users extends Resource.Service<Users>()("bench/users", {
  schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
  primaryKey: "id"
}) {}

class Posts extends Resource.Service<Posts>()("bench/posts", {
  schema: Schema.Struct({ id: Schema.String, userId: Schema.String, title: Schema.String }),
  primaryKey: "id",
  partitions: { byUser: ["userId"] }
}) {}

/** The answer of S3 from the same region, as a rule: in milliseconds. */
const away = 15

const slow = (store: ObjectStore["Service"]): ObjectStore["Service"] => {
  const wait = <A, E>(effect: Effect.Effect<A, E>) => Effect.andThen(Effect.sleep(away), effect)
  return { ...store, get: (...args) => wait(store.get(...args)), list: (request) => wait(store.list(request)) }
}

const users = 10
const postsOfEach = 50

const open = Effect.fnUntraced(function* (inner: ObjectStore["Service"]) {
  const { counter, store } = InstrumentedStore.make(inner)
  const database = yield* Effect.provideService(Database.make({ catalogLease: "1 hour" }), ObjectStore, store)
  const repositories = yield* Effect.provideService(
    Effect.all({ users: Resource.make(Users.definition), posts: Resource.make(Posts.definition) }),
    Database.Database,
    database
  )
  const blog = yield* Relation.make({
    resources: { users: Users, posts: Posts },
    relations: {
      users: { posts: { hasMany: "posts", key: "userId" } },
      posts: { author: { belongsTo: "users", key: "userId" } }
    }
  }).pipe(
    Effect.provideService(Database.Database, database),
    Effect.provideService(Users, repositories.users),
    Effect.provideService(Posts, repositories.posts)
  )
  return { ...repositories, blog, counter }
})

type Opened = Effect.Success<ReturnType<typeof open>>

type Way = readonly [string, Effect.Effect<unknown, unknown>]

const ways = ({ blog, posts, users }: Opened, isAlone: boolean): ReadonlyArray<Way> => [
  [
    "50 posts, then the author of each",
    Effect.gen(function* () {
      const { items } = yield* posts.list({ limit: 50 })
      for (const { userId } of items) yield* users.get(userId)
    })
  ],
  [
    "50 posts, their authors by getMany",
    Effect.gen(function* () {
      const { items } = yield* posts.list({ limit: 50 })
      yield* users.getMany(items.map(({ userId }) => userId))
    })
  ],
  ["50 posts that include their authors", blog.posts.list({ limit: 50, include: { author: true } })],
  [
    "10 users, then the posts of each",
    Effect.gen(function* () {
      const { items } = yield* users.list({ limit: 10 })
      for (const { id } of items) yield* Stream.runCollect(posts.query({ where: { userId: id } }))
    })
  ],
  ...(isAlone ? [sortedOut({ posts, users })] : []),
  ["10 users that include their posts", blog.users.list({ limit: 10, include: { posts: true } })]
]

const sortedOut = ({ posts, users }: Pick<Opened, "posts" | "users">): Way => [
  "10 users, all posts read and sorted out",
  Effect.gen(function* () {
    const { items } = yield* users.list()
    const all = yield* Stream.runCollect(posts.scan())
    return items.map(({ id }) => all.filter(({ userId }) => userId === id))
  })
]

export const report = () =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const near = yield* open(store)
      for (let i = 0; i < users; i++) {
        yield* near.users.insert({ id: `u${i}`, name: "Ada" })
        for (let n = 0; n < postsOfEach; n++) {
          yield* near.posts.insert({
            id: `p${String(n * users + i).padStart(4, "0")}`,
            userId: `u${i}`,
            title: "x"
          })
        }
      }
      const others = countOf("documents", 0, 0)
      for (let i = 0; i < others; i++) {
        yield* near.posts.insert({ id: `q${i}`, userId: `v${Math.floor(i / postsOfEach)}`, title: "x" })
      }
      const far = yield* open(slow(store))
      const rows: Array<ReadonlyArray<string>> = []
      const results: Array<object> = []
      for (const [where, opened, times] of [
        ["in memory", near, 2],
        [`${away} ms away`, far, 1]
      ] as const) {
        const all = ways(opened, others === 0)
        const cases = all.map(([name, effect], i): Case => ({
          name,
          baseline: all[i < 3 ? 0 : 3]![0],
          run: (times) => Effect.runPromise(Effect.repeat(effect, { times: times - 1 }))
        }))
        const measured = yield* Effect.promise(() => measure(cases, times))
        for (const [i, { name, ratio, wall }] of measured.entries()) {
          yield* opened.counter.reset
          yield* all[i]![1]
          const { get, list } = yield* opened.counter.counts
          results.push({ where, name, ratio, milliseconds: wall.median / 1000, get, list })
          rows.push([where, name, digits(wall.median / 1000), digits(ratio), String(list), String(get)])
        }
      }
      return {
        results,
        tables: [
          {
            title: `Milliseconds of one time${others === 0 ? "" : `, among ${others.toLocaleString("en-US")} posts of others`}; ratios to the first of three`,
            columns: ["", "", "median", "ratio", "LIST", "GET"],
            rows
          }
        ]
      }
    }).pipe(Effect.scoped)
  )
