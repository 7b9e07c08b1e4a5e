/**
 * Tokens that say who somebody is: verified by the keys of whoever issues them, or signed and verified by a key of one's own.
 *
 * A token counts if its signature is that of a key that was agreed on, made by an algorithm that was agreed on, and if it is meant for this
 * audience, comes from this issuer and is valid now. Everything else is `InvalidToken`, which says to the caller no more than that; `why` is for
 * one's own log. The checks are those of RFC 8725: algorithms are pinned, `none` is never among them, a key of one kind is not taken for one
 * of another. The cryptography is that of `jose`.
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import * as Jwt from "effect-s3db/http/Jwt"
 *
 * const program = Effect.gen(function* () {
 *   const options = { issuer: "https://id.example.com", audience: "https://api.example.com" }
 *   const secret = Redacted.make("a secret of at least 32 bytes, from a vault")
 *   const signer = yield* Jwt.makeSigner({ ...options, secret })
 *   const verifier = yield* Jwt.makeVerifier({ ...options, secret })
 *   const token = yield* signer.sign("ana", { roles: ["editor"] })
 *   return yield* verifier.verify(token) // { id: "ana", roles: ["editor"], ... }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import { millisecondsOf } from "../internal/duration.ts"
import * as CurrentUser from "../CurrentUser.ts"
import * as Id from "../crypto/Id.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as Addresses from "./internal/addresses.ts"
import * as Published from "./internal/published.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A token that does not count. The answer to the caller is 401, whatever the reason.
 *
 * - `Malformed`: it is no signed token, or one of more than 16 KB.
 * - `Algorithm`: it is signed in a way that is not accepted.
 * - `UnknownKey`: none of the issuer's keys has its `kid`.
 * - `Signature`: it was not signed by the key, or was changed.
 * - `Expired`, `NotYetValid`: by the clock, with the tolerance.
 * - `Issuer`, `Audience`, `Type`: it is of somebody else, for somebody else, or of another kind.
 * - `Claims`: a claim that is needed is missing or of another form.
 *
 * @remedy Log in again. For the program `why` says more, and belongs into its log.
 * @category errors
 * @since 0.1.0
 */
export class InvalidToken extends ExpectedError<InvalidToken>("effect-s3db/http/Jwt/InvalidToken")(
  "InvalidToken",
  {
    why: Schema.Literals([
      "Malformed",
      "Algorithm",
      "UnknownKey",
      "Signature",
      "Expired",
      "NotYetValid",
      "Issuer",
      "Audience",
      "Type",
      "Claims"
    ])
  },
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return `the token does not count: ${this.why}`
  }
}

/**
 * The keys of the issuer cannot be had: nobody can be told from anybody.
 *
 * @remedy Try again. Where it lasts, look at the address of the issuer's keys, and at the network.
 * @category errors
 * @since 0.1.0
 */
export class KeysUnavailable extends ExpectedError<KeysUnavailable>("effect-s3db/http/Jwt/KeysUnavailable")(
  "KeysUnavailable",
  { url: Schema.String, description: Schema.String },
  { httpApiStatus: 503 }
) {
  override get message(): string {
    return `the keys at ${this.url} cannot be had: ${this.description}`
  }
}

/**
 * Options that would be unsafe or can do nothing.
 *
 * @remedy Correct the option that `option` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidOptions extends ExpectedError<InvalidOptions>("effect-s3db/http/Jwt/InvalidOptions")(
  "InvalidOptions",
  { option: Schema.String, description: Schema.String }
) {
  override get message(): string {
    return `${this.option}: ${this.description}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Ways to sign with a key pair (RFC 7518, RFC 8037): who verifies cannot sign.
 *
 * @category models
 * @since 0.1.0
 */
export type Algorithm =
  | "RS256"
  | "RS384"
  | "RS512"
  | "PS256"
  | "PS384"
  | "PS512"
  | "ES256"
  | "ES384"
  | "ES512"
  | "EdDSA"

/**
 * What a token has to be.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expected {
  /** The `iss` of a token, exactly. */
  readonly issuer: string
  /** One of these has to be the `aud` of a token, or in it. */
  readonly audience: string | ReadonlyArray<string>
  /** The `typ` of a token, such as `at+jwt` for access tokens of RFC 9068. Default: any. */
  readonly type?: string | undefined
  /** How far clocks may differ. Default: 30 seconds; at most 5 minutes. */
  readonly clockTolerance?: Duration.Input | undefined
  /** How old a token may be at most by its `iat`, whatever it says itself. Default: no limit but its `exp`, which is needed. */
  readonly maxAge?: Duration.Input | undefined
  /** The user of a token that counts; `None` is a token that lacks something. Default: `CurrentUser.fromClaims`. */
  readonly user?: ((claims: JsonObject) => Option.Option<CurrentUser.User>) | undefined
}

