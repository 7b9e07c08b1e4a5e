/** A process that writes on a folder and is killed again and again, and a reader that shares its tier. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Database from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { counted } from "./fixtures/cacheResource.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-cache-"))
const [data, tier] = [join(folder, "data"), join(folder, "tier")]
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/cacheProcess.ts", import.meta.url))

const launch = (onWritten: (n: number) => void) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, data, tier]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  let rest = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) onWritten(Number(line.slice("written ".length)))
  })
  return { child, ended: new Promise<void>((resolve) => child.on("close", () => resolve())) }
}

const timeToLive = 2000

describe("Cache between processes", () => {
  it.live(
    "a reader sees what was acknowledged before, also when writers are killed, but for one that could not tell, which it sees in time",
    () =>
      Effect.gen(function* () {
        const store = yield* FileStore.make({ path: data, durability: "none" })
        const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
        const provide = Effect.provideService(Database.Database, database)
        const cache = yield* provide(
          Cache.make({ tiers: [Cache.memory(), Cache.folder(tier)], staleness: 0, timeToLive })
        )
        const numbers = yield* provide(Resource.make(counted))
        yield* numbers.insert({ id: "1", n: 0 })
        let acknowledged = 0
        let reads = 0
        for (let kill = 0; kill < 8; kill++) {
          const { child, ended } = launch((n) => (acknowledged = Math.max(acknowledged, n)))
          const before = acknowledged
          const launched = yield* Clock.currentTimeMillis
          let first = Number.POSITIVE_INFINITY
          for (let now = launched; now - first < 300 + kill * 60; now = yield* Clock.currentTimeMillis) {
            const least = acknowledged
            assert.isAtLeast((yield* numbers.get("1")).n, least)
            reads += 1
            yield* Effect.sleep(1)
            if (acknowledged > before) first = Math.min(first, now)
            assert.isBelow(Math.min(now, first) - launched, 300_000, "the process has written nothing")
          }
          child.kill("SIGKILL")
          yield* Effect.promise(() => ended)
          const present = (yield* Cache.bypass(numbers.get("1"))).n
          assert.isAtLeast((yield* numbers.get("1")).n, acknowledged)
          // It may have died between its commit and its record.
          yield* Effect.sleep(timeToLive + 50)
          assert.strictEqual((yield* numbers.get("1")).n, present)
        }
        const { tiers, total } = yield* cache.statistics
        assert.isAbove(total.hits, 10)
        console.log(
          `${reads} reads, ${acknowledged} writes, ${total.hits} hits, of them ${tiers[1]!.hits} of what others had put there`
        )
      }),
    600_000
  )
})
