import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import { type Sample, samples, hostileTexts } from "../schema/samples.ts"
import { generators, random } from "./random.ts"

const encoders = [Encoding.text, Encoding.packed]

const fieldCodec = (schema: Schema.Top) => {
  const struct = Schema.Struct({
    id: Schema.String,
    field: Schema.NullOr(schema)
  }) as unknown as Attributes.DocumentSchema
  const attributes = Attributes.fromSchema(struct, "id")
  const layout = attributes.map((attribute, index) => ({ ...attribute, id: index.toString(36) }))
  const storage = Attributes.toStorageCodec(struct)
  const toJson = Schema.encodeUnknownSync(storage as unknown as Schema.Codec<unknown, unknown>)
  const fromJson = Schema.decodeUnknownSync(storage as unknown as Schema.Codec<unknown, unknown>)
  return { layout: { written: layout, readable: layout }, toJson, fromJson }
}

/** What HTTP and every gateway leave as it is. */
const isHeaderSafe = (value: string): boolean =>
  /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !value.includes("  ") && !value.startsWith("=?")

/** The stored form of a value, read back; or why not. */
const roundTrip = (
  encoder: Encoding.Encoder,
  { layout, toJson, fromJson }: ReturnType<typeof fieldCodec>,
  value: unknown
) => {
  const codec = encoder.compile(layout)
  const json = toJson({ id: "1", field: value }) as Encoding.JsonObject
  const { id: _, ...fields } = json
  const entries = Result.getOrThrow(codec.encode(fields))
  const metadata = codec.metadata(entries)
  let bytes = 0
  for (const [name, text] of Object.entries(metadata)) {
    assert.isTrue(isHeaderSafe(text), `not fit for a header: ${JSON.stringify(text)}`)
    bytes += name.length + text.length
  }
  assert.strictEqual(codec.metadataBytes(entries), bytes)
  const decoded = Result.getOrThrow(codec.decode({ metadata, spilled: undefined, spilledText: undefined }))
  assert.deepStrictEqual(decoded.document, fields)
  // The same by way of the body.
  const spilled = Object.fromEntries(
    entries.filter((one) => one.bodyText === undefined).map((one) => [one.id, one.value])
  )
  const spilledText = Object.fromEntries(
    entries.flatMap((one) => (one.bodyText === undefined ? [] : [[one.id, one.bodyText]]))
  )
  const fromBody = Result.getOrThrow(codec.decode({ metadata: {}, spilled, spilledText }))
  assert.deepStrictEqual(fromBody.document, fields)
  return { value: (fromJson({ ...decoded.document, id: "1" }) as { readonly field: unknown }).field, bytes }
}

const same = (a: unknown, b: unknown): boolean =>
  Object.is(a, b) || (typeof a === "object" && (Equal.equals(a, b) || JSON.stringify(a) === JSON.stringify(b)))

