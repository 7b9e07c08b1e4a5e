/** Values that fit a schema, made up: by its JSON Schema, and by the types of its attributes, of which that says too little. */
import * as Random from "effect/Random"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isList, isObject } from "../../internal/json.ts"
import type { DynamicSchema } from "../../Portable.ts"
import { plainPasswordId, representationId } from "../../schema/Attributes.ts"
import * as Wire from "../../Wire.ts"
import { matching } from "./matching.ts"
import { jsonSchema } from "./schemas.ts"

/** A whole number from 0 below another. */
export type Draw = (below: number) => number

const words =
  "amber basil cedar delta ember fjord grove heron iris jade kelp lotus maple nectar olive pearl quartz river sage tulip umber violet willow yarrow zephyr".split(
    " "
  )

const objectOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})

const listOf = (value: Json | undefined): ReadonlyArray<Json> => (isList(value) ? value : [])

// -----------------------------------------------------------------------------
// What the JSON Schema does not say
// -----------------------------------------------------------------------------

interface Mark {
  /** The type of an attribute, with its arguments. */
  readonly type?: string
  readonly args: ReadonlyArray<Json>
  readonly patterns: ReadonlyArray<RegExp>
  /** In characters, of a password those of its plain text; of these the JSON Schema says only what is sure of UTF-16. */
  readonly least?: number
  readonly most?: number
  readonly letters?: "uppercase" | "lowercase"
}

type Marks = ReadonlyMap<string, Mark>

const declared: Readonly<Record<string, string>> = {
  "effect/schema/BigDecimal": "decimal",
  "effect/schema/Duration": "duration",
  "effect/schema/Uint8Array": "bytes",
  "effect/schema/URL": "url"
}

const lengths = /^effect\/schema\/is(?:Min|Max|Between)Length$/

const number = (value: Json | undefined): number | undefined => (typeof value === "number" ? value : undefined)

/** The types of a portable definition, by their paths. */
const marksOf = (portable: JsonObject): Marks => {
  const marks = new Map<string, Mark>()
  const references = objectOf(portable["references"])
  const visit = (node: JsonObject, path: string, depth: number): void => {
    if (depth > 20) return
    const inner = (one: Json | undefined, at: string) => visit(objectOf(one), at, depth + 1)
    let mark: Mark = marks.get(path) ?? { args: [], patterns: [] }
    const set = (more: Partial<Mark>) => marks.set(path, (mark = { ...mark, ...more }))
    const type = declared[String(objectOf(node["representation"])["id"])]
    if (type !== undefined) set({ type })
    else if (node["_tag"] === "BigInt") set({ type: "integer" })
    for (const check of listOf(node["checks"])) {
      const { id, payload } = objectOf(objectOf(check)["representation"])
      const said = objectOf(payload)
      if (id === representationId) set({ type: String(said["type"]), args: listOf(said["args"]) })
      const least = number(said["min"] ?? said["minLength"] ?? said["minimum"])
      const most = number(said["max"] ?? said["maxLength"] ?? said["maximum"])
      if (typeof id === "string" && (id === plainPasswordId || lengths.test(id))) {
        set({ ...(least === undefined ? {} : { least }), ...(most === undefined ? {} : { most }) })
      }
      if (said["op"] === "uppercase" || said["op"] === "lowercase") set({ letters: said["op"] })
      if (id === "effect/schema/isPattern") {
        const source = String(said["source"])
        const flags = typeof said["flags"] === "string" ? said["flags"].replaceAll(/[gy]/g, "") : ""
        set({ patterns: [...mark.patterns, new RegExp(source, flags)] })
      }
    }
    for (const property of listOf(node["propertySignatures"]).map(objectOf)) {
      inner(property["type"], `${path}.${String(objectOf(property["name"])["value"])}`)
    }
    for (const signature of listOf(node["indexSignatures"])) inner(objectOf(signature)["type"], `${path}.{}`)
    for (const item of listOf(node["rest"])) inner(item, `${path}.[]`)
    for (const one of [...listOf(node["types"]), ...listOf(node["typeParameters"])]) inner(one, path)
    if (typeof node["$ref"] === "string") inner(references[node["$ref"]], path)
  }
  visit(objectOf(portable["representation"]), "", 0)
  return marks
}

