/**
 * Unique keys: at most one document of a resource has a certain value in some fields.
 *
 * A value is reserved before the document is written: the reservation is an object whose key is the digest of the value
 * and whose body names the document. Creating it is what decides between two writers; the document it names holds the
 * value as long as its own body says so.
 *
 * **Details**
 *
 * A reservation whose document does not hold the value belongs to a write that is under way, or to one that never came to
 * its end. It can be taken over once it is older than the lease, both times by the store's own clock. A writer that took
 * longer than half the lease looks, after its document is written, whether the reservation is still its own; see
 * `docs/design/write-path.md` for what that guarantees.
 *
 * A unique key by a secret is **blind**: the digest is an HMAC under a key of the `KeyRing`, so that whoever reads the bucket
 * can neither find the secret by it nor compare it with that of another resource. It has reservations under each of the keys
 * that the catalog lists for it: one, and while it moves to another one, both.
 *
 * @since 0.1.0
 */
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Id from "./crypto/Id.ts"
import type { Claim } from "./Document.ts"
import type { Json } from "./encoding/Json.ts"
import * as backoff from "./internal/backoff.ts"
import { percentEncode } from "./internal/text.ts"
import * as StoreClock from "./kernel/StoreClock.ts"
import type { ValueAt } from "./Partition.ts"
import { type Attribute, describeHidden, hiddenAt, UnsupportedSchema } from "./schema/Attributes.ts"
import { type Capabilities, getOption, type ObjectStore } from "./storage/ObjectStore.ts"
import type { StoreError } from "./storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Definitions
// -----------------------------------------------------------------------------

/**
 * A unique key in portable form, as the catalog keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export const Definition = Schema.Struct({
  fields: Schema.Array(Schema.Array(Schema.String)),
  /** Text that differs only in case, or in its Unicode normal form, is the same. */
  ignoreCase: Schema.Boolean,
  /** Its digests are made with a key, since there is a secret among its fields. */
  blind: Schema.optionalKey(Schema.Literal(true))
})

/**
 * A unique key in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export type Definition = typeof Definition.Type

/**
 * The declaration of a unique key: the paths of its fields, whose values together are unique. `ignoreCase` and `blind`
 * default: `false`.
 *
 * With `blind: true` fields that are secret can be among them, and `getByUnique` finds the document by the secret. Needs a
 * `KeyRing`. Passwords cannot: the hashes of equal ones differ.
 *
 * A document that lacks one of them, or has `null` there, has no such key.
 *
 * @category models
 * @since 0.1.0
 */
export type Options<Path extends string = string> =
  | ReadonlyArray<Path>
  | {
      readonly fields: ReadonlyArray<Path>
      readonly ignoreCase?: boolean | undefined
      readonly blind?: boolean | undefined
    }
  | Definition

const isList = (options: Options): options is ReadonlyArray<string> => Array.isArray(options)

/**
 * Checks a declaration against the attributes of a schema. Throws `UnsupportedSchema`: no fields, a field that the schema
 * has not, one that holds a secret or is part of one, a password; a secret, unless it is blind; no secret, if it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = (name: string, options: Options, attributes: ReadonlyArray<Attribute>): Definition => {
  const label = `unique key ${JSON.stringify(name)}`
  // A definition may be made of data.
  if (typeof options !== "object" || options === null || !(isList(options) || Array.isArray(options.fields))) {
    throw new UnsupportedSchema(`${label}: expected a list of fields, such as ["email"], or { fields }`)
  }
  const { blind = false, fields, ignoreCase = false } = isList(options) ? { fields: options } : options
  if (name === "" || !name.isWellFormed()) throw new UnsupportedSchema("a unique key must have a name")
  if (/~\d+$/.test(name))
    throw new UnsupportedSchema(`${label} has a name that ends in ~ and a number: keep them out of it`)
  if (underKey.test(name)) throw new UnsupportedSchema(`${label} has the name of a blind unique key under one key`)
  if (fields.length === 0) throw new UnsupportedSchema(`${label} has no fields`)
  const known = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute]))
  // A definition is a declaration, too.
  const pathOf = (given: string | ReadonlyArray<string>) => (typeof given === "string" ? given : given.join("."))
  const isSecret = (given: string | ReadonlyArray<string>) => known.get(pathOf(given))?.codec === "secret"
  if (blind && !fields.some(isSecret)) {
    const isPassword = fields.some((given) => known.get(pathOf(given))?.codec === "password")
    const advice = isPassword
      ? ": nothing is found by a password; look the document up by another field, and verify it"
      : ""
    throw new UnsupportedSchema(`${label} is blind, and none of its fields is secret${advice}`)
  }
  return {
    ignoreCase,
    ...(blind ? { blind } : {}),
    fields: fields.map((given) => {
      const path = pathOf(given)
      const attribute = known.get(path)
      if (attribute?.codec === "password") {
        throw new UnsupportedSchema(`${label}: the password ${path} cannot be unique: the hashes of equal ones differ`)
      }
      const hidden = hiddenAt(attributes, attribute?.path ?? path.split("."))
      if (hidden !== undefined && !(blind && isSecret(given))) {
        const remedy = isSecret(given) ? ", unless the key says blind: true" : ""
        throw new UnsupportedSchema(
          `${label}: ${path}, ${describeHidden(hidden)}, cannot be unique: the digest in the key would tell of it${remedy}`
        )
      }
      if (attribute === undefined) {
        const names = [...known.keys()].join(", ")
        throw new UnsupportedSchema(`${label} names ${JSON.stringify(path)}, which is no field; there are ${names}`)
      }
      if (attribute.codec === "struct") throw new UnsupportedSchema(`${label}: ${path} cannot be unique`)
      return attribute.path
    })
  }
}

/**
 * A unique key of one resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unique {
  /** What its reservations and claims are under: the name of the unique key, and for a blind one the id of its key with it. */
  readonly name: string
  /** The name of the unique key, as it is declared. */
  readonly label: string
  readonly definition: Definition
  /** Whether its digests can be made here: not those of a blind one whose key this program has not. */
  readonly isKnown: boolean
  /** The paths of its fields, joined with `.`. */
  readonly fields: ReadonlyArray<string>
  /** What all its keys begin with. */
  readonly prefix: string
  /** The digest of a document's value: 43 characters. `undefined` when it lacks one, or when it is not known. */
  readonly digest: (valueAt: ValueAt) => string | undefined
  readonly key: (digest: string) => string
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * The key of a blind unique key: what its reservations are under, as the catalog has it, and what makes digests with it, if
 * this program has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Under {
  readonly id: string
  readonly digest: ((text: string) => Uint8Array) | undefined
}

/** What the names of the reservations of blind unique keys end in. */
const underKey = /:[0-9a-f]{16}$/

/**
 * Makes the id of a key of a blind unique key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const newKeyId: Effect.Effect<string> = Effect.flatMap(Id.Generator, (generator) =>
  Effect.map(generator.randomBytes(8), Hex.encode)
)

/**
 * Returns the name under which a blind unique key has its reservations and claims for one of its keys.
 *
 * @category keys
 * @since 0.1.0
 */
export const nameUnder = (label: string, id: string): string => `${label}:${id}`

/**
 * Returns the declared name of a blind unique key of its name under one of its keys; `undefined` for any other name.
 *
 * @category keys
 * @since 0.1.0
 */
export const labelOf = (name: string): string | undefined => (underKey.test(name) ? name.slice(0, -17) : undefined)

/**
 * Compiles a unique key of a resource, ready for use; a blind one for one of its keys, `under`, if it has one yet. `base`: what
 * keys and documents call it, where it has been declared anew: its name and a number.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (
  resource: string,
  label: string,
  definition: Definition,
  under?: Under,
  base: string = label
): Unique => {
  const name = under === undefined ? base : nameUnder(base, under.id)
  const prefix = keyOf(resource, name, "")
  const hash = definition.blind === true ? under?.digest : (text: string) => sha256(encoder.encode(text))
  const folded = (value: Json): Json =>
    typeof value === "string" && definition.ignoreCase ? value.normalize("NFC").toLowerCase().normalize("NFC") : value
  return {
    name,
    label,
    definition,
    isKnown: hash !== undefined,
    fields: definition.fields.map((path) => path.join(".")),
    prefix,
    digest(valueAt) {
      const values: Array<Json> = []
      for (const path of definition.fields) {
        const value = valueAt(path)
        if (value === undefined || value === null) return undefined
        values.push(folded(value))
      }
      return hash === undefined ? undefined : Base64Url.encode(hash(canonical(values)))
    },
    key: (digest) => prefix + digest
  }
}

/**
 * Returns the key of a reservation, whether its unique key is still defined or not.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyOf = (resource: string, name: string, digest: string): string =>
  `resource=${percentEncode(resource)}/unique=${percentEncode(name)}/${digest}`

/**
 * Tells whether a key below the prefix of a unique key is that of a reservation.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOf = (prefix: string, key: string): boolean =>
  key.startsWith(prefix) && /^[\w-]+$/.test(key.slice(prefix.length))

const canonical = (value: Json): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`
}

// -----------------------------------------------------------------------------
// Reservations
// -----------------------------------------------------------------------------

/**
 * `o`: the id of the document, none when it is free; `n`: that of a document to which a transaction gives the value, from the
 * first; `w`: new for every write.
 */
