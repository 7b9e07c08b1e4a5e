import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import { StoreError, Throttled, Timeout } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"
import { crashing, drive, keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { missing: Schema.Int }) {}

const events = { Pay: { amount: Schema.Int }, Note: {}, Ship: {}, Arrive: {}, Cancel: {} }

const Order = StateMachine.make("order", {
  context: Schema.Struct({ due: Schema.Int, paid: Schema.Int, notes: Schema.Int }),
  events
})
  .states({
    open: {
      on: {
        Pay: [
          {
            target: "paid",
            guard: ({ context, event }) => {
              const missing = context.due - context.paid - event.amount
              return missing > 0 ? Effect.fail(new TooLittle({ missing })) : Effect.void
            },
            update: ({ context, event }) => ({ ...context, paid: context.paid + event.amount })
          }
        ],
        Note: { update: ({ context }) => ({ ...context, notes: context.notes + 1 }) },
        Cancel: "cancelled"
      }
    },
    paid: { initial: "paid.packing", on: { Cancel: "cancelled" } },
    "paid.packing": { on: { Ship: "paid.sent" } },
    "paid.sent": { on: { Arrive: "done" } },
    done: { final: true },
    cancelled: { final: true }
  })
  .initial("open")

class Orders extends Resource.Service<Orders>()("effect-s3db/test/plugins/StateMachine.test/Orders", {
  schema: Schema.Struct({
    id: Schema.String,
    title: Schema.optionalKey(Schema.String),
    status: Schema.optionalKey(StateMachine.Stored)
  }),
  primaryKey: "id",
  name: "orders"
}) {}

const nothing = { due: 10, paid: 0, notes: 0 }

/** A process on a store; it ends with the scope. */
const processOn = Effect.fnUntraced(function* (
  store: Store,
  options: Partial<StateMachine.Options<typeof Orders, typeof Order>> = {}
) {
  const { database } = yield* openOn(store)
  const orders = yield* Effect.provideService(Resource.make(Orders.definition), Database, database)
  const flow = yield* StateMachine.open({ machine: Order, resource: Orders, field: "status", ...options }).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Orders, orders)
  )
  return { database, flow, orders }
})

const tagOf = (exit: Result.Result<unknown, { readonly _tag: string }>) =>
  Result.isSuccess(exit) ? "success" : exit.failure._tag

/** A store whose client crashes at a request that is said later. */
const crashingFrom = (store: Store) => {
  let inner = store
  const request = <A, E>(of: (store: Store) => Effect.Effect<A, E>) => Effect.suspend(() => of(inner))
  const outer: Store = {
    ...store,
    put: (one) => request((to) => to.put(one)),
    get: (...args) => request((to) => to.get(...args)),
    head: (key) => request((to) => to.head(key)),
    delete: (...args) => request((to) => to.delete(...args)),
    deleteMany: (...args) => request((to) => to.deleteMany(...args)),
    list: (one) => request((to) => to.list(one))
  }
  return {
    store: outer,
    at: (number: number) => {
      inner = crashing(store, number, "before").store
    }
  }
}

