import { createHmac, generateKeyPairSync } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as jose from "jose"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Jwt from "effect-s3db/http/Jwt"

const place = { issuer: "https://id.example.com", audience: "https://api.example.com" }
const secret = Redacted.make("0123456789abcdef0123456789abcdef")
const bytesOf = (text: Redacted.Redacted<string>) => new TextEncoder().encode(Redacted.value(text))
const seconds = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000))

const pairOf = (kid: string, kind: "rsa" | "ec" | "ed25519" = "ec") => {
  const pair =
    kind === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : kind === "ec"
        ? generateKeyPairSync("ec", { namedCurve: "P-256" })
        : generateKeyPairSync("ed25519")
  return { ...pair, public: { ...pair.publicKey.export({ format: "jwk" }), kid }, kid }
}
type Pair = ReturnType<typeof pairOf>

/** A token that counts, but for what is said. */
const signed = Effect.fnUntraced(function* (
  { kid, privateKey }: Pick<Pair, "kid" | "privateKey">,
  alg: string,
  claims: object = {},
  header: object = {}
) {
  const now = yield* seconds
  const payload = { iss: place.issuer, aud: place.audience, sub: "ana", iat: now, exp: now + 60, ...claims }
  const made = new jose.SignJWT(payload).setProtectedHeader({ alg, kid, ...header }).sign(privateKey)
  return Redacted.make(yield* Effect.promise(() => made))
})

const encoded = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")

/** A token by hand, signed by a secret or not at all. */
const forged = (header: object, payload: unknown, key?: string | Uint8Array) => {
  const text = `${encoded(header)}.${encoded(payload)}`
  return Redacted.make(`${text}.${key === undefined ? "" : createHmac("sha256", key).update(text).digest("base64url")}`)
}

const whyOf = (verifier: Jwt.Verifier, token: Redacted.Redacted<string>) =>
  Effect.match(verifier.verify(token), {
    onFailure: (error) => (error._tag === "InvalidToken" ? error.why : error.description),
    onSuccess: ({ id }) => `counts, for ${id}`
  })

/** An issuer that publishes keys, and how often it was asked. */
const issuer = (answer: () => Effect.Effect<Response>) => {
  const state = { asked: 0 }
  const client = HttpClient.make((request) =>
    Effect.suspend(() => {
      state.asked += 1
      return Effect.map(answer(), (response) => HttpClientResponse.fromWeb(request, response))
    })
  )
  return { state, client }
}
const json = (value: unknown, status = 200) =>
  Effect.sync(() => new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } }))
const remote = (client: HttpClient.HttpClient, options: Partial<Jwt.JwksOptions> = {}) =>
  Jwt.makeRemoteVerifier({ ...place, url: "https://id.example.com/jwks", algorithms: ["ES256"], ...options }).pipe(
    Effect.provideService(HttpClient.HttpClient, client)
  )

