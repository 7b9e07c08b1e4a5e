/**
 * The catalog of a database, `s3db.json`: which resources there are, every version of their definitions, the short id
 * of every attribute they ever had, and what the store has been found to honour.
 *
 * This module is the format and its rules, without I/O. `Database` reads and writes it.
 *
 * @since 0.1.0
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Json, StoredAttribute } from "./encoding/Encoding.ts"
import { isDeeperThan } from "./encoding/Json.ts"
import { joinBytes } from "./internal/bytes.ts"
import { isRecord, mapValues, samePath } from "./internal/json.ts"
import * as Companion from "./Companion.ts"
import * as Partition from "./Partition.ts"
import { Attribute, Codec, describeHidden, hiddenAt } from "./schema/Attributes.ts"
import { Capabilities } from "./storage/ObjectStore.ts"
import * as Unique from "./Unique.ts"
import { ExpectedError } from "./internal/expectedError.ts"

/**
 * The key of the catalog, below the prefix of the database.
 *
 * @category constants
 * @since 0.1.0
 */
export const key = "s3db.json"

/**
 * The key of the copy that is kept of the last catalog written, to restore from.
 *
 * @category constants
 * @since 0.1.0
 */
export const backupKey = "s3db.json.backup"

/**
 * The number of levels that a catalog may be nested, which is more than its definitions need, and little enough for
 * recursion.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostLevels = 1000

/**
 * One version of a resource's definition. `hash` is `sha256:` and 64 hex digits over everything else but `createdAt`,
 * whatever the order of the attributes.
 *
 * @category models
 * @since 0.1.0
 */
export const Version = Schema.Struct({
  hash: Schema.String,
  primaryKey: Schema.String,
  attributes: Schema.Array(Attribute),
  /** The definition in a form that any program can open; see `schema/Portable`. */
  definition: Schema.optionalKey(Schema.Json),
  createdAt: Schema.String
})

/**
 * One version of a resource's definition.
 *
 * @category models
 * @since 0.1.0
 */
export type Version = typeof Version.Type

/**
 * An attribute id with what it stands for, for good. An attribute whose codec changes gets a new id, so that a stored
 * value is never read by another codec than the one that wrote it.
 *
 * @category models
 * @since 0.1.0
 */
export const AttributeEntry = Schema.Struct({ path: Schema.Array(Schema.String), codec: Codec })

/**
 * The state of a partition or unique key, by whether every document has its markers, or reservations: `building` until
 * a backfill has come to its end.
 *
 * @category models
 * @since 0.1.0
 */
export const IndexState = Schema.Literals(["building", "ready"])

/**
 * The state of a partition or unique key.
 *
 * @category models
 * @since 0.1.0
 */
export type IndexState = typeof IndexState.Type

/**
 * What plugins have registered, by the name of the plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const Registrations = Schema.Record(Schema.String, Schema.Json)

/**
 * Registrations of plugins, by the name of the plugin.
 *
 * @category models
 * @since 0.1.0
 */
export type Registrations = typeof Registrations.Type

/**
 * A key under which a blind unique key has reservations. One is `ready`: documents are found, and told apart, by it. Another
 * one is `building` while the unique key moves to it.
 *
 * @category models
 * @since 0.1.0
 */
export const UniqueKey = Schema.Struct({
  /** What its reservations are under, new for each move, so that what is left of a former one is never taken for one of it. */
  id: Schema.String,
  /** The key of the ring: `KeyRing.BlindKey.id`. */
  key: Schema.String,
  state: IndexState
})

/**
 * A key under which a blind unique key has reservations.
 *
 * @category models
 * @since 0.1.0
 */
export type UniqueKey = typeof UniqueKey.Type

/**
 * How far the building of a partition or unique key has come.
 *
 * - `seen`: runs of documents that have been visited, in the order of their keys: those after the first id, `null` for the
 *   beginning, up to the second, `null` for the end.
 * - `left`: documents that could not be given what they lack, and why.
 *
 * @category models
 * @since 0.1.0
 */
export const Progress = Schema.Struct({
  seen: Schema.Array(Schema.Tuple([Schema.NullOr(Schema.String), Schema.NullOr(Schema.String)])),
  left: Schema.Array(Schema.Struct({ id: Schema.String, why: Schema.String }))
})

/**
 * How far the building of a partition or unique key has come.
 *
 * @category models
 * @since 0.1.0
 */
export type Progress = typeof Progress.Type

/** What there is to say of an index, beside its definition. */
const entryFields = {
  state: IndexState,
  /** Tells it from those of the same name before it, where there may have been any: see `labelOf`. */
  build: Schema.optionalKey(Schema.Int),
  progress: Schema.optionalKey(Progress)
}

const PartitionEntry = Schema.Struct({ definition: Partition.Definition, ...entryFields })
const CompanionEntry = Schema.Struct({ definition: Companion.Definition, ...entryFields })
const UniqueEntry = Schema.Struct({
  definition: Unique.Definition,
  ...entryFields,
  /** Of a blind one, once a program with a `KeyRing` has opened the resource. */
  keys: Schema.optionalKey(Schema.Array(UniqueKey))
})

/**
 * The kind of an index.
 *
 * @category models
 * @since 0.1.0
 */
export type IndexKind = "partitions" | "companions" | "uniques"

/** Of a release that knows no companions, which must not take for damage what it does not know. */
const IndexRemoval = Schema.Struct({
  kind: Schema.Literals(["partitions", "uniques"]),
  name: Schema.String,
  build: Schema.optionalKey(Schema.Int),
  /** The ids of the keys that a blind one had. */
  keys: Schema.optionalKey(Schema.Array(Schema.String))
})

const CompanionRemoval = Schema.Struct({ name: Schema.String, build: Schema.optionalKey(Schema.Int) })

/**
 * A partition, companion or unique key that nobody keeps up any more, and whose markers or reservations are still to be removed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removal {
  readonly kind: IndexKind
  readonly name: string
  readonly build?: number
  /** The ids of the keys that a blind unique key had. */
  readonly keys?: ReadonlyArray<string>
}

/**
 * Returns what keys and documents call a partition or unique key: its name, and, where one of that name may have been there
 * before, a number. So nothing that is done late to the one before can touch it.
 *
 * @category getters
 * @since 0.1.0
 */
export const labelOf = (name: string, build: number | undefined): string =>
  build === undefined ? name : `${name}~${build}`

/**
 * A resource as the catalog keeps it: its versions, the ids of its attributes, and its indexes.
 *
 * @category models
 * @since 0.1.0
 */
export const Resource = Schema.Struct({
  /** Those that writers keep up, whether they declare them or not. */
  partitions: Schema.optionalKey(Schema.Record(Schema.String, PartitionEntry)),
  companions: Schema.optionalKey(Schema.Record(Schema.String, CompanionEntry)),
  uniques: Schema.optionalKey(Schema.Record(Schema.String, UniqueEntry)),
  /** How often one of them has been removed, or declared otherwise. Default 0. */
  builds: Schema.optionalKey(Schema.Int),
  /** What is still to be removed of those. */
  removals: Schema.optionalKey(Schema.Array(IndexRemoval)),
  companionRemovals: Schema.optionalKey(Schema.Array(CompanionRemoval)),
  /** What plugins have registered for it, by the name of the plugin. */
  plugins: Schema.optionalKey(Registrations),
  /** `v` and the number of the version that counts: the newest, unless another one was made current. */
  currentVersion: Schema.String,
  /** The number of the next attribute id; ids are in base 36. */
  nextAttribute: Schema.Int,
  attributes: Schema.Record(Schema.String, AttributeEntry),
  versions: Schema.Record(Schema.String, Version),
  /**
   * The latest form of bodies that its documents may have; absent: JSON alone, which every release reads. A release that does not know
   * this member writes none of its documents.
   */
  bodies: Schema.optionalKey(Schema.Int)
})

