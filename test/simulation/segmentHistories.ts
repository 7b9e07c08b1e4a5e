/**
 * Histories of writers, transactions, compactions and readers by segments on a store that fails in every way. A scan, and an aggregation
 * that tells documents apart, are a read of every document, from its beginning to its end: each document has to be linearizable. One that
 * may be so old is a read from so long before its beginning.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import type * as PackedObjects from "effect-s3db/kernel/PackedObjects"
import * as Segments from "effect-s3db/plugins/Segments"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Linearizability from "effect-s3db/testing/Linearizability"
import { atOnce, countsOf, fromSeed } from "./course.ts"
import { chance } from "./draw.ts"
import type { Report } from "./simulation.ts"
import { outcomeOf } from "./workload.ts"

type Store = ObjectStore["Service"]
type Op = Linearizability.DocumentOp
type Result = Linearizability.DocumentResult

/** What a reader has in the place of the copies. */
export type SegmentBreak = (packed: PackedObjects.PackedObjects) => PackedObjects.PackedObjects

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: SegmentBreak | undefined
}

const Note = Schema.Struct({ id: Schema.String, value: Schema.String })

class Notes extends Resource.Service<Notes>()("notes", { schema: Note, primaryKey: "id" }) {}

const ids = Array.from({ length: 9 }, (_, i) => `n${i}`)

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.05,
  duplicate: 0.02,
  late: { probability: 0.02, maxMillis: 8000 }
}

const clientOn = Effect.fnUntraced(function* (store: Store, broken?: SegmentBreak) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database.Database, database)
  const segments = yield* Segments.make({
    resources: [Notes],
    compact: false,
    documentsPerSegment: 3,
    leastChanges: 1,
    // Segments go under readers.
    grace: 0,
    compression: "none",
    writtenBytes: 2000
  }).pipe(Effect.provideService(Notes, notes), Effect.provideService(Database.Database, database))
  const copies = database.resources.packed.get("notes")
  if (copies !== undefined) database.resources.packed.set("notes", (broken ?? same)(standingStill(copies)))
  return { database, notes, segments }
})

const same: SegmentBreak = (packed) => packed

/** Readers that stand still, once in a while, before they read a segment that they know of: it may be gone by then. */
const standingStill: SegmentBreak = (packed) => ({
  ...packed,
  batches: (load, freshness) =>
    packed.batches(
      (pack) => Effect.flatMap(chance(0.2), (stands) => (stands ? Effect.delay(load(pack), "20 seconds") : load(pack))),
      freshness
    )
})

type Client = Effect.Success<ReturnType<typeof clientOn>>

const maxStaleness = 5_000

const mostSkew = 1_800_000

