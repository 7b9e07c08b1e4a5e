/** How an index that is made of the journal is asked: by the newest manifest that is known, and what is newer than that. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Database } from "../../../Database.ts"
import { millisecondsOf } from "../../../internal/duration.ts"
import type * as AppendLog from "../../../kernel/AppendLog.ts"
import type * as Fenced from "../../../kernel/Fenced.ts"
import { readBody } from "../../../kernel/internal/journalEntry.ts"
import type * as PluginRegistry from "../../../PluginRegistry.ts"
import * as Guard from "../../../Guard.ts"
import type * as Query from "../../../Query.ts"
import type { ListError } from "../../../Repository.ts"
import { getOption } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"
import type { Keeping } from "../keeping.ts"
import type { Indexer, Source } from "./indexer.ts"
import { type AnyPart, type Form, type Manifest, nothing } from "./manifest.ts"

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

export interface Settings {
  readonly firstMillis: number
  readonly longestMillis: number
  readonly leaseMillis: number
  readonly maxAgeMillis: number
  readonly cacheBytes: number
}

/** What is wrong with an option. */
export interface Problem {
  readonly field: string
  readonly problem: string
}

const millisOf = (value: Duration.Input | undefined, otherwise: number) =>
  value === undefined ? otherwise : millisecondsOf(value)

/** What is wrong with the options, else their values. */
export const settingsOf = (options: Keeping): Settings | Problem => {
  const firstMillis = millisOf(options.firstPause, 1_000)
  const longestMillis = millisOf(options.longestPause, 60_000)
  const maxAgeMillis = millisOf(options.maxAge, 1_000)
  const leaseMillis = millisOf(options.lease, 30_000)
  const { cacheBytes = 64 * 1024 * 1024 } = options
  for (const [field, millis] of [
    ["firstPause", firstMillis],
    ["longestPause", longestMillis]
  ] as const) {
    if (!(millis >= 1 && millis < Infinity)) return { field, problem: "Expected a duration from 1 ms" }
  }
  if (!(maxAgeMillis >= 0)) return { field: "maxAge", problem: "Expected a duration" }
  if (!(leaseMillis >= 100 && leaseMillis <= 86_400_000)) {
    return { field: "lease", problem: "Expected a duration from 100 ms to 1 day" }
  }
  if (!(Number.isSafeInteger(cacheBytes) && cacheBytes >= 0)) {
    return { field: "cacheBytes", problem: "Expected a whole number from 0" }
  }
  return { firstMillis, longestMillis, leaseMillis, maxAgeMillis, cacheBytes }
}

// -----------------------------------------------------------------------------
// Documents
// -----------------------------------------------------------------------------

export type Values = Readonly<Record<string, unknown>>

/** What an index needs of a repository. */
export interface AnyRepository {
  readonly query: (request: {
    readonly where: Values
    readonly predicate?: Query.Predicate | undefined
    readonly onCorrupt: (found: Query.Corrupt) => Effect.Effect<void>
  }) => Stream.Stream<Values, ListError>
  readonly list: (request: {
    readonly limit: number
    readonly cursor?: string | undefined
    readonly onCorrupt: (found: Query.Corrupt) => Effect.Effect<void>
  }) => Effect.Effect<Query.Page<Values>, ListError>
  readonly listIds: (request: Query.Within) => Stream.Stream<string, ListError>
}

/** How many documents are read at once. */
export const step = 100

