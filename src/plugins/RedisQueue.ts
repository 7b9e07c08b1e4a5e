/**
 * Queues in Redis: streams with a group of consumers, and lists.
 *
 * ```ts
 * import * as NodeRedis from "@effect/platform-node/NodeRedis"
 * import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
 * import * as RedisQueue from "effect-s3db/plugins/RedisQueue"
 * import { Console, Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const consumer = yield* QueueConsumer.QueueConsumer
 *   const jobs = yield* RedisQueue.stream({ name: "jobs" })
 *   yield* jobs.publisher.publish([{ id: "1", body: '{"n":1}' }])
 *   yield* consumer.consume({
 *     source: jobs.source,
 *     payload: Schema.Struct({ n: Schema.Int }),
 *     handler: ({ n }) => Console.log(n)
 *   })
 * }).pipe(Effect.provide(NodeRedis.layer({ url: "redis://localhost" })))
 * ```
 *
 * **Details**
 *
 * The client is that of Effect's `Redis`. Whatever takes more than one step is a script, so that a process that dies leaves nothing in between; time is
 * the server's. While a consumer waits it has a connection of its own (`Redis.reserve`).
 *
 * What is acknowledged is as durable as the server is: with `appendonly yes` and `appendfsync always` nothing is lost that was published, with
 * the default up to a second.
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Id from "../crypto/Id.ts"
import { millisecondsOf } from "../internal/duration.ts"
import * as Link from "./messagequeue/link.ts"
import * as MessageQueue from "./MessageQueue.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of a list.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The key of the list or stream. */
  readonly name: string
  /** How long a consumer may be silent before its messages are delivered again. 100 milliseconds to 7 days; default: 30 seconds. */
  readonly visibility?: Duration.Input | undefined
  /** How long an id is remembered after it was published. Default: 1 day. */
  readonly rememberIds?: Duration.Input | undefined
  /** How long a consumer waits at once, and so how late it sees what was given back by another. 10 milliseconds to 1 minute; default: 1 second. */
  readonly block?: Duration.Input | undefined
  /** How long an answer may take. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * The options of a stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamOptions extends Options {
  /** The group that its consumers are in. It is made where it is not there, from the beginning of the stream. Default: `effect-s3db`. */
  readonly group?: string | undefined
  /**
   * Whether what is acknowledged stays in the stream, for other groups. It grows then, up to about `maxLength`. Default: `false`: it is deleted.
   */
  readonly keep?: boolean | undefined
  /** About how many messages the stream has at most: the oldest go, whether they were handled or not. Default: any number. */
  readonly maxLength?: number | undefined
}

// -----------------------------------------------------------------------------
// Talking to Redis
// -----------------------------------------------------------------------------

/** The most bytes of a body. */
const mostBodyBytes = 64 * 1024 * 1024

/** How many messages are published in one step. */
const pageSize = 500

const week = 604_800_000

const limitsOf = Effect.fnUntraced(function* (options: StreamOptions) {
  const { maxLength, name } = options
  const invalid = (field: string, problem: string) => new MessageQueue.InvalidQueue({ queue: name, field, problem })
  const visibility = millisecondsOf(options.visibility ?? "30 seconds")
  const memory = millisecondsOf(options.rememberIds ?? "1 day")
  const block = millisecondsOf(options.block ?? "1 second")
  const timeout = millisecondsOf(options.timeout ?? "10 seconds")
  if (name === "" || !name.isWellFormed()) return yield* invalid("name", "Expected a name")
  if (options.group === "") return yield* invalid("group", "Expected a name")
  if (!(visibility >= 100 && visibility <= week)) {
    return yield* invalid("visibility", "Expected a duration from 100 milliseconds to 7 days")
  }
  if (!(memory >= 1 && memory < Infinity)) return yield* invalid("rememberIds", "Expected a duration")
  if (!(block >= 10 && block <= 60_000)) {
    return yield* invalid("block", "Expected a duration from 10 milliseconds to 1 minute")
  }
  if (!(timeout >= 100 && timeout <= week)) {
    return yield* invalid("timeout", "Expected a duration from 100 milliseconds to 7 days")
  }
  if (maxLength !== undefined && !(Number.isSafeInteger(maxLength) && maxLength >= 1)) {
    return yield* invalid("maxLength", "Expected a whole number from 1")
  }
  const whole = (millis: number) => String(Math.ceil(millis))
  return { visibility, memory: whole(memory), block: Math.ceil(block), timeout }
})

