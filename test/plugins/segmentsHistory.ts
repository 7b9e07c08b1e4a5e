/** Whether what was read of documents that processes write can have been there, by what these noted of their writes. */
import { closeSync, openSync, readSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { type Bounded } from "effect-s3db/Query"
import { idOf, type Line, noteOf, type Notes } from "./fixtures/segmentsProcess.ts"

/** A write: what it has left, when it began, and when it had ended for sure. */
interface Write {
  readonly n: number | undefined
  readonly from: number
  to: number | undefined
}

export interface History {
  /** Takes in what has been noted since. */
  readonly update: () => void
  /** The number of each document by its id. */
  readonly documents: ReadonlyMap<string, number>
  /** What may have been at a document at some time between two. */
  readonly possible: (i: number, from: number, to: number) => ReadonlySet<number | undefined>
  /** How many writes have been noted. */
  readonly writes: () => number
}

/** Makes the history of documents that some processes write, each with a file of its own. */
export const make = (logs: ReadonlyArray<string>, documents: number): History => {
  const numbers = new Map(Array.from({ length: documents }, (_, i) => [idOf(i), i]))
  const writes = new Map<number, Array<Write>>()
  const open = new Map<string, Write>()
  const at = logs.map(() => ({ offset: 0, rest: "" }))
  let total = 0

  const take = (text: string) => {
    if (!text.endsWith("}")) return
    const line = JSON.parse(text) as Line
    if ("n" in line) {
      const write: Write = { n: line.n ?? undefined, from: line.from, to: undefined }
      open.set(line.write, write)
      writes.set(line.i, [...(writes.get(line.i) ?? []), write])
      total += 1
    } else {
      const write = open.get(line.write)
      // One that has failed may have been made.
      if (write !== undefined && line.done) write.to = line.to
      open.delete(line.write)
    }
  }

  return {
    documents: numbers,
    writes: () => total,
    update: () => {
      for (const [i, log] of logs.entries()) {
        const place = at[i]!
        const file = openSync(log, "a+")
        const bytes = Buffer.alloc(1024 * 1024)
        for (;;) {
          const read = readSync(file, bytes, 0, bytes.length, place.offset)
          if (read === 0) break
          place.offset += read
          const lines = (place.rest + bytes.toString("latin1", 0, read)).split("\n")
          place.rest = lines.pop() ?? ""
          lines.forEach(take)
        }
        closeSync(file)
      }
    },
    possible: (i, from, to) => {
      const all = writes.get(i) ?? []
      const values = new Set<number | undefined>()
      // The time at which what was written before is gone for sure.
      let gone = Number.POSITIVE_INFINITY
      for (let k = all.length - 1; k >= 0; k--) {
        const write = all[k]!
        if (write.from <= to && gone >= from) values.add(write.n)
        gone = Math.min(gone, write.to ?? Number.POSITIVE_INFINITY)
      }
      if (gone >= from) values.add(undefined)
      return values
    }
  }
}

// -----------------------------------------------------------------------------
// Reads
// -----------------------------------------------------------------------------

type Repository = Effect.Success<typeof Notes>
type Note = ReturnType<typeof noteOf>

/** What a read gives: of documents the numbers, or how many of which kind there are. */
type Seen =
  | { readonly found: ReadonlyMap<string, number | undefined>; readonly isOdd?: boolean }
  | { readonly counts: ReadonlyArray<{ readonly odd: boolean; readonly n: number; readonly rest: number | undefined }> }

const foundIn = (
  notes: ReadonlyArray<Pick<Note, "id" | "n"> & Partial<Omit<Note, "id" | "n">>>
): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  for (const note of notes) {
    const { id, n } = note
    if (found.has(id)) throw new Error(`${JSON.stringify(id)} was read twice`)
    const whole = noteOf(id, n)
    if ((note.odd ?? whole.odd) !== whole.odd || (note.rest ?? whole.rest) !== whole.rest) {
      throw new Error(`${JSON.stringify(id)} is of two versions`)
    }
    found.set(id, n)
  }
  return found
}

/** All kinds of reads that may be older. */
export const reads: Readonly<
  Record<string, (notes: Repository, bounded: Bounded, isOdd: boolean) => Effect.Effect<Seen, unknown>>
