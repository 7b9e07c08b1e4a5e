/**
 * A history of several clients whose documents have a journal, and of journalers, on a store that fails in every way. Afterwards the
 * journal has to hold what the store has taken: each version of each document, once, in their order, and nothing else. Everything
 * follows from the seed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Document from "effect-s3db/Document"
import type * as Journal from "effect-s3db/kernel/Journal"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { chainProblems, differences } from "../kernel/journalWriter.ts"
import { atOnce, countsOf, drawing, fromSeed } from "./course.ts"
import { late } from "./breaks.ts"
import { chance, pick } from "./draw.ts"
import type { Options, Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

/** What a build does otherwise than it should. */
export interface JournalBreak {
  readonly writer?: (store: Store) => Store
  readonly journaler?: (store: Store) => Store
  readonly documents?: (documents: Journal.Documents) => Journal.Documents
}

const isEntry = (key: string): boolean => key.startsWith("journal/pending/")

export const journalBreaks: Readonly<Record<string, JournalBreak>> = {
  /** Entries are sent when the document is there, and not before it. */
  "late-entries": { writer: late(isEntry) },
  /** Entries are removed when what they tell of is about to be appended. */
  "early-removal": {
    journaler: (store) => {
      let listed: ReadonlyArray<string> = []
      return {
        ...store,
        list: (request) =>
          Effect.tap(store.list(request), ({ entries }) =>
            Effect.sync(() => {
              listed = entries.map(({ key }) => key).filter(isEntry)
            })
          ),
        put: (request) =>
          request.key.includes("/log/part/") && listed.length > 0
            ? Effect.andThen(Effect.ignore(store.deleteMany(listed)), store.put(request))
            : store.put(request)
      }
    }
  },
  /** What was not committed a while ago is taken for never committed, without a look. */
  "settled-by-clock": {
    documents: (documents) => ({
      ...documents,
      head: () => Effect.succeed({ identity: undefined, ancestors: [] })
    })
  }
}

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.05,
  duplicate: 0.02,
  late: { probability: 0.02, maxMillis: 8000 }
}

const ids = ["a", "b", "c", "d"]

/** One resource that owns something beside its documents, and one that owns nothing. */
export const journaledOn = Effect.fnUntraced(function* (store: Store) {
  const database = yield* Effect.provideService(
    Database.make({ catalogLease: 0, journal: { compression: "none" } }),
    ObjectStore,
    store
  )
  const open = <A, E, R>(effect: Effect.Effect<A, E, R | Database.Database>) =>
    Effect.provideService(effect, Database.Database, database)
  const schema = Schema.Struct({ id: Schema.String, value: Schema.String, group: Schema.String })
  const notes = yield* open(
    Resource.make(
      Resource.define("notes", {
        schema,
        primaryKey: "id",
        history: true,
        partitions: { byGroup: { fields: ["group"] } },
        unique: { byValue: { fields: ["value"] } },
        journal: { images: "both" }
      })
    )
  )
  const plain = yield* open(Resource.make(Resource.define("plain", { schema, primaryKey: "id", journal: true })))
  return { database, notes, plain }
})

export type Client = Effect.Success<ReturnType<typeof journaledOn>>

/** Does something to some document. `fresh`: a value that no other document has. */
export const randomWrite = Effect.fnUntraced(function* ({ database, notes, plain }: Client, fresh: string) {
  const repository = (yield* chance(0.6)) ? notes : plain
  const id = yield* pick(ids)
  const group = yield* pick(["x", "y"])
  // Others may want the same.
  const value = (yield* chance(0.1)) ? "same" : fresh
  const document = { id, value, group }
  const operation = yield* Random.nextIntBetween(0, 10)
  switch (operation) {
    case 0:
      return yield* repository.insert(document)
    case 1:
    case 2:
      return yield* repository.update(id, (now) => ({ ...now, value }))
    case 3:
      return yield* repository.patch(id, { group })
    case 4:
      return yield* repository.replace(document)
    case 5:
    case 6:
      return yield* repository.upsert(document)
    case 7:
      return yield* repository.delete(id)
    case 8:
      return yield* repository.deleteMany([id, yield* pick(ids)])
    default: {
      const [other, goes] = [yield* pick(ids), yield* chance(0.4)]
      return yield* database.transaction(
        Effect.gen(function* () {
          yield* notes.upsert(document)
          if (goes) yield* plain.delete(other)
          else yield* plain.upsert({ ...document, id: other })
        })
      )
    }
  }
})

/** The identities of versions, in the order in which the store has taken them, by document. */
export const observed = (inner: Store) => {
  const versions = new Map<string, Array<string>>()
  const store: Store = {
    ...inner,
    put: (request) =>
      Effect.tap(inner.put(request), ({ etag }) =>
        Effect.sync(() => {
          const [, resource, id] = /^resource=(notes|plain)\/data\/id=(.+)$/.exec(request.key) ?? []
          if (resource === undefined || id === undefined) return
          const { body = new Uint8Array(), key, metadata = {} } = request
          const slot = Result.getOrThrow(Document.fromObject({ key, etag, body, metadata, size: body.length }))
          // A transaction only announces what it may commit.
          if (slot.intent !== undefined) return
          const identity = Document.identityOf(slot.stored ?? slot)
          const name = JSON.stringify([resource, id])
          const known = versions.get(name) ?? []
          // It is put back when a transaction is aborted.
          if (!known.includes(identity)) versions.set(name, [...known, identity])
        })
      )
  }
  return { store, versions }
}

