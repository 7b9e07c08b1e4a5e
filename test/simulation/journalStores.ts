/** The journal of real documents on every store, and between processes of which many are killed. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Document from "effect-s3db/Document"
import * as FileStore from "effect-s3db/storage/FileStore"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import { newFolder } from "../kernel/contention.ts"
import { chainProblems, quick } from "../kernel/journalWriter.ts"
import { journaledOn, randomWrite } from "./journal.ts"

type Store = ObjectStore["Service"]

/** The identities of the versions and the tombstones that there are. */
const headsOf = Effect.fnUntraced(function* (store: Store) {
  const heads = new Map<string, string>()
  for (const resource of ["notes", "plain"]) {
    for (const { key } of yield* Stream.runCollect(listAll(store, { prefix: Document.keyPrefix(resource) }))) {
      const slot = Result.getOrThrow(Document.fromObject(yield* store.get(key)))
      const identity = Document.identityOf(slot.stored ?? slot)
      heads.set(JSON.stringify([resource, decodeURIComponent(key.slice(key.indexOf("id=") + 3))]), identity)
    }
  }
  return heads
})

/** Ends what crashed transactions have left, catches up, and looks at the whole. */
const checked = Effect.fnUntraced(function* (store: Store, leavesRemains: boolean) {
  const { database, notes, plain } = yield* journaledOn(store)
  for (const repository of [notes, plain]) {
    for (const id of ["a", "b", "c", "d"]) yield* repository.upsert({ id, value: `last ${id}`, group: "x" })
  }
  yield* database.journal.catchUp(database.journaled, { lease: "400 millis" })
  const entries = yield* Stream.runCollect(database.journal.read())
  assert.deepStrictEqual(chainProblems(entries, yield* headsOf(store), leavesRemains), [])
  assert.strictEqual((yield* database.journal.verify()).next, entries.length)
  return entries
})

/** Registers the suite of a store, on which nothing is. */
export const suite = (
  name: string,
  open: Effect.Effect<Store, unknown, Scope.Scope>,
  writes: number,
  leavesRemains = false
): void => {
  describe(`the journal of documents on ${name}`, () => {
    it.live(
      "three processes write and journal at once",
      () =>
        Effect.gen(function* () {
          const store = yield* open
          yield* journaledOn(store)
          const clients = yield* Effect.forEach([0, 1, 2], () => journaledOn(store))
          const running = yield* Effect.forEach(clients, ({ database }) =>
            Effect.forkChild(database.journal.run(database.journaled, quick))
          )
          let written = 0
          const one = (client: (typeof clients)[number]) =>
            Effect.tap(Effect.result(randomWrite(client, `v${(written += 1)}`)), (done) =>
              Result.isFailure(done) && done.failure._tag === "DbError" ? Effect.die(done.failure) : Effect.void
            )
          yield* Effect.forEach(
            clients,
            (client) => Effect.forEach(Array.from({ length: writes }), () => one(client)),
            { concurrency: "unbounded" }
          )
          for (const fiber of running) yield* Fiber.interrupt(fiber)
          assert.isAbove((yield* checked(store, leavesRemains)).length, writes)
        }),
      600_000
    )
  })
}

const worker = fileURLToPath(new URL("./journalWorker.ts", import.meta.url))

const start = (folder: string, onLine: (kill: () => void) => void) => {
  const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", worker, folder], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  child.stdout.on("data", () => onLine(() => child.kill("SIGKILL")))
  return new Promise<void>((resolve) => child.on("close", () => resolve()))
}

/** Registers the test with processes on a folder, so many of which are killed while they write and journal. */
export const processes = (kills: number): void => {
  describe("the journal of documents between processes", () => {
    it.live(
      `${kills} that write and journal are killed: the journal is whole`,
      () =>
        Effect.gen(function* () {
          const folder = newFolder()
          yield* Effect.scoped(Effect.flatMap(FileStore.make({ path: folder }), journaledOn))
          let killed = 0
          const lane = (): Promise<void> => {
            if (killed >= kills) return Promise.resolve()
            killed += 1
            let left = 5 + ((killed * 7) % 23)
            return start(folder, (kill) => {
              left -= 1
              if (left <= 0) kill()
            }).then(lane)
          }
          yield* Effect.promise(() => Promise.all([lane(), lane(), lane()]))
          const entries = yield* checked(yield* FileStore.make({ path: folder }), false)
          assert.isAbove(entries.length, 3 * kills)
        }),
      600_000
    )
  })
}
