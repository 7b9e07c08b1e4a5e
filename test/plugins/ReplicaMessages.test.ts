/** Replicas that pass changes on: webhooks, to a server that runs, and whatever publishes messages. */
import { assert, describe, it } from "@effect/vitest"
import { createHmac } from "node:crypto"
import { createServer, type IncomingHttpHeaders } from "node:http"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as ReplicaQueue from "effect-s3db/plugins/ReplicaQueue"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as ReplicaWebhook from "effect-s3db/plugins/ReplicaWebhook"
import { memory } from "../fixture.ts"
import { assertSame, open, sourceOf } from "./replicas.ts"
import { change, simpleShape } from "./replicaTables.ts"

const secret = Buffer.from("a secret of some length").toString("base64")

interface Call {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
  /** Whether there is no answer at all. */
  readonly hangsUp?: boolean
}

/** A server that keeps what it was sent. */
const serve = Effect.gen(function* () {
  const calls: Array<Call> = []
  const answers: Array<Answer> = []
  const server = createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8")
    request.on("data", (part: string) => (body += part))
    request.on("end", () => {
      const answer = answers.shift() ?? { status: 200 }
      calls.push({ headers: request.headers, body })
      if (answer.hangsUp === true) return request.socket.destroy()
      response.writeHead(answer.status, answer.headers).end()
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => server.closeAllConnections()).pipe(Effect.andThen(Effect.sync(() => server.close())))
  )
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return { calls, answers, url: `http://127.0.0.1:${port}/hook` }
})

const changesIn = (calls: ReadonlyArray<Call>) =>
  calls.flatMap(
    ({ body }) =>
      (
        JSON.parse(body) as {
          readonly changes: ReadonlyArray<{
            readonly id: string
            readonly version: number
            readonly operation: string
            readonly document?: unknown
          }>
        }
      ).changes
  )

const make = (options: ReplicaWebhook.WebhookOptions) =>
  Effect.provide(ReplicaWebhook.webhook(options), FetchHttpClient.layer)

