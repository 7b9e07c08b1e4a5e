/**
 * Values of plain schemas, made, turned into JSON and back by one walk of functions that are compiled of the schema.
 *
 * **Details**
 *
 * Plain is what most documents are: structs, lists, records, unions whose members are told apart by the kind of a value or by a literal in them, texts,
 * numbers, booleans, literals, dates and `DateTime.Utc`, with any checks. A walk does what Effect's parser does when nothing is dropped and nothing is wrong. Of anything else it
 * says so, and never what is wrong: then the parser does it again. `test/schema/plain.test.ts` holds both to the same outcome.
 */
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as isoTime from "../../internal/isoTime.ts"

/** What a walk gives in the place of a value that is for the parser. */
export const other: unique symbol = Symbol("other")

/** Gives what it makes of a value, or `other`. */
export type Walk = (value: unknown) => unknown

/** Walks a value; `other`: also where a check throws, so that the parser says so. */
export const walked = (walk: Walk, value: unknown): unknown => {
  try {
    return walk(value)
  } catch {
    return other
  }
}

/** A field of a plain struct, for who stores fields one by one. */
export interface PlainField {
  readonly name: string
  readonly isOptional: boolean
  /** Those of a struct that has no checks. */
  readonly fields: ReadonlyArray<PlainField> | undefined
  /** How a moment that has no checks is told in milliseconds. */
  readonly moment: Moment | undefined
  /** Makes a value of its JSON. */
  readonly decode: Walk
  /** Turns a value that has just been made into JSON. */
  readonly encodeMade: Walk
}

/** A moment in milliseconds, and back. */
export interface Moment {
  readonly millisOf: (value: unknown) => number
  readonly from: (millis: number) => unknown
}

/** The walks of a schema of documents. */
export interface Plain {
  /** The fields, the primary key among them, in their order. */
  readonly fields: ReadonlyArray<PlainField>
  /** Gives back what has been made of fields, if it passes the checks of the document as a whole. */
  readonly check: Walk
  /** Makes a value of an input. A field that is `undefined` is for the parser. */
  readonly make: Walk
  /** Turns a value into JSON, without its primary key, which is a text. */
  readonly encode: Walk
  /** The same of a value that `make` has just made, and that nobody else has had yet: it is looked at no more for what it must not have. */
  readonly encodeMade: Walk
  /** Makes a value of JSON without its primary key, and the id. */
  readonly decode: (json: Readonly<Record<string, unknown>>, id: string) => unknown
}

/** Compiles the walks of a schema; `undefined`: it is not plain. */
export const compile = (schema: Schema.Top, primaryKey: string): Plain | undefined => {
  const { ast } = schema
  if (!AST.isObjects(ast)) return undefined
  try {
    return {
      fields: plainFields(ast),
      check: checked(ast, (made) => made, decodes),
      make: walkAt(ast, makes),
      encode: encodeDocument(ast, encodes, primaryKey),
      encodeMade: encodeDocument(ast, encodesMade, primaryKey),
      decode: decodeDocument(ast, primaryKey)
    }
  } catch (error) {
    if (error instanceof NotPlain) return undefined
    throw error
  }
}

/**
 * Compiles the walk of a schema of JSON that comes from somewhere else, such as those of `Wire`: what it takes is decoded as the parser decodes
 * it. `undefined`: it is not plain.
 */
export const compileArriving = ({ ast }: Schema.Top): Walk | undefined => {
  try {
    return walkAt(ast, arrives)
  } catch (error) {
    if (error instanceof NotPlain) return undefined
    throw error
  }
}

/**
 * Compiles the walk that turns a value into JSON, as the JSON codec of its schema does (`Schema.toCodecJson`). `undefined`: it is not plain.
 */
export const compileLeaving = ({ ast }: Schema.Top): Walk | undefined => {
  try {
    return walkAt(ast, encodes)
  } catch (error) {
    if (error instanceof NotPlain) return undefined
    throw error
  }
}

class NotPlain extends Error {}

