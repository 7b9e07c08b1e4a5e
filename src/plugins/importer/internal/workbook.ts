/**
 * Sheets of workbooks (XLSX, ECMA-376), row by row: archive and XML by Effect's own readers, as bytes come. In memory are the texts that cells
 * share.
 */
import * as Effect from "effect/Effect"
import * as Xml from "effect/encoding/Xml"
import * as Zip from "effect/encoding/Zip"
import * as Stream from "effect/Stream"
import type { Json } from "../../../encoding/Json.ts"
import type { Bounds } from "./bytes.ts"
import { Unreadable } from "../errors.ts"
import type { Cells } from "./table.ts"

export interface Options {
  readonly file: string
  /** Its name, or its number from 1. Default: the first. */
  readonly sheet: string | number | undefined
  readonly bounds: Bounds
  readonly maxRowLength: number
  /** How many characters the shared texts may have. */
  readonly maxShared: number
}

/** A sheet has no more columns. */
const mostColumns = 16_384

/** The name of an element without its prefix. */
const plain = (name: string): string => name.slice(name.indexOf(":") + 1)

/** `_x000D_` stands for a character that XML cannot have. */
const unescaped = (text: string): string =>
  text.includes("_x")
    ? text.replace(/_x([0-9A-Fa-f]{4})_/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    : text

// -----------------------------------------------------------------------------
// Numbers that are dates
// -----------------------------------------------------------------------------

const isDateFormat = (id: number): boolean =>
  (id >= 14 && id <= 22) || (id >= 27 && id <= 36) || (id >= 45 && id <= 47) || (id >= 50 && id <= 58)

/** Whether a format of one's own shows days or times: letters of them, but for those in quotes, brackets and behind a backslash. */
const showsDates = (code: string): boolean =>
  /[dmyhs]/i.test(
    code
      .replace(/"[^"]*"|\\.|_.|\*./g, "")
      .replace(/\[(?!h+\]|m+\]|s+\])[^\]]*\]/gi, "")
      .replace(/General/gi, "")
      .replace(/E[+-]/gi, "")
  )

const dayMillis = 86_400_000

/** The days of a workbook are counted from 1900, with a 29 February that there was not, or from 1904. */
const dateOf = (serial: number, is1904: boolean): string | number => {
  if (!Number.isFinite(serial) || serial < 0 || serial >= 2_958_466) return serial
  const days = is1904 ? serial + 1462 : serial < 60 ? serial + 1 : serial
  const millis = Math.round((days - 25_569) * dayMillis)
  const iso = new Date(millis).toISOString()
  // A time of no day.
  if (serial < 1 && !is1904) return iso.slice(11, 19)
  return millis % dayMillis === 0 ? iso.slice(0, 10) : iso
}

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

interface Sheet {
  readonly name: string
  readonly id: string
}

/** What the parts beside the sheets say. */
interface Book {
  sheets: Array<Sheet>
  is1904: boolean
  readonly targets: Map<string, string>
  readonly shared: Array<string>
  sharedLength: number
  readonly formats: Map<number, string>
  /** For each style of a cell whether it is a date. */
  readonly dates: Array<boolean>
}

type Handler = (event: Xml.Event) => void

const onWorkbook =
  (book: Book): Handler =>
  (event) => {
    if (event._tag !== "StartElement") return
    const { attributes, name } = event
    if (plain(name) === "workbookPr") book.is1904 = /^(?:1|true)$/.test(attributes["date1904"] ?? "")
    if (plain(name) !== "sheet") return
    const id = Object.entries(attributes).find(([key]) => key.endsWith(":id"))?.[1]
    if (id !== undefined) book.sheets.push({ name: attributes["name"] ?? "", id })
  }

const onRelations =
  (book: Book): Handler =>
  (event) => {
    if (event._tag !== "StartElement" || plain(event.name) !== "Relationship") return
    const { Id: id, Target: target } = event.attributes
    if (id === undefined || target === undefined) return
    book.targets.set(id, target.startsWith("/") ? target.slice(1) : `xl/${target.replace(/^\.\//, "")}`)
  }

const onStyles = (book: Book): Handler => {
  let isWithin = false
  return (event) => {
    if (event._tag === "EndElement" && plain(event.name) === "cellXfs") isWithin = false
    if (event._tag !== "StartElement") return
    const { attributes, name } = event
    if (plain(name) === "numFmt") book.formats.set(Number(attributes["numFmtId"]), attributes["formatCode"] ?? "")
    if (plain(name) === "cellXfs") isWithin = true
    if (!isWithin || plain(name) !== "xf") return
    const id = Number(attributes["numFmtId"] ?? 0)
    const code = book.formats.get(id)
    book.dates.push(code === undefined ? isDateFormat(id) : showsDates(code))
  }
}

