import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { TestClock } from "effect/testing"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as Timely from "../../src/http/internal/timely.ts"
import { Api, Auth, Data, isProblem, notes, serve, Users, users } from "./api.ts"

describe("the way of a document", () => {
  class Closed extends HttpApiMiddleware.Service<Closed>()("test/Closed") {}

  it.effect("goes through every middleware that the program has put around the API", () =>
    Effect.gen(function* () {
      const closed = Layer.succeed(Closed, () => Effect.succeed(HttpServerResponse.empty({ status: 418 })))
      const around = Api.middleware(Closed)
      const api = yield* serve(
        HttpResources.layer(around, [users, notes]).pipe(Layer.provide([Data, Auth, closed])) as never
      )
      const body = { id: "ana", name: "Ana", age: 30, country: "BR" }
      assert.strictEqual((yield* api.send("GET", "/api/users")).status, 418)
      assert.strictEqual((yield* api.send("GET", "/api/users/ana")).status, 418)
      assert.strictEqual((yield* api.send("POST", "/api/users", { body })).status, 418)
      assert.strictEqual((yield* api.send("PUT", "/api/users/ana", { body })).status, 418)
      assert.strictEqual((yield* api.send("DELETE", "/api/users/ana")).status, 418)
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).status, 418)
    })
  )

  it.effect("goes by what the program says of queries, and refuses them as everywhere", () =>
    Effect.gen(function* () {
      const strict = Api.annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error" })
      const layerOf = (api: typeof Api) =>
        HttpResources.layer(api, [users, notes]).pipe(Layer.provide([Data, Auth])) as never
      const [usual, strictly] = [yield* serve(layerOf(Api)), yield* serve(layerOf(strict))]
      assert.strictEqual((yield* usual.send("GET", "/api/users?country=BR")).status, 200)
      isProblem(yield* strictly.send("GET", "/api/users?country=BR"), 400, "InvalidRequest")
      for (const path of ["?limit=x", "?limit=0", "?limit=1&limit=2", "/-/count?filter=%7B", "/-/select"]) {
        const answer = yield* usual.send("GET", `/api/users${path}`)
        isProblem(answer, 400, "InvalidRequest")
        assert.strictEqual(answer.json.issues[0].path[0], "query", path)
      }
    })
  )

  it.effect("asks again for what there is now, by the same URL, and for who asks", () =>
    Effect.gen(function* () {
      const api = yield* serve(HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth])) as never)
      const create = (id: string, tenant: string) =>
        api.send("POST", "/api/notes", { as: `${tenant}:${tenant}`, body: { id, text: "x", tenant } })
      const page = (tenant: string) =>
        Effect.map(api.send("GET", "/api/notes?limit=1", { as: `${tenant}:${tenant}` }), ({ json }) => json.items[0].id)
      for (const [id, tenant] of [
        ["1", "ana"],
        ["2", "bo"],
        ["3", "ana"]
      ] as const)
        yield* create(id, tenant)
      for (let round = 0; round < 2; round++) {
        assert.strictEqual(yield* page("ana"), "1")
        assert.strictEqual(yield* page("bo"), "2")
      }
      yield* create("0", "ana")
      assert.strictEqual(yield* page("ana"), "0")
      assert.strictEqual(yield* page("bo"), "2")
    })
  )

  it.effect("takes for each request what a middleware has made of its parameters, by the same URL", () =>
    Effect.gen(function* () {
      /** Who asks gets what is of his own country, and so many. */
      const narrowing = HttpRouter.middleware((effect) =>
        Effect.gen(function* () {
          const { headers } = yield* HttpServerRequest.HttpServerRequest
          const asked = yield* HttpServerRequest.ParsedSearchParams
          const filter = JSON.stringify({ country: headers["x-country"] })
          return yield* Effect.provideService(effect, HttpServerRequest.ParsedSearchParams, { ...asked, filter })
        })
      ).layer
      const api = yield* serve(
        HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth, narrowing])) as never
      )
      for (const country of ["BR", "PT"])
        yield* api.send("POST", "/api/users", { body: { id: country, name: "A", age: 1, country } })
      for (const country of ["BR", "PT", "BR"]) {
        const headers = { "x-country": country }
        const page = yield* api.send("GET", "/api/users?limit=5", { headers })
        assert.deepStrictEqual(
          page.json.items.map(({ id }: { readonly id: string }) => id),
          [country]
        )
      }
    })
  )

  it.effect("links to the next page with the parameters of this one, whatever is in them", () =>
    Effect.gen(function* () {
      const api = yield* serve(HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth])) as never)
      const country = "a&cursor=b"
      for (const id of ["1", "2", "3"]) {
        yield* api.send("POST", "/api/users", { body: { id, name: "A", age: 1, country } })
      }
      let path = `/api/users?country=${encodeURIComponent(country)}&limit=1`
      for (const id of ["1", "2"]) {
        const { headers, json } = yield* api.send("GET", path)
        assert.strictEqual(json.items[0].id, id)
        path = /^<(.+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1] ?? ""
        assert.deepStrictEqual(Object.fromEntries(new URL(path, "http://localhost").searchParams), {
          country,
          limit: "1",
          cursor: json.cursor
        })
      }
      const { headers, json } = yield* api.send("GET", path)
      assert.strictEqual(json.items[0].id, "3")
      assert.isNull(headers.get("link"))
    })
  )

  it.effect("answers in time around what the program puts around the API", () =>
    Effect.gen(function* () {
      const quick = HttpResources.expose(Users, { timeout: "50 millis" })
      const slow = Resource.intercept(Users, { operations: "get" as const, around: () => Effect.never })
      const api = HttpResources.api("quick", [quick], { prefix: "/api" })
      const seen: Array<number> = []
      const noting = HttpRouter.middleware(
        (effect) =>
          Effect.gen(function* () {
            const response = yield* effect
            // Whatever waits here is not interrupted by what was late before.
            yield* Effect.yieldNow
            seen.push(response.status)
            return HttpServerResponse.setHeader(response, "x-noted", "yes")
          }),
        { global: true }
      )
      const { send } = yield* serve(
        Layer.mergeAll(HttpResources.layer(api, [quick]), noting).pipe(
          Layer.provide([Layer.provideMerge(slow, Data), Auth])
        )
      )
      const answer = yield* send("GET", "/api/users/ana")
      isProblem(answer, 503, "Timeout")
      assert.strictEqual(answer.headers.get("x-noted"), "yes")
      assert.deepStrictEqual(seen, [503])
    })
  )
})

