/** What machines do by themselves: triggers, actions, changes of other documents, and versions. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as JournalConsumer from "effect-s3db/JournalConsumer"
import * as Plugin from "effect-s3db/Plugin"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { drive, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"
import * as Machines from "./machines.ts"

type Store = ObjectStore["Service"]

const minute = 60_000
const start = Date.parse("2026-11-26T00:00:00Z")

class Declined extends Schema.TaggedError<Declined>()("Declined", { isPassing: Schema.Boolean }) {}

/** Where actions are noted, and what fails. */
class World extends Context.Service<
  World,
  { readonly act: (what: string, key: string) => Effect.Effect<void, Declined> }
>()("effect-s3db/test/plugins/StateMachine.running.test/World") {}

const worldOf = (failing: (what: string, attempt: number) => "no" | "passing" | "for good" = () => "no") => {
  const done: Array<string> = []
  const keys: Array<string> = []
  const attempts = new Map<string, number>()
  const world = World.of({
    act: (what, key) =>
      Effect.suspend(() => {
        const attempt = (attempts.get(what) ?? 0) + 1
        attempts.set(what, attempt)
        const fails = failing(what, attempt)
        if (fails !== "no") return Effect.fail(new Declined({ isPassing: fails === "passing" }))
        done.push(what)
        keys.push(key)
        return Effect.void
      })
  })
  return { world, done, keys, attempts }
}

const Payment = StateMachine.make("payment", {
  context: Schema.Struct({
    until: Schema.optionalKey(Schema.DateTimeUtc),
    reminders: Schema.Int,
    blocked: Schema.Boolean
  }),
  events: {
    Pay: {},
    Expire: {},
    Remind: {},
    GiveUp: {},
    Block: { blocked: Schema.Boolean },
    Failed: {},
    Extend: { until: Schema.DateTimeUtc }
  }
})
  .states({
    waiting: {
      initial: "waiting.new",
      on: {
        Pay: { target: "paid", do: "receipt" },
        Expire: {
          target: "expired",
          guard: ({ context }) => (context.blocked ? Effect.fail("blocked" as const) : Effect.void)
        },
        Block: { update: ({ context, event }) => ({ ...context, blocked: event.blocked }) },
        Extend: { update: ({ context, event }) => ({ ...context, until: event.until }) },
        GiveUp: "expired"
      },
      entry: "invoice",
      exit: ["close"],
      triggers: [
        { after: "1 hour", send: "Expire" },
        { at: ({ until }) => until, send: "Expire", name: "until" },
        { field: "dates.due", send: "GiveUp" }
      ]
    },
    "waiting.new": {
      on: { Remind: { update: ({ context }) => ({ ...context, reminders: context.reminders + 1 }) } },
      triggers: [{ every: "10 minutes", send: "Remind", maxTriggers: 3, onMaxTriggers: "GiveUp" }]
    },
    paid: { entry: ["charge", "ship"], on: { Failed: "failed" } },
    failed: { final: true },
    expired: { final: true, entry: "apology" }
  })
  .actions({
    invoice: { run: ({ idempotencyKey, id }) => note(`invoice ${id}`, idempotencyKey) },
    close: { run: ({ from, id, to }) => note(`close ${id} ${from} ${to}`) },
    receipt: { run: ({ event, id, version }) => note(`receipt ${id} ${event?._tag} ${version}`) },
    charge: {
      run: ({ attempt, id }) => note(`charge ${id}`, String(attempt)),
      retry: {
        attempts: 3,
        backoff: "fixed",
        pause: "10 seconds",
        isRetryable: (error) => error instanceof Declined && error.isPassing
      },
      onFailure: ({ id }) => Effect.as(note(`compensate ${id}`), "Failed" as const)
    },
    ship: { run: ({ id }) => note(`ship ${id}`), retry: { attempts: 2, pause: 0 } },
    apology: { run: ({ id }) => note(`apology ${id}`) }
  })
  .initial("waiting")

const note = (what: string, key = "") => Effect.flatMap(World, ({ act }) => act(what, key))

class Bills extends Resource.Service<Bills>()("effect-s3db/test/plugins/StateMachine.running.test/Bills", {
  schema: Schema.Struct({
    id: Schema.String,
    dates: Schema.optionalKey(Schema.Struct({ due: Schema.optionalKey(Schema.DateTimeUtc) })),
    status: Schema.optionalKey(StateMachine.Stored)
  }),
  primaryKey: "id",
  name: "bills",
  journal: { images: "both" }
}) {}

class Transfers extends Resource.Service<Transfers>()("effect-s3db/test/plugins/StateMachine.running.test/Transfers", {
  schema: Schema.Struct({ id: Schema.String, bill: Schema.String }),
  primaryKey: "id",
  name: "transfers",
  journal: { images: "after" }
}) {}

const nothing = { reminders: 0, blocked: false }