/** How documents are read for an index, past caches. */
export const documentsOf = (
  repository: AnyRepository,
  primaryKey: string,
  onCorrupt: (found: Query.Corrupt) => Effect.Effect<void>
) => {
  const idOf = (document: Values): string => String(document[primaryKey])

  /** As the one who asks may see them. */
  const read = (
    ids: ReadonlyArray<string>,
    { predicate, where }: { readonly predicate?: Query.Predicate | undefined; readonly where?: Values | undefined } = {}
  ) => {
    const conditions = { [primaryKey]: { in: ids }, ...(where === undefined ? {} : { $and: [where] }) }
    return Stream.runCollect(repository.query({ where: conditions, predicate, onCorrupt }))
  }

  /** What an index takes of them; of one that gives nothing, nothing. */
  const source = <Item>(
    itemOf: (document: Values) => Item | undefined,
    weightOf: (item: Item) => number
  ): Source<Item, ListError> => {
    const items = (documents: ReadonlyArray<Values>) =>
      new Map(
        documents.flatMap((document) => {
          const item = itemOf(document)
          return item === undefined ? [] : [[idOf(document), item] as const]
        })
      )
    return {
      read: (ids) => Effect.map(Guard.trusted(read(ids)), items),
      page: (cursor) =>
        Effect.map(Guard.trusted(repository.list({ limit: step, cursor, onCorrupt })), (page) => ({
          found: items(page.items),
          cursor: page.cursor
        })),
      isWrongCursor: ({ _tag }) => _tag === "InvalidInput",
      weightOf
    }
  }

  return { idOf, read, source }
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

export interface Options<Part extends AnyPart, Incomplete> {
  readonly resource: string
  readonly database: Database["Service"]
  readonly form: Form<Part>
  readonly manifest: Fenced.Fenced<Manifest<Part>>
  readonly indexer: Indexer<ListError>
  readonly maxAgeMillis: number
  /** The error of an index that does not know enough. */
  readonly behind: (description: string) => Incomplete
}

const mostRetries = 10
/** How many documents that an index does not know are looked at. */
const mostNewer = 10_000

const isDamage = (reason: StoreError.Reason) =>
  reason._tag === "Corrupt" || reason._tag === "NoSuchKey" || reason._tag === "InvalidRange"

/** Whether the store says of an object of an index that it is not what it was. */
export const isDamaged = ({ key, reason }: StoreError.StoreError, prefix: string): boolean =>
  (key ?? prefix).startsWith(prefix) && isDamage(reason)

/** How an indexer is. */
export const healthOf = <E>(indexer: Indexer<E>): Effect.Effect<PluginRegistry.Health> =>
  Effect.sync(() => {
    const { failing, isStopped } = indexer.state()
    if (failing === undefined) return { level: "up" }
    return isStopped
      ? { level: "down", detail: `the index cannot go on; where it is damaged run its rebuild. ${failing}` }
      : { level: "degraded", detail: `the index waits: ${failing}` }
  })

export const make = <Part extends AnyPart, Incomplete>({
  behind,
  database: { journal, store },
  form,
  indexer,
  manifest,
  maxAgeMillis,
  resource
}: Options<Part, Incomplete>) => {
  const clock = Effect.clockWith((clock) => clock.currentTimeMillis)
  let known: { readonly at: number; readonly manifest: Manifest<Part> } | undefined

  /** The manifest, as old as it may be. 1 GET, or none. */
  const current = Effect.fnUntraced(function* (isFresh: boolean) {
    const now = yield* clock
    if (!isFresh && known !== undefined && now - known.at < maxAgeMillis && now >= known.at) return known.manifest
    const found = Option.getOrElse(yield* manifest.read, (): Manifest<Part> => nothing)
    known = { at: now, manifest: found }
    return found
  })

  /** Does something with what answers; anew where objects are gone since they were read of. */
  const withLive = <A, E>(
    use: (part: Part) => Effect.Effect<A, E | StoreError.StoreError>
  ): Effect.Effect<A, E | StoreError.StoreError | Incomplete> =>
    Effect.gen(function* () {
      for (let tries = 0; ; tries++) {
        const { building, live } = yield* current(tries > 0)
        if (live === undefined) {
          const done = building === undefined ? "" : `; ${building.documents} documents are in it so far`
          // It may have come since.
          if (tries === 0) continue
          return yield* Effect.fail(behind(`it is not built yet${done}`))
        }
        const result = yield* Effect.result(use(live))
        if (result._tag === "Success") return result.success
        const { failure } = result
        if (!StoreError.isStoreError(failure) || failure.reason._tag !== "NoSuchKey" || tries >= mostRetries) {
          return yield* Effect.fail(failure)
        }
        const { key } = failure
        const names = (part: Part | undefined) =>
          part !== undefined && key !== undefined && form.keysOf(part).includes(key)
        if (!names(live) || names((yield* current(true)).live)) return yield* Effect.fail(failure)
      }
    })

  /** The ids of documents that were written since a part knows, and up to where that is. */
  const newerThan = Effect.fnUntraced(function* (part: Part) {
    const ids = new Set<string>()
    const add = (id: string) => (ids.add(id).size > mostNewer ? Effect.fail(tooFar) : Effect.void)
    const tooFar = behind(`more than ${mostNewer} documents were written since it knows`)
    // What leaves the pending set meanwhile is in the journal, which is read after it.
    yield* Stream.runForEach(
      journal.pending,
      Effect.fnUntraced(function* ({ document, key }) {
        if (document !== undefined) return document.resource === resource ? yield* add(document.id) : undefined
        const found = yield* getOption(store, key)
        if (Option.isNone(found)) return
        const entry = yield* readBody(key, found.value.body)
        if (entry.resource === resource && entry.id !== undefined) yield* add(entry.id)
      })
    )
    const { next } = yield* journal.status
    if (part.position < next) {
      yield* Stream.runForEach(journal.read({ from: part.position, to: next }), ({ value }) =>
        value.resource === resource ? add(value.id) : Effect.void
      )
    }
    return { ids, position: Math.max(next, part.position) }
  })

  /** Waits until what answers is as it has to be. */
  const until = (isDone: (live: Part, building: Part | undefined) => boolean) =>
    Effect.gen(function* () {
      for (let pause = 100; ; pause = Math.min(10_000, pause * 2)) {
        const { building, live } = yield* current(true)
        if (live !== undefined && isDone(live, building)) return
        yield* Effect.sleep(pause)
      }
    })

  /** Brings what the journal has into the index. Whoever has the lease does it, here or elsewhere. */
  const updated = Effect.gen(function* () {
    const { next } = yield* journal.status
    const isElsewhere = until(
      ({ position }, building) => position >= next && building === undefined && !indexer.state().isActive
    )
    yield* Effect.raceFirst(indexer.update, Effect.andThen(Effect.sleep("1 second"), isElsewhere))
    // Who waited for it asks by it.
    known = undefined
  })

  /** Waits until what the journal has is in the index. */
  const caughtUp = Effect.flatMap(journal.status, ({ next }) => until(({ position }) => position >= next))

  /** Makes all of it anew, and waits until that answers. */
  const rebuilt = Effect.gen(function* () {
    const build = yield* indexer.rebuild
    const isBuilt = until((live) => live.build === build)
    yield* Effect.raceFirst(Effect.andThen(updated, isBuilt), isBuilt)
  })

  return { caughtUp, current, newerThan, rebuilt, updated, withLive }
}

/** What the requests of an index fail with beside errors of its own. */
export type Inner = StoreError.StoreError | AppendLog.Trimmed
