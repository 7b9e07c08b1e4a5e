/**
 * The table of types in `docs/guide/what-a-document-can-hold.md`: made from these examples, and compared with them.
 *
 * node --conditions=effect-s3db-source test/guide.ts
 */
import { fileURLToPath } from "node:url"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"

interface Line {
  readonly schema: Schema.Top
  /** As it is declared, and in the rule notation. */
  readonly code: string
  readonly rule: string
  readonly type: string
  readonly value: unknown
  /** The value as a program writes it. */
  readonly written: string
}

const line = (
  code: string,
  schema: Schema.Top,
  rule: string,
  type: string,
  value: unknown,
  written: string = JSON.stringify(value)
): Line => ({ code, schema, rule, type, value, written })

const decimal = (text: string) => BigDecimal.fromStringUnsafe(text)

export const lines: ReadonlyArray<Line> = [
  line("Schema.String", Schema.String, "string", "string", "Ada Lovelace"),
  line("Schema.String", Schema.String, "string", "string", "São Paulo"),
  line("Schema.String", Schema.String, "string", "string", "application/json"),
  line("Schema.Finite", Schema.Finite, "number", "number", 9.5),
  line("Schema.Int", Schema.Int, "integer", "number", 123456789),
  line("Schema.Boolean", Schema.Boolean, "boolean", "boolean", true),
  line('Schema.Literals(["a", "b"])', Schema.Literals(["a", "b"]), "enum\\|values:a,b", '"a" \\| "b"', "b"),
  line("Attribute.Date", Attribute.Date, "date", "Date", new Date("2024-01-15T10:30:00Z"), "2024-01-15T10:30:00Z"),
  line(
    "Attribute.DateTime",
    Attribute.DateTime,
    "datetime",
    "DateTime.Utc",
    DateTime.makeUnsafe("2024-01-15T10:30:00Z"),
    "2024-01-15T10:30:00Z"
  ),
  line("Attribute.DateOnly", Attribute.DateOnly, "dateonly", "string", "2024-01-15"),
  line("Attribute.TimeOnly", Attribute.TimeOnly, "timeonly", "string", "14:30:45.123"),
  line("Attribute.Duration", Attribute.Duration, "duration", "Duration", Duration.minutes(90), "90 minutes"),
  line("Attribute.CronExpression", Attribute.CronExpression, "cron", "string", "0 3 * * 1-5"),
  line("Attribute.Uuid", Attribute.Uuid, "uuid", "string", "550e8400-e29b-41d4-a716-446655440000"),
  line("Attribute.Ulid", Attribute.Ulid, "ulid", "string", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
  line("Attribute.Email", Attribute.Email, "email", "string", "ada@example.com"),
  line("Attribute.Url", Attribute.Url, "url", "string", "https://www.example.com/a"),
  line("Attribute.Ip4", Attribute.Ip4, "ip4", "string", "192.168.1.1"),
  line("Attribute.Ip6", Attribute.Ip6, "ip6", "string", "2001:db8:85a3:8d3:1319:8a2e:370:7348"),
  line("Attribute.Cidr", Attribute.Cidr, "cidr", "string", "192.168.1.0/24"),
  line("Attribute.Mac", Attribute.Mac, "mac", "string", "aa:bb:cc:dd:ee:ff"),
  line("Attribute.Semver", Attribute.Semver, "semver", "string", "2.14.3"),
  line("Attribute.Phone", Attribute.Phone, "phone", "string", "+5511999887766"),
  line("Attribute.Color", Attribute.Color, "color", "string", "#ff5733"),
  line("Attribute.Locale", Attribute.Locale, "locale", "string", "pt-BR"),
  line("Attribute.Currency", Attribute.Currency, "currency", "string", "EUR"),
  line("Attribute.Country", Attribute.Country, "country", "string", "BR"),
  line("Attribute.Ean", Attribute.Ean, "ean", "string", "5901234123457"),
  line('Attribute.Money("EUR")', Attribute.Money("EUR"), "money:EUR", "BigDecimal", decimal("19.99"), "19.99"),
  line(
    "Attribute.Crypto(18)",
    Attribute.Crypto(18),
    "crypto:18",
    "BigDecimal",
    decimal("1.000000000000000001"),
    "1.000000000000000001"
  ),
  line("Attribute.Decimal(3)", Attribute.Decimal(3), "decimal:3", "BigDecimal", decimal("-1234.125"), "-1234.125"),
  line("Attribute.Latitude()", Attribute.Latitude(), "geo:lat", "number", -23.550519),
  line("Attribute.Longitude()", Attribute.Longitude(), "geo:lon", "number", -46.633309),
  line("Attribute.Point()", Attribute.Point(), "geo:point", "Coordinates", {
    latitude: -23.550519,
    longitude: -46.633309
  }),
  line("Attribute.Embedding(3)", Attribute.Embedding(3), "embedding:3", "ReadonlyArray\\<number>", [0.123, -0.456, 0]),
  line(
    'Attribute.Embedding(3, { format: "int8" })',
    Attribute.Embedding(3, { format: "int8" }),
    "embedding:3:int8",
    "ReadonlyArray\\<number>",
    [127, -64, 0]
  ),
  line("Attribute.Bits(12)", Attribute.Bits(12), "bits:12", "Uint8Array", Uint8Array.of(255, 16), "ff 10"),
  line("Attribute.Bytes", Attribute.Bytes, "bytes", "Uint8Array", Uint8Array.of(1, 2, 3), "01 02 03"),
  line("Schema.Array(Schema.String)", Schema.Array(Schema.String), "array\\|items:string", "ReadonlyArray\\<string>", [
    "a",
    "b c"
  ]),
  line(
    "Schema.Array(Schema.Int)",
    Schema.Array(Schema.Int),
    "array\\|items:integer",
    "ReadonlyArray\\<number>",
    [1200, 45000]
  ),
  line(
    "Schema.Option(Schema.Int)",
    Schema.Option(Schema.Int),
    "",
    "Option\\<number>",
    Option.some(5),
    "Option.some(5)"
  ),
  line("Schema.NullOr(Schema.Int)", Schema.NullOr(Schema.Int), "integer\\|nullable", "number \\| null", null),
  line(
    "Schema.Record(Schema.String, Schema.Int)",
    Schema.Record(Schema.String, Schema.Int),
    "record\\|items:integer",
    "{ [key]: number }",
    { a: 1 }
  ),
  line("Schema.Json", Schema.Json, "json", "Json", { theme: "dark" })
]

/** The value alone, without the name of the field. */
const stored = (encoder: Encoding.Encoder, { schema, value }: Line) => {
  const document = Schema.Struct({ id: Schema.String, field: schema }) as unknown as Attributes.DocumentSchema
  const written = Attributes.fromSchema(document, "id").map((attribute) => ({ ...attribute, id: "0" }))
  const storage = Attributes.toStorageCodec(document) as unknown as Schema.Codec<unknown, unknown>
  const { id: _, ...fields } = Schema.encodeUnknownSync(storage)({ id: "1", field: value }) as Encoding.JsonObject
  const [entry] = Result.getOrThrow(encoder.compile({ written, readable: written }).encode(fields))
  return { size: entry!.size - 1, form: entry!.form }
}

const cell = (text: string): string => `\`${text.replaceAll("|", "\\|")}\``

const row = (one: Line): string => {
  const text = stored(Encoding.text, one)
  const packed = stored(Encoding.packed, one)
  const rule = one.rule === "" ? "" : `\`${one.rule}\``
  return `| \`${one.code}\` | ${rule} | ${one.type} | ${cell(one.written)} | ${cell(String(text.form))} | ${text.size} | ${packed.size} |`
}

export const table = (): string =>
  [
    "| schema | rule | TypeScript | value | stored | bytes | packed |",
    "|---|---|---|---|---|---|---|",
    ...lines.map(row)
  ].join("\n")

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(table())
