/** Writers, journalers and replicators of one folder, killed at random. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import { databaseOn, replicasOf, Shown, Silent, Told } from "./fixtures/replicatorProcess.ts"
import { assertSame, sourceOf } from "./replicas.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-replicator-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/replicatorProcess.ts", import.meta.url))
type Role = "journaler" | "replicator" | "writer"
let launched = 0

const launch = (role: Role) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, role, `${role}-${launched++}`]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const lines: Array<string> = []
  child.stdout.on("data", (chunk: Buffer) => lines.push(...chunk.toString("utf8").trim().split("\n")))
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { role, child, lines, ended }
}

/** Waits for what processes do. What never comes is what the time limit of the test is for. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    while (!(yield* condition)) yield* Effect.sleep("50 millis")
  })

const kills = 6

const names = ["shown", "told", "silent"] as const
type Name = (typeof names)[number]

const sourcesOf = Effect.all({
  shown: Effect.flatMap(Shown, sourceOf),
  told: Effect.flatMap(Told, sourceOf),
  silent: Effect.flatMap(Silent, sourceOf)
})

const rowsOf = (name: Name) =>
  Effect.sync(() => {
    const table = new DatabaseSync(join(folder, "replica.db"), { readOnly: true })
    const rows = table.prepare(`SELECT id, n, text FROM ${name} ORDER BY id`).all()
    table.close()
    return Object.fromEntries(rows.map((row) => [String(row["id"]), { ...row }]))
  })

describe("Replicator between processes", () => {
  it.live("replicas end as their source, whoever is killed while others write", () =>
    Effect.gen(function* () {
      const roles: ReadonlyArray<Role> = ["writer", "writer", "journaler", "journaler", "replicator", "replicator"]
      const processes = roles.map(launch)
      yield* Effect.addFinalizer(() => Effect.sync(() => processes.forEach(({ child }) => child.kill("SIGKILL"))))
      const linesOf = (role: Role) =>
        processes.filter((one) => one.role === role).reduce((sum, { lines }) => sum + lines.length, 0)
      for (let kill = 0; kill < kills; kill++) {
        const role = (["replicator", "replicator", "journaler", "replicator", "writer"] as const)[kill % 5]!
        // Something was written, and something has come to the replicas, since the last one.
        yield* until(Effect.sync(() => linesOf("writer") >= 20 && linesOf("replicator") >= 3))
        const which = roles.indexOf(role) + (yield* Random.nextIntBetween(0, 2, { halfOpen: true }))
        const { child, ended } = processes[which]!
        child.kill("SIGKILL")
        yield* Effect.promise(() => ended)
        for (const { lines } of processes) lines.length = 0
        processes[which] = launch(role)
      }
      // Those who write are killed; who replicates goes on.
      for (const { child, ended, role } of processes) {
        if (role !== "writer") continue
        child.kill("SIGKILL")
        yield* Effect.promise(() => ended)
      }

      const { journal, journaled } = yield* Database.Database
      yield* journal.catchUp(journaled, { nobodyWrites: true })
      const replicas = yield* replicasOf(folder, false)
      for (const { caughtUp, deadLetters } of [replicas.table, replicas.copy]) {
        yield* caughtUp
        assert.deepStrictEqual(yield* Stream.runCollect(deadLetters), [])
      }
      const sources = yield* sourcesOf
      const copy = yield* Layer.build(databaseOn(join(folder, "copy")))
      const copied = Effect.provideContext(sourcesOf, copy)
      // Listings are compared once more after the last write.
      yield* until(Effect.map(copied, ({ silent }) => Equal.equals(silent, sources.silent)))
      yield* until(Effect.map(rowsOf("silent"), (rows) => Equal.equals(rows, sources.silent)))
      for (const name of names) {
        assert.isAbove(Object.keys(sources[name]).length, 5)
        assertSame(yield* rowsOf(name), sources[name])
      }
      assertSame(yield* copied, sources)
    }).pipe(Effect.provide(databaseOn(join(folder, "data"))), Effect.scoped)
  )
})
