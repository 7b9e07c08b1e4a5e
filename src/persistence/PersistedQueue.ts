/**
 * The store of Effect's `PersistedQueue` in a database: queues that all processes share which have the database.
 *
 * ```ts
 * import * as S3PersistedQueue from "effect-s3db/persistence/PersistedQueue"
 * import { Console, Effect, Layer, Schema } from "effect"
 * import { PersistedQueue } from "effect/persistence"
 *
 * const program = Effect.gen(function* () {
 *   const jobs = yield* PersistedQueue.make({ name: "jobs", schema: Schema.String })
 *   yield* jobs.offer("resize", { id: "1" })
 *   yield* jobs.take((job, { attempts }) => Console.log(job, attempts))
 * })
 *
 * const live = Effect.provide(program, PersistedQueue.layer.pipe(Layer.provide(S3PersistedQueue.layerStore)))
 * ```
 *
 * **Details**
 *
 * Each queue is kept as those of `plugins/S3Queue` are: see there for what is promised, and for requests. An element is acknowledged at most
 * once, by who has it: a process that stood still for longer than `visibility` is refused, and its element is taken by another. Time is
 * the store's.
 *
 * Elements are taken in the order in which they were offered. Ids are remembered until `cleanup` removes them.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as EffectPersistedQueue from "effect/persistence/PersistedQueue"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import { Database } from "../Database.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Engine from "../plugins/s3queue/engine.ts"
import * as State from "../plugins/s3queue/state.ts"
import { listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"

type Service = EffectPersistedQueue.PersistedQueueStore["Service"]

/**
 * Where the queues are, and how this process works on them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What their keys in the store are named by. Default: `persisted-queue`. */
  readonly name?: string | undefined
  /** How long this process may be silent before others take its elements. 1 second to 7 days; default: 30 seconds. */
  readonly visibility?: Duration.Input | undefined
  /** The first pause between looks for elements; it doubles as long as none comes. 10 milliseconds to 7 days; default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** The longest pause between looks for elements. Default: 30 seconds, or `pollInterval` if that is more. */
  readonly maxPollInterval?: Duration.Input | undefined
}

const week = 604_800_000

const millisOf = (field: string, input: Duration.Input, least: number): number => {
  const millis = millisecondsOf(input)
  if (millis >= least && millis <= week) return millis
  throw new RangeError(`${field} has to be a duration from ${least} ms to 7 days, not ${String(input)}`)
}

const { PersistedQueueError } = EffectPersistedQueue
type PersistedQueueError = EffectPersistedQueue.PersistedQueueError

/** Says what has failed, and why. */
const failed =
  (message: string) =>
  <A, R>(effect: Effect.Effect<A, StoreError | PersistedQueueError, R>): Effect.Effect<A, PersistedQueueError, R> =>
    Effect.mapError(
      effect,
      (cause) => new PersistedQueueError({ message: `${message}: ${cause.message}`, cause: cause.cause ?? cause })
    )

/** UTF-8 has no such text: two of them would be the same in the store. */
const refused = (what: string, text: string) =>
  Effect.fail(new PersistedQueueError({ message: `${what} is no valid Unicode: ${JSON.stringify(text)}` }))

const textOf = (element: unknown): Effect.Effect<string, PersistedQueueError> =>
  Effect.try({
    try: () => JSON.stringify(element) ?? "null",
    catch: (cause) => new PersistedQueueError({ message: "the element has no form as JSON", cause })
  })

/** How Effect's queue tells its store that an element cannot be decoded. */
const isDeadLetter = Predicate.isTagged("~effect/persistence/PersistedQueue/DeadLetter")

/** What kept an element from being decoded, if it was that. */
const deadLetterIn = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) => Cause.isFailReason(reason) && isDeadLetter(reason.error))

const firstLine = (cause: Cause.Cause<unknown>): string => Cause.pretty(cause).split("\n")[0]!.slice(0, 500)

const decodeElement = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

