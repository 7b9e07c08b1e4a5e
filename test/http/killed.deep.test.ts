/** Two servers on one folder, of which one is killed under load: what it has acknowledged is there, and nothing is there twice. */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

const program = fileURLToPath(new URL("serverProcess.ts", import.meta.url))

interface Order {
  readonly id: string
  readonly mark: string
  readonly turn: number
}

const started = Effect.fnUntraced(function* (path: string) {
  const child: ChildProcess = spawn(
    process.execPath,
    ["--conditions=effect-s3db-source", "--no-warnings", program, path],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
  const [chunk] = (yield* Effect.promise(() => once(child.stdout!, "data"))) as [Buffer]
  return { child, address: chunk.toString("utf8").trim() }
})

const json = { "content-type": "application/json" }

/** `undefined`: nobody knows what came of it. */
const send = (address: string, path: string, method: string, body?: unknown, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    try {
      const response = await fetch(address + path, {
        method,
        headers: { ...json, ...headers },
        body: body === undefined ? null : JSON.stringify(body)
      })
      const text = await response.text()
      return {
        status: response.status,
        json: (text === "" ? undefined : JSON.parse(text)) as Order & { items: Order[]; count: number }
      }
    } catch {
      return undefined
    }
  })

describe("two servers on one folder", () => {
  it.live("one is killed under load: no acknowledged write is lost, no creation is carried out twice", () =>
    Effect.gen(function* () {
      const path = mkdtempSync(join(tmpdir(), "s3db-http-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(path, { recursive: true, force: true })))
      const [first, second] = yield* Effect.all([started(path), started(path)])
      const acknowledged = new Map<string, { readonly id: string; turn: number }>()
      let asked = 0
      let unanswered = 0
      let isKilled = false
      const killAfter = 60

      /** Asks again, of the server that is left, until there is an answer. */
      const create = Effect.fnUntraced(function* (server: string, mark: string) {
        const body = { mark, turn: 0 }
        const headers = { "idempotency-key": mark }
        asked += 1
        let answer = yield* send(server, "/api/orders", "POST", body, headers)
        while (answer === undefined || answer.status >= 500) {
          if (answer === undefined) unanswered += 1
          answer = yield* send(second.address, "/api/orders", "POST", body, headers)
        }
        assert.strictEqual(answer.status, 201)
        acknowledged.set(mark, { id: answer.json.id, turn: 0 })
        if (acknowledged.size === killAfter) {
          isKilled = first.child.kill("SIGKILL")
        }
      })

      const client = (index: number) =>
        Effect.gen(function* () {
          for (let turn = 0; turn < 15; turn += 1) {
            const mark = `${index}-${turn}`
            const server = !isKilled && index % 2 === 0 ? first.address : second.address
            yield* create(server, mark)
            const known = acknowledged.get(mark)!
            const changed = yield* send(server, `/api/orders/${known.id}`, "PATCH", { turn: turn + 1 })
            if (changed === undefined) unanswered += 1
            else if (changed.status === 200) known.turn = turn + 1
          }
        })
      yield* Effect.forEach(
        Array.from({ length: 12 }, (_, index) => index),
        client,
        { concurrency: "unbounded" }
      )

      assert.isTrue(isKilled)
      // Else it was killed when it had nothing to do, and this has shown nothing.
      assert.isAbove(unanswered, 0)
      assert.strictEqual(acknowledged.size, asked)
      for (const [mark, { id, turn }] of acknowledged) {
        const found = yield* send(second.address, `/api/orders/${id}`, "GET")
        assert(found !== undefined)
        assert.strictEqual(found.status, 200, mark)
        assert.strictEqual(found.json.mark, mark)
        // An acknowledged change is there; one without an answer may be.
        if (turn > 0) assert.strictEqual(found.json.turn, turn, mark)
        const same = yield* send(second.address, `/api/orders?mark=${mark}`, "GET")
        assert.deepStrictEqual(
          same?.json.items.map((order) => order.id),
          [id],
          mark
        )
        const again = yield* send(second.address, "/api/orders", "POST", { mark, turn: 0 }, { "idempotency-key": mark })
        assert.strictEqual(again?.json.id, id, mark)
      }
      const count = yield* send(second.address, "/api/orders/-/count", "GET")
      assert.strictEqual(count?.json.count, asked)
    }).pipe(Effect.scoped)
  )
})
