/**
 * A key-value store of a plugin, of its own or for one resource: values of a schema, with an expiry if one wants, changed
 * by compare-and-set where that is asked for.
 *
 * ```ts
 * import * as PluginStore from "effect-s3db/kernel/PluginStore"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const store = PluginStore.make(yield* ObjectStore, { plugin: "greeter", schema: Schema.String })
 *   yield* store.set(["names", "a/b"], "Ada", { ttl: "1 hour" })
 *   return yield* store.get(["names", "a/b"])
 * })
 * ```
 *
 * **Details**
 *
 * A key is a list of segments, each escaped: `plugin=S/names/a%2Fb`, or `resource=R/plugin=S/names/a%2Fb`. The body is JSON: `v`,
 * the version of this format; `d`, the value, its expiry beside it; `w`, the ids of the last writes, so that every version is
 * another one, and an answer that was lost is made up for.
 *
 * Expiry is judged by the clock of whoever reads, or by `now` of the options. An expired value is as if it were not there; `sweep` removes it. What is
 * removed on a condition leaves a mark of about 80 bytes, which `sweep` removes where the store deletes on condition.
 *
 * @see `docs/design/logs.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import * as JsonCodec from "../schema/internal/jsonCodec.ts"
import { deleteAll, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"
import * as expiring from "./internal/expiring.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A key that cannot be one: without segments, with an empty one, or with text that is no valid Unicode.
 *
 * @remedy Choose another key.
 * @category errors
 * @since 0.1.0
 */
export class InvalidKey extends ExpectedError<InvalidKey>("effect-s3db/kernel/PluginStore/InvalidKey")("InvalidKey", {
  description: Schema.String
}) {}

/**
 * A value that is to be counted up and is no number, or a sum that is no finite number. Nothing was written.
 *
 * @remedy Count under another key, or replace the value by a number.
 * @category errors
 * @since 0.1.0
 */
export class NotANumber extends ExpectedError<NotANumber>("effect-s3db/kernel/PluginStore/NotANumber")("NotANumber", {
  key: Schema.String
}) {
  override get message(): string {
    return `what is at ${this.key} cannot be counted up: it is no number, or would be too large`
  }
}

/**
 * What any member can fail with: `InvalidKey`, or `StoreError` with what the store says. Its reason is `InvalidArgument` for
 * a value that does not fit the schema, and `Corrupt` for one that cannot be read.
 *
 * @category errors
 * @since 0.1.0
 */
export type Failure = InvalidKey | StoreError.StoreError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Whose store it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  /** The name of the plugin, or of its instance. */
  readonly plugin: string
  /** The resource that the values are about. Default: none; what the plugin has of its own. */
  readonly resource?: string | undefined
  readonly schema: Schema.Codec<A, I>
  /**
   * The time that expiry is judged by, in milliseconds. It is asked for where there is an expiry. Default: the clock of this machine;
   * `StoreClock.kept` is that of the store, the same for all.
   */
  readonly now?: Effect.Effect<number, StoreError.StoreError> | undefined
}

/**
 * The segments of a key; a text is one segment.
 *
 * @category models
 * @since 0.1.0
 */
export type Key = string | ReadonlyArray<string>

/**
 * How long a value is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface SetOptions {
  /** From now on. Default: for ever. */
  readonly ttl?: Duration.Input | undefined
}

/**
 * A value and its version, which is another after each write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Versioned<out A> {
  readonly value: A
  /** Opaque. */
  readonly version: string
  /** In milliseconds since the epoch. */
  readonly expiresAt: number | undefined
}

/**
 * A value and its key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<out A> extends Versioned<A> {
  readonly key: ReadonlyArray<string>
}

/**
 * A key-value store of a plugin.
 *
 * @category models
 * @since 0.1.0
 */
