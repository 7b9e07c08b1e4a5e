/** Commands that carry many documents out and in. */
import * as Effect from "effect/Effect"
import * as Context from "effect/Context"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { JsonObject } from "../../../encoding/Json.ts"
import * as Export from "../../../Export.ts"
import * as Importer from "../../../plugins/Importer.ts"
import type { Column, Failure } from "../../../plugins/Parquet.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
import type { StoreError } from "../../../storage/StoreError.ts"
import { counted, fileFailure, Partial, Unreadable, Usage } from "../failure.ts"
import * as input from "../input.ts"
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

const isUrl = (file: string): boolean => /^https?:\/\//i.test(file)

const isObject = (file: string): boolean => /^s3:\/\//i.test(file)

/** Standard input in a file of its own, for what is read in any order. */
const spooled = Effect.fnUntraced(function* () {
  const fs = yield* FileSystem.FileSystem
  const failed = fileFailure("standard input", "read")
  const path = yield* Effect.mapError(fs.makeTempFileScoped({ prefix: "s3db-" }), failed)
  yield* Stream.run(
    Stream.mapError(input.bytesOf("-"), (error) => new SourceFailed(error)),
    fs.sink(path)
  ).pipe(Effect.mapError((error) => (error instanceof SourceFailed ? error.error : failed(error))))
  return { ...(yield* Importer.fromFile(path)), name: "standard input" }
})

/** Where the bytes are: a file, an address, an object of a bucket, or standard input. */
const sourceOf = Effect.fnUntraced(function* (
  file: string,
  format: Importer.Format | undefined
): Effect.fn.Return<
  Importer.Source<Unreadable | Importer.Unreadable | StoreError, FileSystem.FileSystem | Stdio.Stdio>,
  Unreadable | Usage | Importer.Unreadable | StoreError | ConnectionString.InvalidConnectionString,
  FileSystem.FileSystem | Stdio.Stdio | Scope.Scope
> {
  if (file === "-" && (format === "parquet" || format === "xlsx")) return yield* spooled()
  if (file === "-") return Importer.fromStream("standard input", input.bytesOf("-"))
  if (isUrl(file)) return yield* Effect.provide(Importer.fromUrl(file), FetchHttpClient.layer)
  if (!isObject(file)) return yield* Importer.fromFile(file)
  const [, folder = "", key = "", query = ""] = /^(.*?)\/([^/?]+)(\?.*)?$/.exec(file) ?? []
  if (key === "" || folder.endsWith("/")) {
    return yield* new Usage({ description: "the object is named with its bucket: s3://BUCKET/KEY" })
  }
  const context = yield* Layer.build(ConnectionString.layer(Redacted.make(`${folder}${query}`)))
  return yield* Importer.fromStore(Context.get(context, ObjectStore), decodeURIComponent(key))
})

export interface ImportGiven {
  readonly resource: string
  readonly file: string
  readonly format: Option.Option<Importer.Format>
  readonly delimiter: Option.Option<string>
  readonly encoding: Option.Option<string>
  readonly path: Option.Option<string>
  readonly sheet: Option.Option<string>
  readonly header: Option.Option<string>
  readonly map: Option.Option<string>
  readonly idFrom: Option.Option<string>
  readonly deduplicateBy: Option.Option<string>
  readonly mode: "insert" | "upsert" | "replace"
  readonly skipExisting: boolean
  readonly skip: number
  readonly concurrency: number
  readonly infer: boolean
  readonly dryRun: boolean
  readonly resume: Option.Option<string>
  readonly rejects: Option.Option<string>
  readonly maxRejects: Option.Option<number>
}

