/** What belongs to documents, in their answers. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Client from "effect-s3db/http/Client"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Auth, isProblem, serve, services } from "./api.ts"

class Authors extends Resource.Service<Authors>()("http/authors", {
  schema: Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    pin: Schema.optionalKey(Attribute.SecretText),
    salary: Schema.optionalKey(Schema.Int),
    rating: Schema.optionalKey(Schema.Int)
  }),
  primaryKey: "id"
}) {}
class Posts extends Resource.Service<Posts>()("http/posts", {
  schema: Schema.Struct({ id: Schema.String, title: Schema.String, authorId: Schema.String }),
  primaryKey: "id",
  partitions: { byAuthor: ["authorId"] }
}) {}
class Comments extends Resource.Service<Comments>()("http/comments", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String, postId: Schema.String, tenant: Schema.String }),
  primaryKey: "id",
  partitions: { byPost: ["postId"] }
}) {}
class Drafts extends Resource.Service<Drafts>()("http/drafts", {
  schema: Schema.Struct({ id: Schema.String, postId: Schema.String }),
  primaryKey: "id",
  partitions: { byPost: ["postId"] }
}) {}

class Blog extends Relation.Service<Blog>()("http/Blog", {
  resources: () => ({ authors: Authors, posts: Posts, comments: Comments, drafts: Drafts }),
  relations: {
    authors: { posts: { hasMany: "posts", key: "authorId" } },
    posts: {
      author: { belongsTo: "authors", key: "authorId" },
      comments: { hasMany: "comments", key: "postId" },
      drafts: { hasMany: "drafts", key: "postId" },
      secretDrafts: { hasMany: "drafts", key: "postId" }
    },
    comments: { post: { belongsTo: "posts", key: "postId" } }
  }
}) {}

const authors = HttpResources.expose(Authors, {
  protect: ["salary"],
  protectUnless: [{ paths: ["rating"], roles: ["admin"] }],
  include: ["posts"],
  publicTo: "readers"
})
// "drafts" is offered, and leads to what the API does not have.
const posts = HttpResources.expose(Posts, { include: ["author", "comments", "drafts"], publicTo: "readers" })
const comments = HttpResources.expose(Comments, { include: ["post"] })
const Api = HttpResources.api("blog", [authors, posts, comments], { prefix: "/api" })

const start = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const { counter, store: counted } = InstrumentedStore.make(store)
  const isTenants = Guard.record<{ readonly tenant: string }>(
    (one, user) => user !== undefined && one.tenant === user.claims["tenant"]
  )
  const guarded = Layer.mergeAll(
    Resource.guard(Comments, { "*": isTenants }),
    Resource.guard(Posts, { "*": Guard.allow, query: Guard.user((user) => user?.id !== "banned") })
  )
  const data = Layer.mergeAll(Authors.layer, Drafts.layer, guarded).pipe(
    Layer.provideMerge(Database.layerWith({ catalogLease: "1 hour" })),
    Layer.provide(Layer.merge(Layer.succeed(ObjectStore, counted), services))
  )
  const context = yield* Layer.build(Layer.provideMerge(Blog.layer, data))
  const relations = HttpResources.related(Blog, { authors, posts, comments })
  const api = yield* serve(
    HttpResources.layer(Api, [authors, posts, comments], { relations, openApi: "public" }).pipe(
      Layer.provide([Layer.succeedContext(context), Auth])
    )
  )
  const requests = Effect.fnUntraced(function* <A>(effect: Effect.Effect<A>) {
    yield* counter.reset
    const result = yield* effect
    const { get, list, ...others } = yield* counter.counts
    return { result, get, list, others: Object.values(others).reduce((sum, one) => sum + one, 0) }
  })
  return { ...api, context, requests }
})

const author = (id: string) => ({ id, name: `n${id}`, salary: 10, rating: 5 })
const post = (id: string, authorId: string) => ({ id, title: `t${id}`, authorId })
const comment = (id: string, postId: string, tenant: string) => ({ id, text: "x", postId, tenant })

const filled = Effect.gen(function* () {
  const api = yield* start
  yield* Effect.gen(function* () {
    yield* (yield* Authors).insertMany([author("a"), author("b")])
    yield* (yield* Posts).insertMany([post("1", "a"), post("2", "a"), post("3", "gone")])
    yield* (yield* Drafts).insert({ id: "d", postId: "1" })
  }).pipe(Effect.provideContext(api.context))
  for (const [id, tenant] of [
    ["1", "acme"],
    ["2", "evil"]
  ] as const) {
    yield* api.send("POST", "/api/comments", { body: comment(id, "1", tenant), as: `x:${tenant}` })
  }
  return api
})

describe("include", () => {
  it.effect("completes one document and a page, with what the endpoints of the others show", () =>
    Effect.gen(function* () {
      const api = yield* filled
      const one = yield* api.send("GET", "/api/posts/1?include=author,comments", { as: "ana:acme" })
      assert.deepStrictEqual(one.json, {
        ...post("1", "a"),
        author: { id: "a", name: "na" },
        comments: [comment("1", "1", "acme")]
      })
      assert.isNotNull(one.headers.get("etag"))
      const again = yield* api.send("GET", "/api/posts/1?include=author", {
        headers: { "if-none-match": one.headers.get("etag")! }
      })
      assert.strictEqual(again.status, 200)
      const admin = yield* api.send("GET", "/api/posts/1?include=author", { as: "admin:acme" })
      assert.deepStrictEqual(admin.json.author, { id: "a", name: "na", rating: 5 })
      const page = yield* api.send(
        "GET",
        '/api/posts?include=author,comments&order=id&filter={"id":{"in":["1","3"]}}',
        {
          as: "eve:evil"
        }
      )
      assert.deepStrictEqual(page.json.items, [
        { ...post("1", "a"), author: { id: "a", name: "na" }, comments: [comment("2", "1", "evil")] },
        { ...post("3", "gone"), author: null, comments: [] }
      ])
      const deep = yield* api.send("GET", "/api/authors/a?include=posts.comments", { as: "ana:acme" })
      assert.deepStrictEqual(
        deep.json.posts.map((found: { comments: unknown }) => found.comments),
        [[comment("1", "1", "acme")], []]
      )
    })
  )

  it.effect("refuses what is not offered, not in the API, not for who asks, and what is none", () =>
    Effect.gen(function* () {
      const api = yield* filled
      const ask = (include: string, as = "ana:acme") =>
        api.send("GET", `/api/posts/1?include=${encodeURIComponent(include)}`, { as })
      const wrong = [
        "nothing",
        "secretDrafts",
        "drafts",
        "author.nothing",
        "comments.post.author.posts.drafts",
        "__proto__"
      ]
      for (const include of [...wrong, "constructor", "author..posts", ",", "author,", "author.posts.author"]) {
        isProblem(yield* ask(include), 400, "InvalidInclude")
        isProblem(yield* api.send("GET", `/api/posts?include=${include}`), 400, "InvalidInclude")
      }
      isProblem(yield* ask("x".repeat(501)), 400, "InvalidInclude")
      isProblem(yield* ask(Array.from({ length: 17 }, (_, at) => (at % 2 ? "author" : `comments`)).join(".")), 400)
      const refusal = (yield* ask("secretDrafts")).json.detail as string
      assert.include(refusal, "author, comments, drafts can")
      // Nobody is logged in: readers may see posts and authors, not comments.
      assert.strictEqual((yield* ask("author", "")).status, 200)
      isProblem(yield* ask("comments", ""), 401, "Unauthenticated")
      isProblem(yield* api.send("GET", "/api/authors/a?include=posts", { as: "banned" }), 403)
      isProblem(yield* api.send("GET", "/api/posts/none?include=author"), 404, "NotFound")
      const hunted = yield* ask("author,comments")
      for (const secret of ["salary", "rating", "evil"]) assert.notInclude(hunted.text, secret)
    })
  )

  it.effect("has of each relation as many as are wanted, in an order, with some fields", () =>
    Effect.gen(function* () {
      const api = yield* filled
      yield* Effect.gen(function* () {
        yield* (yield* Posts).insertMany([post("4", "a"), { ...post("5", "b"), title: "a" }, post("6", "b")])
      }).pipe(Effect.provideContext(api.context))
      const ask = (include: string, as = "ana:acme") =>
        api.send("GET", `/api/authors?order=id&filter={"id":{"in":["a","b"]}}&include=${encodeURIComponent(include)}`, {
          as
        })
      const idsOf = (answer: { json: { items: ReadonlyArray<{ posts: ReadonlyArray<{ id: string }> }> } }) =>
        answer.json.items.map(({ posts }) => posts.map(({ id }) => id))
      assert.deepStrictEqual(idsOf(yield* ask("posts(limit:2)")), [
        ["1", "2"],
        ["5", "6"]
      ])
      assert.deepStrictEqual(idsOf(yield* ask(" posts ( limit:2 ; order:-title,id )".replace("posts ", "posts"))), [
        ["4", "2"],
        ["6", "5"]
      ])
      const some = yield* ask("posts(fields:title;limit:1;order:title),posts.comments(fields:text)")
      assert.deepStrictEqual(
        some.json.items.map(({ posts }: { posts: unknown }) => posts),
        [[{ title: "t1", comments: [{ text: "x" }] }], [{ title: "a", comments: [] }]]
      )
      const deep = yield* api.send("GET", "/api/posts/1?include=comments(limit:1).post(fields:title)")
      assert.strictEqual(deep.status, 200)
      for (const wrong of [
        "posts(limit:0)",
        "posts(limit:1001)",
        "posts(limit:-1)",
        "posts(limit:1e1)",
        "posts(limit:)",
        "posts(limit)",
        "posts()",
        "posts(limit:1;limit:2)",
        "posts(limit:1),posts(limit:2)",
        "posts(where:x)",
        "posts(__proto__:1)",
        "posts(limit:1",
        "posts(limit:1))",
        "posts(limit:(1))",
        "posts(limit:1)x",
        "(limit:1)",
        "posts(order:-)",
        "posts(order:title,title)",
        "posts(fields:nothing)",
        "posts(fields:__proto__)"
      ]) {
        isProblem(yield* ask(wrong), 400, "InvalidInclude")
      }
    })
  )

  it.effect("neither orders by what is not shown, nor picks it", () =>
    Effect.gen(function* () {
      const api = yield* filled
      const ask = (include: string, as: string) =>
        api.send("GET", `/api/posts/1?include=${encodeURIComponent(include)}`, { as })
      for (const field of ["salary", "rating"]) {
        isProblem(yield* ask(`author(order:${field})`, "ana:acme"), 422, "InvalidInput")
        isProblem(yield* ask(`author(fields:name,${field})`, "ana:acme"), 422, "InvalidInput")
      }
      const admin = yield* ask("author(fields:rating;order:-rating)", "admin:acme")
      assert.deepStrictEqual(admin.json.author, { rating: 5 })
      isProblem(yield* ask("comments(order:nothing)", "ana:acme"), 422, "InvalidInput")
    })
  )

  it.effect("asks once for what belongs to several, and for nothing where it is refused", () =>
    Effect.gen(function* () {
      const api = yield* start
      yield* Effect.gen(function* () {
        yield* (yield* Authors).insertMany(Array.from({ length: 10 }, (_, at) => author(`a${at}`)))
        yield* (yield* Posts).insertMany(
          Array.from({ length: 50 }, (_, at) => post(`p${String(at).padStart(2, "0")}`, `a${at % 10}`))
        )
      }).pipe(Effect.provideContext(api.context))
      const plain = yield* api.requests(api.send("GET", "/api/posts?limit=50"))
      assert.deepStrictEqual([plain.get, plain.list, plain.others], [50, 1, 0])
      const with10 = yield* api.requests(api.send("GET", "/api/posts?limit=50&include=author"))
      assert.strictEqual(with10.result.json.items[49].author.id, "a9")
      assert.deepStrictEqual([with10.get, with10.list, with10.others], [60, 1, 0])
      const refused = yield* api.requests(api.send("GET", "/api/posts?limit=50&include=nothing"))
      assert.deepStrictEqual([refused.get, refused.list, refused.others], [0, 0, 0])
    })
  )

  it.effect("is in the OpenAPI document where there is something to include", () =>
    Effect.gen(function* () {
      const api = yield* start
      const { json } = yield* api.send("GET", "/api/openapi.json", { as: "" })
      const named = (path: string) =>
        json.paths[path].get.parameters.find((one: { name: string }) => one.name === "include")?.description as string
      assert.include(named("/api/posts"), "author, comments, drafts")
      assert.include(named("/api/posts/{id}"), "author, comments, drafts")
      assert.isUndefined(
        json.paths["/api/posts/-/count"].get.parameters.find((one: { name: string }) => one.name === "include")
      )
    })
  )

  it.effect("is known to a typed client, with views, options and problems", () =>
    Effect.gen(function* () {
      const api = yield* filled
      yield* Effect.gen(function* () {
        yield* (yield* Posts).insertMany(
          Array.from({ length: 30 }, (_, at) => ({ ...post(`m${String(at).padStart(2, "0")}`, "b"), title: `t${at}` }))
        )
      }).pipe(Effect.provideContext(api.context))
      const fetch = Layer.succeed(FetchHttpClient.Fetch, (input: string | URL | Request, init?: RequestInit) =>
        api.handler(new Request(input, { ...init, duplex: "half" } as RequestInit))
      )
      const client = yield* Client.make(Api, {
        baseUrl: "http://localhost/",
        transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken("ana:acme"))
      }).pipe(Effect.provide(Layer.provide(FetchHttpClient.layer, fetch)))
      const wanted = Client.shape(posts, {
        include: {
          author: Client.shape(authors, { fields: ["name"] }),
          comments: [Client.shape(comments, { limit: 3, order: "-text,id" })]
        }
      })
      const one = yield* client.get(wanted, "1")
      const types: {
        readonly title: string
        readonly author: { readonly name: string } | null
        readonly comments: ReadonlyArray<{ readonly text: string; readonly tenant: string }>
      } = one
      assert.deepStrictEqual(one, { ...post("1", "a"), author: { name: "na" }, comments: [comment("1", "1", "acme")] })
      assert.strictEqual(types.comments.length, 1)
      // @ts-expect-error Only the name of the author was asked for.
      void one.author?.id
      const gone = yield* client.get(wanted, "3")
      assert.isNull(gone.author)
      const deep = Client.shape(authors, {
        include: {
          posts: [
            Client.shape(posts, {
              fields: ["title"],
              limit: 2,
              order: "-title",
              include: { comments: [Client.shape(comments, { fields: ["text"] })] }
            })
          ]
        }
      })
      assert.strictEqual(deep.include, "posts(limit:2;order:-title;fields:title),posts.comments(fields:text)")
      const page = yield* client.list(deep, { order: "id", filter: { id: { in: ["a", "b"] } }, total: true })
      assert.strictEqual(page.total, 2)
      assert.deepStrictEqual(
        page.items.map(({ posts }) => posts.map(({ title }) => title)),
        [
          ["t2", "t1"],
          ["t9", "t8"]
        ]
      )
      assert.deepStrictEqual(page.items[0]!.posts[1]!.comments, [{ text: "x" }])
      const all = yield* Stream.runCollect(
        client.all(Client.shape(posts), { limit: 7, filter: { authorId: { eq: "b" } } })
      )
      assert.strictEqual(new Set(all.map(({ id }) => id)).size, 30)
      const missing = yield* Effect.flip(client.get(wanted, "a/b ?"))
      assert.isTrue("code" in missing && missing.code === "NotFound")
      const refused = yield* Effect.flip(
        client.get(Client.shape(posts, { include: { nothing: Client.shape(posts) } }), "1")
      )
      assert.isTrue("code" in refused && refused.code === "InvalidInclude")
      assert.throws(() => Client.shape(authors, { fields: ["salary" as "name"] }), "no field that is shown")
      // @ts-expect-error What is protected is no field of what is shown.
      void (() => Client.shape(authors, { fields: ["salary"] }))
    })
  )
})
