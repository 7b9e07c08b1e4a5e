/**
 * A model of all that the journal is about, without a store: documents that are changed by compare-and-set, tombstones, intents
 * of transactions, the pending set, the log, clients and journalers that crash and stand still, requests that are lost or late. A
 * schedule follows from its seed.
 *
 * Listings are no snapshots: they are made of pages, between which others go on.
 */
import { parse, type Pending } from "../../src/kernel/internal/journalEntry.ts"
import * as journalMemory from "../../src/kernel/internal/journalMemory.ts"
import { type Head, settle } from "../../src/kernel/internal/journalSettling.ts"

/** What a build does otherwise than it should. */
export type Break =
  | "entry after commit"
  | "key put again"
  | "removal before append"
  | "append without condition"
  | "one listing"
  | "heads after the listing"
  | "settled by clock"
  | "committed by clock"
  | "swept before append"
  | "identity lost by abort"
  | "begin without the log"

export interface Options {
  readonly seed: number
  readonly breaks?: Break | undefined
  readonly writers?: number | undefined
  readonly journalers?: number | undefined
  readonly documents?: number | undefined
  /** Of each writer. */
  readonly operations?: number | undefined
  /** Whether the store deletes on condition. */
  readonly conditionalDelete?: boolean | undefined
}

export interface Outcome {
  readonly problem: string | undefined
  readonly committed: number
  readonly dropped: number
  readonly left: number
  readonly crashes: number
  readonly lost: number
}

interface Stored {
  readonly identity: string
  readonly isTombstone: boolean
}

interface Slot {
  readonly etag: number
  readonly writeId: string
  readonly ancestors: ReadonlyArray<string>
  readonly stored: Stored | undefined
  readonly intent?: { readonly transaction: string; readonly next: Stored } | undefined
}

interface Logged {
  readonly writeId: string
  readonly previous: string | undefined
  readonly document: string
  readonly isDeletion: boolean
}

class Wrong {
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/** An answer that never comes. */
const lost = Symbol("lost")
type Answer<A> = A | typeof lost

interface Request {
  readonly isWrite: boolean
  readonly carryOut: () => unknown
}

type Steps<A> = Generator<Request, A, unknown>

const remembered = 8

export const run = ({
  breaks,
  conditionalDelete = true,
  documents = 2,
  journalers = 2,
  operations = 6,
  seed,
  writers = 3
}: Options): Outcome => {
  let state = seed >>> 0
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n: number): number => Math.floor(random() * n)
  const chance = (p: number): boolean => random() < p
  let ids = 0
  const newId = (): string => `w${String((ids += 1)).padStart(9, "0")}`

  // The store.
  const slots = new Map<string, Slot>()
  const records = new Map<string, "pending" | "committed" | "aborted">()
  const pending = new Map<string, number>()
  const log: Array<Logged> = []
  let removedTo = 0
  let etags = 0

  // What is true.
  const truth = new Map<string, Array<string>>()
  const stats = { dropped: 0, crashes: 0, lost: 0 }
  let time = 0

  const commits = (document: string, identity: string) => {
    const versions = truth.get(document) ?? []
    truth.set(document, versions)
    versions.push(identity)
  }

  const documentOf = (key: string): string => parse("journal", key)!.document!.id

  // ---------------------------------------------------------------------------
  // Requests
  // ---------------------------------------------------------------------------

  function* ask<A>(carryOut: () => A): Steps<A> {
    return (yield { isWrite: false, carryOut }) as A
  }
  function* tell<A>(carryOut: () => A): Steps<Answer<A>> {
    return (yield { isWrite: true, carryOut }) as Answer<A>
  }

  const read = (document: string) => ask(() => slots.get(document))

  /** `undefined` deletes. */
  const replace = (
    document: string,
    before: Slot | undefined,
    slot: Omit<Slot, "etag"> | undefined,
    then: () => void = () => {}
  ) =>
    tell(() => {
      if (slots.get(document)?.etag !== before?.etag) return false
      if (slot === undefined) slots.delete(document)
      else slots.set(document, { ...slot, ancestors: slot.ancestors.slice(0, remembered), etag: (etags += 1) })
      then()
      return true
    })

