import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"
import { type Answer, client, error, hangUp, object, reply, serve, silence } from "./s3Server.ts"
import type { S3Tested } from "./s3Stores.ts"

/** Registers the tests of what a store does when things go wrong. */
export const faultsSuite = (S3: S3Tested): void => {
  const text = (value: string) => new TextEncoder().encode(value)

  const patient = { baseDelay: "1 millis", maxDelay: "5 millis" } as const

  /** The reason of a failure, and what follows from it. */
  const failureOf = (effect: Effect.Effect<unknown, StoreError>) =>
    Effect.map(Effect.flip(effect), (failed) => ({
      ...failed.reason,
      _tag: failed.reason._tag,
      retryable: failed.isRetryable,
      outcome: failed.outcome,
      operation: failed.operation,
      key: failed.key
    }))

  /** Waits until something is true, for a minute at most. */
  const eventually = Effect.fnUntraced(function* (condition: () => boolean) {
    for (let i = 0; i < 6000 && !condition(); i++) yield* Effect.sleep(10)
    assert.isTrue(condition())
  })

  const stored = reply(200, { etag: '"e1"' })

  const breaksOff: Answer = (response) => {
    response.writeHead(200, { etag: '"e1"', "content-length": 1000 })
    response.write("x".repeat(100), () => response.socket?.destroy())
  }

  const stalls: Answer = (response) => {
    response.writeHead(200, { etag: '"e1"', "content-length": 1000 })
    response.write("x".repeat(100))
  }

  const dawdles: Answer = (response) => {
    setTimeout(() => response.writeHead(200, { etag: '"e1"' }).end(), 5)
  }

  describe(`${S3.name}: when things go wrong`, () => {
    it.live("503 twice, then an answer", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(reply(503), error(503, "ServiceUnavailable"), stored)
        const store = yield* S3.make(options)
        const first = yield* failureOf(store.put({ key: "k", ifNoneMatch: "*" }))
        assert.strictEqual(first._tag, "Unavailable")
        assert.deepStrictEqual([first.status, first.retryable, first.outcome], [503, true, "unknown"])
        assert.deepStrictEqual([first.operation, first.key], ["put", "k"])
        const { etag } = yield* RetryingStore.make(store, patient).put({ key: "k", ifNoneMatch: "*" })
        assert.strictEqual(etag, "e1")
        assert.strictEqual(seen.length, 3)
      })
    )

    it.live("the client itself never tries again", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(error(500, "InternalError"))
        const store = yield* S3.make(options)
        for (const request of [
          store.get("k"),
          store.list(),
          store.copy({ from: "a", to: "b" }),
          store.deleteMany(["k"])
        ]) {
          assert.strictEqual((yield* failureOf(request))._tag, "Unavailable")
        }
        assert.strictEqual(seen.length, 4)
      })
    )

    it.live("a write that landed although its answer was lost is recognised", () =>
      Effect.gen(function* () {
        const { options, seen, state } = yield* serve(hangUp, error(412, "PreconditionFailed"), object("mine"))
        const store = yield* S3.make(options)
        const { etag } = yield* RetryingStore.make(store, patient).put({
          key: "k",
          body: text("mine"),
          ifNoneMatch: "*"
        })
        assert.strictEqual(etag, "e1")
        assert.deepStrictEqual(
          seen.map((request) => request.method),
          ["PUT", "PUT", "GET"]
        )
        assert.strictEqual(state.brokenOff, 1)
      })
    )

    it.live("a write that somebody else won in the meantime is not taken for ours", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(hangUp, error(412, "PreconditionFailed"), object("theirs"))
        const store = yield* S3.make(options)
        const failed = yield* Effect.flip(
          RetryingStore.make(store, patient).put({ key: "k", body: text("mine"), ifNoneMatch: "*" })
        )
        assert.strictEqual(failed.reason._tag, "PreconditionFailed")
        assert.isTrue("afterUnknown" in failed.reason && failed.reason.afterUnknown)
      })
    )

    it.live("a connection that breaks before the answer has an unknown outcome", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(hangUp)
        const store = yield* S3.make(options)
        const failed = yield* failureOf(store.put({ key: "k" }))
        assert.deepStrictEqual([failed._tag, failed.outcome, failed.retryable], ["Unavailable", "unknown", true])
      })
    )

    it.live("a connection that breaks in the middle of a body", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(breaksOff, breaksOff, object("whole"))
        const store = yield* S3.make(options)
        assert.strictEqual((yield* failureOf(store.get("k")))._tag, "Unavailable")
        const { body } = yield* RetryingStore.make(store, patient).get("k")
        assert.strictEqual(new TextDecoder().decode(body), "whole")
        assert.strictEqual(seen.length, 3)
      })
    )

    it.effect("a store that never answers: the time limit closes the connection", () =>
      Effect.gen(function* () {
        const { options, seen, state } = yield* serve(silence)
        const store = TimeoutStore.make(yield* S3.make(options), { timeout: "2 seconds" })
        const putting = yield* Effect.forkChild(failureOf(store.put({ key: "k", body: text("x") })))
        yield* TestClock.withLive(eventually(() => seen.length === 1))
        yield* TestClock.adjust("1999 millis")
        assert.isUndefined(putting.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const failed = yield* Fiber.join(putting)
        assert.deepStrictEqual([failed._tag, failed.outcome, failed.retryable], ["Timeout", "unknown", true])
        yield* TestClock.withLive(eventually(() => state.brokenOff === 1))
      })
    )

    it.live("interruption closes the connection, also in the middle of a body", () =>
      Effect.gen(function* () {
        const { options, seen, state } = yield* serve(stalls)
        const store = yield* S3.make(options)
        const reading = yield* Effect.forkChild(store.get("k"), { startImmediately: true })
        yield* eventually(() => seen.length === 1)
        yield* Effect.sleep(50)
        assert.strictEqual(state.brokenOff, 0)
        yield* Fiber.interrupt(reading)
        yield* eventually(() => state.brokenOff === 1)
      })
    )

    it.live("the client's own time limit", () =>
      Effect.gen(function* () {
        const { options, state } = yield* serve(silence)
        const store = yield* S3.make({ ...options, requestTimeout: "2 seconds" })
        const failed = yield* failureOf(store.head("k"))
        assert.strictEqual(failed._tag, "Timeout")
        assert.strictEqual("afterMillis" in failed && failed.afterMillis, 2000)
        yield* eventually(() => state.brokenOff === 1)
      })
    )

    it.live("SlowDown: nothing was done, and the store's wish is known", () =>
      Effect.gen(function* () {
        const dates = { date: "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:03 GMT" }
        const { options } = yield* serve(
          error(503, "SlowDown", { "retry-after": "2" }),
          error(503, "SlowDown", dates),
          reply(429),
          error(503, "SlowDownWrite", { "retry-after": "1" })
        )
        const store = yield* S3.make(options)
        const wishes: Array<unknown> = []
        for (let i = 0; i < 3; i++) {
          const failed = yield* failureOf(store.put({ key: "k" }))
          assert.deepStrictEqual([failed._tag, failed.outcome, failed.retryable], ["Throttled", "none", true])
          wishes.push("retryAfterMillis" in failed ? failed.retryAfterMillis : undefined)
        }
        assert.deepStrictEqual(wishes, [2000, 3000, undefined])
        // MinIO's name for a write that lacked a quorum: it may have been carried out in part.
        const unknown = yield* failureOf(store.put({ key: "k" }))
        assert.deepStrictEqual([unknown._tag, unknown.outcome], ["Unavailable", "unknown"])
        assert.strictEqual("retryAfterMillis" in unknown && unknown.retryAfterMillis, 1000)
      })
    )

    it.live("conflicts", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(
          error(409, "ConditionalRequestConflict"),
          error(409, "OperationAborted"),
          reply(409),
          reply(409)
        )
        const store = yield* S3.make(options)
        for (let i = 0; i < 3; i++) {
          const failed = yield* failureOf(store.put({ key: "k", ifMatch: "e" }))
          assert.deepStrictEqual(
            [failed._tag, failed.outcome, failed.retryable],
            ["ConditionalRequestConflict", "none", true]
          )
        }
        const other = yield* failureOf(store.put({ key: "k" }))
        assert.deepStrictEqual([other._tag, other.outcome, other.retryable], ["Unexpected", "unknown", false])
      })
    )

    it.live("absence of the object and of the bucket", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(error(404, "NoSuchKey"), error(404, "NoSuchBucket"), reply(404), reply(404))
        const store = yield* S3.make(options)
        const missing = yield* failureOf(store.get("k"))
        assert.deepStrictEqual([missing._tag, missing.code, missing.requestId], ["NoSuchKey", "NoSuchKey", "REQ1"])
        assert.strictEqual((yield* failureOf(store.put({ key: "k" })))._tag, "NoSuchBucket")
        assert.strictEqual((yield* failureOf(store.head("k")))._tag, "NoSuchKey")
        assert.strictEqual((yield* failureOf(store.list()))._tag, "NoSuchBucket")
      })
    )

    for (const type of ["text/html", "text/plain; charset=utf-8", "application/json"]) {
      it.live(`a 404 of somebody else says nothing of what there is: ${type}`, () =>
        Effect.gen(function* () {
          const { options } = yield* serve(reply(404, { "content-type": type }, "404 page not found"))
          const store = yield* S3.make(options)
          const requests: Readonly<Record<string, Effect.Effect<unknown, StoreError>>> = {
            "a read": store.get("k"),
            "a write": store.put({ key: "k", ifMatch: "v1" }),
            "a deletion": store.delete("k"),
            "the deletion of many objects": store.deleteMany(["k", "l"]),
            "a copy": store.copy({ from: "k", to: "l" }),
            "a listing": store.list()
          }
          for (const [name, request] of Object.entries(requests)) {
            const failed = yield* failureOf(request)
            assert.deepStrictEqual([failed._tag, failed.outcome], ["Unexpected", "unknown"], name)
            assert.include(failed.description, `not one of S3 to ${name}: check that the endpoint`)
          }
        })
      )
    }

    it.live("a page in answer to a write is no success, whatever its ETag", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(
          reply(200, { "content-type": "text/html", etag: 'W/"1f"' }, "<html>Hello</html>")
        )
        const store = yield* S3.make(options)
        const failed = yield* failureOf(store.put({ key: "k" }))
        assert.deepStrictEqual([failed._tag, failed.outcome], ["Unexpected", "unknown"])
        assert.include(failed.description, "not one of S3 to a write")
      })
    )

    it.live("another part of an object than was asked for", () =>
      Effect.gen(function* () {
        const part = (range: string, body: string) =>
          reply(206, { etag: '"v1"', "content-range": `bytes ${range}` }, body)
        const wrong = [part("0-3/10", "0123"), part("5-9/10", "56789"), part("5-8/10", "567"), part("6-8/10", "678")]
        const { options } = yield* serve(...wrong, part("0-3/10", "0123"), part("5-8/10", "5678"), part("5-6/7", "56"))
        const store = yield* S3.make(options)
        const range = { start: 5, end: 8 }
        for (const asked of [...wrong.map(() => ({ range })), {}]) {
          const failed = yield* failureOf(store.get("k", asked))
          assert.strictEqual(failed._tag, "Unexpected")
          assert.match(failed.description, /sent another part of it/)
        }
        const read = Effect.map(store.get("k", { range }), ({ body, size }) => [new TextDecoder().decode(body), size])
        assert.deepStrictEqual(yield* read, ["5678", 10])
        assert.deepStrictEqual(yield* read, ["56", 7])
      })
    )

    it.live("a version that is not the one that was asked for", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(reply(200, { etag: '"v2"' }, "x"))
        const store = yield* S3.make(options)
        assert.strictEqual((yield* failureOf(store.get("k", { ifMatch: "v1" })))._tag, "PreconditionFailed")
        assert.strictEqual((yield* store.get("k", { ifMatch: "v2" })).etag, "v2")
      })
    )

    it.live("the wrong region is named", () =>
      Effect.gen(function* () {
        const redirect = reply(301, { "x-amz-bucket-region": "eu-west-1" })
        const requests: ReadonlyArray<
          readonly [Answer, (store: ObjectStore["Service"]) => Effect.Effect<unknown, StoreError>]
        > = [
          [error(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-1" }), (store) => store.get("k")],
          [redirect, (store) => store.head("k")],
          [error(400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-1</Region>"), (store) => store.list()]
        ]
        for (const [answer, request] of requests) {
          const { options } = yield* serve(answer)
          const store = yield* S3.make({ ...options, region: "us-west-2" })
          const failed = yield* failureOf(request(store))
          assert.strictEqual(failed._tag, "InvalidArgument")
          assert.strictEqual("argument" in failed && failed.argument, "region")
          assert.match(failed.description, /in region eu-west-1, not in us-west-2/)
        }
      })
    )

    it.live("nobody listens, and no such host: the request was never sent", () =>
      Effect.gen(function* () {
        const { endpoint } = yield* Effect.scoped(serve(silence))
        for (const unreachable of [endpoint, "http://no-such-host.invalid:12345"]) {
          const store = yield* S3.make({ ...client, endpoint: unreachable })
          const failed = yield* failureOf(store.put({ key: "k" }))
          assert.deepStrictEqual([failed._tag, failed.outcome, failed.retryable], ["Unavailable", "none", true])
        }
      })
    )

    it.live("not a server of HTTP, nor XML, nor what was asked for", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(
          reply(502, { "content-type": "text/html" }, "<html><h1>Bad Gateway<p>"),
          reply(200, { "content-type": "application/xml" }, "<ListBucketResult><Contents>"),
          reply(200, {}, "")
        )
        const store = yield* S3.make(options)
        const gateway = yield* failureOf(store.get("k"))
        assert.deepStrictEqual([gateway._tag, gateway.status], ["Unavailable", 502])
        assert.notStrictEqual((yield* failureOf(store.list()))._tag, "NoSuchBucket")
        // A write without an ETag in its answer cannot be referred to.
        assert.strictEqual((yield* failureOf(store.put({ key: "k" })))._tag, "Unexpected")
      })
    )

    it.live("an error inside a 200, as copies have it", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(
          error(200, "SlowDown", { "content-type": "application/xml" }),
          error(200, "InternalError", { "content-type": "application/xml" })
        )
        const store = yield* S3.make(options)
        assert.strictEqual((yield* failureOf(store.copy({ from: "a", to: "b" })))._tag, "Throttled")
        assert.strictEqual((yield* failureOf(store.copy({ from: "a", to: "b" })))._tag, "Unavailable")
      })
    )

    it.live("no error shows a secret, metadata or a body", () =>
      Effect.gen(function* () {
        const secret = "hush-hush"
        for (const [status, code] of [
          [403, "SignatureDoesNotMatch"],
          [400, "InvalidArgument"],
          [500, "InternalError"],
          [418, "Teapot"]
        ] as const) {
          const echo = `<StringToSign>${secret}</StringToSign><ArgumentValue>${secret}</ArgumentValue>`
          const { options } = yield* serve(error(status, code, {}, echo))
          const store = yield* S3.make(options)
          const failed = yield* Effect.flip(store.put({ key: "k", body: text(secret), metadata: { m: secret } }))
          assert.notInclude(JSON.stringify(failed), secret)
          assert.notInclude(String(failed.stack), secret)
          assert.notInclude(failed.message, secret)
        }
      })
    )

    it.live("without any credentials", () =>
      Effect.gen(function* () {
        const { endpoint, seen } = yield* serve(stored)
        const names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"]
        const blind = {
          AWS_EC2_METADATA_DISABLED: "true",
          AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
          AWS_CONFIG_FILE: "/dev/null"
        }
        const before = { ...process.env }
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            for (const name of names) delete process.env[name]
            Object.assign(process.env, blind)
          }),
          () =>
            Effect.sync(() => {
              for (const name of [...names, ...Object.keys(blind)]) {
                if (before[name] === undefined) delete process.env[name]
                else process.env[name] = before[name]
              }
            })
        )
        const store = yield* S3.make({ bucket: "bkt", endpoint })
        const failed = yield* failureOf(store.get("k"))
        assert.strictEqual(failed._tag, "AccessDenied")
        assert.match(failed.description, /no credentials were found/)
        assert.strictEqual(seen.length, 0)
      })
    )

    if (S3.ownsConnections)
      it.live("connections are kept, limited and closed", () =>
        Effect.gen(function* () {
          const { options, seen, state } = yield* serve(dawdles)
          const requests = Effect.gen(function* () {
            const store = yield* S3.make({ ...options, maxSockets: 3 })
            yield* Effect.forEach(
              Array.from({ length: 30 }, (_, i) => `k${i}`),
              (key) => store.put({ key }),
              { concurrency: "unbounded", discard: true }
            )
            assert.strictEqual(state.open, 3)
          })
          yield* Effect.scoped(requests)
          assert.strictEqual(seen.length, 30)
          assert.strictEqual(state.connections, 3)
          assert.strictEqual(state.mostActive, 3)
          yield* eventually(() => state.open === 0)
        })
      )

    it.live("credentials reach the store as signatures, a session token as a header", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(stored)
        const credentials = { ...options.credentials, sessionToken: Redacted.make("token") }
        const store = yield* S3.make({ ...options, credentials, region: "eu-west-1" })
        yield* store.put({ key: "k" })
        assert.match(seen[0]!.headers.authorization!, /Credential=ACCESSKEY\/\d{8}\/eu-west-1\/s3/)
        assert.strictEqual(seen[0]!.headers["x-amz-security-token"], "token")
        assert.notInclude(JSON.stringify(seen[0]!.headers), "hush-hush")
      })
    )
  })
}
