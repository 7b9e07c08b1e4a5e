/**
 * Which resources a plugin looks after: one way to say it for all plugins.
 *
 * ```ts
 * import * as ResourceSelector from "effect-s3db/ResourceSelector"
 *
 * const isSelected = ResourceSelector.toPredicate({ block: ["sessions"], predicate: (name) => name.startsWith("shop-") })
 * ```
 *
 * **Details**
 *
 * All parts that are given have to agree: `allow` names it, `predicate` is true of it, and `block` does not name it. Names are
 * compared as they are: `users` is not `Users`, and not `users_archive`. A list that is empty names none. Resources that plugins
 * keep for themselves (`plg_...`) are left out unless `allow` names them, or `includePlugins` is `true`. A resource that is created
 * later is judged in the same way.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { nearest, perhaps } from "./internal/nearest.ts"

/**
 * The test of a name.
 *
 * @category models
 * @since 0.1.0
 */
export type Predicate = (resource: string) => boolean

/**
 * The parts of a selection.
 *
 * @category models
 * @since 0.1.0
 */
export const Parts = Schema.Struct({
  /** Default: all. */
  allow: Schema.optional(Schema.Array(Schema.String)),
  /** Default: none. */
  block: Schema.optional(Schema.Array(Schema.String)),
  predicate: Schema.optional(
    Schema.declare<Predicate>((input): input is Predicate => typeof input === "function", { expected: "a function" })
  ),
  /** Whether resources of plugins are meant as well. Default `false`. */
  includePlugins: Schema.optional(Schema.Boolean)
})

/**
 * Which resources are meant: `"*"` for all, their names, a test of the name, or the parts of a selection.
 *
 * @category models
 * @since 0.1.0
 */
export const ResourceSelector = Schema.Union([
  Schema.Literal("*"),
  Schema.Array(Schema.String),
  Parts.fields.predicate.schema.members[0],
  Parts
])

/**
 * Which resources are meant: `"*"` for all, their names, a test of the name, or the parts of a selection.
 *
 * @category models
 * @since 0.1.0
 */
export type ResourceSelector = typeof ResourceSelector.Type

/**
 * Tells whether a name is that of a resource that plugins keep for themselves.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOfPlugin = (resource: string): boolean => resource.startsWith("plg_")

const partsOf = (selector: ResourceSelector): typeof Parts.Type => {
  if (selector === "*") return {}
  if (typeof selector === "function") return { predicate: selector }
  return "length" in selector ? { allow: selector } : selector
}

/**
 * Returns the test that a selection stands for.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toPredicate = (selector: ResourceSelector = "*"): Predicate => {
  const { allow, block, includePlugins = false, predicate } = partsOf(selector)
  const allowed = allow === undefined ? undefined : new Set(allow)
  const blocked = new Set(block)
  return (resource) =>
    !blocked.has(resource) &&
    (allowed === undefined ? includePlugins || !isOfPlugin(resource) : allowed.has(resource)) &&
    (predicate?.(resource) ?? true)
}

/**
 * Returns the names that a selection has of what it means; none of one that says it by a test or by `"*"`.
 *
 * @category getters
 * @since 0.1.0
 */
export const namesOf = (selector: ResourceSelector = "*"): ReadonlySet<string> =>
  new Set(partsOf(selector).allow?.filter(toPredicate(selector)))

/**
 * Returns what of a selection names no resource that there is, quoted, each with the name that is nearest: such as `"user"; perhaps users is
 * meant`. Of what is left out only names that are near to one: others may be of resources elsewhere.
 *
 * @category getters
 * @since 0.1.0
 */
export const unknown = (selector: ResourceSelector = "*", resources: Iterable<string>): ReadonlyArray<string> => {
  const { allow = [], block = [] } = partsOf(selector)
  const there = new Set(resources)
  const named = new Set([...allow, ...block])
  const others = [...there].filter((name) => !named.has(name))
  const told = [...named].map((name) => ({ name, near: there.has(name) ? undefined : nearest(name, others) }))
  return told
    .filter(({ name, near }) => !there.has(name) && (near !== undefined || allow.includes(name)))
    .map(({ name, near }) => `${JSON.stringify(name)}${perhaps(near)}`)
}

/**
 * Returns why a plugin that is to look after these resources is not as it was meant, or `undefined`: names of none that there is.
 *
 * @category getters
 * @since 0.1.0
 */
export const problemOf = (selector: ResourceSelector | undefined, resources: Iterable<string>): string | undefined => {
  const names = unknown(selector, resources)
  return names.length === 0 ? undefined : `resources: there is none that is called ${names.join(", nor ")}`
}
