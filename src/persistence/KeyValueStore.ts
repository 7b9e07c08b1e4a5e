/**
 * Effect's `KeyValueStore` on the store of a database, for all processes that share it.
 *
 * ```ts
 * import * as S3KeyValueStore from "effect-s3db/persistence/KeyValueStore"
 * import { Effect } from "effect"
 * import { KeyValueStore } from "effect/persistence"
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* KeyValueStore.KeyValueStore
 *   yield* store.set("greeting", "hello")
 *   return yield* store.modify("greeting", (text) => `${text}!`)
 * })
 *
 * const live = Effect.provide(program, S3KeyValueStore.layer)
 * ```
 *
 * **Details**
 *
 * A value is one object, `plugin=key-value/key=greeting`: a line of JSON, and the bytes as they are. `modify` is a compare-and-set: of two
 * processes that modify one value at once neither loses what the other has written, and the function is called again with
 * what is there. A write that was not answered is looked into, never guessed.
 *
 * | operation | requests |
 * |---|---|
 * | `get`, `getUint8Array` | 1 GET |
 * | `has` | 1 HEAD |
 * | `set` | 1 PUT |
 * | `remove` | 1 DELETE |
 * | `modify`, `modifyUint8Array` | 1 GET and 1 PUT, and again when another was first; 1 GET where nothing is |
 * | `size`, `keys`, `isEmpty` | 1 LIST for each 1,000; 1 LIST for `isEmpty` |
 * | `clear`, `clearPrefix` | 1 LIST and 1 request for each 1,000 |
 *
 * What bytes were set comes back as base 64 from `get`, and text as UTF-8 from `getUint8Array`, as in Effect's own.
 *
 * **Gotchas**
 *
 * A key takes 1,024 bytes at most, with what is before it, percent-encoded. What is longer, or is no valid Unicode, fails with
 * `KeyValueStoreError`, as everything else does: its `cause` is the `StoreError`.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EffectKeyValueStore from "effect/persistence/KeyValueStore"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { Database } from "../Database.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import * as CasCell from "../kernel/CasCell.ts"
import { keyPrefix } from "../kernel/PluginStore.ts"
import * as Plugin from "../Plugin.ts"
import { deleteAll, headOption, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import { registering } from "./internal/registering.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which values of a database a key-value store has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells it from others of the same database: what its keys begin with is `plugin=<name>/`. Default: `key-value`. */
  readonly name?: string | undefined
}

/** What is stored: text or bytes. */
type Value = string | Uint8Array

// -----------------------------------------------------------------------------
// Objects
// -----------------------------------------------------------------------------

