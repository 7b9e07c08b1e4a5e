/**
 * Signature Version 4 of AWS as S3 has it: a path is signed as it is sent, encoded once and never normalised.
 *
 * Sources: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)"; AWS General Reference, "Signature
 * Version 4 signing process".
 */
import type { Digests, Mac } from "./digests.ts"

/** What requests are signed with. */
export interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
}

/** Lower-case names with their values, in the order of the names. */
export type SignedHeaders = ReadonlyArray<readonly [name: string, value: string]>

/** The parts of a request that the signature covers. */
export interface Signed {
  readonly method: string
  /** As it is sent. */
  readonly path: string
  /** `name=value&...`, percent-encoded, in the order of the encoded names; empty when there is none. */
  readonly query: string
  readonly headers: SignedHeaders
  /** SHA-256 of the body in hexadecimal, or `unsignedPayload`. */
  readonly payload: string
}

/** In place of the digest of a body that the signature does not cover. */
export const unsignedPayload = "UNSIGNED-PAYLOAD"

/** The digest of no body. */
export const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** A time in milliseconds as `x-amz-date` has it: `20150830T123600Z`. */
export const timestamp = (millis: number): string =>
  new Date(millis - (millis % 1000)).toISOString().replace(/\.000Z$|[-:]/g, (part) => (part === ".000Z" ? "Z" : ""))

/** Spaces in a row count as one. Values have none around them. */
const canonical = (value: string): string => (value.includes("  ") ? value.replace(/ {2,}/g, " ") : value)

/** The text that is hashed: every part of the request that matters, in one form. */
export const canonicalRequest = ({ headers, method, path, payload, query }: Signed): string => {
  let values = ""
  for (const [name, value] of headers) values += `${name}:${canonical(value)}\n`
  return `${method}\n${path}\n${query}\n${values}\n${namesOf(headers)}\n${payload}`
}

const namesOf = (headers: SignedHeaders): string => {
  let names = ""
  for (const [name] of headers) names += names === "" ? name : `;${name}`
  return names
}

/** The key of a day, region and service: it is the same for all requests of the day. */
export const signingKey = (
  { mac }: Pick<Digests, "mac">,
  secretAccessKey: string,
  day: string,
  region: string,
  service: string
): Mac => {
  const ofDay = mac(`AWS4${secretAccessKey}`).bytes(day)
  const ofRegion = mac(ofDay).bytes(region)
  const ofService = mac(ofRegion).bytes(service)
  return mac(mac(ofService).bytes("aws4_request"))
}

export interface Signer {
  /** The value of `Authorization` for a request that is signed at a time (`timestamp`) with these keys, for a region. */
  readonly authorization: (request: Signed, time: string, keys: Keys, region: string) => string
}

/** Makes a signer that keeps the key of the day. */
export const make = (by: Digests, service = "s3"): Signer => {
  let kept: { readonly keys: Keys; readonly day: string; readonly region: string; readonly mac: Mac } | undefined

  const keyOf = (keys: Keys, day: string, region: string): Mac => {
    if (kept === undefined || kept.keys !== keys || kept.day !== day || kept.region !== region) {
      kept = { keys, day, region, mac: signingKey(by, keys.secretAccessKey, day, region, service) }
    }
    return kept.mac
  }

  return {
    authorization: (request, time, keys, region) => {
      const day = time.slice(0, 8)
      const scope = `${day}/${region}/${service}/aws4_request`
      const hash = by.sha256Hex(canonicalRequest(request))
      const signature = keyOf(keys, day, region).hex(`AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash}`)
      return `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${namesOf(request.headers)}, Signature=${signature}`
    }
  }
}
