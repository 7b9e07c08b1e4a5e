/** Whether what came back is an answer of S3 to what was asked. */
import type { Operation } from "../StoreError.ts"

/** The element in which S3 answers; `undefined`: there is no body. */
export const answersTo: Partial<
  Readonly<Record<Operation, { readonly root: string | undefined; readonly to: string }>>
> = {
  list: { root: "ListBucketResult", to: "a listing" },
  deleteMany: { root: "DeleteResult", to: "the deletion of many objects" },
  copy: { root: "CopyObjectResult", to: "a copy" },
  delete: { root: undefined, to: "a deletion" },
  put: { root: undefined, to: "a write" }
}

const mediaTypeOf = (contentType: string) => contentType.split(";")[0]!.slice(0, 40)

/** What is said of an answer that is none of S3. */
export const describeForeign = (status: number, contentType: string | undefined, to: string): string => {
  const kind = contentType === undefined ? "" : `, ${mediaTypeOf(contentType)}`
  return `the answer (status ${status}${kind}) is not one of S3 to ${to}: check that the endpoint is that of the S3 API, and that no proxy or sign-in page stands before it`
}

/** A success that is none of S3: a page of a proxy, an empty body, half a document. */
export class NotOfS3 extends Error {
  override readonly name = "NotOfS3"
  readonly status: number
  readonly description: string

  constructor(status: number, contentType: string | undefined, to: string) {
    const description = describeForeign(status, contentType, to)
    super(description)
    this.status = status
    this.description = description
  }
}

/** Nothing in it can match in two ways: it takes a time that grows with the text alone, whatever was sent. */
const opening = /^\ufeff?\s*(?:<\?(?:[^?]|\?(?!>))*\?>\s*|<!--(?:[^-]|-(?!->))*-->\s*)*<([\w.-]+)(?::([\w.-]+))?/

/** The root element of a whole XML document. */
export const rootOf = (text: string): string | undefined => {
  const found = opening.exec(text)
  const root = found?.[2] ?? found?.[1]
  if (root === undefined) return undefined
  const end = text.trimEnd()
  return end.endsWith("/>") || end.slice(-200).endsWith(`${root}>`) ? root : undefined
}

/** What a success says by its body: it is what was asked for, an error all the same, or none of S3. */
export const kindOf = (text: string, root: string | undefined): "answer" | "error" | "foreign" => {
  const found = rootOf(text)
  // Some errors come with status 200.
  if (found === "Error") return "error"
  return found !== root || (root === undefined && text.trim() !== "") ? "foreign" : "answer"
}

/** What an error with the status of a success is taken for, unless its code says more. */
export const statusOfLateError = 503
