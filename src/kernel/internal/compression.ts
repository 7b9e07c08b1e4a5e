/**
 * Compression of bytes in memory: Node's own where there is one, which knows all methods; else the `CompressionStream` of
 * the platform, which knows gzip (RFC 1952) and deflate with a checksum (RFC 1950) everywhere.
 */
import * as Effect from "effect/Effect"
import { concatBytes } from "../../internal/bytes.ts"

/** In the order of their codes in the header of a blob. */
export const methods = ["none", "gzip", "brotli", "zstd"] as const

export type Method = (typeof methods)[number]

/** Why bytes could not be brought back. */
export type Failure = "damaged" | "unsupported" | "longer"

/** One way to compress; nothing of it is shared between calls. */
export interface Engine {
  readonly supports: (method: Exclude<Method, "none">) => boolean
  readonly compress: (method: Exclude<Method, "none">, bytes: Uint8Array) => Effect.Effect<Uint8Array>
  /** Holds no more than `most` bytes of what comes out, and fails with `"longer"` when there are more. */
  readonly decompress: (
    method: Exclude<Method, "none">,
    bytes: Uint8Array,
    most: number
  ) => Effect.Effect<Uint8Array, Exclude<Failure, "unsupported">>
  /** Deflate with a checksum, for little: of the ways that every platform knows it adds the fewest bytes. On Node an `Exit`. */
  readonly deflate: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
  /** Fails with `"damaged"` unless exactly `size` bytes come out, of all that is given; it holds no more than those. */
  readonly inflate: (bytes: Uint8Array, size: number) => Effect.Effect<Uint8Array, "damaged">
}

// -----------------------------------------------------------------------------
// Node
// -----------------------------------------------------------------------------

type Zlib = typeof import("node:zlib")

type Callback = (error: Error | null, bytes: Uint8Array) => void

const leastChunk = 64
const mostChunk = 1024 * 1024

/** More bytes than this are left to another thread, so that they do not hold up the others: about a millisecond. */
const mostAtOnce = 65_536

/** 5 of 9: half the time of 6, which is what is usual, on long texts, and as small. */
const level = 5

const damaged = Effect.fail("damaged" as const)

const nodeEngine = (zlib: Zlib): Engine => {
  const packing = {
    gzip: (bytes: Uint8Array, done: Callback) => zlib.gzip(bytes, done),
    // 5 of 11: about the speed of gzip, and smaller. At 11 a megabyte takes seconds.
    brotli: (bytes: Uint8Array, done: Callback) =>
      zlib.brotliCompress(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }, done),
    zstd: (bytes: Uint8Array, done: Callback) => zlib.zstdCompress(bytes, done)
  }
  const unpacking = {
    gzip: zlib.gunzip,
    brotli: zlib.brotliDecompress,
    zstd: zlib.zstdDecompress
  } as Record<
    Exclude<Method, "none">,
    (
      bytes: Uint8Array,
      options: { readonly maxOutputLength: number; readonly chunkSize: number },
      done: Callback
    ) => void
  >
  // With `info` there is more than the bytes, which the types do not tell.
  type Inflated = { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } }
  const limited = (size: number) => ({ maxOutputLength: Math.max(1, size), info: true }) as const
  const whole = (bytes: Uint8Array, size: number, inflated: unknown): Effect.Effect<Uint8Array, "damaged"> => {
    const { buffer, engine } = inflated as Inflated
    return buffer.length === size && engine.bytesWritten === bytes.length ? Effect.succeed(buffer) : damaged
  }
  return {
    deflate: (bytes) =>
      bytes.length <= mostAtOnce
        ? Effect.succeed(
            zlib.deflateSync(bytes, {
              level,
              // A window no larger than the bytes is made sooner.
              windowBits: Math.min(15, Math.max(9, 32 - Math.clz32(bytes.length))),
              chunkSize: Math.max(64, bytes.length)
            })
          )
        : Effect.callback((resume) => {
            zlib.deflate(bytes, { level }, (error, packed) =>
              resume(error === null ? Effect.succeed(packed) : Effect.die(error))
            )
          }),
    inflate: (bytes, size) => {
      if (size <= mostAtOnce) {
        try {
          return whole(bytes, size, zlib.inflateSync(bytes, limited(size)))
        } catch {
          return damaged
        }
      }
      return Effect.callback((resume) => {
        zlib.inflate(bytes, limited(size), (error, inflated) =>
          resume(error === null ? whole(bytes, size, inflated) : damaged)
        )
      })
    },
    supports: (method) => unpacking[method] !== undefined,
    compress: (method, bytes) =>
      Effect.callback((resume) => {
        packing[method](bytes, (error, packed) => resume(error === null ? Effect.succeed(packed) : Effect.die(error)))
      }),
    decompress: (method, bytes, most) =>
      Effect.callback((resume) => {
        // A way to another thread and back for each chunk: in one where that is not much, whatever a blob says of its size.
        const chunkSize = Math.min(Math.max(most, leastChunk), mostChunk)
        unpacking[method](bytes, { maxOutputLength: Math.max(1, most), chunkSize }, (error, plain) => {
          if (error === null) return resume(Effect.succeed(plain))
          resume(Effect.fail("code" in error && error.code === "ERR_BUFFER_TOO_LARGE" ? "longer" : "damaged"))
        })
      })
  }
}

// -----------------------------------------------------------------------------
// Web
// -----------------------------------------------------------------------------

const sliceBytes = 65_536

/** Bytes in slices that are drawn, so that no platform unpacks more than it was asked for. */
const sliced = (bytes: Uint8Array): ReadableStream<Uint8Array<ArrayBuffer>> => {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, at + sliceBytes))
      at += sliceBytes
    }
  })
}

const through = Effect.fnUntraced(function* (
  bytes: Uint8Array,
  transform: CompressionStream | DecompressionStream,
  most: number
): Effect.fn.Return<Uint8Array, "damaged" | "longer"> {
  const reader = sliced(bytes).pipeThrough(transform).getReader()
  const chunks: Array<Uint8Array> = []
  let size = 0
  const read = Effect.gen(function* () {
    for (;;) {
      const { done, value } = yield* Effect.tryPromise({ try: () => reader.read(), catch: () => "damaged" as const })
      if (done) return
      size += value.length
      if (size > most) return yield* Effect.fail("longer" as const)
      chunks.push(value)
    }
  })
  yield* Effect.onError(read, () => Effect.promise(() => reader.cancel().catch(() => {})))
  return concatBytes(...chunks)
})

const webEngine: Engine = {
  supports: (method) => method === "gzip",
  compress: (_, bytes) => Effect.orDie(through(bytes, new CompressionStream("gzip"), Number.POSITIVE_INFINITY)),
  decompress: (_, bytes, most) => through(bytes, new DecompressionStream("gzip"), most),
  deflate: (bytes) => Effect.orDie(through(bytes, new CompressionStream("deflate"), Number.POSITIVE_INFINITY)),
  inflate: (bytes, size) =>
    through(bytes, new DecompressionStream("deflate"), size).pipe(
      Effect.mapError(() => "damaged" as const),
      Effect.filterOrFail(
        (plain) => plain.length === size,
        () => "damaged" as const
      )
    )
}

// -----------------------------------------------------------------------------
// Choice
// -----------------------------------------------------------------------------

const zlib: Zlib | undefined = globalThis.process?.getBuiltinModule?.("node:zlib")

/** Both, so that each can be tested. */
export const engines = { node: zlib === undefined ? undefined : nodeEngine(zlib), web: webEngine }

/** The engine of this platform. */
export const engine: Engine = engines.node ?? engines.web
