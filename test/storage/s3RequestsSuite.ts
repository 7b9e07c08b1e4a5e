import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import { fullCapabilities, ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { Options } from "effect-s3db/storage/S3Store"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { type Answer, client, document, error, object, reply, serve } from "./s3Server.ts"
import type { S3Tested } from "./s3Stores.ts"

/** Registers the tests of what a store sends, and of what it makes of answers. */
export const requestsSuite = (S3: S3Tested): void => {
  const text = (value: string) => new TextEncoder().encode(value)
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

  const failureOf = (effect: Effect.Effect<unknown, StoreError>) =>
    Effect.map(Effect.flip(effect), ({ reason }) => reason)

  const tagOf = (effect: Effect.Effect<unknown, StoreError>) => Effect.map(failureOf(effect), ({ _tag }) => _tag)

  const stored = reply(200, { etag: '"e1"' })

  /** Deletes what it is asked to, except for two keys. */
  const deletesMost: Answer = (response, request) => {
    const failing = new Map([
      ["k3", "AccessDenied"],
      ["k1500", "InternalError"]
    ])
    const outcomes = [...request.body.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key = ""]) =>
      failing.has(key)
        ? `<Error><Key>${key}</Key><Code>${failing.get(key)}</Code></Error>`
        : `<Deleted><Key>${key}</Key></Deleted>`
    )
    document(`<DeleteResult>${outcomes.join("")}</DeleteResult>`)(response, request)
  }

  describe(`${S3.name}: what is sent`, () => {
    it.live("a put with everything", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(stored)
        const store = yield* S3.make(options)
        const { etag } = yield* store.put({
          key: "a b/\u00e9+",
          body: text("body"),
          metadata: { MiXed: "a  b" },
          contentType: "text/plain",
          contentEncoding: "gzip",
          ifMatch: "e0"
        })
        assert.strictEqual(etag, "e1")
        const [put] = seen
        assert.strictEqual(put!.method, "PUT")
        assert.strictEqual(put!.path.split("?")[0], "/bkt/a%20b/%C3%A9%2B")
        assert.strictEqual(put!.body, "body")
        assert.strictEqual(put!.headers["if-match"], '"e0"')
        assert.strictEqual(put!.headers["x-amz-meta-mixed"], "a  b")
        assert.strictEqual(put!.headers["content-type"], "text/plain")
        assert.strictEqual(put!.headers["content-encoding"], "gzip")
        assert.strictEqual(put!.headers["content-length"], "4")
        const checksums = Object.keys(put!.headers).filter((name) => /checksum|trailer|^expect$/.test(name))
        assert.deepStrictEqual(checksums, [])
      })
    )

    it.live("no condition unless there is one, and the content type that the port promises", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(stored)
        const store = yield* S3.make(options)
        yield* store.put({ key: "k" })
        yield* store.put({ key: "k", ifNoneMatch: "*" })
        assert.deepStrictEqual(
          seen.map(({ headers }) => [headers["if-match"], headers["if-none-match"], headers["content-type"]]),
          [
            [undefined, undefined, "application/octet-stream"],
            [undefined, "*", "application/octet-stream"]
          ]
        )
        assert.strictEqual(seen[0]!.headers["content-length"], "0")
      })
    )

    it.live("conditions are written in the form that was adopted, everywhere", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(
          stored,
          reply(200, { etag: '"abc-2"' }, "x"),
          reply(204),
          document('<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>')
        )
        const store = yield* S3.make(options)
        yield* store.adopt({ ...fullCapabilities, etagForm: "unquoted" })
        yield* store.put({ key: "k", ifMatch: "abc-2" })
        yield* store.get("k", { ifMatch: "abc-2" })
        yield* store.delete("k", { ifMatch: "abc-2" })
        const { etag } = yield* store.copy({ from: "k", to: "l", ifSourceMatch: "abc-2" })
        assert.strictEqual(etag, "e2")
        const conditions = seen.map(({ headers }) => headers["if-match"] ?? headers["x-amz-copy-source-if-match"])
        assert.deepStrictEqual(conditions, ["abc-2", "abc-2", "abc-2", "abc-2"])
        yield* store.adopt({ ...fullCapabilities, etagForm: "quoted" })
        yield* store.copy({ from: "k", to: "l", ifSourceMatch: "abc-2" })
        assert.strictEqual(seen[4]!.headers["x-amz-copy-source-if-match"], '"abc-2"')
      })
    )

    it.live("the source of a copy is encoded segment by segment", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(document('<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>'))
        const store = yield* S3.make(options)
        yield* store.copy({ from: "a b/c+d%/\u00e9?x#y", to: "t" })
        yield* store.copy({ from: "s", to: "t", metadata: { N: "1" }, contentType: "text/html" })
        const [plain, replaced] = seen.map(({ headers }) => headers)
        assert.strictEqual(plain!["x-amz-copy-source"], "bkt/a%20b/c%2Bd%25/%C3%A9%3Fx%23y")
        assert.strictEqual(plain!["x-amz-metadata-directive"], "COPY")
        assert.strictEqual(replaced!["x-amz-metadata-directive"], "REPLACE")
        assert.strictEqual(replaced!["x-amz-meta-n"], "1")
        assert.strictEqual(replaced!["content-type"], "text/html")
      })
    )

    it.live("what breaks a rule is refused without a request", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(stored)
        const store = yield* S3.make(options)
        const cases: ReadonlyArray<readonly [Effect.Effect<unknown, StoreError>, string]> = [
          [store.put({ key: "" }), "InvalidArgument"],
          [store.put({ key: "a\ud800" }), "InvalidArgument"],
          [store.put({ key: "k".repeat(1025) }), "KeyTooLong"],
          [store.get("\u00e9".repeat(513)), "KeyTooLong"],
          [store.head(""), "InvalidArgument"],
          [store.delete(""), "InvalidArgument"],
          [store.put({ key: "k", metadata: { m: "\u00e9" } }), "InvalidArgument"],
          [store.put({ key: "k", metadata: { m: " x" } }), "InvalidArgument"],
          [store.put({ key: "k", metadata: { m: "a\r\nx-evil: 1" } }), "InvalidArgument"],
          [store.put({ key: "k", metadata: { a: "1", A: "2" } }), "InvalidArgument"],
          [store.put({ key: "k", metadata: { m: "x".repeat(2048) } }), "MetadataTooLarge"],
          [store.copy({ from: "a", to: "b", metadata: { m: "x".repeat(2048) } }), "MetadataTooLarge"],
          [store.put({ key: "k", contentType: "a\r\nb" }), "InvalidArgument"],
          [store.put({ key: "k", contentType: "" }), "InvalidArgument"],
          [store.put({ key: "k", ifMatch: "e", ifNoneMatch: "*" }), "InvalidArgument"],
          // These would be sent as no condition at all, or as one that any object meets.
          [store.put({ key: "k", ifMatch: "" }), "InvalidArgument"],
          [store.put({ key: "k", ifMatch: "*" }), "InvalidArgument"],
          [store.delete("k", { ifMatch: "" }), "InvalidArgument"],
          [store.get("k", { ifMatch: 'a", "b' }), "InvalidArgument"],
          [store.copy({ from: "a", to: "b", ifSourceMatch: "" }), "InvalidArgument"],
          [store.get("k", { range: { start: 2, end: 1 } }), "InvalidArgument"],
          [store.list({ maxKeys: 1001 }), "InvalidArgument"],
          [store.list({ token: "garbage" }), "InvalidArgument"],
          [store.list({ prefix: "\ud800" }), "InvalidArgument"]
        ]
        for (const [request, tag] of cases) assert.strictEqual(yield* tagOf(request), tag)
        assert.strictEqual(seen.length, 0)
        // 2,048 bytes, name included, are taken.
        yield* store.put({ key: "k", metadata: { m: "x".repeat(2047) } })
        assert.strictEqual(seen.length, 1)
      })
    )
  })

  describe(`${S3.name}: what is read`, () => {
    it.live("an object and a range of it", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(
          object("0123456789", { "x-amz-meta-m": "v", "content-type": "text/plain", etag: 'W/"e9"' }),
          reply(206, { etag: '"e9"', "content-range": "bytes 2-4/10", "content-length": 3 }, "234"),
          object("0123456789"),
          object("0123456789")
        )
        const store = yield* S3.make(options)
        const whole = yield* store.get("k")
        assert.deepStrictEqual(
          { ...whole, body: read(whole.body) },
          {
            key: "k",
            etag: "e9",
            size: 10,
            metadata: { m: "v" },
            contentType: "text/plain",
            contentEncoding: undefined,
            lastModified: 1_445_412_480_000,
            body: "0123456789"
          }
        )
        const part = yield* store.get("k", { range: { start: 2, end: 4 } })
        assert.deepStrictEqual([read(part.body), part.size], ["234", 10])
        assert.strictEqual(seen[1]!.headers["range"], "bytes=2-4")
        // A server that knows no ranges sends everything.
        const cut = yield* store.get("k", { range: { start: 8 } })
        assert.deepStrictEqual([read(cut.body), cut.size], ["89", 10])
        assert.strictEqual(seen[2]!.headers["range"], "bytes=8-")
        assert.strictEqual(yield* tagOf(store.get("k", { range: { start: 10 } })), "InvalidRange")
      })
    )

    it.live("a page of a listing: encoded keys, a token bound to what was listed", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(
          document(`<ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>
          <NextContinuationToken>here+&amp;there</NextContinuationToken>
          <Contents><Key>p/a+b%2Bc%0A%3C</Key><ETag>&quot;e1&quot;</ETag><Size>7</Size>
            <LastModified>2015-10-21T07:28:00.000Z</LastModified></Contents>
          <CommonPrefixes><Prefix>p/x%20y/</Prefix></CommonPrefixes></ListBucketResult>`),
          document(`<ListBucketResult><IsTruncated>false</IsTruncated>
          <Contents><Key>p/a+b%2Bc</Key></Contents></ListBucketResult>`),
          document("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
          document(
            "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></ListBucketResult>"
          )
        )
        const store = yield* S3.make(options)
        const page = yield* store.list({ prefix: "p/", delimiter: "/", startAfter: "p/A +", maxKeys: 2 })
        assert.deepStrictEqual(page.entries, [
          { key: "p/a b+c\n<", etag: "e1", size: 7, lastModified: 1_445_412_480_000 }
        ])
        assert.deepStrictEqual(page.commonPrefixes, ["p/x y/"])
        const first = new URL(seen[0]!.path, options.endpoint).searchParams
        assert.deepStrictEqual(
          ["list-type", "prefix", "delimiter", "start-after", "max-keys", "encoding-type"].map((name) =>
            first.get(name)
          ),
          ["2", "p/", "/", "p/A +", "2", "url"]
        )
        const token = page.nextToken
        for (const foreign of [{ prefix: "q/", delimiter: "/" }, { prefix: "p/" }, {}]) {
          assert.strictEqual(yield* tagOf(store.list({ ...foreign, token })), "InvalidArgument")
        }
        assert.strictEqual(seen.length, 1)
        // Without EncodingType in the answer keys are what they are.
        const second = yield* store.list({ prefix: "p/", delimiter: "/", startAfter: "p/A +", token })
        assert.deepStrictEqual(second.entries[0]?.key, "p/a+b%2Bc")
        assert.isUndefined(second.nextToken)
        const query = new URL(seen[1]!.path, options.endpoint).searchParams
        assert.deepStrictEqual([query.get("continuation-token"), query.get("start-after")], ["here+&there", null])
        // No listing may end early in silence, and no key be wrong.
        assert.strictEqual(yield* tagOf(store.list()), "Unexpected")
        assert.strictEqual(yield* tagOf(store.list()), "Unexpected")
      })
    )

    it.live("deleteMany: 1,000 keys at a time, each key with its own outcome", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(deletesMost)
        const store = yield* S3.make(options)
        const keys = Array.from({ length: 2001 }, (_, i) => `k${i}`)
        const { deleted, failed } = yield* store.deleteMany([...keys, "", "k0", "x".repeat(1025)])
        assert.deepStrictEqual(seen.map(({ body }) => body.match(/<Object>/g)?.length ?? 0).toSorted(), [1, 1000, 1000])
        assert.isTrue(seen.every(({ body }) => body.includes("<Quiet>false</Quiet>")))
        assert.deepStrictEqual(deleted, [...keys.filter((key) => key !== "k3" && key !== "k1500"), "k0"])
        assert.deepStrictEqual(
          failed.map(({ key, reason }) => [key.length > 9 ? "long" : key, reason._tag]),
          [
            ["k3", "AccessDenied"],
            ["k1500", "Unavailable"],
            ["", "InvalidArgument"],
            ["long", "KeyTooLong"]
          ]
        )
        const nothing = yield* store.deleteMany([])
        assert.deepStrictEqual(nothing, { deleted: [], failed: [] })
        assert.strictEqual(seen.length, 3)
      })
    )

    it.live("deleteMany: a part that fails, everything that fails, and keys that XML cannot hold", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(
          error(503, "SlowDown"),
          deletesMost,
          error(403, "AccessDenied"),
          reply(204)
        )
        const store = yield* S3.make(options)
        const { deleted, failed } = yield* store.deleteMany(Array.from({ length: 1001 }, (_, i) => `k${i}`))
        assert.strictEqual(deleted.length + failed.length, 1001)
        assert.isTrue([1, 1000].includes(failed.length))
        assert.strictEqual(failed[0]?.reason._tag, "Throttled")
        assert.strictEqual(yield* tagOf(store.deleteMany(["a", "b"])), "AccessDenied")
        const odd = yield* store.deleteMany(["bell\u0007"])
        assert.deepStrictEqual(odd.deleted, ["bell\u0007"])
        assert.deepStrictEqual([seen[3]?.method, seen[3]?.path.split("?")[0]], ["DELETE", "/bkt/bell%07"])
      })
    )

    it.live("deleteMany: a failure of a key that was not asked for could be any of them", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(
          document("<DeleteResult><Error><Key>mangled</Key><Code>InternalError</Code></Error></DeleteResult>"),
          document(
            "<DeleteResult><Error><Key>a</Key><Code>NoSuchKey</Code></Error><Deleted><Key>b</Key></Deleted></DeleteResult>"
          )
        )
        const store = yield* S3.make(options)
        assert.deepStrictEqual((yield* store.deleteMany(["a", "b"])).deleted, [])
        assert.deepStrictEqual((yield* store.deleteMany(["a", "b"])).deleted, ["a", "b"])
      })
    )

    it.live("deleting what is not there succeeds also where a server says 404", () =>
      Effect.gen(function* () {
        const { options } = yield* serve(error(404, "NoSuchKey"), error(404, "NoSuchBucket"), error(404, "NoSuchKey"))
        const store = yield* S3.make(options)
        yield* store.delete("k")
        assert.strictEqual(yield* tagOf(store.delete("k")), "NoSuchBucket")
        assert.strictEqual(yield* tagOf(store.delete("k", { ifMatch: "e" })), "NoSuchKey")
      })
    )
  })

  describe(`${S3.name}: options and layers`, () => {
    it.live("wrong options are refused, and named", () =>
      Effect.gen(function* () {
        const cases: ReadonlyArray<readonly [Partial<Options>, string]> = [
          [{ bucket: "" }, "bucket"],
          [{ bucket: "a/b" }, "bucket"],
          [{ endpoint: "nowhere" }, "endpoint"],
          [{ endpoint: "ftp://x" }, "endpoint"],
          [{ endpoint: "http://KEY:hush@x" }, "endpoint"],
          [{ endpoint: "http://x?y=z" }, "endpoint"],
          [{ maxSockets: 0 }, "maxSockets"]
        ]
        for (const [options, argument] of cases) {
          const failed = yield* Effect.flip(S3.make({ ...client, ...options }))
          assert.strictEqual(failed.reason._tag, "InvalidArgument")
          assert.strictEqual("argument" in failed.reason && failed.reason.argument, argument)
          assert.notInclude(failed.message, "hush")
        }
      })
    )

    it.live("the region: given, from AWS_REGION, or us-east-1", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(stored)
        const regionWith = (env: Record<string, string>, region?: string) =>
          Effect.gen(function* () {
            const store = yield* S3.make({ ...options, region })
            yield* store.put({ key: "k" })
            return /\d{8}\/([^/]+)\/s3/.exec(seen.at(-1)!.headers.authorization!)![1]
          }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env)))
        assert.strictEqual(yield* regionWith({ AWS_REGION: "eu-north-1" }, "ap-south-1"), "ap-south-1")
        assert.strictEqual(yield* regionWith({ AWS_REGION: "eu-north-1" }), "eu-north-1")
        assert.strictEqual(yield* regionWith({}), "us-east-1")
      })
    )

    it.live("the layer retries, counts and keeps to its prefix; layerConfig reads its options", () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(reply(503), stored)
        const program = Effect.gen(function* () {
          const store = yield* ObjectStore
          yield* store.put({ key: "k", ifNoneMatch: "*" })
          const { put } = yield* Effect.flatMap(RequestCounter, ({ counts }) => counts)
          return { put, location: store.location }
        })
        const first = yield* Effect.provide(program, S3.layer({ ...options, prefix: "p", baseDelay: "1 millis" }))
        assert.deepStrictEqual(first, { put: 2, location: `${options.endpoint}/bkt/p` })
        assert.strictEqual(seen[1]!.path.split("?")[0], "/bkt/p/k")
        const provider = ConfigProvider.fromUnknown({ BUCKET: "other", SECRET: "hush", SOCKETS: "3" })
        const second = yield* program.pipe(
          Effect.provide(
            S3.layerConfig({
              bucket: Config.String("BUCKET"),
              endpoint: Config.succeed(options.endpoint),
              maxSockets: Config.Int("SOCKETS"),
              credentials: { accessKeyId: Config.succeed("K"), secretAccessKey: Config.Redacted("SECRET") }
            })
          ),
          Effect.provideService(ConfigProvider.ConfigProvider, provider)
        )
        assert.deepStrictEqual(second, { put: 1, location: `${options.endpoint}/other` })
      })
    )
  })
}
