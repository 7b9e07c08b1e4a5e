/**
 * A process that imports.
 *
 * - `importerProcess.ts memory MEGABYTES`: CSV that is made as it is read, into a store that keeps no documents; prints what was in use at most,
 *   garbage collected, and the rows a second.
 * - `importerProcess.ts folder FOLDER ROWS`: into a folder, under a name; prints the row of each reject, which every 50th is, and the report.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Importer from "effect-s3db/plugins/Importer"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

export const measurements = Resource.fromAttributes("measurements", {
  station: "string",
  zip: "string",
  value: "number",
  ok: "boolean",
  note: "string|min:3"
})

const encoder = new TextEncoder()

const note = "a note with some words in it, as long as those of others are; ".repeat(18)

export const lineOf = (row: number, rejected = 0): string => {
  const text = rejected > 0 && row % rejected === 0 ? "x" : `"${note}${row}, ""quoted"""`
  return `m${row},station ${row % 97},${String(row % 1000).padStart(5, "0")},${row / 8},${row % 2 === 0},${text}\r\n`
}

/** CSV of so many rows, or so many bytes, made piece by piece. */
export const csvOf = (enough: (rows: number, bytes: number) => boolean, rejected = 0): Stream.Stream<Uint8Array> =>
  Stream.unfold({ row: 0, bytes: 0 }, (state) =>
    Effect.sync(() => {
      if (enough(state.row, state.bytes)) return undefined
      let [text, row] = [state.row === 0 ? "id,station,zip,value,ok,note\r\n" : "", state.row]
      while (text.length < 65_536 && !enough(row, state.bytes + text.length)) {
        row += 1
        text += lineOf(row, rejected)
      }
      return [encoder.encode(text), { row, bytes: state.bytes + text.length }] as const
    })
  )

/** A store that forgets the documents it takes. */
export const forgetful = Effect.map(MemoryStore.make(), ({ store }): ObjectStore["Service"] => ({
  ...store,
  put: (request) => (request.key.includes("/data/") ? Effect.succeed({ etag: '"1"' }) : store.put(request))
}))

/** Opens the resource on a store, for `Importer.runUntyped`. */
export const opened = Effect.gen(function* () {
  return { definition: measurements, repository: yield* Resource.make(measurements) }
})

export const on = (store: ObjectStore["Service"]) =>
  Layer.fresh(Database.layer).pipe(Layer.provideMerge(Layer.succeed(ObjectStore, store)))

const inMemory = Effect.fnUntraced(function* (megabytes: number) {
  const store = yield* forgetful
  const collect = globalThis.gc
  if (collect === undefined) throw new Error("run with --expose-gc")
  const source = Importer.fromStream(
    "measurements.csv",
    csvOf((_, bytes) => bytes >= megabytes * 1_048_576)
  )
  let [heap, rows] = [0, 0]
  const startedAt = performance.now()
  const report = yield* Effect.flatMap(opened, (target) =>
    Importer.runUntyped(target, source, {
      name: "measurements",
      onProgress: () =>
        Effect.sync(() => {
          rows += 1
          collect()
          heap = Math.max(heap, process.memoryUsage().heapUsed + process.memoryUsage().external)
        })
    })
  ).pipe(Effect.provide(on(store)))
  const seconds = (performance.now() - startedAt) / 1000
  return {
    heap,
    samples: rows,
    written: report.written,
    rejected: report.rejected,
    perSecond: report.written / seconds
  }
})

const intoFolder = (folder: string, rows: number) =>
  Effect.gen(function* () {
    const source = Importer.fromStream(
      "measurements.csv",
      csvOf((row) => row >= rows, 50)
    )
    const print = (line: object) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(line)}\n`))
    const report = yield* Importer.runUntyped(yield* opened, source, {
      name: "measurements",
      concurrency: 8,
      rejects: () => Effect.succeed(({ row }) => print({ row }))
    })
    yield* print(report)
  }).pipe(
    Effect.provide(
      Layer.fresh(Database.layer).pipe(Layer.provide(FileStore.layer({ path: folder, durability: "none" })))
    ),
    Effect.scoped
  )

const [, file = "", what, first = "", second = ""] = process.argv
if (file.endsWith("importerProcess.ts")) {
  if (what === "memory")
    process.stdout.write(JSON.stringify(await Effect.runPromise(Effect.scoped(inMemory(Number(first))))))
  else await Effect.runPromise(intoFolder(first, Number(second)))
}
