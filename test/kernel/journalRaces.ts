/** Writers and journalers of one store in every order of their requests. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Journal from "effect-s3db/kernel/Journal"
import * as Lease from "effect-s3db/kernel/Lease"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as journalClient from "../../src/kernel/internal/journalClient.ts"
import * as journalers from "../../src/kernel/internal/journaler.ts"
import { chainProblems, differences, documents, headsOf, observed, write, type WriteOptions } from "./journalWriter.ts"

type Store = ObjectStore["Service"]

/** What a writer does, one after the other. */
export type Writes = ReadonlyArray<readonly [id: string, options?: WriteOptions]>

export type Break = "entry after the commit" | "removal before the append is durable" | "settling by clock"

export interface Options {
  /** Before the race, not journaled yet. */
  readonly first?: Writes
  readonly writers: Readonly<Record<string, Writes>>
  /** How many rounds each makes. */
  readonly journalers: Readonly<Record<string, number>>
  readonly preemptions: number
  readonly crashes?: number
  readonly limit?: number
  readonly broken?: Break
}

/** Ids and chance that follow from a number. */
const seeded = <A, E, R>(seed: number, effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(Id.Generator, Id.seeded(seed)), Random.withSeed(`seed ${seed}`))

const opened = (store: Store) => Journal.make(store, { compression: "none" })

/** Removes what it has listed as soon as it begins to append. */
const removingFirst = (store: Store): Store => {
  let listed: ReadonlyArray<string> = []
  return {
    ...store,
    list: (request) =>
      Effect.tap(store.list(request), ({ entries }) =>
        Effect.sync(() => {
          listed = entries.map(({ key }) => key)
        })
      ),
    put: (request) =>
      request.key.includes("/log/part/") && listed.length > 0
        ? Effect.andThen(store.deleteMany(listed), store.put(request))
        : store.put(request)
  }
}

/** A round of a journaler, without a lease: nothing but compare-and-set decides. */
const roundsOn = Effect.fnUntraced(function* (given: Store, port: Journal.Documents, broken: Break | undefined) {
  const store = broken === "removal before the append is durable" ? removingFirst(given) : given
  const client = yield* journalClient.make({ prefix: "journal", keyBytes: 1024 })
  const log = AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record, compression: "none" })
  const { round } = journalers.make({
    store,
    prefix: "journal",
    log,
    client,
    // Long ago, and so never: it does not look.
    documents: broken === "settling by clock" ? { ...port, head: () => Effect.succeed(nothing) } : port,
    lease: Lease.make(store, { key: "journal/lease" }),
    firstPause: 1000,
    longestPause: 60_000
  })
  return round({ fence: 1, isThorough: true })
})

const nothing: Journal.Head = { identity: undefined, ancestors: [] }

const journal = Effect.fnUntraced(function* (store: Store, rounds: number, broken: Break | undefined) {
  const round = yield* roundsOn(store, documents(store), broken)
  for (let i = 0; i < rounds; i++) yield* round
})

export const explore = Effect.fnUntraced(function* (options: Options) {
  const { broken, crashes = 0, first = [], limit, preemptions } = options
  const { control, store: inner } = yield* MemoryStore.make()
  const { store, versions } = observed(inner)
  const schedule = Interleavings.make(store)
  const writing = (on: Store, writes: Writes) =>
    Effect.gen(function* () {
      const { client } = yield* opened(on)
      const order = broken === "entry after the commit" ? "entry after the commit" : "entry first"
      for (const [id, options] of writes) yield* write(on, client, id, { ...options, order })
    })
  yield* seeded(1, writing(store, first))
  const start = yield* control.snapshot
  const before = new Map(versions)
  const problems: Array<string> = []
  const programs: Record<string, Effect.Effect<void, StoreError.StoreError | Lease.LeaseLost>> = {}
  let seed = 10
  for (const [name, writes] of Object.entries(options.writers)) {
    programs[name] = seeded((seed += 1), writing(schedule.client(name), writes))
  }
  for (const [name, rounds] of Object.entries(options.journalers)) {
    programs[name] = seeded((seed += 1), journal(schedule.client(name), rounds, broken))
  }
  let appended = 0
  const report = yield* schedule.explore({
    before: Effect.andThen(
      control.restore(start),
      Effect.sync(() => {
        versions.clear()
        for (const [name, all] of before) versions.set(name, all)
      })
    ),
    programs,
    preemptions,
    crashes,
    limit,
    check: Effect.fnUntraced(function* ({
      crashed,
      exits,
      trace
    }: Interleavings.Run<void, StoreError.StoreError | Lease.LeaseLost>) {
      if (problems.length > 0) return
      for (const [name, exit] of Object.entries(exits)) {
        if (Exit.isFailure(exit) && !crashed.includes(name)) problems.push(`${name}: ${Cause.pretty(exit.cause)}`)
      }
      const { catchUp, read, verify } = yield* opened(store)
      yield* catchUp(documents(store))
      const entries = yield* Stream.runCollect(read())
      appended += entries.length
      problems.push(...differences(entries, versions))
      yield* verify()
      if (problems.length > 0) problems.push(trace.join("\n"))
    })
  })
  return { report, problems, appended }
})

