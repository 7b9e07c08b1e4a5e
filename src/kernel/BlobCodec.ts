/**
 * Values or bytes as the body of one object: written as JSON, as lines of JSON or as they are, compressed, sealed if one
 * wants, and checked when they are read.
 *
 * ```ts
 * import * as BlobCodec from "effect-s3db/kernel/BlobCodec"
 * import { Effect, Schema } from "effect"
 *
 * const Point = Schema.Struct({ at: Schema.Date, value: Schema.Number })
 * const points = BlobCodec.lines(Point, { compression: "gzip" })
 *
 * const program = Effect.gen(function* () {
 *   const body = yield* points.encode([{ at: new Date(0), value: 1 }], "plugin=metrics/1970")
 *   return yield* points.decode(body, "plugin=metrics/1970")
 * })
 * ```
 *
 * **Details**
 *
 * A blob says itself what it is, so that a codec reads what others of the same form have written, however they compress:
 *
 * | bytes | what |
 * |---|---|
 * | 4 | `ES3B` |
 * | 1 | version of this format: 1 |
 * | 1 | form: 0 bytes, 1 JSON, 2 lines of JSON |
 * | 1 | compression: 0 none, 1 gzip, 2 brotli, 3 zstd |
 * | 1 | 0 open, 1 sealed |
 * | 8 | bytes of the content |
 * | 8 | bytes of the compressed content |
 * | 32 | SHA-256 of the content |
 * | | the content, compressed where that makes it shorter |
 *
 * Of a sealed blob all after the first 8 bytes is sealed by the key ring: AES-256-GCM, 31 bytes longer, beginning with 3
 * bytes that tell the key. The first 8 bytes and the name are authenticated with it: a blob that was moved to another name
 * does not open.
 *
 * @see `docs/design/logs.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as KeyRing from "../crypto/KeyRing.ts"
import { concatBytes, sameBytes } from "../internal/bytes.ts"
import { sha256 } from "../internal/sha256.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as compression from "./internal/compression.ts"
import * as jsonText from "./internal/jsonText.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The most bytes of content that a blob may have, unless the options say otherwise: 64 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxBytes = 64 * 1024 * 1024

/**
 * A way to make content shorter. `gzip` is there on every platform; `brotli` and `zstd` where the program runs on Node.
 *
 * @category models
 * @since 0.1.0
 */
export type Compression = compression.Method

/**
 * The keys that seal blobs, and what they belong to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sealing {
  /** A ring that was unlocked for the database. */
  readonly keys: KeyRing.Unlocked
  /** What the blobs belong to, such as `plugin=backup`. Each scope has a key of its own, derived from that of the ring. */
  readonly scope: string
  /**
   * Whether blobs that were written without sealing are read as well. Default `false`: they are `Corrupt`, since whoever can
   * write to the store could put an open one in the place of a sealed one.
   */
  readonly acceptOpen?: boolean | undefined
}

/**
 * How blobs are written, and what is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default: `"gzip"`. Blobs are read whatever they were compressed by. */
  readonly compression?: Compression | undefined
  /**
   * The most bytes of content, compression aside. Default: 64 MiB. Neither more is written nor, whatever a blob says of
   * itself, is more unpacked when it is read.
   */
  readonly maxBytes?: number | undefined
  /** Default: blobs are not sealed. */
  readonly sealing?: Sealing | undefined
}

/**
 * Why a value cannot be made a blob: `InvalidArgument`, it is none of the schema's, and the description says where;
 * `EntityTooLarge`, its content is longer than `maxBytes`; `Unsupported`, the platform does not know the compression.
 *
 * @category errors
 * @since 0.1.0
 */
export type EncodeError = StoreError.InvalidArgument | StoreError.EntityTooLarge | StoreError.Unsupported

/**
 * Why bytes cannot be read: `Corrupt`, they were damaged or altered, or are none of this codec's; `EntityTooLarge`, their
 * content is longer than `maxBytes`; `Unsupported`, they were written by a later release, compressed by what the platform
 * does not know, or sealed by a key that the ring does not have.
 *
 * @category errors
 * @since 0.1.0
 */
export type DecodeError = StoreError.Corrupt | StoreError.EntityTooLarge | StoreError.Unsupported

