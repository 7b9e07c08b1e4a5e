/** History, content, exports, and creations that are asked for again. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { Auth, type Client, isProblem, serve, services, shop } from "./api.ts"

class Files extends Resource.Service<Files>()("http/files", {
  schema: Schema.Struct({ id: Id.Random, name: Schema.String, hidden: Schema.optionalKey(Schema.String) }),
  primaryKey: "id",
  history: true,
  content: true
}) {}

class Counted extends Resource.Service<Counted>()("http/counted", {
  schema: Schema.Struct({ id: Id.incremental(), name: Schema.String }),
  primaryKey: "id",
  unique: { byName: ["name"] }
}) {}

const files = HttpResources.expose(Files, { protect: ["hidden"], maxContentBytes: 1_000_000 })
const counted = HttpResources.expose(Counted, { operations: ["list", "get", "create"] })
const Api = HttpResources.api("more", [files, counted], { prefix: "/api" })

const onStore = (store: Layer.Layer<ObjectStore, StoreError.StoreError>, layer: typeof Files.layer = Files.layer) =>
  serve(
    HttpResources.layer(Api, [files, counted]).pipe(
      Layer.provide([layer, Counted.layer, Auth]),
      Layer.provide(Database.layerWith({ catalogLease: 0 })),
      Layer.provide(Layer.merge(store, services))
    )
  )

const here = onStore(MemoryStore.layer)

const make = Effect.fnUntraced(function* (api: Client, id = "a") {
  const { status, text } = yield* api.send("POST", "/api/files", { body: { id, name: "first", hidden: "not shown" } })
  assert.strictEqual(status, 201, text)
})

describe("history", () => {
  it.effect("shows the versions before, the newest first, without what is not shown", () =>
    Effect.gen(function* () {
      const api = yield* here
      yield* make(api)
      yield* api.send("PATCH", "/api/files/a", { body: { name: "second" } })
      yield* api.send("PATCH", "/api/files/a", { body: { name: "third" } })
      const { json } = yield* api.send("GET", "/api/files/a/history")
      assert.deepStrictEqual(
        json.items.map((item: { document: unknown }) => item.document),
        [
          { id: "a", name: "second" },
          { id: "a", name: "first" }
        ]
      )
      assert.strictEqual((yield* api.send("GET", "/api/files/a/history?limit=1")).json.items.length, 1)
      isProblem(yield* api.send("GET", "/api/files/nothing/history"), 404)
      // A document may be called as the paths of its resource.
      yield* make(api, "-")
      isProblem(yield* api.send("GET", "/api/files/-/history"), 404, "NotFound")
    })
  )
})

describe("content", () => {
  const text = "The quick brown fox jumps over the lazy dog"
  const upload = (api: Client, raw: string | Uint8Array<ArrayBuffer>, type = "text/html") =>
    api.send("PUT", "/api/files/a/content", { raw, headers: { "content-type": type } })

  it.effect("is stored as it comes, and read whole or in ranges", () =>
    Effect.gen(function* () {
      const api = yield* here
      yield* make(api)
      isProblem(yield* api.send("GET", "/api/files/a/content"), 404)
      const set = yield* upload(api, text)
      assert.strictEqual(set.status, 204, set.text)
      const whole = yield* api.send("GET", "/api/files/a/content")
      assert.strictEqual(whole.text, text)
      assert.strictEqual(whole.headers.get("content-type"), "text/html")
      assert.strictEqual(whole.headers.get("etag"), set.headers.get("etag"))
      // What a stranger has uploaded is no page of this origin.
      assert.strictEqual(whole.headers.get("content-disposition"), "attachment")
      assert.include(whole.headers.get("content-security-policy"), "sandbox")
      assert.strictEqual(whole.headers.get("x-content-type-options"), "nosniff")
      for (const [range, start, end] of [
        ["bytes=4-8", 4, 8],
        ["bytes=4-", 4, 42],
        ["bytes=-3", 40, 42],
        ["bytes=0-1000", 0, 42],
        ["bytes=-1000", 0, 42]
      ] as const) {
        const part = yield* api.send("GET", "/api/files/a/content", { headers: { range } })
        assert.strictEqual(part.status, 206, range)
        assert.strictEqual(part.text, text.slice(start, end + 1))
        assert.strictEqual(part.headers.get("content-range"), `bytes ${start}-${end}/43`)
      }
      for (const range of ["bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-"]) {
        assert.strictEqual((yield* api.send("GET", "/api/files/a/content", { headers: { range } })).status, 200, range)
      }
      const beyond = yield* api.send("GET", "/api/files/a/content", { headers: { range: "bytes=43-" } })
      isProblem(beyond, 416)
      assert.strictEqual(beyond.headers.get("content-range"), "bytes */43")
      const etag = set.headers.get("etag")!
      const known = yield* api.send("GET", "/api/files/a/content", { headers: { "if-none-match": etag } })
      assert.strictEqual(known.status, 304)
      const stale = { range: "bytes=0-1", "if-range": '"another"' }
      assert.strictEqual((yield* api.send("GET", "/api/files/a/content", { headers: stale })).status, 200)
      const head = yield* api.send("HEAD", "/api/files/a/content")
      assert.deepStrictEqual([head.status, head.text, head.headers.get("etag")], [200, "", etag])
      assert.strictEqual((yield* api.send("DELETE", "/api/files/a/content")).status, 204)
      isProblem(yield* api.send("GET", "/api/files/a/content"), 404)
    })
  )

  it.effect("that is too large, or empty, or of a document that is not there", () =>
    Effect.gen(function* () {
      const api = yield* here
      yield* make(api)
      isProblem(yield* upload(api, new Uint8Array(1_000_001)), 413, "BodyTooLarge")
      isProblem(yield* api.send("GET", "/api/files/a/content"), 404)
      assert.strictEqual((yield* upload(api, "")).status, 204)
      const empty = yield* api.send("GET", "/api/files/a/content")
      assert.deepStrictEqual([empty.status, empty.text], [200, ""])
      isProblem(yield* api.send("GET", "/api/files/a/content", { headers: { range: "bytes=0-" } }), 416)
      isProblem(yield* api.send("PUT", "/api/files/nothing/content", { raw: "x" }), 404)
      isProblem(yield* upload(api, "x", "a\u00e9"), 422)
    })
  )
})