// -----------------------------------------------------------------------------
// Types of attributes
// -----------------------------------------------------------------------------

const many = <A>(count: number, make: () => A): ReadonlyArray<A> => Array.from({ length: count }, make)

const from = (draw: Draw, letters: string, count: number): string =>
  many(count, () => letters[draw(letters.length)]!).join("")

const digits = (draw: Draw, count: number): string => from(draw, "0123456789", count)
const hex = (draw: Draw, count: number): string => from(draw, "0123456789abcdef", count)
const two = (value: number): string => String(value).padStart(2, "0")
const choice = <A>(draw: Draw, all: ReadonlyArray<A>): A => all[draw(all.length)]!

const day = (draw: Draw): string => `20${10 + draw(20)}-${two(1 + draw(12))}-${two(1 + draw(28))}`

/** So many decimals at most, those that say something. */
const exact = (draw: Draw, scale: number): string => {
  const decimals = digits(draw, Math.min(scale, 6)).replace(/0+$/, "")
  return `${draw(1000)}${decimals === "" ? "" : `.${decimals}`}`
}

const degrees = (draw: Draw, most: number): number => (draw(2 * most * 10_000) - most * 10_000) / 10_000

const ean = (draw: Draw): string => {
  const text = digits(draw, 12)
  const sum = [...text].reduce((total, digit, index) => total + Number(digit) * (index % 2 === 0 ? 1 : 3), 0)
  return `${text}${(10 - (sum % 10)) % 10}`
}

const base64 = (bytes: ReadonlyArray<number>): string => btoa(String.fromCharCode(...bytes))

const bits = (draw: Draw, length: number): string => {
  const bytes = [...many(Math.ceil(length / 8), () => draw(256))]
  // Beyond the last bit there is nothing.
  if (length % 8 !== 0) bytes.splice(-1, 1, bytes.at(-1)! & (0xff << (8 - (length % 8))) & 0xff)
  return base64(bytes)
}

const ip4 = (draw: Draw): string => `10.${draw(256)}.${draw(256)}.${draw(256)}`

type Make = (draw: Draw, mark: Mark) => Json

const size = ({ args }: Mark, otherwise: number): number => number(args[0]) ?? otherwise

const types: Readonly<Record<string, Make>> = {
  uuid: (draw) =>
    `${hex(draw, 8)}-${hex(draw, 4)}-4${hex(draw, 3)}-${choice(draw, ["8", "9", "a", "b"])}${hex(draw, 3)}-${hex(draw, 12)}`,
  ulid: (draw) => `0${from(draw, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 25)}`,
  dateonly: day,
  timeonly: (draw) => `${two(draw(24))}:${two(draw(60))}:${two(draw(60))}`,
  email: (draw) => `${choice(draw, words)}.${digits(draw, 4)}@example.com`,
  url: (draw) => `https://example.com/${choice(draw, words)}/${digits(draw, 4)}`,
  ip4,
  ip6: (draw) => `2001:db8::${1 + draw(9999)}:${1 + draw(9999)}`,
  cidr: (draw) => `10.${draw(256)}.${draw(256)}.0/24`,
  mac: (draw) => many(6, () => hex(draw, 2)).join(":"),
  semver: (draw) => `${draw(9)}.${draw(20)}.${draw(40)}`,
  phone: (draw) => `+1202555${digits(draw, 4)}`,
  color: (draw) => `#${hex(draw, 6)}`,
  locale: (draw) => choice(draw, ["pt-BR", "en-GB", "de-DE", "ja-JP", "fr-FR", "sv-SE"]),
  currency: (draw) => choice(draw, ["EUR", "USD", "JPY", "BRL", "SEK"]),
  country: (draw) => choice(draw, ["BR", "PT", "JP", "NG", "SE"]),
  ean,
  cron: (draw) => `${draw(60)} ${draw(24)} * * ${1 + draw(5)}`,
  password: (draw, { least = 0, most = 64 }) =>
    from(draw, "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", Math.min(most, Math.max(16, least))),
  duration: (draw) => ({ _tag: "Millis", value: 1000 * (1 + draw(3600)) }),
  money: (draw, mark) => exact(draw, size(mark, 2)),
  decimal: (draw, mark) => exact(draw, size(mark, 2)),
  integer: (draw) => String(draw(1000)),
  lat: (draw) => degrees(draw, 90),
  lon: (draw) => degrees(draw, 180),
  point: (draw) => ({ latitude: degrees(draw, 90), longitude: degrees(draw, 180) }),
  embedding: (draw, mark) => many(size(mark, 1), () => (1 + draw(1000)) / 1000),
  bits: (draw, mark) => bits(draw, size(mark, 8)),
  bytes: (draw) => base64(many(8, () => draw(256)))
}

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

