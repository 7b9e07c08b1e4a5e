/**
 * Few operations of few clients in every order of their requests, and of crashes among them: what they tell, and what they
 * leave, has to be that of the same operations one after the other, in an order that keeps to what was over when (strict
 * serializability).
 */
import { createHash } from "node:crypto"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Companion from "effect-s3db/Companion"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import type * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { fullCapabilities, ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { drive } from "../fixture.ts"
import { chainOf } from "../journalChains.ts"

type Store = ObjectStore["Service"]

/** Makes a document too large for metadata, so that it is compressed. */
const long = Schema.String.pipe(
  Schema.withConstructorDefault(Effect.succeed(Array.from({ length: 300 }, (_, i) => `word${i % 17}`).join(" ")))
)

const Item = Schema.Struct({
  id: Schema.String,
  long,
  n: Schema.Int,
  group: Schema.String,
  email: Schema.optionalKey(Schema.String)
})

const items = Resource.define("items", {
  schema: Item,
  primaryKey: "id",
  partitions: { byGroup: ["group"], cover: { fields: ["group"], covering: ["n"] } },
  unique: { email: { fields: ["email"], ignoreCase: true } },
  uniqueLease: "10 minutes",
  counters: { shards: 2 }
})

const accounts = Resource.define("accounts", {
  schema: Schema.Struct({ id: Schema.String, balance: Schema.Int }),
  primaryKey: "id"
})

const kept = Resource.define("kept", {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int, long }),
  primaryKey: "id",
  history: true,
  content: true,
  counters: { shards: 1 }
})

/** Which cells a document is in is kept by a companion: several keys of one document. */
const places = Resource.define("places", {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int, cells: Schema.Array(Schema.String) }),
  primaryKey: "id",
  companions: {
    cells: Companion.make({
      fields: ["cells"],
      keys: ({ json }) => (json["cells"] as ReadonlyArray<string>).map((cell) => [cell])
    })
  }
})

/** Each version has its entry in the journal. */
const logged = Resource.define("logged", {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int, group: Schema.String }),
  primaryKey: "id",
  partitions: { byGroup: ["group"] },
  journal: { images: "after" }
})

const openClient = Effect.fnUntraced(function* (store: Store) {
  const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)
  const on = Effect.provideService(Database.Database, database)
  return {
    items: yield* on(Resource.make(items)),
    accounts: yield* on(Resource.make(accounts)),
    kept: yield* on(Resource.make(kept)),
    places: yield* on(Resource.make(places)),
    logged: yield* on(Resource.make(logged)),
    transaction: database.transaction,
    database
  }
})

export type Client = Effect.Success<ReturnType<typeof openClient>>

/** One operation: its answer has to be JSON. */
export type Operation = (client: Client) => Effect.Effect<unknown, unknown>

export interface Scenario {
  /** What is there at the beginning. */
  readonly given: ReadonlyArray<Operation>
  /** What each client does, one after the other. */
  readonly clients: Readonly<Record<string, ReadonlyArray<Operation>>>
  /** Errors that say that nothing was done, because of another client. */
  readonly mayLose?: ReadonlyArray<string> | undefined
  /** The most a client is kept waiting. Default: as the explorer is told. */
  readonly preemptions?: number | undefined
}

/** Refused, as what it needs is reserved by a write that has not come to its end. */
const pending = "refused for the time being"

/** What an operation answered: a value, or the tag of its error. */
const answerOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return JSON.stringify(exit.value ?? null)
  const [reason] = exit.cause.reasons
  if (reason?._tag !== "Fail") return `defect ${Cause.pretty(exit.cause)}`
  const { _tag, isPending } = reason.error as { readonly _tag?: string; readonly isPending?: boolean }
  if (isPending === true) return pending
  return `failed ${_tag === "DbError" ? Cause.pretty(exit.cause) : _tag}`
}

const isCrash = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => reason._tag === "Die" && reason.defect instanceof Interleavings.Crashed)