const describe = (error: Redis.RedisError): string => {
  const { cause } = error
  const message = cause instanceof Error ? cause.message : ""
  return message === "" ? "Redis cannot be reached" : message
}

type Send = Redis.Redis["Service"]["send"]

/** What sends commands, and says in the name of the queue what has failed. */
const makeSending =
  (queue: string, timeout: number) =>
  (send: Send) =>
  <A>(operation: string, command: string, ...args: ReadonlyArray<string>) =>
    send<A>(command, ...args).pipe(
      Effect.mapError((error) => new MessageQueue.QueueUnavailable({ queue, operation, description: describe(error) })),
      Link.within(timeout, () => {
        const description = `Redis has not answered for ${timeout} ms`
        return new MessageQueue.QueueUnavailable({ queue, operation, description })
      })
    )

/** Keys beside that of the queue: in a cluster on the same server. */
const keyOf = (name: string, part: string): string => `effect-s3db:{${name}}:${part}`

interface Publishing {
  readonly name: string
  /** What is written for each message. */
  readonly script: string
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
  readonly memory: string
  readonly call: ReturnType<ReturnType<typeof makeSending>>
}

/** Publishes by a script, which leaves out those whose id is remembered; a page is there all at once. */
const makePublisher = ({ args, call, keys, memory, name, script }: Publishing): MessageQueue.Publisher => {
  const lua = `
local n = 0
for i = ${args.length + 2}, #ARGV, 3 do
  local body, id, key = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if id == '' or redis.call('SET', '${"effect-s3db:{"}' .. KEYS[1] .. '}:id:' .. id, '1', 'NX', 'PX', ARGV[1]) then
    ${script}
    n = n + 1
  end
end
return n`
  return {
    name,
    publish: Effect.fn("RedisQueue.publish")(function* (messages) {
      yield* MessageQueue.check(name, messages, mostBodyBytes)
      for (let at = 0; at < messages.length; at += pageSize) {
        const page = messages.slice(at, at + pageSize).flatMap(({ body, id = "", key = "" }) => [body, id, key])
        yield* call("publish", "EVAL", lua, String(keys.length), ...keys, memory, ...args, ...page)
      }
    })
  }
}