/**
 * A resource as the catalog keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export type Resource = typeof Resource.Type

/**
 * The latest form of the bodies of documents that this release knows: 1, binary, with or without compressed fields.
 *
 * @category constants
 * @since 0.1.0
 */
export const bodies = 1

/**
 * The place of a database, and the abilities of its store.
 *
 * @category models
 * @since 0.1.0
 */
export const StoreProfile = Schema.Struct({ location: Schema.String, capabilities: Capabilities })

/**
 * The definitions of a database, and what is known of its store.
 *
 * @category models
 * @since 0.1.0
 */
export const Catalog = Schema.Struct({
  /** The version of this format. */
  version: Schema.Literal("1"),
  /** The ids of the last 16 writes, newest first, with a space between them: a write whose answer was lost is recognised by its own. */
  writeId: Schema.String,
  lastUpdated: Schema.String,
  /** What a probe has found, and of which store, where it had to be probed. */
  store: Schema.optionalKey(StoreProfile),
  /** Random bytes in base 64 from which the keys of secret fields are made, once there are such fields. */
  salt: Schema.optionalKey(Schema.String),
  /** Where the attribute ids of new resources begin, when ids of a lost catalog may still be in use. Default 0. */
  firstAttribute: Schema.optionalKey(Schema.Int),
  /** The longest time, in milliseconds, for which programs go by what they know of it; where one has a longer one than is usual. */
  lease: Schema.optionalKey(Schema.Number),
  /** What plugins have registered for the database as a whole, by the name of the plugin. */
  plugins: Schema.optionalKey(Registrations),
  resources: Schema.Record(Schema.String, Resource)
})

/**
 * The definitions of a database, and what is known of its store.
 *
 * @category models
 * @since 0.1.0
 */
export type Catalog = typeof Catalog.Type

/**
 * A catalog without resources.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: Catalog = { version: "1", writeId: "", lastUpdated: "", resources: {} }

const decodeCatalog = Schema.decodeUnknownResult(Catalog, { errors: "all" })

const encodeResource = Schema.encodeSync(Resource)
const encodeCatalog = Schema.encodeSync(Catalog)

const utf8 = new TextEncoder()

/** The JSON of each resource as it was written last: a write of the catalog writes most of them again as they are. */
const written = new WeakMap<Resource, Uint8Array>()

const bytesOf = (resource: Resource): Uint8Array => {
  const known = written.get(resource)
  if (known !== undefined) return known
  const bytes = utf8.encode(JSON.stringify(encodeResource(resource)))
  written.set(resource, bytes)
  return bytes
}

/**
 * Writes the bytes of a catalog: JSON without indentation, a line for each resource. What has been written of a resource
 * before is not made again.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toBytes = (catalog: Catalog): Uint8Array => {
  const { resources: _, ...rest } = encodeCatalog({ ...catalog, resources: {} })
  const beginning = `${JSON.stringify(rest).slice(0, -1)},"resources":{`
  const parts = Object.entries(catalog.resources).flatMap(([name, resource], i) => [
    utf8.encode(`${i === 0 ? beginning : ","}\n${JSON.stringify(name)}:`),
    bytesOf(resource)
  ])
  return joinBytes([...(parts.length === 0 ? [utf8.encode(beginning)] : parts), utf8.encode("\n}}\n")])
}

/**
 * The outcome of reading the bytes of a catalog.
 *
 * - `Healthy`: as it should be.
 * - `Healed`: it was damaged; `repairs` says in words what was mended. The bytes must be put aside before they are
 *   replaced.
 * - `Irreparable`: no catalog can be made of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Reading =
  | { readonly _tag: "Healthy"; readonly catalog: Catalog }
  | { readonly _tag: "Healed"; readonly catalog: Catalog; readonly repairs: ReadonlyArray<string> }
  | { readonly _tag: "Irreparable"; readonly problem: string }

/**
 * Reads a catalog, mending what can be mended without guessing: broken JSON, missing top-level members, a
 * `currentVersion` that points nowhere, resources without any usable version (dropped and named).
 *
 * A catalog of a newer format, or of s3db.js, is a failure, not damage: it must not be touched.
 *
 * @category encoding
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function* (bytes: Uint8Array): Effect.fn.Return<Reading, NewerFormat | OfS3dbJs> {
  const text = new TextDecoder().decode(bytes)
  const repairs: Array<string> = []
  const parsed = parse(text)
  let json: unknown
  if (Result.isSuccess(parsed)) json = parsed.success
  else {
    // Loaded only when it is needed.
    const { jsonrepair } = yield* Effect.promise(() => import("jsonrepair"))
    const repaired = Result.flatMap(Result.try({ try: () => jsonrepair(text), catch: () => parsed.failure }), parse)
    if (Result.isFailure(repaired)) return { _tag: "Irreparable", problem: repaired.failure }
    json = repaired.success
    repairs.push("the text was not valid JSON")
  }
  if (!isRecord(json)) return { _tag: "Irreparable", problem: "the catalog is not a JSON object" }
  // A catalog is at least an object with resources or with a version; anything else is another file.
  if (repairs.length > 0 && !("resources" in json) && !("version" in json)) {
    return { _tag: "Irreparable", problem: "the text holds nothing of a catalog" }
  }
  // Mending it would take the resources from a program that still uses them.
  if (typeof json["s3dbVersion"] === "string") return yield* new OfS3dbJs({ release: json["s3dbVersion"] })
  const { version } = json
  if ((typeof version === "string" || typeof version === "number") && Number(version) > 1) {
    return yield* new NewerFormat({ version: String(version) })
  }
  if (repairs.length === 0) {
    const decoded = decodeCatalog(json)
    if (Result.isSuccess(decoded) && dangling(decoded.success).length === 0) {
      note(decoded.success, json)
      return { _tag: "Healthy", catalog: decoded.success }
    }
  }
  return { _tag: "Healed", catalog: mend(json, repairs), repairs }
})

/**
 * A catalog that was written by a later release whose format this one does not know.
 *
 * @remedy Upgrade this program to the release that wrote the catalog, or a later one.
 * @category errors
 * @since 0.1.0
 */
export class NewerFormat extends ExpectedError<NewerFormat>("effect-s3db/Catalog/NewerFormat")("NewerFormat", {
  version: Schema.String
}) {
  override get message(): string {
    return `the catalog has format ${this.version}, written by a later release; upgrade effect-s3db`
  }
}

/**
 * A catalog that s3db.js has written: its databases are of another format, and are left as they are.
 *
 * @remedy Open another bucket, prefix or folder. To move what is there into a database of this library, run `s3db migrate-from`, or use
 * `migration/S3dbJs`.
 * @category errors
 * @since 0.1.0
 */
export class OfS3dbJs extends ExpectedError<OfS3dbJs>("effect-s3db/Catalog/OfS3dbJs")("OfS3dbJs", {
  release: Schema.String
}) {
  override get message(): string {
    return `here is a database of s3db.js ${this.release}, which is another format: it was not touched. Open another place, and move it there by \`s3db migrate-from\` or S3dbJs`
  }
}

/** The first member of what was read that this release does not know, by the catalog or resource in which it is. */
const unknownMembers = new WeakMap<object, string>()

/** The path of the first member that is not in what was made of it. */
const excess = (read: unknown, made: unknown, but: string | undefined): string | undefined => {
  // What is any JSON is taken as it is.
  if (read === made) return undefined
  if (Array.isArray(read) && Array.isArray(made)) {
    for (let i = 0; i < read.length; i++) {
      const within = excess(read[i], made[i], undefined)
      if (within !== undefined) return within
    }
    return undefined
  }
  if (!isRecord(read) || !isRecord(made)) return undefined
  for (const name of Object.keys(read)) {
    if (name === but) continue
    if (!Object.hasOwn(made, name)) return name
    const within = excess(read[name], made[name], undefined)
    if (within !== undefined) return `${name}.${within}`
  }
  return undefined
}

