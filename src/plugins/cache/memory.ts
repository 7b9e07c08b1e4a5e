/**
 * The tier in the memory of the process: by bytes, the least recently used goes first.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { utf8Length } from "../../internal/text.ts"
import type { Entry, Tier } from "./tier.ts"

/**
 * The limits of a tier in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly name: string
  readonly maxBytes: number
  readonly maxEntries: number
  /** In milliseconds. */
  readonly timeToLive: number
  readonly eviction: "lru" | "fifo"
}

interface Kept {
  readonly resource: string
  readonly entry: Entry
  readonly bytes: number
  /** When it was put here, by both clocks. */
  readonly wall: number
  readonly steady: bigint
}

/** What an entry takes beside its text. */
const overhead = 200

/**
 * Makes a tier in memory.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ eviction, maxBytes, maxEntries, name, timeToLive }: Limits): Tier => {
  // A map has its entries in the order in which they were put: the first is the next to go.
  const kept = new Map<string, Kept>()
  let bytes = 0
  let evictions = 0

  const remove = (text: string, one: Kept) => {
    kept.delete(text)
    bytes -= one.bytes
  }

  const times = Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos])

  const isOver = ({ steady, wall }: Kept, [wallNow, steadyNow]: readonly [number, bigint]) =>
    Math.max(wallNow - wall, Number(steadyNow - steady) / 1e6) >= timeToLive

  return {
    name,
    isImmediate: true,
    get: ({ text }) =>
      Effect.map(times, (now) => {
        const one = kept.get(text)
        if (one === undefined) return Option.none()
        if (isOver(one, now)) {
          remove(text, one)
          evictions += 1
          return Option.none()
        }
        if (eviction === "lru") {
          kept.delete(text)
          kept.set(text, one)
        }
        return Option.some(one.entry)
      }),
    set: ({ resource, text }, entry) =>
      Effect.map(times, ([wall, steady]) => {
        const before = kept.get(text)
        if (before !== undefined) remove(text, before)
        const size = utf8Length(text) + utf8Length(entry.text) + overhead
        if (size > maxBytes) return
        // What is there read need not be there as text.
        const lean = entry.held === undefined ? entry : { ...entry, text: "" }
        kept.set(text, { resource, entry: lean, bytes: size, wall, steady })
        bytes += size
        for (const [oldest, one] of kept) {
          if (bytes <= maxBytes && kept.size <= maxEntries) break
          remove(oldest, one)
          evictions += 1
        }
      }),
    clear: (resource) =>
      Effect.sync(() => {
        for (const [text, one] of kept) if (resource === undefined || one.resource === resource) remove(text, one)
      }),
    evictions: Effect.sync(() => evictions),
    size: Effect.sync(() => Option.some({ entries: kept.size, bytes }))
  }
}
