/** The API as a program composes it, over sockets: compression, files, proxies that are trusted. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpStaticServer from "effect/http/HttpStaticServer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Bans from "effect-s3db/http/Bans"
import * as Cors from "effect-s3db/http/Cors"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as RateLimit from "effect-s3db/http/RateLimit"
import * as TrustedProxies from "effect-s3db/http/TrustedProxies"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { Auth, services } from "./api.ts"

class Pages extends Resource.Service<Pages>()("http/pages", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id",
  content: true
}) {}

const pages = HttpResources.expose(Pages, { scan: true, sockets: { perUser: 1 } })
const Api = HttpResources.api("pages", [pages], { prefix: "/api" })

const data = Pages.layer.pipe(
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provideMerge(MemoryStore.layer),
  Layer.provideMerge(services)
)

const routes = HttpResources.layer(Api, [pages], { openApi: "public" }).pipe(Layer.provide(Auth))

type Served = Layer.Layer<
  never,
  unknown,
  HttpRouter.HttpRouter | Layer.Success<typeof data> | Layer.Success<typeof node>
>
const node = NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })

interface Asked {
  readonly method?: string
  readonly as?: string
  readonly headers?: Record<string, string | ReadonlyArray<string>>
  readonly body?: string | Uint8Array
  /** Gives what has come by then. */
  readonly until?: (bytes: Buffer) => boolean
}

