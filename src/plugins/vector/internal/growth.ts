/**
 * How parts of an index of vectors grow.
 *
 * New documents come into segments without lists, which are compared one by one. Where there are enough of them centres are found, and segments without lists, or with
 * those of other centres, are put into lists: as much at once as fits into memory. Segments with lists of the same centres are put together list by list, an object
 * at a time; how far that is stands in the part, so that whoever comes next goes on there.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Id from "../../../crypto/Id.ts"
import * as bytes from "../../../encoding/internal/bytes.ts"
import { joinBytes } from "../../../internal/bytes.ts"
import { compareUtf8 } from "../../../internal/text.ts"
import type { ObjectStore } from "../../../storage/ObjectStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import { type Block, type Blocks, checksumOf, corrupt, isAnother } from "../../journalindex/internal/blocks.ts"
import type { Change, Grown, Growth } from "../../journalindex/internal/indexer.ts"
import type * as Metrics from "../metrics.ts"
import * as packing from "./packing.ts"
import * as parts from "./parts.ts"
import * as training from "./training.ts"

export interface Options {
  /** Without a slash at the end. */
  readonly prefix: string
  readonly metric: Metrics.Metric
  readonly storage: packing.Storage
  readonly dimensions: number
  /** With fewer documents there are no lists. */
  readonly exactUntil: number
  /** How many lists there are for so many documents. */
  readonly listsFor: (documents: number) => number
  /** How large objects are, nearly, and how much is put into lists at once. */
  readonly objectBytes: number
}

/** A document of a part, where it is in its segments. */
export interface Located {
  readonly id: string
  readonly fingerprint: Uint8Array
  /** Of the segment. */
  readonly index: number
  readonly number: number
}

export interface Building extends Growth<parts.Part, packing.Packed> {
  /** Where documents are in a part. The requests of reading the blocks with their ids. */
  readonly locate: (
    part: parts.Part,
    ids: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Located>, StoreError.StoreError>
  /** Lists of a segment. 1 GET for each run of them that is not in memory. */
  readonly listsAt: (
    places: ReadonlyArray<parts.Place>
  ) => Effect.Effect<ReadonlyArray<packing.List>, StoreError.StoreError>
  /** The centres of lists. 1 GET, or none. */
  readonly centresAt: (centroids: parts.Centroids) => Effect.Effect<training.Centres, StoreError.StoreError>
  /** The ids of a block. */
  readonly idsAt: (
    segment: parts.Segment,
    index: number
  ) => Effect.Effect<ReadonlyArray<Numbered>, StoreError.StoreError>
}

/** An id, which document of the segment has it, and what its vector was. */
export interface Numbered {
  readonly id: string
  readonly number: number
  readonly fingerprint: Uint8Array
}

/** So many segments of about the same size become one. */
const fanIn = 4
const smallest = 256 * 1024
/** As many documents as this times those when centres were found: they are found anew. */
const growthOfLists = 4
const chunkBytes = 1024 * 1024
const idBlockBytes = 64 * 1024
/** For each list. */
const sampleOfList = 64
const mostSampled = 65_536
const mostSampleBytes = 128 * 1024 * 1024
/** How many lists are read to draw a sample. */
const mostDrawnFrom = 1_024
const fingerprintBytes = 8
const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Blocks one after the other, each with its checksum. */
class Body {
  private readonly all: Array<Uint8Array> = []
  size = 0

  add(payload: Uint8Array): { readonly start: number; readonly size: number } {
    const checksum = checksumOf(payload)
    const start = this.size
    this.all.push(payload, checksum)
    this.size += payload.length + checksum.length
    return { start, size: payload.length + checksum.length }
  }

  bytes(): Uint8Array {
    return joinBytes(this.all)
  }
}

/** Ids in blocks, ascending. */
class Ids {
  private writer = new bytes.Writer()
  private first: string | undefined
  readonly directory: Array<{ first: string; start: number; size: number }> = []
  last = ""
  private readonly body: Body

  constructor(body: Body) {
    this.body = body
  }

  add({ fingerprint, id, number }: Numbered): void {
    const encoded = encoder.encode(id)
    this.first ??= id
    this.last = id
    this.writer.uint(encoded.length)
    this.writer.bytes(encoded)
    this.writer.uint(number)
    this.writer.bytes(fingerprint)
    if (this.writer.length >= idBlockBytes) this.end()
  }

