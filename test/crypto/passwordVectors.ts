/** Hashes of passwords that other programs made. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as text from "../../src/internal/passwordText.ts"

const hashOf = (text: string) => Option.getOrThrow(PasswordHash.fromText(text))

/** From crypt_blowfish, wrapper.c, `tests`; the last password there goes on after its 72nd byte. */
export const bcryptVectors: ReadonlyArray<readonly [hash: string, password: string]> = [
  ["$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"],
  ["$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"],
  ["$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"],
  [
    "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
  ]
]

/** From jBCrypt, TestBCrypt.java, `test_vectors`. */
export const jbcryptVectors: ReadonlyArray<readonly [hash: string, password: string]> = [
  ["$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "a"],
  ["$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i", "abc"],
  ["$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC", "abcdefghijklmnopqrstuvwxyz"],
  ["$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO", "~!@#$%^&*()      ~!@#$%^&*()PNBFRD"]
]

/** From phc-winner-argon2, src/test.c, Argon2id, version 0x13. */
export const argon2idVectors: ReadonlyArray<readonly [hash: string, password: string]> = [
  ["$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"],
  ["$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"],
  ["$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg", "password"],
  ["$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94", "differentpassword"],
  ["$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw", "password"]
]

/** The password of each vector is right, another one is wrong, and the hash keeps when it is stored. */
export const agreesWith = Effect.fnUntraced(function* (vectors: ReadonlyArray<readonly [string, string]>) {
  const hasher = yield* PasswordHasher.PasswordHasher
  for (const [hash, password] of vectors) {
    assert.isTrue(yield* hasher.verify(Redacted.make(password), hashOf(hash)), hash)
    assert.isFalse(yield* hasher.verify(Redacted.make(`${password.slice(1)}x`), hashOf(hash)), hash)
    assert.strictEqual(text.expand(text.compact(hash)!), hash)
  }
  // The variants differ in bugs of old programs only.
  for (const variant of ["b", "y"]) {
    const hash = hashOf(bcryptVectors[0]![0].replace("$2a", `$2${variant}`))
    assert.isTrue(yield* hasher.verify(Redacted.make("U*U"), hash))
  }
})
