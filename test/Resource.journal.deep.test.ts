import * as Effect from "effect/Effect"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { fullCapabilities } from "effect-s3db/storage/ObjectStore"
import { memory } from "./fixture.ts"
import { journalCrashes, operations } from "./journalCrashes.ts"

journalCrashes({
  operations: Object.keys(operations),
  places: {
    "": memory,
    " in a network": Effect.map(memory, (store) => ({ ...store, capabilities: fullCapabilities })),
    " on a store without conditional deletes": Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)
  }
})
