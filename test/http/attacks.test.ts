/** What somebody sends who means no good: over sockets as they are, and by what headers and bodies can say. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as ApiKeys from "effect-s3db/http/ApiKeys"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { Api, Auth, Data, isProblem, notes, serve, shop, users } from "./api.ts"

const body = (id: string, more: object = {}) => ({ id, name: "Ana", age: 1, country: "BR", ...more })

/** The shop on a socket, and what comes back for text that is sent as it is. */
const onSocket = Effect.gen(function* () {
  const context = yield* Layer.build(
    HttpRouter.serve(HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth])), {
      disableLogger: true,
      disableListenLog: true,
      routerConfig: HttpResources.routerConfig
    }).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
  )
  const { port } = Context.get(context, HttpServer.HttpServer).address as unknown as AddressInfo
  return (text: string) =>
    Effect.callback<string>((resume) => {
      const socket = net.connect(port, "127.0.0.1")
      let got = ""
      socket.setEncoding("latin1").on("data", (chunk: string) => (got += chunk))
      socket.on("error", () => {})
      socket.on("close", () => resume(Effect.succeed(got)))
      socket.setTimeout(5000, () => socket.destroy())
      socket.write(text, "latin1")
    })
})

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0)
const statusesOf = (answer: string): ReadonlyArray<number> =>
  [...answer.matchAll(/(?:^|\n|})HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))

const raw = (line: string, headers: ReadonlyArray<string> = [], content = "") =>
  [line, "Host: shop.example", "Authorization: Bearer ana", "Connection: close", ...headers, "", content].join("\r\n")

const json = (value: unknown) => {
  const text = JSON.stringify(value)
  return { text, headers: ["Content-Type: application/json", `Content-Length: ${text.length}`] }
}