describe("Encoding", () => {
  for (const encoder of encoders) {
    const layer = encoder === Encoding.text ? "text" : "packed"

    for (const one of samples) {
      it(`${layer}: ${one.name} comes back as it was`, () => {
        const compiled = fieldCodec(one.schema)
        for (const value of [null, ...one.values]) {
          const back = roundTrip(encoder, compiled, value)
          assert.isTrue(same(back.value, value), `${String(value)} came back as ${String(back.value)}`)
        }
      })
    }

    for (const [name, generate] of Object.entries(generators)) {
      const one: Sample | undefined = samples.find((sample) => sample.name === name)
      if (one === undefined) continue
      it(`${layer}: any ${name} comes back as it was`, () => {
        const compiled = fieldCodec(one.schema)
        const r = random(20261123)
        for (let run = 0; run < 400; run++) {
          const value = generate(r)
          const back = roundTrip(encoder, compiled, value)
          assert.isTrue(same(back.value, value), `${JSON.stringify(value)} came back as ${JSON.stringify(back.value)}`)
        }
      })
    }

    it(`${layer}: exact numbers of any size come back`, () => {
      const compiled = fieldCodec(Attribute.Money(2))
      // About where base 62 has 999 digits and the binary form 4,096 bits, and beyond.
      const sizes = [1, 30, 1230, 1231, 1232, 1233, 1234, 1236, 1238, 1240, 1775, 1778, 1779, 1780, 1782, 1800, 5000]
      const values = [
        ...sizes.flatMap((size) => ["9", "-9"].map((digit) => BigDecimal.make(BigInt(digit + "9".repeat(size)), 2))),
        ...[62n ** 998n, 62n ** 999n - 1n, 62n ** 999n, 2n ** 4095n, 2n ** 4095n - 1n, 2n ** 4096n].flatMap((digits) =>
          [digits, -digits, digits - 1n].map((one) => BigDecimal.make(one, 2))
        ),
        BigDecimal.make(1n, -500),
        BigDecimal.make(1n, -1_000_000_000)
      ]
      for (const value of values) {
        const back = roundTrip(encoder, compiled, value).value
        assert.isTrue(
          BigDecimal.isBigDecimal(back) && BigDecimal.format(back) === BigDecimal.format(value),
          BigDecimal.format(value).slice(0, 20)
        )
      }
    })

    it(`${layer}: refuses what has no stored form, and says where`, () => {
      const { layout } = fieldCodec(Schema.Json)
      const codec = encoder.compile(layout)
      const problem = (field: unknown) => {
        const result = codec.encode({ field: field as Encoding.Json })
        return Result.isFailure(result) ? result.failure.path.join(".") : "none"
      }
      assert.strictEqual(problem([1, { a: Number.NaN }]), "field.1.a")
      assert.strictEqual(problem(JSON.parse('{"x":{"__proto__":1}}')), "field.x.__proto__")
      assert.strictEqual(problem({ fine: 1 }), "none")
    })

    it(`${layer}: damaged metadata is a failure, never another value`, () => {
      const r = random(7)
      for (const { schema, values } of samples) {
        const { layout } = fieldCodec(schema)
        const codec = encoder.compile(layout)
        for (const damage of [...hostileTexts, ...Array.from({ length: 20 }, () => String(r.unit()).slice(2, 9))]) {
          const name = encoder === Encoding.text ? layout.written.at(-1)!.id : "p"
          const result = codec.decode({ metadata: { [name]: damage }, spilled: undefined, spilledText: undefined })
          if (Result.isFailure(result)) continue
          // What can be read can be written again.
          assert.isTrue(Result.isSuccess(codec.encode(result.success.document)), `${damage} ${String(values[0])}`)
        }
      }
    })
  }

  it("the other encoding's documents are found by their tag", () => {
    for (const encoder of encoders) assert.strictEqual(Encoding.forTag(encoder.tag), encoder)
    assert.isUndefined(Encoding.forTag("?"))
  })
})

/** The text of a single field. */
const textOf = (schema: Schema.Top, value: unknown): string => {
  const { layout, toJson } = fieldCodec(schema)
  const { id: _, ...fields } = toJson({ id: "1", field: value }) as Encoding.JsonObject
  const [entry] = Result.getOrThrow(Encoding.text.compile(layout).encode(fields))
  return entry?.form as string
}

