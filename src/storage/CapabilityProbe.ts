/**
 * Finds out by trying what a store honours. Stores differ, and some accept a condition and ignore it: believing one of
 * those loses writes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { compareUtf8 } from "../internal/text.ts"
import {
  Capabilities,
  listAll,
  maxMetadataBytes,
  maxMetadataHeaderBytes,
  type Metadata,
  metadataHeaderOverhead,
  type ObjectStore,
  type PutRequest
} from "./ObjectStore.ts"
import { StoreError, Unsupported } from "./StoreError.ts"

type Store = ObjectStore["Service"]

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

/**
 * Whether a conditional request was refused because of its condition: `true` when it was, `false` when it was carried
 * out, `undefined` when the store does not know the condition.
 */
const refusal = <A>(request: Effect.Effect<A, StoreError>): Effect.Effect<boolean | undefined, StoreError> =>
  request.pipe(
    Effect.as<boolean | undefined>(false),
    Effect.catchReasons("StoreError", {
      PreconditionFailed: () => Effect.succeed(true),
      NoSuchKey: () => Effect.succeed(true),
      ConditionalRequestConflict: () => Effect.succeed(true),
      Unsupported: () => Effect.succeed(undefined),
      InvalidArgument: () => Effect.succeed(undefined)
    })
  )

/**
 * Tries conditions, metadata (names, characters, sizes, numbers), and how keys are listed and in which order, on scratch
 * objects below `s3db-probe/`, which it removes, and tells the store what it has found (`adopt`).
 *
 * **Details**
 *
 * 50 requests on a store like AWS, a few more on others. Fails with any `StoreError` other than a refusal of what was
 * tried, such as `AccessDenied`; with `Unsupported` (`listing`) when what was written is not listed, in no encoding that is
 * known here. It tries nothing again, so give it a store that retries: some stores limit how often a
 * key is written (R2: once in a second), and some answer a race with a passing error (Ceph's gateway 16: 500).
 *
 * A race of five shows a store that checks first and writes later with high probability, not with certainty.
 *
 * @category getters
 * @since 0.1.0
 */
export const probe = Effect.fn("CapabilityProbe.probe")(function* (
  probed: Store
): Effect.fn.Return<Capabilities, StoreError> {
  const root = `s3db-probe/${yield* Id.randomOf(12)}/`
  const { cleanUp, store } = remembering(probed)
  return yield* Effect.gen(function* () {
    const createIfAbsent = yield* probeCreate(store, root)
    const etagForm = yield* probeReplace(store, root)
    const capabilities: Capabilities = {
      createIfAbsent,
      compareAndSet: etagForm !== undefined,
      etagForm: etagForm ?? "quoted",
      conditionalDelete: yield* probeDelete(store, root),
      conditionalCopy: yield* probeCopy(store, root),
      ...(yield* probeMetadata(store, root)),
      ...(yield* probeListing(store, root))
    }
    yield* store.adopt(capabilities)
    return capabilities
  }).pipe(Effect.ensuring(Effect.ignore(cleanUp)))
})

/** A store that remembers the keys that were written, since not every listing shows them. */
const remembering = (store: Store) => {
  const keys = new Set<string>()
  const noting = <A>(key: string, request: Effect.Effect<A, StoreError>) =>
    Effect.suspend(() => {
      keys.add(key)
      return request
    })
  const noted: Store = {
    ...store,
    put: (request) => noting(request.key, store.put(request)),
    copy: (request) => noting(request.to, store.copy(request))
  }
  return { store: noted, cleanUp: Effect.suspend(() => store.deleteMany([...keys], { repeatable: true })) }
}

const racers = ["a", "b", "c", "d", "e"]

/** Of several concurrent writers under one condition exactly one must win, and the object must be the winner's. */
const race = Effect.fnUntraced(function* (
  store: Store,
  key: string,
  condition: Pick<PutRequest, "ifMatch" | "ifNoneMatch">
) {
  const refused = yield* Effect.forEach(
    racers,
    (racer) => refusal(store.put({ key, body: text(`${key} ${racer}`), ...condition })),
    { concurrency: "unbounded" }
  )
  const winners = racers.filter((_, i) => refused[i] === false)
  if (winners.length !== 1) return false
  const { body } = yield* store.get(key)
  return new TextDecoder().decode(body) === `${key} ${winners[0]}`
})

const probeCreate = Effect.fnUntraced(function* (store: Store, root: string) {
  const key = `${root}create`
  const create = (body: string) => refusal(store.put({ key, body: text(body), ifNoneMatch: "*" }))
  const first = yield* create("first")
  const second = yield* create("second")
  return first === false && second === true && (yield* race(store, `${root}create-race`, { ifNoneMatch: "*" }))
})