/** The value of every document, by a scan or by columns. */
const readAll = Effect.fnUntraced(function* ({ notes }: Client, byColumns: boolean, isOld: boolean) {
  const bounded = isOld ? { maxStaleness } : {}
  if (!byColumns) {
    const all = yield* Stream.runCollect(notes.scan(bounded))
    return new Map(all.map(({ id, value }) => [id, value]))
  }
  const apart = { groupBy: ["id", "value"], values: { n: { count: true } } } as const
  const groups = yield* notes.aggregate(apart, { scan: true, ...bounded })
  return new Map(groups.map(({ key: [id, value] }) => [String(id), String(value)]))
})

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(
    // Segments that are removed under readers are told each time.
    Effect.provide(Logger.layer([])),
    fromSeed(options.seed)
  )

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.adjust("1 hour")
  const { store: base } = yield* MemoryStore.make()
  yield* clientOn(base)
  const trace = FaultyStore.makeTrace()
  const recorders = new Map(ids.map((id) => [id, Linearizability.makeRecorder<Op, Result>()]))
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0 }
  const violations: Array<string> = []
  let written = 0
  const skews = (yield* chance(0.25)) ? [-mostSkew, 0, mostSkew] : [0, 0, 0]
  const mostApart = Math.max(...skews) - Math.min(...skews)

  /** How long the history of each document was, and when. */
  const lengths: Array<{ readonly at: number; readonly of: ReadonlyMap<string, number> }> = []
  const measured = Effect.fnUntraced(function* (skew: number) {
    const at = (yield* Clock.currentTimeMillis) - skew
    const of = new Map<string, number>()
    for (const [id, recorder] of recorders) of.set(id, (yield* recorder.history).length)
    lengths.push({ at, of })
    return at
  })
  /** Where in the histories a read begins that may be so old, by who reads. */
  const began = new Map<string, ReadonlyMap<string, number> | undefined>()
  const inOrder = (id: string, history: ReadonlyArray<Linearizability.Event<Op, Result>>) =>
    history
      .map((event, i) => {
        const isOld = event._tag === "Invoke" && began.has(event.process)
        return { event, at: isOld ? (began.get(event.process)?.get(id) ?? 0) - 0.5 : i }
      })
      .toSorted((a, b) => a.at - b.at)
      .map(({ event }) => event)

  const connect = Effect.fnUntraced(function* (name: string) {
    const crashAt = (yield* chance(0.6)) ? yield* Random.nextIntBetween(5, 120) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    const store = RetryingStore.make(faulty.store, { retries: 6, assumeLateArrivals: true })
    return yield* clientOn(store, broken)
  })

  const recorded = <A, E>(
    name: string,
    id: string,
    op: () => Op,
    effect: Effect.Effect<A, E>,
    onSuccess: (value: A) => Result = () => ({ _tag: "Ok" })
  ): Effect.Effect<A, E> =>
    recorders.get(id)!.record({
      process: name,
      op,
      effect,
      onSuccess,
      onFailure: (error) => {
        const outcome = outcomeOf(error, op())
        if (outcome._tag === "Unknown") seen.unknown += 1
        return outcome
      }
    })

  /** A read of everything is one of each document. */
  const scanned = (name: string, client: Client, byColumns: boolean, isOld = false) =>
    ids.reduce<Effect.Effect<ReadonlyMap<string, string>, unknown>>(
      (read, id) =>
        recorded(
          name,
          id,
          () => ({ _tag: "Read" }),
          read,
          (all) => ({ _tag: "Value", value: all.get(id) })
        ),
      readAll(client, byColumns, isOld)
    )

  const update = (
    name: string,
    { notes }: Client,
    id: string,
    within: (write: Effect.Effect<void, unknown>) => Effect.Effect<void, unknown>
  ) => {
    const value = `${name}-${(written += 1)}`
    let expected = ""
    const write = notes.update(id, (now) => {
      expected = now.value
      return { value }
    })
    return recorded(name, id, () => ({ _tag: "Update", expected, value }), within(Effect.asVoid(write)))
  }

  const scannedOld = Effect.fnUntraced(function* (name: string, client: Client, at: number) {
    const process = `${name}, read ${began.size}`
    began.set(process, lengths.findLast((one) => one.at <= at - maxStaleness - mostApart)?.of)
    yield* scanned(process, client, yield* chance(0.5), true)
  })

  const step = Effect.fnUntraced(function* (name: string, client: Client, skew: number) {
    const at = yield* measured(skew)
    const id = ids[yield* Random.nextIntBetween(0, ids.length)] ?? "n0"
    const kind = yield* Random.nextIntBetween(0, 100)
    const value = `${name}-${(written += 1)}`
    if (kind < 12) yield* scanned(name, client, yield* chance(0.5))
    else if (kind < 30) yield* scannedOld(name, client, at)
    else if (kind < 40) yield* client.segments.compactNow()
    else if (kind < 42) yield* client.segments.remove("notes")
    else if (kind < 60) yield* recorded(name, id, () => ({ _tag: "Insert", value }), client.notes.insert({ id, value }))
    else if (kind < 75) yield* update(name, client, id, (write) => write)
    else if (kind < 88) yield* recorded(name, id, () => ({ _tag: "Remove" }), client.notes.delete(id))
    else {
      const other = ids[yield* Random.nextIntBetween(0, ids.length)] ?? "n1"
      if (other === id) return
      yield* update(name, client, other, (write) =>
        recorded(
          name,
          id,
          () => ({ _tag: "Remove" }),
          client.database.transaction(Effect.andThen(write, client.notes.delete(id)), { retries: 6 })
        )
      )
    }
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    const skew = skews[index] ?? 0
    for (let life = 0; made < ops / 3; life++) {
      const name = `c${index}.${life}`
      const done = yield* Effect.gen(function* () {
        const client = yield* connect(name)
        while (made < ops / 3) {
          made += 1
          seen.operations += 1
          yield* Effect.catch(step(name, client, skew), () => Effect.void)
        }
      }).pipe(
        Effect.scoped,
        FaultyStore.withClockSkew(skew),
        Effect.catch(() => Effect.sleep(1000)),
        FaultyStore.untilCrash
      )
      if (Option.isNone(done)) seen.crashes += 1
      made += 1
    }
  })

  const settle = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(effect)
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("10 seconds")
      return yield* Fiber.join(fiber)
    })

  yield* settle(atOnce(3, seed, `${seed}-`, work))
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled

  // Whoever comes last sees the same by every way.
  const last = yield* clientOn(base, broken)
  yield* settle(Effect.asVoid(scanned("last", last, false)))
  yield* settle(Effect.asVoid(scanned("last", last, true)))
  yield* settle(last.segments.compactNow())
  yield* settle(Effect.asVoid(scanned("last", last, false)))
  for (const [id, recorder] of recorders) {
    const one = yield* settle(
      Effect.andThen(
        Effect.asVoid(
          recorded(
            "last",
            id,
            () => ({ _tag: "Read" }),
            last.notes.getOption(id),
            (found) => ({ _tag: "Value", value: Option.getOrUndefined(found)?.value })
          )
        ),
        recorder.history
      )
    )
    const verdict = Linearizability.check({ model: Linearizability.documentModel, history: inOrder(id, one) })
    if (!verdict.ok) violations.push(`${id}: ${JSON.stringify(verdict.stuckAt)}`)
  }
  const report: Report = { seed, ...(yield* countsOf(controls)), violations, trace: trace.lines(), ...seen }
  return report
})