const note = (catalog: Catalog, json: Record<string, unknown>): void => {
  const unknown = excess(json, catalog, undefined)
  if (unknown === undefined) return
  unknownMembers.set(catalog, unknown)
  const read = isRecord(json["resources"]) ? json["resources"] : {}
  for (const [name, resource] of Object.entries(catalog.resources)) {
    // Versions are what programs have declared: what is new in one of them is found where it is followed.
    const within = excess(read[name], resource, "versions")
    if (within !== undefined) unknownMembers.set(resource, within)
  }
}

/**
 * Returns the path of a member of a catalog as it was read that this release does not know, if there is one: it would be
 * lost if the catalog were written.
 *
 * @category getters
 * @since 0.1.0
 */
export const unknownMember = (catalog: Catalog): string | undefined => unknownMembers.get(catalog)

const parse = (text: string): Result.Result<unknown, string> =>
  Result.filterOrFail(
    Result.try({ try: (): unknown => JSON.parse(text), catch: () => "the text is not valid JSON" }),
    (json) => !isDeeperThan(json, mostLevels),
    () => `the text is nested more than ${mostLevels} deep`
  )

const dangling = (catalog: Catalog): ReadonlyArray<string> =>
  Object.entries(catalog.resources).flatMap(([name, resource]) =>
    Object.hasOwn(resource.versions, resource.currentVersion) ? [] : [name]
  )

const decodeVersion = Schema.decodeUnknownResult(Version)
const decodeEntry = Schema.decodeUnknownResult(AttributeEntry)
const decodeProfile = Schema.decodeUnknownResult(StoreProfile)

const mend = (json: Record<string, unknown>, repairs: Array<string>): Catalog => {
  const text = (name: string): string => {
    const value = json[name]
    if (typeof value === "string") return value
    repairs.push(`${name} was missing`)
    return ""
  }
  if (json["version"] !== "1") repairs.push("version was not the text 1")
  const store = decodeProfile(json["store"])
  if (json["store"] !== undefined && Result.isFailure(store)) repairs.push("store was unreadable and is probed anew")
  const resources: Record<string, Resource> = {}
  if (!isRecord(json["resources"])) repairs.push("resources was not an object")
  else {
    for (const [name, value] of Object.entries(json["resources"])) {
      const resource = name === "__proto__" ? undefined : mendResource(name, value, repairs)
      if (resource === undefined) repairs.push(`resource ${name} had no usable version and was dropped`)
      else resources[name] = resource
    }
  }
  const firstAttribute = json["firstAttribute"]
  return {
    version: "1",
    ...(typeof firstAttribute === "number" && Number.isSafeInteger(firstAttribute) ? { firstAttribute } : {}),
    writeId: text("writeId"),
    lastUpdated: text("lastUpdated"),
    ...(typeof json["salt"] === "string" ? { salt: json["salt"] } : {}),
    ...(typeof json["lease"] === "number" ? { lease: json["lease"] } : {}),
    ...(Result.isSuccess(store) ? { store: store.success } : {}),
    ...mendPlugins("the database", json["plugins"], repairs),
    resources
  }
}

const mendResource = (name: string, value: unknown, repairs: Array<string>): Resource | undefined => {
  if (!isRecord(value)) return undefined
  const versions: Record<string, Version> = {}
  if (isRecord(value["versions"])) {
    for (const [version, definition] of Object.entries(value["versions"])) {
      const decoded = decodeVersion(definition)
      if (/^v[1-9]\d*$/.test(version) && Result.isSuccess(decoded)) versions[version] = decoded.success
      else repairs.push(`version ${version} of resource ${name} was unreadable`)
    }
  }
  const newest = newestVersion(versions)
  if (newest === 0) return undefined
  const attributes: Record<string, typeof AttributeEntry.Type> = {}
  if (isRecord(value["attributes"])) {
    for (const [id, entry] of Object.entries(value["attributes"])) {
      const decoded = decodeEntry(entry)
      if (/^[0-9a-z]+$/.test(id) && Result.isSuccess(decoded)) attributes[id] = decoded.success
      else repairs.push(`attribute ${id} of resource ${name} was unreadable`)
    }
  }
  const claimed = value["nextAttribute"]
  const used = Math.max(-1, ...Object.keys(attributes).map((id) => Number.parseInt(id, 36)))
  const known = typeof claimed === "number" && Number.isSafeInteger(claimed) && claimed > used
  // Ids may be in use that are no longer listed: leave a gap rather than give one of them a second meaning.
  if (!known) repairs.push(`nextAttribute of resource ${name} was unreadable; ids continue after a gap`)
  const form = value["bodies"]
  const isForm = typeof form === "number" && Number.isSafeInteger(form) && form >= bodies
  if (form !== undefined && !isForm) repairs.push(`bodies of resource ${name} was unreadable and is now ${bodies}`)
  const currentVersion = value["currentVersion"]
  const points = typeof currentVersion === "string" && Object.hasOwn(versions, currentVersion)
  if (!points) repairs.push(`currentVersion of resource ${name} pointed nowhere and is now v${newest}`)
  // What cannot be read has to be declared, and built, anew.
  let isAnew = false
  const readable = <A>(kind: IndexKind, decode: (entry: unknown) => Result.Result<A, unknown>): Record<string, A> => {
    const entries: Record<string, A> = {}
    for (const [key, entry] of Object.entries(isRecord(value[kind]) ? value[kind] : {})) {
      const decoded = decode(entry)
      if (Result.isSuccess(decoded)) entries[key] = decoded.success
      else {
        isAnew = true
        repairs.push(`${key} of the ${kind} of resource ${name} was unreadable`)
      }
    }
    return entries
  }
  const partitions = readable("partitions", decodePartition)
  const companions = readable("companions", decodeCompanion)
  const uniques = readable("uniques", decodeUnique)
  const removals = decodeRemovals(value["removals"] ?? [])
  if (Result.isFailure(removals)) repairs.push(`removals of resource ${name} was unreadable`)
  const companionRemovals = decodeCompanionRemovals(value["companionRemovals"] ?? [])
  if (Result.isFailure(companionRemovals)) repairs.push(`companionRemovals of resource ${name} was unreadable`)
  const counted = value["builds"] ?? 0
  const isCounted = typeof counted === "number" && Number.isSafeInteger(counted) && counted >= 0
  if (!isCounted) repairs.push(`builds of resource ${name} was unreadable; numbers continue after a gap`)
  const builds = Math.max(
    isCounted ? counted : indexGap,
    ...[...Object.values(partitions), ...Object.values(companions), ...Object.values(uniques)].map(
      ({ build = 0 }) => build
    )
  )
  return {
    currentVersion: points ? currentVersion : `v${newest}`,
    nextAttribute: known ? claimed : used + 1 + attributeGap,
    attributes,
    versions,
    ...(form === undefined ? {} : { bodies: isForm ? form : bodies }),
    ...mendPlugins(`resource ${name}`, value["plugins"], repairs),
    partitions,
    ...(Object.keys(companions).length === 0 ? {} : { companions }),
    uniques,
    ...(isAnew || builds > 0 ? { builds: isAnew ? builds + 1 : builds } : {}),
    ...withRemovals([
      ...(Result.isSuccess(removals) ? removals.success : []),
      ...(Result.isSuccess(companionRemovals) ? companionRemovals.success.map(asRemoval) : [])
    ])
  }
}

const mendPlugins = (of: string, value: unknown, repairs: Array<string>): { readonly plugins?: Registrations } => {
  if (value === undefined) return {}
  const decoded = decodeRegistrations(value)
  if (Result.isSuccess(decoded)) return { plugins: decoded.success }
  repairs.push(`what plugins have registered for ${of} was unreadable`)
  return {}
}

