/** Commands that carry many documents out and in. */
import * as Effect from "effect/Effect"
import * as Csv from "effect/encoding/Csv"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import * as Export from "../../../Export.ts"
import { isList, isObject } from "../../../internal/json.ts"
import type { Column, Failure } from "../../../plugins/Parquet.ts"
import { counted, fileFailure, Partial, Unreadable, Usage } from "../failure.ts"
import * as input from "../input.ts"
import * as notation from "../notation.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"
import * as requests from "./requests.ts"

type Format = "ndjson" | "json" | "csv" | "parquet"

const formatOf = (given: Option.Option<Format>, file: Option.Option<string>): Format => {
  if (Option.isSome(given)) return given.value
  const name = Option.getOrElse(file, () => "")
  const ending = (["csv", "json", "parquet"] as const).find((one) => name.endsWith(`.${one}`))
  return ending ?? "ndjson"
}

// -----------------------------------------------------------------------------
// Out
// -----------------------------------------------------------------------------

/** Writes a file so that it is there in full or not at all. */
export const intoFile = Effect.fnUntraced(function* <E, R>(file: string, bytes: Stream.Stream<Uint8Array, E, R>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const failed = fileFailure(file, "written", path.dirname(file))
  const folder = yield* Effect.mapError(
    fs.makeTempDirectoryScoped({ directory: path.dirname(file), prefix: ".s3db-" }),
    failed
  )
  const fresh = path.join(folder, path.basename(file))
  const sink = fs.sink(fresh)
  yield* Stream.run(
    Stream.mapError(bytes, (error) => new SourceFailed(error)),
    sink
  ).pipe(Effect.mapError((error) => (error instanceof SourceFailed ? (error.error as E) : failed(error))))
  yield* Effect.mapError(fs.rename(fresh, file), failed)
}, Effect.scoped)

/** Writes files into a folder that is new, and is there with all of them or not at all. Gives their number. */
const intoFolder = Effect.fnUntraced(function* <E, R>(
  folder: string,
  extension: string,
  files: Stream.Stream<Uint8Array, E, R>
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.resolve(folder)
  const failed = fileFailure(folder, "written", path.dirname(target))
  const there = yield* Effect.orElseSucceed(fs.readDirectory(target), () => [])
  if (there.length > 0) {
    return yield* new Unreadable({ description: `${folder} has files already: name a folder that is new or empty` })
  }
  const around = yield* Effect.mapError(
    fs.makeTempDirectoryScoped({ directory: path.dirname(target), prefix: ".s3db-" }),
    failed
  )
  const fresh = path.join(around, "files")
  yield* Effect.mapError(fs.makeDirectory(fresh), failed)
  let count = 0
  yield* Stream.runForEach(files, (bytes) => {
    const name = `part-${String(count).padStart(5, "0")}.${extension}`
    count += 1
    return Effect.mapError(fs.writeFile(path.join(fresh, name), bytes), failed)
  })
  yield* Effect.mapError(fs.rename(fresh, target), failed)
  return count
}, Effect.scoped)

/** The columns of a selection, or all. What the database knows of a document has columns of its own. */
const parquetColumns = (
  all: ReadonlyArray<Column>,
  selected: ReadonlyArray<string> | undefined
): ReadonlyArray<Column> => {
  if (selected === undefined) return all
  const within = (columns: ReadonlyArray<Column>, above: string): ReadonlyArray<Column> =>
    columns.flatMap((column): ReadonlyArray<Column> => {
      const path = `${above}${column.name}`
      if (selected.includes(path)) return [column]
      if (column.type._tag !== "Struct") return []
      const fields = within(column.type.fields, `${path}.`)
      return fields.length === 0 ? [] : [{ name: column.name, type: { _tag: "Struct", fields } }]
    })
  const ofTheDatabase = selected
    .filter((name) => name.startsWith("$"))
    .map((name): Column => ({ name, type: { _tag: name.endsWith("At") ? "Timestamp" : "Json" } }))
  return [...within(all, ""), ...ofTheDatabase]
}

/** Keeps what the source fails with apart from what the file says. */
class SourceFailed<out E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

