/**
 * Replicas in another database of this kind, on any store: a copy in another region, or the way from one store to another.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaDatabase from "effect-s3db/plugins/ReplicaDatabase"
 * import * as Resource from "effect-s3db/Resource"
 * import * as FileStore from "effect-s3db/storage/FileStore"
 * import { Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Copy extends Replicator.Service<Copy>()("app/Copy", {
 *   name: "copy",
 *   target: ReplicaDatabase.database(FileStore.layer({ path: "/var/lib/copy" })),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * A resource is created there with its schema, partitions, unique keys, behavior and history, and what it is called here or in `as`. Fields that it fills in
 * by itself, such as timestamps, come as they are. It has no journal, and leaves no entries.
 *
 * Versions are documents of a resource of their own, `plg_replica_versions`, which are written in one transaction with those that they are of: so no
 * old change takes the place of a newer one, and none brings back what was deleted, whoever was late.
 *
 * **Gotchas**
 *
 * Secrets are left out unless `secrets` says otherwise; where a schema requires one, `plan` says so. Those that are sent are sealed with the `KeyRing` that
 * the layer is given. Binary content and history are not sent: `Backup` has them.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Database from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import type { Json } from "../encoding/Json.ts"
import { encodeBase64 } from "../internal/base64.ts"
import { isRecord } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import type { DynamicSchema } from "../Portable.ts"
import type { ChangeError, DeleteError, ListError, ReadError } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import { ObjectStore } from "../storage/ObjectStore.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"

type TargetError = ReplicaTarget.TargetError

/** What a transaction holds: each document and its version. */
const changesAtOnce = 25

const kind = "database"

const versions = Resource.define("plg_replica_versions", {
  name: "plg_replica_versions",
  schema: Schema.Struct({ id: Schema.String, version: Schema.Int }),
  primaryKey: "id"
})

/** Of any length, whatever the names. */
const versionId = (resource: string, id: string): string =>
  encodeBase64(sha256(new TextEncoder().encode(JSON.stringify([resource, id]))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "")

type Values = Readonly<Record<string, unknown>>

interface AnyRepository {
  readonly replace: (input: Values) => Effect.Effect<Values, ChangeError>
  readonly delete: (id: string) => Effect.Effect<void, DeleteError>
  readonly listIds: () => Stream.Stream<string, ListError>
}

/** What the resource at the target does not do by itself, since it comes with the documents. */
const notThere = new Set<Json>(["journal", "timestamps", "userstamps", "guarded"])

const definitionAt = ({ definition, name }: ReplicaTarget.Shape): Definition<DynamicSchema> => {
  const { portable } = definition
  const { flags, journal: _, plugins: __, ...rest } = isRecord(portable) ? portable : {}
  return {
    ...definition,
    name,
    portable: { ...rest, flags: Array.isArray(flags) ? flags.filter((flag) => !notThere.has(flag)) : [] },
    completion: undefined,
    journal: undefined,
    guarded: false,
    migrations: {},
    plugins: {},
    companions: {},
    companionKeys: {},
    onExcessProperty: "ignore"
  }
}

const failure = (problem: TargetError["problem"], description: string) =>
  new ReplicaTarget.TargetError({ target: kind, problem, description })

type Failure = ChangeError | DeleteError | ListError | ReadError | DbError.TransactionConflict

/** What says that the document cannot be there as it is; all else is waited out. */
const refusals: ReadonlySet<string> = new Set([
  "InvalidInput",
  "MetadataLimit",
  "UniqueViolation",
  "AlreadyExists",
  "Rejected"
])

const told = (error: Failure): TargetError => {
  // Messages of what does not fit name fields, and show no values.
  if (refusals.has(error._tag)) return failure("Refused", error.message)
  return failure("Unavailable", error.message)
}

/**
 * Makes a target of a store: opens the database on it, or creates it. `options` are those of `Database.make`. It is closed with the scope.
 *
 * A batch is a transaction for each 25 documents: about 6 requests for each.
 *
 * @category constructors
 * @since 0.1.0
 */
export const database = <E, R>(
  store: Layer.Layer<ObjectStore, E, R>,
  options: Database.Options = {}
): Effect.Effect<ReplicaTarget.Target, E | DbError.DbError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const objects = yield* Layer.build(Layer.fresh(store))
    const opened = yield* Effect.provideContext(Database.make(options), objects)
    return yield* make(opened)
  })

