/** Several processes on one folder, some of which are killed. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"

const root = mkdtempSync(join(tmpdir(), "effect-s3db-processes-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/fileWriter.ts", import.meta.url))

interface Writer {
  readonly child: ChildProcess
  readonly ended: Promise<void>
}

/** Starts a writer; each line it tells is handed on. */
const start = (args: ReadonlyArray<string>, onLine: (line: string) => void): Writer => {
  const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", fixture, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    lines.forEach(onLine)
  })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { child, ended }
}

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** Lets some processes count one object up, a number of times each. */
export const count = (processes: number, times: number) =>
  it.live(`${processes} processes counting one object up lose no increment`, () =>
    Effect.gen(function* () {
      const folder = join(root, "count")
      const writers = Array.from({ length: processes }, (_, i) =>
        start([folder, "none", String(i), String(i + 1), "count", String(times)], () => {})
      )
      yield* Effect.promise(() => Promise.all(writers.map((writer) => writer.ended)))
      const store = yield* FileStore.make({ path: folder })
      const object = yield* store.get("counter")
      assert.strictEqual(object.metadata["n"], String(processes * times))
    })
  )

/** Lets some processes create the same keys. */
export const create = (processes: number, keys: number) =>
  it.live(`of ${processes} processes creating the same ${keys} keys one wins each`, () =>
    Effect.gen(function* () {
      const folder = join(root, "create")
      const winners = new Map<string, Array<string>>()
      const writers = Array.from({ length: processes }, (_, i) =>
        start([folder, "none", String(i), String(i + 1), "create", String(keys)], (line) => {
          const won = /^won (\d+)$/.exec(line)?.[1]
          if (won !== undefined) winners.set(won, [...(winners.get(won) ?? []), String(i)])
        })
      )
      yield* Effect.promise(() => Promise.all(writers.map((writer) => writer.ended)))
      const store = yield* FileStore.make({ path: folder })
      for (let i = 0; i < keys; i++) {
        const { body } = yield* store.get(`once/${i}`)
        assert.deepStrictEqual(winners.get(String(i)), [new TextDecoder().decode(body)])
      }
    })
  )

/** Kills writers at random moments, three of which are at work at once. */
export const kill = (durability: "none" | "fsync", kills: number) =>
  it.live(
    `${kills} kills at random moments leave every object whole and every acknowledged write in place (${durability})`,
    () =>
      Effect.gen(function* () {
        const folder = join(root, `kill-${durability}`)
        const acknowledged = new Map<string, number>()
        // The last thing each writer said of a key of its own; undefined while an answer is outstanding.
        const own = new Map<string, boolean | undefined>()
        let killed = 0
        let counted = 0
        const hear = (line: string): void => {
          const [what = "", key = "", n = "0"] = line.split(" ")
          if (what === "counted") {
            counted += 1
            acknowledged.set(key, Math.max(acknowledged.get(key) ?? 0, Number(n)))
          } else if (what === "created") own.set(key, true)
          else if (what === "deleted") own.set(key, false)
          else if (what === "creating" || what === "deleting") own.set(key, undefined)
        }
        const lane = (writer: number): Promise<void> => {
          if (killed >= kills) return Promise.resolve()
          killed += 1
          const opened = Promise.withResolvers<void>()
          const wrote = Promise.withResolvers<void>()
          const running = start([folder, durability, String(writer), String(killed), "chaos"], (line) => {
            if (line === "open") return opened.resolve()
            if (line.startsWith("counted")) wrote.resolve()
            hear(line)
          })
          // Some die while they open the store, most while they write; of these, some have written for certain.
          const begun = killed % 3 === 1 ? wrote.promise : opened.promise
          const doomed = killed % 10 === 0 ? sleep(60 + (killed % 90)) : begun.then(() => sleep((killed * 37) % 120))
          return doomed.then(() => {
            running.child.kill("SIGKILL")
            return running.ended.then(() => lane(writer))
          })
        }
        yield* Effect.promise(() => Promise.all([0, 1, 2].map(lane)))

        const store = yield* FileStore.make({ path: folder })
        // Sessions of the dead are gone, and so are their temporary files.
        const left = readdirSync(join(folder, "tmp"))
        assert.strictEqual(left.length, 2, left.join(" "))
        assert.isTrue(left.every((name) => existsSync(join(folder, "tmp", name))))

        const page = yield* store.list()
        const listed = page.entries.map((entry) => entry.key)
        for (const key of listed) {
          const object = yield* store.get(key)
          const value = JSON.parse(new TextDecoder().decode(object.body)) as { readonly n: number }
          if (key.startsWith("count/")) {
            assert.strictEqual(object.metadata["n"], String(value.n))
            assert.isAtLeast(value.n, acknowledged.get(key) ?? 0)
          }
        }
        assert.isAbove(acknowledged.size, 0)
        for (const key of acknowledged.keys()) assert.include(listed, key)
        for (const [key, there] of own) {
          if (there !== undefined) assert.strictEqual(listed.includes(key), there, key)
        }
        yield* Effect.sync(() =>
          process.stdout.write(
            `${durability}: ${killed} kills, ${counted} acknowledged increments, ${listed.length} objects, none torn or lost\n`
          )
        )
        assert.strictEqual(killed, kills)
      })
  )
