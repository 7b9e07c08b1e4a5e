/** Requests that nobody with good intentions sends. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Tracer from "effect/Tracer"
import * as HttpResources from "effect-s3db/http/HttpResources"
import { Api, Auth, Data, isProblem, notes, serve, shop, users } from "./api.ts"

const person = (id: string) => ({ id, name: "Ana", age: 30, country: "BR" })

describe("names of fields that are not shown", () => {
  it.effect("are in no message, however a name is misspelt", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const asked = [
        api.send("GET", "/api/users?name=x&order=internall"),
        api.send("GET", "/api/users?filter=" + encodeURIComponent('{"internall":"x"}')),
        api.send("GET", "/api/users/-/select?fields=internall"),
        api.send("GET", "/api/users?partition=byInternall&values={}"),
        api.send("POST", "/api/users", { body: { ...person("1"), internall: "x" } }),
        api.send("PATCH", "/api/users/1", { body: { internall: "x" } })
      ]
      for (const one of asked) {
        const { status, text } = yield* one
        assert.isAtLeast(status, 400, text)
        assert.notMatch(text, /internal(?!l)|street/, text)
      }
    })
  )
})

describe("ids", () => {
  it.effect("that are not encoded are not taken for the part before a semicolon", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const id of ["a", "a;b"]) yield* api.send("POST", "/api/users", { body: person(id) })
      for (const [method, path] of [
        ["GET", "/api/users/a;b"],
        ["DELETE", "/api/users/a;b"],
        ["PATCH", "/api/users/a;b?country=BR"],
        ["GET", "/api/users;limit=1"],
        ["GET", "/api/users/-/export.csv;x"]
      ] as const) {
        const body = method === "PATCH" ? { age: 31 } : undefined
        isProblem(yield* api.send(method, path, { body }), 400, "InvalidRequest")
      }
      assert.strictEqual((yield* api.send("GET", "/api/users/a")).json.age, 30)
      assert.strictEqual((yield* api.send("GET", "/api/users/a%3Bb?country=a;b")).json.id, "a;b")
      assert.strictEqual((yield* api.send("GET", "/api/users?country=a;b")).status, 200)
    })
  )

  it.effect("of any text find their documents", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const ids = [
        "a/b",
        "a%2Fb",
        "%2F",
        "..a",
        "a..",
        ".hidden",
        "-",
        "count",
        "list of things",
        "😀",
        "ação",
        "a?b#c",
        "a:b*c",
        "(x)",
        "__proto__",
        "constructor",
        "%00x",
        "a+b",
        "x".repeat(300)
      ]
      for (const id of ids) {
        const body = person(id)
        const created = yield* api.send("POST", "/api/users", { body })
        assert.strictEqual(created.status, 201, `${id}: ${created.text}`)
        const location = created.headers.get("location")!
        assert.strictEqual(
          location,
          `/api/users/${encodeURIComponent(id).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)}`
        )
        assert.deepStrictEqual((yield* api.send("GET", location)).json, body, id)
        assert.strictEqual((yield* api.send("PUT", location, { body: { ...body, age: 31 } })).status, 200, id)
        const other = { ...body, id: `${id}x` }
        isProblem(yield* api.send("PUT", location, { body: other }), 422, "InvalidInput")
      }
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).json.count, ids.length)
      for (const id of ids) {
        assert.strictEqual((yield* api.send("DELETE", `/api/users/${encodeURIComponent(id)}`)).status, 204, id)
      }
    })
  )

  it.effect("that no URL can name are refused, and so are those that cannot be", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const id of ["", ".", "..", "\ud800"]) {
        isProblem(yield* api.send("POST", "/api/users", { body: person(id) }), 422, "InvalidInput")
      }
      isProblem(yield* api.send("POST", "/api/users", { body: person("x".repeat(2000)) }), 422)
      for (const path of ["%ff", "%E0%A4%A", "x".repeat(9000)]) {
        const { status } = yield* api.send("GET", `/api/users/${path}`)
        assert.isTrue(status >= 400 && status < 500, `${path.slice(0, 20)}: ${status}`)
      }
    })
  )
})

describe("bodies", () => {
  it.effect("that are no JSON, or not the JSON that is wanted, are refused and change nothing", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const json = { "content-type": "application/json" }
      const send = (raw: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = json) =>
        api.send("POST", "/api/users", { raw, headers })
      isProblem(yield* send("{"), 400, "InvalidJson")
      isProblem(yield* send(""), 400)
      isProblem(yield* send(new Uint8Array([0x22, 0xff, 0x22])), 400, "InvalidJson")
      isProblem(yield* send("[".repeat(30_000)), 400, "InvalidJson")
      isProblem(yield* send(`${"[".repeat(30_000)}${"]".repeat(30_000)}`), 400, "InvalidJson")
      isProblem(yield* send(`{"a":`.repeat(9_000) + "1" + "}".repeat(9_000)), 400, "InvalidJson")
      for (const text of ["null", "[]", "1", '"x"', "true"]) isProblem(yield* send(text), 422, "InvalidInput")
      isProblem(yield* send("{}", { "content-type": "text/plain" }), 415)
      isProblem(yield* send("{}", { "content-type": "multipart/form-data; boundary=x" }), 415)
      isProblem(yield* send("{}", { ...json, "content-encoding": "gzip" }), 415)
      const wrong = yield* send(JSON.stringify({ ...person("a"), nothing: 1, age: "old" }))
      isProblem(wrong, 422, "InvalidInput")
      assert.sameDeepMembers(
        wrong.json.issues.map((issue: { path: unknown }) => issue.path),
        [["nothing"], ["age"]]
      )
      assert.strictEqual((yield* api.send("GET", "/api/users/-/count")).json.count, 0)
    })
  )

  it.effect("are read no further than the limit, whatever they say of their length", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const large = JSON.stringify({ ...person("a"), name: "x".repeat(70_000) })
      isProblem(
        yield* api.send("POST", "/api/users", { raw: large, headers: { "content-type": "application/json" } }),
        413
      )
      let drawn = 0
      const endless = new ReadableStream<Uint8Array>({
        pull(controller) {
          drawn += 1
          controller.enqueue(new Uint8Array(16 * 1024).fill(0x20))
        }
      })
      const answer = yield* api.send("POST", "/api/users", {
        raw: endless,
        headers: { "content-type": "application/json" }
      })
      isProblem(answer, 413, "BodyTooLarge")
      assert.isBelow(drawn, 12)
      const broken = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.error(new Error("the client has gone"))
      })
      isProblem(
        yield* api.send("POST", "/api/users", { raw: broken, headers: { "content-type": "application/json" } }),
        400,
        "BrokenBody"
      )
    })
  )

  it.effect("with names that objects have by birth are refused", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const headers = { "content-type": "application/json" }
      for (const name of ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"]) {
        const raw = `{"id":"a","name":"Ana","age":1,"country":"BR","${name}":{"isAdmin":true}}`
        isProblem(yield* api.send("POST", "/api/users", { raw, headers }), 422, "InvalidInput")
        isProblem(yield* api.send("GET", `/api/users?${name}=1&country=BR`), 422, "InvalidInput")
        isProblem(yield* api.send("GET", `/api/users?country[${name}]=1`), 422, "InvalidInput")
        const filter = encodeURIComponent(`{"country":"BR","${name}":{"x":1}}`)
        isProblem(yield* api.send("GET", `/api/users?filter=${filter}`), 422, "InvalidInput")
        isProblem(yield* api.send("GET", `/api/users?order=${name}`), 422, "InvalidInput")
        isProblem(yield* api.send("PATCH", "/api/users/a", { raw: `{"${name}":1}`, headers }), 422)
      }
      assert.isUndefined(({} as { isAdmin?: unknown }).isAdmin)
    })
  )

  it.effect("with fields that clients must not write are refused", () =>
    Effect.gen(function* () {
      const api = yield* shop
      yield* api.send("POST", "/api/users", { body: person("a") })
      for (const [method, path, body] of [
        ["POST", "/api/users", { ...person("b"), role: "admin" }],
        ["PUT", "/api/users/a", { ...person("a"), role: "admin" }],
        ["PATCH", "/api/users/a", { role: "admin" }],
        ["PATCH", "/api/users/a", { role: null }]
      ] as const) {
        const refused = yield* api.send(method, path, { body })
        isProblem(refused, 403, "ReadOnly")
        assert.deepStrictEqual(refused.json.issues[0].path, ["role"])
      }
      const bulk = yield* api.send("POST", "/api/users/-/bulk", {
        body: { items: [{ ...person("b"), role: "admin" }] }
      })
      assert.strictEqual(bulk.json.items[0].status, 403)
      for (const [method, item] of [
        ["PATCH", { id: "a", changes: { role: "admin" } }],
        ["PUT", { id: "a", document: { ...person("a"), role: "admin" } }]
      ] as const) {
        const many = yield* api.send(method, "/api/users/-/bulk", { body: { items: [item] } })
        assert.strictEqual(many.json.items[0].status, 403, method)
        isProblem(yield* api.send(method, "/api/users/-/bulk?mode=atomic", { body: { items: [item] } }), 403)
      }
      isProblem(yield* api.send("PATCH", "/api/users/a", { body: { id: "b" } }), 422)
    })
  )
})

describe("filters", () => {
  it.effect("of any depth and size end with an answer", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const deep = `{"$not":`.repeat(200) + '{"country":"BR"}' + "}".repeat(200)
      const filters = [
        deep,
        `{"$or":${"[".repeat(5000)}${"]".repeat(5000)}}`,
        JSON.stringify({ country: { in: Array.from({ length: 2000 }, (_, index) => `c${index}`) } }),
        '{"$where":"sleep(1000)"}',
        '{"country":{"$regex":"(a+)+$"}}',
        '{"country":{"eq":{"$ne":1}}}',
        "null",
        "1",
        "[]",
        '"x"'
      ]
      for (const filter of filters) {
        const answer = yield* api.send("GET", `/api/users?filter=${encodeURIComponent(filter)}`)
        assert.include([400, 422], answer.status, filter.slice(0, 60))
      }
    })
  )

  it.effect("that would read everything are refused in all their forms", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const query of [
        "name[startsWith]=A",
        "name[contains]=n",
        "country[ne]=BR",
        "email[exists]=false",
        `filter=${encodeURIComponent('{"$or":[{"country":"BR"},{"age":1}]}')}`,
        `filter=${encodeURIComponent('{"$not":{"country":"BR"}}')}`
      ]) {
        isProblem(yield* api.send("GET", `/api/users?${query}`), 403, "NotAllowed")
        isProblem(yield* api.send("GET", `/api/users/-/count?${query}`), 403, "NotAllowed")
      }
    })
  )
})

describe("cursors", () => {
  it.effect("are good for one request and one user", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const id of ["a", "b", "c"]) yield* api.send("POST", "/api/users", { body: person(id) })
      const path = "/api/users?country=BR&limit=1"
      const { cursor } = (yield* api.send("GET", path)).json
      const send = (query: string, as = "ana") =>
        api.send("GET", `${query}&cursor=${encodeURIComponent(cursor)}`, { as })
      assert.strictEqual((yield* send(path)).json.items[0].id, "b")
      isProblem(yield* send("/api/users?country=PT&limit=1"), 422, "InvalidInput")
      isProblem(yield* send("/api/users?limit=1"), 422, "InvalidInput")
      isProblem(yield* send(path, "bo"), 422, "InvalidInput")
      isProblem(yield* api.send("GET", `${path}&cursor=${cursor.slice(0, -2)}`), 422)
      isProblem(yield* api.send("GET", `${path}&cursor=../../etc/passwd`), 422)
      assert.notInclude(Buffer.from(cursor.split(".")[1], "base64url").toString("latin1"), "id=")
    })
  )
})

describe("who is there", () => {
  it.effect("nobody comes in without being known", () =>
    Effect.gen(function* () {
      const api = yield* shop
      for (const as of ["", "forged"]) {
        for (const [method, path] of [
          ["GET", "/api/users"],
          ["POST", "/api/users"],
          ["GET", "/api/users/-/count"],
          ["GET", "/api/users/-/select?fields=name"],
          ["POST", "/api/users/-/bulk"],
          ["PUT", "/api/users/-/bulk"],
          ["PATCH", "/api/users/-/bulk"],
          ["POST", "/api/users/-/bulk-delete"],
          ["GET", "/api/users/a"],
          ["HEAD", "/api/users/a"],
          ["PUT", "/api/users/a"],
          ["PATCH", "/api/users/a"],
          ["DELETE", "/api/users/a"]
        ] as const) {
          const answer = yield* api.send(method, path, {
            as,
            ...(method === "GET" || method === "HEAD" ? {} : { body: {} })
          })
          assert.strictEqual(answer.status, 401, `${method} ${path}`)
          assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
        }
      }
    })
  )

  it.effect("a guard by tenant holds for every verb, and does not tell what there is", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const mine = { id: "1", text: "mine", tenant: "acme" }
      const made = yield* api.send("POST", "/api/notes", { body: mine, as: "ana:acme" })
      const as = "eve:evil"
      const headers = { "if-match": made.headers.get("etag")! }
      for (const [method, path, body] of [
        ["GET", "/api/notes/1", undefined],
        ["PUT", "/api/notes/1", { ...mine, tenant: "evil" }],
        ["PATCH", "/api/notes/1", { tenant: "evil" }],
        ["DELETE", "/api/notes/1", undefined]
      ] as const) {
        const theirs = yield* api.send(method, path, { body, headers, as })
        const missing = yield* api.send(method, path.replace("1", "2"), {
          body: body === undefined ? undefined : { ...body, ...("id" in body ? { id: "2" } : {}) },
          headers,
          as
        })
        isProblem(theirs, missing.status)
        assert.include([404, 412], theirs.status)
      }
      assert.deepStrictEqual((yield* api.send("GET", "/api/notes", { as })).json.items, [])
      assert.strictEqual((yield* api.send("GET", "/api/notes/-/count", { as })).json.count, 0)
      assert.deepStrictEqual((yield* api.send("GET", "/api/notes?tenant=acme", { as })).json.items, [])
      isProblem(yield* api.send("POST", "/api/notes", { body: { ...mine, id: "3" }, as }), 403)
      const bulk = yield* api.send("POST", "/api/notes/-/bulk", { body: { items: [{ ...mine, id: "3" }] }, as })
      assert.strictEqual(bulk.json.items[0].status, 403)
      const ways = [
        ["PATCH", "/api/notes/-/bulk", { changes: { text: "theirs" } }],
        ["PUT", "/api/notes/-/bulk", { document: { text: "theirs", tenant: "acme" } }],
        ["POST", "/api/notes/-/bulk-delete", {}]
      ] as const
      for (const [method, path, item] of ways) {
        const told = (id: string) =>
          Effect.map(
            api.send(method, path, { body: { items: [{ id, ifMatch: headers["if-match"], ...item }] }, as }),
            (answer) => {
              const { problem, status } = answer.json.items[0]
              return [answer.status, status, problem.code, problem.detail?.replaceAll(id, "ID")]
            }
          )
        assert.deepStrictEqual(yield* told("1"), yield* told("nobody"), `${method} ${path}`)
      }
      assert.deepStrictEqual((yield* api.send("GET", "/api/notes/1", { as: "ana:acme" })).json, mine)
    })
  )

  it.effect("an id of a request is taken over only where it is sensible", () =>
    Effect.gen(function* () {
      const api = yield* shop
      const given = yield* api.send("GET", "/api/users", { headers: { "x-request-id": "abc-1.2:3" } })
      assert.strictEqual(given.headers.get("x-request-id"), "abc-1.2:3")
      for (const bad of ["<script>", "a b", "x".repeat(200)]) {
        const answer = yield* api.send("GET", "/api/users", { headers: { "x-request-id": bad } })
        assert.match(answer.headers.get("x-request-id")!, /^[\w-]{20,}$/)
      }
    })
  )
})

describe("secrets", () => {
  it.effect("are in no answer, no log and no span", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const note = (...parts: ReadonlyArray<unknown>) => {
        for (const part of parts) told.push(typeof part === "string" ? part : (JSON.stringify(part) ?? ""))
      }
      const logger = Logger.make(({ cause, message }) => note(message, cause, String(cause)))
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          const attribute = span.attribute.bind(span)
          note(options.name)
          span.attribute = (key, value) => {
            note(key, value)
            attribute(key, value)
          }
          return span
        }
      })
      const watched = Layer.mergeAll(Logger.layer([logger]), Layer.succeed(Tracer.Tracer, tracer))
      const api = yield* serve(
        HttpResources.layer(Api, [users, notes]).pipe(Layer.provide([Data, Auth]), Layer.provideMerge(watched))
      )
      const secrets = ["s3cr3t-token", "correct horse battery", "for us alone", "hidden street"]
      const [token, password, internal, street] = secrets
      const body = { ...person("a"), token, password, internal, address: { city: "Recife", street } }
      const bearer = "ana-the-bearer-of-a-token"
      const answers = [
        yield* api.send("POST", "/api/users", { body, as: bearer }),
        yield* api.send("POST", "/api/users", { body, as: bearer }),
        yield* api.send("GET", "/api/users/a", { as: bearer }),
        yield* api.send("GET", "/api/users", { as: bearer }),
        yield* api.send("GET", "/api/users?country=BR", { as: bearer }),
        yield* api.send("PATCH", "/api/users/a", { body: { age: 31 }, as: bearer }),
        yield* api.send("PATCH", "/api/users/a", { body: { token: 5, password: token }, as: bearer }),
        yield* api.send("PATCH", "/api/users/a", { body: { token, age: "x", nothing: password }, as: bearer }),
        yield* api.send("PUT", "/api/users/a", { body: { ...body, password: 5 }, as: bearer }),
        yield* api.send("PUT", "/api/users/a", { body, as: bearer }),
        yield* api.send("POST", "/api/users/-/bulk", {
          body: {
            items: [
              { ...body, id: "b" },
              { ...body, age: 1.5 }
            ]
          },
          as: bearer
        }),
        yield* api.send("DELETE", "/api/users/a", { as: bearer })
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [201, 409, 200, 200, 200, 200, 422, 422, 422, 200, 207, 204]
      )
      assert.isAbove(told.length, 20)
      const everything = [...told, ...answers.map(({ headers, text }) => text + JSON.stringify([...headers]))].join(
        "\n"
      )
      for (const secret of [...secrets, "$argon2", bearer]) assert.notInclude(everything, secret)
    })
  )
})