describe("Jwt", () => {
  it.effect("what it signs it knows again, until it has expired, and nobody else does", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const signer = yield* Jwt.makeSigner({ ...place, secret })
      const verifier = yield* Jwt.makeVerifier({ ...place, secret })
      const claims = { roles: ["editor"], scope: "read write", iss: "another", exp: 9_999_999_999, sub: "eve" }
      const token = yield* signer.sign("ana", claims)
      const user = yield* verifier.verify(token)
      assert.deepInclude(user, { id: "ana", roles: ["editor"], scopes: ["read", "write"] })
      assert.strictEqual(user.claims["exp"], 1_800_000_900)
      assert.notInclude(String(token), "ey")
      assert.notStrictEqual(Redacted.value(yield* signer.sign("ana")), Redacted.value(yield* signer.sign("ana")))
      const others = { secret: Redacted.make("another secret of at least 32 bytes") }
      assert.strictEqual(yield* whyOf(yield* Jwt.makeVerifier({ ...place, ...others }), token), "Signature")
      const elsewhere = yield* Jwt.makeVerifier({ ...place, audience: ["https://else", "https://more"], secret })
      assert.strictEqual(yield* whyOf(elsewhere, token), "Audience")
      assert.strictEqual(
        yield* whyOf(yield* Jwt.makeVerifier({ ...place, issuer: "https://id.example.co", secret }), token),
        "Issuer"
      )
      assert.strictEqual(yield* whyOf(yield* Jwt.makeVerifier({ ...place, type: "at+jwt", secret }), token), "Type")
      const access = yield* (yield* Jwt.makeSigner({ ...place, type: "at+jwt", secret })).sign("ana")
      assert.strictEqual(
        (yield* (yield* Jwt.makeVerifier({ ...place, type: "at+jwt", secret })).verify(access)).id,
        "ana"
      )
      yield* TestClock.adjust("15 minutes")
      yield* verifier.verify(token)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* whyOf(verifier, token), "Expired")
      yield* TestClock.setTime(1_799_999_900_000)
      assert.strictEqual(yield* whyOf(verifier, token), "NotYetValid")
    })
  )

  it.effect("tokens that were forged or damaged in any known way do not count", () =>
    Effect.gen(function* () {
      const now = yield* seconds
      const byEc = pairOf("a")
      const byRsa = pairOf("r", "rsa")
      const verifier = yield* Jwt.makeVerifier({
        ...place,
        keys: [byEc.public, byRsa.public],
        algorithms: ["ES256", "RS256"]
      })
      const payload = { iss: place.issuer, aud: place.audience, sub: "ana", iat: now, exp: now + 60 }
      const good = yield* signed(byEc, "ES256")
      assert.strictEqual((yield* verifier.verify(good)).id, "ana")
      assert.strictEqual((yield* verifier.verify(yield* signed(byRsa, "RS256"))).id, "ana")
      const [head, body, signature] = Redacted.value(good).split(".") as [string, string, string]
      const pem = byRsa.publicKey.export({ format: "pem", type: "spki" }).toString()
      const cases: ReadonlyArray<readonly [string, Redacted.Redacted<string>, string]> = [
        ["no signature", forged({ alg: "none" }, payload), "Algorithm"],
        ["no signature, in capitals", forged({ alg: "NONE" }, payload), "Algorithm"],
        ["the public key as a secret", forged({ alg: "HS256", kid: "r" }, payload, pem), "Algorithm"],
        ["an algorithm that was not agreed on", yield* signed(byRsa, "PS256"), "Algorithm"],
        [
          "a key that is said in the token",
          forged({ alg: "HS256", jwk: { kty: "oct", k: "AA" } }, payload, "\0"),
          "Algorithm"
        ],
        ["another's key", yield* signed({ ...pairOf("a"), kid: "a" }, "ES256"), "Signature"],
        ["an unknown key", yield* signed({ ...pairOf("z"), kid: "z" }, "ES256"), "UnknownKey"],
        ["a path as the key", yield* signed({ ...byEc, kid: "../../dev/null" }, "ES256"), "UnknownKey"],
        ["a critical extension", forged({ alg: "ES256", kid: "a", crit: ["x"], x: 1 }, payload, "0"), "Algorithm"],
        ["another payload", Redacted.make(`${head}.${encoded({ ...payload, sub: "eve" })}.${signature}`), "Signature"],
        ["no signature at its end", Redacted.make(`${head}.${body}.`), "Signature"],
        ["two parts", Redacted.make(`${head}.${body}`), "Malformed"],
        ["nothing", Redacted.make(""), "Malformed"],
        ["no JSON", Redacted.make(`${encoded("{")}.${body}.${signature}`), "Malformed"],
        ["too long", Redacted.make(`${head}.${body}.${"A".repeat(17_000)}`), "Malformed"],
        ["no end", yield* signed(byEc, "ES256", { exp: undefined }), "Claims"],
        ["an end that is a text", yield* signed(byEc, "ES256", { exp: "9999999999" }), "Claims"],
        ["no subject", yield* signed(byEc, "ES256", { sub: undefined }), "Claims"],
        ["no audience", yield* signed(byEc, "ES256", { aud: undefined }), "Audience"],
        ["begins later", yield* signed(byEc, "ES256", { nbf: now + 120 }), "NotYetValid"],
        ["has ended", yield* signed(byEc, "ES256", { exp: now - 31 }), "Expired"]
      ]
      for (const [what, token, why] of cases) assert.strictEqual(yield* whyOf(verifier, token), why, what)
      const young = yield* Jwt.makeVerifier({
        ...place,
        keys: [byEc.public],
        algorithms: ["ES256"],
        maxAge: "1 minute"
      })
      const old = yield* signed(byEc, "ES256", { iat: now - 120 })
      assert.strictEqual(yield* whyOf(young, old), "Expired")
    })
  )

  it.effect("whom a token is of can be read in another way", () =>
    Effect.gen(function* () {
      const pair = pairOf("e", "ed25519")
      const verifier = yield* Jwt.makeVerifier({
        ...place,
        keys: [pair.public],
        algorithms: ["EdDSA"],
        user: ({ email }) => (typeof email === "string" ? Option.some(CurrentUser.make(email)) : Option.none())
      })
      assert.strictEqual((yield* verifier.verify(yield* signed(pair, "EdDSA", { email: "a@x" }))).id, "a@x")
      assert.strictEqual(yield* whyOf(verifier, yield* signed(pair, "EdDSA")), "Claims")
    })
  )

  it.effect("keys of an issuer: asked for once by all, again when they are old, and once for each change", () =>
    Effect.gen(function* () {
      const [first, second] = [pairOf("1"), pairOf("2")]
      let keys: ReadonlyArray<object> = [first.public]
      const { client, state } = issuer(() => Effect.delay(json({ keys }), "1 second"))
      const verifier = yield* remote(client)
      const token = yield* signed(first, "ES256", { exp: 9_999_999_999 })
      const all = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 20 }, () => verifier.verify(token)),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(all)).length, 20)
      assert.strictEqual(state.asked, 1)
      // Strangers do not make it ask.
      const strange = yield* signed(pairOf("stranger"), "ES256", { exp: 9_999_999_999 })
      assert.strictEqual(yield* whyOf(verifier, strange), "UnknownKey")
      assert.strictEqual(state.asked, 1)
      yield* TestClock.adjust("1 minute")
      keys = [second.public]
      const next = yield* signed(second, "ES256", { exp: 9_999_999_999 })
      const asking = yield* Effect.forkChild(verifier.verify(next))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(asking)
      assert.strictEqual(state.asked, 2)
      assert.strictEqual(yield* whyOf(verifier, token), "UnknownKey")
      assert.strictEqual(state.asked, 2)
      yield* TestClock.adjust("10 minutes")
      const again = yield* Effect.forkChild(verifier.verify(next))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(again)
      assert.strictEqual(state.asked, 3)
    })
  )

  it.effect("an issuer that does not answer is told as such; keys are used for an hour without it", () =>
    Effect.gen(function* () {
      const pair = pairOf("1")
      let answer: () => Effect.Effect<Response> = () => json({ keys: [pair.public] })
      const { client } = issuer(() => answer())
      const verifier = yield* remote(client)
      const token = yield* signed(pair, "ES256", { exp: 9_999_999_999 })
      yield* verifier.verify(token)
      answer = () => json("down", 503)
      yield* TestClock.adjust("61 minutes")
      yield* verifier.verify(token)
      yield* TestClock.adjust("10 minutes")
      const gone = yield* Effect.flip(verifier.verify(token))
      assert.strictEqual(gone._tag, "KeysUnavailable")
      assert.include(gone.message, "https://id.example.com/jwks")
      const wrong: ReadonlyArray<readonly [() => Effect.Effect<Response>, RegExp]> = [
        [() => json({ keys: "none" }), /keys/],
        [() => json({ keys: [{ kty: "oct", k: "c2VjcmV0" }] }), /symmetric/],
        [() => json({ keys: [pair.privateKey.export({ format: "jwk" })] }), /private/],
        [() => Effect.sync(() => new Response("<html>")), /./]
      ]
      for (const [given, description] of wrong) {
        answer = given
        assert.match(yield* whyOf(yield* remote(client), token), description)
      }
      answer = () => Effect.never
      const waiting = yield* Effect.forkChild(whyOf(yield* remote(client), token))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), "no answer in time")
    })
  )

  it.effect("options that would be unsafe are refused", () =>
    Effect.gen(function* () {
      const { client, state } = issuer(() => json({ keys: [] }))
      const keys = { ...place, keys: [pairOf("a").public], algorithms: ["ES256"] as const }
      const short = Redacted.make("0123456789abcdef0123456789abcde")
      const tried: ReadonlyArray<readonly [string, Effect.Effect<unknown, Jwt.InvalidOptions>]> = [
        ["secret", Jwt.makeVerifier({ ...place, secret: short })],
        ["secret", Jwt.makeSigner({ ...place, secret: short })],
        ["issuer", Jwt.makeVerifier({ ...place, issuer: "", secret })],
        ["audience", Jwt.makeVerifier({ ...place, audience: [], secret })],
        ["audience", Jwt.makeSigner({ ...place, audience: "", secret })],
        ["clockTolerance", Jwt.makeVerifier({ ...place, clockTolerance: "1 hour", secret })],
        ["maxAge", Jwt.makeVerifier({ ...place, maxAge: "Infinity", secret })],
        ["expiresIn", Jwt.makeSigner({ ...place, expiresIn: "30 days", secret })],
        ["expiresIn", Jwt.makeSigner({ ...place, expiresIn: 0, secret })],
        ["keys", Jwt.makeVerifier({ ...keys, keys: [{ kty: "oct", k: "AAAA" }] })],
        ["keys", Jwt.makeVerifier({ ...keys, keys: [pairOf("p").privateKey.export({ format: "jwk" })] })],
        ["algorithms", Jwt.makeVerifier({ ...keys, algorithms: ["HS256" as "ES256"] })],
        ["algorithms", Jwt.makeVerifier({ ...keys, algorithms: ["none" as "ES256"] })],
        ["url", remote(client, { url: "http://id.example.com/jwks" })],
        ["url", remote(client, { url: "file:///etc/passwd" })],
        ["url", remote(client, { url: "http://localhost.evil.com/" })]
      ]
      for (const [option, effect] of tried) {
        const error = yield* Effect.flip(effect)
        assert.strictEqual(error.option, option)
        assert.notInclude(error.message, Redacted.value(short))
      }
      yield* remote(client, { url: "http://127.0.0.1:8080/jwks" })
      assert.strictEqual(state.asked, 0)
      assert.strictEqual(bytesOf(secret).length, 32)
    })
  )
})
