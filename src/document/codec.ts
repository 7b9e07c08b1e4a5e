/**
 * From inputs to stored fields and back, for one resource: clean-up, hashing of passwords, validation, encryption of
 * secrets, encoding, the behavior for documents that are too large, and the migration of old ones.
 *
 * Nothing here talks to the store. Failures have no operation yet: it is for the caller to name it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as AST from "effect/SchemaAST"
import type * as SchemaIssue from "effect/SchemaIssue"
import type * as Catalog from "../Catalog.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Definition, Migration } from "../Definition.ts"
import * as Document from "../Document.ts"
import * as Behavior from "../encoding/Behavior.ts"
import * as Encoding from "../encoding/Encoding.ts"
import * as systemEntry from "../encoding/internal/systemEntry.ts"
import { isObject, isRecord, valueAt, without } from "../internal/json.ts"
import { lazy } from "../internal/lazily.ts"
import { isStackOverflow } from "../internal/stackOverflow.ts"
import type { Explanation } from "../Repository.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Exact from "../schema/internal/exact.ts"
import { meant } from "../schema/internal/meant.ts"
import * as Plain from "../schema/internal/plain.ts"
import * as Normalization from "../schema/Normalization.ts"
import { maxMetadataHeaderBytes } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Compressed from "./compressed.ts"
import * as Faithful from "./faithful.ts"
import * as Passwords from "./passwords.ts"
import * as Secrets from "./secrets.ts"
import * as Unfit from "./unfit.ts"
import * as Unknown from "./unknown.ts"

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
  /** The value as JSON, without its id; secrets in clear. With what the schema does not know of its fields. Made when it is asked for. */
  readonly json: () => Encoding.JsonObject
  /** Stored attributes that the schema does not know. */
  readonly carried: Encoding.JsonObject | undefined
  /** The ids of attributes under which a part of the value is stored, those of the schema being unfit for it. */
  readonly former: ReadonlyArray<string>
  /** Whether it is certain that the schema knows all that is stored in its own fields. */
  readonly isAllKnown: boolean
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
  /** The ids of attributes, of another codec or at another place, under which a part of the value is stored. */
  readonly former: ReadonlyArray<string>
  /** Whether it is certain that the schema knows all that is stored in its own fields. */
  readonly isAllKnown: boolean
  /** Some secret is under another key than the current one. */
  readonly isUnderOldKey: boolean
  /** The value as JSON, without its id; secrets in clear. With what the schema does not know of its fields. Made when it is asked for. */
  readonly json: () => Encoding.JsonObject
}

/**
 * The version that a change goes on from: what is not known of it is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Before<A> extends Omit<Unknown.From<A>, "isLater"> {
  readonly schemaVersion: number
}

/**
 * Everything of a version that indexes go by, whether the schema knows it or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Indexed {
  readonly json: Encoding.JsonObject
  /** Paths at which there is something that cannot be told: secret, of a later release, or stored twice. */
  readonly untold: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * The codec of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentCodec<A> {
  /** Cleans an input up, hashes its passwords and validates it. */
  readonly construct: (input: unknown) => Effect.Effect<A, DbError.InvalidInput | DbError.ServiceFailed>
  /** The same but for the fields that are filled in, and without the rules for the document as a whole. */
  readonly constructGiven: (input: unknown) => Effect.Effect<unknown, DbError.InvalidInput | DbError.ServiceFailed>
  /**
   * Encodes a value; `before` is the version that it goes on from. Fails with `Unsupported` when what is not known of that
   * cannot be kept as it is.
   */
  readonly encode: (
    value: A,
    before: Before<A> | undefined
  ) => Effect.Effect<Encoded<A>, DbError.InvalidInput | DbError.MetadataLimit | StoreError.Unsupported>
  /** Puts what the schema does not know of a version beside what it knows. */
  readonly indexed: (version: Pick<Encoded<A>, "json" | "carried">) => Indexed
  /**
   * Decodes a stored document, applying the migrations that it needs. Fails with `DbError` when the catalog has to be
   * read again and cannot be.
   */
  readonly decode: (
    id: string,
    stored: Document.Stored
  ) => Effect.Effect<
    Decoded<A>,
    StoreError.Corrupt | StoreError.Unsupported | DbError.SecretUnreadable | DbError.ServiceFailed | DbError.DbError
  >
  /** Tells where the bytes of a value would go, if it were encoded. */
  readonly explain: (
    value: A,
    before?: Before<A>
  ) => Effect.Effect<Explanation, DbError.InvalidInput | DbError.MetadataLimit | StoreError.Unsupported>
  /** The path of an attribute id, for people. */
  readonly pathOf: (attribute: string) => string
  /** The version that is written. */
  readonly version: Effect.Effect<number>
  /** The keys by which a unique key of the resource tells secrets apart: none without a `KeyRing`. */
  readonly blindKeys: Secrets.Secrets["blindKeys"]
}