describe("a body over node:http", () => {
  const served = Effect.gen(function* () {
    const quick = HttpResources.expose(Users, { timeout: "300 millis", maxBodyBytes: 1000 })
    const api = HttpResources.api("quick", [quick], { prefix: "/api" })
    const context = yield* Layer.build(
      HttpRouter.serve(HttpResources.layer(api, [quick]).pipe(Layer.provide([Data, Auth])), {
        disableLogger: true,
        disableListenLog: true
      }).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
    )
    const { port } = Context.get(context, HttpServer.HttpServer).address as unknown as AddressInfo
    /** Sends parts one after the other, each after the text that it waits for, and gives what has come when the last one has. */
    return (...parts: ReadonlyArray<readonly [send: string | Uint8Array, until: string]>) =>
      Effect.callback<string>((resume) => {
        const socket = net.connect(port, "127.0.0.1")
        const left = [...parts]
        let got = ""
        let seen = 0
        const go = () => {
          for (;;) {
            const [, until = ""] = left[0] ?? []
            const at = got.indexOf(until, seen)
            if (at < 0) return
            seen = at + until.length
            left.shift()
            const [next] = left
            if (next === undefined) return void socket.destroy()
            socket.write(next[0])
          }
        }
        socket.setEncoding("utf8").on("data", (chunk: string) => {
          got += chunk
          go()
        })
        socket.on("close", () => resume(Effect.succeed(got)))
        left.unshift(["", ""])
        socket.on("connect", go)
      })
  })

  const document = (id: string) =>
    new TextEncoder().encode(JSON.stringify({ id, name: "Zoë 😀", age: 1, country: "BR" }))
  const headers = (length: number | "chunked", ...more: ReadonlyArray<string>) =>
    [
      "POST /api/users HTTP/1.1",
      "Host: x",
      "Authorization: Bearer ana",
      "Content-Type: application/json",
      length === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`,
      ...more,
      "",
      ""
    ].join("\r\n")
  const read = (id: string) => `GET /api/users/${id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ana\r\n\r\n`

  it.live("is read in whatever parts it comes, and the connection goes on", () =>
    Effect.gen(function* () {
      const send = yield* served
      const bytes = document("parts")
      const cut = bytes.indexOf(0xf0) + 2
      const answer = yield* send(
        [headers(bytes.length), ""],
        [bytes.slice(0, 5), ""],
        [bytes.slice(5, cut), ""],
        [bytes.slice(cut), '"name":"Zoë 😀"'],
        [headers(3) + "{]}", "InvalidJson"],
        [headers("chunked") + `2\r\n[]\r\n0\r\n\r\n`, "Expected an object"],
        [headers(0), "InvalidJson"],
        [headers(2, "Expect: 100-continue"), "100 Continue"],
        ["[]", "Expected an object"],
        [read("parts"), "HTTP/1.1 200"]
      )
      const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
      assert.deepStrictEqual(statuses, [201, 400, 422, 400, 100, 422, 200])
    })
  )

  it.live(
    "that is too large is not read, one that does not come is answered in time, one that breaks off writes nothing",
    () =>
      Effect.gen(function* () {
        const send = yield* served
        assert.include(yield* send([headers(1001), "BodyTooLarge"]), "HTTP/1.1 413")
        const late = yield* send([headers(100) + '{"id":"late",', "Timeout"])
        assert.include(late, "HTTP/1.1 503")
        assert.include(late, "application/problem+json")
        const bytes = document("broken")
        yield* send([headers(bytes.length), ""], [bytes.slice(0, -1), ""])
        for (const id of ["late", "broken"]) assert.include(yield* send([read(id), "HTTP/1.1 "]), "HTTP/1.1 404")
      })
  )
})

describe.each(["within", "withinHere"] as const)("a bound of time: %s", (way) => {
  const within: typeof Timely.within =
    way === "within"
      ? Timely.within
      : (effect, duration, orElse) =>
          // A fiber of its own that nothing interrupts, as a request has one: what it ends with is told from there.
          Effect.gen(function* () {
            const ended = Deferred.makeUnsafe<Effect.Success<typeof effect>, Effect.Error<typeof effect>>()
            const answering = Effect.exit(
              Effect.withFiber((fiber) => Timely.withinHere(fiber, effect, duration, orElse, (ended) => ended))
            )
            const fiber = yield* answering.pipe(
              Effect.flatMap((exit) => Deferred.done(ended, exit as never)),
              Effect.uninterruptible,
              Effect.forkChild({ startImmediately: true })
            )
            return (yield* Effect.onInterrupt(Deferred.await(ended), () => Fiber.interrupt(fiber))) as never
          })
  const second = Duration.seconds(1)
  const late = Effect.succeed("late")

  it.effect("gives what ends in time, at once or later, and its failure", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* within(Effect.succeed("now"), second, late), "now")
      assert.strictEqual(yield* within(Effect.andThen(Effect.yieldNow, Effect.succeed("soon")), second, late), "soon")
      assert.deepStrictEqual(yield* Effect.exit(within(Effect.fail("no"), second, late)), Exit.fail("no"))
      const failing = within(Effect.andThen(Effect.yieldNow, Effect.die("bug")), second, late)
      assert.deepStrictEqual(yield* Effect.exit(failing), Exit.die("bug"))
    })
  )

  it.effect("interrupts what is late, waits for its end, and goes on", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const slow = Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.push("interrupted")))
      const fiber = yield* Effect.forkChild(
        within(
          slow,
          second,
          Effect.sync(() => seen.push("other"))
        ),
        {
          startImmediately: true
        }
      )
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen, ["interrupted", "other"])
    })
  )

  it.live("goes by the timers of the platform where the clock is that of the platform", () =>
    Effect.gen(function* () {
      const slow = Effect.never.pipe(Effect.as("never"))
      const clock = yield* Clock.Clock
      const before = clock.currentTimeMillisUnsafe()
      assert.strictEqual(yield* within(slow, Duration.millis(5), late), "late")
      assert.isAtLeast(clock.currentTimeMillisUnsafe() - before, 4)
    })
  )

  it.effect("hands on the interruption of who waits", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let interrupted = 0
      const slow = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => (interrupted += 1)))
      )
      const fiber = yield* Effect.forkChild(within(slow, second, late))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 1)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
    })
  )
})
