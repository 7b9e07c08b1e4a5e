/**
 * Replicas as requests to somebody else's program: a webhook, signed.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaWebhook from "effect-s3db/plugins/ReplicaWebhook"
 * import * as Resource from "effect-s3db/Resource"
 * import { Redacted, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "both" }
 * }) {}
 *
 * class Partner extends Replicator.Service<Partner>()("app/Partner", {
 *   name: "partner",
 *   target: ReplicaWebhook.webhook({ url: "https://partner.example.com/orders", secrets: [Redacted.make("c2VjcmV0")] }),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * `POST` with JSON: `changes`, each with `resource`, `id`, `version`, `operation` (`insert`, `update`, `delete`, `snapshot`), `time`, `document` unless it is gone, and `before` where the
 * journal has it. It is signed as Standard Webhooks 1.0 says: `webhook-id`, the same each time that the request is made, `webhook-timestamp`, in seconds, and `webhook-signature`, for each
 * secret `v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY` in base 64.
 *
 * | answer | |
 * |---|---|
 * | 2xx | taken |
 * | 400, 409, 413, 415, 422 | refused: a dead letter in the end |
 * | any other, and none | made again, with growing pauses, but not before `Retry-After` |
 *
 * `FetchHttpClient` follows no redirects here.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { encodeBase64 } from "../internal/base64.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { messageOf, nameOf } from "./replicator/internal/messages.ts"

/**
 * Where changes are sent, and what they are signed with.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebhookOptions {
  /** With a name and password in it, they are sent as such. */
  readonly url: string
  /** Keys in base 64, with or without `whsec_` before them; several while one takes the place of another. One at least. */
  readonly secrets: ReadonlyArray<Redacted.Redacted>
  /** Sent with each request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, Redacted.Redacted | string>> | undefined
  /** The most changes of a request. Default: 100. */
  readonly changesAtOnce?: number | undefined
  /** How long an answer may take. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const kind = "webhook"
const refusals: ReadonlySet<number> = new Set([400, 409, 413, 415, 422])

/** What is wrong with the options, if anything is. */
const problemOf = ({
  changesAtOnce,
  secrets,
  url
}: Pick<WebhookOptions, "secrets" | "url"> & { readonly changesAtOnce: number }): string | undefined => {
  if (!URL.canParse(url) || !/^https?:/.test(url)) return "Expected an address of http or https"
  if (!Number.isSafeInteger(changesAtOnce) || changesAtOnce < 1) return "changesAtOnce: Expected a whole number from 1"
  const isKey = (secret: Redacted.Redacted<string>) => signature(Redacted.value(secret), "", 0, "") !== undefined
  return secrets.length > 0 && secrets.every(isKey) ? undefined : "Expected one secret at least, each in base 64"
}

const failure = (problem: ReplicaTarget.TargetError["problem"], description: string, retryAfterMillis?: number) =>
  new ReplicaTarget.TargetError({
    target: kind,
    problem,
    description,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
  })

const dayMillis = 86_400_000

/** In seconds, or as a date. */
const retryAfterOf = (header: string | undefined, now: number): number | undefined => {
  if (header === undefined) return undefined
  const millis = /^\d{1,9}$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now
  return millis > 0 ? Math.min(millis, dayMillis) : undefined
}

/**
 * Signs the body of a request, as whoever takes it has to do to compare. `secret` is the key in base 64, with or without `whsec_` before it;
 * `undefined` where it is none.
 *
 * @category conversions
 * @since 0.1.0
 */
export const signature = (secret: string, id: string, timestamp: number, body: string): string | undefined => {
  const key = Result.getOrUndefined(Base64.decode(secret.replace(/^whsec_/, "")))
  if (key === undefined || key.length === 0) return undefined
  return `v1,${encodeBase64(hmac(sha256, key, new TextEncoder().encode(`${id}.${timestamp}.${body}`)))}`
}

/**
 * Makes a target of a webhook. It fails with `TargetError` where a secret is no base 64, the URL is none, or there is no secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const webhook = Effect.fn("ReplicaWebhook.webhook")(function* ({
  changesAtOnce = 100,
  headers = {},
  secrets,
  timeout = "30 seconds",
  url
}: WebhookOptions): Effect.fn.Return<ReplicaTarget.Target, ReplicaTarget.TargetError, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const problem = problemOf({ changesAtOnce, secrets, url })
  if (problem !== undefined) return yield* failure("Schema", problem)
  const sent = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Redacted.isRedacted(value) ? Redacted.value(value) : value])
  )

  const send = Effect.fnUntraced(function* (
    shape: ReplicaTarget.Shape,
    changes: ReadonlyArray<ReplicaTarget.Change>
  ): Effect.fn.Return<void, ReplicaTarget.TargetError> {
    const body = JSON.stringify({ changes: changes.map((change) => messageOf(shape, change)) })
    // Of the first and the last: no other request begins and ends with these.
    const id = `${nameOf(shape, changes[0]!)}.${nameOf(shape, changes.at(-1)!)}.${changes.length}`
    const now = yield* Clock.currentTimeMillis
    const timestamp = Math.floor(now / 1000)
    const signatures = secrets.map((secret) => signature(Redacted.value(secret), id, timestamp, body)!)
    const request = HttpClientRequest.post(url).pipe(
      HttpClientRequest.setHeaders({
        ...sent,
        "webhook-id": id,
        "webhook-timestamp": String(timestamp),
        "webhook-signature": signatures.join(" ")
      }),
      HttpClientRequest.setBody(HttpBody.text(body, "application/json"))
    )
    const { headers, status } = yield* client.execute(request).pipe(
      // Another host is not to have what was signed for this one.
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(failure("Unavailable", "no answer in time"))
      }),
      Effect.mapError((error) =>
        error._tag === "TargetError" ? error : failure("Unavailable", `${error.reason._tag}: no answer`)
      )
    )
    if (status >= 200 && status < 300) return
    const isOfCredentials = status === 401 || status === 403
    const problem = refusals.has(status) ? "Refused" : isOfCredentials ? "Credentials" : "Unavailable"
    return yield* failure(problem, `the answer was ${status}`, retryAfterOf(headers["retry-after"], now))
  })

  return {
    kind,
    keeps: "changes",
    plan: () => Effect.succeed(ReplicaTarget.nothingToDo),
    run: () => Effect.void,
    apply: ({ changes, shape }) =>
      Effect.forEach(
        Array.from({ length: Math.ceil(changes.length / changesAtOnce) }, (_, i) =>
          changes.slice(i * changesAtOnce, (i + 1) * changesAtOnce)
        ),
        (some) => send(shape, some),
        { discard: true }
      )
  }
})