const decodeRegistrations = Schema.decodeUnknownResult(Registrations)
const decodePartition = Schema.decodeUnknownResult(PartitionEntry)
const decodeUnique = Schema.decodeUnknownResult(UniqueEntry)
const decodeCompanion = Schema.decodeUnknownResult(CompanionEntry)
const decodeRemovals = Schema.decodeUnknownResult(Schema.Array(IndexRemoval))
const decodeCompanionRemovals = Schema.decodeUnknownResult(Schema.Array(CompanionRemoval))

const asRemoval = (removal: typeof CompanionRemoval.Type): Removal => ({ kind: "companions", ...removal })

/**
 * Lists what is still to be removed of a resource.
 *
 * @category getters
 * @since 0.1.0
 */
export const removalsOf = ({
  companionRemovals = [],
  removals = []
}: Pick<Resource, "removals" | "companionRemovals">): ReadonlyArray<Removal> => [
  ...removals,
  ...companionRemovals.map(asRemoval)
]

const withRemovals = (all: ReadonlyArray<Removal>): Pick<Resource, "removals" | "companionRemovals"> => {
  const removals = all.flatMap(({ kind, ...rest }) => (kind === "companions" ? [] : [{ kind, ...rest }]))
  const companionRemovals = all.flatMap(({ keys: _, kind, ...rest }) => (kind === "companions" ? [rest] : []))
  return {
    ...(removals.length === 0 ? {} : { removals }),
    ...(companionRemovals.length === 0 ? {} : { companionRemovals })
  }
}

/** The same for the numbers of indexes. */
const indexGap = 36

/** How many attribute ids are skipped when some may have been lost. */
const attributeGap = 36

const newestVersion = (versions: Readonly<Record<string, Version>>): number =>
  Math.max(0, ...Object.keys(versions).map((version) => Number(version.slice(1))))

/**
 * Returns a catalog restored from a copy that may be older than what was lost: attribute ids, and the numbers of indexes,
 * continue after a gap, so that none that was given out in between gets a second meaning.
 *
 * @category constructors
 * @since 0.1.0
 */
export const afterLoss = (copy: Catalog): Catalog => ({
  ...copy,
  resources: mapValues(copy.resources, (resource) => ({
    ...resource,
    nextAttribute: resource.nextAttribute + attributeGap,
    builds: (resource.builds ?? 0) + indexGap
  }))
})

/**
 * A blank catalog for a database that has lost its own: attribute ids begin where the lost ones are most unlikely to
 * have come, so that an old document is refused rather than misread.
 *
 * @category constructors
 * @since 0.1.0
 */
export const blankOverData: Catalog = { ...empty, firstAttribute: 36 ** 2 }

/**
 * Returns a healed catalog with what it has lost taken from a copy: resources, versions and attribute ids.
 *
 * @category constructors
 * @since 0.1.0
 */
export const supplement = (healed: Catalog, copy: Catalog): Catalog => ({
  ...(copy.salt === undefined ? {} : { salt: copy.salt }),
  ...(copy.lease === undefined ? {} : { lease: copy.lease }),
  ...healed,
  resources: {
    ...copy.resources,
    ...mapValues(healed.resources, (resource, name) => {
      const old = Object.hasOwn(copy.resources, name) ? copy.resources[name] : undefined
      if (old === undefined) return resource
      return {
        ...resource,
        nextAttribute: Math.max(resource.nextAttribute, old.nextAttribute),
        ...((resource.bodies ?? old.bodies) === undefined
          ? {}
          : { bodies: Math.max(resource.bodies ?? 0, old.bodies ?? 0) }),
        ...((resource.builds ?? old.builds) === undefined
          ? {}
          : { builds: Math.max(resource.builds ?? 0, old.builds ?? 0) }),
        attributes: { ...old.attributes, ...resource.attributes },
        versions: { ...old.versions, ...resource.versions }
      }
    })
  }
})

/**
 * An attribute id that stands for something that no version of the resource has, while versions have an attribute of the same
 * path or codec without an id: somebody has changed it by hand. Who registered the resource then would give those new ids, and leave what is
 * stored under this one behind.
 *
 * @category models
 * @since 0.1.0
 */
export interface Misplaced {
  readonly resource: string
  readonly id: string
  readonly entry: typeof AttributeEntry.Type
  /** What versions have and no id stands for. */
  readonly wanted: ReadonlyArray<typeof AttributeEntry.Type>
}

/**
 * Lists the attribute ids of a resource, or of all, that are misplaced.
 *
 * @category getters
 * @since 0.1.0
 */
export const misplaced = ({ resources }: Catalog, only?: string): ReadonlyArray<Misplaced> =>
  Object.entries(resources).flatMap(([resource, { attributes, versions }]) => {
    if (only !== undefined && resource !== only) return []
    const used = new Map(
      Object.values(versions)
        .flatMap((version) => version.attributes)
        .map(({ codec, path }) => [attributeName({ path, codec }), { path, codec }])
    )
    const known = new Set(Object.values(attributes).map(attributeName))
    const wanted = [...used].filter(([name]) => !known.has(name)).map(([, entry]) => entry)
    if (wanted.length === 0) return []
    return Object.entries(attributes)
      .filter(([, entry]) => !used.has(attributeName(entry)))
      .map(([id, entry]) => ({ resource, id, entry, wanted: wanted.filter((one) => isLike(one, entry)) }))
      .filter((one) => one.wanted.length > 0)
  })

/** Whether one of two can have become the other by one change. */
const isLike = (a: typeof AttributeEntry.Type, b: typeof AttributeEntry.Type): boolean =>
  a.codec === b.codec || samePath(a.path, b.path)

/** Who changes a catalog by hand can write anything. */
const describeEntry = ({ codec, path }: typeof AttributeEntry.Type): string =>
  `${path.join(".").slice(0, 200)} (${codec.slice(0, 60)})`

/**
 * Explains what is misplaced, and how to mend it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describeMisplaced = ({ entry, id, resource, wanted }: Misplaced): string =>
  `attribute ${id} of ${resource} is ${describeEntry(entry)} in the catalog, which no version of ${resource} has, while there is no id for ${wanted.map(describeEntry).join(", ")}: put back what it was, at resources.${resource}.attributes.${id} in ${key}`

/**
 * Puts attributes that are misplaced back to where they were by a copy, and says in words which.
 *
 * @category combinators
 * @since 0.1.0
 */
export const putBack = (
  catalog: Catalog,
  copy: Catalog
): { readonly catalog: Catalog; readonly repairs: ReadonlyArray<string> } => {
  const repairs: Array<string> = []
  const resources = { ...catalog.resources }
  for (const { entry, id, resource, wanted } of misplaced(catalog)) {
    const before = Object.hasOwn(copy.resources, resource) ? copy.resources[resource]!.attributes : {}
    const former = Object.hasOwn(before, id) ? before[id]! : undefined
    if (former === undefined || !wanted.some((one) => attributeName(one) === attributeName(former))) continue
    const now = resources[resource]!
    resources[resource] = { ...now, attributes: { ...now.attributes, [id]: former } }
    repairs.push(
      `attribute ${id} of resource ${resource} was changed from ${describeEntry(former)} to ${describeEntry(entry)}`
    )
  }
  return { catalog: { ...catalog, resources }, repairs }
}

/**
 * A resource as a program declares it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declaration {
  readonly name: string
  readonly primaryKey: string
  readonly attributes: ReadonlyArray<Attribute>
  /** The number of this version, where the program counts them itself. */
  readonly version?: number | undefined
  /** The definition in portable form. */
  readonly portable?: Json | undefined
  readonly partitions?: Readonly<Record<string, Partition.Definition>> | undefined
  readonly uniques?: Readonly<Record<string, Unique.Definition>> | undefined
  /** They belong to the resource, not to a version of it: plugins add theirs to any. */
  readonly companions?: Readonly<Record<string, Companion.Definition>> | undefined
  /**
   * Whether bodies are binary and compressed: `true` begins it, also in a resource of an earlier release; `undefined` begins it in one that is
   * new. It is part of a version only where `portable` says it.
   */
  readonly compression?: boolean | undefined
}

