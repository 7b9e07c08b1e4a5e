import { assert, describe, it } from "@effect/vitest"
import { makeObjects, treeOf } from "../../../src/storage/internal/memoryObjects.ts"

const keys = ["\uff01x", "\u{1f600}y", "\ue000z", "\u{1f601}", "\ufffd", "\u{10000}", "\ue001", "plain"]

const inOrder = (some: Iterable<string>) => [...some].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

// Each file of tests has the module for itself: no key has been seen yet.
describe("objects in memory", () => {
  it("that come from elsewhere are in the order of their bytes from the first on", () => {
    const tree = treeOf(
      true,
      keys.map((key) => [key, key])
    )
    assert.deepStrictEqual([...tree.keys()], inOrder(keys))
    const objects = makeObjects<string>(true)
    objects.restore(tree)
    objects.set("\u{1f602}new", "new")
    objects.delete("\u{1f600}y")
    const left = new Set(["\u{1f602}new", ...keys.filter((key) => key !== "\u{1f600}y")])
    assert.deepStrictEqual([...objects.sorted().keys()], inOrder(left))
    assert.strictEqual(objects.get("\u{1f600}y"), undefined)
    assert.strictEqual(objects.get("plain"), "plain")
  })

  it("are as they were when a tree of them is given back, whatever has been done since", () => {
    const objects = makeObjects<number>(true)
    objects.set("b", 1)
    const before = objects.sorted().clone()
    objects.set("a", 2)
    objects.set("b", 3)
    assert.deepStrictEqual(
      [...objects.sorted().entries()],
      [
        ["a", 2],
        ["b", 3]
      ]
    )
    objects.restore(before)
    assert.strictEqual(objects.get("a"), undefined)
    assert.deepStrictEqual([...objects.sorted().entries()], [["b", 1]])
  })

  it("are the same as those of a map that is sorted each time, however many have changed between two looks", () => {
    const objects = makeObjects<number>(true)
    const expected = new Map<string, number>()
    const trees: Array<{
      readonly tree: ReturnType<typeof objects.sorted>
      readonly was: ReadonlyMap<string, number>
    }> = []
    let seed = 7
    const next = (below: number) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) % below
    const same = () => {
      const keys = inOrder(expected.keys())
      assert.deepStrictEqual(
        [...objects.sorted().entries()],
        keys.map((key) => [key, expected.get(key)!])
      )
    }
    for (let round = 0; round < 40; round++) {
      // Few changes, as many as there are objects, and many more.
      for (let left = [3, 200, 700, 1500][round % 4]!; left > 0; left--) {
        const key = next(50) === 0 ? keys[next(keys.length)]! : `key ${next(2000)}`
        if (next(3) === 0) {
          objects.delete(key)
          expected.delete(key)
        } else {
          objects.set(key, left)
          expected.set(key, left)
        }
        assert.strictEqual(objects.get(key), expected.get(key))
      }
      for (let i = 0; i < 50; i++) assert.strictEqual(objects.get(`key ${i}`), expected.get(`key ${i}`))
      if (round % 3 === 0) same()
      if (round % 5 === 0) trees.push({ tree: objects.sorted().clone(), was: new Map(expected) })
      if (round % 11 === 10) {
        const { tree, was } = trees[next(trees.length)]!
        objects.restore(tree)
        expected.clear()
        for (const [key, value] of was) expected.set(key, value)
      }
    }
    same()
    // What was given away is as it was.
    for (const { tree, was } of trees) {
      assert.deepStrictEqual(
        [...tree.entries()],
        inOrder(was.keys()).map((key) => [key, was.get(key)!])
      )
    }
  })
})