export interface PluginStore<A> {
  /** What all keys begin with. */
  readonly prefix: string
  /** 1 GET. */
  readonly get: (key: Key) => Effect.Effect<Option.Option<A>, Failure>
  /** With the version for `setIfVersion` and `removeIfVersion`. 1 GET. */
  readonly getVersion: (key: Key) => Effect.Effect<Option.Option<Versioned<A>>, Failure>
  /** 1 GET. */
  readonly has: (key: Key) => Effect.Effect<boolean, Failure>
  /** Writes a value, whatever is there. 1 PUT. */
  readonly set: (key: Key, value: A, options?: SetOptions) => Effect.Effect<void, Failure>
  /** Writes a value where none is, and tells whether it has. 1 PUT; where there is something 1 GET more, and 1 PUT if that has expired. */
  readonly setIfAbsent: (key: Key, value: A, options?: SetOptions) => Effect.Effect<boolean, Failure>
  /** Writes a value in the place of a version, and gives the new version; `None` when another is there, or it has expired. 1 PUT; 1 GET more when refused. */
  readonly setIfVersion: (
    key: Key,
    value: A,
    version: string,
    options?: SetOptions
  ) => Effect.Effect<Option.Option<string>, Failure>
  /** Removes what is there. 1 DELETE. */
  readonly remove: (key: Key) => Effect.Effect<void, Failure>
  /** Removes a version, and tells whether it was there. It leaves a mark. 1 PUT; 1 GET more when refused. */
  readonly removeIfVersion: (key: Key, version: string) => Effect.Effect<boolean, Failure>
  /**
   * Adds to a number, 0 where none is, and gives the sum; by default 1. Once, also when an answer is lost. With `ttl` it is
   * there so long from now on; without, its expiry stays. 1 GET and 1 PUT, and again when another was first.
   */
  readonly increment: (key: Key, by?: number, options?: SetOptions) => Effect.Effect<number, NotANumber | Failure>
  /** Prolongs what has an expiry, and tells whether there is such. 1 GET and 1 PUT. */
  readonly touch: (key: Key, by: Duration.Input) => Effect.Effect<boolean, Failure>
  /** How long a value is there yet, `Duration.infinity` without an expiry; `None` where none is. 1 GET. */
  readonly ttl: (key: Key) => Effect.Effect<Option.Option<Duration.Duration>, Failure>
  /** As `get`, an outcome for each key, in their order. */
  readonly getMany: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<Result.Result<Option.Option<A>, Failure>>>
  /** As `set`, an outcome for each value, in their order. */
  readonly setMany: (
    items: ReadonlyArray<{ readonly key: Key; readonly value: A } & SetOptions>
  ) => Effect.Effect<ReadonlyArray<Result.Result<void, Failure>>>
  /** As `remove`, an outcome for each key, in their order. */
  readonly removeMany: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<Result.Result<void, Failure>>>
  /** The values below some segments, by default all, in the order of the store. 1 LIST for each 1,000 and 1 GET for each. */
  readonly entries: (below?: Key) => Stream.Stream<Entry<A>, Failure>
  /**
   * Removes what has expired and the marks of what was removed, never a value that was written meanwhile, and gives their number.
   * 1 LIST for each 1,000, 1 GET for each value and 1 request for each that goes. A store that does not delete on condition
   * keeps the marks, and gets one for each value that has expired.
   */
  readonly sweep: Effect.Effect<number, StoreError.StoreError>
  /** Removes everything of this plugin and resource, or below some segments, and gives the number of objects. 1 LIST and 1 request for each 1,000. */
  readonly removeAll: (below?: Key) => Effect.Effect<number, Failure>
}

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/** Clients of HTTP take `.` and `..` for steps in a path. */
const escape = (segment: string): string =>
  /^\.{1,2}$/.test(segment) ? segment.replaceAll(".", "%2E") : percentEncode(segment)

const unescape = (text: string): string | undefined =>
  /^(%2E){1,2}$/.test(text) ? text.replaceAll("%2E", ".") : percentDecode(text)