const encoder = new TextEncoder()
// What begins with a byte order mark keeps it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const Head = Schema.fromJsonString(
  Schema.Struct({ v: Schema.Literal(1), is: Schema.Literals(["text", "bytes"]), w: Schema.Array(Schema.String) })
)
const decodeHead = Schema.decodeUnknownResult(Head)
const isLater = (text: string): boolean => /^\{"v":(?:[2-9]|\d{2,})/.test(text)

/** Text that UTF-8 has not would come back as another. Not every program is checked for types. */
const encode = (value: Value, writes: ReadonlyArray<string>): Effect.Effect<Uint8Array, StoreError.InvalidArgument> => {
  const refused = (description: string) =>
    Effect.fail(new StoreError.InvalidArgument({ description, argument: "body" }))
  if (typeof value !== "string" && !((value as unknown) instanceof Uint8Array)) {
    return refused("the value is neither text nor bytes")
  }
  if (typeof value === "string" && !value.isWellFormed()) return refused("the value is no valid Unicode")
  const head = encoder.encode(
    `${JSON.stringify({ v: 1, is: typeof value === "string" ? "text" : "bytes", w: writes })}\n`
  )
  const bytes = typeof value === "string" ? encoder.encode(value) : value
  const body = new Uint8Array(head.length + bytes.length)
  body.set(head)
  body.set(bytes, head.length)
  return Effect.succeed(body)
}

const contentType = "application/octet-stream"

const format: CasCell.Format<Value> = {
  contentType,
  remembered: CasCell.defaultRemembered,
  // `set` and `remove` ask for no version.
  isForgetful: true,
  encode,
  decode: (body) => {
    const end = body.indexOf(10)
    const line = decoder.decode(body.subarray(0, Math.max(0, end)))
    const head = decodeHead(line)
    if (Result.isFailure(head)) {
      return Effect.fail(
        isLater(line)
          ? new StoreError.Unsupported({
              feature: "a later format of a value of a key-value store",
              description: "it was written by a later release; upgrade effect-s3db"
            })
          : new StoreError.Corrupt({ description: "what is there is no value of a key-value store" })
      )
    }
    const bytes = body.slice(end + 1)
    const { is, w: writes } = head.success
    return Effect.succeed({ value: is === "text" ? decoder.decode(bytes) : bytes, writes })
  }
}

const asText = (value: Value): string => (typeof value === "string" ? value : Base64.encode(value))
const asBytes = (value: Value): Uint8Array => (typeof value === "string" ? encoder.encode(value) : value)

/** The text up to where a lone half of a surrogate pair begins: the store knows whole characters only. */
const wellFormedPart = (text: string): string => {
  for (let end = text.length; end > 0; end--) if (text.slice(0, end).isWellFormed()) return text.slice(0, end)
  return ""
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates a key-value store on a store that honours conditional writes. No request.
 *
 * Throws a `URIError` for a name that is no valid Unicode.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  { name = "key-value" }: Options = {}
): EffectKeyValueStore.KeyValueStore => {
  const prefix = `${keyPrefix(name)}key=`

  /** A key may have any number of characters. */
  const shown = (key: string) =>
    typeof key === "string" && key.length > 100 ? `${JSON.stringify(key.slice(0, 100))}...` : JSON.stringify(key)

  const failed = (method: string, key?: string) => (cause: unknown) =>
    new EffectKeyValueStore.KeyValueStoreError({
      message: `${method}${key === undefined ? "" : ` ${shown(key)}`} failed: ${
        cause instanceof Error ? cause.message : String(cause)
      }`,
      method,
      ...(key === undefined ? {} : { key }),
      cause
    })

  /** Runs what needs the object of a key. */
  const at = <A>(
    method: string,
    key: string,
    f: (path: string) => Effect.Effect<A, StoreError.StoreError>
  ): Effect.Effect<A, EffectKeyValueStore.KeyValueStoreError> =>
    typeof key === "string" && key.isWellFormed()
      ? Effect.mapError(f(prefix + percentEncode(key)), failed(method, key))
      : Effect.fail(failed(method, key)(new Error("the key is no valid Unicode")))

  const cellAt = (path: string) => CasCell.make(store, path, format)

  const read = (method: string, key: string) => at(method, key, (path) => Effect.map(cellAt(path).read, (_) => _.value))

  const keysBelow = (below: string) =>
    listAll(store, { prefix: prefix + percentEncode(wellFormedPart(below)), keysOnly: true }).pipe(
      Stream.map((entry) => percentDecode(entry.key.slice(prefix.length))),
      // What nobody has set by this is somebody else's.
      Stream.filter((key) => key?.startsWith(below) === true),
      Stream.map((key) => key!)
    )

  const clearPrefix = (below: string) =>
    deleteAll(
      store,
      prefix + percentEncode(wellFormedPart(below)),
      (key) => percentDecode(key.slice(prefix.length))?.startsWith(below) === true
    )

  const modify = <A extends Value>(method: string, key: string, from: (value: Value) => A, f: (value: A) => A) =>
    at(method, key, (path) => {
      let result: A | undefined
      const change = (found: Value | undefined) =>
        Effect.sync((): Value | undefined => (result = found === undefined ? undefined : f(from(found))))
      return Effect.map(cellAt(path).modify(change), () => result)
    })

  return EffectKeyValueStore.make({
    get: Effect.fn("KeyValueStore.get")(function* (key) {
      const value = yield* read("get", key)
      return value === undefined ? undefined : asText(value)
    }),
    getUint8Array: Effect.fn("KeyValueStore.getUint8Array")(function* (key) {
      const value = yield* read("getUint8Array", key)
      return value === undefined ? undefined : asBytes(value)
    }),
    set: Effect.fn("KeyValueStore.set")(function* (key, value) {
      const writeId = yield* Id.writeId
      yield* at("set", key, (path) =>
        encode(value, [writeId]).pipe(
          Effect.mapError((reason) => new StoreError.StoreError({ operation: "put", key: path, reason })),
          Effect.flatMap((body) => store.put({ key: path, body, contentType }))
        )
      )
    }),
    remove: Effect.fn("KeyValueStore.remove")(function* (key) {
      yield* at("remove", key, (path) => store.delete(path))
    }),
    has: Effect.fn("KeyValueStore.has")(function* (key) {
      return Option.isSome(yield* at("has", key, (path) => headOption(store, path)))
    }),
    modify: Effect.fn("KeyValueStore.modify")(function* (key, f) {
      return yield* modify("modify", key, asText, f)
    }),
    modifyUint8Array: Effect.fn("KeyValueStore.modifyUint8Array")(function* (key, f) {
      return yield* modify("modifyUint8Array", key, asBytes, f)
    }),
    clear: Effect.mapError(clearPrefix(""), failed("clear")).pipe(
      Effect.withSpan("KeyValueStore.clear"),
      Effect.asVoid
    ),
    clearPrefix: Effect.fn("KeyValueStore.clearPrefix")(function* (below) {
      yield* Effect.mapError(clearPrefix(below), failed("clearPrefix", below))
    }),
    size: Effect.mapError(Stream.runCount(keysBelow("")), failed("size")).pipe(Effect.withSpan("KeyValueStore.size")),
    isEmpty: Effect.mapError(Stream.runHead(keysBelow("")), failed("isEmpty")).pipe(
      Effect.map(Option.isNone),
      Effect.withSpan("KeyValueStore.isEmpty")
    ),
    keys: Effect.mapError(Stream.runCollect(keysBelow("")), failed("keys")).pipe(Effect.withSpan("KeyValueStore.keys"))
  })
}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The port as a plugin: `Plugin.statuses` has an entry for each of its layers, and `Plugin.uninstall` with `purge` removes what it has stored,
 * when none is open. What has another name is removed by that: `Plugin.define("settings", { version: 1 })`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("key-value", { version: 1 })

/**
 * Creates a layer of Effect's `KeyValueStore` on a database, with options. No request.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<EffectKeyValueStore.KeyValueStore, never, Database> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { running, store } = yield* registering(plugin, options.name ?? plugin.name)
      yield* running()
      return Context.make(EffectKeyValueStore.KeyValueStore, make(store, options))
    })
  )

/**
 * The layer of Effect's `KeyValueStore` on a database. No request.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<EffectKeyValueStore.KeyValueStore, never, Database> = layerWith({})