const options = {
  machine: Payment,
  resource: Bills,
  field: "status",
  triggers: false,
  keep: 2,
  changes: [
    StateMachine.onChange(Transfers, "paid", ({ after, kind }) =>
      kind === "insert" && after !== undefined ? [{ id: after.bill, event: "Pay" as const }] : []
    )
  ]
} as const

/** A process on a store; it ends with the scope. */
const processOn = Effect.fnUntraced(function* (
  store: Store,
  world: World["Service"] = worldOf().world,
  more: Partial<
    StateMachine.Options<
      typeof Bills,
      typeof Payment,
      StateMachine.ChangeTrigger<Transfers, "Pay" | { readonly _tag: "Block"; readonly blocked: boolean }>
    >
  > = {}
) {
  const { database } = yield* openOn(store)
  const bills = yield* Effect.provideService(Resource.make(Bills.definition), Database, database)
  const transfers = yield* Effect.provideService(Resource.make(Transfers.definition), Database, database)
  const flow = yield* StateMachine.open({ ...options, ...more }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Bills, bills),
    Effect.provideService(Transfers, transfers),
    Effect.provideService(World, world)
  )
  const { journal, journaled } = database
  /** Brings the journal into its order, and waits until everything has been seen to. */
  const journaling = Effect.gen(function* () {
    yield* journal.catchUp(journaled)
    const waiting = yield* Effect.forkChild(flow.caughtUp)
    while (waiting.pollUnsafe() === undefined) {
      yield* settled
      yield* TestClock.adjust("1 second")
    }
  })
  const states = (...ids: ReadonlyArray<string>) =>
    Effect.forEach(ids, (id) => Effect.map(flow.get(id), ({ state }) => state))
  return { database, bills, transfers, flow, journaling, states }
})