describe("StateMachine", () => {
  it.effect("brings an entity from state to state, and keeps what has happened", () =>
    Effect.gen(function* () {
      const { flow, orders } = yield* processOn(yield* memory)
      yield* TestClock.setTime(1000)
      yield* orders.insert({ id: "1", title: "books" })
      assert.strictEqual(tagOf(yield* Effect.result(flow.send("1", "Note"))), "NotStarted")
      const begun = yield* flow.start("1", nothing)
      assert.deepStrictEqual(begun.events, ["Cancel", "Note", "Pay"])
      yield* flow.send("1", "Note")
      const paid = yield* flow.send("1", { _tag: "Pay", amount: 10 })
      assert.deepStrictEqual(paid, {
        id: "1",
        event: "Pay",
        from: "open",
        to: "paid.packing",
        version: 2,
        at: 1000,
        context: { due: 10, paid: 10, notes: 1 },
        repeated: false
      })
      yield* flow.send("1", "Ship")
      yield* flow.send("1", "Arrive")
      const entity = yield* flow.get("1")
      assert.deepStrictEqual([entity.state, entity.isFinal, entity.events, entity.version], ["done", true, [], 4])
      const past = yield* Stream.runCollect(flow.history("1"))
      assert.deepStrictEqual(
        past.map(({ event, from, to, version }) => [version, event, from, to]),
        [
          [4, "Arrive", "paid.sent", "done"],
          [3, "Ship", "paid.packing", "paid.sent"],
          [2, "Pay", "open", "paid.packing"],
          [1, "Note", "open", "open"],
          [0, undefined, undefined, "open"]
        ]
      )
      assert.deepStrictEqual(past[2]!.payload, { _tag: "Pay", amount: 10 })
      // What else the document has is as it was.
      assert.strictEqual((yield* orders.get("1")).title, "books")
    })
  )

  it.effect("names the events that are taken where one is not, and gives the reason of a guard with its type", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory)
      yield* flow.start("é/1", nothing)
      const invalid = yield* Effect.flip(flow.send("é/1", "Ship"))
      assert(invalid instanceof StateMachine.InvalidEvent)
      assert.deepStrictEqual([invalid.state, invalid.event, invalid.valid], ["open", "Ship", ["Cancel", "Note", "Pay"]])
      const refused = yield* flow
        .send("é/1", { _tag: "Pay", amount: 3 })
        .pipe(Effect.catchTag("Refused", Effect.succeed))
      assert(refused instanceof StateMachine.Refused)
      const reason: TooLittle = refused.reason
      assert.strictEqual(reason.missing, 7)
      assert.match(refused.message, /a guard refuses "Pay": TooLittle$/)
      const misfit = yield* Effect.flip(flow.send("é/1", { _tag: "Pay", amount: 1.5 }))
      // No guard gets to see it.
      assert(misfit instanceof StateMachine.InvalidEvent)
      assert.match(misfit.message, /"Pay" does not fit/)
      assert.isTrue(yield* flow.can("é/1", { _tag: "Pay", amount: 10 }))
      assert.isFalse(yield* flow.can("é/1", { _tag: "Pay", amount: 9 }))
      assert.isFalse(yield* flow.can("é/1", "Arrive"))
      yield* flow.send("é/1", "Cancel")
      assert.match((yield* Effect.flip(flow.send("é/1", "Note"))).message, /takes no event/)
      assert.strictEqual((yield* flow.get("é/1")).version, 1)
    })
  )

  it.effect("starts an entity once", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory)
      yield* flow.start("1", nothing)
      yield* flow.send("1", "Note")
      assert.strictEqual(tagOf(yield* Effect.result(flow.start("1", nothing))), "AlreadyStarted")
      assert.strictEqual((yield* flow.get("1")).version, 1)
      assert.strictEqual(tagOf(yield* Effect.result(flow.send("2", "Note"))), "NotFound")
    })
  )

  it.effect("starts an entity in a document that has more fields than a machine gives it", () =>
    Effect.gen(function* () {
      class Parcels extends Resource.Service<Parcels>()("effect-s3db/test/plugins/StateMachine.test/Parcels", {
        schema: Schema.Struct({
          id: Schema.String,
          customer: Schema.String,
          status: Schema.optionalKey(StateMachine.Stored)
        }),
        primaryKey: "id",
        name: "parcels"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const parcels = yield* Effect.provideService(Resource.make(Parcels.definition), Database, database)
      const flow = yield* StateMachine.open({ machine: Order, resource: Parcels, field: "status" }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Parcels, parcels)
      )
      yield* parcels.insert({ id: "1", customer: "ada" })
      yield* flow.start("1", nothing)
      assert.strictEqual((yield* parcels.get("1")).customer, "ada")
      assert.strictEqual((yield* flow.get("1")).version, 0)
      assert.strictEqual(tagOf(yield* Effect.result(flow.start("1", nothing))), "AlreadyStarted")
      assert.strictEqual(tagOf(yield* Effect.result(flow.start("2", nothing))), "InvalidInput")
    })
  )

  it.effect("takes exactly one of 50 events for each version, from two processes", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const one = yield* processOn(store)
      const two = yield* processOn(store)
      yield* one.flow.start("1", nothing)
      const stale = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? one : two)),
        ({ flow }) => Effect.result(flow.send("1", "Note", { ifVersion: 0 })),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(stale.map(tagOf).toSorted(), [
        ...Array.from({ length: 49 }, () => "StaleVersion"),
        "success"
      ])
      const all = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : two)),
        ({ flow }) => Effect.map(flow.send("1", "Note", { retries: 1000 }), ({ version }) => version),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        all.toSorted((a, b) => a - b),
        Array.from({ length: 20 }, (_, i) => i + 2)
      )
      const { context, version } = yield* one.flow.get("1")
      assert.deepStrictEqual([context.notes, version], [21, 21])
      const past = yield* Stream.runCollect(two.flow.history("1"))
      assert.deepStrictEqual(
        past.map((entry) => entry.version),
        Array.from({ length: 22 }, (_, i) => 21 - i)
      )
    })
  )

  it.effect("answers what is sent again with the same key by what it has done", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory)
      yield* flow.start("1", nothing)
      const first = yield* flow.send("1", { _tag: "Pay", amount: 10 }, { key: "payment 7" })
      const again = yield* flow.send("1", { _tag: "Pay", amount: 10 }, { key: "payment 7" })
      assert.deepStrictEqual({ ...again, repeated: false }, first)
      assert.isTrue(again.repeated)
      assert.strictEqual((yield* flow.get("1")).version, 1)
    })
  )

  it.effect("moves an entity once for each event on a store that loses answers", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const faulty = FaultyStore.make(store, {
        seed: 7,
        faults: { errorBefore: 0.1, errorAfter: 0.3, duplicate: 0.1, throttle: 0.1 }
      })
      const { flow } = yield* processOn(RetryingStore.make(faulty.store, { retries: 6 }), { keep: 2 })
      yield* flow.start("1", nothing)
      for (let i = 1; i <= 12; i++) assert.strictEqual((yield* flow.send("1", "Note")).version, i)
      assert.strictEqual((yield* flow.get("1")).context.notes, 12)
    })
  )

  it.effect("takes an event once where its answer was lost, and others have put its transition away since", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const others = yield* processOn(inner, { keep: 2 })
      let meanwhile: Effect.Effect<unknown, unknown> | undefined
      const lost = new StoreError({ operation: "put", reason: new Timeout({ description: "none", afterMillis: 1 }) })
      const store: Store = {
        ...inner,
        put: (request) => {
          const then = meanwhile
          if (then === undefined || !request.key.includes("/data/id=")) return inner.put(request)
          meanwhile = undefined
          return Effect.andThen(inner.put(request), Effect.andThen(Effect.orDie(then), Effect.fail(lost)))
        }
      }
      const { flow } = yield* processOn(store, { keep: 2 })
      yield* flow.start("1", nothing)
      meanwhile = Effect.repeat(others.flow.send("1", "Note"), { times: 5 })
      const { context, repeated, version } = yield* flow.send("1", "Note")
      assert.deepStrictEqual([version, repeated, context.notes], [1, true, 7])
      assert.strictEqual((yield* others.flow.get("1")).version, 7)
      // Where the entity has begun anew nobody can tell, and the new one is not sent what was meant for the former.
      meanwhile = Effect.andThen(others.flow.remove("1"), others.flow.start("1", nothing))
      const error = yield* Effect.flip(flow.send("1", "Note"))
      assert.deepStrictEqual(error._tag === "DbError" && error.outcome, "unknown")
      assert.strictEqual((yield* others.flow.get("1")).version, 0)
    })
  )

  it.effect("does not take back what others have sent since the answer of a start was lost", () =>
    Effect.gen(function* () {
      for (const isThere of [false, true]) {
        const inner = yield* memory
        const others = yield* processOn(inner)
        let isArmed = false
        const store: Store = {
          ...inner,
          put: (request) => {
            if (!isArmed || !request.key.includes("/data/id=")) return inner.put(request)
            return Effect.gen(function* () {
              // That of an insert is refused where the document is there, and the update comes after it.
              yield* inner.put(request)
              isArmed = false
              // So many that the document does not tell any more who wrote it then.
              yield* Effect.orDie(Effect.repeat(others.flow.send("1", "Note"), { times: 40 }))
              // Nobody has heard of it, so that it is sent once more.
              return yield* inner.put(request)
            })
          }
        }
        const { flow, orders } = yield* processOn(store)
        if (isThere) yield* orders.insert({ id: "1", title: "t" })
        isArmed = true
        yield* flow.start("1", nothing)
        const { context, version } = yield* others.flow.get("1")
        assert.deepStrictEqual([version, context.notes], [41, 41])
        assert.strictEqual((yield* Stream.runCollect(others.flow.history("1"))).length, 42)
      }
    })
  )

  it.effect("does not say that nothing was done where an answer was lost, and nobody can be asked after", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const lost = new StoreError({ operation: "put", reason: new Timeout({ description: "none", afterMillis: 1 }) })
      const slow = new StoreError({ operation: "get", reason: new Throttled({ description: "later" }) })
      let left = 0
      const store: Store = {
        ...inner,
        put: (request) => {
          if (!request.key.includes("/data/id=") || left === 0) return inner.put(request)
          left = 2
          return Effect.andThen(inner.put(request), Effect.fail(lost))
        },
        get: (...args) => (left === 2 ? Effect.fail(slow) : inner.get(...args))
      }
      const { flow } = yield* processOn(store)
      yield* flow.start("1", nothing)
      left = 1
      const error = yield* Effect.flip(flow.send("1", "Note"))
      assert.deepStrictEqual(error._tag === "DbError" && error.outcome, "unknown")
      left = 0
      assert.strictEqual((yield* flow.get("1")).version, 1)
    })
  )

  it.effect("says of a transition when it was written, and not when it was asked for", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      yield* TestClock.setTime(10_000)
      const others = yield* processOn(inner)
      let meanwhile: Effect.Effect<unknown, unknown> | undefined
      const store: Store = {
        ...inner,
        put: (request) => {
          const then = meanwhile
          if (then === undefined || !request.key.includes("/data/id=")) return inner.put(request)
          meanwhile = undefined
          return Effect.andThen(Effect.orDie(then), inner.put(request))
        }
      }
      const { flow } = yield* processOn(store)
      yield* flow.start("1", nothing)
      meanwhile = Effect.andThen(others.flow.send("1", "Note"), TestClock.adjust("1 minute"))
      assert.strictEqual((yield* flow.send("1", "Note")).at, 70_000)
    })
  )

  it.effect("costs 1 GET and 1 PUT, and every `keep` transitions the log", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { flow } = yield* processOn(counted, { keep: 5 })
      yield* flow.start("1", nothing)
      yield* flow.send("1", "Note")
      const costs: Array<string> = []
      for (let i = 0; i < 20; i++) {
        yield* counter.reset
        yield* flow.send("1", "Note")
        const { get, put, ...rest } = yield* counter.counts
        assert.deepStrictEqual(
          Object.values(rest).filter((n) => n !== 0),
          []
        )
        costs.push(`${get}+${put}`)
      }
      // The ninth transition and every fifth after it find ten in the document: five go into the log.
      assert.deepStrictEqual(
        costs,
        Array.from({ length: 20 }, (_, i) => (i === 7 || i === 12 || i === 17 ? "2+3" : "1+1"))
      )
      yield* counter.reset
      assert.strictEqual((yield* Stream.runCollect(flow.history("1"))).length, 22)
    })
  )

  it.effect("loses and doubles no transition of the past, whatever request a process dies at", () =>
    Effect.gen(function* () {
      for (let at = 1; ; at++) {
        const { store } = yield* MemoryStore.make()
        const before = yield* processOn(store, { keep: 2 })
        yield* before.flow.start("1", nothing)
        for (let i = 0; i < 3; i++) yield* before.flow.send("1", "Note")
        const dying = crashingFrom(store)
        const { flow } = yield* processOn(dying.store, { keep: 2 })
        yield* flow.get("1")
        dying.at(at)
        const exit = yield* Effect.exit(flow.send("1", "Note", { key: "k" }))
        const after = yield* processOn(store, { keep: 2 })
        yield* after.flow.send("1", "Note", { key: "k" })
        const past = yield* Stream.runCollect(after.flow.history("1"))
        assert.deepStrictEqual(
          past.map(({ version }) => version),
          [4, 3, 2, 1, 0],
          `request ${at}`
        )
        if (Exit.isSuccess(exit)) {
          // Those of the log, and of the document.
          assert.strictEqual(at, 6)
          return
        }
      }
    })
  )

  it.effect("moves several entities together, or none", () =>
    Effect.gen(function* () {
      const { database, flow } = yield* processOn(yield* memory)
      yield* flow.start("a", nothing)
      yield* flow.start("b", nothing)
      const both = (amount: number) =>
        database.transaction(
          Effect.gen(function* () {
            yield* flow.send("a", "Note")
            yield* flow.send("a", "Cancel")
            yield* flow.send("b", { _tag: "Pay", amount })
          })
        )
      assert.strictEqual(tagOf(yield* Effect.result(both(3))), "Refused")
      assert.strictEqual((yield* flow.get("a")).version, 0)
      yield* both(10)
      assert.deepStrictEqual(
        [yield* flow.get("a"), yield* flow.get("b")].map(({ state, version }) => [state, version]),
        [
          ["cancelled", 2],
          ["paid.packing", 1]
        ]
      )
    })
  )

  it.effect("waits for a state, and says when it cannot come any more", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory)
      yield* flow.start("1", nothing)
      const waiting = yield* Effect.forkChild(flow.waitFor("1", ["paid"]))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(waiting.pollUnsafe())
      yield* flow.send("1", { _tag: "Pay", amount: 10 })
      // One that is inside is meant, too.
      assert.strictEqual((yield* drive(waiting)).state, "paid.packing")
      yield* flow.send("1", "Cancel")
      assert.strictEqual(tagOf(yield* Effect.result(flow.waitFor("1", "done"))), "NeverReached")
    })
  )

  it.effect("waits no longer than until this process has written the entity", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory)
      yield* flow.start("1", nothing)
      const waiting = yield* Effect.forkChild(flow.waitFor("1", ["paid"]))
      // From here on no time passes.
      yield* TestClock.adjust("1 minute")
      yield* flow.send("1", { _tag: "Pay", amount: 10 })
      assert.strictEqual((yield* Fiber.join(waiting)).state, "paid.packing")
    })
  )

  it.effect("leaves a final state by nothing, whatever is around it", () =>
    Effect.gen(function* () {
      const machine = StateMachine.make("parcel", { context: Schema.Struct({}), events: { Leave: {}, End: {} } })
        .states({
          a: { initial: "a.first", on: { Leave: "b" }, triggers: [{ after: "1 hour", send: "Leave" }] },
          "a.first": { on: { End: "a.last" } },
          "a.last": { final: true },
          b: {}
        })
        .initial("a")
      class Parcels extends Resource.Service<Parcels>()("effect-s3db/test/plugins/StateMachine.test/Parcels", {
        ...StateMachine.alone(machine),
        name: "parcels"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const parcels = yield* Effect.provideService(Resource.make(Parcels.definition), Database, database)
      const flow = yield* StateMachine.open({ machine, resource: Parcels, field: "machine", triggers: false }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Parcels, parcels)
      )
      yield* flow.start("1", {})
      const { machine: begun } = yield* parcels.get("1")
      yield* flow.send("1", "End")
      const { due, isFinal } = yield* flow.get("1")
      assert.deepStrictEqual([isFinal, due, yield* flow.can("1", "Leave")], [true, undefined, false])
      assert.strictEqual(tagOf(yield* Effect.result(flow.send("1", "Leave"))), "InvalidEvent")
      assert.deepStrictEqual(StateMachine.analyze(machine).unreachable, [])
      // As an earlier release has left it: its triggers are put away, once.
      yield* parcels.update("1", ({ machine: stored }) => ({
        machine: { ...stored, timers: begun.timers!, due: begun.due! }
      }))
      yield* TestClock.adjust("2 hours")
      assert.deepStrictEqual(yield* flow.sweep, { due: 1, taken: 0, refused: 0, failed: 0 })
      assert.deepStrictEqual(yield* flow.sweep, { due: 0, taken: 0, refused: 0, failed: 0 })
      assert.strictEqual((yield* flow.get("1")).state, "a.last")
    })
  )

  it.effect("goes on with the others where a guard or a migration of one dies", () =>
    Effect.gen(function* () {
      const context = Schema.Struct({ n: Schema.Int })
      const first = StateMachine.make("fragile", { context, events: { Go: {} } })
        .states({
          a: { on: { Go: { guard: ({ context: { n } }) => (n === 1 ? Effect.die(new Error("no")) : Effect.void) } } }
        })
        .initial("a")
      const second = StateMachine.make("fragile", {
        context,
        events: { Go: {} },
        version: 2,
        migrate: {
          1: (old) => {
            if (JSON.stringify(old.context) === '{"n":1}') throw new RangeError("no")
            return old
          }
        }
      })
        .states({ a: { on: { Go: {} } } })
        .initial("a")
      class Vases extends Resource.Service<Vases>()("effect-s3db/test/plugins/StateMachine.test/Vases", {
        ...StateMachine.alone(first),
        name: "vases"
      }) {}
      const { database } = yield* openOn(yield* memory)
      const vases = yield* Effect.provideService(Resource.make(Vases.definition), Database, database)
      const flowOf = Effect.fnUntraced(function* (machine: typeof first | typeof second) {
        return yield* StateMachine.open({ machine, resource: Vases, field: "machine", concurrency: 1 }).pipe(
          Effect.provideService(Database, database),
          Effect.provideService(Vases, vases)
        )
      })
      const flow = yield* flowOf(first)
      for (const n of [0, 1, 2]) yield* flow.start(`${n}`, { n })
      const told = yield* Stream.runCollect(flow.sendMany(["0", "1", "2"], "Go"))
      assert.deepStrictEqual(
        told.map(({ id, result }) => [id, tagOf(result)]),
        [
          ["0", "success"],
          ["1", "DbError"],
          ["2", "success"]
        ]
      )
      const migrated = yield* Stream.runCollect((yield* flowOf(second)).migrate)
      assert.deepStrictEqual(
        migrated.map(({ error, id }) => [id, error?._tag]),
        [
          ["0", undefined],
          ["1", "DbError"],
          ["2", undefined]
        ]
      )
    })
  )

  it.effect("counts entities by state and how long, sends to many, and forgets what is removed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { flow, orders } = yield* processOn(store, { statistics: true, keep: 2 })
      yield* TestClock.setTime(1_000_000)
      const ids = Array.from({ length: 60 }, (_, i) => `order ${i}`)
      const stored = yield* flow.initial(nothing)
      yield* Effect.forEach(ids, (id) => orders.insert({ id, status: stored }), { concurrency: 50, discard: true })
      yield* flow.sweep
      yield* TestClock.adjust("1 minute")
      const told = yield* Stream.runCollect(flow.sendMany(["none", ...ids.slice(0, 20)], "Cancel"))
      assert.deepStrictEqual(
        [told.length, told.filter(({ result }) => Result.isFailure(result)).map(({ id }) => id)],
        [21, ["none"]]
      )
      yield* TestClock.adjust("1 minute")
      const { cancelled, done, open } = yield* flow.statistics
      assert.deepStrictEqual(open, { count: 40, meanMillis: 120_000, medianMillis: 120_000, longestMillis: 120_000 })
      assert.deepStrictEqual([cancelled.count, cancelled.longestMillis, done.count], [20, 60_000, 0])
      assert.strictEqual((yield* Stream.runCollect(flow.inState("cancelled"))).length, 20)
      assert.include(StateMachine.toSvg(Order, { counts: { open: open.count } }), ">40<")

      for (let i = 0; i < 6; i++) yield* flow.send("order 40", "Note")
      assert.isNotEmpty(yield* keysOf(store, "resource=orders/plugin=state-machine/"))
      yield* flow.remove("order 40")
      assert.isEmpty(yield* keysOf(store, "resource=orders/plugin=state-machine/"))
      assert.strictEqual(tagOf(yield* Effect.result(flow.get("order 40"))), "NotFound")
      const without = yield* processOn(store)
      assert.strictEqual(tagOf(yield* Effect.result(without.flow.statistics)), "NotAllowed")
    })
  )

  it.effect("takes hostile ids and names as what they are", () =>
    Effect.gen(function* () {
      const { flow } = yield* processOn(yield* memory, { statistics: true, keep: 2 })
      yield* flow.sweep
      for (const id of PluginSuite.hostileIds) {
        yield* flow.start(id, nothing)
        for (let i = 0; i < 5; i++) yield* flow.send(id, "Note", { key: "__proto__" + i })
        assert.strictEqual((yield* Stream.runCollect(flow.history(id))).length, 6)
      }
      // Of the prototype of objects, no event and no state.
      for (const event of ["__proto__", "constructor", "toString"]) {
        assert.strictEqual(tagOf(yield* Effect.result(flow.send("a", event as "Note"))), "InvalidEvent")
      }
      const ids = yield* Stream.runCollect(flow.inState("open"))
      assert.deepStrictEqual([...ids].toSorted(), [...PluginSuite.hostileIds].toSorted())
    })
  )

  it.effect("is refused where an option cannot be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const problem = (options: Partial<StateMachine.Options<typeof Orders, typeof Order>>) =>
        Effect.map(Effect.flip(processOn(store, options)), (error) =>
          error instanceof StateMachine.InvalidMachine ? error.at : error
        )
      assert.strictEqual(yield* problem({ keep: 1 }), "keep")
      assert.strictEqual(yield* problem({ concurrency: 0.5 }), "concurrency")
      assert.strictEqual(yield* problem({ interval: "never" as never }), "interval")
      assert.strictEqual(yield* problem({ lease: 1 }), "lease")
      assert.strictEqual(yield* problem({ field: "title" as never }), "field")
    })
  )
})

