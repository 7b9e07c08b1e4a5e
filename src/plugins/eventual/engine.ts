/**
 * The counters of a resource, for one process: what adds operations, reads through them, and brings them into documents.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as backoff from "../../internal/backoff.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import * as Analytics from "./analytics.ts"
import type { Field, Kind } from "./field.ts"
import * as Folding from "./folding.ts"
import * as Lanes from "./lanes.ts"

/**
 * What happened to operations.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | { readonly _tag: "Folded"; readonly resource: string; readonly id: string; readonly operations: number }
  | {
      readonly _tag: "Refused"
      readonly resource: string
      readonly id: string
      readonly field: string
      readonly problem: string
    }
  | { readonly _tag: "Failed"; readonly resource: string; readonly id: string; readonly error: string }

/**
 * What a fold did with the operations of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly resource: string
  /** How many came into their documents. */
  readonly operations: number
  readonly documents: number
  /** How many of them were left out, since the document cannot have the value that they lead to. */
  readonly refused: number
  /** How many wait for their document to be there. */
  readonly waiting: number
  /** How many documents could not be written: see `Failed` of the events. Their operations stay. */
  readonly failed: number
}

/**
 * What the counters of a resource are made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly resource: string
  readonly store: ObjectStore["Service"]
  readonly prefix: string
  readonly fields: ReadonlyMap<string, Field>
  readonly documents: Folding.Documents
  readonly delay: number
  readonly interval: number
  readonly concurrency: number
  readonly publish: (event: Event) => Effect.Effect<void>
  /** Told that so many operations wait in a lane that it is time to fold. */
  readonly onFull: () => void
}

/** An operation as it is asked for. */
type Asked = Pick<Lanes.Operation, "kind" | "amount">

/**
 * The counters of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Engine {
  readonly resource: string
  /** Makes an operation durable; it comes into its document later. */
  readonly defer: (field: Field, id: string, operation: Asked) => Effect.Effect<void, StoreError.StoreError>
  /** Makes an operation durable, and brings it and all before it into the document. */
  readonly deferAndFold: (field: Field, id: string, operation: Asked) => Effect.Effect<Made, StoreError.StoreError>
  /** What is in the lanes for a document. */
  readonly pendingOf: (id: string) => Effect.Effect<ReadonlyArray<Folding.Part>, StoreError.StoreError>
  readonly foldOne: (id: string) => Effect.Effect<Folding.Outcome, StoreError.StoreError>
  readonly foldAll: Effect.Effect<Report, StoreError.StoreError>
  /** Whether there is something to fold. 1 LIST. */
  readonly look: Effect.Effect<boolean, StoreError.StoreError>
  readonly discard: (id: string) => Effect.Effect<number, StoreError.StoreError>
  readonly analytics: Analytics.Analytics
  /** A document has come to be: what waits for it need not wait longer. */
  readonly isThere: (id: string) => void
}

/**
 * What became of an operation and of those before it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Made {
  readonly outcome: Folding.Outcome
  /** Why the operation was left out, if it was. */
  readonly problem: string | undefined
}

/** From so many operations in a lane on it is folded at once: a lane is written whole each time. */
const fullFrom = 512

/** Who adds all the time is ahead of who tidies up: what is in its document is left out the next time. */
const isContended = ({ reason }: StoreError.StoreError): boolean =>
  reason._tag === "PreconditionFailed" || reason._tag === "ConditionalRequestConflict"

/** So many folds a lane is left alone at most in which all operations wait for documents that are not there. */
const mostQuiet = 16

const nothing: Folding.Outcome = { _tag: "Folded", operations: 0, refused: [], document: undefined }

const lanesIn = (versions: ReadonlyArray<{ readonly lane: Lanes.Lane }>) => versions.map(({ lane }) => lane)

