/**
 * What every plugin passes: entities, in resources of the program, which stay when the plugin is purged.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Plugin from "effect-s3db/Plugin"
import * as StateMachine from "effect-s3db/plugins/StateMachine"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const Lamp = StateMachine.make("lamp", { context: Schema.Struct({}), events: { Press: {} } })
  .states({ off: { on: { Press: "on" } }, on: { on: { Press: "off" } } })
  .initial("off")

const nameOf = (namespace: string | undefined) => `lamps-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Lamps extends Resource.Service<Lamps>()("effect-s3db/test/plugins/StateMachine.suite.test/Lamps", {
    schema: Schema.Struct({ id: Schema.String, machine: StateMachine.Stored }),
    primaryKey: "id",
    name: nameOf(namespace)
  }) {}
  const lamps = yield* Resource.make(Lamps.definition)
  const flow = yield* StateMachine.open({
    machine: Lamp,
    resource: Lamps,
    field: "machine",
    statistics: true,
    namespace
  }).pipe(Effect.provideService(Lamps, lamps))
  // The index is there.
  yield* flow.sweep
  return flow
})

type Opened = Effect.Success<ReturnType<typeof open>>

const namespaces = [undefined, "a", "aa", "state-machine"]

const subject: PluginSuite.Subject<Opened> = {
  plugin: StateMachine.plugin,
  open,
  add: (flow, ids) =>
    Effect.forEach(
      ids,
      (id) =>
        Effect.gen(function* () {
          yield* Effect.catchTag(flow.start(id, {}), "AlreadyStarted", () => Effect.void)
          yield* flow.send(id, "Press", { key: "once" })
        }),
      { concurrency: 16, discard: true }
    ),
  ids: (flow) => Stream.runCollect(flow.inState("on")),
  resources: namespaces.map(nameOf),
  // Beyond a page.
  records: 1100
}

describe("StateMachine", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
