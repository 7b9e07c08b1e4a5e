/**
 * From inputs to stored fields and back, for one resource: clean-up, hashing of passwords, validation, encryption of
 * secrets, encoding, the behavior for documents that are too large, and the migration of old ones.
 *
 * Nothing here talks to the store.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { Equivalence } from "effect/Equivalence"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import type * as Catalog from "../Catalog.ts"
import type { KeyRing, Unlocked } from "../crypto/KeyRing.ts"
import type { Algorithm, PasswordHasher } from "../crypto/PasswordHasher.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Failure } from "../DbError.ts"
import type { Definition, Migration } from "../Definition.ts"
import * as Document from "../Document.ts"
import * as Behavior from "../encoding/Behavior.ts"
import * as Encoding from "../encoding/Encoding.ts"
import { stringifyExact } from "../encoding/Json.ts"
import type { PasswordHash } from "../schema/Attribute.ts"
import * as Attributes from "../schema/Attributes.ts"
import type { Explanation } from "../Repository.ts"
import * as Normalization from "../schema/Normalization.ts"
import * as StoreError from "../storage/StoreError.ts"

/**
 * A value as it will be stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded<A> {
  readonly id: string
  /** The value as it will be read: without what was cut. */
  readonly value: A
  readonly tag: string
  readonly schemaVersion: number
  readonly fields: Encoding.StoredFields
  readonly truncated: ReadonlyArray<string>
  /** The value as JSON, without its id; secrets in clear. For partitions and unique keys. */
  readonly json: Encoding.JsonObject
}

/**
 * A value that was stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded<A> {
  readonly value: A
  /** Stored attributes that the schema does not know; a change leaves them as they are. */
  readonly carried: Encoding.JsonObject | undefined
  /** Some secret is under another key than the current one. */
  readonly isUnderOldKey: boolean
  /** The value as JSON, without its id; secrets in clear. */
  readonly json: Encoding.JsonObject
}

/**
 * @category models
 * @since 0.1.0
 */
export interface DocumentCodec<A> {
  /** Cleans an input up, hashes its passwords and validates it. */
  readonly construct: (input: unknown) => Effect.Effect<A, DbError.InvalidInput | Failure>
  /** Encodes a value; `carried` and `schemaVersion` are those of the version that it replaces. */
  readonly encode: (
    value: A,
    before: { readonly carried: Encoding.JsonObject | undefined; readonly schemaVersion: number } | undefined
  ) => Effect.Effect<Encoded<A>, DbError.InvalidInput | DbError.MetadataLimit | Failure>
  readonly decode: (id: string, stored: Document.Stored) => Effect.Effect<Decoded<A>, Failure | DbError.DbError>
  readonly explain: (
    value: A,
    before?: { readonly carried: Encoding.JsonObject | undefined; readonly schemaVersion: number }
  ) => Effect.Effect<Explanation, DbError.InvalidInput | DbError.MetadataLimit | Failure>
  /** The path of an attribute id, for people. */
  readonly pathOf: (attribute: string) => string
  /** The version that is written. */
  readonly version: Effect.Effect<number>
}

// Tags of services whose modules a program without secrets and passwords need not load: a service is known by its id.
const KeyRingTag: Context.Service<KeyRing, KeyRing["Service"]> = Context.Service("effect-s3db/crypto/KeyRing")
const HasherTag: Context.Service<PasswordHasher, PasswordHasher["Service"]> = Context.Service(
  "effect-s3db/crypto/PasswordHasher"
)

/** The codecs of a resource for one state of the catalog. */
interface Compiled {
  readonly registered: Catalog.Registered
  readonly attributes: ReadonlyMap<string, Encoding.StoredAttribute>
  readonly codecFor: (encoder: Encoding.Encoder, version?: number) => Encoding.FieldsCodec
}

const compile = (registered: Catalog.Registered): Compiled => {
  const codecs = new Map<string, Encoding.FieldsCodec>()
  return {
    registered,
    attributes: new Map(registered.readable.map((attribute) => [attribute.id, attribute])),
    codecFor(encoder, version) {
      const name = version === undefined ? encoder.tag : `${encoder.tag}${version}`
      let codec = codecs.get(name)
      if (codec === undefined) {
        const written = version === undefined ? registered.written : (registered.versions.get(version) ?? [])
        codecs.set(name, (codec = encoder.compile({ written, readable: registered.readable })))
      }
      return codec
    }
  }
}

