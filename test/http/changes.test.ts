/** Changes as they are committed, to those who may read the documents. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { untilSome } from "../waiting.ts"
import { Auth, isProblem, serve, services } from "./api.ts"

const schema = Schema.Struct({
  id: Schema.String,
  text: Schema.String,
  tenant: Schema.String,
  hidden: Schema.optionalKey(Schema.String)
})

class Live extends Resource.Service<Live>()("http/live", { schema, primaryKey: "id" }) {}
class Kept extends Resource.Service<Kept>()("http/kept", { schema, primaryKey: "id", journal: { images: "both" } }) {}

const live = HttpResources.expose(Live, { protect: ["hidden"] })
const kept = HttpResources.expose(Kept, { protect: ["hidden"] })
const Api = HttpResources.api("changes", [live, kept], { prefix: "/api" })

const rules = {
  "*": Guard.record<{ readonly tenant: string }>(
    (one, user) => user !== undefined && one.tenant === user.claims["tenant"]
  )
}

const start = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const context = yield* Layer.build(
    Layer.mergeAll(Resource.guard(Live, rules), Resource.guard(Kept, rules)).pipe(
      Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
      Layer.provide(Layer.merge(Layer.succeed(ObjectStore, store), services))
    )
  )
  const { journal, journaled } = yield* Effect.provide(Database.Database, context)
  const api = yield* serve(
    HttpResources.layer(Api, [live, kept]).pipe(Layer.provide([Layer.succeedContext(context), Auth]))
  )
  /** Opens the stream of somebody. `next` gives the events up to and with the nth from now on. */
  const follow = Effect.fnUntraced(function* (path: string, as: string, headers: Record<string, string> = {}) {
    const request = new Request(`http://localhost${path}`, { headers: { ...headers, authorization: `Bearer ${as}` } })
    const response = yield* Effect.promise(() => api.handler(request))
    assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
    const reader = response.body!.getReader()
    yield* Effect.addFinalizer(() => Effect.promise(() => reader.cancel()))
    let text = ""
    const events = () =>
      text
        .split("\n\n")
        .slice(0, -1)
        .filter((one) => !one.startsWith(":"))
    const next = (count: number) =>
      Effect.promise(async () => {
        while (events().length < count) {
          const { done, value } = await reader.read()
          if (done) break
          text += new TextDecoder().decode(value)
        }
        return events().map((event) => {
          const lines = new Map(
            event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)])
          )
          return { id: lines.get("id"), event: lines.get("event"), data: JSON.parse(lines.get("data")!) as unknown }
        })
      })
    // The first bytes say that it is open.
    const { value } = yield* Effect.promise(() => reader.read())
    text += new TextDecoder().decode(value)
    return { next }
  })
  return { ...api, follow, catchUp: journal.catchUp(journaled) }
})

const note = (id: string, tenant: string) => ({ id, text: "line\none", tenant, hidden: "not shown" })
const shown = (id: string, tenant: string) => ({ id, text: "line\none", tenant })

