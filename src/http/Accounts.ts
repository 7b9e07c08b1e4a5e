/**
 * Logging in with a name and a password: registration, login, tokens that are renewed, logout, change of the password.
 *
 * The users are documents of a resource of your own. A login gives a token for requests, which counts for some minutes (`Jwt`), and a refresh
 * token, which gives the next pair once. A refresh token that is used a second time ends its session: one of the two who had it stole it.
 *
 * **Details**
 *
 * - A refresh token is `s3dbr_ID_SECRET`: the id of its session, and 256 random bits, of which the session has the SHA-256. It is exchanged by
 *   compare-and-set: of any number of processes that get one token at once, one at most gives the next pair.
 * - A name that nobody has, and a wrong password, cost the same work and get the same answer. So do registrations of names that are taken.
 * - Attempts are counted by account and by address before anything is read, by Effect's `RateLimiter`: with the store of
 *   `persistence/RateLimiter` all processes count together. While they cannot be counted nobody logs in.
 * - A change of the password ends all sessions, also one that begins with the old password at that moment.
 *
 * **Gotchas**
 *
 * A token for requests cannot be taken back: after a logout it counts until it ends, 15 minutes at most by default.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hex from "effect/encoding/Hex"
import type * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import type * as PasswordHasher from "../crypto/PasswordHasher.ts"
import * as CurrentUser from "../CurrentUser.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { sameBytes } from "../internal/bytes.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { sha256 } from "../internal/sha256.ts"
import type * as Pipeline from "../Pipeline.ts"
import * as Plugin from "../Plugin.ts"
import type * as Repository from "../Repository.ts"
import * as Resource from "../Resource.ts"
import type { PasswordHash } from "../schema/PasswordHash.ts"
import { Unavailable } from "../storage/StoreError.ts"
import type { Authentication } from "./Authentication.ts"
import * as Answer from "./internal/answer.ts"
import * as Body from "./internal/body.ts"
import * as Gate from "./internal/gate.ts"
import * as Passwords from "./internal/passwords.ts"
import * as Jwt from "./Jwt.ts"
import * as Problem from "./Problem.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A name and a password that are nobody's. The answer is the same whichever of them is wrong.
 *
 * @remedy Try again with the right ones.
 * @category errors
 * @since 0.1.0
 */
export class InvalidLogin extends ExpectedError<InvalidLogin>("effect-s3db/http/Accounts/InvalidLogin")(
  "InvalidLogin",
  {},
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return "the name or the password is wrong"
  }
}

/**
 * A refresh token that does not count. `Reused`: it was used before, and its session has been ended for everybody.
 *
 * @remedy Log in again. The caller is told no more; `why` is for the program's log.
 * @category errors
 * @since 0.1.0
 */
export class InvalidRefreshToken extends ExpectedError<InvalidRefreshToken>(
  "effect-s3db/http/Accounts/InvalidRefreshToken"
)(
  "InvalidRefreshToken",
  { why: Schema.Literals(["Malformed", "Unknown", "Reused", "Ended", "Expired"]) },
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return `the refresh token does not count: ${this.why}`
  }
}

/**
 * Too many attempts for an account, or from an address.
 *
 * @remedy Wait as long as `retryAfterMillis` says.
 * @category errors
 * @since 0.1.0
 */
export class TooManyAttempts extends ExpectedError<TooManyAttempts>("effect-s3db/http/Accounts/TooManyAttempts")(
  "TooManyAttempts",
  { retryAfterMillis: Schema.Number },
  { httpApiStatus: 429 }
) {
  override get message(): string {
    return "these were too many attempts: wait"
  }
}

