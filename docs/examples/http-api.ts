/**
 * A library over HTTP: everybody may read books, librarians write them. `--serve` keeps it up, in memory; `npm run demo:api` does so.
 *
 * npm run example -- docs/examples/http-api.ts
 *
 * Prints:
 * without a key: 401
 * created: 201 at /api/books/dom-casmurro
 * read by anybody: Dom Casmurro
 * changed: 200, and a second time with the same ETag: 412
 */
import { timingSafeEqual } from "node:crypto"
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Id from "effect-s3db/crypto/Id"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Admin from "effect-s3db/http/Admin"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"

class Books extends Resource.Service<Books>()("library/books", {
  schema: Schema.Struct({
    id: Id.Random,
    title: Schema.NonEmptyString,
    author: Schema.String,
    year: Schema.Int,
    shelf: Schema.optionalKey(Schema.String)
  }),
  primaryKey: "id",
  partitions: { byAuthor: ["author"] }
}) {}

const BooksForAll = Resource.guard(Books, {
  "*": Guard.roles(["librarian"]),
  get: Guard.allow,
  list: Guard.allow,
  query: Guard.allow,
  count: Guard.allow
})

const books = HttpResources.expose(Books, { publicTo: "readers", protect: ["shelf"] })

/** For servers and for clients. */
export const Api = HttpResources.api("library", [books], { prefix: "/api", title: "A library" })

/** The key of the only librarian. A program with users has them in a resource, and digests of their keys. */
export class ApiKey extends Context.Service<ApiKey, Redacted.Redacted<string>>()(
  "effect-s3db/docs/examples/http-api/ApiKey"
) {
  static readonly layer = Layer.effect(
    ApiKey,
    Effect.map(Id.random, (key) => Redacted.make(key))
  )
}

const Librarian = Layer.unwrap(
  Effect.map(ApiKey, (key) => {
    const wanted = Buffer.from(`Bearer ${Redacted.value(key)}`)
    return Authentication.layerFrom(({ headers }) => {
      const given = Buffer.from(headers["authorization"] ?? "")
      if (given.length === 0) return Effect.undefined
      return given.length === wanted.length && timingSafeEqual(given, wanted)
        ? Effect.succeed(CurrentUser.make("librarian", { roles: ["librarian"] }))
        : Effect.fail(new CurrentUser.Unauthenticated())
    })
  })
)

/** What the server serves: needs the key. */
export const Routes = Layer.merge(
  HttpResources.layer(Api, [books], { openApi: "public" }),
  Admin.layer(Api, [books], { title: "A library", allow: { roles: ["librarian"] } })
).pipe(Layer.provide([BooksForAll, Librarian]), Layer.provide(Database.layer), Layer.provide(MemoryStore.layer))

const serve = (port: number) =>
  HttpRouter.serve(Routes, {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: HttpResources.routerConfig
  }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })),
    Layer.provideMerge(ApiKey.layer)
  )

const addressOf = Effect.map(HttpServer.HttpServer, ({ address }) => HttpServer.formatAddress(address))

const stay = Effect.gen(function* () {
  const address = yield* addressOf
  const key = Redacted.value(yield* ApiKey)
  yield* Console.log(`${address}/api/books, described at ${address}/api/openapi.json`)
  yield* Console.log(`The admin page is at ${address}/admin: sign in with the key.`)
  yield* Console.log(`The key of the librarian, told this once: ${key}\n`)
  const book = '{"title":"Dom Casmurro","author":"Machado de Assis","year":1899}'
  yield* Console.log(
    `curl -i ${address}/api/books -H 'authorization: Bearer ${key}' -H 'content-type: application/json' -d '${book}'`
  )
  yield* Console.log(`curl -g '${address}/api/books?author=Machado%20de%20Assis&year[lt]=1900'`)
  return yield* Effect.never
})

const visit = Effect.gen(function* () {
  const address = yield* addressOf
  const key = Redacted.value(yield* ApiKey)
  const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    Effect.promise((signal) =>
      fetch(address + path, {
        method,
        headers: { "content-type": "application/json", ...headers },
        body: body === undefined ? null : JSON.stringify(body),
        signal
      })
    )
  const book = { id: "dom-casmurro", title: "Dom Casmurro", author: "Machado de Assis", year: 1899 }
  yield* Console.log(`without a key: ${(yield* send("POST", "/api/books", book)).status}`)
  const authorization = `Bearer ${key}`
  const created = yield* send("POST", "/api/books", book, { authorization })
  yield* Console.log(`created: ${created.status} at ${created.headers.get("location")}`)
  const read = yield* send("GET", "/api/books/dom-casmurro")
  const { title } = (yield* Effect.promise(() => read.json())) as typeof book
  yield* Console.log(`read by anybody: ${title}`)
  const headers = { authorization, "if-match": read.headers.get("etag") ?? "" }
  const first = yield* send("PATCH", "/api/books/dom-casmurro", { year: 1900 }, headers)
  const second = yield* send("PATCH", "/api/books/dom-casmurro", { year: 1901 }, headers)
  yield* Console.log(`changed: ${first.status}, and a second time with the same ETag: ${second.status}`)
})

if (import.meta.main) {
  const isServer = process.argv.includes("--serve")
  NodeRuntime.runMain(
    Effect.provide(isServer ? stay : visit, serve(isServer ? Number(process.env["PORT"] ?? 3000) : 0))
  )
}
