/** Commands that look at the database as a whole. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Database from "../../../Database.ts"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { known, summary } from "../../../mcp/internal/telling.ts"
import * as InstrumentedStore from "../../../storage/InstrumentedStore.ts"
import type { Capabilities } from "../../../storage/ObjectStore.ts"
import { counted } from "../failure.ts"
import { Output } from "../output.ts"
import { harmless } from "../table.ts"
import { connection, definition, withDatabase } from "./opening.ts"

/** What a store honours, as rows. */
export const capabilityRows = (capabilities: Capabilities): ReadonlyArray<readonly [string, Json]> => [
  ["create if absent", capabilities.createIfAbsent],
  ["compare and set", capabilities.compareAndSet],
  ["conditional delete", capabilities.conditionalDelete],
  ["conditional copy", capabilities.conditionalCopy],
  ["metadata bytes", capabilities.metadataBytes],
  ["listing in order", capabilities.orderedList],
  ["ETag in If-Match", capabilities.etagForm]
]

export const status = () =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const { described, source } = yield* connection
      const database = yield* Database.Database
      const resources = yield* database.listResources
      const before = yield* Clock.currentTimeMillis
      yield* database.refresh
      const latencyMillis = (yield* Clock.currentTimeMillis) - before
      const { counts } = yield* InstrumentedStore.RequestCounter
      const { capabilities } = database
      const people = [
        ["connection", `${described}, by ${source}`],
        ["resources", resources.length === 0 ? "none yet" : resources.map(({ name }) => name).join(", ")],
        ["one request", `${latencyMillis} ms`],
        ...capabilityRows(capabilities).map(
          ([name, value]) => [name, typeof value === "boolean" ? (value ? "yes" : "no") : String(value)] as const
        )
      ] as const
      if (output.isForPeople) {
        const lines = people.map(([name, text]) => `${output.style(name.padEnd(20), "bold")}${harmless(text)}\n`)
        return yield* output.raw(Stream.succeed(lines.join("")))
      }
      yield* output.value({
        connection: described,
        source,
        resources: resources.map(({ name }) => name),
        latencyMillis,
        capabilities: { ...capabilities },
        requests: { ...(yield* counts) }
      })
    })
  )

export const list = () =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const database = yield* Database.Database
      const resources = yield* database.listResources
      yield* output.rows(Stream.fromIterable(resources.map(summary)), {
        columns: ["name", "version", "fields", "partitions", "unique", "behavior", "options"],
        footer: (count) =>
          count === 0 ? "no resource yet: make one with `s3db create resource`" : counted(count, "resource")
      })
    })
  )

export const describe = (given: { readonly resource: string }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const database = yield* Database.Database
      const defined = yield* definition(given.resource)
      const info = (yield* database.listResources).find(({ name }) => name === given.resource)
      const said = known(info?.definition)
      const indexes = yield* database.indexes(given.resource)
      const stateOf = (all: Readonly<Record<string, { readonly state?: unknown }>> | undefined, name: string): Json =>
        typeof all?.[name]?.state === "string" ? all[name].state : "ready"
      const key: JsonObject = { field: defined.primaryKey, type: "primary key", optional: false, nullable: false }
      const attributes = defined.attributes.map(({ codec, nullable, optional, path }): JsonObject => ({
        field: path.join("."),
        type: codec,
        optional,
        nullable
      }))
      const fields = [key, ...attributes]
      const about: JsonObject = {
        name: given.resource,
        version: info?.version ?? null,
        primaryKey: defined.primaryKey,
        behavior: said?.behavior ?? null,
        options: [...(said?.flags ?? [])],
        partitions: Object.fromEntries(
          Object.entries(defined.partitions).map(([name, { fields }]) => [
            name,
            { fields: fields.map(({ path }) => path.join(".")), state: stateOf(indexes.partitions, name) }
          ])
        ),
        unique: Object.fromEntries(
          Object.entries(defined.uniques).map(([name, { fields }]) => [
            name,
            { fields: fields.map((path) => path.join(".")), state: stateOf(indexes.uniques, name) }
          ])
        ),
        notTravelled: (said?.omitted ?? []).map(({ path, what }) => ({ path: path.join("."), what })),
        writable: defined.unwritable?.whole ?? true
      }
      if (!output.isForPeople) return yield* output.value({ ...about, fields })
      yield* output.value(about)
      yield* output.note("")
      yield* output.rows(Stream.fromIterable(fields))
    })
  )
