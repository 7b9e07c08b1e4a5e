/** What stands around the endpoints: CORS, health, limits, the page for people, notices. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as Authentication from "effect-s3db/http/Authentication"
import * as Cors from "effect-s3db/http/Cors"
import * as Health from "effect-s3db/http/Health"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as RateLimit from "effect-s3db/http/RateLimit"
import * as Resource from "effect-s3db/Resource"
import { Api, Auth, Data, isProblem, notes, serve, Users, users } from "./api.ts"

const resources = HttpResources.layer(Api, [users, notes], { docs: true }).pipe(Layer.provide([Data, Auth]))

describe("cross-origin requests", () => {
  const preflight = { origin: "https://shop.example.com", "access-control-request-method": "PATCH" }

  it.effect("are for origins that are named", () =>
    Effect.gen(function* () {
      const cors = Cors.layer({
        allowedOrigins: ["https://shop.example.com", "https://b.example.com"],
        credentials: true
      })
      const api = yield* serve(Layer.merge(resources, cors))
      const allowed = yield* api.send("OPTIONS", "/api/users/a", { headers: preflight, as: "" })
      assert.strictEqual(allowed.status, 204)
      assert.strictEqual(allowed.headers.get("access-control-allow-origin"), "https://shop.example.com")
      assert.include(allowed.headers.get("access-control-allow-headers"), "if-match")
      assert.strictEqual(allowed.headers.get("access-control-max-age"), "600")
      const read = yield* api.send("GET", "/api/users", { headers: { origin: "https://shop.example.com" } })
      assert.strictEqual(read.headers.get("access-control-allow-origin"), "https://shop.example.com")
      assert.include(read.headers.get("access-control-expose-headers"), "etag")
      assert.include(read.headers.get("vary"), "Origin")
      for (const origin of ["https://evil.example.com", "null", "https://shop.example.com.evil.com"]) {
        const other = yield* api.send("GET", "/api/users", { headers: { origin } })
        assert.isNull(other.headers.get("access-control-allow-origin"), origin)
      }
    })
  )

  it("all of them with credentials are refused, and so is what is no origin", () => {
    assert.throws(() => Cors.layer({ allowedOrigins: "*", credentials: true }), /name the origins/)
    for (const origin of ["shop.example.com", "https://shop.example.com/", "*", "null"]) {
      assert.throws(() => Cors.layer({ allowedOrigins: [origin] }), /no origin/)
    }
    Cors.layer({ allowedOrigins: "*" })
  })
})

describe("health", () => {
  it.effect("says what is up, without reasons, and does not run checks as often as it is asked", () =>
    Effect.gen(function* () {
      let runs = 0
      const counted = Effect.sync(() => (runs += 1))
      const health = (optional: ReadonlyArray<string>) =>
        Health.layer({
          checks: { database: Health.database, counted, mail: Effect.fail("the password is 1234") },
          optional
        }).pipe(Layer.provide(Data))
      const down = yield* serve(health([]))
      const ready = yield* down.send("GET", "/health/ready", { as: "" })
      assert.strictEqual(ready.status, 503)
      assert.deepStrictEqual(ready.json, { status: "down", checks: { database: "up", counted: "up", mail: "down" } })
      assert.strictEqual((yield* down.send("GET", "/health/live", { as: "" })).status, 200)
      for (let n = 0; n < 5; n += 1) yield* down.send("GET", "/health/ready", { as: "" })
      assert.strictEqual(runs, 1)
      const up = yield* serve(health(["mail"]))
      assert.strictEqual((yield* up.send("GET", "/health/ready", { as: "" })).status, 200)
    })
  )
})

describe("a limit of requests", () => {
  it.effect("is for each client, and told in headers", () =>
    Effect.gen(function* () {
      const limit = RateLimit.layer({ limit: 2, window: "1 minute", keyOf: ({ headers }) => headers["x-client"] }).pipe(
        Layer.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)))
      )
      const clock = Layer.succeed(Clock.Clock, yield* Clock.Clock)
      const api = yield* serve(Layer.provideMerge(Layer.merge(resources, limit), clock) as never)
      const send = (client: string) => api.send("GET", "/api/users", { headers: { "x-client": client } })
      assert.strictEqual((yield* send("a")).headers.get("ratelimit-remaining"), "1")
      assert.strictEqual((yield* send("a")).status, 200)
      const refused = yield* send("a")
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(refused.json.code, "TooManyRequests")
      assert.strictEqual(refused.headers.get("ratelimit-remaining"), "0")
      assert.isAtLeast(Number(refused.headers.get("retry-after")), 1)
      assert.strictEqual((yield* send("b")).status, 200)
      assert.isNull((yield* api.send("GET", "/api/users")).headers.get("ratelimit-limit"))
      // Nothing of it is left when the window is over.
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* send("a")).headers.get("ratelimit-remaining"), "1")
    })
  )
})

describe("a request that takes too long", () => {
  const quick = HttpResources.expose(Users, { timeout: "50 millis" })
  const Quick = HttpResources.api("quick", [quick], { prefix: "/api" })
  const served = (data: typeof Data) => serve(HttpResources.layer(Quick, [quick]).pipe(Layer.provide([data, Auth])))

  it.effect("is interrupted, and told so", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const slow = Resource.intercept(Users, {
        operations: "get" as const,
        around: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted += 1)))
      })
      const api = yield* served(Layer.provideMerge(slow, Data))
      const answer = yield* api.send("GET", "/api/users/ana")
      isProblem(answer, 503, "Timeout")
      assert.include(answer.json.detail, "50ms")
      assert.strictEqual(interrupted, 1)
      assert.strictEqual((yield* api.send("GET", "/api/users")).status, 200)
    })
  )

  it.effect("also where it is the client that is slow: nothing is written, and its body is not read on", () =>
    Effect.gen(function* () {
      const api = yield* served(Data)
      let cancelled = false
      const raw = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new TextEncoder().encode('{"id":"slow",')),
        cancel: () => {
          cancelled = true
        }
      })
      const headers = { "content-type": "application/json" }
      isProblem(yield* api.send("POST", "/api/users", { raw, headers }), 503, "Timeout")
      assert.isTrue(cancelled)
      assert.deepStrictEqual((yield* api.send("GET", "/api/users")).json.items, [])
    })
  )
})

describe("the page for people", () => {
  it.effect("has all that it needs in itself", () =>
    Effect.gen(function* () {
      const api = yield* serve(resources)
      const page = yield* api.send("GET", "/api/docs", { as: "" })
      assert.strictEqual(page.status, 200)
      assert.include(page.headers.get("content-security-policy"), "default-src 'none'")
      assert.notMatch(page.text, /<(?:script|link|img)[^>]+(?:src|href)=["']https?:/)
      assert.include(page.text, "A shop")
      isProblem(yield* api.send("GET", "/api/openapi.json", { as: "" }), 401)
      assert.strictEqual((yield* api.send("GET", "/api/openapi.json")).status, 200)
    })
  )
})

describe("an API of one's own", () => {
  const old = HttpResources.expose(Users, {
    publicTo: "everybody",
    operations: ["list", "create"],
    deprecated: {
      since: DateTime.makeUnsafe("2026-01-01T00:00:00Z"),
      sunset: DateTime.makeUnsafe("2027-01-01T00:00:00Z")
    }
  })
  class Mine extends HttpApi.make("mine").add(
    HttpApiGroup.make("own").add(HttpApiEndpoint.get("hello", "/hello", { success: Schema.String })),
    old.group
  ) {}

  it.effect("has resources beside its own endpoints, and says what is going to be gone", () =>
    Effect.gen(function* () {
      const Own = HttpApiBuilder.group(Mine, "own", (handlers) => handlers.handle("hello", () => Effect.succeed("hi")))
      const routes = HttpApiBuilder.layer(Mine, { openapiPath: "/openapi.json" }).pipe(
        Layer.provide([Own, HttpResources.handlers(Mine, old)]),
        Layer.provide([Data, Authentication.layerAnonymous])
      )
      const api = yield* serve(Layer.merge(routes, HttpRouter.add("GET", "/*", Effect.die("nothing"))))
      assert.strictEqual((yield* api.send("GET", "/hello", { as: "" })).json, "hi")
      const created = yield* api.send("POST", "/users", { body: { id: "a", name: "A", age: 1, country: "BR" }, as: "" })
      assert.strictEqual(created.status, 201, created.text)
      assert.strictEqual(created.headers.get("location"), "/users/a")
      assert.strictEqual(created.headers.get("deprecation"), "@1767225600")
      assert.strictEqual(created.headers.get("sunset"), "Fri, 01 Jan 2027 00:00:00 GMT")
      const { json } = yield* api.send("GET", "/openapi.json", { as: "" })
      assert.isTrue(json.paths["/users"].get.deprecated)
    })
  )

  it.effect("and those that only the catalog knows", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Data)
      const catalog = yield* HttpResources.exposeFromCatalog("users", {
        publicTo: "readers",
        protect: ["internal"]
      }).pipe(Effect.provide(context))
      const Named = HttpResources.api("named", [catalog], { prefix: "/c" })
      const api = yield* serve(
        HttpResources.layer(Named, [catalog]).pipe(Layer.provide([Layer.succeedContext(context), Auth]))
      )
      const body = { id: "a", name: "A", age: 1, country: "BR", internal: "x" }
      const created = yield* api.send("POST", "/c/users", { body })
      assert.strictEqual(created.status, 201, created.text)
      assert.deepStrictEqual((yield* api.send("GET", "/c/users/a", { as: "" })).json, {
        id: "a",
        name: "A",
        age: 1,
        country: "BR"
      })
      isProblem(yield* api.send("DELETE", "/c/users/a", { as: "" }), 401)
      const unknown = yield* Effect.flip(HttpResources.exposeFromCatalog("nothing").pipe(Effect.provide(context)))
      assert.strictEqual(unknown.reason._tag, "InvalidArgument")
    })
  )
})
