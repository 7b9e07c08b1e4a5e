/**
 * Replicas as tables of Amazon DynamoDB, without a package of AWS.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaDynamoDb from "effect-s3db/plugins/ReplicaDynamoDb"
 * import * as Resource from "effect-s3db/Resource"
 * import { Redacted, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Lookup extends Replicator.Service<Lookup>()("app/Lookup", {
 *   name: "lookup",
 *   target: ReplicaDynamoDb.dynamoDb({
 *     region: "eu-central-1",
 *     credentials: { accessKeyId: "AKIA", secretAccessKey: Redacted.make("secret") }
 *   }),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * A resource is a table, whose partition key is the primary key, and which is charged by request where the plan makes it. A document is an item: an attribute for each field, and `s3db_version`. Each is written by a
 * `PutItem` whose condition is that the version there is smaller, several at a time: DynamoDB takes no conditions in `BatchWriteItem`, and a transaction would cost twice as much and fail as a whole for one item that is newer. So
 * there are no unprocessed items; what is throttled is tried again by itself, with pauses, before the whole batch is.
 *
 * A deletion leaves an item with the key, `s3db_version` and `s3db_deleted` alone: who reads the table leaves those out that have `s3db_deleted`. With `deletionsFor` they also have `s3db_expires`; switch the table's time to live on for it.
 *
 * **Gotchas**
 *
 * Texts and numbers are exact, or the document is refused: a number has 38 digits at most, and `-0` is `0`. An item is 400 KB at most. A sweep reads the whole table.
 *
 * Sources: Amazon DynamoDB API Reference; Amazon DynamoDB Developer Guide, "Condition expressions" and "Error handling".
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Schema from "effect/Schema"
import { after, type Policy } from "../internal/backoff.ts"
import { millisecondsOf } from "../internal/duration.ts"
import * as awsJson from "../storage/internal/awsJson.ts"
import { digests } from "../storage/internal/s3Digests.ts"
import type { Credentials } from "../storage/S3HttpStore.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { problemsOfNames } from "./replicator/internal/plans.ts"
import * as attributeValues from "./replicator/internal/attributeValues.ts"
import { Misfit } from "./replicator/internal/values.ts"

type TargetError = ReplicaTarget.TargetError

/**
 * How DynamoDB is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface DynamoDbOptions {
  readonly region: string
  /** Credentials, or an effect that gives them, which is run for every request: let it keep them. */
  readonly credentials: Credentials | Effect.Effect<Credentials, unknown>
  /** Default: `https://dynamodb.REGION.amazonaws.com`. */
  readonly endpoint?: string | undefined
  /** What the names of tables begin with. Default: nothing. */
  readonly tablePrefix?: string | undefined
  /** The most items that are written at a time. 1 to 256. Default: 16. */
  readonly concurrency?: number | undefined
  /**
   * How long a deletion guards against older versions, by `s3db_expires` and the table's time to live, which you switch on. 1 hour or more: longer than any process may stand still and go on. Default: for ever, without the attribute.
   */
  readonly deletionsFor?: Duration.Input | undefined
  /** How long an answer may take. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const kind = "dynamodb"

const failure = (problem: TargetError["problem"], description: string) =>
  new ReplicaTarget.TargetError({ target: kind, problem, description })

/** Passes by itself, and soon: tried again before anybody hears of it. */
const throttled: ReadonlySet<string> = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "RequestLimitExceeded",
  "InternalServerError",
  "ServiceUnavailable",
  "TransactionConflictException"
])
const refusals: ReadonlySet<string> = new Set([
  "ValidationException",
  "SerializationException",
  "ItemCollectionSizeLimitExceededException",
  "RequestEntityTooLarge",
  "status 413"
])

const throttling: Policy = { first: 50, factor: 2, most: 5_000, share: [0.5, 1] }
const triesOfThrottled = 8

const Described = Schema.Struct({
  Table: Schema.Struct({
    TableStatus: Schema.String,
    KeySchema: Schema.Array(Schema.Struct({ AttributeName: Schema.String, KeyType: Schema.String })),
    AttributeDefinitions: Schema.Array(Schema.Struct({ AttributeName: Schema.String, AttributeType: Schema.String }))
  })
})
const Scanned = Schema.Struct({
  Items: Schema.Array(Schema.Record(Schema.String, Schema.Struct({ S: Schema.optionalKey(Schema.String) }))),
  LastEvaluatedKey: Schema.optionalKey(Schema.Json)
})

const versionNames = { "#v": attributeValues.versionAttribute }
const mostKeyNameBytes = 255
const mostNameBytes = 65_535
const mostConcurrency = 256
const hourMillis = 3_600_000
/** How often a table that is being made is asked for, and how long between: some minutes. */
const looks = 120
const looking: Policy = { first: 20, factor: 1.5, most: 2_000, share: [0.5, 1] }

