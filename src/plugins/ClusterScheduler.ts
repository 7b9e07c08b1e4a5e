/**
 * The jobs of `Scheduler` on `effect/cluster`, for programs that run a cluster already: its shards say which runner runs a job, in
 * the place of an object with a lease.
 *
 * ```ts
 * import * as ClusterScheduler from "effect-s3db/plugins/ClusterScheduler"
 * import * as Scheduler from "effect-s3db/plugins/Scheduler"
 * import { Console, Layer } from "effect"
 * import { TestRunner } from "effect/cluster"
 *
 * const nightly = Scheduler.job("nightly-report", {
 *   schedule: { cron: "0 3 * * *", timeZone: "Europe/Berlin" },
 *   run: ({ slot }) => Console.log("reporting", slot)
 * })
 *
 * const Jobs = ClusterScheduler.layer({ jobs: [nightly] }).pipe(Layer.provide(TestRunner.layer))
 * ```
 *
 * **Details**
 *
 * A job with a cron expression is a `ClusterCron`: each slot is a message that is kept until it has been run. A job with an interval is a
 * `Singleton` that sleeps until the next slot: nothing is kept of it.
 *
 * | | cron | `every` |
 * |---|---|---|
 * | slots that nobody was there for | `runOnce`: one is made up for, when it is at most 365 days old; `skip`: when it is at most `grace` old; `runAll`: each, one after the other | pass by |
 * | slots that come during a run | pass by; with `runAll` they wait | pass by |
 * | a run whose runner died | is run again | passes by |
 *
 * Requests: none of its own; those of the cluster's storage.
 *
 * **Gotchas**
 *
 * A slot is run at least once, not at most once as by `Scheduler`: a runner that dies during a run has another begin anew. There is no
 * history, nothing to trigger, and no job is added at run time.
 *
 * @see `docs/guide/scheduling.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as ClusterCron from "effect/cluster/ClusterCron"
import * as EntityId from "effect/cluster/EntityId"
import * as Sharding from "effect/cluster/Sharding"
import * as Singleton from "effect/cluster/Singleton"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { idempotencyKey } from "../internal/idempotencyKey.ts"
import * as Scheduler from "./Scheduler.ts"
import type * as JobCell from "./scheduler/jobCell.ts"
import * as Timetable from "./scheduler/timetable.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The jobs of a cluster.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R> {
  readonly jobs: ReadonlyArray<Scheduler.Job<R>>
  /** The group of shards that they run on. Default: `default`. */
  readonly shardGroup?: string | undefined
}

// -----------------------------------------------------------------------------
// Runs
// -----------------------------------------------------------------------------

/**
 * The attempts of a run. It never fails: what the last attempt fails with is logged, since the cluster would run a slot again and
 * again that fails.
 */
const attempts = (
  job: Scheduler.Job,
  { meta = {}, retries, timeout }: JobCell.Job,
  slot: DateTime.Utc,
  { group, isHeld }: { readonly group: string; readonly isHeld: Effect.Effect<boolean> }
) =>
  Effect.gen(function* () {
    for (let attempt = 1; ; attempt++) {
      const begun = job.run({
        job: job.name,
        slot,
        token: slot.epochMilliseconds,
        attempt,
        isManual: false,
        meta,
        idempotencyKey: idempotencyKey("cluster-scheduler", group, job.name, slot.epochMilliseconds),
        isHeld
      })
      const exit = yield* Effect.exit(Effect.interruptible(Effect.timeout(begun, timeout)))
      if (Exit.isSuccess(exit)) return
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
      yield* Effect.logWarning(`job ${job.name}: attempt ${attempt} failed`, exit.cause)
      if (attempt > retries) return
      const chance = yield* Random.next
      yield* Effect.sleep(Math.min(2 ** attempt, 60) * 1000 * (0.5 + chance / 2))
    }
  })

/** Older slots are not made up for. */
const longest = Duration.days(365)

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

