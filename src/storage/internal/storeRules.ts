/** The rules of S3 that every store of ours checks before it does anything: pure functions that give what is wrong. */
import type { CopyRequest, ListRequest, Metadata, PutRequest, Range } from "../ObjectStore.ts"
import { maxKeyBytes, maxKeysPerRequest, maxMetadataBytes, metadataHeaderOverhead } from "../ObjectStore.ts"
import { InvalidArgument, InvalidRange, KeyTooLong, MetadataTooLarge, type Reason } from "../StoreError.ts"
import { utf8Length } from "../../internal/text.ts"

const invalid = (argument: string, description: string): InvalidArgument =>
  new InvalidArgument({ argument, description })

export const checkKey = (key: string): Reason | undefined => {
  if (key === "") return invalid("key", "a key cannot be empty")
  if (!key.isWellFormed()) return invalid("key", "a key must be valid Unicode, without lone surrogates")
  // At most three for each unit of UTF-16.
  if (key.length * 3 <= maxKeyBytes) return undefined
  const bytes = utf8Length(key)
  return bytes > maxKeyBytes
    ? new KeyTooLong({ description: `a key has at most ${maxKeyBytes} bytes, this one has ${bytes}` })
    : undefined
}

const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/
const headerValue = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/

/** Names that have been found to be those of headers, with what S3 keeps of each: few, but a program may make any number. */
const keptNames = new Map<string, string>()
const mostNames = 10_000

/** The name of a header as S3 keeps it; `undefined` for what is none. */
const keptName = (name: string): string | undefined => {
  const known = keptNames.get(name)
  if (known !== undefined) return known
  const kept = name.toLowerCase()
  // The other name is a header, too, but readers would take it for the prototype.
  if (!headerName.test(name) || kept === "__proto__") return undefined
  if (keptNames.size >= mostNames) keptNames.clear()
  keptNames.set(name, kept)
  return kept
}

/** Whether a text is the value of a header: printable ASCII, without a space at either end. */
const isHeaderValue = (value: string): boolean => {
  const { length } = value
  if (length > shortValue) return headerValue.test(value)
  for (let i = 0; i < length; i++) {
    const unit = value.charCodeAt(i)
    if (unit < 0x20 || unit > 0x7e) return false
  }
  return length === 0 || (value.charCodeAt(0) !== 0x20 && value.charCodeAt(length - 1) !== 0x20)
}

/** A longer one is looked at faster by the engine. */
const shortValue = 48

/** The names of the metadata that was looked at last, where all of them are as S3 keeps them: objects of one kind tend to be put together. */
let lastNames: ReadonlyArray<string> = []

/** What metadata takes, of which nothing is wrong. */
interface Taken {
  /** Of names and values; of ASCII, characters are bytes. */
  bytes: number
  names: number
  /** Whether the names are as S3 keeps them. */
  areKept: boolean
}

const wrongMetadata = (metadata: Metadata, limit: number, taken: Taken): Reason | undefined => {
  let size = 0
  let areKept = true
  const names = Object.keys(metadata)
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    const kept = name === lastNames[i] ? name : keptName(name)
    if (kept === undefined) {
      return invalid("metadata", `the metadata name ${JSON.stringify(name)} is not the name of a header`)
    }
    const value = metadata[name]!
    if (!isHeaderValue(value)) {
      return invalid(
        "metadata",
        `the metadata value of ${name} is not printable ASCII without leading or trailing space`
      )
    }
    if (kept !== name) areKept = false
    size += name.length + value.length
  }
  if (areKept) lastNames = names
  taken.bytes = size
  taken.names = names.length
  taken.areKept = areKept
  return size > limit
    ? new MetadataTooLarge({ size, limit, description: `user metadata has at most ${limit} bytes, this has ${size}` })
    : undefined
}

/** Used by one call at a time, from its beginning to its end. */
const taken: Taken = { bytes: 0, names: 0, areKept: true }

export const checkMetadata = (metadata: Metadata | undefined, limit = maxMetadataBytes): Reason | undefined =>
  metadata === undefined ? undefined : wrongMetadata(metadata, limit, taken)

/** The bytes of request headers that S3 allows, and about what all but the key and the metadata take. */
const maxHeaderBytes = 8192
const otherHeaderBytes = 900

/** S3 says so only when it has the request. */
export const checkHeaderBytes = (key: string, metadata: Metadata | undefined): Reason | undefined => {
  let bytes = otherHeaderBytes
  if (metadata !== undefined) {
    for (const name of Object.keys(metadata)) {
      bytes += name.length + metadata[name]!.length + metadataHeaderOverhead(name.length)
    }
  }
  // At most nine characters for each unit of UTF-16.
  if (bytes + 9 * key.length <= maxHeaderBytes) return undefined
  bytes += encodeURIComponent(key).length
  const description = `the headers of a request have at most ${maxHeaderBytes} bytes, those of this one about ${bytes}`
  return bytes > maxHeaderBytes ? new MetadataTooLarge({ size: bytes, limit: maxHeaderBytes, description }) : undefined
}

