/** Writers, journalers and those who follow the journal into the audit trail of one folder, killed at random. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Audit from "effect-s3db/plugins/Audit"
import { databaseOn, Notes, Trail } from "./fixtures/auditProcess.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-audit-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/auditProcess.ts", import.meta.url))
type Role = "journaler" | "trail" | "writer"
let launched = 0

const launch = (role: Role, onLine: (user: string, line: string) => void) => {
  const user = `${role}-${launched++}`
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, role, user]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) if (role === "writer") onLine(user, line)
  })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { role, child, ended }
}

const kills = 8

describe("Audit between processes", () => {
  it.live(
    "the trail is complete and in order, its chain fits, and nothing is in it twice, while processes are killed",
    () =>
      Effect.gen(function* () {
        const notes = yield* Notes
        const audit = yield* Audit.Audit
        const { journal, journaled } = yield* Database.Database
        /** What each writer was told, in its order. */
        const told = new Map<string, Array<string>>()
        let lines = 0
        const onLine = (user: string, line: string) => {
          lines += 1
          told.set(user, [...(told.get(user) ?? []), line])
        }
        const roles: ReadonlyArray<Role> = ["writer", "writer", "journaler", "journaler", "trail", "trail"]
        let processes = roles.map((role) => launch(role, onLine))
        const killed = new Map<Role, number>()
        for (let kill = 0; kill < kills; kill++) {
          // Something was written, and something came into the trail, since the last one.
          const before = { lines, next: (yield* audit.status).next }
          while (lines < before.lines + 20 || (yield* audit.status).next < before.next + 10) {
            yield* Effect.sleep("20 millis")
          }
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 100))
          // Each role in turn, and which of the two by chance.
          const role = (["trail", "journaler", "writer"] as const)[kill % 3]!
          const index = roles.indexOf(role) + (yield* Random.nextIntBetween(0, 2, { halfOpen: true }))
          const gone = processes[index]!
          gone.child.kill("SIGKILL")
          yield* Effect.promise(() => gone.ended)
          killed.set(role, (killed.get(role) ?? 0) + 1)
          processes = processes.map((one, i) => (i === index ? launch(role, onLine) : one))
        }
        for (const { child } of processes) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
        assert.isTrue([...killed.values()].every((count) => count >= Math.floor(kills / 3)) && killed.size === 3)

        // What is left is brought in.
        yield* journal.catchUp(journaled, { nobodyWrites: true })
        yield* audit.caughtUp
        const entries = yield* Stream.runCollect(audit.query())
        const records = yield* Stream.runCollect(journal.read({ from: 0 }))
        assert.isAbove(entries.length, kills * 10)

        // Complete, in the order of the journal, nothing twice.
        assert.deepStrictEqual(
          entries.map(({ journal, writeId }) => [journal, writeId]),
          records.map(({ position, value }) => [position, value.writeId])
        )
        assert.strictEqual(new Set(entries.map(({ writeId }) => writeId)).size, entries.length)
        assert.deepStrictEqual(
          entries.map(({ position }) => position),
          entries.map((_, i) => i)
        )
        const verified = yield* audit.verify(yield* audit.status)
        assert.deepStrictEqual([verified.first, verified.next], [0, entries.length])

        // In the order of the versions of each document, to the one that is there.
        for (const [id, mine] of Map.groupBy(entries, ({ id }) => id)) {
          for (const [i, entry] of mine.entries()) {
            if (entry.operation !== "insert") assert.deepStrictEqual(entry.before, mine[i - 1]?.after, `${id}, ${i}`)
          }
          const last = mine.at(-1)!
          const n = last.operation === "delete" ? undefined : (yield* notes.fromImage(last, "after")).n
          assert.strictEqual(
            yield* Effect.option(notes.get(id)).pipe(Effect.map((o) => (o._tag === "Some" ? o.value.n : undefined))),
            n
          )
        }

        // All that a writer was told is there, under its name, in its order, once.
        for (const [user, acknowledged] of told) {
          const mine = yield* Effect.forEach(
            entries.filter((entry) => entry.user === user),
            (entry) =>
              entry.operation === "delete"
                ? Effect.succeed(`${entry.id} delete 0`)
                : Effect.map(notes.fromImage(entry, "after"), ({ n }) => `${entry.id} put ${n}`)
          )
          for (const [id, theirs] of Map.groupBy(acknowledged, (line) => line.split(" ")[0]!)) {
            let from = 0
            const inTrail = mine.filter((line) => line.startsWith(`${id} `))
            for (const line of theirs) {
              const at = inTrail.indexOf(line, from)
              assert.isAtLeast(at, 0, `${user} was told ${line}, and the trail does not have it`)
              from = at + 1
            }
          }
        }
        assert.isAbove(lines, kills * 20)
      }).pipe(Effect.provide(Trail.pipe(Layer.provideMerge(databaseOn(folder)))), Random.withSeed("killed")),
    600_000
  )
})
