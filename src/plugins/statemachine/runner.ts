/**
 * What machines do by themselves: triggers whose time has come, actions of transitions that are committed, and events by changes elsewhere.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as DbError from "../../DbError.ts"
import * as Guard from "../../Guard.ts"
import { idempotencyKey } from "../../internal/idempotencyKey.ts"
import type * as AppendLog from "../../kernel/AppendLog.ts"
import type * as Journal from "../../kernel/Journal.ts"
import type * as Lease from "../../kernel/Lease.ts"
import type { Instance } from "../../Plugin.ts"
import type * as Repository from "../../Repository.ts"
import type { Action } from "./definition.ts"
import { type Documents, type Entities, type Fired, type Moved, nameOf, taggedOf } from "./entities.ts"
import { ActionFailed, UnknownForm } from "./errors.ts"
import * as Step from "./step.ts"
import type { Recorded, Stored } from "./stored.ts"

/**
 * What machines tell of what they do by themselves.
 *
 * - `Moved`: this process has sent an event, and it was taken
 * - `Triggered`: a trigger was due; `taken`: whether its event was
 * - `ActionDone`, `ActionRetried`, `ActionFailed`: an action has succeeded, is tried again, or has failed for good; `handled`: whether its
 *   `onFailure` has seen to that
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | (Pick<Moved, "event" | "from" | "id" | "to" | "version"> & { readonly _tag: "Moved"; readonly machine: string })
  | {
      readonly _tag: "Triggered"
      readonly machine: string
      readonly id: string
      readonly trigger: string
      readonly taken: boolean
    }
  | {
      readonly _tag: "ActionDone" | "ActionRetried"
      readonly machine: string
      readonly id: string
      readonly version: number
      readonly action: string
      readonly attempt: number
    }
  | {
      readonly _tag: "ActionFailed"
      readonly machine: string
      readonly id: string
      readonly version: number
      readonly action: string
      readonly error: string
      readonly handled: boolean
    }

/**
 * What the work of a machine goes by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly rules: Step.Rules
  readonly entities: Entities
  readonly documents: Documents
  readonly resource: string
  readonly dueIndex: string
  readonly self: Instance<Event>
  readonly concurrency: number
  readonly now: Effect.Effect<number, DbError.DbError>
  readonly provided: <A, E>(effect: Effect.Effect<A, E, unknown>) => Effect.Effect<A, E>
}

// -----------------------------------------------------------------------------
// Triggers
// -----------------------------------------------------------------------------

/** How many triggers of one entity a sweep sends at most: a machine may go in a circle for ever. */
const mostInARow = 100

/**
 * What a sweep has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Swept {
  /** Entities that had a trigger that was due, as far as the index says. */
  readonly due: number
  readonly taken: number
  /** Triggers whose event was refused, or is not taken by the state. */
  readonly refused: number
  /** Entities that could not be looked at; they are tried again. */
  readonly failed: number
}

/**
 * Sends the events of all triggers that are due. 1 LIST for each 1,000, 2 for each that is due.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sweep = Effect.fnUntraced(function* ({
  concurrency,
  documents,
  dueIndex,
  entities,
  now,
  rules: { name: machine },
  self
}: Options): Effect.fn.Return<Swept, Repository.ListError | Repository.ChangeError | DbError.Unfinished> {
  const swept = { due: 0, taken: 0, refused: 0, failed: 0 }
  const one = Effect.fnUntraced(function* (id: string) {
    swept.due += 1
    for (let row = 0; row < mostInARow; row++) {
      const exit = yield* Effect.exit(entities.fire(id))
      if (Exit.isFailure(exit)) {
        // It is this sweep that is interrupted, unless a guard interrupts itself.
        yield* Effect.yieldNow
        if (isGone(exit.cause)) return
        swept.failed += 1
        return yield* Effect.logWarning(
          `state-machine: a trigger of ${JSON.stringify(id)} of ${machine} could not be sent; it is tried again`,
          exit.cause
        )
      }
      const fired: Fired | undefined = exit.value
      if (fired === undefined) return
      const taken = fired.moved !== undefined
      swept[taken ? "taken" : "refused"] += 1
      yield* self.count(taken ? "triggered" : "refused")
      yield* self.publish({ _tag: "Triggered", machine, id, trigger: fired.trigger, taken })
    }
  })
  const at = yield* now
  const seen = new Set<string>()
  const pass = documents.companion(dueIndex, { to: at, verify: false }).pipe(
    Stream.filter(({ id }) => !seen.has(id) && Boolean(seen.add(id))),
    Stream.mapEffect(({ id }) => one(id), { concurrency, unordered: true }),
    Stream.runDrain
  )
  const build = Effect.flatMap(documents.admin, ({ backfill }) => Stream.runDrain(backfill()))
  // Of documents that were there before the index.
  yield* Guard.trusted(Effect.catchReason(pass, "DbError", "Incomplete", () => Effect.andThen(build, pass)))
  return swept
})

/** Whether an entity is no more, or was never started: a key of the index that a write has left which came to a sudden end. */
const isGone = (cause: Cause.Cause<unknown>): boolean => {
  const tag = nameOf(cause)
  return tag === "NotFound" || tag === "NotStarted"
}

