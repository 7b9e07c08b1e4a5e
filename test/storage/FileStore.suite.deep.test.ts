import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import * as FileStore from "effect-s3db/storage/FileStore"
import { suite } from "effect-s3db/testing/ObjectStoreSuite"

const root = mkdtempSync(join(tmpdir(), "effect-s3db-suite-deep-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

suite("file", FileStore.layer({ path: join(root, "fsync") }))
suite("file with gzip", FileStore.layer({ path: join(root, "gzip"), durability: "none", compression: "gzip" }))
suite("file without fsync", FileStore.layer({ path: join(root, "none"), durability: "none" }))
suite("file with zstd", FileStore.layer({ path: join(root, "zstd"), durability: "none", compression: "zstd" }))
