/** Ten thousand connections that are opened and left: others are answered, memory is bounded, and the server closes them. */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { request } from "node:http"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

const count = 10_000

/** What a connection that is left has sent. */
const beginnings = [
  "",
  "GET /api/orders HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
  "POST /api/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
  "POST /api/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
  "GET /api/orders/none HTTP/1.1\r\nHost: localhost\r\n\r\n"
]

/** A server of its own, with files enough, where the machine lets it have them. */
const server = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly port: number; readonly pid: number; readonly end: () => void }>((resolve, reject) => {
        const folder = mkdtempSync(join(tmpdir(), "connections-"))
        const file = fileURLToPath(new URL("serverProcess.ts", import.meta.url))
        const command = 'ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"'
        const args = ["--conditions=effect-s3db-source", "--no-warnings", file, folder, "20000"]
        const child = spawn("sh", ["-c", command, process.execPath, ...args], { stdio: ["ignore", "pipe", "inherit"] })
        const end = () => {
          child.kill("SIGKILL")
          rmSync(folder, { recursive: true, force: true })
        }
        child.on("exit", (code) => reject(new Error(`the server ended: ${code}`)))
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
          const [, port] = /:(\d+)/.exec(text) ?? []
          if (port !== undefined) resolve({ port: Number(port), pid: child.pid ?? 0, end })
        })
      })
  ),
  ({ end }) => Effect.sync(end)
)

/** Megabytes. */
const residentOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024

const statusOf = (port: number): Effect.Effect<number> =>
  Effect.promise(
    () =>
      new Promise((resolve, reject) => {
        const sent = request({ agent: false, host: "127.0.0.1", port, path: "/api/orders?limit=1" }, (response) => {
          response.resume().on("end", () => resolve(response.statusCode ?? 0))
        })
        sent.on("error", reject).end()
      })
  )

describe.skipIf(process.platform !== "linux")("ten thousand connections that are left", () => {
  it.live(
    "hold nobody up, take little memory, and are closed",
    () =>
      Effect.gen(function* () {
        const { pid, port } = yield* server
        assert.strictEqual(yield* statusOf(port), 200)
        const before = residentOf(pid)
        const sockets: Array<Socket> = []
        yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
        let closed = 0
        const open = (at: number) =>
          Effect.callback<boolean>((resume) => {
            const socket = connect(port, "127.0.0.1")
            sockets.push(socket)
            socket.on("close", () => (closed += 1))
            socket.on("error", () => resume(Effect.succeed(false)))
            // Nobody reads what comes back.
            socket.on("connect", () =>
              socket.write(beginnings[at % beginnings.length] ?? "", () => resume(Effect.succeed(true)))
            )
          })
        const opened = yield* Effect.forEach(
          Array.from({ length: count }, (_, at) => at),
          open,
          { concurrency: 100 }
        )
        assert.strictEqual(opened.filter((one) => one).length, count)
        assert.isBelow(closed, count / 2, "they are open")
        for (let turn = 0; turn < 20; turn += 1) assert.strictEqual(yield* statusOf(port), 200)
        const grown = residentOf(pid) - before
        assert.isBelow(grown, 600, "megabytes for all of them")
        // An end that somebody has sent is seen when it is read.
        for (const socket of sockets) socket.resume()
        yield* Effect.callback<void>((resume) => {
          let left = sockets.filter((socket) => !socket.closed).length
          const one = () => {
            if ((left -= 1) === 0) resume(Effect.void)
          }
          if (left === 0) return resume(Effect.void)
          for (const socket of sockets) if (!socket.closed) socket.once("close", one)
        })
        assert.strictEqual(closed, count)
        assert.strictEqual(yield* statusOf(port), 200)
        yield* Effect.logInfo(`${count} connections took ${grown.toFixed(0)} MB`)
      }),
    600_000
  )
})
