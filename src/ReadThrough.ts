/**
 * Reads below all interceptors, and the writes that end what they have found: where a cache stands.
 *
 * **Details**
 *
 * An interceptor sees a read as its caller does: as a certain user, with filters, by whichever of several ways it comes to the
 * documents. A `ReadThrough` stands below all of that, between the operation and the documents. What it sees depends on nothing
 * but the text of its key and on the documents in its scope; guards decide afterwards, on what it gives. Reads that depend on more (filters
 * that are functions, `onCorrupt`) and those within a transaction do not come by here.
 *
 * What is kept of a result is its stored form: versions with their fields encoded, secrets sealed as they are in the store.
 * Each reader gets values of its own, decoded from that.
 *
 * @see `docs/design/caching.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

// -----------------------------------------------------------------------------
// Reads
// -----------------------------------------------------------------------------

/**
 * The ways to read that a `ReadThrough` sees: `get` is every way to one document by its id; `page` is `list` and `queryPage`; `scan` is a `query`
 * that says `scan: true`.
 *
 * @category models
 * @since 0.1.0
 */
export type Method =
  | "get"
  | "exists"
  | "getByUnique"
  | "getFromPartition"
  | "query"
  | "scan"
  | "page"
  | "listIds"
  | "count"
  | "aggregate"

/**
 * Every `Method`.
 *
 * @category constants
 * @since 0.1.0
 */
export const methods: ReadonlyArray<Method> = [
  "get",
  "exists",
  "getByUnique",
  "getFromPartition",
  "query",
  "scan",
  "page",
  "listIds",
  "count",
  "aggregate"
]

/**
 * The documents that a result depends on: one of them; those of a part of a partition, which is the beginning of the keys of its
 * markers up to a `/`; or all of the resource.
 *
 * @category models
 * @since 0.1.0
 */
export type Extent =
  | { readonly _tag: "Document"; readonly id: string }
  | { readonly _tag: "Partition"; readonly prefix: string }
  | { readonly _tag: "Resource" }

/**
 * The form in which a result can be kept. `Held` is never changed, and nothing of it is ever given out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Form<X, Held> {
  /** `undefined`: not to be kept. */
  readonly hold: (result: X) => Held | undefined
  /** A result of its own for each reader. No request. Fails when what was kept cannot be read any more. */
  readonly show: (held: Held) => Effect.Effect<X, unknown>
  readonly toText: (held: Held) => string
  /** `undefined`: it is no such text. */
  readonly fromText: (text: string) => Held | undefined
}

/**
 * One read: what it depends on, and how its result is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Read<X, Held> {
  readonly resource: string
  readonly method: Method
  /** All that the result depends on beside the documents, in one form: arguments, the definition, what the catalog asks for. */
  readonly key: string
  readonly extent: Extent
  readonly form: Form<X, Held>
}

/**
 * A read that gives several, one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadMany<X, Held> extends Omit<Read<never, never>, "form"> {
  /** The form of each. */
  readonly form: Form<X, Held>
}

// -----------------------------------------------------------------------------
// Writes
// -----------------------------------------------------------------------------

/**
 * What a write has changed of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written {
  readonly ids: ReadonlyArray<string>
  /** The extents of partitions that a document was in before it, or is in now: keys up to each `/`. `undefined`: any may be. */
  readonly prefixes: ReadonlyArray<string> | undefined
}

/**
 * The whole of a resource: any document may have changed.
 *
 * @category constants
 * @since 0.1.0
 */
export const everything = "everything"

/**
 * What stands between reads and documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadThrough {
  /** Gives what it has kept, or what `load` gives. It has no errors of its own. */
  readonly read: <X, Held, E, R>(read: Read<X, Held>, load: Effect.Effect<X, E, R>) => Effect.Effect<X, E, R>
  readonly stream: <X, Held, E, R>(read: ReadMany<X, Held>, load: Stream.Stream<X, E, R>) => Stream.Stream<X, E, R>
  /**
   * A write is committed, or nobody knows whether it was done: nothing is given here any more of what was kept before of its
   * documents, nor what was loaded before and comes late.
   */
  readonly forget: (resource: string, written: Written | typeof everything) => void
  /** Runs after that, before the write is acknowledged, uninterruptibly: to have others know. It cannot fail a write. */
  readonly told: (resource: string) => Effect.Effect<void>
}

// -----------------------------------------------------------------------------
// Registry
// -----------------------------------------------------------------------------

/**
 * Those of a database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  /** Adds one for some resources, also for those that are opened later, until the scope closes. The first is the outermost. */
  readonly add: (select: (resource: string) => boolean, one: ReadThrough) => Effect.Effect<void, never, Scope.Scope>
  /** Those of a resource, one within the other. `undefined` when there is none now. */
  readonly of: (resource: string) => ReadThrough | undefined
}

/**
 * Makes the registry of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRegistry = (): Registry => {
  let all: ReadonlyArray<{ readonly select: (resource: string) => boolean; readonly one: ReadThrough }> = []
  let byResource = new Map<string, ReadThrough | undefined>()
  const change = (next: typeof all) =>
    Effect.sync(() => {
      all = next
      byResource = new Map()
    })
  return {
    add: (select, one) => {
      const added = { select, one }
      return Effect.acquireRelease(
        Effect.suspend(() => change([...all, added])),
        () => Effect.suspend(() => change(all.filter((other) => other !== added)))
      )
    },
    of: (resource) => {
      if (all.length === 0) return undefined
      if (byResource.has(resource)) return byResource.get(resource)
      const mine = all.filter(({ select }) => select(resource)).map(({ one }) => one)
      const found = mine.length === 0 ? undefined : mine.reduce(around)
      byResource.set(resource, found)
      return found
    }
  }
}

/** One around another. */
const around = (outer: ReadThrough, inner: ReadThrough): ReadThrough => ({
  read: (read, load) => outer.read(read, inner.read(read, load)),
  stream: (read, load) => outer.stream(read, inner.stream(read, load)),
  forget: (resource, written) => {
    // What is nearer to the documents forgets first.
    inner.forget(resource, written)
    outer.forget(resource, written)
  },
  told: (resource) => Effect.andThen(inner.told(resource), outer.told(resource))
})
