/**
 * The keys by which secret fields are encrypted.
 *
 * A ring has keys by id, one of them current: it encrypts what is written, while the others decrypt what was written
 * before. There is no default key and no default passphrase.
 *
 * **Details**
 *
 * A sealed value is AES-256-GCM (NIST SP 800-38D) under a key of its own attribute, derived from the ring's key with
 * HKDF-SHA-256 (RFC 5869), the database's salt and the names of resource and attribute. The names of resource, document
 * and attribute are authenticated with it, so that a ciphertext that was moved elsewhere cannot be opened. It takes 31
 * bytes more than the plain text: 1 for the form, 2 that tell the key, 12 random ones (the nonce) and 16 for the tag.
 * Random nonces of 96 bits allow 2^32 writes of one attribute under one key; rotate before that.
 *
 * A unique key that is blind has digests of HMAC-SHA-256 (RFC 2104) under a key of its own, derived in the same way with the
 * names of the resource and of the unique key.
 *
 * @since 0.1.0
 */
import { hkdf } from "@noble/hashes/hkdf.js"
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Kdf from "effect/crypto/Kdf"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { decodeBase64, encodeBase64 } from "../internal/base64.ts"
import { concatBytes, sameBytes } from "../internal/bytes.ts"
import { type Json, stringifyExact } from "../encoding/Json.ts"
import * as Id from "./Id.ts"
import * as aesGcm from "./internal/aesGcm.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { utf8Length } from "../internal/text.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A ring that cannot be used as it is given: no such current key, a key of a wrong size, a passphrase that is empty or too short, two keys
 * that cannot be told apart.
 *
 * @remedy Correct the configuration: `S3DB_KEYS` is `id:base64,id:base64`, of 32 bytes each.
 * @category errors
 * @since 0.1.0
 */
export class InvalidKeyRing extends ExpectedError<InvalidKeyRing>("effect-s3db/crypto/KeyRing/InvalidKeyRing")(
  "InvalidKeyRing",
  { description: Schema.String }
) {}

/**
 * A sealed value that cannot be opened.
 *
 * - `UnknownKey`: no key of this ring has made it. Add the key that has, under any id.
 * - `Altered`: it was changed, or comes from another document, field or resource, or another key happens to look like
 *   the one that made it. Restore the document from a backup.
 *
 * @remedy By `why`: add the key that is missing under any id, or restore the document from a backup.
 * @category errors
 * @since 0.1.0
 */
export class Unopened extends ExpectedError<Unopened>("effect-s3db/crypto/KeyRing/Unopened")("Unopened", {
  why: Schema.Literals(["UnknownKey", "Altered"])
}) {
  override get message(): string {
    return this.why === "UnknownKey"
      ? "no key of the ring has sealed this value: add the key that has"
      : "the sealed value was altered, or comes from elsewhere: restore the document from a backup"
  }
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The place where a value belongs; it can be opened nowhere else.
 *
 * @category models
 * @since 0.1.0
 */
export interface Location {
  readonly resource: string
  /** The id of the document. */
  readonly id: string
  /** The id of the attribute. */
  readonly attribute: string
  /** Where it lies in the document: an id alone would be where the catalog says that it is. */
  readonly path: ReadonlyArray<string>
}

/**
 * A key under which equal secrets have equal digests, for one unique key of one resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlindKey {
  /** Tells the key of the ring: 16 hexadecimal digits, from which nothing follows of the key. */
  readonly id: string
  /** Whether it comes from the current key of the ring. */
  readonly isCurrent: boolean
  /** HMAC-SHA-256 of a text, 32 bytes. */
  readonly digest: (text: string) => Uint8Array
}

/**
 * The place where bytes belong; they can be opened nowhere else.
 *
 * @category models
 * @since 0.1.0
 */
export interface BytesLocation {
  /** What they belong to. Each scope has a key of its own, derived from that of the ring. */
  readonly scope: string
  /** Their name within the scope. */
  readonly name: string
  /** What is said about them in the open, and is authenticated with them. */
  readonly head: Uint8Array
}

