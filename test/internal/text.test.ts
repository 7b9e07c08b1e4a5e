import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import { decodeBase64, encodeBase64, textFromBase64, textToBase64 } from "../../src/internal/base64.ts"
import { utf8Length } from "../../src/internal/text.ts"

/** Texts about as long as what is counted unit by unit, and as what is encoded at once. */
const lengths = FastCheck.constantFrom(0, 1, 23, 24, 25, 2730, 2731, 8191, 8192, 8193, 20_000)

const texts = (unit: FastCheck.Arbitrary<string>): FastCheck.Arbitrary<string> =>
  FastCheck.tuple(FastCheck.array(unit, { minLength: 1, maxLength: 7 }), lengths).map(([parts, length]) =>
    parts.join("").repeat(length).slice(0, length)
  )

const wellFormed = FastCheck.constantFrom("a", "é", "字", "\ufeff", "\ufffd", "\0").chain((one) =>
  texts(FastCheck.constantFrom(one, "b", "ю"))
)
const anyUnits = texts(FastCheck.constantFrom("a", "é", "字", "😀", "\ud83d", "\udc00"))

describe("text as bytes", () => {
  it("has as many as are written", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.oneof(wellFormed, anyUnits), (text) => {
        assert.strictEqual(utf8Length(text), Buffer.byteLength(text))
      })
    )
  })

  it("is base64 and back", () => {
    FastCheck.assert(
      FastCheck.property(wellFormed, (text) => {
        const base64 = textToBase64(text)
        assert.strictEqual(base64, Buffer.from(text).toString("base64"))
        assert.strictEqual(textFromBase64(base64), text)
      })
    )
  })

  it("is not what is no text, or no base64", () => {
    for (const size of [1, 30, 9000]) {
      const bytes = new Uint8Array(size).fill(0xff)
      assert.isUndefined(textFromBase64(encodeBase64(bytes)))
      const base64 = encodeBase64(new Uint8Array(size))
      for (const wrong of [
        `${base64}!`,
        `${base64.slice(0, -1)}-`,
        base64.slice(1),
        `${base64}AA`,
        base64.replace("A", "\u0141")
      ]) {
        assert.isUndefined(textFromBase64(wrong), wrong.slice(-8))
        assert.isUndefined(decodeBase64(wrong), wrong.slice(-8))
      }
    }
  })
})

describe("bytes as base64", () => {
  it("are the same, in memory of their own", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.uint8Array({ maxLength: 100 }), (bytes) => {
        const part = new Uint8Array([1, ...bytes, 2]).subarray(1, -1)
        const base64 = encodeBase64(part)
        assert.strictEqual(base64, Buffer.from(bytes).toString("base64"))
        const decoded = decodeBase64(base64)
        assert.deepStrictEqual(decoded, bytes)
        assert.strictEqual(decoded?.buffer.byteLength, bytes.length)
        assert.strictEqual(decoded?.constructor, Uint8Array)
      })
    )
  })
})
