/**
 * How many bytes an operation takes from the heap, beside the bare store and the same work by hand, by the sampling profiler of the engine, which
 * counts what has been collected as well. Unlike times it hardly differs from one run to another, however much the machine has to do.
 */
import { Session, type HeapProfiler } from "node:inspector/promises"
import * as Effect from "effect/Effect"
import { bare, type Contender, failed, type Operation, ours, type Ready, sameByHand } from "./contenders.ts"
import { digits } from "./table.ts"

const times = 10_000
/** Bytes between two samples, on the average. */
const samplingInterval = 512

const contenders = [ours, sameByHand, bare]
const operations: ReadonlyArray<Operation> = ["insert", "insertMany, each", "replace", "update", "get"]

const total = ({ children, selfSize }: HeapProfiler.SamplingHeapProfileNode): number =>
  children.reduce((sum, child) => sum + total(child), selfSize)

/** Bytes of one time, after the engine has compiled what there is to compile. */
const bytesOf = async ({ prepare, run }: Ready): Promise<number> => {
  for (let warm = 0; warm < 3; warm++) {
    await prepare?.(times)
    await run(times)
  }
  await prepare?.(times)
  const session = new Session()
  session.connect()
  try {
    const collected = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }
    await session.post("HeapProfiler.startSampling", { samplingInterval, ...collected })
    await run(times)
    const { profile } = await session.post("HeapProfiler.stopSampling")
    return Math.round(total(profile.head) / times)
  } finally {
    session.disconnect()
  }
}

const one = Effect.fnUntraced(function* (operation: Operation, { operations }: Contender) {
  const ready = operations[operation]
  if (ready === undefined) return Number.NaN
  const made = yield* ready
  return yield* Effect.tryPromise({ try: () => bytesOf(made), catch: failed })
}, Effect.scoped)

export const report = () =>
  Effect.gen(function* () {
    const results = yield* Effect.forEach(operations, (operation) =>
      Effect.map(
        Effect.forEach(contenders, (contender) => one(operation, contender)),
        (bytes) => ({ operation, bytes })
      )
    )
    const rows = results.map(({ bytes, operation }) => {
      const [mine = Number.NaN, ...others] = bytes
      return [operation, String(mine), ...others.map((other) => digits(mine / other))]
    })
    const [, ...names] = contenders.map(({ name }) => name)
    const title = `Bytes of the heap that one operation of ${ours.name} takes; then how many times those of the others`
    return { results, tables: [{ title, columns: ["", "bytes", ...names], rows }] }
  }).pipe(Effect.runPromise)
