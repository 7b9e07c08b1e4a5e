/**
 * A server of the HTTP API on a folder: one of several, which a test kills. Prints its address. A number after the folder is the milliseconds
 * that a request may take to come in.
 */
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Id from "effect-s3db/crypto/Id"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"

class Orders extends Resource.Service<Orders>()("http/orders", {
  schema: Schema.Struct({ id: Id.Random, mark: Schema.String, turn: Schema.Int }),
  primaryKey: "id",
  partitions: { byMark: ["mark"] }
}) {}

const orders = HttpResources.expose(Orders, { scan: true })
const Api = HttpResources.api("orders", [orders], { prefix: "/api" })

const Routes = HttpResources.layer(Api, [orders]).pipe(
  Layer.provide([Orders.layer, Authentication.layerFrom(() => Effect.succeed(CurrentUser.make("ana")))]),
  Layer.provide(Database.layer),
  Layer.provide(FileStore.layer({ path: process.argv[2] ?? "" }))
)

const announced = Layer.effectDiscard(
  Effect.map(HttpServer.HttpServer, ({ address }) => process.stdout.write(`${HttpServer.formatAddress(address)}\n`))
)

const millis = Number(process.argv[3] ?? 0)
const limits =
  millis === 0
    ? {}
    : {
        headersTimeout: millis,
        requestTimeout: millis,
        connectionsCheckingInterval: millis / 4,
        keepAliveTimeout: millis
      }

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
      Layer.provide(NodeHttpServer.layer(() => createServer(limits), { port: 0, host: "127.0.0.1" }))
    )
  )
)