/**
 * A resource as the catalog knows it: what a codec is made from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registered {
  readonly name: string
  /** The number of the version that fits the declaration. */
  readonly version: number
  readonly written: ReadonlyArray<Attribute & { readonly id: string }>
  readonly readable: ReadonlyArray<StoredAttribute>
  /** The attributes of every version, by its number. */
  readonly versions: ReadonlyMap<number, ReadonlyArray<Attribute & { readonly id: string }>>
  /** Whether the bodies of documents may be binary, and compressed, and who declares it wants that. */
  readonly compresses: boolean
}

/**
 * Returns the hash of a declaration: `sha256:` and 64 hex digits. The order of the attributes does not matter.
 *
 * @category getters
 * @since 0.1.0
 */
export const hash = (declaration: Declaration): string => {
  const known = hashes.get(declaration)
  if (known !== undefined) return known
  const text = JSON.stringify([
    declaration.primaryKey,
    declaration.attributes.map((a) => JSON.stringify([a.path, a.codec, a.optional, a.nullable])).toSorted(),
    canonical(declaration.portable ?? null)
  ])
  const made = `sha256:${Hex.encode(sha256(new TextEncoder().encode(text)))}`
  hashes.set(declaration, made)
  return made
}

/** Of declarations, which do not change once they are made. */
const hashes = new WeakMap<Declaration, string>()

/** The same JSON whatever the order of members, and of fields, which are objects with a name. */
const canonical = (json: Json): Json => {
  if (typeof json !== "object" || json === null) return json
  if (Array.isArray(json)) {
    const items = (json as ReadonlyArray<Json>).map(canonical)
    if (items.length < 2 || !items.every((item) => isRecord(item) && "name" in item)) return items
    return items
      .map((item) => ({ item, name: nameOf(item) }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ item }) => item)
  }
  const members = json as { readonly [name: string]: Json }
  const names = Object.keys(members)
  if (names.length === 1) return { [names[0]!]: canonical(members[names[0]!]!) }
  return Object.fromEntries(names.sort().map((name) => [name, canonical(members[name]!)]))
}

/** Whether two definitions of an index are the same: what was read may have its members in another order. */
const isSame = (a: Json, b: Json): boolean => JSON.stringify(canonical(a)) === JSON.stringify(canonical(b))

/**
 * Tells whether two definitions of a companion are the same.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSameDefinition = (a: Companion.Definition, b: Companion.Definition): boolean => isSame(a, b)

const nameOf = (json: Json): string => JSON.stringify((json as { readonly [name: string]: Json })["name"])

/**
 * Finds the version of a resource that fits a declaration, if the catalog has it.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (catalog: Catalog, declaration: Declaration, hash: string): Registered | undefined => {
  const resource = Object.hasOwn(catalog.resources, declaration.name) ? catalog.resources[declaration.name] : undefined
  if (resource === undefined) return undefined
  const version = versionWith(resource, declaration, hash)
  if (version === undefined) return undefined
  const ids = new Map(Object.entries(resource.attributes).map(([id, entry]) => [attributeName(entry), id]))
  const written = withIds(declaration.attributes, ids)
  if (written === undefined) return undefined
  const hasAll = (declared: object = {}, known: object = {}) =>
    Object.keys(declared).every((name) => Object.hasOwn(known, name))
  // One that was removed is declared again.
  if (!hasAll(declaration.partitions, resource.partitions) || !hasAll(declaration.uniques, resource.uniques)) {
    return undefined
  }
  if (Object.entries(declaration.companions ?? {}).some(([name, one]) => isWanting(resource, name, one))) {
    return undefined
  }
  if (isBegun(resource, declaration) !== (resource.bodies !== undefined)) return undefined
  // One that would write a secret into keys is replaced by what is declared.
  for (const paths of pathsOfIndexes(resource).values()) {
    if (exposedBy(declaration.attributes, paths) !== undefined) return undefined
  }
  const versions = new Map<number, Registered["written"]>()
  for (const [name, { attributes }] of Object.entries(resource.versions)) {
    versions.set(versionNumber(name), withIds(attributes, ids) ?? [])
  }
  return {
    name: declaration.name,
    version: versionNumber(version),
    written,
    readable: Object.entries(resource.attributes).map(([id, entry]) => ({ id, ...entry })),
    versions,
    compresses: resource.bodies !== undefined && declaration.compression !== false
  }
}

/** Whether bodies may be compressed once a declaration is registered. */
const isBegun = ({ bodies, currentVersion }: Resource, { compression }: Declaration): boolean =>
  bodies !== undefined || compression === true || (compression === undefined && currentVersion === "")

/** Whether the catalog is to be told of a companion, or of what is wrong with it: one of a greater version stays. */
const isWanting = ({ companions = {} }: Resource, name: string, definition: Companion.Definition): boolean => {
  const known = Object.hasOwn(companions, name) ? companions[name]?.definition : undefined
  return known === undefined || (known.version <= definition.version && !isSame(known, definition))
}

const versionNumber = (name: string): number => Number(name.slice(1))

/** The newest version that is as declared, and has the declared number, if there is one. */
const versionWith = (resource: Resource, { version }: Declaration, hash: string): string | undefined =>
  Object.keys(resource.versions)
    .filter((name) => resource.versions[name]!.hash === hash)
    .toSorted((a, b) => versionNumber(b) - versionNumber(a))
    .find((name) => version === undefined || versionNumber(name) === version)

const withIds = (
  attributes: ReadonlyArray<Attribute>,
  ids: ReadonlyMap<string, string>
): Registered["written"] | undefined => {
  const found: Array<Attribute & { readonly id: string }> = []
  for (const attribute of attributes) {
    const id = ids.get(attributeName(attribute))
    if (id === undefined) return undefined
    found.push({ ...attribute, id })
  }
  return found
}

/**
 * Tells why a declaration cannot be registered, if it cannot: its primary key is another one, the number that it gives its
 * version, or that of a companion, is taken by another one, or newer ones exist.
 *
 * @category getters
 * @since 0.1.0
 */
export const refusal = (
  catalog: Catalog,
  declaration: Declaration
): { readonly argument: "companions" | "primaryKey" | "version"; readonly description: string } | undefined => {
  const { companions = {}, name, primaryKey, version } = declaration
  const resource = Object.hasOwn(catalog.resources, name) ? catalog.resources[name] : undefined
  if (resource === undefined) return undefined
  const [key = primaryKey] = Object.values(resource.versions).map((known) => known.primaryKey)
  if (key !== primaryKey) {
    const description = `the primary key of ${name} is ${key} in the catalog, not ${primaryKey}; the keys of documents are made of it, so it stays for good: keep ${key}, or declare another resource and write the documents into that`
    return { argument: "primaryKey", description }
  }
  const description = companionRefusal(resource, name, companions)
  if (description !== undefined) return { argument: "companions", description }
  if (version === undefined || versionWith(resource, declaration, hash(declaration)) !== undefined) return undefined
  const newest = newestVersion(resource.versions)
  if (version > newest) return undefined
  const taken = Object.hasOwn(resource.versions, `v${version}`)
    ? `version ${version} of ${name} was declared otherwise; give the changed declaration version ${newest + 1}`
    : `version ${version} of ${name} is older than version ${newest}, which the catalog has`
  return { argument: "version", description: taken }
}

/**
 * Tells why companions cannot be registered, if they cannot: the number of a version is taken by another definition.
 *
 * @category getters
 * @since 0.1.0
 */
export const companionRefusal = (
  resource: Resource,
  name: string,
  companions: Readonly<Record<string, Companion.Definition>>
): string | undefined => {
  for (const [label, definition] of Object.entries(companions)) {
    const known = hasEntry(resource, "companions", label) ? resource.companions?.[label]?.definition : undefined
    if (known === undefined || known.version !== definition.version || isSame(known, definition)) continue
    return `version ${known.version} of companion ${label} of ${name} was declared otherwise; give the changed declaration version ${known.version + 1}`
  }
  return undefined
}