const onShared = (book: Book): Handler => {
  let [text, isText, phonetic] = ["", false, 0]
  return (event) => {
    if (event._tag === "StartElement") {
      const name = plain(event.name)
      if (name === "si") text = ""
      if (name === "rPh") phonetic += 1
      if (name === "t") isText = phonetic === 0
    } else if (event._tag === "Text") {
      if (isText) text += event.text
    } else if (event._tag === "EndElement") {
      const name = plain(event.name)
      if (name === "t") isText = false
      if (name === "rPh") phonetic -= 1
      if (name === "si") {
        book.shared.push(unescaped(text))
        // An entry takes some place whatever it says.
        book.sharedLength += text.length + 16
      }
    }
  }
}

// -----------------------------------------------------------------------------
// Sheets
// -----------------------------------------------------------------------------

/** The number of a column from 0, of a reference such as `AB12`; less than 0: it is none. */
const columnOf = (reference: string): number => {
  let column = 0
  for (let i = 0; i < reference.length; i++) {
    const code = reference.charCodeAt(i)
    if (code < 65 || code > 90) break
    column = column * 26 + code - 64
    if (column > mostColumns) return -1
  }
  return column - 1
}

/** Ends the reading. */
class Refused extends Error {
  override readonly name = "Refused"
}

interface Row {
  cells: Array<Json>
  line: number
  length: number
}

