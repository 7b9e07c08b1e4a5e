/**
 * Walks state machines at random, and compares what they do with a model of them. Run it on a machine of your own.
 *
 * ```ts no-check
 * it.effect("the door is what we mean by a door", () =>
 *   Effect.gen(function* () {
 *     const result = yield* MachineWalks.check(Door, {
 *       contexts: [{ opened: 0 }],
 *       model: ({ context, event, state }) =>
 *         state === "closed" && event._tag === "Open"
 *           ? { state: "open", context: { opened: context.opened + 1 } }
 *           : state === "open" && event._tag === "Close"
 *             ? { state: "closed" }
 *             : undefined
 *     })
 *     assert.strictEqual(result._tag, "Passed", MachineWalks.describe(result))
 *   })
 * )
 * ```
 *
 * **Details**
 *
 * A walk begins with a context and takes steps: events of all names, those that the state takes and those that it does not; the same once more under the same key; one whose process dies at any of its requests, after
 * which another sends it again; time that passes, in which triggers come. Each walk has a store in memory and a clock of its own. Actions are not run: what they do is no part of the machine.
 *
 * After each step it is looked whether versions have no gap, each transition is one that the machine declares, what was refused has changed nothing, and what was sent twice or whose process died was made once; what the model says, and
 * `always`. What fails is made shorter until no step can be left out, and no process need die.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Arbitrary from "effect/Arbitrary"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "../Database.ts"
import * as StateMachine from "../plugins/StateMachine.ts"
import * as Resource from "../Resource.ts"
import * as MemoryStore from "../storage/MemoryStore.ts"
import { ObjectStore } from "../storage/ObjectStore.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An event for an entity as a model sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moment<out State extends string, out Ev, out C> {
  readonly state: State
  readonly context: C
  readonly event: Ev
}

/**
 * How a machine is walked, and what it is compared with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<State extends string, Ev, C> {
  /** What entities begin with. Default: what the schema of the context allows. */
  readonly contexts?: ReadonlyArray<C> | undefined
  /** Events that are sent more often than others: those whose values guards look at. Default: all that the schema of events allows. */
  readonly events?: ReadonlyArray<Ev> | undefined
  /** What the event leads to; `undefined`: it is not taken, or refused. It has to be pure. Without a `context` that one is not compared. Default: none is compared. */
  readonly model?:
    | ((at: Moment<State, Ev, C>) => { readonly state: State; readonly context?: C } | undefined)
    | undefined
  /** What is true after every step: `false`, or a text that says what is wrong. */
  readonly always?: ((entity: StateMachine.Entity<State, C>) => boolean | string) | undefined
  /** How many walks there are. Default: 50. */
  readonly runs?: number | undefined
  /** The most steps of a walk. Default: 20. */
  readonly steps?: number | undefined
  /** How long passes at most in a step in which time passes. Default: 1 day. */
  readonly longest?: Duration.Input | undefined
  /** For the same walks again. Default: the `Random` of the fiber. */
  readonly seed?: string | number | undefined
}

/**
 * A step of a walk.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<Ev> =
  | { readonly _tag: "Send"; readonly event: Ev }
  /** The last that was sent, under its key. */
  | { readonly _tag: "Again" }
  /** The process dies before the request of this number, from 1, or after all; another sends the same. */
  | { readonly _tag: "Crash"; readonly event: Ev; readonly request: number }
  | { readonly _tag: "Pass"; readonly millis: number }

/**
 * A walk: what it begins with, and its steps.
 *
 * @category models
 * @since 0.1.0
 */
export interface Walk<out Ev, out C> {
  readonly context: C
  readonly steps: ReadonlyArray<Step<Ev>>
}

/**
 * What was found.
 *
 * @category models
 * @since 0.1.0
 */
export type Found<State extends string, Ev, C> =
  | {
      readonly _tag: "Passed"
      readonly walks: number
      /** States that no walk has come to, though something leads to them. */
      readonly missed: ReadonlyArray<State>
    }
  | {
      readonly _tag: "Failed"
      /** One from which no step can be left out. */
      readonly walk: Walk<Ev, C>
      /** What went wrong with its last step. */
      readonly problem: string
    }

// -----------------------------------------------------------------------------
// Walks
// -----------------------------------------------------------------------------

/** The process is gone. */
class Crashed {
  readonly _tag = "Crashed"
}

type Store = ObjectStore["Service"]

