/** Consumers in two processes at a time, which are killed and take over from each other. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as FileStore from "effect-s3db/storage/FileStore"
import { orders, restingOrders } from "./consumerOrders.ts"
import { newFolder } from "./contention.ts"
import { consumerOf, isPoison, logOf } from "./fixtures/consumerWorker.ts"

const worker = fileURLToPath(new URL("fixtures/consumerWorker.ts", import.meta.url))

const start = (folder: string, onLine: (line: string) => void) => {
  const child = spawn(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", worker, folder], {
    stdio: ["ignore", "pipe", "ignore"]
  })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const whole = (rest + chunk.toString("utf8")).split("\n")
    rest = whole.pop() ?? ""
    for (const line of whole) onLine(line)
  })
  return { kill: () => child.kill("SIGKILL"), ended: new Promise((resolve) => child.on("close", resolve)) }
}

describe("Consumer", () => {
  it.effect("in every order of the requests of two processes, with a pause longer than the lease and a crash", () =>
    Effect.gen(function* () {
      const { schedules, turns } = yield* orders({ crashes: 1 })
      assert.isAbove(schedules, 100)
      assert.isTrue(turns.has("1,2"))
    })
  )

  it.effect("that have given their lease up, and take it again, with a crash", () =>
    Effect.gen(function* () {
      const { schedules, turns } = yield* restingOrders({ crashes: 1, preemptions: 1 })
      assert.isAbove(schedules, 200)
      // One takes over what another has begun with.
      assert.includeMembers([...turns], ["a0 a1 a2 b2", "a0 a1 b2 a2"])
    })
  )

  it.live(
    "of two processes of which one is killed again and again, all entries are handled, and in the order of tokens",
    () =>
      Effect.gen(function* () {
        const folder = newFolder()
        const store = yield* FileStore.make({ path: folder, durability: "none" })
        const total = 600
        const told: Array<readonly [token: number, value: number]> = []
        // What is logged is there, too.
        const onLine = (line: string) => {
          const [, token, value] = /^(\d+) (\d+)$/.exec(line) ?? []
          if (value !== undefined) told.push([Number(token), Number(value)])
        }
        let processes = [start(folder, onLine), start(folder, onLine)]
        const writing = yield* Effect.forkChild(
          Effect.gen(function* () {
            for (let i = 0; i < total; i += 4) {
              yield* logOf(store).append([i, i + 1, i + 2, i + 3])
              yield* Effect.sleep("10 millis")
            }
          })
        )
        let kills = 0
        while (Option.getOrElse(yield* consumerOf(store).position, () => 0) < total) {
          const before = told.length
          // Some are handled, and then one is gone, the one that handles or the one that waits.
          for (let waited = 0; told.length < before + 25 && waited < 100; waited++) yield* Effect.sleep("30 millis")
          if (kills >= 12) continue
          const index = yield* Random.nextIntBetween(0, 2, { halfOpen: true })
          processes[index]!.kill()
          yield* Effect.promise(() => processes[index]!.ended)
          processes = processes.map((one, i) => (i === index ? start(folder, onLine) : one))
          kills += 1
        }
        assert.isUndefined(writing.pollUnsafe()?._tag === "Failure" ? writing.pollUnsafe() : undefined)
        for (const one of processes) one.kill()
        yield* Effect.promise(() => Promise.all(processes.map(({ ended }) => ended)))
        assert.isAbove(kills, 3)
        const all = Array.from({ length: total }, (_, i) => i)
        assert.deepStrictEqual(
          [...new Set(told.map(([, value]) => value))].toSorted((a, b) => a - b),
          all.filter((value) => !isPoison(value))
        )
        const letters = yield* Stream.runCollect(consumerOf(store).deadLetters)
        assert.deepStrictEqual(
          letters.map(({ value }) => value),
          all.filter(isPoison)
        )
        // Who came later went on at most where the one before had come to, and did not leave any out.
        let reached = -1
        for (const [, mine] of [...Map.groupBy(told, ([token]) => token)].toSorted(([a], [b]) => a - b)) {
          const first = mine[0]![1]
          assert.isTrue(all.slice(reached + 1, first).every(isPoison), `${first} after ${reached}`)
          reached = Math.max(reached, ...mine.map(([, value]) => value))
        }
      }).pipe(Random.withSeed("killed"))
  )
})
