/** A vault: where the blobs of backups are written, and read again by their names. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Base64 from "effect/encoding/Base64"
import * as Id from "../../../crypto/Id.ts"
import type * as KeyRing from "../../../crypto/KeyRing.ts"
import * as BlobCodec from "../../../kernel/BlobCodec.ts"
import { getOption, listAll, type ObjectStore } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"
import * as format from "./format.ts"

/** So many bytes of objects are in a pack, about. */
export const packBytes = 4 * 1024 * 1024

/** The most that a pack holds: the largest object, which is in one of its own if it is larger than others together. */
const mostBytes = 1024 * 1024 * 1024

const packsKept = 8
const saltBytes = 16

export interface Vault {
  readonly store: ObjectStore["Service"]
  readonly packs: BlobCodec.BlobCodec<Uint8Array>
  readonly indexes: BlobCodec.BlobCodec<ReadonlyArray<typeof format.IndexRow.Type>>
  readonly manifests: BlobCodec.BlobCodec<format.Manifest>
  readonly unfinished: BlobCodec.BlobCodec<format.Unfinished>
}

const storeError = (operation: "get" | "put" | "open", key: string) => (reason: StoreError.Reason) =>
  new StoreError.StoreError({ operation, key, reason })

const decodeVault = Schema.decodeUnknownEffect(Schema.fromJsonString(format.Vault))
const textOf = (body: Uint8Array) => new TextDecoder().decode(body)

/** Reads what a vault says of itself. `None`: there is none. */
const described = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const found = yield* getOption(store, format.vaultKey)
  if (Option.isNone(found)) return Option.none()
  const corrupt = new StoreError.Corrupt({ description: "it is no vault of backups, or it was altered" })
  const vault = yield* decodeVault(textOf(found.value.body)).pipe(
    Effect.mapError(() => storeError("open", format.vaultKey)(corrupt))
  )
  if (vault.format > format.version) {
    const reason = new StoreError.Unsupported({
      feature: "form",
      description: `the vault has the form ${vault.format}, and this release knows ${format.version}: read it with a later one`
    })
    return yield* storeError("open", format.vaultKey)(reason)
  }
  return Option.some(vault)
})

/** The vault that is there, or a new one. Who comes second takes what the first has written. */
const settled = Effect.fnUntraced(function* (store: ObjectStore["Service"], sealed: boolean) {
  const there = yield* described(store)
  if (Option.isSome(there)) return there.value
  const salt = Base64.encode(yield* (yield* Id.Generator).randomBytes(saltBytes))
  const made: typeof format.Vault.Type = { format: format.version, salt, sealed }
  yield* store
    .put({
      key: format.vaultKey,
      body: new TextEncoder().encode(JSON.stringify(made)),
      contentType: "application/json",
      ifNoneMatch: "*"
    })
    .pipe(Effect.catchReason("StoreError", "PreconditionFailed", () => Effect.void))
  const found = yield* described(store)
  return Option.getOrElse(found, () => made)
})

export const open = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  {
    compression = "gzip",
    keys
  }: {
    readonly compression?: BlobCodec.Compression | undefined
    readonly keys?: KeyRing.KeyRing["Service"] | undefined
  }
): Effect.fn.Return<Vault, StoreError.StoreError | KeyRing.InvalidKeyRing> {
  const { salt, sealed } = yield* settled(store, keys !== undefined)
  const refuse = (description: string) =>
    storeError("open", format.vaultKey)(new StoreError.AccessDenied({ description, status: 403 }))
  if (sealed && keys === undefined) return yield* refuse("the backups of this vault are sealed, and there are no keys")
  if (!sealed && keys !== undefined) {
    return yield* refuse("the backups of this vault are open, and there are keys: sealed ones go into another vault")
  }
  const decodedSalt = Base64.decode(salt)
  if (Result.isFailure(decodedSalt)) {
    return yield* storeError(
      "open",
      format.vaultKey
    )(new StoreError.Corrupt({ description: "the salt of the vault was altered" }))
  }
  const sealing =
    keys === undefined ? undefined : { keys: yield* keys.unlock(decodedSalt.success), scope: format.scope }
  const options = { compression, maxBytes: mostBytes, ...(sealing === undefined ? {} : { sealing }) }
  return {
    store,
    packs: BlobCodec.bytes(options),
    indexes: BlobCodec.lines(format.IndexRow, options),
    manifests: BlobCodec.json(format.Manifest, options),
    unfinished: BlobCodec.json(format.Unfinished, options)
  }
})