const onSheet = (book: Book, maxRowLength: number, emit: (row: Cells) => void): Handler => {
  let row: Row | undefined
  let line = 0
  let cell: { readonly column: number; readonly type: string; readonly isDate: boolean } | undefined
  let [text, isText, hasText, phonetic] = ["", false, false, 0]

  const valueOf = (type: string, isDate: boolean): Json => {
    switch (type) {
      case "s": {
        const found = book.shared[Number(text)]
        if (found === undefined) throw new Refused("a cell has a shared text that is not there")
        return found
      }
      case "b":
        return text.trim() === "1" || text.trim() === "true"
      case "str":
      case "inlineStr":
        return unescaped(text)
      case "e":
      case "d":
        return text
      default: {
        const number = text.trim() === "" ? Number.NaN : Number(text)
        if (!Number.isFinite(number)) return text
        return isDate ? dateOf(number, book.is1904) : number
      }
    }
  }

  const start = ({ attributes, name }: Xml.StartElement): void => {
    switch (plain(name)) {
      case "row":
        line = Number(attributes["r"] ?? line + 1)
        row = { cells: [], line, length: 0 }
        return
      case "c": {
        if (row === undefined) return
        const reference = attributes["r"]
        const column = reference === undefined ? row.cells.length : columnOf(reference)
        if (column < 0 || column >= mostColumns) throw new Refused("a cell is where no sheet has one")
        const isDate = book.dates[Number(attributes["s"] ?? 0)] ?? false
        cell = { column, type: attributes["t"] ?? "n", isDate }
        ;[text, isText, hasText] = ["", false, false]
        return
      }
      case "rPh":
        phonetic += 1
        return
      case "v":
      case "t":
        isText = cell !== undefined && phonetic === 0
        hasText ||= isText
    }
  }

  const end = (name: string): void => {
    switch (name) {
      case "v":
      case "t":
        isText = false
        return
      case "rPh":
        phonetic -= 1
        return
      case "c":
        if (row === undefined || cell === undefined) return
        while (row.cells.length <= cell.column) row.cells.push("")
        if (hasText) row.cells[cell.column] = valueOf(cell.type, cell.isDate)
        row.length += text.length
        if (row.length > maxRowLength) throw new Refused(`a row has more than ${maxRowLength} characters`)
        cell = undefined
        return
      case "row":
        if (row !== undefined) emit({ cells: row.cells, line: row.line })
        row = undefined
    }
  }

  return (event) => {
    if (event._tag === "StartElement") start(event)
    else if (event._tag === "EndElement") end(plain(event.name))
    else if (event._tag === "Text" && isText) text += event.text
  }
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/** Reads the rows of a sheet. The bytes are read twice: what cells refer to can stand behind them. */
export const rows = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  { bounds, file, maxRowLength, maxShared, sheet }: Options
): Stream.Stream<Cells, E | Unreadable, R> => {
  const damaged = (description: string) => new Unreadable({ file, reason: "Damaged", description })
  const tooLarge = (description: string) => new Unreadable({ file, reason: "TooLarge", description })
  const told = (error: E | Zip.ZipError | Xml.XmlError | Unreadable): E | Unreadable => {
    if (Zip.isZipError(error)) {
      return error.kind === "Unsupported"
        ? new Unreadable({
            file,
            reason: "Unsupported",
            description: `it is a workbook that is not read here: ${error.message}`
          })
        : damaged(`it is no workbook, or cut off: ${error.message}`)
    }
    if (Xml.isXmlError(error)) {
      return error.kind === "Limit"
        ? tooLarge(`it has more in one place than is read: ${error.message}`)
        : damaged(`a part of the workbook is damaged: ${error.message}`)
    }
    return error
  }
  const decoding = () => Xml.decode<E | Zip.ZipError | Unreadable>({ maxTokenSize: maxRowLength })

  /** The entries of the archive, of which no more comes out than is allowed. */
  const entries = () =>
    Stream.suspend(() => {
      let [taken, given] = [0, 0]
      const counted = Stream.mapArray(bytes, (pieces) => {
        for (const piece of pieces) taken += piece.length
        return pieces
      })
      const bounded = <E2>(body: Stream.Stream<Uint8Array, E2>) =>
        Stream.mapArrayEffect(body, (pieces) => {
          for (const piece of pieces) given += piece.length
          return given > bounds.grace && given > taken * bounds.ratio
            ? Effect.fail(
                tooLarge(`it unpacks to more than ${bounds.ratio} times its size: raise maxRatio if that is right`)
              )
            : Effect.succeed(pieces)
        })
      return counted.pipe(
        Stream.pipeThroughChannel(Zip.decode<E>()),
        Stream.map(({ body, header }) => ({ path: header.path, body: bounded(body) }))
      )
    })

  const attempt = (act: () => void): Effect.Effect<void, Unreadable> =>
    Effect.try({
      try: act,
      catch: (error) => {
        if (error instanceof Refused) return damaged(error.message)
        throw error
      }
    })

  const readBook = Effect.gen(function* () {
    const book: Book = {
      sheets: [],
      is1904: false,
      targets: new Map(),
      shared: [],
      sharedLength: 0,
      formats: new Map(),
      dates: []
    }
    const handlers: Readonly<Record<string, () => Handler>> = {
      "xl/workbook.xml": () => onWorkbook(book),
      "xl/_rels/workbook.xml.rels": () => onRelations(book),
      "xl/styles.xml": () => onStyles(book),
      "xl/sharedstrings.xml": () => onShared(book)
    }
    yield* Stream.runForEach(entries(), ({ body, path }) => {
      const name = path.toLowerCase()
      const make = Object.hasOwn(handlers, name) ? handlers[name] : undefined
      if (make === undefined) return Effect.void
      const handle = make()
      return Stream.runForEachArray(Stream.pipeThroughChannel(body, decoding()), (events) => {
        for (const event of events) handle(event)
        return book.sharedLength > maxShared
          ? Effect.fail(tooLarge(`its cells share more than ${maxShared} characters: save it as CSV`))
          : Effect.void
      })
    })
    if (book.sheets.length === 0) return yield* damaged("it is no workbook: it has no sheets")
    return book
  })

  const pathOf = (book: Book): Effect.Effect<string, Unreadable> => {
    const wanted = sheet ?? 1
    const found = typeof wanted === "number" ? book.sheets[wanted - 1] : book.sheets.find(({ name }) => name === wanted)
    if (found === undefined) {
      const names = book.sheets.map(({ name }) => JSON.stringify(name)).join(", ")
      return new Unreadable({
        file,
        reason: "Header",
        description: `it has no sheet ${JSON.stringify(wanted)}, but ${names}`
      })
    }
    const path = book.targets.get(found.id)
    return path === undefined ? damaged(`the sheet ${JSON.stringify(found.name)} is not in it`) : Effect.succeed(path)
  }

  return Stream.unwrap(
    Effect.gen(function* () {
      const book = yield* readBook
      const path = yield* pathOf(book)
      let isFound = false
      const sheetRows = Stream.flatMap(
        entries(),
        (entry): Stream.Stream<Cells, E | Zip.ZipError | Xml.XmlError | Unreadable> => {
          if (entry.path !== path) return Stream.empty
          isFound = true
          return Stream.suspend(() => {
            let found: Array<Cells> = []
            const handle = onSheet(book, maxRowLength, (row) => void found.push(row))
            return Stream.mapAccumArrayEffect(
              Stream.pipeThroughChannel(entry.body, decoding()),
              () => undefined,
              (state, events) =>
                Effect.map(
                  attempt(() => {
                    found = []
                    for (const event of events) handle(event)
                  }),
                  () => [state, found] as const
                )
            )
          })
        }
      )
      return Stream.concat(
        sheetRows,
        Stream.fromEffect(
          Effect.suspend(() => (isFound ? Effect.void : Effect.fail(damaged("the sheet is not in it"))))
        ).pipe(Stream.drain)
      )
    })
  ).pipe(Stream.mapError(told))
}
