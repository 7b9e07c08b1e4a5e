/**
 * Password hashes: Argon2id or bcrypt, computed in worker threads so that the event loop goes on meanwhile.
 *
 * **Details**
 *
 * Passwords are taken as the UTF-8 bytes of the text as it is given; no Unicode normalisation is done. Salts draw on
 * `Id.Generator`. Byte buffers that held a password are overwritten after use; the text itself, which the engine keeps,
 * and the memory of the algorithms cannot be.
 *
 * @since 0.1.0
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { availableParallelism } from "node:os"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Id from "./Id.ts"
import * as pool from "./internal/passwordPool.ts"
import * as text from "../internal/passwordText.ts"
import * as Attribute from "../schema/Attribute.ts"
import * as Hashes from "../schema/PasswordHash.ts"
import { ExpectedError } from "../internal/expectedError.ts"

/**
 * The bcrypt algorithm, with 2^`cost` rounds.
 *
 * @category models
 * @since 0.1.0
 */
export type Bcrypt = text.Bcrypt

/**
 * The Argon2id algorithm, version 1.3, with `memory` in KiB.
 *
 * @category models
 * @since 0.1.0
 */
export type Argon2id = text.Argon2id

/**
 * The way in which a password is hashed.
 *
 * @category models
 * @since 0.1.0
 */
export type Algorithm = text.Algorithm

/**
 * Returns the bcrypt algorithm. `cost`: default 12, from 10 to 31; each step doubles the time. Throws a `RangeError`
 * that names the option.
 *
 * It takes passwords of up to 72 bytes. Choose it for hashes that other programs have to read; otherwise `argon2id`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bcrypt = (options: { readonly cost?: number | undefined } = {}): Algorithm =>
  text.checked({ _tag: "Bcrypt", cost: options.cost ?? 12 })

/**
 * Returns the Argon2id algorithm. Throws a `RangeError` that names the option when one is out of its range.
 *
 * `memory`: KiB, default 19456, from 8 for each lane to 1048576. `passes`: default 2, to 65535. `parallelism`: lanes,
 * default 1, to 255; they are computed one after the other. Source of the defaults: OWASP Password Storage Cheat Sheet.
 * Lower figures are let through for tests; they make guessing cheap.
 *
 * @category constructors
 * @since 0.1.0
 */
export const argon2id = (
  options: {
    readonly memory?: number | undefined
    readonly passes?: number | undefined
    readonly parallelism?: number | undefined
  } = {}
): Algorithm =>
  text.checked({
    _tag: "Argon2id",
    memory: options.memory ?? 19_456,
    passes: options.passes ?? 2,
    parallelism: options.parallelism ?? 1
  })

/**
 * The hash of a password as a field of a schema; `schema/PasswordHash` makes one of its text, and the other way round.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PasswordHash = Attribute.Password

/**
 * The hash of a password, which shows nothing of itself.
 *
 * @category schemas
 * @since 0.1.0
 */
export type PasswordHash = Attribute.PasswordHash

const reasonFields = {
  /** One sentence for a person. Never holds a password or a hash. */
  description: Schema.String
}

/**
 * An empty password.
 *
 * @remedy Ask for a password of at least one character.
 * @category errors
 * @since 0.1.0
 */
export class Empty extends ExpectedError<Empty>("effect-s3db/crypto/PasswordHasher/Empty")("Empty", reasonFields) {}

/**
 * A password of more than `limit` bytes in UTF-8: 72 for bcrypt, which would ignore the rest, 4096 otherwise.
 *
 * @remedy Ask for a shorter password, or hash by Argon2id, which takes 4096 bytes.
 * @category errors
 * @since 0.1.0
 */
export class TooLong extends ExpectedError<TooLong>("effect-s3db/crypto/PasswordHasher/TooLong")("TooLong", {
  ...reasonFields,
  limit: Schema.Number
}) {}

