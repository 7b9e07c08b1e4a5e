/** What S3 asks to be computed of keys, texts and bodies. */

/** HMAC-SHA256 with one key. */
export interface Mac {
  readonly bytes: (text: string) => Uint8Array
  readonly hex: (text: string) => string
}

export interface Digests {
  /** Text is hashed as UTF-8. */
  readonly sha256Hex: (data: string | Uint8Array) => string
  readonly sha256Base64: (data: Uint8Array) => string
  readonly md5Hex: (data: Uint8Array) => string
  readonly md5Base64: (data: Uint8Array) => string
  readonly mac: (key: string | Uint8Array) => Mac
}
