/**
 * Histories of writers, backups and restorations, on stores that fail in every way. A backup that says that it is of one instant is restored, and
 * compared with what the store has taken: there has to be a moment at which every object was as it is in the restored database. Every backup that is
 * there is whole. Another process prunes, so that packs are shared by backups that come and go, and one restores the oldest backup, again and again:
 * what comes back is whole, or the backup was gone before anything was restored.
 *
 * In every other history the resource has a journal, which somebody keeps, and backups go by it. Then it is the documents that were as they are
 * at one moment, by the identities of their versions: what crashed clients leave beside them is in no journal. They have all that they own.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Document from "effect-s3db/Document"
import * as Backup from "effect-s3db/plugins/Backup"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { listAll, type ListEntry, ObjectStore } from "effect-s3db/storage/ObjectStore"
import { isStoreError } from "effect-s3db/storage/StoreError"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { atOnce, countsOf, drawing, fromSeed } from "./course.ts"
import { chance, pick } from "./draw.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

/** What a build does otherwise than it should. */
export interface BackupBreak {
  readonly source?: (store: Store) => Store
  readonly vault?: (store: Store) => Store
  /** The vault, as whoever prunes sees it. */
  readonly pruned?: (store: Store) => Store
}

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: BackupBreak | undefined
}

const ids = ["a", "b", "c", "d", "e", "f"]

const options = {
  schema: Schema.Struct({ id: Schema.String, value: Schema.String, group: Schema.String }),
  primaryKey: "id" as const,
  partitions: { byGroup: { fields: ["group"] } },
  unique: { byValue: { fields: ["value"] } }
} as const

const listedNotes = Resource.define("notes", options)
const journaledNotes = Resource.define("notes", { ...options, journal: true })

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 100 },
  throttle: 0.02,
  errorBefore: 0.03,
  errorAfter: 0.03,
  duplicate: 0.02,
  late: { probability: 0.01, maxMillis: 8000 }
}

const clientOn = Effect.fnUntraced(function* (store: Store, isJournaled: boolean) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const notes = isJournaled ? journaledNotes : listedNotes
  return { database, notes: yield* Effect.provideService(Resource.make(notes), Database.Database, database) }
})

type Client = Effect.Success<ReturnType<typeof clientOn>>

type Objects = Pick<Parameters<Store["put"]>[0], "body" | "metadata">

/** What is compared of an object. `undefined`: nothing. */
interface Compared {
  readonly prefix: string
  readonly textOf: (key: string, object: Objects) => string | undefined
}

const objects: Compared = {
  prefix: "resource=notes/",
  textOf: (_, { body = new Uint8Array(), metadata = {} }) =>
    JSON.stringify([Object.entries(metadata).toSorted(), Buffer.from(body).toString("base64")])
}

/** Which version of a document there is, whatever transactions have put it back, and what is announced in it. */
const versions: Compared = {
  prefix: "resource=notes/data/",
  textOf: (key, { body = new Uint8Array(), metadata = {} }) => {
    const slot = Document.fromObject({ key, etag: "", size: body.length, body, metadata })
    if (Result.isFailure(slot)) return slot.failure
    const { intent, stored } = slot.success
    if (intent === undefined && stored === undefined) return undefined
    return JSON.stringify([stored === undefined ? null : Document.identityOf(stored), intent ?? null])
  }
}

