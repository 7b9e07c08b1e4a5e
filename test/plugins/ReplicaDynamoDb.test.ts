import { assert, describe, it } from "@effect/vitest"
import { createHash, createHmac } from "node:crypto"
import { SignatureV4 } from "@smithy/signature-v4"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as ReplicaDynamoDb from "effect-s3db/plugins/ReplicaDynamoDb"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import { Pause } from "../../src/internal/backoff.ts"
import { change, simpleShape } from "./replicaTables.ts"

interface Asked {
  readonly action: string
  readonly input: Record<string, unknown>
  readonly request: HttpClientRequest.HttpClientRequest
}

type Answer = readonly [status: number, body: unknown]

const refusal = (type: string, status = 400): Answer => [
  status,
  { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "a secret value" }
]

/** A target whose server says what it is told to; the pauses that it makes are noted. */
const opened = (answer: (asked: Asked, n: number) => Answer, options: Partial<ReplicaDynamoDb.DynamoDbOptions> = {}) =>
  Effect.gen(function* () {
    const asked: Array<Asked> = []
    const client = HttpClient.make((request) =>
      Effect.sync(() => {
        const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : "{}"
        const one = { action: request.headers["x-amz-target"] ?? "", input: JSON.parse(body), request }
        const [status, json] = answer(one, asked.push(one))
        return HttpClientResponse.fromWeb(request, new Response(JSON.stringify(json), { status }))
      })
    )
    const target = yield* ReplicaDynamoDb.dynamoDb({
      region: "eu-central-1",
      credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: Redacted.make("wJalrXUtnFEMI") },
      ...options
    }).pipe(Effect.provideService(HttpClient.HttpClient, client))
    return { asked, target }
  })

const batch = (...changes: ReadonlyArray<ReplicaTarget.Change>) => ({ shape: simpleShape, changes, isRepair: false })

class Sha256 {
  private readonly hash: { update: (data: string | Uint8Array) => unknown; digest: () => Buffer }
  constructor(secret?: unknown) {
    this.hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret as Uint8Array)
  }
  update(data: string | Uint8Array) {
    this.hash.update(data)
  }
  digest() {
    return Promise.resolve(new Uint8Array(this.hash.digest()))
  }
}

