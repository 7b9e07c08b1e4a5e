/**
 * What a request to S3 costs the client, beside other small clients and the AWS SDK (`npm run bench:peers` installs aws4fetch and s3mini).
 *
 * Against a server in another process that does next to nothing: time of the processor per operation. The baseline is undici with a
 * signature written by hand, which checks nothing of what it gets. On Ceph's gateway, where it is up: operations in a second, with 1, 16
 * and 64 at once, and how long the event loop was held.
 */
import { spawn } from "node:child_process"
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto"
import { once } from "node:events"
import { Agent, request } from "node:http"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { Pool } from "undici"
import * as ceph from "../services/ceph.ts"
import { median } from "./measure.ts"
import * as peers from "./peers.ts"
import { bodyBytes, listedKeys } from "./s3Stub.ts"
import { digits, type Table } from "./table.ts"

const rounds = { stub: 7, gateway: 5 }
const times = { put: 1000, get: 1000, list: 20 }

type Operation = keyof typeof times

const operations: ReadonlyArray<Operation> = ["put", "get", "list"]

/** Where the bucket is. */
interface Place {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The most connections of a client. */
  readonly connections: number
}

/** A client, each member being one request. */
type Client = Readonly<Record<Operation, () => Promise<unknown>>>

const body = new Uint8Array(bodyBytes).fill(120)
const metadata = { s: "3k", "0": "Jane Doe", "1": "jane@example.com" }
const prefix = "resource=users/data/"
const key = `${prefix}id=user-1`
const path = "resource%3Dusers/data/id%3Duser-1"
const region = "us-east-1"

interface Closable {
  readonly client: Client
  readonly close: () => unknown
}

interface Asked {
  readonly method: "GET" | "PUT"
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
}

interface Sender {
  readonly send: (asked: Asked) => Promise<{ readonly headers: unknown; readonly body: Uint8Array }>
  readonly close: () => unknown
}

const overUndici = ({ connections, endpoint }: Place): Sender => {
  const pool = new Pool(endpoint, { connections })
  return {
    send: async ({ body = null, ...asked }) => {
      const answer = await pool.request({ ...asked, body })
      return { headers: answer.headers, body: new Uint8Array(await answer.body.arrayBuffer()) }
    },
    close: () => pool.destroy()
  }
}

/** Over the client that `S3HttpStore` takes by itself: what it does beyond this is its own. */
const overNode = ({ connections, endpoint }: Place): Sender => {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const { hostname, port } = new URL(endpoint)
  return {
    send: ({ body, headers, method, path }) =>
      new Promise((resolve, reject) => {
        const flat = Object.entries(headers).flat()
        if (body !== undefined) flat.push("content-length", String(body.length))
        const sent = request({ agent, host: hostname, port, method, path, headers: flat })
        sent.on("error", reject)
        sent.on("response", (answer) => {
          const parts: Array<Buffer> = []
          answer.on("error", reject)
          answer.on("data", (part: Buffer) => parts.push(part))
          answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts) }))
        })
        sent.end(body)
      }),
    close: () => agent.destroy()
  }
}