/**
 * A ring whose keys have been made for one database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unlocked {
  /** Encrypts a value under the current key; base 64. */
  readonly seal: (location: Location, value: Json) => Effect.Effect<string>
  readonly open: (location: Location, sealed: string) => Effect.Effect<Json, Unopened>
  /** Whether a sealed value is under the current key. */
  readonly isCurrent: (sealed: string) => boolean
  /** The keys by which a unique key tells secrets apart, one for each key of the ring. */
  readonly blindKeys: (resource: string, unique: string) => ReadonlyArray<BlindKey>
  /** Encrypts bytes under the current key. They become 31 longer. */
  readonly sealBytes: (location: BytesLocation, bytes: Uint8Array) => Effect.Effect<Uint8Array>
  readonly openBytes: (location: BytesLocation, sealed: Uint8Array) => Effect.Effect<Uint8Array, Unopened>
}

/**
 * The keys under which secrets are encrypted: one that is current, and older ones that still open what they sealed.
 *
 * @category services
 * @since 0.1.0
 */
export class KeyRing extends Context.Service<
  KeyRing,
  {
    /** The id of the key that encrypts. */
    readonly current: string
    readonly ids: ReadonlyArray<string>
    /**
     * Makes the keys for a database, by its salt: `database.salt`, which lies in the catalog, is no secret and the same in all processes. What
     * belongs to no database takes one of its own, any bytes that never change. Keys from passphrases are computed the first time, which takes a good
     * part of a second for each.
     */
    readonly unlock: (salt: Uint8Array) => Effect.Effect<Unlocked, InvalidKeyRing>
  }
>()("effect-s3db/crypto/KeyRing") {}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Keys of 32 random bytes each, as bytes or in base 64.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeysOptions {
  readonly current: string
  readonly keys: Readonly<Record<string, Redacted.Redacted<Uint8Array> | Redacted.Redacted<string>>>
}

/**
 * The way in which a key is computed from a passphrase: Argon2id, `memory` in KiB. Defaults: 65,536, 3 passes, 4 lanes,
 * the second choice of RFC 9106, section 4. A change makes other keys, so that what was sealed cannot be opened any
 * more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Argon2idOptions {
  readonly memory?: number | undefined
  readonly passes?: number | undefined
  readonly parallelism?: number | undefined
}

/**
 * Passphrases by the id of their key, and the id of the one that is current.
 *
 * @category models
 * @since 0.1.0
 */
export interface PassphrasesOptions {
  readonly current: string
  readonly passphrases: Readonly<Record<string, Redacted.Redacted<string>>>
  readonly argon2id?: Argon2idOptions | undefined
}

