/** Commands that carry many documents out and in. */
import * as Effect from "effect/Effect"
import * as Context from "effect/Context"
import * as Csv from "effect/encoding/Csv"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as AST from "effect/SchemaAST"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import * as Export from "../../../Export.ts"
import { isList, isObject } from "../../../internal/json.ts"
import { type Field, fieldTree } from "../../../internal/merge.ts"
import type { Column, Failure } from "../../../plugins/Parquet.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
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

/**
 * Writes a file so that it is there in full or not at all. A link is followed; what is no file, such as a device or a pipe, is written to, and
 * never taken the place of.
 */
export const intoFile = Effect.fnUntraced(function* <E, R>(given: string, bytes: Stream.Stream<Uint8Array, E, R>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = yield* Effect.orElseSucceed(fs.realPath(given), () => given)
  const failed = fileFailure(given, "written", path.dirname(file))
  const there = yield* Effect.option(fs.stat(file))
  const isNew = Option.isNone(there) || there.value.type === "File"
  const write = (target: string) =>
    Stream.run(
      Stream.mapError(bytes, (error) => new SourceFailed(error)),
      fs.sink(target)
    ).pipe(Effect.mapError((error) => (error instanceof SourceFailed ? (error.error as E) : failed(error))))
  if (!isNew) return yield* write(file)
  const folder = yield* Effect.mapError(
    fs.makeTempDirectoryScoped({ directory: path.dirname(file), prefix: ".s3db-" }),
    failed
  )
  const fresh = path.join(folder, path.basename(file))
  yield* write(fresh)
  yield* Effect.mapError(fs.rename(fresh, file), failed)
}, Effect.scoped)

/** Asks before a file is overwritten; a device or a pipe has nothing to lose. */
export const mayOverwrite = Effect.fnUntraced(function* (file: string, force: boolean) {
  const output = yield* Output
  const fs = yield* FileSystem.FileSystem
  const there = yield* Effect.option(fs.stat(file))
  if (Option.isSome(there) && there.value.type === "File") yield* output.confirm(`Overwrite ${file}?`, force)
})

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

const contentTypes = { ndjson: "application/x-ndjson", parquet: "application/vnd.apache.parquet" }

/** Writes files into a bucket, below a prefix with nothing in it. Gives their number. */
const intoBucket = Effect.fnUntraced(function* <E, R>(
  url: Redacted.Redacted<string>,
  extension: keyof typeof contentTypes,
  files: Stream.Stream<Uint8Array, E, R>
) {
  const context = yield* Layer.build(ConnectionString.layer(url))
  const written = yield* Export.writeFiles(files, {
    store: Context.get(context, ObjectStore),
    // The URL has it.
    prefix: "",
    extension,
    contentType: contentTypes[extension]
  })
  return written.length
}, Effect.scoped)

/** Where several files go: a folder, or a bucket. */
type Several =
  | { readonly _tag: "Folder"; readonly folder: string }
  | { readonly _tag: "Bucket"; readonly url: Redacted.Redacted<string> }

