/**
 * Changes over a WebSocket, to those who may read the documents.
 *
 * **Details**
 *
 * Each message is an object of JSON. A browser can send no header of its own: it proves who it is by the subprotocol `bearer.TOKEN` beside
 * `s3db.changes`, or by its first message. Pages of other origins come in where they are named.
 *
 * What has not been read waits in the memory of the server: so that it is bounded, and who has gone is noticed, the server asks from time to
 * time (`Ping`), and sends no more than `window` beyond the last answer (`Pong`).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Socket from "effect/socket/Socket"
import * as CurrentUser from "../../CurrentUser.ts"
import { utf8Length } from "../../internal/text.ts"
import type { Authentication } from "../Authentication.ts"
import * as Problem from "../Problem.ts"
import * as Answer from "./answer.ts"
import type { Event, Feed } from "./feed.ts"
import * as Gate from "./gate.ts"
import * as Places from "./places.ts"
import * as Staying from "./staying.ts"
import type * as Stopping from "./stopping.ts"

export interface Settings extends Places.Settings {
  /** How often who is silent is asked whether he is there. */
  readonly heartbeat: Duration.Duration
  /** How often it is looked whether he still is who he was. */
  readonly recheck: Duration.Duration
  /** How long an answer to that may take, and the first message. */
  readonly patience: Duration.Duration
  /** The most bytes beyond the last answer. */
  readonly window: number
  /** Pages of these origins come in, beside those of the host itself. */
  readonly allowedOrigins: ReadonlyArray<string>
}

/** How a connection ends. From 4000 on, codes are those of the program (RFC 6455, 7.4.2). */
const codes = {
  stopping: [1001, "this server stops: connect again"],
  malformed: [1008, "a message was none that this connection takes"],
  internal: [1011, "this is a mistake of the server: its logs know it"],
  unavailable: [1013, "this does not work at the moment: connect again later"],
  unauthenticated: [4401, "log in first"],
  forbidden: [4403, "this is not for you"],
  changed: [4409, "who you are has changed: connect again"],
  tooMany: [4429, "these are too many connections: end some"],
  silent: [4408, "there was no answer to what was asked"]
} as const

type Ending = keyof typeof codes

class Ended {
  readonly _tag = "Ended"
  readonly ending: Ending
  constructor(ending: Ending) {
    this.ending = ending
  }
}

const end = (ending: Ending): Effect.Effect<never, Ended> => Effect.fail(new Ended(ending))

/** The most characters of a message that a client may send. */
const longestMessage = 16 * 1024

const protocol = "s3db.changes"

