/** The text of a file, in whatever encoding. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Unreadable } from "../errors.ts"

/** The encoding that the first bytes show: a byte order mark, or the zeros between letters; else UTF-8. */
export const encodingOf = (head: Uint8Array): string => {
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return "utf-8"
  if (head[0] === 0xff && head[1] === 0xfe) return "utf-16le"
  if (head[0] === 0xfe && head[1] === 0xff) return "utf-16be"
  const looked = head.subarray(0, 512)
  if (looked.length < 2) return "utf-8"
  const zerosAt = (odd: number) => looked.filter((byte, i) => i % 2 === odd && byte === 0).length
  const [even, odd] = [zerosAt(0), zerosAt(1)]
  const half = looked.length / 2
  if (odd > half * 0.7 && even === 0) return "utf-16le"
  if (even > half * 0.7 && odd === 0) return "utf-16be"
  return "utf-8"
}

/** Whether the platform knows an encoding by this name: those of the Encoding Standard, such as `windows-1252`, `latin1`, `shift_jis`. */
export const isEncoding = (name: string): boolean => {
  try {
    return new TextDecoder(name).encoding !== ""
  } catch {
    return false
  }
}

/**
 * Decodes bytes as they come. At what is no text in the encoding it ends, after the text before; `rowNow` says which row that is in. A byte
 * order mark at the beginning is left out.
 */
export const decode = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  { encoding, file, rowNow }: { readonly encoding: string; readonly file: string; readonly rowNow: () => number }
): Stream.Stream<string, E | Unreadable, R> =>
  Stream.suspend(() => {
    const decoder = new TextDecoder(encoding, { fatal: true })
    /** Those of the piece before that the text of a piece may begin with. */
    let carried = new Uint8Array(0)
    const broken = () =>
      new Unreadable({
        file,
        reason: "Encoding",
        row: rowNow() + 1,
        description: `it is no ${encoding === "utf-8" ? "UTF-8" : encoding}: write it in that encoding, or say which one it has`
      })
    /** The text up to what is broken. */
    const sound = (piece: Uint8Array): string => {
      const lossy = new TextDecoder(encoding, { ignoreBOM: true })
      const whole = new Uint8Array(carried.length + piece.length)
      whole.set(carried)
      whole.set(piece, carried.length)
      const text = lossy.decode(whole, { stream: true })
      const skipped = new TextDecoder(encoding, { ignoreBOM: true }).decode(carried, { stream: true }).length
      const at = text.indexOf("\uFFFD", skipped)
      return text.slice(skipped, at < 0 ? undefined : at)
    }
    const one = (piece: Uint8Array): Stream.Stream<string, Unreadable> => {
      try {
        const text = decoder.decode(piece, { stream: true })
        carried = piece.slice(-4)
        return Stream.succeed(text)
      } catch {
        return Stream.concat(
          Stream.succeed(sound(piece)),
          Stream.fromEffect(Effect.suspend(() => Effect.fail(broken())))
        )
      }
    }
    const end = Stream.suspend(() => {
      try {
        const text = decoder.decode()
        return text === "" ? Stream.empty : Stream.succeed(text)
      } catch {
        return Stream.fromEffect(Effect.suspend(() => Effect.fail(broken())))
      }
    })
    return Stream.concat(Stream.flatMap(bytes, one), end)
  })

/** Pieces of so many characters at most, one a chunk: what reads them loses no more than one when it ends with an error. */
export const inPieces = <E, R>(text: Stream.Stream<string, E, R>, most: number): Stream.Stream<string, E, R> =>
  Stream.flatMap(text, (piece) => {
    if (piece.length <= most) return Stream.succeed(piece)
    const pieces: Array<string> = []
    for (let at = 0; at < piece.length; at += most) pieces.push(piece.slice(at, at + most))
    return Stream.rechunk(Stream.fromIterable(pieces), 1)
  })
