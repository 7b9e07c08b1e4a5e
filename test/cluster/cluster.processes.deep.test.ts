/** Processes of a cluster on one folder, that are killed, and stand still, while they send and handle messages. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as EntityAddress from "effect/cluster/EntityAddress"
import * as EntityId from "effect/cluster/EntityId"
import * as MessageStorage from "effect/cluster/MessageStorage"
import * as Sharding from "effect/cluster/Sharding"
import type * as Snowflake from "effect/cluster/Snowflake"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FileStore from "effect-s3db/storage/FileStore"
import { keysOf } from "../fixture.ts"
import { clusterAt, entityOf, Notes, Write } from "./fixtures/notes.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-cluster-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/clusterProcess.ts", import.meta.url))

/** What was told, by key. */
interface Told {
  readonly sent: Set<string>
  readonly handled: Map<string, Set<string>>
  readonly answers: Map<string, Set<string>>
}

const add = (all: Map<string, Set<string>>, key: string, one: string) => {
  const some = all.get(key) ?? new Set()
  all.set(key, some.add(one))
}

const launch = (name: string, port: number, sends: boolean, told: Told) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, name, String(port), String(sends)]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  let lines = 0
  child.stdout.on("data", (chunk: Buffer) => {
    const complete = (rest + chunk.toString("utf8")).split("\n")
    rest = complete.pop() ?? ""
    for (const line of complete) {
      const [what = "", key = "", text = ""] = line.split(" ")
      lines += 1
      if (what === "sent") told.sent.add(key)
      else if (what === "handled") add(told.handled, key, text)
      else if (what === "answer") add(told.answers, key, text)
    }
  })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { child, ended, port, lines: () => lines }
}

const until = (isSo: () => boolean) =>
  Effect.gen(function* () {
    while (!isSo()) yield* Effect.sleep("50 millis")
  }).pipe(Effect.timeout("300 seconds"), Effect.orDie)

const waves = 24
const runners = 4
const random = (below: number) => Math.floor(Math.random() * below)

describe("a cluster between processes", () => {
  it.live(
    "loses no message that was saved, and tells each its one answer, while processes are killed and stand still",
    () =>
      Effect.gen(function* () {
        const told: Told = { sent: new Set(), handled: new Map(), answers: new Map() }
        let ports = 40_000
        const processes = Array.from({ length: runners }, (_, i) => launch(`p${i}`, ports++, true, told))
        const all = [...processes]
        // Whatever comes of it, none is left.
        yield* Effect.addFinalizer(() => Effect.sync(() => all.forEach(({ child }) => child.kill("SIGKILL"))))
        let kills = 0
        let pauses = 0
        for (let wave = 0; wave < waves; wave++) {
          const at = random(runners)
          const victim = processes[at]!
          // It is at work, not only starting: it has told something, and is killed at any moment after that.
          yield* until(() => victim.lines() > 0 || victim.child.exitCode !== null)
          assert.isNull(victim.child.exitCode, "a process ended by itself")
          yield* Effect.sleep(random(1000))
          if (wave % 6 === 5) {
            // Longer than its locks hold: others handle what it was about to answer, and it goes on.
            const still = processes[(at + 1) % runners]!
            still.child.kill("SIGSTOP")
            yield* Effect.sleep("4 seconds")
            still.child.kill("SIGCONT")
            pauses += 1
          }
          victim.child.kill("SIGKILL")
          yield* Effect.promise(() => victim.ended)
          kills += 1
          // As a container that is started again has the address of the one before, or another.
          const port = wave % 2 === 0 ? victim.port : ports++
          processes[at] = launch(`k${wave}`, port, true, told)
          all.push(processes[at])
        }
        yield* until(() => processes.every(({ lines }) => lines() > 0) && told.sent.size >= 100)
        // The senders are gone; those that come only handle.
        for (const { child } of processes) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(all.map(({ ended }) => ended)))
        kills += runners
        const last = [launch("l0", ports++, false, told), launch("l1", ports++, false, told)]
        all.push(...last)

        yield* Effect.gen(function* () {
          const storage = yield* MessageStorage.MessageStorage
          const sharding = yield* Sharding.Sharding
          const client = yield* Notes.client
          const requestOf = (key: string) => {
            const entityId = EntityId.make(entityOf(key))
            const shardId = sharding.getShardId(entityId, "default")
            const address = new EntityAddress.EntityAddress({ shardId, entityType: Notes.type, entityId })
            return storage.requestIdForPrimaryKey({ address, tag: Write._tag, id: key })
          }
          const ids = new Map<string, Snowflake.Snowflake>()
          for (const key of told.sent) {
            const id = yield* requestOf(key)
            assert.isTrue(Option.isSome(id), `${key} was saved, and is lost`)
            ids.set(key, Option.getOrThrow(id))
          }
          // What was saved is handled without being sent again.
          const isAnswered = Effect.map(storage.repliesForUnfiltered(ids.values()), (replies) => {
            const exits = replies.filter(({ _tag }) => _tag === "WithExit")
            assert.strictEqual(new Set(exits.map(({ requestId }) => requestId)).size, exits.length, "two exits")
            return exits.length === ids.size
          })
          while (!(yield* isAnswered)) yield* Effect.sleep("500 millis")
          yield* Effect.forEach(
            told.sent,
            (key) => Effect.map(client(entityOf(key)).Write({ key }), (answer) => add(told.answers, key, answer)),
            { concurrency: 16, discard: true }
          )
        }).pipe(Effect.timeout("300 seconds"), Effect.provide(clusterAt(folder, undefined)))

        for (const { child } of last) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(last.map(({ ended }) => ended)))
        for (const [key, answers] of told.answers) {
          assert.strictEqual(answers.size, 1, `${key} was answered by ${[...answers].join(" and ")}`)
          for (const answer of answers)
            assert.isTrue(told.handled.get(key)?.has(answer), `the answer of ${key} was made up`)
        }
        const handled = [...told.handled.values()].reduce((sum, { size }) => sum + size, 0)
        console.log(`${kills} kills, ${pauses} pauses, ${told.sent.size} messages saved, ${handled} times handled`)
        assert.isAtLeast(kills, 20)
        assert.isAtLeast(told.sent.size, 100)
        const store = yield* FileStore.make({ path: folder, durability: "none" })
        assert.isNotEmpty(yield* keysOf(store, "plugin=cluster/requests/"))
      }).pipe(Effect.scoped),
    600_000
  )
})
