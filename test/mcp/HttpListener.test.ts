/** Who may ask over HTTP, and what becomes of requests that are no good. */
import * as http from "node:http"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { until } from "../waiting.ts"
import { connected, filled, serving, token } from "./serving.ts"

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

const plain = {
  authorization: `Bearer ${token}`,
  "content-type": "application/json",
  accept: "application/json, text/event-stream"
}

const initialize = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
})

/** A request as it stands, with any Host; who interrupts it leaves. */
const ask = (port: number, { body = initialize, headers = plain, method = "POST", path = "/mcp" }: Asked) =>
  Effect.callback<{ readonly status: number; readonly text: string; readonly headers: http.IncomingHttpHeaders }>(
    (resume) => {
      const request = http.request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
        response.on("end", () =>
          resume(Effect.succeed({ status: response.statusCode ?? 0, text, headers: response.headers }))
        )
      })
      request.on("error", (error) => resume(Effect.succeed({ status: 0, text: error.message, headers: {} })))
      request.end(method === "GET" ? undefined : body)
      return Effect.sync(() => request.destroy())
    }
  )

const without = (name: keyof typeof plain): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(plain).filter(([one]) => one !== name))

describe("HttpListener", () => {
  it.live("answers those who have the token, under names of this machine, and no page of others", () =>
    Effect.gen(function* () {
      const { port } = yield* serving(yield* filled)
      const own = { ...plain, host: `localhost:${port}` }
      for (const [status, headers] of [
        [200, plain],
        [200, { ...plain, host: "localhost" }],
        [200, { ...plain, host: "[::1]:1" }],
        [200, { ...own, origin: `http://localhost:${port}` }],
        [200, { ...plain, authorization: `bearer  ${token} ` }],
        [403, { ...plain, host: "evil.example" }],
        [403, { ...plain, host: `evil.example:${port}` }],
        [403, { ...plain, host: "localhost.evil.example" }],
        [403, { ...plain, host: "127.0.0.1@evil.example" }],
        [403, { ...plain, origin: "https://evil.example" }],
        [403, { ...plain, origin: "null" }],
        [403, { ...own, origin: `http://localhost:${port + 1}` }],
        [403, { ...own, origin: `http://localhost:${port}.evil.example` }],
        [401, without("authorization")],
        [401, { ...plain, authorization: "Bearer " }],
        [401, { ...plain, authorization: `Bearer ${token}x` }],
        [401, { ...plain, authorization: `Bearer ${token.slice(0, -1)}` }],
        [401, { ...plain, authorization: `Basic ${token}` }],
        [415, { ...plain, "content-type": "text/plain" }],
        [406, { ...plain, accept: "text/html" }]
      ] as const) {
        const answer = yield* ask(port, { headers })
        assert.strictEqual(answer.status, status, JSON.stringify(headers))
        assert.isUndefined(answer.headers["access-control-allow-origin"])
        assert.notInclude(answer.text, token)
      }
      // Whoever has no token learns nothing of what there is.
      for (const path of ["/", "/mcp", "/health", "/../mcp"]) {
        assert.strictEqual((yield* ask(port, { path, method: "GET", headers: {} })).status, 401, path)
      }
      assert.strictEqual((yield* ask(port, { path: "/other" })).status, 404)
      assert.strictEqual((yield* ask(port, { method: "PUT" })).status, 405)
    }).pipe(Effect.scoped)
  )

  it.live("other names and origins may ask where they are allowed", () =>
    Effect.gen(function* () {
      const allowed = { allowedHosts: ["db.example"], allowedOrigins: ["https://app.example"] }
      const { port } = yield* serving(yield* filled, {}, allowed)
      const headers = { ...plain, host: "DB.example", origin: "https://app.example" }
      assert.strictEqual((yield* ask(port, { headers })).status, 200)
      assert.strictEqual((yield* ask(port, { headers: { ...headers, host: "other.example" } })).status, 403)
    }).pipe(Effect.scoped)
  )

  it.live("what is too large, no JSON or no request is refused, and the next one is answered", () =>
    Effect.gen(function* () {
      const { logged, port } = yield* serving(yield* filled, {}, { maxRequestBytes: 10_000 })
      const session = (yield* ask(port, {})).headers["mcp-session-id"]
      assert.isString(session)
      const headers = { ...plain, "mcp-session-id": String(session) }
      const notification = JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })
      assert.strictEqual((yield* ask(port, { headers, body: notification })).status, 202)
      const chunked = { ...headers, "transfer-encoding": "chunked" }
      for (const [status, body, more] of [
        [413, "x".repeat(20_000), headers],
        [413, "x".repeat(200_000), chunked],
        [400, "{", headers],
        [400, "", headers],
        [400, "null", headers],
        [400, "[]", headers],
        [400, JSON.stringify([{ jsonrpc: "2.0", id: 1, method: "ping" }]), headers]
      ] as const) {
        const answer = yield* ask(port, { body, headers: more })
        assert.strictEqual(answer.status, status, `${body.slice(0, 40)}: ${answer.text}`)
      }
      for (const body of [
        '"text"',
        "3",
        "{}",
        '{"jsonrpc":"1.0","id":1,"method":"ping"}',
        '{"jsonrpc":"2.0","id":{},"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":3}',
        '{"jsonrpc":"2.0","id":1,"method":"__proto__"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"__proto__","arguments":{}}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status","arguments":[]}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"status"}}}',
        '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}',
        '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"s3db://guide/../../package.json"}}',
        '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"s3db://guide/%2e%2e%2f%2e%2e%2fpackage"}}'
      ]) {
        const answer = yield* ask(port, { body, headers })
        assert.notStrictEqual(answer.status, 0, body)
        assert.isFalse(answer.status === 200 && !/"error"|"isError":true/.test(answer.text), `${body}: ${answer.text}`)
        assert.notInclude(answer.text, "devDependencies")
        assert.notInclude(answer.text, "root:")
        const ping = JSON.stringify({ jsonrpc: "2.0", id: 2, method: "ping" })
        const next = yield* ask(port, { body: ping, headers })
        assert.deepStrictEqual([next.status, JSON.parse(next.text)], [200, { jsonrpc: "2.0", id: 2, result: {} }], body)
      }
      assert.notInclude(JSON.stringify(logged), token)
      const other = yield* ask(port, {
        headers: { ...plain, "mcp-session-id": "of-somebody-else" },
        body: notification
      })
      assert.strictEqual(other.status, 404)
    }).pipe(Effect.scoped)
  )

  it.live("a client that leaves ends its call, and the next one is answered", () =>
    Effect.gen(function* () {
      const inner = yield* filled
      const begun = yield* Deferred.make<void>()
      let [isSlow, stopped]: [boolean, number] = [false, 0]
      const store: ObjectStore["Service"] = {
        ...inner,
        get: (key, options) =>
          isSlow && key.includes("/data/")
            ? Effect.onInterrupt(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never), () =>
                Effect.sync(() => (stopped += 1))
              )
            : inner.get(key, options)
      }
      const { logged, port, url } = yield* serving(store)
      const session = String((yield* ask(port, {})).headers["mcp-session-id"])
      const headers = { ...plain, "mcp-session-id": session }
      const params = { name: "get_documents", arguments: { resource: "people", ids: ["ana"] } }
      isSlow = true
      const body = JSON.stringify({ jsonrpc: "2.0", id: 3, method: "tools/call", params })
      yield* Effect.raceFirst(ask(port, { headers, body }), Deferred.await(begun))
      const calls = () => logged.filter(({ message }) => message.includes("mcp call"))
      yield* until("the call was stopped, and written down", () => stopped > 0 && calls().length > 0)
      assert.strictEqual(stopped, 1)
      assert.deepStrictEqual(
        calls().map(({ annotations }) => annotations["outcome"]),
        ["interrupted"]
      )
      isSlow = false
      const client = yield* connected(url)
      const { isError } = yield* Effect.promise(() => client.callTool(params))
      assert.isNotTrue(isError)
    }).pipe(Effect.scoped)
  )

  it.live("a call that takes too long is stopped, and says so", () =>
    Effect.gen(function* () {
      const inner = yield* filled
      const store: ObjectStore["Service"] = {
        ...inner,
        get: (key, options) => (key.includes("/data/") ? Effect.never : inner.get(key, options))
      }
      const { url } = yield* serving(store, { timeout: 100 })
      const client = yield* connected(url)
      const { content, isError } = yield* Effect.promise(() =>
        client.callTool({ name: "get_documents", arguments: { resource: "people", ids: ["ana"] } })
      )
      assert.isTrue(isError)
      assert.include(JSON.stringify(content), "TooLong")
    }).pipe(Effect.scoped)
  )

  it.live("does not listen with a token that is short, or on a port that is taken", () =>
    Effect.gen(function* () {
      const store = yield* filled
      const { port } = yield* serving(store)
      for (const [listener, said] of [
        [{ token: Redacted.make("short") }, "16 characters"],
        [{ token: Redacted.make("with spaces in the token") }, "no spaces"],
        [{ port }, "is taken"]
      ] as const) {
        const error = yield* Effect.flip(serving(store, {}, listener))
        assert.strictEqual(error._tag, "CannotListen")
        assert.include(String(error), said)
      }
    }).pipe(Effect.scoped)
  )
})
