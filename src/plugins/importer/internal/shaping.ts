/** Documents of records: the fields that a mapping says, in the form that the resource has them. */
import * as Result from "effect/Result"
import * as AST from "effect/SchemaAST"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isList, isObject } from "../../../internal/json.ts"
import { type Field, fieldTree } from "../../../internal/merge.ts"
import { didYouMean } from "../../../internal/nearest.ts"
import * as Attributes from "../../../schema/Attributes.ts"
import { columnsOf } from "../../Parquet.ts"
import type { Column, Type } from "../../parquet/internal/columns.ts"
import { toValue } from "../../parquet/internal/reading.ts"
import type { Mapping } from "../mapping.ts"
import { Misfit, type Step, stepOf } from "./steps.ts"
import { type Fault, isForbidden } from "./records.ts"

/** What an import has to know of a resource. */
export interface Shape {
  readonly name: string
  readonly primaryKey: string
  readonly attributes: ReadonlyArray<Attributes.Attribute>
  readonly schema: Attributes.DocumentSchema
  readonly portable?: Json | undefined
}

/** How records become documents. */
export interface Plan {
  readonly document: (record: JsonObject) => Result.Result<JsonObject, Fault>
  /** The column that a field came from. */
  readonly columnOf: (path: ReadonlyArray<string>) => string | undefined
  /** Columns that have to be there. */
  readonly needed: ReadonlyArray<string>
}

// -----------------------------------------------------------------------------
// Cells
// -----------------------------------------------------------------------------

const flags = new Map<Json, boolean>([
  ["true", true],
  ["false", false],
  ["1", true],
  ["0", false],
  [1, true],
  [0, false]
])

/** A cell in the form of its field, as far as it can be; what cannot be is refused when it is written, with its path. */
const cellOf = (type: Type, fields: Field | undefined): ((value: Json) => Json) => {
  const convert = toValue(type, fields?.tree)
  switch (type._tag) {
    case "Boolean":
      return (value) => flags.get(typeof value === "string" ? value.trim().toLowerCase() : value) ?? value
    case "List":
    case "Struct":
      return (value) => {
        if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return convert(value)
        try {
          return convert(JSON.parse(value) as Json)
        } catch {
          return value
        }
      }
    case "Double":
    case "Integer":
      return (value) => convert(typeof value === "string" ? value.trim() : value)
    default:
      return convert
  }
}

const plainText = (value: Json): Json =>
  typeof value === "number" || typeof value === "boolean" ? String(value) : value

const columnAt = (columns: ReadonlyArray<Column>, path: ReadonlyArray<string>): Column | undefined => {
  const [first, ...rest] = path
  const column = columns.find(({ name }) => name === first)
  if (column === undefined || rest.length === 0) return column
  return column.type._tag === "Struct" ? columnAt(column.type.fields, rest) : undefined
}

// -----------------------------------------------------------------------------
// Plans
// -----------------------------------------------------------------------------

/** Where a value goes, and what is made of it before. */
interface Target {
  readonly path: ReadonlyArray<string>
  readonly convert: (value: Json) => Json
  /** What an empty cell means. */
  readonly empty: Json | undefined
}

/** An empty cell is a field that is not there, unless it has to be, and is text or may be null. */
const targetsOf = (shape: Shape): ((name: string) => Target) => {
  const { attributes, portable, primaryKey, schema } = shape
  const tree = fieldTree(AST.toType(schema.ast), "error")
  const given = isObject(portable) ? portable["defaults"] : undefined
  const defaults = isObject(given) ? given : {}
  const columns = columnsOf(shape)
  const codecs = new Map<string, string>(attributes.map(({ codec, path }) => [path.join("."), codec]))
  codecs.set(primaryKey, "string")
  return (name) => {
    const path = codecs.has(name) ? name.split(".") : [name]
    let [fields, field] = [tree, undefined as Field | undefined]
    for (const part of path) {
      field = fields?.fields.get(part)
      fields = field?.tree
    }
    const codec = codecs.get(name)
    const column = columnAt(columns, path)
    const isHidden = codec !== undefined && Attributes.isHidden(codec as Attributes.Codec)
    const convert = column === undefined ? (isHidden ? plainText : (value: Json) => value) : cellOf(column.type, field)
    // Within an object that need not be there, nothing has to be.
    const empty =
      field === undefined || field.optional || path.length > 1
        ? undefined
        : field.nullable
          ? null
          : codec === "string" && !Object.hasOwn(defaults, path[0]!)
            ? ""
            : undefined
    return { path, convert, empty }
  }
}

const put = (document: Record<string, Json>, path: ReadonlyArray<string>, value: Json): void => {
  let place = document
  for (let i = 0; i < path.length - 1; i++) {
    const part = path[i]!
    const there = Object.hasOwn(place, part) ? place[part] : undefined
    const next: Record<string, Json> = there !== undefined && isObject(there) ? (there as Record<string, Json>) : {}
    place[part] = next
    place = next
  }
  place[path.at(-1)!] = value
}