/** Notes down from which change of the store to which each object was there. */
const observed = (inner: Store, { prefix, textOf }: Compared) => {
  const isOurs = (key: string): boolean => key.startsWith(prefix)
  const past = new Map<string, Array<{ readonly what: string | undefined; readonly since: number }>>()
  let changes = 0
  const note = (key: string, what: string | undefined) => {
    if (!isOurs(key)) return
    const all = past.get(key) ?? [{ what: undefined, since: 0 }]
    all.push({ what, since: (changes += 1) })
    past.set(key, all)
  }
  const store: Store = {
    ...inner,
    put: (request) =>
      Effect.tap(inner.put(request), () =>
        Effect.sync(() => note(request.key, isOurs(request.key) ? textOf(request.key, request) : undefined))
      ),
    delete: (key, options) => Effect.tap(inner.delete(key, options), () => Effect.sync(() => note(key, undefined))),
    deleteMany: (keys, options) =>
      Effect.tap(inner.deleteMany(keys, options), () =>
        Effect.sync(() => {
          for (const key of keys) note(key, undefined)
        })
      )
  }
  /** Whether there was a moment at which all was like this. */
  const wasOnce = (objects: ReadonlyMap<string, string>): boolean => {
    // How many objects are as they were, from each change on.
    const steps = new Map<number, number>()
    const step = (at: number, by: number) => steps.set(at, (steps.get(at) ?? 0) + by)
    for (const [key, all] of past) {
      all.forEach(({ since, what }, i) => {
        if (what !== objects.get(key)) return
        step(since, 1)
        const next = all[i + 1]
        if (next !== undefined) step(next.since, -1)
      })
    }
    for (const key of objects.keys()) if (!past.has(key)) return false
    let same = 0
    return [...steps].toSorted(([a], [b]) => a - b).some(([, by]) => (same += by) === past.size)
  }
  return { store, wasOnce }
}

