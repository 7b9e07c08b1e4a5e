/**
 * What a segment of a log holds: links of a chain, one after the other. An append makes one link of each segment; compaction
 * puts the links of several segments into one, as they are, so that the chain stays what it was.
 *
 * A link is a line of JSON and then a line for each entry. The first line says the position of the first entry, their
 * number, the time, the id of the append, and the hash of the link before. Its hash is the SHA-256 of all these bytes. Before
 * the links is a line with a number of its own, so that no two segments have the same name.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as StoreError from "../../storage/StoreError.ts"
import { hashOf } from "./parts.ts"

const LinkHead = Schema.Struct({
  /** The position of its first entry. */
  from: Schema.Int,
  /** The number of its entries. */
  n: Schema.Int,
  /** When it was appended, in milliseconds since the epoch by the clock of the writer; never less than in the link before. */
  at: Schema.Int,
  /** Of the append. */
  id: Schema.String,
  /** The hash of the link before; empty for the first. */
  prev: Schema.String
})

export type LinkHead = typeof LinkHead.Type

export interface Link extends LinkHead {
  readonly hash: string
  /** One for each entry. */
  readonly lines: ReadonlyArray<string>
}

const SegmentHead = Schema.Struct({ v: Schema.Literal(1), segment: Schema.String })

const decodeLink = Schema.decodeUnknownEffect(Schema.fromJsonString(LinkHead))
const decodeSegment = Schema.decodeUnknownEffect(Schema.fromJsonString(SegmentHead))

const encoder = new TextEncoder()

const textOf = ({ at, from, id, lines, n, prev }: LinkHead & Pick<Link, "lines">): string =>
  `${[JSON.stringify({ from, n, at, id, prev }), ...lines].join("\n")}\n`

/** A link and its hash. */
export const link = (head: Omit<LinkHead, "n">, lines: ReadonlyArray<string>): Link => {
  const whole = { ...head, n: lines.length, lines }
  return { ...whole, hash: hashOf(encoder.encode(textOf(whole))) }
}

/** The content of a segment: bytes to be put into a blob. */
export const write = (segment: string, links: ReadonlyArray<Link>): Uint8Array =>
  encoder.encode([`${JSON.stringify({ v: 1, segment })}\n`, ...links.map(textOf)].join(""))

const corrupt = (description: string) => new StoreError.Corrupt({ description })

/** The links of a segment, their hashes computed anew. */
export const read = Effect.fnUntraced(function* (
  content: Uint8Array
): Effect.fn.Return<ReadonlyArray<Link>, StoreError.Corrupt> {
  const lines = new TextDecoder().decode(content).split("\n")
  lines.pop()
  yield* Effect.mapError(decodeSegment(lines[0]), () => corrupt("the head of the segment cannot be read"))
  const links: Array<Link> = []
  for (let at = 1; at < lines.length;) {
    const head = yield* Effect.mapError(decodeLink(lines[at]), () => corrupt(`line ${at + 1} is no link of the log`))
    if (head.n < 1 || at + head.n >= lines.length) return yield* corrupt("the last link of the segment was cut short")
    links.push(link(head, lines.slice(at + 1, at + 1 + head.n)))
    at += 1 + head.n
  }
  return links
})
