/** The commands about documents, as the command line has them. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { flag, lazily } from "../globals.ts"
import { allowStale, conditions, file, force, id, ids, least, resource, text, texts } from "./arguments.ts"

const load = () => import("../work/documents.ts")

const document = Argument.String("document").pipe(
  Argument.withDescription("A JSON object, or an array of them; - reads standard input"),
  Argument.optional
)

const ifRevision = text(
  "if-revision",
  "REVISION",
  "Only if the document still has this revision: see `s3db get --system`"
)

export const get = Command.make(
  "get",
  {
    resource,
    ids: ids(1),
    system: flag("system", "Also what the database knows of it: $revision, $version, $createdAt, ...")
  },
  lazily(load, ({ get }) => get)
).pipe(
  Command.withDescription("Shows documents by their ids"),
  Command.withExamples([
    { command: "s3db get users ana", description: "One document" },
    { command: "s3db get users ana bo --ndjson", description: "Several, one on a line" }
  ])
)

export const insert = Command.make(
  "insert",
  { resource, document, file },
  lazily(load, ({ insert }) => insert)
).pipe(
  Command.withDescription("Creates documents; ids that are taken are left alone"),
  Command.withExamples([
    { command: `s3db insert users '{"id":"ana","name":"Ana"}'` },
    { command: "s3db insert users --file users.json" },
    { command: "jq -c .[] users.json | s3db import users -", description: "Many of them: see `s3db import`" }
  ])
)

export const replace = Command.make(
  "replace",
  { resource, document, file, ifRevision },
  lazily(load, ({ replace }) => replace)
).pipe(
  Command.withDescription("Puts whole documents in the place of whatever is there"),
  Command.withExamples([{ command: `s3db replace users '{"id":"ana","name":"Anna"}'` }])
)

export const upsert = Command.make(
  "upsert",
  { resource, document, file },
  lazily(load, ({ upsert }) => upsert)
).pipe(
  Command.withDescription(
    "Creates documents, or changes those that are there: each is given as for insert, and what is not given stays as it is"
  ),
  Command.withExamples([{ command: `s3db upsert users '{"id":"ana","name":"Anna"}'` }])
)

export const update = Command.make(
  "update",
  {
    resource,
    id,
    changes: Argument.String("changes").pipe(
      Argument.withDescription(
        "A JSON object of new values, nested ones by their path; null removes an optional field"
      ),
      Argument.optional
    ),
    file,
    set: texts("set", "FIELD=VALUE", "A new value for one field"),
    unset: texts("unset", "FIELD", "Removes an optional field"),
    merge: flag("merge", "Merges nested objects field by field"),
    ifRevision
  },
  lazily(load, ({ update }) => update)
).pipe(
  Command.withDescription("Changes some fields of a document"),
  Command.withExamples([
    { command: "s3db update users ana --set city=Recife --unset note" },
    { command: `s3db update users ana '{"address":{"city":"Recife"}}' --merge` }
  ])
)

export const remove = Command.make(
  "delete",
  {
    resource,
    ids: ids(0),
    ...conditions,
    mustExist: flag("must-exist", "Fails where there is no such document"),
    force
  },
  lazily(load, ({ remove }) => remove)
).pipe(
  Command.withDescription("Deletes documents by their ids, or by conditions"),
  Command.withExamples([
    { command: "s3db delete users ana" },
    { command: "s3db delete users --where 'lastSeen<2020-01-01' --scan --force" }
  ])
)

const explain = flag("explain", "Says by which way it would go, and what that costs, and reads nothing")

export const query = Command.make(
  "query",
  {
    resource,
    ...conditions,
    allowStale,
    order: text("order", "FIELDS", "Fields with commas between them, descending with a - before: --order=-age,name"),
    limit: least("limit", 1, "How many documents at most (default: 100)").pipe(
      Flag.withAlias("n"),
      Flag.withDefault(100)
    ),
    all: flag("all", "All of them, whatever their number"),
    cursor: text("cursor", "CURSOR", "Goes on where the page before has ended"),
    page: flag("page", "One page as a value: its documents, and the cursor of what follows, or null"),
    select: text(
      "select",
      "FIELDS",
      "Only these fields, with commas between them; $createdAt and others of the database, too"
    ),
    explain
  },
  lazily(load, ({ query }) => query)
).pipe(
  Command.withDescription("Finds documents"),
  Command.withExamples([
    { command: "s3db query users --where 'age>=18' --where country=BR --scan" },
    { command: "s3db query users --partition byCountry --value country=BR --order=-age -n 10" },
    { command: `s3db query users -w '{"$or":[{"age":{"lt":18}},{"age":{"gt":65}}]}' --scan --all --ndjson` },
    { command: "s3db query users --scan -n 100 --page --json | jq -r .cursor" },
    { command: "s3db query users --where country=BR --explain" }
  ])
)

export const search = Command.make(
  "search",
  {
    resource,
    query: Argument.String("words").pipe(Argument.withDescription("The words that are looked for")),
    all: flag("all-words", "Only documents with all of the words"),
    prefix: flag("prefix", "The last word is the beginning of one"),
    fuzzy: flag("fuzzy", "Also words that differ by a letter"),
    in: text("in", "FIELDS", "Only in these fields, with commas between them"),
    where: conditions.where,
    partition: conditions.partition,
    value: conditions.value,
    limit: least("limit", 1, "How many documents at most, up to 1,000 (default: 10)").pipe(
      Flag.withAlias("n"),
      Flag.withDefault(10)
    ),
    cursor: text("cursor", "CURSOR", "Goes on where the page before has ended"),
    consistent: flag("consistent", "Also what was written since the index was brought up to date"),
    highlight: flag("highlight", "Shows where the words are, in the place of the documents")
  },
  lazily(
    () => import("../work/search.ts"),
    ({ search }) => search
  )
).pipe(
  Command.withDescription("Finds documents by their words, where a program keeps an index of them"),
  Command.withExamples([
    { command: "s3db search articles 'object storage'" },
    { command: "s3db search articles 'object sto' --prefix --in title --where kind=essay -n 20" },
    { command: "s3db search articles storage --highlight" }
  ])
)

export const count = Command.make(
  "count",
  {
    resource,
    ...conditions,
    allowStale,
    by: text("by", "FIELDS", "One number for each of their values"),
    explain
  },
  lazily(load, ({ count }) => count)
).pipe(
  Command.withDescription("Counts documents"),
  Command.withExamples([
    { command: "s3db count users" },
    { command: "s3db count users --by country --scan" },
    { command: "s3db count users --where country=BR --allow-stale" }
  ])
)

export const aggregate = Command.make(
  "aggregate",
  {
    resource,
    measures: Argument.String("measure").pipe(
      Argument.withDescription(
        "count, sum:field, min:field, max:field or avg:field, with a name before it: total=sum:price"
      ),
      Argument.variadic({ min: 1 })
    ),
    ...conditions,
    allowStale,
    by: text("by", "FIELDS", "One row for each of their values")
  },
  lazily(load, ({ aggregate }) => aggregate)
).pipe(
  Command.withDescription("Works out sums, averages and extremes"),
  Command.withExamples([{ command: "s3db aggregate orders count total=sum:price --by state --scan" }])
)
