/** What every plugin passes, by the documents near a vector: they are the program's, and stay when the plugin is purged. */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Plugin from "effect-s3db/Plugin"
import * as Vector from "effect-s3db/plugins/Vector"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `vectors-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Items extends Resource.Service<Items>()("effect-s3db/test/plugins/Vector.suite.test/Items", {
    schema: Schema.Struct({ id: Schema.String, vector: Attribute.Embedding(2) }),
    primaryKey: "id",
    name: nameOf(namespace)
  }) {}
  const documents = yield* Resource.make(Items.definition)
  const vectors = yield* Vector.make({ resource: Items, field: "vector", namespace }).pipe(
    Effect.provideService(Items, documents)
  )
  return { documents, vectors }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const subject: PluginSuite.Subject<Opened> = {
  plugin: Vector.plugin,
  open,
  add: ({ documents }, ids) =>
    Effect.forEach(ids, (id) => documents.replace({ id, vector: [0, 1] }), { concurrency: 16, discard: true }),
  ids: Effect.fnUntraced(function* ({ vectors }) {
    const ids: Array<string> = []
    let cursor: string | undefined
    do {
      const page = yield* vectors.search({ vector: [0, 1], limit: 1_000, cursor, scan: true })
      ids.push(...page.items.map(({ document: { id } }) => id))
      cursor = page.cursor
    } while (cursor !== undefined)
    return ids
  }),
  resources: [undefined, "a", "aa", "vector"].map(nameOf)
}

describe("Vector", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
