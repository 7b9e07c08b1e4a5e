/**
 * What a program does not know of a document that it changes: fields and parts of fields of other versions of the
 * definition. It stays as it was.
 *
 * **Details**
 *
 * An attribute that the schema does not know is carried on by its id, unless the struct around it is removed. What an
 * attribute holds beyond the schema is found by a comparison of three: what was stored, what the schema makes of it, and what
 * the schema makes of the new value. `docs/design/deploys.md` has the whole of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as AST from "effect/SchemaAST"
import type * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import * as Encoding from "../encoding/Encoding.ts"
import type { Json, JsonObject, StoredAttribute } from "../encoding/Encoding.ts"
import { isObject, valueAt, without } from "../internal/json.ts"
import { isSame, merge } from "../internal/threeWay.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Normalization from "../schema/Normalization.ts"
import * as StoreError from "../storage/StoreError.ts"

type Path = ReadonlyArray<string>

type Known = ReadonlyMap<string, StoredAttribute>

/**
 * A version that a change goes on from.
 *
 * @category models
 * @since 0.1.0
 */
export interface From<A> {
  readonly value: A
  readonly json: () => JsonObject
  readonly carried: JsonObject | undefined
  readonly former: ReadonlyArray<string>
  /** Whether it is certain that the schema knows all that is stored in its own fields. */
  readonly isAllKnown: boolean
  /** It was written by a later version of the definition. */
  readonly isLater: boolean
}

/**
 * A new version with all that is known and all that is not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Whole {
  /** With what is not known of fields that are. */
  readonly json: JsonObject
  /** The part of it that is written under the attributes of the schema. */
  readonly own: JsonObject
  /** Attributes that the schema does not know. */
  readonly carried: JsonObject | undefined
  /** Attributes under which a part of `json` was stored, and goes on to be; secrets in clear. */
  readonly former: ReadonlyArray<{ readonly attribute: StoredAttribute; readonly value: Json }>
  /** Whether it is certain that the schema knows all of `own`. */
  readonly isAllKnown: boolean
}

/**
 * What keeps the unknown part of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unknown<A> {
  /**
   * Completes a new version, as JSON without its id, with what is not known of the one that it goes on from. `Unsupported`:
   * that cannot be done without loss, or a secret would be stored in clear.
   */
  readonly keep: (
    next: JsonObject,
    from: From<A> | undefined,
    known: Known
  ) => Effect.Effect<Whole, DbError.InvalidInput | StoreError.Unsupported>
  /** Whether the schema knows all of a version, so that nothing has to be kept. */
  readonly isAll: (from: Pick<From<A>, "carried" | "former" | "isAllKnown">) => boolean
}

/** A field of which more may be stored than the schema makes of it. */
interface Compared {
  readonly path: Path
  readonly stored: AST.AST | undefined
}

