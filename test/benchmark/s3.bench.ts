/**
 * What a request to S3 costs the client: time of the processor per operation, against a server in another process that does
 * next to nothing. The baseline is undici with a signature written by hand, which checks nothing of what it gets.
 */
import { spawn } from "node:child_process"
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto"
import { once } from "node:events"
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
import { bodyBytes, listedKeys } from "./s3Stub.ts"

const connections = 32
const rounds = 7
const times = { put: 3000, get: 3000, list: 60 }

type Operation = keyof typeof times

/** A client, each member being one request. */
type Client = Readonly<Record<Operation, () => Promise<unknown>>>

const body = new Uint8Array(bodyBytes).fill(120)
const metadata = { s: "3k", "0": "Jane Doe", "1": "jane@example.com" }
const prefix = "resource=users/data/"
const key = `${prefix}id=user-1`
const path = "/bkt/resource%3Dusers/data/id%3Duser-1"
const region = "us-east-1"
const accessKeyId = "ACCESSKEY"
const secretAccessKey = "hush-hush"

/** The least that a program does that signs its requests itself: the key of the day is kept. */
const byHand = (origin: string): { readonly client: Client; readonly close: () => Promise<void> } => {
  const pool = new Pool(origin, { connections })
  const { host } = new URL(origin)
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
    const answer = await pool.request({
      method,
      path: query === "" ? to : `${to}?${query}`,
      headers,
      body: content ?? null
    })
    return { headers: answer.headers, body: new Uint8Array(await answer.body.arrayBuffer()) }
  }
  const put = {
    "content-type": "application/octet-stream",
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]))
  }
  const query = `encoding-type=url&list-type=2&max-keys=1000&prefix=${encodeURIComponent(prefix)}`
  const client = {
    put: () => send("PUT", path, "", put, body),
    get: () => send("GET", path, "", {}),
    list: async () => {
      const text = new TextDecoder().decode((await send("GET", "/bkt/", query, {})).body)
      return Array.from(text.matchAll(/<Key>(.*?)<\/Key>/g), ([, listed]) => decodeURIComponent(listed!))
    }
  }
  return { client, close: () => pool.destroy() }
}

const bySdk = (endpoint: string): { readonly client: Client; readonly close: () => void } => {
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
          Bucket: "bkt",
          Key: key,
          Body: body,
          Metadata: metadata,
          ContentType: "application/octet-stream"
        })
      ),
    get: () =>
      sdk.send(new GetObjectCommand({ Bucket: "bkt", Key: key })).then(({ Body }) => Body!.transformToByteArray()),
    list: () => sdk.send(new ListObjectsV2Command({ Bucket: "bkt", Prefix: prefix, EncodingType: "url" }))
  }
  return { client, close: () => sdk.destroy() }
}

/** As many requests at once as there are connections. */
const work = async (request: () => Promise<unknown>, count: number): Promise<void> => {
  let left = count
  const worker = async () => {
    while (left-- > 0) await request()
  }
  await Promise.all(Array.from({ length: connections }, worker))
}

/** The same in one program, as programs of Effect do it. */
const effectWork = (request: Effect.Effect<unknown, StoreError>, count: number): Promise<void> =>
  Effect.runPromise(
    Effect.forEach(Array.from({ length: count }), () => request, { concurrency: connections, discard: true })
  )

interface Subject {
  readonly name: string
  readonly run: Readonly<Record<Operation, (count: number) => Promise<void>>>
}

const ofClient = (name: string, { get, list, put }: Client): Subject => ({
  name,
  run: { put: (count) => work(put, count), get: (count) => work(get, count), list: (count) => work(list, count) }
})

const ofStore = (name: string, store: ObjectStore["Service"]): Subject => ({
  name,
  run: {
    put: (count) => effectWork(store.put({ key, body, metadata }), count),
    get: (count) => effectWork(store.get(key), count),
    list: (count) => effectWork(store.list({ prefix }), count)
  }
})

interface Result {
  readonly name: string
  readonly operation: Operation
  /** Of the processor, for one operation: the median and the best of the rounds. */
  readonly microseconds: number
  readonly best: number
  /** The median to that of the baseline in the same run. */
  readonly ratio: number
}

const measure = async (subjects: ReadonlyArray<Subject>): Promise<ReadonlyArray<Result>> => {
  const figures = new Map<string, Array<number>>()
  for (const { run } of subjects) {
    for (const operation of ["put", "get", "list"] as const) await run[operation](times[operation])
  }
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < subjects.length; i++) {
      const { name, run } = subjects[(i + round) % subjects.length]!
      for (const operation of ["put", "get", "list"] as const) {
        const before = process.cpuUsage()
        await run[operation](times[operation])
        const { system, user } = process.cpuUsage(before)
        const id = `${operation} ${name}`
        figures.set(id, [...(figures.get(id) ?? []), (system + user) / times[operation]])
      }
    }
  }
  const median = (id: string) => figures.get(id)!.toSorted((a, b) => a - b)[Math.floor(rounds / 2)]!
  return (["put", "get", "list"] as const).flatMap((operation) =>
    subjects.map(({ name }) => ({
      name,
      operation,
      microseconds: Number(median(`${operation} ${name}`).toFixed(1)),
      best: Number(Math.min(...figures.get(`${operation} ${name}`)!).toFixed(1)),
      ratio: Number((median(`${operation} ${name}`) / median(`${operation} ${subjects[0]!.name}`)).toFixed(2))
    }))
  )
}

const opened = Effect.fnUntraced(function* (
  endpoint: string
): Effect.fn.Return<ReadonlyArray<Subject>, StoreError, Scope.Scope> {
  const options = {
    bucket: "bkt",
    endpoint,
    region,
    maxSockets: connections,
    credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
  }
  return [
    ofStore("S3HttpStore", yield* S3HttpStore.make(options)),
    ofStore("S3HttpStore over undici", yield* S3HttpStore.make({ ...options, transport: "undici" })),
    ofStore("S3HttpStore over fetch", yield* S3HttpStore.make({ ...options, transport: "fetch" })),
    ofStore("S3Store", yield* S3Store.make(options))
  ]
})

export const report = async () => {
  const stub = spawn(process.execPath, [fileURLToPath(new URL("s3Stub.ts", import.meta.url))], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const [port] = (await once(stub.stdout, "data")) as [Buffer]
  const endpoint = `http://127.0.0.1:${Number(port)}`
  const hand = byHand(endpoint)
  const sdk = bySdk(endpoint)
  const results = await Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(opened(endpoint), (stores) =>
        Effect.promise(() =>
          measure([
            ofClient("undici, signed by hand", hand.client),
            ...stores,
            ofClient("@aws-sdk/client-s3", sdk.client)
          ])
        )
      )
    )
  )
  await hand.close()
  sdk.close()
  stub.stdin.end()
  const lines = results.map(({ best, microseconds, name, operation, ratio }) => {
    const perKey = operation === "list" ? `  ${(microseconds / listedKeys).toFixed(2)} per key` : ""
    return `  ${operation.padEnd(5)} ${name.padEnd(26)} ${microseconds.toFixed(1).padStart(9)} µs  best ${best.toFixed(1).padStart(9)}  ${ratio.toFixed(2).padStart(6)}x${perKey}`
  })
  const how = `time of the processor per operation, ${connections} at once; median and best of ${rounds} rounds; a LIST is ${listedKeys} keys`
  return { results, text: `${how}\n${lines.join("\n")}` }
}
