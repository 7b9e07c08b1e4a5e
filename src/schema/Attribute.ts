/**
 * The types that an attribute can have, as schemas.
 *
 * Each is an ordinary schema that can stand in any struct or class, with checks, brands and transformations around it.
 * It validates for real, and carries an annotation that names its codec, so that its value is stored in a few bytes.
 * Schemas without such an annotation (`Schema.String`, `Schema.Int`, arrays, records, unions, ...) are stored as well;
 * see the guide, "What a document can hold", for all of them with their stored forms.
 *
 * ```ts
 * import * as Attribute from "effect-s3db/schema/Attribute"
 * import { Schema } from "effect"
 *
 * const Host = Schema.Struct({ address: Attribute.Ip4, price: Attribute.Money("EUR"), secret: Attribute.SecretText })
 * ```
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Cron from "effect/Cron"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import {
  GivenPasswords,
  passwordId,
  PlainPassword,
  plainPasswordId,
  representationId,
  secretId,
  SecretsOpen
} from "./Attributes.ts"
import * as Hashes from "./PasswordHash.ts"
import * as formats from "../internal/formats.ts"
import * as rounding from "../internal/rounding.ts"

// -----------------------------------------------------------------------------
// The annotation
// -----------------------------------------------------------------------------

interface Type {
  readonly expected: string
  /** The codec of the attribute, as `encoding` knows it. */
  readonly codec: string
  readonly is: (value: never) => boolean
}

type Args = ReadonlyArray<string | number>

const text = (expected: string, is: (text: string) => boolean, codec = "string"): Type => ({ expected, codec, is })

const fixedDecimals =
  (kind: string) =>
  (scale: number) =>
  (codec: string): Type => ({
    expected: `${kind} with at most ${scale} decimals`,
    codec,
    is: (value: BigDecimal.BigDecimal) => BigDecimal.normalize(value).scale <= scale
  })

const within = (value: number, bound: number): boolean => value >= -bound && value <= bound

/** Every type by its name in the annotation. */
const types: Readonly<Record<string, (...args: Args) => Type>> = {
  uuid: () => text("a UUID", formats.isUuid, "uuid"),
  ulid: () => text("a ULID", formats.isUlid, "ulid"),
  dateonly: () => text("a date, YYYY-MM-DD", formats.isDateOnly, "dateonly"),
  timeonly: () => text("a time of day, HH:MM, HH:MM:SS or HH:MM:SS.mmm", formats.isTimeOnly, "timeonly"),
  email: () => text("an e-mail address", formats.isEmail),
  url: () => text("an absolute URL", formats.isUrl),
  ip4: () => text("an IPv4 address", formats.isIp4, "ip4"),
  ip6: () => text("an IPv6 address", formats.isIp6, "ip6"),
  cidr: () => text("an IP network in CIDR notation", formats.isCidr, "cidr"),
  mac: () => text("a MAC address", formats.isMac, "mac"),
  semver: () => text("a semantic version", formats.isSemver, "semver"),
  phone: () => text("a phone number in E.164, such as +5511999887766", formats.isPhone, "phone"),
  color: () => text("a colour, #rgb, #rgba, #rrggbb or #rrggbbaa", formats.isColor, "color"),
  locale: () => text("a language tag of BCP 47", formats.isLocale),
  currency: () => text("a currency code of ISO 4217", formats.isCurrency),
  country: () => text("a country code of ISO 3166-1 alpha-2", formats.isCountry),
  ean: () => text("an EAN, UPC or GTIN with a right check digit", formats.isEan, "ean"),
  cron: () => text("a cron expression", (value) => Result.isSuccess(Cron.parse(value))),
  // There is none that is no hash.
  password: () => ({ expected: "the hash of a password", codec: "password", is: () => true }),
  duration: () => ({ expected: "a duration", codec: "duration", is: () => true }),
  money: (scale = 2) => fixedDecimals("an amount")(Number(scale))(`money:${scale}`),
  decimal: (scale = 2) => fixedDecimals("a number")(Number(scale))(`decimal:${scale}`),
  lat: (precision = 6) => ({
    expected: "a latitude from -90 to 90",
    codec: `lat:${precision}`,
    is: (value: number) => within(value, 90)
  }),
  lon: (precision = 6) => ({
    expected: "a longitude from -180 to 180",
    codec: `lon:${precision}`,
    is: (value: number) => within(value, 180)
  }),
  point: (precision = 6) => ({
    expected: "a latitude from -90 to 90 and a longitude from -180 to 180",
    codec: `point:${precision}`,
    is: (value: Coordinates) => within(value.latitude, 90) && within(value.longitude, 180)
  }),
  embedding: (length = 1, format = 6) => ({
    expected: `${length} finite numbers${typeof vectorFormat(format) === "number" ? "" : ` that ${format} can hold`}`,
    codec: `vector:${length}:${format}`,
    is: (value: ReadonlyArray<number>) => value.length === Number(length) && rounding.fits(value, vectorFormat(format))
  }),
  bits: (length = 8) => ({
    expected: `${Math.ceil(Number(length) / 8)} bytes holding ${length} bits`,
    codec: "bytes",
    is: (value: Uint8Array) => isBits(value, Number(length))
  })
}

