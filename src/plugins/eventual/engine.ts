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
import type { ChangeError } from "../../Repository.ts"
import type * as BlobCodec from "../../kernel/BlobCodec.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as Analytics from "./analytics.ts"
import type { Field, Kind } from "./field.ts"
import * as Folding from "./folding.ts"
import * as Lanes from "./lanes.ts"
import * as Past from "./past.ts"

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
  /** For how long operations are kept, in milliseconds. Default: 30 days. */
  readonly retention?: number | undefined
  /** Of the operations that are kept. Default: `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
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
  /** Folds all lanes, each apart from those that are damaged. */
  readonly foldAll: Effect.Effect<{ readonly report: Report; readonly damaged: Damaged }, StoreError.StoreError>
  /** Whether there is something to fold. 1 LIST. */
  readonly look: Effect.Effect<boolean, StoreError.StoreError>
  readonly discard: (id: string) => Effect.Effect<number, StoreError.StoreError>
  readonly analytics: Analytics.Analytics
  /** Makes the value of a field again of its operations. */
  readonly recalculate: (
    field: Field,
    id: string
  ) => Effect.Effect<Folding.Recalculated, StoreError.StoreError | ChangeError | Folding.NotHeld>
  /** The kept operations of a field that are in the document, those of a lane in their order. */
  readonly pastOf: (field: Field, id: string) => Effect.Effect<ReadonlyArray<Lanes.Entry>, StoreError.StoreError>
  /** Removes kept operations that are older than the retention, and gives how many; those of each lane apart from those that are damaged. */
  readonly retain: Effect.Effect<
    { readonly gone: number; readonly damaged: Damaged },
    StoreError.StoreError | ChangeError
  >
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
  /** Whether it may have been left out by another process: so many were since that the document does not tell any more. */
  readonly isUnsure: boolean
}

