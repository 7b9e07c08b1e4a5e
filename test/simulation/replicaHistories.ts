/**
 * Histories of writers, journalers and processes that replicate, on a store that fails in every way, to a target that does, too: it cannot be reached,
 * loses its answers, carries batches out late, or stands still for longer than a lease. Where the seed is odd the target is another database,
 * by `ReplicaDatabase`, on a store of the same kind; else a table in memory. What the target has of a document never goes back in version, and in the end
 * it is the source: by a journal with images, one without, and by listings.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as ReplicaDatabase from "effect-s3db/plugins/ReplicaDatabase"
import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { atOnce, countsOf, drawing, fromSeed } from "./course.ts"
import { chance, pick } from "./draw.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]
type Target = ReplicaTarget.Target

/** What a target of a process is, of one that is right. `isDead`: whether the process has crashed. */
export type ReplicaBreak = (target: Target, isDead: () => boolean) => Target

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: ReplicaBreak | undefined
}

const schema = Schema.Struct({ id: Schema.String, value: Schema.String })

class Shown extends Resource.Service<Shown>()("test/simulation/replicaHistories/Shown", {
  name: "shown",
  schema,
  primaryKey: "id",
  journal: { images: "after" }
}) {}

class Told extends Resource.Service<Told>()("test/simulation/replicaHistories/Told", {
  name: "told",
  schema,
  primaryKey: "id",
  journal: true
}) {}

class Silent extends Resource.Service<Silent>()("test/simulation/replicaHistories/Silent", {
  name: "silent",
  schema,
  primaryKey: "id"
}) {}

const names = ["shown", "told", "silent"] as const
const ids = ["a", "b", "c", "d"]

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.02,
  errorBefore: 0.03,
  errorAfter: 0.03,
  duplicate: 0.02,
  late: { probability: 0.01, maxMillis: 8000 }
}

const clientOn = Effect.fnUntraced(function* (store: Store) {
  const database = yield* Effect.provideService(
    Database.make({ catalogLease: 0, journal: { compression: "none" } }),
    ObjectStore,
    store
  )
  const open = <A, E, R>(effect: Effect.Effect<A, E, R | Database.Database>) =>
    Effect.provideService(effect, Database.Database, database)
  return {
    database,
    shown: yield* open(Resource.make(Shown.definition)),
    told: yield* open(Resource.make(Told.definition)),
    silent: yield* open(Resource.make(Silent.definition))
  }
})

type Client = Effect.Success<ReturnType<typeof clientOn>>

const replicatorOn = ({ database, shown, silent, told }: Client, target: Target) =>
  Replicator.make({
    name: "copy",
    target: Effect.succeed(target),
    resources: [Replicator.resource(Shown), Replicator.resource(Told), Replicator.resource(Silent)],
    batchSize: 3,
    attempts: 1_000,
    pause: "200 millis",
    longestTargetPause: "5 seconds",
    every: "5 seconds",
    firstPause: "500 millis",
    longestPause: "5 seconds",
    lease: "5 seconds"
  }).pipe(
    Effect.provideService(Database.Database, database),
    Effect.provideService(Shown, shown),
    Effect.provideService(Told, told),
    Effect.provideService(Silent, silent)
  )

const contentsOf = (client: Pick<Client, (typeof names)[number]>) =>
  Effect.map(
    Effect.forEach(names, (name) => Stream.runCollect(client[name].scan())),
    (all) => all.map((found, i) => [names[i], ...found.map(({ id, value }) => `${id}=${value}`).toSorted()].join(" "))
  )

const unavailable = new ReplicaTarget.TargetError({ target: "table", problem: "Unavailable", description: "down" })

/** A table in memory. `guards`: what it keeps of versions. */
const tableOf = (violation: (text: string) => void) => {
  const tables = new Map<string, Map<string, ReplicaTarget.Change>>()
  const tableNamed = (name: string) => {
    const table = tables.get(name) ?? new Map<string, ReplicaTarget.Change>()
    tables.set(name, table)
    return table
  }
  /** The greatest version of each document that was there. */
  const highest = new Map<string, number>()
  const rise = (name: string, { id, version }: ReplicaTarget.Change) => {
    const key = `${name} ${id}`
    const before = highest.get(key) ?? -1
    if (version < before) violation(`${key} goes back from ${before} to ${version}`)
    highest.set(key, Math.max(before, version))
  }
  const target: Target = {
    kind: "table",
    keeps: "state",
    plan: () => Effect.succeed(ReplicaTarget.nothingToDo),
    run: () => Effect.void,
    apply: ({ changes, isRepair, shape: { name } }) =>
      Effect.sync(() => {
        const table = tableNamed(name)
        for (const change of changes) {
          const known = table.get(change.id)?.version ?? -1
          if (isRepair ? known > change.version : known >= change.version) continue
          table.set(change.id, change)
          rise(name, change)
        }
      }),
    sweep: ({ name }, version) =>
      Effect.sync(() => {
        let count = 0
        for (const [id, change] of tableNamed(name)) {
          if (change.version >= version || change.document === undefined) continue
          count += 1
          const gone = { ...change, version, operation: "delete", document: undefined } as const
          tableNamed(name).set(id, gone)
          rise(name, gone)
        }
        return count
      })
  }
  const contents = Effect.sync(() =>
    names.map((name) =>
      [
        name,
        ...[...tableNamed(name).values()]
          .flatMap(({ document, id }) => (document === undefined ? [] : [`${id}=${String(document["value"])}`]))
          .toSorted()
      ].join(" ")
    )
  )
  return { target, tableNamed, rise, contents }
}

