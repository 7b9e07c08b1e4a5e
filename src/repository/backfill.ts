/**
 * Partitions, companions and unique keys that were declared after documents were written, and those that are removed.
 *
 * **Details**
 *
 * What a run has visited, and what it had to leave, is in the catalog: see `catalog/building`. So a run goes on where others
 * have ended, and an index is complete when all of them together have given every document what it lacks.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Catalog from "../Catalog.ts"
import * as building from "../catalog/building.ts"
import * as Companion from "../Companion.ts"
import * as DbError from "../DbError.ts"
import type { Documents } from "../document/documents.ts"
import type { ReadFailure } from "../document/read.ts"
import type { Compiled } from "../document/indexes.ts"
import * as Partition from "../Partition.ts"
import type { Backfilled, ProgressOptions, RewriteOptions } from "../Repository.ts"
import { listAll, maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as Unique from "../Unique.ts"
import type { Operation } from "./operation.ts"
import { type Held, type Leaving, mostLeft, type RewriteFailure, type Rewriting } from "./rewrite.ts"

/**
 * Work on partitions and unique keys that are not, or no more, complete.
 *
 * @category models
 * @since 0.1.0
 */
export interface Backfilling {
  /**
   * Gives every document the markers and reservations that it lacks, and says in the catalog how far it has come. It ends with
   * `Unfinished` as long as an index is not complete.
   */
  readonly backfill: (
    options: RewriteOptions | undefined
  ) => Stream.Stream<Backfilled, RewriteFailure | DbError.Unfinished>
  /**
   * Forgets a partition, companion or unique key, and removes its markers or reservations, whose number it gives; or goes on with that.
   * `NotAllowed`: a newer version declares it.
   */
  readonly remove: (
    kind: Catalog.IndexKind,
    name: string,
    onProgress: ProgressOptions["onProgress"]
  ) => Effect.Effect<number, DbError.InvalidInput | DbError.NotAllowed | ReadFailure>
}

/** So many documents may have been visited before the catalog says so. */
const documentsPerNote = 1000

/** Those that are not complete. */
const unready = ({
  companions,
  partitions,
  uniques
}: Compiled): ReadonlyArray<building.Index & { readonly isTold: boolean }> => [
  ...[...partitions.values()]
    .filter(({ lack }) => lack !== undefined)
    .map(({ build, name }) => ({ kind: "partitions" as const, name, build, isTold: true })),
  ...[...companions.values()]
    .filter(({ lack }) => lack !== undefined)
    .map(({ build, isKnown, name }) => ({ kind: "companions" as const, name, build, isTold: isKnown })),
  // A blind one is there once for each of its keys.
  ...new Map(
    [...uniques.values()]
      .filter(({ lack }) => lack !== undefined)
      .map(({ build, isTold, label }) => [label, { kind: "uniques" as const, name: label, build, isTold }])
  ).values()
]

/** Why an index lacks a document that was visited; `undefined` where it does not. */
const whyLeft = ({ kind, name }: building.Index, { error, violations }: Backfilled): string | undefined => {
  if (error !== undefined) return error.message
  const violation = kind === "uniques" ? violations.find(({ unique }) => unique === name) : undefined
  return violation === undefined ? undefined : describeViolation(violation)
}

const describeViolation = ({ id, isPending, unique }: DbError.UniqueViolation): string => {
  const other = id === undefined ? "another one" : `document ${JSON.stringify(id)}`
  return isPending
    ? `its value of unique key ${unique} is being claimed by a write of ${other}`
    : `${other} has its value of unique key ${unique}`
}

/** The part of the documents that a run has visited for one index. */
class Part {
  readonly index: building.Index
  readonly #begin: string | null
  #documents = new Map<string, string | undefined>()
  #end: string | null | undefined
  #saved: string | null | undefined
  #left = 0
  #isStopped = false

  constructor(index: building.Index, begin: string | null) {
    this.index = index
    this.#begin = begin
  }

  /** Documents of which the catalog has not been told. */
  get size(): number {
    return this.#documents.size
  }