/** Catches up, and tells what is wrong with the journal of what the store has taken. */
export const problemsOf = Effect.fnUntraced(function* (
  { database }: Client,
  versions: ReadonlyMap<string, ReadonlyArray<string>>
) {
  const problems: Array<string> = []
  const { undecided } = yield* database.journal.catchUp(database.journaled)
  const entries = yield* Stream.runCollect(database.journal.read())
  const verified = yield* Effect.result(database.journal.verify())
  if (Result.isFailure(verified)) problems.push(`the chain is broken: ${String(verified.failure)}`)
  problems.push(...chainProblems(entries, new Map([...versions].map(([name, all]) => [name, all.at(-1)]))))
  problems.push(...differences(entries, versions))
  for (const { value } of entries) {
    const images = [value.before !== undefined, value.after !== undefined]
    const expected = value.resource === "plain" ? [false, false] : [value.kind !== "insert", value.kind !== "delete"]
    if (images.join() !== expected.join()) problems.push(`images of ${value.kind} ${value.writeId}: ${images.join()}`)
  }
  return { problems, undecided, journaled: entries.length }
})

export const runJournal = (options: Omit<Options, "break"> & { readonly break?: JournalBreak | undefined }) =>
  simulate(options).pipe(fromSeed(options.seed, `journal ${options.seed}`, 51))

const simulate = Effect.fnUntraced(function* (options: Parameters<typeof runJournal>[0]) {
  const { clients: clientCount = 3, ops, seed } = options
  yield* TestClock.adjust("1 hour")
  const { store: inner } = yield* MemoryStore.make()
  const { store: base, versions } = observed(inner)
  yield* journaledOn(base)

  const trace = FaultyStore.makeTrace()
  const violations: Array<string> = []
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0 }
  let written = 0

  const storeOf = Effect.fnUntraced(function* (name: string, mostRequests: number, wrong: (store: Store) => Store) {
    const crashAt = (yield* chance(0.6)) ? yield* Random.nextIntBetween(5, mostRequests) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, {
      seed,
      client: name,
      faults,
      crashAt,
      crashWhen,
      trace
    })
    controls.push(faulty.control)
    return RetryingStore.make(wrong(faulty.store), { retries: 6, assumeLateArrivals: true })
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let life = 0; made < ops / clientCount; life++) {
      const done = yield* Effect.gen(function* () {
        const client = yield* journaledOn(
          yield* storeOf(`c${index}.${life}`, 300, options.break?.writer ?? ((one) => one))
        )
        while (made < ops / clientCount) {
          made += 1
          seen.operations += 1
          const exit = yield* Effect.exit(randomWrite(client, `v${(written += 1)}`))
          if (Exit.isFailure(exit)) {
            if (Cause.hasDies(exit.cause)) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
            if (JSON.stringify(exit).includes("unknown")) seen.unknown += 1
          }
          if (yield* chance(0.2)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 3000))
        }
      }).pipe(
        FaultyStore.withClockSkew((index - 1) * 7000),
        Effect.catch(() => Effect.sleep(1000)),
        FaultyStore.untilCrash
      )
      if (Option.isNone(done)) seen.crashes += 1
      made += 1
    }
  })

  /** Journals for a while, crashes or stands still, and is followed by another process. */
  const journaling = Effect.fnUntraced(function* (index: number) {
    for (let life = 0; ; life++) {
      const done = yield* Effect.gen(function* () {
        const store = yield* storeOf(`j${index}.${life}`, 120, options.break?.journaler ?? ((one) => one))
        const { database } = yield* journaledOn(store)
        const documents = options.break?.documents?.(database.journaled) ?? database.journaled
        const running = database.journal.run(documents, {
          firstPause: 500,
          longestPause: "10 seconds",
          lease: "5 seconds"
        })
        yield* Effect.timeoutOption(running, yield* Random.nextIntBetween(5_000, 120_000))
      }).pipe(
        FaultyStore.withClockSkew((index - 1) * 3_600_000),
        Effect.catch(() => Effect.void),
        FaultyStore.untilCrash
      )
      if (Option.isNone(done)) seen.crashes += 1
      yield* Effect.sleep(1000)
    }
  })

  const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const settling = yield* Effect.forkChild(effect)
      while (settling.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      return yield* Fiber.join(settling)
    })

  const journalers = yield* Effect.forEach([0, 1], (index) =>
    Effect.forkChild(drawing(seed, 60 + index, `${seed}-journaler ${index}`)(journaling(index)))
  )
  const writers = yield* Effect.forkChild(atOnce(clientCount, seed, `${seed}-writer `, work))
  while (writers.pollUnsafe() === undefined) yield* TestClock.adjust("10 seconds")
  const end = yield* Fiber.await(writers)
  if (Exit.isFailure(end)) violations.push(`the run itself failed: ${Cause.pretty(end.cause)}`)
  for (const journaler of journalers) {
    if (journaler.pollUnsafe() !== undefined)
      violations.push(`a journaler ended: ${JSON.stringify(journaler.pollUnsafe())}`)
    // What it has begun takes its time.
    yield* settle(Fiber.interrupt(journaler))
  }
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled

  const observer = yield* journaledOn(base)
  // Whoever crashed has left transactions.
  for (const repository of [observer.notes, observer.plain]) {
    for (const id of ids) yield* settle(Effect.exit(repository.upsert({ id, value: `last ${id}`, group: "x" })))
  }
  yield* settle(Stream.runDrain(observer.database.repairTransactions({ dryRun: false })))
  const { problems, ...caughtUp } = yield* settle(problemsOf(observer, versions))
  violations.push(...problems)
  const report: Report & { readonly journaled: number; readonly undecided: number } = {
    seed,
    ...(yield* countsOf(controls)),
    violations,
    trace: trace.lines(),
    journaled: caughtUp.journaled,
    undecided: caughtUp.undecided,
    ...seen
  }
  return report
})
