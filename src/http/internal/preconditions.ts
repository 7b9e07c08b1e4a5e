/**
 * Entity tags and the conditions that requests have on them (RFC 9110, 13). The tag is the revision of the document: what the store
 * compares when it writes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Revision } from "../../Document.ts"
import { percentDecode, percentEncode } from "../../internal/text.ts"
import * as Answer from "./answer.ts"

export const etagOf = (revision: string): string => `"${percentEncode(revision)}"`

/**
 * The revisions that a header names, or that it names any. A tag names a version of a document, whatever it is coded in: one that compression on
 * its way has made weak (`W/`) names the same, and would otherwise keep whoever accepts compression from writing by it.
 */
export type Tags = "any" | ReadonlyArray<string | undefined>

const list = /^\s*(?:W\/)?"[^"\s]*"\s*(?:,\s*(?:W\/)?"[^"\s]*"\s*)*$/
const member = /"([^"\s]*)"/g

/** The headers that conditions are in. */
export type Conditions = Readonly<Record<string, string | undefined>>

/** Reads `If-Match` or `If-None-Match`. */
export const read = (
  headers: Conditions,
  name: "if-match" | "if-none-match"
): Effect.Effect<Tags | undefined, Answer.Refused> => {
  const text = headers[name]
  if (text === undefined) return Effect.undefined
  if (text.trim() === "*") return Effect.succeed("any")
  if (!list.test(text)) {
    return Answer.refuse(400, "InvalidRequest", `${name} is no list of entity tags, such as "0a1b"`)
  }
  return Effect.succeed([...text.matchAll(member)].map(([, tag = ""]) => percentDecode(tag)))
}

/** Whether a document is named. */
export const isNamed = (tags: Tags, revision: string): boolean => tags === "any" || tags.includes(revision)

/** The only revision that may be written over, where one is named. */
export const only = (tags: Tags): Revision | undefined =>
  tags === "any" || tags.length !== 1 ? undefined : (tags[0] as Revision | undefined)

export const failed = Answer.refuse(
  412,
  "PreconditionFailed",
  "the document is not as the condition wants it: read it again, and decide"
)

export const required = Answer.refuse(
  428,
  "PreconditionRequired",
  "send If-Match with the ETag of the document that you have read, so that you overwrite no other change"
)
