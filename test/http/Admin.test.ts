/** The admin page: who gets what, and what is in no answer. What a browser does with it is in `admin.deep.test.ts`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Admin from "effect-s3db/http/Admin"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Oidc from "effect-s3db/http/Oidc"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Journaler from "effect-s3db/plugins/Journaler"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as Prices from "effect-s3db/storage/Prices"
import { Api, Auth, Data, isProblem, notes, serve, shop, users } from "./api.ts"

class Orders extends Resource.Service<Orders>()("admin/orders", {
  schema: Schema.Struct({
    id: Schema.String,
    state: Schema.Literals(["open", "paid"]),
    note: Schema.optionalKey(Schema.String)
  }),
  primaryKey: "id",
  history: true,
  content: true,
  journal: true,
  partitions: { byState: ["state"] },
  counters: true
}) {}

class Hidden extends Resource.Service<Hidden>()("admin/hidden", {
  schema: Schema.Struct({ id: Schema.String, plan: Schema.String }),
  primaryKey: "id"
}) {}

class Mails extends S3Queue.Service<Mails>()("admin/mails", { payload: Schema.Struct({ to: Schema.String }) }) {}

const orders = HttpResources.expose(Orders, { readonlyUnless: [{ paths: ["note"], roles: ["admin"] }] })
const OrdersApi = HttpResources.api("orders", [orders], { prefix: "/api", title: "Orders" })

const start = serve(
  Layer.mergeAll(
    HttpResources.layer(OrdersApi, [orders]),
    Admin.layer(OrdersApi, [orders], { title: "Orders & <others>", costs: Costs.Costs }),
    Layer.effectDiscard(
      Effect.gen(function* () {
        yield* (yield* Hidden).insert({ id: "1", plan: "nobody is to read this" })
        const mails = yield* Mails
        yield* mails.offer({ to: "a secret address" })
        yield* mails.offer({ to: "another" })
        yield* mails.claim()
      })
    )
  ).pipe(
    Layer.provide([Orders.layer, Hidden.layer, Mails.layer, Journaler.layer, Auth]),
    Layer.provide(Costs.layer({ prices: Prices.s3Standard["eu-central-1"], write: false })),
    Layer.provide(Database.layerWith({ catalogLease: 0 })),
    Layer.provide(MemoryStore.layer)
  )
)

/** The API of other tests, with secrets in its documents. */
const shopped = serve(
  Layer.merge(HttpResources.layer(Api, [users, notes]), Admin.layer(Api, [users, notes])).pipe(
    Layer.provide([Data, Auth])
  )
)

const paths = ["", "/sizes?resource=orders", "/plugins", "/costs", "/store"]

const assetsIn = (html: string): ReadonlyArray<string> =>
  [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path = ""]) => path)

