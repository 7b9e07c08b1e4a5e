/** Values as JSON has them: objects, lists, and what is at a path of names. */
import type * as Schema from "effect/Schema"

type Json = Schema.Json

type JsonObject = { readonly [name: string]: Json }

type Path = ReadonlyArray<string>

/** Tells whether a value is an object, and no list. */
export const isRecord = (u: unknown): u is { readonly [name: string]: unknown } =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/** Tells whether a value is an object of no class. */
export const isPlain = (u: unknown): u is { readonly [name: string]: unknown } => {
  if (!isRecord(u)) return false
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Tells whether JSON is an object. */
export const isObject = (value: Json | undefined): value is { readonly [name: string]: Json } => isRecord(value)

/** Tells whether JSON is a list. */
export const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

/**
 * Returns what is at a path; `undefined` when there is nothing. Own properties of objects only, so that `constructor` is
 * there when somebody put it there, and elements of lists have no path.
 */
export function valueAt(value: Json, path: Path): Json | undefined
export function valueAt(value: unknown, path: Path): unknown
export function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const name of path) {
    if (!isRecord(at) || !Object.hasOwn(at, name)) return undefined
    at = at[name]
  }
  return at
}

/** Returns a value without what is at a path. */
export function without(value: JsonObject, path: Path): JsonObject
export function without(value: unknown, path: Path): unknown
export function without(value: unknown, path: Path): unknown {
  const [name, ...rest] = path
  if (name === undefined || typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return value
  const { [name]: inner, ...others } = value as Record<string, unknown>
  return rest.length === 0 ? others : { ...others, [name]: without(inner, rest) }
}

/** Tells whether two paths have the same names. */
export const samePath = (a: Path, b: Path): boolean =>
  a.length === b.length && a.every((name, index) => name === b[index])

/** Returns an object with each value changed. */
export const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  f: (value: A, name: string) => B
): Record<string, B> => Object.fromEntries(Object.entries(record).map(([name, value]) => [name, f(value, name)]))

/** Returns a list with each item changed; the list itself where none has been. */
export const mapSame = (list: ReadonlyArray<unknown>, f: (item: unknown, index: number) => unknown): unknown => {
  const mapped = list.map(f)
  return mapped.every((item, i) => Object.is(item, list[i])) ? list : mapped
}
