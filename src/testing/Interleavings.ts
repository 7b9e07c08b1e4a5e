/**
 * Runs programs of several clients of one store in every order in which their requests can reach it, within bounds: each
 * client can be kept waiting before any of its requests while others go on, and can crash there.
 *
 * ```ts no-check
 * const { control, store } = yield* MemoryStore.make()
 * const schedule = Interleavings.make(store)
 * const a = yield* openOn(schedule.client("a"))
 * const b = yield* openOn(schedule.client("b"))
 * const start = yield* control.snapshot
 * const report = yield* schedule.explore({
 *   before: control.restore(start),
 *   programs: { a: a.users.update("1", increment), b: b.users.update("1", increment) },
 *   check: () => Effect.map(a.users.get("1"), (user) => assert.strictEqual(user.n, 2))
 * })
 * ```
 *
 * A simulation with random faults meets rare meetings rarely; here each meeting of a few requests is met. What grows is
 * the number of schedules: with the programs' n requests in all and p preemptions it is in the order of n to the power
 * of p, so the programs should be short.
 *
 * Source of the idea: M. Musuvathi and S. Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded
 * Programs" (PLDI 2007): most errors of concurrent programs show with two preemptions or fewer.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type { Operation } from "../storage/StoreError.ts"
import { byClock } from "./Pauses.ts"

type Store = ObjectStore["Service"]

/**
 * The defect that a client dies of which was crashed, at this request and at each that it makes later.
 *
 * @remedy Nothing: the exploration said so. Do not catch it in the program that is explored.
 * @category errors
 * @since 0.1.0
 */
export class Crashed extends Schema.TaggedError<Crashed>("effect-s3db/testing/Interleavings/Crashed")("Crashed", {
  client: Schema.String
}) {
  override get message(): string {
    return `the client ${this.client} has crashed`
  }
}

/**
 * The defect of an exploration that cannot go on: the same choices led elsewhere, or nothing goes on any more.
 *
 * @remedy Let the program do the same again each time: take ids from `Id.seeded`, numbers from `Random.withSeed`, and
 * keep nothing between runs that changes what it asks for.
 * @category errors
 * @since 0.1.0
 */
export class NotExplorable extends Schema.TaggedError<NotExplorable>("effect-s3db/testing/Interleavings/NotExplorable")(
  "NotExplorable",
  { why: Schema.String, trace: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return `${this.why}, after:\n${this.trace.join("\n")}`
  }
}

/**
 * The course of one schedule.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run<A, E> {
  /** How each program ended, by client. One that crashed has died of `Crashed`. */
  readonly exits: Readonly<Record<string, Exit.Exit<A, E>>>
  readonly crashed: ReadonlyArray<string>
  readonly interrupted: ReadonlyArray<string>
  /** What was done in which order: `client operation key`, `client crashes`, `client is interrupted`, or `time passes`. */
  readonly trace: ReadonlyArray<string>
  /** How many requests reached the store. */
  readonly requests: number
}

/**
 * The programs that an exploration runs, and its limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, E, R, E2, R2> {
  /** Runs before each schedule, and has to bring the store back to the same state each time. Its requests go through. */
  readonly before: Effect.Effect<unknown, E2, R2>
  /** By client. They begin together. */
  readonly programs: Readonly<Record<string, Effect.Effect<A, E, R>>>
  /** How often a client that could go on is kept waiting, at most. Default: 2. */
  readonly preemptions?: number | undefined
  /** How many clients crash, at most. Default: 0. */
  readonly crashes?: number | undefined
  /** How many programs are interrupted, at most: each once, before any of its requests. Default: 0. */
  readonly interruptions?: number | undefined
  /**
   * Lets this much time pass while requests are waiting, once in a schedule, at each place; it counts as a preemption.
   * Default: time passes only when all clients wait for it.
   */
  readonly pause?: Duration.Input | undefined
  /** The most schedules to run; the report says whether they were all. Default: 100,000. */
  readonly limit?: number | undefined
  /** Looks at the outcome of each schedule. Its requests go through. */
  readonly check: (run: Run<A, E>) => Effect.Effect<unknown, E2, R2>
}

