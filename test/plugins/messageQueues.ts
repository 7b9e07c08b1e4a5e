/** What every queue has to do, whatever system keeps it, by itself and with a consumer. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as JournalConsumer from "effect-s3db/JournalConsumer"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"
import { until, untilSome } from "../waiting.ts"

export interface Subject {
  /**
   * Opens a queue of a name, as another process would: what was opened under it before is the same queue. With `isShort` a consumer that is
   * silent for a second loses its messages; else nobody does, however slow the machine is.
   */
  readonly open: (name: string, isShort?: boolean) => Effect.Effect<MessageQueue.MessageQueue, unknown, Scope.Scope>
  /** Whether an id that is published twice is one message. */
  readonly remembersIds: boolean
  /** Whether a consumer that is silent for too long loses its messages. */
  readonly hasVisibility: boolean
  /** Whether keys and ids come as they were given. Default: `true`. */
  readonly carries?: boolean
  /** How many messages there are where there are many. */
  readonly many: number
  /** Whether it tells an acknowledgement that comes too late. */
  readonly refusesLate: boolean
  /** Whether a text may have characters beyond the first 65,536. Default: `true`. */
  readonly hasAstral?: boolean
  /** Milliseconds of a test. Default: 60,000. */
  readonly timeout?: number
}

let names = 0
/** A name that no queue had, also of those that a server has kept. */
export const newName = () => `q${process.pid}-${Date.now().toString(36)}-${++names}`

const numbers = (count: number): ReadonlyArray<MessageQueue.Message> =>
  Array.from({ length: count }, (_, i) => ({ id: `n${i}`, key: `k${i % 7}`, body: JSON.stringify({ n: i }) }))

export const Numbered = Schema.Struct({ n: Schema.Int })

/** A consumer on a database of its own in memory, as a process has it. */
export const consumerOn = Effect.fnUntraced(function* () {
  const { database } = yield* openOn(yield* memory)
  return yield* Effect.provideService(QueueConsumer.make(), Database.Database, database)
})

/** Takes messages until so many were acknowledged. */
const drain = Effect.fnUntraced(function* (source: MessageQueue.Source, count: number) {
  const seen: Array<string> = []
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { take } = yield* source.open({ prefetch: 10 })
      while (seen.length < count) {
        for (const delivery of yield* take(10)) {
          seen.push(MessageQueue.textOf(delivery))
          yield* delivery.ack
        }
      }
    })
  )
  return seen
})

/** How far a server is tried. */
export interface Extent {
  /** Whether it is killed. */
  readonly areKilled?: boolean
  /** How many messages there are. */
  readonly many: number
}

/** One after the other. */
const inTurn = { concurrency: 1, discard: true } as const