/**
 * Makes the counters of a resource, which are written until the scope closes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Engine, never, Scope.Scope> {
  const { concurrency, delay, documents, fields, interval, onFull, prefix, publish, resource, store } = options
  const lanes = yield* Lanes.make({
    store,
    prefix,
    gather: delay > 0 ? backoff.pause(delay) : Effect.void,
    merge: (field, kind, first, second) => fields.get(field)?.merge(kind, first, second),
    onWritten: (_, entries) => {
      if (entries >= fullFrom) onFull()
    }
  })
  const analytics = Analytics.make(store, prefix)
  const isKnown = (field: string) => fields.has(field)
  const hasHot = [...fields.values()].some(({ isHot }) => isHot)
  /** Lanes in which all operations wait, and when they are looked at again. */
  const quiet = new Map<string, { readonly etag: string | undefined; readonly until: number; readonly folds: number }>()

  const operationOf = ({ isAnalyzed, name }: Field, id: string, { amount, kind }: Asked, isAlone: boolean) =>
    Effect.map(Clock.currentTimeMillis, (at) => ({ id, field: name, kind, amount, at, isAnalyzed, isAlone }))

  const append = (field: Field, id: string, asked: Asked, isAlone: boolean) =>
    Effect.flatMap(operationOf(field, id, asked, isAlone), (operation) => lanes.append(operation, field.isHot))

  const tell = Effect.fnUntraced(function* ({ id, outcome }: Folding.Folded) {
    if (outcome._tag === "Failed") yield* publish({ _tag: "Failed", resource, id, error: outcome.error.message })
    if (outcome._tag !== "Folded") return
    for (const { field, problem } of outcome.refused) yield* publish({ _tag: "Refused", resource, id, field, problem })
    if (outcome.operations > 0) yield* publish({ _tag: "Folded", resource, id, operations: outcome.operations })
  })

  const fold = Effect.fnUntraced(function* (
    versions: ReadonlyArray<Lanes.Lane>,
    isMeant: (id: string) => boolean,
    isCounted: boolean
  ) {
    const folded = yield* Folding.foldLanes(documents, lanes, versions, { concurrency, isKnown, isMeant, isCounted })
    yield* Effect.forEach(folded, tell, { discard: true })
    return folded
  })

  const readAll = (keys: ReadonlyArray<string>) =>
    Effect.map(
      Effect.forEach(keys, (key) => Effect.map(lanes.read(key), (lane) => ({ key, lane })), { concurrency: 16 }),
      (all) => all.flatMap(({ key, lane }) => (lane === undefined ? [] : [{ key, lane }]))
    )

  /** The lanes that may have operations of a document. */
  const keysFor = Effect.fnUntraced(function* (id: string) {
    const own = lanes.keyOf(id)
    if (!hasHot) return [own]
    const hot = (yield* lanes.list).filter(({ key }) => lanes.isHot(key)).map(({ key }) => key)
    return [own, ...hot]
  })

  const foldOne = Effect.fnUntraced(function* (id: string) {
    const versions = yield* readAll(yield* keysFor(id))
    const [folded] = yield* fold(lanesIn(versions), (one) => one === id, false)
    return folded?.outcome ?? nothing
  })

  const isDue = ({ etag, key }: Lanes.Listed, now: number): boolean => {
    const left = quiet.get(key)
    return left === undefined || left.etag !== etag || left.until <= now
  }

  const foldAll = Effect.gen(function* () {
    const listed = yield* lanes.list
    const versions = yield* readAll(listed.map(({ key }) => key))
    // Before anything leaves a lane.
    yield* Effect.forEach(versions, ({ key, lane }) => analytics.account(key, lane), { concurrency: 16, discard: true })
    const folded = yield* fold(lanesIn(versions), () => true, true)
    yield* Effect.forEach(listed, ({ key }) => Effect.catchIf(lanes.trim(key), isContended, () => Effect.void), {
      concurrency: 16,
      discard: true
    })
    // What is left waits, or has just come.
    const now = yield* Clock.currentTimeMillis
    const waits = new Set(folded.filter(({ outcome }) => outcome._tag === "Waiting").map(({ id }) => id))
    const left = waits.size === 0 ? [] : yield* lanes.list
    for (const { etag, key } of left) {
      const lane = versions.find((one) => one.key === key)?.lane
      if (lane?.entries.some(({ i }) => waits.has(i)) !== true) continue
      const folds = Math.min(mostQuiet, (quiet.get(key)?.folds ?? 1) * 2)
      quiet.set(key, { etag, folds, until: now + folds * interval })
    }
    const sizes = (tag: Folding.Outcome["_tag"]) =>
      folded.reduce((sum, { outcome }) => sum + (outcome._tag === tag ? outcome.operations : 0), 0)
    const refused = folded.reduce(
      (sum, { outcome }) => sum + (outcome._tag === "Folded" ? outcome.refused.length : 0),
      0
    )
    return {
      resource,
      operations: sizes("Folded"),
      documents: folded.filter(({ outcome }) => outcome._tag === "Folded" && outcome.operations > 0).length,
      refused,
      waiting: sizes("Waiting"),
      failed: folded.filter(({ outcome }) => outcome._tag === "Failed").length
    }
  })

  return {
    resource,
    analytics,
    defer: (field, id, operation) => Effect.asVoid(append(field, id, operation, false)),
    deferAndFold: Effect.fnUntraced(function* (field, id, operation) {
      const { lane, number } = yield* append(field, id, operation, true)
      const [folded] = yield* fold([lane], (one) => one === id, false)
      const outcome = folded?.outcome ?? nothing
      const refused = outcome._tag === "Folded" ? outcome.refused : []
      const own = refused.find((one) => one.number === number && one.lane === lane.name)
      return { outcome, problem: own?.problem }
    }),
    pendingOf: Effect.fnUntraced(function* (id) {
      const versions = yield* readAll(yield* keysFor(id))
      return Folding.partsOf(lanesIn(versions), { isKnown, isMeant: (one) => one === id }).get(id) ?? []
    }),
    foldOne,
    foldAll,
    look: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      return (yield* lanes.list).some((one) => isDue(one, now))
    }),
    discard: Effect.fnUntraced(function* (id) {
      const keys = yield* keysFor(id)
      const taken = yield* Effect.forEach(keys, (key) => lanes.discard(key, id), { concurrency: 16 })
      return taken.reduce((sum, one) => sum + one, 0)
    }),
    isThere: (id) => {
      const own = lanes.keyOf(id)
      for (const key of quiet.keys()) if (key === own || lanes.isHot(key)) quiet.delete(key)
    }
  }
})

/**
 * Returns the amount of an operation as it is stored, or what is wrong with it.
 *
 * @category getters
 * @since 0.1.0
 */
export const amountOf = (field: Field, kind: Kind, amount: unknown): Result.Result<Lanes.Operation["amount"], string> =>
  field.isHot && kind === "set"
    ? Result.fail("Expected an operation whose order makes no difference: a hot counter is not set")
    : field.encode(kind, amount)