const vectorFormat = (format: string | number): rounding.VectorFormat =>
  format === "int8" || format === "float16" || format === "float32" ? format : Number(format)

const isBits = (value: Uint8Array, length: number): boolean =>
  value.length === Math.ceil(length / 8) && (length % 8 === 0 || (value.at(-1)! & (0xff >> (length % 8))) === 0)

const checkOf = <T>(name: string, args: Args, annotations?: Schema.Annotations.Filter): AST.Filter<T> => {
  const build = Object.hasOwn(types, name) ? types[name] : undefined
  if (build === undefined) throw new TypeError(`there is no attribute type ${JSON.stringify(name)}`)
  const type = build(...args)
  return Schema.makeFilter<T>((value) => type.is(value as never), {
    expected: type.expected,
    ...annotations,
    representation: {
      id: representationId,
      payload: { type: name, codec: type.codec, ...(args.length > 0 ? { args } : {}) }
    }
  })
}

const Payload = Schema.Struct({
  type: Schema.String,
  codec: Schema.String,
  args: Schema.optionalKey(Schema.Array(Schema.Union([Schema.String, Schema.Finite])))
})

/**
 * The reviver that brings the checks of these types back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const reviver: SchemaRepresentation.FilterReviver<typeof Payload.Type> = SchemaRepresentation.makeReviverFilter(
  representationId,
  Payload,
  ({ payload, annotations }) => checkOf(payload.type, payload.args ?? [], annotations)
)

const requireInteger = (what: string, value: number, least: number, most: number): number => {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`${what} must be an integer from ${least} to ${most}, not ${value}`)
}

const textType = (name: string): Schema.String => Schema.String.check(checkOf(name, []))

// -----------------------------------------------------------------------------
// Times
// -----------------------------------------------------------------------------

/**
 * A moment as a `Date`. Stored as its milliseconds in base 62, 7 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Date = Schema.Date

/**
 * A moment as a `DateTime.Utc`. Stored as its milliseconds in base 62, 7 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const DateTime = Schema.DateTimeUtc

/**
 * A day without a time, `"2024-01-15"`. Stored as days in base 62, 3 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const DateOnly = textType("dateonly")

/**
 * A time of day, `"14:30:45.123"`, milliseconds and seconds optional. Stored in base 62, 2 to 5 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TimeOnly = textType("timeonly")

/**
 * An Effect `Duration`, finite or not. Milliseconds are stored in base 62.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Duration = Schema.Duration.check(checkOf("duration", []))

/**
 * A cron expression of five or six fields, as `Cron.parse` reads it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CronExpression = textType("cron")

// -----------------------------------------------------------------------------
// Text formats
// -----------------------------------------------------------------------------

/**
 * A UUID (RFC 9562). In lower case it takes 22 bytes instead of 36.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Uuid = textType("uuid")

/**
 * A ULID in capitals: 22 bytes instead of 26.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ulid = textType("ulid")

/**
 * An e-mail address by the rule of the HTML standard.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Email = textType("email")

/**
 * An absolute URL with an authority (http, https, ws, wss, ftp, ftps, s3, ssh, git).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Url = textType("url")

/**
 * An IPv4 address: 8 bytes at most.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ip4 = textType("ip4")

/**
 * An IPv6 address in any form of RFC 4291. In the canonical form of RFC 5952 it takes 22 bytes at most.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ip6 = textType("ip6")

/**
 * An IPv4 or IPv6 network, `"192.168.1.0/24"`: 7 bytes for IPv4.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Cidr = textType("cidr")

/**
 * A MAC address, `"aa:bb:cc:dd:ee:ff"`: 8 bytes in lower case with colons.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Mac = textType("mac")

/**
 * A semantic version 2.0.0. `"2.14.3"` takes 3 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Semver = textType("semver")

/**
 * A phone number in E.164, `"+5511999887766"`: 8 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Phone = textType("phone")

/**
 * A colour in CSS hexadecimal notation, `"#ff5733"`: 4 bytes in lower case.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Color = textType("color")

/**
 * A language tag, `"pt-BR"`: those of BCP 47 that `Intl` takes, which has no private or grandfathered ones.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Locale = textType("locale")

/**
 * A currency code of ISO 4217, `"EUR"`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Currency = textType("currency")

/**
 * A country code of ISO 3166-1 alpha-2, `"BR"`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Country = textType("country")

/**
 * An EAN-8, UPC-A, EAN-13 or GTIN-14 whose check digit is right: 8 bytes for 13 digits.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Ean = textType("ean")

// -----------------------------------------------------------------------------
// Numbers
// -----------------------------------------------------------------------------

const scaled = (name: "money" | "decimal", scale: number) =>
  Schema.BigDecimal.check(checkOf<BigDecimal.BigDecimal>(name, [requireInteger("decimals", scale, 0, 30)]))

/**
 * Creates a field for an exact amount of money as a `BigDecimal`, in a currency (ISO 4217, or one of the larger
 * crypto-currencies) or with so many decimals. Default: 2 decimals. More decimals than that are refused, not rounded.
 * 19.99 takes 3 bytes.
 *
 * Throws `RangeError` for a currency it does not know.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Money = (currencyOrDecimals: string | number = 2): typeof Schema.BigDecimal => {
  if (typeof currencyOrDecimals === "number") return scaled("money", currencyOrDecimals)
  const decimals = formats.decimalsOf(currencyOrDecimals)
  if (decimals === undefined) {
    throw new RangeError(`unknown currency ${JSON.stringify(currencyOrDecimals)}: give the number of its decimals`)
  }
  return scaled("money", decimals)
}

/**
 * Creates a field for an exact amount of a crypto-currency as a `BigDecimal`. Default: 8 decimals, at most 30.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Crypto = (decimals = 8): typeof Schema.BigDecimal => scaled("money", decimals)

/**
 * Creates a field for an exact number with at most so many decimals as a `BigDecimal`. Default: 2.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Decimal = (decimals = 2): typeof Schema.BigDecimal => scaled("decimal", decimals)

/**
 * Creates a field for a latitude in degrees, rounded to so many decimals when it is written (default 6, about 11 cm): 5
 * bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Latitude = (precision = 6): typeof Schema.Finite =>
  Schema.Finite.check(checkOf("lat", [requireInteger("the precision", precision, 0, 12)]))

/**
 * Creates a field for a longitude in degrees, rounded to so many decimals when it is written (default 6): 6 bytes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Longitude = (precision = 6): typeof Schema.Finite =>
  Schema.Finite.check(checkOf("lon", [requireInteger("the precision", precision, 0, 12)]))

/**
 * A place on earth in degrees.
 *
 * @category models
 * @since 0.1.0
 */