/** A store whose client dies before a request. */
const dyingAt = (store: Store, at: number): Store => {
  let requests = 0
  const gate = <A, E>(request: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      requests += 1
      return requests < at ? request : Effect.die(new Crashed())
    })
  return {
    ...store,
    put: (one) => gate(store.put(one)),
    get: (...args) => gate(store.get(...args)),
    head: (key) => gate(store.head(key)),
    delete: (...args) => gate(store.delete(...args)),
    deleteMany: (...args) => gate(store.deleteMany(...args)),
    copy: (one) => gate(store.copy(one)),
    list: (one) => gate(store.list(one))
  }
}

const mostRequests = 8

/** A walk as it is generated: numbers in the place of what there is a list of. */
const generated = <Ev, C>(
  event: Schema.Codec<Ev, unknown>,
  context: Schema.Codec<C, unknown>,
  { contexts = [], events = [], longest = "1 day", steps = 20 }: Options<never, Ev, C>
) => {
  const index = (of: ReadonlyArray<unknown>) =>
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: of.length - 1 }))
  const request = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: mostRequests }))
  const millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Math.ceil(Duration.toMillis(longest)) }))
  const any = [
    Schema.TaggedStruct("Send", { event }),
    Schema.TaggedStruct("Crash", { event, request }),
    Schema.TaggedStruct("Again", {}),
    Schema.TaggedStruct("Pass", { millis })
  ] as const
  const known = index(events)
  const step =
    events.length === 0
      ? Schema.Union(any)
      : Schema.Union([
          Schema.TaggedStruct("Known", { known }),
          Schema.TaggedStruct("KnownCrash", { known, request }),
          ...any
        ])
  const path = Arbitrary.array(Arbitrary.schema(step), { minLength: 1, maxLength: steps })
  const begun: Arbitrary.Arbitrary<C> =
    contexts.length === 0
      ? Arbitrary.schema(context)
      : Arbitrary.map(Arbitrary.schema(index(contexts)), (which) => contexts[which]!)
  return Arbitrary.map(Arbitrary.all({ begun, path }), ({ begun: from, path: all }): Walk<Ev, C> => ({
    context: from,
    steps: all.map((one): Step<Ev> => {
      if (one._tag === "Known") return { _tag: "Send", event: events[one.known]! }
      if (one._tag === "KnownCrash") return { _tag: "Crash", event: events[one.known]!, request: one.request }
      return one
    })
  }))
}

const id = "walked"

/** What is wrong, and with which step. */
interface Problem {
  readonly step: number
  readonly problem: string
}

const quoted = (value: unknown): string => JSON.stringify(value) ?? String(value)

