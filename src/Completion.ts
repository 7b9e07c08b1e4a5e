/**
 * Fields that a resource fills in by itself, whatever the caller gives: when a document was made and changed, by whom, and
 * what is computed from its other fields.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { CurrentUser } from "./CurrentUser.ts"
import { UnsupportedSchema } from "./schema/Attributes.ts"

/**
 * The fields that are filled in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly timestamps: boolean
  readonly userstamps: boolean
  /** By the name of the field. */
  readonly computed: Readonly<Record<string, (document: never) => unknown>>
}

/**
 * The times of a write, in milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Times {
  readonly createdAt: number
  readonly writtenAt: number
}

/**
 * The step that fills in fields of a valid document. `before` is the version that it replaces.
 *
 * @category models
 * @since 0.1.0
 */
export interface Completion {
  /** Whether the version before has to be known. */
  readonly needsBefore: boolean
  readonly apply: (valid: object, before: object | undefined, times: Times) => Effect.Effect<object>
}

/** How a field may hold a time, in the order in which it is tried. */
const clocks: ReadonlyArray<(millis: number) => unknown> = [
  (millis) => DateTime.makeUnsafe(millis),
  (millis) => new Date(millis),
  (millis) => new Date(millis).toISOString(),
  (millis) => millis
]

/**
 * Returns what fills in the fields of a schema; `undefined` where there is nothing to fill in.
 *
 * `timestamps` fills in `createdAt` and `updatedAt`, `userstamps` fills in `createdBy` and `updatedBy`, each where the
 * schema has such a field. Throws `UnsupportedSchema` for a field that cannot hold it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = (
  name: string,
  fields: ReadonlyMap<string, AST.AST>,
  primaryKey: string,
  { timestamps, userstamps, computed }: Options
): Completion | undefined => {
  const accepts = (field: string, value: unknown) => Schema.is(Schema.make(fields.get(field)!))(value)
  const clockOf = (field: string) => {
    if (!timestamps || !fields.has(field)) return undefined
    const clock = clocks.find((one) => accepts(field, one(0)))
    if (clock !== undefined) return clock
    throw new UnsupportedSchema(
      `${name}.${field} cannot hold a time: make it a DateTime.Utc, a Date, a text or a number`
    )
  }
  const isUser = (field: string): boolean => {
    if (!userstamps || !fields.has(field)) return false
    if (accepts(field, "an id")) return true
    throw new UnsupportedSchema(`${name}.${field} cannot hold the id of a user: make it a text`)
  }
  const createdAt = clockOf("createdAt")
  const updatedAt = clockOf("updatedAt")
  const hasCreatedBy = isUser("createdBy")
  const hasUpdatedBy = isUser("updatedBy")
  const functions = Object.entries(computed)
  for (const [field] of functions) {
    if (!fields.has(field) || field === primaryKey) {
      throw new UnsupportedSchema(`computed names ${JSON.stringify(field)}, which is no field that can be computed`)
    }
  }
  const hasClock = createdAt !== undefined || updatedAt !== undefined
  if (!hasClock && !hasCreatedBy && !hasUpdatedBy && functions.length === 0) return undefined

  return {
    needsBefore: hasCreatedBy || hasUpdatedBy,
    apply: Effect.fnUntraced(function* (valid, before, times) {
      const filled: Record<string, unknown> = { ...valid }
      const set = (field: string, value: unknown) => {
        if (value === undefined) delete filled[field]
        else filled[field] = value
      }
      if (createdAt !== undefined) set("createdAt", createdAt(times.createdAt))
      if (updatedAt !== undefined) set("updatedAt", updatedAt(times.writtenAt))
      if (hasCreatedBy || hasUpdatedBy) {
        const user = yield* CurrentUser
        const of = (field: string) => (before as Readonly<Record<string, unknown>> | undefined)?.[field]
        if (hasCreatedBy) set("createdBy", before === undefined ? user?.id : of("createdBy"))
        // The program's own work is nobody's.
        if (hasUpdatedBy) set("updatedBy", user?.id ?? of("updatedBy"))
      }
      for (const [field, compute] of functions) set(field, compute(filled as never))
      return filled
    })
  }
}
