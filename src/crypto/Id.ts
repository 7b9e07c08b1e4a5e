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
import * as SchemaIssue from "effect/SchemaIssue"
import { ambient } from "../internal/ambient.ts"
import { percentEncode } from "../internal/text.ts"

const webCryptoBytes = (size: number): Uint8Array => globalThis.crypto.getRandomValues(new Uint8Array(size))

const webCrypto = SecureRandom.make(webCryptoBytes)

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
  { defaultValue: () => webCrypto }
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
export const randomOf = (size: number): Effect.Effect<string> => Effect.suspend(() => eagerly(size))

/** Made at once where that can be: of the generator of the fiber that runs, if it is the default. */
const eagerly = (size: number): Effect.Effect<string> => {
  const generator = ambient(Generator)
  return generator === webCrypto ? Effect.succeed(drawn(size)) : Effect.map(generator.randomBytes(size), textOf)
}

const textOf = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += alphabet[byte & 63]
  return text
}

// A call of the platform's generator costs as much for one id as for hundreds.
const pool: { bytes: Uint8Array; used: number } = { bytes: new Uint8Array(0), used: 0 }

const drawn = (size: number): string => {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`Expected a number of bytes, not ${String(size)}`)
  if (size > pool.bytes.length - pool.used) {
    pool.bytes = webCryptoBytes(Math.max(size, 8192))
    pool.used = 0
  }
  const { bytes } = pool
  const end = pool.used + size
  const units: Array<number> = []
  for (let at = pool.used; at < end; at++) {
    units.push(alphabet.charCodeAt(bytes[at]! & 63))
    // Nothing that is in use can be read here afterwards.
    bytes[at] = 0
  }
  pool.used = end
  // One flat text, which is not made of others.
  return size > mostAtOnce ? units.map((unit) => String.fromCharCode(unit)).join("") : String.fromCharCode(...units)
}

/** Arguments of one call. */
const mostAtOnce = 1000

/**
 * Returns 22 characters, 132 random bits: the default kind of document id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const random: Effect.Effect<string> = randomOf(22)

/**
 * Returns the same, at once where the generator of the fiber that runs is the default: then it is an `Exit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const randomEager = (): Effect.Effect<string> => eagerly(22)

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
 * Returns the same, at once where the generator of the fiber that runs is the default: then it is an `Exit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const writeIdEager = (): Effect.Effect<string> => eagerly(writeIdLength)

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

// -----------------------------------------------------------------------------
// Incremental ids
// -----------------------------------------------------------------------------

/**
 * The form of incremental ids, and where their numbers come from.
 *
 * @category models
 * @since 0.1.0
 */
export interface IncrementalOptions {
  /** The name of the sequence in the resource: fields of one name share their numbers. Default: `id`. */
  readonly name?: string | undefined
  /** What each id begins with. Default: nothing. */
  readonly prefix?: string | undefined
  /** The least number of digits, 0 to 20. Ids of one length sort as text like their numbers. Default: 0. */
  readonly padding?: number | undefined
  /** The first number of a sequence that is new, a safe integer. Default: 1. */
  readonly start?: number | undefined
  /** The distance of two numbers, a safe integer but 0; it has to stay the same. Default: 1. */
  readonly step?: number | undefined
  /**
   * How many numbers a program reserves at once, 1 to 1,000,000: what is left of them when it ends is never given. 1, the default, leaves the fewest
   * gaps and costs a PUT for each insert; 100 costs one for each hundred.
   */
  readonly block?: number | undefined
}

/**
 * What gives out the ids of a sequence. The repository of a resource provides it to the schema of what is inserted.
 *
 * @category references
 * @since 0.1.0
 */
export const Numbers = Context.Reference<((options: IncrementalOptions) => Effect.Effect<string>) | undefined>(
  "effect-s3db/crypto/Id/Numbers",
  { defaultValue: () => undefined }
)

/** The options by the default that a schema knows. */
const incrementals = new WeakMap<object, IncrementalOptions>()

/**
 * Returns the options of the incremental ids that a default of a schema makes, if it is such a default.
 *
 * @category getters
 * @since 0.1.0
 */
export const incrementalOf = (constructorDefault: unknown): IncrementalOptions | undefined =>
  typeof constructorDefault === "object" && constructorDefault !== null
    ? incrementals.get(constructorDefault)
    : undefined

/**
 * Returns the key of the sequence of a resource's incremental ids: what `kernel/Sequence` can look at or set forward, after an import
 * of documents with ids of their own.
 *
 * @category getters
 * @since 0.1.0
 */
export const sequenceKey = (resource: string, name = "id"): string =>
  `resource=${percentEncode(resource)}/plugin=id/sequence=${percentEncode(name)}`

/**
 * Creates a string field that is filled with the next number of a sequence when an insert leaves it out: `ORD-0001`, `ORD-0002`, ...
 *
 * ```ts
 * import * as Id from "effect-s3db/crypto/Id"
 * import { Schema } from "effect"
 *
 * const Order = Schema.Struct({
 *   id: Id.incremental({ prefix: "ORD-", padding: 4, block: 100 }),
 *   total: Schema.Finite
 * })
 * ```
 *
 * **Details**
 *
 * Numbers are reserved by compare-and-set, `block` at once, so that no number is given twice, by whichever process. An insert costs 1
 * PUT more where a block begins, and 1 GET the first time in a program; with a block of 100 that is 0.01 requests for each insert.
 *
 * **Gotchas**
 *
 * It is for a field of the document itself, not for one within another.
 *
 * There are gaps: numbers of inserts that failed, or were part of a transaction that was given up, and what is left of a block when a
 * program ends. With blocks, numbers rise within one program, not between several. They tell strangers how many there are.
 *
 * An id of one's own may be one that the sequence comes to: a write without an id passes over it then, for 1 PUT and 1 GET each.
 * After 100 that are taken it fails, `insert` with `AlreadyExists`, `upsert` and `replace` with `Conflict`, nothing is changed, and the
 * next goes on from there; `start`, or `reset` of the sequence, begins after them. Options out of their range are refused where the
 * resource is defined, as an `UnsupportedSchema`. The catalog does not have the default: a program that opens the resource from it gives ids itself.
 *
 * @category schemas
 * @since 0.1.0
 */
export const incremental = (options: IncrementalOptions = {}) => {
  const noNumbers = () =>
    new SchemaIssue.InvalidValue({
      message: "Expected an id: the repository of a resource makes incremental ids"
    })
  const next = Effect.flatMap(Numbers, (take) => (take === undefined ? Effect.fail(noNumbers()) : take(options)))
  incrementals.set(next, options)
  return Schema.String.pipe(Schema.withConstructorDefault(next))
}
