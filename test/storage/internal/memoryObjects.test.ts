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
})
