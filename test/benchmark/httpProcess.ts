/**
 * A server of `npm run bench -- http`: `bare`, a handler of `node:http` over a map, `router`, the same in a bare `HttpRouter` of Effect, `hono`, the same in Hono, or `ours`.
 * Tells its port, and its time of the processor when asked.
 */
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Id from "effect-s3db/crypto/Id"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { load } from "./peers.ts"

process.on("message", () => process.send?.({ cpu: process.cpuUsage() }))
process.on("disconnect", () => process.exit(0))

const documents = Array.from({ length: 1000 }, (_, index) => ({
  id: `b${String(index).padStart(4, "0")}`,
  title: `Book ${index}`,
  author: `Author ${index % 50}`,
  year: 1900 + (index % 100)
}))

const bare = () => {
  const kept = new Map<string, object>(documents.map((one) => [one.id, one]))
  let made = 0
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown) => {
      const text = JSON.stringify(body)
      response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
      response.end(text)
    }
    const path = (request.url ?? "").split("?")[0]!
    if (request.method === "POST") {
      let text = ""
      request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
      request.on("end", () => {
        const one = { id: `n${(made += 1)}`, ...(JSON.parse(text) as object) }
        kept.set(one.id, one)
        answer(201, one)
      })
      return
    }
    if (path === "/api/books") return answer(200, { items: [...kept.values()].slice(0, 20) })
    const found = kept.get(path.slice("/api/books/".length))
    return found === undefined ? answer(404, {}) : answer(200, found)
  })
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    process.send?.({ port: typeof address === "object" ? address?.port : undefined })
  })
}

/** What is used of Hono, and of its server for Node. */
interface Hono {
  readonly Hono: new () => HonoApp
  readonly serve: (
    options: { readonly fetch: unknown; readonly port: number; readonly hostname: string },
    listening: (address: { readonly port: number }) => void
  ) => void
}

interface HonoApp {
  readonly fetch: unknown
  readonly get: (path: string, handle: (context: HonoContext) => unknown) => void
  readonly post: (path: string, handle: (context: HonoContext) => unknown) => void
}

interface HonoContext {
  readonly req: { readonly param: (name: string) => string; readonly json: () => Promise<object> }
  readonly json: (body: unknown, status?: number) => unknown
}

const hono = async () => {
  const { Hono, serve } = (await load("hono")) as Hono
  const kept = new Map<string, object>(documents.map((one) => [one.id, one]))
  let made = 0
  const app = new Hono()
  app.get("/api/books", (context) => context.json({ items: [...kept.values()].slice(0, 20) }))
  app.get("/api/books/:id", (context) => {
    const found = kept.get(context.req.param("id"))
    return found === undefined ? context.json({}, 404) : context.json(found)
  })
  app.post("/api/books", async (context) => {
    const one = { id: `n${(made += 1)}`, ...(await context.req.json()) }
    kept.set(one.id, one)
    return context.json(one, 201)
  })
  serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => process.send?.({ port }))
}

class Books extends Resource.Service<Books>()("bench/books", {
  schema: Schema.Struct({ id: Id.Random, title: Schema.String, author: Schema.String, year: Schema.Int }),
  primaryKey: "id"
}) {}

const quiet = { disableLogger: true, disableListenLog: true, routerConfig: HttpResources.routerConfig }

const server = NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })

const listen = <E>(served: Layer.Layer<never, E, Layer.Success<typeof server>>) => {
  const told = Layer.effectDiscard(
    Effect.map(HttpServer.HttpServer, ({ address }) =>
      process.send?.({ port: "port" in address ? address.port : undefined })
    )
  )
  NodeRuntime.runMain(Layer.launch(Layer.provideMerge(told, served).pipe(Layer.provide(server))))
}

const router = () => {
  const kept = new Map<string, object>(documents.map((one) => [one.id, one]))
  let made = 0
  const get = Effect.map(HttpRouter.params, ({ id = "" }) => {
    const found = kept.get(id)
    return found === undefined
      ? HttpServerResponse.jsonUnsafe({}, { status: 404 })
      : HttpServerResponse.jsonUnsafe(found)
  })
  const list = Effect.sync(() => HttpServerResponse.jsonUnsafe({ items: [...kept.values()].slice(0, 20) }))
  const create = Effect.gen(function* () {
    const { json } = yield* HttpServerRequest.HttpServerRequest
    const one = { id: `n${(made += 1)}`, ...((yield* json) as object) }
    kept.set(one.id, one)
    return HttpServerResponse.jsonUnsafe(one, { status: 201 })
  })
  const routes = Layer.mergeAll(
    HttpRouter.add("GET", "/api/books/:id", get),
    HttpRouter.add("GET", "/api/books", list),
    HttpRouter.add("POST", "/api/books", create)
  )
  listen(HttpRouter.serve(routes, quiet))
}

const ours = () => {
  const books = HttpResources.expose(Books, { defaultLimit: 20 })
  const api = HttpResources.api("bench", [books], { prefix: "/api" })
  const filled = Layer.effectDiscard(Effect.flatMap(Books, (repository) => repository.insertMany(documents)))
  const routes = HttpResources.layer(api, [books]).pipe(
    Layer.provide(Authentication.layerFrom(() => Effect.succeed(CurrentUser.make("bench")))),
    Layer.provide(Layer.provideMerge(filled, Books.layer)),
    Layer.provide(Database.layerWith({ catalogLease: "1 hour" })),
    Layer.provide(MemoryStore.layer)
  )
  listen(HttpRouter.serve(routes, quiet))
}

const kinds: Readonly<Record<string, () => unknown>> = { bare, router, hono, ours }
await kinds[process.argv[2] ?? ""]?.()