/**
 * Reads the services that the codec of a resource is made with, in an order: two that are made with the same do the same.
 *
 * @category getters
 * @since 0.1.0
 */
export const servicesOf = <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): Effect.Effect<ReadonlyArray<unknown>> => {
  const hasSecrets = definition.attributes.some(({ codec }) => codec === "secret")
  const hasPasswords = Attributes.passwordsOf(definition.schema).length > 0
  return Effect.all([
    Encoding.Encoding,
    hasSecrets ? Effect.map(Secrets.service, Option.getOrUndefined) : Effect.succeed(undefined),
    hasPasswords ? Effect.map(Passwords.service, Option.getOrUndefined) : Effect.succeed(undefined)
  ])
}

/**
 * Compiles the codec of a resource, registering its definition in the catalog.
 *
 * Fails with `ServiceFailed` when the schema has secrets and there is no `KeyRing`, or passwords and no `PasswordHasher`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema>(
  definition: Definition<S>,
  database: Database["Service"]
): Effect.fn.Return<DocumentCodec<S["Type"]>, DbError.ServiceFailed | DbError.DbError> {
  const { schema } = definition
  const context: Context<S> = {
    definition,
    database,
    encoder: yield* Encoding.Encoding,
    json: lazy(() => Exact.make(schema)),
    made: lastMade(),
    plain: lazy(() => Plain.compile(schema, definition.primaryKey)),
    refused: lazy(() => refusals(definition)),
    registration: yield* register(definition, database)
  }
  const { registration } = context
  // What the catalog has is without the migrations of its program.
  const misfit =
    definition.origin === "program" ? Unfit.describe(definition, registration.current().registered) : undefined
  if (misfit !== undefined) yield* Effect.logWarning(misfit)
  const passwords = yield* Passwords.make(definition)
  const secrets = yield* Secrets.make(definition, registration.current().registered, database)
  // What is compiled of a schema is compiled for who needs it: a program may open hundreds of resources, and use a few.
  const inputs = lazy(() => constructing(context, passwords))
  const writes = lazy(() => writing(context, secrets))
  const decode = lazy(() => reading(context, secrets))
  return {
    construct: (input) => inputs().construct(input),
    constructGiven: (input) => inputs().constructGiven(input),
    encode: (value, before) => writes().encode(value, before),
    explain: (value, before) => writes().explain(value, before),
    decode: (id, stored) => decode()(id, stored),
    indexed: ({ carried, json }) =>
      carried === undefined ? { json: json(), untold: [] } : indexedOf(json(), carried, registration),
    pathOf: (attribute) => registration.current().attributes.get(attribute)?.path.join(".") ?? attribute,
    version: Effect.sync(() => registration.current().registered.version),
    blindKeys: secrets.blindKeys
  }
})

// -----------------------------------------------------------------------------
// Shared
// -----------------------------------------------------------------------------

/** What the parts of a codec share. */
interface Context<S extends Attributes.DocumentSchema> {
  readonly definition: Definition<S>
  readonly database: Database["Service"]
  readonly encoder: Encoding.Encoder
  readonly json: () => Exact.ExactCodec<S["Type"]>
  readonly made: LastMade
  /** What does the same for most values, where the schema is plain. */
  readonly plain: () => Plain.Plain | undefined
  readonly refused: () => Refused
  readonly registration: Registration
}

/** The value that was made last, as long as nobody but who has made it can have changed it: until it is encoded, or another one is made. */
interface LastMade {
  readonly note: (value: unknown) => void
  /** Whether it is this one. It is forgotten. */
  readonly take: (value: unknown) => boolean
}

const lastMade = (): LastMade => {
  let last: unknown
  return {
    note: (value) => {
      last = value
    },
    take: (value) => {
      const isLast = last === value
      last = undefined
      return isLast
    }
  }
}

/**
 * What is wrong with an input, of what a schema finds.
 *
 * @category models
 * @since 0.1.0
 */
export type Refused = (issue: SchemaIssue.Issue) => DbError.InvalidInput

/** The codecs of a resource for one state of the catalog. */
interface Compiled {
  readonly registered: Catalog.Registered
  readonly attributes: ReadonlyMap<string, Encoding.StoredAttribute>
  readonly codecFor: (encoder: Encoding.Encoder, version?: number) => Encoding.FieldsCodec
  /** What takes values of the present version there and back, if a schema and its encoding are such that it can. */
  readonly directFor: (encoder: Encoding.Encoder, plain: Plain.Plain) => Encoding.Direct | undefined
}