/** A stale ETag must be refused and the present one accepted, in one of the two ways of writing it; also in a race. */
const probeReplace = Effect.fnUntraced(function* (store: Store, root: string) {
  for (const etagForm of ["quoted", "unquoted"] as const) {
    yield* store.adopt({ ...unproven, etagForm })
    const key = `${root}replace-${etagForm}`
    const { etag: stale } = yield* store.put({ key, body: text("1"), repeatable: true })
    const { etag } = yield* store.put({ key, body: text("2"), repeatable: true })
    const refused = yield* refusal(store.put({ key, body: text("stale"), ifMatch: stale }))
    const accepted = yield* refusal(store.put({ key, body: text("fresh"), ifMatch: etag }))
    if (refused !== true || accepted !== false) continue
    const raced = `${key}-race`
    const { etag: start } = yield* store.put({ key: raced, body: text("start"), repeatable: true })
    if (yield* race(store, raced, { ifMatch: start })) return etagForm
  }
  yield* store.adopt(unproven)
  return undefined
})

const unproven: Capabilities = {
  createIfAbsent: false,
  compareAndSet: false,
  etagForm: "quoted",
  conditionalDelete: false,
  conditionalCopy: false,
  metadataBytes: maxMetadataBytes,
  orderedList: false
}

const probeDelete = Effect.fnUntraced(function* (store: Store, root: string) {
  const key = `${root}delete`
  const { etag: stale } = yield* store.put({ key, body: text("1"), repeatable: true })
  const { etag } = yield* store.put({ key, body: text("2"), repeatable: true })
  const refused = yield* refusal(store.delete(key, { ifMatch: stale }))
  const accepted = yield* refusal(store.delete(key, { ifMatch: etag }))
  return refused === true && accepted === false
})

const probeCopy = Effect.fnUntraced(function* (store: Store, root: string) {
  const from = `${root}source`
  const { etag: stale } = yield* store.put({ key: from, body: text("1"), repeatable: true })
  const { etag } = yield* store.put({ key: from, body: text("2"), repeatable: true })
  const refused = yield* refusal(store.copy({ from, to: `${root}copy`, ifSourceMatch: stale }))
  const accepted = yield* refusal(store.copy({ from, to: `${root}copy`, ifSourceMatch: etag }))
  return refused === true && accepted === false
})

type MetadataLimits = Pick<
  Capabilities,
  "metadataBytes" | "metadataEntryBytes" | "metadataEntries" | "metadataHeaderBytes" | "metadataKept"
>

/** Names and characters as documents have them, whatever their encoding: a store may know fewer, or change some. */
const usualMetadata: Metadata = {
  "s-": "t1",
  "s-d": '{"t":1700000000000,"p":["Ab-_9"],"l":[1,2,"z"]}',
  "0": `${String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 0x21 + i))} x y`,
  "3k": "u:%C3%A9",
  p: "!"
}

const probeMetadata = Effect.fnUntraced(function* (
  store: Store,
  root: string
): Effect.fn.Return<MetadataLimits, StoreError> {
  const key = (name: string) => `${root}metadata-${name}`
  const keeps = (name: string, metadata: Metadata) => comesBack(store, key(name), metadata)
  const usual = yield* keeps("usual", usualMetadata)
  if (!usual || !isSame((yield* store.get(key("usual"))).metadata, usualMetadata)) {
    return { metadataBytes: 0, metadataKept: false }
  }
  const metadataBytes = yield* greatest(maxMetadataBytes, (bytes) => keeps(`${bytes}`, metadataOf(bytes)))
  const entryBytes = yield* greatest(metadataBytes, (bytes) =>
    keeps(`entry-${bytes}`, { a: "x".repeat(Math.max(0, bytes - 1)) })
  )
  return {
    metadataBytes,
    ...(entryBytes === metadataBytes ? {} : { metadataEntryBytes: entryBytes }),
    ...(yield* probeHeaders((name, metadata) => keeps(name, metadata), metadataBytes))
  }
})

/** More entries than any document has: each takes 30 bytes of the request's headers at least. */
const manyEntries = Math.ceil(maxMetadataHeaderBytes / (metadataHeaderOverhead(1) + 2)) + 1

