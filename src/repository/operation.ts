/**
 * The public operations of a resource by name: what an error, a span and a refusal say that was asked for. It is said once,
 * where the operation begins; what is inside finds it in its fiber.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import type * as Observation from "../Observation.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"

const Current = InstrumentedStore.CurrentOperation

/**
 * The name of the public operation that a fiber is in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  /**
   * Makes an operation of a function. Where somebody traces, it has a span that tells of it: of the id that its arguments are about by
   * `idOf`, or that its outcome has by `idIn`. `alone` takes its place, if it gives something, where nobody traces or observes: it needs no
   * name in its fiber, since whatever it fails with has that already.
   */
  readonly fn: <F extends AnyFunction>(
    name: string,
    run: F,
    idOf?: (...args: Parameters<F>) => string | undefined,
    idIn?: (outcome: unknown) => string | undefined,
    alone?: (...args: Parameters<F>) => ReturnType<F> | undefined
  ) => F
  /** Runs an effect as an operation. */
  readonly run: (name: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Draws a stream as an operation, within a span that it has from its first request to its end. */
  readonly draw: (name: string, id?: string) => <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  /** Tells the span of the id that an operation is about, where it is known at its end only. */
  readonly about: (id: string | undefined) => Effect.Effect<void>
  /** Tells the span of the number of documents that an operation was given. */
  readonly batch: (size: number) => Effect.Effect<void>
  /** Turns failures of the engine into `DbError`, in the name of the operation that the fiber is in. */
  readonly named: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, DbError.Named<E>, R>
  /** Fails with what `named` makes of a failure. */
  readonly failed: <E>(error: E) => Effect.Effect<never, DbError.Named<E>>
  /**
   * Makes what goes on with the outcome of an effect, or fails as `failed` does: one step, made once for all that are given to it. `name`: of the
   * operation, where the fiber does not say it.
   */
  readonly following: <A, B>(
    next: (outcome: A) => Effect.Effect<B>,
    name?: string
  ) => <E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<B, DbError.Named<E>, R>
  /** A failure as `named` leaves it, to be told rather than failed with. */
  readonly told: <E>(error: E) => Effect.Effect<DbError.Named<E>>
  /** The same for a stream. */
  readonly namedStream: <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.Stream<A, DbError.Named<E>, R>
  /** `NotAllowed`, in the name of the operation that the fiber is in. */
  readonly refuse: (description: string) => Effect.Effect<never, DbError.NotAllowed>
  /** The name of the operation that the fiber is in. */
  readonly name: Effect.Effect<string>
}

interface Handlers<A, B, E> {
  readonly onSuccess: (outcome: A) => Effect.Effect<B>
  readonly onFailure: (cause: Cause.Cause<E>) => Effect.Effect<never, DbError.Named<E>>
}

type AnyFunction = (...args: never) => Effect.Effect<unknown, unknown, unknown>

const documentId = "s3db.document.id"

/** The place in the program from which an operation is called, of two calls in here. */
const placeOfCall = (): (() => string | undefined) => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 3
  const here = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return () => here.stack?.split("\n")[3]?.trim()
}

const nowhere = () => undefined

/** Whether the spans of a fiber are for anybody: those of Effect's own tracer are not. */
const isTraced = (fiber: Fiber.Fiber<unknown, unknown> | undefined): boolean => fiber?.cache.tracer !== undefined

/** The tag of what an operation failed with; for what the infrastructure has to say, its reason. */
const errorType = <E>(cause: Cause.Cause<E>): string | undefined => {
  const error: unknown = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error instanceof DbError.DbError) return error.reason._tag
  return typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : undefined
}

/** What an operation has failed with, for those who observe it. */
const failedWith = <E>(cause: Cause.Cause<E>): string =>
  errorType(cause) ?? (Cause.hasInterruptsOnly(cause) ? "interrupted" : "defect")

