/**
 * Replicas as collections of MongoDB.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaMongoDb from "effect-s3db/plugins/ReplicaMongoDb"
 * import * as Resource from "effect-s3db/Resource"
 * import { Redacted, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Copy extends Replicator.Service<Copy>()("app/Copy", {
 *   name: "copy",
 *   target: ReplicaMongoDb.mongoDb({ url: Redacted.make("mongodb://user:password@localhost/shop") }),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * A resource is a collection, whose `_id` is the primary key: a field for each field, and `s3db_version`. Each is replaced where its version is smaller, or made, by one `update` for a batch; that somebody else has made it
 * in between, which MongoDB tells as a duplicate key, is looked at once more, and then means that a newer one is there. Writes wait for the majority.
 *
 * A deletion leaves a document with the key, `s3db_version` and `s3db_deleted: true` alone: leave those out where you read.
 *
 * Integers are 64-bit, money and decimals `Decimal128`, numbers doubles, moments dates, days texts, bytes binary.
 *
 * It needs the package `mongodb`, and MongoDB 5.0 or later, by itself, as a replica set, or sharded by `_id`.
 *
 * Source: MongoDB Manual, "Update Command", "Upsert with Unique Index" and "Error Codes".
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import type * as Mongo from "mongodb"
import * as Effect from "effect/Effect"
import type * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { millisecondsOf } from "../internal/duration.ts"
import * as Plugin from "../Plugin.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { problemsOfNames } from "./replicator/internal/plans.ts"
import * as bsonValues from "./replicator/internal/bsonValues.ts"
import { Misfit } from "./replicator/internal/values.ts"

type TargetError = ReplicaTarget.TargetError

/**
 * How MongoDB is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface MongoDbOptions {
  /** `mongodb://user:password@host:27017/database` or `mongodb+srv://...`, with the options of the driver. */
  readonly url: Redacted.Redacted
  /** Default: that of `url`, or `test`. */
  readonly database?: string | undefined
  /** What the names of collections begin with. Default: nothing. */
  readonly collectionPrefix?: string | undefined
  /** How long a server is looked for. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long an answer may take. Default: 1 minute. */
  readonly timeout?: Duration.Input | undefined
}

const kind = "mongodb"

/** What `mongodb` says of values: no other time either. */
const refusals: ReadonlySet<number> = new Set([
  2, 9, 14, 15, 22, 52, 53, 54, 55, 56, 57, 66, 121, 10334, 17280, 17419, 17420
])
const schemaCodes: ReadonlySet<number> = new Set([26, 73, 166])
/** Who asks is not known, or may not. */
const credentialCodes: ReadonlySet<number> = new Set([11, 13, 18, 8000])
const duplicateKey = 11000
const namespaceExists = 48

const failure = (problem: TargetError["problem"], description: string) =>
  new ReplicaTarget.TargetError({ target: kind, problem, description })

const memberOf = (error: unknown, name: string): unknown =>
  typeof error === "object" && error !== null ? Reflect.get(error, name) : undefined

/** Its messages may show values, and addresses with passwords. */
const failureOf = (error: unknown): TargetError => {
  const code = memberOf(error, "code")
  const name = String(memberOf(error, "name") ?? "an error")
  const codeName = memberOf(error, "codeName")
  const description = [name, code, codeName].filter((part) => part !== undefined).join(" ")
  if (typeof code === "number" && schemaCodes.has(code)) return failure("Schema", description)
  if (typeof code === "number" && credentialCodes.has(code)) return failure("Credentials", description)
  // The driver itself cannot write it.
  const isOfDriver = /^(BSON\w*Error|MongoInvalidArgumentError|RangeError)$/.test(name)
  return failure(
    isOfDriver || (typeof code === "number" && refusals.has(code)) ? "Refused" : "Unavailable",
    description
  )
}

const asking = <A>(ask: () => Promise<A>) => Effect.tryPromise({ try: ask, catch: failureOf })

interface WriteError {
  readonly index: number
  readonly code: number
  /** Whether it says that the key is there already. */
  readonly isKey: boolean
}

