/** Transactions of random steps, compared with a model. The pauses in them take the time of the test's clock. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Resource from "effect-s3db/Resource"
import * as Pauses from "effect-s3db/testing/Pauses"
import { drive, openNew } from "./fixture.ts"

const Doc = Schema.Struct({ id: Schema.String, a: Schema.String, u: Schema.String })

const options = {
  schema: Doc,
  primaryKey: "id",
  partitions: { byA: ["a"] },
  unique: { u: ["u"] },
  history: true,
  content: true,
  counters: { partitions: ["byA"], shards: 1 }
} as const satisfies Resource.Options<typeof Doc>

type Model = ReadonlyMap<string, typeof Doc.Type>
const kinds = ["insert", "update", "upsert", "replace", "delete", "get"] as const

/** Some random steps, and what they make of the documents. */
const steps = Effect.fnUntraced(function* (
  docs: Resource.Repository<typeof Doc>,
  before: Model,
  isTransaction: boolean,
  log: Array<string>
) {
  const model = new Map(before)
  const length = yield* Random.nextIntBetween(1, 6)
  for (let i = 0; i < length; i++) {
    const id = `d${yield* Random.nextIntBetween(0, 3)}`
    const doc = { id, a: `a${yield* Random.nextIntBetween(0, 2)}`, u: `u${yield* Random.nextIntBetween(0, 4)}` }
    const kind = kinds[yield* Random.nextIntBetween(0, kinds.length - 1)]!
    const known = model.get(id)
    const writes = {
      insert: docs.insert(doc),
      update: docs.update(id, { a: doc.a, u: doc.u }),
      upsert: docs.upsert(doc),
      replace: docs.replace(doc),
      delete: docs.delete(id),
      get: Effect.map(docs.getOption(id), (found) => assert.deepStrictEqual(Option.getOrUndefined(found), known))
    }
    const result = yield* Effect.result<unknown, Resource.InsertError | Resource.ChangeError, never>(writes[kind])
    log.push(`${kind} ${Object.values(doc).join(" ")} ${Result.isFailure(result) ? result.failure._tag : ""}`)
    if (Result.isFailure(result)) {
      if (isTransaction && result.failure._tag === "UniqueViolation") return yield* result.failure
    } else if (kind === "delete") model.delete(id)
    else if (kind !== "get") model.set(id, doc)
  }
  return model
})

const history = (seed: number, rounds: number) =>
  Effect.gen(function* () {
    const { open, database } = yield* openNew
    const docs = yield* open("docs", options)
    const log: Array<string> = []
    let model: Model = new Map()
    for (let round = 0; round < rounds; round++) {
      const isTransaction = (yield* Random.nextIntBetween(0, 3)) > 0
      const isGivenUp = isTransaction && (yield* Random.nextIntBetween(0, 4)) === 0
      const before = model
      const run = steps(docs, before, isTransaction, log)
      const whole = isGivenUp ? Effect.andThen(run, Effect.fail("given up" as const)) : run
      const result = yield* Effect.result(isTransaction ? database.transaction(whole, { retries: 0 }) : whole)
      log.push(`${isTransaction ? "transaction" : "alone"} ${result._tag}`)
      if (Result.isSuccess(result)) model = result.success
      const told = log.join("\n")
      const expected = [...model.values()].toSorted((one, other) => (one.id < other.id ? -1 : 1))
      assert.deepStrictEqual(yield* Stream.runCollect(docs.scan()), expected, told)
      for (const a of ["a0", "a1", "a2"]) {
        const within = { partition: "byA", values: { a } }
        const there = expected.filter((one) => one.a === a).map((one) => one.id)
        assert.deepStrictEqual((yield* Stream.runCollect(docs.listIds(within))).toSorted(), there, told)
        assert.strictEqual(yield* docs.estimatedCount(within), there.length, told)
      }
      assert.strictEqual(yield* docs.estimatedCount(), expected.length, told)
      for (const one of expected) assert.deepStrictEqual(yield* docs.getByUnique("u", { u: one.u }), one, told)
      assert.deepStrictEqual(yield* Stream.runCollect((yield* docs.admin).repair()), [], told)
    }
  }).pipe(Random.withSeed(`random transactions ${seed}`), Pauses.byClock)

/** Registers one test for each seed. */
export const randomTransactions = (seeds: number, rounds: number): void => {
  describe("random transactions", () => {
    for (let seed = 0; seed < seeds; seed++) {
      it.effect(`leave what a model says, by every way to the documents, and nothing to repair: ${seed}`, () =>
        // In small steps, so that no lease ends while its holder is at work.
        Effect.flatMap(Effect.forkChild(history(seed, rounds)), (fiber) => drive(fiber, "10 millis"))
      )
    }
  })
}