/**
 * Creates a ring of random keys. Fails with `InvalidKeyRing` when one has not 32 bytes, or an id that is empty or looks
 * like a key. It tells which by its place in the record, and shows neither ids nor keys: they may have been swapped.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerKeys = (options: KeysOptions): Layer.Layer<KeyRing, InvalidKeyRing> =>
  Layer.effect(
    KeyRing,
    Effect.gen(function* () {
      const keys = new Map<string, Uint8Array>()
      const given = Object.entries(options.keys)
      for (const [index, [id, redacted]] of given.entries()) {
        const bytes = keyBytes(Redacted.value<string | Uint8Array>(redacted))
        if (bytes === undefined) {
          return yield* invalid(`${place(index, given.length)} has to be 32 bytes, or 32 bytes in base 64`)
        }
        if (keyBytes(id) !== undefined) return yield* invalid(`the id of ${place(index, given.length)} is a key itself`)
        keys.set(id, bytes)
      }
      return yield* make(options.current, [...keys.keys()], () => Effect.succeed(keys))
    })
  )

/**
 * Creates a ring of keys that are computed from passphrases and the salt of the database. Fails with `InvalidKeyRing`
 * when one is empty, or the current one has fewer than 8 characters, the least of NIST SP 800-63B. Older ones may be shorter, so that
 * what they have sealed can be opened and sealed anew.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPassphrases = (options: PassphrasesOptions): Layer.Layer<KeyRing, InvalidKeyRing> =>
  Layer.effect(
    KeyRing,
    Effect.gen(function* () {
      const given = Object.values(options.passphrases)
      const empty = given.findIndex((passphrase) => Redacted.value(passphrase) === "")
      if (empty >= 0) return yield* invalid(`passphrase ${empty + 1} of ${given.length} is empty`)
      const current = Object.hasOwn(options.passphrases, options.current) && options.passphrases[options.current]
      if (current && [...Redacted.value(current)].length < leastCharacters) {
        const which = `passphrase ${Object.keys(options.passphrases).indexOf(options.current) + 1} of ${given.length}`
        return yield* invalid(
          `${which}, the current one, has fewer than ${leastCharacters} characters: take a longer one, and keep this one beside it for what it has sealed`
        )
      }
      const derive = Effect.fnUntraced(function* (salt: Uint8Array) {
        const keys = new Map<string, Uint8Array>()
        for (const [id, passphrase] of Object.entries(options.passphrases)) {
          keys.set(id, yield* fromPassphrase(passphrase, salt, options.argon2id ?? {}))
        }
        return keys
      })
      return yield* make(options.current, Object.keys(options.passphrases), derive)
    })
  )

/**
 * Creates a ring with a single passphrase, under the id `"1"`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPassphrase = (
  passphrase: Redacted.Redacted<string>,
  argon2id?: Argon2idOptions
): Layer.Layer<KeyRing, InvalidKeyRing> => layerPassphrases({ current: "1", passphrases: { 1: passphrase }, argon2id })

/**
 * Creates a ring from configuration. Default: keys by id from `S3DB_KEYS`, as `id:base64,id:base64`, the first being
 * current.
 *
 * `InvalidKeyRing`: an entry is not of that form, an id is there twice, or a key has not 32 bytes. It tells which entry by
 * its number, and shows nothing of the text.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<KeysOptions>
): Layer.Layer<KeyRing, InvalidKeyRing | Config.ConfigError> =>
  Layer.unwrap(
    config === undefined
      ? Effect.map(Config.Redacted("S3DB_KEYS"), layerText)
      : Effect.map(Config.unwrap(config), layerKeys)
  )

/**
 * Creates a ring of a text as `S3DB_KEYS` has it: `id:key,id:key`, each key 32 bytes in base 64, the first one current. Fails with
 * `InvalidKeyRing` as `layerConfig` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerText = (text: Redacted.Redacted<string>): Layer.Layer<KeyRing, InvalidKeyRing> =>
  Layer.unwrap(Effect.map(parseKeys(Redacted.value(text)), layerKeys))

const parseKeys = Effect.fnUntraced(function* (text: string): Effect.fn.Return<KeysOptions, InvalidKeyRing> {
  const keys = new Map<string, Redacted.Redacted<string>>()
  const entries = text.split(",")
  for (const [index, entry] of entries.entries()) {
    const colon = entry.indexOf(":")
    const id = entry.slice(0, Math.max(0, colon)).trim()
    const key = entry.slice(colon + 1)
    const which = `entry ${index + 1} of ${entries.length}`
    if (id === "" || keyBytes(id) !== undefined || keyBytes(key) === undefined) {
      return yield* invalid(`${which} has to be id:key, an id of your own and then 32 bytes in base 64: ${listed}`)
    }
    // Of two, which one opens what there is?
    if (keys.has(id)) return yield* invalid(`${which} has an id that is there twice: ${listed}`)
    keys.set(id, Redacted.make(key))
  }
  const [current = ""] = keys.keys()
  return { current, keys: Object.fromEntries(keys) }
})

/** What is wrong may be a key in the place of an id: of a text that does not parse nothing is shown. */
const listed = "a list of keys is id:key,id:key, the first being current"

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

const invalid = (description: string): InvalidKeyRing => new InvalidKeyRing({ description })

/** Ids are not shown: who has swapped a key and its id would find the key in his logs. */
const place = (index: number, of: number): string => `key ${index + 1} of ${of}`

