import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { client } from "./s3Server.ts"
import type { S3Tested } from "./s3Stores.ts"

/** Registers the test of a store whose server is restarted. */
export const restartSuite = (S3: S3Tested): void => {
  const opened = (port: number) =>
    Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((request, response) => {
          request.resume().on("end", () => response.writeHead(200, { etag: '"e1"' }).end())
        })
        server.listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )

  const portOf = (server: ReturnType<typeof createServer>) => (server.address() as AddressInfo).port

  describe(`${S3.name} and restarts`, () => {
    it.live("a server that is restarted fails no call", () =>
      Effect.gen(function* () {
        const port = yield* Effect.scoped(
          Effect.gen(function* () {
            const port = portOf(yield* opened(0))
            const store = yield* S3.make({ ...client, endpoint: `http://127.0.0.1:${port}` })
            yield* store.put({ key: "k" })
            return port
          })
        )
        // Nobody is there now, and for two seconds.
        yield* Effect.forkScoped(Effect.andThen(Effect.sleep("2 seconds"), opened(port)))
        const keys = Array.from({ length: 30 }, (_, i) => `k${i}`)
        const etags = yield* Effect.gen(function* () {
          const store = yield* ObjectStore
          return yield* Effect.forEach(
            keys,
            (key, i) =>
              i % 3 === 0
                ? Effect.map(store.put({ key }), ({ etag }) => etag)
                : i % 3 === 1
                  ? Effect.map(store.put({ key, ifNoneMatch: "*" }), ({ etag }) => etag)
                  : Effect.map(store.head(key), ({ etag }) => etag),
            { concurrency: "unbounded" }
          )
        }).pipe(Effect.provide(S3.layer({ ...client, endpoint: `http://127.0.0.1:${port}` })))
        assert.deepStrictEqual(
          etags,
          keys.map(() => "e1")
        )
      })
    )
  })
}
