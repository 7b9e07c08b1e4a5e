/**
 * JSON values, and JSON text that reads back as exactly the same value, or a refusal.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"

/**
 * A value as JSON has it: what a schema encodes to.
 *
 * @category models
 * @since 0.1.0
 */
export type Json = Schema.Json

/**
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

/**
 * Like `JSON.stringify`, but `-0` stays `-0`, and what JSON cannot carry is refused: numbers that are not finite, and
 * the key `__proto__`, which readers would take for the prototype.
 *
 * @category encoding
 * @since 0.1.0
 */
export const stringifyExact = (value: Json): string | FieldProblem => {
  let hasNegativeZero = false
  const inspect = (node: Json): FieldProblem | undefined => {
    if (typeof node === "number") {
      if (!Number.isFinite(node)) return { path: [], message: "Expected a finite number" }
      if (Object.is(node, -0)) hasNegativeZero = true
      return undefined
    }
    if (typeof node !== "object" || node === null) return undefined
    for (const key of Object.keys(node)) {
      if (key === "__proto__") return { path: [key], message: "Expected a key other than __proto__" }
      const problem = inspect((node as Record<string, Json>)[key]!)
      if (problem !== undefined) return { ...problem, path: [key, ...problem.path] }
    }
    return undefined
  }
  const problem = inspect(value)
  if (problem !== undefined) return problem
  return hasNegativeZero ? writeExact(value) : JSON.stringify(value)
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
