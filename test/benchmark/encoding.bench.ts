/**
 * Bytes and time of both encodings against JSON, for each attribute type and for whole documents.
 *
 * Bytes are those of metadata: names, values, and the four of the system entry for whole documents, and of what goes to the
 * body when they do not fit; of JSON, those of the value, or of the document without its id. Times are for encoding and decoding, against `JSON.stringify` and
 * `JSON.parse` of the same JSON form; validation by the schema comes on top for both and is shown by itself.
 */
import { createCipheriv, createDecipheriv } from "node:crypto"
import { createRequire } from "node:module"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Behavior from "effect-s3db/encoding/Behavior"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { toFormat } from "../../src/internal/rounding.ts"
import { measure } from "./measure.ts"

const vector = Array.from({ length: 1536 }, (_, i) => Math.sin(i * 12.9898) * Math.cos(i * 4.1414))
const rounded = vector.map((value) => Math.round(value * 1e6) / 1e6)

const decimal = BigDecimal.fromStringUnsafe

const types: ReadonlyArray<readonly [name: string, schema: Schema.Top, value: unknown]> = [
  ["string, ASCII", Schema.String, "Ada Lovelace, London"],
  ["string, Latin", Schema.String, "São Paulo, José"],
  ["string, Chinese", Schema.String, "李明在北京工作"],
  ["string, prose", Schema.String, "The quick brown fox jumps over the lazy dog, and is not seen again."],
  ["string, dictionary", Schema.String, "application/x-www-form-urlencoded"],
  ["integer", Schema.Int, 1_705_321_800],
  ["number", Schema.Finite, Math.E],
  ["boolean", Schema.Boolean, true],
  ["date", Attribute.Date, new Date("2024-01-15T10:30:00.123Z")],
  ["datetime", Attribute.DateTime, DateTime.makeUnsafe("2024-01-15T10:30:00Z")],
  ["date-only", Attribute.DateOnly, "2024-01-15"],
  ["time-only", Attribute.TimeOnly, "14:30:45.123"],
  ["duration", Attribute.Duration, Duration.millis(109_800_000)],
  ["uuid", Attribute.Uuid, "550e8400-e29b-41d4-a716-446655440000"],
  ["ulid", Attribute.Ulid, "01ARZ3NDEKTSV4RRFFQ69G5FAV"],
  ["email", Attribute.Email, "ada.lovelace@example.com"],
  ["url", Attribute.Url, "https://www.example.com/users/42?tab=orders"],
  ["ip4", Attribute.Ip4, "192.168.100.10"],
  ["ip6", Attribute.Ip6, "2001:db8:85a3:8d3:1319:8a2e:370:7348"],
  ["cidr", Attribute.Cidr, "192.168.1.0/24"],
  ["mac", Attribute.Mac, "aa:bb:cc:dd:ee:ff"],
  ["semver", Attribute.Semver, "2.14.3"],
  ["phone", Attribute.Phone, "+5511999887766"],
  ["color", Attribute.Color, "#ff5733"],
  ["country", Attribute.Country, "BR"],
  ["ean", Attribute.Ean, "5901234123457"],
  ["money", Attribute.Money("USD"), decimal("1999.99")],
  ["crypto", Attribute.Crypto(18), decimal("1.000000000000000001")],
  ["decimal", Attribute.Decimal(3), decimal("-1234.125")],
  ["latitude", Attribute.Latitude(), -23.550519],
  ["point", Attribute.Point(), { latitude: -23.550519, longitude: -46.633309 }],
  ["choice", Schema.Literals(["pending", "active", "suspended"]), "suspended"],
  ["array of text", Schema.Array(Schema.String), ["admin", "editor", "reviewer"]],
  ["array of integers", Schema.Array(Schema.Int), [1200, 45000, 3, 99, 100000]],
  ["json", Schema.Json, { theme: "dark", beta: true, limits: [1, 2, 3] }],
  ["bytes", Attribute.Bytes, new Uint8Array(32).map((_, i) => i * 7)],
  ["embedding 1536, 6 decimals", Attribute.Embedding(1536), rounded],
  ["embedding 1536, int8", Attribute.Embedding(1536, { format: "int8" }), toFormat(vector, "int8")],
  ["embedding 1536, float16", Attribute.Embedding(1536, { format: "float16" }), toFormat(vector, "float16")]
]