  const after = (slot: Slot): ReadonlyArray<string> => [slot.writeId, ...slot.ancestors]

  function* apply(document: string, slot: Slot, outcome: "committed" | "aborted"): Steps<void> {
    const { intent, stored } = slot
    if (outcome === "committed") {
      const { next } = intent!
      yield* replace(document, slot, { writeId: next.identity, ancestors: after(slot), stored: next })
      return
    }
    const writeId = newId()
    if (stored !== undefined) {
      const isForgotten = breaks === "identity lost by abort" && stored.isTombstone
      const kept = isForgotten ? { identity: writeId, isTombstone: true } : stored
      yield* replace(document, slot, { writeId, ancestors: after(slot), stored: kept })
    } else if (conditionalDelete) yield* replace(document, slot, undefined)
    else
      yield* replace(document, slot, {
        writeId,
        ancestors: after(slot),
        stored: { identity: writeId, isTombstone: true }
      })
  }

  /** What a writer builds upon: an object without an intent. */
  function* settled(document: string): Steps<Slot | undefined> {
    for (;;) {
      const slot = yield* read(document)
      if (slot?.intent === undefined) return slot
      const { transaction } = slot.intent
      let outcome = (yield* ask(() => records.get(transaction))) ?? "aborted"
      if (outcome === "pending") {
        if (chance(0.7)) continue
        const decided = yield* decide(transaction, "aborted", () => {})
        if (decided === lost) continue
        outcome = decided
      }
      yield* apply(document, slot, outcome as "committed" | "aborted")
    }
  }

  const decide = (transaction: string, outcome: "committed" | "aborted", then: () => void) =>
    tell(() => {
      if (records.get(transaction) === "pending") {
        records.set(transaction, outcome)
        then()
      }
      return records.get(transaction) ?? "aborted"
    })

  // ---------------------------------------------------------------------------
  // Writers
  // ---------------------------------------------------------------------------

