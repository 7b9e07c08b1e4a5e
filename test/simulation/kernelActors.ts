/**
 * What processes do with the kernel, what each was told of it, and what has to hold of what is there afterwards. The simulation
 * draws from it at random; `explore` runs some of it in every order of its requests.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Clock from "effect/Clock"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"

type Store = ObjectStore["Service"]

const prefix = "kernel/"
const keys = {
  lease: `${prefix}lease`,
  log: `${prefix}log`,
  numbers: `${prefix}numbers`,
  claims: `${prefix}claims/`,
  due: `${prefix}due/`
}

const Log = Schema.Array(Schema.Struct({ token: Schema.Int, by: Schema.String, n: Schema.Int }))
type Entry = (typeof Log.Type)[number]

/** What the processes have been told, and have asked for. */
export interface Ledger {
  readonly appended: Array<Entry>
  readonly asked: Array<Entry>
  readonly numbers: Array<number>
  /** Work that was added, by its id. */
  readonly added: Set<string>
  /** Who was told that a piece of work is his, by its id. */
  readonly claimed: Map<string, Array<string>>
  /** Of the counter: what was counted for sure, and at most. */
  counted: number
  most: number
  offered: number
}

export const newLedger = (): Ledger => ({
  appended: [],
  asked: [],
  numbers: [],
  added: new Set(),
  claimed: new Map(),
  counted: 0,
  most: 0,
  offered: 0
})

const logOf = (store: Store) => Fenced.make(store, { key: keys.log, schema: Log, what: "a log" })
const dueOf = (store: Store) =>
  TimeIndex.make(store, { prefix: keys.due, payload: Schema.String, what: "a piece of work", orderedList: true })
const valuesOf = (store: Store) => PluginStore.make(store, { plugin: "kernel", schema: Schema.Int })
const claimsOf = (store: Store) => CreateOnce.make(store, { schema: Schema.String, what: "a claim" })

/** A process: its name, and what it can do. */
export interface Actor {
  /** Leads if it can, and appends to the log as long as it does, so many times, with pauses. */
  readonly lead: (times: number, pause?: Effect.Effect<unknown>) => Effect.Effect<unknown, unknown>
  readonly number: Effect.Effect<unknown, unknown>
  /** Adds a piece of work that is due at once. */
  readonly offer: Effect.Effect<unknown, unknown>
  /** Claims the first pieces of work that are due, and removes those that it has claimed, or that somebody has. */
  readonly work: Effect.Effect<unknown, unknown>
  readonly count: Effect.Effect<unknown, unknown>
}

export const actor = Effect.fnUntraced(function* (store: Store, by: string, ledger: Ledger) {
  const sequence = yield* Sequence.make(store, { key: keys.numbers, block: 3 })
  let n = 0
  const lead: Actor["lead"] = (times, pause = Effect.void) =>
    Effect.scoped(
      Effect.gen(function* () {
        const held = yield* Lease.make(store, { key: keys.lease, duration: "30 seconds" }).tryAcquire
        if (Option.isNone(held)) return
        const { token } = held.value
        const mine = yield* logOf(store).claim(token)
        for (let i = 0; i < times; i++) {
          const entry = { token, by, n: n++ }
          ledger.asked.push(entry)
          yield* mine.modify((log = []) => Effect.succeed([...log, entry]))
          ledger.appended.push(entry)
          yield* pause
        }
      })
    )
  return {
    lead,
    number: Effect.map(sequence.next, (number) => ledger.numbers.push(number)),
    offer: Effect.gen(function* () {
      const id = `${by}-${ledger.offered++}`
      yield* dueOf(store).add({ id, due: yield* Clock.currentTimeMillis, payload: id, revision: id })
      ledger.added.add(id)
    }),
    work: Effect.gen(function* () {
      const index = dueOf(store)
      const now = yield* Clock.currentTimeMillis
      for (const entry of yield* Stream.runCollect(Stream.take(index.due(now), 3))) {
        const outcome = yield* claimsOf(store).create(keys.claims + entry.revision, by)
        if (outcome._tag === "Created")
          ledger.claimed.set(entry.revision, [...(ledger.claimed.get(entry.revision) ?? []), by])
        yield* index.remove(entry)
      }
    }),
    count: Effect.suspend(() => {
      ledger.most += 1
      return Effect.map(valuesOf(store).increment("count"), () => (ledger.counted += 1))
    })
  } satisfies Actor
})

