/**
 * What every plugin passes: what is read through a cache is what is there. Documents are the program's, and stay when the plugin is
 * purged.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Plugin from "effect-s3db/Plugin"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `items-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  const methods = { listIds: { maxItems: 10_000 } }
  const cache = yield* Cache.make({ namespace, staleness: 0, methods })
  const schema = Schema.Struct({ id: Schema.String })
  const items = yield* Resource.make(Resource.define(nameOf(namespace), { schema, primaryKey: "id" }))
  // Instances have what they know of resources beside these.
  yield* items.count()
  return { cache, items }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const subject: PluginSuite.Subject<Opened> = {
  plugin: Cache.plugin,
  open,
  add: ({ items }, ids) => Effect.forEach(ids, (id) => items.replace({ id }), { concurrency: 16, discard: true }),
  ids: Effect.fnUntraced(function* ({ items }) {
    const all = yield* Stream.runCollect(items.listIds())
    assert.deepStrictEqual(yield* Stream.runCollect(items.listIds()), all)
    assert.strictEqual(yield* items.count(), all.length)
    return [...all]
  }),
  resources: [undefined, "a", "aa", "cache"].map(nameOf)
}

describe("Cache", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
