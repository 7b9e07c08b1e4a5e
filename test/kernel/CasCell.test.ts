import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as CasCell from "effect-s3db/kernel/CasCell"
import { memory } from "../fixture.ts"

const Value = Schema.Struct({ n: Schema.Int, at: Schema.optionalKey(Schema.DateTimeUtc), big: Schema.BigInt })
const format = CasCell.schemaFormat(Value, { what: "a value", remembered: 3 })
const text = (value: string) => new TextEncoder().encode(value)

describe("CasCell.schemaFormat", () => {
  it.effect("stores what a schema has, and the ids of the last writes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const cell = CasCell.make(store, "cell", format)
      assert.deepStrictEqual(yield* cell.read, CasCell.absent)
      const at = DateTime.makeUnsafe("2020-02-29T12:00:00Z")
      for (let n = 1; n <= 5; n++) yield* cell.modify(() => Effect.succeed({ n, at, big: 2n ** 70n }))
      const { body } = yield* store.get("cell")
      const { v, d, w } = JSON.parse(new TextDecoder().decode(body)) as { v: number; d: unknown; w: Array<string> }
      assert.deepStrictEqual([v, d], [1, { n: 5, at: "2020-02-29T12:00:00.000Z", big: "1180591620717411303424" }])
      assert.strictEqual(new Set(w).size, 3)
      const { lastModified, value } = yield* cell.read
      assert.deepStrictEqual(value, { n: 5, at, big: 2n ** 70n })
      assert.strictEqual(lastModified, 0)
    })
  )

  it.effect("refuses values that are none, and bodies that it cannot read, without showing them", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const cell = CasCell.make(store, "cell", format)
      yield* cell.modify(() => Effect.succeed({ n: 1, big: 1n }))
      const refused = yield* Effect.flip(cell.modify(() => Effect.succeed({ n: 47.5, big: 1n })))
      assert.deepStrictEqual([refused.operation, refused.key, refused.reason._tag], ["put", "cell", "InvalidArgument"])
      assert.include(refused.message, `the value is not a value`)
      assert.include(refused.message, `["n"]`)
      assert.notInclude(refused.message, "47.5")
      assert.strictEqual((yield* cell.read).value?.n, 1)
      for (const [body, reason] of [
        ["", "Corrupt"],
        ["null", "Corrupt"],
        ['{"v":0,"d":{"n":1,"big":"1"},"w":[]}', "Corrupt"],
        ['{"v":1,"d":{"n":"secret","big":"1"},"w":[]}', "Corrupt"],
        ['{"v":1,"d":{"n":1,"big":"1"}}', "Corrupt"],
        ['{"v":2}', "Unsupported"]
      ] as const) {
        yield* store.put({ key: "cell", body: text(body) })
        for (const use of [cell.read, cell.modify(() => Effect.succeed({ n: 2, big: 1n }))]) {
          const error = yield* Effect.flip(use)
          assert.deepStrictEqual([error.operation, error.reason._tag], ["get", reason], body)
          assert.notInclude(error.message, "secret")
        }
      }
    })
  )
})