/** What lies between a process and its target: a batch that was sent is carried out whatever becomes of who has sent it. */
const unsteady = (target: Target, isDead: () => boolean): Target => {
  const sent = <A>(after: number, effect: Effect.Effect<A, ReplicaTarget.TargetError>) =>
    Effect.flatMap(Effect.forkDetach(Effect.delay(effect, after)), (fiber) => Fiber.join(fiber))
  const through = <A>(
    effect: Effect.Effect<A, ReplicaTarget.TargetError>
  ): Effect.Effect<A, ReplicaTarget.TargetError> =>
    Effect.gen(function* () {
      if (isDead()) return yield* Effect.never
      const drawn = yield* Random.next
      const delay = yield* Random.nextIntBetween(0, 300)
      if (drawn < 0.05) return yield* Effect.delay(Effect.fail(unavailable), delay)
      if (drawn < 0.12) {
        yield* Effect.forkDetach(Effect.delay(Effect.ignore(effect), (yield* Random.next) * 30_000))
        return yield* unavailable
      }
      if (drawn < 0.17) return yield* Effect.andThen(sent(delay, effect), unavailable)
      return yield* sent(drawn < 0.25 ? 20_000 : delay, effect)
    })
  const { sweep } = target
  return {
    ...target,
    apply: (batch) => through(target.apply(batch)),
    ...(sweep === undefined ? {} : { sweep: (shape, version) => through(sweep(shape, version)) })
  }
}

