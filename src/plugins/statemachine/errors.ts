/**
 * What goes wrong with machines.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { ExpectedError } from "../../internal/expectedError.ts"

/**
 * A machine, or an option of what runs it, that cannot be. Nothing was written. `at` says which part, `problem` what was expected.
 *
 * @remedy Correct what `at` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidMachine extends ExpectedError<InvalidMachine>("effect-s3db/plugins/StateMachine/InvalidMachine")(
  "InvalidMachine",
  { machine: Schema.String, at: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `machine ${JSON.stringify(this.machine)}, ${this.at}: ${this.problem}`
  }
}

/**
 * An event that the state of the entity does not take, or whose values do not fit its schema (`problem`). Nothing was changed. `valid` has the
 * names of the events that it takes now, in their order.
 *
 * @remedy Send one of `valid`, or wait until another event has brought the entity on.
 * @category errors
 * @since 0.1.0
 */
export class InvalidEvent extends ExpectedError<InvalidEvent>("effect-s3db/plugins/StateMachine/InvalidEvent")(
  "InvalidEvent",
  {
    machine: Schema.String,
    id: Schema.String,
    state: Schema.String,
    event: Schema.String,
    valid: Schema.Array(Schema.String),
    problem: Schema.optionalKey(Schema.String)
  },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    const { event, id, machine, problem, state, valid } = this
    const who = `${JSON.stringify(id)} of machine ${JSON.stringify(machine)} is in ${JSON.stringify(state)}`
    if (problem !== undefined) return `${who}: ${JSON.stringify(event)} does not fit: ${problem}`
    const takes = valid.length === 0 ? "no event" : valid.join(", ")
    return `${who}, which does not take ${JSON.stringify(event)}; it takes ${takes}`
  }
}

/**
 * An event that all guards of its transitions refuse. Nothing was changed. `reason` is what the guard of the last one has failed with, of the type that
 * guards of the machine fail with.
 *
 * @remedy Do what the reason asks for, which is the program's own.
 * @category errors
 * @since 0.1.0
 */
export class Refused<out Reason = unknown> extends ExpectedError<Refused>("effect-s3db/plugins/StateMachine/Refused")(
  "Refused",
  {
    machine: Schema.String,
    id: Schema.String,
    state: Schema.String,
    event: Schema.String,
    reason: Schema.Unknown
  },
  { httpApiStatus: 409 }
) {
  declare readonly reason: Reason
  override get message(): string {
    const { event, id, machine, reason, state } = this
    return `${JSON.stringify(id)} of machine ${JSON.stringify(machine)}, in ${JSON.stringify(state)}: a guard refuses ${JSON.stringify(event)}: ${calledOf(reason)}`
  }
}

/** What a reason is called: more of it may be values, which are for `reason` alone. */
const calledOf = (reason: unknown): string => {
  if (typeof reason === "object" && reason !== null) {
    if ("_tag" in reason && typeof reason._tag === "string") return reason._tag
    return reason instanceof Error ? reason.name : "an object"
  }
  return String(reason).split("\n")[0]!.slice(0, 200)
}

/**
 * A document that is in no state yet. Nothing was changed.
 *
 * @remedy Call `start`, or insert the document with what `initial` gives.
 * @category errors
 * @since 0.1.0
 */
export class NotStarted extends ExpectedError<NotStarted>("effect-s3db/plugins/StateMachine/NotStarted")(
  "NotStarted",
  { machine: Schema.String, id: Schema.String },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    return `${JSON.stringify(this.id)} of machine ${JSON.stringify(this.machine)} was not started`
  }
}

/**
 * An entity that was to be started and is in a state already. Nothing was changed.
 *
 * @remedy Go on with the entity that there is.
 * @category errors
 * @since 0.1.0
 */
export class AlreadyStarted extends ExpectedError<AlreadyStarted>("effect-s3db/plugins/StateMachine/AlreadyStarted")(
  "AlreadyStarted",
  { machine: Schema.String, id: Schema.String, state: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `${JSON.stringify(this.id)} of machine ${JSON.stringify(this.machine)} is in ${JSON.stringify(this.state)} already`
  }
}

/**
 * An event for a version that the entity has not, `ifVersion`. Nothing was changed.
 *
 * @remedy Look at the entity as it is, and decide.
 * @category errors
 * @since 0.1.0
 */
export class StaleVersion extends ExpectedError<StaleVersion>("effect-s3db/plugins/StateMachine/StaleVersion")(
  "StaleVersion",
  { machine: Schema.String, id: Schema.String, expected: Schema.Number, version: Schema.Int },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `${JSON.stringify(this.id)} of machine ${JSON.stringify(this.machine)} has version ${this.version}, not ${this.expected}`
  }
}

/**
 * An entity that this program cannot go on with: it was written by a newer version of the machine, is in a state that there is no more, or its
 * context does not fit the schema. Nothing was changed.
 *
 * @remedy Run the version of the program that has written it, or give the machine a `migrate` for the version that the entity has.
 * @category errors
 * @since 0.1.0
 */
export class UnknownForm extends ExpectedError<UnknownForm>("effect-s3db/plugins/StateMachine/UnknownForm")(
  "UnknownForm",
  {
    machine: Schema.String,
    id: Schema.String,
    problem: Schema.String,
    /** The version of the machine that has written it, where that is newer than the program's: another program can go on with it. */
    newer: Schema.optionalKey(Schema.Int)
  },
  { httpApiStatus: 500 }
) {
  override get message(): string {
    return `${JSON.stringify(this.id)} of machine ${JSON.stringify(this.machine)}: ${this.problem}`
  }
}

/**
 * A wait for a state that cannot come any more: the entity is in a final one.
 *
 * @remedy Go on without it: `state` says what has come instead.
 * @category errors
 * @since 0.1.0
 */
export class NeverReached extends ExpectedError<NeverReached>("effect-s3db/plugins/StateMachine/NeverReached")(
  "NeverReached",
  { machine: Schema.String, id: Schema.String, state: Schema.String, wanted: Schema.Array(Schema.String) },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    const { id, machine, state, wanted } = this
    return `${JSON.stringify(id)} of machine ${JSON.stringify(machine)} has ended in ${JSON.stringify(state)}: ${wanted.join(", ")} does not come any more`
  }
}

/**
 * An action that has failed for good, and nothing was declared for that: its transition is a dead letter, which `failed` lists and `redrive` runs again.
 *
 * @remedy See to what `problem` says, and call `redrive`; or give the action an `onFailure`.
 * @category errors
 * @since 0.1.0
 */
export class ActionFailed extends ExpectedError<ActionFailed>("effect-s3db/plugins/StateMachine/ActionFailed")(
  "ActionFailed",
  {
    machine: Schema.String,
    id: Schema.String,
    version: Schema.Int,
    action: Schema.String,
    /** The tag or name of the last error. */
    problem: Schema.String
  },
  { httpApiStatus: 500 }
) {
  override get message(): string {
    const { action, id, machine, problem, version } = this
    return `action ${JSON.stringify(action)} of ${JSON.stringify(id)} of machine ${JSON.stringify(machine)}, version ${version}, failed: ${problem}`
  }
}
