/** Three processes that send to the same lifts, take from one bounded counter and add to others, and are killed while they do. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { describeWithGateway } from "../services/available.ts"
import { until } from "../waiting.ts"
import * as Counters from "./counters.ts"
import { ids, initial, running } from "./fixtures/machineProcess.ts"
import { problemsOfHistory, processOn, sumOf } from "./machines.ts"
import { storeAt } from "./queueStores.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-lifts-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/machineProcess.ts", import.meta.url))

/** What the processes have said. */
const newSeen = () => ({
  /** By key, the lift that it was sent to. */
  sent: new Map<string, string>(),
  acknowledged: new Map<string, number>(),
  refused: new Set<string>(),
  acted: new Set<string>(),
  problems: [] as Array<string>,
  sums: new Map<string, number>()
})

type Seen = ReturnType<typeof newSeen>

const hear = (seen: Seen, line: string) => {
  const [what = "", one = "", two = "", three = ""] = line.split(" ")
  if (what === "sent") seen.sent.set(one, two)
  else if (what === "acked") seen.acknowledged.set(one, Number(three))
  else if (what === "refused") seen.refused.add(one)
  else if (what === "acted") seen.acted.add(`${one} ${two}`)
  else if (what === "early" || what === "failed") seen.problems.push(line)
  else seen.sums.set(what, (seen.sums.get(what) ?? 0) + (one === "" ? 1 : Number(one)))
}

let launched = 0

const launch = (location: string, seen: Seen) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, location, `p${launched++}`]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) hear(seen, line)
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

/** Three processes at a time; one after the other is killed, and another one begins. */
const survives = (location: string, { each, kills }: { readonly each: number; readonly kills: number }) =>
  Effect.gen(function* () {
    const store = yield* ObjectStore
    const seen = newSeen()
    const quiet = { act: () => Effect.void, guard: () => Effect.void }
    const observer = yield* processOn(store, quiet)
    for (const id of ids) yield* observer.flow.start(id, { sum: 0 })
    const { counters, wallets } = yield* Counters.processOn(store)
    yield* wallets.insertMany([{ id: "w0" }, { id: "w1" }])

    const all = [1, 2, 3].map(() => launch(location, seen))
    for (let killed = 0; killed < kills; killed++) {
      const next = seen.acknowledged.size + each
      yield* until("some more are acknowledged", () => seen.acknowledged.size >= next, { every: 20, within: 120_000 })
      all[killed]!.child.kill("SIGKILL")
      all.push(launch(location, seen))
    }
    for (const { child } of all) child.kill("SIGKILL")
    yield* Effect.promise(() => Promise.all(all.map(({ ended }) => ended)))

    // Somebody goes on with what they have left.
    const acted = new Set(seen.acted)
    const world = {
      guard: () => Effect.void,
      act: ({ action, id, version }: { readonly action: string; readonly id: string; readonly version: number }) =>
        Effect.sync(() => void acted.add(`${id}/${version} ${action}`))
    }
    const { database, flow } = yield* processOn(store, world, { ...running, triggers: false })
    yield* database.journal.catchUp(database.journaled, { lease: "3 seconds" })
    yield* flow.caughtUp
    assert.deepStrictEqual(seen.problems, [])
    assert.deepStrictEqual(yield* Stream.runCollect(flow.failed), [])
    let transitions = 0
    let rings = 0
    for (const id of ids) {
      const past = (yield* Stream.runCollect(flow.history(id))).toReversed()
      assert.deepStrictEqual(problemsOfHistory(id, past), [])
      const { context, version } = yield* flow.get(id)
      assert.strictEqual(past.length, version + 1)
      assert.strictEqual(context.sum, sumOf(past))
      transitions += version
      rings += past.filter(({ event }) => event === "Ring").length
      const keys = new Map(past.map((one) => [one.key, one.version]))
      for (const [key, at] of seen.acknowledged) {
        if (seen.sent.get(key) === id) assert.strictEqual(keys.get(key), at, `${key} of ${id}`)
      }
      for (const key of seen.refused) assert.isFalse(keys.has(key), key)
      for (const { actions, version } of past) {
        for (const action of actions)
          assert.isTrue(acted.has(`${id}/${version} ${action}`), `${id}/${version} ${action}`)
      }
    }
    assert.isAtLeast(transitions, each * kills)
    assert.isAtMost(rings, 2 * (seen.sums.get("called") ?? 0))
    // None for what never was.
    for (const one of acted) {
      const [at = ""] = one.split(" ")
      const [id = "", version = ""] = at.split("/")
      assert.isAtMost(Number(version), (yield* flow.get(id)).version, one)
    }

    const said = (what: string) => seen.sums.get(what) ?? 0
    const stock = yield* counters.bounded("stock", { initial, slots: 3 })
    const left = yield* stock.value
    assert.isAtLeast(left, Math.max(0, initial + said("added") - (said("takes") - said("untaken"))))
    assert.isAtMost(left, initial + said("adds") - said("taken"))
    assert.isAbove(said("taken"), 0)
    yield* counters.foldAll
    const values = yield* Effect.forEach(["w0", "w1"], (id) => counters.read(Counters.balance, id))
    const value = values.reduce((sum, one) => sum + one, 0) + (yield* counters.read(Counters.visits, "w0"))
    assert.isAtLeast(value, said("counted"))
    assert.isAtMost(value, said("counts"))
  }).pipe(Effect.provide(storeAt(location)))

describe("StateMachine between processes", () => {
  it.live(
    "keeps histories without a gap, and runs all actions, while processes are killed",
    () => survives(folder, { kills: 3, each: 25 }),
    600_000
  )
})

describeWithGateway("StateMachine on Ceph's gateway", () => {
  it.live(
    "keeps histories without a gap, and runs all actions, while processes are killed",
    () => survives(`gateway:lifts-${performance.timeOrigin}`, { kills: 2, each: 12 }),
    600_000
  )
})
