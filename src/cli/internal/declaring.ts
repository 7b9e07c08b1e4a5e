/** Definitions of resources as JSON: the rule notation with options beside it, or the portable form. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DbError } from "../../DbError.ts"
import * as Definition from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isObject } from "../../internal/json.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Resource from "../../Resource.ts"
import { Unreadable } from "./failure.ts"
import { didYouMean } from "../../internal/nearest.ts"

const Name = Schema.Literals(["body-overflow", "body-only", "enforce-limits", "truncate-data"])

/** Milliseconds, or a text such as `5 minutes`. */
const Lease = Schema.Union([Schema.Finite, Schema.String]).check(
  Schema.makeFilter((value) =>
    isLease(value) ? undefined : "Expected milliseconds above 0, or a text such as 90 seconds or 5 minutes"
  )
)

const isLease = (value: number | string): boolean => {
  const duration = Duration.fromInput(value as Duration.Input)
  if (Option.isNone(duration)) return false
  const millis = Duration.toMillis(duration.value)
  return millis > 0 && Number.isFinite(millis)
}

const options = {
  partitions: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  unique: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  behavior: Schema.optionalKey(Name),
  idKind: Schema.optionalKey(
    Schema.Union([Schema.Literals(["random", "ulid", "uuidv7"]), Schema.Struct({ incremental: Schema.Json })])
  ),
  history: Schema.optionalKey(Schema.Boolean),
  content: Schema.optionalKey(Schema.Boolean),
  timestamps: Schema.optionalKey(Schema.Boolean),
  userstamps: Schema.optionalKey(Schema.Boolean),
  scan: Schema.optionalKey(Schema.Boolean),
  allowDeleteAll: Schema.optionalKey(Schema.Boolean),
  compression: Schema.optionalKey(Schema.Boolean),
  uniqueLease: Schema.optionalKey(Lease),
  counters: Schema.optionalKey(Schema.Union([Schema.Boolean, Schema.Json])),
  journal: Schema.optionalKey(Schema.Union([Schema.Boolean, Schema.Json])),
  onExcessProperty: Schema.optionalKey(Schema.Literals(["error", "ignore"])),
  pin: Schema.optionalKey(Schema.Json),
  plugins: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
}

const Declared = Schema.Struct({ attributes: Schema.Record(Schema.String, Schema.Json), ...options })

const decode = Schema.decodeUnknownEffect(Declared)

export const optionNames = Object.keys(options)

type Defined = Definition.Definition<DynamicSchema>

/** Makes a definition of JSON. Fails (throws) with the name of what is wrong, which no type of TypeScript has checked. */
export const fromNotation = (name: string, attributes: JsonObject, options: object): Defined =>
  Definition.fromAttributes(name, attributes as never, options as never) as unknown as Defined

const unreadable = (description: string) =>
  new Unreadable({ description: `the definition cannot be used: ${description}` })

/**
 * Reads a definition: `{ "attributes": { "name": "string|min:2" }, "partitions": { ... }, ... }`, or what `s3db schema` writes.
 */
export const parse = Effect.fnUntraced(function* (
  name: string,
  json: JsonObject
): Effect.fn.Return<Defined, Unreadable | DbError> {
  const portable = isObject(json["definition"] ?? null) ? (json["definition"] as JsonObject) : json
  if (portable["format"] !== undefined) {
    const primaryKey = json["primaryKey"]
    return yield* Resource.fromPortable(name, portable, typeof primaryKey === "string" ? { primaryKey } : {})
  }
  const unknown = Object.keys(json).find((key) => key !== "attributes" && !optionNames.includes(key))
  if (unknown !== undefined) {
    const names = ["attributes", ...optionNames]
    return yield* unreadable(
      `it has no ${JSON.stringify(unknown)}, but ${names.join(", ")}${didYouMean(unknown, names)}`
    )
  }
  const { attributes, ...rest } = yield* Effect.mapError(decode(json), (error) => unreadable(error.message))
  return yield* Effect.try({
    try: () => fromNotation(name, attributes, rest),
    catch: (error) => unreadable(error instanceof Error ? error.message : String(error))
  })
})

/** The options that flags give, added to a definition. */
export const withFlags = (
  json: JsonObject,
  attributes: Readonly<Record<string, Json>>,
  flags: Readonly<Record<string, Json>>
): JsonObject => ({
  ...json,
  ...(Object.keys(attributes).length === 0
    ? {}
    : {
        attributes: {
          ...(isObject(json["attributes"] ?? null) ? (json["attributes"] as JsonObject) : {}),
          ...attributes
        }
      }),
  ...flags
})
