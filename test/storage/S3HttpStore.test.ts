import { createHash, createHmac } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { HeadObjectCommand, S3Client } from "@aws-sdk/client-s3"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as ConnectionString from "effect-s3db/storage/ConnectionString"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as s3Options from "../../src/storage/internal/s3Options.ts"
import { isRegion, placeOf } from "../../src/storage/internal/s3Place.ts"
import { opened } from "./s3Environment.ts"
import { type Answer, client, document, error, object, reply, type Seen, serve } from "./s3Server.ts"
import { settled, until } from "../waiting.ts"

const text = (value: string) => new TextEncoder().encode(value)

const failureOf = (effect: Effect.Effect<unknown, StoreError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const stored = reply(200, { etag: '"e1"' })

const sha256 = (data: string) => createHash("sha256").update(data).digest("hex")

/** The signature that a request must have, computed as the documentation has it from what has arrived. */
const signatureFor = ({ headers, method, path }: Seen, secret: string): string => {
  const authorization = headers.authorization!
  const [, scope, names] = /^AWS4-HMAC-SHA256 Credential=[^/]+\/(\S+), SignedHeaders=(\S+), Signature=/.exec(
    authorization
  )!
  const [day, region, service] = scope!.split("/")
  const [to, query = ""] = path.split("?")
  const values = names!
    .split(";")
    .map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, " ")}\n`)
    .join("")
  const parameters = query.split("&").toSorted().join("&")
  const canonical = `${method}\n${to}\n${parameters}\n${values}\n${names}\n${String(headers["x-amz-content-sha256"])}`
  const key = [day, region, service, "aws4_request"].reduce<Buffer>(
    (key, part) => createHmac("sha256", key).update(part!).digest(),
    Buffer.from(`AWS4${secret}`)
  )
  return createHmac("sha256", key)
    .update(`AWS4-HMAC-SHA256\n${String(headers["x-amz-date"])}\n${scope}\n${sha256(canonical)}`)
    .digest("hex")
}

const assertSigned = (seen: ReadonlyArray<Seen>) => {
  for (const request of seen) {
    const { authorization = "", ...others } = request.headers
    assert.match(authorization, new RegExp(`, Signature=${signatureFor(request, "hush-hush")}$`))
    const signed = /SignedHeaders=(\S+),/.exec(authorization)![1]!.split(";")
    // What says what is to be done is signed, whatever the service asks for.
    const unsigned = Object.keys(others).filter((name) => !signed.includes(name))
    assert.deepStrictEqual(
      unsigned.filter(
        (name) => !/^(connection|content-length|accept.*|cache-control|pragma|user-agent|sec-fetch-mode)$/.test(name)
      ),
      []
    )
  }
}

const everything: Answer = (response, request) => {
  if (request.method === "POST") {
    const keys = [...request.body.matchAll(/<Key>([^]*?)<\/Key>/g)].map(
      ([, key]) => `<Deleted><Key>${key}</Key></Deleted>`
    )
    document(`<DeleteResult>${keys.join("")}</DeleteResult>`)(response, request)
  } else if (request.headers["x-amz-copy-source"] !== undefined) {
    document("<CopyObjectResult><ETag>&quot;e2&quot;</ETag></CopyObjectResult>")(response, request)
  } else if (request.path.includes("list-type=2")) {
    document("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")(response, request)
  } else if (request.method === "GET") object("x")(response, request)
  else stored(response, request)
}

describe("S3HttpStore: signatures", () => {
  for (const transport of ["node", "undici", "fetch"] as const) {
    it.live(`every request is signed, with all that it says: ${transport}`, () =>
      Effect.gen(function* () {
        const { options, seen } = yield* serve(everything)
        const credentials = { ...options.credentials, sessionToken: Redacted.make("to/ken+=") }
        for (const more of [{}, { credentials }, { payload: "unsigned" }, { region: "eu-west-1" }] as const) {
          const store = yield* S3HttpStore.make({ ...options, ...more, transport })
          for (const key of ["k", "a b/\u00e9+*'()!~_.-", "%2F&=?#", "//", "\u{1f600}", "a//b", "\t\n"]) {
            yield* store.put({ key, body: text("body \u00e9"), metadata: { A: "1", "a-b": "x  y   z", "a!": "~" } })
            yield* store.put({ key, ifMatch: "e", contentEncoding: "x,  y" })
            yield* store.get(key, { range: { start: 0 }, ifMatch: "e1" })
            yield* store.head(key)
            yield* store.delete(key, { ifMatch: "e" })
            yield* store.copy({ from: key, to: `${key}2`, metadata: { m: "1" }, ifSourceMatch: "e" })
            yield* store.deleteMany([key, "<&>"])
            yield* store.list({ prefix: "", delimiter: "/" })
            yield* store.list({ prefix: key, startAfter: `${key}~`, maxKeys: 3 }).pipe(Effect.ignore)
          }
        }
        assert.isAbove(seen.length, 200)
        assertSigned(seen)
        const bodies = seen.filter(({ body, method }) => method === "PUT" && body !== "")
        const hashes = new Set(bodies.map(({ headers }) => headers["x-amz-content-sha256"]))
        assert.deepStrictEqual(hashes, new Set([sha256("body \u00e9"), "UNSIGNED-PAYLOAD"]))
        const tokens = seen.filter(({ headers }) => headers["x-amz-security-token"] === "to/ken+=")
        assert.strictEqual(tokens.length, seen.length / 4)
      })
    )
  }

  it.live("the body of a deletion of many is vouched for", () =>
    Effect.gen(function* () {
      const { options, seen } = yield* serve(everything)
      yield* (yield* S3HttpStore.make(options)).deleteMany(["k"])
      const digest = createHash("sha256").update(seen[0]!.body).digest("base64")
      assert.strictEqual(seen[0]!.headers["x-amz-checksum-sha256"], digest)
    })
  )
})

describe("S3HttpStore: where the bucket is", () => {
  it.effect("the SDK would look for it at the same place", () =>
    Effect.promise(async () => {
      const places = [
        { bucket: "bkt", region: "us-east-1" },
        { bucket: "bkt", region: "eu-central-1" },
        { bucket: "bkt", region: "cn-north-1" },
        { bucket: "bkt", region: "us-gov-west-1" },
        { bucket: "bkt", region: "us-iso-east-1" },
        { bucket: "bkt", region: "us-isob-east-1" },
        { bucket: "with.dots", region: "eu-west-1" },
        { bucket: "Capital_s", region: "eu-west-1" },
        { bucket: "bkt", region: "eu-west-1", forcePathStyle: true },
        { bucket: "bkt", region: "eu-west-1", endpoint: "http://host:9000" },
        { bucket: "bkt", region: "eu-west-1", endpoint: "https://host", forcePathStyle: false },
        { bucket: "bkt", region: "eu-west-1", endpoint: "http://host:9000/base/", forcePathStyle: true },
        { bucket: "bkt", region: "eu-west-1", endpoint: "http://127.0.0.1:9000", forcePathStyle: false },
        { bucket: "bkt", region: "eu-west-1", endpoint: "http://localhost:9000", forcePathStyle: false },
        { bucket: "with.dots", region: "eu-west-1", endpoint: "http://host", forcePathStyle: false },
        { bucket: "with.dots", region: "eu-west-1", endpoint: "https://host", forcePathStyle: false },
        { bucket: "Capital", region: "eu-west-1", endpoint: "http://host", forcePathStyle: false },
        { bucket: "bkt", region: "eu-west-1", isDualStack: true },
        { bucket: "bkt", region: "us-east-1", isFips: true },
        { bucket: "bkt", region: "us-gov-west-1", isFips: true, isDualStack: true },
        { bucket: "with.dots", region: "us-east-1", isFips: true, isDualStack: true },
        { bucket: "bkt", region: "cn-north-1", isDualStack: true }
      ]
      for (const { region, ...options } of places) {
        const { endpoint, forcePathStyle = endpoint !== undefined, isDualStack = false, isFips = false } = options
        const sdk = new S3Client({
          region,
          forcePathStyle,
          useDualstackEndpoint: isDualStack,
          useFipsEndpoint: isFips,
          credentials: { accessKeyId: "k", secretAccessKey: "s" },
          ...(endpoint === undefined ? {} : { endpoint })
        })
        let theirs: unknown
        sdk.middlewareStack.add(
          () => (args) => {
            const { hostname, path, port, protocol } = args.request as Readonly<Record<string, unknown>>
            theirs = { hostname, path, port, protocol }
            return Promise.reject(new Error("seen"))
          },
          { step: "finalizeRequest", priority: "low" }
        )
        await sdk.send(new HeadObjectCommand({ Bucket: options.bucket, Key: "k" })).catch(() => undefined)
        const { origin, path } = placeOf(options, region)
        const { port } = new URL(`${origin.protocol}//${origin.host}`)
        const ours = {
          hostname: origin.hostname,
          path: `${path}k`,
          port: port === "" ? undefined : Number(port),
          protocol: origin.protocol
        }
        assert.deepStrictEqual(ours, theirs, JSON.stringify({ ...options, region }))
      }
      assert.strictEqual(placeOf({ bucket: "b", endpoint: "http://[::1]:9000" }, "r").origin.hostname, "::1")
    })
  )

  it.live("a bucket in another region is found there, and every later request goes there at once", () =>
    Effect.gen(function* () {
      const answers: ReadonlyArray<Answer> = [
        error(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-1" }),
        reply(400, { "x-amz-bucket-region": "eu-west-1" }),
        error(400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-1</Region>")
      ]
      for (const answer of answers) {
        const { options, seen } = yield* serve((response: ServerResponse, request: Seen) =>
          (request.headers.authorization!.includes("/eu-west-1/") ? stored : answer)(response, request)
        )
        const store = yield* S3HttpStore.make({ ...options, region: "us-west-2" })
        yield* store.put({ key: "a", body: text("a") })
        yield* store.put({ key: "b" })
        assert.deepStrictEqual(
          seen.map(({ body, path }) => `${path} ${body}`),
          ["/bkt/a a", "/bkt/a a", "/bkt/b "]
        )
        assertSigned(seen)
      }
    })
  )

  it.live("a server that sends us in circles, or to where no region can be, is not followed", () =>
    Effect.gen(function* () {
      const circle = yield* serve((response: ServerResponse, request: Seen) => {
        const region = request.headers.authorization!.includes("/eu-west-1/") ? "us-west-2" : "eu-west-1"
        reply(301, { "x-amz-bucket-region": region })(response, request)
      })
      const lost = yield* failureOf((yield* S3HttpStore.make(circle.options)).get("k"))
      assert.strictEqual("argument" in lost && lost.argument, "region")
      assert.strictEqual(circle.seen.length, 3)
      const evil = yield* serve(reply(301, { "x-amz-bucket-region": "evil.example/" }))
      yield* failureOf((yield* S3HttpStore.make(evil.options)).get("k"))
      assert.strictEqual(evil.seen.length, 1)
      for (const wrong of ["", "a.b", "a/b", "-a", "A", "a".repeat(65), "a@b"]) assert.isFalse(isRegion(wrong), wrong)
      for (const right of ["us-east-1", "garage", "auto", "a"]) assert.isTrue(isRegion(right), right)
    })
  )

  it.effect("what it does not speak to is refused before anything is sent", () =>
    Effect.gen(function* () {
      const arn = "arn:aws:s3:us-east-1:123456789012:accesspoint:mine"
      for (const bucket of [arn, "bkt--use1-az4--x-s3"]) {
        const reason = yield* failureOf(Effect.scoped(S3HttpStore.make({ bucket })))
        assert.strictEqual(reason._tag, "Unsupported")
        assert.include(reason.description, "take S3Store")
      }
      for (const [argument, wrong] of Object.entries({ transport: "pigeon", payload: "none" })) {
        const options = { ...client, [argument]: wrong } as S3HttpStore.Options
        const reason = yield* failureOf(Effect.scoped(S3HttpStore.make(options)))
        assert.strictEqual("argument" in reason && reason.argument, argument)
      }
    })
  )

  it.live("is what a connection string opens, unless it names the SDK", () =>
    Effect.gen(function* () {
      const { endpoint, seen } = yield* serve(stored)
      const url = (query: string) => `${endpoint.replace("http://", "http://K:S@")}/bkt/p${query}`
      for (const [query, isOurs] of [
        ["?client=http", true],
        ["?client=http&transport=undici", true],
        ["?client=sdk", false],
        ["", true],
        ["?transport=fetch", true]
      ] as const) {
        yield* Effect.flatMap(ObjectStore, (store) => store.put({ key: "k" })).pipe(
          Effect.provide(ConnectionString.layer(url(query)))
        )
        const agent = String(seen.at(-1)!.headers["user-agent"])
        assert.strictEqual(agent.includes("aws-sdk"), !isOurs, query)
      }
      const wrong = { client: "?client=curl", transport: "?client=sdk&transport=fetch" }
      for (const [option, query] of Object.entries(wrong)) {
        const strings = [url(query), `s3://bkt${query}`]
        for (const string of strings) {
          assert.strictEqual((yield* Effect.flip(ConnectionString.parse(string))).option, option)
        }
      }
    })
  )
})

