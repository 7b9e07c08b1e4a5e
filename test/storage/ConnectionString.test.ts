import { execFile } from "node:child_process"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { S3Client, HeadBucketCommand } from "@aws-sdk/client-s3"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as s3Agents from "../../src/storage/internal/s3Agents.ts"
import { clientConfig } from "../../src/storage/internal/s3Sdk.ts"

const parse = ConnectionString.parse

/** What is at fault, and the message. */
const problem = (url: string) =>
  Effect.match(parse(url), {
    onFailure: (error) => ({ option: error.option, message: error.message, json: JSON.stringify(error) }),
    onSuccess: () => assert.fail(`expected a failure for ${url}`)
  })

const s3 = Effect.fnUntraced(function* (url: string) {
  const parsed = yield* parse(url)
  return parsed._tag === "S3" ? parsed.options : assert.fail(parsed._tag)
})

describe("ConnectionString.parse", () => {
  it.effect(
    "T1: an s3 string names the bucket, prefix, credentials and region, and the endpoint follows the region",
    () =>
      Effect.gen(function* () {
        const options = yield* s3("s3://K:S%2F1@b/p/q?region=eu-west-1")
        assert.strictEqual(options.bucket, "b")
        assert.strictEqual(options.prefix, "p/q")
        assert.strictEqual(options.region, "eu-west-1")
        assert.strictEqual(options.endpoint, undefined)
        assert.strictEqual(options.credentials?.accessKeyId, "K")
        assert.strictEqual(Redacted.value(options.credentials!.secretAccessKey), "S/1")
        // The request that the SDK would send goes to the region.
        const client = new S3Client(
          clientConfig(
            options,
            options.region!,
            s3Agents.make(s3Agents.nodeModules()!, 1, () => 0)
          )
        )
        const hosts: Array<string> = []
        client.middlewareStack.add(
          () => (args) => {
            hosts.push(Reflect.get(args.request as object, "hostname"))
            return Promise.reject(new Error("not sent"))
          },
          { step: "deserialize" }
        )
        yield* Effect.exit(Effect.tryPromise(() => client.send(new HeadBucketCommand({ Bucket: options.bucket }))))
        client.destroy()
        // A name of one letter is no host, so it stays in the path.
        assert.deepStrictEqual(hosts, ["s3.eu-west-1.amazonaws.com"])
      })
  )

  it.effect("T2: an http string is a server in path style, its bucket in the path", () =>
    Effect.gen(function* () {
      const options = yield* s3("http://k:s@localhost:9000/bkt/x")
      assert.strictEqual(options.endpoint, "http://localhost:9000")
      assert.strictEqual(options.forcePathStyle, true)
      assert.strictEqual(options.bucket, "bkt")
      assert.strictEqual(options.prefix, "x")
      for (const url of [
        "http://k:s@localhost:9000",
        "http://k:s@localhost:9000/",
        "https://host?region=auto",
        "s3://"
      ]) {
        const { message } = yield* problem(url)
        const scheme = url.slice(0, url.indexOf(":"))
        const host = scheme === "s3" ? "" : "host/"
        assert.strictEqual(
          message,
          `invalid connection string: bucket: a bucket is missing: write ${scheme}://${host}bucket or ${scheme}://${host}bucket/prefix`
        )
      }
      const ipv6 = yield* s3("https://[::1]:9000/b/p/q/")
      assert.deepStrictEqual([ipv6.endpoint, ipv6.prefix], ["https://[::1]:9000", "p/q"])
      assert.strictEqual((yield* s3("https://host/b?forcePathStyle=false")).forcePathStyle, false)
    })
  )

  it.effect("T3: dots in the names of options nest, and each value has the type of its option", () =>
    Effect.gen(function* () {
      const file = yield* parse("file:///d?compression.enabled=true&retries=3&timeout=1.5&concurrency=7")
      assert.deepStrictEqual(file, {
        _tag: "File",
        options: {
          path: "/d",
          prefix: "",
          compression: "gzip",
          retries: 3,
          timeout: Duration.millis(1.5),
          concurrency: 7
        }
      })
      const memory = yield* parse("memory://b/p?profile=r2&maxBytes=100&timeout=2+seconds")
      assert.deepStrictEqual(memory, {
        _tag: "Memory",
        bucket: "b",
        options: { prefix: "p", profile: "r2", maxBytes: 100, timeout: Duration.seconds(2) }
      })
      // What an option does not say of itself is refused by name, never ignored.
      assert.strictEqual((yield* problem("memory://b/p?n=3")).option, "options")
      assert.strictEqual((yield* problem("memory://b/p?compression.enabled=true")).option, "options")
      assert.strictEqual((yield* problem("file:///d?compression.enabled=yes")).option, "compression.enabled")
    })
  )

  it.effect("T4: the whole path of a file string is the folder, and what is no URL is a typed error", () =>
    Effect.gen(function* () {
      const pathOf = Effect.fnUntraced(function* (url: string) {
        const parsed = yield* parse(url)
        return parsed._tag === "File" ? parsed.options.path : assert.fail(parsed._tag)
      })
      assert.strictEqual(yield* pathOf("file:///data/x/y"), "/data/x/y")
      assert.strictEqual(yield* pathOf("file:///data"), "/data")
      assert.strictEqual(yield* pathOf("file://./rel/x"), "./rel/x")
      assert.strictEqual(yield* pathOf("file://../up"), "../up")
      assert.strictEqual(yield* pathOf("file:///with%20space/%C3%A9"), "/with space/\u00e9")
      assert.strictEqual(yield* pathOf("file:///C:/data"), "C:/data")
      const below = yield* parse("file:///data?prefix=/a/b/&durability=none&compression=zstd")
      assert.deepStrictEqual(below, {
        _tag: "File",
        options: { path: "/data", prefix: "a/b", durability: "none", compression: "zstd" }
      })
      const error = yield* Effect.flip(parse("not a url"))
      assert.strictEqual(error._tag, "InvalidConnectionString")
      assert.strictEqual(error.option, "scheme")
      for (const url of ["file://", "file://~/x", "file://server/share", "file://~"]) {
        assert.strictEqual((yield* problem(url)).option, "path")
      }
    })
  )

  it.effect("credentials: the default chain, a session token, and what is incomplete", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* s3("s3://bucket/prefix")).credentials, undefined)
      const session = yield* s3("s3://K:S@b?sessionToken=T%2B%2F%3D")
      assert.strictEqual(Redacted.value(session.credentials!.sessionToken!), "T+/=")
      assert.strictEqual((yield* problem("s3://b?sessionToken=T")).option, "sessionToken")
      for (const user of ["K", "K:", ":S", ""]) {
        assert.strictEqual((yield* problem(`s3://${user}@b`)).option, "credentials")
      }
      const odd = yield* s3("s3://K%40:a%3Ab%40c@b")
      assert.strictEqual(odd.credentials?.accessKeyId, "K@")
      assert.strictEqual(Redacted.value(odd.credentials!.secretAccessKey), "a:b@c")
    })
  )

  it.effect("an s3 string can name another server, and everything else that a bucket needs", () =>
    Effect.gen(function* () {
      const options = yield* s3(
        "s3://K:S@bucket?endpoint=http://localhost:9000/&maxSockets=8&connectTimeout=250&retries=0&retryFor=1 minute&forcePathStyle=true&createBucket=true"
      )
      assert.strictEqual(options.endpoint, "http://localhost:9000")
      assert.strictEqual(options.maxSockets, 8)
      assert.deepStrictEqual(options.connectTimeout, Duration.millis(250))
      assert.strictEqual(options.retries, 0)
      assert.deepStrictEqual(options.retryFor, Duration.minutes(1))
      assert.strictEqual(options.createBucket, true)
      assert.strictEqual(options.forcePathStyle, true)
      assert.strictEqual(options.prefix, "")
    })
  )

  it.effect("options are strict: unknown, ill-typed, repeated or dangerous ones are refused", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, string]> = [
        ["s3://b?regoin=x", "options"],
        ["s3://b?region=", "region"],
        ["s3://b?region=eu west", "region"],
        ["s3://b?maxSockets=0", "maxSockets"],
        ["s3://b?maxSockets=1.5", "maxSockets"],
        ["s3://b?forcePathStyle=yes", "forcePathStyle"],
        ["s3://b?forcePathStyle", "forcePathStyle"],
        ["s3://b?timeout=soon", "timeout"],
        ["s3://b?timeout=-1", "timeout"],
        ["s3://b?timeout=0", "timeout"],
        ["memory://b?timeout=0 seconds", "timeout"],
        ["s3://b?connectTimeout=0", "connectTimeout"],
        ["file:///d?concurrency=0", "concurrency"],
        ["s3://b?retryFor=long", "retryFor"],
        ["s3://b?createBucket=1", "createBucket"],
        ["file:///d?createBucket=true", "options"],
        ["memory://b?maxBytes=0", "maxBytes"],
        ["memory://b?persistPath=", "persistPath"],
        ["s3://b?retries=three", "retries"],
        ["s3://b?endpoint=ftp://x", "endpoint"],
        ["s3://b?endpoint=http://h/path", "endpoint"],
        ["http://h/b?endpoint=http://x", "options"],
        ["s3://b?region=a&region=b", "region"],
        ["file:///d?compression=gzip&compression.enabled=true", "compression.enabled"],
        ["file:///d?compression.enabled=true&compression=gzip", "compression"],
        ["file:///d?durability=maybe", "durability"],
        ["file:///d?compression.level=3", "compression"],
        ["s3://b?compression.enabled=true", "options"],
        ["memory://b?profile=minio", "profile"],
        ["s3://b?__proto__.polluted=1", "__proto__"],
        ["s3://b?constructor.prototype.polluted=1", "constructor"],
        ["s3://b?a.__proto__.polluted=1", "options"],
        ["s3://b?a..b=1", "options"],
        ["s3://b/%zz", "prefix"],
        ["s3://b/p%00q", "prefix"],
        ["s3://b/../other", "prefix"],
        ["s3://b/p/%2e%2e/q", "prefix"],
        ["http://host/b/p/./q", "prefix"],
        ["memory://b/p/..", "prefix"],
        ["file:///data?prefix=../p", "prefix"],
        ["s3://", "bucket"],
        ["s3://b#x", "fragment"],
        ["http://h:99999/b", "host"],
        ["http:///b", "host"],
        ["memory://k:s@b", "credentials"],
        ["ftp://b", "scheme"],
        ["", "scheme"]
      ]
      for (const [url, option] of cases) assert.strictEqual((yield* problem(url)).option, option, url)
      assert.isUndefined(Reflect.get({}, "polluted"))
    })
  )

  it.effect(
    "an option that is misspelt is told with the one that is meant, and credentials that are not encoded with how",
    () =>
      Effect.gen(function* () {
        assert.include((yield* problem("s3://b?regoin=eu")).message, "did you mean region?")
        assert.include((yield* problem("s3://b?hush=eu")).message, "no such option here; there are")
        for (const url of ["s3://k:s/a+b@bucket", "http://k:s/a+b@host/bucket", "http://k:1/a+b@host/bucket"]) {
          assert.match((yield* problem(url)).message, /percent-encoded, as %2F and %40/, url)
        }
        assert.notInclude((yield* problem("http://h:99999/b")).message, "%2F")
      })
  )

  it.effect("what the guide shows can be read", () =>
    Effect.gen(function* () {
      const guide = fs.readFileSync(new URL("../../docs/guide/connecting.md", import.meta.url), "utf8")
      const shown = guide.match(/(?<=`|^)(?:s3|https?|file|memory):\/\/[^`\s.][^`\s]*[^`\s.](?=`|$)/gm) ?? []
      assert.isAtLeast(shown.length, 8)
      for (const url of shown) yield* parse(url)
      const options = yield* s3("s3://KEY:a%2Fb%40c@bucket")
      assert.strictEqual(Redacted.value(options.credentials!.secretAccessKey as Redacted.Redacted<string>), "a/b@c")
    })
  )

  it.effect("a name that no bucket has on AWS is refused, where other stores and old buckets may have it not", () =>
    Effect.gen(function* () {
      const open = (url: string, env: Readonly<Record<string, string>> = {}) =>
        Effect.exit(Layer.build(ConnectionString.layer(url))).pipe(
          Effect.scoped,
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
        )
      const refused = yield* open("s3://k:s@Bad_Bucket?region=eu-west-1")
      assert.include(String(refused), "capitals or _")
      assert.include(String(yield* open("s3://k:s@Bad_Bucket", { AWS_REGION: "sa-east-1" })), "sa-east-1")
      for (const url of [
        "s3://k:s@Bad_Bucket",
        "s3://k:s@good-bucket?region=eu-west-1",
        "s3://k:s@Bad_Bucket?region=us-east-1",
        "s3://k:s@Bad_Bucket?region=eu-west-1&endpoint=http://localhost:1",
        "http://k:s@localhost:1/Bad_Bucket?region=eu-west-1"
      ]) {
        assert.strictEqual((yield* open(url))._tag, "Success", url)
      }
      const elsewhere = { AWS_ENDPOINT_URL: "http://localhost:1" }
      assert.strictEqual((yield* open("s3://k:s@Bad_Bucket?region=eu-west-1", elsewhere))._tag, "Success")
    })
  )

  it.effect("no error shows a secret, a key or the string", () =>
    Effect.gen(function* () {
      const urls = [
        "s3://KEYKEY:hush/hush@bucket/p",
        "s3://KEYKEY:123/hush@bucket/p",
        "s3://KEYKEY:hush?hush=1@bucket/p",
        "s3://KEYKEY:hush%zz@bucket",
        "s3://KEYKEY:hush#hush@bucket",
        "s3://KEYKEY:hush@bucket?region=hush hush",
        "s3://KEYKEY:hush@bucket?sessionToken=hush&sessionToken=hush",
        "s3://KEYKEY:hush@bucket?sessionToken=a&hush=1",
        "s3://KEYKEY:hush@bucket?sessionToken=a&hush",
        "s3://KEYKEY:hush@bucket?sessionToken=a&hush=1&hush=2",
        "s3://KEYKEY:hush@bucket?sessionToken=a&hush.hush=1&hush=2",
        "s3://KEYKEY:hush@bucket?sessionToken.hush=a",
        "http://KEYKEY:hu?hush=1/bucket",
        "file://./d?compression.hush=1",
        "s3://KEYKEY:hush@buc:ket",
        "s3://KEYKEY:hush@bucket?endpoint=http://KEYKEY:hush@h",
        "http://KEYKEY:hush/hush@host:9000/bucket",
        "http://KEYKEY:123/hush@host:9000/bucket",
        "http://KEYKEY:hush@host:hush/bucket",
        "hush://KEYKEY:hush@bucket",
        "KEYKEY:hush@bucket"
      ]
      for (const url of urls) {
        const { json, message } = yield* problem(url)
        assert.notMatch(message, /hush|KEYKEY/, url)
        assert.notMatch(json, /hush|KEYKEY/, url)
      }
      const parsed = yield* parse("s3://KEYKEY:hush@bucket?sessionToken=hush")
      assert.notMatch(JSON.stringify(parsed), /hush/)
      const redacted = yield* parse(Redacted.make("memory://b"))
      assert.strictEqual(redacted._tag, "Memory")
    })
  )
})

const writeAndRead = Effect.gen(function* () {
  const store = yield* ObjectStore
  const counter = yield* RequestCounter
  yield* store.put({ key: "k", body: new Uint8Array([1, 2]) })
  const { body } = yield* store.get("k")
  assert.deepStrictEqual([...body], [1, 2])
  const { get, put } = yield* counter.counts
  assert.deepStrictEqual([put, get], [1, 1])
  return store.location
})

describe("ConnectionString.layer", () => {
  it.effect("memory, below a prefix", () =>
    Effect.gen(function* () {
      const location = yield* writeAndRead.pipe(
        Effect.provide(ConnectionString.layer("memory://b/p?profile=unconditional"))
      )
      assert.strictEqual(location, "memory:unconditional/p")
    })
  )

  it.live("a folder", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "s3db-url-"))),
        (made) => Effect.sync(() => fs.rmSync(made, { recursive: true, force: true }))
      )
      const url = `file://${folder}/x/y?prefix=p&durability=none&compression.enabled=true`
      yield* writeAndRead.pipe(Effect.provide(ConnectionString.layer(url)))
      assert.isTrue(fs.readdirSync(path.join(folder, "x", "y")).length > 0)
    })
  )

  it.effect("S3 is built without a request", () =>
    Effect.gen(function* () {
      const location = Effect.map(ObjectStore, (store) => store.location)
      const on = (url: string) => Effect.provide(location, ConnectionString.layer(url))
      assert.strictEqual(yield* on("s3://K:hush@bucket/p/q?region=eu-west-1"), "s3://bucket/p/q")
      assert.strictEqual(yield* on("http://K:hush@127.0.0.1:9/bucket/p"), "http://127.0.0.1:9/bucket/p")
    })
  )

  it.effect("a wrong string fails the layer", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(ObjectStore, ConnectionString.layer("nonsense")))
      assert.strictEqual(error._tag, "InvalidConnectionString")
    })
  )

  it.effect("from the configuration", () =>
    Effect.gen(function* () {
      const provider = ConfigProvider.fromUnknown({ S3DB_URL: "memory://b/configured" })
      const location = yield* Effect.map(ObjectStore, (store) => store.location).pipe(
        Effect.provide(ConnectionString.layerConfig()),
        Effect.provideService(ConfigProvider.ConfigProvider, provider)
      )
      assert.strictEqual(location, "memory:aws/configured")
    })
  )

  it.live("a memory string loads neither the AWS SDK nor the file store", () =>
    Effect.gen(function* () {
      const script = `
        import { registerHooks } from "node:module"
        const loaded = []
        registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
        const Effect = await import("effect/Effect")
        const { layer, parse } = await import("effect-s3db/storage/ConnectionString")
        const { ObjectStore } = await import("effect-s3db/storage/ObjectStore")
        const beforeParse = loaded.length
        await Effect.runPromise(parse("s3://bucket"))
        await Effect.runPromise(parse("memory://b"))
        const byParse = loaded.slice(beforeParse)
        await Effect.runPromise(Effect.provide(ObjectStore, layer("memory://b")))
        console.log(JSON.stringify({ byParse, loaded }))`
      const run = promisify(execFile)
      const { stdout } = yield* Effect.promise(() =>
        run(process.execPath, ["--conditions=effect-s3db-source", "--input-type=module", "-e", script])
      )
      const { byParse, loaded } = JSON.parse(stdout) as { byParse: Array<string>; loaded: Array<string> }
      assert.deepStrictEqual(byParse, [])
      assert.isTrue(loaded.some((url) => url.endsWith("/MemoryStore.ts")))
      assert.deepStrictEqual(
        loaded.filter((url) => /aws-sdk|smithy|FileStore|S3Store|^node:fs/.test(url)),
        []
      )
    })
  )
})