const compile = (registered: Catalog.Registered, primaryKey: string): Compiled => {
  const codecs = new Map<string, Encoding.FieldsCodec>()
  const direct = new Map<string, Encoding.Direct | undefined>()
  const codecFor: Compiled["codecFor"] = (encoder, version) => {
    const name = version === undefined ? encoder.tag : `${encoder.tag}${version}`
    let codec = codecs.get(name)
    if (codec === undefined) {
      const written = version === undefined ? registered.written : (registered.versions.get(version) ?? [])
      codecs.set(name, (codec = encoder.compile({ written, readable: registered.readable })))
    }
    return codec
  }
  return {
    registered,
    attributes: new Map(registered.readable.map((attribute) => [attribute.id, attribute])),
    codecFor,
    directFor(encoder, plain) {
      const found = direct.get(encoder.tag)
      if (found !== undefined || direct.has(encoder.tag)) return found
      const made = codecFor(encoder).direct(plain.fields, primaryKey)
      direct.set(encoder.tag, made)
      return made
    }
  }
}

/** What the catalog knows of a resource; others may register more at any time. */
interface Registration {
  readonly current: () => Compiled
  /** Reads the catalog again. */
  readonly renew: Effect.Effect<void, DbError.DbError>
}

const register = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema>(
  declaration: Definition<S>,
  database: Database["Service"]
) {
  const { primaryKey } = declaration
  let current = compile(yield* database.register(declaration), primaryKey)
  const registration: Registration = {
    current: () => current,
    renew: Effect.gen(function* () {
      yield* database.refresh
      // Indexes that a newer program has removed are not declared again by one that reads.
      const registered = yield* database.register({ ...declaration, partitions: undefined, uniques: undefined })
      current = compile(registered, primaryKey)
    })
  }
  return registration
})

/**
 * Makes what tells what is wrong with an input, without showing what is inside a secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusals = ({
  name,
  schema,
  attributes
}: {
  readonly name: string
  readonly schema: Attributes.DocumentSchema
  readonly attributes: ReadonlyArray<Attributes.Attribute>
}): Refused => {
  // Keys inside a secret are part of the secret.
  const stored = attributes.filter(({ codec }) => Attributes.isHidden(codec)).map(({ path }) => path)
  const hiddenPaths = [...Attributes.hiddenOf(schema), ...stored]
  return (issue) => {
    const error = DbError.invalidInput(name, issue)
    const isPlain = hiddenPaths.length === 0 && !error.issues.some(({ message }) => message === DbError.noSuchField)
    if (isPlain) return error
    const issues = error.issues.map(({ message: plain, path }) => {
      const message = plain === DbError.noSuchField ? `${plain}${meant(schema.ast, path)}` : plain
      const within = hiddenPaths.find((hiddenPath) => hiddenPath.every((part, index) => part === path[index]))
      if (within === undefined || within.length === path.length) return { path, message }
      return { path: within, message: "Expected another value inside the secret" }
    })
    return new DbError.InvalidInput({ resource: error.resource, issues })
  }
}

/** Values that are nested too deep end the recursion over them with an exception; any other exception is none of theirs. */
const orTooDeep =
  <E>(make: () => E) =>
  <X, E2, R>(effect: Effect.Effect<X, E2, R>): Effect.Effect<X, E | E2, R> =>
    // What is done already and has not failed needs no handler.
    Exit.isExit(effect) && Exit.isSuccess(effect)
      ? effect
      : Effect.catchDefect(effect, (defect) => (isStackOverflow(defect) ? Effect.fail(make()) : Effect.die(defect)))

/** Begins an effect now; what it throws, values that are nested too deep apart, is a defect. */
const atOnce = <A, E, E2, R>(make: () => E, begin: () => Effect.Effect<A, E2, R>): Effect.Effect<A, E | E2, R> => {
  let begun: Effect.Effect<A, E2, R>
  try {
    begun = begin()
  } catch (error) {
    begun = Effect.die(error)
  }
  return orTooDeep(make)(begun)
}

const tooDeep = (resource: string) => () =>
  DbError.invalidField(resource, [], "Expected values that are not nested as deep as this")

// -----------------------------------------------------------------------------
// Inputs
// -----------------------------------------------------------------------------

