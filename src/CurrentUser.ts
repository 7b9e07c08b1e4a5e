/**
 * The user on whose behalf a fiber runs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Json, JsonObject } from "./encoding/Json.ts"

/**
 * Somebody who is authenticated.
 *
 * @category models
 * @since 0.1.0
 */
export interface User {
  readonly id: string
  readonly roles: ReadonlyArray<string>
  readonly scopes: ReadonlyArray<string>
  /** What the token said of the user, as it was. */
  readonly claims: JsonObject
}

/**
 * The user on whose behalf the fiber runs. Where it is not provided, the caller is anonymous.
 *
 * @category services
 * @since 0.1.0
 */
export class CurrentUser extends Context.Service<CurrentUser, User>()("effect-s3db/CurrentUser") {}

/**
 * The current user, if there is one.
 *
 * @category getters
 * @since 0.1.0
 */
export const currentUser: Effect.Effect<User | undefined> = Effect.map(
  Effect.serviceOption(CurrentUser),
  Option.getOrUndefined
)

/**
 * A user by id. Roles, scopes and claims are empty by default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (id: string, parts: Partial<Omit<User, "id">> = {}): User => ({
  id,
  roles: parts.roles ?? [],
  scopes: parts.scopes ?? [],
  claims: parts.claims ?? {}
})

/**
 * The user of a token that has been verified: `sub` is the id; scopes come from `scope`, separated by spaces; roles from
 * `roles`, `realm_access.roles` and `resource_access[azp].roles`.
 *
 * `None` when there is no `sub`: treat the caller as anonymous. Claims of another form than expected count as absent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromClaims = (claims: JsonObject): Option.Option<User> => {
  const id = member(claims, "sub")
  if (typeof id !== "string" || id === "") return Option.none()
  const scope = member(claims, "scope")
  const client = member(claims, "azp")
  const roles = [
    ...texts(member(claims, "roles")),
    ...texts(member(member(claims, "realm_access"), "roles")),
    ...(typeof client === "string" ? texts(member(member(member(claims, "resource_access"), client), "roles")) : [])
  ]
  return Option.some({
    id,
    roles: [...new Set(roles)],
    scopes: typeof scope === "string" ? scope.split(" ").filter((one) => one !== "") : [],
    claims
  })
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const member = (value: Json | undefined, name: string): Json | undefined =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

const texts = (value: Json | undefined): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : []
