/**
 * What belongs to documents, in their answers: `include=posts(limit:3;order:-at).comments,profile`.
 *
 * **Details**
 *
 * It is closed by default, level by level: a relation can be included where the resource that it is of names it, and only if the API has the
 * resource that it leads to, and shows that to who asks. What of a document is shown is what its own endpoints show of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as CurrentUser from "../../CurrentUser.ts"
import type * as DbError from "../../DbError.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import type * as Relation from "../../plugins/Relation.ts"
import { orderFromText } from "../../query/parse.ts"
import type { ListError } from "../../Repository.ts"
import * as Answer from "./answer.ts"
import type * as Sight from "./sight.ts"

/** The relations of a resource, as far as an API needs them. */
export interface Loader {
  readonly loadJson: (
    documents: Iterable<JsonObject>,
    include: Relation.AnyInclude,
    options?: Relation.LoadJsonOptions
  ) => Effect.Effect<ReadonlyArray<JsonObject>, Relation.IncludeError>
  readonly resourcesIn: (include: Relation.AnyInclude) => Effect.Effect<ReadonlyArray<string>, Relation.InvalidInclude>
}

/** A resource of the API, by the name that the relations have for it. */
export interface Target {
  /** The relations of it that can be included. */
  readonly names: ReadonlyArray<string>
  /** Whether its documents are shown by an endpoint at all, and whether also to who is not logged in. */
  readonly isShown: boolean
  readonly isPublic: boolean
  /** The most documents of it that can be asked for. */
  readonly maxLimit: number
  readonly sight: Effect.Effect<Sight.Sight>
}

export interface Options {
  /** The name that the relations have for the resource of the endpoints. */
  readonly source: string
  readonly loaders: Readonly<Record<string, Loader>>
  readonly targets: ReadonlyMap<string, Target>
}

/** What an include does with documents. */
export interface Included {
  /** The documents as they are shown, with what belongs to them. They are given as they are stored. */
  readonly complete: (
    documents: ReadonlyArray<JsonObject>,
    show: (json: JsonObject) => JsonObject
  ) => Effect.Effect<ReadonlyArray<JsonObject>, Answer.Refused | ListError>
}

/** The longest text of an include, and the most relations in it. */
const longest = 500
const most = 16

const notHere = (path: string, known: ReadonlyArray<string>) =>
  Answer.refuse(
    400,
    "InvalidInclude",
    known.length === 0
      ? `nothing can be included at ${JSON.stringify(path)}`
      : `${JSON.stringify(path)} cannot be included: ${known.join(", ")} can`
  )

/** Names and sizes are all that a refusal tells: of resources that are not there for everybody, not even that. */
const told = (error: Relation.IncludeError): Effect.Effect<never, Answer.Refused | ListError> =>
  error._tag === "InvalidInclude"
    ? Answer.refuse(400, "InvalidInclude", `${JSON.stringify(error.path)}: ${error.problem}`)
    : error._tag === "TooManyIncluded"
      ? Answer.refuse(400, "TooManyIncluded", `${JSON.stringify(error.path)} came to more than ${error.most} documents`)
      : Effect.fail(error)

const wrong = (problem: string) => Answer.refuse(400, "InvalidInclude", problem)

/** What is said of a relation: how many, in which order, and which fields of them. */
interface Said {
  readonly limit?: number
  readonly order?: ReturnType<typeof orderFromText> extends Result.Result<infer A, unknown> ? A : never
  readonly select?: ReadonlyArray<string>
}

/** Reads what is in the parentheses behind a relation, by what its documents show to who asks. */
const saidOf = Effect.fnUntraced(function* (
  { options, path }: { readonly options: ReadonlyMap<string, string>; readonly path: string },
  { maxLimit }: Target,
  { mayAskFor }: Sight.Sight
): Effect.fn.Return<Said, Answer.Refused | DbError.InvalidInput> {
  const here = JSON.stringify(path)
  const said: { -readonly [K in keyof Said]: Said[K] } = {}
  for (const [name, text] of options) {
    if (name === "limit") {
      const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0
      if (limit < 1 || limit > maxLimit) {
        return yield* wrong(`${here}: Expected a limit from 1 to ${maxLimit}`)
      }
      said.limit = limit
    } else if (name === "order") {
      const order = orderFromText(text)
      if (Result.isFailure(order)) return yield* wrong(`${here}: Expected an order, such as -year,title`)
      yield* mayAskFor(order.success.map((one) => one.path))
      if (order.success.length > 0) said.order = order.success
    } else {
      const fields = text.split(",").map((field) => field.trim())
      yield* mayAskFor(fields.map((field) => [field]))
      said.select = fields
    }
  }
  return said
})

