import { assert, describe, it } from "@effect/vitest"
import { generateKeyPairSync } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { decodeProtectedHeader, jwtVerify } from "jose"
import * as TestClock from "effect/testing/TestClock"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import { kind, opened } from "./bigQueryReplicas.ts"
import { change, simpleShape, suite } from "./replicaTables.ts"

const batch = (...changes: ReadonlyArray<ReplicaTarget.Change>) => ({ shape: simpleShape, changes, isRepair: false })
const ready = (target: ReplicaTarget.Target) => Effect.flatMap(target.plan([simpleShape]), (plan) => target.run(plan))

describe("ReplicaBigQuery", () => {
  suite({ ...kind, every: 30, many: 100 })

  it.effect("asks one query for a batch, with its values in a parameter, and waits for its job", () =>
    Effect.gen(function* () {
      const { server, target } = yield* opened({ location: "EU" })
      yield* ready(target)
      server.queries.length = 0
      let looks = 0
      server.self.says = (request) => {
        if (looks === 0 && request.method === "POST") {
          looks += 1
          return { status: 200, body: { jobComplete: false, jobReference: { jobId: "job/1", location: "EU" } } }
        }
        if (request.method === "GET" && looks++ < 3)
          return { status: 200, body: { jobComplete: false, jobReference: { jobId: "job/1" } } }
        return request.method === "GET" ? { status: 200, body: { jobComplete: true } } : undefined
      }
      yield* target.apply(batch(change("it's", 1), change("b", 2)))
      assert.strictEqual(looks, 4)
      const [post, get] = server.requests.slice(-4)
      assert.strictEqual(post?.url, "https://bigquery.googleapis.com/bigquery/v2/projects/my-project/queries")
      assert.strictEqual(post?.headers["authorization"], "Bearer t0ken")
      assert.include(get?.url, "/queries/job%2F1")
      const body = JSON.parse(new TextDecoder().decode(post?.body._tag === "Uint8Array" ? post.body.body : undefined))
      assert.deepStrictEqual(body.queryParameters, [
        {
          name: "rows",
          parameterType: { type: "STRING" },
          parameterValue: {
            value: '[{"k":"it\'s","v":"1","d":"false","c0":"1"},{"k":"b","v":"2","d":"false","c0":"2"}]'
          }
        }
      ])
      assert.strictEqual(
        body.query,
        [
          "BEGIN TRANSACTION;",
          "UPDATE `my-project`.`shop`.`simple_s3db_lock` SET taken = taken + 1 WHERE TRUE;",
          "MERGE INTO `my-project`.`shop`.`simple` AS t",
          "USING (SELECT JSON_VALUE(r, '$.k') AS k, CAST(JSON_VALUE(r, '$.v') AS INT64) AS v, CAST(JSON_VALUE(r, '$.d') AS BOOL) AS d, CAST(JSON_VALUE(r, '$.c0') AS INT64) AS c0 FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS r) AS s",
          "ON t.`id` = s.k",
          "WHEN MATCHED AND t.`s3db_version` < s.v THEN UPDATE SET `n` = s.c0, `s3db_version` = s.v, `s3db_deleted` = s.d",
          "WHEN NOT MATCHED THEN INSERT (`id`, `n`, `s3db_version`, `s3db_deleted`) VALUES (s.k, s.c0, s.v, s.d);",
          "COMMIT TRANSACTION"
        ].join("\n")
      )
    }).pipe(Effect.scoped)
  )

  it.effect("splits what is too large for a request, and refuses a document that is by itself", () =>
    Effect.gen(function* () {
      const { server, target } = yield* opened()
      const shape = { ...simpleShape, columns: [{ path: ["n"], name: "n", type: { _tag: "Text" as const } }] }
      server.self.says = () => ({ status: 200, body: { jobComplete: true } })
      const large = (id: string, bytes: number): ReplicaTarget.Change => ({
        ...change(id, 1),
        document: { id, n: "x".repeat(bytes) }
      })
      yield* target.apply({ shape, changes: ["a", "b", "c"].map((id) => large(id, 3_000_000)), isRepair: false })
      assert.strictEqual(server.requests.length, 2)
      const error = yield* Effect.flip(target.apply({ shape, changes: [large("d", 9_000_000)], isRepair: false }))
      assert.strictEqual(error.problem, "Refused")
    }).pipe(Effect.scoped)
  )

  it.effect("tells what is out of reach from what is refused, and shows no values", () =>
    Effect.gen(function* () {
      const { server, target } = yield* opened()
      const no = (code: number, reason: string, message = "secret value") => ({
        status: code,
        body: { error: { code, message, errors: [{ reason, message }] } }
      })
      const answers = [
        [no(403, "rateLimitExceeded"), "Unavailable"],
        [no(403, "quotaExceeded"), "Unavailable"],
        [no(403, "accessDenied"), "Credentials"],
        [no(401, "authError"), "Credentials"],
        [no(500, "backendError"), "Unavailable"],
        [{ status: 502, body: "secret value" }, "Unavailable"],
        [no(404, "notFound"), "Schema"],
        [no(400, "invalidQuery", "Unrecognized name: more at [1:1]; secret value"), "Schema"],
        [no(400, "invalidQuery", "Bad int64 value: secret value"), "Refused"],
        [no(400, "invalidQuery", "Transaction is aborted due to concurrent update; secret value"), "Unavailable"],
        [no(413, "uploadTooLarge"), "Refused"],
        [
          {
            status: 200,
            body: { jobComplete: true, errors: [{ reason: "jobBackendError", message: "secret value" }] }
          },
          "Unavailable"
        ],
        [{ status: 200, body: {} }, "Unavailable"]
      ] as const
      for (const [said, problem] of answers) {
        server.self.says = () => said
        const error = yield* Effect.flip(target.apply(batch(change("a", 1))))
        assert.strictEqual(error.problem, problem, JSON.stringify(said))
        assert.notInclude(error.message, "secret")
      }
      server.self.says = () => ({ ...no(503, "backendError"), headers: { "retry-after": "7" } })
      assert.strictEqual((yield* Effect.flip(target.apply(batch(change("a", 1))))).retryAfterMillis, 7_000)
    }).pipe(Effect.scoped)
  )

  it.effect("has a token for a service account, until it ends or is taken back", () =>
    Effect.gen(function* () {
      const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
      const { server, target } = yield* opened({
        credentials: {
          clientEmail: "replica@my-project.iam.gserviceaccount.com",
          privateKey: Redacted.make(privateKey.export({ type: "pkcs8", format: "pem" }).toString())
        }
      })
      const assertions: Array<string> = []
      let refuses = false
      server.self.says = (request) => {
        if (request.url === "https://oauth2.googleapis.com/token") {
          const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
          const form = new URLSearchParams(text)
          assert.strictEqual(form.get("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer")
          assertions.push(form.get("assertion")!)
          return {
            status: 200,
            body: { access_token: `t${assertions.length}`, expires_in: 3600, token_type: "Bearer" }
          }
        }
        return refuses ? { status: 401, body: {} } : { status: 200, body: { jobComplete: true } }
      }
      yield* target.apply(batch(change("a", 1)))
      yield* target.apply(batch(change("a", 2)))
      assert.strictEqual(assertions.length, 1)
      assert.strictEqual(server.requests.at(-1)?.headers["authorization"], "Bearer t1")
      assert.strictEqual(decodeProtectedHeader(assertions[0]!).alg, "RS256")
      const { payload } = yield* Effect.promise(() =>
        jwtVerify(assertions[0]!, publicKey, {
          currentDate: new Date(1000),
          audience: "https://oauth2.googleapis.com/token"
        })
      )
      assert.strictEqual(payload.iss, "replica@my-project.iam.gserviceaccount.com")
      assert.strictEqual(payload["scope"], "https://www.googleapis.com/auth/bigquery")
      assert.strictEqual(payload.exp, 3600)
      yield* TestClock.adjust("59 minutes")
      yield* target.apply(batch(change("a", 3)))
      assert.strictEqual(assertions.length, 2)
      refuses = true
      assert.strictEqual((yield* Effect.flip(target.apply(batch(change("a", 4))))).problem, "Credentials")
      refuses = false
      yield* target.apply(batch(change("a", 4)))
      assert.strictEqual(assertions.length, 3)
      const wrong = yield* opened({ credentials: { clientEmail: "x", privateKey: Redacted.make("s3cret") } })
      const error = yield* Effect.flip(wrong.target.apply(batch(change("a", 1))))
      assert.strictEqual(error.problem, "Credentials")
      assert.notInclude(error.message, "s3cret")
      // A key that is one, and not that of the account; and a server that cannot say.
      for (const [status, problem] of [
        [400, "Credentials"],
        [401, "Credentials"],
        [429, "Unavailable"],
        [503, "Unavailable"]
      ] as const) {
        yield* TestClock.adjust("1 hour")
        server.self.says = () => ({ status, body: { error: "invalid_grant", error_description: "s3cret" } })
        const refused = yield* Effect.flip(target.apply(batch(change("a", 5))))
        assert.strictEqual(refused.problem, problem, `${status}`)
        assert.notInclude(refused.message, "s3cret")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("refuses options that cannot be", () =>
    Effect.gen(function* () {
      for (const options of [
        { project: "`; DROP" },
        { dataset: "a.b" },
        { endpoint: "nowhere" },
        { tokenEndpoint: "nowhere" },
        { timeout: 0 }
      ] as const) {
        const error = yield* Effect.flip(opened(options))
        assert.include(error.message, Object.keys(options)[0]!)
      }
    }).pipe(Effect.scoped)
  )
})