describe("exports", () => {
  it.effect("are streams of lines and of rows, without what is not shown", () =>
    Effect.gen(function* () {
      const api = yield* here
      yield* make(api, "a")
      yield* api.send("POST", "/api/files", { body: { id: "b", name: '=1+1,"x"', hidden: "not shown" } })
      const lines = yield* api.send("GET", "/api/files/-/export.ndjson")
      assert.strictEqual(lines.status, 200, lines.text)
      assert.strictEqual(lines.headers.get("content-type"), "application/x-ndjson")
      assert.strictEqual(lines.text, '{"id":"a","name":"first"}\n{"id":"b","name":"=1+1,\\"x\\""}\n')
      const table = yield* api.send("GET", "/api/files/-/export.csv")
      assert.strictEqual(table.text, 'id,name\r\na,first\r\nb,"\'=1+1,""x"""\r\n')
      assert.strictEqual((yield* api.send("GET", "/api/files/-/export.ndjson?id=b")).text.split("\n").length, 2)
      isProblem(yield* api.send("GET", "/api/files/-/export.ndjson?name=x"), 403, "NotAllowed")
      isProblem(yield* api.send("GET", "/api/files/-/export.csv?hidden=x&id=a"), 422)
      isProblem(yield* api.send("GET", "/api/files/-/export.csv", { as: "" }), 401)
    })
  )

  it.effect("go by the guard to the last line", () =>
    Effect.gen(function* () {
      const guarded = Resource.guard(Files, {
        "*": Guard.record((file, user) => user !== undefined && file.name === user.id)
      })
      const api = yield* onStore(MemoryStore.layer, guarded)
      for (const as of ["ana", "bo"]) yield* api.send("POST", "/api/files", { body: { id: as, name: as }, as })
      const lines = yield* api.send("GET", "/api/files/-/export.ndjson", { as: "bo" })
      assert.strictEqual(lines.text, '{"id":"bo","name":"bo"}\n')
    })
  )
})