/** Says nothing of the time, so that the test's own counts. */
const timeless: Answer = (response, request) => {
  response.sendDate = false
  stored(response, request)
}

class Vault extends Data.TaggedError("VaultSealed")<{ readonly hint: string }> {}

describe("S3HttpStore: credentials of the program", () => {
  const named = (name: string, expiresAt?: number): S3HttpStore.TemporaryCredentials => ({
    accessKeyId: name,
    secretAccessKey: Redacted.make("hush-hush"),
    expiresAt
  })

  const usedIn = (seen: ReadonlyArray<Seen>) =>
    seen.map(({ headers }) => /Credential=(\w+)/.exec(headers.authorization!)![1])

  it.effect("are asked for once by all that wait, and again 5 minutes before they expire", () =>
    Effect.gen(function* () {
      const { options, seen } = yield* serve(timeless)
      let asked = 0
      const credentials = Effect.sync(() => {
        asked += 1
        return named(`K${asked}`, asked * 3_600_000)
      }).pipe(Effect.tap(() => Effect.yieldNow))
      const store = yield* S3HttpStore.make({ ...options, credentials })
      assert.strictEqual(asked, 0)
      const put = store.put({ key: "k" })
      yield* Effect.all([put, put, put], { concurrency: "unbounded" })
      yield* TestClock.adjust("54 minutes")
      yield* put
      assert.strictEqual(asked, 1)
      yield* TestClock.adjust("1 minute")
      yield* Effect.all([put, put], { concurrency: "unbounded" })
      assert.strictEqual(asked, 2)
      assert.deepStrictEqual(usedIn(seen), ["K1", "K1", "K1", "K1", "K2", "K2"])
    })
  )

  it.effect("a source that is down for a moment stops nobody whose credentials still hold", () =>
    Effect.gen(function* () {
      const { options, seen } = yield* serve(timeless)
      const down = new Unavailable({ description: "the vault is closed", sent: false })
      let asked = 0
      const credentials = Effect.suspend(() => {
        asked += 1
        return asked === 1
          ? Effect.succeed(named("K1", 3_600_000))
          : Effect.fail(new StoreError({ operation: "open", reason: down }))
      })
      const store = yield* S3HttpStore.make({ ...options, credentials })
      yield* store.put({ key: "k" })
      yield* TestClock.adjust("56 minutes")
      yield* store.put({ key: "k" })
      yield* store.put({ key: "k" })
      assert.strictEqual(asked, 2)
      yield* TestClock.adjust("1 minute")
      yield* store.put({ key: "k" })
      assert.strictEqual(asked, 3)
      yield* TestClock.adjust("3 minutes")
      const failed = yield* Effect.flip(store.put({ key: "k" }))
      assert.deepStrictEqual([failed.operation, failed.reason._tag, failed.isRetryable], ["put", "Unavailable", true])
      assert.deepStrictEqual(usedIn(seen), ["K1", "K1", "K1", "K1"])
    })
  )

  it.live("those that the store calls expired are replaced, once", () =>
    Effect.gen(function* () {
      const { options, seen } = yield* serve((response: ServerResponse, request: Seen) =>
        (request.headers.authorization!.includes("=K1/") ? error(400, "ExpiredToken") : stored)(response, request)
      )
      let asked = 0
      const credentials = Effect.sync(() => {
        asked += 1
        return named(`K${asked}`)
      })
      const store = yield* S3HttpStore.make({ ...options, credentials })
      yield* store.put({ key: "k" })
      assert.deepStrictEqual(usedIn(seen), ["K1", "K2"])
      // Nothing better can be asked for.
      const fixed = yield* S3HttpStore.make({ ...options, credentials: named("K1") })
      assert.strictEqual((yield* failureOf(fixed.put({ key: "k" })))._tag, "AccessDenied")
      assert.strictEqual(seen.length, 3)
      const always = yield* S3HttpStore.make({ ...options, credentials: Effect.succeed(named("K1")) })
      assert.strictEqual((yield* failureOf(always.put({ key: "k" })))._tag, "AccessDenied")
      assert.strictEqual(seen.length, 6)
    })
  )

  it.live("a failure is told by its name alone, and empty ones are refused", () =>
    Effect.gen(function* () {
      const { options, seen } = yield* serve(stored)
      const sealed = yield* S3HttpStore.make({ ...options, credentials: Effect.fail(new Vault({ hint: "hush" })) })
      const reason = yield* failureOf(sealed.get("k"))
      assert.deepStrictEqual([reason._tag, reason.code], ["AccessDenied", "VaultSealed"])
      assert.notInclude(JSON.stringify(reason), "hush")
      const nameless = yield* S3HttpStore.make({ ...options, credentials: Effect.fail("hush") })
      assert.notInclude(JSON.stringify(yield* failureOf(nameless.get("k"))), "hush")
      const empty = yield* S3HttpStore.make({ ...options, credentials: Effect.succeed(named("")) })
      assert.strictEqual((yield* failureOf(empty.get("k")))._tag, "InvalidArgument")
      assert.strictEqual(seen.length, 0)
    })
  )
})