// -----------------------------------------------------------------------------
// Builds that are wrong on purpose
// -----------------------------------------------------------------------------

export const segmentBreaks: Readonly<Record<string, SegmentBreak>> = {
  /** A copy is taken whatever the ETag of its document is now. */
  "stale-copies": (packed) => {
    const etags = new Map<string, Set<string>>()
    return {
      ...packed,
      batches: (load, freshness) =>
        packed.batches(
          (pack) =>
            Effect.map(load(pack), ({ find, index }) => ({
              index,
              find: (key, etag) => {
                const found = find(key, etag)
                const known = etags.get(key) ?? new Set()
                etags.set(key, known)
                if (found !== undefined && etag !== undefined) known.add(etag)
                return found ?? [...known].map((one) => find(key, one)).find((one) => one !== undefined)
              }
            })),
          freshness
        )
    }
  },
  /** Who may read what was there a while ago reads what was there at any time. */
  "any-age": (packed) => ({
    ...packed,
    batches: (load, freshness) =>
      packed.batches(load, freshness?.notBefore === undefined ? freshness : { notBefore: Number.MIN_SAFE_INTEGER })
  }),
  /** What a process has written is packed as what is listed now, whoever has written that. */
  "unchecked-writes": (packed) => {
    const last = new Map<string, PackedObjects.WrittenObject>()
    const { hand } = packed.written
    Object.assign(packed.written, {
      hand: (object: PackedObjects.WrittenObject) => {
        last.set(object.key, object)
        hand(object)
      },
      find: (key: string) => last.get(key)
    })
    return packed
  },
  /** A segment that was removed under its reader is taken for an empty one. */
  "lost-packs": (packed) => ({
    ...packed,
    batches: (load, freshness) => {
      const lost: Array<string> = []
      return packed
        .batches(
          (pack) =>
            Effect.catchReason(load(pack), "StoreError", "NoSuchKey", () => {
              lost.push(pack.upto)
              return Effect.succeed({ index: { entries: () => [] }, find: () => undefined })
            }),
          freshness
        )
        .pipe(
          Stream.map((listed) =>
            listed.filter(({ copy, entry: { key } }) => copy !== undefined || !lost.some((upto) => key <= upto))
          )
        )
    }
  })
}
