/**
 * Documents and changes in JSON form, as inputs of the resource.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import * as DocumentCodec from "../document/codec.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { isRecord, valueAt } from "../internal/json.ts"
import * as merge from "../internal/merge.ts"
import type { Insert, Update } from "../Repository.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Exact from "../schema/internal/exact.ts"
import * as Normalization from "../schema/Normalization.ts"
import * as PasswordHash from "../schema/PasswordHash.ts"

/**
 * The way from JSON to the inputs of a resource. A password is given as its plain text there, which becomes `Redacted` and
 * is hashed by what writes it; a hash is given by a program only.
 *
 * @category models
 * @since 0.1.0
 */
export interface JsonForm<S extends Attributes.DocumentSchema> {
  /** A whole document as an input. `InvalidInput`: it does not fit the schema. */
  readonly inputOf: (document: JsonObject) => Effect.Effect<Insert<S>, DbError.InvalidInput>
  /** What changes of some fields make of a document, by the way that `update` or `patch` goes. */
  readonly changesOf: (
    way: "update" | "patch",
    changes: JsonObject
  ) => (current: S["Type"]) => Effect.Effect<Update<S["Type"]>, DbError.InvalidInput>
}

/**
 * Makes the JSON form of a resource, compiled when it is first used: most programs use values. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends Attributes.DocumentSchema>(definition: Definition<S>): JsonForm<S> => {
  let compiled: JsonForm<S> | undefined
  const form = () => (compiled ??= compile(definition))
  return {
    inputOf: (document) => Effect.suspend(() => form().inputOf(document)),
    changesOf: (way, changes) => (current) => Effect.suspend(() => form().changesOf(way, changes)(current))
  }
}

const compile = <S extends Attributes.DocumentSchema>(definition: Definition<S>): JsonForm<S> => {
  const { completion, name, onExcessProperty, schema } = definition
  const storage = Attributes.toStorageCodec(schema)
  const exact = Exact.make(schema)
  const decoding = (one: Attributes.DocumentSchema) => {
    const codec = Attributes.toStorageCodec(one)
    return onExcessProperty === "ignore" ? Exact.make(one).decode : Schema.decodeUnknownEffect(codec, Exact.strictly)
  }
  const decode: (json: unknown) => Effect.Effect<S["Type"], Schema.SchemaError> = decoding(schema)
  /** What is filled in, or has a default, need not be there. */
  const mayBeMissing = [...(completion?.fields ?? []), ...Attributes.defaultedFields(schema)]
  const decoderOf = (document: JsonObject) => {
    if (!isRecord(document)) return decode
    const missing = mayBeMissing.filter((field) => !Object.hasOwn(document, field))
    const given = Attributes.omitFields(schema, missing)
    return given === undefined ? decode : decoding(given)
  }
  const encode = (value: S["Type"]) => Effect.map(exact.encode(value), ({ json }) => json)
  const open = <X, E>(effect: Effect.Effect<X, E>) => Effect.provideService(effect, Attributes.SecretsOpen, true)
  const withPasswords = passwordsIn(definition)
  const tree = merge.fieldTree(AST.toEncoded(storage.ast), onExcessProperty) ?? { fields: new Map(), onExcessProperty }
  const isNullable = Schema.is(Schema.Null)

  const told = DocumentCodec.refusals(definition)
  const refused = (error: Schema.SchemaError) => told(error.issue)

  /** `null` removes a field that may be missing, unless it is a value of the field. */
  const removing = (fields: merge.FieldTree, changes: JsonObject): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(changes).map(([path, value]) => {
        const field = fields.fields.get(path) ?? fieldAt(fields, path.split("."))
        if (field?.optional === true && isNullable(value) && !field.nullable) return [path, undefined]
        const isNested =
          field?.tree !== undefined && typeof value === "object" && value !== null && !Array.isArray(value)
        return [path, isNested ? removing(field.tree!, value as JsonObject) : value]
      })
    )

  return {
    inputOf: (document) =>
      Effect.mapBoth(withPasswords(decoderOf(document)(document), document), {
        // A whole document is an input of it, too.
        onSuccess: (value) => value as Insert<S>,
        onFailure: (error) => (error._tag === "SchemaError" ? refused(error) : error)
      }),
    changesOf: (way, changes) =>
      Effect.fnUntraced(function* (current: S["Type"]) {
        const json = yield* Effect.orDie(open(encode(current)))
        const wanted = isRecord(changes) ? removing(tree, changes) : changes
        const merged = way === "update" ? merge.update(tree, json, wanted) : merge.patch(tree, json, wanted)
        if (Result.isFailure(merged)) {
          return yield* DbError.invalidField(name, merged.failure.path, merged.failure.message)
        }
        const changed = withoutRemoved(merged.success)
        const whole = yield* Effect.mapError(withPasswords(open(decode(changed)), changed, json), (error) =>
          error._tag === "SchemaError" ? refused(error) : error
        )
        // All of its fields, and those that it has no more, as the schema names them.
        const gone = Object.keys(current as object).filter((field) => !Object.hasOwn(whole as object, field))
        return { ...(whole as object), ...Object.fromEntries(gone.map((field) => [field, undefined])) } as Update<
          S["Type"]
        >
      })
  }
}

