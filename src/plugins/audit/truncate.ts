/**
 * Images of documents, made to fit.
 *
 * @since 0.1.0
 */
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { utf8Length } from "../../internal/text.ts"

/**
 * An image that fits, and what is missing in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Truncated {
  readonly image: JsonObject
  /** Paths of what was cut or left out, its members joined by `.`; the empty one when nothing is left. */
  readonly paths: ReadonlyArray<string>
}

const sizeOf = (value: Json): number => utf8Length(JSON.stringify(value))

/** What ends a text that was cut. */
const ellipsis = "…"

const shortest = 16

/** The beginning of a text, no character of it cut in two. */
const beginning = (text: string, length: number): string => {
  const last = text.charCodeAt(length - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length) + ellipsis
}

const joined = (path: ReadonlyArray<string>): string => path.join(".")

/** Cuts all texts that are longer. */
const cut = (value: Json, length: number, path: ReadonlyArray<string>, found: Set<string>): Json => {
  if (typeof value === "string") {
    if (value.length <= length) return value
    found.add(joined(path))
    return beginning(value, length)
  }
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map((one: Json, i) => cut(one, length, [...path, String(i)], found))
  // Names are data: none of them is a setter.
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([name, one]) => [name, cut(one, length, [...path, name], found)])
  )
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Leaves out the largest member, of what is below the top if that is large. */
const shed = (image: JsonObject, path: ReadonlyArray<string>, found: Set<string>): JsonObject => {
  const sizes = Object.entries(image).map(([name, value]) => ({ name, value, size: sizeOf(value) }))
  const [largest] = sizes.toSorted((a, b) => b.size - a.size)
  if (largest === undefined) return image
  const at = [...path, largest.name]
  if (isObject(largest.value) && Object.keys(largest.value).length > 0) {
    const smaller = shed(largest.value, at, found)
    return Object.fromEntries(
      Object.entries(image).map(([name, value]) => [name, name === largest.name ? smaller : value])
    )
  }
  found.add(joined(at))
  return Object.fromEntries(Object.entries(image).filter(([name]) => name !== largest.name))
}

/**
 * Makes an image have at most so many bytes as JSON: texts are cut first, the longest most; then the largest members go.
 *
 * @category conversions
 * @since 0.1.0
 */
export const truncate = (image: JsonObject, maxBytes: number): Truncated => {
  let size = sizeOf(image)
  if (size <= maxBytes) return { image, paths: [] }
  const paths = new Set<string>()
  let fitting: JsonObject = image
  for (let length = Math.floor(maxBytes / 2); size > maxBytes && length >= shortest; length = Math.floor(length / 2)) {
    fitting = cut(image, length, [], paths) as JsonObject
    size = sizeOf(fitting)
  }
  while (size > maxBytes && Object.keys(fitting).length > 0) {
    fitting = shed(fitting, [], paths)
    size = sizeOf(fitting)
  }
  return { image: fitting, paths: [...paths].toSorted() }
}
