import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Metrics from "effect-s3db/plugins/Metrics"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

PluginSuite.suite("Metrics", {
  plugin: Metrics.plugin,
  open: (options) => Metrics.make(options),
  add: (metrics: Metrics.Metrics["Service"], ids) =>
    Effect.andThen(
      Effect.forEach(ids, (resource) => metrics.record({ resource, operation: "work", duration: "3 millis" })),
      metrics.flush
    ),
  ids: ({ query }) =>
    Effect.map(Stream.runCollect(query()), (points) => [...new Set(points.map(({ resource }) => resource))])
})