export const suite = (name: string, subject: Subject): void => {
  const {
    carries = true,
    hasAstral = true,
    hasVisibility,
    many,
    open,
    refusesLate,
    remembersIds,
    timeout = 60_000
  } = subject

  describe(`${name} as a queue`, () => {
    it.live(
      "delivers bodies as they were published, in their order, with ids and keys",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          const bodies = [
            "{}",
            `"ä 日本語 ${hasAstral ? "😀" : ""} \\u0000"`,
            "no JSON",
            " ",
            JSON.stringify("x".repeat(100_000)),
            "__proto__"
          ]
          yield* publisher.publish(bodies.map((body, i) => ({ body, id: `ä/${i}`, key: "a b:c" })))
          const got: Array<MessageQueue.Delivery<Uint8Array>> = []
          yield* MessageQueue.deliveries(source, { prefetch: 1 }).pipe(
            Stream.take(bodies.length),
            Stream.runForEach((delivery) =>
              Effect.andThen(
                Effect.sync(() => got.push(delivery)),
                delivery.ack
              )
            )
          )
          assert.deepStrictEqual(got.map(MessageQueue.textOf), bodies)
          assert.deepStrictEqual(
            got.map(({ attempt }) => attempt),
            bodies.map(() => 1)
          )
          if (!carries) return
          assert.deepStrictEqual(
            got.map(({ id }) => id),
            bodies.map((_, i) => `ä/${i}`)
          )
          assert.deepStrictEqual(got[0]!.key, Option.some("a b:c"))
        }),
      timeout
    )

    it.live(
      "refuses messages that cannot be, and publishes none of those with them",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          for (const wrong of [
            { body: "\uD800" },
            { body: "x", id: "" },
            { body: "x", id: "i".repeat(513) },
            { body: "x", key: "" },
            { body: "x", key: "\uD800" }
          ]) {
            const refused = yield* Effect.flip(publisher.publish([{ body: "fine" }, wrong]))
            assert.deepInclude(refused, { _tag: "MessageRefused", index: 1 })
          }
          yield* publisher.publish([])
          yield* publisher.publish([{ body: "last" }])
          assert.deepStrictEqual(yield* drain(source, 1), ["last"])
        }),
      timeout
    )

    if (remembersIds) {
      it.live(
        "takes a message in once, however often it is published",
        () =>
          Effect.gen(function* () {
            const queue = newName()
            const { publisher } = yield* open(queue)
            const other = yield* open(queue)
            const messages = numbers(5)
            yield* publisher.publish(messages)
            yield* other.publisher.publish(messages)
            assert.deepStrictEqual(
              (yield* drain(other.source, 5)).toSorted(),
              messages.map(({ body }) => body)
            )
            yield* publisher.publish(messages)
            yield* publisher.publish([{ body: "last", id: "last" }])
            assert.deepStrictEqual(yield* drain(other.source, 1), ["last"])
          }),
        timeout
      )
    }

    it.live(
      "gives back what was not acknowledged when its source closes",
      () =>
        Effect.gen(function* () {
          const queue = newName()
          const first = yield* open(queue)
          const second = yield* open(queue)
          yield* first.publisher.publish(numbers(5))
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { take } = yield* first.source.open({ prefetch: 5 })
              const held: Array<MessageQueue.Delivery<Uint8Array>> = []
              while (held.length < 5) held.push(...(yield* take(5 - held.length)))
              yield* held[1]!.ack
              yield* held[3]!.ack
              const twice = yield* Effect.exit(held[3]!.ack)
              assert.isTrue(Exit.isFailure(twice))
            })
          )
          const rest: Array<string> = []
          yield* MessageQueue.deliveries(second.source).pipe(
            Stream.take(3),
            Stream.runForEach((delivery) => {
              rest.push(MessageQueue.textOf(delivery))
              return delivery.ack
            })
          )
          assert.deepStrictEqual(rest.toSorted(), ['{"n":0}', '{"n":2}', '{"n":4}'])
        }),
      timeout
    )

    it.live(
      "delivers again what is given back, at once and after a while, with what comes after it before",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          yield* publisher.publish([{ body: "a" }])
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { take } = yield* source.open({ prefetch: 3 })
              const [first] = yield* take(1)
              yield* first!.nack()
              const [second] = yield* take(1)
              assert.strictEqual(second!.attempt, 2)
              yield* second!.nack({ delay: 700 })
              const [third] = yield* take(1)
              assert.deepStrictEqual([MessageQueue.textOf(third!), third!.attempt], ["a", 3])
              yield* third!.ack
            })
          )
          yield* publisher.publish([{ body: "b" }])
          assert.deepStrictEqual(yield* drain(source, 1), ["b"])
        }),
      timeout
    )

    it.live(
      "goes on with what comes after a message that is put off for ever",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          yield* publisher.publish([{ body: "a", key: "a" }])
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { take } = yield* source.open({ prefetch: 1 })
              const [first] = yield* take(1)
              yield* first!.nack({ delay: Infinity })
              const next = yield* Effect.forkChild(take(1), { startImmediately: true })
              yield* Effect.sleep("150 millis")
              yield* publisher.publish([{ body: "b", key: "b" }])
              const [second] = yield* Fiber.join(next)
              assert.strictEqual(MessageQueue.textOf(second!), "b")
              yield* second!.ack
            })
          )
        }),
      timeout
    )

    if (hasVisibility) {
      it.live(
        "gives the messages of a consumer that is silent to another, and not those of one that says that it goes on",
        () =>
          Effect.gen(function* () {
            const queue = newName()
            const first = yield* open(queue, true)
            const second = yield* open(queue, true)
            const { take } = yield* first.source.open({ prefetch: 2 })
            yield* first.publisher.publish(numbers(2))
            const held: Array<MessageQueue.Delivery<Uint8Array>> = []
            while (held.length < 2) held.push(...(yield* take(2 - held.length)))
            const beating = yield* Effect.forkChild(
              Effect.forever(Effect.andThen(held[1]!.extend, Effect.sleep("100 millis")))
            )
            assert.deepStrictEqual(yield* drain(second.source, 1), [MessageQueue.textOf(held[0]!)])
            yield* Fiber.interrupt(beating)
            const late = yield* Effect.exit(held[0]!.ack)
            if (refusesLate) assert.isTrue(Exit.isFailure(late))
            yield* held[1]!.ack
            yield* first.publisher.publish([{ body: "last" }])
            assert.deepStrictEqual(yield* drain(second.source, 1), ["last"])
          }),
        timeout
      )
    }
  })

  describe(`a consumer of ${name}`, () => {
    it.live(
      `handles ${many} messages with two processes, one of which is stopped and one killed, and loses none`,
      () =>
        Effect.gen(function* () {
          const queue = newName()
          const { publisher } = yield* open(queue)
          const done = new Set<number>()
          const by = [0, 0, 0, 0]
          const start = Effect.fnUntraced(function* (who: number) {
            const scope = yield* Scope.make()
            const opened = yield* Scope.provide(open(queue), scope)
            const consumer = yield* Scope.provide(consumerOn(), scope)
            const fiber = yield* Effect.forkIn(
              consumer.consume({
                source: opened.source,
                payload: Numbered,
                concurrency: 8,
                handler: ({ n }) =>
                  Effect.andThen(
                    Effect.yieldNow,
                    Effect.sync(() => {
                      done.add(n)
                      by[who]! += 1
                    })
                  )
              }),
              scope
            )
            return { fiber, scope }
          })
          const first = yield* start(0)
          const second = yield* start(1)
          const publish = (some: ReturnType<typeof numbers>) =>
            Effect.forEach(
              Array.from({ length: Math.ceil(some.length / 50) }, (_, i) => some.slice(i * 50, i * 50 + 50)),
              (page) => publisher.publish(page),
              inTurn
            )
          const early = Math.ceil((many * 2) / 3)
          const publishing = yield* Effect.forkChild(publish(numbers(many).slice(0, early)))
          yield* until("some are handled", () => done.size > many / 10)
          yield* Fiber.interrupt(first.fiber)
          const third = yield* start(2)
          yield* until("more are handled", () => done.size > many / 3)
          yield* Scope.close(second.scope, Exit.void)
          yield* Fiber.join(publishing)
          // Only the third is there for these.
          yield* publish(numbers(many).slice(early))
          yield* until("all are handled", () => done.size === many)
          assert.isAbove(by[2]!, 0)
          assert.deepStrictEqual(
            [...done].toSorted((a, b) => a - b),
            Array.from({ length: many }, (_, i) => i)
          )
          yield* Fiber.interrupt(third.fiber)
          // Nothing is left.
          yield* publisher.publish([{ body: "last", id: "last" }])
          const left = yield* drain((yield* open(queue)).source, 1)
          assert.deepStrictEqual(left, ["last"])
          for (const { scope } of [first, third]) yield* Scope.close(scope, Exit.void)
        }),
      timeout
    )

    it.live(
      "keeps as dead letters what cannot be read, what is rejected and what fails too often, and publishes them again",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          const consumer = yield* consumerOn()
          const handled: Array<number> = []
          let isMended = false
          const consuming = yield* Effect.forkChild(
            consumer.consume({
              source,
              payload: Numbered,
              maxDeliveries: 3,
              retryDelay: () => 10,
              handler: ({ n }) =>
                Effect.suspend(() => {
                  handled.push(n)
                  if (isMended || n === 0) return Effect.void
                  if (n === 1) return Effect.fail(new QueueConsumer.Reject({ description: "no\nuse" }))
                  return n === 2 ? Effect.fail({ message: "never" }) : Effect.die("dead")
                })
            })
          )
          yield* publisher.publish([
            { body: '{"n":0}', id: "0" },
            { body: '{"n":1}', id: "1", key: "k" },
            { body: '{"n":2}', id: "2" },
            { body: '{"n":3}', id: "3" },
            { body: '{"n":"four"}', id: "4" },
            { body: "{", id: "5" }
          ])
          const letters = Stream.runCollect(consumer.deadLetters(source.name))
          yield* until("all have come to their end", () => Effect.map(letters, ({ length }) => length === 5))
          const found = new Map((yield* letters).map((letter) => [letter.body, letter]))
          assert.deepInclude(found.get('{"n":1}'), { error: "no", attempts: 1, queue: source.name })
          assert.deepInclude(found.get('{"n":2}'), { error: "never", attempts: 3 })
          assert.deepInclude(found.get('{"n":3}'), { error: "dead", attempts: 3 })
          assert.strictEqual(found.get('{"n":"four"}')?.attempts, 1)
          assert.strictEqual(found.get("{")?.attempts, 1)
          assert.deepStrictEqual(
            handled.toSorted((a, b) => a - b),
            [0, 1, 2, 2, 2, 3, 3, 3]
          )
          isMended = true
          handled.length = 0
          const ids = [found.get('{"n":1}')!.id, found.get('{"n":2}')!.id]
          assert.strictEqual(yield* consumer.redrive(publisher, { ids }), 2)
          yield* until("they are handled", () => handled.length === 2)
          assert.deepStrictEqual(handled.toSorted(), [1, 2])
          assert.strictEqual(yield* consumer.discard({ queue: source.name }), 3)
          assert.deepStrictEqual(yield* letters, [])
          yield* Fiber.interrupt(consuming)
        }),
      timeout
    )

    it.live(
      "lets handlers end when it is stopped, and gives the others back",
      () =>
        Effect.gen(function* () {
          const { publisher, source } = yield* open(newName())
          const consumer = yield* consumerOn()
          const gate = yield* Deferred.make<void>()
          const begun: Array<number> = []
          const ended: Array<number> = []
          yield* publisher.publish(numbers(3))
          const consuming = yield* Effect.forkChild(
            consumer.consume({
              source,
              payload: Numbered,
              concurrency: 2,
              stopWithin: "1 minute",
              handler: ({ n }) =>
                Effect.sync(() => begun.push(n)).pipe(
                  Effect.andThen(Deferred.await(gate)),
                  Effect.andThen(Effect.sync(() => ended.push(n)))
                )
            })
          )
          yield* until("two are begun", () => begun.length === 2)
          const stopping = yield* Effect.forkChild(Fiber.interrupt(consuming), { startImmediately: true })
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(stopping)
          assert.deepStrictEqual(begun, ended)
          const [rest] = yield* drain(source, 1)
          assert.notInclude(
            begun.map((n) => JSON.stringify({ n })),
            rest
          )
        }),
      timeout
    )
  })
}