const refused = (job: string, field: string, problem: string): Effect.Effect<never, Scheduler.InvalidJob> =>
  Effect.fail(new Scheduler.InvalidJob({ job, field, problem }))

const layerOf = Effect.fnUntraced(function* (
  job: Scheduler.Job,
  group: string
): Effect.fn.Return<Layer.Layer<never, never, Sharding.Sharding>, Scheduler.InvalidJob> {
  const { name, policy } = job
  const declared = yield* Scheduler.jobOf(name, policy, { task: name }, 0)
  const { schedule } = declared
  if (declared.overlap !== "skip") {
    return yield* refused(name, "overlap", "Expected skip: in a cluster the runs of a job follow each other")
  }
  if ("at" in schedule) {
    return yield* refused(
      name,
      "schedule",
      "Expected a cron expression or an interval: in a cluster nothing is due once"
    )
  }
  const table = Timetable.fromDefinition(schedule)
  if (Result.isFailure(table)) return yield* refused(name, "schedule", table.failure)
  const isHeldBy = (entity: string) =>
    Effect.map(Sharding.Sharding, (sharding) => {
      const shard = sharding.getShardId(EntityId.make(entity), group)
      return Effect.sync(() => sharding.hasShardId(shard))
    })

  if ("every" in schedule) {
    if (policy.misfire !== undefined && policy.misfire !== "skip") {
      return yield* refused(name, "misfire", "Expected skip: in a cluster nothing is kept of an interval")
    }
    const { next } = table.success
    const run = Effect.gen(function* () {
      const isHeld = yield* isHeldBy(`Scheduler/${name}`)
      for (;;) {
        const now = (yield* DateTime.now).epochMilliseconds
        const slot = next(now)
        if (slot === undefined) return
        yield* Effect.sleep(slot - now)
        yield* Effect.scoped(attempts(job, declared, DateTime.makeUnsafe(slot), { group, isHeld }))
      }
    })
    return Singleton.make(`Scheduler/${name}`, run, { shardGroup: group })
  }

  const isAll = declared.misfire === "runAll"
  const execute = Effect.gen(function* () {
    const slot = yield* ClusterCron.CurrentScheduledTime
    const isHeld = yield* isHeldBy(isAll ? "executor" : DateTime.formatIso(slot))
    yield* attempts(job, declared, slot, { group, isHeld })
  })
  const cron = yield* Effect.mapError(
    Effect.fromResult(Timetable.cronOf(schedule)),
    (problem) => new Scheduler.InvalidJob({ job: name, field: "schedule", problem })
  )
  return ClusterCron.make({
    name: `Scheduler/${name}`,
    cron,
    execute,
    shardGroup: group,
    calculateNextRunFromPrevious: isAll,
    skipIfOlderThan: declared.misfire === "skip" ? Duration.millis(declared.grace) : longest
  })
})

/**
 * Creates a layer that runs jobs in a cluster, as long as it is there. `InvalidJob`: a job is wrong, or is one that a cluster has not: a
 * job that is due once, one that may overlap, one with an interval whose slots are made up for. Nothing has been started.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>({
  jobs,
  shardGroup = "default"
}: Options<R>): Layer.Layer<never, Scheduler.InvalidJob, Sharding.Sharding | Exclude<R, Scope.Scope>> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const names = new Set<string>()
      const services = yield* Effect.context<R>()
      let all: Layer.Layer<never, never, Sharding.Sharding> = Layer.empty
      for (const { run, ...job } of jobs) {
        if (names.has(job.name)) {
          return yield* refused(job.name, "name", "Expected another name: there are two jobs of this one")
        }
        names.add(job.name)
        const provided = (context: Scheduler.RunContext) => Effect.provideContext(run(context), services)
        all = Layer.merge(all, yield* layerOf({ ...job, run: provided }, shardGroup))
      }
      return all
    })
  )
