import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as S3Store from "effect-s3db/storage/S3Store"
import { reasonOf } from "../../src/storage/internal/s3Errors.ts"
import * as s3Text from "../../src/storage/internal/s3Text.ts"

/** As the SDK throws them. */
const answered = (status: number, code: string, more: object = {}) =>
  Object.assign(new Error("hush"), {
    name: code,
    Code: code,
    $metadata: { httpStatusCode: status, requestId: "R" },
    $response: { statusCode: status, headers: {} },
    ...more
  })

const raised = (code: string, more: object = {}) => Object.assign(new Error(code), { code, ...more })

describe("S3Store: the reason of a failure", () => {
  const facts = { operation: "put", region: "us-east-1", place: 'bucket "b"', metadataBytes: 77 } as const
  const cases: ReadonlyArray<readonly [unknown, string, "none" | "unknown", boolean]> = [
    [answered(404, "NoSuchKey"), "NoSuchKey", "none", false],
    [answered(404, "NotFound"), "NoSuchKey", "none", false],
    [answered(404, "NoSuchBucket"), "NoSuchBucket", "none", false],
    [answered(412, "PreconditionFailed"), "PreconditionFailed", "none", false],
    [answered(412, "Unknown"), "PreconditionFailed", "none", false],
    [answered(304, "NotModified"), "PreconditionFailed", "none", false],
    [answered(409, "ConditionalRequestConflict"), "ConditionalRequestConflict", "none", true],
    [answered(409, "ConcurrentModification"), "ConditionalRequestConflict", "none", true],
    [answered(409, "BucketNotEmpty"), "Unexpected", "unknown", false],
    [answered(400, "MetadataTooLarge"), "MetadataTooLarge", "none", false],
    [answered(431, "Unknown"), "MetadataTooLarge", "none", false],
    [answered(400, "KeyTooLongError"), "KeyTooLong", "none", false],
    [answered(400, "EntityTooLarge"), "EntityTooLarge", "none", false],
    [answered(413, "Unknown"), "EntityTooLarge", "none", false],
    [answered(400, "InvalidArgument"), "InvalidArgument", "none", false],
    [answered(400, "InvalidBucketName"), "InvalidArgument", "none", false],
    [answered(400, "Whatever"), "InvalidArgument", "none", false],
    [answered(400, "InvalidToken"), "AccessDenied", "none", false],
    [answered(400, "ExpiredToken"), "AccessDenied", "none", false],
    [answered(400, "AuthorizationHeaderMalformed"), "AccessDenied", "none", false],
    [answered(401, "Unauthorized"), "AccessDenied", "none", false],
    [answered(403, "SignatureDoesNotMatch"), "AccessDenied", "none", false],
    [answered(403, "RequestTimeTooSkewed"), "AccessDenied", "none", false],
    [answered(403, "Unknown"), "AccessDenied", "none", false],
    [answered(403, "InvalidObjectState"), "Unsupported", "none", false],
    [answered(416, "InvalidRange"), "InvalidRange", "none", false],
    [answered(429, "TooManyRequests"), "Throttled", "none", true],
    [answered(503, "SlowDown"), "Throttled", "none", true],
    [answered(400, "ThrottlingException"), "Throttled", "none", true],
    [answered(503, "ServiceUnavailable"), "Unavailable", "unknown", true],
    [answered(500, "InternalError"), "Unavailable", "unknown", true],
    [answered(502, "Unknown"), "Unavailable", "unknown", true],
    [answered(504, "GatewayTimeout"), "Unavailable", "unknown", true],
    [answered(400, "RequestTimeout"), "Unavailable", "unknown", true],
    [answered(400, "IncompleteBody"), "Unavailable", "unknown", true],
    [answered(501, "NotImplemented"), "Unsupported", "none", false],
    [answered(405, "MethodNotAllowed"), "Unsupported", "none", false],
    [answered(301, "PermanentRedirect"), "InvalidArgument", "none", false],
    [answered(307, "Unknown"), "InvalidArgument", "none", false],
    [answered(418, "Teapot"), "Unexpected", "unknown", false],
    [raised("ECONNREFUSED"), "Unavailable", "none", true],
    [raised("ENOTFOUND"), "Unavailable", "none", true],
    [raised("EAI_AGAIN"), "Unavailable", "none", true],
    [raised("ETIMEDOUT", { syscall: "connect" }), "Unavailable", "none", true],
    [Object.assign(new AggregateError([]), { code: "ETIMEDOUT" }), "Unavailable", "none", true],
    [raised("ERR_TLS_CERT_ALTNAME_INVALID"), "Unavailable", "none", true],
    [raised("DEPTH_ZERO_SELF_SIGNED_CERT"), "Unavailable", "none", true],
    [raised("ECONNRESET", { name: "TimeoutError" }), "Unavailable", "unknown", true],
    [raised("EPIPE", { name: "TimeoutError" }), "Unavailable", "unknown", true],
    [new Error("aborted"), "Unavailable", "unknown", true],
    [new Error("socket hang up"), "Unavailable", "unknown", true],
    [raised("ETIMEDOUT", { name: "TimeoutError" }), "Timeout", "unknown", true],
    [Object.assign(new Error("Request aborted"), { name: "AbortError" }), "Timeout", "unknown", true],
    [Object.assign(new Error(), { name: "CredentialsProviderError" }), "AccessDenied", "none", false],
    [raised("ERR_INVALID_CHAR"), "InvalidArgument", "none", false],
    [
      Object.assign(new Error("the request socket did not establish a connection with the server within 5000 ms"), {
        name: "TimeoutError"
      }),
      "Unavailable",
      "none",
      true
    ],
    [
      Object.assign(new Error("the request socket timed out after 9 ms of inactivity"), { name: "TimeoutError" }),
      "Timeout",
      "unknown",
      true
    ],
    [new TypeError("a bug"), "Unexpected", "unknown", false],
    ["not an error", "Unexpected", "unknown", false],
    [undefined, "Unexpected", "unknown", false]
  ]
  it("names the host that nobody knows", () => {
    for (const cause of [
      raised("ENOTFOUND", { hostname: "s3.exmaple.com" }),
      Object.assign(new Error("getaddrinfo ENOTFOUND s3.exmaple.com"), { code: "ENOTFOUND" })
    ]) {
      const { description } = reasonOf(cause, facts)
      assert.strictEqual(
        description,
        'the store could not be reached: no host has the name "s3.exmaple.com" (ENOTFOUND): is it spelt right?'
      )
    }
  })

  it("says what to do where it is known", () => {
    const said: ReadonlyArray<readonly [unknown, RegExp]> = [
      [raised("ECONNREFUSED"), /does the server run, and is it this port\? \(ECONNREFUSED\)$/],
      [raised("ERR_SSL_WRONG_VERSION_NUMBER"), /does not speak TLS: .*write http:/],
      [Object.assign(new Error("write EPROTO: SSL: wrong version number"), { code: "EPROTO" }), /write http:\/\/$/],
      [raised("DEPTH_ZERO_SELF_SIGNED_CERT"), /NODE_EXTRA_CA_CERTS \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/],
      [raised("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), /NODE_EXTRA_CA_CERTS/],
      [raised("CERT_HAS_EXPIRED"), /has expired \(CERT_HAS_EXPIRED\)$/],
      [raised("ERR_TLS_CERT_ALTNAME_INVALID"), /for other names/],
      [raised("EHOSTUNREACH"), /: EHOSTUNREACH$/]
    ]
    for (const [cause, what] of said) assert.match(reasonOf(cause, facts).description, what)
  })

  it.effect("is complete", () =>
    Effect.sync(() => {
      for (const [cause, tag, outcome, retryable] of cases) {
        const reason = reasonOf(cause, facts)
        assert.deepStrictEqual(
          [reason._tag, reason.outcome, reason.isRetryable],
          [tag, outcome, retryable],
          String(cause)
        )
        assert.notInclude(reason.description, "hush")
      }
      const large = reasonOf(answered(400, "MetadataTooLarge"), facts)
      assert.strictEqual("size" in large && large.size, 77)
      const slow = reasonOf(
        answered(503, "SlowDown", { $response: { statusCode: 503, headers: { "retry-after": "1.5" } } }),
        facts
      )
      assert.strictEqual("retryAfterMillis" in slow && slow.retryAfterMillis, 1500)
    })
  )
})

describe("S3Store: text", () => {
  it.effect("ETags, keys and ranges", () =>
    Effect.sync(() => {
      for (const form of ["abc", '"abc"', 'W/"abc"']) assert.strictEqual(s3Text.bareETag(form), "abc")
      assert.strictEqual(s3Text.bareETag('"'), '"')
      assert.strictEqual(s3Text.decodeListed("a+b%2Bc%20d"), "a b+c d")
      assert.strictEqual(s3Text.partOf("bytes 0-9/100")?.size, 100)
      assert.strictEqual(s3Text.partOf("bytes */100"), undefined)
      for (const key of ["a\tb\nc\r", "\u{1f600}", "\ufffd"]) assert.isTrue(s3Text.fitsXml(key))
      for (const key of ["\u0000", "a\u001fb", "\uffff"]) assert.isFalse(s3Text.fitsXml(key))
    })
  )
})

describe("S3Store: options and layers", () => {
  it.effect("secrets do not show", () =>
    Effect.sync(() => {
      const options: S3Store.Options = {
        bucket: "b",
        credentials: {
          accessKeyId: "K",
          secretAccessKey: Redacted.make("hush"),
          sessionToken: Redacted.make("hush")
        }
      }
      assert.notInclude(JSON.stringify(options), "hush")
    })
  )

  it.live("importing the module does not load the SDK", () =>
    Effect.gen(function* () {
      const script = `
        import { registerHooks } from "node:module"
        const loaded = []
        registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
        await import("effect-s3db/storage/S3Store")
        console.log(JSON.stringify(loaded))`
      const run = promisify(execFile)
      const { stdout } = yield* Effect.promise(() =>
        run(process.execPath, ["--conditions=effect-s3db-source", "--input-type=module", "-e", script])
      )
      const loaded = JSON.parse(stdout) as Array<string>
      assert.isTrue(loaded.some((url) => url.endsWith("/S3Store.ts")))
      assert.deepStrictEqual(
        loaded.filter((url) => /aws-sdk|smithy/.test(url)),
        []
      )
    })
  )
})