/**
 * A password with a NUL character, where bcrypt implementations stop reading.
 *
 * @remedy Ask for a password without NUL characters, or hash by Argon2id.
 * @category errors
 * @since 0.1.0
 */
export class NulCharacter extends ExpectedError<NulCharacter>("effect-s3db/crypto/PasswordHasher/NulCharacter")(
  "NulCharacter",
  reasonFields
) {}

/**
 * What was given as a hash and is none, such as one that another copy of this library has made.
 *
 * @remedy Make it of its text with `PasswordHash.fromText`.
 * @category errors
 * @since 0.1.0
 */
export class InvalidHash extends ExpectedError<InvalidHash>("effect-s3db/crypto/PasswordHasher/InvalidHash")(
  "InvalidHash",
  reasonFields
) {}

/**
 * A hash that asks for more work than the limits of this hasher allow: whoever can write hashes could keep it busy.
 *
 * @remedy Raise the limits of the hasher if such hashes are yours.
 * @category errors
 * @since 0.1.0
 */
export class TooCostly extends ExpectedError<TooCostly>("effect-s3db/crypto/PasswordHasher/TooCostly")(
  "TooCostly",
  reasonFields
) {}

/**
 * A hash that could not be computed: the worker thread died or had too little memory, or the hasher's scope is closed.
 *
 * @remedy Try again. Where it comes back, give the process more memory, or the hash less (`memory`), and keep the
 * hasher's scope open as long as it is used.
 * @category errors
 * @since 0.1.0
 */
export class WorkerFailed extends ExpectedError<WorkerFailed>("effect-s3db/crypto/PasswordHasher/WorkerFailed")(
  "WorkerFailed",
  reasonFields
) {}

/**
 * Every reason an operation can fail for.
 *
 * @category errors
 * @since 0.1.0
 */
export const Reason = Schema.Union([Empty, TooLong, NulCharacter, InvalidHash, TooCostly, WorkerFailed])

/**
 * One of the reasons an operation can fail for.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/**
 * The one error of `PasswordHasher`. It holds neither passwords nor hashes.
 *
 * @remedy See its `reason`.
 * @category errors
 * @since 0.1.0
 */
export class PasswordError extends ExpectedError<PasswordError>("effect-s3db/crypto/PasswordHasher/PasswordError")(
  "PasswordError",
  { operation: Schema.Literals(["hash", "verify"]), reason: Reason }
) {
  override get message(): string {
    return `${this.operation} failed: ${this.reason._tag}: ${this.reason.description}`
  }
}

/**
 * The hasher of passwords: it makes hashes, and checks passwords against them.
 *
 * @category services
 * @since 0.1.0
 */
export class PasswordHasher extends Context.Service<
  PasswordHasher,
  {
    /**
     * A hash with a fresh salt. Fails with `Empty`, `TooLong`, `NulCharacter`, `WorkerFailed`. An algorithm whose
     * options are out of range is a defect.
     */
    readonly hash: (
      password: Redacted.Redacted<string>,
      algorithm?: Algorithm
    ) => Effect.Effect<PasswordHash, PasswordError>
    /**
     * Whether the password is the one that was hashed. False for a password that `hash` would refuse. Fails with
     * `InvalidHash`, `TooCostly`, `WorkerFailed`.
     */
    readonly verify: (password: Redacted.Redacted<string>, hash: PasswordHash) => Effect.Effect<boolean, PasswordError>
    /**
     * Whether the hash was made with another algorithm or other options than the hasher's, or with a salt or digest
     * shorter than it makes: hash the password again after it was verified. The pepper leaves no trace in a hash.
     */
    readonly needsRehash: (hash: PasswordHash, algorithm?: Algorithm) => boolean
  }
>()("effect-s3db/crypto/PasswordHasher") {}

/**
 * The most work that verifying one hash may take, by algorithm.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** Argon2id: KiB. Default 262,144. */
  readonly memory?: number | undefined
  /** Argon2id: KiB times passes. Default 2,097,152, some seconds. */
  readonly memoryPasses?: number | undefined
  /** bcrypt. Default 17, some seconds. */
  readonly cost?: number | undefined
}

