/**
 * The entities of a state machine as entities of `effect/cluster`, for programs that run a cluster already: what is sent to one is a message that is kept until it was
 * seen to, by the one runner that has the entity, one after the other.
 *
 * ```ts
 * import * as ClusterMachine from "effect-s3db/plugins/ClusterMachine"
 * import * as StateMachine from "effect-s3db/plugins/StateMachine"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Layer, Schema } from "effect"
 *
 * const Door = StateMachine.make("door", { context: Schema.Struct({}), events: { Open: {}, Close: {} } })
 *   .states({ closed: { on: { Open: "open" } }, open: { on: { Close: "closed" } } })
 *   .initial("closed")
 *
 * class Doors extends Resource.Service<Doors>()("app/doors", StateMachine.alone(Door)) {}
 *
 * class DoorFlow extends StateMachine.Service<DoorFlow>()("app/DoorFlow", {
 *   machine: Door,
 *   resource: Doors,
 *   field: "machine"
 * }) {}
 *
 * const DoorEntity = ClusterMachine.entity(Door)
 *
 * // Beside the layers of the cluster.
 * const Entities = ClusterMachine.layer(DoorEntity, DoorFlow).pipe(Layer.provide(DoorFlow.layer))
 *
 * const program = Effect.gen(function* () {
 *   const door = (yield* DoorEntity.client)("front")
 *   yield* door.Send({ event: { _tag: "Open" }, key: "till 7, 4711" })
 * })
 * ```
 *
 * **Details**
 *
 * The key is both the primary key of the message and the key of the transition: the same again is the same message, and one that is handled again, since its runner has died, is answered by the transition
 * that it has made. What the store does not do is tried again, after pauses of up to a minute, until it does; of `Get` what may succeed later, and the rest is `NotDone`. All else is as by `StateMachine`: who sends past the cluster loses nothing, and nothing is lost to him.
 *
 * Requests: those of `StateMachine.send`, and of the cluster's storage: by `cluster/MessageStorage` 1 GET and 4 PUT to save a message, 1 GET and 1 PUT to deliver it, 1 PUT and 1 DeleteObjects for its reply.
 *
 * **Gotchas**
 *
 * A transition that is repeated is known among the last `keep` of its entity, by default 10.
 *
 * @see `docs/guide/state-machine.md`
 * @since 0.1.0
 */
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import type * as Sharding from "effect/cluster/Sharding"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { ExpectedError } from "../internal/expectedError.ts"
import * as StateMachine from "./StateMachine.ts"

/**
 * What came in between that has nothing to do with the machine: the document is gone, or a guard of its resource refuses; of `Get` also that it is damaged. Nothing was changed.
 *
 * @remedy Do what the message asks for, and send the event under another key: under this one the answer stays.
 * @category errors
 * @since 0.1.0
 */
export class NotDone extends ExpectedError<NotDone>("effect-s3db/plugins/ClusterMachine/NotDone")("NotDone", {
  machine: Schema.String,
  id: Schema.String,
  /** The tag of the error. */
  error: Schema.String,
  description: Schema.String
}) {
  override get message(): string {
    return `${JSON.stringify(this.id)} of machine ${JSON.stringify(this.machine)}: ${this.description}`
  }
}

const SendFailure = Schema.Union([
  StateMachine.InvalidEvent,
  StateMachine.Refused,
  StateMachine.NotStarted,
  StateMachine.UnknownForm,
  NotDone
])

const ReadFailure = Schema.Union([StateMachine.NotStarted, StateMachine.UnknownForm, NotDone])

const protocol = <State extends string, E extends StateMachine.Events, C, D, Refusal, R>(
  machine: StateMachine.Machine<State, E, C, D, Refusal, R>
) => {
  const { context, event, states } = machine
  const state = Schema.Literals(states)
  const moved = Schema.Struct({
    from: state,
    to: state,
    version: Schema.Int,
    at: Schema.Finite,
    context,
    repeated: Schema.Boolean
  })
  const seen = Schema.Struct({
    state,
    version: Schema.Int,
    context,
    since: Schema.Finite,
    isFinal: Schema.Boolean,
    events: Schema.Array(Schema.String),
    due: Schema.optionalKey(Schema.Finite)
  })
  return [
    Rpc.make("Send", {
      payload: { event, key: Schema.String },
      primaryKey: ({ key }) => key,
      success: moved,
      error: SendFailure
    }).annotate(ClusterSchema.Persisted, true),
    Rpc.make("Get", { success: seen, error: ReadFailure })
  ] as const
}

/**
 * The entity of a machine: see `entity`.
 *
 * @category models
 * @since 0.1.0
 */
export type MachineEntity<State extends string, E extends StateMachine.Events, C, D, Refusal, R> = Entity.Entity<
  `StateMachine/${string}`,
  ReturnType<typeof protocol<State, E, C, D, Refusal, R>>[number]
> & { readonly machine: StateMachine.Machine<State, E, C, D, Refusal, R> }

/**
 * Makes the entity of a machine, of the type `StateMachine/NAME`. `Send` sends an event under a key, and is kept; `Get` looks at the entity as it is, and is not. Refusals are those of `StateMachine.send`, their reasons as JSON has them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const entity = <State extends string, E extends StateMachine.Events, C, D, Refusal, R>(
  machine: StateMachine.Machine<State, E, C, D, Refusal, R>
): MachineEntity<State, E, C, D, Refusal, R> => {
  const type: `StateMachine/${string}` = `StateMachine/${machine.name}`
  return Object.assign(Entity.make(type, protocol(machine)), { machine })
}

/** Passing faults of the store. */
const pauses = Schedule.min([Schedule.exponential(200, 2), Schedule.spaced("1 minute")])

interface Failure {
  readonly _tag: string
  readonly message: string
}

const isDbError = (error: Failure): boolean => error._tag === "DbError"

/** Who looks has nothing to lose: what stays as it is, such as a document that is damaged, is told at once. */
const isPassing = (error: Failure): boolean => isDbError(error) && "isRetryable" in error && error.isRetryable === true

/**
 * Creates a layer that sees to the messages of the entities of a machine on this runner, as long as it is there. No request of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <State extends string, E extends StateMachine.Events, C, D, Refusal, R, Self>(
  of: MachineEntity<State, E, C, D, Refusal, R>,
  flow: Effect.Effect<StateMachine.Flow<StateMachine.Machine<State, E, C, D, Refusal, R>>, never, Self>
): Layer.Layer<never, never, Sharding.Sharding | Self> => {
  const { name: machine } = of.machine
  const isOwn = Schema.is(SendFailure)
  const isRead = Schema.is(ReadFailure)
  return of.toLayer(
    Effect.gen(function* () {
      const entities = yield* flow
      const { entityId: id } = yield* Entity.CurrentAddress
      const notDone = ({ _tag: error, message }: Failure) => new NotDone({ machine, id, error, description: message })
      return of.of({
        Send: ({ payload: { event, key } }) =>
          entities.send(id, event, { key }).pipe(
            Effect.retry({ schedule: pauses, while: isDbError }),
            Effect.map(({ at, context, from, repeated, to, version }) => ({
              at,
              context,
              from,
              repeated,
              to,
              version
            })),
            Effect.mapError((error) => (isOwn(error) ? error : notDone(error)))
          ),
        Get: () =>
          entities.get(id).pipe(
            Effect.retry({ schedule: pauses, while: isPassing }),
            Effect.map(({ due, id: _, ...seen }) => ({ ...seen, ...(due === undefined ? {} : { due }) })),
            Effect.mapError((error) => (isRead(error) ? error : notDone(error)))
          )
      })
    })
  )
}