describe("ReplicaWebhook", () => {
  it.live("signs what it sends, under the same name each time that it sends it", () =>
    Effect.gen(function* () {
      const { answers, calls, url } = yield* serve
      const old = Buffer.from("the secret before").toString("base64")
      const target = yield* make({
        url,
        secrets: [Redacted.make(`whsec_${secret}`), Redacted.make(old)],
        headers: { authorization: Redacted.make("Bearer t") },
        changesAtOnce: 2
      })
      const batch = { shape: simpleShape, changes: [change("a", 1), change("é", 2), change("c", 3)], isRepair: false }
      answers.push({ status: 200 }, { status: 200, hangsUp: true })
      const error = yield* Effect.flip(target.apply(batch))
      assert.strictEqual(error.problem, "Unavailable")
      yield* target.apply(batch)
      assert.strictEqual(calls.length, 4)
      for (const { body, headers } of calls) {
        const [id, time] = [headers["webhook-id"], headers["webhook-timestamp"]]
        const expected = [secret, old].map(
          (key) =>
            `v1,${createHmac("sha256", Buffer.from(key, "base64")).update(`${id}.${time}.${body}`).digest("base64")}`
        )
        assert.strictEqual(headers["webhook-signature"], expected.join(" "))
        assert.strictEqual(headers["authorization"], "Bearer t")
        assert.strictEqual(headers["content-type"], "application/json")
      }
      const ids = calls.map(({ headers }) => headers["webhook-id"])
      assert.deepStrictEqual(ids.slice(0, 2), ids.slice(2))
      assert.notStrictEqual(ids[0], ids[1])
      assert.deepStrictEqual(
        changesIn(calls.slice(2)).map(({ id }) => id),
        ["a", "é", "c"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("tells by the answer what is refused, and when to come again", () =>
    Effect.gen(function* () {
      const { answers, calls, url } = yield* serve
      const target = yield* make({ url, secrets: [Redacted.make(secret)] })
      const apply = Effect.flip(target.apply({ shape: simpleShape, changes: [change("a", 1)], isRepair: false }))
      for (const status of [400, 409, 413, 415, 422]) {
        answers.push({ status })
        assert.strictEqual((yield* apply).problem, "Refused", `${status}`)
      }
      for (const status of [401, 403]) {
        answers.push({ status })
        assert.strictEqual((yield* apply).problem, "Credentials", `${status}`)
      }
      for (const status of [404, 408, 410, 429, 500, 502, 503]) {
        answers.push({ status })
        const { problem, retryAfterMillis } = yield* apply
        assert.deepStrictEqual([problem, retryAfterMillis], ["Unavailable", undefined], `${status}`)
      }
      answers.push({ status: 429, headers: { "retry-after": "120" } })
      assert.strictEqual((yield* apply).retryAfterMillis, 120_000)
      answers.push({ status: 503, headers: { "retry-after": new Date(Date.now() + 60_000).toUTCString() } })
      const { retryAfterMillis = 0 } = yield* apply
      assert.isAbove(retryAfterMillis, 30_000)
      assert.isAtMost(retryAfterMillis, 60_000)
      answers.push({ status: 503, headers: { "retry-after": "soon" } })
      assert.isUndefined((yield* apply).retryAfterMillis)
      // Nobody else is told.
      const elsewhere = yield* serve
      answers.push({ status: 307, headers: { location: elsewhere.url } })
      assert.strictEqual((yield* apply).problem, "Unavailable")
      assert.deepStrictEqual(elsewhere.calls, [])
      assert.strictEqual(calls.length, 18)
      for (const options of [
        { url: "nonsense", secrets: [Redacted.make(secret)] },
        { url, secrets: [] },
        { url, secrets: [Redacted.make("no base 64 !")] }
      ]) {
        assert.strictEqual((yield* Effect.flip(make(options))).problem, "Schema")
      }
    }).pipe(Effect.scoped)
  )
})

describe("ReplicaQueue", () => {
  it.effect(
    "publishes each version of a document under its key, in their order; what is lost comes again under its id",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const published: Array<ReplicaQueue.Message> = []
        let calls = 0
        const target = ReplicaQueue.publisher({
          name: "queue",
          publish: (messages) =>
            Effect.suspend(() => {
              calls += 1
              published.push(...messages)
              // The answer of each second one is lost.
              return calls % 2 === 0 ? Effect.void : Effect.fail("no answer")
            })
        })
        const { settle, things } = yield* open(store, target)
        yield* things.insertMany([
          { id: "a", n: 1 },
          { id: "__proto__", n: 1 },
          { id: "x".repeat(400), n: 1 }
        ])
        yield* settle
        yield* things.update("a", { n: 2 })
        yield* things.delete("__proto__")
        yield* things.update("a", { n: 3 })
        yield* settle
        interface Sent {
          readonly id: string
          readonly version: number
          readonly document?: unknown
        }
        const seen = new Set<string>()
        const state = new Map<string, Sent>()
        const keys = new Map<string, string>()
        for (const { body, id, key } of published) {
          assert.isAtMost(Buffer.byteLength(id), 128)
          const sent = JSON.parse(body) as Sent
          assert.strictEqual(keys.get(sent.id) ?? key, key)
          keys.set(sent.id, key)
          if (seen.has(id)) continue
          seen.add(id)
          assert.isAbove(sent.version, state.get(sent.id)?.version ?? -1)
          state.set(sent.id, sent)
        }
        assert.isAbove(published.length, seen.size)
        assert.strictEqual(new Set(keys.values()).size, 3)
        const left = [...state.values()].flatMap(({ document, id }) =>
          document === undefined ? [] : [[id, document] as const]
        )
        assertSame(Object.fromEntries(left.sort()), yield* sourceOf(things))
      }).pipe(Effect.scoped)
  )

  it.effect("goes into a queue of MessageQueue, and is read from there", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const queue = yield* MessageQueue.memory({ name: "things" })
      const { settle, things } = yield* open(store, ReplicaQueue.publisher(queue.publisher))
      yield* things.insert({ id: "a", n: 1 })
      yield* things.delete("a")
      yield* settle
      const read = yield* Stream.runCollect(
        MessageQueue.deliveries(queue.source).pipe(
          Stream.map((one) =>
            Schema.decodeSync(Schema.fromJsonString(QueueConsumer.ChangeMessage))(MessageQueue.textOf(one))
          ),
          Stream.take(2)
        )
      )
      assert.deepStrictEqual(
        read.map(({ document, id, operation, resource }) => ({ document, id, operation, resource })),
        [
          { document: { id: "a", n: 1 }, id: "a", operation: "insert", resource: "things" },
          { document: undefined, id: "a", operation: "delete", resource: "things" }
        ]
      )
      assert.isBelow(read[0]!.version, read[1]!.version)
    }).pipe(Effect.scoped)
  )

  it.effect("tells what cannot be published from what cannot be reached", () =>
    Effect.gen(function* () {
      const say = (error: unknown) =>
        Effect.map(
          Effect.flip(
            ReplicaQueue.publisher({ name: "q", publish: () => Effect.fail(error) }).apply({
              shape: simpleShape,
              changes: [change("a", 1)],
              isRepair: false
            })
          ),
          ({ problem }: ReplicaTarget.TargetError) => problem
        )
      assert.strictEqual(yield* say({ _tag: "MessageRefused", message: "too long" }), "Refused")
      assert.strictEqual(yield* say({ isRetryable: false }), "Refused")
      assert.strictEqual(yield* say({ _tag: "QueueUnavailable", isRetryable: true }), "Unavailable")
      assert.strictEqual(yield* say("anything"), "Unavailable")
    })
  )
})
