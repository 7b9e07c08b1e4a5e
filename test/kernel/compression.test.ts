import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { concatBytes } from "../../src/internal/bytes.ts"
import { engines } from "../../src/kernel/internal/compression.ts"
import { random } from "../encoding/random.ts"

const [node, web] = [engines.node!, engines.web]

const noise = (seed: number, size: number): Uint8Array => {
  const r = random(seed)
  return Uint8Array.from({ length: size }, () => r.int(256))
}

const prose = new TextEncoder().encode("What goes in comes out. ".repeat(100))

describe("deflate", () => {
  it.effect("platforms read each other, at once on Node as long as there is little", () =>
    Effect.gen(function* () {
      for (const bytes of [new Uint8Array(), prose, noise(1, 3000), noise(2, 100_000), new Uint8Array(300_000)]) {
        for (const from of [node, web]) {
          const packed = yield* from.deflate(bytes)
          for (const to of [node, web]) {
            assert.deepStrictEqual(Buffer.from(yield* to.inflate(packed, bytes.length)), Buffer.from(bytes))
          }
        }
      }
      const packed = node.deflate(prose)
      assert.isTrue(Exit.isExit(packed))
      assert.isTrue(Exit.isExit(node.inflate(yield* packed, prose.length)))
    })
  )

  it.effect("whatever is not whole, or not as long as it is to be, is damaged", () =>
    Effect.gen(function* () {
      const long = noise(3, 100_000)
      for (const [engine, bytes] of [
        [node, prose],
        [web, prose],
        [node, long],
        [web, long]
      ] as const) {
        const packed = yield* engine.deflate(bytes)
        const outcome = (one: Uint8Array, size: number) => Effect.flip(engine.inflate(one, size))
        assert.strictEqual(yield* outcome(packed, bytes.length - 1), "damaged")
        assert.strictEqual(yield* outcome(packed, bytes.length + 1), "damaged")
        assert.strictEqual(yield* outcome(packed, 0), "damaged")
        assert.strictEqual(yield* outcome(packed.subarray(0, packed.length - 1), bytes.length), "damaged")
        assert.strictEqual(yield* outcome(concatBytes(packed, Uint8Array.of(0)), bytes.length), "damaged")
        assert.strictEqual(yield* outcome(new Uint8Array(), bytes.length), "damaged")
        // The checksum tells of what unpacking does not.
        for (let at = 0; at < packed.length; at += Math.ceil(packed.length / 50)) {
          const flipped = packed.slice()
          flipped[at]! ^= 4
          assert.strictEqual(yield* outcome(flipped, bytes.length), "damaged", String(at))
        }
      }
    })
  )
})
