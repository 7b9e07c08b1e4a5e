import { assert, describe, it } from "@effect/vitest"
import { lazily, lazy } from "../../src/internal/lazily.ts"

describe("what is made when it is first asked for", () => {
  it("a value is made once, also one that is nothing", () => {
    let made = 0
    const value = lazy(() => void made++)
    assert.strictEqual(made, 0)
    value()
    value()
    assert.strictEqual(made, 1)
  })

  it("what could not be made is tried again", () => {
    let tries = 0
    const value = lazy(() => {
      if (++tries === 1) throw new Error("not yet")
      return tries
    })
    assert.throws(value)
    assert.strictEqual(value(), 2)
  })

  it("an object is itself to whoever looks", () => {
    let made = 0
    const there = () => {
      made += 1
      return { name: "n", add: (a: number, b: number) => a + b }
    }
    const object = lazily(there)
    assert.strictEqual(made, 0)
    assert.strictEqual(object.add(1, 2), 3)
    assert.isTrue("name" in object)
    assert.isFalse("other" in object)
    assert.deepStrictEqual(Object.keys(object), ["name", "add"])
    assert.strictEqual({ ...object }.name, "n")
    assert.deepStrictEqual(Object.getOwnPropertyDescriptor(object, "name")?.value, "n")
    assert.strictEqual(made, 1)
  })
})
