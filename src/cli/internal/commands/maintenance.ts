/** The commands that take care of a resource, and look into how it is stored. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { force, id, least, overwrite, resource, text, texts } from "./arguments.ts"

const load = () => import("../work/maintenance.ts")

export const history = Command.make(
  "history",
  { resource, id },
  lazily(load, ({ history }) => history)
).pipe(
  Command.withDescription("Lists the earlier versions of a document"),
  Command.withExamples([{ command: "s3db history users ana" }])
)

export const restore = Command.make(
  "restore",
  {
    resource,
    id,
    version: Flag.Int("version").pipe(Flag.withDescription("The number of the version"), Flag.optional),
    time: text("time", "TIME", "As it was then: 2026-01-31T12:00:00Z"),
    force
  },
  lazily(load, ({ restore }) => restore)
).pipe(
  Command.withDescription("Makes an earlier version of a document the present one"),
  Command.withExamples([{ command: "s3db restore users ana --time 2026-01-31T12:00:00Z" }])
)

const contentGet = Command.make(
  "get",
  {
    resource,
    id,
    output: text("output", "FILE", "Where it goes (default: standard output)").pipe(Flag.withAlias("o")),
    force: overwrite
  },
  lazily(load, ({ contentGet }) => contentGet)
).pipe(
  Command.withDescription("Writes the content of a document"),
  Command.withExamples([{ command: "s3db content get users ana -o ana.png" }])
)

const contentPut = Command.make(
  "put",
  {
    resource,
    id,
    file: Argument.String("file").pipe(Argument.withDescription("Where the bytes are; - is standard input")),
    type: text("type", "TYPE", "The content type (default: application/octet-stream)")
  },
  lazily(load, ({ contentPut }) => contentPut)
).pipe(
  Command.withDescription("Gives a document the bytes of a file"),
  Command.withExamples([{ command: "s3db content put users ana ana.png --type image/png" }])
)

const contentDelete = Command.make(
  "delete",
  { resource, id, force },
  lazily(load, ({ contentDelete }) => contentDelete)
).pipe(Command.withDescription("Removes the content of a document"))

export const content = Command.make("content").pipe(
  Command.withDescription("Reads and writes the binary content of documents"),
  Command.withSubcommands([contentGet, contentPut, contentDelete])
)

export const truncate = Command.make(
  "truncate",
  { resource, force },
  lazily(load, ({ truncate }) => truncate)
).pipe(
  Command.withDescription("Deletes all documents of a resource that is declared with allowDeleteAll"),
  Command.withExamples([{ command: "s3db truncate sessions --force" }])
)

export const partitions = Command.make(
  "partitions",
  {
    resource,
    partition: Argument.String("partition").pipe(
      Argument.withDescription("The name of one of them"),
      Argument.optional
    ),
    value: texts("value", "FIELD=VALUE", "The value of one of its first fields")
  },
  lazily(load, ({ partitions }) => partitions)
).pipe(
  Command.withDescription(
    "Lists the partitions, or the values of the next field of one with their numbers of documents"
  ),
  Command.withExamples([{ command: "s3db partitions users byCountry" }])
)

export const analyze = Command.make(
  "analyze",
  {
    resource,
    sample: least("sample", 1, "How many documents are looked at (default: 100)").pipe(Flag.withDefault(100))
  },
  lazily(load, ({ analyze }) => analyze)
).pipe(
  Command.withDescription("Says how large documents are, what of them spills into bodies, and what they cost on S3"),
  Command.withExamples([{ command: "s3db analyze users --sample 500" }])
)

export const explain = Command.make(
  "explain",
  { resource, id },
  lazily(load, ({ explain }) => explain)
).pipe(
  Command.withDescription("Says where each byte of a document is"),
  Command.withExamples([{ command: "s3db explain users ana" }])
)

export const backfill = Command.make(
  "backfill",
  { resource },
  lazily(load, ({ backfill }) => backfill)
).pipe(
  Command.withDescription("Completes partitions and unique keys that were declared after documents were written"),
  Command.withExamples([{ command: "s3db backfill users" }])
)

export const repair = Command.make(
  "repair",
  { resource, fix: flag("fix", "Mends what can be mended") },
  lazily(load, ({ repair }) => repair)
).pipe(
  Command.withDescription("Finds what crashes have left behind, and what is damaged"),
  Command.withExamples([{ command: "s3db repair users" }, { command: "s3db repair users --fix" }])
)

export const upgrade = Command.make(
  "upgrade",
  { resource },
  lazily(load, ({ upgrade }) => upgrade)
).pipe(Command.withDescription("Writes documents of older schema versions in the present one"))

export const rotate = Command.make(
  "rotate",
  { resource },
  lazily(load, ({ rotate }) => rotate)
).pipe(
  Command.withDescription("Encrypts secrets under older keys anew, under the first one of S3DB_KEYS"),
  Command.withExamples([{ command: "S3DB_KEYS=new:...,old:... s3db rotate users" }])
)

export const recount = Command.make(
  "recount",
  { resource },
  lazily(load, ({ recount }) => recount)
).pipe(Command.withDescription("Makes the counters of a resource exact again"))

const loadPlugins = () => import("../work/plugins.ts")

const runPlugin = Command.make(
  "run",
  {
    plugin: Argument.String("plugin").pipe(Argument.withDescription("journal or segments: others need a program")),
    resources: Argument.String("resource").pipe(
      Argument.withDescription("Of segments: the resources"),
      Argument.variadic({ min: 0 })
    ),
    once: flag("once", "Does what there is to do, and ends"),
    every: least("every", 1, "Of segments: the seconds between two compactions (default: 300)").pipe(Flag.optional)
  },
  lazily(loadPlugins, ({ run }) => run)
).pipe(
  Command.withDescription("Does the work of a plugin that needs no code of yours, until Ctrl-C"),
  Command.withExamples([
    { command: "s3db plugins run journal", description: "What Journaler.layer does in a program" },
    { command: "s3db plugins run segments orders --once" }
  ])
)

export const plugins = Command.make(
  "plugins",
  {},
  lazily(loadPlugins, ({ plugins }) => plugins)
).pipe(
  Command.withDescription("Lists the plugins that the catalog knows, how they fare, and what does their work"),
  Command.withSubcommands([runPlugin])
)

export const watch = Command.make(
  "watch",
  {
    resource,
    interval: least("interval", 1, "Seconds between two looks (default: 5)").pipe(Flag.withDefault(5)),
    times: least("times", 1, "Ends after so many looks").pipe(Flag.optional),
    documents: flag("documents", "Shows the documents, too, as they are by then"),
    from: least("from", 0, "Of the journal: where to go on (default: its end; 0: all that it has)").pipe(
      Flag.withMetavar("POSITION"),
      Flag.optional
    ),
    listing: flag("listing", "Compares listings, also where the resource has a journal")
  },
  lazily(load, ({ watch }) => watch)
).pipe(
  Command.withDescription(
    "Tells which documents are new, changed or gone, whoever writes them: by the journal of the resource, each change in order, or by comparing listings, one LIST for each 1,000 a look"
  ),
  Command.withExamples([
    { command: "s3db watch orders --interval 2 --documents --ndjson" },
    { command: "s3db watch orders --from 4711", description: "Goes on in the journal" }
  ])
)
