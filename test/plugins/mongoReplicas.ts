/** Replicas as collections of MongoDB, in tests. */
import { BSON } from "mongodb"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ReplicaMongoDb from "effect-s3db/plugins/ReplicaMongoDb"
import * as mongoServer from "./mongoServer.ts"
import type { Kind, Place } from "./replicaTables.ts"
import { plain } from "./replicaTables.ts"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"

export const server = Effect.acquireRelease(Effect.promise(mongoServer.make), (made) => Effect.promise(made.close))

/** A target of a server, and what is there. */
export const placeOn = (made: mongoServer.MongoServer) =>
  Effect.gen(function* () {
    const target = yield* ReplicaMongoDb.mongoDb({
      url: Redacted.make(made.url),
      connectTimeout: "2 seconds",
      timeout: "10 minutes"
    })
    const all = (name: string) => [...(made.collections.get(name)?.values() ?? [])]
    const rowOf = ({ _id, ...rest }: mongoServer.Stored): Record<string, unknown> => ({ ...rest, id: _id })
    return {
      target,
      rows: (name) => Effect.sync(() => all(name).flatMap((one) => (one["s3db_deleted"] === true ? [] : [rowOf(one)]))),
      row: (name, id) =>
        Effect.sync(
          () =>
            all(name)
              .filter((one) => one._id === id)
              .map(rowOf)[0]
        ),
      spoil: (name, id) =>
        Effect.sync(() => {
          const collection = made.collections.get(name)!
          collection.set(id, { ...collection.get(id)!, n: new BSON.Int32(-1) })
        }),
      strange: (name) =>
        Effect.sync(() => {
          made.collections.set(name, new Map())
          made.made.set(name, { collation: { locale: "en", strength: 1 } })
        })
    } satisfies Place
  })

export const open: Effect.Effect<Place, unknown, Scope.Scope> = Effect.flatMap(server, placeOn)

/** A value of BSON as JSON has it. */
const jsonOf = (value: unknown): unknown => {
  if (value instanceof BSON.Double || value instanceof BSON.Int32) return value.value
  if (value instanceof BSON.Long) return value.toNumber()
  if (Array.isArray(value)) return value.map(jsonOf)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, jsonOf(one)]))
}

const readBack = (type: ReplicaTarget.Type, value: unknown): unknown => {
  if (value === undefined || value === null) return null
  switch (type._tag) {
    case "Timestamp":
      return value instanceof Date ? value.toISOString() : value
    case "Bytes":
      return value instanceof BSON.Binary ? Buffer.from(value.buffer).toString("base64") : value
    case "Decimal":
      return value instanceof BSON.Decimal128 ? plain(value.toString()) : value
    case "Integer":
      return value instanceof BSON.Long ? value.toNumber() : value
    case "Double":
      return value instanceof BSON.Double ? value.value : value
    default:
      return jsonOf(value)
  }
}

const isBeyond = (json: unknown): boolean => {
  if (typeof json === "string") return !json.isWellFormed() || /^-?\d{35}/.test(json.replace(".", ""))
  return (
    typeof json === "object" &&
    json !== null &&
    Object.entries(json).some(([name, one]) => name.includes("\0") || isBeyond(name) || isBeyond(one))
  )
}

export const kind: Kind = {
  open,
  steps: 1,
  hasColumns: false,
  takesName: {
    resource: (name) => !name.includes("$"),
    column: (name) => !name.startsWith("$") && !name.includes(".")
  },
  refuses: isBeyond,
  readBack
}
