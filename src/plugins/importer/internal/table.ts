/** Tables: their header, and a record for each of their rows. */
import * as Arr from "effect/Array"
import * as Csv from "effect/encoding/Csv"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import { Unreadable } from "../errors.ts"
import { type Counter, type Found, isForbidden } from "./records.ts"
import * as text from "./text.ts"

/** Which row has the names of the columns: the first, the one of a number from 1, none, or none but these names. */
export type Header = boolean | number | ReadonlyArray<string>

/** One row as it stands there. A cell that is not there is `null`. */
export interface Cells {
  readonly cells: ReadonlyArray<Json>
  readonly line: number
}

const isBlank = (cells: ReadonlyArray<Json>): boolean => cells.every((cell) => cell === "" || cell === null)

export interface Options {
  readonly file: string
  readonly header: Header
  readonly counter: Counter
  /** How many names there have to be cells for: `exact` of a file in which a row says how long it is. */
  readonly width: "exact" | "loose"
  /** Columns that have to be there. */
  readonly needed: ReadonlyArray<string>
}

/** Makes records of rows. The columns are known when the first record is. */
export const records = <E, R>(
  rows: Stream.Stream<Cells, E, R>,
  { counter, file, header, needed, width }: Options
): Stream.Stream<Found, E | Unreadable, R> =>
  Stream.suspend(() => {
    const refuse = (line: number, description: string, column?: string) =>
      new Unreadable({
        file,
        reason: "Header",
        line,
        description,
        ...(column === undefined ? {} : { column })
      })
    let names: ReadonlyArray<string> | undefined
    let passed = 0
    const check = (found: ReadonlyArray<string>, line: number): Unreadable | undefined => {
      const at = found.findIndex((name, i) => found.indexOf(name) < i)
      if (at >= 0) {
        return refuse(line, `it has two columns called ${JSON.stringify(found[at])}`, String(at + 1))
      }
      const forbidden = found.findIndex(isForbidden)
      if (forbidden >= 0) return refuse(line, "a column has no name that a field can have", String(forbidden + 1))
      const unnamed = found.indexOf("")
      if (unnamed >= 0) return refuse(line, "a column has no name", String(unnamed + 1))
      const missing = needed.find((name) => !found.includes(name))
      if (missing === undefined) return undefined
      const names = found.map((name) => JSON.stringify(name)).join(", ")
      return refuse(line, `it has no column ${JSON.stringify(missing)}${didYouMean(missing, found)}, but ${names}`)
    }
    /** What the row gives: a record, nothing, or an error. */
    const one = ({ cells, line }: Cells): Found | Unreadable | undefined => {
      passed += 1
      if (names === undefined) {
        if (header === true || typeof header === "number") {
          if (typeof header === "number" ? passed < header : isBlank(cells)) return undefined
          const trimmed = cells.map((cell) => (cell === null ? "" : String(cell).trim()))
          // What stands behind the last name is no column.
          const last = width === "loose" ? trimmed.findLastIndex((name) => name !== "") + 1 : trimmed.length
          const found = trimmed.slice(0, last)
          const problem = check(found, line)
          if (problem !== undefined) return problem
          names = found
          return undefined
        }
        const found = header === false ? cells.map((_, i) => `column${i + 1}`) : header
        const problem = check(found, line)
        if (problem !== undefined) return problem
        names = found
      }
      const isShort = cells.length === 1 && cells[0] === ""
      if (width === "loose" ? isBlank(cells) : isShort && names.length > 1) return undefined
      counter.rows += 1
      const row = counter.rows
      const excess = width === "loose" ? cells.findLastIndex((cell) => cell !== "" && cell !== null) + 1 : cells.length
      if (width === "exact" ? cells.length !== names.length : excess > names.length) {
        const many = (count: number) => `${count} cell${count === 1 ? "" : "s"}`
        const description = `Expected ${many(names.length)}, as the first line has, no ${excess}`
        return { row, line, record: undefined, fault: { reason: "Cells", description }, original: cells }
      }
      const record: Record<string, Json> = {}
      for (let i = 0; i < names.length; i++) record[names[i]!] = cells[i] ?? (width === "loose" ? "" : null)
      return { row, line, record, original: record as JsonObject }
    }
    return Stream.mapAccumArrayEffect(
      rows,
      () => undefined,
      (state, some): Effect.Effect<readonly [undefined, ReadonlyArray<Found>], Unreadable> => {
        const found: Array<Found> = []
        for (const row of some) {
          const made = one(row)
          if (made instanceof Unreadable) return Effect.fail(made)
          if (made !== undefined) found.push(made)
        }
        return Effect.succeed([state, found])
      }
    )
  })

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

export const delimiters = [",", ";", "\t", "|"] as const

/**
 * The delimiter that parts the first lines into the same number of cells, the most of them. What is in quotes does not count.
 */
export const delimiterOf = (start: string): string => {
  const plain = start.replace(/^\uFEFF/, "").replace(/"[^"]*(?:""[^"]*)*(?:"|$)/g, '""')
  const lines = plain
    .split(/\r\n|\r|\n/)
    .filter((line) => line !== "")
    .slice(0, 20)
  // The last one may be cut.
  const whole = lines.length > 1 ? lines.slice(0, -1) : lines
  const score = (delimiter: string): number => {
    const counts = whole.map((line) => line.split(delimiter).length - 1)
    const [first = 0] = counts
    if (first === 0) return 0
    return first * (counts.filter((count) => count === first).length / counts.length) ** 2
  }
  return delimiters.reduce<string>((best, one) => (score(one) > score(best) ? one : best), ",")
}

/** Characters that are parsed at once: what an error of the syntax takes with it of the rows before. */
const pieceLength = 16_384

const breaks = /\r\n|\r|\n/g

/** Reads the rows of delimited text, as RFC 4180 has them. */
export const rows = <E, R>(
  pieces: Stream.Stream<string, E, R>,
  {
    counter,
    delimiter,
    file,
    maxRowLength
  }: { readonly counter: Counter; readonly delimiter: string; readonly file: string; readonly maxRowLength: number }
): Stream.Stream<Cells, E | Unreadable, R> =>
  Stream.suspend(() => {
    let line = 1
    return text.inPieces(pieces, pieceLength).pipe(
      Stream.pipeThroughChannel(Csv.decodeString<E>({ delimiter, maxRecordSize: maxRowLength })),
      Stream.mapError((error): E | Unreadable =>
        Csv.isCsvError(error)
          ? new Unreadable({
              file,
              reason: error.kind === "RecordSize" ? "TooLarge" : "Syntax",
              row: counter.rows + 1,
              line: error.line,
              ...(error.column === undefined ? {} : { column: String(error.column) }),
              description:
                error.kind === "RecordSize"
                  ? `a row has more than ${maxRowLength} characters: a quote may be open; raise maxRowLength if that is right`
                  : `it is no CSV: ${error.message}`
            })
          : error
      ),
      Stream.mapArray(
        Arr.map((cells): Cells => {
          const at = line
          line += 1
          for (const cell of cells) line += cell.match(breaks)?.length ?? 0
          return { cells, line: at }
        })
      )
    )
  })