/** What is done with values: the walks differ in their leaves. */
interface Task {
  readonly date: Walk
  readonly utc: Walk
  readonly number: Walk
  /** Whether an object is taken apart. */
  readonly isStruct: (value: object) => boolean
  /** Whether checks are of what is given, or of what is made of it. `none`: they have been done. */
  readonly checks: "given" | "made" | "none"
  /** Whether it reads JSON: the schema of documents itself, or one of JSON that says how, as what comes over a wire has. */
  readonly reads: "values" | "documents" | "wire"
}

const isPlainObject = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const isObject = (value: object): boolean => isPlainObject(value) && Object.getOwnPropertySymbols(value).length === 0

const isDate = (value: unknown): value is Date =>
  value instanceof Date && Object.getPrototypeOf(value) === Date.prototype && !Number.isNaN(value.getTime())

const isUtc = (value: unknown): value is DateTime.Utc => DateTime.isDateTime(value) && DateTime.isUtc(value)

const makes: Task = {
  date: (value) => (isDate(value) ? value : other),
  utc: (value) => (isUtc(value) ? value : other),
  number: (value) => (typeof value === "number" ? value : other),
  isStruct: isObject,
  checks: "made",
  reads: "values"
}

const encodes: Task = {
  date: (value) => (isDate(value) ? (isoTime.isoOf(value.getTime()) ?? other) : other),
  utc: (value) =>
    isUtc(value) && Number.isInteger(value.epochMilliseconds)
      ? (isoTime.isoOf(value.epochMilliseconds) ?? other)
      : other,
  // Others have texts.
  number: (value) => (Number.isFinite(value) ? value : other),
  isStruct: isObject,
  checks: "given",
  reads: "values"
}

const encodesMade: Task = { ...encodes, isStruct: () => true, checks: "none" }

const decodes: Task = {
  date: (value) => {
    const millis = typeof value === "string" ? isoTime.millisOf(value) : undefined
    return millis === undefined ? other : new Date(millis)
  },
  utc: (value) => {
    const millis = typeof value === "string" ? isoTime.millisOf(value) : undefined
    return millis === undefined ? other : DateTime.makeUnsafe(millis)
  },
  number: (value) => (typeof value === "number" ? value : other),
  // JSON has been read from bytes here.
  isStruct: isPlainObject,
  checks: "made",
  reads: "documents"
}

const arrives: Task = { ...decodes, reads: "wire" }

/** Whether a type becomes JSON as another does, which a schema may say otherwise. */
const isLike = ({ ast: { annotations } }: Schema.Top) => {
  const toJson = annotations?.["toCodecJson"]
  return (ast: AST.AST): boolean =>
    AST.isDeclaration(ast) &&
    ast.typeParameters.length === 0 &&
    toJson !== undefined &&
    ast.annotations?.["toCodecJson"] === toJson
}

const isDateSchema = isLike(Schema.Date)
const isUtcSchema = isLike(Schema.DateTimeUtc)
const isJsonSchema = isLike(Schema.Json)

const ofDates: Moment = { millisOf: (value) => (value as Date).getTime(), from: (millis) => new Date(millis) }
const ofUtc: Moment = {
  millisOf: (value) => (value as DateTime.Utc).epochMilliseconds,
  from: DateTime.makeUnsafe<number>
}

const momentOf = (ast: AST.AST): Moment | undefined =>
  isDateSchema(ast) ? ofDates : isUtcSchema(ast) ? ofUtc : undefined

const isText: Walk = (value) => (typeof value === "string" ? value : other)
const isBoolean: Walk = (value) => (typeof value === "boolean" ? value : other)
const isNull: Walk = (value) => (value === null ? value : other)

/** How dates and numbers become JSON in a schema of JSON. */
const [dateLink, utcLink, numberLink] = [Schema.Date, Schema.DateTimeUtc, Schema.Number].map(
  (schema) => Schema.toCodecJson(schema).ast.encoding?.[0]?.transformation
)

/** What a schema of JSON has of a date or a number, and nothing else. */
const walkOfJson = (ast: AST.AST, [link, another]: AST.Encoding): Walk => {
  const { to, transformation } = link
  if (another !== undefined || to.encoding !== undefined) throw new NotPlain()
  if (isDateSchema(ast) && transformation === dateLink && AST.isString(to)) {
    return checked(ast, inTurn(checked(to, isText, arrives), arrives.date), arrives)
  }
  if (isUtcSchema(ast) && transformation === utcLink && AST.isString(to)) {
    return checked(ast, inTurn(checked(to, isText, arrives), arrives.utc), arrives)
  }
  // Others have texts.
  if (AST.isNumber(ast) && transformation === numberLink) {
    return checked(ast, (value) => (Number.isFinite(value) ? value : other), arrives)
  }
  throw new NotPlain()
}

