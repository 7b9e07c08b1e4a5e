/**
 * Named views: what of documents is shown, which of them, in which order, and with what belongs to them, by one name (`view=card`).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as CurrentUser from "../../CurrentUser.ts"
import type { Definition } from "../../Definition.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Query from "../../Query.ts"
import * as Answer from "./answer.ts"

/** A view as a program declares it. */
export interface View {
  /** Fields that are shown, by path; `address.*` is all of an object, `*` everything. The id always is. Default: `*`. */
  readonly fields?: ReadonlyArray<string> | undefined
  /** Fields that are not, of those. */
  readonly omit?: ReadonlyArray<string> | undefined
  /** Which documents, as clients write a filter. */
  readonly where?: JsonObject | undefined
  /** Their order, where the request has none, as clients write it. */
  readonly order?: string | undefined
  /** What belongs to them, beside what the request includes. */
  readonly include?: string | undefined
  /** Who may use it: who has one of the roles or scopes. Default: whoever may read. */
  readonly roles?: ReadonlyArray<string> | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  /**
   * Whether it is taken where a request names no view: of those that somebody may use, the first one counts. Such answers have its name in
   * `X-View`. Default `false`.
   */
  readonly automatic?: boolean | undefined
}

export type Views = Readonly<Record<string, View>>

/** A view that somebody uses. */
export interface Used extends Pick<View, "where" | "order" | "include"> {
  readonly name: string
  /** What it leaves of a document that is shown. */
  readonly form: (json: JsonObject) => JsonObject
  /** Whether a column of a table is in it. */
  readonly has: (path: ReadonlyArray<string>) => boolean
}

const isFor = (user: CurrentUser.User | undefined, { roles, scopes }: View): boolean =>
  (roles === undefined && scopes === undefined) ||
  (user !== undefined &&
    ((roles ?? []).some((role) => user.roles.includes(role)) ||
      (scopes ?? []).some((scope) => user.scopes.includes(scope))))

const begins = (short: ReadonlyArray<string>, long: ReadonlyArray<string>): boolean =>
  short.every((name, at) => name === long[at])

/** The names of a path; a wildcard at its end stands for all that is below. */
const namesOf = (path: string): ReadonlyArray<string> => {
  const names = path.split(".")
  return names.at(-1) === "*" ? names.slice(0, -1) : names
}

/** An object without what is at a path. */
const without = (json: JsonObject, [head = "", ...rest]: ReadonlyArray<string>): JsonObject => {
  if (!Object.hasOwn(json, head)) return json
  const { [head]: value, ...others } = json
  if (rest.length === 0) return others
  if (typeof value !== "object" || value === null || Array.isArray(value)) return json
  return { ...json, [head]: without(value as JsonObject, rest) }
}

const usedOf = (
  name: string,
  { primaryKey }: Definition<DynamicSchema>,
  { fields, include, omit = [], order, where }: View
): Used => {
  const key = [String(primaryKey)]
  const kept = fields === undefined || fields.includes("*") ? undefined : [key, ...fields.map(namesOf)]
  const dropped = omit.map(namesOf).filter((path) => !begins(path, key))
  const select = kept === undefined ? undefined : Query.project(kept)
  return {
    name,
    ...(where === undefined ? {} : { where }),
    ...(order === undefined ? {} : { order }),
    ...(include === undefined ? {} : { include }),
    form: (json) => dropped.reduce(without, select === undefined ? json : select(json)),
    has: (path) =>
      (kept === undefined || kept.some((one) => begins(one, path))) && !dropped.some((one) => begins(one, path))
  }
}

/** Throws where a view names what is no field: it would show less than its author thinks. */
export const check = (definition: Definition<DynamicSchema>, views: Views): void => {
  for (const [name, { fields = [], omit = [] }] of Object.entries(views)) {
    for (const path of [...fields, ...omit]) {
      const names = namesOf(path)
      const isKnown =
        !names.includes("*") &&
        (names.length === 0 ||
          path === String(definition.primaryKey) ||
          definition.attributes.some((one) => begins(one.path, names) || begins(names, one.path)))
      if (!isKnown)
        throw new Error(
          `the view ${JSON.stringify(name)} names ${JSON.stringify(path)}, which is no field of ${definition.name}`
        )
    }
  }
}

/** Whether some view is taken without being named. */
export const areAutomatic = (views: Views): boolean => Object.values(views).some(({ automatic }) => automatic === true)

/** Gives the view of a name to who may use it; without a name the first automatic one that is for who asks. */
export const make = (definition: Definition<DynamicSchema>, views: Views) => {
  const used = new Map(Object.entries(views).map(([name, view]) => [name, usedOf(name, definition, view)]))
  const automatic = Object.entries(views).filter(([, view]) => view.automatic === true)
  return (name: string | undefined): Effect.Effect<Used | undefined, Answer.Refused> =>
    name === undefined
      ? automatic.length === 0
        ? Effect.undefined
        : Effect.map(CurrentUser.CurrentUser, (user) => {
            const [first] = automatic.find(([, view]) => isFor(user, view)) ?? []
            return first === undefined ? undefined : used.get(first)
          })
      : Effect.flatMap(CurrentUser.CurrentUser, (user): Effect.Effect<Used | undefined, Answer.Refused> => {
          const found = used.get(name)
          if (found === undefined) {
            const offered = Object.keys(views).filter((one) => isFor(user, views[one]!))
            const which = offered.length === 0 ? "there are none for you" : `there are ${offered.join(", ")}`
            return Answer.refuse(400, "UnknownView", `there is no such view: ${which}`)
          }
          if (isFor(user, views[name]!)) return Effect.succeed(found)
          return user === undefined
            ? Answer.refuse(401, "Unauthenticated", "log in first: this view is not for everybody")
            : Answer.refuse(403, "ViewForbidden", "this view is not for you")
        })
}
