/**
 * What the page knows without a browser: the fields of a form by a JSON Schema, what has changed in one, differences, conflicts,
 * filters. Values are JSON, whatever their keys are called.
 */

export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject

export interface JsonObject {
  readonly [name: string]: Json
}

export interface JsonSchema {
  readonly type?: string | ReadonlyArray<string>
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly enum?: ReadonlyArray<Json>
  readonly const?: Json
  readonly items?: JsonSchema
  readonly anyOf?: ReadonlyArray<JsonSchema>
  readonly oneOf?: ReadonlyArray<JsonSchema>
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: boolean | JsonSchema
  readonly format?: string
  readonly description?: string
  readonly writeOnly?: boolean
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
}

export interface Resource {
  readonly name: string
  readonly resource: string
  readonly primaryKey: string
  readonly operations: ReadonlyArray<string>
  readonly partitions: Readonly<
    Record<string, ReadonlyArray<{ readonly path: string; readonly transforms: ReadonlyArray<string> }>>
  >
  readonly unique: Readonly<Record<string, ReadonlyArray<string>>>
  readonly fields: ReadonlyArray<{ readonly path: string; readonly type: string; readonly optional: boolean }>
  readonly columns: ReadonlyArray<string>
  readonly readonly: ReadonlyArray<string>
  readonly journal: boolean
  readonly guarded: boolean
  readonly requireIfMatch: boolean
  readonly scan: boolean
  readonly totals: boolean
  readonly defaultLimit: number
  readonly maxLimit: number
  readonly maxBulk: number
  readonly maxContentBytes: number
  readonly create: JsonSchema | null
  readonly patch: JsonSchema | null
  readonly shown: JsonSchema | null
}

export type Path = ReadonlyArray<string>

/** The tag that a revision is as, written as the server does. */
export const etagOf = (revision: string): string =>
  `"${encodeURIComponent(revision).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)}"`

/** A deletion of many, in requests of at most so many, each document by the revision that was seen. */
export const deletionsOf = (
  chosen: ReadonlyMap<string, string>,
  { maxBulk }: Pick<Resource, "maxBulk">
): ReadonlyArray<{ readonly items: ReadonlyArray<{ readonly id: string; readonly ifMatch: string }> }> => {
  const items = [...chosen].map(([id, revision]) => ({ id, ifMatch: revision === "" ? "*" : etagOf(revision) }))
  return Array.from({ length: Math.ceil(items.length / maxBulk) }, (_, at) => ({
    items: items.slice(at * maxBulk, (at + 1) * maxBulk)
  }))
}

const nameable = /^[\w-]+(?:\.[\w-]+)*$/

/** The fields that a page of documents is asked for, with their revisions; `undefined` where they are to be asked for as a whole. */
export const wantedOf = ({
  columns,
  operations,
  primaryKey
}: Pick<Resource, "columns" | "operations" | "primaryKey">): string | undefined => {
  const fields = [...new Set([primaryKey, ...columns])]
  return operations.includes("select") && fields.every((field) => nameable.test(field))
    ? [...fields, "$revision"].join(",")
    : undefined
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A property of the value itself, whatever its name. */
export const at = (value: Json | undefined, name: string): Json | undefined =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

export const atPath = (value: Json | undefined, path: Path): Json | undefined =>
  path.reduce<Json | undefined>((found, name) => at(found, name), value)

/** Whether two values are the same, in whatever order their keys are. */
export const isSame = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((one: Json, i) => isSame(one, b[i] as Json))
  }
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
}

/** A copy in which a path has another value, or none. */
export const withPath = (value: Json | undefined, [head, ...rest]: Path, next: Json | undefined): Json | undefined => {
  if (head === undefined) return next
  const entries = isObject(value) ? Object.entries(value) : []
  const inner = withPath(at(value, head), rest, next)
  const others = entries.filter(([name]) => name !== head)
  if (inner === undefined) return Object.fromEntries(others)
  const isThere = entries.some(([name]) => name === head)
  return Object.fromEntries(
    isThere ? entries.map(([name, one]) => [name, name === head ? inner : one]) : [...entries, [head, inner]]
  )
}