/**
 * The extent of an exploration.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly schedules: number
  readonly requests: number
  /** Whether these are all schedules within the bounds. */
  readonly complete: boolean
}

/**
 * A store whose requests are put in order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Interleavings {
  /** One client's view of the store. Outside of `explore` its requests go straight through. */
  readonly client: (name: string) => Store
  /**
   * Runs the programs once for each schedule. Needs `TestClock`: time passes when all that is left waits for it.
   *
   * It dies with `NotExplorable` when the programs do not do the same again for the same choices, or wait for ever.
   */
  readonly explore: <A, E, R, E2, R2>(options: Options<A, E, R, E2, R2>) => Effect.Effect<Report, E2, R | R2>
}

interface Pending {
  readonly client: string
  readonly label: string
  readonly carryOut: () => void
  readonly crash: () => void
}

interface Choice {
  readonly label: string
  readonly preempts: boolean
  readonly act: Effect.Effect<void>
}

/** A turn of the event loop, in which everything that waits for nothing goes on. */
const turn = Effect.callback<void>((resume) => {
  if ("setImmediate" in globalThis) globalThis.setImmediate(() => resume(Effect.void))
  else setTimeout(() => resume(Effect.void), 0)
})

/** Seconds that pass without any request before the programs are taken to wait for ever. */
const patience = 100_000

