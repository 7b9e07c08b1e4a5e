import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Document from "effect-s3db/Document"

const encoder = new TextEncoder()

/** The object of a document whose body has these members beside those that all have. */
const objectOf = (members: Readonly<Record<string, unknown>>) => ({
  key: "resource=things/data/id=a",
  etag: "e",
  size: 0,
  metadata: { "s-": "t1" },
  body: encoder.encode(JSON.stringify({ w: "abcdefghijklmnop", t: 1, ...members }))
})

describe("the body of a document", () => {
  it("has members of the types that they have", () => {
    const right: Readonly<Record<string, ReadonlyArray<unknown>>> = {
      o: ["qrst"],
      c: [0],
      n: [3],
      p: [[], ["qrst"]],
      m: [{}, { byName: ["a", "b"] }, { byName: ["a", "b", "c"] }],
      k: [{}, { words: [] }, { words: [["a", ""]] }],
      u: [{}, { byMail: ["a", "b"] }],
      b: [["a", 1, "text/plain", "0f"]],
      f: [{}, { "0": [1, { a: null }] }],
      e: [{}, { "0": "text" }],
      x: [[], ["a"]]
    }
    const wrong: ReadonlyArray<unknown> = [
      null,
      1.5,
      true,
      "",
      {},
      [],
      [1],
      ["a"],
      ["a", "b", "c", "d"],
      ["a", "1", "b", "c"],
      { a: 1 },
      { a: [] },
      { a: ["b"] },
      { a: [["b"]] },
      { a: ["b", "c", "d", "e"] },
      { a: [["b", 1]] },
      { a: [1, 2] }
    ]
    let refused = 0
    for (const [name, values] of Object.entries(right)) {
      const texts = new Set(values.map((value) => JSON.stringify(value)))
      for (const value of values)
        assert.isTrue(Result.isSuccess(Document.fromObject(objectOf({ [name]: value }))), name)
      for (const value of wrong) {
        if (texts.has(JSON.stringify(value))) continue
        const read = Document.fromObject(objectOf({ [name]: value }))
        // The same beside a member that few have, by which it is read otherwise.
        const again = Document.fromObject(objectOf({ [name]: value, a: undefined, v: "qrst" }))
        assert.strictEqual(Result.isFailure(read), Result.isFailure(again), `${name}: ${JSON.stringify(value)}`)
        if (Result.isFailure(read)) refused += 1
      }
    }
    assert.isAbove(refused, 100)
  })
})