const severalOf = Effect.fnUntraced(function* (output: Option.Option<string>) {
  if (Option.isNone(output)) return undefined
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(output.value)) {
    return /[\\/]$/.test(output.value) ? { _tag: "Folder" as const, folder: output.value } : undefined
  }
  const parsed = yield* ConnectionString.parse(output.value)
  if (parsed._tag === "S3") return { _tag: "Bucket" as const, url: Redacted.make(output.value) }
  return yield* new Usage({
    description: "--output has the URL of a bucket, or a path: a folder on this machine is FOLDER/, without file://"
  })
})

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
    readonly force: boolean
  }
) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const several: Several | undefined = yield* severalOf(given.output)
      const format = formatOf(
        given.format,
        Option.map(given.output, (name) =>
          several === undefined ? name : name.replace(/\?.*$/s, "").replace(/\/+$/, "")
        )
      )
      if (several !== undefined && format !== "ndjson" && format !== "parquet") {
        return yield* new Usage({ description: `several files are ndjson or parquet, not ${format}: give --format` })
      }
      if (several === undefined && Option.isSome(given.fileSize)) {
        return yield* new Usage({ description: "--file-size goes with a folder or a bucket: -o FOLDER/" })
      }
      if (several === undefined && Option.isSome(given.output)) yield* mayOverwrite(given.output.value, given.force)
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
      if (several !== undefined && (format === "ndjson" || format === "parquet")) {
        const bytesPerFile = Option.getOrElse(given.fileSize, () => 67_108_864)
        const files: Stream.Stream<Uint8Array, Stream.Error<typeof documents> | Failure> =
          parquet === undefined || form === undefined
            ? Export.ndjsonFiles(documents, { bytesPerFile })
            : parquet.files(documents, { ...form, bytesPerFile })
        const write = Effect.gen(function* () {
          if (several._tag === "Folder") return yield* intoFolder(several.folder, format, files)
          return yield* intoBucket(several.url, format, files)
        })
        const written = yield* Effect.ensuring(write, progress.end)
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

/** What an empty cell of a column means. */
const emptyOf = ({ attributes, portable, schema }: requests.Opened["definition"]) => {
  const tree = fieldTree(AST.toType(schema.ast), "error")
  const given = isObject(portable) ? portable["defaults"] : undefined
  const defaults = given !== undefined && isObject(given) ? given : {}
  return (path: ReadonlyArray<string>): Json | undefined => {
    let [fields, field] = [tree, undefined as Field | undefined]
    for (const part of path) {
      field = fields?.fields.get(part)
      fields = field?.tree
    }
    // Within an object that need not be there, nothing has to be.
    if (field === undefined || field.optional || path.length > 1) return undefined
    if (field.nullable) return null
    const isText = attributes.some(
      ({ codec, path: [name, ...below] }) => below.length === 0 && name === path[0] && codec === "string"
    )
    return isText && !Object.hasOwn(defaults, path[0]!) ? "" : undefined
  }
}

interface Header {
  readonly name: string
  readonly path: ReadonlyArray<string>
  readonly codec: string | undefined
  readonly empty: Json | undefined
}

/** Columns are paths; an empty cell is a field that is not there, unless it has to be, and is text or may be null. */
const readCsv = (opened: requests.Opened, file: string, delimiter: string) => {
  const codecs = new Map(opened.definition.attributes.map(({ codec, path }) => [path.join("."), codec]))
  codecs.set(opened.definition.primaryKey, "string")
  const empty = emptyOf(opened.definition)
  const named = file === "-" ? "standard input" : file
  const refuse = (why: string) => new Unreadable({ description: `${named} is no CSV: ${why}` })
  const headers = (cells: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Header>, Unreadable> => {
    const names = cells.map((cell, i) => (i === 0 && cell.charCodeAt(0) === 0xfeff ? cell.slice(1) : cell).trim())
    const twice = names.find((name, i) => names.indexOf(name) < i)
    if (twice !== undefined) return Effect.fail(refuse(`it has two columns called ${JSON.stringify(twice)}`))
    if (names.some(notation.isForbidden)) return Effect.fail(refuse("a column has no name that a field can have"))
    const other = names.length === 1 ? /[;\t|]/.exec(names[0]!)?.[0] : undefined
    if (other !== undefined) {
      const flag = other === "\t" ? "tab" : JSON.stringify(other)
      return Effect.fail(refuse(`it has one column alone, ${JSON.stringify(names[0])}: say --delimiter ${flag}`))
    }
    return Effect.succeed(
      names.map((name) => {
        const path = codecs.has(name) ? name.split(".") : [name]
        return { name, path, codec: codecs.get(name), empty: empty(path) }
      })
    )
  }
  const rows = input.pieces(file).pipe(
    Stream.pipeThroughChannel(Csv.decodeString({ delimiter })),
    Stream.mapError((error) => (error._tag === "Unreadable" ? error : refuse(error.message)))
  )
  return Stream.suspend(() => {
    let columns: ReadonlyArray<Header> | undefined
    let next = 1
    return Stream.mapEffect(
      rows,
      Effect.fnUntraced(function* (cells): Effect.fn.Return<ReadonlyArray<Read>, Unreadable> {
        const line = next
        next += 1 + cells.reduce((sum, cell) => sum + (cell.match(/\r\n|\r|\n/g)?.length ?? 0), 0)
        if (columns === undefined) {
          columns = yield* headers(cells)
          return []
        }
        // A blank line.
        if (cells.length === 1 && cells[0] === "" && (columns.length > 1 || columns[0]?.empty === undefined)) return []
        if (cells.length !== columns.length) {
          return [
            Result.fail(
              `line ${line}: Expected ${counted(columns.length, "cell")}, as the first line has, no ${cells.length}`
            )
          ]
        }
        const document: Record<string, Json> = {}
        for (const [i, { codec, empty, path }] of columns.entries()) {
          const cell = cells[i]!
          const value = cell === "" ? empty : notation.valueFor(codec, cell)
          if (value === undefined) continue
          let place: Record<string, Json> = document
          for (const part of path.slice(0, -1)) place = (place[part] ??= {}) as Record<string, Json>
          place[path.at(-1)!] = value
        }
        return [Result.succeed({ line, document })]
      })
    ).pipe(Stream.flatMap(Stream.fromIterable))
  })
}

/** A file that is read in any order: standard input goes through one of its own. */
const seekable = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const failed = fileFailure(file === "-" ? "standard input" : file, "read")
  let path = file
  if (file === "-") {
    path = yield* Effect.mapError(fs.makeTempFileScoped({ prefix: "s3db-" }), failed)
    yield* Stream.run(
      Stream.mapError(input.bytesOf(file), (error) => new SourceFailed(error)),
      fs.sink(path)
    ).pipe(Effect.mapError((error) => (error instanceof SourceFailed ? error.error : failed(error))))
  }
  const opened = yield* Effect.mapError(fs.open(path), failed)
  const { size, type } = yield* Effect.mapError(opened.stat, failed)
  if (type !== "File") return yield* new Unreadable({ description: `${file} cannot be read: it is no file` })
  const read = Effect.fnUntraced(function* (start: number, end: number) {
    const bytes = new Uint8Array(end - start)
    yield* opened.seek(BigInt(start), "start")
    let filled = 0
    while (filled < bytes.length) {
      const more = Number(yield* opened.read(bytes.subarray(filled)))
      if (more === 0) break
      filled += more
    }
    return bytes.subarray(0, filled)
  })
  return {
    byteLength: Number(size),
    read: (start: number, end: number) => Effect.mapError(read(start, end), failed)
  }
})