/** Everything that can be seen of a database, by every way there is. */
const lookAt = Effect.fnUntraced(function* (client: Client, counts: boolean) {
  const unread: Array<string> = []
  const onCorrupt = ({ id }: Query.Corrupt) => Effect.sync(() => void unread.push(id))
  const all = yield* Stream.runCollect(client.items.scan({ onCorrupt }))
  const seen: Record<string, unknown> = { unread, items: all.toSorted((a, b) => (a.id < b.id ? -1 : 1)) }
  for (const group of ["g", "h"]) {
    const where = { values: { group }, onCorrupt: "skip" as const }
    const within = yield* Stream.runCollect(client.items.scan({ ...where, partition: "byGroup" }))
    seen[`in ${group}`] = within.map((one) => one.id).toSorted()
    const covered = yield* Stream.runCollect(client.items.covered({ ...where, partition: "cover", verify: true }))
    seen[`covered ${group}`] = covered.map((one) => `${one.id} ${String(one.fields["n"])}`).toSorted()
  }
  if (counts) seen["counted"] = [yield* client.items.estimatedCount(), yield* client.kept.estimatedCount()]
  // Documents that a transaction is about to create or delete are counted, and a crash leaves it about to.
  if (counts) seen["keys"] = [yield* client.items.count(), yield* client.kept.count()]
  for (const email of ["e1", "e2", "e3"]) {
    const holder = yield* Effect.option(client.items.getByUnique("email", { email }))
    seen[email] = Option.getOrUndefined(Option.map(holder, (one) => one.id)) ?? null
  }
  seen["accounts"] = (yield* Stream.runCollect(client.accounts.scan())).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const present = (yield* Stream.runCollect(client.kept.scan({ onCorrupt }))).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  seen["kept"] = yield* Effect.forEach(present, ({ id }) =>
    Effect.map(client.kept.getContent(id), (content) =>
      Option.match(content, { onNone: () => `${id} nothing`, onSome: ({ size }) => `${id} ${size} bytes` })
    )
  )
  seen["places"] = (yield* Stream.runCollect(client.places.scan())).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const cells = yield* Stream.runCollect(client.places.companion("cells"))
  seen["cells"] = cells.map(({ id, key }) => `${key.join()} ${id}`)
  seen["logged"] = (yield* Stream.runCollect(client.logged.scan())).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  // A version without an entry makes it differ from every serial order.
  seen["journal"] = yield* Effect.forEach(["l", "m"], (id) =>
    Effect.map(chainOf(client.database, "logged", id), ({ kinds, problems }) => ({ kinds, problems }))
  )
  seen["history"] = (yield* Stream.runCollect(client.kept.history("k"))).map((one) => one.value.n)
  return JSON.stringify(seen)
})

const repairAll = Effect.fnUntraced(function* (client: Client, dryRun: boolean) {
  const swept = yield* Stream.runCollect(client.database.repairTransactions({ dryRun }))
  const found: Array<string> = swept.map((one) => JSON.stringify(one))
  for (const repository of [client.items, client.accounts, client.kept, client.places, client.logged]) {
    const findings = yield* Stream.runCollect((yield* repository.admin).repair({ dryRun }))
    // What cannot be read is only told.
    found.push(...findings.filter((one) => one.kind !== "Corrupt").map((one) => JSON.stringify(one)))
  }
  return found
})

export interface Outcome extends Interleavings.Report {
  /** Outcomes that differ from each other. */
  readonly outcomes: number
  /** What no serial order explains, each with the requests in their order. */
  readonly violations: ReadonlyArray<string>
}

export interface Bounds {
  readonly preemptions?: number | undefined
  readonly crashes?: number | undefined
  readonly interruptions?: number | undefined
  /** Whether the store is one in a network, whose answers may be lost. */
  readonly remote?: boolean | undefined
  readonly limit?: number | undefined
  /** Time that passes once while requests wait. */
  readonly pause?: Duration.Input | undefined
  readonly profile?: MemoryStore.Profile | undefined
  readonly break?: ((store: Store) => Store) | undefined
  /** Stop at so many violations. Default: 1. */
  readonly violations?: number | undefined
}

class Enough {
  readonly _tag = "Enough"
}

/** Runs all schedules of a scenario within the bounds. */
export const explore = Effect.fnUntraced(function* (scenario: Scenario, bounds: Bounds = {}) {
  const { control, store: memory } = yield* MemoryStore.make({ profile: bounds.profile ?? "aws" })
  const store: Store = bounds.remote === true ? { ...memory, capabilities: fullCapabilities } : memory
  const schedule = Interleavings.make(store)
  // Stores other than AWS refuse what passes: writes of one key in the same second, conditional writes at once.
  const patient = (view: Store): Store => ((bounds.profile ?? "aws") === "aws" ? view : RetryingStore.make(view))
  const inTime = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkChild(Pauses.byClock(effect)), drive)
  const observer = yield* inTime(openClient(patient(store)))
  const clients: Record<string, Client> = {}
  for (const name of Object.keys(scenario.clients)) {
    const view = schedule.client(name)
    clients[name] = yield* inTime(openClient(patient(bounds.break?.(view) ?? view)))
  }
  for (const operation of scenario.given) yield* inTime(operation(observer))
  // What was written long ago is no lease under way.
  yield* TestClock.adjust("1 day")
  const start = yield* control.snapshot
  const begin = yield* Clock.currentTimeMillis
  // R2 remembers when each key was last written, and no time may come twice for it.
  const goBack = bounds.profile === "r2" ? Effect.void : TestClock.setTime(begin)

  /** When each operation began and ended, by a clock that counts these moments, and its answer. */
  interface Done {
    readonly name: string
    readonly began: number
    ended: number
    answer: string
  }
  let moment = 0
  let done = new Map<string, Done>()
  const labelled = Object.entries(scenario.clients).flatMap(([name, operations]) =>
    operations.map((operation, index) => ({ name, label: `${name}${index}`, operation }))
  )
  const programs: Record<string, Effect.Effect<void>> = {}
  for (const name of Object.keys(scenario.clients)) {
    programs[name] = Effect.forEach(
      labelled.filter((one) => one.name === name),
      ({ label, operation }) =>
        Effect.suspend(() => {
          const entry: Done = { name, began: (moment += 1), ended: Infinity, answer: "crashed" }
          done.set(label, entry)
          return Effect.flatMap(Effect.exit(operation(clients[name]!)), (exit) => {
            // A crashed client tells nobody anything, nor does one that is interrupted.
            if (isCrash(exit)) return Effect.failCause((exit as Exit.Failure<never, never>).cause)
            if (Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) return Effect.void
            entry.ended = moment += 1
            entry.answer = answerOf(exit)
            return Effect.void
          })
        }),
      { discard: true }
    ).pipe(
      Random.withSeed(name),
      // The same ids in each schedule, so that the same outcome is the same objects.
      (program) => Effect.suspend(() => Effect.provideService(program, Id.Generator, Id.seeded(name.charCodeAt(0))))
    )
  }

  // A crash between a write and its counting leaves the number one off.
  const counts = (bounds.crashes ?? 0) === 0
  const look = Effect.suspend(() => lookAt(observer, counts)).pipe(Effect.forkChild, Effect.flatMap(drive))

  /** Everything that is in the store, and the time. */
  const contents = Effect.gen(function* () {
    const hash = createHash("sha256").update(String(yield* Clock.currentTimeMillis))
    for (const [key, { body, ...rest }] of (yield* control.snapshot).tree.entries()) {
      hash.update(JSON.stringify([key, rest])).update(body)
    }
    return hash.digest("base64")
  })

  /** What was found of outcomes that were seen: many schedules leave the same objects. */
  const known = new Map<string, { readonly state: string; readonly problems: ReadonlyArray<string> }>()
  const findings = Effect.gen(function* () {
    const key = yield* contents
    const before = known.get(key)
    if (before !== undefined) return before
    const problems: Array<string> = []
    const state = yield* look
    // What a crash has left behind is gone after a repair, and nothing else is.
    yield* TestClock.adjust("1 day")
    yield* drive(yield* Effect.forkChild(repairAll(observer, false)), "1 minute")
    const repaired = yield* look
    if (repaired !== state) problems.push(`the repair made ${repaired}\nof ${state}`)
    const more = yield* drive(yield* Effect.forkChild(repairAll(observer, true)), "1 minute")
    if (more.length > 0) problems.push(`the repair left ${more.join()}`)
    const found = { state, problems }
    known.set(key, found)
    return found
  })

  const byOrder = new Map<string, { readonly answers: ReadonlyMap<string, string>; readonly state: string }>()
  /** What comes of operations one after the other. */
  const serially = Effect.fnUntraced(function* (order: ReadonlyArray<string>) {
    const known = byOrder.get(order.join())
    if (known !== undefined) return known
    yield* control.restore(start)
    const answers = new Map<string, string>()
    for (const label of order) {
      const { name, operation } = labelled.find((one) => one.label === label)!
      const fiber = yield* Effect.forkChild(Effect.exit(operation(clients[name]!)))
      answers.set(label, answerOf(yield* drive(fiber)))
    }
    const made = { answers, state: yield* look }
    byOrder.set(order.join(), made)
    return made
  })

  const isExplained = Effect.fnUntraced(function* (state: string, crashes: boolean) {
    const isLost = ({ answer }: Done) =>
      answer === pending ? crashes : (scenario.mayLose ?? []).some((tag) => answer === `failed ${tag}`)
    const entries = [...done].filter(([, one]) => !isLost(one))
    const certain = entries.filter(([, one]) => one.ended !== Infinity)
    const open = entries.filter(([, one]) => one.ended === Infinity)
    for (let some = 0; some < 2 ** open.length; some++) {
      const taken = [...certain, ...open.filter((_, index) => (some & (2 ** index)) !== 0)]
      for (const order of permutations(taken)) {
        const keeps = order.every(([, one], i) => order.slice(i + 1).every(([, later]) => later.ended > one.began))
        if (!keeps) continue
        const serial = yield* serially(order.map(([label]) => label))
        const agrees = certain.every(([label, one]) => serial.answers.get(label) === one.answer)
        if (agrees && serial.state === state) return true
      }
    }
    return false
  })

  const seen = { schedules: 0, requests: 0 }
  const outcomes = new Set<string>()
  const violations: Array<string> = []
  const report = yield* schedule
    .explore({
      before: Effect.andThen(
        Effect.andThen(control.restore(start), goBack),
        Effect.sync(() => {
          done = new Map()
          moment = 0
        })
      ),
      programs,
      preemptions: scenario.preemptions ?? bounds.preemptions,
      crashes: bounds.crashes,
      interruptions: bounds.interruptions,
      limit: bounds.limit,
      pause: bounds.pause,
      check: Effect.fnUntraced(function* ({ crashed, requests, trace }) {
        seen.schedules += 1
        seen.requests += requests
        const complain = (what: string) => {
          const told = [...done].map(([label, one]) => `${label} ${one.answer}`).join("\n  ")
          violations.push(`${what}\n  ${told}\nafter\n  ${trace.join("\n  ")}`)
        }
        const { problems, state } = yield* findings
        outcomes.add(`${[...done].map(([label, one]) => `${label} ${one.answer}`).join()} ${state}`)
        if (!(yield* isExplained(state, crashed.length > 0))) complain(`no serial order gives ${state}`)
        for (const problem of problems) complain(problem)
        if (violations.length >= (bounds.violations ?? 1)) return yield* Effect.fail(new Enough())
      })
    })
    .pipe(
      Effect.catchTag("Enough", () =>
        Effect.succeed({ schedules: seen.schedules, requests: seen.requests, complete: false })
      )
    )
  return { ...report, outcomes: outcomes.size, violations } satisfies Outcome
})

