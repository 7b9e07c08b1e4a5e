/** Base64 of bytes without a dependency on a platform. */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"

export const encodeBase64 = (bytes: Uint8Array): string => Base64.encode(bytes)

/** `undefined` when the text is no base64. */
export const decodeBase64 = (text: string): Uint8Array | undefined => {
  const result = Base64.decode(text)
  return Result.isSuccess(result) ? result.success : undefined
}
