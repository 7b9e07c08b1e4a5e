/** How parts of an index grow: by documents that came, changed and went, and by segments that are put together. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../../../crypto/Id.ts"
import { sameBytes } from "../../../internal/bytes.ts"
import { compareUtf8 } from "../../../internal/text.ts"
import type { ObjectStore } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"
import type { Block, Blocks } from "../../journalindex/internal/blocks.ts"
import type { Growth } from "../../journalindex/internal/indexer.ts"
import { packNumbers, unpackNumbers } from "../../journalindex/internal/manifest.ts"
import type { Part, Segment } from "./manifest.ts"
import * as segmentFile from "./segmentFile.ts"
import type { Worded } from "./terms.ts"

export interface Options {
  /** Without a slash at the end. */
  readonly prefix: string
  readonly blockBytes?: number | undefined
  /** Segments are put together up to this size. */
  readonly objectBytes: number
}

/** A document of a part, where it is in its segments. */
export interface Located extends segmentFile.Indexed {
  /** Of the segment. */
  readonly index: number
  readonly number: number
}

export interface Building extends Growth<Part, Worded> {
  /** Where documents are in a part, and what they had. The requests of reading the blocks with their ids. */
  readonly locate: (
    part: Part,
    ids: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Located>, StoreError.StoreError>
  /**
   * Puts what became of some documents, each once, into a part. For each segment that may have some of them the requests of reading the
   * blocks with their ids; 1 PUT where some have words.
   */
  readonly apply: Growth<Part, Worded>["apply"]
  /**
   * Puts some segments of a part together, if there are enough of about the same size, or `all`; nothing: there are not. 1 GET for each 512 KiB of each
   * of them, and 1 PUT.
   */
  readonly merge: Growth<Part, Worded>["merge"]
}

/** So many segments of about the same size become one. */
const fanIn = 4
const smallest = 256 * 1024

const tierOf = ({ size }: Segment): number => Math.max(0, Math.floor(Math.log(size / smallest) / Math.log(fanIn)))

const goneOf = (segment: Segment): ReadonlySet<number> => unpackNumbers(segment.gone) ?? new Set()

/** Which segments are to be one, if any: of the lowest tier that has enough, or one that is mostly gone. */
const chosen = (segments: ReadonlyArray<Segment>, objectBytes: number, all: boolean): ReadonlyArray<Segment> => {
  const fitting = (some: ReadonlyArray<Segment>): ReadonlyArray<Segment> => {
    const fit: Array<Segment> = []
    let size = 0
    for (const one of some.toSorted((a, b) => a.size - b.size)) {
      if (size + one.size > objectBytes) break
      size += one.size
      fit.push(one)
    }
    return fit
  }
  if (all) {
    const fit = fitting(segments)
    return fit.length > 1 || fit.some(({ gone }) => gone !== "") ? fit : []
  }
  const tiers = Map.groupBy(segments, tierOf)
  for (const tier of [...tiers.keys()].sort((a, b) => a - b)) {
    const fit = fitting(tiers.get(tier)!)
    if (fit.length >= fanIn) return fit
  }
  return segments.filter((one) => one.gone !== "" && goneOf(one).size * 2 > one.count).slice(0, 1)
}

/** Goes through blocks, each read when it is come to, several at a request. */
const through = <First, A>(
  blocks: Blocks,
  key: string,
  all: ReadonlyArray<Block<First>>,
  decode: (block: Block<First>, payload: Uint8Array) => Result.Result<ReadonlyArray<A>, StoreError.Corrupt>
) => {
  let items: ReadonlyArray<A> = []
  let at = 0
  let next = 0
  const pull: Effect.Effect<A | undefined, StoreError.StoreError> = Effect.suspend(() => {
    if (at < items.length) return Effect.succeed(items[at++])
    if (next >= all.length) return Effect.undefined
    const run: Array<Block<First>> = []
    let size = 0
    while (next < all.length && (run.length === 0 || size + all[next]!.size <= aheadBytes)) {
      size += all[next]!.size
      run.push(all[next++]!)
    }
    return Effect.flatMap(blocks.read(key, run, decode), (found) => {
      items = found.flat()
      at = 0
      return pull
    })
  })
  return pull
}

/** How much of a segment is read at a request while segments are put together. */
const aheadBytes = 512 * 1024

export const make = (store: ObjectStore["Service"], blocks: Blocks, options: Options): Building => {
  const { blockBytes, prefix, objectBytes } = options

  const put = Effect.fnUntraced(function* (encoder: segmentFile.Encoder, count: number) {
    const { body, directory } = encoder.end()
    const key = `${prefix}/segment/${yield* Id.writeId}`
    yield* store.put({ key, body, contentType: "application/octet-stream", ifNoneMatch: "*" })
    return { key, size: body.length, ...directory, count, gone: "" } satisfies Segment
  })

  const locate: Building["locate"] = Effect.fnUntraced(function* (part: Part, ids: ReadonlyArray<string>) {
    const all = yield* Effect.forEach(
      part.segments,
      Effect.fnUntraced(function* (segment, index) {
        const gone = goneOf(segment)
        const wanted = new Map<Block<segmentFile.Numbered>, Set<string>>()
        for (const id of ids) {
          const block = segmentFile.blockOfId(segment, id)
          if (block === undefined) continue
          const some = wanted.get(block)
          if (some === undefined) wanted.set(block, new Set([id]))
          else some.add(id)
        }
        const places = [...wanted.keys()]
        const found = yield* blocks.read(segment.key, places, segmentFile.documentsOf)
        return found.flatMap((documents, i) =>
          documents.flatMap((document, j) => {
            const number = places[i]!.first.number + j
            return wanted.get(places[i]!)!.has(document.id) && !gone.has(number) ? [{ ...document, index, number }] : []
          })
        )
      }),
      { concurrency: 4 }
    )
    return all.flat()
  })

  const apply: Building["apply"] = Effect.fnUntraced(function* (part, changes) {
    const found = yield* locate(
      part,
      changes.map(({ id }) => id)
    )
    const before = new Map(found.map((one) => [one.id, one]))
    const changed = changes.filter(({ id, item }) => {
      const old = before.get(id)
      if (item === undefined || old === undefined) return item !== old
      return !sameBytes(old.fingerprint, item.fingerprint)
    })
    if (changed.length === 0) return { part, retired: [] }
    const fields = part.fields.map((field) => ({ ...field }))
    let { documents } = part
    const count = (lengths: ReadonlyArray<number>, by: 1 | -1) => {
      documents += by
      lengths.forEach((length, i) => {
        const field = fields[i]
        if (field === undefined || length === 0) return
        field.having += by
        field.words += by * length
      })
    }
    const isChanged = new Set(changed.map(({ id }) => id))
    const left = Map.groupBy(
      found.filter(({ id }) => isChanged.has(id)),
      ({ index }) => index
    )
    const retired: Array<string> = []
    const segments = part.segments.flatMap((segment, index) => {
      const some = left.get(index)
      if (some === undefined) return [segment]
      for (const { lengths } of some) count(lengths, -1)
      const gone = [...goneOf(segment), ...some.map(({ number }) => number)].sort((a, b) => a - b)
      if (gone.length < segment.count) return [{ ...segment, gone: packNumbers(gone) }]
      retired.push(segment.key)
      return []
    })
    const present = changed
      .flatMap(({ id, item }) => (item === undefined ? [] : [{ id, ...item }]))
      .sort((a, b) => compareUtf8(a.id, b.id))
    for (const { lengths } of present) count(lengths, 1)
    if (present.length > 0) {
      const encoder = new segmentFile.Encoder(blockBytes)
      const byTerm = new Map<string, Array<segmentFile.Posting>>()
      present.forEach(({ terms }, document) => {
        for (const [term, fields] of terms) {
          const postings = byTerm.get(term)
          if (postings === undefined) byTerm.set(term, [{ document, fields }])
          else postings.push({ document, fields })
        }
      })
      for (const term of [...byTerm.keys()].sort(compareUtf8)) encoder.term({ term, postings: byTerm.get(term)! })
      for (const { fingerprint, id, lengths } of present) encoder.document({ id, fingerprint, lengths })
      segments.push(yield* put(encoder, present.length))
    }
    return { part: { ...part, documents, fields, segments }, retired }
  })

  const merge: Building["merge"] = Effect.fnUntraced(function* (part, all = false) {
    const some = chosen(part.segments, objectBytes, all)
    if (some.length === 0) return undefined
    const encoder = new segmentFile.Encoder(blockBytes)
    // Documents first: they have new numbers, by their ids.
    const numbers = some.map(({ count }) => new Int32Array(count).fill(-1))
    const documents = some.map((segment) => {
      const gone = goneOf(segment)
      const pull = through(blocks, segment.key, segment.documents, segmentFile.documentsOf)
      let number = -1
      return Effect.gen(function* () {
        for (;;) {
          const document = yield* pull
          number += 1
          if (document === undefined || !gone.has(number)) return document && { document, number }
        }
      })
    })
    const heads: Array<Effect.Success<(typeof documents)[number]>> = []
    for (const next of documents) heads.push(yield* next)
    let count = 0
    for (;;) {
      const least = leastOf(heads, (a, b) => compareUtf8(a.document.id, b.document.id))
      if (least < 0) break
      const { document, number } = heads[least]!
      encoder.document(document)
      numbers[least]![number] = count++
      heads[least] = yield* documents[least]!
    }
    const terms = some.map(({ key, terms }) => through(blocks, key, terms, segmentFile.storedOf))
    const next: Array<segmentFile.Stored | undefined> = []
    for (const pull of terms) next.push(yield* pull)
    for (;;) {
      const least = leastOf(next, (a, b) => compareUtf8(a.term, b.term))
      if (least < 0) break
      const { term } = next[least]!
      const sources: Array<{ readonly postings: Uint8Array; readonly numbers: Int32Array }> = []
      let from = ""
      for (let i = 0; i < next.length; i++) {
        const one = next[i]
        if (one?.term !== term) continue
        sources.push({ postings: one.postings, numbers: numbers[i]! })
        from = some[i]!.key
        next[i] = yield* terms[i]!
      }
      yield* Effect.fromResult(
        Result.mapError(
          encoder.merged(term, sources),
          (reason) => new StoreError.StoreError({ operation: "get", key: from, reason })
        )
      )
    }
    const merged = count === 0 ? [] : [yield* put(encoder, count)]
    const keys = new Set(some.map(({ key }) => key))
    const segments = [...part.segments.filter(({ key }) => !keys.has(key)), ...merged]
    return { part: { ...part, segments }, retired: [...keys] }
  })

  return { locate, apply, merge }
}

/** Which one comes first; -1: there is none. */
const leastOf = <A>(heads: ReadonlyArray<A | undefined>, compare: (a: A, b: A) => number): number => {
  let least = -1
  for (let i = 0; i < heads.length; i++) {
    const head = heads[i]
    if (head !== undefined && (least < 0 || compare(head, heads[least]!) < 0)) least = i
  }
  return least
}