/**
 * Makes values the bodies of objects, and reads them. None of its errors shows anything of a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlobCodec<A> {
  /** The body of the object with this name. The name counts where blobs are sealed: they are read under it alone. */
  readonly encode: (value: A, name: string) => Effect.Effect<Uint8Array, EncodeError>
  readonly decode: (body: Uint8Array, name: string) => Effect.Effect<A, DecodeError>
}

/** How content is made of a value, and read. */
interface Form<A> {
  readonly code: number
  readonly write: (value: A) => Effect.Effect<Uint8Array, StoreError.InvalidArgument>
  readonly read: (content: Uint8Array) => Effect.Effect<A, StoreError.Corrupt>
}

// -----------------------------------------------------------------------------
// Forms
// -----------------------------------------------------------------------------

const corrupt = (description: string) => new StoreError.Corrupt({ description })

const encoder = new TextEncoder()
/** Of what is no UTF-8 nothing may be guessed. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const textOf = (content: Uint8Array) =>
  Effect.try({ try: () => decoder.decode(content), catch: () => corrupt("the content of the blob is no text") })

// -----------------------------------------------------------------------------
// Layout
// -----------------------------------------------------------------------------

const magic = encoder.encode("ES3B")
const formatVersion = 1
const headBytes = 8
const digestBytes = 32
const frameBytes = 8 + 8 + digestBytes

const frameOf = (content: Uint8Array, packed: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(frameBytes)
  const view = new DataView(frame.buffer)
  view.setBigUint64(0, BigInt(content.length))
  view.setBigUint64(8, BigInt(packed.length))
  frame.set(sha256(content), 16)
  return concatBytes(frame, packed)
}

interface Head {
  readonly form: number
  readonly method: Compression
  readonly isSealed: boolean
}

const readHead = Effect.fnUntraced(function* (
  body: Uint8Array
): Effect.fn.Return<Head, StoreError.Corrupt | StoreError.Unsupported> {
  if (body.length < headBytes || !sameBytes(body.subarray(0, magic.length), magic)) {
    return yield* corrupt("the bytes are no blob of effect-s3db")
  }
  const [version = 0, form = 0, code = 0, sealed = 0] = body.subarray(magic.length)
  if (version > formatVersion) {
    return yield* new StoreError.Unsupported({
      feature: `version ${version} of blobs`,
      description: "the blob was written by a later release; upgrade effect-s3db"
    })
  }
  const method = compression.methods[code]
  if (version < 1 || method === undefined || sealed > 1) return yield* corrupt("the head of the blob was damaged")
  return { form, method, isSealed: sealed === 1 }
})

const unsupported = (method: Compression) =>
  new StoreError.Unsupported({
    feature: `the compression ${method}`,
    description: `this platform has no ${method}; gzip is there on all`
  })

const tooLarge = (size: number, limit: number) =>
  new StoreError.EntityTooLarge({
    description: `the content has ${size} bytes and may have ${limit}; raise maxBytes if that is right`
  })

/**
 * Brings back the content of a frame. What it says of its length is believed no further than that no more is unpacked.
 */