// -----------------------------------------------------------------------------
// Blobs
// -----------------------------------------------------------------------------

/**
 * Puts an object that is named by its content. One that is there is written again: it may be a leftover, which is young from now on, and so is
 * not taken for one before its backup is done.
 */
const put = (store: ObjectStore["Service"], key: string, body: Uint8Array) =>
  store.put({ key, body, contentType: "application/octet-stream", repeatable: true })

/**
 * The key and the kind of a blob, under which it is sealed. Packs and indexes are named by their bytes, which are made after they are
 * sealed: what they are is told by the manifest, which says their names.
 */
const written = Effect.fnUntraced(function* <A>(
  vault: Vault,
  codec: BlobCodec.BlobCodec<A>,
  kind: "packs" | "indexes",
  value: A
) {
  const body = yield* Effect.mapError(codec.encode(value, kind), storeError("put", kind))
  const name = format.nameOf(body)
  yield* put(vault.store, kind === "packs" ? format.packKey(name) : format.indexKey(name), body)
  return { name, bytes: body.length }
})

export const writePack = (vault: Vault, pack: Uint8Array) => written(vault, vault.packs, "packs", pack)

export const writeIndex = (vault: Vault, rows: ReadonlyArray<format.Row>, packs: ReadonlyArray<string>) => {
  const numbers = new Map(packs.map((name, at) => [name, at]))
  return written(
    vault,
    vault.indexes,
    "indexes",
    rows.map(({ etag, key, lastModified, length, offset, pack, size }) => ({
      k: key,
      e: etag,
      s: size,
      m: lastModified,
      p: numbers.get(pack) ?? -1,
      o: offset,
      l: length
    }))
  )
}

/** The bytes of a blob as they are stored, after their name was compared. */
export const read = Effect.fnUntraced(function* (vault: Vault, kind: "packs" | "indexes", name: string) {
  const key = kind === "packs" ? format.packKey(name) : format.indexKey(name)
  const { body } = yield* vault.store.get(key)
  if (format.nameOf(body) === name) return body
  const reason = new StoreError.Corrupt({ description: `the object was altered: its name is not the SHA-256 of it` })
  return yield* storeError("get", key)(reason)
})

export const readPack = Effect.fnUntraced(function* (vault: Vault, name: string) {
  const body = yield* read(vault, "packs", name)
  return yield* Effect.mapError(vault.packs.decode(body, "packs"), storeError("get", format.packKey(name)))
})

export const readIndex = Effect.fnUntraced(function* (
  vault: Vault,
  part: format.Part
): Effect.fn.Return<ReadonlyArray<format.Row>, StoreError.StoreError> {
  const body = yield* read(vault, "indexes", part.name)
  const wrong = storeError("get", format.indexKey(part.name))
  const all = yield* Effect.mapError(vault.indexes.decode(body, "indexes"), wrong)
  const rows: Array<format.Row> = []
  for (const { e, k, l, m, o, p, s } of all) {
    const pack = part.packs[p]
    if (pack === undefined) {
      return yield* wrong(new StoreError.Corrupt({ description: `the index names a pack that it does not have` }))
    }
    rows.push({ key: k, etag: e, size: s, lastModified: m, pack, offset: o, length: l })
  }
  if (format.digestOf(rows) !== part.digest) {
    return yield* wrong(new StoreError.Corrupt({ description: `the index is not what the manifest says` }))
  }
  return rows
})

