/** Three processes that add to the same counters, and are killed while they do. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { describeWithGateway } from "../services/available.ts"
import { until } from "../waiting.ts"
import { balance, processOn, visits } from "./counters.ts"
import { storeAt } from "./queueStores.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-counters-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/counterProcess.ts", import.meta.url))

interface Seen {
  sent: number
  acknowledged: number
}

const launch = (location: string, seen: Seen) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, location, "300"]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) {
      const [what, count] = line.split(" ")
      if (what === "sent") seen.sent += Number(count)
      if (what === "acked") seen.acknowledged += Number(count)
    }
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

/** Three processes at a time; one after the other is killed, and another one begins. */
const survives = (location: string, { each, kills }: { readonly each: number; readonly kills: number }) =>
  Effect.gen(function* () {
    const { counters, wallets } = yield* processOn(yield* ObjectStore)
    const ids = ["w0", "w1", "w2"]
    yield* wallets.insertMany(ids.map((id) => ({ id })))
    const seen: Seen = { sent: 0, acknowledged: 0 }
    const all = [1, 2, 3].map(() => launch(location, seen))
    for (let killed = 0; killed < kills; killed++) {
      const next = seen.acknowledged + each
      yield* until("some more are acknowledged", () => seen.acknowledged >= next, { every: 20, within: 120_000 })
      all[killed]!.child.kill("SIGKILL")
      all.push(launch(location, seen))
    }
    for (const { child } of all) child.kill("SIGKILL")
    yield* Effect.promise(() => Promise.all(all.map(({ ended }) => ended)))
    const exact = Effect.gen(function* () {
      const values = yield* Effect.forEach(ids, (id) => counters.read(balance, id, { pending: true }))
      return values.reduce((sum, one) => sum + one, 0) + (yield* counters.read(visits, "w0", { pending: true }))
    })
    const pending = yield* exact
    yield* counters.foldAll
    const sums = yield* Effect.forEach(ids, (id) => counters.read(balance, id))
    const value = sums.reduce((sum, one) => sum + one, 0) + (yield* counters.read(visits, "w0"))
    assert.strictEqual(value, pending)
    assert.isAtLeast(value, seen.acknowledged)
    assert.isAtMost(value, seen.sent)
    assert.isAtLeast(seen.acknowledged, each * kills)
    const to = Date.now() + 86_400_000
    for (const [counter, expected] of [
      [balance, sums.reduce((sum, one) => sum + one, 0)],
      [visits, yield* counters.read(visits, "w0")]
    ] as const) {
      const years = yield* counters.analytics(counter, { from: 0, to, by: "year", fillGaps: false })
      assert.strictEqual(
        years.reduce((sum, { total }) => sum + total, 0),
        expected
      )
    }
  }).pipe(Effect.provide(storeAt(location)))

describe("EventualConsistency between processes", () => {
  it.live(
    "counts each operation once while processes are killed",
    () => survives(folder, { kills: 2, each: 60 }),
    300_000
  )
})

describeWithGateway("EventualConsistency on Ceph's gateway", () => {
  it.live(
    "counts each operation once while processes are killed",
    () => survives(`gateway:counters-${performance.timeOrigin}`, { kills: 2, each: 60 }),
    300_000
  )
})
