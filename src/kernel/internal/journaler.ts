/**
 * What settles the pending set: rounds of a listing, an append and a removal.
 *
 * A round is correct whoever else makes rounds at the same time: an append is made at the position up to which this journaler knows
 * the log, or not at all. The lease saves work, and the fence shuts out whoever had it before.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { JsonObject } from "../../encoding/Json.ts"
import { getOption, listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import type * as AppendLog from "../AppendLog.ts"
import type { LeaseLost } from "../Lease.ts"
import type * as Lease from "../Lease.ts"
import type { Client } from "./journalClient.ts"
import * as Entry from "./journalEntry.ts"
import * as journalMemory from "./journalMemory.ts"
import { type Head, settle } from "./journalSettling.ts"

/** A version as the log keeps it. */
export interface Record extends Omit<Entry.Write, "previous"> {
  readonly previous?: string
  readonly before?: JsonObject
  readonly after?: JsonObject
  readonly context?: JsonObject
}

export interface Deletion {
  readonly resource: string
  readonly id: string
  readonly writeId: string
}

/** What a journaler asks of those who know documents. */
export interface Documents {
  readonly head: (resource: string, id: string) => Effect.Effect<Head, StoreError.StoreError>
  readonly sweep: (deletion: Deletion) => Effect.Effect<void, StoreError.StoreError>
}

export interface Round {
  readonly appended: number
  readonly dropped: number
  readonly undecided: number
  readonly waiting: number
  /** Entries that the round before had not met. */
  readonly fresh: number
  /** Somebody else has appended in between: the next round begins with what is in the log. */
  readonly isOvertaken: boolean
  readonly next: number
}

export interface Options {
  readonly store: ObjectStore["Service"]
  readonly prefix: string
  readonly log: AppendLog.AppendLog<Record>
  readonly client: Client
  readonly documents: Documents
  readonly lease: Lease.Lease
  /** Milliseconds. */
  readonly firstPause: number
  readonly longestPause: number
}

export interface RoundOptions {
  /** The token of the lease. */
  readonly fence: number
  /** Asks for every document of which nothing is known, however lately it was asked for. */
  readonly isThorough?: boolean
  /** Nobody writes, and no request is under way: what is undecided never commits. */
  readonly isQuiet?: boolean
}

export interface Journaler {
  readonly round: (options: RoundOptions) => Effect.Effect<Round, LeaseLost | StoreError.StoreError>
  readonly catchUp: (isQuiet: boolean) => Effect.Effect<Round, StoreError.StoreError>
  readonly run: Effect.Effect<never, StoreError.StoreError>
}

/** The position up to which no entry is in the pending set any more. */
export const removedOf = ({ note }: Pick<AppendLog.Status, "note">): number => Number(note ?? 0)

/** How many records are appended at once: their bodies are in memory. */
const mostAtOnce = 4000

const concurrency = 16

/** How long a document is left alone at most of which an entry is undecided: 1 hour. */
const longestAsk = 3_600_000

interface Asked {
  readonly at: number
  readonly pause: number
}

/** What is in the way of a body: somebody else has removed the entry. */
const gone = Symbol("gone")

