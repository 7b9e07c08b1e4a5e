/**
 * What is tidied up in a queue: messages and ids of its object are put into parts, many small parts into one, and parts that nobody names
 * are collected.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../../crypto/Id.ts"
import * as partsOf from "../../kernel/internal/parts.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import {
  collectEvery,
  inParts,
  mergedIdParts,
  mergedParts,
  mostIdParts,
  mostIds,
  mostInline,
  mostInlineBytes,
  mostMergedIds,
  mostParts,
  sizeOf
} from "./bounds.ts"
import type { Engine, Failure, World } from "./models.ts"
import type { Parts } from "./parts.ts"
import * as State from "./state.ts"

/**
 * What tidies up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tidying {
  /** What is to be tidied up in a state, if anything. */
  readonly chore: (state: State.State) => Effect.Effect<unknown, Failure> | undefined
  /** Removes parts that nobody names, except since the collection before this one. Gives their number. */
  readonly collect: Effect.Effect<number, StoreError.StoreError>
  /** The same without beginning a collection anew. */
  readonly collectBelowFloor: Effect.Effect<number, StoreError.StoreError>
}

/**
 * Creates what tidies up. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Pick<Engine, "change" | "payloadOf"> & {
    readonly parts: Parts
    readonly readState: Engine["read"]
    readonly timeNow: Effect.Effect<number>
    /** How long ids are remembered, in milliseconds. */
    readonly memory: number
  }
): Tidying => {
  const { change, memory, parts, payloadOf, readState, timeNow } = options
  const { checkAge, keep, reader, unwritable } = parts

  const isSame = (a: State.Message, b: State.Message | undefined): boolean =>
    b !== undefined && a.a === b.a && a.d === b.d && a.e === b.e

  /** Puts messages of a shelf together in one part: those of the object itself, or those of many small parts. */
  const gather = Effect.fnUntraced(function* (which: "ready" | "dead", state: State.State, isFromParts: boolean) {
    const shelf = state[which]
    const draft = State.draft(state)
    const small = isFromParts
      ? shelf.parts.toSorted((a, b) => a.k - a.h - a.t.length - (b.k - b.h - b.t.length)).slice(0, mergedParts)
      : []
    const source = isFromParts
      ? { in: new Map<number, State.Message>(), parts: new Map(small.map((part) => [part.n, part])) }
      : { in: draft[which].in, parts: new Map<number, State.Part>() }
    const all = yield* State.messagesOn(source, reader)
    const [messages = []] = inParts(all, (message) => sizeOf(message) + (message.x === undefined ? 1000 : 0))
    const world: World = { now: 0, reader }
    const whole: Array<State.Message> = []
    for (const { r: _, ...message } of messages) {
      const from = messages.find(({ s }) => s === message.s)!
      whole.push({ ...message, x: yield* payloadOf(draft, from, world) })
    }
    const bytes = yield* Effect.mapError(Effect.fromResult(State.encodePart(yield* Id.writeId, whole)), unwritable)
    const name = yield* parts.put(state.generation, bytes)
    const isNamed = yield* change(
      Effect.fnUntraced(function* (now: State.Draft, { reader }: World) {
        if (Result.isFailure(yield* Effect.result(checkAge(now, name)))) return false
        const there = yield* State.messagesOn(
          isFromParts
            ? {
                in: new Map(),
                parts: new Map(small.flatMap(({ n }) => [...now[which].parts].filter(([m]) => m === n)))
              }
            : { in: now[which].in, parts: new Map() },
          reader
        )
        const byNumber = new Map(there.map((message) => [message.s, message]))
        const present = messages.flatMap((message) => {
          const same = byNumber.get(message.s)
          return same !== undefined && isSame(message, same) ? [same] : []
        })
        if (present.length * 2 < messages.length) return false
        const kept = new Set(present.map(({ s }) => s))
        const taken = messages.flatMap(({ s }, index) => (kept.has(s) ? [] : [index]))
        yield* State.takeAll(now, now[which], present, reader)
        keep(name, whole, bytes.length)
        State.addPart(now, now[which], { name, messages: whole, base: 0, taken })
        return true
      })
    )
    if (isNamed) return
    parts.forget([name])
    yield* parts.remove([name])
  })

  const putIds = Effect.fnUntraced(function* (generation: number, ids: ReadonlyArray<State.Remembered>) {
    const encoded = Effect.fromResult(State.encodeIds(yield* Id.writeId, ids))
    return yield* parts.put(generation, yield* Effect.mapError(encoded, unwritable))
  })

  /** Puts the ids of the object itself into a part; those that are not to be remembered are forgotten. */
  const flushIds = Effect.fnUntraced(function* (state: State.State) {
    const now = yield* timeNow
    const draft = State.draft(state)
    if (Number.isFinite(memory)) State.forget(draft, now - memory)
    const ids = [...draft.ids.values()]
    if (ids.length <= mostIds / 2) {
      return yield* change((there, world) => Effect.sync(() => State.forget(there, world.now - memory)))
    }
    const name = yield* putIds(state.generation, ids)
    const isNamed = yield* change(
      Effect.fnUntraced(function* (there: State.Draft, world: World) {
        if (Result.isFailure(yield* Effect.result(checkAge(there, name)))) return false
        if (Number.isFinite(memory)) State.forget(there, world.now - memory)
        for (const [digest, s, t] of ids) {
          const same = there.ids.get(digest)
          if (same !== undefined && same[1] === s && same[2] === t) there.ids.delete(digest)
        }
        there.idParts = [...there.idParts, idPartOf(name, ids)]
        there.hasChanged = true
        return true
      })
    )
    if (!isNamed) yield* parts.remove([name])
  })

  const idPartOf = (name: string, ids: ReadonlyArray<State.Remembered>): State.IdPart => ({
    p: name,
    k: ids.length,
    s: ids.reduce((most, [, s]) => Math.max(most, s), 0),
    t: ids.reduce((most, [, , t]) => Math.max(most, t), 0)
  })

  const mergeIds = Effect.fnUntraced(function* (state: State.State) {
    const small = state.ids.parts.filter(({ k }) => k <= mostMergedIds).slice(0, mergedIdParts)
    if (small.length < 2) return
    const merged = new Map<string, State.Remembered>()
    for (const part of small) {
      for (const id of (yield* reader.openIds(part)).values()) {
        if (id[2] >= (merged.get(id[0])?.[2] ?? -Infinity)) merged.set(id[0], id)
      }
    }
    const ids = [...merged.values()]
    const name = yield* putIds(state.generation, ids)
    const gone = new Set(small.map(({ p }) => p))
    const isNamed = yield* change(
      Effect.fnUntraced(function* (there: State.Draft) {
        if (Result.isFailure(yield* Effect.result(checkAge(there, name)))) return false
        const rest = there.idParts.filter(({ p }) => !gone.has(p))
        if (rest.length + small.length !== there.idParts.length) return false
        there.idParts = [idPartOf(name, ids), ...rest]
        there.hasChanged = true
        return true
      })
    )
    if (!isNamed) yield* parts.remove([name])
  })

  const collectBelowFloor = Effect.gen(function* () {
    const state = yield* readState
    return yield* parts.collect(state.floor, State.partNames(state))
  })

  const collect = Effect.gen(function* () {
    yield* change((draft) =>
      Effect.sync(() => {
        const { floor, generation } = partsOf.nextGenerations(draft)
        draft.floor = floor
        draft.generation = generation
        draft.hasChanged = true
      })
    )
    return yield* collectBelowFloor
  })

  let collectedAt = 0

  /** What is to be tidied up in a state, if anything. */
  const chore = (state: State.State): Effect.Effect<unknown, Failure> | undefined => {
    const isFull = (shelf: State.State["ready"]) =>
      shelf.in.length > mostInline || shelf.in.reduce((sum, one) => sum + sizeOf(one), 0) > mostInlineBytes
    const isScattered = (shelf: State.State["ready"]) => shelf.parts.length > mostParts
    for (const which of ["ready", "dead"] as const) {
      if (isFull(state[which])) return gather(which, state, false)
      if (isScattered(state[which])) return gather(which, state, true)
    }
    if (state.ids.in.length > mostIds) return flushIds(state)
    if (state.ids.parts.length > mostIdParts) return mergeIds(state)
    if (collectedAt === 0) collectedAt = state.n
    if (state.n - collectedAt < collectEvery) return undefined
    collectedAt = state.n
    return collect
  }

  return { chore, collect, collectBelowFloor }
}
