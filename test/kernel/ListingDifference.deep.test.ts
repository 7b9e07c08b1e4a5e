/** The listing difference between processes that are killed, and over many keys with little memory. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as FileStore from "effect-s3db/storage/FileStore"
import { listAll } from "effect-s3db/storage/ObjectStore"
import { newFolder } from "./contention.ts"
import { differencesOf } from "./fixtures/differenceWorker.ts"

const worker = fileURLToPath(new URL("fixtures/differenceWorker.ts", import.meta.url))

const start = (options: ReadonlyArray<string>, ...args: ReadonlyArray<string>) => {
  const child = spawn(
    process.execPath,
    ["--conditions=effect-s3db-source", "--no-warnings", ...options, worker, ...args],
    {
      stdio: ["ignore", "pipe", "inherit"]
    }
  )
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")))
  const lines = () => text.split("\n").length - 1
  const ended = new Promise<ReadonlyArray<string>>((resolve) =>
    child.on("close", () => resolve(text.split("\n").slice(0, -1)))
  )
  return { kill: () => child.kill("SIGKILL"), ended, lines }
}

describe("ListingDifference", () => {
  it.live("processes that are killed one after the other while somebody writes tell all of it", () =>
    Effect.gen(function* () {
      const folder = newFolder()
      const store = yield* FileStore.make({ path: folder, durability: "none" })
      const known = new Map<string, string>()
      const take = (tag: string, key: string, etag: string) =>
        tag === "Gone" ? known.delete(key) : known.set(key, etag)
      const draw = (below: number) => Random.nextIntBetween(0, below, { halfOpen: true })
      let told = 0
      for (let round = 0; round < 12; round++) {
        const { ended, kill, lines } = start([], folder, "tell")
        const until = 10 + (yield* draw(20))
        for (let passed = 0; lines() < until; passed += 1) {
          const key = `data/${yield* draw(120)}`
          yield* (yield* draw(3)) === 0
            ? store.delete(key)
            : store.put({ key, body: new TextEncoder().encode(`${round} ${passed}`) })
          yield* Effect.sleep("10 millis")
        }
        kill()
        for (const line of yield* Effect.promise(() => ended)) {
          const [tag, key, etag] = JSON.parse(line) as [string, string, string]
          take(tag, key, etag)
          told += 1
        }
      }
      assert.isAbove(told, 100)
      yield* differencesOf(store).pass(
        (differences) =>
          Effect.sync(() => {
            for (const one of differences) take(one._tag, one.key, "etag" in one ? one.etag : "")
          }),
        { token: 1_000_000 }
      )
      const now = yield* Stream.runCollect(listAll(store, { prefix: "data/" }))
      assert.deepStrictEqual(
        [...known].toSorted(),
        now.map(({ etag, key }): [string, string] => [key, etag!]).toSorted()
      )
    }).pipe(Random.withSeed("killed"))
  )

  it.live("200,000 keys in 64 MiB", () =>
    Effect.gen(function* () {
      const { ended } = start(["--max-old-space-size=64"], newFolder(), "many", "200000")
      const [passes = "[]"] = yield* Effect.promise(() => ended)
      const whole = { keys: 200_000, gone: 0, resumed: false }
      assert.deepStrictEqual(JSON.parse(passes), [
        { ...whole, new: 200_000, changed: 0 },
        { ...whole, new: 0, changed: 0 },
        { ...whole, new: 0, changed: 200 }
      ])
    })
  )
})