/**
 * A secret that the one who signs and the one who verifies have in common (HS256): at least 32 bytes of UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export interface SecretOptions extends Expected {
  readonly secret: Redacted.Redacted<string>
}

/**
 * Public keys as JSON Web Keys (RFC 7517). A key that is symmetric or private is refused.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeysOptions extends Expected {
  readonly keys: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly algorithms: readonly [Algorithm, ...Array<Algorithm>]
}

/**
 * The address of the issuer's keys, such as the `jwks_uri` of its discovery document.
 *
 * @category models
 * @since 0.1.0
 */
export interface JwksOptions extends Expected {
  /** Over `https`; `http` for a machine's own addresses only. */
  readonly url: string
  readonly algorithms: readonly [Algorithm, ...Array<Algorithm>]
  /** How long keys are used before they are asked for again. Default: 10 minutes. */
  readonly cacheFor?: Duration.Input | undefined
  /** How much longer they are used while the issuer does not answer. Default: 1 hour. */
  readonly staleFor?: Duration.Input | undefined
  /** A `kid` that nobody has is asked for at most that often: strangers must not make us ask. Default: 30 seconds. */
  readonly cooldown?: Duration.Input | undefined
  /** How long an answer may take. Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Tells tokens that count from those that do not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verifier {
  /** Returns who the token is of. Makes no request but for keys: see `makeRemoteVerifier`. */
  readonly verify: (token: Redacted.Redacted<string>) => Effect.Effect<CurrentUser.User, InvalidToken | KeysUnavailable>
}

/**
 * Makes tokens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signer {
  /**
   * A token for somebody, who is its `sub`. Claims that the signer sets itself (`iss`, `sub`, `aud`, `iat`, `nbf`, `exp`, `jti`) are not taken from
   * what is given.
   */
  readonly sign: (subject: string, claims?: JsonObject) => Effect.Effect<Redacted.Redacted<string>>
}

/**
 * How tokens are made.
 *
 * @category models
 * @since 0.1.0
 */
export interface SignerOptions extends Pick<Expected, "issuer" | "audience" | "type"> {
  /** Of HS256, at least 32 bytes of UTF-8. */
  readonly secret: Redacted.Redacted<string>
  /** How long a token counts. Default: 15 minutes; at most 1 day. */
  readonly expiresIn?: Duration.Input | undefined
}

// -----------------------------------------------------------------------------
// Verifying
// -----------------------------------------------------------------------------

const asymmetric: ReadonlyArray<Algorithm> = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA"
]
const maxTokenLength = 16_384
const maxTolerance = Duration.minutes(5)

const millisOf = (option: string, given: Duration.Input | undefined, by: Duration.Input) => {
  const millis = millisecondsOf(given ?? by)
  if (Number.isNaN(millis)) return Effect.fail(new InvalidOptions({ option, description: "this is no duration" }))
  return Number.isFinite(millis) && millis >= 0
    ? Effect.succeed(millis)
    : Effect.fail(new InvalidOptions({ option, description: "this is no finite duration" }))
}

const checkTexts = ({ audience, issuer }: Pick<Expected, "audience" | "issuer">) => {
  if (issuer === "") return Effect.fail(new InvalidOptions({ option: "issuer", description: "it is empty" }))
  const audiences = typeof audience === "string" ? [audience] : audience
  return audiences.length === 0 || audiences.includes("")
    ? Effect.fail(
        new InvalidOptions({ option: "audience", description: "it is empty: a token for anybody is for nobody" })
      )
    : Effect.succeed(audiences)
}

/** RFC 7518, 3.2: a key of HS256 has at least the length of its output. */
const secretBytes = (secret: Redacted.Redacted<string>) => {
  const bytes = new TextEncoder().encode(Redacted.value(secret))
  return bytes.length < 32
    ? Effect.fail(
        new InvalidOptions({ option: "secret", description: "it needs at least 32 bytes: make one at random" })
      )
    : Effect.succeed(bytes)
}