const all = { errors: "all" } as const

const hidden = new Set(["secret", "password"])

/**
 * Compiles the codec of a resource, registering its definition in the catalog.
 *
 * Fails with `ServiceFailed` when the schema has secrets and there is no `KeyRing`, or passwords and no `PasswordHasher`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema>(
  settings: Definition<S>,
  database: Database["Service"]
): Effect.fn.Return<DocumentCodec<S["Type"]>, Failure | DbError.DbError> {
  type A = S["Type"]
  const { name, primaryKey, schema } = settings
  const encoder = yield* Encoding.Encoding
  const storage = Attributes.toStorageCodec(schema)
  const toJson = (value: A) => Effect.provideService(encodeJson(value), Attributes.SecretsOpen, true)
  const encodeJson: (value: A) => Effect.Effect<unknown, Schema.SchemaError> = Schema.encodeUnknownEffect(storage, all)
  const fromJson: (json: unknown) => Effect.Effect<A, Schema.SchemaError> = Schema.decodeUnknownEffect(storage, all)
  const isEqual = Attributes.hasLookAlikes(schema) ? Schema.toEquivalence(schema) : undefined
  const defaults = Attributes.constantDefaults(schema)
  const normalize = Normalization.compile(schema)
  const findExcess = Normalization.compileStrict(schema)
  const optional = new Set(settings.attributes.filter((one) => one.optional).map((one) => one.path.join(".")))

  const corrupt = (description: string) => new StoreError.Corrupt({ description })
  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)

  // Keys inside a secret are part of the secret.
  const stored = settings.attributes.filter(({ codec }) => hidden.has(codec)).map(({ path }) => path)
  const hiddenPaths = [...Attributes.hiddenOf(schema), ...stored]
  const withoutHidden = (error: DbError.InvalidInput): DbError.InvalidInput => {
    const issues = error.issues.map(({ path, message }) => {
      const within = hiddenPaths.find((hiddenPath) => hiddenPath.every((part, index) => part === path[index]))
      return { path: within ?? path, message }
    })
    return new DbError.InvalidInput({ resource: error.resource, issues })
  }
  const refused = (issue: SchemaIssue.Issue): DbError.InvalidInput => {
    const error = DbError.invalidInput(name, issue)
    return hiddenPaths.length === 0 ? error : withoutHidden(error)
  }

  /** Values that are nested too deep end the recursion over them with an exception. */
  const orTooDeep =
    <E>(make: () => E) =>
    <X, E2, R>(effect: Effect.Effect<X, E2, R>): Effect.Effect<X, E | E2, R> =>
      Effect.catchDefect(effect, (defect) => (defect instanceof RangeError ? Effect.fail(make()) : Effect.die(defect)))
  const tooDeep = () => invalid([], "Expected values that are not nested as deep as this")

  let compiled = compile(yield* database.register(settings))

  // --- passwords -------------------------------------------------------------

  const passwords = Attributes.passwordsOf(schema)
  const hasher = yield* Effect.serviceOption(HasherTag)
  if (passwords.length > 0 && Option.isNone(hasher)) {
    const description = "the schema has passwords: provide PasswordHasher.layer()"
    return yield* new DbError.ServiceFailed({ service: "PasswordHasher", description })
  }
  const plainRules = new Map(
    Attributes.payloadsOf(schema, Attributes.plainPasswordId).map(({ path, payload }) => [
      path.join("."),
      Schema.decodeUnknownSync(Attributes.PlainPassword)(payload)
    ])
  )

  const hashPassword = Effect.fnUntraced(function* (
    path: ReadonlyArray<string>,
    plain: Redacted.Redacted<string>
  ): Effect.fn.Return<PasswordHash, DbError.InvalidInput | Failure> {
    const { min = 0, max = Infinity, algorithm } = plainRules.get(path.join(".")) ?? {}
    const value: unknown = Redacted.value(plain)
    if (typeof value !== "string") return yield* invalid(path, "Expected a redacted text")
    const size = [...value].length
    if (size < min) return yield* invalid(path, `Expected a password of at least ${min} characters`)
    if (size > max) return yield* invalid(path, `Expected a password of at most ${max} characters`)
    return yield* Option.getOrThrow(hasher)
      .hash(plain, algorithm === undefined ? undefined : standardAlgorithms[algorithm])
      .pipe(
        Effect.mapError((error) =>
          error.reason._tag === "WorkerFailed"
            ? serviceFailed("PasswordHasher", error.reason.description)
            : invalid(path, error.reason.description)
        )
      )
  })

  const hashPasswords = Effect.fnUntraced(function* (input: unknown) {
    let hashed = input
    for (const path of passwords) {
      const plain = valueAt(hashed, path)
      if (!Redacted.isRedacted(plain)) continue
      const hash = yield* hashPassword(path, plain as Redacted.Redacted<string>)
      hashed = Normalization.changeAt(hashed, path, () => hash)
    }
    return hashed
  })

  // --- secrets ---------------------------------------------------------------

  const keyRing = yield* Effect.serviceOption(KeyRingTag)
  const writesSecrets = settings.attributes.some((attribute) => attribute.codec === "secret")
  if (writesSecrets && Option.isNone(keyRing)) {
    const description =
      "the schema has secrets: provide a KeyRing, such as KeyRing.layerKeys or KeyRing.layerPassphrase"
    return yield* new DbError.ServiceFailed({ service: "KeyRing", description })
  }
  // Also secrets of former versions of the definition.
  const knowsSecrets = compiled.registered.readable.some((attribute) => attribute.codec === "secret")
  const unlocked: Unlocked | undefined =
    knowsSecrets && Option.isSome(keyRing)
      ? yield* keyRing.value
          .unlock(yield* database.salt)
          .pipe(Effect.mapError((error) => serviceFailed("KeyRing", error.description)))
      : undefined

  const locationOf = (id: string, attribute: string, path: ReadonlyArray<string>) => ({
    resource: name,
    id,
    attribute,
    path
  })

  const mayBeNull = new Set(settings.attributes.filter((one) => one.nullable).map((one) => one.path.join(".")))

  const sealSecrets = Effect.fnUntraced(function* (id: string, document: Encoding.JsonObject) {
    if (unlocked === undefined) return document
    let sealed: unknown = document
    for (const { id: attribute, path, codec } of compiled.registered.written) {
      const value = codec === "secret" ? valueAt(sealed, path) : undefined
      if (value === undefined || (value === null && mayBeNull.has(path.join(".")))) continue
      const exact = stringifyExact(value as Encoding.Json)
      if (typeof exact !== "string") return yield* invalid(path, "Expected a secret that JSON can carry exactly")
      const text = yield* unlocked.seal(locationOf(id, attribute, path), value as Encoding.Json)
      sealed = Normalization.changeAt(sealed, path, () => text)
    }
    return sealed as Encoding.JsonObject
  })

  const openSecrets = Effect.fnUntraced(function* (
    id: string,
    { document, carried, secrets }: Encoding.DecodedFields,
    isPresentVersion: boolean
  ) {
    // Who can write to the bucket must not be able to plant a value of his own. Only a migration may read one in clear.
    for (const { path, codec } of isPresentVersion ? settings.attributes : []) {
      const value = codec === "secret" ? (valueAt(document, path) ?? null) : null
      if (value === null || secrets.some((one) => one.path !== undefined && samePath(one.path, path))) continue
      const description = `field ${path.join(".")} of document ${JSON.stringify(id)} is stored in clear: what was no secret once needs a migration`
      return yield* new DbError.SecretUnreadable({ description, why: "InClear", path })
    }
    let opened: unknown = document
    let kept = carried
    let isUnderOldKey = false
    for (const { id: attribute, path } of secrets) {
      const sealed = path === undefined ? carried?.[attribute] : valueAt(opened, path)
      const where = compiled.attributes.get(attribute)?.path ?? []
      if (unlocked === undefined) {
        if (path === undefined) continue
        const description = `field ${where.join(".")} of document ${JSON.stringify(id)} is encrypted: provide a KeyRing`
        return yield* new DbError.ServiceFailed({ service: "KeyRing", description })
      }
      const location = locationOf(id, attribute, where)
      const isCurrent = typeof sealed === "string" && unlocked.isCurrent(sealed)
      if (path === undefined && isCurrent) continue
      const plain = yield* Effect.result(unlocked.open(location, typeof sealed === "string" ? sealed : ""))
      if (Result.isFailure(plain)) {
        // What the schema does not know stays as it is.
        if (path === undefined) continue
        const { why } = plain.failure
        const at = `field ${where.join(".")} of document ${JSON.stringify(id)}`
        const description =
          why === "UnknownKey" ? `${at} is under a key that the ring has not` : `${at} was altered or moved`
        return yield* new DbError.SecretUnreadable({ description, why, path })
      }
      if (!isCurrent) isUnderOldKey = true
      if (path === undefined) kept = { ...kept, [attribute]: yield* unlocked.seal(location, plain.success) }
      else opened = Normalization.changeAt(opened, path, () => plain.success)
    }
    return { document: opened as Encoding.JsonObject, carried: kept, isUnderOldKey }
  })

  // --- writing ---------------------------------------------------------------

  const construct = Effect.fnUntraced(function* (input: unknown) {
    const excess = findExcess(input)
    if (excess !== undefined) return yield* invalid(excess, "Expected no such field")
    const hashed = passwords.length === 0 ? input : yield* hashPasswords(input)
    return yield* schema.makeEffect(normalize(hashed), { parseOptions: all }).pipe(Effect.mapError(refused))
  }, orTooDeep(tooDeep))

  /** What is stored has to be read back as what was given. */
  const check = Effect.fnUntraced(function* (isEqual: Equivalence<A>, value: A, json: unknown) {
    const back = yield* Effect.option(Effect.provideService(fromJson(json), Attributes.SecretsOpen, true))
    if (Option.isSome(back) && isEqual(value, back.value)) return
    const found = Option.getOrElse(back, () => undefined) as Readonly<Record<string, unknown>> | undefined
    const given = value as Readonly<Record<string, unknown>>
    const field = Object.keys(given).find((key) => !Equal.equals(given[key], found?.[key]))
    const message = "Expected a value that is read back as itself: another member of the union is stored alike"
    return yield* invalid(field === undefined ? [] : [field], message)
  })

  const place = Effect.fnUntraced(function* (
    value: A,
    before: { readonly carried: Encoding.JsonObject | undefined; readonly schemaVersion: number } | undefined
  ) {
    const json = yield* Effect.mapError(toJson(value), (error) => refused(error.issue))
    if (isEqual !== undefined) yield* check(isEqual, value, json)
    const { [primaryKey]: id, ...plain } = json as Encoding.JsonObject
    if (typeof id !== "string") return yield* invalid([primaryKey], "Expected a string")
    const document = yield* sealSecrets(id, plain)
    const codec = compiled.codecFor(encoder)
    const encoded = codec.encode(document, before?.carried)
    if (Result.isFailure(encoded)) return yield* invalid(encoded.failure.path, encoded.failure.message)
    const entries = encoded.success
    const schemaVersion = Math.max(compiled.registered.version, before?.schemaVersion ?? 0)
    const limitBytes = Document.fieldBudget(database.capabilities.metadataBytes, encoder.tag, schemaVersion)
    const outcome = yield* Behavior.place(settings.behavior, {
      codec,
      entries,
      limitBytes,
      pins: settings.pins,
      isOptional: (path) => optional.has(path.join(".")),
      resource: name,
      id
    })
    if (outcome._tag === "Exceeded")
      return yield* new DbError.MetadataLimit({ resource: name, id, ...outcome.exceeded })
    return { id, plain, codec, schemaVersion, placement: outcome.placement }
  }, orTooDeep(tooDeep))

  const encode: DocumentCodec<A>["encode"] = Effect.fnUntraced(function* (value, before) {
    const { id, plain, codec, schemaVersion, placement } = yield* place(value, before)
    const { metadata, body, truncated } = placement
    const fields = { metadata: codec.metadata(metadata), ...Behavior.bodyOf(body) }
    const common = { id, tag: encoder.tag, schemaVersion, fields, truncated }
    if (truncated.length === 0) return { ...common, value, json: plain }
    // What is left is what will be read: it has to fit the schema as well.
    const left = truncated.reduce<unknown>((document, attribute) => {
      const path = compiled.attributes.get(attribute)?.path ?? []
      const kept = metadata.find((entry) => entry.id === attribute)
      return kept === undefined ? without(document, path) : Normalization.changeAt(document, path, () => kept.value)
    }, plain)
    const shortened = yield* Effect.option(fromJson({ ...(left as object), [primaryKey]: id }))
    if (Option.isSome(shortened)) return { ...common, value: shortened.value, json: left as Encoding.JsonObject }
    const entries = Result.getOrThrow(codec.encode(plain, before?.carried))
    const totalBytes = codec.metadataBytes(entries)
    const limitBytes = Document.fieldBudget(database.capabilities.metadataBytes, encoder.tag, schemaVersion)
    const excessBytes = totalBytes - limitBytes
    return yield* new DbError.MetadataLimit({ resource: name, id, totalBytes, limitBytes, excessBytes })
  })

  // --- reading ---------------------------------------------------------------

  const decodeFields = Effect.fnUntraced(function* (label: string, stored: Document.Stored) {
    const reader = Encoding.forTag(stored.tag)
    if (reader === undefined) return yield* corrupt(`${label} was written in an encoding unknown here`)
    const steps = stepsFrom(stored.schemaVersion)
    const decode = () =>
      compiled.codecFor(reader, steps.length > 0 ? stored.schemaVersion : undefined).decode(stored.fields)
    let decoded = decode()
    if (Result.isFailure(decoded) && decoded.failure._tag === "UnknownAttribute") {
      // Another process may have registered it since.
      yield* database.refresh
      compiled = compile(yield* database.register(settings))
      decoded = decode()
    }
    if (Result.isSuccess(decoded)) return { decoded: decoded.success, steps }
    const problem = decoded.failure
    const what =
      problem._tag === "UnknownAttribute"
        ? `has an attribute ${problem.id} that the catalog does not know`
        : `has an unreadable field ${problem.path.join(".")}`
    return yield* corrupt(`${label} ${what}`)
  })

  /** The steps from a version to the present one, if any of them has something to do. */
  const stepsFrom = (version: number): ReadonlyArray<Migration> => {
    const steps: Array<Migration> = []
    for (let at = version; at < compiled.registered.version; at++) {
      const step = settings.migrations[at]
      if (step !== undefined) steps.push(step)
    }
    return steps
  }

  const decode: DocumentCodec<A>["decode"] = Effect.fnUntraced(function* (id, stored) {
    const label = `document ${JSON.stringify(id)}`
    const { decoded, steps } = yield* decodeFields(label, stored)
    const { document, carried, isUnderOldKey } = yield* openSecrets(id, decoded, steps.length === 0)
    const migrated = yield* Effect.try({
      try: () => steps.reduce((at, step) => step(at), steps.length > 0 ? complete(document, carried) : document),
      catch: () => corrupt(`${label}, of schema version ${stored.schemaVersion}, makes its migration throw an error`)
    })
    const whole = withDefaults(migrated)
    const value = yield* fromJson({ ...whole, [primaryKey]: id }).pipe(
      Effect.mapError((error) =>
        corrupt(
          `${label} of schema version ${stored.schemaVersion} does not fit the schema, and may need a migration: ${error.message}`
        )
      ),
      orTooDeep(() => corrupt(`${label} is nested too deep`))
    )
    return { value, carried: steps.length > 0 ? unknownPart(carried) : carried, isUnderOldKey, json: whole }
  })

  /** With the defaults of the fields that there were not when it was written. */
  const withDefaults = (document: Encoding.JsonObject): Encoding.JsonObject => {
    let whole = document
    for (const { path, value } of defaults) {
      const struct = path.slice(0, -1)
      const at = valueAt(whole, struct)
      const field = path.at(-1)!
      if (typeof at !== "object" || at === null || Object.hasOwn(at, field)) continue
      whole = Normalization.changeAt(whole, struct, () => ({ ...at, [field]: value })) as Encoding.JsonObject
    }
    return whole
  }

  /** For a migration: also with what the version itself did not know, but others stored. */
  const complete = (document: Encoding.JsonObject, carried: Encoding.JsonObject | undefined): Encoding.JsonObject => {
    const whole: Record<string, Encoding.Json> = { ...document }
    for (const id of carried === undefined ? [] : Object.keys(carried)) {
      const { path = [], codec } = compiled.attributes.get(id) ?? {}
      if (codec !== "secret") Encoding.setPath(whole, path, carried![id]!, true)
    }
    return whole
  }

  /** What a migrated document does not stand for already. */
  const unknownPart = (carried: Encoding.JsonObject | undefined): Encoding.JsonObject | undefined => {
    const paths = new Set(settings.attributes.map((attribute) => attribute.path.join(".")))
    const kept = Object.entries(carried ?? {}).filter(
      ([id]) => !paths.has(compiled.attributes.get(id)?.path.join(".") ?? "")
    )
    return kept.length === 0 ? undefined : Object.fromEntries(kept)
  }

  const explain: DocumentCodec<A>["explain"] = Effect.fnUntraced(function* (value, before) {
    const { id, plain, codec, schemaVersion, placement } = yield* place(value, before)
    const limitBytes = database.capabilities.metadataBytes
    const systemBytes = limitBytes - Document.fieldBudget(limitBytes, encoder.tag, schemaVersion)
    const explained = (entry: Encoding.Entry, place: "metadata" | "body"): Explanation["fields"][number] => {
      const attribute = compiled.attributes.get(entry.id)
      const codecName = attribute?.codec ?? "json"
      const json = utf8(JSON.stringify(entry.value))
      const inBody = entry.bodyText === undefined ? json : utf8(JSON.stringify(entry.bodyText))
      return {
        path: entry.path.join("."),
        attribute: entry.id,
        codec: codecName,
        place,
        bytes: place === "metadata" ? entry.size : inBody,
        jsonBytes: json,
        text: typeof entry.form === "string" && !hidden.has(codecName) ? entry.form : undefined
      }
    }
    const body = Behavior.bodyOf(placement.body)
    return {
      id,
      encoding: encoder.tag === "t" ? "text" : encoder.tag === "p" ? "packed" : encoder.tag,
      metadataBytes: systemBytes + codec.metadataBytes(placement.metadata),
      limitBytes,
      systemBytes,
      bodyBytes: placement.body.length === 0 ? 0 : utf8(JSON.stringify(body)),
      jsonBytes: utf8(JSON.stringify(plain)),
      fields: [
        ...placement.metadata.map((entry) => explained(entry, "metadata")),
        ...placement.body.map((entry) => explained(entry, "body"))
      ]
    }
  })

  return {
    construct,
    encode,
    decode,
    explain,
    pathOf: (attribute) => compiled.attributes.get(attribute)?.path.join(".") ?? attribute,
    version: Effect.sync(() => compiled.registered.version)
  }
})

const standardAlgorithms: Readonly<Record<"bcrypt" | "argon2id", Algorithm>> = {
  bcrypt: { _tag: "Bcrypt", cost: 12 },
  argon2id: { _tag: "Argon2id", memory: 19_456, passes: 2, parallelism: 1 }
}

const serviceFailed = (service: string, description: string) => new DbError.ServiceFailed({ service, description })

const samePath = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((name, index) => name === b[index])

const utf8 = (text: string): number => new TextEncoder().encode(text).length

const valueAt = (value: unknown, path: ReadonlyArray<string>): unknown => {
  let at = value
  for (const name of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return at
}

const without = (value: unknown, path: ReadonlyArray<string>): unknown => {
  const [name, ...rest] = path
  if (name === undefined || typeof value !== "object" || value === null) return value
  const { [name]: inner, ...others } = value as Record<string, unknown>
  return rest.length === 0 ? others : { ...others, [name]: without(inner, rest) }
}