const readParquet = (opened: requests.Opened, file: string) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const parquet = yield* Effect.promise(() => import("../../../plugins/Parquet.ts"))
      return parquet.decode(yield* seekable(file), opened.definition)
    })
  ).pipe(
    Stream.zipWithIndex,
    Stream.map(([document, index]): Read => Result.succeed({ line: index + 1, document }))
  )

const delimiterOf = (given: Option.Option<string>, format: Format): Effect.Effect<string, Usage> => {
  if (Option.isNone(given)) return Effect.succeed(",")
  if (format !== "csv") return new Usage({ description: "--delimiter goes with CSV: give --format csv" })
  const found = given.value === "tab" ? "\t" : given.value
  return /^[^"\r\n]$/.test(found)
    ? Effect.succeed(found)
    : new Usage({ description: "--delimiter has to be one character, or tab" })
}

/** Failures that are told one by one. */
const mostTold = 20

export const importing = (given: {
  readonly resource: string
  readonly file: string
  readonly format: Option.Option<Format>
  readonly delimiter: Option.Option<string>
  readonly mode: "insert" | "upsert" | "replace"
  readonly skip: number
  readonly concurrency: number
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const format = formatOf(given.format, Option.some(given.file))
      const delimiter = yield* delimiterOf(given.delimiter, format)
      const opened = yield* resource(given.resource)
      const read: Stream.Stream<
        Read,
        Stream.Error<ReturnType<typeof readParquet | typeof readCsv | typeof readJson>>,
        FileSystem.FileSystem | Stdio.Stdio | Scope.Scope
      > = format === "parquet"
        ? readParquet(opened, given.file)
        : format === "csv"
          ? readCsv(opened, given.file, delimiter)
          : format === "json"
            ? readJson(given.file)
            : readNdjson(given.file)
      /** What stands where: of Parquet and JSON there are no lines. */
      const place = format === "parquet" ? "row" : format === "json" ? "document" : "line"
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
          const from = places.shift()
          done = from?.read ?? done
          if (Result.isSuccess(result)) written += 1
          else yield* fail(`${place} ${from?.line ?? seen}: ${result.failure.message}`)
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
    }).pipe(Effect.scoped)
  )
