/**
 * What of a resource somebody sees, and may write: by role and scope.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as CurrentUser from "../../CurrentUser.ts"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import * as Export from "../../Export.ts"
import type { DynamicSchema } from "../../Portable.ts"
import type * as Query from "../../Query.ts"
import * as Wire from "../../Wire.ts"
import * as Answer from "./answer.ts"
import * as Filters from "./filters.ts"

/** Fields that some may see, or write: who has one of the roles or scopes. */
export interface Reserved {
  readonly paths: ReadonlyArray<string>
  readonly roles?: ReadonlyArray<string> | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
}

export interface Settings {
  readonly protect: ReadonlyArray<Query.Path>
  readonly protectUnless: ReadonlyArray<Reserved>
  readonly readonly: ReadonlyArray<string>
  readonly readonlyUnless: ReadonlyArray<Reserved>
}

export interface Sight {
  readonly show: (json: JsonObject) => JsonObject
  /** The same of some fields, system fields among them. */
  readonly showSome: (json: JsonObject) => JsonObject
  /** Refuses fields that are not shown, in conditions and orders. */
  readonly mayAskFor: ReturnType<typeof Filters.protectedFrom>
  /** Of a table. */
  readonly columns: ReadonlyArray<ReadonlyArray<string>>
  /** Fields, by path, that are not to be written. */
  readonly readonly: ReadonlyArray<string>
  /** Refuses documents with fields that are not to be written. */
  readonly mayWrite: (document: JsonObject) => Effect.Effect<void, Answer.Refused>
}

const isFor = (user: CurrentUser.User | undefined, { roles = [], scopes = [] }: Reserved): boolean =>
  user !== undefined &&
  (roles.some((role) => user.roles.includes(role)) || scopes.some((scope) => user.scopes.includes(scope)))

const isRecord = (json: Json): json is JsonObject => typeof json === "object" && json !== null && !Array.isArray(json)

const has = (document: JsonObject, [head = "", ...rest]: ReadonlyArray<string>): boolean => {
  if (!Object.hasOwn(document, head)) return false
  const value = document[head]
  // Whoever writes the whole of it writes its fields, too.
  return rest.length === 0 || value === undefined || !isRecord(value) || has(value, rest)
}

/** Gives what the user of the fiber sees. It is made once for all who see the same. */
export const make = (definition: Definition<DynamicSchema>, settings: Settings): Effect.Effect<Sight> => {
  const { name } = definition
  const known = new Map<string, Sight>()

  const sightOf = (protect: ReadonlyArray<Query.Path>, readonly: ReadonlyArray<string>): Sight => {
    const mayAskFor = Filters.protectedFrom(name, protect)
    return {
      show: Wire.toPublic(definition, { protect }),
      showSome: Wire.toPublic(definition, { protect, system: true }),
      mayAskFor,
      readonly,
      columns: Export.columnsOf(definition).filter((path) => mayAskFor.allows(path)),
      mayWrite: (document) => {
        const found = readonly.filter((path) => has(document, path.split(".")))
        return found.length === 0
          ? Effect.void
          : Answer.refuse(403, "ReadOnly", "these fields are not for you to write: see issues", {
              issues: found.map((path) => ({ path: path.split("."), message: "Expected no such field" }))
            })
      }
    }
  }

  if (settings.protectUnless.length + settings.readonlyUnless.length === 0)
    return Effect.succeed(sightOf(settings.protect, settings.readonly))
  return Effect.map(CurrentUser.CurrentUser, (user) => {
    const hidden = settings.protectUnless.filter((one) => !isFor(user, one)).flatMap(({ paths }) => paths)
    const kept = settings.readonlyUnless.filter((one) => !isFor(user, one)).flatMap(({ paths }) => paths)
    const key = JSON.stringify([hidden, kept])
    const before = known.get(key)
    if (before !== undefined) return before
    const made = sightOf([...settings.protect, ...hidden], [...settings.readonly, ...kept])
    known.set(key, made)
    return made
  })
}
