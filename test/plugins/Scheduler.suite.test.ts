import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scheduler from "effect-s3db/plugins/Scheduler"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const mail = Scheduler.task("mail", { payload: Schema.String, run: () => Effect.void })

PluginSuite.suite("Scheduler", {
  plugin: Scheduler.plugin,
  open: (options) => Scheduler.make({ ...options, tasks: [mail], stopWithin: 0 }),
  add: (scheduler, ids) =>
    Effect.forEach(ids, (name) => scheduler.add({ name, task: mail, payload: name, schedule: "@yearly" }), {
      concurrency: 16
    }),
  // More than a page; each is an object that is claimed anew.
  records: 1100,
  ids: ({ statuses }) => Effect.map(statuses, (all) => all.map(({ name }) => name))
})