const inTurn =
  (first: Walk, second: Walk): Walk =>
  (value) => {
    const made = first(value)
    return made === other ? other : second(made)
  }

/** Checks of JSON itself, beside those of what is made of it. */
const checkedBefore = (ast: AST.AST, checks: AST.Checks | undefined, walk: Walk): Walk => {
  const filters = filtersOf(checks)
  if (filters.length === 0) return walk
  return (value) => {
    // They are of what has the form that the schema says.
    const made = walk(value)
    if (made === other) return other
    for (let i = 0; i < filters.length; i++) if (filters[i]!.run(value, ast, noOptions) !== undefined) return other
    return made
  }
}

const walkAt = (ast: AST.AST, task: Task): Walk => {
  if (task.reads === "wire") {
    if (ast.encoding !== undefined) return walkOfJson(ast, ast.encoding)
    const before = "encodingChecks" in ast ? (ast.encodingChecks as AST.Checks | undefined) : undefined
    return checkedBefore(ast, before, checked(ast, walkWithin(ast, task), task))
  }
  if (ast.encoding !== undefined || ("encodingChecks" in ast && ast.encodingChecks !== undefined)) throw new NotPlain()
  return checked(ast, walkWithin(ast, task), task)
}

const walkWithin = (ast: AST.AST, task: Task): Walk => {
  if (AST.isString(ast)) return isText
  if (AST.isNumber(ast)) return task.number
  if (AST.isBoolean(ast)) return isBoolean
  if (AST.isNull(ast)) return isNull
  if (AST.isLiteral(ast)) return literal(ast)
  if (AST.isArrays(ast)) return list(ast, task)
  if (AST.isObjects(ast)) return isStruct(ast) ? struct(ast, task) : record(ast, task)
  if (AST.isUnion(ast)) return union(ast, task)
  if (isDateSchema(ast)) return task.date
  if (isUtcSchema(ast)) return task.utc
  if (isJsonSchema(ast)) return isJson
  throw new NotPlain()
}

/** What is deeper is for the parser, which also sees what goes round in circles. */
const mostLevels = 64

const isJsonAt = (value: unknown, level: number): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true
    case "number":
      return Number.isFinite(value)
    case "object": {
      if (value === null) return true
      if (level > mostLevels) return false
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) if (!isJsonAt(value[i], level + 1)) return false
        return true
      }
      if (!isPlainObject(value)) return false
      const names = Object.keys(value)
      for (let i = 0; i < names.length; i++) {
        const name = names[i]!
        if (name === "__proto__" || !isJsonAt((value as Readonly<Record<string, unknown>>)[name], level + 1))
          return false
      }
      return true
    }
    default:
      return false
  }
}

/** Given as it is, as the parser gives it. */
const isJson: Walk = (value) => (isJsonAt(value, 0) ? value : other)

const checked = (ast: AST.AST, walk: Walk, { checks }: Pick<Task, "checks">): Walk => {
  const filters = filtersOf(ast.checks)
  if (filters.length === 0 || checks === "none") return walk
  const checksGiven = checks === "given"
  return (value) => {
    const made = walk(value)
    if (made === other) return other
    const subject = checksGiven ? value : made
    for (let i = 0; i < filters.length; i++) if (filters[i]!.run(subject, ast, noOptions) !== undefined) return other
    return made
  }
}

const noOptions: AST.ParseOptions = {}

const filtersOf = (checks: AST.Checks | undefined): ReadonlyArray<AST.Filter<unknown>> =>
  (checks ?? []).flatMap((check) =>
    check._tag === "FilterGroup" ? filtersOf(check.checks) : [check as AST.Filter<unknown>]
  )

const literal = ({ literal }: AST.Literal): Walk => {
  if (typeof literal === "bigint" || (typeof literal === "number" && !Number.isFinite(literal))) throw new NotPlain()
  return (value) => (value === literal ? value : other)
}