describe("triggers", () => {
  it.effect("send their event when a state has lasted, not a millisecond too early, once, however late", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { flow, states } = yield* processOn(yield* memory, undefined, { actions: false, changes: [] })
      yield* flow.start("é/1", nothing)
      yield* flow.start("2", { ...nothing, blocked: true })
      yield* flow.send("2", "Pay")
      assert.strictEqual((yield* flow.get("é/1")).due, start + 10 * minute)
      yield* TestClock.adjust(10 * minute - 1)
      yield* flow.sweep
      assert.strictEqual((yield* flow.get("é/1")).version, 0)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* flow.sweep, { due: 1, taken: 1, refused: 0, failed: 0 })
      assert.deepStrictEqual(yield* flow.sweep, { due: 0, taken: 0, refused: 0, failed: 0 })
      assert.strictEqual((yield* flow.get("é/1")).context.reminders, 1)
      // What was missed of a repeated one is made up for by one; the hour is over, too.
      yield* TestClock.adjust("10 days")
      yield* flow.sweep
      assert.deepStrictEqual(yield* states("é/1", "2"), ["expired", "paid"])
      const past = yield* Stream.runCollect(flow.history("é/1"))
      assert.deepStrictEqual(
        past.map(({ event, key }) => [event, key]),
        [
          ["Expire", "waiting/0@2"],
          ["Remind", "waiting.new/0@1"],
          ["Remind", "waiting.new/0@0"],
          [undefined, past[3]!.key]
        ]
      )
    })
  )

  it.effect("are not due earlier where the process that has entered the state is behind the one before it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { database } = yield* openOn(yield* memory)
      const Flip = StateMachine.make("flip", { context: Schema.Struct({}), events: { Turn: {} } })
        .states({
          heads: { on: { Turn: "tails" }, triggers: [{ after: "1 minute", send: "Turn" }] },
          tails: { on: { Turn: "heads" }, triggers: [{ after: "1 minute", send: "Turn" }] }
        })
        .initial("heads")
      const bills = yield* Effect.provideService(Resource.make(Bills.definition), Database, database)
      const flow = yield* StateMachine.open({ machine: Flip, resource: Bills, field: "status", triggers: false }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Bills, bills)
      )
      yield* flow.start("1", {})
      yield* TestClock.adjust("10 seconds")
      yield* flow.send("1", "Turn")
      const world = yield* Clock.Clock
      // As much as is taken for no difference.
      const behind: Clock.Clock = {
        ...world,
        currentTimeMillisUnsafe: () => world.currentTimeMillisUnsafe() - 1500,
        currentTimeMillis: Effect.map(world.currentTimeMillis, (millis) => millis - 1500)
      }
      yield* Effect.provideService(flow.send("1", "Turn"), Clock.Clock, behind)
      assert.strictEqual((yield* flow.get("1")).due, start + 10_000 + minute)
    })
  )

  it.effect("stop after so many, and send another event then, once", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { flow, states } = yield* processOn(yield* memory)
      yield* flow.start("1", nothing)
      for (let i = 1; i <= 3; i++) {
        yield* TestClock.adjust("10 minutes")
        yield* flow.sweep
        assert.strictEqual((yield* flow.get("1")).context.reminders, i)
      }
      assert.deepStrictEqual(yield* states("1"), ["waiting.new"])
      yield* TestClock.adjust("10 minutes")
      yield* flow.sweep
      assert.deepStrictEqual(yield* states("1"), ["expired"])
      assert.strictEqual((yield* flow.get("1")).due, undefined)
    })
  )

  it.effect("go by the time that the context says, and by a field of the document that anybody writes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { bills, flow, states } = yield* processOn(yield* memory)
      const until = DateTime.makeUnsafe(start + 5 * minute)
      yield* flow.start("context", { ...nothing, until })
      yield* flow.start("later", { ...nothing, until })
      yield* flow.start("field", nothing)
      yield* flow.send("later", { _tag: "Extend", until: DateTime.makeUnsafe(start + 7 * minute) })
      yield* bills.patch("field", { dates: { due: DateTime.makeUnsafe(start + 6 * minute) } })
      assert.strictEqual((yield* flow.get("field")).due, start + 6 * minute)
      yield* TestClock.adjust(5 * minute)
      yield* flow.sweep
      assert.deepStrictEqual(yield* states("context", "later", "field"), ["expired", "waiting.new", "waiting.new"])
      yield* TestClock.adjust(minute)
      yield* flow.sweep
      assert.deepStrictEqual(yield* states("later", "field"), ["waiting.new", "expired"])
      yield* TestClock.adjust(minute)
      yield* flow.sweep
      assert.deepStrictEqual(yield* states("later"), ["expired"])
    })
  )

  it.effect("whose event is refused come once for each version", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { flow, states } = yield* processOn(yield* memory)
      yield* flow.start("1", { ...nothing, blocked: true })
      yield* flow.sweep
      yield* TestClock.adjust("1 hour")
      // The reminder is taken, and makes a version, at which the hour is refused.
      assert.deepStrictEqual(yield* flow.sweep, { due: 1, taken: 1, refused: 1, failed: 0 })
      assert.deepStrictEqual(yield* flow.sweep, { due: 0, taken: 0, refused: 0, failed: 0 })
      yield* flow.send("1", { _tag: "Block", blocked: true })
      assert.deepStrictEqual(yield* flow.sweep, { due: 1, taken: 0, refused: 1, failed: 0 })
      yield* flow.send("1", { _tag: "Block", blocked: false })
      assert.deepStrictEqual(yield* flow.sweep, { due: 1, taken: 1, refused: 0, failed: 0 })
      assert.deepStrictEqual(yield* states("1"), ["expired"])
    })
  )

  it.effect("are sent once where two processes sweep at the same time, and by themselves where nobody asks", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { store } = yield* MemoryStore.make()
      const quiet = { actions: false, changes: [] }
      const one = yield* processOn(store, undefined, quiet)
      const two = yield* processOn(store, undefined, quiet)
      const ids = Array.from({ length: 10 }, (_, i) => String(i))
      yield* Effect.forEach(ids, (id) => one.flow.start(id, nothing), { concurrency: 8, discard: true })
      yield* TestClock.adjust("10 minutes")
      yield* Effect.all([one.flow.sweep, two.flow.sweep], { concurrency: 2 })
      for (const id of ids) assert.strictEqual((yield* one.flow.get(id)).version, 1)
      yield* processOn(store, undefined, { ...quiet, triggers: true })
      const isOver = Effect.map(one.states(...ids), (states) => states.every((state) => state === "expired"))
      for (let i = 0; !(yield* isOver); i++) {
        assert.isBelow(i, 200)
        yield* settled
        yield* TestClock.adjust("1 minute")
      }
    })
  )
})