/**
 * A new password, a name or an option that is not taken. Nothing was written.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidAccounts extends ExpectedError<InvalidAccounts>("effect-s3db/http/Accounts/InvalidAccounts")(
  "InvalidAccounts",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `accounts, ${this.field}: ${this.problem}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The users, in terms of a resource of your own. These run for somebody who is not logged in: where the resource has a guard,
 * provide the user that it lets in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Users<in out Account> {
  /** Who logs in by this name. */
  readonly find: (name: string) => Effect.Effect<Account | undefined, DbError.DbError | Pipeline.Rejected>
  /** Who has this id, which is that of `user`. */
  readonly get: (id: string) => Effect.Effect<Account | undefined, DbError.DbError | Pipeline.Rejected>
  /** `undefined`: somebody who cannot log in by a password. */
  readonly hash: (account: Account) => PasswordHash | undefined
  /** `undefined`: somebody who cannot log in any more. */
  readonly user: (account: Account) => CurrentUser.User | undefined
  readonly setPassword: (
    id: string,
    password: Redacted.Redacted<string>
  ) => Effect.Effect<unknown, Repository.ChangeError>
  /** Makes an account. Default: nobody can register. Fails with `UniqueViolation` or `AlreadyExists` where the name is taken. */
  readonly register?: ((given: Registration) => Effect.Effect<unknown, Repository.InsertError>) | undefined
}

/**
 * What somebody gives to register. `profile` is as it was sent: take from it what you want, and nothing like a role.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registration {
  readonly name: string
  readonly password: Redacted.Redacted<string>
  readonly profile: JsonObject
}

/**
 * So many in so long a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limit {
  readonly limit: number
  readonly window: Duration.Input
}

/**
 * How accounts work.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly issuer: string
  readonly audience: string
  /**
   * Secrets that sign tokens, at least 32 bytes each: the first signs, all are taken. To change it put a new one before, and leave out the old one
   * when its tokens have ended.
   */
  readonly secrets: readonly [Redacted.Redacted<string>, ...Array<Redacted.Redacted<string>>]
  /** How long a token for requests counts. Default: 15 minutes. */
  readonly expiresIn?: Duration.Input | undefined
  /** How long a session lasts, however often it is renewed. Default: 30 days. */
  readonly sessionFor?: Duration.Input | undefined
  /** Sessions of one user: the oldest end. Default: 20. */
  readonly maxSessions?: number | undefined
  /** Attempts by account. Default: 10 in 15 minutes. Who knows a name can use them up. */
  readonly byAccount?: Limit | undefined
  /** Attempts by address. Default: 100 in 15 minutes. */
  readonly byAddress?: Limit | undefined
  /** Characters of a new password, at least. Default: 12. */
  readonly minLength?: number | undefined
  /** Tells instances apart that have sessions of their own. Default: none. */
  readonly namespace?: string | undefined
  /**
   * Keeps the refresh token in a cookie that no script can read (`__Host-`, HttpOnly, Secure, SameSite=Strict), for browsers. Only pages of `origin`
   * can log in, refresh and log out then: others get 403. Default: it is in the answer.
   */
  readonly cookies?: { readonly origin: string } | undefined
}

/**
 * What a login gives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tokens {
  readonly accessToken: Redacted.Redacted<string>
  readonly refreshToken: Redacted.Redacted<string>
  /** Of the first, in seconds. */
  readonly expiresIn: number
  /** Of the second, in milliseconds since 1970. */
  readonly endsAt: number
}

/**
 * The accounts of a program.
 *
 * @category services
 * @since 0.1.0
 */