const tuple = (elements: ReadonlyArray<AST.AST>, task: Task): Walk => {
  if (elements.some(AST.isOptional)) throw new NotPlain()
  const walks = elements.map((type) => walkAt(type, task))
  return (value) => {
    if (!Array.isArray(value) || value.length !== walks.length) return other
    const made: Array<unknown> = []
    for (let i = 0; i < walks.length; i++) {
      const item = walks[i]!(value[i])
      if (item === other) return other
      made.push(item)
    }
    return made
  }
}

const list = ({ elements, rest }: AST.Arrays, task: Task): Walk => {
  const [type, another] = rest
  if (elements.length > 0 && type === undefined) return tuple(elements, task)
  if (elements.length > 0 || type === undefined || another !== undefined) throw new NotPlain()
  const walk = walkAt(type, task)
  return (value) => {
    if (!Array.isArray(value)) return other
    const { length } = value
    const made: Array<unknown> = []
    for (let i = 0; i < length; i++) {
      const item = walk(value[i])
      if (item === other) return other
      made.push(item)
    }
    return made
  }
}

const isStruct = ({ propertySignatures }: AST.Objects): boolean => propertySignatures.length > 0

/** Any names, each with a value of one type. */
const record = ({ indexSignatures }: AST.Objects, task: Task): Walk => {
  const [signature, another] = indexSignatures
  if (signature === undefined || another !== undefined) throw new NotPlain()
  const { parameter, type } = signature
  if (!AST.isString(parameter) || parameter.checks !== undefined || parameter.encoding !== undefined)
    throw new NotPlain()
  const walk = walkAt(type, task)
  return (value) => {
    if (typeof value !== "object" || value === null || !task.isStruct(value)) return other
    const values = value as Readonly<Record<string, unknown>>
    const made: Record<string, unknown> = {}
    const names = Object.keys(values)
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      const found = values[name]
      const item = found === undefined || name === "__proto__" ? other : walk(found)
      if (item === other) return other
      made[name] = item
    }
    return hasOnly(value, names.length) ? made : other
  }
}

/** A field of a struct, with its walk. */
interface Field {
  readonly name: string
  readonly walk: Walk
  readonly isOptional: boolean
}

const fieldsOf = ({ indexSignatures, propertySignatures }: AST.Objects, task: Task): ReadonlyArray<Field> => {
  if (indexSignatures.length > 0 || propertySignatures.length === 0) throw new NotPlain()
  return propertySignatures.map(({ name, type }) => {
    // What every object has is no field of it.
    if (typeof name !== "string" || name in Object.prototype) throw new NotPlain()
    return { name, walk: walkAt(type, task), isOptional: AST.isOptional(type) }
  })
}

const plainFields = (ast: AST.Objects): ReadonlyArray<PlainField> => {
  const encoded = fieldsOf(ast, encodesMade)
  return fieldsOf(ast, decodes).map(({ isOptional, name, walk }, i) => {
    const { type } = ast.propertySignatures[i]!
    const isUnchecked = filtersOf(type.checks).length === 0
    return {
      name,
      isOptional,
      fields: isUnchecked && AST.isObjects(type) && isStruct(type) ? plainFields(type) : undefined,
      moment: isUnchecked ? momentOf(type) : undefined,
      decode: walk,
      encodeMade: encoded[i]!.walk
    }
  })
}

/** Whether an object has no more properties than so many, those that come from elsewhere counted as well. */
const hasOnly = (value: object, most: number): boolean => {
  let count = 0
  for (const _ in value) count += 1
  return count === most
}

/** Takes a struct apart. What is made of a field that is hidden is left out. */
const struct = (ast: AST.Objects, task: Task, hidden?: string): Walk => {
  const fields = fieldsOf(ast, task)
  const { isStruct } = task
  const isMade = task === encodesMade
  return (value) => {
    if (typeof value !== "object" || value === null || !isStruct(value)) return other
    const values = value as Readonly<Record<string, unknown>>
    const made: Record<string, unknown> = {}
    let present = 0
    for (let i = 0; i < fields.length; i++) {
      const { isOptional, name, walk } = fields[i]!
      const found = values[name]
      if (found === undefined) {
        // What is there, and is `undefined`, may be a value, or get a default.
        if (!isOptional || name in values) return other
        continue
      }
      const item = walk(found)
      if (item === other) return other
      present += 1
      if (name !== hidden) made[name] = item
    }
    // What is none of the fields is for the parser.
    return isMade || hasOnly(value, present) ? made : other
  }
}