/** What is wrong with the options, if anything is. */
const problemOf = ({ concurrency, deletionsFor, endpoint, region, timeout }: DynamoDbOptions): string | undefined => {
  if (region === "") return "region: Expected a region"
  if (endpoint !== undefined && !URL.canParse(endpoint)) return "endpoint: Expected an address"
  if (
    concurrency !== undefined &&
    !(Number.isSafeInteger(concurrency) && concurrency >= 1 && concurrency <= mostConcurrency)
  ) {
    return `concurrency: Expected a whole number from 1 to ${mostConcurrency}`
  }
  if (deletionsFor !== undefined && !(millisecondsOf(deletionsFor) >= hourMillis))
    return "deletionsFor: Expected 1 hour or more"
  return timeout === undefined || millisecondsOf(timeout) >= 1 ? undefined : "timeout: Expected a duration from 1 ms"
}

/** What AWS says of who asks. */
const ofCredentials: ReadonlySet<string> = new Set([
  "AccessDeniedException",
  "ExpiredTokenException",
  "IncompleteSignatureException",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "MissingAuthenticationTokenException",
  "UnrecognizedClientException"
])

/**
 * Makes a target of DynamoDB. No request. It fails with `TargetError` where an option is wrong.
 *
 * Requests: 1 `PutItem` for each document of a batch, each tried up to 8 times where DynamoDB throttles; for a plan 1 `DescribeTable` for each resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dynamoDb = Effect.fn("ReplicaDynamoDb.dynamoDb")(function* (
  options: DynamoDbOptions
): Effect.fn.Return<ReplicaTarget.Target, TargetError, HttpClient.HttpClient> {
  const { concurrency = 16, credentials, deletionsFor, region, tablePrefix = "", timeout = "30 seconds" } = options
  const problem = problemOf(options)
  if (problem !== undefined) return yield* failure("Schema", problem)
  const post = awsJson.make({
    client: yield* HttpClient.HttpClient,
    digests: yield* digests,
    service: "dynamodb",
    target: "DynamoDB_20120810",
    region,
    endpoint: new URL(options.endpoint ?? `https://dynamodb.${region}.amazonaws.com`),
    credentials
  })
  const keptMillis = deletionsFor === undefined ? Infinity : millisecondsOf(deletionsFor)
  const tableOf = ({ name }: ReplicaTarget.Shape) => `${tablePrefix}${name}`

  /** Asks, and gives the answer, or the type of what DynamoDB says no with. What it says beside that may show values. */
  const ask = Effect.fnUntraced(function* (
    action: string,
    input: Schema.Json
  ): Effect.fn.Return<{ readonly text: string; readonly refusal: string | undefined }, TargetError> {
    for (let tries = 1; ; tries++) {
      const answer = yield* post(action, input).pipe(
        Effect.mapError(({ description }) => failure("Unavailable", description)),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(failure("Unavailable", "no answer in time"))
        })
      )
      const refusal = answer.status === 200 ? undefined : awsJson.refusalOf(answer).type
      if (refusal === undefined || !throttled.has(refusal) || tries === triesOfThrottled) {
        return { text: answer.text, refusal }
      }
      yield* after(tries - 1, throttling)
    }
  })

  const failureOf = (action: string, refusal: string): TargetError => {
    if (refusal === "ResourceNotFoundException") return failure("Schema", "the table is not there")
    const problem = refusals.has(refusal) ? "Refused" : ofCredentials.has(refusal) ? "Credentials" : "Unavailable"
    return failure(problem, `${action}: ${refusal}`)
  }

  const asked = Effect.fnUntraced(function* <A, I>(action: string, input: Schema.Json, answer: Schema.Codec<A, I>) {
    const { refusal, text } = yield* ask(action, input)
    if (refusal !== undefined) return yield* failureOf(action, refusal)
    return yield* Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(answer))(text), () =>
      failure("Unavailable", `${action}: the answer is none of DynamoDB`)
    )
  })

  /** Writes an item where what is there is older, and tells whether it was. */
  const put = Effect.fnUntraced(function* (
    shape: ReplicaTarget.Shape,
    item: attributeValues.Item,
    version: number,
    isRepair: boolean
  ) {
    const { refusal } = yield* ask("PutItem", {
      TableName: tableOf(shape),
      Item: { ...item, [attributeValues.versionAttribute]: { N: String(version) } },
      ConditionExpression: `attribute_not_exists(#v) OR #v ${isRepair ? "<=" : "<"} :v`,
      ExpressionAttributeNames: versionNames,
      ExpressionAttributeValues: { ":v": { N: String(version) } }
    })
    if (refusal === undefined) return true
    if (refusal === "ConditionalCheckFailedException") return false
    return yield* failureOf("PutItem", refusal)
  })

  const tombstoneOf = (key: attributeValues.Item, now: number): attributeValues.Item => ({
    ...key,
    [attributeValues.deletedAttribute]: { BOOL: true },
    ...(keptMillis === Infinity
      ? {}
      : { [attributeValues.expiresAttribute]: { N: String(Math.ceil((now + keptMillis) / 1000)) } })
  })

  const describe = Effect.fnUntraced(function* (table: string) {
    const { refusal, text } = yield* ask("DescribeTable", { TableName: table })
    if (refusal === "ResourceNotFoundException") return undefined
    if (refusal !== undefined) return yield* failureOf("DescribeTable", refusal)
    const { Table } = yield* Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(Described))(text), () =>
      failure("Unavailable", "DescribeTable: the answer is none of DynamoDB")
    )
    return Table
  })

  return {
    kind,
    keeps: "state",
    plan: Effect.fnUntraced(function* (shapes) {
      const steps: Array<ReplicaTarget.Step> = []
      const problems: Array<ReplicaTarget.Plan["problems"][number]> = []
      for (const shape of shapes) {
        const table = tableOf(shape)
        const tell = (problem: string) => problems.push({ name: shape.name, problem })
        const wrong = problemsOfNames(shape, [
          [table, attributeValues.problemOfTable(table)],
          [shape.primaryKey, attributeValues.problemOfAttribute(shape.primaryKey, mostKeyNameBytes)],
          ...shape.columns.map(({ name }) => [name, attributeValues.problemOfAttribute(name, mostNameBytes)] as const)
        ])
        problems.push(...wrong)
        if (wrong.length > 0) continue
        const there = yield* describe(table)
        if (there === undefined) {
          steps.push({
            name: shape.name,
            description: `create the table ${table}`,
            statement: `CreateTable ${JSON.stringify({
              TableName: table,
              AttributeDefinitions: [{ AttributeName: shape.primaryKey, AttributeType: "S" }],
              KeySchema: [{ AttributeName: shape.primaryKey, KeyType: "HASH" }],
              BillingMode: "PAY_PER_REQUEST"
            })}`
          })
          continue
        }
        const [key, ...others] = there.KeySchema
        const type = there.AttributeDefinitions.find(({ AttributeName }) => AttributeName === shape.primaryKey)
        if (key?.AttributeName !== shape.primaryKey || type?.AttributeType !== "S" || others.length > 0) {
          tell(`the table ${table} is no replica: its key has to be ${shape.primaryKey} alone, a text`)
        } else if (there.TableStatus === "CREATING" || there.TableStatus === "DELETING") {
          return yield* failure("Unavailable", `the table ${table} is ${there.TableStatus}`)
        }
      }
      return { steps, problems }
    }),
    run: ({ steps }) =>
      Effect.forEach(
        steps,
        Effect.fnUntraced(function* ({ statement }) {
          const at = statement.indexOf(" ")
          const action = statement.slice(0, at)
          const input = JSON.parse(statement.slice(at + 1)) as { readonly TableName: string }
          const { refusal } = yield* ask(action, input)
          // Somebody else has made it.
          if (refusal !== undefined && refusal !== "ResourceInUseException") {
            return yield* failure("Unavailable", `${action}: ${refusal}`)
          }
          for (let look = 0; look < looks; look++) {
            const there = yield* describe(input.TableName)
            if (there?.TableStatus === "ACTIVE") return
            yield* after(look, looking)
          }
          return yield* failure("Unavailable", `the table ${input.TableName} is not there yet`)
        }),
        { discard: true }
      ),
    apply: Effect.fnUntraced(function* ({ changes, isRepair, shape }) {
      const now = yield* Clock.currentTimeMillis
      const last = new Map(changes.map((change) => [change.id, change]))
      const items: Array<{ readonly item: attributeValues.Item; readonly version: number }> = []
      for (const { document, id, version } of last.values()) {
        const item =
          document === undefined ? attributeValues.keyOf(shape, id) : attributeValues.itemOf(shape, id, document)
        // What cannot be there is not there.
        if (item instanceof Misfit && document === undefined) continue
        if (item instanceof Misfit) return yield* failure("Refused", item.description)
        items.push({ item: document === undefined ? tombstoneOf(item, now) : item, version })
      }
      yield* Effect.forEach(items, ({ item, version }) => put(shape, item, version, isRepair), {
        concurrency,
        discard: true
      })
    }),
    sweep: Effect.fnUntraced(function* (shape, version) {
      let removed = 0
      let from: Schema.Json | undefined
      do {
        const { Items, LastEvaluatedKey }: typeof Scanned.Type = yield* asked(
          "Scan",
          {
            TableName: tableOf(shape),
            ConsistentRead: true,
            ProjectionExpression: "#k",
            FilterExpression: "#v < :v AND attribute_not_exists(#d)",
            ExpressionAttributeNames: {
              ...versionNames,
              "#k": shape.primaryKey,
              "#d": attributeValues.deletedAttribute
            },
            ExpressionAttributeValues: { ":v": { N: String(version) } },
            ...(from === undefined ? {} : { ExclusiveStartKey: from })
          },
          Scanned
        )
        const now = yield* Clock.currentTimeMillis
        const gone = yield* Effect.forEach(
          Items,
          (item) => {
            const id = item[shape.primaryKey]?.S
            return id === undefined
              ? Effect.succeed(false)
              : put(shape, tombstoneOf({ [shape.primaryKey]: { S: id } }, now), version, false)
          },
          { concurrency }
        )
        removed += gone.filter((isGone) => isGone).length
        from = LastEvaluatedKey
      } while (from !== undefined)
      return removed
    })
  }
})
