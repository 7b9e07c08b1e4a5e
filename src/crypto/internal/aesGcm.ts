/**
 * AES-256-GCM (NIST SP 800-38D) of short texts: Node's own cipher where there is one, which answers at once, else Web
 * Crypto, whose every call goes to another thread and back.
 */
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A key made ready. The tag of 16 bytes is at the end of the ciphertext. */
export interface Cipher {
  readonly encrypt: (nonce: Uint8Array, plain: Uint8Array, aad: Uint8Array) => Effect.Effect<Uint8Array>
  /** Fails when anything is not as it was encrypted. */
  readonly decrypt: (nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array) => Effect.Effect<Uint8Array, "altered">
}

const tagBytes = 16

type NodeCrypto = typeof import("node:crypto")

const nodeCipher = ({ createCipheriv, createDecipheriv, createSecretKey }: NodeCrypto, bytes: Uint8Array): Cipher => {
  // Bytes would be made a key of by each use.
  const key = createSecretKey(bytes)
  return {
    encrypt: (nonce, plain, aad) =>
      Effect.sync(() => {
        const cipher = createCipheriv("aes-256-gcm", key, nonce)
        cipher.setAAD(aad)
        const sealed = new Uint8Array(plain.length + tagBytes)
        sealed.set(cipher.update(plain))
        cipher.final()
        sealed.set(cipher.getAuthTag(), plain.length)
        return sealed
      }),
    decrypt: (nonce, sealed, aad) =>
      Effect.try({
        try: () => {
          const end = sealed.length - tagBytes
          const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes })
          decipher.setAAD(aad)
          decipher.setAuthTag(sealed.subarray(end))
          const plain = decipher.update(sealed.subarray(0, end))
          // Nothing of it may be used before this has passed.
          decipher.final()
          return new Uint8Array(plain)
        },
        catch: () => "altered" as const
      })
  }
}

const webCipher = Effect.fnUntraced(function* (bytes: Uint8Array): Effect.fn.Return<Cipher> {
  const aead = yield* Effect.provide(Aead.Aead, webAead)
  const key = yield* Effect.orDie(Aead.key(Aead.aes256Gcm, bytes))
  return {
    encrypt: (nonce, plain, aad) => Effect.orDie(aead.encrypt(key, plain, { nonce, aad })),
    decrypt: (nonce, sealed, aad) =>
      Effect.mapError(aead.decrypt(key, sealed, { nonce, aad }), () => "altered" as const)
  }
})

const webAead = Layer.provide(Aead.layerWebCrypto, SecureRandom.layerWebCrypto)

const node: NodeCrypto | undefined = globalThis.process?.getBuiltinModule?.("node:crypto")

/** Both, so that each can be tested; `undefined` where there is none. */
export const engines = {
  node: node === undefined ? undefined : (key: Uint8Array) => Effect.succeed(nodeCipher(node, key)),
  web: webCipher
}

/** A cipher for a key of 32 bytes. */
export const make: (key: Uint8Array) => Effect.Effect<Cipher> = engines.node ?? engines.web
