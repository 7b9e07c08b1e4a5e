/**
 * The public operations of a resource by name: what an error, a span and a refusal say that was asked for. It is said once,
 * where the operation begins; what is inside finds it in its fiber.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"

const Current = Context.Reference<string>("effect-s3db/repository/operation", { defaultValue: () => "Resource" })

/**
 * The name of the public operation that a fiber is in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  /** Runs an effect as an operation. */
  readonly as: (name: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Draws a stream as an operation. */
  readonly draw: (name: string) => <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  /** Turns failures of the engine into `DbError`, in the name of the operation that the fiber is in. */
  readonly named: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, DbError.Named<E>, R>
  /** A failure as `named` leaves it, to be told rather than failed with. */
  readonly told: <E>(error: E) => Effect.Effect<DbError.Named<E>>
  /** The same for a stream. */
  readonly namedStream: <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.Stream<A, DbError.Named<E>, R>
  /** `NotAllowed`, in the name of the operation that the fiber is in. */
  readonly refuse: (description: string) => Effect.Effect<never, DbError.NotAllowed>
  /** The name of the operation that the fiber is in. */
  readonly name: Effect.Effect<string>
}

/**
 * Makes what names the operations of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (resource: string): Operation => {
  const attributes = { "s3db.resource": resource }

  const nameOf = Effect.fnUntraced(function* <E>(error: E): Effect.fn.Return<never, DbError.Named<E>> {
    // A type parameter is not narrowed by what has been ruled out.
    if (!DbError.isFailure(error)) return yield* Effect.fail(error as Exclude<E, DbError.Failure>)
    return yield* DbError.fromFailure(yield* Current, resource)(error)
  })

  return {
    as: (name) => (effect) => Effect.provideService(Effect.annotateSpans(effect, attributes), Current, name),
    draw: (name) => (stream) => Stream.provideService(stream, Current, name),
    named: (effect) => Effect.catch(effect, nameOf),
    told: (error) => Effect.flip(nameOf(error)),
    namedStream: (stream) => Stream.catch(stream, (error) => Stream.fromEffect(nameOf(error))),
    refuse: (description) =>
      Effect.flatMap(Current, (operation) => Effect.fail(new DbError.NotAllowed({ resource, operation, description }))),
    name: Current
  }
}
