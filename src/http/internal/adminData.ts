/**
 * What the admin page shows beside documents: how resources are declared, what they take in the store, plugins, costs, the store.
 * All of it for who may, and none of it a value of a document, a secret or what a lease is held by.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import * as Document from "../../Document.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { percentEncode } from "../../internal/text.ts"
import * as Lease from "../../kernel/Lease.ts"
import * as PluginStore from "../../kernel/PluginStore.ts"
import * as Plugin from "../../Plugin.ts"
import * as PluginRegistry from "../../PluginRegistry.ts"
import type * as Costs from "../../plugins/Costs.ts"
import type { DynamicSchema } from "../../Portable.ts"
import { Capabilities, listSome } from "../../storage/ObjectStore.ts"
import * as Wire from "../../Wire.ts"
import type * as Documents from "./documents.ts"
import * as Sight from "./sight.ts"

/** A resource as the API serves it. */
export interface Served {
  readonly name: string
  readonly definition: Definition<DynamicSchema>
  readonly settings: Documents.Settings
  readonly operations: ReadonlyArray<string>
}

/** A schema of the wire, or nothing where there is none. */
const schemaOf = (make: () => Schema.Constraint): Json => {
  try {
    const { definitions, schema } = Wire.jsonSchema(make())
    return { ...(schema as JsonObject), $defs: definitions as unknown as JsonObject }
  } catch {
    // The whole document is turned into another one: it can be replaced, not patched.
    return null
  }
}

/** What of a resource does not depend on who asks. */
const described = ({ definition, name, operations, settings }: Served): JsonObject => ({
  name,
  resource: definition.name,
  primaryKey: String(definition.primaryKey),
  operations,
  partitions: Object.fromEntries(
    Object.entries(definition.partitions).map(([partition, { fields }]) => [
      partition,
      fields.map(({ path, transforms }) => ({ path: path.join("."), transforms }))
    ])
  ),
  unique: Object.fromEntries(
    Object.entries(definition.uniques).map(([unique, { fields }]) => [unique, fields.map((path) => path.join("."))])
  ),
  fields: definition.attributes.map(({ codec, optional, path }) => ({ path: path.join("."), type: codec, optional })),
  journal: definition.journal !== undefined,
  guarded: definition.guarded,
  requireIfMatch: settings.requireIfMatch,
  scan: settings.scan,
  totals: settings.totals,
  defaultLimit: settings.defaultLimit,
  maxLimit: settings.maxLimit,
  maxBulk: settings.maxBulk,
  maxContentBytes: settings.maxContentBytes,
  create: schemaOf(() => Wire.create(definition)),
  patch: schemaOf(() => Wire.patch(definition)),
  shown: schemaOf(() => Wire.public(definition, { protect: settings.protect }))
})

/** Describes resources to who asks. No request. */
export const resources = (served: ReadonlyArray<Served>): Effect.Effect<ReadonlyArray<JsonObject>> => {
  const all = served.map((one) => {
    const sight = Sight.make(one.definition, one.settings)
    let made: JsonObject | undefined
    return Effect.map(sight, ({ columns, readonly }): JsonObject => ({
      ...(made ??= described(one)),
      columns: columns.map((path) => path.join(".")),
      readonly
    }))
  })
  return Effect.all(all)
}

/** What the catalog has, and the API does not serve. No request. */
export const others = (database: Database["Service"], served: ReadonlyArray<Served>) =>
  Effect.map(database.listResources, (known) =>
    known
      .filter(({ name }) => served.every(({ definition }) => definition.name !== name))
      .map(({ attributes, name, version }) => ({ name, version, fields: attributes.length }))
  )

interface Part {
  objects: number
  bytes: number
}

/**
 * Measures a part of a resource: up to `pages` pages of its objects, from a token on. It gives the token of the rest, if there is one. 1 LIST
 * for each 1,000 objects. Fields in metadata are in no listing, so that `bytes` are those of bodies.
 */
export const sizes = Effect.fnUntraced(function* (
  { store }: Database["Service"],
  resource: string,
  { pages, token: from }: { readonly pages: number; readonly token?: string | undefined }
): Effect.fn.Return<JsonObject, DbError.DbError> {
  const prefix = `resource=${percentEncode(resource)}/`
  const parts = new Map<string, Part>()
  let documents = 0
  let token = from
  for (let page = 0; page < pages; page++) {
    const listed = yield* DbError.named(
      "Admin.sizes",
      resource
    )(listSome(store, { prefix, ...(token === undefined ? {} : { token }) }))
    for (const { key, size = 0 } of listed.entries) {
      const [, name = ""] = /^([^/=]*)/.exec(key.slice(prefix.length)) ?? []
      const part = parts.get(name) ?? { objects: 0, bytes: 0 }
      part.objects += 1
      part.bytes += size
      parts.set(name, part)
      // What tells of a deletion is no document.
      if (name === "data" && size !== Document.deletionBytes) documents += 1
    }
    token = listed.nextToken
    if (token === undefined) break
  }
  const sum = (of: keyof Part) => [...parts.values()].reduce((all, part) => all + part[of], 0)
  return {
    documents,
    objects: sum("objects"),
    bytes: sum("bytes"),
    parts: [...parts].map(([name, { bytes, objects }]) => ({ name, objects, bytes })),
    ...(token === undefined ? {} : { token })
  }
})

