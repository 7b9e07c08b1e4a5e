/**
 * What an import costs beside what it stands on: rows a second of the bare parser, of the parser and `insertMany` by hand, and of the Importer, of the
 * same CSV in memory into a store that keeps nothing; and how much memory a large file takes.
 *
 * The large file is of 32 MB unless it is said otherwise: of 1 GB there are some 900,000 rows, which take a quarter of an hour.
 *
 * npm run bench -- import [--megabytes=32] [--rows=5000] [--json]
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Csv from "effect/encoding/Csv"
import * as Stream from "effect/Stream"
import * as Importer from "effect-s3db/plugins/Importer"
import { csvOf, forgetful, on, opened } from "../plugins/importerProcess.ts"
import { countOf } from "./option.ts"

const worker = fileURLToPath(new URL("../plugins/importerProcess.ts", import.meta.url))

interface Large {
  readonly heap: number
  readonly written: number
  readonly perSecond: number
}

const large = (megabytes: number): Promise<Large> =>
  new Promise((resolve, reject) => {
    const flags = ["--expose-gc", "--conditions=effect-s3db-source", "--no-warnings"]
    const child = spawn(process.execPath, [...flags, worker, "memory", String(megabytes)], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let printed = ""
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString()
    })
    child.on("error", reject)
    child.on("exit", (code) => (code === 0 ? resolve(JSON.parse(printed)) : reject(new Error(`exit ${code}`))))
  })

const rounds = 3
const batch = 1000

const valueOf = (cells: ReadonlyArray<string>) => {
  const [id = "", station = "", zip = "", value, ok, note = ""] = cells
  return { id, station, zip, value: Number(value), ok: ok === "true", note }
}

export const report = async () => {
  const rows = countOf("rows", 5000)
  const megabytes = countOf("megabytes", 32)
  const pieces = await Effect.runPromise(Stream.runCollect(csvOf((row) => row >= rows)))
  const bytes = Stream.rechunk(Stream.fromIterable(pieces), 1)
  const source = { ...Importer.fromStream("measurements.csv", bytes), isRepeatable: true }
  const parsed = () => bytes.pipe(Stream.decodeText, Stream.pipeThroughChannel(Csv.decodeString()), Stream.drop(1))
  const cases: ReadonlyArray<readonly [string, () => Effect.Effect<unknown, unknown>]> = [
    ["effect/encoding/Csv alone", () => Stream.runDrain(parsed())],
    ["Importer.read", () => Stream.runDrain(Importer.read(source))],
    [
      "Csv and insertMany by hand",
      () =>
        Effect.flatMap(forgetful, (store) =>
          Effect.flatMap(opened, ({ repository }) =>
            Stream.runForEach(Stream.grouped(Stream.map(parsed(), valueOf), batch), (some) =>
              repository.insertMany(some)
            )
          ).pipe(Effect.provide(on(store)))
        ).pipe(Effect.scoped)
    ],
    [
      "Importer.run",
      () =>
        Effect.flatMap(forgetful, (store) =>
          Effect.flatMap(opened, (target) => Importer.runUntyped(target, source)).pipe(Effect.provide(on(store)))
        ).pipe(Effect.scoped)
    ],
    [
      "Importer.run, resumable",
      () =>
        Effect.flatMap(forgetful, (store) =>
          Effect.flatMap(opened, (target) => Importer.runUntyped(target, source, { name: "n" })).pipe(
            Effect.provide(on(store))
          )
        ).pipe(Effect.scoped)
    ]
  ]
  // Of the processor: others on the machine change it less than the time that passes.
  const best = new Map<string, number>()
  for (let round = 0; round <= rounds; round++) {
    for (const [name, run] of cases) {
      const before = process.cpuUsage()
      await Effect.runPromise(run())
      const { system, user } = process.cpuUsage(before)
      // The first is for warming up.
      if (round > 0) best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, (system + user) / 1000))
    }
  }
  const [parser] = cases[0]!
  const [byHand] = cases[2]!
  const results = cases.map(([name]) => {
    const millis = best.get(name)!
    return {
      name,
      perSecond: (rows * 1000) / millis,
      toParser: millis / best.get(parser)!,
      toByHand: millis / best.get(byHand)!
    }
  })
  const few = await large(Math.max(1, megabytes / 16))
  const many = await large(megabytes)
  const mb = (count: number) => `${(count / 1_048_576).toFixed(1)} MB`
  return {
    results: { results, few, many, megabytes },
    tables: [
      {
        title: `Rows a second of the processor, of ${rows} rows of CSV, ${mb(pieces.reduce((sum, { length }) => sum + length, 0))}; the best of ${rounds} rounds`,
        columns: ["", "rows a second", "time to the parser", "time to by hand"],
        rows: results.map(({ name, perSecond, toByHand, toParser }) => [
          name,
          String(Math.round(perSecond)),
          `${toParser.toFixed(2)}x`,
          `${toByHand.toFixed(2)}x`
        ])
      }
    ],
    notes: [
      `${megabytes} MB of CSV, ${many.written} rows: ${mb(many.heap)} in use at most, ${Math.round(many.perSecond)} rows a second; of ${megabytes / 16} MB: ${mb(few.heap)}`
    ]
  }
}
