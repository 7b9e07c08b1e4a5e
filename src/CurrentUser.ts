/**
 * The user on whose behalf a fiber runs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Json, JsonObject } from "./encoding/Json.ts"
import { isObject } from "./internal/json.ts"
import { ExpectedError } from "./internal/expectedError.ts"

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
 * The user on whose behalf the fiber runs; `undefined`, the default, is an anonymous caller.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentUser: Context.Reference<User | undefined> = Context.Reference("effect-s3db/CurrentUser", {
  defaultValue: (): User | undefined => undefined
})

/**
 * The lack of a user where one is needed.
 *
 * @remedy Log in and try again. A program provides the user: `Effect.provideService(CurrentUser.CurrentUser, user)`.
 * @category errors
 * @since 0.1.0
 */
export class Unauthenticated extends ExpectedError<Unauthenticated>("effect-s3db/CurrentUser/Unauthenticated")(
  "Unauthenticated",
  {},
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return "nobody is logged in"
  }
}

/**
 * Returns the current user; fails with `Unauthenticated` where the caller is anonymous, which as a rule of a guard is a
 * denial.
 *
 * @category getters
 * @since 0.1.0
 */
export const required: Effect.Effect<User, Unauthenticated> = Effect.flatMap(CurrentUser, (user) =>
  user === undefined ? Effect.fail(new Unauthenticated()) : Effect.succeed(user)
)

/**
 * Creates a user by id. Roles, scopes and claims are empty by default.
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
 * Reads the user of a token that has been verified: `sub` is the id; scopes come from `scope`, separated by spaces; roles from
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

const member = (value: Json | undefined, name: string): Json | undefined =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

const texts = (value: Json | undefined): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : []
