/**
 * Encryption of the secret fields of documents.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Catalog from "../Catalog.ts"
import type { BlindKey, KeyRing, Unlocked } from "../crypto/KeyRing.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type * as Encoding from "../encoding/Encoding.ts"
import { stringifyExact } from "../encoding/Json.ts"
import { samePath, valueAt } from "../internal/json.ts"
import * as Normalization from "../schema/Normalization.ts"

/**
 * Stored fields whose secrets are in clear.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly document: Encoding.JsonObject
  /** Stored attributes that the schema does not know; their secrets stay encrypted, under the current key. */
  readonly carried: Encoding.JsonObject | undefined
  /** Some secret is under another key than the current one. */
  readonly isUnderOldKey: boolean
}

/**
 * The secrets of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Secrets {
  /**
   * Encrypts the secret fields of a document, of the attributes that are written. Fails with `InvalidInput` for a secret
   * that JSON cannot carry exactly.
   */
  readonly seal: (
    id: string,
    document: Encoding.JsonObject,
    written: ReadonlyArray<Encoding.StoredAttribute>
  ) => Effect.Effect<Encoding.JsonObject, DbError.InvalidInput>
  /**
   * Decrypts the secret fields of a document. `isPresentVersion`: no migration is going to read it, so that a secret in
   * clear is refused.
   *
   * Fails with `SecretUnreadable` for a secret that cannot be read, and with `ServiceFailed` without a `KeyRing`.
   */
  readonly open: (
    id: string,
    fields: Encoding.DecodedFields,
    attributes: ReadonlyMap<string, Encoding.StoredAttribute>,
    isPresentVersion: boolean
  ) => Effect.Effect<Opened, DbError.SecretUnreadable | DbError.ServiceFailed>
  /** The keys by which a unique key of the resource tells secrets apart: none without a `KeyRing`. */
  readonly blindKeys: (unique: string) => ReadonlyArray<BlindKey>
}

// A program without secrets need not load the module of the service, which is known by its id.
const KeyRingTag: Context.Service<KeyRing, KeyRing["Service"]> = Context.Service("effect-s3db/crypto/KeyRing")

/**
 * Reads the key ring of the fiber, absence being `None`.
 *
 * @category getters
 * @since 0.1.0
 */
export const service: Effect.Effect<Option.Option<KeyRing["Service"]>> = Effect.serviceOption(KeyRingTag)

const failed = (description: string) => new DbError.ServiceFailed({ service: "KeyRing", description })

/**
 * Unlocks the key ring for the secrets of a resource. Fails with `ServiceFailed` when the schema has secrets and there is
 * no `KeyRing`, or one that cannot be unlocked.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  { name, attributes }: Pick<Catalog.Declaration, "name" | "attributes">,
  registered: Catalog.Registered,
  database: Database["Service"]
): Effect.fn.Return<Secrets, DbError.ServiceFailed | DbError.DbError> {
  const keyRing = yield* service
  const declared = attributes.filter(({ codec }) => codec === "secret")
  if (declared.length > 0 && Option.isNone(keyRing)) {
    return yield* failed(
      "the schema has secrets: provide a KeyRing, such as KeyRing.layerKeys or KeyRing.layerPassphrase"
    )
  }
  // Also secrets of former versions of the definition.
  const knowsSecrets = registered.readable.some((attribute) => attribute.codec === "secret")
  const unlocked: Unlocked | undefined =
    knowsSecrets && Option.isSome(keyRing)
      ? yield* keyRing.value
          .unlock(yield* database.salt)
          .pipe(Effect.mapError(({ description }) => failed(description)))
      : undefined
  const mayBeNull = new Set(attributes.filter((one) => one.nullable).map((one) => one.path.join(".")))
  const locationOf = (id: string, attribute: string, path: ReadonlyArray<string>) => ({
    resource: name,
    id,
    attribute,
    path
  })

  const sealWith = Effect.fnUntraced(function* (
    unlocked: Unlocked,
    id: string,
    document: Encoding.JsonObject,
    written: ReadonlyArray<Encoding.StoredAttribute>
  ) {
    let sealed: unknown = document
    for (const { id: attribute, path, codec } of written) {
      const value = codec === "secret" ? valueAt(sealed, path) : undefined
      if (value === undefined || (value === null && mayBeNull.has(path.join(".")))) continue
      const exact = stringifyExact(value as Encoding.Json)
      if (typeof exact !== "string") {
        return yield* DbError.invalidField(name, path, "Expected a secret that JSON can carry exactly")
      }
      const text = yield* unlocked.seal(locationOf(id, attribute, path), value as Encoding.Json)
      sealed = Normalization.changeAt(sealed, path, () => text)
    }
    return sealed as Encoding.JsonObject
  })

  const open: Secrets["open"] = Effect.fnUntracedEager(function* (id, fields, known, isPresentVersion) {
    const { document, carried, secrets } = fields
    const at = (path: ReadonlyArray<string>) => `field ${path.join(".")} of document ${JSON.stringify(id)}`
    // Who can write to the bucket must not be able to plant a value of his own. Only a migration may read one in clear.
    for (const { path } of isPresentVersion ? declared : []) {
      const value = valueAt(document, path) ?? null
      if (value === null || secrets.some((one) => one.path !== undefined && samePath(one.path, path))) continue
      const description = `${at(path)} is stored in clear: what was no secret once needs a migration`
      return yield* new DbError.SecretUnreadable({ description, why: "InClear", path })
    }
    let opened: unknown = document
    let kept = carried
    let isUnderOldKey = false
    for (const { id: attribute, path } of secrets) {
      const sealed = path === undefined ? carried?.[attribute] : valueAt(opened, path)
      const where = known.get(attribute)?.path ?? []
      if (unlocked === undefined) {
        if (path === undefined) continue
        return yield* failed(`${at(where)} is encrypted: provide a KeyRing`)
      }
      const location = locationOf(id, attribute, where)
      const isCurrent = typeof sealed === "string" && unlocked.isCurrent(sealed)
      if (path === undefined && isCurrent) continue
      const plain = yield* Effect.result(unlocked.open(location, typeof sealed === "string" ? sealed : ""))
      if (Result.isFailure(plain)) {
        // What the schema does not know stays as it is.
        if (path === undefined) continue
        const { why } = plain.failure
        const what =
          why === "UnknownKey"
            ? "is under a key that the ring has not: add that key to the KeyRing of this program"
            : "was altered or moved"
        return yield* new DbError.SecretUnreadable({ description: `${at(where)} ${what}`, why, path })
      }
      if (!isCurrent) isUnderOldKey = true
      if (path === undefined) kept = { ...kept, [attribute]: yield* unlocked.seal(location, plain.success) }
      else opened = Normalization.changeAt(opened, path, () => plain.success)
    }
    return { document: opened as Encoding.JsonObject, carried: kept, isUnderOldKey }
  })

  const blindKeys = new Map<string, ReadonlyArray<BlindKey>>()

  return {
    seal: (id, document, written) =>
      unlocked === undefined ? Effect.succeed(document) : sealWith(unlocked, id, document, written),
    open,
    blindKeys: (unique) => {
      const keys = blindKeys.get(unique) ?? unlocked?.blindKeys(name, unique) ?? []
      blindKeys.set(unique, keys)
      return keys
    }
  }
})
