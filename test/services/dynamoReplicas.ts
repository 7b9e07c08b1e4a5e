/** Tests of replicas as tables of DynamoDB, as `dynalite` has it: what they have to be like, and what becomes of them when it is killed under load. */
import { afterAll, beforeAll, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Redacted from "effect/Redacted"
import * as ReplicaDynamoDb from "effect-s3db/plugins/ReplicaDynamoDb"
import { plain, type Place, suite } from "../plugins/replicaTables.ts"
import * as dynalite from "./dynalite.ts"
import type { Server } from "./postgres.ts"
import { type Extent, killed } from "./replicaServers.ts"

type Attribute = Readonly<Record<string, unknown>>

/** A number as DynamoDB has it. */
class Exact {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
  valueOf() {
    return Number(this.text)
  }
  toString() {
    return this.text
  }
}

const plainOf = (attribute: Attribute, isInner = false): unknown => {
  const [[type, value]] = Object.entries(attribute) as [[string, unknown]]
  switch (type) {
    case "N":
      return isInner ? Number(value) : new Exact(String(value))
    case "NULL":
      return null
    case "L":
      return (value as ReadonlyArray<Attribute>).map((one) => plainOf(one, true))
    case "M":
      return Object.fromEntries(
        Object.entries(value as Record<string, Attribute>).map(([name, one]) => [name, plainOf(one, true)])
      )
    default:
      return value
  }
}

export const openAt = (url: string, tablePrefix: string): Effect.Effect<Place> =>
  Effect.gen(function* () {
    const target = yield* ReplicaDynamoDb.dynamoDb({
      region: "us-east-1",
      endpoint: url,
      tablePrefix,
      // How slow a machine is decides nothing.
      timeout: "10 minutes",
      credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
    })
    const table = (name: string) => `${tablePrefix}${name}`
    const ask = (action: string, input: Attribute) => dynalite.ask(url, action, input)
    const rowOf = (item: Record<string, Attribute>) =>
      Object.fromEntries(Object.entries(item).map(([name, one]) => [name, plainOf(one)]))
    return {
      target,
      rows: (name) =>
        Effect.gen(function* () {
          const all: Array<Record<string, unknown>> = []
          let from: unknown
          do {
            const answer = yield* ask("Scan", {
              TableName: table(name),
              ConsistentRead: true,
              FilterExpression: "attribute_not_exists(s3db_deleted)",
              ...(from === undefined ? {} : { ExclusiveStartKey: from })
            })
            all.push(...(answer["Items"] as Array<Record<string, Attribute>>).map(rowOf))
            from = answer["LastEvaluatedKey"]
          } while (from !== undefined)
          return all
        }),
      row: (name, id) =>
        Effect.map(
          ask("GetItem", { TableName: table(name), Key: { id: { S: id } }, ConsistentRead: true }),
          ({ Item }) => (Item === undefined ? undefined : rowOf(Item as Record<string, Attribute>))
        ),
      spoil: (name, id) =>
        ask("UpdateItem", {
          TableName: table(name),
          Key: { id: { S: id } },
          UpdateExpression: "SET n = :n",
          ExpressionAttributeValues: { ":n": { N: "-1" } }
        }),
      strange: (name) =>
        Effect.andThen(
          ask("CreateTable", {
            TableName: table(name),
            AttributeDefinitions: [{ AttributeName: "id", AttributeType: "N" }],
            KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
            BillingMode: "PAY_PER_REQUEST"
          }),
          Effect.sleep("100 millis")
        )
    } satisfies Place
  }).pipe(Effect.orDie, Effect.provide(FetchHttpClient.layer))

/** Whether a value has a number that DynamoDB cannot hold, or half a character. */
const isBeyond = (json: unknown): boolean => {
  if (typeof json === "number") return json !== 0 && !(Math.abs(json) >= 1e-130 && Math.abs(json) < 1e126)
  if (typeof json === "string")
    return !json.isWellFormed() || /^-?(NaN|Infinity)$/.test(json) || /\d{39}/.test(json.replace(".", ""))
  return (
    typeof json === "object" &&
    json !== null &&
    Object.entries(json).some(([name, one]) => name === "" || isBeyond(name) || isBeyond(one))
  )
}

const unsigned = (value: unknown): unknown =>
  value !== null && typeof value === "object" ? JSON.parse(JSON.stringify(value)) : value === 0 ? 0 : value

/** Registers them. */
export const dynamoReplicas = ({ areKilled, every }: Extent): void => {
  describe("replicas on DynamoDB", () => {
    let server: Server
    beforeAll(async () => {
      server = await dynalite.make()
      await server.start()
    })
    afterAll(() => server.close())

    let prefixes = 0
    suite({
      every,
      many: areKilled ? 300 : 40,
      steps: 1,
      hasColumns: false,
      open: Effect.suspend(() => openAt(server.url, `t${++prefixes}-`)),
      takesName: { resource: (name) => /^[\w.-]*$/.test(name), column: () => true },
      refuses: isBeyond,
      instead: (type, value) => (["Double", "Json", "List"].includes(type._tag) ? unsigned(value) : value),
      readBack: (type, value) => {
        if (value === undefined) return null
        switch (type._tag) {
          case "Decimal":
            return plain(String(value))
          case "Integer":
          case "Double":
          case "Json":
            return value instanceof Exact ? Number(value) : value
          default:
            return value
        }
      }
    })
    if (areKilled)
      killed(
        () => server,
        Effect.suspend(() => openAt(server.url, "killed-")),
        { hasTables: true }
      )
  })
}