  function* writer(name: string): Steps<void> {
    let number = 0
    let acknowledged: Array<number> = []
    const inHand = new Map<string, Slot | undefined>()

    const entryOf = (document: string, writeId: string, next: Stored, before: Slot | undefined) => {
      const isThere = before?.stored !== undefined && !before.stored.isTombstone
      const kind = next.isTombstone ? "d" : isThere ? "u" : "i"
      const told = acknowledged.splice(0, 3).map((one) => (number - one).toString(36))
      const key = [
        `journal/pending/${name}/${number.toString(36)}/${writeId}/${before?.stored?.identity ?? "~"}`,
        `${kind}${below(50).toString(36)}/${told.length === 0 ? "~" : told.join(".")}/resource=r/id=${document}`
      ].join("/")
      return { key, number: number++ }
    }
    const put = (key: string) => tell(() => void pending.set(key, time))
    const base = function* (document: string): Steps<Slot | undefined> {
      return inHand.has(document) && chance(0.3) ? inHand.get(document) : yield* settled(document)
    }
    const nextOf = (before: Slot | undefined, writeId: string): Stored => {
      const isThere = before?.stored !== undefined && !before.stored.isTombstone
      return { identity: writeId, isTombstone: isThere && chance(0.35) }
    }

    function* write(document: string): Steps<void> {
      for (let attempt = 0; attempt < 3; attempt++) {
        const before = yield* base(document)
        const writeId = newId()
        const next = nextOf(before, writeId)
        const entry = entryOf(document, writeId, next, before)
        if (breaks !== "entry after commit") {
          let isPut = (yield* put(entry.key)) !== lost
          if (breaks === "key put again") while (!isPut) isPut = (yield* put(entry.key)) !== lost
          if (!isPut) continue
        }
        const ancestors = before === undefined ? [] : after(before)
        let done = yield* replace(document, before, { writeId, ancestors, stored: next }, () =>
          commits(document, writeId)
        )
        const wasLost = done === lost
        if (wasLost) {
          const found = yield* read(document)
          done = found?.writeId === writeId || found?.ancestors.includes(writeId) === true
        }
        if (breaks === "entry after commit" && done === true) yield* put(entry.key)
        inHand.delete(document)
        if (done === true) {
          acknowledged.push(entry.number)
          if (chance(0.5)) inHand.set(document, yield* settled(document))
          return
        }
        // Whether it landed nobody can tell.
        if (wasLost) return
        if (chance(0.6)) yield* tell(() => pending.delete(entry.key))
      }
    }

    function* transaction(chosen: ReadonlyArray<string>): Steps<void> {
      const id = newId()
      const parts: Array<{ document: string; before: Slot | undefined; next: Stored; number: number }> = []
      for (const document of chosen) {
        const before = yield* settled(document)
        const writeId = newId()
        const next = nextOf(before, writeId)
        const entry = entryOf(document, writeId, next, before)
        if ((yield* put(entry.key)) === lost) return
        parts.push({ document, before, next, number: entry.number })
      }
      if ((yield* tell(() => void records.set(id, "pending"))) === lost) return
      const placed: Array<string> = []
      let isWhole = true
      for (const { before, document, next } of parts) {
        const intent = { transaction: id, next }
        const ancestors = before === undefined ? [] : after(before)
        const done = yield* replace(document, before, { writeId: newId(), ancestors, stored: before?.stored, intent })
        if (done !== true) {
          isWhole = false
          break
        }
        placed.push(document)
      }
      const decided = yield* decide(id, isWhole ? "committed" : "aborted", () => {
        if (isWhole) for (const { document, next } of parts) commits(document, next.identity)
      })
      if (decided === lost) return
      if (decided === "committed") acknowledged.push(...parts.map((part) => part.number))
      let isApplied = true
      for (const document of chosen) {
        const slot = yield* read(document)
        if (slot?.intent?.transaction !== id) continue
        yield* apply(document, slot, decided as "committed" | "aborted")
        const now = yield* read(document)
        if (now?.intent?.transaction === id) isApplied = false
      }
      if (isApplied) yield* tell(() => records.delete(id))
    }

    for (let i = 0; i < operations; i++) {
      const first = below(documents)
      if (chance(0.25)) {
        const chosen = chance(0.5) && documents > 1 ? [first, (first + 1) % documents] : [first]
        yield* transaction(chosen.map((n) => `d${n}`))
      } else yield* write(`d${first}`)
    }
  }

  // ---------------------------------------------------------------------------
  // Journalers
  // ---------------------------------------------------------------------------

  function* headOf(document: string): Steps<Head> {
    const of = (slot: Slot | undefined, stored: Stored | undefined): Head => ({
      identity: stored?.identity,
      ancestors: slot?.ancestors ?? []
    })
    let slot = yield* read(document)
    for (;;) {
      const { intent } = slot ?? {}
      if (slot === undefined || intent === undefined) return of(slot, slot?.stored)
      const outcome = yield* ask(() => records.get(intent.transaction))
      if (outcome === "committed") {
        const { identity } = intent.next
        return {
          identity,
          ancestors: slot.stored === undefined ? slot.ancestors : [slot.stored.identity, ...slot.ancestors]
        }
      }
      if (outcome === "pending") return of(slot, slot.stored)
      const again: Slot | undefined = yield* read(document)
      if (again?.etag === slot.etag) return of(slot, slot.stored)
      slot = again
    }
  }

  function* listing(): Steps<ReadonlyArray<Pending>> {
    const found: Array<Pending> = []
    for (let from = ""; ;) {
      const size = 1 + below(6)
      const page = yield* ask(() =>
        [...pending.keys()]
          .filter((key) => key > from)
          .toSorted()
          .slice(0, size)
      )
      found.push(...page.map((key) => parse("journal", key)!))
      if (page.length < size) return found
      from = page.at(-1)!
    }
  }