describe("over a socket", () => {
  it.live("a request is one request, whatever its lengths say, and no trailer is a header", () =>
    Effect.gen(function* () {
      const send = yield* onSocket
      const { text } = json(body("first"))
      const type = "Content-Type: application/json"
      const hidden = "DELETE /api/users/first HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ana\r\n\r\n"
      for (const headers of [
        [`Content-Length: ${text.length}`, `Content-Length: ${text.length + hidden.length}`],
        [`Content-Length: ${text.length}, ${text.length}`],
        ["Content-Length: 0x10"],
        ["Content-Length: +5"],
        ["Content-Length: -1"],
        [`Content-Length : ${text.length}`],
        [`Content-Length: ${text.length}`, "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        [" folded: header"],
        ["Bad\u0000Header: 1"],
        ["X-A: a\u0000b"]
      ]) {
        const answer = yield* send(raw("POST /api/users HTTP/1.1", [type, ...headers], text + hidden))
        assert.isTrue([400, 501].includes(statusOf(answer)), `${headers.join()}: ${answer.slice(0, 200)}`)
        assert.lengthOf(statusesOf(answer), 1, headers.join())
      }
      const chunked = `${text.length.toString(16)}\r\n${text}\r\n0\r\nAuthorization: Bearer admin\r\nIf-None-Match: *\r\n\r\n`
      const withTrailers = [
        "POST /api/users HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Transfer-Encoding: chunked",
        "Trailer: Authorization",
        type,
        "",
        chunked
      ].join("\r\n")
      assert.strictEqual(statusOf(yield* send(withTrailers)), 401)
      assert.strictEqual(statusOf(yield* send(raw("GET /api/users/first HTTP/1.1"))), 404)
    })
  )

  it.live("a path is a path of this server, however it is written: no answer leads to another one", () =>
    Effect.gen(function* () {
      const send = yield* onSocket
      for (const id of ["a1", "a2", "a3"]) {
        const { headers, text } = json(body(id))
        assert.strictEqual(statusOf(yield* send(raw("POST /api/users HTTP/1.1", headers, text))), 201)
      }
      const query = "limit=1&country=BR"
      for (const [at, target] of [
        "http://evil.example/api/users",
        "HTTP://evil.example:81/api/users",
        "//api/users",
        "///api//users",
        "//evil.example/api/users",
        "/\\evil.example/api/users",
        "/api/users/",
        "/./api/users",
        "/x/../api/users"
      ].entries()) {
        const list = yield* send(raw(`GET ${target}?${query} HTTP/1.1`))
        const { headers, text } = json(body(`b${at}`))
        const made = yield* send(raw(`POST ${target} HTTP/1.1`, headers, text))
        for (const answer of [list, made]) {
          assert.isBelow(statusOf(answer), 500, target)
          assert.isAbove(statusOf(answer), 0, target)
          const [, to] = /^(?:location: |link: <)([^>\r\n]*)/im.exec(answer) ?? []
          if (to !== undefined) assert.match(to, /^\/api\/users(?:\/b\d+$|\?)/, target)
        }
      }
      // A name that is none of a method, a method that nobody has, and names that others would take for a method.
      for (const line of ["TRACE /api/users HTTP/1.1", "PROPFIND /api/users HTTP/1.1", "FOO /api/users HTTP/1.1"]) {
        assert.isTrue([400, 404, 405, 501].includes(statusOf(yield* send(raw(line)))), line)
      }
      const overridden = yield* send(
        raw("GET /api/users/a1 HTTP/1.1", ["X-HTTP-Method-Override: DELETE", "X-Original-URL: /api/users/a2"])
      )
      assert.include(overridden, '"id":"a1"')
      assert.strictEqual(statusOf(yield* send(raw("GET /api/users/a1 HTTP/1.1"))), 200)
    })
  )
})

describe("conditions", () => {
  it.effect("go by the tags that they name, in lists, and no header that is none counts as one", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const etag = (yield* api.send("POST", "/api/users", { body: body("c") })).headers.get("etag")!
      const patch = (ifMatch: string) =>
        api.send("PATCH", "/api/users/c", { body: { age: 1 }, headers: { "if-match": ifMatch } })
      for (const tag of ['W/"other"', '"other"', `W/"weak", "other"`, etag.toUpperCase().replace(/"/g, '"') + "x"]) {
        const answer = yield* patch(tag)
        assert.isTrue([400, 412].includes(answer.status), `${tag} ${answer.status}`)
      }
      for (const tag of [
        "",
        " ",
        ",",
        etag.slice(1),
        etag.slice(0, -1),
        `${etag} ${etag}`,
        `${etag},,`,
        "*, *",
        `*, ${etag}`
      ]) {
        isProblem(yield* patch(tag), 400)
      }
      isProblem(yield* patch(Array.from({ length: 2000 }, (_, i) => `"${i}"`).join(", ")), 412)
      const read = yield* api.send("GET", "/api/users/c", { headers: { "if-none-match": `"x", W/${etag}` } })
      assert.strictEqual(read.status, 304)
      const listed = yield* patch(`"other", W/${etag}`)
      assert.strictEqual(listed.status, 200)
      for (const gone of [etag, `W/${etag}`]) isProblem(yield* patch(gone), 412)
    })
  )
})

describe("bodies", () => {
  it.effect("names that are there twice count once, the last of them, also for what is not to be written", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const send = (text: string, path = "/api/users", method = "POST") =>
        api.send(method, path, { raw: text, headers: { "content-type": "application/json" } })
      const twice = yield* send('{"id":"d","id":"e","name":"A","age":1,"age":2,"country":"BR"}')
      assert.deepStrictEqual([twice.status, twice.json.id, twice.json.age], [201, "e", 2])
      isProblem(yield* send('{"id":"f","name":"A","age":1,"country":"BR","role":"admin","role":null}'), 403, "ReadOnly")
      isProblem(yield* send('{"__proto__":{"role":"admin"},"id":"g","name":"A","age":1,"country":"BR"}'), 422)
      isProblem(yield* send('{"constructor":{"prototype":{"x":1}},"id":"g","name":"A","age":1,"country":"BR"}'), 422)
      isProblem(yield* send('{"address":{"__proto__":{"city":"x"}},"age":1}', "/api/users/e", "PATCH"), 422)
      assert.isUndefined(({} as { role?: string }).role)
      const query = yield* api.send("GET", "/api/users?__proto__[eq]=1")
      assert.strictEqual(query.status, 422)
    })
  )

  it.effect("halves of characters come out as they went in, or are refused; so are those in ids and filters", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const half = '"\\ud800"'
      const send = (text: string) =>
        api.send("POST", "/api/users", { raw: text, headers: { "content-type": "application/json" } })
      const made = yield* send(`{"id":"h","name":${half},"age":1,"country":"BR"}`)
      assert.isTrue(made.status === 201 || made.status === 422, made.text)
      if (made.status === 201) {
        assert.strictEqual((yield* api.send("GET", "/api/users/h")).json.name, "\ud800")
      }
      assert.strictEqual((yield* send(`{"id":${half},"name":"A","age":1,"country":"BR"}`)).status, 422)
      assert.strictEqual((yield* send(`{"id":"i","name":"A","age":1,"country":${half}}`)).status, 422)
      for (const path of [
        `/api/users?filter=${encodeURIComponent('{"country":"').replace(/$/, "%5Cud800%22%7D")}`,
        "/api/users?country=%ED%A0%80",
        "/api/users/%ED%A0%80",
        "/api/users/%ED%A0%80/history",
        "/api/users?cursor=%ED%A0%80"
      ]) {
        const answer = yield* api.send("GET", path)
        assert.isBelow(answer.status, 500, `${path} ${answer.text}`)
      }
    })
  )
})

