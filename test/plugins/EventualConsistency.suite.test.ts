/**
 * What every plugin passes, as far as it is about more than what the plugin stores for itself: documents that were counted are the
 * program's, and stay when the plugin is purged.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Plugin from "effect-s3db/Plugin"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `tallies-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Tallies extends Resource.Service<Tallies>()("effect-s3db/test/plugins/EventualConsistency.suite.test/Tallies", {
    schema: Schema.Struct(Plugin.withAttributes({ id: Schema.String, n: Schema.Int }, EventualConsistency.attributes)),
    primaryKey: "id",
    name: nameOf(namespace)
  }) {}
  const tallies = yield* Resource.make(Tallies.definition)
  const n = EventualConsistency.counter(Tallies, "n")
  const counters = yield* EventualConsistency.make({ counters: [n], namespace, fold: false }).pipe(
    Effect.provideService(Tallies, tallies)
  )
  return { n, tallies, counters }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const subject: PluginSuite.Subject<Opened> = {
  plugin: EventualConsistency.plugin,
  open,
  // What is set stays so, however often; it waits for its document.
  add: ({ counters, n, tallies }, ids) =>
    Effect.gen(function* () {
      yield* Effect.forEach(ids, (id) => counters.set(n, id, 1), { concurrency: "unbounded", discard: true })
      yield* Effect.forEach(
        ids,
        (id) =>
          Effect.flatMap(tallies.getOption(id), (found) =>
            Option.isSome(found) ? Effect.void : Effect.ignore(tallies.insert({ id, n: 0 }))
          ),
        { concurrency: 16, discard: true }
      )
    }),
  ids: ({ counters, tallies }) =>
    Effect.andThen(
      counters.foldAll,
      Effect.map(Stream.runCollect(tallies.scan()), (all) => all.filter(({ n }) => n === 1).map(({ id }) => id))
    ),
  resources: [undefined, "a", "aa", "eventual"].map(nameOf)
}

describe("EventualConsistency", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