export const make = ({
  client,
  documents,
  firstPause,
  lease,
  log,
  longestPause,
  prefix,
  store
}: Options): Journaler => {
  const memory = journalMemory.make(client.hasCommitted)
  let earlier: ReadonlyArray<Entry.Pending> = []
  let between: ReadonlyMap<string, Head> = new Map()
  /** Where the next record goes, as far as is known; `undefined`: the log has to be looked at first. */
  let next: number | undefined
  let removed = 0
  const asked = new Map<string, Asked>()
  const bodies = new Map<string, Entry.Body>()

  const listing = Stream.runCollect(
    listAll(store, { prefix: Entry.folderOf(prefix), keysOnly: true }).pipe(
      Stream.map(({ key }) => Entry.parse(prefix, key)),
      Stream.filter((entry) => entry !== undefined)
    )
  )

  /** Before a listing: which versions are in the log whose entries may be in it. */
  const begin = Effect.fnUntraced(function* (
    fence: number
  ): Effect.fn.Return<number, LeaseLost | StoreError.StoreError> {
    for (;;) {
      const status = yield* log.raiseFence(fence)
      removed = Math.min(removedOf(status), status.next)
      if (removed === status.next) {
        memory.begin([])
        return status.next
      }
      const reading = Stream.runCollect(log.read({ from: Math.max(removed, status.first), to: status.next }))
      // Retention goes no further than what is removed: by now that is more.
      const left = yield* Effect.catchTag(reading, "Trimmed", () => Effect.succeed(undefined))
      if (left === undefined) continue
      memory.begin(left.map(({ value }) => value))
      return status.next
    }
  })

  const bodyOf = Effect.fnUntraced(function* ({ key, writeId }: Entry.Pending) {
    const known = client.bodyOf(writeId) ?? bodies.get(writeId)
    if (known !== undefined) return known
    const object = yield* getOption(store, key)
    return Option.isNone(object) ? gone : yield* Entry.readBody(key, object.value.body)
  })

  const damaged = (key: string) => {
    const description = "the body of an entry of the journal does not tell of which document it is"
    return new StoreError.StoreError({ operation: "get", key, reason: new StoreError.Corrupt({ description }) })
  }

  /** Which document an entry is of. No request, or 1 GET where the ids are too long for the key. */
  const documentOf = Effect.fnUntraced(function* (entry: Entry.Pending) {
    if (entry.document !== undefined) return entry.document
    const body = yield* bodyOf(entry)
    if (body === gone) return gone
    bodies.set(entry.writeId, body)
    const { id, resource } = body
    return id === undefined || resource === undefined ? yield* damaged(entry.key) : { resource, id }
  })

  const recordOf = Effect.fnUntraced(function* (entry: Entry.Pending) {
    const { kind, previous, time, writeId } = entry
    const document = yield* documentOf(entry)
    const body = entry.hasBody ? yield* bodyOf(entry) : undefined
    if (document === gone || body === gone) return gone
    const { after, before, context } = body ?? {}
    return {
      ...document,
      kind,
      writeId,
      time,
      ...(previous === undefined ? {} : { previous }),
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
      ...(context === undefined ? {} : { context })
    } satisfies Record
  })

  /** Reads the heads of the documents of entries: 1 GET for each document. */
  const headsOf = Effect.fnUntraced(function* (entries: ReadonlyArray<Entry.Pending>) {
    const byDocument = new Map<
      string,
      { readonly of: NonNullable<Entry.Pending["document"]>; readonly ids: Array<string> }
    >()
    for (const entry of entries) {
      const document = yield* documentOf(entry)
      if (document === gone) continue
      const name = JSON.stringify([document.resource, document.id])
      const one = byDocument.get(name) ?? { of: document, ids: [] }
      byDocument.set(name, one)
      one.ids.push(entry.writeId)
    }
    const heads = yield* Effect.forEach(
      byDocument.values(),
      ({ ids, of }) => Effect.map(documents.head(of.resource, of.id), (head) => ids.map((id) => [id, head] as const)),
      { concurrency }
    )
    return new Map(heads.flat())
  })

  /** The undecided entries whose documents are to be asked for now. */
  const due = (undecided: ReadonlyArray<Entry.Pending>, now: number, isThorough: boolean) => {
    const wasThere = new Set(earlier.map(({ writeId }) => writeId))
    return undecided.filter(({ writeId }) => {
      if (isThorough) return true
      const last = asked.get(writeId)
      // What is new is likely to be told of by the next entry of its client.
      return last === undefined ? wasThere.has(writeId) : now >= last.at + last.pause
    })
  }

  /** Removes keys that are never put again. Whether all of them are gone for certain. */
  const remove = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    if (keys.length === 0) return true
    const outcome = yield* Effect.result(store.deleteMany(keys, { repeatable: true }))
    if (Result.isSuccess(outcome)) return outcome.success.failed.length === 0
    return outcome.failure.isRetryable ? false : yield* outcome.failure
  })

  /** Removes the tombstones of deletions that are in the log; gives the entries that may go. */
  const swept = Effect.fnUntraced(function* (entries: ReadonlyArray<Entry.Pending>) {
    const isGone = yield* Effect.forEach(
      entries,
      Effect.fnUntraced(function* (entry) {
        if (entry.kind !== "delete") return true
        const document = yield* documentOf(entry)
        if (document === gone) return true
        const { writeId } = entry
        return yield* Effect.catch(Effect.as(documents.sweep({ ...document, writeId }), true), (error) =>
          error.isRetryable
            ? Effect.succeed(false)
            : Effect.as(Effect.logWarning("a tombstone was left behind; it does no harm", error), true)
        )
      }),
      { concurrency }
    )
    return entries.filter((_, i) => isGone[i])
  })

  /** Appends entries, and removes them. `false`: somebody else was first. */
  const append = Effect.fnUntraced(function* (
    entries: ReadonlyArray<Entry.Pending>,
    others: ReadonlyArray<string>,
    fence: number
  ) {
    const records = yield* Effect.forEach(entries, recordOf, { concurrency })
    const whole = records.filter((record) => record !== gone)
    if (next === undefined || whole.length < records.length) return "overtaken"
    if (whole.length > 0) {
      const expected = next
      next = undefined
      const appended = yield* Effect.catchTags(log.append(whole, { expected, fence, note: String(removed) }), {
        PositionConflict: () => Effect.succeed(undefined)
      })
      if (appended === undefined) return "overtaken"
      next = appended.next
      memory.appended(whole)
      for (const { writeId } of whole) client.forget(writeId)
    }
    const mayGo = yield* swept(entries)
    const isSure = yield* remove([...mayGo.map(({ key }) => key), ...others])
    return isSure && mayGo.length === entries.length ? "removed" : "left"
  })

  const round: Journaler["round"] = Effect.fnUntraced(function* ({ fence, isQuiet = false, isThorough = false }) {
    next ??= yield* begin(fence)
    const later = yield* listing
    memory.hear(later)
    const first = settle(earlier, later, memory, { between, now: new Map() })
    const time = yield* Clock.currentTimeMillis
    const asking = due(first.undecided, time, isThorough)
    const now = yield* headsOf(asking)
    for (const { writeId } of asking) {
      const { pause = firstPause / 2 } = asked.get(writeId) ?? {}
      asked.set(writeId, { at: time, pause: Math.min(longestAsk, pause * 2) })
    }
    const settled = now.size === 0 ? first : settle(earlier, later, memory, { between, now })
    const wasThere = new Set(earlier.map(({ writeId }) => writeId))
    earlier = later
    between = now

    // A listing that began after the log was known, and has nothing of it: nothing is left of it.
    if (settled.journaled.length === 0) removed = next
    const drop = isQuiet ? [...settled.drop, ...settled.undecided] : settled.drop
    const leftovers = yield* swept(settled.journaled)
    let others = [...drop, ...leftovers].map(({ key }) => key)
    let isSure = leftovers.length === settled.journaled.length
    let isOvertaken = false
    let appended = 0
    for (let at = 0; at === 0 || at < settled.append.length; at += mostAtOnce) {
      const entries = settled.append.slice(at, at + mostAtOnce)
      const done = yield* append(entries, others, fence)
      others = []
      isOvertaken = done === "overtaken"
      if (isOvertaken) break
      isSure &&= done === "removed"
      appended += entries.length
      // Those that come later in this round are not in the log yet.
      if (isSure) removed = next!
    }
    memory.tidy(isSure && !isOvertaken)
    if (isOvertaken) next = undefined

    const left = new Set(settled.undecided.map(({ writeId }) => writeId))
    for (const writeId of asked.keys()) if (!left.has(writeId)) asked.delete(writeId)
    const waits = new Set([...settled.waiting, ...settled.undecided].map(({ writeId }) => writeId))
    for (const writeId of bodies.keys()) if (!waits.has(writeId)) bodies.delete(writeId)
    return {
      appended,
      dropped: drop.length,
      undecided: settled.undecided.length - (isQuiet ? settled.undecided.length : 0),
      waiting: settled.waiting.length,
      fresh: later.filter(({ writeId }) => !wasThere.has(writeId)).length,
      isOvertaken,
      next: next ?? 0
    }
  })

  /** Another process had the lease meanwhile: what is in the log has to be looked at. */
  const anew = Effect.sync(() => {
    next = undefined
  })

  const catchUp: Journaler["catchUp"] = (isQuiet) =>
    lease
      .runWhileLeader(
        Effect.fnUntraced(function* ({ token: fence }) {
          yield* anew
          let sum = { appended: 0, dropped: 0 }
          // One round to meet all entries, one to ask for documents, and one to conclude from the answers.
          for (let idle = 0; ;) {
            const isLast = idle >= 2
            const one = yield* round({ fence, isThorough: true, isQuiet: isQuiet && isLast })
            sum = { appended: sum.appended + one.appended, dropped: sum.dropped + one.dropped }
            const isIdle = one.appended + one.dropped + one.fresh === 0 && !one.isOvertaken
            idle = isIdle ? idle + 1 : 0
            if (isLast && (isIdle || isQuiet)) return { ...one, ...sum }
          }
        })
      )
      .pipe(Effect.catchTag("LeaseLost", () => Effect.suspend(() => catchUp(isQuiet))))

  const run: Journaler["run"] = Effect.gen(function* () {
    const woken = yield* Queue.sliding<void>(1)
    const stop = client.onCommit(() => Queue.offerUnsafe(woken, undefined))
    yield* Effect.addFinalizer(() => Effect.sync(stop))
    /** Waits; what this process has committed meanwhile shortens it. */
    const rest = (pause: number) =>
      Effect.raceFirst(
        Effect.sleep(pause),
        Effect.andThen(Queue.take(woken), Effect.sleep(Math.min(pause, firstPause)))
      )

    /** Leads until there has been nothing to do for a while. */
    const work = Effect.fnUntraced(function* (fence: number) {
      yield* anew
      for (let pause = firstPause; ; pause = Math.min(longestPause, pause * 2)) {
        const { appended, dropped, fresh, isOvertaken, waiting } = yield* round({ fence })
        const isIdle = appended + dropped + fresh + waiting === 0 && !isOvertaken
        if (isIdle && pause >= longestPause) return
        if (!isIdle) pause = firstPause
        yield* rest(pause)
      }
    })

    /** Whether there is something to do, found out without the lease. */
    const hasWork = Effect.gen(function* () {
      const entries = yield* listing
      const now = yield* Clock.currentTimeMillis
      return entries.some(({ writeId }) => {
        const last = asked.get(writeId)
        return last === undefined || now >= last.at + last.pause
      })
    })

    const term = Effect.gen(function* () {
      if (yield* hasWork) {
        yield* lease.runWhileLeader(({ token }) => work(token))
      } else yield* rest(longestPause)
    })
    // What may pass is waited out.
    const survived = Effect.catch(term, (error) =>
      error._tag === "LeaseLost" || error.isRetryable
        ? Effect.andThen(Effect.logWarning("the journaler begins anew", error), Effect.sleep(firstPause))
        : Effect.fail(error)
    )
    return yield* Effect.forever(survived)
  }).pipe(Effect.scoped)

  return { round, catchUp, run }
}
