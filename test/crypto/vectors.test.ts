/**
 * Published vectors for what secrets are made of. AES-256-GCM: test cases 13 to 16 of D. McGrew and J. Viega, "The
 * Galois/Counter Mode of Operation" (2005), which NIST's validation suite repeats. HKDF: RFC 5869, appendix A. Argon2id:
 * RFC 9106 parameters are tested in `PasswordHasher.test.ts` with the vectors of the reference implementation.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Kdf from "effect/crypto/Kdf"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { engines } from "../../src/crypto/internal/aesGcm.ts"

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"))
const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex")

const key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
const nonce = "cafebabefacedbaddecaf888"
const plain =
  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
const sealed =
  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

/** [name, key, nonce, plain, aad, sealed, tag] */
const gcm = [
  ["13", "00".repeat(32), "00".repeat(12), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"],
  [
    "14",
    "00".repeat(32),
    "00".repeat(12),
    "00".repeat(16),
    "",
    "cea7403d4d606b6e074ec5d3baf39d18",
    "d0d1c8a799996bf0265b98b5d48ab919"
  ],
  ["15", key, nonce, `${plain}1aafd255`, "", `${sealed}898015ad`, "b094dac5d93471bdec1a502270e3cc6c"],
  ["16", key, nonce, plain, "feedfacedeadbeeffeedfacedeadbeefabaddad2", sealed, "76fc6ece0f4e1768cddf8853bb2d551b"]
] as const

describe("AES-256-GCM, McGrew and Viega", () => {
  for (const [engine, make] of Object.entries(engines)) {
    for (const [name, k, n, p, aad, c, tag] of gcm) {
      it.effect(`${engine}: test case ${name}`, () =>
        Effect.gen(function* () {
          if (make === undefined) return assert.fail("there is no such engine")
          const cipher = yield* make(bytes(k))
          assert.strictEqual(hex(yield* cipher.encrypt(bytes(n), bytes(p), bytes(aad))), c + tag)
          assert.strictEqual(hex(yield* cipher.decrypt(bytes(n), bytes(c + tag), bytes(aad))), p)
          const altered = bytes(c + tag)
          altered[altered.length - 1]! ^= 1
          assert.strictEqual(yield* Effect.flip(cipher.decrypt(bytes(n), altered, bytes(aad))), "altered")
          const elsewhere = yield* Effect.flip(cipher.decrypt(bytes(n), bytes(c + tag), bytes(`${aad}00`)))
          assert.strictEqual(elsewhere, "altered")
          assert.strictEqual(
            yield* Effect.flip(cipher.decrypt(bytes(n), bytes(tag).subarray(1), bytes(aad))),
            "altered"
          )
        })
      )
    }
  }
})

describe("HKDF-SHA-256, RFC 5869", () => {
  const cases = [
    [
      "A.1",
      "0b".repeat(22),
      "000102030405060708090a0b0c",
      "f0f1f2f3f4f5f6f7f8f9",
      42,
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    ],
    [
      "A.3",
      "0b".repeat(22),
      "",
      "",
      42,
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    ]
  ] as const
  for (const [name, secret, salt, info, length, expected] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const kdf = yield* Kdf.Kdf
        const derived = yield* kdf.derive(Kdf.hkdfSha256, bytes(secret), {
          salt: bytes(salt),
          info: bytes(info),
          length
        })
        assert.strictEqual(hex(derived), expected)
      }).pipe(Effect.provide(Kdf.layerWebCrypto))
    )
  }
})

describe("PBKDF2-HMAC-SHA-256, RFC 7914", () => {
  it.effect("section 11", () =>
    Effect.gen(function* () {
      const kdf = yield* Kdf.Kdf
      const algorithm = Kdf.pbkdf2({ hash: Kdf.pbkdf2Sha256.hash, iterations: 1 })
      const derived = yield* kdf.derive(algorithm, new TextEncoder().encode("passwd"), {
        salt: new TextEncoder().encode("salt"),
        length: 64
      })
      assert.strictEqual(
        hex(derived),
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
      )
    }).pipe(Effect.provide(Kdf.layerWebCrypto))
  )
})

describe("sealed values", () => {
  const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(bytes(key)) } })
  const location = { resource: "users", id: "1", attribute: "a", path: ["token"] }
  const withSeed = Layer.succeed(Id.Generator, Id.seeded(1))

  it.effect("have a form that does not change from release to release", () =>
    Effect.gen(function* () {
      const { unlock } = yield* KeyRing.KeyRing
      const { seal, open, isCurrent } = yield* unlock(bytes("000102030405060708090a0b0c0d0e0f"))
      const text = yield* seal(location, "correct horse")
      const again = "AT2MGIGcMq7fSh5WzjWOhLh0q421CI++grgB61zZohzkspxG7+/a01OWNyU="
      assert.strictEqual(text, again)
      assert.isTrue(isCurrent(text))
      assert.strictEqual(yield* open(location, again), "correct horse")
      for (const other of [
        { ...location, resource: "user" },
        { ...location, id: "2" },
        { ...location, attribute: "b" },
        { resource: "users", id: "1a", attribute: "", path: ["token"] },
        { ...location, path: ["tok", "en"] }
      ]) {
        assert.deepInclude(yield* Effect.flip(open(other, text)), { why: "Altered" })
      }
      for (const broken of ["", "AAAA", text.slice(4), `${text.slice(0, -4)}AAAA`, "not base 64!"]) {
        yield* Effect.flip(open(location, broken))
      }
      // No two are the same, so that equal secrets cannot be told from their ciphertexts.
      assert.notStrictEqual(yield* seal(location, "correct horse"), text)
    }).pipe(Effect.provide([ring, withSeed]))
  )
})
