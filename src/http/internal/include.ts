/**
 * What belongs to documents, in their answers: `include=posts.comments,profile`.
 *
 * **Details**
 *
 * It is closed by default, level by level: a relation can be included where the resource that it is of names it, and only if the API has the
 * resource that it leads to, and shows that to who asks. What of a document is shown is what its own endpoints show of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as CurrentUser from "../../CurrentUser.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import type * as Relation from "../../plugins/Relation.ts"
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
  readonly parseInclude: (text: string) => Effect.Effect<Relation.AnyInclude, Relation.InvalidInclude>
  readonly resourcesIn: (include: Relation.AnyInclude) => Effect.Effect<ReadonlyArray<string>, Relation.InvalidInclude>
}

/** A resource of the API, by the name that the relations have for it. */
export interface Target {
  /** The relations of it that can be included. */
  readonly names: ReadonlyArray<string>
  /** Whether its documents are shown by an endpoint at all, and whether also to who is not logged in. */
  readonly isShown: boolean
  readonly isPublic: boolean
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

/** Reads what is to be included, and refuses what is not for who asks before anything is read. */
export const make =
  ({ loaders, source, targets }: Options) =>
  (text: string): Effect.Effect<Included, Answer.Refused | ListError> =>
    Effect.gen(function* () {
      const refused = Answer.refuse(
        400,
        "InvalidInclude",
        `Expected at most ${most} relations in ${longest} characters`
      )
      if (text.length > longest) return yield* refused
      const user = yield* CurrentUser.CurrentUser
      let count = 0
      const sights = new Map<string, Sight.Sight>()

      /** Each level is looked at by what its own resource allows. */
      const allow = (
        resource: string,
        names: Relation.AnyInclude,
        path: string
      ): Effect.Effect<void, Answer.Refused | ListError> =>
        Effect.forEach(
          Object.entries(names),
          Effect.fnUntraced(function* ([name, inner]) {
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
            sights.set(to, yield* target.sight)
            const deeper = typeof inner === "object" ? inner.include : undefined
            if (deeper !== undefined) yield* allow(to, deeper, here)
          }),
          { discard: true }
        )

      // Names that are not offered are refused here, before relations say what others there are.
      const names = textsOf(text)
      if (names === undefined) {
        return yield* Answer.refuse(
          400,
          "InvalidInclude",
          "Expected names of relations with commas between them, and dots for those within others"
        )
      }
      yield* allow(source, names, "")
      const loader = loaders[source]!
      const include = yield* Effect.catch(loader.parseInclude(text), told)
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

interface Names {
  readonly [name: string]: true | { readonly include: Names }
}

/** The names of a text, without asking whether there are such relations. */
const textsOf = (text: string): Names | undefined => {
  interface Tree extends Map<string, Tree> {}
  const root: Tree = new Map()
  for (const path of text.split(",").map((one) => one.trim())) {
    let node = root
    for (const name of path.split(".")) {
      if (name === "") return undefined
      let next = node.get(name)
      if (next === undefined) node.set(name, (next = new Map()))
      node = next
    }
  }
  const names = (tree: Tree): Names =>
    Object.fromEntries([...tree].map(([name, inner]) => [name, inner.size === 0 ? true : { include: names(inner) }]))
  return names(root)
}