/** The reason by what `jose` throws. */
const reasonOf = (error: unknown): InvalidToken["why"] => {
  if (error instanceof jose.errors.JWTExpired) return "Expired"
  if (error instanceof jose.errors.JWTClaimValidationFailed) {
    switch (error.claim) {
      case "nbf":
        return "NotYetValid"
      case "iss":
        return "Issuer"
      case "aud":
        return "Audience"
      case "typ":
        return "Type"
      default:
        return "Claims"
    }
  }
  if (error instanceof jose.errors.JOSEAlgNotAllowed || error instanceof jose.errors.JOSENotSupported)
    return "Algorithm"
  if (error instanceof jose.errors.JWSSignatureVerificationFailed) return "Signature"
  if (error instanceof jose.errors.JWKSNoMatchingKey || error instanceof jose.errors.JWKSMultipleMatchingKeys) {
    return "UnknownKey"
  }
  return "Malformed"
}

type FindKey = (header: jose.JWSHeaderParameters, token: jose.FlattenedJWSInput) => Promise<jose.CryptoKey | Uint8Array>

/** The checks of one token, by a way to find the key. */
const checking = Effect.fnUntraced(function* (expected: Expected, algorithms: ReadonlyArray<string>) {
  const audience = yield* checkTexts(expected)
  const tolerance = yield* millisOf("clockTolerance", expected.clockTolerance, "30 seconds")
  if (tolerance > Duration.toMillis(maxTolerance)) {
    return yield* new InvalidOptions({ option: "clockTolerance", description: "it is at most 5 minutes" })
  }
  const maxAge = expected.maxAge === undefined ? undefined : yield* millisOf("maxAge", expected.maxAge, 0)
  const userOf = expected.user ?? CurrentUser.fromClaims
  const { issuer, type } = expected
  return Effect.fnUntraced(function* (token: string, key: FindKey): Effect.fn.Return<CurrentUser.User, InvalidToken> {
    const now = yield* Clock.currentTimeMillis
    const { payload } = yield* Effect.tryPromise({
      try: () =>
        jose.jwtVerify(token, key, {
          algorithms: [...algorithms],
          issuer,
          audience: [...audience],
          ...(type === undefined ? {} : { typ: type }),
          ...(maxAge === undefined ? {} : { maxTokenAge: maxAge / 1000 }),
          clockTolerance: tolerance / 1000,
          currentDate: new Date(now),
          requiredClaims: ["exp"]
        }),
      catch: (error) => new InvalidToken({ why: reasonOf(error) })
    })
    const user = userOf(payload as JsonObject)
    return Option.isNone(user) ? yield* new InvalidToken({ why: "Claims" }) : user.value
  })
})

const textOf = (token: Redacted.Redacted<string>) => {
  const text = Redacted.value(token)
  return text.length > maxTokenLength ? Effect.fail(new InvalidToken({ why: "Malformed" })) : Effect.succeed(text)
}

/** Key sets hold public keys only: a symmetric one among them would let its readers sign, and a private one has no business here. */
const checkKeys = (keys: ReadonlyArray<Readonly<Record<string, unknown>>>) =>
  keys.some((key) => key["kty"] === "oct" || "d" in key || "k" in key)
    ? "a key is symmetric or private: only public ones are taken"
    : undefined

/** The keys of a set, ready to be looked up. */
const lookUp = (keys: ReadonlyArray<Readonly<Record<string, unknown>>>): FindKey => {
  const find = jose.createLocalJWKSet({ keys: keys as Array<jose.JWK> })
  return (header, token) => find(header, token)
}

const checkAlgorithms = (algorithms: ReadonlyArray<string>) =>
  algorithms.length > 0 && algorithms.every((one) => asymmetric.includes(one as Algorithm))
    ? Effect.succeed(algorithms)
    : Effect.fail(
        new InvalidOptions({ option: "algorithms", description: `name one or more of ${asymmetric.join(", ")}` })
      )

const checkUrl = (url: string) =>
  Addresses.isSafe(url)
    ? Effect.void
    : Effect.fail(new InvalidOptions({ option: "url", description: "it has to begin with https://" }))

