/**
 * What every plugin passes: what was written to the resources that a trail follows is in the trail. Documents and the journal are the
 * program's, and stay when the plugin is purged: it begins anew with them.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import type * as Plugin from "effect-s3db/Plugin"
import * as Audit from "effect-s3db/plugins/Audit"
import * as Resource from "effect-s3db/Resource"
import * as PluginSuite from "effect-s3db/testing/PluginSuite"
import { drive } from "../fixture.ts"

const nameOf = (namespace: string | undefined) => `items-of-${namespace ?? ""}`

const open = Effect.fnUntraced(function* ({ namespace }: Plugin.Options) {
  const name = nameOf(namespace)
  const schema = Schema.Struct({ id: Schema.String })
  const items = yield* Resource.make(Resource.define(name, { schema, primaryKey: "id", journal: true }))
  const audit = yield* Audit.make({ namespace, resources: [name], lease: "1 second" })
  const { journal, journaled } = yield* Database
  return { audit, items, journal, journaled }
})

type Opened = Effect.Success<ReturnType<typeof open>>

/** Lets time pass for what waits for it. */
const driven = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))

const subject: PluginSuite.Subject<Opened> = {
  plugin: Audit.plugin,
  open,
  add: ({ audit, items, journal, journaled }, ids) =>
    driven(
      Effect.forEach(ids, (id) => items.replace({ id }), { concurrency: 16, discard: true }).pipe(
        Effect.andThen(journal.catchUp(journaled, { lease: "1 second" })),
        Effect.andThen(audit.caughtUp)
      )
    ),
  ids: ({ audit }) => Effect.map(Stream.runCollect(audit.query()), (all) => [...new Set(all.map(({ id }) => id))]),
  resources: [undefined, "a", "aa", "audit"].map(nameOf),
  prefixes: ["journal/"],
  mostRequests: 400
}

describe("Audit", () => {
  for (const { run, title } of PluginSuite.tests(subject)) {
    if (!title.includes("it was purged")) it.effect(title, () => run, 120_000)
  }
})
