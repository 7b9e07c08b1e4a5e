/** Imports of much, by processes that are killed, and workbooks of another program. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Importer from "effect-s3db/plugins/Importer"
import * as FileStore from "effect-s3db/storage/FileStore"
import writeExcelFile from "write-excel-file/node"
import { crashing, memory } from "../fixture.ts"
import { fileOf, openedOn, recordsOf } from "./importer.ts"
import { opened } from "./importerProcess.ts"

const worker = fileURLToPath(new URL("./importerProcess.ts", import.meta.url))
const flags = ["--expose-gc", "--conditions=effect-s3db-source", "--no-warnings"]

/** Runs the process, which is killed when it says a line that `kill` takes. */
const running = (args: ReadonlyArray<string>, kill: (line: string) => boolean = () => false) =>
  Effect.callback<{ readonly lines: ReadonlyArray<string>; readonly isKilled: boolean; readonly code: number | null }>(
    (resume) => {
      const child = spawn(process.execPath, [...flags, worker, ...args], { stdio: ["ignore", "pipe", "inherit"] })
      let [text, isKilled] = ["", false]
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString()
        if (isKilled || !text.split("\n").slice(0, -1).some(kill)) return
        isKilled = true
        child.kill("SIGKILL")
      })
      child.on("close", (code) => resume(Effect.succeed({ lines: text.split("\n"), isKilled, code })))
      return Effect.sync(() => void child.kill("SIGKILL"))
    }
  )

const memoryOf = Effect.fnUntraced(function* (megabytes: number) {
  const { code, lines } = yield* running(["memory", String(megabytes)])
  assert.strictEqual(code, 0)
  return JSON.parse(lines.join("\n")) as { readonly heap: number; readonly written: number; readonly perSecond: number }
})

/** Of the larger file; 1024 is what the guide says of 1 GB, and takes a quarter of an hour. */
const megabytes = Number(process.env["S3DB_IMPORT_MEGABYTES"] ?? 40)

describe("Importer, at length", () => {
  it.live(
    `${megabytes} MB of CSV take no more memory than 10 MB`,
    () =>
      Effect.gen(function* () {
        const few = yield* memoryOf(10)
        const many = yield* memoryOf(megabytes)
        assert.isAbove(many.written, few.written * (megabytes / 10) * 0.9)
        assert.isBelow(many.heap, few.heap * 1.5 + 16 * 1_048_576)
      }),
    300_000 + megabytes * 5000
  )

  it.live(
    "a process that is killed again and again: every row once, every reject, and the counts of one run",
    () =>
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "s3db-import-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
        )
        const rows = 4000
        const told = new Set<number>()
        let kills = 0
        let report: Importer.Report | undefined
        for (let at = 1; report === undefined; at++) {
          const { isKilled, lines } = yield* running(["folder", folder, String(rows)], (line) => {
            const { row } = JSON.parse(line) as { readonly row?: number }
            return row !== undefined && row >= at * 600
          })
          for (const line of lines.filter((one) => one.endsWith("}"))) {
            const said = JSON.parse(line) as Importer.Report & { readonly row?: number }
            if (said.row !== undefined) told.add(said.row)
            else if (!isKilled) report = said
          }
          if (isKilled) kills += 1
          assert.isBelow(at, 20)
        }
        assert.isAbove(kills, 4)
        assert.deepStrictEqual([report.rows, report.written, report.rejected], [rows, rows - rows / 50, rows / 50])
        assert.strictEqual(told.size, rows / 50)
        const ids = yield* Effect.gen(function* () {
          const { repository } = yield* opened
          return yield* Stream.runCollect(repository.listIds())
        }).pipe(
          Effect.provide(
            Layer.fresh(Database.layer).pipe(Layer.provide(FileStore.layer({ path: folder, durability: "none" })))
          )
        )
        const wanted = Array.from({ length: rows }, (_, i) => i + 1).filter((row) => row % 50 !== 0)
        assert.deepStrictEqual([...ids].toSorted(), wanted.map((row) => `m${row}`).toSorted())
      }),
    120_000
  )

  it.effect("a crash before and after every request, in every mode, of formats with and without ids", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 10 }, (_, i) => ({
        id: `p${i}`,
        name: i % 4 === 3 ? "x" : `Person ${i}`,
        zip: "01"
      }))
      const files = [
        fileOf("a.ndjson", rows.map((row) => JSON.stringify(row)).join("\n")),
        fileOf("b.json", JSON.stringify(rows.map(({ id: _, ...row }) => row)), 50)
      ]
      for (const file of files) {
        for (const mode of ["insert", "upsert", "replace"] as const) {
          const options = { name: "n", concurrency: 4, mode }
          const reference = yield* openedOn(yield* memory)
          const { report: expected } = yield* reference.told(file, options)
          const documents = yield* reference.all
          for (const when of ["before", "after"] as const) {
            let hasCrashed = true
            for (let at = 3; hasCrashed; at++) {
              const store = yield* memory
              yield* Effect.scoped(openedOn(store))
              const faulty = crashing(store, at, when)
              const exit = yield* Effect.exit(
                Effect.scoped(Effect.flatMap(openedOn(faulty.store), ({ told }) => told(file, options)))
              )
              hasCrashed = Exit.isFailure(exit)
              const next = yield* openedOn(store)
              const { report } = yield* next.told(file, options)
              const what = `${file.name} ${mode} ${when} ${at}`
              assert.deepStrictEqual({ ...report!, resumedAfter: 0 }, { ...expected!, resumedAfter: 0 }, what)
              assert.deepStrictEqual(yield* next.all, documents, what)
            }
          }
        }
      }
    })
  )

  it.live("a workbook of another program", () =>
    Effect.gen(function* () {
      const people = Array.from({ length: 5000 }, (_, i) => ({
        id: `p${i}`,
        name: `Person <${i}> & "others"`,
        zip: String(i).padStart(5, "0"),
        age: i / 4,
        member: i % 2 === 0,
        born: new Date(Date.UTC(2000, 0, 1 + i))
      }))
      const columns = ["id", "name", "zip", "age", "member", "born"] as const
      const header = columns.map((value) => ({ value }))
      const rows = people.map((one) =>
        columns.map((name) => (name === "born" ? { value: one.born, format: "dd.mm.yyyy" } : { value: one[name] }))
      )
      const written = yield* Effect.promise(() => writeExcelFile([header, ...rows]).toBuffer())
      const found = yield* recordsOf(fileOf("people.xlsx", new Uint8Array(written)))
      assert.deepStrictEqual(
        found,
        people.map((one) => ({ ...one, born: one.born.toISOString().slice(0, 10) }))
      )
    })
  )
})
