/** What is told of a document and of a resource in a line, here and on the command line. */
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import type { ResourceInfo } from "../../Database.ts"
import type * as Document from "../../Document.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import * as Portable from "../../Portable.ts"

/** What the database knows of a document beside its fields. */
export const systemFields = (document: Document.Document<unknown>): JsonObject => ({
  $revision: document.revision,
  $version: document.version,
  $schemaVersion: document.schemaVersion,
  $createdAt: DateTime.formatIso(document.createdAt),
  $updatedAt: DateTime.formatIso(document.writtenAt),
  $storedIn: document.storedIn,
  $metadataBytes: document.metadataBytes,
  $bodyBytes: document.bodyBytes
})

/** What a portable definition says, where this version can read it. */
export const known = (portable: unknown) => {
  const found = Portable.toDefinition(portable)
  return Result.isSuccess(found) ? found.success.portable : undefined
}

/** A resource in a line. */
export const summary = (info: ResourceInfo): JsonObject => {
  const said = known(info.definition)
  return {
    name: info.name,
    version: info.version,
    fields: info.attributes.length,
    partitions: Object.keys(said?.partitions ?? {}),
    unique: Object.keys(said?.uniques ?? {}),
    behavior: said?.behavior ?? null,
    options: [...(said?.flags ?? [])]
  }
}
