import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import { client } from "./s3Server.ts"

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0

/** A server with a certificate of its own making, and how many connections it has had. */
const secure = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-tls-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
  execFileSync("openssl", [...request, "-addext", names, "-keyout", key, "-out", cert], { stdio: "ignore" })
  const state = { connections: 0 }
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    request.resume().on("end", () => response.writeHead(200, { etag: '"e1"' }).end())
  })
  server.on("secureConnection", () => {
    state.connections += 1
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )
  return { state, endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}` }
})

const trustAnybody = Effect.acquireRelease(
  Effect.sync(() => {
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
  }),
  () =>
    Effect.sync(() => {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
    })
)

describe.runIf(hasOpenssl)("S3HttpStore over TLS", () => {
  for (const transport of ["node", "undici", "fetch"] as const) {
    it.live(`whom it cannot trust it sends nothing, and connections are kept: ${transport}`, () =>
      Effect.gen(function* () {
        const { endpoint, state } = yield* secure
        const opened = S3HttpStore.make({ ...client, endpoint, transport })
        const failed = yield* Effect.flip((yield* opened).put({ key: "k" }))
        assert.deepStrictEqual([failed.reason._tag, failed.outcome], ["Unavailable", "none"])
        assert.strictEqual(state.connections, 0)
        yield* trustAnybody
        const store = yield* opened
        for (const key of ["a", "b", "c"]) yield* store.put({ key })
        if (transport !== "fetch") assert.strictEqual(state.connections, 1)
      })
    )
  }
})