const User = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  email: Attribute.Email,
  active: Schema.Boolean,
  role: Schema.Literals(["admin", "user", "guest"]),
  age: Schema.Int,
  balance: Attribute.Money("USD"),
  createdAt: Attribute.DateTime,
  lastLogin: Attribute.DateTime,
  ip: Attribute.Ip4,
  session: Attribute.Uuid,
  phone: Attribute.Phone,
  country: Attribute.Country,
  location: Attribute.Point(),
  tags: Schema.Array(Schema.String)
})

const Order = Schema.Struct({
  id: Schema.String,
  customer: Attribute.Uuid,
  status: Schema.Literals(["pending", "paid", "shipped", "delivered"]),
  placed: Attribute.DateTime,
  total: Attribute.Money("EUR"),
  shipping: Schema.Struct({
    street: Schema.String,
    city: Schema.String,
    zip: Schema.String,
    country: Attribute.Country
  }),
  lines: Schema.Array(Schema.Struct({ sku: Schema.String, quantity: Schema.Int, price: Schema.Finite }))
})

const Event = Schema.Struct({
  id: Schema.String,
  type: Schema.Literals(["page_view", "click", "purchase"]),
  at: Attribute.DateTime,
  session: Attribute.Uuid,
  ip: Attribute.Ip6,
  url: Attribute.Url,
  duration: Schema.Int,
  agent: Schema.String
})

const user: typeof User.Type = {
  id: "user-1",
  name: "José da Silva",
  email: "jose.silva@example.com",
  active: true,
  role: "user",
  age: 41,
  balance: decimal("1520.75"),
  createdAt: DateTime.makeUnsafe("2024-01-15T10:30:00.000Z"),
  lastLogin: DateTime.makeUnsafe("2026-03-02T18:45:12.345Z"),
  ip: "192.168.100.10",
  session: "550e8400-e29b-41d4-a716-446655440000",
  phone: "+5511999887766",
  country: "BR",
  location: { latitude: -23.550519, longitude: -46.633309 },
  tags: ["premium", "newsletter"]
}

const order: typeof Order.Type = {
  id: "order-1",
  customer: "550e8400-e29b-41d4-a716-446655440000",
  status: "shipped",
  placed: DateTime.makeUnsafe("2026-03-02T18:45:12.000Z"),
  total: decimal("129.80"),
  shipping: { street: "12 Example Street", city: "Lisbon", zip: "1100-148", country: "PT" },
  lines: [
    { sku: "SKU-10442", quantity: 2, price: 19.95 },
    { sku: "SKU-20011", quantity: 1, price: 89.9 }
  ]
}

const event: typeof Event.Type = {
  id: "event-1",
  type: "page_view",
  at: DateTime.makeUnsafe("2026-03-02T18:45:12.345Z"),
  session: "0198c9f2-7c1a-7e3b-9f55-0a1b2c3d4e5f",
  ip: "2001:db8:85a3:8d3:1319:8a2e:370:7348",
  url: "https://www.example.com/products/42?ref=mail",
  duration: 5312,
  agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
}

const CountrySchema = Schema.Struct({
  cca3: Schema.String,
  cca2: Schema.String,
  ccn3: Schema.String,
  name: Schema.Json,
  tld: Schema.Array(Schema.String),
  independent: Schema.NullOr(Schema.Boolean),
  unMember: Schema.Boolean,
  currencies: Schema.Json,
  capital: Schema.Array(Schema.String),
  altSpellings: Schema.Array(Schema.String),
  region: Schema.String,
  subregion: Schema.String,
  languages: Schema.Record(Schema.String, Schema.String),
  translations: Schema.Json,
  latlng: Schema.Array(Schema.Finite),
  landlocked: Schema.Boolean,
  borders: Schema.Array(Schema.String),
  area: Schema.Finite,
  flag: Schema.String
})

/** The codec of a schema, and the JSON form of a value. */
const prepare = (schema: Schema.Top, primaryKey: string, encoder: Encoding.Encoder) => {
  const document = schema as unknown as Attributes.DocumentSchema
  const written = Attributes.fromSchema(document, primaryKey).map((attribute, index) => ({
    ...attribute,
    id: index.toString(36)
  }))
  const storage = Attributes.toStorageCodec(document) as unknown as Schema.Codec<unknown, unknown>
  return { codec: encoder.compile({ written, readable: written }), toJson: Schema.encodeUnknownSync(storage) }
}

interface Size {
  readonly name: string
  readonly json: number
  readonly text: number
  readonly packed: number
}

const utf8 = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))

