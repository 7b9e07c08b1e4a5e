/** The official conformance runner, with no failure that is expected. */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpServer from "effect/ai/McpServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Database from "effect-s3db/Database"
import * as Documentation from "effect-s3db/mcp/Documentation"
import * as HttpListener from "effect-s3db/mcp/HttpListener"
import * as Server from "effect-s3db/mcp/Server"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as conformanceTools from "./conformanceTools.ts"
import { forwarding } from "./forwarding.ts"

const token = "a-token-of-the-conformance-runner"

const services = Layer.mergeAll(
  Database.layer.pipe(Layer.provide(MemoryStore.layer)),
  Documentation.layer.pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))
)

const runner = fileURLToPath(
  new URL("../../node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url)
)

/** The runner's report, and whether it is content. */
const running = (url: string, folder: string) =>
  Effect.callback<{ readonly code: number; readonly out: string }>((resume) => {
    const args = [runner, "server", "--url", url, "--suite", "all", "--output-dir", folder]
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resume(Effect.succeed({ code: error === null ? 0 : 1, out: `${stdout}${stderr}` }))
    )
  })

describe("the conformance runner", () => {
  it.live(
    "finds nothing wrong",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "s3db-conformance-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
        let port = 0
        const proxy = yield* forwarding(() => port, token)
        const names = ["localhost", "127.0.0.1", "[::1]"].map((name) => `http://${name}:${proxy.port}`)
        const listening = yield* HttpListener.serve(
          (allowedOrigins) =>
            Layer.effectDiscard(Effect.void).pipe(
              Layer.provide(
                McpServer.layerHttp({
                  name: "conformance",
                  version: "1.0.0",
                  path: "/mcp",
                  allowedOrigins,
                  allowSessionTermination: true,
                  protocols: [McpProtocol.v2025_11_25, McpProtocol.v2025_06_18, McpProtocol.v2025_03_26],
                  registrations: Layer.mergeAll(Server.registrations({ write: true }), conformanceTools.registrations)
                })
              )
            ),
          { token: Redacted.make(token), port: 0, allowedOrigins: names }
        )
        port = listening.port
        const { code, out } = yield* running(`http://localhost:${proxy.port}/mcp`, folder)
        assert.strictEqual(code, 0, out.slice(-4000))
        const [, passed] = /Total: (\d+) passed, 0 failed/.exec(out) ?? []
        assert.isAtLeast(Number(passed), 43)
      }).pipe(Effect.scoped, Effect.provide(services)),
    { timeout: 600_000 }
  )
})