> = {
  scan: (notes, bounded) => Effect.map(Stream.runCollect(notes.scan(bounded)), (all) => ({ found: foundIn(all) })),
  scanDocuments: (notes, bounded) =>
    Effect.map(Stream.runCollect(notes.scanDocuments(bounded)), (all) => ({
      found: foundIn(all.map(({ value }) => value))
    })),
  scanResults: (notes, bounded) =>
    Effect.flatMap(Stream.runCollect(notes.scanResults(bounded)), (all) =>
      Effect.map(
        Effect.forEach(all, ({ result }) => Effect.fromResult(result)),
        (all) => ({ found: foundIn(all) })
      )
    ),
  query: (notes, bounded, odd) =>
    Effect.map(Stream.runCollect(notes.query({ where: { odd }, scan: true, ...bounded })), (all) => ({
      found: foundIn(all),
      isOdd: odd
    })),
  queryJson: (notes, bounded, odd) =>
    Effect.map(
      Stream.runCollect(
        notes.queryJson({
          where: { odd },
          order: { n: "desc" },
          limit: 10_000,
          select: ["id", "n"],
          scan: true,
          ...bounded
        })
      ),
      (all) => ({ found: foundIn(all.map(({ id = "", n = 0 }) => ({ id, n }))), isOdd: odd })
    ),
  listIds: (notes, bounded, odd) =>
    Effect.map(Stream.runCollect(notes.listIds({ where: { odd }, scan: true, ...bounded })), (all) => ({
      found: new Map(all.map((id) => [id, undefined])),
      isOdd: odd
    })),
  count: (notes, bounded, odd) =>
    Effect.map(notes.count({ where: { odd }, scan: true, ...bounded }), (n) => ({
      counts: [{ odd, n, rest: undefined }]
    })),
  aggregate: (notes, bounded) =>
    Effect.map(
      notes.aggregate(
        { groupBy: ["odd"], values: { n: { count: true }, rest: { sum: "rest" } } },
        { scan: true, ...bounded }
      ),
      (groups) => ({
        counts: [true, false].map((odd) => {
          const group = groups.find(({ key }) => key[0] === odd)
          return { odd, n: Number(group?.values["n"] ?? 0), rest: Number(group?.values["rest"] ?? 0) }
        })
      })
    )
}

const isOfKind = (n: number | undefined, isOdd: boolean | undefined) =>
  n !== undefined && (isOdd === undefined || (n % 2 === 1) === isOdd)

/** What is wrong with what was read between two times, where each document may be as it was at any of them. */
export const problemsOf = (history: History, seen: Seen, from: number, to: number): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const told = (values: ReadonlySet<number | undefined>) => [...values].map(String).join(", ")
  if ("found" in seen) {
    const { found, isOdd } = seen
    for (const [id, i] of history.documents) {
      const values = history.possible(i, from, to)
      const n = found.get(id)
      const may = [...values].some((value) =>
        found.has(id) ? isOfKind(value, isOdd) && (n === undefined || n === value) : !isOfKind(value, isOdd)
      )
      if (!may) problems.push(`${JSON.stringify(id)} is ${found.has(id) ? n : "not there"}, of ${told(values)}`)
    }
    for (const id of found.keys()) if (!history.documents.has(id)) problems.push(`${JSON.stringify(id)} never was`)
  } else {
    for (const { n, odd, rest } of seen.counts) {
      const least = { n: 0, rest: 0 }
      const most = { n: 0, rest: 0 }
      for (const i of history.documents.values()) {
        const values = [...history.possible(i, from, to)]
        const rests = values.map((value) => (value !== undefined && isOfKind(value, odd) ? value % 7 : 0))
        if (values.every((value) => isOfKind(value, odd))) least.n += 1
        if (values.some((value) => isOfKind(value, odd))) most.n += 1
        least.rest += Math.min(...rests)
        most.rest += Math.max(...rests)
      }
      if (n < least.n || n > most.n) problems.push(`${n} of them, of ${least.n} to ${most.n}`)
      if (rest !== undefined && (rest < least.rest || rest > most.rest)) {
        problems.push(`${rest} together, of ${least.rest} to ${most.rest}`)
      }
    }
  }
  return problems
}

export const staleness = [0, 200, 2000, "Infinity"] as const

/** Reads in some way, and says what is wrong with it, and whether it was older than one without `maxStaleness` may be. */
export const readOnce = Effect.fnUntraced(function* (notes: Repository, history: History) {
  const drawn = <X>(all: ReadonlyArray<X>) =>
    Effect.map(Random.nextIntBetween(0, all.length, { halfOpen: true }), (i) => all[i]!)
  const [name, read] = yield* drawn(Object.entries(reads))
  const maxStaleness = yield* drawn(staleness)
  const from = Date.now()
  const seen = yield* read(notes, { maxStaleness }, yield* drawn([true, false]))
  const to = Date.now()
  history.update()
  const since = maxStaleness === "Infinity" ? Number.NEGATIVE_INFINITY : from - maxStaleness
  return {
    name,
    maxStaleness,
    problems: problemsOf(history, seen, since, to).map((problem) => `${name}, ${maxStaleness}: ${problem}`),
    isOlder: problemsOf(history, seen, from, to).length > 0
  }
})
