/** What TypeScript makes of queries: compiled, never run. */
import type * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import type * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"

class Orders extends Resource.Service<Orders>()("types/orders", {
  schema: Schema.Struct({
    id: Schema.String,
    number: Schema.Int,
    placed: Schema.DateTimeUtcFromString,
    address: Schema.optionalKey(Schema.Struct({ city: Schema.String }))
  }),
  primaryKey: "id"
}) {}

export const typed = (orders: Orders["Service"], now: DateTime.Utc, parsed: Query.Order) => [
  orders.query({ order: "number" }),
  orders.query({ order: "-address.city" }),
  orders.query({ order: ["-$createdAt", "number", { placed: "desc" }] }),
  orders.query({ order: parsed }),
  orders.query({ where: { $createdAt: { gte: now }, $or: [{ $schemaVersion: 1 }, { $updatedAt: { lt: now } }] } }),
  orders.queryJson({ select: ["number", "address.city", "$updatedAt"] }),
  orders.aggregate({ groupBy: ["$schemaVersion"], values: { last: { max: "$createdAt" } } }),
  // @ts-expect-error no such field
  orders.query({ order: "nope" }),
  // @ts-expect-error no such field, descending
  orders.query({ order: "-nope" }),
  // @ts-expect-error no such field in a list
  orders.query({ order: ["number", "-nope"] }),
  // @ts-expect-error several fields in one text: a list, or `parseOrder`
  orders.query({ order: "number,placed" }),
  // @ts-expect-error no such field of the system
  orders.query({ where: { $deletedAt: { gte: now } } }),
  // @ts-expect-error another type
  orders.query({ where: { $createdAt: 3 } }),
  // @ts-expect-error no such field to select
  orders.queryJson({ select: ["nope"] }),
  // @ts-expect-error no such nested field to select
  orders.queryJson({ select: ["address.zip"] })
]

/** Where the fields are not known, any text will do. */
export const untyped = (things: Resource.Repository<Schema.Codec<unknown>>) => [
  things.query({ order: "-age,name", where: { age: { gte: 3 } } }),
  things.queryJson({ select: ["age"] })
]
