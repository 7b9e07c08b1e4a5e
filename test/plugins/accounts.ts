/** Accounts whose operations are kept, as a process has them. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Plugin from "effect-s3db/Plugin"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"

export class Accounts extends Resource.Service<Accounts>()("effect-s3db/test/plugins/accounts/Accounts", {
  schema: Schema.Struct(
    Plugin.withAttributes(
      {
        id: Schema.String,
        balance: Schema.optionalKey(Schema.Finite),
        amount: Schema.optionalKey(Attribute.Money()),
        visits: Schema.optionalKey(Schema.Int),
        credit: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
        tags: Schema.optionalKey(Schema.Array(Schema.String)),
        forgotten: Schema.optionalKey(Schema.Int)
      },
      EventualConsistency.attributes
    )
  ),
  primaryKey: "id",
  name: "accounts"
}) {}

export const kept = { history: true } as const
export const balance = EventualConsistency.counter(Accounts, "balance", kept)
export const amount = EventualConsistency.counter(Accounts, "amount", kept)
export const visits = EventualConsistency.counter(Accounts, "visits", { ...kept, hot: true })
export const credit = EventualConsistency.counter(Accounts, "credit", kept)
export const forgotten = EventualConsistency.counter(Accounts, "forgotten")
export const tags = EventualConsistency.reducer(Accounts, "tags", {
  ...kept,
  operation: Schema.String,
  initial: [],
  reduce: (all: ReadonlyArray<string>, tag: string): ReadonlyArray<string> => [...all, tag]
})

const all = [balance, amount, visits, credit, forgotten, tags]

type Store = ObjectStore["Service"]

/** A process that counts, until the scope closes. */
export const processOn = Effect.fnUntraced(function* (
  store: Store,
  options: Partial<EventualConsistency.Options<never>> = {},
  known: ReadonlyArray<EventualConsistency.AnyCounter<Accounts>> = all
) {
  const { database } = yield* openOn(store)
  const accounts = yield* Effect.provideService(Resource.make(Accounts.definition), Database, database)
  const counters = yield* EventualConsistency.make({
    fold: false,
    retention: "1 day",
    ...options,
    counters: known
  }).pipe(Effect.provideService(Database, database), Effect.provideService(Accounts, accounts))
  return { accounts, counters }
})

/** What two processes do in any order, beside a model of it. */
export const followModel = Effect.gen(function* () {
  const store = yield* memory
  const processes = [yield* processOn(store), yield* processOn(store)] as const
  const { accounts } = processes[0]
  const model = new Map<
    string,
    { balance: number; visits: number; waiting: Array<(n: number) => number>; hot: number }
  >()
  for (const id of ["a", "b"]) {
    yield* accounts.insert({ id, balance: 3 })
    model.set(id, { balance: 3, visits: 0, waiting: [], hot: 0 })
  }
  const comeIn = () => {
    for (const one of model.values()) {
      one.balance = one.waiting.reduce((n, operation) => operation(n), one.balance)
      one.visits += one.hot
      one.waiting = []
      one.hot = 0
    }
  }
  // What the operations begin with is known from the first one on.
  for (const id of model.keys()) {
    yield* processes[0].counters.add(balance, id, 1)
    yield* processes[0].counters.add(visits, id, 1)
    model.get(id)!.balance += 1
    model.get(id)!.visits += 1
  }
  yield* processes[0].counters.foldAll
  for (let step = 0; step < 40; step++) {
    const { counters } = processes[(yield* Random.nextIntBetween(0, 2, { halfOpen: true })) as 0 | 1]
    const id = (yield* Random.nextBoolean) ? "a" : "b"
    const one = model.get(id)!
    const n = yield* Random.nextIntBetween(1, 9, { halfOpen: true })
    switch (yield* Random.nextIntBetween(0, 9, { halfOpen: true })) {
      case 0:
      case 1:
        yield* counters.add(balance, id, n)
        one.waiting.push((value) => value + n)
        break
      case 2:
        yield* counters.set(balance, id, n)
        one.waiting.push(() => n)
        break
      case 3:
      case 4:
        yield* counters.add(visits, id, n)
        one.hot += n
        break
      case 5:
        yield* counters.foldAll
        comeIn()
        break
      case 6: {
        // Past the counters, in the middle of all.
        yield* accounts.update(id, { balance: -1000, visits: -1000 })
        assert.strictEqual((yield* counters.recalculate(balance, id)).value, one.balance)
        assert.strictEqual((yield* counters.recalculate(visits, id)).value, one.visits)
        break
      }
      case 7:
        yield* TestClock.adjust("10 hours")
        break
      default:
        yield* counters.retain
    }
  }
  yield* processes[1].counters.foldAll
  comeIn()
  for (const [id, one] of model) {
    const { counters } = processes[0]
    assert.strictEqual((yield* counters.recalculate(balance, id)).value, one.balance)
    assert.strictEqual((yield* counters.recalculate(visits, id)).value, one.visits)
    assert.strictEqual((yield* counters.recalculate(balance, id)).before, one.balance)
  }
})
