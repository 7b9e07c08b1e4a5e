/** Changes from a database through a server into another, by processes that are killed, as the server is. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import { Copied, copyOn, replicatorOf, sourceOn, Things } from "./replicaQueueProcess.ts"

const fixture = fileURLToPath(new URL("./replicaQueueProcess.ts", import.meta.url))
type Role = "consumer" | "replicator"

const launch = (folder: string, role: Role, url: string) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, url, role]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const told = { lines: 0 }
  child.stdout.on("data", (chunk: Buffer) => (told.lines += chunk.toString("utf8").split("\n").length - 1))
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { role, child, told, ended }
}

/** Waits for what processes do. What never comes is what the time limit of the test is for. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    while (!(yield* condition)) yield* Effect.sleep("50 millis")
  })

/** A server that keeps what it has taken, and is killed and started again. */
export interface Server {
  readonly url: string
  readonly restarted: Effect.Effect<void>
}

/** So many changes come through a server, with everybody killed. Both databases are equal at the end. */
export const roundTrip = (server: Server, changes: number) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-replica-queue-"))),
    (folder) =>
      Effect.gen(function* () {
        const roles: ReadonlyArray<Role> = ["replicator", "replicator", "consumer", "consumer"]
        const processes = roles.map((role) => launch(folder, role, server.url))
        yield* Effect.addFinalizer(() => Effect.sync(() => processes.forEach(({ child }) => child.kill("SIGKILL"))))

        const things = yield* Things
        const { journal, journaled } = yield* Database.Database
        const state = { written: 0, kills: 0 }
        const write = Effect.fnUntraced(function* (at: number) {
          const id = `d${(at * 7919) % (changes / 4)}`
          if (at % 6 === 5) yield* Effect.ignore(things.delete(id))
          else yield* things.replace({ id, n: at, text: `ä ${at}` })
          state.written += 1
        })
        const writing = Effect.forEach(
          Array.from({ length: changes }, (_, at) => at),
          write,
          { concurrency: 4, discard: true }
        )

        const told = (role: Role) =>
          Effect.sync(() => processes.some((one) => one.role === role && one.told.lines >= 2))
        const killing = Effect.gen(function* () {
          while (state.kills < 8) {
            const role = roles[state.kills % roles.length]!
            // Each time after it has got on.
            yield* until(told(role))
            const which = roles.indexOf(role) + (yield* Random.nextIntBetween(0, 2, { halfOpen: true }))
            processes[which]!.child.kill("SIGKILL")
            yield* Effect.promise(() => processes[which]!.ended)
            if (state.kills % 4 === 3) yield* server.restarted
            for (const one of processes) one.told.lines = 0
            processes[which] = launch(folder, role, server.url)
            state.kills += 1
          }
        })
        yield* Effect.all([writing, killing], { concurrency: 2 })
        assert.strictEqual(state.written, changes)

        yield* journal.catchUp(journaled, { nobodyWrites: true })
        const replicator = yield* replicatorOf({ name: "none", publish: () => Effect.void }, false)
        yield* replicator.caughtUp
        assert.deepStrictEqual(yield* Stream.runCollect(replicator.deadLetters), [])

        const contents = (
          all: Stream.Stream<{ readonly id: string; readonly n: number; readonly text: string }, unknown>
        ) =>
          Effect.map(Stream.runCollect(all), (found) =>
            Object.fromEntries(found.map(({ id, n, text }) => [id, `${n} ${text}`]))
          )
        const expected = yield* contents(things.scan())
        assert.isAbove(Object.keys(expected).length, changes / 8)
        const copy = yield* Effect.provideContext(Copied, yield* Layer.build(copyOn(folder)))
        yield* until(Effect.map(contents(copy.scan()), (found) => Equal.equals(found, expected)))
      }).pipe(Effect.provide(sourceOn(folder)), Effect.scoped),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