/**
 * Sweeps with the lease for as long as something is due, and looks again after each pause. What fails is tried again.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sweeping = (
  options: Options,
  election: Lease.Lease,
  interval: Duration.Duration,
  note: (trouble: string | undefined) => void
): Effect.Effect<never> => {
  const { documents, dueIndex, now, rules } = options
  const look = Effect.flatMap(now, (to) =>
    Stream.runHead(documents.companion(dueIndex, { to, verify: false, limit: 1 }))
  ).pipe(
    Effect.map(({ _tag }) => _tag === "Some"),
    Effect.catchReason("DbError", "Incomplete", () => Effect.succeed(true)),
    Guard.trusted
  )
  const sweepWhileDue = Effect.gen(function* () {
    for (;;) {
      const { due, failed } = yield* sweep(options)
      note(failed === 0 ? undefined : `triggers that could not be sent: ${failed}`)
      if (due === 0) return
      yield* Effect.sleep(interval)
    }
  })
  // Where nothing is due, nothing is in the way any more either.
  const rest = Effect.sync(() => note(undefined))
  return Effect.flatMap(look, (isDue) => (isDue ? election.runWhileLeader(() => sweepWhileDue) : rest)).pipe(
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      note(`triggers cannot be looked for: ${nameOf(cause)}`)
      return Effect.logWarning(
        `state-machine: triggers of ${rules.name} could not be sent; they are tried again`,
        cause
      )
    }),
    Effect.andThen(Effect.sleep(interval)),
    Effect.forever
  )
}

// -----------------------------------------------------------------------------
// Actions
// -----------------------------------------------------------------------------

/** An action that this program has not: another one has declared it. It waits for that. */
class UnknownAction {
  readonly _tag = "UnknownAction"
  readonly isRetryable = true
  readonly message: string
  constructor(machine: string, action: string) {
    this.message = `this program has no action ${JSON.stringify(action)} of machine ${JSON.stringify(machine)}: run the version that has it`
  }
}

/** An entity that a newer version of the machine has written. It waits for a program that has it. */
class NewerForm {
  readonly _tag = "UnknownForm"
  readonly isRetryable = true
  readonly message: string
  constructor({ message, newer }: UnknownForm) {
    this.message = `${message}: run version ${newer}, or later`
  }
}

const newerOf = (error: unknown): NewerForm | undefined =>
  error instanceof UnknownForm && error.newer !== undefined ? new NewerForm(error) : undefined

/** Nothing of what is for an entity of a newer version is given up here: another program can see to it. */
const unlessNewer = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | NewerForm, R> =>
  Effect.mapError(effect, (error) => newerOf(error) ?? error)

type Entry = AppendLog.Entry<Journal.Record>

/** The transitions that a write has made, the oldest first. */
interface Written {
  readonly id: string
  readonly stored: Stored
  readonly document: unknown
  readonly transitions: ReadonlyArray<Recorded>
}

/** How many transitions are remembered that this process has seen to. */
const mostRemembered = 10_000

/**
 * Makes what runs the actions of committed transitions, given the records of the journal.
 *
 * @category combinators
 * @since 0.1.0
 */