  const check = ({ document, writeId }: Logged) => {
    const versions = truth.get(document) ?? []
    const place = log.filter((one) => one.document === document).length
    if (versions[place] === writeId) return
    const at = versions.indexOf(writeId)
    if (at === -1) throw new Wrong(`${document}: ${writeId} was never committed`)
    throw new Wrong(`${document}: ${writeId} is version ${at}, and was journaled as ${place}`)
  }

  function* journaler(): Steps<void> {
    const memory = journalMemory.make()
    let earlier: ReadonlyArray<Pending> = []
    let between: ReadonlyMap<string, Head> = new Map()
    let next: number | undefined
    let removed = 0
    for (;;) {
      if (next === undefined) {
        const known = yield* ask(() => ({ next: log.length, removed: removedTo, left: log.slice(removedTo) }))
        next = known.next
        removed = known.removed
        memory.begin(breaks === "begin without the log" ? [] : known.left)
      }
      const later = yield* listing()
      memory.hear(later)
      if (breaks === "one listing") earlier = later
      const first = settle(earlier, later, memory, { between, now: new Map() })
      const now = new Map<string, Head>()
      const byDocument = new Map<string, Head>()
      for (const { key, writeId } of first.undecided) {
        if (chance(0.3)) continue
        const document = documentOf(key)
        if (!byDocument.has(document)) byDocument.set(document, yield* headOf(document))
        now.set(writeId, byDocument.get(document)!)
      }
      if (breaks === "heads after the listing") between = now
      let { append, drop, journaled } = settle(breaks === "heads after the listing" ? later : earlier, later, memory, {
        between,
        now
      })
      const undecided = first.undecided.filter(
        (one) => time - pending.get(one.key)! > 60 && !append.includes(one) && !drop.includes(one)
      )
      if (breaks === "settled by clock") drop = [...drop, ...undecided]
      if (breaks === "committed by clock") append = [...append, ...undecided]
      earlier = later
      between = now
      const remove = function* (keys: ReadonlyArray<string>): Steps<boolean> {
        let isSure = true
        for (const key of keys) isSure = (yield* tell(() => pending.delete(key))) !== lost && isSure
        return isSure
      }
      const records = append.map(({ key, kind, previous, writeId }): Logged => ({
        writeId,
        previous,
        document: documentOf(key),
        isDeletion: kind === "delete"
      }))
      const sweep = function* (gone: ReadonlyArray<Pick<Logged, "document" | "writeId">>): Steps<void> {
        if (!conditionalDelete) return
        for (const { document, writeId } of gone) {
          const slot = yield* read(document)
          if (slot?.intent !== undefined || slot?.stored?.isTombstone !== true) continue
          if (slot.stored.identity === writeId) yield* replace(document, slot, undefined)
        }
      }
      const deletions = records.filter((one) => one.isDeletion)
      const keys = [...append, ...drop, ...journaled].map(({ key }) => key)
      if (breaks === "removal before append") yield* remove(keys)
      if (breaks === "swept before append") yield* sweep(deletions)
      if (records.length > 0) {
        const expected: number = next
        const note = removed
        const isDone = yield* tell(() => {
          if (log.length !== expected && breaks !== "append without condition") return false
          for (const one of records) {
            check(one)
            log.push(one)
          }
          removedTo = Math.max(note, removedTo)
          return true
        })
        if (isDone !== true) {
          next = undefined
          continue
        }
        next += records.length
        memory.appended(records)
      }
      yield* sweep([
        ...deletions,
        ...journaled
          .filter(({ kind }) => kind === "delete")
          .map(({ key, writeId }) => ({ document: documentOf(key), writeId }))
      ])
      if (yield* remove(keys)) {
        removed = next
        memory.tidy(true)
      }
      stats.dropped += drop.length
      yield* ask(() => undefined)
    }
  }

  // ---------------------------------------------------------------------------
  // The schedule
  // ---------------------------------------------------------------------------

  interface Actor {
    readonly steps: Steps<void>
    readonly isJournaler: boolean
    request: Request
    /** How often it goes on, compared with others: some stand still for long. */
    weight: number
  }