/**
 * Puts the requests of several clients of a store in order. Use one in a test, and one view of it for each client.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: Store): Interleavings => {
  let active = false
  let pending: Array<Pending> = []
  let crashed = new Set<string>()
  /** Changes whenever a client goes on to something. */
  let version = 0

  const gate = <A, E>(client: string, operation: Operation, key: string, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      if (!active) return effect
      version += 1
      if (crashed.has(client)) return Effect.die(new Crashed({ client }))
      return Effect.callback<A, E>((resume) => {
        const entry: Pending = {
          client,
          label: `${client} ${operation} ${key}`,
          carryOut: () => resume(effect),
          crash: () => resume(Effect.die(new Crashed({ client })))
        }
        pending.push(entry)
        return Effect.sync(() => {
          version += 1
          pending = pending.filter((other) => other !== entry)
        })
      })
    })

  const client = (name: string): Store => ({
    ...inner,
    put: (request) => gate(name, "put", request.key, inner.put(request)),
    get: (key, options) => gate(name, "get", key, inner.get(key, options)),
    head: (key) => gate(name, "head", key, inner.head(key)),
    delete: (key, options) => gate(name, "delete", key, inner.delete(key, options)),
    deleteMany: (keys, options) => gate(name, "deleteMany", keys[0] ?? "", inner.deleteMany(keys, options)),
    copy: (request) => gate(name, "copy", request.to, inner.copy(request)),
    list: (request) => gate(name, "list", request?.prefix ?? "", inner.list(request))
  })

  /** Waits until every program has ended, or waits for its turn or for time to pass. */
  const settled = Effect.gen(function* () {
    let seen
    do {
      seen = version
      yield* turn
      yield* turn
    } while (seen !== version)
  })

  const explore = Effect.fn("Interleavings.explore")(function* <A, E, R, E2, R2>(options: Options<A, E, R, E2, R2>) {
    const { before, check, crashes = 0, interruptions = 0, limit = 100_000, pause, preemptions = 2, programs } = options
    const names = Object.keys(programs)

    /** Runs one schedule; `choose` is asked wherever there is more than one way to go on. */
    const runOne = Effect.fnUntraced(function* (choose: (ways: number, trace: ReadonlyArray<string>) => number) {
      yield* before
      pending = []
      crashed = new Set()
      active = true
      const interrupted = new Set<string>()
      const trace: Array<string> = []
      let requests = 0
      let last = ""
      let preempted = 0
      let paused = false
      const fibers: Record<string, Fiber.Fiber<A, E>> = {}
      for (const name of names) {
        const ended = Effect.ensuring(
          programs[name]!,
          Effect.sync(() => (version += 1))
        )
        // Time is the clock's here, or the same choices would not lead to the same run.
        fibers[name] = yield* Effect.forkChild(byClock(ended))
      }
      const isDone = () => names.every((name) => fibers[name]!.pollUnsafe() !== undefined)

      /** The ways to go on: with the client that went on last if it can, at the cost of a preemption with another. */
      const choices = (): ReadonlyArray<Choice> => {
        const heads = names.flatMap((name) => pending.find((entry) => entry.client === name) ?? [])
        const current = heads.find((entry) => entry.client === last)
        const order = current === undefined ? heads : [current, ...heads.filter((entry) => entry !== current)]
        const all = order.flatMap((entry): ReadonlyArray<Choice> => {
          const preempts = current !== undefined && entry !== current
          const go: Choice = {
            label: entry.label,
            preempts,
            act: Effect.sync(() => {
              requests += 1
              last = entry.client
              pending = pending.filter((other) => other !== entry)
              entry.carryOut()
            })
          }
          const crash: Choice = {
            label: `${entry.client} crashes`,
            preempts,
            act: Effect.sync(() => {
              last = ""
              crashed.add(entry.client)
              const lost = pending.filter((other) => other.client === entry.client)
              pending = pending.filter((other) => other.client !== entry.client)
              for (const one of lost) one.crash()
            })
          }
          const interrupt: Choice = {
            label: `${entry.client} is interrupted`,
            preempts,
            act: Effect.sync(() => {
              last = entry.client
              interrupted.add(entry.client)
              // What cannot be interrupted goes on, and so does what tidies up.
              fibers[entry.client]!.interruptUnsafe()
            })
          }
          const mayInterrupt = interrupted.size < interruptions && !interrupted.has(entry.client)
          return [go, ...(crashed.size < crashes ? [crash] : []), ...(mayInterrupt ? [interrupt] : [])]
        })
        if (pause !== undefined && !paused && heads.length > 0) {
          const passes = Effect.sync(() => (paused = true)).pipe(Effect.andThen(TestClock.adjust(pause)))
          all.push({ label: "time passes", preempts: true, act: passes })
        }
        return all.filter((choice) => !choice.preempts || preempted < preemptions)
      }

      let idle = 0
      yield* settled
      while (!isDone()) {
        const ways = choices()
        if (ways.length === 0) {
          if ((idle += 1) > patience) return yield* Effect.die(new NotExplorable({ why: "nothing goes on", trace }))
          yield* TestClock.adjust("1 second")
        } else {
          idle = 0
          const choice = ways[ways.length === 1 ? 0 : choose(ways.length, trace)]!
          if (choice.preempts) preempted += 1
          trace.push(choice.label)
          version += 1
          yield* choice.act
        }
        yield* settled
      }
      const exits: Record<string, Exit.Exit<A, E>> = {}
      for (const name of names) exits[name] = yield* Fiber.await(fibers[name]!)
      active = false
      return { exits, crashed: [...crashed], interrupted: [...interrupted], trace, requests } satisfies Run<A, E>
    })

    // Depth first: the last choice that can still be made otherwise is made otherwise.
    let path: ReadonlyArray<{ readonly taken: number; readonly ways: number }> = []
    let schedules = 0
    let requests = 0
    for (;;) {
      const walked: Array<{ readonly taken: number; readonly ways: number }> = []
      let strayed: ReadonlyArray<string> | undefined
      const run = yield* runOne((ways, trace) => {
        const planned = path[walked.length]
        if (planned !== undefined && planned.ways !== ways) strayed ??= [...trace]
        const taken = Math.min(planned?.taken ?? 0, ways - 1)
        walked.push({ taken, ways })
        return taken
      })
      if (strayed !== undefined || walked.length < path.length) {
        return yield* Effect.die(
          new NotExplorable({ why: "the same choices led elsewhere", trace: strayed ?? run.trace })
        )
      }
      schedules += 1
      requests += run.requests
      yield* check(run)
      while (walked.length > 0 && walked.at(-1)!.taken + 1 >= walked.at(-1)!.ways) walked.pop()
      const turning = walked.pop()
      if (turning === undefined) return { schedules, requests, complete: true }
      if (schedules >= limit) return { schedules, requests, complete: false }
      path = [...walked, { taken: turning.taken + 1, ways: turning.ways }]
    }
  })

  return {
    client,
    explore: (options) => Effect.onExit(explore(options), () => Effect.sync(() => (active = false)))
  }
}
