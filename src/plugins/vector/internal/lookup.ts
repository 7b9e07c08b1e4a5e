/** The nearest vectors that a part has, nearest first, of as many lists as are looked at. */
import * as Effect from "effect/Effect"
import { compareUtf8 } from "../../../internal/text.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import type * as Metrics from "../metrics.ts"
import type { Building } from "./growth.ts"
import * as packing from "./packing.ts"
import * as parts from "./parts.ts"
import * as training from "./training.ts"

export interface Hit {
  readonly id: string
  /** Of the vector that is kept. */
  readonly distance: number
}

export interface Settings {
  readonly metric: Metrics.Metric
  readonly storage: packing.Storage
  readonly dimensions: number
}

/** What is looked for. */
export interface Wanted {
  readonly vector: ReadonlyArray<number>
  /** Whether a document may be given. Default: each. */
  readonly accepts?: ((id: string) => boolean) | undefined
  /** Nothing that is nearer than this is wanted. */
  readonly from: number
  /** Nothing up to this one, by its rank, is wanted. Default: everything from `from` on. */
  readonly after?: Hit | undefined
  /** How many are wanted at first. */
  readonly enough: number
}

/** The hits of a vector so far. */
export interface Hits {
  /** The next one. It is looked for in the lists that were looked at. */
  readonly peek: Effect.Effect<Hit | undefined, StoreError.StoreError>
  readonly take: () => void
}

export interface Lookup {
  readonly hits: ReadonlyArray<Hits>
  /** Looks at more lists: as many times those that the recall asks for. `false`: there are no more. */
  readonly widen: (times: number) => Effect.Effect<boolean, StoreError.StoreError>
  /** How many lists, and vectors in them, were looked at, those that are no more included. */
  readonly looked: () => { readonly lists: number; readonly vectors: number }
}

export const byRank = (a: Hit, b: Hit): number => a.distance - b.distance || compareUtf8(a.id, b.id)

interface Entry {
  distance: number
  readonly list: packing.List
  readonly index: number
  id: string | undefined
}

/** The nearest few of many. Of `int8` they are nearly in order until the end. */
class Nearest {
  private entries: Array<Entry> = []
  private cutoff = Infinity
  /** Whether any was left out that is farther. */
  isCut = false
  private readonly wanted: Wanted
  private readonly most: number
  private readonly beyond: Hit | undefined
  private readonly scorer: packing.Scorer

  constructor(wanted: Wanted, scorer: packing.Scorer, most: number, beyond: Hit | undefined) {
    this.wanted = wanted
    this.scorer = scorer
    this.most = most
    this.beyond = beyond
  }

  add(list: packing.List, index: number): void {
    const distance = this.scorer.distance(list, index)
    if (distance > this.cutoff) {
      this.isCut = true
      return
    }
    const { beyond } = this
    const least = beyond === undefined ? this.wanted.from : Math.max(this.wanted.from, beyond.distance)
    if (distance < least - this.scorer.slack(least)) return
    const entry: Entry = { distance, list, index, id: undefined }
    if (beyond !== undefined && distance <= beyond.distance + this.scorer.slack(beyond.distance)) {
      entry.id = list.id(index)
      if (byRank({ id: entry.id, distance: this.scorer.exact(list, index) }, beyond) <= 0) return
    }
    if (this.wanted.accepts !== undefined && !this.wanted.accepts((entry.id ??= list.id(index)))) return
    this.entries.push(entry)
    if (this.entries.length >= 2 * this.most + 64) this.cut()
  }

  private cut(): void {
    this.entries.sort((a, b) => a.distance - b.distance)
    const { distance } = this.entries[this.most - 1]!
    this.cutoff = distance + this.scorer.slack(distance)
    const kept = this.entries.filter((entry) => entry.distance <= this.cutoff)
    if (kept.length < this.entries.length) this.isCut = true
    this.entries = kept
    // Many that are as near as each other.
    if (kept.length >= 2 * this.most) this.rank()
  }

  /** By what is exact; no more than are wanted. */
  private rank(): ReadonlyArray<Hit> {
    const ranked = this.entries
      .map((entry) => {
        entry.id ??= entry.list.id(entry.index)
        return { entry, hit: { id: entry.id, distance: this.scorer.exact(entry.list, entry.index) } }
      })
      .sort((a, b) => byRank(a.hit, b.hit))
    if (ranked.length > this.most) {
      this.isCut = true
      ranked.length = this.most
      this.entries = ranked.map(({ entry }) => entry)
    }
    return ranked.map(({ hit }) => hit)
  }

  result(): ReadonlyArray<Hit> {
    if (this.entries.length > this.most) this.cut()
    return this.rank()
  }
}

/** How many bytes of lists are in memory at once, beside those that are kept anyway. */
const groupBytes = 16 * 1024 * 1024
/** Multiplications between two looks at whether somebody else wants the thread. */
const stint = 4_000_000

/** How many lists of some centres are looked at. */
export const probesFor = (
  { count, probes }: parts.Centroids,
  options: { readonly probes: number | undefined; readonly recall: number }
): number => {
  if (options.probes !== undefined) return Math.min(count, options.probes)
  if (options.recall >= 1) return count
  return probes.find(({ recall }) => recall >= options.recall)?.lists ?? count
}

