import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as ApiKeys from "effect-s3db/http/ApiKeys"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { isProblem, Notes, serve, services } from "./api.ts"

class People extends Resource.Service<People>()("ways/people", {
  schema: Schema.Struct({
    id: Schema.String,
    password: Schema.optionalKey(Attribute.Password),
    active: Schema.Boolean
  }),
  primaryKey: "id"
}) {}

const data = Layer.mergeAll(Notes.layer, People.layer, ApiKeys.layer).pipe(
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provideMerge(MemoryStore.layer),
  Layer.provideMerge(services)
)

const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64")
const basicOf = (name: string, password: string) => ({ authorization: `Basic ${base64(`${name}:${password}`)}` })

const checkOf = Effect.flatMap(People, (people) =>
  Authentication.passwords({
    find: (name) => Effect.map(people.getOption(name), Option.getOrUndefined),
    hash: ({ password }) => password,
    user: ({ active, id }) => (active ? CurrentUser.make(id) : undefined)
  })
)

const asked = (headers: Record<string, string>, path = "/", method = "GET") =>
  HttpServerRequest.fromWeb(new Request(`http://localhost${path}`, { method, headers }))

describe("Authentication.basic", () => {
  it.live("the users of a resource: colons, Unicode, any case of the scheme; whatever is wrong answers the same", () =>
    Effect.gen(function* () {
      const people = yield* People
      yield* people.insert({ id: "ana", password: Redacted.make("a:b:ç☂"), active: true })
      yield* people.insert({ id: "gone", password: Redacted.make("right"), active: false })
      yield* people.insert({ id: "none", active: true })
      const context = yield* Effect.context<Layer.Success<typeof data>>()
      const notes = HttpResources.expose(Notes)
      const client = yield* serve(
        HttpResources.layer(HttpResources.api("notes", [notes], { prefix: "/api" }), [notes]).pipe(
          Layer.provide(Authentication.layer(Effect.flatMap(checkOf, (check) => Authentication.basic(check)))),
          Layer.provide(Layer.succeedContext(context))
        )
      )
      const asking = (headers: Record<string, string>) => client.send("GET", "/api/notes/-/count", { as: "", headers })
      const right = basicOf("ana", "a:b:ç☂").authorization
      for (const authorization of [right, right.replace("Basic", "bAsIc")]) {
        assert.strictEqual((yield* asking({ authorization })).status, 200)
      }
      const texts = new Set<string>()
      for (const headers of [
        {},
        basicOf("ana", "a:b"),
        basicOf("ana", ""),
        basicOf("", "right"),
        basicOf("nobody", "right"),
        basicOf("none", "right"),
        basicOf("gone", "right"),
        basicOf("__proto__", "right"),
        basicOf("../ana", "a:b:ç☂"),
        basicOf("ana\r\nx: y", "right"),
        basicOf("ana", "x".repeat(10_000)),
        basicOf("a".repeat(1000), "right"),
        { authorization: "Basic" },
        { authorization: "Basic !!!" },
        { authorization: `Basic ${base64("ana")}` },
        { authorization: `Basic ${Buffer.from([0xff, 0x3a, 0x61]).toString("base64")}` },
        { authorization: `${right}, ${right}` }
      ]) {
        const answer = yield* asking(headers)
        isProblem(answer, 401, "Unauthenticated")
        assert.match(answer.headers.get("www-authenticate") ?? "", /^Basic realm="api", charset="UTF-8"$/)
        const { requestId: _, ...rest } = answer.json
        texts.add(JSON.stringify(rest))
      }
      assert.strictEqual(texts.size, 1)
    }).pipe(Effect.provide(data))
  )

  it.live("somebody who is not there costs the same work: one hash is verified", () =>
    Effect.gen(function* () {
      const people = yield* People
      yield* people.insert({ id: "ana", password: Redacted.make("right"), active: true })
      const hasher = yield* PasswordHasher.PasswordHasher
      let verified = 0
      const counting = PasswordHasher.PasswordHasher.of({
        ...hasher,
        verify: (password, hash) => Effect.suspend(() => (verified++, hasher.verify(password, hash)))
      })
      const check = yield* Effect.provideService(checkOf, PasswordHasher.PasswordHasher, counting)
      for (const name of ["ana", "nobody"]) {
        verified = 0
        assert.isUndefined(yield* check(name, Redacted.make("wrong")))
        assert.strictEqual(verified, 1, name)
      }
    }).pipe(Effect.provide(data))
  )
})

