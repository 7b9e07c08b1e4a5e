import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

// What waits, and what has been given up: all that a queue has.
PluginSuite.suite<S3Queue.Queue<string>, unknown>("S3Queue", {
  plugin: S3Queue.plugin,
  open: ({ namespace }) => S3Queue.make({ name: "jobs", payload: Schema.String, namespace }),
  add: (queue, ids) => queue.offerAll(ids.map((id) => ({ payload: id, id }))),
  ids: (queue) =>
    Effect.scoped(
      Effect.gen(function* () {
        const all: Array<string> = []
        for (;;) {
          const claimed = yield* queue.claimNow(1000)
          if (claimed.length === 0) return all
          all.push(...claimed.map(({ id }) => id))
        }
      })
    )
})