/** How often something else is made where a first thing does not fit. */
const attempts = 50

const make = (draw: Draw, marks: Marks, defs: JsonObject) => {
  /** A text within the lengths that has all the patterns. */
  const fitting = (mark: Mark, plain: () => string): string => {
    const { least = 0, letters, most = Number.POSITIVE_INFINITY, patterns } = mark
    let text = ""
    for (let attempt = 0; attempt < attempts; attempt++) {
      const pattern = attempt % 2 === 0 && patterns.length > 0 ? choice(draw, patterns) : undefined
      const made = (pattern === undefined ? undefined : matching(pattern, draw, least, most)) ?? plain()
      text = letters === "uppercase" ? made.toUpperCase() : letters === "lowercase" ? made.toLowerCase() : made
      if (text.length >= least && text.length <= most && patterns.every((one) => one.test(text))) break
    }
    return text
  }

  const valueOf = (schema: Json | undefined, path: string, depth: number): Json => {
    const given = objectOf(schema)
    const mark = marks.get(path)
    const type = mark?.type === undefined || !Object.hasOwn(types, mark.type) ? undefined : types[mark.type]
    const some = listOf(given["anyOf"] ?? given["oneOf"])
    if (depth > 12) return null
    // Bounds of its own, such as min:48 of a latitude, are in the JSON Schema.
    const isBounded = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].some((key) => key in given)
    if (mark !== undefined && type !== undefined && !isBounded && given["enum"] === undefined) {
      if (some.some((one) => objectOf(one)["type"] === "null") && draw(4) === 0) return null
      const made = type(draw, mark)
      return typeof made === "string" ? fitting(mark, () => String(type(draw, mark))) : made
    }
    if (typeof given["$ref"] === "string") {
      return valueOf(defs[given["$ref"].slice(given["$ref"].lastIndexOf("/") + 1)], path, depth + 1)
    }
    if (given["const"] !== undefined) return given["const"]
    if (listOf(given["enum"]).length > 0) return choice(draw, listOf(given["enum"]))
    if (some.length > 0) return valueOf(choice(draw, some), path, depth + 1)
    // What further conditions say is together with what stands beside them.
    const whole: JsonObject = Object.assign({}, given, ...listOf(given["allOf"]).map(objectOf))
    switch (whole["type"]) {
      case "integer":
      case "number":
        return numberOf(whole, path)
      case "boolean":
        return draw(2) === 0
      case "null":
        return null
      case "array": {
        const least = number(whole["minItems"]) ?? 1
        const count = Math.max(least, Math.min(least + draw(2), number(whole["maxItems"]) ?? least + 1))
        const made: Array<Json> = []
        for (let attempt = 0; made.length < count && attempt < count + attempts; attempt++) {
          const item = valueOf(whole["items"], `${path}.[]`, depth + 1)
          const isThere = made.some((one) => JSON.stringify(one) === JSON.stringify(item))
          if (whole["uniqueItems"] !== true || !isThere) made.push(item)
        }
        return made
      }
      case "object":
        return document(whole, path, depth + 1)
      default: {
        const least = mark?.least ?? number(whole["minLength"]) ?? 0
        const most = mark?.most ?? number(whole["maxLength"]) ?? Number.POSITIVE_INFINITY
        const plain = () =>
          textOf(whole, path.slice(path.lastIndexOf(".") + 1))
            .padEnd(least, "x")
            .slice(0, most)
        return mark === undefined ? plain() : fitting(mark, plain)
      }
    }
  }

  const numberOf = (schema: JsonObject, path: string): number => {
    const isWhole = schema["type"] === "integer"
    const bound = (key: string) => {
      const value = number(schema[key])
      return value === undefined || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? undefined : value
    }
    const span = marks.get(path)?.type === "lat" || marks.get(path)?.type === "lon" ? 1 : 80
    const [above, below] = [bound("exclusiveMinimum"), bound("exclusiveMaximum")]
    let low = bound("minimum") ?? (above === undefined ? undefined : isWhole ? Math.floor(above) + 1 : above)
    let high = bound("maximum") ?? (below === undefined ? undefined : isWhole ? Math.ceil(below) - 1 : below)
    low ??= high === undefined ? 0 : Math.min(0, high - span)
    high ??= low + span
    const [first, last] = [Math.ceil(low), Math.floor(high)]
    const whole = first + draw(Math.max(1, last - first + 1))
    const isWithin = whole <= high && (above === undefined || whole > above) && (below === undefined || whole < below)
    return isWhole || isWithin ? whole : low + ((1 + draw(999)) / 1000) * (high - low)
  }

  const textOf = (schema: JsonObject, name: string): string => {
    const { format } = schema
    if (format === "date-time") return `${day(draw)}T${two(draw(24))}:00:00.000Z`
    if (format === "date") return day(draw)
    if (format === "email" || /e-?mail/i.test(name)) return String(types["email"]!(draw, none))
    if (format === "uuid") return String(types["uuid"]!(draw, none))
    if (format === "uri" || /url/i.test(name)) return String(types["url"]!(draw, none))
    if (/country/i.test(name)) return String(types["country"]!(draw, none))
    if (/zip|code|phone/i.test(name)) return digits(draw, 4)
    return `${choice(draw, words)} ${digits(draw, 4)}`
  }

  /** Every required field, and half of the others. */
  const document = (schema: JsonObject, path: string, depth: number): JsonObject => {
    const made: Record<string, Json> = {}
    const required = listOf(schema["required"])
    for (const [name, inner] of Object.entries(objectOf(schema["properties"]))) {
      if (!required.includes(name) && draw(2) === 0) continue
      made[name] = valueOf(inner, `${path}.${name}`, depth)
    }
    const others = schema["additionalProperties"]
    if (isObject(others)) {
      const least = number(schema["minProperties"]) ?? 1
      const count = Math.min(Math.max(1, least), number(schema["maxProperties"]) ?? Number.POSITIVE_INFINITY)
      for (let index = 0; Object.keys(made).length < count; index++) {
        const again = index < words.length ? "" : String(Math.floor(index / words.length))
        made[`${words[index % words.length]!}${again}`] = valueOf(others, `${path}.{}`, depth)
      }
    }
    return made
  }

  return document
}

