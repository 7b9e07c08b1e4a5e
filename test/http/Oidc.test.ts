/** A relying party whose provider, browser or network is against it. */
import { createHash, createHmac, generateKeyPairSync } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as jose from "jose"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import type * as Jwt from "effect-s3db/http/Jwt"
import * as Oidc from "effect-s3db/http/Oidc"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { isProblem, Notes, serve, services } from "./api.ts"

const origin = "https://app.example"
const pairOf = (kid: string) => {
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 })
  return { ...pair, kid, public: { ...pair.publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" } }
}
type Pair = ReturnType<typeof pairOf>
const [keyA, keyB, keyC] = [pairOf("a"), pairOf("b"), pairOf("c")]
const seconds = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000))
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A provider that does what the standard says, but for what a test changes. */
class Fake {
  readonly issuer: string
  key: Pair
  published: ReadonlyArray<object>
  /** Claims of the next tokens in the place of the right ones. */
  claims: Record<string, unknown> = {}
  header: Record<string, unknown> = {}
  /** Makes the ID token by hand. */
  forge: ((payload: object) => string) | undefined
  discovery: Record<string, unknown> = {}
  /** An answer in the place of the right one, by path. */
  answers: Record<string, () => Effect.Effect<Response>> = {}
  asked: Array<string> = []
  /** To the token endpoint. */
  sent: Array<{ readonly authorization: string | undefined; readonly form: URLSearchParams }> = []
  readonly codes = new Map<
    string,
    { readonly nonce: string; readonly challenge: string; readonly redirectUri: string }
  >()

  constructor(issuer: string, key: Pair) {
    this.issuer = issuer
    this.key = key
    this.published = [key.public]
  }

  /** What the browser brings back of the page at this address. */
  authorize(url: string, code = `code-${this.codes.size}`): URLSearchParams {
    const asked = new URL(url).searchParams
    assert.strictEqual(asked.get("code_challenge_method"), "S256")
    this.codes.set(code, {
      nonce: asked.get("nonce")!,
      challenge: asked.get("code_challenge")!,
      redirectUri: asked.get("redirect_uri")!
    })
    return new URLSearchParams({ code, state: asked.get("state")!, iss: this.issuer })
  }

  sign(payload: object, header: object = {}): Effect.Effect<string> {
    const { kid, privateKey } = this.key
    return Effect.promise(() =>
      new jose.SignJWT({ ...payload }).setProtectedHeader({ alg: "RS256", kid, ...header }).sign(privateKey)
    )
  }

  readonly token = Effect.fnUntraced({ self: this }, function* (form: URLSearchParams) {
    const known = this.codes.get(form.get("code") ?? "")
    this.codes.delete(form.get("code") ?? "")
    const verifier = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url")
    if (known?.challenge !== verifier || known.redirectUri !== form.get("redirect_uri")) {
      return yield* json({ error: "invalid_grant" }, 400)
    }
    const now = yield* seconds
    const payload = {
      iss: this.issuer,
      aud: "the-app",
      sub: "ana",
      iat: now,
      exp: now + 300,
      nonce: known.nonce,
      sid: "sid-1",
      ...this.claims
    }
    const idToken = this.forge === undefined ? yield* this.sign(payload, this.header) : this.forge(payload)
    return yield* json({ access_token: "access", token_type: "Bearer", expires_in: 300, id_token: idToken })
  })

  answer(path: string, form: URLSearchParams): Effect.Effect<Response> {
    this.asked.push(path)
    const instead = this.answers[path]
    if (instead !== undefined) return instead()
    switch (path) {
      case "/.well-known/openid-configuration":
        return json({
          issuer: this.issuer,
          authorization_endpoint: `${this.issuer}/authorize`,
          token_endpoint: `${this.issuer}/token`,
          jwks_uri: `${this.issuer}/jwks`,
          userinfo_endpoint: `${this.issuer}/me`,
          end_session_endpoint: `${this.issuer}/end`,
          authorization_response_iss_parameter_supported: true,
          ...this.discovery
        })
      case "/jwks":
        return json({ keys: this.published })
      case "/token":
        return this.token(form)
      case "/me":
        return json({ sub: "ana", email: "ana@id.example" })
      default:
        return json({ error: "not_found" }, 404)
    }
  }
}

const json = (value: unknown, status = 200) =>
  Effect.sync(() => new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } }))

const clientOf = (...fakes: ReadonlyArray<Fake>) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) =>
      Effect.suspend(() => {
        const fake = fakes.find(({ issuer }) => request.url.startsWith(`${issuer}/`))
        const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
        const form = new URLSearchParams(body)
        if (request.url.endsWith("/token")) fake?.sent.push({ authorization: request.headers["authorization"], form })
        const answer =
          fake === undefined
            ? Effect.die(new Error(`nobody is asked at ${request.url}`))
            : fake.answer(request.url.slice(fake.issuer.length), form)
        return Effect.map(answer, (response) => HttpClientResponse.fromWeb(request, response))
      })
    )
  )

const providerOf = (fake: Fake, more: Partial<Oidc.Provider> = {}): Oidc.Provider => ({
  name: "id",
  issuer: fake.issuer,
  clientId: "the-app",
  clientSecret: Redacted.make("the secret"),
  ...more
})

const layerOf = (
  store: ObjectStore["Service"],
  client: Layer.Layer<HttpClient.HttpClient>,
  options: Pick<Oidc.Options, "providers"> & Partial<Oidc.Options>
) =>
  Oidc.layer({ origin, ...options }).pipe(
    Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
    Layer.provideMerge([Layer.succeed(ObjectStore, store), services, client])
  )