const messageOf = (text: string | Uint8Array): Readonly<Record<string, unknown>> | undefined => {
  if (typeof text !== "string" || text.length > longestMessage) return undefined
  try {
    const found: unknown = JSON.parse(text)
    return typeof found === "object" && found !== null ? (found as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

/** Browsers say from which page a connection comes, and let any page make it. */
const isFromHere = ({ headers }: HttpServerRequest, allowed: ReadonlyArray<string>): boolean => {
  const { host, origin } = headers
  if (origin === undefined || allowed.includes(origin)) return true
  try {
    return host !== undefined && new URL(origin).host === host.toLowerCase()
  } catch {
    return false
  }
}

/** A request as if it had the token in a header. */
const bearing = (request: HttpServerRequest, authorization: string): HttpServerRequest =>
  request.modify({ headers: { ...request.headers, authorization } as never })

export interface Options {
  readonly feed: Feed
  readonly places: Places.Places
  readonly authentication: Authentication["Service"]
  readonly isPublic: boolean
  readonly settings: Settings
  readonly stopping: Stopping.Stopping | undefined
}

/** What is sent, as far as it is known to be read. */
const flow = (writer: Socket.Writer, { patience, window }: Settings) => {
  let sent = 0
  let read = 0
  let asked = 0
  let waiting: Deferred.Deferred<void> | undefined
  const open: Array<{ readonly number: number; readonly sent: number; readonly at: number }> = []

  const write = (message: object) =>
    Effect.suspend(() => {
      const text = JSON.stringify(message)
      sent += utf8Length(text)
      return writer.write(text)
    })

  const ping = Effect.gen(function* () {
    asked += 1
    yield* write({ type: "Ping", number: asked })
    open.push({ number: asked, sent, at: yield* Clock.currentTimeMillis })
  })

  const isFull = () => sent - read > window

  return {
    /** Sends, as soon as what is on its way has been read so far. */
    send: Effect.fnUntraced(function* (event: Event) {
      while (isFull()) {
        if (open.length === 0) yield* ping
        waiting = yield* Deferred.make<void>()
        yield* Effect.timeoutOrElse(Deferred.await(waiting), { duration: patience, orElse: () => end("silent") })
      }
      const { data, event: type, id } = event
      yield* write({ type, ...(id === undefined ? {} : { position: id }), ...data })
      if (sent - (open.at(-1)?.sent ?? read) > window / 4) yield* ping
    }),
    /** Asks whether somebody is there; ends what has not been answered for too long. */
    look: Effect.gen(function* () {
      const oldest = open[0]
      if (oldest === undefined) return yield* ping
      if ((yield* Clock.currentTimeMillis) - oldest.at > Duration.toMillis(patience)) return yield* end("silent")
    }),
    answered: (number: unknown) => {
      const index = open.findIndex((one) => one.number === number)
      if (index < 0) return Effect.void
      read = open[index]!.sent
      open.splice(0, index + 1)
      return waiting === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(waiting, undefined))
    }
  }
}

export const make = ({ authentication, feed, isPublic, places, settings, stopping }: Options) => {
  const { allowedOrigins, heartbeat, patience, recheck } = settings
  const { authenticate, challenges } = authentication

  const staying = Staying.make(authentication, recheck)

  /** Who the user is until he is not. */
  const stays = (request: HttpServerRequest, user: CurrentUser.User | undefined) =>
    Effect.flatMap(staying(request, user), end)

  const asUser = <A, E, R>(effect: Effect.Effect<A, E, R>, user: CurrentUser.User | undefined) =>
    Effect.provideService(effect, CurrentUser.CurrentUser, user)

  const refusedAs = (error: Answer.Failure): Ending => {
    const { status } = Answer.problemOf(error)
    return status === 401
      ? "unauthenticated"
      : status >= 500
        ? "unavailable"
        : status === 403
          ? "forbidden"
          : "malformed"
  }

  type Pull = Socket.Reader["pull"]

  /** Tells changes until somebody ends it. */
  const talk = Effect.fnUntraced(function* (
    pull: Pull,
    writer: Socket.Writer,
    request: HttpServerRequest,
    user: CurrentUser.User | undefined,
    changes: Stream.Stream<Event | undefined, unknown>
  ) {
    const { answered, look, send } = flow(writer, settings)
    const telling = changes.pipe(
      Stream.runForEach((event) => (event === undefined ? Effect.void : send(event))),
      Effect.catch((error) =>
        error instanceof Ended || Socket.isSocketError(error)
          ? Effect.fail(error)
          : Effect.andThen(Effect.logError("changes could not be told", error), end("unavailable"))
      )
    )
    const hearing = Effect.forever(
      Effect.flatMap(pull, (messages) =>
        Effect.forEach(
          messages,
          (one) => {
            const message = messageOf(one)
            return message?.["type"] === "Pong" ? answered(message["number"]) : end("malformed")
          },
          { discard: true }
        )
      )
    )
    const looking = Effect.forever(Effect.andThen(Effect.sleep(heartbeat), look))
    yield* Effect.raceAllFirst([telling, hearing, looking, stays(request, user)])
  })

  /** Who it is by the first message, which is there in time. */
  const introduced = Effect.fnUntraced(function* (pull: Pull, request: HttpServerRequest) {
    const messages = yield* Effect.timeoutOrElse(pull, { duration: patience, orElse: () => end("silent") })
    const first = messages.length === 1 ? messageOf(messages[0]) : undefined
    const token = first?.["type"] === "Authenticate" ? first["token"] : undefined
    if (typeof token !== "string" || token === "") return yield* end("malformed")
    const shown = bearing(request, `Bearer ${token}`)
    const found = yield* Effect.result(authenticate(shown))
    if (Result.isFailure(found)) {
      return yield* end(
        found.failure._tag === "DbError"
          ? "unavailable"
          : found.failure._tag === "Rejected"
            ? "forbidden"
            : "unauthenticated"
      )
    }
    if (found.success === undefined) return yield* end("unauthenticated")
    return { shown, user: found.success }
  })

  const asOne = <A, E, R>(who: string, effect: Effect.Effect<A, E, R>, other: Effect.Effect<A, E, R>) =>
    Effect.suspend(() =>
      places.enterAs(who)
        ? Effect.ensuring(
            effect,
            Effect.sync(() => places.leaveAs(who))
          )
        : other
    )

  const untilItStops = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | Ended> =>
    stopping === undefined ? effect : Effect.raceFirst(effect, Effect.andThen(stopping.begun, end("stopping")))

  /** Opens the connection; what comes of it, for who looks at answers. It is 101 for the client. */
  const connected = (
    request: HttpServerRequest,
    run: (pull: Pull, writer: Socket.Writer) => Effect.Effect<void, Ended | Socket.SocketError>
  ) =>
    Effect.gen(function* () {
      const upgraded = yield* Effect.result(request.upgrade)
      if (Result.isFailure(upgraded)) {
        return yield* Answer.refuse(501, "NotImplemented", "this server has no WebSockets")
      }
      const { reader, writer } = upgraded.success
      const ending = yield* Effect.scoped(
        Effect.gen(function* () {
          const { pull } = yield* reader
          const writing = yield* writer
          const ended = yield* Effect.result(
            Effect.catchDefect(untilItStops(run(pull, writing)), (defect) =>
              Effect.andThen(Effect.logError("a connection ended with a defect", defect), end("internal"))
            )
          )
          const ending = Result.isFailure(ended) && ended.failure instanceof Ended ? ended.failure.ending : undefined
          if (ending !== undefined) {
            const [code, reason] = codes[ending]
            yield* Effect.ignore(writing.write(new Socket.CloseEvent(code, reason)))
          }
          return ending
        })
      ).pipe(Effect.catch(() => Effect.undefined))
      const requestId = yield* Gate.RequestId
      // Who counts refusals, such as bans, sees this one.
      return ending === "unauthenticated"
        ? Gate.refused(challenges, requestId)
        : HttpServerResponse.empty({ status: 200 })
    })

  const answering = Effect.fnUntraced(function* (request: HttpServerRequest, from: string | undefined) {
    const { headers } = request
    const requestId = yield* Gate.RequestId
    if (headers["upgrade"]?.toLowerCase() !== "websocket") {
      const problem = Problem.make(426, "UpgradeRequired", "this path is for WebSockets", { requestId })
      return HttpServerResponse.setHeaders(Problem.toResponse(problem), { upgrade: "websocket", connection: "upgrade" })
    }
    if (!isFromHere(request, allowedOrigins)) {
      return yield* Answer.refuse(403, "ForbiddenOrigin", "pages of this origin may not connect")
    }
    const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim())
    const token = offered.find((one) => one.startsWith("bearer."))?.slice("bearer.".length)
    if (token !== undefined && offered[0] !== protocol) {
      return yield* Answer.refuse(
        400,
        "InvalidRequest",
        `name the subprotocol ${protocol} first, and the token after it`
      )
    }
    const shown = token === undefined ? request : bearing(request, `Bearer ${token}`)
    const found = yield* Effect.result(authenticate(shown))
    if (Result.isFailure(found)) {
      return found.failure._tag === "Unauthenticated"
        ? Gate.refused(challenges, requestId)
        : yield* Effect.fail(found.failure)
    }
    const user = found.success
    if (user !== undefined || isPublic) {
      const changes = yield* asUser(feed.from(from), user)
      return yield* asOne(
        Places.whoOf(request, user),
        connected(request, (pull, writer) => talk(pull, writer, shown, user, changes)),
        Places.tooMany
      )
    }
    return yield* connected(request, (pull, writer) =>
      Effect.gen(function* () {
        const { shown, user } = yield* introduced(pull, request)
        yield* asOne(
          Places.whoOf(request, user),
          Effect.gen(function* () {
            const changes = yield* Effect.result(asUser(feed.from(from), user))
            if (Result.isFailure(changes)) return yield* end(refusedAs(changes.failure))
            return yield* talk(pull, writer, shown, user, changes.success)
          }),
          end("tooMany")
        )
      })
    )
  })

  return (request: HttpServerRequest, from: string | undefined): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
    Effect.flatMap(Gate.RequestId, (requestId) =>
      Answer.told(
        Effect.suspend(() =>
          places.enter() ? Effect.ensuring(answering(request, from), Effect.sync(places.leave)) : Places.full
        ),
        requestId
      )
    )
}