export class Accounts extends Context.Service<
  Accounts,
  {
    /** Begins a session. Beside what `Users` and the counters ask: 1 LIST, 1 GET for each session of the user, 1 PUT, and `get` once more. */
    readonly login: (
      name: string,
      password: Redacted.Redacted<string>,
      address: string
    ) => Effect.Effect<
      Tokens,
      InvalidLogin | TooManyAttempts | Repository.InsertError | Repository.ChangeError | Repository.ListError
    >
    /** Exchanges a refresh token. 1 GET and 1 PUT, and `get` of the user. */
    readonly refresh: (
      token: Redacted.Redacted<string>
    ) => Effect.Effect<Tokens, InvalidRefreshToken | Repository.ChangeError>
    /** Ends the session of a refresh token, if it counts; with `everywhere` all sessions of its user. One that was used before ends its own session alone. */
    readonly logout: (
      token: Redacted.Redacted<string>,
      options?: { readonly everywhere?: boolean | undefined }
    ) => Effect.Effect<void, Repository.ChangeError | Repository.ListError>
    /** Ends all sessions of a user. */
    readonly endSessions: (user: string) => Effect.Effect<void, Repository.ChangeError | Repository.ListError>
    /** Changes the password of somebody who gives the present one, and ends all sessions. */
    readonly changePassword: (
      user: string,
      present: Redacted.Redacted<string>,
      next: Redacted.Redacted<string>,
      address: string
    ) => Effect.Effect<
      void,
      InvalidLogin | InvalidAccounts | TooManyAttempts | Repository.ChangeError | Repository.ListError
    >
    /** Makes an account, or nothing where the name is taken: nobody learns which. `false`: nobody can register. */
    readonly register: (
      given: Registration,
      address: string
    ) => Effect.Effect<boolean, InvalidAccounts | TooManyAttempts | Repository.InsertError>
    /** For `Authentication.bearer`. */
    readonly verifier: Jwt.Verifier
    readonly cookies: Options["cookies"]
  }
>()("effect-s3db/http/Accounts") {}

/**
 * The plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("accounts", { version: 1 })

// -----------------------------------------------------------------------------
// Layer
// -----------------------------------------------------------------------------

const Session = Schema.Struct({
  id: Schema.String,
  user: Schema.NonEmptyString,
  /** SHA-256 of the secret of the one refresh token that counts, hexadecimal. */
  digest: Schema.String,
  issuedAt: Schema.Date,
  refreshedAt: Schema.Date,
  expiresAt: Schema.Date,
  endedAt: Schema.optionalKey(Schema.Date)
})

const form = /^s3dbr_([0-9A-Za-z_-]{22})_([0-9A-Za-z_-]{43})$/
const tokenType = "at+jwt"
const maxNameLength = 256

const digestOf = (text: string): Uint8Array => sha256(new TextEncoder().encode(text))

const positiveMillis = (field: string, given: Duration.Input) => {
  const millis = Option.match(Duration.fromInput(given), { onNone: () => 0, onSome: Duration.toMillis })
  return millis > 0 && Number.isFinite(millis)
    ? Effect.succeed(millis)
    : Effect.fail(new InvalidAccounts({ field, problem: "it is a finite duration of more than 0" }))
}

const checkName = (name: string) =>
  name === "" || name.length > maxNameLength || /\p{Cc}/u.test(name)
    ? Effect.fail(
        new InvalidAccounts({ field: "name", problem: `it has 1 to ${maxNameLength} characters, none of control` })
      )
    : Effect.void