/** A list of fields and values as an object that has no prototype. */
const fieldsOf = (list: ReadonlyArray<string>): Map<string, string> => {
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(list[i]!, list[i + 1]!)
  return fields
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

// -----------------------------------------------------------------------------
// Streams
// -----------------------------------------------------------------------------

/** Entries of an answer to XREADGROUP, which differs with the version of the protocol. */
const entriesOf = (answer: unknown): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => {
  if (answer === null || typeof answer !== "object") return []
  const first: unknown = Array.isArray(answer)
    ? Array.isArray(answer[0])
      ? answer[0][1]
      : answer[1]
    : answer instanceof Map
      ? [...answer.values()][0]
      : Object.values(answer)[0]
  return Array.isArray(first) ? (first as ReadonlyArray<readonly [string, ReadonlyArray<string>]>) : []
}

/** Whether the entry is held by this consumer. KEYS: the stream; ARGV: group, consumer, entry. */
const mine = `
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #held == 0 or held[1][2] ~= ARGV[2] then return 0 end`

const ackScript = `${mine}
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] == '1' then redis.call('XDEL', KEYS[1], ARGV[3]) end
return 1`

/** ARGV[4]: how long it has been idle from now on. */
const idleScript = `${mine}
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
return 1`

/**
 * What has been idle for too long, with how often it was delivered. Redis looks at ten times as many as it is asked for, and ends there: it is asked
 * on, or what is behind many that are held would wait for all of these. ARGV: group, consumer, milliseconds, how many.
 */
const claimScript = `
local out = {}
local most = tonumber(ARGV[4])
local from = '0-0'
repeat
  local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], from, 'COUNT', most - #out)
  from = claimed[1]
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[2] then
      local held = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
      if #held > 0 then out[#out + 1] = { entry[1], entry[2], held[1][4] } end
    end
  end
until #out >= most or from == '0-0'
return out`

/** Consumers that have come to a sudden end, and of which nothing is left to be done. ARGV: group, milliseconds. */
const tidyScript = `
local function leave(name)
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, name)
  if #pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name) end
end
if ARGV[3] then leave(ARGV[3]) return 1 end
for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local fields = {}
  for i = 1, #one, 2 do fields[one[i]] = one[i + 1] end
  if fields['pending'] == 0 and fields['idle'] > tonumber(ARGV[2]) then leave(fields['name']) end
end
return 1`

/**
 * Opens a queue on a Redis stream (Redis 6.2 or later). No request.
 *
 * An entry has the fields `body`, `id` and `key`; one without `body` is delivered as the JSON of its fields. A delay is at most `visibility`. What several consumers hold they
 * hold under names of their own, which go when they are closed.
 *
 * Publishing is 1 request for each 500 messages. Taking is 1 request where somebody's messages are overdue, and 1 more that waits for new ones; settling is 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stream = Effect.fn("RedisQueue.stream")(function* (
  options: StreamOptions
): Effect.fn.Return<MessageQueue.MessageQueue, MessageQueue.InvalidQueue, Redis.Redis> {
  const { group = "effect-s3db", keep = false, maxLength, name } = options
  const { block, memory, timeout, visibility } = yield* limitsOf(options)
  const redis = yield* Redis.Redis
  const sending = makeSending(name, timeout)
  const call = sending(redis.send)

  const trim = maxLength === undefined ? "" : `'MAXLEN', '~', ARGV[2], `
  const publisher = makePublisher({
    name,
    call,
    memory,
    keys: [name],
    args: maxLength === undefined ? [] : [String(maxLength)],
    script: `local entry = { 'body', body }
    if id ~= '' then entry[#entry + 1] = 'id' entry[#entry + 1] = id end
    if key ~= '' then entry[#entry + 1] = 'key' entry[#entry + 1] = key end
    redis.call('XADD', KEYS[1], ${trim}'*', unpack(entry))`
  })

  const createGroup = call("open", "XGROUP", "CREATE", name, group, "0", "MKSTREAM").pipe(
    Effect.asVoid,
    Effect.catchIf(
      ({ description }) => description.includes("BUSYGROUP"),
      () => Effect.void
    )
  )
  const tidy = (...args: ReadonlyArray<string>) =>
    call("open", "EVAL", tidyScript, "1", name, group, String(Math.ceil(Math.max(3_600_000, 10 * visibility))), ...args)

  const open = Effect.fnUntraced(function* () {
    const consumer = yield* Id.random
    yield* createGroup
    yield* tidy()
    // After what is given back, since finalizers go the other way round.
    yield* Effect.addFinalizer(() => Effect.ignore(tidy(consumer)))
    const arrivals = { given: false }

    const toReceived = (entry: string, list: ReadonlyArray<string>, attempt: number): MessageQueue.Received => {
      const fields = fieldsOf(list)
      const id = fields.get("id") ?? entry
      const settle = (operation: string, script: string, ...args: ReadonlyArray<string>) =>
        Effect.flatMap(call<number>(operation, "EVAL", script, "1", name, group, consumer, entry, ...args), (done) =>
          Number(done) === 1 ? Effect.void : Effect.fail(new MessageQueue.DeliveryLost({ queue: name, id }))
        )
      return {
        id,
        key: Option.fromUndefinedOr(fields.get("key")),
        attempt,
        body: bytesOf(fields.get("body") ?? JSON.stringify(Object.fromEntries(fields))),
        ack: settle("ack", ackScript, keep ? "0" : "1"),
        nack: (delay) =>
          Effect.tap(settle("nack", idleScript, String(Math.ceil(Math.max(0, visibility - delay)))), () =>
            Effect.sync(() => (arrivals.given = true))
          ),
        extend: settle("extend", idleScript, "0")
      }
    }

    let lookedAt = -Infinity
    /** What others have not settled in time. */
    const overdue = Effect.fnUntraced(function* (most: number) {
      lookedAt = yield* Clock.currentTimeMillis
      arrivals.given = false
      const idle = String(Math.ceil(visibility))
      const found = yield* call<ReadonlyArray<readonly [string, ReadonlyArray<string>, number]>>(
        "take",
        "EVAL",
        claimScript,
        "1",
        name,
        group,
        consumer,
        idle,
        String(most)
      )
      return found.map(([entry, fields, attempt]) => toReceived(entry, fields, Number(attempt)))
    })

    const receive = Effect.fnUntraced(function* (most: number) {
      const sinceLook = (yield* Clock.currentTimeMillis) - lookedAt
      if (arrivals.given || sinceLook >= block) {
        const late = yield* overdue(most)
        if (late.length > 0) return late
      }
      const args = ["GROUP", group, consumer, "COUNT", String(most), "BLOCK", String(block), "STREAMS", name, ">"]
      const answer = yield* Effect.scoped(
        Effect.gen(function* () {
          const connection = yield* Effect.mapError(
            redis.reserve,
            (error) =>
              new MessageQueue.QueueUnavailable({ queue: name, operation: "take", description: describe(error) })
          )
          return yield* makeSending(name, timeout + block)(connection.send)<unknown>("take", "XREADGROUP", ...args)
        })
      )
      return entriesOf(answer).map(([entry, fields]) => toReceived(entry, fields, 1))
    })

    return yield* MessageQueue.session({ queue: name, receive, endsByItself: true })
  })

  return { name, publisher, source: { name, extendEvery: visibility / 3, open } }
})

