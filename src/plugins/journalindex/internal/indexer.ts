/**
 * Who keeps an index: one process at a time, by a lease, in steps. Each step puts a segment and then the manifest, by compare-and-set and fenced by the
 * token of the lease: a crash leaves at most an object that nothing names, and whoever comes next goes on with the step after.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Id from "../../../crypto/Id.ts"
import type * as AppendLog from "../../../kernel/AppendLog.ts"
import type * as Fenced from "../../../kernel/Fenced.ts"
import type * as Journal from "../../../kernel/Journal.ts"
import * as Lease from "../../../kernel/Lease.ts"
import { listAll, type ObjectStore } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"
import { type AnyPart, type Form, keysOf, type Manifest, nothing } from "./manifest.ts"

/** What became of a document: what the index takes of it, or nothing where it is no more. */
export interface Change<Item> {
  readonly id: string
  readonly item: Item | undefined
}

/** A part as it is to be, and the keys of objects that it has no more. */
export interface Grown<Part> {
  readonly part: Part
  readonly retired: ReadonlyArray<string>
}

/** How parts of an index grow: by documents that came, changed and went, and by segments that are put together. */
export interface Growth<Part, Item> {
  /** Puts what became of some documents, each once, into a part. */
  readonly apply: (
    part: Part,
    changes: ReadonlyArray<Change<Item>>
  ) => Effect.Effect<Grown<Part>, StoreError.StoreError>
  /** Does one step of putting segments of a part together, if there is one that is worth it, or, with `all`, any; nothing: there is not. */
  readonly merge: (part: Part, all?: boolean) => Effect.Effect<Grown<Part> | undefined, StoreError.StoreError>
}

/** The documents that are indexed. */
export interface Source<Item, E> {
  /** Those of these ids that there are, as they are now. */
  readonly read: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, Item>, E>
  /** A page of all of them. */
  readonly page: (
    cursor: string | undefined
  ) => Effect.Effect<{ readonly found: ReadonlyMap<string, Item>; readonly cursor: string | undefined }, E>
  /** Whether it is the cursor of a page that is wrong. */
  readonly isWrongCursor: (error: E) => boolean
  /** What counts towards `stepWeight`. */
  readonly weightOf: (item: Item) => number
}

export interface Options<Part extends AnyPart, Item, E> {
  readonly prefix: string
  readonly resource: string
  /** What it keeps, for the log: `full-text index`. */
  readonly what: string
  readonly form: Form<Part>
  readonly manifest: Fenced.Fenced<Manifest<Part>>
  readonly journal: Pick<Journal.Journal, "read" | "status">
  readonly growth: Growth<Part, Item>
  readonly source: Source<Item, E>
  /** How many documents a step takes in, and how much of what these weigh. A document is never divided. */
  readonly stepDocuments: number
  readonly stepWeight: number
  readonly lease: Lease.Options["duration"]
  readonly firstMillis: number
  readonly longestMillis: number
}

/** What the indexer of this process does. */
export interface State {
  /** Whether it has the lease. */
  readonly isActive: boolean
  /** What is in its way, in one line. */
  readonly failing: string | undefined
  /** Whether that does not pass by itself. */
  readonly isStopped: boolean
}

export type Failure<E> = E | StoreError.StoreError | AppendLog.Trimmed

export interface Indexer<E> {
  /** Takes in all that the journal has when it begins, and ends. Waits for the lease, where another process has it. */
  readonly update: Effect.Effect<void, Failure<E>>
  /** Begins a new build of all documents, which takes the place of what there is when it is done, and gives its name. */
  readonly rebuild: Effect.Effect<string, Failure<E>>
  /** Puts segments together until there are as few as can be. Waits for the lease, where another process has it. */
  readonly compact: Effect.Effect<void, Failure<E>>
  /** Does what there is to do, as long as it runs. */
  readonly run: Effect.Effect<never>
  readonly state: () => State
}

