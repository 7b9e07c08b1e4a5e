/**
 * What an OpenID provider is asked, and what of its answers is believed.
 *
 * `Oidc` logs people in with it. The flow is that of the authorization code with PKCE (S256) and a nonce; nothing is taken from the browser
 * but the code.
 *
 * **Details**
 *
 * - The discovery document and the keys are asked for when they are first needed, kept, and used for a while longer where the provider
 *   does not answer: a program starts without it. No answer is waited for longer than `timeout`.
 * - A token counts by the checks of `Jwt`, and those of OpenID Connect Core 3.1.3.7: one audience or `azp`, the nonce, a subject.
 * - Addresses in the discovery document are `https`, or those of this machine; its `issuer` is the one that was given, to the letter. No redirect
 *   is followed by `FetchHttpClient`; other clients do so only where they are told to.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import * as CurrentUser from "../CurrentUser.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { sameBytes } from "../internal/bytes.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { isObject } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import * as Addresses from "./internal/addresses.ts"
import * as Published from "./internal/published.ts"
import * as Jwt from "./Jwt.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The provider does not answer, not in time, or with something else than what the standard says.
 *
 * @remedy Try again. Where it lasts, look at the address of the provider, and at the network.
 * @category errors
 * @since 0.1.0
 */
export class ProviderUnavailable extends ExpectedError<ProviderUnavailable>(
  "effect-s3db/http/OidcProvider/ProviderUnavailable"
)("ProviderUnavailable", { provider: Schema.String, description: Schema.String }, { httpApiStatus: 503 }) {
  override get message(): string {
    return `the provider ${this.provider} cannot be asked: ${this.description}`
  }
}

/**
 * The provider says no: `error` is the code of RFC 6749, such as `access_denied` where somebody did not want to, and `invalid_grant` for a code or
 * a refresh token that does not count any more.
 *
 * @remedy Log in again. `invalid_client` is for the program: look at the id and the secret of the client.
 * @category errors
 * @since 0.1.0
 */
export class ProviderRefused extends ExpectedError<ProviderRefused>("effect-s3db/http/OidcProvider/ProviderRefused")(
  "ProviderRefused",
  { provider: Schema.String, error: Schema.String },
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return `the provider ${this.provider} refused: ${this.error}`
  }
}

/**
 * A token of the provider that does not count. Beside the reasons of `Jwt.InvalidToken`:
 *
 * - `Missing`: there is none where there has to be one.
 * - `Nonce`: it was made for another login.
 * - `AuthorizedParty`: it was made for another client.
 * - `Subject`: it does not say whom it is of, or the answers of the provider are of two people.
 * - `Events`: it is no logout token.
 * - `Replayed`: it has been used.
 *
 * @remedy Log in again. The caller is told no more; `why` is for the program's log.
 * @category errors
 * @since 0.1.0
 */
