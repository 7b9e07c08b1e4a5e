/**
 * Identifiers: ids of documents and the write ids that make every write distinguishable.
 *
 * All of them draw on `RandomBytes`, so that a test can make them reproducible.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Schema from "effect/Schema"

const webCryptoBytes = (size: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(size))

/**
 * The source from which identifiers get their randomness. Default: `SecureRandom` of Effect over the platform's Web
 * Crypto.
 *
 * Replace it in tests with `Id.seeded`, never with anything predictable in production: ids may be shown to strangers
 * who should not be able to guess others.
 *
 * @category references
 * @since 0.1.0
 */
export const Generator: Context.Reference<SecureRandom.SecureRandom["Service"]> = Context.Reference(
  "effect-s3db/crypto/Id/Generator",
  { defaultValue: () => SecureRandom.make(webCryptoBytes) }
)

/**
 * Creates a generator whose output follows from a seed: for tests and simulations only.
 *
 * Source of the algorithm: xorshift128 (G. Marsaglia, "Xorshift RNGs", 2003), the 32-bit variant, seeded by splitmix32.
 *
 * @category constructors
 * @since 0.1.0
 */
export const seeded = (seed: number): SecureRandom.SecureRandom["Service"] => {
  let mixed = seed >>> 0
  const splitmix = (): number => {
    mixed = (mixed + 0x9e3779b9) >>> 0
    let z = mixed
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  let [x, y, z, w] = [splitmix(), splitmix(), splitmix(), splitmix() | 1]
  return SecureRandom.make((size) => {
    const bytes = new Uint8Array(size)
    for (let i = 0; i < size; i++) {
      const t = x ^ (x << 11)
      x = y
      y = z
      z = w
      w = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) >>> 0
      bytes[i] = w & 0xff
    }
    return bytes
  })
}

/**
 * Provides generators from a seed. Each build of the layer has one of its own, so that two clients of a test never make the
 * same id; which one it gets follows from how many were built before.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSeeded = (seed: number): Layer.Layer<never> => {
  let builds = 0
  return Layer.sync(Generator, () => seeded(seed + 0x9e3779b9 * builds++))
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/**
 * Returns `size` characters of `A-Z a-z 0-9 - _`, six random bits each.
 *
 * @category constructors
 * @since 0.1.0
 */
export const randomOf = Effect.fnUntraced(function* (size: number) {
  const generator = yield* Generator
  const bytes = yield* generator.randomBytes(size)
  let text = ""
  for (const byte of bytes) text += alphabet[byte & 63]
  return text
})

/**
 * Returns 22 characters, 132 random bits: the default kind of document id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const random: Effect.Effect<string> = randomOf(22)

/**
 * The number of characters of a write id: 16.
 *
 * @category constants
 * @since 0.1.0
 */
export const writeIdLength = 16

/**
 * Returns 16 characters, 96 random bits: names one write of one document.
 *
 * @category constructors
 * @since 0.1.0
 */
export const writeId: Effect.Effect<string> = randomOf(writeIdLength)

/**
 * Returns a ULID: 26 characters that sort by the time of their making, monotonic within one generator.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ulid: Effect.Effect<string> = Effect.flatMap(Generator, (generator) => generator.ulid)

/**
 * Returns a UUID version 7 (RFC 9562): 36 characters that sort by the time of their making, monotonic within one
 * generator.
 *
 * @category constructors
 * @since 0.1.0
 */
export const uuidv7: Effect.Effect<string> = Effect.flatMap(Generator, (generator) => generator.uuidV7())

/**
 * A string field that is filled with 22 random characters when an insert leaves it out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Random = Schema.String.pipe(Schema.withConstructorDefault(random))

/**
 * A string field that is filled with a ULID when an insert leaves it out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ulid = Schema.String.pipe(Schema.withConstructorDefault(ulid))

/**
 * A string field that is filled with a UUID version 7 when an insert leaves it out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UuidV7 = Schema.String.pipe(Schema.withConstructorDefault(uuidv7))
