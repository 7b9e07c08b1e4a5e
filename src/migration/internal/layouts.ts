/** What a resource of s3db.js becomes: a definition of ours, and for each of its versions where its fields are. */
import * as Option from "effect/Option"
import * as Definition from "../../Definition.ts"
import { isRecord } from "../../internal/json.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as attributes from "./attributes.ts"
import * as catalog from "./catalog.ts"
import { base62 } from "./numbers.ts"
import type { Layout } from "./record.ts"

export interface Known {
  readonly _tag: "Known"
  readonly name: string
  readonly version: string
  readonly behavior: string
  readonly definition: Definition.Definition<DynamicSchema>
  readonly notes: ReadonlyArray<string>
  /** Of a version; `undefined` where the catalog has none of this name. One that says nothing is of the present one. */
  readonly layoutOf: (version: string | undefined) => Layout | undefined
}

export interface Unknown {
  readonly _tag: "Unknown"
  readonly problem: string
}

const unknown = (problem: string): Unknown => ({ _tag: "Unknown", problem })

const isOn = (given: unknown): boolean => given === true

/**
 * Where the fields of a version are. By their position, leaves first, then objects (16), or by the number that the registry of the resource gave them once and for all
 * (later releases), in base 36.
 */
const layoutOf = (
  { containers, fields }: attributes.Parsed,
  registry: Readonly<Record<string, number>> | undefined
): Layout => {
  const codes = new Map<string, string>()
  const names = [...fields.map(({ path }) => path.join(".")), ...containers]
  names.forEach((name, position) => {
    const number = registry !== undefined && Object.hasOwn(registry, name) ? registry[name]! : undefined
    if (registry === undefined) codes.set(name, base62(position))
    else if (number !== undefined) codes.set(name, number.toString(36))
  })
  const byCode = new Map<string, attributes.Field>()
  const sharing = new Map<string, Array<string>>()
  for (const field of fields) {
    const code = codes.get(field.path.join("."))
    if (code === undefined) continue
    byCode.set(code, field)
  }
  for (const [name, code] of codes) sharing.set(code.toLowerCase(), [...(sharing.get(code.toLowerCase()) ?? []), name])
  const ambiguous = new Map([...sharing].filter(([, names]) => names.length > 1))
  for (const field of fields) {
    const code = codes.get(field.path.join("."))?.toLowerCase()
    if (code !== undefined && !byCode.has(code)) byCode.set(code, field)
  }
  return { fields, byCode, ambiguous }
}

/** The partitions that our definition can have, in its own notation, which is that of the original. */
const partitionsOf = (
  given: unknown
): Readonly<Record<string, { readonly fields: Readonly<Record<string, string>> }>> => {
  if (!isRecord(given)) return {}
  const entries = Object.entries(given).flatMap(([name, partition]) => {
    const fields = isRecord(partition) ? partition["fields"] : undefined
    return isRecord(fields) ? [[name, { fields: fields as Readonly<Record<string, string>> }] as const] : []
  })
  return Object.fromEntries(entries)
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Every field is there or not, of its type, and nothing else is asked of it. */
const typesOnly = (rules: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(rules).flatMap(([name, rule]): ReadonlyArray<readonly [string, unknown]> => {
      if (name === "$$type") return []
      if (isRecord(rule)) return [[name, { $$type: "object|optional", ...typesOnly(rule) }]]
      const [type, ...rest] = String(rule).split("|")
      const kept = rest.filter((one) => one.startsWith("items:") || one === "nullable")
      return [[name, [type, ...kept, "optional"].join("|")]]
    })
  )

interface Made {
  readonly definition: Definition.Definition<DynamicSchema>
  readonly notes: ReadonlyArray<string>
}

/** The definition, with the partitions that can be. */
const define = (
  name: string,
  rules: Readonly<Record<string, unknown>>,
  partitions: ReturnType<typeof partitionsOf>,
  content: boolean
): Made => {
  const notes: Array<string> = []
  const make = (options: object) =>
    Definition.fromAttributes(
      name,
      rules as never,
      { scan: true, content, ...options } as never
    ) as unknown as Definition.Definition<DynamicSchema>
  const kept: Record<string, unknown> = {}
  for (const [partition, given] of Object.entries(partitions)) {
    try {
      make({ partitions: { [partition]: given } })
      kept[partition] = given
    } catch (error) {
      notes.push(`partition ${JSON.stringify(partition)} is left out: ${message(error)}`)
    }
  }
  return { definition: make({ partitions: kept }), notes }
}

/** Reads what the catalog says of a resource. */
export const read = (
  name: string,
  json: unknown,
  { content, rules }: { readonly rules: "keep" | "types"; readonly content: boolean }
): Known | Unknown => {
  const decoded = catalog.decodeResource(json)
  if (Option.isNone(decoded)) return unknown("what the catalog says of it is damaged")
  const { currentVersion, schemaRegistry, versions } = decoded.value
  const current = Object.hasOwn(versions, currentVersion) ? versions[currentVersion] : undefined
  if (current === undefined) return unknown(`the catalog has no version ${JSON.stringify(currentVersion)} of it`)
  const registry = schemaRegistry?.mapping
  const parsedOf = (version: catalog.StoredVersion) =>
    attributes.parse(version.attributes, isOn(version.allNestedObjectsOptional))
  const parsed = parsedOf(current)
  const layouts = new Map<string, Layout>()
  const behavior = current.behavior ?? "user-managed"
  try {
    const { definition, notes } = define(
      name,
      rules === "keep" ? parsed.rules : typesOnly(parsed.rules),
      partitionsOf(current.partitions),
      content
    )
    const shared = [...layoutOf(parsed, registry).ambiguous.values()].map(
      (fields) =>
        `${fields.join(" and ")}: S3 keeps them under one name, so that one of them is lost where both were written`
    )
    const timed =
      current.timestamps === true
        ? ["createdAt and updatedAt become fields like others, so that those of the original are kept"]
        : []
    return {
      _tag: "Known",
      name,
      version: currentVersion,
      behavior,
      definition,
      notes: [...parsed.notes, ...notes, ...shared, ...timed],
      layoutOf: (given) => {
        const version = given ?? currentVersion
        const stored = Object.hasOwn(versions, version) ? versions[version] : undefined
        if (stored === undefined) return undefined
        const layout = layouts.get(version) ?? layoutOf(parsedOf(stored), registry)
        layouts.set(version, layout)
        return layout
      }
    }
  } catch (error) {
    return unknown(`it cannot be declared here: ${message(error)}`)
  }
}
