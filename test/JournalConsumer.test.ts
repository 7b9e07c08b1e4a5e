import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as JournalConsumer from "effect-s3db/JournalConsumer"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { drive, memory, openOn } from "./fixture.ts"

const definition = {
  schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
  primaryKey: "id",
  journal: { images: "after" }
} as const
const driven = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))

describe("JournalConsumer", () => {
  it.effect(
    "begins with a snapshot of 1,200 documents, and ends at what is there, whatever is written meanwhile",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { database, open } = yield* openOn(store)
        const things = yield* open("things", definition)
        const others = yield* open("others", definition)
        const { journal, journaled } = database
        const total = 1200
        yield* driven(things.insertMany(Array.from({ length: total }, (_, n) => ({ id: `id-${n}`, n }))))
        // Part of it is in the journal when the snapshot begins, and the rest is on its way.
        yield* driven(journal.catchUp(journaled))
        yield* things.update("id-1", { n: -1 })
        yield* Effect.forkChild(journal.run(journaled))

        let writes = 0
        /** Somebody writes what was seen, and what was not. */
        const write = Effect.gen(function* () {
          for (let i = 0; i < 8; i++) {
            writes += 1
            const id = `id-${yield* Random.nextIntBetween(0, total)}`
            const kind = yield* Random.nextIntBetween(0, 4)
            if (kind === 0) yield* Effect.ignore(things.delete(id))
            else if (kind === 1) yield* things.replace({ id: `new-${writes}`, n: writes })
            else if (kind === 2) yield* things.replace({ id, n: total + writes })
            else {
              const both = Effect.andThen(
                things.replace({ id, n: -writes }),
                things.replace({ id: "id-0", n: -writes })
              )
              yield* database.transaction(both)
            }
            yield* others.replace({ id, n: writes })
          }
        })

        const seen = new Map<string, number>()
        const batches: Array<number> = []
        const options = { name: "index", resources: ["things"], start: "end" } as const
        const consumer = yield* Effect.provideService(JournalConsumer.make(options), Database, database)
        const snapshot = JournalConsumer.snapshot(things, (documents) => {
          for (const { id, value } of documents) seen.set(id, value.n)
          batches.push(documents.length)
          return Effect.orDie(write)
        })
        const running = yield* consumer.consume(
          (entries) =>
            Effect.gen(function* () {
              for (const { value } of entries) {
                assert.strictEqual(value.resource, "things")
                if (value.kind === "delete") seen.delete(value.id)
                else seen.set(value.id, (yield* things.fromImage(value, "after")).n)
              }
              // It goes on while it catches up.
              if (writes < 400) yield* Effect.orDie(write)
            }),
          snapshot
        )
        const isActive = Effect.map(running.state, ({ isActive }) => isActive)
        yield* driven(Effect.repeat(Effect.andThen(Effect.sleep("1 second"), isActive), { until: (is) => is }))
        assert.isAbove(batches.length, 11)
        assert.isTrue(batches.every((size) => size <= 100))
        yield* driven(Effect.repeat(Effect.sleep("1 second"), { until: () => writes >= 400 }))
        yield* driven(journal.catchUp(journaled, { nobodyWrites: true }))
        yield* driven(Effect.flatMap(journal.position, (position) => consumer.waitUntil(position)))

        const truth = yield* driven(Stream.runCollect(things.scan()))
        const sorted = (map: Iterable<readonly [string, number]>) => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1))
        assert.deepStrictEqual(sorted(seen), sorted(truth.map(({ id, n }) => [id, n] as const)))
        assert.deepStrictEqual((yield* running.state).deadLetters, 0)

        // What it costs.
        const counted = InstrumentedStore.make(store)
        const same = yield* (yield* openOn(counted.store)).open("things", definition)
        yield* counted.counter.reset
        yield* driven(JournalConsumer.snapshot(same, () => Effect.void).snapshot)
        const { get, list, put } = yield* counted.counter.counts
        assert.deepStrictEqual([get, list, put], [truth.length, Math.ceil(truth.length / 1000), 0])
      }).pipe(Effect.scoped, Random.withSeed("snapshot")),
    120_000
  )

  it.effect("warns of names that are those of no resource, with the nearest", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openOn(yield* memory)
      yield* open("orders", definition)
      const said: Array<string> = []
      const logger = Logger.make(({ message }) => void said.push(String(message)))
      const consume = (resources: ReadonlyArray<string>) =>
        Effect.flatMap(JournalConsumer.make({ name: "c", resources }), (one) => one.consume(() => Effect.void)).pipe(
          Effect.provideService(Database, database),
          Effect.provide(Logger.layer([logger])),
          Effect.scoped
        )
      yield* consume(["orders"])
      assert.deepStrictEqual(said, [])
      yield* consume(["order", "orders", "x"])
      assert.deepStrictEqual(said, ['the consumer c is given nothing of some of its resources: "order", "x"'])
      said.length = 0
      yield* consume(["order", "x"])
      assert.deepStrictEqual(said, [
        'the consumer c is given nothing of some of its resources: "order"; perhaps orders is meant, "x"'
      ])
      assert.throws(() =>
        JournalConsumer.snapshot({ scanDocuments: () => Stream.empty }, () => Effect.void, { batchSize: 0 })
      )
      assert.isTrue(
        Option.isNone(
          yield* (yield* Effect.provideService(JournalConsumer.make({ name: "d" }), Database, database)).position
        )
      )
    })
  )
})
