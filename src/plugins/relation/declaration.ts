/**
 * Relations as they are declared, checked against the definitions of both sides and worked out.
 *
 * @since 0.1.0
 */
import * as AST from "effect/SchemaAST"
import type * as Definition from "../../Definition.ts"
import { fieldTypes } from "../../internal/merge.ts"
import type * as Partition from "../../Partition.ts"
import type * as Unique from "../../Unique.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A relation in any declaration, by the names that it was given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Given {
  readonly hasOne?: string | undefined
  readonly hasMany?: string | undefined
  readonly belongsTo?: string | undefined
  readonly belongsToMany?: string | undefined
  readonly key?: string | undefined
  readonly references?: string | undefined
  readonly through?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly scan?: boolean | undefined
  readonly onDelete?: string | undefined
  readonly onChange?: string | undefined
  readonly mustExist?: boolean | undefined
}

/**
 * What becomes of the documents that belong to one that is deleted, or whose key changes: they go with it, keep it from happening, or
 * refer to nothing any more.
 *
 * @category models
 * @since 0.1.0
 */
export type Policy = "cascade" | "restrict" | "setNull"

/**
 * How documents are found by a field: by their ids, by a unique key, by a partition, or by reading all of them.
 *
 * @category models
 * @since 0.1.0
 */
export type Way = "id" | "unique" | "partition" | "scan"

/**
 * A relation that has been worked out: `local` of a document is what `foreign` of those that belong to it has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Relation {
  readonly kind: "hasOne" | "hasMany" | "belongsTo" | "belongsToMany"
  readonly source: string
  readonly name: string
  readonly target: string
  readonly local: string
  readonly foreign: string
  readonly way: Way
  /** The resource in between: `from` has what `local` has, `to` what `foreign` has. */
  readonly through:
    | { readonly resource: string; readonly from: string; readonly to: string; readonly way: Way }
    | undefined
  readonly onDelete: Policy | undefined
  readonly onChange: Policy | undefined
  /** How a key is cleared: by `null`, or by its absence. */
  readonly clearedBy: "null" | "absence"
  readonly mustExist: boolean
}

/**
 * A mistake in a declaration: where it is, and what to do about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mistake {
  readonly resource: string
  readonly relation: string
  readonly field: string
  readonly problem: string
}

/**
 * The relations of each resource, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Relations = ReadonlyMap<string, ReadonlyMap<string, Relation>>

// -----------------------------------------------------------------------------
// Checking
// -----------------------------------------------------------------------------

const kinds = ["hasOne", "hasMany", "belongsTo", "belongsToMany"] as const

const policyNames: ReadonlyArray<Policy> = ["cascade", "restrict", "setNull"]

/** Whether documents have texts, numbers or booleans in a field, which are told apart by what they are. */
const isKeyType = (ast: AST.AST): boolean =>
  AST.isUnion(ast)
    ? ast.types.every(isKeyType)
    : AST.isString(ast) ||
      AST.isNumber(ast) ||
      AST.isBoolean(ast) ||
      AST.isTemplateLiteral(ast) ||
      AST.isEnum(ast) ||
      AST.isNull(ast) ||
      AST.isUndefined(ast) ||
      (AST.isLiteral(ast) && typeof ast.literal !== "bigint")

/** How documents are found by one field; `undefined`: not without reading all of them. */
const wayTo = ({ partitions, primaryKey, uniques }: Definition.Any, field: string): Way | undefined => {
  if (field === primaryKey) return "id"
  const isAlone = ({ blind, fields, ignoreCase }: Unique.Definition) =>
    blind !== true && ignoreCase !== true && fields.length === 1 && fields[0]!.join(".") === field
  if (Object.values(uniques).some(isAlone)) return "unique"
  const leads = ({ fields: [first] }: Partition.Definition) =>
    first !== undefined && first.path.join(".") === field && first.transforms.length === 0
  return Object.values(partitions).some(leads) ? "partition" : undefined
}

/**
 * Lists the fields at the top of the documents of a resource.
 *
 * @category getters
 * @since 0.1.0
 */
export const fieldsOf = ({ attributes, primaryKey }: Definition.Any): ReadonlySet<string> =>
  new Set([primaryKey, ...attributes.map(({ path }) => path[0]!)])