/** Notes that a process is dead when one of its requests dies. */
const mortal = (store: Store, died: () => void): Store => {
  const watched = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.onExit(effect, (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) died()
      })
    )
  return {
    ...store,
    put: (request) => watched(store.put(request)),
    get: (...args) => watched(store.get(...args)),
    head: (...args) => watched(store.head(...args)),
    delete: (...args) => watched(store.delete(...args)),
    deleteMany: (...args) => watched(store.deleteMany(...args)),
    list: (request) => watched(store.list(request))
  }
}

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(
    // What cannot be reached is told each time.
    Effect.provide(Logger.layer([])),
    fromSeed(options.seed, `replica ${options.seed}`, 71)
  )

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.adjust("1 hour")
  const { store: base } = yield* MemoryStore.make()
  const { store: targetBase } = yield* MemoryStore.make()
  yield* clientOn(base)
  const isTable = seed % 2 === 0
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0 }
  const violations: Array<string> = []
  const table = tableOf((text) => violations.push(text))
  let written = 0

  const connect = Effect.fnUntraced(function* (to: Store, name: string, died: () => void, mostRequests: number) {
    const crashAt = (yield* chance(0.6)) ? yield* Random.nextIntBetween(5, mostRequests) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(to, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    return RetryingStore.make(mortal(faulty.store, died), { retries: 6, assumeLateArrivals: true })
  })

  const write = Effect.fnUntraced(function* ({ database, ...resources }: Client) {
    const one = () => Effect.map(pick(names), (name) => resources[name])
    const repository = yield* one()
    const document = { id: yield* pick(ids), value: `v${(written += 1)}` }
    const kind = yield* Random.nextIntBetween(0, 9)
    if (kind < 4) return yield* repository.upsert(document)
    if (kind < 6) return yield* repository.update(document.id, { value: document.value })
    if (kind < 8) return yield* repository.delete(document.id)
    const [other, id] = [yield* one(), yield* pick(ids)]
    return yield* database.transaction(Effect.andThen(repository.upsert(document), other.upsert({ ...document, id })), {
      retries: 6
    })
  })

  const working = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let life = 0; made < ops / 2; life++) {
      const done = yield* Effect.gen(function* () {
        const client = yield* clientOn(yield* connect(base, `w${index}.${life}`, () => {}, 200))
        while (made < ops / 2) {
          made += 1
          seen.operations += 1
          yield* Effect.catch(write(client), () => Effect.void)
          yield* Effect.sleep(yield* Random.nextIntBetween(1, 3000))
        }
      }).pipe(
        FaultyStore.withClockSkew((index - 1) * 1_800_000),
        Effect.catch(() => Effect.sleep(1000)),
        FaultyStore.untilCrash
      )
      if (done._tag === "None") seen.crashes += 1
      made += 1
    }
  })

  const journaling = Effect.fnUntraced(function* (index: number) {
    for (let life = 0; ; life++) {
      yield* Effect.gen(function* () {
        const { database } = yield* clientOn(yield* connect(base, `j${index}.${life}`, () => {}, 150))
        const running = database.journal.run(database.journaled, {
          firstPause: 500,
          longestPause: "5 seconds",
          lease: "5 seconds"
        })
        yield* Effect.timeoutOption(running, yield* Random.nextIntBetween(5_000, 120_000))
      }).pipe(
        Effect.catch(() => Effect.void),
        FaultyStore.untilCrash
      )
      yield* Effect.sleep(1000)
    }
  })

  /** Replicates for a while, crashes or stands still, and is followed by another process. */
  const replicating = Effect.fnUntraced(function* (index: number) {
    for (let life = 0; ; life++) {
      const state = { isDead: false }
      const [died, isDead] = [() => void (state.isDead = true), () => state.isDead]
      const scope = yield* Scope.make()
      yield* Effect.gen(function* () {
        const client = yield* clientOn(yield* connect(base, `r${index}.${life}`, died, 250))
        const right = isTable
          ? table.target
          : yield* ReplicaDatabase.database(
              Layer.succeed(ObjectStore, yield* connect(targetBase, `t${index}.${life}`, died, 250)),
              { catalogLease: 0 }
            )
        yield* replicatorOn(client, unsteady(broken?.(right, isDead) ?? right, isDead))
        yield* Effect.sleep(yield* Random.nextIntBetween(5_000, 120_000))
      }).pipe(
        Scope.provide(scope),
        FaultyStore.withClockSkew((index - 1) * 3_600_000),
        Effect.onExit(() => Effect.exit(Scope.close(scope, Exit.void))),
        Effect.catch(() => Effect.void),
        FaultyStore.untilCrash
      )
      if (state.isDead) seen.crashes += 1
      yield* Effect.sleep(1000)
    }
  })

  const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const settling = yield* Effect.forkChild(effect)
      while (settling.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      return yield* Fiber.join(settling)
    })

  const others = [
    ...(yield* Effect.forEach([0, 1], (index) =>
      Effect.forkChild(drawing(seed, 60 + index, `${seed}-journaler ${index}`)(journaling(index)))
    )),
    ...(yield* Effect.forEach([0, 1, 2], (index) =>
      Effect.forkChild(drawing(seed, 70 + index, `${seed}-replicator ${index}`)(replicating(index)))
    ))
  ]
  const writers = yield* Effect.forkChild(atOnce(2, seed, `${seed}-writer `, working))
  while (writers.pollUnsafe() === undefined) yield* TestClock.adjust("2 seconds")
  const end = yield* Fiber.await(writers)
  if (Exit.isFailure(end)) violations.push(`the run itself failed: ${Cause.pretty(end.cause)}`)
  for (const other of others) {
    if (other.pollUnsafe() !== undefined) violations.push(`a process ended: ${JSON.stringify(other.pollUnsafe())}`)
    yield* settle(Fiber.interrupt(other))
  }
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled

  const last = yield* clientOn(base)
  yield* settle(Stream.runDrain(last.database.repairTransactions({ dryRun: false })))
  yield* settle(last.database.journal.catchUp(last.database.journaled, { nobodyWrites: true }))
  const scope = yield* Scope.make()
  const right = isTable
    ? table.target
    : yield* ReplicaDatabase.database(Layer.succeed(ObjectStore, targetBase), { catalogLease: 0 }).pipe(
        Scope.provide(scope)
      )
  const replica = yield* replicatorOn(last, broken?.(right, () => false) ?? right).pipe(Scope.provide(scope))
  yield* settle(replica.caughtUp)
  // Listings are compared once more, by whoever gets the lease of a process that may have died.
  for (let looks = 0; looks < 5; looks++) yield* TestClock.adjust("1 minute")
  yield* settle(replica.caughtUp)
  const letters = yield* settle(Stream.runCollect(replica.deadLetters))
  if (letters.length > 0) violations.push(`${letters.length} dead letters: ${letters[0]!.error} ${letters[0]!.message}`)
  const source = yield* settle(contentsOf(last))
  const found = isTable ? yield* table.contents : yield* settle(Effect.flatMap(clientOn(targetBase), contentsOf))
  found.forEach((one, i) => {
    if (one !== source[i]) violations.push(`the replica has ${one} in place of ${source[i]}`)
  })
  yield* settle(Scope.close(scope, Exit.void))
  const report: Report = { seed, ...(yield* countsOf(controls)), violations, trace: trace.lines(), ...seen }
  return report
})

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

let arrived = 2 ** 41

export const replicaBreaks: Readonly<Record<string, ReplicaBreak>> = {
  /** Whatever comes last is taken, whatever its version. */
  "ignored-versions": (target) => ({
    ...target,
    apply: (batch) =>
      Effect.suspend(() =>
        target.apply({ ...batch, changes: batch.changes.map((change) => ({ ...change, version: (arrived += 1) })) })
      )
  }),
  /** A batch is told to be there before it is: the position goes past it, and a process that dies takes it along. */
  "early-position": (target, isDead) => ({
    ...target,
    apply: (batch) =>
      Effect.asVoid(
        Effect.forkDetach(
          Effect.delay(
            Effect.suspend(() => (isDead() ? Effect.void : Effect.ignore(target.apply(batch)))),
            "5 seconds"
          )
        )
      )
  })
}
