/** Queries against a part of an index: what its segments have, and documents by their scores. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { compareUtf8 } from "../../../internal/text.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import type { Block, Blocks } from "../../journalindex/internal/blocks.ts"
import { near } from "./edits.ts"
import { unpackNumbers } from "../../journalindex/internal/manifest.ts"
import type { Part, Segment } from "./manifest.ts"
import * as query from "./query.ts"
import type * as ranking from "./ranking.ts"
import * as segmentFile from "./segmentFile.ts"

/** More words than these are not looked up for one that is only like them. */
export const mostWords = 1_000

/** What scores are made of, to go on with the same on a later page. */
export const Basis = Schema.Struct({
  documents: Schema.Int,
  meanLengths: Schema.Array(Schema.Finite),
  having: Schema.Array(Schema.Tuple([Schema.String, Schema.Int]))
})
export type Basis = typeof Basis.Type

/** A document that was found, by the index. */
export interface Candidate {
  readonly id: string
  readonly score: number
}

/** Documents, the best first, those with the same score by their ids. */
export interface Ranked {
  readonly basis: Basis
  readonly statistics: query.Statistics
  /** How many there are. */
  readonly total: number
  /** The next ones, some at least, none at the end. For each segment 1 GET for each run of blocks with ids. */
  readonly next: (atLeast: number) => Effect.Effect<ReadonlyArray<Candidate>, StoreError.StoreError>
}

/** Which numbers are gone, of segments of a manifest that is in memory. */
const goneIn = new WeakMap<Segment, ReadonlySet<number>>()

const liveIn = (segment: Segment) => {
  if (segment.gone === "") return () => true
  const gone = goneIn.get(segment) ?? unpackNumbers(segment.gone) ?? new Set()
  goneIn.set(segment, gone)
  return (document: number) => !gone.has(document)
}

/** What the leaves of a query find in a segment. */
const lookupIn = Effect.fnUntraced(function* (
  blocks: Blocks,
  { key: object, list, terms }: Segment,
  leaves: ReadonlyArray<query.Leaf>
): Effect.fn.Return<
  ReadonlyArray<readonly [query.Leaf, ReadonlyArray<query.Found>]> | query.Problem,
  StoreError.StoreError
> {
  interface Name {
    readonly key: string
    readonly fields: ReadonlyArray<number>
    readonly likeness: number
  }
  const names: Array<{
    readonly leaf: query.Leaf
    readonly names: ReadonlyArray<Name>
    readonly prefixes: ReadonlyArray<query.Wanted>
  }> = []
  for (const leaf of leaves) {
    if (leaf._tag === "Prefix") names.push({ leaf, names: [], prefixes: leaf.wanted })
    else if (leaf._tag === "Fuzzy") {
      const some: Array<Name> = []
      for (const { fields, key } of leaf.wanted) {
        const space = key[0]!
        const listed = yield* blocks.read(object, segmentFile.blocksOfPrefix(list, space), segmentFile.listOf)
        const words = listed.flatMap((block) => block.flatMap(({ term }) => (term[0] === space ? [term.slice(1)] : [])))
        for (const { edits, term } of near(key.slice(1), leaf.edits, words)) {
          some.push({ key: space + term, fields, likeness: query.likenessOf(leaf, key, term, edits) })
        }
      }
      names.push({ leaf, names: some, prefixes: [] })
    } else {
      names.push({
        leaf,
        names: query.namesOf(leaf).map(({ fields, key }) => ({ key, fields, likeness: 1 })),
        prefixes: []
      })
    }
  }
  const wanted = new Set(names.flatMap(({ names }) => names.map(({ key }) => key)))
  const beginnings = names.flatMap(({ prefixes }) => prefixes.map(({ key }) => key))
  const withPositions = leaves.some(({ _tag }) => _tag === "Phrase")
  /** What is looked for in which block: a term, or all that begin so. */
  const places = new Map<Block<string>, Array<segmentFile.Reading & { readonly from: string }>>()
  const look = (block: Block<string>, from: string, isWanted: (term: string) => boolean) => {
    const reading = { from, isWanted, withPositions }
    const same = places.get(block)
    if (same === undefined) places.set(block, [reading])
    else same.push(reading)
  }
  for (const key of wanted) {
    const block = segmentFile.blockOfTerm(terms, key)
    if (block !== undefined) look(block, key, (term) => term === key)
  }
  for (const key of beginnings) {
    for (const block of segmentFile.blocksOfPrefix(terms, key)) look(block, key, (term) => term.startsWith(key))
  }
  const read = yield* blocks.read(object, [...places.keys()], (block, payload) =>
    Result.map(Result.all(places.get(block)!.map((reading) => segmentFile.termsOf(block, payload, reading))), (found) =>
      found.flat()
    )
  )
  const found = new Map(read.flatMap((some) => some.map(({ postings, term }) => [term, postings] as const)))
  const all: Array<readonly [query.Leaf, ReadonlyArray<query.Found>]> = []
  for (const { leaf, names: some, prefixes } of names) {
    const own: Array<query.Found> = some.flatMap((name) => {
      const postings = found.get(name.key)
      return postings === undefined ? [] : [{ ...name, postings }]
    })
    for (const { fields, key } of prefixes) {
      for (const [term, postings] of found) {
        if (!term.startsWith(key)) continue
        own.push({ key: term, fields, likeness: query.likenessOf(leaf, key, term, 0), postings })
      }
    }
    if (leaf._tag !== "Phrase" && own.length > mostWords) {
      return new query.Problem("query", `Expected a longer word: more than ${mostWords} words are like it`)
    }
    all.push([leaf, own])
  }
  return all
})

