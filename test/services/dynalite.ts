/** A DynamoDB for tests, as `dynalite` has it: a process of its own, on a port of its own, with a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { createRequire } from "node:module"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import { isListening } from "./ceph.ts"
import type { Server } from "./postgres.ts"
import { freePort } from "./redis.ts"

const cli = join(dirname(createRequire(import.meta.url).resolve("dynalite")), "cli.js")

export const make = async (): Promise<Server> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-dynalite-"))
  let server: ChildProcess | undefined
  const kill = async () => {
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    if (server?.kill("SIGKILL") === true) await ended
    server = undefined
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    start: async () => {
      const options = ["--port", String(port), "--host", "127.0.0.1", "--path", folder, "--createTableMs", "10"]
      server = spawn(process.execPath, [cli, ...options], { stdio: "ignore" })
      for (let i = 0; i < 600 && !(await isListening(port)); i++) {
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
    },
    kill,
    close: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const credential = "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/dynamodb/aws4_request"

/** Asks it, past the replica: it looks at no signature. */
export const ask = (url: string, action: string, input: unknown): Effect.Effect<Record<string, unknown>> =>
  Effect.promise(async () => {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": `DynamoDB_20120810.${action}`,
        "x-amz-date": "20200101T000000Z",
        authorization: `${credential}, SignedHeaders=host, Signature=0`
      },
      body: JSON.stringify(input)
    })
    const answer = (await response.json()) as Record<string, unknown>
    if (response.status !== 200) throw new Error(JSON.stringify(answer))
    return answer
  })
