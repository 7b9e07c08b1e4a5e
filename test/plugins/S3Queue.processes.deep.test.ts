/** Processes that handle the messages of one queue, and are killed while they do. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import { describeWithGateway } from "../services/available.ts"
import { storeAt } from "./queueStores.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-queue-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/queueProcess.ts", import.meta.url))

interface Seen {
  readonly handled: Map<string, number>
  readonly acknowledged: Map<string, number>
}

const launch = (location: string, name: string, seconds: number, seen: Seen) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, location, name, String(seconds)]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) {
      const [what, id = ""] = line.split(" ")
      if (what !== "handled" && what !== "acked") continue
      const counts = what === "handled" ? seen.handled : seen.acknowledged
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

class Jobs extends S3Queue.Service<Jobs>()("test/jobs", { payload: Schema.String }) {}

/** Three processes at a time handle messages; one after the other is killed at random, and another one begins. */
const survives = (location: string, { kills, messages }: { readonly kills: number; readonly messages: number }) =>
  Effect.gen(function* () {
    const Live = Jobs.layer.pipe(Layer.provide(Database.layer), Layer.provide(storeAt(location)))
    const seen: Seen = { handled: new Map(), acknowledged: new Map() }
    yield* Effect.gen(function* () {
      const jobs = yield* Jobs
      const processes = [1, 2, 3].map((n) => launch(location, `p${n}`, 600, seen))
      let killed = 0
      // They are offered while others handle, and kill, and die.
      for (let batch = 0; batch < 30; batch++) {
        const size = messages / 30
        const ids = Array.from({ length: size }, (_, i) => `m${batch * size + i}`)
        yield* jobs.offerAll(ids.map((id) => ({ payload: id, id })))
        yield* Effect.sleep("150 millis")
        if (batch % Math.ceil(30 / kills) !== 1) continue
        const victim = Math.floor(Math.random() * processes.length)
        processes[victim]!.child.kill("SIGKILL")
        killed += 1
        processes[victim] = launch(location, `k${killed}`, 600, seen)
      }
      const begun = performance.now()
      let status = yield* jobs.status
      while (status.totals.completed < messages && performance.now() - begun < 400_000) {
        yield* Effect.sleep("500 millis")
        status = yield* jobs.status
      }
      for (const { child } of processes) child.kill("SIGKILL")
      yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
      assert.isAtLeast(killed, kills)
      assert.strictEqual(status.totals.offered, messages)
      assert.strictEqual(status.totals.completed, messages)
      assert.deepStrictEqual([status.ready, status.delayed, status.deadLetters], [0, 0, 0])
    }).pipe(Effect.provide(Live))
    const twice = [...seen.acknowledged].filter(([, times]) => times > 1)
    assert.deepStrictEqual(twice, [], "acknowledged twice")
    assert.strictEqual(seen.handled.size, messages, "some were never handled")
    console.log(
      `${messages} messages, ${[...seen.handled.values()].reduce((sum, n) => sum + n, 0)} handled, ${seen.acknowledged.size} told acknowledged`
    )
  })

describe("S3Queue between processes", () => {
  it.live(
    "handles each message, and acknowledges none twice, while processes are killed",
    () => survives(folder, { kills: 6, messages: 1500 }),
    600_000
  )
})

describeWithGateway("S3Queue on Ceph's gateway", () => {
  it.live(
    "handles 3,000 messages with 3 workers that are killed at random, and acknowledges none twice",
    () => survives(`gateway:queue-${performance.timeOrigin}`, { kills: 8, messages: 3000 }),
    600_000
  )
})
