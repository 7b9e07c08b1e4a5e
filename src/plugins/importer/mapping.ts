/**
 * Mappings as data: which field is made of which column, and how.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A step that makes a value of another, as data. What is not there stays so, but for `default`. A value that a step is not for is a fault of the
 * row.
 *
 * - `trim`: without spaces at both ends; `collapse`: runs of spaces within become one as well
 * - `lowercase`, `uppercase`
 * - `text`: a number or boolean becomes its text
 * - `integer`: a whole number, such as `007`, becomes a number; leading zeros go
 * - `boolean`: `yes`, `y`, `true`, `on`, `1` and `no`, `n`, `false`, `off`, `0`, whatever their case
 * - `json`: text becomes what it says as JSON
 * - `{ number: { decimal, thousands } }`: text such as `1.234,50`; it stays exact. Defaults: `.` and none
 * - `{ date: "DD.MM.YYYY" }`: text of `YYYY`, `MM` or `M`, `DD` or `D`, `HH`, `mm`, `ss` and what is between becomes a date, or, with hours, a
 *   moment in UTC
 * - `{ epoch: "seconds" }` or `"milliseconds"`: a number becomes a moment
 * - `{ split: "," }`: text becomes a list, its parts trimmed, empty ones left out; `{ join: " " }`: the other way round
 * - `{ at: 0 }`: one item of a list, from the end when less than 0
 * - `{ slice: [0, 3] }`: a part of a text, in UTF-16 code units
 * - `{ replace: ["a", "b"] }`: every place where a text is found; `{ prefix: "x" }`, `{ suffix: "x" }`
 * - `{ lookup: { a: 1 }, otherwise: 0 }`: what stands for a text; without `otherwise` another text is a fault
 * - `{ nullIf: ["", "N/A"] }`: one of these texts is no value
 * - `{ default: 0 }`: in the place of no value, and of an empty text
 *
 * @category models
 * @since 0.1.0
 */
export const Transform = Schema.Union([
  Schema.Literals(["trim", "collapse", "lowercase", "uppercase", "text", "integer", "boolean", "json"]),
  Schema.Struct({
    number: Schema.Struct({ decimal: Schema.optionalKey(Schema.String), thousands: Schema.optionalKey(Schema.String) })
  }),
  Schema.Struct({ date: Schema.NonEmptyString }),
  Schema.Struct({ epoch: Schema.Literals(["seconds", "milliseconds"]) }),
  Schema.Struct({ split: Schema.NonEmptyString }),
  Schema.Struct({ join: Schema.String }),
  Schema.Struct({ at: Schema.Int }),
  Schema.Struct({ slice: Schema.Tuple([Schema.Int, Schema.Int]) }),
  Schema.Struct({ replace: Schema.Tuple([Schema.NonEmptyString, Schema.String]) }),
  Schema.Struct({ prefix: Schema.String }),
  Schema.Struct({ suffix: Schema.String }),
  Schema.Struct({ lookup: Schema.Record(Schema.String, Schema.Json), otherwise: Schema.optionalKey(Schema.Json) }),
  Schema.Struct({ nullIf: Schema.Array(Schema.String) }),
  Schema.Struct({ default: Schema.Json })
])

/**
 * One step.
 *
 * @category models
 * @since 0.1.0
 */
export type Transform = typeof Transform.Type

const Field = Schema.Union([
  Schema.String,
  Schema.Struct({
    from: Schema.optionalKey(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
    constant: Schema.optionalKey(Schema.Json),
    transforms: Schema.optionalKey(Schema.Array(Transform))
  })
])

/**
 * How documents are made of records, as data.
 *
 * - `fields`: for each field, nested ones by dotted paths, the column it is taken from, or `{ from, transforms }`, or `{ constant }`. `from` is a column, of
 *   JSON a path; several give the list of their values. Without it the column is called as the field
 * - `others`: what becomes of columns that no field is taken from. `drop`, the default, leaves them out; `keep` takes them for fields of their name
 *
 * @category models
 * @since 0.1.0
 */
export const Mapping = Schema.Struct({
  fields: Schema.Record(Schema.String, Field),
  others: Schema.optionalKey(Schema.Literals(["keep", "drop"]))
})

/**
 * How documents are made of records, as data.
 *
 * @category models
 * @since 0.1.0
 */
export type Mapping = typeof Mapping.Type