/**
 * Works a declaration out, or tells the first mistake in it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resolve = (
  resources: Readonly<Record<string, Definition.Any>>,
  given: Readonly<Record<string, Readonly<Record<string, Given>> | undefined>>
): Relations | Mistake => {
  const relations = new Map<string, Map<string, Relation>>(Object.keys(resources).map((name) => [name, new Map()]))
  for (const [source, all = {}] of Object.entries(given)) {
    const of = relations.get(source)
    if (of === undefined) {
      return {
        resource: source,
        relation: "",
        field: "relations",
        problem: "Expected the name of one of the resources"
      }
    }
    for (const [name, one] of Object.entries(all)) {
      const found = worked(resources, source, name, one)
      if ("problem" in found) return found
      of.set(name, found)
    }
  }
  return relations
}

const worked = (
  resources: Readonly<Record<string, Definition.Any>>,
  source: string,
  name: string,
  one: Given
): Relation | Mistake => {
  const mistake = (field: string, problem: string): Mistake => ({ resource: source, relation: name, field, problem })
  const named = kinds.filter((kind) => one[kind] !== undefined)
  const [kind] = named
  if (kind === undefined || named.length > 1) {
    return mistake("kind", `Expected one of ${kinds.join(", ")} with the name of a resource`)
  }
  const own = resources[source]!
  const target = one[kind]!
  const other = Object.hasOwn(resources, target) ? resources[target] : undefined
  if (other === undefined) {
    return mistake(
      kind,
      `Expected one of the resources: ${Object.keys(resources).join(", ")}; not ${JSON.stringify(target)}`
    )
  }
  if (name === "" || /[.,]/.test(name)) return mistake("name", "Expected a name without . and ,")
  if (fieldsOf(own).has(name)) {
    return mistake("name", `Expected another name: ${JSON.stringify(source)} has a field that is called so`)
  }
  const fieldProblem = ({ primaryKey, schema }: Definition.Any, label: string, field: string): Mistake | undefined => {
    if (field === primaryKey) return undefined
    const type = fieldTypes(AST.toType(schema.ast)).get(field)
    if (type === undefined) {
      return mistake(label, `Expected a field at the top of a document, not ${JSON.stringify(field)}`)
    }
    return isKeyType(type)
      ? undefined
      : mistake(label, `Expected a field with texts, numbers or booleans: ${JSON.stringify(field)} has others`)
  }
  const wayOf = (side: Definition.Any, label: string, field: string): Way | Mistake =>
    wayTo(side, field) ??
    (one.scan === true
      ? "scan"
      : mistake(
          label,
          `nothing leads to the documents of ${JSON.stringify(side.name)} by ${JSON.stringify(field)}: declare partitions: { by${field[0]!.toUpperCase()}${field.slice(1)}: [${JSON.stringify(field)}] } there, or a unique key, or say scan: true, which reads every document`
        ))

  const policyOf = (label: "onDelete" | "onChange") => policyNames.find((policy) => policy === one[label])
  const holds =
    kind === "belongsToMany" ? { side: resources[one.through ?? ""], field: one.from } : { side: other, field: one.key }
  const holding = holds.side?.attributes.find(({ path }) => path.length === 1 && path[0] === holds.field)
  for (const label of ["onDelete", "onChange"] as const) {
    if (one[label] === undefined) continue
    if (policyOf(label) === undefined) return mistake(label, `Expected one of ${policyNames.join(", ")}`)
    if (kind === "belongsTo")
      return mistake(label, "Expected it at the other side, whose documents are deleted or changed")
    if (one[label] === "setNull" && (holding === undefined || !(holding.optional || holding.nullable))) {
      return mistake(
        label,
        `Expected ${JSON.stringify(holds.field ?? "")} of ${JSON.stringify(holds.side?.name ?? "")} to be optional, or to take null`
      )
    }
    if (one[label] === "cascade" && label === "onChange" && holds.field === holds.side?.primaryKey) {
      return mistake(label, "Expected no cascade: the primary key of a document does not change")
    }
  }
  if (one.mustExist === true && kind !== "belongsTo") return mistake("mustExist", "Expected it of a belongsTo")
  const policies = {
    onDelete: policyOf("onDelete"),
    onChange: policyOf("onChange"),
    clearedBy: holding?.nullable === true ? ("null" as const) : ("absence" as const),
    mustExist: one.mustExist === true
  }

  if (kind === "belongsToMany") {
    const { from, through, to } = one
    const between = through !== undefined && Object.hasOwn(resources, through) ? resources[through] : undefined
    if (through === undefined || between === undefined) {
      return mistake("through", `Expected the resource in between, one of ${Object.keys(resources).join(", ")}`)
    }
    if (from === undefined)
      return mistake(
        "from",
        `Expected the field of ${JSON.stringify(through)} with the id of ${JSON.stringify(source)}`
      )
    if (to === undefined)
      return mistake("to", `Expected the field of ${JSON.stringify(through)} with the id of ${JSON.stringify(target)}`)
    const problem = fieldProblem(between, "from", from) ?? fieldProblem(between, "to", to)
    if (problem !== undefined) return problem
    const way = wayOf(between, "from", from)
    if (typeof way !== "string") return way
    return {
      kind,
      source,
      name,
      target,
      local: own.primaryKey,
      foreign: other.primaryKey,
      way: "id",
      through: { resource: through, from, to, way },
      ...policies
    }
  }

  const { key } = one
  const belongs = kind === "belongsTo"
  const [holder, held] = belongs ? [own, other] : [other, own]
  if (key === undefined) {
    return mistake(
      "key",
      `Expected the field of ${JSON.stringify(belongs ? source : target)} with the id of the other side`
    )
  }
  const references = one.references ?? held.primaryKey
  const problem = fieldProblem(holder, "key", key) ?? fieldProblem(held, "references", references)
  if (problem !== undefined) return problem
  const foreign = belongs ? references : key
  const way = wayOf(other, belongs ? "references" : "key", foreign)
  if (typeof way !== "string") return way
  return {
    kind,
    source,
    name,
    target,
    local: belongs ? key : references,
    foreign,
    way,
    through: undefined,
    ...policies
  }
}