const jsonArray = <E, R>(documents: Stream.Stream<JsonObject, E, R>): Stream.Stream<Uint8Array, E, R> => {
  const lines = Export.ndjsonText(documents).pipe(
    Stream.mapAccum(
      () => true,
      (isFirst, text) => [false, [(isFirst ? "[\n" : ",\n") + text.trimEnd().replaceAll("\n", ",\n")]] as const,
      { onHalt: (isFirst) => [isFirst ? "[]\n" : "\n]\n"] }
    )
  )
  return Stream.encodeText(lines)
}

export const exporting = (
  given: requests.Asked & {
    readonly resource: string
    readonly format: Option.Option<Format>
    readonly output: Option.Option<string>
    readonly fileSize: Option.Option<number>
    readonly select: Option.Option<string>
    readonly escapeFormulas: boolean
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const format = formatOf(given.format, given.output)
      const folder = Option.filter(given.output, (name) => /[\\/]$/.test(name))
      if (Option.isSome(folder) && format !== "ndjson" && format !== "parquet") {
        return yield* new Usage({ description: `several files are ndjson or parquet, not ${format}: give --format` })
      }
      if (Option.isNone(folder) && Option.isSome(given.fileSize)) {
        return yield* new Usage({ description: "--file-size goes with a folder: -o FOLDER/" })
      }
      const opened = yield* resource(given.resource)
      const asked = yield* requests.request(opened, given)
      const selected = requests.listed(given.select)
      // Who exports wants all of it.
      const request = { ...asked, scan: true, ...(selected === undefined ? {} : { select: selected }) }
      const progress = yield* output.progress("exported")
      let count = 0
      const documents = opened.repository.queryJson(request).pipe(
        Stream.tap(() => {
          count += 1
          return count % 100 === 0 ? progress.update(count) : Effect.void
        })
      )
      const parquet =
        format === "parquet" ? yield* Effect.promise(() => import("../../../plugins/Parquet.ts")) : undefined
      const form =
        parquet === undefined ? undefined : { columns: parquetColumns(parquet.columnsOf(opened.definition), selected) }
      if (Option.isSome(folder)) {
        const bytesPerFile = Option.getOrElse(given.fileSize, () => 67_108_864)
        const files: Stream.Stream<Uint8Array, Stream.Error<typeof documents> | Failure> =
          parquet === undefined || form === undefined
            ? Export.ndjsonFiles(documents, { bytesPerFile })
            : parquet.files(documents, { ...form, bytesPerFile })
        const written = yield* Effect.ensuring(intoFolder(folder.value, format, files), progress.end)
        return yield* output.note(`exported ${counted(count, "document")} into ${counted(written, "file")}`)
      }
      const columns = selected ?? Export.columnsOf(opened.definition)
      const bytes: Stream.Stream<Uint8Array, Stream.Error<typeof documents> | Failure> =
        parquet !== undefined && form !== undefined
          ? parquet.encode(documents, form)
          : format === "csv"
            ? Export.csv(documents, { columns, escapeFormulas: given.escapeFormulas })
            : format === "json"
              ? jsonArray(documents)
              : Export.ndjson(documents)
      const write = Effect.gen(function* () {
        if (Option.isSome(given.output)) return yield* intoFile(given.output.value, bytes)
        yield* output.text(bytes)
      })
      yield* Effect.ensuring(write, progress.end)
      yield* output.note(`exported ${counted(count, "document")}`)
    })
  )

// -----------------------------------------------------------------------------
// In
// -----------------------------------------------------------------------------

/** A document, or why what stands at its place is none. `line`: from 1; of JSON the number of the document. */
type Read = Result.Result<{ readonly line: number; readonly document: JsonObject }, string>

const readNdjson = (file: string) =>
  Export.fromNdjson(input.bytesOf(file)).pipe(
    Stream.map((found): Read => Result.mapError(found, (problem) => problem.message))
  )

const readJson = (file: string) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const value = yield* Effect.flatMap(input.textOf(file), (text) =>
        input.parse(text, file === "-" ? "standard input" : file)
      )
      const all: ReadonlyArray<Json> = isList(value) ? value : [value]
      return Stream.fromIterable(
        all.map((document, index): Read =>
          isObject(document)
            ? Result.succeed({ line: index + 1, document })
            : Result.fail(`document ${index + 1}: Expected an object`)
        )
      )
    })
  )

