/**
 * The hash of a password, as a value that shows nothing of itself.
 *
 * A hash is no secret key, but who has it can guess the password at leisure. So a program holds it as it holds a secret:
 * `console.log`, `JSON.stringify`, a log and an error show `<redacted>`, and no JSON codec but the database's own takes it.
 * `PasswordHasher.verify` takes it as it is; `toText` gives the text to who has to hand accounts on to another system.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"
import * as Pipeable from "effect/Pipeable"
import * as Redacted from "effect/Redacted"
import * as passwordText from "../internal/passwordText.ts"

const redacted = "<redacted>"

/**
 * The hash of a password: bcrypt or Argon2id. Two are equal (`Equal.equals`) when their texts are.
 *
 * @category models
 * @since 0.1.0
 */
export interface PasswordHash extends Equal.Equal, Pipeable.Pipeable {
  readonly "effect-s3db/PasswordHash": "PasswordHash"
}

class Opaque extends Pipeable.Class implements PasswordHash {
  readonly #text: string
  declare readonly "effect-s3db/PasswordHash": "PasswordHash"

  constructor(text: string) {
    super()
    this.#text = text
  }

  static textOf(hash: Opaque): string {
    return hash.#text
  }

  [Equal.symbol](that: unknown): boolean {
    return that === this || (that instanceof Opaque && this.#text !== "" && that.#text === this.#text)
  }

  [Hash.symbol](): number {
    return Hash.string(this.#text)
  }

  override toString(): string {
    return redacted
  }

  toJSON(): string {
    return redacted
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return redacted
  }
}

/**
 * Tells whether a value is the hash of a password.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPasswordHash = (u: unknown): u is PasswordHash => u instanceof Opaque

/**
 * Makes a hash of its standard text, `$2b$12$...` (also `$2a$`, `$2y$`) or `$argon2id$v=19$m=...,t=...,p=...$...`, as another
 * system has it. `None` for a text that is none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromText = (text: string | Redacted.Redacted<string>): Option.Option<PasswordHash> => {
  const plain = typeof text === "string" ? text : Redacted.value(text)
  return passwordText.isPasswordHash(plain) ? Option.some(new Opaque(plain)) : Option.none()
}

/**
 * Returns the standard text of a hash. It is in clear: keep it out of logs and answers. A stand-in has none: `""`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toText = (hash: PasswordHash): string => (hash instanceof Opaque ? Opaque.textOf(hash) : "")

/**
 * Tells whether a text is that of a hash.
 *
 * @category guards
 * @since 0.1.0
 */
export const isText: (text: string) => boolean = passwordText.isPasswordHash

/**
 * Makes what stands for the hash of a password that is still to be hashed. It equals itself alone, verifies nothing, and is
 * never stored.
 *
 * @category constructors
 * @since 0.1.0
 */
export const standIn = (): PasswordHash => new Opaque("")