/** Names as S3 keeps them. */
export const lowerCaseNames = (metadata: Metadata = {}): Metadata => {
  const names = Object.keys(metadata)
  const keptOf = (name: string) => keptNames.get(name) ?? name.toLowerCase()
  // A copy of all at once takes a tenth of the time.
  if (names.every((name) => keptOf(name) === name)) return { ...metadata }
  return Object.fromEntries(names.map((name) => [keptOf(name), metadata[name]!]))
}

const noMetadata: Metadata = Object.freeze({})

/**
 * Checks the metadata of a write, and the headers that its request would have, and gives what S3 keeps of it, which may be the very object: all
 * three in one pass where the names are kept as they are and the headers are nowhere near their limit.
 */
export const keepMetadata = (
  key: string,
  metadata: Metadata | undefined,
  { areHeadersLimited, limit }: { readonly areHeadersLimited: boolean; readonly limit: number }
): Metadata | Reason => {
  if (metadata === undefined) return (areHeadersLimited ? checkHeaderBytes(key, undefined) : undefined) ?? noMetadata
  const problem = wrongMetadata(metadata, limit, taken)
  if (problem !== undefined) return problem
  // A name is in the headers twice, with what stands around it.
  const most = otherHeaderBytes + 2 * taken.bytes + taken.names * metadataHeaderOverhead(0) + 9 * key.length
  if (areHeadersLimited && most > maxHeaderBytes) {
    const tooMany = checkHeaderBytes(key, metadata)
    if (tooMany !== undefined) return tooMany
  }
  return taken.areKept ? metadata : lowerCaseNames(metadata)
}

/** That of most objects. */
const knownType = "application/octet-stream"

/** What is around a header's value is no part of it (RFC 9110, 5.5): some stores would keep it, others would not. */
const checkHeader = (argument: "contentType" | "contentEncoding", value: string | undefined): Reason | undefined =>
  value === undefined || value === knownType || (value !== "" && isHeaderValue(value))
    ? undefined
    : invalid(argument, `${argument} is not printable ASCII without leading or trailing space`)

export const checkPut = (request: PutRequest, limit?: number): Reason | undefined =>
  checkKey(request.key) ?? checkMetadata(request.metadata, limit) ?? checkPutHeaders(request)

/** What is wrong with a write but for its key and its metadata. */
export const checkPutHeaders = (request: PutRequest): Reason | undefined =>
  checkHeader("contentType", request.contentType) ??
  checkHeader("contentEncoding", request.contentEncoding) ??
  (request.ifMatch !== undefined && request.ifNoneMatch !== undefined
    ? invalid("ifNoneMatch", "ifMatch and ifNoneMatch cannot both be given")
    : undefined)

export const checkCopy = (request: CopyRequest, limit?: number): Reason | undefined =>
  checkKey(request.from) ??
  checkKey(request.to) ??
  checkMetadata(request.metadata, limit) ??
  checkHeader("contentType", request.contentType) ??
  (request.from === request.to && request.metadata === undefined
    ? invalid("to", "copying an object to itself needs new metadata")
    : undefined)

export const checkRange = (range: Range | undefined): Reason | undefined => {
  if (range === undefined) return undefined
  const { start, end } = range
  const valid =
    Number.isSafeInteger(start) && start >= 0 && (end === undefined || (Number.isSafeInteger(end) && end >= start))
  return valid ? undefined : invalid("range", "a range needs integers with 0 <= start <= end")
}

/** First and last position of a range in a body of this size, both included. */
export const resolveRange = (
  range: Range,
  size: number
): { readonly start: number; readonly end: number } | InvalidRange =>
  range.start >= size
    ? new InvalidRange({ description: `the range starts at ${range.start}, the object has ${size} bytes` })
    : { start: range.start, end: Math.min(range.end ?? size - 1, size - 1) }

export const checkList = (request: ListRequest): Reason | undefined => {
  const { maxKeys = maxKeysPerRequest } = request
  return Number.isInteger(maxKeys) && maxKeys >= 1 && maxKeys <= maxKeysPerRequest
    ? undefined
    : invalid("maxKeys", `maxKeys must be an integer from 1 to ${maxKeysPerRequest}`)
}

/** The token of a page, bound to what was listed: where to go on. */
export const makeToken = (request: ListRequest, position: string): string =>
  encodeURIComponent(JSON.stringify([request.prefix ?? "", request.delimiter ?? "", position]))

/** A token that no page has given. */
export const foreignToken = () => invalid("token", "the token is not one that this listing has given")

/** The position in a token that `makeToken` has made for the same prefix and delimiter. */
export const readToken = (request: ListRequest): string | undefined | InvalidArgument => {
  if (request.token === undefined) return undefined
  try {
    const parsed: unknown = JSON.parse(decodeURIComponent(request.token))
    if (!Array.isArray(parsed) || parsed.length !== 3) return foreignToken()
    const [prefix, delimiter, position] = parsed
    return prefix === (request.prefix ?? "") && delimiter === (request.delimiter ?? "") && typeof position === "string"
      ? position
      : foreignToken()
  } catch {
    return foreignToken()
  }
}
