/** One record of s3db.js: an object's metadata and body, by the way its resource keeps what does not fit, as a document of ours. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isRecord } from "../../internal/json.ts"
import type { Metadata, StoredObject } from "../../storage/ObjectStore.ts"
import type { Field } from "./attributes.ts"
import { decodeText } from "./text.ts"
import * as values from "./values.ts"

/** One version of a resource: its fields, each with the name that it has in metadata. */
export interface Layout {
  readonly fields: ReadonlyArray<Field>
  /** Which field a name in metadata is of, in lower case as S3 keeps them, and as they were before. */
  readonly byCode: ReadonlyMap<string, Field>
  /** Names of metadata that two fields share once S3 has made them lower case: which one a value is of cannot be told. */
  readonly ambiguous: ReadonlyMap<string, ReadonlyArray<string>>
}

/** What could not be read of a record. The others of its fields are there. */
export interface FieldProblem {
  readonly field: string
  readonly problem:
    | values.Problem
    | "two fields have this name in metadata"
    | "no field of the resource has this name"
    | "the object has a body that is no part of the record, and was left"
}

export interface Decoded {
  /** Without `id`. */
  readonly value: JsonObject
  readonly problems: ReadonlyArray<FieldProblem>
  /** Its content, where it has any: then the body is that. */
  readonly content: { readonly body: Uint8Array; readonly contentType: string } | undefined
  /** Whether the original has cut it. */
  readonly isTruncated: boolean
}

/** What the original writes beside fields. */
const isSystem = (name: string): boolean => /^[_$]/.test(name) || name === "id" || /^metadata[._]/.test(name)

/** Flags are kept under names that S3 can take. */
const flag = (metadata: Metadata, name: string): string | undefined =>
  metadata[`_${name}`] ?? metadata[`$${name}`] ?? metadata[`-${name}`]

const parsed = (body: Uint8Array): JsonObject | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
    return isRecord(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** What is set by a path, objects on the way being made. */
const setAt = (target: Record<string, Json>, path: ReadonlyArray<string>, value: Json): void => {
  const [head = "", ...rest] = path
  if (rest.length === 0) {
    Object.defineProperty(target, head, { value, enumerable: true, configurable: true, writable: true })
    return
  }
  if (!Object.hasOwn(target, head) || !isRecord(target[head])) setAt(target, [head], {})
  setAt(target[head] as Record<string, Json>, rest, value)
}

const valueAt = (document: JsonObject, path: ReadonlyArray<string>): Json | undefined => {
  let at: Json | undefined = document
  for (const name of path) at = isRecord(at) && Object.hasOwn(at, name) ? (at as JsonObject)[name] : undefined
  return at
}

/** The names by which a record that is all in its body keeps its fields. */
const ownCodes = (metadata: Metadata): ReadonlyMap<string, string> | undefined => {
  const text = metadata["_map"]
  const map = text === undefined ? undefined : parsed(new TextEncoder().encode(decodeText(text) ?? ""))
  if (map === undefined) return undefined
  const entries = Object.entries(map).flatMap(([name, code]): ReadonlyArray<[string, string]> =>
    typeof code === "string" ? [[code, name]] : []
  )
  return new Map(entries)
}

/** Fails where its body is damaged, without which nothing of it can be told, and where the object is somebody else's. */
export const decode = Effect.fnUntraced(function* (
  { body, contentType, metadata }: Pick<StoredObject, "body" | "contentType" | "metadata">,
  layout: Layout,
  passphrase: Redacted.Redacted<string> | undefined
): Effect.fn.Return<Decoded, "its body is no JSON: it was cut, or is damaged" | "s3db.js has not written it"> {
  const problems: Array<FieldProblem> = []
  const value: Record<string, Json> = {}
  const texts = new Map<Field, string>()
  const given = new Map<Field, Json>()
  const found = (name: string) => layout.byCode.get(name) ?? layout.byCode.get(name.toLowerCase())

  for (const [name, stored] of Object.entries(metadata)) {
    if (isSystem(name)) continue
    const shared = layout.byCode.has(name) && /[A-Z]/.test(name) ? undefined : layout.ambiguous.get(name)
    const field = found(name)
    const text = decodeText(stored)
    if (shared !== undefined) {
      for (const one of shared) problems.push({ field: one, problem: "two fields have this name in metadata" })
    } else if (field === undefined) problems.push({ field: name, problem: "no field of the resource has this name" })
    else if (text === undefined)
      problems.push({ field: field.path.join("."), problem: "it is not what its type stores" })
    else texts.set(field, text)
  }

  const hasContent = decodeText(metadata["_hascontent"] ?? metadata["_hasContent"] ?? "") === "true"
  const isOverflow = flag(metadata, "overflow") === "true"
  const map = ownCodes(metadata)
  // The original writes a version into each record.
  if (metadata["_v"] === undefined && metadata["-v"] === undefined && texts.size === 0 && map === undefined) {
    return yield* Effect.fail("s3db.js has not written it" as const)
  }
  // Part of it, or all, is in the body, and there is none.
  if (!hasContent && body.length === 0 && (isOverflow || map !== undefined)) {
    return yield* Effect.fail("its body is no JSON: it was cut, or is damaged" as const)
  }
  if (!hasContent && body.length > 0) {
    const members = parsed(body)
    // Where metadata has all of it, the body only says it once more.
    if (members === undefined) {
      if (isOverflow || map !== undefined || texts.size === 0) {
        return yield* Effect.fail("its body is no JSON: it was cut, or is damaged" as const)
      }
      problems.push({ field: "", problem: "the object has a body that is no part of the record, and was left" })
    } else take(members)
  }

  /** The fields of a body: under their names in metadata with the texts of metadata, or as the program gave them. */
  function take(members: JsonObject): void {
    const names = Object.keys(members).filter((name) => !isSystem(name))
    const byPath = new Map(layout.fields.map((field) => [field.path.join("."), field]))
    const areCodes = names.every((name) => found(name) !== undefined || map?.has(name) === true)
    for (const name of names) {
      const member = members[name]!
      const mapped = map?.get(name)
      const field = areCodes ? (mapped === undefined ? found(name) : byPath.get(mapped)) : undefined
      if (field !== undefined && !texts.has(field)) {
        if (typeof member === "string") texts.set(field, member)
        else given.set(field, values.ofProgram(member, field.kind))
      } else if (areCodes && field === undefined) {
        problems.push({ field: name, problem: "no field of the resource has this name" })
      }
    }
    if (areCodes) return
    for (const field of layout.fields) {
      const member = valueAt(members, field.path)
      const isHidden = field.kind._tag === "Secret" || field.kind._tag === "Password"
      if (member !== undefined && !texts.has(field) && !isHidden) given.set(field, values.ofProgram(member, field.kind))
    }
  }

  for (const field of layout.fields) {
    const text = texts.get(field)
    const read = text === undefined ? Effect.succeed(given.get(field)) : values.decode(text, field.kind, passphrase)
    const one = yield* Effect.result(read)
    if (one._tag === "Failure") problems.push({ field: field.path.join("."), problem: one.failure })
    else if (one.success !== undefined && (one.success !== null || field.isNullable))
      setAt(value, field.path, one.success)
  }
  return {
    value,
    problems,
    content: hasContent && body.length > 0 ? { body, contentType } : undefined,
    isTruncated: flag(metadata, "truncated") === "true"
  }
})
