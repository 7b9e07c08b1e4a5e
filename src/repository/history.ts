/**
 * Earlier versions of a resource's documents, through its interceptors.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type * as History_ from "../History.ts"
import type * as Pipeline from "../Pipeline.ts"
import type { HistoryError, Moment } from "../Repository.ts"
import type { Operation } from "./operation.ts"
import type { Reading } from "./reading.ts"

/**
 * A version that is past, or why it cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface PastVersion<A> {
  readonly version: number
  readonly result: Result.Result<Document.Document<A>, DbError.DbError>
}

/**
 * Earlier versions of a resource as callers get them.
 *
 * @category models
 * @since 0.1.0
 */
export interface History<A> {
  /** `NotAllowed` unless the resource keeps earlier versions. */
  readonly isDeclared: Effect.Effect<void, DbError.NotAllowed>
  /** The versions that a document had, the newest first. */
  readonly versions: (id: string) => Stream.Stream<PastVersion<A>, HistoryError>
  /** The version with a number, or the one there was at a time. `NotFound`: there was none. */
  readonly at: (id: string, moment: Moment) => Effect.Effect<Base<A>, DbError.NotFound | HistoryError>
}

/**
 * Makes the history of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, Insert, Update, Patch>(
  { context, reader, versions }: Documents<A>,
  {
    operation,
    pipeline,
    reading
  }: {
    readonly operation: Operation
    readonly pipeline: Pipeline.Pipeline<Pipeline.Operations<A, Insert, Update, Patch>>
    readonly reading: Reading<A>
  }
): History<A> => {
  const { declared, name } = context
  const { named } = operation

  const isDeclared = declared.history
    ? Effect.void
    : operation.refuse("declare the resource with history: true to use it")

  const past = (id: string) => Effect.andThen(isDeclared, named(versions.past(id)))

  /** The version of an entry as it may be seen; nothing when it has been pruned since it was listed. */
  const shown = Effect.fnUntraced(function* (entry: History_.Entry) {
    const { id, version } = entry
    const reading_ = Effect.gen(function* () {
      const base = yield* named(versions.load(entry))
      if (base === undefined) return Option.none<PastVersion<A>>()
      const document = reading.envelopeOf(yield* reading.get(id, () => Effect.succeed(base)))
      return Option.some<PastVersion<A>>({ version, result: Result.succeed(document) })
    })
    return yield* Effect.catchTag(reading_, "DbError", (error) =>
      Effect.succeedSome<PastVersion<A>>({ version, result: Result.fail(error) })
    )
  })

  const absent = (id: string, moment: Moment) =>
    new DbError.NotFound({
      resource: name,
      id: String(id),
      ...("version" in moment ? { version: moment.version } : { time: DateTime.formatIso(moment.time) })
    })

  return {
    isDeclared,
    versions: (id) =>
      Stream.unwrap(
        Effect.map(Effect.andThen(pipeline.admit("get"), past(id)), ({ entries }) =>
          Stream.fromArray(entries.filter((entry) => !entry.isDeletion).toReversed()).pipe(
            Stream.mapEffect(shown, { concurrency: 4 }),
            Stream.flatMap((found) => Stream.fromArray(Option.toArray(found)))
          )
        )
      ),
    at: Effect.fnUntraced(function* (id, moment) {
      const { damage, entries, now } = yield* past(id)
      const present = now === undefined ? [] : [{ ...now.stored, isDeletion: false, entry: undefined }]
      const all = [...entries.map((entry) => ({ ...entry, entry })), ...present]
      const time = "time" in moment ? DateTime.toEpochMillis(moment.time) : undefined
      const found =
        "version" in moment
          ? all.findLast((one) => one.version === moment.version && !one.isDeletion)
          : all.findLast((one) => one.writtenAt <= time!)
      // It may be the one that cannot be read, and whose number and time nobody knows.
      const isLast = found === undefined || (time !== undefined && found.entry === entries.at(-1))
      if (damage !== undefined && isLast) return yield* named(Effect.fail(damage))
      if (found === undefined || found.isDeletion) return yield* absent(id, moment)
      const base =
        found.entry === undefined ? reader.decode(id, now!.stored, now!.isSettled) : versions.load(found.entry)
      return (yield* named(base)) ?? (yield* absent(id, moment))
    })
  }
}
