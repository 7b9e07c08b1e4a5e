/**
 * JSON values, and JSON text that reads back as exactly the same value, or a refusal.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import { isPlain } from "../internal/json.ts"

/**
 * A value as JSON has it: what a schema encodes to.
 *
 * @category models
 * @since 0.1.0
 */
export type Json = Schema.Json

/**
 * An object as JSON has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface JsonObject {
  readonly [key: string]: Json
}

/**
 * A value that has no stored form: where it is and what is wrong with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FieldProblem {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

const negativeZero = "-0"

/** Deeper than this the parsers of other languages refuse JSON, and recursion runs out of stack. */
const deepest = 500

/**
 * The number of levels that a document may have whose values have passed: what is around them is not counted against
 * them.
 *
 * @category constants
 * @since 0.1.0
 */
export const documentLevels = deepest + 100

/**
 * Tells whether a value holds others more than so many levels deep. Does so without recursion, before others recurse.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDeeperThan = (value: unknown, levels: number): boolean => {
  let level: ReadonlyArray<object> = isObject(value) ? [value] : []
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > levels) return true
    const next: Array<object> = []
    for (const node of level) {
      for (const one of Array.isArray(node) ? (node as ReadonlyArray<unknown>) : Object.values(node)) {
        if (isObject(one)) next.push(one)
      }
    }
    level = next
  }
  return false
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/**
 * Writes JSON like `JSON.stringify`, but `-0` stays `-0`, and what JSON cannot carry is refused: numbers that are not
 * finite, what is no JSON value at all, such as a `Date`, an instance of a class or a list with gaps, more than 500 levels, and the key `__proto__`, which readers would take for the
 * prototype.
 *
 * @category encoding
 * @since 0.1.0
 */
export const stringifyExact = (value: Json, levels = deepest): string | FieldProblem => {
  let hasNegativeZero = false
  const tooDeep = { path: [], message: `Expected no more than ${levels} levels` }
  const inspect = (node: Json, depth: number): FieldProblem | undefined => {
    if (typeof node === "number") {
      if (!Number.isFinite(node)) return { path: [], message: "Expected a finite number" }
      if (Object.is(node, -0)) hasNegativeZero = true
      return undefined
    }
    if (typeof node === "string" || typeof node === "boolean" || node === null) return undefined
    // A schema may let pass what is none.
    if (typeof node !== "object") return { path: [], message: "Expected a JSON value" }
    if (depth === levels) return tooDeep
    const keys = Object.keys(node)
    const why = whyUnfit(node, keys)
    if (why !== undefined) return { path: [], message: why }
    for (const key of keys) {
      if (key === "__proto__") return { path: [key], message: "Expected a key other than __proto__" }
      const problem = inspect((node as Record<string, Json>)[key]!, depth + 1)
      // Nobody wants to see the path to the bottom.
      if (problem === tooDeep) return tooDeep
      if (problem !== undefined) return { ...problem, path: [key, ...problem.path] }
    }
    return undefined
  }
  const problem = inspect(value, 0)
  if (problem !== undefined) return problem
  return hasNegativeZero ? writeExact(value) : JSON.stringify(value)
}

/** Why an object is none that JSON has, whatever `JSON.stringify` makes of it. */
const whyUnfit = (node: object, keys: ReadonlyArray<string>): string | undefined => {
  if (Object.getOwnPropertySymbols(node).length > 0) return "Expected an object without symbols"
  if (Array.isArray(node)) return keys.length === node.length ? undefined : "Expected a list without gaps and names"
  if (isPlain(node)) return undefined
  const { name } = node.constructor as { readonly name?: unknown }
  return `Expected a JSON value, no ${typeof name === "string" && name !== "" ? name : "instance of a class"}: give it a schema of its own`
}

const writeExact = (node: Json): string => {
  if (typeof node === "number" && Object.is(node, -0)) return negativeZero
  if (typeof node !== "object" || node === null) return JSON.stringify(node)
  if (Array.isArray(node)) return `[${node.map(writeExact).join(",")}]`
  const object = node as Record<string, Json>
  return `{${Object.keys(object)
    .map((key) => `${JSON.stringify(key)}:${writeExact(object[key]!)}`)
    .join(",")}}`
}