const permutations = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.length < 2
    ? [all]
    : all.flatMap((one, index) => permutations(all.toSpliced(index, 1)).map((rest) => [one, ...rest]))

const transfer =
  (from: string, to: string, amount: number): Operation =>
  ({ accounts, transaction }) =>
    transaction(
      Effect.gen(function* () {
        const source = yield* accounts.get(from)
        const target = yield* accounts.get(to)
        yield* accounts.update(from, { balance: source.balance - amount })
        yield* accounts.update(to, { balance: target.balance + amount })
      })
    )

const balances =
  (...ids: ReadonlyArray<string>): Operation =>
  ({ accounts, transaction }) =>
    transaction(Effect.forEach(ids, (id) => Effect.map(accounts.get(id), (one) => one.balance)))

const balance =
  (id: string): Operation =>
  ({ accounts }) =>
    Effect.map(accounts.get(id), (one) => one.balance)

const money: ReadonlyArray<Operation> = ["x", "y", "z"].map(
  (id) =>
    ({ accounts }) =>
      accounts.insert({ id, balance: 100 })
)

const one: Operation = ({ items }) => items.insert({ id: "1", n: 0, group: "g", email: "e1" })
const two: Operation = ({ items }) => items.insert({ id: "2", n: 0, group: "g", email: "e2" })
const bytes = (size: number) => new Uint8Array(size).fill(size)
const keep: Operation = ({ kept }) => kept.insert({ id: "k", n: 0 })
const fill: Operation = ({ kept }) => Effect.asVoid(kept.setContent("k", bytes(3)))

/** Whatever is not at its end is ended, and nothing is too young for that. */
const sweep: Operation = ({ database }) =>
  Effect.as(Stream.runDrain(database.repairTransactions({ dryRun: false, graceMillis: 0 })), "swept")
const mend: Operation = (client) => Effect.as(repairAll(client, false), "mended")

const swap: Operation = ({ items, transaction }) =>
  transaction(Effect.andThen(items.update("1", { email: "e2" }), items.update("2", { email: "e1" })))

