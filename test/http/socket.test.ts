/** Changes over a WebSocket: who gets them, and how a connection ends. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { services } from "./api.ts"

const schema = Schema.Struct({
  id: Schema.String,
  text: Schema.String,
  tenant: Schema.String,
  hidden: Schema.optionalKey(Schema.String)
})

class Live extends Resource.Service<Live>()("http/live", { schema, primaryKey: "id" }) {}
class Kept extends Resource.Service<Kept>()("http/kept", { schema, primaryKey: "id", journal: { images: "both" } }) {}

const isTenants = Guard.record<{ readonly tenant: string }>(
  (one, user) => user !== undefined && one.tenant === user.claims["tenant"]
)

interface Message {
  readonly type: string
  readonly position?: string
  readonly id?: string
  readonly document?: Record<string, unknown>
  readonly number?: number
}

/** A server on a socket. What a token is for changes as `tokens` does. */
const start = Effect.fnUntraced(function* (options: HttpResources.SocketOptions = {}, publicTo?: "readers") {
  const tokens = new Map([
    ["ana", CurrentUser.make("ana", { claims: { tenant: "acme" } })],
    ["eve", CurrentUser.make("eve", { claims: { tenant: "evil" } })]
  ])
  const Auth = Authentication.layerFrom(({ headers }) => {
    const [, token] = /^Bearer (.+)$/.exec(headers["authorization"] ?? "") ?? []
    if (token === undefined) return Effect.succeed(undefined)
    const user = tokens.get(token)
    return user === undefined ? Effect.fail(new CurrentUser.Unauthenticated()) : Effect.succeed(user)
  })
  const sockets = { heartbeat: "20 millis", recheck: "20 millis", patience: "1 minute", ...options } as const
  const live = HttpResources.expose(Live, { protect: ["hidden"], sockets, publicTo: publicTo ?? "nobody" })
  const kept = HttpResources.expose(Kept, { protect: ["hidden"], sockets })
  const Api = HttpResources.api("sockets", [live, kept], { prefix: "/api" })
  const rules = { "*": publicTo === undefined ? isTenants : Guard.allow }
  const context = yield* Layer.build(
    Layer.mergeAll(Resource.guard(Live, rules), Resource.guard(Kept, rules)).pipe(
      Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
      Layer.provide(Layer.merge(MemoryStore.layer, services))
    )
  )
  const scope = yield* Scope.fork(yield* Effect.scope)
  const served = HttpRouter.serve(
    HttpResources.layer(Api, [live, kept]).pipe(Layer.provide([Layer.succeedContext(context), Auth])),
    { disableLogger: true, disableListenLog: true, routerConfig: HttpResources.routerConfig }
  ).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: "10 millis" })
    )
  )
  const { address } = yield* Effect.map(Scope.provide(Layer.build(served), scope), (services) =>
    HttpServer.HttpServer.pipe(Effect.provideContext(services), Effect.runSync)
  )
  const port = "port" in address ? address.port : 0
  const [liveOnes, keptOnes] = yield* Effect.all([Live, Kept]).pipe(Effect.provideContext(context))
  const { journal, journaled } = yield* Effect.provide(Database.Database, context)

  /** Connects. `answers`: whether pings are answered. */
  const connect = Effect.fnUntraced(function* (
    path: string,
    {
      answers = true,
      headers = {},
      protocols = []
    }: {
      readonly protocols?: Array<string>
      readonly answers?: boolean
      readonly headers?: Record<string, string>
    } = {}
  ) {
    // The one of Node takes headers as well.
    const Client = globalThis.WebSocket as unknown as new (
      url: string,
      options: { readonly protocols: Array<string>; readonly headers: Record<string, string> }
    ) => WebSocket
    const client = new Client(`ws://127.0.0.1:${port}${path}`, { protocols, headers })
    const messages: Array<Message> = []
    const waiting = new Set<() => void>()
    const wake = () => waiting.forEach((one) => one())
    let closed: { readonly code: number; readonly reason: string } | undefined
    client.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      if (message.type !== "Ping") messages.push(message)
      else if (answers) client.send(JSON.stringify({ type: "Pong", number: message.number }))
      wake()
    })
    client.addEventListener("close", ({ code, reason }) => {
      closed = { code, reason }
      wake()
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => client.close()))
    const until = <A>(found: () => A | undefined) =>
      Effect.callback<A>((resume) => {
        const look = () => {
          const value = found()
          if (value === undefined) return
          waiting.delete(look)
          resume(Effect.succeed(value))
        }
        waiting.add(look)
        look()
      })
    return {
      client,
      messages,
      /** The first messages, as many as that. */
      next: (count: number) => until(() => (messages.length >= count || closed ? messages.slice(0, count) : undefined)),
      /** All up to one. */
      seen: (is: (message: Message) => boolean) => until(() => (messages.some(is) ? messages : undefined)),
      closed: until(() => closed),
      opened: Effect.callback<void>((resume) => client.addEventListener("open", () => resume(Effect.void)))
    }
  })
  return {
    connect,
    tokens,
    live: liveOnes,
    kept: keptOnes,
    port,
    catchUp: journal.catchUp(journaled),
    stop: Effect.suspend(() => Scope.close(scope, Exit.void))
  }
})

