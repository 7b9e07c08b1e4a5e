/** Which field of a schema may be meant by a name that it does not have. */
import * as AST from "effect/SchemaAST"
import { didYouMean } from "../../internal/nearest.ts"

/** The names that a value at a path may have, by all members of its schema. */
const namesAt = (
  ast: AST.AST,
  path: ReadonlyArray<string | number>,
  seen: ReadonlySet<AST.AST>
): ReadonlyArray<string> => {
  if (AST.isSuspend(ast)) {
    const inner = ast.thunk()
    return seen.has(inner) ? [] : namesAt(inner, path, new Set([...seen, inner]))
  }
  if (AST.isUnion(ast)) return ast.types.flatMap((type) => namesAt(type, path, seen))
  const [step, ...rest] = path
  if (AST.isObjects(ast)) {
    if (step === undefined) return ast.propertySignatures.map(({ name }) => String(name))
    const field = ast.propertySignatures.find(({ name }) => name === step)
    const types = field === undefined ? ast.indexSignatures.map(({ type }) => type) : [field.type]
    return types.flatMap((type) => namesAt(type, rest, new Set()))
  }
  if (AST.isArrays(ast)) {
    if (step === undefined) return []
    const item = ast.elements[Number(step)] ?? ast.rest[0]
    return item === undefined ? [] : namesAt(item, rest, new Set())
  }
  // What wraps a value, such as an option, has a step of its own, or none.
  return AST.isDeclaration(ast)
    ? ast.typeParameters.flatMap((type) => [
        ...namesAt(type, path, seen),
        ...(step === undefined ? [] : namesAt(type, rest, seen))
      ])
    : []
}

/** `; did you mean NAME?` of a path that ends in a name that is none of a field, or nothing. */
export const meant = (ast: AST.AST, path: ReadonlyArray<string | number>): string => {
  const name = path.at(-1)
  return typeof name === "string" ? didYouMean(name, namesAt(AST.toType(ast), path.slice(0, -1), new Set())) : ""
}
