/** What every plugin passes, by the documents that belong to one: they are the program's, and stay when the plugin is purged. */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Plugin from "effect-s3db/Plugin"
import * as Relation from "effect-s3db/plugins/Relation"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `nodes-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Nodes extends Resource.Service<Nodes>()("effect-s3db/test/plugins/Relation.suite.test/Nodes", {
    schema: Schema.Struct({ id: Schema.String, parentId: Schema.String }),
    primaryKey: "id",
    name: nameOf(namespace),
    partitions: { byParent: ["parentId"] }
  }) {}
  const nodes = yield* Resource.make(Nodes.definition)
  const tree = yield* Relation.make({
    resources: { nodes: Nodes },
    relations: { nodes: { children: { hasMany: "nodes", key: "parentId", onDelete: "cascade" } } },
    namespace
  }).pipe(Effect.provideService(Nodes, nodes))
  return { nodes, tree }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const namespaces = [undefined, "a", "aa", "relation"]

const subject: PluginSuite.Subject<Opened> = {
  plugin: Relation.plugin,
  open,
  add: ({ nodes }, ids) =>
    Effect.forEach(ids, (id) => nodes.replace({ id, parentId: "root" }), { concurrency: 16, discard: true }),
  ids: ({ tree }) =>
    Effect.map(
      Stream.runCollect(tree.nodes.related({ id: "root", parentId: "" }, "children", { select: ["id"] })),
      (all) => all.map(({ id }) => id)
    ),
  resources: namespaces.map(nameOf)
}

describe("Relation", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