/**
 * Returns what all keys of a plugin, or of a plugin for a resource, begin with. Throws a `URIError` for a name that is no
 * valid Unicode.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (plugin: string, resource?: string): string =>
  `${resource === undefined ? "" : `resource=${percentEncode(resource)}/`}plugin=${percentEncode(plugin)}/`

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates the store of a plugin on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(store: ObjectStore["Service"], options: Options<A, I>): PluginStore<A> => {
  const prefix = keyPrefix(options.plugin, options.resource)
  const now: Effect.Effect<number, StoreError.StoreError> = options.now ?? Clock.currentTimeMillis
  // The value as JSON: a counter is a number, whatever the schema.
  type State = expiring.State
  type Version = CasCell.Version<State>
  const format = expiring.format("a value of a plugin")
  const live = (state: State | undefined) => expiring.live(state, now)
  const { decode: decodeValue, encode: encodeValue } = JsonCodec.make(options.schema)
  const concurrency = 16

  const failed = (operation: "get" | "put", key: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })

  const pathOf = Effect.fnUntraced(function* (key: Key): Effect.fn.Return<string, InvalidKey> {
    const segments = typeof key === "string" ? [key] : key
    if (segments.length === 0) return yield* new InvalidKey({ description: "a key has at least one segment" })
    const wrong = segments.findIndex((segment) => segment === "" || !segment.isWellFormed())
    if (wrong === -1) return segments.map(escape).join("/")
    return yield* new InvalidKey({ description: `segment ${wrong + 1} of the key is empty or no valid Unicode` })
  })

  const cellAt = (key: string): CasCell.CasCell<State> => CasCell.make(store, key, format)
  const cellOf = (key: Key) => Effect.map(pathOf(key), (path) => cellAt(prefix + path))

  const expiryOf = Effect.fnUntraced(function* (key: string, ttl: Duration.Input | undefined) {
    if (ttl === undefined) return {}
    const millis = Option.map(Duration.fromInput(ttl), Duration.toMillis)
    if (Option.isNone(millis) || !(millis.value > 0)) {
      const reason = new StoreError.InvalidArgument({ description: "a ttl is a time above 0", argument: "ttl" })
      return yield* failed("put", key, reason)
    }
    return Number.isFinite(millis.value) ? { expiresAt: (yield* now) + millis.value } : {}
  })

  const stateOf = Effect.fnUntraced(function* (key: string, value: A, { ttl }: SetOptions = {}) {
    const encoded = yield* Effect.mapError(encodeValue(value), () =>
      failed(
        "put",
        key,
        new StoreError.InvalidArgument({ description: "the value does not fit the schema", argument: "body" })
      )
    )
    return { value: encoded, ...(yield* expiryOf(key, ttl)) } as State
  })

  const decoded = (key: string, value: Schema.Json) =>
    Effect.mapError(decodeValue(value), () =>
      failed("get", key, new StoreError.Corrupt({ description: "the value does not fit the schema" }))
    )

  // ---------------------------------------------------------------------------
  // Versions
  // ---------------------------------------------------------------------------

  /** The write that made it, its expiry and its ETag: what a later write on its condition has to know. */
  const versionOf = ({ etag, value, writes }: Version): string => `${writes[0]}/${value?.expiresAt ?? ""}/${etag}`

  /** The ETag of a version that was replaced before it was known: that of no object. */
  const replaced = "replaced"

  const parseVersion = (version: string): Version | undefined => {
    const match = /^([^/]+)\/([^/]*)\/(.+)$/s.exec(version)
    if (match === null) return undefined
    const expiresAt = match[2] === "" ? {} : { expiresAt: Number(match[2]) }
    return { etag: match[3]!, writes: [match[1]!], value: { value: null, ...expiresAt } }
  }

  const versioned = Effect.fnUntraced(function* (cell: CasCell.CasCell<State>) {
    const found = yield* cell.read
    const state = yield* live(found.value)
    if (state === undefined) return Option.none<Versioned<A>>()
    const value = yield* decoded(cell.key, state.value)
    return Option.some<Versioned<A>>({ value, version: versionOf(found), expiresAt: state.expiresAt })
  })

  /** Puts a state in the place of a version, once; `None` when another is there. */
  const replace = Effect.fnUntraced(function* (cell: CasCell.CasCell<State>, version: string, state: State) {
    const before = parseVersion(version)
    if (before === undefined || (yield* live(before.value)) === undefined) return Option.none<string>()
    const outcome = yield* cell.attempt(() => Effect.succeed(state), before)
    if (CasCell.isLost(outcome)) return Option.none<string>()
    // What others have made of it is not what this has written.
    return Option.some(versionOf(outcome.isLater === true ? { ...outcome, etag: replaced } : outcome))
  })

  // ---------------------------------------------------------------------------
  // Members
  // ---------------------------------------------------------------------------

  const getVersion = Effect.fn("PluginStore.getVersion")(function* (key: Key) {
    return yield* versioned(yield* cellOf(key))
  })

  const get = (key: Key) =>
    Effect.map(
      getVersion(key),
      Option.map(({ value }) => value)
    )

  const set = Effect.fn("PluginStore.set")(function* (key: Key, value: A, setting?: SetOptions) {
    const { key: at } = yield* cellOf(key)
    const state = yield* stateOf(at, value, setting)
    const body = yield* Effect.mapError(format.encode(state, [yield* Id.writeId]), (reason) =>
      failed("put", at, reason)
    )
    yield* store.put({ key: at, body, contentType: "application/json" })
  })

  const setIfAbsent = Effect.fn("PluginStore.setIfAbsent")(function* (key: Key, value: A, setting?: SetOptions) {
    const cell = yield* cellOf(key)
    const state = yield* stateOf(cell.key, value, setting)
    let written = false
    yield* cell.modify(
      Effect.fnUntraced(function* (found) {
        written = (yield* live(found)) === undefined
        return written ? state : found
      }),
      CasCell.absent
    )
    return written
  })

  const remove = Effect.fn("PluginStore.remove")(function* (key: Key) {
    const { key: at } = yield* cellOf(key)
    yield* store.delete(at)
  })

  const increment = Effect.fn("PluginStore.increment")(function* (key: Key, by = 1, setting: SetOptions = {}) {
    const cell = yield* cellOf(key)
    const expiry = yield* expiryOf(cell.key, setting.ttl)
    let sum = 0
    yield* cell.modify(
      Effect.fnUntraced(function* (found) {
        const before: State = (yield* live(found)) ?? { value: 0 }
        sum = typeof before.value === "number" ? before.value + by : Number.NaN
        if (!Number.isFinite(sum)) return yield* new NotANumber({ key: cell.key })
        return { ...before, value: sum, ...expiry }
      })
    )
    return sum
  })

  const touch = Effect.fn("PluginStore.touch")(function* (key: Key, by: Duration.Input) {
    const cell = yield* cellOf(key)
    const millis = Duration.toMillis(Duration.fromInputUnsafe(by))
    let touched = false
    yield* cell.modify(
      Effect.fnUntraced(function* (found) {
        const state = yield* live(found)
        touched = state?.expiresAt !== undefined
        return touched ? { ...state, expiresAt: state!.expiresAt! + millis } : found
      })
    )
    return touched
  })

  const ttl = Effect.fn("PluginStore.ttl")(function* (key: Key) {
    const found = yield* (yield* cellOf(key)).read
    const state = yield* live(found.value)
    if (state === undefined) return Option.none<Duration.Duration>()
    const { expiresAt } = state
    return Option.some(expiresAt === undefined ? Duration.infinity : Duration.millis(expiresAt - (yield* now)))
  })

  const each = <X, B, E>(all: ReadonlyArray<X>, one: (x: X) => Effect.Effect<B, E>) =>
    Effect.forEach(all, (x) => Effect.result(one(x)), { concurrency })

  const below = (key: Key | undefined) =>
    key === undefined ? Effect.succeed(prefix) : Effect.map(pathOf(key), (path) => `${prefix}${path}/`)

  const entries = (key?: Key): Stream.Stream<Entry<A>, Failure> =>
    Stream.fromEffect(below(key)).pipe(
      Stream.flatMap((folder) => listAll(store, { prefix: folder, keysOnly: true })),
      Stream.mapEffect(
        Effect.fnUntraced(function* (listed) {
          const segments = listed.key.slice(prefix.length).split("/").map(unescape)
          // No key of this store: somebody else's.
          if (!segments.every((segment) => segment !== undefined && segment !== "")) return Result.failVoid
          const found = yield* versioned(cellAt(listed.key))
          return Option.isNone(found)
            ? Result.failVoid
            : Result.succeed<Entry<A>>({ key: segments as ReadonlyArray<string>, ...found.value })
        }),
        { concurrency }
      ),
      Stream.filterMap((entry) => entry)
    )

  return {
    prefix,
    get,
    getVersion,
    has: (key) => Effect.map(ttl(key), Option.isSome),
    set,
    setIfAbsent,
    setIfVersion: Effect.fn("PluginStore.setIfVersion")(function* (key, value, version, setting) {
      const cell = yield* cellOf(key)
      return yield* replace(cell, version, yield* stateOf(cell.key, value, setting))
    }),
    remove,
    removeIfVersion: Effect.fn("PluginStore.removeIfVersion")(function* (key, version) {
      return Option.isSome(yield* replace(yield* cellOf(key), version, {}))
    }),
    increment,
    touch,
    ttl,
    getMany: (keys) => each(keys, get),
    setMany: (items) => each(items, ({ key, value, ...setting }) => set(key, value, setting)),
    removeMany: (keys) => each(keys, remove),
    entries,
    sweep: expiring.sweep(store, prefix, cellAt, now),
    removeAll: Effect.fn("PluginStore.removeAll")(function* (key) {
      const folder = yield* below(key)
      return yield* Effect.mapError(
        deleteAll(store, folder, () => true),
        (reason) =>
          StoreError.isStoreError(reason)
            ? reason
            : new StoreError.StoreError({ operation: "deleteMany", key: folder, reason })
      )
    })
  }
}
