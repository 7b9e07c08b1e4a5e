import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import * as FileStore from "effect-s3db/storage/FileStore"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"

const root = mkdtempSync(join(tmpdir(), "effect-s3db-suite-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

// With fsync, and with compression, in the deep test.
suite("file without fsync", FileStore.layer({ path: join(root, "none"), durability: "none" }))
