/**
 * The index of a log: which segment has which positions. A list of references in the order of the log, to segments and to
 * pages, which are lists of the same kind in objects of their own, so that the list in the manifest stays short.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Id from "../../crypto/Id.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as BlobCodec from "../BlobCodec.ts"
import * as partsOf from "./parts.ts"

/** A segment (level 0), or a page of references of the level below. */
export const Ref = Schema.Struct({
  /** Name of the part. */
  p: partsOf.Name,
  /** Level. */
  l: Schema.Int,
  /** Entries. */
  n: Schema.Int,
  /** Segments. */
  s: Schema.Int,
  /** Bytes in the store, pages aside. */
  b: Schema.Int,
  /** Bytes of the content, compression aside. */
  c: Schema.Int,
  /** The time of the first and of the last entry. */
  t: Schema.Tuple([Schema.Int, Schema.Int]),
  /** Of a segment: a filter of the terms of its entries. Without, it may have any. */
  k: Schema.optionalKey(Schema.String)
})

export type Ref = typeof Ref.Type

export type Refs = ReadonlyArray<Ref>

const Page = Schema.Struct({
  /** Makes it another than all others, so that no name comes twice. */
  page: Schema.String,
  refs: Schema.Array(Ref)
})

/** How many references a page has. As many as twice that, less one, may lie beside each other in the manifest. */
export const pageRefs = 32

/** A reference and the position of its first entry. */
export interface Placed {
  readonly ref: Ref
  readonly from: number
}

const sum = (refs: Refs, of: (ref: Ref) => number): number => refs.reduce((total, ref) => total + of(ref), 0)

export const entriesIn = (refs: Refs): number => sum(refs, (ref) => ref.n)
export const segmentsIn = (refs: Refs): number => sum(refs, (ref) => ref.s)
export const bytesIn = (refs: Refs): number => sum(refs, (ref) => ref.b)

/** With the positions, the first of which is `first`. */
export const placed = (refs: Refs, first: number): ReadonlyArray<Placed> => {
  let from = first
  return refs.map((ref) => {
    const one = { ref, from }
    from += ref.n
    return one
  })
}

export interface LogIndex {
  /** Moves references into new pages until nowhere many of one level are beside each other. 1 PUT for each page. */
  readonly fold: (refs: Refs, generation: number) => Effect.Effect<Refs, StoreError.StoreError>
  /** What a page holds. 1 GET, none for those that were read lately. */
  readonly children: (page: Ref) => Effect.Effect<Refs, StoreError.StoreError>
  /** The first segment that `isWanted`, where each page that has one `isWanted` too. 1 GET for each level. */
  readonly find: (
    refs: Refs,
    first: number,
    isWanted: (placed: Placed) => boolean
  ) => Effect.Effect<Placed | undefined, StoreError.StoreError>
  /** All segments, and the pages on the way. 1 GET for each page. */
  readonly flatten: (
    refs: Refs
  ) => Effect.Effect<{ readonly segments: Refs; readonly pages: Refs }, StoreError.StoreError>
}

/** How many pages are remembered. */
const remembered = 64

export const make = (parts: partsOf.Parts): LogIndex => {
  const codec = BlobCodec.json(Page)
  const cache = new Map<string, Refs>()

  const remember = (name: string, refs: Refs) => {
    cache.set(name, refs)
    if (cache.size > remembered) cache.delete(cache.keys().next().value!)
  }

  const children = Effect.fnUntraced(function* (page: Ref) {
    const known = cache.get(page.p)
    if (known !== undefined) return known
    const bytes = yield* parts.get(page.p)
    const { refs } = yield* Effect.mapError(
      codec.decode(bytes, page.p),
      (reason) => new StoreError.StoreError({ operation: "get", key: parts.keyOf(page.p), reason })
    )
    remember(page.p, refs)
    return refs
  })

  const pageOf = Effect.fnUntraced(function* (refs: Refs, generation: number) {
    // Made of references alone, it always has a form.
    const bytes = yield* Effect.orDie(codec.encode({ page: yield* Id.writeId, refs }, ""))
    const p = yield* parts.put(generation, bytes)
    remember(p, refs)
    const page: Ref = {
      p,
      l: refs[0]!.l + 1,
      n: entriesIn(refs),
      s: segmentsIn(refs),
      b: bytesIn(refs),
      c: sum(refs, (ref) => ref.c),
      t: [refs[0]!.t[0], refs.at(-1)!.t[1]]
    }
    return page
  })

  /** The beginning of the first run of references of one level that is twice as long as a page. */
  const longRun = (refs: Refs): number | undefined => {
    for (let start = 0; start < refs.length;) {
      let end = start
      while (end < refs.length && refs[end]!.l === refs[start]!.l) end += 1
      if (end - start >= 2 * pageRefs) return start
      start = end
    }
    return undefined
  }

  const flatten: LogIndex["flatten"] = Effect.fnUntraced(function* (refs) {
    const segments: Array<Ref> = []
    const pages: Array<Ref> = []
    for (const ref of refs) {
      if (ref.l === 0) segments.push(ref)
      else {
        pages.push(ref)
        const below = yield* flatten(yield* children(ref))
        segments.push(...below.segments)
        pages.push(...below.pages)
      }
    }
    return { segments, pages }
  })

  return {
    children,
    flatten,
    fold: Effect.fnUntraced(function* (refs, generation) {
      let folded = refs
      for (;;) {
        const start = longRun(folded)
        if (start === undefined) return folded
        const page = yield* pageOf(folded.slice(start, start + pageRefs), generation)
        folded = [...folded.slice(0, start), page, ...folded.slice(start + pageRefs)]
      }
    }),
    find: Effect.fnUntraced(function* (refs, first, isWanted) {
      let [level, from] = [refs, first]
      for (;;) {
        const found = placed(level, from).find(isWanted)
        if (found === undefined || found.ref.l === 0) return found
        from = found.from
        level = yield* children(found.ref)
      }
    })
  }
}