/** A server, and a client that changes nothing of what it sends and gets. */
const start = Effect.fnUntraced(function* (around: Served) {
  const context = yield* Layer.build(
    HttpRouter.serve(around as Layer.Layer<never, never, never>, {
      disableLogger: true,
      disableListenLog: true,
      routerConfig: HttpResources.routerConfig
    }).pipe(Layer.provideMerge(Layer.merge(node, data)))
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  const port = "port" in address ? address.port : 0
  const send = (path: string, { as = "ana", body, headers = {}, method = "GET", until }: Asked = {}) =>
    Effect.promise(
      () =>
        new Promise<{
          readonly status: number
          readonly headers: Headers
          readonly bytes: Buffer
          readonly text: string
        }>((resolve, reject) => {
          const given = { ...(as === "" ? {} : { authorization: `Bearer ${as}` }), ...headers }
          const sent = request({ agent: false, host: "127.0.0.1", port, path, method, headers: given as never })
          sent.on("error", reject)
          sent.on("response", (response) => {
            const parts: Array<Buffer> = []
            const end = () => {
              const bytes = Buffer.concat(parts)
              const got = new Headers()
              for (const [name, value] of Object.entries(response.headers)) got.set(name, String(value))
              resolve({ status: response.statusCode ?? 0, headers: got, bytes, text: bytes.toString("utf8") })
            }
            response.on("data", (part: Buffer) => {
              parts.push(part)
              if (until?.(Buffer.concat(parts)) !== true) return
              end()
              sent.destroy()
            })
            response.on("end", end).on("error", reject)
          })
          sent.end(body)
        })
    )
  const put = (id: string, text: string) =>
    send(`/api/pages/${id}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text })
    })
  return { send, put, port }
})

describe("compression", () => {
  const compressed = HttpRouter.middleware(HttpMiddleware.compression(), { global: true })
  const long = "the same again and again, ".repeat(200)

  it.live("is of what is asked for, and names the same version for every condition", () =>
    Effect.gen(function* () {
      const { put, send } = yield* start(Layer.merge(routes, compressed) as never)
      const plain = yield* put("1", long)
      const etag = plain.headers.get("etag")!
      assert.match(etag, /^"/)
      const undo = { br: brotliDecompressSync, gzip: gunzipSync, deflate: inflateSync }
      const ask = (accept: string | undefined, more: Record<string, string> = {}) =>
        send("/api/pages/1", { headers: { ...(accept === undefined ? {} : { "accept-encoding": accept }), ...more } })
      for (const [accept, coding] of [
        [undefined, undefined],
        ["", undefined],
        ["identity", undefined],
        ["gzip;q=0, br;q=0", undefined],
        ["*;q=0", undefined],
        ["zstd, unheard-of", undefined],
        ["gzip", "gzip"],
        ["GZIP", "gzip"],
        ["gzip;q=0, deflate", "deflate"],
        ["gzip, br", "br"],
        ["*", "br"]
      ] as const) {
        const answer = yield* ask(accept)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.headers.get("content-encoding") ?? undefined, coding, accept)
        // Whoever keeps answers has to know that there are others.
        assert.sameMembers(answer.headers.get("vary")!.split(", "), ["Authorization", "Accept-Encoding"])
        const bytes = coding === undefined ? answer.bytes : undo[coding](answer.bytes)
        assert.strictEqual(JSON.parse(bytes.toString()).text, long)
        assert.strictEqual(answer.headers.get("etag"), coding === undefined ? etag : `W/${etag}`)
        if (coding !== undefined) assert.isBelow(answer.bytes.length, long.length / 10)
      }
      const weak = `W/${etag}`
      assert.strictEqual((yield* ask("gzip", { "if-none-match": weak })).status, 304)
      assert.strictEqual((yield* ask("gzip", { "if-none-match": etag })).status, 304)
      const head = yield* send("/api/pages/1", { method: "HEAD", headers: { "accept-encoding": "gzip" } })
      assert.deepStrictEqual([head.status, head.bytes.length], [200, 0])
      // The tag that a client of compressed answers has is good for a write.
      const written = yield* send("/api/pages/1", {
        method: "PATCH",
        headers: { "content-type": "application/json", "if-match": weak, "accept-encoding": "gzip" },
        body: JSON.stringify({ text: "short" })
      })
      assert.strictEqual(written.status, 200)
      assert.isNull(written.headers.get("content-encoding"))
      assert.strictEqual((yield* ask("gzip", { "if-none-match": weak })).status, 200)
    })
  )

  it.live("leaves alone what is short, no text, a part, or has no body; what goes on comes at once", () =>
    Effect.gen(function* () {
      const { put, send } = yield* start(Layer.merge(routes, compressed) as never)
      yield* put("short", "short")
      yield* put("long", long)
      const gzip = { "accept-encoding": "gzip" }
      const content = (id: string, type: string, body: Uint8Array) =>
        send(`/api/pages/${id}/content`, { method: "PUT", headers: { "content-type": type }, body })
      yield* content("short", "application/octet-stream", new Uint8Array(5000))
      yield* content("long", "text/plain", new TextEncoder().encode(long))
      const uncoded = Effect.fnUntraced(function* (path: string, status: number, headers: Record<string, string> = {}) {
        const answer = yield* send(path, { headers: { ...gzip, ...headers } })
        assert.strictEqual(answer.status, status, path)
        assert.isNull(answer.headers.get("content-encoding"), path)
        return answer
      })
      yield* uncoded("/api/pages/short", 200)
      yield* uncoded("/api/pages/missing", 404)
      assert.strictEqual((yield* uncoded("/api/pages/short/content", 200)).bytes.length, 5000)
      const part = yield* uncoded("/api/pages/long/content", 206, { range: "bytes=4-7" })
      assert.strictEqual(part.text, "same")
      // A client that has got the whole as gzip cannot go on from the middle of it: its tag is weak, and the whole comes.
      const whole = yield* send("/api/pages/long/content", { headers: gzip })
      assert.strictEqual(whole.headers.get("content-encoding"), "gzip")
      const tag = whole.headers.get("etag")!
      assert.match(tag, /^W\//)
      const again = yield* send("/api/pages/long/content", { headers: { range: "bytes=4-7", "if-range": tag } })
      assert.deepStrictEqual([again.status, again.text], [200, long])
      const list = yield* send("/api/pages?limit=1", { headers: gzip })
      assert.strictEqual(list.headers.get("content-encoding"), "gzip")
      const csv = yield* send("/api/pages/-/export.csv", { headers: gzip })
      assert.include(gunzipSync(csv.bytes).toString(), "short")
      const document = yield* send("/api/openapi.json", { headers: gzip, as: "" })
      assert.strictEqual(JSON.parse(gunzipSync(document.bytes).toString()).openapi, "3.1.0")
      // A stream that is held back until there is enough to compress tells nothing.
      const changes = yield* send("/api/pages/-/changes", { headers: gzip, until: (bytes) => bytes.length > 0 })
      assert.strictEqual(changes.status, 200)
    })
  )
})

describe("files beside the API", () => {
  /** A folder of files, another one whose name begins with the same, and a secret above both. */
  const folders = Effect.acquireRelease(
    Effect.sync(() => {
      const above = mkdtempSync(join(tmpdir(), "files-"))
      const root = join(above, "app")
      mkdirSync(join(root, "assets"), { recursive: true })
      mkdirSync(join(above, "app-secret"))
      writeFileSync(join(root, "index.html"), "<h1>the application</h1>")
      writeFileSync(join(root, "assets", "main.js"), "0123456789")
      writeFileSync(join(above, "app-secret", "key"), "whale")
      writeFileSync(join(above, "key"), "whale")
      return { above, root }
    }),
    ({ above }) => Effect.sync(() => rmSync(above, { recursive: true, force: true }))
  )

  it.live("are those of the folder, and swallow nothing of the API", () =>
    Effect.gen(function* () {
      const { root } = yield* folders
      const { put, send } = yield* start(Layer.merge(routes, HttpStaticServer.layer({ root, spa: true })) as never)
      yield* put("1", "text")
      const html = { accept: "text/html" }
      const page = yield* send("/", { headers: html })
      assert.deepStrictEqual([page.status, page.text], [200, "<h1>the application</h1>"])
      // A route of the page itself.
      assert.strictEqual((yield* send("/orders/7", { headers: html })).text, "<h1>the application</h1>")
      for (const path of ["/api/nothing", "/api", "/api/", "/api/pages/missing", "/api/pages/1/2/3", "//api/nothing"]) {
        const answer = yield* send(path, { headers: html })
        assert.strictEqual(answer.status, 404, path)
        assert.notInclude(answer.text, "application</h1>", path)
      }
      assert.strictEqual(JSON.parse((yield* send("/api/pages/1", { headers: html })).text).text, "text")
      const refused = yield* send("/api/pages/1", { headers: html, as: "" })
      assert.strictEqual(refused.status, 401)
      const missing = yield* send("/assets/missing.js", { headers: html })
      assert.strictEqual(missing.status, 404)
    })
  )

  it.live("of no other folder, however its path is written", () =>
    Effect.gen(function* () {
      const { above, root } = yield* folders
      const { send } = yield* start(
        Layer.merge(routes, HttpStaticServer.layer({ root, prefix: "/files", index: undefined })) as never
      )
      assert.strictEqual((yield* send("/files/assets/main.js")).text, "0123456789")
      for (const path of [
        "/files/../key",
        "/files/..%2fkey",
        "/files/%2e%2e/key",
        "/files/%2e%2e%2fkey",
        "/files/%252e%252e%252fkey",
        "/files/..%5ckey",
        "/files/....//key",
        "/files/assets/../../key",
        "/files/..%2fapp-secret%2fkey",
        "/files/../app-secret/key",
        `/files/${encodeURIComponent(join(above, "key"))}`,
        `/files//${join(above, "key")}`,
        "/files/key%00",
        "/files/assets/main.js%00.html",
        "/files/%",
        "/files/assets",
        "/files"
      ]) {
        const answer = yield* send(path)
        assert.isAtLeast(answer.status, 400, path)
        assert.isBelow(answer.status, 500, path)
        assert.notInclude(answer.text, "whale", path)
        assert.notInclude(answer.text, above, path)
      }
    })
  )

  it.live("come in parts, and once", () =>
    Effect.gen(function* () {
      const { root } = yield* folders
      const { send } = yield* start(Layer.merge(routes, HttpStaticServer.layer({ root })) as never)
      const ask = (headers: Record<string, string>, method = "GET") => send("/assets/main.js", { headers, method })
      const whole = yield* ask({})
      const etag = whole.headers.get("etag")!
      assert.strictEqual(whole.headers.get("accept-ranges"), "bytes")
      for (const [range, status, text, contentRange] of [
        ["bytes=2-4", 206, "234", "bytes 2-4/10"],
        ["bytes=7-", 206, "789", "bytes 7-9/10"],
        ["bytes=-2", 206, "89", "bytes 8-9/10"],
        ["bytes=2-100", 206, "23456789", "bytes 2-9/10"],
        ["bytes=10-", 416, "", "bytes */10"],
        ["bytes=4-2", 416, "", "bytes */10"],
        ["bytes=0-1,4-5", 200, "0123456789", null],
        ["lines=1-2", 200, "0123456789", null]
      ] as const) {
        const answer = yield* ask({ range })
        assert.deepStrictEqual([answer.status, answer.text], [status, text], range)
        assert.strictEqual(answer.headers.get("content-range"), contentRange, range)
      }
      assert.strictEqual((yield* ask({ "if-none-match": etag })).status, 304)
      assert.strictEqual((yield* ask({ "if-none-match": '"other"' })).status, 200)
      const modified = whole.headers.get("last-modified")!
      assert.strictEqual(
        new Date(modified).getTime(),
        Math.floor(statSync(join(root, "assets/main.js")).mtimeMs / 1000) * 1000
      )
      assert.strictEqual((yield* ask({ "if-modified-since": modified })).status, 304)
      assert.strictEqual((yield* ask({ "if-match": '"other"' })).status, 412)
      const head = yield* ask({}, "HEAD")
      assert.deepStrictEqual([head.status, head.text, head.headers.get("content-length")], [200, "", "10"])
      assert.strictEqual((yield* ask({}, "POST")).status, 404)
    })
  )
})