describe("Authentication.headerSecret", () => {
  const secrets = [Redacted.make("n".repeat(32)), Redacted.make("o".repeat(32))] as const
  const user = CurrentUser.make("ops", { roles: ["admin"] })

  it.effect("each of the secrets counts, whole and once", () =>
    Effect.gen(function* () {
      const { authenticate } = yield* Authentication.headerSecret({ header: "X-Admin-Secret", secrets, user })
      for (const secret of secrets) {
        assert.deepStrictEqual(yield* authenticate(asked({ "x-admin-secret": Redacted.value(secret) })), user)
      }
      assert.isUndefined(yield* authenticate(asked({})))
      const right = Redacted.value(secrets[0])
      for (const wrong of [
        "",
        "n",
        right.slice(1),
        `${right}n`,
        `${right}\0`.replace("\0", "0"),
        `${right}, ${right}`
      ]) {
        const error = yield* Effect.flip(authenticate(asked({ "x-admin-secret": wrong })))
        assert.strictEqual(error._tag, "Unauthenticated", wrong)
      }
    })
  )

  it.effect("short secrets and headers of others are refused", () =>
    Effect.gen(function* () {
      const short = [Redacted.make("short")] as const
      for (const options of [
        { header: "x-admin-secret", secrets: short },
        { header: "x-admin-secret", secrets: [secrets[0], ...short] as const },
        { header: "Authorization", secrets },
        { header: "a b", secrets }
      ]) {
        const error = yield* Effect.flip(Authentication.headerSecret({ ...options, user }))
        assert.strictEqual(error._tag, "InvalidAuthentication")
        assert.notInclude(error.message, "short secret")
      }
    })
  )
})

