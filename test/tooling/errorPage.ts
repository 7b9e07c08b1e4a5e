/**
 * The page of errors, `docs/guide/errors.md`, made of the source.
 *
 * An error is a class with `@category errors` or `@remedy`. Its docstring says the cause, `@remedy` what to do;
 * its messages are those of its `message`, and what the source gives it as `description` and the like.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "rolldown/parseAst"
import { plainTexts } from "./plainTexts.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
/** Below the root. */
export const page = "docs/guide/errors.md"

/** A node of the syntax tree, as far as it is looked at. */
interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

export interface ErrorClass {
  readonly name: string
  /** Below the root. */
  readonly file: string
  readonly cause: string
  readonly remedy: string
  readonly status: number | undefined
  readonly messages: ReadonlyArray<string>
}

export interface Source {
  readonly file: string
  readonly text: string
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value

const childrenOf = (node: Node): ReadonlyArray<Node> =>
  Object.values(node).flatMap((value) => (Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : []))

const walk = (node: Node, visit: (node: Node) => void): void => {
  visit(node)
  for (const child of childrenOf(node)) walk(child, visit)
}

const nodeOf = (node: Node | undefined, key: string): Node | undefined => {
  const value = node?.[key]
  return isNode(value) ? value : undefined
}

const nodesOf = (node: Node | undefined, key: string): ReadonlyArray<Node> => {
  const value = node?.[key]
  return Array.isArray(value) ? value.filter(isNode) : []
}

const textOf = (node: Node | undefined, key: string): string => {
  const value = node?.[key]
  return typeof value === "string" ? value : ""
}

/** What a class stands on, without the calls and members around it: `ExpectedError` of `ExpectedError<X>("...")(...)`. */
const baseOf = (node: Node | undefined): string => {
  if (node?.type === "CallExpression") return baseOf(nodeOf(node, "callee"))
  if (node?.type === "MemberExpression") return textOf(nodeOf(node, "property"), "name")
  return textOf(node, "name")
}

const isFunction = (node: Node | undefined): node is Node =>
  node?.type === "ArrowFunctionExpression" || node?.type === "FunctionExpression"

const paramsOf = (node: Node): ReadonlyArray<string> => nodesOf(node, "params").map((param) => textOf(param, "name"))

const isError = (base: string): boolean => base === "ExpectedError" || base === "TaggedError" || base === "Error"

/** The docstring that ends right before an offset, without its stars. */
const docBefore = (text: string, offset: number): string => {
  const before = text.slice(0, offset).trimEnd()
  if (!before.endsWith("*/")) return ""
  return before
    .slice(before.lastIndexOf("/**") + 3, -2)
    .split("\n")
    .map((line) => line.replace(/^ *\* ?/, "").trimEnd())
    .join("\n")
    .trim()
}

const unwrapped = (text: string): string =>
  text
    .replace(/(?<!\n)\n(?!\n|- )/g, " ")
    .replace(/ {2,}/g, " ")
    .trim()

/** Stands for what a message is about. */
const blank = "…"

interface Named {
  readonly name: string
  readonly node: Node
}

/** What the names of a module stand for. */
interface Names {
  /** The constants, in their order. */
  readonly constants: ReadonlyArray<Named>
  /** The functions that have a parameter of a name, the outer before the inner. */
  readonly parameters: ReadonlyArray<Named>
}

const namesOf = (program: Node): Names => {
  const constants: Array<Named> = []
  const parameters: Array<Named> = []
  walk(program, (node) => {
    const name = textOf(nodeOf(node, "id"), "name")
    const init = nodeOf(node, "init")
    if (node.type === "VariableDeclarator" && name !== "" && init !== undefined) constants.push({ name, node: init })
    if (isFunction(node)) for (const param of paramsOf(node)) parameters.push({ name: param, node })
  })
  return { constants, parameters }
}

/** What a name stands for at a place, unless that is a parameter. */
const constantAt = ({ constants, parameters }: Names, name: string, { start }: Node): Node | undefined => {
  const around = parameters.findLast((one) => one.name === name && one.node.start < start && start < one.node.end)
  const from = around?.node.start ?? -1
  const of = constants.filter((one) => one.name === name && one.node.start > from)
  // A function may be below the place of its call.
  return (of.findLast(({ node }) => node.start < start) ?? of.find(({ node }) => isFunction(node)))?.node
}

const mostHops = 4

/** The texts that an expression can be, as far as the source says; a part that it does not say is blank. */
const textsOf = (node: Node | undefined, names: Names, hops = 0): ReadonlyArray<string> => {
  const of = (key: string) => textsOf(nodeOf(node, key), names, hops)
  switch (node?.type) {
    case "Literal":
      return typeof node["value"] === "string" ? [node["value"]] : [blank]
    case "TemplateLiteral": {
      const quasis = nodesOf(node, "quasis").map((quasi) => (quasi["value"] as { readonly cooked: string }).cooked)
      return [quasis.join(blank).replaceAll(/…{2,}/g, blank)]
    }
    case "ConditionalExpression":
      return [...of("consequent"), ...of("alternate")]
    case "LogicalExpression":
      return [...of("left"), ...of("right")]
    case "BinaryExpression":
      return of("left").flatMap((left) => of("right").map((right) => left + right))
    case "TSAsExpression":
    case "ParenthesizedExpression":
      return of("expression")
    case "Identifier": {
      const constant = constantAt(names, textOf(node, "name"), node)
      return constant === undefined || hops > mostHops ? [blank] : textsOf(constant, names, hops + 1)
    }
    case "CallExpression": {
      const callee = nodeOf(node, "callee")
      const called = callee?.type === "Identifier" ? constantAt(names, textOf(callee, "name"), node) : undefined
      return isFunction(called) && hops <= mostHops ? returnsOf(called, names, hops + 1) : [blank]
    }
    default:
      return [blank]
  }
}

const returnsOf = (called: Node, names: Names, hops: number): ReadonlyArray<string> => {
  const body = nodeOf(called, "body")
  if (body?.type !== "BlockStatement") return textsOf(body, names, hops)
  const texts: Array<string> = []
  walk(body, (node) => {
    if (node.type === "ReturnStatement") texts.push(...textsOf(nodeOf(node, "argument"), names, hops))
  })
  return texts
}

/** A text that says something by itself. */
const says = (text: string): boolean => /\p{L}{2,} \S|\p{L}{2,}.*…/u.test(text)

/** Members of an error that a person reads. */
const told = new Set(["description", "reason", "problem", "why", "message"])

const propertyName = (property: Node): string => {
  const key = nodeOf(property, "key")
  return textOf(key, "name") || textOf(key, "value")
}

/** What an error is given to say, in `new X({ ... })` or `new X("...")`. */
const givenTo = (args: ReadonlyArray<Node>): ReadonlyArray<Node> => {
  const [first] = args
  if (first?.type !== "ObjectExpression") return args.slice(0, 1)
  return nodesOf(first, "properties").flatMap((property) => {
    const value = nodeOf(property, "value")
    if (value === undefined) return []
    if (propertyName(property) === "issues") return nodesOf(value, "elements").flatMap((issue) => givenTo([issue]))
    return told.has(propertyName(property)) ? [value] : []
  })
}

/** A function that makes an error of a text it is given: `const corrupt = (description) => new Corrupt({ description })`. */
interface Maker {
  readonly name: string
  readonly file: string
  readonly start: number
  /** How others call it. */
  readonly kind: "local" | "exported" | "member"
  readonly error: ErrorClass
  /** Which of the arguments is told. */
  readonly position: number
}

interface Module extends Source {
  readonly program: Node
  readonly names: Names
  /** All calls and `new`, in their order. */
  readonly calls: ReadonlyArray<Node>
}

const callsOf = (program: Node): ReadonlyArray<Node> => {
  const calls: Array<Node> = []
  walk(program, (node) => {
    if (node.type === "NewExpression" || node.type === "CallExpression") calls.push(node)
  })
  return calls
}

interface Declared {
  readonly name: string
  readonly kind: Maker["kind"]
  readonly node: Node
}

/** The functions of a module that have a name. */
const functionsOf = (program: Node): ReadonlyArray<Declared> => {
  const functions: Array<Declared> = []
  const exported = new Set<Node>()
  walk(program, (node) => {
    if (node.type === "ExportNamedDeclaration") {
      for (const one of nodesOf(nodeOf(node, "declaration"), "declarations")) exported.add(one)
    }
    const init = nodeOf(node, "init")
    const value = nodeOf(node, "value")
    if (node.type === "VariableDeclarator" && isFunction(init)) {
      const kind = exported.has(node) ? "exported" : "local"
      functions.push({ name: textOf(nodeOf(node, "id"), "name"), kind, node: init })
    }
    if (node.type === "Property" && isFunction(value)) {
      functions.push({ name: propertyName(node), kind: "member", node: value })
    }
  })
  return functions
}

interface Telling {
  readonly error: ErrorClass
  readonly node: Node
}

/** The errors that a node makes, with what each is given to say. */
type Tells = (node: Node, file: string) => ReadonlyArray<Telling>

const tellsOf = (
  modules: ReadonlyArray<Module>,
  errors: ReadonlyArray<ErrorClass>,
  makers: ReadonlyArray<Maker>
): Tells => {
  const declared = new Map(modules.map(({ file, names }) => [file, new Set(names.constants.map(({ name }) => name))]))
  const declares = (file: string, name: string) => declared.get(file)?.has(name) === true
  const errorsBy = Map.groupBy(errors, ({ name }) => name)
  const makersBy = Map.groupBy(makers, ({ name }) => name)
  const moduleOf = (file: string) => /([\w-]+)\.ts$/.exec(file)?.[1]
  const constructed = (callee: Node | undefined, file: string): ErrorClass | undefined => {
    // Where the library makes one of these, it catches it again.
    const of = baseOf(callee) === "Error" ? [] : (errorsBy.get(baseOf(callee)) ?? [])
    if (callee?.type !== "MemberExpression") return of.find((one) => one.file === file) ?? of[0]
    return of.find((one) => moduleOf(one.file) === textOf(nodeOf(callee, "object"), "name"))
  }
  const called = (callee: Node | undefined, file: string): Maker | undefined => {
    const of = makersBy.get(baseOf(callee)) ?? []
    if (callee?.type === "Identifier") {
      const here = of.filter((one) => one.kind !== "member" && one.file === file)
      return (
        here.findLast(({ start }) => start < callee.start) ??
        here[0] ??
        of.find(({ kind }) => kind === "exported") ??
        // Taken out of an object: `const { refuse } = operation`.
        (declares(file, baseOf(callee)) ? undefined : of.find(({ kind }) => kind === "member"))
      )
    }
    const isOfModule = /^\p{Lu}/u.test(textOf(nodeOf(callee, "object"), "name"))
    return of.find(({ kind }) => kind === (isOfModule ? "exported" : "member"))
  }
  return (node, file) => {
    const args = nodesOf(node, "arguments")
    const callee = nodeOf(node, "callee")
    if (node.type === "NewExpression") {
      const error = constructed(callee, file)
      return error === undefined ? [] : givenTo(args).map((given) => ({ error, node: given }))
    }
    if (node.type !== "CallExpression") return []
    const maker = called(callee, file)
    const given = maker === undefined ? undefined : args[maker.position]
    return maker === undefined || given === undefined ? [] : [{ error: maker.error, node: given }]
  }
}

/** Functions that make errors, also by each other. */
const makersOf = (modules: ReadonlyArray<Module>, errors: ReadonlyArray<ErrorClass>): ReadonlyArray<Maker> => {
  const functions = modules.map(({ calls, file, program }) => ({
    file,
    functions: functionsOf(program)
      .filter(({ node }) => paramsOf(node).length > 0)
      .map((one) => ({ ...one, calls: calls.filter(({ start }) => start > one.node.start && start < one.node.end) }))
  }))
  let makers: ReadonlyArray<Maker> = []
  for (let round = 0; round < mostHops; round++) {
    const tells = tellsOf(modules, errors, makers)
    const found = functions.flatMap(({ file, functions }) =>
      functions.flatMap(({ calls, kind, name, node }) => {
        const params = paramsOf(node)
        const mine: Array<Maker> = []
        for (const inner of calls) {
          for (const telling of tells(inner, file)) {
            const position = params.indexOf(textOf(telling.node, "name"))
            if (telling.node.type === "Identifier" && position >= 0) {
              mine.push({ name, file, start: node.start, kind, error: telling.error, position })
            }
          }
        }
        return mine.slice(0, 1)
      })
    )
    if (found.length === makers.length) break
    makers = found
  }
  return makers
}

const statusOf = (declaration: Node): number | undefined => {
  let status: number | undefined
  walk(declaration, (node) => {
    const value = nodeOf(node, "value")?.["value"]
    if (node.type === "Property" && propertyName(node) === "httpApiStatus" && typeof value === "number") status = value
  })
  return status
}

/** The texts of `get message()`, and of what its constructor gives to `super`. */
const ownMessages = (declaration: Node, names: Names): ReadonlyArray<string> => {
  const texts: Array<string> = []
  walk(declaration, (node) => {
    if (node.type === "MethodDefinition" && propertyName(node) === "message") {
      walk(node, (inner) => {
        if (inner.type === "ReturnStatement") texts.push(...textsOf(nodeOf(inner, "argument"), names))
      })
    }
    if (node.type === "CallExpression" && nodeOf(node, "callee")?.type === "Super") {
      texts.push(
        ...nodesOf(node, "arguments")
          .slice(0, 1)
          .flatMap((one) => textsOf(one, names))
      )
    }
  })
  return texts
}

export const sources = (): ReadonlyArray<Source> =>
  readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((name) => `src/${name.replaceAll("\\", "/")}`)
    .filter((name) => name.endsWith(".ts"))
    .toSorted()
    .map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }))