const as = (user: string | undefined) =>
  Effect.provideService(
    CurrentUser.CurrentUser,
    user === undefined ? undefined : CurrentUser.make(user, { claims: { tenant: user === "eve" ? "evil" : "acme" } })
  )
const note = (id: string, tenant: string) => ({ id, text: "one", tenant, hidden: "not shown" })
const shown = (id: string, tenant: string) => ({ id, text: "one", tenant })
const bearer = (token: string) => ["s3db.changes", `bearer.${token}`]

describe("changes over a WebSocket", () => {
  it.live("are told to who may read, without what is protected", () =>
    Effect.gen(function* () {
      const { connect, live } = yield* start()
      const byProtocol = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
      const byHeader = yield* connect("/api/live/-/socket", { headers: { authorization: "Bearer eve" } })
      const byMessage = yield* connect("/api/live/-/socket")
      yield* byMessage.opened
      byMessage.client.send(JSON.stringify({ type: "Authenticate", token: "ana" }))
      yield* Effect.all([byProtocol.next(1), byHeader.next(1), byMessage.next(1)])
      assert.strictEqual(byProtocol.client.protocol, "s3db.changes")
      yield* as("eve")(live.insert(note("1", "evil")))
      yield* as("ana")(live.insert(note("2", "acme")))
      yield* as("ana")(live.delete("2"))
      // The document may be gone before somebody has looked whether it may be told: then there is nothing to tell.
      yield* as("ana")(live.insert(note("3", "acme")))
      const isLast = ({ id }: Message) => id === "3"
      const [told] = yield* Effect.all([byProtocol.seen(isLast), byMessage.seen(isLast)])
      assert.deepStrictEqual(told[0], { type: "Open" })
      assert.deepStrictEqual(told.at(-1), { type: "Inserted", id: "3", document: shown("3", "acme") })
      assert.isTrue(told.every(({ id }) => id !== "1"))
      const theirs = yield* byHeader.next(2)
      assert.deepStrictEqual(theirs[1], { type: "Inserted", id: "1", document: shown("1", "evil") })
    })
  )

  it.live("go on from a position of the journal, in order", () =>
    Effect.gen(function* () {
      const { catchUp, connect, kept } = yield* start()
      yield* as("ana")(kept.insert(note("1", "acme")))
      yield* as("eve")(kept.insert(note("2", "evil")))
      yield* as("ana")(kept.patch("1", { text: "two" }))
      yield* as("ana")(kept.delete("1"))
      yield* catchUp
      const all = yield* (yield* connect("/api/kept/-/socket?from=0", { protocols: bearer("ana") })).next(4)
      assert.deepStrictEqual(all, [
        { type: "Open", position: "0" },
        { type: "Inserted", position: "1", id: "1", document: shown("1", "acme") },
        { type: "Updated", position: "3", id: "1", document: { ...shown("1", "acme"), text: "two" } },
        { type: "Deleted", position: "4", id: "1" }
      ])
      const rest = yield* (yield* connect("/api/kept/-/socket?from=3", { protocols: bearer("ana") })).next(2)
      assert.deepStrictEqual(rest[1], all[3])
    })
  )

  it.live("are refused before the connection: no proof, a wrong one, another origin, a wrong position", () =>
    Effect.gen(function* () {
      const { port } = yield* start()
      const ask = (path: string, headers: Record<string, string>) =>
        Effect.callback<number>((resume) => {
          void import("node:http").then(({ request }) => {
            const sent = request({ agent: false, host: "127.0.0.1", port, path, headers })
            sent.on("response", (response) => {
              response.resume()
              resume(Effect.succeed(response.statusCode ?? 0))
            })
            sent.on("upgrade", (_, socket) => {
              socket.destroy()
              resume(Effect.succeed(101))
            })
            sent.end()
          })
        })
      const upgrade = {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
      }
      const path = "/api/live/-/socket"
      const authorization = "Bearer ana"
      assert.strictEqual(yield* ask(path, { authorization }), 426)
      assert.strictEqual(yield* ask(path, { ...upgrade, authorization }), 101)
      assert.strictEqual(yield* ask(path, { ...upgrade, authorization: "Bearer forged" }), 401)
      assert.strictEqual(yield* ask(path, { ...upgrade, "sec-websocket-protocol": "s3db.changes, bearer.forged" }), 401)
      assert.strictEqual(yield* ask(path, { ...upgrade, "sec-websocket-protocol": "bearer.ana, s3db.changes" }), 400)
      assert.strictEqual(yield* ask(`${path}?from=-1`, { ...upgrade, authorization }), 400)
      assert.strictEqual(yield* ask(`${path}?from=x`, { ...upgrade, authorization }), 400)
      for (const origin of ["https://evil.example.com", "null", "http://127.0.0.1", "http://127.0.0.1.evil.com"]) {
        assert.strictEqual(yield* ask(path, { ...upgrade, authorization, origin }), 403, origin)
      }
      assert.strictEqual(yield* ask(path, { ...upgrade, authorization, origin: `http://127.0.0.1:${port}` }), 101)
    })
  )

  it.live("end where the first message is none, or proves nothing", () =>
    Effect.gen(function* () {
      const { connect } = yield* start()
      const saying = Effect.fnUntraced(function* (text: string) {
        const one = yield* connect("/api/live/-/socket")
        yield* one.opened
        one.client.send(text)
        return (yield* one.closed).code
      })
      const hasty = yield* start({ patience: "100 millis" })
      const silent = yield* hasty.connect("/api/live/-/socket")
      assert.strictEqual((yield* silent.closed).code, 4408)
      assert.strictEqual(yield* saying('{"type":"Authenticate","token":"forged"}'), 4401)
      assert.strictEqual(yield* saying('{"type":"Authenticate"}'), 1008)
      assert.strictEqual(yield* saying('{"type":"Pong","number":1}'), 1008)
      assert.strictEqual(yield* saying("no JSON"), 1008)
      assert.strictEqual(yield* saying(`{"type":"Authenticate","token":"${"x".repeat(20_000)}"}`), 1008)
    })
  )

  it.live("end with the token, and where it counts no more, or for somebody else", () =>
    Effect.gen(function* () {
      const { connect, tokens } = yield* start()
      // A slow machine needs longer to be let in at all.
      const opened = Effect.fnUntraced(function* (after: number) {
        const exp = ((yield* Clock.currentTimeMillis) + after) / 1000
        tokens.set("short", CurrentUser.make("ana", { claims: { tenant: "acme", exp } }))
        const one = yield* connect("/api/live/-/socket", { protocols: bearer("short") })
        return { ...one, exp, isOpen: (yield* one.next(1))[0]?.type === "Open" }
      })
      let short = yield* opened(1500)
      for (let after = 5000; !short.isOpen && after < 60_000; after *= 2) short = yield* opened(after)
      assert.isTrue(short.isOpen)
      const revoked = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
      const changed = yield* connect("/api/live/-/socket", { protocols: bearer("eve") })
      yield* Effect.all([revoked.next(1), changed.next(1)])
      tokens.delete("ana")
      tokens.set("eve", CurrentUser.make("eve", { roles: ["less"], claims: { tenant: "evil" } }))
      assert.strictEqual((yield* revoked.closed).code, 4401)
      assert.strictEqual((yield* changed.closed).code, 4409)
      assert.strictEqual((yield* short.closed).code, 4401)
      assert.isAtLeast(yield* Clock.currentTimeMillis, short.exp * 1000)
    })
  )

  it.live("end for who does not read, before much waits for him; others get all", () =>
    Effect.gen(function* () {
      const count = 100
      const told = Effect.fnUntraced(function* (patience: number) {
        const { connect, live } = yield* start({ window: 8 * 1024, patience })
        const deaf = yield* connect("/api/live/-/socket", { protocols: bearer("ana"), answers: false })
        const other = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
        yield* Effect.all([deaf.next(1), other.next(1)])
        for (let at = 0; at < count; at += 1) {
          yield* as("ana")(live.insert({ ...note(String(at), "acme"), text: "x".repeat(1000) }))
        }
        return { deaf, messages: yield* other.next(count + 1) }
      })
      // Where the machine stands still for that long, whoever answers is late as well.
      let all = yield* told(300)
      for (let patience = 1200; all.messages.length <= count && patience < 60_000; patience *= 4) {
        all = yield* told(patience)
      }
      assert.strictEqual(all.messages.length, count + 1)
      const { code } = yield* all.deaf.closed
      assert.strictEqual(code, 4408)
      assert.isAtMost(all.deaf.messages.length, 10)
    })
  )

  it.live("are for so many connections of a user, and of all; places are free again", () =>
    Effect.gen(function* () {
      const { connect } = yield* start({ perUser: 2, total: 3 })
      const first = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
      const second = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
      yield* Effect.all([first.next(1), second.next(1)])
      // Refused before the connection is made: browsers tell no more than that.
      assert.strictEqual(
        (yield* (yield* connect("/api/live/-/socket", { protocols: bearer("ana") })).closed).code,
        1006
      )
      const byMessage = yield* connect("/api/live/-/socket")
      yield* byMessage.opened
      byMessage.client.send('{"type":"Authenticate","token":"ana"}')
      assert.strictEqual((yield* byMessage.closed).code, 4429)
      const third = yield* connect("/api/live/-/socket", { protocols: bearer("eve") })
      yield* third.next(1)
      assert.strictEqual(
        (yield* (yield* connect("/api/live/-/socket", { protocols: bearer("eve") })).closed).code,
        1006
      )
      first.client.close()
      yield* first.closed
      const again = Effect.gen(function* () {
        const one = yield* connect("/api/live/-/socket", { protocols: bearer("ana") })
        return (yield* one.next(1))[0]?.type === "Open" ? undefined : yield* Effect.fail("not yet")
      })
      yield* Effect.retry(again, { times: 50 })
    })
  )

  it.live("of what is public need no proof; of a server that stops end with 1001", () =>
    Effect.gen(function* () {
      const { connect, live, stop } = yield* start({}, "readers")
      const one = yield* connect("/api/live/-/socket")
      yield* one.next(1)
      yield* live.insert(note("1", "acme"))
      assert.strictEqual((yield* one.next(2))[1]!.type, "Inserted")
      yield* stop
      assert.strictEqual((yield* one.closed).code, 1001)
    })
  )
})