describe("what stands around the API", () => {
  /** Is ready later than the rest. */
  const late = <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.unwrap(Effect.as(Effect.sleep("20 millis"), layer))
  const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
  const limit = RateLimit.layer({ limit: 1, window: "1 hour" }).pipe(Layer.provide(limiter))
  const bans = Bans.layer({ violations: 2 }).pipe(Layer.provide(limiter))
  const cors = Cors.layer({ allowedOrigins: ["https://shop.example.com"] })
  const proxies = TrustedProxies.layer({ networks: ["127.0.0.0/8"] })

  const ways = {
    "merged in one order": Layer.mergeAll(proxies, cors, bans, limit),
    "merged in the other": Layer.mergeAll(limit, bans, cors, proxies),
    "with the outer ones late": Layer.mergeAll(limit, late(bans), late(cors), late(proxies)),
    "with the inner ones late": Layer.mergeAll(proxies, cors, late(late(limit)), late(bans))
  }

  it.live.each(Object.keys(ways) as Array<keyof typeof ways>)("stands in one order, %s", (way) =>
    Effect.gen(function* () {
      const { send } = yield* start(Layer.merge(routes, ways[way]) as never)
      const ask = (forwarded: string, headers: Record<string, string> = {}) =>
        send("/api/pages/missing", {
          headers: { "x-forwarded-for": forwarded, origin: "https://shop.example.com", ...headers }
        })
      const answers = []
      for (let n = 0; n < 4; n += 1) answers.push(yield* ask("198.51.100.7"))
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [404, 429, 429, 403]
      )
      // A page is told why, and nobody else is.
      for (const { headers } of answers) {
        assert.strictEqual(headers.get("access-control-allow-origin"), "https://shop.example.com")
      }
      // What a browser asks beforehand is no request of its own.
      for (let n = 0; n < 3; n += 1) {
        const headers = {
          "x-forwarded-for": "198.51.100.8",
          origin: "https://shop.example.com",
          "access-control-request-method": "GET"
        }
        assert.strictEqual((yield* send("/api/pages/missing", { method: "OPTIONS", as: "", headers })).status, 204)
      }
      assert.strictEqual((yield* ask("198.51.100.8")).status, 404)
    })
  )
})