/** Columns are paths; an empty cell is a field that is not there. */
const readCsv = (opened: requests.Opened, file: string) => {
  const codecs = new Map(opened.definition.attributes.map(({ codec, path }) => [path.join("."), codec]))
  codecs.set(opened.definition.primaryKey, "string")
  const rows = Stream.decodeText(input.bytesOf(file)).pipe(
    Stream.pipeThroughChannel(Csv.decodeString({ headers: true })),
    Stream.mapError((error) =>
      error._tag === "Unreadable"
        ? error
        : new Unreadable({ description: `${file === "-" ? "standard input" : file} is no CSV: ${error.message}` })
    )
  )
  return rows.pipe(
    Stream.zipWithIndex,
    Stream.map(([row, index]): Read => {
      const document: Record<string, Json> = {}
      for (const [column, cell] of Object.entries(row)) {
        const name = column.charCodeAt(0) === 0xfeff ? column.slice(1) : column
        if (cell === "") continue
        if (notation.isForbidden(name))
          return Result.fail(`line ${index + 2}: a column has no name that a field can have`)
        const path = codecs.has(name) ? name.split(".") : [name]
        let place: Record<string, Json> = document
        for (const part of path.slice(0, -1)) place = (place[part] ??= {}) as Record<string, Json>
        place[path.at(-1)!] = notation.valueFor(codecs.get(name), cell)
      }
      return Result.succeed({ line: index + 2, document })
    })
  )
}

/** Failures that are told one by one. */
const mostTold = 20

export const importing = (given: {
  readonly resource: string
  readonly file: string
  readonly format: Option.Option<Exclude<Format, "parquet">>
  readonly mode: "insert" | "upsert" | "replace"
  readonly skip: number
  readonly concurrency: number
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const format = formatOf(given.format, Option.some(given.file))
      if (format === "parquet") {
        return yield* new Usage({
          description: `${given.file} is Parquet, which is only written: make lines of JSON of it, such as with DuckDB (COPY (FROM 'users.parquet') TO 'users.json'), and import those with --format ndjson`
        })
      }
      const opened = yield* resource(given.resource)
      const read =
        format === "csv"
          ? readCsv(opened, given.file)
          : format === "json"
            ? readJson(given.file)
            : readNdjson(given.file)
      const progress = yield* output.progress("imported")
      let [seen, written, failed] = [0, 0, 0]
      const fail = Effect.fnUntraced(function* (message: string) {
        failed += 1
        if (failed <= mostTold) yield* output.warn(message)
        if (failed === mostTold + 1) yield* output.warn("more fail: only their number is told")
      })
      /** Of what is under way: where it stands, and how many were read up to it. */
      const places: Array<{ readonly line: number; readonly read: number }> = []
      let [drawn, done] = [given.skip, given.skip]
      const documents = read.pipe(
        Stream.drop(given.skip),
        Stream.mapEffect(
          Effect.fnUntraced(function* (one: Read) {
            drawn += 1
            if (Result.isFailure(one)) {
              yield* fail(one.failure)
              return []
            }
            places.push({ line: one.success.line, read: drawn })
            return [one.success.document]
          })
        ),
        Stream.flatMap(Stream.fromIterable)
      )
      const outcomes = opened.repository.writeAllJson(documents, { mode: given.mode, concurrency: given.concurrency })
      yield* Stream.runForEach(
        outcomes,
        Effect.fnUntraced(function* ({ result }) {
          seen += 1
          const place = places.shift()
          done = place?.read ?? done
          if (Result.isSuccess(result)) written += 1
          else yield* fail(`line ${place?.line ?? seen}: ${result.failure.message}`)
          if (seen % 100 === 0) yield* progress.update(seen)
        })
      ).pipe(
        Effect.onInterrupt(() =>
          output.warn(
            `interrupted, with ${counted(written, "document")} written. To go on, run it again with --skip ${done}`
          )
        ),
        Effect.ensuring(progress.end)
      )
      yield* output.value(
        { written, failed },
        `imported ${counted(written, "document")}${failed === 0 ? "" : `, ${failed} failed`}`
      )
      if (failed > 0)
        return yield* new Partial({ description: `not written: ${failed} of ${counted(written + failed, "document")}` })
    })
  )