/**
 * The algorithm of a hasher, its limits, its pepper and its threads.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How passwords are hashed. Default `argon2id()`. Every known hash within `limits` is verified, whatever this is. */
  readonly algorithm?: Algorithm | undefined
  /** The most work that verifying a hash may take. What `algorithm` takes is always allowed. */
  readonly limits?: Limits | undefined
  /**
   * A secret kept apart from the hashes. What is hashed is then HMAC-SHA-256(pepper, password) in base 64, for both
   * algorithms, so that bcrypt takes passwords of up to 4096 bytes and NUL characters too. Hashes made with another
   * pepper, or without one, no longer verify.
   */
  readonly pepper?: Redacted.Redacted<string> | undefined
  /** How many worker threads at most. Default: one less than there are processors, from 1 to 4. */
  readonly threads?: number | undefined
}

const saltBytes = 16
const argon2idBytes = 32
const bcryptBytes = 23

const maximumBytes = 4096
const bcryptMaximumBytes = 72

const encoder = new TextEncoder()

/** The bytes to be hashed. The caller sees that they are overwritten. */
const bytesOf = (
  password: string,
  algorithm: Algorithm,
  pepper: string | undefined
): Result.Result<Uint8Array<ArrayBuffer>, Reason> => {
  const direct = algorithm._tag === "Bcrypt" && pepper === undefined
  const limit = direct ? bcryptMaximumBytes : maximumBytes
  const tooLong = () => Result.fail(new TooLong({ limit, description: `more than ${limit} bytes in UTF-8` }))
  if (password === "") return Result.fail(new Empty({ description: "the password is empty" }))
  // Every UTF-16 unit takes a byte at least: what is far too long is not even encoded.
  if (password.length > limit) return tooLong()
  if (direct && password.includes("\0")) {
    return Result.fail(new NulCharacter({ description: "bcrypt takes no NUL characters" }))
  }
  const bytes = encoder.encode(password)
  if (bytes.length > limit) {
    bytes.fill(0)
    return tooLong()
  }
  if (pepper === undefined) return Result.succeed(bytes)
  const peppered = encoder.encode(createHmac("sha256", pepper).update(bytes).digest("base64"))
  bytes.fill(0)
  return Result.succeed(peppered)
}

const fail = (operation: "hash" | "verify", reason: Reason): Effect.Effect<never, PasswordError> =>
  Effect.fail(new PasswordError({ operation, reason }))

const threadsOf = (threads: number | undefined): number => {
  if (threads === undefined) return Math.max(1, Math.min(4, availableParallelism() - 1))
  if (Number.isInteger(threads) && threads >= 1 && threads <= 64) return threads
  throw new RangeError(`threads has to be a whole number from 1 to 64, not ${threads}`)
}

const isWithin = ({ memory = 262_144, memoryPasses = 2_097_152, cost = 17 }: Limits, asked: Algorithm): boolean =>
  asked._tag === "Bcrypt" ? asked.cost <= cost : asked.memory <= memory && asked.memory * asked.passes <= memoryPasses

const isLess = (asked: Algorithm, standard: Algorithm): boolean =>
  isWithin(
    standard._tag === "Bcrypt"
      ? { cost: standard.cost, memory: 0 }
      : { memory: standard.memory, memoryPasses: standard.memory * standard.passes, cost: 0 },
    asked
  )