const fieldsOf = (json: unknown, primaryKey: string): Encoding.JsonObject => {
  const { [primaryKey]: _, ...fields } = json as Encoding.JsonObject
  return fields
}

const systemBytes = 4

const compare = async (
  name: string,
  schema: Schema.Top,
  values: ReadonlyArray<unknown>,
  { primaryKey = "id", whole = true, times = 10_000 } = {}
) => {
  const text = prepare(schema, primaryKey, Encoding.text)
  const packed = prepare(schema, primaryKey, Encoding.packed)
  const documents = values.map((value) => fieldsOf(text.toJson(value), primaryKey))
  const bytesOf = ({ codec }: typeof text, document: Encoding.JsonObject): number => {
    const entries = Result.getOrThrow(codec.encode(document))
    if (!whole) return codec.metadataBytes(entries) - 1
    const outcome = Effect.runSync(
      Behavior.place("body-overflow", {
        codec,
        entries,
        limits: { bytes: 2048 - systemBytes, entryBytes: 2048, headerBytes: 4096, entries: Infinity },
        pins: { metadata: new Set(), body: new Set() },
        isOptional: () => false,
        isKept: () => false,
        resource: "",
        id: ""
      })
    )
    if (outcome._tag === "Exceeded") throw new Error(name)
    const { metadata, body } = outcome.placement
    const spilled = body.length === 0 ? 0 : utf8(Behavior.bodyOf(body))
    return systemBytes + codec.metadataBytes(metadata) + spilled
  }
  const bytes = (prepared: typeof text): number =>
    documents.reduce((sum, document) => sum + bytesOf(prepared, document), 0)
  const size: Size = {
    name,
    json: documents.reduce((sum, document) => sum + utf8(whole ? document : document["field"]), 0),
    text: bytes(text),
    packed: bytes(packed)
  }
  const encodes =
    ({ codec }: typeof text) =>
    (runs: number) => {
      for (let i = 0; i < runs; i++) codec.metadata(Result.getOrThrow(codec.encode(documents[i % documents.length]!)))
    }
  const stored = ({ codec }: typeof text) =>
    documents.map((document) => codec.metadata(Result.getOrThrow(codec.encode(document))))
  const decodes = (prepared: typeof text) => {
    const objects = stored(prepared)
    return (runs: number) => {
      for (let i = 0; i < runs; i++) {
        const metadata = objects[i % objects.length]!
        Result.getOrThrow(prepared.codec.decode({ metadata, spilled: undefined, spilledText: undefined }))
      }
    }
  }
  const texts = documents.map((document) => JSON.stringify(document))
  const encode = await measure(
    [
      {
        name: "json",
        run: (runs) => {
          for (let i = 0; i < runs; i++) JSON.stringify(documents[i % documents.length]!)
        }
      },
      { name: "text", run: encodes(text) },
      { name: "packed", run: encodes(packed) }
    ],
    times
  )
  const decode = await measure(
    [
      {
        name: "json",
        run: (runs) => {
          for (let i = 0; i < runs; i++) JSON.parse(texts[i % texts.length]!)
        }
      },
      { name: "text", run: decodes(text) },
      { name: "packed", run: decodes(packed) }
    ],
    times
  )
  const both = encode.map(({ microseconds }, i) => microseconds + decode[i]!.microseconds)
  return {
    ...size,
    textPercent: percent(size.text, size.json),
    packedPercent: percent(size.packed, size.json),
    microseconds: { json: round(both[0]!), text: round(both[1]!), packed: round(both[2]!) },
    ratio: { text: round(both[1]! / both[0]!), packed: round(both[2]! / both[0]!) }
  }
}

const percent = (part: number, whole: number): number => Number(((100 * part) / whole).toFixed(1))
const round = (value: number): number => Number(value.toFixed(2))

