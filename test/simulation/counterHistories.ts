/**
 * Histories of processes that count in the same documents, and take from one bounded counter, on a store that fails in every way: they add, take away, apply, fold, and insert documents
 * that others have added to before; they crash, and their clocks differ by an hour. Everything follows from the seed.
 *
 * What has to hold: the value of a counter is the sum of what was acknowledged, and of some of what nobody knows the outcome of, each once; sums over
 * time are those of the operations. No slot of the bounded counter is ever below zero, and what there is in the end is what was given less what was taken, but for what
 * nobody knows the outcome of.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { drive } from "../fixture.ts"
import { breaks as breaksOfSlots } from "../kernel/escrowOrders.ts"
import { balance, points, processOn, visits } from "../plugins/counters.ts"
import { atOnce, countsOf, faults, fromSeed } from "./course.ts"
import { breaks as breaksOfLanes } from "./counterOrders.ts"
import { chance, pick } from "./draw.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: ((store: Store) => Store) | undefined
}

const processes = 3
const initial = 12
const isSlot = (key: string): boolean => key.includes("/bounded/name=stock/slot=")

/** Those of escrowOrders.ts look at nothing but slots. */
const ofSlots =
  (broken: (store: Store) => Store) =>
  (store: Store): Store => {
    const slots = broken(store)
    return { ...store, put: (request) => (isSlot(request.key) ? slots.put(request) : store.put(request)) }
  }

/** Builds that are wrong on purpose. */
export const breaks: Readonly<Record<string, (store: Store) => Store>> = {
  ...breaksOfLanes,
  ...Object.fromEntries(Object.entries(breaksOfSlots).map(([name, broken]) => [name, ofSlots(broken)]))
}
const ids = ["a", "b", "later"]