  /** `last`: all documents up to it have been visited; `undefined`: nobody can tell. */
  add(outcomes: ReadonlyArray<Backfilled>, last: string | null | undefined): void {
    for (const outcome of outcomes) {
      const why = whyLeft(this.index, outcome)
      // The catalog names so many: the next run meets the others again.
      if (why !== undefined && this.#left >= mostLeft) this.#isStopped = true
      if (this.#isStopped) continue
      if (why !== undefined) this.#left += 1
      this.#documents.set(outcome.id, why)
    }
    if (last !== undefined && !this.#isStopped) this.#end = last
  }

  /** What the catalog is to be told; `undefined` when there is nothing. */
  visit(): building.Visit | undefined {
    if (this.#documents.size === 0 && this.#end === this.#saved) return undefined
    const run: building.Run | undefined = this.#end === undefined ? undefined : [this.#begin, this.#end]
    return { run, documents: this.#documents }
  }

  saved({ run }: building.Visit): void {
    this.#documents = new Map()
    this.#saved = run?.[1]
  }
}

/**
 * Makes the backfilling of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes }: Documents<A>,
  { rewriting, operation }: { readonly rewriting: Rewriting<A>; readonly operation: Operation }
): Backfilling => {
  const { capabilities, database, invalid, name, store } = context

  /** Whether there is anything to build, or to remove. */
  const isAnything = Effect.map(
    indexes.all,
    (compiled) => unready(compiled).length > 0 || database.upkeep(name)?.removals !== undefined
  )

  /** First all writers have to know what is to be kept up: a document that lacks something is there by then, and is met. */
  const known = Effect.andThen(context.fresh, Effect.when(database.known(name), isAnything))

  const progressOf = ({ kind, name: label }: building.Index): Catalog.Progress =>
    database.upkeep(name)?.[kind]?.[label]?.progress ?? { seen: [], left: [] }

  /** Where a run has to begin, and which documents before that were left by others. */
  const plan = (all: ReadonlyArray<building.Index>) => {
    const begins = all.map((index) => building.unseenAfter(progressOf(index))).filter((begin) => begin !== undefined)
    const after = begins.includes(null) ? null : begins.toSorted((a, b) => building.compareIds(a ?? "", b ?? ""))[0]
    const left = all.flatMap((index) => progressOf(index).left.map(({ id }) => id))
    const isBehind = (id: string) => after === undefined || (after !== null && building.compareIds(id, after) <= 0)
    return { after, again: [...new Set(left)].toSorted(building.compareIds), isBehind }
  }

  /**
   * What a run has visited since the catalog was told. Each index goes by itself: documents that one has to leave do not end
   * the part of another.
   */
  const noting = (all: ReadonlyArray<building.Index>, begin: string | null) => {
    const parts = all.map((index) => new Part(index, begin))
    const save = Effect.suspend(() => {
      const due = parts.flatMap((part) => {
        const visit = part.visit()
        return visit === undefined ? [] : [{ part, visit }]
      })
      if (due.length === 0) return Effect.void
      const add = (now: Catalog.Resource) =>
        due.reduce((resource, { part, visit }) => building.visited(resource, part.index, visit), now)
      return Effect.tap(
        database.changeIndexes(name, (now) => Effect.succeed(add(now))),
        () => Effect.sync(() => due.forEach(({ part, visit }) => part.saved(visit)))
      )
    })
    return {
      save,
      visited: Effect.fnUntraced(function* (outcomes: ReadonlyArray<Backfilled>, last: string | null | undefined) {
        for (const part of parts) part.add(outcomes, last)
        if (parts.some(({ size }) => size >= documentsPerNote)) yield* save
      })
    }
  }

  const backfill = Effect.fnUntraced(function* (options: RewriteOptions | undefined) {
    yield* known
    // What this program cannot tell it cannot build.
    const all = unready(yield* indexes.all).filter(({ isTold }) => isTold)
    const { after, again, isBehind } = plan(all)
    const given = options?.after
    const begin = given ?? (all.length === 0 ? null : after)
    const notes = noting(all, begin ?? null)
    const left = rewriting.leaving()
    const one = (id: string, held?: Held<A>): Effect.Effect<Backfilled, RewriteFailure> =>
      Effect.map(rewriting.told(id, rewriting.fill(id, held)), (outcome): Backfilled => ({
        violations: [],
        ...outcome
      }))
    const first = again.filter((id) => (given === undefined ? isBehind(id) : building.compareIds(id, given) <= 0))
    const concurrency = options?.concurrency ?? 16
    const isInOrder = capabilities.orderedList
    const revisited = Stream.fromArray(first).pipe(
      Stream.grouped(concurrency * 4),
      Stream.mapEffect((ids) =>
        Effect.tap(
          Effect.forEach(ids, (id) => one(id), { concurrency }),
          (outcomes) => notes.visited(outcomes, undefined)
        )
      ),
      Stream.flatMap(Stream.fromArray)
    )
    const rest =
      begin === undefined
        ? Stream.empty
        : Stream.concat(
            rewriting.each({ ...options, after: begin ?? undefined }, one, (outcomes, last) =>
              notes.visited(outcomes, isInOrder ? last : undefined)
            ),
            Stream.drain(Stream.fromEffect(notes.visited([], null)))
          )
    const told = Stream.tap(Stream.concat(revisited, rest), (outcome) =>
      Effect.sync(() => {
        const [violation] = outcome.violations
        const why = outcome.error?.message ?? (violation === undefined ? undefined : describeViolation(violation))
        if (why !== undefined) left.add(outcome.id, why)
      })
    )
    return told.pipe(
      Stream.concat(Stream.drain(Stream.fromEffect(Effect.suspend(() => Effect.andThen(notes.save, finish(left)))))),
      // Whoever stops it, or what, goes on from there.
      Stream.ensuring(Effect.ignore(notes.save))
    )
  })

  /** Fails with what is not done. Else removes what is left of indexes that were there before. */
  const finish = Effect.fnUntraced(function* (left: Leaving) {
    let open = unready(yield* indexes.all)
    if (open.length > 0) {
      // Others may have done the rest.
      yield* database.refresh
      open = unready(yield* indexes.all)
    }
    if (open.length > 0) {
      const entries = database.upkeep(name)
      const lacks = open.flatMap(({ kind, name: label }) => {
        const entry = entries?.[kind]?.[label]
        return entry === undefined ? [] : [building.describe(name, kind, label, entry)]
      })
      const all = new Map(open.flatMap((index) => progressOf(index).left.map((one) => [one.id, one])))
      return yield* new DbError.Unfinished({
        resource: name,
        operation: yield* operation.name,
        left: [...all.values()].slice(0, mostLeft),
        description: lacks.join("; ")
      })
    }
    yield* sweep(() => true)
    return yield* left.error
  })

  /** Removes what is left of indexes that nobody keeps up any more, and gives its number. */
  const sweep = Effect.fnUntraced(function* (
    isMeant: (removal: Catalog.Removal) => boolean,
    onProgress: NonNullable<ProgressOptions["onProgress"]> = () => Effect.void
  ) {
    const removals = (database.upkeep(name)?.removals ?? []).filter(isMeant)
    if (removals.length === 0) return 0
    let done = 0
    for (const removal of removals) {
      yield* Stream.runForEach(removeObjects(removal), (number) => {
        done += number
        return onProgress({ done })
      })
    }
    yield* database.changeIndexes(name, (now) => Effect.succeed(Catalog.withoutRemovals(now, removals)))
    return done
  })

  /** Removes the markers or reservations of an index, and tells how many, 1,000 at a time. */
  const removeObjects = (removal: Catalog.Removal) =>
    Stream.flatMap(Stream.fromArray(removal.kind === "uniques" ? reservationsOf(removal) : markersOf(removal)), (one) =>
      listAll(store, { prefix: one.prefix, keysOnly: true }).pipe(
        // A key that is none of its own is not touched.
        Stream.filter(({ key }) => one.isOwn(key)),
        Stream.grouped(maxKeysPerRequest),
        Stream.mapEffect(
          Effect.fnUntraced(function* (entries) {
            const keys = entries.map((entry) => entry.key)
            const { failed } = yield* store.deleteMany(keys, { repeatable: true })
            return failed.length > 0 ? yield* Effect.fail(failed[0]!.reason) : keys.length
          })
        )
      )
    )

  const markersOf = ({ build, kind, name: index }: Catalog.Removal) => {
    const label = Catalog.labelOf(index, build)
    const { parse, prefix } =
      kind === "partitions"
        ? Partition.compile(name, label, { fields: [] })
        : Companion.compile(name, label, { version: 1, fields: [] })
    return [{ prefix, isOwn: (key: string) => parse(key) !== undefined }]
  }

  /** A blind one has some under each of its keys. */
  const reservationsOf = ({ build, keys = [], name: index }: Catalog.Removal) => {
    const label = Catalog.labelOf(index, build)
    return [label, ...keys.map((id) => Unique.nameUnder(label, id))].map((one) => {
      const prefix = Unique.keyOf(name, one, "")
      return { prefix, isOwn: (key: string) => Unique.isOf(prefix, key) }
    })
  }

  /** The entry of an index is taken out, unless it was already and only its objects are left. */
  const forget = Effect.fnUntraced(function* (now: Catalog.Resource, kind: Catalog.IndexKind, label: string) {
    const noun = building.nounOf(kind)
    const after = Catalog.withoutIndex(now, kind, label)
    const isLeft = Catalog.removalsOf(now).some((one) => one.kind === kind && one.name === label)
    if (after === now) {
      const names = Object.keys(now[kind] ?? {}).join(", ")
      const message = `Expected a ${noun} of ${name}: ${names === "" ? "it has none" : names}; not ${JSON.stringify(label)}`
      return isLeft ? now : yield* invalid([noun], message)
    }
    const version = yield* context.codec.version
    const declaring = Catalog.declaringVersion(now, kind, label)
    if (declaring === undefined || declaring === version) return after
    const description = `version ${declaring} of ${name}, which is current, declares ${noun} ${label}, and this program is of version ${version}: take it out of the definition, and remove it by the program that has none`
    return yield* operation.refuse(description)
  })

  return {
    backfill: (options) => Stream.unwrap(backfill(options)),
    remove: Effect.fnUntraced(function* (kind, label, onProgress) {
      // What others have declared decides.
      yield* database.refresh
      // First nobody makes new ones, nor looks for any.
      yield* database.changeIndexes(name, (now) => forget(now, kind, label))
      yield* database.known(name)
      return yield* sweep((one) => one.kind === kind && one.name === label, onProgress)
    })
  }
}