const unpack = Effect.fnUntraced(function* (
  frame: Uint8Array,
  method: Compression,
  maxBytes: number
): Effect.fn.Return<Uint8Array, DecodeError> {
  if (frame.length < frameBytes) return yield* corrupt("the blob was cut short")
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const [size, packedSize] = [Number(view.getBigUint64(0)), Number(view.getBigUint64(8))]
  const packed = frame.subarray(frameBytes)
  if (packed.length !== packedSize) return yield* corrupt("the blob has another length than it says")
  if (size > maxBytes) return yield* tooLarge(size, maxBytes)
  let content = packed
  if (method !== "none") {
    if (!compression.engine.supports(method)) return yield* unsupported(method)
    content = yield* Effect.mapError(compression.engine.decompress(method, packed, size), (failure) =>
      corrupt(failure === "longer" ? "the content is longer than the blob says" : "the content cannot be unpacked")
    )
  }
  if (content.length !== size || !sameBytes(sha256(content), frame.subarray(16, frameBytes))) {
    return yield* corrupt("the content is not what was written")
  }
  return content
})

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const make = <A>(form: Form<A>, options: Options): BlobCodec<A> => {
  const { compression: method = "gzip", maxBytes = defaultMaxBytes, sealing } = options

  const pack = Effect.fnUntraced(function* (content: Uint8Array) {
    if (method === "none") return { method, packed: content }
    if (!compression.engine.supports(method)) return yield* unsupported(method)
    const packed = yield* compression.engine.compress(method, content)
    return packed.length < content.length ? { method, packed } : { method: "none" as const, packed: content }
  })

  const encode = Effect.fn("BlobCodec.encode")(function* (
    value: A,
    name: string
  ): Effect.fn.Return<Uint8Array, EncodeError> {
    const content = yield* form.write(value)
    if (content.length > maxBytes) return yield* tooLarge(content.length, maxBytes)
    const { method: used, packed } = yield* pack(content)
    const kinds = [formatVersion, form.code, compression.methods.indexOf(used), sealing === undefined ? 0 : 1]
    const head = concatBytes(magic, Uint8Array.from(kinds))
    const frame = frameOf(content, packed)
    if (sealing === undefined) return concatBytes(head, frame)
    return concatBytes(head, yield* sealing.keys.sealBytes({ scope: sealing.scope, name, head }, frame))
  })

  const open = Effect.fnUntraced(function* (
    body: Uint8Array,
    name: string
  ): Effect.fn.Return<Uint8Array, StoreError.Corrupt | StoreError.Unsupported> {
    if (sealing === undefined) {
      return yield* new StoreError.Unsupported({
        feature: "sealed blobs without keys",
        description: "the blob is sealed; give the codec the keys that have sealed it"
      })
    }
    const place = { scope: sealing.scope, name, head: body.subarray(0, headBytes) }
    return yield* Effect.mapError(sealing.keys.openBytes(place, body.subarray(headBytes)), ({ why }) =>
      why === "Altered"
        ? corrupt("the sealed blob was altered, or comes from elsewhere")
        : new StoreError.Unsupported({
            feature: "a key that the ring does not have",
            description: "no key of the ring has sealed the blob: add the key that has"
          })
    )
  })

  const decode = Effect.fn("BlobCodec.decode")(function* (
    body: Uint8Array,
    name: string
  ): Effect.fn.Return<A, DecodeError> {
    const head = yield* readHead(body)
    if (!head.isSealed && sealing !== undefined && sealing.acceptOpen !== true) {
      return yield* corrupt("the blob is not sealed, as all of this codec are")
    }
    const frame = head.isSealed ? yield* open(body, name) : body.subarray(headBytes)
    const content = yield* unpack(frame, head.method, maxBytes)
    if (head.form !== form.code) return yield* corrupt("the blob holds a value of another form")
    return yield* form.read(content)
  })

  return { encode, decode }
}

/**
 * Creates the codec of bytes as they are.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bytes = (options: Options = {}): BlobCodec<Uint8Array> =>
  make({ code: 0, write: Effect.succeed, read: Effect.succeed }, options)

/**
 * Creates the codec of values of a schema as JSON. What the schema's JSON codec carries comes back exactly: dates, big
 * integers, bytes, `-0`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const json = <A, I>(schema: Schema.Codec<A, I>, options: Options = {}): BlobCodec<A> => {
  const one = jsonText.make(schema)
  return make(
    {
      code: 1,
      write: (value) => Effect.map(one.write(value, "the value"), (text) => encoder.encode(text)),
      read: (content) => Effect.flatMap(textOf(content), (text) => one.read(text, "the value of the blob"))
    },
    options
  )
}

/**
 * Creates the codec of lists of values of a schema as lines of JSON (NDJSON), each ended by a line break.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lines = <A, I>(schema: Schema.Codec<A, I>, options: Options = {}): BlobCodec<ReadonlyArray<A>> => {
  const one = jsonText.make(schema)
  return make<ReadonlyArray<A>>(
    {
      code: 2,
      write: Effect.fnUntraced(function* (values) {
        const texts = yield* Effect.forEach(values, (value, index) => one.write(value, `value ${index}`))
        return encoder.encode(texts.map((text) => `${text}\n`).join(""))
      }),
      read: Effect.fnUntraced(function* (content: Uint8Array) {
        const all = (yield* textOf(content)).split("\n")
        if (all.pop() !== "") return yield* corrupt("the last line of the blob was cut short")
        return yield* Effect.forEach(all, (text, index) => one.read(text, `line ${index + 1} of the blob`))
      })
    },
    options
  )
}
