/** The tools that look at the database as a whole, and at what its resources are. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "../../Database.ts"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import type * as Portable from "../../Portable.ts"
import * as Wire from "../../Wire.ts"
import type { Access } from "../Access.ts"
import * as answer from "./answer.ts"
import { definition, open, resources } from "./opening.ts"
import { resource } from "./reading.ts"
import { known, summary } from "./telling.ts"
import * as tool from "./tool.ts"

/** What is known of a server beside what it may do. */
export interface About {
  /** Where the data is, for people: without credentials. */
  readonly location: string
  readonly version: string
}

/** The resources in a line each. */
export const rows = Effect.fnUntraced(function* (access: Access) {
  return (yield* resources(access)).map(summary)
})

const schemaOf = (codec: Schema.Constraint): JsonObject => {
  const { definitions, schema } = Wire.jsonSchema(codec)
  const whole = Object.keys(definitions).length === 0 ? schema : { ...schema, $defs: definitions }
  // What effect types as a record of anything is JSON.
  return whole as JsonObject
}

const hidden = ({ attributes }: Definition<Portable.DynamicSchema>): ReadonlyArray<string> =>
  attributes.filter(({ codec }) => codec === "secret" || codec === "password").map(({ path }) => path.join("."))

/** What a resource is, for who is to ask for its documents. */
export const described = Effect.fnUntraced(function* (access: Access, name: string) {
  const database = yield* Database.Database
  const defined = yield* definition(access, name)
  const info = (yield* database.listResources).find((one) => one.name === name)
  const said = known(info?.definition)
  const indexes = yield* database.indexes(name)
  const stateOf = (all: Readonly<Record<string, { readonly state?: unknown }>> | undefined, name: string): Json => {
    const state = all !== undefined && Object.hasOwn(all, name) ? all[name]?.state : undefined
    return typeof state === "string" ? state : "ready"
  }
  const about: JsonObject = {
    name,
    version: info?.version ?? null,
    primaryKey: defined.primaryKey,
    behavior: said?.behavior ?? null,
    options: [...(said?.flags ?? [])],
    partitions: Object.entries(defined.partitions).map(([partition, { fields }]) => ({
      name: partition,
      fields: fields.map(({ path }) => path.join(".")),
      state: stateOf(indexes.partitions, partition)
    })),
    unique: Object.entries(defined.uniques).map(([unique, { fields }]) => ({
      name: unique,
      fields: fields.map((path) => path.join(".")),
      state: stateOf(indexes.uniques, unique)
    })),
    hidden: [...hidden(defined)],
    writable: defined.unwritable?.whole ?? true,
    documents: schemaOf(Wire.public(defined))
  }
  return about
})

const limitsSchema = Schema.Struct({ rows: Schema.Int, bytes: Schema.Int, millis: Schema.Int })

/** What a server is about, and may do. */
export const status = Effect.fnUntraced(function* (access: Access, limits: tool.Limits, { location, version }: About) {
  const { capabilities } = yield* Database.Database
  const found = yield* resources(access)
  return {
    location,
    version,
    write: access.write === true,
    destructive: access.write === true && access.destructive === true,
    restricted: access.resources !== undefined,
    limits: { ...limits },
    resources: found.length,
    store: { ...capabilities }
  }
})

export const tools = (access: Access, limits: tool.Limits, about: About) => {
  const part = { rows: limits.rows, bytes: limits.bytes - 1024 }
  return [
    tool.make({
      name: "status",
      title: "Status of the database",
      description: "Says where the data is, what this server may do, its limits, and what the store is able to do.",
      input: {},
      output: {
        location: Schema.String,
        version: Schema.String,
        write: Schema.Boolean,
        destructive: Schema.Boolean,
        restricted: Schema.Boolean,
        limits: limitsSchema,
        resources: Schema.Int,
        store: Schema.Record(Schema.String, Schema.Unknown)
      },
      run: () => status(access, limits, about)
    }),

    tool.make({
      name: "list_resources",
      title: "List resources",
      description: "Lists the resources, the collections of documents, with their partitions and unique keys.",
      input: { cursor: answer.cursorIn },
      output: { resources: Schema.Array(answer.document), ...answer.cursorOut },
      run: Effect.fnUntraced(function* ({ cursor }) {
        const all = yield* rows(access)
        const found = yield* answer.part(Stream.fromIterable(all), cursor, part, ({ name }) => ({ name: name ?? null }))
        return { resources: found.items, cursor: found.cursor }
      })
    }),

    tool.make({
      name: "describe_resource",
      title: "Describe a resource",
      description:
        "Shows what a resource is: its primary key, partitions, unique keys, options, and the JSON Schema of its documents as they are shown. Fields of `hidden` are secret, and never shown.",
      input: { resource },
      output: {
        name: Schema.String,
        version: Schema.Unknown,
        primaryKey: Schema.String,
        behavior: Schema.Unknown,
        options: Schema.Array(Schema.String),
        partitions: Schema.Array(answer.document),
        unique: Schema.Array(answer.document),
        hidden: Schema.Array(Schema.String),
        writable: Schema.Boolean,
        documents: Schema.Record(Schema.String, Schema.Unknown)
      },
      run: Effect.fnUntraced(function* (given) {
        const found = yield* described(access, given.resource)
        if (answer.bytesOf(found) <= part.bytes) return found
        return { ...found, documents: { description: "the schema is too large for an answer" } }
      })
    }),

    tool.make({
      name: "insert_schema",
      title: "Schema of an insert",
      description: "Shows the JSON Schema of what an insert into a resource takes, secrets and passwords included.",
      input: { resource },
      output: { schema: Schema.Record(Schema.String, Schema.Unknown) },
      run: Effect.fnUntraced(function* (given) {
        return { schema: schemaOf(Wire.create(yield* definition(access, given.resource))) }
      })
    }),

    tool.make({
      name: "check_resource",
      title: "Look for damage",
      description:
        "Looks through a resource for documents that cannot be read, and for what crashes have left or indexes lack. Changes nothing. Reads every document.",
      input: { resource, cursor: answer.cursorIn },
      output: { findings: Schema.Array(answer.document), ...answer.cursorOut },
      run: Effect.fnUntraced(function* (given) {
        const { repository } = yield* open(access, given.resource)
        const admin = yield* repository.admin
        const findings = admin.repair({ dryRun: true }).pipe(
          Stream.map(({ description, ...rest }): JsonObject => ({
            ...rest,
            ...(description === undefined ? {} : { description })
          }))
        )
        const found = yield* answer.part(findings, given.cursor, part, ({ kind }) => ({ kind: kind ?? null }))
        return { findings: found.items, cursor: found.cursor }
      })
    })
  ]
}