export interface Coordinates {
  readonly latitude: number
  readonly longitude: number
}

const CoordinatesSchema = Schema.Struct({ latitude: Schema.Finite, longitude: Schema.Finite })

/**
 * Creates a field for a place, rounded to so many decimals when it is written (default 6): about 12 bytes, one entry.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Point = (precision = 6): typeof CoordinatesSchema =>
  CoordinatesSchema.check(checkOf("point", [requireInteger("the precision", precision, 0, 12)]))

const Numbers = Schema.Array(Schema.Finite)

/**
 * The form to which an embedding is rounded when it is written.
 *
 * @category models
 * @since 0.1.0
 */
export interface EmbeddingOptions {
  /** Decimals kept, from 0 to 12. Default 6. */
  readonly precision?: number | undefined
  /**
   * `"int8"`: each number as one of 255 equal steps of the largest (1 byte); `"float16"`, `"float32"`: as a
   * floating-point number of that size (2 or 4 bytes). Instead of `precision`. Vectors that the format cannot hold are
   * refused: a number too large for it, or nothing but numbers so small that all of them would become 0.
   */
  readonly format?: "int8" | "float16" | "float32" | undefined
}

/**
 * Creates a field for a vector of exactly so many numbers, rounded when it is written; what an insert returns is what
 * is stored.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Embedding = (length: number, options?: EmbeddingOptions): typeof Numbers => {
  const format = options?.format ?? requireInteger("the precision", options?.precision ?? 6, 0, 12)
  return Numbers.check(checkOf("embedding", [requireInteger("the length", length, 1, 65_536), format]))
}

/**
 * Creates a field for a map of so many bits as a `Uint8Array`, the first bit being the highest of the first byte; bits
 * beyond the last one are 0.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Bits = (length: number): typeof Schema.Uint8Array =>
  Schema.Uint8Array.check(checkOf("bits", [requireInteger("the length", length, 1, 8_388_608)]))

/**
 * A field for bytes. Stored in base 64.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Bytes = Schema.Uint8Array

// -----------------------------------------------------------------------------
// Secrets
// -----------------------------------------------------------------------------

/**
 * Creates a field for a value that is encrypted wherever it is stored and is `Redacted` in the program. Needs a
 * `KeyRing`.
 *
 * The database alone can turn it into JSON, so that it does not leak by way of an API. A plain `Schema.Redacted` field
 * is encrypted in the same way, but other programs may turn it into JSON in clear.
 *
 * The value itself cannot be `null`: where there may be none, the field is `Schema.NullOr` of the secret, or optional.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Secret = <S extends Schema.Constraint>(value: S): Schema.Redacted<S> =>
  Schema.Redacted(value).annotate({
    representation: { id: secretId, payload: null },
    toCodecJson: ([plain]: readonly [Schema.Schema<S["Encoded"]>]) =>
      Schema.link<Redacted.Redacted<S["Encoded"]>>()(plain, {
        // Null is left to the schema around it, which would take one for the other.
        decode: SchemaGetter.transformEffect((encoded) =>
          encoded === null ? Effect.fail(nothing) : Effect.succeed(Redacted.make(encoded))
        ),
        encode: SchemaGetter.transformEffect((secret: Redacted.Redacted<S["Encoded"]>) =>
          Effect.flatMap(SecretsOpen, (open): Effect.Effect<S["Encoded"], SchemaIssue.Issue> => {
            if (!open) return Effect.fail(forbidden)
            const plain = Redacted.value(secret)
            return plain === null ? Effect.fail(nothing) : Effect.succeed(plain)
          })
        )
      })
  })

const forbidden = new SchemaIssue.Forbidden({
  message: "A secret, or the hash of a password, can only be turned into JSON by the database"
})

const nothing = new SchemaIssue.InvalidValue({ message: "Expected a secret that is not null" })

/**
 * The reviver that brings secrets back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const secretReviver: SchemaRepresentation.DeclarationReviver<null> = SchemaRepresentation.makeReviverDeclaration(
  secretId,
  Schema.Null,
  ({ typeParameters }) => Secret(typeParameters[0]!)
)

/**
 * An encrypted text.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SecretText = Secret(Schema.String)

/**
 * An encrypted number.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SecretNumber = Secret(Schema.Finite)

/**
 * An encrypted JSON value.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SecretJson = Secret(Schema.Json)

/**
 * The hash of a password, which shows nothing of itself; see `schema/PasswordHash`.
 *
 * @category models
 * @since 0.1.0
 */