const make = Effect.fnUntraced(function* <Account, E, R>(
  getUsers: Effect.Effect<Users<Account>, E, R>,
  options: Options
) {
  const { audience, issuer, maxSessions = 20, minLength = 12, namespace, secrets } = options
  const users = yield* getUsers
  const lifetime = yield* positiveMillis("expiresIn", options.expiresIn ?? "15 minutes")
  const sessionMillis = yield* positiveMillis("sessionFor", options.sessionFor ?? "30 days")
  if (!(Number.isInteger(maxSessions) && maxSessions >= 1 && maxSessions <= 1000)) {
    return yield* new InvalidAccounts({ field: "maxSessions", problem: "it is 1 to 1,000" })
  }
  if (!(Number.isInteger(minLength) && minLength >= 8 && minLength <= 1024)) {
    return yield* new InvalidAccounts({ field: "minLength", problem: "it is 8 to 1,024" })
  }
  if (options.cookies !== undefined && !URL.canParse(options.cookies.origin)) {
    return yield* new InvalidAccounts({ field: "cookies", problem: "the origin is no address" })
  }
  const signer = yield* Jwt.makeSigner({ issuer, audience, secret: secrets[0], type: tokenType, expiresIn: lifetime })
  const verifiers = yield* Effect.forEach(secrets, (secret) =>
    Jwt.makeVerifier({ issuer, audience, secret, type: tokenType })
  )
  const limiter = yield* RateLimiter.RateLimiter
  const check = yield* Passwords.make(users)
  const checkById = yield* Passwords.make({ find: users.get, hash: users.hash })
  const instance = yield* Plugin.open(plugin, namespace === undefined ? {} : { namespace })
  const sessions = yield* Resource.make(
    Resource.define(instance.resourceName("sessions"), {
      schema: Session,
      primaryKey: "id",
      partitions: { byUser: ["user"] }
    })
  )

  const count = Effect.fnUntraced(function* (
    key: string,
    { limit, window }: Limit
  ): Effect.fn.Return<void, TooManyAttempts | DbError.DbError> {
    const counted = yield* Effect.result(limiter.consume({ key, limit, window, onExceeded: "fail" }))
    if (Result.isSuccess(counted)) return
    const { reason } = counted.failure
    if (reason._tag === "RateLimitExceeded") {
      return yield* new TooManyAttempts({ retryAfterMillis: Duration.toMillis(reason.retryAfter) })
    }
    yield* Effect.logWarning("attempts to log in cannot be counted, and are refused", counted.failure)
    return yield* DbError.make(
      "Accounts.login",
      new Unavailable({ description: "attempts cannot be counted", sent: false })
    )
  })
  const countAddress = (address: string) =>
    count(`accounts address ${address}`, options.byAddress ?? { limit: 100, window: "15 minutes" })
  /** Spellings of one name count together; a key is as long as any other, and says nothing of the name. */
  const countAccount = (name: string) =>
    count(
      `accounts account ${Hex.encode(digestOf(name.normalize("NFKC").toLowerCase()))}`,
      options.byAccount ?? { limit: 10, window: "15 minutes" }
    )

  const checkPassword = (field: string, password: Redacted.Redacted<string>) => {
    const text = Redacted.value(password)
    return Array.from(text.slice(0, 4 * minLength)).length < minLength || new TextEncoder().encode(text).length > 4096
      ? Effect.fail(
          new InvalidAccounts({ field, problem: `it has at least ${minLength} characters, and at most 4,096 bytes` })
        )
      : Effect.void
  }

  const tokensOf = Effect.fnUntraced(function* (user: CurrentUser.User, id: string, secret: string, endsAt: number) {
    const { claims, roles, scopes } = user
    const accessToken = yield* signer.sign(user.id, { ...claims, roles: [...roles], scope: scopes.join(" ") })
    const refreshToken = Redacted.make(`s3dbr_${id}_${secret}`, { label: "refresh token" })
    return { accessToken, refreshToken, expiresIn: Math.ceil(lifetime / 1000), endsAt }
  })

  const end = Effect.fnUntraced(function* (id: string): Effect.fn.Return<void, Repository.ChangeError> {
    const endedAt = new Date(yield* Clock.currentTimeMillis)
    yield* Effect.catchTag(sessions.update(id, { endedAt }), "NotFound", () => Effect.void)
  })

  const sessionsOf = (user: string) => Stream.runCollect(sessions.query({ partition: "byUser", values: { user } }))

  /** Those that are over go, and the oldest of too many. */
  const makeRoom = Effect.fnUntraced(function* (user: string, now: number) {
    const known = (yield* sessionsOf(user)).toSorted((a, b) => b.refreshedAt.getTime() - a.refreshedAt.getTime())
    const isOver = (session: typeof Session.Type) => session.endedAt !== undefined || session.expiresAt.getTime() <= now
    const living = known.filter((session) => !isOver(session))
    yield* Effect.forEach(
      [...known.filter(isOver), ...living.slice(maxSessions - 1)],
      ({ id }) => Effect.catchTag(sessions.delete(id), "NotFound", () => Effect.void),
      { concurrency: 8, discard: true }
    )
  })

  const find = Effect.fnUntraced(function* (token: Redacted.Redacted<string>) {
    const [, id, secret] = form.exec(Redacted.value(token)) ?? []
    if (id === undefined || secret === undefined) return yield* new InvalidRefreshToken({ why: "Malformed" })
    const found = yield* Effect.catchTag(
      sessions.getDocument(id),
      "NotFound",
      () => new InvalidRefreshToken({ why: "Unknown" })
    )
    const { digest, endedAt, expiresAt } = found.value
    const isRight = sameBytes(
      Result.getOrElse(Hex.decode(digest), () => new Uint8Array(0)),
      digestOf(secret)
    )
    const now = yield* Clock.currentTimeMillis
    return { found, id, isRight, isEnded: endedAt !== undefined, isOver: expiresAt.getTime() <= now }
  })

  const reused = (id: string) =>
    Effect.logWarning("a refresh token was used again: its session has been ended").pipe(
      Effect.andThen(end(id)),
      Effect.andThen(new InvalidRefreshToken({ why: "Reused" }))
    )

  const endSessions = Effect.fn("Accounts.endSessions")(function* (user: string) {
    yield* Effect.forEach(yield* sessionsOf(user), ({ id }) => end(id), { concurrency: 8, discard: true })
  })

  yield* instance.running()
  return Accounts.of({
    login: Effect.fn("Accounts.login")(function* (name, password, address) {
      yield* countAddress(address)
      yield* countAccount(name)
      const isName = name !== "" && name.length <= maxNameLength && !/\p{Cc}/u.test(name)
      // A name that cannot be is looked for as one that nobody has.
      const account = isName ? yield* check(name, password) : yield* Effect.as(check("", password), undefined)
      const user = account === undefined ? undefined : users.user(account)
      if (account === undefined || user === undefined) return yield* new InvalidLogin()
      const now = yield* Clock.currentTimeMillis
      yield* makeRoom(user.id, now)
      const id = yield* Id.random
      const secret = yield* Id.randomOf(43)
      const at = new Date(now)
      const expiresAt = new Date(now + sessionMillis)
      const digest = Hex.encode(digestOf(secret))
      yield* sessions.insert({ id, user: user.id, digest, issuedAt: at, refreshedAt: at, expiresAt })
      // The password may have been changed in between, and the sessions been ended without this one.
      const present = yield* users.get(user.id)
      if (present === undefined || !Equal.equals(users.hash(present), users.hash(account))) {
        yield* end(id)
        return yield* new InvalidLogin()
      }
      return yield* tokensOf(user, id, secret, expiresAt.getTime())
    }),
    refresh: Effect.fn("Accounts.refresh")(function* (token) {
      const { found, id, isEnded, isOver, isRight } = yield* find(token)
      if (isEnded) return yield* new InvalidRefreshToken({ why: "Ended" })
      if (isOver) return yield* new InvalidRefreshToken({ why: "Expired" })
      if (!isRight) return yield* reused(id)
      const account = yield* users.get(found.value.user)
      const user = account === undefined ? undefined : users.user(account)
      if (user === undefined) {
        yield* end(id)
        return yield* new InvalidRefreshToken({ why: "Ended" })
      }
      const secret = yield* Id.randomOf(43)
      const refreshedAt = new Date(yield* Clock.currentTimeMillis)
      const next = yield* sessions.update(found, { digest: Hex.encode(digestOf(secret)), refreshedAt }).pipe(
        Effect.catchTag("Conflict", () => reused(id)),
        Effect.catchTag("NotFound", () => new InvalidRefreshToken({ why: "Ended" }))
      )
      return yield* tokensOf(user, id, secret, next.expiresAt.getTime())
    }),
    logout: Effect.fn("Accounts.logout")(function* (token, { everywhere = false } = {}) {
      const known = yield* Effect.catchTag(find(token), "InvalidRefreshToken", () => Effect.succeed(undefined))
      if (known === undefined || known.isEnded) return
      // Nobody can tell whether who has an old token is its owner.
      yield* everywhere && known.isRight && !known.isOver ? endSessions(known.found.value.user) : end(known.id)
    }),
    endSessions,
    changePassword: Effect.fn("Accounts.changePassword")(function* (id, present, next, address) {
      yield* countAddress(address)
      yield* countAccount(`id ${id}`)
      yield* checkPassword("next", next)
      if ((yield* checkById(id, present)) === undefined) return yield* new InvalidLogin()
      yield* users.setPassword(id, next)
      yield* endSessions(id)
    }),
    register: Effect.fn("Accounts.register")(function* (given, address) {
      if (users.register === undefined) return false
      yield* countAddress(address)
      yield* checkName(given.name)
      yield* checkPassword("password", given.password)
      yield* Effect.catchTag(users.register(given), ["UniqueViolation", "AlreadyExists"], () => Effect.void)
      return true
    }),
    verifier: {
      verify: Effect.fn("Accounts.verify")(function* (token) {
        const [first, ...others] = verifiers
        let result = yield* Effect.result(first!.verify(token))
        for (const { verify } of others) {
          const isOfAnother =
            Result.isFailure(result) && result.failure._tag === "InvalidToken" && result.failure.why === "Signature"
          if (!isOfAnother) break
          result = yield* Effect.result(verify(token))
        }
        return yield* Effect.fromResult(result)
      })
    },
    cookies: options.cookies
  })
})