describe("the admin page", () => {
  it.effect("is there where it is wanted only", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const path of ["/admin", "/admin/assets/admin.js", "/api/-/admin"]) {
        assert.strictEqual((yield* api.send("GET", path, { as: "admin" })).status, 404)
      }
    })
  )

  it.effect("is read by anybody, and says nothing of the database", () =>
    Effect.gen(function* () {
      const api = yield* start
      const page = yield* api.send("GET", "/admin", { as: "" })
      assert.strictEqual(page.status, 200)
      assert.strictEqual(page.headers.get("content-type"), "text/html; charset=utf-8")
      assert.strictEqual(page.headers.get("cache-control"), "no-cache")
      assert.include(page.text, "<title>Orders &#38; &#60;others&#62;</title>")
      for (const word of ["hidden", "mails", "byState"]) assert.notInclude(page.text, word)
      const assets = assetsIn(page.text)
      assert.strictEqual(assets.length, 2)
      for (const path of assets) {
        const asset = yield* api.send("GET", path, { as: "" })
        assert.strictEqual(asset.status, 200)
        assert.match(asset.headers.get("content-type")!, /^text\/(javascript|css); charset=utf-8$/)
        assert.strictEqual(asset.headers.get("cache-control"), "public, max-age=31536000, immutable")
        assert.isAtLeast(asset.text.length, 2000)
      }
    })
  )

  it.effect("knows the providers that somebody can sign in by, where the API has their endpoints", () =>
    Effect.gen(function* () {
      const logins = Effect.succeed({ providers: ["company", "x<y"] })
      assert.throws(() => Admin.layer(OrdersApi, [orders], { logins }), "Oidc.group")
      const MyApi = OrdersApi.add(Oidc.group.prefix("/me"))
      const api = yield* serve(
        Admin.layer(MyApi, [orders], { logins, path: "/tools" }).pipe(
          Layer.provide([Orders.layer, Auth]),
          Layer.provide(Data)
        )
      )
      const { text } = yield* api.send("GET", "/tools", { as: "" })
      const [, content = ""] = /name="admin" content="([^"]*)"/.exec(text) ?? []
      const config = JSON.parse(content.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))))
      assert.deepStrictEqual(config.providers, [
        { name: "company", login: "/me/auth/company/login" },
        { name: "x<y", login: "/me/auth/x<y/login" }
      ])
      assert.deepStrictEqual([config.logout, config.page], ["/me/auth/logout", "/tools"])
    })
  )

  it.effect("every part of it has a strict policy, and is as its digest says", () =>
    Effect.gen(function* () {
      const api = yield* start
      const page = yield* api.send("GET", "/admin", { as: "" })
      for (const path of ["/admin", "/admin/", ...assetsIn(page.text), "/admin/assets/nothing.js"]) {
        const { headers } = yield* api.send("GET", path, { as: "" })
        const policy = headers.get("content-security-policy")!
        assert.include(policy, "default-src 'none'")
        assert.include(policy, "frame-ancestors 'none'")
        assert.include(policy, "require-trusted-types-for 'script'")
        assert.notInclude(policy, "unsafe")
        assert.notInclude(policy, "http")
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
        assert.strictEqual(headers.get("referrer-policy"), "no-referrer")
        assert.isNull(headers.get("set-cookie"))
      }
      // Nothing is run or styled in the document itself, and nothing asked of others.
      assert.notMatch(page.text, /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?:/)
      for (const [, path = "", digest = ""] of page.text.matchAll(
        /(?:src|href)="(\/[^"]+)" integrity="sha256-([^"]+)"/g
      )) {
        const asset = yield* api.send("GET", path, { as: "" })
        const bytes = yield* Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(asset.text)))
        assert.strictEqual(Buffer.from(bytes).toString("base64"), digest)
        assert.notMatch(asset.text, /\beval\(|new Function\(|document\.write/)
      }
    })
  )

  it.effect("answers HEAD, and 304 to who has it", () =>
    Effect.gen(function* () {
      const api = yield* start
      const page = yield* api.send("GET", "/admin", { as: "" })
      for (const path of ["/admin", ...assetsIn(page.text)]) {
        const get = yield* api.send("GET", path, { as: "" })
        const etag = get.headers.get("etag")!
        const head = yield* api.send("HEAD", path, { as: "" })
        assert.deepStrictEqual([head.status, head.text, head.headers.get("etag")], [200, "", etag])
        for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
          const again = yield* api.send("GET", path, { as: "", headers: { "if-none-match": tag } })
          assert.deepStrictEqual([again.status, again.text, again.headers.get("etag")], [304, "", etag])
        }
        const other = yield* api.send("GET", path, { as: "", headers: { "if-none-match": '"other"' } })
        assert.strictEqual(other.status, 200)
      }
    })
  )

  it.effect("has nothing but its parts, whatever the path", () =>
    Effect.gen(function* () {
      const api = yield* start
      for (const path of [
        "/admin/assets/",
        "/admin/assets/../../package.json",
        "/admin/assets/..%2f..%2fpackage.json",
        "/admin/assets/%2e%2e%2fadmin.js",
        "/admin/assets/..%5c..%5cpackage.json",
        "/admin/assets/admin.js%00.css",
        "/admin/assets/__proto__",
        "/admin/assets/constructor",
        "/admin/src/main.tsx",
        "/admin//etc/passwd",
        "/admin/%2e%2e/package.json"
      ]) {
        const answer = yield* api.send("GET", path, { as: "" })
        assert.strictEqual(answer.status, 404, path)
        assert.notInclude(answer.text, "effect-s3db")
      }
    })
  )

  it.effect("is part of an API of one's own, whatever else that has", () =>
    Effect.gen(function* () {
      const own = HttpApiGroup.make("own").add(HttpApiEndpoint.get("hello", "/hello", { success: Schema.String }))
      const Own = HttpApi.make("own").add(own, orders.group.prefix("/v1"))
      const api = yield* serve(
        Admin.layer(Own, [orders], { path: "/tools/look" }).pipe(
          Layer.provide(Auth),
          Layer.provide(Database.layer),
          Layer.provide(MemoryStore.layer)
        )
      )
      assert.strictEqual((yield* api.send("GET", "/tools/look", { as: "" })).status, 200)
      const { json } = yield* api.send("GET", "/v1/-/admin", { as: "admin" })
      assert.strictEqual(json.resources[0].name, "orders")
      assert.isFalse(json.hasCosts)
      isProblem(yield* api.send("GET", "/v1/-/admin/costs", { as: "admin" }), 404, "NotFound")
    })
  )

  it("refuses a path that is none", () => {
    for (const path of ["/", "/a b", "/:id", "/a/*", '/"', "/a//b"] as const) {
      assert.throws(() => Admin.layer(OrdersApi, [orders], { path }), /cannot be where the page is/)
    }
  })
})