/**
 * Tells which version of a resource has a secret among what a companion goes by, and which, if any.
 *
 * @category getters
 * @since 0.1.0
 */
export const companionExposed = ({ versions }: Resource, { fields }: Companion.Definition): string | undefined => {
  for (const [version, { attributes }] of Object.entries(versions)) {
    const why = exposedBy(attributes, fields)
    if (why !== undefined) return `it names ${why} in version ${versionNumber(version)}: keys are in clear`
  }
  return undefined
}

/**
 * Returns a resource with a companion that is to be built, in the place of one of a lower version if there is one; the same
 * reference if it has that, or one of a greater version.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withCompanion = (resource: Resource, name: string, definition: Companion.Definition): Resource =>
  isWanting(resource, name, definition)
    ? {
        ...resource,
        ...declareIndexes(
          resource,
          { name: "", primaryKey: "", attributes: [], companions: { [name]: definition } },
          { isNew: false, mayReplace: false }
        )
      }
    : resource

/**
 * Tells which partition, companion or unique key would write what is secret into keys, if any: one that is declared, or that writers keep
 * up since another version declared it, by a field that is secret in the declaration; or one that is declared anew by a
 * field that is secret in a later version.
 *
 * @category getters
 * @since 0.1.0
 */
export const exposed = (catalog: Catalog, declaration: Declaration): string | undefined => {
  const { attributes, companions = {}, name, partitions = {}, uniques = {} } = declaration
  const resource = Object.hasOwn(catalog.resources, name) ? catalog.resources[name] : undefined
  const known = pathsOfIndexes(resource ?? {})
  const asEntry = <D>(definition: D) => ({ definition })
  const declared = pathsOfIndexes({
    partitions: mapValues(partitions, asEntry),
    companions: mapValues(companions, asEntry),
    uniques: mapValues(uniques, asEntry)
  })
  for (const [label, paths] of new Map([...known, ...declared])) {
    const why = exposedBy(attributes, paths)
    if (why !== undefined) return `${label} of ${name} names ${why}: ${remedy}`
  }
  const current = resource === undefined ? undefined : versionWith(resource, declaration, hash(declaration))
  for (const [version, later] of Object.entries(resource?.versions ?? {})) {
    if (current === undefined || versionNumber(version) <= versionNumber(current)) continue
    for (const [label, paths] of declared) {
      const why = known.has(label) ? undefined : exposedBy(later.attributes, paths)
      if (why !== undefined)
        return `${label} of ${name} names ${why} since version ${versionNumber(version)}: ${remedy}`
    }
  }
  return undefined
}

const remedy =
  "keys are in clear. Take the field out of it and run backfill, or remove it first (admin.removePartition, admin.removeUnique) by a program in which the field is not secret"

const exposedBy = (
  attributes: ReadonlyArray<Attribute>,
  paths: ReadonlyArray<ReadonlyArray<string>>
): string | undefined => {
  for (const path of paths) {
    const hidden = hiddenAt(attributes, path)
    if (hidden !== undefined) return `${path.join(".")}, ${describeHidden(hidden)}`
  }
  return undefined
}

/** What each index writes into keys, by what it is called. */
const pathsOfIndexes = ({
  companions = {},
  partitions = {},
  uniques = {}
}: {
  readonly companions?: Readonly<Record<string, { readonly definition: Companion.Definition }>> | undefined
  readonly partitions?: Readonly<Record<string, { readonly definition: Partition.Definition }>> | undefined
  readonly uniques?: Readonly<Record<string, { readonly definition: Unique.Definition }>> | undefined
}): ReadonlyMap<string, ReadonlyArray<ReadonlyArray<string>>> => {
  const paths = new Map<string, ReadonlyArray<ReadonlyArray<string>>>()
  for (const [name, { definition }] of Object.entries(partitions)) {
    paths.set(`partition ${name}`, Partition.pathsOf(definition))
  }
  for (const [name, { definition }] of Object.entries(companions)) paths.set(`companion ${name}`, definition.fields)
  for (const [name, { definition }] of Object.entries(uniques)) {
    // What is blind shows nothing.
    paths.set(`unique key ${name}`, definition.blind === true ? [] : definition.fields)
  }
  return paths
}

/**
 * Returns the catalog with the declaration added as a new version (`v1` for a new resource) and an id for each
 * attribute that has none yet. Existing versions and ids stay as they are.
 *
 * @category combinators
 * @since 0.1.0
 */
export const register = (catalog: Catalog, declaration: Declaration, hash: string, createdAt: string): Catalog => {
  const before: Resource = Object.hasOwn(catalog.resources, declaration.name)
    ? catalog.resources[declaration.name]!
    : { currentVersion: "", nextAttribute: catalog.firstAttribute ?? 0, attributes: {}, versions: {} }
  const attributes: Record<string, typeof AttributeEntry.Type> = { ...before.attributes }
  const known = new Set(Object.values(attributes).map(attributeName))
  let nextAttribute = before.nextAttribute
  for (const { path, codec } of declaration.attributes) {
    if (known.has(attributeName({ path, codec }))) continue
    attributes[nextAttribute.toString(36)] = { path, codec }
    nextAttribute += 1
  }
  const isNew = before.currentVersion === ""
  const existing = versionWith(before, declaration, hash)
  const version = existing ?? `v${declaration.version ?? newestVersion(before.versions) + 1}`
  const indexes = declareIndexes(before, declaration, {
    isNew,
    // One that comes back declares what it lacks, and leaves what newer ones have declared otherwise.
    mayReplace: existing === undefined || existing === before.currentVersion
  })
  return {
    ...catalog,
    resources: {
      ...catalog.resources,
      [declaration.name]: {
        ...(before.plugins === undefined ? {} : { plugins: before.plugins }),
        ...indexes,
        // One that comes back, to declare again what was removed, is no newer for that.
        currentVersion: existing === undefined ? version : before.currentVersion,
        nextAttribute,
        attributes,
        ...(isBegun(before, declaration) ? { bodies: before.bodies ?? bodies } : {}),
        versions: {
          ...before.versions,
          [version]: before.versions[version] ?? {
            hash,
            primaryKey: declaration.primaryKey,
            attributes: declaration.attributes,
            ...(declaration.portable === undefined ? {} : { definition: declaration.portable }),
            createdAt
          }
        }
      }
    }
  }
}

interface Entry<D> extends Omit<typeof UniqueEntry.Type, "definition"> {
  readonly definition: D
}
type Entries<D = Json> = Readonly<Record<string, Entry<D>>>

/**
 * Declared ones are added to those there are. One that is declared otherwise has to be built anew, under another label: what
 * there is of the one before is to be removed.
 */
