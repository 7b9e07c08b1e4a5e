/** What the journal must hold on every store, and between processes of which many are killed. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Journal from "effect-s3db/kernel/Journal"
import * as FileStore from "effect-s3db/storage/FileStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { newFolder } from "./contention.ts"
import { chainProblems, documents, headsOf, quick, write } from "./journalWriter.ts"

type Store = ObjectStore["Service"]

const range = (length: number) => Array.from({ length }, (_, i) => i)

/** All that there is, journaled; the chain of each document, and that of the hashes. */
const checked = Effect.fnUntraced(function* (store: Store, deletesOnCondition: boolean) {
  const { catchUp, read, verify } = yield* Journal.make(store)
  yield* catchUp(documents(store, deletesOnCondition), { lease: "400 millis" })
  const entries = yield* Stream.runCollect(read())
  assert.deepStrictEqual(chainProblems(entries, yield* headsOf(store)), [])
  assert.strictEqual((yield* verify()).next, entries.length)
  return entries
})

/** Registers the suite of a store, on which nothing is. */
export const suite = (
  name: string,
  open: Effect.Effect<Store, unknown, Scope.Scope>,
  deletesOnCondition: boolean,
  writes = 25
): void => {
  describe(`the journal on ${name}`, () => {
    it.live("three processes write and journal at once", () =>
      Effect.gen(function* () {
        const store = yield* open
        const port = documents(store, deletesOnCondition)
        const journals = yield* Effect.forEach(range(3), () => Journal.make(store))
        const running = yield* Effect.forEach(journals, ({ run }) => Effect.forkChild(run(port, quick)))
        const told: Array<string> = []
        yield* Effect.forEach(
          journals,
          ({ client }, by) =>
            Effect.forEach(range(writes), (n) =>
              write(store, client, `d${(n * 7 + by) % 6}`, {
                kind: (n + by) % 5 === 4 ? "delete" : "put",
                ...(by === 1 ? { detail: { after: { n } } } : {})
              }).pipe(Effect.tap((id) => Effect.sync(() => (id === undefined ? 0 : told.push(id)))))
            ),
          { concurrency: "unbounded" }
        )
        for (const fiber of running) yield* Fiber.interrupt(fiber)
        const entries = yield* checked(store, deletesOnCondition)
        assert.deepStrictEqual(new Set(entries.map(({ value }) => value.writeId)), new Set(told))
        assert.isAbove(told.length, 2 * writes)
      })
    )
  })
}

const worker = fileURLToPath(new URL("./fixtures/journalWorker.ts", import.meta.url))

/** Starts a worker; each line that it tells is handed on, with what kills it. */
const start = (args: ReadonlyArray<string>, onLine: (line: string, kill: () => void) => void) => {
  const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", worker, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const whole = (rest + chunk.toString("utf8")).split("\n")
    rest = whole.pop() ?? ""
    for (const line of whole) onLine(line, () => child.kill("SIGKILL"))
  })
  return new Promise<void>((resolve) => child.on("close", () => resolve()))
}

/** Registers the test with processes on a folder, so many of which are killed while they write and journal. */
export const processes = (kills: number): void => {
  describe("the journal between processes", () => {
    it.live(
      `${kills} that write and journal are killed: the journal is whole`,
      () =>
        Effect.gen(function* () {
          const folder = newFolder()
          const told: Array<string> = []
          let killed = 0
          const lane = (): Promise<void> => {
            if (killed >= kills) return Promise.resolve()
            killed += 1
            let left = 5 + ((killed * 7) % 23)
            return start([folder, `${killed}`], (line, kill) => {
              told.push(line)
              left -= 1
              if (left <= 0) kill()
            }).then(lane)
          }
          yield* Effect.promise(() => Promise.all([lane(), lane(), lane()]))
          const store = yield* FileStore.make({ path: folder })
          const entries = yield* checked(store, true)
          const journaled = new Set(entries.map(({ value }) => value.writeId))
          assert.deepStrictEqual(
            told.filter((id) => !journaled.has(id)),
            []
          )
          // Some was committed that could not be told any more.
          assert.isAtLeast(entries.length, told.length)
          assert.isAbove(told.length, 5 * kills)
        }),
      600_000
    )
  })
}