/** Walks once: `undefined` where all is as it should be. */
const walkOnce = Effect.fnUntraced(function* <State extends string, E extends StateMachine.Events, C, D, Refusal, R>(
  machine: StateMachine.Machine<State, E, C, D, Refusal, R>,
  { context, steps }: Walk<StateMachine.EventOf<E>, C>,
  { always, model }: Options<State, StateMachine.EventOf<E>, C>,
  visited: Set<string>
) {
  type Ev = StateMachine.EventOf<E>
  type M = StateMachine.Machine<State, E, C, D, Refusal, R>
  class Walked extends Resource.Service<Walked>()("effect-s3db/testing/MachineWalks/Walked", {
    ...StateMachine.alone(machine),
    name: "walked"
  }) {}
  const { store } = yield* MemoryStore.make()
  const open = Effect.fnUntraced(function* (on: Store) {
    const database = yield* Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, on)
    const repository = yield* Effect.provideService(Resource.make(Walked.definition), Database.Database, database)
    const flow: StateMachine.Flow<M> = yield* StateMachine.open({
      machine,
      resource: Walked,
      field: "machine",
      actions: false,
      triggers: false
    }).pipe(Effect.provideService(Walked, repository), Effect.provideService(Database.Database, database))
    return flow
  })
  const flow = yield* open(store)
  const begun = yield* Effect.result(flow.start(id, context))
  if (Result.isFailure(begun)) return { step: -1, problem: `it cannot be started: ${begun.failure.message}` }

  const asJson = Schema.toCodecJson(machine.context)
  const textOf = (one: C) => Effect.map(Schema.encodeEffect(asJson)(one), (json) => JSON.stringify(json))
  const edges = StateMachine.edgesOf(machine)
  const isInside = (state: string, around: string) => state === around || state.startsWith(`${around}.`)
  const isDeclared = (from: string, event: string, to: string) =>
    edges.some((edge) => edge.event === event && isInside(from, edge.from) && isInside(to, edge.to))
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(machine.event))
  /** An event that nothing comes with is stored by its name. */
  const eventOf = ({ event, payload }: StateMachine.Past) => decode(payload ?? { _tag: event })

  let before = yield* flow.get(id)
  visited.add(before.state)
  let last: { readonly event: Ev; readonly key: string } | undefined
  let keys = 0

  /** What the model makes of an event, and whether that is what has come of it. */
  const compared = Effect.fnUntraced(function* (
    from: StateMachine.Entity<State, C>,
    event: Ev,
    to: StateMachine.Entity<State, C> | undefined
  ) {
    if (model === undefined) return undefined
    const told = `${quoted(event)} in ${quoted(from.state)}`
    const meant = model({ state: from.state, context: from.context, event })
    if (meant === undefined) return to === undefined ? undefined : `${told} is taken, and leads to ${quoted(to.state)}`
    if (to === undefined) return `${told} is refused, and should lead to ${quoted(meant.state)}`
    if (meant.state !== to.state)
      return `${told} leads to ${quoted(to.state)}, and should lead to ${quoted(meant.state)}`
    if (meant.context === undefined) return undefined
    const [own, other] = [yield* textOf(to.context), yield* textOf(meant.context)]
    return own === other ? undefined : `${told} makes the context ${own}, which should be ${other}`
  })

  /** What is wrong with a step after which there are so many versions more at most. */
  const looked = Effect.fnUntraced(function* (sent: Ev | undefined, isTaken: boolean, most: number) {
    const after = yield* flow.get(id)
    const more = after.version - before.version
    if (more < 0 || more > most) return `there are ${more} transitions more, where at most ${most} may be`
    if (sent !== undefined && (more === 1) !== isTaken) {
      return isTaken
        ? "it was told that it is taken, and nothing has changed"
        : "it was refused, and has changed the entity"
    }
    if (
      more === 0 &&
      (after.state !== before.state || (yield* textOf(after.context)) !== (yield* textOf(before.context)))
    ) {
      return "the entity is another in the same version"
    }
    const past = yield* Stream.runCollect(Stream.take(flow.history(id), more + 1))
    const fresh = past.slice(0, more).toReversed()
    let state: string = before.state
    for (const [i, { event = "", from, to, version }] of fresh.entries()) {
      if (version !== before.version + i + 1) return `version ${version} follows ${before.version + i}`
      if (from !== state)
        return `version ${version} begins in ${quoted(from)}, and the one before it has led to ${quoted(state)}`
      if (!isDeclared(state, event, to))
        return `nothing leads from ${quoted(state)} to ${quoted(to)} by ${quoted(event)}`
      visited.add(to)
      state = to
    }
    if (state !== after.state) return `it is in ${quoted(after.state)}, and its history has led to ${quoted(state)}`
    const [only] = fresh
    const event = sent ?? (only !== undefined && more === 1 ? yield* eventOf(only) : undefined)
    const problem = event === undefined ? undefined : yield* compared(before, event, more === 1 ? after : undefined)
    if (problem !== undefined) return problem
    before = after
    if (always === undefined) return undefined
    const holds = always(after)
    return holds === true ? undefined : holds === false ? `always does not hold in ${quoted(after.state)}` : holds
  })

  const send = Effect.fnUntraced(function* (through: StateMachine.Flow<M>, event: Ev, key: string) {
    const sent = yield* Effect.result(through.send(id, event, { key }))
    if (Result.isSuccess(sent)) return { isTaken: true, isRepeated: sent.success.repeated, problem: undefined }
    // Of any machine, whatever its guards refuse for.
    const failure: { readonly _tag: string; readonly message: string } = sent.failure
    const isAnswer = failure._tag === "InvalidEvent" || failure._tag === "Refused"
    return { isTaken: false, isRepeated: false, problem: isAnswer ? undefined : `it fails: ${failure.message}` }
  })

  const take = Effect.fnUntraced(function* (step: Step<Ev>) {
    if (step._tag === "Pass") {
      yield* TestClock.adjust(step.millis)
      yield* flow.sweep
      // A trigger that has come may have armed another that is due.
      return yield* looked(undefined, false, Infinity)
    }
    if (step._tag === "Again") {
      if (last === undefined) return undefined
      const { isTaken, problem } = yield* send(flow, last.event, last.key)
      if (problem !== undefined) return problem
      // What was taken is answered by what it has made; what was refused may be taken by now.
      const wasThere = yield* Effect.map(flow.get(id), ({ version }) => version === before.version)
      return wasThere ? yield* looked(undefined, false, 0) : yield* looked(last.event, isTaken, 1)
    }
    const key = `key ${keys++}`
    last = { event: step.event, key }
    if (step._tag === "Crash") {
      const scope = yield* Scope.make()
      const dying = Effect.flatMap(open(dyingAt(store, step.request)), (other) => other.send(id, step.event, { key }))
      const exit = yield* Effect.exit(Scope.provide(dying, scope))
      yield* Effect.exit(Scope.close(scope, Exit.void))
      const other = yield* open(store)
      const { isTaken, problem } = yield* send(other, step.event, key)
      if (problem !== undefined) return problem
      if (Exit.isSuccess(exit) && !isTaken) return "it was told that it is taken, and is refused under the same key"
      return yield* looked(step.event, isTaken, 1)
    }
    const { isTaken, problem } = yield* send(flow, step.event, key)
    return problem ?? (yield* looked(step.event, isTaken, 1))
  })

  for (const [i, step] of steps.entries()) {
    const problem = yield* take(step)
    if (problem !== undefined) return { step: i, problem }
  }
  return undefined
})

