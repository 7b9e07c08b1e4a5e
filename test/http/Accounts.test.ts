import { createHmac, createSign, generateKeyPairSync } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Accounts from "effect-s3db/http/Accounts"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Jwt from "effect-s3db/http/Jwt"
import * as S3RateLimiter from "effect-s3db/persistence/RateLimiter"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { isProblem, Notes, serve, services } from "./api.ts"

class Members extends Resource.Service<Members>()("accounts/members", {
  schema: Schema.Struct({
    id: Schema.String,
    email: Schema.String,
    password: Attribute.Password,
    role: Schema.String
  }),
  primaryKey: "id",
  unique: { byEmail: ["email"] }
}) {}

const users = Effect.map(Members, (members): Accounts.Users<typeof Members.definition.schema.Type> => ({
  find: (email) =>
    members
      .getByUnique("byEmail", { email })
      .pipe(Effect.catchTag(["NotFound", "InvalidInput"], () => Effect.succeed(undefined))),
  get: (id) => Effect.map(members.getOption(id), Option.getOrUndefined),
  hash: ({ password }) => password,
  user: ({ id, role }) => (role === "gone" ? undefined : CurrentUser.make(id, { roles: [role] })),
  setPassword: (id, password) => members.update(id, { password }),
  register: ({ name, password }) => members.insert({ id: `m-${name}`, email: name, password, role: "reader" })
}))

const secret = Redacted.make("0123456789abcdef0123456789abcdef")
const options: Accounts.Options = { issuer: "https://shop.example", audience: "shop", secrets: [secret] }
const right = "correct horse battery"
const pass = Redacted.make

/** A process on a store. */
const processOf = (
  store: ObjectStore["Service"],
  more: Partial<Accounts.Options> = {},
  around: typeof services = services
) =>
  Effect.map(
    Layer.build(
      Accounts.layer(users, { ...options, ...more }).pipe(
        Layer.provideMerge(Layer.mergeAll(Members.layer, Notes.layer)),
        Layer.provide(RateLimiter.layer.pipe(Layer.provide(S3RateLimiter.layerStore))),
        Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
        Layer.provideMerge(around),
        Layer.provide(Layer.succeed(ObjectStore, store))
      )
    ),
    (context) => ({
      context,
      accounts: Effect.runSync(Effect.provide(Accounts.Accounts, context)),
      members: Effect.runSync(Effect.provide(Members, context))
    })
  )

const started = Effect.fnUntraced(function* (more: Partial<Accounts.Options> = {}) {
  const { store } = yield* MemoryStore.make()
  const one = yield* processOf(store, more)
  yield* one.members.insert({ id: "ana", email: "ana@x", password: pass(right), role: "editor" })
  return { ...one, store }
})

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onFailure: (error) => ("why" in error ? `${error._tag} ${String(error.why)}` : error._tag),
    onSuccess: () => "done"
  })