/**
 * Makes what keeps the unknown part of the documents of a resource. `encode` gives a value as JSON, without its id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends Attributes.DocumentSchema>(
  { attributes, name, schema }: Definition<S>,
  encode: (value: S["Type"]) => Effect.Effect<JsonObject, DbError.InvalidInput>
): Unknown<S["Type"]> => {
  const own = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute]))
  const paths = pathsOf(attributes)
  const codec = Attributes.toStorageCodec(schema).ast
  const stored = AST.toEncoded(codec)
  const isLossy = Attributes.transformed(schema)
  const comparedAt = (path: Path): Compared => ({ path, stored: schemaAt(stored, path) })
  const compared = attributes
    .filter((one) => one.codec === "json" || one.codec === "secret" || (one.codec !== "struct" && isLossy(one.path)))
    .map(({ path }) => comparedAt(path))

  const isAll: Unknown<S["Type"]>["isAll"] = ({ carried, former, isAllKnown }) =>
    (isAllKnown || compared.length === 0) && carried === undefined && former.length === 0

  const refuse = (path: Path, why: string) => {
    const description = `${path.join(".")} of ${name} ${why}: another version of the definition has written it so; upgrade this program`
    return new StoreError.Unsupported({ feature: "writing", description })
  }

  /** Gives fields that are there before and after what is not known of them. */
  const complete = Effect.fnUntracedEager(function* (
    next: JsonObject,
    { json: jsonOf, value }: From<S["Type"]>,
    formerPaths: ReadonlyArray<Path>
  ) {
    const json = jsonOf()
    const isOpen = ({ path }: Compared) => {
      const [before, after] = [valueAt(json, path), valueAt(next, path)]
      return before !== undefined && after !== undefined && !isSame(before, after)
    }
    const isApart = ({ path }: Compared) => !formerPaths.some((former) => startsWith(path, former))
    const open = [...compared.filter(isApart), ...formerPaths.map(comparedAt)].filter(isOpen)
    if (open.length === 0) return next
    const base = yield* encode(value)
    return open.reduce<JsonObject>((whole, { path, stored }) => {
      const known = valueAt(base, path)
      const change = (wanted: unknown) =>
        known === undefined ? wanted : merge(stored, valueAt(json, path)!, known, wanted as Json)
      return Normalization.changeAt(whole, path, change) as JsonObject
    }, next)
  })

  /** Whether a value has something that the attributes of the schema at and below a path have no place for. */
  const exceeds = (path: Path, value: Json) => {
    const below = path.reduce<Paths | undefined>((at, part) => at?.get(part), paths)
    return below !== undefined && isObject(value) && !isSame(knownPart(value, below), value)
  }

  const hasSecretWithin = (path: Path, json: JsonObject) =>
    attributes.some(
      (one) => one.codec === "secret" && startsWith(one.path, path) && (valueAt(json, one.path) ?? null) !== null
    )

  /** The field of the schema that an attribute at a path is, or is a part of. */
  const fieldAround = (path: Path): Path =>
    path
      .map((_, i) => path.slice(0, i + 1))
      .find(
        (one) => own.has(one.join(".")) && (one.length === path.length || own.get(one.join("."))?.codec !== "struct")
      ) ?? path

  /**
   * What stays under the attributes under which it was stored: what a later version of the definition has written and
   * nobody has touched, and what the attributes of the schema would lose or uncover.
   */
  const formerOf = Effect.fnUntraced(function* (
    whole: JsonObject,
    { former, isLater, json: jsonOf }: From<S["Type"]>,
    known: Known
  ) {
    const json = jsonOf()
    const kept: Array<Whole["former"][number]> = []
    let left = whole
    const fields = Map.groupBy(
      former.flatMap((id) => known.get(id) ?? []),
      ({ path }) => fieldAround(path).join(".")
    )
    for (const [field, parts] of fields) {
      const path = fieldAround(parts[0]!.path)
      const value = valueAt(whole, path)
      if (value === undefined) continue
      const isSecret =
        value !== null && own.get(field)?.codec !== "secret" && parts.some(({ codec }) => codec === "secret")
      const isLost = !isSecret && parts.length === 1 && exceeds(path, value)
      if (!(isLater || isSecret || isLost)) continue
      const isUntouched = isSame(valueAt(json, path), value)
      if (!isUntouched && !isSecret && !isLost) continue
      const isWhole = parts.length === 1 && parts[0]!.path.length === path.length
      if (!isUntouched && !isWhole) return yield* refuse(path, "holds a secret")
      if (!isSecret && hasSecretWithin(path, whole)) return yield* refuse(path, "holds a secret")
      for (const attribute of parts) {
        const part = valueAt(whole, attribute.path)
        if (part !== undefined) kept.push({ attribute, value: part })
      }
      left = without(left, path)
    }
    return { kept, own: left }
  })

  /** What is not known of a struct goes with it. */
  const carriedOn = (whole: JsonObject, { carried, json: jsonOf }: From<S["Type"]>, known: Known) => {
    if (carried === undefined) return undefined
    const json = jsonOf()
    const isGone = (id: string) => {
      const { path = [] } = known.get(id) ?? {}
      return path.some((_, i) => {
        const around = path.slice(0, i)
        if (i === 0 || own.get(around.join("."))?.codec !== "struct") return false
        const after = valueAt(whole, around)
        return !isObject(after) && !isSame(valueAt(json, around), after)
      })
    }
    const left = Object.entries(carried).filter(([id]) => !isGone(id))
    return left.length === 0 ? undefined : Object.fromEntries(left)
  }

  const keepFrom = Effect.fnUntracedEager(function* (next: JsonObject, from: From<S["Type"]>, known: Known) {
    const structs = from.former.flatMap((id) => {
      const path = known.get(id)?.path ?? []
      return own.get(path.join("."))?.codec === "struct" ? [path] : []
    })
    const json = yield* complete(next, from, structs)
    const carried = carriedOn(json, from, known)
    for (const id of [...Object.keys(carried ?? {}), ...from.former]) {
      const { codec = "", path = [] } = known.get(id) ?? {}
      // Its form might not be kept.
      if (!Encoding.isKnownCodec(codec)) return yield* refuse(path, "has a form that this release does not know")
    }
    const former = from.former.length === 0 ? { kept: [], own: json } : yield* formerOf(json, from, known)
    return { json, own: former.own, carried, former: former.kept, isAllKnown: false }
  })

  return {
    keep: (next, from, known) =>
      from === undefined || isAll(from)
        ? Effect.succeed({ json: next, own: next, carried: undefined, former: [], isAllKnown: true })
        : keepFrom(next, from, known),
    isAll
  }
}

const startsWith = (path: Path, start: Path): boolean =>
  path.length >= start.length && start.every((name, i) => name === path[i])

/** The schema of a field within the stored form of a document. */
const schemaAt = (stored: AST.AST, [name, ...rest]: Path): AST.AST | undefined => {
  if (name === undefined) return stored
  const structs = (AST.isUnion(stored) ? stored.types : [stored]).filter(AST.isObjects)
  const type = structs[0]?.propertySignatures.find((one) => one.name === name)?.type
  return type === undefined ? undefined : schemaAt(type, rest)
}

/**
 * The names on the paths of attributes; what is no struct has none below it.
 *
 * @category models
 * @since 0.1.0
 */
export type Paths = ReadonlyMap<string, Paths | undefined>

/**
 * Returns the names on the paths of attributes.
 *
 * @category getters
 * @since 0.1.0
 */
export const pathsOf = (attributes: ReadonlyArray<Attributes.Attribute>): Paths => {
  const root = new Map<string, Paths | undefined>()
  const byName = Map.groupBy(attributes, ({ path }) => path[0]!)
  for (const [name, within] of byName) {
    const below = within.flatMap((one) => (one.path.length > 1 ? [{ ...one, path: one.path.slice(1) }] : []))
    const isStruct = below.length > 0 || within.some(({ codec }) => codec === "struct")
    root.set(name, isStruct ? pathsOf(below) : undefined)
  }
  return root
}

/**
 * Returns the part of JSON that attributes have a place for.
 *
 * @category getters
 * @since 0.1.0
 */
export const knownPart = (json: JsonObject, paths: Paths): JsonObject =>
  Object.fromEntries(
    Object.entries(json)
      .filter(([name]) => paths.has(name))
      .map(([name, value]) => {
        const below = paths.get(name)
        return [name, below !== undefined && isObject(value) ? knownPart(value, below) : value]
      })
  )