/** Reads indexes, and keeps so many: those that are asked twice in one pass. */
export const indexReader = (vault: Vault, kept = 64) => {
  const known = new Map<string, ReadonlyArray<format.Row>>()
  return Effect.fnUntraced(function* (part: format.Part) {
    const found = known.get(part.name)
    if (found !== undefined) {
      known.delete(part.name)
      return found
    }
    const rows = yield* readIndex(vault, part)
    if (known.size < kept) known.set(part.name, rows)
    return rows
  })
}

/** Reads packs, and keeps the last ones: rows that follow each other are mostly of one pack. */
export const packReader = (vault: Vault): ((name: string) => Effect.Effect<Uint8Array, StoreError.StoreError>) => {
  const kept = new Map<string, Effect.Effect<Uint8Array, StoreError.StoreError>>()
  return Effect.fnUntraced(function* (name) {
    const known = kept.get(name)
    if (known !== undefined) {
      kept.delete(name)
      kept.set(name, known)
      return yield* known
    }
    const reading = yield* Effect.cached(readPack(vault, name))
    const raced = kept.get(name)
    if (raced !== undefined) return yield* raced
    kept.set(name, reading)
    for (const oldest of kept.keys()) {
      if (kept.size <= packsKept) break
      kept.delete(oldest)
    }
    return yield* Effect.tapError(reading, () => Effect.sync(() => kept.delete(name)))
  })
}

// -----------------------------------------------------------------------------
// Manifests
// -----------------------------------------------------------------------------

export const readManifest = Effect.fnUntraced(function* (vault: Vault, id: string) {
  const key = format.snapshotKey(id)
  const found = yield* getOption(vault.store, key)
  if (Option.isNone(found)) return Option.none<format.Manifest>()
  const manifest = yield* Effect.mapError(vault.manifests.decode(found.value.body, key), storeError("get", key))
  if (manifest.format > format.version) {
    const description = `the backup has the form ${manifest.format}, and this release knows ${format.version}`
    return yield* storeError("get", key)(new StoreError.Unsupported({ feature: "form", description }))
  }
  if (manifest.id !== id) {
    return yield* storeError(
      "get",
      key
    )(new StoreError.Corrupt({ description: "the manifest is that of another backup" }))
  }
  return Option.some(manifest)
})

/** The ids of all backups, the oldest first. 1 LIST for each 1,000. */
export const ids = Effect.fnUntraced(function* (vault: Vault) {
  const found = yield* Stream.runCollect(listAll(vault.store, { prefix: "snapshots/", keysOnly: true }))
  return found
    .map(({ key }) => key.slice("snapshots/".length))
    .filter((id) => format.idPattern.test(id))
    .toSorted()
})

/** A backup under way. */
export interface UnderWay {
  readonly state: format.Unfinished
  readonly lastModified: number
}

export const unfinished = Effect.fnUntraced(function* (
  vault: Vault
): Effect.fn.Return<ReadonlyArray<UnderWay>, StoreError.StoreError> {
  const listed = yield* Stream.runCollect(listAll(vault.store, { prefix: "unfinished/", keysOnly: true }))
  const all: Array<UnderWay> = []
  for (const { key } of listed) {
    const found = yield* getOption(vault.store, key)
    if (Option.isNone(found)) continue
    const { body, lastModified } = found.value
    const state = yield* Effect.mapError(vault.unfinished.decode(body, key), storeError("get", key))
    all.push({ state, lastModified })
  }
  return all
})

export const encodeUnfinished = (vault: Vault, state: format.Unfinished) => {
  const key = format.unfinishedKey(state.id)
  return Effect.map(Effect.mapError(vault.unfinished.encode(state, key), storeError("put", key)), (body) => ({
    key,
    body,
    contentType: "application/octet-stream"
  }))
}

export const encodeManifest = (vault: Vault, manifest: format.Manifest) => {
  const key = format.snapshotKey(manifest.id)
  return Effect.map(Effect.mapError(vault.manifests.encode(manifest, key), storeError("put", key)), (body) => ({
    key,
    body,
    contentType: "application/octet-stream"
  }))
}

export const wrongPack = (name: string) => storeError("get", format.packKey(name))
