/**
 * Whether a value has fields that its schema does not know, told by a walk along the schema: Effect's parsers are several times faster
 * where they need not look for such fields themselves.
 */
import * as AST from "effect/SchemaAST"

type Look = (value: unknown) => boolean

/** Nothing within has fields of which a schema says which there are. */
const never: Look = () => false

/** Of a schema of which it cannot be told by the value alone. */
class Untold extends Error {}

/**
 * Compiles the search for fields that a schema does not know, in its values and in what is stored of them alike: `true`, there is one.
 * `undefined`: it takes a parser, as where a value may be of several structs, or is another one when it is stored.
 */
export const compile = (ast: AST.AST): Look | undefined => {
  try {
    return lookAt(ast, new Map())
  } catch (error) {
    if (error instanceof Untold) return undefined
    throw error
  }
}

const lookAt = (ast: AST.AST, known: Map<AST.AST, Look>): Look => {
  if (isClosed(ast, new Set())) return never
  if (ast.encoding !== undefined) throw new Untold()
  const before = known.get(ast)
  if (before !== undefined) return before
  // A schema may be within itself.
  const later: { look?: Look } = {}
  known.set(ast, (value) => later.look!(value))
  const look = lookWithin(ast, known)
  later.look = look
  return look
}

const lookWithin = (ast: AST.AST, known: Map<AST.AST, Look>): Look => {
  if (AST.isSuspend(ast)) return lookAt(ast.thunk(), known)
  if (AST.isUnion(ast)) {
    const open = ast.types.filter((type) => !isClosed(type, new Set()))
    const others = ast.types.filter((type) => !open.includes(type))
    if (open.length !== 1 || others.some(mayBeObject)) throw new Untold()
    return lookAt(open[0]!, known)
  }
  if (AST.isArrays(ast)) return lookAtItems(ast, known)
  if (AST.isObjects(ast)) return lookAtFields(ast, known)
  throw new Untold()
}

const lookAtItems = ({ elements, rest }: AST.Arrays, known: Map<AST.AST, Look>): Look => {
  if (rest.length > 1) throw new Untold()
  const first = elements.map((type) => lookAt(type, known))
  const others = rest.map((type) => lookAt(type, known))[0] ?? never
  return (value) => {
    if (!Array.isArray(value)) return false
    for (let i = 0; i < value.length; i++) {
      const look = first[i] ?? others
      if (look !== never && look(value[i])) return true
    }
    return false
  }
}

const lookAtFields = ({ indexSignatures, propertySignatures }: AST.Objects, known: Map<AST.AST, Look>): Look => {
  if (indexSignatures.length > 0) throw new Untold()
  const fields = new Map(propertySignatures.map(({ name, type }) => [name, lookAt(type, known)]))
  return (value) => {
    if (typeof value !== "object" || value === null) return false
    const values = value as Readonly<Record<string, unknown>>
    for (const name of Object.keys(values)) {
      const look = fields.get(name)
      if (look === undefined || (look !== never && look(values[name]))) return true
    }
    // What it is named by is no text, and no schema of a document has that.
    return Object.getOwnPropertySymbols(values).length > 0
  }
}

/** Whether a value of a schema, or what is stored of it, never has a field that it does not know. */
const isClosed = (ast: AST.AST, within: Set<AST.AST>): boolean => {
  if (within.has(ast)) return true
  within.add(ast)
  if (ast.encoding !== undefined) {
    return isClosed(AST.toType(ast), within) && ast.encoding.every(({ to }) => isClosed(to, within))
  }
  if (AST.isSuspend(ast)) return isClosed(ast.thunk(), within)
  if (AST.isUnion(ast)) return ast.types.every((type) => isClosed(type, within))
  if (AST.isArrays(ast)) return [...ast.elements, ...ast.rest].every((type) => isClosed(type, within))
  if (AST.isObjects(ast)) {
    return (
      ast.propertySignatures.length === 0 &&
      ast.indexSignatures.every(({ parameter, type }) => AST.isString(parameter) && isClosed(type, within))
    )
  }
  return !AST.isDeclaration(ast) || ast.typeParameters.length === 0
}

/** Whether a value of a schema may be an object, so that it is not told from those of a struct by its kind. */
const mayBeObject = (ast: AST.AST): boolean => {
  if (AST.isUnion(ast)) return ast.types.some(mayBeObject)
  return !(
    AST.isNull(ast) ||
    AST.isUndefined(ast) ||
    AST.isString(ast) ||
    AST.isNumber(ast) ||
    AST.isBoolean(ast) ||
    AST.isBigInt(ast) ||
    AST.isLiteral(ast) ||
    AST.isEnum(ast) ||
    AST.isTemplateLiteral(ast)
  )
}
