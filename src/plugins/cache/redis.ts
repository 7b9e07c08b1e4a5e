/**
 * The tier in Redis, and what tells the caches of other processes of writes by its channels.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { percentEncode } from "../../internal/text.ts"
import * as Blobs from "./blobs.ts"
import { prefixOf, type Surroundings, type Tier, TierFailed } from "./tier.ts"

/**
 * The limits of a tier in Redis.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits extends Blobs.Options {
  readonly name: string
  readonly prefix: string
  /** In milliseconds. */
  readonly timeToLive: number
}

const describe = (error: unknown): string => {
  const cause = typeof error === "object" && error !== null && "cause" in error ? error.cause : error
  return cause instanceof Error
    ? cause.message
    : error instanceof Error && error.message !== ""
      ? error.message
      : "Redis has answered with an error"
}

/** Text in a pattern of SCAN that means itself. */
const literally = (text: string): string => text.replace(/[\\*?[\]^-]/g, (found) => `\\${found}`)

/**
 * Makes a tier in Redis. A look is 1 GET, a fill 1 SET with an end (`PX`); `clear` is SCAN and UNLINK by 500.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  redis: Redis.Redis["Service"],
  { name, prefix, timeToLive, ...options }: Limits,
  { root }: Surroundings
): Tier => {
  const blobs = Blobs.make(options)
  const failing =
    (operation: string) =>
    <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, TierFailed> =>
      Effect.mapError(effect, (error) => new TierFailed({ tier: name, operation, description: describe(error) }))
  return {
    name,
    get: ({ path }) =>
      Effect.gen(function* () {
        const found = yield* redis.send<unknown>("GET", prefix + path)
        if (typeof found !== "string") return Option.none()
        const put = yield* blobs.fromText(found, path)
        return Option.map(put, ({ entry }) => entry)
      }).pipe(failing("get")),
    set: ({ path }, entry) =>
      Effect.gen(function* () {
        const body = yield* blobs.toText(entry, yield* Clock.currentTimeMillis, path)
        yield* redis.send("SET", prefix + path, body, "PX", String(Math.max(1, Math.floor(timeToLive))))
      }).pipe(failing("set")),
    clear: (resource) =>
      Effect.gen(function* () {
        const pattern = `${literally(prefix + prefixOf(root, resource, percentEncode))}*`
        let cursor = "0"
        do {
          const [next, keys] = yield* redis.send<readonly [string, ReadonlyArray<string>]>(
            "SCAN",
            cursor,
            "MATCH",
            pattern,
            "COUNT",
            "500"
          )
          if (keys.length > 0) yield* redis.send("UNLINK", ...keys)
          cursor = String(next)
        } while (cursor !== "0")
      }).pipe(failing("clear")),
    // Redis does so by itself, by its `maxmemory-policy`.
    evictions: Effect.succeed(0),
    size: Effect.succeedNone
  }
}

/**
 * The way by which caches of several processes tell each other of writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Peers {
  readonly publish: (message: string) => Effect.Effect<void, TierFailed>
  /** Subscribes until the scope closes. What is missed is noticed later. */
  readonly subscribe: (onMessage: (message: string) => void) => Effect.Effect<void, TierFailed, Scope.Scope>
}

/**
 * Makes the way by a channel of Redis.
 *
 * @category constructors
 * @since 0.1.0
 */
export const peers = (redis: Redis.Redis["Service"], channel: string): Peers => {
  const failed = (operation: string) => (error: unknown) =>
    new TierFailed({ tier: "redis", operation, description: describe(error) })
  return {
    publish: (message) => Effect.mapError(Effect.asVoid(redis.send("PUBLISH", channel, message)), failed("publish")),
    subscribe: (onMessage) =>
      Effect.gen(function* () {
        const messages = yield* redis.subscribe(channel)
        while (true) onMessage((yield* Queue.take(messages)).message)
      }).pipe(Effect.mapError(failed("subscribe")))
  }
}
