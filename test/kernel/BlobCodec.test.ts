import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as BlobCodec from "effect-s3db/kernel/BlobCodec"
import { engines } from "../../src/kernel/internal/compression.ts"

const salt = new TextEncoder().encode("salt of this database")
const range = (length: number) => Array.from({ length }, (_, i) => i)
const text = (value: string) => new TextEncoder().encode(value)

const ring = (current: string, ids: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const keys = yield* KeyRing.KeyRing
    return yield* keys.unlock(salt)
  }).pipe(
    Effect.provide(
      KeyRing.layerKeys({
        current,
        keys: Object.fromEntries(ids.map((id) => [id, Redacted.make(new Uint8Array(32).fill(id.charCodeAt(0)))]))
      })
    )
  )

const outcomeOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => (Result.isSuccess(result) ? "read" : result.failure._tag))

/** Bytes that no method makes shorter. */
const noise = (size: number, seed = 1) => Id.seeded(seed).randomBytes(size)

const Everything = Schema.Struct({
  when: Schema.Date,
  big: Schema.BigInt,
  bytes: Schema.Uint8Array,
  numbers: Schema.Array(Schema.Number),
  text: Schema.String,
  map: Schema.ReadonlyMap(Schema.String, Schema.Number),
  nothing: Schema.NullOr(Schema.String)
})

const everything: typeof Everything.Type = {
  when: new Date("2024-02-29T23:59:59.999Z"),
  big: 2n ** 70n,
  bytes: Uint8Array.of(0, 1, 255),
  numbers: [0, -0, 1e-7, 5e-324, Number.MAX_SAFE_INTEGER, Number.NaN, Number.POSITIVE_INFINITY],
  text: 'a\nb\r\u2028"\\ é 🎉 \u0000 \ufeff',
  map: new Map([["007", 7]]),
  nothing: null
}

