/**
 * A history of processes that lead, number, offer, claim and count at random on a store that fails in every way, crash, and stand
 * still for longer than every lease; and what has to hold of it afterwards. Everything follows from the seed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { atOnce, countsOf, fromSeed } from "./course.ts"
import { chance } from "./draw.ts"
import { actor, type Actor, newLedger, violationsOf } from "./kernelActors.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

export interface KernelOptions {
  readonly seed: number
  readonly ops: number
  readonly clients?: number | undefined
  readonly break?: ((store: Store) => Store) | undefined
}

const faults: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 400 },
  throttle: 0.03,
  errorBefore: 0.04,
  errorAfter: 0.05,
  duplicate: 0.02,
  late: { probability: 0.02, maxMillis: 8000 }
}

/** Stands still before a request, once in a while, for longer than every lease. */
const standingStill = (store: Store): Store => {
  const still = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.flatMap(chance(0.02), (stands) => (stands ? Effect.delay(effect, "2 minutes") : effect))
  return {
    ...store,
    put: (request) => still(store.put(request)),
    get: (key, options) => still(store.get(key, options)),
    delete: (key, options) => still(store.delete(key, options)),
    list: (request) => still(store.list(request))
  }
}

const stepOf = (one: Actor): Effect.Effect<unknown, unknown> =>
  Effect.flatMap(Random.next, (drawn) => {
    if (drawn < 0.2) {
      const pause = Effect.flatMap(Random.nextIntBetween(1, 20_000), Effect.sleep)
      return Effect.flatMap(Random.nextIntBetween(1, 4), (times) => one.lead(times, pause))
    }
    if (drawn < 0.4) return one.number
    if (drawn < 0.6) return one.offer
    return drawn < 0.8 ? one.work : one.count
  })

export const runKernel = (options: KernelOptions): Effect.Effect<Report> =>
  simulate(options).pipe(fromSeed(options.seed, `${options.seed}-kernel`))

const simulate = Effect.fnUntraced(function* ({ seed, ops, clients = 3, ...options }: KernelOptions) {
  yield* TestClock.adjust("1 hour")
  const { store: base } = yield* MemoryStore.make()
  const trace = FaultyStore.makeTrace()
  const ledger = newLedger()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, unknown: 0, crashes: 0 }
  const violations: Array<string> = []

  const connect = Effect.fnUntraced(function* (name: string) {
    const standsStill = yield* chance(0.4)
    const crashAt = !standsStill && (yield* chance(0.6)) ? yield* Random.nextIntBetween(5, 100) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    const still = standsStill ? standingStill(faulty.store) : faulty.store
    const store = RetryingStore.make(options.break?.(still) ?? still, { retries: 6, assumeLateArrivals: true })
    return yield* actor(store, name, ledger)
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let life = 0; made < ops / clients; life++) {
      const done = yield* Effect.gen(function* () {
        const one = yield* connect(`k${index}.${life}`)
        while (made < ops / clients) {
          made += 1
          seen.operations += 1
          yield* Effect.catch(stepOf(one), () => Effect.sync(() => (seen.unknown += 1)))
          if (yield* chance(0.1)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 60_000))
        }
      }).pipe(FaultyStore.withClockSkew((index - 1) * 3_600_000), FaultyStore.untilCrash)
      if (Option.isNone(done)) seen.crashes += 1
      made += 1
    }
  })

  const fiber = yield* Effect.forkChild(atOnce(clients, seed, `${seed}-kernel-`, work))
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 minute")
  const end = yield* Fiber.await(fiber)
  if (Exit.isFailure(end)) violations.push(`the run itself failed: ${Cause.pretty(end.cause)}`)
  yield* TestClock.adjust("1 hour")
  for (const control of controls) yield* control.settled
  const wrong = yield* Effect.exit(violationsOf(base, ledger))
  if (Exit.isSuccess(wrong)) violations.push(...wrong.value)
  else violations.push(`what is left cannot be read: ${Cause.pretty(wrong.cause)}`)

  const report: Report = { seed, ...(yield* countsOf(controls)), violations, trace: trace.lines(), ...seen }
  return report
})