const constructing = <S extends Attributes.DocumentSchema>(
  { definition: { completion, name, onExcessProperty, primaryKey, schema }, made, refused: refusedOf }: Context<S>,
  passwords: Passwords.Passwords
): Pick<DocumentCodec<S["Type"]>, "construct" | "constructGiven"> => {
  const refused = refusedOf()
  const normalize = Normalization.compile(schema)
  const findExcess = Normalization.compileStrict(schema)
  const by = <X>(one: Attributes.DocumentSchema, make: (input: unknown) => Effect.Effect<X, SchemaIssue.Issue>) => {
    const walk = Normalization.hasSteps(schema) ? undefined : Plain.compile(one, primaryKey)?.make
    const constructed = (input: unknown) => {
      const normalized = normalize(input)
      return Effect.flatMapEager(
        Effect.mapErrorEager(make(normalized), refused),
        (made): Effect.Effect<X, DbError.InvalidInput> => {
          const other = Faithful.takenForObject(normalized, made)
          return other === undefined
            ? Effect.succeed(made)
            : Effect.fail(DbError.invalidField(name, other.path, `Expected an object, no ${other.kind}`))
        }
      )
    }
    const fully = (input: unknown): Effect.Effect<X, DbError.InvalidInput | DbError.ServiceFailed> =>
      atOnce(tooDeep(name), (): Effect.Effect<X, DbError.InvalidInput | DbError.ServiceFailed> => {
        const excess = findExcess(input)
        return excess === undefined
          ? Effect.flatMapEager(passwords.hash(input), constructed)
          : Effect.fail(DbError.invalidField(name, excess, `${DbError.noSuchField}${meant(schema.ast, excess)}`))
      })
    return walk === undefined
      ? fully
      : (input: unknown) => {
          const value = Plain.walked(walk, input)
          if (value === Plain.other) return fully(input)
          made.note(value)
          return Effect.succeed(value as X)
        }
  }
  const making = (one: Attributes.DocumentSchema) => {
    const make = (input: unknown, parseOptions?: AST.ParseOptions) =>
      one.makeEffect(input, parseOptions === undefined ? undefined : { parseOptions })
    const ast = AST.toType(one.ast)
    return onExcessProperty === "ignore" ? Exact.looselyBy(ast, make) : Exact.exactlyBy(ast, make)
  }
  const construct = by(schema, making(schema))
  const filled = completion?.fields ?? []
  const given = Attributes.omitFields(schema, filled)
  if (given === undefined) return { construct, constructGiven: construct }
  const constructGiven = by(given, making(given))
  const isGiven = ([field]: readonly [string, unknown]) => !filled.includes(field)
  return {
    construct,
    constructGiven: (input) =>
      isRecord(input) ? constructGiven(Object.fromEntries(Object.entries(input).filter(isGiven))) : construct(input)
  }
}

// -----------------------------------------------------------------------------
// Writing
// -----------------------------------------------------------------------------

/** A document whose fields are to be encoded: with secrets sealed, and the attributes that are kept as they are, by their ids. */
interface Placing {
  readonly id: string
  readonly document: Encoding.JsonObject
  readonly kept: Encoding.JsonObject | undefined
  readonly whole: Unknown.Whole
}

/** A document with the places of its fields. */
interface Placed {
  readonly id: string
  readonly whole: Unknown.Whole
  readonly codec: Encoding.FieldsCodec
  readonly schemaVersion: number
  readonly placement: Behavior.Placement
}

