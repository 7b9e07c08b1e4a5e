/** The commands that carry many documents out and in. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { conditions, least, overwrite, resource, text } from "./arguments.ts"

const load = () => import("../work/transfer.ts")

const formatFlag = <const Format extends string>(formats: ReadonlyArray<Format>) =>
  Flag.Literals("format", formats).pipe(
    Flag.withDescription("The form (default: by the name of the file, else ndjson)"),
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
    file: Argument.String("file").pipe(Argument.withDescription("Where the documents are; - is standard input")),
    format: formatFlag(["ndjson", "json", "csv", "parquet"]),
    delimiter: text("delimiter", "CHARACTER", "What is between the cells of CSV, or tab (default: ,)"),
    mode: Flag.Literals("mode", ["insert", "upsert", "replace"]).pipe(
      Flag.withDescription("What becomes of documents that are there (default: insert, which leaves them alone)"),
      Flag.withDefault("insert")
    ),
    skip: least("skip", 0, "Leaves out so many at the beginning: to go on where an import was interrupted").pipe(
      Flag.withDefault(0)
    ),
    concurrency: least("concurrency", 1, "How many writes are under way at once (default: 16)").pipe(
      Flag.withDefault(16)
    )
  },
  lazily(load, ({ importing }) => importing)
).pipe(
  Command.withDescription("Writes the documents of a file; those that cannot be are told by their line"),
  Command.withExamples([
    { command: "s3db import users users.csv --mode upsert" },
    { command: "s3db import users users.parquet", description: "Also what DuckDB, Spark or pandas have written" },
    { command: "zcat users.ndjson.gz | s3db import users -" }
  ])
)
