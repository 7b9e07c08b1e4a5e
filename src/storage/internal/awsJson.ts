/**
 * Requests of the JSON protocols of AWS, signed by Signature Version 4, over Effect's `HttpClient`.
 *
 * Sources: Smithy, "AWS JSON 1.0 protocol"; AWS General Reference, "Signature Version 4 signing process".
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Digests } from "./digests.ts"
import type { Credentials } from "./s3Options.ts"
import * as sigV4 from "./sigV4.ts"

export interface Options {
  readonly client: HttpClient.HttpClient
  readonly digests: Digests
  /** As it is signed: `sqs`, `dynamodb`. */
  readonly service: string
  /** What comes before the name of an action: `AmazonSQS`. */
  readonly target: string
  readonly region: string
  readonly endpoint: URL
  /** An effect is run for every request. */
  readonly credentials: Credentials | Effect.Effect<Credentials, unknown>
}

/** Why there is no answer. */
export interface NoAnswer {
  readonly description: string
}

export interface Answer {
  readonly status: number
  readonly text: string
}

/** Makes what asks: an action with its input, once. */
export const make = ({
  client,
  credentials,
  digests,
  endpoint,
  region,
  service,
  target
}: Options): ((action: string, input: Schema.Json) => Effect.Effect<Answer, NoAnswer>) => {
  const signer = sigV4.make(digests, service)
  const { host, origin } = endpoint
  const keys = Effect.isEffect(credentials)
    ? Effect.mapError(credentials, (): NoAnswer => ({ description: "there are no credentials" }))
    : Effect.succeed(credentials)
  return Effect.fnUntraced(function* (action, input) {
    const body = JSON.stringify(input)
    const { accessKeyId, secretAccessKey, sessionToken } = yield* keys
    const time = sigV4.timestamp(yield* Clock.currentTimeMillis)
    const headers: Array<readonly [string, string]> = [
      ["content-type", "application/x-amz-json-1.0"],
      ["host", host],
      ["x-amz-date", time],
      ...(sessionToken === undefined ? [] : [["x-amz-security-token", Redacted.value(sessionToken)] as const]),
      ["x-amz-target", `${target}.${action}`]
    ]
    const authorization = signer.authorization(
      { method: "POST", path: "/", query: "", headers, payload: digests.sha256Hex(body) },
      time,
      {
        accessKeyId,
        secretAccessKey: Redacted.value(secretAccessKey),
        sessionToken: sessionToken === undefined ? undefined : Redacted.value(sessionToken)
      },
      region
    )
    const request = HttpClientRequest.post(`${origin}/`).pipe(
      HttpClientRequest.setHeaders(headers.filter(([header]) => header !== "host")),
      HttpClientRequest.setHeader("authorization", authorization),
      HttpClientRequest.bodyText(body, "application/x-amz-json-1.0")
    )
    return yield* client.execute(request).pipe(
      Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text }))),
      Effect.mapError((error): NoAnswer => ({ description: error.message }))
    )
  })
}

const Refused = Schema.Struct({
  __type: Schema.optionalKey(Schema.String),
  message: Schema.optionalKey(Schema.String),
  Message: Schema.optionalKey(Schema.String)
})

const decodeRefusal = Schema.decodeUnknownOption(Schema.fromJsonString(Refused))

/** What an answer other than 200 says: a type such as `QueueDoesNotExist`, and more of it. */
export const refusalOf = ({ status, text }: Answer): { readonly type: string; readonly detail: string | undefined } => {
  const refused = Option.getOrElse(decodeRefusal(text), (): typeof Refused.Type => ({}))
  return { type: refused.__type?.split("#").at(-1) ?? `status ${status}`, detail: refused.message ?? refused.Message }
}
