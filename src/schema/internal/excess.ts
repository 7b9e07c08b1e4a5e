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
  if (AST.isUnion(ast)) return lookAtMembers(membersOf(ast), known)
  if (AST.isArrays(ast)) return lookAtItems(ast, known)
  if (AST.isObjects(ast)) return ast.indexSignatures.length > 0 ? lookAtValues(ast, known) : lookAtFields(ast, known)
  throw new Untold()
}

/** The members of a union, and of those that are members of it. */
const membersOf = (ast: AST.AST, seen: Set<AST.AST> = new Set()): ReadonlyArray<AST.AST> => {
  if (seen.has(ast)) return []
  seen.add(ast)
  if (ast.encoding === undefined && AST.isSuspend(ast)) return membersOf(ast.thunk(), seen)
  return ast.encoding === undefined && AST.isUnion(ast) ? ast.types.flatMap((type) => membersOf(type, seen)) : [ast]
}

/** A value is of one list or of one struct: which of two, it does not tell. */
const lookAtMembers = (members: ReadonlyArray<AST.AST>, known: Map<AST.AST, Look>): Look => {
  const open = members.filter((type) => !isClosed(type, new Set()))
  const [lists, structs] = [open.filter(AST.isArrays), open.filter(AST.isObjects)]
  const isTold = lists.length <= 1 && structs.length <= 1 && lists.length + structs.length === open.length
  if (!isTold || members.some((type) => !open.includes(type) && mayBeObject(type))) throw new Untold()
  const [list = never] = lists.map((type) => lookAt(type, known))
  const [struct = never] = structs.map((type) => lookAt(type, known))
  return (value) => (Array.isArray(value) ? list(value) : struct(value))
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

/** Of a record any text is a name, unless its names have to be of some form. */
const lookAtValues = ({ indexSignatures, propertySignatures }: AST.Objects, known: Map<AST.AST, Look>): Look => {
  const [signature, another] = indexSignatures
  if (signature === undefined || another !== undefined || propertySignatures.length > 0) throw new Untold()
  const { parameter, type } = signature
  if (!AST.isString(parameter) || parameter.checks !== undefined || parameter.encoding !== undefined) throw new Untold()
  const look = lookAt(type, known)
  return (value) => {
    if (typeof value !== "object" || value === null) return false
    const values = value as Readonly<Record<string, unknown>>
    return (
      Object.getOwnPropertySymbols(values).length > 0 ||
      (look !== never && Object.keys(values).some((name) => look(values[name])))
    )
  }
}

const lookAtFields = ({ propertySignatures }: AST.Objects, known: Map<AST.AST, Look>): Look => {
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
    // What is asked for no fields is taken as it is.
    return ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0
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
