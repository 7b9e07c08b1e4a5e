/** Values of a schema as one line of JSON, and back. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { documentLevels, stringifyExact } from "../../encoding/Json.ts"
import * as JsonCodec from "../../schema/internal/jsonCodec.ts"
import * as StoreError from "../../storage/StoreError.ts"

/** What is wrong with a value and where, without the value. */
export const describe = ({ issue }: Schema.SchemaError): string => SchemaIssue.makeFormatterDefault()(issue)

/** `where` names the value in errors, which never show it. */
export interface JsonText<A> {
  readonly write: (value: A, where: string) => Effect.Effect<string, StoreError.InvalidArgument>
  readonly read: (text: string, where: string) => Effect.Effect<A, StoreError.Corrupt>
}

/** The text has no line break: JSON escapes those within a value. */
export const make = <A, I>(schema: Schema.Codec<A, I>): JsonText<A> => {
  const codec = JsonCodec.make(schema)
  const invalid = (description: string) => new StoreError.InvalidArgument({ description, argument: "body" })
  return {
    write: (value, where) =>
      Effect.flatMapEager(
        Effect.mapErrorEager(codec.encode(value), (error) =>
          invalid(`${where} does not fit the schema: ${describe(error)}`)
        ),
        (json) => {
          // A value may hold a document.
          const text = stringifyExact(json, documentLevels)
          return typeof text === "string" ? Effect.succeed(text) : Effect.fail(invalid(`${where} has no form as JSON`))
        }
      ),
    read: (text, where) =>
      Effect.mapErrorEager(
        codec.decodeText(text),
        (error) => new StoreError.Corrupt({ description: `${where} cannot be read: ${describe(error)}` })
      )
  }
}