export const acting = ({ concurrency, documents, entities, provided, resource, rules, self }: Options) => {
  const { name: machine } = rules
  /** What is given again, since something beside it has failed, is not done again here. */
  const done = new Set<string>()
  const remember = (key: string) => {
    done.add(key)
    const [oldest] = done
    if (done.size > mostRemembered) done.delete(oldest!)
  }

  const imageOf = (record: Journal.Record, side: "after" | "before") =>
    documents.fromImage(record, side).pipe(
      // The journal did not keep images yet.
      Effect.catchTag("NotFound", () => Effect.succeed(undefined))
    )

  const writtenBy = Effect.fnUntraced(function* ({ value: record }: Entry) {
    if (record.resource !== resource) return undefined
    if (record.kind === "delete") {
      const before = entities.storedIn(yield* imageOf(record, "before"))
      // What is left of it is nobody's.
      if (before !== undefined) yield* entities.forget(before.life)
      return undefined
    }
    const document = yield* imageOf(record, "after")
    const stored = entities.storedIn(document)
    if (stored === undefined) return undefined
    // What has replaced something nobody knows of is no transition for certain.
    if (record.kind === "update" && record.before === undefined) return undefined
    const before = record.before === undefined ? undefined : entities.storedIn(yield* imageOf(record, "before"))
    const from = before?.life === stored.life ? before.version : -1
    const transitions = stored.recent.filter(({ v }) => v > from)
    return { id: record.id, stored, document, transitions } satisfies Written
  })

  /** Runs an action as often as its policy says; gives what it has failed with for good, if it has. */
  const run = Effect.fnUntraced(function* (action: Action, { document, id, stored }: Written, transition: Recorded) {
    const { at: _, do: __, event, from, key: ___, to, v: version, with: payload } = transition
    const told = { machine, id, version, action: action.name }
    // It may have been written by an earlier version, or by a newer one.
    const { context } = yield* unlessNewer(Step.view(rules, id, stored))
    const input = {
      id,
      from: from ?? to,
      to,
      version,
      context,
      document,
      event: event === undefined ? undefined : yield* rules.decodeEvent(payload ?? { _tag: event }),
      idempotencyKey: idempotencyKey(self.slug, machine, resource, id, stored.life, version, action.name)
    }
    const since = { life: stored.life, version }
    const answer = (event: unknown, key: string) =>
      entities.send(id, taggedOf(event), { key: `${input.idempotencyKey}/${key}`, since }).pipe(
        // It has gone on without, or is gone.
        Effect.catchTags({
          InvalidEvent: (refusal) =>
            refusal.problem === undefined ? Effect.logInfo(refusal.message) : Effect.fail(refusal),
          Refused: (refusal) => Effect.logInfo(refusal.message),
          NotFound: () => Effect.void,
          NotStarted: () => Effect.void,
          // It is sent to whatever version there is.
          StaleVersion: () => Effect.void
        }),
        Effect.asVoid
      )
    let behind: NewerForm | undefined
    const own = {
      send: (event: unknown) =>
        Effect.tapError(answer(event, `sends/${Step.tagOf(taggedOf(event))}`), (error) =>
          Effect.sync(() => (behind = newerOf(error)))
        )
    }
    for (let attempt = 1; ; attempt++) {
      const exit = yield* Effect.exit(provided(Effect.suspend(() => action.run({ ...input, attempt }, own))))
      if (Exit.isSuccess(exit)) {
        yield* self.count("actions")
        yield* self.publish({ _tag: "ActionDone", ...told, attempt })
        return undefined
      }
      // It is this process that is interrupted, unless the action interrupts itself.
      yield* Effect.yieldNow
      if (behind !== undefined) return yield* Effect.fail(behind)
      const { cause } = exit
      const error = Cause.squash(cause)
      if (attempt < action.attempts && action.isRetryable(error)) {
        yield* self.publish({ _tag: "ActionRetried", ...told, attempt })
        yield* Effect.sleep(action.pause(attempt))
        continue
      }
      yield* self.count("failures")
      const handled = action.onFailure !== undefined
      yield* self.publish({ _tag: "ActionFailed", ...told, error: nameOf(cause), handled })
      const line = `state-machine: ${action.name} of ${JSON.stringify(id)} of ${machine} has failed`
      yield* handled ? Effect.logDebug(line, cause) : Effect.logWarning(line, cause)
      if (action.onFailure === undefined) return new ActionFailed({ ...told, problem: nameOf(cause) })
      const { onFailure } = action
      const answered = yield* Effect.exit(provided(Effect.suspend(() => onFailure({ ...input, attempt }, error))))
      if (Exit.isFailure(answered)) {
        yield* Effect.yieldNow
        return new ActionFailed({ ...told, problem: `onFailure: ${nameOf(answered.cause)}` })
      }
      if (answered.value === undefined) return undefined
      yield* unlessNewer(answer(answered.value, "failed"))
      return undefined
    }
  })

  const runAll = Effect.fnUntraced(function* (written: Written) {
    for (const transition of written.transitions) {
      const key = `${written.stored.life}/${transition.v}`
      if (done.has(key)) continue
      let failure: ActionFailed | undefined
      for (const name of transition.do ?? []) {
        const action = rules.actions.get(name)
        if (action === undefined) return yield* Effect.fail(new UnknownAction(machine, name))
        failure = (yield* run(action, written, transition)) ?? failure
      }
      if (failure !== undefined) return yield* failure
      remember(key)
    }
  })

  return Effect.fnUntraced(function* (entries: ReadonlyArray<Entry>) {
    const byId = new Map<string, Array<Entry>>()
    for (const entry of entries) {
      const of = byId.get(entry.value.id)
      if (of === undefined) byId.set(entry.value.id, [entry])
      else of.push(entry)
    }
    // Of one entity in their order, of several at once; the others go on where one fails.
    const exits = yield* Effect.forEach(
      byId.values(),
      (of) =>
        Effect.exit(
          Effect.forEach(
            of,
            (entry) =>
              Effect.flatMap(writtenBy(entry), (written) => (written === undefined ? Effect.void : runAll(written))),
            { discard: true }
          )
        ),
      { concurrency }
    )
    for (const exit of exits) yield* exit
  }, Guard.trusted)
}

