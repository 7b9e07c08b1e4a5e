/** JSON text that reads back as exactly the same value, or a refusal. */
import type { FieldProblem, Json } from "./Encoding.ts"

const negativeZero = "-0"

/**
 * Like `JSON.stringify`, but `-0` stays `-0`, and what JSON cannot carry is refused: numbers that are not finite, and
 * the key `__proto__`, which readers would take for the prototype.
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
