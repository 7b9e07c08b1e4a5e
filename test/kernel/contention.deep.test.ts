/** The primitives of the kernel on a folder, and between processes of which many are killed. */
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import { newFolder, processes, suite } from "./contention.ts"

const folder = newFolder()
let opened = 0

suite(
  "a folder",
  Effect.suspend(() => FileStore.make({ path: `${folder}/${opened++}`, durability: "none" }))
)
processes(60)
