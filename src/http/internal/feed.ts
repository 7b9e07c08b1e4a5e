/**
 * Changes to those who may read the documents, and their way as Server-Sent Events.
 *
 * **Details**
 *
 * With a journal every committed version is told once and in order, whoever has written it, and `Last-Event-ID` goes on where a connection
 * ended. Without one what this process writes is told, from the connection on.
 *
 * Every event is authorised as a read of the document. A deletion is told of documents that the stream has shown, or whose last version
 * the reader may see.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Change from "../../Change.ts"
import * as CurrentUser from "../../CurrentUser.ts"
import type { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import type * as Journal from "../../kernel/Journal.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Answer from "./answer.ts"
import { RequestId } from "./gate.ts"
import type * as Places from "./places.ts"
import type * as Staying from "./staying.ts"
import * as Stopping from "./stopping.ts"
import type { Untyped } from "./untyped.ts"

/** What has happened, and, where a journal tells it, the position to go on from. */
export interface Event {
  readonly id?: string
  /** `Open`: the first. Whoever has got it misses nothing that comes after. */
  readonly event: "Open" | "Inserted" | "Updated" | "Deleted" | "Gap"
  readonly data: JsonObject
}

/** No JSON has a line break outside of its texts, and none inside of them. */
const textOf = ({ data, event, id }: Event): string =>
  event === "Open"
    ? ": open\n\n"
    : `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`

/** Proxies close what is silent. */
const beat = Duration.seconds(20)
const firstPause = Duration.millis(250)
const longestPause = Duration.seconds(5)

/** Of so many documents a stream remembers that it has shown them. */
const mostShown = 10_000

export interface Feed {
  /**
   * What happens from a position on, by default from now on, as the user of the fiber sees it. Who may not list documents is told so, and not
   * by silence. `undefined` stands for what is not for him.
   */
  readonly from: (last: string | undefined) => Effect.Effect<Stream.Stream<Event | undefined, unknown>, Answer.Failure>
  readonly serverSent: (request: HttpServerRequest) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}

export const make = (
  repository: Untyped,
  database: Database["Service"],
  definition: Definition<DynamicSchema>,
  show: (value: unknown) => Effect.Effect<JsonObject>,
  /** Ends when somebody is not any more who he was. */
  stays: ReturnType<typeof Staying.make>,
  /** Those of changes over either way. */
  places: Places.Places,
  stopping: Stopping.Stopping | undefined
): Feed => {
  const { name } = definition

  const memory = () => {
    const ids = new Set<string>()
    return {
      add: (id: string) => {
        ids.delete(id)
        ids.add(id)
        for (const oldest of ids) {
          if (ids.size <= mostShown) break
          ids.delete(oldest)
        }
      },
      take: (id: string) => ids.delete(id)
    }
  }

  /** A document as somebody may read it now. What he may not read, or is gone, is not told. */
  const readable = (effect: Effect.Effect<unknown, Answer.Failure>) =>
    effect.pipe(
      Effect.map(Option.some),
      Effect.catch((error) =>
        error._tag === "NotFound" || error._tag === "Rejected" || error._tag === "InvalidInput"
          ? Effect.succeedNone
          : Effect.fail(error)
      )
    )

  const fromJournal = (from: number) => {
    const shown = memory()
    return database.journal.stream({ from, firstPause, longestPause }).pipe(
      Stream.filter(({ value }) => value.resource === name),
      Stream.mapEffect(
        Effect.fnUntraced(function* ({
          position,
          value
        }: Journal.Entry): Effect.fn.Return<Event | undefined, Answer.Failure> {
          // The position to go on from.
          const id = String(position + 1)
          if (value.kind === "delete") {
            const before =
              value.before === undefined ? Option.none() : yield* readable(repository.fromImage(value, "before"))
            if (!shown.take(value.id) && Option.isNone(before)) return undefined
            return { id, event: "Deleted", data: { id: value.id } }
          }
          const found = yield* readable(
            value.after === undefined ? repository.get(value.id) : repository.fromImage(value, "after")
          )
          if (Option.isNone(found)) return undefined
          shown.add(value.id)
          const event = value.kind === "insert" ? "Inserted" : "Updated"
          return { id, event, data: { id: value.id, document: yield* show(found.value) } }
        })
      )
    )
  }

  const fromProcess = Effect.map(repository.subscribe({ tag: ["Inserted", "Updated", "Deleted"] }), (changes) => {
    const shown = memory()
    return changes.pipe(
      Stream.mapEffect(
        Effect.fnUntraced(function* (change): Effect.fn.Return<Event | undefined, Answer.Failure> {
          if (Change.isLagged(change)) {
            return { event: "Gap", data: { missed: change.missed } }
          }
          if (change._tag === "Deleted") {
            return shown.take(change.id) ? { event: "Deleted", data: { id: change.id } } : undefined
          }
          const found = yield* readable(repository.get(change.id))
          if (Option.isNone(found)) return undefined
          shown.add(change.id)
          const event = change._tag === "Inserted" ? "Inserted" : "Updated"
          return { event, data: { id: change.id, document: yield* show(found.value) } }
        })
      )
    )
  })

  const position =
    definition.journal === undefined
      ? Effect.succeed(0)
      : Effect.mapError(database.journal.position, DbError.fromStore("HttpResources.changes", name))

  const gap: Stream.Stream<Event> = Stream.succeed({ event: "Gap", data: {} })

  const from: Feed["from"] = Effect.fnUntraced(function* (last) {
    if (last !== undefined && !/^\d{1,15}$/.test(last)) {
      return yield* Answer.refuse(400, "InvalidRequest", "this position is none that these changes have given")
    }
    yield* repository.list({ limit: 1 })
    const user = yield* CurrentUser.CurrentUser
    const begin = last === undefined ? yield* position : Number(last)
    const open: Stream.Stream<Event> = Stream.succeed({
      ...(definition.journal === undefined ? {} : { id: String(begin) }),
      event: "Open",
      data: {}
    })
    const events: Stream.Stream<Event | undefined, unknown> =
      definition.journal === undefined
        ? Stream.unwrap(
            Effect.map(fromProcess, (changes) =>
              Stream.concat(open, last === undefined ? changes : Stream.concat(gap, changes))
            )
          )
        : Stream.concat(
            open,
            Stream.catchTag(fromJournal(begin), "Trimmed", ({ first }) => Stream.concat(gap, fromJournal(first)))
          )
    return Stream.provideService(events, CurrentUser.CurrentUser, user)
  })

  return {
    from,
    serverSent: (request) =>
      Effect.gen(function* () {
        const user = yield* CurrentUser.CurrentUser
        yield* places.take(request, user)
        const events = yield* from(request.headers["last-event-id"])
        const told = events.pipe(
          Stream.filter((event) => event !== undefined),
          Stream.map(textOf)
        )
        const beats = Stream.map(Stream.fromSchedule(Schedule.spaced(beat)), () => ": still here\n\n")
        // Who is not any more who he was has to ask again, as a browser does by itself.
        const whole = Stopping.untilThen(
          Stream.interruptWhen(Stream.merge(told, beats), stays(request, user)),
          stopping
        )
        return HttpServerResponse.stream(Stream.encodeText(whole), {
          contentType: "text/event-stream",
          headers: { "x-accel-buffering": "no", "cache-control": "no-store", ...Stopping.lasting(stopping) }
        })
      }).pipe((effect) => Effect.flatMap(RequestId, (requestId) => Answer.told(effect, requestId)))
  }
}