/**
 * Creates a hasher whose threads, started when they are first needed, end with the scope. Options out of range are
 * defects.
 *
 * An interruption takes a waiting job out of the queue and stops a running one together with its thread. A thread that
 * dies fails its own job only, and is replaced.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (options?: Options) => Effect.Effect<PasswordHasher["Service"], never, Scope.Scope> =
  Effect.fnUntraced(function* (options: Options = {}) {
    const standard = text.checked(options.algorithm ?? argon2id())
    const pepper = options.pepper === undefined ? undefined : Redacted.value(options.pepper)
    if (pepper === "") throw new RangeError("pepper has to be a secret, not an empty text")
    const { run } = yield* pool.make({ threads: threadsOf(options.threads) })

    const compute = (operation: "hash" | "verify", job: pool.Job) =>
      Effect.catch(run(job), (description) => fail(operation, new WorkerFailed({ description })))

    const hash = Effect.fn("PasswordHasher.hash")(function* (
      password: Redacted.Redacted<string>,
      algorithm: Algorithm = standard
    ) {
      text.checked(algorithm)
      const generator = yield* Id.Generator
      const salt = yield* generator.randomBytes(saltBytes)
      const bytes = bytesOf(Redacted.value(password), algorithm, pepper)
      if (Result.isFailure(bytes)) return yield* fail("hash", bytes.failure)
      const length = algorithm._tag === "Bcrypt" ? bcryptBytes : argon2idBytes
      const digest = yield* compute("hash", { ...algorithm, password: bytes.success, salt, length })
      const written = { salt: text.toText(algorithm._tag, salt), digest: text.toText(algorithm._tag, digest) }
      digest.fill(0)
      const whole: text.Parsed =
        algorithm._tag === "Bcrypt" ? { ...algorithm, ...written, variant: "b" } : { ...algorithm, ...written }
      return Option.getOrThrow(Hashes.fromText(text.format(whole)))
    })

    const verify = Effect.fn("PasswordHasher.verify")(function* (
      password: Redacted.Redacted<string>,
      hash: PasswordHash
    ) {
      const parsed = text.parse(Hashes.toText(hash))
      if (parsed === undefined) {
        return yield* fail(
          "verify",
          new InvalidHash({ description: "this is no hash that PasswordHash.fromText has made" })
        )
      }
      if (!isWithin(options.limits ?? {}, parsed) && !isLess(parsed, standard)) {
        return yield* fail(
          "verify",
          new TooCostly({ description: "the hash asks for more work than the limits allow" })
        )
      }
      const bytes = bytesOf(Redacted.value(password), parsed, pepper)
      if (Result.isFailure(bytes)) return false
      const expected = text.toBytes(parsed._tag, parsed.digest)
      // The stored digest stays here: the worker has no use for it.
      const { salt, digest: _, ...algorithm } = parsed
      const digest = yield* compute("verify", {
        ...algorithm,
        password: bytes.success,
        salt: text.toBytes(parsed._tag, salt),
        length: expected.length
      })
      const same = timingSafeEqual(digest, expected)
      digest.fill(0)
      return same
    })

    const needsRehash = (hash: PasswordHash, algorithm: Algorithm = standard): boolean => {
      const parsed = text.parse(Hashes.toText(hash))
      if (parsed?._tag === "Bcrypt" && algorithm._tag === "Bcrypt") return parsed.cost !== algorithm.cost
      if (parsed?._tag !== "Argon2id" || algorithm._tag !== "Argon2id") return true
      return (
        parsed.memory !== algorithm.memory ||
        parsed.passes !== algorithm.passes ||
        parsed.parallelism !== algorithm.parallelism ||
        text.toBytes("Argon2id", parsed.salt).length < saltBytes ||
        text.toBytes("Argon2id", parsed.digest).length < argon2idBytes
      )
    }

    return PasswordHasher.of({ hash, verify, needsRehash })
  })

/**
 * Creates the layer of a hasher, as `make` does, with options. Bind the result to a constant: each call makes a layer of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<PasswordHasher> => Layer.effect(PasswordHasher, make(options))

/**
 * Creates `layer` with options from the configuration. Fails with `ConfigError` when one is missing or has a wrong
 * type.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (config: Config.Wrap<Options>): Layer.Layer<PasswordHasher, Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerWith))

/**
 * Creates the layer of a hasher, as `make` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<PasswordHasher> = layerWith({})