export type PasswordHash = Hashes.PasswordHash

const noHash = new SchemaIssue.InvalidValue({ message: "Expected the hash of a password" })

/**
 * A password. Where a resource takes its fields, give it as `Redacted` text: it is hashed once, by the `PasswordHasher`
 * in use. What is stored, and read, is the hash, which shows nothing of itself; a hash is stored as it is.
 *
 * The database alone can turn it into JSON, so that it does not leak by way of an API.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Password: Schema.declare<PasswordHash> = Schema.declare(Hashes.isPasswordHash, {
  representation: { id: passwordId, payload: null },
  expected: "a password, Redacted.make(text), or the hash of one",
  toEquivalence: () => Equal.asEquivalence<PasswordHash>(),
  toCodecJson: () =>
    Schema.link<PasswordHash>()(Schema.String, {
      decode: SchemaGetter.transformEffect((text: string) =>
        Effect.flatMap(GivenPasswords, (given) => {
          const hash = given === undefined ? Hashes.fromText(text) : given(text)
          return Option.isSome(hash) ? Effect.succeed(hash.value) : Effect.fail(noHash)
        })
      ),
      encode: SchemaGetter.transformEffect((hash: PasswordHash) =>
        Effect.flatMap(SecretsOpen, (open): Effect.Effect<string, SchemaIssue.Issue> => {
          const text = open ? Hashes.toText(hash) : ""
          return text === "" ? Effect.fail(forbidden) : Effect.succeed(text)
        })
      )
    })
}).check(checkOf("password", []))

/**
 * The reviver that brings passwords back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const passwordReviver: SchemaRepresentation.DeclarationReviver<null> =
  SchemaRepresentation.makeReviverDeclaration(passwordId, Schema.Null, () => Password)

/**
 * Creates a field for a password with a rule for the plain text, in characters, or with an algorithm of its own
 * (`"bcrypt"` with cost 12, `"argon2id"` with OWASP's figures) instead of the hasher's.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PasswordWith = (rule: typeof PlainPassword.Type): typeof Password =>
  Password.check(plainPassword<PasswordHash>(rule))

const plainPassword = <T>(rule: typeof PlainPassword.Type): AST.Filter<T> =>
  // A hash does not tell: the resource applies the rule to what it hashes.
  Schema.makeFilter<T>(() => true, { representation: { id: plainPasswordId, payload: { ...rule } } })

/**
 * The reviver that brings rules for passwords back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const plainPasswordReviver: SchemaRepresentation.FilterReviver<typeof PlainPassword.Type> =
  SchemaRepresentation.makeReviverFilter(plainPasswordId, PlainPassword, ({ payload }) => plainPassword(payload))

/**
 * The input for a value of this type when it is written: a plain `Redacted` text in the place of a password's hash.
 *
 * @category models
 * @since 0.1.0
 */
export type Input<T> =
  true extends Holds<T, PasswordHash>
    ? T extends PasswordHash
      ? T | Redacted.Redacted<string>
      : T extends object
        ? { readonly [K in keyof T]: Input<T[K]> }
        : T
    : T

/**
 * `true` where a type holds another at any depth of its objects and arrays.
 *
 * @category models
 * @since 0.1.0
 */
export type Holds<T, X, Depth extends ReadonlyArray<0> = []> = 0 extends 1 & T
  ? false
  : Depth["length"] extends 6
    ? false
    : T extends X
      ? true
      : T extends string | number | boolean | bigint | symbol | null | undefined | Opaque
        ? false
        : T extends ReadonlyArray<infer E>
          ? Holds<E, X, [...Depth, 0]>
          : T extends object
            ? { readonly [K in keyof T]-?: Holds<T[K], X, [...Depth, 0]> }[keyof T]
            : false

type Opaque =
  | ((...args: never) => unknown)
  | globalThis.Date
  | Uint8Array
  | BigDecimal.BigDecimal
  | { readonly pipe: unknown }
