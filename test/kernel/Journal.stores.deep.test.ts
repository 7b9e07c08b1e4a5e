/** The journal in memory and on a folder, and between processes of which many are killed. */
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import { memory } from "../fixture.ts"
import { newFolder } from "./contention.ts"
import { processes, suite } from "./journalStores.ts"

suite("memory", memory, true, 150)
suite(
  "a folder",
  Effect.suspend(() => FileStore.make({ path: newFolder(), durability: "none" })),
  true
)
processes(20)