/** What went wrong with some of many writes, or `undefined` where it is no such error. */
const writeErrorsOf = (error: unknown): ReadonlyArray<WriteError> | undefined => {
  const found = memberOf(error, "writeErrors")
  if (found === undefined || memberOf(error, "name") !== "MongoBulkWriteError") return undefined
  const all: ReadonlyArray<unknown> = Array.isArray(found) ? found : [found]
  if (all.length === 0) return undefined
  return all.map((one) => ({
    index: Number(memberOf(one, "index")),
    code: Number(memberOf(one, "code")),
    isKey: / index: _id_ dup key/.test(String(memberOf(one, "errmsg") ?? memberOf(one, "message")))
  }))
}

type Written = bsonValues.Document & { readonly _id?: string }
type Write = Mongo.AnyBulkWriteOperation<Written>

/** What is wrong with the options, if anything is. */
const problemOf = ({ connectTimeout, timeout }: MongoDbOptions): string | undefined => {
  for (const [field, value] of Object.entries({ connectTimeout, timeout })) {
    if (value !== undefined && !(millisecondsOf(value) >= 1 && millisecondsOf(value) < Infinity)) {
      return `${field}: Expected a duration from 1 ms`
    }
  }
  return undefined
}

/**
 * Makes a target of MongoDB until the scope closes. It needs the package `mongodb`, and connects when it is asked first. `TargetError`: an option, or the address, is wrong.
 *
 * Requests: 1 for a batch, more where it is beyond 100,000 documents or 48 MB, and 1 more for those that somebody else has made meanwhile; 1 for a plan; 1 for a sweep.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mongoDb = Effect.fn("ReplicaMongoDb.mongoDb")(function* (
  options: MongoDbOptions
): Effect.fn.Return<ReplicaTarget.Target, Plugin.DependencyMissing | TargetError, Scope.Scope> {
  const { collectionPrefix = "", connectTimeout = "10 seconds", timeout = "1 minute", url } = options
  const driver = yield* Plugin.dependency(
    { name: "replicator" },
    { package: "mongodb", range: "^7.0.0", load: () => import("mongodb") }
  )
  const problem = problemOf(options)
  if (problem !== undefined) return yield* failure("Schema", problem)
  const client = yield* Effect.acquireRelease(
    Effect.try({
      try: () =>
        new driver.MongoClient(Redacted.value(url), {
          serverSelectionTimeoutMS: millisecondsOf(connectTimeout),
          connectTimeoutMS: millisecondsOf(connectTimeout),
          socketTimeoutMS: millisecondsOf(timeout),
          writeConcern: { w: "majority" }
        }),
      catch: () => failure("Schema", "url: Expected the address of a MongoDB")
    }),
    (opened) => Effect.promise(() => opened.close().catch(() => {}))
  )
  const database = yield* Effect.try({
    try: () => client.db(options.database),
    catch: () => failure("Schema", "database: Expected the name of a database")
  })
  const { Long } = driver
  const documentOf = bsonValues.make(driver)
  const nameOf = ({ name }: ReplicaTarget.Shape) => `${collectionPrefix}${name}`
  const collectionOf = (shape: ReplicaTarget.Shape) => database.collection<Written>(nameOf(shape))

  const replacing = (id: string, version: number, content: bsonValues.Document, isRepair: boolean): Write => ({
    replaceOne: {
      // A document of somebody else's, without a version, is older, too.
      filter: {
        _id: id,
        [bsonValues.versionField]: { $not: { [isRepair ? "$gt" : "$gte"]: Long.fromNumber(version) } }
      },
      replacement: { ...content, [bsonValues.versionField]: Long.fromNumber(version) },
      upsert: true
    }
  })

  /** Gives the writes whose key is there already: they are of no effect. */
  const write = Effect.fnUntraced(function* (
    shape: ReplicaTarget.Shape,
    writes: ReadonlyArray<Write>
  ): Effect.fn.Return<ReadonlyArray<Write>, TargetError> {
    if (writes.length === 0) return []
    const outcome = yield* Effect.promise(() =>
      collectionOf(shape)
        .bulkWrite([...writes], { ordered: false })
        .then(
          () => ({ error: undefined }),
          (error: unknown) => ({ error })
        )
    )
    if (outcome.error === undefined) return []
    const errors = writeErrorsOf(outcome.error)
    if (errors === undefined) return yield* failureOf(outcome.error)
    const other = errors.find(({ code, isKey }) => code !== duplicateKey || !isKey)
    if (other !== undefined) {
      // Another unique index does not let it in.
      const problem = other.code === duplicateKey || refusals.has(other.code) ? "Refused" : "Unavailable"
      return yield* failure(problem, `a write: ${other.code}`)
    }
    return errors.flatMap(({ index }) => writes[index] ?? [])
  })

  return {
    kind,
    keeps: "state",
    plan: Effect.fnUntraced(function* (shapes) {
      const steps: Array<ReplicaTarget.Step> = []
      const problems: Array<ReplicaTarget.Plan["problems"][number]> = []
      const wrong = new Set<string>()
      for (const shape of shapes) {
        const name = nameOf(shape)
        const found = problemsOfNames(shape, [
          [name, bsonValues.problemOfCollection(database.databaseName, name)],
          ...shape.columns.map((column) => [column.name, bsonValues.problemOfField(column.name)] as const)
        ])
        if (found.length > 0) wrong.add(shape.name)
        problems.push(...found)
      }
      const asked = shapes.filter(({ name }) => !wrong.has(name))
      if (asked.length === 0) return { steps, problems }
      const there = yield* asking(() =>
        database.listCollections({ name: { $in: asked.map(nameOf) } }, { nameOnly: false }).toArray()
      )
      for (const shape of asked) {
        const name = nameOf(shape)
        const found = there.find((one) => one.name === name)
        if (found === undefined) {
          const statement = JSON.stringify({ create: name })
          steps.push({ name: shape.name, description: `create the collection ${name}`, statement })
          continue
        }
        const options: unknown = memberOf(found, "options")
        if (found.type !== undefined && found.type !== "collection") {
          problems.push({ name: shape.name, problem: `${name} is a ${found.type}, and no collection` })
        } else if (memberOf(options, "collation") !== undefined || memberOf(options, "capped") === true) {
          problems.push({
            name: shape.name,
            problem: `the collection ${name} is no replica: it has a collation, which may take ids for each other, or is capped`
          })
        }
      }
      return { steps, problems }
    }),
    run: ({ steps }) =>
      Effect.forEach(
        steps,
        ({ statement }) =>
          asking(async () => {
            try {
              await database.command(JSON.parse(statement) as { readonly create: string })
            } catch (error) {
              // Somebody else has made it.
              if (memberOf(error, "code") !== namespaceExists) throw error
            }
          }),
        { discard: true }
      ),
    apply: Effect.fnUntraced(function* ({ changes, isRepair, shape }) {
      const last = new Map(changes.map((change) => [change.id, change]))
      const writes: Array<Write> = []
      for (const { document, id, version } of last.values()) {
        if (!id.isWellFormed()) return yield* failure("Refused", "Expected well-formed text as an id")
        const content = document === undefined ? { [bsonValues.deletedField]: true } : documentOf(shape, document)
        if (content instanceof Misfit) return yield* failure("Refused", content.description)
        writes.push(replacing(id, version, content, isRepair))
      }
      // Of two that make a document at a time one fails, whichever is newer: it looks once more.
      const met = yield* write(shape, writes)
      yield* write(shape, met)
    }),
    sweep: (shape, version) =>
      Effect.map(
        asking(() =>
          collectionOf(shape).updateMany(
            {
              [bsonValues.versionField]: { $lt: Long.fromNumber(version) },
              [bsonValues.deletedField]: { $exists: false }
            },
            [
              {
                $replaceWith: {
                  _id: "$_id",
                  [bsonValues.versionField]: Long.fromNumber(version),
                  [bsonValues.deletedField]: true
                }
              }
            ]
          )
        ),
        ({ modifiedCount }) => modifiedCount
      )
  }
})
