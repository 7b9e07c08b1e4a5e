/** The JSON codec of a schema (`Schema.toCodecJson`), by walks where they do what the parser would; see `plain.ts`. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { lazy } from "../../internal/lazily.ts"
import * as Plain from "./plain.ts"

export interface JsonCodec<A> {
  readonly encode: (value: A) => Effect.Effect<Schema.Json, Schema.SchemaError>
  readonly decode: (json: unknown) => Effect.Effect<A, Schema.SchemaError>
  /** Of JSON as a text. */
  readonly decodeText: (text: string) => Effect.Effect<A, Schema.SchemaError>
}

const noJson = Symbol("no JSON")

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return noJson
  }
}

/** The parser and the walks are compiled when they are first needed. */
export const make = <A, I>(schema: Schema.Codec<A, I>): JsonCodec<A> => {
  const codec = Schema.toCodecJson(schema)
  const encode = lazy(() => Schema.encodeEffect(codec))
  const decode = lazy(() => Schema.decodeUnknownEffect(codec))
  const decodeText = lazy(() => Schema.decodeUnknownEffect(Schema.fromJsonString(codec)))
  const leaving = lazy(() => Plain.compileLeaving(schema))
  const arriving = lazy(() => Plain.compileArriving(codec))

  /** What a walk makes: it is what the parser would make of it. */
  const walked = <X>(walk: Plain.Walk | undefined, value: unknown): Effect.Effect<X> | undefined => {
    const made = walk === undefined ? Plain.other : Plain.walked(walk, value)
    return made === Plain.other ? undefined : Effect.succeed(made as X)
  }

  return {
    encode: (value) => walked<Schema.Json>(leaving(), value) ?? encode()(value),
    decode: (json) => walked<A>(arriving(), json) ?? decode()(json),
    decodeText: (text) => {
      const json = arriving() === undefined ? noJson : parsed(text)
      return (json === noJson ? undefined : walked<A>(arriving(), json)) ?? decodeText()(text)
    }
  }
}
