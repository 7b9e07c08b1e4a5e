/** Writers of one folder, killed at random, while places are looked for. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Geo from "effect-s3db/plugins/Geo"
import { Cars, CarsByPlace, layerOn } from "./fixtures/geoProcess.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-geo-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fixture = fileURLToPath(new URL("./fixtures/geoProcess.ts", import.meta.url))
let launched = 0

const launch = (onLine: () => void) => {
  const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, folder, `writer-${launched++}`]
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] })
  child.stdout.on("data", (chunk: Buffer) => chunk.toString("utf8").split("\n").slice(1).forEach(onLine))
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return { child, ended }
}

const kills = 8
const world = { box: { south: -90, north: 90, west: -180, east: 180 } } as const
const harbour = { latitude: -18.1416, longitude: 178.4419 }
const beside = { circle: { center: harbour, radius: 5 } } as const

describe("Geo between processes", () => {
  it.live(
    "finds what is committed and nothing twice, while writers are killed, and is what the documents are in the end",
    () =>
      Effect.gen(function* () {
        const cars = yield* Cars
        const places = yield* CarsByPlace
        let lines = 0
        const onLine = () => void (lines += 1)
        let writers = [launch(onLine), launch(onLine), launch(onLine)]
        const mine = new Set<string>()
        const look = Effect.gen(function* () {
          const ids = (yield* Stream.runCollect(places.within(beside))).map(({ id }) => id)
          assert.deepStrictEqual(ids.filter((id) => id.startsWith("mine")).toSorted(), [...mine].toSorted())
          const { items } = yield* places.nearest({ from: harbour, limit: 1_000 })
          const near = items.map(({ document }) => document.id)
          assert.strictEqual(new Set(near).size, near.length)
          for (const id of mine) assert.isTrue(near.includes(id), id)
          assert.deepStrictEqual(
            items.map(({ distance }) => distance),
            items.map(({ distance }) => distance).toSorted((a, b) => a - b)
          )
        })
        for (let kill = 0; kill < kills; kill++) {
          const enough = lines + 20
          const isQuiet = () => lines < enough
          yield* cars.insert({ id: `mine${kill}`, at: harbour })
          mine.add(`mine${kill}`)
          yield* look
          if (kill % 3 === 1) {
            yield* cars.patch(`mine${kill - 1}`, { at: { latitude: 0, longitude: 0 } })
            mine.delete(`mine${kill - 1}`)
          }
          if (kill % 3 === 2) {
            yield* cars.delete(`mine${kill}`)
            mine.delete(`mine${kill}`)
          }
          yield* look
          while (isQuiet()) {
            yield* look
            yield* Effect.sleep("20 millis")
          }
          const which = yield* Random.nextIntBetween(0, writers.length, { halfOpen: true })
          const gone = writers[which]!
          gone.child.kill("SIGKILL")
          yield* Effect.promise(() => gone.ended)
          writers = writers.map((one, i) => (i === which ? launch(onLine) : one))
        }
        for (const { child } of writers) child.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(writers.map(({ ended }) => ended)))

        const there = (yield* Stream.runCollect(cars.scan())).flatMap(({ at, id }) =>
          at === undefined ? [] : [{ at, id }]
        )
        assert.isAbove(there.length, 10)
        const expected = there.map(({ id }) => id).toSorted()
        const found = yield* Stream.runCollect(places.within(world))
        assert.deepStrictEqual(found.map(({ id }) => id).toSorted(), expected)
        const { items } = yield* places.nearest({ from: harbour, limit: 1_000 })
        const sorted = there
          .map(({ at, id }) => ({ id, distance: Geo.distance(harbour, at) }))
          .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        assert.deepStrictEqual(
          items.map(({ distance, document }) => ({ id: document.id, distance })),
          sorted
        )
      }).pipe(Effect.provide(layerOn(folder)))
  )
})