// -----------------------------------------------------------------------------
// Changes of other documents
// -----------------------------------------------------------------------------

/**
 * Makes what sends events for changes, given the records of the journal; `to` says which, and to whom. With `again` also those of changes that later ones have
 * overtaken, since they could not be sent.
 *
 * @category combinators
 * @since 0.1.0
 */
export const hearing = (
  { entities, self, rules: { name: machine } }: Pick<Options, "entities" | "rules" | "self">,
  who: string,
  to: (
    record: Journal.Record
  ) => Effect.Effect<
    ReadonlyArray<{ readonly id: string; readonly event: unknown }>,
    DbError.NotFound | DbError.InvalidInput | Repository.ReadError
  >,
  again = false
) =>
  Effect.fnUntraced(function* (entries: ReadonlyArray<Entry>) {
    for (const { position, value } of entries) {
      const sent = yield* to(value)
      for (const [i, { event, id }] of sent.entries()) {
        // One change may send several events to the same entity: they are told apart by their place, each as if somebody else had heard of it.
        const before = sent.slice(0, i).filter((one) => one.id === id).length
        const seen = [before === 0 ? who : JSON.stringify([who, before]), position] as const
        const key = `${who}@${position}/${before}`
        const moved = yield* unlessNewer(entities.send(id, taggedOf(event), { key, seen, again })).pipe(
          Effect.map((one): Moved | undefined => one),
          // Whoever is not in a state that takes it is not meant.
          Effect.catchTags({
            InvalidEvent: () => Effect.succeed(undefined),
            Refused: () => Effect.succeed(undefined),
            NotFound: () => Effect.succeed(undefined),
            NotStarted: () => Effect.succeed(undefined)
          })
        )
        if (moved === undefined || moved.repeated) continue
        const { event: name, from, to: state, version } = moved
        yield* self.count("heard")
        yield* self.publish({ _tag: "Moved", machine, id, event: name, from, to: state, version })
      }
    }
  }, Guard.trusted)
