/**
 * What every plugin passes: what was written to a resource is found by its index. Documents and the journal are the program's, and stay
 * when the plugin is purged: it begins anew with them.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import type * as Plugin from "effect-s3db/Plugin"
import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"
import { driven } from "./nearby.ts"

const nameOf = (namespace: string | undefined) => `items-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Items extends Resource.Service<Items>()(`effect-s3db/test/VectorIndex.suite.test/${namespace ?? ""}`, {
    schema: Schema.Struct({ id: Schema.String, vector: Schema.Array(Schema.Finite) }),
    primaryKey: "id",
    name: nameOf(namespace),
    journal: true
  }) {}
  const items = yield* Resource.make(Items.definition)
  const index = yield* VectorIndex.make({
    namespace,
    resource: Items,
    field: "vector",
    dimensions: 2,
    exactUntil: 3,
    recall: 1,
    indexes: false,
    lease: "1 second",
    maxAge: 0
  }).pipe(Effect.provideService(Items, items))
  const { journal, journaled } = yield* Database
  return { index, items, journal, journaled }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const subject: PluginSuite.Subject<Opened> = {
  plugin: VectorIndex.plugin,
  open,
  add: ({ index, items, journal, journaled }, ids) =>
    driven(
      Effect.forEach(ids, (id) => items.replace({ id, vector: [1, id.length % 5] }), {
        concurrency: 16,
        discard: true
      }).pipe(Effect.andThen(journal.catchUp(journaled, { lease: "1 second" })), Effect.andThen(index.update))
    ),
  ids: ({ index }) =>
    driven(
      Effect.gen(function* () {
        const ids: Array<string> = []
        let cursor: string | undefined
        yield* index.update
        do {
          const page = yield* index.search({ vector: [1, 0], limit: 1_000, cursor, consistent: true })
          ids.push(...page.items.map(({ document }) => document.id))
          cursor = page.cursor
        } while (cursor !== undefined)
        return ids
      })
    ),
  resources: [undefined, "a", "aa", "vectorindex"].map(nameOf),
  prefixes: ["journal/"],
  mostRequests: 400
}

describe("VectorIndex", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 60_000)
  }
})
