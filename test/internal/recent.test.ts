import { assert, describe, it } from "@effect/vitest"
import * as Recent from "../../src/internal/recent.ts"

describe("what comes again", () => {
  it("is kept for as many texts as there is room for, and none that is long", () => {
    const recent = Recent.make<number>()
    assert.isUndefined(recent.get("a"))
    assert.strictEqual(recent.keep("a", 1), 1)
    assert.strictEqual(recent.get("a"), 1)
    const long = "x".repeat(513)
    assert.strictEqual(recent.keep(long, 2), 2)
    assert.isUndefined(recent.get(long))
    for (let i = 0; i < 64; i++) recent.keep(`n${i}`, i)
    assert.isUndefined(recent.get("a"))
    assert.strictEqual(recent.get("n63"), 63)
  })
})
