/** What the tests of imports share: a database in memory, files of text, and what became of them. */
import { gzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import * as Zip from "effect/encoding/Zip"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Importer from "effect-s3db/plugins/Importer"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

export type Store = ObjectStore["Service"]

export const people = Resource.fromAttributes("people", {
  name: "string|min:2",
  zip: "string|optional",
  age: "number|optional",
  member: "boolean|optional",
  born: "date|optional",
  balance: "money:EUR|optional",
  tags: "array|items:string|optional",
  address: { $$type: "object|optional", city: "string|optional" },
  pin: "secret|optional"
})

/** Without secrets, which cost a key at each opening. */
export const plain = Resource.fromAttributes("people", {
  name: "string|min:2",
  zip: "string|optional"
}) as unknown as typeof people

const keys = KeyRing.layerText(Redacted.make(`k1:${Buffer.alloc(32, 7).toString("base64")}`))

/** Opens a definition on a store, as a process would. */
export const openedOn = Effect.fnUntraced(function* (store: Store, definition: typeof people = people) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const repository = yield* Resource.make(definition).pipe(
    Effect.provideService(Database.Database, database),
    Effect.provide(keys)
  )
  const run = <E, R, E2 = never, R2 = never>(source: Importer.Source<E, R>, options?: Importer.Options<E2, R2>) =>
    Effect.provideService(Importer.runUntyped({ definition, repository }, source, options), Database.Database, database)
  /** Runs, and gives the rejects as well. */
  const told = Effect.fnUntraced(function* <E, R>(source: Importer.Source<E, R>, options: Importer.Options = {}) {
    const rejects: Array<Importer.Reject> = []
    const collect: Importer.Rejects = () => Effect.succeed((reject) => Effect.sync(() => void rejects.push(reject)))
    const result = yield* Effect.result(run(source, { rejects: collect, ...options }))
    return {
      rejects,
      report: Result.isSuccess(result) ? result.success : undefined,
      failure: Result.isFailure(result) ? result.failure : undefined
    }
  })
  const all = Effect.map(Stream.runCollect(repository.queryJson({ scan: true })), (found) =>
    [...found].toSorted((a, b) => (String(a["id"]) < String(b["id"]) ? -1 : 1))
  )
  return { database, repository, run, told, all }
})

/** A file of bytes, in chunks of a size, which can be read again. */
export const fileOf = (name: string, content: string | Uint8Array, chunk = 65_536): Importer.Source => {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content
  const pieces = Array.from({ length: Math.ceil(bytes.length / chunk) }, (_, i) =>
    bytes.subarray(i * chunk, (i + 1) * chunk)
  )
  return {
    name,
    bytes: Stream.rechunk(Stream.fromIterable(pieces), 1),
    size: bytes.length,
    isRepeatable: true,
    read: (start, end) => Effect.succeed(bytes.subarray(start, end))
  }
}

export const gzipped = (content: string): Uint8Array => gzipSync(content)

/** The records of a file. */
export const recordsOf = <E, R>(source: Importer.Source<E, R>, options?: Importer.ReadOptions) =>
  Effect.map(Stream.runCollect(Importer.read(source, options)), (found) => found.map(({ record }) => record))

// -----------------------------------------------------------------------------
// Workbooks
// -----------------------------------------------------------------------------

interface Cell {
  readonly runs?: ReadonlyArray<string>
  readonly inline?: string
  readonly date?: number
  readonly formula?: string
  readonly value?: number
  readonly text?: string
}

export interface Sheet {
  readonly name: string
  /** Texts, numbers, booleans, and cells. */
  readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
}

const xml = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;")

const letterOf = (column: number): string =>
  column < 26 ? String.fromCharCode(65 + column) : letterOf(Math.floor(column / 26) - 1) + letterOf(column % 26)

/** A workbook of these sheets, with what Excel writes and others do not: texts in runs, shared ones behind the sheets, formulas, styles. */
export const workbookOf = Effect.fnUntraced(function* (sheets: ReadonlyArray<Sheet>) {
  const shared: Array<string> = []
  const share = (item: string): number => shared.push(item) - 1
  const cellXml = (cell: unknown, reference: string): string => {
    if (cell === "" || cell === undefined) return ""
    if (typeof cell === "string")
      return `<c r="${reference}" t="s"><v>${share(`<t xml:space="preserve">${xml(cell)}</t>`)}</v></c>`
    if (typeof cell === "number") return `<c r="${reference}"><v>${cell}</v></c>`
    if (typeof cell === "boolean") return `<c r="${reference}" t="b"><v>${cell ? 1 : 0}</v></c>`
    const { date, formula, inline, runs, text, value } = cell as Cell
    if (runs !== undefined) {
      const parts = runs.map((run) => `<r><rPr><b/></rPr><t>${xml(run)}</t></r>`).join("")
      return `<c r="${reference}" t="s"><v>${share(`${parts}<rPh sb="0" eb="1"><t>no</t></rPh>`)}</v></c>`
    }
    if (inline !== undefined) return `<c r="${reference}" t="inlineStr"><is><t>${xml(inline)}</t></is></c>`
    if (date !== undefined) return `<c r="${reference}" s="1"><v>${date}</v></c>`
    return text === undefined
      ? `<c r="${reference}"><f>${xml(formula!)}</f><v>${value}</v></c>`
      : `<c r="${reference}" t="str"><f>${xml(formula!)}</f><v>${xml(text)}</v></c>`
  }
  const sheetXml = ({ rows }: Sheet): string => {
    const lines = rows.map((row, i) =>
      row.length === 0
        ? ""
        : `<row r="${i + 1}">${row.map((cell, column) => cellXml(cell, `${letterOf(column)}${i + 1}`)).join("")}</row>`
    )
    return `<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="x"><sheetData>${lines.join("")}</sheetData></worksheet>`
  }
  const parts = [
    ...sheets.map((sheet, i) => [`xl/worksheets/sheet${i + 1}.xml`, sheetXml(sheet)] as const),
    [
      "xl/workbook.xml",
      `<workbook xmlns:r="r"><sheets>${sheets.map(({ name }, i) => `<sheet name="${xml(name)}" sheetId="${i + 1}" r:id="rId${i + 1}"/>`).join("")}</sheets></workbook>`
    ],
    [
      "xl/_rels/workbook.xml.rels",
      `<Relationships>${sheets.map((_, i) => `<Relationship Id="rId${i + 1}" Target="${i === 0 ? "/xl/" : ""}worksheets/sheet${i + 1}.xml"/>`).join("")}</Relationships>`
    ],
    [
      "xl/styles.xml",
      '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="[$-409]yyyy\\-mm\\-dd &quot;d&quot;"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="170"/></cellXfs></styleSheet>'
    ],
    ["xl/sharedStrings.xml", `<sst>${shared.map((item) => `<si>${item}</si>`).join("")}</sst>`]
  ] as const
  const entries = parts.map(([path, content]) => Zip.file(path, content))
  const pieces = yield* Stream.runCollect(Stream.fromIterable(entries).pipe(Stream.pipeThroughChannel(Zip.encode())))
  return new Uint8Array(Buffer.concat(pieces))
})
