/** The commands that carry many documents out and in. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { conditions, least, overwrite, resource, text } from "./arguments.ts"

const load = () => import("../work/transfer.ts")

const formatFlag = <const Format extends string>(formats: ReadonlyArray<Format>, other = "ndjson") =>
  Flag.Literals("format", formats).pipe(
    Flag.withDescription(`The form (default: by the name of the file, else ${other})`),
    Flag.optional
  )

export const exporting = Command.make(
  "export",
  {
    resource,
    ...conditions,
    format: formatFlag(["ndjson", "json", "csv", "parquet"]),
    output: text(
      "output",
      "FILE",
      "Where it goes, in full or not at all (default: standard output). FOLDER/ or s3://BUCKET/PREFIX, new or empty, takes several files, of ndjson or parquet"
    ).pipe(Flag.withAlias("o")),
    fileSize: least(
      "file-size",
      1,
      "With FOLDER/ or s3://: the bytes that a file has before the next begins (default: 64 MiB)"
    ).pipe(Flag.optional),
    select: text("select", "FIELDS", "Only these fields, with commas between them"),
    escapeFormulas: flag("escape-formulas", "In CSV: makes texts harmless that a spreadsheet takes for formulas"),
    force: overwrite
  },
  lazily(load, ({ exporting }) => exporting)
).pipe(
  Command.withDescription("Writes all documents, or those that meet conditions, without their secrets"),
  Command.withExamples([
    { command: "s3db export users -o users.csv" },
    { command: "s3db export users -o users/ --format parquet", description: "Files for DuckDB, Spark and others" },
    { command: "s3db export users -o s3://lake/users --format parquet", description: "The same in a bucket" },
    { command: "s3db export users --where country=BR | gzip > users.ndjson.gz" }
  ])
)

export const importing = Command.make(
  "import",
  {
    resource,
    file: Argument.String("file").pipe(
      Argument.withDescription("Where the documents are: a file, https://..., s3://BUCKET/KEY; - is standard input")
    ),
    format: formatFlag(["ndjson", "json", "csv", "tsv", "parquet", "xlsx"], "what it begins with"),
    delimiter: text("delimiter", "CHARACTER", "What is between the cells of CSV, or tab (default: by the first lines)"),
    encoding: text("encoding", "NAME", "The encoding of text, such as windows-1252 (default: UTF-8, or by its mark)"),
    path: text("path", "PATH", "Of JSON: where the list of documents is, as data.items"),
    sheet: text("sheet", "NAME", "Of XLSX: its name or number (default: the first)"),
    header: text(
      "header",
      "ROW",
      "The row with the names of the columns, or none, or the names, with commas between them (default: the first)"
    ),
    map: text("map", "FILE", "A mapping as JSON: which field is made of which column, and how"),
    idFrom: text("id-from", "FIELDS", "Makes ids of these fields, the same of the same values"),
    deduplicateBy: text("deduplicate-by", "FIELDS", "Rejects rows with the values of a row before"),
    mode: Flag.Literals("mode", ["insert", "upsert", "replace"]).pipe(
      Flag.withDescription("What becomes of documents that are there (default: insert, which leaves them alone)"),
      Flag.withDefault("insert")
    ),
    skipExisting: flag("skip-existing", "With insert: a document that is there is no failure"),
    skip: least("skip", 0, "Leaves out so many at the beginning: to go on where an import was interrupted").pipe(
      Flag.withDefault(0)
    ),
    concurrency: least("concurrency", 1, "How many writes are under way at once (default: 16)").pipe(
      Flag.withDefault(16)
    ),
    infer: flag("infer", "Writes nothing, and guesses a definition that fits the file, for create resource"),
    dryRun: flag("dry-run", "Writes nothing, and tells what would fail"),
    resume: text("resume", "NAME", "Keeps how far it is under this name, and goes on from there"),
    rejects: text("rejects", "FILE", "Where rows go that fail, as lines of JSON with row, reason and original"),
    maxRejects: least("max-rejects", 0, "Ends when more fail").pipe(Flag.optional)
  },
  lazily(load, ({ importing }) => importing)
).pipe(
  Command.withDescription("Writes the documents of a file; those that cannot be are told by their line"),
  Command.withExamples([
    { command: "s3db import users users.csv --mode upsert" },
    { command: "s3db import users users.xlsx --infer | s3db create resource users -", description: "A definition" },
    { command: "s3db import users https://example.org/users.csv.gz --resume users --rejects rejects.ndjson" },
    { command: "s3db import users users.parquet", description: "Also what DuckDB, Spark or pandas have written" },
    { command: "cat users.ndjson.gz | s3db import users -" }
  ])
)