/** Loses answers of writes: of what was done, of what was not, and of what is done later. */
const shaky = (store: Store): Store => {
  let late: Array<Effect.Effect<unknown, unknown>> = []
  const write = <A>(operation: "put" | "delete" | "deleteMany", effect: Effect.Effect<A, StoreError.StoreError>) =>
    Effect.gen(function* () {
      const chance = yield* Random.next
      const arriving = late.filter((_, i) => (i + chance * 10) % 3 < 1)
      late = late.filter((one) => !arriving.includes(one))
      for (const one of arriving) yield* Effect.exit(one)
      yield* Effect.yieldNow
      if (chance < 0.05) yield* Effect.exit(effect)
      else if (chance < 0.1) late.push(effect)
      if (chance > 0.15) return yield* effect
      return yield* new StoreError.StoreError({
        operation,
        reason: new StoreError.Timeout({ description: "lost", afterMillis: 1 })
      })
    })
  return {
    ...store,
    get: (key, options) => Effect.andThen(Effect.yieldNow, store.get(key, options)),
    list: (request) => Effect.andThen(Effect.yieldNow, store.list({ ...request, maxKeys: 3 })),
    put: (request) => write("put", store.put(request)),
    delete: (key, options) => write("delete", store.delete(key, options)),
    deleteMany: (keys, options) => write("deleteMany", store.deleteMany(keys, options))
  }
}

/** A random history on a network that loses answers; gives what is wrong with it, and how much was journaled. */
export const history = (seed: number, broken?: Break) =>
  seeded(
    seed,
    Effect.gen(function* () {
      const { store: inner } = yield* MemoryStore.make()
      const { store, versions } = observed(inner)
      const writer = (by: number) =>
        Effect.gen(function* () {
          const on = shaky(store)
          const { client } = yield* opened(on)
          for (let n = 0; n < 8; n++) {
            const kind = (yield* Random.next) < 0.3 ? "delete" : "put"
            yield* Effect.exit(write(on, client, `d${(n * by) % 2}`, { kind }))
          }
        })
      const journaler = Effect.gen(function* () {
        const rounds = yield* roundsOn(shaky(store), documents(store), broken)
        for (let n = 0; n < 12; n++) yield* Effect.exit(rounds)
      })
      yield* Effect.all([writer(1), writer(2), writer(3), journaler, journaler], { concurrency: "unbounded" })
      const { catchUp, read, verify } = yield* opened(store)
      yield* catchUp(documents(store))
      const entries = yield* Stream.runCollect(read())
      yield* verify()
      return {
        problems: [...differences(entries, versions), ...chainProblems(entries, yield* headsOf(store))],
        journaled: entries.length
      }
    })
  )

const put = (id: string): Writes[number] => [id]
const del = (id: string): Writes[number] => [id, { kind: "delete" }]

/** What meets. */
export const races: Readonly<Record<string, Pick<Options, "first" | "journalers" | "writers">>> = {
  "two writers of one document, and two journalers": {
    first: [put("d")],
    writers: { a: [put("d")], b: [put("d")] },
    journalers: { j: 2, k: 2 }
  },
  "a deletion and a new life, and two journalers": {
    first: [put("d")],
    writers: { a: [del("d"), put("d")], b: [put("d")] },
    journalers: { j: 2, k: 2 }
  },
  "two inserts after a deletion, and a journaler that sweeps it": {
    first: [put("d"), del("d")],
    writers: { a: [put("d")], b: [put("d"), del("d")] },
    journalers: { j: 3 }
  },
  "two documents, with bodies": {
    first: [put("d"), put("e")],
    writers: { a: [["d", { detail: { after: { n: 1 } } }], put("e")], b: [["e", { detail: { after: { n: 2 } } }]] },
    journalers: { j: 2, k: 2 }
  }
}
