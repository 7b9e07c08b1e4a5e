/** Processes that count in one folder at once and are killed while they do: what they have written counts once, whoever rolls up. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Metrics from "effect-s3db/plugins/Metrics"
import { processOn } from "./fixtures/metricsProcess.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-metrics-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/metricsProcess.ts", import.meta.url))

const launch = () => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const told = { counted: 0, written: 0 }
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) told[line as "counted" | "written"]++
  })
  return { child, told, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

describe("Metrics and Costs between processes", () => {
  it.live(
    "lose no interval that was written, and count none twice, whoever is killed when",
    () =>
      Effect.gen(function* () {
        const processes = Array.from({ length: 3 }, launch)
        for (const [i, { child, told }] of processes.entries()) {
          while (told.written < 10 * (i + 1)) yield* Effect.sleep(5)
          child.kill("SIGKILL")
        }
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
        const written = processes.reduce((sum, { told }) => sum + told.written, 0) * 100
        const counted = processes.reduce((sum, { told }) => sum + told.counted, 0) * 100

        const metrics = yield* Metrics.Metrics
        const costs = yield* Costs.Costs
        const found = Effect.forEach(["1 second", "1 hour", "1 day"] as const, (resolution) =>
          Effect.gen(function* () {
            const points = yield* Stream.runCollect(metrics.query({ from: 0, resolution, resource: "work" }))
            const priced = yield* Stream.runCollect(costs.query({ from: 0, resolution }))
            return [
              points.reduce((sum, { count }) => sum + count, 0),
              priced.reduce((sum, { requests, resource }) => (resource === "work" ? sum + requests : sum), 0)
            ] as const
          })
        )
        const first = yield* found
        for (const sums of first) {
          assert.deepStrictEqual(sums, first[0])
          for (const sum of sums) {
            // What a process had written and could not say so any more is there as well.
            assert.isAtLeast(sum, written)
            assert.isAtMost(sum, counted + 300)
          }
        }
      }).pipe(Effect.provide(processOn(folder))),
    600_000
  )
})
