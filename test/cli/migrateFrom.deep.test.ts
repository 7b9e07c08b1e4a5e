/** The command that moves databases of s3db.js, as a process that is stopped. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exitCodes } from "../../src/cli/internal/failure.ts"
import { old, rowOf } from "./oldDatabase.ts"
import { start } from "./shell.ts"

describe("migrate-from", () => {
  it.effect("stopped by Ctrl-C it leaves nothing half done, and the next run goes on", () =>
    Effect.gen(function* () {
      const { data, env, s3db, source } = yield* old
      const plain = readFileSync(join(data, "id=content.meta.json"), "utf8")
      const meta = JSON.stringify({ ...(JSON.parse(plain) as object), etag: "", metadata: { 0: "many", _v: "v1" } })
      for (let i = 0; i < 600; i++) {
        writeFileSync(join(data, `id=many${i}`), "")
        writeFileSync(join(data, `id=many${i}.meta.json`), meta)
      }
      const stopped = yield* Effect.callback<{ readonly code: number; readonly err: string }>((resume) => {
        const child = start(["migrate-from", source, "--content", "--concurrency", "1"], {
          env: { ...process.env, ...env },
          stdio: ["ignore", "ignore", "pipe"]
        })
        let err = ""
        child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text))
        // Once the first documents are there.
        const folder = join(fileURLToPath(env.S3DB_URL.replace(/\?.*/, "")), "objects", "resource=users")
        const watching = setInterval(() => {
          if (!existsSync(folder)) return
          clearInterval(watching)
          child.kill("SIGINT")
        }, 1)
        child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, err })))
        return Effect.sync(() => {
          clearInterval(watching)
          child.kill("SIGKILL")
        })
      })
      assert.strictEqual(stopped.code, exitCodes.Interrupted, stopped.err)
      assert.include(stopped.err, "To go on, run it again")
      const repaired = yield* s3db(["repair", "users", "--json"])
      assert.strictEqual(repaired.code, 0, repaired.out)
      const rest = yield* s3db(["migrate-from", source, "--content", "--json"])
      assert.strictEqual(rest.code, 0, rest.err)
      const { unchanged, verified, written } = rowOf(rest.out)
      assert.strictEqual(Number(unchanged) + Number(written), 604)
      assert.isAbove(Number(written), 0)
      assert.strictEqual(verified, 604)
    })
  )
})
