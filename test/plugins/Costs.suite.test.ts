import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Prices from "effect-s3db/storage/Prices"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

PluginSuite.suite("Costs", {
  plugin: Costs.plugin,
  open: (options) => Costs.make({ prices: Prices.r2, ...options }),
  add: (costs: Costs.Costs["Service"], ids) =>
    Effect.andThen(
      Effect.forEach(ids, (resource) => costs.record({ resource, kind: "put" })),
      costs.flush
    ),
  ids: ({ query }) =>
    Effect.map(Stream.runCollect(query({ from: 0 })), (points) => [
      ...new Set(points.map(({ resource }) => resource).filter((resource) => resource !== ""))
    ])
})
