/** What a restoration finds in its target, and leaves there while it is under way. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Base64 from "effect/encoding/Base64"
import * as Id from "../../../crypto/Id.ts"
import type { Json } from "../../../encoding/Json.ts"
import { sameBytes } from "../../../internal/bytes.ts"
import { isObject } from "../../../internal/json.ts"
import { getOption, type ObjectStore } from "../../../storage/ObjectStore.ts"
import { Corrupt, StoreError } from "../../../storage/StoreError.ts"
import * as format from "./format.ts"
import type { Mode } from "./restoring.ts"

/** An object that is there from the first write of a restoration to its last. */
export const stateKey = "s3db-restore.json"

/**
 * Tells that a restoration has put documents beside others, or removed some, that no journal tells of: backups that go by the journal ask for
 * it.
 */
export const restoredKey = "s3db-restored.json"

const State = Schema.Struct({ id: Schema.String, mode: Schema.Literals(["empty", "merge", "skip", "replace"]) })

export interface State {
  readonly id: string
  readonly mode: Mode
}

const decodeState = Schema.decodeUnknownEffect(Schema.fromJsonString(State))
const textOf = (body: Uint8Array) => new TextDecoder().decode(body)

/** The restoration that has begun and not ended, if there is one. 1 GET. */
export const state = Effect.fnUntraced(function* (target: ObjectStore["Service"]) {
  const found = yield* getOption(target, stateKey)
  if (Option.isNone(found)) return undefined
  return yield* Effect.mapError(
    decodeState(textOf(found.value.body)),
    () =>
      new StoreError({
        operation: "get",
        key: stateKey,
        reason: new Corrupt({ description: "it does not say which restoration has begun" })
      })
  )
})

/** Begins a restoration. Gives the one that has begun meanwhile, if it is another. */
export const begin = Effect.fnUntraced(function* (target: ObjectStore["Service"], own: State) {
  const body = new TextEncoder().encode(JSON.stringify(own))
  const put = target.put({ key: stateKey, body, contentType: "application/json", ifNoneMatch: "*" })
  const isFirst = yield* put.pipe(
    Effect.as(true),
    Effect.catchReason("StoreError", "PreconditionFailed", () => Effect.succeed(false))
  )
  if (isFirst) return undefined
  const other = yield* state(target)
  return other === undefined || (other.id === own.id && other.mode === own.mode) ? undefined : other
})

/** Notes down that something was restored, under a name of its own. 1 PUT. */
export const noteRestored = Effect.fnUntraced(function* (target: ObjectStore["Service"], own: State) {
  const name = Base64.encode(yield* (yield* Id.Generator).randomBytes(12))
  const body = new TextEncoder().encode(JSON.stringify({ ...own, name }))
  yield* target.put({ key: restoredKey, body, contentType: "application/json", repeatable: true })
})

export interface Catalog {
  readonly catalog: format.Restored | undefined
  readonly copy: format.Restored | undefined
}

const putBack = (
  target: ObjectStore["Service"],
  { body, contentEncoding, contentType, key, metadata }: format.Restored
) =>
  target.put({
    key,
    body,
    metadata,
    contentType,
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    repeatable: true
  })

/** Whether an object is there as it was. 1 GET. */
export const has = Effect.fnUntraced(function* (target: ObjectStore["Service"], wanted: format.Restored) {
  const found = yield* getOption(target, wanted.key)
  if (Option.isNone(found)) return false
  const { body, contentEncoding, contentType, metadata } = found.value
  const entries = Object.entries(wanted.metadata)
  return (
    contentEncoding === wanted.contentEncoding &&
    contentType === wanted.contentType &&
    entries.length === Object.keys(metadata).length &&
    entries.every(([name, value]) => metadata[name] === value) &&
    sameBytes(body, wanted.body)
  )
})

/** Whether the catalog is there as it was, and its copy. */
export const hasCatalog = (target: ObjectStore["Service"], { catalog, copy }: Catalog) =>
  Effect.map(
    Effect.forEach([catalog, copy], (one) => (one === undefined ? Effect.succeed(true) : has(target, one))),
    (all) => all.every((isThere) => isThere)
  )

/** Puts the catalog, after its copy: with it the database is there. */
export const putCatalog = Effect.fnUntraced(function* (target: ObjectStore["Service"], { catalog, copy }: Catalog) {
  for (const one of [copy, catalog]) if (one !== undefined) yield* putBack(target, one)
})

/** Removes objects. Fails with the first reason why one could not be. */
export const remove = Effect.fnUntraced(function* (store: ObjectStore["Service"], keys: ReadonlyArray<string>) {
  const {
    failed: [first]
  } = yield* store.deleteMany(keys, { repeatable: true })
  if (first !== undefined) {
    return yield* new StoreError({ operation: "deleteMany", key: first.key, reason: first.reason })
  }
})

const parsed = (body: Uint8Array): Json => {
  try {
    return JSON.parse(textOf(body)) as Json
  } catch {
    return null
  }
}

const member = (json: Json | undefined, name: string): Json | undefined =>
  isObject(json) && Object.hasOwn(json, name) ? json[name] : undefined

const entries = (json: Json | undefined): ReadonlyArray<readonly [string, Json]> =>
  isObject(json) ? Object.entries(json) : []

/**
 * Why documents of a backup cannot be beside those of the target: its catalog has another salt, or does not know a version or an attribute
 * that they are written by. `undefined`: they can. 1 GET.
 */
export const difference = Effect.fnUntraced(function* (target: ObjectStore["Service"], { catalog }: Catalog) {
  const found = yield* getOption(target, format.catalogKey)
  if (Option.isNone(found)) return "the target has no catalog: restore with the mode empty or replace"
  const [ours, theirs] = [parsed(catalog?.body ?? new Uint8Array()), parsed(found.value.body)]
  if (member(ours, "salt") !== member(theirs, "salt")) return "the target is another database: its salt is another"
  for (const [name, resource] of entries(member(ours, "resources"))) {
    const there = member(member(theirs, "resources"), name)
    const title = `the resource ${JSON.stringify(name)}`
    if (there === undefined) return `the catalog of the target does not have ${title}`
    for (const [id, attribute] of entries(member(resource, "attributes"))) {
      if (JSON.stringify(member(member(there, "attributes"), id)) !== JSON.stringify(attribute)) {
        return `in the catalog of the target the attribute ${JSON.stringify(id)} of ${title} is not what it is in the backup`
      }
    }
    for (const [version, definition] of entries(member(resource, "versions"))) {
      if (member(member(member(there, "versions"), version), "hash") !== member(definition, "hash")) {
        return `the catalog of the target does not know the version ${version} of ${title}`
      }
    }
  }
  return undefined
})

/** The names of the resources that a catalog has. None, where there is no catalog. 1 GET. */
export const resourcesOf = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const found = yield* getOption(store, format.catalogKey)
  return Option.isNone(found) ? [] : entries(member(parsed(found.value.body), "resources")).map(([name]) => name)
})