/** Servers and what is before them limit the number of headers, or what they take together; names count twice there. */
const probeHeaders = Effect.fnUntraced(function* (
  keeps: (name: string, metadata: Metadata) => Effect.Effect<boolean, StoreError>,
  metadataBytes: number
): Effect.fn.Return<Pick<Capabilities, "metadataEntries" | "metadataHeaderBytes">, StoreError> {
  const accepted = yield* greatest(manyEntries, (count) => keeps(`entries-${count}`, smallEntries(count)))
  if (accepted === manyEntries) return {}
  // A request of a document has some headers that this one has not.
  const metadataEntries = Math.max(0, accepted - 2)
  const smallEntry = metadataHeaderOverhead(2) + 3
  const longEntry = metadataHeaderOverhead(longName) + longName + 1
  const count = Math.min(accepted, Math.ceil(maxMetadataHeaderBytes / longEntry))
  if (metadataBytes < maxMetadataBytes || (yield* keeps("headers", longNames(count)))) return { metadataEntries }
  const largest = metadataBytes + Object.keys(metadataOf(metadataBytes)).length * metadataHeaderOverhead(1)
  return { metadataEntries, metadataHeaderBytes: Math.max(metadataEntries * smallEntry, largest - 2 * smallEntry) }
})

const longName = 110

const smallEntries = (count: number): Metadata =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [(36 + i).toString(36), "1"]))

const longNames = (count: number): Metadata =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [(36 + i).toString(36).padEnd(longName, "0"), "1"]))

/** The greatest number, up to `most`, for which something holds that holds for all smaller ones. */
const greatest = Effect.fnUntraced(function* (
  most: number,
  holds: (number: number) => Effect.Effect<boolean, StoreError>
): Effect.fn.Return<number, StoreError> {
  if (yield* holds(most)) return most
  let [low, high] = [0, most]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (yield* holds(middle)) low = middle
    else high = middle
  }
  return low
})

const isSame = (found: Metadata, sent: Metadata): boolean =>
  Object.keys(sent).every((name) => found[name] === sent[name])

/** Whether an object is taken with this metadata, and shows it. Each try has a key of its own. */
const comesBack = Effect.fnUntraced(function* (store: Store, key: string, metadata: Metadata) {
  const stored = yield* store.put({ key, metadata, repeatable: true }).pipe(
    Effect.as(true),
    Effect.catchIf(
      (error) => !error.isRetryable && error.reason._tag !== "AccessDenied" && error.reason._tag !== "NoSuchBucket",
      () => Effect.succeed(false)
    )
  )
  return stored && isSame((yield* store.head(key)).metadata, metadata)
})

const metadataOf = (bytes: number): Record<string, string> => {
  const metadata: Record<string, string> = {}
  let left = bytes
  for (let i = 0; left > 2; i++) {
    const name = String.fromCharCode(97 + i)
    const size = left <= 250 ? left : Math.min(248, left - 3)
    metadata[name] = "x".repeat(size - 1)
    left -= size
  }
  return metadata
}

/**
 * Names whose order differs when it is not that of UTF-8 bytes (locale, UTF-16, directories first), and which are not themselves
 * when they are encoded or decoded once too often.
 */
const listedNames = ["a", "a b", "a/", "a/b", "a-b", "B", "b", "\u00e9", "\uff5e", "\u{1f600}", "z=1+2%2F%253D"]

/** As the answer says; else what is known to be found instead. */
const listedForms = [undefined, ...Capabilities.fields.listedKeys.schema.literals]

/**
 * Whether what was written is listed, in which form, and in the order of UTF-8 bytes. A listing that is wrong in every form
 * is no listing: everything that is read through it would be incomplete.
 */
const probeListing = Effect.fnUntraced(function* (store: Store, root: string) {
  const prefix = `${root}list/`
  const keys = listedNames.map((name) => prefix + name).toSorted(compareUtf8)
  const refused = yield* Effect.forEach(keys, (key) => refusal(store.put({ key, repeatable: true })), {
    concurrency: 4
  })
  const written = keys.filter((_, i) => refused[i] === false)
  let problem: string | undefined
  for (const listedKeys of listedForms) {
    yield* store.adopt(listedKeys === undefined ? unproven : { ...unproven, listedKeys })
    const listed = yield* listing(store, { prefix })
    problem ??= listed.problem ?? difference(written, listed.keys)
    if (listed.problem !== undefined || difference(written, listed.keys) !== undefined) continue
    const isOrdered = areSame(listed.keys, keys) && (yield* startsAfter(store, prefix, keys))
    return { orderedList: isOrdered, ...(listedKeys === undefined ? {} : { listedKeys }) }
  }
  const description = `${store.location} cannot be listed, so that nothing stored there could be found: ${problem}; use the endpoint of the store itself, without a proxy that alters answers, or another store`
  return yield* new StoreError({ operation: "list", reason: new Unsupported({ feature: "listing", description }) })
})

