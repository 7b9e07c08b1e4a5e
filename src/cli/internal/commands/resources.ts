/** The commands that make and change resources, and show what they are. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { lazily } from "../globals.ts"
import { file, force, resource, text, texts } from "./arguments.ts"

const load = () => import("../work/resources.ts")

const declared = {
  resource,
  definition: Argument.String("definition").pipe(
    Argument.withDescription(
      'JSON: {"attributes":{"name":"string|min:2"},"partitions":{"byCity":["city"]},"unique":{"byName":["name"]},"timestamps":true}, or what `s3db schema` writes; - reads standard input'
    ),
    Argument.optional
  ),
  file,
  attribute: texts("attribute", "NAME=RULE", "An attribute in the rule notation").pipe(Flag.withAlias("a")),
  with: texts(
    "with",
    "OPTION",
    "An option that is on: timestamps, history, content, scan, counters, allowDeleteAll, journal, compression; or its value: compression=false, 'uniqueLease=5 minutes'"
  )
}

const createResource = Command.make(
  "resource",
  declared,
  lazily(load, ({ create }) => create)
).pipe(
  Command.withDescription("Makes a resource, and the database where there is none"),
  Command.withExamples([
    { command: "s3db create resource users -a 'name=string|min:2' -a 'age=number|optional' --with timestamps" },
    { command: "s3db schema users --url s3://old | s3db create resource users - --url s3://new" }
  ])
)

const createBucket = Command.make(
  "bucket",
  {},
  lazily(load, ({ bucket }) => bucket)
).pipe(
  Command.withDescription("Makes the bucket that the connection names"),
  Command.withExamples([{ command: "s3db create bucket --url 's3://my-bucket?region=eu-west-1'" }])
)

export const create = Command.make("create").pipe(
  Command.withDescription("Makes a resource or a bucket"),
  Command.withSubcommands([createResource, createBucket])
)

const alterResource = Command.make(
  "resource",
  { ...declared, force },
  lazily(load, ({ alter }) => alter)
).pipe(
  Command.withDescription(
    "Gives a resource another definition, as a whole: what it does not say any more is gone from it"
  ),
  Command.withExamples([{ command: "s3db alter resource users --file users.json" }])
)

export const alter = Command.make("alter").pipe(
  Command.withDescription("Changes a resource"),
  Command.withSubcommands([alterResource])
)

export const schema = Command.make(
  "schema",
  {
    resource,
    format: Flag.Literals("format", ["json", "typescript", "sql", "bigquery", "json-schema"]).pipe(
      Flag.withDescription("The notation (default: json, from which `s3db create resource` makes the same resource)"),
      Flag.withDefault("json")
    )
  },
  lazily(load, ({ schema }) => schema)
).pipe(
  Command.withDescription("Shows the schema of a resource in one of several notations"),
  Command.withExamples([
    { command: "s3db schema users --format typescript > users.ts" },
    { command: "s3db schema users > schemas/users.json" }
  ])
)

export const schemaDiff = Command.make(
  "schema-diff",
  { folder: Argument.String("folder").pipe(Argument.withDescription("One JSON file for each resource, named by it")) },
  lazily(load, ({ diff }) => diff)
).pipe(
  Command.withDescription("Compares the definitions in a folder with the catalog; exit code 10 where they differ"),
  Command.withExamples([{ command: "s3db schema-diff ./schemas" }])
)

export const types = Command.make(
  "types",
  {
    resources: Argument.String("resource").pipe(
      Argument.withDescription("Only these resources (default: all)"),
      Argument.variadic({ min: 0 })
    ),
    output: text("output", "FILE", "Where it goes, in full or not at all (default: standard output)").pipe(
      Flag.withAlias("o")
    )
  },
  lazily(load, ({ types }) => types)
).pipe(
  Command.withDescription("Writes a TypeScript module that declares the resources of the database"),
  Command.withExamples([{ command: "s3db types -o src/resources.ts" }])
)
