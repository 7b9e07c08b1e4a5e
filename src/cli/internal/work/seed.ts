/** `seed`: documents for trying things out. */
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isObject } from "../../../internal/json.ts"
import { counted, Partial, Unreadable } from "../failure.ts"
import * as making from "../making.ts"
import { Output } from "../output.ts"
import { resource, withDatabase } from "./opening.ts"

/** The function of a module that makes the document of a number. */
const fromModule = Effect.fnUntraced(function* (file: string) {
  const path = yield* Path.Path
  const failed = (description: string) => new Unreadable({ description: `the factory ${file} ${description}` })
  const url = yield* Effect.mapError(path.toFileUrl(path.resolve(file)), (error) => failed(error.message))
  const module = yield* Effect.tryPromise({
    try: () => import(url.href) as Promise<{ readonly default?: unknown }>,
    catch: (error) => failed(`cannot be loaded: ${error instanceof Error ? error.message : String(error)}`)
  })
  const make = module.default
  if (typeof make !== "function")
    return yield* failed("has to export a function by default: (index) => ({ name: `user ${index}` })")
  return (index: number) =>
    Effect.flatMap(
      Effect.tryPromise({
        try: () => Promise.resolve((make as (index: number) => unknown)(index)),
        catch: (error) => failed(`fails: ${error instanceof Error ? error.message : String(error)}`)
      }),
      (made) =>
        typeof made === "object" && made !== null && isObject(made as Json)
          ? Effect.succeed(made as JsonObject)
          : Effect.fail(failed("has to give objects"))
    )
})

export const seed = (given: {
  readonly resource: string
  readonly count: number
  readonly factory: Option.Option<string>
  readonly seed: Option.Option<string>
}) =>
  withDatabase(
    Effect.gen(function* () {
      const output = yield* Output
      const opened = yield* resource(given.resource)
      const make: (index: number) => Effect.Effect<JsonObject, Unreadable> = Option.isSome(given.factory)
        ? yield* fromModule(given.factory.value)
        : Function.constant(making.documents(opened.definition))
      const documents = Effect.forEach(
        Array.from({ length: given.count }, (_, index) => index),
        make
      )
      const made = yield* Option.match(given.seed, {
        onNone: () => documents,
        onSome: (seed) => Random.withSeed(documents, seed)
      })
      const progress = yield* output.progress("seeded")
      let [written, failed] = [0, 0]
      yield* Stream.runForEach(
        opened.repository.writeAllJson(Stream.fromIterable(made)),
        Effect.fnUntraced(function* ({ index, result }) {
          if (Result.isSuccess(result)) written += 1
          else {
            failed += 1
            yield* output.warn(`document ${index + 1}: ${result.failure.message}`)
          }
          yield* progress.update(written + failed, given.count)
        })
      ).pipe(Effect.ensuring(progress.end))
      yield* output.value({ written, failed }, `wrote ${counted(written, "document")}`)
      if (failed > 0) {
        return yield* new Partial({
          description: `not written: ${failed} of ${counted(given.count, "document")}; give a --factory that makes such as fit`
        })
      }
    })
  )