describe("Authentication.pathRules", () => {
  const ways: Authentication.Authentication["Service"] = {
    authenticate: ({ headers }) =>
      Effect.succeed(
        headers["x-user"] === undefined
          ? undefined
          : CurrentUser.make(headers["x-user"], {
              roles: [headers["x-user"]],
              scopes: ["read"],
              claims: headers["x-user"] === "service:job" ? { serviceAccount: true } : {}
            })
      ),
    challenges: ["Bearer"],
    schemes: {}
  }
  /** What becomes of a request: who it is of, or why it is refused. */
  const outcome = (
    made: Authentication.Authentication["Service"],
    user: string | undefined,
    path: string,
    method = "GET"
  ) =>
    made.authenticate(asked(user === undefined ? {} : { "x-user": user }, path, method)).pipe(
      Effect.map((found) => found?.id ?? "anonymous"),
      Effect.catch((error) => Effect.succeed(error._tag))
    )

  it.effect("the most specific path decides, in any order, and what no rule has is closed", () =>
    Effect.gen(function* () {
      const rules: Array<Authentication.Rule> = [
        { path: "/**", allow: "authenticated" },
        { path: "/admin/**", allow: { roles: ["admin"] } },
        { path: "/admin/health", allow: "anybody" },
        { path: "/public/*", methods: ["GET"], allow: "anybody" },
        { path: "/jobs/**", allow: { serviceAccounts: false } },
        { path: "/write/**", allow: { scopes: ["read", "write"] } }
      ]
      for (const order of [rules, rules.toReversed()]) {
        const made = yield* Authentication.pathRules(
          ways,
          order as [Authentication.Rule, ...Array<Authentication.Rule>]
        )
        for (const [user, path, wanted, method] of [
          [undefined, "/x", "Unauthenticated"],
          ["ana", "/x", "ana"],
          ["ana", "/admin/x", "Rejected"],
          ["ana", "/admin", "Rejected"],
          ["ana", "//admin///x", "Rejected"],
          ["ana", "/%61dmin/x", "Rejected"],
          ["ana", "/admin/x?y=/public/z", "Rejected"],
          [undefined, "/admin/x", "Unauthenticated"],
          ["admin", "/admin/x/y", "admin"],
          [undefined, "/admin/health", "anonymous"],
          [undefined, "/public/x", "anonymous"],
          [undefined, "/public/x", "anonymous", "HEAD"],
          [undefined, "/public/x/y", "Unauthenticated"],
          ["ana", "/public/a%2Fb", "ana"],
          // The rule that has the path does not have the method: no other is asked.
          ["admin", "/public/x", "Rejected", "POST"],
          [undefined, "/public/x", "Unauthenticated", "DELETE"],
          ["service:job", "/x", "service:job"],
          ["service:job", "/jobs/x", "Rejected"],
          ["ana", "/jobs/x", "ana"],
          ["ana", "/write/x", "Rejected"],
          // What may be taken for another path is nowhere.
          ["admin", "/x;/admin", "Rejected"],
          ["admin", "/public/%2e%2e/admin", "Rejected"],
          ["admin", "/%zz", "Rejected"],
          ["admin", "/a%00", "Rejected"]
        ] as ReadonlyArray<readonly [string | undefined, string, string, string?]>) {
          // A browser's URL would tidy the path up: the request has it as it was sent.
          const found = yield* outcome(
            {
              ...made,
              authenticate: (request) => made.authenticate(Object.create(request, { originalUrl: { value: path } }))
            },
            user,
            "/",
            method
          )
          assert.strictEqual(found, wanted, `${user} ${method ?? "GET"} ${path}`)
        }
      }
      const narrow = yield* Authentication.pathRules(ways, [{ path: "/api/:name", allow: "authenticated" }])
      assert.strictEqual(yield* outcome(narrow, "ana", "/api/x"), "ana")
      assert.strictEqual(yield* outcome(narrow, "ana", "/api"), "Rejected")
      assert.strictEqual(yield* outcome(narrow, "ana", "/other"), "Rejected")
      assert.strictEqual(yield* outcome(narrow, undefined, "/other"), "Unauthenticated")
    })
  )

  it.effect("rules that say two things, or nothing, are refused", () =>
    Effect.gen(function* () {
      const allow = "authenticated"
      for (const rules of [
        [{ path: "admin", allow }],
        [{ path: "/a//b", allow }],
        [{ path: "/a/../b", allow }],
        [{ path: "/**/b", allow }],
        [{ path: "/a*", allow }],
        [{ path: "/%61", allow }],
        [{ path: "/a", methods: ["get"], allow }],
        [
          { path: "/a/*", allow },
          { path: "/a/:id", allow }
        ],
        [
          { path: "/a", methods: ["GET", "POST"], allow },
          { path: "/a", methods: ["POST"], allow }
        ]
      ] as ReadonlyArray<[Authentication.Rule, ...Array<Authentication.Rule>]>) {
        const error = yield* Effect.flip(Authentication.pathRules(ways, rules))
        assert.strictEqual(error.option, "rules", JSON.stringify(rules))
      }
    })
  )

  it.live("over HTTP: 401 for nobody, 403 for somebody, as problems", () =>
    Effect.gen(function* () {
      const notes = HttpResources.expose(Notes, { publicTo: "everybody" })
      const api = HttpResources.api("notes", [notes], { prefix: "/api" })
      const rules = [
        { path: "/api/notes/-/count", methods: ["GET"], allow: "anybody" },
        { path: "/api/notes", allow: { roles: ["admin"] } }
      ] as const
      const client = yield* serve(
        HttpResources.layer(api, [notes]).pipe(
          Layer.provide(Authentication.layer(Authentication.pathRules(ways, rules))),
          Layer.provide(data)
        )
      )
      const send = (path: string, user?: string, method = "GET") =>
        client.send(method, path, { as: "", headers: user === undefined ? {} : { "x-user": user } })
      assert.strictEqual((yield* send("/api/notes/-/count")).status, 200)
      isProblem(yield* send("/api/notes/x"), 401, "Unauthenticated")
      isProblem(yield* send("/api/notes/x", "admin"), 403, "Forbidden")
      isProblem(yield* send("/api/notes", "ana"), 403, "Forbidden")
      assert.strictEqual((yield* send("/api/notes", "admin")).status, 200)
    })
  )
})

describe("service accounts", () => {
  it.effect("have keys with scopes, and no user can be one", () =>
    Effect.gen(function* () {
      const keys = yield* ApiKeys.ApiKeys
      const { key } = yield* keys.issue({ service: "job", scopes: ["read"] })
      const account = yield* keys.verify(key)
      assert.deepInclude(account, { id: "service:job", scopes: ["read"] })
      assert.isTrue(ApiKeys.isServiceAccount(account))
      const person = yield* keys.verify((yield* keys.issue({ user: "job" })).key)
      assert.isFalse(ApiKeys.isServiceAccount(person))
      for (const wrong of [{ user: "service:job" }, { service: "" }, { user: "" }] as const) {
        assert.strictEqual((yield* Effect.flip(keys.issue(wrong)))._tag, "InvalidApiKeys")
      }
    }).pipe(Effect.provide(data))
  )
})