/** The value of a column, of JSON also that at a path. */
const valueOf = (record: JsonObject, name: string): Json | undefined => {
  if (Object.hasOwn(record, name)) return record[name]
  if (!name.includes(".")) return undefined
  let value: Json | undefined = record
  for (const part of name.split(".")) {
    value = isList(value)
      ? value[Number(part)]
      : isObject(value) && Object.hasOwn(value, part)
        ? value[part]
        : undefined
  }
  return value
}

const set = (document: Record<string, Json>, { convert, empty, path }: Target, value: Json | undefined): void => {
  const made = value === undefined || value === null || value === "" ? empty : convert(value)
  if (made !== undefined) put(document, path, made)
}

/** What is wrong with a mapping. */
export interface Wrong {
  readonly field: string
  readonly problem: string
}

/** Tells apart fields that the resource can have. */
const unknownIn = (shape: Shape, paths: ReadonlyArray<string>): string | undefined => {
  const tree = fieldTree(AST.toType(shape.schema.ast), "error")
  if (tree === undefined) return undefined
  return paths.find((path) => {
    const [first = path] = path.split(".")
    return !tree.fields.has(path) && !tree.fields.has(first) && path !== shape.primaryKey
  })
}

/** Makes the plan of a table (`isTable`), whose values are cells, or of records that have the form of documents already. */
export const plan = (shape: Shape, mapping: Mapping | undefined, isTable: boolean): Plan | Wrong => {
  const targetOf = targetsOf(shape)
  const byColumn = new Map<string, Target>()
  const own = (name: string): Target => {
    const found = byColumn.get(name) ?? targetOf(name)
    byColumn.set(name, found)
    return found
  }
  if (mapping === undefined) {
    const columnOf = (path: ReadonlyArray<string>) => (path.length === 0 ? undefined : path.join("."))
    if (!isTable) return { document: Result.succeed, columnOf, needed: [] }
    return {
      document: (record) => {
        const document: Record<string, Json> = {}
        for (const name of Object.keys(record)) set(document, own(name), record[name])
        return Result.succeed(document)
      },
      columnOf,
      needed: []
    }
  }

  const names = Object.keys(mapping.fields)
  const forbidden = names.find(isForbidden)
  if (forbidden !== undefined) return { field: `mapping.fields.${forbidden}`, problem: "no field can have this name" }
  const unknown = unknownIn(shape, names)
  if (unknown !== undefined) {
    const known = [...new Set([shape.primaryKey, ...shape.attributes.map(({ path }) => path.join("."))])]
    const problem = `${shape.name} has no such field${didYouMean(unknown, known)}`
    return { field: `mapping.fields.${unknown}`, problem }
  }
  interface Assignment {
    readonly from: ReadonlyArray<string>
    readonly isList: boolean
    readonly constant: Json | undefined
    readonly steps: ReadonlyArray<Step>
    readonly target: Target
  }
  const assignments = names.map((name): Assignment => {
    const said = mapping.fields[name]!
    const { constant, from, transforms = [] } = typeof said === "string" ? { from: said } : said
    const target = targetOf(name)
    return {
      from:
        constant !== undefined && from === undefined
          ? []
          : isList(from as Json)
            ? (from as Array<string>)
            : [(from as string | undefined) ?? name],
      isList: isList(from as Json),
      constant,
      steps: transforms.map(stepOf),
      // The path is one, whether the resource knows the field or not.
      target: { ...target, path: name.split(".") }
    }
  })
  const taken = new Set(assignments.flatMap(({ from }) => from))
  const sources = new Map(assignments.map(({ from, target }) => [target.path.join("."), from[0]]))
  const document: Plan["document"] = (record) => {
    const made: Record<string, Json> = {}
    if (mapping.others === "keep") {
      for (const name of Object.keys(record)) {
        if (taken.has(name)) continue
        if (isTable) set(made, own(name), record[name])
        else put(made, [name], record[name]!)
      }
    }
    for (const { constant, from, isList, steps, target } of assignments) {
      let value: Json | undefined = isList
        ? from.map((name) => valueOf(record, name) ?? null)
        : from[0] === undefined
          ? constant
          : (valueOf(record, from[0]) ?? constant)
      for (const step of steps) {
        const next = step(value)
        if (next instanceof Misfit) {
          return Result.fail({
            reason: "Transform",
            description: `Expected ${next.expected}`,
            column: from.length === 0 ? target.path.join(".") : from.join(", ")
          })
        }
        value = next
      }
      set(made, target, value)
    }
    return Result.succeed(made)
  }
  const needed = isTable ? assignments.flatMap(({ constant, from }) => (constant === undefined ? from : [])) : []
  return { document, needed, columnOf: (path) => sources.get(path.join(".")) ?? path.join(".") }
}
