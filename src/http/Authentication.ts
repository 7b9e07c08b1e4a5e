/**
 * Who is there: the port by which the HTTP API learns on whose behalf a request is made.
 *
 * The API is closed until a program provides it, and there is no layer that lets everybody in: what is public is named, resource by
 * resource, with `HttpResources.expose`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Base64 from "effect/encoding/Base64"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { OpenAPISecurityScheme } from "effect/http-api/OpenApi"
import * as CurrentUser from "../CurrentUser.ts"
import type * as PasswordHasher from "../crypto/PasswordHasher.ts"
import * as DbError from "../DbError.ts"
import { sameBytes } from "../internal/bytes.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { sha256 } from "../internal/sha256.ts"
import * as Pipeline from "../Pipeline.ts"
import type { PasswordHash } from "../schema/PasswordHash.ts"
import { Unavailable } from "../storage/StoreError.ts"
import * as ApiKeys from "./ApiKeys.ts"
import * as PathRules from "./internal/pathRules.ts"
import * as Passwords from "./internal/passwords.ts"
import type * as Jwt from "./Jwt.ts"

/**
 * Options of a way to log in that would be unsafe or can do nothing.
 *
 * @remedy Correct the option that `option` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidAuthentication extends ExpectedError<InvalidAuthentication>(
  "effect-s3db/http/Authentication/InvalidAuthentication"
)("InvalidAuthentication", { option: Schema.String, description: Schema.String }) {
  override get message(): string {
    return `${this.option}: ${this.description}`
  }
}

/**
 * Finds out who sends a request.
 *
 * @category services
 * @since 0.1.0
 */
export class Authentication extends Context.Service<
  Authentication,
  {
    /**
     * The user, or `undefined` where the request names nobody. `Unauthenticated`: it names somebody, and does not prove it; such a
     * request is refused also where anybody may come in. `Rejected`: somebody may not do this, 403.
     */
    readonly authenticate: (
      request: HttpServerRequest
    ) => Effect.Effect<CurrentUser.User | undefined, CurrentUser.Unauthenticated | DbError.DbError | Pipeline.Rejected>
    /** How to log in, for `WWW-Authenticate`: at least one. */
    readonly challenges: readonly [string, ...Array<string>]
    /** The same for the OpenAPI document, by name. Answers vary by the headers that these name, and by cookies: caches keep users apart by that. */
    readonly schemes: Readonly<Record<string, OpenAPISecurityScheme>>
  }
>()("effect-s3db/http/Authentication") {}

/**
 * Knows nobody: what is not public answers 401. For an API that is public as a whole.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAnonymous: Layer.Layer<Authentication> = Layer.succeed(Authentication, {
  authenticate: () => Effect.succeed(undefined),
  challenges: ["Bearer"],
  schemes: { bearer: { type: "http", scheme: "bearer" } }
})

/**
 * Asks a function who sends a request, such as one that looks at a header that a gateway before the API has set. One that goes by a cookie, or by a
 * header that a browser sends, says so in `schemes`: else the browser may show somebody what it has kept for the user before.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFrom = (
  authenticate: Authentication["Service"]["authenticate"],
  options: Partial<Pick<Authentication["Service"], "challenges" | "schemes">> = {}
): Layer.Layer<Authentication> =>
  Layer.succeed(Authentication, {
    authenticate,
    challenges: options.challenges ?? ["Bearer"],
    schemes: options.schemes ?? { bearer: { type: "http", scheme: "bearer" } }
  })

/** What a request is asked for, before it is a layer. */
type Ways = Authentication["Service"]

const unauthenticated = new CurrentUser.Unauthenticated()

/**
 * Takes a token in `Authorization: Bearer`, as `Jwt.makeVerifier` and `Jwt.makeRemoteVerifier` tell it. Another kind of `Authorization` names
 * nobody here. Where the issuer's keys cannot be had the answer is 503.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bearer = ({ verify }: Jwt.Verifier): Ways => ({
  authenticate: Effect.fnUntraced(function* ({ headers }) {
    const [, token] = /^Bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(headers["authorization"] ?? "") ?? []
    if (token === undefined) {
      return /^Bearer\b/i.test(headers["authorization"] ?? "") ? yield* Effect.fail(unauthenticated) : undefined
    }
    return yield* Effect.catchTags(verify(Redacted.make(token)), {
      InvalidToken: (error) => Effect.andThen(Effect.logDebug(error.message), Effect.fail(unauthenticated)),
      KeysUnavailable: ({ message }) =>
        Effect.fail(DbError.make("Authentication.bearer", new Unavailable({ description: message, sent: false })))
    })
  }),
  challenges: ["Bearer"],
  schemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } }
})

/**
 * Takes a key in a header, as `ApiKeys` tells it. A request without the header names nobody.
 *
 * @category constructors
 * @since 0.1.0
 */