describe("proxies", () => {
  const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
  const where = HttpRouter.add(
    "GET",
    "/where",
    Effect.map(HttpServerRequest.HttpServerRequest, (asked) =>
      HttpServerResponse.jsonUnsafe({
        address: Option.getOrNull(asked.remoteAddress),
        url: Option.getOrNull(Option.map(HttpServerRequest.toURL(asked), String))
      })
    )
  )
  const limited = Layer.merge(where, RateLimit.layer({ limit: 1, window: "1 hour" }).pipe(Layer.provide(limiter)))
  const from = (forwarded: string | ReadonlyArray<string>) => ({ headers: { "x-forwarded-for": forwarded } })

  it.live("that are trusted say whose request it is; what a client has written itself counts nowhere", () =>
    Effect.gen(function* () {
      const { send } = yield* start(
        Layer.mergeAll(limited, TrustedProxies.layer({ networks: ["127.0.0.0/8"] })) as never
      )
      const ask = (forwarded: string | ReadonlyArray<string>) =>
        Effect.map(send("/where", from(forwarded)), ({ status }) => status)
      assert.strictEqual(yield* ask("198.51.100.7"), 200)
      assert.strictEqual(yield* ask("198.51.100.7"), 429)
      assert.strictEqual(yield* ask("198.51.100.8"), 200)
      // The proxy has put the address that it saw at the end. What is before it anybody can write.
      for (const spoofed of ["203.0.113.1", "127.0.0.1", "127.0.0.1, 127.0.0.1", "unknown", "", "::1", "' OR 1=1 --"]) {
        assert.strictEqual(yield* ask(`${spoofed}, 198.51.100.7`), 429, spoofed)
      }
      assert.strictEqual(yield* ask(["203.0.113.2", "198.51.100.7"]), 429)
      // Other spellings of one address are no other clients.
      for (const spelling of ["::ffff:198.51.100.7", "[::ffff:198.51.100.7]", "198.51.100.7:4711", " 198.51.100.7 "]) {
        assert.strictEqual(yield* ask(spelling), 429, spelling)
      }
    })
  )

  it("are networks", () => {
    for (const wrong of ["10.0.0.0", "10.0.0.0/33", "localhost", "", "*"]) {
      assert.throws(() => TrustedProxies.layer({ networks: [wrong] }), /no network/)
    }
    TrustedProxies.layer({ networks: ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"] })
  })

  it.live("that are not trusted say nothing, and a host or scheme only as one of theirs", () =>
    Effect.gen(function* () {
      const others = yield* start(Layer.mergeAll(limited, TrustedProxies.layer({ networks: ["10.0.0.0/8"] })) as never)
      const answers = []
      for (const forwarded of ["198.51.100.7", "198.51.100.8"])
        answers.push(yield* others.send("/where", from(forwarded)))
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [200, 429]
      )
      assert.strictEqual(JSON.parse(answers[0]!.text).address, "127.0.0.1")
      const ours = yield* start(Layer.mergeAll(limited, TrustedProxies.layer({ networks: ["127.0.0.0/8"] })) as never)
      const where = Effect.fnUntraced(function* (forwarded: string, more: Record<string, string>) {
        const { text } = yield* ours.send("/where", { headers: { "x-forwarded-for": forwarded, ...more } })
        return JSON.parse(text) as { readonly address: string; readonly url: string }
      })
      assert.deepStrictEqual(
        yield* where("198.51.100.1", { "x-forwarded-host": "shop.example.com", "x-forwarded-proto": "https" }),
        { address: "198.51.100.1", url: "https://shop.example.com/where" }
      )
      // A list for fewer hops than there are is nobody's.
      const unclear = yield* where("6.6.6.6, 198.51.100.2", { "x-forwarded-host": "evil.example.com" })
      assert.strictEqual(unclear.address, "198.51.100.2")
      assert.notInclude(unclear.url, "evil")
    })
  )
})
