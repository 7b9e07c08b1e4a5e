/** Four processes with the same job on one folder, of which one after the other is killed. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as JobCell from "../../src/plugins/scheduler/jobCell.ts"
import { until } from "../waiting.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-scheduler-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/schedulerProcess.ts", import.meta.url))

const launch = (onSlot: (slot: number) => void) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    // The log is there, too: of a run that is lost it is said.
    for (const line of lines) if (line.startsWith("start ")) onSlot(Number(line.slice("start ".length)))
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

describe("Scheduler between processes", () => {
  it.live(
    "starts each slot once while processes are killed, and goes on with those that are left",
    () =>
      Effect.gen(function* () {
        const slots: Array<number> = []
        const processes = Array.from({ length: 4 }, () => launch((slot) => slots.push(slot)))
        // The last one ends as it does when it is asked to.
        for (const [i, { child }] of processes.entries()) {
          yield* until("more slots have started", () => slots.length >= (i + 1) * 3, { within: 120_000 })
          child.kill(i < 3 ? "SIGKILL" : "SIGTERM")
        }
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
        assert.strictEqual(new Set(slots).size, slots.length, "a slot was started twice")
        const store = yield* FileStore.make({ path: folder })
        const { done, totals } = (yield* JobCell.make(store, "scheduler", "ticking").read).value!
        const first = Math.min(...slots)
        // A slot whose start a killed process could not tell any more, or that came while its run was in the way.
        const others = totals.lost + totals.skipped
        assert.isAtLeast(slots.length + others, (done - first) / 1000 + 1)
        assert.isAbove(slots.length, 5)
      }),
    600_000
  )
})