const encodeDocument = (ast: AST.Objects, task: Task, primaryKey: string): Walk => {
  if (ast.encoding !== undefined || ast.encodingChecks !== undefined) throw new NotPlain()
  return checked(ast, struct(ast, task, primaryKey), task)
}

const decodeDocument = (ast: AST.Objects, primaryKey: string): Plain["decode"] => {
  if (ast.encoding !== undefined || ast.encodingChecks !== undefined) throw new NotPlain()
  const fields = fieldsOf(ast, decodes)
  const valid = checked(ast, (made) => made, decodes)
  return (json, id) => {
    if (Object.hasOwn(json, primaryKey)) return other
    const made: Record<string, unknown> = {}
    let present = 0
    for (let i = 0; i < fields.length; i++) {
      const { isOptional, name, walk } = fields[i]!
      const isId = name === primaryKey
      const found = isId ? id : json[name]
      if (found === undefined) {
        if (!isOptional || name in json) return other
        continue
      }
      const item = walk(found)
      if (item === other) return other
      if (!isId) present += 1
      made[name] = item
    }
    return hasOnly(json, present) ? valid(made) : other
  }
}

/** Members of which at most one takes a value, or which give it back as it is, whichever takes it. */
const union = (ast: AST.Union, task: Task): Walk => {
  const members = membersOf(ast)
  const structs = members.filter(AST.isObjects)
  const areStructsTold = areToldApart(structs)
  const made = members
    .filter((type) => !areStructsTold || !AST.isObjects(type) || type === structs[0])
    .map((type) => madeOf(type, task))
    .filter((kind) => kind !== undefined)
  const isText = members.some((type) => AST.isString(type) || (AST.isLiteral(type) && typeof type.literal === "string"))
  // Some numbers have texts in JSON.
  const isUntold = task.reads !== "values" && isText && members.some(AST.isNumber)
  if (new Set(made).size < made.length || (isText && made.includes("text")) || isUntold) throw new NotPlain()
  // By what they look for, members are told apart.
  const telling = task === encodesMade ? encodes : task
  const walks = members.map((type) => walkAt(type, telling))
  return (value) => {
    for (const walk of walks) {
      const made = walk(value)
      if (made !== other) return made
    }
    return other
  }
}

/** The members of a union, and of those that are members of it. What is `undefined` no walk comes to. */
const membersOf = ({ checks, encoding, options, types }: AST.Union, isInner = false): ReadonlyArray<AST.AST> => {
  if (options?.mode === "oneOf" || (isInner && (checks !== undefined || encoding !== undefined))) throw new NotPlain()
  return types
    .filter((type) => !AST.isUndefined(type))
    .flatMap((type) => (AST.isUnion(type) ? membersOf(type, true) : [type]))
}

/** Whether any two structs have a field with another literal in each, so that no object is both. */
const areToldApart = (structs: ReadonlyArray<AST.Objects>): boolean =>
  structs.every((one, i) =>
    structs.slice(i + 1).every((another) =>
      one.propertySignatures.some((field) => {
        const [mine, other] = [
          literalOf(field),
          literalOf(another.propertySignatures.find(({ name }) => name === field.name))
        ]
        return mine !== undefined && other !== undefined && mine !== other
      })
    )
  )

const literalOf = (field: AST.PropertySignature | undefined): AST.LiteralValue | undefined =>
  field !== undefined && AST.isLiteral(field.type) && !AST.isOptional(field.type) ? field.type.literal : undefined

/** The kind of values that something else is made of; `undefined`: they are given back as they are. */
const madeOf = (ast: AST.AST, task: Task): "list" | "object" | "text" | undefined => {
  // It takes what others would make something of.
  if (isJsonSchema(ast)) throw new NotPlain()
  if (AST.isArrays(ast)) return "list"
  if (AST.isObjects(ast)) return "object"
  if (momentOf(ast) === undefined) return undefined
  return task.reads === "values" ? "object" : "text"
}
