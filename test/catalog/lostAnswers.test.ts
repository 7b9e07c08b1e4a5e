/** Answers to writes of the catalog that are lost, while another process writes it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Catalog from "effect-s3db/Catalog"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore, type PutRequest } from "effect-s3db/storage/ObjectStore"
import { PreconditionFailed, StoreError } from "effect-s3db/storage/StoreError"
import { memory } from "../fixture.ts"

const openOn = (store: ObjectStore["Service"]) =>
  Effect.provideService(Database.make({ catalogLease: 0 }), ObjectStore, store)

const define = (name: string) =>
  Resource.define(name, { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" })

/** Two processes, and what the next write of the catalog by the first comes to: `RetryingStore` tells it so after an error of the gateway. */
const opened = Effect.gen(function* () {
  const store = yield* memory
  let next: ((send: Effect.Effect<unknown, StoreError>) => Effect.Effect<void, StoreError>) | undefined
  const put = (request: PutRequest) => {
    const lost = request.key === Catalog.key ? next : undefined
    if (lost === undefined) return store.put(request)
    next = undefined
    const description = "the condition does not hold, and an earlier attempt may have been carried out"
    const reason = new PreconditionFailed({ description, afterUnknown: true })
    const refused = new StoreError({ operation: "put", key: request.key, reason })
    return Effect.andThen(lost(store.put(request)), Effect.fail(refused))
  }
  const one = yield* openOn({ ...store, put })
  const other = yield* openOn(store)
  return {
    one,
    other,
    loseNext: (lost: typeof next) => {
      next = lost
    },
    add: one.changePlugin("counter", (n = 0) => Effect.succeed(Number(n) + 1)),
    count: Effect.gen(function* () {
      const { plugins } = yield* openOn(store)
      return (yield* plugins())["counter"]
    })
  }
})

const otherWrites = (other: Database.Database["Service"], times: number) =>
  Effect.orDie(
    Effect.forEach(
      Array.from({ length: times }, (_, i) => `other${i}`),
      (name) => other.register(define(name)),
      {
        discard: true
      }
    )
  )

describe("a write of the catalog whose answer is lost", () => {
  for (const times of [1, 7]) {
    it.effect(`is made again where it has not landed, and others have written ${times} times`, () =>
      Effect.gen(function* () {
        const { add, count, loseNext, other } = yield* opened
        loseNext(() => otherWrites(other, times))
        yield* add
        assert.strictEqual(yield* count, 1)
      })
    )

    it.effect(`is recognised where it has landed, and others have written ${times} times since`, () =>
      Effect.gen(function* () {
        const { add, count, loseNext, other } = yield* opened
        loseNext((send) => Effect.andThen(send, otherWrites(other, times)))
        yield* add
        assert.strictEqual(yield* count, 1)
      })
    )
  }

  it.effect("says that it may have been carried out where nothing tells", () =>
    Effect.gen(function* () {
      const { add, count, loseNext, other } = yield* opened
      loseNext(() => otherWrites(other, 30))
      const { reason } = yield* Effect.flip(add)
      assert(reason._tag === "Unavailable")
      assert.strictEqual(reason.outcome, "unknown")
      assert.match(reason.description, /may have been carried out/)
      assert.strictEqual(yield* count, undefined)
    })
  )

  it.effect("a catalog of an earlier release, which has one id, is written on", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* openOn(store)).register(define("notes"))
      const object = yield* store.get(Catalog.key)
      const text = new TextDecoder().decode(object.body)
      const earlier = text.replace(/"writeId":"[^"]*"/, '"writeId":"abcdefghijklmnop"')
      assert.notStrictEqual(earlier, text)
      yield* store.put({ key: Catalog.key, body: new TextEncoder().encode(earlier) })
      yield* (yield* openOn(store)).register(define("others"))
      const reading = yield* Catalog.read((yield* store.get(Catalog.key)).body)
      assert(reading._tag === "Healthy")
      assert.match(reading.catalog.writeId, /^[\w-]{16} abcdefghijklmnop$/)
    })
  )
})
