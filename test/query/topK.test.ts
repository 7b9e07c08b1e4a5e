import { assert, describe, it } from "@effect/vitest"
import * as TopK from "../../src/query/topK.ts"
import { random } from "../encoding/random.ts"

describe("topK", () => {
  const numeric = (a: number, b: number) => a - b

  it("keeps the first of 100,000", () => {
    const from = random(3)
    const items = Array.from({ length: 100_000 }, () => from.int(1_000_000))
    const sorted = items.toSorted(numeric)
    for (const k of [1, 2, 10, 1000, 99_999, 100_000, 200_000]) {
      const top = TopK.make(k, numeric)
      items.forEach(top.add)
      assert.deepStrictEqual(top.result(), sorted.slice(0, k))
    }
  })

  it("of items that arrive in order, and against it", () => {
    for (const items of [Array.from({ length: 5000 }, (_, i) => i), Array.from({ length: 5000 }, (_, i) => 5000 - i)]) {
      const top = TopK.make(7, numeric)
      items.forEach(top.add)
      assert.deepStrictEqual(top.result(), items.toSorted(numeric).slice(0, 7))
    }
  })

  it("of equal ones keeps the first", () => {
    const top = TopK.make<readonly [number, number]>(3, (a, b) => a[0] - b[0])
    for (let i = 0; i < 100; i++) top.add([i % 2, i])
    assert.deepStrictEqual(top.result(), [
      [0, 0],
      [0, 2],
      [0, 4]
    ])
  })

  it("of none, and more after a result", () => {
    for (const k of [0, -1, NaN]) {
      const top = TopK.make(k, numeric)
      top.add(1)
      assert.deepStrictEqual(top.result(), [])
    }
    const top = TopK.make(2, numeric)
    assert.deepStrictEqual(top.result(), [])
    top.add(3)
    top.add(2)
    assert.deepStrictEqual(top.result(), [2, 3])
    top.add(1)
    assert.deepStrictEqual(top.result(), [1, 2])
    const all = TopK.make(Infinity, numeric)
    ;[3, 1, 2].forEach(all.add)
    assert.deepStrictEqual(all.result(), [1, 2, 3])
  })
})