describe("actions", () => {
  it.effect("run after the commit, in their order, each with a key of its own", () =>
    Effect.gen(function* () {
      const { done, keys, world } = worldOf()
      const { database, flow, journaling } = yield* processOn(yield* memory, world)
      yield* flow.start("a/b", nothing)
      assert.deepStrictEqual(done, [])
      yield* journaling
      assert.deepStrictEqual(done, ["invoice a/b"])
      assert.match(keys[0]!, /^state-machine\/payment\/bills\/a%2Fb\/[^/]+\/0\/invoice$/)
      yield* flow.send("a/b", "Pay")
      yield* flow.send("a/b", "Pay").pipe(Effect.ignore)
      yield* journaling
      const paid = ["close a/b waiting.new paid", "receipt a/b Pay 1", "charge a/b", "ship a/b"]
      assert.deepStrictEqual(done.slice(1), paid)
      // What is no transition runs nothing; nor does one that was not committed.
      const failed = database.transaction(Effect.andThen(flow.start("c", nothing), Effect.fail("no" as const)))
      assert.strictEqual(yield* Effect.flip(failed), "no")
      yield* journaling
      assert.strictEqual(done.length, 1 + paid.length)
    })
  )

  it.effect("run for each of several transitions that one transaction has made", () =>
    Effect.gen(function* () {
      const { done, world } = worldOf()
      const { database, flow, journaling } = yield* processOn(yield* memory, world)
      yield* database.transaction(Effect.andThen(flow.start("1", nothing), flow.send("1", "Pay")))
      yield* journaling
      assert.deepStrictEqual(done, ["invoice 1", "close 1 waiting.new paid", "receipt 1 Pay 1", "charge 1", "ship 1"])
    })
  )

  it.effect("are tried again by their policy, and what fails for good compensates and sends an event", () =>
    Effect.gen(function* () {
      const { attempts, done, world } = worldOf((what, attempt) => {
        if (what === "charge passing") return attempt < 3 ? "passing" : "no"
        if (what === "charge long") return "passing"
        return what === "charge gone" ? "for good" : "no"
      })
      const { flow, journaling, states } = yield* processOn(yield* memory, world)
      for (const id of ["passing", "long", "gone"]) {
        yield* flow.start(id, nothing)
        yield* flow.send(id, "Pay")
      }
      yield* journaling
      assert.deepStrictEqual(yield* states("passing", "long", "gone"), ["paid", "failed", "failed"])
      assert.deepStrictEqual(
        ["passing", "long", "gone"].map((id) => attempts.get(`charge ${id}`)),
        [3, 3, 1]
      )
      assert.deepStrictEqual(
        done.filter((what) => what.startsWith("comp")),
        ["compensate long", "compensate gone"].toSorted((a) =>
          a === done.find((one) => one.startsWith("comp")) ? -1 : 1
        )
      )
    })
  )

  it.effect("that nobody answers for are dead letters, which can be run again; others are not run twice for them", () =>
    Effect.gen(function* () {
      let isDown = true
      const { attempts, done, world } = worldOf((what) => (what === "ship 1" && isDown ? "passing" : "no"))
      const { flow, journaling } = yield* processOn(yield* memory, world)
      for (const id of ["1", "2", "3"]) yield* flow.start(id, nothing)
      for (const id of ["1", "2", "3"]) yield* flow.send(id, "Pay")
      yield* journaling
      assert.strictEqual(attempts.get("ship 2"), 1)
      const letters = yield* Stream.runCollect(flow.failed)
      assert.deepStrictEqual(
        letters.map(({ error, value }) => [error, value.id]),
        [["ActionFailed", "1"]]
      )
      assert.notInclude(done, "ship 1")
      isDown = false
      assert.deepStrictEqual(yield* flow.redrive, { handled: 1, failed: 0 })
      assert.include(done, "ship 1")
    })
  )

  it.effect("go on in another process where one has died, and are those of the transition that was committed", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const first = worldOf()
      const scope = yield* Scope.make()
      const dying = yield* Effect.provideService(processOn(store, first.world), Scope.Scope, scope)
      yield* dying.flow.start("1", nothing)
      yield* dying.journaling
      yield* Scope.close(scope, Exit.void)
      const idle = yield* processOn(store, undefined, { actions: false, changes: [] })
      yield* idle.flow.send("1", "Pay")
      const second = worldOf()
      const { journaling } = yield* processOn(store, second.world)
      yield* journaling
      assert.deepStrictEqual(
        [first.done, second.done],
        [["invoice 1"], ["close 1 waiting.new paid", "receipt 1 Pay 1", "charge 1", "ship 1"]]
      )
    })
  )

  it.effect("are refused where the resource has no journal that shows what has changed", () =>
    Effect.gen(function* () {
      class Silent extends Resource.Service<Silent>()("effect-s3db/test/plugins/StateMachine.running.test/Silent", {
        schema: Schema.Struct({ id: Schema.String, status: StateMachine.Stored }),
        primaryKey: "id",
        name: "silent",
        journal: { images: "after" }
      }) {}
      const { database } = yield* openOn(yield* memory)
      const silent = yield* Effect.provideService(Resource.make(Silent.definition), Database, database)
      const error = yield* StateMachine.open({ machine: Payment, resource: Silent, field: "status" }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Silent, silent),
        Effect.provideService(World, worldOf().world),
        Effect.flip
      )
      assert.match(error.message, /journal: \{ images: "both" \}/)
    })
  )
})

