/** Replicas in tests: a resource, a target in memory, and how both are opened and driven through time. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"
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

const passing = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.andThen(settled, TestClock.adjust("1 second")), {
    discard: true
  })

/**
 * A process dies at a request of its first snapshot, documents before and after its place are written, and another one goes on. Which documents
 * each has sent, and whether the first came to its end.
 */
export const diesInSnapshot = Effect.fnUntraced(function* (at: number, when: "before" | "after") {
  const store = yield* memory
  const before = yield* openOn(store)
  const things = yield* Effect.provideService(Resource.make(Things.definition), Database, before.database)
  const ids = ["a", "b", "c", "c/d", "d", "é", "f", "g"]
  yield* things.insertMany(ids.map((id, n) => ({ id, n })))
  const journaled = before.database.journal.catchUp(before.database.journaled, { lease: "1 second" })
  yield* journaled
  const { batches, documents, target } = memoryTarget("changes")
  const crash = crashing(store, at, when)
  const living = (of: Store) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Effect.exit(
        Effect.gen(function* () {
          yield* open(of, target, { batchSize: 2 })
          yield* passing(4)
        }).pipe(Scope.provide(scope))
      )
      yield* Scope.close(scope, Exit.void)
      const snapshots = batches.splice(0).filter(({ isRepair }) => isRepair)
      return snapshots.flatMap(({ changes }) => changes.map(({ id }) => id))
    })
  const first = yield* living(crash.store)
  const isOver = crash.requests() < at
  yield* things.update("a", { n: 100 })
  yield* things.delete("b")
  yield* things.insert({ id: "aa", n: 5 })
  yield* things.update("g", { n: 100 })
  yield* things.delete("f")
  yield* journaled
  const second = yield* living(store)
  assertSame(documents("things"), yield* sourceOf(things))
  return { first, second, isOver }
})
