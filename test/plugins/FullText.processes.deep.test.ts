/** Writers, journalers and indexers of one folder, killed at random, while documents are looked for. */
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
import { Asking, databaseOn, Notes } from "./fixtures/fullTextProcess.ts"
import { idsOf } from "./searches.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-full-text-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/fullTextProcess.ts", import.meta.url))
type Role = "indexer" | "journaler" | "writer"
let launched = 0

const launch = (role: Role, onLine: () => void) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, role, `${role}-${launched++}`]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] })
  child.stdout.on("data", (chunk: Buffer) => chunk.toString("utf8").split("\n").slice(1).forEach(onLine))
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { role, child, ended }
}

const kills = 8

describe("FullText between processes", () => {
  it.live(
    "finds what is committed and nothing that is gone, while processes are killed, and is what the documents are in the end",
    () =>
      Effect.gen(function* () {
        const notes = yield* Notes
        const index = yield* Asking
        const { journal, journaled } = yield* Database.Database
        let lines = 0
        const onLine = () => void (lines += 1)
        const roles: ReadonlyArray<Role> = ["writer", "writer", "journaler", "journaler", "indexer", "indexer"]
        let processes = roles.map((role) => launch(role, onLine))
        const mine = new Set<string>()
        const look = Effect.gen(function* () {
          const found = yield* index.search({ query: "sentinel", limit: 1_000, consistent: true })
          assert.deepStrictEqual(idsOf(found).toSorted(), [...mine].toSorted())
          const known = yield* index.search({ query: "sentinel", limit: 1_000 })
          for (const id of idsOf(known)) assert.isTrue(mine.has(id), id)
        })
        while ((yield* Effect.exit(index.status))._tag === "Failure" || (yield* index.status).documents === 0) {
          yield* Effect.sleep("50 millis")
        }
        for (let kill = 0; kill < kills; kill++) {
          const before = { lines, position: (yield* index.status).position }
          yield* notes.insert({ id: `s${kill}`, text: "sentinel" })
          mine.add(`s${kill}`)
          yield* look
          if (kill % 3 === 2) {
            yield* notes.delete(`s${kill - 1}`)
            mine.delete(`s${kill - 1}`)
            yield* look
          }
          // Something was written, and something came into the index, since the last one.
          while (lines < before.lines + 20 || (yield* index.status).position < before.position + 10) {
            yield* look
            yield* Effect.sleep("20 millis")
          }
          const role = (["indexer", "indexer", "journaler", "indexer", "writer"] as const)[kill % 5]!
          const which = roles.indexOf(role) + (yield* Random.nextIntBetween(0, 2, { halfOpen: true }))
          const gone = processes[which]!
          gone.child.kill("SIGKILL")
          yield* Effect.promise(() => gone.ended)
          processes = processes.map((one, i) => (i === which ? launch(role, onLine) : one))
          yield* look
        }
        for (const { child } of processes) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))

        yield* journal.catchUp(journaled, { nobodyWrites: true })
        yield* index.update
        assert.deepStrictEqual(yield* Stream.runCollect(index.verify), [])
        const there = yield* Stream.runCollect(notes.scan())
        const apples = there.filter(({ text }) => text.includes("apple")).map(({ id }) => id)
        assert.isAbove(apples.length, 0)
        assert.deepStrictEqual(
          idsOf(yield* index.search({ query: "apple", limit: 1_000 })).toSorted(),
          apples.toSorted()
        )
        const { documents, journal: next, position } = yield* index.status
        assert.strictEqual(documents, there.length)
        assert.strictEqual(position, next)
        yield* look
      }).pipe(Effect.provide(Asking.layer.pipe(Layer.provideMerge(databaseOn(folder)))))
  )
})
