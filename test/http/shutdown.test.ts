/** A server that stops: what is under way ends, what would never end is ended, nothing that was cut is taken for whole. */
import { Agent, createServer, type IncomingMessage, request } from "node:http"
import { connect } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Shutdown from "effect-s3db/http/Shutdown"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { services } from "./api.ts"

class Jobs extends Resource.Service<Jobs>()("http/jobs", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id"
}) {}

const jobs = HttpResources.expose(Jobs, { scan: true })
const Api = HttpResources.api("jobs", [jobs], { prefix: "/api" })

/** A server; whoever inserts `slow` waits for `go`, having said `begun`. */
const start = Effect.fnUntraced(function* (deadline: Duration.Input) {
  const begun = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const waiting = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go))
  const slow = Resource.intercept(Jobs, {
    operations: "insert" as const,
    around: ({ input: { input } }, next) => (input.id === "slow" ? Effect.andThen(waiting, next()) : next())
  })
  const data = yield* Layer.build(
    slow.pipe(
      Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
      Layer.provide(Layer.merge(MemoryStore.layer, services))
    )
  )
  const scope = yield* Scope.fork(yield* Effect.scope)
  const served = Shutdown.gracefully(
    HttpRouter.serve(
      HttpResources.layer(Api, [jobs]).pipe(
        Layer.provide([
          Layer.succeedContext(data),
          Authentication.layerFrom(() => Effect.succeed(CurrentUser.make("ana")))
        ])
      ),
      { disableLogger: true, disableListenLog: true, routerConfig: HttpResources.routerConfig }
    )
  ).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: deadline })
    )
  )
  const { address } = Context.get(yield* Scope.provide(Layer.build(served), scope), HttpServer.HttpServer)
  const port = "port" in address ? address.port : 0
  const agents: Array<Agent> = []
  yield* Effect.addFinalizer(() => Effect.sync(() => agents.forEach((agent) => agent.destroy())))
  /** One connection, that stays. */
  const connection = () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    agents.push(agent)
    const open = (method: string, path: string, body?: object) =>
      Effect.callback<IncomingMessage, string>((resume) => {
        const headers = body === undefined ? {} : { "content-type": "application/json" }
        const sent = request({ agent, host: "127.0.0.1", port, method, path, headers })
        sent.on("response", (response) => resume(Effect.succeed(response)))
        sent.on("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? error.message)))
        sent.end(body === undefined ? undefined : JSON.stringify(body))
      })
    /** The status, the end of the connection, and the text, `undefined` where that was cut off. */
    const ended = (response: IncomingMessage) =>
      Effect.callback<{ readonly status: number; readonly connection: string; readonly text: string | undefined }>(
        (resume) => {
          let text = ""
          const end = (isWhole: boolean) =>
            resume(
              Effect.succeed({
                status: response.statusCode ?? 0,
                connection: String(response.headers.connection),
                text: isWhole ? text : undefined
              })
            )
          response.setEncoding("utf8").on("data", (part: string) => (text += part))
          response.on("end", () => end(true)).on("error", () => end(false))
        }
      )
    return {
      open,
      ended,
      ask: (method: string, path: string, body?: object) => Effect.flatMap(open(method, path, body), ended)
    }
  }
  const stopped = yield* Deferred.make<void>()
  return {
    connection,
    port,
    begun: Deferred.await(begun),
    go: Deferred.succeed(go, undefined),
    jobs: yield* Effect.provideContext(Jobs, data),
    stop: Effect.suspend(() => Effect.andThen(Scope.close(scope, Exit.void), Deferred.succeed(stopped, undefined))),
    isStopped: Deferred.isDone(stopped)
  }
})

