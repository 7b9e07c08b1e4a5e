/** Secrets and password hashes, as s3db.js writes them. */
import * as Effect from "effect/Effect"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Base64 from "effect/encoding/Base64"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as aesGcm from "../../crypto/internal/aesGcm.ts"
import { integerOf } from "./numbers.ts"

const saltBytes = 16
const nonceBytes = 12
const tagBytes = 16
const algorithm = Kdf.pbkdf2({ hash: Digest.sha256, iterations: 100_000 })
const nothing = new Uint8Array(0)

/** How often one secret may have been sealed over: the original seals again what it has read without opening it. */
const maxLayers = 8

/**
 * Opens a secret, also one that was sealed several times. `"foreign"`: another passphrase made it, or nobody.
 */
export const open = Effect.fnUntraced(function* (
  sealed: string,
  passphrase: Redacted.Redacted<string>
): Effect.fn.Return<string, "foreign"> {
  let clear = yield* openOnce(sealed, passphrase)
  for (let layer = 1; layer < maxLayers && canBeSealed(clear); layer++) {
    const inner: string | undefined = yield* Effect.orElseSucceed(openOnce(clear, passphrase), () => undefined)
    // What does not open by the passphrase is what was meant, whatever it looks like.
    if (inner === undefined) break
    clear = inner
  }
  return clear
})

const canBeSealed = (text: string): boolean =>
  text.length >= Math.ceil((saltBytes + nonceBytes + tagBytes) / 3) * 4 && /^[A-Za-z0-9+/]+={0,2}$/.test(text)

/**
 * Opens a secret once: base 64 of 16 bytes of salt, by which the key is derived from the passphrase (PBKDF2-SHA-256, 100,000 iterations), 12 of
 * nonce, and what AES-256-GCM makes of it.
 */
const openOnce = Effect.fnUntraced(function* (
  sealed: string,
  passphrase: Redacted.Redacted<string>
): Effect.fn.Return<string, "foreign"> {
  const bytes = Result.getOrElse(Base64.decode(sealed), () => nothing)
  if (bytes.length < saltBytes + nonceBytes + tagBytes) return yield* Effect.fail("foreign" as const)
  const kdf = yield* Effect.provide(Kdf.Kdf, Kdf.layerWebCrypto)
  const secret = new TextEncoder().encode(Redacted.value(passphrase))
  const key = yield* Effect.orDie(kdf.derive(algorithm, secret, { salt: bytes.slice(0, saltBytes), length: 32 }))
  const cipher = yield* aesGcm.make(key)
  const nonce = bytes.slice(saltBytes, saltBytes + nonceBytes)
  const plain = yield* Effect.mapError(
    cipher.decrypt(nonce, bytes.slice(saltBytes + nonceBytes), nothing),
    () => "foreign" as const
  )
  return new TextDecoder().decode(plain)
})

/**
 * The text of a password's hash in its usual form. 16 leaves `$2b$10$` away from bcrypt; later releases write the rounds in base 62, and Argon2id
 * with its parameters alone. `undefined`: it is no hash.
 */
export const hashText = (stored: string): string | undefined => {
  if (/^\$(2[aby]|argon2id)\$/.test(stored)) return stored
  if (/^[./A-Za-z0-9]{53}$/.test(stored)) return `$2b$10$${stored}`
  const [, rounds, rest] = /^\$([0-9a-zA-Z]{1,2})\$([./A-Za-z0-9]{53})$/.exec(stored) ?? []
  if (rounds !== undefined) {
    const cost = Number(integerOf(rounds))
    return cost >= 4 && cost <= 31 ? `$2b$${String(cost).padStart(2, "0")}$${rest}` : undefined
  }
  const argon = /^\$(\w+)\|(\w+)\|(\w+)\|(\w+)\$([^$]+)\$([^$]+)$/.exec(stored)
  if (argon === null) return undefined
  const [version, memory, passes, lanes] = argon.slice(1, 5).map((text) => Number(integerOf(text)))
  return version === 19 && memory! <= 20
    ? `$argon2id$v=19$m=${2 ** memory!},t=${passes},p=${lanes}$${argon[5]}$${argon[6]}`
    : undefined
}