describe("an action whose entity is to go on", () => {
  class Rooms extends Resource.Service<Rooms>()("effect-s3db/test/plugins/StateMachine.running.test/Rooms", {
    ...StateMachine.alone({} as never),
    name: "rooms"
  }) {}
  const Room = StateMachine.make("room", {
    context: Schema.Struct({ receipt: Schema.String }),
    events: { Book: {}, Booked: { receipt: Schema.String }, Leave: {} }
  })
    .states({
      free: { on: { Book: "booking" } },
      booking: {
        entry: "book",
        on: { Booked: { target: "taken", update: ({ event }) => ({ receipt: event.receipt }) } }
      },
      taken: { on: { Leave: "free" } }
    })
    .actions({
      book: {
        run: ({ attempt, id }, { send }) => {
          // A program that breaks is an action that fails.
          if (attempt === 1) throw new Error("broken")
          const receipt = `${id}, at attempt ${attempt}`
          return Effect.gen(function* () {
            if (id === "odd") yield* send({ _tag: "Booked", receipt: 1 as never })
            yield* send({ _tag: "Booked", receipt })
            yield* send({ _tag: "Booked", receipt: "twice" })
            if (attempt === 2) return yield* Effect.fail("no answer" as const)
          })
        },
        retry: { attempts: 3, pause: "1 second" }
      }
    })
    .initial("free")

  it.effect("sends it its event, once for each transition, however often it runs", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      const rooms = yield* Effect.provideService(Resource.make(Rooms.definition), Database, database)
      const flow = yield* StateMachine.open({ machine: Room, resource: Rooms, field: "machine" }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Rooms, rooms)
      )
      const { journal, journaled } = database
      const journaling = Effect.gen(function* () {
        yield* journal.catchUp(journaled)
        yield* drive(yield* Effect.forkChild(flow.caughtUp))
      })
      for (const id of ["1", "odd"]) {
        yield* flow.start(id, { receipt: "" })
        yield* flow.send(id, "Book")
      }
      yield* journaling
      const { context, state, version } = yield* flow.get("1")
      assert.deepStrictEqual([state, version, context.receipt], ["taken", 2, "1, at attempt 2"])
      // What comes with the event does not fit: the action has failed, and nothing is passed over in silence.
      assert.strictEqual((yield* flow.get("odd")).state, "booking")
      const letters = yield* Stream.runCollect(flow.failed)
      assert.deepStrictEqual(
        letters.map(({ value }) => value.id),
        ["odd"]
      )
      // Another transition has an event of its own, and the one before is not sent again by an action that is run again.
      yield* flow.send("1", "Leave")
      yield* flow.send("1", "Book")
      yield* journaling
      assert.deepStrictEqual((yield* flow.get("1")).version, 5)
    })
  )
})

describe("changes of other documents", () => {
  it.effect("move the entities that take the event, once each, also what came while nobody listened", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const idle = yield* processOn(store, undefined, { changes: [], actions: false })
      for (const id of ["1", "2"]) yield* idle.flow.start(id, nothing)
      yield* idle.flow.send("2", "GiveUp")
      yield* idle.transfers.insert({ id: "t1", bill: "1" })
      yield* idle.transfers.insert({ id: "t2", bill: "2" })
      yield* idle.transfers.insert({ id: "t3", bill: "none" })
      const { database, flow, journaling, states } = yield* processOn(store)
      yield* journaling
      assert.deepStrictEqual(yield* states("1", "2"), ["paid", "expired"])
      const [last] = yield* Stream.runCollect(flow.history("1"))
      assert.match(last!.key, /^transfers\.paid@\d+\/0$/)
      // Somebody moves the consumer back: what has been heard is not heard again.
      const version = (yield* flow.get("1")).version
      const seen = (yield* idle.bills.get("1")).status!.seen
      assert.deepStrictEqual(Object.keys(seen!), ["transfers.paid"])
      yield* flow.send("1", "Failed")
      const consumer = yield* Effect.provideService(
        JournalConsumer.make({ name: "state-machine.bills.status.changes.paid" }),
        Database,
        database
      )
      yield* consumer.seek("beginning")
      yield* journaling
      assert.strictEqual((yield* flow.get("1")).version, version + 1)
    })
  )
})

describe("changes of other documents that cannot be made events", () => {
  it.effect("are dead letters, and are sent once when they are given again, whatever has been heard since", () =>
    Effect.gen(function* () {
      let isBroken = true
      const more = {
        changes: [
          StateMachine.onChange(Transfers, "paid", ({ after, id }) => {
            if (id === "t1" && isBroken) throw new Error("broken")
            return after === undefined
              ? []
              : [{ id: after.bill, event: { _tag: "Block", blocked: id === "t1" } as const }]
          })
        ],
        actions: false
      }
      const { flow, journaling, transfers } = yield* processOn(yield* memory, undefined, more)
      yield* flow.start("1", nothing)
      yield* transfers.insert({ id: "t1", bill: "1" })
      yield* transfers.insert({ id: "t2", bill: "1" })
      yield* journaling
      assert.strictEqual((yield* flow.get("1")).version, 1)
      const letters = yield* Stream.runCollect(flow.failed)
      assert.deepStrictEqual(
        letters.map(({ message, value }) => [value.resource, value.id, message]),
        [["transfers", "t1", "broken"]]
      )
      isBroken = false
      // Who hears of it in the moment before it is no letter any more hears of it twice.
      const twice = yield* Effect.forEach([1, 2], () => flow.redrive)
      assert.deepStrictEqual(twice, [
        { handled: 1, failed: 0 },
        { handled: 0, failed: 0 }
      ])
      const { context, version } = yield* flow.get("1")
      assert.deepStrictEqual([version, context.blocked], [2, true])
    })
  )
})