/**
 * Creates the accounts of a program. Beside what `users` needs it needs the counters of attempts: `RateLimiter.layer` with
 * `RateLimiter.layerStore` of `persistence/RateLimiter`, so that all processes count together. It hashes twice when it is made.
 *
 * Fails with `InvalidAccounts` and `Jwt.InvalidOptions` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Account, E, R>(
  users: Effect.Effect<Users<Account>, E, R>,
  options: Options
): Layer.Layer<
  Accounts,
  E | InvalidAccounts | Jwt.InvalidOptions | PasswordHasher.PasswordError | Plugin.InvalidPlugin | DbError.DbError,
  R | Database | PasswordHasher.PasswordHasher | RateLimiter.RateLimiter
> => Layer.effect(Accounts, make(users, options))

// -----------------------------------------------------------------------------
// HTTP
// -----------------------------------------------------------------------------

const Credentials = Schema.Struct({ name: Schema.String, password: Schema.String })
const Registered = Schema.Struct({
  name: Schema.String,
  password: Schema.String,
  profile: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
const Refresh = Schema.Struct({
  refreshToken: Schema.optionalKey(Schema.String.annotate({ description: "left out where it is in a cookie" }))
})
const Leaving = Schema.Struct({
  ...Refresh.fields,
  everywhere: Schema.optionalKey(
    Schema.Boolean.annotate({
      description: "ends all sessions of the user, who may prove that by being logged in, too"
    })
  )
})
const Change = Schema.Struct({ present: Schema.String, next: Schema.String })
const Granted = Schema.Struct({
  accessToken: Schema.String,
  tokenType: Schema.Literal("Bearer"),
  expiresIn: Schema.Int.annotate({ description: "seconds" }),
  refreshToken: Schema.optionalKey(Schema.String)
}).annotate({ identifier: "accounts.tokens" })
const Me = Schema.Struct({
  id: Schema.String,
  roles: Schema.Array(Schema.String),
  scopes: Schema.Array(Schema.String)
}).annotate({ identifier: "accounts.me" })

const problems = (...statuses: ReadonlyArray<number>) =>
  [400, 401, 403, 413, 415, 429, 500, 503, ...statuses].map(Problem.withStatus)

const described = (summary: string, access: "authenticated" | "public") =>
  Context.merge(Context.make(Gate.Access, access), OpenApi.annotations({ summary }))

/**
 * The endpoints of accounts, for an `HttpApi`: `register`, `login`, `refresh`, `logout`, `password` and `me` below `/accounts`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = HttpApiGroup.make("accounts")
  .add(
    HttpApiEndpoint.post("register", "/accounts/register", {
      payload: Registered,
      success: HttpApiSchema.Empty(202),
      error: problems(404)
    }).annotateMerge(described("Makes an account", "public")),
    HttpApiEndpoint.post("login", "/accounts/login", {
      payload: Credentials,
      success: Granted,
      error: problems()
    }).annotateMerge(described("Logs in", "public")),
    HttpApiEndpoint.post("refresh", "/accounts/refresh", {
      payload: Refresh,
      success: Granted,
      error: problems()
    }).annotateMerge(described("Exchanges a refresh token", "public")),
    HttpApiEndpoint.post("logout", "/accounts/logout", {
      payload: Leaving,
      success: HttpApiSchema.NoContent,
      error: problems()
    }).annotateMerge(described("Ends a session, or all of them", "public")),
    HttpApiEndpoint.post("password", "/accounts/password", {
      payload: Change,
      success: HttpApiSchema.NoContent,
      error: problems()
    }).annotateMerge(described("Changes the password, and ends all sessions", "authenticated")),
    HttpApiEndpoint.get("me", "/accounts/me", {
      success: Me,
      error: problems()
    }).annotateMerge(described("Who is logged in", "authenticated"))
  )
  .middleware(Gate.Gate)
  .annotate(OpenApi.Description, "Logging in and out")

const maxBodyBytes = 16 * 1024
const cookieName = "__Host-s3db-refresh"
const cookieOptions = { path: "/", httpOnly: true, secure: true, sameSite: "strict" } as const
const uncached = { "cache-control": "no-store" }

const bodyOf = Effect.fnUntraced(function* <A>(
  schema: Schema.Codec<A, unknown>,
  request: HttpServerRequest
): Effect.fn.Return<A, Answer.Refused> {
  const json = yield* Body.json(request, maxBodyBytes)
  return yield* Schema.decodeUnknownEffect(schema)(json, { onExcessProperty: "error" }).pipe(
    // Not even the names of members: somebody may have put a secret there.
    Effect.catch(() => Answer.refuse(400, "InvalidRequest", "the body does not have the form that the API describes"))
  )
})

const addressOf = ({ remoteAddress }: HttpServerRequest): string => Option.getOrElse(remoteAddress, () => "unknown")

const redacted = (text: string) => Redacted.make(text, { label: "secret" })

/** Cookies go with whatever page asks: it has to be one of ours. */
const checkOrigin = (cookies: Options["cookies"], { headers }: HttpServerRequest) =>
  cookies === undefined || headers["origin"] === new URL(cookies.origin).origin
    ? Effect.void
    : Answer.refuse(403, "WrongOrigin", "this is for pages of another origin")