/** A queue that is open in this process. */
interface Opened {
  readonly engine: Engine.Engine
  maxAttempts: number
}

/**
 * Creates the store of Effect's `PersistedQueue` on a store that honours conditional writes, until the scope closes.
 *
 * Throws a `RangeError` when a duration is out of its range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<Service, never, Scope.Scope> {
  const { name: plugin = "persisted-queue" } = options
  const visibility = millisOf("visibility", options.visibility ?? "30 seconds", 1000)
  const pollInterval = millisOf("pollInterval", options.pollInterval ?? "1 second", 10)
  const longest = options.maxPollInterval ?? Math.max(30_000, pollInterval)
  const maxPollInterval = millisOf("maxPollInterval", longest, pollInterval)
  const scope = yield* Effect.scope
  const prefix = `${PluginStore.keyPrefix(plugin)}queue=`
  const measured = yield* StoreClock.kept(store)
  const clock: StoreClock.StoreClock = {
    now: Effect.catch(measured, (error) =>
      Effect.andThen(Effect.logWarning("the store's clock could not be read", error), Clock.currentTimeMillis)
    ),
    measure: Effect.asVoid(measured)
  }
  const queues = new Map<string, Opened>()

  const opened = Effect.fnUntraced(function* (name: string) {
    if (!name.isWellFormed()) return yield* refused("the name", name)
    const there = queues.get(name)
    if (there !== undefined) return there
    const engine = yield* Engine.make({
      store,
      prefix: prefix + percentEncode(name),
      clock,
      visibility,
      pollInterval,
      maxPollInterval,
      maxAttempts: () => queues.get(name)?.maxAttempts ?? defaultMaxAttempts,
      memory: Infinity,
      order: "fifo",
      onTaken: (flights) =>
        Effect.logDebug(`${flights.length} elements of queue ${name} were taken from a silent process`)
    }).pipe(Scope.provide(scope))
    const now: Opened = { engine, maxAttempts: defaultMaxAttempts }
    queues.set(name, now)
    return now
  }, Effect.uninterruptible)

  const outcomeOf = Effect.fnUntraced(function* (
    attempts: number,
    exit: Exit.Exit<unknown, unknown>,
    { maxAttempts, retryDelay }: Parameters<Service["take"]>[0]
  ): Effect.fn.Return<State.Outcome> {
    if (exit._tag === "Success") return { _tag: "done" }
    const { cause } = exit
    if (deadLetterIn(cause)) return { _tag: "dead", error: "the element cannot be decoded" }
    if (Cause.hasInterruptsOnly(cause)) return { _tag: "release" }
    if (attempts >= maxAttempts) return { _tag: "dead", error: firstLine(cause) }
    const delay = yield* Effect.catchCause(retryDelay(attempts), (unknown) =>
      Effect.as(Effect.logWarning("the schedule of retries fails; it is tried again after a second", unknown), second)
    )
    const due = Math.floor(yield* clock.now) + Engine.waitOf(Duration.toMillis(delay))
    return { _tag: "retry", due, error: firstLine(cause) }
  })

  const take = Effect.fnUntraced(function* (taking: Parameters<Service["take"]>[0]) {
    const queue = yield* opened(taking.name)
    queue.maxAttempts = taking.maxAttempts
    const { engine } = queue
    for (;;) {
      const taken = yield* engine.claim(
        1,
        Effect.fnUntraced(function* ([claim]) {
          if (claim === undefined) return undefined
          const { a: attempts = 1, i: id } = claim.message
          const element = decodeElement(claim.payload)
          if (Result.isFailure(element) || attempts > taking.maxAttempts) {
            yield* engine.settle(claim, { _tag: "dead", error: "it was taken too often, or cannot be read" })
            return undefined
          }
          yield* Effect.addFinalizer((exit) =>
            Effect.flatMap(outcomeOf(attempts, exit, taking), (outcome) =>
              Effect.matchEffect(engine.settle(claim, outcome), {
                onSuccess: (isSettled) =>
                  isSettled
                    ? Effect.void
                    : Effect.logWarning(`element ${id} of queue ${taking.name} was lost to another`),
                onFailure: (error) =>
                  Effect.logWarning(`what became of element ${id} of queue ${taking.name} could not be written`, error)
              })
            )
          )
          return { id, attempts, element: element.success }
        })
      )
      if (taken !== undefined) return taken
    }
  })

  const cleanUp = Effect.fnUntraced(function* (
    { engine }: Opened,
    ages: { readonly completed: number; readonly failed: number | undefined }
  ) {
    const digestOf = ({ i }: State.Message) => Engine.digestOf(Engine.keyOfId(i))
    yield* engine.change(
      Effect.fnUntraced(function* (draft, { now, reader }) {
        const { failed } = ages
        if (failed !== undefined) {
          const isOver = ({ t = now }: State.Message) => t <= now - failed
          for (const message of yield* State.messagesOn(draft.dead, reader)) {
            if (isOver(message)) draft.ids.delete(digestOf(message))
          }
          yield* State.discard(draft, reader, isOver)
        }
        // Those that failed are remembered as long as they are there.
        const kept = new Set((yield* State.messagesOn(draft.dead, reader)).map(digestOf))
        const keptParts = new Set<string>()
        for (const part of draft.idParts) {
          const ids = kept.size === 0 ? new Map() : yield* reader.openIds(part)
          if ([...kept].some((digest) => ids.has(digest))) keptParts.add(part.p)
        }
        State.forget(draft, now - ages.completed, kept, keptParts)
      })
    )
  })

  /** The queues that there are. */
  const names = listAll(store, { prefix, keysOnly: true }).pipe(
    Stream.filterMap(({ key }) => {
      const [, name] = /^([^/]*)\/queue$/.exec(key.slice(prefix.length)) ?? []
      const decoded = name === undefined ? undefined : percentDecode(name)
      return decoded === undefined ? Result.failVoid : Result.succeed(decoded)
    })
  )

  return {
    offer: Effect.fn("PersistedQueueStore.offer")(function* ({ delay, element, id, isCustomId, name }) {
      const { engine } = yield* opened(name)
      if (!id.isWellFormed()) return yield* refused("the id", id)
      const offer: Engine.Offer = {
        delay: delay === undefined ? 0 : Engine.waitOf(Duration.toMillis(delay)),
        keys: isCustomId ? [Engine.keyOfId(id)] : [],
        message: { i: id, x: yield* textOf(element), ...(isCustomId ? { c: true as const } : {}) }
      }
      yield* engine.offer([offer])
    }, failed("Failed to offer element to persisted queue")),
    take: (taking) => failed("Failed to take element from persisted queue")(take(taking)),
    cleanup: Effect.fn("PersistedQueueStore.cleanup")(function* ({ failedTimeToLive, timeToLive }) {
      const ages = {
        completed: Duration.toMillis(timeToLive),
        failed: failedTimeToLive === undefined ? undefined : Duration.toMillis(failedTimeToLive)
      }
      yield* Stream.runForEach(names, (name) => Effect.flatMap(opened(name), (queue) => cleanUp(queue, ages)))
    }, failed("Failed to clean up persisted queue"))
  }
})

const defaultMaxAttempts = 10

const second = Duration.seconds(1)

/**
 * Creates a layer of the store of Effect's `PersistedQueue` in a database, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStoreWith = (
  options: Options
): Layer.Layer<EffectPersistedQueue.PersistedQueueStore, never, Database> =>
  Layer.effect(
    EffectPersistedQueue.PersistedQueueStore,
    Effect.flatMap(Database, ({ store }) => make(store, options))
  )

/**
 * The layer of the store of Effect's `PersistedQueue` in a database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStore: Layer.Layer<EffectPersistedQueue.PersistedQueueStore, never, Database> = layerStoreWith({})