// -----------------------------------------------------------------------------
// Lists
// -----------------------------------------------------------------------------

/** What begins the text of a message of ours, so that texts of others are taken as they are. */
const mark = "effect-s3db:1:"

/**
 * KEYS: the list, when what is held is due, its texts, how often each was delivered, the numbers of claims. ARGV: how many, visibility.
 */
const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local out = {}
local function give(token, text)
  local claim = redis.call('HINCRBY', KEYS[5], 'last', 1)
  redis.call('HSET', KEYS[5], token, claim)
  redis.call('ZADD', KEYS[2], now + ARGV[2], token)
  out[#out + 1] = { token, claim, redis.call('HINCRBY', KEYS[4], token, 1), text }
end
for _, token in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  give(token, redis.call('HGET', KEYS[3], token))
end
while #out < tonumber(ARGV[1]) do
  local text = redis.call('RPOP', KEYS[1])
  if not text then break end
  local token = 't' .. redis.call('HINCRBY', KEYS[5], 'token', 1)
  redis.call('HSET', KEYS[3], token, text)
  give(token, text)
end
local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return { out, next[2] and tostring(math.max(0, next[2] - now)) or '' }`

/** ARGV: token, claim. */
const held = `
if redis.call('HGET', KEYS[5], ARGV[1]) ~= ARGV[2] then return 0 end`

const doneScript = `${held}
redis.call('ZREM', KEYS[2], ARGV[1])
for i = 3, 5 do redis.call('HDEL', KEYS[i], ARGV[1]) end
return 1`

/** ARGV[3]: when it is due, in milliseconds from now; ARGV[4]: whether it is nobody's then. */
const dueScript = `${held}
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[1])
if ARGV[4] == '1' then redis.call('HSET', KEYS[5], ARGV[1], '0') end
return 1`

/**
 * Opens a queue on a Redis list (Redis 6.2 or later). No request.
 *
 * Others publish to it by `LPUSH`; a text of theirs is a body. What is held, or waits for its time, lies beside the list, under
 * `effect-s3db:{NAME}:`, so that a consumer that dies loses nothing: consume a list by this alone. A delay can be any.
 *
 * Publishing is 1 request for each 500 messages, taking 1, and 1 more that waits, settling 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const list = Effect.fn("RedisQueue.list")(function* (
  options: Options
): Effect.fn.Return<MessageQueue.MessageQueue, MessageQueue.InvalidQueue, Redis.Redis> {
  const { name } = options
  const { block, memory, timeout, visibility } = yield* limitsOf(options)
  const redis = yield* Redis.Redis
  const call = makeSending(name, timeout)(redis.send)
  const keys = [name, ...["due", "texts", "attempts", "claims"].map((part) => keyOf(name, part))]
  const run = <A>(operation: string, script: string, ...args: ReadonlyArray<string>) =>
    call<A>(operation, "EVAL", script, String(keys.length), ...keys, ...args)

  const publisher = makePublisher({
    name,
    call,
    memory,
    keys: [name],
    args: [],
    script: `if id ~= '' or key ~= '' then body = '${mark}' .. #id .. ',' .. #key .. ':' .. id .. key .. body end
    redis.call('LPUSH', KEYS[1], body)`
  })

  /** Parts a text: the lengths are those of bytes. */
  const partsOf = (text: string): { readonly id?: string; readonly key?: string; readonly body: Uint8Array } => {
    const head = text.startsWith(mark) ? /^(\d{1,4}),(\d{1,4}):/.exec(text.slice(mark.length)) : null
    if (head === null) return { body: bytesOf(text) }
    const bytes = bytesOf(text.slice(mark.length + head[0].length))
    const [idLength, keyLength] = [Number(head[1]), Number(head[2])]
    const decode = (part: Uint8Array) => new TextDecoder().decode(part)
    return {
      ...(idLength === 0 ? {} : { id: decode(bytes.subarray(0, idLength)) }),
      ...(keyLength === 0 ? {} : { key: decode(bytes.subarray(idLength, idLength + keyLength)) }),
      body: bytes.subarray(idLength + keyLength)
    }
  }

  const toReceived = ([token, claim, attempt, text]: Taken): MessageQueue.Received => {
    const { body, id = token, key } = partsOf(text)
    const settle = (operation: string, script: string, ...args: ReadonlyArray<string>) =>
      Effect.flatMap(run<number>(operation, script, token, String(claim), ...args), (done) =>
        Number(done) === 1 ? Effect.void : Effect.fail(new MessageQueue.DeliveryLost({ queue: name, id }))
      )
    return {
      id,
      key: Option.fromUndefinedOr(key),
      attempt: Number(attempt),
      body,
      ack: settle("ack", doneScript),
      nack: (delay) => settle("nack", dueScript, String(Math.ceil(delay)), "1"),
      extend: settle("extend", dueScript, String(Math.ceil(visibility)), "0")
    }
  }

  const receive = Effect.fnUntraced(function* (most: number) {
    const [taken, next] = yield* run<readonly [ReadonlyArray<Taken>, string]>(
      "take",
      takeScript,
      String(most),
      String(Math.ceil(visibility))
    )
    if (taken.length > 0) return taken.map(toReceived)
    // It moves the last of the list to where it is: it waits, and takes nothing.
    const wait = Math.min(block, next === "" ? block : Math.max(10, Number(next)))
    yield* Effect.scoped(
      Effect.gen(function* () {
        const connection = yield* Effect.mapError(
          redis.reserve,
          (error) => new MessageQueue.QueueUnavailable({ queue: name, operation: "take", description: describe(error) })
        )
        const waiting = makeSending(name, timeout + block)(connection.send)
        return yield* waiting("take", "BLMOVE", name, name, "RIGHT", "RIGHT", String(wait / 1000))
      })
    )
    return []
  })

  return {
    name,
    publisher,
    source: {
      name,
      extendEvery: visibility / 3,
      // It is there, or nothing is opened.
      open: () =>
        Effect.andThen(call("open", "EXISTS", name), MessageQueue.session({ queue: name, receive, endsByItself: true }))
    }
  }
})

type Taken = readonly [token: string, claim: number, attempt: number, text: string]