const started = Effect.fnUntraced(function* (
  { fakes, ...more }: { readonly fakes?: ReadonlyArray<Fake> } & Partial<Oidc.Options> = {},
  provider: Partial<Oidc.Provider> = {}
) {
  // Tokens have times: not those of 1970.
  yield* TestClock.setTime(1_800_000_000_000)
  const { store } = yield* MemoryStore.make()
  const fake = fakes?.[0] ?? new Fake("https://id.example", keyA)
  const process = Effect.map(
    Layer.build(
      layerOf(store, clientOf(fake, ...(fakes ?? []).slice(1)), { providers: [providerOf(fake, provider)], ...more })
    ),
    (context) => Effect.runSync(Effect.provide(Oidc.Oidc, context))
  )
  return { fake, store, oidc: yield* process, process }
})

const why = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onFailure: (error) =>
      [
        error._tag,
        ..."why error field".split(" ").flatMap((key) => (key in error ? [String(error[key as keyof E])] : []))
      ].join(" "),
    onSuccess: () => "done"
  })

type Service = Oidc.Oidc["Service"]

/** The cookies of a browser with these attempts. */
const jar = (...cookies: ReadonlyArray<Oidc.Cookie>) =>
  Object.fromEntries(cookies.map(({ name, value }) => [name, value === undefined ? "" : Redacted.value(value)]))

const logIn = Effect.fnUntraced(function* (oidc: Service, fake: Fake, before: ReadonlyArray<Oidc.Cookie> = []) {
  const { cookie, url } = yield* oidc.begin("id", "/home")
  return yield* oidc.finish("id", fake.authorize(url), jar(cookie, ...before))
})

const secretIn = ({ cookies }: { readonly cookies: ReadonlyArray<Oidc.Cookie> }) =>
  cookies.find(({ name }) => name === Oidc.cookieName)!.value!