/** Puts plain passwords, redacted, where the JSON has them; `before` is the JSON from which hashes are taken over. */
type WithPasswords = <A>(
  decoding: Effect.Effect<A, Schema.SchemaError>,
  json: unknown,
  before?: unknown
) => Effect.Effect<A, Schema.SchemaError | DbError.InvalidInput>

const passwordsIn = ({
  attributes,
  name,
  schema
}: Pick<Definition<Attributes.DocumentSchema>, "attributes" | "name" | "schema">): WithPasswords => {
  const stored = attributes.filter(({ codec }) => codec === "password").map(({ path }) => path)
  const paths = Attributes.passwordsOf(schema)
  if (paths.length === 0) return (decoding) => decoding
  return Effect.fnUntraced(function* <A>(
    decoding: Effect.Effect<A, Schema.SchemaError>,
    json: unknown,
    before?: unknown
  ) {
    const kept = new Set(stored.map((path) => valueAt(before, path)))
    for (const path of stored) {
      const text = valueAt(json, path)
      // Who exports accounts with their hashes would find nobody able to log in, were these hashed again.
      if (typeof text !== "string" || kept.has(text) || !PasswordHash.isText(text)) continue
      const message = "Expected a password in plain text: a hash is given by a program, with PasswordHash.fromText"
      return yield* DbError.invalidField(name, path, message)
    }
    const given = new Map<unknown, Redacted.Redacted<string>>()
    const read = (text: string) => {
      if (kept.has(text)) return PasswordHash.fromText(text)
      const standIn = PasswordHash.standIn()
      given.set(standIn, Redacted.make(text))
      return Option.some(standIn)
    }
    const value = yield* Effect.provideService(decoding, Attributes.GivenPasswords, read)
    const plain = (hash: unknown) => given.get(hash) ?? hash
    return paths.reduce<unknown>((whole, path) => Normalization.changeAt(whole, path, plain), value) as A
  })
}

/** JSON has no `undefined`: what has become that is removed, at any depth. */
const withoutRemoved = (json: unknown): unknown => {
  if (Array.isArray(json)) return json.map(withoutRemoved)
  if (!isRecord(json)) return json
  const left = Object.entries(json).filter(([, value]) => value !== undefined)
  return Object.fromEntries(left.map(([name, value]) => [name, withoutRemoved(value)]))
}

const fieldAt = (tree: merge.FieldTree, [head = "", ...rest]: ReadonlyArray<string>): merge.Field | undefined => {
  const field = tree.fields.get(head)
  if (rest.length === 0 || field === undefined) return field
  return field.tree === undefined ? undefined : fieldAt(field.tree, rest)
}
