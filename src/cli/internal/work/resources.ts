/** Commands that make and change resources, and show what they are. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Database from "../../../Database.ts"
import type { Definition } from "../../../Definition.ts"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isObject } from "../../../internal/json.ts"
import * as Portable from "../../../Portable.ts"
import * as Resource from "../../../Resource.ts"
import type { Attribute } from "../../../schema/Attributes.ts"
import * as ConnectionString from "../../../storage/ConnectionString.ts"
import { ObjectStore } from "../../../storage/ObjectStore.ts"
import * as declaring from "../declaring.ts"
import { counted, fileFailure, Partial, ResourceExists, Usage } from "../failure.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import * as input from "../input.ts"
import * as notation from "../notation.ts"
import { Output } from "../output.ts"
import * as schemas from "../schemas.ts"
import * as typesModule from "../typesModule.ts"
import { connection, definition, withDatabase, withNewDatabase } from "./opening.ts"
import { intoFile } from "./transfer.ts"

interface Declared {
  readonly resource: string
  readonly definition: Option.Option<string>
  readonly file: Option.Option<string>
  readonly attribute: ReadonlyArray<string>
  readonly with: ReadonlyArray<string>
}

const declared = Effect.fnUntraced(function* (given: Declared) {
  const attributes: Record<string, Json> = {}
  for (const text of given.attribute) {
    const parsed = notation.assignment(text)
    if (parsed === undefined)
      return yield* new Usage({ description: "--attribute has to be name=rule, such as name=string|min:2" })
    if (notation.isForbidden(parsed[0])) {
      return yield* new Usage({ description: `--attribute ${parsed[0]}: no field can have this name` })
    }
    attributes[parsed[0]] = parsed[1]
  }
  const options: Record<string, Json> = {}
  for (const text of given.with) {
    const [name, value] = notation.assignment(text) ?? [text]
    if (!declaring.optionNames.includes(name)) {
      return yield* new Usage({
        description: `--with ${name} is no option: see \`s3db create resource --help\`${didYouMean(name, declaring.optionNames)}`
      })
    }
    options[name] = value === undefined ? true : (notation.readings(value)[0] ?? value)
  }
  const isGiven = Option.isSome(given.definition) || Option.isSome(given.file)
  const json =
    !isGiven && given.attribute.length > 0 ? {} : yield* input.object(given.definition, given.file, "the definition")
  return yield* declaring.parse(given.resource, declaring.withFlags(json, attributes, options))
})

const indexesToBuild = Effect.fnUntraced(function* (resource: string) {
  const { companions = {}, partitions = {}, uniques = {} } = yield* (yield* Database.Database).indexes(resource)
  return [partitions, uniques, companions]
    .flatMap((all) => Object.entries<{ readonly state: string }>(all))
    .filter(([, { state }]) => state === "building")
    .map(([name]) => name)
})

export const create = (given: Declared) =>
  Effect.gen(function* () {
    const defined = yield* declared(given)
    yield* withNewDatabase(
      Effect.gen(function* () {
        const output = yield* Output
        const database = yield* Database.Database
        if ((yield* database.listResources).some(({ name }) => name === given.resource)) {
          return yield* new ResourceExists({ resource: given.resource })
        }
        yield* Resource.make(defined)
        yield* output.value({ created: given.resource }, `created ${given.resource}`)
      })
    )
  })

/** What is different between two versions of a definition, field by field. */
export const changesOf = (
  before: ReadonlyArray<Attribute>,
  after: ReadonlyArray<Attribute>
): ReadonlyArray<{ readonly field: string; readonly change: string }> => {
  const text = ({ codec, nullable, optional }: Attribute) =>
    `${codec}${optional ? ", optional" : ""}${nullable ? ", nullable" : ""}`
  const byPath = (all: ReadonlyArray<Attribute>) => new Map(all.map((one) => [one.path.join("."), text(one)]))
  const [old, now] = [byPath(before), byPath(after)]
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((field) => {
    const [was, is] = [old.get(field), now.get(field)]
    if (was === is) return []
    return [{ field, change: changed(was, is) }]
  })
}