const declareIndexes = (
  before: Resource,
  { attributes, companions = {}, partitions = {}, uniques = {} }: Declaration,
  { isNew, mayReplace }: { readonly isNew: boolean; readonly mayReplace: boolean }
): Pick<Resource, "partitions" | "companions" | "uniques" | "builds" | "removals" | "companionRemovals"> => {
  const isReplaced = (kind: IndexKind, name: string, definition: Json): boolean => {
    const old = hasEntry(before, kind, name) ? before[kind]?.[name] : undefined
    if (old === undefined || isSame(old.definition, definition)) return false
    // They count by themselves.
    if (kind === "companions")
      return (companions[name]?.version ?? 0) > (before.companions?.[name]?.definition.version ?? 0)
    const [paths = []] = pathsOfIndexes({ [kind]: { [name]: old } }).values()
    return mayReplace || exposedBy(attributes, paths) !== undefined
  }
  const kinds = [
    ["partitions", partitions] as const,
    ["companions", companions] as const,
    ["uniques", uniques] as const
  ]
  const replaced = kinds.flatMap(([kind, declared]) =>
    Object.entries(declared)
      .filter(([name, definition]: readonly [string, Json]) => isReplaced(kind, name, definition))
      .map(([name]) => removalOf(kind, name, before[kind]?.[name]))
  )
  const builds = (before.builds ?? 0) + (replaced.length > 0 ? 1 : 0)
  const build = builds === 0 ? {} : { build: builds }
  const state = isNew ? "ready" : "building"
  const added = <D extends Json>(kind: IndexKind, old: Entries<D> = {}, declared: Readonly<Record<string, D>>) => {
    const entries: Record<string, Entry<D>> = { ...old }
    for (const [name, definition] of Object.entries(declared)) {
      if (!hasEntry(before, kind, name) || isReplaced(kind, name, definition)) {
        entries[name] = { definition, state, ...build }
      }
    }
    return Object.keys(entries).length === 0 ? undefined : entries
  }
  const [withPartitions, withCompanions, withUniques] = [
    added("partitions", before.partitions, partitions),
    added("companions", before.companions, companions),
    added("uniques", before.uniques, uniques)
  ]
  return {
    ...(withPartitions === undefined ? {} : { partitions: withPartitions }),
    ...(withCompanions === undefined ? {} : { companions: withCompanions }),
    ...(withUniques === undefined ? {} : { uniques: withUniques }),
    ...(builds === 0 ? {} : { builds }),
    ...withRemovals([...removalsOf(before), ...replaced])
  }
}

const hasEntry = (resource: Resource, kind: IndexKind, name: string): boolean =>
  resource[kind] !== undefined && Object.hasOwn(resource[kind], name)

const removalOf = (kind: IndexKind, name: string, entry: Pick<Entry<Json>, "build" | "keys"> = {}): Removal => ({
  kind,
  name,
  ...(entry.build === undefined ? {} : { build: entry.build }),
  ...(entry.keys === undefined ? {} : { keys: entry.keys.map(({ id }) => id) })
})

/**
 * Returns the catalog with another state of a resource; the same reference if it is the same.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withResource = (catalog: Catalog, name: string, after: Resource): Catalog =>
  catalog.resources[name] === after ? catalog : { ...catalog, resources: { ...catalog.resources, [name]: after } }

/**
 * Returns a resource without a partition, companion or unique key, which is still to be removed; the same reference if it has none.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withoutIndex = (resource: Resource, kind: IndexKind, name: string): Resource => {
  if (!hasEntry(resource, kind, name)) return resource
  const { [name]: entry, ...others }: Entries = resource[kind] ?? {}
  const { companions, ...rest } = resource
  // A release that knows no companions can go on where there are none any more.
  const isLast = kind === "companions" && Object.keys(others).length === 0
  return {
    ...rest,
    ...(companions === undefined || isLast ? {} : { companions }),
    ...(isLast ? {} : { [kind]: others }),
    builds: (resource.builds ?? 0) + 1,
    ...withRemovals([...removalsOf(resource), removalOf(kind, name, entry)])
  }
}

/**
 * Returns the number of the current version of a resource, if it declares a partition or unique key.
 *
 * @category getters
 * @since 0.1.0
 */
export const declaringVersion = (resource: Resource, kind: IndexKind, name: string): number | undefined => {
  const definition = resource.versions[resource.currentVersion]?.definition
  const declared = isRecord(definition) ? definition[kind] : undefined
  return isRecord(declared) && Object.hasOwn(declared, name) ? versionNumber(resource.currentVersion) : undefined
}

/**
 * Returns a resource of whose indexes that are not kept up nothing is left but others than these.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withoutRemovals = (resource: Resource, done: ReadonlyArray<Removal>): Resource => {
  const isDone = (one: Removal) =>
    done.some(({ build, kind, name }) => one.kind === kind && one.name === name && one.build === build)
  const { companionRemovals: _, removals: __, ...rest } = resource
  const all = removalsOf(resource)
  const left = all.filter((one) => !isDone(one))
  return left.length === all.length ? resource : { ...rest, ...withRemovals(left) }
}

/**
 * Returns the catalog with other keys for a blind unique key, as long as it is defined like that.
 *
 * @category combinators
 * @since 0.1.0
 */
export const setUniqueKeys = (
  catalog: Catalog,
  resource: string,
  name: string,
  definition: Unique.Definition,
  change: (keys: ReadonlyArray<UniqueKey>) => ReadonlyArray<UniqueKey>
): Catalog => {
  const before = Object.hasOwn(catalog.resources, resource) ? catalog.resources[resource] : undefined
  const entry = before?.uniques !== undefined && Object.hasOwn(before.uniques, name) ? before.uniques[name] : undefined
  if (before === undefined || entry === undefined || !isSame(entry.definition, definition)) return catalog
  const { keys: had = [] } = entry
  const keys = change(had)
  if (keys === had) return catalog
  const uniques = { ...before.uniques, [name]: { ...entry, keys } }
  return { ...catalog, resources: { ...catalog.resources, [resource]: { ...before, uniques } } }
}

/**
 * Returns the catalog with what a plugin registers, for one resource or for the database, or, with `undefined`, without it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const setPlugin = (
  catalog: Catalog,
  plugin: string,
  value: Json | undefined,
  resource: string | undefined
): Catalog => {
  const { [plugin]: old, ...others } = pluginsOf(catalog, resource)
  if (JSON.stringify(old) === JSON.stringify(value)) return catalog
  const plugins = value === undefined ? others : { ...others, [plugin]: value }
  if (resource === undefined) return { ...catalog, plugins }
  const before = Object.hasOwn(catalog.resources, resource) ? catalog.resources[resource] : undefined
  return before === undefined
    ? catalog
    : { ...catalog, resources: { ...catalog.resources, [resource]: { ...before, plugins } } }
}

/**
 * Returns what plugins have registered, for one resource or for the database, by the name of the plugin.
 *
 * @category getters
 * @since 0.1.0
 */
export const pluginsOf = ({ plugins = {}, resources }: Catalog, resource: string | undefined): Registrations => {
  if (resource === undefined) return plugins
  return Object.hasOwn(resources, resource) ? (resources[resource]?.plugins ?? {}) : {}
}

/**
 * Returns the catalog with another version of a resource as the one that counts.
 *
 * @category combinators
 * @since 0.1.0
 */
export const makeCurrent = (catalog: Catalog, resource: string, version: number): Catalog => {
  const before = Object.hasOwn(catalog.resources, resource) ? catalog.resources[resource] : undefined
  const currentVersion = `v${version}`
  if (before === undefined || before.currentVersion === currentVersion) return catalog
  if (!Object.hasOwn(before.versions, currentVersion)) return catalog
  return { ...catalog, resources: { ...catalog.resources, [resource]: { ...before, currentVersion } } }
}

// -----------------------------------------------------------------------------
// What writers keep up
// -----------------------------------------------------------------------------

/**
 * What every writer of a resource keeps up, whatever its own definition says: the partitions, companions and unique keys that are
 * listed, and what the current version asks for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Upkeep extends Pick<Resource, "partitions" | "companions" | "uniques" | "versions"> {
  /** Those of which something is still to be removed; `undefined` where there is none. */
  readonly removals?: ReadonlyArray<Removal>
  /** What the current version asks for; `undefined` when it was registered without a portable definition. */
  readonly settings: UpkeepSettings | undefined
  /** Whether any version has had a journal. */
  readonly wasJournaled: boolean
  /** Why this release cannot keep all of it up, if it cannot. */
  readonly beyond: string | undefined
  /** The same as long as the same has to be kept up, whatever the states of indexes. */
  readonly text: string
}

/**
 * The settings of a definition that concern every writer.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpkeepSettings {
  readonly history: boolean
  readonly content: boolean
  readonly counters: { readonly partitions: ReadonlyArray<string>; readonly shards: number } | undefined
  /** What the entries of the journal carry along; `undefined`: the resource has none. */
  readonly journal: { readonly images: "none" | "after" | "both"; readonly context: boolean } | undefined
  /** Milliseconds. */
  readonly uniqueLease: number
}