/**
 * Makes what names the operations of a resource in a database (its `namespace` is where that lies).
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (resource: string, namespace: string, observers: Observation.Registry): Operation => {
  // Names after OpenTelemetry's conventions for databases, where there is one.
  const attributes = { "db.system.name": "effect-s3db", "db.namespace": namespace, "db.collection.name": resource }

  const attributesOf = (name: string, id: string | undefined) => ({
    ...attributes,
    "db.operation.name": name.slice(name.indexOf(".") + 1),
    ...(id === undefined ? {} : { [documentId]: id })
  })

  const about = (id: string | undefined) =>
    id === undefined ? Effect.void : Effect.annotateCurrentSpan(documentId, id)

  const annotateFailure = <A, E>(exit: Exit.Exit<A, E>) => {
    const type = Exit.isFailure(exit) ? errorType(exit.cause) : undefined
    return type === undefined ? Effect.void : Effect.annotateCurrentSpan("error.type", type)
  }

  const nameAs = Effect.fnUntraced(function* <E>(
    error: E,
    name: string | undefined
  ): Effect.fn.Return<never, DbError.Named<E>> {
    // A type parameter is not narrowed by what has been ruled out.
    if (!DbError.isFailure(error)) return yield* Effect.fail(error as Exclude<E, DbError.Failure>)
    return yield* DbError.fromFailure(name ?? (yield* Current), resource)(error)
  })

  const nameOf = <E>(error: E) => nameAs(error, undefined)

  /** Tells the span that an effect is in of its end: once, since an operation is short, and spans are dear. */
  const telling = <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
    idOf: (exit: Exit.Exit<A, E>) => string | undefined
  ): Effect.Effect<A, E, R> =>
    Effect.flatMap(InstrumentedStore.tally, (counted) => {
      const references = Context.make(InstrumentedStore.CurrentTally, counted).pipe(Context.add(Current, name))
      return Effect.onExit(Effect.provideContext(effect, references), (exit) => {
        const type = Exit.isFailure(exit) ? errorType(exit.cause) : undefined
        return Effect.annotateCurrentSpan({
          ...attributesOf(name, idOf(exit)),
          ...(type === undefined ? {} : { "error.type": type }),
          "s3db.requests": counted.requests
        })
      })
    })

  const drawTelling = <A, E, R>(
    name: string,
    id: string | undefined,
    stream: Stream.Stream<A, E, R>,
    counted: InstrumentedStore.Tally
  ): Stream.Stream<A, E, R> =>
    stream.pipe(
      Stream.provideService(InstrumentedStore.CurrentTally, counted),
      Stream.onExit((exit) => Effect.andThen(annotateFailure(exit), InstrumentedStore.annotateRequests(counted))),
      Stream.withSpan(name, { attributes: attributesOf(name, id) })
    )

  /** Begins to watch an operation: what is to be done at its end, and the count of its requests. */
  const watch = (name: string, fiber: Fiber.Fiber<unknown, unknown>) => {
    const clock = fiber.getRef(Clock.Clock)
    const start = clock.monotonicTimeNanosUnsafe()
    const counted: InstrumentedStore.Tally = { requests: 0, outer: fiber.getRef(InstrumentedStore.CurrentTally) }
    const end = <A, E>(exit: Exit.Exit<A, E>) =>
      Effect.sync(() => {
        const seen: Observation.Operation = {
          resource,
          operation: name.slice(name.indexOf(".") + 1),
          millis: Number(clock.monotonicTimeNanosUnsafe() - start) / 1e6,
          requests: counted.requests,
          error: Exit.isSuccess(exit) ? undefined : failedWith(exit.cause),
          endedAt: clock.currentTimeMillisUnsafe(),
          traceId: fiber.cache.span?.traceId
        }
        for (const observer of observers.operations) observer(seen, fiber.context)
      })
    return { counted, end }
  }

  const watched = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      if (observers.operations.length === 0) return effect
      const { counted, end } = watch(name, fiber)
      return Effect.onExit(Effect.provideService(effect, InstrumentedStore.CurrentTally, counted), end)
    })

  const drawWatched = <A, E, R>(name: string, stream: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
    Stream.unwrap(
      Effect.withFiber((fiber) => {
        if (observers.operations.length === 0) return Effect.succeed(stream)
        const { counted, end } = watch(name, fiber)
        const counting = Stream.provideService(InstrumentedStore.CurrentTally, counted)
        return Effect.succeed(Stream.onExit(counting(stream), end))
      })
    )

  const fn: Operation["fn"] = <F extends AnyFunction>(
    name: string,
    run: F,
    idOf?: (...args: Parameters<F>) => string | undefined,
    idIn?: (outcome: unknown) => string | undefined,
    alone?: (...args: Parameters<F>) => ReturnType<F> | undefined
  ): F => {
    type Run = (...args: Parameters<F>) => Effect.Effect<unknown, unknown, unknown>
    const plainly: Run = run as unknown as Run
    const traced = (place: () => string | undefined, args: Parameters<F>) =>
      Effect.withSpan(
        telling(
          name,
          watched(
            name,
            Effect.suspend(() => plainly(...args))
          ),
          (exit) => idOf?.(...args) ?? (Exit.isSuccess(exit) ? idIn?.(exit.value) : undefined)
        ),
        name,
        { captureStackTrace: place }
      )
    const within = (context: Context.Context<unknown>) => Context.add(context, Current, name)
    const under = (args: Parameters<F>) => {
      const running = Effect.withFiber((fiber) => {
        if (isTraced(fiber)) return traced(nowhere, args)
        return observers.operations.length === 0
          ? plainly(...args)
          : watched(
              name,
              Effect.suspend(() => plainly(...args))
            )
      })
      return Effect.updateContext(running, within)
    }
    const isAlone = (fiber: Fiber.Fiber<unknown, unknown>) =>
      !isTraced(fiber) && observers.operations.length + observers.requests.length === 0
    const operation: Run = (...args) => {
      // Where it is called from is a part of the trace.
      if (isTraced(Fiber.getCurrent())) return traced(placeOfCall(), args)
      return alone === undefined
        ? under(args)
        : Effect.withFiber((fiber) => (isAlone(fiber) ? alone(...args) : undefined) ?? under(args))
    }
    return operation as unknown as F
  }

  return {
    fn,
    run: (name) => (effect) => Effect.suspend(fn(name, () => effect)),
    draw: (name, id) => (stream) =>
      Stream.unwrap(
        Effect.withFiber((fiber) => {
          const named = Stream.provideService(Current, name)
          const seen = drawWatched(name, stream)
          return isTraced(fiber)
            ? Effect.map(InstrumentedStore.tally, (counted) => named(drawTelling(name, id, seen, counted)))
            : Effect.succeed(named(seen))
        })
      ),
    about,
    batch: (size) => Effect.annotateCurrentSpan("db.operation.batch.size", size),
    named: (effect) => Effect.catch(effect, nameOf),
    failed: nameOf,
    following: <A, B>(next: (outcome: A) => Effect.Effect<B>, name?: string) => {
      const failure = <E>(cause: Cause.Cause<E>) =>
        Effect.catch(Effect.failCause(cause), (error) => nameAs(error, name))
      const handlers = { onSuccess: next, onFailure: failure }
      return <E, R>(effect: Effect.Effect<A, E, R>) => {
        const ofThis: Handlers<A, B, E> = handlers
        return Effect.matchCauseEffect(effect, ofThis)
      }
    },
    told: (error) => Effect.flip(nameOf(error)),
    namedStream: (stream) => Stream.catch(stream, (error) => Stream.fromEffect(nameOf(error))),
    refuse: (description) =>
      Effect.flatMap(Current, (operation) => Effect.fail(new DbError.NotAllowed({ resource, operation, description }))),
    name: Current
  }
}
