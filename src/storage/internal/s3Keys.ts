/** What requests are signed with, from where the program has it; renewed before it expires. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import { AccessDenied, isStoreError, type Reason, Unsupported } from "../StoreError.ts"
import { variable } from "./awsProfile.ts"
import * as s3Errors from "./s3Errors.ts"
import { checkCredentials, type Credentials } from "./s3Options.ts"
import type { Keys } from "./sigV4.ts"

/**
 * Credentials that may expire.
 *
 * @category models
 * @since 0.1.0
 */
export interface TemporaryCredentials extends Credentials {
  /**
   * Milliseconds since the epoch. New ones are asked for 5 minutes before, and when the store says that these have expired.
   * Default: they do not.
   */
  readonly expiresAt?: number | undefined
}

/** Where credentials come from: `undefined` is the default chain of the SDK. */
export type Source = Credentials | Effect.Effect<TemporaryCredentials, unknown> | undefined

export interface KeySource {
  /** Those at hand, unless they have to be asked for. */
  readonly current: () => Keys | undefined
  /** Those at hand, or others. Asked for once, however many requests wait for them. */
  readonly renewed: Effect.Effect<Keys, Reason>
  /** These are of no use any more. Tells whether there may be others. */
  readonly drop: (keys: Keys) => boolean
}

/** How long before they expire others are asked for, as the SDK does. */
const renewalMillis = 300_000

/** How long those at hand are used when there were no others. */
const patienceMillis = 60_000

const keysOf = ({ accessKeyId, secretAccessKey, sessionToken }: Credentials): Keys => ({
  accessKeyId,
  secretAccessKey: Redacted.value(secretAccessKey),
  sessionToken: sessionToken === undefined ? undefined : Redacted.value(sessionToken)
})

/** Why there are none. What a program's own effect fails with may hold secrets, so that its name alone is told. */
const denied = (error: unknown): Reason => {
  if (isStoreError(error)) return error.reason
  const name = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
  return new AccessDenied({
    description: "the program's own effect gave no credentials",
    ...(typeof name === "string" ? { code: name } : {})
  })
}

const chainPackage = "@aws-sdk/credential-provider-node"

/** Asks for credentials. `afresh`: those that were given before are of no use. */
type Ask = (afresh: boolean) => Effect.Effect<TemporaryCredentials, Reason>

/**
 * What the environment has, unless it names a profile: the first step of the default chain, for which the packages of the SDK need
 * not be loaded.
 */
const ofEnvironment: Effect.Effect<TemporaryCredentials | undefined> = Effect.gen(function* () {
  if ((yield* variable("AWS_PROFILE")) !== undefined) return undefined
  const accessKeyId = yield* variable("AWS_ACCESS_KEY_ID")
  const secret = yield* variable("AWS_SECRET_ACCESS_KEY")
  if (accessKeyId === undefined || secret === undefined) return undefined
  const token = yield* variable("AWS_SESSION_TOKEN")
  const expiration = Date.parse((yield* variable("AWS_CREDENTIAL_EXPIRATION")) ?? "")
  return {
    accessKeyId,
    secretAccessKey: Redacted.make(secret),
    sessionToken: token === undefined ? undefined : Redacted.make(token),
    expiresAt: Number.isNaN(expiration) ? undefined : expiration
  }
})

/** The default chain of the SDK, which is loaded when the first request needs it. */
const ofChain = (region: string): Effect.Effect<Ask> =>
  Effect.map(
    Effect.cached(
      Effect.tryPromise({
        // A bundler takes an import that is caught for one that may be missing.
        try: () => import("@aws-sdk/credential-provider-node").catch((error: unknown) => Promise.reject(error)),
        catch: (error) =>
          new Unsupported({ feature: chainPackage, description: s3Errors.notLoaded(chainPackage, error) })
      }).pipe(Effect.map(({ defaultProvider }) => defaultProvider({ clientConfig: { region } })))
    ),
    (loaded) => (forceRefresh) => {
      const asked = Effect.flatMap(loaded, (provider) =>
        Effect.tryPromise({ try: () => provider({ forceRefresh }), catch: s3Errors.reasonWithoutAnswer })
      ).pipe(
        Effect.map(({ accessKeyId, expiration, secretAccessKey, sessionToken }) => ({
          accessKeyId,
          secretAccessKey: Redacted.make(secretAccessKey),
          sessionToken: sessionToken === undefined ? undefined : Redacted.make(sessionToken),
          expiresAt: expiration?.getTime()
        }))
      )
      return Effect.flatMap(ofEnvironment, (found) => (found === undefined ? asked : Effect.succeed(found)))
    }
  )

/** Makes the source of what requests to a region are signed with. `now`: the store's clock. */
export const make = Effect.fnUntraced(function* (source: Source, region: string, now: () => number) {
  if (source !== undefined && !Effect.isEffect(source)) {
    const keys = keysOf(source)
    const fixed: KeySource = { current: () => keys, renewed: Effect.succeed(keys), drop: () => false }
    return fixed
  }
  const asked: Ask = source === undefined ? yield* ofChain(region) : () => Effect.mapError(source, denied)
  const semaphore = yield* Semaphore.make(1)
  let held: { readonly keys: Keys; readonly until: number; readonly expiresAt: number } | undefined
  let isDropped = false

  const current = () => (held !== undefined && now() < held.until ? held.keys : undefined)

  const ask = Effect.fnUntraced(function* (): Effect.fn.Return<Keys, Reason> {
    const credentials = yield* asked(isDropped)
    const problem = checkCredentials(credentials)
    if (problem !== undefined) return yield* Effect.fail(problem.reason)
    const { expiresAt = Infinity } = credentials
    const keys = keysOf(credentials)
    // What lives for less than that is asked for with each minute.
    const until = Math.max(expiresAt - renewalMillis, Math.min(expiresAt, now() + patienceMillis))
    held = { keys, until, expiresAt }
    isDropped = false
    return keys
  })

  /** A chain that is down for a moment stops nobody whose credentials still hold. */
  const keep = (reason: Reason): Effect.Effect<Keys, Reason> => {
    if (held === undefined || now() >= held.expiresAt) return Effect.fail(reason)
    held = { ...held, until: Math.min(held.expiresAt, now() + patienceMillis) }
    return Effect.succeed(held.keys)
  }

  const renewing: KeySource = {
    current,
    renewed: semaphore.withPermits(1)(
      Effect.suspend(() => {
        const keys = current()
        return keys === undefined ? Effect.catch(ask(), keep) : Effect.succeed(keys)
      })
    ),
    drop: (keys) => {
      if (held?.keys === keys) {
        held = undefined
        isDropped = true
      }
      return true
    }
  }
  return renewing
})
