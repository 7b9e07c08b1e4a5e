/** How S3 writes keys and ETags in its requests and answers. */
import { percentEncode } from "../../internal/text.ts"
import type { Range } from "../ObjectStore.ts"
import { Unexpected } from "../StoreError.ts"

/** Without the quotes and the mark of a weak ETag that a store or a proxy puts around it. */
export const bareETag = (etag: string): string => {
  const strong = etag.startsWith("W/") ? etag.slice(2) : etag
  const isQuoted = strong.length >= 2 && strong.charCodeAt(0) === 0x22 && strong.charCodeAt(strong.length - 1) === 0x22
  return isQuoted ? strong.slice(1, -1) : strong
}

/** A key as the header `x-amz-copy-source` holds it. */
export const copySource = (bucket: string, key: string): string =>
  `${bucket}/${key.split("/").map(percentEncode).join("/")}`

/**
 * A key out of a listing with `encoding-type=url`. AWS and most others write a space as `+` there and a plus as `%2B`.
 * Throws `URIError` on what is not encoded.
 */
export const decodeListed = (text: string): string =>
  decodeURIComponent(text.includes("+") ? text.replaceAll("+", "%20") : text)

/** How a server writes keys in a listing, and how they are read. */
export const listedForms = {
  plain: (text: string) => text,
  form: decodeListed,
  percent: decodeURIComponent,
  "form twice": (text: string) => decodeListed(decodeListed(text)),
  "percent twice": (text: string) => decodeURIComponent(decodeURIComponent(text))
}

// eslint-disable-next-line no-control-regex
const notXml = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/

/** Whether an XML 1.0 document, such as the list of keys to delete, can hold the key. */
export const fitsXml = (key: string): boolean => !notXml.test(key)

/** What a `Content-Range` header says: first and last position of the part, both included, and the size of the whole. */
export const partOf = (
  header: string | undefined
): { readonly start: number; readonly end: number; readonly size: number } | undefined => {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header ?? "")
  return match === null ? undefined : { start: Number(match[1]), end: Number(match[2]), size: Number(match[3]) }
}

/** What is wrong with a part of an object: it is not the one that was asked for, nor the whole. */
export const checkRange = (
  asked: Range | undefined,
  header: string | undefined,
  received: number
): Unexpected | undefined => {
  if (header === undefined) return undefined
  const found = partOf(header)
  const start = asked?.start ?? 0
  const isMeant =
    found !== undefined &&
    found.start === start &&
    found.end === Math.min(asked?.end ?? Infinity, found.size - 1) &&
    received === found.end - start + 1
  const what = asked === undefined ? "the whole object" : "a part of the object"
  const description = `the store was asked for ${what} and sent another part of it`
  return isMeant ? undefined : new Unexpected({ description })
}