const writing = <S extends Attributes.DocumentSchema>(
  { definition, database, encoder, json, made, plain, refused: refusedOf, registration }: Context<S>,
  secrets: Secrets.Secrets
): Pick<DocumentCodec<S["Type"]>, "encode" | "explain"> => {
  type A = S["Type"]
  const exact = json()
  const refused = refusedOf()
  const { name, primaryKey } = definition
  const faithful = Faithful.make(definition, exact)
  const optional = new Set(definition.attributes.filter((one) => one.optional).map((one) => one.path.join(".")))
  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)
  const plainOf = Effect.fnUntraced(function* (value: A) {
    const encoding = Effect.provideService(exact.encode(value), Attributes.SecretsOpen, true)
    const { json } = yield* Effect.mapError(encoding, (error) => refused(error.issue))
    const { [primaryKey]: _, ...plain } = json as Encoding.JsonObject
    return plain
  })
  const unknown = Unknown.make(definition, plainOf)

  type PlaceFailure = DbError.InvalidInput | DbError.MetadataLimit | StoreError.Unsupported

  /** Encodes the fields of a document, and decides where each goes. */
  const placeFields = (
    { id, document, kept, whole }: Placing,
    compiled: Compiled,
    before: Before<A> | undefined
  ): Effect.Effect<Placed, PlaceFailure> => {
    const codec = compiled.codecFor(encoder)
    const encoded = codec.encode(document, kept)
    if (Result.isFailure(encoded)) return Effect.fail(invalid(encoded.failure.path, encoded.failure.message))
    const schemaVersion = Math.max(compiled.registered.version, before?.schemaVersion ?? 0)
    const placing = Behavior.place(definition.behavior, {
      codec,
      entries: encoded.success,
      limits: Document.fieldLimits(database.capabilities, encoder.tag, schemaVersion),
      pins: definition.pins,
      isOptional: (path) => optional.has(path.join(".")),
      isKept: (attribute) => kept !== undefined && Object.hasOwn(kept, attribute),
      resource: name,
      id
    })
    return Effect.flatMapEager(placing, (outcome): Effect.Effect<Placed, DbError.MetadataLimit> =>
      outcome._tag === "Exceeded"
        ? Effect.fail(new DbError.MetadataLimit({ resource: name, id, ...outcome.exceeded }))
        : Effect.succeed({ id, whole, codec, schemaVersion, placement: outcome.placement })
    )
  }

  const isHidden = (attribute: string): boolean =>
    Attributes.isHidden(registration.current().attributes.get(attribute)?.codec ?? "")

  /** What is stored of fields that have their places. */
  const storedForm = ({ codec, placement }: Placed): Effect.Effect<Compressed.Placed> => {
    const { compresses } = registration.current().registered
    return compresses && (placement.body.length > 0 || placement.movable.length > 0)
      ? Compressed.compress(codec, placement, isHidden)
      : Effect.succeed(Compressed.plain(codec, placement, compresses))
  }

  const jsonOf = (value: A) =>
    Effect.mapErrorEager(faithful.encode(value), (error) =>
      error._tag === "SchemaError" ? refused(error.issue) : error
    )

  const place = (value: A, before: Before<A> | undefined): Effect.Effect<Placed, PlaceFailure> =>
    atOnce(tooDeep(name), () => {
      const compiled = registration.current()
      return Effect.flatMapEager(jsonOf(value), (json): Effect.Effect<Placed, PlaceFailure> => {
        const { [primaryKey]: id, ...plain } = json
        if (typeof id !== "string") return Effect.fail(invalid([primaryKey], "Expected a string"))
        const isLater = (before?.schemaVersion ?? 0) > compiled.registered.version
        const from = before === undefined ? undefined : { ...before, isLater }
        return Effect.flatMapEager(unknown.keep(plain, from, compiled.attributes), (whole) =>
          Effect.flatMapEager(secrets.seal(id, whole.own, compiled.registered.written), (document) =>
            Effect.flatMapEager(sealFormer(id, whole.former), (former) => {
              const kept = former === undefined ? whole.carried : { ...whole.carried, ...former }
              return placeFields({ id, document, kept, whole }, compiled, before)
            })
          )
        )
      })
    })

  /** Values that stay under the attributes under which they were stored, by their ids. */
  const sealFormer = (id: string, former: Unknown.Whole["former"]) =>
    former.length === 0 ? Effect.undefined : sealEach(id, former)

  const sealEach = Effect.fnUntraced(function* (id: string, former: Unknown.Whole["former"]) {
    const sealed: Record<string, Encoding.Json> = {}
    for (const { attribute, value } of former) {
      const alone: Record<string, Encoding.Json> = {}
      Encoding.setPath(alone, attribute.path, value, false)
      sealed[attribute.id] = valueAt(yield* secrets.seal(id, alone, [attribute]), attribute.path) ?? null
    }
    return sealed
  })

  /** The version as it will be read, where something of it was cut. */
  const shortened = Effect.fnUntraced(function* (
    { id, whole: { json }, placement: { exceeded, metadata, truncated } }: Placed,
    common: Omit<Encoded<A>, "json" | "value">
  ) {
    // What is left is what will be read: it has to fit the schema as well.
    const left = truncated.reduce<unknown>((document, attribute) => {
      const path = registration.current().attributes.get(attribute)?.path ?? []
      const kept = metadata.find((entry) => entry.id === attribute)
      return kept === undefined ? without(document, path) : Normalization.changeAt(document, path, () => kept.value)
    }, json)
    const read = yield* Effect.option(exact.decode({ ...(left as object), [primaryKey]: id }))
    if (Option.isSome(read)) return { ...common, value: read.value, json: () => left as Encoding.JsonObject }
    return yield* new DbError.MetadataLimit({ resource: name, id, ...exceeded! })
  })

  const { behavior, pins } = definition
  const isUsual = typeof behavior === "string" && behavior !== "body-only" && pins.body.size === 0
  const walks =
    faithful.isSure && isUsual && !definition.attributes.some(({ codec }) => codec === "secret") ? plain() : undefined

  /** What most are: fields that fit into metadata, and nothing to be kept. `undefined`: it is something else. */
  const plainly = (value: A, before: Before<A> | undefined): Encoded<A> | undefined => {
    if (walks === undefined || (before !== undefined && !unknown.isAll(before))) return undefined
    const id = (value as Readonly<Record<string, unknown>>)[primaryKey]
    if (typeof id !== "string") return undefined
    const compiled = registration.current()
    const schemaVersion = Math.max(compiled.registered.version, before?.schemaVersion ?? 0)
    const limits = limitsOf(schemaVersion)
    const isMade = made.take(value)
    const direct = isMade ? compiled.directFor(encoder, walks) : undefined
    const directly = direct?.write(value as object, limits)
    if (directly === Encoding.tooLarge) return undefined
    if (direct !== undefined && directly !== undefined) {
      return encodedAs(id, value, directly, schemaVersion, compiled, () => direct.json(directly))
    }
    const walked = Plain.walked(isMade ? walks.encodeMade : walks.encode, value)
    if (walked === Plain.other) return undefined
    const json = walked as Encoding.JsonObject
    const metadata = compiled.codecFor(encoder).metadataWithin(json, limits)
    return metadata === undefined ? undefined : encodedAs(id, value, metadata, schemaVersion, compiled, () => json)
  }

  const encodedAs = (
    id: string,
    value: A,
    metadata: Record<string, string>,
    schemaVersion: number,
    { registered }: Compiled,
    json: () => Encoding.JsonObject
  ): Encoded<A> => {
    metadata[systemEntry.name] = systemEntry.valueOf(encoder.tag, schemaVersion)
    return {
      id,
      value,
      tag: encoder.tag,
      schemaVersion,
      fields: { metadata, spilled: undefined, spilledText: undefined, isBinary: registered.compresses },
      truncated: none,
      json,
      carried: undefined,
      former: none,
      isAllKnown: true
    }
  }

  /** What a store leaves for fields, as far as they go there whatever their size. */
  const known = { schemaVersion: 0, limits: undefined as Encoding.Limits | undefined }
  const limitsOf = (schemaVersion: number): Encoding.Limits => {
    if (known.limits === undefined || known.schemaVersion !== schemaVersion) {
      const limits = Document.fieldLimits(database.capabilities, encoder.tag, schemaVersion)
      known.schemaVersion = schemaVersion
      known.limits =
        behavior === "body-overflow" ? { ...limits, bytes: Math.min(limits.bytes, Behavior.comfortableBytes) } : limits
    }
    return known.limits
  }

  const encode: DocumentCodec<A>["encode"] = (value, before) => {
    const encoded = plainly(value, before)
    return encoded === undefined ? fully(value, before) : Effect.succeed(encoded)
  }

  const fully: DocumentCodec<A>["encode"] = (value, before) =>
    Effect.flatMapEager(place(value, before), (placed): Effect.Effect<Encoded<A>, DbError.MetadataLimit> => {
      const { id, whole, schemaVersion, placement } = placed
      const { exceeded, truncated } = placement
      return Effect.flatMapEager(storedForm(placed), ({ fields }): Effect.Effect<Encoded<A>, DbError.MetadataLimit> => {
        const common = {
          id,
          tag: encoder.tag,
          schemaVersion,
          fields,
          truncated,
          carried: whole.carried,
          former: whole.former.length === 0 ? none : whole.former.map(({ attribute }) => attribute.id),
          isAllKnown: whole.isAllKnown
        }
        return exceeded === undefined
          ? Effect.succeed({ ...common, value, json: () => whole.json })
          : shortened(placed, common)
      })
    })

  const explain: DocumentCodec<A>["explain"] = Effect.fnUntraced(function* (value, before) {
    const placed = yield* place(value, before)
    const { id, whole, codec, schemaVersion } = placed
    const { body, compressed, fields, metadata } = yield* storedForm(placed)
    const { attributes } = registration.current()
    const { metadataBytes: limitBytes } = database.capabilities
    const systemBytes = Document.systemBytes(encoder.tag, schemaVersion)
    const explained = (
      entry: Encoding.Entry,
      place: "metadata" | "body",
      isCompressed = false
    ): Explanation["fields"][number] => {
      const attribute = attributes.get(entry.id)
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
        isCompressed,
        text: typeof entry.form === "string" && !Attributes.isHidden(codecName) ? entry.form : undefined
      }
    }
    const open = { spilled: fields.spilled, spilledText: fields.spilledText }
    const isOpen = open.spilled !== undefined || open.spilledText !== undefined
    return {
      id,
      encoding: encoder.tag === "t" ? "text" : encoder.tag === "p" ? "packed" : encoder.tag,
      metadataBytes: systemBytes + codec.metadataBytes(metadata),
      limitBytes,
      headerBytes: systemBytes + Document.systemHeaderOverhead + codec.headerBytes(metadata),
      headerLimitBytes: database.capabilities.metadataHeaderBytes ?? maxMetadataHeaderBytes,
      systemBytes,
      bodyBytes: (isOpen ? utf8(JSON.stringify(open)) : 0) + (compressed?.bytes ?? 0),
      jsonBytes: utf8(JSON.stringify(whole.json)),
      fields: [
        ...metadata.map((entry) => explained(entry, "metadata")),
        ...body.map((entry) => explained(entry, "body", compressed?.entries.has(entry)))
      ]
    }
  })

  return { encode, explain }
}

