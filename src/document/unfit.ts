/**
 * What a changed definition does to documents of before, as far as the two definitions tell: fields without which, or with
 * other values than which, they cannot be read.
 *
 * @since 0.1.0
 */
import type * as Catalog from "../Catalog.ts"
import type { Definition } from "../Definition.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { isObject, samePath, valueAt } from "../internal/json.ts"
import * as Attributes from "../schema/Attributes.ts"

type Path = ReadonlyArray<string>

/**
 * Says in one sentence which fields documents of the newest version before do not have as the definition wants them, and what
 * to do; `undefined` where they fit, as far as that can be told, or a migration sees to it.
 *
 * Told: a field that is required now, and was not there, or could be missing or `null`; one that is of another kind, has lost
 * choices, or has become a secret or a password. Not told: checks that are stricter than before, and what is inside lists,
 * records and unions.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = <S extends Attributes.DocumentSchema>(
  definition: Definition<S>,
  { version, versions }: Pick<Catalog.Registered, "version" | "versions">
): string | undefined => {
  const before = Math.max(...[...versions.keys()].filter((known) => known < version))
  const old = versions.get(before)
  if (old === undefined) return undefined
  // Whatever is between is its business.
  const isMigrated = Object.keys(definition.migrations).some((step) => Number(step) >= before && Number(step) < version)
  if (isMigrated) return undefined
  const problems = problemsOf(definition, old)
  if (problems.length === 0) return undefined
  return `documents of version ${before} of ${definition.name} do not fit its schema, and will be Corrupt when they are read: ${problems.join("; ")}. Make such a field optional, give it a default that is always the same, or give the schema a version and a migration from ${before}`
}

const problemsOf = <S extends Attributes.DocumentSchema>(
  { attributes, schema }: Definition<S>,
  old: ReadonlyArray<Attributes.Attribute>
): ReadonlyArray<string> => {
  const defaults = Attributes.compileDefaults(schema)
  const told: Array<Path> = []
  const problems: Array<string> = []
  // A struct comes before its fields.
  for (const attribute of attributes.toSorted((a, b) => a.path.length - b.path.length)) {
    const { path } = attribute
    if (told.some((above) => samePath(above, path.slice(0, above.length)))) continue
    const problem = problemOf(attribute, old, () => isDefaulted(defaults, path))
    if (problem === undefined) continue
    told.push(path)
    if (problem !== none) problems.push(`${path.join(".")} ${problem}`)
  }
  return problems
}

/** Nothing is wrong, with what is below either. */
const none = ""

/** What is wrong with an attribute; `undefined` where what is below has to be looked at. */
const problemOf = (
  attribute: Attributes.Attribute,
  old: ReadonlyArray<Attributes.Attribute>,
  hasDefault: () => boolean
): string | undefined => {
  const { codec, nullable, optional, path } = attribute
  const former = old.find((one) => samePath(one.path, path))
  if (former === undefined) {
    // It may be within a value of before.
    const isWithin = old.some((one) => one.codec !== "struct" && samePath(one.path, path.slice(0, one.path.length)))
    return optional || isWithin || hasDefault() ? none : "is required, and they do not have it"
  }
  if (former.optional && !optional && !hasDefault()) return "is required, and may be missing there"
  if (former.nullable && !nullable) return "may be null there"
  if (former.codec === codec) return undefined
  if (Attributes.isHidden(codec) && !Attributes.isHidden(former.codec)) return "is stored in clear there"
  const lost = choicesOf(former.codec)?.filter((choice) => choicesOf(codec)?.includes(choice) === false) ?? []
  if (lost.length > 0) return `may be one of choices there that are gone (${lost.length})`
  const [kind, formerKind] = [kindOf(codec), kindOf(former.codec)]
  return kind === undefined || formerKind === undefined || kind === formerKind
    ? undefined
    : `is a ${kind}, and a ${formerKind} there`
}

/** Whether a document without a field gets it, its parents being there. */
const isDefaulted = (defaults: (document: Json) => Json, path: Path): boolean => {
  const parents = path.slice(0, -1).reduceRight<JsonObject>((inner, name) => ({ [name]: inner }), {})
  const filled = defaults(parents)
  return isObject(filled) && valueAt(filled, path) !== undefined
}

const choicesOf = (codec: string): ReadonlyArray<unknown> | undefined => {
  if (!codec.startsWith("choice:")) return undefined
  const choices: unknown = JSON.parse(codec.slice("choice:".length))
  return Array.isArray(choices) ? choices : undefined
}

/** The kind of JSON that values of a codec are, where there is one. */
const kindOf = (codec: string): string | undefined => {
  if (Attributes.textCodecs.has(codec)) return "text"
  if (codec === "number" || codec === "boolean" || codec === "struct") return codec
  if (codec.startsWith("array:")) return "list"
  const kinds = new Set(choicesOf(codec)?.map((choice) => (typeof choice === "string" ? "text" : typeof choice)))
  return kinds.size === 1 ? [...kinds][0] : undefined
}