describe("a server that stops", () => {
  it.live("answers what is under way, takes nothing more, and stops when that is done", () =>
    Effect.gen(function* () {
      const server = yield* start("1 hour")
      const [idle, busy] = [server.connection(), server.connection()]
      assert.strictEqual((yield* idle.ask("GET", "/api/jobs")).connection, "keep-alive")
      const written = yield* Effect.forkChild(busy.ask("POST", "/api/jobs", { id: "slow", text: "done" }))
      yield* server.begun
      const stopping = yield* Effect.forkChild(server.stop, { startImmediately: true })
      // Neither a new connection nor one that was idle.
      const refused = Effect.flip(server.connection().ask("GET", "/api/jobs"))
      assert.strictEqual(yield* Effect.retry(refused, { times: 100 }), "ECONNREFUSED")
      assert.strictEqual(yield* Effect.flip(idle.ask("GET", "/api/jobs")), "ECONNREFUSED")
      assert.isFalse(yield* server.isStopped)
      yield* server.go
      const answer = yield* Fiber.join(written)
      assert.deepStrictEqual([answer.status, JSON.parse(answer.text!)], [201, { id: "slow", text: "done" }])
      // There is no next request on this connection, for which it would have to wait.
      assert.strictEqual(answer.connection, "close")
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* server.jobs.get("slow")).text, "done")
    })
  )

  it.live(
    "ends what would go on for ever, and is not waited for: streams as if that was all, WebSockets with 1001",
    () =>
      Effect.gen(function* () {
        const server = yield* start("1 hour")
        const one = server.connection()
        const stream = yield* one.open("GET", "/api/jobs/-/changes")
        const told = yield* Effect.forkChild(one.ended(stream), { startImmediately: true })
        const sockets = [new WebSocket(`ws://127.0.0.1:${server.port}/api/jobs/-/socket`)]
        const closed = yield* Effect.forkChild(
          Effect.callback<number>((resume) => {
            sockets[0]!.addEventListener("close", ({ code }) => resume(Effect.succeed(code)))
          }),
          { startImmediately: true }
        )
        yield* Effect.callback<void>((resume) => {
          sockets[0]!.addEventListener("message", () => resume(Effect.void))
        })
        yield* server.jobs.insert({ id: "1", text: "first" })
        yield* server.stop
        assert.include((yield* Fiber.join(told)).text, ": open")
        assert.strictEqual(yield* Fiber.join(closed), 1001)
      })
  )

  it.live(
    "leaves no idle connection behind what ends late: such an answer says at its beginning that it is the last one",
    () =>
      Effect.gen(function* () {
        const server = yield* start("1 hour")
        assert.strictEqual((yield* server.connection().ask("GET", "/api/jobs")).connection, "keep-alive")
        for (const path of ["export.csv", "export.ndjson", "changes"]) {
          const { headers } = yield* server.connection().open("GET", `/api/jobs/-/${path}`)
          assert.strictEqual(headers.connection, "close", path)
        }
        yield* server.stop
      })
  )

  it.live("cuts off at its deadline what does not end, so that nobody takes it for whole", () =>
    Effect.gen(function* () {
      const server = yield* start("50 millis")
      const text = "x".repeat(100_000)
      yield* server.jobs.insertMany(Array.from({ length: 200 }, (_, n) => ({ id: String(n), text })))
      const [reader, writer] = [server.connection(), server.connection()]
      // Nobody reads on: what is not sent yet waits.
      const exported = yield* reader.open("GET", "/api/jobs/-/export.ndjson")
      const written = yield* Effect.forkChild(Effect.exit(writer.ask("POST", "/api/jobs", { id: "slow", text: "" })))
      yield* server.begun
      const left = connect(server.port, "127.0.0.1")
      yield* Effect.callback<void>((resume) => {
        left.on("connect", () =>
          left.write("POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-", () => resume(Effect.void))
        )
        left.on("error", () => {})
      })
      yield* server.stop
      assert.strictEqual(exported.statusCode, 200)
      assert.isUndefined((yield* reader.ended(exported)).text)
      const answer = yield* Fiber.join(written)
      assert.isTrue(Exit.isFailure(answer) || answer.value.status >= 500)
      assert.strictEqual((yield* Effect.flip(server.jobs.get("slow")))._tag, "NotFound")
    })
  )
})