const Body = Schema.Struct({
  o: Schema.optionalKey(Schema.String),
  n: Schema.optionalKey(Schema.String),
  w: Schema.String
})

const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))

/**
 * A reservation as it lies in the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reservation {
  /** The ids of the documents of which one has the value: none when it is free, two where one gives it to the other. */
  readonly owners: ReadonlyArray<string>
  readonly writeId: string
  readonly etag: string
  /** By the store's clock. */
  readonly lastModified: number
}

type Store = ObjectStore["Service"]

/**
 * Finds the reservation of a value. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const find = Effect.fnUntraced(function* (
  store: Store,
  key: string
): Effect.fn.Return<Reservation | undefined, StoreError> {
  const object = yield* getOption(store, key)
  if (Option.isNone(object)) return undefined
  const body = decodeBody(decoder.decode(object.value.body))
  const { etag, lastModified } = object.value
  // What nobody can read is nobody's.
  if (Result.isFailure(body)) return { owners: [], writeId: "", etag, lastModified }
  const { n, o, w } = body.success
  return { owners: [o, n].filter((owner) => owner !== undefined), writeId: w, etag, lastModified }
})

/**
 * A reservation that was got, or the reason why not: `Held` by another document, or `Pending`: claimed by a write that
 * may be under way.
 *
 * @category models
 * @since 0.1.0
 */
export type Acquired =
  | {
      readonly _tag: "Acquired"
      readonly claim: Claim
      /** It was there for the same document before, so that another write of it may rely on it: nobody frees it on giving up. */
      readonly isShared: boolean
    }
  | { readonly _tag: "Held"; readonly owner: string }
  | { readonly _tag: "Pending"; readonly owner: string }

/**
 * A value that a document is to have for itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<E> {
  readonly unique: Unique
  readonly digest: string
  /** The id of the document that is to have the value. */
  readonly owner: string
  /** The document must not exist: `Held` also when it is this very one that has the value. */
  readonly isNew: boolean
  /** Milliseconds. */
  readonly leaseMillis: number
  /** Whether the document with this id holds the value. */
  readonly isHeld: (id: string) => Effect.Effect<boolean, E>
  /**
   * Sees to it that no transaction gives the value to the document with this id any more; then whether it holds the
   * value. It is asked before a reservation is taken over from it.
   */
  readonly isHeldForGood: (id: string) => Effect.Effect<boolean, E>
  /**
   * Whether the document with this id, which the same transaction writes, has the value afterwards; `undefined` for others. If
   * it gives the value up, both ids stand in the reservation, and the documents tell which of them has it.
   */
  readonly willHold?: ((id: string) => boolean | undefined) | undefined
}

const attemptsWhilePending = 6

/** About six seconds in all. */
const whilePending: backoff.Policy = { ...backoff.waiting, first: 50, factor: 2, most: 5000 }

/**
 * Reserves a value for a document. 1 PUT when it is free; 1 GET and 1 PUT more when the document has reserved it before;
 * 1 GET and what `isHeld` takes when another document has it; 1 PUT, 1 HEAD and 1 DELETE on a scratch object more, to
 * read the store's clock, when that one does not hold it. Interrupted, it leaves nothing: 1 GET and 1 request then.
 *
 * @category protocol
 * @since 0.1.0
 */
export const acquire = <E>(
  store: Store,
  capabilities: Capabilities,
  request: Request<E>
): Effect.Effect<Acquired, StoreError | E> =>
  Effect.flatMap(Id.writeId, (writeId) => {
    const key = request.unique.key(request.digest)
    const free = Effect.flatMap(find(store, key), (found) =>
      found?.writeId === writeId && found.owners.length === 1
        ? release(store, capabilities, key, found.etag)
        : Effect.void
    )
    const freed = Effect.catch(free, (error) =>
      Effect.logWarning("a reservation is left until its lease is over", error)
    )
    return Effect.onInterrupt(acquireAs(store, request, key, writeId), () => freed)
  })

/** The first of some documents that holds the value. */
const holderOf = Effect.fnUntraced(function* <E>(
  owners: ReadonlyArray<string>,
  isHeld: (id: string) => Effect.Effect<boolean, E>
) {
  for (const owner of owners) if (yield* isHeld(owner)) return owner
  return undefined
})