describe("Oidc", () => {
  it.effect("an ID token that is wrong in any known way logs nobody in", () =>
    Effect.gen(function* () {
      const { fake, oidc, store } = yield* started({}, { cooldown: 0 })
      assert.strictEqual((yield* logIn(oidc, fake)).session.user.id, "id:ana")
      const now = yield* seconds
      const pem = keyA.publicKey.export({ format: "pem", type: "spki" }).toString()
      const byHand = (header: object, key?: string) => (payload: object) => {
        const text = `${encoded(header)}.${encoded(payload)}`
        return `${text}.${key === undefined ? "" : createHmac("sha256", key).update(text).digest("base64url")}`
      }
      const cases: ReadonlyArray<
        readonly [string, Partial<Pick<Fake, "claims" | "forge" | "header" | "key">>, string]
      > = [
        ["a nonce of another login", { claims: { nonce: "another" } }, "Nonce"],
        ["no nonce", { claims: { nonce: undefined } }, "Nonce"],
        ["no signature", { forge: byHand({ alg: "none" }) }, "Algorithm"],
        ["the public key as a secret", { forge: byHand({ alg: "HS256", kid: "a" }, pem) }, "Algorithm"],
        [
          "the key as it is published, as a secret",
          { forge: byHand({ alg: "HS256", kid: "a" }, JSON.stringify(keyA.public)) },
          "Algorithm"
        ],
        ["the secret of the client", { forge: byHand({ alg: "HS256" }, "the secret") }, "Algorithm"],
        ["another issuer", { claims: { iss: "https://evil.example" } }, "Issuer"],
        ["another issuer, almost", { claims: { iss: "https://id.example/" } }, "Issuer"],
        ["another audience", { claims: { aud: "another-app" } }, "Audience"],
        ["two audiences, no azp", { claims: { aud: ["the-app", "another-app"] } }, "AuthorizedParty"],
        ["the azp of another", { claims: { aud: ["the-app", "another-app"], azp: "another-app" } }, "AuthorizedParty"],
        ["one audience, the azp of another", { claims: { azp: "another-app" } }, "AuthorizedParty"],
        ["over", { claims: { exp: now - 31 } }, "Expired"],
        ["made long ago", { claims: { iat: now - 3600 } }, "Expired"],
        ["made tomorrow", { claims: { iat: now + 86_400 } }, "Claims"],
        ["counts later", { claims: { nbf: now + 60 } }, "NotYetValid"],
        ["no end", { claims: { exp: undefined } }, "Claims"],
        ["nobody", { claims: { sub: undefined } }, "Subject"],
        ["nobody in particular", { claims: { sub: "" } }, "Subject"],
        ["a number", { claims: { sub: 7 } }, "Subject"],
        ["an access token", { header: { typ: "at+jwt" } }, "Type"],
        ["a logout token", { header: { typ: "logout+jwt" } }, "Type"],
        ["another's key", { key: { ...keyB, kid: "a" } }, "Signature"],
        ["a key that nobody knows", { key: keyB }, "UnknownKey"]
      ]
      for (const [what, change, expected] of cases) {
        Object.assign(fake, { claims: {}, forge: undefined, header: {}, key: keyA }, change)
        assert.strictEqual(yield* why(logIn(oidc, fake)), `InvalidProviderToken ${expected}`, what)
      }
      Object.assign(fake, { claims: { aud: ["the-app", "b"], azp: "the-app", exp: now - 29 }, key: keyA })
      assert.strictEqual(yield* why(logIn(oidc, fake)), "done", "within the tolerance, and for this client")
      const { entries } = yield* store.list({ prefix: "resource=plg_oidc_sessions/data/" })
      assert.strictEqual(entries.length, 2)
      fake.answers["/token"] = () => json({ access_token: "x", token_type: "Bearer" })
      assert.strictEqual(yield* why(logIn(oidc, fake)), "InvalidProviderToken Missing")
    })
  )

  it.effect("an attempt counts once, for its browser, its provider and a while", () =>
    Effect.gen(function* () {
      const { fake, oidc, process } = yield* started()
      const another = yield* process
      const begun = yield* oidc.begin("id")
      const brought = fake.authorize(begun.url)
      const eve = yield* oidc.begin("id")
      const finish = (parameters: URLSearchParams, cookies: Readonly<Record<string, string>>, at: Service = oidc) =>
        why(at.finish("id", parameters, cookies))
      const state = brought.get("state")!
      const ofEve = jar({ ...eve.cookie, name: begun.cookie.name })
      assert.strictEqual(yield* finish(brought, {}), "InvalidAttempt OtherBrowser")
      assert.strictEqual(yield* finish(brought, jar(eve.cookie)), "InvalidAttempt OtherBrowser")
      assert.strictEqual(yield* finish(brought, ofEve), "InvalidAttempt OtherBrowser")
      for (const bad of ["", "x", `${state}x`, "../../x", "%00", state.toUpperCase().slice(0, 22)]) {
        const parameters = new URLSearchParams({ ...Object.fromEntries(brought), state: bad })
        assert.match(
          yield* finish(parameters, jar(begun.cookie)),
          /^InvalidAttempt (Malformed|Unknown|OtherBrowser)$/,
          bad
        )
      }
      for (const name of ["state", "code", "iss"]) {
        const twice = new URLSearchParams(brought)
        twice.append(name, "another")
        assert.strictEqual(yield* finish(twice, jar(begun.cookie)), "InvalidAttempt Malformed", name)
      }
      // Nobody of them has used it up; of those who come at once one gets in.
      const all = yield* Effect.all(
        [oidc, another, oidc, another].map((at) => finish(brought, jar(begun.cookie), at)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(all.toSorted(), [...Array.from({ length: 3 }, () => "InvalidAttempt Unknown"), "done"])
      // The code of somebody else, in an attempt of one's own.
      const own = yield* oidc.begin("id")
      const victims = yield* oidc.begin("id")
      const stolen = fake.authorize(victims.url, "stolen")
      stolen.set("state", new URL(own.url).searchParams.get("state")!)
      assert.strictEqual(yield* finish(stolen, jar(own.cookie)), "ProviderRefused invalid_grant")
      // Too late, and with a clock that was put back.
      for (const [by, expected] of [
        [10 * 60_000 + 1, "Expired"],
        [-6 * 60_000, "Expired"],
        [9 * 60_000, "done"]
      ] as const) {
        const late = yield* oidc.begin("id")
        const parameters = fake.authorize(late.url)
        yield* TestClock.setTime((yield* Clock.currentTimeMillis) + by)
        const outcome = yield* finish(parameters, jar(late.cookie))
        assert.strictEqual(outcome, expected === "done" ? "done" : `InvalidAttempt ${expected}`, String(by))
      }
      const denied = yield* oidc.begin("id")
      const no = fake.authorize(denied.url)
      no.delete("code")
      no.set("error", "access_denied")
      no.set("error_description", "<script>")
      assert.strictEqual(yield* finish(no, jar(denied.cookie)), "ProviderRefused access_denied")
      const odd = yield* oidc.begin("id")
      const strange = fake.authorize(odd.url)
      strange.set("error", "<script>\n")
      assert.strictEqual(yield* finish(strange, jar(odd.cookie)), "ProviderRefused unknown_error")
    })
  )

  it.effect("of two providers none answers for the other", () =>
    Effect.gen(function* () {
      const [honest, evil] = [new Fake("https://id.example", keyA), new Fake("https://evil.example", keyB)]
      const { oidc } = yield* started({
        fakes: [honest, evil],
        providers: [providerOf(honest), providerOf(evil, { name: "evil" })]
      })
      const finish = (name: string, parameters: URLSearchParams, cookie: Oidc.Cookie) =>
        why(oidc.finish(name, parameters, jar(cookie)))
      // What the honest provider gave is brought to the address of the other, and the other way round.
      const one = yield* oidc.begin("id")
      assert.strictEqual(yield* finish("evil", honest.authorize(one.url), one.cookie), "InvalidAttempt OtherProvider")
      const two = yield* oidc.begin("evil")
      assert.strictEqual(yield* finish("id", evil.authorize(two.url), two.cookie), "InvalidAttempt OtherProvider")
      // The browser was sent on to the honest one, which says who it is: the code does not go to the other.
      const three = yield* oidc.begin("evil")
      const mixed = honest.authorize(three.url)
      assert.strictEqual(yield* finish("evil", mixed, three.cookie), "InvalidAttempt OtherProvider")
      const four = yield* oidc.begin("id")
      const silent = honest.authorize(four.url)
      silent.delete("iss")
      assert.strictEqual(yield* finish("id", silent, four.cookie), "InvalidAttempt OtherProvider")
      assert.notInclude([...honest.asked, ...evil.asked], "/token")
      // A token of the other, for the same client.
      const five = yield* oidc.begin("id")
      evil.claims = { iss: honest.issuer, nonce: new URL(five.url).searchParams.get("nonce") }
      const token = yield* evil.sign({
        ...evil.claims,
        aud: "the-app",
        sub: "ana",
        iat: yield* seconds,
        exp: (yield* seconds) + 60
      })
      honest.forge = () => token
      assert.strictEqual(
        yield* finish("id", honest.authorize(five.url), five.cookie),
        "InvalidProviderToken UnknownKey"
      )
      honest.forge = undefined
      evil.claims = {}
      // Two people with one `sub` are two people.
      const [a, b] = [yield* oidc.begin("id"), yield* oidc.begin("evil")]
      const first = yield* oidc.finish("id", honest.authorize(a.url), jar(a.cookie))
      const second = yield* oidc.finish("evil", evil.authorize(b.url), jar(b.cookie))
      assert.deepStrictEqual([first.session.user.id, second.session.user.id], ["id:ana", "evil:ana"])
      yield* oidc.endSessions("evil", "ana")
      assert.isUndefined(yield* oidc.session(secretIn(second)))
      assert.isDefined(yield* oidc.session(secretIn(first)))
      assert.strictEqual(yield* why(oidc.begin("nobody")), "InvalidOidc provider")
      assert.strictEqual(yield* why(oidc.begin("__proto__")), "InvalidOidc provider")
    })
  )

  it.effect("sessions end: idle, for good, by logout, when there are too many; and with a clock that jumps", () =>
    Effect.gen(function* () {
      const { fake, oidc, process, store } = yield* started({
        idleFor: "1 hour",
        sessionFor: "3 hours",
        maxSessions: 2
      })
      const isThere = (secret: Redacted.Redacted<string>, at: Service = oidc) =>
        Effect.map(at.session(secret), (session) => session !== undefined)
      const secret = secretIn(yield* logIn(oidc, fake))
      for (let i = 0; i < 5; i++) {
        assert.isTrue(yield* isThere(secret), String(i))
        yield* TestClock.adjust("35 minutes")
      }
      assert.isTrue(yield* isThere(secret))
      yield* TestClock.adjust("6 minutes")
      assert.isFalse(yield* isThere(secret), "for good")
      const idle = secretIn(yield* logIn(oidc, fake))
      yield* TestClock.adjust("60 minutes")
      assert.isFalse(yield* isThere(idle), "idle")
      const early = secretIn(yield* logIn(oidc, fake))
      yield* TestClock.setTime((yield* Clock.currentTimeMillis) - 10 * 60_000)
      assert.isFalse(yield* isThere(early), "a clock that was put back")
      yield* TestClock.adjust("10 minutes")
      assert.isTrue(yield* isThere(early))
      // The third ends the oldest, here and elsewhere.
      const another = yield* process
      yield* TestClock.adjust("1 minute")
      const middle = secretIn(yield* logIn(another, fake))
      yield* TestClock.adjust("1 minute")
      const last = yield* logIn(oidc, fake)
      assert.deepStrictEqual(
        [yield* isThere(early), yield* isThere(middle), yield* isThere(secretIn(last), another)],
        [false, true, true]
      )
      // A login ends the session that the browser had, whoever has planted it.
      const next = secretIn(yield* logIn(another, fake, last.cookies))
      assert.deepStrictEqual([yield* isThere(secretIn(last)), yield* isThere(next)], [false, true])
      const { url } = yield* another.logout(next, { returnTo: "/bye" })
      const asked = new URL(url!)
      assert.strictEqual(asked.href.split("?")[0], "https://id.example/end")
      assert.strictEqual(asked.searchParams.get("post_logout_redirect_uri"), `${origin}/auth/id/logged-out`)
      assert.isFalse(yield* isThere(next))
      assert.isUndefined((yield* another.logout(next)).url)
      for (const bad of ["", "x", Redacted.value(next).slice(1), `${Redacted.value(next)}x`, "../".repeat(20)]) {
        assert.isFalse(yield* isThere(Redacted.make(bad)), bad)
      }
      // Nobody who reads the bucket can be anybody.
      const { entries } = yield* store.list({ prefix: "" })
      const bodies = yield* Effect.forEach(entries, ({ key }) =>
        Effect.map(
          store.get(key),
          ({ body, metadata }) => key + JSON.stringify(metadata) + Buffer.from(body).toString("latin1")
        )
      )
      assert.notInclude(bodies.join("\n"), Redacted.value(middle))
      assert.notInclude(bodies.join("\n"), "sid-1")
    })
  )

  it.effect("a provider that does not answer is told as such in time, and uses nothing up", () =>
    Effect.gen(function* () {
      const { fake, oidc } = yield* started({}, { userinfo: true })
      const discovery = "/.well-known/openid-configuration"
      const outcome = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }>(
        effect: Effect.Effect<A, E>
      ) {
        const fiber = yield* Effect.forkChild(why(effect))
        yield* TestClock.adjust("5 seconds")
        return yield* Fiber.join(fiber)
      })
      const wrong: ReadonlyArray<() => Effect.Effect<Response>> = [
        () => Effect.never,
        () => json({}, 500),
        () => json({}, 404),
        () => json({ issuer: fake.issuer }),
        () => Effect.sync(() => new Response("<html>"))
      ]
      for (const answer of wrong) {
        fake.answers[discovery] = answer
        assert.strictEqual(yield* outcome(oidc.begin("id")), "ProviderUnavailable")
      }
      delete fake.answers[discovery]
      for (const change of [
        { issuer: "https://evil.example" },
        { issuer: `${fake.issuer}/` },
        { token_endpoint: "http://id.example/token" },
        { jwks_uri: "file:///etc/passwd" },
        { end_session_endpoint: "javascript:alert(1)" }
      ]) {
        fake.discovery = change
        assert.strictEqual(yield* outcome(oidc.begin("id")), "ProviderUnavailable", JSON.stringify(change))
      }
      fake.discovery = {}
      const begun = yield* oidc.begin("id")
      const brought = fake.authorize(begun.url)
      // It goes while somebody logs in; what is known of it is over, too.
      yield* TestClock.adjust("9 minutes")
      for (const path of ["/token", "/jwks", "/me"]) {
        const { cookie, url } = yield* oidc.begin("id")
        fake.answers[path] = () => Effect.never
        assert.strictEqual(
          yield* outcome(oidc.finish("id", fake.authorize(url), jar(cookie))),
          "ProviderUnavailable",
          path
        )
        fake.answers[path] = () => json({ error: "x" }, 503)
        const again = yield* oidc.begin("id")
        assert.strictEqual(
          yield* outcome(oidc.finish("id", fake.authorize(again.url), jar(again.cookie))),
          "ProviderUnavailable",
          path
        )
        delete fake.answers[path]
      }
      assert.strictEqual(yield* why(oidc.finish("id", brought, jar(begun.cookie))), "done")
      fake.answers["/me"] = () => json({ sub: "somebody-else" })
      assert.strictEqual(yield* why(logIn(oidc, fake)), "InvalidProviderToken Subject")
      // It is used for a while longer, and then not any more; whoever is logged in stays so, and gets out.
      delete fake.answers["/me"]
      const secret = secretIn(yield* logIn(oidc, fake))
      fake.answers[discovery] = () => json({}, 503)
      yield* TestClock.adjust("60 minutes")
      assert.strictEqual(yield* why(oidc.begin("id")), "done")
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual(yield* why(oidc.begin("id")), "ProviderUnavailable")
      assert.isDefined(yield* oidc.session(secret))
      assert.isUndefined((yield* oidc.logout(secret)).url)
      assert.isUndefined(yield* oidc.session(secret))
    })
  )

  it.effect("the secret of the client goes where it belongs, or there is none", () =>
    Effect.gen(function* () {
      const odd = "a:b&c=d %é"
      const encodedSecret = "a%3Ab%26c%3Dd+%25%C3%A9"
      const ways: ReadonlyArray<readonly [Partial<Oidc.Provider>, string | undefined, string | null]> = [
        [{ clientSecret: Redacted.make(odd) }, `the-app:${encodedSecret}`, null],
        [{ clientSecret: Redacted.make(odd), clientAuthentication: "post" }, undefined, odd],
        [{ clientSecret: undefined }, undefined, null]
      ]
      for (const [more, header, field] of ways) {
        const { fake, oidc } = yield* started({}, more)
        yield* logIn(oidc, fake)
        const { authorization, form } = fake.sent[0]!
        const [, given] = /^Basic (.+)$/.exec(authorization ?? "") ?? []
        assert.strictEqual(given === undefined ? undefined : Buffer.from(given, "base64").toString(), header)
        assert.strictEqual(form.get("client_secret"), field)
        assert.strictEqual(form.get("client_id"), header === undefined ? "the-app" : null)
      }
    })
  )

  it.effect("keys change: one request for all, and the old ones go", () =>
    Effect.gen(function* () {
      const { fake, oidc } = yield* started()
      yield* logIn(oidc, fake)
      yield* TestClock.adjust("1 minute")
      fake.key = keyC
      fake.published = [keyA.public, keyC.public]
      const before = fake.asked.length
      yield* Effect.all(
        Array.from({ length: 5 }, () => logIn(oidc, fake)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(fake.asked.slice(before).filter((path) => path === "/jwks").length, 1)
      fake.published = [keyC.public]
      yield* TestClock.adjust("11 minutes")
      fake.key = keyA
      assert.strictEqual(yield* why(logIn(oidc, fake)), "InvalidProviderToken UnknownKey")
    })
  )

  it.effect("the back channel: a logout token ends what was begun before it, once", () =>
    Effect.gen(function* () {
      const { fake, oidc, process } = yield* started()
      const another = yield* process
      const event = { "http://schemas.openid.net/event/backchannel-logout": {} }
      let made = 0
      const logoutToken = Effect.fnUntraced(function* (claims: object = {}, header: object = { typ: "logout+jwt" }) {
        const now = yield* seconds
        made += 1
        const payload = {
          iss: fake.issuer,
          aud: "the-app",
          iat: now,
          exp: now + 120,
          jti: `j-${made}`,
          events: event,
          sid: "sid-1"
        }
        return Redacted.make(yield* fake.sign({ ...payload, ...claims }, header))
      })
      const isThere = (secret: Redacted.Redacted<string>) =>
        Effect.map(another.session(secret), (session) => session !== undefined)
      const secret = secretIn(yield* logIn(oidc, fake))
      const now = yield* seconds
      const cases: ReadonlyArray<readonly [string, object, object | undefined, string]> = [
        ["a nonce", { nonce: "x" }, undefined, "Nonce"],
        ["a nonce that is nothing", { nonce: null }, undefined, "Nonce"],
        ["no events", { events: undefined }, undefined, "Events"],
        ["another event", { events: { "http://example.com/event": {} } }, undefined, "Events"],
        [
          "an event that is a text",
          { events: { "http://schemas.openid.net/event/backchannel-logout": "x" } },
          undefined,
          "Events"
        ],
        ["nobody", { sid: undefined }, undefined, "Subject"],
        ["no id", { jti: undefined }, undefined, "Claims"],
        ["another audience", { aud: "another-app" }, undefined, "Audience"],
        ["another issuer", { iss: "https://evil.example" }, undefined, "Issuer"],
        ["over", { exp: now - 60 }, undefined, "Expired"],
        ["old", { iat: now - 3600, exp: now + 60 }, undefined, "Expired"],
        ["an access token", {}, { typ: "at+jwt" }, "Type"],
        ["an ID token", { events: undefined, nonce: "x", sub: "ana" }, { typ: "JWT" }, "Events"]
      ]
      for (const [what, claims, header, expected] of cases) {
        const token = yield* logoutToken(claims, header)
        assert.strictEqual(yield* why(oidc.backChannelLogout("id", token)), `InvalidProviderToken ${expected}`, what)
      }
      const none = Redacted.make(`${encoded({ alg: "none" })}.${encoded({ events: event })}.`)
      assert.strictEqual(yield* why(oidc.backChannelLogout("id", none)), "InvalidProviderToken Algorithm")
      assert.strictEqual(yield* why(oidc.backChannelLogout("id", Redacted.make("x"))), "InvalidProviderToken Malformed")
      // A session of another, and one of another's.
      yield* oidc.backChannelLogout("id", yield* logoutToken({ sid: "sid-2" }))
      yield* oidc.backChannelLogout("id", yield* logoutToken({ sub: "bo" }))
      yield* oidc.backChannelLogout("id", yield* logoutToken({ sid: undefined, sub: "bo" }))
      assert.isTrue(yield* isThere(secret))
      yield* TestClock.adjust("1 second")
      const token = yield* logoutToken({ sid: undefined, sub: "ana" })
      yield* oidc.backChannelLogout("id", token)
      assert.isFalse(yield* isThere(secret))
      // Later logins are none of its business, at whatever process it comes again.
      yield* TestClock.adjust("1 second")
      fake.claims = { sid: "sid-3" }
      const later = secretIn(yield* logIn(oidc, fake))
      for (const at of [oidc, another]) {
        assert.strictEqual(yield* why(at.backChannelLogout("id", token)), "InvalidProviderToken Replayed")
      }
      assert.isTrue(yield* isThere(later))
      // One whose login is under way is ended as soon as it is there.
      fake.claims = { sid: "sid-4" }
      yield* TestClock.adjust("11 minutes")
      fake.answers["/jwks"] = () => {
        delete fake.answers["/jwks"]
        return Effect.andThen(
          Effect.orDie(Effect.flatMap(logoutToken({ sid: "sid-4" }), (one) => another.backChannelLogout("id", one))),
          json({ keys: fake.published })
        )
      }
      assert.strictEqual(yield* why(logIn(oidc, fake)), "ProviderRefused logged_out")
      fake.claims = { sid: "sid-5" }
      assert.strictEqual(yield* why(logIn(oidc, fake)), "done")
    })
  )

  it.effect(
    "whatever request to the store comes to nothing: who logs in again is in, and who was logged out is out",
    () =>
      Effect.gen(function* () {
        const { fake, store } = yield* started()
        let left = Infinity
        let isCarriedOut = false
        const gone = (key: string) =>
          Effect.fail(
            new StoreError.StoreError({
              operation: "put",
              key,
              reason: new StoreError.Unavailable({ description: "crashed", sent: true })
            })
          )
        /** From one request on nothing is carried out any more, but perhaps that one, of which nobody hears. */
        const broken = <A>(key: string, effect: Effect.Effect<A, StoreError.StoreError>) =>
          Effect.suspend(() => {
            left -= 1
            if (left > 0) return effect
            return left === 0 && isCarriedOut ? Effect.andThen(effect, gone(key)) : gone(key)
          })
        const dying: ObjectStore["Service"] = {
          ...store,
          put: (request) => broken(request.key, store.put(request)),
          get: (key, options) => broken(key, store.get(key, options)),
          head: (key) => broken(key, store.head(key)),
          delete: (key, options) => broken(key, store.delete(key, options)),
          deleteMany: (keys, options) => broken("", store.deleteMany(keys, options)),
          list: (request) => broken("", store.list(request))
        }
        const processOn = (on: ObjectStore["Service"]) =>
          Effect.map(
            Layer.build(layerOf(on, clientOf(fake), { providers: [providerOf(fake)], maxSessions: 1 })),
            (context) => Effect.runSync(Effect.provide(Oidc.Oidc, context))
          )
        const sound = yield* processOn(store)
        const event = { "http://schemas.openid.net/event/backchannel-logout": {} }
        let crashes = 0
        for (const carriedOut of [false, true]) {
          for (let nth = 1, isDone = false; !isDone; nth++) {
            assert.isBelow(nth, 60)
            const first = yield* processOn(dying)
            isCarriedOut = carriedOut
            // Somebody else each time: what a crash leaves of one is no work for the next.
            fake.claims = { sub: `user ${carriedOut} ${nth}` }
            yield* logIn(sound, fake)
            const { cookie, url } = yield* first.begin("id", "/home")
            left = nth
            const outcome = yield* why(first.finish("id", fake.authorize(url), jar(cookie)))
            left = Infinity
            isDone = outcome === "done"
            if (!isDone) crashes += 1
            const session = secretIn(yield* logIn(sound, fake))
            assert.isDefined(yield* sound.session(session), `${carriedOut} ${nth}`)
          }
          for (let nth = 1, isDone = false; !isDone; nth++) {
            assert.isBelow(nth, 60)
            const sid = `sid ${carriedOut} ${nth}`
            fake.claims = { sid, sub: `user ${sid}` }
            const session = secretIn(yield* logIn(sound, fake))
            const first = yield* processOn(dying)
            isCarriedOut = carriedOut
            const now = yield* seconds
            const payload = { iss: fake.issuer, aud: "the-app", iat: now, exp: now + 60, jti: sid, events: event, sid }
            const token = Redacted.make(yield* fake.sign(payload))
            left = nth
            isDone = (yield* why(first.backChannelLogout("id", token))) === "done"
            left = Infinity
            if (!isDone) crashes += 1
            // The provider asks again, and hears that it is done, or was.
            const again = yield* why(sound.backChannelLogout("id", token))
            assert.include(["done", "InvalidProviderToken Replayed"], again, `${carriedOut} ${nth}`)
            assert.isUndefined(yield* sound.session(session), `${carriedOut} ${nth}`)
          }
        }
        assert.isAbove(crashes, 20)
      })
  )

  it.effect("who somebody is: by paths, by a function, and by what is there now", () =>
    Effect.gen(function* () {
      const identity: Oidc.Identity = {
        provider: "id",
        claims: {
          sub: "7",
          iss: "https://id.example",
          realm_access: { roles: ["a", 5, "b"] },
          "https://app.example/roles": "c",
          scope: "read write",
          ["__proto__"]: { roles: ["admin"] }
        },
        userinfo: { email: "x@id.example", scope: "more" }
      }
      const mapping = {
        roles: ["realm_access.roles", "https://app.example/roles", "constructor.name", "toString"],
        scopes: ["scope", "nothing"],
        keep: ["email", "constructor"]
      }
      assert.deepStrictEqual(Oidc.toUser(identity, mapping), {
        id: "id:7",
        roles: ["a", "b", "c"],
        scopes: ["read", "write"],
        claims: { iss: "https://id.example", sub: "7", email: "x@id.example" }
      })
      assert.deepStrictEqual(Oidc.toUser(identity)?.roles, [])
      assert.strictEqual(Oidc.toUser(identity, { id: "email" })?.id, "x@id.example")
      assert.isUndefined(Oidc.toUser(identity, { id: "nothing" }))
      assert.isUndefined(Oidc.toUser({ ...identity, userinfo: { email: "service:import" } }, { id: "email" }))
      let isGone = false
      const { fake, oidc } = yield* started(
        { current: (user) => Effect.succeed(isGone ? undefined : { ...user, roles: ["now"] }) },
        { user: ({ claims }) => Effect.succeed(claims["sub"] === "ana" ? CurrentUser.make("u-1") : undefined) }
      )
      const secret = secretIn(yield* logIn(oidc, fake))
      assert.deepInclude((yield* oidc.session(secret))?.user, { id: "u-1", roles: ["now"] })
      isGone = true
      assert.isUndefined(yield* oidc.session(secret))
      assert.strictEqual(yield* why(logIn(oidc, fake)), "NotAdmitted")
      isGone = false
      fake.claims = { sub: "eve" }
      assert.strictEqual(yield* why(logIn(oidc, fake)), "NotAdmitted")
    })
  )

  it.effect("requests to the store are those that the documentation tells", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const { store } = yield* MemoryStore.make()
      let sent: Array<string> = []
      const noted = <A, E>(kind: string, key: string, effect: Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          // Sweeping goes on beside it.
          if (!key.endsWith("/turn")) sent.push(kind)
          return effect
        })
      const counted: ObjectStore["Service"] = {
        ...store,
        put: (request) => noted("PUT", request.key, store.put(request)),
        get: (key, options) => noted("GET", key, store.get(key, options)),
        head: (key) => noted("HEAD", key, store.head(key)),
        delete: (key, options) => noted("DELETE", key, store.delete(key, options)),
        deleteMany: (keys, options) => noted("DELETE", "", store.deleteMany(keys, options)),
        list: (request) => noted("LIST", "", store.list(request))
      }
      const fake = new Fake("https://id.example", keyA)
      const context = yield* Layer.build(
        Oidc.layer({ origin, providers: [providerOf(fake)] }).pipe(
          Layer.provide(Database.layer),
          Layer.provide([Layer.succeed(ObjectStore, counted), services, clientOf(fake)])
        )
      )
      const oidc = yield* Effect.provide(Oidc.Oidc, context)
      yield* logIn(oidc, fake)
      const cost = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          sent = []
          return Effect.map(effect, (value) => ({ value, cost: sent.toSorted().join(" ") }))
        })
      const begun = yield* cost(oidc.begin("id"))
      assert.strictEqual(begun.cost, "PUT")
      const { cookie, url } = begun.value
      const finished = yield* cost(oidc.finish("id", fake.authorize(url), jar(cookie)))
      // The attempt; the other session of hers; the session with two markers, and its tokens; whether it has been ended meanwhile.
      assert.strictEqual(finished.cost, "GET GET GET GET LIST PUT PUT PUT PUT PUT")
      const secret = secretIn(finished.value)
      assert.strictEqual((yield* cost(oidc.session(secret))).cost, "GET")
      assert.strictEqual((yield* cost(oidc.session(Redacted.make("x".repeat(43))))).cost, "GET")
      assert.strictEqual((yield* cost(oidc.session(Redacted.make("x")))).cost, "")
      const out = yield* cost(oidc.logout(secret, { isLocal: true }))
      assert.strictEqual(out.cost, "DELETE DELETE DELETE GET GET GET")
    })
  )

  it.effect("options that would be unsafe are refused", () =>
    Effect.gen(function* () {
      const fake = new Fake("https://id.example", keyA)
      const { store } = yield* MemoryStore.make()
      const tried: ReadonlyArray<readonly [string, Partial<Oidc.Options>, Partial<Oidc.Provider>]> = [
        ["origin", { origin: "http://app.example" }, {}],
        ["origin", { origin: "https://app.example/path" }, {}],
        ["origin", { origin: "app" }, {}],
        ["prefix", { prefix: "api" }, {}],
        ["errorPage", { errorPage: "https://evil.example" }, {}],
        ["errorPage", { errorPage: "//evil.example" }, {}],
        ["idleFor", { idleFor: 0 }, {}],
        ["sessionFor", { sessionFor: "Infinity" }, {}],
        ["maxSessions", { maxSessions: 0 }, {}],
        ["providers", { providers: [providerOf(fake), providerOf(fake)] }, {}],
        ["name", {}, { name: "../x" }],
        ["issuer", {}, { issuer: "http://id.example" }],
        ["issuer", {}, { issuer: "https://id.example?x" }],
        ["clientId", {}, { clientId: "" }],
        ["clientSecret", {}, { clientSecret: Redacted.make("") }],
        ["parameters", {}, { parameters: { state: "x" } }],
        ["algorithms", {}, { algorithms: ["HS256" as Jwt.Algorithm] }],
        ["clockTolerance", {}, { clockTolerance: "1 hour" }],
        ["timeout", {}, { timeout: "Infinity" }]
      ]
      for (const [option, options, provider] of tried) {
        const layer = layerOf(store, clientOf(fake), { providers: [providerOf(fake, provider)], ...options })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.include(JSON.stringify(error), `"${option}"`, option)
      }
      yield* Effect.scoped(
        Layer.build(layerOf(store, clientOf(fake), { providers: [providerOf(fake)], origin: "http://localhost:3000" }))
      )
      assert.deepStrictEqual(fake.asked, [])
    })
  )
})