/** All objects of the resource that are compared. */
const objectsOf = (store: Store, { prefix, textOf }: Compared) =>
  listAll(store, { prefix }).pipe(
    Stream.mapEffect(({ key }) => Effect.map(store.get(key), (object) => [key, textOf(key, object)] as const)),
    Stream.runCollect,
    Effect.map((all) => new Map(all.flatMap(([key, text]) => (text === undefined ? [] : [[key, text]]))))
  )

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(Logger.layer([])), fromSeed(options.seed, `backup ${options.seed}`, 81))

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.adjust("1 hour")
  const { store: inner } = yield* MemoryStore.make()
  const isJournaled = seed % 2 === 1
  const compared = isJournaled ? versions : objects
  const { store: base, wasOnce } = observed(inner, compared)
  const { store: vault } = yield* MemoryStore.make()
  yield* clientOn(base, isJournaled)
  // Every program knows of the journal by now.
  yield* TestClock.adjust("1 hour")
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0, byJournal: 0, removed: 0, restored: 0 }
  const violations: Array<string> = []
  let written = 0

  const connect = Effect.fnUntraced(function* (to: Store, name: string, mostRequests: number) {
    const crashAt = (yield* chance(0.5)) ? yield* Random.nextIntBetween(3, mostRequests) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(to, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    return RetryingStore.make(faulty.store, { retries: 6, assumeLateArrivals: true })
  })

  const write = Effect.fnUntraced(function* ({ database, notes }: Client) {
    const document = { id: yield* pick(ids), value: `v${(written += 1)}`, group: yield* pick(["x", "y"]) }
    const kind = yield* Random.nextIntBetween(0, 9)
    if (kind < 5) return yield* notes.upsert(document)
    if (kind < 7) return yield* notes.delete(document.id)
    const other = { ...document, id: yield* pick(ids), value: `w${written}` }
    return yield* database.transaction(Effect.andThen(notes.upsert(document), notes.upsert(other)), { retries: 6 })
  })

  /** Lives one life after the other until the work is done. */
  const living = (work: (life: number) => Effect.Effect<unknown, unknown>, isOver: () => boolean) =>
    Effect.gen(function* () {
      for (let life = 0; !isOver(); life++) {
        const done = yield* work(life).pipe(
          Effect.catch(() => Effect.sleep(1000)),
          FaultyStore.untilCrash
        )
        if (Option.isNone(done)) seen.crashes += 1
      }
    })

  const working = (index: number) => {
    let made = 0
    const isOver = () => made >= ops / 2
    return living(
      (life) =>
        Effect.gen(function* () {
          const client = yield* clientOn(yield* connect(base, `w${index}.${life}`, 200), isJournaled)
          while (!isOver()) {
            made += 1
            seen.operations += 1
            yield* Effect.catch(write(client), () => Effect.void)
            // Some looks of a backup are to find nothing changed.
            yield* Effect.sleep(
              (yield* chance(0.2)) ? yield* Random.nextIntBetween(2_000, 8_000) : yield* Random.nextIntBetween(1, 200)
            )
          }
        }),
      isOver
    )
  }

  const backingUp = (index: number) =>
    living(
      (life) =>
        Effect.gen(function* () {
          const source = yield* connect(base, `b${index}.${life}`, 150)
          const kept = yield* connect(vault, `v${index}.${life}`, 60)
          const backups = yield* Backup.make({
            source: broken?.source?.(source) ?? source,
            vault: broken?.vault?.(kept) ?? kept
          })
          for (;;) {
            yield* backups.create({ passes: 6 })
            yield* Effect.sleep(yield* Random.nextIntBetween(1, 5_000))
          }
        }),
      () => false
    )

  /** Keeps the journal, one life after the other. */
  const keeping = living(
    (life) =>
      Effect.gen(function* () {
        const { database } = yield* clientOn(yield* connect(base, `j.${life}`, 150), isJournaled)
        return yield* database.journal.run(database.journaled, { lease: "5 seconds" })
      }),
    () => !isJournaled
  )

  /** Removes backups, and what nobody uses. */
  const pruning = living(
    (life) =>
      Effect.gen(function* () {
        const kept = yield* connect(vault, `p.${life}`, 120)
        const backups = yield* Backup.make({ source: base, vault: broken?.pruned?.(kept) ?? kept })
        for (;;) {
          yield* Effect.sleep(yield* Random.nextIntBetween(1, 4_000))
          seen.removed += (yield* backups.prune({ last: 2 }, { grace: "40 seconds", abandoned: "40 seconds" })).objects
        }
      }),
    () => false
  )

  /** Brings the oldest backup back, which is the next to be removed. */
  const restoring = living(
    (life) =>
      Effect.gen(function* () {
        const backups = yield* Backup.make({ source: base, vault: yield* connect(vault, `r.${life}`, 200) })
        for (;;) {
          yield* Effect.sleep(yield* Random.nextIntBetween(1, 2_000))
          const oldest = (yield* backups.list)[0]
          if (oldest === undefined) continue
          const { store: target } = yield* MemoryStore.make()
          const done = yield* Effect.result(backups.restore(oldest.id, { target }))
          if (Result.isSuccess(done)) {
            seen.restored += 1
            const found = yield* objectsOf(target, compared)
            if (oldest.isInstant && !wasOnce(found)) violations.push(`${oldest.id}, restored beside, never was`)
          } else if (done.failure._tag === "BackupDamaged" || isGone(done.failure)) {
            violations.push(`${oldest.id} cannot be restored beside: ${done.failure.message}`)
          }
        }
      }).pipe(Effect.scoped),
    () => false
  )

  const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const settling = yield* Effect.forkChild(effect)
      while (settling.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      return yield* Fiber.join(settling)
    })

  const others = yield* Effect.forEach([0, 1], (index) =>
    Effect.forkChild(drawing(seed, 70 + index, `${seed}-backup ${index}`)(backingUp(index)))
  )
  const pruner = yield* Effect.forkChild(drawing(seed, 76, `${seed}-pruner`)(pruning))
  const restorer = yield* Effect.forkChild(drawing(seed, 77, `${seed}-restorer`)(restoring))
  const keeper = yield* Effect.forkChild(drawing(seed, 75, `${seed}-keeper`)(keeping))
  const writers = yield* Effect.forkChild(atOnce(2, seed, `${seed}-writer `, working))
  while (writers.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
  const end = yield* Fiber.await(writers)
  if (Exit.isFailure(end)) violations.push(`the run itself failed: ${Cause.pretty(end.cause)}`)
  for (const other of [...others, keeper, pruner, restorer]) yield* settle(Fiber.interrupt(other))
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled

  // One more, of what is there now.
  const last = yield* Backup.make({ source: base, vault })
  const made = yield* settle(Effect.result(last.create()))
  if (Result.isFailure(made)) violations.push(`there is no backup any more: ${made.failure.message}`)
  const newest = Result.isSuccess(made) ? made.success.id : undefined
  for (const { id, isByJournal, isInstant } of yield* settle(last.list)) {
    const { problems } = yield* settle(last.verify(id))
    if (problems.length > 0) violations.push(`${id} is not whole: ${JSON.stringify(problems[0])}`)
    if (!isInstant || problems.length > 0) continue
    const { store: restored } = yield* MemoryStore.make()
    // Begun again until it comes to its end.
    for (let life = 0, isDone = false; !isDone; life++) {
      const target = life < 5 ? yield* connect(restored, `${id}.${life}`, 40) : restored
      const done = yield* settle(
        last.restore(id, { target }).pipe(
          Effect.as(true),
          Effect.catch((error) => Effect.succeed(error.message)),
          FaultyStore.untilCrash
        )
      )
      isDone = Option.contains(done, true)
      if (isDone || life < 5) continue
      violations.push(`${id} cannot be restored: ${String(Option.getOrUndefined(done))}`)
      break
    }
    yield* TestClock.adjust("1 minute")
    for (const control of controls) yield* control.settled
    const objects = yield* settle(objectsOf(restored, compared))
    if (!wasOnce(objects)) violations.push(`${id} says that it is of one instant, and never was`)
    if (id === newest && !sameObjects(objects, yield* settle(objectsOf(base, compared)))) {
      violations.push(`${id} is not what is there`)
    }
    if (isByJournal) seen.byJournal += 1
    if (isJournaled) {
      const { notes } = yield* clientOn(restored, isJournaled)
      const missing = yield* settle(
        (yield* notes.admin).repair({ dryRun: true }).pipe(
          Stream.filter(({ kind }) => !kind.startsWith("Leftover")),
          Stream.runCollect
        )
      )
      if (missing.length > 0) violations.push(`${id} has not what a document owns: ${JSON.stringify(missing[0])}`)
    }
  }
  const report: Report = { seed, ...(yield* countsOf(controls)), violations, trace: trace.lines(), ...seen }
  return report
})