/** The least that a program does that signs its requests itself: the key of the day is kept. */
const byHand = (place: Place, over: (place: Place) => Sender): Closable => {
  const { accessKeyId, bucket, endpoint, secretAccessKey } = place
  const sender = over(place)
  const { host } = new URL(endpoint)
  let day = ""
  let signingKey: KeyObject
  const hmac = (secret: KeyObject, text: string) => createSecretKey(createHmac("sha256", secret).update(text).digest())
  const empty = hash("sha256", "", "hex")
  const send = async (
    method: "GET" | "PUT",
    to: string,
    query: string,
    more: Readonly<Record<string, string>>,
    content?: Uint8Array
  ) => {
    const time = `${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`
    const today = time.slice(0, 8)
    if (today !== day) {
      day = today
      const first = createSecretKey(Buffer.from(`AWS4${secretAccessKey}`))
      signingKey = [day, region, "s3", "aws4_request"].reduce(hmac, first)
    }
    const payload = content === undefined ? empty : hash("sha256", content, "hex")
    const headers: Record<string, string> = { ...more, host, "x-amz-content-sha256": payload, "x-amz-date": time }
    const names = Object.keys(headers).toSorted()
    const canonical = `${method}\n${to}\n${query}\n${names.map((name) => `${name}:${headers[name]}\n`).join("")}\n${names.join(";")}\n${payload}`
    const scope = `${today}/${region}/s3/aws4_request`
    const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash("sha256", canonical, "hex")}`
    const signature = createHmac("sha256", signingKey).update(text).digest("hex")
    headers["authorization"] =
      `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`
    return sender.send({ method, path: query === "" ? to : `${to}?${query}`, headers, body: content })
  }
  const put = {
    "content-type": "application/octet-stream",
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]))
  }
  const query = `encoding-type=url&list-type=2&max-keys=1000&prefix=${encodeURIComponent(prefix)}`
  const client = {
    put: () => send("PUT", `/${bucket}/${path}`, "", put, body),
    get: () => send("GET", `/${bucket}/${path}`, "", {}),
    list: async () => {
      const text = new TextDecoder().decode((await send("GET", `/${bucket}/`, query, {})).body)
      return Array.from(text.matchAll(/<Key>(.*?)<\/Key>/g), ([, listed]) => decodeURIComponent(listed!))
    }
  }
  return { client, close: sender.close }
}

/** `fetch` with a signature; how many connections there are is its own business. */
const byAws4fetch = (module: unknown, { accessKeyId, bucket, endpoint, secretAccessKey }: Place): Closable => {
  const { AwsClient } = module as {
    readonly AwsClient: new (options: object) => {
      readonly fetch: (url: string, init?: object) => Promise<Response>
    }
  }
  const aws = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region, retries: 0 })
  const named = Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value] as const)
  const headers = { "content-type": "application/octet-stream", ...Object.fromEntries(named) }
  const query = `encoding-type=url&list-type=2&max-keys=1000&prefix=${encodeURIComponent(prefix)}`
  const url = `${endpoint}/${bucket}/`
  const client = {
    put: () => aws.fetch(url + path, { method: "PUT", headers, body }).then((answer) => answer.arrayBuffer()),
    get: () => aws.fetch(url + path).then((answer) => answer.arrayBuffer()),
    list: () =>
      aws
        .fetch(`${url}?${query}`)
        .then((answer) => answer.text())
        .then((text) => Array.from(text.matchAll(/<Key>(.*?)<\/Key>/g), ([, listed]) => decodeURIComponent(listed!)))
  }
  return { client, close: () => undefined }
}

const byS3mini = (module: unknown, { accessKeyId, bucket, endpoint, secretAccessKey }: Place): Closable => {
  const { S3mini } = module as {
    readonly S3mini: new (options: object) => {
      readonly putObject: (
        key: string,
        data: Uint8Array,
        type: string,
        ssec: undefined,
        more: Readonly<Record<string, string>>
      ) => Promise<Response>
      readonly getObjectArrayBuffer: (key: string) => Promise<unknown>
      readonly listObjectsPaged: (delimiter: string, prefix: string, most: number) => Promise<unknown>
    }
  }
  const mini = new S3mini({ accessKeyId, secretAccessKey, endpoint: `${endpoint}/${bucket}`, region })
  const named = Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value] as const)
  const more = Object.fromEntries(named)
  const client = {
    put: () =>
      mini.putObject(key, body, "application/octet-stream", undefined, more).then((answer) => answer.arrayBuffer()),
    get: () => mini.getObjectArrayBuffer(key),
    list: () => mini.listObjectsPaged("/", prefix, 1000)
  }
  return { client, close: () => undefined }
}

const bySdk = ({ accessKeyId, bucket, connections, endpoint, secretAccessKey }: Place): Closable => {
  const sdk = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    cacheMiddleware: true,
    requestHandler: { httpAgent: { maxSockets: connections } }
  })
  const client = {
    put: () =>
      sdk.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: body,
          Metadata: metadata,
          ContentType: "application/octet-stream"
        })
      ),
    get: () =>
      sdk.send(new GetObjectCommand({ Bucket: bucket, Key: key })).then(({ Body }) => Body!.transformToByteArray()),
    list: () => sdk.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, EncodingType: "url" }))
  }
  return { client, close: () => sdk.destroy() }
}

/** So many requests at once. */
const work = async (request: () => Promise<unknown>, count: number, atOnce: number): Promise<void> => {
  let left = count
  const worker = async () => {
    while (left-- > 0) await request()
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** The same in one program, as programs of Effect do it. */
const effectWork = (request: Effect.Effect<unknown, StoreError>, count: number, atOnce: number): Promise<void> =>
  Effect.runPromise(
    Effect.forEach(Array.from({ length: count }), () => request, { concurrency: atOnce, discard: true })
  )

interface Subject {
  readonly name: string
  readonly run: (operation: Operation, count: number, atOnce: number) => Promise<void>
}

const ofStore = (name: string, store: ObjectStore["Service"]): Subject => {
  const requests = { put: store.put({ key, body, metadata }), get: store.get(key), list: store.list({ prefix }) }
  return { name, run: (operation, count, atOnce) => effectWork(requests[operation], count, atOnce) }
}

const ofClient = (name: string, open: () => Closable): Effect.Effect<Subject, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(Effect.sync(open), ({ close }) => Effect.promise(async () => close())),
    ({ client }): Subject => ({
      name,
      run: (operation, count, atOnce) => work(client[operation], count, atOnce)
    })
  )

const hand = "undici, signed by hand"
const ours = "S3HttpStore"

const missing: ReadonlyArray<peers.Name> = (["aws4fetch", "s3mini"] as const).filter(
  (name) => peers.load(name) === undefined
)

/** All that there are, the baseline first. */
const opened = Effect.fnUntraced(function* (
  place: Place
): Effect.fn.Return<ReadonlyArray<Subject>, StoreError, Scope.Scope> {
  const { accessKeyId, bucket, connections, endpoint, secretAccessKey } = place
  const credentials = { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
  const options = { bucket, endpoint, region, maxSockets: connections, credentials }
  const subjects = [
    yield* ofClient(hand, () => byHand(place, overUndici)),
    yield* ofClient("node:http, signed by hand", () => byHand(place, overNode)),
    ofStore(ours, yield* S3HttpStore.make(options)),
    ofStore(`${ours} over undici`, yield* S3HttpStore.make({ ...options, transport: "undici" })),
    ofStore(`${ours} over fetch`, yield* S3HttpStore.make({ ...options, transport: "fetch" })),
    ofStore("S3Store", yield* S3Store.make(options)),
    yield* ofClient("@aws-sdk/client-s3", () => bySdk(place))
  ]
  for (const [name, open] of [
    ["aws4fetch", byAws4fetch],
    ["s3mini", byS3mini]
  ] as const) {
    const loading = peers.load(name)
    if (loading === undefined) continue
    const module = yield* Effect.promise(() => loading)
    subjects.push(yield* ofClient(peers.title(name), () => open(module, place)))
  }
  return subjects
})

interface Result {
  readonly where: "stub" | "gateway"
  readonly name: string
  readonly operation: Operation
  readonly atOnce: number
  /** Of the processor, for one operation: the median and the best of the rounds. */
  readonly microseconds: number
  readonly best: number
  /** In the median. */
  readonly perSecond: number
  /** The longest that the event loop was held, in the median of the rounds. */
  readonly heldMillis: number
}

interface Plan {
  readonly operation: Operation
  readonly count: number
  readonly atOnce: number
}

const measure = async (
  where: Result["where"],
  subjects: ReadonlyArray<Subject>,
  plans: ReadonlyArray<Plan>
): Promise<ReadonlyArray<Result>> => {
  const figures = subjects.map(() =>
    plans.map(() => ({ cpu: [] as Array<number>, rate: [] as Array<number>, held: [] as Array<number> }))
  )
  for (let round = -1; round < rounds[where]; round++) {
    for (let i = 0; i < subjects.length; i++) {
      const at = (i + round + subjects.length) % subjects.length
      for (const [n, { atOnce, count, operation }] of plans.entries()) {
        const delay = monitorEventLoopDelay({ resolution: 1 })
        delay.enable()
        const before = process.cpuUsage()
        const start = performance.now()
        await subjects[at]!.run(operation, count, atOnce)
        const passed = performance.now() - start
        const { system, user } = process.cpuUsage(before)
        delay.disable()
        // The first round does not count.
        if (round < 0) continue
        const { cpu, held, rate } = figures[at]![n]!
        cpu.push((system + user) / count)
        rate.push((count * 1000) / passed)
        held.push(delay.max / 1e6)
      }
    }
  }
  return subjects.flatMap(({ name }, at) =>
    plans.map(({ atOnce, operation }, n) => {
      const { cpu, held, rate } = figures[at]![n]!
      const rounded = (value: number) => Number(value.toFixed(1))
      return {
        where,
        name,
        operation,
        atOnce,
        microseconds: rounded(median(cpu)),
        best: rounded(Math.min(...cpu)),
        perSecond: rounded(median(rate)),
        heldMillis: rounded(median(held))
      }
    })
  )
}

/** Against the stub, which leaves the processor to the client. */
const onStub = (connections: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const stub = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [fileURLToPath(new URL("s3Stub.ts", import.meta.url))], {
            stdio: ["pipe", "pipe", "inherit"]
          })
        ),
        ({ stdin }) => Effect.sync(() => stdin.end())
      )
      const [port] = yield* Effect.promise(() => once(stub.stdout, "data") as Promise<[Buffer]>)
      const endpoint = `http://127.0.0.1:${Number(port)}`
      const subjects = yield* opened({
        endpoint,
        bucket: "bkt",
        accessKeyId: "ACCESSKEY",
        secretAccessKey: "hush-hush",
        connections
      })
      const plans = operations.map((operation) => ({ operation, count: times[operation], atOnce: connections }))
      return yield* Effect.promise(() => measure("stub", subjects, plans))
    })
  )

