/** How YCSB chooses records: Gray et al., "Quickly generating billion-record synthetic databases", with the constant 0.99. */

/** Numbers from 0 to below 1, the same for the same seed. */
export const generator = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const theta = 0.99

/** Ranks below a count that may grow, of which 0 is the most frequent. */
export const zipfian = (random: () => number): ((count: number) => number) => {
  const alpha = 1 / (1 - theta)
  const zeta2 = 1 + 0.5 ** theta
  let counted = 0
  let zeta = 0
  return (count) => {
    for (; counted < count; counted++) zeta += 1 / (counted + 1) ** theta
    const eta = (1 - (2 / count) ** (1 - theta)) / (1 - zeta2 / zeta)
    const u = random()
    const scaled = u * zeta
    if (scaled < 1) return 0
    if (scaled < zeta2) return Math.min(1, count - 1)
    return Math.min(count - 1, Math.floor(count * (eta * u - eta + 1) ** alpha))
  }
}

/** The frequent ones are anywhere among all: the rank is hashed with FNV-1a. */
export const scattered = (rank: number, count: number): number => {
  let hash = 0x811c9dc5
  for (let byte = 0; byte < 4; byte++) hash = Math.imul(hash ^ ((rank >>> (8 * byte)) & 255), 0x01000193)
  return (hash >>> 0) % count
}

/** The frequent ones are those that were written last. */
export const latest = (rank: number, count: number): number => count - 1 - rank
