/**
 * The first page of a directory of 40,000 objects in a folder: right after a write of the same process, and again. Compared with reading
 * the names of the directory once, in microseconds; the best of some rounds.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import { measure } from "./measure.ts"

const objects = 40_000
const prefix = "resource=users/data/"

export const report = () =>
  Effect.gen(function* () {
    const path = mkdtempSync(join(tmpdir(), "effect-s3db-listing-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(path, { recursive: true, force: true })))
    const store = yield* FileStore.make({ path, durability: "none" })
    const put = (i: number) => store.put({ key: `${prefix}id=user-${i}` })
    yield* Effect.forEach(
      Array.from({ length: objects }, (_, i) => i),
      put,
      { concurrency: 16, discard: true }
    )
    const list = store.list({ prefix, keysOnly: true })
    yield* list
    const directory = join(path, "objects", "resource=users", "data")
    let next = objects
    const each = (effect: () => Effect.Effect<unknown, unknown>) => (times: number) =>
      Effect.runPromise(
        Effect.gen(function* () {
          for (let i = 0; i < times; i++) yield* effect()
        })
      )
    const results = yield* Effect.promise(() =>
      measure(
        [
          {
            name: "readdir of the directory",
            run: (times: number) => {
              for (let i = 0; i < times; i++) readdirSync(directory)
            }
          },
          { name: "a write, nothing listed", run: each(() => put(next++)) },
          { name: "a write and the LIST after it", run: each(() => Effect.andThen(put(next++), list)) },
          { name: "LIST again", run: each(() => list) }
        ],
        5
      )
    )
    const lines = results.map(
      ({ microseconds, name, ratio }) =>
        `  ${name.padEnd(44)} ${microseconds.toFixed(0).padStart(8)} µs  ${ratio.toFixed(2).padStart(6)}x`
    )
    return { results, text: lines.join("\n") }
  }).pipe(Effect.scoped, Effect.runPromise)