describe("S3HttpStore: credentials and places of the environment", () => {
  it.live("need nothing of the SDK: what opens a bucket by a connection string loads none of it", () =>
    Effect.gen(function* () {
      const { endpoint, seen } = yield* serve(stored)
      const { loaded } = yield* opened("s3://bkt/p", {
        AWS_ACCESS_KEY_ID: "FROMENV",
        AWS_SECRET_ACCESS_KEY: "hush-hush",
        AWS_SESSION_TOKEN: "token",
        AWS_ENDPOINT_URL: "http://127.0.0.1:1",
        AWS_ENDPOINT_URL_S3: endpoint
      })
      assert.isTrue(loaded.some((url) => url.endsWith("/S3HttpStore.ts")))
      assert.deepStrictEqual(
        loaded.filter((url) => /aws-sdk|smithy|undici|noble|^node:/.test(url)),
        []
      )
      // The name of an address takes no bucket before it.
      assert.deepStrictEqual(
        seen.map(({ path }) => path),
        ["/bkt/p/k", "/bkt/p/l"]
      )
      assert.match(seen[0]!.headers.authorization!, /Credential=FROMENV\//)
      assert.strictEqual(seen[0]!.headers["x-amz-security-token"], "token")
      assertSigned(seen)
    })
  )

  it.live("the SDK finds what they name at the same place", () =>
    Effect.gen(function* () {
      const { endpoint, seen } = yield* serve(stored)
      const port = new URL(endpoint).port
      const keys = { AWS_ACCESS_KEY_ID: "K", AWS_SECRET_ACCESS_KEY: "hush-hush" }
      const before = seen.length
      for (const client of ["http", "sdk"]) {
        yield* opened(`s3://bkt/p?client=${client}`, { ...keys, AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` })
      }
      const paths = seen.slice(before).map(({ path }) => path.replace(/\?.*/, ""))
      assert.deepStrictEqual(paths, ["/bkt/p/k", "/bkt/p/l", "/bkt/p/k", "/bkt/p/l"])
    })
  )

  it.effect("an endpoint in the options comes first, and the environment's can be switched off", () =>
    Effect.gen(function* () {
      const locationOf = (options: S3HttpStore.Options, environment: Readonly<Record<string, string>>) =>
        Effect.scoped(S3HttpStore.make(options)).pipe(
          Effect.map(({ location }) => location),
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(environment))
        )
      const elsewhere = { AWS_ENDPOINT_URL: "http://elsewhere" }
      assert.strictEqual(yield* locationOf({ bucket: "bkt" }, elsewhere), "http://elsewhere/bkt")
      assert.strictEqual(yield* locationOf({ bucket: "bkt", endpoint: "http://here" }, elsewhere), "http://here/bkt")
      const off = { ...elsewhere, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" }
      assert.strictEqual(yield* locationOf({ bucket: "bkt" }, off), "s3://bkt")
      const wrong = yield* failureOf(locationOf({ bucket: "bkt" }, { AWS_ENDPOINT_URL_S3: "nowhere" }))
      assert.strictEqual("argument" in wrong && wrong.argument, "endpoint")
    })
  )

  it.effect("the profile by which requests are made says where as well, after the variables", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "profile-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const file = join(folder, "config")
      const lines = [
        "[default]",
        "region = eu-west-1",
        "endpoint_url = http://all",
        "[profile corp]",
        "region = eu-central-1",
        "endpoint_url = http://all",
        "services = ours",
        "[services ours]",
        "s3 =",
        "  endpoint_url = http://s3",
        "[profile off]",
        "region = sa-east-1",
        "endpoint_url = http://all",
        "ignore_configured_endpoint_urls = true",
        "use_dualstack_endpoint = true"
      ]
      writeFileSync(file, lines.join("\n"))
      const found = (environment: Readonly<Record<string, string>>, given: Partial<S3HttpStore.Options> = {}) =>
        Effect.gen(function* () {
          const { options, region } = yield* s3Options.withEnvironment({ bucket: "bkt", ...given })
          return { region, endpoint: options.endpoint, isDualStack: options.isDualStack }
        }).pipe(
          Effect.provideService(
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromUnknown(
              Object.defineProperties({ AWS_CONFIG_FILE: file }, Object.getOwnPropertyDescriptors(environment))
            )
          )
        )
      let reads = 0
      const counted: Readonly<Record<string, string>> = {
        get AWS_CONFIG_FILE() {
          reads += 1
          return file
        }
      }
      assert.strictEqual((yield* found(counted)).region, "eu-west-1")
      assert.strictEqual(reads, 1)
      const nothing = { region: "us-east-1", endpoint: undefined, isDualStack: undefined }
      const usual = { region: "eu-west-1", endpoint: "http://all", isDualStack: undefined }
      assert.deepStrictEqual(yield* found({}), usual)
      const corp = { AWS_PROFILE: "corp" }
      const ofCorp = { ...usual, region: "eu-central-1", endpoint: "http://s3" }
      assert.deepStrictEqual(yield* found(corp), ofCorp)
      const variables = { AWS_REGION: "us-west-2", AWS_ENDPOINT_URL: "http://variable" }
      assert.deepStrictEqual(yield* found({ ...corp, ...variables }), {
        ...nothing,
        region: "us-west-2",
        endpoint: "http://variable"
      })
      assert.deepStrictEqual(yield* found(corp, { region: "ap-south-1" }), { ...ofCorp, region: "ap-south-1" })
      assert.deepStrictEqual(yield* found({ AWS_PROFILE: "off" }), {
        region: "sa-east-1",
        endpoint: undefined,
        isDualStack: true
      })
      // Whoever has keys of their own has nothing to do with profiles, unless one is named.
      const keys = { AWS_ACCESS_KEY_ID: "K", AWS_SECRET_ACCESS_KEY: "hush-hush" }
      assert.deepStrictEqual(yield* found(keys), nothing)
      assert.deepStrictEqual(yield* found({ ...keys, ...corp }), ofCorp)
      const credentials = { accessKeyId: "K", secretAccessKey: Redacted.make("hush-hush") }
      assert.deepStrictEqual(yield* found({}, { credentials }), nothing)
      assert.deepStrictEqual(yield* found({ AWS_PROFILE: "nobody" }), nothing)
      assert.deepStrictEqual(yield* found({ AWS_CONFIG_FILE: join(folder, "none") }), nothing)
      writeFileSync(join(folder, "damaged"), "\u0000[[[ = \n]")
      assert.deepStrictEqual(yield* found({ AWS_CONFIG_FILE: join(folder, "damaged") }), nothing)
    })
  )
})

describe("S3HttpStore: connections", () => {
  it.live("one that is not there in time was never sent anything", () =>
    Effect.gen(function* () {
      // It takes connections, and never speaks TLS.
      const silent = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer(() => {})
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = silent.address() as AddressInfo
      for (const transport of ["node", "undici"] as const) {
        const store = yield* S3HttpStore.make({
          ...client,
          endpoint: `https://127.0.0.1:${port}`,
          connectTimeout: "50 millis",
          transport
        })
        const failed = yield* Effect.flip(store.put({ key: "k" }))
        assert.deepStrictEqual([failed.reason._tag, failed.outcome, failed.isRetryable], ["Unavailable", "none", true])
      }
    })
  )

  for (const transport of ["node", "undici"] as const) {
    it.live(`one that is freed serves who waits for it, also when what it served was given up: ${transport}`, () =>
      Effect.gen(function* () {
        const { options, seen, state } = yield* serve((response: ServerResponse, request: Seen) => {
          if (request.path.includes("slow")) return
          setTimeout(() => response.writeHead(200, { etag: '"e1"' }).end(), 5)
        })
        const store = yield* S3HttpStore.make({ ...options, transport, maxSockets: 1 })
        const put = store.put({ key: "k" })
        const slow = yield* Effect.forkChild(store.put({ key: "slow" }), { startImmediately: true })
        yield* until("the slow one is there", () => seen.length === 1)
        const [first, second, givenUp, last] = yield* Effect.forEach([1, 2, 3, 4], () =>
          Effect.forkChild(put, { startImmediately: true })
        )
        yield* settled
        yield* Fiber.interrupt(givenUp!)
        yield* Fiber.interrupt(slow)
        yield* Effect.forEach([first!, second!, last!], Fiber.join)
        assert.strictEqual(state.mostActive, 1)
        assert.strictEqual(seen.length, 4)
        // That of the request that was given up, and its successor.
        assert.strictEqual(state.connections, 2)
      })
    )
  }

  it.live(
    "over fetch: no more requests at once than there may be connections, and those that wait can be given up",
    () =>
      Effect.gen(function* () {
        const { options, seen, state } = yield* serve((response: ServerResponse) => {
          setTimeout(() => response.writeHead(200, { etag: '"e1"' }).end(), 5)
        })
        const store = yield* S3HttpStore.make({ ...options, transport: "fetch", maxSockets: 2 })
        const put = store.put({ key: "k" })
        yield* Effect.all([put, put, put, put, put, Effect.timeoutOption(put, "1 millis")], {
          concurrency: "unbounded",
          discard: true
        })
        assert.strictEqual(state.mostActive, 2)
        assert.strictEqual(seen.length, 5)
      })
  )

  it.live("over fetch: what it would alter is refused", () =>
    Effect.gen(function* () {
      const body = gzipSync("x")
      const { options, seen } = yield* serve((response: ServerResponse) => {
        response.writeHead(200, { etag: '"e1"', "content-encoding": "gzip", "content-length": body.length }).end(body)
      })
      const store = yield* S3HttpStore.make({ ...options, transport: "fetch" })
      for (const key of [".", "..", "a/../b", "./a", "a/."]) {
        assert.strictEqual((yield* failureOf(store.get(key)))._tag, "Unsupported", key)
      }
      assert.strictEqual(seen.length, 0)
      assert.strictEqual((yield* failureOf(store.get("a..b")))._tag, "Unsupported")
      assert.strictEqual(seen.length, 1)
      const exact = yield* S3HttpStore.make(options)
      assert.deepStrictEqual((yield* exact.get("a/../b")).body, new Uint8Array(body))
      assert.strictEqual(seen[1]!.path, "/bkt/a/../b")
    })
  )

  it.live("an answer that begins like one of S3 and is none", () =>
    Effect.gen(function* () {
      const { options } = yield* serve(
        document("<ListBucketResult><Contents></ListBucketResult>"),
        document("<DeleteResult>&nbsp;</DeleteResult>"),
        reply(403, { "content-type": "application/xml" }, "<Error><Code>AccessDenied</Kode></Error>")
      )
      const store = yield* S3HttpStore.make(options)
      assert.strictEqual((yield* failureOf(store.list()))._tag, "Unexpected")
      assert.strictEqual((yield* failureOf(store.deleteMany(["k"])))._tag, "Unexpected")
      assert.strictEqual((yield* failureOf(store.get("k")))._tag, "AccessDenied")
    })
  )
})