/** Characters that are not to be seen, or turn round what follows them. Those between parts of an emoji are none of these. */
const unseen = /(?![\t\n])\p{Cc}|[\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu

/** A text of which all can be seen. */
export const visible = (text: string): string =>
  text.replace(unseen, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** As it is written into a field: texts as they are, all else as JSON. */
export const asText = (value: Json | undefined): string =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value)

// -----------------------------------------------------------------------------
// Fields
// -----------------------------------------------------------------------------

export type Kind = "text" | "number" | "boolean" | "choice" | "struct" | "json"

export interface Field {
  readonly name: string
  readonly path: Path
  readonly kind: Kind
  readonly isOptional: boolean
  readonly isReadonly: boolean
  /** Goes in, and never comes out. */
  readonly isSecret: boolean
  readonly isInteger: boolean
  readonly options: ReadonlyArray<Json>
  /** Of a struct. */
  readonly fields: ReadonlyArray<Field>
  readonly hint: string
}

const resolved = (schema: JsonSchema, root: JsonSchema): JsonSchema => {
  let found = schema
  // A reference to itself ends somewhere.
  for (let i = 0; i < 20 && found.$ref !== undefined; i++) {
    const name = decodeURIComponent(found.$ref.replace(/^#\/(\$defs|components\/schemas)\//, ""))
      .replaceAll("~1", "/")
      .replaceAll("~0", "~")
    const target = root.$defs !== undefined && Object.hasOwn(root.$defs, name) ? root.$defs[name] : undefined
    if (target === undefined) return {}
    found = target
  }
  return found
}

/** The schema of a field, without the `null` that a patch takes for "remove". */
const withoutNull = (schema: JsonSchema, root: JsonSchema): JsonSchema => {
  const others = schema.anyOf?.filter(({ type }) => type !== "null")
  const [only] = others ?? []
  return others !== undefined && others.length === 1 && only !== undefined ? resolved(only, root) : schema
}

const optionsOf = (schema: JsonSchema): ReadonlyArray<Json> | undefined => {
  if (schema.enum !== undefined) return schema.enum
  if (schema.const !== undefined) return [schema.const]
  const each = (schema.anyOf ?? schema.oneOf)?.map(optionsOf)
  return each !== undefined && each.every((one) => one !== undefined) ? each.flat() : undefined
}

const kindOf = (schema: JsonSchema, depth: number): Kind => {
  const options = optionsOf(schema)
  if (options !== undefined) return "choice"
  if (schema.type === "string") return "text"
  if (schema.type === "number" || schema.type === "integer") return "number"
  if (schema.type === "boolean") return "boolean"
  const isStruct = schema.type === "object" && schema.properties !== undefined && schema.additionalProperties === false
  return isStruct && depth < 6 ? "struct" : "json"
}

const hintOf = ({ description, format, maxLength, maximum, minLength, minimum }: JsonSchema): string =>
  [
    description,
    format === "password" ? undefined : format,
    minLength === undefined ? undefined : `at least ${minLength} ${minLength === 1 ? "character" : "characters"}`,
    maxLength === undefined ? undefined : `at most ${maxLength} ${maxLength === 1 ? "character" : "characters"}`,
    minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? undefined : `from ${minimum}`,
    maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? undefined : `up to ${maximum}`
  ]
    .filter((one) => one !== undefined)
    .join(", ")

/** Whether a value has parts that go in and never come out: what replaces it as a whole would remove them. */
const hidesParts = (
  incoming: JsonSchema,
  visible: JsonSchema,
  roots: readonly [JsonSchema, JsonSchema],
  depth = 0
): boolean => {
  if (depth > 8) return false
  const [one, other] = [
    withoutNull(resolved(incoming, roots[0]), roots[0]),
    withoutNull(resolved(visible, roots[1]), roots[1])
  ]
  const within = (a: JsonSchema | undefined, b: JsonSchema | undefined): boolean =>
    a !== undefined && b !== undefined && hidesParts(a, b, roots, depth + 1)
  const inObjects = Object.entries(one.properties ?? {}).some(([name, part]) => {
    const back =
      other.properties !== undefined && Object.hasOwn(other.properties, name) ? other.properties[name] : undefined
    return back === undefined ? other.properties !== undefined : within(part, back)
  })
  const schemaOf = (of: JsonSchema["additionalProperties"]) => (typeof of === "object" ? of : undefined)
  const [members, others] = [one.anyOf ?? one.oneOf ?? [], other.anyOf ?? other.oneOf ?? []]
  return (
    inObjects ||
    within(one.items, other.items) ||
    within(schemaOf(one.additionalProperties), schemaOf(other.additionalProperties)) ||
    members.some((member, i) => within(member, others[i]))
  )
}

/**
 * The fields of a form. `create` says what they are, `shown` what comes back: what does not is a secret. Fields that only come back are there
 * to be looked at.
 */
export const fieldsOf = (
  { create, primaryKey, readonly, shown }: Resource,
  mode: "create" | "edit"
): ReadonlyArray<Field> => {
  const root = create ?? {}
  const of = (schema: JsonSchema, visible: JsonSchema | undefined, above: Path): ReadonlyArray<Field> => {
    const required = new Set(schema.required)
    const incoming = Object.entries(schema.properties ?? {}).map(([name, given]): Field => {
      const one = withoutNull(resolved(given, root), root)
      const path = [...above, name]
      const kind = kindOf(one, path.length)
      const seen = visible?.properties
      const back = seen !== undefined && Object.hasOwn(seen, name) ? seen[name] : undefined
      const isPart =
        mode === "edit" && kind === "json" && back !== undefined && hidesParts(one, back, [root, shown ?? {}])
      return {
        name,
        path,
        kind,
        isOptional: !required.has(name),
        isReadonly:
          isPart || readonly.includes(path.join(".")) || (mode === "edit" && above.length === 0 && name === primaryKey),
        isSecret: one.writeOnly === true || (visible !== undefined && back === undefined),
        isInteger: one.type === "integer",
        options: optionsOf(one) ?? [],
        fields: kind === "struct" ? of(one, back === undefined ? undefined : resolved(back, shown ?? {}), path) : [],
        hint: isPart ? "has parts that are never shown, which a change from here would remove" : hintOf(one)
      }
    })
    const known = new Set(incoming.map(({ name }) => name))
    const others = Object.entries(visible?.properties ?? {})
      .filter(([name]) => !known.has(name))
      .map(([name, given]): Field => {
        const one = resolved(given, shown ?? {})
        const kind = kindOf(one, 99)
        const path = [...above, name]
        return {
          name,
          path,
          kind: kind === "choice" ? "text" : kind,
          isOptional: true,
          isReadonly: true,
          isSecret: false,
          isInteger: false,
          options: [],
          fields: [],
          hint: "filled in by the database"
        }
      })
    return mode === "edit" ? [...incoming, ...others] : incoming
  }
  return of(root, shown ?? undefined, [])
}

// -----------------------------------------------------------------------------
// Drafts
// -----------------------------------------------------------------------------

/** What stands in a form, by the key of the path. A field that is not in it has no value. */
export type Draft = ReadonlyMap<string, string>

export interface Issue {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

export const keyOf = (path: ReadonlyArray<string | number>): string => JSON.stringify(path)

const textOf = (kind: Kind, value: Json): string =>
  kind === "text" && typeof value === "string"
    ? value
    : kind === "json"
      ? JSON.stringify(value, null, 2)
      : JSON.stringify(value)

/** What a form begins with. */
export const draftOf = (fields: ReadonlyArray<Field>, document: JsonObject, mode: "create" | "edit"): Draft => {
  const draft = new Map<string, string>()
  const fill = (some: ReadonlyArray<Field>, value: Json | undefined): void => {
    for (const field of some) {
      const one = at(value, field.name)
      if (field.kind === "struct") {
        if (one !== undefined || (mode === "create" && !field.isOptional)) draft.set(keyOf(field.path), "")
        fill(field.fields, one)
      } else if (one !== undefined) draft.set(keyOf(field.path), textOf(field.kind, one))
      // What a document does not have is not made up.
      else if (!field.isOptional && mode === "create") draft.set(keyOf(field.path), beginningOf(field))
    }
  }
  fill(fields, document)
  return draft
}

/** What a required field has before anybody has said anything. */
export const beginningOf = ({ kind, options }: Field): string =>
  kind === "boolean" ? "false" : kind === "choice" ? JSON.stringify(options[0] ?? "") : ""

const number = /^\s*-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\s*$/

const valueOf = ({ kind }: Field, text: string): { readonly value: Json } | { readonly problem: string } => {
  switch (kind) {
    case "text":
      return { value: text }
    case "number":
      return number.test(text) ? { value: Number(text) } : { problem: "Expected a number" }
    default:
      try {
        return { value: JSON.parse(text) as Json }
      } catch {
        return { problem: "Expected JSON" }
      }
  }
}

export interface Read {
  readonly document: JsonObject
  /** What cannot be sent. Whether it is right the server says. */
  readonly issues: ReadonlyArray<Issue>
}

/** The document that a form says, without fields that are there to be looked at. */
export const documentOf = (fields: ReadonlyArray<Field>, draft: Draft): Read => {
  const issues: Array<Issue> = []
  const read = (some: ReadonlyArray<Field>): JsonObject =>
    Object.fromEntries(
      some.flatMap((field): ReadonlyArray<readonly [string, Json]> => {
        const text = draft.get(keyOf(field.path))
        if (field.isReadonly || text === undefined) return []
        if (field.kind === "struct") return [[field.name, read(field.fields)]]
        const given = valueOf(field, text)
        if ("value" in given) return [[field.name, given.value]]
        issues.push({ path: field.path, message: given.problem })
        return []
      })
    )
  return { document: read(fields), issues }
}

/** What a patch has to say so that `before` becomes `after`. Structs are merged, all else is replaced. */
export const patchOf = (fields: ReadonlyArray<Field>, before: JsonObject, after: JsonObject): JsonObject =>
  Object.fromEntries(
    fields.flatMap((field): ReadonlyArray<readonly [string, Json]> => {
      if (field.isReadonly) return []
      const [was, is] = [at(before, field.name), at(after, field.name)]
      // What is never shown is sent where somebody has written it.
      if (field.isSecret) return is === undefined ? [] : [[field.name, is]]
      if (isSame(was, is)) return []
      if (is === undefined) return [[field.name, null]]
      if (field.kind !== "struct" || !isObject(was) || !isObject(is)) return [[field.name, is]]
      const inner = patchOf(field.fields, was, is)
      return Object.keys(inner).length === 0 ? [] : [[field.name, inner]]
    })
  )

// -----------------------------------------------------------------------------
// Differences
// -----------------------------------------------------------------------------

export interface Difference {
  readonly path: Path
  readonly before: Json | undefined
  readonly after: Json | undefined
}

/** Where two documents differ: by field, lists as a whole. */
export const differences = (
  before: Json | undefined,
  after: Json | undefined,
  path: Path = []
): ReadonlyArray<Difference> => {
  if (isSame(before, after)) return []
  if (!isObject(before) || !isObject(after)) return [{ path, before, after }]
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.flatMap((name) => differences(at(before, name), at(after, name), [...path, name]))
}

export interface Clash {
  readonly path: Path
  readonly base: Json | undefined
  readonly theirs: Json | undefined
  readonly mine: Json | undefined
  readonly by: "them" | "me" | "both"
}

/** What has become of a document on both sides, where they differ. */
export const clashes = (base: JsonObject, theirs: JsonObject, mine: JsonObject): ReadonlyArray<Clash> =>
  differences(theirs, mine).map(({ after, before, path }) => {
    const was = atPath(base, path)
    const [byThem, byMe] = [!isSame(was, before), !isSame(was, after)]
    return { path, base: was, theirs: before, mine: after, by: byThem && byMe ? "both" : byMe ? "me" : "them" }
  })

/** A draft beside their document: without secrets, and with theirs where there is nothing to write. */
export const besides = (fields: ReadonlyArray<Field>, mine: JsonObject, theirs: JsonObject): JsonObject =>
  Object.fromEntries(
    fields.flatMap((field): ReadonlyArray<readonly [string, Json]> => {
      if (field.isSecret) return []
      const [one, other] = [at(mine, field.name), at(theirs, field.name)]
      if (field.isReadonly) return other === undefined ? [] : [[field.name, other]]
      if (one === undefined) return []
      return [
        [
          field.name,
          field.kind === "struct" && isObject(one) ? besides(field.fields, one, isObject(other) ? other : {}) : one
        ]
      ]
    })
  )

/** Their document, with mine where it is chosen. */
export const merged = (theirs: JsonObject, all: ReadonlyArray<Clash>, chosen: ReadonlySet<string>): JsonObject =>
  all
    .filter(({ path }) => chosen.has(keyOf(path)))
    .reduce<Json | undefined>((whole, { mine, path }) => withPath(whole, path, mine), theirs) as JsonObject

// -----------------------------------------------------------------------------
// Filters
// -----------------------------------------------------------------------------

export const operators = [
  ["eq", "is"],
  ["ne", "is not"],
  ["gt", "is more than"],
  ["gte", "is at least"],
  ["lt", "is less than"],
  ["lte", "is at most"],
  ["startsWith", "begins with"],
  ["contains", "contains"],
  ["in", "is one of"],
  ["exists", "is there"]
] as const

export interface Condition {
  readonly field: string
  readonly operator: string
  readonly text: string
}

/** A value as somebody writes it: of a text field a text, else JSON where it is JSON. */
export const operandOf = (text: string, type: string): Json => {
  if (type === "string" || type === "date") return text
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}

/** The filter that conditions mean, or nothing. All have to be met. */
export const filterOf = (
  conditions: ReadonlyArray<Condition>,
  types: ReadonlyMap<string, string>
): JsonObject | undefined => {
  const all = conditions
    .filter(({ field }) => field !== "")
    .map(({ field, operator, text }): JsonObject => {
      const type = types.get(field) ?? "string"
      const operand =
        operator === "exists"
          ? text !== "false"
          : operator === "in"
            ? text.split(",").map((one) => operandOf(one.trim(), type))
            : operandOf(text, type)
      return Object.fromEntries([[field, Object.fromEntries([[operator, operand]])]])
    })
  const [only] = all
  return all.length > 1 ? { $and: all } : only
}

/** The types of fields, as operands are written for them. */
export const typesOf = ({ shown }: Resource): ReadonlyMap<string, string> => {
  const types = new Map<string, string>()
  const visit = (schema: JsonSchema, above: Path): void => {
    for (const [name, given] of Object.entries(schema.properties ?? {})) {
      const one = withoutNull(resolved(given, shown ?? {}), shown ?? {})
      const path = [...above, name]
      const isText = one.type === "string" || (optionsOf(one)?.every((option) => typeof option === "string") ?? false)
      types.set(path.join("."), isText ? "string" : "other")
      if (path.length < 6) visit(one, path)
    }
  }
  visit(shown ?? {}, [])
  return types
}

// -----------------------------------------------------------------------------
// Places
// -----------------------------------------------------------------------------

export type Place =
  | { readonly page: "overview" | "plugins" | "costs" | "store" | "nothing" }
  | { readonly page: "browse"; readonly resource: string; readonly query: string }
  | { readonly page: "new"; readonly resource: string }
  | {
      readonly page: "document"
      readonly resource: string
      readonly id: string
      readonly tab: "fields" | "history" | "content"
    }

/** The place that the fragment of an address means. */
export const placeOf = (fragment: string): Place => {
  const [path = "", query = ""] = fragment.replace(/^#/, "").split("?")
  let parts: ReadonlyArray<string>
  try {
    parts = path.split("/").slice(1).map(decodeURIComponent)
  } catch {
    return { page: "nothing" }
  }
  const [first = "", resource = "", what = "", id = "", tab = "fields"] = parts
  if (first === "") return { page: "overview" }
  if (first === "plugins" || first === "costs" || first === "store") return { page: first }
  if (first !== "resources" || resource === "") return { page: "nothing" }
  if (what === "") return { page: "browse", resource, query }
  if (what === "new") return { page: "new", resource }
  if (what !== "id" || (tab !== "fields" && tab !== "history" && tab !== "content")) return { page: "nothing" }
  return { page: "document", resource, id, tab }
}

/** Whether a URL can name a document: it takes these for something else than a part of a path. */
export const canBeNamed = (id: string): boolean => id !== "" && id !== "." && id !== ".."

/** The fragment of a place. */
export const linkTo = (...parts: ReadonlyArray<string>): string =>
  `#/${parts.map((part) => encodeURIComponent(part)).join("/")}`

export const bytes = (count: number): string => {
  const units = ["bytes", "KB", "MB", "GB", "TB"]
  let [size, unit] = [count, 0]
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1]
  return `${unit === 0 ? size : size.toPrecision(3)} ${units[unit]}`
}