describe("a machine with a mistake", () => {
  const shape = { context: Schema.Struct({}), events: { Go: {}, Stop: {} } }
  /** As out of a program without types. */
  const made = (states: unknown, initial: unknown = "a", actions: unknown = {}) => {
    try {
      StateMachine.make("m", shape)
        .states(states as {})
        .actions(actions as {})
        .initial(initial as never)
      return undefined
    } catch (error) {
      return error instanceof StateMachine.InvalidMachine ? `${error.at}: ${error.problem}` : String(error)
    }
  }
  const on = { Go: "a", Stop: "a" }

  it("is told which versions can be migrated", () => {
    const migratedFrom = (key: number) => () =>
      StateMachine.make("m", { ...shape, version: 2, migrate: { [key]: (old) => old } })
        .states({ a: { on: { Go: "a", Stop: "a" } } })
        .initial("a")
    assert.strictEqual(migratedFrom(1)().version, 2)
    for (const key of [0, 1.5, 2, 3]) {
      assert.throws(migratedFrom(key), `migrate: Expected versions before 2, which it leads from, not "${key}"`)
    }
  })

  it("is told what it is", () => {
    assert.isUndefined(made({ a: { on } }))
    assert.match(made({ a: { on } }, "b")!, /initial: Expected a state, not "b"/)
    assert.match(made({ a: { on: { Go: "a" } } })!, /a state that takes "Stop"/)
    assert.match(made({ a: { on: { ...on, Fly: "a" } } })!, /an event, not "Fly"/)
    assert.match(made({ a: { on: { ...on, Go: "c" } } })!, /a state that Go leads to, not "c"/)
    assert.match(made({ a: { on, entry: "mail" } })!, /an action, not "mail"/)
    assert.match(made({ a: { on, final: true } })!, /it is final/)
    assert.match(made({ a: { on }, "b.c": {} })!, /a state "b" around it/)
    assert.match(made({ a: { on }, "a.b": {} })!, /entered with it as initial, one of a.b/)
    assert.match(made({ a: { on, initial: "a" } })!, /no initial/)
    assert.match(made({ a: { on }, "": {} })!, /Expected a name/)
    assert.match(
      made({ a: { on, triggers: [{ after: "-1 hour", send: "Go" }] } })!,
      /trigger "a\/0": Expected a duration/
    )
    for (const after of [1500.5, "1500 micros", "300000000 weeks"]) {
      assert.match(made({ a: { on, triggers: [{ after, send: "Go" }] } })!, /whole milliseconds/, after.toString())
    }
    assert.match(made({ a: { on, triggers: [{ cron: "61 * * * *", send: "Go" }] } })!, /Expected a cron/)
    assert.match(made({ a: { on, triggers: [{ cron: "0 0 30 2 *", send: "Go" }] } })!, /comes to pass/)
    assert.match(made({ a: { on, triggers: [{ after: 1, send: "Fly" }] } })!, /an event, not "Fly"/)
    assert.match(made({ a: { on, triggers: [{ after: 1, send: "Go", maxTriggers: 2 }] } })!, /cron or every alone/)
    assert.match(
      made({ a: { on, triggers: [{ every: 1000, send: "Go", maxTriggers: 0 }] } })!,
      /from 1 for maxTriggers/
    )
    const twice = { name: "n", after: 1, send: "Go" }
    assert.match(made({ a: { on, triggers: [twice, twice] } })!, /another name/)
    const run = () => Effect.void
    assert.match(made({ a: { on } }, "a", { x: { run, retry: { attempts: 0 } } })!, /for attempts/)
    assert.match(made({ a: { on } }, "a", { x: { run, retry: { backoff: "cubic" } } })!, /for backoff/)
    assert.match(made({ a: { on } }, "a", { x: { run, retry: { pause: "never" } } })!, /pauses that come to an end/)
  })
})

