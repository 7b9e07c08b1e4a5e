/** Small things that several wings do with JSON and records. */
import type { Json, JsonObject } from "../encoding/Json.ts"

/** What is at a path, through own properties of objects only. */
export const ownValueAt = (json: JsonObject, path: ReadonlyArray<string>): Json | undefined => {
  let at: Json | undefined = json
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined
    at = (at as JsonObject)[part]
  }
  return at
}

/** Whether two paths are the same. */
export const samePath = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((name, index) => name === b[index])

/** An object without what is at a path. */
export const withoutPath = (json: JsonObject, [name, ...rest]: ReadonlyArray<string>): JsonObject => {
  if (name === undefined || !Object.hasOwn(json, name)) return json
  const { [name]: inner, ...others } = json
  if (rest.length === 0) return others
  return typeof inner === "object" && inner !== null && !Array.isArray(inner)
    ? { ...others, [name]: withoutPath(inner as JsonObject, rest) }
    : json
}