describe("the endpoints of logins", () => {
  const notes = HttpResources.expose(Notes)
  const Api = HttpResources.api("shop", [notes], { prefix: "/api" }).add(Oidc.group)

  const site = Effect.fnUntraced(function* (fake: Fake, options: Partial<Oidc.Options> = {}) {
    const { store } = yield* MemoryStore.make()
    return yield* serve(
      HttpResources.layer(Api, [notes], { openApi: "public" }).pipe(
        Layer.provide(Oidc.handlers(Api)),
        Layer.provide(Authentication.layer(Oidc.authentication)),
        Layer.provide(Notes.layer),
        Layer.provide(
          layerOf(store, clientOf(fake), { providers: [providerOf(fake, { timeout: "50 millis" })], ...options })
        )
      )
    )
  })

  it.live("send nobody to another place", () =>
    Effect.gen(function* () {
      const api = yield* site(new Fake("https://id.example", keyA))
      const begin = (returnTo: string) =>
        api.send("GET", `/auth/id/login?returnTo=${encodeURIComponent(returnTo)}`, { as: "" })
      for (const bad of [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "///evil.example",
        "https:evil.example",
        "https://evil.example",
        "https:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "",
        " /home",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nset-cookie: x=1",
        "/\u0000/evil.example",
        "/\u2028",
        "/%2fevil.example",
        "/%5cevil.example",
        "/%5Cevil.example",
        "/%252fevil.example",
        "/%25252525252525252fevil.example",
        "/%09/evil.example",
        "/%0d%0aset-cookie:x=1",
        "/x\\..\\evil",
        `/${"x".repeat(3000)}`,
        "@evil.example",
        "?x",
        "#x"
      ]) {
        const answer = yield* begin(bad)
        isProblem(answer, 400, "InvalidRequest")
        assert.isNull(answer.headers.get("location"))
        assert.deepStrictEqual(answer.headers.getSetCookie(), [])
      }
      for (const good of [
        "/",
        "/home",
        "/a/b?c=d&e=https://other.example//x#f",
        "/100%",
        "/%E2%9C%93",
        "/a//b",
        "/@x"
      ]) {
        assert.strictEqual((yield* begin(good)).status, 303, good)
      }
    })
  )

  it.live("tell problems as such, or by a page; and are in the OpenAPI document", () =>
    Effect.gen(function* () {
      const fake = new Fake("https://id.example", keyA)
      const api = yield* site(fake)
      isProblem(yield* api.send("GET", "/auth/nobody/login", { as: "" }), 400, "UnknownProvider")
      isProblem(yield* api.send("GET", "/auth/id/callback", { as: "" }), 400, "InvalidAttempt")
      isProblem(yield* api.send("GET", "/auth/session", { as: "" }), 401, "Unauthenticated")
      // A cookie that nobody knows names nobody: it keeps nobody from logging in.
      const unknown = { cookie: `${Oidc.cookieName}=${"x".repeat(43)}` }
      isProblem(yield* api.send("GET", "/auth/session", { as: "", headers: unknown }), 401)
      assert.strictEqual((yield* api.send("GET", "/auth/id/login", { as: "", headers: unknown })).status, 303)
      const post = (raw: string, type = "application/x-www-form-urlencoded") =>
        api.send("POST", "/auth/id/backchannel-logout", { as: "", raw, headers: { "content-type": type } })
      isProblem(yield* post("logout_token=x"), 400, "InvalidProviderToken")
      isProblem(yield* post("logout_token=x&logout_token=y"), 400, "InvalidRequest")
      isProblem(yield* post(""), 400, "InvalidRequest")
      isProblem(yield* post("{}", "application/json"), 415)
      isProblem(yield* post(`logout_token=${"x".repeat(40_000)}`), 413)
      // Attempts that were left behind go.
      const many = Array.from({ length: 30 }, (_, i) => `__Host-s3db-login-${i}=x`).join("; ")
      const begun = yield* api.send("GET", "/auth/id/login", { as: "", headers: { cookie: many } })
      assert.strictEqual(begun.headers.getSetCookie().filter((one) => /Max-Age=0/.test(one)).length, 23)
      fake.answers["/token"] = () => Effect.never
      const [, state] = /[?&]state=([^&]+)/.exec(begun.headers.get("location")!)!
      const [pair] = begun.headers
        .getSetCookie()
        .find((one) => one.includes(state!.slice(0, 8)))!
        .split(";")
      const path = `/auth/id/callback?code=c&state=${state}&iss=${encodeURIComponent(fake.issuer)}`
      const late = yield* api.send("GET", path, { as: "", headers: { cookie: pair! } })
      isProblem(late, 503, "ProviderUnavailable")
      assert.isNotNull(late.headers.get("retry-after"))
      const document = (yield* api.send("GET", "/api/openapi.json", { as: "" })).json
      assert.isDefined(document.paths["/auth/{provider}/callback"].get.responses["303"])
      const paged = yield* site(fake, { errorPage: "/failed" })
      const failed = yield* paged.send("GET", "/auth/id/callback?state=x", { as: "" })
      assert.deepStrictEqual([failed.status, failed.headers.get("location")], [303, "/failed?error=InvalidAttempt"])
    })
  )
})