const none: Mark = { args: [], patterns: [] }

/**
 * Makes documents of a definition. An optional field for which nothing is made that fits is left out; whether the others
 * fit, the resource says.
 */
export const documents = (definition: Definition<DynamicSchema>): Effect.Effect<JsonObject> => {
  const codec = Wire.create(definition)
  const { definitions, schema } = jsonSchema(codec)
  const { [definition.primaryKey]: key, ...others } = objectOf(schema["properties"])
  const required = listOf(schema["required"])
  const isGenerated = !required.includes(definition.primaryKey)
  const properties = isGenerated || key === undefined ? others : { [definition.primaryKey]: key, ...others }
  const marks = marksOf(objectOf(objectOf(definition.portable)["schema"]))
  const decode = Schema.decodeUnknownResult(codec)
  const fits = (document: JsonObject) => Result.isSuccess(decode(document))
  return Effect.map(Random.Random, (random) => {
    const draw: Draw = (below) => Math.floor(random.nextDoubleUnsafe() * below)
    const document = make(draw, marks, definitions)
    const made = document({ ...schema, properties }, "", 0)
    if (fits(made)) return made
    let kept: JsonObject = Object.fromEntries(Object.entries(made).filter(([name]) => required.includes(name)))
    for (const [name, value] of Object.entries(made)) {
      if (required.includes(name)) continue
      const more = { ...kept, [name]: value }
      if (fits(more)) kept = more
    }
    return kept
  })
}