describe("ReplicaDynamoDb", () => {
  it.effect("signs requests as the client of AWS does, with a session's token", () =>
    Effect.gen(function* () {
      const { asked, target } = yield* opened(() => [200, {}], {
        credentials: Effect.succeed({
          accessKeyId: "AKIDEXAMPLE",
          secretAccessKey: Redacted.make("wJalrXUtnFEMI"),
          sessionToken: Redacted.make("token")
        })
      })
      yield* target.apply(batch(change("a", 1)))
      const [{ request }] = asked as [Asked]
      assert.strictEqual(request.url, "https://dynamodb.eu-central-1.amazonaws.com/")
      const signed = yield* Effect.promise(() =>
        new SignatureV4({
          service: "dynamodb",
          region: "eu-central-1",
          credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI", sessionToken: "token" },
          applyChecksum: false,
          sha256: Sha256 as never
        }).sign(
          {
            method: "POST",
            protocol: "https:",
            hostname: "dynamodb.eu-central-1.amazonaws.com",
            path: "/",
            headers: {
              host: "dynamodb.eu-central-1.amazonaws.com",
              "content-type": "application/x-amz-json-1.0",
              "x-amz-target": "DynamoDB_20120810.PutItem"
            },
            body: request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
          },
          { signingDate: new Date(0) }
        )
      )
      assert.strictEqual(request.headers["authorization"], signed.headers["authorization"])
    })
  )

  it.effect("writes under a condition on the version, a deletion as a mark that may expire", () =>
    Effect.gen(function* () {
      const { asked, target } = yield* opened(() => [200, {}], { tablePrefix: "shop-", deletionsFor: "1 day" })
      const gone: ReplicaTarget.Change = { ...change("b", 7), operation: "delete", document: undefined }
      yield* target.apply(batch(change("a", 1), change("a", 2), gone))
      yield* target.apply({ ...batch(change("a", 2)), isRepair: true })
      const condition = {
        TableName: "shop-simple",
        ConditionExpression: "attribute_not_exists(#v) OR #v < :v",
        ExpressionAttributeNames: { "#v": "s3db_version" }
      }
      const values = (n: string) => ({ ":v": { N: n } })
      assert.deepStrictEqual(
        asked.map(({ input }) => input),
        [
          {
            ...condition,
            Item: { id: { S: "a" }, n: { N: "2" }, s3db_version: { N: "2" } },
            ExpressionAttributeValues: values("2")
          },
          {
            ...condition,
            Item: {
              id: { S: "b" },
              s3db_version: { N: "7" },
              s3db_deleted: { BOOL: true },
              s3db_expires: { N: "86400" }
            },
            ExpressionAttributeValues: values("7")
          },
          {
            ...condition,
            ConditionExpression: "attribute_not_exists(#v) OR #v <= :v",
            Item: { id: { S: "a" }, n: { N: "2" }, s3db_version: { N: "2" } },
            ExpressionAttributeValues: values("2")
          }
        ]
      )
    })
  )

  it.effect("tries what is throttled again by itself, without the items that are there, and then says so", () =>
    Effect.gen(function* () {
      const pauses: Array<number> = []
      const noted = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.provideService(effect, Pause, (millis: number) => Effect.sync(() => void pauses.push(millis)))
      const often = new Map<string, number>()
      const { target } = yield* opened(({ input }) => {
        const id = String(Reflect.get(Reflect.get(input["Item"] as object, "id") as object, "S"))
        const n = (often.get(id) ?? 0) + 1
        often.set(id, n)
        return id === "b" && n <= 3 ? refusal("ProvisionedThroughputExceededException") : [200, {}]
      })
      yield* noted(target.apply(batch(change("a", 1), change("b", 1), change("c", 1))))
      assert.deepStrictEqual([...often].sort(), [
        ["a", 1],
        ["b", 4],
        ["c", 1]
      ])
      assert.strictEqual(pauses.length, 3)
      assert.isTrue(pauses[0]! >= 25 && pauses[0]! <= 50 && pauses[2]! >= 100 && pauses[2]! <= 200)
      const never = yield* opened(() => refusal("ThrottlingException"))
      const error = yield* Effect.flip(noted(never.target.apply(batch(change("a", 1)))))
      assert.strictEqual(error.problem, "Unavailable")
      assert.strictEqual(never.asked.length, 8)
    })
  )

  it.effect("tells what is out of reach from what is refused, and shows no values", () =>
    Effect.gen(function* () {
      const problems = [
        ["ValidationException", 400, "Refused"],
        ["SerializationException", 400, "Refused"],
        ["ResourceNotFoundException", 400, "Schema"],
        ["UnrecognizedClientException", 400, "Credentials"],
        ["AccessDeniedException", 400, "Credentials"],
        ["LimitExceededException", 400, "Unavailable"],
        ["NobodyKnowsException", 400, "Unavailable"],
        ["NobodyKnows", 503, "Unavailable"]
      ] as const
      for (const [type, status, problem] of problems) {
        const { target } = yield* opened(() => refusal(type, status))
        const error = yield* Effect.flip(target.apply(batch(change("a", 1))))
        assert.strictEqual(error.problem, problem, type)
        assert.notInclude(error.message, "secret")
      }
      // What is newer there is no error.
      const { target } = yield* opened(() => refusal("ConditionalCheckFailedException"))
      yield* target.apply(batch(change("a", 1)))
      // Nothing is asked for what cannot be an item.
      const strange = yield* opened(() => [200, {}])
      const error = yield* Effect.flip(strange.target.apply(batch(change("", 1))))
      assert.strictEqual(error.problem, "Refused")
      assert.deepStrictEqual(strange.asked, [])
    })
  )

  it.effect("sweeps page by page, and counts what was older until then", () =>
    Effect.gen(function* () {
      const { asked, target } = yield* opened(({ action, input }) => {
        if (action.endsWith("Scan")) {
          return "ExclusiveStartKey" in input
            ? [200, { Items: [{ id: { S: "c" } }] }]
            : [200, { Items: [{ id: { S: "a" } }, { id: { S: "b" } }], LastEvaluatedKey: { id: { S: "b" } } }]
        }
        const isB = JSON.stringify(input).includes('"id":{"S":"b"}')
        return isB ? refusal("ConditionalCheckFailedException") : [200, {}]
      })
      assert.strictEqual(yield* target.sweep!(simpleShape, 9), 2)
      const scans = asked.filter(({ action }) => action.endsWith("Scan"))
      assert.deepStrictEqual(scans[1]?.input["ExclusiveStartKey"], { id: { S: "b" } })
    })
  )

  it.effect("refuses options that cannot be", () =>
    Effect.gen(function* () {
      for (const options of [
        { region: "" },
        { endpoint: "nowhere" },
        { concurrency: 0 },
        { deletionsFor: "1 minute" },
        { timeout: 0 }
      ] as const) {
        const error = yield* Effect.flip(opened(() => [200, {}], options))
        assert.include(error.message, Object.keys(options)[0]!)
      }
    })
  )
})
