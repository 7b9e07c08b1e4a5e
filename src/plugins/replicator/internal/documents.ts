/** What documents of a resource look like at a target. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Definition } from "../../../Definition.ts"
import type { JsonObject } from "../../../encoding/Json.ts"
import type { DynamicSchema } from "../../../Portable.ts"
import { samePath, without } from "../../../internal/json.ts"
import * as Attributes from "../../../schema/Attributes.ts"
import * as Parquet from "../../Parquet.ts"
import * as ReplicaTarget from "../../ReplicaTarget.ts"

type Values = Readonly<Record<string, unknown>>

/** As `Replicator.resource` has them. */
export interface Declared {
  readonly name: string
  readonly as: string
  readonly primaryKey: string
  /** Of the documents as they are sent. */
  readonly definition: Definition<DynamicSchema>
  readonly filter: ((document: Values) => boolean) | undefined
  readonly map: ((document: Values) => unknown) | undefined
  readonly nested: "columns" | "json"
  readonly columns: Readonly<Record<string, string>>
  readonly secrets: ReadonlyArray<string> | "all"
}

export interface Documents {
  readonly shape: ReplicaTarget.Shape
  /** `undefined`: it is not to be at the target. */
  readonly jsonOf: (id: string, document: Values) => Effect.Effect<JsonObject | undefined, ReplicaTarget.TargetError>
}

const textOf = (path: ReadonlyArray<string>) => path.join(".")

/** The fields that nobody has asked for, of those that are secret. */
export const hiddenOf = ({
  definition: { attributes },
  secrets
}: Pick<Declared, "definition" | "secrets">): ReadonlyArray<ReadonlyArray<string>> =>
  attributes.flatMap(({ codec, path }) =>
    Attributes.isHidden(codec) && secrets !== "all" && !secrets.includes(textOf(path)) ? [path] : []
  )

/** What is wrong with a declaration: the option, and what was expected. */
export const problemOf = (declared: Declared): readonly [field: string, problem: string] | undefined => {
  const { columns, secrets } = declared
  const { attributes } = declared.definition
  const paths = new Set(attributes.map(({ path }) => textOf(path)))
  if (secrets !== "all") {
    const hidden = new Set(attributes.flatMap(({ codec, path }) => (Attributes.isHidden(codec) ? [textOf(path)] : [])))
    const strange = secrets.find((path) => !hidden.has(path))
    if (strange !== undefined) return ["secrets", `Expected fields that are secret, not ${JSON.stringify(strange)}`]
  }
  const unknown = Object.keys(columns).find((path) => !paths.has(path))
  if (unknown !== undefined) return ["columns", `Expected fields of the resource, not ${JSON.stringify(unknown)}`]
  const seen = new Map<string, string>([[declared.primaryKey.toLowerCase(), declared.primaryKey]])
  for (const { name, path } of columnsOf(declared)) {
    // Some databases do not tell names apart by their case.
    const other = seen.get(name.toLowerCase())
    if (other !== undefined) {
      return ["columns", `Expected another name for ${textOf(path)}: ${other} is called ${JSON.stringify(name)}, too`]
    }
    seen.set(name.toLowerCase(), textOf(path))
  }
  return undefined
}

const columnsOf = (declared: Declared): ReadonlyArray<ReplicaTarget.Column> => {
  const { columns, nested, primaryKey } = declared
  const { schema } = declared.definition
  const hidden = hiddenOf(declared)
  const attributes = declared.definition.attributes.flatMap((attribute) =>
    !Attributes.isHidden(attribute.codec)
      ? [attribute]
      : hidden.some((path) => samePath(path, attribute.path))
        ? []
        : [{ ...attribute, codec: "string" }]
  )
  const flat = (
    all: ReadonlyArray<Parquet.Column>,
    above: ReadonlyArray<string>
  ): ReadonlyArray<ReplicaTarget.Column> =>
    all.flatMap(({ name, type }): ReadonlyArray<ReplicaTarget.Column> => {
      const path = [...above, name]
      if (type._tag === "Struct" && nested === "columns") return flat(type.fields, path)
      return [
        {
          path,
          name: columns[textOf(path)] ?? path.join("_"),
          type: type._tag === "Struct" ? { _tag: "Json" } : type
        }
      ]
    })
  return flat(Parquet.columnsOf({ attributes, primaryKey, schema }).slice(1), [])
}

export const make = (declared: Declared): Documents => {
  const { as, definition, filter, map, name, primaryKey } = declared
  const hidden = hiddenOf(declared)
  const encode = Schema.encodeUnknownEffect(Attributes.toStorageCodec(definition.schema))
  const refused = (description: string) =>
    new ReplicaTarget.TargetError({ target: as, problem: "Refused", description })
  return {
    shape: { name: as, source: name, primaryKey, columns: columnsOf(declared), definition, hidden },
    jsonOf: Effect.fnUntraced(function* (id: string, document: Values) {
      const isWanted = yield* Effect.try({
        try: () => filter?.(document) !== false,
        catch: () => refused("the filter has thrown")
      })
      if (!isWanted) return undefined
      const mapped = yield* Effect.try({
        try: () => (map === undefined ? document : map(document)),
        catch: () => refused("what maps documents has thrown")
      })
      const json = yield* Effect.provideService(encode(mapped), Attributes.SecretsOpen, true).pipe(
        // Its message may show what is in the document.
        Effect.mapError(() => refused("what was mapped does not fit its schema"))
      )
      const open = hidden.reduce<JsonObject>((all, path) => without(all, path), json as JsonObject)
      return { ...open, [primaryKey]: id }
    })
  }
}