const none: ReadonlyArray<string> = []

const noSteps: ReadonlyArray<Migration> = []

const utf8 = (text: string): number => new TextEncoder().encode(text).length

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const reading = <S extends Attributes.DocumentSchema>(
  { definition, json, plain, registration }: Context<S>,
  secrets: Secrets.Secrets
): DocumentCodec<S["Type"]>["decode"] => {
  const { primaryKey, schema } = definition
  const walks = plain()
  const { decode: fromJson } = json()
  const complement = Attributes.compileDefaults(schema)
  const hasDefaults = complement !== Attributes.withoutDefaults
  /** The id is where the key says, and no field: a default must not stand in its place. */
  const withDefaults = (document: Encoding.Json): Encoding.JsonObject => {
    const whole = complement(document) as Encoding.JsonObject
    if (whole === document || !Object.hasOwn(whole, primaryKey)) return whole
    const { [primaryKey]: _, ...rest } = whole
    return rest
  }
  const known = Unknown.pathsOf(definition.attributes)
  const corrupt = (description: string) => new StoreError.Corrupt({ description })
  const labelOf = (id: string) => `document ${JSON.stringify(id)}`

  const decodeFields = Effect.fnUntracedEager(function* (id: string, stored: Document.Stored) {
    const reader = Encoding.forTag(stored.tag)
    if (reader === undefined) return yield* corrupt(`${labelOf(id)} was written in an encoding unknown here`)
    const steps = stepsFrom(stored.schemaVersion)
    const decode = () =>
      registration
        .current()
        .codecFor(reader, steps.length > 0 ? stored.schemaVersion : undefined)
        .decode(stored.fields)
    let decoded = decode()
    if (Result.isFailure(decoded) && decoded.failure._tag === "UnknownAttribute") {
      // Another process may have registered it since.
      yield* registration.renew
      decoded = decode()
    }
    if (Result.isSuccess(decoded)) return { decoded: decoded.success, steps }
    const problem = decoded.failure
    const label = labelOf(id)
    if (problem._tag === "UnknownCodec") {
      const path = registration.current().attributes.get(problem.id)?.path.join(".") ?? problem.id
      const description = `field ${path} of ${label} has a form that this release does not know; upgrade effect-s3db`
      return yield* new StoreError.Unsupported({ feature: "codec", description })
    }
    const what =
      problem._tag === "UnknownAttribute"
        ? `has an attribute ${problem.id} that the catalog does not know`
        : `has an unreadable field ${problem.path.join(".")}`
    return yield* corrupt(`${label} ${what}`)
  })

  /** The steps from a version to the present one, if any of them has something to do. */
  const stepsFrom = (version: number): ReadonlyArray<Migration> => {
    if (version >= registration.current().registered.version) return noSteps
    const steps: Array<Migration> = []
    for (let at = version; at < registration.current().registered.version; at++) {
      const step = definition.migrations[at]
      if (step !== undefined) steps.push(step)
    }
    return steps
  }

  /** For a migration: also with what the version itself did not know, but others stored. */
  const complete = (document: Encoding.JsonObject, carried: Encoding.JsonObject | undefined): Encoding.JsonObject => {
    const whole: Record<string, Encoding.Json> = { ...document }
    for (const id of carried === undefined ? [] : Object.keys(carried)) {
      const { path = [], codec } = registration.current().attributes.get(id) ?? {}
      if (codec !== "secret") Encoding.setPath(whole, path, carried![id]!, true)
    }
    return whole
  }

  /** What a migrated document does not stand for already. */
  const unknownPart = (carried: Encoding.JsonObject | undefined): Encoding.JsonObject | undefined => {
    const paths = new Set(definition.attributes.map((attribute) => attribute.path.join(".")))
    const kept = Object.entries(carried ?? {}).filter(
      ([id]) => !paths.has(registration.current().attributes.get(id)?.path.join(".") ?? "")
    )
    return kept.length === 0 ? undefined : Object.fromEntries(kept)
  }

  const valueOf = (whole: Encoding.JsonObject, id: string, version: number) =>
    orTooDeep(() => corrupt(`${labelOf(id)} is nested too deep`))(
      Effect.mapErrorEager(fromJson({ ...whole, [primaryKey]: id }), (error) =>
        corrupt(
          `${labelOf(id)} of schema version ${version} does not fit the schema, and may need a migration: ${error.message}`
        )
      )
    )

  const migrate = (steps: ReadonlyArray<Migration>, id: string, version: number, document: Encoding.JsonObject) =>
    Effect.try({
      try: () => steps.reduce((at, step) => step(at), document),
      catch: () => corrupt(`${labelOf(id)}, of schema version ${version}, makes its migration throw an error`)
    })

  const hasSecrets = definition.attributes.some(({ codec }) => codec === "secret")

  /** What most are: nothing to migrate, nothing sealed, nothing wrong. `undefined`: it is something else. */
  const plainly = (id: string, stored: Document.Stored): Decoded<S["Type"]> | undefined => {
    const compiled = registration.current()
    const reader = Encoding.forTag(stored.tag)
    if (hasSecrets || reader === undefined || stored.schemaVersion < compiled.registered.version) return undefined
    return directly(id, stored.fields, reader, compiled) ?? throughJson(id, stored.fields, reader, compiled)
  }

  /** What is in metadata, of fields of the schema and no others. `undefined`: it is something else. */
  const directly = (
    id: string,
    { metadata, spilled, spilledText }: Encoding.StoredFields,
    reader: Encoding.Encoder,
    compiled: Compiled
  ): Decoded<S["Type"]> | undefined => {
    if (walks === undefined || hasDefaults || spilled !== undefined || spilledText !== undefined) return undefined
    const direct = compiled.directFor(reader, walks)
    const read = direct?.read(metadata, id)
    if (direct === undefined || read === undefined) return undefined
    const value = walks.check(read)
    return value === Plain.other
      ? undefined
      : {
          value: value as S["Type"],
          carried: undefined,
          former: none,
          isAllKnown: true,
          isUnderOldKey: false,
          json: () => direct.json(metadata)
        }
  }

  const throughJson = (
    id: string,
    stored: Encoding.StoredFields,
    reader: Encoding.Encoder,
    { codecFor }: Compiled
  ): Decoded<S["Type"]> | undefined => {
    const fields = codecFor(reader).decode(stored)
    if (Result.isFailure(fields) || fields.success.secrets.length > 0) return undefined
    const { carried, document, former } = fields.success
    const json = withDefaults(document)
    const decoded = { carried, former, isUnderOldKey: false, json: () => json }
    const made = walks === undefined ? Plain.other : walks.decode(json, id)
    if (made !== Plain.other) return { ...decoded, value: made as S["Type"], isAllKnown: true }
    const value = fromJson({ ...json, [primaryKey]: id })
    return Exit.isExit(value) && Exit.isSuccess(value)
      ? { ...decoded, value: value.value, isAllKnown: false }
      : undefined
  }

  const fully: DocumentCodec<S["Type"]>["decode"] = Effect.fnUntracedEager(function* (id, stored) {
    const { decoded, steps } = yield* decodeFields(id, stored)
    const { document, carried, isUnderOldKey } = yield* secrets.open(
      id,
      decoded,
      registration.current().attributes,
      steps.length === 0
    )
    const migrated =
      steps.length === 0 ? document : yield* migrate(steps, id, stored.schemaVersion, complete(document, carried))
    const whole = withDefaults(migrated)
    const value = yield* valueOf(whole, id, stored.schemaVersion)
    const common = { value, isAllKnown: false, isUnderOldKey }
    if (steps.length === 0) return { ...common, carried, former: decoded.former, json: () => whole }
    // What a migration has left over, perhaps a secret of before, is no field of the document.
    const json = Unknown.knownPart(whole, known)
    return { ...common, carried: unknownPart(carried), former: none, json: () => json }
  })

  const expanded: DocumentCodec<S["Type"]>["decode"] = (id, stored) => {
    const decoded = unlessThrown(() => plainly(id, stored))
    return decoded === undefined ? fully(id, stored) : Effect.succeed(decoded)
  }

  return (id, stored) =>
    stored.fields.compressed === undefined
      ? expanded(id, stored)
      : Effect.flatMapEager(
          Effect.mapErrorEager(Compressed.expand(stored), (problem) => corrupt(`${labelOf(id)}: ${problem}`)),
          (fields) => expanded(id, { ...stored, fields })
        )
}

