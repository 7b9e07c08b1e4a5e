/**
 * The first few of many, without sorting them all.
 *
 * @since 0.1.0
 */

/**
 * The items that have been gathered so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface TopK<A> {
  readonly add: (item: A) => void
  /** In order. More can be added afterwards. */
  readonly result: () => ReadonlyArray<A>
}

/**
 * Gathers the first `k` items of an order, one at a time. It keeps at most `k` of them, in a heap with the last one on
 * top (J. W. J. Williams, "Algorithm 232: Heapsort", 1964): n items take O(n log k).
 *
 * Of items that compare as the same, the ones that were added first are kept, and come first.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(k: number, compare: (a: A, b: A) => number): TopK<A> => {
  interface Entry {
    readonly item: A
    readonly turn: number
  }
  const capacity = k >= 1 ? Math.floor(k) : 0
  const heap: Array<Entry> = []
  let turn = 0
  const isAfter = (a: Entry, b: Entry): boolean => {
    const order = compare(a.item, b.item)
    return order > 0 || (order === 0 && a.turn > b.turn)
  }
  const rise = (entry: Entry): void => {
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isAfter(entry, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }
  const sink = (entry: Entry): void => {
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isAfter(heap[child + 1]!, heap[child]!)) child += 1
      if (!isAfter(heap[child]!, entry)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = entry
  }
  return {
    add: (item) => {
      const entry = { item, turn: turn++ }
      if (heap.length < capacity) rise(entry)
      else if (capacity > 0 && isAfter(heap[0]!, entry)) sink(entry)
    },
    result: () => heap.toSorted((a, b) => (isAfter(a, b) ? 1 : -1)).map((entry) => entry.item)
  }
}