type Failure = Answer.Failure | InvalidLogin | InvalidRefreshToken | TooManyAttempts | InvalidAccounts

const answering = (effect: Effect.Effect<HttpServerResponse.HttpServerResponse, Failure>) =>
  Effect.flatMap(Gate.RequestId, (requestId) => {
    const plain = Effect.catchTags(effect, {
      InvalidLogin: ({ message }) => Answer.refuse(401, "InvalidLogin", message),
      InvalidRefreshToken: (error) =>
        Effect.andThen(
          Effect.logDebug(error.message),
          Answer.refuse(401, "InvalidRefreshToken", "the refresh token does not count: log in")
        ),
      InvalidAccounts: ({ field, problem }) => Answer.refuse(400, "InvalidAccounts", `${field}: ${problem}`),
      TooManyAttempts: ({ message, retryAfterMillis }) =>
        Effect.succeed(
          HttpServerResponse.setHeader(
            Problem.toResponse(Problem.make(429, "TooManyAttempts", message, { requestId })),
            "retry-after",
            String(Math.max(1, Math.ceil(retryAfterMillis / 1000)))
          )
        )
    })
    return Effect.map(Answer.told(plain, requestId), HttpServerResponse.setHeaders(uncached))
  })

/**
 * Implements the endpoints in an API that `group` is part of.
 *
 * @category layers
 * @since 0.1.0
 */
