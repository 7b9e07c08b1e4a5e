/** Changes as messages, for targets that pass them on. */
import type { JsonObject } from "../../../encoding/Json.ts"
import { encodeBase64 } from "../../../internal/base64.ts"
import { sha256 } from "../../../internal/sha256.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"

const hashOf = (...parts: ReadonlyArray<string | number>): string =>
  encodeBase64(sha256(new TextEncoder().encode(JSON.stringify(parts))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "")

/** Names a change: the same each time that it is sent. Who repairs sends what is there once more. */
export const nameOf = ({ name }: ReplicaTarget.Shape, { id, operation, time, version }: ReplicaTarget.Change): string =>
  hashOf(name, id, version, ...(operation === "snapshot" ? [time] : []))

/** Names a document, in 43 characters, whatever its id. */
export const keyOf = ({ name }: ReplicaTarget.Shape, id: string): string => hashOf(name, id)

/** What is sent of a change: `ChangeMessage` of `QueueConsumer`, and more. */
export const messageOf = (shape: ReplicaTarget.Shape, change: ReplicaTarget.Change): JsonObject => ({
  resource: shape.name,
  id: change.id,
  version: change.version,
  operation: change.operation,
  time: change.time,
  ...(change.document === undefined ? {} : { document: change.document }),
  ...(change.before === undefined ? {} : { before: change.before })
})