describe("what is given again", () => {
  it.effect("rings no lift twice, however much has happened since, though one call rings it twice", () =>
    Effect.gen(function* () {
      const world: Machines.World["Service"] = { act: () => Effect.void, guard: () => Effect.void }
      const { callAgain, calls, database, flow } = yield* Machines.processOn(yield* memory, world, { hears: true })
      const { journal, journaled } = database
      const journaling = Effect.gen(function* () {
        yield* journal.catchUp(journaled)
        yield* drive(yield* Effect.forkChild(flow.caughtUp))
      })
      yield* flow.start("1", { sum: 0 })
      yield* flow.send("1", { _tag: "Go", by: 1 })
      yield* calls.insert({ id: "c", lift: "1" })
      yield* journaling
      assert.strictEqual((yield* flow.get("1")).version, 3)
      for (let i = 0; i < 5; i++) yield* flow.send("1", "Step")
      yield* callAgain
      yield* journaling
      assert.strictEqual((yield* flow.get("1")).version, 8)
    })
  )

  it.effect("sends what answers for a failed action to no other life", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const idle = yield* processOn(store, undefined, { actions: false, changes: [] })
      for (let life = 0; life < 2; life++) {
        if (life > 0) yield* idle.flow.remove("1")
        yield* idle.flow.start("1", nothing)
        yield* idle.flow.send("1", "Pay")
      }
      // That of the former one fails, and that of the one that is there does not.
      const { attempts, world } = worldOf((what, attempt) => (what === "charge 1" && attempt === 1 ? "for good" : "no"))
      const { flow, journaling, states } = yield* processOn(store, world)
      yield* journaling
      assert.strictEqual(attempts.get("charge 1"), 2)
      assert.deepStrictEqual(yield* states("1"), ["paid"])
      assert.strictEqual((yield* flow.get("1")).version, 1)
    })
  )
})

