/**
 * Cases that are run in turn over several rounds, in changing order, after a round that does not count. Beside the time that passes, the
 * time of the processor that the thread takes: others on the machine change it less.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

export interface Case {
  readonly name: string
  /** Does the work so many times. */
  readonly run: (times: number) => unknown
  /** What a round needs before it, which is not measured. */
  readonly prepare?: ((times: number) => unknown) | undefined
  /** The case that it is compared with. Default: the first. */
  readonly baseline?: string | undefined
}

/** Microseconds for one time. */
export interface Figures {
  readonly best: number
  readonly median: number
}

export interface Measured {
  readonly name: string
  /** The time that passes, in the best round. */
  readonly microseconds: number
  /** Of it, to the baseline. */
  readonly ratio: number
  readonly baseline: string
  readonly wall: Figures
  /** Of the thread. What others do for it, threads for files and the collector's, is not in it. */
  readonly cpu: Figures
  /** Of the medians of `cpu`, to the baseline. */
  readonly cpuRatio: number
}

export const rounds = 9

/** The middle one; of an even number the lower of the two. */
export const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!

const rounded = (value: number): number => Number(value.toFixed(2))

const figures = (values: ReadonlyArray<number>): Figures => ({
  best: rounded(Math.min(...values)),
  median: rounded(median(values))
})

/** Numbers that are 0, as of a case that is too short to be measured, have no ratio. */
export const ratio = (value: number, baseline: number): number =>
  baseline === 0 ? Number.NaN : rounded(value / baseline)

/** How often a case is done until it has taken the processor for so many milliseconds: the system counts in steps of some. */
const calibrated = async ({ prepare, run }: Case, milliseconds: number): Promise<number> => {
  const enough = 20
  for (let times = 200; ; times *= 2) {
    await prepare?.(times)
    const before = process.threadCpuUsage()
    await run(times)
    const { system, user } = process.threadCpuUsage(before)
    const taken = (system + user) / 1000
    if (taken >= Math.min(enough, milliseconds) || times >= 100_000) {
      return Math.max(100, Math.min(200_000, Math.round((times * milliseconds) / Math.max(1, taken) / 100) * 100))
    }
  }
}

/** Microseconds of the processor for one time. */
const oneRound = async ({ prepare, run }: Case, times: number): Promise<number> => {
  await prepare?.(times)
  const before = process.threadCpuUsage()
  await run(times)
  const { system, user } = process.threadCpuUsage(before)
  return (system + user) / times
}

/** Runs a case until it gets no quicker: three rounds without a gain of a thirtieth, or 30 in all. What is compiled late counts for nobody. */
const warmedUp = async (one: Case, times: number): Promise<void> => {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0, without = 0; round < 30 && without < 3; round++) {
    const taken = await oneRound(one, times)
    without = taken < best * 0.967 ? 0 : without + 1
    best = Math.min(best, taken)
  }
}

/** What a round is: so many times, or so many milliseconds of the processor. */
export type Length = number | { readonly milliseconds: number }

export const measure = async (
  cases: ReadonlyArray<Case>,
  length: Length,
  count: number = rounds
): Promise<ReadonlyArray<Measured>> => {
  const plans: Array<Case & { readonly times: number; readonly wall: Array<number>; readonly cpu: Array<number> }> = []
  for (const one of cases) {
    if (typeof length === "number") await oneRound(one, length)
    else await warmedUp(one, await calibrated(one, length.milliseconds))
    const times = typeof length === "number" ? length : await calibrated(one, length.milliseconds)
    plans.push({ ...one, times, wall: [], cpu: [] })
  }
  for (let round = 0; round < count; round++) {
    for (let i = 0; i < plans.length; i++) {
      const { cpu, prepare, run, times, wall } = plans[(i + round) % plans.length]!
      await prepare?.(times)
      // What the one before has left behind is not for this one to clear away.
      collect()
      const before = process.threadCpuUsage()
      const start = performance.now()
      await run(times)
      const passed = performance.now() - start
      const { system, user } = process.threadCpuUsage(before)
      wall.push((passed * 1000) / times)
      cpu.push((system + user) / times)
    }
  }
  const measured = new Map(plans.map(({ cpu, name, wall }) => [name, { cpu: figures(cpu), wall: figures(wall) }]))
  return plans.map(({ baseline = plans[0]!.name, name }) => {
    const { cpu, wall } = measured.get(name)!
    const base = measured.get(baseline)!
    return {
      name,
      microseconds: wall.best,
      ratio: ratio(wall.best, base.wall.best),
      baseline,
      wall,
      cpu,
      cpuRatio: ratio(cpu.median, base.cpu.median)
    }
  })
}

/** The bytes of memory in use, after what is not used was collected. */
export const collected = (): number => {
  collect()
  collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
