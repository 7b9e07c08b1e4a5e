import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import * as MemoryMetadata from "../../../src/storage/internal/memoryMetadata.ts"

const name = FastCheck.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,5}$/).filter((one) => one !== "__proto__")
const value = FastCheck.stringMatching(/^[ -~]{0,20}$/)

describe("metadata in memory", () => {
  it("comes back as it was, its names in their order, and the names of one kind are kept once", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.dictionary(name, value, { noNullPrototype: true }), value, (metadata, other) => {
        const kept = MemoryMetadata.packed(metadata)
        const back = MemoryMetadata.unpacked(kept)
        assert.deepStrictEqual(Object.entries(back), Object.entries(metadata))
        const changed = Object.fromEntries(Object.keys(metadata).map((one) => [one, other]))
        const again = MemoryMetadata.packed(changed)
        assert.deepStrictEqual(MemoryMetadata.unpacked(again), changed)
        assert.strictEqual(again.names, kept.names)
      })
    )
  })

  it("of several kinds in turn is that of each", () => {
    const all = [{}, { a: "1" }, { a: "1", b: "" }, { b: "2", a: "" }, { 1: "x", b: "y" }, { 1: "", 2: "" }]
    for (let i = 0; i < 30; i++) {
      const metadata = all[(i * 7) % all.length]!
      assert.deepStrictEqual(MemoryMetadata.unpacked(MemoryMetadata.packed(metadata)), metadata)
    }
  })

  it("that could not be told apart is none to be kept", () => {
    assert.isTrue(MemoryMetadata.isPackable({ a: "1", b: "" }))
    assert.isFalse(MemoryMetadata.isPackable({ a: "1\n" }))
    assert.isFalse(MemoryMetadata.isPackable({ "a\n": "1" }))
  })
})
