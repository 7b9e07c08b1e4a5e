/** Three processes that expire the same documents of one folder, of which two are killed. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Ttl from "effect-s3db/plugins/Ttl"
import { Archive, Notes, processOn } from "./fixtures/ttlProcess.ts"
import { until } from "../waiting.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-ttl-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/ttlProcess.ts", import.meta.url))

const launch = (seconds: number, onLine: (line: string) => void) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, String(seconds)]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    lines.forEach(onLine)
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

describe("Ttl between processes", () => {
  it.live(
    "expires each document once while processes are killed, and leaves nothing",
    () =>
      Effect.gen(function* () {
        const notes = yield* Notes
        const archive = yield* Archive
        const ttl = yield* Ttl.Ttl
        yield* notes.insertMany(Array.from({ length: 100 }, (_, n) => ({ id: `first-${n}`, n })))
        const lines: Array<string> = []
        const processes = Array.from({ length: 3 }, () => launch(600, (line) => lines.push(line)))
        let inserted = 100
        for (const { child } of processes.slice(0, 2)) {
          // Killed while it is at it, whichever sweeps.
          while (lines.length < inserted - 50) yield* Effect.sleep(20)
          child.kill("SIGKILL")
          yield* notes.insertMany(Array.from({ length: 100 }, (_, n) => ({ id: `${inserted}-${n}`, n })))
          inserted += 100
        }
        // Who is left goes on after the lease of who is gone.
        const isEmpty = Effect.map(notes.count(), (count) => count === 0)
        yield* until("all have expired", () => isEmpty, { every: 200, within: 400_000 })
        processes[2]!.child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
        const copies = yield* Stream.runCollect(archive.listIds())
        assert.strictEqual(copies.length, inserted)
        assert.deepStrictEqual(
          lines.filter((line) => line.startsWith("Failed")),
          []
        )
        assert.strictEqual(new Set(lines).size, lines.length, "a document was expired twice")
        // What was killed between the last deletion and the removal of its entry has left the entry, of a document that is gone.
        const [first, ...others] = yield* ttl.runNow()
        const { due, gone, ...rest } = first!
        assert.deepStrictEqual(others, [])
        assert.strictEqual(due, gone)
        assert.isAtMost(gone, 100)
        assert.deepStrictEqual(rest, {
          resource: "notes",
          deleted: 0,
          softDeleted: 0,
          archived: 0,
          kept: 0,
          refreshed: 0,
          failed: 0
        })
        const { repair } = yield* notes.admin
        const mended = yield* Stream.runCollect(repair({ dryRun: false, markerGraceMillis: 0 }))
        assert.deepStrictEqual(new Set(mended.map(({ kind }) => kind)), new Set(gone > 0 ? ["LeftoverMarker"] : []))
        assert.deepInclude((yield* ttl.runNow())[0], { due: 0, gone: 0 })
      }).pipe(Effect.provide(processOn(folder, { sweep: false }))),
    600_000
  )
})