class Files extends Resource.Service<Files>()("attacks/files", {
  schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
  primaryKey: "id",
  content: true,
  scan: true
}) {}

const files = HttpResources.expose(Files, { scan: true })
const FilesApi = HttpResources.api("files", [files], { prefix: "/api" })

const filesOn = serve(
  HttpResources.layer(FilesApi, [files]).pipe(
    Layer.provide([Files.layer, Auth]),
    Layer.provide(Database.layer),
    Layer.provide(MemoryStore.layer)
  )
)

describe("ranges", () => {
  it.effect("are one part of what there is, the whole, or none", () =>
    Effect.gen(function* () {
      const api = yield* filesOn
      yield* api.send("POST", "/api/files", { body: { id: "a", name: "a" } })
      const put = yield* api.send("PUT", "/api/files/a/content", {
        raw: "0123456789",
        headers: { "content-type": "application/octet-stream" }
      })
      assert.strictEqual(put.status, 204)
      for (const [range, status, text] of [
        ["bytes=0-0", 206, "0"],
        ["bytes=-3", 206, "789"],
        ["bytes=8-99999", 206, "89"],
        ["bytes=9-9007199254740993", 206, "9"],
        ["bytes=10-", 416, undefined],
        ["bytes=99999999999999999999-", 416, undefined],
        ["bytes=-0", 416, undefined]
      ] as const) {
        const answer = yield* api.send("GET", "/api/files/a/content", { headers: { range } })
        assert.strictEqual(answer.status, status, range)
        if (text !== undefined) assert.strictEqual(answer.text, text, range)
      }
      const many = `bytes=${Array.from({ length: 2000 }, () => "0-9").join(",")}`
      for (const range of [
        many,
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=a-b",
        "items=0-1",
        "bytes=",
        "bytes=0-1;q",
        "=0-1"
      ]) {
        const answer = yield* api.send("GET", "/api/files/a/content", { headers: { range } })
        assert.isTrue([200, 206, 416].includes(answer.status), `${range.slice(0, 30)} ${answer.status}`)
        // Nobody gets more out of it than there is.
        assert.isAtMost(answer.text.length, answer.status === 416 ? 1000 : 10, range.slice(0, 30))
      }
    })
  )
})

describe("exports", () => {
  it.effect("begin no cell as a formula, whatever a document says", () =>
    Effect.gen(function* () {
      const api = yield* filesOn
      const bad = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        '=HYPERLINK("http://x","y")',
        "\uff1d1+1",
        "\u0000=1"
      ]
      for (const [at, name] of bad.entries()) {
        yield* api.send("POST", "/api/files", { body: { id: `${name}${at}`, name } })
      }
      const { text } = yield* api.send("GET", "/api/files/-/export.csv")
      // Cells, as a reader of the format has them.
      const cells = [...text.matchAll(/(?:^|,|\r\n)(?:"((?:[^"]|"")*)"|([^",\r\n]*))/g)].map(
        ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? ""
      )
      assert.isAbove(cells.length, 2 * bad.length)
      for (const cell of cells) assert.notMatch(cell, /^[\s\p{Cc}]*[=+\-@\uff1d]/u, JSON.stringify(cell))
    })
  )
})

describe("lists", () => {
  it.effect("of 2,500 documents have each that is there all the time once, while others come, go and change", () =>
    Effect.gen(function* () {
      const api = yield* filesOn
      const idOf = (at: number) => `k${String(at).padStart(5, "0")}`
      for (let at = 0; at < 2500; at += 100) {
        const items = Array.from({ length: 100 }, (_, i) => ({ id: idOf(at + i), name: `n${(at + i) % 7}` }))
        yield* api.send("POST", "/api/files/-/bulk", { body: { items } })
      }
      for (const order of ["", "&order=name,id"]) {
        const seen: Array<string> = []
        let cursor = ""
        let round = 0
        do {
          const page = yield* api.send("GET", `/api/files?limit=150${order}${cursor === "" ? "" : `&cursor=${cursor}`}`)
          assert.strictEqual(page.status, 200, page.text)
          for (const { id } of page.json.items) seen.push(id)
          cursor = page.json.cursor ?? ""
          round += 1
          // Between the pages: one is gone, one is new, and the one that the page ended with is changed.
          yield* api.send("DELETE", `/api/files/${idOf(7 + round * 100)}`)
          yield* api.send("POST", "/api/files", { body: { id: `${idOf(round * 90)}-new${order.length}`, name: "n3" } })
          const last = seen.at(-1)!
          const { json: one } = yield* api.send("GET", `/api/files/${last}`)
          if (one?.name !== undefined)
            yield* api.send("PUT", `/api/files/${last}`, { body: { id: last, name: one.name } })
        } while (cursor !== "")
        assert.strictEqual(new Set(seen).size, seen.length, "nothing twice")
        const there = new Set(seen)
        for (let at = 0; at < 2500; at++) {
          const wasDeleted = at % 100 === 7 && at > 100
          if (!wasDeleted) assert.isTrue(there.has(idOf(at)), idOf(at))
        }
      }
    })
  )
})