/** Looks for several vectors at once, so that a list is read once. Nothing is read before it is widened. */
export const make = Effect.fnUntraced(function* (
  growth: Pick<Building, "centresAt" | "listsAt">,
  { dimensions, metric, storage }: Settings,
  part: parts.Part,
  wanted: ReadonlyArray<Wanted>,
  options: { readonly probes: number | undefined; readonly recall: number }
): Effect.fn.Return<Lookup, StoreError.StoreError> {
  const segments = part.segments.map((segment) => {
    const centroids = part.centroids.find(({ key }) => key === segment.centroids)
    const places = parts.placesOf(segment)
    return {
      centroids,
      places,
      byList: new Map(places.map((place) => [place.first.list, place])),
      gone: parts.goneOf(segment)
    }
  })
  const orders = new Map<parts.Centroids, ReadonlyArray<Uint32Array>>()
  const used = part.centroids.filter((one) => segments.some(({ centroids }) => centroids === one))
  for (const centroids of used) {
    const centres = yield* growth.centresAt(centroids)
    orders.set(
      centroids,
      wanted.map(({ vector }) => {
        const prepared = new Float32Array(dimensions)
        training.prepare(metric, vector, 1, prepared, 0)
        return training.orderOf(metric, centres, prepared)
      })
    )
  }
  const scorers = wanted.map(({ vector }) => packing.scorerOf(metric, storage, vector))
  let lists = 0
  let vectors = 0
  /** Up to which of its lists, the nearest first, each of some centres has been looked at; `undefined`: nothing has been looked at. */
  let done: ReadonlyMap<parts.Centroids, number> | undefined

  /** Looks at lists for some vectors, each by its number. */
  const pass = Effect.fnUntraced(function* (
    from: ReadonlyMap<parts.Centroids, number> | undefined,
    to: ReadonlyMap<parts.Centroids, number>,
    nearest: ReadonlyMap<number, Nearest>,
    isCounted: boolean
  ) {
    for (const { byList, centroids, gone, places } of segments) {
      let some: ReadonlyArray<readonly [parts.Place, ReadonlyArray<number>]>
      if (centroids === undefined) {
        if (from !== undefined) continue
        const every = [...nearest.keys()]
        some = places.map((place) => [place, every] as const)
      } else {
        const asking = new Map<parts.Place, Array<number>>()
        for (const query of nearest.keys()) {
          const order = orders.get(centroids)![query]!
          for (let rank = from?.get(centroids) ?? 0; rank < to.get(centroids)!; rank++) {
            const place = byList.get(order[rank]!)
            if (place === undefined) continue
            const queries = asking.get(place)
            if (queries === undefined) asking.set(place, [query])
            else queries.push(query)
          }
        }
        some = [...asking].sort(([a], [b]) => a.number - b.number)
      }
      for (let at = 0; at < some.length;) {
        const group: Array<(typeof some)[number]> = []
        let size = 0
        while (at < some.length && (group.length === 0 || size + some[at]![0].size <= groupBytes)) {
          size += some[at]![0].size
          group.push(some[at++]!)
        }
        const found = yield* growth.listsAt(group.map(([place]) => place))
        let worked = 0
        for (const [i, [place, queries]] of group.entries()) {
          const list = found[i]!
          for (const query of queries) {
            const into = nearest.get(query)!
            for (let j = 0; j < list.count; j++) if (!gone.has(place.number + j)) into.add(list, j)
            worked += list.count * dimensions
            if (worked > stint) {
              worked = 0
              yield* Effect.yieldNow
            }
          }
          if (!isCounted) continue
          lists += 1
          vectors += list.count
        }
      }
    }
  })

  interface State {
    queue: Array<Hit>
    at: number
    most: number
    /** The last one up to which nothing is missing in the queue, where more are known of. */
    border: Hit | undefined
  }
  const states = wanted.map(({ enough }): State => ({
    queue: [],
    at: 0,
    most: Math.max(64, enough * 2),
    border: undefined
  }))

  const absorb = (state: State, nearest: Nearest) => {
    const hits = nearest.result()
    const rest = [...state.queue.slice(state.at), ...hits].sort(byRank)
    const last = nearest.isCut ? hits.at(-1) : undefined
    if (last !== undefined && (state.border === undefined || byRank(last, state.border) < 0)) state.border = last
    // What is behind the border comes again, with what is between.
    const { border } = state
    state.queue = border === undefined ? rest : rest.filter((hit) => byRank(hit, border) <= 0)
    state.at = 0
  }

  const widen = Effect.fnUntraced(function* (times: number) {
    const to = new Map(
      used.map((centroids) => {
        const probes = Math.ceil(probesFor(centroids, options) * times)
        return [centroids, Math.max(done?.get(centroids) ?? 0, Math.min(centroids.count, probes))] as const
      })
    )
    const isMore = done === undefined || used.some((one) => to.get(one)! > done!.get(one)!)
    if (!isMore) return used.some((one) => to.get(one)! < one.count)
    const nearest = new Map(
      wanted.map((one, i) => [i, new Nearest(one, scorers[i]!, states[i]!.most, one.after)] as const)
    )
    yield* pass(done, to, nearest, true)
    done = to
    for (const [i, one] of nearest) absorb(states[i]!, one)
    return true
  })

  const hits = wanted.map((one, i): Hits => {
    const state = states[i]!
    const peek: Hits["peek"] = Effect.suspend(() => {
      if (state.at < state.queue.length) return Effect.succeed(state.queue[state.at])
      const { border } = state
      if (border === undefined || done === undefined) return Effect.undefined
      state.most *= 4
      state.border = undefined
      const nearest = new Nearest(one, scorers[i]!, state.most, border)
      return Effect.flatMap(pass(undefined, done, new Map([[i, nearest]]), false), () => {
        absorb(state, nearest)
        return peek
      })
    })
    return { peek, take: () => void (state.at += 1) }
  })

  return { hits, widen, looked: () => ({ lists, vectors }) }
})
