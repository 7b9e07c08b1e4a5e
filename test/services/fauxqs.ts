/** A server in this process, which knows S3 but no conditions on PUT. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as S3Store from "effect-s3db/storage/S3Store"
import { startFauxqs } from "fauxqs"

export const server = Effect.acquireRelease(
  Effect.promise(() => startFauxqs({ port: 0, logger: false })),
  (started) => Effect.promise(() => started.stop())
)

/** Opens a store on a server of its own. */
export const open = Effect.gen(function* () {
  const started = yield* server
  started.createBucket("bucket")
  return yield* S3Store.make({
    bucket: "bucket",
    endpoint: started.address,
    credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
  })
})