describe("stored forms", () => {
  const bytes = (schema: Schema.Top, value: unknown): number => textOf(schema, value).length
  const decimal = (text: string) => Schema.decodeUnknownSync(Schema.BigDecimalFromString)(text)

  it("T54: text in other scripts", () => {
    assert.strictEqual(textOf(Schema.String, "José"), "u:Jos%C3%A9")
    assert.strictEqual(textOf(Schema.String, "李明"), "b:5p2O5piO")
    assert.strictEqual(textOf(Schema.String, "a|b"), "a|b")
    assert.strictEqual(textOf(Schema.String, "https://www.google.com/"), "d:@Wgoogle.com/")
    assert.isTrue(isHeaderSafe(textOf(Schema.String, "https://api.example.com/é")))
  })

  it("T53: dictionary, and text that looks like it", () => {
    assert.strictEqual(textOf(Schema.String, "application/json"), "d:j")
    assert.strictEqual(textOf(Schema.String, "completed"), "d:c")
    assert.strictEqual(textOf(Schema.String, "/api/v1/users"), "d:@1users")
    assert.notStrictEqual(textOf(Schema.String, "font/woff2"), textOf(Schema.String, "failed"))
    assert.strictEqual(textOf(Schema.String, "constructor"), "constructor")
  })

  it("T55: money", () => {
    assert.strictEqual(textOf(Attribute.Money("USD"), decimal("19.99")), "$wf")
    assert.strictEqual(textOf(Attribute.Money("BTC"), decimal("0.00012345")), "$3d7")
    assert.strictEqual(textOf(Attribute.Decimal(3), decimal("-1.125")), "^-i9")
  })

  it("T56: geo", () => {
    assert.strictEqual(textOf(Attribute.Latitude(), -23.550519), "~4uOxP")
    assert.strictEqual(textOf(Attribute.Longitude(), -46.633309), "~91ALF")
    assert.strictEqual(textOf(Attribute.Latitude(), 40.7128), "~8QsmY")
    assert.strictEqual(textOf(Attribute.Point(), { latitude: -23.550519, longitude: -46.633309 }), "~4uOxP~91ALF")
  })

  it("T57: addresses", () => {
    assert.strictEqual(textOf(Attribute.Ip4, "192.168.1.1"), "wKgBAQ==")
    assert.strictEqual(textOf(Attribute.Ip4, "10.0.0.1"), "10.0.0.1")
    assert.strictEqual(textOf(Attribute.Ip6, "::1"), "::1")
  })

  it("T58: vectors", () => {
    assert.strictEqual(textOf(Attribute.Embedding(4), [0.123, -0.456, 0.789, 0]), "^[vZS,-1UCQ,3jfO,0]")
  })

  it("T60: numbers to the last digit, and null is no value of a type", () => {
    const numbers = [
      1e-7,
      -0,
      0,
      Number.MAX_SAFE_INTEGER,
      -Number.MAX_SAFE_INTEGER,
      Number.MAX_VALUE,
      5e-324,
      0.1 + 0.2
    ]
    for (const encoder of encoders) {
      for (const value of numbers) {
        const back = roundTrip(encoder, fieldCodec(Schema.Number), value).value
        assert.isTrue(Object.is(back, value), `${encoder.tag} ${value} ${String(back)}`)
      }
      assert.isNull(roundTrip(encoder, fieldCodec(Schema.Boolean), null).value)
      assert.isFalse(roundTrip(encoder, fieldCodec(Schema.Boolean), false).value)
      assert.isNull(roundTrip(encoder, fieldCodec(Schema.Number), null).value)
      assert.isNull(roundTrip(encoder, fieldCodec(Schema.String), null).value)
    }
  })

  it("every type saves at least as much as the original says of it", () => {
    // [schema, value, bytes of the plain text, least saving in percent]
    const least: ReadonlyArray<readonly [Schema.Top, unknown, string, number]> = [
      [Attribute.Date, new Date("2024-01-15T10:30:00.000Z"), "2024-01-15T10:30:00.000Z", 67],
      [Attribute.Uuid, "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000", 33],
      [Schema.String, "application/x-www-form-urlencoded", "application/x-www-form-urlencoded", 85],
      [Attribute.Ip4, "255.255.255.255", "255.255.255.255", 44],
      [Attribute.Ip6, "2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3:8d3:1319:8a2e:370:7348", 38],
      [
        Attribute.Ip6,
        "2001:0db8:85a3:08d3:1319:8a2e:0370:7348".replaceAll(":0", ":"),
        "2001:0db8:85a3:08d3:1319:8a2e:0370:7348",
        43
      ],
      [Attribute.Money(2), decimal("1999.99"), "1999.99", 40],
      [Attribute.Latitude(), -23.550519, "-23.550519", 40],
      [Attribute.DateOnly, "2024-01-15", "2024-01-15", 70],
      [Attribute.TimeOnly, "14:30:45.123", "14:30:45.123", 58],
      [Attribute.Mac, "aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff", 47],
      [Attribute.Cidr, "192.168.1.0/24", "192.168.1.0/24", 50],
      [Attribute.Phone, "+5511999887766", "+5511999887766", 40],
      [Attribute.Semver, "2.14.3", "2.14.3", 40],
      [Attribute.Color, "#ff5733", "#ff5733", 29],
      [Attribute.Ean, "5901234123457", "5901234123457", 31],
      [Attribute.Decimal(2), decimal("123456.78"), "123456.78", 33]
    ]
    for (const [schema, value, plain, saving] of least) {
      const saved = 100 * (1 - bytes(schema, value) / plain.length)
      assert.isAtLeast(Math.round(saved), saving, `${plain} -> ${textOf(schema, value)}`)
    }
  })

  it.effect("says what a schema is stored as", () =>
    Effect.sync(() => {
      assert.strictEqual(textOf(Schema.Int, 123456789), "8m0Kx")
      assert.strictEqual(textOf(Schema.Finite, 9.5), "9.5")
      assert.strictEqual(textOf(Schema.Finite, 1e-7), "1e-7")
      assert.strictEqual(textOf(Schema.Array(Schema.String), []), "e:")
      assert.strictEqual(textOf(Schema.Array(Schema.String), ["a", "b|c"]), "a|b\\|c")
      assert.strictEqual(textOf(Schema.String, "null"), "null")
      assert.strictEqual(textOf(Schema.String, null), "n:")
    })
  )
})
