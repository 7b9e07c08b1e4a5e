/**
 * Who is told of the operations and requests of a database as they come to their end: for what counts, measures and prices them.
 *
 * **Details**
 *
 * An observer takes part in nothing. Unlike an interceptor it leaves the ways that reads take as they are, sees how long it took from the
 * first request to the last, streams too, and what the caller gets in the end.
 *
 * @see `docs/design/plugins.md`
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as InstrumentedStore from "./storage/InstrumentedStore.ts"

/**
 * An operation of a resource that has ended. Nothing of it tells a value of a field.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly resource: string
  /** As the repository calls it: `insert`, `query`. */
  readonly operation: string
  readonly millis: number
  /** How many requests it made, those of what it called as well. */
  readonly requests: number
  /** The tag of what it failed with, of a `DbError` that of its reason; `interrupted`, `defect`. */
  readonly error: string | undefined
  /** By the clock of the program, in milliseconds since 1970. */
  readonly endedAt: number
  /** Where somebody traces: the trace that it is part of. */
  readonly traceId: string | undefined
}

/**
 * Is told of what has ended. It has to be quick, and must not throw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Observer {
  readonly operation?: ((seen: Operation, context: Context.Context<never>) => void) | undefined
  readonly request?: InstrumentedStore.Observer | undefined
}

/**
 * The observers of a database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  readonly operations: ReadonlyArray<NonNullable<Observer["operation"]>>
  readonly requests: ReadonlyArray<InstrumentedStore.Observer>
  /** Adds an observer until the scope closes. */
  readonly add: (observer: Observer) => Effect.Effect<void, never, Scope.Scope>
}

/**
 * Creates a registry without observers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Registry => {
  let observers: ReadonlyArray<Observer> = []
  const registry = {
    operations: [] as ReadonlyArray<NonNullable<Observer["operation"]>>,
    requests: [] as ReadonlyArray<InstrumentedStore.Observer>,
    add: (observer: Observer) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => changed([...observers, observer])),
          () => Effect.sync(() => changed(observers.filter((other) => other !== observer)))
        )
      )
  }
  const changed = (now: ReadonlyArray<Observer>) => {
    observers = now
    registry.operations = now.flatMap(({ operation }) => (operation === undefined ? [] : [operation]))
    registry.requests = now.flatMap(({ request }) => (request === undefined ? [] : [request]))
  }
  return registry
}
