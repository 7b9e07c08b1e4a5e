/** Backups taken, pruned and restored by processes that are killed, beside each other, of a database that two others write to. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as FileStore from "effect-s3db/storage/FileStore"
import { Accounts, accounts, backupsOf, balance, databaseOn } from "./fixtures/backupProcess.ts"

const [folder, together] = [1, 2].map(() => mkdtempSync(join(tmpdir(), "effect-s3db-backup-"))) as [string, string]
afterAll(() => [folder, together].forEach((path) => rmSync(path, { recursive: true, force: true })))

const fixture = fileURLToPath(new URL("./fixtures/backupProcess.ts", import.meta.url))

type Role = "backup" | "prune" | "restore" | "restoreOldest" | "writer"

const launch = (role: Role, target = "", of = folder) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, of, role, target]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const lines: Array<string> = []
  child.stdout.on("data", (chunk: Buffer) => lines.push(...chunk.toString("utf8").trim().split("\n")))
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
  return { child, lines, ended }
}

/** Waits for what a process does. What never comes is what the time limit of the test is for. */
const until = (condition: () => boolean) =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep("10 millis")
  })

const sumIn = (path: string) =>
  Effect.gen(function* () {
    const { repairTransactions } = yield* Database.Database
    yield* Stream.runDrain(repairTransactions({ dryRun: false, graceMillis: 0 }))
    const all = yield* Stream.runCollect((yield* Accounts).scan())
    return { documents: all.length, sum: all.reduce((total, one) => total + one.balance, 0) }
  }).pipe(Effect.provide(databaseOn(path)), Effect.scoped)

describe("backups between processes", () => {
  it.live("are whole or not there, and what is of one instant has every transaction whole", () =>
    Effect.gen(function* () {
      const data = join(folder, "data")
      yield* Effect.gen(function* () {
        const repository = yield* Accounts
        for (let at = 0; at < accounts; at++) yield* repository.insert({ id: `a${at}`, balance })
      }).pipe(Effect.provide(databaseOn(data)), Effect.scoped)

      const told: Array<string> = []
      const writers = [launch("writer"), launch("writer")]
      for (let kill = 0; kill < 7; kill++) {
        const two = [launch("backup"), launch("backup")]
        const begun = yield* Random.nextIntBetween(0, 4)
        yield* until(() => two.reduce((sum, { lines }) => sum + lines.length, 0) >= begun)
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 400))
        for (const { child } of two) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(two.map(({ ended }) => ended)))
        told.push(...two.flatMap(({ lines }) => lines))
      }
      assert.isAbove(told.length, 3)
      for (const { child, lines } of writers) {
        assert.isAbove(lines.length, 20)
        child.kill("SIGKILL")
      }
      yield* Effect.promise(() => Promise.all(writers.map(({ ended }) => ended)))

      const backups = yield* backupsOf(folder)
      const last = yield* backups.create()
      assert.isTrue(last.isInstant)
      let instants = 0
      for (const { id, isInstant } of yield* backups.list) {
        assert.deepStrictEqual((yield* backups.verify(id)).problems, [], id)
        if (!isInstant) continue
        instants += 1
        const target = join(folder, `target-${id}`)
        yield* backups.restore(id, { target: yield* FileStore.make({ path: target, durability: "none" }) })
        assert.deepStrictEqual(yield* sumIn(target), { documents: accounts, sum: accounts * balance }, id)
      }
      assert.isAtLeast(instants, 1)

      // A restoration over another state, killed at any moment, and begun again.
      const target = join(folder, "restored")
      yield* sumIn(target)
      for (let kill = 0; kill < 5; kill++) {
        const one = launch("restore", target)
        yield* until(() => one.lines.length > 0)
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 60))
        one.child.kill("SIGKILL")
        yield* Effect.promise(() => one.ended)
      }
      const whole = launch("restore", target)
      assert.strictEqual(yield* Effect.promise(() => whole.ended), 0)
      assert.strictEqual(whole.lines.at(-1), last.id)
      assert.deepStrictEqual(yield* sumIn(target), yield* sumIn(data))
    }).pipe(Effect.scoped)
  )

  it.live("share a vault with who prunes and who restores, all of them killed: nothing that is used is gone", () =>
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const repository = yield* Accounts
        for (let at = 0; at < accounts; at++) yield* repository.insert({ id: `a${at}`, balance })
      }).pipe(Effect.provide(databaseOn(join(together, "data"))), Effect.scoped)
      const writer = launch("writer", "", together)
      const told: Array<string> = []
      for (let kill = 0; kill < 5; kill++) {
        const roles = ["backup", "backup", "prune", "restoreOldest"] as const
        const all = roles.map((role) => launch(role, join(together, `targets-${kill}`), together))
        yield* until(() => all.every(({ lines }) => lines.length > 2))
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 2500))
        // One after the other, so that what each has left meets the others.
        for (const { child, ended } of all) {
          child.kill("SIGKILL")
          yield* Effect.promise(() => ended)
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 50))
        }
        told.push(...all.flatMap(({ lines }) => lines))
      }
      writer.child.kill("SIGKILL")
      yield* Effect.promise(() => writer.ended)
      assert.isTrue(told.some((line) => /^pruned [1-9]/.test(line)))
      const restored = told.flatMap((line) => {
        const [end = "", isInstant = "", path = ""] = line.split(" ")
        if (path === "") return []
        assert.include(["restored", "NoSuchBackup"], end, line)
        return end === "restored" ? [{ isInstant: isInstant === "true", path }] : []
      })
      assert.isAbove(restored.length, 5)
      for (const { isInstant, path } of restored) {
        if (isInstant)
          assert.deepStrictEqual(yield* sumIn(path), { documents: accounts, sum: accounts * balance }, path)
      }
      const backups = yield* backupsOf(together)
      const last = yield* backups.create()
      assert.isTrue(last.isInstant)
      for (const { id } of yield* backups.list) assert.deepStrictEqual((yield* backups.verify(id)).problems, [], id)
    }).pipe(Effect.scoped)
  )
})
