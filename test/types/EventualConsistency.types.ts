/** Counters: what TypeScript says of their fields. */
import * as Schema from "effect/Schema"
import * as Plugin from "effect-s3db/Plugin"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Resource from "effect-s3db/Resource"

class Pages extends Resource.Service<Pages>()("test/pages", {
  schema: Schema.Struct(
    Plugin.withAttributes(
      {
        id: Schema.String,
        visits: Schema.optionalKey(Schema.Int),
        stats: Schema.Struct({ clicks: Schema.Finite }),
        byDay: Schema.Record(Schema.String, Schema.Int)
      },
      EventualConsistency.attributes
    )
  ),
  primaryKey: "id"
}) {}

export const counters = [
  EventualConsistency.counter(Pages, "visits"),
  EventualConsistency.counter(Pages, "stats.clicks"),
  // @ts-expect-error: no number
  EventualConsistency.counter(Pages, "id"),
  // @ts-expect-error: a record has no fields that the schema names
  EventualConsistency.counter(Pages, "byDay.monday"),
  // @ts-expect-error: what the plugin keeps for itself
  EventualConsistency.counter(Pages, "counted.visits")
]
