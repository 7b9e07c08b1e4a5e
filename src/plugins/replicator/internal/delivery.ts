/** How changes come to a target: one batch after the other, what cannot be reached waited out, by a circuit that opens. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { millisAfter } from "../../../internal/backoff.ts"
import * as ReplicaTarget from "../../ReplicaTarget.ts"

/** How the target is doing. */
export type Circuit =
  | { readonly _tag: "Closed" }
  /** So many attempts have failed; none is made until `until`, in milliseconds since the epoch. */
  | { readonly _tag: "Open"; readonly failures: number; readonly until: number; readonly problem: string }

export interface Options {
  readonly target: ReplicaTarget.Target
  readonly shapes: ReadonlyArray<ReplicaTarget.Shape>
  /** Whether what a plan says is done without being asked for. */
  readonly applies: boolean
  readonly pauseMillis: number
  readonly longestPauseMillis: number
  /** After so many failures in a row the circuit opens. */
  readonly threshold: number
  readonly onChange: (circuit: Circuit) => Effect.Effect<void>
}

export interface Delivery {
  readonly plan: Effect.Effect<ReplicaTarget.Plan, ReplicaTarget.TargetError>
  /** Does what a plan says, and looks again before the next batch. */
  readonly run: (plan: ReplicaTarget.Plan) => Effect.Effect<void, ReplicaTarget.TargetError>
  /** Fails with `Refused` alone: all else is waited out. */
  readonly apply: (batch: ReplicaTarget.Batch) => Effect.Effect<void, ReplicaTarget.TargetError>
  readonly sweep: (
    shape: ReplicaTarget.Shape,
    version: number
  ) => Effect.Effect<number | undefined, ReplicaTarget.TargetError>
  readonly circuit: () => Circuit
}

const closed: Circuit = { _tag: "Closed" }

export const make = (options: Options): Delivery => {
  const { applies, longestPauseMillis, onChange, pauseMillis, shapes, target, threshold } = options
  /** All that is asked of the target goes one after the other: batches, repairs, letters that are replayed. */
  const turn = Semaphore.makeUnsafe(1)
  let circuit: Circuit = closed
  let failures = 0
  let isPrepared = false

  const become = (next: Circuit) =>
    Effect.suspend(() => {
      circuit = next
      return onChange(next)
    })

  const prepare = Effect.gen(function* () {
    if (isPrepared) return
    const plan = yield* target.plan(shapes)
    const [problem] = plan.problems
    if (problem !== undefined) {
      return yield* schemaError(target, `${problem.name}: ${problem.problem}`)
    }
    if (plan.steps.length > 0) {
      if (!applies) {
        return yield* schemaError(
          target,
          `the plan has ${plan.steps.length} steps that nobody has run, such as: ${plan.steps[0]!.description}`
        )
      }
      for (const { statement } of plan.steps) yield* Effect.logInfo(`the replica on ${target.kind} runs: ${statement}`)
      yield* target.run(plan)
    }
    isPrepared = true
  })

  /** Tries until the target has answered, and has not said that it cannot be reached. */
  const persistently = <A>(
    effect: Effect.Effect<A, ReplicaTarget.TargetError>
  ): Effect.Effect<A, ReplicaTarget.TargetError> =>
    Effect.gen(function* () {
      for (;;) {
        const result = yield* Effect.result(Effect.andThen(prepare, effect))
        if (Result.isSuccess(result)) {
          failures = 0
          if (circuit._tag === "Open") yield* become(closed)
          return result.success
        }
        const { failure } = result
        if (failure.problem === "Refused") {
          failures = 0
          if (circuit._tag === "Open") yield* become(closed)
          return yield* failure
        }
        // Somebody may have changed what is there.
        if (failure.problem === "Schema") isPrepared = false
        failures += 1
        const millis = yield* millisAfter(failures - 1, {
          first: pauseMillis,
          factor: 2,
          most: longestPauseMillis,
          share: [0.5, 1]
        })
        const pause = Math.max(
          failure.retryAfterMillis ?? 0,
          failures >= threshold ? longestPauseMillis / 2 : 0,
          millis
        )
        // Waiting alone mends neither.
        if (failures >= threshold || failure.problem === "Schema" || failure.problem === "Credentials") {
          const until = (yield* Clock.currentTimeMillis) + pause
          yield* become({ _tag: "Open", failures, until, problem: failure.message })
        } else {
          yield* Effect.logWarning(`the replica waits for its target: ${failure.message}`)
        }
        yield* Effect.sleep(pause)
      }
    })

  const asked = <A>(effect: Effect.Effect<A, ReplicaTarget.TargetError>) => turn.withPermits(1)(persistently(effect))

  return {
    plan: target.plan(shapes),
    run: (plan) =>
      Effect.suspend(() => {
        isPrepared = false
        return target.run(plan)
      }),
    apply: (batch) => (batch.changes.length === 0 ? Effect.void : asked(target.apply(batch))),
    sweep: (shape, version) => (target.sweep === undefined ? Effect.undefined : asked(target.sweep(shape, version))),
    circuit: () => circuit
  }
}

const schemaError = (target: ReplicaTarget.Target, description: string) =>
  Effect.fail(new ReplicaTarget.TargetError({ target: target.kind, problem: "Schema", description }))
