/** The bytes of a file: a look at the first ones, and what comes out of those that are compressed. */
import * as Effect from "effect/Effect"
import type * as Arr from "effect/Array"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { concatBytes } from "../../../internal/bytes.ts"
import { Unreadable } from "../errors.ts"

/** Takes so many bytes from the beginning, fewer where there are no more, and gives a stream that begins with them as well. */
export const peek = Effect.fnUntraced(function* <E, R>(bytes: Stream.Stream<Uint8Array, E, R>, count: number) {
  const pull = yield* Stream.toPull(bytes)
  const pieces: Array<Uint8Array> = []
  let length = 0
  const state = { isDone: false }
  while (length < count && !state.isDone) {
    const chunk: ReadonlyArray<Uint8Array> = yield* Pull.matchEffect(pull, {
      onSuccess: (some: Arr.NonEmptyReadonlyArray<Uint8Array>) => Effect.succeed<ReadonlyArray<Uint8Array>>(some),
      onFailure: (cause) => Effect.failCause(cause),
      onDone: () =>
        Effect.sync((): ReadonlyArray<Uint8Array> => {
          state.isDone = true
          return []
        })
    })
    for (const piece of chunk) {
      // A copy, as the source may use its buffer again.
      pieces.push(piece.slice())
      length += piece.length
    }
  }
  const head = concatBytes(...pieces)
  const rest = state.isDone ? Stream.empty : Stream.fromPull(Effect.succeed(pull))
  return { head, bytes: head.length === 0 ? rest : Stream.concat(Stream.succeed(head), rest) }
})

/** How a file is compressed. */
export type Compression = "none" | "gzip" | "zstd" | "brotli"

const startsWith = (bytes: Uint8Array, ...start: ReadonlyArray<number>): boolean =>
  start.every((byte, i) => bytes[i] === byte)

/** By its first bytes; Brotli has none that tell it, and is known by its name alone. */
export const compressionOf = (head: Uint8Array, name: string): Compression => {
  if (startsWith(head, 0x1f, 0x8b, 0x08)) return "gzip"
  if (startsWith(head, 0x28, 0xb5, 0x2f, 0xfd)) return "zstd"
  // A frame that is skipped may come first.
  if ((head[0]! & 0xf0) === 0x50 && startsWith(head.subarray(1), 0x2a, 0x4d, 0x18)) return "zstd"
  return /\.br$/i.test(name) ? "brotli" : "none"
}

interface Pair {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

const builtin = globalThis.process?.getBuiltinModule

/** Node's own where there is one: it knows all three, and the members of a file of several. */
const decompressor = (compression: Exclude<Compression, "none">): Pair | undefined => {
  const [stream, zlib] = [builtin?.("node:stream"), builtin?.("node:zlib")]
  if (stream === undefined || zlib === undefined) {
    return compression === "gzip" ? (new DecompressionStream("gzip") as unknown as Pair) : undefined
  }
  const make = { gzip: zlib.createGunzip, zstd: zlib.createZstdDecompress, brotli: zlib.createBrotliDecompress }[
    compression
  ]
  return make === undefined ? undefined : (stream.Duplex.toWeb(make()) as unknown as Pair)
}

/** What a file may unpack to. */
export interface Bounds {
  /** How many times as many bytes may come out as went in. */
  readonly ratio: number
  /** So many may always. */
  readonly grace: number
}

/** Keeps what the source fails with apart from what the compression says. */
class SourceFailed<out E> {
  readonly error: E
  constructor(error: E) {
    this.error = error
  }
}

/**
 * Unpacks bytes as they come. More than `bounds` allow, and what is damaged or cut off, is `Unreadable`. Nothing is drawn that has no place
 * yet.
 */
export const decompress = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  compression: Exclude<Compression, "none">,
  { bounds, file }: { readonly bounds: Bounds; readonly file: string }
): Stream.Stream<Uint8Array, E | Unreadable, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const pair = decompressor(compression)
      if (pair === undefined) {
        return yield* new Unreadable({
          file,
          reason: "Unsupported",
          description: `this platform cannot unpack ${compression}: unpack it before`
        })
      }
      const damaged = () =>
        new Unreadable({
          file,
          reason: "Damaged",
          description: `it cannot be unpacked: it is no ${compression}, or cut off`
        })
      let [taken, given] = [0, 0]
      let failure: SourceFailed<E> | undefined
      const writer = pair.writable.getWriter()
      yield* Effect.addFinalizer(() => Effect.promise(() => writer.abort().catch(() => {})))
      const write = (piece: Uint8Array) =>
        Effect.tryPromise({
          try: () => {
            taken += piece.length
            return writer.ready.then(() => writer.write(piece))
          },
          catch: damaged
        })
      yield* Effect.forkScoped(
        Stream.runForEach(bytes, write).pipe(
          Effect.andThen(Effect.tryPromise({ try: () => writer.close(), catch: damaged })),
          Effect.onExit((exit) => {
            if (Exit.isSuccess(exit)) return Effect.void
            const reason = exit.cause.reasons.find((one) => one._tag === "Fail")
            if (reason !== undefined && !(reason.error instanceof Unreadable)) failure = new SourceFailed(reason.error)
            return Effect.promise(() => writer.abort().catch(() => {}))
          }),
          Effect.ignore
        )
      )
      const unpacked = Stream.fromReadableStream<Uint8Array, SourceFailed<E> | Unreadable>({
        evaluate: () => pair.readable,
        onError: () => failure ?? damaged()
      })
      return unpacked.pipe(
        Stream.mapArrayEffect((pieces) => {
          given += pieces.reduce((sum, piece) => sum + piece.length, 0)
          return given > bounds.grace && given > taken * bounds.ratio
            ? Effect.fail(
                new Unreadable({
                  file,
                  reason: "TooLarge",
                  description: `it unpacks to more than ${bounds.ratio} times its size: raise maxRatio if that is right`
                })
              )
            : Effect.succeed(pieces)
        }),
        Stream.mapError((error): E | Unreadable => (error instanceof SourceFailed ? error.error : error))
      )
    })
  )