/** Writes the number of documents in a group into one of another. */
const total =
  (id: string, group: string): Operation =>
  ({ items, transaction }) =>
    transaction(
      Effect.flatMap(Stream.runCollect(items.scan({ partition: "byGroup", values: { group } })), (found) =>
        items.update(id, { n: found.length * 100 })
      ),
      { listings: "serializable" }
    )

/** Somebody else writes over a document, with or without its metadata: the body still tells what it owned, or not. */
const harm =
  (resource: string, id: string, tells: boolean): Operation =>
  ({ database: { store } }) => {
    const key = `resource=${resource}/data/id=${id}`
    return Effect.flatMap(store.get(key), ({ body }) =>
      store.put({ key, body: tells ? body : new TextEncoder().encode("<html>"), repeatable: true })
    )
  }

const discard: Operation = ({ items }) => Effect.flatMap(items.admin, (admin) => Effect.asVoid(admin.discard("1")))
const discardKept: Operation = ({ kept }) => Effect.flatMap(kept.admin, (admin) => Effect.asVoid(admin.discard("k")))

const place: Operation = ({ places }) => places.insert({ id: "p", n: 0, cells: ["a", "b"] })
const move =
  (...cells: ReadonlyArray<string>): Operation =>
  ({ places }) =>
    places.update("p", { cells })

/** What is done with a document that owns keys of a companion. */
const withCompanion: Readonly<Record<string, Scenario>> = {
  "two updates that move the keys of a companion": { given: [place], clients: { a: [move("b", "c")], b: [move("d")] } },
  "an update that moves the keys of a companion, and one that leaves them": {
    given: [place],
    clients: { a: [move("b", "c")], b: [({ places }) => places.update("p", { n: 1 })] }
  },
  "an update and a deletion, with a companion": {
    given: [place],
    clients: { a: [move("c")], b: [({ places }) => places.delete("p")] }
  },
  "a deletion and an insert, with a companion": {
    given: [place],
    clients: {
      a: [({ places }) => places.delete("p")],
      b: [({ places }) => places.insert({ id: "p", n: 2, cells: ["b", "z"] })]
    }
  },
  "two upserts, with a companion": {
    given: [],
    clients: {
      a: [({ places }) => places.upsert({ id: "p", n: 1, cells: ["a", "c"] })],
      b: [({ places }) => places.upsert({ id: "p", n: 2, cells: ["b", "c"] })]
    }
  },
  "a transaction that moves the keys of companions, and an update": {
    given: [place, ({ places }) => places.insert({ id: "q", n: 0, cells: ["a"] })],
    mayLose: ["TransactionConflict"],
    clients: {
      a: [
        ({ places, transaction }) =>
          transaction(Effect.andThen(places.update("p", { cells: ["q"] }), places.update("q", { cells: ["p"] })))
      ],
      b: [move("b", "c")]
    }
  },
  "an update that moves the keys of a companion, and a repair": {
    given: [place],
    clients: { a: [move("b", "c")], b: [mend] }
  }
}

const log: Operation = ({ logged }) => logged.insert({ id: "l", n: 0, group: "g" })
const again =
  (n: number, group: string): Operation =>
  ({ logged }) =>
    logged.update("l", { n, group })
const forget: Operation = ({ logged }) => logged.delete("l")

/** What is done with a document that has a journal: the entries of its versions are a chain, whoever wrote them. */
const withJournal: Readonly<Record<string, Scenario>> = {
  "two updates, with a journal": { given: [log], clients: { a: [again(1, "h")], b: [again(2, "i")] } },
  "two inserts, with a journal": {
    given: [],
    clients: { a: [log], b: [({ logged }) => logged.insert({ id: "l", n: 1, group: "g" })] }
  },
  "an update and a deletion, with a journal": { given: [log], clients: { a: [again(1, "h")], b: [forget] } },
  "a deletion and an insert, with a journal": {
    given: [log],
    clients: { a: [forget], b: [({ logged }) => logged.insert({ id: "l", n: 3, group: "j" })] }
  },
  "two replacements of what was deleted, with a journal": {
    given: [log, forget],
    clients: {
      a: [({ logged }) => logged.replace({ id: "l", n: 1, group: "h" })],
      b: [({ logged }) => logged.replace({ id: "l", n: 2, group: "i" })]
    }
  },
  "a transaction that deletes, and an update, with a journal": {
    given: [log, ({ logged }) => logged.insert({ id: "m", n: 0, group: "g" })],
    mayLose: ["TransactionConflict"],
    clients: {
      a: [({ logged, transaction }) => transaction(Effect.andThen(logged.delete("l"), logged.update("m", { n: 1 })))],
      b: [again(2, "i")]
    }
  }
}