/** What a function gives; where it throws, whoever does the same step by step says what is wrong. */
const unlessThrown = <X>(run: () => X): X | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}

/** What is known of a version and what is not, each at its place. */
const indexedOf = (json: Encoding.JsonObject, carried: Encoding.JsonObject, registration: Registration): Indexed => {
  const { attributes } = registration.current()
  const untold: Array<ReadonlyArray<string>> = []
  let whole = json
  const all = Object.keys(carried).map((id) => ({ codec: "", path: [], ...attributes.get(id), value: carried[id]! }))
  // A struct comes before its fields.
  for (const { codec, path, value } of all.toSorted((a, b) => a.path.length - b.path.length)) {
    if (Attributes.isHidden(codec) || !Encoding.isKnownCodec(codec)) untold.push(path)
    else {
      const next = withValue(whole, path, codec === "struct" && value !== null ? {} : value)
      if (next === undefined) untold.push(path)
      else whole = next
    }
  }
  return { json: whole, untold }
}

/** A copy with a value where there is none; `undefined` where there is one, or no struct for it. */
const withValue = (
  object: Encoding.JsonObject,
  [name = "", ...rest]: ReadonlyArray<string>,
  value: Encoding.Json
): Encoding.JsonObject | undefined => {
  const there = Object.hasOwn(object, name) ? object[name] : undefined
  if (rest.length === 0) return there === undefined ? { ...object, [name]: value } : undefined
  if (there !== undefined && !isObject(there)) return undefined
  const inner = withValue(there ?? {}, rest, value)
  return inner === undefined ? undefined : { ...object, [name]: inner }
}