/** The part of a portable definition that concerns every writer; see `Portable`. */
const decodeDeclared = Schema.decodeUnknownResult(
  Schema.Struct({
    format: Schema.Literal(1),
    flags: Schema.optionalKey(
      Schema.Array(Schema.Literals(["history", "content", "scan", "timestamps", "userstamps", "guarded", "journal"]))
    ),
    counters: Schema.optionalKey(
      Schema.Struct({
        partitions: Schema.Array(Schema.String),
        shards: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 }))
      })
    ),
    journal: Schema.optionalKey(
      Schema.Union([
        Schema.Struct({ images: Schema.Literals(["none", "after", "both"]), context: Schema.Boolean }),
        Schema.Literal(false)
      ])
    ),
    uniqueLease: Schema.optionalKey(Schema.Number)
  })
)

const upkeeps = new WeakMap<Resource, Upkeep>()

/**
 * Returns what writers of a resource keep up; nothing where the catalog has no such resource. The same reference as long as
 * the catalog is the same.
 *
 * @category getters
 * @since 0.1.0
 */
export const upkeepOf = ({ resources }: Catalog, name: string): Upkeep | undefined => {
  const resource = Object.hasOwn(resources, name) ? resources[name] : undefined
  if (resource === undefined) return undefined
  const known = upkeeps.get(resource)
  if (known !== undefined) return known
  const { settings, problem } = declaredBy(resource)
  const later = (resource.bodies ?? 0) > bodies ? `form ${resource.bodies} of bodies` : undefined
  const unknown = problem ?? unknownMembers.get(resource) ?? unknownIndex(resource) ?? later
  const { companions = {}, partitions = {}, uniques = {} } = resource
  const removals = removalsOf(resource)
  const definitions = (entries: Entries) =>
    Object.entries(entries)
      .map(([label, { build = 0, definition }]) => [label, canonical(definition), build])
      .toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1))
  const upkeep: Upkeep = {
    ...(resource.partitions === undefined ? {} : { partitions }),
    ...(resource.uniques === undefined ? {} : { uniques }),
    ...(resource.companions === undefined ? {} : { companions }),
    ...(removals.length === 0 ? {} : { removals }),
    versions: resource.versions,
    settings,
    wasJournaled: Object.values(resource.versions).some(({ definition }) => {
      const flags = isRecord(definition) ? definition["flags"] : undefined
      return Array.isArray(flags) && flags.includes("journal")
    }),
    beyond:
      unknown === undefined
        ? undefined
        : `the catalog asks for what this release does not know of ${name} (${unknown}); upgrade effect-s3db to write its documents`,
    text: JSON.stringify([
      definitions(partitions),
      definitions(uniques),
      keysOf(uniques),
      settings ?? null,
      definitions(companions)
    ])
  }
  upkeeps.set(resource, upkeep)
  return upkeep
}

/** The keys of blind unique keys, all of which writers keep up. */
const keysOf = (uniques: NonNullable<Resource["uniques"]>): Json =>
  Object.entries(uniques)
    .flatMap(([name, { build, keys = [] }]) => keys.map(({ id }) => Unique.nameUnder(labelOf(name, build), id)))
    .toSorted()

const declaredBy = (
  resource: Resource
): { readonly settings: UpkeepSettings | undefined; readonly problem: string | undefined } => {
  const definition = resource.versions[resource.currentVersion]?.definition
  // Whoever registers without a portable definition asks for nothing.
  if (!isRecord(definition) || !("format" in definition)) return { settings: undefined, problem: undefined }
  const decoded = decodeDeclared(definition)
  if (Result.isFailure(decoded)) return { settings: undefined, problem: "the definition of its current version" }
  const { counters, flags = [], uniqueLease = Unique.defaultLeaseMillis } = decoded.success
  const settings = {
    history: flags.includes("history"),
    content: flags.includes("content"),
    counters,
    journal: journalOf(resource),
    uniqueLease
  }
  return { settings, problem: undefined }
}

/** A journal that was begun is kept until a version says that it ends: a program that does not know of it must not end it. */
const journalOf = ({ currentVersion, versions }: Resource): UpkeepSettings["journal"] => {
  for (let number = versionNumber(currentVersion); number >= 0; number--) {
    const declared = decodeDeclared(versions[`v${number}`]?.definition)
    if (Result.isFailure(declared)) continue
    const { flags = [], journal } = declared.success
    if (journal === false) return undefined
    if (flags.includes("journal")) return journal ?? { images: "none", context: false }
  }
  return undefined
}

/** An index that this release cannot make the keys of. */
const unknownIndex = ({ attributes, companions = {}, partitions = {} }: Resource): string | undefined => {
  const fields = new Set(Object.values(attributes).map(({ path }) => path.join(".")))
  for (const [label, { definition }] of Object.entries(partitions)) {
    const unknown = Partition.unknownOf(definition, (path) => fields.has(path.join(".")))
    if (unknown !== undefined) return `${unknown} of partition ${label}`
  }
  for (const [label, { definition }] of Object.entries(companions)) {
    const unknown = Companion.unknownOf(definition, (path) => fields.has(path.join(".")))
    if (unknown !== undefined) return `${unknown} of companion ${label}`
  }
  return undefined
}

const attributeName = (entry: { readonly path: ReadonlyArray<string>; readonly codec: Codec }): string =>
  JSON.stringify([entry.path, entry.codec])

/**
 * Something that happened to the catalog since the database was opened.
 *
 * - `ResourceCreated`, `ResourceChanged`: a definition was registered by this process. Paths are joined with `.`.
 * - `CatalogHealed`: the catalog was damaged and could be mended; its bytes are kept under `savedAs`.
 * - `CatalogRestored`: the catalog was missing or beyond repair; the backup was put in its place.
 * - `CatalogReplaced`: it was beyond repair and there was no backup; the database starts with a blank one.
 *
 * @category models
 * @since 0.1.0
 */
export const Event = Schema.TaggedUnion({
  ResourceCreated: { resource: Schema.String, version: Schema.Int },
  ResourceChanged: {
    resource: Schema.String,
    from: Schema.Int,
    to: Schema.Int,
    added: Schema.Array(Schema.String),
    removed: Schema.Array(Schema.String),
    changed: Schema.Array(Schema.String)
  },
  CatalogHealed: { repairs: Schema.Array(Schema.String), savedAs: Schema.String },
  CatalogRestored: { savedAs: Schema.optionalKey(Schema.String) },
  CatalogReplaced: { savedAs: Schema.String }
})

/**
 * Something that happened to the catalog since the database was opened.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = typeof Event.Type

/**
 * Tells what a registration has changed of a resource.
 *
 * @category getters
 * @since 0.1.0
 */
export const eventOf = (before: Catalog, after: Catalog, name: string): Event => {
  const now = after.resources[name]!
  if (!Object.hasOwn(before.resources, name)) {
    return Event.make({ _tag: "ResourceCreated", resource: name, version: versionNumber(now.currentVersion) })
  }
  const then = before.resources[name]!
  const attributesOf = (resource: Resource) =>
    new Map(
      resource.versions[resource.currentVersion]!.attributes.map((attribute) => [
        attribute.path.join("."),
        JSON.stringify(attribute)
      ])
    )
  const old = attributesOf(then)
  const current = attributesOf(now)
  return Event.make({
    _tag: "ResourceChanged",
    resource: name,
    from: versionNumber(then.currentVersion),
    to: versionNumber(now.currentVersion),
    added: [...current.keys()].filter((path) => !old.has(path)),
    removed: [...old.keys()].filter((path) => !current.has(path)),
    changed: [...current].filter(([path, text]) => old.has(path) && old.get(path) !== text).map(([path]) => path)
  })
}