/** Fibers at once, and how many operations of each kind they share. */
const gatewayPlans: ReadonlyArray<Plan> = [
  [1, 40],
  [16, 200],
  [64, 400]
].flatMap(([atOnce, count]) =>
  (["put", "get"] as const).map((operation) => ({ operation, count: count!, atOnce: atOnce! }))
)

const onGateway = Effect.scoped(
  Effect.gen(function* () {
    const { accessKeyId, bucket, endpoint, secretAccessKey } = ceph.gateway
    const subjects = yield* opened({ accessKeyId, bucket, endpoint, secretAccessKey, connections: 64 })
    return yield* Effect.promise(() => measure("gateway", subjects, gatewayPlans))
  })
)

const stubTable = (results: ReadonlyArray<Result>, connections: number): Table => {
  const names = [...new Set(results.map(({ name }) => name))]
  const of = (name: string, operation: Operation) =>
    results.find((one) => one.name === name && one.operation === operation)!.best
  return {
    title: `Microseconds of the processor for one operation against a stub, ${connections} at once, best of ${rounds.stub} rounds, which others on the machine change least; ratio to ${hand}`,
    columns: ["", "put", "ratio", "get", "ratio", `list of ${listedKeys} keys, for each`],
    rows: names.map((name) => [
      name,
      ...(["put", "get"] as const).flatMap((operation) => [
        digits(of(name, operation)),
        digits(of(name, operation) / of(hand, operation))
      ]),
      digits(of(name, "list") / listedKeys)
    ])
  }
}