/** Reads what is to be included, and refuses what is not for who asks before anything is read. */
export const make =
  ({ loaders, source, targets }: Options) =>
  (text: string): Effect.Effect<Included, Answer.Refused | ListError> =>
    Effect.gen(function* () {
      const refused = wrong(`Expected at most ${most} relations in ${longest} characters`)
      if (text.length > longest) return yield* refused
      const user = yield* CurrentUser.CurrentUser
      let count = 0
      const sights = new Map<string, Sight.Sight>()

      /** Each level is looked at by what its own resource allows. */
      const allow = (
        resource: string,
        asked: Tree,
        path: string
      ): Effect.Effect<Relation.AnyInclude, Answer.Refused | ListError> =>
        Effect.map(
          Effect.forEach(
            asked,
            Effect.fnUntraced(function* ([name, { inner, options }]) {
              if ((count += 1) > most) return yield* refused
              const known = targets.get(resource)?.names ?? []
              const here = path === "" ? name : `${path}.${name}`
              if (!known.includes(name)) return yield* notHere(here, known)
              const [to = ""] = yield* Effect.catch(loaders[resource]!.resourcesIn({ [name]: true }), told)
              const target = targets.get(to)
              if (target === undefined || !target.isShown) return yield* notHere(here, [])
              if (user === undefined && !target.isPublic) {
                return yield* Answer.refuse(
                  401,
                  "Unauthenticated",
                  `log in first: ${JSON.stringify(here)} is not for everybody`
                )
              }
              const seen = yield* target.sight
              sights.set(to, seen)
              const said = options === undefined ? {} : yield* saidOf({ options, path: here }, target, seen)
              const include = yield* allow(to, inner, here)
              return [name, inner.size === 0 ? said : { ...said, include }] as const
            })
          ),
          (all) => Object.fromEntries(all)
        )

      // Names that are not offered are refused here, before relations say what others there are.
      const asked = treeOf(text)
      if (typeof asked === "string") return yield* wrong(asked)
      const include = yield* allow(source, asked, "")
      const loader = loaders[source]!
      yield* Effect.catch(loader.resourcesIn(include), told)
      const show = (resource: string, document: JsonObject) => sights.get(resource)?.show(document)
      return {
        complete: (documents, shown) =>
          Effect.map(Effect.catch(loader.loadJson(documents, include, { show }), told), (loaded) =>
            loaded.map((one, at) => {
              const found = { ...shown(documents[at]!) }
              for (const name of Object.keys(include)) found[name] = one[name] ?? null
              return found
            })
          )
      }
    })

/** A relation as it is asked for. */
interface Branch {
  /** What is in its parentheses. */
  options: ReadonlyMap<string, string> | undefined
  readonly inner: Tree
}

interface Tree extends Map<string, Branch> {}

const optionNames: ReadonlySet<string> = new Set(["limit", "order", "fields"])

/** The options of a relation by name, or what is wrong with them. */
const optionsOf = (text: string): ReadonlyMap<string, string> | string => {
  const options = new Map<string, string>()
  for (const one of text.split(";")) {
    const [, name, value] = /^\s*(\w+)\s*:\s*(.*?)\s*$/.exec(one) ?? []
    if (name === undefined || value === undefined || !optionNames.has(name)) {
      return "Expected limit:3, order:-year,title or fields:title,year in parentheses, with semicolons between them"
    }
    if (options.has(name)) return `Expected ${JSON.stringify(name)} once`
    options.set(name, value)
  }
  return options
}

const expected = "Expected names of relations with commas between them, and dots for those within others"

/** Reads a text without asking whether there are such relations; gives what is wrong with it. */
const treeOf = (text: string): Tree | string => {
  const root: Tree = new Map()
  let node = root
  let rest = text.trimStart()
  while (true) {
    const [step, name = "", , inside] = /^([^,.()\s]+)(\(([^()]*)\))?\s*/.exec(rest) ?? []
    if (step === undefined) return expected
    rest = rest.slice(step.length)
    const options = inside === undefined ? undefined : optionsOf(inside)
    if (typeof options === "string") return options
    const found = node.get(name)
    const branch: Branch = found ?? { options, inner: new Map() }
    if (found === undefined) node.set(name, branch)
    else if (options !== undefined) {
      if (found.options !== undefined) return `Expected options of ${JSON.stringify(name)} in one place`
      found.options = options
    }
    if (rest === "") return root
    if (rest.startsWith(".")) node = branch.inner
    else if (rest.startsWith(",")) node = root
    else return expected
    rest = rest.slice(1).trimStart()
  }
}