  const late: Array<() => unknown> = []
  let actors: Array<Actor> = []
  const begin = (steps: Steps<void>, isJournaler: boolean) => {
    const { done, value } = steps.next()
    if (done !== true) actors.push({ steps, isJournaler, request: value, weight: 1 })
  }
  const end = (actor: Actor) => (actors = actors.filter((one) => one !== actor))

  const advance = (actor: Actor, isFaulty: boolean) => {
    const { carryOut, isWrite } = actor.request
    let answer: unknown
    if (isFaulty && chance(0.015)) {
      stats.crashes += 1
      if (isWrite) {
        if (chance(0.3)) carryOut()
        else if (chance(0.5)) late.push(carryOut)
      }
      end(actor)
      return
    }
    if (isFaulty && isWrite && chance(0.08)) {
      stats.lost += 1
      answer = lost
      if (chance(0.4)) carryOut()
      else if (chance(0.6)) late.push(carryOut)
    } else answer = carryOut()
    const { done, value } = actor.steps.next(answer)
    if (done === true) end(actor)
    else actor.request = value
  }

  const steps = (count: number, isFaulty: boolean) => {
    for (let i = 0; i < count; i++) {
      time += 1
      if (late.length > 0 && chance(0.03)) late.splice(below(late.length), 1)[0]!()
      if (actors.length === 0) return
      if (chance(0.02)) {
        const standing = actors[below(actors.length)]!
        standing.weight = standing.weight === 1 ? 0.01 : 1
      }
      let at = random() * actors.reduce((sum, { weight }) => sum + weight, 0)
      const actor = actors.find(({ weight }) => (at -= weight) < 0) ?? actors.at(-1)!
      advance(actor, isFaulty)
    }
  }

  let problem: string | undefined
  try {
    for (let i = 0; i < writers; i++) begin(writer(`client-${i}`), false)
    for (let i = 0; i < journalers; i++) begin(journaler(), true)
    for (let i = 0; i < 40 && actors.some(({ isJournaler }) => !isJournaler); i++) {
      steps(100, true)
      while (actors.filter(({ isJournaler }) => isJournaler).length < journalers) begin(journaler(), true)
    }
    // Whoever stands still goes on; what is late arrives, or never does.
    actors = actors.filter(({ isJournaler }) => isJournaler)
    for (const one of late.splice(0)) if (chance(0.5)) one()
    for (const actor of actors) actor.weight = 1
    steps(600, false)
    actors = []
    // Transactions that crashed are settled by whoever meets them.
    for (const document of slots.keys())
      begin(
        (function* () {
          yield* settled(document)
        })(),
        false
      )
    while (actors.length > 0) steps(1, false)
    begin(journaler(), true)
    steps(1500, false)
    for (const [document, versions] of truth) {
      const found = log.filter((one) => one.document === document).map(({ writeId }) => writeId)
      if (found.join() !== versions.join()) {
        throw new Wrong(`${document}: ${found.length} of ${versions.length} versions are journaled`)
      }
    }
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    problem = error.problem
  }
  return {
    problem,
    committed: [...truth.values()].reduce((sum, { length }) => sum + length, 0),
    dropped: stats.dropped,
    left: pending.size,
    crashes: stats.crashes,
    lost: stats.lost
  }
}

/** A seed near which each is caught. */
export const breaks: Readonly<Record<Break, number>> = {
  "entry after commit": 0,
  "key put again": 30,
  "removal before append": 0,
  "append without condition": 0,
  "one listing": 20,
  "heads after the listing": 20,
  "settled by clock": 0,
  "committed by clock": 0,
  "swept before append": 200,
  "identity lost by abort": 2110,
  "begin without the log": 0
}

/** A history whose extent follows from the seed, too. */
export const settling = (seed: number, broken?: Break): Outcome =>
  run({
    seed,
    breaks: broken,
    conditionalDelete: seed % 2 === 0,
    documents: 1 + (seed % 3),
    writers: 2 + (seed % 4),
    journalers: 1 + (seed % 3),
    operations: 4 + (seed % 9)
  })