/**
 * Creates a verifier by a secret or by public keys that the program has. Makes no requests. Fails with `InvalidOptions`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeVerifier = Effect.fn("Jwt.makeVerifier")(function* (
  options: SecretOptions | KeysOptions
): Effect.fn.Return<Verifier, InvalidOptions> {
  const isSecret = "secret" in options
  const check = yield* checking(options, isSecret ? ["HS256"] : yield* checkAlgorithms(options.algorithms))
  let find: FindKey
  if (isSecret) {
    const bytes = yield* secretBytes(options.secret)
    find = () => Promise.resolve(bytes)
  } else {
    const problem = checkKeys(options.keys)
    if (problem !== undefined) return yield* new InvalidOptions({ option: "keys", description: problem })
    find = lookUp(options.keys)
  }
  return {
    verify: Effect.fn("Jwt.verify")(function* (token) {
      return yield* check(yield* textOf(token), find)
    })
  }
})

const KeySet = Schema.Struct({ keys: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)) })
const decodeKeySet = Schema.decodeUnknownEffect(KeySet)

/**
 * Creates a verifier by the keys that the issuer publishes. They are asked for with the first token, 1 request; again when they are older than
 * `cacheFor`, and once more when a token has a `kid` that none of them has, as after a change of keys, at most each `cooldown`. However many
 * tokens wait, they wait for one request. Fails with `InvalidOptions`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRemoteVerifier = Effect.fn("Jwt.makeRemoteVerifier")(function* (
  options: JwksOptions
): Effect.fn.Return<Verifier, InvalidOptions, HttpClient.HttpClient> {
  const { url } = options
  const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
  yield* checkUrl(url)
  const check = yield* checking(options, yield* checkAlgorithms(options.algorithms))
  const cacheFor = yield* millisOf("cacheFor", options.cacheFor, "10 minutes")
  const staleFor = yield* millisOf("staleFor", options.staleFor, "1 hour")
  const cooldown = yield* millisOf("cooldown", options.cooldown, "30 seconds")
  const timeout = yield* millisOf("timeout", options.timeout, "5 seconds")

  const unavailable = (description: string) => new KeysUnavailable({ url, description })

  const ask = Effect.gen(function* () {
    const answer = yield* client.get(url, { acceptJson: true })
    const { keys } = yield* decodeKeySet(yield* answer.json)
    const problem = checkKeys(keys)
    return problem === undefined ? lookUp(keys) : yield* unavailable(problem)
  }).pipe(
    Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(unavailable("no answer in time")) }),
    Effect.mapError((error) => (error._tag === "KeysUnavailable" ? error : unavailable(error.message)))
  )

  const keys = yield* Published.make(() => ask, { cacheFor, staleFor })

  /** Other keys than those of which none has the `kid` of a token, unless it was asked for them a moment ago. */
  const rotated = Effect.fnUntraced(function* (seen: Published.Known<FindKey>, error: InvalidToken) {
    const isRecent = (yield* Clock.currentTimeMillis) - keys.askedAt() < cooldown
    return isRecent && keys.latest() === seen ? yield* error : yield* keys.renewed(seen)
  })

  return {
    verify: Effect.fn("Jwt.verify")(function* (token) {
      const text = yield* textOf(token)
      const seen = yield* keys.current
      return yield* Effect.catchTag(check(text, seen.value), "InvalidToken", (error) =>
        error.why === "UnknownKey" ? Effect.flatMap(rotated(seen, error), ({ value }) => check(text, value)) : error
      )
    })
  }
})

// -----------------------------------------------------------------------------
// Signing
// -----------------------------------------------------------------------------

const maxLifetime = Duration.days(1)

/**
 * Creates a signer by a secret (HS256), for tokens that the same program verifies. Makes no requests. Fails with `InvalidOptions`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSigner = Effect.fn("Jwt.makeSigner")(function* (
  options: SignerOptions
): Effect.fn.Return<Signer, InvalidOptions> {
  const audience = yield* checkTexts(options)
  const secret = yield* secretBytes(options.secret)
  const lifetime = yield* millisOf("expiresIn", options.expiresIn, "15 minutes")
  if (lifetime === 0 || lifetime > Duration.toMillis(maxLifetime)) {
    return yield* new InvalidOptions({ option: "expiresIn", description: "it is more than 0 and at most 1 day" })
  }
  const { issuer, type = "JWT" } = options
  return {
    sign: Effect.fn("Jwt.sign")(function* (subject, claims = {}) {
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const payload = {
        ...claims,
        iss: issuer,
        sub: subject,
        aud: audience.length === 1 ? audience[0]! : [...audience],
        iat: now,
        nbf: now,
        exp: now + Math.ceil(lifetime / 1000),
        jti: yield* Id.random
      }
      const signed = new jose.SignJWT(payload).setProtectedHeader({ alg: "HS256", typ: type }).sign(secret)
      return Redacted.make(yield* Effect.promise(() => signed), { label: "token" })
    })
  }
})