/**
 * Walks a machine at random, and tells what is wrong with it by a shortest walk, if something is. It needs the services of its guards, and makes no request but to stores in memory.
 *
 * @category combinators
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function* <
  State extends string,
  E extends StateMachine.Events,
  C,
  D,
  Refusal,
  R
>(
  machine: StateMachine.Machine<State, E, C, D, Refusal, R>,
  options: Options<State, StateMachine.EventOf<E>, C> = {}
): Effect.fn.Return<Found<State, StateMachine.EventOf<E>, C>, never, R> {
  type Ev = StateMachine.EventOf<E>
  const { runs = 50, seed } = options
  const visited = new Set<string>()
  const problemOf = (walk: Walk<Ev, C>): Effect.Effect<Problem | undefined, never, R> =>
    walkOnce(machine, walk, options, visited).pipe(
      // A guard, an update or a model that throws, too; but not who is no longer waited for.
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.interrupt
          : Effect.succeed<Problem>({ step: walk.steps.length, problem: `it fails: ${String(Cause.squash(cause))}` })
      ),
      Effect.scoped,
      Effect.provide(TestClock.layer({ warningDelay: "1 hour" }), { local: true })
    )
  const { model: _model, always: _always, ...generating } = options
  const walks = generated<Ev, C>(machine.event, machine.context, generating)
  const result = yield* Arbitrary.checkEffect(
    walks,
    (walk) => Effect.map(problemOf(walk), (found) => found === undefined),
    {
      runs,
      seed
    }
  )
  if (result._tag !== "Falsified") {
    const unreachable: ReadonlyArray<string> = StateMachine.analyze(machine).unreachable
    const around = new Set(machine.states.filter((state) => machine.states.some((one) => one.startsWith(`${state}.`))))
    const missed = machine.states.filter(
      (state) => !visited.has(state) && !unreachable.includes(state) && !around.has(state)
    )
    return { _tag: "Passed", walks: result._tag === "Passed" ? result.runs : 0, missed }
  }
  let walk = result.shrunkInput
  let found = yield* problemOf(walk)
  for (let i = 0; found !== undefined && i < walk.steps.length;) {
    const { steps } = walk
    const step = steps[i]!
    const simpler = step._tag === "Crash" ? [{ _tag: "Send" as const, event: step.event }] : []
    let isSimpler = false
    for (const instead of [[], ...simpler.map((one) => [one])]) {
      const other = { ...walk, steps: steps.toSpliced(i, 1, ...instead) }
      const problem = yield* problemOf(other)
      if (problem === undefined) continue
      walk = other
      found = problem
      isSimpler = true
      break
    }
    i = isSimpler ? 0 : i + 1
  }
  return {
    _tag: "Failed",
    walk,
    problem: found?.problem ?? "it failed once, and not again: is a guard or the model not pure?"
  }
})

/**
 * Says for people what was found.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = <State extends string, Ev, C>(found: Found<State, Ev, C>): string => {
  if (found._tag === "Passed") {
    const missed = found.missed.length === 0 ? "" : `; no walk has come to ${found.missed.join(", ")}`
    return `${found.walks} walks, all as they should be${missed}`
  }
  const { context, steps } = found.walk
  const lines = steps.map((step) => {
    switch (step._tag) {
      case "Send":
        return `  send ${quoted(step.event)}`
      case "Again":
        return "  send the same again, under its key"
      case "Crash":
        return `  send ${quoted(step.event)}, die before request ${step.request}, send it again from another process`
      case "Pass":
        return `  let ${step.millis} ms pass`
    }
  })
  return [`begin with ${quoted(context)}`, ...lines, found.problem].join("\n")
}
