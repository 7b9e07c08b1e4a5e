/** Whether what came back is an answer of S3 to what was asked, before the SDK reads it: it takes anything for an empty answer. */
import { buffer } from "node:stream/consumers"
import type { S3Client } from "@aws-sdk/client-s3"

/** The element in which S3 answers; `undefined`: there is no body. */
const roots: Readonly<Record<string, { readonly root: string | undefined; readonly to: string }>> = {
  ListObjectsV2Command: { root: "ListBucketResult", to: "a listing" },
  DeleteObjectsCommand: { root: "DeleteResult", to: "the deletion of many objects" },
  CopyObjectCommand: { root: "CopyObjectResult", to: "a copy" },
  DeleteObjectCommand: { root: undefined, to: "a deletion" },
  PutObjectCommand: { root: undefined, to: "a write" }
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
const rootOf = (text: string): string | undefined => {
  const found = opening.exec(text)
  const root = found?.[2] ?? found?.[1]
  if (root === undefined) return undefined
  const end = text.trimEnd()
  return end.endsWith("/>") || end.slice(-200).endsWith(`${root}>`) ? root : undefined
}

interface Answer {
  statusCode: number
  headers: Record<string, string>
  body?: unknown
}

const isAnswer = (response: unknown): response is Answer =>
  typeof response === "object" && response !== null && "statusCode" in response && "headers" in response

const isStream = (body: unknown): body is NodeJS.ReadableStream =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body

/**
 * Has the client look at each successful answer that is XML, or empty, by its own rules, and tell of every answer what it
 * says of connections.
 */
export const check = (client: S3Client, onHeaders: (headers: Readonly<Record<string, string>>) => void): void => {
  client.middlewareStack.add(
    (next, context) => (args) =>
      next(args).then((result) => {
        const { response } = result
        if (!isAnswer(response)) return result
        onHeaders(response.headers)
        const expected = roots[String(context["commandName"])]
        const { body, statusCode } = response
        if (expected === undefined || statusCode < 200 || statusCode >= 300 || !isStream(body)) return result
        return buffer(body).then((bytes) => {
          const text = bytes.toString()
          const found = rootOf(text)
          // Some errors come with status 200.
          if (found === "Error") response.statusCode = 503
          else if (found !== expected.root || (expected.root === undefined && text.trim() !== "")) {
            throw new NotOfS3(statusCode, response.headers["content-type"], expected.to)
          }
          response.body = new Uint8Array(bytes)
          return result
        })
      }),
    // Next to the network: before the SDK reads the body.
    { step: "deserialize", priority: "low", name: "effect-s3db-answers" }
  )
}
