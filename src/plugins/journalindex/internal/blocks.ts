/** Blocks of segments by range requests, kept in memory up to a number of bytes: what they are never changes. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { sameBytes } from "../../../internal/bytes.ts"
import { sha256 } from "../../../internal/sha256.ts"
import type { ObjectStore } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"

/** A block: its bytes from `start`, `size` of them, and what it begins with. */
export interface Block<out First> {
  readonly first: First
  readonly start: number
  readonly size: number
}

const checksumBytes = 8

/** The end of a block with this payload: 8 bytes of its SHA-256. */
export const checksumOf = (payload: Uint8Array): Uint8Array => sha256(payload).subarray(0, checksumBytes)

export const corrupt = (description: string) => Result.fail(new StoreError.Corrupt({ description }))

export const isAnother = "a block of a segment is not what was written"

/** The payload of a block, if it is one that is whole. */
export const payloadOf = (block: Uint8Array): Result.Result<Uint8Array, StoreError.Corrupt> => {
  const end = block.length - checksumBytes
  if (end < 0) return corrupt(isAnother)
  const payload = block.subarray(0, end)
  return sameBytes(checksumOf(payload), block.subarray(end)) ? Result.succeed(payload) : corrupt(isAnother)
}

/** What lies between two blocks is read with them where it is no more than this: it costs less than a request. */
const gapBytes = 1024 * 1024

/** The most bytes of one request. */
const requestBytes = 8 * 1024 * 1024

const concurrency = 8

export interface Blocks {
  /**
   * Reads blocks of an object, decoded, in the order in which they are given. 1 GET for each run of blocks that are not in memory and
   * not far from each other. What `unpack` makes of a payload is what is kept in memory.
   */
  readonly read: <First, A>(
    key: string,
    blocks: ReadonlyArray<Block<First>>,
    decode: (block: Block<First>, payload: Uint8Array) => Result.Result<A, StoreError.Corrupt>,
    unpack?: (payload: Uint8Array) => Uint8Array
  ) => Effect.Effect<ReadonlyArray<A>, StoreError.StoreError>
  /** How many bytes are in memory. */
  readonly size: () => number
}

interface Run {
  readonly start: number
  readonly end: number
  readonly blocks: ReadonlyArray<Block<unknown>>
}

/** Blocks that are to be read, in runs. */
const runsOf = (blocks: ReadonlyArray<Block<unknown>>): ReadonlyArray<Run> => {
  const runs: Array<{ start: number; end: number; blocks: Array<Block<unknown>> }> = []
  for (const block of blocks.toSorted((a, b) => a.start - b.start)) {
    const last = runs.at(-1)
    const end = block.start + block.size
    if (last !== undefined && block.start - last.end <= gapBytes && end - last.start <= requestBytes) {
      last.end = end
      last.blocks.push(block)
    } else runs.push({ start: block.start, end, blocks: [block] })
  }
  return runs
}

const checked = <A>(key: string, result: Result.Result<A, StoreError.Corrupt>) =>
  Effect.fromResult(Result.mapError(result, (reason) => new StoreError.StoreError({ operation: "get", key, reason })))

export const make = (store: ObjectStore["Service"], mostBytes: number): Blocks => {
  /** What was used last comes last. */
  const kept = new Map<string, Uint8Array>()
  let size = 0
  const nameOf = (key: string, { start }: Block<unknown>) => `${start} ${key}`

  const keep = (name: string, body: Uint8Array) => {
    if (body.length > mostBytes || kept.has(name)) return
    kept.set(name, body)
    size += body.length
    for (const [oldest, bytes] of kept) {
      if (size <= mostBytes) break
      kept.delete(oldest)
      size -= bytes.length
    }
  }

  const read: Blocks["read"] = Effect.fnUntraced(function* (key, blocks, decode, unpack = (payload) => payload) {
    const found = new Map<number, Uint8Array>()
    const missing: Array<Block<unknown>> = []
    for (const block of new Set(blocks)) {
      const name = nameOf(key, block)
      const body = kept.get(name)
      if (body === undefined) missing.push(block)
      else {
        kept.delete(name)
        kept.set(name, body)
        found.set(block.start, body)
      }
    }
    yield* Effect.forEach(
      runsOf(missing),
      Effect.fnUntraced(function* ({ blocks: some, end, start }) {
        const { body } = yield* Effect.catchIf(
          store.get(key, { range: { start, end: end - 1 } }),
          ({ reason }) => reason._tag === "InvalidRange",
          () => Effect.succeed({ body: new Uint8Array() })
        )
        for (const block of some) {
          const at = block.start - start
          // A copy: a part of a larger body would keep all of it. `slice` makes none of what is a `Buffer`.
          const payload = unpack(yield* checked(key, payloadOf(new Uint8Array(body.subarray(at, at + block.size)))))
          found.set(block.start, payload)
          keep(nameOf(key, block), payload)
        }
      }),
      { concurrency, discard: true }
    )
    return yield* Effect.forEach(blocks, (block) => checked(key, decode(block, found.get(block.start)!)))
  })

  return { read, size: () => size }
}
