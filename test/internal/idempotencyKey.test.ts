import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { idempotencyKey } from "../../src/internal/idempotencyKey.ts"

/** What separates, what escapes, and what looks like it. */
const tokens = ["/", "%", "2F", "%2F", "%u", "d800", "\ud800", "\udc00", "a", "é"]

describe("idempotencyKey", () => {
  it("is another for other parts: of all that can be made of what separates and escapes", () => {
    const few = ["", ...tokens]
    const many = [...new Set(few.flatMap((one) => few.map((other) => one + other)))]
    const all: ReadonlyArray<readonly [string, ...Array<string>]> = [
      ...many.map((one) => [one] as const),
      ...many.flatMap((one) => many.map((two) => [one, two] as const)),
      ...few.flatMap((one) => few.flatMap((two) => few.map((three) => [one, two, three] as const)))
    ]
    const keys = all.map((parts) => idempotencyKey(...parts))
    assert.strictEqual(new Set(keys).size, all.length)
    keys.forEach((key, index) => {
      assert.match(key, /^[\w.~%/-]*$/)
      assert.strictEqual(key.split("/").length, all[index]!.length)
    })
  })

  it.prop(
    "is another for any other text",
    [Schema.String, Schema.String, Schema.String, Schema.String],
    ([a, b, c, d]) => {
      assert.strictEqual(idempotencyKey(a, b) === idempotencyKey(c, d), a === c && b === d)
      assert.strictEqual(idempotencyKey(a, b), idempotencyKey(a, b))
    }
  )

  it("shows what it is of", () => {
    assert.strictEqual(idempotencyKey("queue", "emails", "welcome/ada 1"), "queue/emails/welcome%2Fada%201")
    assert.strictEqual(idempotencyKey("queue", "", 7), "queue//7")
  })
})
