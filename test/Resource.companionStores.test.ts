import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { suite } from "./companionStores.ts"
import { memory } from "./fixture.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "s3db-companions-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

suite("memory", memory)
suite(
  "a folder",
  Effect.flatMap(folder, (path) => FileStore.make({ path }))
)
suite(
  "a store that lists without order",
  Effect.map(MemoryStore.make({ profile: "express" }), ({ store }) => store)
)