describe("BlobCodec", () => {
  for (const compression of ["none", "gzip", "brotli", "zstd"] as const) {
    it.effect(`brings values back (${compression}), whatever the reader compresses by`, () =>
      Effect.gen(function* () {
        const keys = yield* ring("a", ["a"])
        for (const sealing of [undefined, { keys, scope: "plugin=x" }]) {
          const one = BlobCodec.json(Everything, { compression, sealing })
          const read = yield* one.decode(yield* one.encode(everything, "n"), "n")
          assert.deepStrictEqual(read, everything)
          assert.isTrue(Object.is(read.numbers[1], -0))
          const many = BlobCodec.lines(Everything, { compression, sealing })
          for (const size of [0, 1, 100]) {
            const values = range(size).map((i) => ({ ...everything, text: `${everything.text}${i}` }))
            const body = yield* many.encode(values, "n")
            assert.deepStrictEqual(yield* BlobCodec.lines(Everything, { sealing }).decode(body, "n"), values)
          }
          const plain = BlobCodec.bytes({ compression, sealing })
          for (const bytes of [new Uint8Array(), Uint8Array.of(7), yield* noise(5000), new Uint8Array(100_000)]) {
            const body = yield* plain.encode(bytes, "n")
            assert.deepStrictEqual(Buffer.from(yield* plain.decode(body, "n")), Buffer.from(bytes))
          }
        }
      })
    )
  }

  it.effect("the layout, to the byte; what does not get shorter is kept as it is", () =>
    Effect.gen(function* () {
      const body = yield* BlobCodec.json(Schema.Struct({ a: Schema.Int }), { compression: "none" }).encode(
        { a: 1 },
        "n"
      )
      assert.strictEqual(
        Buffer.from(body).toString("hex"),
        "45533342" +
          "01010000" +
          "0000000000000007".repeat(2) +
          "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862" +
          Buffer.from('{"a":1}').toString("hex")
      )
      const long = yield* BlobCodec.lines(Schema.String).encode(["x".repeat(1000)], "n")
      assert.deepStrictEqual([...long.subarray(4, 8)], [1, 2, 1, 0])
      assert.isBelow(long.length, 100)
      const short = yield* BlobCodec.bytes().encode(yield* noise(1000), "n")
      assert.deepStrictEqual([...short.subarray(4, 8)], [1, 0, 0, 0])
      assert.strictEqual(short.length, 56 + 1000)
      const sealed = yield* BlobCodec.bytes({ sealing: { keys: yield* ring("a", ["a"]), scope: "s" } }).encode(
        yield* noise(1000),
        "n"
      )
      assert.strictEqual(sealed.length, 56 + 1000 + 31)
    })
  )

  it.effect("no byte that changes gives another value; any cut and any byte more is told", () =>
    Effect.gen(function* () {
      const keys = yield* ring("a", ["a"])
      for (const compression of ["none", "gzip"] as const) {
        for (const sealing of [undefined, { keys, scope: "s" }]) {
          const codec = BlobCodec.lines(Schema.String, { compression, sealing })
          const values = ["abc".repeat(40), "d"]
          const body = yield* codec.encode(values, "n")
          for (const at of range(body.length)) {
            for (const flip of [1, 0x80]) {
              const damaged = body.slice()
              damaged[at]! ^= flip
              const read = yield* Effect.result(codec.decode(damaged, "n"))
              if (Result.isSuccess(read)) {
                // gzip has bits that mean nothing.
                assert.deepStrictEqual([compression, sealing], ["gzip", undefined])
                assert.deepStrictEqual(read.success, values, `${at} of ${body.length}`)
              } else if (at >= 24) {
                // Before that are what says that it is later, longer, sealed, or under another key.
                assert.strictEqual(read.failure._tag, "Corrupt")
              }
            }
            assert.strictEqual(yield* outcomeOf(codec.decode(body.subarray(0, at), "n")), "Corrupt", `cut at ${at}`)
          }
          assert.strictEqual(yield* outcomeOf(codec.decode(Buffer.concat([body, Uint8Array.of(0)]), "n")), "Corrupt")
        }
      }
      for (const foreign of [new Uint8Array(), text("{}"), text("ES3B"), yield* noise(200), gzipSync("x")]) {
        assert.strictEqual(yield* outcomeOf(BlobCodec.bytes().decode(foreign, "n")), "Corrupt")
      }
    })
  )

  it.effect("another form, another schema and a later format are told, without a value", () =>
    Effect.gen(function* () {
      const body = yield* BlobCodec.json(Schema.String).encode("secret text", "n")
      for (const codec of [BlobCodec.bytes(), BlobCodec.lines(Schema.String), BlobCodec.json(Schema.Int)]) {
        const error = yield* Effect.flip(codec.decode(body, "n") as Effect.Effect<unknown, BlobCodec.DecodeError>)
        assert.strictEqual(error._tag, "Corrupt")
        assert.notInclude(JSON.stringify(error), "secret")
      }
      const later = body.slice()
      later[4] = 2
      const error = yield* Effect.flip(BlobCodec.json(Schema.String).decode(later, "n"))
      assert.deepStrictEqual(
        [error._tag, error.description],
        ["Unsupported", "the blob was written by a later release; upgrade effect-s3db"]
      )
      const Small = Schema.Struct({ a: Schema.Struct({ b: Schema.Int.check(Schema.isLessThan(5)) }) })
      const refused = yield* Effect.flip(BlobCodec.lines(Small).encode([{ a: { b: 1 } }, { a: { b: 77 } }], "n"))
      assert.strictEqual(refused._tag, "InvalidArgument")
      assert.include(refused.description, "value 1")
      assert.include(refused.description, `["a"]["b"]`)
      assert.notInclude(refused.description, "77")
    })
  )

  it.effect("no more is unpacked than is allowed, whatever a blob says", () =>
    Effect.gen(function* () {
      const bomb = yield* BlobCodec.bytes().encode(new Uint8Array(4 * 1024 * 1024), "n")
      assert.isBelow(bomb.length, 5000)
      const small = BlobCodec.bytes({ maxBytes: 1000 })
      assert.strictEqual(yield* outcomeOf(small.decode(bomb, "n")), "EntityTooLarge")
      assert.strictEqual(yield* outcomeOf(small.encode(new Uint8Array(1001), "n")), "EntityTooLarge")
      assert.strictEqual((yield* small.decode(yield* small.encode(new Uint8Array(1000), "n"), "n")).length, 1000)
      // One that says that it is short.
      const lying = bomb.slice()
      new DataView(lying.buffer).setBigUint64(8, 1000n)
      const error = yield* Effect.flip(small.decode(lying, "n"))
      assert.deepStrictEqual([error._tag, error.description], ["Corrupt", "the content is longer than the blob says"])
      for (const engine of [engines.node!, engines.web]) {
        const packed = yield* engine.compress("gzip", new Uint8Array(1_000_000))
        assert.strictEqual(yield* Effect.flip(engine.decompress("gzip", packed, 999_999)), "longer")
        assert.strictEqual((yield* engine.decompress("gzip", packed, 1_000_000)).length, 1_000_000)
        assert.strictEqual(yield* Effect.flip(engine.decompress("gzip", packed.subarray(0, 50), 1_000_000)), "damaged")
      }
    })
  )

  it.effect("platforms read each other; without Node there is gzip", () =>
    Effect.gen(function* () {
      const [node, web] = [engines.node!, engines.web]
      for (const bytes of [new Uint8Array(), text("abc"), yield* noise(300_000), new Uint8Array(300_000)]) {
        for (const [from, to] of [
          [node, web],
          [web, node],
          [web, web]
        ] as const) {
          const packed = yield* from.compress("gzip", bytes)
          assert.deepStrictEqual(Buffer.from(yield* to.decompress("gzip", packed, bytes.length)), Buffer.from(bytes))
        }
      }
      assert.isTrue(web.supports("gzip"))
      assert.isFalse(web.supports("brotli"))
      assert.isTrue(node.supports("zstd"))
    })
  )

  it.effect("a sealed blob opens under its own name and scope alone, and shows nothing", () =>
    Effect.gen(function* () {
      const keys = yield* ring("a", ["a", "b"])
      const on = (scope: string, unlocked = keys) =>
        BlobCodec.json(Schema.String, { sealing: { keys: unlocked, scope } })
      const body = yield* on("s").encode("very secret".repeat(10), "key/1")
      assert.notInclude(Buffer.from(body).toString("latin1"), "secret")
      assert.strictEqual(yield* on("s").decode(body, "key/1"), "very secret".repeat(10))
      assert.strictEqual(yield* outcomeOf(on("s").decode(body, "key/2")), "Corrupt")
      assert.strictEqual(yield* outcomeOf(on("t").decode(body, "key/1")), "Corrupt")
      // Keys that are current later still open it; those that are not there do not.
      assert.strictEqual(yield* outcomeOf(on("s", yield* ring("b", ["a", "b"])).decode(body, "key/1")), "read")
      assert.strictEqual(yield* outcomeOf(on("s", yield* ring("b", ["b"])).decode(body, "key/1")), "Unsupported")
      assert.strictEqual(yield* outcomeOf(BlobCodec.json(Schema.String).decode(body, "key/1")), "Unsupported")
      // Twice the same is not the same twice.
      assert.notDeepEqual(yield* on("s").encode("x", "k"), yield* on("s").encode("x", "k"))
      // An open one in its place is refused, unless one wants it.
      const open = yield* BlobCodec.json(Schema.String).encode("forged", "key/1")
      assert.strictEqual(yield* outcomeOf(on("s").decode(open, "key/1")), "Corrupt")
      const accepting = BlobCodec.json(Schema.String, { sealing: { keys, scope: "s", acceptOpen: true } })
      assert.strictEqual(yield* accepting.decode(open, "key/1"), "forged")
      // A sealed one that claims to be open.
      const claiming = body.slice()
      claiming[7] = 0
      assert.strictEqual(yield* outcomeOf(accepting.decode(claiming, "key/1")), "Corrupt")
    })
  )
})