/**
 * Makes a target of a database that is open. Do not give it the one that the documents are of.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  opened: Database.Database["Service"]
): Effect.fn.Return<ReplicaTarget.Target> {
  const context = yield* Effect.context<never>()
  const inside = <A, X, R>(effect: Effect.Effect<A, X, R | Database.Database>) =>
    Effect.provideContext(Effect.provideService(effect, Database.Database, opened), context)
  const repositories = new Map<string, AnyRepository>()

  const repositoryOf = Effect.fnUntraced(function* (shape: ReplicaTarget.Shape) {
    const known = repositories.get(shape.name)
    if (known !== undefined) return known
    const made: AnyRepository = yield* inside(Resource.make(definitionAt(shape)))
    repositories.set(shape.name, made)
    return made
  })
  const versionsOf = yield* Effect.cached(inside(Resource.make(versions)))

  /** The version that is known of a document: of its deletion, where there is none. */
  const knownOf = Effect.fnUntraced(function* (resource: string, id: string) {
    const found = yield* (yield* versionsOf).getOption(versionId(resource, id))
    return Option.match(found, { onNone: () => -1, onSome: ({ version }) => version })
  })
  const note = Effect.fnUntraced(function* (resource: string, id: string, version: number) {
    yield* (yield* versionsOf).replace({ id: versionId(resource, id), version })
  })

  const inGroups = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
    Array.from({ length: Math.ceil(all.length / changesAtOnce) }, (_, i) =>
      all.slice(i * changesAtOnce, (i + 1) * changesAtOnce)
    )

  return {
    kind,
    keeps: "state",
    plan: Effect.fnUntraced(function* (shapes) {
      yield* Effect.mapError(opened.refresh, told)
      const there = new Map((yield* opened.listResources).map((info) => [info.name, info]))
      const steps: Array<ReplicaTarget.Step> = []
      const problems: Array<ReplicaTarget.Plan["problems"][number]> = []
      for (const { definition, hidden, name, primaryKey } of shapes) {
        const info = there.get(name)
        if (info === undefined) {
          steps.push({ name, description: `create the resource ${name}`, statement: `register ${name}` })
        } else if (info.primaryKey !== primaryKey) {
          problems.push({ name, problem: `its primary key is ${info.primaryKey} there, and ${primaryKey} here` })
        }
        for (const path of hidden) {
          const attribute = definition.attributes.find((one) => one.path.join("\0") === path.join("\0"))
          if (attribute?.optional !== false) continue
          const field = path.join(".")
          problems.push({
            name,
            problem: `the secret ${field} is required, and left out: name it in secrets, or send documents without it, by map`
          })
        }
      }
      return { steps, problems }
    }),
    // Opening a resource creates it.
    run: () => Effect.sync(() => repositories.clear()),
    apply: Effect.fnUntraced(function* ({ changes, isRepair, shape }) {
      const repository = yield* Effect.mapError(repositoryOf(shape), told)
      const decode = Schema.decodeUnknownEffect(Attributes.toStorageCodec(shape.definition.schema))
      const last = [...new Map(changes.map((change) => [change.id, change])).values()]
      yield* Effect.forEach(
        inGroups(last),
        Effect.fnUntraced(function* (group) {
          const inputs = yield* Effect.forEach(group, ({ document, id, version }) =>
            Effect.provideService(
              document === undefined ? Effect.undefined : decode(document),
              Attributes.SecretsOpen,
              true
            ).pipe(
              Effect.map((input) => ({ id, version, input })),
              Effect.mapError(() => failure("Refused", "the document does not fit its schema"))
            )
          )
          const write = Effect.forEach(
            inputs,
            Effect.fnUntraced(function* ({ id, input, version }) {
              const known = yield* knownOf(shape.name, id)
              if (isRepair ? known > version : known >= version) return
              yield* input === undefined ? repository.delete(id) : repository.replace(input)
              yield* note(shape.name, id, version)
            }),
            { discard: true, concurrency: 8 }
          )
          yield* Effect.mapError(opened.transaction(write), told)
        }),
        { discard: true }
      )
    }),
    sweep: Effect.fnUntraced(function* (shape, version) {
      const repository = yield* Effect.mapError(repositoryOf(shape), told)
      let removed = 0
      const removeOld = (ids: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const old = yield* opened.transaction(
            Effect.gen(function* () {
              let count = 0
              for (const id of ids) {
                if ((yield* knownOf(shape.name, id)) >= version) continue
                yield* repository.delete(id)
                yield* note(shape.name, id, version)
                count += 1
              }
              return count
            })
          )
          removed += old
        })
      yield* repository
        .listIds()
        .pipe(Stream.grouped(changesAtOnce), Stream.runForEach(removeOld), Effect.mapError(told))
      return removed
    })
  }
})
