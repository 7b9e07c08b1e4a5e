/**
 * A history of several processes that offer, claim, lose and end messages of one queue on a store that fails in every way, that
 * crash, and that stand still for longer than others wait for them. Everything follows from the seed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as StoreClock from "effect-s3db/kernel/StoreClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Engine from "../../src/plugins/s3queue/engine.ts"
import { atOnce, countsOf, faults, fromSeed } from "./course.ts"
import { chance } from "./draw.ts"
import { engineOn, message, newLog, noteClaim, prefix, recover, violationsOf } from "./queueOrders.ts"
import type { Report } from "./simulation.ts"

type Store = ObjectStore["Service"]

export interface Options {
  readonly seed: number
  readonly ops: number
  readonly break?: ((store: Store) => Store) | undefined
}

const processes = 3

/** A process that, once in a while, stands still before a request for longer than others wait for it. */
const standingStill = (store: Store): Store => {
  const still = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.flatMap(chance(0.02), (stands) => (stands ? Effect.delay(effect, "2 minutes") : effect))
  return {
    ...store,
    put: (request) => still(store.put(request)),
    get: (key, get) => still(store.get(key, get)),
    deleteMany: (keys, options) => still(store.deleteMany(keys, options))
  }
}

const unlogged = Logger.layer([])

export const run = (options: Options): Effect.Effect<Report> =>
  simulate(options).pipe(Effect.provide(unlogged), fromSeed(options.seed))

const simulate = Effect.fnUntraced(function* ({ break: broken, ops, seed }: Options) {
  yield* TestClock.adjust("1 hour")
  const { store: base } = yield* MemoryStore.make()
  const trace = FaultyStore.makeTrace()
  const controls: Array<FaultyStore.FaultyStore["control"]> = []
  const log = newLog()
  const seen = { operations: 0, crashes: 0, unknown: 0 }
  let offered = 0

  const connect = Effect.fnUntraced(function* (name: string) {
    const standsStill = yield* chance(0.4)
    const crashAt = (yield* chance(0.6)) ? yield* Random.nextIntBetween(5, 80) : undefined
    const crashWhen = (yield* chance(0.5)) ? "before" : "after"
    const faulty = FaultyStore.make(base, { seed, client: name, faults, crashAt, crashWhen, trace })
    controls.push(faulty.control)
    const still = standsStill ? standingStill(faulty.store) : faulty.store
    const store = RetryingStore.make(broken?.(still) ?? still, { retries: 4, assumeLateArrivals: true })
    const clock = StoreClock.make(store)
    yield* Effect.retry(clock.measure, { times: 5 })
    return yield* engineOn(store, { clock })
  })

  const end = Effect.fnUntraced(function* (engine: Engine.Engine, claim: Engine.Claim) {
    const { i: id } = claim.message
    noteClaim(log, claim)
    if (claim.payload !== JSON.stringify(payloadOf(id))) log.problems.push(`${id} has another payload`)
    if (yield* chance(0.4)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 50_000))
    // Some say by hand that they go on: who is told that it is lost does not have it afterwards either.
    const isKept = claim.token % 4 === 0 ? yield* engine.renew(claim) : true
    const fate = yield* Random.nextIntBetween(0, 10)
    if (fate === 0) return yield* engine.settle(claim, { _tag: "release" })
    if (fate <= 2) {
      const due = (yield* Random.nextIntBetween(0, 20_000)) + 3_600_000
      return yield* engine.settle(claim, { _tag: "retry", due, error: "no" })
    }
    log.unsure.push(id)
    const isDone = yield* engine.settle(claim, { _tag: "done" })
    log.unsure.splice(log.unsure.indexOf(id), 1)
    if (!isDone) return
    if (!isKept) log.problems.push(`${id} was acknowledged by who was told that it is lost`)
    log.acknowledged.push(id)
    log.ended.set(id, claim)
  })

  const step = Effect.fnUntraced(function* (engine: Engine.Engine) {
    seen.operations += 1
    if (yield* chance(0.45)) {
      const count = (yield* chance(0.3)) ? yield* Random.nextIntBetween(2, 12) : 1
      const ids = Array.from({ length: count }, () => String(offered++))
      // Some are offered again, as by who does not know what became of it.
      if (offered > 3 && (yield* chance(0.3))) ids.push(String(yield* Random.nextIntBetween(0, offered - 1)))
      yield* engine.offer([...new Set(ids)].map((id) => message(id, { payload: payloadOf(id) })))
      for (const id of ids) log.offered.add(id)
      return
    }
    const claims = yield* engine.claimNow(yield* Random.nextIntBetween(1, 6), Effect.succeed)
    yield* Effect.forEach(claims, (claim) => Effect.exit(end(engine, claim)), {
      concurrency: "unbounded",
      discard: true
    })
  })

  const work = Effect.fnUntraced(function* (index: number) {
    let made = 0
    for (let life = 0; made < ops / processes; life++) {
      const done = yield* Effect.gen(function* () {
        const engine = yield* connect(`c${index}.${life}`)
        while (made < ops / processes) {
          made += 1
          yield* step(engine).pipe(
            Effect.catch((error) =>
              Effect.sync(() => {
                if (error.outcome === "unknown") seen.unknown += 1
              })
            )
          )
          if (yield* chance(0.1)) yield* Effect.sleep(yield* Random.nextIntBetween(1, 40_000))
          if (yield* chance(0.02)) yield* Effect.ignore(engine.collect)
        }
      }).pipe(
        Effect.scoped,
        FaultyStore.withClockSkew((index - 1) * 7000),
        Effect.catch(() => Effect.sleep(1000)),
        FaultyStore.untilCrash
      )
      if (Option.isNone(done)) seen.crashes += 1
      made += 1
    }
  })

  const fiber = yield* Effect.forkChild(atOnce(processes, seed, `${seed}-`, work))
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("10 seconds")
  const finished = yield* Fiber.await(fiber)
  const violations: Array<string> = []
  if (Exit.isFailure(finished)) violations.push(`the run itself failed: ${Cause.pretty(finished.cause)}`)
  yield* TestClock.adjust("2 hours")
  for (const control of controls) yield* control.settled
  const state = Effect.scoped(Effect.flatMap(engineOn(base), ({ read }) => read)).pipe(Effect.exit)
  const look = Effect.map(state, (exit) =>
    Exit.isSuccess(exit) ? violationsOf(exit.value, log) : [`it cannot be read: ${Cause.pretty(exit.cause)}`]
  )
  violations.push(...(yield* look))
  const recovered = yield* Effect.exit(recover(base, log))
  if (Exit.isFailure(recovered)) violations.push(`nobody can go on: ${Cause.pretty(recovered.cause)}`)
  violations.push(...(yield* look))
  const left = yield* Effect.orDie(base.list({ prefix: `${prefix}/` }))
  const last = yield* state
  if (Exit.isSuccess(last) && last.value.ready.in.length + last.value.flight.length > 0) {
    violations.push(`${left.entries.length} objects are left, and messages that nobody gets`)
  }
  const report: Report = {
    seed,
    ...(yield* countsOf(controls)),
    violations: [...new Set(violations)],
    trace: trace.lines(),
    ...seen
  }
  return report
})

/** Some messages are so large that they are put into parts. */
const payloadOf = (id: string): string => (Number(id) % 7 === 0 ? id.padEnd(6000, "x") : id)