describe("changes", () => {
  it.live(
    "end with the right to ask for them: a key that is revoked, roles that are taken away, a token that ends",
    () =>
      Effect.gen(function* () {
        const known = new Map<string, CurrentUser.User>()
        const way = Authentication.layerFrom(({ headers }) => {
          const user = known.get(headers["x-key"] ?? "")
          return user === undefined ? Effect.fail(new CurrentUser.Unauthenticated()) : Effect.succeed(user)
        })
        const exposed = HttpResources.expose(Files, { sockets: { recheck: "20 millis" } })
        const MyApi = HttpResources.api("changes", [exposed], { prefix: "/api" })
        const api = yield* serve(
          HttpResources.layer(MyApi, [exposed]).pipe(
            Layer.provide([Files.layer, way]),
            Layer.provide(Database.layer),
            Layer.provide(MemoryStore.layer)
          )
        )
        const now = yield* Clock.currentTimeMillis
        known.set("revoked", CurrentUser.make("ana", { roles: ["reader"] }))
        known.set("changed", CurrentUser.make("bo", { roles: ["admin"] }))
        known.set("short", CurrentUser.make("cy", { claims: { exp: Math.floor(now / 1000) + 1 } }))
        known.set("stays", CurrentUser.make("di"))
        const open = (key: string) =>
          Effect.promise(async () => {
            const request = new Request("http://localhost/api/files/-/changes", { headers: { "x-key": key } })
            const response = await api.handler(request)
            const reader = response.body!.getReader()
            await reader.read()
            return reader
          })
        const [revoked, changed, short, stays] = [
          yield* open("revoked"),
          yield* open("changed"),
          yield* open("short"),
          yield* open("stays")
        ]
        known.delete("revoked")
        known.set("changed", CurrentUser.make("bo"))
        for (const reader of [revoked, changed, short]) {
          const ended = yield* Effect.promise(async () => {
            for (;;) if ((await reader.read()).done) return true
          })
          assert.isTrue(ended)
        }
        // Whoever stays is told on.
        yield* api.send("POST", "/api/files", { body: { id: "n", name: "n" }, headers: { "x-key": "stays" } })
        const told = yield* Effect.promise(() => stays.read())
        assert.include(new TextDecoder().decode(told.value), '"id":"n"')
        yield* Effect.promise(() => stays.cancel())
      })
  )
})

describe("keys", () => {
  it.effect("that do not count all get the same answer, whatever of them is right", () =>
    Effect.gen(function* () {
      const keysOn = yield* Layer.build(
        ApiKeys.layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(MemoryStore.layer))
      )
      const routes = HttpResources.layer(FilesApi, [files]).pipe(
        Layer.provide([Files.layer, Authentication.layer(Authentication.apiKey)]),
        Layer.provide(Layer.succeedContext(keysOn))
      )
      const api = yield* serve(routes)
      const keys = Context.get(keysOn, ApiKeys.ApiKeys)
      const good = Redacted.value((yield* keys.issue({ user: "ana" })).key)
      const old = yield* keys.issue({ user: "ana" })
      yield* keys.revoke(old.issued.id)
      const revoked = Redacted.value(old.key)
      const ask = (key: string) => api.send("GET", "/api/files", { as: "", headers: { "x-api-key": key } })
      assert.strictEqual((yield* ask(good)).status, 200)
      const answers = new Set<string>()
      const end = good.at(-1) === "A" ? "B" : "A"
      for (const key of [
        revoked,
        good.slice(0, -1) + end,
        good.slice(0, -1),
        `${good}A`,
        good.toUpperCase(),
        "s3db_unknown_unknown",
        "x",
        "s3db_",
        good.slice(0, 12) + revoked.slice(12)
      ]) {
        const { headers, status, text } = yield* ask(key)
        assert.strictEqual(status, 401, key)
        answers.add(text.replace(headers.get("x-request-id")!, "") + headers.get("www-authenticate"))
      }
      assert.strictEqual(answers.size, 1, [...answers].join("\n"))
    })
  )
})