/** What does not hold. */
export const violationsOf = Effect.fnUntraced(function* (store: Store, ledger: Ledger) {
  const found: Array<string> = []
  const log = Option.getOrElse(yield* logOf(store).read, (): typeof Log.Type => [])
  const text = (entry: Entry) => `${entry.by}/${entry.n} with token ${entry.token}`
  log.forEach((entry, i) => {
    if (i > 0 && log[i - 1]!.token > entry.token) found.push(`${text(entry)} comes after ${text(log[i - 1]!)}`)
  })
  for (const [token, entries] of Map.groupBy(log, (entry) => entry.token)) {
    const owners = new Set(entries.map(({ by }) => by))
    if (owners.size > 1) found.push(`token ${token} is that of ${[...owners].join()}`)
  }
  const times = Map.groupBy(log, text)
  for (const [name, entries] of times) if (entries.length > 1) found.push(`${name} is there ${entries.length} times`)
  for (const entry of ledger.appended)
    if (!times.has(text(entry))) found.push(`${text(entry)} was told, and is not there`)
  const asked = new Set(ledger.asked.map(text))
  for (const name of times.keys()) if (!asked.has(name)) found.push(`${name} was never asked for`)

  const numbers = Map.groupBy(ledger.numbers, (number) => number)
  for (const [number, given] of numbers) if (given.length > 1) found.push(`${number} was given ${given.length} times`)

  for (const [id, owners] of ledger.claimed) if (owners.length > 1) found.push(`${id} was claimed by ${owners.join()}`)
  const left = new Set((yield* Stream.runCollect(dueOf(store).due(TimeIndex.maxTime))).map(({ id }) => id))
  const claims = new Set(
    (yield* Stream.runCollect(listAll(store, { prefix: keys.claims }))).map(({ key }) => key.slice(keys.claims.length))
  )
  for (const id of ledger.added) {
    if (!left.has(id) && !claims.has(id)) found.push(`${id} was added, and is neither there nor claimed`)
  }
  for (const [id, [by]] of ledger.claimed) {
    const owner = yield* claimsOf(store).read(keys.claims + id)
    if (Option.getOrUndefined(owner) !== by) found.push(`${id} was claimed by ${by}, and is that of ${String(owner)}`)
  }

  const count = Option.getOrElse(yield* valuesOf(store).get("count"), () => 0)
  if (count < ledger.counted || count > ledger.most) {
    found.push(`${ledger.counted} to ${ledger.most} were counted, and there are ${count}`)
  }
  return found
})

/** Builds that are wrong on purpose. */
const without =
  (isMeant: (key: string) => boolean) =>
  (store: Store): Store => ({
    ...store,
    put: ({ ifMatch, ifNoneMatch, ...request }) =>
      store.put(isMeant(request.key) ? request : { ...request, ifMatch, ifNoneMatch })
  })

export const kernelBreaks: Readonly<Record<string, (store: Store) => Store>> = {
  /** A fenced cell is written without a condition. */
  "blind-fences": without((key) => key === keys.log),
  /** A sequence is written without a condition. */
  "blind-numbers": without((key) => key === keys.numbers),
  /** What is created once is written without a condition. */
  "blind-creations": without((key) => key.startsWith(keys.claims)),
  /** Values of plugins are written without a condition. */
  "blind-values": without((key) => key.startsWith("plugin=")),
  /** A lease is taken without a condition. */
  "blind-leases": without((key) => key === keys.lease),
  /** A lease is given up by removing it. */
  "removed-leases": (store) => ({
    ...store,
    put: (request) => {
      const isGivenUp = request.key === keys.lease && !new TextDecoder().decode(request.body).includes("holder")
      return isGivenUp ? Effect.as(store.delete(request.key), { etag: "gone" }) : store.put(request)
    }
  }),
  /** Work is removed before it is claimed. */
  "early-removals": (store) => ({
    ...store,
    put: (request) =>
      request.key.startsWith(keys.claims)
        ? Effect.andThen(removeDue(store, request.key.slice(keys.claims.length)), store.put(request))
        : store.put(request)
  })
}

const removeDue = (store: Store, revision: string) =>
  Stream.runForEach(listAll(store, { prefix: keys.due }), ({ key }) =>
    key.endsWith(`/${revision}`) ? store.delete(key) : Effect.void
  )