/** The keys that are listed, or what is wrong with the listing. */
const listing = (store: Store, request: { readonly prefix: string; readonly startAfter?: string }) =>
  Stream.runCollect(listAll(store, request)).pipe(
    Effect.map((entries) => ({ keys: entries.map((entry) => entry.key), problem: undefined })),
    Effect.catchReason("StoreError", "Unexpected", ({ description }) =>
      Effect.succeed({ keys: [], problem: description })
    )
  )

const areSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) =>
  a.length === b.length && a.every((key, i) => key === b[i])

/** What is not as it was written. Some stores take a key that ends in `/` for a directory; none is ever written here. */
const difference = (written: ReadonlyArray<string>, listed: ReadonlyArray<string>): string | undefined => {
  const isKey = (key: string) => !key.endsWith("/")
  const [before, after] = [written.filter(isKey), listed.filter(isKey).toSorted(compareUtf8)]
  if (areSame(before, after)) return undefined
  const other = after.find((key) => !before.includes(key))
  if (other !== undefined) return `it lists ${JSON.stringify(other)}, which was never written`
  const missing = before.find((key) => !after.includes(key))
  return missing === undefined
    ? "it lists a key twice"
    : `it does not list ${JSON.stringify(missing)}, which was written`
}

/** Whether a listing begins after the key that it is told to begin after. */
const startsAfter = Effect.fnUntraced(function* (store: Store, prefix: string, keys: ReadonlyArray<string>) {
  const half = keys.length >> 1
  const { keys: found } = yield* listing(store, { prefix, startAfter: keys[half - 1]! })
  return areSame(found, keys.slice(half))
})

/** What an object needs that tells of a deletion, the largest that cannot go to the body: two entries. */
const least = { bytes: 256, entries: 2, headerBytes: 320 }

const metadataWanting = (capabilities: Capabilities): string | undefined => {
  const { metadataBytes, metadataEntries, metadataEntryBytes = metadataBytes, metadataHeaderBytes } = capabilities
  if (capabilities.metadataKept === false) {
    return "does not give user metadata back under the names and with the characters that it was sent with"
  }
  if (Math.min(metadataBytes, metadataEntryBytes) < least.bytes) {
    return `keeps ${Math.min(metadataBytes, metadataEntryBytes)} bytes of user metadata, ${least.bytes} are needed`
  }
  if (metadataEntries !== undefined && metadataEntries < least.entries) {
    return `keeps ${metadataEntries} entries of user metadata, ${least.entries} are needed`
  }
  return metadataHeaderBytes !== undefined && metadataHeaderBytes < least.headerBytes
    ? `takes ${metadataHeaderBytes} bytes of headers for user metadata, ${least.headerBytes} are needed`
    : undefined
}

/**
 * Returns what the store honours, which is known of itself, remembered, or probed now; and whether that is enough.
 *
 * Unless `singleWriter`, a store without conditional writes fails with `Unsupported`; so does one that does not keep the
 * metadata of documents. No request when it is known or remembered.
 *
 * @category getters
 * @since 0.1.0
 */
export const ensure = Effect.fnUntraced(function* (
  store: Store,
  options: {
    readonly singleWriter: boolean
    readonly remembered?: Capabilities | undefined
  }
): Effect.fn.Return<Capabilities, StoreError> {
  const known = store.capabilities ?? options.remembered
  const capabilities = known ?? (yield* probe(store))
  if (known !== undefined) yield* store.adopt(known)
  const wanting = metadataWanting(capabilities)
  if (wanting !== undefined) {
    const description =
      `${store.location} ${wanting}. Documents are kept there: use another store, or see that whatever is between here and ` +
      `the store passes headers on as they are`
    return yield* new StoreError({
      operation: "open",
      reason: new Unsupported({ feature: "user metadata", description })
    })
  }
  if (!options.singleWriter && !(capabilities.createIfAbsent && capabilities.compareAndSet)) {
    const lacking = [
      capabilities.createIfAbsent ? [] : ["If-None-Match"],
      capabilities.compareAndSet ? [] : ["If-Match"]
    ].flat()
    const description =
      `${store.location} does not honour ${lacking.join(" and ")} on PUT, so that concurrent writers would overwrite ` +
      `each other; use another store, or, if no other process ever writes to it, singleWriter: true`
    return yield* new StoreError({
      operation: "put",
      reason: new Unsupported({ feature: "conditional writes", description })
    })
  }
  return capabilities
})
