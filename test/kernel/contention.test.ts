/** The primitives of the kernel on memory, on a folder, and between processes. */
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import { memory } from "../fixture.ts"
import { newFolder, processes, suite } from "./contention.ts"

suite("memory", memory)
suite(
  "a folder",
  Effect.suspend(() => FileStore.make({ path: folders.pop()!, durability: "none" }))
)
processes(6)

const folders = Array.from({ length: 5 }, newFolder)