export const handlers = <ApiId extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<ApiId, Groups>
): Layer.Layer<HttpApiGroup.Service<ApiId, "accounts">, never, Accounts | Authentication> => {
  // The same group, which may have a prefix: the name is the key by which both find it.
  const erased = api as unknown as HttpApi.HttpApi<ApiId, typeof group>
  const made = HttpApiBuilder.group(
    erased,
    "accounts",
    Effect.fnUntraced(function* (handlers) {
      const accounts = yield* Accounts
      const { cookies } = accounts
      const tokenIn = (request: HttpServerRequest, refreshToken: string | undefined) =>
        redacted((cookies === undefined ? refreshToken : request.cookies[cookieName]) ?? "")
      const tokenOf = Effect.fnUntraced(function* (request: HttpServerRequest) {
        yield* checkOrigin(cookies, request)
        return tokenIn(request, (yield* bodyOf(Refresh, request)).refreshToken)
      })
      const granted = ({ accessToken, endsAt, expiresIn, refreshToken }: Tokens) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const answer = HttpServerResponse.jsonUnsafe({
            accessToken: Redacted.value(accessToken),
            tokenType: "Bearer",
            expiresIn,
            ...(cookies === undefined ? { refreshToken: Redacted.value(refreshToken) } : {})
          })
          return cookies === undefined
            ? answer
            : HttpServerResponse.setCookieUnsafe(answer, cookieName, Redacted.value(refreshToken), {
                ...cookieOptions,
                maxAge: Math.max(0, endsAt - now)
              })
        })
      const over = Effect.sync(() => {
        const answer = HttpServerResponse.empty({ status: 204 })
        return cookies === undefined
          ? answer
          : HttpServerResponse.setCookieUnsafe(answer, cookieName, "", { ...cookieOptions, maxAge: 0 })
      })
      return handlers
        .handleRaw("register", ({ request }) =>
          answering(
            Effect.gen(function* () {
              const { name, password, profile = {} } = yield* bodyOf(Registered, request)
              const given = { name, password: redacted(password), profile }
              const isOpen = yield* accounts.register(given, addressOf(request))
              return isOpen
                ? HttpServerResponse.empty({ status: 202 })
                : yield* Answer.refuse(404, "NoRegistration", "nobody can register here")
            })
          )
        )
        .handleRaw("login", ({ request }) =>
          answering(
            Effect.gen(function* () {
              yield* checkOrigin(cookies, request)
              const { name, password } = yield* bodyOf(Credentials, request)
              return yield* granted(yield* accounts.login(name, redacted(password), addressOf(request)))
            })
          )
        )
        .handleRaw("refresh", ({ request }) =>
          answering(Effect.flatMap(Effect.flatMap(tokenOf(request), accounts.refresh), granted))
        )
        .handleRaw("logout", ({ request }) =>
          answering(
            Effect.gen(function* () {
              yield* checkOrigin(cookies, request)
              const { everywhere, refreshToken } = yield* bodyOf(Leaving, request)
              const user = yield* CurrentUser.CurrentUser
              yield* accounts.logout(tokenIn(request, refreshToken), { everywhere })
              if (everywhere === true && user !== undefined) yield* accounts.endSessions(user.id)
              return yield* over
            })
          )
        )
        .handleRaw("password", ({ request }) =>
          answering(
            Effect.gen(function* () {
              const { id } = yield* CurrentUser.required
              const { next, present } = yield* bodyOf(Change, request)
              yield* accounts.changePassword(id, redacted(present), redacted(next), addressOf(request))
              return yield* over
            })
          )
        )
        .handleRaw("me", () =>
          answering(
            Effect.map(CurrentUser.required, ({ id, roles, scopes }) =>
              HttpServerResponse.jsonUnsafe({ id, roles, scopes })
            )
          )
        )
    })
  )
  return Layer.provide(made, Gate.layer)
}