const encodeStatus = Schema.encodeEffect(Schema.toCodecJson(PluginRegistry.Status))

/** The most entries of the journal that are counted. */
const mostWaiting = 10_000

/**
 * Tells how plugins fare: those that are open in this process, with what they count; those that the catalog has; who has a lease; and how far
 * the journal has come. What plugins ask for themselves, 1 GET for each that the catalog has and 1 HEAD for each lease, and for the journal
 * 1 GET and 1 LIST for each 1,000 entries that wait, 10 at most.
 */
export const plugins = Effect.fnUntraced(function* (
  database: Database["Service"],
  served: ReadonlyArray<Served>
): Effect.fn.Return<JsonObject, DbError.DbError> {
  const { journal, store } = database
  const named = DbError.named("Admin.plugins")
  const inDatabase = <A>(effect: Effect.Effect<A, never, Database>) => Effect.provideService(effect, Database, database)
  const statuses = yield* inDatabase(Plugin.statuses)
  const installed = yield* inDatabase(Plugin.installed)
  const isJournaled = served.some(({ definition }) => definition.journal !== undefined)

  const leaseAt = Effect.fnUntraced(function* (key: string, of: string) {
    const found = yield* Effect.catchReason(Lease.make(store, { key }).state, "StoreError", "Corrupt", () =>
      Effect.succeed("damaged" as const)
    )
    if (found === "damaged") return [{ of, state: found }]
    if (Option.isNone(found)) return []
    const { holder, millis, token } = found.value
    const { lastModified } = yield* store.head(key)
    return [
      {
        of,
        state: holder === undefined ? "free" : "held",
        token,
        millis,
        renewedAt: new Date(lastModified).toISOString()
      }
    ]
  })
  const keys = [
    ...installed.map((one) => {
      const slug = Plugin.slugOf({ name: one.plugin }, one)
      return [`${PluginStore.keyPrefix(slug)}lease`, slug] as const
    }),
    ...(isJournaled ? [[`${journal.prefix}/lease`, "journal"] as const] : [])
  ]
  const leases = yield* named(Effect.forEach(keys, ([key, of]) => leaseAt(key, of), { concurrency: 8 }))

  /** What is damaged is told as that: the rest is what helps then. */
  const journaled = Effect.gen(function* () {
    const { bytes, first, next, segments } = yield* journal.status
    const waiting = yield* Stream.runCount(Stream.take(journal.pending, mostWaiting))
    return { first, next, segments, bytes, waiting, isWhole: waiting < mostWaiting }
  }).pipe(
    Effect.catchReason("StoreError", "Corrupt", () => Effect.succeed({ isDamaged: true })),
    named
  )
  return {
    open: (yield* Effect.orDie(
      Effect.forEach(statuses, (status) => encodeStatus(status))
    )) as unknown as ReadonlyArray<JsonObject>,
    installed: installed.map(({ isInstalled, namespace, plugin, version }) => ({
      plugin,
      namespace,
      version,
      isInstalled
    })),
    leases: leases.flat(),
    ...(isJournaled ? { journal: yield* journaled } : {})
  }
})

/** Tells what requests cost: those of this process, a month like the last day, and what is stored. Requests as of `Costs.estimate`. */
export const costs = Effect.fnUntraced(function* (
  service: Costs.Costs["Service"]
): Effect.fn.Return<JsonObject, DbError.DbError> {
  const totals = yield* service.totals
  // Nothing is asked that could be wrong.
  const estimate = yield* Effect.catchTag(service.estimate(), "InvalidCosts", Effect.die)
  const stored = yield* service.storage
  return {
    totals: totals.map(({ dollars, kind, operation, plugin, received, requests, resource, sent }) => ({
      resource,
      plugin,
      operation,
      kind,
      requests,
      sent,
      received,
      dollars
    })),
    estimate: {
      days: estimate.days,
      requests: estimate.requests,
      dollarsForRequests: estimate.dollarsForRequests,
      dollarsForStorage: estimate.dollarsForStorage,
      dollars: estimate.dollars,
      prices: estimate.prices,
      parts: estimate.parts.map(({ dollars, plugin, resource }) => ({ resource, plugin, dollars }))
    },
    storage: {
      objects: stored.objects,
      bytes: stored.bytes,
      dollars: stored.dollars,
      isMeasured: Option.isSome(stored.measuredAt)
    }
  }
})

const encodeCapabilities = Schema.encodeSync(Capabilities)

/** Tells what the store can do. No request. */
export const store = ({ capabilities, store: { location } }: Database["Service"]): JsonObject => ({
  location,
  capabilities: encodeCapabilities(capabilities) as JsonObject
})
