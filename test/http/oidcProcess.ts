/**
 * A server that people log in to by a provider, with an admin page: one of several on one bucket. Prints that it listens. What it is told is JSON:
 * the port, the origin that browsers know it by, the issuer, and where the documents are.
 */
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Hex from "effect/encoding/Hex"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Admin from "effect-s3db/http/Admin"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Oidc from "effect-s3db/http/Oidc"
import * as Resource from "effect-s3db/Resource"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"

export interface Told {
  readonly port: number
  readonly origin: string
  readonly issuer: string
  readonly store: string
}

const told = JSON.parse(process.argv[2] ?? "{}") as Told

class Notes extends Resource.Service<Notes>()("oidc/notes", {
  schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  primaryKey: "id",
  scan: true
}) {}

const notes = HttpResources.expose(Notes)
const Api = HttpResources.api("notes", [notes], { prefix: "/api", title: "Notes" }).add(Oidc.group)

const Live = Oidc.layer({
  origin: told.origin,
  providers: [
    {
      name: "id",
      issuer: told.issuer,
      clientId: "the-app",
      clientSecret: Redacted.make("the secret of the client"),
      scopes: ["email", "roles", "offline_access"],
      userinfo: true,
      cooldown: 0,
      keepTokens: true,
      user: { roles: ["groups"] }
    }
  ]
}).pipe(
  Layer.provideMerge(Notes.layer),
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provide([
    ConnectionString.layer(told.store),
    FetchHttpClient.layer,
    KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } })
  ])
)

/** What the access token of a session is now, without saying so. */
const Token = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const oidc = yield* Oidc.Oidc
    yield* router.add(
      "GET",
      "/token",
      Effect.gen(function* () {
        const { cookies } = yield* HttpServerRequest
        const token = yield* oidc.accessToken(Redacted.make(cookies[Oidc.cookieName] ?? ""))
        if (token === undefined) return HttpServerResponse.text("none", { status: 404 })
        return HttpServerResponse.text(Hex.encode(createHash("sha256").update(Redacted.value(token)).digest()))
      }).pipe(Effect.catch((error) => Effect.succeed(HttpServerResponse.text(error.message, { status: 500 }))))
    )
  })
)

const Routes = Layer.mergeAll(
  HttpResources.layer(Api, [notes]),
  Admin.layer(Api, [notes], { title: "Notes", logins: Oidc.Oidc, allow: { roles: ["staff"] } }),
  Token
).pipe(Layer.provide(Oidc.handlers(Api)), Layer.provide(Authentication.layer(Oidc.authentication)), Layer.provide(Live))

const announced = Layer.effectDiscard(Effect.sync(() => process.stdout.write("listening\n")))

NodeRuntime.runMain(
  Layer.launch(
    announced.pipe(
      Layer.provideMerge(
        HttpRouter.serve(Routes, {
          disableLogger: true,
          disableListenLog: true,
          routerConfig: HttpResources.routerConfig
        })
      ),
      Layer.provide(NodeHttpServer.layer(createServer, { port: told.port, host: "127.0.0.1" })),
      Layer.provide(Oidc.layerRedacted)
    )
  )
)