export interface Server {
  /** Ends it at once, as `kill -9` does. */
  readonly kill: Effect.Effect<unknown>
  readonly start: Effect.Effect<unknown>
}

/** What a queue on a server has to do when that dies. */
export const serverSuite = (name: string, { many, open, timeout = 60_000 }: Subject, server: () => Server): void => {
  describe(`${name} when its server dies`, () => {
    it.live(
      `loses none of ${many} messages that were acknowledged to their publisher, and handles all of them`,
      () =>
        Effect.gen(function* () {
          const queue = newName()
          const { publisher, source } = yield* open(queue, true)
          const consumer = yield* consumerOn()
          const done = new Set<number>()
          const consuming = yield* Effect.forkChild(
            consumer.consume({
              source,
              payload: Numbered,
              concurrency: 8,
              maxDeliveries: 1_000,
              retryDelay: () => 50,
              handler: ({ n }) =>
                Effect.andThen(
                  Effect.yieldNow,
                  Effect.sync(() => done.add(n))
                )
            })
          )
          const all = numbers(many)
          let published = 0
          const publishing = yield* Effect.forkChild(
            Effect.forEach(
              Array.from({ length: Math.ceil(many / 50) }, (_, i) => all.slice(i * 50, i * 50 + 50)),
              (page) =>
                publisher.publish(page).pipe(
                  Effect.tapError(() => Effect.sleep("50 millis")),
                  Effect.retry({ while: ({ _tag }) => _tag === "QueueUnavailable" }),
                  Effect.andThen(Effect.sync(() => (published += page.length)))
                ),
              inTurn
            )
          )
          for (const share of [0.2, 0.5]) {
            yield* until("some are published", () => published >= many * share)
            yield* server().kill
            yield* server().start
          }
          yield* Fiber.join(publishing)
          yield* until("all are handled", () => done.size === many)
          yield* Fiber.interrupt(consuming)
          assert.deepStrictEqual(yield* Stream.runCollect(consumer.deadLetters(queue)), [])
        }),
      timeout
    )
  })
}

