/**
 * A process that changes documents on a shared folder and journals, as others do, until it is killed. It tells on a line that a write
 * has ended.
 *
 * node journalWorker.ts <folder>
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as FileStore from "effect-s3db/storage/FileStore"
import { quick } from "../kernel/journalWriter.ts"
import { journaledOn, randomWrite } from "./journal.ts"

const program = Effect.gen(function* () {
  const client = yield* journaledOn(yield* FileStore.make({ path: process.argv[2]! }))
  const writing = Effect.gen(function* () {
    for (let n = 0; ; n++) {
      yield* Effect.exit(randomWrite(client, `${process.pid}-${n}`))
      writeSync(1, "written\n")
    }
  })
  return yield* Effect.raceFirst(writing, client.database.journal.run(client.database.journaled, quick))
})

await Effect.runPromise(Effect.scoped(program))