/** Whether an object that has to be there is not. */
const isGone = (error: unknown): boolean => isStoreError(error) && error.reason._tag === "NoSuchKey"

const sameObjects = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, what]) => b.get(key) === what)

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

export const backupBreaks: Readonly<Record<string, BackupBreak>> = {
  /** A look takes what it has read for what is there: what has changed since is not seen. */
  "blind-looks": {
    source: (store) => {
      const read = new Map<string, Partial<ListEntry>>()
      return {
        ...store,
        get: (key, options) =>
          Effect.tap(store.get(key, options), ({ body, etag, lastModified }) =>
            Effect.sync(() => {
              read.set(key, {
                etag,
                size: body.length,
                ...(lastModified === undefined ? {} : { lastModified })
              })
            })
          ),
        list: (request) =>
          Effect.map(store.list(request), (page) => ({
            ...page,
            entries: page.entries.map((entry) => ({ ...entry, ...read.get(entry.key) }))
          }))
      }
    }
  },
  /** What is announced in the journal is not asked for, only what has been settled. */
  "forgotten-entries": {
    source: (store) => ({
      ...store,
      list: (request) =>
        request?.prefix?.startsWith("journal/pending") === true
          ? Effect.succeed({ entries: [], commonPrefixes: [], nextToken: undefined })
          : store.list(request)
    })
  },
  /** Who prunes does not ask who is under way, nor how old anything is. */
  "hasty-pruning": {
    pruned: (store) => ({
      ...store,
      list: (request) =>
        Effect.map(store.list(request), (page) => ({
          ...page,
          entries:
            request?.prefix === "unfinished/"
              ? []
              : page.entries.map((entry) => ({ ...entry, lastModified: -3_600_000 }))
        }))
    })
  },
  /** The manifest is there before its packs. */
  "early-manifest": {
    vault: (store) => {
      const waiting: Array<Parameters<Store["put"]>[0]> = []
      return {
        ...store,
        put: (request) => {
          if (request.key.startsWith("packs/")) {
            waiting.push(request)
            return Effect.succeed({ etag: '"later"' })
          }
          if (!request.key.startsWith("snapshots/")) return store.put(request)
          return Effect.tap(store.put(request), () =>
            Effect.forEach(waiting.splice(0), (one) => Effect.delay(store.put(one), 100))
          )
        }
      }
    }
  }
}