describe("versions of a machine", () => {
  class Things extends Resource.Service<Things>()("effect-s3db/test/plugins/StateMachine.running.test/Things", {
    ...StateMachine.alone({} as never),
    name: "things"
  }) {}
  const events = { Go: {}, Stop: {} }
  const First = StateMachine.make("thing", { context: Schema.Struct({ n: Schema.Int }), events })
    .states({ draft: { on: { Go: "live" } }, live: { on: { Stop: "draft" } } })
    .initial("draft")
  const Second = StateMachine.make("thing", {
    version: 2,
    context: Schema.Struct({ count: Schema.Int }),
    events,
    migrate: {
      1: ({ context, state }) => ({
        state: state === "draft" ? "new" : state,
        context: { count: (context as { readonly n: number }).n }
      })
    }
  })
    .states({
      new: { on: { Go: "live" }, triggers: [{ after: "1 hour", send: "Go" }] },
      live: { on: { Stop: "new" } }
    })
    .initial("new")

  const openOf = Effect.fnUntraced(function* <M extends StateMachine.Any>(store: Store, machine: M) {
    const { database } = yield* openOn(store)
    const things = yield* Effect.provideService(Resource.make(Things.definition), Database, database)
    const flow = yield* StateMachine.open({ machine, resource: Things, field: "machine", triggers: false }).pipe(
      Effect.provideService(Database, database),
      Effect.provideService(Things, things)
    )
    return { flow: flow as StateMachine.Flow<M>, things }
  })

  it.effect("bring entities under way along, as they are read, by their next transition, or all at once", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { store } = yield* MemoryStore.make()
      const older = yield* openOf(store, First)
      for (const id of ["a", "b", "c"]) yield* older.flow.start(id, { n: 7 })
      yield* older.flow.send("b", "Go")
      const newer = yield* openOf(store, Second)
      const a = yield* newer.flow.get("a")
      assert.deepStrictEqual([a.state, a.context, a.version], ["new", { count: 7 }, 0])
      yield* newer.flow.send("b", "Stop")
      assert.strictEqual((yield* newer.flow.get("b")).state, "new")
      // The older program leaves alone what it does not know.
      assert.match((yield* Effect.flip(older.flow.send("b", "Go"))).message, /written by version 2/)
      assert.deepStrictEqual([...(yield* Stream.runCollect(newer.flow.migrate))].map(({ id }) => id).toSorted(), [
        "a",
        "c"
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(newer.flow.migrate), [])
      // Triggers that the older version did not have count from when the entity came to its state.
      yield* TestClock.adjust("1 hour")
      yield* newer.flow.sweep
      assert.deepStrictEqual((yield* newer.flow.get("a")).state, "live")
    })
  )

  describe("and what is still to be done for them", () => {
    const noted: Array<string> = []
    const tell = (said: string) => Effect.sync(() => noted.push(said))
    const FirstActs = StateMachine.make("thing", { context: Schema.Struct({ n: Schema.Int }), events })
      .states({ draft: { on: { Go: "live" } }, live: { entry: "tell", on: { Stop: "draft" } } })
      .actions({ tell: { run: ({ context, from }) => tell(`first: ${from} ${context.n}`) } })
      .initial("draft")
    const SecondActs = StateMachine.make("thing", {
      version: 2,
      context: Schema.Struct({ count: Schema.Int }),
      events,
      migrate: { 1: ({ context, state }) => ({ state, context: { count: (context as { readonly n: number }).n } }) }
    })
      .states({ draft: { on: { Go: "live" } }, live: { entry: "tell", on: { Stop: "draft" } } })
      .actions({ tell: { run: ({ context, from }) => tell(`second: ${from} ${context.count}`) } })
      .initial("draft")

    const open = Effect.fnUntraced(function* <M extends StateMachine.Any>(store: Store, machine: M, actions: boolean) {
      const { database } = yield* openOn(store)
      const things = yield* Effect.provideService(Resource.make(Things.definition), Database, database)
      const transfers = yield* Effect.provideService(Resource.make(Transfers.definition), Database, database)
      const flow = yield* StateMachine.open({
        machine,
        resource: Things,
        field: "machine",
        actions,
        changes: actions
          ? [
              StateMachine.onChange(Transfers, "stops", ({ after }) =>
                after === undefined ? [] : [{ id: after.bill, event: "Stop" as const }]
              )
            ]
          : []
      }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Things, things),
        Effect.provideService(Transfers, transfers)
      )
      const { journal, journaled } = database
      const catchUp = journal.catchUp(journaled)
      return { flow: flow as StateMachine.Flow<M>, catchUp, transfers }
    })

    it.effect("actions of an earlier version are given the context as it is by now", () =>
      Effect.gen(function* () {
        noted.length = 0
        const { store } = yield* MemoryStore.make()
        const older = yield* open(store, FirstActs, false)
        yield* older.flow.start("a", { n: 7 })
        yield* older.flow.send("a", "Go")
        const newer = yield* open(store, SecondActs, true)
        yield* newer.catchUp
        yield* drive(yield* Effect.forkChild(newer.flow.caughtUp))
        assert.deepStrictEqual(noted, ["second: draft 7"])
        assert.deepStrictEqual(yield* Stream.runCollect(newer.flow.failed), [])
      })
    )

    it.effect("what is for a newer version waits for the program that has it, and is not given up", () =>
      Effect.gen(function* () {
        noted.length = 0
        const { store } = yield* MemoryStore.make()
        const newer = yield* open(store, SecondActs, false)
        const scope = yield* Scope.make()
        const older = yield* Effect.provideService(open(store, FirstActs, true), Scope.Scope, scope)
        yield* newer.flow.start("a", { count: 7 })
        yield* newer.flow.send("a", "Go")
        yield* newer.transfers.insert({ id: "t", bill: "a" })
        yield* newer.catchUp
        for (let i = 0; i < 120; i++) {
          yield* settled
          yield* TestClock.adjust("1 second")
        }
        assert.deepStrictEqual(noted, [])
        assert.deepStrictEqual(yield* Stream.runCollect(older.flow.failed), [])
        yield* Scope.close(scope, Exit.void)
        const { flow } = yield* open(store, SecondActs, true)
        yield* drive(yield* Effect.forkChild(flow.caughtUp))
        assert.deepStrictEqual(noted, ["second: draft 7"])
        assert.strictEqual((yield* flow.get("a")).state, "draft")
      })
    )

    it.effect("what an earlier version was due for, and this one is not, is looked at once", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { store } = yield* MemoryStore.make()
        const Waiting = StateMachine.make("thing", { context: Schema.Struct({ n: Schema.Int }), events })
          .states({
            draft: { on: { Go: "live" }, triggers: [{ after: "1 hour", send: "Go" }] },
            live: { on: { Stop: "draft" } }
          })
          .initial("draft")
        const older = yield* openOf(store, Waiting)
        yield* older.flow.start("a", { n: 7 })
        yield* TestClock.adjust("2 hours")
        const Patient = StateMachine.make("thing", { context: Schema.Struct({ n: Schema.Int }), events, version: 2 })
          .states({
            draft: { on: { Go: "live" } },
            live: { on: { Stop: "draft" }, triggers: [{ after: "1 hour", send: "Stop" }] }
          })
          .initial("draft")
        const newer = yield* openOf(store, Patient)
        assert.deepStrictEqual(yield* newer.flow.sweep, { due: 1, taken: 0, refused: 0, failed: 0 })
        assert.deepStrictEqual(yield* newer.flow.sweep, { due: 0, taken: 0, refused: 0, failed: 0 })
        assert.strictEqual((yield* newer.flow.get("a")).state, "draft")
      })
    )
  })

  it.effect("say what cannot be brought along", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const older = yield* openOf(store, First)
      yield* older.flow.start("a", { n: 1 })
      const Third = StateMachine.make("thing", { version: 3, context: Schema.Struct({ n: Schema.Int }), events })
        .states({ only: { on: { Go: "only", Stop: "only" } } })
        .initial("only")
      const newer = yield* openOf(store, Third)
      const error = yield* Effect.flip(newer.flow.send("a", "Go"))
      assert.match(error.message, /there is no state "draft"; the machine has no migrate\[1\], migrate\[2\]$/)
      const [told] = yield* Stream.runCollect(newer.flow.migrate)
      assert.deepStrictEqual([told?.id, told?.error?._tag], ["a", "UnknownForm"])
    })
  )
})

