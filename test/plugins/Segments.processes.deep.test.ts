/**
 * Writers, compactors and one that removes all copies, of one folder, killed at random, while everything is read that may be so old: what
 * is read of each document has to have been there then or later, by what writers have noted of their writes.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Segments from "effect-s3db/plugins/Segments"
import { databaseOn, folderOf, Notes, type Options } from "./fixtures/segmentsProcess.ts"
import * as History from "./segmentsHistory.ts"

const fixture = fileURLToPath(new URL("./fixtures/segmentsProcess.ts", import.meta.url))

type Role = "compactor" | "remover" | "writer"

interface Process {
  readonly role: Role
  readonly options: Omit<Options, "seed">
  /** Once it has done something. */
  readonly begun: Promise<void>
  readonly kill: () => Promise<void>
}

let launched = 0

const launch = (path: string, role: Role, options: Omit<Options, "seed">): Process => {
  const given = JSON.stringify({ ...options, seed: `${role}-${launched++}` } satisfies Options)
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, path, role, given]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  const begun = new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      if (/^(done|written)$/mu.test(chunk.toString("utf8"))) resolve()
    })
  })
  const kill = () => {
    child.kill("SIGKILL")
    return ended
  }
  return { role, options, begun, kill }
}

const documents = 300
const kills = 10
const leastReads = 80
/** So many reads have to have given what one without `maxStaleness` may not give. */
const leastOlder = 8

const hour = 3_600_000

const cases = {
  "two that compact, of which each change makes a segment anew": {
    leastChanges: 1,
    others: [{ role: "compactor", options: { pause: 50 } }]
  },
  "one whose clock is an hour ahead, and one that removes all copies, where few changes are left out": {
    leastChanges: 3,
    others: [
      { role: "compactor", options: { pause: 300, ahead: hour } },
      { role: "remover", options: { pause: 1500 } }
    ]
  }
} as const

describe("Segments between processes", () => {
  for (const [name, { leastChanges, others }] of Object.entries(cases)) {
    it.live(`no document is older than it may be, while processes are killed: ${name}`, () =>
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-segments-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
        )
        const path = join(folder, "store")
        const log = join(folder, "log")
        const sizes = { documentsPerSegment: 20, leastChanges }
        const roles: ReadonlyArray<{ readonly role: Role; readonly options: Omit<Options, "seed"> }> = [
          { role: "writer", options: { log, from: 0, before: documents, pause: 30 } },
          { role: "compactor", options: { pause: 50 } },
          ...others
        ]
        const running = yield* Effect.acquireRelease(
          Effect.sync(() => roles.map(({ options, role }) => launch(path, role, { ...sizes, ...options }))),
          (running) => Effect.promise(() => Promise.all(running.map(({ kill }) => kill())))
        )
        const history = History.make([log], documents)
        const layer = Segments.layer({ resources: [Notes], compact: false, grace: 0, ...sizes })
        yield* Effect.gen(function* () {
          const notes = yield* Notes
          yield* Effect.promise(() => running[0]!.begun)
          const seen = { reads: 0, older: 0, kills: 0, kinds: new Set<string>() }
          const isEnough = () =>
            seen.kills >= kills &&
            seen.reads >= leastReads &&
            seen.older >= leastOlder &&
            seen.kinds.size === Object.keys(History.reads).length
          const reading = Effect.gen(function* () {
            while (!isEnough()) {
              const { isOlder, name, problems } = yield* History.readOnce(notes, history)
              assert.deepStrictEqual(problems, [])
              seen.reads += 1
              if (isOlder) seen.older += 1
              seen.kinds.add(name)
            }
          })
          const killing = Effect.gen(function* () {
            for (; seen.kills < kills; seen.kills++) {
              const which = seen.kills % running.length
              const { begun, kill, options, role } = running[which]!
              yield* Effect.promise(() => begun)
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 300))
              yield* Effect.promise(kill)
              running[which] = launch(path, role, options)
            }
          })
          yield* Effect.all([reading, killing], { concurrency: "unbounded" })
          for (const { kill } of running) yield* Effect.promise(kill)

          const segments = yield* Segments.Segments
          yield* segments.remove("notes")
          yield* segments.compactNow()
          assert.isTrue(Option.isSome(yield* segments.wholeSince("notes")))
          const all = yield* Stream.runCollect(notes.scan())
          assert.deepStrictEqual(yield* Stream.runCollect(notes.scan({ maxStaleness: "Infinity" })), all)
          assert.isAbove(all.length, documents / 4)
        }).pipe(Effect.provide(layer.pipe(Layer.provideMerge(databaseOn(folderOf(path))))))
      }).pipe(Effect.provide(Logger.layer([])))
    )
  }
})
