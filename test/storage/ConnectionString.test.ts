import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

const parsed = (text: string) => ConnectionString.parse(text)
const problem = (text: string) => Effect.map(Effect.flip(parsed(text)), (error) => error.message)

describe("ConnectionString", () => {
  it.effect("T1: s3 with credentials, prefix and region", () =>
    Effect.gen(function* () {
      const { store, options } = yield* parsed("s3://K:S%2F1@b/p/q?region=eu-west-1")
      assert.strictEqual(store, "s3")
      if (!("bucket" in options)) return assert.fail("expected the options of S3")
      assert.strictEqual(options.bucket, "b")
      assert.strictEqual(options.prefix, "p/q")
      assert.strictEqual(options.region, "eu-west-1")
      // The SDK derives the endpoint from the region.
      assert.isUndefined(options.endpoint)
      assert.strictEqual(options.credentials?.accessKeyId, "K")
      assert.strictEqual(Redacted.value(options.credentials!.secretAccessKey), "S/1")
      assert.notInclude(JSON.stringify(options), "S/1")
    })
  )

  it.effect("T2: an endpoint, the bucket in the path", () =>
    Effect.gen(function* () {
      const { options } = yield* parsed("http://k:s@localhost:9000/bkt/x")
      if (!("bucket" in options)) return assert.fail("expected the options of S3")
      assert.deepInclude(options, { bucket: "bkt", endpoint: "http://localhost:9000", prefix: "x" })
      const { options: bare } = yield* parsed("https://k:s@localhost:9000")
      assert.deepInclude(bare, { bucket: "s3db" })
      assert.isUndefined(bare.prefix)
    })
  )

  it.effect("T3: options are typed, dotted ones too", () =>
    Effect.gen(function* () {
      const { options } = yield* parsed("file:///d?compression.enabled=true&retries=3&timeout=1500&prefix=p")
      assert.deepInclude(options, { path: "/d", compression: "gzip", retries: 3, timeout: 1500, prefix: "p" })
      const memory = yield* parsed("memory://b/p/q?profile=rgw&concurrency=4")
      assert.deepStrictEqual(memory, { store: "memory", options: { profile: "rgw", concurrency: 4, prefix: "p/q" } })
    })
  )

  it.effect("T4: a folder is the whole path, and what is no URL is an error", () =>
    Effect.gen(function* () {
      assert.deepInclude((yield* parsed("file:///data/x/y")).options, { path: "/data/x/y" })
      assert.deepInclude((yield* parsed("file://./rel/a%20b")).options, { path: "./rel/a b" })
      assert.include(yield* problem("not a url"), "no URL")
    })
  )

  it.effect("what is unknown, ill-typed or doubled is named, and no secret is told", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, string]> = [
        ["s3://K:topsecret@b?regoin=x", "regoin"],
        ["s3://K:topsecret@b?maxSockets=many", "maxSockets"],
        ["s3://K:topsecret@b?forcePathStyle=yes", "forcePathStyle"],
        ["s3://K:topsecret@b?region=a&region=b", "region"],
        ["s3://K:topsecret@b?__proto__.x=1", "__proto__.x"],
        ["s3://K:topsecret@b?__proto__=1", "__proto__"],
        ["s3://K:topsecret@b?constructor=1", "constructor"],
        ["s3://K@b?x=topsecret", "x"],
        ["s3://K@b", "secret"],
        ["s3://b?sessionToken=topsecret", "sessionToken"],
        ["s3://K:topsecret%ZZ@b", "secret"],
        ["s3://K:topsecret@b#frag", "%23"],
        ["http://K:topsecret@host/b?endpoint=http://x", "endpoint"],
        ["file:///d?durability=maybe", "durability"],
        ["file://folder", "file:///folder"],
        ["file://", "folder"],
        ["memory://b?retries=-1", "retries"],
        ["ftp://K:topsecret@b", "ftp"]
      ]
      for (const [text, named] of cases) {
        const message = yield* problem(text)
        assert.include(message, named, text)
        assert.notInclude(message, "topsecret", text)
      }
      assert.isUndefined(({} as Record<string, unknown>)["x"])
    })
  )

  it.live("opens the store that it names", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "effect-s3db-url-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const write = Effect.gen(function* () {
        const store = yield* ObjectStore
        yield* store.put({ key: "k", metadata: { a: "1" } })
        return [store.location, (yield* store.head("k")).metadata["a"]]
      })
      assert.deepStrictEqual(yield* Effect.provide(write, ConnectionString.layer("memory://m/p")), [
        "memory:aws/p",
        "1"
      ])
      const url = `file://${folder}?prefix=x`
      assert.deepStrictEqual(yield* Effect.provide(write, ConnectionString.layer(Redacted.make(url))), [
        `file:${folder}/x`,
        "1"
      ])
      const s3 = yield* Effect.provide(
        Effect.map(ObjectStore, (store) => store.location),
        ConnectionString.layer("http://k:s@127.0.0.1:1/bucket/p")
      )
      assert.strictEqual(s3, "http://127.0.0.1:1/bucket/p")
      const environment = ConfigProvider.layer(ConfigProvider.fromUnknown({ S3DB_URL: "memory://c" }))
      const configured = Effect.provide(write, ConnectionString.layerConfig().pipe(Layer.provide(environment)))
      assert.deepStrictEqual(yield* configured, ["memory:aws", "1"])
    })
  )
})
