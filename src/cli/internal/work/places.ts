/** Where connections lead to, for commands that have two of them. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as ConnectionString from "../../../storage/ConnectionString.ts"

/** What two connections have in common that lead to the same place. */
export const placeOf = Effect.fnUntraced(function* (parsed: ConnectionString.Parsed) {
  const prefix = parsed.options.prefix.replace(/^\/+|\/+$/g, "")
  switch (parsed._tag) {
    case "S3": {
      const { bucket, endpoint = "" } = parsed.options
      return ["s3", endpoint.replace(/\/+$/, "").toLowerCase(), bucket, prefix].join("\n")
    }
    case "File": {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = path.join(parsed.options.path, prefix)
      // One that is not there yet cannot be that of the other.
      return ["file", yield* Effect.orElseSucceed(fs.realPath(folder), () => path.resolve(folder))].join("\n")
    }
    case "Memory":
      return "memory"
  }
})
