/** The commands around a database. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { force, least, resource, text, texts } from "./arguments.ts"

export const doctor = Command.make(
  "doctor",
  {},
  lazily(
    () => import("../work/doctor.ts"),
    ({ doctor }) => doctor
  )
).pipe(
  Command.withDescription(
    "Checks connection, permissions, clock, conditional writes, metadata and latency, and says what to do"
  ),
  Command.withExamples([{ command: "s3db doctor --url 's3://bucket?region=eu-west-1'" }])
)

export const init = Command.make(
  "init",
  {
    folder: Argument.String("folder").pipe(
      Argument.withDescription("Where it goes: an empty folder (default: this one)"),
      Argument.withDefault(".")
    )
  },
  lazily(
    () => import("../work/init.ts"),
    ({ init }) => init
  )
).pipe(
  Command.withDescription("Makes a small project that runs: a resource, a layer for memory, folder and S3, a test"),
  Command.withExamples([{ command: "npx effect-s3db init my-tasks" }])
)

export const seed = Command.make(
  "seed",
  {
    resource,
    count: least("count", 1, "How many documents (default: 10)").pipe(Flag.withAlias("n"), Flag.withDefault(10)),
    factory: text("factory", "FILE", "A module of yours that exports a function by default: (index) => document"),
    seed: text("seed", "TEXT", "The same documents each time")
  },
  lazily(
    () => import("../work/seed.ts"),
    ({ seed }) => seed
  )
).pipe(
  Command.withDescription("Writes documents for trying things out, made up by the schema or by a factory of yours"),
  Command.withExamples([{ command: "s3db seed users -n 100" }, { command: "s3db seed users --factory ./user.ts" }])
)

export const migrateFrom = Command.make(
  "migrate-from",
  {
    source: Argument.Redacted("source").pipe(
      Argument.withDescription(
        "The connection string of the old database (default: S3DB_OLD_URL, which nobody else sees). Its passphrase is taken from S3DB_OLD_PASSPHRASE alone"
      ),
      Argument.optional
    ),
    dryRun: flag("dry-run", "Reads everything and writes nothing"),
    verify: flag("verify", "Only compares each record with its document"),
    noVerify: flag("no-verify", "Does not read again what was written"),
    resource: texts("resource", "NAME", "Only this resource").pipe(Flag.withAlias("r")),
    rules: Flag.Literals("rules", ["keep", "types"]).pipe(
      Flag.withDescription(
        "Whether what is moved has to meet the rules of the old definitions (keep, the default), or only their types"
      ),
      Flag.withDefault("keep")
    ),
    content: flag("content", "Moves binary content: the resources are declared so that documents can have some"),
    rejects: text(
      "rejects",
      "FILE",
      "Where each record goes that was not moved, or not in full: one of JSON on a line"
    ),
    concurrency: least("concurrency", 1, "How many records are under way at once (default: 16)").pipe(
      Flag.withDefault(16)
    )
  },
  lazily(
    () => import("../work/migrateFrom.ts"),
    ({ migrateFrom }) => migrateFrom
  )
).pipe(
  Command.withDescription(
    "Moves a database that s3db.js has written into this one; the old one is only read. It can be run again, and goes on"
  ),
  Command.withExamples([
    { command: "s3db migrate-from s3://old-bucket/app --url s3://new-bucket/app --dry-run" },
    { command: "s3db migrate-from file:///srv/old-data --url file:///srv/data --rejects rejects.ndjson" }
  ])
)

const load = () => import("../work/migrate.ts")

const folder = Flag.String("folder").pipe(
  Flag.withAlias("d"),
  Flag.withDescription("Where the migrations are (default: ./migrations)"),
  Flag.withDefault("./migrations")
)

const goOn = flag("force", "Goes on with the others though a file has changed since it was run")

export const migrate = Command.make("migrate").pipe(
  Command.withDescription("Runs programs of yours once each, in their order, by one process at a time"),
  Command.withSubcommands([
    Command.make(
      "generate",
      { name: Argument.String("name").pipe(Argument.withDescription("What it is called")), folder },
      lazily(load, ({ generate }) => generate)
    ).pipe(
      Command.withDescription("Makes the file of a migration"),
      Command.withExamples([{ command: "s3db migrate generate add-country" }])
    ),
    Command.make(
      "up",
      { folder, steps: least("steps", 1, "At most so many").pipe(Flag.optional), force: goOn },
      lazily(load, ({ up }) => up)
    ).pipe(Command.withDescription("Runs those that were not run yet")),
    Command.make(
      "down",
      {
        folder,
        batches: least("batches", 1, "What the last so many runs have done (default: 1)").pipe(Flag.withDefault(1)),
        force
      },
      lazily(load, ({ down }) => down)
    ).pipe(Command.withDescription("Takes back what the last run of up has done")),
    Command.make(
      "status",
      { folder },
      lazily(load, ({ status }) => status)
    ).pipe(Command.withDescription("Lists them: applied, pending, changed after being run"))
  ])
)
