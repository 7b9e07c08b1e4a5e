import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import { samples, secretSamples } from "./samples.ts"

const attributesOf = (field: Schema.Top) =>
  Attributes.fromSchema(Schema.Struct({ id: Schema.String, field }) as unknown as Attributes.DocumentSchema, "id")

describe("Attribute", () => {
  it("a field of Schema.Void is refused, wherever it is, since nothing of its value would be stored", () => {
    for (const field of [
      Schema.Void,
      Schema.Union([Schema.Void, Schema.String]),
      Schema.Array(Schema.Void),
      Schema.Struct({ in: Schema.optionalKey(Schema.Void) })
    ]) {
      const schema = Schema.Struct({ id: Schema.String, field })
      assert.throws(() => Attributes.fromSchema(schema, "id"), /Schema\.Void takes any value/)
    }
  })

  for (const { name, schema, codec, values, refused } of [...samples, ...secretSamples]) {
    it(`${name} takes what it should, and has codec ${codec.slice(0, 20)}`, () => {
      const [attribute] = attributesOf(schema)
      assert.strictEqual(attribute?.codec, codec)
      const check = Schema.decodeUnknownResult(Schema.toType(schema))
      for (const value of values) assert.isTrue(Result.isSuccess(check(value)), `${name}: ${String(value)}`)
      for (const value of refused) assert.isTrue(Result.isFailure(check(value)), `${name}: ${String(value)}`)
    })
  }

  it("keeps its codec under checks, brands, null, options and transformations", () => {
    const codecs = (field: Schema.Top) => attributesOf(field).map((attribute) => attribute.codec)
    const local = Attribute.Ip4.check(Schema.isStartingWith("10."))
    assert.deepStrictEqual(codecs(local), ["ip4"])
    assert.deepStrictEqual(codecs(local.pipe(Schema.brand("Local"))), ["ip4"])
    assert.deepStrictEqual(codecs(Schema.NullOr(local)), ["ip4"])
    assert.deepStrictEqual(codecs(Schema.optional(local)), ["ip4"])
    assert.deepStrictEqual(codecs(Schema.Option(local)), ["option:ip4"])
    assert.deepStrictEqual(codecs(Attribute.Uuid.pipe(Schema.decodeTo(Schema.String))), ["uuid"])
    class Place extends Schema.Class<Place>("Place")({ at: Attribute.Point(), code: Attribute.Country }) {}
    assert.deepStrictEqual(codecs(Place), ["struct", "point:6", "string"])
    assert.deepStrictEqual(codecs(Schema.NullOr(Attribute.SecretText)), ["secret"])
    assert.deepStrictEqual(codecs(Schema.Struct({ inner: Attribute.SecretText })), ["struct", "secret"])
    assert.deepStrictEqual(codecs(Schema.Record(Schema.String, Attribute.SecretText)), ["secret"])
    assert.deepStrictEqual(codecs(Schema.Redacted(Schema.Struct({ a: Schema.String }))), ["secret"])
    assert.deepStrictEqual(codecs(Attribute.Password), ["password"])
  })

  it("refuses settings that make no sense", () => {
    assert.throws(() => Attribute.Money("XYZ"), /unknown currency "XYZ"/)
    assert.throws(() => Attribute.Money(31), /decimals must be an integer from 0 to 30/)
    assert.throws(() => Attribute.Latitude(-1), /precision/)
    assert.throws(() => Attribute.Embedding(0), /length/)
    assert.throws(() => Attribute.Bits(1.5), /length/)
    assert.throws(
      () => attributesOf(Schema.Redacted(Schema.String, { disallowJsonEncode: true })),
      Attributes.UnsupportedSchema
    )
  })

  it("keeps secrets out of JSON", () => {
    for (const { schema, values } of secretSamples.slice(0, 3)) {
      const encode = Schema.encodeUnknownResult(Schema.toCodecJson(schema))
      for (const value of values) {
        const result = encode(value)
        assert.isTrue(Result.isFailure(result))
        assert.notInclude(String(Result.isFailure(result) && result.failure), "hunter2")
        assert.notInclude(JSON.stringify(value), "hunter2")
      }
    }
  })
})
