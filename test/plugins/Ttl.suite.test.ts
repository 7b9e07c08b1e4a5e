/**
 * What every plugin passes, as far as it is about more than what the plugin stores for itself: documents that are due are the
 * program's, and stay when the plugin is purged.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Plugin from "effect-s3db/Plugin"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"

const nameOf = (namespace: string | undefined) => `sessions-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  class Sessions extends Resource.Service<Sessions>()("effect-s3db/test/plugins/Ttl.suite.test/Sessions", {
    schema: Schema.Struct({ id: Schema.String, expiresAt: Schema.Number }),
    primaryKey: "id",
    name: nameOf(namespace)
  }) {}
  const sessions = yield* Resource.make(Sessions.definition)
  const policies = [Ttl.policy(Sessions, { at: "expiresAt" })]
  const ttl = yield* Ttl.make({ policies, namespace, sweep: false }).pipe(Effect.provideService(Sessions, sessions))
  // The index is there.
  yield* ttl.runNow({ dryRun: true })
  return { name: nameOf(namespace), sessions, ttl }
})

type Opened = Effect.Success<ReturnType<typeof open>>

const namespaces = [undefined, "a", "aa", "ttl"]

const subject: PluginSuite.Subject<Opened> = {
  plugin: Ttl.plugin,
  open,
  add: ({ sessions }, ids) =>
    Effect.forEach(ids, (id) => sessions.replace({ id, expiresAt: -1 }), { concurrency: 16, discard: true }),
  ids: ({ name, ttl }) => Effect.map(ttl.due(name, { limit: 10_000 }), (due) => due.map(({ id }) => id)),
  resources: namespaces.map(nameOf)
}

describe("Ttl", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
