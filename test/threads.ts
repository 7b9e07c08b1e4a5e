/**
 * Tells whether threads are at work for this process: those of Node, which read files and compress. What they do takes as many turns
 * of the event loop as the machine likes. It is loaded before the library (`vitest.config.ts`), which keeps some of zlib's functions.
 */
import zlib from "node:zlib"

type Compress = (...args: ReadonlyArray<unknown>) => unknown

const names = [
  "gzip",
  "gunzip",
  "deflate",
  "inflate",
  "brotliCompress",
  "brotliDecompress",
  "zstdCompress",
  "zstdDecompress"
] as const

/** Of this process, however often this module is loaded. */
const counted = Symbol.for("effect-s3db/test/threads")

const work = ((globalThis as { [counted]?: { compressing: number } })[counted] ??= (() => {
  const work = { compressing: 0 }
  const functions = zlib as unknown as Record<(typeof names)[number], Compress>
  for (const name of names) {
    const inner = functions[name]
    functions[name] = (...args) => {
      const done = args.at(-1) as Compress
      work.compressing += 1
      return inner(...args.slice(0, -1), (...answer: ReadonlyArray<unknown>) => {
        work.compressing -= 1
        return done(...answer)
      })
    }
  }
  return work
})())

/** Whether files are read or written, or bytes are compressed, in a thread. */
export const atWork = (): boolean =>
  work.compressing > 0 || process.getActiveResourcesInfo().some((one) => one.startsWith("FSReq"))

/** Whether anything goes on at the next turn of the event loop, beside those that only wait, or when a thread is done. */
export const isBusy = (waiters: number): boolean =>
  atWork() || process.getActiveResourcesInfo().filter((one) => one === "Immediate").length > waiters
