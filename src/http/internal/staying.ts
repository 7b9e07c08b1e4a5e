/**
 * For answers that go on: whether who has asked is still who he was. A token ends, a key is revoked, roles are taken away.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as CurrentUser from "../../CurrentUser.ts"
import type { Authentication } from "../Authentication.ts"

/** Why he is not any more, or that it could not be asked. */
export type Reason = "unauthenticated" | "changed" | "unavailable"

const sameUser = (one: CurrentUser.User | undefined, other: CurrentUser.User | undefined): boolean =>
  JSON.stringify([one?.id, one?.roles, one?.scopes, one?.claims]) ===
  JSON.stringify([other?.id, other?.roles, other?.scopes, other?.claims])

/** Waits until somebody is not who he was: by the end of his token, and by asking again from time to time. */
export const make = ({ authenticate }: Authentication["Service"], recheck: Duration.Duration) =>
  Effect.fnUntraced(function* (
    request: HttpServerRequest,
    user: CurrentUser.User | undefined
  ): Effect.fn.Return<Reason> {
    const expires = user?.claims["exp"]
    while (true) {
      const now = yield* Clock.currentTimeMillis
      const left = typeof expires === "number" ? Math.max(0, expires * 1000 - now) : Number.POSITIVE_INFINITY
      yield* Effect.sleep(Duration.millis(Math.min(left, Duration.toMillis(recheck))))
      if (typeof expires === "number" && (yield* Clock.currentTimeMillis) >= expires * 1000) return "unauthenticated"
      const again = yield* Effect.result(authenticate(request))
      if (Result.isFailure(again)) return again.failure._tag === "DbError" ? "unavailable" : "unauthenticated"
      if (!sameUser(user, again.success)) return again.success === undefined ? "unauthenticated" : "changed"
    }
  })
