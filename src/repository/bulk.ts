/**
 * Writes of many documents: at once, as a stream gives them, or of those that a query finds.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import type { Documents } from "../document/documents.ts"
import * as inTurn from "../internal/inTurn.ts"
import * as Pipeline from "../Pipeline.ts"
import type * as Query from "../Query.ts"
import type { Queries } from "../query/run.ts"
import * as staleness from "../query/staleness.ts"
import type { ChangeError, InsertError, ListError, ManyOptions, Outcome, WriteOptions } from "../Repository.ts"
import type { Operation } from "./operation.ts"
import type { Reading, Shown } from "./reading.ts"
import type { NewValues, Writing } from "./writing.ts"

/**
 * Writes of many documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bulk<A, Insert, Update> {
  /** Does the same with each of many, concurrently. One that fails does not stop the others. */
  readonly each: <I, X, E>(
    given: Iterable<I>,
    options: ManyOptions | undefined,
    one: (input: I) => Effect.Effect<X, E>
  ) => Effect.Effect<ReadonlyArray<Result.Result<X, E>>>
  /** Writes what a stream gives, as it comes, and tells of each in its order. */
  readonly writeAll: <I, E, R>(
    inputs: Stream.Stream<I, E, R>,
    options: WriteOptions | undefined,
    inputOf: (input: I) => Effect.Effect<Insert, DbError.InvalidInput>
  ) => Stream.Stream<Outcome<A, InsertError | ChangeError>, E, R>
  /** Changes every document that a query gives, each as it is when its turn comes, and once. */
  readonly updateAll: <E, R>(
    request: Query.Request<A>,
    values: NewValues<A, Update, E, R>
  ) => Stream.Stream<Outcome<A, ChangeError | E>, ListError, R>
}

const defaultConcurrency = 16

/**
 * Makes the writes of many documents of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, Insert, Update, Patch>(
  { context, reader }: Documents<A>,
  {
    operation,
    queries,
    reading,
    writing
  }: {
    readonly operation: Operation
    readonly queries: Queries<A>
    readonly reading: Reading<A>
    readonly writing: Writing<A, Insert, Update, Patch>
  }
): Bulk<A, Insert, Update> => {
  /** What a document is not changed for: it has gone on to something else since it was found. */
  const unmet = (interceptor: string) =>
    new Pipeline.Rejected({
      resource: context.name,
      operation: "update",
      interceptor,
      reason: "the document does not meet the conditions any more"
    })

  const updateAll: Bulk<A, Insert, Update>["updateAll"] = <E, R>(
    request: Query.Request<A>,
    values: NewValues<A, Update, E, R>
  ) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const meets = yield* operation.named(queries.meets(request))
        const name = yield* operation.name
        const rejection = unmet(name)
        // A change can move a document ahead in the very listing that it was found by, where it would be found again.
        const underWay = new Set<string>()
        const moved = new Set<string>()
        const check: Pipeline.Check<A> = (present) => {
          const base = context.known(present as object)
          return base === undefined || meets(base) ? Effect.void : Effect.fail(rejection)
        }
        const corrupt: Array<Query.Corrupt> = []
        /** What has been met since, to be told before what comes next. */
        const unread = () =>
          corrupt
            .splice(0)
            .map(({ id, reason }) => ({ id, result: Result.fail(DbError.make(name, reason, context.name)) }))
        const onCorrupt = (found: Query.Corrupt) => Effect.sync(() => void corrupt.push(found))
        const one = Effect.fnUntraced(function* (found: Shown<A>) {
          const id = found.document?.id ?? found.base?.id ?? ""
          if (underWay.has(id) || moved.has(id)) return undefined
          underWay.add(id)
          const result = yield* Effect.result(writing.update(id, values, undefined, { checks: [check] }))
          const after = Result.isSuccess(result) ? result.success.base : undefined
          if (after === undefined || !Equal.equals(after.stored.markers, found.base?.stored.markers)) moved.add(id)
          underWay.delete(id)
          if (Result.isFailure(result) && result.failure === rejection) return undefined
          return { id, result: Result.map(result, ({ value }) => value) }
        })
        return reading.query({ ...staleness.exact(request), onCorrupt }).pipe(
          Stream.map((found) => ({ found, before: unread() })),
          Stream.mapEffect(({ before, found }) => Effect.map(one(found), (outcome) => [...before, outcome]), {
            concurrency: request.concurrency ?? defaultConcurrency
          }),
          Stream.flatMap(Stream.fromArray),
          Stream.concat(Stream.suspend(() => Stream.fromArray(unread()))),
          Stream.filter((outcome) => outcome !== undefined),
          Stream.zipWithIndex,
          Stream.map(([outcome, index]) => ({ index, ...outcome }))
        )
      })
    )

  return {
    each: Effect.fnUntraced(function* (given, options, one) {
      const { concurrency = defaultConcurrency, onProgress } = options ?? {}
      const inputs = [...given]
      yield* operation.batch(inputs.length)
      let done = 0
      return yield* inTurn.forEach(
        inputs,
        (input) => {
          const result = Effect.result(one(input))
          return onProgress === undefined
            ? result
            : Effect.tap(result, () => onProgress({ done: (done += 1), total: inputs.length }))
        },
        { concurrency }
      )
    }),
    writeAll: (inputs, options, inputOf) => {
      const { concurrency = defaultConcurrency, createFirst, mode = "insert" } = options ?? {}
      const write = (input: Insert): Effect.Effect<Shown<A>, InsertError | ChangeError> =>
        mode === "upsert" ? writing.upsert(input, { createFirst }) : writing[mode](input)
      return inputs.pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(
          ([input, index]) =>
            Effect.map(Effect.result(Effect.flatMap(inputOf(input), write)), (result) => ({
              index,
              id: writing.idIn(Result.isSuccess(result) ? result.success.value : input),
              result: Result.map(result, ({ value }) => value)
            })),
          { concurrency }
        )
      )
    },
    updateAll
  }
}