/** Thrown by the language's own classes where a call is a mistake. */
const builtIn: ReadonlyArray<ErrorClass> = ["Error", "RangeError", "TypeError"].map((name) => ({
  name,
  file: "",
  cause:
    "An option or argument that no program should give, found where the program is put together. It is thrown, or is a defect: nothing was done.",
  remedy: "Correct the call as the message says.",
  status: undefined,
  messages: []
}))

/** Whether a class is for people: those that are caught and told as something else have no such tag. */
const isMet = (doc: string): boolean => /^@(?:category errors$|remedy )/m.test(doc)

/**
 * Modules that say what is wrong without saying by which error it is told; those of others are told by the first that makes errors of
 * their caller's texts.
 */
const tellers: ReadonlyArray<readonly [RegExp, string]> = [
  [/^src\/plugins\/(?:Geo\.ts|geo\/)/, "InvalidGeo"],
  [/^src\/plugins\/backup\/internal\/target/, "OtherDatabase"],
  [/^src\/plugins\/backup\/internal\/retention/, "InvalidArgument"],
  [/^src\/plugins\/backup\//, "Corrupt"],
  [/^src\/plugins\/(?:FullText\.ts|fulltext\/internal\/(?:query|lookup))/, "InvalidFullText"],
  [/^src\/plugins\/Embedding\.ts$/, "InvalidEmbedding"],
  [/^src\/plugins\/(?:Importer\.ts$|importer\/internal\/(?:reading|shaping)\.ts$)/, "InvalidImport"],
  [/^src\/plugins\/(?:Replicator\.ts|replicator\/internal\/documents)/, "InvalidReplicator"],
  [/^src\/plugins\/(?:Replica|replicator\/)/, "TargetError"],
  [/^src\/plugins\/eventual\/engine\.ts$/, "InvalidOperation"],
  [/^src\/plugins\/(?:EventualConsistency\.ts|eventual\/)/, "InvalidCounter"],
  [/^src\/plugins\/Quota\.ts$/, "InvalidQuota"],
  [/^src\/plugins\/VectorIndex\.ts$/, "InvalidVectorIndex"],
  [/^src\/plugins\/vector\/internal\//, "VectorIndexDamaged"],
  [/^src\/plugins\/(?:Vector\.ts|vector\/)/, "InvalidVector"],
  [/^src\/schema\/Rules\.ts$/, "UnsupportedSchema"],
  [/^src\/(Document|document\/(compressed|codec)|storage\/(FileStore|internal\/fileStoreEnvelope))\.ts$/, "Corrupt"],
  [/^src\/Companion\.ts$/, "WrongKeys"],
  [/^src\/catalog\/building\.ts$/, "Incomplete"],
  [/^src\/query\/planner\.ts$/, "NotAllowed"],
  [/^src\/storage\/internal\/s3Errors\.ts$/, "Unavailable"],
  [/^src\/storage\/internal\/s3Answers\.ts$/, "Unexpected"],
  [/^src\/storage\/CapabilityProbe\.ts$/, "Unsupported"],
  [/^src\/crypto\/internal\/passwordPool\.ts$/, "WorkerFailed"],
  [/^src\/plugins\/scheduler\/timetable\.ts$/, "InvalidJob"],
  [/^src\/internal\/runtime\.ts$/, "Error"]
]

/** What an issue of an input says. */
const isIssue = (text: string): boolean => text.startsWith("Expected ")

/** Errors of options, not of inputs. */
const ofIssues: ReadonlySet<string> = new Set([
  "InvalidJob",
  "InvalidGeo",
  "InvalidFullText",
  "InvalidVectorIndex",
  "InvalidEmbedding",
  "InvalidImport",
  "InvalidReplicator",
  "TargetError",
  "InvalidCounter",
  "InvalidOperation",
  "InvalidQuota"
])

/** By which errors texts of a module are told that are given to none where they stand. */
const tellerOf = (file: string, text: string): string | undefined => {
  const teller = tellers.find(([pattern]) => pattern.test(file))?.[1]
  if (isIssue(text))
    return teller !== undefined && ofIssues.has(teller)
      ? teller
      : file.startsWith("src/kernel/")
        ? "RangeError"
        : "InvalidInput"
  return teller
}

/** What is sent to a database of SQL. */
const isSql = (text: string): boolean =>
  /\b(?:SELECT|INSERT INTO|DELETE|CREATE TABLE|ALTER TABLE|SET SESSION|ON CONFLICT|ON DUPLICATE KEY|PRIMARY KEY|CHARACTER SET|ENGINE|WHERE|VALUES)\b|^\(SELECT|^timestamp with/.test(
    text
  )

/** The texts of a module that are no names, and that are for nobody's log. */
const sentencesOf = ({ names, program }: Module): ReadonlyArray<string> => {
  const texts: Array<string> = []
  const look = (node: Node): void => {
    const callee = baseOf(nodeOf(node, "callee"))
    if (node.type === "ImportDeclaration" || callee === "fn" || /^(log|annotate)/.test(callee)) return
    if (node.type === "Literal" || node.type === "TemplateLiteral") texts.push(...textsOf(node, names))
    for (const child of childrenOf(node)) look(child)
  }
  look(program)
  return texts.filter(
    (text) => isIssue(text) || (!isSql(text) && text.split(/\s+/).filter((word) => /\p{L}/u.test(word)).length > 3)
  )
}

export const errorsOf = (files: ReadonlyArray<Source>): ReadonlyArray<ErrorClass> => {
  const modules = files.map(({ file, text }): Module => {
    const program = parseAst(text, { lang: "ts" }) as unknown as Node
    return { file, text, program, names: namesOf(program), calls: callsOf(program) }
  })
  const found: Array<ErrorClass> = []
  for (const { file, names, program, text } of modules) {
    for (const node of nodesOf(program, "body")) {
      const declaration = node.type === "ClassDeclaration" ? node : nodeOf(node, "declaration")
      if (declaration?.type !== "ClassDeclaration" || !isError(baseOf(nodeOf(declaration, "superClass")))) continue
      const doc = docBefore(text, node.start)
      if (!isMet(doc)) continue
      const [before = "", after = ""] = doc.split(/^@remedy /m)
      found.push({
        name: textOf(nodeOf(declaration, "id"), "name"),
        file,
        cause: unwrapped(before.split(/^@/m)[0]!),
        remedy: unwrapped(after.split(/^@/m)[0]!),
        status: statusOf(declaration),
        messages: ownMessages(declaration, names).filter(says)
      })
    }
  }
  const all = [...found, ...builtIn]
  const given = new Map<ErrorClass, Set<string>>(all.map((one) => [one, new Set(one.messages)]))
  const tells = tellsOf(modules, all, makersOf(modules, all))
  for (const { calls, file, names } of modules) {
    for (const telling of calls.flatMap((node) => tells(node, file))) {
      // What the stores for tests say of themselves is theirs.
      if (file.startsWith("src/testing/") && !telling.error.file.startsWith("src/testing/")) continue
      for (const text of textsOf(telling.node, names)) if (says(text)) given.get(telling.error)!.add(text)
    }
  }
  const told = [...given.values()].flatMap((texts) => [...texts])
  for (const module of modules.filter(({ file }) => !/^src\/(testing|cli)\//.test(file))) {
    for (const text of sentencesOf(module)) {
      // A part of what is told has its place there.
      const error = told.some((one) => one.includes(text))
        ? undefined
        : all.find(({ name }) => name === tellerOf(module.file, text))
      if (error !== undefined) given.get(error)!.add(text)
    }
  }
  return all.map((one) => ({ ...one, messages: [...given.get(one)!].toSorted() }))
}

/** What the HTTP API answers beside the errors of documents: a problem with a code of its own. */
export interface Answer {
  readonly status: number
  readonly code: string
  readonly detail: string
}

/** Calls of the form `refuse(413, "BodyTooLarge", "...")`. */
export const answersOf = (files: ReadonlyArray<Source>): ReadonlyArray<Answer> => {
  const answers = new Map<string, Answer>()
  for (const { text } of files.filter(({ file }) => file.startsWith("src/http/"))) {
    const program = parseAst(text, { lang: "ts" }) as unknown as Node
    const names = namesOf(program)
    for (const node of callsOf(program)) {
      const [status, code, detail] = nodesOf(node, "arguments")
      const [number, name] = [status?.["value"], code?.["value"]]
      if (typeof number !== "number" || typeof name !== "string" || number < 400 || number > 599) continue
      for (const text of textsOf(detail, names)) {
        answers.set(`${number} ${name} ${text}`, { status: number, code: name, detail: text })
      }
    }
  }
  return [...answers.values()].toSorted((a, b) => a.status - b.status || a.code.localeCompare(b.code, "en"))
}

/** Failures that are told without a class, as `{ _tag: "TooLong", message: "..." }`. */
export const kindsOf = (
  files: ReadonlyArray<Source>
): ReadonlyArray<{ readonly kind: string; readonly message: string }> => {
  const kinds: Array<{ readonly kind: string; readonly message: string }> = []
  for (const { text } of files.filter(({ file }) => file.startsWith("src/mcp/"))) {
    const program = parseAst(text, { lang: "ts" }) as unknown as Node
    const names = namesOf(program)
    walk(program, (node) => {
      if (node.type !== "ObjectExpression") return
      const valueOf = (name: string) =>
        nodeOf(
          nodesOf(node, "properties").find((property) => propertyName(property) === name),
          "value"
        )
      const [kind, message] = [valueOf("_tag")?.["value"], valueOf("message")]
      if (typeof kind !== "string" || message === undefined) return
      for (const one of textsOf(message, names).filter(says)) kinds.push({ kind, message: one })
    })
  }
  return kinds.toSorted((a, b) => a.kind.localeCompare(b.kind, "en"))
}

interface Section {
  readonly title: string
  readonly about: string
  readonly holds: (error: ErrorClass) => boolean
}

/** In the order of the page; an error is in the first that holds it. */
const sections: ReadonlyArray<Section> = [
  {
    title: "What an operation on documents says",
    about: "Each is an error of its own: catch it by its `_tag`.",
    holds: ({ file, name }) =>
      /^src\/(DbError|Pipeline|Guard|CurrentUser|Aggregation|Catalog|Content|Transaction)\.ts$/.test(file) &&
      !reasonsOfDbError.has(name) &&
      name !== "NextCalledTwice"
  },
  {
    title: "Reasons of `DbError` and `StoreError`",
    about:
      'What concerns the infrastructure is a `DbError`, whose message is `OPERATION on RESOURCE failed: REASON: ...`. Over HTTP it has the status 503, and the reason no description. Catch one reason with `Effect.catchReason("DbError", "Throttled", ...)`.',
    holds: ({ file, name }) => file === "src/storage/StoreError.ts" || reasonsOfDbError.has(name)
  },
  {
    title: "Connections, keys and passwords",
    about: "",
    holds: ({ file }) => file.startsWith("src/storage/") || file.startsWith("src/crypto/")
  },
  { title: "HTTP", about: "", holds: ({ file }) => file.startsWith("src/http/") },
  {
    title: "Tables, lines and plugins",
    about: "",
    holds: ({ file }) => file.startsWith("src/plugins/") || /^src\/(Plugin|Export)\.ts$/.test(file)
  },
  {
    title: "The kernel and the cluster",
    about: "Met by who builds on `kernel/` or runs `cluster/`.",
    holds: ({ file }) => file.startsWith("src/kernel/") || file.startsWith("src/cluster/")
  },
  {
    title: "The command line",
    about: "Beside the errors above; the exit codes are [below](#exit-codes).",
    holds: ({ file }) => file.startsWith("src/cli/")
  },
  {
    title: "The MCP server",
    about: "Told as the outcome of a tool, beside the errors above.",
    holds: ({ file }) => file.startsWith("src/mcp/")
  },
  {
    title: "Tests",
    about: "",
    holds: ({ file }) => file.startsWith("src/testing/")
  },
  {
    title: "Mistakes of a program",
    about: "Thrown where a program is put together, or defects; no error of an effect's type.",
    holds: () => true
  }
]

const reasonsOfDbError = new Set(["SecretUnreadable", "ServiceFailed", "OutcomeUnknown", "Incomplete"])

/** The exit code of each kind, and the kinds of errors, as the command line has them. */
const exits = () => {
  const text = readFileSync(join(root, "src/cli/internal/failure.ts"), "utf8")
  const block = (name: string) => new RegExp(`${name}[^=]*= \\{\\n([^]*?)\\n\\}`).exec(text)?.[1] ?? ""
  const codes = [...block("exitCodes").matchAll(/\/\*\* (.+?) \*\/\n *(\w+): (\d+)/g)].map(([, about, kind, code]) => ({
    about: about!,
    kind: kind!,
    code: code!
  }))
  const kinds = new Map(
    ["kinds", "kindsOfReasons"].flatMap((name) =>
      [...block(`const ${name}\\b`).matchAll(/^ *(\w+): "(\w+)"/gm)].map(([, tag, kind]) => [tag!, kind!] as const)
    )
  )
  return { codes, kinds }
}

const inTable = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ")

/** Texts in code, whatever is in them. */
const code = (text: string): string => {
  const line = text.replaceAll("\n", " ").trim()
  return line.includes("`") ? `\`\` ${line} \`\`` : `\`${line}\``
}

/** Pages that a docstring names become links. */
const linked = (text: string): string =>
  text.replace(
    /`docs\/guide\/([\w-]+)\.md(#[\w-]+)?`/g,
    (_, name: string, anchor = "") =>
      `[${(anchor === "" ? name : anchor.slice(1)).replaceAll("-", " ")}](${name}.md${anchor})`
  )

const entry = (error: ErrorClass, kinds: ReadonlyMap<string, string>, codeOf: ReadonlyMap<string, string>): string => {
  const kind = kinds.get(error.name)
  const facts = [
    ...(error.status === undefined ? [] : [`HTTP ${error.status}`]),
    ...(kind === undefined ? [] : [`exit code ${codeOf.get(kind)}`]),
    ...(error.file === ""
      ? []
      : [
          error.file.includes("/internal/")
            ? `\`s3db${error.file.startsWith("src/mcp/") ? " mcp" : ""}\``
            : `\`${error.file
                .replace(/^src\/|\.ts$/g, "")
                .replace("plugins/cache/tier", "plugins/Cache")
                .replace("plugins/importer/errors", "plugins/Importer")}\``
        ])
  ]
  const messages =
    error.messages.length === 0 ? [] : ["It says:", "", ...error.messages.map((text) => `- ${code(text)}`), ""]
  return [
    `### ${error.name}`,
    "",
    ...(facts.length === 0 ? [] : [facts.join(" · "), ""]),
    `**Cause.** ${linked(error.cause)}`,
    "",
    `**Remedy.** ${linked(error.remedy)}`,
    "",
    ...messages
  ].join("\n")
}

const plainKinds = (): string =>
  [
    "| kind | message, which says what to do |",
    "|---|---|",
    ...kindsOf(sources()).map(({ kind, message }) => `| \`${kind}\` | ${inTable(message)} |`)
  ].join("\n")

export const write = (errors: ReadonlyArray<ErrorClass>): string => {
  const { codes, kinds } = exits()
  const codeOf = new Map(codes.map(({ code, kind }) => [kind, code]))
  const left = new Set(errors)
  const parts = sections.map(({ about, holds, title }) => {
    const mine = [...left].filter(holds)
    for (const error of mine) left.delete(error)
    return [
      `## ${title}`,
      "",
      ...(about === "" ? [] : [about, ""]),
      ...mine.map((error) => entry(error, kinds, codeOf)),
      ...(mine.some(({ file }) => file.startsWith("src/mcp/")) ? [plainKinds(), ""] : [])
    ].join("\n")
  })
  const byCode = codes.map(({ about, code, kind }) => {
    const of = [...kinds].flatMap(([tag, one]) => (one === kind ? [`\`${tag}\``] : []))
    return `| ${code} | ${kind} | ${inTable(about)} | ${of.join(", ")} |`
  })
  return [
    "# Errors",
    "",
    "<!-- Made of the source by `npm run docs`: change the docstring of the error, not this page. -->",
    "",
    "Every error of this library with its cause and its remedy. None holds values of fields or secrets. Look for the name, which is the `_tag`, or for a part of the message: " +
      `\`${blank}\` stands for what it is about. Where an error is told over HTTP it has the status that is named, and any other has 500; [HTTP](http.md) has an example. ` +
      "`s3db` prints the message, and ends with the exit code.",
    "",
    ...parts,
    "## Answers of the HTTP API",
    "",
    "[An API that is made of definitions](http-api.md) tells errors as problems (RFC 9457), whose `code` is the name of the error, or one of these; `detail` says what to do.",
    "",
    "| status | code | detail |",
    "|---|---|---|",
    ...answersOf(sources()).map(({ code, detail, status }) => `| ${status} | \`${code}\` | ${inTable(detail)} |`),
    "",
    "## Texts of values and command lines",
    "",
    "What no error of this library says itself, but a schema, the reader of the command line, or a line that is put together of parts.",
    "",
    "| text | cause | remedy |",
    "|---|---|---|",
    ...plainTexts.map(({ cause, remedy, text }) => `| ${code(text)} | ${inTable(cause)} | ${inTable(remedy)} |`),
    "",
    "## Exit codes",
    "",
    "| code | kind | when | errors and reasons |",
    "|---|---|---|---|",
    ...byCode,
    "",
    "Next: [questions](faq.md)",
    ""
  ].join("\n")
}

/** Caught, and told as something else: nobody gets to see them. */
const caught = new Set([
  "TooDeep",
  "BadArgument",
  "NotPlain",
  "Untold",
  "FileFailure",
  "NoAnswerInTime",
  "NotOfS3",
  "NotXml",
  "Unknown",
  "Malformed",
  "Refused"
])

const classOfErrors = /^(?:export )?class (\w+) extends (?:ExpectedError|\w+\.TaggedError|Error)\b/gm

/** What has to be mended in the source, so that each error is on the page with its cause and its remedy. */
export const unsaid = (files: ReadonlyArray<Source>, found: ReadonlyArray<ErrorClass>): ReadonlyArray<string> => [
  ...files.flatMap(({ file, text }) =>
    [...text.matchAll(classOfErrors)].flatMap(([, name]) =>
      found.some((error) => error.file === file && error.name === name) ||
      (caught.has(name!) && !/^src\/[^/]+\.ts$/.test(file))
        ? []
        : [`${file}: ${name} has neither @category errors nor @remedy`]
    )
  ),
  ...found
    .filter(({ cause, remedy }) => !/\w.*\./s.test(cause) || !/\w.*\./s.test(remedy))
    .map(({ file, name }) => `${file}: the docstring of ${name} has to say the cause, and @remedy what to do`)
]

let all: ReadonlyArray<ErrorClass> | undefined

/** Those of the library, which does not change meanwhile. */
export const errors = (): ReadonlyArray<ErrorClass> => (all ??= errorsOf(sources()))

export const make = (): string => write(errors())