describe("changes over HTTP", () => {
  it.effect("of this process, to those who may read", () =>
    Effect.gen(function* () {
      const api = yield* start
      const mine = yield* api.follow("/api/live/-/changes", "ana:acme")
      yield* api.send("POST", "/api/live", { body: note("2", "evil"), as: "eve:evil" })
      yield* api.send("POST", "/api/live", { body: note("1", "acme"), as: "bo:acme" })
      const [first] = yield* mine.next(1)
      assert.deepStrictEqual(first, {
        id: undefined,
        event: "Inserted",
        data: { id: "1", document: shown("1", "acme") }
      })
      yield* api.send("DELETE", "/api/live/2", { as: "eve:evil" })
      yield* api.send("PATCH", "/api/live/1", { body: { text: "b" }, as: "bo:acme" })
      assert.strictEqual((yield* mine.next(2))[1]!.event, "Updated")
      yield* api.send("DELETE", "/api/live/1", { as: "bo:acme" })
      assert.deepStrictEqual((yield* mine.next(3))[2], { id: undefined, event: "Deleted", data: { id: "1" } })
      const again = yield* api.follow("/api/live/-/changes", "ana:acme", { "last-event-id": "5" })
      assert.strictEqual((yield* again.next(1))[0]!.event, "Gap")
      isProblem(yield* api.send("GET", "/api/live/-/changes", { as: "" }), 401)
    })
  )

  it.live("of the journal, from where one was", () =>
    Effect.gen(function* () {
      const api = yield* start
      yield* api.send("POST", "/api/kept", { body: note("1", "acme"), as: "bo:acme" })
      yield* api.send("POST", "/api/kept", { body: note("2", "evil"), as: "eve:evil" })
      yield* api.send("PATCH", "/api/kept/1", { body: { text: "b" }, as: "bo:acme" })
      yield* api.send("DELETE", "/api/kept/1", { as: "bo:acme" })
      yield* api.send("DELETE", "/api/kept/2", { as: "eve:evil" })
      yield* api.catchUp
      const all = yield* (yield* api.follow("/api/kept/-/changes", "ana:acme", { "last-event-id": "0" })).next(3)
      assert.deepStrictEqual(all, [
        { id: "1", event: "Inserted", data: { id: "1", document: shown("1", "acme") } },
        { id: "3", event: "Updated", data: { id: "1", document: { ...shown("1", "acme"), text: "b" } } },
        { id: "4", event: "Deleted", data: { id: "1" } }
      ])
      const rest = yield* (yield* api.follow("/api/kept/-/changes", "ana:acme", { "last-event-id": "3" })).next(1)
      assert.deepStrictEqual(rest, all.slice(2))
      const theirs = yield* (yield* api.follow("/api/kept/-/changes", "eve:evil", { "last-event-id": "0" })).next(2)
      assert.deepStrictEqual(
        theirs.map(({ event, id }) => [id, event]),
        [
          ["2", "Inserted"],
          ["5", "Deleted"]
        ]
      )
      isProblem(
        yield* api.send("GET", "/api/kept/-/changes", { headers: { "last-event-id": "x" }, as: "ana:acme" }),
        400
      )
    })
  )

  it.live("are open in so many places, of each user and of all, which are given back however a stream ends", () =>
    Effect.gen(function* () {
      const few = HttpResources.expose(Live, { sockets: { perUser: 2, total: 3 } })
      const api = yield* serve(
        HttpResources.layer(HttpResources.api("few", [few], { prefix: "/api" }), [few]).pipe(
          Layer.provide([Live.layer.pipe(Layer.provide(Database.layer), Layer.provide(MemoryStore.layer)), Auth]),
          Layer.provide(Database.layer),
          Layer.provide(MemoryStore.layer)
        )
      )
      const open = (as: string, method = "GET", headers: Record<string, string> = {}) =>
        Effect.promise(() =>
          api.handler(
            new Request("http://localhost/api/live/-/changes", {
              method,
              headers: { ...headers, authorization: `Bearer ${as}` }
            })
          )
        )
      const codeOf = (response: Response) =>
        Effect.promise(async () => [response.status, ((await response.json()) as { readonly code: string }).code])
      const isOpen = Effect.fnUntraced(function* (as: string) {
        const response = yield* open(as)
        assert.strictEqual(response.status, 200, as)
        return response
      })
      const opened = untilSome("there is a place", () =>
        Effect.map(open("ana"), (response) => (response.status === 200 ? response : undefined))
      )
      // Those that are refused, or have no stream, keep no place.
      for (let turn = 0; turn < 4; turn += 1) {
        assert.strictEqual((yield* open("ana", "HEAD")).status, 200)
        assert.strictEqual((yield* open("ana", "GET", { "last-event-id": "x" })).status, 400)
      }
      const first = yield* isOpen("ana")
      const second = yield* isOpen("ana")
      assert.deepStrictEqual(yield* codeOf(yield* open("ana")), [429, "TooManyConnections"])
      const third = yield* isOpen("bo")
      assert.deepStrictEqual(yield* codeOf(yield* open("cyn")), [503, "TooManyConnections"])
      yield* Effect.promise(() => first.body!.cancel())
      const fourth = yield* opened
      for (const response of [second, third, fourth]) yield* Effect.promise(() => response.body!.cancel())
      for (let turn = 0; turn < 5; turn += 1) {
        const again = yield* opened
        yield* Effect.promise(() => again.body!.cancel())
      }
    })
  )
})
