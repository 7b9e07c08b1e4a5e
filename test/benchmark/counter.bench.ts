/**
 * Additions to counters, in memory, in a folder, and on Ceph's gateway where it answers, by two processes that share each store. The baseline is the
 * least that it takes to add to a number that others add to as well: GET and PUT on condition, tried again where another was first, with
 * the same pauses. s3db.js 16.2 names 320 to 2,750 operations a second at 2.5 requests each for its own.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { balance, direct, processOn, visits } from "../plugins/counters.ts"
import { storeAt } from "../plugins/queueStores.ts"
import { gateway } from "../services/available.ts"
import { counting } from "./counting.ts"

type Store = ObjectStore["Service"]

interface Result {
  readonly store: string
  readonly name: string
  readonly perSecond: number
  /** To the baseline of the store. */
  readonly ratio: number
  readonly requestsPerOperation: number
}

type Process = Effect.Success<ReturnType<typeof processOn>>

interface Run {
  readonly name: string
  /** How many fibers each of the two processes adds by. */
  readonly fibers: number
  /** How many operations are made of a hundred: what takes longer is made less often. */
  readonly share: number
  readonly run: (process: Process, store: Store) => Effect.Effect<unknown, unknown>
  readonly after?: (process: Process) => Effect.Effect<unknown, unknown>
}

const cellOn = (store: Store) => CasCell.make(store, "by-hand", CasCell.schemaFormat(Schema.Int, { what: "a number" }))
const fold = ({ counters }: Process) => counters.foldAll

const runs: ReadonlyArray<Run> = [
  {
    name: "baseline: GET and PUT on condition",
    fibers: 1,
    share: 10,
    run: (_, store) => cellOn(store).modify((n = 0) => Effect.succeed(n + 1))
  },
  {
    name: 'mode "apply"',
    fibers: 1,
    share: 10,
    run: ({ counters }) => counters.add(direct, "w", 1)
  },
  {
    name: "apply",
    fibers: 1,
    share: 10,
    run: ({ counters }) => counters.apply(balance, "w", { add: 1 }),
    after: fold
  },
  {
    name: "deferred, one at a time, and a fold",
    fibers: 1,
    share: 10,
    run: ({ counters }) => counters.add(balance, "w", 1),
    after: fold
  },
  {
    name: "deferred, 100 at a time, and a fold",
    fibers: 100,
    share: 100,
    run: ({ counters }) => counters.add(balance, "w", 1),
    after: fold
  },
  {
    name: "hot, 100 at a time, and a fold",
    fibers: 100,
    share: 100,
    run: ({ counters }) => counters.add(visits, "w", 1),
    after: fold
  }
]

const measureOn = Effect.fnUntraced(function* (name: string, inner: Store, operations: number) {
  const { counts, store } = counting(inner)
  const processes = [yield* processOn(store), yield* processOn(store)]
  yield* processes[0]!.wallets.insert({ id: "w" })
  const results: Array<Result> = []
  for (const { after, fibers, name: what, run, share } of runs) {
    const each = Math.ceil((operations * share) / 200)
    const times = Array.from({ length: each }, (_, i) => i)
    counts.requests = 0
    const begun = performance.now()
    yield* Effect.forEach(
      processes,
      (process) => Effect.forEach(times, () => run(process, store), { concurrency: fibers, discard: true }),
      { concurrency: 2, discard: true }
    )
    if (after !== undefined) yield* after(processes[0]!)
    const perSecond = (each * 2) / ((performance.now() - begun) / 1000)
    const ratio = results[0] === undefined ? 1 : perSecond / results[0].perSecond
    results.push({ store: name, name: what, perSecond, ratio, requestsPerOperation: counts.requests / (each * 2) })
  }
  return results
})

const at = (location: string, name: string, operations: number) =>
  Effect.scoped(
    Effect.flatMap(ObjectStore, (store) => measureOn(name, store, operations)).pipe(
      Effect.provide(Layer.fresh(storeAt(location)))
    )
  )

export const report = async () => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-bench-counter-"))
  try {
    const memory = Effect.scoped(Effect.flatMap(MemoryStore.make(), ({ store }) => measureOn("memory", store, 20_000)))
    const results = [
      ...(await Effect.runPromise(memory)),
      ...(await Effect.runPromise(at(folder, "folder", 4000))),
      ...(gateway.available
        ? await Effect.runPromise(at(`gateway:bench-counter-${performance.timeOrigin}`, "gateway", 4000))
        : [])
    ]
    const rows = results.map(({ name, perSecond, ratio, requestsPerOperation, store }) => [
      store,
      name,
      perSecond.toFixed(0),
      ratio.toFixed(2),
      requestsPerOperation.toFixed(3)
    ])
    return {
      results,
      tables: [
        {
          title: "Additions to one counter by two processes",
          columns: ["store", "", "a second", "ratio", "requests each"],
          rows
        }
      ],
      notes: gateway.available ? [] : ["the gateway does not answer: npm run services -- up"]
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