const acquireAs = Effect.fnUntraced(function* <E>(
  store: Store,
  request: Request<E>,
  key: string,
  writeId: string
): Effect.fn.Return<Acquired, StoreError | E> {
  const { digest, owner } = request
  /** It is not interrupted: what is on its way could not be freed. */
  const put = (
    condition: { readonly ifMatch: string } | { readonly ifNoneMatch: "*" },
    body: typeof Body.Type = { o: owner, w: writeId }
  ) =>
    store
      .put({
        key,
        body: encoder.encode(JSON.stringify(body)),
        contentType: "application/json",
        repeatable: true,
        ...condition
      })
      .pipe(
        Effect.map(({ etag }): string | undefined => etag),
        Effect.catchReasons("StoreError", {
          PreconditionFailed: () => Effect.succeed(undefined),
          NoSuchKey: () => Effect.succeed(undefined)
        }),
        Effect.uninterruptible
      )
  const acquired = (etag: string, isShared = false): Acquired => ({
    _tag: "Acquired",
    claim: { digest, etag },
    isShared
  })
  for (let pending = 0; ;) {
    const created = yield* put({ ifNoneMatch: "*" })
    if (created !== undefined) return acquired(created)
    const found = yield* find(store, key)
    if (found === undefined) continue
    // An answer was lost, and the reservation is ours all the same.
    if (found.writeId === writeId) return acquired(found.etag, found.owners.length > 1)
    // Taken anew even by its own owner: another write of that document that gives up must not free it any more.
    const others = found.owners.filter((one) => one !== owner)
    const asked = request.isNew ? found.owners : others
    const holder = yield* holderOf(asked, request.isHeld)
    const [other = holder] = others
    const rival = others.find((one) => request.willHold?.(one) === true)
    if (holder !== undefined && (holder === owner || request.willHold?.(holder) !== false)) {
      return { _tag: "Held", owner: holder }
    }
    if (rival !== undefined) return { _tag: "Held", owner: rival }
    if (other !== undefined && request.willHold?.(other) === false) {
      // A write of the other that is under way may rely on it: whichever is committed first has it.
      const shared = yield* put({ ifMatch: found.etag }, { o: holder ?? other, n: owner, w: writeId })
      if (shared !== undefined) return acquired(shared, true)
      continue
    }
    if (other === undefined || (yield* StoreClock.now(store)) - found.lastModified > request.leaseMillis) {
      const holder = yield* holderOf(others, request.isHeldForGood)
      if (holder !== undefined) return { _tag: "Held", owner: holder }
      const taken = yield* put({ ifMatch: found.etag })
      if (taken !== undefined) return acquired(taken, found.owners.includes(owner))
      continue
    }
    pending += 1
    if (pending > attemptsWhilePending) return { _tag: "Pending", owner: other }
    yield* backoff.after(pending, whilePending)
  }
})

/**
 * Frees a reservation, if nobody has taken it anew since. 1 request: a DELETE where the store honours conditions on it,
 * else a PUT that marks it as free.
 *
 * @category protocol
 * @since 0.1.0
 */
export const release = Effect.fnUntraced(function* (
  store: Store,
  capabilities: Capabilities,
  key: string,
  etag: string
): Effect.fn.Return<void, StoreError> {
  const freed = capabilities.conditionalDelete
    ? store.delete(key, { ifMatch: etag })
    : Effect.flatMap(Id.writeId, (writeId) =>
        store.put({
          key,
          body: encoder.encode(JSON.stringify({ w: writeId })),
          contentType: "application/json",
          ifMatch: etag
        })
      )
  yield* Effect.catchReasons(Effect.asVoid(freed), "StoreError", {
    PreconditionFailed: () => Effect.void,
    NoSuchKey: () => Effect.void
  })
})

const sharedMark = "shared "

/**
 * Marks the revision of a reservation that is not freed when its write gives up: it belongs to another write, or document,
 * too.
 *
 * @category constructors
 * @since 0.1.0
 */
export const shared = (etag: string): string => sharedMark + etag

/**
 * Returns the revision at which a reservation is to be freed: nothing when its write gives up and another relies on it.
 *
 * @category getters
 * @since 0.1.0
 */
export const freedAt = (etag: string, isGivenUp: boolean): string | undefined =>
  etag.startsWith(sharedMark) ? (isGivenUp ? undefined : etag.slice(sharedMark.length)) : etag

/**
 * The time that a reservation protects a write that is under way, unless the definition says otherwise: 60 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultLeaseMillis = 60_000
