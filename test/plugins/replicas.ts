/** Replicas in tests: a resource, a target in memory, and how both are opened and driven through time. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { openOn } from "../fixture.ts"
import { driven } from "./nearby.ts"

export type Store = ObjectStore["Service"]

const schema = Schema.Struct({
  id: Schema.String,
  n: Schema.Int,
  text: Schema.optionalKey(Schema.String),
  at: Schema.optionalKey(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) }))
})

/** Whose journal has every version. */
export class Things extends Resource.Service<Things>()("effect-s3db/test/plugins/replicas/Things", {
  name: "things",
  schema,
  primaryKey: "id",
  journal: { images: "both" }
}) {}

/** Whose journal says that something was written, and not what. */
export class Plain extends Resource.Service<Plain>()("effect-s3db/test/plugins/replicas/Plain", {
  name: "plain",
  schema,
  primaryKey: "id",
  journal: true
}) {}

/** Without a journal. */
export class Silent extends Resource.Service<Silent>()("effect-s3db/test/plugins/replicas/Silent", {
  name: "silent",
  schema,
  primaryKey: "id"
}) {}

export const resources = [Things, Plain, Silent] as const

/** A target that keeps versions, and may say anything before or after it has done what it was asked. */
export const memoryTarget = (keeps: ReplicaTarget.Target["keeps"] = "state") => {
  const tables = new Map<string, Map<string, ReplicaTarget.Change>>()
  const batches: Array<ReplicaTarget.Batch> = []
  const says: {
    before: (batch: ReplicaTarget.Batch) => ReplicaTarget.TargetError | undefined
    after: (batch: ReplicaTarget.Batch) => ReplicaTarget.TargetError | undefined
  } = { before: () => undefined, after: () => undefined }
  const tableOf = (name: string) => {
    const table = tables.get(name) ?? new Map<string, ReplicaTarget.Change>()
    tables.set(name, table)
    return table
  }
  const answer = (error: ReplicaTarget.TargetError | undefined) =>
    error === undefined ? Effect.void : Effect.fail(error)
  const target: ReplicaTarget.Target = {
    kind: "memory",
    keeps,
    plan: () => Effect.succeed(ReplicaTarget.nothingToDo),
    run: () => Effect.void,
    apply: (batch) =>
      Effect.gen(function* () {
        yield* answer(says.before(batch))
        batches.push(batch)
        const table = tableOf(batch.shape.name)
        for (const change of batch.changes) {
          const known = table.get(change.id)?.version ?? -1
          if (batch.isRepair ? known <= change.version : known < change.version) table.set(change.id, change)
        }
        yield* answer(says.after(batch))
      }),
    sweep: ({ name }, version) =>
      Effect.sync(() => {
        let count = 0
        for (const [id, change] of tableOf(name)) {
          if (change.version >= version || change.document === undefined) continue
          count += 1
          tableOf(name).set(id, { ...change, version, operation: "delete", document: undefined })
        }
        return count
      })
  }
  const documents = (name: string) =>
    Object.fromEntries(
      [...tableOf(name)]
        .flatMap(([id, { document }]) => (document === undefined ? [] : [[id, document] as const]))
        .sort()
    )
  return { target, batches, says, documents, tables }
}

export const unavailable = (description = "down") =>
  new ReplicaTarget.TargetError({ target: "memory", problem: "Unavailable", description })
export const refused = (description = "no") =>
  new ReplicaTarget.TargetError({ target: "memory", problem: "Refused", description })

export type Options = Partial<Omit<Replicator.Options<never, never, Things | Plain | Silent>, "target">>

export const open = Effect.fnUntraced(function* (
  store: Store,
  target: ReplicaTarget.Target,
  { resources = [Replicator.resource(Things)], ...options }: Options = {}
) {
  const { database } = yield* openOn(store)
  const inDatabase = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Database, database)
  const things = yield* inDatabase(Resource.make(Things.definition))
  const plain = yield* inDatabase(Resource.make(Plain.definition))
  const silent = yield* inDatabase(Resource.make(Silent.definition))
  const replicator = yield* Replicator.make({
    name: "copy",
    lease: "1 second",
    firstPause: "100 millis",
    longestPause: "1 second",
    pause: "100 millis",
    longestTargetPause: "2 seconds",
    every: "1 second",
    resources,
    ...options,
    target: Effect.succeed(target)
  }).pipe(
    inDatabase,
    Effect.provideService(Things, things),
    Effect.provideService(Plain, plain),
    Effect.provideService(Silent, silent)
  )
  const journaled = driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
  const settle = Effect.andThen(journaled, driven(replicator.caughtUp))
  return { database, things, plain, silent, replicator, journaled, settle }
})

/** What is at the source, as JSON by id. */
export const sourceOf = Effect.fnUntraced(function* <E>(repository: {
  readonly scan: () => Stream.Stream<{ readonly id: string }, E>
}) {
  const all = yield* Stream.runCollect(repository.scan())
  return Object.fromEntries(all.map((one) => [one.id, one] as const).sort())
})

export const assertSame = (replica: unknown, source: unknown) =>
  assert.deepStrictEqual(JSON.parse(JSON.stringify(replica)), JSON.parse(JSON.stringify(source)))