/** How many records of the journal are taken at once. */
const mostRecords = 4096
/** How many documents are read at once. */
const chunk = 100
/** How long objects are left that are no segments any more, for those who read by an older manifest. */
const graceMillis = 60_000

const lineOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error)
  return text.split(/[\r\n]/)[0]!.slice(0, 500)
}

const isRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true

export const make = <Part extends AnyPart, Item, E>(
  store: ObjectStore["Service"],
  options: Options<Part, Item, E>
): Indexer<E> => {
  const { form, growth, journal, manifest, prefix, resource, source, stepDocuments, stepWeight, what } = options
  const leaseKey = `${prefix}/lease`
  const leaseAbove = (tokensAbove: number) => Lease.make(store, { key: leaseKey, duration: options.lease, tokensAbove })
  const lease = leaseAbove(0)
  const woken = Latch.makeUnsafe(false)
  /** How much of what is done here has the lease. */
  let holding = 0
  let failing: string | undefined
  let isStopped = false

  /** Puts the next manifest in the place of the one that is known; `false`: there is another one by now, which is known from then on. */
  class Holder {
    known: Manifest<Part>
    readonly claimed: Fenced.Claimed<Manifest<Part>>

    constructor(claimed: Fenced.Claimed<Manifest<Part>>) {
      this.claimed = claimed
      this.known = Option.getOrElse(claimed.found, () => nothing)
    }

    save(next: Omit<Manifest<Part>, "revision">) {
      const { revision } = this.known
      let isMine = false
      return Effect.map(
        this.claimed.modify((now) => {
          isMine = (now?.revision ?? 0) === revision
          return Effect.succeed(isMine ? { ...next, revision: revision + 1 } : now)
        }),
        (found) => {
          this.known = Option.getOrElse(found, () => nothing)
          return isMine
        }
      )
    }
  }

  const newPart = Effect.gen(function* () {
    // Before anything is read: what is written from now on comes after it.
    const { next } = yield* journal.status
    return form.empty(yield* Id.writeId, next)
  })

  const retiring = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const at = Math.floor(yield* Clock.currentTimeMillis)
    return keys.map((key) => ({ key, at }))
  })

  /** Takes the next page of all documents into a part that is built. */
  const scanned = Effect.fnUntraced(function* (part: Part) {
    const changes = new Map<string, Change<Item>>()
    let weight = 0
    let cursor = part.scan?.cursor
    do {
      const page = yield* source.page(cursor)
      for (const [id, item] of page.found) {
        weight += source.weightOf(item)
        changes.set(id, { id, item })
      }
      cursor = page.cursor
    } while (cursor !== undefined && changes.size < stepDocuments && weight < stepWeight)
    const grown = yield* growth.apply(part, [...changes.values()])
    return { ...grown, part: form.scanning(grown.part, cursor === undefined ? undefined : { cursor }) }
  })

  /** Takes what the journal has next into a part; nothing: it has no more. */
  const followed = Effect.fnUntraced(function* (part: Part) {
    const { next } = yield* journal.status
    if (part.position >= next) return undefined
    let to = Math.min(next, part.position + mostRecords)
    const first = new Map<string, number>()
    yield* Stream.runForEach(journal.read({ from: part.position, to }), ({ position, value }) =>
      Effect.sync(() => {
        if (value.resource === resource && !first.has(value.id)) first.set(value.id, position)
      })
    )
    const ids = [...first.keys()]
    const changes: Array<Change<Item>> = []
    let weight = 0
    for (let at = 0; at < ids.length; at += chunk) {
      const some = ids.slice(at, at + chunk)
      if (changes.length >= stepDocuments || weight >= stepWeight) {
        // All records before this one are of documents that are taken.
        to = first.get(some[0]!)!
        break
      }
      const found = yield* source.read(some)
      for (const id of some) {
        const item = found.get(id)
        if (item !== undefined) weight += source.weightOf(item)
        changes.push({ id, item })
      }
    }
    const grown = yield* growth.apply(part, changes)
    return { ...grown, part: { ...grown.part, position: to } }
  })

  const saveGrown = Effect.fnUntraced(function* (holder: Holder, which: "live" | "building", grown: Grown<Part>) {
    const { retired, ...rest } = holder.known
    return yield* holder.save({
      ...rest,
      [which]: grown.part,
      retired: [...retired, ...(yield* retiring(grown.retired))]
    })
  })

  /** A part that cannot go on, for what the journal or the cursor does not have any more, begins anew. */
  const beginAnew = Effect.fnUntraced(function* (holder: Holder) {
    const { building, retired, ...rest } = holder.known
    const left = yield* retiring(building === undefined ? [] : form.keysOf(building))
    return yield* holder.save({ ...rest, building: yield* newPart, retired: [...retired, ...left] })
  })

  const stepBuilding = Effect.fnUntraced(function* (holder: Holder, part: Part) {
    if (part.scan !== undefined) {
      const page = yield* Effect.result(scanned(part))
      if (Result.isSuccess(page)) {
        yield* saveGrown(holder, "building", page.success)
      } else if (part.scan.cursor !== undefined && isWrongCursor(page.failure)) {
        yield* beginAnew(holder)
      } else return yield* Effect.fail(page.failure)
      return true
    }
    const { building: _, live, retired, ...rest } = holder.known
    if (live !== undefined && live.position > part.position) {
      const grown = yield* followed(part)
      if (grown !== undefined) {
        yield* saveGrown(holder, "building", grown)
        return true
      }
    }
    // What is new begins with as few segments as can be.
    if (yield* stepMerge(holder, "building", true)) return true
    const old = yield* retiring(live === undefined ? [] : form.keysOf(live))
    yield* holder.save({ ...rest, live: part, retired: [...retired, ...old] })
    return true
  })

  const isWrongCursor = (error: E | StoreError.StoreError): boolean =>
    !StoreError.isStoreError(error) && source.isWrongCursor(error)

  const isTrimmed = (error: unknown): error is AppendLog.Trimmed =>
    typeof error === "object" && error !== null && "_tag" in error && error._tag === "Trimmed"

  const stepLive = Effect.fnUntraced(function* (holder: Holder, part: Part) {
    const grown = yield* followed(part)
    if (grown === undefined) return false
    yield* saveGrown(holder, "live", grown)
    return true
  })

  const stepMerge = Effect.fnUntraced(function* (holder: Holder, which: "live" | "building", all = false) {
    const part = holder.known[which]
    const grown = part === undefined ? undefined : yield* growth.merge(part, all)
    if (grown === undefined) return false
    yield* saveGrown(holder, which, grown)
    return true
  })

  /** Removes objects that were segments a while ago. */
  const stepRetired = Effect.fnUntraced(function* (holder: Holder) {
    const { retired, ...rest } = holder.known
    const now = yield* Clock.currentTimeMillis
    const due = retired.filter(({ at }) => at + graceMillis <= now || at > now + graceMillis)
    if (due.length === 0) return false
    yield* removeAll(due.map(({ key }) => key))
    return yield* holder.save({ ...rest, retired: retired.filter((one) => !due.includes(one)) })
  })

  const removeAll = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const { failed } = yield* store.deleteMany(keys, { repeatable: true })
    const [first] = failed
    if (first !== undefined) {
      return yield* new StoreError.StoreError({ operation: "deleteMany", key: first.key, reason: first.reason })
    }
  })

  /** One step; `false`: there is nothing to do. */
  const step = Effect.fnUntraced(function* (holder: Holder) {
    const { building, live } = holder.known
    if (building === undefined && live === undefined) {
      yield* beginAnew(holder)
      return true
    }
    if (building !== undefined) {
      yield* Effect.catchIf(stepBuilding(holder, building), isTrimmed, () => beginAnew(holder))
      yield* stepMerge(holder, "building")
    }
    const now = holder.known
    if (now.live !== undefined) {
      const more = yield* Effect.result(stepLive(holder, now.live))
      // What is live may be damaged: what is built takes its place.
      if (Result.isFailure(more) && now.building === undefined) {
        if (!isTrimmed(more.failure)) return yield* Effect.fail(more.failure)
        yield* Effect.logWarning(`the ${what} of ${resource} is built anew: ${more.failure.message}`)
        yield* beginAnew(holder)
        return true
      }
      if (Result.isFailure(more) && !isTrimmed(more.failure) && isRetryable(more.failure)) {
        return yield* Effect.fail(more.failure)
      }
      const isMerged = Result.isSuccess(more) && (yield* stepMerge(holder, "live"))
      if ((Result.isSuccess(more) && more.success) || isMerged) return true
    }
    return holder.known.building !== undefined || (yield* stepRetired(holder))
  })

  /** Objects that nothing names: what a process has put that did not come to put the manifest, and cannot any more. */
  const tidy = Effect.fnUntraced(function* (holder: Holder) {
    const named = new Set(keysOf(form, holder.known))
    const found = yield* Stream.runCollect(listAll(store, { prefix: `${prefix}/segment/`, keysOnly: true }))
    const lost = found.map(({ key }) => key).filter((key) => !named.has(key))
    if (lost.length > 0) yield* removeAll(lost)
  })

  /** Does something as the one who has the lease. Where the manifest has seen a higher token, somebody has removed the lease: it is taken above that. */
  const leading = Effect.fnUntraced(function* <A, E2>(
    work: (holder: Holder) => Effect.Effect<A, E2 | Lease.LeaseLost>
  ): Effect.fn.Return<A, Exclude<E2, Lease.LeaseLost> | StoreError.StoreError> {
    for (let mine = lease; ;) {
      const outcome = yield* mine.runWhileLeader((held) =>
        Effect.gen(function* () {
          holding += 1
          const holder = new Holder(yield* manifest.claim(held.token))
          yield* tidy(holder)
          return yield* work(holder)
        }).pipe(
          Effect.ensuring(Effect.sync(() => (holding -= 1))),
          Effect.map(Result.succeed),
          Effect.catchIf(
            (error): error is Lease.LeaseLost => error instanceof Lease.LeaseLost,
            ({ seen = 0 }) =>
              Effect.gen(function* () {
                const there = seen > held.token ? yield* lease.state : Option.none()
                if (Option.isSome(there) && there.value.holder === held.holder) return Result.fail(seen)
                return yield* Effect.andThen(held.lost, Effect.never)
              })
          )
        )
      )
      if (Result.isSuccess(outcome)) return outcome.success
      mine = leaseAbove(outcome.failure)
    }
  })

  /** Whether all before a position is in what answers, and nothing is to take its place. */
  const hasCome = ({ building, live }: Manifest<Part>, goal: number): boolean =>
    building === undefined && live !== undefined && live.position >= goal

  /** To the end that the journal has now: others may write on and on. */
  const exhaust = Effect.fnUntraced(function* (holder: Holder) {
    const { next } = yield* journal.status
    while ((yield* step(holder)) && !hasCome(holder.known, next + 1)) yield* Effect.yieldNow
  })

  /** Pauses until somebody has a reason to look at once; whether somebody had. */
  const rest = (millis: number) =>
    Effect.raceFirst(Effect.as(Effect.sleep(millis), false), Effect.as(woken.await, true)).pipe(
      Effect.tap(() => woken.close)
    )

  /** Who waits here until there is nothing to do, or until segments are put together. */
  const waiting = new Set<{
    readonly compacts: boolean
    readonly goal: number
    readonly done: Deferred.Deferred<void>
  }>()

  const compacted = Effect.fnUntraced(function* (holder: Holder) {
    while (yield* stepMerge(holder, "live", true)) yield* Effect.yieldNow
  })

  /** Works until nothing has come for as long as the longest pause. */
  const work = (holder: Holder) =>
    Effect.gen(function* () {
      for (let idle = 0, pause = options.firstMillis; idle < options.longestMillis;) {
        const isMore = yield* step(holder)
        for (const asked of Array.from(waiting)) {
          if (isMore && !hasCome(holder.known, asked.goal)) continue
          if (asked.compacts) yield* compacted(holder)
          waiting.delete(asked)
          yield* Deferred.succeed(asked.done, undefined)
        }
        if (isMore) {
          failing = undefined
          idle = 0
          pause = options.firstMillis
          yield* Effect.yieldNow
          continue
        }
        failing = undefined
        const isWoken = yield* rest(pause)
        idle = isWoken ? 0 : idle + pause
        pause = isWoken ? options.firstMillis : Math.min(options.longestMillis, pause * 2)
        // Another process may have asked for a build.
        const found = yield* holder.claimed.read
        holder.known = Option.getOrElse(found, () => nothing)
      }
    })

  /** Waits without the lease until there is something to do. */
  const until = Effect.gen(function* () {
    for (;;) {
      const { building, live } = Option.getOrElse(yield* manifest.read, (): Manifest<Part> => nothing)
      const { next } = yield* journal.status
      if (building !== undefined || live === undefined || live.position < next) return
      yield* rest(options.longestMillis)
    }
  })

  const run = Effect.gen(function* () {
    for (let pause = options.firstMillis; ;) {
      const outcome = yield* Effect.result(Effect.andThen(leading(work), until))
      if (Result.isSuccess(outcome)) {
        pause = options.firstMillis
        continue
      }
      failing = lineOf(outcome.failure)
      isStopped = !isRetryable(outcome.failure)
      yield* !isStopped
        ? Effect.logWarning(`the ${what} of ${resource} waits: ${failing}`)
        : Effect.logError(`the ${what} of ${resource} cannot go on; it is tried again. ${failing}`)
      yield* rest(pause)
      pause = Math.min(options.longestMillis, pause * 2)
    }
  })

  /** As the one who has the lease, whoever that is: it finds the build with its next step. */
  const rebuild: Indexer<E>["rebuild"] = Effect.gen(function* () {
    const part = yield* newPart
    for (let seen = 0; ;) {
      const held = Option.match(yield* lease.state, { onNone: () => 0, onSome: ({ token }) => token })
      const attempt = Effect.gen(function* () {
        const claimed = yield* manifest.claim(Math.max(held, seen))
        const holder = new Holder(claimed)
        const { building, retired, ...rest } = holder.known
        const left = yield* retiring(building === undefined ? [] : form.keysOf(building))
        return yield* holder.save({ ...rest, building: part, retired: [...retired, ...left] })
      })
      const saved = yield* Effect.result(
        Effect.catchIf(
          attempt,
          (error) => StoreError.isStoreError(error) && error.reason._tag === "Corrupt",
          // What it said is lost, and of no use for a build of everything.
          () => Effect.as(store.delete(manifest.key), false)
        )
      )
      if (Result.isSuccess(saved)) {
        if (!saved.success) continue
        yield* woken.open
        return part.build
      }
      if (!(saved.failure instanceof Lease.LeaseLost)) return yield* Effect.fail(saved.failure)
      seen = saved.failure.seen ?? seen
    }
  })

  /** Done by what runs here, if that has the lease, or by itself. */
  const asked = Effect.fnUntraced(function* (compacts: boolean) {
    const { next } = yield* journal.status
    const one = { compacts, goal: next, done: Deferred.makeUnsafe<void>() }
    waiting.add(one)
    const direct = leading((holder) => Effect.andThen(exhaust(holder), compacts ? compacted(holder) : Effect.void))
    yield* woken.open
    yield* Effect.raceFirst(direct, Deferred.await(one.done)).pipe(
      Effect.ensuring(Effect.sync(() => waiting.delete(one)))
    )
  })

  return {
    update: asked(false),
    rebuild,
    compact: asked(true),
    run,
    state: () => ({ isActive: holding > 0, failing, isStopped })
  }
}