const gatewayTable = (results: ReadonlyArray<Result>, wanted: number): Table => {
  const names = [...new Set(results.map(({ name }) => name))]
  const of = (name: string, operation: Operation) =>
    results.find((one) => one.name === name && one.operation === operation && one.atOnce === wanted)!
  const isPeer = (name: string) => !/^S3(Http)?Store/.test(name) && !name.startsWith("@aws-sdk")
  return {
    title: `Ceph's gateway on the same machine, ${wanted} at once, median of ${rounds.gateway} rounds; ratio to the best of the small clients that are not ours: above 1, faster`,
    columns: ["", ...["put", "get"].flatMap((name) => [`${name}/s`, "ratio", "CPU, µs", "loop held, ms"])],
    rows: names.map((name) => [
      name,
      ...(["put", "get"] as const).flatMap((operation) => {
        const { heldMillis, microseconds, perSecond } = of(name, operation)
        const best = Math.max(...names.filter(isPeer).map((peer) => of(peer, operation).perSecond))
        return [digits(perSecond), digits(perSecond / best), digits(microseconds), digits(heldMillis)]
      })
    ])
  }
}

export const report = async () => {
  const connections = 32
  const stub = await Effect.runPromise(onStub(connections))
  const gateway = (await ceph.answers()) ? await Effect.runPromise(onGateway) : []
  const notes = missing.map((name) => `${peers.title(name)} is not installed: npm run bench:peers`)
  if (gateway.length === 0) notes.push("the gateway is down: npm run services -- up --install")
  const tables = [
    stubTable(stub, connections),
    ...(gateway.length === 0 ? [] : [1, 16, 64].map((wanted) => gatewayTable(gateway, wanted)))
  ]
  return { results: [...stub, ...gateway], tables, notes }
}