class Replicated extends Resource.Service<Replicated>()("test/replicated", {
  schema: Schema.Struct({
    id: Schema.String,
    n: Schema.Int,
    text: Schema.String,
    sourceVersion: Schema.optionalKey(Schema.Int)
  }),
  primaryKey: "id",
  journal: { images: "after" }
}) {}

/**
 * So many changes of documents, out of the journal of one database through a queue into another, by two consumers at once, of which one after the
 * other is killed; `disturb` is run at times, such as to kill the server.
 */
export const roundTrip = Effect.fnUntraced(function* (
  { open }: Pick<Subject, "open">,
  count: number,
  disturb: Effect.Effect<unknown>
) {
  const on = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
    const layer = Replicated.layer.pipe(
      Layer.provideMerge(Layer.fresh(Database.layer)),
      Layer.provide(Layer.succeed(ObjectStore, store))
    )
    return yield* Layer.build(layer)
  })
  const source = yield* on(yield* memory)
  const targetStore = yield* memory
  const target = yield* on(targetStore)
  const queue = newName()

  // A third are new, half are changed, the rest deleted, and some of those come again.
  yield* Effect.gen(function* () {
    const { journal, journaled } = yield* Database.Database
    const documents = yield* Replicated
    const ids = count / 4
    const change = Effect.fnUntraced(function* (at: number) {
      const id = `d${(at * 7919) % ids}`
      if (at % 6 === 5) yield* documents.delete(id)
      else yield* documents.replace({ id, n: at, text: `ä ${at}` })
    })
    yield* Effect.forEach(
      Array.from({ length: count }, (_, at) => at),
      change,
      { concurrency: 16, discard: true }
    )
    yield* journal.catchUp(journaled)
  }).pipe(Effect.provideContext(source))

  const consumers = { killed: 0, applied: 0, isOver: false }
  /** A consumer as a process of its own, which is killed and comes again. */
  const consuming = Effect.gen(function* () {
    while (!consumers.isOver) {
      const scope = yield* Scope.make()
      const until = consumers.applied + count / 5
      yield* Effect.gen(function* () {
        const context = yield* on(targetStore)
        const consumer = yield* Effect.provideContext(QueueConsumer.make(), context)
        const apply = yield* Effect.provideContext(consumer.applying([Replicated]), context)
        const opened = yield* open(queue, true)
        const work = consumer.consume({
          source: opened.source,
          payload: QueueConsumer.ChangeMessage,
          concurrency: 16,
          maxDeliveries: 1_000,
          retryDelay: () => 50,
          stopWithin: 0,
          handler: (change, context) =>
            Effect.tap(apply(change, context), () => Effect.sync(() => void (consumers.applied += 1)))
        })
        const end = untilSome(
          "some are applied",
          () => (consumers.isOver || consumers.applied >= until ? true : undefined),
          { every: 20, within: 600_000 }
        )
        yield* Effect.raceFirst(work, end)
      }).pipe(Scope.provide(scope))
      yield* Scope.close(scope, Exit.void)
      consumers.killed += 1
    }
  })
  const fibers = [yield* Effect.forkChild(consuming), yield* Effect.forkChild(consuming)]

  const published = yield* Effect.gen(function* () {
    const { publisher } = yield* open(queue, true)
    const documents = yield* Replicated
    const consumer = yield* JournalConsumer.make({ name: "queue", resources: ["replicated"], batchSize: 200 })
    let pages = 0
    return yield* consumer.drain((entries) =>
      Effect.gen(function* () {
        const messages = yield* Effect.forEach(entries, ({ position, value }) =>
          Effect.gen(function* () {
            const gone = value.kind === "delete"
            const document = gone ? undefined : yield* documents.fromImage(value, "after")
            return QueueConsumer.messageOf({
              resource: "replicated",
              operation: value.kind === "delete" ? "delete" : "upsert",
              id: value.id,
              version: position,
              ...(document === undefined ? {} : { document: { n: document.n, text: document.text } })
            })
          })
        )
        yield* publisher.publish(messages).pipe(
          Effect.tapError(() => Effect.sleep("50 millis")),
          Effect.retry({ while: ({ _tag }) => _tag === "QueueUnavailable" })
        )
        pages += 1
        if (pages % 15 === 0) yield* disturb
      })
    )
  }).pipe(Effect.provideContext(source))
  assert.strictEqual(published.deadLetters, 0)
  assert.isAtLeast(published.handled, count * 0.8)

  const contents = (context: typeof source) =>
    Effect.flatMap(Replicated, (documents) =>
      Effect.map(Stream.runCollect(documents.scan()), (all) =>
        Object.fromEntries(all.map(({ id, n, text }) => [id, `${n} ${text}`]))
      )
    ).pipe(Effect.provideContext(context))
  const expected = yield* contents(source)
  yield* until("both are the same", () => Effect.map(contents(target), (found) => Equal.equals(found, expected)), {
    every: 500,
    within: 240_000
  })
  consumers.isOver = true
  for (const fiber of fibers) yield* Fiber.join(fiber)
  assert.deepStrictEqual(yield* contents(target), expected)
  assert.isAbove(consumers.killed, 3)
})