describe("entities of a state that are sent an event which brings them into it anew", () => {
  class Bells extends Resource.Service<Bells>()("effect-s3db/test/plugins/StateMachine.running.test/Bells", {
    schema: Schema.Struct({ id: Schema.String, bell: StateMachine.Stored }),
    primaryKey: "id",
    name: "bells"
  }) {}
  const Bell = StateMachine.make("bell", { context: Schema.Struct({}), events: { Ring: {} } })
    .states({
      hung: { initial: "hung.left" },
      "hung.left": { on: { Ring: "hung.right" } },
      "hung.right": { on: { Ring: "hung.left" } }
    })
    .initial("hung")

  it.effect("are given once, by the index, too, however long that takes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { database } = yield* openOn(yield* memory)
      const bells = yield* Effect.provideService(Resource.make(Bells.definition), Database, database)
      const flow = yield* StateMachine.open({
        machine: Bell,
        resource: Bells,
        field: "bell",
        statistics: true,
        concurrency: 1,
        triggers: false
      }).pipe(Effect.provideService(Database, database), Effect.provideService(Bells, bells))
      const bell = yield* flow.initial({})
      const count = 8
      yield* bells.insertMany(Array.from({ length: count }, (_, i) => ({ id: `b${i}`, bell })))
      yield* flow.sweep
      let sent = 0
      const ring = flow.sendMany(flow.inState("hung"), "Ring").pipe(
        // Time goes on while they are sent their event.
        Stream.tap(() =>
          Effect.andThen(
            Effect.sync(() => sent++),
            TestClock.adjust("1 second")
          )
        ),
        Stream.take(2 * count)
      )
      yield* Stream.runDrain(ring)
      assert.strictEqual(sent, count)
      // What another process has brought there by a clock that is ahead is there, too.
      const late = { ...bell, since: start + 1500 }
      yield* bells.insert({ id: "ahead", bell: late })
      assert.strictEqual((yield* Stream.runCollect(flow.inState("hung"))).length, count + 1)
    })
  )
})

describe("the plugin", () => {
  it.effect("says that no action runs where nobody keeps the journal", () => {
    const said: Array<string> = []
    const logger = Logger.make<unknown, void>(({ message }) => void said.push(String(message)))
    return Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { database, flow, journaling } = yield* processOn(yield* memory)
      const health = Effect.map(Effect.provideService(Plugin.statuses, Database, database), ([one]) => one?.health)
      assert.deepStrictEqual(yield* health, { level: "up" })
      yield* flow.start("1", nothing)
      const detail = "entries wait and nobody keeps the journal: give one program the layer of plugins/Journaler"
      assert.deepStrictEqual(yield* health, { level: "degraded", detail })
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(said, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(said, [`state-machine: no action of "payment" runs. ${detail}`])
      yield* journaling
      assert.deepStrictEqual(yield* health, { level: "up" })
      // Somebody has kept it, and does not any more.
      yield* flow.send("1", "Pay")
      assert.deepStrictEqual(yield* health, { level: "up" })
      yield* TestClock.adjust("6 minutes")
      assert.deepStrictEqual(yield* health, { level: "degraded", detail })
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("is up again when its store can be reached, also where nothing is due", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const store = yield* memory
      let isDown = false
      const failing: Store = {
        ...store,
        list: (request) =>
          isDown
            ? Effect.fail(
                new StoreError.StoreError({
                  operation: "list",
                  reason: new StoreError.Unavailable({ description: "away", sent: false })
                })
              )
            : store.list(request)
      }
      const more = { actions: false, changes: [], triggers: true, interval: "10 seconds" } as const
      const { database, flow } = yield* processOn(failing, undefined, more)
      // Its index is built, so that looking for what is due finds that nothing is.
      yield* flow.sweep
      const healthAfter = Effect.fnUntraced(function* (is: boolean) {
        isDown = is
        yield* TestClock.adjust("20 seconds")
        yield* settled
        const [status] = yield* Effect.provideService(Plugin.statuses, Database, database)
        return status?.health.level
      })
      assert.deepStrictEqual([yield* healthAfter(true), yield* healthAfter(false)], ["degraded", "up"])
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.effect("tells what it does, and how it is", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { database, flow } = yield* processOn(yield* memory, undefined, { actions: false, changes: [] })
      const events = yield* Effect.forkChild(Stream.runHead(flow.events))
      yield* flow.start("1", nothing)
      yield* settled
      yield* TestClock.adjust("10 minutes")
      yield* flow.sweep
      const event = Option.getOrThrow(yield* Fiber.join(events))
      assert.deepStrictEqual(event, {
        _tag: "Triggered",
        machine: "payment",
        id: "1",
        trigger: "waiting.new/0",
        taken: true
      })
      const [status] = yield* Effect.provideService(Plugin.statuses, Database, database)
      assert.deepStrictEqual([status?.state, status?.health.level, status?.counters["triggered"]], ["running", "up", 1])
    })
  )
})