describe("what the page asks for", () => {
  it.effect("is for administrators", () =>
    Effect.gen(function* () {
      const api = yield* start
      for (const path of paths) {
        isProblem(yield* api.send("GET", `/api/-/admin${path}`, { as: "" }), 401, "Unauthenticated")
        isProblem(yield* api.send("GET", `/api/-/admin${path}`, { as: "forged" }), 401, "Unauthenticated")
        isProblem(yield* api.send("GET", `/api/-/admin${path}`, { as: "ana" }), 403, "Forbidden")
        const answer = yield* api.send("GET", `/api/-/admin${path}`, { as: "admin" })
        assert.strictEqual(answer.status, 200, answer.text)
        assert.strictEqual(answer.headers.get("cache-control"), "no-store")
        assert.strictEqual(answer.headers.get("x-content-type-options"), "nosniff")
        for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
          assert.strictEqual((yield* api.send(method, `/api/-/admin${path}`, { as: "admin" })).status, 404)
        }
      }
    })
  )

  it.effect("is for who has the role or the scope that is named", () =>
    Effect.gen(function* () {
      const Somebody = Authentication.layerFrom(({ headers }) =>
        Effect.succeed(CurrentUser.make("a", { roles: [headers["x-role"] ?? ""], scopes: [headers["x-scope"] ?? ""] }))
      )
      const served = (allow: Admin.Options["allow"]) =>
        serve(
          Admin.layer(OrdersApi, [orders], allow === undefined ? {} : { allow }).pipe(
            Layer.provide(Somebody),
            Layer.provide(Database.layer),
            Layer.provide(MemoryStore.layer)
          )
        )
      const statusOf = (api: Effect.Success<typeof start>, headers: Record<string, string>) =>
        Effect.map(api.send("GET", "/api/-/admin", { as: "", headers }), ({ status }) => status)
      const byDefault = yield* served(undefined)
      assert.strictEqual(yield* statusOf(byDefault, { "x-role": "admin" }), 200)
      assert.strictEqual(yield* statusOf(byDefault, { "x-scope": "admin" }), 200)
      assert.strictEqual(yield* statusOf(byDefault, { "x-role": "admins" }), 403)
      const scoped = yield* served({ scopes: ["look"] })
      assert.strictEqual(yield* statusOf(scoped, { "x-role": "admin" }), 403)
      assert.strictEqual(yield* statusOf(scoped, { "x-scope": "look" }), 200)
      assert.strictEqual(yield* statusOf(yield* served({}), { "x-role": "admin", "x-scope": "admin" }), 403)
    })
  )

  it.effect("tells of resources what a form needs", () =>
    Effect.gen(function* () {
      const api = yield* start
      const { json } = yield* api.send("GET", "/api/-/admin", { as: "admin" })
      assert.deepStrictEqual(json.user, { id: "admin", roles: ["admin"], scopes: [] })
      assert.isTrue(json.hasCosts)
      const [one, ...rest] = json.resources
      assert.deepStrictEqual(rest, [])
      assert.deepStrictEqual([one.name, one.primaryKey, one.columns], ["orders", "id", ["id", "state", "note"]])
      assert.includeMembers(one.operations, ["list", "history", "getContent", "setContent", "patch"])
      assert.deepStrictEqual(one.partitions, { byState: [{ path: "state", transforms: [] }] })
      assert.deepStrictEqual(one.create.properties.state.enum, ["open", "paid"])
      assert.deepStrictEqual(one.readonly, [])
      const names = json.others.map(({ name }: { name: string }) => name)
      assert.include(names, "hidden")
      assert.notInclude(names, "orders")
    })
  )

  it.effect("measures by listing, ten pages at a time", () =>
    Effect.gen(function* () {
      const api = yield* start
      const words = Array.from({ length: 1000 }, (_, i) => ((i * 7919) % 9973).toString(36)).join(" ")
      for (const id of ["1", "2", "3"]) {
        yield* api.send("POST", "/api/orders", { body: { id, state: "open", note: words }, as: "admin" })
      }
      yield* api.send("DELETE", "/api/orders/3", { as: "admin" })
      const { json } = yield* api.send("GET", "/api/-/admin/sizes?resource=orders", { as: "admin" })
      assert.strictEqual(json.documents, 2)
      assert.isAbove(json.bytes, 2000)
      const data = json.parts.find(({ name }: { name: string }) => name === "data")
      // The third has left what tells the journal of its deletion.
      assert.strictEqual(data.objects, 3)
      assert.isUndefined(json.token)
      for (const other of ["nobody", "__proto__", "", "../orders"]) {
        const path = `/api/-/admin/sizes?resource=${encodeURIComponent(other)}`
        isProblem(yield* api.send("GET", path, { as: "admin" }), 404, "NotFound")
      }
    })
  )

  it.effect("tells how plugins fare: queues, the journal, leases", () =>
    Effect.gen(function* () {
      const api = yield* start
      yield* api.send("POST", "/api/orders", { body: { id: "1", state: "open" }, as: "admin" })
      const { json } = yield* api.send("GET", "/api/-/admin/plugins", { as: "admin" })
      const queue = json.open.find(({ plugin }: { plugin: string }) => plugin === "queue")
      assert.deepInclude(queue.counters, { ready: 1, claimed: 1, delayed: 0, deadLetters: 0 })
      assert.strictEqual(queue.health.level, "up")
      assert.isNumber(json.journal.next)
      assert.isNumber(json.journal.waiting)
      assert.isTrue(json.journal.isWhole)
      assert.includeMembers(
        json.installed.map(({ plugin }: { plugin: string }) => plugin),
        ["queue", "costs"]
      )
      for (const lease of json.leases) assert.include(["held", "free"], lease.state)
      assert.notInclude(JSON.stringify(json), "holder")
      assert.notInclude(JSON.stringify(json), "address")
    })
  )

  it.effect("tells what was asked of the store, and what it can do", () =>
    Effect.gen(function* () {
      const api = yield* start
      yield* api.send("POST", "/api/orders", { body: { id: "1", state: "open" }, as: "admin" })
      const costs = (yield* api.send("GET", "/api/-/admin/costs", { as: "admin" })).json
      const put = costs.totals.find(
        ({ kind, operation, resource }: Record<string, string>) =>
          resource === "orders" && kind === "put" && operation === "insert"
      )
      assert.isAtLeast(put.requests, 1)
      assert.isAbove(put.dollars, 0)
      assert.strictEqual(costs.estimate.days, 30)
      const store = (yield* api.send("GET", "/api/-/admin/store", { as: "admin" })).json
      assert.isTrue(store.capabilities.compareAndSet)
      assert.isString(store.location)
    })
  )

  it.effect("has no secret, no hash and no hidden field", () =>
    Effect.gen(function* () {
      const api = yield* shopped
      const secrets = ["s3cr3t-token", "correct horse battery", "for us alone", "Rua Secreta"]
      const [token, password, internal, street] = secrets
      const body = {
        id: "ana",
        name: "Ana",
        age: 1,
        country: "BR",
        token,
        password,
        internal,
        address: { city: "R", street }
      }
      assert.strictEqual((yield* api.send("POST", "/api/users", { body, as: "admin" })).status, 201)
      const told = yield* Effect.forEach(["", "/sizes?resource=users", "/plugins", "/store"], (path) =>
        api.send("GET", `/api/-/admin${path}`, { as: "admin" })
      )
      const page = yield* api.send("GET", "/admin", { as: "" })
      const assets = yield* Effect.forEach(assetsIn(page.text), (path) => api.send("GET", path, { as: "" }))
      for (const { headers, status, text } of [...told, page, ...assets]) {
        assert.strictEqual(status, 200, text)
        for (const secret of [...secrets, "$argon2"]) {
          assert.notInclude(text, secret)
          assert.notInclude(JSON.stringify([...headers]), secret)
        }
      }
      const [users] = told[0]!.json.resources
      // What is hidden is in no form of what is shown; what is never shown can be written.
      assert.notProperty(users.shown.properties, "internal")
      assert.notProperty(users.shown.properties, "password")
      assert.isTrue(users.create.properties.password.writeOnly)
      assert.notInclude(users.columns, "internal")
      assert.deepStrictEqual(users.readonly, ["role"])
    })
  )

  it.effect("the page is told the ways to log in, and no secret of them", () =>
    Effect.gen(function* () {
      const secret = "0123456789abcdef0123456789abcdef"
      const Ways = Authentication.layer(
        Effect.gen(function* () {
          const user = CurrentUser.make("ops", { roles: ["admin"] })
          const header = yield* Authentication.headerSecret({ header: "x-ops", secrets: [Redacted.make(secret)], user })
          const basic = yield* Authentication.basic(() => Effect.undefined)
          return Authentication.firstOf(header, basic)
        })
      )
      const api = yield* serve(
        Admin.layer(OrdersApi, [orders]).pipe(
          Layer.provide(Ways),
          Layer.provide(Database.layer),
          Layer.provide(MemoryStore.layer)
        )
      )
      const page = yield* api.send("GET", "/admin", { as: "" })
      assert.notInclude(page.text, secret)
      assert.include(page.text, "x-ops")
      assert.include(page.text, "basic")
      const answer = yield* api.send("GET", "/api/-/admin", { as: "", headers: { "x-ops": secret } })
      assert.strictEqual(answer.status, 200)
      assert.notInclude(answer.text, secret)
    })
  )
})