describe("a machine that is looked at", () => {
  const shape = { context: Schema.Struct({}), events: { Go: {}, Stop: {} } }
  const Maze = StateMachine.make("maze", shape)
    .states({
      start: { on: { Go: "hall", Stop: "end" }, triggers: [{ after: "90 minutes", send: "Go" }] },
      hall: { initial: "hall.left", on: { Stop: "trap" }, description: 'two "doors"; <here>' },
      "hall.left": { on: { Go: { target: "hall.right", guard: () => Effect.void } } },
      "hall.right": { on: { Go: "hall.left" }, color: "#ffeeaa" },
      trap: { on: { Go: {} } },
      attic: { on: { Go: "end" } },
      end: { final: true }
    })
    .initial("start")

  it("shows the states that cannot be reached, and those that nothing leads out of", () => {
    assert.deepStrictEqual(StateMachine.analyze(Maze), {
      unreachable: ["attic"],
      dead: ["hall.left", "hall.right", "trap"],
      ends: ["end"],
      ways: { start: [], "hall.left": ["Go"], end: ["Stop"], "hall.right": ["Go", "Go"], trap: ["Go", "Stop"] }
    })
    assert.deepStrictEqual(StateMachine.analyze(Order).dead, [])
    assert.deepStrictEqual(StateMachine.analyze(Order).unreachable, [])
    assert.deepStrictEqual(StateMachine.eventsIn(Maze, "hall.left"), ["Go", "Stop"])
  })

  it("is drawn as text", () => {
    assert.strictEqual(
      StateMachine.toMermaid(Maze, { counts: { start: 2 } }),
      `stateDiagram-v2
  [*] --> s0
  state "start (2)" as s0
  state "hall two doors here" as s1
  state s1 {
    [*] --> s2
    state "left" as s2
    state "right" as s3
    style s3 fill:ffeeaa
  }
  state "trap" as s4
  state "attic" as s5
  state "end" as s6
  s6 --> [*]
  s0 --> s1 : Go (after 1 h 30 min)
  s0 --> s6 : Stop
  s1 --> s4 : Stop
  s2 --> s3 : Go [?]
  s3 --> s2 : Go
  s4 --> s4 : Go
  s5 --> s6 : Go`
    )
    const dot = StateMachine.toDot(Maze, { counts: { end: 7 } })
    for (const edge of StateMachine.edgesOf(Maze)) assert.include(dot, `label="${edge.event}`)
    assert.include(dot, '  "" -> "start";')
    assert.include(dot, '"end" [label="end: 7", peripheries=2];')
    assert.include(dot, '"hall.left" -> "trap" [label="Stop", ltail="cluster hall"];')
  })

  it("is drawn as a picture, in which every state and event is, escaped", () => {
    const svg = StateMachine.toSvg(Maze, { counts: { trap: 3, __proto__: null } as never })
    for (const name of ["start", "hall.left", "hall.right", "trap", "attic", "end"])
      assert.include(svg, `>${name}</text>`)
    assert.include(svg, 'class="n">3</text>')
    assert.include(svg, "Go (after 1 h 30 min)")
    assert.notInclude(svg, "NaN")
    const odd = StateMachine.make("<&>", { context: Schema.Struct({}), events: { 'a"<b>': {} } })
      .states({ "x<y>&\u0000": { on: { 'a"<b>': "x<y>&\u0000" } } })
      .initial("x<y>&\u0000")
    const picture = StateMachine.toSvg(odd)
    assert.include(picture, "x&lt;y&gt;&amp;</text>")
    assert.include(picture, "a&quot;&lt;b&gt;")
    assert.notInclude(picture, "\u0000")
  })
})
