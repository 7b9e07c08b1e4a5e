import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as ApiKeys from "effect-s3db/http/ApiKeys"
import * as Authentication from "effect-s3db/http/Authentication"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Jwt from "effect-s3db/http/Jwt"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { Unavailable } from "effect-s3db/storage/StoreError"
import { isProblem, Notes, serve } from "./api.ts"

const place = { issuer: "https://id.example.com", audience: "https://api.example.com" }
const secret = Redacted.make("0123456789abcdef0123456789abcdef")
const data = Layer.mergeAll(Notes.layer, ApiKeys.layer).pipe(
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provideMerge(MemoryStore.layer)
)

/** An API on a database of its own, and the keys of that. */
const started = Effect.fnUntraced(function* <E>(
  ways: (
    keys: ApiKeys.ApiKeys["Service"]
  ) => Effect.Effect<Authentication.Authentication["Service"], E, ApiKeys.ApiKeys>,
  around: Layer.Layer<never> = Layer.empty
) {
  const context = yield* Layer.build(data)
  const keys = yield* Effect.provide(ApiKeys.ApiKeys, context)
  const notes = HttpResources.expose(Notes)
  const api = HttpResources.api("notes", [notes], { prefix: "/api" })
  const client = yield* serve(
    HttpResources.layer(api, [notes]).pipe(
      Layer.provide(Authentication.layer(ways(keys))),
      Layer.provide(Layer.succeedContext(context)),
      Layer.provideMerge(around)
    )
  )
  const asking = (headers: Record<string, string>) => client.send("GET", "/api/notes/-/count", { as: "", headers })
  return { keys, asking }
})

describe("Authentication", () => {
  it.live("by tokens and API keys: who names somebody has to prove it, by the way that is named", () =>
    Effect.gen(function* () {
      const signer = yield* Jwt.makeSigner({ ...place, secret })
      const { asking, keys } = yield* started(() =>
        Effect.gen(function* () {
          const verifier = yield* Jwt.makeVerifier({ ...place, secret })
          return Authentication.firstOf(Authentication.bearer(verifier), yield* Authentication.apiKey)
        })
      )
      const token = Redacted.value(yield* signer.sign("ana"))
      const { issued, key } = yield* keys.issue({ user: "import" })
      const apiKey = Redacted.value(key)
      const accepted = [
        { authorization: `Bearer ${token}` },
        { authorization: `bearer ${token}` },
        { "x-api-key": apiKey },
        // Of another kind, which nobody here knows.
        { authorization: "Basic YTpi", "x-api-key": apiKey }
      ]
      for (const headers of accepted) assert.strictEqual((yield* asking(headers)).status, 200, JSON.stringify(headers))
      const refused = [
        {},
        { authorization: "Basic YTpi" },
        { authorization: "Bearer" },
        { authorization: "Bearer a b" },
        { authorization: `Bearer ${token}x` },
        { authorization: `Bearer ${token.split(".").slice(0, 2).join(".")}.` },
        { authorization: `Bearer ${apiKey}` },
        { "x-api-key": token },
        { "x-api-key": "" },
        // A wrong token is not mended by a right key.
        { authorization: "Bearer forged", "x-api-key": apiKey }
      ]
      for (const headers of refused) {
        const answer = yield* asking(headers)
        isProblem(answer, 401, "Unauthenticated")
        assert.match(answer.headers.get("www-authenticate") ?? "", /Bearer/)
        assert.notInclude(answer.text, "forged")
      }
      yield* keys.revoke(issued.id)
      isProblem(yield* asking({ "x-api-key": apiKey }), 401, "Unauthenticated")
    })
  )

  it.live("answers 503 while the issuer's keys cannot be had, and tells nobody where they are", () =>
    Effect.gen(function* () {
      const client = HttpClient.make((request) =>
        Effect.sync(() => HttpClientResponse.fromWeb(request, new Response("down", { status: 500 })))
      )
      const url = "https://id.example.com/jwks"
      const { asking } = yield* started(() =>
        Jwt.makeRemoteVerifier({ ...place, url, algorithms: ["ES256"] }).pipe(
          Effect.provideService(HttpClient.HttpClient, client),
          Effect.map(Authentication.bearer)
        )
      )
      const answer = yield* asking({ authorization: "Bearer a.b.c" })
      assert.strictEqual(answer.status, 503)
      assert.notInclude(answer.text, "jwks")
    })
  )

  it.live("nothing of names, passwords and secrets of headers is in a log or a span", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      let spans = 0
      const logger = Logger.make(({ cause, fiber, message }) => {
        const annotations = fiber.getRef(References.CurrentLogAnnotations)
        seen.push(JSON.stringify([message, String(cause), annotations]))
      })
      const tracer = Tracer.make({
        span: (given) => {
          const span = new Tracer.NativeSpan(given)
          const attribute = span.attribute.bind(span)
          const end = span.end.bind(span)
          spans += 1
          seen.push(given.name)
          span.attribute = (key, value) => {
            seen.push(`${key} ${String(value)}`)
            attribute(key, value)
          }
          span.end = (time, exit) => {
            if (exit._tag === "Failure") seen.push(`${String(exit.cause)} ${JSON.stringify(exit.cause)}`)
            end(time, exit)
          }
          return span
        }
      })
      const watched = Layer.mergeAll(
        Logger.layer([logger]),
        Layer.succeed(Tracer.Tracer, tracer),
        Layer.succeed(References.MinimumLogLevel, "Trace")
      )
      const password = "correct horse battery"
      const shared = "a shared secret of 32 bytes, or more"
      const { asking } = yield* started(
        () =>
          Effect.gen(function* () {
            const basic = yield* Authentication.basic((name, given) =>
              name === "broken"
                ? Effect.fail(DbError.make("test", new Unavailable({ description: "down", sent: false })))
                : Effect.succeed(Redacted.value(given) === password ? CurrentUser.make(name) : undefined)
            )
            const header = yield* Authentication.headerSecret({
              header: "x-admin-secret",
              secrets: [Redacted.make(shared)],
              user: CurrentUser.make("admin")
            })
            return Authentication.firstOf(basic, header)
          }),
        watched
      )
      const basicOf = (name: string, given: string) => Buffer.from(`${name}:${given}`).toString("base64")
      const wrong = "a secret that is not the right one, but long"
      const credentials = [
        basicOf("ana", password),
        basicOf("ana", "hunter2 hunter2"),
        basicOf("broken", password),
        "%%% hunter3"
      ]
      const statuses: Array<number> = []
      for (const one of credentials) {
        const { status } = yield* asking({ authorization: `Basic ${one}` })
        statuses.push(status)
      }
      for (const one of [shared, wrong, `${shared}, ${shared}`, ""]) {
        const { status } = yield* asking({ "x-admin-secret": one })
        statuses.push(status)
      }
      assert.deepStrictEqual(statuses, [200, 401, 503, 401, 200, 401, 401, 401])
      assert.isAbove(spans, 8)
      assert.include(seen.join("\n"), "/api/notes/-/count")
      for (const one of [...credentials, password, "hunter2", "hunter3", shared, wrong]) {
        assert.notInclude(seen.join("\n"), one)
      }
    })
  )
})