export class InvalidProviderToken extends ExpectedError<InvalidProviderToken>(
  "effect-s3db/http/OidcProvider/InvalidProviderToken"
)(
  "InvalidProviderToken",
  {
    provider: Schema.String,
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
      "Claims",
      "Missing",
      "Nonce",
      "AuthorizedParty",
      "Subject",
      "Events",
      "Replayed"
    ])
  },
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return `the token of the provider ${this.provider} does not count: ${this.why}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A provider, and what it knows this program as.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** In addresses, and before the ids of its users: lower-case letters, digits and `-`. */
  readonly name: string
  /** Exactly as the provider writes it. The discovery document is below it. */
  readonly issuer: string
  readonly clientId: string
  /** Default: none, a public client. */
  readonly clientSecret?: Redacted.Redacted<string> | undefined
  /** How the secret is sent: in `Authorization`, or in the body. Default: `basic`. */
  readonly clientAuthentication?: "basic" | "post" | undefined
  /** Beside `openid`. Default: none. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Parameters of the authorization request beside those of the flow, such as `prompt` or `acr_values`. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** Algorithms of its tokens. Default: `RS256`. */
  readonly algorithms?: readonly [Jwt.Algorithm, ...Array<Jwt.Algorithm>] | undefined
  /** How far clocks may differ. Default: 30 seconds; at most 5 minutes. */
  readonly clockTolerance?: Duration.Input | undefined
  /** How long each answer may take. Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How long the discovery document and the keys are used before they are asked for again. Default: 10 minutes. */
  readonly cacheFor?: Duration.Input | undefined
  /** How much longer they are used while the provider does not answer. Default: 1 hour. */
  readonly staleFor?: Duration.Input | undefined
  /** A key that nobody knows is asked for at most that often. Default: 30 seconds. */
  readonly cooldown?: Duration.Input | undefined
  /** Whether the claims of the userinfo endpoint are asked for: 1 request for each login. Default: `false`. */
  readonly userinfo?: boolean | undefined
}

/**
 * What the discovery document says, as far as it is used.
 *
 * @category models
 * @since 0.1.0
 */
export interface Metadata {
  readonly issuer: string
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly jwks_uri: string
  readonly userinfo_endpoint?: string | undefined
  readonly end_session_endpoint?: string | undefined
  readonly authorization_response_iss_parameter_supported?: boolean | undefined
}

/**
 * What the provider gives for a code or a refresh token.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenSet {
  readonly accessToken: Redacted.Redacted<string>
  readonly idToken: Redacted.Redacted<string> | undefined
  readonly refreshToken: Redacted.Redacted<string> | undefined
  /** Of the access token, in seconds. */
  readonly expiresIn: number | undefined
}

/**
 * Whose sessions a logout token ends, and what makes it one of a kind.
 *
 * @category models
 * @since 0.1.0
 */
export interface LogoutToken {
  readonly subject: string | undefined
  readonly sid: string | undefined
  readonly id: string
  /** In milliseconds since 1970. */
  readonly issuedAt: number
}

type Asking = ProviderUnavailable | ProviderRefused

/**
 * A provider that can be asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Provider {
  readonly name: string
  readonly clientId: string
  readonly asksUserinfo: boolean
  /** 1 request, unless it is known. */
  readonly metadata: Effect.Effect<Metadata, ProviderUnavailable>
  /** Where somebody logs in. */
  readonly authorizationUrl: (given: {
    readonly redirectUri: string
    readonly state: string
    readonly nonce: string
    readonly verifier: Redacted.Redacted<string>
  }) => Effect.Effect<string, ProviderUnavailable>
  /** Exchanges a code. 1 request. */
  readonly exchange: (given: {
    readonly code: Redacted.Redacted<string>
    readonly redirectUri: string
    readonly verifier: Redacted.Redacted<string>
  }) => Effect.Effect<TokenSet, Asking>
  /** Exchanges a refresh token. 1 request. */
  readonly refresh: (token: Redacted.Redacted<string>) => Effect.Effect<TokenSet, Asking>
  /** The claims of an ID token that counts. `nonce`: of the login that it has to be for. */
  readonly verify: (
    token: Redacted.Redacted<string>,
    nonce: string | undefined
  ) => Effect.Effect<JsonObject, InvalidProviderToken | ProviderUnavailable>
  /** The claims of the userinfo endpoint, which have to be of the same subject; none where the provider has no such endpoint. 1 request. */
  readonly userinfo: (
    accessToken: Redacted.Redacted<string>,
    subject: string
  ) => Effect.Effect<JsonObject, InvalidProviderToken | Asking>
  /** What a logout token that counts is about (OpenID Connect Back-Channel Logout 1.0). */
  readonly verifyLogout: (
    token: Redacted.Redacted<string>
  ) => Effect.Effect<LogoutToken, InvalidProviderToken | ProviderUnavailable>
}

// -----------------------------------------------------------------------------
// Constructor
// -----------------------------------------------------------------------------

const Discovered = Schema.Struct({
  issuer: Schema.String,
  authorization_endpoint: Schema.String,
  token_endpoint: Schema.String,
  jwks_uri: Schema.String,
  userinfo_endpoint: Schema.optionalKey(Schema.String),
  end_session_endpoint: Schema.optionalKey(Schema.String),
  authorization_response_iss_parameter_supported: Schema.optionalKey(Schema.Boolean)
})
const decodeDiscovered = Schema.decodeUnknownEffect(Discovered)

const Granted = Schema.Struct({
  access_token: Schema.NonEmptyString,
  token_type: Schema.String,
  id_token: Schema.optionalKey(Schema.String),
  refresh_token: Schema.optionalKey(Schema.String),
  expires_in: Schema.optionalKey(Schema.Finite)
})
const decodeGranted = Schema.decodeUnknownEffect(Granted)
const decodeRefused = Schema.decodeUnknownOption(Schema.Struct({ error: Schema.String }))
const isJsonObject = Schema.is(Schema.Record(Schema.String, Schema.Json))

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
const flowParameters = new Set([
  "response_type",
  "response_mode",
  "client_id",
  "redirect_uri",
  "scope",
  "state",
  "nonce",
  "code_challenge",
  "code_challenge_method",
  "request",
  "request_uri"
])

/** Codes of errors come from the browser, too: nothing else gets into a log. */
const errorCode = (given: string): string => (/^[a-z_]{1,64}$/.test(given) ? given : "unknown_error")

/**
 * Makes the error of an answer of the provider that is none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refused = (provider: string, error: string): ProviderRefused =>
  new ProviderRefused({ provider, error: errorCode(error) })

/** RFC 6749, 2.3.1: both are encoded as in a form before they are put together. */
const formEncoded = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1)

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const textOf = (claims: JsonObject, name: string): string | undefined => {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined
  return typeof value === "string" && value !== "" && value.length <= 1024 ? value : undefined
}

/** What a provider says of itself, and who judges its tokens by it. */
interface Described {
  readonly metadata: Metadata
  readonly verifier: Jwt.Verifier
}

const check = (isRight: boolean, option: string, description: string) =>
  isRight ? Effect.void : Effect.fail(new Jwt.InvalidOptions({ option, description }))

/**
 * Creates a provider. No request. Fails with `Jwt.InvalidOptions`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("OidcProvider.make")(function* (
  options: Options
): Effect.fn.Return<Provider, Jwt.InvalidOptions, HttpClient.HttpClient> {
  const { clientAuthentication = "basic", clientId, clientSecret, issuer, name, parameters = {} } = options
  yield* check(/^[a-z0-9](-?[a-z0-9])*$/.test(name), "name", "it has lower-case letters, digits and -")
  yield* check(Addresses.isSafe(issuer), "issuer", "it has to begin with https://")
  yield* check(!/[?#]/.test(issuer), "issuer", "it has no query and no fragment")
  yield* check(clientId !== "", "clientId", "it is empty")
  yield* check(clientSecret === undefined || Redacted.value(clientSecret) !== "", "clientSecret", "it is empty")
  const own = Object.keys(parameters).find((one) => flowParameters.has(one))
  yield* check(own === undefined, "parameters", `${own} belongs to the flow`)
  const timeout = millisecondsOf(options.timeout ?? "5 seconds")
  const cacheFor = millisecondsOf(options.cacheFor ?? "10 minutes")
  const staleFor = millisecondsOf(options.staleFor ?? "1 hour")
  for (const [option, millis] of Object.entries({ timeout, cacheFor, staleFor })) {
    yield* check(Number.isFinite(millis) && millis >= 0, option, "this is no finite duration")
  }
  const scope = [...new Set(["openid", ...(options.scopes ?? [])])].join(" ")
  const context = yield* Effect.context<HttpClient.HttpClient>()
  const init = {
    ...Option.getOrUndefined(Context.getOption(context, FetchHttpClient.RequestInit)),
    redirect: "manual"
  } as const
  // Whoever has a code or the secret of the client sent to him is in the discovery document, and not at the end of a redirect.
  const client = HttpClient.transform(Context.get(context, HttpClient.HttpClient), (response) =>
    Effect.provideService(response, FetchHttpClient.RequestInit, init)
  )

  const unavailable = (description: string) => new ProviderUnavailable({ provider: name, description })
  const invalid = (why: InvalidProviderToken["why"]) => new InvalidProviderToken({ provider: name, why })
  const within = <A, E extends { readonly message: string }>(
    effect: Effect.Effect<A, E>
  ): Effect.Effect<A, ProviderUnavailable> =>
    effect.pipe(
      Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(unavailable("no answer in time")) }),
      Effect.mapError((error) => (error instanceof ProviderUnavailable ? error : unavailable(error.message)))
    )

  const verifierOf = (url: string) =>
    Jwt.makeRemoteVerifier({
      url,
      issuer,
      audience: clientId,
      algorithms: options.algorithms ?? ["RS256"],
      clockTolerance: options.clockTolerance,
      cacheFor,
      staleFor,
      cooldown: options.cooldown,
      timeout,
      // A token is used at once: one that lies around is not.
      maxAge: "10 minutes",
      user: (claims) => Option.some(CurrentUser.make(textOf(claims, "sub") ?? "", { claims }))
    }).pipe(Effect.provideService(HttpClient.HttpClient, client))

  // What is wrong with the options is told before there is anything to be asked.
  yield* verifierOf("https://unknown.invalid/")

  const discover = Effect.fnUntraced(function* (
    before: Described | undefined
  ): Effect.fn.Return<Described, ProviderUnavailable> {
    const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`
    const answer = yield* within(
      Effect.flatMap(HttpClient.filterStatusOk(client).get(url, { acceptJson: true }), ({ json }) => json)
    )
    const metadata = yield* Effect.mapError(decodeDiscovered(answer), () =>
      unavailable("the discovery document lacks what OpenID Connect demands")
    )
    if (metadata.issuer !== issuer) return yield* unavailable("the discovery document is of another issuer")
    const { authorization_endpoint, end_session_endpoint, jwks_uri, token_endpoint, userinfo_endpoint } = metadata
    const all = [authorization_endpoint, end_session_endpoint, jwks_uri, token_endpoint, userinfo_endpoint]
    if (!all.every((one) => one === undefined || Addresses.isSafe(one))) {
      return yield* unavailable("the discovery document has addresses that are not https")
    }
    // Its keys are known already where they are where they were.
    const verifier =
      before?.metadata.jwks_uri === jwks_uri
        ? before.verifier
        : yield* Effect.mapError(verifierOf(jwks_uri), ({ message }) => unavailable(message))
    return { metadata, verifier }
  })

  const described = yield* Published.make(discover, { cacheFor, staleFor })
  const current = Effect.map(described.current, ({ value }) => value)

  const claimsOf = Effect.fnUntraced(function* (token: Redacted.Redacted<string>, isLogout: boolean) {
    const { verifier } = yield* current
    const { claims } = yield* Effect.catchTags(verifier.verify(token), {
      InvalidToken: ({ why }) => invalid(why),
      KeysUnavailable: ({ message }) => unavailable(message)
    })
    const { typ = "" } = jose.decodeProtectedHeader(Redacted.value(token))
    const type = typ.toLowerCase().replace(/^application\//, "")
    // An access token has another type (RFC 9068). Providers need not say any, but for logout tokens they should.
    if (!["", "jwt", ...(isLogout ? ["logout+jwt"] : [])].includes(type)) return yield* invalid("Type")
    return claims
  })

  const answered = Effect.fnUntraced(function* (
    response: HttpClientResponse
  ): Effect.fn.Return<unknown, ProviderUnavailable | ProviderRefused> {
    const { status } = response
    if (status >= 500 || status === 429) return yield* unavailable(`it answered ${status}`)
    const json = yield* Effect.mapError(response.json, () => unavailable(`it answered ${status}, and no JSON`))
    if (status >= 200 && status <= 299) return json
    const told = status >= 400 ? decodeRefused(json) : Option.none()
    return Option.isSome(told) ? yield* refused(name, told.value.error) : yield* unavailable(`it answered ${status}`)
  })

  const ask = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.gen(function* () {
      const asked = Effect.flatMap(
        Effect.mapError(client.execute(HttpClientRequest.acceptJson(request)), ({ message }) => unavailable(message)),
        answered
      )
      return yield* Effect.timeoutOrElse(asked, {
        duration: timeout,
        orElse: () => Effect.fail(unavailable("no answer in time"))
      })
    })

  const tokensBy = Effect.fnUntraced(function* (given: Readonly<Record<string, string>>) {
    const { metadata } = yield* current
    const isPosted = clientSecret === undefined || clientAuthentication === "post"
    const body = {
      ...given,
      ...(isPosted ? { client_id: clientId } : {}),
      ...(clientSecret !== undefined && isPosted ? { client_secret: Redacted.value(clientSecret) } : {})
    }
    const request = HttpClientRequest.bodyUrlParams(HttpClientRequest.post(metadata.token_endpoint), body)
    const json = yield* ask(
      isPosted
        ? request
        : HttpClientRequest.basicAuth(
            request,
            formEncoded(clientId),
            Redacted.make(formEncoded(Redacted.value(clientSecret)))
          )
    )
    const granted = yield* Effect.mapError(decodeGranted(json), () =>
      unavailable("the answer with the tokens does not have the form of the standard")
    )
    const token = (text: string | undefined, label: string) =>
      text === undefined || text === "" ? undefined : Redacted.make(text, { label })
    return {
      accessToken: Redacted.make(granted.access_token, { label: "access token" }),
      idToken: token(granted.id_token, "ID token"),
      refreshToken: token(granted.refresh_token, "refresh token"),
      expiresIn: granted.expires_in
    }
  })

  return {
    name,
    clientId,
    asksUserinfo: options.userinfo === true,
    metadata: Effect.map(current, ({ metadata }) => metadata),

    authorizationUrl: Effect.fnUntraced(function* ({ nonce, redirectUri, state, verifier }) {
      const { metadata } = yield* current
      const url = new URL(metadata.authorization_endpoint)
      const all = {
        ...parameters,
        response_type: "code",
        client_id: clientId,
        redirect_uri: redirectUri,
        scope,
        state,
        nonce,
        code_challenge: Base64Url.encode(sha256(utf8(Redacted.value(verifier)))),
        code_challenge_method: "S256"
      }
      for (const [key, value] of Object.entries(all)) url.searchParams.set(key, value)
      return url.href
    }),

    exchange: Effect.fn("OidcProvider.exchange")(function* ({ code, redirectUri, verifier }) {
      return yield* tokensBy({
        grant_type: "authorization_code",
        code: Redacted.value(code),
        redirect_uri: redirectUri,
        code_verifier: Redacted.value(verifier)
      })
    }),

    refresh: Effect.fn("OidcProvider.refresh")(function* (token) {
      return yield* tokensBy({ grant_type: "refresh_token", refresh_token: Redacted.value(token) })
    }),

    verify: Effect.fn("OidcProvider.verify")(function* (token, nonce) {
      const claims = yield* claimsOf(token, false)
      const { aud, azp } = claims
      const isForOthers = Array.isArray(aud) && aud.length > 1
      if (azp === undefined ? isForOthers : azp !== clientId) return yield* invalid("AuthorizedParty")
      if (nonce !== undefined && !sameBytes(utf8(textOf(claims, "nonce") ?? ""), utf8(nonce))) {
        return yield* invalid("Nonce")
      }
      return textOf(claims, "sub") === undefined ? yield* invalid("Subject") : claims
    }),

    userinfo: Effect.fn("OidcProvider.userinfo")(function* (accessToken, subject) {
      const { userinfo_endpoint } = (yield* current).metadata
      if (userinfo_endpoint === undefined) return {}
      const json = yield* ask(HttpClientRequest.bearerToken(HttpClientRequest.get(userinfo_endpoint), accessToken))
      if (!isJsonObject(json)) return yield* unavailable("the claims of the userinfo endpoint are no object")
      return textOf(json, "sub") === subject ? json : yield* invalid("Subject")
    }),

    verifyLogout: Effect.fn("OidcProvider.verifyLogout")(function* (token) {
      const claims = yield* claimsOf(token, true)
      const { events, iat } = claims
      const event = isObject(events) && Object.hasOwn(events, logoutEvent) ? events[logoutEvent] : undefined
      if (!isObject(event)) return yield* invalid("Events")
      if (Object.hasOwn(claims, "nonce")) return yield* invalid("Nonce")
      const subject = textOf(claims, "sub")
      const sid = textOf(claims, "sid")
      const id = textOf(claims, "jti")
      if (subject === undefined && sid === undefined) return yield* invalid("Subject")
      if (id === undefined || typeof iat !== "number") return yield* invalid("Claims")
      return { subject, sid, id, issuedAt: iat * 1000 }
    })
  }
})