/** What a secret costs beyond the cipher itself. */
const secretCost = Effect.gen(function* () {
  const ring = yield* KeyRing.KeyRing
  const { seal, open } = yield* ring.unlock(new Uint8Array(16))
  const location = { resource: "users", id: "1", attribute: "a", path: ["token"] }
  const sealed = yield* seal(location, "correct horse battery staple")
  const { subtle } = globalThis.crypto
  const raw = new Uint8Array(32).fill(9)
  const key = yield* Effect.promise(() => subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]))
  const plain = new TextEncoder().encode("correct horse battery staple")
  const iv = new Uint8Array(12)
  const cipher = new Uint8Array(yield* Effect.promise(() => subtle.encrypt({ name: "AES-GCM", iv }, key, plain)))
  return yield* Effect.promise(() =>
    measure(
      [
        {
          name: "AES-256-GCM of node:crypto, encrypt and decrypt",
          run: (runs) => {
            for (let i = 0; i < runs; i++) {
              const encrypting = createCipheriv("aes-256-gcm", raw, iv)
              Buffer.concat([encrypting.update(plain), encrypting.final(), encrypting.getAuthTag()])
              const decrypting = createDecipheriv("aes-256-gcm", raw, iv)
              decrypting.setAuthTag(cipher.subarray(-16))
              Buffer.concat([decrypting.update(cipher.subarray(0, -16)), decrypting.final()])
            }
          }
        },
        {
          name: "AES-256-GCM of Web Crypto, encrypt and decrypt",
          run: async (runs) => {
            for (let i = 0; i < runs; i++) {
              await subtle.encrypt({ name: "AES-GCM", iv }, key, plain)
              await subtle.decrypt({ name: "AES-GCM", iv }, key, cipher)
            }
          }
        },
        {
          name: "a secret field, seal and open",
          run: (runs) =>
            Effect.runPromise(
              Effect.gen(function* () {
                for (let i = 0; i < runs; i++) {
                  yield* seal(location, "correct horse battery staple")
                  yield* open(location, sealed)
                }
              })
            )
        }
      ],
      1000
    )
  )
}).pipe(
  Effect.provide(KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(7)) } })),
  Effect.orDie
)

/** The object of one document with and without compression: bytes of metadata and body, and what writing and reading it takes. */
const compressionCost = async (
  name: string,
  schema: typeof CountrySchema | typeof Prose,
  primaryKey: "cca3" | "id",
  values: ReadonlyArray<unknown>
) => {
  const { store } = Effect.runSync(Effect.scoped(MemoryStore.make()))
  const database = await Effect.runPromise(Effect.provideService(Database.make(), ObjectStore, store))
  const open = (label: string, encoder: Layer.Layer<never>, compression: boolean) => {
    const definition = Resource.define(label, {
      schema: schema as typeof Prose,
      primaryKey: primaryKey as "id",
      compression
    })
    const opened = Effect.provideService(Resource.make(definition), Database.Database, database)
    return Effect.runPromise(Effect.provide(opened, encoder))
  }
  const documents = values as ReadonlyArray<typeof Prose.Type>
  const ids = (values as ReadonlyArray<Record<string, string>>).map((value) => value[primaryKey]!)
  const bytesOf = Effect.fnUntraced(function* (resource: Awaited<ReturnType<typeof open>>) {
    let bytes = 0
    for (const document of documents) yield* resource.replace(document)
    for (const id of ids) {
      const { bodyBytes, metadataBytes } = yield* resource.getDocument(id)
      bytes += bodyBytes + metadataBytes
    }
    return bytes
  })
  const off = await open(`${name}, off`, Encoding.layer, false)
  const on = await open(`${name}, on`, Encoding.layer, true)
  const packed = await open(`${name}, packed`, Encoding.layerPacked, true)
  const run = (step: (index: number) => Effect.Effect<unknown, unknown>) => (times: number) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < times; i++) yield* step(i % documents.length)
      })
    )
  const bytes = {
    json: documents.reduce((sum, document) => sum + utf8(document), 0),
    off: await Effect.runPromise(bytesOf(off)),
    on: await Effect.runPromise(bytesOf(on)),
    packed: await Effect.runPromise(bytesOf(packed))
  }
  const writes = await measure(
    [
      { name: "off", run: run((i) => off.replace(documents[i]!)) },
      { name: "on", run: run((i) => on.replace(documents[i]!)) }
    ],
    500
  )
  const reads = await measure(
    [
      { name: "off", run: run((i) => off.get(ids[i]!)) },
      { name: "on", run: run((i) => on.get(ids[i]!)) }
    ],
    500
  )
  const costOf = ([plain, compressed]: typeof writes) => ({
    off: plain!.cpu.median,
    on: compressed!.cpu.median,
    ratio: compressed!.cpuRatio
  })
  return {
    name,
    bytes,
    offPercent: percent(bytes.off, bytes.json),
    onPercent: percent(bytes.on, bytes.json),
    packedPercent: percent(bytes.packed, bytes.json),
    replace: costOf(writes),
    get: costOf(reads)
  }
}

