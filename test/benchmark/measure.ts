/** Cases that are run in turn over several rounds, in changing order; the best round of each counts. */

export interface Case {
  readonly name: string
  /** Does the work so many times. */
  readonly run: (times: number) => unknown
}

export interface Measured {
  readonly name: string
  readonly microseconds: number
  /** To the first case. */
  readonly ratio: number
}

export const rounds = 9

export const measure = async (cases: ReadonlyArray<Case>, times: number): Promise<ReadonlyArray<Measured>> => {
  const best = new Map(cases.map(({ name }) => [name, Number.POSITIVE_INFINITY]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < cases.length; i++) {
      const { name, run } = cases[(i + round) % cases.length]!
      const start = performance.now()
      await run(times)
      best.set(name, Math.min(best.get(name)!, (performance.now() - start) / times))
    }
  }
  const baseline = best.get(cases[0]!.name)!
  return cases.map(({ name }) => ({
    name,
    microseconds: Number((best.get(name)! * 1000).toFixed(2)),
    ratio: Number((best.get(name)! / baseline).toFixed(2))
  }))
}