describe("Accounts", () => {
  it.live("a login gives a token that counts, and a refresh token that counts once", () =>
    Effect.gen(function* () {
      const { accounts, store } = yield* started()
      const first = yield* accounts.login("ana@x", pass(right), "1.1.1.1")
      assert.deepInclude(yield* accounts.verifier.verify(first.accessToken), { id: "ana", roles: ["editor"] })
      assert.strictEqual(first.expiresIn, 900)
      const second = yield* accounts.refresh(first.refreshToken)
      const third = yield* accounts.refresh(second.refreshToken)
      // Somebody has kept an earlier one: nobody has the session any more.
      assert.strictEqual(yield* tagOf(accounts.refresh(first.refreshToken)), "InvalidRefreshToken Reused")
      assert.strictEqual(yield* tagOf(accounts.refresh(third.refreshToken)), "InvalidRefreshToken Ended")
      // A token of one kind is none of another.
      for (const [token, wanted] of [
        [first.accessToken, "InvalidRefreshToken Malformed"],
        [pass(""), "InvalidRefreshToken Malformed"],
        [pass(`s3dbr_${"a".repeat(22)}_${"b".repeat(43)}`), "InvalidRefreshToken Unknown"],
        [pass(`s3dbr_../../../../../etc____${"b".repeat(43)}`), "InvalidRefreshToken Malformed"]
      ] as const) {
        assert.strictEqual(yield* tagOf(accounts.refresh(token)), wanted)
      }
      assert.strictEqual(yield* tagOf(accounts.verifier.verify(first.refreshToken)), "InvalidToken Malformed")
      // What is stored gives nobody a token.
      const secrets = [first, second, third].map(({ refreshToken }) => Redacted.value(refreshToken).slice(29))
      for (const { key } of (yield* store.list()).entries) {
        const { body, metadata } = yield* store.get(key)
        const text = key + JSON.stringify(metadata) + new TextDecoder().decode(body)
        for (const one of [...secrets, right]) assert.notInclude(text, one)
      }
    })
  )

  it.live("of many processes that get one refresh token at once one gets a pair at most, and the session ends", () =>
    Effect.gen(function* () {
      const { accounts, store } = yield* started()
      const others = yield* Effect.forEach([1, 2, 3], () => processOf(store))
      for (let round = 0; round < 4; round++) {
        const { refreshToken } = yield* accounts
          .login("ana@x", pass(right), `round ${round}`)
          .pipe(Effect.catchTag("TooManyAttempts", () => Effect.die("too many")))
        const results = yield* Effect.forEach(
          [accounts, ...others.map((other) => other.accounts)],
          (one) => Effect.result(one.refresh(refreshToken)),
          { concurrency: "unbounded" }
        )
        const won = results.filter(Result.isSuccess)
        assert.isAtMost(won.length, 1)
        for (const { success } of won) {
          assert.strictEqual(yield* tagOf(accounts.refresh(success.refreshToken)), "InvalidRefreshToken Ended")
        }
      }
    })
  )

  it.live("logout, change of the password and the end of an account end sessions", () =>
    Effect.gen(function* () {
      const { accounts, members } = yield* started()
      const login = accounts.login("ana@x", pass(right), "1.1.1.1")
      const [one, two, three] = [yield* login, yield* login, yield* login]
      yield* accounts.logout(one.refreshToken)
      yield* accounts.logout(pass("nonsense"))
      assert.strictEqual(yield* tagOf(accounts.refresh(one.refreshToken)), "InvalidRefreshToken Ended")
      yield* accounts.refresh(two.refreshToken)
      const change = (present: string, next: string) =>
        tagOf(accounts.changePassword("ana", pass(present), pass(next), "1.1.1.1"))
      assert.strictEqual(yield* change("wrong", "another long one"), "InvalidLogin")
      assert.strictEqual(yield* change(right, "short"), "InvalidAccounts")
      assert.strictEqual(yield* change(right, "x".repeat(1024 * 1024)), "InvalidAccounts")
      assert.strictEqual(yield* change(right, "another long one"), "done")
      assert.strictEqual(yield* tagOf(accounts.refresh(three.refreshToken)), "InvalidRefreshToken Ended")
      assert.strictEqual(yield* tagOf(login), "InvalidLogin")
      const four = yield* accounts.login("ana@x", pass("another long one"), "1.1.1.1")
      yield* members.update("ana", { role: "gone" })
      assert.strictEqual(yield* tagOf(accounts.refresh(four.refreshToken)), "InvalidRefreshToken Ended")
    })
  )

  it.live("a logout everywhere ends all sessions of the user, and no others; by an old token, its own", () =>
    Effect.gen(function* () {
      const { accounts, members } = yield* started()
      yield* members.insert({ id: "bo", email: "bo@x", password: pass(right), role: "editor" })
      const login = accounts.login("ana@x", pass(right), "1.1.1.1")
      const bo = yield* accounts.login("bo@x", pass(right), "1.1.1.1")
      const [one, two, old] = [yield* login, yield* login, yield* login]
      const renewed = yield* accounts.refresh(old.refreshToken)
      yield* accounts.logout(old.refreshToken, { everywhere: true })
      assert.strictEqual(yield* tagOf(accounts.refresh(renewed.refreshToken)), "InvalidRefreshToken Ended")
      const next = yield* accounts.refresh(one.refreshToken)
      yield* accounts.logout(next.refreshToken, { everywhere: true })
      for (const { refreshToken } of [next, two]) {
        assert.strictEqual(yield* tagOf(accounts.refresh(refreshToken)), "InvalidRefreshToken Ended")
      }
      // One that has ended ends nothing.
      const later = yield* login
      yield* accounts.logout(two.refreshToken, { everywhere: true })
      yield* accounts.refresh(later.refreshToken)
      yield* accounts.refresh(bo.refreshToken)
    })
  )

  it.live("a login with the old password that goes on while it is changed gets no session", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const process = yield* processOf(store)
      yield* process.members.insert({ id: "ana", email: "ana@x", password: pass(right), role: "editor" })
      const hasher = yield* Effect.provide(PasswordHasher.PasswordHasher, process.context)
      // The change comes to its end right after the login has found its password right.
      let isChanged = false
      const late = PasswordHasher.PasswordHasher.of({
        ...hasher,
        verify: (password, hash) =>
          Effect.tap(hasher.verify(password, hash), (isRight) =>
            isRight && !isChanged
              ? Effect.suspend(() => {
                  isChanged = true
                  return Effect.orDie(
                    process.accounts.changePassword("ana", pass(right), pass("another long one"), "2")
                  )
                })
              : Effect.void
          )
      })
      const context = yield* Layer.build(
        Accounts.layer(users, { ...options, namespace: "late" }).pipe(
          Layer.provide(Layer.succeed(PasswordHasher.PasswordHasher, late)),
          Layer.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))),
          Layer.provide(Layer.succeedContext(process.context))
        )
      )
      const accounts = yield* Effect.provide(Accounts.Accounts, context)
      assert.strictEqual(yield* tagOf(accounts.login("ana@x", pass(right), "1")), "InvalidLogin")
      assert.isTrue(isChanged)
    })
  )

  it.live("attempts are counted by account and by address, over all processes, whether there is anybody or not", () =>
    Effect.gen(function* () {
      const limits = { byAccount: { limit: 3, window: "1 hour" }, byAddress: { limit: 5, window: "1 hour" } } as const
      const { accounts, store } = yield* started(limits)
      const other = yield* processOf(store, limits)
      for (const name of ["ana@x", "nobody@x"]) {
        const attempt = (one: typeof accounts, address: string, spelt = name) =>
          tagOf(one.login(spelt, pass("wrong"), address))
        assert.strictEqual(yield* attempt(accounts, `${name} 1`), "InvalidLogin")
        assert.strictEqual(yield* attempt(other.accounts, `${name} 2`), "InvalidLogin")
        assert.strictEqual(yield* attempt(accounts, `${name} 3`, name.toUpperCase()), "InvalidLogin")
        assert.strictEqual(yield* attempt(other.accounts, `${name} 4`), "TooManyAttempts")
      }
      assert.strictEqual(yield* tagOf(accounts.login("ana@x", pass(right), "5")), "TooManyAttempts")
      for (let i = 0; i < 5; i++) yield* tagOf(accounts.login(`n${i}`, pass("wrong"), "9.9.9.9"))
      assert.strictEqual(yield* tagOf(other.accounts.login("n9", pass("wrong"), "9.9.9.9")), "TooManyAttempts")
    })
  )

  it.effect("secrets that sign are changed without a logout; sessions end, and are not kept without bound", () =>
    Effect.gen(function* () {
      const { accounts, store } = yield* started({ maxSessions: 2, sessionFor: "1 hour" })
      const next = Redacted.make("fedcba9876543210fedcba9876543210")
      const changed = yield* processOf(store, { secrets: [next, secret] })
      const after = yield* processOf(store, { secrets: [next] })
      const login = accounts.login("ana@x", pass(right), "1")
      const old = yield* login
      assert.strictEqual((yield* changed.accounts.verifier.verify(old.accessToken)).id, "ana")
      const young = yield* changed.accounts.refresh(old.refreshToken)
      assert.strictEqual((yield* after.accounts.verifier.verify(young.accessToken)).id, "ana")
      assert.strictEqual(yield* tagOf(after.accounts.verifier.verify(old.accessToken)), "InvalidToken Signature")
      yield* TestClock.adjust("1 second")
      yield* login
      yield* TestClock.adjust("1 second")
      const last = yield* login
      assert.strictEqual(yield* tagOf(accounts.refresh(young.refreshToken)), "InvalidRefreshToken Unknown")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* tagOf(accounts.refresh(last.refreshToken)), "InvalidRefreshToken Expired")
    })
  )

  it.live("a registration costs the same work whether the name is taken or not: one hash is made", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      let hashed = 0
      const counting = Layer.effect(
        PasswordHasher.PasswordHasher,
        Effect.map(PasswordHasher.PasswordHasher, (hasher) =>
          PasswordHasher.PasswordHasher.of({
            ...hasher,
            hash: (...given) => Effect.suspend(() => (hashed++, hasher.hash(...given)))
          })
        )
      )
      const { accounts } = yield* processOf(store, {}, Layer.provideMerge(counting, services))
      const work = Effect.fnUntraced(function* (name: string) {
        hashed = 0
        yield* accounts.register({ name, password: pass(right), profile: {} }, "1")
        return hashed
      })
      assert.deepStrictEqual([yield* work("ana@x"), yield* work("ana@x"), yield* work("bia@x")], [1, 1, 1])
    })
  )

  it.effect("options that would be unsafe are refused", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      for (const more of [
        { secrets: [Redacted.make("short")] as const },
        { sessionFor: "Infinity" as const },
        { expiresIn: "2 days" as const },
        { maxSessions: 0 },
        { minLength: 1 },
        { audience: "" },
        { cookies: { origin: "nowhere" } }
      ]) {
        const error = yield* Effect.flip(processOf(store, more))
        assert.include(["InvalidAccounts", "InvalidOptions"], error._tag)
      }
    })
  )
})