/** What is done with a damaged document while it is discarded, or replaced. */
const damaged = (tells: boolean): Readonly<Record<string, Scenario>> => {
  const given = [one, harm("items", "1", tells)]
  const anew: Operation = ({ items }) => items.replace({ id: "1", n: 1, group: "h", email: "e1" })
  const of = tells ? "that tells what it owned" : "that tells nothing"
  return {
    [`two discards of a document ${of}`]: { given, clients: { a: [discard], b: [discard] } },
    [`a discard and a replacement of a document ${of}`]: { given, clients: { a: [discard], b: [anew] } },
    [`two replacements of a document ${of}`]: {
      given,
      clients: { a: [anew], b: [({ items }) => items.replace({ id: "1", n: 2, group: "g", email: "e2" })] }
    },
    [`a discard and an insert of a document ${of}`]: {
      given,
      clients: { a: [discard], b: [({ items }) => items.insert({ id: "1", n: 2, group: "g", email: "e1" })] }
    },
    [`a discard of a document ${of} and an insert of its unique value`]: {
      given,
      clients: { a: [discard], b: [({ items }) => items.insert({ id: "2", n: 2, group: "g", email: "e1" })] }
    },
    [`a discard and a replacement of a document with history and content ${of}`]: {
      given: [keep, fill, harm("kept", "k", tells)],
      clients: { a: [discardKept], b: [({ kept }) => kept.replace({ id: "k", n: 7 })] }
    }
  }
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  "a deletion of what has to be there and a replacement without conditions": {
    given: money,
    clients: {
      a: [({ accounts }) => accounts.delete("y", { mustExist: true })],
      b: [({ accounts }) => accounts.replace({ id: "y", balance: 7 })]
    }
  },
  "two deleteMany": {
    given: [one, two, ({ items }) => items.insert({ id: "3", n: 0, group: "g", email: "e3" })],
    clients: {
      a: [({ items }) => Effect.map(items.deleteMany(["1", "2"]), () => "gone")],
      b: [({ items }) => Effect.map(items.deleteMany(["2", "1"]), () => "gone")]
    }
  },
  "a deletion with history and an insert": {
    given: [keep],
    clients: {
      a: [({ kept }) => kept.delete("k", { mustExist: true })],
      b: [({ kept }) => kept.insert({ id: "k", n: 5 })]
    }
  },
  "a deletion with history and an update": {
    given: [keep],
    clients: {
      a: [({ kept }) => kept.delete("k")],
      b: [({ kept }) => kept.update("k", ({ n }) => ({ n: n + 1 }))]
    }
  },
  "a transfer, an update, and a sweep": {
    given: money,
    clients: {
      a: [transfer("x", "y", 10)],
      b: [({ accounts }) => accounts.update("x", (now) => ({ balance: now.balance * 2 }))],
      c: [sweep]
    },
    preemptions: 1
  },
  "a transaction that inserts, and a repair": {
    given: [one],
    clients: {
      a: [
        ({ items, transaction }) =>
          transaction(
            Effect.andThen(
              items.update("1", { group: "h", email: "e2" }),
              items.insert({ id: "3", n: 3, group: "g", email: "e3" })
            )
          )
      ],
      b: [mend]
    }
  },
  "an insert and a repair": {
    given: [],
    clients: { a: [one], b: [mend] }
  },
  "two documents that swap their unique values, and an insert": {
    given: [one, two],
    clients: {
      a: [swap],
      b: [({ items }) => items.insert({ id: "3", n: 3, group: "g", email: "e1" })]
    }
  },
  "two documents that swap their unique values, and a look": {
    given: [one, two],
    clients: {
      a: [swap],
      b: ["e1", "e2"].map(
        (email): Operation =>
          ({ items }) =>
            Effect.map(items.getByUnique("email", { email }), ({ id }) => id)
      )
    }
  },
  "a swap, and an update that gives a value up": {
    given: [one, two],
    clients: { a: [swap], b: [({ items }) => items.update("2", { email: "e3" })] }
  },
  "two transactions that list, and write what the other lists": {
    given: [one, ({ items }) => items.insert({ id: "2", n: 0, group: "h" })],
    clients: { a: [total("1", "h")], b: [total("2", "g")] }
  },
  "a transaction that lists, and an insert": {
    given: [one],
    clients: { a: [total("1", "h")], b: [({ items }) => items.insert({ id: "2", n: 2, group: "h" })] }
  },
  "two transactions that look for a unique value before they take it": {
    given: [],
    clients: Object.fromEntries(
      ["a", "b"].map((id): [string, ReadonlyArray<Operation>] => [
        id,
        [
          ({ items, transaction }) =>
            transaction(
              Effect.flatMap(Effect.option(items.getByUnique("email", { email: "e1" })), (found) =>
                items.insert({ id, n: 0, group: "g", ...(Option.isNone(found) ? { email: "e1" } : {}) })
              )
            )
        ]
      ])
    )
  },
  ...withCompanion,
  ...withJournal,
  ...damaged(true),
  ...damaged(false),
  "two updates that move a document": {
    given: [one],
    clients: {
      a: [({ items }) => items.update("1", ({ n }) => ({ n: n + 1, group: "h" }))],
      b: [({ items }) => items.update("1", ({ n }) => ({ n: n + 1, email: "e2" }))]
    }
  },
  "two inserts of one id": {
    given: [],
    clients: {
      a: [({ items }) => items.insert({ id: "1", n: 1, group: "g", email: "e1" })],
      b: [({ items }) => items.insert({ id: "1", n: 2, group: "h", email: "e2" })]
    }
  },
  "two inserts of one unique value": {
    given: [],
    clients: {
      a: [({ items }) => items.insert({ id: "1", n: 1, group: "g", email: "e1" })],
      b: [({ items }) => items.insert({ id: "2", n: 2, group: "h", email: "E1" })]
    }
  },
  "a unique value that is given up and taken": {
    given: [one, two],
    clients: {
      a: [({ items }) => items.update("1", { email: "e3" })],
      b: [({ items }) => items.update("2", { email: "e1" })]
    }
  },
  "a deletion and an insert of the unique value": {
    given: [one],
    clients: {
      a: [({ items }) => items.delete("1")],
      b: [({ items }) => items.insert({ id: "2", n: 2, group: "g", email: "e1" })]
    }
  },
  "a deletion and an update": {
    given: [one],
    clients: {
      a: [({ items }) => items.delete("1")],
      b: [({ items }) => items.update("1", { group: "h", email: "e2" })]
    }
  },
  "a deletion and an insert of the id": {
    given: [one],
    clients: {
      a: [({ items }) => items.delete("1")],
      b: [({ items }) => items.insert({ id: "1", n: 2, group: "h", email: "e1" })]
    }
  },
  "two deletions of what has to be there": {
    given: [one],
    clients: {
      a: [({ items }) => items.delete("1", { mustExist: true })],
      b: [({ items }) => items.delete("1", { mustExist: true })]
    }
  },
  "two replacements": {
    given: [one],
    clients: {
      a: [({ items }) => items.replace({ id: "1", n: 1, group: "h", email: "e2" })],
      b: [({ items }) => items.replace({ id: "1", n: 2, group: "g" })]
    }
  },
  "two upserts": {
    given: [],
    clients: {
      a: [({ items }) => items.upsert({ id: "1", n: 1, group: "h", email: "e2" })],
      b: [({ items }) => items.upsert({ id: "1", n: 2, group: "g", email: "e1" })]
    }
  },
  "two upserts, one of which creates first": {
    given: [],
    clients: {
      a: [({ items }) => items.upsert({ id: "1", n: 1, group: "h", email: "e2" }, { createFirst: true })],
      b: [({ items }) => items.upsert({ id: "1", n: 2, group: "g", email: "e1" })]
    }
  },
  "an upsert and a deletion": {
    given: [one],
    clients: {
      a: [({ items }) => items.upsert({ id: "1", n: 1, group: "h", email: "e2" })],
      b: [({ items }) => items.delete("1")]
    }
  },
  "an upsert that creates first, and a deletion": {
    given: [one],
    clients: {
      a: [({ items }) => items.upsert({ id: "1", n: 1, group: "h", email: "e2" }, { createFirst: true })],
      b: [({ items }) => items.delete("1")]
    }
  },
  "an upsert and an insert": {
    given: [],
    clients: {
      a: [({ items }) => items.upsert({ id: "1", n: 1, group: "h", email: "e2" })],
      b: [({ items }) => items.insert({ id: "1", n: 2, group: "g", email: "e1" })]
    }
  },
  "a document in hand": {
    given: [one],
    clients: {
      a: [
        ({ items }) =>
          Effect.flatMap(items.getDocument("1"), (held) => items.update(held, { n: held.value.n + 1, group: "h" }))
      ],
      b: [({ items }) => items.update("1", ({ n }) => ({ n: n + 10 }))]
    },
    mayLose: ["Conflict"]
  },
  "deleteMany and a deletion": {
    given: [one, two],
    clients: {
      a: [({ items }) => items.deleteMany(["1", "2"])],
      b: [({ items }) => items.delete("1")]
    }
  },
  "deleteMany and an update": {
    given: [one, two],
    clients: {
      a: [({ items }) => items.deleteMany(["1"])],
      b: [({ items }) => items.update("1", { group: "h" })]
    }
  },
  "two transfers": {
    given: money,
    clients: { a: [transfer("x", "y", 10)], b: [transfer("y", "x", 30)] }
  },
  "three transfers in a ring": {
    given: money,
    clients: { a: [transfer("x", "y", 10)], b: [transfer("y", "z", 20)], c: [transfer("z", "x", 30)] },
    preemptions: 1
  },
  "a transfer and a sum": {
    given: money,
    clients: { a: [transfer("x", "y", 10)], b: [balances("x", "y")] }
  },
  "a transfer and a look at one account after the other": {
    given: money,
    clients: { a: [transfer("x", "y", 10)], b: [balance("x"), balance("y")] }
  },
  "a transfer and an update": {
    given: money,
    clients: {
      a: [transfer("x", "y", 10)],
      b: [({ accounts }) => accounts.update("y", (now) => ({ balance: now.balance * 2 }))]
    }
  },
  "a transfer and a deletion": {
    given: money,
    clients: { a: [transfer("x", "y", 10)], b: [({ accounts }) => accounts.delete("y", { mustExist: true })] }
  },
  "write skew": {
    given: money,
    clients: {
      a: [
        ({ accounts, transaction }) =>
          transaction(
            Effect.flatMap(accounts.get("x"), ({ balance }) => accounts.update("y", { balance: balance + 1 }))
          )
      ],
      b: [
        ({ accounts, transaction }) =>
          transaction(
            Effect.flatMap(accounts.get("y"), ({ balance }) => accounts.update("x", { balance: balance + 1 }))
          )
      ]
    }
  },
  "a transaction and an insert of its unique value": {
    given: [one],
    clients: {
      a: [
        ({ items, transaction }) =>
          transaction(
            Effect.andThen(
              items.update("1", { group: "h", email: "e2" }),
              items.insert({ id: "3", n: 3, group: "g", email: "e3" })
            )
          )
      ],
      b: [({ items }) => items.insert({ id: "4", n: 4, group: "g", email: "e3" })]
    }
  },
  "a transaction that deletes and one that updates": {
    given: [one, two],
    clients: {
      a: [
        ({ items, transaction }) => transaction(Effect.andThen(items.delete("1"), items.update("2", { group: "h" })))
      ],
      b: [
        ({ items, transaction }) =>
          transaction(Effect.andThen(items.update("1", { n: 5 }), items.update("2", { n: 6 })))
      ]
    }
  },
  "updates that keep their history": {
    given: [keep],
    clients: {
      a: [({ kept }) => kept.update("k", ({ n }) => ({ n: n + 1 }))],
      b: [({ kept }) => kept.update("k", ({ n }) => ({ n: n + 10 }))]
    }
  },
  "content and an update": {
    given: [keep, fill],
    clients: {
      a: [({ kept }) => Effect.asVoid(kept.setContent("k", bytes(5)))],
      b: [({ kept }) => kept.update("k", ({ n }) => ({ n: n + 1 }))]
    }
  },
  "content and content": {
    given: [keep, fill],
    clients: {
      a: [({ kept }) => Effect.asVoid(kept.setContent("k", bytes(5)))],
      b: [({ kept }) => Effect.asVoid(kept.setContent("k", bytes(6)))]
    }
  },
  "content and a deletion": {
    given: [keep, fill],
    clients: {
      a: [({ kept }) => Effect.asVoid(kept.setContent("k", bytes(5)))],
      b: [({ kept }) => kept.delete("k")]
    }
  },
  "deleting content and a replacement": {
    given: [keep, fill],
    clients: {
      a: [({ kept }) => kept.deleteContent("k")],
      b: [({ kept }) => kept.replace({ id: "k", n: 7 })]
    }
  }
}
