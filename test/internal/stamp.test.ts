import { assert, describe, it } from "@effect/vitest"
import * as Equal from "effect/Equal"
import { makeNotes } from "../../src/internal/stamp.ts"

describe("notes about objects of others", () => {
  it("are found by their owner alone, and written anew", () => {
    const [one, other] = [makeNotes<string>(), makeNotes<string>()]
    const object = { a: 1 }
    assert.strictEqual(one.get(object), undefined)
    one.set(object, "first")
    other.set(object, "of another")
    one.set(object, "second")
    assert.strictEqual(one.get(object), "second")
    assert.strictEqual(other.get(object), "of another")
    assert.strictEqual(one.get({ a: 1 }), undefined)
  })

  it("are seen by nobody else", () => {
    const notes = makeNotes<string>()
    const object = { a: 1, b: { c: [2] } }
    notes.set(object, "note")
    assert.deepStrictEqual(Reflect.ownKeys(object), ["a", "b"])
    assert.strictEqual(JSON.stringify(object), '{"a":1,"b":{"c":[2]}}')
    assert.deepStrictEqual(object, { a: 1, b: { c: [2] } })
    assert.isTrue(Equal.equals(object, { a: 1, b: { c: [2] } }))
    for (const copy of [{ ...object }, structuredClone(object), Object.assign({}, object)]) {
      assert.strictEqual(notes.get(copy), undefined)
    }
  })

  it("can be made of what must not change, and of what is no object there are none", () => {
    const notes = makeNotes<string>()
    class Point {
      readonly x = 1
    }
    for (const object of [Object.freeze({ a: 1 }), Object.seal(new Point()), Object.create(null) as object, []]) {
      notes.set(object, "note")
      assert.strictEqual(notes.get(object), "note")
    }
    for (const none of [undefined, null, "text", 1]) assert.strictEqual(notes.get(none as never), undefined)
  })
})