export const apiKey: Effect.Effect<Ways, never, ApiKeys.ApiKeys> = Effect.map(ApiKeys.ApiKeys, ({ verify }): Ways => ({
  authenticate: Effect.fnUntraced(function* ({ headers }) {
    const key = headers["x-api-key"]
    if (key === undefined) return undefined
    return yield* Effect.catchTags(verify(Redacted.make(key)), {
      InvalidApiKey: (error) => Effect.andThen(Effect.logDebug(error.message), Effect.fail(unauthenticated)),
      Rejected: () => Effect.fail(unauthenticated)
    })
  }),
  challenges: ["ApiKey"],
  schemes: { apiKey: { type: "apiKey", in: "header", name: "x-api-key" } }
}))

/**
 * Tells whose a name and a password are: `undefined`, they are nobody's.
 *
 * @category models
 * @since 0.1.0
 */
export type Check = (
  name: string,
  password: Redacted.Redacted<string>
) => Effect.Effect<CurrentUser.User | undefined, DbError.DbError | Pipeline.Rejected>

/**
 * Where the users are, and what of them is the hash of the password.
 *
 * @category models
 * @since 0.1.0
 */
export interface PasswordsOptions<in out Account> {
  /** Who has this name; `undefined`: nobody. */
  readonly find: (name: string) => Effect.Effect<Account | undefined, DbError.DbError | Pipeline.Rejected>
  /** `undefined`: somebody who cannot log in by a password. */
  readonly hash: (account: Account) => PasswordHash | undefined
  /** `undefined`: somebody who cannot log in any more. */
  readonly user: (account: Account) => CurrentUser.User | undefined
}

/**
 * Makes a check of the users of a resource of your own. Whoever is there or not, one hash is verified: neither the answer nor the time
 * tells which names there are. It hashes once when it is made, with the hasher's options.
 *
 * @category constructors
 * @since 0.1.0
 */
export const passwords = <Account>(
  options: NoInfer<PasswordsOptions<Account>> & Pick<PasswordsOptions<Account>, "find">
): Effect.Effect<Check, PasswordHasher.PasswordError, PasswordHasher.PasswordHasher> =>
  Effect.map(
    Passwords.make(options),
    (check): Check =>
      (name, password) =>
        Effect.map(check(name, password), (account) => (account === undefined ? undefined : options.user(account)))
  )

/** What no name has: with it in a log or a header it would be another text. */
const isControl = /\p{Cc}/u

const credentialsOf = (given: string): readonly [string, Redacted.Redacted<string>] | undefined => {
  const bytes = Result.getOrUndefined(Base64.decode(given))
  if (bytes === undefined) return undefined
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
  const colon = text.indexOf(":")
  if (colon < 1 || colon > maxNameLength || isControl.test(text)) return undefined
  return [text.slice(0, colon), Redacted.make(text.slice(colon + 1), { label: "password" })]
}

const maxNameLength = 256

/**
 * Takes a name and a password in `Authorization: Basic` (RFC 7617), in UTF-8; the password may have colons. Another kind of
 * `Authorization` names nobody here. Each request verifies a password: that is slow on purpose, so limit the rate (`RateLimit`), and give
 * programs keys.
 *
 * @category constructors
 * @since 0.1.0
 */
export const basic = Effect.fnUntraced(function* (
  check: Check,
  { realm = "api" }: { readonly realm?: string | undefined } = {}
): Effect.fn.Return<Ways, InvalidAuthentication> {
  if (!/^[ !#-[\]-~]+$/.test(realm)) {
    return yield* new InvalidAuthentication({ option: "realm", description: "it has printable ASCII, no quotes" })
  }
  return {
    authenticate: Effect.fnUntraced(function* ({ headers }) {
      const given = headers["authorization"] ?? ""
      if (!/^Basic\b/i.test(given)) return undefined
      const [, text = ""] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(given) ?? []
      const credentials = credentialsOf(text)
      const user = credentials === undefined ? undefined : yield* check(...credentials)
      return user ?? (yield* unauthenticated)
    }),
    challenges: [`Basic realm="${realm}", charset="UTF-8"`],
    schemes: { basic: { type: "http", scheme: "basic" } }
  }
})

/**
 * A secret that programs send in a header, and who they are then.
 *
 * @category models
 * @since 0.1.0
 */
export interface HeaderSecretOptions {
  /** Such as `x-admin-secret`. */
  readonly header: string
  /** Each counts, so that one can be replaced by another. At least 32 bytes of UTF-8. */
  readonly secrets: readonly [Redacted.Redacted<string>, ...Array<Redacted.Redacted<string>>]
  readonly user: CurrentUser.User
}

const digestOf = (text: string): Uint8Array => sha256(new TextEncoder().encode(text))

/**
 * Takes a secret in a header of its own. A request without the header names nobody; one that has it twice, or wrong, is refused. The
 * time that it takes says nothing of the secrets.
 *
 * @category constructors
 * @since 0.1.0
 */
export const headerSecret = Effect.fnUntraced(function* ({
  header,
  secrets,
  user
}: HeaderSecretOptions): Effect.fn.Return<Ways, InvalidAuthentication> {
  const name = header.toLowerCase()
  if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || name === "authorization" || name === "cookie") {
    return yield* new InvalidAuthentication({ option: "header", description: "name a header of its own" })
  }
  if (secrets.some((secret) => new TextEncoder().encode(Redacted.value(secret)).length < 32)) {
    return yield* new InvalidAuthentication({
      option: "secrets",
      description: "each needs at least 32 bytes: make one at random"
    })
  }
  const digests = secrets.map((secret) => digestOf(Redacted.value(secret)))
  return {
    authenticate: ({ headers }) => {
      const given = headers[name]
      if (given === undefined) return Effect.succeed(undefined)
      const digest = digestOf(given)
      // All of them, whichever it is.
      const matches = digests.filter((one) => sameBytes(one, digest))
      return matches.length > 0 ? Effect.succeed(user) : Effect.fail(unauthenticated)
    },
    challenges: ["Secret"],
    schemes: { [name]: { type: "apiKey", in: "header", name } }
  }
})

