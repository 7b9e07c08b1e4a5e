import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Change from "effect-s3db/Change"

interface User {
  readonly id: string
}

const changed = (_tag: Change.Tag, id: string) => (): Change.Change<User> => ({
  _tag,
  resource: "users",
  id,
  version: Option.some(1),
  before: Option.none(),
  after: _tag === "Deleted" ? Option.none() : Option.some({ id }),
  writeId: `w-${id}`,
  at: DateTime.makeUnsafe(0)
})

const show = (event: Change.Change<User> | Change.Lagged): string =>
  Change.isLagged(event) ? `lagged ${event.missed}` : `${event._tag}:${event.id}`

const publishAll = (feed: Change.Feed<User>, ids: ReadonlyArray<number>) =>
  Effect.forEach(ids, (id) => feed.publish(changed("Inserted", String(id))), { discard: true })

describe("Change", () => {
  it.effect("T48: Inserted:ID fires, for that id only", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>()
      const seen = yield* Queue.unbounded<string>()
      yield* feed.on("Inserted:a:b", (change) => Queue.offer(seen, change.id))
      yield* feed.publish(changed("Inserted", "a"))
      yield* feed.publish(changed("Updated", "a:b"))
      yield* feed.publish(changed("Inserted", "a:b"))
      assert.strictEqual(yield* Queue.take(seen), "a:b")
      yield* feed.publish(changed("Inserted", "a:b"))
      assert.strictEqual(yield* Queue.take(seen), "a:b")
    })
  )

  it.effect("T48: a handler that fails, throws or dies gets the next event, and no publisher notices", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>()
      const logged: Array<unknown> = []
      const logger = Logger.make(({ message }) => void logged.push(message))
      const seen = yield* Queue.unbounded<string>()
      yield* Effect.provide(
        feed.on({}, (change) => {
          if (change.id === "2") throw new Error("thrown")
          if (change.id === "1") return Effect.fail("no")
          if (change.id === "3") return Effect.die("bug")
          if (change.id === "4") return Effect.interrupt
          return Queue.offer(seen, change.id)
        }),
        Logger.layer([logger])
      )
      yield* publishAll(feed, [1, 2, 3, 4, 5])
      assert.strictEqual(yield* Queue.take(seen), "5")
      assert.lengthOf(logged, 3)
    })
  )

  it.effect("without subscribers nothing is made, and subscribers end with their scope", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>()
      let made = 0
      const publish = feed.publish(() => {
        made += 1
        return changed("Inserted", "1")()
      })
      yield* publish
      assert.isFalse(yield* feed.isObserved)
      const scope = yield* Scope.make()
      yield* Effect.asVoid(Scope.provide(feed.subscribe(), scope))
      assert.isTrue(yield* feed.isObserved)
      yield* publish
      assert.strictEqual(made, 1)
      yield* Scope.close(scope, Exit.void)
      yield* publish
      assert.strictEqual(made, 1)
      assert.isFalse(yield* feed.isObserved)
    })
  )

  it.effect("an event that cannot be made does not fail the publisher", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>()
      const events = yield* feed.subscribe()
      yield* Effect.provide(
        feed.publish(() => {
          throw new Error("bug")
        }),
        Logger.layer([])
      )
      yield* feed.publish(changed("Inserted", "1"))
      const [first] = yield* Stream.runCollect(Stream.take(events, 1))
      assert.strictEqual(first && show(first), "Inserted:1")
    })
  )

  it.effect("a slow subscriber is told how many it missed, the others miss nothing", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>({ capacity: 4 })
      const slow = yield* feed.subscribe()
      const fast = yield* feed.subscribe()
      const all = yield* Effect.forkChild(Stream.runCollect(Stream.map(fast, show)), { startImmediately: true })
      for (let id = 1; id <= 10; id++) {
        yield* feed.publish(changed("Inserted", String(id)))
        yield* Effect.yieldNow
      }
      yield* feed.close
      const expected = ["lagged 6", "Inserted:7", "Inserted:8", "Inserted:9", "Inserted:10"]
      assert.deepStrictEqual((yield* Stream.runCollect(slow)).map(show), expected)
      assert.lengthOf(yield* Fiber.join(all), 10)
      yield* feed.publish(changed("Inserted", "11"))
    })
  )

  it.effect("nothing is lost silently: what is seen and what is missed is everything", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>({ capacity: 3 })
      const events = yield* feed.subscribe("Deleted")
      const counted = yield* Effect.forkChild(
        Stream.runFold(
          events,
          () => 0,
          (total, event) => total + (Change.isLagged(event) ? event.missed : 1)
        )
      )
      for (let round = 1; round <= 50; round++) {
        yield* Effect.forEach(
          Array.from({ length: round % 7 }),
          (_, n) => feed.publish(changed("Deleted", `${round}-${n}`)),
          { discard: true }
        )
        if (round % 3 === 0) yield* Effect.yieldNow
      }
      yield* feed.close
      const published = Array.from({ length: 50 }, (_, n) => (n + 1) % 7).reduce((a, b) => a + b, 0)
      assert.strictEqual(yield* Fiber.join(counted), published)
    })
  )

  it.effect("a handler that is too slow is told, and never slows a publisher", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>({ capacity: 2 })
      const gate = yield* Deferred.make<void>()
      const missed = yield* Deferred.make<number>()
      const started = yield* Deferred.make<void>()
      yield* feed.on("Inserted", () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate)), {
        onLagged: (lagged) => Deferred.succeed(missed, lagged.missed)
      })
      yield* publishAll(feed, [1])
      yield* Deferred.await(started)
      yield* publishAll(feed, [2, 3, 4, 5, 6])
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(yield* Deferred.await(missed), 3)
    })
  )

  it.effect("a handler without onLagged has it in the log", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>({ capacity: 1 })
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const seen = yield* Queue.unbounded<string>()
      yield* Effect.provide(
        feed.on("Inserted", ({ id }) => Queue.offer(seen, id)),
        Logger.layer([logger])
      )
      yield* publishAll(feed, [1, 2, 3])
      assert.strictEqual(yield* Queue.take(seen), "3")
      assert.include(logged[0], "missed 2")
    })
  )

  it.effect("a handler has the services of where it was added, and ends with its scope", () =>
    Effect.gen(function* () {
      class Sink extends Context.Service<Sink, Queue.Queue<string>>()("effect-s3db/test/Change.test/Sink") {}
      const feed = yield* Change.makeFeed<User>()
      const sink = yield* Queue.unbounded<string>()
      const scope = yield* Scope.make()
      const interrupted = yield* Deferred.make<void>()
      yield* feed
        .on("Inserted", ({ id }) =>
          Effect.gen(function* () {
            yield* Queue.offer(yield* Sink, id)
            return yield* Effect.never
          }).pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
        )
        .pipe(Effect.provideService(Sink, sink), Scope.provide(scope))
      yield* publishAll(feed, [1, 2])
      assert.strictEqual(yield* Queue.take(sink), "1")
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(interrupted)
      assert.strictEqual(yield* Queue.size(sink), 0)
      assert.isFalse(yield* feed.isObserved)
    })
  )

  it.effect("a stream subscribes when it is drawn; closing lets it come to its end", () =>
    Effect.gen(function* () {
      const feed = yield* Change.makeFeed<User>()
      const events = feed.stream({ tag: ["Inserted", "Deleted"], id: ["1", "2"] })
      yield* publishAll(feed, [1])
      const collecting = yield* Effect.forkChild(Stream.runCollect(events), { startImmediately: true })
      yield* publishAll(feed, [2, 3])
      yield* feed.publish(changed("Updated", "1"))
      yield* feed.publish(changed("Deleted", "1"))
      yield* feed.close
      yield* feed.close
      assert.deepStrictEqual((yield* Fiber.join(collecting)).map(show), ["Inserted:2", "Deleted:1"])
      assert.lengthOf(yield* Stream.runCollect(events), 0)
    })
  )

  it("filters", () => {
    const some = { _tag: "ContentSet", id: "1" } as const
    assert.isTrue(Change.matches({})(some))
    assert.isTrue(Change.matches("ContentSet")(some))
    assert.isFalse(Change.matches("ContentDeleted")(some))
    assert.isTrue(Change.matches({ id: "1" })(some))
    assert.isFalse(Change.matches({ id: [] })(some))
    assert.isFalse(Change.matches({ tag: "Deleted", id: "1" })(some))
    // @ts-expect-error no such operation
    assert.isFalse(Change.matches("fetched")(some))
  })

  it.effect("the database tells of itself", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Change.makeLifecycle()
      const event = (_tag: Change.LifecycleEvent["_tag"], resource?: string) => (): Change.LifecycleEvent => ({
        _tag,
        resource: Option.fromUndefinedOr(resource),
        at: DateTime.makeUnsafe(0)
      })
      const collect = (filter?: Change.LifecycleFilter) =>
        Effect.forkChild(Stream.runCollect(lifecycle.stream(filter)), { startImmediately: true })
      const fibers = [
        yield* collect(),
        yield* collect("Closed"),
        yield* collect({ resource: "users" }),
        yield* collect({ tag: ["ResourceCreated", "Closed"] })
      ]
      yield* lifecycle.publish(event("ResourceCreated", "users"))
      yield* lifecycle.publish(event("ResourceOpened", "users"))
      yield* lifecycle.publish(event("ResourceOpened", "posts"))
      yield* lifecycle.publish(event("Closed"))
      yield* lifecycle.close
      const counts = yield* Effect.forEach(fibers, (fiber) => Effect.map(Fiber.join(fiber), (all) => all.length))
      assert.deepStrictEqual(counts, [4, 1, 2, 2])
    })
  )
})