/** The leaves of a value, by their paths. */
const leaves = (value: Json, path: string): ReadonlyArray<readonly [path: string, text: string]> =>
  isObject(value)
    ? Object.entries(value).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`))
    : [[path, typeof value === "string" ? value : JSON.stringify(value)]]

/** The lists of a portable form as objects, by the names of fields where they have some. */
const named = (value: Json): Json => {
  if (Array.isArray(value)) {
    const entries = (value as ReadonlyArray<Json>).map((item, index) => {
      const name = isObject(item) && isObject(item["name"] ?? null) ? (item["name"] as JsonObject)["value"] : undefined
      return [typeof name === "string" ? name : String(index), named(item)] as const
    })
    return Object.fromEntries(entries)
  }
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, named(inner)]))
    : value
}

const changed = (was: string | undefined, is: string | undefined): string =>
  was === undefined ? `added: ${is}` : is === undefined ? `removed: ${was}` : `${was} -> ${is}`

/**
 * The same, and what else differs: rules, such as another `min`, and options, in the rule notation if both can be said in
 * it, or else in their portable form.
 */
const differences = (
  before: Definition<Portable.DynamicSchema>,
  after: Definition<Portable.DynamicSchema>
): ReturnType<typeof changesOf> => {
  const types = changesOf(before.attributes, after.attributes)
  const [old, now] = [typesModule.notationOf(before), typesModule.notationOf(after)]
  const inNotation = ({ attributes, options }: { readonly attributes: JsonObject; readonly options: JsonObject }) => [
    ...leaves(attributes, ""),
    ...leaves(options, "").map(([path, text]) => [`(${path})`, text] as const)
  ]
  const portable = ({ portable }: Definition<Portable.DynamicSchema>) =>
    leaves(named(JSON.parse(JSON.stringify(portable ?? null)) as Json), "").map(
      ([path, text]) => [`(${path})`, text] as const
    )
  const [first, second] =
    Result.isSuccess(old) && Result.isSuccess(now)
      ? [new Map(inNotation(old.success)), new Map(inNotation(now.success))]
      : [new Map(portable(before)), new Map(portable(after))]
  const told = new Set(types.map(({ field }) => field))
  const rest = [...new Set([...first.keys(), ...second.keys()])].flatMap((field) => {
    const [was, is] = [first.get(field), second.get(field)]
    return was === is || told.has(field) ? [] : [{ field, change: changed(was, is) }]
  })
  return [...types, ...rest]
}

export const alter = (given: Declared & { readonly force: boolean }) =>
  Effect.gen(function* () {
    const defined = yield* declared(given)
    yield* withDatabase(
      Effect.gen(function* () {
        const output = yield* Output
        const database = yield* Database.Database
        const before = yield* definition(given.resource)
        const [comparison] = (yield* database.compare([defined])).filter(({ resource }) => resource === given.resource)
        if (comparison?.state === "Unchanged") {
          return yield* output.value({ altered: given.resource, changes: [] }, `${given.resource} is as it should be`)
        }
        const changes = differences(before, defined)
        const gone = changesOf(before.attributes, defined.attributes).filter(({ change }) =>
          change.startsWith("removed")
        )
        if (gone.length > 0) {
          yield* output.confirm(
            `${given.resource} loses ${gone.map(({ field }) => field).join(", ")}, which documents keep and nobody sees. Alter it?`,
            given.force
          )
        }
        yield* Resource.make(defined)
        const building = yield* indexesToBuild(given.resource)
        yield* output.value(
          { altered: given.resource, changes, building },
          [`altered ${given.resource}`, ...changes.map(({ change, field }) => `  ${field}: ${change}`)].join("\n")
        )
        if (building.length > 0) {
          yield* output.note(`${building.join(", ")} cannot be used yet: run \`s3db backfill ${given.resource}\``)
        }
      })
    )
  })

/** Makes the bucket of the connection. */
export const bucket = () =>
  Effect.gen(function* () {
    const output = yield* Output
    const { described, parsed, url } = yield* connection
    if (parsed._tag !== "S3") {
      return yield* new Usage({ description: `${described} needs no bucket` })
    }
    const text = Redacted.value(url)
    const creating =
      parsed.options.createBucket === true ? text : `${text}${text.includes("?") ? "&" : "?"}createBucket=true`
    yield* Effect.provide(
      Effect.flatMap(ObjectStore, (store) => store.list({ prefix: "", maxKeys: 1 })),
      ConnectionString.layer(Redacted.make(creating))
    )
    yield* output.value({ bucket: parsed.options.bucket }, `${parsed.options.bucket} is there`)
  })

export const schema = (given: { readonly resource: string; readonly format: schemas.Format }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const defined = yield* definition(given.resource)
      const shown = schemas.write(defined, given.format)
      if (typeof shown === "string") return yield* output.text(Stream.encodeText(Stream.succeed(shown)))
      yield* output.value(shown, JSON.stringify(shown, undefined, 2))
    })
  )

/** Writes a TypeScript module that declares the resources. */
export const types = (given: { readonly resources: ReadonlyArray<string>; readonly output: Option.Option<string> }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const database = yield* Database.Database
      const names =
        given.resources.length > 0 ? given.resources : (yield* database.listResources).map(({ name }) => name)
      const text = typesModule.write(yield* Effect.forEach(names, definition))
      const bytes = Stream.encodeText(Stream.succeed(text))
      yield* Option.isSome(given.output) ? intoFile(given.output.value, bytes) : output.text(bytes)
    })
  )

/** Compares the definitions in a folder, one JSON file for each resource, with the catalog. */
export const diff = (given: { readonly folder: string }) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const database = yield* Database.Database
      const names = yield* Effect.mapError(fs.readDirectory(given.folder), fileFailure(given.folder, "read"))
      const declared: Array<Definition<Portable.DynamicSchema>> = []
      for (const name of names.filter((one) => one.endsWith(".json")).toSorted()) {
        const file = path.join(given.folder, name)
        const json = yield* input.object(Option.none(), Option.some(file), file)
        declared.push(yield* declaring.parse(name.slice(0, -".json".length), json))
      }
      const rows = yield* Effect.forEach(yield* database.compare(declared), ({ resource, state }) =>
        Effect.gen(function* () {
          const local = declared.find(({ name }) => name === resource)
          const changes =
            local === undefined || state !== "Changed" ? [] : differences(yield* definition(resource), local)
          const row: JsonObject = {
            resource,
            state: states[state],
            changes: changes.map(({ change, field }) => `${field}: ${change}`)
          }
          return row
        })
      )
      yield* output.rows(Stream.fromIterable(rows), { columns: ["resource", "state", "changes"] })
      const different = rows.filter(({ state }) => state !== "same")
      if (different.length > 0)
        return yield* new Partial({
          description: `${different.length} of ${counted(rows.length, "resource")} ${different.length === 1 ? "differs" : "differ"}`
        })
    })
  )

const states = {
  New: "only in the folder",
  Unchanged: "same",
  Changed: "different",
  Undeclared: "only in the catalog"
} as const