/** Finds the documents of a part that a query asks for. For each segment 1 GET for each run of blocks with its words. */
export const rank = Effect.fnUntraced(function* (
  blocks: Blocks,
  part: Part,
  node: query.Node,
  weights: ReadonlyArray<number>,
  { after, basis }: { readonly after?: Candidate | undefined; readonly basis?: Basis | undefined } = {}
): Effect.fn.Return<Ranked | query.Problem, StoreError.StoreError> {
  const leaves = query.leavesOf(node)
  const lookups = yield* Effect.forEach(part.segments, (segment) => lookupIn(blocks, segment, leaves), {
    concurrency: 8
  })
  const having = new Map<string, number>(basis?.having)
  const maps: Array<ReadonlyMap<query.Leaf, ReadonlyArray<query.Found>>> = []
  const live = part.segments.map(liveIn)
  for (const [i, found] of lookups.entries()) {
    if (found instanceof query.Problem) return found
    maps.push(new Map(found))
    if (basis !== undefined) continue
    const counted = new Set<string>()
    for (const [, some] of found) {
      for (const one of some) {
        const name = query.nameOf(one.key, one.fields)
        if (counted.has(name)) continue
        counted.add(name)
        having.set(name, (having.get(name) ?? 0) + query.havingIn(one, live[i]!))
      }
    }
  }
  const own: Basis = basis ?? {
    documents: part.documents,
    meanLengths: part.fields.map(({ having, words }) => (having === 0 ? 0 : words / having)),
    having: [...having]
  }
  const statistics: query.Statistics = {
    documents: own.documents,
    fields: weights.map((weight, i): ranking.Field => ({ weight, meanLength: own.meanLengths[i] ?? 0 })),
    having: (key, fields) => having.get(query.nameOf(key, fields)) ?? 0
  }
  interface Scored {
    readonly segment: number
    readonly document: number
    readonly score: number
  }
  const all: Array<Scored> = []
  let total = 0
  for (const [segment, found] of maps.entries()) {
    for (const [document, score] of query.evaluate(node, found, statistics, live[segment]!)) {
      total += 1
      if (after === undefined || score <= after.score) all.push({ segment, document, score })
    }
  }
  all.sort((a, b) => b.score - a.score)

  /** The ids of some, in their order. */
  const idsOf = Effect.fnUntraced(function* (some: ReadonlyArray<Scored>) {
    const ids = new Map<Scored, string>()
    const bySegment = Map.groupBy(some, ({ segment }) => segment)
    yield* Effect.forEach(
      bySegment,
      Effect.fnUntraced(function* ([index, scored]) {
        const segment = part.segments[index]!
        const places = new Map<Block<segmentFile.Numbered>, Array<Scored>>()
        for (const one of scored.toSorted((a, b) => a.document - b.document)) {
          const block = segmentFile.blockOfDocument(segment, one.document)
          if (block === undefined) continue
          const same = places.get(block)
          if (same === undefined) places.set(block, [one])
          else same.push(one)
        }
        const keys = [...places.keys()]
        const found = yield* blocks.read(segment.key, keys, (block, payload) => {
          const numbers = places.get(block)!.map(({ document }) => document - block.first.number)
          return segmentFile.someDocumentsOf(block, payload, numbers)
        })
        found.forEach((documents, i) => {
          places.get(keys[i]!)!.forEach((one, j) => {
            const document = documents[j]
            if (document !== undefined) ids.set(one, document.id)
          })
        })
      }),
      { concurrency: 8, discard: true }
    )
    return ids
  })

  let at = 0
  const next: Ranked["next"] = Effect.fnUntraced(function* (atLeast) {
    while (at < all.length) {
      let end = Math.min(all.length, at + Math.max(1, atLeast))
      // All with the same score, since their ids say which comes first.
      while (end < all.length && all[end]!.score === all[end - 1]!.score) end += 1
      const some = all.slice(at, end)
      at = end
      const ids = yield* idsOf(some)
      const found = some
        .flatMap((one) => {
          const id = ids.get(one)
          return id === undefined ? [] : [{ id, score: one.score }]
        })
        .filter(({ id, score }) => after === undefined || score < after.score || compareUtf8(id, after.id) > 0)
        .sort((a, b) => b.score - a.score || compareUtf8(a.id, b.id))
      if (found.length > 0) return found
    }
    return []
  })

  return { basis: own, statistics, total, next }
})