const delimiterOf = (
  given: ImportGiven,
  format: Importer.Format | undefined
): Effect.Effect<string | undefined, Usage> => {
  if (Option.isNone(given.delimiter)) return Effect.succeed(undefined)
  if (format !== undefined && format !== "csv" && format !== "tsv") {
    return new Usage({ description: "--delimiter goes with CSV: give --format csv" })
  }
  const found = given.delimiter.value === "tab" ? "\t" : given.delimiter.value
  return /^[^"\r\n]$/.test(found)
    ? Effect.succeed(found)
    : new Usage({ description: "--delimiter has to be one character, or tab" })
}

/** `none`, the number of a row, or the names of the columns. */
const headerOf = (given: Option.Option<string>): false | number | ReadonlyArray<string> | undefined => {
  if (Option.isNone(given)) return undefined
  if (given.value === "none") return false
  return /^\d+$/.test(given.value) ? Number(given.value) : given.value.split(",").map((name) => name.trim())
}

const readOptions = Effect.fnUntraced(function* (given: ImportGiven) {
  const ofName = given.file === "-" ? undefined : Importer.formatOfName(given.file)
  const format = Option.getOrUndefined(given.format) ?? ofName
  const delimiter = yield* delimiterOf(given, format)
  return {
    // A delimiter is said of what has some.
    format: format ?? (delimiter === undefined ? undefined : ("csv" as const)),
    delimiter,
    encoding: Option.getOrUndefined(given.encoding),
    path: Option.getOrUndefined(given.path),
    sheet: Option.getOrUndefined(Option.map(given.sheet, (name) => (/^\d+$/.test(name) ? Number(name) : name))),
    header: headerOf(given.header)
  }
})

const decodeMapping = Schema.decodeUnknownEffect(Importer.Mapping)

const mappingOf = Effect.fnUntraced(function* (file: Option.Option<string>) {
  if (Option.isNone(file)) return undefined
  const name = file.value
  const json = yield* Effect.flatMap(input.textOf(name), (text) => input.parse(text, name))
  return yield* Effect.mapError(
    decodeMapping(json),
    (error) => new Unreadable({ description: `${name} is no mapping: ${error.message}` })
  )
})

/** Failures that are told one by one. */
const mostTold = 20

/** Writes a definition that fits the file, for `create resource`. */
const inferring = Effect.fnUntraced(function* (given: ImportGiven) {
  const output = yield* Output
  const options = yield* readOptions(given)
  const found = yield* Importer.infer(yield* sourceOf(given.file, options.format), options)
  if (found.mapping !== undefined) {
    yield* output.note(`import it with --map, of a file with ${JSON.stringify(found.mapping)}`)
  }
  const { attributes, format, problems, rows } = found
  const faulty = problems === 0 ? "" : `, and ${problems} that are none`
  yield* output.note(`guessed of ${counted(rows, "row")} of ${format}${faulty}`)
  yield* output.value({ attributes }, JSON.stringify({ attributes }, undefined, 2))
}, Effect.scoped)

/** What stands where: of Parquet, XLSX and JSON there are no lines. */
const placeOf = ({ line, row }: Importer.Reject, format: string): string =>
  format === "json"
    ? `document ${row}`
    : line === undefined || format === "xlsx"
      ? `row ${line ?? row}`
      : `line ${line}`

const writing = Effect.fnUntraced(function* (given: ImportGiven) {
  const output = yield* Output
  const options = yield* readOptions(given)
  const mapping = yield* mappingOf(given.map)
  const opened = yield* resource(given.resource)
  const source = yield* sourceOf(given.file, options.format)
  const progress = yield* output.progress("imported")
  const [ending] = [options.format ?? ""]
  let [failed, rows, written] = [0, given.skip, 0]
  const warn = Effect.fnUntraced(function* (reject: Importer.Reject) {
    failed += 1
    if (failed <= mostTold) {
      const column = reject.issues.length > 0 || reject.column === undefined ? "" : `column ${reject.column}: `
      yield* output.warn(`${placeOf(reject, ending)}: ${column}${reject.problem}`)
    }
    if (failed === mostTold + 1) {
      const where = Option.isSome(given.rejects)
        ? `${given.rejects.value} has all of them`
        : "--rejects FILE has all of them"
      yield* output.warn(`more fail: ${where}`)
    }
  })
  const intoFile: Importer.Rejects<Importer.Unreadable, FileSystem.FileSystem> = Option.isSome(given.rejects)
    ? Importer.rejectsFile(given.rejects.value)
    : () => Effect.succeed(() => Effect.void)
  const report = yield* Importer.runUntyped(opened, source, {
    ...options,
    mapping,
    mode: given.mode,
    existing: given.skipExisting ? "skip" : "reject",
    id: Option.getOrUndefined(Option.map(given.idFrom, (fields) => ({ from: requests.listed(Option.some(fields)) }))),
    deduplicateBy: requests.listed(given.deduplicateBy),
    name: Option.getOrUndefined(given.resume),
    skip: given.skip,
    concurrency: given.concurrency,
    maxRejects: Option.getOrUndefined(given.maxRejects),
    dryRun: given.dryRun,
    rejects: (after) => Effect.map(intoFile(after), (write) => (reject) => Effect.andThen(write(reject), warn(reject))),
    onProgress: (now) => {
      rows = now.rows
      written = now.written
      return now.size === undefined ? progress.update(rows) : progress.update(Math.min(now.bytes, now.size), now.size)
    }
  }).pipe(
    Effect.onInterrupt(() =>
      output.warn(
        `interrupted, with ${counted(written, "document")} written. To go on, run it again${
          Option.isSome(given.resume) ? "" : ` with --skip ${rows}`
        }`
      )
    ),
    Effect.ensuring(progress.end)
  )
  const { rejected, skipped } = report
  const done = given.dryRun ? "would import" : "imported"
  const left = skipped === 0 ? "" : `, ${skipped} were there`
  yield* output.value(
    { written: report.written, failed: rejected, ...(given.skipExisting ? { skipped } : {}) },
    `${done} ${counted(report.written, "document")}${left}${rejected === 0 ? "" : `, ${rejected} failed`}`
  )
  if (rejected > 0) {
    const all = report.written + rejected
    return yield* new Partial({ description: `not written: ${rejected} of ${counted(all, "document")}` })
  }
}, Effect.scoped)

export const importing = (given: ImportGiven) => (given.infer ? inferring(given) : withDatabase(writing(given)))