/** What became of the operations on a counter of a document. */
interface Seen {
  acknowledged: number
  count: number
  /** Amounts that were sent, and may have been added. */
  readonly unsure: Array<number>
}

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(Logger.layer([])), fromSeed(options.seed))

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.setTime(Date.parse("2026-10-25T00:20:00Z"))
  const world = yield* Clock.Clock
  const { store: memory } = yield* MemoryStore.make()
  const wrong: Array<string> = []
  /** What everybody writes to; slots are looked at when they are there. */
  const base: Store = {
    ...memory,
    put: (request) =>
      Effect.tap(memory.put(request), () =>
        Effect.sync(() => {
          if (!isSlot(request.key)) return
          const { d } = JSON.parse(new TextDecoder().decode(request.body)) as {
            readonly d: { readonly rights: number }
          }
          if (d.rights < 0) wrong.push(`a slot has ${d.rights}`)
        })
      )
  }
  /** What there is at least, and at most, of what is bounded, as far as anybody knows. */
  const stock = { least: initial, most: initial }
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const seen = { operations: 0, crashes: 0, unknown: 0 }
  const ledger = new Map<string, Seen>()
  const of = (name: string, id: string): Seen => {
    const key = `${name} of ${id}`
    const known = ledger.get(key) ?? { acknowledged: 0, count: 0, unsure: [] }
    ledger.set(key, known)
    return known
  }

  const open = Effect.fnUntraced(function* (store: Store) {
    const process = yield* processOn(store)
    return { ...process, bounded: yield* process.counters.bounded("stock", { initial, slots: 3 }) }
  })
  type Process = Effect.Success<ReturnType<typeof open>>

  /** Takes, or gives back, and notes down what is known of it. */
  const exchanged = Effect.fnUntraced(function* ({ bounded }: Process, isTaken: boolean, amount: number) {
    if (isTaken) stock.least -= amount
    else stock.most += amount
    const done = yield* Effect.result(isTaken ? bounded.take(amount) : bounded.add(amount))
    if (Result.isFailure(done)) {
      const { failure } = done
      if (failure._tag === "DbError" && failure.outcome === "unknown") return void (seen.unknown += 1)
      if (isTaken) stock.least += amount
      else stock.most -= amount
    } else if (isTaken) stock.most -= amount
    else stock.least += amount
  })

  /** Adds to a counter, and notes down what it knows of it. `isSure`: a failure without an unknown outcome means that nothing was done. */
  const noted = Effect.fnUntraced(function* (
    name: string,
    id: string,
    amount: number,
    isSure: boolean,
    operation: Effect.Effect<unknown, EventualConsistency.OperationError>
  ) {
    const entry = of(name, id)
    // Until it is known, also when nobody lives to see it.
    entry.unsure.push(amount)
    const done = yield* Effect.result(operation)
    const known = () => entry.unsure.splice(entry.unsure.indexOf(amount), 1)
    if (Result.isSuccess(done)) {
      known()
      entry.acknowledged += amount
      entry.count += 1
      return
    }
    const { failure } = done
    if (isSure && (failure._tag !== "DbError" || failure.outcome === "none")) known()
    else seen.unknown += 1
  })

  const step = Effect.fnUntraced(function* (process: Process) {
    const { counters, wallets } = process
    if (yield* chance(0.25)) {
      return yield* exchanged(process, yield* chance(0.7), yield* Random.nextIntBetween(1, 4))
    }
    const drawn = yield* Random.next
    const id = yield* pick(ids)
    const amount = yield* Random.nextIntBetween(1, 9)
    if (drawn < 0.3) return yield* noted("balance", id, amount, true, counters.add(balance, id, amount))
    if (drawn < 0.45) return yield* noted("balance", id, -amount, true, counters.subtract(balance, id, amount))
    if (drawn < 0.65) {
      const many = Array.from({ length: 3 }, () => noted("visits", id, 1, true, counters.add(visits, id, 1)))
      return yield* Effect.all(many, { concurrency: "unbounded", discard: true })
    }
    // Where it cannot be brought into the document, it waits.
    if (drawn < 0.75) return yield* noted("balance", id, amount, false, counters.apply(balance, id, { add: amount }))
    if (drawn < 0.8) return yield* noted("points", id, amount, true, counters.add(points, id, BigInt(amount)))
    if (drawn < 0.88) return yield* Effect.ignore(counters.foldAll)
    if (drawn < 0.92) return yield* Effect.ignore(counters.fold(balance, id))
    if (drawn < 0.95) return yield* Effect.ignore(wallets.insert({ id: "later" }))
    return yield* Effect.flatMap(Random.nextIntBetween(1, 600_000), Effect.sleep)
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let number = 0; made < ops / processes; number++) {
      const crashAt = (yield* chance(0.5)) ? yield* Random.nextIntBetween(10, 80) : undefined
      const crashWhen = (yield* chance(0.5)) ? "before" : "after"
      const client = `c${index}.${number}`
      const faulty = FaultyStore.make(base, { seed, client, faults, crashAt, crashWhen, trace, crashAs: "silence" })
      controls.push(faulty.control)
      const store = RetryingStore.make(broken?.(faulty.store) ?? faulty.store, { retries: 4, assumeLateArrivals: true })
      const scope = yield* Scope.make()
      const living = Effect.gen(function* () {
        const process = yield* open(store).pipe(Effect.retry({ times: 20 }), Effect.provideService(Scope.Scope, scope))
        while (made < ops / processes) {
          made += 1
          seen.operations += 1
          yield* step(process)
          if (yield* chance(0.03)) break
        }
        yield* Scope.close(scope, Exit.void)
      })
      const skew = yield* pick([-3_600_000, 0, 3_600_000])
      const going = yield* Effect.forkDetach(FaultyStore.withClockSkew(skew)(Effect.ignore(living)), {
        startImmediately: true
      })
      while (going.pollUnsafe() === undefined && !(yield* faulty.control.crashed)) yield* Effect.sleep(100)
      if (yield* faulty.control.crashed) {
        seen.crashes += 1
        // What cannot be interrupted waits for answers that never come: nobody waits for that.
        going.interruptUnsafe()
      }
      made += 1
    }
  })

  const setup = yield* processOn(base)
  yield* setup.wallets.insertMany([{ id: "a" }, { id: "b" }])
  const fiber = yield* Effect.forkChild(atOnce(processes, seed, `${seed}-counter-`, work))
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
  const finished = yield* Fiber.await(fiber)
  const violations: Array<string> = wrong
  if (Exit.isFailure(finished)) violations.push(`the run itself failed: ${Cause.pretty(finished.cause)}`)
  yield* TestClock.adjust("1 minute")
  for (const control of controls) yield* control.settled

  const last = Effect.gen(function* () {
    const { bounded, counters, wallets } = yield* open(base)
    const left = yield* bounded.value
    if (left < Math.max(0, stock.least) || left > stock.most) {
      violations.push(`${left} are left, between ${stock.least} and ${stock.most} should be`)
    }
    if (left > 0) yield* bounded.take(left)
    yield* Effect.ignore(wallets.insert({ id: "later" }))
    yield* counters.foldAll
    const [report] = yield* counters.foldAll
    if (report === undefined || report.operations + report.waiting + report.failed > 0) {
      violations.push(`something is left: ${JSON.stringify(report)}`)
    }
    const to = world.currentTimeMillisUnsafe() + 86_400_000
    for (const id of ids) {
      const values = {
        balance: yield* counters.read(balance, id),
        visits: yield* counters.read(visits, id),
        points: Number(yield* counters.read(points, id))
      }
      for (const [name, value] of Object.entries(values)) {
        const { acknowledged, count, unsure } = of(name, id)
        let possible = new Set([acknowledged])
        for (const amount of unsure) possible = new Set([...possible, ...[...possible].map((one) => one + amount)])
        if (!possible.has(value)) {
          violations.push(`${name} of ${id} is ${value}: ${acknowledged} were acknowledged, ${unsure.join(" ")} unsure`)
        }
        if (name === "points") continue
        const counter = name === "balance" ? balance : visits
        const sums = yield* counters.analytics(counter, { from: 0, to, by: "hour", id, fillGaps: false })
        const total = sums.reduce((sum, one) => sum + one.total, 0)
        const counted = sums.reduce((sum, one) => sum + one.count, 0)
        if (total !== value) violations.push(`${name} of ${id} is ${value}, and comes to ${total} over time`)
        if (counted < count || counted > count + unsure.length) {
          violations.push(`${counted} operations on ${name} of ${id} over time, ${count} were acknowledged`)
        }
      }
    }
  })
  const read = yield* Effect.exit(drive(yield* Effect.forkChild(last)))
  if (Exit.isFailure(read)) violations.push(`nobody can read: ${Cause.pretty(read.cause)}`)
  const report: Report = {
    seed,
    ...(yield* countsOf(controls)),
    violations: [...new Set(violations)],
    trace: trace.lines(),
    ...seen
  }
  return report
})