/**
 * Who may use what is below a path.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule extends PathRules.Pattern {
  /**
   * `anybody`: as far as the endpoint itself lets them. Somebody who is logged in otherwise, with one of the roles and all of the scopes that
   * are named.
   */
  readonly allow: "anybody" | "authenticated" | Permission
}

/**
 * What somebody has to have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permission {
  /** One of them. */
  readonly roles?: readonly [string, ...Array<string>] | undefined
  /** All of them. */
  readonly scopes?: readonly [string, ...Array<string>] | undefined
  /** Whether service accounts are let in, see `ApiKeys`. Default: `true`. */
  readonly serviceAccounts?: boolean | undefined
}

const mayPass = ({ roles, scopes, serviceAccounts = true }: Permission, user: CurrentUser.User): boolean =>
  (roles?.some((role) => user.roles.includes(role)) ?? true) &&
  (scopes?.every((scope) => user.scopes.includes(scope)) ?? true) &&
  (serviceAccounts || !ApiKeys.isServiceAccount(user))

/**
 * Lets in by path: the rule with the most specific path decides, whatever the order. Where no rule has the path, or the one that has it does
 * not have the method, nobody is let in: 401 for who is not logged in, and 403 for others.
 *
 * **Details**
 *
 * In a path `*` and `:name` stand for one segment, and `**` at its end for any number of them, also none. A text is more specific than `*`, and
 * that than `**`, from the left on. Paths are compared as the router does: segments are decoded one by one, empty ones do not count. A path
 * with `.` or `..` as a segment, `;`, `\`, a control character or a wrong escape is nowhere. `HEAD` goes by the rule of `GET`.
 *
 * A rule can only take away: what an endpoint or a guard demands is demanded all the same.
 *
 * Fails with `InvalidAuthentication` for a path of another form, and for two rules of one path and method.
 *
 * @category combinators
 * @since 0.1.0
 */
export const pathRules = Effect.fnUntraced(function* (
  ways: Ways,
  rules: readonly [Rule, ...Array<Rule>]
): Effect.fn.Return<Ways, InvalidAuthentication> {
  const table = PathRules.make(rules)
  if (Result.isFailure(table)) {
    return yield* new InvalidAuthentication({ option: "rules", description: table.failure })
  }
  const find = table.success
  return {
    ...ways,
    authenticate: Effect.fnUntraced(function* (request) {
      const user = yield* ways.authenticate(request)
      const allow = find(request.method, request.originalUrl)?.allow
      if (allow === "anybody") return user
      if (user === undefined) return yield* unauthenticated
      if (allow === "authenticated" || (allow !== undefined && mayPass(allow, user))) return user
      return yield* new Pipeline.Rejected({
        resource: "http",
        operation: "request",
        interceptor: "Authentication.pathRules",
        reason: "you may not use this",
        code: "Forbidden"
      })
    })
  }
})

/**
 * Asks one way after the other: the first that names somebody counts. Who names somebody and does not prove it is refused, whatever
 * the others would say.
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOf = (...ways: readonly [Ways, ...Array<Ways>]): Ways => ({
  authenticate: Effect.fnUntraced(function* (request) {
    for (const { authenticate } of ways) {
      const user = yield* authenticate(request)
      if (user !== undefined) return user
    }
    return undefined
  }),
  challenges: [ways[0].challenges[0], ...ways.flatMap(({ challenges }) => challenges).slice(1)],
  schemes: Object.assign({}, ...ways.map(({ schemes }) => schemes)) as Ways["schemes"]
})

/**
 * Takes the ways to log in from an effect, such as one that makes a verifier of tokens.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(ways: Effect.Effect<Ways, E, R>): Layer.Layer<Authentication, E, R> =>
  Layer.effect(Authentication, ways)
