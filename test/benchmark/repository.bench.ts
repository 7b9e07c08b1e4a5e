/**
 * What an operation on a document costs in memory, where all of it is ours, beside the original and small stores that are installed
 * (`npm run bench:peers`), beside the bare store with the same JSON, and beside the same work by hand. Time of the processor: medians, and how many times as much the
 * others take. `--before=FOLDER` adds the library of another checkout that has a `contenders.ts`.
 */
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import {
  bare,
  byHand,
  type Contender,
  failed,
  type Operation,
  operations,
  others,
  ours,
  sameByHand
} from "./contenders.ts"
import { type Measured, measure } from "./measure.ts"
import { optionOf } from "./option.ts"
import { digits } from "./table.ts"

/** Of the processor, in a round of one contender. */
const milliseconds = 60
const count = 7

interface Result extends Measured {
  readonly operation: Operation
}

/** The library of another checkout, under that name. */
const before = async (): Promise<ReadonlyArray<Contender>> => {
  const folder = optionOf("before")
  if (folder === undefined) return []
  const file = pathToFileURL(resolve(folder, "test/benchmark/contenders.ts")).href
  const module = (await import(file)) as { readonly ours: Contender }
  return [{ ...module.ours, name: "before" }]
}

/** One operation of all who have it, each with a store of its own. */
const one = Effect.fnUntraced(function* (operation: Operation, contenders: ReadonlyArray<Contender>) {
  const notes: Array<string> = []
  const cases = yield* Effect.forEach(contenders, ({ name, operations }) => {
    const ready = operations[operation]
    if (ready === undefined) return Effect.succeed([])
    return ready.pipe(
      Effect.tap((made) =>
        Effect.tryPromise({ try: async () => (await made.prepare?.(100), made.run(100)), catch: failed })
      ),
      Effect.map((made) => [{ name, ...made }]),
      Effect.catch((error) => {
        notes.push(`${name} fails at ${operation}: ${String(error)}`)
        return Effect.succeed([])
      })
    )
  })
  const measured = yield* Effect.promise(() => measure(cases.flat(), { milliseconds }, count))
  return { results: measured.map((result): Result => ({ ...result, operation })), notes }
}, Effect.scoped)

export const report = () =>
  Effect.gen(function* () {
    const { installed, notes } = yield* Effect.promise(others)
    const contenders = [ours, ...(yield* Effect.promise(before)), bare, sameByHand, byHand, ...installed]
    const measured = yield* Effect.forEach(operations, (operation) => one(operation, contenders))
    const results = measured.flatMap(({ results }) => results)
    const rows = operations.map((operation) => {
      const of = (name: string) => results.find((result) => result.operation === operation && result.name === name)
      const mine = of(ours.name)
      const cells = contenders.slice(1).map(({ name }) => digits(of(name)?.cpuRatio ?? Number.NaN))
      const figures = mine === undefined ? [] : [mine.cpu.median, mine.cpu.best, mine.wall.median]
      // 20 documents of those that are counted stand for one call.
      const scale = operation === "count of 2,000" ? 20 : 1
      return [operation, ...figures.map((figure) => digits(figure * scale)), ...cells]
    })
    const title = `Microseconds of ${ours.name}, ${count} rounds; then the others' median of the processor to ours: above 1, they take more`
    const columns = ["", "CPU, median", "best", "wall, median", ...contenders.slice(1).map(({ name }) => name)]
    return {
      results,
      tables: [{ title, columns, rows }],
      notes: [...notes, ...measured.flatMap(({ notes }) => notes)]
    }
  }).pipe(Effect.runPromise)