// -----------------------------------------------------------------------------
// Over HTTP
// -----------------------------------------------------------------------------

const site = Effect.fnUntraced(function* (
  more: Partial<Accounts.Options> = {},
  watched: Layer.Layer<never> = Layer.empty
) {
  const process = yield* started(more)
  const notes = HttpResources.expose(Notes)
  const api = HttpResources.api("shop", [notes], { prefix: "/api" }).add(Accounts.group.prefix("/api"))
  const client = yield* serve(
    HttpResources.layer(api, [notes], { openApi: "public" }).pipe(
      Layer.provide(Accounts.handlers(api)),
      Layer.provide(
        Authentication.layer(Effect.map(Accounts.Accounts, ({ verifier }) => Authentication.bearer(verifier)))
      ),
      Layer.provide(Layer.succeedContext(process.context)),
      Layer.provideMerge(watched)
    )
  )
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    client.send("POST", `/api/accounts/${path}`, { as: "", body, headers })
  const me = (token: string) =>
    client.send("GET", "/api/accounts/me", { as: "", headers: { authorization: `Bearer ${token}` } })
  return { ...process, client, post, me }
})

describe("the endpoints of accounts", () => {
  it.live("register, log in, ask, refresh, change the password, log out; and are in the OpenAPI document", () =>
    Effect.gen(function* () {
      const { client, me, post } = yield* site()
      const account = { name: "bia@x", password: right }
      assert.strictEqual((yield* post("register", { ...account, profile: { role: "admin" } })).status, 202)
      const made = yield* post("login", account)
      assert.strictEqual(made.status, 200, made.text)
      assert.strictEqual(made.headers.get("cache-control"), "no-store")
      assert.deepStrictEqual((yield* me(made.json.accessToken)).json, { id: "m-bia@x", roles: ["reader"], scopes: [] })
      const headers = { authorization: `Bearer ${made.json.accessToken}` }
      assert.strictEqual((yield* client.send("GET", "/api/notes/-/count", { as: "", headers })).status, 200)
      const { refreshToken } = made.json
      const renewed = yield* post("refresh", { refreshToken })
      assert.strictEqual(renewed.status, 200)
      isProblem(yield* post("refresh", { refreshToken }), 401, "InvalidRefreshToken")
      isProblem(yield* post("password", { present: right, next: "another long one" }), 401, "Unauthenticated")
      const changed = yield* post("password", { present: right, next: "another long one" }, headers)
      assert.strictEqual(changed.status, 204, changed.text)
      isProblem(yield* post("login", account), 401, "InvalidLogin")
      assert.strictEqual((yield* post("logout", { refreshToken })).status, 204)
      isProblem(yield* post("logout", { everywhere: "yes" }), 400, "InvalidRequest")
      const again = { ...account, password: "another long one" }
      const [here, there] = [yield* post("login", again), yield* post("login", again)]
      const asBia = { authorization: `Bearer ${here.json.accessToken}` }
      // Who is nobody ends nothing.
      assert.strictEqual((yield* post("logout", { everywhere: true })).status, 204)
      const later = yield* post("refresh", { refreshToken: there.json.refreshToken })
      assert.strictEqual(later.status, 200)
      assert.strictEqual((yield* post("logout", { everywhere: true }, asBia)).status, 204)
      for (const one of [here, later]) {
        isProblem(yield* post("refresh", { refreshToken: one.json.refreshToken }), 401, "InvalidRefreshToken")
      }
      const { json } = yield* client.send("GET", "/api/openapi.json", { as: "" })
      assert.containsAllKeys(json.paths, ["/api/accounts/login", "/api/accounts/refresh", "/api/notes/{id}"])
      assert.deepInclude(json.paths["/api/accounts/me"].get, { security: [{ bearer: [] }] })
    })
  )

  it.live("nobody learns which names there are", () =>
    Effect.gen(function* () {
      const { post } = yield* site()
      const same = (answers: ReadonlyArray<{ status: number; text: string }>) =>
        new Set(answers.map(({ status, text }) => `${status} ${text.replace(/"requestId":"[^"]*"/, "")}`)).size
      const logins = yield* Effect.forEach(
        ["ana@x", "nobody@x", "", "a".repeat(5000), "../x", "__proto__", "\u0000", "ana@x\r\nx: y", "\ud800"],
        (name) => post("login", { name, password: "wrong" })
      )
      assert.strictEqual(same(logins), 1)
      isProblem(logins[0]!, 401, "InvalidLogin")
      const taken = yield* Effect.forEach(["ana@x", "new@x"], (name) => post("register", { name, password: right }))
      assert.strictEqual(same(taken), 1)
    })
  )

  it.live(
    "bodies that are too large, of another form or of another type are refused before a password is verified",
    () =>
      Effect.gen(function* () {
        const { client, post } = yield* site()
        const long = "x".repeat(1024 * 1024)
        isProblem(yield* post("login", { name: "ana@x", password: long }), 413)
        isProblem(yield* post("login", { name: "ana@x" }), 400)
        isProblem(yield* post("login", { name: { $ne: "" }, password: right }), 400)
        isProblem(yield* post("login", { name: "ana@x", password: right, [right]: 1 }), 400)
        const form = { as: "", raw: `name=ana&password=${right}`, headers: { "content-type": "text/plain" } }
        isProblem(yield* client.send("POST", "/api/accounts/login", form), 415)
      })
  )

  it.live("too many attempts: 429 with Retry-After", () =>
    Effect.gen(function* () {
      const { post } = yield* site({ byAccount: { limit: 1, window: "1 hour" } })
      yield* post("login", { name: "ana@x", password: "wrong" })
      const answer = yield* post("login", { name: "ana@x", password: right })
      isProblem(answer, 429, "TooManyAttempts")
      assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/)
    })
  )

  it.live("cookies: of this host alone, out of reach of scripts, and only for pages of the origin", () =>
    Effect.gen(function* () {
      const origin = "https://shop.example"
      const { post } = yield* site({ cookies: { origin } })
      const account = { name: "ana@x", password: right }
      for (const headers of [{}, { origin: "https://evil.example" }, { origin: "null" }] as const) {
        isProblem(yield* post("login", account, headers), 403, "WrongOrigin")
      }
      // What somebody has put into the browser before is not taken over.
      const fixed = `__Host-s3db-refresh=s3dbr_${"a".repeat(22)}_${"b".repeat(43)}`
      const made = yield* post("login", account, { origin, cookie: fixed })
      assert.notProperty(made.json, "refreshToken")
      const set = made.headers.get("set-cookie") ?? ""
      for (const part of ["__Host-s3db-refresh=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"]) {
        assert.include(set, part)
      }
      assert.notInclude(set, "Domain")
      const cookie = set.split(";")[0]!
      assert.notInclude(cookie, "aaaaaaaa")
      isProblem(yield* post("refresh", {}, { cookie }), 403, "WrongOrigin")
      isProblem(yield* post("refresh", {}, { cookie, origin: "https://evil.example" }), 403, "WrongOrigin")
      isProblem(yield* post("refresh", { refreshToken: cookie.split("=")[1] }, { origin }), 401, "InvalidRefreshToken")
      const renewed = yield* post("refresh", {}, { cookie, origin })
      assert.strictEqual(renewed.status, 200, renewed.text)
      const next = (renewed.headers.get("set-cookie") ?? "").split(";")[0]!
      const left = yield* post("logout", {}, { cookie: next, origin })
      assert.match(left.headers.get("set-cookie") ?? "", /Max-Age=0/)
      isProblem(yield* post("refresh", {}, { cookie: next, origin }), 401, "InvalidRefreshToken")
    })
  )

  it.live("forged tokens are refused: none, another key, another kind, another audience, tricks with kid", () =>
    Effect.gen(function* () {
      const { me } = yield* site()
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
      const claims = { iss: options.issuer, aud: options.audience, sub: "ana", exp: 9_999_999_999, roles: ["admin"] }
      const signed = (more: Partial<Jwt.SignerOptions>) =>
        Effect.flatMap(
          Jwt.makeSigner({ issuer: options.issuer, audience: options.audience, type: "at+jwt", secret, ...more }),
          (signer) => Effect.map(signer.sign("ana"), Redacted.value)
        )
      assert.strictEqual((yield* me(yield* signed({}))).status, 200)
      const [, payload, signature] = (yield* signed({})).split(".")
      for (const token of [
        `${part({ alg: "none", typ: "at+jwt" })}.${part(claims)}.`,
        `${part({ alg: "None", typ: "at+jwt" })}.${part(claims)}.${signature}`,
        `${part({ alg: "HS256", typ: "at+jwt" })}.${part(claims)}.${signature}`,
        `${part({ alg: "RS256", typ: "at+jwt" })}.${payload}.${signature}`,
        `${part({ alg: "HS256", typ: "at+jwt", kid: "../../dev/null" })}.${payload}.${signature}`,
        `${part({ alg: "HS256", typ: "at+jwt", jwk: { kty: "oct", k: "AA" } })}.${payload}.${signature}`,
        yield* signed({ secret: Redacted.make("x".repeat(32)) }),
        yield* signed({ type: "JWT" }),
        yield* signed({ audience: "another" }),
        yield* signed({ issuer: "https://evil.example" })
      ]) {
        isProblem(yield* me(token), 401, "Unauthenticated")
      }
    })
  )

  it.live("a key pair of somebody is no secret: its public half does not sign, whoever publishes it", () =>
    Effect.gen(function* () {
      const pair = generateKeyPairSync("rsa", { modulusLength: 2048 })
      const jwk = pair.publicKey.export({ format: "jwk" })
      const pem = pair.publicKey.export({ format: "pem", type: "spki" }).toString()
      const der = pair.publicKey.export({ format: "der", type: "spki" })
      const { me } = yield* site()
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
      const claims = {
        iss: options.issuer,
        aud: options.audience,
        sub: "ana",
        iat: 1,
        exp: 9_999_999_999,
        roles: ["admin"]
      }
      const byHmac = (key: string | Uint8Array, header: object = {}) => {
        const text = `${part({ alg: "HS256", typ: "at+jwt", ...header })}.${part(claims)}`
        return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`
      }
      const byRsa = (header: object = {}) => {
        const text = `${part({ alg: "RS256", typ: "at+jwt", ...header })}.${part(claims)}`
        return `${text}.${createSign("sha256").update(text).sign(pair.privateKey).toString("base64url")}`
      }
      // It is the key that is wrong, and nothing else.
      assert.strictEqual((yield* me(byHmac(Redacted.value(secret)))).status, 200)
      const forged = [
        byHmac(pem),
        byHmac(pem.trim()),
        byHmac(der),
        byHmac(JSON.stringify(jwk)),
        byHmac(Buffer.from(jwk.n!, "base64url")),
        byHmac(pem, { jwk, kid: "a" }),
        byHmac(""),
        byHmac("\0"),
        byRsa(),
        byRsa({ jwk }),
        byRsa({ jku: "https://evil.example/jwks", kid: "a" })
      ]
      for (const token of forged) isProblem(yield* me(token), 401, "Unauthenticated")
      // The other way round: where the pair signs, neither it nor the secret of accounts signs as HS256.
      const verifier = yield* Jwt.makeVerifier({
        issuer: options.issuer,
        audience: options.audience,
        keys: [jwk],
        algorithms: ["RS256"],
        type: "at+jwt"
      })
      assert.strictEqual((yield* verifier.verify(pass(byRsa()))).id, "ana")
      const alone = forged.slice(0, 8).concat(byHmac(Redacted.value(secret)))
      for (const token of alone)
        assert.strictEqual((yield* Effect.flip(verifier.verify(pass(token))))._tag, "InvalidToken")
    })
  )

  it.live("no secret is in an error, or in a log", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void seen.push(JSON.stringify([message, String(cause)])))
      yield* Effect.gen(function* () {
        const { accounts } = yield* started()
        const made = yield* accounts.login("ana@x", pass(right), "1")
        yield* accounts.refresh(made.refreshToken)
        const failures = yield* Effect.all([
          Effect.flip(accounts.refresh(made.refreshToken)),
          Effect.flip(accounts.login("ana@x", pass("hunter2 hunter2"), "1")),
          Effect.flip(accounts.register({ name: "x", password: pass("hunter2"), profile: {} }, "1"))
        ])
        seen.push(JSON.stringify(failures), String(failures), JSON.stringify(made), String(made.refreshToken))
        const hidden = [right, "hunter2", Redacted.value(made.refreshToken), Redacted.value(made.accessToken)]
        for (const one of hidden) assert.notInclude(seen.join("\n"), one)
        assert.include(seen.join("\n"), "used again")
      }).pipe(Effect.provide(Logger.layer([logger])), Effect.provideService(References.MinimumLogLevel, "Trace"))
    })
  )

  it.live("no secret is in an answer that does not give it, in a log or in a span, whatever is tried", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void seen.push(JSON.stringify([message, String(cause)])))
      let spans = 0
      const tracer = Tracer.make({
        span: (given) => {
          const span = new Tracer.NativeSpan(given)
          const attribute = span.attribute.bind(span)
          spans++
          seen.push(given.name)
          span.attribute = (key, value) => {
            seen.push(`${key} ${String(value)}`)
            attribute(key, value)
          }
          return span
        }
      })
      const watched = Layer.mergeAll(
        Logger.layer([logger]),
        Layer.succeed(Tracer.Tracer, tracer),
        Layer.succeed(References.MinimumLogLevel, "Trace")
      )
      const { me, post } = yield* site({}, watched)
      const hidden = [right, "hunter2 hunter2", "another long one"]
      const tried = (answer: { readonly text: string; readonly headers: Headers }) =>
        void seen.push(answer.text, JSON.stringify([...answer.headers]))
      const made = yield* post("login", { name: "ana@x", password: right })
      const { accessToken, refreshToken } = made.json
      const renewed = yield* post("refresh", { refreshToken })
      hidden.push(accessToken, refreshToken, renewed.json.accessToken, renewed.json.refreshToken)
      tried(yield* post("refresh", { refreshToken }))
      tried(yield* post("login", { name: "ana@x", password: "hunter2 hunter2" }))
      tried(yield* post("login", { name: "ana@x", password: right, more: right }))
      tried(yield* post("login", { name: 1, password: right }))
      tried(yield* post("register", { name: "ana@x", password: right }))
      tried(yield* me(accessToken))
      tried(yield* me(`${accessToken}x`))
      const headers = { authorization: `Bearer ${accessToken}` }
      tried(yield* post("password", { present: "hunter2 hunter2", next: "another long one" }, headers))
      tried(yield* post("password", { present: right, next: "another long one" }, headers))
      tried(yield* post("logout", { refreshToken }))
      for (const one of hidden) assert.notInclude(seen.join("\n"), one)
      assert.isAbove(spans, 20)
      assert.include(seen.join("\n"), "used again")
    })
  )
})
