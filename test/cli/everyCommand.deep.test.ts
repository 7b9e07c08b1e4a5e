/** Every command, as the built program that `npm install` gives. */
import { spawn } from "node:child_process"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installed } from "../packaging/build.ts"
import { everyCommand } from "./everyCommand.ts"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { key } from "./people.ts"
import { inTerminal } from "./pseudoTerminal.ts"
import { inFolder, type Ran } from "./shell.ts"

const built = Effect.acquireRelease(Effect.sync(installed), (folder) =>
  Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

describe("the built program", () => {
  it.live("runs every command", () =>
    Effect.gen(function* () {
      const folder = yield* built
      const main = join(folder, "node_modules/effect-s3db/dist/cli/main.js")
      const { env } = yield* inFolder
      // Migrations import what is installed above them.
      mkdirSync(join(folder, "session"))
      const path = (name: string) => join(folder, "session", name)
      const environment = { ...env, S3DB_KEYS: `k1:${key}` }
      const run = (args: ReadonlyArray<string>, stdin = "") =>
        Effect.callback<Ran>((resume) => {
          const child = spawn(process.execPath, [main, ...args], {
            cwd: folder,
            env: { PATH: process.env["PATH"] ?? "", ...environment }
          })
          const written = { out: "", err: "" }
          child.stdout.setEncoding("utf8").on("data", (text: string) => (written.out += text))
          child.stderr.setEncoding("utf8").on("data", (text: string) => (written.err += text))
          child.stdin.on("error", () => {}).end(stdin)
          child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, ...written })))
          return Effect.sync(() => child.kill("SIGKILL"))
        })
      yield* everyCommand(path, run, ["mcp"])
      // A client that says who it is, and goes.
      const hello = {
        jsonrpc: "2.0",
        id: 1,
        method: "initialize",
        params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } }
      }
      const served = yield* run(["mcp"], `${JSON.stringify(hello)}\n`)
      assert.include(served.out, "serverInfo", served.err)
      // At a terminal: a question before destruction, progress, colours.
      yield* run(["seed", "notes", "-n", "300"])
      const typing = (args: ReadonlyArray<string>, typed: string) => inTerminal([main, ...args], environment, typed)
      const no = yield* typing(["truncate", "notes"], "n\r")
      assert.strictEqual(no.code, exitCodes.Refused, no.out)
      const exported = yield* typing(["export", "notes", "-o", path("all.ndjson")], "")
      assert.include(exported.out, "exported: 300")
      assert.include((yield* typing(["query", "notes", "--scan", "--limit", "3"], "")).out, "\u001b[1m")
      const yes = yield* typing(["truncate", "notes"], "y\r")
      assert.strictEqual(yes.code, 0, yes.out)
      assert.include(yes.out, "300 documents")
    }).pipe(Effect.scoped)
  )
})
