/**
 * Places for connections that stay open, of which each takes memory and a reading of the journal: so many in this process, and so many of one user.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as CurrentUser from "../../CurrentUser.ts"
import * as Answer from "./answer.ts"

export interface Settings {
  /** The most connections of one user; of somebody who is not logged in, of one address. */
  readonly perUser: number
  /** The most connections to the resource in this process. */
  readonly total: number
}

export interface Places {
  /** Takes a place, if there is one. */
  readonly enter: () => boolean
  readonly leave: () => void
  /** The same for somebody. */
  readonly enterAs: (who: string) => boolean
  readonly leaveAs: (who: string) => void
  /** Takes both for as long as the request goes on, its answer included. */
  readonly take: (request: HttpServerRequest, user: CurrentUser.User | undefined) => Effect.Effect<void, Answer.Refused>
}

export const tooMany = Answer.refuse(429, "TooManyConnections", "these are too many connections: end some")

export const full = Answer.refuse(503, "TooManyConnections", "these are too many connections: connect again later")

/** Whose places a connection takes. */
export const whoOf = (request: HttpServerRequest, user: CurrentUser.User | undefined): string =>
  user === undefined ? `address ${Option.getOrElse(request.remoteAddress, () => "")}` : `user ${user.id}`

/** Counts connections by who has them. */
export const make = ({ perUser, total }: Settings): Places => {
  const counts = new Map<string, number>()
  let all = 0
  const enter = () => all < total && ((all += 1), true)
  const leave = () => {
    all -= 1
  }
  const enterAs = (who: string) => {
    const here = counts.get(who) ?? 0
    if (here >= perUser) return false
    counts.set(who, here + 1)
    return true
  }
  const leaveAs = (who: string) => {
    const left = (counts.get(who) ?? 1) - 1
    if (left > 0) counts.set(who, left)
    else counts.delete(who)
  }
  return {
    enter,
    leave,
    enterAs,
    leaveAs,
    take: (request, user) =>
      Effect.withFiber((fiber) => {
        const who = whoOf(request, user)
        if (!enter()) return full
        if (!enterAs(who)) {
          leave()
          return tooMany
        }
        const given = Effect.sync(() => {
          leave()
          leaveAs(who)
        })
        // That of the request: an answer that is a stream closes it at its end, whatever that is, and one that is not read at once.
        const scope: Scope.Scope = Context.getUnsafe(fiber.context, Scope.Scope)
        return Scope.addFinalizer(scope, given)
      })
  }
}
