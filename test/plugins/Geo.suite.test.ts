/** What every plugin passes, by the documents of one place: they are the program's, and stay when the plugin is purged. */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Plugin from "effect-s3db/Plugin"
import * as Geo from "effect-s3db/plugins/Geo"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `places-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Places extends Resource.Service<Places>()("effect-s3db/test/plugins/Geo.suite.test/Places", {
    schema: Schema.Struct({ id: Schema.String, at: Geo.Point }),
    primaryKey: "id",
    name: nameOf(namespace),
    companions: Geo.companions("at")
  }) {}
  const documents = yield* Resource.make(Places.definition)
  const places = yield* Geo.make({ resource: Places, field: "at", namespace }).pipe(
    Effect.provideService(Places, documents)
  )
  return { documents, places }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const at = { latitude: 38.7223, longitude: -9.1393 }

const subject: PluginSuite.Subject<Opened> = {
  plugin: Geo.plugin,
  open,
  add: ({ documents }, ids) =>
    Effect.forEach(ids, (id) => documents.replace({ id, at }), { concurrency: 16, discard: true }),
  ids: ({ places }) =>
    Effect.map(Stream.runCollect(places.within({ circle: { center: at, radius: 1 } })), (all) =>
      all.map(({ id }) => id)
    ),
  resources: [undefined, "a", "aa", "geo"].map(nameOf)
}

describe("Geo", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
