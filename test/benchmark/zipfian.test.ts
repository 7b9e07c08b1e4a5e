import { assert, describe, it } from "vitest"
import { mixes } from "./ycsb.bench.ts"
import { generator, latest, scattered, zipfian } from "./zipfian.ts"

describe("how records are chosen", () => {
  it("the frequency of a rank falls with its power of 0.99", () => {
    const rank = zipfian(generator(1))
    const draws = 200_000
    const counts = Array.from({ length: 1000 }, () => 0)
    for (let i = 0; i < draws; i++) counts[rank(1000)]! += 1
    const zeta = counts.reduce((sum, _, i) => sum + 1 / (i + 1) ** 0.99, 0)
    for (const i of [0, 1]) {
      const expected = draws / zeta / (i + 1) ** 0.99
      assert.approximately(counts[i]! / expected, 1, 0.05)
    }
    // Of the ranks up to ten, the first of which are exact and the others are close.
    const share = counts.slice(0, 10).reduce((sum, count) => sum + count, 0) / draws
    const expected = counts.slice(0, 10).reduce((sum, _, i) => sum + 1 / (i + 1) ** 0.99, 0) / zeta
    assert.approximately(share / expected, 1, 0.1)
  })

  it("as the records grow in number, all of them are reached", () => {
    const rank = zipfian(generator(2))
    for (const count of [2, 10, 100]) {
      const seen = new Set(Array.from({ length: 20_000 }, () => rank(count)))
      assert.deepStrictEqual([Math.min(...seen), Math.max(...seen)], [0, count - 1])
    }
  })

  it("the frequent ones are scattered, or the latest", () => {
    const places = [0, 1, 2, 3].map((rank) => scattered(rank, 1000))
    assert.strictEqual(new Set(places).size, 4)
    assert.isTrue(places.every((place) => place >= 0 && place < 1000))
    assert.deepStrictEqual([latest(0, 1000), latest(999, 1000)], [999, 0])
  })

  it("the mixes are those of YCSB", () => {
    const lines = Object.entries(mixes).map(
      ([name, { actions, latest }]) =>
        `${name} ${actions.map(([action, share]) => `${action} ${share}`).join(", ")}${latest ? ", latest" : ""}`
    )
    assert.deepStrictEqual(lines, [
      "A read 50, update 50",
      "B read 95, update 5",
      "C read 100",
      "D read 95, insert 5, latest",
      "E scan 95, insert 5",
      "F read 50, read and write 50"
    ])
  })
})