/**
 * Why some objects could not be read: what has nothing to do with them is done all the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Damaged = ReadonlyArray<StoreError.StoreError>

/** Notes down what is damaged, and goes on without it. */
const apartFrom =
  (damaged: Array<StoreError.StoreError>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Result.Result<A, void>, E, R> =>
    Effect.catch(Effect.map(effect, Result.succeed), (error) => {
      if (!StoreError.isStoreError(error) || error.reason._tag !== "Corrupt") return Effect.fail(error)
      damaged.push(error)
      return Effect.succeed(Result.failVoid)
    })

/** From so many operations in a lane on it is folded at once: a lane is written whole each time. */
const fullFrom = 512

/** Who adds all the time is ahead of who tidies up: what is in its document is left out the next time. */
const isContended = ({ reason }: StoreError.StoreError): boolean =>
  reason._tag === "PreconditionFailed" || reason._tag === "ConditionalRequestConflict"

/** So many folds a lane is left alone at most in which all operations wait for documents that are not there. */
const mostQuiet = 16

const leftOutElsewhere = "another process has found that the document cannot have the value that it leads to"

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
  const { retention = 2_592_000_000 } = options
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
  const past = Past.make(store, prefix, options.compression)
  const isKnown = (field: string) => fields.has(field)
  const isKept = (field: string) => fields.get(field)?.isKept === true
  const hasKept = [...fields.values()].some((field) => field.isKept)
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
    const folded = yield* Folding.foldLanes(documents, lanes, versions, {
      concurrency,
      isKnown,
      isMeant,
      isCounted,
      isKept
    })
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

  /** Keeps what has come into documents, before it leaves its lane: what cannot be kept stays in it. */
  const keep = Effect.fnUntraced(function* (
    versions: ReadonlyArray<{ readonly key: string; readonly lane: Lanes.Lane }>,
    folded: ReadonlyArray<Folding.Folded>,
    damaged: Array<StoreError.StoreError>
  ) {
    const parts = folded.flatMap((one) => (one.outcome._tag === "Folded" ? one.parts : []))
    yield* Effect.forEach(
      versions,
      Effect.fnUntraced(function* ({ key, lane }) {
        const entries = parts
          .flatMap((part) => (part.lane === lane ? part.entries.filter(({ f }) => isKept(f)) : []))
          .toSorted((a, b) => a.s - b.s)
        if (Result.isFailure(yield* apartFrom(damaged)(past.put(key, lane.name, entries)))) return
        lanes.settle(
          lane,
          entries.map(({ s }) => s)
        )
      }),
      { concurrency: 16, discard: true }
    )
  })

  const isDue = ({ etag, key }: Lanes.Listed, now: number): boolean => {
    const left = quiet.get(key)
    return left === undefined || left.etag !== etag || left.until <= now
  }

  const foldAll = Effect.gen(function* () {
    const damaged: Array<StoreError.StoreError> = []
    const read = yield* Effect.forEach(
      yield* lanes.list,
      ({ key }) =>
        apartFrom(damaged)(
          Effect.gen(function* () {
            const lane = yield* lanes.read(key)
            // Before anything leaves a lane.
            if (lane !== undefined) yield* analytics.account(key, lane)
            return { key, lane }
          })
        ),
      { concurrency: 16 }
    )
    const listed = read.flatMap((one) => (Result.isSuccess(one) ? [one.success] : []))
    const versions = listed.flatMap(({ key, lane }) => (lane === undefined ? [] : [{ key, lane }]))
    const folded = yield* fold(lanesIn(versions), () => true, true)
    if (hasKept) yield* keep(versions, folded, damaged)
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
    const refused = folded
      .flatMap(({ outcome }) => (outcome._tag === "Folded" ? outcome.refused : []))
      .reduce((sum, { operations }) => sum + operations, 0)
    const report = {
      resource,
      operations: sizes("Folded"),
      documents: folded.filter(({ outcome }) => outcome._tag === "Folded" && outcome.operations > 0).length,
      refused,
      waiting: sizes("Waiting"),
      failed: folded.filter(({ outcome }) => outcome._tag === "Failed").length
    }
    return { report, damaged }
  })

  const behind = new StoreError.StoreError({
    operation: "get",
    key: `${prefix}lane/`,
    reason: new StoreError.ConditionalRequestConflict({ description: "operations came in again and again" })
  })

  /** The lanes that may have, or have had, operations of a document. */
  const everyKeyFor = Effect.fnUntraced(function* (id: string) {
    const own = lanes.keyOf(id)
    if (!hasHot) return [own]
    const found = [...(yield* lanes.all).map(({ key }) => key), ...(yield* past.keys)]
    return [...new Set([own, ...found.filter((key) => lanes.isHot(key))])]
  })

  /** What is known of the operations of a document: those in lanes first, since what leaves them is in the past by then. */
  const knownOf = Effect.fnUntraced(function* (id: string) {
    const keys = yield* everyKeyFor(id)
    const versions = lanesIn(yield* readAll(keys))
    const put = yield* past.of(keys, id)
    const left = versions.flatMap(({ entries, name: l }) =>
      entries.flatMap((e): ReadonlyArray<Past.Put> => (e.i === id ? [{ l, e }] : []))
    )
    return { versions, puts: Past.inOrder([...put, ...left]) }
  })

  return {
    resource,
    analytics,
    recalculate: Effect.fnUntraced(function* (field, id) {
      for (let attempt = 0; attempt < 8; attempt++) {
        const { puts, versions } = yield* knownOf(id)
        const ends = new Map(versions.map(({ name, next }) => [name, next - 1]))
        // A lane that is gone has no more operations.
        const hasAll = (lane: string, number: number) => number <= (ends.get(lane) ?? Infinity)
        const made = yield* documents.recalculate(id, field, puts, hasAll).pipe(
          Effect.catchIf(
            (error) => error instanceof Folding.Behind,
            () => Effect.succeed(undefined)
          )
        )
        if (made !== undefined) return made
      }
      return yield* behind
    }),
    pastOf: Effect.fnUntraced(function* (field, id) {
      const keys = yield* everyKeyFor(id)
      const put = yield* past.of(keys, id)
      return put.flatMap(({ e }) => (e.f === field.name ? [e] : []))
    }),
    retain: Effect.gen(function* () {
      const damaged: Array<StoreError.StoreError> = []
      if (!hasKept) return { gone: 0, damaged }
      const before = (yield* Clock.currentTimeMillis) - retention
      const span = Math.ceil(retention / 8)
      let gone = 0
      for (const key of yield* past.keys) {
        const retained = past.retain(key, { before, span }, (puts) =>
          Effect.forEach(
            Map.groupBy(Past.inOrder(puts), ({ e: { i } }) => i),
            ([id, of]) => documents.rebase(id, of),
            { concurrency, discard: true }
          )
        )
        const one = yield* apartFrom(damaged)(retained)
        if (Result.isSuccess(one)) gone += one.success
      }
      return { gone, damaged }
    }),
    defer: (field, id, operation) => Effect.asVoid(append(field, id, operation, false)),
    deferAndFold: Effect.fnUntraced(function* (field, id, operation) {
      const { lane, number } = yield* append(field, id, operation, true)
      const [folded] = yield* fold([lane], (one) => one === id, false)
      // Where another process has folded it, and taken it out of the lane, the document tells what became of it.
      const outcome = folded?.outcome ?? (yield* documents.fold(id, []))
      if (outcome._tag !== "Folded") return { outcome, problem: undefined, isUnsure: false }
      const own = outcome.refused.find((one) => one.number === number && one.lane === lane.name)
      if (own !== undefined) return { outcome, problem: own.problem, isUnsure: false }
      const isOut = Folding.isLeftOut(outcome.document, lane.name, number)
      return { outcome, problem: isOut === true ? leftOutElsewhere : undefined, isUnsure: isOut === undefined }
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
      const versions = yield* readAll(keys)
      const own = versions.map(({ key, lane }) => ({ key, lane, entries: lane.entries.filter(({ i }) => i === id) }))
      if (own.every(({ entries }) => entries.length === 0)) return 0
      // What is in the document already is not discarded, but has come in: the document tells of what it is kept, also of fields that this program does not know.
      const isNeeded = yield* Effect.mapError(documents.needsOf(id), () => behind)
      for (const { entries, key, lane } of own) {
        yield* past.put(
          key,
          lane.name,
          entries.filter((entry) => isNeeded(lane.name, entry))
        )
      }
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
