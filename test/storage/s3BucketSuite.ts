import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { error, reply, type Seen, serve } from "./s3Server.ts"
import type { LayerOptions } from "effect-s3db/storage/S3Store"
import type { S3Tested } from "./s3Stores.ts"

/** Registers the tests of the bucket of a store. */
export const bucketSuite = (S3: S3Tested): void => {
  const there = reply(200)
  const absent = reply(404)

  const lines = (seen: ReadonlyArray<Seen>) =>
    seen.map(({ method, path }) => `${method} ${path.split("?")[0]!.replace(/\/$/, "")}`)
  const constraintIn = ({ body }: Seen) => /<LocationConstraint>(.*?)<\/LocationConstraint>/.exec(body)?.[1]

  describe(`${S3.name}: the bucket`, () => {
    it.live("a missing one is told of by name and place, and how it is made", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(error(404, "NoSuchBucket"))
        const store = yield* S3.make(options)
        const requests: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
          store.put({ key: "k" }),
          store.get("k"),
          store.list(),
          store.deleteMany(["k"])
        ]
        for (const request of requests) {
          const { message, reason } = yield* Effect.flip(request)
          assert.strictEqual(reason._tag, "NoSuchBucket")
          assert.include(
            message,
            `there is no bucket "bkt" at ${options.endpoint}: create it, or let it be created by createBucket: true (createBucket=true in a connection string)`
          )
        }
      })
    )

    it.live("is made where it is missing, and only there", () =>
      Effect.gen(function* () {
        const exists = yield* serve(there)
        yield* S3.make({ ...exists.options, createBucket: true })
        assert.deepStrictEqual(lines(exists.seen), ["HEAD /bkt"])

        const missing = yield* serve(absent, there)
        yield* S3.make({ ...missing.options, createBucket: true })
        assert.deepStrictEqual(lines(missing.seen), ["HEAD /bkt", "PUT /bkt"])
        // The first region of AWS has no name as a location.
        assert.isUndefined(constraintIn(missing.seen[1]!))

        const unasked = yield* serve(there)
        yield* S3.make(unasked.options)
        yield* S3.make({ ...unasked.options, createBucket: false })
        assert.deepStrictEqual(unasked.seen, [])
      })
    )

    it.live("in its region, or in the only one that a server has", () =>
      Effect.gen(function* () {
        const elsewhere = yield* serve(absent, there)
        yield* S3.make({ ...elsewhere.options, region: "eu-west-1", createBucket: true })
        assert.strictEqual(constraintIn(elsewhere.seen[1]!), "eu-west-1")

        const single = yield* serve(absent, error(400, "InvalidLocationConstraint"), there)
        yield* S3.make({ ...single.options, region: "eu-west-1", createBucket: true })
        assert.deepStrictEqual(lines(single.seen), ["HEAD /bkt", "PUT /bkt", "PUT /bkt"])
        assert.isUndefined(constraintIn(single.seen[2]!))
      })
    )

    it.live("others may make it at the same time, and it may be somebody else's", () =>
      Effect.gen(function* () {
        const raced = yield* serve(absent, error(409, "BucketAlreadyOwnedByYou"))
        yield* S3.make({ ...raced.options, createBucket: true })

        const ours = yield* serve(absent, error(409, "BucketAlreadyExists"), there)
        yield* S3.make({ ...ours.options, createBucket: true })

        const theirs = yield* serve(absent, error(409, "BucketAlreadyExists"), reply(403))
        const { operation, reason } = yield* Effect.flip(S3.make({ ...theirs.options, createBucket: true }))
        assert.deepStrictEqual(
          [operation, reason._tag, reason.description],
          ["open", "InvalidArgument", `the bucket "bkt" belongs to somebody else: choose another name`]
        )

        const forbidden = yield* serve(absent, error(403, "AccessDenied"))
        const denied = yield* Effect.flip(S3.make({ ...forbidden.options, createBucket: true }))
        assert.strictEqual(denied.reason._tag, "AccessDenied")
      })
    )

    it.live("a server that is down for a moment is asked again by the layer", () =>
      Effect.gen(function* () {
        const server = yield* serve(reply(503), absent, reply(503), absent, there)
        const program = Effect.map(ObjectStore, ({ location }) => location)
        const layer = S3.layer({ ...server.options, createBucket: true, baseDelay: "1 millis" })
        assert.strictEqual(yield* Effect.provide(program, layer), `${server.endpoint}/bkt`)
        assert.strictEqual(server.seen.length, 5)
        const bare = yield* serve(reply(503), there)
        const once = yield* Effect.flip(S3.make({ ...bare.options, createBucket: true }))
        assert.strictEqual(once.reason._tag, "Unavailable")
      })
    )

    it.effect("options that cannot be are refused before anything is sent", () =>
      Effect.gen(function* () {
        const credentials = { accessKeyId: "k", secretAccessKey: Redacted.make("s") }
        const absentText = undefined as unknown as string
        const wrong: ReadonlyArray<readonly [string, Partial<LayerOptions>]> = [
          ["bucket", { bucket: "" }],
          ["bucket", { bucket: "a/b" }],
          ["bucket", { bucket: " " }],
          // As of a variable that is not set.
          ["bucket", { bucket: absentText }],
          ["region", { region: "" }],
          ["region", { region: "eu west" }],
          ["region", { region: "eu-west-1/" }],
          ["endpoint", { endpoint: "" }],
          ["maxSockets", { maxSockets: 0 }],
          ["connectTimeout", { connectTimeout: 0 }],
          ["requestTimeout", { requestTimeout: -1 }],
          ["credentials", { credentials: { ...credentials, accessKeyId: "" } }],
          ["credentials", { credentials: { ...credentials, accessKeyId: absentText } }],
          ["credentials", { credentials: { ...credentials, secretAccessKey: Redacted.make("") } }],
          ["credentials", { credentials: { ...credentials, secretAccessKey: Redacted.make(absentText) } }],
          [
            "credentials",
            { credentials: { ...credentials, secretAccessKey: "s" as unknown as Redacted.Redacted<string> } }
          ],
          ["credentials", { credentials: { ...credentials, sessionToken: Redacted.make("") } }],
          ["concurrency", { concurrency: 0 }],
          ["retryFor", { retryFor: -1 }]
        ]
        for (const [argument, options] of wrong) {
          const layer = S3.layer({ bucket: "bkt", credentials, endpoint: "http://127.0.0.1:1", ...options })
          const { operation, reason } = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
          assert.deepStrictEqual(
            [operation, reason._tag === "InvalidArgument" && reason.argument],
            ["open", argument],
            JSON.stringify(options)
          )
        }
      })
    )
  })
}
