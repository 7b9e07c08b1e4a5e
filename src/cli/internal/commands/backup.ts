/** The commands that take backups, look after them and put them back. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { force, least, text, texts } from "./arguments.ts"

const load = () => import("../work/backup.ts")

const vault = Flag.Redacted("vault").pipe(
  Flag.withMetavar("URL"),
  Flag.withDescription("Where backups are, as of --url: another bucket, prefix or folder (default: S3DB_VAULT)"),
  Flag.optional
)

const id = Argument.String("id").pipe(Argument.withDescription("The id of the backup, or latest"))

const concurrency = least("concurrency", 1, "How many objects are under way at once (default: 16)").pipe(
  Flag.withDefault(16)
)

const keep = (name: string, description: string) => least(name, 0, description).pipe(Flag.optional)

const where = {
  vault,
  mode: Flag.Literals("mode", ["empty", "merge", "skip", "replace"]).pipe(
    Flag.withDescription(
      "What becomes of what is there: nothing may be there (empty, the default), the backup goes over it (merge), it stays (skip), or everything is as in the backup (replace)"
    ),
    Flag.withDefault("empty")
  ),
  resource: texts("resource", "NAME", "Only this resource").pipe(Flag.withAlias("r")),
  concurrency
}

export const backup = Command.make("backup").pipe(
  Command.withDescription("Takes backups of the database into a vault, and puts them back"),
  Command.withSubcommands([
    Command.make(
      "create",
      {
        vault,
        resource: texts("resource", "NAME", "Only this resource, with the catalog").pipe(Flag.withAlias("r")),
        exclude: texts("exclude", "NAME", "All but this resource"),
        plugins: flag("plugins", "Also what plugins keep: queues, schedules, positions, indexes"),
        passes: least("passes", 1, "How often it looks at most for what has changed meanwhile (default: 4)").pipe(
          Flag.withDefault(4)
        ),
        instant: flag("instant", "Fails where programs write so much that it is no backup of one instant"),
        concurrency
      },
      lazily(load, ({ create }) => create)
    ).pipe(
      Command.withDescription("Takes a backup, which costs what has changed since the last one"),
      Command.withExamples([
        { command: "s3db backup create --vault s3://backups/shop" },
        { command: "S3DB_BACKUP_KEYS=k1:... s3db backup create --vault file:///mnt/backups --instant" }
      ])
    ),
    Command.make(
      "list",
      { vault },
      lazily(load, ({ list }) => list)
    ).pipe(Command.withDescription("Lists the backups, the oldest first")),
    Command.make(
      "verify",
      { id, vault },
      lazily(load, ({ verify }) => verify)
    ).pipe(Command.withDescription("Reads a backup whole, and compares everything with its digest")),
    Command.make(
      "plan",
      { id, ...where },
      lazily(load, ({ plan }) => plan)
    ).pipe(Command.withDescription("Tells what a restoration would do, and changes nothing")),
    Command.make(
      "restore",
      {
        id,
        ...where,
        noVerify: flag("no-verify", "Does not read the backup whole before anything that is there is changed"),
        force
      },
      lazily(load, ({ restore }) => restore)
    ).pipe(
      Command.withDescription("Puts a backup back, while no program has the database open; run again, it goes on"),
      Command.withExamples([
        { command: "s3db backup restore latest --vault s3://backups/shop --url s3://new-bucket/shop" },
        { command: "s3db backup restore latest --mode replace --resource orders" }
      ])
    ),
    Command.make(
      "prune",
      {
        vault,
        last: keep("last", "Keeps the newest so many"),
        hourly: keep("hourly", "Keeps the last one of each of so many hours that have any"),
        daily: keep("daily", "The same of days"),
        weekly: keep("weekly", "The same of weeks"),
        monthly: keep("monthly", "The same of months"),
        yearly: keep("yearly", "The same of years"),
        timeZone: text("time-zone", "ZONE", "Where days begin (default: UTC)"),
        dryRun: flag("dry-run", "Only tells"),
        force
      },
      lazily(load, ({ prune }) => prune)
    ).pipe(
      Command.withDescription("Removes the backups that no rule keeps, and what nobody uses any more"),
      Command.withExamples([{ command: "s3db backup prune --daily 7 --weekly 4 --monthly 12 --yearly 3 --dry-run" }])
    ),
    Command.make(
      "remove",
      { id, vault, force },
      lazily(load, ({ remove }) => remove)
    ).pipe(Command.withDescription("Removes one backup"))
  ])
)

export const rewind = Command.make(
  "rewind",
  {
    resources: Argument.String("resource").pipe(
      Argument.withDescription("The names of the resources; they have a history"),
      Argument.variadic({ min: 1 })
    ),
    time: Flag.String("time").pipe(
      Flag.withMetavar("TIME"),
      Flag.withDescription("As they were then: 2026-01-31T12:00:00Z")
    ),
    dryRun: flag("dry-run", "Only tells"),
    force
  },
  lazily(load, ({ rewind }) => rewind)
).pipe(
  Command.withDescription("Brings all documents of resources with a history back to a time, as new versions"),
  Command.withExamples([{ command: "s3db rewind orders payments --time 2026-01-31T12:00:00Z --dry-run" }])
)