const Prose = Schema.Struct({ id: Schema.String, title: Schema.String, text: Schema.String })

/** Text of so many characters. */
const prose = (size: number) => {
  const words =
    "what goes in comes out the same and a write that was acknowledged is durable whoever crashed when".split(" ")
  let text = ""
  for (let i = 0; text.length < size; i++) text += `${words[(i * i * 7 + i) % words.length]}${(i * 7919) % 1000} `
  return [{ id: "1", title: "Prose", text: text.slice(0, size) }]
}

export const report = async () => {
  // Whole documents first: one resource is what a program has, not forty.
  const countries = createRequire(import.meta.url)("world-countries") as ReadonlyArray<unknown>
  const documents = [
    await compare("user, 14 fields", User, [user]),
    await compare("order", Order, [order]),
    await compare("event", Event, [event]),
    await compare("250 countries", CountrySchema, countries, { primaryKey: "cca3", times: 500 })
  ]
  const byType: Array<Awaited<ReturnType<typeof compare>>> = []
  for (const [name, field, value] of types) {
    const schema = Schema.Struct({ id: Schema.String, field })
    const large = name.startsWith("embedding")
    byType.push(await compare(name, schema, [{ id: "1", field: value }], { whole: false, times: large ? 40 : 1000 }))
  }
  const secret = await Effect.runPromise(secretCost)
  const compression = [
    await compressionCost("prose, 200 bytes", Prose, "id", prose(200)),
    await compressionCost("prose, 4,000 bytes", Prose, "id", prose(4000)),
    await compressionCost("prose, 50,000 bytes", Prose, "id", prose(50_000)),
    await compressionCost(
      "250 countries",
      CountrySchema,
      "cca3",
      countries.map((country) =>
        Object.fromEntries(Object.entries(country as object).filter(([field]) => field in CountrySchema.fields))
      )
    )
  ]
  const line = (row: (typeof byType)[number]) =>
    `  ${row.name.padEnd(28)} ${String(row.json).padStart(7)} ${String(row.text).padStart(7)} ${`${row.textPercent}%`.padStart(7)} ${String(row.packed).padStart(7)} ${`${row.packedPercent}%`.padStart(7)}   ${row.microseconds.json.toFixed(2).padStart(8)} ${`${row.ratio.text}x`.padStart(8)} ${`${row.ratio.packed}x`.padStart(8)}`
  const header = `  ${"".padEnd(28)} ${"JSON".padStart(7)} ${"text".padStart(7)} ${"".padStart(7)} ${"packed".padStart(7)} ${"".padStart(7)}   ${"JSON µs".padStart(8)} ${"text".padStart(8)} ${"packed".padStart(8)}`
  const [raw, , sealed] = secret
  const text = [
    "bytes of a value without its name; time to encode and decode, as a multiple of stringify and parse",
    header,
    ...byType.map(line),
    "",
    "bytes of a document, names included",
    header,
    ...documents.map(line),
    "",
    "bytes of an object, system parts included, without compression, with it, and with it packed; time of the processor for replace and get",
    `  ${"".padEnd(22)} ${"JSON".padStart(7)} ${"off".padStart(7)} ${"".padStart(7)} ${"on".padStart(7)} ${"".padStart(7)} ${"packed".padStart(7)}   ${"replace".padStart(9)} ${"on".padStart(8)}   ${"get".padStart(9)} ${"on".padStart(8)}`,
    ...compression.map(
      ({ bytes, get, name, offPercent, onPercent, packedPercent, replace }) =>
        `  ${name.padEnd(22)} ${String(bytes.json).padStart(7)} ${String(bytes.off).padStart(7)} ${`${offPercent}%`.padStart(7)} ${String(bytes.on).padStart(7)} ${`${onPercent}%`.padStart(7)} ${`${packedPercent}%`.padStart(7)}   ${`${replace.off.toFixed(0)} µs`.padStart(9)} ${`${replace.ratio}x`.padStart(8)}   ${`${get.off.toFixed(0)} µs`.padStart(9)} ${`${get.ratio}x`.padStart(8)}`
    ),
    "",
    ...secret.map((one) => `  ${one.name.padEnd(50)} ${one.microseconds.toFixed(1).padStart(8)} µs  ${one.ratio}x`),
    `  beyond the cipher, for one operation: ${((sealed!.microseconds - raw!.microseconds) / 2).toFixed(1)} µs`
  ].join("\n")
  return { results: { types: byType, documents, compression, secret }, text }
}