describe("operations", () => {
  it.effect("that are not asked for are not there", () =>
    Effect.gen(function* () {
      const api = yield* here
      isProblem(yield* api.send("DELETE", "/api/counted/1"), 405)
      isProblem(yield* api.send("PATCH", "/api/counted/1", { body: {} }), 405)
      isProblem(yield* api.send("GET", "/api/counted/-/count"), 404, "NoSuchPath")
      isProblem(yield* (yield* shop).send("GET", "/api/users/a/history"), 404, "NoSuchPath")
      assert.sameMembers(Object.keys(Api.groups.counted.endpoints), ["list", "get", "create"])
      // @ts-expect-error Nor in the types.
      assert.isUndefined(Api.groups.counted.endpoints.delete)
      // @ts-expect-error Counted keeps no history.
      assert.isUndefined(Api.groups.counted.endpoints.history)
    })
  )
})

describe("Idempotency-Key", () => {
  const once = (key = "key-1") => ({ "idempotency-key": key })
  const countOf = (api: Client) => Effect.map(api.send("GET", "/api/files/-/count"), ({ json }) => json.count as number)

  it.effect("the same creation is carried out once", () =>
    Effect.gen(function* () {
      const api = yield* here
      const send = (body: object = { name: "x" }, options: { readonly as?: string; readonly key?: string } = {}) =>
        api.send("POST", "/api/files", { body, headers: once(options.key), as: options.as ?? "ana" })
      const all = yield* Effect.forEach(Array.from({ length: 8 }), () => send(), { concurrency: "unbounded" })
      for (const answer of all) {
        assert.strictEqual(answer.status, 201, answer.text)
        assert.deepStrictEqual(answer.json, all[0]!.json)
        assert.strictEqual(answer.headers.get("location"), all[0]!.headers.get("location"))
      }
      assert.strictEqual(yield* countOf(api), 1)
      isProblem(yield* send({ name: "y" }), 422, "IdempotencyKeyReused")
      assert.strictEqual((yield* send({ name: "y" }, { as: "bo" })).status, 201)
      assert.strictEqual((yield* send({ name: "y" }, { key: "key-2" })).status, 201)
      assert.strictEqual(yield* countOf(api), 3)
      for (const key of ["", "a b", "x".repeat(256)]) isProblem(yield* send({ name: "x" }, { key }), 400)
    })
  )

  it.effect("a creation that is refused can be asked for again, and the key is free if the body alone was wrong", () =>
    Effect.gen(function* () {
      const api = yield* here
      const send = (id: string, key: string) =>
        api.send("POST", "/api/files", { body: { id, name: "x" }, headers: once(key) })
      assert.strictEqual((yield* send("1", "a")).status, 201)
      isProblem(yield* send("1", "b"), 409, "AlreadyExists")
      isProblem(yield* send("3", "b"), 422, "IdempotencyKeyReused")
      yield* api.send("DELETE", "/api/files/1")
      assert.strictEqual((yield* send("1", "b")).status, 201)
      isProblem(yield* api.send("POST", "/api/files", { body: {}, headers: once("c") }), 422)
      assert.strictEqual((yield* send("2", "c")).status, 201)
      const named = { body: { name: "x" }, headers: once("d") }
      isProblem(yield* api.send("POST", "/api/counted", named), 422, "IdWanted")
    })
  )

  it.live("however many ask for it at once, on a store that takes its time", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      let n = 0
      // Long and short in turn, so that who comes later is often faster.
      const slow: ObjectStore["Service"] = {
        ...store,
        put: (request) => Effect.delay(store.put(request), (n = (n + 7) % 20))
      }
      const servers = yield* Effect.all([
        onStore(Layer.succeed(ObjectStore, slow)),
        onStore(Layer.succeed(ObjectStore, slow))
      ])
      const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`)
      for (const key of keys) {
        const asked = [0, 1, 0, 1, 0].map((server) =>
          servers[server]!.send("POST", "/api/files", { body: { name: key }, headers: once(key) })
        )
        const answers = yield* Effect.all(asked, { concurrency: "unbounded" })
        const again = yield* servers[1].send("POST", "/api/files", { body: { name: key }, headers: once(key) })
        const told = new Set([...answers, again].map(({ json, status }) => `${status} ${json?.id}`))
        assert.strictEqual(told.size, 1, [...told].join())
        assert.strictEqual(again.status, 201)
      }
      assert.strictEqual((yield* servers[0].send("GET", "/api/files/-/count")).json.count, keys.length)
    })
  )

  it.effect("of two at once that give the id, both hear that it is created", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const isDocument = (key: string) => key.endsWith("/data/id=1")
      const arrived = yield* Deferred.make<void>()
      const overtaken = yield* Deferred.make<void>()
      const held: ObjectStore["Service"] = {
        ...store,
        put: (request) =>
          isDocument(request.key)
            ? Deferred.succeed(arrived, undefined).pipe(
                Effect.andThen(Deferred.await(overtaken)),
                Effect.andThen(store.put(request))
              )
            : store.put(request)
      }
      const slow = yield* onStore(Layer.succeed(ObjectStore, held))
      const fast = yield* onStore(Layer.succeed(ObjectStore, store))
      const request = { body: { id: "1", name: "x" }, headers: once() }
      const first = yield* Effect.forkChild(slow.send("POST", "/api/files", request))
      yield* Deferred.await(arrived)
      const second = yield* fast.send("POST", "/api/files", request)
      assert.strictEqual(second.status, 201, second.text)
      yield* Deferred.succeed(overtaken, undefined)
      const late = yield* Fiber.join(first)
      assert.strictEqual(late.status, 201, late.text)
      assert.strictEqual(late.headers.get("etag"), second.headers.get("etag"))
      assert.strictEqual(yield* countOf(fast), 1)
    })
  )

  it.effect("a document of somebody else is not taken for one's own, whatever fields it has", () =>
    Effect.gen(function* () {
      const api = yield* here
      const body = { id: "1", name: "x" }
      assert.strictEqual((yield* api.send("POST", "/api/files", { body, as: "bo" })).status, 201)
      const send = (key: string) => api.send("POST", "/api/files", { body, headers: once(key) })
      for (let i = 0; i < 3; i++) isProblem(yield* send("a"), 409, "AlreadyExists")
      // Nor one that another key has created.
      yield* api.send("DELETE", "/api/files/1")
      assert.strictEqual((yield* send("b")).status, 201)
      for (let i = 0; i < 3; i++) isProblem(yield* send("a"), 409, "AlreadyExists")
      assert.strictEqual((yield* send("b")).status, 201)
    })
  )

  it.effect(
    "a document that was created and not noted is known by whoever it was created by, also when it was changed",
    () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        let puts = 0
        const crashed = new StoreError.StoreError({
          operation: "put",
          reason: new StoreError.Unavailable({ description: "crashed", sent: true })
        })
        /** Ends when the document is there, before anything says so. */
        const dying: ObjectStore["Service"] = {
          ...store,
          put: (request) =>
            Effect.suspend(() => {
              if (request.key.endsWith("/turn")) return store.put(request)
              puts += 1
              if (puts > 2) return Effect.fail(crashed)
              return puts === 2 ? Effect.andThen(store.put(request), Effect.fail(crashed)) : store.put(request)
            }),
          get: (key, options) => (puts > 1 ? Effect.fail(crashed) : store.get(key, options))
        }
        const server = yield* onStore(Layer.succeed(ObjectStore, store))
        yield* make(server, "warm")
        const send = (id: string) =>
          server.send("POST", "/api/files", { body: { id, name: "x" }, headers: once(`key-of-${id}`) })
        const ids = ["kept", "changed", "replaced", "anew"]
        for (const id of ids) {
          puts = -Infinity
          const first = yield* onStore(Layer.succeed(ObjectStore, dying))
          puts = 0
          const lost = yield* first.send("POST", "/api/files", {
            body: { id, name: "x" },
            headers: once(`key-of-${id}`)
          })
          assert.strictEqual(lost.status, 503, lost.text)
        }
        const change = (method: string, id: string, name: string) =>
          server.send(method, `/api/files/${id}`, { body: { name }, as: "bo" })
        for (let i = 0; i < 8; i++) yield* change("PATCH", "changed", `name ${i}`)
        for (let i = 0; i < 3; i++) yield* change("PUT", "replaced", `name ${i}`)
        yield* server.send("DELETE", "/api/files/anew")
        assert.strictEqual(
          (yield* server.send("POST", "/api/files", { body: { id: "anew", name: "x" }, as: "bo" })).status,
          201
        )
        for (const [id, name] of [
          ["kept", "x"],
          ["changed", "name 7"],
          ["replaced", "name 2"]
        ] as const) {
          const again = yield* send(id)
          assert.deepStrictEqual([again.status, again.json], [201, { id, name }], again.text)
        }
        isProblem(yield* send("anew"), 409, "AlreadyExists")
      })
  )

  it.effect("whatever request of it came to a sudden end", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const plain = yield* onStore(Layer.succeed(ObjectStore, store))
      yield* make(plain, "warm")
      // Every PUT of a creation in turn: it is carried out or not, and nobody hears of it. Nothing that follows is carried out.
      let creations = 0
      for (const isCarriedOut of [false, true]) {
        for (let nth = 0; nth < 3; nth += 1) {
          let puts = 0
          let isDead = false
          const gone = (operation: "put" | "delete", key: string) =>
            Effect.fail(
              new StoreError.StoreError({
                operation,
                key,
                reason: new StoreError.Unavailable({ description: "crashed", sent: true })
              })
            )
          const dying: ObjectStore["Service"] = {
            ...store,
            put: (request) =>
              Effect.suspend(() => {
                // Sweeping goes on beside it.
                if (request.key.endsWith("/turn")) return store.put(request)
                if (isDead) return gone("put", request.key)
                isDead = puts === nth
                puts += 1
                if (!isDead) return store.put(request)
                return isCarriedOut
                  ? Effect.andThen(store.put(request), gone("put", request.key))
                  : gone("put", request.key)
              }),
            delete: (key, options) => Effect.suspend(() => (isDead ? gone("delete", key) : store.delete(key, options))),
            get: (key, options) => Effect.suspend(() => (isDead ? gone("put", key) : store.get(key, options)))
          }
          const first = yield* onStore(Layer.succeed(ObjectStore, dying))
          puts = 0
          const request = { body: { name: "x" }, headers: once(`crash-${isCarriedOut}-${nth}`) }
          const lost = yield* first.send("POST", "/api/files", request)
          // Only the note that it is done may be lost without a word.
          assert.strictEqual(lost.status, nth === 2 ? 201 : 503, lost.text)
          const again = yield* plain.send("POST", "/api/files", request)
          assert.strictEqual(again.status, 201, `${isCarriedOut} ${nth}: ${again.text}`)
          creations += 1
          assert.strictEqual(yield* countOf(plain), creations + 1, `${isCarriedOut} ${nth}`)
          assert.deepStrictEqual((yield* plain.send("POST", "/api/files", request)).json, again.json)
        }
      }
    })
  )
})
