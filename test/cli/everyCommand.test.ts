/** Every command of the program is run: in this process. */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { everyCommand } from "./everyCommand.ts"
import { key } from "./people.ts"
import { inFolder } from "./shell.ts"

describe("every command", () => {
  it.live("is run by a test", () =>
    Effect.gen(function* () {
      const { path, s3db } = yield* inFolder
      const env = { S3DB_KEYS: `k1:${key}` }
      // Its own tests are in test/mcp.
      yield* everyCommand(path, (args, stdin) => s3db(args, { env, stdin }), ["mcp"])
    })
  )
})
