import { assert, describe, it } from "@effect/vitest"
import * as binaryBody from "../../src/encoding/internal/binaryBody.ts"
import { deletionBytes } from "effect-s3db/Document"
import type { Json } from "effect-s3db/encoding/Json"
import { random } from "./random.ts"

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

const drawn = (seed: number) => {
  const r = random(seed)
  const id = () => Array.from({ length: 16 }, () => alphabet[r.int(64)]).join("")
  const odd = <A>(usual: A, unusual: ReadonlyArray<A>): A => (r.int(8) === 0 ? unusual[r.int(unusual.length)]! : usual)
  const time = () =>
    odd(1_700_000_000_000 + r.int(1e9), [
      0,
      1,
      -1,
      -123_456_789_012,
      2 ** 32,
      -(2 ** 32),
      2 ** 46,
      2 ** 46 + 1,
      -(2 ** 52),
      2 ** 53 - 1
    ])
  const members: Record<string, Json> = {
    w: odd(id(), ["", "x", "é".repeat(16), "x".repeat(17), " ".repeat(16)]),
    t: time()
  }
  if (r.int(2) === 0) members["c"] = time()
  if (r.int(2) === 0) members["n"] = odd(r.int(300), [1, 2 ** 40, Number.MAX_SAFE_INTEGER])
  if (r.int(2) === 0) members["p"] = Array.from({ length: r.int(9) }, () => odd(id(), ["", "w"]))
  if (r.int(2) === 0) members["m"] = { byTeam: ["é=1", ""] }
  if (r.int(4) === 0) members["f"] = { "0": "x", a: [1, { b: null }] }
  const compressed =
    r.int(2) === 0
      ? undefined
      : { size: r.int(1e6), bytes: Uint8Array.from({ length: 8 + r.int(40) }, () => r.int(256)) }
  return { members, compressed }
}

const written = ({ compressed, members }: ReturnType<typeof drawn>) =>
  binaryBody.write(members, compressed, JSON.stringify)

describe("the binary form of a body", () => {
  it("comes back as it was, and is never as long as a deletion", () => {
    for (let seed = 0; seed < 2000; seed++) {
      const body = drawn(seed)
      // What is the default is left out by who writes.
      if (body.members["n"] === 1 || body.members["c"] === body.members["t"]) continue
      const bytes = written(body)
      assert.isAtLeast(bytes.length, deletionBytes + 4)
      const read = binaryBody.read(bytes)
      assert.deepStrictEqual(read?.members, body.members, String(seed))
      assert.strictEqual(read?.compressed?.size, body.compressed?.size)
      assert.deepStrictEqual([...(read?.compressed?.bytes ?? [])], [...(body.compressed?.bytes ?? [])])
    }
  })

  it("the system parts of a document that is new take 20 bytes", () => {
    const bytes = binaryBody.write({ w: "abcdefghijklmnop", t: Date.UTC(2026, 1, 2) }, undefined, JSON.stringify)
    assert.strictEqual(bytes.length, 20)
  })

  it("whatever bytes there are instead, they are read as others or not at all, and nothing is thrown", () => {
    const refused = { cut: 0, changed: 0 }
    for (let seed = 0; seed < 300; seed++) {
      const bytes = written(drawn(seed))
      for (let at = 0; at < bytes.length; at++) {
        if (binaryBody.read(bytes.subarray(0, at)) === undefined) refused.cut += 1
        const changed = bytes.slice()
        changed[at]! ^= 1 << (seed % 8)
        if (binaryBody.read(changed) === undefined) refused.changed += 1
      }
    }
    assert.isAbove(refused.cut, 1000)
    assert.isAbove(refused.changed, 1000)
  })

  it("no member stands in two places, and none is __proto__", () => {
    const bytes = binaryBody.write({ w: "abcdefghijklmnop", t: 1, m: {} }, undefined, () => '{"t":2}')
    assert.isUndefined(binaryBody.read(bytes))
    const proto = binaryBody.write({ w: "abcdefghijklmnop", t: 1, m: {} }, undefined, () => '{"__proto__":{}}')
    assert.isUndefined(binaryBody.read(proto))
  })
})