/** The bytes of a key; `undefined` for what is none. */
const keyBytes = (key: string | Uint8Array): Uint8Array | undefined => {
  const bytes = typeof key === "string" ? decodeBase64(key.trim()) : key
  return bytes?.length === 32 ? bytes.slice() : undefined
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const nonceBytes = 12
const tagBytes = 16
const fingerprintBytes = 2
const headerBytes = 1 + fingerprintBytes
/** Characters of base 64 in which the header is. */
const headerCharacters = Math.ceil(headerBytes / 3) * 4

/** Enough that no other key has the same: a digest does not tell that it was made by another one. */
const blindIdBytes = 8

/** What is inside: text as it is, or any other JSON value as text. */
const textForm = 1
const jsonForm = 2
/** Or bytes as they are. */
const bytesForm = 3

/** Of the passphrase that seals. */
const leastCharacters = 8

const fromPassphrase = Effect.fnUntraced(function* (
  passphrase: Redacted.Redacted<string>,
  salt: Uint8Array,
  { memory = 65_536, passes = 3, parallelism = 4 }: Argon2idOptions
) {
  const { argon2id } = yield* Effect.promise(() => import("hash-wasm"))
  return yield* Effect.promise(() =>
    argon2id({
      password: Redacted.value(passphrase),
      salt,
      memorySize: memory,
      iterations: passes,
      parallelism,
      hashLength: 32,
      outputType: "binary"
    })
  )
})

const altered = () => new Unopened({ why: "Altered" })

/** Each part with its length before it, so that no two lists of parts are the same bytes. */
const framedText = (parts: ReadonlyArray<string>): string => parts.map((part) => `${utf8Length(part)}:${part}`).join("")

const framed = (...parts: ReadonlyArray<string>): Uint8Array => encoder.encode(framedText(parts))

const make = Effect.fnUntraced(function* (
  current: string,
  ids: ReadonlyArray<string>,
  keysFor: (salt: Uint8Array) => Effect.Effect<ReadonlyMap<string, Uint8Array>>
) {
  if (ids.includes("")) return yield* invalid("a key has no id")
  if (!ids.includes(current)) return yield* invalid("`current` is the id of no key of the ring")
  const unlocked = new Map<string, Unlocked>()
  return KeyRing.of({
    current,
    ids,
    unlock: Effect.fn("KeyRing.unlock")(function* (salt) {
      const name = encodeBase64(salt)
      const known = unlocked.get(name)
      if (known !== undefined) return known
      const made = yield* Effect.provide(unlock(current, yield* keysFor(salt), salt), Kdf.layerWebCrypto)
      unlocked.set(name, made)
      return made
    })
  })
})

interface Key {
  readonly id: string
  readonly bytes: Uint8Array
  readonly fingerprint: Uint8Array
  /** Keys of attributes and scopes, by what they are derived for. */
  readonly derived: Map<string, aesGcm.Cipher>
}

const unlock = Effect.fnUntraced(function* (
  current: string,
  keys: ReadonlyMap<string, Uint8Array>,
  salt: Uint8Array
): Effect.fn.Return<Unlocked, InvalidKeyRing, Kdf.Kdf> {
  const kdf = yield* Kdf.Kdf
  const derive = (secret: Uint8Array, info: Uint8Array, length: number) =>
    Effect.orDie(kdf.derive(Kdf.hkdfSha256, secret, { salt, info, length }))

  const ring: Array<Key> = []
  for (const [id, bytes] of keys) {
    const fingerprint = yield* derive(bytes, framed("effect-s3db", "fingerprint"), fingerprintBytes)
    const twin = ring.findIndex((other) => sameBytes(other.fingerprint, fingerprint))
    if (twin >= 0) {
      return yield* invalid(
        `keys ${twin + 1} and ${ring.length + 1} of ${keys.size} cannot be told apart: make another`
      )
    }
    ring.push({ id, bytes, fingerprint, derived: new Map() })
  }
  const writing = ring.find((key) => key.id === current)!

  const keyFor = Effect.fnUntraced(function* (key: Key, ...purpose: ReadonlyArray<string>) {
    const name = framedText(["effect-s3db", ...purpose])
    const known = key.derived.get(name)
    if (known !== undefined) return known
    const derived = yield* aesGcm.make(yield* derive(key.bytes, encoder.encode(name), 32))
    key.derived.set(name, derived)
    return derived
  })

  const aadFor = (header: Uint8Array, { resource, id, attribute, path }: Location): Uint8Array =>
    concatBytes(header, framed(resource, id, attribute, ...path))

  /** Header, nonce, ciphertext and tag. */
  const encrypt = Effect.fnUntraced(function* (
    cipher: aesGcm.Cipher,
    header: Uint8Array,
    plain: Uint8Array,
    aad: Uint8Array
  ) {
    const generator = yield* Id.Generator
    const nonce = yield* generator.randomBytes(nonceBytes)
    return concatBytes(header, nonce, yield* cipher.encrypt(nonce, plain, aad))
  })

  const sealer = (bytes: Uint8Array) => ring.find((one) => sameBytes(one.fingerprint, bytes.subarray(1, headerBytes)))

  const bytesAad = (header: Uint8Array, { head, name, scope }: BytesLocation): Uint8Array =>
    concatBytes(header, framed(scope, name), head)

  return {
    seal: Effect.fnUntraced(function* (location, value) {
      const header = Uint8Array.of(typeof value === "string" ? textForm : jsonForm, ...writing.fingerprint)
      // What reaches this has been through a schema, and cannot be refused.
      const plain = typeof value === "string" ? value : stringifyExact(value)
      const bytes = encodeUnits(typeof plain === "string" ? plain : "")
      const cipher = yield* keyFor(writing, "secret", location.resource, location.attribute)
      return encodeBase64(yield* encrypt(cipher, header, bytes, aadFor(header, location)))
    }),
    open: Effect.fnUntraced(function* (location, text) {
      const bytes = decodeBase64(text)
      if (bytes === undefined || bytes.length < headerBytes + nonceBytes + tagBytes) return yield* altered()
      const header = bytes.subarray(0, headerBytes)
      const key = sealer(bytes)
      if (key === undefined) return yield* new Unopened({ why: "UnknownKey" })
      const nonce = bytes.subarray(headerBytes, headerBytes + nonceBytes)
      const cipher = yield* keyFor(key, "secret", location.resource, location.attribute)
      const plain = yield* cipher
        .decrypt(nonce, bytes.subarray(headerBytes + nonceBytes), aadFor(header, location))
        .pipe(Effect.mapError(altered))
      const opened = decodeUnits(plain)
      if (header[0] === textForm) return opened
      return yield* Effect.mapError(decodeJson(opened), altered)
    }),
    isCurrent(text) {
      const header = decodeBase64(text.slice(0, headerCharacters))
      return header !== undefined && sameBytes(header.subarray(1, headerBytes), writing.fingerprint)
    },
    blindKeys: (resource, unique) =>
      ring.map((key) => {
        const derived = hkdf(sha256, key.bytes, salt, framed("effect-s3db", "blind", resource, unique), 32)
        return {
          id: Hex.encode(hkdf(sha256, key.bytes, salt, framed("effect-s3db", "blind", "id"), blindIdBytes)),
          isCurrent: key === writing,
          digest: (text) => hmac(sha256, derived, encoder.encode(text))
        }
      }),
    sealBytes: Effect.fnUntraced(function* (location, bytes) {
      const header = Uint8Array.of(bytesForm, ...writing.fingerprint)
      const cipher = yield* keyFor(writing, "bytes", location.scope)
      return yield* encrypt(cipher, header, bytes, bytesAad(header, location))
    }),
    openBytes: Effect.fnUntraced(function* (location, sealed) {
      if (sealed.length < headerBytes + nonceBytes + tagBytes) return yield* altered()
      const header = sealed.subarray(0, headerBytes)
      const key = sealer(sealed)
      if (key === undefined) return yield* new Unopened({ why: "UnknownKey" })
      const cipher = yield* keyFor(key, "bytes", location.scope)
      const nonce = sealed.subarray(headerBytes, headerBytes + nonceBytes)
      const plain = cipher.decrypt(nonce, sealed.subarray(headerBytes + nonceBytes), bytesAad(header, location))
      return yield* Effect.mapError(plain, altered)
    })
  }
})

const decodeJson = Schema.decodeEffect(Schema.fromJsonString(Schema.Json))

/** UTF-8, or, for text that is no valid Unicode, a byte that UTF-8 never begins with and then UTF-16. */
const encodeUnits = (text: string): Uint8Array => {
  if (text.isWellFormed()) return encoder.encode(text)
  const bytes = new Uint8Array(1 + text.length * 2)
  bytes[0] = 0xff
  for (let i = 0; i < text.length; i++) {
    bytes[1 + i * 2] = text.charCodeAt(i) & 0xff
    bytes[2 + i * 2] = text.charCodeAt(i) >> 8
  }
  return bytes
}

const decodeUnits = (bytes: Uint8Array): string => {
  if (bytes[0] !== 0xff) return decoder.decode(bytes)
  let text = ""
  for (let i = 1; i < bytes.length; i += 2) text += String.fromCharCode(bytes[i]! | (bytes[i + 1]! << 8))
  return text
}