/** A word of the index that a leaf stands for. */
export interface Like {
  readonly key: string
  readonly fields: ReadonlyArray<number>
}

/** The words that are like one, those that most documents have first. For each segment 1 GET for each run of blocks of its list. */
export const wordsLike = Effect.fnUntraced(function* (
  blocks: Blocks,
  part: Part,
  leaf: query.Leaf
): Effect.fn.Return<ReadonlyArray<Like>, StoreError.StoreError> {
  const counts = new Map<
    string,
    { readonly key: string; readonly fields: ReadonlyArray<number>; count: number; edits: number }
  >()
  const edits = leaf._tag === "Fuzzy" ? leaf.edits : 0
  for (const segment of part.segments) {
    for (const { fields, key } of query.namesOf(leaf)) {
      const space = key[0]!
      const beginning = edits === 0 ? key : space
      const places = segmentFile.blocksOfPrefix(segment.list, beginning)
      const listed = (yield* blocks.read(segment.key, places, segmentFile.listOf)).flat()
      const own = listed.filter(({ term }) => term.startsWith(beginning))
      const documents = new Map(own.map((one) => [one.term, one.documents]))
      const fitting =
        edits === 0
          ? own.map((one) => ({ ...one, edits: 0 }))
          : near(
              key.slice(1),
              edits,
              own.map(({ term }) => term.slice(1))
            ).map((found) => ({
              term: space + found.term,
              edits: found.edits,
              documents: documents.get(space + found.term) ?? 0
            }))
      for (const one of fitting) {
        const name = query.nameOf(one.term, fields)
        const before = counts.get(name)
        if (before === undefined) counts.set(name, { key: one.term, fields, count: one.documents, edits: one.edits })
        else before.count += one.documents
      }
    }
  }
  return [...counts.values()].sort((a, b) => a.edits - b.edits || b.count - a.count || compareUtf8(a.key, b.key))
})