  end(): void {
    if (this.first === undefined) return
    this.directory.push({ first: this.first, ...this.body.add(this.writer.view().slice()) })
    this.first = undefined
    this.writer = new bytes.Writer()
  }
}

const idsOf = (
  { first }: Block<string>,
  payload: Uint8Array
): Result.Result<ReadonlyArray<Numbered>, StoreError.Corrupt> => {
  const reader = new bytes.Reader(payload)
  const all: Array<Numbered> = []
  try {
    while (!reader.done) {
      const id = decoder.decode(reader.bytes(reader.uint()))
      all.push({ id, number: reader.uint(), fingerprint: reader.bytes(fingerprintBytes).slice() })
    }
  } catch (error) {
    if (error instanceof bytes.Malformed || error instanceof TypeError) return corrupt(isAnother)
    throw error
  }
  return all[0]?.id === first ? Result.succeed(all) : corrupt("a block of a segment is another one")
}

const tierOf = (segment: parts.Segment): number =>
  Math.max(0, Math.floor(Math.log(parts.sizeOf(segment) / smallest) / Math.log(fanIn)))

/** Those of the lowest tier that has enough. */
const tierOfEnough = (segments: ReadonlyArray<parts.Segment>): ReadonlyArray<parts.Segment> => {
  const tiers = Map.groupBy(segments, tierOf)
  for (const tier of [...tiers.keys()].sort((a, b) => a - b)) {
    if (tiers.get(tier)!.length >= fanIn) return tiers.get(tier)!
  }
  return []
}

/** As many of them, the smallest first, as have so many bytes together. */
const within = (segments: ReadonlyArray<parts.Segment>, most: number): ReadonlyArray<parts.Segment> => {
  const some: Array<parts.Segment> = []
  let size = 0
  for (const segment of segments.toSorted((a, b) => parts.sizeOf(a) - parts.sizeOf(b))) {
    size += parts.sizeOf(segment)
    if (some.length > 0 && size > most) break
    some.push(segment)
  }
  return some
}

export const make = (store: ObjectStore["Service"], blocks: Blocks, options: Options): Building => {
  const { dimensions, exactUntil, listsFor, metric, objectBytes, prefix, storage } = options
  const rowBytes = dimensions * (storage === "int8" ? 1 : storage === "float16" ? 2 : 4) + 48
  const unpack = (payload: Uint8Array) => packing.unpackList(storage, payload)
  const decode = ({ first }: Block<parts.Place["first"]>, payload: Uint8Array) =>
    packing.listOf(storage, dimensions, first, payload)

  const putBody = Effect.fnUntraced(function* (body: Body) {
    const key = `${prefix}/segment/${yield* Id.writeId}`
    yield* store.put({ key, body: body.bytes(), contentType: "application/octet-stream", ifNoneMatch: "*" })
    return { key, size: body.size }
  })

  const listsAt: Building["listsAt"] = Effect.fnUntraced(function* (places) {
    const byKey = Map.groupBy(places, ({ key }) => key)
    const found = new Map<parts.Place, packing.List>()
    yield* Effect.forEach(
      byKey,
      Effect.fnUntraced(function* ([key, some]) {
        const lists = yield* blocks.read(key, some, decode, unpack)
        some.forEach((place, i) => found.set(place, lists[i]!))
      }),
      { concurrency: 4, discard: true }
    )
    return places.map((place) => found.get(place)!)
  })

  const centresAt: Building["centresAt"] = Effect.fnUntraced(function* ({ count, key, size }) {
    const [centres] = yield* blocks.read(
      key,
      [{ first: count, start: 0, size }],
      (_, payload): Result.Result<training.Centres, StoreError.Corrupt> => {
        if (payload.length !== count * dimensions * 4) return corrupt(isAnother)
        const data = new Float32Array(payload.buffer, payload.byteOffset, count * dimensions)
        return Result.succeed(training.centresOf({ data, count, dimensions }))
      },
      (payload) => (payload.byteOffset % 4 === 0 ? payload : new Uint8Array(payload))
    )
    return centres!
  })

  const idsAt: Building["idsAt"] = (segment, index) => {
    const { object, ...block } = segment.ids[index]!
    return Effect.map(blocks.read(segment.objects[object]!.key, [block], idsOf), ([ids]) => ids!)
  }

  /** The block that has an id, if one does. */
  const blockOf = ({ ids, last }: parts.Segment, id: string): number => {
    if (compareUtf8(id, last) > 0) return -1
    let [low, high] = [0, ids.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareUtf8(ids[middle]!.first, id) <= 0) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  const locate: Building["locate"] = Effect.fnUntraced(function* (part, ids) {
    const all = yield* Effect.forEach(
      part.segments,
      Effect.fnUntraced(function* (segment, index) {
        const wanted = new Map<number, Set<string>>()
        for (const id of ids) {
          const block = blockOf(segment, id)
          if (block < 0) continue
          const some = wanted.get(block)
          if (some === undefined) wanted.set(block, new Set([id]))
          else some.add(id)
        }
        if (wanted.size === 0) return []
        const gone = parts.goneOf(segment)
        const located: Array<Located> = []
        const byObject = Map.groupBy(wanted.keys(), (block) => segment.ids[block]!.object)
        for (const [object, some] of byObject) {
          const places = some.map((block) => segment.ids[block]!)
          const found = yield* blocks.read(segment.objects[object]!.key, places, idsOf)
          found.forEach((numbered, i) => {
            for (const one of numbered) {
              if (wanted.get(some[i]!)!.has(one.id) && !gone.has(one.number)) located.push({ ...one, index })
            }
          })
        }
        return located
      }),
      { concurrency: 4 }
    )
    return all.flat()
  })

  /** What a part became, with what it names no more. */
  const grown = (before: parts.Part, after: parts.Part): Grown<parts.Part> => {
    const used = new Set(after.segments.flatMap(({ centroids }) => (centroids === undefined ? [] : [centroids])))
    const part = {
      ...after,
      centroids: after.centroids.filter(({ key }, i) => i === after.centroids.length - 1 || used.has(key))
    }
    const now = new Set(parts.form.keysOf(part))
    return { part, retired: parts.form.keysOf(before).filter((key) => !now.has(key)) }
  }

  const isMerged = (part: parts.Part, segment: parts.Segment): boolean =>
    part.merging?.sources.some(({ key }) => key === parts.keyOf(segment)) === true

  /** Says of some documents of segments, by the number of the segment, that they are no more. */
  const without = (part: parts.Part, left: ReadonlyMap<number, Iterable<number>>): ReadonlyArray<parts.Segment> =>
    part.segments.flatMap((segment, index) => {
      const numbers = left.get(index)
      if (numbers === undefined) return [segment]
      const gone = parts.goneOf(segment)
      for (const number of numbers) gone.add(number)
      // One that is put together with others has to stay until it is.
      return gone.size < segment.count || isMerged(part, segment) ? [{ ...segment, gone: gone.toText() }] : []
    })

  type Fresh = packing.Entry & { readonly fingerprint: Uint8Array }

  /** Writes a segment that fits into memory. */
  const write = Effect.fnUntraced(function* (
    lists: ReadonlyArray<ReadonlyArray<Fresh>>,
    error: number,
    centroids: string | undefined
  ) {
    const body = new Body()
    const numbered: Array<Numbered> = []
    const pairs = lists.map((entries, list) => {
      if (entries.length === 0) return [0, 0] as const
      for (const { fingerprint, id } of entries) numbered.push({ id, fingerprint, number: numbered.length })
      return [entries.length, body.add(packing.encodeList(storage, dimensions, list, entries)).size] as const
    })
    numbered.sort((a, b) => compareUtf8(a.id, b.id))
    const ids = new Ids(body)
    for (const one of numbered) ids.add(one)
    ids.end()
    const object = yield* putBody(body)
    const segment: parts.Segment = {
      ...(centroids === undefined ? {} : { centroids }),
      objects: [{ ...object, lists: parts.packPairs(pairs) }],
      ids: ids.directory.map((block) => ({ ...block, object: 0 })),
      last: ids.last,
      count: numbered.length,
      gone: "",
      error
    }
    return segment
  })

  /** In lists of about a megabyte, as they are compared one by one. */
  const chunked = (entries: ReadonlyArray<Fresh>): ReadonlyArray<ReadonlyArray<Fresh>> => {
    const size = Math.max(1, Math.floor(chunkBytes / rowBytes))
    return Array.from({ length: Math.ceil(entries.length / size) }, (_, i) => entries.slice(i * size, (i + 1) * size))
  }

  const apply: Building["apply"] = Effect.fnUntraced(function* (
    part: parts.Part,
    changes: ReadonlyArray<Change<packing.Packed>>
  ) {
    const found = yield* locate(
      part,
      changes.map(({ id }) => id)
    )
    const before = new Map(found.map((one) => [one.id, one]))
    const changed = changes.filter(({ id, item }) => {
      const old = before.get(id)
      if (item === undefined || old === undefined) return item !== old
      return !packing.sameFingerprint(item, old.fingerprint)
    })
    if (changed.length === 0) return { part, retired: [] }
    const isChanged = new Set(changed.map(({ id }) => id))
    const left = found.filter(({ id }) => isChanged.has(id))
    const numbers = new Map<number, Array<number>>()
    for (const { index, number } of left) {
      const some = numbers.get(index)
      if (some === undefined) numbers.set(index, [number])
      else some.push(number)
    }
    const segments = [...without(part, numbers)]
    const fresh = changed
      .flatMap(({ id, item }) => (item === undefined ? [] : [{ id, ...item }]))
      .sort((a, b) => compareUtf8(a.id, b.id))
    const error = fresh.reduce((most, one) => Math.max(most, one.error), 0)
    if (fresh.length > 0) segments.push(yield* write(chunked(fresh), error, undefined))
    return grown(part, { ...part, documents: part.documents - left.length + fresh.length, segments })
  })

  // ---------------------------------------------------------------------------
  // Centres
  // ---------------------------------------------------------------------------

  /** Vectors drawn from all, as lists go by them. */
  const sampled = Effect.fnUntraced(function* (part: parts.Part, most: number) {
    const random = yield* Random.Random
    const places = part.segments.flatMap((segment) => {
      const gone = parts.goneOf(segment)
      return parts.placesOf(segment).map((place) => ({ gone, place }))
    })
    for (let i = 0; i < Math.min(places.length, mostDrawnFrom); i++) {
      const at = i + Math.floor(random.nextDoubleUnsafe() * (places.length - i))
      ;[places[i], places[at]] = [places[at]!, places[i]!]
    }
    const drawn = places.slice(0, mostDrawnFrom)
    const there = drawn.reduce((sum, { place }) => sum + place.first.count, 0)
    const size = Math.min(most, there)
    const data = new Float32Array(size * dimensions)
    let count = 0
    let left = there
    for (const { gone, place } of drawn) {
      const [list] = yield* listsAt([place])
      for (let i = 0; i < list!.count; i++) {
        // Each of those that are left has the same chance to be one of those that are still wanted.
        const isDrawn = random.nextDoubleUnsafe() * left < size - count
        left -= 1
        if (!isDrawn || gone.has(place.number + i)) continue
        const { row, step } = packing.entryOf(list!, dimensions, i)
        training.prepare(metric, row, step, data, count * dimensions)
        count += 1
      }
      yield* Effect.yieldNow
    }
    return { data: data.subarray(0, count * dimensions), count, dimensions }
  })

  const train = Effect.fnUntraced(function* (part: parts.Part) {
    const lists = Math.max(1, Math.min(part.documents, listsFor(part.documents)))
    const wanted = Math.min(lists * sampleOfList, mostSampled, Math.floor(mostSampleBytes / (dimensions * 4)))
    const sample = yield* sampled(part, Math.max(wanted, lists))
    const queries = training.holdOut(sample)
    const most = sample.count - queries
    const centres = yield* training.train(metric, { ...sample, count: most }, Math.min(lists, most))
    const probes = yield* training.calibrate(metric, sample, centres, queries)
    const body = new Body()
    body.add(new Uint8Array(centres.data.buffer, centres.data.byteOffset, centres.data.byteLength))
    const { key, size } = yield* putBody(body)
    const centroids = { key, size, count: centres.count, documents: part.documents, probes }
    return grown(part, { ...part, centroids: [...part.centroids, centroids] })
  })

  /** Whether there are no centres and enough documents, or far more than when they were found. */
  const isUntrained = ({ centroids, documents }: parts.Part): boolean => {
    if (documents < Math.max(1, exactUntil)) return false
    const now = centroids.at(-1)
    return now === undefined || documents >= growthOfLists * now.documents
  }

  // ---------------------------------------------------------------------------
  // Lists
  // ---------------------------------------------------------------------------

  /** What of a segment is put into lists at once. */
  interface Slice {
    readonly index: number
    readonly segment: parts.Segment
    readonly places: ReadonlyArray<parts.Place>
  }

  /** Reads what is there of some slices, one list after the other. */
  const entriesOf = Effect.fnUntraced(function* (slices: ReadonlyArray<Slice>) {
    const entries: Array<Fresh> = []
    for (const { places, segment } of slices) {
      const gone = parts.goneOf(segment)
      const from = places[0]?.number ?? 0
      const last = places.at(-1)
      const to = last === undefined ? 0 : last.number + last.first.count
      const fingerprints = new Map<number, Uint8Array>()
      for (let i = 0; i < segment.ids.length; i++) {
        for (const { fingerprint, number } of yield* idsAt(segment, i)) {
          if (number >= from && number < to) fingerprints.set(number, fingerprint)
        }
      }
      const lists = yield* listsAt(places)
      places.forEach(({ number }, i) => {
        const list = lists[i]!
        for (let j = 0; j < list.count; j++) {
          const fingerprint = fingerprints.get(number + j)
          if (gone.has(number + j) || fingerprint === undefined) continue
          entries.push({ ...packing.entryOf(list, dimensions, j), fingerprint })
        }
      })
    }
    return entries
  })

  /** Puts slices of segments into lists of some centres, or, without these, together. */
  const sorted = Effect.fnUntraced(function* (
    part: parts.Part,
    slices: ReadonlyArray<Slice>,
    centroids: parts.Centroids | undefined
  ) {
    const entries = yield* entriesOf(slices)
    const error = slices.reduce((most, { segment }) => Math.max(most, segment.error), 0)
    let lists: ReadonlyArray<ReadonlyArray<Fresh>>
    if (centroids === undefined) lists = chunked(entries.sort((a, b) => compareUtf8(a.id, b.id)))
    else {
      const centres = yield* centresAt(centroids)
      const data = new Float32Array(entries.length * dimensions)
      entries.forEach(({ row, step }, i) => training.prepare(metric, row, step, data, i * dimensions))
      const labels = new Int32Array(entries.length)
      yield* training.assign({ data, count: entries.length, dimensions }, centres, labels)
      const all: Array<Array<Fresh>> = Array.from({ length: centres.count }, () => [])
      entries.forEach((entry, i) => all[labels[i]!]!.push(entry))
      lists = all
    }
    const left = new Map(
      slices.map(({ index, places }) => [
        index,
        places.flatMap(({ first, number }) => Array.from({ length: first.count }, (_, i) => number + i))
      ])
    )
    const segments = [...without(part, left)]
    if (entries.length > 0) segments.push(yield* write(lists, error, centroids?.key))
    return grown(part, { ...part, segments })
  })

  const wholeOf = (part: parts.Part, segment: parts.Segment): Slice => ({
    index: part.segments.indexOf(segment),
    segment,
    places: parts.placesOf(segment)
  })

  /** As much of a segment as is put into lists at once: of what is there no more nothing is left to do. */
  const nextOf = (part: parts.Part, segment: parts.Segment): Slice => {
    const gone = parts.goneOf(segment)
    const places: Array<parts.Place> = []
    let size = 0
    for (const place of parts.placesOf(segment)) {
      let isLeft = false
      for (let i = 0; i < place.first.count && !isLeft; i++) isLeft = !gone.has(place.number + i)
      if (!isLeft) continue
      if (places.length > 0 && size + place.size > objectBytes) break
      size += place.size
      places.push(place)
    }
    return { index: part.segments.indexOf(segment), segment, places }
  }

  /** A step of putting segments with the same lists together: an object, and, with the last one, the ids. */
  const merged = Effect.fnUntraced(function* (
    part: parts.Part,
    { next, objects, sources }: NonNullable<parts.Part["merging"]>
  ) {
    const segments = sources.map(({ key }) => part.segments.find((segment) => parts.keyOf(segment) === key)!)
    const old = sources.map(({ gone }, i) => new parts.Gone(segments[i]!.count, gone))
    const places = segments.map((segment) => new Map(parts.placesOf(segment).map((place) => [place.first.list, place])))
    const centroids = part.centroids.find(({ key }) => key === segments[0]!.centroids)!
    const body = new Body()
    const pairs: Array<readonly [number, number]> = []
    let list = next
    for (; list < centroids.count && body.size < objectBytes; list++) {
      const entries: Array<packing.Entry> = []
      for (const [i, ofSegment] of places.entries()) {
        const place = ofSegment.get(list)
        if (place === undefined) continue
        const [found] = yield* ahead(i, ofSegment, list)
        for (let j = 0; j < place.first.count; j++) {
          if (!old[i]!.has(place.number + j)) entries.push(packing.entryOf(found!, dimensions, j))
        }
      }
      if (entries.length === 0) {
        pairs.push([0, 0])
        continue
      }
      pairs.push([entries.length, body.add(packing.encodeList(storage, dimensions, list, entries)).size])
      yield* Effect.yieldNow
    }
    const lists = parts.packPairs(pairs)
    if (list < centroids.count) {
      const object = { ...(yield* putBody(body)), lists }
      return grown(part, { ...part, merging: { sources, objects: [...objects, object], next: list } })
    }
    // Which number each document has from now on.
    const numbers = segments.map(({ count }) => new Int32Array(count).fill(-1))
    let count = 0
    for (let l = 0; l < centroids.count; l++) {
      for (const [i, ofSegment] of places.entries()) {
        const place = ofSegment.get(l)
        if (place === undefined) continue
        for (let j = 0; j < place.first.count; j++) {
          if (!old[i]!.has(place.number + j)) numbers[i]![place.number + j] = count++
        }
      }
    }
    const all: Array<{ key: string; size: number; lists: string }> = [...objects]
    const directory: Array<parts.Segment["ids"][number]> = []
    let last = ""
    let ids = new Ids(body)
    let current = body
    const flush = Effect.fnUntraced(function* () {
      ids.end()
      if (current.size === 0) return
      for (const block of ids.directory) directory.push({ ...block, object: all.length })
      if (ids.last !== "") last = ids.last
      all.push({ ...(yield* putBody(current)), lists: all.length === objects.length ? lists : "" })
      current = new Body()
      ids = new Ids(current)
    })
    const pulls = segments.map((segment, i) => {
      let block = 0
      let at = 0
      let found: ReadonlyArray<Numbered> = []
      return Effect.gen(function* () {
        for (;;) {
          while (at < found.length) {
            const one = found[at++]!
            const number = numbers[i]![one.number]!
            if (number >= 0) return { ...one, number }
          }
          if (block >= segment.ids.length) return undefined
          found = yield* idsAt(segment, block++)
          at = 0
          yield* Effect.yieldNow
        }
      })
    })
    const heads: Array<Numbered | undefined> = []
    for (const pull of pulls) heads.push(yield* pull)
    for (;;) {
      let least = -1
      for (const [i, head] of heads.entries()) {
        if (head !== undefined && (least < 0 || compareUtf8(head.id, heads[least]!.id) < 0)) least = i
      }
      if (least < 0) break
      ids.add(heads[least]!)
      heads[least] = yield* pulls[least]!
      if (current.size >= objectBytes * 1.25) yield* flush()
    }
    yield* flush()
    const left = new parts.Gone(count, "")
    for (const [i, segment] of segments.entries()) {
      const now = parts.goneOf(segment)
      for (let j = 0; j < segment.count; j++) if (now.has(j) && numbers[i]![j]! >= 0) left.add(numbers[i]![j]!)
    }
    const { merging: _, ...rest } = part
    const segment: parts.Segment = {
      centroids: centroids.key,
      objects: all,
      ids: directory,
      last,
      count,
      gone: left.toText(),
      error: segments.reduce((most, { error }) => Math.max(most, error), 0)
    }
    const others = part.segments.filter((one) => !segments.includes(one))
    return grown(part, { ...rest, segments: left.size < count ? [...others, segment] : others })
  })

  /** Reads a list, and with it those behind it that will be wanted: a range of a few megabytes at once. */
  const ahead = (
    source: number,
    places: ReadonlyMap<number, parts.Place>,
    list: number
  ): Effect.Effect<ReadonlyArray<packing.List>, StoreError.StoreError> => {
    const place = places.get(list)!
    const known = readAhead.get(source)
    if (known?.places === places && known.lists.has(place)) return Effect.succeed([known.lists.get(place)!])
    const some: Array<parts.Place> = []
    let size = 0
    for (const next of places.values()) {
      if (next.first.list < list) continue
      if (some.length > 0 && (next.key !== place.key || size + next.size > aheadBytes)) break
      size += next.size
      some.push(next)
    }
    return Effect.map(listsAt(some), (lists) => {
      readAhead.set(source, { places, lists: new Map(some.map((one, i) => [one, lists[i]!])) })
      return [lists[0]!]
    })
  }
  const readAhead = new Map<
    number,
    { readonly places: unknown; readonly lists: ReadonlyMap<parts.Place, packing.List> }
  >()

  const merging = (part: parts.Part, segments: ReadonlyArray<parts.Segment>) =>
    merged(part, {
      sources: segments.map((segment) => ({ key: parts.keyOf(segment), gone: segment.gone })),
      objects: [],
      next: 0
    })

  const isMostlyGone = (segment: parts.Segment): boolean =>
    segment.gone !== "" && parts.goneOf(segment).size * 2 > segment.count

  const merge: Building["merge"] = Effect.fnUntraced(function* (part: parts.Part, all = false) {
    if (part.merging !== undefined) return yield* merged(part, part.merging).pipe(Effect.ensuring(forget))
    // While documents are gone through, what there is says little of those that come.
    if (part.scan !== undefined) return undefined
    if (isUntrained(part)) return yield* train(part)
    const centroids = part.centroids.at(-1)
    const now = centroids?.key
    const isFlat = (segment: parts.Segment) => segment.centroids === undefined
    const stale = part.segments.find((segment) => !isFlat(segment) && segment.centroids !== now)
    if (stale !== undefined) return yield* sorted(part, [nextOf(part, stale)], centroids)
    const flat = part.segments.filter(isFlat)
    const whole = (some: ReadonlyArray<parts.Segment>) =>
      within(some, objectBytes).map((segment) => wholeOf(part, segment))
    if (centroids !== undefined && isEnough(flat, all)) return yield* sorted(part, whole(flat), centroids)
    const some = whole(all ? flat : tierOfEnough(flat))
    if (some.length > 1) return yield* sorted(part, some, undefined)
    const ragged = flat.find(
      (one) => (all ? one.gone !== "" : isMostlyGone(one)) && parts.sizeOf(one) <= objectBytes * 2
    )
    if (ragged !== undefined) return yield* sorted(part, [wholeOf(part, ragged)], undefined)
    const listed = part.segments.filter((segment) => !isFlat(segment))
    const isWorth = listed.length > 1 || listed.some(({ gone }) => gone !== "")
    const chosen = all ? (isWorth ? listed : []) : tierOfEnough(listed)
    const next = chosen.length > 0 ? chosen : listed.filter(isMostlyGone).slice(0, 1)
    return next.length === 0 ? undefined : yield* merging(part, next).pipe(Effect.ensuring(forget))
  })

  /** Whether segments without lists are to be put into some. */
  const isEnough = (flat: ReadonlyArray<parts.Segment>, all: boolean): boolean =>
    all
      ? flat.length > 0
      : flat.length >= fanIn ** 2 || flat.reduce((sum, one) => sum + parts.sizeOf(one), 0) >= listedBytes

  const forget = Effect.sync(() => readAhead.clear())

  return { apply, merge, locate, listsAt, centresAt, idsAt }
}

/** How much of segments without lists there may be beside those with them. */
const listedBytes = 4 * 1024 * 1024
const aheadBytes = 4 * 1024 * 1024
