/** How S3 writes keys and ETags in its requests and answers. */
import { percentEncode } from "../../internal/text.ts"

/** Without the quotes and the mark of a weak ETag that a store or a proxy puts around it. */
export const bareETag = (etag: string): string => {
  const strong = etag.startsWith("W/") ? etag.slice(2) : etag
  return strong.length >= 2 && strong.startsWith('"') && strong.endsWith('"') ? strong.slice(1, -1) : strong
}

/** A key as the header `x-amz-copy-source` holds it. */
export const copySource = (bucket: string, key: string): string =>
  `${bucket}/${key.split("/").map(percentEncode).join("/")}`

/**
 * A key out of a listing with `encoding-type=url`. AWS and most others write a space as `+` there and a plus as `%2B`.
 * Throws `URIError` on what is not encoded.
 */
export const decodeListed = (text: string): string => decodeURIComponent(text.replaceAll("+", "%20"))

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

/** The size of the whole object in a `Content-Range` header. */
export const sizeInContentRange = (header: string | undefined): number | undefined => {
  const match = /^bytes \d+-\d+\/(\d+)$/.exec(header ?? "")
  return match === null ? undefined : Number(match[1])
}
