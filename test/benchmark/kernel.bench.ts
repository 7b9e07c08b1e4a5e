/**
 * What the kernel costs in memory, against a cell that is read and written by hand: no network, so all of it is ours. And how many
 * requests each operation makes, which is what it costs elsewhere.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as CasCell from "effect-s3db/kernel/CasCell"
import * as Checkpoint from "effect-s3db/kernel/Checkpoint"
import * as Counter from "effect-s3db/kernel/Counter"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { type Measured, measure } from "./measure.ts"

type Store = ObjectStore["Service"]

interface Operation {
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown>
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const what = "a value"

/** The operations of the kernel on a store, the first of which is the baseline. */
const operationsOn = Effect.fnUntraced(function* (store: Store) {
  let n = 0
  yield* store.put({ key: "by-hand", body: encoder.encode("0") })
  const byHand = Effect.gen(function* () {
    const { body, etag } = yield* store.get("by-hand")
    const next = Number(decoder.decode(body)) + 1
    yield* store.put({ key: "by-hand", body: encoder.encode(String(next)), ifMatch: etag })
  })
  const cell = CasCell.make(store, "cell", CasCell.schemaFormat(Schema.Int, { what }))
  const up = (value = 0) => Effect.succeed(value + 1)
  const fenced = yield* Fenced.make(store, { key: "fenced", schema: Schema.Int, what }).claim(1)
  const [one, hundred] = [
    yield* Sequence.make(store, { key: "sequence" }),
    yield* Sequence.make(store, { key: "blocks", block: 100 })
  ]
  const counter = Counter.make(store, { resource: "counted", shards: 1 })
  const once = CreateOnce.make(store, { schema: Schema.Int, what })
  const values = PluginStore.make(store, { plugin: "bench", schema: Schema.Int })
  yield* values.set("k", 1)
  const index = TimeIndex.make(store, { prefix: "due/", payload: Schema.Int, what, orderedList: true })
  const later = TimeIndex.make(store, { prefix: "later/", payload: Schema.Int, what, orderedList: true })
  yield* later.add({ id: "later", due: 10, payload: 1 })
  const checkpoint = yield* Checkpoint.make(store, { key: "checkpoint", schema: Schema.Int, what })
  const log = AppendLog.make(store, { prefix: "log", schema: Schema.Int })
  const lease = Lease.make(store, { key: "lease" })
  const operations: ReadonlyArray<Operation> = [
    { name: "baseline: a number by hand, GET and PUT If-Match", run: byHand },
    { name: "CasCell.read", run: cell.read },
    { name: "CasCell.modify", run: cell.modify(up) },
    { name: "Fenced.modify", run: fenced.modify(up) },
    { name: "Counter.add", run: counter.add(new Map([["n", 1]])) },
    { name: "Sequence.next", run: one.next },
    { name: "Sequence.next, blocks of 100", run: hundred.next },
    { name: "CreateOnce.create", run: Effect.suspend(() => once.create(`once/${n++}`, 1)) },
    { name: "PluginStore.get", run: values.get("k") },
    { name: "PluginStore.set", run: values.set("k", 1) },
    { name: "PluginStore.increment", run: values.increment("n") },
    { name: "TimeIndex.add and remove", run: Effect.flatMap(index.add({ id: "a", due: 5, payload: 1 }), index.remove) },
    { name: "TimeIndex.due, nothing is", run: Stream.runDrain(later.due(5)) },
    { name: "Checkpoint.commit", run: Effect.suspend(() => checkpoint.commit(n++)) },
    { name: "AppendLog.append, 100 entries", run: log.append(Array.from({ length: 100 }, (_, i) => i)) },
    { name: "Lease: taken and given up", run: Effect.scoped(lease.tryAcquire) }
  ]
  return operations
})

/** How many of these many are made. */
const counted = 100

export const report = (): Promise<{
  readonly results: ReadonlyArray<Measured & { readonly requests: number }>
  readonly text: string
}> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { store: bare } = yield* MemoryStore.make()
        const operations = yield* operationsOn(bare)
        const { store: inner } = yield* MemoryStore.make()
        const { counter, store } = InstrumentedStore.make(inner)
        const requests: Array<number> = []
        for (const { run } of yield* operationsOn(store)) {
          // What is only done the first time.
          yield* run
          yield* counter.reset
          for (let i = 0; i < counted; i++) yield* run
          const made = Object.values(yield* counter.counts).reduce((sum, one) => sum + one, 0)
          requests.push(made / counted)
        }
        const cases = operations.map(({ name, run }) => ({
          name,
          run: (times: number) =>
            Effect.runPromise(
              Effect.gen(function* () {
                for (let i = 0; i < times; i++) yield* run
              })
            )
        }))
        const times = yield* Effect.promise(() => measure(cases, 200))
        const results = times.map((one, i) => ({ ...one, requests: requests[i]! }))
        const lines = results.map(
          ({ microseconds, name, ratio, requests }) =>
            `  ${name.padEnd(50)} ${microseconds.toFixed(1).padStart(8)} µs ${ratio.toFixed(2).padStart(6)}x  ${requests.toFixed(2).padStart(5)} requests`
        )
        return { results, text: lines.join("\n") }
      })
    )
  )
